"""One database, SQLite or PostgreSQL: engines, transactions, the database's own clock, leases."""

from __future__ import annotations

import hashlib
import json
import os
import random
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Engine,
    Integer,
    TableValuedAlias,
    any_,
    column,
    create_engine,
    event,
    func,
    literal,
    select,
    type_coerce,
    update,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

from hub.errors import HubError
from hub.store import tables as t

Result = TypeVar("Result")
Value = TypeVar("Value")

Lanes = list[tuple[UUID, str]]
"""Connections, each with a lane of it: what an act returns of those that have to be rung for after its commit."""


class Interrupted(HubError):
    """Our own database got in the way: nothing was stored, and neither the record at hand nor a vendor is to blame."""


class DatabaseAway(Interrupted):
    """The database cannot be reached, or is too busy to answer: nothing was stored."""


class Broken(Interrupted):
    """The transaction met a change made at the same moment: nothing was written, and it is worth starting again."""


class LeaseLost(Interrupted):
    """Somebody else holds the lease by now: whoever gets this stops at once and writes nothing."""


_ids = threading.Lock()
_last_id = (0, 0)  # the millisecond, and the 74 bits that follow it


def new_id() -> UUID:
    """A UUIDv7 (RFC 9562): unique, ordered by the millisecond it was made in, and within a process by its turn."""
    global _last_id
    with _ids:
        now, tail = _last_id
        if (milliseconds := time.time_ns() // 1_000_000) > now:
            now, tail = milliseconds, random.getrandbits(73)
        else:
            tail += 1 + random.getrandbits(32)
        _last_id = now, tail
    value = (now & (1 << 48) - 1) << 80 | 0x7 << 76 | (tail >> 62) << 64 | 0b10 << 62 | tail & (1 << 62) - 1
    return UUID(int=value)


@dataclass(frozen=True, slots=True)
class Lease:
    """A name held by one worker until ``until_monotonic`` (this process's monotonic clock, already with a margin)."""

    name: str
    holder: str
    fence: int
    until_monotonic: float

    def remaining(self) -> float:
        """Seconds that are surely left; never trust a lease for a call that may take longer."""
        return self.until_monotonic - time.monotonic()


class Database:
    """Opens transactions on the database at ``url`` (an SQLAlchemy address; ``sqlite:///file`` or ``postgresql://``).

    ``write()`` commits at the end of the block or rolls back when it raises; ``read()`` never takes the write lock.
    A database that is away raises DatabaseAway. No transaction may stay open across a call to the outside.
    """

    def __init__(self, url: str, *, pool_size: int = 10, pooled: bool = True, busy_seconds: float = 30.0) -> None:
        address = make_url(url)
        if address.get_backend_name() == "postgresql":
            address = address.set(drivername="postgresql+psycopg")
        self.url = address
        self.is_sqlite = address.get_backend_name() == "sqlite"
        options: dict[str, Any] = {"pool_pre_ping": pooled and not self.is_sqlite}
        if not pooled:
            options = {"poolclass": NullPool}
        elif not (self.is_sqlite and address.database in (None, "", ":memory:")):
            options |= {"pool_size": pool_size, "max_overflow": pool_size, "pool_timeout": 5.0}
        if self.is_sqlite:
            options["connect_args"] = {"check_same_thread": False, "timeout": busy_seconds}
        else:
            # A plan that was kept while a table was small is used until its statistics are renewed, and a first import
            # fills empty tables: the check of a reference would go through all of them, order by order.
            settings = "-c timezone=UTC -c lock_timeout=20s -c plan_cache_mode=force_custom_plan"
            options["connect_args"] = {"connect_timeout": 5, "options": settings}
        self.engine: Engine = create_engine(address, **options)
        if self.is_sqlite:
            _take_over_sqlite_transactions(self.engine, busy_seconds)
        self.reader = self.engine.execution_options(sqlite_write=False)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One read-write transaction."""
        with _plain_errors(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One read-only look at the data, that waits for no writer."""
        with _plain_errors(), self.reader.begin() as connection:
            yield connection

    def transact(self, work: Callable[[Connection], Result], *, tries: int = 8) -> Result:
        """Run ``work`` in one transaction; again when the database broke it off (deadlock, serialization, busy)."""
        with _plain_errors():
            for attempt in range(1, tries + 1):
                try:
                    with self.engine.begin() as connection:
                        return work(connection)
                except (Broken, DBAPIError) as error:
                    if attempt == tries or (isinstance(error, DBAPIError) and not _worth_repeating(error)):
                        raise
                time.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 - spreads the tries, hides nothing
        raise AssertionError("unreachable")

    def joining(self, connection: Connection) -> Database:
        """This database for acts that are to be part of the transaction of ``connection``, and to commit with it."""
        return _Joined(self, connection)

    def forget_connections(self) -> None:
        """After a fork: leave the parent's connections alone and open our own."""
        self.engine.dispose(close=False)

    def close(self) -> None:
        self.engine.dispose()

    # ------------------------------------------------------------ clock

    @staticmethod
    def now(connection: Connection) -> datetime:
        """The database's clock, the same for every worker on every machine."""
        if connection.dialect.name == "sqlite":
            # SQLite runs in this process, on this machine: its clock is ours, and ours has microseconds.
            return datetime.now(UTC)
        moment = connection.execute(select(func.clock_timestamp())).scalar_one()
        return moment.astimezone(UTC)  # type: ignore[no-any-return]

    @staticmethod
    def clock(connection: Connection) -> ColumnElement[datetime]:
        """The same, for a statement that asks for more: reading the clock alone is a way to the server and back."""
        if connection.dialect.name == "sqlite":
            return literal(Database.now(connection), t.Moment)
        return type_coerce(func.clock_timestamp(), t.Moment)

    # ------------------------------------------------------------ leases

    def lease(self, name: str, seconds: float, *, holder: str | None = None) -> Lease | None:
        """Take the lease ``name`` for ``seconds``, or None while somebody else holds it."""
        who = holder or f"{_this_machine()}:{os.getpid()}:{uuid4().hex}"
        asked = time.monotonic()

        def take(connection: Connection) -> int | None:
            now = self.now(connection)
            until = now + timedelta(seconds=seconds)
            fence: int | None = connection.execute(
                update(t.lease)
                .where(t.lease.c.name == name, (t.lease.c.until <= now) | (t.lease.c.holder == who))
                .values(holder=who, fence=t.lease.c.fence + 1, until=until)
                .returning(t.lease.c.fence)
            ).scalar_one_or_none()
            if fence is not None:
                return fence
            insert = upsert(connection, t.lease).values(name=name, holder=who, fence=1, until=until)
            insert = insert.on_conflict_do_nothing(index_elements=["name"]).returning(t.lease.c.fence)
            return connection.execute(insert).scalar()

        fence = self.transact(take)
        return None if fence is None else Lease(name, who, fence, asked + seconds)

    def renew(self, lease: Lease, seconds: float) -> Lease:
        """Hold the lease for ``seconds`` from now. Raises LeaseLost."""
        asked = time.monotonic()

        def extend(connection: Connection) -> int:
            now = self.now(connection)
            return connection.execute(
                update(t.lease)
                .where(t.lease.c.name == lease.name, t.lease.c.holder == lease.holder, t.lease.c.fence == lease.fence)
                .values(until=now + timedelta(seconds=seconds))
            ).rowcount

        if self.transact(extend) != 1:
            raise LeaseLost(f"The lease {lease.name} was taken over.")
        return Lease(lease.name, lease.holder, lease.fence, asked + seconds)

    def release(self, lease: Lease) -> None:
        """Give the lease back; nothing happens if it was lost already."""

        def give_back(connection: Connection) -> None:
            connection.execute(
                update(t.lease)
                .where(t.lease.c.name == lease.name, t.lease.c.holder == lease.holder, t.lease.c.fence == lease.fence)
                .values(until=self.now(connection), holder="")
            )

        self.transact(give_back)

    def release_dead(self) -> int:
        """Give back the leases of processes of this machine that are no more, without waiting for them to run out."""
        with self.read() as connection:
            held = connection.execute(
                select(t.lease.c.name, t.lease.c.holder).where(
                    t.lease.c.until > self.now(connection),
                    t.lease.c.holder.startswith(f"{_this_machine()}:", autoescape=True),
                )
            ).all()
        dead = [row for row in held if not _is_alive(int(row.holder.split(":")[1]))]
        for row in dead:
            with self.write() as connection:
                connection.execute(
                    update(t.lease)
                    .where(t.lease.c.name == row.name, t.lease.c.holder == row.holder)
                    .values(until=self.now(connection), holder="")
                )
        return len(dead)

    @staticmethod
    def hold(connection: Connection, lease: Lease) -> None:
        """Inside a transaction: make sure the lease is still ours until this commit. Raises LeaseLost."""
        held = connection.execute(
            update(t.lease)
            .where(t.lease.c.name == lease.name, t.lease.c.holder == lease.holder, t.lease.c.fence == lease.fence)
            .values(fence=lease.fence)
        )
        if held.rowcount != 1:
            raise LeaseLost(f"The lease {lease.name} was taken over.")


class _Joined(Database):
    """A database whose transactions are parts of one that somebody else commits, and tries again where that helps."""

    def __init__(self, database: Database, connection: Connection) -> None:
        self.url, self.is_sqlite = database.url, database.is_sqlite
        self.engine, self.reader = database.engine, database.reader
        self._connection = connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        yield self._connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        yield self._connection

    def transact(self, work: Callable[[Connection], Result], *, tries: int = 8) -> Result:
        return work(self._connection)


@cache
def _this_machine() -> str:
    """One name for all processes whose process ids mean the same: the host, since its boot, and its pid namespace."""
    parts = [socket.gethostname()]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        with suppress(OSError):
            parts.append(str(Path(path).readlink()) if path.endswith("pid") else Path(path).read_text().strip())
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:24]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def upsert(connection: Connection, table: Any) -> Any:
    """The dialect's INSERT, with its on_conflict_do_nothing and on_conflict_do_update."""
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert as sqlite_insert

        return sqlite_insert(table)
    from sqlalchemy.dialects.postgresql import insert as postgresql_insert

    return postgresql_insert(table)


