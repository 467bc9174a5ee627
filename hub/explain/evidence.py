"""What was kept of the past: ledger lines, what shops were told, when orders were placed and heard of, what was wrong
with a connection and when. Each query goes along an index and has a limit."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, and_, func, or_, select, union_all

from hub.store import tables as t
from hub.store.breaker import RECONNECT, SLOWED, UNREACHABLE
from hub.store.database import in_chunks

MOST_CHANGES = 300  # ledger lines that are looked at, per location
_MOST_ENTRIES = 50  # writes to one listing that are looked at
_MOST_HAPPENED = 2000  # lines of the activity log that are looked at
_MOST_ORDERS = 400  # orders from which the difference of two clocks is estimated

NOT_PUBLISHED = "not_published"  # the kind of issue; the subject is the listing's id


@dataclass(frozen=True, slots=True)
class Change:
    """A line of the ledger. ``free`` is by how much it changed what nobody holds, ``left`` what it left of that."""

    sku_id: UUID
    location_id: UUID
    location: str
    number: int
    at: datetime
    cause: str
    reference: str
    on_hand: int
    allocated: int
    free: int
    left: int
    order_id: UUID | None
    actor: str
    note: str


@dataclass(frozen=True, slots=True)
class Told:
    """A figure as it was written to a shop. ``read_at`` is when it was worked out: all that was in the ledger by then
    is in it."""

    listing_id: UUID
    place: str
    at: datetime
    quantity: int
    before: int | None
    cause: Mapping[str, Any]
    numbers: Mapping[tuple[UUID, UUID], int]  # the last ledger line in it, by SKU and location
    steps: tuple[str, ...]
    dirty_since: datetime | None
    read_at: datetime
    note: str

    def knows(self, change: Change) -> bool:
        """Whether the change was in this figure."""
        number = self.numbers.get((change.sku_id, change.location_id))
        return self.read_at >= change.at if number is None else number >= change.number

    @property
    def is_repair(self) -> bool:
        """Whether the shop said something that nobody could explain."""
        return self.cause.get("cause") in ("drift", "seen") or "no order explained the difference" in self.note


@dataclass(frozen=True, slots=True)
class Sale:
    """An order as the hub came to know it. ``placed_at`` is by the shop's clock, everything else by the hub's."""

    order_id: UUID
    number: str
    connection_id: UUID
    shop: str
    external_id: str
    placed_at: datetime
    imported_at: datetime
    listings: Mapping[str, int]  # units of each listing of the SKU that this is about
    heard_at: datetime | None = None  # None: the record of it is not kept any more
    heard_by: str = ""  # webhook, poll, fetch


@dataclass(frozen=True, slots=True)
class Offer:
    """A listing, and where it stands with being published. ``shown`` are its places at the channel."""

    id: UUID
    external_id: str
    title: str
    sku_id: UUID | None
    connection_id: UUID
    shop: str
    tracked: bool
    active: bool
    bound_at: datetime | None
    live_at: datetime | None
    state: str
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """One figure of a listing, as it is now."""

    external_id: str
    name: str
    believed: int | None
    published_at: datetime | None
    dirty_since: datetime | None  # None: nothing is on its way
    not_before: datetime | None
    error: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """A time in which nothing could be written to a shop, or to one listing."""

    kind: str  # paused, credentials, unavailable, slowed, refused
    since: datetime | None  # None: before what is kept
    until: datetime | None  # None: still
    text: str

    def overlap(self, start: datetime, end: datetime) -> timedelta:
        """How much of the time from ``start`` to ``end`` it took."""
        begins = max(start, self.since or start)
        ends = min(end, self.until or end)
        return max(timedelta(0), ends - begins)


# ---------------------------------------------------------------- the ledger


def locations_of(connection: Connection, merchant_id: UUID, sku_id: UUID) -> Mapping[UUID, tuple[str, int]]:
    """Where the SKU is kept: the name of each location, and the number of the last ledger line there."""
    level = t.stock_level.c
    rows = connection.execute(
        select(level.location_id, t.location.c.name, level.entries)
        .join(t.location, _same(t.location, level.location_id, level.merchant_id))
        .where(level.merchant_id == merchant_id, level.sku_id == sku_id)
        .order_by(t.location.c.name)
    )
    return {row.location_id: (row.name, row.entries) for row in rows}


def changes_until(
    connection: Connection, merchant_id: UUID, sku_id: UUID, until: datetime, *, most: int = MOST_CHANGES
) -> list[Change]:
    """The last ledger lines of a SKU up to a moment, over all locations, the newest first."""
    found: list[Change] = []
    entry = t.stock_entry.c
    for location_id, (name, last) in locations_of(connection, merchant_id, sku_id).items():
        number = _number_at(connection, merchant_id, sku_id, location_id, last, until)
        rows = connection.execute(
            select(t.stock_entry)
            .where(
                entry.merchant_id == merchant_id,
                entry.sku_id == sku_id,
                entry.location_id == location_id,
                entry.number <= number,
            )
            .order_by(entry.number.desc())
            .limit(most)
        )
        found += [_change(row, name) for row in rows]
    return sorted(found, key=lambda each: (each.at, each.number), reverse=True)[:most]


def _number_at(
    connection: Connection, merchant_id: UUID, sku_id: UUID, location_id: UUID, last: int, until: datetime
) -> int:
    """The number of the last ledger line up to a moment. Numbers rise with time, so that halving finds it in few
    steps along the primary key, however long the ledger is."""
    entry = t.stock_entry.c
    low, high = 0, last
    while low < high:
        middle = (low + high + 1) // 2
        at = connection.execute(
            select(entry.at).where(
                entry.merchant_id == merchant_id,
                entry.sku_id == sku_id,
                entry.location_id == location_id,
                entry.number == middle,
            )
        ).scalar_one_or_none()
        if at is None or at <= until:
            low = middle
        else:
            high = middle - 1
    return low


def ledger_between(
    connection: Connection, merchant_id: UUID, sku_ids: Collection[UUID], since: datetime, until: datetime, *, most: int
) -> list[tuple[Row[Any], list[Change]]]:
    """The balances of SKUs, by the names of their locations, each with its ledger lines between two moments: those
    among its last ``most``."""
    level = t.stock_level.c
    now = (
        select(t.stock_level, t.location.c.name)
        .join(t.location, _same(t.location, level.location_id, level.merchant_id))
        .where(level.merchant_id == merchant_id, level.sku_id.in_(list(sku_ids)))
        .subquery()
    )
    entry = t.stock_entry.c
    lines = and_(
        *(entry[name] == now.c[name] for name in ("merchant_id", "sku_id", "location_id")),
        entry.number > now.c.entries - most,
        entry.at >= since,
        entry.at <= until,
    )
    rows = connection.execute(
        select(now, *(column.label(f"line_{column.name}") for column in t.stock_entry.columns))
        .outerjoin(t.stock_entry, lines)
        .order_by(now.c.name, now.c.sku_id, now.c.location_id)
    )
    found: list[tuple[Row[Any], list[Change]]] = []
    for row in rows:
        if not found or (found[-1][0].sku_id, found[-1][0].location_id) != (row.sku_id, row.location_id):
            found.append((row, []))
        if row.line_number is not None:
            found[-1][1].append(_change(row, row.name, "line_"))
    return found


def changes_by(
    connection: Connection, merchant_id: UUID, sku_id: UUID, causes: Collection[str], references: Collection[str]
) -> list[Change]:
    """The ledger lines of a SKU that were written for these references."""
    entry = t.stock_entry.c
    found: list[Change] = []
    for location_id, (name, _) in locations_of(connection, merchant_id, sku_id).items():
        rows = connection.execute(
            select(t.stock_entry).where(
                entry.merchant_id == merchant_id,
                entry.sku_id == sku_id,
                entry.location_id == location_id,
                entry.cause.in_(list(causes)),
                entry.reference.in_(list(references)),
            )
        )
        found += [_change(row, name) for row in rows]
    return sorted(found, key=lambda each: (each.at, each.number))


def _change(row: Any, location: str, prefix: str = "") -> Change:
    entry = {column.name: getattr(row, f"{prefix}{column.name}") for column in t.stock_entry.columns}
    delta = {name: entry[f"{name}_delta"] for name in ("on_hand", "allocated", "quarantined", "damaged")}
    return Change(
        location=location,
        on_hand=delta["on_hand"],
        allocated=delta["allocated"],
        free=delta["on_hand"] - delta["allocated"] - delta["quarantined"] - delta["damaged"],
        left=entry["on_hand"] - entry["allocated"] - entry["quarantined"] - entry["damaged"],
        **{name: entry[name] for name in _TOLD_OF_CHANGES},
    )


_TOLD_OF_CHANGES = ("sku_id", "location_id", "number", "at", "cause", "reference", "order_id", "actor", "note")


# ---------------------------------------------------------------- what shops were told


def offers(
    connection: Connection,
    merchant_id: UUID,
    *,
    sku_ids: Collection[UUID] = (),
    named: Iterable[tuple[UUID, str]] = (),
) -> list[Offer]:
    """The listings that sell any of these SKUs, or are ``named`` by connection and the channel's id."""
    listing, shop = t.listing.c, t.connection.c
    wanted: list[ColumnElement[bool]] = [
        and_(listing.connection_id == connection_id, listing.external_id == external_id)
        for connection_id, external_id in named
    ]
    if sku_ids:
        wanted.append(listing.sku_id.in_(list(sku_ids)))
    if not wanted:
        return []
    some = (
        select(t.listing, shop.label, shop.live_at, shop.state)
        .join(t.connection, _same(t.connection, listing.connection_id, listing.merchant_id))
        .where(listing.merchant_id == merchant_id, or_(*wanted))
        .order_by(shop.label, listing.title, listing.id)
        .limit(200)
        .subquery()
    )
    publication, place = t.publication.c, t.channel_location.c
    same_place = (
        (place.merchant_id == publication.merchant_id)
        & (place.connection_id == publication.connection_id)
        & (place.external_id == publication.location_external_id)
    )
    found = connection.execute(
        select(
            some,
            place.external_id.label("place"),
            place.name,
            *(publication[name] for name in ("quantity", "published_at", "dirty_since", "version")),
            *(publication[name] for name in ("published_version", "not_before", "error")),
        )
        .outerjoin(
            t.publication.join(t.channel_location, same_place),
            (publication.merchant_id == merchant_id) & (publication.listing_id == some.c.id),
        )
        .order_by(some.c.label, some.c.title, some.c.id, place.name)
    ).all()
    rows = {row.id: row for row in found}
    places: dict[UUID, list[Place]] = {}
    for each in found:
        if each.place is not None:
            places.setdefault(each.id, []).append(
                Place(
                    each.place,
                    each.name,
                    each.quantity,
                    each.published_at,
                    each.dirty_since if each.version > each.published_version else None,
                    each.not_before,
                    each.error,
                )
            )
    return [
        Offer(
            row.id,
            row.external_id,
            row.title,
            row.sku_id,
            row.connection_id,
            row.label,
            row.tracked,
            row.active,
            row.bound_at,
            row.live_at,
            row.state,
            tuple(places.get(row.id, ())),
        )
        for row in rows.values()
    ]


