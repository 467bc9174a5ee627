"""How values look on every page: times, money, icons, states. Registered as filters and names for the templates."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, g, request, url_for
from flask_babel import Babel, ngettext
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from markupsafe import Markup

from hub.core.carriers import carrier_name, named_service
from hub.core.model import Money
from hub.store.queries.connections import Health
from hub.store.queries.documents import DocumentSummary
from hub.store.queries.home import Surroundings
from hub.web import edits, navigation
from hub.web.gate import hub, safe_path
from hub.web.reader import TRANSLATIONS, reader


@dataclass(frozen=True, slots=True)
class State:
    """How a state is told: by icon, by word, and by tone (ok, busy, warn, bad, calm)."""

    icon: str
    label: str
    tone: str


_ORDER = {
    "pending": State("hourglass", _l("Pending"), "calm"),
    "open": State("package", _l("Open"), "busy"),
    "fulfilled": State("circle-check", _l("Fulfilled"), "ok"),
    "cancelled": State("ban", _l("Cancelled"), "calm"),
    "refunded": State("receipt-refund", _l("Refunded"), "calm"),
    "removed": State("trash", _l("Removed"), "calm"),
}
_HEALTH = {
    Health.PAUSED: State("player-pause", _l("Paused"), "warn"),
    Health.PROBLEM: State("alert-triangle", _l("Problem"), "bad"),
    Health.WAITING: State("clock-pause", _l("Waiting"), "warn"),
    Health.NEW: State("loader", _l("Checking"), "busy"),
    Health.PREPARING: State("plug-connected", _l("Connected"), "busy"),
    Health.LIVE: State("circle-check", _l("Live"), "ok"),
    Health.REMOVED: State("archive", _l("Removed"), "calm"),
}
_TASK = {
    "waiting": State("clock", _l("Waiting"), "busy"),
    "running": State("loader", _l("Running"), "busy"),
    "done": State("circle-check", _l("Done"), "ok"),
    "failed": State("alert-triangle", _l("Failed"), "bad"),
}
_RECORD = {
    "pending": State("clock", _l("Waiting"), "busy"),
    "done": State("circle-check", _l("Read"), "ok"),
    "ignored": State("circle-minus", _l("Not needed"), "calm"),
    "quarantined": State("alert-triangle", _l("Set aside"), "bad"),
}
_WORK = {
    "open": State("package", _l("To be shipped"), "busy"),
    "scheduled": State("calendar", _l("Scheduled"), "calm"),
    "in_progress": State("loader", _l("In progress"), "busy"),
    "on_hold": State("hand-stop", _l("On hold"), "warn"),
    "incomplete": State("alert-triangle", _l("Incomplete"), "warn"),
    "closed": State("circle-check", _l("Closed"), "ok"),
    "cancelled": State("ban", _l("Cancelled"), "calm"),
}
_REQUEST = {
    "submitted": State("question-mark", _l("The shop asks you to ship it"), "warn"),
    "accepted": State("check", _l("Accepted"), "ok"),
    "rejected": State("x", _l("Rejected"), "calm"),
    "cancellation_requested": State("question-mark", _l("The shop asks you to stop"), "warn"),
    "cancellation_accepted": State("check", _l("Cancellation accepted"), "calm"),
    "cancellation_rejected": State("x", _l("Cancellation rejected"), "calm"),
}
_RISK = {
    "pending": State("hourglass", _l("Risk is being looked at"), "calm"),
    "low": State("shield-check", _l("Low risk"), "ok"),
    "medium": State("alert-triangle", _l("Medium risk"), "warn"),
    "high": State("shield-x", _l("High risk"), "bad"),
}
_RETURN = {
    "requested": State("question-mark", _l("Asked for"), "warn"),
    "open": State("truck-return", _l("On its way back"), "busy"),
    "closed": State("circle-check", _l("Dealt with"), "ok"),
    "declined": State("x", _l("Declined"), "calm"),
    "cancelled": State("ban", _l("Cancelled"), "calm"),
}
_HOLD = {
    "payment": State("credit-card", _l("Payment"), "warn"),
    "fraud": State("shield-x", _l("Suspected fraud"), "warn"),
    "address": State("map-pin", _l("Address"), "warn"),
    "backorder": State("hourglass", _l("Out of stock"), "warn"),
    "cancellation": State("ban", _l("The customer asks to cancel"), "warn"),
    "manual": State("hand-stop", _l("By hand"), "warn"),
}
_EFFECT = {
    "planned": State("clock", _l("Waiting to be sent"), "busy"),
    "in_flight": State("send", _l("Being sent"), "busy"),
    "succeeded": State("refresh", _l("Done; the order is being fetched"), "busy"),
    "failed": State("alert-triangle", _l("Refused"), "bad"),
    "unknown": State("help-circle", _l("Unclear whether it was done"), "warn"),
}
# The same in a list of what happened, where nothing waits for it.
_ASKED = {
    **_EFFECT,
    "succeeded": State("circle-check", _l("Done"), "ok"),
    "cancelled": State("ban", _l("Not done"), "calm"),
}
_FULFILLMENT = {
    "open": State("package", _l("To be packed"), "busy"),
    "packed": State("package-export", _l("Packed"), "busy"),
    "ready": State("shopping-bag", _l("Ready to be collected"), "busy"),
    "requested": State("send", _l("Sent to the 3PL"), "busy"),
    "accepted": State("check", _l("Accepted by the 3PL"), "busy"),
    "in_progress": State("loader", _l("In progress"), "busy"),
    "shipped": State("truck-delivery", _l("Shipped"), "ok"),
    "collected": State("user-check", _l("Collected"), "ok"),
    "rejected": State("x", _l("Rejected"), "warn"),
    "cancelling": State("hourglass", _l("Being cancelled"), "warn"),
    "cancelled": State("ban", _l("Cancelled"), "calm"),
    "delivered": State("circle-check", _l("Delivered"), "ok"),
}
_SHIPMENT = {
    "draft": State("package", _l("To be labelled"), "busy"),
    "buying": State("loader", _l("Label is being bought"), "busy"),
    "labelled": State("barcode", _l("Labelled"), "busy"),
    "shipped": State("truck-delivery", _l("Shipped"), "ok"),
    "void": State("ban", _l("Given up"), "calm"),
    "failed": State("alert-triangle", _l("No label"), "bad"),
}
_TRACKING = {
    "unknown": State("question-mark", _l("Unknown"), "calm"),
    "label_created": State("barcode", _l("Announced"), "calm"),
    "in_transit": State("truck", _l("On its way"), "busy"),
    "out_for_delivery": State("truck-delivery", _l("Out for delivery"), "busy"),
    "ready_for_pickup": State("shopping-bag", _l("Ready to be picked up"), "busy"),
    "delivered": State("circle-check", _l("Delivered"), "ok"),
    "exception": State("alert-triangle", _l("Held up"), "bad"),
    "returning": State("truck-return", _l("Coming back"), "warn"),
    "cancelled": State("ban", _l("Cancelled"), "calm"),
}
_URGENCY = {
    -20: State("flame", _l("Urgent"), "bad"),
    -10: State("chevron-up", _l("Soon"), "warn"),
    0: State("circle", _l("Normal"), "calm"),
    10: State("chevron-down", _l("Later"), "calm"),
}
_EMAIL = {
    "waiting": State("clock", _l("Waiting to be sent"), "busy"),
    "sending": State("send", _l("Being sent"), "busy"),
    "sent": State("circle-check", _l("The customer knows"), "ok"),
    "failed": State("alert-triangle", _l("Not taken"), "bad"),
    "unclear": State("help-circle", _l("Unclear whether it arrived"), "warn"),
    "erased": State("ban", _l("Erased"), "calm"),
}
_STOCK_IMPORT = {
    "columns": State("adjustments", _l("To be explained"), "warn"),
    "reading": State("loader", _l("Being read"), "busy"),
    "preview": State("eye", _l("To be looked at"), "warn"),
    "applying": State("loader", _l("Being applied"), "busy"),
    "applied": State("circle-check", _l("Applied"), "ok"),
    "undoing": State("loader", _l("Being taken back"), "busy"),
    "undone": State("arrow-back-up", _l("Taken back"), "calm"),
}

_STATES: Mapping[str, Mapping[Any, State]] = {
    "order": _ORDER,
    "connection": _HEALTH,
    "task": _TASK,
    "record": _RECORD,
    "shipment": _SHIPMENT,
    "tracking": _TRACKING,
    "work": _WORK,
    "request": _REQUEST,
    "risk": _RISK,
    "return": _RETURN,
    "hold": _HOLD,
    "effect": _EFFECT,
    "asked": _ASKED,
    "fulfillment": _FULFILLMENT,
    "urgency": _URGENCY,
    "email": _EMAIL,
    "stock_import": _STOCK_IMPORT,
}

# Why stock moved, in words and as an icon; a cause that is not here is shown as it is.
_CAUSES = {
    "adopted": State("cloud-download", _l("Opening stock"), "calm"),
    "adjusted": State("edit", _l("Adjusted"), "calm"),
    "counted": State("checklist", _l("Counted"), "calm"),
    "received": State("package-import", _l("Received"), "ok"),
    "sent": State("transfer", _l("Sent elsewhere"), "busy"),
    "arrived": State("package-import", _l("Arrived"), "ok"),
    "lost": State("package-off", _l("Lost on the way"), "warn"),
    "set_aside": State("hand-stop", _l("Set aside"), "warn"),
    "restored": State("arrow-back-up", _l("For sale again"), "ok"),
    "written_off": State("trash", _l("Written off"), "warn"),
    "allocated": State("lock", _l("Allocated"), "busy"),
    "released": State("lock-open", _l("Released"), "calm"),
    "shipped": State("truck-delivery", _l("Shipped"), "ok"),
    "unshipped": State("truck-return", _l("Fulfillment undone"), "warn"),
    "went_live": State("bolt", _l("Went live"), "ok"),
    "rule": State("adjustments", _l("Selling rule changed"), "calm"),
    "waiting": State("hourglass", _l("An order waits for stock"), "calm"),
    "kit_defined": State("box-multiple", _l("Kit changed"), "calm"),
    "safety_stock": State("shield", _l("Safety stock changed"), "calm"),
    "location_bound": State("map-pin", _l("Locations changed"), "calm"),
    "drift": State("arrows-exchange", _l("Changed at the shop"), "warn"),
    "came_late": State("hourglass", _l("An older figure came late"), "calm"),
    "seen": State("arrows-exchange", _l("Changed at the shop"), "warn"),
}

# What a stock document is called; its own number comes after it.
_DOCUMENTS = {
    "adjustment": _l("Correction"),
    "receipt": _l("Delivery note"),
    "count": _l("Count"),
    "transfer": _l("Transfer"),
    "set_aside": _l("Set aside"),
    "restore": _l("For sale again"),
    "write_off": _l("Write-off"),
}

_KIND_ICONS = {
    "merchant": "building-store",
    "signed": "login",
    "sign": "shield-x",
    "session": "logout",
    "person": "users",
    "two": "shield-check",
    "user": "user",
    "password": "key",
    "connection": "plug-connected",
    "went": "bolt",
    "sync": "refresh",
    "listing": "link",
    "order": "shopping-cart",
    "stock": "packages",
    "location": "map-pin",
    "webhooks": "webhook",
    "issue": "flag",
    "exported": "download",
}


def install(app: Flask) -> None:
    """Give the templates of ``app`` their filters and names."""
    # Brings _(), ngettext() and {% trans %} to every template.
    Babel(
        app,
        default_translation_directories=str(TRANSLATIONS),
        locale_selector=lambda: reader().language,
        timezone_selector=lambda: reader().zone,
    )
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(
        moment=moment,
        day=day,
        ago=ago,
        lasting=lasting,
        money=money,
        amount=amount,
        number=number,
        signed=signed,
        cause=cause,
        document_name=document_name,
        edit=edits.told,
        web_address=web_address,
        carrier=carrier_name,
        named_service=named_service,
    )
    versions = _versions(Path(str(app.static_folder)))

    def asset(name: str) -> str:
        return url_for("static", filename=name, v=versions.get(name))

    sprite = f"{app.static_url_path}/vendor/icons.svg?v={versions.get('vendor/icons.svg', '')}"

    def icon(name: str, classes: str = "") -> Markup:
        return Markup('<svg class="icon {}" aria-hidden="true"><use href="{}#{}"></use></svg>').format(
            classes, sprite, name
        )

    app.jinja_env.globals.update(
        asset=asset,
        icon=icon,
        state_of=state_of,
        kind_icon=kind_icon,
        query=query,
        as_json=as_json,
        own_path=safe_path,
        navigation=navigation,
    )
    app.context_processor(_surroundings)


def _surroundings() -> dict[str, Any]:
    settings = hub().settings
    around: Surroundings | None = g.get("surroundings")
    return {
        "me": g.get("visitor"),
        "open_issues": around.open_issues if around else 0,
        "sandbox": around.sandbox if around else None,
        "sandbox_allowed": settings.sandbox,
        "routes": settings.routes,
        "public_url": settings.public_url,
        "now": datetime.now(UTC),
        "reader": reader(),
    }


def _versions(folder: Path) -> dict[str, str]:
    """A mark of each file's content: pages name it, so that browsers may keep the file and still see a new one."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()[:10]
        for path in folder.rglob("*")
        if path.is_file()
    }


