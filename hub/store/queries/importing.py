"""How far the import of a channel's orders is: what was fetched, what was read of it, of how many."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, func, select

from hub.store import tables as t

MANY = 500  # records to read: so many at once are an import, fewer are news


@dataclass(frozen=True, slots=True)
class Progress:
    """``fetched`` orders have come in, of ``total`` where the channel says how many there are; ``waiting`` are not read
    yet. ``whole`` is True once the channel was read to its end, ``polled_at`` when that began. ``error`` is the last
    poll's.
    """

    fetched: int
    total: int | None
    waiting: int
    polled_at: datetime | None
    error: str

    @property
    def whole(self) -> bool:
        return self.polled_at is not None

    @property
    def read(self) -> int:
        return max(0, self.fetched - self.waiting)

    @property
    def expected(self) -> int | None:
        """How many there will be: never fewer than have come in already."""
        return None if self.total is None else max(self.total, self.fetched)

    @property
    def running(self) -> bool:
        """Whether this is worth a progress bar."""
        return not self.whole or self.waiting >= MANY


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast orders are read, and how many seconds that leaves, where it can be said."""

    per_second: float
    seconds_left: float | None


def progress(connection: Connection, merchant_id: UUID, connection_id: UUID) -> Progress | None:
    """How far the connection's orders are; None for one that has no orders to fetch."""
    cursor, inbox = t.cursor.c, t.inbox.c
    row = connection.execute(
        select(cursor.fetched, cursor.total, cursor.polled_at, cursor.error).where(
            cursor.merchant_id == merchant_id, cursor.connection_id == connection_id, cursor.stream == "orders"
        )
    ).one_or_none()
    if row is None:
        return None
    waiting = connection.execute(
        select(func.count()).where(
            inbox.merchant_id == merchant_id, inbox.connection_id == connection_id, inbox.state == "pending"
        )
    ).scalar_one()
    return Progress(row.fetched, row.total, waiting, row.polled_at, row.error)


def pace(now: Progress, read_before: int, seconds: float) -> Pace | None:
    """How fast it went since ``read_before`` orders had been read, ``seconds`` ago; None where that tells nothing."""
    if not seconds > 0 or now.read <= read_before:  # nor is NaN above 0
        return None
    per_second = (now.read - read_before) / seconds
    left = None if now.expected is None else (now.expected - now.read) / per_second
    return Pace(per_second, left)


def about(seconds: float) -> str:
    """A stretch of time in words, such as "about 3 minutes"."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    if minutes < 100:
        return f"about {minutes} minute{'' if minutes == 1 else 's'}"
    return f"about {round(minutes / 60)} hours"
