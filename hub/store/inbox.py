"""The inbox: whatever comes from outside is stored here, raw, before it is acknowledged or read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, delete, insert, or_, select, update

from hub.connector import Delivery, RawRecord, Webhook
from hub.store import tables as t
from hub.store.database import Database, for_update, new_id, upsert
from hub.store.secrets import KeyRing

# A record that broke its worker this often is set aside, so that the ones behind it go on.
MOST_CRASHES = 3
_EVENT_RESOLUTION = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Stored:
    """An inbox row as it waits to be read."""

    id: UUID
    source: str
    record: RawRecord
    received_at: datetime
    asked_at: datetime | None
    crash_count: int


def store_webhook(
    database: Database,
    keyring: KeyRing,
    merchant_id: UUID,
    connection_id: UUID,
    delivery: Delivery,
    webhook: Webhook,
) -> bool:
    """Store one verified webhook and commit; False if the very same one is stored already.

    Only after this may it be acknowledged. Raises DatabaseAway, and then it must not be.
    """
    with database.write() as connection:
        at = database.now(connection)
        kept = {name: text for name, text in webhook.headers.items() if _worth_keeping(name)}
        record = RawRecord(delivery.topic, "", webhook.body, headers=kept)
        added = _add(
            connection,
            keyring,
            merchant_id,
            connection_id,
            "webhook",
            [(record, delivery.dedupe_key)],
            at=at,
            asked_at=None,
        )
        connection.execute(
            update(t.connection)
            .where(
                t.connection.c.merchant_id == merchant_id,
                t.connection.c.id == connection_id,
                # Shown to people only. Written at most every few seconds, or all webhooks would queue up for this row.
                or_(t.connection.c.last_event_at.is_(None), t.connection.c.last_event_at < at - _EVENT_RESOLUTION),
            )
            .values(last_event_at=at)
        )
    return added == 1


def store_page(
    connection: Connection,
    keyring: KeyRing,
    merchant_id: UUID,
    connection_id: UUID,
    records: Sequence[RawRecord],
    *,
    asked_at: datetime,
    at: datetime,
) -> int:
    """Store a page of polled records in the caller's transaction, beside its cursor; returns how many are new.

    One version of a record can have several bodies, so the key is id, version and body.
    """
    keyed = [
        (record, f"{record.topic}/{record.external_id}/{record.version}/{_sha256(record.body)}") for record in records
    ]
    return _add(connection, keyring, merchant_id, connection_id, "poll", keyed, at=at, asked_at=asked_at)


def store_fetched(
    connection: Connection,
    keyring: KeyRing,
    merchant_id: UUID,
    connection_id: UUID,
    record: RawRecord,
    *,
    asked_at: datetime,
    at: datetime,
) -> None:
    """Store the answer to a fetch request. Every answer counts: it says how things were when the vendor was asked."""
    key = f"{record.topic}/{record.external_id}/{new_id()}"
    _add(connection, keyring, merchant_id, connection_id, "fetch", [(record, key)], at=at, asked_at=asked_at)


def _add(
    connection: Connection,
    keyring: KeyRing,
    merchant_id: UUID,
    connection_id: UUID,
    source: str,
    keyed: Sequence[tuple[RawRecord, str]],
    *,
    at: datetime,
    asked_at: datetime | None,
) -> int:
    if not keyed:
        return 0
    bodies: dict[UUID, bytes] = {}
    rows: list[dict[str, Any]] = []
    for record, key in keyed:
        row_id = new_id()
        bodies[row_id] = record.body
        rows.append(
            {
                "merchant_id": merchant_id,
                "id": row_id,
                "connection_id": connection_id,
                "source": source,
                "topic": record.topic[:100],
                "external_id": record.external_id[:200],
                "version": record.version[:100],
                "dedupe_key": key if len(key) <= 300 else _sha256(key.encode()),
                "body_sha256": _sha256(record.body),
                "headers": dict(record.headers),
                "received_at": at,
                "asked_at": asked_at,
                "state": "pending",
            }
        )
    added = (
        connection.execute(
            upsert(connection, t.inbox)
            .values(rows)
            .on_conflict_do_nothing(index_elements=["merchant_id", "connection_id", "source", "dedupe_key"])
            .returning(t.inbox.c.id)
        )
        .scalars()
        .all()
    )
    if added:
        connection.execute(
            insert(t.inbox_body),
            [
                {
                    "merchant_id": merchant_id,
                    "inbox_id": row_id,
                    "body": keyring.pack(bodies[row_id], _place(merchant_id, row_id)),
                    "received_at": at,
                }
                for row_id in added
            ],
        )
    return len(added)


def claim(database: Database, keyring: KeyRing, merchant_id: UUID, connection_id: UUID, *, limit: int) -> list[Stored]:
    """The oldest rows still to be read, in order of receipt; each is counted as one attempt that may crash.

    The count is cleared by ``finish``. A row that may have broken its worker before comes alone, so that it can
    break nothing but itself, and its count tells which one it was.
    """

    def work(connection: Connection) -> list[tuple[Any, bytes | None]]:
        inbox = t.inbox.c
        rows: Sequence[Any] = connection.execute(
            for_update(
                connection,
                select(t.inbox)
                .where(inbox.merchant_id == merchant_id, inbox.connection_id == connection_id, inbox.state == "pending")
                .order_by(inbox.received_at, inbox.id)
                .limit(limit),
            )
        ).all()
        if not rows:
            return []
        suspect = next((index for index, row in enumerate(rows) if row.crash_count), len(rows))
        rows = rows[: max(1, suspect)]
        ids = [row.id for row in rows]
        bodies = dict(
            connection.execute(
                select(t.inbox_body.c.inbox_id, t.inbox_body.c.body).where(
                    t.inbox_body.c.merchant_id == merchant_id, t.inbox_body.c.inbox_id.in_(ids)
                )
            ).all()
        )
        connection.execute(
            update(t.inbox)
            .where(inbox.merchant_id == merchant_id, inbox.id.in_(ids))
            .values(attempts=inbox.attempts + 1, crash_count=inbox.crash_count + 1)
        )
        return [(row, bodies.get(row.id)) for row in rows]

    return [
        Stored(
            row.id,
            row.source,
            RawRecord(
                row.topic,
                row.external_id,
                keyring.unpack(body, _place(merchant_id, row.id)) if body is not None else b"",
                row.version,
                row.headers,
            ),
            row.received_at,
            row.asked_at,
            row.crash_count + 1,
        )
        for row, body in database.transact(work)
    ]


def finish(
    connection: Connection,
    merchant_id: UUID,
    done: Iterable[tuple[UUID, str]],
    ignored: Iterable[UUID],
    quarantined: Iterable[tuple[UUID, str]],
    *,
    at: datetime,
) -> None:
    """Mark rows, in the transaction that did what they say: ``done`` with the record's external id."""
    inbox = t.inbox.c
    for row_id, external_id in done:
        connection.execute(
            update(t.inbox)
            .where(inbox.merchant_id == merchant_id, inbox.id == row_id)
            .values(state="done", external_id=external_id[:200], crash_count=0, error="", done_at=at)
        )
    for row_id in ignored:
        connection.execute(
            update(t.inbox)
            .where(inbox.merchant_id == merchant_id, inbox.id == row_id)
            .values(state="ignored", crash_count=0, error="", done_at=at)
        )
    for row_id, error in quarantined:
        connection.execute(
            update(t.inbox)
            .where(inbox.merchant_id == merchant_id, inbox.id == row_id)
            .values(state="quarantined", error=error[:2000], done_at=at)
        )


