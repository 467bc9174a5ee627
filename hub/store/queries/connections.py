"""Connections with their health, places, tasks and listings, and what going live would leave out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Row,
    and_,
    case,
    cast,
    exists,
    func,
    literal,
    null,
    or_,
    select,
    union,
    union_all,
)

from hub.store import effects
from hub.store import tables as t
from hub.store.connections import ONE
from hub.store.queries import parts


class Health(StrEnum):
    """How a connection is doing, worst first."""

    PAUSED = "paused"  # by a person, or because the vendor refused the credentials: the error tells
    PROBLEM = "problem"
    WAITING = "waiting"  # the vendor asked us to slow down, or is away
    NEW = "new"  # not checked yet
    PREPARING = "preparing"  # connected; nothing is written to the shop yet
    LIVE = "live"
    REMOVED = "removed"


class _Working(Protocol):
    """What says how a connection is doing: its row, or a summary of it."""

    @property
    def state(self) -> str: ...
    @property
    def error(self) -> str: ...
    @property
    def not_before(self) -> datetime | None: ...
    @property
    def live_at(self) -> datetime | None: ...


def health_of(shop: _Working | Row[Any], now: datetime) -> Health:
    """How a connection is doing."""
    if shop.state == "removed":
        return Health.REMOVED
    if shop.state == "paused":
        return Health.PAUSED
    if shop.state == "new":
        return Health.PROBLEM if shop.error else Health.NEW
    if shop.not_before is not None and shop.not_before > now:
        return Health.WAITING
    if shop.error:
        return Health.PROBLEM
    return Health.LIVE if shop.live_at else Health.PREPARING


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSummary:
    """One connection with the figures that tell how it is doing."""

    id: UUID
    connector: str
    label: str
    state: str
    account_name: str
    account_external_id: str
    currency: str
    created_at: datetime
    checked_at: datetime | None
    secrets_at: datetime | None
    live_at: datetime | None
    error: str
    paused_at: datetime | None  # by a person
    paused_by: str
    paused_why: str
    not_before: datetime | None
    failures: int
    last_event_at: datetime | None
    backlog: int  # received, not yet read
    backlog_since: datetime | None
    listings: int
    matched: int
    unmatched: int
    waiting: int  # figures the shop does not show yet
    waiting_since: datetime | None
    failing: int  # figures that could not be written
    issues: int
    sandbox: bool  # its vendor is simulated

    def health(self, now: datetime) -> Health:
        return health_of(self, now)


@dataclass(frozen=True, slots=True)
class StreamView:
    """How far one stream of a connection (orders, listings) has been read."""

    stream: str
    polled_at: datetime | None
    due_at: datetime | None
    fetched: int
    total: int | None
    error: str


@dataclass(frozen=True, slots=True)
class ChannelLocationView:
    """A place with stock as the channel names it, the hub's location it stands for, and all it sells from."""

    external_id: str
    name: str
    active: bool
    location_id: UUID | None
    location_name: str
    sources: frozenset[UUID]


@dataclass(frozen=True, slots=True)
class LocationView:
    """One of the merchant's own places with stock."""

    id: UUID
    name: str


@dataclass(frozen=True, slots=True)
class TaskView:
    """Long work a person asked for, as its page follows it."""

    id: UUID
    connection_id: UUID
    kind: str
    state: str
    message: str
    done: int
    total: int | None
    actor: str
    created_at: datetime
    finished_at: datetime | None

    @property
    def is_open(self) -> bool:
        return self.state in ("waiting", "running")


@dataclass(frozen=True, slots=True)
class ListingView:
    """One listing on the page where listings are matched to SKUs."""

    id: UUID
    connection_id: UUID
    external_id: str
    sku_text: str
    title: str
    barcode: str
    tracked: bool
    active: bool
    sku_id: UUID | None
    sku_code: str
    bound_at: datetime | None
    bound_by: str
    picture: str  # where our pages find it


