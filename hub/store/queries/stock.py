"""Stock: the list, and one SKU with its places, its kit, its ledger, its queue and what the shops show of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from heapq import merge
from itertools import groupby, islice
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, String, and_, cast, exists, false, func, literal, or_, select, union_all

from hub.core.model import StockLevel
from hub.store import publications, searching
from hub.store import tables as t
from hub.store.database import among
from hub.store.queries import parts
from hub.store.queries.connections import LocationView

# What is available lasts for no more than these days, at the pace of the last weeks.
RUNNING_OUT = t.sku_pace.c.days_left <= 14

_LATEST = 6  # figures written to shops that a SKU's page shows; its story has them all
_FIGURES = ("on_hand", "allocated", "quarantined", "damaged", "incoming")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What one shop shows for a SKU: the figure last known there, and the one it should show."""

    listing_id: UUID
    listing_title: str
    connection_id: UUID
    connection_label: str
    location_name: str
    live: bool  # a person has set the connection live, and it is not paused
    paused: bool
    place: str | None  # of the channel's, that stands for locations of ours; None: none does
    tracked: bool
    active: bool
    published: int | None
    wanted: int | None  # None: the SKU is not counted, or no place of the channel stands for a location of ours
    steps: tuple[str, ...]  # how the figure that it should show came about
    published_at: datetime | None
    pending: int | None  # the figure that the channel has taken in at sent_at, and has not judged yet
    sent_at: datetime | None
    dirty: bool
    dirty_since: datetime | None
    error: str


@dataclass(frozen=True, slots=True)
class SkuStock:
    """One line of the stock list. Of a kit, only ``available`` is told: how many can be made of what is free."""

    id: UUID
    code: str
    title: str
    kit: bool
    counted: bool
    on_hand: int
    allocated: int
    set_aside: int
    incoming: int
    available: int
    waiting: int
    picture: str  # where our pages find one
    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class ToldView:
    """What a 3PL said last of a SKU at a location of its own; None where it does not say."""

    provider: str
    on_hand: int
    reserved: int | None
    inbound: int | None
    counted_at: datetime


@dataclass(frozen=True, slots=True)
class LevelView:
    """The balance of a SKU at one location. ``told`` is what the 3PL said of it whose location it is."""

    location_id: UUID
    location_name: str
    level: StockLevel
    safety_stock: int
    counted_at: datetime | None
    updated_at: datetime
    told: ToldView | None


@dataclass(frozen=True, slots=True)
class EntryView:
    """One line of the stock ledger: what changed at one location, and the balance after it."""

    location_id: UUID
    location_name: str
    number: int
    at: datetime
    cause: str
    reference: str
    note: str
    actor: str
    change: StockLevel
    after: StockLevel
    order_id: UUID | None
    order_number: str
    document_id: UUID | None


@dataclass(frozen=True, slots=True)
class WaitingLine:
    """An order line that waits for stock, in its place in the queue; ``units`` are of the SKU."""

    order_id: UUID
    order_number: str
    connection_label: str
    units: int
    since: datetime
    missing: bool  # there was not enough of this SKU; otherwise it waits for another part, or for its turn


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
class PartView:
    """One part of a kit, or of a kit in it (``depth`` 1 and more).

    ``quantity`` is in one of what it is directly part of, ``needed`` in one kit, on all ways together if it is in it
    more than once; ``available`` is over all locations.
    """

    sku_id: UUID
    code: str
    title: str
    kit: bool
    counted: bool
    quantity: int
    needed: int
    depth: int
    available: int

    @property
    def enough_for(self) -> int:
        """Kits for which there is enough of it."""
        return self.available // self.needed


@dataclass(frozen=True, slots=True)
class KitView:
    """What a kit is made of, how many can be made now, and the parts that allow no more."""

    parts: tuple[PartView, ...]
    makes: int
    limited_by: tuple[PartView, ...]


