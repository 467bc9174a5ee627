"""How a connection is doing in a sentence, and what is to be done next: for people who look once a day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask_babel import gettext as _
from flask_babel import ngettext

from hub.store.queries.connections import ConnectionSummary, Health, StreamView

# News that waits so long does so because nobody works, and not because there is much of it.
_BEHIND = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Verdict:
    """``says`` is the state, ``then`` what follows from it, and ``act`` what a person does: resume, reconnect,
    go_live, issues, or "" where nothing is to be done."""

    tone: str
    icon: str
    says: str
    then: str
    act: str = ""


def verdict(shop: ConnectionSummary, now: datetime, *, is_channel: bool) -> Verdict:
    """What to tell of a connection that was not removed."""
    match shop.health(now):
        case Health.PAUSED if shop.paused_at is not None:
            kept = _("Nothing is fetched and nothing is written until somebody resumes it. What it sends is kept.")
            return Verdict("warn", "player-pause", _("Paused by a person"), kept, "resume")
        case Health.PAUSED:
            then = _("Enter keys that work. What it sends meanwhile is kept.")
            return Verdict("bad", "key", _("Its keys are refused"), then, "reconnect")
        case Health.NEW:
            then = _("A worker asks the vendor whether the keys work. That takes seconds.")
            return Verdict("busy", "loader", _("Being checked"), then)
        case Health.PROBLEM if shop.state == "new":
            then = _("Correct the settings, then it is checked again.")
            return Verdict("bad", "alert-triangle", _("Not connected: the check has failed"), then, "reconnect")
        case Health.WAITING:
            then = _("The vendor asked for a pause, or is away. The hub goes on by itself; nothing is lost.")
            return Verdict("warn", "clock", _("Waits for the vendor"), then)
        case Health.PROBLEM:
            then = _("The hub keeps trying. If it does not recover, reconnect.")
            return Verdict("bad", "alert-triangle", _("The last attempt failed"), then, "reconnect")
        case Health.PREPARING if is_channel:
            then = _(
                "The hub reads its orders and listings. Nothing is written to the shop before somebody sets it live."
            )
            return Verdict("warn", "eye", _("Works, and is not live yet"), then, "go_live")
    return _working(shop, now)


def _working(shop: ConnectionSummary, now: datetime) -> Verdict:
    since = min((each for each in (shop.backlog_since, shop.waiting_since) if each is not None), default=now)
    if shop.failing:
        says = ngettext("%(num)s figure is refused", "%(num)s figures are refused", shop.failing)
        return Verdict("bad", "alert-triangle", says, _("All others are written. The issues say why."), "issues")
    if now - since > _BEHIND:
        then = _("No worker gets to it. Whoever runs the hub sees with “hub doctor” whether workers run.")
        return Verdict("bad", "hourglass", _("Works, and is behind"), then)
    if shop.issues:
        says = ngettext("Works; %(num)s issue waits for you", "Works; %(num)s issues wait for you", shop.issues)
        return Verdict("warn", "flag", says, _("Everything else goes on."), "issues")
    return Verdict("ok", "circle-check", _("Works, up to date"), _("Nothing is to be done."))


def last_success(shop: ConnectionSummary, streams: Sequence[StreamView]) -> datetime | None:
    """When the vendor was last heard of in a way that worked; None: never."""
    heard = [shop.checked_at, shop.last_event_at, *(each.polled_at for each in streams if not each.error)]
    return max((each for each in heard if each is not None), default=None)
