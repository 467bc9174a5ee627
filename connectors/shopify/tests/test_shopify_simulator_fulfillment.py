"""The simulated shop's fulfillment orders keep Shopify's rules, also those that the connector never runs into."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hub.core.model import HoldReason, LineQuantity
from hub.core.shipping import (
    ConfirmedLine,
    ShipmentConfirmation,
    StockListing,
    WorkAnswer,
    WorkHold,
    WorkMove,
    WorkQuestion,
    WorkRelease,
    WorkSplit,
)
from hub.testing.context import connector_for
from hub.testing.simulator import SimRequest
from hub_shopify.connector import ShopifyConnector
from hub_shopify.simulator import ShopifySimulator
from hub_shopify.simulator_fulfillment import Work
from hub_shopify.simulator_model import Order, Subscription, gid
from hub_shopify.webhooks import READERS

SHIP = """
mutation ($shipment: FulfillmentInput!) {
  fulfillmentCreate(fulfillment: $shipment) {
    fulfillment { name status trackingInfo { company number url } }
    userErrors { message }
  }
}
"""
HOLD = """
mutation ($id: ID!, $hold: FulfillmentOrderHoldInput!) {
  fulfillmentOrderHold(id: $id, fulfillmentHold: $hold) { userErrors { code } }
}
"""
RELEASE = """
mutation ($id: ID!, $holds: [ID!]) {
  fulfillmentOrderReleaseHold(id: $id, holdIds: $holds) { fulfillmentOrder { status } userErrors { code } }
}
"""
PARTS = """
query ($id: ID!) {
  order(id: $id) { fulfillmentOrders(first: 10) { nodes { id status lineItems(first: 5) { nodes { id } } } } }
}
"""


@pytest.fixture
def shop() -> Iterator[ShopifySimulator]:
    with ShopifySimulator() as simulator:
        simulator.add_product("MUG", "Mug", 10, "8.50")
        yield simulator


def ask(shop: ShopifySimulator, query: str, **variables: Any) -> dict[str, Any]:
    """What the shop answers to a document, in process."""
    headers = {"x-shopify-access-token": shop.legacy_token}
    body = json.dumps({"query": query, "variables": variables}).encode()
    response = shop.handle(SimRequest("POST", "/admin/api/2026-10/graphql.json", headers=headers, body=body))
    assert response.status == 200
    return dict(response.json())


def sold(shop: ShopifySimulator, quantity: int = 3) -> Order:
    sale = shop.buy([("MUG", quantity)])
    assert sale
    return shop.sold[int(sale.order_external_id)]


def parts(shop: ShopifySimulator, order: Order) -> list[tuple[str, list[int]]]:
    """Every part of an order: its status, and what is left of its lines."""
    return [(work.status, [each.remaining for each in work.lines]) for work in shop.fulfillment_orders.of(order)]


def named(work: Work, quantity: int | None = None) -> dict[str, Any]:
    """A part as fulfillmentCreate takes it: with a quantity of its first line, or without any line."""
    lines = [{"id": gid("FulfillmentOrderLineItem", work.lines[0].id), "quantity": quantity}]
    return {
        "fulfillmentOrderId": gid("FulfillmentOrder", work.id),
        **({"fulfillmentOrderLineItems": lines} if quantity else {}),
    }


def ship(shop: ShopifySimulator, *groups: dict[str, Any], **tracking: Any) -> list[str]:
    """What fulfillmentCreate complains about."""
    answer = ask(shop, SHIP, shipment={"lineItemsByFulfillmentOrder": list(groups), "trackingInfo": tracking})
    if "errors" in answer:
        return [error["message"] for error in answer["errors"]]
    return [error["message"] for error in answer["data"]["fulfillmentCreate"]["userErrors"]]


def stock(shop: ShopifySimulator) -> list[tuple[int, int]]:
    """(available, committed) of the mug at each location."""
    (variant,) = shop.variants.values()
    return [(level.available, level.committed) for level in variant.levels.values()]


def test_a_shipment_without_lines_is_one_of_all_lines(shop: ShopifySimulator) -> None:
    order = sold(shop)
    (work,) = shop.fulfillment_orders.of(order)
    assert ship(shop, named(work)) == []
    assert (order.lines[0].fulfilled, parts(shop, order)) == (3, [("CLOSED", [0])])


def test_a_shipment_needs_open_parts_of_one_order_at_one_location(shop: ShopifySimulator) -> None:
    town = int(shop.add_location("Store in town"))
    shop.stock_at(str(town), "MUG", 5)
    one, other = sold(shop), sold(shop, 1)
    orders = shop.fulfillment_orders
    (work,), (foreign,) = orders.of(one), orders.of(other)
    elsewhere = orders.take_out(work, [(work.lines[0], 1)], town)
    assert ship(shop, named(work, 1), named(foreign, 1)) == ["All fulfillment orders must belong to the same order."]
    assert ship(shop, named(work, 1), named(elsewhere, 1)) == [
        "All fulfillment orders must be assigned to the same location."
    ]
    assert ship(shop, named(work, 3)) == ["Invalid fulfillment order line item quantity requested."]
    assert ship(shop, {**named(work, 1), "fulfillmentOrderId": gid("FulfillmentOrder", 1)}) == [
        "Fulfillment order does not exist."
    ]
    assert ship(shop, {**named(foreign), "fulfillmentOrderLineItems": named(work, 1)["fulfillmentOrderLineItems"]}) == [
        "Fulfillment order line item does not exist."
    ]
    orders.hold_by_hand(work, "OTHER")
    assert ship(shop, named(work, 1)) == [f"Fulfillment order {work.id} has an unfulfillable status= on_hold."]
    assert [line.fulfilled for order in (one, other) for line in order.lines] == [0, 0]
    assert ship(shop, named(elsewhere, 1)) == []


def test_tracking_is_what_the_schema_says_in_words(shop: ShopifySimulator) -> None:
    order = sold(shop)
    (work,) = shop.fulfillment_orders.of(order)
    assert "missing scheme" in ship(shop, named(work, 1), number="A1", url="parcels.example")[0]
    assert "not both" in ship(shop, named(work, 1), number="A1", numbers=["A1"])[0]
    assert order.fulfillments == []
    assert ship(shop, named(work, 1), company="UPS", numbers=["A1", "A2"], urls=["https://ups.example/A1"]) == []
    shown = [(each.company, each.number, each.url) for each in order.fulfillments[0].tracking]
    assert shown == [("UPS", "A1", "https://ups.example/A1"), ("UPS", "A2", None)]


def test_what_staff_ship_cancel_and_refund_shows_in_the_parts(shop: ShopifySimulator) -> None:
    order = sold(shop, 5)
    assert parts(shop, order) == [("OPEN", [5])]
    shop.fulfill(str(order.id), 2)
    assert parts(shop, order) == [("OPEN", [3])]
    shop.refund(str(order.id), "MUG", 3)  # two that were shipped, and one that was not
    assert parts(shop, order) == [("OPEN", [2])]
    shop.cancel_fulfillment(str(order.id))
    assert [left for _, left in parts(shop, order)] == [[2], [2]]
    shop.cancel(str(order.id))
    assert {status for status, _ in parts(shop, order)} == {"CANCELLED"}


def test_a_canceled_shipment_opens_its_part_again_or_makes_a_new_one(shop: ShopifySimulator) -> None:
    order = sold(shop)
    (work,) = shop.fulfillment_orders.of(order)
    ship(shop, named(work, 1))
    cancel = "mutation ($id: ID!) { fulfillmentCancel(id: $id) { userErrors { message } } }"
    first = gid("Fulfillment", order.fulfillments[0].id)
    assert ask(shop, cancel, id=first)["data"]["fulfillmentCancel"]["userErrors"] == []
    assert [left for _, left in parts(shop, order)] == [[3]]
    ship(shop, named(work))
    assert (
        ask(shop, cancel, id=gid("Fulfillment", order.fulfillments[1].id))["data"]["fulfillmentCancel"]["userErrors"]
        == []
    )
    assert parts(shop, order) == [("CLOSED", [0]), ("OPEN", [3])]
    again = ask(shop, cancel, id=first)["data"]["fulfillmentCancel"]["userErrors"]
    assert [error["message"] for error in again] == ["Fulfillment is already cancelled."]


def test_what_an_order_holds_of_the_stock_goes_where_its_part_goes(shop: ShopifySimulator) -> None:
    town = int(shop.add_location("Store in town"))
    shop.stock_at(str(town), "MUG", 5)
    order = sold(shop)
    (work,) = shop.fulfillment_orders.of(order)
    assert stock(shop) == [(7, 3), (5, 0)]
    moved = shop.fulfillment_orders.take_out(work, [(work.lines[0], 2)], town)
    assert stock(shop) == [(9, 1), (3, 2)]
    ship(shop, named(moved, 2))
    assert stock(shop) == [(9, 1), (3, 0)]
    shop.fulfillment_orders.cancel(order, order.fulfillments[0])
    assert stock(shop) == [(9, 1), (3, 2)]
    assert [work.location for work in shop.fulfillment_orders.open(str(order.id))] == [shop._home, town]


def test_releasing_without_naming_holds_takes_off_everybodys(shop: ShopifySimulator) -> None:
    (work,) = shop.fulfillment_orders.of(sold(shop))
    shop.fulfillment_orders.hold_by_hand(work, "OTHER")
    id = gid("FulfillmentOrder", work.id)
    ask(shop, HOLD, id=id, hold={"reason": "OTHER", "handle": "H-1"})
    assert len(work.holds) == 2
    ask(shop, RELEASE, id=id, holds=[])
    assert len(work.holds) == 2
    answer = ask(shop, RELEASE, id=id)
    assert answer["data"]["fulfillmentOrderReleaseHold"]["fulfillmentOrder"] == {"status": "OPEN"}
    assert work.holds == []


def test_a_hold_is_refused_as_the_schema_says(shop: ShopifySimulator) -> None:
    (work,) = shop.fulfillment_orders.of(sold(shop))

    def codes(id: int = work.id, **hold: Any) -> list[str]:
        answer = ask(shop, HOLD, id=gid("FulfillmentOrder", id), hold={"reason": "OTHER", **hold})
        return [error["code"] for error in answer["data"]["fulfillmentOrderHold"]["userErrors"]]

    line = {"id": gid("FulfillmentOrderLineItem", work.lines[0].id), "quantity": 1}
    assert codes(1) == ["FULFILLMENT_ORDER_NOT_FOUND"]
    assert codes(handle="H" * 65) == ["TAKEN"]
    assert codes(fulfillmentOrderLineItems=[line, line]) == ["DUPLICATED_FULFILLMENT_ORDER_LINE_ITEMS"]
    assert codes(fulfillmentOrderLineItems=[{**line, "quantity": 0}]) == ["GREATER_THAN_ZERO"]
    assert codes(fulfillmentOrderLineItems=[{**line, "quantity": 4}]) == ["INVALID_LINE_ITEM_QUANTITY"]
    assert work.holds == []
    assert codes(handle="H-1") == []
    assert codes(handle="H-1") == ["DUPLICATE_FULFILLMENT_HOLD_HANDLE"]
    assert codes(handle="H-2", fulfillmentOrderLineItems=[line]) == ["FULFILLMENT_ORDER_NOT_SPLITTABLE"]
    assert [codes(handle=f"H-{number}") for number in range(2, 11)] == [[]] * 9
    assert codes(handle="H-11") == ["FULFILLMENT_ORDER_HOLD_LIMIT_REACHED"]


def test_an_app_sees_only_the_parts_that_its_scopes_name(shop: ShopifySimulator) -> None:
    service = int(shop.add_location("Warehouse of the app"))
    shop.stock_at(str(service), "MUG", 5)
    order = sold(shop)
    orders = shop.fulfillment_orders
    orders.services.add(service)
    (work,) = orders.of(order)
    ours = orders.take_out(work, [(work.lines[0], 1)], service)

    def seen(*scopes: str) -> list[str]:
        shop.scopes = ("read_orders", *scopes)
        nodes = ask(shop, PARTS, id=gid("Order", order.id))["data"]["order"]["fulfillmentOrders"]["nodes"]
        return [node["id"] for node in nodes]

    assert seen() == []
    assert seen("read_merchant_managed_fulfillment_orders") == [gid("FulfillmentOrder", work.id)]
    assert seen("write_assigned_fulfillment_orders") == [gid("FulfillmentOrder", ours.id)]
    assert ship(shop, named(work, 1)) == ["Fulfillment order does not exist."]
    assert ship(shop, named(ours, 1)) == []


def test_whatever_is_done_through_the_api_is_told_by_the_messages_that_shopify_sends(shop: ShopifySimulator) -> None:
    for number, topic in enumerate(READERS):
        wanted = topic.replace("/", "_").upper()
        shop.subscriptions[number] = Subscription(number, wanted, "https://hub.example/in", "")
    connector = connector_for(ShopifyConnector, shop)
    town = shop.add_location("Store in town")
    order = sold(shop)
    (work,) = shop.fulfillment_orders.of(order)
    shop.fulfillment_orders.services.add(work.location)
    part: dict[str, Any] = {"order_external_id": str(order.id), "work_external_id": str(work.id)}
    one = (LineQuantity(line_external_id=str(order.lines[0].id), quantity=1),)
    (variant,) = shop.variants.values()
    handles = {"inventory_item_id": str(variant.item_id)}
    shop.hold_webhooks()

    def told(do: Callable[[], object]) -> list[str]:
        shop.take_webhooks()
        do()
        return [letter.headers["X-Shopify-Topic"] for letter in shop.take_webhooks()]

    listing = StockListing(listing_external_id=str(variant.id), location_external_id=town, handles=handles)
    assert told(lambda: connector.stock_listing(listing, "k")) == ["inventory_levels/connect"]
    hold = WorkHold(**part, reference="H-1", reason=HoldReason.MANUAL)
    assert told(lambda: connector.hold_work(hold, "k")) == ["fulfillment_orders/placed_on_hold"]
    assert told(lambda: connector.release_work(WorkRelease(**part), "k")) == ["fulfillment_orders/hold_released"]
    split = WorkSplit(**part, lines=one)
    assert told(lambda: connector.split_work(split, "k")) == ["fulfillment_orders/split"]
    shop.fulfillment_orders.ask(work)
    answer = WorkAnswer(**part, question=WorkQuestion.FULFILLMENT, accepted=False)
    assert told(lambda: connector.answer_work(answer, "k")) == ["fulfillment_orders/fulfillment_request_rejected"]
    move = WorkMove(**part, location_external_id=town)
    assert told(lambda: connector.move_work(move, "k")) == ["fulfillment_orders/moved"]
    shipment = ShipmentConfirmation(
        reference="S-1",
        order_external_id=str(order.id),
        lines=(ConfirmedLine(line_external_id=str(order.lines[0].id), quantity=3),),
        shipped_at=shop.now(),
        tracking_numbers=("T-1",),
    )
    assert told(lambda: connector.confirm_shipment(shipment, "k")) == [
        *("fulfillments/create", "orders/partially_fulfilled", "orders/updated"),
        *("fulfillments/create", "orders/fulfilled", "orders/updated"),
    ]
    assert told(lambda: shop.stop_stocking(town, "MUG")) == ["inventory_levels/disconnect"]
