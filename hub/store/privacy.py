"""What customers ask of a merchant through their shop: to see what is kept about them, and to be forgotten."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    String,
    cast,
    func,
    insert,
    or_,
    select,
    update,
)

from hub import access
from hub.access import Permission
from hub.connector import PersonalDataErased, PersonalDataWanted
from hub.core.personal import ERASED
from hub.errors import BadInput, Conflict
from hub.store import activity, connections, exchanges, forgetting, inbox
from hub.store import tables as t
from hub.store.database import Database, new_id, upsert
from hub.store.secrets import KeyRing

WANTED = "personal_data_wanted"  # the kind of issue; the subject is the request's id
DUE_IN = timedelta(days=30)
AT_ONCE = 200  # orders that are forgotten in the commit that hears of it; more are left to a task
TASK = "erase"
_IN_TIME = "in time/"  # how the references begin of what nobody has asked for


@dataclass(frozen=True, slots=True)
class _Subject:
    """Whom it is about: their orders at the shop, their e-mail address, and what else is known to be about them."""

    order_external_ids: tuple[str, ...] = ()
    email: str = ""
    texts: tuple[str, ...] = ()


# ---------------------------------------------------------------- hearing of it


def hear(
    connection: Connection,
    keyring: KeyRing,
    merchant_id: UUID,
    connection_id: UUID,
    wish: PersonalDataWanted | PersonalDataErased,
    *,
    at: datetime,
) -> bool:
    """Note a wish in the caller's transaction, and forget at once whom it names; whether a task has to go on.

    Heard twice it is done once. Whoever is to be forgotten is not named in what is noted.
    """
    subject = _Subject(tuple(dict.fromkeys(wish.order_external_ids)), wish.email.strip())
    request_id = new_id()
    wanted = isinstance(wish, PersonalDataWanted)
    row = (
        upsert(connection, t.privacy_request)
        .values(
            merchant_id=merchant_id,
            id=request_id,
            connection_id=connection_id,
            kind="wanted" if wanted else "erased",
            reference=wish.reference[:200],
            subject=_sealed(keyring, merchant_id, request_id, subject) if wanted else None,
            everything=isinstance(wish, PersonalDataErased) and wish.everything,
            received_at=at,
            due_at=at + DUE_IN,
        )
        .on_conflict_do_nothing(index_elements=["merchant_id", "connection_id", "kind", "reference"])
        .returning(t.privacy_request.c.id)
    )
    if connection.execute(row).first() is None:
        return False
    if isinstance(wish, PersonalDataWanted):
        _ask_the_merchant(connection, merchant_id, connection_id, request_id, subject, at)
        return False
    whom = "of every customer" if wish.everything else "of a customer"
    activity.note(
        connection,
        merchant_id,
        "erasure_asked",
        f"The shop asks to forget the personal data {whom}",
        at=at,
        connection_id=connection_id,
    )
    if not wish.everything:
        subject = _forget_now(connection, merchant_id, connection_id, request_id, subject, at)
    _plan_the_rest(connection, keyring, merchant_id, connection_id, request_id, subject, at)
    return True


def forget_in_time(
    connection: Connection,
    keyring: KeyRing,
    merchant_id: UUID,
    connection_id: UUID,
    order_external_ids: Sequence[str],
    *,
    at: datetime,
) -> None:
    """Forget the customers of at most ``AT_ONCE`` orders because their time is over: nobody has asked for it."""
    request_id = new_id()
    connection.execute(
        insert(t.privacy_request).values(
            merchant_id=merchant_id,
            id=request_id,
            connection_id=connection_id,
            kind="erased",
            reference=f"{_IN_TIME}{request_id}",
            received_at=at,
            due_at=at,
        )
    )
    subject = _Subject(tuple(order_external_ids))
    subject = _forget_now(connection, merchant_id, connection_id, request_id, subject, at)
    _plan_the_rest(connection, keyring, merchant_id, connection_id, request_id, subject, at)


def _forget_now(
    connection: Connection, merchant_id: UUID, connection_id: UUID, request_id: UUID, subject: _Subject, at: datetime
) -> _Subject:
    """Forget whom the orders name; returns the subject with what else could give them away."""
    places = _same_account(connection, merchant_id, connection_id)
    _mark(connection, merchant_id, places, subject.order_external_ids, at)
    found = _orders(connection, merchant_id, places, subject, limit=AT_ONCE)
    texts = forgetting.texts_about(connection, merchant_id, found)
    forgetting.erase_orders(connection, merchant_id, found, at=at)
    connection.execute(_this(merchant_id, request_id).values(orders=len(found)))
    return _Subject(subject.order_external_ids, subject.email, texts)


def _plan_the_rest(
    connection: Connection,
    keyring: KeyRing,
    merchant_id: UUID,
    connection_id: UUID,
    request_id: UUID,
    subject: _Subject,
    at: datetime,
) -> None:
    # What was received and is of no order can only be found by looking into it: that takes longer than a commit may.
    task = {"request": str(request_id), "orders": subject.order_external_ids, "email": subject.email}
    connections.plan_task(
        connection,
        merchant_id,
        connection_id,
        TASK,
        "",
        at,
        request=keyring.encrypt(
            json.dumps(task | {"texts": subject.texts}).encode(), _task_place(merchant_id, connection_id)
        ),
    )


def _ask_the_merchant(
    connection: Connection, merchant_id: UUID, connection_id: UUID, request_id: UUID, subject: _Subject, at: datetime
) -> None:
    places = _same_account(connection, merchant_id, connection_id)
    count = len(_orders(connection, merchant_id, places, subject, erased=False))
    connection.execute(_this(merchant_id, request_id).values(orders=count))
    activity.raise_issue(
        connection,
        merchant_id,
        WANTED,
        str(request_id),
        f"A customer wants to see what is kept about them, until {at + DUE_IN:%d %B %Y}",
        "Open it, download what the hub has gathered, and send it to them.",
        at=at,
        connection_id=connection_id,
        link=f"/privacy/{request_id}",
    )
    activity.note(
        connection,
        merchant_id,
        "personal_data_wanted",
        "A customer wants to see what is kept about them",
        at=at,
        connection_id=connection_id,
    )


# ---------------------------------------------------------------- whom it is about


def _same_account(connection: Connection, merchant_id: UUID, connection_id: UUID) -> list[UUID]:
    """The connections to the same account, those that were removed among them: it was one shop all the time."""
    shop, this = t.connection.alias().c, t.connection.c
    return list(
        connection.execute(
            select(shop.id)
            .join(
                t.connection,
                (this.merchant_id == shop.merchant_id)
                & or_(
                    this.id == shop.id,
                    (this.connector == shop.connector)
                    & (this.account_external_id == shop.account_external_id)
                    & (this.account_external_id != ""),
                ),
            )
            .where(this.merchant_id == merchant_id, this.id == connection_id)
            .order_by(shop.id)
        ).scalars()
    )


def _orders(
    connection: Connection,
    merchant_id: UUID,
    places: Collection[UUID],
    subject: _Subject,
    *,
    erased: bool | None = None,
    limit: int | None = None,
) -> list[UUID]:
    """The ids of the subject's orders, in order."""
    order = t.sales_order.c
    theirs: list[ColumnElement[bool]] = []
    if subject.order_external_ids:
        theirs.append(order.external_id.in_(subject.order_external_ids))
    if subject.email:
        theirs.append(func.lower(order.email) == subject.email.lower())
    if not theirs:
        return []
    found = select(order.id).where(order.merchant_id == merchant_id, order.connection_id.in_(places), or_(*theirs))
    if erased is not None:
        found = found.where(order.erased_at.is_not(None) if erased else order.erased_at.is_(None))
    return list(connection.execute(found.order_by(order.id).limit(limit)).scalars())


