"""Amazon's warehouses by Amazon's own word: its models for everything that is sent and told, its samples as read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import hub
from hub.testing import Clock, connector_for
from hub_amazon.fulfillment import AmazonFulfillment
from hub_amazon.fulfillment_translation import ORDER_STATES, PARCEL_STATES, SHIPMENT_WORDS, OrderBody, PreviewBody
from hub_amazon.marketplaces import BY_CODE
from hub_amazon.simulator_fulfillment import CANCEL, CREATE, GET, GET_SUMMARIES, LIST, PREVIEW, AmazonWarehouseSimulator
from hub_amazon.simulator_models import Models

SHARED = Path(__file__).parents[4] / "shared"
SPECS = Path(os.environ.get("TALLYHUB_SPECS") or SHARED / "specs") / "amazon-sp-api"
FIXTURES = Path(os.environ.get("TALLYHUB_FIXTURES") or SHARED / "fixtures") / "amazon-sp-api"
pytestmark = [
    pytest.mark.skipif(not SPECS.is_dir(), reason=f"Amazon's models are not at {SPECS}; set TALLYHUB_SPECS"),
    pytest.mark.skipif(not FIXTURES.is_dir(), reason=f"Amazon's samples are not at {FIXTURES}; set TALLYHUB_FIXTURES"),
]

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def vendor(clock: Clock) -> Iterator[AmazonWarehouseSimulator]:
    """Whoever asks or answers what the models do not allow is refused, or fails the test."""
    with AmazonWarehouseSimulator(now=clock, models=Models(SPECS)) as simulator:
        simulator.hold_webhooks()
        yield simulator


@pytest.fixture
def connector(vendor: AmazonWarehouseSimulator, clock: Clock) -> AmazonFulfillment:
    return connector_for(AmazonFulfillment, vendor, now=clock)


def sample(name: str) -> Any:
    return json.loads((FIXTURES / f"mcf-v2-{name}.json").read_text(encoding="utf-8"))


def facts(connector: AmazonFulfillment, told: Any) -> list[Any]:
    """What an order says, if it were one of ours."""
    lines = [told["lineItems"], *(each["items"] for each in told.get("shipments", ()))]
    for line in (line for some in lines for line in some):
        line["lineItemId"] = f"{told['orderId']}/{line['lineItemId']}"
    return list(connector.read_shipments(hub.RawRecord("shipment", told["orderId"], json.dumps(told).encode())))


def test_everything_that_is_asked_answered_and_told_is_as_the_models_have_it(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment, clock: Clock
) -> None:
    for sku in ("MUG-1", "TEE-S"):
        vendor.stock_item(sku, sku.title(), 10)
    connector.perform("subscribe_webhooks", {"address": ""}, "key")
    connector.check()
    order = vendor.example("R-1", {"MUG-1": 3, "TEE-S": 1})
    connector.submit(order, "key")
    vendor.warehouse.pick("R-1", {"MUG-1": 2})
    list(connector.fetch_shipments(None))
    vendor.warehouse.move_parcel(vendor.ship("R-1"), "DELIVERED", received_by="Grace")
    vendor.warehouse.damage("TEE-S", 1)
    vendor.warehouse.sell("TEE-S", 2)
    connector.cancel(hub.Submission(reference="R-1", external_id=""), "key")
    connector.find_submit(vendor.example("R-9", {"MUG-1": 1}), "key")
    with pytest.raises(hub.Rejected):
        connector.submit(vendor.example("R-3", {"TEE-S": 100, "NO-SUCH": 1}), "key")
    vendor.warehouse.answers_later = 60
    connector.submit(vendor.example("R-2", {"MUG-1": 1}), "key")
    clock.now += timedelta(minutes=2)
    vendor.reject("R-2", "No such street")
    (page,) = connector.fetch_shipments(None)
    (stock,) = connector.fetch_stock(None)
    list(connector.fetch_stock(stock.cursor))

    told = [fact for record in page.records for fact in connector.read_shipments(record)]
    assert [each.state for each in told if isinstance(each, hub.Progress)] == [
        hub.ProviderState.REJECTED,  # what was left of it is cancelled
        hub.ProviderState.REJECTED,
    ]
    operations = {CANCEL, CREATE, GET, GET_SUMMARIES, LIST, PREVIEW}
    called = {each for each in operations for request in vendor.requests if each.names(request) is not None}
    assert called == operations
    assert len(vendor.take_webhooks()) > 8


def test_the_sample_of_an_order_that_left_is_read_whole(connector: AmazonFulfillment) -> None:
    progress, left, parcel = facts(connector, sample("getOrder")["order"])
    moment = datetime(2026, 8, 20, 8, 23, 44, tzinfo=UTC)
    assert (progress.state, progress.version) == (
        hub.ProviderState.SHIPPED,
        datetime(2026, 8, 20, 8, 29, 5, tzinfo=UTC),
    )
    assert (left.external_id, left.reference, left.shipped_at) == ("shipmentID-001", "MCF-V2-TEST-ORDER-001", moment)
    assert [(line.sku, line.quantity, line.line_reference) for line in left.lines] == [("MY-SKU-001", 1, "item-001")]
    assert (left.carrier, left.tracking_numbers) == ("amazon", ("TBA32397232322",))
    assert left.tracking_url == "https://www.swiship.com/track?id=TBA32397232322"
    assert (parcel.status, parcel.deliver_by) == (
        hub.TrackingStatus.IN_TRANSIT,
        datetime(2026, 8, 22, 20, 0, tzinfo=UTC),
    )


def test_the_samples_of_an_order_that_was_made_and_of_the_list_say_the_same(connector: AmazonFulfillment) -> None:
    (listed,) = sample("listOrders")["orders"]
    told = facts(connector, sample("createOrder")["order"])
    assert told == facts(connector, listed)
    assert [each.state for each in told] == [hub.ProviderState.ACCEPTED]


def test_orders_of_the_samples_were_not_placed_by_us(connector: AmazonFulfillment) -> None:
    assert not OrderBody().read(sample("getOrder")["order"]).is_ours


def test_the_sample_of_a_preview_plans_what_is_wanted() -> None:
    preview = PreviewBody().read(sample("getOrderPreview"))
    assert (dict(preview.planned), preview.constraints) == ({"MY-SKU-001": 1}, ())
    assert preview.why_not({"MY-SKU-001": 1}) == ""
    assert preview.why_not({"MY-SKU-001": 3}) == "Amazon cannot ship 2 × MY-SKU-001."


def test_every_example_in_the_model_of_what_is_read_here_is_read(connector: AmazonFulfillment) -> None:
    definitions = Models(SPECS).model(CREATE.model)["definitions"]
    held = facts(connector, definitions["CreateOrderResponse"]["example"]["order"])
    assert [each.state for each in held] == [hub.ProviderState.ACCEPTED]
    told = definitions["FulfillmentOrder"]["example"]
    progress, left, parcel = facts(connector, told)
    assert (progress.state, left.external_id, parcel.tracking_number) == (
        hub.ProviderState.PARTIALLY_SHIPPED,
        "SHIP901234",
        told["shipments"][0]["packages"][0]["tracking"]["carrier"]["trackingNumber"],
    )
    preview = PreviewBody().read(definitions["GetOrderPreviewResponse"]["example"])
    assert (
        preview.why_not({"someSku": 2}) == "There is not enough quantity of item xyz. Amazon cannot ship 1 × someSku."
    )


def test_every_word_that_the_model_has_for_orders_shipments_and_parcels_is_known() -> None:
    definitions = Models(SPECS).model(CREATE.model)["definitions"]

    def words(name: str) -> set[str]:
        return set(definitions[name]["description"].split("`")[1::2])

    assert words("OrderStatus") == ORDER_STATES.keys() - {""}
    assert words("ShipmentStatus") == SHIPMENT_WORDS
    assert words("ShipmentPackageStatus") == PARCEL_STATES.keys()


@pytest.mark.parametrize(
    ("topic", "schema"),
    [
        ("FULFILLMENT_ORDER_STATUS", "FulfillmentOrderStatusNotification"),
        ("FBA_INVENTORY_AVAILABILITY_CHANGES", "FBAInventoryAvailabilityChangeNotification"),
    ],
)
def test_the_notifications_own_examples_are_read(connector: AmazonFulfillment, topic: str, schema: str) -> None:
    published = Models(SPECS).schema("notifications", schema)
    if topic == "FULFILLMENT_ORDER_STATUS":
        (message,) = published["examples"]
    else:  # its example is in parts
        payload = published["properties"]["Payload"]["examples"][0]
        message = {"EventTime": published["properties"]["EventTime"]["examples"][0], "Payload": payload}
    told = list(connector.read_webhook(hub.RawRecord(topic, "", json.dumps(message).encode())))
    if topic == "FULFILLMENT_ORDER_STATUS":
        assert told == [hub.Refetch("order", "SFOID2345")]
        return
    assert told == [
        hub.StockCount(
            sku="SELLERSKU-1",
            on_hand=80,
            available=50,
            counted_at=datetime(2020, 7, 13, 19, 42, 4, 284000, tzinfo=UTC),
            inbound=15,
            reserved=30,
            location_external_id=BY_CODE["US"].external_id,
            item_external_id="X001ABCDEF",
        )
    ]
