"""What each listing should say at its channel: which listings are published, what is due, what became of a write."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Update,
    and_,
    bindparam,
    case,
    exists,
    false,
    func,
    insert,
    or_,
    select,
    union_all,
    update,
)

from hub.connector import StockRef, StockSeen
from hub.core.model import StockLevel
from hub.core.selling import Figure, Limits, Part, Shelf, Split, available_to_sell
from hub.store import marking, selling, stock
from hub.store import tables as t
from hub.store.database import among, in_chunks, new_id, upsert

READ_BACK_SECONDS = 5.0  # after a write to a channel without compare-and-set, and where a doubt is left
_LATE = timedelta(seconds=15)  # what is to be read back makes no change wait, unless it has waited so long itself
_ECHO_SECONDS = 600.0  # so late a channel may still tell a figure that we have replaced since
# While a channel judges a figure that it has taken in, the listing is not written again: news waits so long for what
# becomes of the figure before, and where there is no news, the same figure is written anew after so long.
NEWS_WAITS = timedelta(minutes=5)
ANSWER_WITHIN = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Due:
    """One listing at one channel location that has to be published: ``quantity`` is its figure of this moment.

    ``expected`` is what the hub believes the channel says, since ``left_at``; at ``checked_at`` it was known to say so.
    ``left`` is what it said at ``left_at``: it still does where the sales that were told of since came before that.
    ``verify`` is set when the figure was written before and only has to be read back. ``pending`` is a figure that the
    channel has taken in and not judged for too long: it may say that already. ``basis`` is what the figure was made of,
    at ``read_at``; ``dirty_since`` the first change it is to tell.
    """

    listing_id: UUID
    sku_id: UUID
    ref: StockRef
    version: int
    quantity: int
    expected: int | None
    left: int | None
    pending: int | None
    cause: Any
    attempts: int
    verify: bool
    explain_since: datetime | None
    left_at: datetime | None
    checked_at: datetime | None
    dirty_since: datetime | None
    read_at: datetime
    basis: Mapping[str, Any]

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
    """Give every listing that may be published its publication, due at once; returns the connections concerned.

    ``connection_id`` and ``sku_ids`` say where to look; by default everywhere.

    A listing is published when it is matched and tracked, its channel location is bound to one of ours, its SKU, or
    every part of the kit, is counted somewhere it sells from, and a person has set the connection live.
    """
    listing, place, shop = t.listing.c, t.channel_location.c, t.connection.c
    missing = (
        select(listing.id, place.external_id, listing.connection_id, listing.sku_id)
        .select_from(_wherever_listed())
        .where(
            listing.merchant_id == merchant_id,
            listing.tracked,
            listing.active,
            shop.live_at.is_not(None),
            shop.state != "removed",
            place.active,
            t.publication.c.listing_id.is_(None),
            COUNTED,
        )
    )
    if connection_id is not None:
        missing = missing.where(listing.connection_id == connection_id)
    if sku_ids is not None:
        leaf = t.kit_leaf.c
        kits = select(leaf.kit_id).where(leaf.merchant_id == merchant_id, leaf.part_id.in_(list(sku_ids)))
        missing = missing.where(listing.sku_id.in_(list(sku_ids)) | listing.sku_id.in_(kits))
    rows = connection.execute(missing).all()
    if not rows:
        return set()
    cause = {"cause": "went_live", "reference": "", "order_id": None, "at": at.isoformat()}
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
                "cause": cause,
            }
            for row in rows
        ],
    )
    touched = {row.connection_id for row in rows}
    rule = t.selling_rule.c
    if connection.execute(
        select(exists().where(rule.merchant_id == merchant_id, rule.share_percent.is_not(None)))
    ).scalar_one():
        # Whoever shares a SKU with a channel that is new gets less of it.
        touched |= marking.mark_dirty(connection, merchant_id, {row.sku_id: cause for row in rows}, at=at)
    return touched


def due(
    connection: Connection, merchant_id: UUID, connection_id: UUID, *, at: datetime, limits: Limits, limit: int
) -> list[Due]:
    """What has to be published on a connection now, with the figure of this moment; the longest waiting first."""
    publication, listing = t.publication.c, t.listing.c
    pending = t.pending_push.c
    looked_at = select(
        publication.listing_id,
        publication.connection_id,
        publication.location_external_id,
        publication.version,
        publication.quantity,
        publication.left_quantity,
        pending.quantity.label("pending"),
        publication.cause,
        publication.attempts,
        publication.explain_since,
        publication.published_at,
        publication.checked_at,
        publication.dirty_since,
        listing.external_id,
        listing.handles,
        listing.sku_id,
    ).select_from(
        _publishable().outerjoin(
            t.pending_push, (pending.merchant_id == publication.merchant_id) & (pending.id == publication.pending_id)
        )
    )
    here = (publication.merchant_id == merchant_id, publication.connection_id == connection_id, *_may_be_published(at))
    found: list[tuple[Any, bool]] = []
    for oldest, verify in ((publication.dirty_since, False), (publication.verify_at, True)):
        if len(found) >= limit:
            break
        reason = _DIRTY if not verify else ~_DIRTY & _to_be_read_back(at - _LATE if found else at)
        rows = connection.execute(
            looked_at.where(reason, *here).order_by(oldest, publication.listing_id).limit(limit - len(found))
        )
        found += [(row, verify) for row in rows]
    # The version was read before the stock: a change in between is published once more, and never missed.
    figures = _figures(connection, merchant_id, [row for row, _ in found], limits)
    return [
        Due(
            row.listing_id,
            row.sku_id,
            StockRef(row.external_id, row.location_external_id, row.handles),
            row.version,
            figures[row.listing_id, row.location_external_id].figure.quantity,
            row.quantity,
            row.left_quantity,
            row.pending,
            row.cause,
            row.attempts,
            verify,
            row.explain_since,
            row.published_at,
            row.checked_at,
            row.dirty_since,
            at,
            figures[row.listing_id, row.location_external_id].basis,
        )
        for row, verify in found
    ]


def unsent_since(connection: Connection, merchant_id: UUID, connection_id: UUID, *, at: datetime) -> datetime | None:
    """The first change that could be told this channel now and is not; None when there is none."""
    publication = t.publication.c
    return connection.execute(
        select(publication.dirty_since)
        .select_from(_publishable())
        .where(
            _DIRTY,
            publication.merchant_id == merchant_id,
            publication.connection_id == connection_id,
            *_may_be_published(at),
        )
        .order_by(publication.dirty_since, publication.listing_id)
        .limit(1)
    ).scalar()


def connections_due(connection: Connection, at: datetime, *conditions: ColumnElement[bool]) -> list[tuple[UUID, UUID]]:
    """The connections (merchant, connection) for which ``due`` has something, or that are to be asked what became of a
    write, among those that meet ``conditions``."""
    publication, shop, pending = t.publication.c, t.connection.c, t.pending_push.c
    found: dict[tuple[UUID, UUID], None] = {}
    asked = and_(
        exists().where(pending.merchant_id == shop.merchant_id, pending.connection_id == shop.id, pending.ask_at <= at),
        *_may_be_called(at),
    )
    for reason, or_else in ((_DIRTY, asked), (_to_be_read_back(at), false())):
        # For each connection the first one that is found: as a plain EXISTS, PostgreSQL would join everything there is.
        first = (
            select(publication.listing_id)
            .select_from(_publications())
            .where(
                publication.merchant_id == shop.merchant_id,
                publication.connection_id == shop.id,
                reason,
                *_may_be_published(at),
            )
            .limit(1)
            .correlate(t.connection)
            .scalar_subquery()
        )
        rows = connection.execute(
            select(shop.merchant_id, shop.id).where(or_(first.is_not(None), or_else), *conditions)
        )
        found.update(dict.fromkeys((row.merchant_id, row.id) for row in rows))
    return list(found)


# Looked for one after the other, each along its own partial index: most publications are neither.
_DIRTY = t.publication.c.version > t.publication.c.published_version


def _to_be_read_back(at: datetime) -> ColumnElement[bool]:
    return t.publication.c.verify_at <= at


@cache
def _publications() -> Any:
    """Publications with their listing and channel location."""
    publication, listing, place = t.publication.c, t.listing.c, t.channel_location.c
    return t.publication.join(
        t.listing, (listing.merchant_id == publication.merchant_id) & (listing.id == publication.listing_id)
    ).join(
        t.channel_location,
        (place.merchant_id == publication.merchant_id)
        & (place.connection_id == publication.connection_id)
        & (place.external_id == publication.location_external_id),
    )


@cache
def _publishable() -> Any:
    """The same, with their connection."""
    publication, shop = t.publication.c, t.connection.c
    return _publications().join(
        t.connection, (shop.merchant_id == publication.merchant_id) & (shop.id == publication.connection_id)
    )


@cache
def _wherever_listed() -> Any:
    """Every listing with its connection at each of the channel's locations, and its publication there if it has one."""
    publication, listing, place, shop = t.publication.c, t.listing.c, t.channel_location.c, t.connection.c
    return (
        t.listing.join(t.connection, (shop.merchant_id == listing.merchant_id) & (shop.id == listing.connection_id))
        .join(
            t.channel_location,
            (place.merchant_id == listing.merchant_id) & (place.connection_id == listing.connection_id),
        )
        .outerjoin(
            t.publication,
            (publication.merchant_id == listing.merchant_id)
            & (publication.listing_id == listing.id)
            & (publication.location_external_id == place.external_id),
        )
    )


