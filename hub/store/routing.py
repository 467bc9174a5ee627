"""Dealing orders out to locations: the policy, what a decision is made of, and writing it down, all in one commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, func, insert, select, update

from hub.core.geo import Point
from hub.core.model import Money, OrderStatus
from hub.core.plain import from_plain, to_plain
from hub.core.routing import Decision, Line, Place, Request, RoutingPolicy, decide
from hub.core.stock import StockBook
from hub.store import activity, fulfillment, providers, stock
from hub.store import tables as t
from hub.store.database import Database, for_update, new_id
from hub.store.fulfillment import Part, State

NOBODY = "nobody_can_ship"  # the kind of issue; the subject is the order's id

Lanes = list[tuple[UUID, str]]


# ---------------------------------------------------------------- the policy


def policy(connection: Connection, merchant_id: UUID) -> tuple[int, RoutingPolicy]:
    """The policy that holds, with its number; 0 is the one the hub comes with."""
    this = t.routing_policy.c
    row = connection.execute(
        select(this.number, this.rules).where(this.merchant_id == merchant_id).order_by(this.number.desc()).limit(1)
    ).one_or_none()
    return (0, RoutingPolicy()) if row is None else (row.number, from_plain(RoutingPolicy, row.rules))


def save(database: Database, merchant_id: UUID, rules: RoutingPolicy, note: str, actor: str) -> int:
    """Have this policy hold from now on; returns its number. Earlier ones stay, with the decisions made by them."""

    def work(connection: Connection) -> int:
        at = database.now(connection)
        last, _ = policy(connection, merchant_id)
        connection.execute(
            insert(t.routing_policy).values(
                merchant_id=merchant_id,
                number=last + 1,
                rules=to_plain(rules),
                note=note[:500],
                created_by=actor,
                created_at=at,
            )
        )
        said = f": {note}" if note else ""
        summary = f"Routing policy {last + 1} holds from now on{said}"
        activity.note(connection, merchant_id, "routing_changed", summary, at=at, actor=actor)
        return last + 1

    return database.transact(work)


# ---------------------------------------------------------------- one order


@dataclass(slots=True)
class _ToRoute:
    """An order line, and how many of its units are held and given to nobody yet; ``given`` by location."""

    row: Row[Any]
    parts: Mapping[UUID, int]
    held: int
    given: dict[UUID, int]

    @property
    def units(self) -> int:
        return self.held - sum(self.given.values())


def route(connection: Connection, merchant_id: UUID, order_id: UUID, *, at: datetime) -> Lanes:
    """Deal out what an order holds and no location was asked for yet, in the caller's transaction.

    Where it was dealt out before, what waits for a 3PL is sent on its way once nothing holds the order. Returns the
    (connection, lane)s to ring for.
    """
    order = t.sales_order.c
    this = (order.merchant_id == merchant_id, order.id == order_id)
    row = connection.execute(for_update(connection, select(t.sales_order).where(*this))).one_or_none()
    if row is None:
        return []
    connection.execute(update(t.sales_order).where(*this).values(route_at=None))
    if row.status != OrderStatus.OPEN or not row.holds_stock:
        return []
    number, rules = policy(connection, merchant_id)
    opened, lines, waits = _open(connection, merchant_id, order_id)
    lanes: Lanes = []
    if any(each.units > 0 for each in lines) and (rules.in_parts or not waits):
        request = _request(connection, row, lines, opened.book, at)
        decision = decide(request, rules)
        decision_id = _write_down(connection, row, number, request, decision, at)
        if decision.shares:
            lanes += _carry_out(connection, row, decision_id, decision, lines, opened.book, at)
        else:
            _nobody(connection, row, decision, at)
    return lanes + _send_to_providers(connection, row, at)


def _open(connection: Connection, merchant_id: UUID, order_id: UUID) -> tuple[stock.OpenBook, list[_ToRoute], bool]:
    """The locked book of the order's SKUs, its lines, and whether one of them still waits for stock."""
    line, work, asked = t.order_line.c, t.fulfillment_order.c, t.fulfillment_line.c
    rows = connection.execute(
        select(t.order_line)
        .where(
            line.merchant_id == merchant_id,
            line.order_id == order_id,
            line.present,
            line.sku_id.is_not(None),
            line.requires_shipping,
        )
        .order_by(line.position, line.id)
    ).all()
    kits = stock.kit_parts(connection, merchant_id, [row.id for row in rows])
    parts = {row.id: kits.get(row.id, {row.sku_id: 1}) for row in rows}
    skus = {sku_id for made_of in parts.values() for sku_id in made_of}
    opened = stock.open_book(connection, merchant_id, skus, line_ids=list(parts))
    given: dict[UUID, dict[UUID, int]] = {}
    for each in connection.execute(
        select(asked.order_line_id, work.location_id, func.sum(asked.quantity - asked.shipped).label("units"))
        .select_from(
            t.fulfillment_line.join(
                t.fulfillment_order, (work.merchant_id == asked.merchant_id) & (work.id == asked.fulfillment_order_id)
            )
        )
        .where(work.merchant_id == merchant_id, work.order_id == order_id, work.closed_at.is_(None))
        .group_by(asked.order_line_id, work.location_id)
    ):
        given.setdefault(each.order_line_id, {})[each.location_id] = int(each.units)
    claims = opened.book.claims
    lines = [
        _ToRoute(row, parts[row.id], claims[row.id].held if row.id in claims else 0, given.get(row.id, {}))
        for row in rows
    ]
    waits = any(row.id in claims and claims[row.id].waiting for row in rows)
    return opened, lines, waits


