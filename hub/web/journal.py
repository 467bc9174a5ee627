"""Issues, each with its next step, and the activity log: who did what, and when."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from flask import Blueprint, flash, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from hub.access import Permission
from hub.errors import BadInput, Conflict
from hub.store import activity as log
from hub.store.queries import connections, journal
from hub.web import forms, lists
from hub.web.connections import summary
from hub.web.failures import existing
from hub.web.gate import hub, needs, safe_path, see_other, visitor

pages = Blueprint("journal", __name__)

# What each kind of issue is called, as in the manual; one that is not here is called by its name.
KINDS: Mapping[str, Any] = {
    "unmatched_listing": _l("A listing is not matched"),
    "shipped_more_than_on_hand": _l("More was shipped than you had"),
    "oversold": _l("Units were sold that are not there"),
    "not_published": _l("A figure cannot be written"),
    "stock_drift": _l("A figure was changed in the shop"),
    "order_not_found": _l("An order cannot be found"),
    "cancellation_asked": _l("A customer asks to cancel"),
    "refund_by_hand": _l("Money has to be paid back by hand"),
    "reconnect": _l("The shop refused the credentials"),
    "unreachable": _l("The shop does not answer"),
    "effect": _l("Something was refused, or is unclear"),
    "followup": _l("Something was done, but what was to follow failed"),
    "delivery_exception": _l("A parcel is held up"),
    "label_not_voided": _l("A label could not be given back"),
    "label_without_file": _l("A label has no file"),
    "parcels_not_followed": _l("A carrier does not tell of parcels"),
    "left_though_withdrawn": _l("A parcel left although it was withdrawn"),
    "unreadable_record": _l("A record cannot be read"),
    "fetch_refused": _l("A record cannot be fetched"),
    "webhooks_not_checked": _l("Webhooks cannot be checked"),
    "connector_broke_down": _l("A connector broke down"),
    "webhooks_lost": _l("Webhooks stop again and again"),
    "messages_stopped": _l("Messages cannot be read"),
    "secrets_due": _l("Keys have to be replaced"),
    "personal_data_wanted": _l("A customer wants to see what is kept"),
    "erasure_stuck": _l("Personal data is not all gone yet"),
    "email": _l("An e-mail was not taken, or nobody knows"),
    "nobody_can_ship": _l("Nobody can ship it"),
    "routing_failed": _l("An order could not be dealt out"),
    "rejected_by_3pl": _l("A 3PL does not ship an order"),
    "held_by_3pl": _l("A 3PL holds an order"),
    "not_cancelled_by_3pl": _l("A 3PL ships all the same"),
    "3pl_shipped_all_the_same": _l("A 3PL has shipped what was taken back"),
    "3pl_shipped_something_else": _l("A 3PL shipped something else"),
    "3pl_shipment_cancelled": _l("A shipment did not leave after all"),
    "unknown_3pl_item": _l("A 3PL names an unknown SKU"),
    "unknown_3pl_place": _l("A 3PL names an unknown place"),
    "3pl_stock_shrinks": _l("A 3PL loses goods"),
    "3pl_removed_with_orders": _l("A 3PL was removed with orders in hand"),
}

# What lines of the activity log can be about: how their kinds begin.
FAMILIES: Mapping[str, Any] = {
    "order": _l("Orders"),
    "stock": _l("Stock"),
    "listing": _l("Listings"),
    "shipment": _l("Shipments"),
    "connection": _l("Connections"),
    "word": _l("Words"),
    "records": _l("Records read again"),
    "webhooks": _l("Webhooks"),
    "location": _l("Locations"),
    "issue": _l("Issues"),
    "user": _l("People"),
}


# ---------------------------------------------------------------- issues


@pages.get("/issues")
def issues() -> str:
    return _issues_page(())


def _issues_page(outcomes: Any) -> str:
    show = lists.choice("show", ("open", "resolved"), "open")
    resolved = show == "resolved"
    kind, connection_id = request.args.get("kind", "")[:40], lists.chosen_id("connection")
    merchant_id = visitor().merchant_id
    with hub().database.read() as connection:
        rows = journal.issues(
            connection,
            merchant_id,
            resolved=resolved,
            kind=kind,
            connection_id=connection_id,
            before=lists.read_time_mark(),
            limit=lists.ONE_MORE,
        )
        counts = journal.issue_counts(connection, merchant_id, connection_id=connection_id) if not resolved else {}
        shops = connections.names(connection, merchant_id)

    def mark(row: journal.IssueView) -> str:
        return lists.time_mark(row.resolved_at or row.opened_at, row.id)

    return render_template(
        "issues.html",
        page=lists.listed(rows, mark),
        show=show,
        kind=kind,
        kinds=KINDS,
        counts=counts,
        connection_id=connection_id,
        shops=shops,
        outcomes=outcomes,
    )


@pages.post("/issues/<uuid:issue_id>/resolve")
@needs(Permission.ISSUES)
def resolve(issue_id: UUID) -> Any:
    """A person says that it is dealt with. If its cause is still there, it comes up again."""
    with hub().database.read() as connection:
        existing(journal.issue(connection, visitor().merchant_id, issue_id), _("issue"))
    [outcome] = log.resolve_by_hand(hub().database, visitor().merchant_id, [issue_id], visitor().email)
    if outcome.result == "decide":
        raise Conflict(_("This one is settled by a decision, on the page of its connection."))
    if outcome.result == "resolved":
        flash(_("Resolved. It comes up again if its cause is still there."), "success")
    return see_other(safe_path(request.form.get("back", "") or url_for(".issues")))


@pages.post("/issues")
@needs(Permission.ISSUES)
def resolve_many() -> Any:
    """A person says that all of these are dealt with; what came of each is shown above the list."""
    chosen = forms.identities("issue_id")
    if not chosen:
        raise BadInput(_("Choose at least one issue."))
    return _issues_page(log.resolve_by_hand(hub().database, visitor().merchant_id, chosen, visitor().email))


# ---------------------------------------------------------------- activity


@pages.get("/activity")
def activity() -> str:
    return _activity_page(None)


@pages.get("/connections/<uuid:connection_id>/activity")
def of_connection(connection_id: UUID) -> str:
    """What happened to a connection itself; what happened to its orders is told on their pages."""
    return _activity_page(summary(connection_id))


def _activity_page(shop: connections.ConnectionSummary | None) -> str:
    chosen = lists.chosen_id("connection") if shop is None else shop.id
    family = lists.choice("kind", tuple(FAMILIES))
    actor = request.args.get("actor", "").strip()[:320]
    merchant_id = visitor().merchant_id
    with hub().database.read() as connection:
        rows = journal.activity(
            connection,
            merchant_id,
            connection_id=chosen,
            family=family,
            actor=actor,
            since=_moment("since"),
            until=_moment("until"),
            before=lists.read_time_mark(),
            limit=lists.ONE_MORE,
        )
        shops = connections.names(connection, merchant_id)
        people = journal.people(connection, merchant_id)
    return render_template(
        "activity.html",
        page=lists.listed(rows, lambda row: lists.time_mark(row.at, row.id)),
        shop=shop,
        connection_id=chosen,
        family=family,
        families=FAMILIES,
        actor=actor,
        people=people,
        shops=shops,
        filtered=any(request.args.get(name) for name in ("connection", "kind", "actor", "since", "until")),
    )


def _moment(name: str) -> datetime | None:
    return forms.moment(request.args.get(name, "")[:40], name)
