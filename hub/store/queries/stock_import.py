"""What files of stock would do, and did: each import, its rows, and how many of them there are of each kind."""

from __future__ import annotations

import io
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from uuid import UUID

from sqlalchemy import Connection, and_, case, func, select

from hub.rows import FileFormat, RowReader
from hub.store import tables as t
from hub.store.queries import parts
from hub.store.stock_import import Fate, Stage, cells

_SHOWN_AT_FIRST = 5  # rows of a file, while somebody says what its columns mean
_LATEST = 20


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """One line of the list of imports."""

    id: UUID
    file_name: str
    actor: str
    meaning: str
    state: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportView:
    """One import. ``counts`` are rows by their fate, ``more`` and ``fewer`` the units that are or would be changed."""

    id: UUID
    file_name: str
    actor: str
    encoding: str
    delimiter: str
    header: Sequence[str]
    meaning: str
    columns: Mapping[str, str]
    location_id: UUID | None
    location_name: str
    reason: str
    make_skus: bool
    state: str
    message: str
    done: int
    total: int
    created_at: datetime
    counts: Mapping[str, int]
    more: int
    fewer: int

    @property
    def is_working(self) -> bool:
        """Whether a worker is at it, so that its page has to be looked at again."""
        return self.state in (Stage.READING, Stage.APPLYING, Stage.UNDOING)

    @property
    def rows(self) -> int:
        return sum(self.counts.values())

    def count(self, *fates: str) -> int:
        """How many rows have one of these fates."""
        return sum(self.counts.get(each, 0) for each in fates)


@dataclass(frozen=True, slots=True)
class ImportRow:
    """One row of the file: the stock it is about, what it would make of it, and what is there at this moment."""

    line: int
    state: str
    code: str
    sku_id: UUID | None
    title: str
    location_name: str
    quantity: int | None
    before: int | None
    after: int | None
    details: Mapping[str, Sequence[str | int | None]] | None  # of a file of details: as it is, and as it would be
    problem: str
    texts: Sequence[str]
    now: int | None

    @property
    def change(self) -> int:
        return (self.after or 0) - (self.before or 0)

    @property
    def has_moved(self) -> bool:
        """Whether its stock is not any more what it was when the row was worked out."""
        of_figures = self.details is None and self.state in (Fate.READY, Fate.UNCHANGED, Fate.MOVED)
        return of_figures and self.now != self.before


def imports(connection: Connection, merchant_id: UUID) -> list[ImportSummary]:
    """The last files, the newest first."""
    this = t.stock_import.c
    rows = connection.execute(
        select(this.id, this.file_name, this.actor, this.meaning, this.state, this.created_at)
        .where(this.merchant_id == merchant_id)
        .order_by(this.id.desc())
        .limit(_LATEST)
    )
    return [ImportSummary(*row) for row in rows]


def stock_import(connection: Connection, merchant_id: UUID, import_id: UUID) -> ImportView | None:
    """One import, counted."""
    this, each = t.stock_import.c, t.stock_import_row.c
    row = connection.execute(
        select(
            *(column for column in this if column.name != "body"), func.coalesce(t.location.c.name, "").label("place")
        )
        .outerjoin(t.location, parts.same(this.location_id, t.location, t.stock_import))
        .where(this.merchant_id == merchant_id, this.id == import_id)
    ).one_or_none()
    if row is None:
        return None
    change = each.after - func.coalesce(each.before, 0)
    counted = connection.execute(
        select(
            each.state,
            func.count(),
            func.coalesce(func.sum(case((change > 0, change), else_=0)), 0),
            func.coalesce(func.sum(case((change < 0, -change), else_=0)), 0),
        )
        .where(each.merchant_id == merchant_id, each.import_id == import_id)
        .group_by(each.state)
    ).all()
    moving = [found for found in counted if found[0] in (Fate.READY, Fate.MOVED, Fate.APPLIED)]
    return ImportView(
        id=row.id,
        file_name=row.file_name,
        actor=row.actor,
        encoding=row.encoding,
        delimiter=row.delimiter,
        header=row.header,
        meaning=row.meaning,
        columns=row.columns,
        location_id=row.location_id,
        location_name=row.place,
        reason=row.reason,
        make_skus=row.make_skus,
        state=row.state,
        message=row.message,
        done=row.done,
        total=max(row.total, row.done),
        created_at=row.created_at,
        counts={found[0]: int(found[1]) for found in counted},
        more=sum(int(found[2]) for found in moving),
        fewer=sum(int(found[3]) for found in moving),
    )


def rows(
    connection: Connection,
    merchant_id: UUID,
    import_id: UUID,
    fates: Collection[str],
    *,
    after: int = 0,
    limit: int = parts.PAGE,
) -> list[ImportRow]:
    """Rows of these fates in the order of the file; ``after`` is the line of the last one shown."""
    this, sku, level = t.stock_import_row.c, t.sku.c, t.stock_level.c
    found = connection.execute(
        select(
            this.line,
            this.state,
            func.coalesce(sku.code, this.code),
            this.sku_id,
            func.coalesce(sku.title, ""),
            func.coalesce(t.location.c.name, ""),
            this.quantity,
            this.before,
            this.after,
            this.details,
            this.problem,
            this.texts,
            level.on_hand,
        )
        .outerjoin(t.sku, parts.same(this.sku_id, t.sku, t.stock_import_row))
        .outerjoin(t.location, parts.same(this.location_id, t.location, t.stock_import_row))
        .outerjoin(
            t.stock_level,
            and_(
                level.merchant_id == this.merchant_id,
                level.sku_id == this.sku_id,
                level.location_id == this.location_id,
            ),
        )
        .where(
            this.merchant_id == merchant_id, this.import_id == import_id, this.state.in_(list(fates)), this.line > after
        )
        .order_by(this.line)
        .limit(limit)
    )
    listed: list[parts.AnyRow] = list(found)
    return [ImportRow(*row) for row in listed]


def beginning(connection: Connection, merchant_id: UUID, import_id: UUID) -> list[Sequence[str]]:
    """The first rows of the file, by its header; what cannot be read is left out here, and told of later."""
    this = t.stock_import.c
    row = connection.execute(
        select(this.body, this.encoding, this.delimiter).where(this.merchant_id == merchant_id, this.id == import_id)
    ).one()
    reader = RowReader(
        io.BytesIO(zlib.decompress(row.body)), FileFormat(encoding=row.encoding, delimiter=row.delimiter)
    )
    good = (each for each in reader if not each.wrong)
    return [cells(each) for each in islice(good, _SHOWN_AT_FIRST)]
