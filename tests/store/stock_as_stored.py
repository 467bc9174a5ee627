"""The stock of a merchant as the database has it, put into the reference, which says what must be true of it."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, select

from hub.store import tables as t
from tests.stock_reference import Line, Reference


def stored(connection: Connection, merchant_id: UUID) -> Reference:
    """Balances, what each line holds, and who waits in which order."""
    locations = connection.execute(
        select(t.location.c.id)
        .where(t.location.c.merchant_id == merchant_id)
        .order_by(t.location.c.created_at, t.location.c.id)
    ).scalars()
    reference = Reference(list(locations))
    for row in connection.execute(select(t.stock_level).where(t.stock_level.c.merchant_id == merchant_id)):
        place = (row.sku_id, row.location_id)
        reference.open(place, row.on_hand)
        reference.quarantined[place] = row.quarantined
        reference.damaged[place] = row.damaged
        reference.incoming[place] = row.incoming
    line, order = t.order_line.c, t.sales_order.c
    parts: dict[UUID, dict[UUID, int]] = {}
    for row in connection.execute(select(t.order_line_part).where(t.order_line_part.c.merchant_id == merchant_id)):
        parts.setdefault(row.order_line_id, {})[row.sku_id] = row.quantity
    for row in connection.execute(
        select(line.id, line.order_id, line.sku_id, order.placed_at, order.received_at)
        .join_from(t.order_line, t.sales_order, (order.merchant_id == line.merchant_id) & (order.id == line.order_id))
        .where(line.merchant_id == merchant_id, line.sku_id.is_not(None))
    ):
        made_of = parts.get(row.id, {row.sku_id: 1})
        reference.lines[row.id] = Line(row.id, row.order_id, made_of, row.placed_at or row.received_at)
    for row in connection.execute(select(t.allocation).where(t.allocation.c.merchant_id == merchant_id)):
        reference.lines[row.order_line_id].held[row.sku_id, row.location_id] = row.quantity
    waits: dict[UUID, dict[UUID, int]] = {}
    for row in connection.execute(select(t.backorder).where(t.backorder.c.merchant_id == merchant_id)):
        waiting = reference.lines[row.order_line_id]
        waiting.waiting, waiting.rank, waiting.since = row.quantity, row.rank, row.since
        waiting.together = row.group_id == waiting.order_id
        waits.setdefault(row.order_line_id, {})[row.sku_id] = row.per_unit
    for line_id, said in waits.items():
        assert said == dict(reference.lines[line_id].parts), "a line waits for something else than it is made of"
    for place in reference.opened:
        assert reference.allocated(place) >= 0
    for each in reference.lines.values():
        assert each.holds >= 0
    return reference
