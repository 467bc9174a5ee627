"""A 3PL at a glance: what is with it, what it has against what we think it has, what it calls our SKUs, how it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import SequenceMatcher
from statistics import median
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, and_, func, or_, select, type_coerce

from hub.store import tables as t
from hub.store.fulfillment import ELSEWHERE, State
from hub.store.providers import ON_HOLD
from hub.store.queries import parts

MOST = 200  # rows of each list
PERIOD = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class WithIt:
    """A fulfillment order that a 3PL has in hand, or has rejected lately."""

    id: UUID
    order_id: UUID
    order_number: str
    reference: str
    external_id: str
    place: str
    state: str
    cancel_state: str
    message: str
    units: int
    shipped: int
    requested_at: datetime | None
    accepted_at: datetime | None
    ship_by: datetime | None
    on_hold: bool

    def is_late(self, now: datetime) -> bool:
        """Whether it should have left by now."""
        return self.ship_by is not None and self.ship_by < now and self.state != State.REJECTED


@dataclass(frozen=True, slots=True)
class Compared:
    """What a 3PL says of an item at one of its places, beside what the hub makes of it.

    ``inbound`` units are on their way there, ``promised`` are those of ``on_hand`` that are for others; None: it does
    not say.
    ``difference`` are units that the hub has more, or fewer, than the last count and what happened since add up to.
    """

    place: str
    name: str
    sku_id: UUID | None
    sku_code: str
    on_hand: int
    available: int
    inbound: int | None
    promised: int | None
    counted_at: datetime
    ours: int | None
    reserved: int
    set_aside: int
    difference: int
    lots: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Item:
    """What a 3PL calls a SKU; ``suggested`` is the code that it could be, where nobody has said."""

    name: str
    item_external_id: str
    sku_id: UUID | None
    sku_code: str
    matched_by: str
    suggested: str = ""


@dataclass(frozen=True, slots=True)
class Scorecard:
    """How a 3PL did over the last PERIOD, of what was asked of it then. Durations are medians, None where there are
    none."""

    asked: int
    shipped: int
    rejected: int
    late: int
    accepted_in: timedelta | None
    shipped_in: timedelta | None


def with_it(connection: Connection, merchant_id: UUID, connection_id: UUID, now: datetime) -> list[WithIt]:
    """What a 3PL has in hand, the most urgent first, and what it has rejected in the last PERIOD."""
    work, order, place, line, issue = (
        each.c for each in (t.fulfillment_order, t.sales_order, t.location, t.fulfillment_line, t.issue)
    )
    units = (
        select(
            line.fulfillment_order_id,
            func.sum(line.quantity).label("units"),
            func.sum(line.shipped).label("shipped"),
        )
        .where(line.merchant_id == merchant_id)
        .group_by(line.fulfillment_order_id)
        .subquery()
    )
    rows = connection.execute(
        select(
            t.fulfillment_order,
            order.number.label("order_number"),
            place.name.label("place"),
            units.c.units,
            units.c.shipped,
        )
        .select_from(
            t.fulfillment_order.join(
                t.sales_order, (order.merchant_id == work.merchant_id) & (order.id == work.order_id)
            )
            .join(t.location, (place.merchant_id == work.merchant_id) & (place.id == work.location_id))
            .join(units, units.c.fulfillment_order_id == work.id)
        )
        .where(
            work.merchant_id == merchant_id,
            work.connection_id == connection_id,
            or_(
                and_(work.closed_at.is_(None), work.state.in_([each.value for each in ELSEWHERE])),
                and_(work.state == State.REJECTED.value, work.updated_at > now - PERIOD),
            ),
        )
        .order_by(work.closed_at.is_not(None), work.ship_by, work.priority, work.created_at)
        .limit(MOST)
    ).all()
    held = set(
        connection.execute(
            select(issue.subject).where(
                issue.merchant_id == merchant_id, issue.kind == ON_HOLD, issue.resolved_at.is_(None)
            )
        ).scalars()
    )
    return [
        WithIt(
            row.id,
            row.order_id,
            row.order_number,
            row.reference,
            row.external_id,
            row.place,
            row.state,
            row.cancel_state,
            row.message,
            int(row.units),
            int(row.shipped),
            row.requested_at,
            row.accepted_at,
            row.ship_by,
            str(row.id) in held,
        )
        for row in rows
    ]


def compared(connection: Connection, merchant_id: UUID, connection_id: UUID) -> list[Compared]:
    """What the 3PL has of each item, theirs and ours, what differs first."""
    told, item, place, level, sku, entry = (
        each.c for each in (t.provider_stock, t.provider_item, t.channel_location, t.stock_level, t.sku, t.stock_entry)
    )
    moment = type_coerce(func.coalesce(entry.happened_at, entry.at), t.Moment())
    since = (
        select(func.coalesce(func.sum(entry.on_hand_delta), 0))
        .where(
            entry.merchant_id == told.merchant_id,
            entry.sku_id == item.sku_id,
            entry.location_id == place.location_id,
            moment > told.counted_at,
        )
        .scalar_subquery()
    )
    rows = connection.execute(
        select(
            t.provider_stock,
            place.name.label("place"),
            item.sku_id,
            sku.code,
            level.on_hand.label("ours"),
            level.allocated,
            level.quarantined,
            level.damaged,
            since.label("since"),
        )
        .select_from(
            parts.SAID_BY_3PLS.outerjoin(t.sku, parts.same(item.sku_id, t.sku, t.provider_item)).outerjoin(
                t.stock_level,
                (level.merchant_id == item.merchant_id)
                & (level.sku_id == item.sku_id)
                & (level.location_id == place.location_id),
            )
        )
        .where(told.merchant_id == merchant_id, told.connection_id == connection_id)
        .order_by(place.name, told.name)
        .limit(5 * MOST)
    ).all()
    found = [
        Compared(
            row.place,
            row.name,
            row.sku_id,
            row.code or "",
            row.on_hand,
            row.available,
            row.inbound,
            row.reserved,
            row.counted_at,
            row.ours,
            row.allocated or 0,
            (row.quarantined or 0) + (row.damaged or 0),
            0 if row.ours is None else row.ours - row.on_hand - int(row.since),
            row.lots,
        )
        for row in rows
    ]
    return sorted(found, key=lambda each: (not each.difference, each.sku_id is not None))


def items(connection: Connection, merchant_id: UUID, connection_id: UUID) -> list[Item]:
    """What the 3PL calls our SKUs: what nobody has matched yet first, with what it could be."""
    item, sku = t.provider_item.c, t.sku.c
    rows = connection.execute(
        select(t.provider_item, sku.code)
        .select_from(t.provider_item.outerjoin(t.sku, (sku.merchant_id == item.merchant_id) & (sku.id == item.sku_id)))
        .where(item.merchant_id == merchant_id, item.connection_id == connection_id)
        .order_by(item.sku_id.is_not(None), item.matched_by != "", item.name)
        .limit(5 * MOST)
    ).all()
    taken = {row.sku_id for row in rows if row.sku_id is not None}
    free: list[str] = []
    if any(row.sku_id is None and not row.matched_by for row in rows):
        codes = select(sku.code, sku.id).where(sku.merchant_id == merchant_id, sku.kit.is_(False)).order_by(sku.code)
        free = [each.code for each in connection.execute(codes.limit(20 * MOST)) if each.id not in taken]
    return [
        Item(
            row.name,
            row.item_external_id,
            row.sku_id,
            row.code or "",
            row.matched_by,
            "" if row.sku_id is not None or row.matched_by else _likest(row.name, free),
        )
        for row in rows
    ]


def _likest(name: str, codes: Sequence[str]) -> str:
    """The code that reads the most like ``name``, "" where none does."""
    low = name.lower()
    best = max(codes, key=lambda code: (SequenceMatcher(None, low, code.lower()).ratio(), code), default="")
    return best if best and SequenceMatcher(None, low, best.lower()).ratio() >= 0.6 else ""


def scorecard(connection: Connection, merchant_id: UUID, connection_id: UUID, now: datetime) -> Scorecard:
    """How the 3PL did lately, from what is stored."""
    work = t.fulfillment_order.c
    rows = connection.execute(
        select(work.state, work.requested_at, work.accepted_at, work.shipped_at, work.ship_by, work.closed_at).where(
            work.merchant_id == merchant_id, work.connection_id == connection_id, work.requested_at > now - PERIOD
        )
    ).all()
    accepted = [row.accepted_at - row.requested_at for row in rows if row.accepted_at is not None]
    shipped = [row.shipped_at - row.requested_at for row in rows if row.shipped_at is not None]
    late = [
        row
        for row in rows
        if row.ship_by is not None
        and row.ship_by < (row.shipped_at or now)
        and (row.shipped_at is not None or row.closed_at is None)
    ]
    return Scorecard(
        asked=len(rows),
        shipped=len(shipped),
        rejected=sum(row.state == State.REJECTED for row in rows),
        late=len(late),
        accepted_in=_median(accepted),
        shipped_in=_median(shipped),
    )


def _median(durations: Sequence[timedelta]) -> timedelta | None:
    if not durations:
        return None
    return timedelta(seconds=median(each.total_seconds() for each in durations))
