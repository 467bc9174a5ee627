"""The home page: the first steps of a merchant, then the day: what needs a person, what is late, how things go.

Everything here is counted in the terms of the list it leads to, within bounds that do not grow with the merchant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from enum import StrEnum
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    union,
    union_all,
)

from hub.core.model import Money
from hub.store import tables as t
from hub.store.queries import parts
from hub.store.queries.connections import Health, health_of
from hub.store.queries.orders import SILENT, SOON
from hub.store.queries.shipments import are_shown
from hub.store.queries.stock import RUNNING_OUT
from hub.store.sandbox import Sandbox

_CUT_OFF_NEAR = timedelta(hours=3)
_MOST_SKUS = 6
_MOST_KINDS = 8


# ---------------------------------------------------------------- what every page shows around itself


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a merchant's pages say at their edges."""

    open_issues: int
    settled_in: bool  # the list of first steps was put away
    sandbox: Sandbox | None


def surroundings(connection: Connection, merchant_id: UUID) -> Surroundings:
    """The count of open issues and the sandbox, in one statement: every page asks for them."""
    row = connection.execute(
        select(
            select(func.count())
            .select_from(t.issue)
            .where(t.issue.c.merchant_id == merchant_id, parts.is_open())
            .scalar_subquery()
            .label("issues"),
            t.merchant.c.settled_in_at,
            t.sandbox,
        )
        .select_from(t.merchant.outerjoin(t.sandbox, t.sandbox.c.merchant_id == t.merchant.c.id))
        .where(t.merchant.c.id == merchant_id)
    ).one()
    kept = (
        None
        if row.wanted_at is None
        else Sandbox(
            wanted_at=row.wanted_at,
            began_at=row.began_at,
            beginnings=row.beginnings,
            seen_at=row.seen_at,
            ending_at=row.ending_at,
            error=row.error,
        )
    )
    return Surroundings(row.issues, row.settled_in_at is not None, kept)


# ---------------------------------------------------------------- first steps


class Step(StrEnum):
    """What leads from an empty hub to the first order, in this order."""

    CONNECT = "connect"
    MATCH = "match"
    LOCATIONS = "locations"
    STOCK = "stock"
    PREVIEW = "preview"
    LIVE = "live"
    ORDER = "order"


@dataclass(frozen=True, slots=True)
class FirstOrder:
    """The first order that a merchant ever saw here, and how soon: of its placing, and of the merchant's beginning."""

    id: UUID
    number: str
    connection_label: str
    placed_at: datetime | None
    imported_at: datetime
    since_set_up: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstSteps:
    """How far a merchant has come, as what is stored says. ``busy``: a worker is at it, or a shop is being imported."""

    done: frozenset[Step]
    unmatched: int
    connection_id: UUID | None  # of a shop: the one on whose page the next step is taken
    busy: bool
    first_order: FirstOrder | None

    @property
    def next(self) -> Step | None:
        """The first step that is still to be done."""
        return next((step for step in Step if step not in self.done), None)

    @property
    def complete(self) -> bool:
        return self.next is None


