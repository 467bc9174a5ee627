"""Fulfillment orders: what one location is asked to ship of an order, from the decision that made it to its end."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, func, insert, select, update

from hub.core.model import OrderStatus
from hub.core.plain import to_plain
from hub.core.shipping import ShipmentConfirmation
from hub.errors import Conflict
from hub.store import activity, effects, routing_queue
from hub.store import tables as t
from hub.store.database import Lanes, for_update, in_chunks, new_id
from hub.store.locking import connection_of, lock_order


class State(StrEnum):
    """Where a fulfillment order stands."""

    OPEN = "open"  # to be picked and packed here, or to be sent to the 3PL
    PACKED = "packed"  # waits for its label, or to be handed over
    READY = "ready"  # to be collected
    REQUESTED = "requested"  # sent to the 3PL, which has not answered yet
    ACCEPTED = "accepted"
    IN_PROGRESS = "in_progress"
    SHIPPED = "shipped"
    COLLECTED = "collected"
    REJECTED = "rejected"  # the location will not ship it: dealt out anew
    CANCELLING = "cancelling"  # the 3PL was asked not to ship it
    CANCELLED = "cancelled"
    DELIVERED = "delivered"  # all that was shipped has arrived


# In these nothing more is expected of the location.
ENDED = (State.SHIPPED, State.COLLECTED, State.REJECTED, State.CANCELLED, State.DELIVERED)
# In these somebody else has it in hand, who has to be asked before anything changes.
ELSEWHERE = (State.REQUESTED, State.ACCEPTED, State.IN_PROGRESS, State.CANCELLING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one location is to ship: units by order line. ``service`` is the way to ship it, a word of the hub's."""

    location_id: UUID
    units: Mapping[UUID, int]
    service: str = ""
    collect: bool = False
    ship_by: datetime | None = None


def create(
    connection: Connection,
    merchant_id: UUID,
    order_id: UUID,
    parts: Sequence[Part],
    *,
    at: datetime,
    decision_id: UUID | None = None,
) -> list[UUID]:
    """Ask locations to ship parts of an order, in the caller's transaction, which holds the order's row locked."""
    decisions = {order_id: decision_id} if decision_id else {}
    return create_all(connection, merchant_id, {order_id: parts}, at=at, decisions=decisions)


def create_all(
    connection: Connection,
    merchant_id: UUID,
    asked: Mapping[UUID, Sequence[Part]],
    *,
    at: datetime,
    decisions: Mapping[UUID, UUID],
) -> list[UUID]:
    """``create`` for many orders at once, with the decisions by order that they come of."""
    this, order = t.fulfillment_order.c, t.sales_order.c
    orders: dict[UUID, Any] = {}
    last: dict[UUID, int] = {}
    for some in in_chunks(sorted(asked)):
        these = (order.merchant_id == merchant_id, order.id.in_(some))
        orders |= {
            row.id: row for row in connection.execute(select(order.id, order.number, order.priority).where(*these))
        }
        last |= dict(
            connection.execute(
                select(this.order_id, func.max(this.number))
                .where(this.merchant_id == merchant_id, this.order_id.in_(some))
                .group_by(this.order_id)
            ).all()
        )
    rows, lines = [], []
    for order_id, parts in asked.items():
        for number, part in enumerate(parts, start=last.get(order_id, 0) + 1):
            id = new_id()
            rows.append(
                {
                    "merchant_id": merchant_id,
                    "id": id,
                    "order_id": order_id,
                    "location_id": part.location_id,
                    "number": number,
                    "reference": reference_of(orders[order_id].number, number, id),
                    "state": State.OPEN.value,
                    "decision_id": decisions.get(order_id),
                    "collect": part.collect,
                    "priority": orders[order_id].priority,
                    "service": part.service[:60],
                    "ship_by": part.ship_by,
                    "created_at": at,
                    "updated_at": at,
                }
            )
            lines += [
                {
                    "merchant_id": merchant_id,
                    "fulfillment_order_id": id,
                    "order_line_id": line_id,
                    "quantity": units,
                }
                for line_id, units in sorted(part.units.items())
                if units > 0
            ]
    if rows:
        connection.execute(insert(t.fulfillment_order), rows)
        connection.execute(insert(t.fulfillment_line), lines)
    return [row["id"] for row in rows]


