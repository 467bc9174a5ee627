"""Issues and the activity log."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, and_, func, or_, select

from hub.store import tables as t
from hub.store.activity import SIGN_INS
from hub.store.queries import parts


@dataclass(frozen=True, slots=True)
class IssueView:
    """Something a person must decide, or has decided."""

    id: UUID
    kind: str
    subject: str
    title: str
    next_step: str
    link: str
    times: int
    opened_at: datetime
    last_seen_at: datetime
    resolved_at: datetime | None
    resolved_by: str
    connection_id: UUID | None
    connection_label: str
    order_id: UUID | None
    order_number: str


@dataclass(frozen=True, slots=True)
class ActivityView:
    """One thing that happened."""

    id: UUID
    at: datetime
    kind: str
    summary: str
    actor: str
    details: Mapping[str, Any] | None
    connection_id: UUID | None
    connection_label: str
    order_id: UUID | None
    order_number: str


def issues(
    connection: Connection,
    merchant_id: UUID,
    *,
    resolved: bool = False,
    kind: str = "",
    kinds: Collection[str] = (),
    connection_id: UUID | None = None,
    order_id: UUID | None = None,
    before: tuple[datetime, UUID] | None = None,
    limit: int = parts.PAGE,
) -> list[IssueView]:
    """Open issues by the time they came up, or resolved ones by the time they went, the newest first."""
    issue = t.issue.c
    moment = issue.resolved_at if resolved else issue.opened_at
    query = (
        _issue_columns()
        .where(issue.merchant_id == merchant_id, ~parts.is_open() if resolved else parts.is_open())
        .order_by(moment.desc(), issue.id.desc())
        .limit(limit)
    )
    if kind:
        query = query.where(issue.kind == kind)
    if kinds:
        query = query.where(issue.kind.in_(kinds))
    if connection_id is not None:
        query = query.where(issue.connection_id == connection_id)
    if order_id is not None:
        query = query.where(issue.order_id == order_id)
    if before is not None:
        at, last = before
        query = query.where(moment <= at, or_(moment < at, issue.id < last))
    return [IssueView(*row) for row in connection.execute(query)]


def issue_counts(connection: Connection, merchant_id: UUID, *, connection_id: UUID | None = None) -> dict[str, int]:
    """How many issues of each kind are open, the most frequent first."""
    issue, count = t.issue.c, func.count().label("number")
    query = (
        select(issue.kind, count)
        .where(issue.merchant_id == merchant_id, parts.is_open())
        .group_by(issue.kind)
        .order_by(count.desc(), issue.kind)
    )
    if connection_id is not None:
        query = query.where(issue.connection_id == connection_id)
    return {row.kind: row.number for row in connection.execute(query)}


def issue(connection: Connection, merchant_id: UUID, issue_id: UUID) -> IssueView | None:
    """One issue, open or resolved."""
    row = connection.execute(
        _issue_columns().where(t.issue.c.merchant_id == merchant_id, t.issue.c.id == issue_id)
    ).first()
    return None if row is None else IssueView(*row)


def _issue_columns() -> parts.AnySelect:
    issue = t.issue.c
    return (
        select(
            issue.id,
            issue.kind,
            issue.subject,
            issue.title,
            issue.next_step,
            issue.link,
            issue.times,
            issue.opened_at,
            issue.last_seen_at,
            issue.resolved_at,
            issue.resolved_by,
            issue.connection_id,
            func.coalesce(t.connection.c.label, ""),
            issue.order_id,
            func.coalesce(t.sales_order.c.number, ""),
        )
        .outerjoin(t.connection, parts.same(issue.connection_id, t.connection, t.issue))
        .outerjoin(t.sales_order, parts.same(issue.order_id, t.sales_order, t.issue))
    )


def activity(
    connection: Connection,
    merchant_id: UUID,
    *,
    connection_id: UUID | None = None,
    order_id: UUID | None = None,
    family: str = "",
    actor: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    before: tuple[datetime, UUID] | None = None,
    limit: int = parts.PAGE,
) -> list[ActivityView]:
    """What happened, the newest first; ``before`` is (at, id) of the last one shown.

    Of a connection it is what happened to itself: what happened to its orders is told of the orders. ``family`` is
    what a kind begins with.
    """
    line = t.activity.c
    query: parts.AnySelect = (
        select(
            line.id,
            line.at,
            line.kind,
            line.summary,
            line.actor,
            line.details,
            line.connection_id,
            func.coalesce(t.connection.c.label, ""),
            line.order_id,
            func.coalesce(t.sales_order.c.number, ""),
        )
        .outerjoin(t.connection, parts.same(line.connection_id, t.connection, t.activity))
        .outerjoin(t.sales_order, parts.same(line.order_id, t.sales_order, t.activity))
        .where(line.merchant_id == merchant_id, line.kind.not_in(SIGN_INS))
        .order_by(line.at.desc(), line.id.desc())
        .limit(limit)
    )
    if connection_id is not None:
        query = query.where(line.connection_id == connection_id, line.order_id.is_(None))
    if order_id is not None:
        query = query.where(line.order_id == order_id)
    if family:
        # A range of names, so that an index leads to them: "order" and "order_held", not "orders".
        query = query.where(or_(line.kind == family, and_(line.kind >= f"{family}_", line.kind < f"{family}`")))
    if actor:
        query = query.where(line.actor == actor)
    if since is not None:
        query = query.where(line.at >= since)
    if until is not None:
        query = query.where(line.at <= until)
    if before is not None:
        at, last = before
        query = query.where(line.at <= at, or_(line.at < at, line.id < last))
    return [ActivityView(*row) for row in connection.execute(query)]


def people(connection: Connection, merchant_id: UUID) -> list[str]:
    """The e-mail addresses of those who work for the merchant."""
    member, user = t.membership.c, t.user_account.c
    rows = connection.execute(
        select(user.email)
        .join(t.membership, member.user_id == user.id)
        .where(member.merchant_id == merchant_id)
        .order_by(user.email)
    )
    return [row.email for row in rows]