def _mark(
    connection: Connection, merchant_id: UUID, places: Sequence[UUID], external_ids: Sequence[str], at: datetime
) -> None:
    """Orders that come in only now, or once more, are to be forgotten as well."""
    rows = [
        {"merchant_id": merchant_id, "connection_id": place, "external_id": each[:200], "at": at}
        for place in places
        for each in external_ids
    ]
    if rows:
        connection.execute(upsert(connection, t.erased_order).on_conflict_do_nothing(), rows)


# ---------------------------------------------------------------- the task: what takes longer


@dataclass(frozen=True, slots=True)
class Step:
    """How far forgetting is: so many orders of so many. ``wait``: something has to be read first."""

    done: int
    total: int
    wait: bool = False


def go_on(database: Database, keyring: KeyRing, merchant_id: UUID, connection_id: UUID, sealed: bytes) -> Step | None:
    """Do a part of what the task's request asks for; returns how far it is, None when all is done.

    Each part is one commit. Stopped anywhere, it goes on from what is left.
    """
    asked = json.loads(keyring.decrypt(sealed, _task_place(merchant_id, connection_id)))
    subject = _Subject(tuple(asked["orders"]), asked["email"], tuple(asked["texts"]))

    def work(connection: Connection) -> Step | None:
        at = database.now(connection)
        request = _request(connection, merchant_id, UUID(asked["request"]))
        places = _same_account(connection, merchant_id, connection_id)
        left = _left(connection, merchant_id, places, request, subject)
        if left:
            forgetting.erase_orders(connection, merchant_id, left, at=at)
            done = request.orders + len(left)
            connection.execute(_this(merchant_id, request.id).values(orders=done))
            return Step(done, done + _how_many_left(connection, merchant_id, places, request))
        so_far = Step(request.orders, request.orders)
        if any(inbox.unread(connection, merchant_id, place, since=request.received_at) for place in places):
            return Step(request.orders, request.orders, wait=True)
        if _forget_records(connection, keyring, merchant_id, places, request, subject):
            return so_far
        _forget_mentions(connection, merchant_id, places, subject)
        _forget_exchanges(connection, keyring, merchant_id, places, request, subject)
        connection.execute(_this(merchant_id, request.id).values(done_at=at, subject=None))
        activity.note(
            connection,
            merchant_id,
            "personal_data_erased",
            f"The personal data in {request.orders} order{'' if request.orders == 1 else 's'} is erased",
            at=at,
            connection_id=connection_id,
        )
        return None

    return database.transact(work)


