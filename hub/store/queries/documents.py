"""What people did to stock, on paper: receipts, counts, transfers and corrections, and one of them with its lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, exists, func, or_, select

from hub.store import tables as t
from hub.store.queries import parts


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentSummary:
    """One line of the list of documents; ``units`` are moved, or, in a count, counted."""

    id: UUID
    kind: str
    reference: str
    location_id: UUID
    location_name: str
    to_location_name: str
    state: str
    actor: str
    note: str
    counted_at: datetime | None
    created_at: datetime
    closed_at: datetime | None
    lines: int
    units: int
    arrived: int
    lost: int
    differs: int  # lines of a count on which something else was found than expected

    @property
    def on_the_way(self) -> int:
        """Units of a transfer of which it is not known yet whether they arrive."""
        return self.units - self.arrived - self.lost if self.state == "in_transit" else 0


@dataclass(frozen=True, slots=True)
class DocumentLine:
    """One SKU of a document."""

    sku_id: UUID
    code: str
    title: str
    quantity: int
    expected: int | None
    arrived: int
    lost: int

    @property
    def variance(self) -> int:
        """What a count found more, or less, than the ledger says."""
        return 0 if self.expected is None else self.quantity - self.expected

    @property
    def on_the_way(self) -> int:
        return self.quantity - self.arrived - self.lost


@dataclass(frozen=True, slots=True)
class DocumentView:
    """One document with its lines."""

    head: DocumentSummary
    lines: tuple[DocumentLine, ...]


@dataclass(frozen=True, slots=True)
class DocumentFilter:
    """Which documents a list shows; every part may be empty."""

    kind: str = ""
    location_id: UUID | None = None
    text: str = ""
    in_transit: bool = False


def documents(
    connection: Connection,
    merchant_id: UUID,
    wanted: DocumentFilter,
    *,
    before: UUID | None = None,
    limit: int = parts.PAGE,
) -> list[DocumentSummary]:
    """Documents, the newest first: their ids rise with time. ``before`` is that of the last one shown."""
    document = t.stock_document.c
    conditions: list[Any] = []
    if wanted.kind:
        conditions.append(document.kind == wanted.kind)
    if wanted.location_id is not None:
        conditions.append(
            or_(document.location_id == wanted.location_id, document.to_location_id == wanted.location_id)
        )
    if wanted.in_transit:
        conditions.append(document.state == "in_transit")
    if wanted.text:
        line = t.stock_document_line.c
        of_sku = (
            exists()
            .where(line.merchant_id == document.merchant_id, line.document_id == document.id)
            .where(parts.same(line.sku_id, t.sku, t.stock_document_line), t.sku.c.code == wanted.text)
        )
        conditions.append(
            or_(parts.contains(document.reference, wanted.text), parts.contains(document.note, wanted.text), of_sku)
        )
    if before is not None:
        conditions.append(document.id < before)
    return _documents(connection, merchant_id, conditions, limit)


def document(connection: Connection, merchant_id: UUID, document_id: UUID) -> DocumentView | None:
    """One document."""
    heads = _documents(connection, merchant_id, [t.stock_document.c.id == document_id], 1)
    if not heads:
        return None
    line = t.stock_document_line.c
    rows = connection.execute(
        select(t.sku.c.id, t.sku.c.code, t.sku.c.title, line.quantity, line.expected, line.arrived, line.lost)
        .join(t.sku, parts.same(line.sku_id, t.sku, t.stock_document_line))
        .where(line.merchant_id == merchant_id, line.document_id == document_id)
        .order_by(t.sku.c.code)
    )
    return DocumentView(heads[0], tuple(DocumentLine(*row) for row in rows))


def named(connection: Connection, merchant_id: UUID, kind: str, reference: str) -> UUID | None:
    """The document of a kind that has this reference."""
    document = t.stock_document.c
    found: UUID | None = connection.execute(
        select(document.id).where(
            document.merchant_id == merchant_id, document.kind == kind, document.reference == reference
        )
    ).scalar_one_or_none()
    return found


def _documents(
    connection: Connection, merchant_id: UUID, conditions: Sequence[Any], limit: int
) -> list[DocumentSummary]:
    document, line = t.stock_document.c, t.stock_document_line.c
    to = t.location.alias()
    rows = connection.execute(
        select(t.stock_document, t.location.c.name, func.coalesce(to.c.name, "").label("to_name"))
        .join(t.location, parts.same(document.location_id, t.location, t.stock_document))
        .outerjoin(to, (to.c.merchant_id == document.merchant_id) & (to.c.id == document.to_location_id))
        .where(document.merchant_id == merchant_id, *conditions)
        .order_by(document.id.desc())
        .limit(limit)
    ).all()
    differs = func.count().filter(line.expected.is_not(None), line.expected != line.quantity)
    sums = {
        row.document_id: [int(each) for each in row[1:]]
        for row in connection.execute(
            select(
                line.document_id,
                func.count(),
                func.sum(line.quantity),
                func.sum(line.arrived),
                func.sum(line.lost),
                differs,
            )
            .where(line.merchant_id == merchant_id, line.document_id.in_([row.id for row in rows]))
            .group_by(line.document_id)
        )
    }
    found = []
    for row in rows:
        lines, units, arrived, lost, differing = sums.get(row.id, [0] * 5)
        found.append(
            DocumentSummary(
                id=row.id,
                kind=row.kind,
                reference=row.reference,
                location_id=row.location_id,
                location_name=row.name,
                to_location_name=row.to_name,
                state=row.state,
                actor=row.actor,
                note=row.note,
                counted_at=row.counted_at,
                created_at=row.created_at,
                closed_at=row.closed_at,
                lines=lines,
                units=units,
                arrived=arrived,
                lost=lost,
                differs=differing,
            )
        )
    return found
