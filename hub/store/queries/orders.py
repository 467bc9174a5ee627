"""Orders: the list, and one order in full."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, case, exists, false, func, literal_column, or_, select

from hub.core.changes import Change
from hub.core.details import OrderDetails
from hub.core.model import Hold, HoldReason, LineQuantity, Money
from hub.core.plain import from_plain
from hub.store import channel_work
from hub.store import tables as t
from hub.store.queries import parts
from hub.store.queries.journal import ActivityView, activity

# Held by the hub, or by a person: what the channel itself says is a column.
ON_HOLD = exists(
    select(literal_column("1"))
    .select_from(t.order_hold)
    .where(
        t.order_hold.c.merchant_id == t.sales_order.c.merchant_id,
        t.order_hold.c.order_id == t.sales_order.c.id,
        t.order_hold.c.released_at.is_(None),
    )
).correlate(t.sales_order)

# What a list can be narrowed to beside the status; each has an index of its own.
MARKS: Mapping[str, ColumnElement[bool]] = {
    "on_hold": or_(t.sales_order.c.on_hold, ON_HOLD),
    "risky": t.sales_order.c.risk_level.in_([literal_column("'medium'"), literal_column("'high'")]),
    "returns": t.sales_order.c.returns_open,
    "by_channel": t.sales_order.c.shipped_by_channel,
    "test": t.sales_order.c.test,
}


@dataclass(frozen=True, slots=True)
class OrderFilter:
    """Which orders a list shows; every part may be empty."""

    status: str = ""
    connection_id: UUID | None = None
    text: str = ""
    waiting: bool = False  # only orders with a line on backorder
    marked: str = ""  # only orders that are: one of MARKS


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
    shipped_by_channel: bool
    source: str
    on_hold: bool
    risk_level: str
    returns_open: bool
    placed_at: datetime
    customer_name: str
    email: str
    total: Money | None
    units: int
    allocated: int
    backordered: int
    unmatched: int


@dataclass(frozen=True, slots=True)
class PartView:
    """One part of the kit that a line sells; ``waiting`` says that there was not enough of it."""

    sku_id: UUID
    sku_code: str
    quantity: int
    waiting: bool


@dataclass(frozen=True, slots=True)
class AllocationView:
    """What a line holds of one SKU at one location."""

    sku_id: UUID
    sku_code: str
    location_name: str
    units: int


@dataclass(frozen=True, slots=True)
class LineView:
    """One line of an order, with what holds stock for it."""

    id: UUID
    external_id: str
    kind: str
    attributes: Mapping[str, str]
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
    parts: tuple[PartView, ...]  # of a line that sells a kit, as it was made when the order came in
    allocations: tuple[AllocationView, ...]
    allocated: int  # units of the line
    backordered: int  # units of the line
    counted: bool

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
    lines: tuple[LineQuantity, ...]


@dataclass(frozen=True, slots=True)
class VersionView:
    """One edit at the channel, and what it changed."""

    revision: int
    version: datetime
    received_at: datetime
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class WishView:
    """Something a person wished of a part of the order that the channel does not show yet (store.channel_work).

    ``state`` is that of its effect; "succeeded" while the order has not been fetched again since.
    """

    effect_id: UUID
    kind: str
    work_external_id: str
    state: str
    error: str
    created_at: datetime


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
    connection_state: str
    connector: str
    external_id: str
    number: str
    status: str
    channel_status: str
    test: bool
    whole: bool
    holds_stock: bool
    shipped_by_channel: bool
    version: datetime | None
    revision: int
    placed_at: datetime | None
    imported_at: datetime
    updated_at: datetime
    taxes_included: bool
    tax: Money | None
    customer_name: str
    email: str
    note: str
    paid: bool
    promised_at: datetime | None
    source: str
    shipping_method: str
    on_hold: bool
    tags: tuple[str, ...]
    details: OrderDetails
    presentment_total: Money | None
    shipping_address: Mapping[str, Any]
    billing_address: Mapping[str, Any]
    total: Money | None
    parts: tuple[tuple[str, Money], ...]  # what adds up to the total, by name
    lines: tuple[LineView, ...]
    refunds: tuple[RefundView, ...]
    versions: tuple[VersionView, ...]  # the newest first
    wishes: tuple[WishView, ...]
    places: Mapping[str, str]  # the channel's active locations: their names by its own ids
    timeline: tuple[ActivityView, ...]
    records: tuple[RecordView, ...]

    @property
    def titles(self) -> Mapping[str, str]:
        """What the lines are called, by the channel's ids of them."""
        return {line.external_id: line.title for line in self.lines}

    @property
    def holds(self) -> list[Hold]:
        """Those of the whole order and of its parts. One hold on several parts is one.

        That the customer asks to cancel is a hold of the hub's own as well, which a person can take off.
        """
        asked = () if self.shipped_by_channel else (HoldReason.CANCELLATION,)
        every = [
            *(each for each in self.details.holds if each.reason not in asked),
            *(hold for work in self.details.work for hold in work.holds),
        ]
        return list({each.external_id: each for each in every}.values())


