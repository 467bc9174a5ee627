"""Read models of the pages: plain values, each drawn from the database by one function that keeps to one merchant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, case, exists, false, func, or_, select

from hub.core.model import Money
from hub.store import tables as t

PAGE = 50

AnyRow = Row[*tuple[Any, ...]]
AnySelect = Select[*tuple[Any, ...]]

# ---------------------------------------------------------------- home


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a merchant has come: what the checklist on the home page goes by."""

    connections: int  # connected or paused
    first_connection_id: UUID | None
    unmatched: int  # listings with stock of their own that are bound to no SKU
    unmatched_connection_id: UUID | None
    matched: int
    counted: int  # SKUs with an opening balance
    live: int  # connections
    not_live_connection_id: UUID | None

    @property
    def done(self) -> bool:
        return bool(self.connections and self.matched and not self.unmatched and self.counted and self.live)


@dataclass(frozen=True, slots=True)
class Glance:
    """The merchant's day in a few figures. ``orders_by_hour`` has 24 counts, the current hour last."""

    orders: int
    orders_by_hour: tuple[int, ...]
    on_hand: int
    allocated: int
    backordered: int
    backordered_orders: int
    counted: int
    published: int
    waiting: int  # figures that a shop does not show yet
    waiting_since: datetime | None
    issues: int


def open_issues(connection: Connection, merchant_id: UUID) -> int:
    """How many things wait for a decision; shown in the navigation of every page."""
    return _scalar(
        connection,
        select(func.count()).select_from(t.issue).where(t.issue.c.merchant_id == merchant_id, _is_open()),
    )


def progress(connection: Connection, merchant_id: UUID) -> Progress:
    """Where the merchant stands between an empty hub and published stock."""
    shops = connection.execute(
        select(t.connection.c.id, t.connection.c.live_at)
        .where(t.connection.c.merchant_id == merchant_id, t.connection.c.state.in_(("connected", "paused")))
        .order_by(t.connection.c.created_at)
    ).all()
    unmatched = connection.execute(
        select(t.listing.c.connection_id, func.count())
        .join(t.connection, _same(t.listing.c.connection_id, t.connection, t.listing))
        .where(t.listing.c.merchant_id == merchant_id, t.connection.c.state != "removed", _is_unmatched())
        .group_by(t.listing.c.connection_id)
        .order_by(func.count().desc())
    ).all()
    matched = _scalar(
        connection,
        select(func.count())
        .select_from(t.listing)
        .where(t.listing.c.merchant_id == merchant_id, t.listing.c.sku_id.is_not(None)),
    )
    return Progress(
        connections=len(shops),
        first_connection_id=shops[0].id if shops else None,
        unmatched=sum(count for _, count in unmatched),
        unmatched_connection_id=unmatched[0][0] if unmatched else None,
        matched=matched,
        counted=_counted(connection, merchant_id),
        live=sum(shop.live_at is not None for shop in shops),
        not_live_connection_id=next((shop.id for shop in shops if shop.live_at is None), None),
    )


def glance(connection: Connection, merchant_id: UUID, now: datetime) -> Glance:
    """What happened in the last 24 hours and what is on the shelf now."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    begin = hour - timedelta(hours=23)
    order = t.sales_order.c
    bucket = (
        func.strftime("%Y-%m-%dT%H", order.placed_at)
        if connection.dialect.name == "sqlite"
        else func.to_char(order.placed_at, 'YYYY-MM-DD"T"HH24')  # the session's time zone is UTC
    )
    rows = connection.execute(
        select(bucket, func.count())
        .where(order.merchant_id == merchant_id, order.placed_at >= begin, order.status != "removed")
        .group_by(bucket)
    )
    counts: dict[str, int] = {name: count for name, count in rows}  # noqa: C416 - a row is not a pair to mypy
    by_hour = tuple(counts.get(f"{begin + timedelta(hours=step):%Y-%m-%dT%H}", 0) for step in range(24))
    on_hand, allocated = connection.execute(
        select(
            func.coalesce(func.sum(t.stock_level.c.on_hand), 0), func.coalesce(func.sum(t.stock_level.c.allocated), 0)
        ).where(t.stock_level.c.merchant_id == merchant_id)
    ).one()
    backordered, backordered_orders = connection.execute(
        select(func.coalesce(func.sum(t.backorder.c.quantity), 0), func.count(t.order_line.c.order_id.distinct()))
        .join(t.order_line, _same(t.backorder.c.order_line_id, t.order_line, t.backorder))
        .where(t.backorder.c.merchant_id == merchant_id)
    ).one()
    published, waiting, waiting_since = connection.execute(
        select(
            func.count(),
            func.sum(case((_is_dirty(), 1), else_=0)),
            func.min(case((_is_dirty(), t.publication.c.dirty_since))),
        )
        .join(t.connection, _same(t.publication.c.connection_id, t.connection, t.publication))
        .where(
            t.publication.c.merchant_id == merchant_id,
            t.connection.c.state == "connected",
            t.connection.c.live_at.is_not(None),
        )
    ).one()
    return Glance(
        orders=sum(by_hour),
        orders_by_hour=by_hour,
        on_hand=int(on_hand),
        allocated=int(allocated),
        backordered=int(backordered),
        backordered_orders=backordered_orders,
        counted=_counted(connection, merchant_id),
        published=published,
        waiting=int(waiting or 0),
        waiting_since=waiting_since,
        issues=open_issues(connection, merchant_id),
    )


def _counted(connection: Connection, merchant_id: UUID) -> int:
    return _scalar(
        connection,
        select(func.count())
        .select_from(t.sku)
        .where(t.sku.c.merchant_id == merchant_id, t.sku.c.counted_since.is_not(None)),
    )


# ---------------------------------------------------------------- connections


class Health(StrEnum):
    """How a connection is doing, worst first."""

    PAUSED = "paused"  # by a person, or because the vendor refused the credentials: the error tells
    PROBLEM = "problem"
    WAITING = "waiting"  # the vendor asked us to slow down, or is away
    NEW = "new"  # not checked yet
    PREPARING = "preparing"  # connected; nothing is written to the shop yet
    LIVE = "live"
    REMOVED = "removed"


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
    live_at: datetime | None
    error: str
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

    def health(self, now: datetime) -> Health:
        if self.state == "removed":
            return Health.REMOVED
        if self.state == "paused":
            return Health.PAUSED
        if self.state == "new":
            return Health.PROBLEM if self.error else Health.NEW
        if self.not_before is not None and self.not_before > now:
            return Health.WAITING
        if self.error:
            return Health.PROBLEM
        return Health.LIVE if self.live_at else Health.PREPARING


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
    """A place with stock as the channel names it, and the hub's location it stands for."""

    external_id: str
    name: str
    active: bool
    location_id: UUID | None
    location_name: str


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


