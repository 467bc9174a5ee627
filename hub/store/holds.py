"""Holds: why an order must not be shipped now, who said so, and that it may go on once nobody says so any more."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, select, update

from hub import access, addresses
from hub.access import Permission
from hub.core.model import Address, Hold, HoldReason, Order, OrderStatus, RiskLevel
from hub.core.plain import from_plain, to_plain
from hub.errors import BadInput, Conflict
from hub.store import activity, effects, labels, routing_queue, searching, together
from hub.store import tables as t
from hub.store.bulk import insert_rows
from hub.store.database import Database, in_chunks, new_id
from hub.store.locking import lock_order

# Marks of the holds that the hub itself places and takes off again; those of a channel carry the channel's id.
_OURS = "hub:"
_BY_RISK = "hub:risk"
_BY_PAYMENT = "hub:payment"
_BY_ADDRESS = "hub:address"
_BY_STOCK = "hub:stock"
_CANCELLING = "hub:cancelling"

CANCELLATION_ASKED = "cancellation_asked"  # the kind of issue; the subject is the order's id

_IN_WORDS: Mapping[HoldReason, str] = {
    HoldReason.PAYMENT: "waits for its payment",
    HoldReason.FRAUD: "may be a fraud",
    HoldReason.ADDRESS: "has an address that cannot be right",
    HoldReason.BACKORDER: "waits for stock",
    HoldReason.CANCELLATION: "is to be cancelled, as its customer asks",
    HoldReason.MANUAL: "is held by a person",
}


def place(
    connection: Connection,
    merchant_id: UUID,
    order_id: UUID,
    reason: HoldReason,
    note: str,
    *,
    at: datetime,
    actor: str = "",
    external_id: str = "",
) -> bool:
    """Hold an order, in the caller's transaction, which has its row locked; False when it is held for that already."""
    hold = t.order_hold.c
    there = connection.execute(
        select(hold.id).where(
            hold.merchant_id == merchant_id,
            hold.order_id == order_id,
            hold.reason == reason.value,
            hold.external_id == external_id[:200],
            hold.released_at.is_(None),
        )
    ).first()
    if there is not None:
        return False
    _place_all(
        connection,
        merchant_id,
        [(order_id, Hold(external_id=external_id, reason=reason, note=note, held_by=actor))],
        at,
    )
    return True


def _place_all(connection: Connection, merchant_id: UUID, wanted: Sequence[tuple[UUID, Hold]], at: datetime) -> None:
    """Hold orders for what nothing holds them for yet, however many in two statements."""
    if not wanted:
        return
    insert_rows(
        connection,
        t.order_hold,
        [
            {
                "merchant_id": merchant_id,
                "id": new_id(),
                "order_id": order_id,
                "reason": each.reason.value,
                "note": each.note[:500],
                "external_id": each.external_id[:200],
                "placed_by": each.held_by[:320],
                "placed_at": at,
            }
            for order_id, each in wanted
        ],
    )
    insert_rows(
        connection,
        t.activity,
        [
            {
                "merchant_id": merchant_id,
                "id": new_id(),
                "at": at,
                "kind": "order_held",
                "connection_id": None,
                "order_id": order_id,
                "actor": each.held_by[:320],
                "summary": f"On hold, it {_IN_WORDS[each.reason]}{f': {each.note}' if each.note else ''}"[:500],
                "details": None,
            }
            for order_id, each in wanted
        ],
    )
    together.set_apart(connection, merchant_id, {order_id for order_id, _ in wanted}, "is on hold", at=at)


@access.needs(Permission.ORDERS)
def hold_order(
    database: Database, merchant_id: UUID, order_id: UUID, reason: HoldReason, note: str, actor: str
) -> None:
    """A person holds an order. Raises BadInput without a note, Conflict for an order that does not exist."""
    if not note.strip():
        raise BadInput("Say why it is held: whoever packs has to know.", {"note": ["Say why."]})

    def work(connection: Connection) -> None:
        lock_order(connection, merchant_id, order_id)
        place(connection, merchant_id, order_id, reason, note.strip(), at=database.now(connection), actor=actor)

    database.transact(work)


def release(database: Database, merchant_id: UUID, order_id: UUID, hold_id: UUID, actor: str) -> UUID:
    """A person takes a hold off; returns the order's connection, whose lanes "route" and "ship" go on with it. Raises
    Conflict when it is off already, or is the channel's own, which only the channel takes off. That a customer asks to
    cancel is for a person to decide."""

    def work(connection: Connection) -> UUID:
        connection_id: UUID = lock_order(connection, merchant_id, order_id).connection_id
        at = database.now(connection)
        hold = t.order_hold.c
        here = (hold.merchant_id == merchant_id, hold.id == hold_id, hold.order_id == order_id)
        row = connection.execute(select(t.order_hold).where(*here)).one_or_none()
        if row is None or row.released_at is not None:
            raise Conflict("This hold was taken off already. Reload the page.")
        if not _releasable(row):
            raise Conflict("The channel holds this order. Release it there, or with the buttons of its own work above.")
        _end(connection, merchant_id, order_id, [hold_id], at, actor)
        return connection_id

    return database.transact(work)


