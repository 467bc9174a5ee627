"""How orders are handled on their way through the warehouse: the merchant's choices, and what people say of one order:
its priority, its tags, another address, where it is fetched. Lines that need no parcel are told the channel here."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, func, select, update

from hub import access, addresses
from hub.access import Permission
from hub.core.model import Address, LineKind, Money, Order, OrderStatus
from hub.core.plain import from_plain, to_plain
from hub.core.priorities import DEFAULT_RULES, Facts, PriorityRule, Ranking, rank
from hub.core.shipping import ConfirmedLine, ShipmentConfirmation
from hub.errors import BadInput, Conflict
from hub.papers import Paper
from hub.store import activity, effects, fulfillment, holds, routing_queue, searching, together
from hub.store import tables as t
from hub.store.database import Database, Lanes, for_update, in_chunks, upsert
from hub.store.locking import lock_order

_RANKED_AT_ONCE = 500  # orders in one commit
_MOST_TAGS = 20
_TAG_LENGTH = 40


# ---------------------------------------------------------------- the merchant's choices


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlingPolicy:
    """``confirms_digital``: the channel is told that lines without a parcel are fulfilled as soon as they are paid."""

    priorities: tuple[PriorityRule, ...] = DEFAULT_RULES
    confirms_digital: bool = True
    paper: Paper = Paper.A4


def policy(connection: Connection, merchant_id: UUID) -> HandlingPolicy:
    """What the merchant has chosen, or the defaults."""
    this = t.handling_policy.c
    row = connection.execute(select(t.handling_policy).where(this.merchant_id == merchant_id)).one_or_none()
    if row is None:
        return HandlingPolicy()
    return HandlingPolicy(
        priorities=tuple(from_plain(PriorityRule, each) for each in row.priorities),
        confirms_digital=row.confirms_digital,
        paper=Paper(row.paper),
    )


@access.needs(Permission.SETTINGS)
def save(database: Database, merchant_id: UUID, chosen: HandlingPolicy, actor: str) -> int:
    """Have this hold from now on, also for the orders that are open; returns how many have another priority now."""

    def work(connection: Connection) -> None:
        at = database.now(connection)
        statement = upsert(connection, t.handling_policy).values(
            merchant_id=merchant_id,
            priorities=to_plain(chosen.priorities),
            confirms_digital=chosen.confirms_digital,
            paper=chosen.paper.value,
            changed_at=at,
            changed_by=actor,
        )
        said = ("priorities", "confirms_digital", "paper", "changed_at", "changed_by")
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["merchant_id"], set_={name: statement.excluded[name] for name in said}
            )
        )
        summary = f"Handling rules changed: {len(chosen.priorities)} rules of priority"
        activity.note(connection, merchant_id, "handling_changed", summary, at=at, actor=actor)

    database.transact(work)
    return _prioritize_open(database, merchant_id)


def _prioritize_open(database: Database, merchant_id: UUID) -> int:
    """Rank the open orders by the rules as they are by then, some in each commit, so that nobody waits for all."""
    order = t.sales_order.c

    def rank_some(connection: Connection, after: UUID | None) -> tuple[int, UUID | None]:
        ids = list(
            connection.execute(
                select(order.id)
                .where(
                    order.merchant_id == merchant_id,
                    order.holds_stock,
                    order.status == OrderStatus.OPEN.value,
                    *([] if after is None else [order.id > after]),
                )
                .order_by(order.id)
                .limit(_RANKED_AT_ONCE)
            ).scalars()
        )
        rows = connection.execute(
            for_update(
                connection,
                select(t.sales_order)
                .where(
                    order.merchant_id == merchant_id,
                    order.id.in_(ids),
                    order.holds_stock,
                    order.status == OrderStatus.OPEN.value,
                )
                .order_by(order.id),
            )
        ).all()
        changed = _prioritize(connection, merchant_id, rows, policy(connection, merchant_id), database.now(connection))
        return changed, ids[-1] if len(ids) == _RANKED_AT_ONCE else None

    changed, last = database.transact(lambda connection: rank_some(connection, None))
    while last is not None:
        after = last
        more, last = database.transact(lambda connection, after=after: rank_some(connection, after))  # type: ignore[misc]
        changed += more
    return changed


def ranking(row: Row[Any], chosen: HandlingPolicy, at: datetime) -> Ranking:
    """The priority of an order's row, and why."""
    facts = Facts(
        paid=row.paid,
        shipping_method=row.shipping_method,
        promised_at=row.promised_at,
        value=Money.from_minor(row.total_minor, row.currency or "XXX").amount,
        tags=(*row.tags, *row.own_tags),
        own=row.own_priority,
    )
    return rank(facts, chosen.priorities, at)


