"""Issues and the activity log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, func, or_, select

from hub.store import tables as t
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
    if connection_id is not None:
        query = query.where(issue.connection_id == connection_id)
    if order_id is not None:
        query = query.where(issue.order_id == order_id)
    if before is not None:
        at, last = before
        query = query.where(moment <= at, or_(moment < at, issue.id < last))
    return [IssueView(*row) for row in connection.execute(query)]


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
    before: tuple[datetime, UUID] | None = None,
    limit: int = parts.PAGE,
) -> list[ActivityView]:
    """What happened, the newest first; ``before`` is (at, id) of the last one shown."""
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
        .where(line.merchant_id == merchant_id)
        .order_by(line.at.desc(), line.id.desc())
        .limit(limit)
    )
    if connection_id is not None:
        query = query.where(line.connection_id == connection_id)
    if order_id is not None:
        query = query.where(line.order_id == order_id)
    if before is not None:
        at, last = before
        query = query.where(line.at <= at, or_(line.at < at, line.id < last))
    return [ActivityView(*row) for row in connection.execute(query)]
