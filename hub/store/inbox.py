"""The inbox: whatever comes from outside is stored here, raw, before it is acknowledged or read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, Connection, Row, bindparam, case, delete, or_, select, tuple_, update

from hub import access
from hub.access import Permission
from hub.connector import Delivery, RawRecord, Webhook
from hub.store import activity
from hub.store import tables as t
from hub.store.bulk import insert_rows
from hub.store.database import Database, among, for_update, in_chunks, new_id, upsert
from hub.store.secrets import KeyRing, SecretsUnreadable

log = structlog.get_logger()

# A record that broke its worker this often is set aside, so that the ones behind it go on.
MOST_CRASHES = 3
MESSAGE = "message"  # the topic of a message of which the connector could not say what it is about
QUARANTINE = "unreadable_record"  # the kind of issue; the subject is the connection
_FORGOTTEN_AT_ONCE = 500
_EVENT_RESOLUTION = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Stored:
    """An inbox row as it waits to be read. ``damage`` says why its body cannot be decrypted, if so."""

    id: UUID
    source: str
    record: RawRecord
    received_at: datetime
    asked_at: datetime | None
    crash_count: int
    damage: str = ""


def store_webhook(
    database: Database,
    keyring: KeyRing,
    merchant_id: UUID,
    connection_id: UUID,
    delivery: Delivery,
    webhook: Webhook,
    also: Callable[[Connection], None] = lambda _connection: None,
) -> bool:
    """Store one verified webhook and commit; False if the very same one is stored already.

    Only after this may it be acknowledged. Raises DatabaseAway, and then it must not be. ``also`` writes what comes
    with it in the same commit, in a savepoint: its failure loses no webhook.
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
        _note_event(connection, merchant_id, connection_id, at)
        try:
            with connection.begin_nested():
                also(connection)
        except Exception as error:
            if connection.invalidated:
                raise  # the database is away, and with it the webhook
            log.warning("left out beside a webhook", error=f"{type(error).__name__}: {error}"[:500])
    return added == 1


def store_messages(
    connection: Connection,
    keyring: KeyRing,
    merchant_id: UUID,
    connection_id: UUID,
    messages: Sequence[tuple[Delivery, bytes]],
    *,
    at: datetime,
) -> int:
    """Store messages of a queue like webhooks, in the caller's transaction; returns how many are new.

    Only after its commit may they be deleted from the queue.
    """
    added = 0
    for delivery, body in messages:  # one by one: the same may come as a webhook at this moment
        keyed = [(RawRecord(delivery.topic, "", body), delivery.dedupe_key)]
        added += _add(connection, keyring, merchant_id, connection_id, "webhook", keyed, at=at, asked_at=None)
    _note_event(connection, merchant_id, connection_id, at)
    return added


def _note_event(connection: Connection, merchant_id: UUID, connection_id: UUID, at: datetime) -> None:
    """Shown to people only. Written at most every few seconds, or all webhooks would queue up for this row."""
    shop = t.connection.c
    connection.execute(
        update(t.connection)
        .where(
            shop.merchant_id == merchant_id,
            shop.id == connection_id,
            or_(shop.last_event_at.is_(None), shop.last_event_at < at - _EVENT_RESOLUTION),
        )
        .values(last_event_at=at)
    )


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


