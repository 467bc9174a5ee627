"""Shipments, and the parts an order is dealt out in: exactly the units, exactly once, and only what differs changed."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hub.connector import EffectResult, Settlement
from hub.core.model import HoldReason, LineQuantity
from hub.core.shipping import (
    ConfirmedLine,
    ShipmentConfirmation,
    WorkAnswer,
    WorkHold,
    WorkMove,
    WorkQuestion,
    WorkRelease,
    WorkSplit,
)
from hub.errors import AuthError, ConnectorError, NotFound, Rejected, Unavailable
from hub.testing.context import connector_for
from hub.testing.simulator import Fault, SimResponse
from hub_shopify import documents
from hub_shopify.carriers import COMPANIES, company
from hub_shopify.connector import ShopifyConnector
from hub_shopify.simulator import ShopifySimulator
from hub_shopify.simulator_fulfillment import Hold, Work
from hub_shopify.simulator_model import Fulfillment, Tracking

GRAPHQL = "/admin/api"
REPOSITORY = Path(__file__).parents[3]
SPECS = Path(os.environ.get("TALLYHUB_SPECS") or REPOSITORY.parent / "shared" / "specs") / "shopify"


@pytest.fixture
def shop() -> Iterator[ShopifySimulator]:
    with ShopifySimulator() as simulator:
        simulator.add_product("MUG", "Mug", 10, "8.50")
        simulator.add_product("TEE", "T-shirt", 10, "20.00")
        yield simulator


@pytest.fixture
def connector(shop: ShopifySimulator) -> ShopifyConnector:
    return connector_for(ShopifyConnector, shop)


@pytest.fixture
def bought(shop: ShopifySimulator) -> Bought:
    return Bought(shop, [("MUG", 3), ("TEE", 2)])


class Bought:
    """An order, and what the shop knows about it."""

    def __init__(self, shop: ShopifySimulator, items: Sequence[tuple[str, int]]) -> None:
        sale = shop.buy(items)
        assert sale
        self.shop = shop
        self.id = sale.order_external_id
        self.lines = {
            line.variant.sku: str(line.id) for line in shop.sold[int(sale.order_external_id)].lines if line.variant
        }

    def confirmation(self, reference: str = "S-1", /, **units: int) -> ShipmentConfirmation:
        """So many units of each SKU in one parcel, whose number is made of the reference."""
        return ShipmentConfirmation(
            reference=reference,
            order_external_id=self.id,
            lines=tuple(
                ConfirmedLine(line_external_id=self.lines[sku], quantity=count) for sku, count in units.items()
            ),
            shipped_at=datetime.now(UTC),
            carrier="royal_mail",
            tracking_numbers=(f"RM{reference}",),
        )

    @property
    def shipments(self) -> list[Fulfillment]:
        """All that were not canceled."""
        return [each for each in self.shop.sold[int(self.id)].fulfillments if not each.cancelled]

    @property
    def shipped(self) -> dict[str, int]:
        """Units shipped by SKU."""
        lines = self.shop.sold[int(self.id)].lines
        return {line.variant.sku: line.fulfilled for line in lines if line.variant and line.fulfilled}

    @property
    def parts(self) -> list[Work]:
        return self.shop.fulfillment_orders.open(self.id)

    def quantities(self, **units: int) -> tuple[LineQuantity, ...]:
        return tuple(LineQuantity(line_external_id=self.lines[sku], quantity=count) for sku, count in units.items())

    def second_home(self, **units: int) -> str:
        """Somebody gives units to another location; its id."""
        town = self.shop.add_location("Store in town")
        for sku in units:
            self.shop.stock_at(town, sku, 10)
        (part,) = self.parts
        by_sku = {each.line.variant.sku: each for each in part.lines if each.line.variant}
        self.shop.fulfillment_orders.take_out(part, [(by_sku[sku], count) for sku, count in units.items()], int(town))
        return town


def unnumbered(confirmation: ShipmentConfirmation) -> ShipmentConfirmation:
    return replace(confirmation, tracking_numbers=())


def told(part: Work) -> dict[str, int]:
    """What is left of a part, by SKU."""
    return {each.line.variant.sku: each.remaining for each in part.lines if each.line.variant and each.remaining}


def held(fulfillment: Fulfillment) -> dict[str, int]:
    """What a shipment holds, by SKU."""
    return {line.variant.sku: quantity for line, quantity in fulfillment.items if line.variant}


def asked(shop: ShopifySimulator, mutation: str) -> list[Mapping[str, Any]]:
    """The variables of every call of a mutation so far."""
    found = [request.json() for request in shop.requests if f"mutation {mutation}(".encode() in request.body]
    return [request["variables"] for request in found]


def confirm(connector: ShopifyConnector, confirmation: ShipmentConfirmation) -> EffectResult:
    return connector.confirm_shipment(confirmation, "key")


# --- shipments


def test_exactly_the_lines_are_shipped_with_their_tracking(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought
) -> None:
    result = confirm(connector, bought.confirmation(MUG=2))
    (shipment,) = bought.shipments
    assert result == EffectResult(str(shipment.id), {"shipments": [str(shipment.id)]})
    assert held(shipment) == {"MUG": 2}
    assert shipment.tracking == [Tracking("Royal Mail", "RMS-1", None)]
    assert shipment.notified == 1
    assert [told(part) for part in bought.parts] == [{"MUG": 1, "TEE": 2}]
    assert shop.sold[int(bought.id)].fulfillment == "PARTIALLY_FULFILLED"


def test_the_last_units_are_named_too(shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought) -> None:
    confirm(connector, bought.confirmation(MUG=3, TEE=2))
    ((call),) = asked(shop, "Ship")
    ((part),) = call["shipment"]["lineItemsByFulfillmentOrder"]
    assert [each["quantity"] for each in part["fulfillmentOrderLineItems"]] == [3, 2]
    assert shop.sold[int(bought.id)].fulfillment == "FULFILLED"


def test_a_quiet_shipment_tells_the_customer_nothing(connector: ShopifyConnector, bought: Bought) -> None:
    confirm(connector, replace(bought.confirmation(MUG=1), notify=False))
    assert [each.notified for each in bought.shipments] == [0]


def test_shipment_after_shipment_adds_up_though_both_are_alike(connector: ShopifyConnector, bought: Bought) -> None:
    confirm(connector, bought.confirmation("S-1", MUG=1))
    confirm(connector, bought.confirmation("S-2", MUG=1))
    assert bought.shipped == {"MUG": 2}
    assert [each.tracking[0].number for each in bought.shipments] == ["RMS-1", "RMS-2"]


def test_each_parcel_gets_its_number_and_its_link(connector: ShopifyConnector, bought: Bought) -> None:
    parcels = replace(
        bought.confirmation(MUG=3),
        carrier="somebody",
        carrier_name="Bike Couriers",
        tracking_numbers=("A1", " B2 ", "A1", ""),
        tracking_url="https://bikes.example/t/A1",
    )
    confirm(connector, parcels)
    assert bought.shipments[0].tracking == [
        Tracking("Bike Couriers", "A1", "https://bikes.example/t/A1"),
        Tracking("Bike Couriers", "B2", "https://bikes.example/t/B2"),
    ]


@pytest.mark.parametrize("url", ["bikes.example/A1", "ask the driver", "https:///A1"])
def test_a_link_that_is_none_does_not_keep_the_shipment_back(
    connector: ShopifyConnector, bought: Bought, url: str
) -> None:
    confirm(connector, replace(bought.confirmation(MUG=1), tracking_url=url))
    assert bought.shipments[0].tracking == [Tracking("Royal Mail", "RMS-1", None)]


def test_a_parcel_without_a_number_is_shipped_all_the_same(connector: ShopifyConnector, bought: Bought) -> None:
    confirm(connector, replace(unnumbered(bought.confirmation(MUG=1)), tracking_url="https://bikes.example/A1"))
    assert bought.shipments[0].tracking == [Tracking("Royal Mail", None, None)]
    assert bought.shipped == {"MUG": 1}


# --- several locations


def test_a_line_at_two_locations_is_shipped_from_both_in_one_call_each(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought
) -> None:
    town = int(bought.second_home(MUG=1))
    result = confirm(connector, bought.confirmation(MUG=3, TEE=1))
    home, other = bought.shipments
    assert (home.location, held(home)) == (shop._home, {"MUG": 2, "TEE": 1})
    assert (other.location, held(other)) == (town, {"MUG": 1})
    assert result.reference == f"{home.id},{other.id}"
    assert {part.location: told(part) for part in bought.parts} == {shop._home: {"TEE": 1}}


def test_the_location_the_goods_left_comes_first(connector: ShopifyConnector, bought: Bought) -> None:
    town = bought.second_home(MUG=1)
    confirm(connector, replace(bought.confirmation(MUG=1), location_external_id=town))
    assert [each.location for each in bought.shipments] == [int(town)]


def test_one_call_is_enough_where_one_location_has_all(connector: ShopifyConnector, bought: Bought) -> None:
    town = bought.second_home(MUG=2)
    confirm(connector, bought.confirmation(MUG=2))
    assert [(each.location, held(each)) for each in bought.shipments] == [(int(town), {"MUG": 2})]


def test_parts_at_one_location_go_out_in_one_call(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought
) -> None:
    (part,) = bought.parts
    shop.fulfillment_orders.take_out(part, [(part.lines[0], 1)], part.location)
    confirm(connector, bought.confirmation(MUG=3))
    (shipment,) = bought.shipments
    assert held(shipment) == {"MUG": 3}


def test_more_lines_than_one_call_takes_go_out_in_several(
    shop: ShopifySimulator, connector: ShopifyConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert documents.SHIPMENT_CALL == 512
    monkeypatch.setattr(documents, "SHIPMENT_CALL", 2)
    skus = [f"SKU{number}" for number in range(5)]
    for sku in skus:
        shop.add_product(sku, sku, 1, "1.00")
    bought = Bought(shop, [(sku, 1) for sku in skus])
    confirm(connector, bought.confirmation(**dict.fromkeys(skus, 1)))
    assert [len(each.items) for each in bought.shipments] == [2, 2, 1]
    assert bought.shipped == dict.fromkeys(skus, 1)


def test_an_order_of_many_lines_is_read_to_its_end(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    skus = [f"SKU{number}" for number in range(documents.DEALT_OUT_LINES_PAGE + 1)]
    for sku in skus:
        shop.add_product(sku, sku, 1, "1.00")
    bought = Bought(shop, [(sku, 1) for sku in skus])
    confirm(connector, bought.confirmation(**{skus[-1]: 1}))
    assert bought.shipped == {skus[-1]: 1}


def test_an_order_of_many_parts_is_read_to_its_end(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    shop.add_product("NUT", "Nut", 50, "0.10")
    bought = Bought(shop, [("NUT", 20)])
    for _ in range(documents.DEALT_OUT_PAGE + 2):
        part = bought.parts[0]
        shop.fulfillment_orders.take_out(part, [(part.lines[0], 1)], part.location)
    assert len(bought.parts) == documents.DEALT_OUT_PAGE + 3
    confirm(connector, bought.confirmation(NUT=20))
    assert bought.shipped == {"NUT": 20}


# --- what is refused


def refused(connector: ShopifyConnector, confirmation: ShipmentConfirmation) -> str:
    with pytest.raises(Rejected) as refusal:
        confirm(connector, confirmation)
    return str(refusal.value)


def test_more_than_is_open_is_refused_and_nothing_of_it_shipped(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought
) -> None:
    shop.fulfill(bought.id, 1)
    shop.requests.clear()
    said = refused(connector, bought.confirmation(MUG=1, TEE=2))
    assert "2 of “T-shirt” were shipped, but Shopify has only 1 left to ship" in said
    assert bought.shipped == {"MUG": 1, "TEE": 1}
    assert asked(shop, "Ship") == []


def test_a_canceled_order_says_so(shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought) -> None:
    shop.cancel(bought.id)
    assert "canceled in Shopify" in refused(connector, bought.confirmation(MUG=1))
    assert bought.shipments == []


def test_a_held_part_says_why_and_is_shipped_once_it_is_released(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought
) -> None:
    (part,) = bought.parts
    hold = shop.fulfillment_orders.hold_by_hand(part, "HIGH_RISK_OF_FRAUD", "calling the customer")
    said = refused(connector, bought.confirmation(MUG=1))
    assert said == (
        "Shopify holds “Mug” back (High risk of fraud: calling the customer). Release the hold there or here, then try "
        "again."
    )
    shop.fulfillment_orders.release(part, [hold])
    confirm(connector, bought.confirmation(MUG=1))
    assert bought.shipped == {"MUG": 1}


@pytest.mark.parametrize(
    ("status", "says"),
    [
        ("SCHEDULED", "scheduled “Mug” for a later day"),
        ("INCOMPLETE", "Main warehouse has told Shopify that it cannot"),
    ],
)
def test_a_part_that_cannot_be_shipped_now_says_what_to_do(
    connector: ShopifyConnector, bought: Bought, status: str, says: str
) -> None:
    bought.parts[0].status = status
    assert says in refused(connector, bought.confirmation(MUG=1))
    assert bought.shipments == []


def test_a_line_of_another_order_and_an_order_that_is_gone_are_refused(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought
) -> None:
    other = Bought(shop, [("MUG", 1)])
    strange = replace(bought.confirmation(MUG=1), lines=other.confirmation(MUG=1).lines)
    assert "Shopify has only 0 left to ship" in refused(connector, strange)
    shop.delete(bought.id)
    with pytest.raises(NotFound):
        confirm(connector, bought.confirmation(MUG=1))
    assert connector.find_confirm_shipment(bought.confirmation(MUG=1), "key") is None


def test_an_app_that_may_not_see_the_parts_is_told_which_scopes_are_missing(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought
) -> None:
    may = shop.scopes
    shop.scopes = tuple(scope for scope in may if "fulfillment_orders" not in scope)
    assert "lack the access scopes" in refused(connector, bought.confirmation(MUG=1))
    shop.scopes = (*shop.scopes, "read_merchant_managed_fulfillment_orders")
    with pytest.raises(AuthError):
        confirm(connector, bought.confirmation(MUG=1))
    shop.scopes = may
    confirm(connector, bought.confirmation(MUG=1))
    assert bought.shipped == {"MUG": 1}


def test_an_order_dealt_out_anew_meanwhile_is_read_again(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought
) -> None:
    def dealt_out_anew() -> None:
        (part,) = bought.parts
        shop.fulfillment_orders.replace(part)

    shop.fail_next(GRAPHQL, Fault(after_effect=True, meanwhile=dealt_out_anew), after=1)
    confirm(connector, bought.confirmation(MUG=1))
    assert bought.shipped == {"MUG": 1}
    assert len(asked(shop, "Ship")) == 2


def test_what_shopify_refuses_is_said_in_its_words_and_not_asked_for_ever(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought
) -> None:
    error = {"field": ["fulfillment"], "message": "Something of its own."}
    answer = SimResponse.of_json({"data": {"fulfillmentCreate": {"fulfillment": None, "userErrors": [error]}}})
    shop.fail_next(GRAPHQL, Fault(response=answer), after=2)
    said = refused(connector, bought.confirmation(MUG=1))
    assert said == (
        "Shopify does not take this shipment: Something of its own. Look at the order in Shopify, then try again or "
        "cancel this message."
    )
    assert len(asked(shop, "Ship")) == 1
    confirm(connector, bought.confirmation(MUG=1))
    assert bought.shipped == {"MUG": 1}


# --- lost answers


def lost_at_every_point(shop: ShopifySimulator, attempt: Callable[[], object], fault: Fault) -> int:
    """Try until it is done, losing an answer at the first call, then at the second…; how many attempts failed."""
    failed = 0
    for point in range(30):
        shop.fail_next(GRAPHQL, fault, after=point)
        try:
            attempt()
        except ConnectorError as error:
            assert isinstance(error, Unavailable), error
            failed += 1
        else:
            return failed
        finally:
            shop.heal()
    raise AssertionError("It was never done.")


FAULTS = {
    "before the effect": Fault.reset(after_effect=False),
    "after the effect": Fault.reset(),
    "in the middle of the answer": Fault.truncated(),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("number", [True, False], ids=["with a number", "without one"])
def test_whatever_answer_is_lost_there_is_one_shipment_per_location(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought, fault: Fault, number: bool
) -> None:
    bought.second_home(MUG=1)
    confirmation = bought.confirmation(MUG=3, TEE=1)
    confirmation = confirmation if number else unnumbered(confirmation)
    results = []

    def as_the_hub_does() -> None:
        found = connector.find_confirm_shipment(confirmation, "key")
        results.append(found or confirm(connector, confirmation))

    assert connector.effects["confirm_shipment"] is Settlement.LOOKUP
    assert lost_at_every_point(shop, as_the_hub_does, fault) > 3
    assert bought.shipped == {"MUG": 3, "TEE": 1}
    assert [held(each) for each in bought.shipments] == [{"MUG": 2, "TEE": 1}, {"MUG": 1}]
    assert sorted(results[0].reference.split(",")) == [str(each.id) for each in bought.shipments]
    assert connector.find_confirm_shipment(confirmation, "key") is not None


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_repeating_without_looking_ships_nothing_twice_either(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought, fault: Fault
) -> None:
    confirmation = bought.confirmation(MUG=1)
    lost_at_every_point(shop, lambda: confirm(connector, confirmation), fault)
    confirm(connector, confirmation)
    assert bought.shipped == {"MUG": 1}
    assert len(bought.shipments) == 1


def test_an_answer_that_tells_nothing_is_unclear_and_found_afterwards(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought
) -> None:
    silent = SimResponse.of_json({"data": {"fulfillmentCreate": None}})
    shop.fail_next(GRAPHQL, Fault(response=silent, after_effect=True), after=2)
    with pytest.raises(Unavailable):
        confirm(connector, bought.confirmation(MUG=1))
    found = connector.find_confirm_shipment(bought.confirmation(MUG=1), "key")
    assert found is not None
    assert found.reference == str(bought.shipments[0].id)


def test_a_shipment_is_not_taken_for_another_one(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    bought = Bought(shop, [("MUG", 4), ("TEE", 4)])
    confirm(connector, bought.confirmation("S-1", MUG=1))
    confirm(connector, bought.confirmation("S-2", TEE=1))
    shop.fulfill(bought.id, 1)  # by hand, without a number

    def found(reference: str, *further: str, **units: int) -> bool:
        confirmation = bought.confirmation(reference, **units)
        numbers = (*confirmation.tracking_numbers, *further)
        return connector.find_confirm_shipment(replace(confirmation, tracking_numbers=numbers), "key") is not None

    assert found("S-1", MUG=1)
    assert not found("S-3", MUG=1), "another parcel"
    assert not found("S-1", "RMS-9", MUG=1), "one parcel more"
    assert not found("S-1", MUG=2), "more units than it holds"
    assert not found("S-2", MUG=1), "another line"
    confirm(connector, bought.confirmation("S-4", MUG=1, TEE=1))
    assert not found("S-4", MUG=1), "less than it holds"
    shop.requests.clear()
    found("S-4", MUG=1, TEE=1)
    assert len(shop.requests) == 2, "only one with the same number is looked into"


def test_of_two_shipments_in_one_parcel_the_one_with_just_these_lines_is_meant(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought
) -> None:
    (part,) = bought.parts
    for quantity in (1, 2):
        shop.fulfillment_orders.ship([(part, part.lines[0], quantity)], [Tracking("Royal Mail", "RMS-1")], notify=False)
    one, two = bought.shipments
    for shipment, quantity in ((one, 1), (two, 2)):
        found = connector.find_confirm_shipment(bought.confirmation("S-1", MUG=quantity), "key")
        assert found is not None
        assert found.reference == str(shipment.id)


def test_a_shipment_is_known_among_many(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    shop.add_product("NUT", "Nut", 50, "0.10")
    bought = Bought(shop, [("NUT", 50)])
    parcels = [bought.confirmation(f"S-{number}", NUT=1) for number in range(documents.SHIPPED + 1)]
    for parcel in parcels:
        confirm(connector, parcel)
    found = connector.find_confirm_shipment(parcels[-1], "key")
    assert found is not None
    assert found.reference == str(bought.shipments[-1].id)


def test_a_shipment_of_many_lines_is_known_by_all_of_them(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    skus = [f"SKU{number}" for number in range(documents.SHIPMENT_LINES + 1)]
    for sku in skus:
        shop.add_product(sku, sku, 1, "1.00")
    bought = Bought(shop, [(sku, 1) for sku in skus])
    confirmation = bought.confirmation(**dict.fromkeys(skus, 1))
    assert confirm(connector, confirmation) == connector.find_confirm_shipment(confirmation, "key")
    assert len(bought.shipments) == 1


def test_a_parcel_without_a_number_is_known_by_the_time_it_left(connector: ShopifyConnector, bought: Bought) -> None:
    confirm(connector, unnumbered(bought.confirmation("S-1", MUG=1)))
    later = replace(unnumbered(bought.confirmation("S-2", MUG=1)), shipped_at=datetime.now(UTC) + timedelta(hours=1))
    assert connector.find_confirm_shipment(later, "key") is None
    confirm(connector, later)
    assert bought.shipped == {"MUG": 2}


def test_a_shipment_that_was_canceled_is_none(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought
) -> None:
    confirmation = bought.confirmation(MUG=1)
    before = confirm(connector, confirmation)
    shop.cancel_fulfillment(bought.id)
    assert connector.find_confirm_shipment(confirmation, "key") is None
    again = confirm(connector, confirmation)
    assert again.reference != before.reference
    assert bought.shipped == {"MUG": 1}


# --- a label that is replaced


def test_a_new_label_shows_its_tracking_alone_on_the_same_shipment(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought
) -> None:
    first = confirm(connector, bought.confirmation("S-1", MUG=2))
    label = replace(bought.confirmation("S-2", MUG=2), carrier="ups", supersedes=first.reference)
    assert confirm(connector, label).reference == first.reference
    (shipment,) = bought.shipments
    assert shipment.tracking == [Tracking("UPS", "RMS-2", None)]
    assert bought.shipped == {"MUG": 2}
    assert shipment.notified == 2
    # Once more changes nothing and mails nobody.
    assert connector.find_confirm_shipment(label, "key") == confirm(connector, label)
    assert (shipment.notified, len(asked(shop, "ChangeTracking"))) == (2, 1)


def test_a_new_label_changes_the_tracking_wherever_the_goods_left(connector: ShopifyConnector, bought: Bought) -> None:
    bought.second_home(MUG=1)
    first = confirm(connector, bought.confirmation("S-1", MUG=3))
    confirm(connector, replace(bought.confirmation("S-2", MUG=3), supersedes=first.reference))
    assert [each.tracking[0].number for each in bought.shipments] == ["RMS-2", "RMS-2"]


def test_a_new_label_for_other_lines_takes_the_place_of_the_shipment(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought
) -> None:
    ids = {part.id for part in bought.parts}
    first = confirm(connector, bought.confirmation("S-1", MUG=3, TEE=2))
    label = replace(bought.confirmation("S-2", MUG=1), supersedes=first.reference)
    result = confirm(connector, label)
    (shipment,) = bought.shipments
    assert (result.reference, held(shipment)) == (str(shipment.id), {"MUG": 1})
    assert shipment.tracking == [Tracking("Royal Mail", "RMS-2", None)]
    assert bought.shipped == {"MUG": 1}
    assert ids.isdisjoint(part.id for part in bought.parts), "canceling makes parts with other ids"
    assert confirm(connector, label) == result
    assert len(asked(shop, "CancelShipment")) == 1


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("units", [2, 1], ids=["the same lines", "other lines"])
def test_whatever_answer_is_lost_the_new_label_is_there_once(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought, fault: Fault, units: int
) -> None:
    first = confirm(connector, bought.confirmation("S-1", MUG=2))
    label = replace(bought.confirmation("S-2", MUG=units), supersedes=first.reference)

    def as_the_hub_does() -> None:
        if connector.find_confirm_shipment(label, "key") is None:
            confirm(connector, label)

    lost_at_every_point(shop, as_the_hub_does, fault)
    assert [(held(each), each.tracking[0].number) for each in bought.shipments] == [({"MUG": units}, "RMS-2")]


def test_a_label_whose_shipment_is_gone_is_a_shipment_of_its_own(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought
) -> None:
    first = confirm(connector, bought.confirmation("S-1", MUG=1))
    shop.cancel_fulfillment(bought.id)
    confirm(connector, replace(bought.confirmation("S-2", MUG=1), supersedes=first.reference))
    assert [(held(each), each.tracking[0].number) for each in bought.shipments] == [({"MUG": 1}, "RMS-2")]


def test_a_label_is_not_done_while_the_old_shipment_stands(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought
) -> None:
    first = confirm(connector, bought.confirmation("S-1", MUG=1))
    by_hand = confirm(connector, bought.confirmation("S-2", TEE=1))
    label = replace(bought.confirmation("S-2", TEE=1), supersedes=first.reference)
    assert connector.find_confirm_shipment(label, "key") is None
    assert confirm(connector, label) == by_hand
    assert bought.shipped == {"TEE": 1}


def test_an_old_shipment_that_somebody_cancels_meanwhile_is_out_of_the_way(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought
) -> None:
    first = confirm(connector, bought.confirmation("S-1", MUG=1))
    shop.fail_next(GRAPHQL, Fault(after_effect=True, meanwhile=lambda: shop.cancel_fulfillment(bought.id)))
    confirm(connector, replace(bought.confirmation("S-2", TEE=1), supersedes=first.reference))
    assert len(asked(shop, "CancelShipment")) == 1
    assert bought.shipped == {"TEE": 1}


def test_an_old_shipment_that_shopify_does_not_cancel_stays_alone(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought
) -> None:
    first = confirm(connector, bought.confirmation("S-1", MUG=1))
    error = {"field": ["id"], "message": "It was delivered."}
    answer = SimResponse.of_json({"data": {"fulfillmentCancel": {"userErrors": [error]}}})
    shop.fail_next(GRAPHQL, Fault(response=answer), after=1)
    said = refused(connector, replace(bought.confirmation("S-2", TEE=1), supersedes=first.reference))
    assert "does not cancel the shipment whose label was replaced: It was delivered." in said
    assert bought.shipped == {"MUG": 1}


def test_a_shipment_of_another_order_is_never_superseded(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought
) -> None:
    other = Bought(shop, [("MUG", 1)])
    first = confirm(connector, other.confirmation("S-1", MUG=1))
    confirm(connector, replace(bought.confirmation("S-2", MUG=1), supersedes=first.reference))
    assert (other.shipped, bought.shipped) == ({"MUG": 1}, {"MUG": 1})
    assert other.shipments[0].tracking == [Tracking("Royal Mail", "RMS-1", None)]


# --- carriers


@pytest.mark.parametrize(
    ("carrier", "name", "shown"),
    [
        ("ups", "", "UPS"),
        ("usps", "United States Postal Service", "USPS"),
        ("royal_mail", "", "Royal Mail"),
        ("dhl_express", "", "DHL Express"),
        ("fedex", "", "FedEx"),
        ("dhl_ecommerce", "", "DHL eCommerce"),
        ("österreichische_post", "", "Österreichische Post"),
        ("auspost", "", "Australia Post"),
        ("", "royal mail", "Royal Mail"),
        ("bike_couriers", "Bike Couriers Ltd.", "Bike Couriers Ltd."),
        ("bike_couriers", "", "Bike Couriers"),
        ("", "", ""),
    ],
)
def test_a_carrier_is_called_what_shopify_calls_it(carrier: str, name: str, shown: str) -> None:
    assert company(carrier, name) == shown


def test_every_name_of_a_carrier_is_one_that_shopify_documents() -> None:
    path = SPECS / "admin_2026-10.json.gz"
    if not path.exists():
        pytest.skip(f"{path.name} is not there: set TALLYHUB_SPECS to the folder with Shopify's published schemas.")
    with gzip.open(path) as file:
        types = json.load(file)["data"]["__schema"]["types"]
    fields = next(kind["fields"] for kind in types if kind["name"] == "FulfillmentTrackingInfo")
    text = next(field["description"] for field in fields if field["name"] == "company")
    lists = " ".join(text.split()).replace("* ", ", ")
    documented = {re.sub(r"^.*\*\*:? ?|\.$", "", name).strip() for name in lists.split(", ")}
    assert set(COMPANIES) - documented == set()
    assert len(COMPANIES) == len(set(COMPANIES)) > 100


# --- holding


def hold_of(bought: Bought, reference: str = "H-1", part: int = 0, **units: int) -> WorkHold:
    return WorkHold(
        reference=reference,
        order_external_id=bought.id,
        work_external_id=str(bought.parts[part].id),
        reason=HoldReason.ADDRESS,
        note="no house number",
        lines=bought.quantities(**units),
    )


def test_a_hold_is_put_there_once_however_often_it_is_asked_for(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought
) -> None:
    hold = hold_of(bought)
    first = connector.hold_work(hold, "key")
    (part,) = bought.parts
    (there,) = part.holds
    assert (part.status, there.reason, there.notes, there.handle) == (
        "ON_HOLD",
        "INCORRECT_ADDRESS",
        "no house number",
        "H-1",
    )
    assert first == EffectResult(str(there.id), {"work_external_id": str(part.id)})
    assert connector.hold_work(hold, "key") == first
    assert len(asked(shop, "Hold")) == len(part.holds) == 1


@pytest.mark.parametrize(
    ("reason", "told_as"),
    [
        (HoldReason.PAYMENT, "AWAITING_PAYMENT"),
        (HoldReason.FRAUD, "HIGH_RISK_OF_FRAUD"),
        (HoldReason.ADDRESS, "INCORRECT_ADDRESS"),
        (HoldReason.BACKORDER, "INVENTORY_OUT_OF_STOCK"),
        (HoldReason.MANUAL, "OTHER"),
    ],
)
def test_the_reason_is_told_in_shopifys_words(
    connector: ShopifyConnector, bought: Bought, reason: HoldReason, told_as: str
) -> None:
    connector.hold_work(replace(hold_of(bought), reason=reason), "key")
    assert [each.reason for each in bought.parts[0].holds] == [told_as]


def test_only_some_lines_are_held_and_the_rest_can_be_shipped(connector: ShopifyConnector, bought: Bought) -> None:
    hold = hold_of(bought, MUG=1)
    connector.hold_work(hold, "key")
    connector.hold_work(hold, "key")
    assert [(part.status, told(part)) for part in bought.parts] == [
        ("ON_HOLD", {"MUG": 1}),
        ("OPEN", {"MUG": 2, "TEE": 2}),
    ]
    confirm(connector, bought.confirmation(MUG=2, TEE=2))
    assert "Incorrect address: no house number" in refused(connector, bought.confirmation("S-2", MUG=1))


def test_a_second_hold_beside_another_and_no_more_than_ten(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought
) -> None:
    shop.fulfillment_orders.hold_by_hand(bought.parts[0], "OTHER")
    for number in range(10):
        connector.hold_work(hold_of(bought, f"H-{number}", MUG=3, TEE=2), "key")
    assert len(bought.parts[0].holds) == 11
    with pytest.raises(Rejected) as limit:
        connector.hold_work(hold_of(bought, "H-10"), "key")
    assert limit.value.code == "FULFILLMENT_ORDER_HOLD_LIMIT_REACHED"
    assert "Release one of the ten holds" in str(limit.value)


def test_a_part_that_is_held_cannot_be_held_in_part(connector: ShopifyConnector, bought: Bought) -> None:
    connector.hold_work(hold_of(bought, "H-1"), "key")
    with pytest.raises(Rejected) as refusal:
        connector.hold_work(hold_of(bought, "H-2", MUG=1), "key")
    assert "can only be held whole" in str(refusal.value)


def test_a_hold_that_was_put_there_while_we_asked_is_ours_all_the_same(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought
) -> None:
    def by_another_worker() -> None:
        shop.fulfillment_orders.add_hold(bought.parts[0], Hold(4711, "INCORRECT_ADDRESS", "", "H-1", by_app=True))

    shop.fail_next(GRAPHQL, Fault(after_effect=True, meanwhile=by_another_worker))
    assert connector.hold_work(hold_of(bought, "H-1"), "key").reference == "4711"
    assert len(asked(shop, "Hold")) == len(bought.parts[0].holds) == 1


def test_somebody_elses_hold_is_not_ours_whatever_it_is_called(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought
) -> None:
    shop.fulfillment_orders.add_hold(bought.parts[0], Hold(4711, "OTHER", "", "H-1", by_app=False))
    connector.hold_work(hold_of(bought, "H-1"), "key")
    assert [each.by_app for each in bought.parts[0].holds] == [False, True]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"work_external_id": "1"}, "does not have this part of the order any more"),
        ({"lines": (LineQuantity(line_external_id="1", quantity=1),)}, "0 of line 1 left to ship, not 1"),
    ],
    ids=["another part", "another line"],
)
def test_what_the_order_does_not_have_is_not_held(
    connector: ShopifyConnector, bought: Bought, change: dict[str, Any], says: str
) -> None:
    with pytest.raises(Rejected) as refusal:
        connector.hold_work(replace(hold_of(bought), **change), "key")
    assert says in str(refusal.value)
    assert bought.parts[0].holds == []


def test_what_is_shipped_is_not_held(connector: ShopifyConnector, bought: Bought) -> None:
    hold = hold_of(bought)
    confirm(connector, bought.confirmation(MUG=3, TEE=2))
    with pytest.raises(Rejected) as refusal:
        connector.hold_work(hold, "key")
    assert "Nothing is left to ship of this part" in str(refusal.value)


def test_only_our_holds_are_released(shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought) -> None:
    (part,) = bought.parts
    foreign = shop.fulfillment_orders.hold_by_hand(part, "OTHER", "ask Ann")
    connector.hold_work(hold_of(bought, "H-1"), "key")
    connector.hold_work(hold_of(bought, "H-2"), "key")
    ours = [str(each.id) for each in part.holds if each.by_app]
    release = WorkRelease(order_external_id=bought.id, work_external_id=str(part.id))
    result = connector.release_work(release, "key")
    assert (result.reference, result.details) == (str(part.id), {"released": ours})
    assert (part.holds, part.status) == ([foreign], "ON_HOLD")
    assert connector.release_work(release, "key").details == {"released": []}
    with pytest.raises(Rejected) as refusal:
        connector.release_work(replace(release, hold_external_ids=(str(foreign.id),)), "key")
    assert str(refusal.value) == "The hold “Other: ask Ann” was not put there by Tallyhub. Release it in Shopify."
    assert part.holds == [foreign]


def test_a_hold_that_is_named_is_released_alone_and_wherever_it_is(connector: ShopifyConnector, bought: Bought) -> None:
    first = connector.hold_work(hold_of(bought, "H-1"), "key")
    second = connector.hold_work(hold_of(bought, "H-2"), "key")
    release = WorkRelease(
        order_external_id=bought.id, work_external_id="1", hold_external_ids=(first.reference, "4711")
    )
    assert connector.release_work(release, "key").details == {"released": [first.reference]}
    assert [str(each.id) for each in bought.parts[0].holds] == [second.reference]
    connector.release_work(replace(release, hold_external_ids=(second.reference,)), "key")
    assert bought.parts[0].status == "OPEN"


# --- moving and splitting


def move_of(bought: Bought, location: str, **units: int) -> WorkMove:
    return WorkMove(
        order_external_id=bought.id,
        work_external_id=str(bought.parts[0].id),
        location_external_id=location,
        lines=bought.quantities(**units),
    )


@pytest.fixture
def town(shop: ShopifySimulator) -> str:
    """Another location that has both products."""
    town = shop.add_location("Store in town")
    for sku in ("MUG", "TEE"):
        shop.stock_at(town, sku, 10)
    return town


def places(bought: Bought) -> dict[str, dict[str, int]]:
    return {bought.shop.locations[part.location]: told(part) for part in bought.parts}


def test_a_part_is_moved_whole_and_once(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought, town: str
) -> None:
    (part,) = bought.parts
    move = move_of(bought, town)
    assert connector.move_work(move, "key") == EffectResult(str(part.id), {"moved": True})
    assert connector.move_work(move, "key") == EffectResult(str(part.id), {"moved": False})
    assert places(bought) == {"Store in town": {"MUG": 3, "TEE": 2}}
    assert len(asked(shop, "Move")) == 1


def test_some_lines_are_moved_and_the_result_says_what_they_are_called_there(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought, town: str
) -> None:
    move = move_of(bought, town, MUG=2)
    result = connector.move_work(move, "key")
    assert places(bought) == {"Main warehouse": {"MUG": 1, "TEE": 2}, "Store in town": {"MUG": 2}}
    assert result.reference == str(bought.parts[1].id)
    assert connector.move_work(move, "key").reference == result.reference
    assert len(asked(shop, "Move")) == 1
    # What goes there later joins it, under another id.
    rest = connector.move_work(replace(move_of(bought, town, TEE=2)), "key")
    assert rest.reference not in (result.reference, str(bought.parts[0].id))
    assert places(bought) == {"Main warehouse": {"MUG": 1}, "Store in town": {"MUG": 2, "TEE": 2}}


def test_only_as_many_units_are_moved_as_the_location_lacks(
    connector: ShopifyConnector, bought: Bought, town: str
) -> None:
    connector.move_work(move_of(bought, town, MUG=1), "key")
    assert connector.move_work(move_of(bought, town, MUG=2), "key").details == {"moved": True}
    assert places(bought) == {"Main warehouse": {"MUG": 1, "TEE": 2}, "Store in town": {"MUG": 2}}


def test_the_rest_of_an_order_follows_what_was_moved_before(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought, town: str
) -> None:
    connector.move_work(move_of(bought, town, MUG=1), "key")
    connector.move_work(move_of(bought, town), "key")
    assert {part.location for part in bought.parts} == {int(town)}
    assert sum((sum(told(part).values()) for part in bought.parts), 0) == 5


def test_a_part_that_joined_another_on_the_way_is_there(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought, town: str
) -> None:
    whole = move_of(bought, town)
    connector.move_work(move_of(bought, town, MUG=3), "key")
    confirm(connector, bought.confirmation(TEE=1))
    moved = connector.move_work(whole, "key")  # of a part that is begun only the rest goes
    assert places(bought) == {"Store in town": {"MUG": 3, "TEE": 1}}
    assert connector.move_work(whole, "key").reference == moved.reference
    assert len(asked(shop, "Move")) == 2


def test_what_was_shipped_is_not_taken_for_moved(connector: ShopifyConnector, bought: Bought, town: str) -> None:
    connector.move_work(move_of(bought, town, MUG=3), "key")
    whole = move_of(bought, town)
    confirm(connector, bought.confirmation(TEE=2))
    with pytest.raises(Rejected) as refusal:
        connector.move_work(whole, "key")
    assert "Nothing is left to ship of this part" in str(refusal.value)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_whatever_answer_is_lost_a_part_is_moved_once(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought, town: str, fault: Fault
) -> None:
    move = move_of(bought, town, MUG=1)
    lost_at_every_point(shop, lambda: connector.move_work(move, "key"), fault)
    assert places(bought) == {"Main warehouse": {"MUG": 2, "TEE": 2}, "Store in town": {"MUG": 1}}


def test_what_cannot_be_moved_says_what_to_do(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought, town: str
) -> None:
    def says(move: WorkMove) -> str:
        with pytest.raises(Rejected) as refusal:
            connector.move_work(move, "key")
        return str(refusal.value)

    (part,) = bought.parts
    empty = shop.add_location("Empty hall")
    assert "Mug is not stocked at Empty hall" in says(move_of(bought, empty))
    assert "Location does not exist" in says(move_of(bought, "999"))
    shop.fulfillment_orders.report_progress(part)
    assert "mark it as open in Shopify, then move it" in says(move_of(bought, town))
    part.reported = False
    shop.fulfillment_orders.ask(part)
    assert "request status is submitted" in says(move_of(bought, town))
    part.request = "UNSUBMITTED"
    stays = {"Main warehouse": {"MUG": 3, "TEE": 2}}
    assert places(bought) == stays
    connector.move_work(move_of(bought, town), "key")
    assert places(bought) != stays


@pytest.mark.parametrize("splits_off", [True, False], ids=["the rest keeps its id", "what is split off keeps the id"])
def test_a_split_says_which_part_it_made_and_is_done_once(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought, splits_off: bool
) -> None:
    shop.fulfillment_orders.splits_off = splits_off
    split = WorkSplit(
        order_external_id=bought.id, work_external_id=str(bought.parts[0].id), lines=bought.quantities(MUG=1, TEE=1)
    )
    result = connector.split_work(split, "key")
    parts = {str(part.id): told(part) for part in bought.parts}
    assert sorted(parts.values(), key=str) == [{"MUG": 1, "TEE": 1}, {"MUG": 2, "TEE": 1}]
    assert parts[result.reference] == {"MUG": 1, "TEE": 1}
    again = connector.split_work(split, "key")
    assert (again.reference, again.details) == (result.reference, {"split": False})
    assert len(asked(shop, "Split")) == 1


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_whatever_answer_is_lost_a_part_is_split_once(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought, fault: Fault
) -> None:
    split = WorkSplit(
        order_external_id=bought.id, work_external_id=str(bought.parts[0].id), lines=bought.quantities(MUG=1)
    )
    lost_at_every_point(shop, lambda: connector.split_work(split, "key"), fault)
    assert [told(part) for part in bought.parts] == [{"MUG": 2, "TEE": 2}, {"MUG": 1}]


def test_more_than_a_part_has_is_not_split_off(connector: ShopifyConnector, bought: Bought) -> None:
    split = WorkSplit(
        order_external_id=bought.id, work_external_id=str(bought.parts[0].id), lines=bought.quantities(MUG=4)
    )
    with pytest.raises(Rejected) as refusal:
        connector.split_work(split, "key")
    assert "3 of “Mug” left to ship, not 4" in str(refusal.value)
    assert len(bought.parts) == 1


# --- answering


@pytest.mark.parametrize(
    ("question", "request_status", "accepted", "ends"),
    [
        (WorkQuestion.FULFILLMENT, "SUBMITTED", True, ("IN_PROGRESS", "ACCEPTED")),
        (WorkQuestion.FULFILLMENT, "SUBMITTED", False, ("OPEN", "REJECTED")),
        (WorkQuestion.CANCELLATION, "CANCELLATION_REQUESTED", True, ("CANCELLED", "CANCELLATION_ACCEPTED")),
        (WorkQuestion.CANCELLATION, "CANCELLATION_REQUESTED", False, ("IN_PROGRESS", "CANCELLATION_REJECTED")),
    ],
)
def test_what_the_merchant_asks_is_answered_once(
    shop: ShopifySimulator,
    connector: ShopifyConnector,
    bought: Bought,
    question: WorkQuestion,
    request_status: str,
    accepted: bool,
    ends: tuple[str, str],
) -> None:
    (part,) = bought.parts
    shop.fulfillment_orders.services.add(part.location)
    answer = WorkAnswer(
        order_external_id=bought.id,
        work_external_id=str(part.id),
        question=question,
        accepted=accepted,
        message="out of boxes",
    )
    with pytest.raises(Rejected) as early:
        connector.answer_work(answer, "key")
    assert "the request is unsubmitted" in str(early.value)
    shop.fulfillment_orders.ask(part, request_status)
    assert connector.answer_work(answer, "key") == EffectResult(str(part.id), {"answered": True})
    assert (part.status, part.request) == ends
    assert connector.answer_work(answer, "key").details == {"answered": False}
    with pytest.raises(Rejected):
        connector.answer_work(replace(answer, accepted=not accepted), "key")
    assert (part.status, part.request) == ends
    # Canceled goods are there to be shipped by somebody else.
    assert sum((sum(told(each).values()) for each in bought.parts), 0) == 5


def test_a_part_of_somebody_elses_service_is_not_answered_for(
    shop: ShopifySimulator, connector: ShopifyConnector, bought: Bought
) -> None:
    (part,) = bought.parts
    shop.fulfillment_orders.ask(part)
    answer = WorkAnswer(
        order_external_id=bought.id,
        work_external_id=str(part.id),
        question=WorkQuestion.FULFILLMENT,
        accepted=True,
    )
    with pytest.raises(Rejected) as refusal:
        connector.answer_work(answer, "key")
    assert "Shopify does not take the request as accepted: Fulfillment order does not exist" in str(refusal.value)
    assert part.request == "SUBMITTED"
    with pytest.raises(NotFound):
        connector.answer_work(replace(answer, work_external_id="1"), "key")