@dataclass(frozen=True, slots=True)
class SetAside:
    """A record that could not be read; its bytes are kept."""

    id: UUID
    topic: str
    external_id: str
    received_at: datetime
    error: str


@dataclass(frozen=True, slots=True)
class Undecided:
    """Something sent to the shop that failed, or of which nobody knows whether it was done."""

    id: UUID
    kind: str
    state: str
    error: str
    created_at: datetime
    order_id: UUID | None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What the hub would write nothing of at a channel, counted by the reason; ``not_here`` are figures at a place."""

    unmatched: int
    untracked: int
    uncounted: int  # matched, but their SKU, or a part of it, has no opening balance anywhere
    not_here: int  # their SKU is counted, but nowhere that the shop sells from
    unbound_locations: int


def connections(
    connection: Connection, merchant_id: UUID, *, removed: bool = False, only: UUID | None = None
) -> list[ConnectionSummary]:
    """The merchant's connections, oldest first; with ``removed`` those that are kept for their history too."""
    query = select(t.connection).where(t.connection.c.merchant_id == merchant_id)
    if only is not None:
        query = query.where(t.connection.c.id == only)
    elif not removed:
        query = query.where(t.connection.c.state != "removed")
    rows = connection.execute(query.order_by(t.connection.c.created_at, t.connection.c.id)).all()

    unread, dirty_since = func.min(t.inbox.c.received_at), func.min(t.publication.c.dirty_since)

    def tally(
        table: Any, *figures: Any, since: Any = None, where: Iterable[ColumnElement[bool]] = (), what: str = ""
    ) -> Any:
        counted = [*figures, *[literal(0)] * (3 - len(figures))]
        moment = cast(null(), t.Moment) if since is None else since
        counting = (
            select(
                literal(what or table.name).label("what"),
                table.c.connection_id,
                *(figure.label(f"figure_{place}") for place, figure in enumerate(counted)),
                moment.label("since"),
            )
            .where(table.c.merchant_id == merchant_id, *where)
            .group_by(table.c.connection_id)
        )
        return counting if only is None else counting.where(table.c.connection_id == only)

    told: dict[tuple[str, UUID], tuple[int, int, int, datetime | None]] = defaultdict(lambda: (0, 0, 0, None))
    for what, connection_id, *figures, since in connection.execute(
        union_all(
            tally(t.inbox, func.count(), since=unread, where=[t.inbox.c.state == "pending"]),
            tally(t.listing, func.count(), func.count(t.listing.c.sku_id)),
            tally(t.listing, func.count(), where=[parts.is_unmatched()], what="unmatched"),
            tally(t.publication, func.count(), since=dirty_since, where=[parts.is_dirty()]),
            tally(t.publication, func.count(), where=[t.publication.c.error != ""], what="failing"),
            tally(t.issue, func.count(), where=[parts.is_open()]),
        )
    ):
        told[what, connection_id] = (*(int(figure or 0) for figure in figures), since)
    return [
        ConnectionSummary(
            id=row.id,
            connector=row.connector,
            label=row.label,
            state=row.state,
            account_name=row.account_name,
            account_external_id=row.account_external_id,
            currency=row.currency,
            created_at=row.created_at,
            checked_at=row.checked_at,
            secrets_at=row.secrets_at,
            live_at=row.live_at,
            error=row.error,
            paused_at=row.paused_at,
            paused_by=row.paused_by,
            paused_why=row.paused_why,
            not_before=row.not_before,
            failures=row.failures,
            last_event_at=row.last_event_at,
            backlog=told["inbox", row.id][0],
            backlog_since=told["inbox", row.id][3],
            listings=told["listing", row.id][0],
            matched=told["listing", row.id][1],
            unmatched=told["unmatched", row.id][0],
            waiting=told["publication", row.id][0] if row.live_at else 0,
            waiting_since=told["publication", row.id][3] if row.live_at else None,
            failing=told["failing", row.id][0],
            issues=told["issue", row.id][0],
            sandbox=row.sandbox,
        )
        for row in rows
    ]


