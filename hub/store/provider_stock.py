"""What lies at 3PLs: their counts and corrections, as entries of our own ledger.

A count is true as of a moment, and is heard of later; so is every shipment. What is here is always the last count and
what happened after it (``stock_entry.happened_at``), in whichever order the news come in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, func, select, type_coerce, update

from hub import access
from hub.access import Permission
from hub.core.plain import from_plain, to_plain
from hub.core.sentences import enumerated
from hub.core.shipping import Lot, StockAdjustment, StockCount
from hub.core.stock import MOST_UNITS, Cause, Place, StockBook
from hub.store import activity, provider_items, providers, publications, stock
from hub.store import tables as t
from hub.store.database import Database, Lanes, in_chunks, upsert
from hub.store.fulfillment import ELSEWHERE

GROWS = "3pl_stock_shrinks"  # the kind of issue; the subject is the connection's id, the place and the name
NO_PLACE = "unknown_3pl_place"  # the kind of issue; the subject is the connection's id and the place

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Counted:
    """A count that is to take effect, with the figures that the 3PL told before, if it did."""

    fact: StockCount
    source: str
    place: Place
    place_name: str
    external_id: str
    before: Row[Any] | None


# ---------------------------------------------------------------- counts


def count(
    connection: Connection,
    merchant_id: UUID,
    connection_id: UUID,
    told: Sequence[tuple[StockCount, str]],
    *,
    at: datetime,
) -> Lanes:
    """Let counts of a 3PL take effect, in the caller's transaction; each comes with what the ledger is to refer to.

    Of each item at each place the latest counts, if none later is known. Returns the lanes to ring for. Raises
    ValueError for a figure that cannot be.
    """
    latest: dict[tuple[str, str], tuple[StockCount, str]] = {}
    for fact, source in told:
        most = max(fact.on_hand, fact.available, fact.inbound or 0, fact.reserved or 0)
        if most > MOST_UNITS:
            raise ValueError(f"{most:,} of {fact.sku}: the hub counts to {MOST_UNITS:,}.")
        key = (fact.location_external_id, fact.sku)
        if key not in latest or latest[key][0].counted_at <= fact.counted_at:
            latest[key] = fact, source
    named = {fact.sku: fact.item_external_id for fact, _ in latest.values()}
    meant = provider_items.meant_by(connection, merchant_id, connection_id, named, at=at)
    counted = list(_kept(connection, merchant_id, connection_id, latest.values(), meant, at))
    lanes: Lanes = []
    for some in in_chunks(counted, 200):
        lanes += _take_effect(connection, merchant_id, connection_id, some, at)
    return lanes


def _kept(
    connection: Connection,
    merchant_id: UUID,
    connection_id: UUID,
    told: Iterable[tuple[StockCount, str]],
    meant: Mapping[str, UUID],
    at: datetime,
) -> Iterable[_Counted]:
    """Keep what was said, and yield what concerns a SKU and a location of ours."""
    places = _places(connection, merchant_id, connection_id)
    this = t.provider_stock.c
    for fact, source in told:
        place = _place(places, fact.location_external_id)
        if place is None:
            _ask_for_place(connection, merchant_id, connection_id, fact.location_external_id, at)
            continue
        key = {
            "merchant_id": merchant_id,
            "connection_id": connection_id,
            "place_external_id": place.external_id,
            "name": fact.sku[:200],
        }
        before = connection.execute(
            select(t.provider_stock).where(*(this[name] == value for name, value in key.items()))
        ).one_or_none()
        if before is not None and before.counted_at > fact.counted_at:
            continue
        figures = {
            "on_hand": max(0, fact.on_hand),
            "available": max(0, fact.available),
            "inbound": None if fact.inbound is None else max(0, fact.inbound),
            "reserved": None if fact.reserved is None else max(0, fact.reserved),
            "counted_at": fact.counted_at,
        }
        if before is not None and all(getattr(before, name) == figure for name, figure in figures.items()):
            continue  # the same once more
        values = figures | {"lots": to_plain(fact.lots), "heard_at": at}
        statement = upsert(connection, t.provider_stock).values(**key, **values)
        connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=values))
        sku_id = meant.get(fact.sku[:200])
        if sku_id is not None and place.location_id is not None:
            yield _Counted(fact, source, (sku_id, place.location_id), place.name, place.external_id, before)


def _places(connection: Connection, merchant_id: UUID, connection_id: UUID) -> dict[str, Row[Any]]:
    place = t.channel_location.c
    rows: Sequence[Any] = connection.execute(
        select(place.external_id, place.name, place.location_id).where(
            place.merchant_id == merchant_id, place.connection_id == connection_id
        )
    ).all()
    return {row.external_id: row for row in rows}


def _place(places: Mapping[str, Row[Any]], external_id: str) -> Row[Any] | None:
    """The place of this id; where the 3PL names none, its only one."""
    if not external_id and len(places) == 1:
        return next(iter(places.values()))
    return places.get(external_id)


def _ask_for_place(
    connection: Connection, merchant_id: UUID, connection_id: UUID, external_id: str, at: datetime
) -> None:
    activity.raise_issue(
        connection,
        merchant_id,
        NO_PLACE,
        f"{connection_id}/{external_id}"[:300],
        f"The 3PL tells stock of a place that the hub does not know: {external_id or 'it does not say which'}",
        "Reconnect it, so that its places are read again.",
        at=at,
        connection_id=connection_id,
        link=f"/connections/{connection_id}",
    )


def _take_effect(
    connection: Connection,
    merchant_id: UUID,
    connection_id: UUID,
    counted: Sequence[_Counted],
    at: datetime,
) -> Lanes:
    skus = {each.place[0] for each in counted}
    opened, to_hold = stock.open_book_to_count(connection, merchant_id, skus, stock.open_whole_book)
    book = opened.book
    packing = _in_hand(connection, merchant_id, connection_id, skus)
    book.in_hand = {line_id for lines in packing.values() for line_id in lines}
    since = _since(connection, merchant_id, counted)
    promised = _promised(connection, merchant_id, connection_id, counted)
    lanes: Lanes = []
    changed: list[str] = []
    happened: dict[Place, datetime] = {}
    for each in counted:
        found = max(0, each.fact.on_hand)
        known = each.place in book.before
        before = book.level(each.place) if known else None
        if not known:
            book.open(each.place, found, each.source)
        target = found + sum(units for moment, units in since.get(each.place, ()) if moment > each.fact.counted_at)
        held = _held(book, each.place, packing)
        on_hand = max(target, held, 0)
        aside = max(0, found - each.fact.available - promised.get(each.place, 0) - book.level(each.place).damaged)
        aside = max(0, min(aside, on_hand - held))
        book.recount(each.place, on_hand, aside, Cause.COUNTED, each.source)
        happened[each.place] = each.fact.counted_at
        if target < held:
            # What is missing has left by all appearances, and its shipment was not heard of yet.
            lanes += providers.ask_what_left(connection, merchant_id, connection_id, at=at)
        if before is None or before.on_hand != on_hand:
            changed.append(f"{each.fact.sku} {before.on_hand if before else 0} → {on_hand}")
        _compare(connection, merchant_id, connection_id, each, since.get(each.place, ()), at)
    stock.start_counting(opened, {}, to_hold, counted[0].source)
    touched = stock.write_book(connection, merchant_id, book, at=at, happened_at=happened)
    _stamp(connection, merchant_id, counted)
    touched |= publications.ensure(connection, merchant_id, at=at, sku_ids=skus)
    if changed:
        activity.note(
            connection,
            merchant_id,
            "counted_by_3pl",
            f"Counted by the 3PL at {counted[0].place_name}: {enumerated(changed, 8)}",
            at=at,
            connection_id=connection_id,
        )
    return lanes + [(each, "publish") for each in sorted(touched)]


def _stamp(connection: Connection, merchant_id: UUID, counted: Iterable[_Counted]) -> None:
    level = t.stock_level.c
    for each in counted:
        connection.execute(
            update(t.stock_level)
            .where(
                level.merchant_id == merchant_id,
                level.sku_id == each.place[0],
                level.location_id == each.place[1],
            )
            .values(counted_at=each.fact.counted_at)
        )


def _since(
    connection: Connection, merchant_id: UUID, counted: Collection[_Counted]
) -> dict[Place, list[tuple[datetime, int]]]:
    """What came and left at these places after their last counts, with the moment at which it really did."""
    entry = t.stock_entry.c
    moment = func.coalesce(entry.happened_at, entry.at)
    floor = min(
        (each.before.counted_at if each.before else each.fact.counted_at for each in counted), default=_BEGINNING
    )
    found: dict[Place, list[tuple[datetime, int]]] = {}
    for some in in_chunks({each.place[0] for each in counted}):
        for row in connection.execute(
            select(
                entry.sku_id, entry.location_id, type_coerce(moment, t.Moment()).label("moment"), entry.on_hand_delta
            ).where(
                entry.merchant_id == merchant_id,
                entry.sku_id.in_(some),
                entry.location_id.in_({each.place[1] for each in counted}),
                entry.on_hand_delta != 0,
                type_coerce(moment, t.Moment()) > floor,
            )
        ):
            found.setdefault((row.sku_id, row.location_id), []).append((row.moment, row.on_hand_delta))
    return found


# What was asked of a 3PL, line by line, and which order line each is about.
_ASKED = t.fulfillment_order.join(
    t.fulfillment_line,
    (t.fulfillment_order.c.merchant_id == t.fulfillment_line.c.merchant_id)
    & (t.fulfillment_order.c.id == t.fulfillment_line.c.fulfillment_order_id),
).join(
    t.order_line,
    (t.order_line.c.merchant_id == t.fulfillment_line.c.merchant_id)
    & (t.order_line.c.id == t.fulfillment_line.c.order_line_id),
)


def _in_hand(
    connection: Connection, merchant_id: UUID, connection_id: UUID, sku_ids: Collection[UUID]
) -> dict[Place, dict[UUID, int]]:
    """Units by place and order line that the 3PL is asked to ship, and has not told of as shipped."""
    work, asked = t.fulfillment_order.c, t.fulfillment_line.c
    rows = connection.execute(
        select(
            work.location_id,
            asked.order_line_id,
            t.order_line.c.sku_id,
            (asked.quantity - asked.shipped).label("units"),
        )
        .select_from(_ASKED)
        .where(
            work.merchant_id == merchant_id,
            work.connection_id == connection_id,
            work.state.in_([each.value for each in ELSEWHERE]),
            work.closed_at.is_(None),
        )
    ).all()
    kits = stock.kit_parts(connection, merchant_id, {row.order_line_id for row in rows})
    found: dict[Place, dict[UUID, int]] = {}
    for row in rows:
        for sku_id, per_unit in kits.get(row.order_line_id, {row.sku_id: 1}).items():
            if sku_id in sku_ids:
                lines = found.setdefault((sku_id, row.location_id), {})
                lines[row.order_line_id] = lines.get(row.order_line_id, 0) + row.units * per_unit
    return found


def _held(book: StockBook, place: Place, packing: Mapping[Place, Mapping[UUID, int]]) -> int:
    """Units that are reserved here for what the 3PL is shipping now."""
    return sum(
        min(units, book.claims[line_id].allocated.get(place, 0))
        for line_id, units in packing.get(place, {}).items()
        if line_id in book.claims
    )


def _promised(
    connection: Connection, merchant_id: UUID, connection_id: UUID, counted: Collection[_Counted]
) -> dict[Place, int]:
    """Units that the 3PL had promised for our orders when it counted: they are not available there, and still ours."""
    work, asked, part, sent = (each.c for each in (t.fulfillment_order, t.fulfillment_line, t.shipped_part, t.shipment))
    moments: dict[Place, datetime] = {each.place: each.fact.counted_at for each in counted}
    if not moments:
        return {}
    first = min(moments.values())
    rows = connection.execute(
        select(
            work.id,
            work.location_id,
            work.accepted_at,
            work.closed_at,
            asked.order_line_id,
            asked.quantity,
            t.order_line.c.sku_id,
        )
        .select_from(_ASKED)
        .where(
            work.merchant_id == merchant_id,
            work.connection_id == connection_id,
            work.accepted_at.is_not(None),
            work.closed_at.is_(None) | (work.closed_at > first),
        )
    ).all()
    kits = stock.kit_parts(connection, merchant_id, {row.order_line_id for row in rows})
    found: dict[Place, int] = {}
    for row in rows:
        for sku_id, per_unit in kits.get(row.order_line_id, {row.sku_id: 1}).items():
            moment = moments.get((sku_id, row.location_id))
            if moment is not None and row.accepted_at <= moment and (row.closed_at is None or row.closed_at > moment):
                place = (sku_id, row.location_id)
                found[place] = found.get(place, 0) + row.quantity * per_unit
    ids = {row.id for row in rows}
    for some in in_chunks(ids):
        for left in connection.execute(
            select(work.location_id, part.sku_id, part.quantity, sent.shipped_at, work.accepted_at, work.closed_at)
            .select_from(
                t.shipped_part.join(
                    t.shipment, (sent.merchant_id == part.merchant_id) & (sent.id == part.shipment_id)
                ).join(
                    t.fulfillment_order, (work.merchant_id == sent.merchant_id) & (work.id == sent.fulfillment_order_id)
                )
            )
            .where(sent.merchant_id == merchant_id, work.id.in_(some), sent.state == "shipped")
        ):
            place = (left.sku_id, left.location_id)
            moment = moments.get(place)
            if (
                moment is not None
                and left.shipped_at <= moment
                and left.accepted_at <= moment
                and (left.closed_at is None or left.closed_at > moment)
            ):
                found[place] = found.get(place, 0) - left.quantity
    return {place: max(0, units) for place, units in found.items()}


def _compare(
    connection: Connection,
    merchant_id: UUID,
    connection_id: UUID,
    each: _Counted,
    since: Iterable[tuple[datetime, int]],
    at: datetime,
) -> None:
    """Note what went without a reason since the last count; where it happens again, a person is told."""
    if each.before is None:
        return
    explained = sum(units for moment, units in since if each.before.counted_at < moment <= each.fact.counted_at)
    found = max(0, each.fact.on_hand) - each.before.on_hand - explained
    _note_unexplained(connection, merchant_id, connection_id, each.external_id, each.fact.sku, found, at, grown=True)


def _note_unexplained(
    connection: Connection,
    merchant_id: UUID,
    connection_id: UUID,
    place_external_id: str,
    name: str,
    units: int,
    at: datetime,
    *,
    grown: bool = False,
) -> None:
    this = t.provider_stock.c
    here = (
        this.merchant_id == merchant_id,
        this.connection_id == connection_id,
        this.place_external_id == place_external_id,
        this.name == name[:200],
    )
    before = connection.execute(select(this.unexplained).where(*here)).scalar_one_or_none()
    if before is None or not units:
        return
    after = min(0, before + units)
    connection.execute(update(t.provider_stock).where(*here).values(unexplained=after))
    subject = f"{connection_id}/{place_external_id}/{name}"[:300]
    if not after:
        activity.resolve_issue(connection, merchant_id, GROWS, subject, at=at)
    elif grown and after < before < 0:
        activity.raise_issue(
            connection,
            merchant_id,
            GROWS,
            subject,
            f"The 3PL has {-after} fewer of {name} than its own counts and shipments add up to, and it grows",
            "Ask the 3PL where they are. The hub goes by what it counts.",
            at=at,
            connection_id=connection_id,
            link=f"/connections/{connection_id}/warehouse",
        )


# ---------------------------------------------------------------- corrections


def adjust(
    connection: Connection, merchant_id: UUID, connection_id: UUID, told: StockAdjustment, *, at: datetime
) -> Lanes:
    """Units that a 3PL found or lost, once: what happened before its last count is in that count already.

    Returns the lanes to ring for.
    """
    meant = provider_items.meant_by(connection, merchant_id, connection_id, {told.sku: ""}, at=at)
    place = _place(_places(connection, merchant_id, connection_id), told.location_external_id)
    if place is None:
        _ask_for_place(connection, merchant_id, connection_id, told.location_external_id, at)
    sku_id = meant.get(told.sku[:200])
    if place is None or place.location_id is None or sku_id is None:
        return []
    opened = stock.open_whole_book(connection, merchant_id, [sku_id])
    book, where = opened.book, (sku_id, place.location_id)
    reference = f"{connection_id}/{told.external_id}"[:200]
    if where not in book.before or _entered(connection, merchant_id, where, reference):
        return []  # not counted yet: the first count has it
    last = _last_counts(connection, merchant_id, connection_id, place.location_id, [sku_id]).get(sku_id)
    if last is not None and told.adjusted_at <= last.counted_at:
        _note_unexplained(connection, merchant_id, connection_id, last.place_external_id, last.name, -told.quantity, at)
        return []
    packing = _in_hand(connection, merchant_id, connection_id, [sku_id])
    book.in_hand = {line_id for lines in packing.values() for line_id in lines}
    level = book.level(where)
    on_hand = max(level.on_hand + told.quantity, min(level.on_hand, _held(book, where, packing)), 0)
    book.recount(where, on_hand, min(level.quarantined, on_hand), Cause.ADJUSTED, reference)
    book.serve(reference)
    touched = stock.write_book(
        connection, merchant_id, book, at=at, remark=told.reason[:500], happened_at={where: told.adjusted_at}
    )
    because = f" ({told.reason})" if told.reason else ""
    activity.note(
        connection,
        merchant_id,
        "adjusted_by_3pl",
        f"Adjusted by the 3PL at {place.name}: {told.sku} {level.on_hand} → {on_hand}{because}",
        at=at,
        connection_id=connection_id,
    )
    return [(each, "publish") for each in sorted(touched)]


def _entered(connection: Connection, merchant_id: UUID, place: Place, reference: str) -> bool:
    entry = t.stock_entry.c
    return (
        connection.execute(
            select(entry.number).where(
                entry.merchant_id == merchant_id,
                entry.sku_id == place[0],
                entry.location_id == place[1],
                entry.cause == Cause.ADJUSTED.value,
                entry.reference == reference,
            )
        ).first()
        is not None
    )


# ---------------------------------------------------------------- what has left


def still_there(
    connection: Connection,
    merchant_id: UUID,
    connection_id: UUID,
    location_id: UUID,
    left: Mapping[UUID, tuple[int, datetime]],
    book: StockBook,
    *,
    at: datetime,
) -> dict[UUID, int]:
    """Of units that left a 3PL's shelf at some moment, by SKU: those that our figures still have there.

    The others had left when the 3PL counted last, and went with that count.
    """
    counts = _last_counts(connection, merchant_id, connection_id, location_id, left)
    counted_before = {
        sku_id for sku_id, (_, moment) in left.items() if sku_id in counts and moment <= counts[sku_id].counted_at
    }
    since = _after(
        connection, merchant_id, location_id, {sku_id: counts[sku_id].counted_at for sku_id in counted_before}
    )
    found: dict[UUID, int] = {}
    for sku_id, (units, _) in left.items():
        found[sku_id] = units
        if sku_id in counted_before and (sku_id, location_id) in book.before:
            told = counts[sku_id]
            target = told.on_hand + since.get(sku_id, 0)
            found[sku_id] = min(units, max(0, book.level((sku_id, location_id)).on_hand - target))
            _note_unexplained(connection, merchant_id, connection_id, told.place_external_id, told.name, units, at)
    return found


def counted_since(
    connection: Connection,
    merchant_id: UUID,
    connection_id: UUID,
    location_id: UUID,
    back: Mapping[UUID, tuple[int, datetime]],
) -> bool:
    """Whether a 3PL has counted after units came back to its shelf, so that its count has them already."""
    counts = _last_counts(connection, merchant_id, connection_id, location_id, back)
    return any(counts[sku_id].counted_at >= moment for sku_id, (_, moment) in back.items() if sku_id in counts)


def _last_counts(
    connection: Connection, merchant_id: UUID, connection_id: UUID, location_id: UUID, sku_ids: Iterable[UUID]
) -> dict[UUID, Any]:
    told, item, place = t.provider_stock.c, t.provider_item.c, t.channel_location.c
    found: dict[UUID, Any] = {}
    for some in in_chunks(sku_ids):
        for row in connection.execute(
            select(item.sku_id, told.place_external_id, told.name, told.on_hand, told.counted_at)
            .select_from(
                t.provider_stock.join(
                    t.provider_item,
                    (item.merchant_id == told.merchant_id)
                    & (item.connection_id == told.connection_id)
                    & (item.name == told.name),
                ).join(
                    t.channel_location,
                    (place.merchant_id == told.merchant_id)
                    & (place.connection_id == told.connection_id)
                    & (place.external_id == told.place_external_id),
                )
            )
            .where(
                told.merchant_id == merchant_id,
                told.connection_id == connection_id,
                item.sku_id.in_(some),
                place.location_id == location_id,
            )
        ):
            found[row.sku_id] = row
    return found


def _after(
    connection: Connection, merchant_id: UUID, location_id: UUID, moments: Mapping[UUID, datetime]
) -> dict[UUID, int]:
    """What came and left of these SKUs after a moment each, added up."""
    entry = t.stock_entry.c
    moment = type_coerce(func.coalesce(entry.happened_at, entry.at), t.Moment())
    found: dict[UUID, int] = {}
    for sku_id, since in moments.items():
        found[sku_id] = int(
            connection.execute(
                select(func.coalesce(func.sum(entry.on_hand_delta), 0)).where(
                    entry.merchant_id == merchant_id,
                    entry.sku_id == sku_id,
                    entry.location_id == location_id,
                    moment > since,
                )
            ).scalar_one()
        )
    return found


# ---------------------------------------------------------------- names


@access.needs(Permission.SYNC)
def match(
    database: Database, merchant_id: UUID, connection_id: UUID, name: str, code: str, actor: str, item: str = ""
) -> Lanes:
    """A person says which SKU a 3PL means by a name; what the 3PL said last of it is counted at once.

    Returns the lanes to ring for. Raises BadInput and Conflict as ``provider_items.mean``.
    """

    def work(connection: Connection) -> Lanes:
        at = database.now(connection)
        provider_items.mean(connection, merchant_id, connection_id, name, code, actor, at=at, item_external_id=item)
        this = t.provider_stock.c
        told = connection.execute(
            select(t.provider_stock).where(
                this.merchant_id == merchant_id, this.connection_id == connection_id, this.name == name.strip()
            )
        ).all()
        meant = provider_items.meant_by(connection, merchant_id, connection_id, {name.strip(): item}, at=at)
        places = _places(connection, merchant_id, connection_id)
        counted = [
            _Counted(fact, source, (sku_id, place.location_id), place.name, place.external_id, None)
            for row in told
            for fact, source in [(_as_told(row), f"{connection_id}/matched/{at}"[:200])]
            for place in [places[row.place_external_id]]
            if (sku_id := meant.get(row.name)) is not None and place.location_id is not None
        ]
        if not counted:
            return []
        return _take_effect(connection, merchant_id, connection_id, counted, at)

    return database.transact(work)


def _as_told(row: Row[Any]) -> StockCount:
    return StockCount(
        sku=row.name,
        on_hand=row.on_hand,
        available=row.available,
        counted_at=row.counted_at,
        location_external_id=row.place_external_id,
        lots=tuple(from_plain(Lot, each) for each in row.lots),
    )