@dataclass(frozen=True, slots=True)
class PlannedWrite:
    """What going live would write for one listing at one of the channel's locations."""

    listing_id: UUID
    title: str
    sku_code: str
    location_name: str
    will_show: int


@dataclass(frozen=True, slots=True)
class LivePlan:
    """Everything going live would write (``writes`` are the first of ``count``) and why the rest is left alone."""

    writes: tuple[PlannedWrite, ...]
    count: int
    to_zero: int
    unmatched: int
    untracked: int
    uncounted: int  # matched, but their SKU has no opening balance anywhere
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

    def per_connection(table: Any, *columns: Any, where: Iterable[ColumnElement[bool]] = ()) -> dict[UUID, AnyRow]:
        counting = (
            select(table.c.connection_id, *columns)
            .where(table.c.merchant_id == merchant_id, *where)
            .group_by(table.c.connection_id)
        )
        if only is not None:
            counting = counting.where(table.c.connection_id == only)
        return {row[0]: row for row in connection.execute(counting)}

    nothing = (None, 0, 0, 0)
    backlog = per_connection(
        t.inbox, func.count(), func.min(t.inbox.c.received_at), where=[t.inbox.c.state == "pending"]
    )
    listings = per_connection(
        t.listing, func.count(), func.count(t.listing.c.sku_id), func.sum(case((_is_unmatched(), 1), else_=0))
    )
    waiting = per_connection(t.publication, func.count(), func.min(t.publication.c.dirty_since), where=[_is_dirty()])
    failing = per_connection(t.publication, func.count(), where=[t.publication.c.error != ""])
    issues = per_connection(t.issue, func.count(), where=[_is_open()])
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
            live_at=row.live_at,
            error=row.error,
            not_before=row.not_before,
            failures=row.failures,
            last_event_at=row.last_event_at,
            backlog=backlog.get(row.id, nothing)[1],
            backlog_since=backlog[row.id][2] if row.id in backlog else None,
            listings=listings.get(row.id, nothing)[1],
            matched=listings.get(row.id, nothing)[2],
            unmatched=int(listings.get(row.id, nothing)[3] or 0),
            waiting=waiting.get(row.id, nothing)[1] if row.live_at else 0,
            waiting_since=waiting[row.id][2] if row.live_at and row.id in waiting else None,
            failing=failing.get(row.id, nothing)[1],
            issues=issues.get(row.id, nothing)[1],
        )
        for row in rows
    ]


def connection_summary(connection: Connection, merchant_id: UUID, connection_id: UUID) -> ConnectionSummary | None:
    """One connection, a removed one too; None when the merchant has no such connection."""
    found = connections(connection, merchant_id, only=connection_id)
    return found[0] if found else None


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
        .where(t.cursor.c.merchant_id == merchant_id, t.cursor.c.connection_id == connection_id)
        .order_by(t.cursor.c.stream.desc())
    )
    return [StreamView(*row) for row in rows]


def channel_locations(connection: Connection, merchant_id: UUID, connection_id: UUID) -> list[ChannelLocationView]:
    """The connection's places with stock."""
    place = t.channel_location.c
    rows = connection.execute(
        select(place.external_id, place.name, place.active, place.location_id, func.coalesce(t.location.c.name, ""))
        .outerjoin(t.location, _same(place.location_id, t.location, t.channel_location))
        .where(place.merchant_id == merchant_id, place.connection_id == connection_id)
        .order_by(place.active.desc(), place.name, place.external_id)
    )
    return [ChannelLocationView(*row) for row in rows]


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
    rows = connection.execute(
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
        .limit(PAGE)
    )
    return [TaskView(*row) for row in rows]