def put_back(connection: Connection, merchant_id: UUID, ids: Sequence[UUID]) -> None:
    """Give claimed rows back unread, with nothing held against them."""
    connection.execute(
        update(t.inbox)
        .where(t.inbox.c.merchant_id == merchant_id, t.inbox.c.id.in_(list(ids)), t.inbox.c.state == "pending")
        .values(crash_count=0)
    )


def release_quarantined(database: Database, merchant_id: UUID, connection_id: UUID) -> int:
    """Have every quarantined record of a connection read again; returns how many."""
    with database.write() as connection:
        return connection.execute(
            update(t.inbox)
            .where(
                t.inbox.c.merchant_id == merchant_id,
                t.inbox.c.connection_id == connection_id,
                t.inbox.c.state == "quarantined",
            )
            .values(state="pending", crash_count=0, error="", done_at=None)
        ).rowcount


def unread(connection: Connection, merchant_id: UUID, connection_id: UUID, *, since: datetime) -> bool:
    """Whether something that was there before ``since`` is still to be read: any fetched record, any older webhook."""
    inbox = t.inbox.c
    return (
        connection.execute(
            select(inbox.id)
            .where(
                inbox.merchant_id == merchant_id,
                inbox.connection_id == connection_id,
                inbox.state == "pending",
                or_(inbox.source != "webhook", inbox.received_at <= since),
            )
            .limit(1)
        ).first()
        is not None
    )


def forget_bodies(database: Database, before: datetime) -> int:
    """Delete raw bodies received before ``before`` whose rows are finished; keys and hashes stay."""
    with database.write() as connection:
        unfinished = (
            select(t.inbox.c.id)
            .where(
                t.inbox.c.merchant_id == t.inbox_body.c.merchant_id,
                t.inbox.c.id == t.inbox_body.c.inbox_id,
                t.inbox.c.state.in_(["pending", "quarantined"]),
            )
            .exists()
        )
        return connection.execute(delete(t.inbox_body).where(t.inbox_body.c.received_at < before, ~unfinished)).rowcount


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _place(merchant_id: UUID, row_id: UUID) -> str:
    return f"inbox_body:{merchant_id}:{row_id}:body"


def _worth_keeping(header: str) -> bool:
    # A vendor's own headers tell what the body is about. Credentials, cookies and signatures have done their work.
    return header.startswith("x-") and not any(part in header for part in ("hmac", "signature", "token", "forwarded"))
