"""Withdrawing what must not be shipped any more: after a cancellation, an edit, a refund, or a shipment made elsewhere.

Called in the very commit that learns of it, so that whatever comes to ``fulfillment.gate`` afterwards is refused, and
what has passed it before is given back.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, delete, func, select, update

from hub.core.model import OrderStatus
from hub.store import fulfillment, labels, providers, together
from hub.store import tables as t
from hub.store.database import Lanes, for_update, in_chunks
from hub.store.fulfillment import ELSEWHERE, State


def keep_up(connection: Connection, merchant_id: UUID, order_ids: Collection[UUID], *, at: datetime) -> Lanes:
    """Bring the fulfillment orders of these orders, whose rows are locked, in line with what is still to be shipped.

    Returns the (connection, lane)s to ring for after the commit.
    """
    lanes: Lanes = []
    order, work = t.sales_order.c, t.fulfillment_order.c
    for some in in_chunks(sorted(order_ids)):
        open_ones = select(work.order_id).where(
            work.merchant_id == merchant_id, work.order_id.in_(some), work.closed_at.is_(None)
        )
        for row in connection.execute(
            select(t.sales_order).where(order.merchant_id == merchant_id, order.id.in_(open_ones)).order_by(order.id)
        ).all():
            lanes += _keep_up_one(connection, merchant_id, row, at)
        together.keep_up(connection, merchant_id, some, at=at)
    return lanes


def _keep_up_one(connection: Connection, merchant_id: UUID, order: Row[Any], at: datetime) -> Lanes:
    work = t.fulfillment_order.c
    open_ones = connection.execute(
        for_update(
            connection,
            select(t.fulfillment_order)
            .where(work.merchant_id == merchant_id, work.order_id == order.id, work.closed_at.is_(None))
            .order_by(work.id),
        )
    ).all()
    if order.status != OrderStatus.OPEN or not order.holds_stock:
        why = _IN_WORDS.get(order.status, f"it is {order.status}")
        if order.shipped_by_channel:
            why = "its channel ships it"
        return [lane for row in open_ones for lane in withdraw(connection, row, f"order {order.number}: {why}", at=at)]
    excess = _excess(connection, merchant_id, order.id)
    lanes: Lanes = []
    # What nobody has begun is the first to go, what somebody else has in hand the last.
    for row in sorted(open_ones, key=lambda each: (each.state in ELSEWHERE, each.state != State.OPEN, -each.number)):
        if any(units > 0 for units in excess.values()):
            lanes += _reduce(connection, row, excess, f"order {order.number} was changed", at)
    return lanes


_IN_WORDS = {
    OrderStatus.OPEN: "nobody paid for it in time",
    OrderStatus.FULFILLED: "it was shipped by somebody else",
}


def withdraw(connection: Connection, row: Row[Any], why: str, *, at: datetime) -> Lanes:
    """Nothing more of a locked fulfillment order is to be shipped: parcels and labels are given up, the 3PL is asked
    not to. What has left has left."""
    if row.state in ELSEWHERE:
        return providers.withdraw(connection, row, why, at=at)
    line = t.fulfillment_line.c
    some_left = connection.execute(
        select(line.order_line_id).where(
            line.merchant_id == row.merchant_id, line.fulfillment_order_id == row.id, line.shipped > 0
        )
    ).first()
    ended = State.CANCELLED if some_left is None else State.SHIPPED
    fulfillment.change(connection, row, ended, at=at, message=why[:500])
    fulfillment.note(connection, row, "fulfillment_withdrawn", f"{row.reference} is not to be shipped: {why}", at=at)
    return together.leave(connection, row, why, at=at) + labels.withdraw(connection, row, why, at=at)


def _excess(connection: Connection, merchant_id: UUID, order_id: UUID) -> dict[UUID, int]:
    """Units by order line that locations are to ship, and the order does not want any more."""
    line = t.order_line.c
    on_the_way = fulfillment.under_way(connection, merchant_id, [order_id])
    found: dict[UUID, int] = {}
    for row in connection.execute(
        select(line.id, line.quantity, line.removed, line.fulfilled, line.sent, line.present).where(
            line.merchant_id == merchant_id, line.id.in_(list(on_the_way))
        )
    ):
        wanted = max(0, row.quantity - row.removed - max(row.fulfilled, row.sent)) if row.present else 0
        if on_the_way[row.id] > wanted:
            found[row.id] = on_the_way[row.id] - wanted
    return found


def _reduce(connection: Connection, row: Row[Any], excess: dict[UUID, int], why: str, at: datetime) -> Lanes:
    """Take what is too much out of one fulfillment order."""
    line = t.fulfillment_line.c
    here = (line.merchant_id == row.merchant_id, line.fulfillment_order_id == row.id)
    lines = connection.execute(select(t.fulfillment_line).where(*here).order_by(line.order_line_id)).all()
    less = {each.order_line_id: min(excess.get(each.order_line_id, 0), each.quantity - each.shipped) for each in lines}
    if not any(less.values()):
        return []
    for line_id, units in less.items():
        excess[line_id] = excess.get(line_id, 0) - units
    if row.state in ELSEWHERE:
        # A 3PL takes no smaller order: it is asked not to ship this one, and the rest is dealt out anew.
        return providers.withdraw(connection, row, why, at=at)
    for each in lines:
        if units := less[each.order_line_id]:
            this = (*here, line.order_line_id == each.order_line_id)
            if units == each.quantity:
                connection.execute(delete(t.fulfillment_line).where(*this))
            else:
                connection.execute(
                    update(t.fulfillment_line)
                    .where(*this)
                    .values(quantity=each.quantity - units, packed=min(each.packed, each.quantity - units))
                )
    left = connection.execute(
        select(func.count(), func.coalesce(func.sum(line.quantity - line.shipped), 0)).where(*here)
    ).one()
    fulfillment.note(connection, row, "fulfillment_reduced", f"{row.reference} is to ship less: {why}", at=at)
    if not left[0]:
        fulfillment.change(connection, row, State.CANCELLED, at=at, message=why[:500])
    elif not left[1]:
        fulfillment.change(connection, row, State.SHIPPED, at=at, message=why[:500], shipped_at=at)
    elif row.state != State.OPEN:
        # It has to be packed again: what is in the parcels is no longer what is wanted.
        fulfillment.change(connection, row, State.OPEN, at=at, message=why[:500], packed_at=None)
    return together.leave(connection, row, why, at=at) + labels.withdraw(connection, row, why, at=at)
