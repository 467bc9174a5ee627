"""Issues, each with its next step, and the activity log: who did what, and when."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Blueprint, flash, render_template, request, url_for

from hub.access import Permission
from hub.errors import Conflict
from hub.store import activity as log
from hub.store import effects
from hub.store.queries import connections, journal
from hub.web import lists
from hub.web.failures import existing
from hub.web.gate import hub, needs, safe_path, see_other, visitor

pages = Blueprint("journal", __name__)


@pages.get("/issues")
def issues() -> str:
    show = lists.choice("show", ("open", "resolved"), "open")
    resolved = show == "resolved"
    before = lists.read_time_mark()
    with hub().database.read() as connection:
        rows = journal.issues(connection, visitor().merchant_id, resolved=resolved, before=before, limit=lists.ONE_MORE)

    def mark(row: journal.IssueView) -> str:
        return lists.time_mark(row.resolved_at or row.opened_at, row.id)

    return render_template("issues.html", page=lists.listed(rows, mark), show=show)


@pages.post("/issues/<uuid:issue_id>/resolve")
@needs(Permission.ISSUES)
def resolve(issue_id: UUID) -> Any:
    """A person says that it is dealt with. If its cause is still there, it comes up again."""
    database, merchant_id = hub().database, visitor().merchant_id

    def close(connection: Any) -> bool:
        found = existing(journal.issue(connection, merchant_id, issue_id), "issue")
        if found.kind == effects.ISSUE:
            raise Conflict("This one is settled by a decision, on the page of its connection.")
        now = database.now(connection)
        closed = log.resolve_issue(connection, merchant_id, found.kind, found.subject, at=now, by=visitor().email)
        if closed:
            log.note(
                connection,
                merchant_id,
                "issue_resolved",
                f"Resolved: {found.title}",
                at=now,
                connection_id=found.connection_id,
                order_id=found.order_id,
                actor=visitor().email,
            )
        return closed

    if database.transact(close):
        flash("Resolved. It comes up again if its cause is still there.", "success")
    return see_other(safe_path(request.form.get("back", "") or url_for(".issues")))


@pages.get("/activity")
def activity() -> str:
    connection_id = lists.chosen_id("connection")
    before = lists.read_time_mark()
    with hub().database.read() as connection:
        rows = journal.activity(
            connection, visitor().merchant_id, connection_id=connection_id, before=before, limit=lists.ONE_MORE
        )
        return render_template(
            "activity.html",
            page=lists.listed(rows, lambda row: lists.time_mark(row.at, row.id)),
            connection_id=connection_id,
            shops=connections.connections(connection, visitor().merchant_id, removed=True),
        )
