"""Stock: the list, and one SKU with its ledger, its queue and what the shops show of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, and_, case, exists, false, func, or_, select

from hub.store import tables as t
from hub.store.queries import parts
from hub.store.queries.connections import LocationView, locations


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
    limit: int = parts.PAGE,
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
        query = query.where(or_(parts.contains(sku.code, text), parts.contains(sku.title, text)))
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
            .join(t.location, parts.same(level.location_id, t.location, t.stock_level))
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
        .join(t.order_line, parts.same(t.backorder.c.order_line_id, t.order_line, t.backorder))
        .join(t.sales_order, parts.same(t.order_line.c.order_id, t.sales_order, t.order_line))
        .join(t.connection, parts.same(t.sales_order.c.connection_id, t.connection, t.sales_order))
        .where(t.backorder.c.merchant_id == merchant_id, t.backorder.c.sku_id == sku_id)
        .order_by(t.backorder.c.since, t.backorder.c.order_line_id)
        .limit(parts.PAGE)
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
        .join(t.listing, parts.same(t.publication_entry.c.listing_id, t.listing, t.publication_entry))
        .join(t.connection, parts.same(t.listing.c.connection_id, t.connection, t.listing))
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
    connection: Connection,
    merchant_id: UUID,
    sku_id: UUID,
    *,
    before: tuple[datetime, UUID] | None = None,
    limit: int = parts.PAGE,
) -> list[EntryView]:
    """The ledger of a SKU, the newest entry first; ``before`` is (at, id) of the last one shown."""
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
        .join(t.location, parts.same(entry.location_id, t.location, t.stock_entry))
        .outerjoin(t.sales_order, parts.same(entry.order_id, t.sales_order, t.stock_entry))
        .where(entry.merchant_id == merchant_id, entry.sku_id == sku_id)
        .order_by(entry.at.desc(), entry.id.desc())
        .limit(limit)
    )
    if before is not None:
        at, last = before
        query = query.where(entry.at <= at, or_(entry.at < at, entry.id < last))
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
            func.coalesce(parts.is_dirty(), false()),
            publication.dirty_since,
            func.coalesce(publication.error, ""),
            publication.cause,
        )
        .join(t.sku, parts.same(listing.sku_id, t.sku, t.listing))
        .join(t.connection, parts.same(listing.connection_id, t.connection, t.listing))
        .outerjoin(
            t.channel_location,
            and_(
                place.merchant_id == listing.merchant_id,
                place.connection_id == listing.connection_id,
                place.location_id.is_not(None),
            ),
        )
        .outerjoin(t.stock_level, parts.level_of(listing.sku_id, place.location_id))
        .outerjoin(t.publication, parts.publication_of(place.external_id))
        .where(listing.merchant_id == merchant_id, listing.sku_id.in_(sku_ids), t.connection.c.state != "removed")
        .order_by(t.connection.c.label, t.connection.c.id, listing.title, listing.id, place.name)
    )
    shown: dict[UUID, list[Figure]] = defaultdict(list)
    for row in rows:
        shown[row[0]].append(Figure(*row))
    return shown
