"""The outbox: e-mail to customers, one per occasion, each handed to the mail server at most once without a person.

A person can have one that was sent written once more (``send_again``): as another row, whose occasion names the first.
"""

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
from hub.store.locking import lock_order

ISSUE = "email"  # the kind of issue; the subject is the e-mail's id
_MOST_ATTEMPTS = 8
READY = "ready/"  # how the occasion of a notice begins that a fulfillment order, whose id follows, can be collected
_AGAIN = "/again/"  # between an occasion and the id of the form by which it is told once more
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
            _hand_over_anew(connection, row, at, actor)
        else:
            _change(connection, row, state="sent", sent_at=at, error="")
            _decided(connection, row, "The customer was told by a person", at, actor)
        return row.connection_id  # type: ignore[no-any-return]

    return database.transact(work)


@access.needs(Permission.ORDERS)
def send_again(
    database: Database, merchant_id: UUID, order_id: UUID, email_id: UUID, *, once: UUID, actor: str
) -> UUID:
    """A customer says that an e-mail of this order never came: it is written once more, to the address that the order
    has now. ``once`` is of the form, the same however often it is sent. One that nobody took is handed over anew.

    Returns the connection whose lane "mail" sends it. Raises Conflict where there is nothing to send any more: it is on
    its way, erased, or what it tells of is over.
    """

    def work(connection: Connection) -> UUID:
        at = database.now(connection)
        order = lock_order(connection, merchant_id, order_id)
        this = t.email.c
        of_order = select(t.email).where(this.merchant_id == merchant_id, this.order_id == order_id)
        every = connection.execute(for_update(connection, of_order.order_by(this.id))).all()
        row = next((each for each in every if each.id == email_id), None)
        if row is None or row.state == "erased":
            raise Conflict("This e-mail is not kept any more. Reload the page.")
        first = row.occasion.partition(_AGAIN)[0]
        same = [each for each in every if each.occasion.partition(_AGAIN)[0] == first]
        occasion = f"{first}{_AGAIN}{once}"
        if any(each.occasion == occasion for each in same):
            return row.connection_id  # type: ignore[no-any-return]
        if any(each.state in ("waiting", "sending") for each in same):
            raise Conflict("It is on its way to the customer already. Reload the page.")
        if not _still_holds(connection, merchant_id, first):
            raise Conflict("What this e-mail tells of is over: the order does not wait to be collected any more.")
        if row.state != "sent":
            _hand_over_anew(connection, row, at, actor)
            return row.connection_id  # type: ignore[no-any-return]
        letter = Letter(row.subject, row.body, row.html, row.qr)
        whom = order.email or row.recipient
        queue(connection, merchant_id, row.connection_id, order_id, occasion, whom, letter, at=at)
        said = f"“{row.subject}” is sent to the customer once more"
        activity.note(connection, merchant_id, "email_again", said, at=at, order_id=order_id, actor=actor)
        return row.connection_id  # type: ignore[no-any-return]

    return database.transact(work)


def _still_holds(connection: Connection, merchant_id: UUID, occasion: str) -> bool:
    """Whether what an e-mail tells of is still so."""
    if (work_id := announced(occasion)) is None:
        return True
    this = t.fulfillment_order.c
    state = connection.execute(
        select(this.state).where(this.merchant_id == merchant_id, this.id == work_id)
    ).scalar_one_or_none()
    return bool(state == "ready")


def announced(occasion: str) -> UUID | None:
    """The fulfillment order that a notice says can be collected, the first time or once more; None for anything
    else."""
    if not occasion.startswith(READY):
        return None
    try:
        return UUID(occasion.removeprefix(READY).partition(_AGAIN)[0])
    except ValueError:
        return None


def _hand_over_anew(connection: Connection, row: Row[Any], at: datetime, actor: str) -> None:
    _change(connection, row, state="waiting", due_at=at, attempts=0, error="")
    _decided(connection, row, "The e-mail is sent again", at, actor)


def _decided(connection: Connection, row: Row[Any], summary: str, at: datetime, actor: str) -> None:
    activity.note(connection, row.merchant_id, "email_decided", summary, at=at, order_id=row.order_id, actor=actor)
    activity.resolve_issue(connection, row.merchant_id, ISSUE, str(row.id), at=at, by=actor)


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