def in_chunks(values: Iterable[Value], size: int = 1000) -> Iterator[list[Value]]:
    """``values`` in lists that a statement can carry: both databases limit its parameters."""
    rest = iter(values)
    while some := list(islice(rest, size)):
        yield some


def among(connection: Connection, column: ColumnElement[Value], values: Iterable[Value]) -> ColumnElement[bool]:
    """Whether ``column`` is one of ``values``.

    PostgreSQL gets them as one array: a hundred parameters take the driver longer to name than the server to look up.
    """
    if connection.dialect.name == "sqlite":
        return column.in_(list(values))
    return column == any_(literal(list(values), ARRAY(column.type)))


def each_of(connection: Connection, values: Iterable[int]) -> TableValuedAlias:
    """These numbers as rows with one column, ``value``, for a statement to go through."""
    if connection.dialect.name == "sqlite":
        return func.json_each(json.dumps(list(values))).table_valued(column("value", Integer), name="each_of")
    rows = func.unnest(literal(list(values), ARRAY(Integer)))
    return rows.table_valued(column("value", Integer), name="each_of").render_derived()


def for_update(connection: Connection, statement: Any, *, skip_locked: bool = False) -> Any:
    """Lock the selected rows on PostgreSQL; on SQLite the transaction holds the only write lock already.

    FOR NO KEY UPDATE: it shuts out every other writer, but not the check of a foreign key. A line on an order's
    timeline, written by whoever serves the order with stock, must not wait for who is changing the order: that one
    may be waiting for the stock.
    """
    if connection.dialect.name == "sqlite":
        return statement
    return statement.with_for_update(skip_locked=skip_locked, key_share=True)