@dataclass(frozen=True, slots=True)
class UseView:
    """A kit in which a SKU is used."""

    kit_id: UUID
    code: str
    title: str
    quantity: int


@dataclass(frozen=True, slots=True)
class SkuView:
    """One SKU: where it lies, who waits for it, and what the shops show."""

    id: UUID
    code: str
    title: str
    picture: str  # where our pages find one
    counted_since: datetime | None
    levels: tuple[LevelView, ...]
    uncounted: tuple[LocationView, ...]  # locations where it has no balance
    waiting: tuple[WaitingLine, ...]  # the first of the queue
    waiting_units: int  # of the whole queue
    kit: KitView | None
    used_in: tuple[UseView, ...]
    figures: tuple[Figure, ...]
    writes: tuple[WriteView, ...]

    @property
    def total(self) -> StockLevel:
        """Its balance over all locations."""
        return StockLevel(*(sum(getattr(each.level, name) for each in self.levels) for name in _FIGURES))


@dataclass(frozen=True, slots=True)
class FormSku:
    """A SKU as a form names it, with its stock at the form's location; None: it has none there yet."""

    id: UUID
    code: str
    title: str
    kit: bool
    counted: bool
    level: StockLevel | None


def stock(
    connection: Connection,
    merchant_id: UUID,
    *,
    text: str = "",
    show: str = "all",
    location_id: UUID | None = None,
    after: str | None = None,
    limit: int = parts.PAGE,
) -> list[SkuStock]:
    """SKUs by code, with what the shops show; ``show`` is all, short, waiting, set_aside, in_transit, running_out,
    kits, behind, uncounted or unpublished.

    ``text`` are beginnings of words of the code and the title, or a barcode. With ``location_id`` only SKUs with stock
    there are listed, and with what is there of them. ``after`` is the code of the last one shown.
    """
    sku = t.sku.c
    query = (
        select(
            *(sku.id, sku.code, sku.title, sku.kit, sku.counted_since.is_not(None).label("counted")),
            parts.picture_of_sku().label("picture"),
        )
        .where(sku.merchant_id == merchant_id, *_chosen(merchant_id, show, location_id))
        .order_by(sku.code)
        .limit(limit)
    )
    if text:
        query = query.where(searching.of_skus(connection, merchant_id, text, searching.typed_words(text)))
    if after is not None:
        query = query.where(sku.code > after)
    rows = connection.execute(query).all()
    ids = [row.id for row in rows]
    sums = _sums(connection, merchant_id, ids, location_id)
    awaited = _awaited(connection, merchant_id, ids)
    made = _makes(connection, merchant_id, [row.id for row in rows if row.kit])
    shown = _figures(connection, merchant_id, ids)
    return [
        SkuStock(
            id=row.id,
            code=row.code,
            title=row.title,
            kit=row.kit,
            counted=bool(row.counted),
            on_hand=sums[row.id].on_hand,
            allocated=sums[row.id].allocated,
            set_aside=sums[row.id].quarantined + sums[row.id].damaged,
            incoming=sums[row.id].incoming,
            available=made[row.id] if row.kit else sums[row.id].available,
            waiting=awaited[row.id],
            picture=row.picture,
            figures=tuple(shown[row.id]),
        )
        for row in rows
    ]


def _chosen(merchant_id: UUID, show: str, location_id: UUID | None) -> list[Any]:
    level = t.stock_level.c
    levels = select(level.sku_id).where(level.merchant_id == merchant_id)
    if location_id is None:
        return _shown(merchant_id, show, levels)
    levels = levels.where(level.location_id == location_id)
    return [t.sku.c.id.in_(levels), *_shown(merchant_id, show, levels)]


