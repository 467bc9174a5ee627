"""How an order was dealt out to locations, as its page tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, literal, null, select, union_all

from hub.core.plain import from_plain
from hub.core.routing import Decision
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

    ``theirs`` are the channel's active locations: their names by its own ids.
    """

    decisions: Sequence[DecisionView]
    places: Sequence[tuple[UUID, str]]
    theirs: Mapping[str, str]


def of_order(connection: Connection, merchant_id: UUID, order_id: UUID, connection_id: UUID) -> DealtOut:
    """Where an order of this connection is shipped from, and why."""
    this = t.routing_decision.c
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
    ours, theirs = _places(connection, merchant_id, connection_id)
    return DealtOut(decisions, ours, theirs)


def _places(
    connection: Connection, merchant_id: UUID, connection_id: UUID
) -> tuple[list[tuple[UUID, str]], dict[str, str]]:
    """The merchant's locations, and the channel's."""
    ours, theirs = t.location.c, t.channel_location.c
    every = union_all(
        select(ours.id.label("id"), literal("").label("external_id"), ours.name.label("name")).where(
            ours.merchant_id == merchant_id
        ),
        select(null(), theirs.external_id, theirs.name).where(
            theirs.merchant_id == merchant_id, theirs.connection_id == connection_id, theirs.active
        ),
    ).subquery()
    rows = connection.execute(select(every).order_by(every.c.name, every.c.external_id)).all()
    return (
        [(row.id, row.name) for row in rows if row.id is not None],
        {row.external_id: row.name for row in rows if row.id is None},
    )