def first_steps(connection: Connection, merchant_id: UUID) -> FirstSteps:
    """Where the merchant stands between an empty hub and the first order."""
    shop, listing, place = t.connection.c, t.listing.c, t.channel_location.c
    shops = connection.execute(
        select(shop.id, shop.state, shop.live_at)
        .where(shop.merchant_id == merchant_id, shop.kind == "channel", shop.state != "removed")
        .order_by(shop.created_at, shop.id)
    ).all()
    working = [each.id for each in shops if each.state != "new"]

    def there(table: object, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
        return exists(select(literal(1)).select_from(table).where(*conditions))  # type: ignore[arg-type]

    unmatched = (
        select(listing.connection_id, func.count().label("waiting"))
        .where(listing.merchant_id == merchant_id, listing.connection_id.in_(working), parts.is_unmatched())
        .group_by(listing.connection_id)
        .order_by(func.count().desc())
    )
    waiting = connection.execute(unmatched).all() if working else []
    order = t.sales_order.c
    row = connection.execute(
        select(
            there(t.listing, listing.merchant_id == merchant_id, listing.sku_id.is_not(None)).label("matched"),
            there(
                t.channel_location,
                place.merchant_id == merchant_id,
                place.connection_id.in_(working),
                place.active,
                place.location_id.is_(None),
            ).label("unbound"),
            there(
                t.location,
                t.location.c.merchant_id == merchant_id,
                t.location.c.kind != "3pl",
                t.location.c.address["country"].as_string() != "",
            ).label("addressed"),
            there(t.sku, t.sku.c.merchant_id == merchant_id, t.sku.c.counted_since.is_not(None)).label("counted"),
            there(
                t.task,
                t.task.c.merchant_id == merchant_id,
                t.task.c.kind == "preview",
                t.task.c.state == "done",
            ).label("previewed"),
            there(
                t.task,
                t.task.c.merchant_id == merchant_id,
                t.task.c.state.in_(("waiting", "running")),
                t.task.c.kind.in_(("adopt", "preview", "match")),
            ).label("busy"),
            there(
                t.cursor,
                t.cursor.c.merchant_id == merchant_id,
                t.cursor.c.connection_id.in_(working),
                t.cursor.c.stream == "listings",
                t.cursor.c.polled_at.is_(None),
            ).label("importing"),
            there(
                t.inbox,
                t.inbox.c.merchant_id == merchant_id,
                t.inbox.c.connection_id.in_(working),
                t.inbox.c.state == "pending",
            ).label("unread"),
        )
    ).one()
    first = connection.execute(
        select(order.id, order.number, shop.label, order.placed_at, order.imported_at, t.merchant.c.created_at)
        .join(t.connection, parts.same(order.connection_id, t.connection, t.sales_order))
        .join(t.merchant, t.merchant.c.id == order.merchant_id)
        .where(order.merchant_id == merchant_id)
        .order_by(order.id)
        .limit(1)
    ).one_or_none()
    live = [each.id for each in shops if each.live_at is not None]
    is_selling = bool(live) and first is not None
    done = {
        Step.CONNECT: bool(working),
        # Whoever sells already finds what is new at a shop in the queue.
        Step.MATCH: row.matched and (not waiting or is_selling),
        Step.LOCATIONS: bool(working) and not row.unbound and row.addressed,
        Step.STOCK: row.counted,
        Step.PREVIEW: row.previewed or bool(live),
        Step.LIVE: bool(live),
        Step.ORDER: is_selling,
    }
    asleep = [each.id for each in shops if each.live_at is None and each.state == "connected"]
    return FirstSteps(
        done=frozenset(step for step, is_done in done.items() if is_done),
        unmatched=sum(each.waiting for each in waiting),
        connection_id=waiting[0].connection_id if waiting else next(iter([*asleep, *working]), None),
        # Once there is something to match, what comes in later holds nobody up.
        busy=bool(row.busy)
        or any(each.state == "new" for each in shops)
        or (not row.matched and bool(row.importing or row.unread)),
        first_order=None
        if first is None
        else FirstOrder(
            first.id,
            first.number,
            first.label,
            first.placed_at,
            first.imported_at,
            first.imported_at - first.created_at,
        ),
    )


# ---------------------------------------------------------------- what needs a person


@dataclass(frozen=True, slots=True)
class IssueKind:
    """The open issues of one kind: how many, and the one that has waited longest."""

    kind: str
    count: int
    oldest_at: datetime
    title: str
    next_step: str
    link: str  # where the next step of that one is taken


def issue_kinds(connection: Connection, merchant_id: UUID) -> list[IssueKind]:
    """Open issues by kind, those with the most first."""
    issue = t.issue.c
    ranked = (
        select(
            issue.kind,
            issue.title,
            issue.next_step,
            issue.link,
            issue.opened_at,
            func.count().over(partition_by=issue.kind).label("how_many"),
            func.row_number().over(partition_by=issue.kind, order_by=(issue.opened_at, issue.id)).label("place"),
        )
        .where(issue.merchant_id == merchant_id, parts.is_open())
        .subquery()
    )
    rows = connection.execute(
        select(ranked)
        .where(ranked.c.place == 1)
        .order_by(ranked.c.how_many.desc(), ranked.c.opened_at)
        .limit(_MOST_KINDS)
    )
    return [IssueKind(row.kind, row.how_many, row.opened_at, row.title, row.next_step, row.link) for row in rows]


@dataclass(frozen=True, slots=True)
class Waiting:
    """How much of one thing waits or is late, and since when the oldest."""

    count: int
    since: datetime | None


def waiting(connection: Connection, merchant_id: UUID, now: datetime) -> Mapping[str, Waiting]:
    """What is late or about to be, and what is held up, by the name of its list.

    late, due, overdue, unanswered, on_hold, waiting, returns are orders; labelled are shipments.
    """
    order, work, sent, hold, waits, line = (
        table.c for table in (t.sales_order, t.fulfillment_order, t.shipment, t.order_hold, t.backorder, t.order_line)
    )
    asked = (work.merchant_id == merchant_id, work.closed_at.is_(None))
    held = union(
        select(order.id, order.placed_at).where(order.merchant_id == merchant_id, order.on_hold),
        select(order.id, order.placed_at)
        .join(t.order_hold, and_(hold.merchant_id == order.merchant_id, hold.order_id == order.id))
        .where(hold.merchant_id == merchant_id, hold.released_at.is_(None)),
    ).subquery()
    rows = connection.execute(
        union_all(
            select(literal("late").label("name"), func.count(work.order_id.distinct()), func.min(work.ship_by)).where(
                *asked, work.ship_by < now
            ),
            select(literal("due"), func.count(work.order_id.distinct()), func.min(work.ship_by)).where(
                *asked, work.ship_by >= now, work.ship_by < now + SOON
            ),
            select(literal("overdue"), func.count(), func.min(order.promised_at)).where(
                order.merchant_id == merchant_id,
                order.status.in_([literal_column("'pending'"), literal_column("'open'")]),
                order.promised_at < now,
            ),
            select(literal("unanswered"), func.count(work.order_id.distinct()), func.min(work.requested_at)).where(
                *asked, work.state == "requested", work.requested_at < now - SILENT
            ),
            select(literal("labelled"), func.count(), func.min(sent.labelled_at)).where(
                sent.merchant_id == merchant_id, are_shown(merchant_id, "labelled")
            ),
            select(literal("returns"), func.count(), func.min(order.placed_at)).where(
                order.merchant_id == merchant_id, order.returns_open
            ),
            select(literal("on_hold"), func.count(), func.min(held.c.placed_at)).select_from(held),
            select(literal("waiting"), func.count(line.order_id.distinct()), func.min(waits.since))
            .join(t.order_line, and_(line.merchant_id == waits.merchant_id, line.id == waits.order_line_id))
            .where(waits.merchant_id == merchant_id),
        )
    )
    return {name: Waiting(count, since) for name, count, since in rows}


# ---------------------------------------------------------------- the work at hand


@dataclass(frozen=True, slots=True)
class Bench:
    """What is to be packed at one of the merchant's own locations. ``cut_off_at``: what is packed later leaves another
    day; None unless that is near."""

    location_id: UUID
    name: str
    to_pack: int
    packed: int
    to_collect: int
    cut_off_at: datetime | None


def benches(connection: Connection, merchant_id: UUID, now: datetime) -> list[Bench]:
    """The merchant's own locations with something to do, those whose cut-off is near first."""
    work, place = t.fulfillment_order.c, t.location.c
    rows = connection.execute(
        select(place.id, place.name, place.cut_off, place.time_zone, work.state, func.count().label("how_many"))
        .join(t.location, parts.same(work.location_id, t.location, t.fulfillment_order))
        .where(
            work.merchant_id == merchant_id,
            work.closed_at.is_(None),
            work.state.in_(("open", "packed", "ready")),
            place.kind != "3pl",
        )
        .group_by(place.id, place.name, place.cut_off, place.time_zone, work.state)
        .order_by(place.name)
    ).all()
    found: dict[UUID, Bench] = {}
    for row in rows:
        if row.id not in found:
            counts = {each.state: each.how_many for each in rows if each.id == row.id}
            found[row.id] = Bench(
                row.id,
                row.name,
                counts.get("open", 0),
                counts.get("packed", 0),
                counts.get("ready", 0),
                _near(row.cut_off, row.time_zone, now) if counts.get("open") else None,
            )
    return sorted(found.values(), key=lambda each: (each.cut_off_at is None, each.cut_off_at or now, each.name))


def _near(cut_off: str, zone: str, now: datetime) -> datetime | None:
    """Today's cut-off, while it is ahead and near."""
    if not cut_off:
        return None
    local = now.astimezone(ZoneInfo(zone) if zone else UTC)
    at = datetime.combine(local.date(), time.fromisoformat(cut_off), local.tzinfo).astimezone(UTC)
    return at if timedelta() <= at - now <= _CUT_OFF_NEAR else None


# ---------------------------------------------------------------- through the day


@dataclass(frozen=True, slots=True)
class Day:
    """A day in the reader's zone, hour by hour, beside the same weekday a week before. ``money`` by currency is that
    of the orders of the day, ``before`` that of the week before up to the same time of the day."""

    begins: datetime
    hours: int  # of the day that have begun
    orders: tuple[int, ...]
    orders_before: tuple[int, ...]
    shipments: tuple[int, ...]
    shipments_before: tuple[int, ...]
    money: tuple[tuple[Money, Money], ...]  # (today, the week before)


def day(connection: Connection, merchant_id: UUID, now: datetime, zone: tzinfo) -> Day:
    """The orders and shipments of the day that ``now`` is in, by the hour."""
    begins = datetime.combine(now.astimezone(zone).date(), time(), zone).astimezone(UTC)
    week = timedelta(days=7)
    order, sent = t.sales_order.c, t.shipment.c
    placed = _hour_of(connection, order.placed_at)
    shipped = _hour_of(connection, sent.shipped_at)

    def within(moment: ColumnElement[datetime]) -> ColumnElement[bool]:
        return or_(
            and_(moment >= begins, moment < begins + timedelta(days=1)),
            and_(moment >= begins - week, moment < begins - week + timedelta(days=1)),
        )

    sold = connection.execute(
        select(placed, order.currency, func.count(), func.sum(order.total_minor))
        .where(order.merchant_id == merchant_id, within(order.placed_at), order.status != "removed")
        .group_by(placed, order.currency)
    ).all()
    left = connection.execute(
        select(shipped, func.count())
        .where(sent.merchant_id == merchant_id, within(sent.shipped_at), sent.state == "shipped")
        .group_by(shipped)
    ).all()

    def by_hour(rows: Sequence[tuple[str, int]], start: datetime) -> tuple[int, ...]:
        counts: dict[str, int] = {}
        for name, count in rows:
            counts[name] = counts.get(name, 0) + count
        return tuple(counts.get(f"{start + timedelta(hours=hour):%Y-%m-%dT%H}", 0) for hour in range(24))

    orders = [(name, count) for name, _, count, _ in sold]
    hours = int((now - begins).total_seconds() // 3600) + 1
    so_far = {f"{begins - week + timedelta(hours=hour):%Y-%m-%dT%H}" for hour in range(hours)}
    today: dict[str, int] = {}
    before: dict[str, int] = {}
    for name, currency, _, minor in sold:
        if currency and name >= f"{begins:%Y-%m-%dT%H}":
            today[currency] = today.get(currency, 0) + int(minor)
        elif currency and name in so_far:
            before[currency] = before.get(currency, 0) + int(minor)
    shipments = [(name, count) for name, count in left]
    return Day(
        begins=begins,
        hours=min(hours, 24),
        orders=by_hour(orders, begins),
        orders_before=by_hour(orders, begins - week),
        shipments=by_hour(shipments, begins),
        shipments_before=by_hour(shipments, begins - week),
        money=tuple(
            (Money.from_minor(today.get(each, 0), each), Money.from_minor(before.get(each, 0), each))
            for each in sorted(today.keys() | before.keys())
        ),
    )


def _hour_of(connection: Connection, moment: ColumnElement[datetime]) -> ColumnElement[str]:
    if connection.dialect.name == "sqlite":
        return func.strftime("%Y-%m-%dT%H", moment)
    return func.to_char(moment, 'YYYY-MM-DD"T"HH24')  # the session's time zone is UTC


# ---------------------------------------------------------------- stock and shops


@dataclass(frozen=True, slots=True)
class RunningOut:
    """A SKU of which there is little left, at the pace at which it sells."""

    sku_id: UUID
    code: str
    title: str
    sold: int
    available: int
    days_left: int


@dataclass(frozen=True, slots=True)
class Shelves:
    """What is running out: how many SKUs, the first of them, and when that was worked out."""

    count: int
    first: tuple[RunningOut, ...]
    at: datetime | None


def shelves(connection: Connection, merchant_id: UUID) -> Shelves:
    """The SKUs whose stock lasts for the fewest days."""
    pace, sku = t.sku_pace.c, t.sku.c
    here = (pace.merchant_id == merchant_id, RUNNING_OUT)
    few = select(t.sku_pace).where(*here).order_by(pace.days_left, pace.sku_id).limit(_MOST_SKUS).subquery()
    rows = connection.execute(
        select(
            sku.id,
            sku.code,
            sku.title,
            few.c.sold,
            few.c.available,
            few.c.days_left,
            few.c.at,
            select(func.count()).select_from(t.sku_pace).where(*here).scalar_subquery().label("how_many"),
        )
        .join(t.sku, and_(sku.merchant_id == few.c.merchant_id, sku.id == few.c.sku_id))
        .order_by(few.c.days_left, sku.code)
    ).all()
    first = tuple(RunningOut(row.id, row.code, row.title, row.sold, row.available, row.days_left) for row in rows)
    return Shelves(rows[0].how_many if rows else 0, first, rows[0].at if rows else None)


@dataclass(frozen=True, slots=True)
class Pulse:
    """How one connection is doing. ``to_read`` came in and is not read yet, ``to_write`` is not shown by the shop yet;
    each since its oldest."""

    id: UUID
    label: str
    kind: str
    health: Health
    sandbox: bool
    last_event_at: datetime | None
    to_read: int
    to_read_since: datetime | None
    to_write: int
    to_write_since: datetime | None

    @property
    def since(self) -> datetime | None:
        """How far it lags behind: since when its oldest waits."""
        return min((each for each in (self.to_read_since, self.to_write_since) if each is not None), default=None)


def pulses(connection: Connection, merchant_id: UUID, now: datetime) -> list[Pulse]:
    """Every connection, with what waits there."""
    shop, inbox, figure = t.connection.c, t.inbox.c, t.publication.c
    unread = (inbox.merchant_id == shop.merchant_id, inbox.connection_id == shop.id, inbox.state == "pending")
    behind = (figure.merchant_id == shop.merchant_id, figure.connection_id == shop.id, parts.is_dirty())
    rows = connection.execute(
        select(
            t.connection,
            select(func.count()).where(*unread).scalar_subquery().label("to_read"),
            select(func.min(inbox.received_at)).where(*unread).scalar_subquery().label("to_read_since"),
            select(func.count()).where(*behind).scalar_subquery().label("to_write"),
            select(func.min(figure.dirty_since)).where(*behind).scalar_subquery().label("to_write_since"),
        )
        .where(shop.merchant_id == merchant_id, shop.state != "removed")
        .order_by(shop.created_at, shop.id)
    )
    return [
        Pulse(
            row.id,
            row.label,
            row.kind,
            health_of(row, now),
            row.sandbox,
            row.last_event_at,
            row.to_read,
            row.to_read_since,
            row.to_write if row.live_at else 0,
            row.to_write_since if row.live_at else None,
        )
        for row in rows
    ]
