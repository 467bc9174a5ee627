"""The lock that everybody takes first: the order's row, before what belongs to the order and before SKUs."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, select

from hub.errors import Conflict
from hub.store import tables as t
from hub.store.database import for_update


def lock_order(connection: Connection, merchant_id: UUID, order_id: UUID) -> Row[Any]:
    """The order, locked until the transaction ends. Raises Conflict when there is none."""
    order = t.sales_order.c
    row = connection.execute(
        for_update(connection, select(t.sales_order).where(order.merchant_id == merchant_id, order.id == order_id))
    ).one_or_none()
    if row is None:
        raise Conflict("This order does not exist. Go back to the list.")
    return row


def connection_of(connection: Connection, merchant_id: UUID, order_id: UUID) -> UUID:
    """The connection that an order came in by."""
    order = t.sales_order.c
    return connection.execute(  # type: ignore[no-any-return]
        select(order.connection_id).where(order.merchant_id == merchant_id, order.id == order_id)
    ).scalar_one()
