"""How well a connection keeps up, on one page; reading stored records again; one listing and where it is stocked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from flask import Blueprint, flash, render_template, request, url_for
from flask_babel import gettext as _

from hub.access import Permission
from hub.connector import Connector, RateBudget
from hub.errors import BadInput, Conflict
from hub.limits import Left, operation_key
from hub.store import inbox, tasks
from hub.store import listings as commands
from hub.store.queries import connections, journal
from hub.store.queries import sync as queries
from hub.web import forms, lists
from hub.web.connections import budget_left, follow_task, is_channel, summary, units_left
from hub.web.failures import existing
from hub.web.gate import hub, needs, see_other, visitor
from hub.web.verdicts import last_success, verdict
from hub.web.waking import wake

pages = Blueprint("sync", __name__)


@pages.get("/connections/<uuid:connection_id>/health")
def health(connection_id: UUID) -> str:
    shop = summary(connection_id)
    here = (visitor().merchant_id, connection_id)
    connector = hub().registry.connectors.get(shop.connector)
    budget = connector.rate_budget if connector else None
    with hub().database.read() as db:
        read = connections.streams(db, *here)
        return render_template(
            "health.html",
            shop=shop,
            connector=connector,
            is_channel=is_channel(shop),
            verdict=verdict(shop, datetime.now(UTC), is_channel=is_channel(shop)) if shop.state != "removed" else None,
            heard=last_success(shop, read),
            sends_webhooks=_sends_webhooks(connector),
            lanes=queries.lanes(db, *here),
            streams=read,
            subscriptions=queries.subscriptions(db, *here),
            budget=budget,
            left=budget_left(connection_id, connector),
            operations=_operations(connection_id, connector),
            issues=journal.issues(db, visitor().merchant_id, connection_id=connection_id),
            effects=queries.recent_effects(db, *here),
        )


def _sends_webhooks(connector: type[Connector] | None) -> bool:
    return bool(getattr(getattr(connector, "capabilities", None), "webhooks", False))


def _operations(connection_id: UUID, connector: type[Connector] | None) -> list[tuple[str, RateBudget, Left | None]]:
    """The budgets of single operations, with what is left of each."""
    budgets = connector.rate_budgets if connector else {}
    return [
        (name, each, units_left(operation_key(connection_id, name), each)) for name, each in sorted(budgets.items())
    ]


@pages.get("/connections/<uuid:connection_id>/replay")
def replays(connection_id: UUID) -> str:
    """The records that could not be read, and why; what reading any again would change."""
    shop = summary(connection_id)
    here = (visitor().merchant_id, connection_id)
    with hub().database.read() as db:
        rows = connections.set_aside(db, *here, before=lists.read_time_mark(), limit=lists.ONE_MORE)
        return render_template(
            "replay.html",
            shop=shop,
            is_channel=is_channel(shop),
            page=lists.listed(rows, lambda row: lists.time_mark(row.received_at, row.id)),
            reasons=connections.reasons(db, *here),
            tasks=connections.latest_tasks(db, *here),
        )


@pages.post("/connections/<uuid:connection_id>/read-again")
@needs(Permission.SYNC)
def read_again(connection_id: UUID) -> Any:
    """Give quarantined records another try: after the connector was updated, or words were mapped."""
    summary(connection_id)
    only = forms.optional_identity("record_id")
    count = inbox.release_quarantined(hub().database, visitor().merchant_id, connection_id, visitor().email, only)
    wake([connection_id], "inbox")
    if count:
        flash(_("They are read again. Those that still cannot be read come back as an issue."), "success")
    else:
        flash(_("Nothing was set aside any more."), "info")
    return see_other(url_for(".replays", connection_id=connection_id))


@pages.post("/connections/<uuid:connection_id>/replay")
@needs(Permission.SYNC)
def replay(connection_id: UUID) -> Any:
    """Find out what reading stored records again would change; nothing is changed before a person has seen it."""
    shop = summary(connection_id)
    if not is_channel(shop):
        raise BadInput(_("%(label)s has no orders to read again.", label=shop.label))
    if request.form.get("which") == "quarantined":
        about = "quarantined"
    else:
        text = request.form.get("order", "")[:200]
        with hub().database.read() as db:
            found = queries.order_called(db, visitor().merchant_id, connection_id, text)
        if found is None:
            raise BadInput(
                _(
                    "%(label)s has no order “%(text)s”. Use its number, or its id at the shop.",
                    label=shop.label,
                    text=text,
                )
            )
        about = str(found)
    return _follow(connection_id, "replay", about)


@pages.post("/connections/<uuid:connection_id>/tasks/<uuid:task_id>/apply")
@needs(Permission.SYNC)
def apply(connection_id: UUID, task_id: UUID) -> Any:
    """Read again for good what a person has seen the changes of."""
    summary(connection_id)
    with hub().database.read() as db:
        seen = tasks.about(db, visitor().merchant_id, connection_id, task_id, "replay")
    if seen is None:
        raise Conflict(_("Look first at what would change."))
    return _follow(connection_id, "apply_replay", seen)


def _follow(connection_id: UUID, kind: str, about: str) -> Any:
    task_id = tasks.ask(hub().database, visitor().merchant_id, connection_id, kind, visitor().email, {"about": about})
    return follow_task(connection_id, task_id)


# ---------------------------------------------------------------- one listing


@pages.get("/connections/<uuid:connection_id>/listings/<uuid:listing_id>")
def listing(connection_id: UUID, listing_id: UUID) -> str:
    """All that the shop tells of a listing, and what it says at each of the shop's places."""
    shop = summary(connection_id)
    with hub().database.read() as db:
        found = existing(queries.listing(db, visitor().merchant_id, connection_id, listing_id), _("listing"))
        figures = queries.figures(db, visitor().merchant_id, listing_id)
    connector = hub().registry.connectors.get(shop.connector)
    return render_template(
        "listing.html",
        shop=shop,
        listing=found,
        figures=figures,
        can_stock=connector is not None and "stock_listing" in connector.effects,
    )


@pages.post("/connections/<uuid:connection_id>/listings/<uuid:listing_id>/stock-there")
@needs(Permission.SYNC)
def stock_there(connection_id: UUID, listing_id: UUID) -> Any:
    """Have the shop keep stock of the listing at a place where it refused the figure."""
    shop = summary(connection_id)
    connector = hub().registry.connectors.get(shop.connector)
    with hub().database.read() as db:
        existing(queries.listing(db, visitor().merchant_id, connection_id, listing_id), _("listing"))
    if connector is None or "stock_listing" not in connector.effects:
        raise Conflict(_("%(label)s cannot be told where to keep stock. Say it in the shop itself.", label=shop.label))
    place = request.form.get("place", "")[:200]
    commands.stock_there(hub().database, visitor().merchant_id, listing_id, place, visitor().email)
    wake([connection_id], "effects")
    flash(_("The shop is told to keep stock there. The figure follows at once when it does."), "success")
    return see_other(url_for(".listing", connection_id=connection_id, listing_id=listing_id))