def _shown(merchant_id: UUID, show: str, levels: parts.AnySelect) -> list[Any]:
    sku, level, waits = t.sku.c, t.stock_level.c, t.backorder.c
    if show == "short":
        free = level.on_hand - level.allocated - level.quarantined - level.damaged
        nothing = levels.group_by(level.sku_id).having(func.sum(free) <= 0)
        waiting = select(waits.sku_id).where(waits.merchant_id == merchant_id)
        return [or_(sku.id.in_(nothing), sku.id.in_(waiting))]
    if show == "waiting":
        return [sku.id.in_(select(waits.sku_id).where(waits.merchant_id == merchant_id))]
    if show == "unpublished":
        listing, shop = t.listing.c, t.connection.c
        sold = (
            exists()
            .where(listing.merchant_id == sku.merchant_id, listing.sku_id == sku.id, listing.active)
            .where(parts.same(listing.connection_id, t.connection, t.listing), shop.state != "removed")
        )
        return [~sold]
    if show == "set_aside":
        return [sku.id.in_(levels.where(level.quarantined + level.damaged > 0))]
    if show == "in_transit":
        return [sku.id.in_(levels.where(level.incoming > 0))]
    if show == "running_out":
        pace = t.sku_pace.c
        return [sku.id.in_(select(pace.sku_id).where(pace.merchant_id == merchant_id, RUNNING_OUT))]
    if show == "kits":
        return [sku.kit.is_(True)]
    if show == "uncounted":
        return [sku.counted_since.is_(None), sku.kit.is_(False)]
    if show == "behind":
        return [
            exists(
                select(t.publication.c.version)
                .join(t.listing, parts.same(t.publication.c.listing_id, t.listing, t.publication))
                .join(t.connection, parts.same(t.publication.c.connection_id, t.connection, t.publication))
                .where(
                    t.listing.c.merchant_id == sku.merchant_id,
                    t.listing.c.sku_id == sku.id,
                    t.connection.c.live_at.is_not(None),
                    t.connection.c.state != "removed",
                    or_(parts.is_dirty(), t.publication.c.error != ""),
                )
            )
        ]
    return []


def _sums(
    connection: Connection, merchant_id: UUID, sku_ids: Collection[UUID], location_id: UUID | None = None
) -> Mapping[UUID, StockLevel]:
    """The balances of SKUs over all locations, or at one."""
    level = t.stock_level.c
    query = (
        select(level.sku_id, *(func.sum(level[name]) for name in _FIGURES))
        .where(level.merchant_id == merchant_id, among(connection, level.sku_id, sku_ids))
        .group_by(level.sku_id)
    )
    rows = connection.execute(query if location_id is None else query.where(level.location_id == location_id))
    return defaultdict(StockLevel, {row[0]: StockLevel(*(int(units) for units in row[1:])) for row in rows})


def _awaited(connection: Connection, merchant_id: UUID, sku_ids: Collection[UUID]) -> Mapping[UUID, int]:
    """The units of SKUs that order lines wait for."""
    waits = t.backorder.c
    rows = connection.execute(
        select(waits.sku_id, func.sum(waits.quantity * waits.per_unit))
        .where(waits.merchant_id == merchant_id, among(connection, waits.sku_id, sku_ids))
        .group_by(waits.sku_id)
    )
    return defaultdict(int, {row[0]: int(row[1]) for row in rows})


def _makes(connection: Connection, merchant_id: UUID, kit_ids: Collection[UUID]) -> Mapping[UUID, int]:
    """How many of each kit can be made of what is free."""
    if not kit_ids:
        return {}
    leaf = t.kit_leaf.c
    leaves = connection.execute(
        select(leaf.kit_id, leaf.part_id, leaf.quantity).where(
            leaf.merchant_id == merchant_id, among(connection, leaf.kit_id, kit_ids)
        )
    ).all()
    sums = _sums(connection, merchant_id, {row.part_id for row in leaves})
    made: dict[UUID, int] = {}
    for row in leaves:
        some = sums[row.part_id].available // row.quantity
        made[row.kit_id] = min(made.get(row.kit_id, some), some)
    return defaultdict(int, made)


# ---------------------------------------------------------------- one SKU


