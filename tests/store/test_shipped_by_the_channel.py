"""Orders that their channel ships from a warehouse of its own: kept and shown, and nothing of ours moves for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from hub.core.model import Address, Hold, HoldReason, Order, OrderStatus, Risk, RiskLevel
from hub.store import matching, routing, routing_queue
from hub.store import tables as t
from hub.store.queries import orders
from tests.core.making import a_line, minutes
from tests.store.bench import Bench, to_ship
from tests.store.warehouse import OWNER, Warehouse

NOWHERE = Address(city="Bremen", country="DE")


@pytest.fixture
def shop(warehouse: Warehouse) -> UUID:
    """A live shop that sells mugs, of which ten are there."""
    shop = warehouse.connect("amber", live=True)
    warehouse.listing(shop, "mug", warehouse.sku("MUG", 10))
    return shop


def theirs(order: Order, minute: int = 1, **more: Any) -> Order:
    return replace(order, version=minutes(minute), shipped_by_channel=True, **more)


def level(warehouse: Warehouse) -> tuple[int, int]:
    return warehouse.level(warehouse.row(t.sku).id)


def deal_out(warehouse: Warehouse) -> None:
    """What the lane "route" does."""
    with warehouse.database.write() as connection:
        at = warehouse.database.now(connection)
        routing.route(connection, warehouse.merchant, [row.id for row in warehouse.rows(t.sales_order)], at=at)


def test_it_holds_nothing_and_nothing_holds_it(warehouse: Warehouse, shop: UUID) -> None:
    odd = {
        "paid": False,
        "shipping_address": NOWHERE,
        "risk": Risk(level=RiskLevel.HIGH),
        "holds": (Hold(external_id="h", reason=HoldReason.CANCELLATION, note="Too late"),),
    }

    warehouse.hear(shop, theirs(to_ship(a_line(3), **odd)))

    row = warehouse.row(t.sales_order)
    assert (row.shipped_by_channel, row.holds_stock, row.hold_until) == (True, False, None)
    assert (level(warehouse), warehouse.rows(t.backorder)) == ((10, 0), [])
    assert warehouse.rows(t.order_hold) == []
    assert warehouse.rows(t.issue) == []
    warehouse.sound()


def test_more_than_there_is_waits_for_nothing(warehouse: Warehouse, shop: UUID) -> None:
    warehouse.hear(shop, theirs(to_ship(a_line(30))))

    assert (warehouse.rows(t.backorder), warehouse.rows(t.shortage), warehouse.rows(t.issue)) == ([], [], [])


def test_it_is_never_dealt_out(warehouse: Warehouse, shop: UUID) -> None:
    warehouse.hear(shop, theirs(to_ship(a_line(3))))
    with warehouse.database.write() as connection:
        at = warehouse.database.now(connection)
        routing_queue.mark(connection, warehouse.merchant, [warehouse.row(t.sales_order).id], at=at)

    deal_out(warehouse)

    assert warehouse.rows(t.fulfillment_order) == []


def test_when_the_channel_takes_an_order_over_its_stock_comes_back_and_nobody_packs_it(
    warehouse: Warehouse, shop: UUID
) -> None:
    order = to_ship(a_line(3))
    warehouse.hear(shop, order)
    bench = Bench(warehouse)
    assert (level(warehouse), bench.state) == ((10, 3), "open")

    warehouse.hear(shop, theirs(order))

    assert (level(warehouse), bench.state) == ((10, 0), "cancelled")
    line = warehouse.row(t.activity, t.activity.c.kind == "fulfillment_withdrawn")
    assert line.summary == f"{bench.row.reference} is not to be shipped: order #100: its channel ships it"  # type: ignore[attr-defined]
    (edit,) = warehouse.rows(t.order_version)
    assert [(each["part"], each["before"], each["after"]) for each in edit.changes] == [
        ("shipped_by_channel", False, True)
    ]
    warehouse.sound()

    warehouse.hear(shop, theirs(order, 2, status=OrderStatus.FULFILLED, lines=(a_line(3, fulfilled=3),)))
    assert level(warehouse) == (10, 0)
    warehouse.sound()


def test_when_it_comes_back_to_us_it_takes_its_stock_again(warehouse: Warehouse, shop: UUID) -> None:
    order = to_ship(a_line(3))
    warehouse.hear(shop, theirs(order))

    warehouse.hear(shop, replace(order, version=minutes(2)))

    assert (level(warehouse), warehouse.row(t.sales_order).shipped_by_channel) == ((10, 3), False)
    warehouse.sound()


def test_the_list_can_be_narrowed_to_them(warehouse: Warehouse, shop: UUID) -> None:
    warehouse.hear(shop, to_ship(a_line(1), id="1"), theirs(to_ship(a_line(1), id="2")))

    def shown(marked: str) -> list[tuple[str, bool]]:
        with warehouse.database.read() as connection:
            found = orders.orders(connection, warehouse.merchant, orders.OrderFilter(marked=marked))
        return [(each.number, each.shipped_by_channel) for each in found]

    assert sorted(shown("")) == [("#1", False), ("#2", True)]
    assert shown("by_channel") == [("#2", True)]


def test_a_match_made_later_reserves_nothing_for_it(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    warehouse.sku("MUG", 10)
    listing = warehouse.listing(shop, "mug", None)
    warehouse.hear(shop, theirs(to_ship(a_line(3))))
    assert warehouse.rows(t.issue) == [], "nobody is asked to match it for that"

    matching.bind(warehouse.database, warehouse.merchant, listing, "MUG", OWNER)

    with warehouse.database.read() as connection:
        assert connection.execute(select(t.order_line.c.sku_id)).scalar_one() is not None
    assert level(warehouse) == (10, 0)
    warehouse.sound()
