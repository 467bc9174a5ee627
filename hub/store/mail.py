"""The outbox: e-mail to customers, one per occasion, each handed to the mail server at most once without a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, and_, literal_column, or_, select, update

from hub import access
from hub.access import Permission
from hub.errors import Conflict
from hub.mail import Handed, Handing, Letter
from hub.store import activity
from hub.store import tables as t
from hub.store.database import Database, for_update, new_id, upsert

ISSUE = "email"  # the kind of issue; the subject is the e-mail's id
_MOST_ATTEMPTS = 8
_LOST = timedelta(minutes=10)  # after so long nobody hands it over any more: the process is gone


def queue(
    connection: Connection,
    merchant_id: UUID,
    connection_id: UUID,
    order_id: UUID,
    occasion: str,
    recipient: str,
    letter: Letter,
    *,
    at: datetime,
) -> None:
    """Have an e-mail sent, in the caller's transaction; the same occasion a second time changes nothing."""
    statement = upsert(connection, t.email).values(
        merchant_id=merchant_id,
        id=new_id(),
        connection_id=connection_id,
        order_id=order_id,
        occasion=occasion[:200],
        recipient=recipient[:320],
        subject=letter.subject[:300],
        body=letter.text,
        html=letter.html,
        qr=letter.qr,
        state="waiting",
        due_at=at,
        created_at=at,
    )
    connection.execute(statement.on_conflict_do_nothing(index_elements=["merchant_id", "occasion"]))


def due(now: datetime) -> Any:
    """Which e-mails are to be handed over now, or were lost while they were."""
    this = t.email.c
    return and_(
        # Spelled out as in the index of those: by parameters SQLite does not find it.
        this.state.in_([literal_column("'waiting'"), literal_column("'sending'")]),
        or_(
            and_(this.state == "waiting", this.due_at <= now),
            and_(this.state == "sending", this.due_at <= now - _LOST),
        ),
    )


def claim(database: Database, merchant_id: UUID, connection_id: UUID) -> Row[Any] | None:
    """The next e-mail of a connection, marked before the mail server hears of it. What a process that died may have
    handed over is left to a person."""

    def work(connection: Connection) -> Row[Any] | None:
        at = database.now(connection)
        this = t.email.c
        here = (this.merchant_id == merchant_id, this.connection_id == connection_id, due(at))
        rows = connection.execute(
            for_update(
                connection, select(t.email).where(*here).order_by(this.due_at, this.id).limit(20), skip_locked=True
            )
        ).all()
        for row in rows:
            if row.state == "sending":
                _settle(connection, row, Handing(Handed.UNCLEAR, "The hub was stopped while it was sent."), at)
        waiting = [row for row in rows if row.state == "waiting"]
        if not waiting:
            return None
        row = waiting[0]
        # Counted and timed before the server hears of it: from here on the row is found again, whatever happens.
        _change(connection, row, state="sending", attempts=row.attempts + 1, due_at=at)
        return connection.execute(select(t.email).where(this.merchant_id == merchant_id, this.id == row.id)).one()

    return database.transact(work)


def settle(database: Database, row: Row[Any], handing: Handing) -> None:
    """Keep what came of handing an e-mail over."""
    database.transact(lambda connection: _settle(connection, row, handing, database.now(connection)))


def _settle(connection: Connection, row: Row[Any], handing: Handing, at: datetime) -> None:
    if handing.outcome is Handed.SENT:
        _change(connection, row, state="sent", sent_at=at, error="")
        activity.note(
            connection, row.merchant_id, "email_sent", "The customer was told by e-mail", at=at, order_id=row.order_id
        )
        return
    if handing.outcome is Handed.LATER and row.attempts < _MOST_ATTEMPTS:
        wait = timedelta(minutes=min(60, 2**row.attempts))
        _change(connection, row, state="waiting", due_at=at + wait, error=handing.said)
        return
    unclear = handing.outcome is Handed.UNCLEAR
    _change(connection, row, state="unclear" if unclear else "failed", error=handing.said)
    activity.raise_issue(
        connection,
        row.merchant_id,
        ISSUE,
        str(row.id),
        "It is unclear whether a customer got an e-mail" if unclear else "An e-mail to a customer was not taken",
        f"{handing.said} Tell the customer yourself, or have it sent again on the order's page.",
        at=at,
        connection_id=row.connection_id,
        order_id=row.order_id,
        link=f"/orders/{row.order_id}",
    )


@access.needs(Permission.PACK)
def decide(database: Database, merchant_id: UUID, email_id: UUID, again: bool, actor: str) -> UUID:
    """A person has it sent again, or says that the customer knows. Returns the connection whose lane "mail" sends it.
    Raises Conflict for one that is sent, or is being sent."""

    def work(connection: Connection) -> UUID:
        at = database.now(connection)
        this = t.email.c
        row = connection.execute(
            for_update(connection, select(t.email).where(this.merchant_id == merchant_id, this.id == email_id))
        ).one_or_none()
        if row is None or row.state in ("sent", "sending", "erased"):
            raise Conflict("This e-mail is sent, or being sent. Reload the page.")
        if again:
            _change(connection, row, state="waiting", due_at=at, attempts=0, error="")
        else:
            _change(connection, row, state="sent", sent_at=at, error="")
        summary = "The e-mail is sent again" if again else "The customer was told by a person"
        activity.note(connection, merchant_id, "email_decided", summary, at=at, order_id=row.order_id, actor=actor)
        activity.resolve_issue(connection, merchant_id, ISSUE, str(row.id), at=at, by=actor)
        return row.connection_id  # type: ignore[no-any-return]

    return database.transact(work)


def _change(connection: Connection, row: Row[Any], **values: Any) -> None:
    connection.execute(
        update(t.email).where(t.email.c.merchant_id == row.merchant_id, t.email.c.id == row.id).values(**values)
    )


@dataclass(frozen=True, slots=True)
class EmailView:
    """One e-mail of an order as a page shows it."""

    id: UUID
    occasion: str
    recipient: str
    subject: str
    body: str
    state: str
    error: str
    created_at: datetime
    sent_at: datetime | None


def of_order(connection: Connection, merchant_id: UUID, order_id: UUID) -> Sequence[EmailView]:
    """The e-mails about an order, the newest first."""
    this = t.email.c
    columns = (this.id, this.occasion, this.recipient, this.subject, this.body, this.state, this.error)
    rows = connection.execute(
        select(*columns, this.created_at, this.sent_at)
        .where(this.merchant_id == merchant_id, this.order_id == order_id)
        .order_by(this.created_at.desc(), this.id)
    )
    return [EmailView(*row) for row in rows]
