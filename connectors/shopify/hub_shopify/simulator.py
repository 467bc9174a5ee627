"""A simulated Shopify shop: its Admin GraphQL API with the rules it really has, its webhooks, its customers and staff.

The API executes whatever document it is sent over ``simulator.graphql``, so that a connector cannot pass by asking in
the one way a fake expects. What Shopify enforces at run time is enforced here: tokens that expire, query costs and the
budget they are taken from, page sizes, access scopes, ``@idempotent``, ``changeFromQuantity``, all or nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import random
import re
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from importlib import resources
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLResolveInfo,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
    build_schema,
    execute_sync,
    get_directive_values,
    get_named_type,
    is_leaf_type,
    parse,
    validate,
)

from hub.errors import Unreadable
from hub.testing.simulator import Attempt, Sale, ShopSimulator, SimRequest, SimResponse

API_VERSION = "2026-10"
SCOPES = ("read_orders", "read_all_orders", "read_products", "write_inventory")
TOKEN_SECONDS = 86_399
MOST_COST = 1000
MOST_AT_ONCE = 250
KEY_KEPT = timedelta(hours=24)
# Eight further attempts within four hours, further and further apart.
RETRIES = (60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 3840.0, 6780.0)

SHIPPING = Decimal("4.90")
TAX_RATE = Decimal("0.10")
CENT = Decimal("0.01")
ADDRESS = {
    "first_name": "Ada",
    "last_name": "Byron",
    "company": "",
    "address1": "12 St James's Square",
    "address2": "",
    "city": "London",
    "province": "England",
    "province_code": "ENG",
    "zip": "SW1Y 4JH",
    "country_code": "GB",
    "phone": "+442079460000",
}

SCHEMA = build_schema((resources.files(__package__) / "simulator.graphql").read_text())

_T = TypeVar("_T")

# ---------------------------------------------------------------- what the shop keeps


@dataclass
class Level:
    """The stock of one variant at one location: what can be sold, and what orders hold."""

    available: int
    committed: int = 0


@dataclass
class Variant:
    """A product with its only variant, and where it is in stock. ``mutable`` is False for a bundle."""

    id: int
    product_id: int
    item_id: int
    sku: str
    title: str
    price: Decimal
    updated_at: datetime
    levels: dict[int, Level]
    tracked: bool = True
    mutable: bool = True
    status: str = "ACTIVE"
    barcode: str = ""


@dataclass
class Line:
    """A line of an order; its units are open, fulfilled, or removed before that, and some were refunded since."""

    id: int
    variant: Variant | None
    location: int
    name: str
    price: Decimal
    quantity: int
    discount: Decimal = Decimal(0)
    fulfilled: int = 0
    removed: int = 0
    returned: int = 0

    @property
    def open(self) -> int:
        return self.quantity - self.fulfilled - self.removed

    @property
    def current(self) -> int:
        return self.quantity - self.removed - self.returned

    @property
    def total(self) -> Decimal:
        return self.price * self.quantity - self.discount

    @property
    def tax(self) -> Decimal:
        return _cents(self.total * TAX_RATE)


@dataclass
class Refund:
    """Money given back, for (line, quantity, how it was restocked)."""

    id: int
    at: datetime
    amount: Decimal
    note: str
    items: list[tuple[Line, int, str]]


@dataclass
class Fulfillment:
    """A shipment of (line, quantity)."""

    id: int
    at: datetime
    items: list[tuple[Line, int]]
    cancelled: bool = False


@dataclass
class Order:
    """An order; ``marks`` are (when the search index shows it, updated_at), oldest first."""

    id: int
    number: int
    created_at: datetime
    updated_at: datetime
    lines: list[Line]
    financial: str = "PAID"
    test: bool = False
    note: str = ""
    cancelled_at: datetime | None = None
    closed_at: datetime | None = None
    refunds: list[Refund] = field(default_factory=list)
    fulfillments: list[Fulfillment] = field(default_factory=list)
    marks: list[tuple[datetime, datetime]] = field(default_factory=list)

    @property
    def discount(self) -> Decimal:
        return sum((line.discount for line in self.lines), Decimal(0))

    @property
    def tax(self) -> Decimal:
        return sum((line.tax for line in self.lines), Decimal(0))

    @property
    def total(self) -> Decimal:
        return sum((line.total for line in self.lines), Decimal(0)) + self.tax + SHIPPING

    @property
    def refunded(self) -> Decimal:
        return sum((refund.amount for refund in self.refunds), Decimal(0))

    @property
    def fulfillment(self) -> str:
        if not any(line.fulfilled for line in self.lines):
            return "UNFULFILLED"
        return "PARTIALLY_FULFILLED" if any(line.open for line in self.lines) else "FULFILLED"


@dataclass(frozen=True)
class Subscription:
    """A webhook subscription."""

    id: int
    topic: str
    uri: str
    name: str


# ---------------------------------------------------------------- the shop


class ShopifySimulator(ShopSimulator):
    """A shop on Shopify with one or more locations.

    ``restore_rate`` and ``bucket`` are its plan's query budget, ``index_lag`` how long a change stays unknown to
    searches, ``webhook_retries`` the seconds between attempts. Tests may set ``scopes``, ``served_version`` and
    ``names_the_refused`` (whether errors tell which quantity they are about).
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
        super().__init__(now=now, seed=seed)
        self.domain = domain
        self.origin = f"https://{domain}"
        self.currency = currency
        self.index_lag = index_lag
        self.webhook_retries = webhook_retries
        self.scopes: tuple[str, ...] = SCOPES
        self.served_version = API_VERSION
        self.names_the_refused = True
        self.client_id = "c0ffee5e7f1e1d0000000000000000aa"
        self.client_secret = "shpss_simulated0000000000000000000000"
        self.legacy_token = "shpat_simulated0000000000000000000000"
        self.installed = True
        self.permitted = True
        self.variants: dict[int, Variant] = {}
        self.sold: dict[int, Order] = {}
        self.subscriptions: dict[int, Subscription] = {}
        self.locations: dict[int, str] = {}
        self._by_sku: dict[str, Variant] = {}
        self._by_item: dict[int, Variant] = {}
        # Real ids are beyond 32 bits; no two kinds share one here, so that mixing them up shows.
        self._ids = itertools.count(7_000_000_001, 7)
        self._numbers = itertools.count(1001)
        self._uuids = random.Random(seed)
        self._tokens: dict[str, datetime] = {}
        self._keys: dict[str, tuple[str, dict[str, Any], datetime]] = {}
        self._refusals: deque[str] = deque()
        self._bucket = (bucket, bucket, restore_rate)  # available, at most, restored per second
        self._restored_at = now()
        self._api = _Api(self)
        self.shop_id = next(self._ids)
        self.add_location("Main warehouse")

    # --- what people do

    def settings(self) -> dict[str, str]:
        return {"shop": self.domain, "client_id": self.client_id, "client_secret": self.client_secret}

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
            self._emit(self._event(), [("products/create", self._rest_product(variant))])
            return str(variant.id)

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
            self._emit(self._event(), [("products/update", self._rest_product(variant))])

    def stock_at(self, location: str, sku: str, quantity: int) -> None:
        """Stock a product at a further location."""
        with self.lock:
            self._by_sku[sku].levels[int(location)] = Level(quantity)
            self._emit(self._event(), [self._level_news(self._by_sku[sku], int(location))])

    def buy(self, items: Sequence[tuple[str, int]]) -> Sale | None:
        return self.checkout(items)

    def checkout(
        self,
        items: Sequence[tuple[str, int]],
        *,
        extras: Sequence[tuple[str, str, int]] = (),
        discount: str = "0",
        financial: str = "PAID",
        test: bool = False,
        note: str = "",
    ) -> Sale | None:
        """A customer checks out; ``extras`` are lines without a product (title, price, quantity)."""
        with self.lock:
            wanted: Counter[str] = Counter()
            for sku, quantity in items:
                wanted[sku] += quantity
            from_where: dict[str, int] = {}
            for sku, quantity in wanted.items():
                levels = self._by_sku[sku].levels
                place = next((place for place, level in levels.items() if level.available >= quantity), None)
                if place is None:
                    return None
                from_where[sku] = place
            lines = []
            for sku, quantity in items:
                variant = self._by_sku[sku]
                lines.append(Line(next(self._ids), variant, from_where[sku], variant.title, variant.price, quantity))
            for title, price, quantity in extras:
                lines.append(Line(next(self._ids), None, self._home, title, Decimal(price), quantity))
            _allocate(Decimal(discount), lines)
            for sku, quantity in wanted.items():
                self._move(self._by_sku[sku], from_where[sku], available=-quantity, committed=quantity)
            now = self._second()
            order = Order(next(self._ids), next(self._numbers), now, now, lines, financial, test, note)
            self.sold[order.id] = order
            self._touch(order)
            body = self._rest_order(order)
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
                variant.sku: sum(level.available for level in variant.levels.values())
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

    def cancel(self, order: str) -> None:
        with self.lock:
            found = self.sold[int(order)]
            items = [(line, line.open, "cancel") for line in found.lines if line.open]
            for line, quantity, _ in items:
                line.removed += quantity
            found.cancelled_at = self._second()
            found.financial = "REFUNDED" if found.financial == "PAID" else "VOIDED"
            amount = found.total if found.financial == "REFUNDED" else Decimal(0)
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
            share = _cents((line.total + line.tax) * quantity / line.quantity)
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
            body = self._rest_order(found)
            self._emit(
                self._event(),
                [
                    ("fulfillments/create", self._rest_fulfillment(found, found.fulfillments[-1])),
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
            self._emit(self._event(), [("orders/updated", self._rest_order(found))])

    def close_order(self, order: str) -> None:
        """Somebody archives an order."""
        with self.lock:
            found = self.sold[int(order)]
            found.closed_at = self._second()
            self._touch(found)
            self._emit(self._event(), [("orders/updated", self._rest_order(found))])

    def delete(self, order: str) -> None:
        """Somebody deletes an order for good."""
        with self.lock:
            del self.sold[int(order)]
            self._emit(self._event(), [("orders/delete", {"id": int(order)})])

    def revoke_tokens(self) -> None:
        """All tokens given so far stop working."""
        with self.lock:
            self._tokens.clear()

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

    def _event(self) -> str:
        return str(uuid.UUID(int=self._uuids.getrandbits(128), version=4))

    def _move(self, variant: Variant, location: int, *, available: int = 0, committed: int = 0) -> None:
        level = variant.levels[location]
        level.available += available
        level.committed += committed

    def _touch(self, order: Order) -> None:
        order.updated_at = self._second()
        order.marks.append((self.now() + self.index_lag, order.updated_at))

    def _refund(self, order: Order, items: list[tuple[Line, int, str]], amount: Decimal, note: str, topic: str) -> None:
        moved = []
        for line, quantity, how in items:
            if line.variant:
                self._move(
                    line.variant,
                    line.location,
                    available=0 if how == "no_restock" else quantity,
                    committed=0 if how == "return" else -quantity,
                )
                moved.append((line.variant, line.location))
        refund = Refund(next(self._ids), self._second(), amount, note, items)
        order.refunds.append(refund)
        self._touch(order)
        topics = dict.fromkeys((topic, "orders/updated"))
        news = [(name, self._rest_order(order)) for name in topics]
        news.append(("refunds/create", self._rest_refund(order, refund)))
        self._emit(self._event(), news + [self._level_news(*place) for place in moved])

    # --- webhooks

    def _emit(self, event: str, news: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Send every message about one thing that somebody did to whoever subscribed to its topic."""
        for topic, told in news:
            wanted = topic.replace("/", "_").upper()
            takers = [each for each in self.subscriptions.values() if each.topic == wanted]
            body = json.dumps(told, default=str).encode() if takers else b""
            for subscription in takers:
                signature = hmac.digest(self.client_secret.encode(), body, hashlib.sha256)
                headers = {
                    "Content-Type": "application/json",
                    "X-Shopify-Topic": topic,
                    "X-Shopify-Hmac-Sha256": base64.b64encode(signature).decode(),
                    "X-Shopify-Shop-Domain": self.domain,
                    "X-Shopify-API-Version": self.served_version,
                    "X-Shopify-Webhook-Id": self._event(),
                    "X-Shopify-Event-Id": event,
                    "X-Shopify-Triggered-At": self.now().isoformat(),
                    **({"X-Shopify-Name": subscription.name} if subscription.name else {}),
                }
                self.deliver(subscription.uri, headers, body)

    def delivered(self, attempt: Attempt, *, final: bool) -> None:
        """Forget a subscription whose receiver never answered: Shopify deletes it, and says nothing."""
        if final and (attempt.status is None or not 200 <= attempt.status < 300):
            topic = attempt.headers["X-Shopify-Topic"].replace("/", "_").upper()
            self.subscriptions = {
                id: each
                for id, each in self.subscriptions.items()
                if (each.topic, each.uri) != (topic, attempt.address)
            }

    def _level_news(self, variant: Variant, location: int) -> tuple[str, dict[str, Any]]:
        return (
            "inventory_levels/update",
            {
                "inventory_item_id": variant.item_id,
                "location_id": location,
                "available": variant.levels[location].available,
                "updated_at": _iso(self._second()),
                "admin_graphql_api_id": f"{_gid('InventoryLevel', location)}?inventory_item_id={variant.item_id}",
            },
        )

    def _set(self, amount: Decimal) -> dict[str, Any]:
        money = {"amount": _plain(amount), "currency_code": self.currency}
        return {"shop_money": money, "presentment_money": money}

    def _rest_order(self, order: Order) -> dict[str, Any]:
        fulfillment = {"UNFULFILLED": None, "PARTIALLY_FULFILLED": "partial", "FULFILLED": "fulfilled"}
        subtotal = order.total - order.tax - SHIPPING
        return {
            "id": order.id,
            "admin_graphql_api_id": _gid("Order", order.id),
            "name": f"#{order.number}",
            "order_number": order.number,
            "created_at": _iso(order.created_at),
            "processed_at": _iso(order.created_at),
            "updated_at": _iso(order.updated_at),
            "cancelled_at": order.cancelled_at and _iso(order.cancelled_at),
            "closed_at": order.closed_at and _iso(order.closed_at),
            "confirmed": True,
            "test": order.test,
            "currency": self.currency,
            "presentment_currency": self.currency,
            "taxes_included": False,
            "financial_status": order.financial.lower(),
            "fulfillment_status": fulfillment[order.fulfillment],
            "email": "ada@example.com",
            "note": order.note or None,
            "subtotal_price": _plain(subtotal),
            "subtotal_price_set": self._set(subtotal),
            "total_discounts": _plain(order.discount),
            "total_discounts_set": self._set(order.discount),
            "total_shipping_price_set": self._set(SHIPPING),
            "total_tax": _plain(order.tax),
            "total_tax_set": self._set(order.tax),
            "total_tip_received": "0.00",
            "total_price": _plain(order.total),
            "total_price_set": self._set(order.total),
            "original_total_duties_set": None,
            "original_total_additional_fees_set": None,
            "shipping_address": {**ADDRESS, "name": f"{ADDRESS['first_name']} {ADDRESS['last_name']}"},
            "billing_address": {**ADDRESS, "name": f"{ADDRESS['first_name']} {ADDRESS['last_name']}"},
            "shipping_lines": [{"title": "Standard", "price": _plain(SHIPPING), "price_set": self._set(SHIPPING)}],
            "line_items": [self._rest_line(line) for line in order.lines],
            "fulfillments": [self._rest_fulfillment(order, each) for each in order.fulfillments],
            "refunds": [self._rest_refund(order, each) for each in order.refunds],
        }

    def _rest_line(self, line: Line) -> dict[str, Any]:
        discounts = [{"amount": _plain(line.discount), "amount_set": self._set(line.discount)}] if line.discount else []
        return {
            "id": line.id,
            "admin_graphql_api_id": _gid("LineItem", line.id),
            "variant_id": line.variant and line.variant.id,
            "product_id": line.variant and line.variant.product_id,
            "name": line.name,
            "title": line.name,
            "sku": line.variant.sku if line.variant else "",
            "quantity": line.quantity,
            "current_quantity": line.current,
            "fulfillable_quantity": line.open,
            "fulfillment_status": "fulfilled" if line.fulfilled and not line.open else None,
            "requires_shipping": True,
            "price": _plain(line.price),
            "price_set": self._set(line.price),
            "total_discount": "0.00",
            "total_discount_set": self._set(Decimal(0)),
            "discount_allocations": discounts,
            "tax_lines": [{"title": "VAT", "rate": 0.1, "price": _plain(line.tax), "price_set": self._set(line.tax)}],
        }

    def _rest_fulfillment(self, order: Order, fulfillment: Fulfillment) -> dict[str, Any]:
        return {
            "id": fulfillment.id,
            "admin_graphql_api_id": _gid("Fulfillment", fulfillment.id),
            "order_id": order.id,
            "status": "cancelled" if fulfillment.cancelled else "success",
            "created_at": _iso(fulfillment.at),
            "line_items": [{**self._rest_line(line), "quantity": quantity} for line, quantity in fulfillment.items],
        }

    def _rest_refund(self, order: Order, refund: Refund) -> dict[str, Any]:
        transaction = {
            "id": refund.id + 1,
            "kind": "refund",
            "status": "success",
            "amount": _plain(refund.amount),
            "currency": self.currency,
        }
        return {
            "id": refund.id,
            "admin_graphql_api_id": _gid("Refund", refund.id),
            "order_id": order.id,
            "created_at": _iso(refund.at),
            "note": refund.note or None,
            "refund_line_items": [
                {"line_item_id": line.id, "quantity": quantity, "restock_type": how}
                for line, quantity, how in refund.items
            ],
            "transactions": [transaction] if refund.amount else [],
        }

    def _rest_product(self, variant: Variant) -> dict[str, Any]:
        return {
            "id": variant.product_id,
            "admin_graphql_api_id": _gid("Product", variant.product_id),
            "title": variant.title,
            "status": variant.status.lower(),
            "updated_at": _iso(variant.updated_at),
            "variants": [
                {
                    "id": variant.id,
                    "admin_graphql_api_id": _gid("ProductVariant", variant.id),
                    "product_id": variant.product_id,
                    "inventory_item_id": variant.item_id,
                    "title": "Default Title",
                    "sku": variant.sku,
                    "barcode": variant.barcode or None,
                    "price": _plain(variant.price),
                    "inventory_management": "shopify" if variant.tracked else None,
                    "inventory_quantity": sum(level.available for level in variant.levels.values()),
                }
            ],
        }

    # --- the API's door

    def answer(self, request: SimRequest) -> SimResponse:
        if request.headers.get("host", self.domain) != self.domain:
            return SimResponse.of_json({"errors": "Not Found"}, 404)
        if (request.method, request.path) == ("POST", "/admin/oauth/access_token"):
            return self._grant(dict(parse_qsl(request.body.decode("utf-8", "replace"))))
        if request.method != "POST" or not re.fullmatch(r"/admin/api/\d{4}-(01|04|07|10)/graphql\.json", request.path):
            return SimResponse.of_json({"errors": "Not Found"}, 404)
        if not self._admits(request.headers.get("x-shopify-access-token", "")):
            words = "[API] Invalid API key or access token (unrecognized login or wrong password)"
            return SimResponse.of_json({"errors": words}, 401)
        try:
            asked = request.json()
            document, variables = asked["query"], asked.get("variables") or {}
        except (Unreadable, KeyError, TypeError, AttributeError):
            return SimResponse.of_json({"errors": "Bad Request"}, 400)
        return SimResponse.of_json(
            self._execute(str(document), variables), headers={"X-Shopify-API-Version": self.served_version}
        )

    def _grant(self, form: Mapping[str, str]) -> SimResponse:
        code = ""
        if form.get("grant_type") != "client_credentials":
            code = "unsupported_grant_type"
        elif form.get("client_id") != self.client_id:
            code = "application_cannot_be_found"
        elif form.get("client_secret") != self.client_secret:
            code = "invalid_client"
        elif not self.permitted:
            code = "shop_not_permitted"
        elif not self.installed:
            code = "app_not_installed"
        if code:
            page = f"<!doctype html><html><body>Oauth error {code}</body></html>"
            return SimResponse(400, {"Content-Type": "text/html; charset=utf-8"}, page.encode())
        token = f"shpat_{self._uuids.getrandbits(128):032x}"
        self._tokens[token] = self.now() + timedelta(seconds=TOKEN_SECONDS)
        return SimResponse.of_json({"access_token": token, "scope": ",".join(self.scopes), "expires_in": TOKEN_SECONDS})

    def _admits(self, token: str) -> bool:
        return token == self.legacy_token or self._tokens.get(token, self.now()) > self.now()

    def _execute(self, text: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        document, wrong = _document(text)
        if document is None or wrong:
            return {"errors": [error.formatted for error in wrong]}
        requested = _requested_cost(document, variables)
        if requested > MOST_COST:
            words = f"Query cost is {requested}, which exceeds the single query max cost limit ({MOST_COST})."
            extensions = {"code": "MAX_COST_EXCEEDED", "cost": requested, "maxCost": MOST_COST}
            return {"errors": [{"message": words, "extensions": extensions}]}
        available, most, rate = self._restored()
        if requested > available:
            throttled = {"message": "Throttled", "extensions": {"code": "THROTTLED"}}
            return {"errors": [throttled], "extensions": {"cost": self._cost(requested, None)}}
        result = execute_sync(SCHEMA, document, root_value=self._api, variable_values=dict(variables))
        actual = min(requested, _actual_cost(document, result.data))
        self._bucket = (available - actual, most, rate)
        answer: dict[str, Any] = {"data": result.data}
        if result.errors:
            answer["errors"] = [error.formatted for error in result.errors]
        return {**answer, "extensions": {"cost": self._cost(requested, actual)}}

    def _restored(self) -> tuple[float, float, float]:
        available, most, rate = self._bucket
        now = self.now()
        available = min(most, available + rate * max(0.0, (now - self._restored_at).total_seconds()))
        self._restored_at = now
        self._bucket = (available, most, rate)
        return self._bucket

    def _cost(self, requested: int, actual: int | None) -> dict[str, Any]:
        available, most, rate = self._bucket
        status = {"maximumAvailable": most, "currentlyAvailable": int(available), "restoreRate": rate}
        return {"requestedQueryCost": requested, "actualQueryCost": actual, "throttleStatus": status}

    # --- writing stock

    def set_quantities(self, call: Mapping[str, Any], key: str) -> dict[str, Any]:
        """Carry out inventorySetQuantities: the whole call or nothing of it, and once for each key."""
        now = self.now()
        self._keys = {each: kept for each, kept in self._keys.items() if kept[2] + KEY_KEPT > now}
        said = json.dumps(call, sort_keys=True)
        if key in self._keys:
            before, payload, _ = self._keys[key]
            if before == said:
                return payload
            return _user_errors([("IDEMPOTENCY_KEY_PARAMETER_MISMATCH", None, "The key belongs to other parameters.")])
        if self._refusals:
            return _user_errors([(self._refusals.popleft(), None, "Refused by the simulation.")])
        errors = list(self._mistakes(call))
        payload = _user_errors(errors) if errors else self._write(call)
        self._keys[key] = (said, payload, now)
        return payload

    def _mistakes(self, call: Mapping[str, Any]) -> Iterable[tuple[str, list[str] | None, str]]:
        if call["name"] not in ("available", "on_hand"):
            yield "INVALID_NAME", ["input", "name"], "The quantity name must be either 'available' or 'on_hand'."
        if call["reason"] not in ("correction", "cycle_count_available", "other", "received", "restock"):
            yield "INVALID_REASON", ["input", "reason"], "The specified reason is invalid."
        uri = call.get("referenceDocumentUri")
        if uri is not None and not urlsplit(uri).scheme:
            yield "INVALID_REFERENCE_DOCUMENT", ["input", "referenceDocumentUri"], "The document is not a URI."
        pairs: set[tuple[str, str]] = set()
        for index, asked in enumerate(call["quantities"]):
            pair = asked["inventoryItemId"], asked["locationId"]
            code, name = self._mistake(call["name"], asked)
            if pair in pairs:
                code, name = "NO_DUPLICATE_INVENTORY_ITEM_ID_GROUP_ID_PAIR", "inventoryItemId"
            pairs.add(pair)
            if code:
                path = ["input", "quantities", str(index), name] if self.names_the_refused else None
                yield code, path, f"Simulated: {code.replace('_', ' ').lower()}."

    def _mistake(self, name: str, asked: Mapping[str, Any]) -> tuple[str, str]:
        variant = self._by_item.get(_legacy(asked["inventoryItemId"], "InventoryItem"))
        location = _legacy(asked["locationId"], "Location")
        if variant is None:
            return "INVALID_INVENTORY_ITEM", "inventoryItemId"
        if location not in self.locations:
            return "INVALID_LOCATION", "locationId"
        if not variant.mutable:
            return "NON_MUTABLE_INVENTORY_ITEM", "inventoryItemId"
        if asked["quantity"] < 0:
            return "INVALID_QUANTITY_NEGATIVE", "quantity"
        if asked["quantity"] > 1_000_000_000:
            return "INVALID_QUANTITY_TOO_HIGH", "quantity"
        level = variant.levels.get(location, Level(0))
        there = level.available + (level.committed if name == "on_hand" else 0)
        if asked["changeFromQuantity"] not in (None, there):
            return "CHANGE_FROM_QUANTITY_STALE", "changeFromQuantity"
        return "", ""

    def _write(self, call: Mapping[str, Any]) -> dict[str, Any]:
        news = []
        for asked in call["quantities"]:
            variant = self._by_item[_legacy(asked["inventoryItemId"], "InventoryItem")]
            location = _legacy(asked["locationId"], "Location")
            level = variant.levels.setdefault(location, Level(0))
            held = level.committed if call["name"] == "on_hand" else 0
            level.available = asked["quantity"] - held
            self.wrote_stock(variant.sku, level.available)
            news.append(self._level_news(variant, location))
        self._emit(self._event(), news)
        group = {
            "id": _gid("InventoryAdjustmentGroup", next(self._ids)),
            "reason": call["reason"],
            "referenceDocumentUri": call.get("referenceDocumentUri"),
        }
        return {"inventoryAdjustmentGroup": group, "userErrors": []}


# ---------------------------------------------------------------- the API's fields


class _Api:
    """The root of every query and mutation: one method per field, in the vendor's spelling.

    Objects are dicts of their fields; what takes arguments or costs work is a function that is called when asked for.
    """

    def __init__(self, shop: ShopifySimulator) -> None:
        self._shop = shop

    def _need(self, *scopes: str) -> None:
        granted = {*self._shop.scopes, *(scope.replace("write_", "read_", 1) for scope in self._shop.scopes)}
        if granted.isdisjoint(scopes):
            needed = " or ".join(f"`{scope}` access scope" for scope in scopes)
            raise GraphQLError(
                "Access denied. Required access: " + needed,
                extensions={"code": "ACCESS_DENIED", "requiredAccess": f"{needed}."},
            )

    # --- the account

    def shop(self, info: GraphQLResolveInfo) -> dict[str, Any]:
        shop = self._shop
        return {
            "id": _gid("Shop", shop.shop_id),
            "name": "Demo shop",
            "currencyCode": shop.currency,
            "myshopifyDomain": shop.domain,
        }

    def currentAppInstallation(self, info: GraphQLResolveInfo) -> dict[str, Any]:
        scopes = [{"handle": scope, "description": scope.replace("_", " ")} for scope in self._shop.scopes]
        return {"id": _gid("AppInstallation", 1), "accessScopes": scopes}

    def locations(self, info: GraphQLResolveInfo, **paging: Any) -> dict[str, Any]:
        self._need("read_locations", "read_inventory")
        return _connection(sorted(self._shop.locations), lambda id: [id], self._location, paging)

    def _location(self, id: int) -> dict[str, Any]:
        return {**_ids("Location", id), "name": self._shop.locations[id], "isActive": True}

    # --- nodes

    def node(self, info: GraphQLResolveInfo, id: str) -> dict[str, Any] | None:
        kind, _, number = id.removeprefix("gid://shopify/").partition("/")
        if not number.isdigit():
            raise GraphQLError(f"Invalid global id '{id}'")
        shop, key = self._shop, int(number)
        if kind == "Order":
            return self.order(info, id)
        if kind == "ProductVariant":
            return self.productVariant(info, id)
        if kind == "InventoryItem":
            return self.inventoryItem(info, id)
        if kind == "Location":
            return self._location(key) if key in shop.locations else None
        if kind == "Fulfillment":
            self._need("read_orders")
            every = (each for order in shop.sold.values() for each in order.fulfillments)
            return next((self._fulfillment(each) for each in every if each.id == key), None)
        return None

    def nodes(self, info: GraphQLResolveInfo, ids: Sequence[str]) -> list[dict[str, Any] | None]:
        if len(ids) > MOST_AT_ONCE:
            raise _too_many("ids", len(ids))
        return [self.node(info, id) for id in ids]

    # --- orders

    def order(self, info: GraphQLResolveInfo, id: str) -> dict[str, Any] | None:
        self._need("read_orders")
        order = self._shop.sold.get(_legacy(id, "Order"))
        return self._order(order) if order else None

    def orders(
        self, info: GraphQLResolveInfo, query: str | None = None, sortKey: str = "PROCESSED_AT", **paging: Any
    ) -> dict[str, Any]:
        self._need("read_orders")
        found = self._search(query)
        if sortKey == "UPDATED_AT":
            return _connection(
                found, lambda each: [_iso(each[0]), each[1].id], lambda each: self._order(each[1]), paging
            )
        return _connection(
            sorted(found, key=lambda each: each[1].id),
            lambda each: [each[1].id],
            lambda each: self._order(each[1]),
            paging,
        )

    def ordersCount(
        self, info: GraphQLResolveInfo, query: str | None = None, limit: int | None = None
    ) -> dict[str, Any]:
        self._need("read_orders")
        return _count(len(self._search(query)), limit)

    def _search(self, query: str | None) -> list[tuple[datetime, Order]]:
        """The orders that the search index knows by now, with the mark it knows, oldest mark first."""
        since = datetime.min.replace(tzinfo=UTC)
        if query:
            term = re.fullmatch(r"updated_at:>='([^']+)'", query)
            if term is None:
                raise GraphQLError(f"The simulation does not know the search “{query}”.")
            since = datetime.fromisoformat(term[1].replace("Z", "+00:00"))
        now = self._shop.now()
        known = []
        for order in self._shop.sold.values():
            mark = next((mark for visible, mark in reversed(order.marks) if visible <= now), None)
            if mark is not None and mark >= since:
                known.append((mark, order))
        return sorted(known, key=lambda each: (each[0], each[1].id))

    def _order(self, order: Order) -> dict[str, Any]:
        money = self._money
        address = _graph_address()
        return {
            "__typename": "Order",
            **_ids("Order", order.id),
            "name": f"#{order.number}",
            "createdAt": _iso(order.created_at),
            "processedAt": _iso(order.created_at),
            "updatedAt": _iso(order.updated_at),
            "cancelledAt": order.cancelled_at and _iso(order.cancelled_at),
            "closed": order.closed_at is not None,
            "test": order.test,
            "displayFinancialStatus": order.financial,
            "displayFulfillmentStatus": order.fulfillment,
            "currencyCode": self._shop.currency,
            "taxesIncluded": False,
            "email": "ada@example.com",
            "note": order.note or None,
            "totalPriceSet": lambda info: money(order.total),
            "totalShippingPriceSet": lambda info: money(SHIPPING),
            "totalTaxSet": lambda info: money(order.tax),
            "totalDiscountsSet": lambda info: money(order.discount),
            "totalTipReceivedSet": lambda info: money(Decimal(0)),
            "originalTotalDutiesSet": None,
            "originalTotalAdditionalFeesSet": None,
            "totalRefundedSet": lambda info: money(order.refunded),
            "shippingAddress": address,
            "billingAddress": address,
            "lineItems": lambda info, **paging: _connection(order.lines, lambda line: [line.id], self._line, paging),
            "refunds": lambda info, first=None: [self._refund(each) for each in order.refunds[:first]],
            "fulfillments": lambda info, first=None: [self._fulfillment(each) for each in order.fulfillments[:first]],
        }

    def _line(self, line: Line) -> dict[str, Any]:
        discounts = [{"allocatedAmountSet": self._money(line.discount)}] if line.discount else []
        variant = line.variant
        return {
            "__typename": "LineItem",
            "id": _gid("LineItem", line.id),
            "name": line.name,
            "title": line.name,
            "sku": variant.sku if variant else None,
            "quantity": line.quantity,
            "currentQuantity": line.current,
            "unfulfilledQuantity": line.open,
            "requiresShipping": True,
            "variant": self._variant(variant) if variant and variant.id in self._shop.variants else None,
            "originalUnitPriceSet": self._money(line.price),
            "discountAllocations": discounts,
            "taxLines": lambda info, first=None: [{"title": "VAT", "priceSet": self._money(line.tax)}],
        }

    def _refund(self, refund: Refund) -> dict[str, Any]:
        return {
            **_ids("Refund", refund.id),
            "createdAt": _iso(refund.at),
            "note": refund.note or None,
            "totalRefundedSet": self._money(refund.amount),
        }

    def _fulfillment(self, fulfillment: Fulfillment) -> dict[str, Any]:
        def part(numbered: tuple[int, tuple[Line, int]]) -> dict[str, Any]:
            number, (line, quantity) = numbered
            id = _gid("FulfillmentLineItem", fulfillment.id + number)
            return {"id": id, "quantity": quantity, "lineItem": self._line(line)}

        items = list(enumerate(fulfillment.items))
        return {
            "__typename": "Fulfillment",
            **_ids("Fulfillment", fulfillment.id),
            "createdAt": _iso(fulfillment.at),
            "status": "CANCELLED" if fulfillment.cancelled else "SUCCESS",
            "fulfillmentLineItems": lambda info, **paging: _connection(items, lambda each: [each[0]], part, paging),
        }

    def _money(self, amount: Decimal) -> dict[str, Any]:
        money = {"amount": _plain(amount), "currencyCode": self._shop.currency}
        return {"shopMoney": money, "presentmentMoney": money}

    # --- listings and stock

    def productVariant(self, info: GraphQLResolveInfo, id: str) -> dict[str, Any] | None:
        self._need("read_products")
        variant = self._shop.variants.get(_legacy(id, "ProductVariant"))
        return self._variant(variant) if variant else None

    def productVariants(
        self, info: GraphQLResolveInfo, query: str | None = None, sortKey: str = "ID", **paging: Any
    ) -> dict[str, Any]:
        self._need("read_products")
        return _connection(self._chosen(query), lambda variant: [variant.id], self._variant, paging)

    def productVariantsCount(
        self, info: GraphQLResolveInfo, query: str | None = None, limit: int | None = None
    ) -> dict[str, Any]:
        self._need("read_products")
        return _count(len(self._chosen(query)), limit)

    def _chosen(self, query: str | None) -> list[Variant]:
        after = 0
        if query:
            term = re.fullmatch(r"id:>(\d+)", query)
            if term is None:
                raise GraphQLError(f"The simulation does not know the search “{query}”.")
            after = int(term[1])
        return [variant for id, variant in sorted(self._shop.variants.items()) if id > after]

    def inventoryItem(self, info: GraphQLResolveInfo, id: str) -> dict[str, Any] | None:
        self._need("read_inventory", "read_products")
        variant = self._shop._by_item.get(_legacy(id, "InventoryItem"))
        return self._item(variant) if variant else None

    def _variant(self, variant: Variant) -> dict[str, Any]:
        return {
            "__typename": "ProductVariant",
            **_ids("ProductVariant", variant.id),
            "title": "Default Title",
            "sku": variant.sku,
            "barcode": variant.barcode or None,
            "price": _plain(variant.price),
            "updatedAt": _iso(variant.updated_at),
            "product": {**_ids("Product", variant.product_id), "title": variant.title, "status": variant.status},
            "inventoryItem": lambda info: self._item(variant),
        }

    def _item(self, variant: Variant) -> dict[str, Any]:
        def levels(info: GraphQLResolveInfo, **paging: Any) -> dict[str, Any]:
            self._need("read_inventory")
            return _connection(sorted(variant.levels), lambda id: [id], lambda id: self._level(variant, id), paging)

        def level(info: GraphQLResolveInfo, locationId: str) -> dict[str, Any] | None:
            self._need("read_inventory")
            location = _legacy(locationId, "Location")
            return self._level(variant, location) if location in variant.levels else None

        return {
            "__typename": "InventoryItem",
            **_ids("InventoryItem", variant.item_id),
            "sku": variant.sku,
            "tracked": variant.tracked,
            "inventoryLevels": levels,
            "inventoryLevel": level,
        }

    def _level(self, variant: Variant, location: int) -> dict[str, Any]:
        kept = variant.levels[location]
        amounts = {"available": kept.available, "committed": kept.committed, "on_hand": kept.available + kept.committed}
        return {
            "__typename": "InventoryLevel",
            "id": f"{_gid('InventoryLevel', location)}?inventory_item_id={variant.item_id}",
            "item": lambda info: self._item(variant),
            "location": self._location(location),
            "quantities": lambda info, names: [
                {"id": f"{_gid('InventoryQuantity', location)}?name={name}", "name": name, "quantity": amounts[name]}
                for name in names
                if name in amounts
            ],
        }

    def inventorySetQuantities(self, info: GraphQLResolveInfo, input: dict[str, Any]) -> dict[str, Any]:
        self._need("write_inventory")
        directive = SCHEMA.get_directive("idempotent")
        given = directive and get_directive_values(directive, info.field_nodes[0], info.variable_values)
        if not given or not given["key"].strip():
            raise GraphQLError("This mutation requires the @idempotent directive with a key.")
        if len(input["quantities"]) > MOST_AT_ONCE:
            raise _too_many("quantities", len(input["quantities"]))
        if any("changeFromQuantity" not in asked for asked in input["quantities"]):
            raise GraphQLError("changeFromQuantity is required: pass null to write without a comparison.")
        return self._shop.set_quantities(input, given["key"])

    # --- webhooks

    def webhookSubscriptions(self, info: GraphQLResolveInfo, **paging: Any) -> dict[str, Any]:
        subscriptions = list(self._shop.subscriptions.values())
        return _connection(subscriptions, lambda each: [each.id], _subscription, paging)

    def webhookSubscriptionCreate(
        self, info: GraphQLResolveInfo, topic: str, webhookSubscription: dict[str, Any]
    ) -> dict[str, Any]:
        shop, uri = self._shop, webhookSubscription.get("uri") or ""
        parts = urlsplit(uri)
        # Shopify wants HTTPS; a hub on this machine has none.
        if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost"):
            return {"userErrors": [{"field": ["webhookSubscription", "uri"], "message": "Address is invalid"}]}
        if any((each.topic, each.uri) == (topic, uri) for each in shop.subscriptions.values()):
            taken = "Address for this topic has already been taken"
            return {"userErrors": [{"field": ["webhookSubscription", "uri"], "message": taken}]}
        made = Subscription(next(shop._ids), topic, uri, webhookSubscription.get("name") or "")
        shop.subscriptions[made.id] = made
        return {"webhookSubscription": _subscription(made), "userErrors": []}

    def webhookSubscriptionDelete(self, info: GraphQLResolveInfo, id: str) -> dict[str, Any]:
        if self._shop.subscriptions.pop(_legacy(id, "WebhookSubscription"), None) is None:
            return {"userErrors": [{"field": ["id"], "message": "Webhook subscription does not exist"}]}
        return {"deletedWebhookSubscriptionId": id, "userErrors": []}


# ---------------------------------------------------------------- small things


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, ROUND_HALF_UP)


def _plain(amount: Decimal) -> str:
    return f"{_cents(amount):f}"


def _iso(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _gid(kind: str, id: int) -> str:
    return f"gid://shopify/{kind}/{id}"


def _ids(kind: str, id: int) -> dict[str, Any]:
    return {"id": _gid(kind, id), "legacyResourceId": str(id)}


def _legacy(gid: str, kind: str) -> int:
    """The number of an id; -1 where it is an id of something else."""
    found = re.fullmatch(rf"gid://shopify/{kind}/(\d+)", gid)
    return int(found[1]) if found else -1


def _allocate(discount: Decimal, lines: Iterable[Line]) -> None:
    """Take a discount off the lines, from the first one on."""
    for line in lines:
        line.discount = min(discount, line.price * line.quantity)
        discount -= line.discount


def _graph_address() -> dict[str, Any]:
    return {
        "firstName": ADDRESS["first_name"],
        "lastName": ADDRESS["last_name"],
        "name": f"{ADDRESS['first_name']} {ADDRESS['last_name']}",
        "company": ADDRESS["company"],
        "address1": ADDRESS["address1"],
        "address2": ADDRESS["address2"],
        "city": ADDRESS["city"],
        "province": ADDRESS["province"],
        "provinceCode": ADDRESS["province_code"],
        "zip": ADDRESS["zip"],
        "countryCodeV2": ADDRESS["country_code"],
        "phone": ADDRESS["phone"],
    }


def _subscription(each: Subscription) -> dict[str, Any]:
    return {**_ids("WebhookSubscription", each.id), "topic": each.topic, "uri": each.uri, "format": "JSON"}


def _user_errors(errors: Iterable[tuple[str, list[str] | None, str]]) -> dict[str, Any]:
    return {"userErrors": [{"code": code, "field": path, "message": words} for code, path, words in errors]}


def _too_many(name: str, count: int) -> GraphQLError:
    return GraphQLError(
        f"The input array size of {count} for {name} is greater than the maximum allowed of {MOST_AT_ONCE}.",
        extensions={"code": "MAX_INPUT_SIZE_EXCEEDED"},
    )


def _count(count: int, limit: int | None) -> dict[str, Any]:
    most = count if limit is None else min(count, limit)
    return {"count": most, "precision": "EXACT" if most == count else "AT_LEAST"}


def _connection(
    things: Sequence[_T],
    key: Callable[[_T], list[Any]],
    view: Callable[[_T], dict[str, Any]],
    paging: Mapping[str, Any],
) -> dict[str, Any]:
    """A page of ``things``, which are in the order of ``key``; a cursor is the key of the thing it comes after."""
    first, after = paging.get("first"), paging.get("after")
    if first is None:
        raise GraphQLError("You must provide one of first or last.", extensions={"code": "BAD_REQUEST"})
    if not 0 < first <= MOST_AT_ONCE:
        raise GraphQLError(f"first must be between 1 and {MOST_AT_ONCE}.", extensions={"code": "BAD_REQUEST"})
    rest = list(things)
    if after:
        at = json.loads(base64.urlsafe_b64decode(after))
        rest = [thing for thing in things if key(thing) > at]
    page = rest[:first]
    cursors = [base64.urlsafe_b64encode(json.dumps(key(thing)).encode()).decode() for thing in (*page[:1], *page[-1:])]
    return {
        "nodes": [view(thing) for thing in page],
        "pageInfo": {
            "hasNextPage": len(rest) > len(page),
            "hasPreviousPage": bool(after),
            "startCursor": cursors[0] if cursors else None,
            "endCursor": cursors[-1] if cursors else None,
        },
    }


# ---------------------------------------------------------------- documents and what they cost


@lru_cache(maxsize=256)
def _document(text: str) -> tuple[DocumentNode | None, list[GraphQLError]]:
    try:
        document = parse(text, max_tokens=20_000)
    except GraphQLError as error:
        return None, [error]
    return document, validate(SCHEMA, document)


def _requested_cost(document: DocumentNode, variables: Mapping[str, Any]) -> int:
    """What a query costs at most: objects 1, connections 2 and their nodes as often as asked for, mutations 10."""
    fragments = {each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)}
    operation = next(each for each in document.definitions if isinstance(each, OperationDefinitionNode))
    root = SCHEMA.get_root_type(operation.operation)

    def argument(node: FieldNode, name: str) -> Any:
        for given in node.arguments:
            if given.name.value == name:
                if isinstance(given.value, VariableNode):
                    return variables.get(given.value.name.value)
                return int(given.value.value) if isinstance(given.value, IntValueNode) else None
        return None

    def inside(selections: SelectionSetNode | None, parent: GraphQLNamedType | None) -> int:
        cost = 0
        for node in selections.selections if selections else ():
            if isinstance(node, FieldNode):
                cost += of_field(node, parent)
            elif isinstance(node, FragmentSpreadNode):
                fragment = fragments[node.name.value]
                cost += inside(fragment.selection_set, SCHEMA.get_type(fragment.type_condition.name.value))
            elif isinstance(node, InlineFragmentNode):
                kind = SCHEMA.get_type(node.type_condition.name.value) if node.type_condition else parent
                cost += inside(node.selection_set, kind)
        return cost

    def of_field(node: FieldNode, parent: GraphQLNamedType | None) -> int:
        name = node.name.value
        if not isinstance(parent, GraphQLObjectType | GraphQLInterfaceType) or name.startswith("__"):
            return 0
        kind = get_named_type(parent.fields[name].type)
        if is_leaf_type(kind) or name == "pageInfo":
            return 0
        if parent is SCHEMA.mutation_type:
            return 10
        if kind.name.endswith("Connection"):
            return 2 + (argument(node, "first") or 0) * inside(node.selection_set, kind)
        ids = argument(node, "ids")
        times = len(ids) if isinstance(ids, list) else argument(node, "first") or 1
        return int(times * (1 + inside(node.selection_set, kind)))

    return inside(operation.selection_set, root)


def _actual_cost(document: DocumentNode, data: Any) -> int:
    """What a query did cost: the objects it found."""
    operation = next(each for each in document.definitions if isinstance(each, OperationDefinitionNode))
    if operation.operation.value == "mutation":
        return 10
    return _objects(data) - 1


def _objects(found: Any) -> int:
    if isinstance(found, list):
        return sum(map(_objects, found))
    if not isinstance(found, dict):
        return 0
    own = 2 if "pageInfo" in found else 1
    return own + sum(_objects(value) for name, value in found.items() if name != "pageInfo")
