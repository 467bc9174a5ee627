"""Changing the stock policy: who waits gets a new place in the queue, and unpaid orders a new deadline."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from hub.core.allocation import QueueOrder, StockPolicy
from hub.errors import BadInput
from hub.store import orders, policies, stock
from hub.store import tables as t
from tests.core.making import NOON, a_line, an_order, euros, minutes
from tests.store.warehouse import OWNER, Warehouse


def save(warehouse: Warehouse, **policy: Any) -> Any:
    return policies.save(warehouse.database, warehouse.merchant, StockPolicy(**policy), OWNER)


def test_a_policy_is_kept_and_noted(warehouse: Warehouse) -> None:
    save(warehouse, hold_together=True, queue=QueueOrder.VALUE, unpaid_hours=48)

    with warehouse.database.read() as connection:
        kept = stock.policy(connection, warehouse.merchant)
    assert kept == StockPolicy(hold_together=True, queue=QueueOrder.VALUE, unpaid_hours=48)
    assert warehouse.row(t.stock_policy).changed_by == OWNER
    assert warehouse.row(t.activity).summary == (
        "Stock policy: an order is held whole or not at all; the largest order first; "
        "unpaid orders hold stock for 48 hours"
    )
    before = warehouse.digest(t.stock_policy, t.activity)
    save(warehouse, hold_together=True, queue=QueueOrder.VALUE, unpaid_hours=48)
    assert warehouse.digest(t.stock_policy, t.activity) == before


@pytest.mark.parametrize(
    "hours",
    [0, -1, 8761, True, 1.0, 1.5, float("nan"), float("inf"), "24"],
    ids=["none", "negative", "too many", "true", "a float", "a fraction", "NaN", "infinite", "a text"],
)
def test_hours_that_cannot_be_are_refused(warehouse: Warehouse, hours: Any) -> None:
    with pytest.raises(BadInput, match="whole number of hours from 1 to 8,760, or leave it empty") as refused:
        save(warehouse, unpaid_hours=hours)

    assert list(refused.value.fields) == ["unpaid_hours"]
    assert warehouse.rows(t.stock_policy) == []


def test_a_queue_that_does_not_exist_is_refused(warehouse: Warehouse) -> None:
    with pytest.raises(BadInput) as refused:
        save(warehouse, queue="whoever_shouts")

    assert (list(refused.value.fields), warehouse.rows(t.stock_policy)) == (["queue"], [])


def test_the_queue_is_lined_up_anew(warehouse: Warehouse) -> None:
    shop, mug = warehouse.connect(), warehouse.sku("MUG", 0)
    warehouse.listing(shop, "mug", mug)
    for number, total, days in ((1, 10, 3), (2, 30, None), (3, 20, 1)):
        promise = NOON + timedelta(days=days) if days else None
        mine = {"id": str(number), "number": f"#{number}", "placed_at": minutes(number), "total": euros(total)}
        warehouse.hear(shop, an_order(a_line(1), promised_at=promise, **mine))

    save(warehouse, queue=QueueOrder.VALUE)
    warehouse.count(mug, 1)
    assert set(warehouse.waiting(mug)) == {"#1", "#3"}, "the largest was first"

    save(warehouse, queue=QueueOrder.PROMISED_DATE)
    warehouse.count(mug, 2)
    assert set(warehouse.waiting(mug)) == {"#1"}, "the soonest promised was first"
    warehouse.sound()


def test_orders_that_waited_for_their_other_lines_are_served_when_they_need_not_any_more(warehouse: Warehouse) -> None:
    shop, mug, tee = warehouse.connect(live=True), warehouse.sku("MUG", 5), warehouse.sku("TEE", 0)
    warehouse.listing(shop, "mug", mug)
    warehouse.listing(shop, "tee", tee)
    save(warehouse, hold_together=True)
    warehouse.hear(shop, an_order(a_line(2), a_line(1, id="2", listing="tee")))
    assert warehouse.level(mug) == (5, 0)
    warehouse.count(mug, 6)

    touched = save(warehouse)

    assert touched == {shop}
    assert (warehouse.level(mug), warehouse.waiting(tee)) == ((6, 2), {"#100": 1})
    rows = warehouse.rows(t.backorder)
    assert [(row.group_id == row.order_line_id, row.woken, row.missing) for row in rows] == [(True, False, True)]
    warehouse.sound()


def test_kits_that_waited_for_their_orders_other_lines_are_served_too(warehouse: Warehouse) -> None:
    shop, mug, tee = warehouse.connect(), warehouse.sku("MUG", 5), warehouse.sku("TEE", 0)
    warehouse.listing(shop, "box", warehouse.kit("BOX", {mug: 2}))
    warehouse.listing(shop, "tee", tee)
    save(warehouse, hold_together=True)
    warehouse.hear(shop, an_order(a_line(3, listing="box"), a_line(1, id="2", listing="tee")))

    save(warehouse)

    assert (warehouse.level(mug), warehouse.waiting(mug)) == ((5, 4), {"#100": 1})
    assert not any(row.woken for row in warehouse.rows(t.backorder))
    warehouse.sound()


def test_lines_that_wait_are_one_group_from_when_orders_are_held_together(warehouse: Warehouse) -> None:
    shop, mug, tee = warehouse.connect(), warehouse.sku("MUG", 1), warehouse.sku("TEE", 0)
    warehouse.listing(shop, "mug", mug)
    warehouse.listing(shop, "tee", tee)
    warehouse.hear(shop, an_order(a_line(2), a_line(1, id="2", listing="tee")))
    assert warehouse.level(mug) == (1, 1)

    save(warehouse, hold_together=True)
    order = warehouse.row(t.sales_order).id
    assert {row.group_id for row in warehouse.rows(t.backorder)} == {order}
    assert warehouse.level(mug) == (1, 1), "what an order holds stays its own"
    warehouse.sound()

    warehouse.count(mug, 2)
    assert warehouse.level(mug) == (2, 1), "the tee is not there yet"
    warehouse.count(tee, 1)
    assert (warehouse.level(mug), warehouse.level(tee), warehouse.rows(t.backorder)) == ((2, 2), (1, 1), [])
    warehouse.sound()


def test_unpaid_orders_get_the_new_deadline(warehouse: Warehouse) -> None:
    shop, mug = warehouse.connect(), warehouse.sku("MUG", 5)
    warehouse.listing(shop, "mug", mug)
    placed = warehouse.now() - timedelta(hours=3)
    for number, paid in (("1", False), ("2", True)):
        warehouse.hear(shop, an_order(a_line(1), id=number, paid=paid, placed_at=placed))

    def deadlines() -> dict[str, Any]:
        return {row.external_id: row.hold_until for row in warehouse.rows(t.sales_order)}

    save(warehouse, unpaid_hours=24)
    assert deadlines() == {"1": placed + timedelta(hours=24), "2": None}
    save(warehouse)
    assert deadlines() == {"1": None, "2": None}
    save(warehouse, unpaid_hours=2)
    assert deadlines() == {"1": placed + timedelta(hours=2), "2": None}
    assert warehouse.level(mug) == (5, 2)

    orders.expire_unpaid(warehouse.database, warehouse.merchant)
    assert warehouse.level(mug) == (5, 1), "the sweep takes what is late by the new policy"
    warehouse.sound()