def store_received(
    connection: Connection,
    keyring: KeyRing,
    merchant_id: UUID,
    connection_id: UUID,
    source: str,
    record: RawRecord,
    *,
    received_at: datetime,
    asked_at: datetime | None,
) -> None:
    """Store a record that another hub received, as it came in there."""
    key = f"{source}/{new_id()}"
    _add(connection, keyring, merchant_id, connection_id, source, [(record, key)], at=received_at, asked_at=asked_at)


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
    added = _insert_new(connection, merchant_id, connection_id, source, rows)
    insert_rows(
        connection,
        t.inbox_body,
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


def _insert_new(
    connection: Connection, merchant_id: UUID, connection_id: UUID, source: str, rows: Sequence[dict[str, Any]]
) -> Sequence[UUID]:
    """Insert those that are not stored yet; returns their ids."""
    if len(rows) == 1:
        # Webhooks come in side by side, and the same one twice at a time.
        insertion = upsert(connection, t.inbox).on_conflict_do_nothing(
            index_elements=["merchant_id", "connection_id", "source", "dedupe_key"]
        )
        return connection.execute(insertion.returning(t.inbox.c.id), rows).scalars().all()
    # Several come from a lane, which one worker has at a time: what it does not see here, nobody is about to insert.
    inbox = t.inbox.c
    unique = {row["dedupe_key"]: row for row in reversed(rows)}
    here = (inbox.merchant_id == merchant_id, inbox.connection_id == connection_id, inbox.source == source)
    for keys in in_chunks(list(unique)):
        for key in connection.execute(
            select(inbox.dedupe_key).where(*here, among(connection, inbox.dedupe_key, keys))
        ).scalars():
            del unique[key]
    new = [row for row in rows if unique.get(row["dedupe_key"]) is row]
    insert_rows(connection, t.inbox, new)
    return [row["id"] for row in new]


def claim(database: Database, keyring: KeyRing, merchant_id: UUID, connection_id: UUID, *, limit: int) -> list[Stored]:
    """The oldest rows still to be read, in order of receipt; each is counted as one attempt that may crash.

    The count is cleared by ``finish``. A row that may have broken its worker before comes alone, so that it can
    break nothing but itself, and its count tells which one it was.
    """

    def work(connection: Connection) -> tuple[Sequence[Row[Any]], dict[UUID, bytes]]:
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
            return (), {}
        suspect = next((index for index, row in enumerate(rows) if row.crash_count), len(rows))
        rows = rows[: max(1, suspect)]
        ids = [row.id for row in rows]
        connection.execute(
            update(t.inbox)
            .where(inbox.merchant_id == merchant_id, among(connection, inbox.id, ids))
            .values(attempts=inbox.attempts + 1, crash_count=inbox.crash_count + 1)
        )
        return rows, _bodies(connection, merchant_id, ids)

    rows, bodies = database.transact(work)
    return [_stored(keyring, merchant_id, row, bodies.get(row.id)) for row in rows]


def read_again(
    database: Database, keyring: KeyRing, merchant_id: UUID, *conditions: ColumnElement[bool], limit: int
) -> tuple[Sequence[Row[Any]], dict[UUID, Stored]]:
    """The oldest rows that meet ``conditions``, and those of them that still have a body, by id; nothing is claimed."""
    inbox = t.inbox.c
    with database.read() as connection:
        rows = connection.execute(
            select(t.inbox)
            .where(inbox.merchant_id == merchant_id, *conditions)
            .order_by(inbox.received_at, inbox.id)
            .limit(limit)
        ).all()
        bodies = _bodies(connection, merchant_id, [row.id for row in rows])
    # A fetched record that says "there is none" has an empty body, which is stored like any other.
    return rows, {row.id: _stored(keyring, merchant_id, row, bodies[row.id]) for row in rows if row.id in bodies}


def _bodies(connection: Connection, merchant_id: UUID, ids: Sequence[UUID]) -> dict[UUID, bytes]:
    body = t.inbox_body.c
    found = select(body.inbox_id, body.body).where(
        body.merchant_id == merchant_id, among(connection, body.inbox_id, ids)
    )
    return {row.inbox_id: row.body for row in connection.execute(found)}


def _stored(keyring: KeyRing, merchant_id: UUID, row: Row[Any], packed: bytes | None) -> Stored:
    body, damage = b"", ""
    if packed is not None:
        try:
            body = keyring.unpack(packed, _place(merchant_id, row.id))
        except SecretsUnreadable as error:
            damage = str(error)
    record = RawRecord(row.topic, row.external_id, body, row.version, row.headers)
    return Stored(row.id, row.source, record, row.received_at, row.asked_at, row.crash_count + 1, damage)


def finish(
    connection: Connection,
    merchant_id: UUID,
    done: Iterable[tuple[UUID, str]],
    ignored: Iterable[UUID],
    *,
    at: datetime,
) -> None:
    """Mark rows, in the transaction that did what they say.

    ``done`` with the record's external id, "" where that is stored already: of a polled record it is.
    """
    inbox = t.inbox.c
    this = update(t.inbox).where(inbox.merchant_id == merchant_id, inbox.id == bindparam("this"))
    told = [{"this": row_id, "about": external_id[:200]} for row_id, external_id in done]
    ended = {"state": "done", "crash_count": 0, "error": "", "done_at": at}
    for ids in in_chunks([each["this"] for each in told if not each["about"]]):
        connection.execute(
            update(t.inbox).where(inbox.merchant_id == merchant_id, among(connection, inbox.id, ids)).values(ended)
        )
    if rows := [each for each in told if each["about"]]:
        connection.execute(this.values({**ended, "external_id": bindparam("about")}), rows)
    if rows := [{"this": row_id} for row_id in ignored]:
        connection.execute(this.values(state="ignored", crash_count=0, error="", done_at=at), rows)


def set_aside(
    connection: Connection,
    merchant_id: UUID,
    connection_id: UUID,
    unreadable: Sequence[tuple[UUID, str]],
    *,
    at: datetime,
) -> None:
    """Put rows into quarantine, each with the reason why it cannot be read, and have a person look at them."""
    inbox = t.inbox.c
    for _, reason in unreadable:
        activity.raise_issue(
            connection,
            merchant_id,
            QUARANTINE,
            str(connection_id),
            f"A record could not be read and was set aside: {reason}",
            "Its bytes are kept. Update the connector, then read the quarantined records again.",
            at=at,
            connection_id=connection_id,
            link=f"/connections/{connection_id}",
        )
    if rows := [{"this": row_id, "why": reason[:2000]} for row_id, reason in unreadable]:
        this = update(t.inbox).where(inbox.merchant_id == merchant_id, inbox.id == bindparam("this"))
        connection.execute(this.values(state="quarantined", error=bindparam("why"), done_at=at), rows)


def put_back(connection: Connection, merchant_id: UUID, rows: Sequence[Stored]) -> None:
    """Give claimed rows back unread: what went wrong was not their fault, so this attempt is not counted."""
    inbox = t.inbox.c
    connection.execute(
        update(t.inbox)
        .where(inbox.merchant_id == merchant_id, inbox.id.in_([row.id for row in rows]), inbox.state == "pending")
        .values(crash_count=case((inbox.crash_count > 0, inbox.crash_count - 1), else_=0))
    )


def ignore_pending(connection: Connection, merchant_id: UUID, connection_id: UUID, *, at: datetime) -> None:
    """Nothing that waits to be read will be: the connection is being removed."""
    inbox = t.inbox.c
    connection.execute(
        update(t.inbox)
        .where(inbox.merchant_id == merchant_id, inbox.connection_id == connection_id, inbox.state == "pending")
        .values(state="ignored", error="The connection was removed.", done_at=at)
    )


@access.needs(Permission.SYNC)
def release_quarantined(
    database: Database, merchant_id: UUID, connection_id: UUID, actor: str = "", only: UUID | None = None
) -> int:
    """Have every quarantined record of a connection read again, or one of them; returns how many."""

    def work(connection: Connection) -> int:
        inbox = t.inbox.c
        at = database.now(connection)
        one = [] if only is None else [inbox.id == only]
        count = connection.execute(
            update(t.inbox)
            .where(
                inbox.merchant_id == merchant_id,
                inbox.connection_id == connection_id,
                inbox.state == "quarantined",
                *one,
            )
            .values(state="pending", crash_count=0, error="", done_at=None)
        ).rowcount
        if count:
            # The issue is opened again by whatever still cannot be read.
            resolve_quarantine(connection, merchant_id, connection_id, at=at, by=actor)
            said = f"{count} quarantined record{'' if count == 1 else 's'} read again"
            activity.note(
                connection, merchant_id, "records_released", said, at=at, connection_id=connection_id, actor=actor
            )
        return count

    return database.transact(work)


def release(connection: Connection, merchant_id: UUID, connection_id: UUID, ids: Collection[UUID]) -> None:
    """Have finished records read once more by the workers, such as those that were set aside."""
    inbox = t.inbox.c
    connection.execute(
        update(t.inbox)
        .where(inbox.merchant_id == merchant_id, inbox.connection_id == connection_id, inbox.id.in_(ids))
        .where(inbox.state.in_(["quarantined", "ignored"]))
        .values(state="pending", crash_count=0, error="", done_at=None)
    )


def resolve_quarantine(
    connection: Connection, merchant_id: UUID, connection_id: UUID, *, at: datetime, by: str = ""
) -> None:
    """Close the issue about records that were set aside, where none is any more."""
    inbox = t.inbox.c
    left = select(inbox.id).where(
        inbox.merchant_id == merchant_id, inbox.connection_id == connection_id, inbox.state == "quarantined"
    )
    if connection.execute(left.limit(1)).first() is None:
        activity.resolve_issue(connection, merchant_id, QUARANTINE, str(connection_id), at=at, by=by)


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


def forget_bodies(database: Database, before: datetime, *, connectors: Collection[str] | None = None) -> int:
    """Delete raw bodies received before ``before`` whose rows are finished; keys and hashes stay.

    With ``connectors`` only those that came through one of these.
    """
    inbox, body, shop = t.inbox.c, t.inbox_body.c, t.connection.c
    finished = [inbox.state.in_(["done", "ignored"])]
    if connectors is not None:
        finished.append(shop.connector.in_(list(connectors)))
    old = (
        select(body.merchant_id, body.inbox_id)
        .select_from(
            t.inbox_body.join(t.inbox, (inbox.merchant_id == body.merchant_id) & (inbox.id == body.inbox_id)).join(
                t.connection, (shop.merchant_id == inbox.merchant_id) & (shop.id == inbox.connection_id)
            )
        )
        .where(body.received_at < before, *finished)
        .limit(_FORGOTTEN_AT_ONCE)
    )
    forgotten = 0
    while True:
        # Bit by bit: the database has other things to write meanwhile.
        with database.write() as connection:
            some = connection.execute(
                delete(t.inbox_body).where(tuple_(body.merchant_id, body.inbox_id).in_(old))
            ).rowcount
        forgotten += some
        if some < _FORGOTTEN_AT_ONCE:
            return forgotten


def latest_webhooks(
    connection: Connection, merchant_id: UUID, connection_id: UUID, *, since: datetime, most: int = 50
) -> list[datetime]:
    """When the last webhooks came in, the newest first."""
    inbox = t.inbox.c
    # Ids begin with the time at which they were made: along the key, and no further back than is asked for.
    first = UUID(int=int(since.timestamp() * 1000) << 80)
    return list(
        connection.execute(
            select(inbox.received_at)
            .where(
                inbox.merchant_id == merchant_id,
                inbox.id >= first,
                inbox.connection_id == connection_id,
                inbox.source == "webhook",
            )
            .order_by(inbox.id.desc())
            .limit(most)
        ).scalars()
    )


def forget(connection: Connection, merchant_id: UUID, *conditions: ColumnElement[bool]) -> int:
    """Forget what the records that meet ``conditions`` said, in the caller's transaction; returns how many said it.

    That they came in, and when, stays. None of them can be read again.
    """
    inbox, body = t.inbox.c, t.inbox_body.c
    these = list(
        connection.execute(
            select(inbox.id)
            .join(t.inbox_body, (body.merchant_id == inbox.merchant_id) & (body.inbox_id == inbox.id))
            .where(inbox.merchant_id == merchant_id, *conditions)
        ).scalars()
    )
    for some in in_chunks(these):
        connection.execute(delete(t.inbox_body).where(body.merchant_id == merchant_id, body.inbox_id.in_(some)))
        connection.execute(
            update(t.inbox)
            .where(inbox.merchant_id == merchant_id, inbox.id.in_(some))
            .values(
                headers={},
                error="",
                state=case((inbox.state == "quarantined", "ignored"), else_=inbox.state),
            )
        )
    return len(these)


def bodies_of(
    connection: Connection, keyring: KeyRing, merchant_id: UUID, connection_id: UUID, external_id: str
) -> list[Stored]:
    """The records about an order that still have their bodies, oldest first."""
    inbox, body = t.inbox.c, t.inbox_body.c
    rows = connection.execute(
        select(t.inbox, body.body)
        .join(t.inbox_body, (body.merchant_id == inbox.merchant_id) & (body.inbox_id == inbox.id))
        .where(
            inbox.merchant_id == merchant_id,
            inbox.connection_id == connection_id,
            inbox.external_id == external_id,
            inbox.topic != "listing",
        )
        .order_by(inbox.received_at, inbox.id)
    ).all()
    return [_stored(keyring, merchant_id, row, row.body) for row in rows]


def of_no_record(
    connection: Connection,
    keyring: KeyRing,
    merchant_id: UUID,
    connection_ids: Collection[UUID],
    *,
    after: UUID | None,
    limit: int,
) -> list[Stored]:
    """The next records that were read, but not found to be about one order or listing; their ids lead on from
    ``after``."""
    inbox, body = t.inbox.c, t.inbox_body.c
    rows = connection.execute(
        select(t.inbox, body.body)
        .join(t.inbox_body, (body.merchant_id == inbox.merchant_id) & (body.inbox_id == inbox.id))
        .where(
            inbox.merchant_id == merchant_id,
            inbox.connection_id.in_(connection_ids),
            or_(inbox.external_id == "", inbox.state != "done"),
            inbox.state != "pending",
            inbox.topic != "listing",
            *([] if after is None else [inbox.id > after]),
        )
        .order_by(inbox.id)
        .limit(limit)
    ).all()
    return [_stored(keyring, merchant_id, row, row.body) for row in rows]


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _place(merchant_id: UUID, row_id: UUID) -> str:
    return f"inbox_body:{merchant_id}:{row_id}:body"


def _worth_keeping(header: str) -> bool:
    # A vendor's own headers tell what the body is about. Credentials, cookies and signatures have done their work.
    return header.startswith("x-") and not any(part in header for part in ("hmac", "signature", "token", "forwarded"))
