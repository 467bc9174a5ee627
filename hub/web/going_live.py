"""Going live in steps: look at what would be written to a shop, then allow it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from flask import Blueprint, flash, render_template, request, url_for
from flask_babel import gettext as _

from hub.access import Permission
from hub.errors import BadInput, Conflict
from hub.store import connections as commands
from hub.store import tasks
from hub.store.queries import connections, previews
from hub.web import lists
from hub.web.connections import follow_task, is_channel, summary
from hub.web.gate import hub, needs, needs_password, see_other, visitor
from hub.web.waking import wake

pages = Blueprint("going_live", __name__)


@pages.get("/connections/<uuid:connection_id>/go-live")
@needs(Permission.CONNECT)
def form(connection_id: UUID) -> str:
    """What will be written to the shop, in plain figures, before anything is."""
    shop = summary(connection_id)
    merchant_id = visitor().merchant_id
    show = lists.choice("show", previews.SHOWN, "differences")
    with hub().database.read() as db:
        found = previews.latest(db, merchant_id, connection_id)
        rows = (
            previews.differences(db, merchant_id, connection_id, show=show, after=_read_mark(), limit=lists.ONE_MORE)
            if found
            else []
        )
        task = connections.latest_tasks(db, merchant_id, connection_id).get("preview")
    return render_template(
        "go_live.html",
        shop=shop,
        preview=found,
        page=lists.listed(rows, _mark, parameter="after"),
        show=show,
        task=task,
        is_channel=is_channel(shop),
    )


@pages.post("/connections/<uuid:connection_id>/preview")
@needs(Permission.SYNC)
def preview(connection_id: UUID) -> Any:
    """Have a worker compare what the shop says with what the hub would write."""
    _channel(connection_id)
    task_id = tasks.ask(hub().database, visitor().merchant_id, connection_id, "preview", visitor().email)
    return follow_task(connection_id, task_id)


@pages.post("/connections/<uuid:connection_id>/go-live")
@needs(Permission.CONNECT)
@needs_password
def go_live(connection_id: UUID) -> Any:
    """Allowed after a look at what would be written, or when a person says to do without."""
    shop = _channel(connection_id)
    with hub().database.read() as db:
        found = previews.latest(db, visitor().merchant_id, connection_id)
    looked = found is not None and found.is_fresh(datetime.now(UTC))
    may_begin = shop.state == "connected" and shop.live_at is None
    if may_begin and not looked and request.form.get("unseen") != "yes":
        raise Conflict(
            _(
                "Nobody has looked within the last hour at what would be written to "
                "%(label)s. Preview it first, or tick that it may go live without.",
                label=shop.label,
            )
        )
    touched = commands.go_live(hub().database, visitor().merchant_id, connection_id, visitor().email)
    wake(touched | {connection_id}, "publish")
    flash(_("%(label)s is live. The hub writes its stock from now on.", label=shop.label), "success")
    return see_other(url_for("connections.connection", connection_id=connection_id))


def _channel(connection_id: UUID) -> connections.ConnectionSummary:
    shop = summary(connection_id)
    if not is_channel(shop):
        raise BadInput(_("%(label)s has no listings whose stock could be written.", label=shop.label))
    return shop


def _mark(row: previews.Difference) -> str:
    return f"{row.change}~{row.listing_id}~{row.place}"


def _read_mark() -> tuple[int, UUID, str] | None:
    value = request.args.get("after", "")
    if not value:
        return None
    change, _, rest = value.partition("~")
    listing_id, separator, place = rest.partition("~")
    try:
        if not separator or "\x00" in place or not change.isascii() or not change.isdigit() or len(change) > 9:
            raise ValueError(value)
        return int(change), UUID(listing_id), place
    except ValueError:
        raise lists.stale() from None