def _left(
    connection: Connection, merchant_id: UUID, places: Sequence[UUID], request: Row[Any], subject: _Subject
) -> list[UUID]:
    if not request.everything:
        return _orders(connection, merchant_id, places, subject, erased=False, limit=forgetting.PER_COMMIT)
    order = t.sales_order.c
    return list(
        connection.execute(
            select(order.id)
            .where(order.merchant_id == merchant_id, order.connection_id.in_(places), order.erased_at.is_(None))
            .limit(forgetting.PER_COMMIT)
        ).scalars()
    )


def _how_many_left(connection: Connection, merchant_id: UUID, places: Sequence[UUID], request: Row[Any]) -> int:
    if not request.everything:
        return 0
    order = t.sales_order.c
    return int(
        connection.execute(
            select(func.count())
            .select_from(t.sales_order)
            .where(order.merchant_id == merchant_id, order.connection_id.in_(places), order.erased_at.is_(None))
        ).scalar_one()
    )


def _forget_records(
    connection: Connection,
    keyring: KeyRing,
    merchant_id: UUID,
    places: Sequence[UUID],
    request: Row[Any],
    subject: _Subject,
) -> bool:
    """Look through some of the raw records that are of no order; whether there were any."""
    record = t.inbox.c
    if request.everything:
        some = (
            select(record.id)
            .join(
                t.inbox_body,
                (t.inbox_body.c.merchant_id == record.merchant_id) & (t.inbox_body.c.inbox_id == record.id),
            )
            .where(
                record.merchant_id == merchant_id,
                record.connection_id.in_(places),
                record.topic != "listing",
                record.state != "pending",
            )
            .limit(forgetting.PER_COMMIT)
        )
        return inbox.forget(connection, merchant_id, record.id.in_(some)) > 0
    # Whoever ships for the shop may have told of several orders in one record.
    account = t.connection.c
    shippers = connection.execute(
        select(account.id).where(account.merchant_id == merchant_id, account.kind != "channel")
    ).scalars()
    found = inbox.of_no_record(
        connection, keyring, merchant_id, [*places, *shippers], after=request.looked_to, limit=forgetting.PER_COMMIT
    )
    if not found:
        return False
    needles = _needles(subject)
    theirs = [each.id for each in found if each.damage or any(needle in each.record.body.lower() for needle in needles)]
    if theirs:
        inbox.forget(connection, merchant_id, record.id.in_(theirs))
    connection.execute(_this(merchant_id, request.id).values(looked_to=found[-1].id))
    return True


