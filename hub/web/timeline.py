"""The timeline of an order in words: what each event is called, by which icon and tone, and what caused it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from flask import request
from flask_babel import gettext as _

from hub.core.changes import Change
from hub.core.model import utc
from hub.store import mail
from hub.store.queries.parts import PAGE
from hub.store.queries.timeline import KINDS, SOURCES, Event, Mark
from hub.web import edits, lists
from hub.web.looks import cause, kind_icon, state_of
from hub.web.reader import reader
from hub.web.topics import about


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One event as the page shows it. ``changes`` are those of an edit, ``record_id`` leads to what came in,
    ``email_id`` names an e-mail that can be sent again, as long as ``announced``, the fulfillment order that it says
    can be collected, still can."""

    at: datetime
    icon: str
    tone: str = ""
    text: str
    more: str = ""
    by: str
    changes: Sequence[edits.Told] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    record_id: UUID | None = None
    email_id: UUID | None = None
    announced: UUID | None = None


@dataclass(frozen=True, slots=True)
class Narrowed:
    """What the address asks of the timeline."""

    show: str
    oldest_first: bool
    after: Mark | None


def narrowed() -> Narrowed:
    """Read from the address; whatever cannot be asked counts as not asked, but a page that does not exist is told."""
    return Narrowed(
        lists.choice("show", tuple(KINDS)),
        lists.choice("turn", ("oldest",)) == "oldest",
        _mark(request.args.get("before", "")),
    )


def choices() -> list[tuple[str, str]]:
    """What the timeline can be narrowed to."""
    return [
        ("", _("Everything")),
        ("channel", _("The shop")),
        ("shipping", _("Shipping")),
        ("stock", _("Stock")),
        ("mail", _("E-mail")),
        ("people", _("By people")),
    ]


def page(events: Sequence[Event], places: Mapping[str, str]) -> lists.Listed[Told]:
    """A page of the timeline, of which one event more was asked for."""
    shown = [told(each, places) for each in events[:PAGE]]
    last = events[PAGE - 1].mark if len(events) > PAGE else None
    older = f"{last.at.isoformat()}~{last.source}~{last.key}" if last else ""
    return lists.Listed(shown, older, not request.args.get("before"))


def _mark(text: str) -> Mark | None:
    if not text:
        return None
    at, source, key = [*text.split("~", 2), "", ""][:3]
    try:
        moment = utc(datetime.fromisoformat(at.replace(" ", "+")))
    except (ValueError, OverflowError):
        raise lists.stale() from None
    if source not in SOURCES or "\x00" in key:
        raise lists.stale()
    return Mark(moment, source, key[:400])


# ---------------------------------------------------------------- in words


def told(event: Event, places: Mapping[str, str]) -> Told:
    """One event in words."""
    return _TOLD[event.source](event, places)


def _activity(event: Event, places: Mapping[str, str]) -> Told:
    icon = {"order_note": "note", "refund_asked": "receipt-refund", "cancellation_asked": "ban"}.get(event.kind)
    details = event.details if isinstance(event.details, dict) else {}
    return Told(
        at=event.at, icon=icon or kind_icon(event.kind), text=event.text, by=event.actor or "Tallyhub", details=details
    )


def effect_name(kind: str) -> str:
    """What an effect is called before people."""
    names = {
        "cancel_order": _("Cancel the order"),
        "refund": _("Give money back"),
        "confirm_shipment": _("Tell of the shipment"),
        "confirm_shipment_again": _("Tell of the shipment again"),
        "hold_work": _("Hold a part"),
        "release_work": _("Release a part"),
        "move_work": _("Move a part"),
        "split_work": _("Split a part"),
        "answer_work": _("Answer a request"),
        "buy_label": _("Buy a label"),
        "void_label": _("Give a label back"),
        "submit": _("Ask the 3PL to ship"),
        "cancel": _("Ask the 3PL not to ship"),
        "stock_listing": _("Keep stock of a listing"),
    }
    return names.get(kind, kind.replace("_", " ").capitalize())


