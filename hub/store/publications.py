"""What each listing should say at its channel: which listings are published, what is due, what became of a write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, insert, or_, select, update

from hub.connector import StockRef
from hub.store import tables as t
from hub.store.database import new_id, upsert


@dataclass(frozen=True, slots=True)
class Due:
    """One listing at one channel location that has to be published: the figure is what is available right now.

    ``expected`` is what the hub believes the channel says. ``verify`` is set when the figure was written before and
    only has to be read back.
    """

    listing_id: UUID
    sku_id: UUID
    ref: StockRef
    version: int
    quantity: int
    expected: int | None
    cause: Any
    attempts: int
    verify: bool
    explain_since: datetime | None

    @property
    def key(self) -> tuple[UUID, str]:
        return self.listing_id, self.ref.location_external_id


def ensure(connection: Connection, merchant_id: UUID, *, at: datetime, connection_id: UUID | None = None) -> set[UUID]:
    """Give every listing that may be published its publication, due at once; returns the connections with new ones.

    A listing is published when it is matched and tracked, its SKU is counted, its channel location is bound to one
    of ours, and a person has set the connection live.
    """
    listing, place, shop = t.listing.c, t.channel_location.c, t.connection.c
    missing = (
        select(listing.id, place.external_id, listing.connection_id)
        .select_from(
            t.listing.join(t.sku, (t.sku.c.merchant_id == listing.merchant_id) & (t.sku.c.id == listing.sku_id))
            .join(t.connection, (shop.merchant_id == listing.merchant_id) & (shop.id == listing.connection_id))
            .join(
                t.channel_location,
                (place.merchant_id == listing.merchant_id) & (place.connection_id == listing.connection_id),
            )
            .outerjoin(
                t.publication,
                (t.publication.c.merchant_id == listing.merchant_id)
                & (t.publication.c.listing_id == listing.id)
                & (t.publication.c.location_external_id == place.external_id),
            )
        )
        .where(
            listing.merchant_id == merchant_id,
            listing.tracked,
            listing.active,
            t.sku.c.counted_since.is_not(None),
            shop.live_at.is_not(None),
            shop.state != "removed",
            place.location_id.is_not(None),
            place.active,
            t.publication.c.listing_id.is_(None),
        )
    )
    if connection_id is not None:
        missing = missing.where(listing.connection_id == connection_id)
    rows = connection.execute(missing).all()
    if not rows:
        return set()
    connection.execute(
        upsert(connection, t.publication)
        .values(
            [
                {
                    "merchant_id": merchant_id,
                    "listing_id": row.id,
                    "location_external_id": row.external_id,
                    "connection_id": row.connection_id,
                    "version": 1,
                    "published_version": 0,
                    "dirty_since": at,
                    "cause": {"cause": "went_live", "reference": "", "order_id": None, "at": at.isoformat()},
                }
                for row in rows
            ]
        )
        .on_conflict_do_nothing(index_elements=["merchant_id", "listing_id", "location_external_id"])
    )
    return {row.connection_id for row in rows}


def due(connection: Connection, merchant_id: UUID, connection_id: UUID, *, at: datetime, limit: int) -> list[Due]:
    """What has to be published on a connection now, with the figure of this moment; the longest waiting first."""
    publication, listing, level = t.publication.c, t.listing.c, t.stock_level.c
    dirty = publication.version > publication.published_version
    rows = connection.execute(
        select(
            publication.listing_id,
            publication.location_external_id,
            publication.version,
            publication.quantity,
            publication.cause,
            publication.attempts,
            publication.explain_since,
            dirty.label("dirty"),
            listing.external_id,
            listing.handles,
            listing.sku_id,
            level.on_hand,
            level.allocated,
        )
        .select_from(
            _publishable().outerjoin(
                t.stock_level,
                (level.merchant_id == publication.merchant_id)
                & (level.sku_id == listing.sku_id)
                & (level.location_id == t.channel_location.c.location_id),
            )
        )
        .where(
            publication.merchant_id == merchant_id,
            publication.connection_id == connection_id,
            or_(dirty, publication.verify_at <= at),
            *_may_be_published(at),
        )
        .order_by(publication.dirty_since, publication.listing_id)
        .limit(limit)
    ).all()
    return [
        Due(
            row.listing_id,
            row.sku_id,
            StockRef(row.external_id, row.location_external_id, row.handles),
            row.version,
            (row.on_hand or 0) - (row.allocated or 0),
            row.quantity,
            row.cause,
            row.attempts,
            not row.dirty,
            row.explain_since,
        )
        for row in rows
    ]


def connections_due(connection: Connection, at: datetime) -> list[tuple[UUID, UUID]]:
    """The connections (merchant, connection) for which ``due`` has something."""
    publication = t.publication.c
    # Two looks, each along its own partial index: most publications are neither dirty nor to be read back.
    reasons = (publication.version > publication.published_version, publication.verify_at <= at)
    found: dict[tuple[UUID, UUID], None] = {}
    for reason in reasons:
        rows = connection.execute(
            select(publication.merchant_id, publication.connection_id)
            .distinct()
            .select_from(_publishable())
            .where(reason, *_may_be_published(at))
        )
        found.update(dict.fromkeys((row.merchant_id, row.connection_id) for row in rows))
    return list(found)


def _publishable() -> Any:
    publication, listing, place, shop = t.publication.c, t.listing.c, t.channel_location.c, t.connection.c
    return (
        t.publication.join(
            t.listing, (listing.merchant_id == publication.merchant_id) & (listing.id == publication.listing_id)
        )
        .join(
            t.channel_location,
            (place.merchant_id == publication.merchant_id)
            & (place.connection_id == publication.connection_id)
            & (place.external_id == publication.location_external_id),
        )
        .join(t.connection, (shop.merchant_id == publication.merchant_id) & (shop.id == publication.connection_id))
    )


def _may_be_published(at: datetime) -> tuple[Any, ...]:
    publication, listing, shop = t.publication.c, t.listing.c, t.connection.c
    return (
        or_(publication.not_before.is_(None), publication.not_before <= at),
        listing.sku_id.is_not(None),
        listing.tracked,
        listing.active,
        t.channel_location.c.location_id.is_not(None),
        shop.live_at.is_not(None),
        shop.state == "connected",
        or_(shop.not_before.is_(None), shop.not_before <= at),
    )


@dataclass(frozen=True, slots=True)
class Written:
    """The channel says ``quantity`` now; ``wrote`` tells whether the hub had to write it."""

    due: Due
    quantity: int
    wrote: bool
    before: int | None = None
    verify_after: float | None = None  # seconds until it is read back
    note: str = ""


@dataclass(frozen=True, slots=True)
class Postponed:
    """Not published: tried again after ``seconds``, with what was learnt of the channel's figure meanwhile.

    ``explaining`` means that the channel's figure is not the expected one and orders are imported before it is
    overwritten; ``failed`` counts the try against the listing.
    """

    due: Due
    seconds: float
    error: str = ""
    seen: int | None = None
    explaining: bool = False
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Drifted:
    """Read back, the channel says something else than what was written: once orders are imported, published again."""

    due: Due


def record(
    connection: Connection,
    merchant_id: UUID,
    outcomes: Sequence[Written | Postponed | Drifted],
    *,
    at: datetime,
) -> None:
    """Write down what became of a batch. A listing that changed meanwhile keeps its higher version, and stays due."""
    entries: list[dict[str, Any]] = []
    for outcome in outcomes:
        publication = t.publication.c
        here = update(t.publication).where(
            publication.merchant_id == merchant_id,
            publication.listing_id == outcome.due.listing_id,
            publication.location_external_id == outcome.due.ref.location_external_id,
        )
        if isinstance(outcome, Written):
            verify_at = at + timedelta(seconds=outcome.verify_after) if outcome.verify_after is not None else None
            connection.execute(
                here.values(
                    published_version=outcome.due.version,
                    quantity=outcome.quantity,
                    published_at=at,
                    verify_at=verify_at,
                    explain_since=None,
                    not_before=None,
                    attempts=0,
                    error="",
                )
            )
            if outcome.wrote:
                entries.append(
                    {
                        "merchant_id": merchant_id,
                        "id": new_id(),
                        "listing_id": outcome.due.listing_id,
                        "location_external_id": outcome.due.ref.location_external_id,
                        "version": outcome.due.version,
                        "before": outcome.before,
                        "quantity": outcome.quantity,
                        "cause": outcome.due.cause,
                        "note": outcome.note,
                        "at": at,
                    }
                )
        elif isinstance(outcome, Postponed):
            values: dict[str, Any] = {"not_before": at + timedelta(seconds=outcome.seconds), "error": outcome.error}
            if outcome.seen is not None:
                values["quantity"] = outcome.seen
            if outcome.explaining:
                values["explain_since"] = outcome.due.explain_since or at
            if outcome.failed:
                values["attempts"] = publication.attempts + 1
            connection.execute(here.values(**values))
        else:
            connection.execute(
                here.values(
                    version=publication.version + 1,
                    dirty_since=at,
                    verify_at=None,
                    explain_since=at,
                    cause={"cause": "drift", "reference": "", "order_id": None, "at": at.isoformat()},
                )
            )
    if entries:
        connection.execute(insert(t.publication_entry), entries)


def stop(connection: Connection, merchant_id: UUID, due: Due, *, error: str) -> None:
    """The channel refuses this listing for good: nothing more is written until it changes."""
    connection.execute(
        update(t.publication)
        .where(
            t.publication.c.merchant_id == merchant_id,
            t.publication.c.listing_id == due.listing_id,
            t.publication.c.location_external_id == due.ref.location_external_id,
        )
        .values(published_version=due.version, verify_at=None, explain_since=None, error=error, attempts=0)
    )


def seen(
    connection: Connection,
    merchant_id: UUID,
    connection_id: UUID,
    external_id: str,
    location_external_id: str,
    available: int | None,
    *,
    handle: str,
    at: datetime,
) -> bool:
    """The channel told its figure of a listing by itself. True when it is news, and the listing is due again.

    The echo of our own write, and a figure that is right anyway, are dropped.
    """
    publication, listing, level, place = t.publication.c, t.listing.c, t.stock_level.c, t.channel_location.c
    name = listing.handles[handle].as_string() if handle else listing.external_id
    rows = connection.execute(
        select(publication.listing_id, publication.quantity, level.on_hand, level.allocated)
        .select_from(
            t.publication.join(
                t.listing, (listing.merchant_id == publication.merchant_id) & (listing.id == publication.listing_id)
            )
            .join(
                t.channel_location,
                (place.merchant_id == publication.merchant_id)
                & (place.connection_id == publication.connection_id)
                & (place.external_id == publication.location_external_id),
            )
            .join(
                t.stock_level,
                (level.merchant_id == publication.merchant_id)
                & (level.sku_id == listing.sku_id)
                & (level.location_id == place.location_id),
            )
        )
        .where(
            publication.merchant_id == merchant_id,
            publication.connection_id == connection_id,
            publication.location_external_id == location_external_id,
            name == external_id,
        )
    ).all()
    news = [row for row in rows if available not in (row.quantity, row.on_hand - row.allocated)]
    for row in news:
        connection.execute(
            update(t.publication)
            .where(
                publication.merchant_id == merchant_id,
                publication.listing_id == row.listing_id,
                publication.location_external_id == location_external_id,
            )
            .values(
                version=publication.version + 1,
                dirty_since=at,
                cause={"cause": "seen", "reference": str(available), "order_id": None, "at": at.isoformat()},
            )
        )
    return bool(news)
