"""How fast every SKU sells, and how long what is there lasts: worked out now and then, because every order counts."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, and_, delete, func, insert, literal, select

from hub.store import tables as t
from hub.store.database import Database

DAYS = 28  # whose orders say how fast something sells
_LONGEST = 9999  # days, of what hardly sells


def reckon(database: Database) -> None:
    """Work it out anew for every merchant."""
    with database.read() as connection:
        merchants = list(connection.execute(select(t.merchant.c.id)).scalars())
    for merchant_id in merchants:
        with database.write() as connection:
            reckon_for(connection, merchant_id, database.now(connection))


def reckon_for(connection: Connection, merchant_id: UUID, at: datetime) -> None:
    """Work it out for one merchant, in the caller's transaction."""
    order, line, part, level, pace = (
        table.c for table in (t.sales_order, t.order_line, t.order_line_part, t.stock_level, t.sku_pace)
    )
    # Of a kit that was sold, its parts left the shelf.
    taken = func.coalesce(part.sku_id, line.sku_id)
    sold = (
        select(
            taken.label("sku_id"),
            func.sum((line.quantity - line.removed) * func.coalesce(part.quantity, 1)).label("units"),
        )
        .join(t.order_line, and_(line.merchant_id == order.merchant_id, line.order_id == order.id))
        .outerjoin(t.order_line_part, and_(part.merchant_id == line.merchant_id, part.order_line_id == line.id))
        .where(
            order.merchant_id == merchant_id,
            order.placed_at > at - timedelta(days=DAYS),
            order.status.not_in(("cancelled", "removed")),
            order.test.is_(False),
            order.shipped_by_channel.is_(False),
            line.sku_id.is_not(None),
            line.present,
            line.quantity > line.removed,
        )
        .group_by(taken)
        .subquery()
    )
    free = func.sum(level.on_hand - level.allocated - level.quarantined - level.damaged)
    there = (
        select(level.sku_id, free.label("units"))
        .where(level.merchant_id == merchant_id)
        .group_by(level.sku_id)
        .subquery()
    )
    days = there.c.units * DAYS / sold.c.units
    connection.execute(delete(t.sku_pace).where(pace.merchant_id == merchant_id))
    connection.execute(
        insert(t.sku_pace).from_select(
            ["merchant_id", "sku_id", "sold", "available", "days_left", "at"],
            select(
                literal(merchant_id, pace.merchant_id.type),
                sold.c.sku_id,
                sold.c.units,
                there.c.units,
                func.floor(days),
                literal(at, pace.at.type),
            ).join(there, there.c.sku_id == sold.c.sku_id),
        )
    )
