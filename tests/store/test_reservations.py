"""Reservations in the database: kits, orders held together, those who are woken, and what nobody paid for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.exc import DBAPIError

from hub.core.model import Order
from hub.core.stock import Cause
from hub.store import matching, orders, stock
from hub.store import tables as t
from hub.store.database import new_id
from tests.core.making import a_line, an_order, minutes
from tests.store.warehouse import OWNER, Warehouse


class GiftShop:
    """Sells mugs, tees, and boxes of two mugs and a tee; ``mugs`` and ``tees`` are on the shelf."""

    def __init__(self, warehouse: Warehouse, mugs: int, tees: int) -> None:
        self.warehouse = warehouse
        self.connection = warehouse.connect(live=True)
        self.mug, self.tee = warehouse.sku("MUG", mugs), warehouse.sku("TEE", tees)
        self.box = warehouse.kit("BOX", {self.mug: 2, self.tee: 1})
        for listing, sku in (("mug", self.mug), ("tee", self.tee), ("box", self.box)):
            warehouse.listing(self.connection, listing, sku)

    def sell(self, listing: str, units: int, order: str, *, placed: float = 0) -> None:
        self.warehouse.hear(
            self.connection, an_order(a_line(units, listing=listing), id=order, placed_at=minutes(placed))
        )

    def deliver(self, sku_id: UUID, units: int) -> None:
        """Units come in, and nobody tries the woken yet."""
        database, merchant = self.warehouse.database, self.warehouse.merchant
        with database.write() as connection:
            book = stock.open_book(connection, merchant, [sku_id]).book
            reference = f"delivery/{new_id()}"
            book.correct(book.places(sku_id)[0], units, Cause.RECEIVED, reference)
            book.serve(reference)
            stock.write_book(connection, merchant, book, at=database.now(connection))

    def wake(self) -> set[UUID]:
        return stock.serve_woken(self.warehouse.database, self.warehouse.merchant)

    def woken(self) -> bool:
        with self.warehouse.database.read() as connection:
            return stock.has_woken(connection, self.warehouse.merchant)

    def held(self) -> dict[str, int]:
        """Units of SKUs that are allocated, by order."""
        with self.warehouse.database.read() as connection:
            rows = connection.execute(
                select(t.sales_order.c.external_id, t.allocation.c.quantity)
                .join_from(t.allocation, t.order_line, t.order_line.c.id == t.allocation.c.order_line_id)
                .join(t.sales_order, t.sales_order.c.id == t.order_line.c.order_id)
            ).all()
        found: dict[str, int] = {}
        for order, units in rows:
            found[order] = found.get(order, 0) + units
        return found


@pytest.fixture
def policy(warehouse: Warehouse) -> None:
    """Orders are held together."""
    with warehouse.database.write() as connection:
        connection.execute(
            insert(t.stock_policy).values(
                merchant_id=warehouse.merchant, hold_together=True, queue="first_come", changed_at=warehouse.now()
            )
        )


# ---------------------------------------------------------------- kits


def test_a_kit_reserves_its_parts_and_remembers_them(warehouse: Warehouse) -> None:
    shop = GiftShop(warehouse, 10, 10)

    shop.sell("box", 3, "1")

    assert (warehouse.level(shop.mug), warehouse.level(shop.tee)) == ((10, 6), (10, 3))
    parts = {row.sku_id: row.quantity for row in warehouse.rows(t.order_line_part)}
    assert parts == {shop.mug: 2, shop.tee: 1}


def test_a_kit_that_waits_is_served_by_the_part_it_misses(warehouse: Warehouse) -> None:
    shop = GiftShop(warehouse, 10, 0)
    shop.sell("box", 3, "1")
    rows = {row.sku_id: (row.quantity, row.per_unit, row.missing) for row in warehouse.rows(t.backorder)}
    assert rows == {shop.mug: (3, 2, False), shop.tee: (3, 1, True)}
    assert warehouse.level(shop.mug) == (10, 0)

    shop.deliver(shop.tee, 2)
    assert (shop.woken(), shop.held()) == (True, {})

    shop.wake()

    assert (shop.woken(), shop.held()) == (False, {"1": 6})
    assert (warehouse.level(shop.mug), warehouse.level(shop.tee)) == ((10, 4), (2, 2))
    assert {row.quantity for row in warehouse.rows(t.backorder)} == {1}
    warehouse.sound()


def test_what_a_woken_kit_needs_is_kept_from_those_behind_it(warehouse: Warehouse) -> None:
    shop = GiftShop(warehouse, 0, 1)
    shop.sell("mug", 1, "mug first", placed=1)
    shop.sell("box", 1, "box", placed=2)
    shop.sell("mug", 2, "mug later", placed=3)

    shop.deliver(shop.mug, 4)
    shop.sell("mug", 2, "newcomer", placed=4)
    assert shop.held() == {"mug first": 1, "mug later": 1}

    shop.wake()
    assert shop.held() == {"mug first": 1, "box": 3, "mug later": 1}
    warehouse.sound()


def test_what_a_woken_kit_cannot_use_goes_to_those_behind_it(warehouse: Warehouse) -> None:
    shop = GiftShop(warehouse, 0, 0)
    shop.sell("box", 1, "box", placed=2)
    shop.sell("mug", 3, "mug later", placed=3)
    shop.deliver(shop.mug, 3)
    assert shop.held() == {"mug later": 1}

    shop.wake()

    assert shop.held() == {"mug later": 3}
    rows = {row.sku_id: row.missing for row in warehouse.rows(t.backorder)}
    assert rows == {shop.mug: False, shop.tee: True}
    warehouse.sound()


def test_many_kits_are_woken_in_their_turn(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stock, "_WOKEN_AT_ONCE", 2)
    shop = GiftShop(warehouse, 0, 10)
    for number in range(7):
        shop.sell("box", 1, f"box {number}", placed=number)

    shop.deliver(shop.mug, 9)
    shop.wake()

    assert shop.held() == {f"box {number}": 3 for number in range(4)}
    assert not shop.woken()
    warehouse.sound()


def test_a_count_that_takes_a_part_of_a_kit_gives_back_its_other_parts(warehouse: Warehouse) -> None:
    shop = GiftShop(warehouse, 4, 2)
    shop.sell("box", 2, "box")

    warehouse.count(shop.mug, 3)

    assert (warehouse.level(shop.mug), warehouse.level(shop.tee)) == ((3, 2), (2, 1))
    taken = warehouse.row(t.shortage)
    assert (taken.units, taken.taken, taken.sku_id) == (1, True, shop.mug)
    warehouse.sound()


def test_a_kit_sold_before_its_last_part_was_counted_is_held_when_it_is(warehouse: Warehouse) -> None:
    connection = warehouse.connect()
    mug, tee = warehouse.sku("MUG", 5), warehouse.sku("TEE")
    warehouse.listing(connection, "box", warehouse.kit("BOX", {mug: 2, tee: 1}))
    warehouse.hear(connection, an_order(a_line(2, listing="box")))
    assert warehouse.level(mug) == (5, 0)

    warehouse.count(tee, 1)

    assert (warehouse.level(mug), warehouse.level(tee)) == ((5, 2), (1, 1))
    warehouse.sound()


def test_a_listing_matched_to_a_kit_later_gives_its_lines_their_parts(warehouse: Warehouse) -> None:
    connection = warehouse.connect()
    mug, tee = warehouse.sku("MUG", 5), warehouse.sku("TEE", 5)
    kit = warehouse.kit("BOX", {mug: 2, tee: 1})
    listing = warehouse.listing(connection, "box")
    warehouse.hear(connection, an_order(a_line(1, listing="box"), id="open"))
    pending = an_order(a_line(1, listing="box"), id="pending", holds_stock=False)
    warehouse.hear(connection, pending)

    matching.bind(warehouse.database, warehouse.merchant, listing, "BOX", OWNER)
    assert (warehouse.level(mug), warehouse.level(tee)) == ((5, 2), (5, 1))
    assert len(warehouse.rows(t.order_line_part)) == 4

    warehouse.hear(connection, replace(pending, holds_stock=True, version=minutes(1)))
    assert (warehouse.level(mug), warehouse.level(tee)) == ((5, 4), (5, 2))
    assert warehouse.row(t.sku, t.sku.c.id == kit).counted_since is None
    warehouse.sound()


def test_a_part_that_moves_makes_the_kits_listing_due(warehouse: Warehouse) -> None:
    shop = GiftShop(warehouse, 10, 10)
    box = warehouse.row(t.listing, t.listing.c.external_id == "box").id
    with warehouse.database.write() as connection:
        connection.execute(
            insert(t.publication).values(
                merchant_id=warehouse.merchant,
                listing_id=box,
                location_external_id="",
                connection_id=shop.connection,
                version=1,
                published_version=1,
                cause={},
            )
        )

    warehouse.count(shop.mug, 9)
    first = warehouse.row(t.publication, t.publication.c.listing_id == box)
    assert (first.version, first.cause["cause"]) == (2, "adjusted")

    warehouse.count(shop.mug, 8)
    second = warehouse.row(t.publication, t.publication.c.listing_id == box)
    assert (second.version, second.dirty_since) == (3, first.dirty_since)  # since the first change that is not told


# ---------------------------------------------------------------- orders held together


@pytest.mark.usefixtures("policy")
def test_an_order_held_together_is_completed_by_what_it_misses(warehouse: Warehouse) -> None:
    shop = GiftShop(warehouse, 5, 0)
    both = an_order(a_line(2), a_line(1, id="2", listing="tee"), id="both")
    warehouse.hear(shop.connection, both)
    assert (shop.held(), {row.group_id for row in warehouse.rows(t.backorder)}) == (
        {},
        {warehouse.row(t.sales_order).id},
    )

    shop.deliver(shop.tee, 1)
    shop.wake()

    assert shop.held() == {"both": 3}
    warehouse.sound()


@pytest.mark.usefixtures("policy")
def test_an_order_held_together_that_loses_a_unit_waits_for_that_alone(warehouse: Warehouse) -> None:
    shop = GiftShop(warehouse, 2, 2)
    warehouse.hear(shop.connection, an_order(a_line(2), a_line(2, id="2", listing="tee"), id="both"))

    warehouse.count(shop.tee, 1)
    assert shop.held() == {"both": 3}

    shop.deliver(shop.tee, 1)
    shop.wake()
    assert shop.held() == {"both": 4}
    warehouse.sound()


# ---------------------------------------------------------------- unpaid


def unpaid(order: str, **more: object) -> Order:
    return an_order(a_line(2), id=order, paid=False, **more)


def test_what_nobody_paid_for_in_time_is_given_to_who_waits(warehouse: Warehouse) -> None:
    shop = GiftShop(warehouse, 2, 0)
    at = warehouse.now()
    with warehouse.database.write() as connection:
        connection.execute(
            insert(t.stock_policy).values(
                merchant_id=warehouse.merchant, queue="first_come", unpaid_hours=24, changed_at=at
            )
        )
    warehouse.hear(shop.connection, unpaid("unpaid", placed_at=at - timedelta(hours=23)))
    shop.sell("mug", 1, "waits", placed=60)
    assert shop.held() == {"unpaid": 2}
    assert orders.expire_unpaid(warehouse.database, warehouse.merchant) == set()

    warehouse.let_pass(t.sales_order, "hold_until", timedelta(hours=1, seconds=1))
    touched = orders.expire_unpaid(warehouse.database, warehouse.merchant)

    assert (shop.held(), touched) == ({"waits": 1}, {shop.connection} if warehouse.rows(t.publication) else set())
    order = warehouse.row(t.sales_order, t.sales_order.c.external_id == "unpaid")
    assert (order.holds_stock, order.hold_until, order.paid) == (False, None, False)
    said = warehouse.row(t.activity, t.activity.c.kind == "order_unpaid")
    assert said.summary == "Order #unpaid was not paid in time: 2 units given back to stock."
    assert orders.expire_unpaid(warehouse.database, warehouse.merchant) == set()
    warehouse.sound()


# ---------------------------------------------------------------- the ledgers


@pytest.mark.parametrize("verb", ["update", "delete"])
def test_the_database_refuses_to_rewrite_the_ledger(warehouse: Warehouse, verb: str) -> None:
    shop = GiftShop(warehouse, 1, 0)
    shop.sell("mug", 2, "1")
    before = warehouse.digest(t.stock_entry, t.shortage)

    for table, column in ((t.stock_entry, "on_hand_delta"), (t.shortage, "units")):
        statement = update(table).values({column: 99}) if verb == "update" else table.delete()
        with pytest.raises(DBAPIError, match=f"{table.name} is append-only"), warehouse.database.write() as connection:
            connection.execute(statement)

    assert warehouse.digest(t.stock_entry, t.shortage) == before


def test_ledger_entries_are_numbered_without_a_gap_and_keep_every_balance(warehouse: Warehouse) -> None:
    shop = GiftShop(warehouse, 5, 0)
    shop.sell("mug", 2, "1")
    warehouse.count(shop.mug, 9)

    entries = warehouse.rows(t.stock_entry, t.stock_entry.c.sku_id == shop.mug)

    assert [
        (row.number, row.cause, row.on_hand, row.allocated) for row in sorted(entries, key=lambda row: row.number)
    ] == [
        (1, "adopted", 5, 0),
        (2, "allocated", 5, 2),
        (3, "adjusted", 9, 2),
    ]
    assert warehouse.row(t.stock_level, t.stock_level.c.sku_id == shop.mug).entries == 3


@pytest.mark.usefixtures("policy")
def test_a_first_count_does_not_tear_an_order_apart_that_is_held_together(warehouse: Warehouse) -> None:
    connection = warehouse.connect()
    mug, tee = warehouse.sku("MUG", 0), warehouse.sku("TEE")
    warehouse.listing(connection, "mug", mug)
    warehouse.listing(connection, "tee", tee)
    warehouse.hear(connection, an_order(a_line(2), a_line(1, id="2", listing="tee"), id="both"))

    warehouse.count(tee, 5)
    assert (warehouse.level(tee), len(warehouse.rows(t.backorder))) == ((5, 0), 2)

    warehouse.count(mug, 2)
    assert (warehouse.level(mug), warehouse.level(tee)) == ((2, 2), (5, 1))
    warehouse.sound()


@pytest.mark.usefixtures("policy")
def test_a_count_keeps_what_the_other_lines_of_an_order_hold(warehouse: Warehouse) -> None:
    shop = GiftShop(warehouse, 3, 3)
    warehouse.hear(shop.connection, an_order(a_line(3), a_line(3, id="2", listing="tee"), id="both"))
    warehouse.count(shop.tee, 2)
    warehouse.count(shop.mug, 1)
    assert (warehouse.level(shop.mug), warehouse.level(shop.tee)) == ((1, 1), (2, 2))
    warehouse.sound()

    warehouse.count(shop.mug, 3)
    warehouse.count(shop.tee, 3)
    shop.wake()

    assert (warehouse.level(shop.mug), warehouse.level(shop.tee)) == ((3, 3), (3, 3))
    warehouse.sound()