def _needles(subject: _Subject) -> set[bytes]:
    """Whatever gives the customer away, as a body may spell it."""
    texts = [text for text in (*subject.order_external_ids, subject.email, *subject.texts) if text]
    return {needle for text in texts if len(text) >= forgetting.SHORTEST_NEEDLE for needle in _as_sent(text)}


def _as_sent(text: str) -> set[bytes]:
    """A text as a body may spell it, in small letters."""
    low = text.lower()
    return {low.encode(), json.dumps(low)[1:-1].encode(), json.dumps(low, ensure_ascii=False)[1:-1].encode()}


def _forget_exchanges(
    connection: Connection,
    keyring: KeyRing,
    merchant_id: UUID,
    places: Sequence[UUID],
    request: Row[Any],
    subject: _Subject,
) -> None:
    """What the log of requests says of them that is of no order."""
    account = t.connection.c
    others = account.merchant_id == merchant_id, account.kind != "channel"
    shippers = connection.execute(select(account.id).where(*others)).scalars()
    if request.everything:
        exchanges.forget_connections(connection, merchant_id, places)
    exchanges.forget_mentions(connection, keyring, merchant_id, [*places, *shippers], _needles(subject))


def _forget_mentions(connection: Connection, merchant_id: UUID, places: Sequence[UUID], subject: _Subject) -> None:
    """What was told about the shop in general, and may have repeated what a record said."""
    told, issue = t.activity.c, t.issue.c
    connection.execute(
        update(t.issue)
        .where(
            issue.merchant_id == merchant_id,
            issue.kind == inbox.QUARANTINE,
            issue.subject.in_([str(place) for place in places]),
        )
        .values(title="Records could not be read and were set aside")
    )
    for text in (subject.email, *subject.texts):
        # One word of a name may be anything else in a text that is not about an order.
        if len(text) < forgetting.SHORTEST_NEEDLE or text.isalnum():
            continue

        def says(column: Any, text: str = text) -> ColumnElement[bool]:
            found: ColumnElement[bool] = func.lower(cast(column, String)).contains(text.lower(), autoescape=True)
            return found

        connection.execute(
            update(t.activity)
            .where(told.merchant_id == merchant_id, or_(says(told.summary), says(told.details)))
            .values(summary=ERASED, details=None)
        )
        connection.execute(
            update(t.issue)
            .where(issue.merchant_id == merchant_id, or_(says(issue.title), says(issue.next_step)))
            .values(title=ERASED, next_step=forgetting.LOOK)
        )


# ---------------------------------------------------------------- telling


@dataclass(frozen=True, slots=True)
class Wish:
    """One request as a page shows it."""

    id: UUID
    connection_id: UUID
    label: str
    kind: str
    everything: bool
    orders: int
    received_at: datetime
    due_at: datetime
    done_at: datetime | None
    done_by: str


def wishes(connection: Connection, merchant_id: UUID, request_id: UUID | None = None) -> list[Wish]:
    """What customers asked for, the newest first; with ``request_id`` that one. Forgetting in time is no wish."""
    this, shop = t.privacy_request.c, t.connection.c
    found = (
        select(t.privacy_request, shop.label)
        .join(t.connection, (shop.merchant_id == this.merchant_id) & (shop.id == this.connection_id))
        .where(
            this.merchant_id == merchant_id,
            ~this.reference.startswith(_IN_TIME),
            *([] if request_id is None else [this.id == request_id]),
        )
        .order_by(this.received_at.desc(), this.id.desc())
        .limit(200)
    )
    return [
        Wish(
            row.id,
            row.connection_id,
            row.label,
            row.kind,
            row.everything,
            row.orders,
            row.received_at,
            row.due_at,
            row.done_at,
            row.done_by,
        )
        for row in connection.execute(found)
    ]


@access.needs(Permission.PRIVACY)
def take_along(database: Database, keyring: KeyRing, merchant_id: UUID, request_id: UUID, actor: str) -> dict[str, Any]:
    """Everything that is kept about the customer of a request, as JSON values, for a file that leaves the hub: who
    took it along, and for which request, is noted. Raises Conflict when it is done."""
    with database.read() as connection:
        found = _gathered(connection, keyring, merchant_id, request_id)

    def work(connection: Connection) -> None:
        asked = _request(connection, merchant_id, request_id)
        activity.note(
            connection,
            merchant_id,
            "personal_data_downloaded",
            f"What is kept about a customer was downloaded, as asked on {asked.received_at:%d %B %Y}",
            at=database.now(connection),
            connection_id=asked.connection_id,
            actor=actor,
            details={"request": str(request_id), "orders": len(found["orders"])},
        )

    database.transact(work)
    return found


