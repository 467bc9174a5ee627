"""Long work that a person asks for on a page of a connection: one of each kind at a time, and what it found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, select, update

from hub import access
from hub.access import Permission
from hub.errors import BadInput, Conflict
from hub.store import tables as t
from hub.store.connections import plan_task
from hub.store.database import Database, for_update
from hub.store.secrets import KeyRing, SecretsUnreadable

# Who may ask for a kind of task, where it is not what everything about a connection takes.
_ASKED_BY: Mapping[str, Permission] = {"match": Permission.CATALOG}


def ask(
    database: Database,
    merchant_id: UUID,
    connection_id: UUID,
    kind: str,
    actor: str,
    arguments: Mapping[str, Any] | None = None,
) -> UUID:
    """Plan a task of a connection that works; returns the open one of this kind and these arguments if there is one.

    Raises Conflict when the connection does not work, or while another task of this kind is open.
    """

    access.demand(_ASKED_BY.get(kind, Permission.SYNC))

    def work(connection: Connection) -> UUID:
        shop, task = t.connection.c, t.task.c
        row = connection.execute(
            for_update(
                connection, select(t.connection).where(shop.merchant_id == merchant_id, shop.id == connection_id)
            )
        ).one_or_none()
        if row is None:
            raise BadInput("This connection does not exist.")
        if row.state != "connected":
            raise Conflict(f"{row.label} is {row.state}. Connect or resume it first.")
        open_one = connection.execute(
            select(task.id, task.arguments).where(
                task.merchant_id == merchant_id,
                task.connection_id == connection_id,
                task.kind == kind,
                task.state.in_(["waiting", "running"]),
            )
        ).first()
        if open_one is not None:
            if (open_one.arguments or {}).get("about") != (arguments or {}).get("about"):
                raise Conflict("Something of this kind is going on for this shop already. Wait until it is done.")
            return open_one.id  # type: ignore[no-any-return]
        task_id = plan_task(connection, merchant_id, connection_id, kind, actor, database.now(connection))
        connection.execute(_this(merchant_id, task_id).values(arguments=dict(arguments or {})))
        return task_id

    return database.transact(work)


def keep_result(connection: Connection, keyring: KeyRing, merchant_id: UUID, task_id: UUID, found: Any) -> None:
    """Keep what a task found, for its page: JSON values. It may tell of customers, and so is encrypted."""
    sealed = keyring.pack(json.dumps(found).encode(), _place(merchant_id, task_id))
    connection.execute(_this(merchant_id, task_id).values(result=sealed))


def result(connection: Connection, keyring: KeyRing, merchant_id: UUID, task_id: UUID) -> Any:
    """What a task found; None where nothing is kept, or not any more."""
    task = t.task.c
    sealed = connection.execute(
        select(task.result).where(task.merchant_id == merchant_id, task.id == task_id)
    ).scalar_one_or_none()
    if sealed is None:
        return None
    try:
        return json.loads(keyring.unpack(sealed, _place(merchant_id, task_id)))
    except SecretsUnreadable:
        return None  # its key is not in use any more: asking again is cheaper than keeping it


def about(connection: Connection, merchant_id: UUID, connection_id: UUID, task_id: UUID, kind: str) -> str | None:
    """What a finished task of this kind was about; None where there is no such task."""
    task = t.task.c
    arguments = connection.execute(
        select(task.arguments).where(
            task.merchant_id == merchant_id,
            task.connection_id == connection_id,
            task.id == task_id,
            task.kind == kind,
            task.state == "done",
        )
    ).scalar_one_or_none()
    return None if arguments is None else arguments["about"]


def forget_results(connection: Connection, before: datetime) -> None:
    """Forget what tasks found that ended before then."""
    task = t.task.c
    connection.execute(update(t.task).where(task.finished_at < before, task.result.is_not(None)).values(result=None))


def _this(merchant_id: UUID, task_id: UUID) -> Any:
    return update(t.task).where(t.task.c.merchant_id == merchant_id, t.task.c.id == task_id)


def _place(merchant_id: UUID, task_id: UUID) -> str:
    return f"task:{merchant_id}:{task_id}:result"
