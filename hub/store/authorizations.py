"""Connecting with one click: a merchant is sent to a vendor, and comes back once with its permission."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from hub import access
from hub.access import Permission
from hub.connector import Connector
from hub.errors import Conflict, HubError
from hub.store import connections
from hub.store import tables as t
from hub.store.accounts import Visitor
from hub.store.database import Database, new_id
from hub.store.secrets import KeyRing

GOOD_FOR = timedelta(minutes=30)
_MOST_OPEN = 50  # per merchant: somebody who opens the form again and again needs no more of them


class Spent(HubError):
    """This permission was asked for too long ago, or was used already."""


@dataclass(frozen=True, slots=True)
class Authorization:
    """A merchant on the way to a vendor. ``settings`` are those typed in, as the schema dumps them; ``state`` is known
    only where it came back. ``task_id`` is the check that came of it, if any."""

    merchant_id: UUID
    id: UUID
    user_id: UUID
    connector: str
    connection_id: UUID | None
    label: str
    settings: Mapping[str, Any]
    state: str
    email: str
    used: bool
    expired: bool
    task_id: UUID | None
    came_of_it: UUID | None  # the connection of that check


@access.needs(Permission.CONNECT)
def begin(
    database: Database,
    keyring: KeyRing,
    visitor: Visitor,
    connector: type[Connector],
    settings: Mapping[str, Any],
    *,
    label: str = "",
    connection_id: UUID | None = None,
) -> tuple[UUID, str]:
    """Note that a merchant is sent to ask for a permission; returns the id and the state that goes along.

    ``settings`` are JSON values. With ``connection_id`` that connection is reconnected. Of the state only its hash is
    kept.
    """
    authorization_id, state = new_id(), secrets.token_urlsafe(32)
    sealed = keyring.encrypt(json.dumps(dict(settings)).encode(), _place(visitor.merchant_id, authorization_id))
    this = t.authorization.c

    def work(connection: Connection) -> None:
        at = database.now(connection)
        mine = this.merchant_id == visitor.merchant_id
        connection.execute(delete(t.authorization).where(mine, this.expires_at < at - timedelta(days=1)))
        open_ones = connection.execute(
            select(func.count()).select_from(t.authorization).where(mine, this.expires_at > at)
        ).scalar_one()
        if open_ones >= _MOST_OPEN:
            raise Conflict("Too many permissions were asked for just now. Wait half an hour, then try again.")
        connection.execute(
            insert(t.authorization).values(
                merchant_id=visitor.merchant_id,
                id=authorization_id,
                user_id=visitor.user_id,
                state_sha256=_sha256(state),
                connector=connector.name,
                connection_id=connection_id,
                label=label.strip()[:200],
                settings=sealed,
                created_at=at,
                expires_at=at + GOOD_FOR,
            )
        )

    database.transact(work)
    return authorization_id, state


def come_back(
    database: Database,
    keyring: KeyRing,
    merchant_id: UUID,
    texts: Iterable[str],
    *,
    authorization_id: UUID | None = None,
) -> Authorization | None:
    """The authorization whose state is among ``texts``, which came in from outside; None if there is none.

    With ``authorization_id`` only that one counts.
    """
    hashes = {_sha256(text): text for text in texts}
    this = t.authorization.c
    wanted = [this.merchant_id == merchant_id, this.state_sha256.in_(list(hashes))]
    if authorization_id is not None:
        wanted.append(this.id == authorization_id)
    with database.read() as connection:
        at = database.now(connection)
        row = connection.execute(
            select(t.authorization, t.user_account.c.email, t.task.c.connection_id.label("came_of_it"))
            .select_from(
                t.authorization.join(t.user_account, t.user_account.c.id == this.user_id).outerjoin(
                    t.task, (t.task.c.merchant_id == this.merchant_id) & (t.task.c.id == this.task_id)
                )
            )
            .where(*wanted)
        ).first()
    if row is None:
        return None
    # Found by its hash, of which nothing can be learnt by trying; compared once more so that no index decides.
    (found,) = [text for each, text in hashes.items() if hmac.compare_digest(each, row.state_sha256)]
    return Authorization(
        merchant_id=row.merchant_id,
        id=row.id,
        user_id=row.user_id,
        connector=row.connector,
        connection_id=row.connection_id,
        label=row.label,
        settings=json.loads(keyring.decrypt(row.settings, _place(row.merchant_id, row.id))),
        state=found,
        email=row.email,
        used=row.used_at is not None,
        expired=row.expires_at <= at,
        task_id=row.task_id,
        came_of_it=row.came_of_it,
    )


def complete(
    database: Database,
    keyring: KeyRing,
    asked: Authorization,
    connector: type[Connector],
    settings: Mapping[str, Any],
) -> tuple[UUID, UUID]:
    """Connect with what the vendor gave, as loaded by the connector's schema; returns (connection id, task id).

    Once only, in one transaction. Raises Spent when somebody was faster, or when it took too long.
    """

    def work(connection: Connection) -> tuple[UUID, UUID]:
        row = _use(database, connection, asked)
        at = database.now(connection)
        if row.connection_id is None:
            connection_id, task_id = connections.connect_within(
                connection, keyring, row.merchant_id, connector, row.label, settings, asked.email, at=at
            )
        else:
            connection_id = row.connection_id
            task_id = connections.reconnect_within(
                connection, keyring, row.merchant_id, connection_id, connector, settings, asked.email, at=at
            )
        connection.execute(_this(asked).values(task_id=task_id))
        return connection_id, task_id

    return database.transact(work)


def decline(database: Database, asked: Authorization) -> None:
    """The merchant said no at the vendor: nothing can come of this any more."""
    database.transact(lambda connection: _use(database, connection, asked))


def _use(database: Database, connection: Connection, asked: Authorization) -> Row[Any]:
    this = t.authorization.c
    at = database.now(connection)
    used = connection.execute(
        _this(asked).where(this.used_at.is_(None), this.expires_at > at).values(used_at=at).returning(t.authorization)
    ).one_or_none()
    if used is None:
        raise Spent("This permission was asked for too long ago, or was used already. Connect the shop once more.")
    return used


def _this(asked: Authorization) -> Any:
    this = t.authorization.c
    return update(t.authorization).where(this.merchant_id == asked.merchant_id, this.id == asked.id)


def _sha256(state: str) -> str:
    return hashlib.sha256(state.encode("utf-8", "replace")).hexdigest()


def _place(merchant_id: UUID, authorization_id: UUID) -> str:
    return f"authorization:{merchant_id}:{authorization_id}:settings"