def _gathered(connection: Connection, keyring: KeyRing, merchant_id: UUID, request_id: UUID) -> dict[str, Any]:
    request = _request(connection, merchant_id, request_id)
    if request.kind != "wanted" or request.subject is None:
        raise Conflict("This request is done: what was gathered for it is gathered no more.")
    subject = _opened(keyring, merchant_id, request)
    places = _same_account(connection, merchant_id, request.connection_id)
    theirs = _orders(connection, merchant_id, places, subject)
    order = t.sales_order.c
    rows = connection.execute(
        select(t.sales_order).where(order.merchant_id == merchant_id, order.id.in_(theirs)).order_by(order.placed_at)
    ).all()
    return {
        "asked_at": request.received_at.isoformat(),
        "email": subject.email,
        "orders": [_all_about(connection, keyring, merchant_id, row) for row in rows],
    }


_BESIDE = (
    t.order_line,
    t.refund,
    t.order_version,
    t.order_hold,
    t.fulfillment_order,
    t.shipment,
    t.shipment_companion,
    t.activity,
    t.issue,
    t.effect,
)


def _all_about(connection: Connection, keyring: KeyRing, merchant_id: UUID, row: Row[Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"order": _as_json(row)}
    for table in _BESIDE:
        rows = connection.execute(
            select(table).where(table.c.merchant_id == merchant_id, table.c.order_id == row.id)
        ).all()
        if rows:
            told[table.name] = [_as_json(each) for each in rows]
    stored = inbox.bodies_of(connection, keyring, merchant_id, row.connection_id, row.external_id)
    told["received"] = [
        {
            "topic": each.record.topic,
            "received_at": each.received_at.isoformat(),
            "headers": dict(each.record.headers),
            "body": each.record.body.decode("utf-8", "replace"),
        }
        for each in stored
    ]
    return told


def _as_json(row: Row[Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in row._mapping.items() if name != "merchant_id"}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


@access.needs(Permission.PRIVACY)
def hand_out(database: Database, merchant_id: UUID, request_id: UUID, actor: str) -> None:
    """A person has sent the customer what was gathered: the request is done, and forgets whom it was about."""

    def work(connection: Connection) -> None:
        request = _request(connection, merchant_id, request_id)
        if request.kind != "wanted" or request.done_at is not None:
            raise Conflict("This is done already. Reload the page.")
        at = database.now(connection)
        connection.execute(_this(merchant_id, request_id).values(done_at=at, done_by=actor, subject=None))
        activity.resolve_issue(connection, merchant_id, WANTED, str(request_id), at=at, by=actor)
        activity.note(
            connection,
            merchant_id,
            "personal_data_told",
            "A customer was told what is kept about them",
            at=at,
            connection_id=request.connection_id,
            actor=actor,
        )

    database.transact(work)


def _request(connection: Connection, merchant_id: UUID, request_id: UUID) -> Row[Any]:
    this = t.privacy_request.c
    row = connection.execute(
        select(t.privacy_request).where(this.merchant_id == merchant_id, this.id == request_id)
    ).one_or_none()
    if row is None:
        raise BadInput("This request does not exist.")
    return row


def _this(merchant_id: UUID, request_id: UUID) -> Any:
    this = t.privacy_request.c
    return update(t.privacy_request).where(this.merchant_id == merchant_id, this.id == request_id)


def _sealed(keyring: KeyRing, merchant_id: UUID, request_id: UUID, subject: _Subject) -> bytes:
    text = json.dumps({"orders": subject.order_external_ids, "email": subject.email})
    return keyring.encrypt(text.encode(), _place(merchant_id, request_id))


def _opened(keyring: KeyRing, merchant_id: UUID, request: Row[Any]) -> _Subject:
    kept = json.loads(keyring.decrypt(request.subject, _place(merchant_id, request.id)))
    return _Subject(tuple(kept["orders"]), kept["email"])


def _place(merchant_id: UUID, request_id: UUID) -> str:
    return f"privacy_request:{merchant_id}:{request_id}:subject"


def _task_place(merchant_id: UUID, connection_id: UUID) -> str:
    return f"task:{merchant_id}:{connection_id}:{TASK}"