def connection_summary(connection: Connection, merchant_id: UUID, connection_id: UUID) -> ConnectionSummary | None:
    """One connection, a removed one too; None when the merchant has no such connection."""
    found = connections(connection, merchant_id, only=connection_id)
    return found[0] if found else None


@dataclass(frozen=True, slots=True)
class Named:
    """A connection in a list to choose from."""

    id: UUID
    label: str


def names(connection: Connection, merchant_id: UUID, *, removed: bool = True) -> list[Named]:
    """What the merchant's connections are called, those that were removed as well."""
    shop = t.connection.c
    query = select(shop.id, shop.label).where(shop.merchant_id == merchant_id).order_by(shop.label, shop.created_at)
    rows = connection.execute(query if removed else query.where(shop.state != "removed"))
    return [Named(*row) for row in rows]


def channels(connection: Connection, merchant_id: UUID) -> list[Named]:
    """What the channels are called whose orders are here; one that was removed has left its orders."""
    shop = t.connection.c
    rows = connection.execute(
        select(shop.id, shop.label)
        .where(shop.merchant_id == merchant_id, shop.kind == "channel")
        .order_by(shop.label, shop.created_at)
    )
    return [Named(*row) for row in rows]


def connection_settings(connection: Connection, merchant_id: UUID, connection_id: UUID) -> Mapping[str, Any]:
    """What was typed into the connect form, without the secrets."""
    kept: Mapping[str, Any] | None = connection.execute(
        select(t.connection.c.settings).where(
            t.connection.c.merchant_id == merchant_id, t.connection.c.id == connection_id
        )
    ).scalar_one_or_none()
    return kept or {}


def streams(connection: Connection, merchant_id: UUID, connection_id: UUID) -> list[StreamView]:
    """What the hub reads from the connection, and how far it is."""
    rows = connection.execute(
        select(
            t.cursor.c.stream,
            t.cursor.c.polled_at,
            t.cursor.c.due_at,
            t.cursor.c.fetched,
            t.cursor.c.total,
            t.cursor.c.error,
        )
        .where(
            t.cursor.c.merchant_id == merchant_id,
            t.cursor.c.connection_id == connection_id,
            ~t.cursor.c.stream.startswith(ONE),
        )
        .order_by(t.cursor.c.stream.desc())
    )
    return [StreamView(*row) for row in rows]


def channel_locations(connection: Connection, merchant_id: UUID, connection_id: UUID) -> list[ChannelLocationView]:
    """The connection's places with stock."""
    place = t.channel_location.c
    rows = connection.execute(
        select(place.external_id, place.name, place.active, place.location_id, func.coalesce(t.location.c.name, ""))
        .outerjoin(t.location, parts.same(place.location_id, t.location, t.channel_location))
        .where(place.merchant_id == merchant_id, place.connection_id == connection_id)
        .order_by(place.active.desc(), place.name, place.external_id)
    )
    sources: dict[str, set[UUID]] = defaultdict(set)
    source = t.channel_location_source.c
    for external_id, location_id in connection.execute(
        select(source.external_id, source.location_id).where(
            source.merchant_id == merchant_id, source.connection_id == connection_id
        )
    ):
        sources[external_id].add(location_id)
    return [ChannelLocationView(*row, frozenset(sources[row.external_id])) for row in rows]


def locations(connection: Connection, merchant_id: UUID) -> list[LocationView]:
    """The merchant's own places with stock."""
    rows = connection.execute(
        select(t.location.c.id, t.location.c.name)
        .where(t.location.c.merchant_id == merchant_id)
        .order_by(t.location.c.name)
    )
    return [LocationView(*row) for row in rows]


def task(connection: Connection, merchant_id: UUID, connection_id: UUID, task_id: UUID) -> TaskView | None:
    """One task of a connection."""
    found = _tasks(connection, merchant_id, connection_id, t.task.c.id == task_id)
    return found[0] if found else None


def latest_tasks(connection: Connection, merchant_id: UUID, connection_id: UUID) -> dict[str, TaskView]:
    """The newest task of each kind."""
    return {each.kind: each for each in reversed(_tasks(connection, merchant_id, connection_id))}


