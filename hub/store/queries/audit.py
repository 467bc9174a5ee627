"""The audit log: what people did, who came in and who tried to, a page at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, literal_column, or_, select

from hub import access
from hub.access import Permission
from hub.store import tables as t
from hub.store.activity import OPERATOR
from hub.store.queries import parts

# Written out, not bound: only so a database sees that its index of what people did holds every row.
_NOBODY: ColumnElement[str] = literal_column("''")


@dataclass(frozen=True, slots=True)
class AuditView:
    """One thing that somebody did. ``details`` says what was changed, where that is known."""

    id: UUID
    at: datetime
    kind: str
    actor: str
    summary: str
    details: dict[str, Any] | None
    order_id: UUID | None
    connection_id: UUID | None


@access.needs(Permission.PEOPLE)
def audit(
    connection: Connection,
    merchant_id: UUID,
    *,
    actor: str = "",
    kinds: Sequence[str] = (),
    since: datetime | None = None,
    until: datetime | None = None,
    before: tuple[datetime, UUID] | None = None,
    limit: int = parts.PAGE,
) -> list[AuditView]:
    """What people did, the newest first; ``kinds`` are what the kinds begin with, ``before`` (at, id) of the last one
    shown."""
    line = t.activity.c
    query: parts.AnySelect = (
        select(line.id, line.at, line.kind, line.actor, line.summary, line.details, line.order_id, line.connection_id)
        .where(line.merchant_id == merchant_id, line.actor != _NOBODY)
        .order_by(line.at.desc(), line.id.desc())
        .limit(limit)
    )
    if actor:
        query = query.where(line.actor == actor)
    if kinds:
        query = query.where(or_(*(line.kind.startswith(each, autoescape=True) for each in kinds)))
    if since is not None:
        query = query.where(line.at >= since)
    if until is not None:
        query = query.where(line.at < until)
    if before is not None:
        at, last = before
        query = query.where(line.at <= at, or_(line.at < at, line.id < last))
    return [AuditView(*row) for row in connection.execute(query)]


def actors(connection: Connection, merchant_id: UUID) -> list[str]:
    """Who may be found in it: everybody who works here or did, and the operator."""
    emails = connection.execute(
        select(t.user_account.c.email)
        .join(t.membership, t.membership.c.user_id == t.user_account.c.id)
        .where(t.membership.c.merchant_id == merchant_id)
        .order_by(t.user_account.c.email)
    ).scalars()
    return [*emails, OPERATOR]
