"""Why an order could, or could not, be given what it bought, line by line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, func, select

from hub.explain import evidence
from hub.explain.case import Case
from hub.explain.evidence import Heard, Sale
from hub.explain.findings import LineExplained, OrderExplained, Verdict
from hub.explain.words import units
from hub.store import tables as t

_MOST_LINES = 100


def oversell(connection: Connection, merchant_id: UUID, order_id: UUID) -> OrderExplained | None:
    """Explain the lines of an order; None when the merchant has no such order."""
    order, shop, line = t.sales_order.c, t.connection.c, t.order_line.c
    row = connection.execute(
        select(t.sales_order, shop.label)
        .join(t.connection, (shop.merchant_id == order.merchant_id) & (shop.id == order.connection_id))
        .where(order.merchant_id == merchant_id, order.id == order_id)
    ).one_or_none()
    if row is None:
        return None
    sale = Sale(
        row.id,
        row.number,
        row.connection_id,
        row.label,
        row.external_id,
        row.placed_at or row.received_at,
        row.imported_at,
        {},
    )
    records = evidence.heard(connection, merchant_id, sale)
    lines = connection.execute(
        select(
            t.order_line,
            func.coalesce(t.sku.c.code, "").label("code"),
            t.sku.c.counted_since,
            t.sku.c.kit,
            _units_of(t.allocation).label("held"),
            _waiting().label("waiting"),
        )
        .outerjoin(t.sku, (t.sku.c.merchant_id == line.merchant_id) & (t.sku.c.id == line.sku_id))
        .where(line.merchant_id == merchant_id, line.order_id == order_id)
        .order_by(line.present.desc(), line.position, line.id)
        .limit(_MOST_LINES)
    ).all()
    short = _last_shortages(connection, merchant_id, order_id)
    return OrderExplained(
        row.id,
        row.number,
        row.label,
        row.placed_at,
        records[0].at if records else None,
        records[0].source if records else "",
        row.imported_at,
        tuple(_line(connection, merchant_id, row, sale, records, each, short.get(each.id)) for each in lines),
    )


def _last_shortages(connection: Connection, merchant_id: UUID, order_id: UUID) -> dict[UUID, Any]:
    """By order line, the last time it came away short."""
    short = t.shortage.c
    rows = connection.execute(
        select(t.shortage)
        .where(short.merchant_id == merchant_id, short.order_id == order_id)
        .order_by(short.at.desc(), short.id.desc())
        .limit(10 * _MOST_LINES)
    )
    found: dict[UUID, Any] = {}
    for row in rows:
        found.setdefault(row.order_line_id, row)
    return found


def _units_of(table: Any) -> Any:
    return (
        select(func.coalesce(func.sum(table.c.quantity), 0))
        .where(table.c.merchant_id == t.order_line.c.merchant_id, table.c.order_line_id == t.order_line.c.id)
        .correlate(t.order_line)
        .scalar_subquery()
    )


def _waiting() -> Any:
    # A kit has one row per part, each with the units of the line.
    waits = t.backorder.c
    return (
        select(func.coalesce(func.max(waits.quantity), 0))
        .where(waits.merchant_id == t.order_line.c.merchant_id, waits.order_line_id == t.order_line.c.id)
        .correlate(t.order_line)
        .scalar_subquery()
    )


def _line(
    connection: Connection,
    merchant_id: UUID,
    order: Any,
    sale: Sale,
    records: Sequence[Heard],
    line: Any,
    shortage: Any | None,
) -> LineExplained:
    about: dict[str, Any] = {
        "title": line.title,
        "sku_id": line.sku_id,
        "sku": line.code or line.sku_text,
        "quantity": line.quantity,
        "waiting": line.waiting,
    }
    if shortage is None:
        verdict, sentence = _not_short(order, line)
        return LineExplained(**about, short=0, at=None, verdict=verdict, sentence=sentence)
    return Case(connection, merchant_id, sale, records, line, shortage).explain(about)


def _not_short(order: Any, line: Any) -> tuple[Verdict, str]:
    """What became of a line that was never short of anything."""
    wanted = line.quantity - max(line.fulfilled, line.sent) - line.removed
    if not line.present or line.quantity == line.removed:
        return Verdict.NOTHING, "Nothing of it is wanted any more."
    if line.sku_id is None:
        if line.listing_external_id is None:
            return Verdict.NOTHING, "It is not sold from a listing, so no stock belongs to it."
        return Verdict.UNMATCHED, "Its listing is not matched to a SKU, so it holds no stock yet. Match the listing."
    if wanted <= 0:
        return Verdict.HELD, f"It was not oversold: {units(max(line.fulfilled, line.sent))} left with the order."
    if line.counted_since is None and not line.kit:
        return Verdict.UNCOUNTED, "The hub keeps no stock of this SKU yet: adopt its opening stock, or count it."
    if order.shipped_by_channel:
        return Verdict.NOTHING, "The channel ships it from a warehouse of its own, so nothing of yours belongs to it."
    if not order.holds_stock:
        return Verdict.NOTHING, f"The order holds no stock while it is “{order.channel_status or order.status}”."
    if line.waiting:
        return Verdict.OVERSOLD, f"{units(line.waiting)} wait, but the hub has no record of how that came."
    return Verdict.HELD, f"It was not oversold: everything it wants is reserved for it, {units(wanted)}."