def orders(
    connection: Connection,
    merchant_id: UUID,
    wanted: OrderFilter,
    *,
    before: tuple[datetime, UUID] | None = None,
    limit: int = parts.PAGE,
) -> list[OrderSummary]:
    """Orders, the newest first; ``before`` is (placed_at, id) of the last one shown."""
    order = t.sales_order.c
    query = (
        select(t.sales_order, t.connection.c.label, t.connection.c.connector, ON_HOLD.label("held_here"))
        .join(t.connection, parts.same(order.connection_id, t.connection, t.sales_order))
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
                .join(t.order_line, parts.same(t.backorder.c.order_line_id, t.order_line, t.backorder))
                .where(t.backorder.c.merchant_id == order.merchant_id, t.order_line.c.order_id == order.id)
            )
        )
    if wanted.marked:
        query = query.where(MARKS[wanted.marked])
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
            shipped_by_channel=row.shipped_by_channel,
            source=row.source,
            on_hold=row.on_hold or row.held_here,
            risk_level=row.risk_level,
            returns_open=row.returns_open,
            placed_at=row.placed_at,
            customer_name=row.customer_name,
            email=row.email,
            total=parts.money(row.total_minor, row.currency),
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
        parts.contains(order.number, text),
        parts.contains(order.customer_name, text),
        parts.contains(order.email, text),
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
    held = _held_units()
    awaited = _awaited_units()
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


def _held_units() -> Any:
    """Units of a line that are allocated: of a kit, as many as all its parts are held for."""
    held, part = t.allocation.c, t.order_line_part.c
    units = _of_line(t.allocation, func.coalesce(func.sum(held.quantity), 0))
    in_one = _of_line(t.order_line_part, func.coalesce(func.sum(part.quantity), 1))
    return units // in_one


def _awaited_units() -> Any:
    """Units of a line that wait: a kit stands in the queue of each of its parts, with as many units of the line."""
    return _of_line(t.backorder, func.coalesce(func.max(t.backorder.c.quantity), 0))


def _of_line(table: Any, value: Any) -> Any:
    return (
        select(value)
        .where(table.c.merchant_id == t.order_line.c.merchant_id, table.c.order_line_id == t.order_line.c.id)
        .correlate(t.order_line)
        .scalar_subquery()
    )


def order(connection: Connection, merchant_id: UUID, order_id: UUID) -> OrderView | None:
    """One order with its lines, money, refunds, timeline and the records it was read from."""
    row = connection.execute(
        select(
            t.sales_order,
            t.connection.c.label,
            t.connection.c.connector,
            t.connection.c.state.label("connection_state"),
        )
        .join(t.connection, parts.same(t.sales_order.c.connection_id, t.connection, t.sales_order))
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
        .limit(parts.PAGE)
    )
    return OrderView(
        id=row.id,
        connection_id=row.connection_id,
        connection_label=row.label,
        connection_state=row.connection_state,
        connector=row.connector,
        external_id=row.external_id,
        number=row.number,
        status=row.status,
        channel_status=row.channel_status,
        test=row.test,
        whole=row.whole,
        holds_stock=row.holds_stock,
        shipped_by_channel=row.shipped_by_channel,
        version=row.version,
        revision=row.revision,
        placed_at=row.placed_at,
        imported_at=row.imported_at,
        updated_at=row.updated_at,
        taxes_included=row.taxes_included,
        tax=parts.money(row.tax_minor, row.currency),
        customer_name=row.customer_name,
        email=row.email,
        note=row.note,
        paid=row.paid,
        promised_at=row.promised_at,
        source=row.source,
        shipping_method=row.shipping_method,
        on_hold=row.on_hold,
        tags=tuple(row.tags),
        details=from_plain(OrderDetails, row.details),
        presentment_total=parts.money(row.presentment_minor or 0, row.presentment_currency),
        shipping_address=row.shipping_address,
        billing_address=row.billing_address,
        total=parts.money(row.total_minor, row.currency),
        parts=_money_parts(row),
        lines=_order_lines(connection, merchant_id, row),
        refunds=tuple(
            RefundView(
                each.external_id,
                parts.money(each.amount_minor, row.currency),
                each.reason,
                each.refunded_at,
                tuple(from_plain(LineQuantity, line) for line in each.lines),
            )
            for each in refunds
        ),
        versions=_versions(connection, merchant_id, order_id),
        wishes=_wishes(connection, merchant_id, row),
        places=_places(connection, merchant_id, row.connection_id),
        timeline=tuple(activity(connection, merchant_id, order_id=order_id, limit=200)),
        records=tuple(RecordView(*each) for each in records),
    )


def _versions(connection: Connection, merchant_id: UUID, order_id: UUID) -> tuple[VersionView, ...]:
    edit = t.order_version.c
    rows = connection.execute(
        select(t.order_version)
        .where(edit.merchant_id == merchant_id, edit.order_id == order_id)
        .order_by(edit.revision.desc())
        .limit(parts.PAGE)
    )
    return tuple(
        VersionView(
            row.revision, row.version, row.received_at, tuple(Change.from_plain(change) for change in row.changes)
        )
        for row in rows
    )