def told_until(
    connection: Connection, merchant_id: UUID, listing_id: UUID, until: datetime, *, most: int = _MOST_ENTRIES
) -> list[Told]:
    """The last figures written to a listing up to a moment, the newest first."""
    entry = t.publication_entry.c
    rows = connection.execute(
        select(t.publication_entry)
        .where(entry.merchant_id == merchant_id, entry.listing_id == listing_id, entry.at <= until)
        .order_by(entry.at.desc(), entry.id.desc())
        .limit(most)
    )
    return [_told(row) for row in rows]


def told_between(
    connection: Connection, merchant_id: UUID, listing_ids: Collection[UUID], since: datetime, until: datetime
) -> Mapping[UUID, list[Told]]:
    """The last figures written to each of these listings between two moments, the newest first."""
    entry = t.publication_entry.c
    latest = func.row_number().over(partition_by=entry.listing_id, order_by=(entry.at.desc(), entry.id.desc()))
    found: dict[UUID, list[Told]] = {each: [] for each in listing_ids}
    numbered = (
        select(t.publication_entry, latest.label("latest"))
        .where(
            entry.merchant_id == merchant_id,
            entry.listing_id.in_(list(listing_ids)),
            entry.at >= since,
            entry.at <= until,
        )
        .subquery()
    )
    for row in connection.execute(
        select(numbered).where(numbered.c.latest <= _MOST_ENTRIES).order_by(numbered.c.listing_id, numbered.c.latest)
    ):
        found[row.listing_id].append(_told(row))
    return found


