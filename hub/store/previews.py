"""Previews: what a channel says beside what the hub would write, kept while a worker compares, counted at the end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, and_, case, delete, func, insert, select

from hub.store import tables as t
from hub.store.database import upsert
from hub.store.publications import Foreseen
from hub.store.queries import connections

_FIGURE = t.preview_figure.c
RAISED = _FIGURE.writes > _FIGURE.says
LOWERED = _FIGURE.writes < _FIGURE.says
TO_ZERO = and_(LOWERED, _FIGURE.writes == 0)
BIG_DROP = and_(LOWERED, _FIGURE.change >= 5, _FIGURE.change * 2 >= _FIGURE.says)  # half of it or more
UNCHANGED = _FIGURE.says == _FIGURE.writes
SILENT = _FIGURE.says.is_(None)


def begin(connection: Connection, merchant_id: UUID, connection_id: UUID) -> None:
    """Forget the preview before: another one is being made."""
    for table in (t.preview, t.preview_figure):
        connection.execute(
            delete(table).where(table.c.merchant_id == merchant_id, table.c.connection_id == connection_id)
        )


def keep(
    connection: Connection,
    merchant_id: UUID,
    connection_id: UUID,
    compared: Iterable[tuple[Foreseen, int | None]],
    *,
    at: datetime,
) -> None:
    """Keep figures with what the channel says of each; None: it does not say."""
    statement = upsert(connection, t.preview_figure)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["merchant_id", "listing_id", "location_external_id"],
            set_={name: statement.excluded[name] for name in ("says", "writes", "change", "steps", "at")},
        ),
        [
            {
                "merchant_id": merchant_id,
                "connection_id": connection_id,
                "listing_id": each.listing_id,
                "location_external_id": each.ref.location_external_id,
                "says": says,
                "writes": each.figure.quantity,
                "change": 0 if says is None else abs(says - each.figure.quantity),
                "steps": list(each.figure.steps),
                "at": at,
            }
            for each, says in compared
        ],
    )


def finish(connection: Connection, merchant_id: UUID, connection_id: UUID, *, at: datetime) -> None:
    """Everything was compared: count it, and what was left out."""
    kinds = {
        "raised": RAISED,
        "lowered": LOWERED,
        "to_zero": TO_ZERO,
        "big_drops": BIG_DROP,
        "unchanged": UNCHANGED,
        "silent": SILENT,
    }
    # Counted with sums: both databases can.
    row = connection.execute(
        select(*(func.coalesce(func.sum(case((each, 1), else_=0)), 0) for each in kinds.values())).where(
            _FIGURE.merchant_id == merchant_id, _FIGURE.connection_id == connection_id
        )
    ).one()
    left_out = connections.left_out(connection, merchant_id, connection_id)
    connection.execute(
        insert(t.preview).values(
            merchant_id=merchant_id,
            connection_id=connection_id,
            looked_at=at,
            **dict(zip(kinds, map(int, row), strict=True)),
            **asdict(left_out),
        )
    )
