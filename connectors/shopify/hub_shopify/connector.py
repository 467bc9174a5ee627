"""The Shopify connector: one shop's Admin GraphQL API and its webhooks."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import re
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar, TypeVar

from hub.connector import (
    Capabilities,
    Context,
    Delivery,
    EffectResult,
    Fact,
    Page,
    PushOutcome,
    PushState,
    RateBudget,
    RawRecord,
    SalesChannel,
    Settlement,
    StockPush,
    StockRef,
    Webhook,
)
from hub.core.model import Account, ChannelLocation, Listing, Order
from hub.errors import AuthError, NotFound, RateLimited, Rejected, Unavailable, Unverified
from hub_shopify import documents
from hub_shopify.admin_api import ADD_SCOPES, DELETED, NO_SHOP, AdminApi
from hub_shopify.settings import ShopifySettings
from hub_shopify.translation import FETCHED_ORDER, FETCHED_VARIANT, INVENTORY_ITEM, available
from hub_shopify.webhooks import READERS

SCOPES = ("read_orders", "read_products", "read_inventory", "write_inventory", "read_locations")
# Without it Shopify shows only the orders of the last 60 days.
OLD_ORDERS = "read_all_orders"

# The topics to subscribe to. Payments, fulfillments, refunds and edits all come as orders/updated as well.
TOPICS = (
    "ORDERS_CREATE",
    "ORDERS_UPDATED",
    "ORDERS_CANCELLED",
    "ORDERS_DELETE",
    "REFUNDS_CREATE",
    "PRODUCTS_CREATE",
    "PRODUCTS_UPDATE",
    "PRODUCTS_DELETE",
    "INVENTORY_ITEMS_DELETE",
    "INVENTORY_LEVELS_UPDATE",
)

_T = TypeVar("_T")

# ---------------------------------------------------------------- where fetching goes on

# Shopify finds and sorts orders by an index that lags behind what it then shows. What comes late is looked for this far
# back; a mark younger than this may be ahead of the order's place in the index, so it does not tell how far we are.
OVERLAP = timedelta(minutes=5)
# An order may change again within the second that its mark names. What is older than this has its last mark.
SETTLED = timedelta(seconds=15)
KNOWN = 1500  # orders remembered within the overlap; the others are only fetched again


@dataclass(frozen=True, slots=True)
class OrderCursor:
    """How far the orders have been fetched: the newest mark, and the orders near it that need not be fetched again."""

    newest: datetime | None = None
    known: Mapping[str, str] = field(default_factory=dict)  # GraphQL id -> updatedAt

    @classmethod
    def parse(cls, text: str | None) -> OrderCursor:
        """The cursor of a page; the beginning without one."""
        if not text:
            return cls()
        saved = json.loads(text)
        return cls(saved["newest"] and datetime.fromisoformat(saved["newest"]), saved["known"])

    def __str__(self) -> str:
        newest = self.newest.isoformat() if self.newest else None
        return json.dumps({"newest": newest, "known": self.known}, separators=(",", ":"))

    def after(self, orders: Iterable[Mapping[str, Any]], now: datetime, *, last: bool) -> OrderCursor:
        """The cursor once ``orders`` (nodes, fetched at ``now`` or later) are stored; ``last`` if none is left then."""
        marks = {order["id"]: order["updatedAt"] for order in orders}
        moments = {id: _moment(mark) for id, mark in marks.items()}
        sure = [moment for moment in moments.values() if last or moment <= now - OVERLAP]
        newest = max([*sure, *([self.newest] if self.newest else [])], default=None)
        known = {**self.known, **{id: mark for id, mark in marks.items() if moments[id] <= now - SETTLED}}
        near = sorted((mark, id) for id, mark in known.items() if newest is None or _moment(mark) >= newest - OVERLAP)
        return OrderCursor(newest, {id: mark for mark, id in near[-KNOWN:]})


def _moment(mark: str) -> datetime:
    return datetime.fromisoformat(mark)


# ---------------------------------------------------------------- the connector


class ShopifyConnector(SalesChannel):
    """A Shopify shop: orders and variants come from it, stock goes to its locations."""

    name = "shopify"
    label = "Shopify"
    description = "Orders, listings and stock per location of a Shopify shop."
    api_version = documents.API_VERSION
    api_version_ends = date(2027, 10, 1)
    settings_schema = ShopifySettings
    effects: ClassVar[Mapping[str, Settlement]] = {"subscribe_webhooks": Settlement.NATURAL_KEY}
    # What the smallest plan has; Shopify tells with each answer what it really is.
    rate_budget = RateBudget(per_second=100, burst=1000)
    capabilities = Capabilities(compare_and_set=True, push_batch=documents.STOCK_BATCH, most_units=1_000_000_000)
    # Shopify ends a listing after 25,000 things; before that a new search begins where the last one stands.
    listing_limit: ClassVar[int] = 20_000

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._api = AdminApi(context)

    @classmethod
    def hosts(cls, settings: Mapping[str, Any]) -> Sequence[str]:
        return (f"https://{settings['shop']}",)

    # --- the account

    def check(self) -> Account:
        try:
            response, answer = self._api.exchange(documents.SHOP)
        except NotFound as error:
            raise Rejected(NO_SHOP.format(shop=self.settings["shop"])) from error
        granted = _granted(scope["handle"] for scope in answer["currentAppInstallation"]["accessScopes"])
        if missing := [scope for scope in SCOPES if scope not in granted]:
            raise AuthError(f"The app may not do all that is needed. Missing: {', '.join(missing)}. {ADD_SCOPES}")
        shop = answer["shop"]
        if shop["myshopifyDomain"] != self.settings["shop"]:
            raise Rejected(f"This shop's address is {shop['myshopifyDomain']} now. Connect it with that address.")
        warnings = []
        if OLD_ORDERS not in granted:
            warnings.append(f"Orders older than 60 days are not imported: the app lacks the scope {OLD_ORDERS}.")
        served = response.headers.get("X-Shopify-API-Version", self.api_version)
        if served != self.api_version:
            warnings.append(
                f"Shopify serves version {served} of its API instead of {self.api_version}. Update Tallyhub."
            )
        return Account(
            external_id=_number(shop["id"]),
            name=shop["name"],
            currency=shop["currencyCode"],
            locations=tuple(
                ChannelLocation(external_id=place["legacyResourceId"], name=place["name"], active=place["isActive"])
                for place in self._api.all(documents.LOCATIONS, ("locations",))
            ),
            warnings=tuple(warnings),
        )

    # --- orders

    def fetch_orders(self, cursor: str | None) -> Iterator[Page]:
        at = OrderCursor.parse(cursor)
        total = None if cursor else self._api.count(documents.ORDERS_COUNT, "ordersCount")
        for marks, more in self._changed_orders(at.newest):
            changed = [mark["id"] for mark in marks if at.known.get(mark["id"]) != mark["updatedAt"]]
            for start in range(0, len(changed), documents.ORDER_BATCH):
                end = start + documents.ORDER_BATCH
                now = self.context.now()
                found = self._api.ask(documents.ORDERS, ids=changed[start:end])["nodes"]
                if orders := _existing(self._whole, found):
                    at = at.after(orders, now, last=not more and end >= len(changed))
                    yield Page(tuple(_order_record(order) for order in orders), str(at), total)

    def _changed_orders(self, newest: datetime | None) -> Iterator[tuple[Sequence[Mapping[str, Any]], bool]]:
        """The ids and marks of all orders changed since a little before ``newest``, oldest change first, by the page,
        and whether more follow."""
        since = newest and newest - OVERLAP
        sure_until = self.context.now() - OVERLAP
        while True:
            query = since and f"updated_at:>='{since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}'"
            met, reached = 0, since
            for page in self._api.pages(documents.CHANGED_ORDERS, ("orders",), query=query):
                yield page["nodes"], page["pageInfo"]["hasNextPage"]
                met += len(page["nodes"])
                sure = [moment for mark in page["nodes"] if (moment := _moment(mark["updatedAt"])) <= sure_until]
                reached = max([*sure, *([reached] if reached else [])], default=None)
                if met >= self.listing_limit and reached != since:
                    since = reached
                    break
            else:
                return

    def fetch_order(self, external_id: str) -> RawRecord:
        node = self._api.ask(documents.ORDER, id=_gid("Order", external_id))["order"]
        if node is None:
            raise NotFound(DELETED)
        return _order_record(self._whole(node))

    def _whole(self, node: dict[str, Any]) -> dict[str, Any]:
        """The order with the lines, refunds and fulfillments that did not come with it. Raises NotFound."""
        lines = node["lineItems"]
        self._api.complete(documents.ORDER_LINES_AFTER, ("order", "lineItems"), lines, node["id"])
        removed = any(line["currentQuantity"] < line["quantity"] for line in lines["nodes"])
        if removed or Decimal(node["totalRefundedSet"]["shopMoney"]["amount"]):
            aftermath = self._api.ask(documents.ORDER_AFTERMATH, id=node["id"])["order"]
            if aftermath is None:
                raise NotFound(DELETED)
            node["refunds"] = aftermath["refunds"]
            node["fulfillments"] = [
                {
                    "status": each["status"],
                    "lines": list(
                        self._api.all(documents.FULFILLMENT_LINES, ("node", "fulfillmentLineItems"), id=each["id"])
                    ),
                }
                for each in aftermath["fulfillments"]
            ]
        return node

    def read_order(self, record: RawRecord) -> Order:
        order: Order = FETCHED_ORDER.read(record.body)
        return order

    # --- listings

    def fetch_listings(self, cursor: str | None) -> Iterator[Page]:
        total = None if cursor else self._api.count(documents.VARIANTS_COUNT, "productVariantsCount")
        last = cursor
        while True:
            answer = self._api.ask(documents.VARIANTS, query=last and f"id:>{last}")
            variants = answer["productVariants"]
            if not variants["nodes"]:
                return
            last = variants["nodes"][-1]["legacyResourceId"]
            currency = answer["shop"]["currencyCode"]
            records = _existing(partial(self._listing_record, currency), variants["nodes"])
            yield Page(tuple(records), last, total)
            if not variants["pageInfo"]["hasNextPage"]:
                return

    def fetch_listing(self, external_id: str) -> RawRecord:
        answer = self._api.ask(documents.VARIANT, id=_gid("ProductVariant", external_id))
        if answer["productVariant"] is None:
            raise NotFound(DELETED)
        return self._listing_record(answer["shop"]["currencyCode"], answer["productVariant"])

    def _listing_record(self, currency: str, node: dict[str, Any]) -> RawRecord:
        item = node["inventoryItem"]
        self._api.complete(
            documents.LEVELS_AFTER, ("inventoryItem", "inventoryLevels"), item["inventoryLevels"], item["id"]
        )
        body = _body({**node, "currencyCode": currency})
        return RawRecord("listing", node["legacyResourceId"], body, version=node["updatedAt"])

    def read_listing(self, record: RawRecord) -> Iterable[Listing]:
        return [FETCHED_VARIANT.read(record.body)]

    # --- webhooks

    def verify(self, webhook: Webhook) -> Delivery | None:
        headers = webhook.headers
        secret = self.settings["client_secret"].encode()
        signature = base64.b64encode(hmac.digest(secret, webhook.body, hashlib.sha256))
        if not hmac.compare_digest(signature, _sent(headers, "x-shopify-hmac-sha256")):
            raise Unverified("The signature does not fit: this message is not from Shopify, or for another app.")
        if not hmac.compare_digest(self.settings["shop"].encode(), _sent(headers, "x-shopify-shop-domain").lower()):
            raise Unverified("This message is about another shop.")
        topic = headers.get("x-shopify-topic", "")
        if not re.fullmatch(r"[a-z_]{1,60}/[a-z_]{1,60}", topic):
            raise Unverified("This message does not say what it is about.")
        # One event is sent once per subscription, and one action of a merchant is several messages under one id (the
        # new stock of each line of an order): only topic, id and body together tell a copy from news.
        mark = hashlib.sha256(_sent(headers, "x-shopify-event-id") + b"\0" + webhook.body).hexdigest()
        return Delivery(topic, f"{topic}:{mark}")

    def read_webhook(self, record: RawRecord) -> Iterable[Fact]:
        read = READERS.get(record.topic)
        return read(record.body) if read else ()

    def subscribe_webhooks(self, request: Mapping[str, Any], key: str) -> EffectResult:
        address = request["address"]
        there = {
            each["topic"]
            for each in self._api.all(documents.SUBSCRIPTIONS, ("webhookSubscriptions",))
            if each["uri"] == address
        }
        missing = [topic for topic in TOPICS if topic not in there]
        for topic in missing:
            answer = self._api.ask(documents.SUBSCRIBE, topic=topic, address=address)["webhookSubscriptionCreate"]
            for error in answer["userErrors"]:
                if "already been taken" not in error["message"]:  # somebody else was faster
                    raise Rejected(f"Shopify does not send {topic} to this hub: {error['message']}")
        return EffectResult(details={"address": address, "created": missing})

    # --- stock

    def read_stock(self, refs: Sequence[StockRef]) -> Sequence[int | None]:
        found: dict[tuple[str, str], int | None] = {}
        by_location: dict[str, list[str]] = {}
        for item, location in dict.fromkeys(pair for ref in refs if (pair := _pair(ref))):
            by_location.setdefault(location, []).append(item)
        for location, items in by_location.items():
            for ids in _chunks(sorted(items), documents.STOCK_BATCH):
                for item, node in zip(
                    ids, self._api.ask(documents.STOCK, ids=ids, location=location)["nodes"], strict=True
                ):
                    level = node and node["tracked"] and node["inventoryLevel"]
                    found[item, location] = available(level["quantities"]) if level else None
        return [found.get(pair) if (pair := _pair(ref)) else None for ref in refs]

    def push_stock(self, pushes: Sequence[StockPush]) -> Sequence[PushOutcome]:
        placed = {index: pair for index, push in enumerate(pushes) if (pair := _pair(push.ref))}
        outcomes = {index: _NO_PLACE for index in range(len(pushes)) if index not in placed}
        unsent = len(outcomes)
        try:
            for indexes in _calls(placed):
                self._write({index: pushes[index] for index in indexes}, outcomes)
        except (RateLimited, Unavailable) as error:
            if len(outcomes) == unsent:
                raise
            # What has been written stays written: only the rest is tried again.
            rest = PushOutcome(PushState.RETRY, message=str(error))
            return [outcomes.get(index, rest) for index in range(len(pushes))]
        return [outcomes[index] for index in range(len(pushes))]

    def _write(self, batch: Mapping[int, StockPush], outcomes: dict[int, PushOutcome], attempt: int = 1) -> None:
        """Write a batch and note what became of each push. Shopify writes all of a call or nothing.

        So what it refuses is taken out and the others are sent again; where it does not say which it refused, halves
        are tried. Each call has the key that belongs to what is in it.
        """
        if not batch:
            return
        errors = self._set_quantities(list(batch.values()), attempt)
        if not errors:
            outcomes |= {index: PushOutcome(PushState.WRITTEN, push.quantity) for index, push in batch.items()}
            return
        codes = {error["code"] for error in errors}
        if codes & _SAME_KEY_AGAIN:
            outcomes |= dict.fromkeys(batch, PushOutcome(PushState.RETRY, message=errors[0]["message"]))
            return
        if codes & _OTHER_KEY:
            if attempt < MOST_ATTEMPTS:
                self._write(batch, outcomes, attempt + 1)
            else:
                outcomes |= dict.fromkeys(batch, PushOutcome(PushState.RETRY, message=errors[0]["message"]))
            return
        about_all = [error for error in errors if len(batch) == 1 or error["code"] in _ABOUT_THE_CALL]
        if about_all:
            outcomes |= dict.fromkeys(batch, _refusal(about_all[0]))
            return
        indexes = list(batch)
        refused = {
            indexes[position]: _refusal(error)
            for error in errors
            if (position := _position(error["field"])) is not None and position < len(indexes)
        }
        outcomes |= refused
        rest = {index: push for index, push in batch.items() if index not in refused}
        if refused:
            self._write(rest, outcomes)
        else:
            for half in _chunks(list(rest.items()), (len(rest) + 1) // 2):
                self._write(dict(half), outcomes)

    def _set_quantities(self, pushes: Sequence[StockPush], attempt: int) -> Sequence[Mapping[str, Any]]:
        quantities = []
        for push in pushes:
            item, location = _pair(push.ref) or ("", "")
            quantities.append(
                {
                    "inventoryItemId": item,
                    "locationId": location,
                    "quantity": push.quantity,
                    # Null writes without a comparison; leaving it out is an error.
                    "changeFromQuantity": push.expected,
                }
            )
        # The same writes in the same order are the same key, anything else is another.
        writes = json.dumps([[push.key for push in pushes], quantities, attempt])
        key = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.settings['shop']} {writes}"))
        call = {
            "name": "available",
            "reason": "correction",
            "referenceDocumentUri": f"gid://tallyhub/StockPush/{key}",
            "quantities": quantities,
        }
        answer = self._api.ask(documents.SET_STOCK, input=call, key=key)["inventorySetQuantities"]
        if answer is None:
            raise Unavailable("Shopify did not say what became of the stock that was sent. It will be tried again.")
        errors: Sequence[Mapping[str, Any]] = answer["userErrors"]
        return errors


# ---------------------------------------------------------------- ids and records


def _existing(complete: Callable[[dict[str, Any]], _T], nodes: Iterable[dict[str, Any] | None]) -> list[_T]:
    """The completed nodes, without those that were deleted before they were."""
    found = []
    for node in nodes:
        if node is not None:
            with contextlib.suppress(NotFound):
                found.append(complete(node))
    return found


def _gid(kind: str, external_id: str) -> str:
    """Shopify's GraphQL id. Raises NotFound for what cannot be one of its ids."""
    if not (external_id.isascii() and external_id.isdigit()):
        raise NotFound(f"“{external_id[:40]}” is no id of Shopify's.")
    return f"gid://shopify/{kind}/{external_id}"