def told_after(
    connection: Connection, merchant_id: UUID, listing_id: UUID, after: datetime, *, most: int = _MOST_ENTRIES
) -> list[Told]:
    """The first figures written to a listing after a moment, the oldest first."""
    entry = t.publication_entry.c
    rows = connection.execute(
        select(t.publication_entry)
        .where(entry.merchant_id == merchant_id, entry.listing_id == listing_id, entry.at > after)
        .order_by(entry.at, entry.id)
        .limit(most)
    )
    return [_told(row) for row in rows]


def _told(row: Any) -> Told:
    basis: Mapping[str, Any] = row.basis or {}
    return Told(
        row.listing_id,
        row.location_external_id,
        row.at,
        row.quantity,
        row.before,
        row.cause or {},
        {(UUID(each["sku"]), UUID(each["location"])): each["entries"] for each in basis.get("levels", ())},
        tuple(basis.get("steps", ())),
        row.dirty_since,
        row.read_at or row.at,
        row.note,
    )


# ---------------------------------------------------------------- orders


def sales(
    connection: Connection, merchant_id: UUID, order_ids: Iterable[UUID], sku_ids: Collection[UUID]
) -> Mapping[UUID, Sale]:
    """The orders with these ids, as far as they sell any of the SKUs; when they were heard of is left out."""
    order, line, part, shop = t.sales_order.c, t.order_line.c, t.order_line_part.c, t.connection.c
    found: dict[UUID, Sale] = {}
    for some in in_chunks(dict.fromkeys(order_ids)):
        listings: dict[UUID, dict[str, int]] = {}
        in_kits = select(part.order_line_id).where(
            part.merchant_id == line.merchant_id, part.order_line_id == line.id, part.sku_id.in_(list(sku_ids))
        )
        sells = and_(
            line.merchant_id == order.merchant_id,
            line.order_id == order.id,
            line.listing_external_id.is_not(None),
            or_(line.sku_id.in_(list(sku_ids)), in_kits.exists()),
        )
        for sold in connection.execute(
            select(
                order.id,
                order.number,
                order.connection_id,
                shop.label,
                order.external_id,
                order.placed_at,
                order.received_at,
                order.imported_at,
                line.listing_external_id,
                line.quantity,
            )
            .join(t.connection, _same(t.connection, order.connection_id, order.merchant_id))
            .outerjoin(t.order_line, sells)
            .where(order.merchant_id == merchant_id, order.id.in_(some))
        ):
            units = listings.setdefault(sold.id, {})
            if sold.listing_external_id is not None:
                units[sold.listing_external_id] = units.get(sold.listing_external_id, 0) + sold.quantity
            found[sold.id] = Sale(
                sold.id,
                sold.number,
                sold.connection_id,
                sold.label,
                sold.external_id,
                sold.placed_at or sold.received_at,
                sold.imported_at,
                units,
            )
    return found


