"""The messages lane: what a vendor left in a queue is stored like its webhooks, and only then deleted there.

A lane of its own, so that nothing makes news wait: no long import, and no budget that is spent.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import ColumnElement, Connection, Row, select, update

from hub.connector import Connector, Delivery, RawRecord
from hub.core import retry
from hub.errors import Conflict, HubError, RateLimited, Unavailable, Unreadable
from hub.jobs.shift import Shift, jitter
from hub.sqs import MOST_AT_ONCE, Message, Queue
from hub.store import activity, connections, inbox
from hub.store import tables as t
from hub.store.database import Interrupted

log = structlog.get_logger()

STOPPED = "messages_stopped"  # the kind of issue; the subject is the connection's id
# For the first message, by whoever has the time: asked without waiting, a queue answers from some of its servers only.
_LISTEN_SECONDS = 1
_TIME_TO_LISTEN = 10.0
_MOST_DELIVERIES = 5  # of a message that breaks its reader down each time; then it is stored without being looked at
_SILENT_BEFORE_TOLD = timedelta(minutes=10)
_LONGEST_PAUSE = 60.0


def due(at: datetime) -> ColumnElement[bool]:
    """Whether the queue of the connection of the outer query is to be emptied now."""
    shop, cursor = t.connection.c, t.cursor.c
    return (
        (shop.state != "removed")
        & shop.secrets.is_not(None)
        & select(cursor.merchant_id)
        .where(
            cursor.merchant_id == shop.merchant_id,
            cursor.connection_id == shop.id,
            cursor.stream == connections.MESSAGES,
            cursor.due_at <= at,
        )
        .exists()
    )


def work(shift: Shift) -> None:
    """Empty the queue, if it is due: ten messages at a time, for as long as that many come.

    Whatever state the connection is in: like a webhook, a message that is not taken may never come again.
    """
    row = shift.row()
    stands = shift.write(lambda connection, at: _begin(connection, shift, at))
    if stands is None or row.secrets is None or row.state == "removed":
        return
    try:
        queue = shift.hub.queue(shift.installed(row), shift.credentials(row), shift.recorder)
        if queue is None:
            shift.write(lambda connection, _at: connection.execute(_this(shift).values(due_at=None)))
            return
        with closing(queue):
            emptied = _empty(shift, row, queue)
    except Interrupted:
        raise
    except HubError as error:
        _failed(shift, row, stands, error)
    except (Exception, SystemExit) as error:
        log.exception("messages failed", connection=str(shift.connection_id))
        _failed(shift, row, stands, Unavailable(f"The connector failed: {type(error).__name__}: {error}"))
    else:
        _went_well(shift, row, stands, emptied)


def refuse_shared(shift: Shift, connector: type[Connector], settings: Mapping[str, Any]) -> None:
    """Two that read one queue would take each other's messages. Raises Conflict."""
    if not connections.has_queue(connector, settings):
        return
    wanted = connector.queue_address(settings)
    shop, cursor = t.connection.c, t.cursor.c
    with shift.hub.database.read() as connection:
        others = connection.execute(
            select(t.connection)
            .join(t.cursor, (cursor.merchant_id == shop.merchant_id) & (cursor.connection_id == shop.id))
            .where(
                shop.merchant_id == shift.merchant_id,
                shop.id != shift.connection_id,
                shop.state.in_(["connected", "paused"]),
                shop.connector.in_(list(shift.hub.registry.connectors)),
                cursor.stream == connections.MESSAGES,
            )
        ).all()
    for row in others:
        other = shift.installed(row).queue_address(shift.credentials(row).settings)
        if other is not None and wanted is not None and other.url == wanted.url:
            raise Conflict(
                f"{row.label} reads this queue already, and they would take each other's messages. Make a queue for "
                "this connection alone, and enter it here."
            )


def opened(reader: Connector, record: RawRecord) -> RawRecord | None:
    """The record under the topic its message names, None where it means nothing.

    Only what could not be read when it came has no topic yet. Raises Unreadable when it still cannot be.
    """
    if record.topic != inbox.MESSAGE:
        return record
    delivery = reader.read_message(record.body)
    return None if delivery is None else replace(record, topic=delivery.topic)


