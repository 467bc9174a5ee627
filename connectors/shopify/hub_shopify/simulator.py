"""A simulated Shopify shop: its Admin GraphQL API with the rules it really has, its webhooks, its customers and staff.

The API executes whatever document it is sent over ``simulator.graphql``, so that a connector cannot pass by asking in
the one way a fake expects. What Shopify enforces at run time is enforced here: tokens that expire, query costs and the
budget they are taken from, page sizes, access scopes, ``@idempotent``, ``changeFromQuantity``, all or nothing.
"""

from __future__ import annotations

import itertools
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hub.errors import Unreadable
from hub.testing.simulator import Customer, Sale, SimRequest, SimResponse
from hub_shopify.simulator_apps import RETRIES, AppSimulator
from hub_shopify.simulator_bulk import FILES_HOST, BulkOperations
from hub_shopify.simulator_fulfillment import FulfillmentOrders
from hub_shopify.simulator_graphql import Budget, execute
from hub_shopify.simulator_model import (
    ADA,
    Assessment,
    Fulfillment,
    Level,
    Line,
    Order,
    Refund,
    Return,
    Variant,
    allocate,
    cents,
)
from hub_shopify.simulator_refunds import RefundApi
from hub_shopify.simulator_webhooks import (
    fulfillment_body,
    level_body,
    order_body,
    product_body,
    refund_body,
    return_body,
    risk_body,
)

PICTURES_HOST = "cdn.shopify.com"

# ---------------------------------------------------------------- the shop