def keep_up(connection: Connection, merchant_id: UUID, told: Mapping[UUID, Order], *, at: datetime) -> None:
    """Bring the holds of orders in line with what their channels say of them now, in the commit that keeps it: the
    channels' own holds, risk, payment and address. What a person has placed stays; what a person has taken off comes
    back only for another reason."""
    rows = _of_automatic(connection, merchant_id, told)
    own_addresses = _own_addresses(connection, merchant_id, told, at)
    new: list[tuple[UUID, Hold]] = []
    for order_id, order in told.items():
        wanted = {(each.reason.value, each.external_id[:200]): each for each in _channels_holds(order)}
        if _to_be_shipped(order):
            for each in _our_holds(order, own_addresses.get(order_id, order.shipping_address)):
                wanted[each.reason.value, each.external_id] = each
        if order.status in (OrderStatus.PENDING, OrderStatus.OPEN):
            for row in rows.get(order_id, []):
                if row.external_id == _CANCELLING and row.released_at is None:  # the channel has not cancelled it yet
                    wanted[row.reason, row.external_id] = _cancelling(row.placed_by)
        new += _settle(connection, merchant_id, order_id, wanted, rows.get(order_id, []), at)
    _place_all(connection, merchant_id, new, at)
    if cancelled := [order_id for order_id, order in told.items() if order.status is OrderStatus.CANCELLED]:
        effects.come_about(connection, merchant_id, cancelled, "cancel_order", at=at)
    for order_id, each in new:
        if each.reason is HoldReason.CANCELLATION:
            _ask_whether_to_cancel(connection, merchant_id, order_id, told[order_id], each, at)


def _ask_whether_to_cancel(
    connection: Connection, merchant_id: UUID, order_id: UUID, order: Order, asked: Hold, at: datetime
) -> None:
    """Nothing goes on by itself while the customer's wish stands, so somebody has to decide."""
    this = t.sales_order.c
    connection_id = connection.execute(
        select(this.connection_id).where(this.merchant_id == merchant_id, this.id == order_id)
    ).scalar_one()
    activity.raise_issue(
        connection,
        merchant_id,
        CANCELLATION_ASKED,
        str(order_id),
        f"The customer asks to cancel order {order.number}: {asked.note or 'they do not say why'}",
        "Cancel it at its channel, and what is under way here is taken back. Or release its hold, and it ships all the "
        "same.",
        at=at,
        connection_id=connection_id,
        order_id=order_id,
        link=f"/orders/{order_id}",
    )


def check_address(connection: Connection, merchant_id: UUID, order_id: UUID, *, at: datetime, actor: str = "") -> None:
    """Hold a locked order for its address, or no longer: a person has changed it, or where the order goes."""
    order = t.sales_order.c
    row = connection.execute(
        select(order.status, order.collect_at, t.SHIP_TO.label("ship_to")).where(
            order.merchant_id == merchant_id, order.id == order_id
        )
    ).one()
    line = t.order_line.c
    ships = connection.execute(
        select(line.id)
        .where(line.merchant_id == merchant_id, line.order_id == order_id, line.present, line.requires_shipping)
        .limit(1)
    ).first()
    wrong: tuple[str, ...] = ()
    if row.status == OrderStatus.OPEN and row.collect_at is None and ships is not None:
        wrong = addresses.check(from_plain(Address, row.ship_to)).wrong
    note = " ".join(wrong)[:500]
    open_ones = _open_ones(connection, merchant_id, [order_id], _BY_ADDRESS)
    if over := [each.id for each in open_ones if each.note != note]:
        _end(connection, merchant_id, order_id, over, at, actor)
    if wrong and len(over) == len(open_ones):
        place(connection, merchant_id, order_id, HoldReason.ADDRESS, note, at=at, external_id=_BY_ADDRESS)


def wait_for_stock(connection: Connection, merchant_id: UUID, waits: Mapping[UUID, bool], *, at: datetime) -> None:
    """Hold locked orders that wait for stock because their policy ships them whole; what does not wait, no longer."""
    open_ones = {
        row.order_id: row.id
        for some in in_chunks(waits)
        for row in _open_ones(connection, merchant_id, some, _BY_STOCK)
    }
    note = "The routing policy ships an order whole, and not all of it is there yet."
    stock = Hold(external_id=_BY_STOCK, reason=HoldReason.BACKORDER, note=note)
    new = [(order_id, stock) for order_id, does in waits.items() if does and order_id not in open_ones]
    _place_all(connection, merchant_id, new, at)
    for order_id, hold_id in open_ones.items():
        if not waits[order_id]:
            _end(connection, merchant_id, order_id, [hold_id], at, "")