def _prioritize(
    connection: Connection, merchant_id: UUID, rows: Sequence[Row[Any]], chosen: HandlingPolicy, at: datetime
) -> int:
    order, work = t.sales_order.c, t.fulfillment_order.c
    changed: dict[int, list[UUID]] = {}
    for row in rows:
        priority = ranking(row, chosen, at).priority
        if priority != row.priority:
            changed.setdefault(priority, []).append(row.id)
    for priority, order_ids in changed.items():
        for some in in_chunks(order_ids):
            connection.execute(
                update(t.sales_order)
                .where(order.merchant_id == merchant_id, order.id.in_(some))
                .values(priority=priority)
            )
            connection.execute(
                update(t.fulfillment_order)
                .where(work.merchant_id == merchant_id, work.order_id.in_(some), work.closed_at.is_(None))
                .values(priority=priority)
            )
    return sum(map(len, changed.values()))


# ---------------------------------------------------------------- as orders come in


def take_in(connection: Connection, merchant_id: UUID, told: Mapping[UUID, Order], *, at: datetime) -> Lanes:
    """Everything that follows from what channels say of orders now, in the commit that keeps it: holds, priority, and
    what needs no parcel. The orders' rows are locked and written. Returns the (connection, lane)s to ring for."""
    holds.keep_up(connection, merchant_id, told, at=at)
    open_ones = [order_id for order_id, each in told.items() if each.status is OrderStatus.OPEN and each.holds_stock]
    if not open_ones:
        return []
    chosen = policy(connection, merchant_id)
    order = t.sales_order.c
    for some in in_chunks(open_ones):
        rows = connection.execute(
            select(t.sales_order).where(order.merchant_id == merchant_id, order.id.in_(some))
        ).all()
        _prioritize(connection, merchant_id, rows, chosen, at)
    if not chosen.confirms_digital:
        return []
    without_parcel = [
        order_id
        for order_id in open_ones
        if told[order_id].paid and any(not line.requires_shipping for line in told[order_id].lines)
    ]
    return [lane for order_id in without_parcel for lane in confirm_digital(connection, merchant_id, order_id, at=at)]


def confirm_digital(connection: Connection, merchant_id: UUID, order_id: UUID, *, at: datetime) -> Lanes:
    """Tell the channel that what an order needs no parcel for is fulfilled: once, when it is paid and not on hold.

    Gift cards are left to the channel, which sends them itself.
    """
    order, line = t.sales_order.c, t.order_line.c
    row = connection.execute(select(t.sales_order).where(order.merchant_id == merchant_id, order.id == order_id)).one()
    if (
        row.status != OrderStatus.OPEN
        or not row.paid
        or row.test
        or fulfillment.held(connection, merchant_id, order_id)
    ):
        return []
    lines = [
        ConfirmedLine(line_external_id=each.external_id, quantity=each.units)
        for each in connection.execute(
            select(line.external_id, (line.quantity - line.removed - t.GONE).label("units"))
            .where(
                line.merchant_id == merchant_id,
                line.order_id == order_id,
                line.present,
                ~line.requires_shipping,
                line.kind != LineKind.GIFT_CARD.value,
            )
            .order_by(line.position, line.id)
        )
        if each.units > 0
    ]
    if not lines:
        return []
    # The same lines are the same intent, however often the order comes in before the channel has heard.
    told = ",".join(f"{each.line_external_id}={each.quantity}" for each in lines)
    mark = base64.b32encode(hashlib.sha256(f"{order_id}/{told}".encode()).digest()[:10]).decode()
    reference = f"D-{mark}"
    key = effects.effect_key(merchant_id, "confirm_shipment", reference)
    if connection.execute(
        select(t.effect.c.id).where(t.effect.c.merchant_id == merchant_id, t.effect.c.effect_key == key)
    ).first():
        return []
    confirmation = ShipmentConfirmation(
        reference=reference, order_external_id=row.external_id, lines=tuple(lines), shipped_at=at
    )
    lanes = fulfillment.confirm(connection, merchant_id, row.connection_id, order_id, confirmation, at=at)
    units = sum(each.quantity for each in lines)
    summary = f"{units} {'unit needs' if units == 1 else 'units need'} no parcel: the channel is told"
    activity.note(connection, merchant_id, "digital_confirmed", summary, at=at, order_id=order_id)
    return lanes


