"""Holds: why an order must not be shipped now, who said so, and that it may go on once nobody says so any more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, insert, select, update

from hub.core.model import Hold, HoldReason, Order, RiskLevel
from hub.errors import BadInput, Conflict
from hub.store import activity
from hub.store import tables as t
from hub.store.database import Database, for_update, in_chunks, new_id

# Marks of the holds that the hub itself places and takes off again; those of a channel carry the channel's id.
_BY_RISK = "hub:risk"

_IN_WORDS: Mapping[HoldReason, str] = {
    HoldReason.PAYMENT: "waits for its payment",
    HoldReason.FRAUD: "may be a fraud",
    HoldReason.ADDRESS: "has an address that cannot be right",
    HoldReason.BACKORDER: "waits for stock",
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
    connection.execute(
        insert(t.order_hold).values(
            merchant_id=merchant_id,
            id=new_id(),
            order_id=order_id,
            reason=reason.value,
            note=note[:500],
            external_id=external_id[:200],
            placed_by=actor,
            placed_at=at,
        )
    )
    said = f": {note}" if note else ""
    activity.note(
        connection,
        merchant_id,
        "order_held",
        f"On hold, it {_IN_WORDS[reason]}{said}",
        at=at,
        order_id=order_id,
        actor=actor,
    )
    return True


def hold_order(
    database: Database, merchant_id: UUID, order_id: UUID, reason: HoldReason, note: str, actor: str
) -> None:
    """A person holds an order. Raises BadInput without a note, Conflict for an order that does not exist."""
    if not note.strip():
        raise BadInput("Say why it is held: whoever packs has to know.", {"note": ["Say why."]})

    def work(connection: Connection) -> None:
        _locked_order(connection, merchant_id, order_id)
        place(connection, merchant_id, order_id, reason, note.strip(), at=database.now(connection), actor=actor)

    database.transact(work)


def release(database: Database, merchant_id: UUID, order_id: UUID, hold_id: UUID, actor: str) -> UUID:
    """A person takes a hold off; returns the order's connection, whose lane "route" goes on with it. Raises Conflict
    when it is off already, or is the channel's own, which only the channel takes off."""

    def work(connection: Connection) -> UUID:
        connection_id = _locked_order(connection, merchant_id, order_id)
        at = database.now(connection)
        hold = t.order_hold.c
        here = (hold.merchant_id == merchant_id, hold.id == hold_id, hold.order_id == order_id)
        row = connection.execute(select(t.order_hold).where(*here)).one_or_none()
        if row is None or row.released_at is not None:
            raise Conflict("This hold was taken off already. Reload the page.")
        if row.external_id and not row.external_id.startswith("hub:"):
            raise Conflict("The channel holds this order. Release it there, or with the buttons of its own work above.")
        _end(connection, merchant_id, order_id, [hold_id], at, actor)
        return connection_id

    return database.transact(work)


def keep_up(connection: Connection, merchant_id: UUID, told: Mapping[UUID, Order], *, at: datetime) -> None:
    """Bring the holds of orders in line with what their channels say of them now: its own holds, and its opinion of the
    risk. What a person has placed, or taken off, stays as it is."""
    hold = t.order_hold.c
    open_ones: dict[UUID, dict[tuple[str, str], UUID]] = {}
    ever_by_risk: set[UUID] = set()
    for some in in_chunks(told):
        for row in connection.execute(
            select(hold.order_id, hold.id, hold.reason, hold.external_id, hold.released_at).where(
                hold.merchant_id == merchant_id, hold.order_id.in_(some), hold.external_id != ""
            )
        ):
            if row.released_at is None:
                open_ones.setdefault(row.order_id, {})[row.reason, row.external_id] = row.id
            if row.external_id == _BY_RISK:
                ever_by_risk.add(row.order_id)
    for order_id, order in told.items():
        wanted = {(each.reason.value, each.external_id[:200]): each for each in _channels_holds(order)}
        risky = order.risk is not None and order.risk.level is RiskLevel.HIGH
        # Once a person has looked at the risk and let it go, it is not held for it again.
        if risky and order.risk is not None and (order_id not in ever_by_risk or order_id in open_ones):
            note = "; ".join(order.risk.reasons)
            wanted[HoldReason.FRAUD.value, _BY_RISK] = Hold(external_id=_BY_RISK, reason=HoldReason.FRAUD, note=note)
        held = open_ones.get(order_id, {})
        for key, each in wanted.items():
            if key not in held:
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
        if over := [hold_id for key, hold_id in held.items() if key not in wanted]:
            _end(connection, merchant_id, order_id, over, at, "")


def _channels_holds(order: Order) -> Iterable[Hold]:
    yield from order.holds
    for work in order.work:
        yield from work.holds


def _end(
    connection: Connection, merchant_id: UUID, order_id: UUID, hold_ids: Iterable[UUID], at: datetime, actor: str
) -> None:
    hold, order = t.order_hold.c, t.sales_order.c
    reasons = connection.execute(
        update(t.order_hold)
        .where(hold.merchant_id == merchant_id, hold.id.in_(list(hold_ids)))
        .values(released_at=at, released_by=actor)
        .returning(hold.reason)
    ).scalars()
    named = ", ".join(sorted(set(reasons)))
    activity.note(
        connection, merchant_id, "hold_released", f"No longer on hold ({named})", at=at, order_id=order_id, actor=actor
    )
    # What waited for this goes on: the lane "route" looks at the order again.
    connection.execute(
        update(t.sales_order).where(order.merchant_id == merchant_id, order.id == order_id).values(route_at=at)
    )


def _locked_order(connection: Connection, merchant_id: UUID, order_id: UUID) -> UUID:
    order = t.sales_order.c
    connection_id: UUID | None = connection.execute(
        for_update(
            connection, select(order.connection_id).where(order.merchant_id == merchant_id, order.id == order_id)
        )
    ).scalar_one_or_none()
    if connection_id is None:
        raise Conflict("This order does not exist. Go back to the list.")
    return connection_id