def _effect(event: Event, places: Mapping[str, str]) -> Told:
    state = state_of("asked", event.state)
    had_it = isinstance(event.details, dict) and event.details.get("already") is True
    return Told(
        at=event.at,
        icon=state.icon,
        tone=f"tone-{state.tone}",
        text=f"{effect_name(event.kind)}: {state.label}",
        more=_("It had it already, so nothing was written.") if had_it else event.more,
        by=_("asked of %(whom)s", whom=event.about),
        details={"reference": event.text} if event.text else {},
    )


def _record(event: Event, places: Mapping[str, str]) -> Told:
    states = {
        "pending": _("waits to be read"),
        "done": _("read"),
        "ignored": _("not needed"),
        "quarantined": _("set aside"),
    }
    said = {"shop": event.text, "what": about(event.about), "state": states.get(event.state, event.state)}
    texts = {
        "webhook": _("%(shop)s told us of %(what)s: %(state)s", **said),
        "poll": _("%(shop)s was asked what is new, and told of %(what)s: %(state)s", **said),
        "fetch": _("%(shop)s was asked for %(what)s: %(state)s", **said),
    }
    how = {"webhook": _("by itself"), "poll": _("asked every now and then"), "fetch": _("asked by the hub")}
    return Told(
        at=event.at,
        icon={"webhook": "webhook", "poll": "refresh", "fetch": "cloud-download"}.get(event.kind, "inbox"),
        tone="tone-bad" if event.state == "quarantined" else "",
        text=texts.get(event.kind) or _("%(shop)s told of %(what)s: %(state)s", **said),
        more=event.more,
        by=how.get(event.kind, ""),
        record_id=_id(event.key),
    )


def _edit(event: Event, places: Mapping[str, str]) -> Told:
    return Told(
        at=event.at,
        icon="versions",
        text=_("Changed at the shop"),
        by=_("revision %(number)s", number=event.text),
        changes=[edits.told(Change.from_plain(each), places) for each in event.details or ()],
    )


def _stock(event: Event, places: Mapping[str, str]) -> Told:
    on_hand, allocated = event.details or (0, 0)
    said = [
        _("%(units)s on hand", units=reader().signed(on_hand)) if on_hand else "",
        _("%(units)s held", units=reader().signed(allocated)) if allocated else "",
    ]
    state = cause(event.kind)
    return Told(
        at=event.at,
        icon=state.icon,
        text=f"{state.label}: {event.about}, {', '.join(filter(None, said))}",
        more=event.more,
        by=event.actor or event.text,
    )


def _routing(event: Event, places: Mapping[str, str]) -> Told:
    by = {"chosen": _("by a person"), "plugin": _("by a plugin")}
    return Told(at=event.at, icon="route", text=event.text, by=by.get(event.kind, _("by the routing policy")))


def _email(event: Event, places: Mapping[str, str]) -> Told:
    state = state_of("email", event.state)
    return Told(
        at=event.at,
        icon="mail",
        tone=f"tone-{state.tone}" if state.tone in ("bad", "warn") else "",
        text=f"{event.text or _('E-mail')}: {state.label}",
        more=event.more,
        by=_("to %(whom)s", whom=event.about) if event.about else _("to the customer"),
        email_id=_id(event.key) if event.state in ("sent", "failed", "unclear") else None,
        announced=mail.announced(event.kind),
    )


def _tracking(event: Event, places: Mapping[str, str]) -> Told:
    state = state_of("tracking", event.kind)
    return Told(
        at=event.at,
        icon=state.icon,
        tone=f"tone-{state.tone}" if state.tone == "bad" else "",
        text=f"{state.label}: {event.text}",
        more=event.more,
        by=event.about,
    )


def _id(key: str) -> UUID | None:
    try:
        return UUID(key)
    except ValueError:
        return None


_TOLD = {
    "activity": _activity,
    "effect": _effect,
    "record": _record,
    "edit": _edit,
    "stock": _stock,
    "routing": _routing,
    "email": _email,
    "tracking": _tracking,
}
