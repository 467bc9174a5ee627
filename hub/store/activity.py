"""What people look at: the activity log (append-only) and issues, one open issue per kind and subject."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, select, text, update

from hub import access
from hub.access import Permission
from hub.store import tables as t
from hub.store.database import Database, for_update, new_id, upsert

OPERATOR = "operator"  # the actor of what is done on the command line

# Who came in and who tried: for the audit log alone, not for everybody who looks at what happened.
SIGN_INS = ("signed_in", "sign_in_failed", "session_ended")

# What the kinds of such lines begin with, and of those about who works here and how they sign in.
COMING_IN = ("signed_", "sign_in_", "session_")
PEOPLE = ("person_", "user_", "password_", "two_factor_", "merchant_")


def note(
    connection: Connection,
    merchant_id: UUID,
    kind: str,
    summary: str,
    *,
    at: datetime,
    connection_id: UUID | None = None,
    order_id: UUID | None = None,
    actor: str = "",
    details: Mapping[str, Any] | None = None,
) -> None:
    """Write one line of the activity log; ``actor`` is a person's e-mail address, "" for the hub itself."""
    connection.execute(
        t.activity.insert().values(
            merchant_id=merchant_id,
            id=new_id(),
            at=at,
            kind=kind,
            connection_id=connection_id,
            order_id=order_id,
            actor=actor,
            summary=summary[:500],
            details=dict(details) if details else None,
        )
    )


def raise_issue(
    connection: Connection,
    merchant_id: UUID,
    kind: str,
    subject: str,
    title: str,
    next_step: str,
    *,
    at: datetime,
    connection_id: UUID | None = None,
    order_id: UUID | None = None,
    link: str = "",
) -> None:
    """Open an issue, or count one more occurrence of the open one with this kind and subject."""
    insert = upsert(connection, t.issue).values(
        merchant_id=merchant_id,
        id=new_id(),
        kind=kind,
        subject=subject[:300],
        connection_id=connection_id,
        order_id=order_id,
        title=title[:500],
        next_step=next_step[:500],
        link=link,
        times=1,
        opened_at=at,
        last_seen_at=at,
        resolved_by="",
    )
    connection.execute(
        insert.on_conflict_do_update(
            index_elements=["merchant_id", "kind", "subject"],
            index_where=text("resolved_at is null"),
            set_={
                "times": t.issue.c.times + 1,
                "last_seen_at": at,
                "title": insert.excluded.title,
                "next_step": insert.excluded.next_step,
            },
        )
    )


def resolve_issue(
    connection: Connection, merchant_id: UUID, kind: str, subject: str, *, at: datetime, by: str = ""
) -> bool:
    """Close the open issue of this kind and subject, if there is one; ``by`` "" means its cause went away."""
    return resolve_issues(connection, merchant_id, kind, [subject], at=at, by=by)


def resolve_issues(
    connection: Connection, merchant_id: UUID, kind: str, subjects: Collection[str], *, at: datetime, by: str = ""
) -> bool:
    """Close the open issues of this kind about any of ``subjects``; whether there were any."""
    if not subjects:
        return False
    closed = connection.execute(
        update(t.issue)
        .where(
            t.issue.c.merchant_id == merchant_id,
            t.issue.c.kind == kind,
            t.issue.c.subject.in_([subject[:300] for subject in subjects]),
            t.issue.c.resolved_at.is_(None),
        )
        .values(resolved_at=at, resolved_by=by)
    )
    return closed.rowcount > 0


# ---------------------------------------------------------------- what a person says is dealt with

NEEDS_A_DECISION = "effect"  # the kind of issue that is settled by a decision about its effect


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one issue: "resolved", "over" (it was already), "decide" (it is settled otherwise), or "gone"."""

    issue_id: UUID
    title: str
    result: str


@access.needs(Permission.ISSUES)
def resolve_by_hand(database: Database, merchant_id: UUID, issue_ids: Collection[UUID], actor: str) -> list[Outcome]:
    """Close these issues, because a person says that they are dealt with; what came of each, in their order."""

    def work(connection: Connection) -> list[Outcome]:
        issue = t.issue.c
        at = database.now(connection)
        rows = connection.execute(
            for_update(
                connection,
                select(t.issue).where(issue.merchant_id == merchant_id, issue.id.in_(issue_ids)).order_by(issue.id),
            )
        ).all()
        results = {
            row.id: "over" if row.resolved_at else "decide" if row.kind == NEEDS_A_DECISION else "resolved"
            for row in rows
        }
        closed = [row for row in rows if results[row.id] == "resolved"]
        if closed:
            connection.execute(
                update(t.issue)
                .where(issue.merchant_id == merchant_id, issue.id.in_([row.id for row in closed]))
                .values(resolved_at=at, resolved_by=actor)
            )
            lines = [
                {
                    "merchant_id": merchant_id,
                    "id": new_id(),
                    "at": at,
                    "kind": "issue_resolved",
                    "connection_id": row.connection_id,
                    "order_id": row.order_id,
                    "actor": actor,
                    "summary": f"Resolved: {row.title}"[:500],
                    "details": None,
                }
                for row in closed
            ]
            connection.execute(t.activity.insert(), lines)
        titles = {row.id: row.title for row in rows}
        return [Outcome(each, titles.get(each, ""), results.get(each, "gone")) for each in issue_ids]

    return database.transact(work)
