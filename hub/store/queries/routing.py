"""How an order was dealt out to locations, as its page tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, select

from hub.core.plain import from_plain
from hub.core.routing import Decision
from hub.store import routing_queue
from hub.store import tables as t

_SHOWN = 20  # decisions of one order


@dataclass(frozen=True, slots=True)
class DecisionView:
    """One decision. ``decision`` is None where its customer was forgotten: only the summary is kept then."""

    id: UUID
    at: datetime
    cause: str
    policy_number: int
    summary: str
    decision: Decision | None


@dataclass(frozen=True, slots=True)
class DealtOut:
    """The decisions about an order, the newest first, and the locations that a person may choose by (id, name).

    ``due_at`` is when it is looked at next; None: there is nothing to be dealt out.
    """

    decisions: Sequence[DecisionView]
    places: Sequence[tuple[UUID, str]]
    due_at: datetime | None


def of_order(connection: Connection, merchant_id: UUID, order_id: UUID) -> DealtOut:
    """Where an order is shipped from, and why."""
    this, place = t.routing_decision.c, t.location.c
    rows = connection.execute(
        select(t.routing_decision)
        .where(this.merchant_id == merchant_id, this.order_id == order_id)
        .order_by(this.at.desc(), this.id.desc())
        .limit(_SHOWN)
    )
    decisions = [
        DecisionView(
            row.id,
            row.at,
            row.cause,
            row.policy_number,
            row.summary,
            from_plain(Decision, row.outcome) if row.outcome else None,
        )
        for row in rows
    ]
    places = connection.execute(
        select(place.id, place.name).where(place.merchant_id == merchant_id).order_by(place.name)
    ).all()
    due_at = routing_queue.due_at(connection, merchant_id, order_id)
    return DealtOut(decisions, [(row.id, row.name) for row in places], due_at)
