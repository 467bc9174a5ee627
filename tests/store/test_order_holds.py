"""Holds: placed and lifted by what the channel says and by people, each explained, and never again once looked at."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from hub.core.model import ChannelWork, Hold, HoldReason, LineQuantity, Order, OrderStatus, Risk, RiskLevel, WorkStatus
from hub.errors import BadInput, Conflict
from hub.store import holds
from hub.store import tables as t
from tests.core.making import a_line, minutes
from tests.store.bench import HOME, to_ship
from tests.store.warehouse import OWNER, Warehouse

RISKY = Risk(level=RiskLevel.HIGH, reasons=("The card is from elsewhere", "Three tries"))


def held(warehouse: Warehouse) -> list[tuple[str, str, str]]:
    """(reason, note, placed by) of what holds the order now."""
    rows = warehouse.rows(t.order_hold, t.order_hold.c.released_at.is_(None))
    return sorted((row.reason, row.note, row.placed_by) for row in rows)


def later(order: Order, **changed: Any) -> Order:
    return replace(order, version=minutes(5), **changed)


# What the channel says, why that holds the order, and what it says when it is over.
CASES: dict[str, tuple[dict[str, Any], tuple[str, str, str], dict[str, Any]]] = {
    "risk": (
        {"risk": RISKY},
        ("fraud", "The card is from elsewhere; Three tries", ""),
        {"risk": Risk(level=RiskLevel.LOW)},
    ),
    "unpaid": (
        {"paid": False},
        ("payment", "The channel asks for it to be shipped, and nobody has paid for it yet.", ""),
        {"paid": True},
    ),
    "address": (
        {"shipping_address": replace(HOME, postcode="")},
        ("address", "The postal code is missing.", ""),
        {"shipping_address": HOME},
    ),
    "channel": (
        {"holds": (Hold(external_id="h1", reason=HoldReason.MANUAL, note="Wait", held_by="Mia"),)},
        ("manual", "Wait", "Mia"),
        {"holds": ()},
    ),
    "channel's work": (
        {
            "work": (
                ChannelWork(
                    external_id="w1",
                    status=WorkStatus.ON_HOLD,
                    lines=(LineQuantity(line_external_id="1", quantity=1),),
                    holds=(Hold(external_id="h2", reason=HoldReason.ADDRESS),),
                ),
            )
        },
        ("address", "", ""),
        {"work": ()},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_an_order_is_held_for_what_its_channel_says_and_no_longer_than_that(warehouse: Warehouse, case: str) -> None:
    said, hold, over = CASES[case]
    shop = warehouse.connect()
    order = to_ship(a_line(1), **said)

    warehouse.hear(shop, order)
    assert held(warehouse) == [hold]
    warehouse.hear(shop, later(order, note="Something else changed"))
    assert held(warehouse) == [hold], "it is held once"
    warehouse.hear(shop, replace(order, version=minutes(9), **over))

    assert held(warehouse) == []
    lines = [row.summary for row in warehouse.rows(t.activity) if row.kind in ("order_held", "hold_released")]
    assert [line.startswith("On hold, it ") for line in sorted(lines)] == [False, True]
    assert warehouse.rows(t.routing_mark), "what waited for it goes on"


def test_an_order_that_is_not_to_be_shipped_is_not_held_by_the_hub(warehouse: Warehouse) -> None:
    shop, wrong = warehouse.connect(), {"shipping_address": replace(HOME, city=""), "paid": False, "risk": RISKY}
    warehouse.hear(
        shop,
        to_ship(a_line(1, requires_shipping=False), id="1", **wrong),
        to_ship(a_line(1, fulfilled=1), id="2", **wrong),
        to_ship(a_line(1), id="3", status=OrderStatus.PENDING, **wrong),
        to_ship(a_line(1), id="4", status=OrderStatus.CANCELLED, holds_stock=False, **wrong),
    )

    assert held(warehouse) == []


def test_a_hold_of_the_hub_ends_with_the_order(warehouse: Warehouse) -> None:
    shop, order = warehouse.connect(), to_ship(a_line(1), risk=RISKY)
    warehouse.hear(shop, order)

    warehouse.hear(shop, later(order, status=OrderStatus.CANCELLED, holds_stock=False))

    assert held(warehouse) == []


def test_a_body_that_says_nothing_of_the_risk_lifts_no_hold(warehouse: Warehouse) -> None:
    shop, order = warehouse.connect(), to_ship(a_line(1), risk=RISKY)
    warehouse.hear(shop, order)

    warehouse.hear(shop, later(order, risk=None, whole=False, note="New"))

    assert [reason for reason, _, _ in held(warehouse)] == ["fraud"]


# ---------------------------------------------------------------- people


def test_a_person_holds_an_order_and_another_one_releases_it(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    warehouse.hear(shop, to_ship(a_line(1)))
    order_id = warehouse.row(t.sales_order).id

    holds.hold_order(warehouse.database, warehouse.merchant, order_id, HoldReason.MANUAL, " Ask first ", OWNER)
    assert held(warehouse) == [("manual", "Ask first", OWNER)]
    warehouse.hear(shop, later(to_ship(a_line(1)), note="Something else"))
    assert held(warehouse) == [("manual", "Ask first", OWNER)], "no import takes it off"
    (hold,) = warehouse.rows(t.order_hold)
    connection_id = holds.release(warehouse.database, warehouse.merchant, order_id, hold.id, "joan@example.test")

    assert connection_id == shop
    (hold,) = warehouse.rows(t.order_hold)
    assert (hold.released_by, hold.released_at is not None) == ("joan@example.test", True)
    line = warehouse.row(t.activity, t.activity.c.kind == "hold_released")
    assert (line.actor, line.summary) == ("joan@example.test", "No longer on hold (manual)")
    with pytest.raises(Conflict, match="taken off already"):
        holds.release(warehouse.database, warehouse.merchant, order_id, hold.id, OWNER)


def test_a_hold_needs_a_reason_in_words(warehouse: Warehouse) -> None:
    warehouse.hear(warehouse.connect(), to_ship(a_line(1)))
    order_id = warehouse.row(t.sales_order).id

    with pytest.raises(BadInput) as refused:
        holds.hold_order(warehouse.database, warehouse.merchant, order_id, HoldReason.FRAUD, "  ", OWNER)

    assert refused.value.fields == {"note": ["Say why."]}
    assert held(warehouse) == []


@pytest.mark.parametrize("case", ["risk", "unpaid", "address"])
def test_what_a_person_has_let_go_is_not_held_again_for_the_same(warehouse: Warehouse, case: str) -> None:
    said, _, _ = CASES[case]
    shop, order = warehouse.connect(), to_ship(a_line(1), **said)
    warehouse.hear(shop, order)
    order_id = warehouse.row(t.sales_order).id
    (hold,) = warehouse.rows(t.order_hold)
    holds.release(warehouse.database, warehouse.merchant, order_id, hold.id, OWNER)

    warehouse.hear(shop, later(order, note="New"))

    assert held(warehouse) == []


def test_an_address_that_is_wrong_in_another_way_is_held_again(warehouse: Warehouse) -> None:
    shop, order = warehouse.connect(), to_ship(a_line(1), shipping_address=replace(HOME, postcode=""))
    warehouse.hear(shop, order)
    order_id = warehouse.row(t.sales_order).id
    (hold,) = warehouse.rows(t.order_hold)
    holds.release(warehouse.database, warehouse.merchant, order_id, hold.id, OWNER)

    warehouse.hear(shop, later(order, shipping_address=replace(HOME, city="")))

    assert held(warehouse) == [("address", "The city is missing.", "")]


def test_only_the_channel_takes_off_its_own_hold(warehouse: Warehouse) -> None:
    warehouse.hear(warehouse.connect(), to_ship(a_line(1), **CASES["channel"][0]))
    order_id = warehouse.row(t.sales_order).id
    (hold,) = warehouse.rows(t.order_hold)

    with pytest.raises(Conflict, match="The channel holds this order"):
        holds.release(warehouse.database, warehouse.merchant, order_id, hold.id, OWNER)

    assert len(held(warehouse)) == 1


def test_waiting_for_stock_holds_an_order_until_it_is_there(warehouse: Warehouse) -> None:
    warehouse.hear(warehouse.connect(), to_ship(a_line(1)))
    order_id = warehouse.row(t.sales_order).id

    for waits in (True, True, False, False):
        with warehouse.database.write() as connection:
            at = warehouse.database.now(connection)
            holds.wait_for_stock(connection, warehouse.merchant, {order_id: waits}, at=at)
        assert [reason for reason, _, _ in held(warehouse)] == (["backorder"] if waits else [])

    assert len(warehouse.rows(t.order_hold)) == 1


def test_an_order_whose_customer_is_forgotten_is_not_held_for_its_address(warehouse: Warehouse) -> None:
    shop, order = warehouse.connect(), to_ship(a_line(1))
    warehouse.hear(shop, order)
    with warehouse.database.write() as connection:
        connection.execute(update(t.sales_order).values(erased_at=warehouse.database.now(connection)))

    warehouse.hear(shop, later(order, note="New"))

    assert held(warehouse) == []
