"""How values look on every page: times, money, icons, states. Registered as filters and names for the templates."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, g, request, url_for
from flask_babel import Babel
from markupsafe import Markup

from hub.core.model import Money, minor_digits
from hub.store.queries.connections import Health
from hub.store.queries.documents import DocumentSummary
from hub.web import edits
from hub.web.gate import hub, safe_path


@dataclass(frozen=True, slots=True)
class State:
    """How a state is told: by icon, by word, and by tone (ok, busy, warn, bad, calm)."""

    icon: str
    label: str
    tone: str


_ORDER = {
    "pending": State("hourglass", "Pending", "calm"),
    "open": State("package", "Open", "busy"),
    "fulfilled": State("circle-check", "Fulfilled", "ok"),
    "cancelled": State("ban", "Cancelled", "calm"),
    "refunded": State("receipt-refund", "Refunded", "calm"),
    "removed": State("trash", "Removed", "calm"),
}
_HEALTH = {
    Health.PAUSED: State("player-pause", "Paused", "warn"),
    Health.PROBLEM: State("alert-triangle", "Problem", "bad"),
    Health.WAITING: State("clock-pause", "Waiting", "warn"),
    Health.NEW: State("loader", "Checking", "busy"),
    Health.PREPARING: State("plug-connected", "Connected", "busy"),
    Health.LIVE: State("circle-check", "Live", "ok"),
    Health.REMOVED: State("archive", "Removed", "calm"),
}
_TASK = {
    "waiting": State("clock", "Waiting", "busy"),
    "running": State("loader", "Running", "busy"),
    "done": State("circle-check", "Done", "ok"),
    "failed": State("alert-triangle", "Failed", "bad"),
}
_RECORD = {
    "pending": State("clock", "Waiting", "busy"),
    "done": State("circle-check", "Read", "ok"),
    "ignored": State("circle-minus", "Not needed", "calm"),
    "quarantined": State("alert-triangle", "Set aside", "bad"),
}
_WORK = {
    "open": State("package", "To be shipped", "busy"),
    "scheduled": State("calendar", "Scheduled", "calm"),
    "in_progress": State("loader", "In progress", "busy"),
    "on_hold": State("hand-stop", "On hold", "warn"),
    "incomplete": State("alert-triangle", "Incomplete", "warn"),
    "closed": State("circle-check", "Closed", "ok"),
    "cancelled": State("ban", "Cancelled", "calm"),
}
_REQUEST = {
    "submitted": State("question-mark", "The shop asks you to ship it", "warn"),
    "accepted": State("check", "Accepted", "ok"),
    "rejected": State("x", "Rejected", "calm"),
    "cancellation_requested": State("question-mark", "The shop asks you to stop", "warn"),
    "cancellation_accepted": State("check", "Cancellation accepted", "calm"),
    "cancellation_rejected": State("x", "Cancellation rejected", "calm"),
}
_RISK = {
    "pending": State("hourglass", "Risk is being looked at", "calm"),
    "low": State("shield-check", "Low risk", "ok"),
    "medium": State("alert-triangle", "Medium risk", "warn"),
    "high": State("shield-x", "High risk", "bad"),
}
_RETURN = {
    "requested": State("question-mark", "Asked for", "warn"),
    "open": State("truck-return", "On its way back", "busy"),
    "closed": State("circle-check", "Dealt with", "ok"),
    "declined": State("x", "Declined", "calm"),
    "cancelled": State("ban", "Cancelled", "calm"),
}
_HOLD = {
    "payment": State("credit-card", "Payment", "warn"),
    "fraud": State("shield-x", "Suspected fraud", "warn"),
    "address": State("map-pin", "Address", "warn"),
    "backorder": State("hourglass", "Out of stock", "warn"),
    "cancellation": State("ban", "The customer asks to cancel", "warn"),
    "manual": State("hand-stop", "By hand", "warn"),
}
_EFFECT = {
    "planned": State("clock", "Waiting to be sent", "busy"),
    "in_flight": State("send", "Being sent", "busy"),
    "succeeded": State("refresh", "Done; the order is being fetched", "busy"),
    "failed": State("alert-triangle", "Refused", "bad"),
    "unknown": State("help-circle", "Unclear whether it was done", "warn"),
}
_FULFILLMENT = {
    "open": State("package", "To be packed", "busy"),
    "packed": State("package-export", "Packed", "busy"),
    "ready": State("shopping-bag", "Ready to be collected", "busy"),
    "requested": State("send", "Sent to the 3PL", "busy"),
    "accepted": State("check", "Accepted by the 3PL", "busy"),
    "in_progress": State("loader", "In progress", "busy"),
    "shipped": State("truck-delivery", "Shipped", "ok"),
    "collected": State("user-check", "Collected", "ok"),
    "rejected": State("x", "Rejected", "warn"),
    "cancelling": State("hourglass", "Being cancelled", "warn"),
    "cancelled": State("ban", "Cancelled", "calm"),
    "delivered": State("circle-check", "Delivered", "ok"),
}
_SHIPMENT = {
    "draft": State("package", "To be labelled", "busy"),
    "buying": State("loader", "Label is being bought", "busy"),
    "labelled": State("barcode", "Labelled", "busy"),
    "shipped": State("truck-delivery", "Shipped", "ok"),
    "void": State("ban", "Given up", "calm"),
    "failed": State("alert-triangle", "No label", "bad"),
}
_TRACKING = {
    "unknown": State("question-mark", "Unknown", "calm"),
    "label_created": State("barcode", "Announced", "calm"),
    "in_transit": State("truck", "On its way", "busy"),
    "out_for_delivery": State("truck-delivery", "Out for delivery", "busy"),
    "ready_for_pickup": State("shopping-bag", "Ready to be picked up", "busy"),
    "delivered": State("circle-check", "Delivered", "ok"),
    "exception": State("alert-triangle", "Held up", "bad"),
    "returning": State("truck-return", "Coming back", "warn"),
    "cancelled": State("ban", "Cancelled", "calm"),
}
_URGENCY = {
    -20: State("flame", "Urgent", "bad"),
    -10: State("chevron-up", "Soon", "warn"),
    0: State("circle", "Normal", "calm"),
    10: State("chevron-down", "Later", "calm"),
}
_EMAIL = {
    "waiting": State("clock", "Waiting to be sent", "busy"),
    "sending": State("send", "Being sent", "busy"),
    "sent": State("circle-check", "The customer knows", "ok"),
    "failed": State("alert-triangle", "Not taken", "bad"),
    "unclear": State("help-circle", "Unclear whether it arrived", "warn"),
    "erased": State("ban", "Erased", "calm"),
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
    "fulfillment": _FULFILLMENT,
    "urgency": _URGENCY,
    "email": _EMAIL,
}

# Why stock moved, in words and as an icon; a cause that is not here is shown as it is.
_CAUSES = {
    "adopted": State("cloud-download", "Opening stock", "calm"),
    "adjusted": State("edit", "Adjusted", "calm"),
    "counted": State("checklist", "Counted", "calm"),
    "received": State("package-import", "Received", "ok"),
    "sent": State("transfer", "Sent elsewhere", "busy"),
    "arrived": State("package-import", "Arrived", "ok"),
    "lost": State("package-off", "Lost on the way", "warn"),
    "set_aside": State("hand-stop", "Set aside", "warn"),
    "restored": State("arrow-back-up", "For sale again", "ok"),
    "written_off": State("trash", "Written off", "warn"),
    "allocated": State("lock", "Allocated", "busy"),
    "released": State("lock-open", "Released", "calm"),
    "shipped": State("truck-delivery", "Shipped", "ok"),
    "unshipped": State("truck-return", "Fulfillment undone", "warn"),
    "went_live": State("bolt", "Went live", "ok"),
    "rule": State("adjustments", "Selling rule changed", "calm"),
    "waiting": State("hourglass", "An order waits for stock", "calm"),
    "kit_defined": State("box-multiple", "Kit changed", "calm"),
    "safety_stock": State("shield", "Safety stock changed", "calm"),
    "location_bound": State("map-pin", "Locations changed", "calm"),
    "drift": State("arrows-exchange", "Changed at the shop", "warn"),
    "came_late": State("hourglass", "An older figure came late", "calm"),
    "seen": State("arrows-exchange", "Changed at the shop", "warn"),
}

# What a stock document is called; its own number comes after it.
_DOCUMENTS = {
    "adjustment": "Correction",
    "receipt": "Delivery note",
    "count": "Count",
    "transfer": "Transfer",
    "set_aside": "Set aside",
    "restore": "For sale again",
    "write_off": "Write-off",
}

_KIND_ICONS = {
    "merchant": "building-store",
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
}


def install(app: Flask) -> None:
    """Give the templates of ``app`` their filters and names."""
    Babel(app)  # brings _(), ngettext() and {% trans %} to every template
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(
        moment=moment,
        ago=ago,
        lasting=lasting,
        money=money,
        amount=amount,
        number=number,
        signed=signed,
        one=one,
        cause=cause,
        document_name=document_name,
        edit=edits.told,
        web_address=web_address,
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
        asset=asset, icon=icon, state_of=state_of, kind_icon=kind_icon, query=query, as_json=as_json, own_path=safe_path
    )
    app.context_processor(_surroundings)


def _surroundings() -> dict[str, Any]:
    settings = hub().settings
    return {
        "me": g.get("visitor"),
        "open_issues": g.get("open_issues", 0),
        "routes": settings.routes,
        "public_url": settings.public_url,
        "now": datetime.now(UTC),
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
    """A time as a merchant reads it, in UTC, with the exact one beneath."""
    if at is None:
        return Markup('<span class="text-secondary">never</span>')
    at = at.astimezone(UTC)
    text = f"{at.day} {at:%b %Y, %H:%M:%S}" if seconds else f"{at.day} {at:%b %Y, %H:%M}"
    return _time(at, f"{text} UTC")


def ago(at: datetime | None, if_never: str = "never") -> Markup:
    """How long something is past, or still ahead, with the exact time beneath."""
    if at is None:
        return Markup('<span class="text-secondary">{}</span>').format(if_never)
    at = at.astimezone(UTC)
    seconds = (datetime.now(UTC) - at).total_seconds()
    if -1 < seconds < 5:
        return _time(at, "just now")
    span = _span(abs(seconds))
    return _time(at, f"{span} ago" if seconds > 0 else f"in {span}")


def lasting(span: timedelta) -> str:
    """How long something took."""
    return _span(span.total_seconds())


def _time(at: datetime, text: str) -> Markup:
    exact = f"{at.day} {at:%b %Y, %H:%M:%S} UTC"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(at.isoformat(timespec="seconds"), exact, text)


def _span(seconds: float) -> str:
    for unit, length in (("day", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} day{'' if count == 1 else 's'}" if unit == "day" else f"{count} {unit}"
    return f"{int(seconds)} s"


def money(value: Money | None) -> str:
    """An amount with its currency, "1,234.50 EUR"."""
    return "—" if value is None else f"{amount(value)} {value.currency}"


def amount(value: Money | None) -> str:
    """An amount without its currency, where a column or a heading names it."""
    if value is None:
        return "—"
    text = f"{value.amount:,.{minor_digits(value.currency)}f}"
    return text.replace("-", "−")


def number(value: int | None) -> str:
    """A whole number with thousands marked."""
    return "—" if value is None else f"{value:,}".replace("-", "−")


def signed(value: int) -> str:
    """A change: "+3", "−2"."""
    return f"{value:+,}".replace("-", "−")


def one(count: int, singular: str, plural: str = "") -> str:
    """A count with its noun: "1 order", "2 orders"."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def cause(value: Mapping[str, Any] | str | None) -> State:
    """Why stock moved or a figure was written."""
    name = value.get("cause", "") if isinstance(value, Mapping) else value or ""
    return _CAUSES.get(name, State("circle-dot", str(name).replace("_", " ").capitalize() or "Unknown", "calm"))


def document_name(head: DocumentSummary) -> str:
    """What a stock document is called: by its number if it has one of its own, else by its time."""
    name = _DOCUMENTS.get(head.kind, head.kind.replace("_", " ").capitalize())
    if "/" in head.reference and head.kind != "receipt":  # made up by a form
        at = head.created_at.astimezone(UTC)
        return f"{name} of {at.day} {at:%b %Y, %H:%M} UTC"
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
