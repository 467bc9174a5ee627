"""What each listing should say at its channel: which listings are published, what is due, what became of a write."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Update, bindparam, insert, or_, select, update

from hub.connector import StockRef, StockSeen
from hub.store import tables as t
from hub.store.database import in_chunks, new_id, upsert


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


def ensure(
    connection: Connection,
    merchant_id: UUID,
    *,
    at: datetime,
    connection_id: UUID | None = None,
    sku_ids: Collection[UUID] | None = None,
) -> set[UUID]:
    """Give every listing that may be published its publication, due at once; returns the connections with new ones.

    ``connection_id`` and ``sku_ids`` say where to look; by default everywhere.

    A listing is published when it is matched and tracked, its channel location is bound to one of ours, its SKU is
    counted there, and a person has set the connection live.
    """
    listing, place, shop, level = t.listing.c, t.channel_location.c, t.connection.c, t.stock_level.c
    missing = (
        select(listing.id, place.external_id, listing.connection_id)
        .select_from(
            t.listing.join(t.connection, (shop.merchant_id == listing.merchant_id) & (shop.id == listing.connection_id))
            .join(
                t.channel_location,
                (place.merchant_id == listing.merchant_id) & (place.connection_id == listing.connection_id),
            )
            .join(
                t.stock_level,
                (level.merchant_id == listing.merchant_id)
                & (level.sku_id == listing.sku_id)
                & (level.location_id == place.location_id),
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
            shop.live_at.is_not(None),
            shop.state != "removed",
            place.active,
            t.publication.c.listing_id.is_(None),
        )
    )
    if connection_id is not None:
        missing = missing.where(listing.connection_id == connection_id)
    if sku_ids is not None:
        missing = missing.where(listing.sku_id.in_(list(sku_ids)))
    rows = connection.execute(missing).all()
    if not rows:
        return set()
    connection.execute(
        upsert(connection, t.publication).on_conflict_do_nothing(
            index_elements=["merchant_id", "listing_id", "location_external_id"]
        ),
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
        ],
    )
    return {row.connection_id for row in rows}


def due(connection: Connection, merchant_id: UUID, connection_id: UUID, *, at: datetime, limit: int) -> list[Due]:
    """What has to be published on a connection now, with the figure of this moment; the longest waiting first."""
    publication, listing, level = t.publication.c, t.listing.c, t.stock_level.c
    looked_at = select(
        publication.listing_id,
        publication.location_external_id,
        publication.version,
        publication.quantity,
        publication.cause,
        publication.attempts,
        publication.explain_since,
        listing.external_id,
        listing.handles,
        listing.sku_id,
        (level.on_hand - level.allocated).label("available"),
    ).select_from(_publishable())
    here = (publication.merchant_id == merchant_id, publication.connection_id == connection_id, *_may_be_published(at))
    found: list[Due] = []
    for reason, oldest in ((_DIRTY, publication.dirty_since), (~_DIRTY & _to_be_read_back(at), publication.verify_at)):
        if len(found) >= limit:
            break
        rows = connection.execute(
            looked_at.where(reason, *here).order_by(oldest, publication.listing_id).limit(limit - len(found))
        )
        found += [
            Due(
                row.listing_id,
                row.sku_id,
                StockRef(row.external_id, row.location_external_id, row.handles),
                row.version,
                row.available,
                row.quantity,
                row.cause,
                row.attempts,
                reason is not _DIRTY,
                row.explain_since,
            )
            for row in rows
        ]
    return found


def connections_due(connection: Connection, at: datetime, *conditions: ColumnElement[bool]) -> list[tuple[UUID, UUID]]:
    """The connections (merchant, connection) for which ``due`` has something, among those that meet ``conditions``."""
    publication = t.publication.c
    found: dict[tuple[UUID, UUID], None] = {}
    for reason in (_DIRTY, _to_be_read_back(at)):
        rows = connection.execute(
            select(publication.merchant_id, publication.connection_id)
            .distinct()
            .select_from(_publishable())
            .where(reason, *_may_be_published(at), *conditions)
        )
        found.update(dict.fromkeys((row.merchant_id, row.connection_id) for row in rows))
    return list(found)


# Looked for one after the other, each along its own partial index: most publications are neither.
_DIRTY = t.publication.c.version > t.publication.c.published_version


def _to_be_read_back(at: datetime) -> ColumnElement[bool]:
    return t.publication.c.verify_at <= at


def _publishable() -> Any:
    """Publications with their listing, connection, and the stock of their SKU at the location they show."""
    publication, listing, place, shop = t.publication.c, t.listing.c, t.channel_location.c, t.connection.c
    level = t.stock_level.c
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
        .join(
            t.stock_level,
            (level.merchant_id == publication.merchant_id)
            & (level.sku_id == listing.sku_id)
            & (level.location_id == place.location_id),
        )
    )


def _may_be_published(at: datetime) -> tuple[Any, ...]:
    publication, listing, shop = t.publication.c, t.listing.c, t.connection.c
    return (
        or_(publication.not_before.is_(None), publication.not_before <= at),
        listing.tracked,
        listing.active,
        t.channel_location.c.active,
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
    publication = t.publication.c
    # In the order in which others lock them, too.
    outcomes = sorted(outcomes, key=lambda each: each.due.key)
    written = [each for each in outcomes if isinstance(each, Written)]
    if written:
        statement = _this(merchant_id).values(
            published_version=bindparam("its_version"),
            quantity=bindparam("its_quantity"),
            published_at=at,
            verify_at=bindparam("its_verify_at"),
            explain_since=None,
            not_before=None,
            attempts=0,
            error="",
        )
        connection.execute(
            statement,
            [
                _key(each.due)
                | {
                    "its_version": each.due.version,
                    "its_quantity": each.quantity,
                    "its_verify_at": None if each.verify_after is None else at + timedelta(seconds=each.verify_after),
                }
                for each in written
            ],
        )
    for each in outcomes:
        if isinstance(each, Postponed):
            values: dict[str, Any] = {"not_before": at + timedelta(seconds=each.seconds), "error": each.error}
            if each.seen is not None:
                values["quantity"] = each.seen
            if each.explaining:
                values["explain_since"] = each.due.explain_since or at
            if each.failed:
                values["attempts"] = publication.attempts + 1
            connection.execute(_this(merchant_id).values(**values), _key(each.due))
        elif isinstance(each, Drifted):
            cause = {"cause": "drift", "reference": "", "order_id": None, "at": at.isoformat()}
            values = {"version": publication.version + 1, "dirty_since": at, "verify_at": None, "explain_since": at}
            connection.execute(_this(merchant_id).values(cause=cause, **values), _key(each.due))
    entries = [
        {
            "merchant_id": merchant_id,
            "id": new_id(),
            "listing_id": each.due.listing_id,
            "location_external_id": each.due.ref.location_external_id,
            "version": each.due.version,
            "before": each.before,
            "quantity": each.quantity,
            "cause": each.due.cause,
            "note": each.note,
            "at": at,
        }
        for each in written
        if each.wrote
    ]
    if entries:
        connection.execute(insert(t.publication_entry), entries)


def stop(connection: Connection, merchant_id: UUID, due: Due, *, error: str) -> None:
    """The channel refuses this listing for good: nothing more is written until it changes."""
    connection.execute(
        _this(merchant_id).values(
            published_version=due.version, verify_at=None, explain_since=None, error=error, attempts=0
        ),
        _key(due),
    )


def _this(merchant_id: UUID) -> Update:
    """Changes the publication that ``_key`` names."""
    publication = t.publication.c
    return update(t.publication).where(
        publication.merchant_id == merchant_id,
        publication.listing_id == bindparam("this_listing"),
        publication.location_external_id == bindparam("this_location"),
    )


def _key(due: Due) -> dict[str, Any]:
    return {"this_listing": due.listing_id, "this_location": due.ref.location_external_id}


def seen(
    connection: Connection, merchant_id: UUID, connection_id: UUID, told: Sequence[StockSeen], *, at: datetime
) -> bool:
    """The channel told its figures by itself. True when there is news among them, and those listings are due again.

    The echo of our own write, and a figure that is right anyway, are dropped.
    """
    publication, listing, level = t.publication.c, t.listing.c, t.stock_level.c
    latest = {(each.handle, each.location_external_id, each.external_id): each.available for each in told}
    news: dict[tuple[UUID, str], int | None] = {}
    for handle, location in {key[:2] for key in latest}:
        name = listing.handles[handle].as_string() if handle else listing.external_id
        for some in in_chunks(key[2] for key in latest if key[:2] == (handle, location)):
            for row in connection.execute(
                select(
                    publication.listing_id,
                    publication.quantity,
                    (level.on_hand - level.allocated).label("available"),
                    name.label("told_of"),
                )
                .select_from(_publishable())
                .where(
                    publication.merchant_id == merchant_id,
                    publication.connection_id == connection_id,
                    publication.location_external_id == location,
                    publication.listing_id.in_(
                        select(listing.id).where(
                            listing.merchant_id == merchant_id, listing.connection_id == connection_id, name.in_(some)
                        )
                    ),
                )
            ):
                figure = latest[handle, location, row.told_of]
                if figure not in (row.quantity, row.available):
                    news[row.listing_id, location] = figure
    if news:
        connection.execute(
            _this(merchant_id).values(version=publication.version + 1, dirty_since=at, cause=bindparam("why")),
            [
                {
                    "this_listing": listing_id,
                    "this_location": location,
                    "why": {"cause": "seen", "reference": str(figure), "order_id": None, "at": at.isoformat()},
                }
                for (listing_id, location), figure in sorted(news.items(), key=lambda each: each[0])
            ],
        )
    return bool(news)