def _tasks(
    connection: Connection, merchant_id: UUID, connection_id: UUID, *where: ColumnElement[bool]
) -> list[TaskView]:
    query: parts.AnySelect = (
        select(
            t.task.c.id,
            t.task.c.connection_id,
            t.task.c.kind,
            t.task.c.state,
            t.task.c.message,
            t.task.c.done,
            t.task.c.total,
            t.task.c.actor,
            t.task.c.created_at,
            t.task.c.finished_at,
        )
        .where(t.task.c.merchant_id == merchant_id, t.task.c.connection_id == connection_id, *where)
        .order_by(t.task.c.created_at.desc(), t.task.c.id.desc())
        .limit(parts.PAGE)
    )
    return [TaskView(*row) for row in connection.execute(query)]


def listings(
    connection: Connection,
    merchant_id: UUID,
    connection_id: UUID,
    *,
    show: str = "all",
    text: str = "",
    after: tuple[str, UUID] | None = None,
    limit: int = parts.PAGE,
) -> list[ListingView]:
    """Listings of a connection by title; ``show`` is all, matched, unmatched or untracked. ``after`` is (title, id)."""
    listing = t.listing.c
    query = (
        _listing_columns()
        .where(listing.merchant_id == merchant_id, listing.connection_id == connection_id)
        .order_by(listing.title, listing.id)
        .limit(limit)
    )
    if show == "matched":
        query = query.where(listing.sku_id.is_not(None))
    elif show == "unmatched":
        query = query.where(parts.is_unmatched())
    elif show == "untracked":
        query = query.where(listing.sku_id.is_(None), or_(listing.tracked.is_(False), listing.active.is_(False)))
    if text:
        query = query.where(
            or_(
                parts.contains(listing.title, text),
                parts.contains(listing.sku_text, text),
                listing.barcode == text,
                listing.external_id == text,
                parts.contains(t.sku.c.code, text),
            )
        )
    if after is not None:
        title, last = after
        query = query.where(or_(listing.title > title, and_(listing.title == title, listing.id > last)))
    return [ListingView(*row) for row in connection.execute(query)]


def listing(connection: Connection, merchant_id: UUID, listing_id: UUID) -> ListingView | None:
    """One listing."""
    row = connection.execute(
        _listing_columns().where(t.listing.c.merchant_id == merchant_id, t.listing.c.id == listing_id)
    ).first()
    return None if row is None else ListingView(*row)


def _listing_columns() -> parts.AnySelect:
    listing = t.listing.c
    return select(
        listing.id,
        listing.connection_id,
        listing.external_id,
        listing.sku_text,
        listing.title,
        listing.barcode,
        listing.tracked,
        listing.active,
        listing.sku_id,
        func.coalesce(t.sku.c.code, ""),
        listing.bound_at,
        listing.bound_by,
        parts.picture_of_listing(),
    ).outerjoin(t.sku, parts.same(listing.sku_id, t.sku, t.listing))


def set_aside(
    connection: Connection,
    merchant_id: UUID,
    connection_id: UUID,
    *,
    before: tuple[datetime, UUID] | None = None,
    limit: int = 20,
) -> list[SetAside]:
    """The records of a connection that were quarantined, the last received first."""
    inbox = t.inbox.c
    query: parts.AnySelect = (
        select(inbox.id, inbox.topic, inbox.external_id, inbox.received_at, inbox.error)
        .where(inbox.merchant_id == merchant_id, inbox.connection_id == connection_id, inbox.state == "quarantined")
        .order_by(inbox.received_at.desc(), inbox.id.desc())
        .limit(limit)
    )
    if before is not None:
        at, last = before
        query = query.where(inbox.received_at <= at, or_(inbox.received_at < at, inbox.id < last))
    return [SetAside(*row) for row in connection.execute(query)]


