"""What Larkmart says, read into the hub's model: orders, their items, offers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from marshmallow import fields, post_load

import hub

# Larkmart takes an order's units off an offer while the order is open or shipped, and holds none for a draft.
STATES = {"open": hub.OrderStatus.OPEN, "shipped": hub.OrderStatus.FULFILLED, "cancelled": hub.OrderStatus.CANCELLED}


class Item(hub.Translation[hub.OrderLine]):
    """One line of an order."""

    external_id = hub.Identifier(required=True, data_key="id")
    listing_external_id = hub.Identifier(required=True, data_key="offer")
    sku = hub.Text()
    title = hub.Text()
    quantity = hub.WholeNumber(required=True)
    fulfilled = hub.WholeNumber(required=True, data_key="shipped")
    unit_price = hub.MoneyObject(required=True, data_key="price")
    total = hub.MoneyObject(required=True)
    tax = hub.MoneyObject(required=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> hub.OrderLine:
        return hub.OrderLine(**said)


class OrderBody(hub.Translation[hub.Order]):
    """An order, the same in a list, alone and in a webhook."""

    external_id = hub.Identifier(required=True, data_key="id")
    number = hub.Text(required=True)
    channel_status = hub.Text(required=True, data_key="state")
    version = hub.UtcMoment(required=True, data_key="changed_at")
    placed_at = hub.UtcMoment(required=True)
    currency = hub.Text(required=True)
    customer_name = hub.Text(data_key="customer")
    lines = fields.List(fields.Nested(Item), required=True, data_key="items")
    shipping = hub.MoneyObject(required=True)
    tax = hub.MoneyObject(required=True)
    total = hub.MoneyObject(required=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> hub.Order:
        # A state that is new to us holds no stock: the order is kept with its own word, and nothing is reserved for it.
        status = STATES.get(said["channel_status"], hub.OrderStatus.PENDING)
        said["lines"] = tuple(said["lines"])
        return hub.Order(**said, status=status, holds_stock=status is hub.OrderStatus.OPEN)


class Offer(hub.Translation[hub.Listing]):
    """What the stall sells: each offer is a listing of its own."""

    external_id = hub.Identifier(required=True, data_key="id")
    sku = hub.Text()
    title = hub.Text()
    price = hub.MoneyObject(required=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> hub.Listing:
        return hub.Listing(**said)


def record_of(topic: str, said: Mapping[str, Any]) -> hub.RawRecord:
    """An order or an offer as it is stored: as Larkmart said it."""
    return hub.RawRecord(topic, str(said["id"]), json.dumps(said, default=float).encode(), str(said["changed_at"]))


def outcome_of(refusal: str | None) -> hub.PushOutcome:
    """What became of one figure, by the reason that Larkmart gives for refusing it."""
    if refusal is None:
        return hub.PushOutcome(hub.PushState.WRITTEN)
    state = hub.PushState.GONE if refusal == "no such offer" else hub.PushState.REJECTED
    return hub.PushOutcome(state, message=f"Larkmart refused the figure: {refusal}.")
