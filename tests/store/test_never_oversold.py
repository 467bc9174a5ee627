"""Never oversold: real processes race for the last units, and each of the guards alone is enough."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from uuid import UUID

import pytest
from sqlalchemy import Connection, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from hub.children import Child
from hub.core.model import Order, OrderStatus
from hub.core.services import Received
from hub.core.stock import Cause, Claim, Movement
from hub.store import orders, stock
from hub.store import tables as t
from hub.store import warehouse as acts
from hub.store.database import Database, new_id
from hub.store.stock import StockMoved
from tests.core.making import a_line, an_order, minutes
from tests.store.warehouse import OWNER, Warehouse

BUYERS, UNITS, PROCESSES = 120, 30, 8


def at_once(database: Database, tasks: Sequence[Callable[[], object]], seconds: float = 600.0) -> None:
    """Run each task in a process of its own, all at the same time, and expect an orderly end of every one."""
    database.close()
    children = []
    for task in tasks:

        def live(task: Callable[[], object] = task) -> None:
            database.forget_connections()
            task()

        children.append(Child(live, seconds))
    reasons = []
    for child in children:
        while (ended := child.ended()) is None:
            time.sleep(0.01)
        reasons.append(ended.reason)
    assert reasons == [""] * len(tasks)


def buy(warehouse: Warehouse, connection_id: UUID, bought: Sequence[Order]) -> None:
    """Import these orders one at a time, each in a transaction of its own."""
    for order in bought:
        warehouse.hear(connection_id, order)


def spread(bought: Sequence[Order]) -> list[list[Order]]:
    return [list(bought[start::PROCESSES]) for start in range(PROCESSES)]


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("rounds", [1, pytest.param(50, marks=pytest.mark.chaos)])
def test_exactly_what_there_is_is_allocated(warehouse: Warehouse, rounds: int) -> None:
    shops = [warehouse.connect(), warehouse.connect()]
    for number in range(rounds):
        sku = warehouse.sku(f"MUG-{number}", UNITS)
        for shop in shops:
            warehouse.listing(shop, f"mug-{number}", sku)
        bought = [
            an_order(a_line(1, listing=f"mug-{number}"), id=f"{number}/{buyer}", placed_at=minutes(buyer))
            for buyer in range(BUYERS)
        ]

        at_once(
            warehouse.database,
            [partial(buy, warehouse, shops[index % 2], part) for index, part in enumerate(spread(bought))],
        )

        assert warehouse.level(sku) == (UNITS, UNITS)
        waiting = warehouse.waiting(sku)
        assert (len(waiting), set(waiting.values())) == (BUYERS - UNITS, {1})
        entries = warehouse.rows(t.stock_entry, t.stock_entry.c.sku_id == sku)
        assert sum(each.allocated_delta for each in entries) == UNITS
        assert [each.on_hand_delta for each in entries if each.on_hand_delta] == [UNITS]
        assert sum(each.cause == Cause.ALLOCATED for each in entries) == UNITS
    warehouse.sound()


def test_buying_cancelling_shipping_and_counting_at_once_leaves_everything_sound(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    skus = [warehouse.sku(f"MUG-{number}", 20) for number in range(3)]
    for number, sku in enumerate(skus):
        warehouse.listing(shop, f"mug-{number}", sku)

    def trade(seed: int) -> None:
        chance = random.Random(seed)
        for number in range(12):
            # The same SKUs in every order of lines, so that locks are wanted in every order, too.
            listings = chance.sample(range(3), 2)
            lines = [a_line(chance.randint(1, 3), id=str(each), listing=f"mug-{each}") for each in listings]
            order = an_order(*lines, id=f"{seed}/{number}", placed_at=minutes(chance.randint(0, 60)))
            warehouse.hear(shop, order)
            over = chance.random()
            if over < 0.35:
                warehouse.hear(shop, ended(order, OrderStatus.CANCELLED))
            elif over < 0.7:
                warehouse.hear(shop, ended(order, OrderStatus.FULFILLED))
            elif over < 0.8:
                warehouse.hear(shop, Received(order.external_id, None, minutes(90)))

    def count(seed: int) -> None:
        chance = random.Random(seed)
        location = warehouse.location()
        for number in range(15):
            sku = chance.choice(skus)
            acts.adjust(
                warehouse.database,
                warehouse.merchant,
                sku,
                location,
                chance.randint(0, 40),
                "counted",
                OWNER,
                f"{seed}/{number}",
            )

    before = deadlocks(warehouse.database)
    at_once(
        warehouse.database, [*(partial(trade, seed) for seed in range(5)), *(partial(count, seed) for seed in (5, 6))]
    )

    assert deadlocks(warehouse.database) == before, "everybody locks in the same order"
    warehouse.sound()
    assert len(warehouse.rows(t.sales_order)) == 60


def deadlocks(database: Database) -> int:
    """How often PostgreSQL had to end a transaction because two waited for each other, since ever."""
    if database.engine.dialect.name == "sqlite":
        return 0
    with database.read() as connection:
        counted = text("select deadlocks from pg_stat_database where datname = current_database()")
        return int(connection.execute(counted).scalar_one())


def ended(order: Order, status: OrderStatus) -> Order:
    shipped = status is OrderStatus.FULFILLED
    return an_order(
        *(
            a_line(
                line.quantity,
                id=line.external_id,
                listing=line.listing_external_id,
                fulfilled=line.quantity if shipped else 0,
                removed=0 if shipped else line.quantity,
            )
            for line in order.lines
        ),
        id=order.external_id,
        version=minutes(60),
        placed_at=order.placed_at,
        status=status,
        holds_stock=False,
    )


# ---------------------------------------------------------------- each guard alone


@pytest.mark.parametrize(
    ("on_hand", "allocated"),
    [(3, 4), (-1, 0), (3, -1), (0, 1)],
    ids=["oversold", "less than nothing", "gives what it has not", "the last one gone"],
)
def test_the_database_itself_refuses_an_impossible_balance(warehouse: Warehouse, on_hand: int, allocated: int) -> None:
    sku = warehouse.sku("MUG", 3)

    with pytest.raises(IntegrityError, match=r"(?i)check"), warehouse.database.write() as connection:
        connection.execute(update(t.stock_level).values(on_hand=on_hand, allocated=allocated))

    assert warehouse.level(sku) == (3, 0)


def test_the_constraint_alone_stops_racing_processes_that_look_before_they_write(warehouse: Warehouse) -> None:
    """Forty buyers who forget every rule but to look: read, think, write."""
    sku = warehouse.sku("MUG", 10)

    def buy_carelessly() -> None:
        for _ in range(5):
            with warehouse.database.read() as connection:
                free = connection.execute(select(t.stock_level.c.on_hand - t.stock_level.c.allocated)).scalar_one()
            if free <= 0:
                continue
            try:
                with warehouse.database.write() as connection:
                    connection.execute(update(t.stock_level).values(allocated=t.stock_level.c.allocated + 1))
            except IntegrityError:
                continue

    at_once(warehouse.database, [buy_carelessly] * PROCESSES)

    assert warehouse.level(sku) == (10, 10)


def test_a_balance_that_moved_since_the_book_was_opened_is_not_overwritten(warehouse: Warehouse) -> None:
    shop, sku = warehouse.connect(), warehouse.sku("MUG", 5)
    warehouse.listing(shop, "mug", sku)
    with warehouse.database.write() as connection:
        book = stock.open_book(connection, warehouse.merchant, [sku]).book
    warehouse.hear(shop, an_order(a_line(4), id="in between"))
    claim = book.claim(Claim(new_id(), new_id(), {sku: 1}, minutes(0)))
    book.demand(claim, 4, f"{claim.order_id}/1")
    book.serve(f"{claim.order_id}/1")
    before = warehouse.digest(t.stock_level, t.stock_entry, t.allocation, t.backorder, t.publication)

    with pytest.raises(StockMoved, match="try again"), warehouse.database.write() as connection:
        stock.write_book(connection, warehouse.merchant, book, at=warehouse.now())

    assert warehouse.digest(t.stock_level, t.stock_entry, t.allocation, t.backorder, t.publication) == before


def test_whoever_met_a_moved_balance_starts_again_and_gets_what_is_left(warehouse: Warehouse) -> None:
    shop, sku = warehouse.connect(), warehouse.sku("MUG", 5)
    warehouse.listing(shop, "mug", sku)
    location = warehouse.location()
    with warehouse.database.write() as connection:
        stale = stock.open_book(connection, warehouse.merchant, [sku]).book
    warehouse.count(sku, 3)
    books = itertools.chain([stale])

    def work(connection: Connection) -> None:
        book = next(books, None) or stock.open_book(connection, warehouse.merchant, [sku]).book
        book.correct((sku, location), 10, Cause.RECEIVED, "delivery/1")
        stock.write_book(connection, warehouse.merchant, book, at=warehouse.now())

    warehouse.database.transact(work)

    assert warehouse.level(sku) == (13, 0)
    warehouse.sound()


@pytest.mark.parametrize("database", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True)
def test_without_the_lock_the_conditional_update_is_enough(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On SQLite there is no transaction without the lock to try this with."""
    monkeypatch.setattr(stock, "for_update", lambda connection, statement, **_: statement)
    shop, sku = warehouse.connect(), warehouse.sku("MUG", 20)
    warehouse.listing(shop, "mug", sku)
    bought = [an_order(a_line(1), id=str(buyer)) for buyer in range(80)]
    monkeypatch.setattr(warehouse.database, "transact", partial(warehouse.database.transact, tries=100), raising=True)

    at_once(warehouse.database, [partial(buy, warehouse, shop, part) for part in spread(bought)])

    assert warehouse.level(sku) == (20, 20)
    assert len(warehouse.waiting(sku)) == 60
    warehouse.sound()


