"""UPS: parcels followed to the door, Track Alerts taken for hints, addresses judged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

import hub
from hub.testing import Clock, Fault, SimResponse, connector_for
from hub_carriers.simulator_ups import UpsSimulator
from hub_carriers.ups import UpsConnector
from hub_carriers.ups_translation import status_of
from hub_carriers.ups_zones import in_utc

HOOK = "https://hub.example/hooks/1"


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime(2026, 3, 2, 5, 4, 3, tzinfo=UTC))


@pytest.fixture
def vendor(clock: Clock) -> Iterator[UpsSimulator]:
    with UpsSimulator(now=clock) as simulator:
        yield simulator


@pytest.fixture
def connector(vendor: UpsSimulator, clock: Clock) -> UpsConnector:
    return connector_for(UpsConnector, vendor, now=clock)


def bought(connector: UpsConnector, shipment: hub.Shipment) -> hub.Label:
    rate = connector.rates(shipment).rates[0]
    return connector.buy_label(hub.LabelPurchase(shipment=shipment, rate=rate), "key")


def news(connector: UpsConnector, label: hub.Label) -> hub.Tracking:
    (record,) = connector.track(label)
    return connector.read_tracking(record)


def test_a_parcel_is_followed_to_the_door(vendor: UpsSimulator, connector: UpsConnector, clock: Clock) -> None:
    label = bought(connector, vendor.example("R-1"))
    for status in (hub.TrackingStatus.IN_TRANSIT, hub.TrackingStatus.EXCEPTION, hub.TrackingStatus.OUT_FOR_DELIVERY):
        clock.advance(hours=9)
        vendor.scan(label.external_id, status)
    before = news(connector, label)
    clock.advance(hours=3)
    vendor.scan(label.external_id, hub.TrackingStatus.DELIVERED)
    after = news(connector, label)

    assert (before.status, before.deliver_by) == (
        hub.TrackingStatus.OUT_FOR_DELIVERY,
        datetime(2026, 3, 6, 4, 59, tzinfo=UTC),  # the end of the 5th in New York
    )
    assert (after.status, after.signed_by, after.deliver_by) == (hub.TrackingStatus.DELIVERED, "BYRON", None)
    assert [(event.status.value, event.happened_at.isoformat(), event.place) for event in after.events] == [
        ("label_created", "2026-03-02T05:04:03+00:00", "Atlanta, GA, US"),
        ("in_transit", "2026-03-02T14:04:03+00:00", "Atlanta, GA, US"),
        ("exception", "2026-03-02T23:04:03+00:00", "Atlanta, GA, US"),
        ("out_for_delivery", "2026-03-03T08:04:03+00:00", "Atlanta, GA, US"),
        ("delivered", "2026-03-03T11:04:03+00:00", "Atlanta, GA, US"),
    ]
    assert after.events[2].message == "The receiver was not available at the time of the first attempt."


@pytest.mark.parametrize(
    ("type", "code", "detail", "status"),
    [
        ("M", "MP", "003", "label_created"),
        ("MV", "VP", "", "cancelled"),
        ("P", "OR", "", "in_transit"),
        ("I", "DP", "005", "in_transit"),
        ("I", "OT", "", "out_for_delivery"),
        ("D", "OF", "021", "out_for_delivery"),  # on the vehicle: of the type D, and not delivered yet
        ("X", "48", "", "exception"),
        ("X", "A1", "035", "returning"),
        ("RS", "RS", "", "returning"),
        ("D", "ZP", "040", "ready_for_pickup"),
        ("D", "KB", "011", "delivered"),
        ("", "011", "", "delivered"),  # as a parcel's present status has it
        ("U", "", "", "in_transit"),
        ("Q", "ZZ", "999", "unknown"),
        ("", "", "", "unknown"),
    ],
)
def test_types_and_codes_are_read_as_the_hubs_words(type: str, code: str, detail: str, status: str) -> None:
    assert status_of(type, code, detail).value == status


def _record(number: str, **parcel: Any) -> hub.RawRecord:
    body = {"trackResponse": {"shipment": [{"package": [{"trackingNumber": number, **parcel}]}]}}
    return hub.RawRecord("tracking", number, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("times", "moment"),
    [
        (
            {"gmtDate": "20260302", "gmtTime": "74700", "date": "20260302", "time": "024700"},
            "2026-03-02T07:47:00+00:00",
        ),
        ({"gmtDate": "20260302", "gmtTime": "1203"}, "2026-03-02T00:12:03+00:00"),  # without its leading zeros
        ({"gmtDate": "20260302", "gmtTime": "0"}, "2026-03-02T00:00:00+00:00"),
        ({"gmtDate": "20260302", "gmtTime": "99", "date": "20260302", "time": "024700"}, "2026-03-02T07:47:00+00:00"),
        ({"date": "20260302", "time": "024700", "gmtOffset": "-05:00"}, "2026-03-02T07:47:00+00:00"),
        ({"date": "20260302", "time": "024700", "gmtOffset": "+05.30"}, "2026-03-01T21:17:00+00:00"),
        ({"date": "20260302", "time": "024700"}, "2026-03-02T07:47:00+00:00"),  # by the place, which is in Georgia
    ],
)
def test_a_time_is_read_with_the_zone_that_was_told(
    connector: UpsConnector, times: dict[str, str], moment: str
) -> None:
    place = {"address": {"city": "ATLANTA", "stateProvince": "GA", "countryCode": "US"}}
    activity = {"location": place, "status": {"type": "I", "code": "DP"}, **times}

    (event,) = connector.read_tracking(_record("1Z", activity=activity)).events
    assert event.happened_at.isoformat() == moment


def test_an_activity_without_a_time_is_set_aside(connector: UpsConnector) -> None:
    with pytest.raises(hub.Unreadable, match="without a date and a time"):
        connector.read_tracking(_record("1Z", activity=[{"status": {"type": "I", "code": "DP"}}]))


def test_a_rescheduled_day_counts_for_the_scheduled_one(connector: UpsConnector) -> None:
    said = connector.read_tracking(
        _record(
            "1Z",
            currentStatus={"code": "055", "description": "Rescheduled"},
            deliveryDate=[{"type": "SDD", "date": "20260303"}, {"type": "RDD", "date": "20260305"}],
            deliveryTime={"type": "EDW", "startTime": "100000", "endTime": "140000"},
            packageAddress=[{"type": "DESTINATION", "address": {"stateProvince": "CA", "countryCode": "US"}}],
        )
    )
    assert said.deliver_by == datetime(2026, 3, 5, 22, 0, tzinfo=UTC)
    assert (said.status, said.carrier_status) == (hub.TrackingStatus.IN_TRANSIT, "055")


def test_of_several_parcels_the_one_that_was_asked_for_is_read(connector: UpsConnector) -> None:
    parcels = [{"trackingNumber": number, "currentStatus": {"code": "011"}} for number in ("1ZA", "1ZB")]
    body = json.dumps({"trackResponse": {"shipment": {"package": parcels}}}).encode()

    assert connector.read_tracking(hub.RawRecord("tracking", "1ZB", body)).tracking_number == "1ZB"


def test_a_parcel_that_ups_has_not_seen_is_no_news(vendor: UpsSimulator, connector: UpsConnector) -> None:
    label = bought(connector, vendor.example("R-1", 2))
    unseen = replace(label, tracking_numbers=("1Z9999999999999999", label.tracking_numbers[1]))

    assert [record.external_id for record in connector.track(unseen)] == [label.tracking_numbers[1]]
    body = json.dumps({"trackResponse": {"shipment": [{"warnings": [{"code": "TW0001", "message": "Not Found"}]}]}})
    empty = connector.read_tracking(hub.RawRecord("tracking", "1Z9", body.encode()))
    assert (empty.tracking_number, empty.status, empty.events) == ("1Z9", hub.TrackingStatus.UNKNOWN, ())


def test_a_refusal_to_tell_is_an_error_and_no_news(vendor: UpsSimulator, connector: UpsConnector) -> None:
    label = bought(connector, vendor.example("R-1"))
    refused = {"response": {"errors": [{"code": "TV1002", "message": "Invalid locale"}]}}
    vendor.fail_next("/api/track", Fault(response=SimResponse.of_json(refused, 400)))

    with pytest.raises(hub.Rejected, match="UPS refused to say where the parcel is: Invalid locale"):
        list(connector.track(label))
    assert len(list(connector.track(label))) == 1


# ---------------------------------------------------------------- Track Alert


def _followed(vendor: UpsSimulator, connector: UpsConnector) -> tuple[hub.Label, hub.Webhook]:
    label = bought(connector, vendor.example("R-1"))
    vendor.hold_webhooks()
    assert connector.follow_parcels([label.external_id], HOOK) == ()
    vendor.scan(label.external_id, hub.TrackingStatus.DELIVERED)
    (letter,) = vendor.take_webhooks()
    assert letter.address == HOOK
    return label, hub.Webhook({name.lower(): value for name, value in letter.headers.items()}, letter.body)


def test_a_track_alert_says_where_to_look(vendor: UpsSimulator, connector: UpsConnector) -> None:
    label, webhook = _followed(vendor, connector)
    delivery = connector.verify(webhook)

    assert delivery is not None
    record = hub.RawRecord(delivery.topic, "", webhook.body, headers=webhook.headers)
    assert list(connector.read_webhook(record)) == [hub.Refetch("tracking", label.external_id)]
    assert list(connector.read_webhook(replace(record, topic="another"))) == []


@pytest.mark.parametrize("credential", [None, "", "another", "made-by-the-hu", "made-by-the-hub ", "💥"])
def test_a_track_alert_with_another_credential_is_refused(
    vendor: UpsSimulator, connector: UpsConnector, credential: str | None
) -> None:
    _, webhook = _followed(vendor, connector)
    headers = {name: value for name, value in webhook.headers.items() if name != "credential"}
    if credential is not None:
        headers["credential"] = credential

    with pytest.raises(hub.Unverified):
        connector.verify(hub.Webhook(headers, webhook.body))
    assert connector.verify(webhook) is not None


def test_what_nobody_signed_is_not_believed(vendor: UpsSimulator, connector: UpsConnector) -> None:
    """Whoever has read the credential can send anything: it only makes the hub ask UPS."""
    label, webhook = _followed(vendor, connector)
    forged = json.loads(webhook.body)
    forged["activityStatus"] = {"type": "RS", "code": "RS", "description": "Returned"}
    record = hub.RawRecord("track_alert", "", json.dumps(forged).encode())

    assert list(connector.read_webhook(record)) == [hub.Refetch("tracking", label.external_id)]
    assert news(connector, label).status is hub.TrackingStatus.DELIVERED


def test_a_track_alert_ends_after_two_weeks_and_is_renewed_by_asking_again(
    vendor: UpsSimulator, connector: UpsConnector, clock: Clock
) -> None:
    label, _ = _followed(vendor, connector)
    clock.advance(days=14)
    vendor.scan(label.external_id, hub.TrackingStatus.RETURNING)
    assert vendor.take_webhooks() == []

    connector.follow_parcels([label.external_id], HOOK)
    vendor.scan(label.external_id, hub.TrackingStatus.RETURNING)
    assert len(vendor.take_webhooks()) == 1


def test_more_than_a_hundred_parcels_are_followed_in_several_requests(
    vendor: UpsSimulator, connector: UpsConnector
) -> None:
    numbers = [f"1Z{number:016}" for number in range(101)] * 2

    assert connector.follow_parcels(numbers, HOOK) == ()
    sizes = [len(each.json()["trackingNumberList"]) for each in vendor.requests if "subscription" in each.path]
    assert sizes == [100, 1]


def test_what_ups_does_not_follow_is_named_and_never_asked_for_where_it_is_no_number_of_ups(
    vendor: UpsSimulator, connector: UpsConnector
) -> None:
    mail_innovations = "92612902410000000000000001"

    assert connector.follow_parcels([mail_innovations, mail_innovations], HOOK) == (mail_innovations,)
    assert [each.path for each in vendor.requests if "subscription" in each.path] == []
    for code in ("VSS210", "VSS215"):  # the second is what the test environment says of its own samples
        none_valid = {"response": {"errors": [{"code": code, "message": "Not a valid tracking number."}]}}
        vendor.fail_next("/api/track", Fault(response=SimResponse.of_json(none_valid, 400)))
        assert connector.follow_parcels(["1Z" + "0" * 16], HOOK) == ("1Z" + "0" * 16,)
    told = {"validTrackingNumbers": ["1Z" + "0" * 16], "invalidTrackingNumbers": ["1Z" + "1" * 16]}
    vendor.fail_next("/api/track", Fault(response=SimResponse.of_json(told)))
    assert connector.follow_parcels(["1Z" + "1" * 16, "1Z" + "0" * 16], HOOK) == ("1Z" + "1" * 16,)


def test_an_odd_answer_to_a_subscription_is_asked_for_again(vendor: UpsSimulator, connector: UpsConnector) -> None:
    numbers = ["1Z" + "0" * 16]
    vendor.fail_next("/api/track", Fault.error_inside())

    with pytest.raises(hub.Unavailable, match="did not say which parcels"):
        connector.follow_parcels(numbers, HOOK)
    assert connector.follow_parcels(numbers, HOOK) == ()


# ---------------------------------------------------------------- addresses


def test_an_address_is_judged(vendor: UpsSimulator, connector: UpsConnector) -> None:
    right = vendor.example("R-1").destination

    assert connector.validate_address(right) == hub.AddressVerdict(state=hub.AddressState.VALID, residential=True)
    assert connector.validate_address(replace(right, line1="350 5th ave.", city=" new york")).state.value == "valid"
    nowhere = connector.validate_address(replace(right, postcode=""))
    assert (nowhere.state, nowhere.candidates) == (hub.AddressState.INVALID, ())


def test_a_street_that_is_written_otherwise_is_corrected_and_keeps_its_people(
    vendor: UpsSimulator, connector: UpsConnector
) -> None:
    asked = replace(vendor.example("R-1").destination, line1="350 Fifth Street", line2="Floor 3")
    verdict = connector.validate_address(asked)

    assert verdict.state is hub.AddressState.CORRECTED
    assert verdict.candidates == (
        replace(asked, line1="350 FIFTH ST", line2="FLOOR 3", city="NEW YORK", postcode="10118-0001"),
    )


def test_a_street_without_a_number_is_one_of_several(vendor: UpsSimulator, connector: UpsConnector) -> None:
    verdict = connector.validate_address(replace(vendor.example("R-1").destination, line1="Fifth Avenue"))

    assert (verdict.state, verdict.residential) == (hub.AddressState.AMBIGUOUS, None)
    assert [candidate.line1 for candidate in verdict.candidates] == ["1-99 FIFTH AVENUE", "100-199 FIFTH AVENUE"]


def test_an_address_elsewhere_is_refused_with_where_it_works(vendor: UpsSimulator, connector: UpsConnector) -> None:
    with pytest.raises(hub.Rejected, match="UPS checks addresses in the United States and Puerto Rico only"):
        connector.validate_address(replace(vendor.example("R-1").destination, country="GB"))
    with pytest.raises(hub.Rejected, match="needs a street and a country"):
        connector.validate_address(hub.Address(city="Leeds"))


# ---------------------------------------------------------------- zones


@pytest.mark.parametrize(
    ("country", "region", "hour"),
    [
        ("US", "NY", 17),
        ("us", "ca", 20),
        ("US", "", 22),  # the last of its zones
        ("CA", "NL", 16),
        ("GB", "", 12),
        ("DE", "BY", 11),
        ("ZZ", "", 12),  # nobody knows: as UTC
    ],
)
def test_noon_at_a_place_is_known_in_utc(country: str, region: str, hour: int) -> None:
    noon = datetime.fromisoformat("2026-01-15T12:00")
    assert in_utc(noon, country, region) == datetime(2026, 1, 15, hour, 0, tzinfo=UTC)
