"""Telling a channel once more what has left, where a customer says that its tracking never came.

An effect of its own, never the old one again: the channel is asked first, and where it has the shipment nothing is
written. Only a channel that can be asked so (``Settlement.LOOKUP``) is told again; any other might ship it twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, and_, exists, or_, select

from hub import access
from hub.access import Permission
from hub.connector import Connector, Settlement
from hub.errors import Conflict
from hub.store import channel_work, fulfillment
from hub.store import tables as t
from hub.store.channel_work import Asked
from hub.store.database import Database, Lanes

KIND = "confirm_shipment"

_AnyRow = Row[*tuple[Any, ...]]

_UNDER_WAY = ("planned", "in_flight", "unknown")
_GONE_ON = ("pending", "open", "fulfilled")  # of an order that is over by another way nothing is told again


@dataclass(frozen=True, slots=True)
class Told:
    """A shipment that its channel knows of, and that still holds. ``again`` is the state of the effect that told it
    last, "" where none did, and ``had_it`` whether the channel had it already then."""

    reference: str
    carrier: str
    tracking_numbers: Sequence[str]
    told_at: datetime
    request: Mapping[str, Any]
    again: str = ""
    had_it: bool = False

    @property
    def is_under_way(self) -> bool:
        """Whether it is being told again at this moment, or nobody knows whether it was."""
        return self.again in _UNDER_WAY


def of_order(connection: Connection, merchant_id: UUID, order_id: UUID) -> list[Told]:
    """What the channel was told of an order's shipments and could be told again, the oldest first."""
    this = t.effect.c
    rows = connection.execute(
        select(t.effect, stands().label("stands"))
        .where(this.merchant_id == merchant_id, this.order_id == order_id, this.kind == KIND)
        .order_by(this.created_at, this.generation)
    )
    return gathered(rows)


def gathered(rows: Iterable[_AnyRow]) -> list[Told]:
    """The same from the effects of an order that tell of shipments, the oldest first, each with ``stands``."""
    first: dict[str, _AnyRow] = {}
    again: dict[str, _AnyRow] = {}
    for row in rows:  # what was tried again comes after what it was tried for
        if reference := row.request.get("reference"):  # of an erased customer's order nothing is known
            (again if row.look_first else first)[reference] = row
    return [
        _told(reference, row, again.get(reference))
        for reference, row in first.items()
        if row.state == "succeeded" and row.stands
    ]


def stands() -> ColumnElement[bool]:
    """Whether the shipment that an effect tells of has left, no other label takes its place, and its order goes on."""
    effect, order = t.effect.c, t.sales_order.c
    sent, along, later = t.shipment.c, t.shipment_companion.c, t.shipment.alias("later").c
    reference = effect.request["reference"].as_string()
    holds = (
        sent.merchant_id == effect.merchant_id,
        sent.state == "shipped",
        sent.withdrawn_at.is_(None),
        ~exists().where(later.merchant_id == sent.merchant_id, later.supersedes_id == sent.id),
    )
    its_own = exists().where(*holds, sent.order_id == effect.order_id, sent.reference == reference)
    in_another = exists().where(
        *holds,
        along.merchant_id == effect.merchant_id,
        along.order_id == effect.order_id,
        along.reference == reference,
        along.shipment_id == sent.id,
    )
    goes_on = exists().where(
        order.merchant_id == effect.merchant_id, order.id == effect.order_id, order.status.in_(_GONE_ON)
    )
    return and_(effect.kind == KIND, goes_on, or_(its_own, in_another))


def _told(reference: str, first: _AnyRow, again: _AnyRow | None) -> Told:
    return Told(
        reference,
        first.request.get("carrier", ""),
        tuple(first.request.get("tracking_numbers", ())),
        first.finished_at or first.created_at,
        first.request,
        again.state if again else "",
        bool(again and (again.result or {}).get("already")),
    )


def why_not(connector: type[Connector] | None) -> str:
    """Why a channel cannot be told again at all, "" if it can; None stands for one that cannot be asked any more."""
    if connector is None:
        return "This shop cannot be told anything any more: it was removed, or its connector is missing."
    if connector.effects.get(KIND) is not Settlement.LOOKUP:
        return (
            f"{connector.label} cannot be asked whether it has a shipment, and told again it might ship twice. Enter "
            "the tracking there."
        )
    return ""


@access.needs(Permission.ORDERS)
def tell(
    database: Database,
    merchant_id: UUID,
    order_id: UUID,
    reference: str,
    connector: type[Connector] | None,
    *,
    once: UUID,
    actor: str,
) -> Lanes:
    """Have the channel told of a shipment once more; ``once`` is of the form, the same however often it is sent.
    Returns the lanes to ring for. Raises Conflict where it cannot be told, or is on its way to be."""
    if why := why_not(connector):
        raise Conflict(why)

    def work(connection: Connection) -> Lanes:
        at = database.now(connection)

        def asked(order: Row[Any]) -> Asked:
            told = next(
                (each for each in of_order(connection, merchant_id, order_id) if each.reference == reference), None
            )
            if told is None:
                raise Conflict("This shipment does not stand that way any more. Look at the order again.")
            if told.is_under_way:
                raise Conflict("It is on its way to the channel already. Wait for what comes of it.")
            said = f"The channel is to be told of {reference} again"
            return Asked(told.request, "shipment_told_again", said, look_first=True)

        effect_id = channel_work.ask(
            connection,
            merchant_id,
            order_id,
            KIND,
            f"{reference}/again/{once}",
            asked,
            at=at,
            actor=actor,
            turn=fulfillment.turn_to_confirm,
        )
        this = t.effect.c
        where = select(this.connection_id).where(this.merchant_id == merchant_id, this.id == effect_id)
        return [(connection.execute(where).scalar_one(), "effects")]

    return database.transact(work)


def may_be_told(connection: Connection, effect: Row[Any], at: datetime) -> None:
    """The gate of a shipment that is told again: it may have been taken back or relabelled since that was asked for."""
    if not effect.look_first or effect.order_id is None:
        return
    reference = effect.request.get("reference", "")
    if reference not in {each.reference for each in of_order(connection, effect.merchant_id, effect.order_id)}:
        raise Conflict("The shipment does not stand that way any more, so the channel is not told of it again.")
