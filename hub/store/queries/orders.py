"""Orders: the list, and one order in full."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    case,
    exists,
    false,
    func,
    literal_column,
    null,
    or_,
    select,
    union_all,
)

from hub.core.details import OrderDetails
from hub.core.model import Hold, HoldReason, LineQuantity, Money
from hub.core.plain import from_plain
from hub.store import calling_off, channel_work, searching, telling_again
from hub.store import tables as t
from hub.store.database import among
from hub.store.queries import parts
from hub.store.searching import Mark
from hub.store.telling_again import Told

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

# Where a refund was asked for here, its reason ends in the reference by which it is found (store.calling_off).
_OUR_REFERENCE = re.compile(r"\s*\[[0-9a-f]{32}\]$")

SOON = timedelta(hours=4)  # what has to leave within that is due
SILENT = timedelta(hours=24)  # after that a 3PL should have said something about what it was asked for


def _moment(ahead: timedelta = timedelta()) -> ColumnElement[datetime]:
    """So long from the moment at which the statement is run."""
    return bindparam(None, callable_=lambda: datetime.now(UTC) + ahead, type_=t.Moment())


def _asked(merchant_id: UUID, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """A part of the order, given to a location, is so: as a small set that has an index of its own."""
    work = t.fulfillment_order.c
    return t.sales_order.c.id.in_(
        select(work.order_id).where(work.merchant_id == merchant_id, work.closed_at.is_(None), *conditions)
    )


def _late(merchant_id: UUID) -> ColumnElement[bool]:
    return _asked(merchant_id, t.fulfillment_order.c.ship_by < _moment())


def _due(merchant_id: UUID) -> ColumnElement[bool]:
    ship_by = t.fulfillment_order.c.ship_by
    return _asked(merchant_id, ship_by >= _moment(), ship_by < _moment(SOON))


def _unanswered(merchant_id: UUID) -> ColumnElement[bool]:
    work = t.fulfillment_order.c
    return _asked(merchant_id, work.state == literal_column("'requested'"), work.requested_at < _moment(-SILENT))


def _overdue(_: UUID) -> ColumnElement[bool]:
    order = t.sales_order.c
    still = order.status.in_([literal_column("'pending'"), literal_column("'open'")])
    return and_(still, order.promised_at < _moment())


def _on_hold(merchant_id: UUID) -> ColumnElement[bool]:
    """The same for a list: as two small sets, instead of a question about every order."""
    order, held = t.sales_order.alias().c, t.order_hold.c
    return t.sales_order.c.id.in_(
        union_all(
            select(order.id).where(order.merchant_id == merchant_id, order.on_hold),
            select(held.order_id).where(held.merchant_id == merchant_id, held.released_at.is_(None)),
        )
    )


# What a list of a merchant's orders can be narrowed to beside the status; each has an index of its own.
MARKS: Mapping[str, Callable[[UUID], ColumnElement[bool]]] = {
    "on_hold": _on_hold,
    "risky": lambda _: t.sales_order.c.risk_level.in_([literal_column("'medium'"), literal_column("'high'")]),
    "returns": lambda _: t.sales_order.c.returns_open,
    "by_channel": lambda _: t.sales_order.c.shipped_by_channel,
    "test": lambda _: t.sales_order.c.test,
    "late": _late,
    "due": _due,
    "overdue": _overdue,
    "unanswered": _unanswered,
}


@dataclass(frozen=True, slots=True)
class OrderFilter:
    """Which orders a list shows; every part may be empty, and an order has to meet all that are not."""

    status: str = ""
    connection_id: UUID | None = None
    text: str = ""
    waiting: bool = False  # only orders with a line on backorder
    marked: str = ""  # only orders that are: one of MARKS
    tag: str = ""  # only orders with this tag, of the channel's or our own
    placed_from: datetime | None = None
    placed_to: datetime | None = None  # up to, and without, this moment
    country: str = ""  # ISO code of where they go
    paid: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
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
    paid: bool
    tags: tuple[str, ...]  # the channel's, then our own
    country: str  # ISO code of where it goes
    shipping_method: str
    promised_at: datetime | None
    priority: int  # the smaller the sooner
    ship_by: datetime | None  # of what is still to be shipped of it
    locations: tuple[str, ...]  # that ship it
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
    image_url: str  # at the shop
    picture: str  # where our pages find it, or one of its SKU
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
class WishView:
    """Something a person wished of the order or a part of it that the channel does not show yet.

    ``state`` is that of its effect; "succeeded" while the order has not been fetched again since.
    """

    effect_id: UUID
    kind: str
    work_external_id: str
    state: str
    error: str
    created_at: datetime


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
    own_tags: tuple[str, ...]
    priority: int
    collect_at: UUID | None
    due_at: datetime | None  # when it is dealt out to locations next
    ship_to: Mapping[str, Any]
    channel_address: Mapping[str, Any] | None  # where ``ship_to`` is our correction of it
    details: OrderDetails
    presentment_total: Money | None
    shipping_address: Mapping[str, Any]
    billing_address: Mapping[str, Any]
    total: Money | None
    parts: tuple[tuple[str, Money], ...]  # what adds up to the total, by name
    lines: tuple[LineView, ...]
    refunds: tuple[RefundView, ...]
    wishes: tuple[WishView, ...]
    told: tuple[Told, ...]  # the shipments that the channel knows of, and can be told of again

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
    before: Mark | None = None,
    limit: int = parts.PAGE,
) -> list[OrderSummary]:
    """Orders, the newest first; ``before`` is (placed_at, id) of the last one shown."""
    marks = _marks(connection, merchant_id, wanted, before, limit)
    return summaries(connection, merchant_id, [order_id for _, order_id in marks])


def page(
    connection: Connection,
    merchant_id: UUID,
    wanted: OrderFilter,
    *,
    before: Mark | None = None,
    limit: int,
    most: int,
) -> tuple[list[OrderSummary], int]:
    """One page of ``orders``, and how many fit on all of them: ``most`` where there are as many or more.

    Both come of one reading of the newest ``most``, but for a page that lies behind them.
    """
    first = _marks(connection, merchant_id, wanted, None, most)
    shown = [each for each in first if before is None or each < before][:limit]
    if len(shown) < limit and len(first) == most:
        shown = _marks(connection, merchant_id, wanted, before, limit)
    return summaries(connection, merchant_id, [order_id for _, order_id in shown]), len(first)


def summaries(connection: Connection, merchant_id: UUID, ids: Sequence[UUID]) -> list[OrderSummary]:
    """These orders as the list shows them, the newest first."""
    order = t.sales_order.c
    rows = connection.execute(
        select(
            *(order[name] for name in _SHOWN),
            t.SHIP_TO.label("ship_to"),
            ON_HOLD.label("held_here"),
            t.connection.c.label,
            t.connection.c.connector,
        )
        .join(t.connection, parts.same(order.connection_id, t.connection, t.sales_order))
        .where(order.merchant_id == merchant_id, among(connection, order.id, ids))
        .order_by(order.placed_at.desc(), order.id.desc())
    ).all()
    tally = _line_tally(connection, merchant_id, ids)
    shipping = _shipping(connection, merchant_id, ids)
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
            paid=row.paid,
            tags=tuple(dict.fromkeys([*row.tags, *row.own_tags])),
            country=row.ship_to.get("country", ""),
            shipping_method=row.shipping_method,
            promised_at=row.promised_at,
            priority=row.priority,
            ship_by=min((each for _, each in shipping[row.id] if each is not None), default=None),
            locations=tuple(dict.fromkeys(name for name, _ in shipping[row.id])),
            total=parts.amount_of(row, row.total_minor),
            units=tally[row.id][0],
            allocated=tally[row.id][1],
            backordered=tally[row.id][2],
            unmatched=tally[row.id][3],
        )
        for row in rows
    ]


_SHOWN = (
    "id",
    "connection_id",
    "number",
    "status",
    "channel_status",
    "test",
    "shipped_by_channel",
    "source",
    "on_hold",
    "risk_level",
    "returns_open",
    "placed_at",
    "customer_name",
    "email",
    "paid",
    "tags",
    "own_tags",
    "shipping_method",
    "promised_at",
    "priority",
    "total_minor",
    "priced",
    "currency",
)


def order_ids(connection: Connection, merchant_id: UUID, wanted: OrderFilter, limit: int) -> list[UUID]:
    """The newest ``limit`` orders that fit: what a bulk act is about."""
    return [order_id for _, order_id in _marks(connection, merchant_id, wanted, None, limit)]


def _marks(
    connection: Connection, merchant_id: UUID, wanted: OrderFilter, before: Mark | None, limit: int
) -> list[Mark]:
    words = [searching.tag_word(wanted.tag)] if wanted.tag else []
    if wanted.country:
        words.append(searching.country_word(wanted.country))
    search = searching.Search(
        beginnings=searching.typed_words(wanted.text),
        words=words,
        conditions=_conditions(merchant_id, wanted),
        since=wanted.placed_from,
        until=wanted.placed_to,
    )
    return searching.newest(connection, merchant_id, search, before=before, limit=limit)


def _conditions(merchant_id: UUID, wanted: OrderFilter) -> list[ColumnElement[bool]]:
    order = t.sales_order.c
    found: list[ColumnElement[bool]] = []
    if wanted.status:
        found.append(order.status == wanted.status)
    if wanted.connection_id is not None:
        found.append(order.connection_id == wanted.connection_id)
    if wanted.paid is not None:
        found.append(order.paid if wanted.paid else ~order.paid)  # as the index of what is unpaid says it
    if wanted.waiting:
        waits, line = t.backorder.c, t.order_line.c
        found.append(
            order.id.in_(
                select(line.order_id)
                .join(t.backorder, parts.same(waits.order_line_id, t.order_line, t.backorder))
                .where(waits.merchant_id == merchant_id)
            )
        )
    if wanted.marked:
        found.append(MARKS[wanted.marked](merchant_id))
    return found


def _shipping(
    connection: Connection, merchant_id: UUID, order_ids: Sequence[UUID]
) -> Mapping[UUID, list[tuple[str, datetime | None]]]:
    """Per order: where each part of it is shipped from, and by when what has not left yet must."""
    work, place = t.fulfillment_order.c, t.location.c
    found: dict[UUID, list[tuple[str, datetime | None]]] = defaultdict(list)
    for row in connection.execute(
        select(work.order_id, place.name, case((work.closed_at.is_(None), work.ship_by)).label("ship_by"))
        .join(t.location, parts.same(work.location_id, t.location, t.fulfillment_order))
        .where(
            work.merchant_id == merchant_id,
            among(connection, work.order_id, order_ids),
            work.state.not_in(("rejected", "cancelled")),
        )
        .order_by(work.order_id, work.number)
    ):
        found[row.order_id].append((row.name, row.ship_by))
    return found


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
        .where(line.merchant_id == merchant_id, among(connection, line.order_id, order_ids), line.present.is_(True))
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
    """One order with its lines, money, refunds, and what its channel was asked."""
    row = connection.execute(
        select(
            t.sales_order,
            t.connection.c.label,
            t.connection.c.connector,
            t.connection.c.state.label("connection_state"),
            _due_at().label("due_at"),
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
    wishes, told = _asked_of_channel(connection, merchant_id, row)
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
        tax=parts.amount_of(row, row.tax_minor),
        customer_name=row.customer_name,
        email=row.email,
        note=row.note,
        paid=row.paid,
        promised_at=row.promised_at,
        source=row.source,
        shipping_method=row.shipping_method,
        on_hold=row.on_hold,
        tags=tuple(row.tags),
        own_tags=tuple(row.own_tags),
        priority=row.priority,
        collect_at=row.collect_at,
        due_at=row.due_at,
        ship_to=row.own_address or row.shipping_address,
        channel_address=row.shipping_address if row.own_address else None,
        details=from_plain(OrderDetails, row.details),
        presentment_total=parts.money(row.presentment_minor or 0, row.presentment_currency),
        shipping_address=row.shipping_address,
        billing_address=row.billing_address,
        total=parts.amount_of(row, row.total_minor),
        parts=_money_parts(row),
        lines=_order_lines(connection, merchant_id, row),
        refunds=tuple(
            RefundView(
                each.external_id,
                parts.money(each.amount_minor, row.currency),
                _OUR_REFERENCE.sub("", each.reason),
                each.refunded_at,
                tuple(from_plain(LineQuantity, line) for line in each.lines),
            )
            for each in refunds
        ),
        wishes=wishes,
        told=told,
    )


def _due_at() -> Any:
    mark, order = t.routing_mark.c, t.sales_order.c
    return (
        select(func.min(mark.due_at))
        .where(mark.merchant_id == order.merchant_id, mark.order_id == order.id)
        .correlate(t.sales_order)
        .scalar_subquery()
    )


@dataclass(frozen=True, slots=True)
class OrderHead:
    """As much of an order as an act about it needs to know."""

    id: UUID
    number: str
    external_id: str
    connection_id: UUID
    connection_label: str
    connection_state: str
    connector: str


def head(connection: Connection, merchant_id: UUID, order_id: UUID) -> OrderHead | None:
    """The head of an order, None if there is none."""
    order, shop = t.sales_order.c, t.connection.c
    row = connection.execute(
        select(order.id, order.number, order.external_id, shop.id, shop.label, shop.state, shop.connector)
        .join(t.connection, parts.same(order.connection_id, t.connection, t.sales_order))
        .where(order.merchant_id == merchant_id, order.id == order_id)
    ).first()
    return None if row is None else OrderHead(*row)


def _asked_of_channel(
    connection: Connection, merchant_id: UUID, order: parts.AnyRow
) -> tuple[tuple[WishView, ...], tuple[Told, ...]]:
    """What its channel is asked for, and what it knows of its shipments."""
    effect, fetch = t.effect.c, t.fetch_request.c
    to_be_fetched = exists().where(
        fetch.merchant_id == merchant_id,
        fetch.connection_id == order.connection_id,
        fetch.kind == "order",
        fetch.external_id == order.external_id,
    )
    later = t.effect.alias("later").c
    tried_again = exists().where(
        later.merchant_id == effect.merchant_id,
        later.ordering_key == effect.ordering_key,
        later.kind == effect.kind,
        later.created_at == effect.created_at,
        later.generation > effect.generation,
    )
    waits = and_(
        ~tried_again,
        or_(
            effect.state.in_(("planned", "in_flight", "failed", "unknown")),
            and_(effect.state == "succeeded", effect.finished_at > order.received_at, to_be_fetched),
        ),
    )
    rows = connection.execute(
        select(t.effect, waits.label("waits"), telling_again.stands().label("stands"))
        .where(
            effect.merchant_id == merchant_id,
            effect.order_id == order.id,
            effect.kind.in_((telling_again.KIND, *channel_work.KINDS, *calling_off.KINDS)),
            or_(effect.kind == telling_again.KIND, waits),
        )
        .order_by(effect.created_at, effect.generation, effect.id)
    ).all()
    wishes = tuple(
        WishView(row.id, row.kind, row.request.get("work_external_id", ""), row.state, row.error, row.created_at)
        for row in rows
        if row.waits
    )
    return wishes, tuple(telling_again.gathered(row for row in rows if row.kind == telling_again.KIND))


def _money_parts(row: parts.AnyRow) -> tuple[tuple[str, Money], ...]:
    if not row.currency or not row.priced:
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
            func.coalesce(t.listing.c.image_url, "").label("image_url"),
            func.coalesce(func.nullif(parts.picture_of_listing(), ""), parts.picture_of_sku()).label("picture"),
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
    part, waits, kept = t.order_line_part.c, t.backorder.c, t.allocation.c
    of_this = (line.merchant_id == merchant_id, line.order_id == order.id)
    every = union_all(
        select(
            kept.order_line_id.label("line_id"),
            t.sku.c.id.label("sku_id"),
            t.sku.c.code.label("code"),
            t.location.c.name.label("place"),
            kept.quantity.label("quantity"),
            false().label("waiting"),
        )
        .join(t.location, parts.same(kept.location_id, t.location, t.allocation))
        .join(t.sku, parts.same(kept.sku_id, t.sku, t.allocation))
        .join(t.order_line, parts.same(kept.order_line_id, t.order_line, t.allocation))
        .where(*of_this),
        select(
            part.order_line_id, t.sku.c.id, t.sku.c.code, null(), part.quantity, func.coalesce(waits.missing, false())
        )
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
        .where(*of_this),
    ).subquery()
    held: dict[UUID, list[AllocationView]] = defaultdict(list)
    made_of: dict[UUID, list[PartView]] = defaultdict(list)
    for each in connection.execute(select(every).order_by(every.c.code, every.c.place)):
        if each.place is None:
            made_of[each.line_id].append(PartView(each.sku_id, each.code, each.quantity, each.waiting))
        else:
            held[each.line_id].append(AllocationView(each.sku_id, each.code, each.place, each.quantity))
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
            unit_price=parts.price_of(order, row.unit_price),
            total=parts.amount_of(order, row.total_minor),
            tax=parts.amount_of(order, row.tax_minor),
            requires_shipping=row.requires_shipping,
            present=row.present,
            listing_id=row.listing_id,
            listing_external_id=row.listing_external_id,
            image_url=row.image_url,
            picture=row.picture,
            parts=tuple(made_of[row.id]),
            allocations=tuple(held[row.id]),
            allocated=int(row.allocated),
            backordered=int(row.backordered),
            counted=bool(row.counted),
        )
        for row in rows
    )
