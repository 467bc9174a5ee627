"""What a person does about where an order is shipped from: choosing a location, or having it dealt out again."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, select

from hub import access
from hub.access import Permission
from hub.core.model import OrderStatus
from hub.errors import BadInput, Conflict
from hub.store import activity, fulfillment, routing, withdrawals
from hub.store import tables as t
from hub.store.database import Database, Lanes, for_update
from hub.store.fulfillment import State
from hub.store.locking import lock_order
from hub.store.routing import Choice


@access.needs(Permission.ORDERS)
def choose(database: Database, merchant_id: UUID, order_id: UUID, location_id: UUID, reason: str, actor: str) -> Lanes:
    """Have everything of an order that nobody has begun shipped from one location; returns the lanes to ring for.

    Raises BadInput without a reason, Conflict where that location does not have it or nothing is left to be dealt out.
    """
    if not reason.strip():
        raise BadInput("Say why: whoever looks at this order next has to know.", {"reason": ["Say why."]})

    def work(connection: Connection) -> Lanes:
        at = database.now(connection)
        number = _to_be_shipped(connection, merchant_id, order_id)
        taken = _take_back(connection, merchant_id, order_id, f"{actor} chose another location", at)
        choice = Choice(location_id, reason.strip()[:300], actor)
        outcome = routing.route(connection, merchant_id, [order_id], at=at, chosen=choice)
        if error := outcome.failed.get(order_id):
            raise Conflict(f"Order {number} cannot be shipped from there. {error}") from error
        if not outcome.decided:
            raise Conflict(
                f"Nothing of order {number} can be dealt out: it holds no stock, or locations have it in hand already."
            )
        return taken + outcome.lanes

    return database.transact(work)


@access.needs(Permission.ORDERS)
def again(database: Database, merchant_id: UUID, order_id: UUID, actor: str) -> Lanes:
    """Have what nobody has begun of an order dealt out anew; returns the lanes to ring for. Raises Conflict."""

    def work(connection: Connection) -> Lanes:
        at = database.now(connection)
        number = _to_be_shipped(connection, merchant_id, order_id)
        taken = _take_back(connection, merchant_id, order_id, f"{actor} has it dealt out again", at)
        summary = f"Order {number} is dealt out again"
        activity.note(connection, merchant_id, "routed_again", summary, at=at, order_id=order_id, actor=actor)
        return taken + fulfillment.deal_out_again(connection, merchant_id, order_id, at=at)

    return database.transact(work)


def _to_be_shipped(connection: Connection, merchant_id: UUID, order_id: UUID) -> str:
    """The number of the order, which is locked from now on. Raises Conflict unless it is open."""
    row = lock_order(connection, merchant_id, order_id)
    if row.status != OrderStatus.OPEN:
        raise Conflict(f"Order {row.number} is {row.status}: nothing more is to be shipped.")
    return row.number  # type: ignore[no-any-return]


def _take_back(connection: Connection, merchant_id: UUID, order_id: UUID, why: str, at: datetime) -> Lanes:
    """Withdraw the parts of the order that nobody has begun."""
    work = t.fulfillment_order.c
    rows = connection.execute(
        for_update(
            connection,
            select(t.fulfillment_order)
            .where(work.merchant_id == merchant_id, work.order_id == order_id, work.state == State.OPEN.value)
            .order_by(work.id),
        )
    ).all()
    return [lane for row in rows for lane in withdrawals.withdraw(connection, row, why, at=at)]