def test_without_the_conditional_update_the_lock_is_enough(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unguarded(
        connection: Connection, merchant_id: UUID, book: stock.StockBook, movements: Sequence[Movement], at: object
    ) -> None:
        for each in movements:
            here = (t.stock_level.c.sku_id == each.place[0], t.stock_level.c.location_id == each.place[1])
            figures = ("on_hand", "allocated", "entries")
            values = {name: getattr(each.after, name) for name in figures}
            connection.execute(update(t.stock_level).where(*here).values(**values))

    shop, sku = warehouse.connect(), warehouse.sku("MUG", 20)
    warehouse.listing(shop, "mug", sku)
    monkeypatch.setattr(stock, "_write_levels", unguarded)
    bought = [an_order(a_line(1), id=str(buyer)) for buyer in range(80)]

    at_once(warehouse.database, [partial(buy, warehouse, shop, part) for part in spread(bought)])

    assert warehouse.level(sku) == (20, 20)
    warehouse.sound()


def test_an_entry_of_the_same_cause_and_reference_is_refused(warehouse: Warehouse) -> None:
    warehouse.sku("MUG", 3)
    entry = warehouse.row(t.stock_entry)

    with pytest.raises(IntegrityError, match=r"(?i)unique"), warehouse.database.write() as connection:
        connection.execute(insert(t.stock_entry).values(**entry._asdict() | {"number": 2}))


def test_an_order_delivered_by_many_at_once_is_one_order(warehouse: Warehouse) -> None:
    shop, sku = warehouse.connect(), warehouse.sku("MUG", 10)
    warehouse.listing(shop, "mug", sku)
    order = an_order(a_line(2))

    def deliver() -> None:
        # Under the lane's lease only one would try. Without it the database decides, and the others begin again.
        for _ in range(20):
            try:
                warehouse.hear(shop, order)
                return
            except IntegrityError:
                time.sleep(random.uniform(0, 0.02))
        raise AssertionError("refused again and again")

    at_once(warehouse.database, [deliver] * PROCESSES)

    assert warehouse.level(sku) == (10, 2)
    with warehouse.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(t.sales_order)).scalar_one() == 1
    imported = [each for each in warehouse.rows(t.activity) if each.kind == "order_imported"]
    assert len(imported) == 1
    warehouse.sound()


def test_a_batch_that_fails_at_its_end_has_done_nothing(warehouse: Warehouse) -> None:
    shop, sku = warehouse.connect(), warehouse.sku("MUG", 10)
    warehouse.listing(shop, "mug", sku)
    business = (t.sales_order, t.order_line, t.stock_level, t.stock_entry, t.allocation, t.publication, t.activity)
    before = warehouse.digest(*business)

    def work(connection: Connection) -> None:
        at = warehouse.now()
        batch = [Received(str(number), an_order(a_line(2), id=str(number)), at) for number in range(3)]
        orders.apply(connection, warehouse.merchant, shop, batch, at=at)
        raise RuntimeError("the power fails")

    with pytest.raises(RuntimeError):
        warehouse.database.transact(work)

    assert warehouse.digest(*business) == before
