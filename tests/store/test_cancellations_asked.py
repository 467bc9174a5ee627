"""A customer asks to cancel: the order waits, a person is told what to do, and everything goes on once that is over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from hub.core.model import Hold, HoldReason, Order, OrderStatus
from hub.core.services import Received
from hub.errors import Conflict
from hub.store import fulfillment, holds, labels
from hub.store import tables as t
from tests.core.making import a_line, minutes
from tests.store.bench import Bench, to_ship
from tests.store.post_office import Counter
from tests.store.warehouse import OWNER, Warehouse

ASKED = Hold(external_id="cancellation", reason=HoldReason.CANCELLATION, note="Bought twice")


@pytest.fixture
def shop(warehouse: Warehouse) -> UUID:
    """A shop that sells mugs, of which ten are there."""
    shop = warehouse.connect("amber")
    warehouse.listing(shop, "mug", warehouse.sku("MUG", 10))
    return shop


def later(order: Order, minute: int, **changed: Any) -> Order:
    return replace(order, version=minutes(minute), **changed)


def waits(warehouse: Warehouse) -> list[tuple[str, str]]:
    """(reason, note) of what holds the order now."""
    rows = warehouse.rows(t.order_hold, t.order_hold.c.released_at.is_(None))
    return [(row.reason, row.note) for row in rows]


def asked(warehouse: Warehouse) -> list[str]:
    """The titles of the open issues."""
    return [row.title for row in warehouse.rows(t.issue, t.issue.c.resolved_at.is_(None))]


def test_the_order_waits_and_a_person_is_told_what_to_do(warehouse: Warehouse, shop: UUID) -> None:
    order = to_ship(a_line(1))
    warehouse.hear(shop, order)
    bench = Bench(warehouse)

    warehouse.hear(shop, later(order, 1, holds=(ASKED,)))

    assert waits(warehouse) == [("cancellation", "Bought twice")]
    issue = warehouse.row(t.issue)
    assert (issue.kind, issue.subject) == (holds.CANCELLATION_ASKED, str(bench.order_id))
    assert issue.title == "The customer asks to cancel order #100: Bought twice"
    assert issue.next_step == (
        "Cancel it at its channel, and what is under way here is taken back. "
        "Or release its hold, and it ships all the same."
    )
    assert (issue.connection_id, issue.order_id, issue.link) == (shop, bench.order_id, f"/orders/{bench.order_id}")
    line = warehouse.row(t.activity, t.activity.c.kind == "order_held")
    assert line.summary == "On hold, it is to be cancelled, as its customer asks: Bought twice"
    assert warehouse.row(t.sales_order).on_hold is False, "the channel itself would let it go"
    with (
        warehouse.database.write() as connection,
        pytest.raises(Conflict, match=r"on hold \(cancellation\)"),
    ):
        fulfillment.gate(connection, warehouse.merchant, bench.id)


@pytest.mark.parametrize(
    "over",
    [
        {"holds": ()},
        {"status": OrderStatus.CANCELLED, "holds_stock": False},
        {"status": OrderStatus.CANCELLED, "holds_stock": False, "holds": ()},
        {"status": OrderStatus.FULFILLED, "holds_stock": False},
        {"shipped_by_channel": True},
    ],
    ids=["taken back", "cancelled", "cancelled and not said any more", "shipped", "the channel ships it"],
)
def test_it_is_over_when_the_wish_or_the_order_is(warehouse: Warehouse, shop: UUID, over: dict[str, Any]) -> None:
    order = to_ship(a_line(1), holds=(ASKED,))
    warehouse.hear(shop, order)
    assert len(asked(warehouse)) == 1

    warehouse.hear(shop, later(order, 1, **over))

    assert (waits(warehouse), asked(warehouse)) == ([], [])
    assert warehouse.row(t.issue).resolved_by == ""


def test_it_is_over_when_the_order_is_deleted(warehouse: Warehouse, shop: UUID) -> None:
    warehouse.hear(shop, to_ship(a_line(1), holds=(ASKED,)))

    warehouse.hear(shop, Received("100", None, warehouse.now()))
    now = warehouse.now()
    warehouse.hear(shop, Received("100", None, now, now, alone=True))

    assert (warehouse.row(t.sales_order).status, asked(warehouse)) == ("removed", [])


def test_half_a_record_does_not_end_it(warehouse: Warehouse, shop: UUID) -> None:
    order = to_ship(a_line(1), holds=(ASKED,))
    warehouse.hear(shop, order)

    warehouse.hear(shop, later(order, 1, holds=(), whole=False, note="Soon"))

    assert (waits(warehouse), len(asked(warehouse))) == ([("cancellation", "Bought twice")], 1)


def test_a_person_may_have_it_shipped_all_the_same_and_is_not_asked_again(warehouse: Warehouse, shop: UUID) -> None:
    order = to_ship(a_line(1), holds=(ASKED,))
    warehouse.hear(shop, order)
    order_id = warehouse.row(t.sales_order).id
    with warehouse.database.read() as connection:
        (shown,) = holds.holds(connection, warehouse.merchant, order_id)
    assert (shown.ours, shown.releasable) == (False, True)

    holds.release(warehouse.database, warehouse.merchant, order_id, shown.id, OWNER)

    assert (waits(warehouse), asked(warehouse)) == ([], [])
    assert warehouse.row(t.issue).resolved_by == OWNER
    warehouse.hear(shop, later(order, 1, note="Ring twice"))
    assert (waits(warehouse), asked(warehouse)) == ([], []), "this wish was looked at"

    warehouse.hear(shop, later(order, 2, holds=(replace(ASKED, note="Moved away"),)))
    assert (waits(warehouse), len(asked(warehouse))) == ([("cancellation", "Moved away")], 1), "this one was not"


def test_a_wish_that_is_told_again_is_one_issue(warehouse: Warehouse, shop: UUID) -> None:
    order = to_ship(a_line(1), holds=(ASKED,))
    warehouse.hear(shop, order)
    warehouse.hear(shop, later(order, 1, note="Ring twice"))

    assert warehouse.row(t.issue).times == 1


def test_a_label_that_is_planned_is_not_bought_while_the_wish_stands(warehouse: Warehouse) -> None:
    counter = Counter(warehouse.database, warehouse.keyring, warehouse.merchant)
    order_id, work_id, shipment_id = counter.packed()
    counter.buy(shipment_id)

    counter.again(order_id, holds=(ASKED,))
    counter.settle()

    row = counter.shipment(shipment_id)
    assert (counter.states(), counter.post.calls) == ({"buy_label": "cancelled"}, [])
    assert (row.state, "on hold (cancellation)" in row.error, counter.work(work_id).state) == ("failed", True, "open")

    counter.again(order_id, minutes=9)
    again = counter.act(labels.offer_again, shipment_id, actor=OWNER)
    counter.buy(again)
    counter.settle()
    assert (counter.shipment(again).state, asked(warehouse)) == ("labelled", [])