def _take_over_sqlite_transactions(engine: Engine, busy_seconds: float) -> None:
    # The driver's own transaction control loses updates under concurrency: it begins a transaction as a reader and
    # upgrades it later on a stale snapshot. We begin writers IMMEDIATE ourselves.
    patient = f"PRAGMA busy_timeout={int(busy_seconds * 1000)}"

    @event.listens_for(engine, "connect")
    def _connect(dbapi: Any, _record: Any) -> None:
        dbapi.isolation_level = None
        cursor = dbapi.cursor()
        cursor.execute(patient)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if not connection.get_execution_options().get("sqlite_write", True):
            connection.exec_driver_sql("BEGIN")
            return
        # SQLite's own waiting sleeps longer and longer, up to a tenth of a second, while others take the lock again and
        # again. Asking often keeps the wait as short as the queue is. For every other lock its waiting is right.
        gives_up = time.monotonic() + busy_seconds
        dbapi: Any = connection.connection.dbapi_connection
        dbapi.execute("PRAGMA busy_timeout=2")
        try:
            while True:
                try:
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                    return
                except OperationalError as error:
                    if "locked" not in str(error.orig) or time.monotonic() > gives_up:
                        raise
                time.sleep(random.uniform(0.0005, 0.003))  # noqa: S311 - spreads the tries, hides nothing
        finally:
            dbapi.execute(patient)


def _worth_repeating(error: DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None)
    if state in ("40001", "40P01", "55P03"):  # serialization failure, deadlock, lock timeout
        return True
    return isinstance(error, OperationalError) and "locked" in str(error.orig)


_OLD_SCHEMA = ("42P01", "42703")  # PostgreSQL knows no such table, no such column
_MISSING = ("no such table", "no such column", "has no column")  # SQLite's words for it


def _plain(error: DBAPIError) -> Exception:
    if getattr(error.orig, "sqlstate", None) in _OLD_SCHEMA or any(said in str(error.orig) for said in _MISSING):
        return DatabaseAway("The database has no tables yet, or old ones. Run “hub db upgrade”.")
    if not _is_refusal(error) and (isinstance(error, OperationalError) or error.connection_invalidated):
        return DatabaseAway("The database cannot be reached or is too busy. Nothing was stored; try again shortly.")
    return error


def _is_refusal(error: DBAPIError) -> bool:
    """Whether the statement is at fault and not the database: both drivers call that operational, too."""
    if isinstance(error.orig, sqlite3.Error):
        return getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR
    return "number of parameters must be" in str(error.orig)


@contextmanager
def _plain_errors() -> Iterator[None]:
    from sqlalchemy.exc import TimeoutError as PoolTimeout

    try:
        yield
    except PoolTimeout as error:
        raise DatabaseAway("All database connections are busy. Nothing was stored; try again shortly.") from error
    except DBAPIError as error:
        plain = _plain(error)
        if plain is error:
            raise
        raise plain from error