def _request(
    connection: Connection, order: Row[Any], lines: Iterable[_ToRoute], book: StockBook, at: datetime
) -> Request:
    lines = [each for each in lines if each.units > 0]
    address = order.shipping_address
    codes = _codes(connection, order.merchant_id, {each.row.sku_id for each in lines})
    return Request(
        number=order.number,
        lines=tuple(
            Line(
                id=str(each.row.id),
                sku=codes[each.row.sku_id],
                units=each.units,
                parts={str(sku_id): units for sku_id, units in each.parts.items()},
            )
            for each in lines
        ),
        places=tuple(_places(connection, order.merchant_id, lines, book)),
        country=address.get("country", ""),
        region=address.get("region", ""),
        postcode=address.get("postcode", ""),
        channel=str(order.connection_id),
        tags=tuple(order.tags),
        value=Money.from_minor(order.total_minor, order.currency).amount if order.currency else Decimal(0),
        refused=_refusals(connection, order),
    )


def _codes(connection: Connection, merchant_id: UUID, sku_ids: Iterable[UUID]) -> dict[UUID, str]:
    sku = t.sku.c
    rows = select(sku.id, sku.code).where(sku.merchant_id == merchant_id, sku.id.in_(list(sku_ids)))
    return {row.id: row.code for row in connection.execute(rows)}


def _places(connection: Connection, merchant_id: UUID, lines: Iterable[_ToRoute], book: StockBook) -> Iterable[Place]:
    """Every location, with what this order may take there: what is free, and what it has reserved there itself."""
    place, work = t.location.c, t.fulfillment_order.c
    loads: dict[UUID, int] = dict(
        connection.execute(
            select(work.location_id, func.count())
            .where(work.merchant_id == merchant_id, work.closed_at.is_(None))
            .group_by(work.location_id)
        ).all()
    )
    own: dict[tuple[UUID, UUID], int] = {}
    for each in lines:
        claim = book.claims[each.row.id]
        for (sku_id, location_id), units in claim.allocated.items():
            mine = units - each.given.get(location_id, 0) * each.parts[sku_id]
            own[sku_id, location_id] = own.get((sku_id, location_id), 0) + mine
    skus = {sku_id for each in lines for sku_id in each.parts}
    for row in connection.execute(select(t.location).where(place.merchant_id == merchant_id)):
        there = {
            str(sku_id): book.level((sku_id, row.id)).available + own.get((sku_id, row.id), 0)
            for sku_id in skus
            if (sku_id, row.id) in book.places(sku_id)
        }
        yield Place(
            id=str(row.id),
            name=row.name,
            kind=row.kind,
            country=row.address.get("country", ""),
            point=Point(row.latitude, row.longitude) if row.latitude is not None else None,
            roughly=row.placed_by == "country",
            services=tuple(row.services),
            priority=row.priority,
            load=loads.get(row.id, 0),
            capacity=row.capacity,
            ships=row.ships,
            collects=row.collects,
            stock=there,
        )


