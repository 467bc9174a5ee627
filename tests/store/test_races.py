"""Races of real processes over the same stock: buyers against buyers, and everybody against everybody."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from uuid import UUID

import pytest
from sqlalchemy import func, select

from hub.core.allocation import QueueOrder, StockPolicy
from hub.core.model import Order, OrderStatus
from hub.core.stock import Condition
from hub.errors import BadInput, Conflict
from hub.store import policies, stock
from hub.store import tables as t
from hub.store import warehouse as acts
from tests.core.making import a_line, an_order, minutes
from tests.store.stock_as_stored import stored
from tests.store.test_never_oversold import at_once
from tests.store.warehouse import OWNER, Warehouse

BUYERS, UNITS, PROCESSES = 500, 100, 8
ROUNDS = int(os.environ.get("TALLYHUB_TEST_ROUNDS", "1"))  # `make races` asks for a thousand
SKUS = 3


@pytest.mark.timeout(120 + 60 * ROUNDS)
def test_of_500_buyers_exactly_100_get_one_of_100_units(warehouse: Warehouse) -> None:
    """Each process takes in batches, as the inbox lane does; every round has a SKU of its own."""
    shops = [warehouse.connect() for _ in range(PROCESSES)]
    for number in range(ROUNDS):
        sku = warehouse.sku(f"MUG-{number}", UNITS)
        for shop in shops:
            warehouse.listing(shop, f"mug-{number}", sku)
        bought = [
            an_order(a_line(1, listing=f"mug-{number}"), id=f"{number}/{buyer}", placed_at=minutes(buyer % 7))
            for buyer in range(BUYERS)
        ]
        chance = random.Random(number)
        chance.shuffle(bought)

        at_once(
            warehouse.database,
            [partial(take_in, warehouse, shop, bought[index::PROCESSES], number) for index, shop in enumerate(shops)],
        )

        assert warehouse.level(sku) == (UNITS, UNITS)
        assert held_and_waiting(warehouse, sku) == (UNITS, BUYERS - UNITS)
    warehouse.sound()


def take_in(warehouse: Warehouse, shop: UUID, bought: Sequence[Order], seed: int) -> None:
    left = list(bought)
    chance = random.Random(seed)
    while left:
        size = chance.choice((1, 1, 5, 20))
        batch, left = left[:size], left[size:]
        warehouse.hear(shop, *batch)


def held_and_waiting(warehouse: Warehouse, sku: UUID) -> tuple[int, int]:
    """Lines that hold a unit, and lines that wait for one."""
    with warehouse.database.read() as connection:
        held, waiting = (
            connection.execute(select(func.count()).select_from(table).where(table.c.sku_id == sku)).scalar_one()
            for table in (t.allocation, t.backorder)
        )
    return held, waiting


@pytest.mark.timeout(120 + 60 * ROUNDS)
@pytest.mark.parametrize("together", [False, True], ids=["as much as there is", "orders held together"])
def test_whatever_happens_at_once_nothing_is_lost_or_promised_twice(warehouse: Warehouse, together: bool) -> None:
    """Orders of kits that share parts, cancellations, shipments, counts, receipts, transfers and what is set aside."""
    database, merchant = warehouse.database, warehouse.merchant
    shop = warehouse.connect(live=True)
    main, barn = warehouse.location(), warehouse.location("Barn")
    skus = [warehouse.sku(f"PART-{number}", 15) for number in range(SKUS)]
    boxes = [
        warehouse.kit("PAIR", {skus[0]: 1, skus[1]: 1}),
        warehouse.kit("TRIO", {skus[0]: 1, skus[1]: 2, skus[2]: 1}),
    ]
    for number, sku in enumerate([*skus, *boxes]):
        warehouse.listing(shop, f"thing-{number}", sku)
    policies.save(database, merchant, StockPolicy(hold_together=together, queue=QueueOrder.VALUE), OWNER)

    def trade(seed: int) -> None:
        chance = random.Random(seed)
        for number in range(10):
            things = chance.sample(range(len(skus) + len(boxes)), 2)
            lines = [a_line(chance.randint(1, 3), id=str(each), listing=f"thing-{each}") for each in things]
            order = an_order(*lines, id=f"{seed}/{number}", placed_at=minutes(chance.randint(0, 60)))
            warehouse.hear(shop, order)
            over = chance.random()
            if over < 0.3:
                warehouse.hear(shop, ended(order, OrderStatus.CANCELLED))
            elif over < 0.5:
                warehouse.hear(shop, ended(order, OrderStatus.FULFILLED))
            if chance.random() < 0.5:
                stock.serve_woken(database, merchant)

    def work(seed: int) -> None:
        chance = random.Random(seed)
        for number in range(12):
            sku, (here, there) = chance.choice(skus), chance.sample([main, barn], 2)
            paper, units = f"{seed}/{number}", chance.randint(1, 6)
            todo: list[Callable[[], object]] = [
                partial(acts.adjust, database, merchant, sku, here, units, "found", OWNER, paper),
                partial(acts.count, database, merchant, here, {sku: units + 5}, "yearly", OWNER, paper),
                partial(acts.receive, database, merchant, here, dict.fromkeys(skus, units), paper, OWNER),
                partial(transfer, warehouse, sku, here, there, units, paper),
                partial(set_aside, warehouse, sku, here, units, paper),
            ]
            with suppress(BadInput, Conflict):  # what cannot be is refused; what can be is done
                chance.choice(todo)()

    for number in range(ROUNDS):
        tasks: list[Callable[[], object]] = [partial(trade, 100 * number + seed) for seed in range(4)]
        tasks += [partial(work, 100 * number + seed) for seed in (50, 51)]
        at_once(database, tasks)

    stock.serve_woken(database, merchant)
    with database.read() as connection:
        stored(connection, merchant).check()
    conserved(warehouse)
    warehouse.sound()


def transfer(warehouse: Warehouse, sku: UUID, here: UUID, there: UUID, units: int, paper: str) -> None:
    document, _ = acts.send(warehouse.database, warehouse.merchant, here, there, {sku: units}, paper, OWNER)
    acts.arrive(warehouse.database, warehouse.merchant, document, {sku: 1}, OWNER)
    if units > 1:
        acts.close_transfer(warehouse.database, warehouse.merchant, document, OWNER)


def set_aside(warehouse: Warehouse, sku: UUID, here: UUID, units: int, paper: str) -> None:
    there = (warehouse.database, warehouse.merchant, sku, here)
    acts.set_aside(*there, units, Condition.DAMAGED, "wet", OWNER, paper)
    acts.restore(*there, 1, Condition.DAMAGED, "dry", OWNER, paper)
    acts.write_off(*there, units - 1 or 1, Condition.DAMAGED, "mould", OWNER, paper)


def ended(order: Order, status: OrderStatus) -> Order:
    """The order, called off or shipped."""
    done = "fulfilled" if status is OrderStatus.FULFILLED else "removed"
    lines = [
        a_line(line.quantity, id=line.external_id, listing=line.listing_external_id, **{done: line.quantity})
        for line in order.lines
    ]
    return an_order(
        *lines,
        id=order.external_id,
        status=status,
        holds_stock=False,
        placed_at=order.placed_at,
        version=minutes(1),
    )


def conserved(warehouse: Warehouse) -> None:
    """Every unit came from somewhere and went somewhere: what is here is what came in, less what left."""
    came: Counter[UUID] = Counter()
    for each in warehouse.rows(t.stock_entry):
        came[each.sku_id] += each.on_hand_delta
        if each.cause == "sent":
            # What leaves one shelf is on its way to another.
            assert (each.on_hand_delta, each.incoming_delta).count(0) == 1
    levels = warehouse.rows(t.stock_level)
    for sku, units in came.items():
        assert units == sum(level.on_hand for level in levels if level.sku_id == sku)
    on_the_way = sum(level.incoming for level in levels)
    lines = warehouse.rows(
        t.stock_document_line,
        t.stock_document_line.c.document_id.in_(
            select(t.stock_document.c.id).where(t.stock_document.c.kind == "transfer")
        ),
    )
    assert on_the_way == sum(line.quantity - line.arrived - line.lost for line in lines)