def _may_be_published(at: datetime) -> tuple[Any, ...]:
    publication, listing = t.publication.c, t.listing.c
    return (
        or_(publication.not_before.is_(None), publication.not_before <= at),
        or_(publication.pending_id.is_(None), _judged_too_long(at)),
        listing.tracked,
        listing.active,
        t.channel_location.c.active,
        COUNTED,
        *_may_be_called(at),
    )


def _may_be_called(at: datetime) -> tuple[ColumnElement[bool], ...]:
    shop = t.connection.c
    return (
        shop.live_at.is_not(None),
        shop.state == "connected",
        or_(shop.not_before.is_(None), shop.not_before <= at),
    )


_JUDGED = t.pending_push.alias()  # made once: this is asked at every look for work, and making it takes longest


def _judged_too_long(at: datetime) -> ColumnElement[bool]:
    """Whether the channel has had the figure it is judging for so long that the listing is written all the same."""
    publication, this = t.publication.c, _JUDGED.c
    return (
        exists()
        .where(
            this.merchant_id == publication.merchant_id,
            this.id == publication.pending_id,
            or_(
                this.sent_at <= at - ANSWER_WITHIN,
                and_(this.sent_at <= at - NEWS_WAITS, this.version < publication.version),
            ),
        )
        .correlate(t.publication)
    )