def sku(connection: Connection, merchant_id: UUID, sku_id: UUID) -> SkuView | None:
    """One SKU with its balances, kit, queue and figures."""
    row = connection.execute(
        select(
            *(t.sku.c.code, t.sku.c.title, t.sku.c.kit, t.sku.c.counted_since),
            parts.picture_of_sku().label("picture"),
        ).where(t.sku.c.merchant_id == merchant_id, t.sku.c.id == sku_id)
    ).first()
    if row is None:
        return None
    level, place = t.stock_level.c, t.location.c
    told = _told_by_3pls(merchant_id, sku_id).subquery()
    mine = and_(level.merchant_id == place.merchant_id, level.location_id == place.id, level.sku_id == sku_id)
    places = connection.execute(
        select(t.stock_level, place.id.label("place_id"), place.name, *(told.c[name] for name in _TOLD))
        .select_from(t.location.outerjoin(t.stock_level, mine).outerjoin(told, told.c.told_of == place.id))
        .where(place.merchant_id == merchant_id)
        .order_by(place.name, told.c.told_at)
    ).all()
    # Where more than one 3PL stands for a location, what was counted last is what is said of it.
    places = list({each.place_id: each for each in places}.values())
    levels = tuple(
        LevelView(
            each.location_id,
            each.name,
            StockLevel(each.on_hand, each.allocated, each.quarantined, each.damaged, each.incoming, each.entries),
            each.safety_stock,
            each.counted_at,
            each.updated_at,
            None if each.told_at is None else ToldView(*(getattr(each, name) for name in _TOLD)),
        )
        for each in places
        if each.location_id is not None
    )
    waits = t.backorder.c
    waiting = connection.execute(
        select(
            t.sales_order.c.id,
            t.sales_order.c.number,
            t.connection.c.label,
            waits.quantity * waits.per_unit,
            waits.since,
            waits.missing,
            func.sum(waits.quantity * waits.per_unit).over().label("in_all"),
        )
        .join(t.order_line, parts.same(waits.order_line_id, t.order_line, t.backorder))
        .join(t.sales_order, parts.same(t.order_line.c.order_id, t.sales_order, t.order_line))
        .join(t.connection, parts.same(t.sales_order.c.connection_id, t.connection, t.sales_order))
        .where(waits.merchant_id == merchant_id, waits.sku_id == sku_id)
        .order_by(waits.rank, waits.since, waits.order_line_id)
        .limit(parts.PAGE)
    ).all()
    writes = connection.execute(
        select(
            t.publication_entry.c.at,
            t.connection.c.label,
            t.publication_entry.c.before,
            t.publication_entry.c.quantity,
            t.publication_entry.c.cause,
            t.publication_entry.c.note,
        )
        .join(t.listing, parts.same(t.publication_entry.c.listing_id, t.listing, t.publication_entry))
        .join(t.connection, parts.same(t.listing.c.connection_id, t.connection, t.listing))
        .where(t.publication_entry.c.merchant_id == merchant_id, t.listing.c.sku_id == sku_id)
        .order_by(t.publication_entry.c.at.desc(), t.publication_entry.c.id.desc())
        .limit(_LATEST)
    )
    return SkuView(
        id=sku_id,
        code=row.code,
        title=row.title,
        picture=row.picture,
        counted_since=row.counted_since,
        levels=levels,
        uncounted=tuple(LocationView(each.place_id, each.name) for each in places if each.location_id is None),
        waiting=tuple(WaitingLine(*each[:-1]) for each in waiting),
        waiting_units=int(waiting[0].in_all) if waiting else 0,
        kit=_kit(connection, merchant_id, sku_id) if row.kit else None,
        used_in=_uses(connection, merchant_id, sku_id),
        figures=tuple(_figures(connection, merchant_id, [sku_id])[sku_id]),
        writes=tuple(WriteView(*each) for each in writes),
    )