def reasons(
    connection: Connection, merchant_id: UUID, connection_id: UUID, *, limit: int = 10
) -> list[tuple[str, int]]:
    """Why records were set aside, and how many for each reason, the most frequent first."""
    inbox = t.inbox.c
    count = func.count()
    rows = connection.execute(
        select(inbox.error, count)
        .where(inbox.merchant_id == merchant_id, inbox.connection_id == connection_id, inbox.state == "quarantined")
        .group_by(inbox.error)
        .order_by(count.desc(), inbox.error)
        .limit(limit)
    )
    return [(reason, number) for reason, number in rows]


MOST_COUNTED = 10_000  # of each kind of what hangs on a connection


@dataclass(frozen=True, slots=True)
class Removal:
    """What removing a connection would leave, and what it would end, in numbers up to MOST_COUNTED and one more."""

    orders: int
    open_orders: int
    listings: int
    figures: int  # that the hub keeps up to date there now
    planned: int  # effects that were not sent yet
    in_hand: int  # orders that a 3PL was asked to ship, and has not
    tokens: int
    requests: int  # lines of the log


def removal(connection: Connection, merchant_id: UUID, connection_id: UUID) -> Removal:
    """What hangs on a connection."""
    order, work = t.sales_order.c, t.fulfillment_order.c

    def count(table: Any, *where: ColumnElement[bool]) -> Any:
        mine = (table.c.merchant_id == merchant_id, table.c.connection_id == connection_id)
        # So far and no further: nobody decides otherwise for a million orders than for ten thousand.
        some = select(literal(1)).select_from(table).where(*mine, *where).limit(MOST_COUNTED + 1).subquery()
        return select(func.count()).select_from(some).scalar_subquery()

    is_live = exists().where(
        t.connection.c.merchant_id == merchant_id,
        t.connection.c.id == connection_id,
        t.connection.c.live_at.is_not(None),
    )
    row = connection.execute(
        select(
            count(t.sales_order),
            count(t.sales_order, order.status == "open"),
            count(t.listing),
            count(t.publication, t.publication.c.quantity.is_not(None), is_live),
            count(t.effect, t.effect.c.state == "planned"),
            count(t.fulfillment_order, work.closed_at.is_(None), work.requested_at.is_not(None)),
            count(t.connection_token),
            count(t.exchange),
        )
    ).one()
    return Removal(*row)


def undecided(connection: Connection, merchant_id: UUID, connection_id: UUID) -> list[Undecided]:
    """The effects of a connection that a person has to decide about: those with an open issue."""
    subjects = connection.execute(
        select(t.issue.c.subject)
        .where(
            t.issue.c.merchant_id == merchant_id,
            t.issue.c.connection_id == connection_id,
            t.issue.c.kind == effects.ISSUE,
            parts.is_open(),
        )
        .limit(parts.PAGE)
    ).scalars()
    effect = t.effect.c
    rows = connection.execute(
        select(effect.id, effect.kind, effect.state, effect.error, effect.created_at, effect.order_id)
        .where(
            effect.merchant_id == merchant_id,
            effect.connection_id == connection_id,
            effect.id.in_([UUID(subject) for subject in subjects]),
            effect.state.in_(("failed", "unknown")),
        )
        .order_by(effect.created_at, effect.id)
    )
    return [Undecided(*row) for row in rows]


def uncounted(connection: Connection, merchant_id: UUID, connection_id: UUID) -> int:
    """The matched listings of a connection whose SKU, or a part of it, has no opening balance anywhere."""
    listing = t.listing.c
    return parts.scalar(
        connection,
        select(func.count())
        .select_from(t.listing)
        .where(listing.merchant_id == merchant_id, listing.connection_id == connection_id)
        .where(listing.sku_id.in_(_uncounted_skus(merchant_id))),
    )


def _uncounted_skus(merchant_id: UUID) -> CompoundSelect[UUID]:
    sku, leaf = t.sku.c, t.kit_leaf.c
    never = select(sku.id).where(sku.merchant_id == merchant_id, sku.counted_since.is_(None))
    return union(
        never.where(sku.kit.is_(False)),
        select(leaf.kit_id).where(leaf.merchant_id == merchant_id, leaf.part_id.in_(never)),
    )


