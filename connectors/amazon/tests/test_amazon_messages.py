"""Notifications: Amazon's own examples read, what each says, and the subscriptions that have them left in the queue."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import hub
from hub.testing import connector_for
from hub_amazon.channel import AmazonConnector
from hub_amazon.channel_messages import TOPICS, read
from hub_amazon.messages import read_message
from hub_amazon.simulator import AmazonSimulator
from hub_amazon.simulator_models import Models

SPECS = Path(os.environ.get("TALLYHUB_SPECS") or Path(__file__).parents[4] / "shared" / "specs") / "amazon-sp-api"
SCHEMAS = SPECS / "schemas" / "notifications"
MODELS = Models(SPECS) if SPECS.is_dir() else None
needs_specs = pytest.mark.skipif(
    not SPECS.is_dir(), reason=f"the vendor's specifications are not at {SPECS}; set TALLYHUB_SPECS"
)
NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
DE, FR = "A1PA6795UKMFR9", "A13V1IB3VIYZZH"
SELLER = "A3EXAMPLE9S"


def example(name: str) -> list[Any]:
    """The examples in a schema; there are schemas without any."""
    schema = json.loads((SCHEMAS / name).read_text(encoding="utf-8"))
    found = schema.get("examples", schema.get("example", []))
    return found if isinstance(found, list) else [found]


EXAMPLES = sorted(path.name for path in SCHEMAS.glob("*.json") if example(path.name)) if SPECS.is_dir() else []


def changed(*items: dict[str, Any], seller: str = SELLER, **summary: Any) -> bytes:
    """An ORDER_CHANGE as Amazon writes it."""
    told = {
        "MarketplaceId": DE,
        "OrderStatus": "Unshipped",
        "PurchaseDate": "2026-11-21T11:59:00.123Z",
        "DestinationPostalCode": None,
        "FulfillmentType": "MFN",
        "OrderType": "StandardOrder",
        "OrderItems": list(items) or [item()],
        **summary,
    }
    payload = {
        "NotificationLevel": "OrderLevel",
        "SellerId": seller,
        "AmazonOrderId": "302-1234567-7654321",
        "OrderChangeType": "OrderStatusChange",
        "OrderChangeTrigger": {"TimeOfOrderChange": "2026-11-21T12:00:00.000Z", "ChangeReason": "Unshipped"},
        "Summary": told,
    }
    return notification("ORDER_CHANGE", {"OrderChangeNotification": payload})


def item(**told: Any) -> dict[str, Any]:
    return {"OrderItemId": "11", "SellerSKU": "MUG / 1", "Quantity": 3, "QuantityShipped": 1, **told}


def notification(kind: str, payload: Mapping[str, Any]) -> bytes:
    return json.dumps(
        {
            "NotificationVersion": "1.0",
            "NotificationType": kind,
            "PayloadVersion": "1.0",
            "EventTime": "2026-11-21T12:00:01.000Z",
            "Payload": payload,
            "NotificationMetadata": {"NotificationId": "d0e9e693"},
        }
    ).encode()


def facts(body: bytes, seller: str = SELLER, places: tuple[str, ...] = (DE, FR)) -> list[hub.Fact]:
    delivery = read_message(body)
    assert delivery is not None
    return list(read(hub.RawRecord(delivery.topic, delivery.dedupe_key, body), seller, places))


# ---------------------------------------------------------------- the envelope


@needs_specs
@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_that_amazon_publishes_has_a_type_and_an_id(name: str) -> None:
    for message in example(name):
        delivery = read_message(json.dumps(message).encode())
        assert delivery is not None
        assert delivery.topic == message.get("NotificationType", message.get("notificationType"))
        metadata = message.get("NotificationMetadata") or message["notificationMetadata"]
        assert delivery.dedupe_key.endswith(metadata.get("NotificationId", metadata.get("notificationId")))
        # What is not subscribed to is no news, and what is of another seller neither.
        assert list(read(hub.RawRecord(delivery.topic, "1", json.dumps(message).encode()), SELLER, (DE,))) == []


def test_two_copies_of_a_notification_have_one_key_and_two_notifications_two() -> None:
    first, again = read_message(changed()), read_message(changed(item(Quantity=9)))
    other = read_message(changed().replace(b"d0e9e693", b"11111111"))
    assert first == again == hub.Delivery("ORDER_CHANGE", "ORDER_CHANGE/d0e9e693")
    assert other == hub.Delivery("ORDER_CHANGE", "ORDER_CHANGE/11111111")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"not json",
        b'{"NotificationType": "ORDER_CHANGE"}',
        b'{"NotificationType": "", "NotificationMetadata": {"NotificationId": "1"}}',
        b'{"NotificationType": 7, "NotificationMetadata": {"NotificationId": "1"}}',
        b'{"NotificationType": "ORDER_CHANGE", "NotificationMetadata": {"NotificationId": null}}',
    ],
)
def test_what_is_no_notification_is_not_taken_for_one(body: bytes) -> None:
    with pytest.raises(hub.Unreadable):
        read_message(body)


# ---------------------------------------------------------------- orders


def test_a_new_order_is_known_by_its_skus_and_quantities_before_it_is_fetched() -> None:
    [order] = facts(changed())
    assert isinstance(order, hub.Order)
    assert (order.external_id, order.number) == ("302-1234567-7654321", "302-1234567-7654321")
    # Nobody is to ship what has no address yet.
    assert (order.status, order.channel_status, order.paid) == (hub.OrderStatus.PENDING, "UNSHIPPED", True)
    assert (order.whole, order.holds_stock, order.shipped_by_channel) == (False, True, False)
    assert order.total == hub.Money.zero("EUR")
    [line] = order.lines
    assert (line.external_id, line.sku, line.listing_external_id) == ("11", "MUG / 1", f"{DE}/MUG / 1")
    assert (line.quantity, line.fulfilled, line.open_quantity) == (3, 1, 2)
    # Believed only while nothing else is known of the order: whatever is fetched is newer.
    assert order.version == order.placed_at == datetime(2026, 11, 21, 11, 59, 0, 123000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "ours", "holds"),
    [
        ("PendingAvailability", hub.OrderStatus.PENDING, True),
        ("Pending", hub.OrderStatus.PENDING, True),
        ("Unshipped", hub.OrderStatus.PENDING, True),
        ("PartiallyShipped", hub.OrderStatus.PENDING, True),
        ("Shipped", hub.OrderStatus.FULFILLED, False),
        ("InvoiceUnconfirmed", hub.OrderStatus.FULFILLED, False),
        ("Canceled", hub.OrderStatus.CANCELLED, False),
        ("Unfulfillable", hub.OrderStatus.CANCELLED, False),
        ("SomethingNew", hub.OrderStatus.PENDING, True),
    ],
)
def test_a_status_holds_stock_as_in_an_order_and_asks_nobody_to_ship(
    status: str, ours: hub.OrderStatus, holds: bool
) -> None:
    [order] = facts(changed(OrderStatus=status))
    assert isinstance(order, hub.Order)
    assert (order.status, order.holds_stock) == (ours, holds)
    assert order.lines[0].open_quantity == (0 if status in ("Canceled", "Unfulfillable") else 2)


def test_an_order_that_amazon_ships_holds_nothing() -> None:
    [order] = facts(changed(FulfillmentType="AFN"))
    assert isinstance(order, hub.Order)
    assert (order.shipped_by_channel, order.holds_stock) == (True, False)


def test_money_is_zero_in_the_currency_of_the_marketplace() -> None:
    [order] = facts(changed(MarketplaceId="A1VC38T7YXB528"), places=("A1VC38T7YXB528",))
    assert isinstance(order, hub.Order)
    assert order.currency == "JPY"


@pytest.mark.parametrize("told", [{"PurchaseDate": None}, {"OrderItems": []}])
def test_what_says_too_little_leads_to_the_order_itself(told: dict[str, Any]) -> None:
    assert facts(changed(**told)) == [hub.Refetch("order", "302-1234567-7654321")]


@pytest.mark.parametrize(
    "body", [changed(seller="A0ANOTHER"), changed(MarketplaceId="ATVPDKIKX0DER"), changed(MarketplaceId="A0NEW")]
)
def test_orders_of_others_are_passed_over(body: bytes) -> None:
    assert facts(body) == []


@pytest.mark.parametrize(
    "told", [{"OrderItems": None}, {"OrderItems": [item(), item()]}, {"OrderItems": [item(Quantity=-1)]}]
)
def test_an_order_that_makes_no_sense_is_set_aside(told: dict[str, Any]) -> None:
    with pytest.raises(hub.Unreadable):
        facts(changed(**told))


@needs_specs
def test_reads_the_order_of_amazons_own_example() -> None:
    [message] = example("OrderChangeNotification.json")
    [order] = facts(json.dumps(message).encode(), "A3TH9S8BH6GOGM", ("ATVPDKIKX0DER",))
    assert isinstance(order, hub.Order)
    assert (order.external_id, order.currency) == ("903-8868176-2219830", "USD")
    assert [(line.sku, line.quantity) for line in order.lines] == [("SellerSKUID1", 10)]
    assert order.promised_at == datetime(2022, 12, 7, 19, 42, 4, 284000, tzinfo=UTC)


# ---------------------------------------------------------------- listings


def listing_status(*statuses: str, place: str = DE) -> bytes:
    return notification(
        "LISTINGS_ITEM_STATUS_CHANGE",
        {"SellerId": SELLER, "MarketplaceId": place, "Sku": "MUG / 1", "Status": list(statuses)},
    )


def test_a_listing_that_changed_is_fetched_and_one_that_was_deleted_is_gone() -> None:
    assert facts(listing_status("BUYABLE", "DISCOVERABLE")) == [hub.Refetch("listing", f"{DE}/MUG / 1")]
    assert facts(listing_status()) == [hub.Refetch("listing", f"{DE}/MUG / 1")]
    assert facts(listing_status("DELETED")) == [hub.ListingRemoved(f"{DE}/MUG / 1")]
    assert facts(listing_status("DELETED", place="ATVPDKIKX0DER")) == []


def test_a_figure_that_changed_is_no_news_because_every_sale_changes_one() -> None:
    told = {"SellerId": SELLER, "FulfillmentChannelCode": "DEFAULT", "Sku": "MUG / 1", "Quantity": 99}
    assert facts(notification("LISTINGS_ITEM_MFN_QUANTITY_CHANGE", told)) == []
    assert "LISTINGS_ITEM_MFN_QUANTITY_CHANGE" not in TOPICS


# ---------------------------------------------------------------- subscriptions


@pytest.fixture
def amazon() -> Iterator[AmazonSimulator]:
    with AmazonSimulator(now=lambda: NOON, models=MODELS) as simulator:
        simulator.add_product("MUG-1", "Mug", 10, "9.50")
        yield simulator


@pytest.fixture
def connector(amazon: AmazonSimulator) -> AmazonConnector:
    return connector_for(AmazonConnector, amazon, now=lambda: NOON)


def subscribe(connector: AmazonConnector) -> hub.EffectResult:
    return connector.perform("subscribe_webhooks", {"address": ""}, "1")


def test_amazon_is_told_once_what_to_leave_in_the_queue(amazon: AmazonSimulator, connector: AmazonConnector) -> None:
    assert connector.read_subscriptions("") == hub.Subscriptions((), TOPICS)
    first = subscribe(connector)
    assert connector.read_subscriptions("") == hub.Subscriptions(TOPICS)
    written = [each for each in amazon.requests if each.method == "POST" and each.path.startswith("/notifications")]
    assert len(written) == 1 + len(TOPICS)
    assert subscribe(connector) == first
    assert len(amazon.subscriptions) == len(TOPICS)
    again = [each for each in amazon.requests if each.method == "POST" and each.path.startswith("/notifications")]
    assert len(again) == len(written)


def test_a_subscription_that_was_lost_is_made_again_alone(amazon: AmazonSimulator, connector: AmazonConnector) -> None:
    subscribe(connector)
    kept = amazon.subscriptions["LISTINGS_ITEM_STATUS_CHANGE"]
    del amazon.subscriptions["ORDER_CHANGE"]
    assert connector.read_subscriptions("").missing == ("ORDER_CHANGE",)
    subscribe(connector)
    assert connector.read_subscriptions("").missing == ()
    assert amazon.subscriptions["LISTINGS_ITEM_STATUS_CHANGE"] == kept


def test_a_queue_of_another_program_is_left_alone(amazon: AmazonSimulator, connector: AmazonConnector) -> None:
    amazon.listen_elsewhere("ORDER_CHANGE")
    standing = dict(amazon.subscriptions["ORDER_CHANGE"])
    with pytest.raises(hub.Rejected, match=r"ORDER_CHANGE in another queue already \(arn:aws:sqs:.*another-program\)"):
        subscribe(connector)
    assert amazon.subscriptions["ORDER_CHANGE"] == standing
    assert "ORDER_CHANGE" in connector.read_subscriptions("").missing


def test_a_queue_that_this_connection_had_before_is_left_for_the_new_one(
    amazon: AmazonSimulator, connector: AmazonConnector
) -> None:
    amazon.listen_elsewhere("ORDER_CHANGE", "tallyhub-before")
    subscribe(connector)
    assert connector.read_subscriptions("") == hub.Subscriptions(TOPICS)


def test_what_happens_at_amazon_is_read_from_what_it_leaves(
    amazon: AmazonSimulator, connector: AmazonConnector
) -> None:
    """Each message that the simulated Amazon leaves is as Amazon's schemas say; this is how they are read."""
    amazon.hold_webhooks()
    subscribe(connector)
    sale = amazon.checkout([("MUG-1", 2)])
    assert sale is not None
    amazon.ask_to_cancel(sale.order_external_id)
    read_back: list[hub.Fact] = []
    for letter in amazon.take_webhooks():
        delivery = connector.read_message(letter.body)
        assert delivery is not None
        read_back += connector.read_webhook(hub.RawRecord(delivery.topic, delivery.dedupe_key, letter.body))
    orders = [fact for fact in read_back if isinstance(fact, hub.Order)]
    assert {order.external_id for order in orders} == {sale.order_external_id}
    assert {(line.sku, line.quantity) for order in orders for line in order.lines} == {("MUG-1", 2)}
