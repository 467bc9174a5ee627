"""Stock in Amazon's warehouses: what the figures mean, what is read and when, page tokens that live half a minute."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import hub
from hub.testing import Clock, Fault, SimResponse, connector_for
from hub_amazon.fulfillment import AmazonFulfillment
from hub_amazon.simulator_fulfillment import AmazonWarehouseSimulator

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SUMMARIES = "/fba/inventory/v1/summaries"


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def vendor(clock: Clock) -> Iterator[AmazonWarehouseSimulator]:
    with AmazonWarehouseSimulator(now=clock) as simulator:
        simulator.hold_webhooks()
        yield simulator


@pytest.fixture
def connector(vendor: AmazonWarehouseSimulator, clock: Clock) -> AmazonFulfillment:
    return connector_for(AmazonFulfillment, vendor, now=clock)


def read(connector: AmazonFulfillment, *pages: hub.Page) -> dict[str, hub.StockCount]:
    return {fact.sku: fact for page in pages for record in page.records for fact in connector.read_stock(record)}


def whole(connector: AmazonFulfillment) -> dict[str, hub.StockCount]:
    return read(connector, *connector.fetch_stock(None))


def asked(vendor: AmazonWarehouseSimulator) -> list[dict[str, str]]:
    """The queries for stock: since when, and with which token."""
    return [
        {name: value for name, value in each.query if name in ("startDateTime", "nextToken")}
        for each in vendor.requests
        if each.path == SUMMARIES
    ]


# ---------------------------------------------------------------- what the figures mean


def test_what_can_be_sold_lies_there_with_what_is_promised_damaged_and_looked_for(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment
) -> None:
    fnsku = vendor.stock_item("MUG-1", "Mug", 100)
    vendor.warehouse.sell("MUG-1", 10)
    vendor.warehouse.damage("MUG-1", 3)
    vendor.warehouse.send_in("MUG-1", working=500, shipped=40, receiving=2)
    connector.submit(vendor.example("R-1", {"MUG-1": 7}), "key")

    assert whole(connector) == {
        "MUG-1": hub.StockCount(
            sku="MUG-1",
            on_hand=100,
            available=80,
            counted_at=NOON,
            # What is only announced to Amazon still lies with the merchant.
            inbound=42,
            reserved=17,
            location_external_id="ATVPDKIKX0DER",
            item_external_id=fnsku,
        )
    }


def test_what_left_is_counted_no_more(vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment) -> None:
    vendor.stock_item("MUG-1", "Mug", 100)
    connector.submit(vendor.example("R-1", {"MUG-1": 7}), "key")
    vendor.warehouse.sell("MUG-1", 10)
    vendor.ship("R-1")
    vendor.warehouse.ship_sold("MUG-1")
    found = whole(connector)["MUG-1"]
    assert (found.on_hand, found.available, found.reserved) == (83, 83, 0)


def record(**changed: Any) -> hub.RawRecord:
    details = {
        "fulfillableQuantity": 5,
        "reservedQuantity": {"totalReservedQuantity": 2},
        "unfulfillableQuantity": {"totalUnfulfillableQuantity": 1},
    }
    summary = {"sellerSku": "MUG-1", "fnSku": "X001", "inventoryDetails": {**details, **changed.pop("details", {})}}
    body = {"marketplace_id": "M", "counted_at": "2026-11-21T12:00:00Z", "summary": {**summary, **changed}}
    return hub.RawRecord("stock", "MUG-1", json.dumps(body).encode())


@pytest.mark.parametrize("missing", ["fulfillableQuantity", "reservedQuantity", "unfulfillableQuantity"])
def test_a_figure_that_is_missing_is_not_taken_for_none(connector: AmazonFulfillment, missing: str) -> None:
    with pytest.raises(hub.Unreadable, match=missing):
        connector.read_stock(record(details={missing: None}))


def test_what_is_coming_is_unknown_where_amazon_says_nothing_of_it(connector: AmazonFulfillment) -> None:
    (count,) = connector.read_stock(record())
    assert (count.on_hand, count.available, count.inbound) == (8, 5, None)
    (count,) = connector.read_stock(record(details={"inboundShippedQuantity": 4}))
    assert count.inbound == 4


def test_goods_without_a_sku_of_the_sellers_are_nobodys(connector: AmazonFulfillment) -> None:
    assert list(connector.read_stock(record(sellerSku=""))) == []


# ---------------------------------------------------------------- whole, and what changed


def test_everything_is_read_first_and_then_what_changed(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment, clock: Clock
) -> None:
    for sku in ("MUG-1", "TEE-S"):
        vendor.stock_item(sku, sku.title(), 10)
    clock.advance(minutes=60)
    (first,) = connector.fetch_stock(None)
    clock.advance(minutes=60)
    vendor.set_on_hand("TEE-S", 4)
    clock.advance(minutes=5)

    (second,) = connector.fetch_stock(first.cursor)
    clock.advance(minutes=40)
    (third,) = connector.fetch_stock(second.cursor)
    (fourth,) = connector.fetch_stock(third.cursor)

    assert read(connector, first).keys() == {"MUG-1", "TEE-S"}
    told = read(connector, second)["TEE-S"]
    assert (told.on_hand, told.counted_at) == (4, NOON + timedelta(minutes=125))
    # It is told once more for a while, so that whatever Amazon learnt late is put right.
    assert [list(read(connector, page)) for page in (second, third, fourth)] == [["TEE-S"], ["TEE-S"], []]
    assert [each.get("startDateTime") for each in asked(vendor)] == [
        None,
        "2026-11-21T12:30:00Z",
        "2026-11-21T13:35:00Z",
        "2026-11-21T14:15:00Z",
    ]


def test_now_and_then_everything_is_read_because_what_sets_out_for_amazon_is_no_change_to_it(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment, clock: Clock
) -> None:
    vendor.stock_item("MUG-1", "Mug", 10)
    clock.advance(minutes=45)
    (page,) = connector.fetch_stock(None)
    clock.advance(minutes=45)
    vendor.warehouse.send_in("MUG-1", shipped=300)

    (page,) = connector.fetch_stock(page.cursor)
    assert read(connector, page) == {}
    clock.advance(minutes=316)
    (page,) = connector.fetch_stock(page.cursor)

    assert read(connector, page)["MUG-1"].inbound == 300
    clock.advance(minutes=45)
    (page,) = connector.fetch_stock(page.cursor)
    assert page.records == ()


# ---------------------------------------------------------------- pages whose token lives half a minute


@pytest.fixture
def shelves(vendor: AmazonWarehouseSimulator) -> list[str]:
    """More than two pages hold."""
    skus = [f"SKU-{number:03}" for number in range(120)]
    for sku in skus:
        vendor.stock_item(sku, "Thing", 1)
    return skus


def test_the_inventory_is_read_page_by_page_to_its_end(connector: AmazonFulfillment, shelves: list[str]) -> None:
    pages = list(connector.fetch_stock(None))
    assert [len(page.records) for page in pages] == [50, 50, 20]
    assert sorted(read(connector, *pages)) == shelves


def test_a_walk_goes_on_from_its_cursor_while_the_token_lives(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment, clock: Clock, shelves: list[str]
) -> None:
    first = next(connector.fetch_stock(None))
    clock.advance(seconds=20)
    rest = list(connector.fetch_stock(first.cursor))
    assert [len(page.records) for page in rest] == [50, 20]
    assert sorted(read(connector, first, *rest)) == shelves
    assert "nextToken" in asked(vendor)[1]


@pytest.mark.parametrize("since", ["everything", "what changed"])
def test_a_walk_whose_token_is_over_begins_again(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment, clock: Clock, shelves: list[str], since: str
) -> None:
    cursor = None
    if since == "what changed":
        *_, last = connector.fetch_stock(None)
        cursor = last.cursor
    first = next(connector.fetch_stock(cursor))
    before = len(asked(vendor))
    clock.advance(seconds=26)

    rest = list(connector.fetch_stock(first.cursor))

    assert [len(page.records) for page in rest] == [50, 50, 20]
    assert sorted(read(connector, *rest)) == shelves
    again = asked(vendor)[before]  # not even tried with a token that is as good as over
    assert again == ({"startDateTime": "2026-11-21T11:30:00Z"} if cursor else {})


def test_a_token_that_is_over_in_the_middle_begins_the_walk_again_once(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment, clock: Clock, shelves: list[str]
) -> None:
    sizes = []
    for page in connector.fetch_stock(None):
        sizes.append(len(page.records))
        if len(sizes) == 2:
            clock.advance(seconds=40)  # storing the page took so long
    assert sizes == [50, 50, 50, 50, 20]
    assert len(asked(vendor)) == 5  # nothing is asked for with a token that is over


def test_an_inventory_that_is_never_read_in_time_is_put_off(
    connector: AmazonFulfillment, clock: Clock, shelves: list[str]
) -> None:
    pages = connector.fetch_stock(None)
    with pytest.raises(hub.Unavailable, match="takes longer to read than it lets"):
        for _ in pages:
            clock.advance(seconds=40)


def test_a_token_that_amazon_refuses_begins_the_walk_again(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment, shelves: list[str]
) -> None:
    refusal = {"errors": [{"code": "InvalidInput", "message": "Next token is invalid or expired"}]}
    vendor.fail_next(SUMMARIES, Fault(response=SimResponse.of_json(refusal, 400)), after=1)
    pages = list(connector.fetch_stock(None))
    assert [len(page.records) for page in pages] == [50, 50, 50, 20]
    assert sorted(read(connector, *pages)) == shelves


def test_pages_of_stock_that_lead_round_in_circles_come_to_an_end(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment
) -> None:
    for token in ("a", "b", "a"):
        page = {"payload": {"inventorySummaries": []}, "pagination": {"nextToken": token}}
        vendor.fail_next(SUMMARIES, Fault(response=SimResponse.of_json(page)))
    with pytest.raises(hub.Unavailable, match="the same page again"):
        list(connector.fetch_stock(None))
    assert len(asked(vendor)) == 3


def test_a_refusal_without_a_token_is_a_refusal(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment, shelves: list[str]
) -> None:
    refusal = {"errors": [{"code": "InvalidInput", "message": "FBA is not enabled"}]}
    vendor.fail_next(SUMMARIES, Fault(response=SimResponse.of_json(refusal, 400)))
    with pytest.raises(hub.Rejected, match="FBA is not enabled"):
        list(connector.fetch_stock(None))


# ---------------------------------------------------------------- messages


def test_a_message_brings_the_same_figures_as_asking(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment
) -> None:
    vendor.stock_item("MUG-1", "Mug", 100)
    connector.perform("subscribe_webhooks", {"address": ""}, "key")
    vendor.warehouse.send_in("MUG-1", working=500, shipped=40, receiving=2)
    vendor.warehouse.damage("MUG-1", 3)
    vendor.warehouse.sell("MUG-1", 10)

    body = vendor.take_webhooks()[-1].body
    delivery = AmazonFulfillment.read_message(body)

    assert delivery is not None
    assert delivery.topic == "FBA_INVENTORY_AVAILABILITY_CHANGES"
    (told,) = connector.read_webhook(hub.RawRecord(delivery.topic, "", body))
    assert told == whole(connector)["MUG-1"]


def test_a_message_about_another_marketplace_is_no_count_here(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment
) -> None:
    vendor.stock_item("MUG-1", "Mug", 100)
    connector.perform("subscribe_webhooks", {"address": ""}, "key")
    vendor.warehouse.sell("MUG-1", 10)
    message = json.loads(vendor.take_webhooks()[-1].body)
    message["Payload"]["FulfillmentInventoryByMarketplace"][0]["MarketplaceId"] = "A2EUQ1WTGCTBG2"
    record = hub.RawRecord("FBA_INVENTORY_AVAILABILITY_CHANGES", "", json.dumps(message).encode())
    assert list(connector.read_webhook(record)) == []
