"""What Larkmart says, read into the hub's model: orders, their items, offers."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, post_load

import hub

# Larkmart takes an order's units off an offer while the order is open or shipped, and holds none for a draft.
STATES = {"open": hub.OrderStatus.OPEN, "shipped": hub.OrderStatus.FULFILLED, "cancelled": hub.OrderStatus.CANCELLED}


class Amount(hub.Translation):
    """Money as Larkmart writes it: {"amount": "12.50", "currency": "EUR"}."""

    amount = hub.DecimalNumber(required=True)
    currency = hub.Text(required=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> hub.Money:
        return hub.Money(**said)


class Item(hub.Translation):
    """One line of an order."""

    external_id = hub.Identifier(required=True, data_key="id")
    listing_external_id = hub.Identifier(required=True, data_key="offer")
    sku = hub.Text()
    title = hub.Text()
    quantity = hub.WholeNumber(required=True)
    fulfilled = hub.WholeNumber(required=True, data_key="shipped")
    unit_price = fields.Nested(Amount, required=True, data_key="price")
    total = fields.Nested(Amount, required=True)
    tax = fields.Nested(Amount, required=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> hub.OrderLine:
        return hub.OrderLine(**said)


class OrderBody(hub.Translation):
    """An order, the same in a list, alone and in a webhook."""

    external_id = hub.Identifier(required=True, data_key="id")
    number = hub.Text(required=True)
    channel_status = hub.Text(required=True, data_key="state")
    version = hub.UtcMoment(required=True, data_key="changed_at")
    placed_at = hub.UtcMoment(required=True)
    currency = hub.Text(required=True)
    customer_name = hub.Text(data_key="customer")
    lines = fields.List(fields.Nested(Item), required=True, data_key="items")
    shipping = fields.Nested(Amount, required=True)
    tax = fields.Nested(Amount, required=True)
    total = fields.Nested(Amount, required=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> hub.Order:
        # A state that is new to us holds no stock: the order is kept with its own word, and nothing is reserved for it.
        status = STATES.get(said["channel_status"], hub.OrderStatus.PENDING)
        nothing = hub.Money.zero(said["currency"])
        return hub.Order(
            **{**said, "lines": tuple(said["lines"])},
            status=status,
            holds_stock=status is hub.OrderStatus.OPEN,
            discount=nothing,
            fees=nothing,
        )


class Offer(hub.Translation):
    """What the stall sells: each offer is a listing of its own."""

    external_id = hub.Identifier(required=True, data_key="id")
    sku = hub.Text()
    title = hub.Text()
    price = fields.Nested(Amount, required=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> hub.Listing:
        return hub.Listing(**said)