def reference_of(order_number: str, number: int, id: UUID) -> str:
    """What carriers and 3PLs know it by: readable, and unlike any other (at most 35 letters, digits and hyphens)."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", order_number).strip("-")[:18].strip("-") or "order"
    mark = base64.b32encode(id.bytes[-5:]).decode()
    return f"{readable}-{number}-{mark}"


def under_way(connection: Connection, merchant_id: UUID, order_ids: Collection[UUID]) -> dict[UUID, int]:
    """Units by order line that some location is still to ship."""
    order, line = t.fulfillment_order.c, t.fulfillment_line.c
    found: dict[UUID, int] = {}
    for some in in_chunks(order_ids):
        for row in connection.execute(
            select(line.order_line_id, func.sum(line.quantity - line.shipped).label("units"))
            .select_from(
                t.fulfillment_line.join(
                    t.fulfillment_order,
                    (order.merchant_id == line.merchant_id) & (order.id == line.fulfillment_order_id),
                )
            )
            .where(order.merchant_id == merchant_id, order.order_id.in_(some), order.closed_at.is_(None))
            .group_by(line.order_line_id)
        ):
            found[row.order_line_id] = int(row.units)
    return found


def locked(connection: Connection, merchant_id: UUID, fulfillment_order_id: UUID) -> Row[Any]:
    """The fulfillment order, locked after its order: everybody who changes one locks in this sequence. Raises
    Conflict when there is none."""
    this = t.fulfillment_order.c
    here = (this.merchant_id == merchant_id, this.id == fulfillment_order_id)
    order_id = connection.execute(select(this.order_id).where(*here)).scalar_one_or_none()
    if order_id is not None:
        lock_order(connection, merchant_id, order_id)
    row = connection.execute(for_update(connection, select(t.fulfillment_order).where(*here))).one_or_none()
    if row is None:
        raise Conflict("This fulfillment order does not exist any more. Go back to the list.")
    return row


def gate(connection: Connection, merchant_id: UUID, fulfillment_order_id: UUID) -> Row[Any]:
    """The fulfillment order, locked, if it may go on towards the customer. Raises Conflict that says why not.

    Whatever costs money or cannot be taken back passes here, in the transaction that plans it: a cancellation, a hold
    or an edit that is known before always wins.
    """
    row = locked(connection, merchant_id, fulfillment_order_id)
    if row.closed_at is not None or row.state == State.CANCELLING:
        raise Conflict(f"Fulfillment order {row.reference} is {row.state}. Nothing more is to be shipped for it.")
    order = t.sales_order.c
    status, number = connection.execute(
        select(order.status, order.number).where(order.merchant_id == merchant_id, order.id == row.order_id)
    ).one()
    if status != OrderStatus.OPEN:
        raise Conflict(f"Order {number} is {status} at its channel. It must not be shipped.")
    if reasons := held(connection, merchant_id, row.order_id):
        raise Conflict(f"Order {number} is on hold ({', '.join(reasons)}). Release it first.")
    return row


def may_be_packed(connection: Connection, merchant_id: UUID, fulfillment_order_id: UUID) -> Row[Any]:
    """The fulfillment order, locked, if somebody here may pack it. Raises Conflict that says why not."""
    row = gate(connection, merchant_id, fulfillment_order_id)
    if row.state != State.OPEN:
        raise Conflict(f"{row.reference} is {row.state.replace('_', ' ')}: there is nothing to pack.")
    place = t.location.c
    kind = connection.execute(
        select(place.kind).where(place.merchant_id == merchant_id, place.id == row.location_id)
    ).scalar_one()
    if kind == "3pl":
        raise Conflict(f"{row.reference} is shipped by a 3PL: nobody packs it here.")
    return row


def held(connection: Connection, merchant_id: UUID, order_id: UUID) -> list[str]:
    """Why the order must not be shipped now; empty: it may."""
    hold = t.order_hold.c
    return list(
        connection.execute(
            select(hold.reason)
            .distinct()
            .where(hold.merchant_id == merchant_id, hold.order_id == order_id, hold.released_at.is_(None))
            .order_by(hold.reason)
        ).scalars()
    )


def change(connection: Connection, row: Row[Any], state: State, *, at: datetime, **values: Any) -> None:
    """Bring a locked fulfillment order into another state."""
    this = t.fulfillment_order.c
    if state in ENDED:
        values.setdefault("closed_at", at)
    connection.execute(
        update(t.fulfillment_order)
        .where(this.merchant_id == row.merchant_id, this.id == row.id)
        .values(state=state.value, updated_at=at, **values)
    )


def note(
    connection: Connection, row: Row[Any], kind: str, summary: str, *, at: datetime, actor: str = "", **details: Any
) -> None:
    """A line on the order's timeline about one of its fulfillment orders."""
    activity.note(
        connection,
        row.merchant_id,
        kind,
        summary[:500],
        at=at,
        order_id=row.order_id,
        actor=actor,
        details={"fulfillment_order": str(row.id), **details},
    )


def confirm(
    connection: Connection,
    merchant_id: UUID,
    connection_id: UUID,
    order_id: UUID,
    confirmation: ShipmentConfirmation,
    *,
    at: datetime,
) -> Lanes:
    """Have the order's channel told what was shipped, in the caller's transaction, after what it was told of the order
    before; returns the lane to ring for."""
    effects.plan(
        connection,
        merchant_id,
        connection_id,
        "confirm_shipment",
        confirmation.reference,
        to_plain(confirmation),
        now=at,
        ordering_key=turn_to_confirm(connection_id, order_id),
        order_id=order_id,
    )
    return [(connection_id, "effects")]


def turn_to_confirm(connection_id: UUID, order_id: UUID) -> str:
    """Under which ordering key a channel is told what left of an order, one after the other."""
    return f"{connection_id}/order/{order_id}"


def deal_out_again(connection: Connection, merchant_id: UUID, order_id: UUID, *, at: datetime) -> Lanes:
    """Have what no location ships any more dealt out anew; returns the lane to ring for."""
    routing_queue.mark(connection, merchant_id, [order_id], at=at)
    return [(connection_of(connection, merchant_id, order_id), "route")]
