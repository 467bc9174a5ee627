"""Customers who are forgotten by themselves: so many days after delivery, where a vendor's rules want it so.

An order that is still open keeps its customer. Where nobody tells of the delivery, the days are counted from when the
goods left, and where nobody tells that either, from when the channel called the order done: too early by the days of
transit, never too late.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, or_, select

from hub.core.details import OrderDetails
from hub.core.model import OrderStatus
from hub.core.plain import from_plain
from hub.store import privacy
from hub.store import tables as t
from hub.store.database import Database
from hub.store.secrets import KeyRing

_OVER = (OrderStatus.FULFILLED, OrderStatus.CANCELLED, OrderStatus.REFUNDED, "removed")
_AT_ONCE = 500  # orders that are looked at in one go


def forget_delivered(database: Database, keyring: KeyRing, connector: str, days: int) -> int:
    """Forget the customers of every order that came through ``connector`` and arrived so long ago; returns how many.

    The orders themselves are forgotten at once, and a task of each connection looks for what else was said of them.
    """
    shop = t.connection.c
    with database.read() as connection:
        places = connection.execute(select(shop.merchant_id, shop.id).where(shop.connector == connector)).all()
    return sum(_forget_at(database, keyring, place.merchant_id, place.id, timedelta(days=days)) for place in places)


def _forget_at(database: Database, keyring: KeyRing, merchant_id: UUID, connection_id: UUID, kept: timedelta) -> int:
    after: UUID | None = None
    forgotten = 0
    while True:
        with database.read() as connection:
            at = database.now(connection)
            rows = _over(connection, merchant_id, connection_id, at - kept, after)
            arrived = _arrivals(connection, merchant_id, rows)
        gone = [row.external_id for row in rows if arrived[row.id] <= at - kept]
        for start in range(0, len(gone), privacy.AT_ONCE):
            some = gone[start : start + privacy.AT_ONCE]
            with database.write() as connection:
                privacy.forget_in_time(connection, keyring, merchant_id, connection_id, some, at=at)
        forgotten += len(gone)
        if len(rows) < _AT_ONCE:
            return forgotten
        after = rows[-1].id


def _over(
    connection: Connection, merchant_id: UUID, connection_id: UUID, before: datetime, after: UUID | None
) -> Sequence[Any]:
    """The next orders that are done, not forgotten, and old enough to have arrived by then."""
    order = t.sales_order.c
    return connection.execute(
        select(order.id, order.external_id, order.version, order.imported_at, order.details)
        .where(
            order.merchant_id == merchant_id,
            order.connection_id == connection_id,
            order.erased_at.is_(None),
            order.status.in_(_OVER),
            or_(order.placed_at.is_(None), order.placed_at <= before, order.imported_at <= before),
            *([] if after is None else [order.id > after]),
        )
        .order_by(order.id)
        .limit(_AT_ONCE)
    ).all()


def _arrivals(connection: Connection, merchant_id: UUID, rows: Sequence[Any]) -> Mapping[UUID, datetime]:
    """When the goods of each order arrived, or what is taken for it."""
    ids = [row.id for row in rows]
    sent, version = t.shipment.c, t.order_version.c
    left: dict[UUID, list[datetime]] = {}
    for row in rows:
        told = from_plain(OrderDetails, row.details).shipments if row.details else ()
        left[row.id] = [each.shipped_at for each in told if each.shipped_at is not None and not each.cancelled]
    for parcel in connection.execute(
        select(sent.order_id, sent.shipped_at, sent.delivered_at).where(
            sent.merchant_id == merchant_id,
            sent.order_id.in_(ids),
            sent.state == "shipped",
            sent.is_return.is_(False),
        )
    ):
        if parcel.delivered_at or parcel.shipped_at:
            left[parcel.order_id].append(parcel.delivered_at or parcel.shipped_at)
    # When it was called done; what is edited later puts nothing off.
    done: dict[UUID, datetime] = {}
    for edit in connection.execute(
        select(version.order_id, version.version, version.received_at, version.changes)
        .where(version.merchant_id == merchant_id, version.order_id.in_(ids))
        .order_by(version.order_id, version.revision)
    ):
        if any(change["part"] == "status" for change in edit.changes):
            done[edit.order_id] = min(edit.version, edit.received_at)
    return {
        row.id: max(left[row.id], default=done.get(row.id) or min(row.version or row.imported_at, row.imported_at))
        for row in rows
    }