@dataclass(frozen=True, slots=True)
class Heard:
    """A record of an order as it came in, and when it took effect (None: it has not)."""

    at: datetime
    source: str
    read_at: datetime | None


def heard(connection: Connection, merchant_id: UUID, sale: Sale, *, most: int = 200) -> list[Heard]:
    """The records of an order, the first one first."""
    record = t.inbox.c
    rows = connection.execute(
        select(record.received_at, record.source, record.done_at)
        .where(
            record.merchant_id == merchant_id,
            record.connection_id == sale.connection_id,
            record.external_id == sale.external_id,
            # Orders and listings may share their numbers.
            ~record.topic.like("product%"),
            record.topic != "listing",
        )
        .order_by(record.received_at, record.id)
        .limit(most)
    )
    return [Heard(*row) for row in rows]


def sends_webhooks(connection: Connection, merchant_id: UUID, connection_id: UUID) -> bool:
    """Whether any webhook of this connection was ever stored."""
    record = t.inbox.c
    here = (record.merchant_id == merchant_id, record.connection_id == connection_id, record.source == "webhook")
    return connection.execute(select(record.id).where(*here).limit(1)).first() is not None


def clock_ahead(connection: Connection, merchant_id: UUID, connection_id: UUID, around: datetime) -> timedelta | None:
    """By how much the shop's clock is surely ahead of the hub's: no order is heard of before it is placed.

    None where there is no order near the moment to tell by.
    """
    order = t.sales_order.c
    near = (
        select(order.connection_id, order.placed_at, order.imported_at)
        .where(
            order.merchant_id == merchant_id,
            order.placed_at >= around - timedelta(days=1),
            order.placed_at <= around + timedelta(days=1),
        )
        .order_by(order.placed_at.desc())
        .limit(_MOST_ORDERS)
        .subquery()
    )
    rows = connection.execute(
        select(near.c.placed_at, near.c.imported_at).where(near.c.connection_id == connection_id)
    ).all()
    if not rows:
        return None
    leads: list[timedelta] = sorted((row.placed_at - row.imported_at for row in rows), reverse=True)
    # Where there are enough, not the first one: an order may be dated for a later day on purpose.
    return max(timedelta(0), leads[1] if len(leads) > 2 else leads[0])