def _count_sold(merchant_id: UUID, connection_id: UUID, *which: ColumnElement[bool]) -> ColumnElement[int]:
    """How many figures these listings of a connection have: of all at once what publications.COUNTED says of one."""
    level, source, place = t.stock_level.c, t.channel_location_source.c, t.channel_location.c
    listing, leaf, every = t.listing.c, t.kit_leaf.c, t.kit_leaf.alias().c
    own = (
        select(level.sku_id, source.external_id)
        .distinct()
        .join(
            t.channel_location_source,
            and_(source.merchant_id == level.merchant_id, source.location_id == level.location_id),
        )
        .join(
            t.channel_location,
            and_(
                place.merchant_id == source.merchant_id,
                place.connection_id == source.connection_id,
                place.external_id == source.external_id,
            ),
        )
        .where(level.merchant_id == merchant_id, source.connection_id == connection_id)
        .where(place.active, place.location_id.is_not(None))
        .cte("own")
    )
    itself = own.alias()
    all_parts = select(func.count()).where(every.merchant_id == merchant_id, every.kit_id == leaf.kit_id)
    counted_itself = select(itself.c.sku_id).where(
        itself.c.sku_id == leaf.kit_id, itself.c.external_id == own.c.external_id
    )
    kits = (
        select(leaf.kit_id.label("sku_id"), own.c.external_id)
        .join(own, own.c.sku_id == leaf.part_id)
        .where(leaf.merchant_id == merchant_id, ~counted_itself.correlate(t.kit_leaf, own).exists())
        .group_by(leaf.kit_id, own.c.external_id)
        .having(func.count() == all_parts.correlate(t.kit_leaf).scalar_subquery())
        .subquery()
    )
    of_one, of_kits = (
        select(func.count())
        .select_from(t.listing.join(sold, sold.c.sku_id == listing.sku_id))
        .where(*which)
        .scalar_subquery()
        for sold in (own, kits)
    )
    return of_one + of_kits


def left_out(connection: Connection, merchant_id: UUID, connection_id: UUID) -> LeftOut:
    """What of a shop is left alone once it is live. It takes a look at each of its listings: no page asks for it."""
    listing, place = t.listing.c, t.channel_location.c
    here = [listing.merchant_id == merchant_id, listing.connection_id == connection_id]
    publishable = [*here, listing.tracked, listing.active, place.active, place.location_id.is_not(None)]
    unbound_here = (
        place.merchant_id == merchant_id,
        place.connection_id == connection_id,
        place.active.is_(True),
        place.location_id.is_(None),
    )
    # Counted as sets: looking up each listing at each place would take seconds for a large catalogue.
    placed = select(func.count()).select_from(
        t.listing.join(
            t.channel_location,
            and_(place.merchant_id == listing.merchant_id, place.connection_id == listing.connection_id),
        )
    )
    matched = placed.where(*publishable, listing.sku_id.is_not(None))
    count, in_all, never = connection.execute(
        select(
            _count_sold(merchant_id, connection_id, *here, listing.tracked, listing.active),
            matched.scalar_subquery(),
            matched.where(listing.sku_id.in_(_uncounted_skus(merchant_id))).scalar_subquery(),
        )
    ).one()
    unbound = select(func.count()).select_from(t.channel_location).where(*unbound_here).scalar_subquery()
    unmatched, untracked, unbound = connection.execute(
        select(
            func.sum(case((parts.is_unmatched(), 1), else_=0)),
            func.sum(case((or_(listing.tracked.is_(False), listing.active.is_(False)), 1), else_=0)),
            unbound,
        )
        .select_from(t.listing)
        .where(*here)
    ).one()
    return LeftOut(
        unmatched=int(unmatched or 0),
        untracked=int(untracked or 0),
        uncounted=uncounted(connection, merchant_id, connection_id),
        not_here=in_all - count - never,
        unbound_locations=unbound,
    )
