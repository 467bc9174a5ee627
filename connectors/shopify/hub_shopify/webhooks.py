"""Shopify's webhooks: whether one is Shopify's, and what its body tells.

Bodies have the shape of Shopify's REST API and tell less than a fetched record: where one leaves the truth open, what
it says is taken and the rest fetched.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from marshmallow import ValidationError, fields, post_load

from hub.connector import (
    Delivery,
    Disconnected,
    Fact,
    ListingRemoved,
    OrderRemoved,
    PersonalDataErased,
    PersonalDataWanted,
    RawRecord,
    Refetch,
    StockSeen,
    Webhook,
)
from hub.core.model import Listing
from hub.errors import Unreadable, Unverified
from hub.translation import Identifier, Text, Translation, WholeNumber, load_json
from hub_shopify.authorization import complaint, granted
from hub_shopify.order_bodies import WebhookOrder
from hub_shopify.translation import (
    INVENTORY_ITEM,
    ON_SALE,
    PRODUCT,
    Items,
    variant_name,
    variant_title,
)

# ---------------------------------------------------------------- who sent it

_SHOP = re.compile(r"[a-z0-9][a-z0-9-]{0,100}\.myshopify\.com")
_TOPIC = re.compile(r"[a-z_]{1,60}/[a-z_]{1,60}")


def account(webhook: Webhook) -> Mapping[str, str] | None:
    """The settings of the shop that a webhook says it is about; not to be believed before it is verified."""
    shop = webhook.headers.get("x-shopify-shop-domain", "").strip().lower()
    return {"shop": shop} if _SHOP.fullmatch(shop) else None


def verified(webhook: Webhook, settings: Mapping[str, Any]) -> Delivery:
    """What a webhook for the shop in ``settings`` is about. Raises Unverified.

    ``settings`` may be only what is kept of a connection that was removed: compliance webhooks come after that.
    """
    headers = webhook.headers
    signature = base64.b64encode(hmac.digest(settings["client_secret"].encode(), webhook.body, hashlib.sha256))
    if not hmac.compare_digest(signature, _sent(headers, "x-shopify-hmac-sha256")):
        raise Unverified("The signature does not fit: this message is not from Shopify, or for another app.")
    if not hmac.compare_digest(settings["shop"].encode(), _sent(headers, "x-shopify-shop-domain").lower()):
        raise Unverified("This message is about another shop.")
    topic = headers.get("x-shopify-topic", "")
    if not _TOPIC.fullmatch(topic):
        raise Unverified("This message does not say what it is about.")
    # One event is sent once per subscription, and one action of a merchant is several messages under one id (the
    # new stock of each line of an order): only topic, id and body together tell a copy from news.
    mark = hashlib.sha256(_sent(headers, "x-shopify-event-id") + b"\0" + webhook.body).hexdigest()
    return Delivery(topic, f"{topic}:{mark}")


def _sent(headers: Mapping[str, str], name: str) -> bytes:
    """A header as bytes: comparing text in constant time fails on anything beyond ASCII."""
    return headers.get(name, "").strip().encode("utf-8", "replace")


# ---------------------------------------------------------------- listings


class _Variant(Translation):
    id = Identifier(required=True)
    inventory_item_id = Identifier(allow_none=True, load_default=None)
    title = Text()
    sku = Text()
    barcode = Text()
    inventory_management = Text(load_default=None, allow_none=False)  # null: untracked, missing: not said


class WebhookProduct(Translation):
    """The body of products/create and products/update: its variants.

    Shopify sends it for every sale too, so nothing is fetched that it says itself. It does not say the currency of a
    price nor the stock per location. A body without inventory items (an old one) only tells which variants to fetch.
    """

    id = Identifier(required=True)
    title = Text()
    status = Text()
    variants = Items(_Variant, required=True)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> list[Fact]:
        return [_listing(found, variant) for variant in found["variants"]]


def _listing(product: Mapping[str, Any], variant: Mapping[str, Any]) -> Fact:
    item, management = variant["inventory_item_id"], variant["inventory_management"]
    if item is None or management is None:
        return Refetch("listing", variant["id"])
    return Listing(
        external_id=variant["id"],
        sku=variant["sku"],
        title=variant_title(product["title"], variant["title"]),
        variant=variant_name(variant["title"]),
        tracked=management != "",
        active=product["status"] in ON_SALE,
        barcode=variant["barcode"],
        handles={INVENTORY_ITEM: item, PRODUCT: product["id"]},
    )


# ---------------------------------------------------------------- other webhooks


class _RemovedOrder(Translation):
    id = Identifier(required=True)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> list[Fact]:
        return [OrderRemoved(found["id"])]


class _RemovedProduct(Translation):
    id = Identifier(required=True)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> list[Fact]:
        return [ListingRemoved(found["id"], handle=PRODUCT)]


class _RemovedItem(Translation):
    """An inventory item goes with its variant."""

    id = Identifier(required=True)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> list[Fact]:
        return [ListingRemoved(found["id"], handle=INVENTORY_ITEM)]


class _ItsOrder(Translation):
    id = Identifier(required=True)


class _PartOfOrder(Translation):
    """A refund, a return, a fulfillment or an edit: the order it belongs to has changed.

    Some bodies about a return name only the return: what is fetched is then the order of that one.
    """

    order_id = Identifier(allow_none=True, load_default=None)
    order = fields.Nested(_ItsOrder, allow_none=True, load_default=None)
    own_id = Text(data_key="admin_graphql_api_id")

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> list[Fact]:
        order_id = found["order_id"] or (found["order"] and found["order"]["id"])
        if order_id:
            return [Refetch("order", order_id)]
        if part := _PART.fullmatch(found["own_id"]):
            return [Refetch("order", part[1])]
        raise ValidationError("It does not say which order it belongs to.", "order_id")


# What Shopify calls a part of an order, with its kind: "Return/78". fetch_order finds the order it belongs to.
_PART = re.compile(r"gid://shopify/((?:Return|FulfillmentOrder)/[0-9]{1,20})")


def _work(body: bytes) -> Iterable[Fact]:
    """The order whose fulfillment orders have changed.

    Bodies name the fulfillment orders, in a place that differs from topic to topic, and never the order. All that are
    named belong to one order, so that any of them tells which.
    """
    places = [load_json(body)]
    while places:
        place = places.pop()
        if isinstance(place, str) and (part := _PART.fullmatch(place)):
            return [Refetch("order", part[1])]
        places += place.values() if isinstance(place, dict) else place if isinstance(place, list) else ()
    raise Unreadable("It names no fulfillment order.")


class _Risk(Translation):
    """A new look at the danger that an order is a fraud. Shopify may leave out which order it looked at."""

    order_id = Text(data_key="admin_graphql_api_order_id")

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> list[Fact]:
        order = _ORDER.fullmatch(found["order_id"])
        return [Refetch("order", order[1])] if order else []


_ORDER = re.compile(r"gid://shopify/Order/([0-9]{1,20})")


class _Level(Translation):
    inventory_item_id = Identifier(required=True)
    location_id = Identifier(required=True)
    available = WholeNumber(allow_none=True, load_default=None)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> list[Fact]:
        return [StockSeen(found["inventory_item_id"], found["location_id"], found["available"], handle=INVENTORY_ITEM)]


# ---------------------------------------------------------------- the app and people's data


class _Uninstalled(Translation):
    id = Identifier(required=True)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> list[Fact]:
        return [
            Disconnected(
                "The app was removed from the shop in Shopify, which ends the hub's access. Install it again and "
                "reconnect the shop, or remove this connection."
            )
        ]


class _Scopes(Translation):
    current = fields.List(Text(), required=True)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> list[Fact]:
        lacking = complaint(granted(found["current"]))
        return [Disconnected(lacking)] if lacking else []


class _Customer(Translation):
    email = Text()


class _DataRequest(Translation):
    id = Identifier(required=True)


class _DataWanted(Translation):
    customer = fields.Nested(_Customer, required=True)
    orders_requested = fields.List(Identifier(), allow_none=True, load_default=None)
    data_request = fields.Nested(_DataRequest, required=True)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> list[Fact]:
        return [
            PersonalDataWanted(
                reference=found["data_request"]["id"],
                order_external_ids=tuple(found["orders_requested"] or ()),
                email=found["customer"]["email"],
            )
        ]


class _CustomerErased(Translation):
    customer = fields.Nested(_Customer, required=True)
    orders_to_redact = fields.List(Identifier(), allow_none=True, load_default=None)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> list[Fact]:
        return [
            PersonalDataErased(
                reference="",
                order_external_ids=tuple(found["orders_to_redact"] or ()),
                email=found["customer"]["email"],
            )
        ]


class _ShopErased(Translation):
    shop_id = Identifier(required=True)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> list[Fact]:
        return [PersonalDataErased(reference="", everything=True)]


# ---------------------------------------------------------------- by topic

_WEBHOOK_ORDER = WebhookOrder()
_PART_OF_ORDER = _PartOfOrder()


def _changed_order(body: bytes) -> Iterable[Fact]:
    """The order in the body; only its id where the body leaves its lines out, or tells what an edit did."""
    told = load_json(body)
    part = told
    if isinstance(told, dict) and "order_edit" in told:
        part = told["order_edit"]
    elif isinstance(told, dict) and "line_items" not in told:
        part = {"order_id": told.get("id")}
    return [_WEBHOOK_ORDER.read(told)] if part is told else _PART_OF_ORDER.read(part)


# How the body of each topic is read. Other topics tell nothing that matters here: inventory_items/update changes
# nothing that products/update does not tell.
READERS: Mapping[str, Callable[[bytes], Iterable[Fact]]] = {
    **dict.fromkeys(
        (
            "orders/create",
            "orders/updated",
            "orders/paid",
            "orders/edited",
            "orders/cancelled",
            "orders/fulfilled",
            "orders/partially_fulfilled",
        ),
        _changed_order,
    ),
    "orders/delete": _RemovedOrder().read,
    "orders/risk_assessment_changed": _Risk().read,
    **dict.fromkeys(
        (
            "refunds/create",
            "fulfillments/create",
            "fulfillments/update",
            "returns/request",
            "returns/approve",
            "returns/decline",
            "returns/cancel",
            "returns/close",
            "returns/reopen",
            "returns/update",
        ),
        _PART_OF_ORDER.read,
    ),
    **dict.fromkeys(
        (
            "fulfillment_orders/order_routing_complete",
            "fulfillment_orders/fulfillment_request_submitted",
            "fulfillment_orders/fulfillment_request_accepted",
            "fulfillment_orders/fulfillment_request_rejected",
            "fulfillment_orders/fulfillment_service_failed_to_complete",
            "fulfillment_orders/cancellation_request_submitted",
            "fulfillment_orders/cancellation_request_accepted",
            "fulfillment_orders/cancellation_request_rejected",
            "fulfillment_orders/cancelled",
            "fulfillment_orders/placed_on_hold",
            "fulfillment_orders/hold_released",
            "fulfillment_orders/moved",
            "fulfillment_orders/split",
            "fulfillment_orders/merged",
            "fulfillment_orders/rescheduled",
            "fulfillment_orders/progress_reported",
            "fulfillment_orders/manually_reported_progress_stopped",
            "fulfillment_orders/scheduled_fulfillment_order_ready",
            "fulfillment_holds/added",
            "fulfillment_holds/released",
        ),
        _work,
    ),
    "products/create": WebhookProduct().read,
    "products/update": WebhookProduct().read,
    "products/delete": _RemovedProduct().read,
    "inventory_items/delete": _RemovedItem().read,
    **dict.fromkeys(
        ("inventory_levels/connect", "inventory_levels/update", "inventory_levels/disconnect"), _Level().read
    ),
    "app/uninstalled": _Uninstalled().read,
    "app/scopes_update": _Scopes().read,
    "customers/data_request": _DataWanted().read,
    "customers/redact": _CustomerErased().read,
    "shop/redact": _ShopErased().read,
}


def read(record: RawRecord) -> Iterable[Fact]:
    """What a webhook tells; nothing for a topic that does not matter. Raises Unreadable.

    A wish to be forgotten has no number of its own: it is called by the event that it is. The same customer may come
    back and ask again, and a shop may install the app and remove it again: neither must be taken for the wish before.
    """
    reader = READERS.get(record.topic)
    facts = reader(record.body) if reader else ()
    event = record.headers.get("x-shopify-event-id") or hashlib.sha256(record.body).hexdigest()
    return [_of_event(fact, event, _triggered_at(record)) for fact in facts]


def _of_event(fact: Fact, event: str, at: datetime | None) -> Fact:
    if isinstance(fact, PersonalDataErased):
        return replace(fact, reference=event)
    return replace(fact, at=at) if isinstance(fact, Disconnected) else fact


def _triggered_at(record: RawRecord) -> datetime | None:
    """When it happened, which a message that is sent again still says. None where it does not say it."""
    try:
        moment = datetime.fromisoformat(record.headers.get("x-shopify-triggered-at", ""))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


# Sent because the app's configuration says so, to one address for all shops; nobody can subscribe to them.
COMPLIANCE = frozenset({"customers/data_request", "customers/redact", "shop/redact"})
# What is sent beside another topic that says the same.
_TWICE_TOLD = frozenset(
    {
        "orders/paid",
        "orders/fulfilled",
        "orders/partially_fulfilled",
        "fulfillment_orders/placed_on_hold",
        "fulfillment_orders/hold_released",
    }
)
# The topics to subscribe to.
TOPICS = tuple(topic for topic in READERS if topic not in COMPLIANCE | _TWICE_TOLD)
