"""What each call to a vendor teaches about its connection: slow down, leave it alone, or ask for new credentials."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random, SystemRandom
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, select, update

from hub.core import retry
from hub.errors import AuthError, RateLimited, Rejected, Unavailable, Unreadable
from hub.store import activity
from hub.store import tables as t

_random = SystemRandom()

RECONNECT = "reconnect"  # kinds of issues; the subject is the connection's id
UNREACHABLE = "unreachable"
SLOWED = "connection_slowed"  # the kind of activity; its details say until when
_WORTH_TELLING = timedelta(seconds=5)  # shorter pauses are a busy shop's everyday life


def note_outcome(
    connection: Connection,
    merchant_id: UUID,
    connection_id: UUID,
    error: BaseException | None,
    *,
    now: datetime,
    began: datetime | None = None,
    random: Random = _random,
) -> None:
    """Record how a call to the vendor went; ``error`` None means that it answered as it should.

    RateLimited and the fifth Unavailable in a row set ``connection.not_before``, before which nobody calls the vendor;
    not where a single operation is meant, whose work is put off by whoever does it.
    AuthError pauses the connection and asks the merchant to reconnect, unless it was checked successfully after the
    call ``began``: then the refused credentials are not the ones it has now. Any answer of the vendor, a refusal
    included, ends a row of failures. Other exceptions say nothing about the vendor and change nothing.
    """
    if error is None or isinstance(error, Rejected | Unreadable) or _of_one_operation(error):
        # By far the most frequent case: it must not lock the row when there is nothing to change.
        failures = connection.execute(select(t.connection.c.failures).where(*_is(merchant_id, connection_id))).scalar()
        if failures:
            _note_answer(connection, _locked(connection, merchant_id, connection_id), now)
    elif isinstance(error, RateLimited):
        seen = _locked(connection, merchant_id, connection_id)
        _note_answer(connection, seen, now)
        not_before = now + timedelta(seconds=retry.rate_limit_wait(error.retry_after, random))
        _change(connection, seen, not_before=max(not_before, seen.not_before or not_before))
        if not_before - now >= _WORTH_TELLING and (seen.not_before is None or seen.not_before <= now):
            activity.note(
                connection,
                merchant_id,
                SLOWED,
                f"{seen.label} asked to slow down: nothing is sent for {(not_before - now).total_seconds():.0f} s",
                at=now,
                connection_id=connection_id,
                details={"until": not_before.isoformat()},
            )
    elif isinstance(error, Unavailable):
        _note_unavailable(connection, _locked(connection, merchant_id, connection_id), error, now, random)
    elif isinstance(error, AuthError):
        _note_refused(connection, _locked(connection, merchant_id, connection_id), error, now, began)


def _of_one_operation(error: BaseException) -> bool:
    return isinstance(error, RateLimited) and bool(error.operation)


def _is(merchant_id: UUID, connection_id: UUID) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return t.connection.c.merchant_id == merchant_id, t.connection.c.id == connection_id


def _locked(connection: Connection, merchant_id: UUID, connection_id: UUID) -> Row[Any]:
    statement = select(t.connection).where(*_is(merchant_id, connection_id))
    if connection.dialect.name != "sqlite":
        # Not a full lock: rows that merely refer to the connection, such as webhooks, must go on being stored.
        statement = statement.with_for_update(key_share=True)
    return connection.execute(statement).one()


def _note_unavailable(
    connection: Connection, seen: Row[Any], error: Unavailable, now: datetime, random: Random
) -> None:
    if seen.state == "removed":
        return
    failures = seen.failures + 1
    pause = retry.breaker_pause(failures, random)
    if pause is None:
        _change(connection, seen, failures=failures)
        return
    not_before = max(now + timedelta(seconds=pause), seen.not_before or now)
    _change(connection, seen, failures=failures, not_before=not_before, error=seen.error or str(error)[:1000])
    activity.raise_issue(
        connection,
        seen.merchant_id,
        UNREACHABLE,
        str(seen.id),
        f"{seen.label} does not answer",
        "Nothing is lost and the hub goes on trying. If this lasts, see whether the shop itself can be opened.",
        at=now,
        connection_id=seen.id,
        link=f"/connections/{seen.id}",
    )


def _note_refused(
    connection: Connection, seen: Row[Any], error: AuthError, now: datetime, began: datetime | None
) -> None:
    if began is not None and seen.checked_at is not None and seen.checked_at > began:
        return
    if seen.state != "connected":
        return
    _change(connection, seen, state="paused", failures=0, error=str(error)[:1000])
    activity.raise_issue(
        connection,
        seen.merchant_id,
        RECONNECT,
        str(seen.id),
        f"{seen.label} refused the credentials",
        "Reconnect it. Orders and stock wait until then; nothing is lost.",
        at=now,
        connection_id=seen.id,
        link=f"/connections/{seen.id}",
    )
    activity.note(
        connection,
        seen.merchant_id,
        "connection_paused",
        f"{seen.label} was paused: {error}",
        at=now,
        connection_id=seen.id,
    )


def note_disconnected(
    connection: Connection,
    merchant_id: UUID,
    connection_id: UUID,
    message: str,
    *,
    since: datetime,
    now: datetime,
) -> None:
    """The vendor says that the merchant took the permission away: pause, and ask for it anew.

    Not where the connection was checked ``since`` then: it has another permission by now.
    """
    seen = _locked(connection, merchant_id, connection_id)
    if seen.state != "connected" or (seen.checked_at is not None and seen.checked_at >= since):
        return
    _change(connection, seen, state="paused", failures=0, error=message[:1000])
    activity.raise_issue(
        connection,
        merchant_id,
        RECONNECT,
        str(connection_id),
        f"{seen.label} is disconnected: {message}",
        "Reconnect it. Orders and stock wait until then; nothing is lost.",
        at=now,
        connection_id=connection_id,
        link=f"/connections/{connection_id}",
    )
    activity.note(
        connection,
        merchant_id,
        "connection_paused",
        f"{seen.label} was paused: {message}",
        at=now,
        connection_id=connection_id,
    )


def _note_answer(connection: Connection, seen: Row[Any], now: datetime) -> None:
    if not seen.failures:
        return
    if seen.failures < retry.UNAVAILABLE_BEFORE_PAUSE:
        _change(connection, seen, failures=0)
        return
    # It had been left alone, so the text and the pause are from here; it is back.
    _change(connection, seen, failures=0, not_before=None, error="")
    if activity.resolve_issue(connection, seen.merchant_id, UNREACHABLE, str(seen.id), at=now):
        activity.note(
            connection,
            seen.merchant_id,
            "connection_back",
            f"{seen.label} answers again",
            at=now,
            connection_id=seen.id,
        )


def _change(connection: Connection, seen: Row[Any], **values: object) -> None:
    connection.execute(update(t.connection).where(*_is(seen.merchant_id, seen.id)).values(**values))