def listings(
    connection: Connection,
    merchant_id: UUID,
    connection_id: UUID,
    *,
    show: str = "all",
    text: str = "",
    after: tuple[str, UUID] | None = None,
    limit: int = PAGE,
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
        query = query.where(_is_unmatched())
    elif show == "untracked":
        query = query.where(listing.sku_id.is_(None), or_(listing.tracked.is_(False), listing.active.is_(False)))
    if text:
        query = query.where(
            or_(
                _contains(listing.title, text),
                _contains(listing.sku_text, text),
                listing.barcode == text,
                listing.external_id == text,
                _contains(t.sku.c.code, text),
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


def _listing_columns() -> AnySelect:
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
    ).outerjoin(t.sku, _same(listing.sku_id, t.sku, t.listing))


def live_plan(connection: Connection, merchant_id: UUID, connection_id: UUID, *, limit: int = PAGE) -> LivePlan:
    """What the hub would write to this shop: the figures it would show, per listing and location."""
    listing, place = t.listing.c, t.channel_location.c
    available = func.coalesce(t.stock_level.c.on_hand - t.stock_level.c.allocated, 0)
    here = [listing.merchant_id == merchant_id, listing.connection_id == connection_id]
    source = (
        t.listing.join(t.sku, _same(listing.sku_id, t.sku, t.listing))
        .join(
            t.channel_location,
            and_(place.merchant_id == listing.merchant_id, place.connection_id == listing.connection_id),
        )
        .outerjoin(t.stock_level, _level_of(listing.sku_id, place.location_id))
    )
    written = [
        *here,
        listing.tracked.is_(True),
        listing.active.is_(True),
        t.sku.c.counted_since.is_not(None),
        place.active.is_(True),
        place.location_id.is_not(None),
    ]
    rows = connection.execute(
        select(listing.id, listing.title, t.sku.c.code, place.name, available)
        .select_from(source)
        .where(*written)
        .order_by(t.sku.c.code, listing.id, place.external_id)
        .limit(limit)
    )
    count, to_zero = connection.execute(
        select(func.count(), func.sum(case((available == 0, 1), else_=0))).select_from(source).where(*written)
    ).one()
    unmatched, untracked, uncounted = connection.execute(
        select(
            func.sum(case((_is_unmatched(), 1), else_=0)),
            func.sum(case((or_(listing.tracked.is_(False), listing.active.is_(False)), 1), else_=0)),
            func.sum(case((and_(listing.sku_id.is_not(None), t.sku.c.counted_since.is_(None)), 1), else_=0)),
        )
        .select_from(t.listing.outerjoin(t.sku, _same(listing.sku_id, t.sku, t.listing)))
        .where(*here)
    ).one()
    unbound = _scalar(
        connection,
        select(func.count())
        .select_from(t.channel_location)
        .where(
            place.merchant_id == merchant_id,
            place.connection_id == connection_id,
            place.active.is_(True),
            place.location_id.is_(None),
        ),
    )
    return LivePlan(
        writes=tuple(PlannedWrite(*row) for row in rows),
        count=count,
        to_zero=int(to_zero or 0),
        unmatched=int(unmatched or 0),
        untracked=int(untracked or 0),
        uncounted=int(uncounted or 0),
        unbound_locations=unbound,
    )


# ---------------------------------------------------------------- orders


@dataclass(frozen=True, slots=True)
class OrderFilter:
    """Which orders a list shows; every part may be empty."""

    status: str = ""
    connection_id: UUID | None = None
    text: str = ""
    waiting: bool = False  # only orders with a line on backorder


@dataclass(frozen=True, slots=True)
class OrderSummary:
    """One line of the order list."""

    id: UUID
    connection_id: UUID
    connection_label: str
    connector: str
    number: str
    status: str
    channel_status: str
    test: bool
    placed_at: datetime
    customer_name: str
    email: str
    total: Money | None
    units: int
    allocated: int
    backordered: int
    unmatched: int


@dataclass(frozen=True, slots=True)
class LineView:
    """One line of an order, with what holds stock for it."""

    id: UUID
    sku_id: UUID | None
    sku_code: str
    sku_text: str
    title: str
    quantity: int
    fulfilled: int
    removed: int
    unit_price: Money | None
    total: Money | None
    tax: Money | None
    requires_shipping: bool
    present: bool
    listing_id: UUID | None
    listing_external_id: str | None
    allocations: tuple[tuple[str, int], ...]  # location name, units
    backordered: int
    counted: bool

    @property
    def allocated(self) -> int:
        return sum(quantity for _, quantity in self.allocations)

    @property
    def open_quantity(self) -> int:
        return max(0, self.quantity - self.fulfilled - self.removed)


@dataclass(frozen=True, slots=True)
class RefundView:
    """Money given back on an order."""

    external_id: str
    amount: Money | None
    reason: str
    refunded_at: datetime | None


@dataclass(frozen=True, slots=True)
class RecordView:
    """One record of an order as it came in."""

    id: UUID
    source: str
    topic: str
    received_at: datetime
    state: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderView:
    """One order in full."""

    id: UUID
    connection_id: UUID
    connection_label: str
    connector: str
    external_id: str
    number: str
    status: str
    channel_status: str
    test: bool
    whole: bool
    holds_stock: bool
    version: datetime | None
    revision: int
    placed_at: datetime | None
    imported_at: datetime
    updated_at: datetime
    taxes_included: bool
    customer_name: str
    email: str
    note: str
    shipping_address: Mapping[str, Any]
    billing_address: Mapping[str, Any]
    total: Money | None
    parts: tuple[tuple[str, Money], ...]  # what adds up to the total, by name
    lines: tuple[LineView, ...]
    refunds: tuple[RefundView, ...]
    timeline: tuple[ActivityView, ...]
    records: tuple[RecordView, ...]


def orders(
    connection: Connection,
    merchant_id: UUID,
    wanted: OrderFilter,
    *,
    before: tuple[datetime, UUID] | None = None,
    limit: int = PAGE,
) -> list[OrderSummary]:
    """Orders, the newest first; ``before`` is (placed_at, id) of the last one shown."""
    order = t.sales_order.c
    query = (
        select(t.sales_order, t.connection.c.label, t.connection.c.connector)
        .join(t.connection, _same(order.connection_id, t.connection, t.sales_order))
        # An order of which only the removal was ever heard has no date, and says nothing.
        .where(order.merchant_id == merchant_id, order.placed_at.is_not(None))
        .order_by(order.placed_at.desc(), order.id.desc())
        .limit(limit)
    )
    if wanted.status:
        query = query.where(order.status == wanted.status)
    if wanted.connection_id is not None:
        query = query.where(order.connection_id == wanted.connection_id)
    if wanted.waiting:
        query = query.where(
            exists(
                select(t.backorder.c.quantity)
                .join(t.order_line, _same(t.backorder.c.order_line_id, t.order_line, t.backorder))
                .where(t.backorder.c.merchant_id == order.merchant_id, t.order_line.c.order_id == order.id)
            )
        )
    if wanted.text:
        query = query.where(_order_matches(wanted.text))
    if before is not None:
        placed_at, last = before
        query = query.where(order.placed_at <= placed_at, or_(order.placed_at < placed_at, order.id < last))
    rows = connection.execute(query).all()
    tally = _line_tally(connection, merchant_id, [row.id for row in rows])
    return [
        OrderSummary(
            id=row.id,
            connection_id=row.connection_id,
            connection_label=row.label,
            connector=row.connector,
            number=row.number,
            status=row.status,
            channel_status=row.channel_status,
            test=row.test,
            placed_at=row.placed_at,
            customer_name=row.customer_name,
            email=row.email,
            total=_money(row.total_minor, row.currency),
            units=tally[row.id][0],
            allocated=tally[row.id][1],
            backordered=tally[row.id][2],
            unmatched=tally[row.id][3],
        )
        for row in rows
    ]


def _order_matches(text: str) -> ColumnElement[bool]:
    order = t.sales_order.c
    number = text.removeprefix("#")
    return or_(
        order.number == text,
        order.number == number,
        order.external_id == number,
        _contains(order.number, text),
        _contains(order.customer_name, text),
        _contains(order.email, text),
        exists(
            select(t.order_line.c.id).where(
                t.order_line.c.merchant_id == order.merchant_id,
                t.order_line.c.order_id == order.id,
                t.order_line.c.sku_text == text,
            )
        ),
    )


def _line_tally(
    connection: Connection, merchant_id: UUID, order_ids: Sequence[UUID]
) -> Mapping[UUID, tuple[int, int, int, int]]:
    """Per order: units ordered, allocated, on backorder, and lines that are matched to no SKU."""
    line = t.order_line.c
    held = _units_of_line(t.allocation)
    awaited = _units_of_line(t.backorder)
    rows = connection.execute(
        select(
            line.order_id,
            func.sum(line.quantity - line.removed),
            func.sum(held),
            func.sum(awaited),
            func.sum(case((and_(line.sku_id.is_(None), line.listing_external_id.is_not(None)), 1), else_=0)),
        )
        .where(line.merchant_id == merchant_id, line.order_id.in_(order_ids), line.present.is_(True))
        .group_by(line.order_id)
    )
    return defaultdict(
        lambda: (0, 0, 0, 0),
        {row[0]: (int(row[1]), int(row[2] or 0), int(row[3] or 0), int(row[4])) for row in rows},
    )


def _units_of_line(table: Any) -> Any:
    return (
        select(func.coalesce(func.sum(table.c.quantity), 0))
        .where(table.c.merchant_id == t.order_line.c.merchant_id, table.c.order_line_id == t.order_line.c.id)
        .correlate(t.order_line)
        .scalar_subquery()
    )


def order(connection: Connection, merchant_id: UUID, order_id: UUID) -> OrderView | None:
    """One order with its lines, money, refunds, timeline and the records it was read from."""
    row = connection.execute(
        select(t.sales_order, t.connection.c.label, t.connection.c.connector)
        .join(t.connection, _same(t.sales_order.c.connection_id, t.connection, t.sales_order))
        .where(t.sales_order.c.merchant_id == merchant_id, t.sales_order.c.id == order_id)
    ).first()
    if row is None:
        return None
    refunds = connection.execute(
        select(t.refund)
        .where(t.refund.c.merchant_id == merchant_id, t.refund.c.order_id == order_id)
        .order_by(t.refund.c.refunded_at, t.refund.c.external_id)
    )
    records = connection.execute(
        select(
            t.inbox.c.id,
            t.inbox.c.source,
            t.inbox.c.topic,
            t.inbox.c.received_at,
            t.inbox.c.state,
            t.inbox.c.error,
        )
        .where(
            t.inbox.c.merchant_id == merchant_id,
            t.inbox.c.connection_id == row.connection_id,
            t.inbox.c.external_id == row.external_id,
            # Orders and listings may share their numbers.
            ~t.inbox.c.topic.like("product%"),
            t.inbox.c.topic != "listing",
        )
        .order_by(t.inbox.c.received_at.desc(), t.inbox.c.id.desc())
        .limit(PAGE)
    )
    return OrderView(
        id=row.id,
        connection_id=row.connection_id,
        connection_label=row.label,
        connector=row.connector,
        external_id=row.external_id,
        number=row.number,
        status=row.status,
        channel_status=row.channel_status,
        test=row.test,
        whole=row.whole,
        holds_stock=row.holds_stock,
        version=row.version,
        revision=row.revision,
        placed_at=row.placed_at,
        imported_at=row.imported_at,
        updated_at=row.updated_at,
        taxes_included=row.taxes_included,
        customer_name=row.customer_name,
        email=row.email,
        note=row.note,
        shipping_address=row.shipping_address,
        billing_address=row.billing_address,
        total=_money(row.total_minor, row.currency),
        parts=_parts(row),
        lines=_order_lines(connection, merchant_id, row),
        refunds=tuple(
            RefundView(each.external_id, _money(each.amount_minor, row.currency), each.reason, each.refunded_at)
            for each in refunds
        ),
        timeline=tuple(activity(connection, merchant_id, order_id=order_id, limit=200)),
        records=tuple(RecordView(*each) for each in records),
    )


def _parts(row: AnyRow) -> tuple[tuple[str, Money], ...]:
    if not row.currency:
        return ()
    parts = [
        ("Items", row.lines_minor, True),
        ("Shipping", row.shipping_minor, True),
        ("Fees", row.fees_minor, False),
        ("Discount", -row.discount_minor, False),
        ("Rounding", row.rounding_minor, False),
    ]
    if not row.taxes_included:
        parts.insert(4, ("Tax", row.tax_minor, True))
    return tuple((name, Money.from_minor(minor, row.currency)) for name, minor, always in parts if always or minor)


def _order_lines(connection: Connection, merchant_id: UUID, order: AnyRow) -> tuple[LineView, ...]:
    line = t.order_line.c
    rows = connection.execute(
        select(
            t.order_line,
            func.coalesce(t.sku.c.code, "").label("sku_code"),
            t.listing.c.id.label("listing_id"),
            _units_of_line(t.backorder).label("backordered"),
            t.sku.c.counted_since.is_not(None).label("counted"),
        )
        .outerjoin(t.sku, _same(line.sku_id, t.sku, t.order_line))
        .outerjoin(
            t.listing,
            and_(
                t.listing.c.merchant_id == line.merchant_id,
                t.listing.c.connection_id == order.connection_id,
                t.listing.c.external_id == line.listing_external_id,
            ),
        )
        .where(line.merchant_id == merchant_id, line.order_id == order.id)
        .order_by(line.present.desc(), line.position, line.id)
    ).all()
    held: dict[UUID, list[tuple[str, int]]] = defaultdict(list)
    for line_id, name, quantity in connection.execute(
        select(t.allocation.c.order_line_id, t.location.c.name, t.allocation.c.quantity)
        .join(t.location, _same(t.allocation.c.location_id, t.location, t.allocation))
        .join(t.order_line, _same(t.allocation.c.order_line_id, t.order_line, t.allocation))
        .where(t.allocation.c.merchant_id == merchant_id, line.order_id == order.id)
        .order_by(t.location.c.name)
    ):
        held[line_id].append((name, quantity))
    return tuple(
        LineView(
            id=row.id,
            sku_id=row.sku_id,
            sku_code=row.sku_code,
            sku_text=row.sku_text,
            title=row.title,
            quantity=row.quantity,
            fulfilled=row.fulfilled,
            removed=row.removed,
            unit_price=Money.of(row.unit_price, order.currency) if order.currency else None,
            total=_money(row.total_minor, order.currency),
            tax=_money(row.tax_minor, order.currency),
            requires_shipping=row.requires_shipping,
            present=row.present,
            listing_id=row.listing_id,
            listing_external_id=row.listing_external_id,
            allocations=tuple(held[row.id]),
            backordered=int(row.backordered),
            counted=bool(row.counted),
        )
        for row in rows
    )


# ---------------------------------------------------------------- stock


@dataclass(frozen=True, slots=True)
class Figure:
    """What one shop shows for a SKU: the figure last known there, and the one it should show."""

    sku_id: UUID
    listing_id: UUID
    listing_title: str
    external_id: str
    connection_id: UUID
    connection_label: str
    connector: str
    location_name: str
    live: bool  # a person has set the connection live, and it is not paused
    tracked: bool
    active: bool
    published: int | None
    wanted: int | None  # None: the SKU is not counted, or no place of the channel stands for a location of ours
    published_at: datetime | None
    dirty: bool
    dirty_since: datetime | None
    error: str
    cause: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class SkuStock:
    """One line of the stock list."""

    id: UUID
    code: str
    title: str
    on_hand: int
    allocated: int
    backordered: int
    counted: bool
    figures: tuple[Figure, ...]

    @property
    def available(self) -> int:
        return self.on_hand - self.allocated


@dataclass(frozen=True, slots=True)
class LevelView:
    """The balance of a SKU at one location."""

    location_id: UUID
    location_name: str
    on_hand: int
    allocated: int
    updated_at: datetime

    @property
    def available(self) -> int:
        return self.on_hand - self.allocated


@dataclass(frozen=True, slots=True)
class EntryView:
    """One line of the stock ledger."""

    id: UUID
    at: datetime
    location_name: str
    on_hand_delta: int
    allocated_delta: int
    cause: str
    reference: str
    note: str
    actor: str
    order_id: UUID | None
    order_number: str


@dataclass(frozen=True, slots=True)
class WaitingLine:
    """An order line that waits for stock."""

    order_id: UUID
    order_number: str
    connection_label: str
    quantity: int
    since: datetime


@dataclass(frozen=True, slots=True)
class WriteView:
    """One figure the hub wrote to a shop."""

    at: datetime
    connection_label: str
    before: int | None
    quantity: int
    cause: Mapping[str, Any] | None
    note: str


@dataclass(frozen=True, slots=True)
class SkuView:
    """One SKU: where it lies, who waits for it, and what the shops show."""

    id: UUID
    code: str
    title: str
    levels: tuple[LevelView, ...]
    uncounted: tuple[LocationView, ...]  # locations where it has no balance
    waiting: tuple[WaitingLine, ...]
    figures: tuple[Figure, ...]
    writes: tuple[WriteView, ...]

    @property
    def on_hand(self) -> int:
        return sum(level.on_hand for level in self.levels)

    @property
    def allocated(self) -> int:
        return sum(level.allocated for level in self.levels)

    @property
    def backordered(self) -> int:
        return sum(line.quantity for line in self.waiting)


def stock(
    connection: Connection,
    merchant_id: UUID,
    *,
    text: str = "",
    show: str = "all",
    after: str | None = None,
    limit: int = PAGE,
) -> list[SkuStock]:
    """SKUs by code, with what the shops show; ``show`` is all, out, backordered, behind or uncounted.

    ``after`` is the code of the last one shown.
    """
    sku = t.sku.c
    on_hand = _level_sum(t.stock_level.c.on_hand)
    allocated = _level_sum(t.stock_level.c.allocated)
    awaited = (
        select(func.coalesce(func.sum(t.backorder.c.quantity), 0))
        .where(t.backorder.c.merchant_id == sku.merchant_id, t.backorder.c.sku_id == sku.id)
        .correlate(t.sku)
        .scalar_subquery()
    )
    query = (
        select(
            sku.id,
            sku.code,
            sku.title,
            on_hand.label("on_hand"),
            allocated.label("allocated"),
            awaited.label("backordered"),
            sku.counted_since.is_not(None).label("counted"),
        )
        .where(sku.merchant_id == merchant_id)
        .order_by(sku.code)
        .limit(limit)
    )
    if text:
        query = query.where(or_(_contains(sku.code, text), _contains(sku.title, text)))
    if show == "out":
        query = query.where(sku.counted_since.is_not(None), on_hand == allocated)
    elif show == "backordered":
        query = query.where(
            exists().where(t.backorder.c.merchant_id == sku.merchant_id, t.backorder.c.sku_id == sku.id)
        )
    elif show == "behind":
        query = query.where(
            exists(
                select(t.publication.c.version)
                .join(t.listing, _same(t.publication.c.listing_id, t.listing, t.publication))
                .join(t.connection, _same(t.publication.c.connection_id, t.connection, t.publication))
                .where(
                    t.listing.c.merchant_id == sku.merchant_id,
                    t.listing.c.sku_id == sku.id,
                    t.connection.c.live_at.is_not(None),
                    t.connection.c.state != "removed",
                    or_(_is_dirty(), t.publication.c.error != ""),
                )
            )
        )
    elif show == "uncounted":
        query = query.where(sku.counted_since.is_(None))
    if after is not None:
        query = query.where(sku.code > after)
    rows = connection.execute(query).all()
    shown = _figures(connection, merchant_id, [row.id for row in rows])
    return [
        SkuStock(
            id=row.id,
            code=row.code,
            title=row.title,
            on_hand=int(row.on_hand),
            allocated=int(row.allocated),
            backordered=int(row.backordered),
            counted=bool(row.counted),
            figures=tuple(shown[row.id]),
        )
        for row in rows
    ]


def sku(connection: Connection, merchant_id: UUID, sku_id: UUID) -> SkuView | None:
    """One SKU with its balances, queue and figures."""
    row = connection.execute(
        select(t.sku.c.code, t.sku.c.title).where(t.sku.c.merchant_id == merchant_id, t.sku.c.id == sku_id)
    ).first()
    if row is None:
        return None
    level = t.stock_level.c
    levels = tuple(
        LevelView(*each)
        for each in connection.execute(
            select(level.location_id, t.location.c.name, level.on_hand, level.allocated, level.updated_at)
            .join(t.location, _same(level.location_id, t.location, t.stock_level))
            .where(level.merchant_id == merchant_id, level.sku_id == sku_id)
            .order_by(t.location.c.name)
        )
    )
    waiting = connection.execute(
        select(
            t.sales_order.c.id,
            t.sales_order.c.number,
            t.connection.c.label,
            t.backorder.c.quantity,
            t.backorder.c.since,
        )
        .join(t.order_line, _same(t.backorder.c.order_line_id, t.order_line, t.backorder))
        .join(t.sales_order, _same(t.order_line.c.order_id, t.sales_order, t.order_line))
        .join(t.connection, _same(t.sales_order.c.connection_id, t.connection, t.sales_order))
        .where(t.backorder.c.merchant_id == merchant_id, t.backorder.c.sku_id == sku_id)
        .order_by(t.backorder.c.since, t.backorder.c.order_line_id)
        .limit(PAGE)
    )
    writes = connection.execute(
        select(
            t.publication_entry.c.at,
            t.connection.c.label,
            t.publication_entry.c.before,
            t.publication_entry.c.quantity,
            t.publication_entry.c.cause,
            t.publication_entry.c.note,
        )
        .join(t.listing, _same(t.publication_entry.c.listing_id, t.listing, t.publication_entry))
        .join(t.connection, _same(t.listing.c.connection_id, t.connection, t.listing))
        .where(t.publication_entry.c.merchant_id == merchant_id, t.listing.c.sku_id == sku_id)
        .order_by(t.publication_entry.c.at.desc(), t.publication_entry.c.id.desc())
        .limit(20)
    )
    counted = {each.location_id for each in levels}
    return SkuView(
        id=sku_id,
        code=row.code,
        title=row.title,
        levels=levels,
        uncounted=tuple(each for each in locations(connection, merchant_id) if each.id not in counted),
        waiting=tuple(WaitingLine(*each) for each in waiting),
        figures=tuple(_figures(connection, merchant_id, [sku_id])[sku_id]),
        writes=tuple(WriteView(*each) for each in writes),
    )


def ledger(
    connection: Connection, merchant_id: UUID, sku_id: UUID, *, before: UUID | None = None, limit: int = PAGE
) -> list[EntryView]:
    """The ledger of a SKU, the newest entry first; ``before`` is the id of the last one shown."""
    entry = t.stock_entry.c
    query = (
        select(
            entry.id,
            entry.at,
            t.location.c.name,
            entry.on_hand_delta,
            entry.allocated_delta,
            entry.cause,
            entry.reference,
            entry.note,
            entry.actor,
            entry.order_id,
            func.coalesce(t.sales_order.c.number, ""),
        )
        .join(t.location, _same(entry.location_id, t.location, t.stock_entry))
        .outerjoin(t.sales_order, _same(entry.order_id, t.sales_order, t.stock_entry))
        .where(entry.merchant_id == merchant_id, entry.sku_id == sku_id)
        .order_by(entry.id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(entry.id < before)
    return [EntryView(*row) for row in connection.execute(query)]


def _level_sum(column: Any) -> Any:
    return (
        select(func.coalesce(func.sum(column), 0))
        .where(t.stock_level.c.merchant_id == t.sku.c.merchant_id, t.stock_level.c.sku_id == t.sku.c.id)
        .correlate(t.sku)
        .scalar_subquery()
    )


def _figures(connection: Connection, merchant_id: UUID, sku_ids: Sequence[UUID]) -> Mapping[UUID, list[Figure]]:
    listing, place, publication = t.listing.c, t.channel_location.c, t.publication.c
    rows = connection.execute(
        select(
            listing.sku_id,
            listing.id,
            listing.title,
            listing.external_id,
            t.connection.c.id,
            t.connection.c.label,
            t.connection.c.connector,
            func.coalesce(place.name, ""),
            and_(t.connection.c.live_at.is_not(None), t.connection.c.state == "connected"),
            listing.tracked,
            listing.active,
            publication.quantity,
            case(
                (
                    and_(t.sku.c.counted_since.is_not(None), place.location_id.is_not(None)),
                    func.coalesce(t.stock_level.c.on_hand - t.stock_level.c.allocated, 0),
                )
            ),
            publication.published_at,
            func.coalesce(_is_dirty(), false()),
            publication.dirty_since,
            func.coalesce(publication.error, ""),
            publication.cause,
        )
        .join(t.sku, _same(listing.sku_id, t.sku, t.listing))
        .join(t.connection, _same(listing.connection_id, t.connection, t.listing))
        .outerjoin(
            t.channel_location,
            and_(
                place.merchant_id == listing.merchant_id,
                place.connection_id == listing.connection_id,
                place.location_id.is_not(None),
            ),
        )
        .outerjoin(t.stock_level, _level_of(listing.sku_id, place.location_id))
        .outerjoin(t.publication, _publication_of(place.external_id))
        .where(listing.merchant_id == merchant_id, listing.sku_id.in_(sku_ids), t.connection.c.state != "removed")
        .order_by(t.connection.c.label, t.connection.c.id, listing.title, listing.id, place.name)
    )
    shown: dict[UUID, list[Figure]] = defaultdict(list)
    for row in rows:
        shown[row[0]].append(Figure(*row))
    return shown


# ---------------------------------------------------------------- issues and activity


@dataclass(frozen=True, slots=True)
class IssueView:
    """Something a person must decide, or has decided."""

    id: UUID
    kind: str
    title: str
    next_step: str
    link: str
    times: int
    opened_at: datetime
    last_seen_at: datetime
    resolved_at: datetime | None
    resolved_by: str
    connection_id: UUID | None
    connection_label: str
    order_id: UUID | None
    order_number: str


@dataclass(frozen=True, slots=True)
class ActivityView:
    """One thing that happened."""

    id: UUID
    at: datetime
    kind: str
    summary: str
    actor: str
    details: Mapping[str, Any] | None
    connection_id: UUID | None
    connection_label: str
    order_id: UUID | None
    order_number: str


def issues(
    connection: Connection,
    merchant_id: UUID,
    *,
    resolved: bool = False,
    connection_id: UUID | None = None,
    order_id: UUID | None = None,
    before: tuple[datetime, UUID] | None = None,
    limit: int = PAGE,
) -> list[IssueView]:
    """Open issues by the time they came up, or resolved ones by the time they went, the newest first."""
    issue = t.issue.c
    moment = issue.resolved_at if resolved else issue.opened_at
    query = (
        _issue_columns()
        .where(issue.merchant_id == merchant_id, ~_is_open() if resolved else _is_open())
        .order_by(moment.desc(), issue.id.desc())
        .limit(limit)
    )
    if connection_id is not None:
        query = query.where(issue.connection_id == connection_id)
    if order_id is not None:
        query = query.where(issue.order_id == order_id)
    if before is not None:
        at, last = before
        query = query.where(moment <= at, or_(moment < at, issue.id < last))
    return [IssueView(*row) for row in connection.execute(query)]


def _issue_columns() -> AnySelect:
    issue = t.issue.c
    return (
        select(
            issue.id,
            issue.kind,
            issue.title,
            issue.next_step,
            issue.link,
            issue.times,
            issue.opened_at,
            issue.last_seen_at,
            issue.resolved_at,
            issue.resolved_by,
            issue.connection_id,
            func.coalesce(t.connection.c.label, ""),
            issue.order_id,
            func.coalesce(t.sales_order.c.number, ""),
        )
        .outerjoin(t.connection, _same(issue.connection_id, t.connection, t.issue))
        .outerjoin(t.sales_order, _same(issue.order_id, t.sales_order, t.issue))
    )


def activity(
    connection: Connection,
    merchant_id: UUID,
    *,
    connection_id: UUID | None = None,
    order_id: UUID | None = None,
    before: tuple[datetime, UUID] | None = None,
    limit: int = PAGE,
) -> list[ActivityView]:
    """What happened, the newest first; ``before`` is (at, id) of the last one shown."""
    line = t.activity.c
    query = (
        select(
            line.id,
            line.at,
            line.kind,
            line.summary,
            line.actor,
            line.details,
            line.connection_id,
            func.coalesce(t.connection.c.label, ""),
            line.order_id,
            func.coalesce(t.sales_order.c.number, ""),
        )
        .outerjoin(t.connection, _same(line.connection_id, t.connection, t.activity))
        .outerjoin(t.sales_order, _same(line.order_id, t.sales_order, t.activity))
        .where(line.merchant_id == merchant_id)
        .order_by(line.at.desc(), line.id.desc())
        .limit(limit)
    )
    if connection_id is not None:
        query = query.where(line.connection_id == connection_id)
    if order_id is not None:
        query = query.where(line.order_id == order_id)
    if before is not None:
        at, last = before
        query = query.where(line.at <= at, or_(line.at < at, line.id < last))
    return [ActivityView(*row) for row in connection.execute(query)]


# ---------------------------------------------------------------- small parts of queries


def _same(column: Any, target: Any, source: Any) -> ColumnElement[bool]:
    """``column`` names a row of ``target`` that belongs to the same merchant as the row of ``source``."""
    return and_(target.c.merchant_id == source.c.merchant_id, target.c.id == column)


def _publication_of(place: Any) -> ColumnElement[bool]:
    return and_(
        t.publication.c.merchant_id == t.listing.c.merchant_id,
        t.publication.c.listing_id == t.listing.c.id,
        t.publication.c.location_external_id == place,
    )


def _level_of(sku_id: Any, location_id: Any) -> ColumnElement[bool]:
    return and_(
        t.stock_level.c.merchant_id == t.listing.c.merchant_id,
        t.stock_level.c.sku_id == sku_id,
        t.stock_level.c.location_id == location_id,
    )


def _is_open() -> ColumnElement[bool]:
    return t.issue.c.resolved_at.is_(None)


def _is_dirty() -> ColumnElement[bool]:
    return t.publication.c.version > t.publication.c.published_version


def _is_unmatched() -> ColumnElement[bool]:
    """The listing has stock of its own at the channel, and the hub does not know which SKU it is."""
    listing = t.listing.c
    return and_(listing.sku_id.is_(None), listing.tracked.is_(True), listing.active.is_(True))


def _contains(column: Any, text: str) -> ColumnElement[bool]:
    return func.lower(column).contains(text.lower(), autoescape=True)


def _money(minor: int, currency: str) -> Money | None:
    return Money.from_minor(minor, currency) if currency else None


def _scalar(connection: Connection, query: Select[int]) -> int:
    return connection.execute(query).scalar_one()