def _empty(shift: Shift, row: Row[Any], queue: Queue) -> bool:
    """Store what is in the queue; False where the shift ended before it was empty."""
    reader = shift.reader_of_any_kind(row)
    while shift.time_left():
        shift.keep()
        listens = shift.ends - time.monotonic() > _TIME_TO_LISTEN
        messages = queue.receive(wait_seconds=_LISTEN_SECONDS if listens else 0)
        if messages:
            _store(shift, reader, messages)
            shift.ring(shift.connection_id, "inbox")
            # Committed. Whatever happens before they are deleted, the copies that come then are recognized.
            queue.delete(messages)
        if len(messages) < MOST_AT_ONCE:
            return True
    return False


def _store(shift: Shift, reader: Connector, messages: Sequence[Message]) -> None:
    read = [(_delivery(reader, message), message.body) for message in messages]
    kept = [(delivery, body) for delivery, body in read if delivery is not None]
    if kept:
        shift.write(
            lambda connection, at: inbox.store_messages(
                connection, shift.hub.keyring, shift.merchant_id, shift.connection_id, kept, at=at
            )
        )


def _delivery(reader: Connector, message: Message) -> Delivery | None:
    """What a message is about; None: nothing to be kept. What cannot be read now is kept, and read once more later."""
    if message.deliveries <= _MOST_DELIVERIES:
        try:
            found: Delivery | None = reader.read_message(message.body)
        except Unreadable:
            pass  # whoever reads the inbox finds out again, and tells
        except (Exception, SystemExit) as error:  # somebody else's code: its message alone is kept unread
            log.warning("message not read", error=f"{type(error).__name__}: {error}"[:500])
        else:
            if found is None or (found.dedupe_key and f"{found.topic}{found.dedupe_key}".isprintable()):
                return found
    return Delivery(inbox.MESSAGE, f"{inbox.MESSAGE}/{hashlib.sha256(message.body).hexdigest()}")


# ---------------------------------------------------------------- how it goes on


def _begin(connection: Connection, shift: Shift, at: datetime) -> Row[Any] | None:
    """Put the next time off before anything is tried; what stood there, None where it is not due."""
    cursor = t.cursor.c
    found = connection.execute(
        select(t.cursor).where(
            cursor.merchant_id == shift.merchant_id,
            cursor.connection_id == shift.connection_id,
            cursor.stream == connections.MESSAGES,
            cursor.due_at <= at,
        )
    ).one_or_none()
    if found is not None:
        connection.execute(_this(shift).values(due_at=at + timedelta(seconds=_LONGEST_PAUSE)))
    return found


def _went_well(shift: Shift, row: Row[Any], stands: Row[Any], emptied: bool) -> None:
    pause = float(shift.installed(row).capabilities.message_poll_seconds or 0.0) if emptied else 0.0  # type: ignore[union-attr]

    def write(connection: Connection, at: datetime) -> None:
        values = {"due_at": at + timedelta(seconds=pause), "polled_at": at, "value": None, "error": ""}
        connection.execute(_this(shift).values(**values))
        if stands.value is not None:
            activity.resolve_issue(connection, shift.merchant_id, STOPPED, str(shift.connection_id), at=at)

    shift.write(write)


def _failed(shift: Shift, row: Row[Any], stands: Row[Any], error: HubError) -> None:
    """Try again soon. A queue is not the vendor: that is still asked, so the connection itself is not paused."""
    passing = isinstance(error, RateLimited | Unavailable)
    if isinstance(error, RateLimited):
        pause = retry.rate_limit_wait(error.retry_after, jitter)
    else:
        pause = jitter.uniform(0.1, 0.2) * _LONGEST_PAUSE if passing else _LONGEST_PAUSE

    def write(connection: Connection, at: datetime) -> None:
        # The time since when it fails stands where other streams have their cursor.
        since = at if stands.value is None else datetime.fromisoformat(stands.value)
        connection.execute(
            _this(shift).values(due_at=at + timedelta(seconds=pause), value=since.isoformat(), error=str(error)[:1000])
        )
        if not passing or at - since >= _SILENT_BEFORE_TOLD:
            activity.raise_issue(
                connection,
                shift.merchant_id,
                STOPPED,
                str(shift.connection_id),
                f"The messages of {row.label} cannot be read: {error}"[:500],
                "Nothing is lost: orders are asked for every few minutes meanwhile, and messages wait in the queue for "
                "some days. If it is its address or its key, correct them under Reconnect.",
                at=at,
                connection_id=shift.connection_id,
                link=f"/connections/{shift.connection_id}",
            )

    shift.write(write)


def _this(shift: Shift) -> Any:
    cursor = t.cursor.c
    return update(t.cursor).where(
        cursor.merchant_id == shift.merchant_id,
        cursor.connection_id == shift.connection_id,
        cursor.stream == connections.MESSAGES,
    )