# ---------------------------------------------------------------- filters


def moment(at: datetime | None, *, seconds: bool = False) -> Markup:
    """A time in the reader's zone, with the exact one in UTC beneath."""
    return _nothing(_("never")) if at is None else _time(at, reader().moment(at, seconds=seconds))


def day(at: datetime | date | None) -> str:
    """A day as the reader writes it; of a time, the day it is in the reader's zone."""
    if at is None:
        return "—"
    return reader().date(at) if isinstance(at, datetime) else reader().day(at)


def ago(at: datetime | None, if_never: str = "") -> Markup:
    """How long something is past, or still ahead, with the exact time beneath."""
    if at is None:
        return _nothing(if_never or _("never"))
    seconds = (datetime.now(UTC) - at).total_seconds()
    if -1 < seconds < 5:
        return _time(at, _("just now"))
    span = _span(abs(seconds))
    return _time(at, _("%(span)s ago", span=span) if seconds > 0 else _("in %(span)s", span=span))


def lasting(span: timedelta) -> str:
    """How long something took."""
    return _span(span.total_seconds())


def _nothing(text: str) -> Markup:
    return Markup('<span class="text-secondary">{}</span>').format(text)


def _time(at: datetime, text: str) -> Markup:
    at = at.astimezone(UTC)
    exact = f"{at.day} {at:%b %Y, %H:%M:%S} UTC"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(at.isoformat(timespec="seconds"), exact, text)


