"""What the last preview of a connection found: what the shop says, what the hub would write, and how they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select

from hub.store import tables as t
from hub.store.queries import parts

FRESH = timedelta(hours=1)  # so long a preview tells what going live would do
SHOWN = ("differences", "drops", "zero", "raised", "unchanged", "silent", "all")


@dataclass(frozen=True, slots=True)
class PreviewSummary:
    """The last finished preview, counted."""

    looked_at: datetime
    figures: int
    raised: int
    lowered: int
    to_zero: int  # of those lowered
    big_drops: int
    unchanged: int
    silent: int  # the shop did not say, or keeps no stock of it there

    def is_fresh(self, now: datetime) -> bool:
        return now - self.looked_at < FRESH


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure: what the shop says at one of its places, what the hub would write, and how that came about."""

    listing_id: UUID
    title: str
    sku_id: UUID | None
    sku_code: str
    place: str
    place_name: str
    says: int | None
    writes: int
    drop: int
    steps: Sequence[str]


def latest(connection: Connection, merchant_id: UUID, connection_id: UUID) -> PreviewSummary | None:
    """The last preview that was finished; None where there is none, or another one has begun since."""
    task, figure = t.task.c, t.preview_figure.c
    last = connection.execute(
        select(task.state, task.finished_at)
        .where(task.merchant_id == merchant_id, task.connection_id == connection_id, task.kind == "preview")
        .order_by(task.created_at.desc())
        .limit(1)
    ).one_or_none()
    if last is None or last.state != "done":
        return None
    # Counted with sums: both databases can.
    row = connection.execute(
        select(
            func.count(),
            *(
                func.coalesce(func.sum(case((each, 1), else_=0)), 0)
                for each in (_RAISED, _LOWERED, _TO_ZERO, _BIG, _UNCHANGED, _SILENT)
            ),
        ).where(figure.merchant_id == merchant_id, figure.connection_id == connection_id)
    ).one()
    return PreviewSummary(last.finished_at, *map(int, row))


_FIGURE = t.preview_figure.c
_RAISED = _FIGURE.rise > 0
_LOWERED = _FIGURE.drop > 0
_TO_ZERO = and_(_LOWERED, _FIGURE.writes == 0)
_BIG = and_(_FIGURE.drop >= 5, _FIGURE.drop * 2 >= _FIGURE.says)  # half of it or more, and worth a look
_SILENT = _FIGURE.says.is_(None)
_UNCHANGED = _FIGURE.says == _FIGURE.writes
_FILTERS: dict[str, ColumnElement[bool]] = {
    "differences": or_(_RAISED, _LOWERED),
    "drops": _BIG,
    "zero": _TO_ZERO,
    "raised": _RAISED,
    "unchanged": _UNCHANGED,
    "silent": _SILENT,
}


def differences(
    connection: Connection,
    merchant_id: UUID,
    connection_id: UUID,
    *,
    show: str,
    after: tuple[int, UUID, str] | None = None,
    limit: int = parts.PAGE,
) -> list[Difference]:
    """The figures of the last preview, the deepest drop first; ``after`` is (drop, listing, place)."""
    listing, place, sku, figure = t.listing.c, t.channel_location.c, t.sku.c, t.preview_figure.c
    query = (
        select(
            figure.listing_id,
            listing.title,
            listing.sku_id,
            func.coalesce(sku.code, ""),
            figure.location_external_id,
            func.coalesce(place.name, ""),
            figure.says,
            figure.writes,
            figure.drop,
            figure.steps,
        )
        .join(t.listing, parts.same(figure.listing_id, t.listing, t.preview_figure))
        .outerjoin(t.sku, parts.same(listing.sku_id, t.sku, t.listing))
        .outerjoin(
            t.channel_location,
            and_(
                place.merchant_id == figure.merchant_id,
                place.connection_id == figure.connection_id,
                place.external_id == figure.location_external_id,
            ),
        )
        .where(figure.merchant_id == merchant_id, figure.connection_id == connection_id)
        .order_by(figure.drop.desc(), figure.listing_id, figure.location_external_id)
        .limit(limit)
    )
    if show in _FILTERS:
        query = query.where(_FILTERS[show])
    if after is not None:
        drop, listing_id, location = after
        query = query.where(
            or_(
                figure.drop < drop,
                and_(figure.drop == drop, figure.listing_id > listing_id),
                and_(
                    figure.drop == drop,
                    figure.listing_id == listing_id,
                    figure.location_external_id > location,
                ),
            )
        )
    rows: list[parts.AnyRow] = list(connection.execute(query))
    return [Difference(*row) for row in rows]