def _kit(connection: Connection, merchant_id: UUID, kit_id: UUID) -> KitView:
    part = t.kit_part.c
    inside: dict[UUID, list[parts.AnyRow]] = {}
    ask = {kit_id}
    while ask:
        rows = connection.execute(
            select(
                part.kit_id, part.quantity, t.sku.c.id, t.sku.c.code, t.sku.c.title, t.sku.c.kit, t.sku.c.counted_since
            )
            .join(t.sku, parts.same(part.part_id, t.sku, t.kit_part))
            .where(part.merchant_id == merchant_id, part.kit_id.in_(ask))
            .order_by(t.sku.c.code)
        ).all()
        inside |= {each: [row for row in rows if row.kit_id == each] for each in ask}
        ask = {row.id for row in rows if row.kit} - inside.keys()
    sums = _sums(connection, merchant_id, {row.id for rows in inside.values() for row in rows if not row.kit})
    made = _makes(connection, merchant_id, list(inside))

    def walk(within: UUID, needed: int, depth: int) -> Iterable[PartView]:
        for row in inside[within]:
            yield PartView(
                sku_id=row.id,
                code=row.code,
                title=row.title,
                kit=row.kit,
                counted=row.counted_since is not None,
                quantity=row.quantity,
                needed=row.quantity * needed,
                depth=depth,
                available=made[row.id] if row.kit else sums[row.id].available,
            )
            if row.kit:
                yield from walk(row.id, row.quantity * needed, depth + 1)

    walked = list(walk(kit_id, 1, 0))
    needed: dict[UUID, int] = defaultdict(int)
    for each in walked:
        needed[each.sku_id] += each.needed
    found = tuple(replace(each, needed=needed[each.sku_id]) for each in walked)
    leaves = {each.sku_id: each for each in found if not each.kit}
    return KitView(found, made[kit_id], tuple(each for each in leaves.values() if each.enough_for == made[kit_id]))


def _uses(connection: Connection, merchant_id: UUID, sku_id: UUID) -> tuple[UseView, ...]:
    part = t.kit_part.c
    rows = connection.execute(
        select(t.sku.c.id, t.sku.c.code, t.sku.c.title, part.quantity)
        .join(t.sku, parts.same(part.kit_id, t.sku, t.kit_part))
        .where(part.merchant_id == merchant_id, part.part_id == sku_id)
        .order_by(t.sku.c.code)
        .limit(parts.PAGE)
    )
    return tuple(UseView(*row) for row in rows)


def ledger(
    connection: Connection,
    merchant_id: UUID,
    sku_id: UUID,
    *,
    location_id: UUID | None = None,
    causes: Collection[str] = (),
    before: Mapping[UUID, int] | None = None,
    places: Collection[UUID] | None = None,
    limit: int = parts.PAGE,
) -> list[EntryView]:
    """The ledger of a SKU over its locations, or of one, the newest entry first; with ``causes`` only of these.

    ``before`` has the numbers of the entries shown last, by location. The entries of one location are numbered without
    gaps, so that the latest of each are read from the key, however long the ledger is. ``places`` saves asking where
    there is any.
    """
    level, entry = t.stock_level.c, t.stock_entry.c
    if places is None:
        balances = select(level.location_id).where(level.merchant_id == merchant_id, level.sku_id == sku_id)
        places = connection.execute(balances).scalars().all()
    latest = []
    for place in places:
        if location_id not in (None, place):
            continue
        here = (
            select(t.stock_entry)
            .where(entry.merchant_id == merchant_id, entry.sku_id == sku_id, entry.location_id == place)
            .order_by(entry.number.desc())
            .limit(limit)
        )
        if causes:
            here = here.where(entry.cause.in_(causes))
        if before and place in before:
            here = here.where(entry.number < before[place])
        latest.append(select(here.subquery()))
    if not latest:
        return []
    found = union_all(*latest).subquery()
    rows = connection.execute(
        select(found, t.location.c.name, func.coalesce(t.sales_order.c.number, "").label("order_number"))
        .join(t.location, and_(t.location.c.merchant_id == merchant_id, t.location.c.id == found.c.location_id))
        .outerjoin(
            t.sales_order, and_(t.sales_order.c.merchant_id == merchant_id, t.sales_order.c.id == found.c.order_id)
        )
        .order_by(found.c.location_id, found.c.number.desc())
    )
    entries = [
        EntryView(
            location_id=row.location_id,
            location_name=row.name,
            number=row.number,
            at=row.at,
            cause=row.cause,
            reference=row.reference,
            note=row.note,
            actor=row.actor,
            change=StockLevel(*(getattr(row, f"{name}_delta") for name in _FIGURES)),
            after=StockLevel(*(getattr(row, name) for name in _FIGURES)),
            order_id=row.order_id,
            order_number=row.order_number,
            document_id=row.document_id,
        )
        for row in rows
    ]
    # Within a location the numbers tell the order, also where two clocks did not agree.
    by_place = [list(some) for _, some in groupby(entries, key=lambda entry: entry.location_id)]
    return list(islice(merge(*by_place, key=lambda entry: entry.at, reverse=True), limit))


