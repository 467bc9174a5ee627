"""The queue of orders that are to be dealt out to locations: marks that are only ever added or taken away.

Whoever gives an order stock marks it while SKUs are locked, whoever imports the order holds its row and waits for those
SKUs. A column of the order's row would let the two wait for each other; a mark of its own waits for nobody.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, delete, func, insert, literal, select

from hub.store import tables as t
from hub.store.database import in_chunks, new_id


def mark(connection: Connection, merchant_id: UUID, order_ids: Collection[UUID], *, at: datetime) -> None:
    """Have these orders dealt out from ``at`` on, in the caller's transaction."""
    order, this = t.sales_order.c, t.routing_mark.c
    for some in in_chunks(sorted(order_ids)):
        connection.execute(
            insert(t.routing_mark).from_select(
                [this.merchant_id, this.order_id, this.id, this.connection_id, this.due_at],
                select(
                    order.merchant_id,
                    order.id,
                    literal(new_id(), this.id.type),
                    order.connection_id,
                    literal(at, this.due_at.type),
                ).where(order.merchant_id == merchant_id, order.id.in_(some)),
            )
        )


def unmark(connection: Connection, merchant_id: UUID, order_ids: Collection[UUID]) -> None:
    """They have been looked at. Only after their SKUs were locked: what comes in later marks them anew."""
    this = t.routing_mark.c
    for some in in_chunks(sorted(order_ids)):
        connection.execute(delete(t.routing_mark).where(this.merchant_id == merchant_id, this.order_id.in_(some)))


def due(connection: Connection, merchant_id: UUID, connection_id: UUID, at: datetime, limit: int) -> list[UUID]:
    """Orders of a shop that are to be dealt out now, those that wait longest first."""
    this = t.routing_mark.c
    return list(
        connection.execute(
            select(this.order_id)
            .where(this.merchant_id == merchant_id, this.connection_id == connection_id, this.due_at <= at)
            .group_by(this.order_id)
            .order_by(func.min(this.due_at), this.order_id)
            .limit(limit)
        ).scalars()
    )
