"""The lines of many orders, as a file of them says it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, and_, func, select

from hub.core.model import Money
from hub.store import tables as t
from hub.store.database import among
from hub.store.queries import parts


@dataclass(frozen=True, slots=True)
class LineSummary:
    """One line of an order."""

    sku: str  # the code it is matched to, or what the channel calls it
    title: str
    quantity: int
    fulfilled: int
    removed: int
    unit_price: Money | None
    total: Money | None


def lines(connection: Connection, merchant_id: UUID, order_ids: Sequence[UUID]) -> Mapping[UUID, list[LineSummary]]:
    """The lines that these orders have now, each order's in their sequence."""
    line, order, sku = t.order_line.c, t.sales_order.c, t.sku.c
    found: dict[UUID, list[LineSummary]] = defaultdict(list)
    for row in connection.execute(
        select(
            line.order_id,
            func.coalesce(sku.code, line.sku_text).label("sku"),
            line.title,
            line.quantity,
            line.fulfilled,
            line.removed,
            line.unit_price,
            line.total_minor,
            order.currency,
            order.priced,
        )
        .join(t.sales_order, parts.same(line.order_id, t.sales_order, t.order_line))
        .outerjoin(t.sku, and_(sku.merchant_id == line.merchant_id, sku.id == line.sku_id))
        .where(line.merchant_id == merchant_id, among(connection, line.order_id, order_ids), line.present)
        .order_by(line.order_id, line.position, line.id)
    ):
        found[row.order_id].append(
            LineSummary(
                sku=row.sku,
                title=row.title,
                quantity=row.quantity,
                fulfilled=row.fulfilled,
                removed=row.removed,
                unit_price=parts.price_of(row, row.unit_price),
                total=parts.amount_of(row, row.total_minor),
            )
        )
    return found
