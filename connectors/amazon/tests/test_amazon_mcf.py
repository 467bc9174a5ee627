"""Orders shipped from Amazon's warehouses: preview, order, cancellation, shipments and parcels, what goes wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import marshmallow
import pytest

import hub
from hub.testing import Clock, Fault, SimResponse, connector_for, context_for
from hub_amazon.fulfillment import AmazonFulfillment, FulfillmentAppSettings, FulfillmentSettings
from hub_amazon.fulfillment_translation import ORDER_STATES, PARCEL_STATES, OrderBody
from hub_amazon.simulator_fulfillment import AmazonWarehouseSimulator

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
ORDERS = "/fulfillment/outbound/2026-07-04/orders"
PREVIEWS = "/fulfillment/outbound/2026-07-04/previews"


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def vendor(clock: Clock) -> Iterator[AmazonWarehouseSimulator]:
    with AmazonWarehouseSimulator(now=clock) as simulator:
        simulator.hold_webhooks()
        simulator.stock_item("MUG-1", "Mug", 100)
        simulator.stock_item("TEE-S", "Tee", 50)
        yield simulator


@pytest.fixture
def connector(vendor: AmazonWarehouseSimulator, clock: Clock) -> AmazonFulfillment:
    return connector_for(AmazonFulfillment, vendor, now=clock)


def facts(connector: AmazonFulfillment, cursor: str | None = None) -> list[Any]:
    pages = connector.fetch_shipments(cursor)
    return [fact for page in pages for record in page.records for fact in connector.read_shipments(record)]


def progress(connector: AmazonFulfillment) -> hub.Progress:
    (found,) = [fact for fact in facts(connector) if isinstance(fact, hub.Progress)]
    return found


def submitted(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment, quantities: Mapping[str, int] | None = None
) -> hub.Submission:
    return connector.submit(vendor.example("R-1", quantities or {"MUG-1": 3}), "key")


def asked(vendor: AmazonWarehouseSimulator) -> list[str]:
    """What was asked of the API itself, without tokens."""
    return [f"{each.method} {each.path}" for each in vendor.requests if not each.path.startswith("/auth")]


# ---------------------------------------------------------------- connecting


def test_an_account_is_known_by_its_seller_and_has_the_marketplace_as_its_only_place(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment
) -> None:
    account = connector.check()
    assert account.external_id == f"na/{vendor.seller_id}"
    assert account.locations == (hub.ChannelLocation(external_id="ATVPDKIKX0DER", name="United States"),)
    # The roles for inventory and for fulfillment are tried, too.
    assert f"GET {ORDERS}" in asked(vendor)
    assert "GET /fba/inventory/v1/summaries" in asked(vendor)


@pytest.mark.parametrize("schema", [FulfillmentSettings, FulfillmentAppSettings], ids=["by keys", "by permission"])
def test_one_connection_is_one_marketplace_because_goods_may_be_for_sale_in_several(
    vendor: AmazonWarehouseSimulator, schema: type[marshmallow.Schema]
) -> None:
    problems = schema().validate({**vendor.settings(), "marketplaces": "DE, FR"})
    assert problems["marketplaces"][0].startswith("Enter one marketplace: the same goods may be for sale in several")


def test_permission_is_asked_for_at_seller_central_and_brings_the_settings(vendor: AmazonWarehouseSimulator) -> None:
    names = ("marketplaces", "client_id", "client_secret", "queue_url", "queue_key_id", "queue_secret")
    typed = {name: vendor.settings()[name] for name in names}
    loaded = FulfillmentAppSettings().load({**typed, "boxes": "ANY", "application_id": vendor.application_id})
    request = hub.AuthorizationRequest("s-1", "https://hub.example/back", "https://hub.example/call")

    address = vendor.approve(AmazonFulfillment.authorization_url(loaded, request))
    said = dict(part.split("=") for part in address.partition("?")[2].split("&"))
    settings = AmazonFulfillment.read_authorization(loaded, hub.AuthorizationAnswer("s-1", said, b"", by_browser=True))

    assert settings is not None
    connected = FulfillmentSettings().load(dict(settings))
    assert (connected["seller_id"], connected["boxes"]) == (vendor.seller_id, "ANY")
    account = AmazonFulfillment(context_for(connected, vendor, now=vendor.now)).check()
    assert account.external_id == f"na/{vendor.seller_id}"


# ---------------------------------------------------------------- orders out


def test_an_order_arrives_as_it_was_asked_for_after_a_preview_of_the_same(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment
) -> None:
    order = replace(
        vendor.example("R-1", {"MUG-1": 3}),
        email="ada@example.com",
        service="express",
        lines=(
            hub.FulfillmentLine(reference="1", sku="MUG-1", quantity=3, unit_price=hub.Money.of("12.50", "USD")),
            hub.FulfillmentLine(reference="2.1", sku="TEE-S", quantity=1),
        ),
    )
    order = replace(order, destination=replace(order.destination, company="Analytical Engines", phone="555 0100"))

    submission = connector.submit(order, "key")

    assert submission == hub.Submission(reference="R-1", external_id="R-1", state=hub.ProviderState.ACCEPTED)
    preview, made = (each.json() for each in list(vendor.requests)[-2:])
    mugs = {
        "product": {
            "productIdentifier": {"amazonSku": "MUG-1"},
            "perUnitDeclaredValue": {"currencyCode": "USD", "amount": "12.50"},
        },
        "amount": {"unit": "EACHES", "value": "3"},
    }
    tees = {"product": {"productIdentifier": {"amazonSku": "TEE-S"}}, "amount": {"unit": "EACHES", "value": "1"}}
    address = {
        "name": "Ada Byron",
        "addressLine1": "100 Mill Lane",
        "addressLine2": "Analytical Engines",
        "city": "Springfield",
        "stateOrRegion": "IL",
        "postalCode": "62701",
        "countryCode": "US",
        "phone": "555 0100",
        "email": "ada@example.com",
    }
    assert made == {
        "orderId": "R-1",
        "fulfillmentConfiguration": {
            "serviceLevel": {"serviceTiers": ["EXPEDITED"]},
            "action": "SHIP",
            "policy": "FILL_OR_KILL",
            "services": {"packaging": {"packagingOption": "UNBRANDED"}},
        },
        "origin": {"countryCode": "US"},
        "destination": {"deliveryAddress": address},
        "lineItems": [{"lineItemId": "R-1/1", **mugs}, {"lineItemId": "R-1/2.1", **tees}],
    }
    assert preview == {
        "fulfillmentConfiguration": {
            "serviceLevel": {"serviceTiers": ["EXPEDITED"]},
            "services": {"packaging": {"packagingOption": "UNBRANDED"}},
        },
        "origin": {"countryCode": "US"},
        "destination": {"deliveryAddress": address},
        "lineItems": [mugs, tees],
        "excludeEstimatedFees": True,
    }


def test_what_amazon_cannot_ship_whole_is_refused_in_its_words_and_never_ordered(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment
) -> None:
    with pytest.raises(hub.Rejected) as refused:
        submitted(vendor, connector, {"MUG-1": 101, "TEE-S": 1})
    assert str(refused.value) == (
        "There is not enough quantity of item MUG-1: 100 of 101. Amazon cannot ship 101 × MUG-1."
    )
    with pytest.raises(hub.Rejected, match=r"The SKU NO-SUCH is not in the inventory\."):
        submitted(vendor, connector, {"NO-SUCH": 1})

    assert vendor.placed() == []
    assert f"POST {ORDERS}" not in asked(vendor)

    vendor.set_on_hand("MUG-1", 101)
    assert submitted(vendor, connector, {"MUG-1": 101, "TEE-S": 1}).state is hub.ProviderState.ACCEPTED


def test_a_shipment_that_nothing_is_offered_for_would_not_be_made(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment
) -> None:
    item = {"productIdentifier": {"amazonSku": "MUG-1"}, "amount": {"unit": "EACHES", "value": "3.0"}}
    unoffered = {"plannedShipments": [{"items": [item], "offers": []}]}
    vendor.fail_next(PREVIEWS, Fault(response=SimResponse.of_json(unoffered)))
    with pytest.raises(hub.Rejected, match=r"^Amazon cannot ship 3 × MUG-1\.$"):
        submitted(vendor, connector)
    assert vendor.placed() == []


def test_a_constraint_that_stands_in_nobodys_way_is_no_refusal(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment
) -> None:
    item = {"productIdentifier": {"amazonSku": "MUG-1"}, "amount": {"unit": "EACHES", "value": "3.0"}}
    planned = {
        "plannedShipments": [{"items": [item]}],
        "constraints": [{"type": "Note", "code": "Late", "message": "It may take a day longer"}],
    }
    vendor.fail_next(PREVIEWS, Fault(response=SimResponse.of_json(planned)))
    assert submitted(vendor, connector).state is hub.ProviderState.ACCEPTED


@pytest.mark.parametrize("service", ["overnight", "PRIORITY"])
def test_a_way_to_ship_that_amazon_has_not_is_refused_before_it_is_asked(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment, service: str
) -> None:
    with pytest.raises(hub.Rejected, match=f"standard or expedited from United States, not “{service}”"):
        connector.submit(replace(vendor.example("R-1", {"MUG-1": 1}), service=service), "key")
    assert asked(vendor) == []


def test_where_amazon_ships_with_priority_it_is_asked_to(clock: Clock) -> None:
    with AmazonWarehouseSimulator(now=clock, marketplaces=("CA",)) as canada:
        canada.stock_item("MUG-1", "Mug", 1)
        there = connector_for(AmazonFulfillment, canada, now=clock)
        there.submit(replace(canada.example("R-1", {"MUG-1": 1}), service="priority"), "key")
        told = canada.requests[-1].json()
        assert told["fulfillmentConfiguration"]["serviceLevel"] == {"serviceTiers": ["PRIORITY"]}


def test_goods_from_the_united_kingdom_set_out_from_gb(clock: Clock) -> None:
    with AmazonWarehouseSimulator(now=clock, marketplaces=("UK",)) as britain:
        britain.stock_item("MUG-1", "Mug", 1)
        connector_for(AmazonFulfillment, britain, now=clock).submit(britain.example("R-1", {"MUG-1": 1}), "key")
        assert britain.requests[-1].json()["origin"] == {"countryCode": "GB"}


def test_an_address_in_japan_has_no_city(vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment) -> None:
    order = vendor.example("R-1", {"MUG-1": 1})
    connector.submit(replace(order, destination=replace(order.destination, country="JP")), "key")
    assert "city" not in vendor.requests[-1].json()["destination"]["deliveryAddress"]


def test_an_order_to_nowhere_is_refused_with_what_is_missing(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment
) -> None:
    nowhere = replace(vendor.example("R-1", {"MUG-1": 1}), destination=hub.Address(name="Ada", country="US"))
    with pytest.raises(hub.Rejected, match=r"Missing: the street, the postcode\.$"):
        connector.submit(nowhere, "key")
    assert asked(vendor) == []


def test_an_order_that_amazon_looks_at_later_is_submitted_and_told_of_when_it_was(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment, clock: Clock
) -> None:
    vendor.warehouse.answers_later = 90
    submission = submitted(vendor, connector)
    assert submission == hub.Submission(reference="R-1", external_id="R-1", state=hub.ProviderState.SUBMITTED)
    assert facts(connector) == []

    clock.advance(minutes=2)

    assert progress(connector).state is hub.ProviderState.ACCEPTED


# ---------------------------------------------------------------- one order, whatever happens to the answers


def test_the_same_order_twice_is_one_order(vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment) -> None:
    first, second = submitted(vendor, connector), submitted(vendor, connector)
    assert first == second
    assert len(vendor.placed()) == 1


def test_an_order_whose_answer_was_lost_is_found_though_it_took_the_last_of_its_goods(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment
) -> None:
    vendor.fail_next(ORDERS, Fault.reset(after_effect=True))
    with pytest.raises(hub.Unavailable):
        submitted(vendor, connector, {"MUG-1": 100})

    # A preview now says that there are none left. They are reserved for this very order.
    again = submitted(vendor, connector, {"MUG-1": 100})

    assert again.state is hub.ProviderState.ACCEPTED
    assert [order.lines for order in vendor.placed()] == [{"MUG-1": 100}]


def test_an_order_that_amazon_has_and_does_not_show_yet_is_looked_for_again(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment, clock: Clock
) -> None:
    vendor.warehouse.answers_later = 90
    order = vendor.example("R-1", {"MUG-1": 3})
    vendor.fail_next(ORDERS, Fault.reset(after_effect=True))
    with pytest.raises(hub.Unavailable):
        connector.submit(order, "key")
    assert connector.find_submit(order, "key") is None
    with pytest.raises(hub.Unavailable, match="says that it has R-1, and does not show it yet"):
        connector.submit(order, "key")

    clock.advance(minutes=2)

    assert connector.find_submit(order, "key") == connector.submit(order, "key")
    assert len(vendor.placed()) == 1


def test_another_order_than_was_asked_for_is_not_taken_for_ours(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment
) -> None:
    connector.submit(vendor.example("R-2", {"MUG-1": 1}), "key")
    other = vendor.requests[-1].json()
    stray = {"order": {"orderId": "R-2", "receiveTime": "2026-11-21T12:00:00Z", "lineItems": other["lineItems"]}}
    vendor.fail_next(f"{ORDERS}/R-1", Fault(response=SimResponse.of_json(stray)))
    with pytest.raises(hub.Unavailable, match="another order than was asked for"):
        connector.find_submit(vendor.example("R-1", {"MUG-1": 1}), "key")


# ---------------------------------------------------------------- taking it back


def test_an_order_that_waits_is_cancelled_and_its_goods_are_for_sale_again(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment
) -> None:
    submission = submitted(vendor, connector)
    assert connector.cancel(submission, "key").state is hub.CancelState.CANCELLED
    assert connector.cancel(submission, "key").state is hub.CancelState.CANCELLED
    assert progress(connector).state is hub.ProviderState.CANCELLED
    assert [order.cancelled for order in vendor.placed()] == [True]


def test_a_cancellation_that_amazon_thinks_over_is_answered_by_what_follows(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment, clock: Clock
) -> None:
    vendor.warehouse.cancels_later = 300
    submission = submitted(vendor, connector)
    assert connector.cancel(submission, "key").state is hub.CancelState.REQUESTED
    assert progress(connector).state is hub.ProviderState.ACCEPTED
    clock.advance(minutes=6)
    assert progress(connector).state is hub.ProviderState.CANCELLED


def test_too_late_is_an_answer(vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment) -> None:
    submission = submitted(vendor, connector)
    vendor.ship("R-1")
    answer = connector.cancel(submission, "key")
    assert (answer.state, answer.message) == (hub.CancelState.REFUSED, "It has left Amazon's warehouse.")


def test_of_an_order_that_has_left_in_part_the_rest_is_cancelled(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment
) -> None:
    submission = submitted(vendor, connector, {"MUG-1": 3, "TEE-S": 1})
    vendor.ship("R-1", {"MUG-1": 2})
    answer = connector.cancel(submission, "key")
    assert (answer.state, answer.message) == (hub.CancelState.PARTLY, "A part of it had left Amazon's warehouse.")
    assert vendor.placed()[0].shipped == {"MUG-1": 2}


def test_what_is_being_picked_is_not_cancelled_and_the_refusal_is_amazons(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment
) -> None:
    submission = submitted(vendor, connector)
    vendor.warehouse.pick("R-1")
    refusal = SimResponse.of_json({"errors": [{"code": "InvalidInput", "message": "The order is being packed"}]}, 400)
    vendor.fail_next(f"{ORDERS}/R-1/cancel", Fault(response=refusal))
    answer = connector.cancel(submission, "key")
    assert answer.state is hub.CancelState.REFUSED
    assert "The order is being packed." in answer.message


def test_an_order_that_amazon_does_not_have_cannot_be_cancelled(connector: AmazonFulfillment) -> None:
    with pytest.raises(hub.NotFound):
        connector.cancel(hub.Submission(reference="R-9", external_id=""), "key")


# ---------------------------------------------------------------- how far it is


def test_an_order_is_accepted_picked_shipped_in_parts_and_over(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment, clock: Clock
) -> None:
    states = [submitted(vendor, connector, {"MUG-1": 3}).state]
    versions = [progress(connector).version]

    def then() -> None:
        states.append(progress(connector).state)
        versions.append(progress(connector).version)
        clock.advance(minutes=1)

    clock.advance(minutes=1)
    vendor.warehouse.pick("R-1", {"MUG-1": 2})
    then()
    vendor.ship("R-1")
    then()
    vendor.ship("R-1")
    then()

    assert states == [
        hub.ProviderState.ACCEPTED,
        hub.ProviderState.IN_PROGRESS,
        hub.ProviderState.PARTIALLY_SHIPPED,
        hub.ProviderState.SHIPPED,
    ]
    # That somebody picks changes nothing that Amazon dates; whatever leaves does.
    assert versions == [NOON, NOON, NOON + timedelta(minutes=2), NOON + timedelta(minutes=3)]


def test_goods_that_cannot_be_found_are_named_and_the_rest_that_left_stays_shipped(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment
) -> None:
    submitted(vendor, connector, {"MUG-1": 3, "TEE-S": 1})
    vendor.ship("R-1", {"MUG-1": 2})
    vendor.warehouse.lose("R-1", "MUG-1")

    told, shipment, _ = facts(connector)

    assert (told.state, told.provider_state) == (hub.ProviderState.REJECTED, "COMPLETE_PARTIAL")
    assert told.message == "Amazon cannot ship 1 × MUG-1."
    assert [(line.sku, line.quantity) for line in shipment.lines] == [("MUG-1", 2)]


def test_an_order_that_amazon_finds_invalid_is_rejected_with_what_a_preview_says_of_it(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment
) -> None:
    submitted(vendor, connector)
    vendor.reject("R-1", "No such street")
    told = progress(connector)
    assert (told.state, told.provider_state) == (hub.ProviderState.REJECTED, "INVALID")
    assert told.message == "Amazon cannot ship 3 × MUG-1. No such street."


def test_a_preview_that_fails_keeps_no_news_back(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment
) -> None:
    submitted(vendor, connector)
    vendor.reject("R-1", "No such street")
    vendor.fail_next(PREVIEWS, Fault.status(500))
    assert progress(connector).message == "Amazon cannot ship 3 × MUG-1."
    vendor.fail_next(PREVIEWS, Fault(response=SimResponse.of_json({"errors": [{"message": "Bad postcode"}]}, 400)))
    assert progress(connector).message == "Amazon cannot ship 3 × MUG-1. Amazon refused the request: Bad postcode."
    assert progress(connector).message == "Amazon cannot ship 3 × MUG-1. No such street."


def test_an_order_that_cannot_be_read_is_kept_to_be_set_aside_alone(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment
) -> None:
    for reference in ("R-1", "R-2"):
        connector.submit(vendor.example(reference, {"MUG-1": 1}), "key")
    told = json.loads(connector.fetch_order("R-1").body)
    broken = {**told, "orderId": "R-1", "receiveTime": "yesterday"}
    whole = json.loads(connector.fetch_order("R-2").body)
    vendor.fail_next(ORDERS, Fault(response=SimResponse.of_json({"orders": [broken, whole]})))

    (page,) = connector.fetch_shipments(None)

    assert [(each.external_id, bool(each.version)) for each in page.records] == [("R-1", False), ("R-2", True)]
    with pytest.raises(hub.Unreadable, match="receiveTime"):
        connector.read_shipments(page.records[0])


def test_where_amazon_says_nothing_the_merchant_is_told_where_to_look(connector: AmazonFulfillment) -> None:
    def message(status: str) -> str:
        (told,) = connector.read_shipments(record(status=status))
        assert isinstance(told, hub.Progress)
        return told.message

    where = "See the order in Seller Central, under Manage Orders > Multi-Channel Fulfillment."
    assert message("UNFULFILLABLE") == f"Amazon does not say why it cannot ship it. {where}"
    assert message("INVALID") == "Amazon finds something wrong with it, such as the address or a SKU."
    assert message("SWALLOWED") == f"Amazon says “SWALLOWED” of it. {where}"
    assert message("PROCESSING") == ""


def record(**changed: Any) -> hub.RawRecord:
    """An order of ours as Amazon tells it."""
    line = {
        "lineItemId": "R-1/1",
        "product": {"productIdentifier": {"amazonSku": "MUG-1"}},
        "amount": {"unit": "EACHES", "value": "3.0"},
    }
    told = {"orderId": "R-1", "receiveTime": "2026-11-21T12:00:00Z", "status": "PROCESSING", "lineItems": [line]}
    return hub.RawRecord("shipment", "R-1", json.dumps({**told, **changed}).encode())


def shipment(**changed: Any) -> dict[str, Any]:
    item = {
        "lineItemId": "R-1/1",
        "productIdentifier": {"amazonSku": "MUG-1"},
        "amount": {"value": "3.0"},
    }
    told = {"amazonShipmentId": "S-1", "amazonFacility": {"facilityId": "RIC2"}, "status": "SHIPPED", "items": [item]}
    return {**told, "shipTime": "2026-11-21T13:00:00Z", **changed}


@pytest.mark.parametrize(("word", "state"), ORDER_STATES.items(), ids=[word or "nothing" for word in ORDER_STATES])
def test_each_word_of_amazons_has_its_meaning(
    connector: AmazonFulfillment, word: str, state: hub.ProviderState
) -> None:
    (told,) = connector.read_shipments(record(status=word))
    assert isinstance(told, hub.Progress)
    assert (told.state, told.provider_state) == (state, word)


def test_a_shipment_in_a_state_that_nobody_knows_holds_the_order(connector: AmazonFulfillment) -> None:
    (told,) = connector.read_shipments(record(shipments=[shipment(status="EVAPORATED")]))
    assert isinstance(told, hub.Progress)
    assert (told.state, told.provider_state) == (hub.ProviderState.ON_HOLD, "EVAPORATED")


@pytest.mark.parametrize(
    "amount",
    [{"unit": "POUNDS", "value": "3"}, {"unit": "EACHES", "value": "-1"}, {"value": "1.5"}, {}],
    ids=["pounds", "less than none", "halves", "nothing"],
)
def test_an_amount_that_makes_no_sense_is_not_read(amount: dict[str, str]) -> None:
    with pytest.raises(hub.Unreadable):
        OrderBody().read(record(shipments=[shipment(items=[{**shipment()["items"][0], "amount": amount}])]).body)


# ---------------------------------------------------------------- what left, and where it is


def test_a_shipment_is_told_with_its_lines_and_its_parcel(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment, clock: Clock
) -> None:
    submitted(vendor, connector, {"MUG-1": 3, "TEE-S": 1})
    clock.advance(minutes=60)
    id = vendor.ship("R-1", {"MUG-1": 2}, lot="L-42")

    _, left, parcel = facts(connector)

    number = parcel.tracking_number
    assert left == hub.ProviderShipment(
        external_id=id,
        reference="R-1",
        lines=(
            hub.ShippedLine(sku="MUG-1", quantity=2, line_reference="1", lots=(hub.Lot(number="L-42", quantity=2),)),
        ),
        version=clock(),
        shipped_at=clock(),
        carrier="amazon",
        tracking_numbers=(number,),
        tracking_url=f"https://www.swiship.com/track?id={number}",
        location_external_id="ATVPDKIKX0DER",
    )
    assert parcel == hub.Tracking(
        tracking_number=number,
        status=hub.TrackingStatus.IN_TRANSIT,
        carrier_status="IN_TRANSIT",
        deliver_by=clock() + timedelta(days=2),
    )


def test_a_parcel_is_followed_to_the_hands_that_took_it(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment
) -> None:
    submitted(vendor, connector)
    id = vendor.ship("R-1")
    vendor.warehouse.move_parcel(id, "DELIVERED", received_by="Grace")
    parcel = facts(connector)[-1]
    assert (parcel.status, parcel.signed_by, parcel.deliver_by) == (hub.TrackingStatus.DELIVERED, "Grace", None)


@pytest.mark.parametrize(("word", "status"), [*PARCEL_STATES.items(), ("BEAMED_UP", hub.TrackingStatus.UNKNOWN)])
def test_each_state_of_a_parcel_has_its_meaning(
    connector: AmazonFulfillment, word: str, status: hub.TrackingStatus
) -> None:
    package = {"packageId": "1", "status": word, "tracking": {"amazon": {"trackingNumber": "TBA1"}}}
    parcel = list(connector.read_shipments(record(shipments=[shipment(packages=[package])])))[-1]
    assert isinstance(parcel, hub.Tracking)
    assert (parcel.tracking_number, parcel.status, parcel.carrier_status) == ("TBA1", status, word)


@pytest.mark.parametrize(
    ("code", "word"),
    [("UPS", "ups"), ("Amazon Logistics", "amazon"), ("AMZL", "amazon"), ("Royal Mail", "royal_mail")],
)
def test_carriers_are_called_as_the_hub_calls_them(connector: AmazonFulfillment, code: str, word: str) -> None:
    both = {
        "carrier": {"carrierCode": code, "trackingNumber": "1Z1", "trackingUrl": "https://ups.example/1Z1"},
        "amazon": {"trackingNumber": "TBA1", "trackingUrl": "https://amazon.example/TBA1"},
    }
    packages = [{"packageId": "1", "tracking": both}, {"packageId": "2"}, {"packageId": "3", "tracking": both}]
    _, left, *parcels = connector.read_shipments(record(shipments=[shipment(packages=packages)]))
    assert isinstance(left, hub.ProviderShipment)
    assert (left.carrier, left.tracking_numbers, left.tracking_url) == (word, ("1Z1",), "https://ups.example/1Z1")
    assert len(parcels) == 2  # the one without a number has nothing to be followed by


@pytest.mark.parametrize(
    ("identifiers", "lots", "serials"),
    [
        ({"LOT": ["A"]}, (("A", 3),), ()),
        ({"LOT": ["A", "B", "A"]}, (("A", 2), ("B", 1)), ()),
        ({"LOT": ["A", "B"]}, (), ()),  # nobody can say how many are of which
        ({"serialNumber": ["1", "2", "3"]}, (), ("1", "2", "3")),
        ({"ASIN": ["B01"], "LOT": None}, (), ()),
        (None, (), ()),
    ],
    ids=["one lot", "each unit's", "two of three", "serial numbers", "others", "none"],
)
def test_lots_are_told_where_they_are_certain(
    connector: AmazonFulfillment,
    identifiers: dict[str, Any] | None,
    lots: tuple[tuple[str, int], ...],
    serials: tuple[str, ...],
) -> None:
    item = {**shipment()["items"][0], "unitIdentifiers": identifiers}
    _, left = connector.read_shipments(record(shipments=[shipment(items=[item])]))
    assert isinstance(left, hub.ProviderShipment)
    (line,) = left.lines
    assert tuple((lot.number, lot.quantity) for lot in line.lots) == lots
    assert line.serial_numbers == serials


def test_orders_that_others_have_placed_are_nobodys_here(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment
) -> None:
    vendor.warehouse.order_by_hand("CONSUMER-2026-1", {"MUG-1": 2})
    vendor.ship("CONSUMER-2026-1")
    assert [page.records for page in connector.fetch_shipments(None)] == [()]
    assert list(connector.read_shipments(connector.fetch_order("CONSUMER-2026-1"))) == []


def test_nothing_of_the_customer_is_kept_of_what_amazon_tells(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment
) -> None:
    submitted(vendor, connector)
    vendor.reject("R-1", "No such street")
    (page,) = connector.fetch_shipments(None)
    kept = b"".join(each.body for each in (*page.records, connector.fetch_order("R-1")))
    assert b"No such street" in kept
    for personal in (b"Ada", b"Mill Lane", b"62701", b"destination"):
        assert personal not in kept


# ---------------------------------------------------------------- fetching


def test_what_changed_since_is_asked_for_with_an_overlap(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment, clock: Clock
) -> None:
    submitted(vendor, connector)
    clock.advance(minutes=60)
    (first,) = connector.fetch_shipments(None)
    clock.advance(minutes=5)
    (second,) = connector.fetch_shipments(first.cursor)

    since = [dict(each.query)["updatedAfter"] for each in vendor.requests if each.path == ORDERS and each.query]
    assert since == ["2026-08-23T13:00:00Z", "2026-11-21T12:50:00Z"]
    assert (len(first.records), len(second.records)) == (1, 0)


def test_a_page_token_that_is_good_no_more_begins_the_walk_anew_and_once_only(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment
) -> None:
    for number in range(60):
        connector.submit(vendor.example(f"R-{number}", {"MUG-1": 1}), "key")
    first, _ = connector.fetch_shipments(None)
    refusal = SimResponse.of_json({"errors": [{"code": "InvalidInput", "message": "The pageToken has expired"}]}, 400)
    vendor.fail_next(ORDERS, Fault(response=refusal))

    rest = list(connector.fetch_shipments(first.cursor))

    assert [len(page.records) for page in rest] == [40, 20]
    vendor.fail_next(ORDERS, Fault(response=refusal))
    vendor.fail_next(ORDERS, Fault(response=refusal), after=1)
    with pytest.raises(hub.Rejected, match="pageToken has expired"):
        list(connector.fetch_shipments(first.cursor))


def test_pages_that_lead_round_in_circles_come_to_an_end(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment
) -> None:
    for token in ("a", "b", "a"):
        page = {"orders": [], "pagination": {"nextToken": token}}
        vendor.fail_next(ORDERS, Fault(response=SimResponse.of_json(page)))
    with pytest.raises(hub.Unavailable, match="the same page again"):
        list(connector.fetch_shipments(None))
    assert asked(vendor) == [f"GET {ORDERS}"] * 3


# ---------------------------------------------------------------- messages


def test_a_message_about_an_order_has_it_fetched(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment
) -> None:
    connector.perform("subscribe_webhooks", {"address": ""}, "key")
    submitted(vendor, connector)
    bodies = [letter.body for letter in vendor.take_webhooks()]
    deliveries = [AmazonFulfillment.read_message(body) for body in bodies]

    said = [
        fact
        for delivery, body in zip(deliveries, bodies, strict=True)
        if delivery is not None
        for fact in connector.read_webhook(hub.RawRecord(delivery.topic, "", body))
    ]

    assert hub.Refetch("order", "R-1") in said
    told = list(connector.read_shipments(connector.fetch_order("R-1")))
    assert told == [progress(connector)]


def test_both_kinds_of_messages_are_subscribed_to_and_watched(
    vendor: AmazonWarehouseSimulator, connector: AmazonFulfillment
) -> None:
    topics = ("FULFILLMENT_ORDER_STATUS", "FBA_INVENTORY_AVAILABILITY_CHANGES")
    assert connector.read_subscriptions("") == hub.Subscriptions((), topics)
    connector.perform("subscribe_webhooks", {"address": ""}, "key")
    assert connector.read_subscriptions("") == hub.Subscriptions(topics)
    assert list(connector.read_webhook(hub.RawRecord("ORDER_CHANGE", "", b"{}"))) == []


def test_the_usage_plan_of_each_operation_is_kept_apart(clock: Clock) -> None:
    assert {"createOrder", "getOrderPreview", "getInventorySummaries"} <= AmazonFulfillment.rate_budgets.keys()
    with AmazonWarehouseSimulator(now=clock, plan=1) as strict:
        strict.stock_item("MUG-1", "Mug", 100)
        connector = connector_for(AmazonFulfillment, strict, now=clock)
        for number in range(30):
            connector.submit(strict.example(f"R-{number}", {"MUG-1": 1}), "key")
        with pytest.raises(hub.RateLimited):
            connector.submit(strict.example("R-30", {"MUG-1": 1}), "key")
        assert len(strict.placed()) == 30
        connector.fetch_order("R-29")  # what is asked for otherwise has a plan of its own
        clock.advance(minutes=0.01)
        connector.submit(strict.example("R-30", {"MUG-1": 1}), "key")
        assert len(strict.placed()) == 31
