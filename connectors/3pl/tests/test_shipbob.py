"""The ShipBob connector at a simulated ShipBob: orders out, shipments and stock in, and what goes wrong on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import marshmallow
import pytest

import hub
from hub.testing import Clock, Fault, SimResponse, connector_for, context_for
from hub_3pl.shipbob import ShipBobConnector, ShipBobSettings
from hub_3pl.shipbob_translation import REASONS
from hub_3pl.simulator_shipbob import CICERO, ShipBobSimulator

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
HOOK = "https://hub.example/webhooks/1/2"


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def vendor(clock: Clock) -> Iterator[ShipBobSimulator]:
    with ShipBobSimulator(now=clock) as simulator:
        simulator.hold_webhooks()
        simulator.stock_item("MUG-1", "Mug", 100)
        simulator.stock_item("TEE-S", "Tee", 50)
        yield simulator


@pytest.fixture
def connector(vendor: ShipBobSimulator, clock: Clock) -> ShipBobConnector:
    return connector_for(ShipBobConnector, vendor, now=clock)


def connected(
    vendor: ShipBobSimulator, clock: Clock, *, features: Mapping[str, str] | None = None, **changed: str
) -> ShipBobConnector:
    """A connector with other settings, or one that knows what a check found."""
    settings = ShipBobSettings().load({**vendor.settings(), **changed})
    context = context_for(settings, vendor, hosts=ShipBobConnector.hosts(settings), now=clock)
    return ShipBobConnector(replace(context, features=features or {}))


def facts(connector: ShipBobConnector, cursor: str | None = None) -> list[Any]:
    pages = connector.fetch_shipments(cursor)
    return [fact for page in pages for record in page.records for fact in connector.read_shipments(record)]


def progress(connector: ShipBobConnector) -> hub.Progress:
    (found,) = [fact for fact in facts(connector) if isinstance(fact, hub.Progress)]
    return found


def submitted(
    vendor: ShipBobSimulator, connector: ShipBobConnector, quantities: Mapping[str, int] | None = None
) -> hub.Submission:
    return connector.submit(vendor.example("R-1", quantities or {"MUG-1": 3}), "key")


# ---------------------------------------------------------------- the account and its channel


def test_the_only_channel_that_may_be_written_is_the_one_to_act_for(vendor: ShipBobSimulator, clock: Clock) -> None:
    vendor.add_channel("Their Shopify", writable=False)
    reno = vendor.add_place("Reno (NV)")

    account = connected(vendor, clock, channel_id="").check()

    assert (account.external_id, account.name) == ("4001", "Corner")
    assert [(each.external_id, each.name) for each in account.locations] == [
        (str(CICERO), "Cicero (IL)"),
        (str(reno), "Reno (NV)"),
    ]
    assert account.features == {
        "channel": "4001",
        "places": f"{CICERO}, {reno}",
        "shipping_methods": "Standard; Expedited",
    }


def test_of_several_channels_the_merchant_chooses_one(vendor: ShipBobSimulator, clock: Clock) -> None:
    other = vendor.add_channel("Second shop")

    with pytest.raises(hub.Rejected) as unsure:
        connected(vendor, clock, channel_id="").check()
    chosen = connected(vendor, clock, channel_id=str(other)).check()

    assert str(unsure.value) == (
        "The token is for several channels: 4001 (Corner), 4002 (Second shop). Enter the number of one of them."
    )
    assert (chosen.external_id, chosen.name) == ("4002", "Second shop")


def test_a_channel_that_the_token_may_not_write_is_refused_with_those_it_may(
    vendor: ShipBobSimulator, clock: Clock
) -> None:
    with pytest.raises(hub.Rejected, match=r"may not write orders of channel 9\. It may for 4001 \(Corner\)"):
        connected(vendor, clock, channel_id="9").check()
    vendor.channels[0]["scopes"] = ["orders_read", "channels_read"]
    with pytest.raises(hub.Rejected, match="may write orders of no channel"):
        connected(vendor, clock, channel_id="").check()


@pytest.mark.parametrize("scopes", [["orders_read", "orders_write"], ["orders_read orders_write"], None], ids=str)
def test_however_shipbob_tells_its_scopes_the_channel_is_found(
    vendor: ShipBobSimulator, clock: Clock, scopes: list[str] | None
) -> None:
    vendor.channels[0]["scopes"] = scopes
    assert connected(vendor, clock, channel_id="").check().external_id == "4001"


def test_what_a_check_has_found_is_not_asked_for_again(vendor: ShipBobSimulator, clock: Clock) -> None:
    remembering = connected(vendor, clock, channel_id="", features={"channel": "4001"})
    submitted(vendor, remembering)
    assert [request.path for request in vendor.requests] == ["/2026-01/order"]
    assert vendor.requests[0].headers["shipbob_channel_id"] == "4001"

    forgetful = connected(vendor, clock, channel_id="")
    forgetful.fetch_order(vendor.placed()[0].external_id)
    assert [request.path for request in vendor.requests][1] == "/2026-01/channel"


def test_the_sandbox_is_another_address(clock: Clock) -> None:
    with ShipBobSimulator(now=clock, sandbox=True) as sandbox:
        account = connected(sandbox, clock).check()
        assert account.warnings == ("This is ShipBob's sandbox: nothing that is ordered here is ever shipped.",)
        assert sandbox.requests[0].headers["host"] == "sandbox-api.shipbob.com"


@pytest.mark.parametrize(
    "typed", [{"channel_id": "shop"}, {"channel_id": "1" * 11}, {"environment": "staging"}, {"token": "pat"}], ids=str
)
def test_settings_that_cannot_be_right_are_refused(vendor: ShipBobSimulator, typed: dict[str, str]) -> None:
    with pytest.raises(marshmallow.ValidationError):
        ShipBobSettings().load({**vendor.settings(), **typed})


def test_a_list_that_leads_round_in_circles_comes_to_an_end(vendor: ShipBobSimulator, clock: Clock) -> None:
    links = [f"https://api.shipbob.com/2026-01/channel?Cursor={name}" for name in ("a", "b", "a")]
    for link in links:
        page = {"items": vendor.channels, "next": link, "prev": None}
        vendor.fail_next("/2026-01/channel", Fault(response=SimResponse.of_json(page)))
    with pytest.raises(hub.Unavailable, match="the same page again"):
        connected(vendor, clock).check()
    assert len(vendor.requests) == 3


# ---------------------------------------------------------------- the rate limit


def test_a_vendor_that_has_had_enough_says_for_how_long(
    vendor: ShipBobSimulator, connector: ShipBobConnector, clock: Clock
) -> None:
    order = vendor.example("R-1", {"MUG-1": 1})
    for _ in range(150):
        connector.find_submit(order, "key")
    clock.advance(minutes=0.25)

    with pytest.raises(hub.RateLimited) as told:
        connector.find_submit(order, "key")
    clock.advance(minutes=0.75)

    assert told.value.retry_after == 45.0
    assert connector.find_submit(order, "key") is None


def test_calls_that_others_make_with_the_same_token_are_learnt_of(vendor: ShipBobSimulator, clock: Clock) -> None:
    class Budget:
        def __init__(self) -> None:
            self.learnt: list[tuple[float, float, float]] = []

        def acquire(self, cost: float) -> None:
            """There is enough."""

        def learn(self, available: float, restore_rate: float, maximum: float) -> None:
            self.learnt.append((available, restore_rate, maximum))

    budget = Budget()
    connector = connector_for(ShipBobConnector, vendor, now=clock, limiter=budget)
    connector.check()
    assert budget.learnt == []  # 147 are left, more than are spent in one go
    vendor.calls_per_minute = 20
    submitted(vendor, connector)
    assert budget.learnt == [(16.0, 2.0, 30.0)]


# ---------------------------------------------------------------- orders out


def test_an_order_arrives_as_it_was_asked_for(vendor: ShipBobSimulator, connector: ShipBobConnector) -> None:
    reno = vendor.add_place("Reno (NV)")
    vendor.set_on_hand_at(reno, "MUG-1", 5)
    asked = replace(
        vendor.example("R-1", {"MUG-1": 3}),
        email="ada@example.com",
        service="expedited",
        gift_message="Many happy returns!",
        location_external_id=str(reno),
        lines=(
            hub.FulfillmentLine(reference="1", sku="MUG-1", quantity=3, unit_price=hub.Money.of("12.50", "USD")),
            hub.FulfillmentLine(reference="2.1", sku="MUG-1", quantity=1),
            hub.FulfillmentLine(reference="2.2", sku="TEE-S", quantity=1, unit_price=hub.Money.of("9", "EUR")),
        ),
    )
    vendor.set_on_hand_at(reno, "TEE-S", 1)

    submission = connected(vendor, Clock(NOON), features={"shipping_methods": "Standard; Expedited"}).submit(
        asked, "key"
    )

    assert (submission.reference, submission.state) == ("R-1", hub.ProviderState.ACCEPTED)
    assert vendor.requests[-1].json() == {
        "reference_id": "R-1",
        "order_number": "#R-1",
        "type": "DTC",
        "shipping_method": "Expedited",
        "purchase_date": "2026-11-21T12:00:00Z",
        "recipient": {
            "name": "Ada Byron",
            "email": "ada@example.com",
            "phone_number": None,
            "address": {
                "company_name": None,
                "address1": "100 Mill Lane",
                "address2": None,
                "city": "Springfield",
                "state": "IL",
                "zip_code": "62701",
                "country": "US",
            },
        },
        "products": [
            {"reference_id": "MUG-1", "name": None, "quantity": 4, "unit_price": None},
            {"reference_id": "TEE-S", "name": None, "quantity": 1, "unit_price": None},
        ],
        "gift_message": "Many happy returns!",
        "location_id": reno,
    }


def test_a_price_in_dollars_is_told_and_no_other(vendor: ShipBobSimulator, connector: ShipBobConnector) -> None:
    line = hub.FulfillmentLine(reference="1", sku="MUG-1", quantity=1, unit_price=hub.Money.of("12.50", "USD"))
    connector.submit(replace(vendor.example("R-1", {"MUG-1": 1}), lines=(line,)), "key")
    assert vendor.requests[-1].json()["products"][0]["unit_price"] == 12.5


def test_a_product_that_shipbob_does_not_know_is_refused_by_name_and_not_made_up(
    vendor: ShipBobSimulator, connector: ShipBobConnector
) -> None:
    with pytest.raises(hub.Rejected) as refused:
        submitted(vendor, connector, {"MUG-1": 1, "NO-SUCH": 2})

    assert str(refused.value) == (
        "ShipBob refused the request. NO-SUCH: A product that does not exist yet needs a name."
    )
    assert vendor.placed() == []
    stock = [
        count.sku
        for page in connector.fetch_stock(None)
        for each in page.records
        for count in connector.read_stock(each)
    ]
    assert stock == ["MUG-1", "TEE-S"]


def test_an_address_that_shipbob_refuses_is_refused_in_its_words(
    vendor: ShipBobSimulator, connector: ShipBobConnector
) -> None:
    nowhere = replace(vendor.example("R-1", {"MUG-1": 1}), destination=hub.Address(name="Ada", city="York"))
    with pytest.raises(hub.Rejected) as refused:
        connector.submit(nowhere, "key")
    assert str(refused.value) == (
        "ShipBob refused the request. The recipient's address1 is required. The recipient's country is required."
    )
    assert refused.value.code == "422"


def test_a_way_to_ship_that_shipbob_would_make_up_is_refused_before_it_is_asked(
    vendor: ShipBobSimulator, clock: Clock
) -> None:
    connector = connected(vendor, clock, features={"shipping_methods": "Ground; 2-Day"})
    with pytest.raises(hub.Rejected, match="no shipping method “Overnight”, but Ground, 2-Day"):
        connector.submit(replace(vendor.example("R-1", {"MUG-1": 1}), service="Overnight"), "key")
    assert list(vendor.requests) == []

    connector.submit(replace(vendor.example("R-1", {"MUG-1": 1}), service="standard"), "key")
    assert vendor.requests[-1].json()["shipping_method"] == "standard"  # one it adds and ships as its standard: right


def test_an_order_whose_answer_was_lost_is_found_and_not_placed_again(
    vendor: ShipBobSimulator, connector: ShipBobConnector
) -> None:
    vendor.fail_next("/2026-01/order", Fault.reset(after_effect=True))
    order = vendor.example("R-1", {"MUG-1": 3})
    with pytest.raises(hub.Unavailable) as lost:
        connector.submit(order, "key")

    found = connector.find_submit(order, "key")

    assert lost.value.sent
    assert found is not None and found.external_id == vendor.placed()[0].external_id


def test_a_reference_that_shipbob_has_had_is_the_order_that_is_there(
    vendor: ShipBobSimulator, connector: ShipBobConnector
) -> None:
    first, second = submitted(vendor, connector), submitted(vendor, connector)
    assert first == second
    assert len(vendor.placed()) == 1


def test_only_the_order_with_our_very_reference_is_ours(vendor: ShipBobSimulator, connector: ShipBobConnector) -> None:
    placed = connector.submit(vendor.example("R-10", {"MUG-1": 1}), "key")
    other = json.loads(connector.fetch_order(placed.external_id).body)
    vendor.fail_next("/2026-01/order", Fault(response=SimResponse.of_json([other])))
    assert connector.find_submit(vendor.example("R-1", {"MUG-1": 1}), "key") is None


def test_an_order_that_shipbob_has_and_does_not_show_yet_is_not_taken_for_refused(
    vendor: ShipBobSimulator, connector: ShipBobConnector
) -> None:
    submitted(vendor, connector)
    vendor.fail_next("/2026-01/order", Fault(response=SimResponse.of_json([])), after=1)
    with pytest.raises(hub.Unavailable, match="says that it has R-1, and does not show it yet") as unclear:
        submitted(vendor, connector)
    assert unclear.value.sent


def test_a_refusal_without_a_reason_is_a_sentence_all_the_same(
    vendor: ShipBobSimulator, connector: ShipBobConnector
) -> None:
    vendor.fail_next("", Fault(response=SimResponse(400, {}, b"<html>no</html>")))
    with pytest.raises(hub.Rejected, match=r"^ShipBob refused the request\. It does not say why\.$"):
        submitted(vendor, connector)


def test_without_goods_the_order_is_there_and_says_what_it_waits_for(
    vendor: ShipBobSimulator, connector: ShipBobConnector
) -> None:
    submission = submitted(vendor, connector, {"MUG-1": 101, "TEE-S": 1})
    assert (submission.state, submission.message) == (hub.ProviderState.ON_HOLD, "MUG-1: ShipBob has none left.")

    vendor.set_on_hand("MUG-1", 101)
    assert progress(connector).state is hub.ProviderState.ACCEPTED


# ---------------------------------------------------------------- taking it back


def test_what_nobody_has_begun_to_pick_is_cancelled(vendor: ShipBobSimulator, connector: ShipBobConnector) -> None:
    submission = submitted(vendor, connector)
    answer = connector.cancel(submission, "key")
    assert answer == hub.Cancellation(reference="R-1", state=hub.CancelState.CANCELLED)
    assert connector.find_cancel(submission, "key") == answer
    assert progress(connector).state is hub.ProviderState.CANCELLED


@pytest.mark.parametrize("begun", ["Picked", "Packed", "Labeled"])
def test_what_is_being_packed_is_too_late(vendor: ShipBobSimulator, connector: ShipBobConnector, begun: str) -> None:
    submission = submitted(vendor, connector)
    vendor.begin("R-1", begun)
    answer = connector.cancel(submission, "key")
    assert (answer.state, answer.message) == (
        hub.CancelState.REFUSED,
        "ShipBob refused the request. The order is not in a cancellable state.",
    )
    assert connector.find_cancel(submission, "key") is None
    assert progress(connector).state is hub.ProviderState.IN_PROGRESS


@pytest.mark.parametrize("in_part", [True, False], ids=["by the order", "shipment by shipment"])
def test_of_an_order_that_has_left_in_part_the_rest_is_cancelled(
    vendor: ShipBobSimulator, connector: ShipBobConnector, in_part: bool
) -> None:
    vendor.cancels_in_part = in_part
    submission = submitted(vendor, connector, {"MUG-1": 3})
    vendor.ship("R-1", {"MUG-1": 1})

    answer = connector.cancel(submission, "key")

    assert answer.state is hub.CancelState.PARTLY
    assert answer.message == "A part of it had left ShipBob, or was about to."
    assert connector.find_cancel(submission, "key") == answer
    assert [fact.lines[0].quantity for fact in facts(connector) if isinstance(fact, hub.ProviderShipment)] == [1]
    asked = [request.path.rpartition("/")[2] for request in vendor.requests]
    assert ("shipment:batchCancel" in asked) is not in_part


def test_a_cancellation_whose_answer_was_lost_is_found(vendor: ShipBobSimulator, connector: ShipBobConnector) -> None:
    submission = submitted(vendor, connector)
    assert connector.find_cancel(submission, "key") is None
    vendor.fail_next("/2026-01/order/", Fault.status(500, after_effect=True))
    with pytest.raises(hub.Unavailable):
        connector.cancel(submission, "key")
    found = connector.find_cancel(hub.Submission(reference="R-1", external_id=""), "key")
    assert found == hub.Cancellation(reference="R-1", state=hub.CancelState.CANCELLED)


def test_an_order_that_shipbob_never_had_cannot_be_cancelled_and_was_not(connector: ShipBobConnector) -> None:
    nobody = hub.Submission(reference="R-9", external_id="")
    with pytest.raises(hub.NotFound, match="ShipBob has no order R-9"):
        connector.cancel(nobody, "key")
    assert connector.find_cancel(nobody, "key") is None


# ---------------------------------------------------------------- how far it is


@pytest.mark.parametrize("detail", ["InvalidAddress", "PaymentDeclined"])
def test_a_shipment_on_hold_holds_the_order_and_says_why(
    vendor: ShipBobSimulator, connector: ShipBobConnector, detail: str
) -> None:
    submitted(vendor, connector)
    vendor.hold("R-1", detail, "Street number missing")
    told = progress(connector)
    assert (told.state, told.provider_state) == (hub.ProviderState.ON_HOLD, "OnHold")
    assert told.message == f"{REASONS[detail]}. Street number missing."


def test_an_order_that_shipbob_cancels_for_a_reason_is_rejected(
    vendor: ShipBobSimulator, connector: ShipBobConnector
) -> None:
    submitted(vendor, connector)
    vendor.reject("R-1", "We do not ship knives")
    told = progress(connector)
    assert (told.state, told.provider_state) == (hub.ProviderState.REJECTED, "Cancelled")
    assert told.message == "We do not ship knives."


def test_an_order_to_be_looked_through_is_on_hold(vendor: ShipBobSimulator, connector: ShipBobConnector) -> None:
    submitted(vendor, connector)
    vendor.status_oddly("R-1", "ImportReview")
    told = progress(connector)
    assert (told.state, told.message) == (
        hub.ProviderState.ON_HOLD,
        "ShipBob wants it looked through: open Import Review there.",
    )
    vendor.status_oddly("R-1", "Swallowed")
    assert progress(connector).message == "ShipBob says “Swallowed”: see to the order there."


# ---------------------------------------------------------------- shipments in


def test_a_shipment_is_told_with_lots_days_tracking_and_place(
    vendor: ShipBobSimulator, connector: ShipBobConnector, clock: Clock
) -> None:
    submitted(vendor, connector, {"MUG-1": 3})
    clock.advance(minutes=30)
    id = vendor.ship("R-1", lot="L-42")

    told, shipment = facts(connector)

    assert (told.state, told.version) == (hub.ProviderState.SHIPPED, clock())
    inventory = json.loads(connector.fetch_order(told.external_id).body)["shipments"][0]["products"][0]
    assert shipment == hub.ProviderShipment(
        external_id=id,
        reference="R-1",
        lines=(
            hub.ShippedLine(
                sku="MUG-1",
                quantity=3,
                item_external_id=str(inventory["inventory_items"][0]["id"]),
                lots=(hub.Lot(number="L-42", quantity=3, expires_on=date(2027, 6, 30)),),
            ),
        ),
        version=clock(),
        shipped_at=clock(),
        carrier="usps",
        service="USPS Ground Advantage",
        tracking_numbers=(f"94001{id}",),
        tracking_url=f"https://tools.usps.com/go/TrackConfirmAction?tLabels=94001{id}",
        location_external_id=str(CICERO),
    )


def test_bundles_are_counted_as_such_whatever_parcels_they_leave_in(
    vendor: ShipBobSimulator, connector: ShipBobConnector
) -> None:
    vendor.stock_bundle("TEA-SET", {"MUG-1": 4, "TEE-S": 1})
    submitted(vendor, connector, {"TEA-SET": 3, "MUG-1": 1})
    vendor.ship("R-1", {"TEA-SET": 1})
    vendor.ship("R-1")

    _, first, second = facts(connector)

    assert [(line.sku, line.quantity) for line in first.lines] == [("TEA-SET", 1)]
    assert sorted((line.sku, line.quantity) for line in second.lines) == [("MUG-1", 1), ("TEA-SET", 2)]


def test_serial_numbers_and_several_lots_of_a_product_are_told(connector: ShipBobConnector) -> None:
    items = [
        {"id": 1, "quantity": 2, "lot": "A", "expiration_date": "2027-01-31T00:00:00", "serial_numbers": ["S1", "S2"]},
        {"id": 1, "quantity": 1, "lot": "B", "expiration_date": "0001-01-01T00:00:00", "serial_numbers": None},
    ]
    record = order_record({"status": "Completed", "products": [{"sku": "MUG-1", "inventory_items": items}]})
    _, shipment = connector.read_shipments(record)
    (line,) = shipment.lines
    assert (line.quantity, line.serial_numbers) == (3, ("S1", "S2"))
    assert line.lots == (hub.Lot(number="A", quantity=2, expires_on=date(2027, 1, 31)), hub.Lot(number="B", quantity=1))


def test_what_shipbob_puts_in_by_itself_is_told_though_it_has_no_sku(connector: ShipBobConnector) -> None:
    products = [
        {"reference_id": None, "sku": None, "inventory_items": [{"id": 9, "quantity": 1}]},
        {"sku": "MUG-1", "inventory_items": [{"id": 1, "quantity": 2}]},
    ]
    _, shipment = connector.read_shipments(order_record({"status": "Completed", "products": products}))
    assert [(line.sku, line.item_external_id, line.quantity) for line in shipment.lines] == [
        ("", "9", 1),
        ("MUG-1", "1", 2),
    ]


def test_a_shipment_with_a_label_has_not_left_yet(connector: ShipBobConnector) -> None:
    labeled = {"status": "LabeledCreated", "tracking": {"tracking_number": "94001"}}
    (told,) = connector.read_shipments(order_record(labeled))
    assert told.state is hub.ProviderState.IN_PROGRESS


@pytest.mark.parametrize(
    ("detail", "status"),
    [
        ("InTransit", hub.TrackingStatus.IN_TRANSIT),
        ("OutForDelivery", hub.TrackingStatus.OUT_FOR_DELIVERY),
        ("DeliveryException", hub.TrackingStatus.EXCEPTION),
        ("Delivered", hub.TrackingStatus.DELIVERED),
    ],
)
def test_a_poll_tells_where_a_parcel_is_for_webhooks_that_never_come(
    vendor: ShipBobSimulator, connector: ShipBobConnector, clock: Clock, detail: str, status: hub.TrackingStatus
) -> None:
    submitted(vendor, connector)
    id = vendor.ship("R-1")
    assert not any(isinstance(fact, hub.Tracking) for fact in facts(connector))  # no carrier has seen it yet
    clock.advance(minutes=60)
    vendor.deliver_parcel("R-1", detail)

    tracking = facts(connector)[-1]

    assert isinstance(tracking, hub.Tracking)
    assert (tracking.tracking_number, tracking.status, tracking.carrier_status) == (f"94001{id}", status, detail)
    assert [event.happened_at for event in tracking.events] == [clock()]


def test_what_left_and_was_taken_back_is_told_as_cancelled(
    vendor: ShipBobSimulator, connector: ShipBobConnector
) -> None:
    submitted(vendor, connector)
    id = vendor.ship("R-1")
    vendor.recall("R-1")
    told, shipment = facts(connector)
    assert told.state is hub.ProviderState.CANCELLED
    assert (shipment.external_id, shipment.cancelled) == (id, True)
    assert counts(connector)["MUG-1", str(CICERO)].available == 100


def test_freight_is_tracked_by_its_pro_number(connector: ShipBobConnector) -> None:
    freight = {"carrier": "DHLExpress", "tracking_number": None, "pro_number": "PRO-7", "tracking_url": None}
    _, shipment = connector.read_shipments(order_record({"status": "Completed", "tracking": freight}))
    assert (shipment.carrier, shipment.tracking_numbers) == ("dhl_express", ("PRO-7",))


def test_an_order_that_is_not_ours_to_read_is_set_aside_alone(
    vendor: ShipBobSimulator, connector: ShipBobConnector
) -> None:
    submitted(vendor, connector)
    record = order_record({"status": 7})
    with pytest.raises(hub.Unreadable, match=r"shipments\.0\.status: Not a text"):
        list(connector.read_shipments(record))
    assert progress(connector).reference == "R-1"


def order_record(shipment: Mapping[str, Any]) -> hub.RawRecord:
    """An order with one shipment, as ShipBob might tell it."""
    times = {"created_date": "2026-11-21T12:00:00.1234567+00:00", "last_update_at": "2026-11-21T12:30:00"}
    order = {"id": 1, "reference_id": "R-1", "status": "Processing", "created_date": "2026-11-21T12:00:00Z"}
    told = {**order, "products": None, "shipments": [{"id": 2, **times, **shipment}]}
    return hub.RawRecord("shipment", "1", json.dumps(told).encode())


# ---------------------------------------------------------------- fetching


def test_the_cursor_goes_back_ten_minutes_for_what_is_indexed_late(
    vendor: ShipBobSimulator, connector: ShipBobConnector, clock: Clock
) -> None:
    submitted(vendor, connector)
    (page,) = connector.fetch_shipments(None)
    assert json.loads(page.cursor) == {"since": "2026-11-21T11:50:00Z"}
    assert dict(vendor.requests[-1].query) == {
        "LastUpdateStartDate": "2026-08-23T12:00:00Z",
        "SortOrder": "Oldest",
        "Page": "1",
        "Limit": "100",
    }
    clock.advance(minutes=9)
    assert len(list(facts(connector, page.cursor))) == 1
    assert dict(vendor.requests[-1].query)["LastUpdateStartDate"] == "2026-11-21T11:50:00Z"
    clock.advance(minutes=2)
    (later,) = connector.fetch_shipments(page.cursor)
    (latest,) = connector.fetch_shipments(later.cursor)
    assert latest.records == ()


def test_a_walk_that_was_interrupted_goes_on_at_its_page_and_ends_where_it_began(
    vendor: ShipBobSimulator, connector: ShipBobConnector, clock: Clock
) -> None:
    vendor.calls_per_minute = 1000
    vendor.set_on_hand("MUG-1", 1000)
    for number in range(130):
        connector.submit(vendor.example(f"R-{number}", {"MUG-1": 1}), "key")

    first = next(iter(connector.fetch_shipments(None)))
    clock.advance(minutes=60)
    (second,) = connector.fetch_shipments(first.cursor)

    assert (len(first.records), len(second.records)) == (100, 30)
    assert json.loads(second.cursor) == {"since": "2026-11-21T11:50:00Z"}  # ten minutes before it all began


@pytest.mark.parametrize("id", ["", "1; drop", "12/../13", "１２", "1" * 40])
def test_an_id_that_cannot_be_one_is_not_asked_for(
    vendor: ShipBobSimulator, connector: ShipBobConnector, id: str
) -> None:
    with pytest.raises(hub.NotFound):
        connector.fetch_order(id)
    assert list(vendor.requests) == []


# ---------------------------------------------------------------- stock in


def counts(connector: ShipBobConnector) -> dict[tuple[str, str], hub.StockCount]:
    pages = connector.fetch_stock(None)
    found = [count for page in pages for record in page.records for count in connector.read_stock(record)]
    return {(count.sku, count.location_external_id): count for count in found}


def test_stock_is_told_place_by_place_with_what_is_promised_and_its_lots(
    vendor: ShipBobSimulator, connector: ShipBobConnector, clock: Clock
) -> None:
    reno = vendor.add_place("Reno (NV)")
    vendor.receive_lot("MUG-1", "L-1", 20, day="2027-03-01T00:00:00Z", place=reno)
    vendor.receive_lot("MUG-1", "L-0", 5, day="2026-01-01T00:00:00Z")
    submitted(vendor, connector, {"MUG-1": 3})
    clock.advance(minutes=5)

    told = counts(connector)

    here, there = told["MUG-1", str(CICERO)], told["MUG-1", str(reno)]
    assert (here.on_hand, here.available, here.counted_at) == (105, 102, clock())
    assert here.lots == (hub.Lot(number="L-0", quantity=5),)  # a day that has passed may be the one it was made on
    assert (there.on_hand, there.available) == (20, 20)
    assert there.lots == (hub.Lot(number="L-1", quantity=20, expires_on=date(2027, 3, 1)),)


def test_a_count_is_as_old_as_the_question(vendor: ShipBobSimulator, connector: ShipBobConnector, clock: Clock) -> None:
    vendor.fail_next("/2026-01/inventory-level/locations", Fault.changing(lambda: clock.advance(minutes=1)))
    assert {count.counted_at for count in counts(connector).values()} == {NOON}


def test_a_place_that_is_not_named_has_none(vendor: ShipBobSimulator, clock: Clock) -> None:
    reno = vendor.add_place("Reno (NV)")
    connector = connected(vendor, clock)
    connector = connected(vendor, clock, features=connector.check().features)
    vendor.set_on_hand_at(reno, "MUG-1", 7)
    assert counts(connector)["MUG-1", str(reno)].on_hand == 7

    vendor.forget_place(reno, "MUG-1")

    told = counts(connector)
    assert (told["MUG-1", str(reno)].on_hand, told["MUG-1", str(reno)].available) == (0, 0)
    assert told["MUG-1", str(CICERO)].on_hand == 100


def test_an_item_without_a_sku_is_nobodys(connector: ShipBobConnector) -> None:
    row = {"inventory_id": 1, "sku": None, "counted_at": "2026-11-21T12:00:00Z", "locations": [], "places": ["8"]}
    assert list(connector.read_stock(hub.RawRecord("stock", "1", json.dumps(row).encode()))) == []


def test_shipbobs_links_are_followed_by_their_parameters_alone(
    vendor: ShipBobSimulator, connector: ShipBobConnector
) -> None:
    for number in range(120):
        vendor.stock_item(f"SKU-{number}", "Thing", number)
    vendor.origin = "https://evil.example"  # what its links say

    pages = connector.fetch_stock(None)
    first = next(iter(pages))
    rest = list(connector.fetch_stock(first.cursor))

    assert len(first.records) + sum(len(page.records) for page in rest) == 122
    assert rest[-1].cursor == ""
    assert {request.headers["host"] for request in vendor.requests} == {"api.shipbob.com"}


# ---------------------------------------------------------------- webhooks


def test_one_subscription_has_all_topics_and_our_secret(vendor: ShipBobSimulator, connector: ShipBobConnector) -> None:
    assert connector.read_subscriptions(HOOK) == hub.Subscriptions((), connector_topics())
    result = connector.subscribe_webhooks({"address": HOOK}, "key")
    assert connector.subscribe_webhooks({"address": HOOK}, "key") == result
    assert list(vendor.subscriptions) == [result.reference]
    assert connector.read_subscriptions(HOOK) == hub.Subscriptions(connector_topics())
    (made,) = vendor.subscriptions.values()
    assert made["secret"].startswith("whsec_")
    assert "made-by-the-hub" not in made["secret"]


def connector_topics() -> tuple[str, ...]:
    return (
        "order.shipped",
        "order.shipment.delivered",
        "order.shipment.exception",
        "order.shipment.on_hold",
        "order.shipment.cancelled",
    )


def test_a_hub_that_has_moved_leaves_nothing_behind_and_others_are_left_alone(
    vendor: ShipBobSimulator, connector: ShipBobConnector
) -> None:
    connector.subscribe_webhooks({"address": "https://elsewhere.example/webhooks/1/2"}, "key")
    connector.subscribe_webhooks({"address": "https://hub.example/webhooks/1/3"}, "key")
    connector.subscribe_webhooks({"address": HOOK}, "key")
    assert sorted(each["url"] for each in vendor.subscriptions.values()) == [HOOK, "https://hub.example/webhooks/1/3"]


@pytest.mark.parametrize("broken", [{"enabled": False}, {"topics": ["order.shipped"]}], ids=["switched off", "in part"])
def test_a_subscription_that_does_not_work_is_made_anew(
    vendor: ShipBobSimulator, connector: ShipBobConnector, broken: Mapping[str, Any]
) -> None:
    old = connector.subscribe_webhooks({"address": HOOK}, "key").reference
    vendor.subscriptions[old] |= broken
    assert connector.read_subscriptions(HOOK).missing
    new = connector.subscribe_webhooks({"address": HOOK}, "key").reference
    assert list(vendor.subscriptions) == [new] != [old]
    assert connector.read_subscriptions(HOOK).missing == ()


def test_a_secret_of_shipbobs_own_is_no_use_to_us(vendor: ShipBobSimulator, connector: ShipBobConnector) -> None:
    answer = SimResponse.of_json({"id": "ep_1", "secret": "whsec_" + "A" * 44})
    vendor.fail_next("/2026-01/webhook", Fault(response=answer), after=1)
    with pytest.raises(hub.Rejected, match="signs its webhooks with a secret of its own"):
        connector.subscribe_webhooks({"address": HOOK}, "key")
    assert (vendor.requests[-1].method, vendor.requests[-1].path) == ("DELETE", "/2026-01/webhook/ep_1")


def heard(vendor: ShipBobSimulator, connector: ShipBobConnector) -> list[tuple[str, list[Any]]]:
    """The topics of the webhooks that were sent, each with what it tells."""
    told = []
    for letter in vendor.take_webhooks():
        webhook = hub.Webhook({name.lower(): value for name, value in letter.headers.items()}, letter.body)
        delivery = connector.verify(webhook)
        assert delivery is not None
        record = hub.RawRecord(delivery.topic, "", letter.body, headers=webhook.headers)
        told.append((delivery.topic, list(connector.read_webhook(record))))
    return told


def test_webhooks_name_the_order_to_fetch_and_say_where_a_parcel_is(
    vendor: ShipBobSimulator, connector: ShipBobConnector, clock: Clock
) -> None:
    connector.subscribe_webhooks({"address": HOOK}, "key")
    order = submitted(vendor, connector).external_id
    again = hub.Refetch("order", order)
    vendor.hold("R-1", "InvalidAddress")
    assert heard(vendor, connector) == [("order.shipment.on_hold", [again])]
    id = vendor.ship("R-1")
    assert heard(vendor, connector) == [("order.shipped", [again])]
    clock.advance(minutes=600)
    vendor.deliver_parcel("R-1")
    event = hub.TrackingEvent(status=hub.TrackingStatus.DELIVERED, carrier_status="Delivered", happened_at=clock())
    delivered = hub.Tracking(
        tracking_number=f"94001{id}",
        status=hub.TrackingStatus.DELIVERED,
        carrier_status="Delivered",
        events=(event,),
    )
    assert heard(vendor, connector) == [("order.shipment.delivered", [delivered, again])]


def test_of_an_order_in_two_parcels_only_the_last_is_told_and_the_poll_finds_the_first(
    vendor: ShipBobSimulator, connector: ShipBobConnector
) -> None:
    connector.subscribe_webhooks({"address": HOOK}, "key")
    submitted(vendor, connector, {"MUG-1": 3})
    vendor.ship("R-1", {"MUG-1": 1})
    assert heard(vendor, connector) == []
    assert progress(connector).state is hub.ProviderState.PARTIALLY_SHIPPED
    vendor.ship("R-1")
    assert [topic for topic, _ in heard(vendor, connector)] == ["order.shipped"]


def test_where_a_parcel_is_goes_by_what_is_signed_and_not_by_the_topic(
    vendor: ShipBobSimulator, connector: ShipBobConnector
) -> None:
    body = json.dumps(
        {
            "id": 2,
            "order_id": 1,
            "status": "Completed",
            "tracking": {"tracking_number": "94001"},
            "status_details": [{"name": "InTransit"}],
        }
    ).encode()
    record = hub.RawRecord("order.shipment.delivered", "", body)
    tracking, _ = connector.read_webhook(record)
    assert isinstance(tracking, hub.Tracking)
    assert (tracking.status, tracking.events) == (hub.TrackingStatus.IN_TRANSIT, ())


def test_a_webhook_that_names_no_order_is_set_aside(connector: ShipBobConnector) -> None:
    for body in (b'{"order_id": null, "id": 5}', b"{}", b"[]"):
        with pytest.raises(hub.Unreadable):
            list(connector.read_webhook(hub.RawRecord("order.shipment.delivered", "", body)))