# ---------------------------------------------------------------- what was wrong


def troubles(
    connection: Connection, merchant_id: UUID, offers: Sequence[Offer], start: datetime, end: datetime
) -> Mapping[UUID, list[Trouble]]:
    """What kept the hub from writing to each of these listings at some time between two moments."""
    if not offers:
        return {}
    shops = {offer.connection_id for offer in offers}
    raised = _issues(connection, merchant_id, offers)
    happened = _happened(connection, merchant_id, shops, (*_STATES, SLOWED), start - timedelta(days=1), end)
    return {
        offer.id: [
            each
            for each in (
                *raised.get(str(offer.connection_id), ()),
                *raised.get(str(offer.id), ()),
                *_pauses(offer, [row for row in happened if row.connection_id == offer.connection_id]),
                *_slowed([row for row in happened if row.connection_id == offer.connection_id]),
            )
            if each.overlap(start, end) > timedelta(0)
        ]
        for offer in offers
    }


_KINDS = {RECONNECT: "credentials", UNREACHABLE: "unavailable", NOT_PUBLISHED: "refused"}


def _issues(connection: Connection, merchant_id: UUID, offers: Sequence[Offer]) -> Mapping[str, list[Trouble]]:
    """By what they are about, a listing or its connection: the last of each."""
    issue = t.issue.c
    latest = func.row_number().over(partition_by=issue.subject, order_by=issue.opened_at.desc())
    subjects = {str(each) for offer in offers for each in (offer.connection_id, offer.id)}
    numbered = (
        select(issue.subject, issue.kind, issue.title, issue.opened_at, issue.resolved_at, latest.label("latest"))
        .where(issue.merchant_id == merchant_id, issue.kind.in_(list(_KINDS)), issue.subject.in_(subjects))
        .subquery()
    )
    found: dict[str, list[Trouble]] = {}
    for row in connection.execute(
        select(numbered).where(numbered.c.latest <= _MOST_ENTRIES).order_by(numbered.c.latest)
    ):
        trouble = Trouble(_KINDS[row.kind], row.opened_at, row.resolved_at, row.title)
        found.setdefault(row.subject, []).append(trouble)
    return found


def _pauses(offer: Offer, happened: Sequence[Any]) -> list[Trouble]:
    """Pauses by a person. What is known for sure is when one ended, or that it has not."""
    found: list[Trouble] = []
    since: datetime | None = None
    for row in happened:
        if row.kind == "connection_paused":
            since = row.at
        elif row.kind in _STATES:
            found.append(Trouble("paused", since, row.at, ""))
    if offer.state == "paused":
        found.append(Trouble("paused", since, None, ""))
    return found


_STATES = ("connection_paused", "connection_connected")


def _slowed(happened: Sequence[Any]) -> list[Trouble]:
    slowed = (row for row in happened if row.kind == SLOWED)
    return [Trouble("slowed", row.at, datetime.fromisoformat((row.details or {})["until"]), "") for row in slowed]


def _happened(
    connection: Connection,
    merchant_id: UUID,
    connection_ids: Collection[UUID],
    kinds: Sequence[str],
    start: datetime,
    end: datetime,
) -> list[Any]:
    """Lines of the activity log about connections between two moments, the oldest first. Where very much happened in
    between, they are looked for at both ends."""
    happened = t.activity.c
    columns = (happened.id, happened.at, happened.kind, happened.connection_id, happened.details)
    near = select(*columns).where(happened.merchant_id == merchant_id, happened.at >= start, happened.at <= end)
    ends = (near.order_by(first).limit(_MOST_HAPPENED).subquery() for first in (happened.at.asc(), happened.at.desc()))
    rows = connection.execute(
        union_all(
            *(
                select(some).where(some.c.connection_id.in_(list(connection_ids)), some.c.kind.in_(list(kinds)))
                for some in ends
            )
        )
    )
    return sorted({row.id: row for row in rows}.values(), key=lambda row: row.at)


def happened_to_order(connection: Connection, merchant_id: UUID, order_id: UUID) -> list[Any]:
    """The order's lines in the activity log, the first one first."""
    happened = t.activity.c
    return list(
        connection.execute(
            select(happened.at, happened.kind, happened.summary)
            .where(happened.merchant_id == merchant_id, happened.order_id == order_id)
            .order_by(happened.at, happened.id)
            .limit(500)
        ).all()
    )


def _same(table: Any, column: Any, merchant_id: Any) -> ColumnElement[bool]:
    return and_(table.c.merchant_id == merchant_id, table.c.id == column)
