"""The watchdog of webhooks: whether a shop, a 3PL or a carrier still sends them, and what is done when it does not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection, Row, select, update

from hub.connector import Connector, Subscriptions
from hub.core.sentences import enumerated
from hub.jobs.shift import Shift
from hub.store import activity, connections, effects, inbox, tracking
from hub.store import tables as t
from hub.store.database import new_id

log = structlog.get_logger()

STREAM = "webhooks"  # its row in the table cursor
LOST = "webhooks_lost"  # the kind of activity, and of the issue; the subject is the connection's id
EVERY = timedelta(hours=1)
_LOST_OFTEN = 3  # times within _SOON, before a person is told
_SOON = timedelta(days=1)
_SHORTEST_SILENCE = timedelta(minutes=5)
_TIMES_THE_PACE = 10
_ENOUGH = 10  # webhooks, for there to be a usual pace


def address_of(public_url: str, merchant_id: UUID, connection_id: UUID) -> str:
    """Where a vendor is to send the webhooks of a connection to."""
    return f"{public_url.rstrip('/')}/webhooks/{merchant_id}/{connection_id}"


def told_at(shift: Shift, connector: type[Connector], settings: Mapping[str, Any]) -> str | None:
    """Where a vendor is to send its news to: an address of ours, "" for the queue of these settings, None: nowhere."""
    if connections.has_queue(connector, settings):
        return ""
    if connector.capabilities.webhooks and (public_url := shift.public_url()):
        return address_of(public_url, shift.merchant_id, shift.connection_id)
    return None


def plan_subscription(connection: Connection, shift: Shift, address: str, occasion: UUID, at: datetime) -> None:
    """Plan the effect that has the vendor send its news to ``address``; once per ``occasion``."""
    effects.plan(
        connection,
        shift.merchant_id,
        shift.connection_id,
        "subscribe_webhooks",
        f"{shift.connection_id}/{occasion}",
        {"address": address},
        now=at,
        ordering_key=f"{shift.connection_id}/webhooks",
    )


def watch(shift: Shift) -> None:
    """Ask what the vendor sends, every hour and when it has been silent for long; have what is missing sent again."""
    row = shift.row()
    at = shift.now()
    address = _watched(shift, row)
    if address is None:
        _come_again(shift, at + EVERY)
        return
    silent_at = _silent_at(shift, row, at)
    hourly = _hourly_look(shift)
    if hourly is not None and at < hourly and silent_at is not None and silent_at > at:
        _come_again(shift, min(silent_at, hourly), hourly)  # it was heard of meanwhile
        return
    _come_again(shift, at + timedelta(minutes=1))  # whatever happens to this worker
    found = shift.sender(row).read_subscriptions(address)
    lost = shift.write(lambda connection, at: _note(connection, shift, address, found, at))
    hourly = at + EVERY
    if silent_at is not None and at < silent_at < hourly:
        _come_again(shift, silent_at, hourly, asked_at=at)
    else:
        _come_again(shift, hourly, asked_at=at)
    if lost:
        shift.ring(shift.connection_id, "effects")


def _watched(shift: Shift, row: Row[Any]) -> str | None:
    """Where the news go that can be watched; None: nobody can tell whether they come."""
    connector = shift.installed(row)
    if "subscribe_webhooks" not in connector.effects:
        return None
    if connector.read_subscriptions is Connector.read_subscriptions:
        return None
    return told_at(shift, connector, shift.credentials(row).settings)


def _note(connection: Connection, shift: Shift, address: str, found: Subscriptions, at: datetime) -> bool:
    """Keep what was found; have what is missing sent again, and ask for what it would have told. Whether any was."""
    row = connection.execute(select(t.connection).where(*_is(shift))).one()
    before = row.subscriptions or {}
    kept: dict[str, Any] = {
        "active": sorted(found.active),
        "missing": sorted(found.missing),
        "checked_at": at.isoformat(),
        "lost": before.get("lost", 0),
        "lost_at": before.get("lost_at"),
    }
    lost_before = datetime.fromisoformat(kept["lost_at"]) if kept["lost_at"] else None
    recently = lost_before is not None and at - lost_before < _SOON
    subject = str(shift.connection_id)
    being_subscribed = connection.execute(
        select(t.effect.c.id)
        .where(
            t.effect.c.merchant_id == shift.merchant_id,
            t.effect.c.connection_id == shift.connection_id,
            t.effect.c.kind == "subscribe_webhooks",
            t.effect.c.state.in_(["planned", "in_flight"]),
        )
        .limit(1)
    ).first()
    lost = bool(found.missing) and being_subscribed is None
    if lost:
        kept |= {"lost": kept["lost"] + 1 if recently else 1, "lost_at": at.isoformat()}
        plan_subscription(connection, shift, address, new_id(), at)
        connection.execute(
            update(t.cursor)
            .where(
                t.cursor.c.merchant_id == shift.merchant_id,
                t.cursor.c.connection_id == shift.connection_id,
                t.cursor.c.stream != STREAM,
            )
            .values(due_at=at)
        )
        tracking.look_at_all(connection, shift.merchant_id, shift.connection_id, at=at)
        activity.note(
            connection,
            shift.merchant_id,
            LOST,
            f"{row.label} had stopped sending webhooks ({enumerated(kept['missing'], 4)}): it is told to send them "
            "again, and asked for what they would have said",
            at=at,
            connection_id=shift.connection_id,
            details={"missing": kept["missing"]},
        )
        if kept["lost"] >= _LOST_OFTEN:
            activity.raise_issue(
                connection,
                shift.merchant_id,
                LOST,
                subject,
                f"{row.label} stops sending webhooks again and again ({kept['lost']} times within a day)",
                f"See at {row.label} what removes or disables them: another app, or errors of this hub's address. "
                "Nothing is lost meanwhile; the hub asks for it.",
                at=at,
                connection_id=shift.connection_id,
                link=f"/connections/{shift.connection_id}",
            )
    elif not found.missing and not recently:
        kept |= {"lost": 0, "lost_at": None}
        activity.resolve_issue(connection, shift.merchant_id, LOST, subject, at=at)
    connection.execute(update(t.connection).where(*_is(shift)).values(subscriptions=kept))
    return lost


def _silent_at(shift: Shift, row: Row[Any], at: datetime) -> datetime | None:
    """When this connection will have been silent for much longer than it usually is; None: nobody can tell."""
    with shift.hub.database.read() as connection:
        heard = inbox.latest_webhooks(connection, shift.merchant_id, shift.connection_id, since=at - timedelta(days=7))
    if len(heard) < _ENOUGH or row.last_event_at is None:
        return None
    pace = median((later - earlier).total_seconds() for later, earlier in pairwise(heard))
    last: datetime = row.last_event_at
    return last + max(_SHORTEST_SILENCE, timedelta(seconds=_TIMES_THE_PACE * pace))


def _hourly_look(shift: Shift) -> datetime | None:
    """When the next look is due anyway, if this one came before it, for silence."""
    with shift.hub.database.read() as connection:
        found = connection.execute(select(t.cursor.c.value).where(*_this(shift))).scalar_one()
    return datetime.fromisoformat(found) if found else None


def _come_again(
    shift: Shift, due_at: datetime, hourly: datetime | None = None, *, asked_at: datetime | None = None
) -> None:
    values: dict[str, Any] = {"due_at": due_at, "value": None if hourly is None else hourly.isoformat()}
    if asked_at is not None:
        values |= {"polled_at": asked_at, "error": ""}
    shift.write(lambda connection, _at: connection.execute(update(t.cursor).where(*_this(shift)).values(**values)))


def _this(shift: Shift) -> tuple[Any, ...]:
    cursor = t.cursor.c
    return (
        cursor.merchant_id == shift.merchant_id,
        cursor.connection_id == shift.connection_id,
        cursor.stream == STREAM,
    )


def _is(shift: Shift) -> tuple[Any, ...]:
    return t.connection.c.merchant_id == shift.merchant_id, t.connection.c.id == shift.connection_id