# ---------------------------------------------------------------- what people say of one order


@access.needs(Permission.ORDERS)
def release(database: Database, merchant_id: UUID, order_id: UUID, hold_id: UUID, actor: str) -> Lanes:
    """A person takes a hold off, and the order goes on. Raises Conflict as ``holds.release`` does."""
    connection_id = holds.release(database, merchant_id, order_id, hold_id, actor)

    def work(connection: Connection) -> Lanes:
        lock_order(connection, merchant_id, order_id)
        if not policy(connection, merchant_id).confirms_digital:
            return []
        return confirm_digital(connection, merchant_id, order_id, at=database.now(connection))

    return [(connection_id, "route"), (connection_id, "ship"), *database.transact(work)]


@access.needs(Permission.ORDERS)
def set_priority(database: Database, merchant_id: UUID, order_id: UUID, priority: int | None, actor: str) -> None:
    """A person says how urgent an order is; None leaves it to the rules again."""

    def work(connection: Connection) -> None:
        at = database.now(connection)
        row = lock_order(connection, merchant_id, order_id)
        if row.own_priority == priority:
            return
        said = "is left to the rules again" if priority is None else f"is {priority} now"
        _change(connection, row, own_priority=priority)
        _again(connection, merchant_id, order_id, at)
        activity.note(
            connection, merchant_id, "priority_set", f"Its priority {said}", at=at, order_id=order_id, actor=actor
        )

    database.transact(work)


@access.needs(Permission.ORDERS)
def set_tags(database: Database, merchant_id: UUID, order_id: UUID, tags: Collection[str], actor: str) -> None:
    """A person's tags of an order, beside those of the channel. Raises BadInput for too many, and too long ones."""
    clean = list(dict.fromkeys(" ".join(each.split()) for each in tags if each.strip()))
    if len(clean) > _MOST_TAGS or any(len(each) > _TAG_LENGTH for each in clean):
        sentence = f"At most {_MOST_TAGS} tags of {_TAG_LENGTH} characters each."
        raise BadInput(sentence, {"tags": [sentence]})

    def work(connection: Connection) -> None:
        at = database.now(connection)
        row = lock_order(connection, merchant_id, order_id)
        if list(row.own_tags) == clean:
            return
        _change(connection, row, own_tags=clean)
        searching.keep_up(connection, merchant_id, [order_id])
        _again(connection, merchant_id, order_id, at)
        said = f"Tagged: {', '.join(clean)}" if clean else "Its tags were taken off"
        activity.note(connection, merchant_id, "order_tagged", said, at=at, order_id=order_id, actor=actor)

    database.transact(work)


@access.needs(Permission.ORDERS)
def note(database: Database, merchant_id: UUID, order_id: UUID, text: str, actor: str) -> None:
    """A person writes something down about an order, for whoever looks at it next. Raises BadInput for nothing."""
    if not text.strip():
        raise BadInput("Write something down first.", {"note": ["Write something down."]})

    def work(connection: Connection) -> None:
        lock_order(connection, merchant_id, order_id)
        at = database.now(connection)
        activity.note(connection, merchant_id, "order_note", text.strip(), at=at, order_id=order_id, actor=actor)

    database.transact(work)