def _span(seconds: float) -> str:
    if seconds >= 86400:
        return ngettext("%(num)s day", "%(num)s days", int(seconds // 86400))
    if seconds >= 3600:
        return _("%(count)s h", count=int(seconds // 3600))
    if seconds >= 60:
        return _("%(count)s min", count=int(seconds // 60))
    return _("%(count)s s", count=int(seconds))


def money(value: Money | None) -> str:
    """An amount as its currency is written, "1,234.50 EUR"."""
    return "—" if value is None else reader().money(value)


def amount(value: Money | None) -> str:
    """An amount without its currency, where a column or a heading names it."""
    return "—" if value is None else reader().amount(value)


def number(value: int | None) -> str:
    """A whole number with thousands marked."""
    return "—" if value is None else reader().number(value)


def signed(value: int) -> str:
    """A change: "+3", "−2"."""
    return reader().signed(value)


def cause(value: Mapping[str, Any] | str | None) -> State:
    """Why stock moved or a figure was written."""
    name = value.get("cause", "") if isinstance(value, Mapping) else value or ""
    return _CAUSES.get(name, State("circle-dot", str(name).replace("_", " ").capitalize() or _("Unknown"), "calm"))


def document_name(head: DocumentSummary) -> str:
    """What a stock document is called: by its number if it has one of its own, else by its time."""
    name = _DOCUMENTS.get(head.kind, head.kind.replace("_", " ").capitalize())
    if "/" in head.reference and (head.kind != "receipt" or head.reference.startswith("import/")):  # made up by us
        return _("%(document)s of %(time)s", document=name, time=reader().moment(head.created_at))
    return f"{name} {head.reference}"


# ---------------------------------------------------------------- names


def state_of(kind: str, value: Any) -> State:
    """How a state of an order, connection, task, record and so on is told."""
    return _STATES[kind].get(value, State("question-mark", str(value), "calm"))


def kind_icon(kind: str) -> str:
    """The icon of an activity."""
    return _KIND_ICONS.get(kind.partition("_")[0], "circle-dot")


def web_address(url: str) -> str:
    """An address that a vendor gave, if a browser may be led there; "" otherwise."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return url if parts.scheme in ("http", "https") and parts.hostname else ""


def query(**changes: Any) -> str:
    """The address of this very list with some of its filters changed; an empty one is left out."""
    kept = {name: text for name, text in request.args.items() if text} | changes
    arguments = {name: value for name, value in kept.items() if value not in ("", None)}
    return url_for(request.endpoint or "", **(request.view_args or {}), **arguments)


def as_json(value: Any) -> str:
    """JSON details on one line, for the activity page."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
