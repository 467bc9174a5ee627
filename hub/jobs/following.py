"""Synchronizing one connection at somebody's wish, and following it until its orders are all here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select

from hub.errors import Conflict
from hub.jobs.shift import Hub
from hub.store import connections
from hub.store import tables as t
from hub.store.database import Database
from hub.store.queries import importing

_LOOKS = 0.5  # seconds between two looks
_PACE_OVER = 20.0  # seconds over which the pace is taken
_TAKEN_UP = 15.0  # seconds after which it is odd that no worker has begun


@dataclass(frozen=True, slots=True)
class Step:
    """How far a synchronization is; ``taken_up`` is False while no worker has begun though it should have."""

    progress: importing.Progress
    pace: importing.Pace | None
    taken_up: bool
    done: bool


def start(hub: Hub, shop: Row[Any], actor: str) -> datetime:
    """Have the connection's orders, listings and figures synchronized now; returns the database's time before it.

    Raises Conflict when it is not connected.
    """
    with hub.database.read() as connection:
        began = Database.now(connection)
    connections.sync_now(hub.database, shop.merchant_id, shop.id, actor)
    for lane in ("fetch", "publish"):
        hub.doorbell.ring(shop.merchant_id, shop.id, lane)
    return began


def follow(
    hub: Hub,
    shop: Row[Any],
    began: datetime,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Step]:
    """How far the synchronization is that ``began`` then, look by look, until everything is read.

    Raises Conflict when the connection is paused meanwhile, or has no orders to fetch.
    """
    looks: list[tuple[float, int]] = []
    since = clock()
    first: importing.Progress | None = None
    while True:
        with hub.database.read() as connection:
            row = connection.execute(
                select(t.connection.c.state, t.connection.c.error, t.connection.c.label).where(
                    t.connection.c.merchant_id == shop.merchant_id, t.connection.c.id == shop.id
                )
            ).one()
            found = importing.progress(connection, shop.merchant_id, shop.id)
        if row.state != "connected":
            raise Conflict(f"{row.label} is {row.state}. {row.error or 'Resume it, then synchronize again.'}")
        if found is None:
            raise Conflict(f"{row.label} has no orders to fetch.")
        first = first or found
        now = clock()
        looks = [look for look in looks if now - look[0] <= _PACE_OVER] + [(now, found.read)]
        at, read = looks[0]
        done = found.polled_at is not None and found.polled_at >= began and not found.waiting
        taken_up = done or found != first or now - since < _TAKEN_UP
        yield Step(found, importing.pace(found, read, now - at), taken_up, done)
        if done:
            return
        sleep(_LOOKS)
