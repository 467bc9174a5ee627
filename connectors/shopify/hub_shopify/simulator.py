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
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from hub.errors import Unreadable
from hub.testing.simulator import Attempt, Sale, ShopSimulator, SimRequest, SimResponse
from hub_shopify.simulator_graphql import Api, Budget, execute, legacy, user_errors
from hub_shopify.simulator_model import (
    Fulfillment,
    Level,
    Line,
    Order,
    Refund,
    Subscription,
    Variant,
    allocate,
    cents,
    gid,
)
from hub_shopify.simulator_webhooks import fulfillment_body, level_body, order_body, product_body, refund_body

API_VERSION = "2026-10"
SCOPES = ("read_orders", "read_all_orders", "read_products", "write_inventory", "read_locations")
TOKEN_SECONDS = 86_399
KEY_KEPT = timedelta(hours=24)
# Eight further attempts within four hours, further and further apart: how far, Shopify does not say.
RETRIES = (5.0, 15.0, 60.0, 240.0, 900.0, 1800.0, 3600.0, 7780.0)

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
        self._budget = Budget(restore_rate, bucket, now)
        self._api = Api(self)
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
            self._emit(self._event(), [("products/create", product_body(variant))])
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
            self._emit(self._event(), [("products/update", product_body(variant))])

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
            allocate(Decimal(discount), lines)
            for sku, quantity in wanted.items():
                self._move(self._by_sku[sku], from_where[sku], available=-quantity, committed=quantity)
            now = self._second()
            order = Order(next(self._ids), next(self._numbers), now, now, lines, financial, test, note)
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
        news = [(name, order_body(order, self.currency)) for name in topics]
        news.append(("refunds/create", refund_body(order, refund, self.currency)))
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
            execute(self._api, self._budget, str(document), variables),
            headers={"X-Shopify-API-Version": self.served_version},
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
            return user_errors([("IDEMPOTENCY_KEY_PARAMETER_MISMATCH", None, "The key belongs to other parameters.")])
        if self._refusals:
            return user_errors([(self._refusals.popleft(), None, "Refused by the simulation.")])
        errors = list(self._mistakes(call))
        payload = user_errors(errors) if errors else self._write(call)
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
        variant = self._by_item.get(legacy(asked["inventoryItemId"], "InventoryItem"))
        location = legacy(asked["locationId"], "Location")
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
            variant = self._by_item[legacy(asked["inventoryItemId"], "InventoryItem")]
            location = legacy(asked["locationId"], "Location")
            level = variant.levels.setdefault(location, Level(0))
            held = level.committed if call["name"] == "on_hand" else 0
            level.available = asked["quantity"] - held
            self.wrote_stock(variant.sku, level.available)
            news.append(self._level_news(variant, location))
        self._emit(self._event(), news)
        group = {
            "id": gid("InventoryAdjustmentGroup", next(self._ids)),
            "reason": call["reason"],
            "referenceDocumentUri": call.get("referenceDocumentUri"),
        }
        return {"inventoryAdjustmentGroup": group, "userErrors": []}