def _wishes(connection: Connection, merchant_id: UUID, order: parts.AnyRow) -> tuple[WishView, ...]:
    effect, fetch = t.effect.c, t.fetch_request.c
    to_be_fetched = exists().where(
        fetch.merchant_id == merchant_id,
        fetch.connection_id == order.connection_id,
        fetch.kind == "order",
        fetch.external_id == order.external_id,
    )
    rows = connection.execute(
        select(t.effect)
        .where(
            effect.merchant_id == merchant_id,
            effect.order_id == order.id,
            effect.kind.in_(channel_work.KINDS),
            or_(
                effect.state.in_(("planned", "in_flight", "failed", "unknown")),
                and_(effect.state == "succeeded", effect.finished_at > order.received_at, to_be_fetched),
            ),
        )
        .order_by(effect.created_at, effect.id)
    )
    return tuple(
        WishView(row.id, row.kind, row.request.get("work_external_id", ""), row.state, row.error, row.created_at)
        for row in rows
    )


def _places(connection: Connection, merchant_id: UUID, connection_id: UUID) -> dict[str, str]:
    place = t.channel_location.c
    rows = connection.execute(
        select(place.external_id, place.name)
        .where(place.merchant_id == merchant_id, place.connection_id == connection_id, place.active)
        .order_by(place.name, place.external_id)
    )
    return {row.external_id: row.name for row in rows}


def _money_parts(row: parts.AnyRow) -> tuple[tuple[str, Money], ...]:
    if not row.currency:
        return ()
    named = [
        ("Items", row.lines_minor, True),
        ("Shipping", row.shipping_minor, True),
        ("Fees", row.fees_minor, False),
        ("Discount", -row.discount_minor, False),
        ("Tax", 0 if row.taxes_included else row.tax_minor, not row.taxes_included),
        ("Rounding", row.rounding_minor, False),
    ]
    return tuple((name, Money.from_minor(minor, row.currency)) for name, minor, always in named if always or minor)


def _order_lines(connection: Connection, merchant_id: UUID, order: parts.AnyRow) -> tuple[LineView, ...]:
    line = t.order_line.c
    rows = connection.execute(
        select(
            t.order_line,
            func.coalesce(t.sku.c.code, "").label("sku_code"),
            t.listing.c.id.label("listing_id"),
            _awaited_units().label("backordered"),
            _held_units().label("allocated"),
            t.sku.c.counted_since.is_not(None).label("counted"),
        )
        .outerjoin(t.sku, parts.same(line.sku_id, t.sku, t.order_line))
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
    part, waits = t.order_line_part.c, t.backorder.c
    held: dict[UUID, list[AllocationView]] = defaultdict(list)
    for line_id, *values in connection.execute(
        select(t.allocation.c.order_line_id, t.sku.c.id, t.sku.c.code, t.location.c.name, t.allocation.c.quantity)
        .join(t.location, parts.same(t.allocation.c.location_id, t.location, t.allocation))
        .join(t.sku, parts.same(t.allocation.c.sku_id, t.sku, t.allocation))
        .join(t.order_line, parts.same(t.allocation.c.order_line_id, t.order_line, t.allocation))
        .where(t.allocation.c.merchant_id == merchant_id, line.order_id == order.id)
        .order_by(t.sku.c.code, t.location.c.name)
    ):
        held[line_id].append(AllocationView(*values))
    made_of: dict[UUID, list[PartView]] = defaultdict(list)
    for line_id, *values in connection.execute(
        select(part.order_line_id, t.sku.c.id, t.sku.c.code, part.quantity, func.coalesce(waits.missing, false()))
        .join(t.sku, parts.same(part.sku_id, t.sku, t.order_line_part))
        .join(t.order_line, parts.same(part.order_line_id, t.order_line, t.order_line_part))
        .outerjoin(
            t.backorder,
            and_(
                waits.merchant_id == part.merchant_id,
                waits.order_line_id == part.order_line_id,
                waits.sku_id == part.sku_id,
            ),
        )
        .where(part.merchant_id == merchant_id, line.order_id == order.id)
        .order_by(t.sku.c.code)
    ):
        made_of[line_id].append(PartView(*values))
    return tuple(
        LineView(
            id=row.id,
            external_id=row.external_id,
            kind=row.kind,
            attributes=row.attributes,
            sku_id=row.sku_id,
            sku_code=row.sku_code,
            sku_text=row.sku_text,
            title=row.title,
            quantity=row.quantity,
            fulfilled=row.fulfilled,
            removed=row.removed,
            unit_price=Money.of(row.unit_price, order.currency) if order.currency else None,
            total=parts.money(row.total_minor, order.currency),
            tax=parts.money(row.tax_minor, order.currency),
            requires_shipping=row.requires_shipping,
            present=row.present,
            listing_id=row.listing_id,
            listing_external_id=row.listing_external_id,
            parts=tuple(made_of[row.id]),
            allocations=tuple(held[row.id]),
            allocated=int(row.allocated),
            backordered=int(row.backordered),
            counted=bool(row.counted),
        )
        for row in rows
    )