@access.needs(Permission.ORDERS)
def correct_address(database: Database, merchant_id: UUID, order_id: UUID, address: Address, actor: str) -> UUID:
    """A person says where an order really goes. It holds until the channel says another address; what held the order
    for its address ends. Returns the order's connection, whose lane "route" goes on with it.

    Raises BadInput for an address that cannot be right, Conflict for an order that is not open any more.
    """
    found = addresses.check(address)
    if found.wrong:
        fields: dict[str, list[str]] = {}
        for each in found.remarks:
            if each.wrong:
                fields.setdefault(each.part, []).append(each.message)
        raise BadInput("This address cannot be right either. Nothing was changed.", fields)
    ship_to = found.written

    def work(connection: Connection) -> UUID:
        at = database.now(connection)
        row = lock_order(connection, merchant_id, order_id)
        if row.status != OrderStatus.OPEN:
            raise Conflict(f"Order {row.number} is {row.status}. Its address cannot be changed any more.")
        own = to_plain(replace(ship_to, country=ship_to.country.upper()))
        same = own == row.shipping_address
        _change(
            connection, row, own_address=None if same else own, own_address_for=None if same else row.shipping_address
        )
        searching.keep_up(connection, merchant_id, [order_id])
        summary = "The channel's address holds again" if same else "The address was corrected by hand"
        before = row.own_address or row.shipping_address
        details = {"changed": sorted(part for part in {*before, *own} if before.get(part) != own.get(part))}
        activity.note(
            connection,
            merchant_id,
            "address_changed",
            summary,
            at=at,
            order_id=order_id,
            actor=actor,
            details=details,
        )
        holds.check_address(connection, merchant_id, order_id, at=at, actor=actor)
        together.keep_up(connection, merchant_id, [order_id], at=at)
        return row.connection_id  # type: ignore[no-any-return]

    return database.transact(work)


@access.needs(Permission.ORDERS)
def collect_at(database: Database, merchant_id: UUID, order_id: UUID, location_id: UUID | None, actor: str) -> UUID:
    """The customer fetches the order at a location; None: it is shipped after all. Returns the order's connection,
    whose lane "route" deals it out. Raises BadInput for a location where nothing is fetched, Conflict where locations
    have the order in hand already."""

    def work(connection: Connection) -> UUID:
        at = database.now(connection)
        row = lock_order(connection, merchant_id, order_id)
        if row.collect_at == location_id:
            return row.connection_id  # type: ignore[no-any-return]
        place = t.location.c
        name = connection.execute(
            select(place.name).where(place.merchant_id == merchant_id, place.id == location_id, place.collects)
        ).scalar_one_or_none()
        if location_id is not None and name is None:
            sentence = "Nothing is fetched there. Choose a location that hands out orders."
            raise BadInput(sentence, {"location": [sentence]})
        work_ = t.fulfillment_order.c
        in_hand = connection.execute(
            select(func.count()).where(
                work_.merchant_id == merchant_id, work_.order_id == order_id, work_.closed_at.is_(None)
            )
        ).scalar_one()
        if in_hand:
            raise Conflict("Locations have this order in hand already. Cancel their part of it first.")
        _change(connection, row, collect_at=location_id)
        routing_queue.mark(connection, merchant_id, [order_id], at=at)
        said = f"The customer fetches it at {name}" if name else "It is shipped, not fetched"
        activity.note(connection, merchant_id, "collection_set", said, at=at, order_id=order_id, actor=actor)
        holds.check_address(connection, merchant_id, order_id, at=at)
        return row.connection_id  # type: ignore[no-any-return]

    return database.transact(work)


def _again(connection: Connection, merchant_id: UUID, order_id: UUID, at: datetime) -> None:
    order = t.sales_order.c
    rows = connection.execute(select(t.sales_order).where(order.merchant_id == merchant_id, order.id == order_id)).all()
    _prioritize(connection, merchant_id, rows, policy(connection, merchant_id), at)


def _change(connection: Connection, row: Row[Any], **values: Any) -> None:
    order = t.sales_order.c
    connection.execute(
        update(t.sales_order).where(order.merchant_id == row.merchant_id, order.id == row.id).values(**values)
    )
