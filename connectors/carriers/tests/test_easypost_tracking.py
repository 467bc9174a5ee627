"""Following parcels with EasyPost: the poll, webhooks and who may send them, subscriptions that are repaired."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

import hub
from hub.testing import WEBHOOK_SECRET, Attempt, DeliveryFault, Letter, connector_for
from hub_carriers.easypost import TOPICS, EasyPostConnector
from hub_carriers.simulator_easypost import EasyPostSimulator

HOOK = "https://hub.example/webhooks/1/2"
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture
def vendor() -> Iterator[EasyPostSimulator]:
    with EasyPostSimulator(now=lambda: NOON) as simulator:
        simulator.hold_webhooks()
        yield simulator


@pytest.fixture
def connector(vendor: EasyPostSimulator) -> EasyPostConnector:
    return connector_for(EasyPostConnector, vendor)


def bought(
    vendor: EasyPostSimulator, connector: EasyPostConnector, service: str = "Ground", parcels: int = 1
) -> hub.Label:
    shipment = vendor.example(f"R-{len(vendor.charges()) + 1}", parcels)
    (rate,) = [rate for rate in connector.rates(shipment).rates if rate.service == service]
    return connector.buy_label(hub.LabelPurchase(shipment=shipment, rate=rate), "key")


def tracked(connector: EasyPostConnector, label: hub.Label) -> list[hub.Tracking]:
    return [connector.read_tracking(record) for record in connector.track(label)]


def received(letter: Letter) -> hub.Webhook:
    return hub.Webhook({name.lower(): value for name, value in letter.headers.items()}, letter.body)


def facts(connector: EasyPostConnector, letter: Letter) -> list[hub.CarrierFact]:
    delivery = connector.verify(received(letter))
    assert delivery is not None
    return list(connector.read_webhook(hub.RawRecord(delivery.topic, "", letter.body)))


# ---------------------------------------------------------------- the poll


def test_a_label_that_no_carrier_has_seen_is_no_mystery(
    vendor: EasyPostSimulator, connector: EasyPostConnector
) -> None:
    label = bought(vendor, connector)
    assert tracked(connector, label) == [
        hub.Tracking(
            tracking_number=label.tracking_numbers[0],
            status=hub.TrackingStatus.LABEL_CREATED,
            carrier_status="unknown",
        )
    ]


def test_a_parcel_is_followed_to_who_signed_for_it(vendor: EasyPostSimulator, connector: EasyPostConnector) -> None:
    label = bought(vendor, connector)
    vendor.scan(label.tracking_numbers[0], hub.TrackingStatus.IN_TRANSIT)
    (on_its_way,) = tracked(connector, label)
    vendor.scan(label.tracking_numbers[0], hub.TrackingStatus.DELIVERED)
    (there,) = tracked(connector, label)

    assert (on_its_way.signed_by, on_its_way.deliver_by) == ("", datetime(2026, 11, 24, 12, 0, tzinfo=UTC))
    assert (there.status, there.signed_by, there.deliver_by) == (hub.TrackingStatus.DELIVERED, "A BYRON", None)
    assert there.events[0] == hub.TrackingEvent(
        status=hub.TrackingStatus.IN_TRANSIT,
        carrier_status="in_transit/arrived_at_facility",
        happened_at=NOON,
        message="Arrived at facility",
        place="BOISE, ID, US",
    )


@pytest.mark.parametrize(
    ("status", "detail", "meaning"),
    [
        ("pre_transit", "label_created", hub.TrackingStatus.LABEL_CREATED),
        ("in_transit", "departed_facility", hub.TrackingStatus.IN_TRANSIT),
        ("in_transit", "weather_delay", hub.TrackingStatus.IN_TRANSIT),
        ("in_transit", "held", hub.TrackingStatus.EXCEPTION),
        ("in_transit", "address_correction", hub.TrackingStatus.EXCEPTION),
        ("out_for_delivery", "delivery_exception", hub.TrackingStatus.EXCEPTION),
        ("in_transit", "arrived_at_pickup_location", hub.TrackingStatus.READY_FOR_PICKUP),
        ("in_transit", "return", hub.TrackingStatus.RETURNING),
        ("available_for_pickup", "held", hub.TrackingStatus.READY_FOR_PICKUP),
        ("delivered", "damaged", hub.TrackingStatus.DELIVERED),
        ("return_to_sender", "return", hub.TrackingStatus.RETURNING),
        ("failure", "lost", hub.TrackingStatus.EXCEPTION),
        ("error", "unknown", hub.TrackingStatus.EXCEPTION),
        ("cancelled", "cancelled", hub.TrackingStatus.CANCELLED),
        ("unknown", "unknown", hub.TrackingStatus.UNKNOWN),
        ("teleported", "unknown", hub.TrackingStatus.UNKNOWN),
    ],
)
def test_a_status_and_its_detail_together_mean_one_thing(
    vendor: EasyPostSimulator, connector: EasyPostConnector, status: str, detail: str, meaning: hub.TrackingStatus
) -> None:
    label = bought(vendor, connector)
    vendor.scan_with(label.tracking_numbers[0], status, detail)
    (found,) = tracked(connector, label)
    assert (found.status, found.events[-1].status) == (meaning, meaning)


def test_each_parcel_of_an_order_is_followed(vendor: EasyPostSimulator, connector: EasyPostConnector) -> None:
    label = bought(vendor, connector, parcels=2)
    vendor.scan(label.tracking_numbers[1], hub.TrackingStatus.DELIVERED)
    assert [(each.tracking_number, each.status) for each in tracked(connector, label)] == [
        (label.tracking_numbers[0], hub.TrackingStatus.LABEL_CREATED),
        (label.tracking_numbers[1], hub.TrackingStatus.DELIVERED),
    ]


def test_a_tracker_that_was_made_after_the_purchase_is_found(
    vendor: EasyPostSimulator, connector: EasyPostConnector
) -> None:
    label = bought(vendor, connector)
    early = replace(label, handles={"shipment_1": label.external_id})
    assert tracked(connector, early) == tracked(connector, label)


def test_a_scan_without_a_time_is_left_out(vendor: EasyPostSimulator, connector: EasyPostConnector) -> None:
    label = bought(vendor, connector)
    vendor.scan(label.tracking_numbers[0], hub.TrackingStatus.IN_TRANSIT)
    vendor.scan(label.tracking_numbers[0], hub.TrackingStatus.OUT_FOR_DELIVERY)
    (record,) = connector.track(label)
    said = json.loads(record.body)
    said["tracking_details"][0]["datetime"] = None
    found = connector.read_tracking(replace(record, body=json.dumps(said).encode()))
    assert [event.status for event in found.events] == [hub.TrackingStatus.OUT_FOR_DELIVERY]


# ---------------------------------------------------------------- webhooks


def test_a_webhook_tells_what_the_poll_would(vendor: EasyPostSimulator, connector: EasyPostConnector) -> None:
    connector.subscribe_webhooks({"address": HOOK}, "key")
    label = bought(vendor, connector)
    vendor.scan(label.tracking_numbers[0], hub.TrackingStatus.OUT_FOR_DELIVERY)

    created, updated = vendor.take_webhooks()

    assert [connector.verify(received(each)).topic for each in (created, updated)] == list(TOPICS[:2])  # type: ignore[union-attr]
    assert facts(connector, updated) == tracked(connector, label)


def test_a_refund_that_comes_through_later_is_told(vendor: EasyPostSimulator, connector: EasyPostConnector) -> None:
    connector.subscribe_webhooks({"address": HOOK}, "key")
    label = bought(vendor, connector, "Priority")
    assert connector.void_label(label, "key").state is hub.VoidState.REQUESTED
    vendor.take_webhooks()
    assert [charge.voided for charge in vendor.charges()] == [False]

    vendor.decide_refund(label.tracking_numbers[0], refunded=True)

    (letter,) = vendor.take_webhooks()
    assert facts(connector, letter) == [hub.LabelVoid(label_external_id=label.external_id, state=hub.VoidState.VOIDED)]
    assert [charge.voided for charge in vendor.charges()] == [True]


def test_a_repeated_event_is_known_by_its_id_though_its_body_has_changed(
    vendor: EasyPostSimulator, connector: EasyPostConnector
) -> None:
    connector.subscribe_webhooks({"address": HOOK}, "key")
    vendor.disturb_next(DeliveryFault(copies=2))
    label = bought(vendor, connector)
    once, again = vendor.take_webhooks()
    vendor.scan(label.tracking_numbers[0], hub.TrackingStatus.IN_TRANSIT)
    (other,) = vendor.take_webhooks()
    later = json.dumps(json.loads(once.body) | {"status": "in_queue", "completed_urls": ["https://a.example"]}).encode()
    signature = hmac.new(WEBHOOK_SECRET.encode(), later, hashlib.sha256).hexdigest()
    changed = hub.Webhook({"x-hmac-signature": f"hmac-sha256-hex={signature}"}, later)

    keys = [
        connector.verify(webhook).dedupe_key  # type: ignore[union-attr]
        for webhook in (received(once), received(again), changed, received(other))
    ]

    assert keys[0] == keys[1] == keys[2] == json.loads(once.body)["id"]
    assert keys[3] != keys[0]


def test_events_of_other_things_tell_nothing(connector: EasyPostConnector) -> None:
    for topic in ("batch.updated", "insurance.purchased", "event"):
        assert list(connector.read_webhook(hub.RawRecord(topic, "", b'{"result": {}}'))) == []


def test_a_webhook_is_refused_while_there_is_no_secret(vendor: EasyPostSimulator) -> None:
    connector = connector_for(EasyPostConnector, vendor, webhook_secret="")
    # The HMAC with an empty key, which anybody can compute.
    signature = "hmac-sha256-hex=b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"
    with pytest.raises(hub.Unverified):
        connector.verify(hub.Webhook({"x-hmac-signature": signature}, b""))


# ---------------------------------------------------------------- subscriptions


def test_a_webhook_that_easypost_has_disabled_is_noticed_and_enabled_again(
    vendor: EasyPostSimulator, connector: EasyPostConnector
) -> None:
    connector.subscribe_webhooks({"address": HOOK}, "key")
    assert connector.read_subscriptions(HOOK) == hub.Subscriptions(active=TOPICS)
    for _ in range(3):
        vendor.delivered(Attempt(HOOK, {}, b"", 4, 500, 0.0), final=True)
    assert connector.read_subscriptions(HOOK) == hub.Subscriptions(active=(), missing=TOPICS)
    bought(vendor, connector)
    assert vendor.take_webhooks() == []

    connector.subscribe_webhooks({"address": HOOK}, "key")

    assert connector.read_subscriptions(HOOK) == hub.Subscriptions(active=TOPICS)
    bought(vendor, connector)
    (letter,) = vendor.take_webhooks()
    assert facts(connector, letter)
    assert len(vendor.webhooks) == 1


def test_what_the_hub_left_at_an_older_address_is_deleted_and_nothing_else(
    vendor: EasyPostSimulator, connector: EasyPostConnector
) -> None:
    strangers = ("https://hub.example/webhooks/1/3", "https://shop.example/easypost", "http://[broken/webhooks/1/2")
    for url in (HOOK.replace("hub.example", "old.example"), *strangers):
        connector.subscribe_webhooks({"address": url}, "key")

    result = connector.subscribe_webhooks({"address": HOOK}, "key")

    assert [each["url"] for each in vendor.webhooks.values()] == [*strangers, HOOK]
    assert result == hub.EffectResult(list(vendor.webhooks)[-1], {"address": HOOK, "deleted": 1})


def test_two_webhooks_for_one_address_become_one(vendor: EasyPostSimulator, connector: EasyPostConnector) -> None:
    for _ in range(2):
        connector.client.post(
            "https://api.easypost.com/v2/webhooks", auth=(vendor.api_key, ""), json={"webhook": {"url": HOOK}}
        )
    connector.subscribe_webhooks({"address": HOOK}, "key")
    bought(vendor, connector)
    (letter,) = vendor.take_webhooks()
    assert facts(connector, letter)  # and it is signed with our secret now
