"""The lock that everybody takes first: the order's row, before what belongs to the order and before SKUs.

Orders that share a parcel are locked together, the smallest id first, and before any that share none: whoever has one
of them has all, and may change what they share.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, select

from hub.errors import Conflict
from hub.store import tables as t
from hub.store.database import for_update, in_chunks


def lock_order(connection: Connection, merchant_id: UUID, order_id: UUID) -> Row[Any]:
    """The order, locked until the transaction ends. Raises Conflict when there is none."""
    order = t.sales_order.c
    lock_sharers(connection, merchant_id, order.id == order_id)
    row = connection.execute(
        for_update(connection, select(t.sales_order).where(order.merchant_id == merchant_id, order.id == order_id))
    ).one_or_none()
    if row is None:
        raise Conflict("This order does not exist. Go back to the list.")
    return row


def lock_orders(connection: Connection, merchant_id: UUID, order_ids: Iterable[UUID]) -> None:
    """Lock several orders until the transaction ends; those that are not there are passed over."""
    wanted, sharers = set(order_ids), set[UUID]()
    for some in in_chunks(sorted(wanted)):
        sharers |= _sharers(connection, merchant_id, t.sales_order.c.id.in_(some))
    _lock(connection, merchant_id, sharers)
    _lock(connection, merchant_id, wanted - sharers)


def lock_sharers(connection: Connection, merchant_id: UUID, *which: ColumnElement[bool]) -> None:
    """Where orders that meet these conditions share a parcel with others, lock all of these: to be called before the
    orders themselves are locked, so that everybody takes the locks in one sequence."""
    _lock(connection, merchant_id, _sharers(connection, merchant_id, *which))


def _lock(connection: Connection, merchant_id: UUID, order_ids: Iterable[UUID]) -> None:
    order = t.sales_order.c
    for some in in_chunks(sorted(order_ids)):
        rows = select(order.id).where(order.merchant_id == merchant_id, order.id.in_(some)).order_by(order.id)
        connection.execute(for_update(connection, rows))


def _sharers(connection: Connection, merchant_id: UUID, *which: ColumnElement[bool]) -> set[UUID]:
    """Everybody who has ever shared a parcel with these orders, or with one who has; empty where nobody has."""
    if connection.dialect.name == "sqlite":
        return set()  # the transaction holds the only write lock already
    this, order, other = t.packed_together.c, t.sales_order.c, t.packed_together.alias("other").c
    mine = select(this.lead_id).join(
        t.sales_order, (order.merchant_id == this.merchant_id) & (order.id == this.order_id)
    )
    leads = select(other.order_id).distinct().where(other.merchant_id == merchant_id)
    found = set(
        connection.execute(
            leads.where(other.lead_id.in_(mine.where(this.merchant_id == merchant_id, *which)))
        ).scalars()
    )
    known: set[UUID] = set()
    while found != known:
        known = set(found)
        again = select(this.lead_id).where(this.merchant_id == merchant_id, this.order_id.in_(sorted(known)))
        found |= set(connection.execute(leads.where(other.lead_id.in_(again))).scalars())
    return found


def connection_of(connection: Connection, merchant_id: UUID, order_id: UUID) -> UUID:
    """The connection that an order came in by."""
    order = t.sales_order.c
    return connection.execute(  # type: ignore[no-any-return]
        select(order.connection_id).where(order.merchant_id == merchant_id, order.id == order_id)
    ).scalar_one()
