"""A hub that carries out effects and may die at any request: its own engine, on a database of the case's own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

from sqlalchemy import select, update

from hub.certify.bench import Bench, line_of
from hub.connector import Connector
from hub.store import effects
from hub.store import tables as t
from hub.store.database import Database
from hub.store.secrets import KeyRing, new_key

ROUNDS = 12  # after which an effect should have come to an end, one way or the other


class _Died(BaseException):
    """The process is gone. Not an Exception: nobody catches it, least of all a connector."""


class Sending:
    """The effects lane of one connection. ``connect`` makes a connector, a new one after each death."""

    def __init__(self, bench: Bench, connect: Callable[[], Connector]) -> None:
        path = bench.folder() / "hub.db"
        path.write_bytes(_empty())
        self._database = Database(f"sqlite:///{path}")
        bench.enter(closing(self._database))
        self._connect = connect
        self._keyring = KeyRing([new_key()])
        self._random = bench.chance
        self._merchant, self._connection = UUID(int=1), UUID(int=2)
        with self._database.write() as connection:
            at = Database.now(connection)
            connection.execute(t.merchant.insert().values(id=self._merchant, name="Corner", created_at=at))
            connection.execute(
                t.connection.insert().values(
                    merchant_id=self._merchant,
                    id=self._connection,
                    connector=bench.connector.name,
                    label="Corner",
                    state="connected",
                    settings={},
                    created_at=at,
                )
            )

    def send(
        self, kind: str, request: Mapping[str, Any], *, dies_before: int = 0, dies_after: int = 0, deaths: int = 1
    ) -> Any:
        """Plan an effect and work until it has come to an end; returns its row.

        In each of the first ``deaths`` lives the process dies before the ``dies_before``-th request is sent, or after
        the ``dies_after``-th was answered and before anybody has read the answer.
        """

        def plan(connection: Any) -> UUID:
            now = Database.now(connection)
            return effects.plan(connection, self._merchant, self._connection, kind, kind, request, now=now)

        effect_id = self._database.transact(plan)
        for life in range(ROUNDS):
            connector = self._connect()
            if life < deaths and (dies_before or dies_after):
                _make_mortal(connector, dies_before, dies_after)
            try:
                claimed = effects.claim(self._database, self._merchant, self._connection)
                if claimed is not None:
                    effects.run(self._database, self._keyring, claimed, connector, random=self._random)
            except _Died:
                pass
            row = self._row(effect_id)
            if row.state in ("succeeded", "failed", "unknown", "cancelled"):
                return row
            self._let_time_pass(effect_id)
        return self._row(effect_id)

    def _row(self, effect_id: UUID) -> Any:
        with self._database.read() as connection:
            return connection.execute(select(t.effect).where(t.effect.c.id == effect_id)).one()

    def _let_time_pass(self, effect_id: UUID) -> None:
        """Every pause and every lease of a dead process is over; whoever was asked to reconnect has done it."""
        past = datetime.now(UTC) - timedelta(seconds=1)
        this = t.effect.c
        with self._database.write() as connection:
            connection.execute(update(t.effect).where(this.id == effect_id).values(due_at=past))
            flying = (this.id == effect_id) & (this.state == "in_flight")
            connection.execute(update(t.effect).where(flying).values(lease_until=past))
            connection.execute(update(t.connection).values(state="connected", not_before=None, failures=0, error=""))


def _make_mortal(connector: Connector, before: int, after: int) -> None:
    """Let the connector's process die before its ``before``-th request, or after the ``after``-th was answered."""
    line = line_of(connector)
    send, sent = line.request, itertools.count(1)

    def request(method: str, url: str, **options: Any) -> Any:
        number = next(sent)
        if number == before:
            raise _Died
        answer = send(method, url, **options)
        if number == after:
            raise _Died
        return answer

    line.request = request


@cache
def _empty() -> bytes:
    """An empty database, made once: a copy of it takes a hundredth of the time."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "hub.db"
        database = Database(f"sqlite:///{path}")
        t.metadata.create_all(database.engine)
        database.close()  # the last one to leave writes everything into the file
        return path.read_bytes()
