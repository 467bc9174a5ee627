"""Click and collect: an order lies ready at a location, its customer is told a code, and the code hands it out."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, select

from hub import access
from hub.access import Permission
from hub.core.model import Address
from hub.core.plain import from_plain
from hub.errors import Conflict
from hub.mail import ready_to_collect
from hub.store import fulfillment, mail, shipments
from hub.store import tables as t
from hub.store.database import Database, Lanes
from hub.store.fulfillment import State

_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # none that is taken for another
_LENGTH = 8


def put_aside(connection: Connection, row: Row[Any], shipment_id: UUID, *, at: datetime) -> Lanes:
    """A locked fulfillment order is packed and waits for its customer, who is told: in the caller's transaction.

    Returns the lanes to ring for.
    """
    shipment, _ = shipments.locked(connection, row.merchant_id, shipment_id)
    shipments.change(connection, shipment, rates_wanted_at=None)  # no carrier is asked
    code = _new_code(connection, row.merchant_id)
    fulfillment.change(connection, row, State.READY, at=at, packed_at=at, collection_code=code)
    fulfillment.note(connection, row, "ready_to_collect", f"{row.reference} is ready to be collected", at=at)
    order, place, owner = t.sales_order.c, t.location.c, t.merchant.c
    told = connection.execute(
        select(order.connection_id, order.number, order.email, order.customer_name).where(
            order.merchant_id == row.merchant_id, order.id == row.order_id
        )
    ).one()
    where = connection.execute(
        select(place.name, place.address).where(place.merchant_id == row.merchant_id, place.id == row.location_id)
    ).one()
    shop = connection.execute(select(owner.name).where(owner.id == row.merchant_id)).scalar_one()
    letter = ready_to_collect(
        shop=shop,
        order_number=told.number,
        name=told.customer_name,
        place=where.name,
        address=_in_lines(from_plain(Address, where.address)),
        code=code,
    )
    occasion = f"{mail.READY}{row.id}"
    mail.queue(connection, row.merchant_id, told.connection_id, row.order_id, occasion, told.email, letter, at=at)
    return [(told.connection_id, "mail")]


def _in_lines(address: Address) -> str:
    city = f"{address.postcode} {address.city}".strip()
    return "\n".join(filter(None, [address.line1, address.line2, city]))


def _new_code(connection: Connection, merchant_id: UUID) -> str:
    work = t.fulfillment_order.c
    while True:
        code = "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
        taken = connection.execute(
            select(work.id).where(work.merchant_id == merchant_id, work.collection_code == code)
        ).first()
        if taken is None:
            return code


def find(connection: Connection, merchant_id: UUID, code: str) -> UUID | None:
    """The fulfillment order with this collection code, typed or scanned; None if there is none."""
    work = t.fulfillment_order.c
    typed = "".join(each for each in code.upper() if each.isalnum())
    if not typed:
        return None
    found: UUID | None = connection.execute(
        select(work.id).where(work.merchant_id == merchant_id, work.collection_code == typed)
    ).scalar_one_or_none()
    return found


@access.needs(Permission.PACK)
def hand_out(database: Database, merchant_id: UUID, fulfillment_order_id: UUID, actor: str) -> Lanes:
    """The customer has it: stock leaves, and the channel is told, without tracking. Returns the lanes to ring for.

    Raises Conflict when it was handed out before, is not ready, or must not be handed out any more.
    """

    def work(connection: Connection) -> Lanes:
        at = database.now(connection)
        row = fulfillment.locked(connection, merchant_id, fulfillment_order_id)
        if row.state == State.COLLECTED:
            raise Conflict(f"{row.reference} was handed out already, on {row.closed_at:%d %b %Y at %H:%M} UTC.")
        row = fulfillment.gate(connection, merchant_id, fulfillment_order_id)
        if row.state != State.READY:
            raise Conflict(f"{row.reference} is {row.state.replace('_', ' ')}: it is not ready to be handed out.")
        sent = t.shipment.c
        shipment = connection.execute(
            select(t.shipment)
            .where(sent.merchant_id == merchant_id, sent.fulfillment_order_id == row.id, sent.state == "draft")
            .order_by(sent.created_at.desc(), sent.id)
            .limit(1)
        ).one_or_none()
        if shipment is None:
            raise Conflict(f"Nothing is put aside for {row.reference}. Pack it first.")
        shipments.change(connection, shipment, state="labelled", service="collected")
        lanes = shipments.ship(connection, merchant_id, shipment.id, at=at, actor=actor)
        fulfillment.change(connection, row, State.COLLECTED, at=at, shipped_at=at)
        fulfillment.note(connection, row, "collected", f"{row.reference} was collected", at=at, actor=actor)
        return lanes

    return database.transact(work)