@dataclass(frozen=True, slots=True)
class Day:
    """What was there of a SKU at the end of a day (UTC), over all locations."""

    at: datetime
    on_hand: int
    available: int


def history(connection: Connection, merchant_id: UUID, sku_id: UUID, days: int, *, now: datetime) -> list[Day]:
    """What was there of a SKU at the end of each of the last ``days`` days, the last of which is now; empty for one
    that was never counted."""
    entry = t.stock_entry.c
    mine = (entry.merchant_id == merchant_id, entry.sku_id == sku_id)
    first = datetime.combine(now.date(), time(), UTC) - timedelta(days=days - 1)
    day = func.date(entry.at).label("day")
    within = select(entry.location_id, day, func.max(entry.number).label("number")).where(*mine, entry.at >= first)
    earlier = select(entry.location_id, func.max(entry.number).label("number")).where(*mine, entry.at < first)
    figures = (entry.on_hand, entry.allocated, entry.quarantined, entry.damaged)
    last_of = []
    for found, is_within in (
        (earlier.group_by(entry.location_id).subquery(), False),
        (within.group_by(entry.location_id, day).subquery(), True),
    ):
        last = and_(entry.location_id == found.c.location_id, entry.number == found.c.number)
        said = cast(found.c.day, String) if is_within else literal(None, String)
        last_of.append(select(said.label("day"), entry.location_id, *figures).join(found, last).where(*mine))
    lasting = connection.execute(union_all(*last_of)).all()
    if not lasting:
        return []
    by_day: dict[str, dict[UUID, StockLevel]] = {}
    for row in lasting:
        level = StockLevel(row.on_hand, row.allocated, row.quarantined, row.damaged)
        by_day.setdefault(row.day or "", {})[row.location_id] = level
    levels = by_day.get("", {})
    told = []
    for number in range(days):
        begins = first + timedelta(days=number)
        levels = levels | by_day.get(f"{begins:%Y-%m-%d}", {})
        ends = min(begins + timedelta(days=1), now)
        if levels:
            each = levels.values()
            told.append(Day(ends, sum(one.on_hand for one in each), sum(one.available for one in each)))
    return told


@dataclass(frozen=True, slots=True)
class LevelLine:
    """One line of the list of all levels, as a file has it."""

    sku_id: UUID
    code: str
    title: str
    location_id: UUID
    location_name: str
    level: StockLevel
    safety_stock: int
    counted_at: datetime | None
    zone: str
    shelf: str


