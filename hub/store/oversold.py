"""The issue that units of a SKU were sold which are not there: raised when a line comes away short, and closed when
nothing of the SKU waits any more."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, exists, select, update

from hub.core.stock import StockBook
from hub.store import activity, selling
from hub.store import tables as t

OVERSOLD = "oversold"  # the kind of issue; the subject is the SKU's id
_MOST_LINES = 50  # lines of a queue that are counted, however long it is
_MOST_NAMED = 5


def keep_up(connection: Connection, merchant_id: UUID, book: StockBook, *, at: datetime) -> None:
    """Bring the issues in line with a book that has just been written.

    A line that may sell what is not there by its listing's rule is none, nor is one that waits only for the others of
    its order, or for another part of its kit.
    """
    short = {sku_id for shortage in book.shortages for sku_id in shortage.missing}
    if short:
        _raise(connection, merchant_id, short, at)
    eased = {
        sku_id
        for line_id in book.changed_claims & book.loaded
        if not book.claims[line_id].waiting
        for sku_id in book.claims[line_id].parts
    }
    if eased - short:
        _resolve(connection, merchant_id, eased - short, at)


def _raise(connection: Connection, merchant_id: UUID, sku_ids: Iterable[UUID], at: datetime) -> None:
    queues = {sku_id: _queue(connection, merchant_id, sku_id) for sku_id in sorted(sku_ids)}
    listings = {
        (row.connection_id, row.listed_sku_id, row.listing_id)
        for rows in queues.values()
        for row in rows
        if row.listing_id is not None and row.listed_sku_id is not None
    }
    rules = selling.rules(connection, merchant_id, listings)
    for sku_id, rows in queues.items():
        lines = [row for row in rows if not _may_wait(row, rules)]
        if not lines:
            continue
        count = sum(row.quantity * row.per_unit for row in lines)
        numbers = list(dict.fromkeys(row.number for row in lines))
        many = len(rows) == _MOST_LINES
        more = " and more" if many or len(numbers) > _MOST_NAMED else ""
        named = f"order{'s' if len(numbers) > 1 or more else ''} {', '.join(numbers[:_MOST_NAMED])}{more}"
        told = f"{'At least ' if many else ''}{count:,} unit{'' if count == 1 else 's'}"
        activity.raise_issue(
            connection,
            merchant_id,
            OVERSOLD,
            str(sku_id),
            f"{told} of {lines[0].code} sold, but not there ({named})",
            "See how it came, then order more goods, or cancel an order in its shop.",
            at=at,
            link=f"/stock/{sku_id}/explain",
        )


def _queue(connection: Connection, merchant_id: UUID, sku_id: UUID) -> list[Row[Any]]:
    """The first lines that wait for the SKU itself."""
    waits, line, order, listing = t.backorder.c, t.order_line.c, t.sales_order.c, t.listing.c
    return list(
        connection.execute(
            select(
                waits.quantity,
                waits.per_unit,
                order.number,
                order.connection_id,
                listing.id.label("listing_id"),
                listing.sku_id.label("listed_sku_id"),
                t.sku.c.code,
            )
            .select_from(
                t.backorder.join(t.sku, (t.sku.c.merchant_id == waits.merchant_id) & (t.sku.c.id == waits.sku_id))
                .join(t.order_line, (line.merchant_id == waits.merchant_id) & (line.id == waits.order_line_id))
                .join(t.sales_order, (order.merchant_id == line.merchant_id) & (order.id == line.order_id))
                .outerjoin(
                    t.listing,
                    (listing.merchant_id == order.merchant_id)
                    & (listing.connection_id == order.connection_id)
                    & (listing.external_id == line.listing_external_id),
                )
            )
            .where(waits.merchant_id == merchant_id, waits.sku_id == sku_id, t.IN_QUEUE, waits.missing)
            .order_by(waits.rank, waits.since, waits.order_line_id)
            .limit(_MOST_LINES)
        )
    )


def _may_wait(row: Row[Any], rules: selling.Rules) -> bool:
    if row.listing_id is None or row.listed_sku_id is None:
        return False
    return bool(rules.of(row.connection_id, row.listed_sku_id, row.listing_id).backorder_limit)


def _resolve(connection: Connection, merchant_id: UUID, sku_ids: Iterable[UUID], at: datetime) -> None:
    issue, waits = t.issue.c, t.backorder.c
    for sku_id in sorted(sku_ids):
        connection.execute(
            update(t.issue)
            .where(
                issue.merchant_id == merchant_id,
                issue.kind == OVERSOLD,
                issue.subject == str(sku_id),
                issue.resolved_at.is_(None),
                ~exists().where(waits.merchant_id == merchant_id, waits.sku_id == sku_id, t.IN_QUEUE, waits.missing),
            )
            .values(resolved_at=at, resolved_by="")
        )
