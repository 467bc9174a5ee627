"""What people say of an order: another address, its priority, its tags; and lines that need no parcel."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update

from hub.core.model import Address, HoldReason, LineKind, Order
from hub.core.priorities import Kind, PriorityRule, Urgency
from hub.errors import BadInput, Conflict
from hub.store import handling, holds
from hub.store import tables as t
from hub.store.handling import HandlingPolicy
from tests.core.making import a_line, minutes
from tests.store.bench import HOME, Bench, to_ship
from tests.store.warehouse import OWNER, Warehouse

NOWHERE = replace(HOME, postcode="")


def only(warehouse: Warehouse) -> Any:
    return warehouse.row(t.sales_order)


def ship_to(warehouse: Warehouse) -> dict[str, str]:
    with warehouse.database.read() as connection:
        found: dict[str, str] = connection.execute(select(t.SHIP_TO)).scalar_one()
    return found


def correct(warehouse: Warehouse, address: Address) -> UUID:
    return handling.correct_address(warehouse.database, warehouse.merchant, only(warehouse).id, address, OWNER)


def held(warehouse: Warehouse) -> list[str]:
    rows = warehouse.rows(t.order_hold, t.order_hold.c.released_at.is_(None))
    return sorted(row.reason for row in rows)


# ---------------------------------------------------------------- the address


def test_a_corrected_address_outranks_the_channels_and_releases_the_order(warehouse: Warehouse) -> None:
    shop, order = warehouse.connect(), to_ship(a_line(1), shipping_address=NOWHERE)
    warehouse.hear(shop, order)
    assert held(warehouse) == ["address"]

    assert correct(warehouse, replace(HOME, country="de")) == shop
    warehouse.hear(shop, replace(order, version=minutes(5), note="Something else changed"))

    assert ship_to(warehouse)["postcode"] == "28195"
    assert only(warehouse).shipping_address.get("postcode") is None, "what the channel says is kept beside"
    assert held(warehouse) == []
    line = warehouse.row(t.activity, t.activity.c.kind == "address_changed")
    assert (line.actor, line.details) == (OWNER, {"changed": ["postcode"]})


def test_the_channels_next_address_holds_again_and_is_looked_at_itself(warehouse: Warehouse) -> None:
    shop, order = warehouse.connect(), to_ship(a_line(1), shipping_address=NOWHERE)
    warehouse.hear(shop, order)
    correct(warehouse, HOME)

    warehouse.hear(shop, replace(order, version=minutes(5), shipping_address=replace(HOME, city="", postcode="10115")))

    assert ship_to(warehouse)["postcode"] == "10115"
    assert held(warehouse) == ["address"]
    said = [row.summary for row in warehouse.rows(t.activity, t.activity.c.kind == "address_changed")]
    assert "The channel says another address now: it holds, and the corrected one is dropped" in said


def test_a_correction_that_cannot_be_right_changes_nothing(warehouse: Warehouse) -> None:
    warehouse.hear(warehouse.connect(), to_ship(a_line(1), shipping_address=NOWHERE))

    with pytest.raises(BadInput) as refused:
        correct(warehouse, replace(HOME, postcode="1", city=""))

    assert refused.value.fields == {
        "city": ["The city is missing."],
        "postcode": ["“1” is no postal code of Germany, such as 26133."],
    }
    assert only(warehouse).own_address is None and held(warehouse) == ["address"]


def test_the_channels_own_address_typed_again_is_no_correction(warehouse: Warehouse) -> None:
    warehouse.hear(warehouse.connect(), to_ship(a_line(1)))
    correct(warehouse, replace(HOME, line1="2 Harbor Road"))
    assert ship_to(warehouse)["line1"] == "2 Harbor Road"

    correct(warehouse, HOME)

    assert only(warehouse).own_address is None


def test_the_address_of_an_order_that_is_over_stays(warehouse: Warehouse) -> None:
    warehouse.hear(warehouse.connect(), to_ship(a_line(1)))
    with warehouse.database.write() as connection:
        connection.execute(update(t.sales_order).values(status="fulfilled"))

    with pytest.raises(Conflict, match="Its address cannot be changed any more"):
        correct(warehouse, replace(HOME, line1="2 Harbor Road"))


# ---------------------------------------------------------------- priority and tags


def test_rules_say_the_priority_of_what_comes_in_and_of_what_is_open(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    warehouse.hear(shop, to_ship(a_line(1), shipping_method="DHL Express"), to_ship(a_line(9), id="200"))
    numbers = {row.number: row.priority for row in warehouse.rows(t.sales_order)}
    assert numbers == {"#100": -20, "#200": 0}

    rules = (PriorityRule(kind=Kind.VALUE, urgency=Urgency.SOON, value=Decimal(90)),)
    changed = handling.save(warehouse.database, warehouse.merchant, HandlingPolicy(priorities=rules), OWNER)

    assert changed == 2
    assert {row.number: row.priority for row in warehouse.rows(t.sales_order)} == {"#100": 0, "#200": -10}
    with warehouse.database.read() as connection:
        assert handling.policy(connection, warehouse.merchant).priorities == rules


@pytest.mark.parametrize("at_once", [1, 2, 3, 500])
def test_the_open_orders_are_ranked_some_at_a_time_and_each_once(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(handling, "_RANKED_AT_ONCE", at_once)
    warehouse.hear(warehouse.connect(), *(to_ship(a_line(9), id=f"{number}") for number in range(200, 204)))
    rules = (PriorityRule(kind=Kind.VALUE, urgency=Urgency.SOON, value=Decimal(90)),)

    assert handling.save(warehouse.database, warehouse.merchant, HandlingPolicy(priorities=rules), OWNER) == 4

    assert [row.priority for row in warehouse.rows(t.sales_order)] == [-10] * 4
    assert handling.save(warehouse.database, warehouse.merchant, HandlingPolicy(priorities=rules), OWNER) == 0


def test_a_persons_word_holds_whatever_comes_in_also_for_what_is_being_packed(warehouse: Warehouse) -> None:
    shop, order = warehouse.connect(), to_ship(a_line(1))
    warehouse.hear(shop, order)
    bench, order_id = Bench(warehouse), only(warehouse).id

    handling.set_priority(warehouse.database, warehouse.merchant, order_id, 10, OWNER)
    warehouse.hear(shop, replace(order, version=minutes(5), shipping_method="Express"))
    assert (only(warehouse).priority, bench.row.priority) == (10, 10)  # type: ignore[attr-defined]
    handling.set_priority(warehouse.database, warehouse.merchant, order_id, None, OWNER)

    assert (only(warehouse).priority, bench.row.priority) == (-20, -20)  # type: ignore[attr-defined]
    said = [row.summary for row in warehouse.rows(t.activity, t.activity.c.kind == "priority_set")]
    assert sorted(said) == ["Its priority is 10 now", "Its priority is left to the rules again"]


def test_tags_of_people_stand_beside_those_of_the_channel(warehouse: Warehouse) -> None:
    shop, order = warehouse.connect(), to_ship(a_line(1), tags=("VIP",))
    warehouse.hear(shop, order)
    rules = (PriorityRule(kind=Kind.TAG, urgency=Urgency.URGENT, words=("rush",)),)
    handling.save(warehouse.database, warehouse.merchant, HandlingPolicy(priorities=rules), OWNER)

    handling.set_tags(
        warehouse.database, warehouse.merchant, only(warehouse).id, [" rush ", "", "rush", "gift  wrap"], OWNER
    )
    warehouse.hear(shop, replace(order, version=minutes(5), tags=("wholesale",)))

    row = only(warehouse)
    assert (row.tags, row.own_tags, row.priority) == (["wholesale"], ["rush", "gift wrap"], -20)
    with pytest.raises(BadInput):
        handling.set_tags(warehouse.database, warehouse.merchant, row.id, ["x" * 41], OWNER)
    with pytest.raises(BadInput):
        handling.set_tags(warehouse.database, warehouse.merchant, row.id, map(str, range(21)), OWNER)  # type: ignore[arg-type]
    assert only(warehouse).own_tags == ["rush", "gift wrap"]


# ---------------------------------------------------------------- lines without a parcel


def digital(**more: Any) -> Order:
    """A mug, two e-books of which one is refunded, and a gift card."""
    return to_ship(
        a_line(1),
        a_line(2, id="2", listing="ebook", requires_shipping=False, removed=1),
        a_line(1, id="3", listing=None, requires_shipping=False, kind=LineKind.GIFT_CARD),
        **more,
    )


def confirmed(warehouse: Warehouse) -> list[list[dict[str, Any]]]:
    rows = warehouse.rows(t.effect, t.effect.c.kind == "confirm_shipment")
    return [row.request["lines"] for row in rows]


def test_what_needs_no_parcel_is_confirmed_once_it_is_paid_and_only_once(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    plan = warehouse.hear(shop, digital(paid=False))
    assert confirmed(warehouse) == []

    plan = warehouse.hear(shop, digital(version=minutes(1)))
    warehouse.hear(shop, digital(version=minutes(2), note="Not heard of it yet"))

    assert confirmed(warehouse) == [[{"line_external_id": "2", "quantity": 1}]]
    assert (shop, "effects") in plan.lanes
    request = warehouse.row(t.effect, t.effect.c.kind == "confirm_shipment").request
    assert (request["order_external_id"], request.get("tracking_numbers", [])) == ("100", [])
    assert warehouse.row(t.activity, t.activity.c.kind == "digital_confirmed").summary == (
        "1 unit needs no parcel: the channel is told"
    )


def test_what_is_added_to_the_order_later_is_confirmed_too(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    warehouse.hear(shop, to_ship(a_line(1, listing="ebook", requires_shipping=False)))

    more = to_ship(
        a_line(1, listing="ebook", requires_shipping=False, fulfilled=1),
        a_line(1, id="2", listing="song", requires_shipping=False),
        version=minutes(1),
    )
    warehouse.hear(shop, more)

    assert sorted(confirmed(warehouse), key=str) == [
        [{"line_external_id": "1", "quantity": 1}],
        [{"line_external_id": "2", "quantity": 1}],
    ]


def test_a_merchant_who_does_it_himself_is_left_alone(warehouse: Warehouse) -> None:
    handling.save(warehouse.database, warehouse.merchant, HandlingPolicy(confirms_digital=False), OWNER)

    warehouse.hear(warehouse.connect(), digital())

    assert confirmed(warehouse) == []


def test_an_order_on_hold_gets_nothing_until_it_is_released(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    warehouse.hear(shop, digital(paid=False))
    order_id = only(warehouse).id
    holds.hold_order(warehouse.database, warehouse.merchant, order_id, HoldReason.FRAUD, "Odd", OWNER)
    warehouse.hear(shop, digital(version=minutes(1)))
    assert confirmed(warehouse) == []
    hold = warehouse.row(t.order_hold, t.order_hold.c.reason == "fraud")

    lanes = handling.release(warehouse.database, warehouse.merchant, order_id, hold.id, OWNER)

    assert lanes == [(shop, "route"), (shop, "ship"), (shop, "effects")]
    assert confirmed(warehouse) == [[{"line_external_id": "2", "quantity": 1}]]