def _is_counted() -> ColumnElement[bool]:
    """Whether the hub keeps stock of a listing's SKU, or of every part of its kit, somewhere the place sells from."""
    listing, place, leaf = t.listing.c, t.channel_location.c, t.kit_leaf.c

    def counted(sku_id: Any) -> ColumnElement[bool]:
        level, source = t.stock_level.alias(), t.channel_location_source.alias()
        return (
            exists()
            .where(
                level.c.merchant_id == listing.merchant_id,
                level.c.sku_id == sku_id,
                source.c.merchant_id == level.c.merchant_id,
                source.c.location_id == level.c.location_id,
                source.c.connection_id == place.connection_id,
                source.c.external_id == place.external_id,
            )
            .correlate_except(level, source)
        )

    parts = exists().where(leaf.merchant_id == listing.merchant_id, leaf.kit_id == listing.sku_id)
    whole = and_(parts.correlate_except(t.kit_leaf), ~parts.where(~counted(leaf.part_id)).correlate_except(t.kit_leaf))
    return and_(place.location_id.is_not(None), or_(counted(listing.sku_id), whole))


COUNTED = _is_counted()


# ---------------------------------------------------------------- what a listing should say now


@dataclass(frozen=True, slots=True)
class _Said:
    """A figure, and what it was made of; ``counted`` tells whether there is stock of every part to speak of."""

    figure: Figure
    basis: Mapping[str, Any]
    counted: bool