def while_cancelling(connection: Connection, merchant_id: UUID, order_id: UUID, *, at: datetime, actor: str) -> None:
    """Hold a locked order while its channel is asked to cancel it; off when it has, or by ``not_cancelled``."""
    each = _cancelling(actor)
    place(
        connection,
        merchant_id,
        order_id,
        each.reason,
        each.note,
        at=at,
        actor=each.held_by,
        external_id=each.external_id,
    )


def not_cancelled(connection: Connection, merchant_id: UUID, order_id: UUID, *, at: datetime) -> None:
    """The channel did not cancel a locked order: it goes on."""
    if ended := [row.id for row in _open_ones(connection, merchant_id, [order_id], _CANCELLING)]:
        _end(connection, merchant_id, order_id, ended, at, "")


def _open_ones(
    connection: Connection, merchant_id: UUID, order_ids: Sequence[UUID], external_id: str
) -> Sequence[Row[Any]]:
    """The holds of this kind of ours that lie on these orders now."""
    hold = t.order_hold.c
    return connection.execute(
        select(t.order_hold).where(
            hold.merchant_id == merchant_id,
            hold.order_id.in_(order_ids),
            hold.external_id == external_id,
            hold.released_at.is_(None),
        )
    ).all()


def _cancelling(actor: str) -> Hold:
    note = "The channel is asked to cancel it."
    return Hold(external_id=_CANCELLING, reason=HoldReason.MANUAL, note=note, held_by=actor)


def _of_automatic(connection: Connection, merchant_id: UUID, order_ids: Collection[UUID]) -> dict[UUID, list[Row[Any]]]:
    """What was ever held for the channel's or the hub's own reasons, by order."""
    hold = t.order_hold.c
    found: dict[UUID, list[Row[Any]]] = {}
    for some in in_chunks(order_ids):
        for row in connection.execute(
            select(t.order_hold).where(
                hold.merchant_id == merchant_id,
                hold.order_id.in_(some),
                hold.external_id.not_in(("", _BY_STOCK)),
            )
        ):
            found.setdefault(row.order_id, []).append(row)
    return found


def _settle(
    connection: Connection,
    merchant_id: UUID,
    order_id: UUID,
    wanted: Mapping[tuple[str, str], Hold],
    rows: Iterable[Row[Any]],
    at: datetime,
) -> list[tuple[UUID, Hold]]:
    """End what holds an order no longer; returns what it is to be held for from now on."""
    held: dict[tuple[str, str], Row[Any]] = {}
    let_go: set[tuple[str, str]] = set()  # by a person, who has looked at just this
    for row in rows:
        if row.released_at is None:
            held[row.reason, row.external_id] = row
        elif row.released_by and _releasable(row):
            let_go.add((row.external_id, _what_was_looked_at(row.external_id, row.reason, row.note)))
    over = [row.id for key, row in held.items() if key not in wanted or _is_another(row, wanted[key])]
    if over:
        _end(connection, merchant_id, order_id, over, at, "")
    return [
        (order_id, each)
        for key, each in wanted.items()
        if (key not in held or held[key].id in over)
        and (each.external_id[:200], _what_was_looked_at(each.external_id, each.reason, each.note[:500])) not in let_go
    ]


def _releasable(row: Row[Any]) -> bool:
    """Whether a person may take a hold off here."""
    return not row.external_id or row.external_id.startswith(_OURS) or row.reason == HoldReason.CANCELLATION


def _what_was_looked_at(external_id: str, reason: str, note: str) -> str:
    """What of a hold a person has decided about: an address that is wrong in another way is another question, and so is
    another reason to cancel."""
    return note if external_id == _BY_ADDRESS or reason == HoldReason.CANCELLATION else ""


def _is_another(row: Row[Any], wanted: Hold) -> bool:
    """Whether the address is wrong in another way than it was."""
    return bool(row.external_id == _BY_ADDRESS and row.note != wanted.note[:500])


def _to_be_shipped(order: Order) -> bool:
    return (
        order.status is OrderStatus.OPEN
        and not order.shipped_by_channel
        and any(line.requires_shipping and line.open_quantity > 0 for line in order.lines)
    )