def _granted(handles: Iterable[str]) -> set[str]:
    """Access scopes with what they include: who may write may read."""
    scopes = set(handles)
    return scopes | {scope.replace("write_", "read_", 1) for scope in scopes}


def _number(gid: str) -> str:
    return gid.rpartition("/")[2]


def _body(node: Mapping[str, Any]) -> bytes:
    return json.dumps(node, ensure_ascii=False, separators=(",", ":")).encode()


def _order_record(node: Mapping[str, Any]) -> RawRecord:
    return RawRecord("order", node["legacyResourceId"], _body(node), version=node["updatedAt"])


def _sent(headers: Mapping[str, str], name: str) -> bytes:
    """A header as bytes: comparing text in constant time fails on anything beyond ASCII."""
    return headers.get(name, "").strip().encode("utf-8", "replace")


def _chunks(things: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    for start in range(0, len(things), size):
        yield things[start : start + size]


# ---------------------------------------------------------------- what became of stock

MOST_ATTEMPTS = 3
_SAME_KEY_AGAIN = frozenset({"IDEMPOTENCY_CONCURRENT_REQUEST"})
_OTHER_KEY = frozenset({"IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED", "IDEMPOTENCY_KEY_PARAMETER_MISMATCH"})
_ABOUT_THE_CALL = frozenset({"INVALID_NAME", "INVALID_REASON", "INVALID_REFERENCE_DOCUMENT"})
_REFUSALS = {
    "CHANGE_FROM_QUANTITY_STALE": (PushState.STALE, "Shopify's quantity has changed meanwhile."),
    "INVALID_INVENTORY_ITEM": (PushState.GONE, "Shopify does not have this variant any more."),
    "ITEM_NOT_STOCKED_AT_LOCATION": (
        PushState.REJECTED,
        "Shopify does not stock this variant at this location. Tick the location on the variant's page in Shopify, "
        "under Inventory, or publish to another location.",
    ),
    "INVALID_LOCATION": (
        PushState.REJECTED,
        "Shopify does not have this location, or it is deactivated. Choose another location for this connection.",
    ),
    "NON_MUTABLE_INVENTORY_ITEM": (
        PushState.REJECTED,
        "Shopify keeps the stock of this variant itself, as it does for bundles. Publish the stock of its parts.",
    ),
}


_NO_PLACE = PushOutcome(
    PushState.REJECTED,
    message="It is not known where Shopify keeps the stock of this variant. Import the listings again, and choose one "
    "of the shop's locations.",
)


def _refusal(error: Mapping[str, Any]) -> PushOutcome:
    state, message = _REFUSALS.get(
        error["code"], (PushState.REJECTED, f"Shopify refused this quantity: {error['message']}")
    )
    return PushOutcome(state, message=message)


def _position(path: Sequence[str] | None) -> int | None:
    """The number of the quantity that an error is about, from a path such as input.quantities.0.changeFromQuantity."""
    names = [str(name) for name in path or ()]
    if "quantities" not in names[:-1]:
        return None
    number = names[names.index("quantities") + 1]
    return int(number) if number.isascii() and number.isdigit() else None


def _pair(ref: StockRef) -> tuple[str, str] | None:
    """The inventory item and the location of a listing, None where one of them is missing."""
    try:
        return _gid("InventoryItem", ref.handles.get(INVENTORY_ITEM, "")), _gid("Location", ref.location_external_id)
    except NotFound:
        return None


def _calls(placed: Mapping[int, tuple[str, str]]) -> Iterable[Collection[int]]:
    """What goes into one call each: no more than Shopify takes, and no item twice at one location."""
    calls: list[dict[tuple[str, str], int]] = []
    for index, pair in placed.items():
        fitting = (call for call in calls if pair not in call and len(call) < documents.STOCK_BATCH)
        call = next(fitting, None)
        if call is None:
            calls.append(call := {})
        call[pair] = index
    return [call.values() for call in calls]