def _figures(
    connection: Connection,
    merchant_id: UUID,
    wanted: Sequence[Any],
    limits: Limits,
    supposed: selling.Rules | None = None,
) -> dict[tuple[UUID, str], _Said]:
    """The figure of each of these (listing_id, connection_id, location_external_id, sku_id), in a few statements.

    All balances come from one statement, so that they are of one moment. ``supposed`` are rules to go by instead of
    those that are stored.
    """
    if not wanted:
        return {}
    skus = {row.sku_id for row in wanted}
    kits = stock.kits(connection, merchant_id, skus)
    parts_of = {sku_id: kits.get(sku_id, {sku_id: 1}) for sku_id in skus}
    sources = _sources(connection, merchant_id, {row.connection_id for row in wanted})
    rules = supposed or selling.rules(
        connection, merchant_id, {(row.connection_id, row.sku_id, row.listing_id) for row in wanted}
    )
    rule_of = {row.listing_id: rules.of(row.connection_id, row.sku_id, row.listing_id) for row in wanted}
    shared = {row.sku_id for row in wanted if rule_of[row.listing_id].share_percent is not None}
    percents = selling.shares_of(connection, merchant_id, shared, supposed) if shared else {}
    shelves = _shelves(connection, merchant_id, {part for parts in parts_of.values() for part in parts})
    waits = [row for row in wanted if rule_of[row.listing_id].backorder_limit is not None]
    waiting = _waiting(connection, merchant_id, {part for row in waits for part in parts_of[row.sku_id]})
    found: dict[tuple[UUID, str], _Said] = {}
    for row in wanted:
        rule, units = rule_of[row.listing_id], parts_of[row.sku_id]

        def sold_at(place: str, row: Any = row, units: Mapping[UUID, int] = units) -> tuple[Part, ...]:
            here = sources.get(row.connection_id, {}).get(place, set())
            return tuple(
                Part(code, units[sku_id], tuple(shelf for where, shelf in on.items() if where in here))
                for sku_id, (code, on) in ((each, shelves.get(each, (str(each), {}))) for each in units)
            )

        parts = sold_at(row.location_external_id)
        split = None
        if row.sku_id in percents and row.connection_id in percents[row.sku_id]:
            places = {place: sold_at(place) for place in sources.get(row.connection_id, {})}
            split = Split(percents[row.sku_id], row.connection_id, row.location_external_id, places)
        wait = max((-(-waiting.get(part, 0) // each) for part, each in units.items()), default=0)
        figure = available_to_sell(parts, rule, limits, waiting=wait, split=split)
        here = sources.get(row.connection_id, {}).get(row.location_external_id, set())
        basis: dict[str, Any] = {
            "levels": [
                _balance(sku_id, where, shelf)
                for sku_id in units
                for where, shelf in shelves.get(sku_id, ("", {}))[1].items()
                if where in here
            ],
            "rule": rule.said,
            "steps": list(figure.steps),
            "waiting": wait,
        }
        if row.sku_id in kits:
            basis["units"] = {str(sku_id): each for sku_id, each in units.items()}
        if split is not None:
            basis["shares"] = {str(each): percent for each, percent in split.percents.items()}
        found[row.listing_id, row.location_external_id] = _Said(figure, basis, all(part.shelves for part in parts))
    return found


def _balance(sku_id: UUID, location_id: UUID, shelf: Shelf) -> dict[str, Any]:
    level = shelf.level
    return {
        "sku": str(sku_id),
        "location": str(location_id),
        "on_hand": level.on_hand,
        "allocated": level.allocated,
        "quarantined": level.quarantined,
        "damaged": level.damaged,
        "safety_stock": shelf.safety_stock,
        "entries": level.entries,
    }


def _sources(
    connection: Connection, merchant_id: UUID, connection_ids: Iterable[UUID]
) -> dict[UUID, dict[str, set[UUID]]]:
    """Our locations that each place of these connections sells from."""
    source, place = t.channel_location_source.c, t.channel_location.c
    found: dict[UUID, dict[str, set[UUID]]] = {}
    for row in connection.execute(
        select(source.connection_id, source.external_id, source.location_id)
        .select_from(
            t.channel_location_source.join(
                t.channel_location,
                (place.merchant_id == source.merchant_id)
                & (place.connection_id == source.connection_id)
                & (place.external_id == source.external_id),
            )
        )
        .where(
            source.merchant_id == merchant_id,
            source.connection_id.in_(sorted(connection_ids)),
            place.active,
            place.location_id.is_not(None),
        )
    ):
        found.setdefault(row.connection_id, {}).setdefault(row.external_id, set()).add(row.location_id)
    return found


def _shelves(
    connection: Connection, merchant_id: UUID, sku_ids: Collection[UUID]
) -> dict[UUID, tuple[str, dict[UUID, Shelf]]]:
    """The code of each SKU and its balances by location, all of one moment."""
    level, sku, place = t.stock_level.c, t.sku.c, t.location.c
    found: dict[UUID, tuple[str, dict[UUID, Shelf]]] = {}
    for row in connection.execute(
        select(t.stock_level, sku.code, place.name)
        .select_from(
            t.stock_level.join(t.sku, (sku.merchant_id == level.merchant_id) & (sku.id == level.sku_id)).join(
                t.location, (place.merchant_id == level.merchant_id) & (place.id == level.location_id)
            )
        )
        .where(level.merchant_id == merchant_id, among(connection, level.sku_id, sorted(sku_ids)))
        .order_by(level.sku_id, place.created_at, place.id)
    ):
        balance = StockLevel(
            row.on_hand, row.allocated, row.quarantined, row.damaged, row.incoming, entries=row.entries
        )
        shelf = Shelf(row.code, row.name, balance, row.safety_stock)
        found.setdefault(row.sku_id, (row.code, {}))[1][row.location_id] = shelf
    return found


def _waiting(connection: Connection, merchant_id: UUID, sku_ids: Collection[UUID]) -> dict[UUID, int]:
    """Units of each SKU that somebody waits for because there are none."""
    if not sku_ids:
        return {}
    waits = t.backorder.c
    rows = connection.execute(
        select(waits.sku_id, func.sum(waits.quantity * waits.per_unit))
        .where(waits.merchant_id == merchant_id, waits.sku_id.in_(sorted(sku_ids)), waits.missing | waits.woken)
        .group_by(waits.sku_id)
    )
    return {sku_id: int(units) for sku_id, units in rows}


@dataclass(frozen=True, slots=True)
class Preview:
    """What a listing should say at one place of its channel now, and what it was last known to say.

    ``figure`` is None where the SKU, or a part of the kit, is not counted. ``published_at`` is when ``quantity`` was
    written, or read and found right; ``unsent_since`` the first change it does not tell yet.
    """

    listing_id: UUID
    connection_id: UUID
    location_external_id: str
    figure: Figure | None
    quantity: int | None
    published_at: datetime | None
    unsent_since: datetime | None


def preview(connection: Connection, merchant_id: UUID, sku_id: UUID) -> list[Preview]:
    """What every listing of a SKU should say wherever a channel's location is one of ours, whether it is live or not.

    The connector's own limits are left out.
    """
    return previews(connection, merchant_id, [sku_id])


def previews(
    connection: Connection, merchant_id: UUID, sku_ids: Collection[UUID], supposed: selling.Rules | None = None
) -> list[Preview]:
    """The same of several SKUs; if the rules ``supposed`` held, where they are given."""
    listing, place, shop, publication = t.listing.c, t.channel_location.c, t.connection.c, t.publication.c
    rows = connection.execute(
        select(
            listing.id.label("listing_id"),
            listing.connection_id,
            place.external_id.label("location_external_id"),
            listing.sku_id,
            publication.quantity,
            publication.published_at,
            case((_DIRTY, publication.dirty_since)).label("unsent_since"),
        )
        .select_from(_wherever_listed())
        .where(
            listing.merchant_id == merchant_id,
            among(connection, listing.sku_id, sorted(sku_ids)),
            shop.state != "removed",
            place.active,
            place.location_id.is_not(None),
        )
        .order_by(shop.label, shop.id, listing.external_id, place.external_id)
    ).all()
    figures = _figures(connection, merchant_id, rows, Limits(), supposed)
    found = []
    for row in rows:
        said = figures[row.listing_id, row.location_external_id]
        found.append(
            Preview(
                row.listing_id,
                row.connection_id,
                row.location_external_id,
                said.figure if said.counted else None,
                row.quantity,
                row.published_at,
                row.unsent_since,
            )
        )
    return found


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What would be written for a listing at one place of its channel if the connection were live."""

    listing_id: UUID
    ref: StockRef
    figure: Figure


def foreseen(
    connection: Connection,
    merchant_id: UUID,
    connection_id: UUID,
    *,
    limits: Limits,
    after: tuple[UUID, str] | None,
    limit: int,
) -> list[Foreseen]:
    """Everything that would be written to a connection, by listing and place; ``after`` is the last one known."""
    listing, place = t.listing.c, t.channel_location.c
    query = (
        select(
            listing.id.label("listing_id"),
            listing.connection_id,
            listing.external_id,
            listing.handles,
            listing.sku_id,
            place.external_id.label("location_external_id"),
        )
        .select_from(_at_places())
        .where(*_would_be_published(merchant_id, connection_id))
        .order_by(listing.id, place.external_id)
        .limit(limit)
    )
    if after is not None:
        listing_id, location = after
        query = query.where(or_(listing.id > listing_id, and_(listing.id == listing_id, place.external_id > location)))
    rows = connection.execute(query).all()
    figures = _figures(connection, merchant_id, rows, limits)
    return [
        Foreseen(
            row.listing_id,
            StockRef(row.external_id, row.location_external_id, row.handles),
            figures[row.listing_id, row.location_external_id].figure,
        )
        for row in rows
    ]


def count_foreseen(connection: Connection, merchant_id: UUID, connection_id: UUID) -> int:
    """How many figures ``foreseen`` has."""
    counted = select(func.count()).select_from(_at_places()).where(*_would_be_published(merchant_id, connection_id))
    return connection.execute(counted).scalar_one()


def _at_places() -> Any:
    listing, place = t.listing.c, t.channel_location.c
    return t.listing.join(
        t.channel_location,
        (place.merchant_id == listing.merchant_id) & (place.connection_id == listing.connection_id),
    )


def _would_be_published(merchant_id: UUID, connection_id: UUID) -> tuple[ColumnElement[bool], ...]:
    listing, place = t.listing.c, t.channel_location.c
    return (
        listing.merchant_id == merchant_id,
        listing.connection_id == connection_id,
        listing.tracked,
        listing.active,
        place.active,
        COUNTED,
    )


# ---------------------------------------------------------------- what became of it


@dataclass(frozen=True, slots=True)
class Written:
    """The channel says ``quantity`` now; ``wrote`` tells whether the hub had to write it."""

    due: Due
    quantity: int
    wrote: bool
    verify_after: float  # seconds until it is read back
    before: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """The channel was known to say it already, so that it was not asked."""

    due: Due


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
    outcomes: Sequence[Written | Known | Postponed | Drifted],
    *,
    at: datetime,
) -> None:
    """Write down what became of a batch. A listing that changed meanwhile keeps its higher version, and stays due."""
    publication = t.publication.c
    # In the order in which others lock them, too.
    outcomes = sorted(outcomes, key=lambda each: each.due.key)
    written = [each for each in outcomes if isinstance(each, Written)]
    known = [each for each in outcomes if isinstance(each, Known)]
    settled: dict[str, Any] = {
        # Nobody waits for it any more where the listing was left meanwhile.
        "published_version": case(
            (publication.published_version > bindparam("its_version"), publication.published_version),
            else_=bindparam("its_version"),
        ),
        # What changed meanwhile is not told yet: it is dirty since then, or a moment earlier.
        "dirty_since": case(
            (
                publication.version > bindparam("its_version"),
                bindparam("its_reading", type_=publication.dirty_since.type),
            ),
            else_=publication.dirty_since,
        ),
        "explain_since": None,
        "not_before": None,
        "attempts": 0,
        "error": "",
        "pending_id": None,
    }
    if known:
        connection.execute(this_one(merchant_id).values(**settled), [_settled(each.due) for each in known])
    if written:
        statement = this_one(merchant_id).values(
            **settled,
            quantity=bindparam("its_quantity"),
            left_quantity=bindparam("its_quantity"),
            published_at=at,
            # Whatever changed meanwhile may be a sale of the channel's own.
            checked_at=case((publication.version == bindparam("its_version"), at), else_=None),
            verify_at=bindparam("its_verify_at"),
        )
        connection.execute(
            statement,
            [
                _settled(each.due)
                | {"its_quantity": each.quantity, "its_verify_at": at + timedelta(seconds=each.verify_after)}
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
            connection.execute(this_one(merchant_id).values(**values), _key(each.due))
        elif isinstance(each, Drifted):
            cause = {"cause": "drift", "reference": "", "order_id": None, "at": at.isoformat()}
            values = {"version": publication.version + 1, "dirty_since": marking.first_change(at)}
            values |= {"verify_at": None, "explain_since": at, "checked_at": None}
            connection.execute(this_one(merchant_id).values(cause=cause, **values), _key(each.due))
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
            "basis": dict(each.due.basis),
            "dirty_since": each.due.dirty_since,
            "read_at": each.due.read_at,
            "note": each.note,
            "at": at,
        }
        for each in written
        if each.wrote
    ]
    if entries:
        connection.execute(insert(t.publication_entry), entries)


def doubt(connection: Connection, merchant_id: UUID, about_to_write: Sequence[Due]) -> None:
    """These are about to be written: from here on until the answer is known, it is not known what the channel says."""
    # In the order in which others lock them, too.
    each_of_them = sorted(about_to_write, key=lambda each: each.key)
    connection.execute(this_one(merchant_id).values(checked_at=None), [_key(each) for each in each_of_them])


def leave(connection: Connection, merchant_id: UUID, *listings: ColumnElement[bool]) -> None:
    """Listings that meet these conditions are to be published no more: nothing of them waits or fails any longer."""
    publication, listing = t.publication.c, t.listing.c
    connection.execute(
        update(t.publication)
        .where(
            publication.merchant_id == merchant_id,
            publication.listing_id.in_(select(listing.id).where(listing.merchant_id == merchant_id, *listings)),
        )
        .values(
            published_version=publication.version,
            verify_at=None,
            checked_at=None,
            explain_since=None,
            not_before=None,
            error="",
            attempts=0,
            pending_id=None,
        )
    )


def stop(connection: Connection, merchant_id: UUID, due: Due, *, error: str) -> None:
    """The channel refuses this listing for good: nothing more is written until it changes."""
    connection.execute(
        this_one(merchant_id).values(
            published_version=due.version,
            verify_at=None,
            checked_at=None,
            explain_since=None,
            error=error,
            attempts=0,
            pending_id=None,
        ),
        _key(due),
    )


def this_one(merchant_id: UUID) -> Update:
    """Changes the publication that ``named`` names."""
    publication = t.publication.c
    return update(t.publication).where(
        publication.merchant_id == merchant_id,
        publication.listing_id == bindparam("this_listing"),
        publication.location_external_id == bindparam("this_location"),
    )


def _key(due: Due) -> dict[str, Any]:
    return named(*due.key)


def _settled(due: Due) -> dict[str, Any]:
    return _key(due) | {"its_version": due.version, "its_reading": due.read_at}


def seen(
    connection: Connection,
    merchant_id: UUID,
    connection_id: UUID,
    told: Sequence[StockSeen],
    *,
    at: datetime,
    limits: Limits,
) -> bool:
    """The channel told its figures by itself. True when there is news among them, and those listings are due again.

    The echo of our own write, and a figure that is right anyway, are dropped. One that we have replaced a while ago is
    taken for a late echo: nothing is written, but the figure is read back soon.
    """
    publication, listing = t.publication.c, t.listing.c
    latest = {(each.handle, each.location_external_id, each.external_id): each.available for each in told}
    rows: list[tuple[Any, int | None]] = []
    for handle, location in {key[:2] for key in latest}:
        name = listing.handles[handle].as_string() if handle else listing.external_id
        for some in in_chunks(key[2] for key in latest if key[:2] == (handle, location)):
            for row in connection.execute(
                select(
                    publication.listing_id,
                    publication.connection_id,
                    publication.location_external_id,
                    publication.quantity,
                    listing.sku_id,
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
                    COUNTED,
                )
            ):
                rows.append((row, latest[handle, location, row.told_of]))
    rows = [(row, figure) for row, figure in rows if figure != row.quantity]
    figures = _figures(connection, merchant_id, [row for row, _ in rows], limits)
    odd = {
        (row.listing_id, row.location_external_id): figure
        for row, figure in rows
        if figure != figures[row.listing_id, row.location_external_id].figure.quantity
    }
    echoes = _told_before(connection, merchant_id, odd, since=at - timedelta(seconds=_ECHO_SECONDS))
    if echoes:
        soon = at + timedelta(seconds=READ_BACK_SECONDS)
        verify_at = case((publication.verify_at <= soon, publication.verify_at), else_=soon)
        connection.execute(
            this_one(merchant_id).values(verify_at=verify_at, checked_at=None), [named(*key) for key in sorted(echoes)]
        )
    news = {key: figure for key, figure in odd.items() if key not in echoes}
    if news:
        connection.execute(
            this_one(merchant_id).values(
                version=publication.version + 1,
                dirty_since=marking.first_change(at),
                checked_at=None,
                cause=bindparam("why"),
            ),
            [
                named(*key)
                | {"why": {"cause": "seen", "reference": str(figure), "order_id": None, "at": at.isoformat()}}
                for key, figure in sorted(news.items(), key=lambda each: each[0])
            ],
        )
    return bool(news)


def _told_before(
    connection: Connection, merchant_id: UUID, odd: Mapping[tuple[UUID, str], int | None], *, since: datetime
) -> set[tuple[UUID, str]]:
    """Those whose figure is one that we wrote, or wrote over, since then; or that the channel has taken in."""
    found: set[tuple[UUID, str]] = set()
    for some in in_chunks({listing_id for listing_id, _ in odd}):
        ours = [
            select(each.listing_id, each.location_external_id, each.before, each.quantity).where(
                each.merchant_id == merchant_id, each.listing_id.in_(some), moment >= since
            )
            for each, moment in (
                (t.publication_entry.c, t.publication_entry.c.at),
                (t.pending_push.c, t.pending_push.c.sent_at),
            )
        ]
        for row in connection.execute(union_all(*ours)):
            key = (row.listing_id, row.location_external_id)
            if key in odd and odd[key] is not None and odd[key] in (row.before, row.quantity):
                found.add(key)
    return found


def named(listing_id: UUID, location_external_id: str) -> dict[str, Any]:
    return {"this_listing": listing_id, "this_location": location_external_id}
