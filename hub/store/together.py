"""Packed together: orders of one customer that go to one address from one location in the same parcels, with one label.

One fulfillment order leads: all are packed on its table, and the shipment is its own. The others go along. Whatever
takes one of them out before it has left sends all of them back to packing, because the parcels have to be opened.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, ScalarSelect, Uuid, cast, delete, func, literal, null, select, union, update

from hub import access, addresses
from hub.access import Permission
from hub.core.model import Address, OrderStatus
from hub.core.plain import from_plain
from hub.errors import Conflict
from hub.store import fulfillment, labels, shipments
from hub.store import tables as t
from hub.store.database import Database, Lanes, for_update, in_chunks, upsert
from hub.store.fulfillment import State
from hub.store.locking import lock_order, lock_orders

_MOST_OFFERED = 20
_this, _work, _order = t.packed_together.c, t.fulfillment_order.c, t.sales_order.c
_STILL = (_this.left_at.is_(None),)


# ---------------------------------------------------------------- who goes with whom


def lead_of(connection: Connection, merchant_id: UUID, fulfillment_order_id: UUID) -> UUID | None:
    """The fulfillment order on whose table this one is packed, which may be itself; None: it goes alone."""
    return connection.execute(
        select(_this.lead_id).where(
            _this.merchant_id == merchant_id, _this.fulfillment_order_id == fulfillment_order_id, *_STILL
        )
    ).scalar_one_or_none()


def lead() -> ScalarSelect[UUID]:
    """The same, as a column beside fulfillment orders."""
    mine = (_this.merchant_id == _work.merchant_id, _this.fulfillment_order_id == _work.id)
    return select(_this.lead_id).where(*mine, *_STILL).correlate(t.fulfillment_order).scalar_subquery()


def members(connection: Connection, merchant_id: UUID, lead_id: UUID) -> Sequence[Row[Any]]:
    """The fulfillment orders that are packed on the table of this one, itself first; it alone where none are."""
    group = union(
        select(literal(lead_id, Uuid).label("id"), cast(null(), t.Moment).label("joined_at")),
        select(_this.fulfillment_order_id, _this.joined_at).where(
            _this.merchant_id == merchant_id,
            _this.lead_id == lead_id,
            _this.fulfillment_order_id != lead_id,
            *_STILL,
        ),
    ).subquery()
    rows = connection.execute(
        select(t.fulfillment_order, group.c.joined_at)
        .join(group, _work.id == group.c.id)
        .where(_work.merchant_id == merchant_id)
    ).all()
    return sorted(rows, key=lambda row: (row.id != lead_id, row.joined_at, row.id))


def fitting(connection: Connection, row: Row[Any]) -> list[UUID]:
    """The fulfillment orders of other orders that could be packed together with this one: the same customer, address
    and location, to be shipped now, and not begun."""
    return fitting_with(connection, row, _about(connection, row), members(connection, row.merchant_id, row.id))


def fitting_with(connection: Connection, row: Row[Any], about: Any, together_now: Collection[Row[Any]]) -> list[UUID]:
    """The same where its order (``about``) and who goes along with it already are known."""
    if row.collect or not (about.email or about.customer_name):
        return []
    line, scan, hold = t.fulfillment_line.c, t.packing_scan.c, t.order_hold.c
    begun = (
        select(line.order_line_id)
        .where(line.merchant_id == _work.merchant_id, line.fulfillment_order_id == _work.id)
        .where((line.packed > 0) | (line.shipped > 0))
        .exists()
    )
    part_packed = (
        select(scan.id)
        .where(scan.merchant_id == _work.merchant_id, scan.fulfillment_order_id == _work.id)
        .where(scan.undone_at.is_(None), scan.shipment_id.is_(None), scan.order_line_id.is_not(None))
        .exists()
    )
    held = (
        select(hold.id)
        .where(hold.merchant_id == _work.merchant_id, hold.order_id == _work.order_id, hold.released_at.is_(None))
        .exists()
    )
    taken = (
        select(_this.lead_id)
        .where(_this.merchant_id == _work.merchant_id, _this.fulfillment_order_id == _work.id, *_STILL)
        .exists()
    )
    same_customer = [
        func.lower(column) == text.lower()
        for column, text in ((_order.email, about.email), (_order.customer_name, about.customer_name))
        if text
    ]
    rows = connection.execute(
        select(_work.id, _order.id.label("order_id"), t.SHIP_TO.label("ship_to"))
        .join(t.sales_order, (_order.merchant_id == _work.merchant_id) & (_order.id == _work.order_id))
        .where(
            _work.merchant_id == row.merchant_id,
            _work.location_id == row.location_id,
            _work.closed_at.is_(None),
            _work.state == State.OPEN.value,
            ~_work.collect,
            _order.status == OrderStatus.OPEN.value,
            _order.erased_at.is_(None),
            same_customer[0] if len(same_customer) == 1 else same_customer[0] | same_customer[1],
            ~begun,
            ~part_packed,
            ~held,
            ~taken,
        )
        .order_by(_work.created_at, _work.id)
        .limit(_MOST_OFFERED)
    ).all()
    there = from_plain(Address, about.ship_to)
    known = {row.order_id, *(each.order_id for each in together_now)}
    found: dict[UUID, UUID] = {}  # by order: one part of an order only
    for each in rows:
        if each.order_id not in known and _same_place(from_plain(Address, each.ship_to), there):
            found.setdefault(each.order_id, each.id)
    return list(found.values())


def _about(connection: Connection, row: Row[Any]) -> Row[str, str, str, Any]:
    return connection.execute(
        select(_order.number, _order.email, _order.customer_name, t.SHIP_TO.label("ship_to")).where(
            _order.merchant_id == row.merchant_id, _order.id == row.order_id
        )
    ).one()


def _same_place(one: Address, other: Address) -> bool:
    """Whether two addresses are one, however they are spelled: in capitals, with a comma, divided otherwise."""
    return _bare(one) == _bare(other)


def _bare(address: Address) -> tuple[str, ...]:
    texts = (f"{address.line1} {address.line2}", address.city, address.postcode, address.country)
    return tuple(re.sub(r"[\W_]+", "", addresses.in_latin(text).casefold()) for text in texts)


# ---------------------------------------------------------------- joining and taking apart


@access.needs(Permission.PACK)
def join(database: Database, merchant_id: UUID, lead_id: UUID, other_ids: Collection[UUID], actor: str) -> None:
    """Pack these fulfillment orders of other orders together with the leading one.

    Raises Conflict for what does not belong together, is begun, or must not be packed.
    """

    def work(connection: Connection) -> None:
        at = database.now(connection)
        wanted = {lead_id, *other_ids}
        orders = connection.execute(
            select(_work.order_id).where(_work.merchant_id == merchant_id, _work.id.in_(wanted))
        ).scalars()
        lock_orders(connection, merchant_id, orders)
        lead = fulfillment.may_be_packed(connection, merchant_id, lead_id)
        if lead_of(connection, merchant_id, lead_id) not in (None, lead_id):
            raise Conflict(f"{lead.reference} is packed together with another order itself. Go to that one.")
        others = wanted - {lead_id}
        if not others or not others <= set(fitting(connection, lead)):
            raise Conflict(
                "Only orders of one customer to one address, of which nothing is packed yet, can be packed together. "
                "Reload the page, and look again."
            )
        rows = [lead, *(fulfillment.may_be_packed(connection, merchant_id, each) for each in sorted(others))]
        for row in rows:
            joined = {"order_id": row.order_id, "joined_at": at, "joined_by": actor, "left_at": None}
            statement = upsert(connection, t.packed_together).values(
                merchant_id=merchant_id, lead_id=lead_id, fulfillment_order_id=row.id, **joined
            )
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["merchant_id", "lead_id", "fulfillment_order_id"], set_=joined
                )
            )
            if row is not lead:
                connection.execute(  # nobody packs it by itself any more
                    delete(t.packing).where(
                        t.packing.c.merchant_id == merchant_id, t.packing.c.fulfillment_order_id == row.id
                    )
                )
                summary = f"{row.reference} is packed together with {lead.reference}"
                fulfillment.note(connection, row, "packed_together", summary, at=at, actor=actor)
                fulfillment.note(connection, lead, "packed_together", summary, at=at, actor=actor)

    database.transact(work)


@access.needs(Permission.PACK)
def take_apart(database: Database, merchant_id: UUID, fulfillment_order_id: UUID, actor: str) -> None:
    """A person packs an order by itself after all. Raises Conflict when there is a label already, or may be one."""

    def work(connection: Connection) -> None:
        at = database.now(connection)
        row = fulfillment.locked(connection, merchant_id, fulfillment_order_id)
        if row.closed_at is not None:
            raise Conflict(f"{row.reference} is {row.state}: it cannot be taken out any more.")
        if not _leave_before_label(connection, row, f"{actor} packs {row.reference} by itself", at, actor):
            raise Conflict(f"{row.reference} has a label together with other orders. Give it back first.")

    database.transact(work)


def set_apart(
    connection: Connection, merchant_id: UUID, order_ids: Collection[UUID], why: str, *, at: datetime
) -> None:
    """Take locked orders out of what they share with others, unless there is a label already: they must not leave now,
    and the others need not wait for them."""
    for row in _sharing(connection, merchant_id, order_ids):
        _leave_before_label(connection, row, f"{row.reference} {why}", at, "")


def keep_up(connection: Connection, merchant_id: UUID, order_ids: Collection[UUID], *, at: datetime) -> None:
    """Take locked orders that go to another address by now out of what they share, as ``set_apart`` does."""
    for row in _sharing(connection, merchant_id, order_ids):
        here = from_plain(Address, _about(connection, row).ship_to)
        mates = (each for each in _group(connection, row) if each.id != row.id)
        if not all(_same_place(here, from_plain(Address, _about(connection, each).ship_to)) for each in mates):
            _leave_before_label(connection, row, f"{row.reference} goes to another address now", at, "")


def _sharing(connection: Connection, merchant_id: UUID, order_ids: Collection[UUID]) -> list[Row[Any]]:
    """The fulfillment orders of these orders that are packed together with others and have not left."""
    found: list[Row[Any]] = []
    for some in in_chunks(sorted(order_ids)):
        found += connection.execute(
            select(t.fulfillment_order)
            .join(
                t.packed_together,
                (_this.merchant_id == _work.merchant_id) & (_this.fulfillment_order_id == _work.id),
            )
            .where(_this.merchant_id == merchant_id, _this.order_id.in_(some), *_STILL, _work.closed_at.is_(None))
            .order_by(_work.id)
        ).all()
    return found


def _leave_before_label(connection: Connection, row: Row[Any], why: str, at: datetime, actor: str) -> bool:
    for each in _shared(connection, row):
        if not labels.never_bought(connection, each, at=at):
            return False
    leave(connection, row, why, at=at, actor=actor)
    return True


def leave(connection: Connection, row: Row[Any], why: str, *, at: datetime, actor: str = "") -> Lanes:
    """Take a locked fulfillment order out of what it shares with others. Shipments that hold it are given up, with
    their labels, and all that were in them are to be packed again. Returns the lanes to ring for."""
    group = _group(connection, row)
    shared = _shared(connection, row)
    if len(group) < 2 and not shared:
        return []
    # They are locked already, but where one has joined in this very moment.
    lock_order(connection, row.merchant_id, row.order_id)
    group = _group(connection, row)
    lanes = labels.give_up(connection, row.merchant_id, [each.id for each in shared], why, at)
    lead_id = lead_of(connection, row.merchant_id, row.id)
    alone = len(group) <= 2 or lead_id == row.id
    left = [each.id for each in group] if alone else [row.id]
    if lead_id is not None:
        _clear_table(connection, row.merchant_id, lead_id, {each.order_id for each in group if each.id in left}, at)
        connection.execute(
            update(t.packed_together)
            .where(
                _this.merchant_id == row.merchant_id,
                _this.lead_id == lead_id,
                _this.fulfillment_order_id.in_(left),
                *_STILL,
            )
            .values(left_at=at)
        )
    for each in _to_be_packed_again(connection, row, group, shared):
        if each.id != lead_id or each.state == State.PACKED:  # else it lies on its own table as before
            _count_again(connection, each)
        fulfillment.change(connection, each, State.OPEN, at=at, message=why[:500], packed_at=None)
        again = f"{each.reference} is to be packed again: {why}" if each.state == State.PACKED else why
        fulfillment.note(connection, each, "taken_apart", again, at=at, actor=actor)
    return lanes


def _group(connection: Connection, row: Row[Any]) -> Sequence[Row[Any]]:
    lead_id = lead_of(connection, row.merchant_id, row.id)
    return members(connection, row.merchant_id, lead_id) if lead_id is not None else []


def _shared(connection: Connection, row: Row[Any]) -> Sequence[Row[Any]]:
    """The shipments with which a fulfillment order is to leave together with others. Those whose label is given back
    already are not among them, however long their carrier takes to say whether it takes it."""
    sent, along = t.shipment.c, t.shipment_companion.c
    mine = select(along.shipment_id).where(along.merchant_id == row.merchant_id, along.fulfillment_order_id == row.id)
    led = select(along.shipment_id).where(along.merchant_id == row.merchant_id, along.shipment_id == sent.id)
    return connection.execute(
        for_update(
            connection,
            select(t.shipment)
            .where(
                sent.merchant_id == row.merchant_id,
                sent.id.in_(mine) | ((sent.fulfillment_order_id == row.id) & led.exists()),
                sent.withdrawn_at.is_(None),
                *labels.NOT_GONE,
            )
            .order_by(sent.id),
        )
    ).all()


def _clear_table(
    connection: Connection, merchant_id: UUID, lead_id: UUID, order_ids: Collection[UUID], at: datetime
) -> None:
    """Undo the scans of these orders on the table of the leading one, but for its own; what its parcels weighed then is
    forgotten."""
    scan, line, parcel = t.packing_scan.c, t.order_line.c, t.packing_parcel.c
    lead = connection.execute(
        select(_work.order_id).where(_work.merchant_id == merchant_id, _work.id == lead_id)
    ).scalar_one()
    theirs = select(line.id).where(
        line.merchant_id == merchant_id, line.order_id.in_([each for each in order_ids if each != lead])
    )
    undone = connection.execute(
        update(t.packing_scan)
        .where(
            scan.merchant_id == merchant_id,
            scan.fulfillment_order_id == lead_id,
            scan.order_line_id.in_(theirs),
            scan.undone_at.is_(None),
            scan.shipment_id.is_(None),
        )
        .values(undone_at=at)
        .returning(scan.id)
    ).all()
    if undone:
        connection.execute(
            delete(t.packing_parcel).where(parcel.merchant_id == merchant_id, parcel.fulfillment_order_id == lead_id)
        )


def _to_be_packed_again(
    connection: Connection, row: Row[Any], group: Sequence[Row[Any]], shared: Sequence[Row[Any]]
) -> Sequence[Row[Any]]:
    """What was in the shipments that were given up, or lay on the table with it, and has not ended."""
    along = t.shipment_companion.c
    carried = select(along.fulfillment_order_id).where(
        along.merchant_id == row.merchant_id, along.shipment_id.in_([each.id for each in shared])
    )
    known = {row.id, *(each.id for each in group), *(each.fulfillment_order_id for each in shared)}
    return connection.execute(
        for_update(
            connection,
            select(t.fulfillment_order)
            .where(
                _work.merchant_id == row.merchant_id,
                _work.id.in_(known) | _work.id.in_(carried),
                _work.state.in_((State.OPEN.value, State.PACKED.value)),
            )
            .order_by(_work.id),
        )
    ).all()


def _count_again(connection: Connection, row: Row[Any]) -> None:
    """Let its lines say that no more of them is packed than what is in other shipments."""
    line = t.fulfillment_line.c
    packed = shipments.units_packed(connection, [row], ~t.shipment.c.is_return)
    lines = connection.execute(
        select(line.order_line_id, line.quantity).where(
            line.merchant_id == row.merchant_id, line.fulfillment_order_id == row.id
        )
    ).all()
    for each in lines:
        connection.execute(
            update(t.fulfillment_line)
            .where(
                line.merchant_id == row.merchant_id,
                line.fulfillment_order_id == row.id,
                line.order_line_id == each.order_line_id,
            )
            .values(packed=min(each.quantity, packed.get(each.order_line_id, 0)))
        )