def _refusals(connection: Connection, order: Row[Any]) -> dict[str, str]:
    """Locations that have refused a part of this order, with what they said."""
    work = t.fulfillment_order.c
    return {
        str(row.location_id): row.message
        for row in connection.execute(
            select(work.location_id, work.message).where(
                work.merchant_id == order.merchant_id, work.order_id == order.id, work.state == State.REJECTED.value
            )
        )
    }


# ---------------------------------------------------------------- writing it down


def _write_down(
    connection: Connection, order: Row[Any], number: int, request: Request, decision: Decision, at: datetime
) -> UUID:
    this = t.routing_decision.c
    before = connection.execute(
        select(func.count()).where(this.merchant_id == order.merchant_id, this.order_id == order.id)
    ).scalar_one()
    decision_id = new_id()
    connection.execute(
        insert(t.routing_decision).values(
            merchant_id=order.merchant_id,
            id=decision_id,
            order_id=order.id,
            policy_number=number,
            cause="rejected" if request.refused else "again" if before else "imported",
            inputs=to_plain(request),
            outcome=to_plain(decision),
            summary=decision.summary,
            at=at,
        )
    )
    return decision_id


def _carry_out(
    connection: Connection,
    order: Row[Any],
    decision_id: UUID,
    decision: Decision,
    lines: Iterable[_ToRoute],
    book: StockBook,
    at: datetime,
) -> Lanes:
    """Hold the units where they are shipped from, and ask the locations."""
    dealt: dict[UUID, dict[UUID, int]] = {}
    for share in decision.shares:
        for line_id, units in share.units.items():
            dealt.setdefault(UUID(line_id), {})[UUID(share.place)] = units
    wanted = []
    for each in lines:
        if each.row.id in dealt:
            held = dict(each.given)
            for location_id, units in dealt[each.row.id].items():
                held[location_id] = held.get(location_id, 0) + units
            wanted.append((book.claims[each.row.id], held))
    book.rearrange(wanted, f"{order.id}/{decision_id}")
    touched = stock.write_book(connection, order.merchant_id, book, at=at)
    fulfillment.create(
        connection,
        order.merchant_id,
        order.id,
        [
            Part(
                location_id=UUID(share.place),
                units={UUID(line_id): units for line_id, units in share.units.items()},
            )
            for share in decision.shares
        ],
        at=at,
        decision_id=decision_id,
    )
    activity.note(
        connection,
        order.merchant_id,
        "routed",
        decision.summary,
        at=at,
        order_id=order.id,
        details={"decision": str(decision_id)},
    )
    activity.resolve_issue(connection, order.merchant_id, NOBODY, str(order.id), at=at)
    return [(connection_id, "publish") for connection_id in sorted(touched)]


def _nobody(connection: Connection, order: Row[Any], decision: Decision, at: datetime) -> None:
    activity.raise_issue(
        connection,
        order.merchant_id,
        NOBODY,
        str(order.id),
        f"No location ships order {order.number}. {decision.summary}",
        "Change the routing rules, move stock, or choose a location on the order's page.",
        at=at,
        order_id=order.id,
        link=f"/orders/{order.id}",
    )


def _send_to_providers(connection: Connection, order: Row[Any], at: datetime) -> Lanes:
    """Ask 3PLs for what is theirs to ship and was not asked for yet, unless the order is on hold."""
    if fulfillment.held(connection, order.merchant_id, order.id):
        return []
    work, place = t.fulfillment_order.c, t.location.c
    waiting = connection.execute(
        select(work.id, work.location_id)
        .select_from(
            t.fulfillment_order.join(
                t.location, (place.merchant_id == work.merchant_id) & (place.id == work.location_id)
            )
        )
        .where(
            work.merchant_id == order.merchant_id,
            work.order_id == order.id,
            work.state == State.OPEN.value,
            place.kind == "3pl",
        )
        .order_by(work.number)
    ).all()
    return [
        (providers.request(connection, order.merchant_id, row.id, at=at), "effects")
        for row in waiting
        if providers.of_location(connection, order.merchant_id, row.location_id) is not None
    ]