def _our_holds(order: Order, ship_to: Address | None) -> Iterable[Hold]:
    """Why the hub itself holds an order that is to be shipped; without an address the customer fetches it."""
    if order.risk is not None and order.risk.level is RiskLevel.HIGH:
        yield Hold(external_id=_BY_RISK, reason=HoldReason.FRAUD, note="; ".join(order.risk.reasons))
    if not order.paid:
        note = "The channel asks for it to be shipped, and nobody has paid for it yet."
        yield Hold(external_id=_BY_PAYMENT, reason=HoldReason.PAYMENT, note=note)
    if ship_to is not None and (wrong := addresses.check(ship_to).wrong):
        yield Hold(external_id=_BY_ADDRESS, reason=HoldReason.ADDRESS, note=" ".join(wrong))


def _own_addresses(
    connection: Connection, merchant_id: UUID, told: Mapping[UUID, Order], at: datetime
) -> dict[UUID, Address | None]:
    """Where orders go that do not go to the channel's address: as a person corrected it, or None: it is fetched, or its
    customer is forgotten. A correction ends when the channel says another address than the one it stands for."""
    order = t.sales_order.c
    found: dict[UUID, Address | None] = {}
    for some in in_chunks([order_id for order_id, each in told.items() if _to_be_shipped(each)]):
        for row in connection.execute(
            select(order.id, order.own_address, order.own_address_for, order.collect_at, order.erased_at).where(
                order.merchant_id == merchant_id,
                order.id.in_(some),
                order.own_address.is_not(None) | order.collect_at.is_not(None) | order.erased_at.is_not(None),
            )
        ).all():
            if row.collect_at is not None or row.erased_at is not None:
                found[row.id] = None
            elif to_plain(told[row.id].shipping_address) == row.own_address_for:
                found[row.id] = from_plain(Address, row.own_address)
            else:
                connection.execute(
                    update(t.sales_order)
                    .where(order.merchant_id == merchant_id, order.id == row.id)
                    .values(own_address=None, own_address_for=None)
                )
                searching.keep_up(connection, merchant_id, [row.id])
                activity.note(
                    connection,
                    merchant_id,
                    "address_changed",
                    "The channel says another address now: it holds, and the corrected one is dropped",
                    at=at,
                    order_id=row.id,
                )
    return found


def _channels_holds(order: Order) -> Iterable[Hold]:
    if order.shipped_by_channel:
        return  # it is not ours to hold
    for each in order.holds:
        if each.reason is not HoldReason.CANCELLATION or order.status in (OrderStatus.PENDING, OrderStatus.OPEN):
            yield each
    for work in order.work:
        yield from work.holds


def _end(
    connection: Connection, merchant_id: UUID, order_id: UUID, hold_ids: Iterable[UUID], at: datetime, actor: str
) -> None:
    hold = t.order_hold.c
    reasons = connection.execute(
        update(t.order_hold)
        .where(hold.merchant_id == merchant_id, hold.id.in_(list(hold_ids)))
        .values(released_at=at, released_by=actor)
        .returning(hold.reason)
    ).scalars()
    ended = sorted(set(reasons))
    if HoldReason.CANCELLATION in ended:
        activity.resolve_issue(connection, merchant_id, CANCELLATION_ASKED, str(order_id), at=at, by=actor)
    named = ", ".join(ended)
    activity.note(
        connection, merchant_id, "hold_released", f"No longer on hold ({named})", at=at, order_id=order_id, actor=actor
    )
    # What waited for this goes on: the lanes "route" and "ship" look at the order again.
    routing_queue.mark(connection, merchant_id, [order_id], at=at)
    labels.ask_again(connection, merchant_id, order_id, at=at)


# ---------------------------------------------------------------- telling


@dataclass(frozen=True, slots=True)
class HoldView:
    """One hold as a page shows it. ``ours``: it was placed here. ``releasable``: a person may take it off here."""

    id: UUID
    reason: str
    note: str
    placed_by: str
    placed_at: datetime
    released_by: str
    released_at: datetime | None
    ours: bool
    releasable: bool
    automatic: bool


def holds(connection: Connection, merchant_id: UUID, order_id: UUID) -> list[HoldView]:
    """Every hold of an order, those that hold it now first."""
    hold = t.order_hold.c
    rows = connection.execute(
        select(t.order_hold)
        .where(hold.merchant_id == merchant_id, hold.order_id == order_id)
        .order_by(hold.released_at.is_not(None), hold.placed_at, hold.id)
    )
    return [
        HoldView(
            id=row.id,
            reason=row.reason,
            note=row.note,
            placed_by=row.placed_by,
            placed_at=row.placed_at,
            released_by=row.released_by,
            released_at=row.released_at,
            ours=not row.external_id or row.external_id.startswith(_OURS),
            releasable=_releasable(row),
            automatic=row.external_id.startswith(_OURS),
        )
        for row in rows
    ]