def levels(
    connection: Connection, merchant_id: UUID, *, after: tuple[str, UUID] | None = None, limit: int
) -> list[LevelLine]:
    """Every SKU at every location where it has stock; ``after`` is the (code, location) of the last one."""
    sku, level = t.sku.c, t.stock_level.c
    query = (
        select(t.stock_level, sku.code, sku.title, t.location.c.name)
        .add_columns(func.coalesce(t.shelf.c.zone, "").label("zone"), func.coalesce(t.shelf.c.name, "").label("shelf"))
        .join(t.sku, parts.same(level.sku_id, t.sku, t.stock_level))
        .join(t.location, parts.same(level.location_id, t.location, t.stock_level))
        .outerjoin(
            t.shelf,
            and_(
                t.shelf.c.merchant_id == level.merchant_id,
                t.shelf.c.sku_id == level.sku_id,
                t.shelf.c.location_id == level.location_id,
            ),
        )
        .where(level.merchant_id == merchant_id)
        .order_by(sku.code, level.location_id)
        .limit(limit)
    )
    if after is not None:
        code, place = after
        query = query.where(sku.code >= code, or_(sku.code > code, level.location_id > place))
    return [
        LevelLine(
            row.sku_id,
            row.code,
            row.title,
            row.location_id,
            row.name,
            StockLevel(*(getattr(row, name) for name in _FIGURES)),
            row.safety_stock,
            row.counted_at,
            row.zone,
            row.shelf,
        )
        for row in connection.execute(query)
    ]


# ---------------------------------------------------------------- SKUs in forms


def code(connection: Connection, merchant_id: UUID, sku_id: UUID) -> str | None:
    """The code of a SKU, None if there is none."""
    found: str | None = connection.execute(
        select(t.sku.c.code).where(t.sku.c.merchant_id == merchant_id, t.sku.c.id == sku_id)
    ).scalar_one_or_none()
    return found


_TOLD = ("told_by", "told_on_hand", "told_reserved", "told_inbound", "told_at")


def _told_by_3pls(merchant_id: UUID, sku_id: UUID) -> parts.AnySelect:
    """What 3PLs said last of a SKU, by our location that stands for theirs."""
    told, item, place, shop = t.provider_stock.c, t.provider_item.c, t.channel_location.c, t.connection.c
    said = (shop.label, told.on_hand, told.reserved, told.inbound, told.counted_at)
    return (
        select(place.location_id.label("told_of"), *(each.label(name) for each, name in zip(said, _TOLD, strict=True)))
        .select_from(
            parts.SAID_BY_3PLS.join(t.connection, parts.same(told.connection_id, t.connection, t.provider_stock))
        )
        .where(item.merchant_id == merchant_id, item.sku_id == sku_id, place.location_id.is_not(None))
    )


def find(connection: Connection, merchant_id: UUID, text: str) -> UUID | None:
    """The SKU somebody typed or scanned: its code, in upper or lower case if only one fits, or else the barcode of a
    listing that is matched to it."""
    sku, listing = t.sku.c, t.listing.c
    here = select(sku.id).where(sku.merchant_id == merchant_id)
    exact: UUID | None = connection.execute(here.where(sku.code == text)).scalar_one_or_none()
    if exact is not None:
        return exact
    for query in (
        here.where(func.lower(sku.code) == text.lower()),
        select(listing.sku_id)
        .distinct()
        .where(listing.merchant_id == merchant_id, listing.barcode == text, listing.sku_id.is_not(None)),
    ):
        fitting = connection.execute(query.limit(2)).scalars().all()
        if len(fitting) == 1:
            found: UUID | None = fitting[0]
            return found
    return None


