"""Slowing down whoever guesses, without shutting out the person whose password it is; counted for all processes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, case, delete, select

from hub.store import tables as t
from hub.store.database import Database, upsert


@dataclass(frozen=True, slots=True)
class Throttle:
    """Counts failures per key. After ``free`` of them each further try has to wait, ``slowest`` seconds at most.

    The failures of a key are forgotten ``memory`` seconds after the last one.
    """

    name: str
    free: int
    slowest: float
    memory: float


# One guesser: a throttle, and what it counts by.
Watched = tuple[Throttle, str]


def wait(connection: Connection, watched: Iterable[Watched]) -> float:
    """Seconds until the next try may be made, 0 when it may be now."""
    throttles = {_hash(each): each[0] for each in watched}
    this, now = t.failed_try.c, Database.now(connection)
    rows = connection.execute(
        select(this.key_sha256, this.times, this.last_at).where(this.key_sha256.in_(throttles), this.forget_at > now)
    )
    longest = 0.0
    for row in rows:
        throttle = throttles[row.key_sha256]
        over = row.times - throttle.free
        if over >= 0:
            pause = min(throttle.slowest, 2.0 ** min(over, 30))
            longest = max(longest, pause - (now - row.last_at).total_seconds())
    return longest


def failed(connection: Connection, watched: Iterable[Watched]) -> None:
    """Count one more failure, and drop those that are forgotten."""
    this, now = t.failed_try.c, Database.now(connection)
    connection.execute(delete(t.failed_try).where(this.forget_at <= now))
    # In one order: two who fail at the same time would otherwise wait for each other.
    for key, throttle in sorted({_hash(each): each[0] for each in watched}.items()):
        insert = upsert(connection, t.failed_try).values(
            key_sha256=key, times=1, last_at=now, forget_at=now + timedelta(seconds=throttle.memory)
        )
        connection.execute(
            insert.on_conflict_do_update(
                index_elements=["key_sha256"],
                set_={
                    "times": case((this.forget_at > now, this.times + 1), else_=1),
                    "last_at": insert.excluded.last_at,
                    "forget_at": insert.excluded.forget_at,
                },
            )
        )


def succeeded(connection: Connection, watched: Watched) -> None:
    """Forget the failures of one key."""
    connection.execute(delete(t.failed_try).where(t.failed_try.c.key_sha256 == _hash(watched)))


def _hash(watched: Watched) -> str:
    throttle, key = watched
    return hashlib.sha256(f"{throttle.name}\0{key}".encode("utf-8", "surrogatepass")).hexdigest()