class ShopifySimulator(AppSimulator):
    """A shop on Shopify with one or more locations.

    ``restore_rate`` and ``bucket`` are its plan's query budget, ``index_lag`` how long a change stays unknown to
    searches, ``webhook_retries`` the seconds between attempts. Tests may set what ``AppSimulator`` names, and
    ``names_the_refused`` (whether errors tell which quantity they are about) and ``cancel_lag`` (how long the job that
    cancels an order takes).
    """

    def __init__(
        self,
        domain: str = "demo-shop.myshopify.com",
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        seed: int = 0,
        currency: str = "EUR",
        restore_rate: float = 1000.0,
        bucket: float = 20_000.0,
        index_lag: timedelta = timedelta(0),
        webhook_retries: Sequence[float] = RETRIES,
    ) -> None:
        super().__init__(domain, now=now, seed=seed, webhook_retries=webhook_retries)
        self.other_origins = (f"https://{FILES_HOST}", f"https://{PICTURES_HOST}")
        self.currency = currency
        self.index_lag = index_lag
        self.names_the_refused = True
        self.cancel_lag = timedelta(0)
        self._pictures: dict[str, bytes] = {}  # by their paths
        self._buyer = ADA
        self.variants: dict[int, Variant] = {}
        self.sold: dict[int, Order] = {}
        self.locations: dict[int, str] = {}
        self._by_sku: dict[str, Variant] = {}
        self._by_item: dict[int, Variant] = {}
        self._numbers = itertools.count(1001)
        self._refusals: deque[str] = deque()
        self._budget = Budget(restore_rate, bucket, now)
        self.fulfillment_orders = FulfillmentOrders(self)
        self._api = RefundApi(self)
        self.bulk = BulkOperations(self)
        self.add_location("Main warehouse")

    # --- what people do

    def add_location(self, name: str) -> str:
        """Open another location; returns its external id."""
        with self.lock:
            id = next(self._ids)
            self.locations[id] = name
            return str(id)

    def add_product(self, sku: str, title: str, stock: int, price: str) -> str:
        with self.lock:
            variant = Variant(
                id=next(self._ids),
                product_id=next(self._ids),
                item_id=next(self._ids),
                sku=sku,
                title=title,
                price=Decimal(price),
                updated_at=self._second(),
                levels={self._home: Level(stock)},
            )
            self.variants[variant.id] = self._by_sku[sku] = self._by_item[variant.item_id] = variant
            self._emit(self._event(), [("products/create", product_body(variant))])
            return str(variant.id)

    def goes_abroad(self, sku: str, weight_grams: int, origin_country: str, hs_code: str) -> bool:
        with self.lock:
            variant = self._by_sku[sku]
            variant.weight_grams, variant.origin_country, variant.hs_code = weight_grams, origin_country, hs_code
            variant.updated_at = self._second()
            self._emit(self._event(), [("products/update", product_body(variant))])
            return True

    def show_picture(self, sku: str, content: bytes) -> bool:
        with self.lock:
            variant = self._by_sku[sku]
            path = f"/s/files/1/0001/files/{variant.product_id}.png"
            self._pictures[path] = content
            variant.picture = f"https://{PICTURES_HOST}{path}?v={len(self._pictures)}"
            variant.updated_at = self._second()
            self._emit(self._event(), [("products/update", product_body(variant))])
            return True

    def delete_product(self, external_id: str) -> None:
        """Somebody deletes a product."""
        with self.lock:
            variant = self.variants.pop(int(external_id))
            del self._by_sku[variant.sku], self._by_item[variant.item_id]
            news = [
                ("products/delete", {"id": variant.product_id}),
                ("inventory_items/delete", {"id": variant.item_id}),
            ]
            self._emit(self._event(), news)

    def rename_product(self, external_id: str, title: str) -> None:
        """Somebody changes a product's title."""
        with self.lock:
            variant = self.variants[int(external_id)]
            variant.title = title
            variant.updated_at = self._second()
            self._emit(self._event(), [("products/update", product_body(variant))])

    def stock_at(self, location: str, sku: str, quantity: int) -> None:
        """Stock a product at a further location."""
        with self.lock:
            self._by_sku[sku].levels[int(location)] = Level(quantity)
            self._emit(self._event(), [self._level_news(self._by_sku[sku], int(location))])

    def stop_stocking(self, location: str, sku: str) -> None:
        """Somebody unticks a location on a product's page: what was there is kept, and nobody can buy it."""
        with self.lock:
            variant = self._by_sku[sku]
            variant.levels[int(location)].active = False
            place = {"inventory_item_id": variant.item_id, "location_id": int(location)}
            self._emit(self._event(), [("inventory_levels/disconnect", place)])

    def customer_comes(self, customer: Customer) -> None:
        with self.lock:
            self._buyer = customer

    def buy(self, items: Sequence[tuple[str, int]]) -> Sale | None:
        comes = self._buyer
        financial = "PENDING" if comes.pays_later else "PAID"
        return self.checkout(items, financial=financial, note=comes.note, tags=comes.tags, customer=comes)

    def checkout(
        self,
        items: Sequence[tuple[str, int]],
        *,
        extras: Sequence[tuple[str, str, int]] = (),
        discount: str = "0",
        financial: str = "PAID",
        **about: Any,
    ) -> Sale | None:
        """A customer checks out; ``extras`` are lines without a product (title, price, quantity), and ``about`` is what
        else the order says, by the members of ``simulator_model.Order``.
        """
        with self.lock:
            wanted: Counter[str] = Counter()
            for sku, quantity in items:
                wanted[sku] += quantity
            from_where: dict[str, int] = {}
            for sku, quantity in wanted.items():
                levels = self._by_sku[sku].levels
                place = next((id for id, each in levels.items() if each.active and each.available >= quantity), None)
                if place is None:
                    return None
                from_where[sku] = place
            lines = []
            for sku, quantity in items:
                variant = self._by_sku[sku]
                lines.append(self._line(variant, from_where[sku], quantity))
            for title, price, quantity in extras:
                lines.append(Line(next(self._ids), None, self._home, title, Decimal(price), quantity))
            allocate(Decimal(discount), lines)
            for sku, quantity in wanted.items():
                self._move(self._by_sku[sku], from_where[sku], available=-quantity, committed=quantity)
            now = self._second()
            order = Order(next(self._ids), next(self._numbers), now, now, lines, financial, **about)
            self.sold[order.id] = order
            self._touch(order)
            body = order_body(order, self.currency)
            self._emit(
                self._event(),
                [
                    ("orders/create", body),
                    ("orders/updated", body),
                    *(self._level_news(self._by_sku[sku], place) for sku, place in from_where.items()),
                ],
            )
            return Sale(str(order.id), tuple(items), time.monotonic())

    def stock(self) -> dict[str, int]:
        with self.lock:
            return {
                variant.sku: sum(level.available for level in variant.levels.values() if level.active)
                for variant in self.variants.values()
            }

    def set_stock(self, sku: str, quantity: int) -> None:
        with self.lock:
            variant = self._by_sku[sku]
            variant.levels[self._home].available = quantity
            self._emit(self._event(), [self._level_news(variant, self._home)])

    def orders(self) -> set[str]:
        with self.lock:
            return {str(id) for id in self.sold}

    def cancel(self, order: str, *, refund: bool = True, restock: bool = True) -> None:
        with self.lock:
            found = self.sold[int(order)]
            items = [(line, line.open, "cancel" if restock else "no_restock") for line in found.lines if line.open]
            for line, quantity, _ in items:
                line.removed += quantity
            found.cancelled_at = self._second()
            amount = sum((left for _, left in found.refundable), Decimal(0)) if refund else Decimal(0)
            if not found.paid:
                found.financial = "VOIDED"
            elif refund:
                found.financial = "REFUNDED"
            self._refund(found, items, amount, "", "orders/cancelled")

    def refund(self, order: str, sku: str, quantity: int, *, restock: bool = True, note: str = "") -> None:
        """Somebody refunds units of an order: shipped ones first, then open ones, which are taken out of it."""
        with self.lock:
            found = self.sold[int(order)]
            line = next(line for line in found.lines if line.variant and line.variant.sku == sku)
            back = min(quantity, line.fulfilled - line.returned)
            line.returned += back
            line.removed += quantity - back
            items = [(line, back, "return"), (line, quantity - back, "cancel")]
            items = [(line, units, how if restock else "no_restock") for line, units, how in items if units]
            share = cents((line.total + line.tax) * quantity / line.quantity)
            found.financial = "PARTIALLY_REFUNDED" if found.refunded + share < found.total else "REFUNDED"
            self._refund(found, items, share, note, "orders/updated")

    def fulfill(self, order: str, units: int | None = None) -> None:
        """Somebody ships an order, or at most so many units of each of its lines."""
        with self.lock:
            found = self.sold[int(order)]
            items = [(line, line.open if units is None else min(units, line.open)) for line in found.lines if line.open]
            for line, quantity in items:
                line.fulfilled += quantity
                if line.variant:
                    self._move(line.variant, line.location, committed=-quantity)
            found.fulfillments.append(Fulfillment(next(self._ids), self._second(), items))
            self._touch(found)
            topic = "orders/fulfilled" if found.fulfillment == "FULFILLED" else "orders/partially_fulfilled"
            body = order_body(found, self.currency)
            self._emit(
                self._event(),
                [
                    ("fulfillments/create", fulfillment_body(found, found.fulfillments[-1], self.currency)),
                    (topic, body),
                    ("orders/updated", body),
                ],
            )

    def cancel_fulfillment(self, order: str) -> None:
        """Somebody cancels the last shipment of an order: its units are open again."""
        with self.lock:
            found = self.sold[int(order)]
            last = found.fulfillments[-1]
            last.cancelled = True
            for line, quantity in last.items:
                line.fulfilled -= quantity
                if line.variant:
                    self._move(line.variant, line.location, committed=quantity)
            self._touch(found)
            self._emit(self._event(), [("orders/updated", order_body(found, self.currency))])

    def close_order(self, order: str) -> None:
        """Somebody archives an order."""
        with self.lock:
            found = self.sold[int(order)]
            found.closed_at = self._second()
            self._touch(found)
            self._emit(self._event(), [("orders/updated", order_body(found, self.currency))])

    def edit(
        self, order: str, *, add: Sequence[tuple[str, int]] = (), take_out: Sequence[tuple[str, int]] = ()
    ) -> None:
        """Somebody edits an order: products are added as lines of their own, or units taken out that are open."""
        with self.lock:
            found = self.sold[int(order)]
            moved = []
            for sku, quantity in add:
                variant = self._by_sku[sku]
                found.lines.append(self._line(variant, self._home, quantity))
                self._move(variant, self._home, available=-quantity, committed=quantity)
                moved.append((variant, self._home))
            for sku, quantity in take_out:
                line = next(line for line in found.lines if line.variant and line.variant.sku == sku)
                line.removed += min(quantity, line.open)
                self._move(self._by_sku[sku], line.location, available=quantity, committed=-quantity)
                moved.append((self._by_sku[sku], line.location))
            self._touch(found)
            body = order_body(found, self.currency)
            news = [("orders/edited", {"order_edit": {"id": next(self._ids), "order_id": found.id}})]
            self._emit(self._event(), [*news, ("orders/updated", body), *(self._level_news(*place) for place in moved)])

    def send_back(
        self, order: str, sku: str, quantity: int, *, reason: str = "Unwanted", status: str = "OPEN"
    ) -> Return:
        """A customer sends units back, or (REQUESTED) asks to; set the ``status`` of what is returned to go on."""
        with self.lock:
            found = self.sold[int(order)]
            line = next(line for line in found.lines if line.variant and line.variant.sku == sku)
            coming = Return(next(self._ids), [(line, quantity)], reason, status)
            found.returns.append(coming)
            self._touch(found)
            topic = "returns/request" if status == "REQUESTED" else "returns/approve"
            news = [(topic, return_body(found, coming)), ("orders/updated", order_body(found, self.currency))]
            self._emit(self._event(), news)
            return coming

    def assess(self, order: str, advice: str, *assessments: Assessment) -> None:
        """Somebody looks how risky an order is."""
        with self.lock:
            found = self.sold[int(order)]
            found.advice, found.assessments = advice, assessments
            self._touch(found)
            news = [("orders/risk_assessment_changed", risk_body(found, each.level)) for each in assessments]
            self._emit(self._event(), news)

    def delete(self, order: str) -> None:
        """Somebody deletes an order for good."""
        with self.lock:
            del self.sold[int(order)]
            self._emit(self._event(), [("orders/delete", {"id": int(order)})])

    def refuse_next_write(self, code: str) -> None:
        """The next stock write is answered with this code and does nothing."""
        with self.lock:
            self._refusals.append(code)

    # --- what follows from it

    @property
    def _home(self) -> int:
        return next(iter(self.locations))

    def _second(self) -> datetime:
        return self.now().astimezone(UTC).replace(microsecond=0)

    def _move(self, variant: Variant, location: int, *, available: int = 0, committed: int = 0) -> None:
        level = variant.levels[location]
        level.available += available
        level.committed += committed

    def _line(self, variant: Variant, location: int, quantity: int) -> Line:
        return Line(
            next(self._ids),
            variant,
            location,
            variant.title,
            variant.price,
            quantity,
            gift_card=variant.gift_card,
            attributes=dict(variant.engraving),
        )

    def _touch(self, order: Order) -> None:
        order.updated_at = self._second()
        order.marks.append((self.now() + self.index_lag, order.updated_at))

    def _refund(self, order: Order, items: list[tuple[Line, int, str]], amount: Decimal, note: str, topic: str) -> None:
        for line, quantity, how in items:
            if line.variant:
                self._move(
                    line.variant,
                    line.location,
                    available=0 if how == "no_restock" else quantity,
                    committed=0 if how == "return" else -quantity,
                )
        self.paid_back(order, Refund(next(self._ids), self._second(), amount, note, items), topic)

    def paid_back(self, order: Order, refund: Refund, topic: str = "orders/updated") -> None:
        """Note that money went back, whatever that did to the stock, and tell whoever listens."""
        moved = [(line.variant, line.location) for line, _, _ in refund.items if line.variant]
        order.refunds.append(refund)
        self._touch(order)
        topics = dict.fromkeys((topic, "orders/updated"))
        news = [(name, order_body(order, self.currency)) for name in topics]
        news.append(("refunds/create", refund_body(order, refund, self.currency)))
        self._emit(self._event(), news + [self._level_news(*place) for place in moved])

    def _level_news(self, variant: Variant, location: int) -> tuple[str, dict[str, Any]]:
        return "inventory_levels/update", level_body(variant, location, self._second())

    # --- the API's door

    def about(self, request: SimRequest) -> str:
        operation = re.search(rb"(query|mutation) (\w+)", request.body)
        return operation[0].decode() if operation else super().about(request)

    def error_inside(self, request: SimRequest) -> SimResponse:
        failed = {
            "message": "Internal error. Looks like something went wrong on our end.\nRequest ID: simulated",
            "extensions": {"code": "INTERNAL_SERVER_ERROR", "requestId": "simulated"},
        }
        return SimResponse.of_json({"errors": [failed]})

    def answer(self, request: SimRequest) -> SimResponse:
        if request.headers.get("host") == FILES_HOST:
            return self.bulk.answer(request)
        if request.headers.get("host") == PICTURES_HOST:
            content = self._pictures.get(request.path)
            return SimResponse(404) if content is None else SimResponse(200, {"Content-Type": "image/png"}, content)
        if request.headers.get("host", self.domain) != self.domain:
            return SimResponse.of_json({"errors": "Not Found"}, 404)
        if (answer := self._answer_app(request)) is not None:
            return answer
        if request.method != "POST" or not re.fullmatch(r"/admin/api/\d{4}-(01|04|07|10)/graphql\.json", request.path):
            return SimResponse.of_json({"errors": "Not Found"}, 404)
        if not self._admits(request.headers.get("x-shopify-access-token", "")):
            words = "[API] Invalid API key or access token (unrecognized login or wrong password)"
            return SimResponse.of_json({"errors": words}, 401)
        self._api.finish_jobs()
        try:
            asked = request.json()
            document, variables = asked["query"], asked.get("variables") or {}
        except (Unreadable, KeyError, TypeError, AttributeError):
            return SimResponse.of_json({"errors": "Bad Request"}, 400)
        return SimResponse.of_json(
            execute(self._api, self._budget, str(document), variables),
            headers={"X-Shopify-API-Version": self.served_version},
        )
