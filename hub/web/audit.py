"""The audit log: who did what, who came in, with filters, and as a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from flask import Blueprint, render_template, request
from flask_babel import gettext as _
from flask_babel import lazy_gettext

from hub import access
from hub.access import Permission
from hub.errors import BadInput
from hub.store import activity
from hub.store.queries import audit as queries
from hub.store.queries.audit import AuditView
from hub.web import exports, lists
from hub.web.exports import Column
from hub.web.gate import gives_a_file, hub, needs, needs_password, visitor
from hub.web.reader import reader

pages = Blueprint("audit", __name__)

# What can be looked at alone: the name of it, and what the kinds of its lines begin with.
AREAS = {
    "": (lazy_gettext("Everything"), ()),
    "sign_ins": (lazy_gettext("Sign-ins"), activity.COMING_IN),
    "people": (lazy_gettext("People and security"), activity.PEOPLE),
    "connections": (
        lazy_gettext("Connections"),
        ("connection_", "went_live", "sync_", "records_", "word_", "columns_", "sandbox_"),
    ),
    "orders": (
        lazy_gettext("Orders"),
        ("order_", "hold_", "address_", "priority_", "routed_", "collection_", "shipment_", "email_"),
    ),
    "stock": (lazy_gettext("Stock and listings"), ("stock_", "listing_", "kit_", "safety_", "selling_", "location")),
    "privacy": (lazy_gettext("Personal data and exports"), ("personal_", "exported", "erasure_")),
}
_MOST_ROWS = 1000  # of a file, read at once


@dataclass(frozen=True, slots=True)
class _Wanted:
    area: str
    actor: str
    since: str
    until: str

    def rows(self, before: tuple[datetime, UUID] | None, limit: int) -> Sequence[AuditView]:
        last_day = _day(self.until)
        with hub().database.read() as connection:
            return queries.audit(
                connection,
                visitor().merchant_id,
                actor=self.actor,
                kinds=AREAS[self.area][1],
                since=_day(self.since),
                until=last_day + timedelta(days=1) if last_day else None,
                before=before,
                limit=limit,
            )


@pages.get("/settings/audit")
@needs(Permission.PEOPLE)
def index() -> str:
    wanted = _wanted()
    rows = wanted.rows(lists.read_time_mark(), lists.ONE_MORE)
    with hub().database.read() as connection:
        actors = queries.actors(connection, visitor().merchant_id)
    return render_template(
        "settings/audit.html",
        page=lists.listed(rows, lambda row: lists.time_mark(row.at, row.id)),
        wanted=wanted,
        areas=[(value, name) for value, (name, _kinds) in AREAS.items()],
        actors=actors,
        changes=changes,
    )


@pages.post("/settings/audit.csv")
@needs(Permission.PEOPLE)
@needs_password
@gives_a_file
def download() -> Any:
    """The same, all of it, as a file."""
    access.demand(Permission.PEOPLE)  # the rows are read while the file leaves: too late to refuse
    wanted = _wanted()
    columns: list[Column[AuditView]] = [
        Column(_("Time"), lambda row: row.at),
        Column(_("Person"), lambda row: row.actor),
        Column(_("Kind"), lambda row: row.kind),
        Column(_("What happened"), lambda row: row.summary),
        Column(_("Details"), lambda row: json.dumps(row.details, ensure_ascii=False) if row.details else ""),
    ]
    every = exports.pages(lambda place: wanted.rows(place, _MOST_ROWS), lambda row: (row.at, row.id))
    return exports.download(_("audit log"), "audit-log", columns, every)


def changes(row: AuditView) -> list[tuple[str, str, str]]:
    """(what, before, after) of a line that knows it: each a word of the hub or what somebody typed."""
    found = row.details or {}
    if "before" in found and "after" in found:
        return [("", str(found["before"]), str(found["after"]))]
    return [
        (name.replace("_", " "), str(each["before"]), str(each["after"]))
        for name, each in found.items()
        if isinstance(each, dict) and "before" in each and "after" in each
    ]


def _wanted() -> _Wanted:
    said = request.values
    area = said.get("area", "") if said.get("area") in AREAS else ""
    actor = "".join(each for each in said.get("actor", "") if each.isprintable())[:320]
    since, until = (said.get(name, "")[:10] for name in ("since", "until"))
    _day(since), _day(until)
    return _Wanted(area, actor, since, until)


def _day(text: str) -> datetime | None:
    """When a day begins for whoever reads."""
    try:
        return reader().utc(datetime.combine(date.fromisoformat(text), time())) if text else None
    except (ValueError, OverflowError):
        raise BadInput(_("Choose a day.")) from None