def form_skus(
    connection: Connection, merchant_id: UUID, sku_ids: Collection[UUID], location_id: UUID | None, at: datetime | None
) -> dict[UUID, FormSku]:
    """SKUs with what is at a location, or was there at a time."""
    if not sku_ids:
        return {}
    sku, level, entry = t.sku.c, t.stock_level.c, t.stock_entry.c
    balances: dict[UUID, StockLevel] = {}
    if at is None:
        rows = connection.execute(
            select(level.sku_id, *(level[name] for name in _FIGURES)).where(
                level.merchant_id == merchant_id, level.location_id == location_id, level.sku_id.in_(sku_ids)
            )
        )
    else:
        last = (
            select(entry.sku_id, func.max(entry.number).label("number"))
            .where(
                entry.merchant_id == merchant_id,
                entry.sku_id.in_(sku_ids),
                entry.location_id == location_id,
                entry.at <= at,
            )
            .group_by(entry.sku_id)
            .subquery()
        )
        rows = connection.execute(
            select(entry.sku_id, *(entry[name] for name in _FIGURES))
            .join(last, and_(last.c.sku_id == entry.sku_id, last.c.number == entry.number))
            .where(entry.merchant_id == merchant_id, entry.location_id == location_id)
        )
    for row in rows:
        balances[row[0]] = StockLevel(*row[1:])
    return {
        row.id: FormSku(row.id, row.code, row.title, row.kit, row.counted_since is not None, balances.get(row.id))
        for row in connection.execute(
            select(sku.id, sku.code, sku.title, sku.kit, sku.counted_since).where(
                sku.merchant_id == merchant_id, sku.id.in_(sku_ids)
            )
        )
    }


# ---------------------------------------------------------------- what the shops show


def _figures(connection: Connection, merchant_id: UUID, sku_ids: Collection[UUID]) -> Mapping[UUID, list[Figure]]:
    listing, place, publication = t.listing.c, t.channel_location.c, t.publication.c
    should = {
        (each.listing_id, each.location_external_id): each.figure
        for each in publications.previews(connection, merchant_id, sku_ids)
    }
    rows = connection.execute(
        select(
            listing.sku_id,
            listing.id,
            listing.title,
            t.connection.c.id.label("connection_id"),
            t.connection.c.label,
            func.coalesce(place.name, "").label("place_name"),
            place.external_id.label("place"),
            and_(t.connection.c.live_at.is_not(None), t.connection.c.state == "connected").label("live"),
            (t.connection.c.state == "paused").label("paused"),
            listing.tracked,
            listing.active,
            publication.quantity,
            publication.published_at,
            t.pending_push.c.quantity.label("pending"),
            t.pending_push.c.sent_at,
            func.coalesce(parts.is_dirty(), false()).label("dirty"),
            publication.dirty_since,
            func.coalesce(publication.error, "").label("error"),
        )
        .join(t.connection, parts.same(listing.connection_id, t.connection, t.listing))
        .outerjoin(
            t.channel_location,
            and_(
                place.merchant_id == listing.merchant_id,
                place.connection_id == listing.connection_id,
                place.location_id.is_not(None),
            ),
        )
        .outerjoin(t.publication, parts.publication_of(place.external_id))
        .outerjoin(t.pending_push, parts.same(publication.pending_id, t.pending_push, t.publication))
        .where(
            listing.merchant_id == merchant_id,
            among(connection, listing.sku_id, sku_ids),
            t.connection.c.state != "removed",
        )
        .order_by(t.connection.c.label, t.connection.c.id, listing.title, listing.id, place.name)
    )
    shown: dict[UUID, list[Figure]] = defaultdict(list)
    for row in rows:
        figure = should.get((row.id, row.place))
        shown[row.sku_id].append(
            Figure(
                listing_id=row.id,
                listing_title=row.title,
                connection_id=row.connection_id,
                connection_label=row.label,
                location_name=row.place_name,
                live=bool(row.live),
                paused=bool(row.paused),
                place=row.place,
                tracked=row.tracked,
                active=row.active,
                published=row.quantity,
                wanted=figure.quantity if figure else None,
                steps=figure.steps if figure else (),
                published_at=row.published_at,
                pending=row.pending,
                sent_at=row.sent_at,
                dirty=bool(row.dirty),
                dirty_since=row.dirty_since,
                error=row.error,
            )
        )
    return shown
