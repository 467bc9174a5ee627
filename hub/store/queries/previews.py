"""What the last preview of a connection found: what the shop says, what the hub would write, and how they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, exists, func, select, tuple_

from hub.store import previews
from hub.store import tables as t
from hub.store.queries import parts
from hub.store.queries.connections import LeftOut

FRESH = timedelta(hours=1)  # so long a preview tells what going live would do
SHOWN = ("differences", "drops", "zero", "raised", "lowered", "unchanged", "silent", "all")


@dataclass(frozen=True, slots=True)
class PreviewSummary:
    """The last finished preview, as it was counted."""

    looked_at: datetime
    raised: int
    lowered: int
    to_zero: int  # of those lowered
    big_drops: int
    unchanged: int
    silent: int  # the shop did not say, or keeps no stock of it there
    left_out: LeftOut

    @property
    def changed(self) -> int:
        return self.raised + self.lowered

    @property
    def cannot(self) -> int:
        """Listings, and figures at places, that are not written, or of which nobody knows what they are now."""
        left = self.left_out
        return self.silent + left.unmatched + left.untracked + left.uncounted + left.not_here

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
    change: int
    steps: Sequence[str]

    @property
    def lowered(self) -> bool:
        return self.says is not None and self.writes < self.says

    @property
    def sells_out(self) -> bool:
        """Customers can buy it now, and could not any more."""
        return self.lowered and self.writes == 0


def latest(connection: Connection, merchant_id: UUID, connection_id: UUID) -> PreviewSummary | None:
    """The last preview that was finished; None where there is none, or another one was asked for since."""
    this, task = t.preview.c, t.task.c
    another = exists().where(
        task.merchant_id == merchant_id,
        task.connection_id == connection_id,
        task.kind == "preview",
        task.state.in_(("waiting", "running")),
    )
    row = connection.execute(
        select(t.preview).where(this.merchant_id == merchant_id, this.connection_id == connection_id, ~another)
    ).one_or_none()
    if row is None:
        return None
    return PreviewSummary(
        looked_at=row.looked_at,
        raised=row.raised,
        lowered=row.lowered,
        to_zero=row.to_zero,
        big_drops=row.big_drops,
        unchanged=row.unchanged,
        silent=row.silent,
        left_out=LeftOut(row.unmatched, row.untracked, row.uncounted, row.not_here, row.unbound_locations),
    )


_FIGURE = t.preview_figure.c
_FILTERS: dict[str, ColumnElement[bool]] = {
    "differences": _FIGURE.change > 0,
    "drops": previews.BIG_DROP,
    "zero": previews.TO_ZERO,
    "raised": previews.RAISED,
    "lowered": previews.LOWERED,
    "unchanged": previews.UNCHANGED,
    "silent": previews.SILENT,
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
    """The figures of the last preview, the largest change first; ``after`` is (change, listing, place)."""
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
            figure.change,
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
        # All one way, as the index goes: however far somebody has turned the pages, only one of them is read.
        .order_by(figure.change.desc(), figure.listing_id.desc(), figure.location_external_id.desc())
        .limit(limit)
    )
    if show in _FILTERS:
        query = query.where(_FILTERS[show])
    if after is not None:
        query = query.where(tuple_(figure.change, figure.listing_id, figure.location_external_id) < after)
    rows: list[parts.AnyRow] = list(connection.execute(query))
    return [Difference(*row) for row in rows]
