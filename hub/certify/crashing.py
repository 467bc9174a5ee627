"""A hub whose process dies at a chosen moment: before or after a call to a vendor, before or after a commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection

from hub.connector import Connector
from hub.jobs import Hub
from hub.store.database import Database
from hub.testing.town import Town

_T = TypeVar("_T")

POINTS = ("before-a-call", "after-a-call", "before-a-commit", "after-a-commit")


class Killed(BaseException):
    """The process is gone: nothing after this has happened."""


@dataclass
class Fate:
    """When a process dies: at the ``number``-th time it passes ``point``. Once dead it does nothing any more."""

    point: str
    number: int
    passed: Counter[str] = field(default_factory=Counter)
    dead: bool = False

    def at(self, point: str) -> None:
        """The process passes a point. Raises Killed if it does not get beyond it."""
        self.alive()
        self.passed[point] += 1
        if point == self.point and self.passed[point] == self.number:
            self.dead = True
            raise Killed(f"{point} {self.number}")

    def alive(self) -> None:
        """Raise Killed for whatever a dead process would still do, such as giving back its leases."""
        if self.dead:
            raise Killed("dead already")


class _Database(Database):
    """A database of which a dead process sees and changes nothing."""

    def __init__(self, living: Database, fate: Fate) -> None:
        # The same engine: what a new one would have to compile anew takes longer than all that is tried here.
        self.url, self.is_sqlite = living.url, living.is_sqlite
        self.engine, self.reader = living.engine, living.reader
        self._fate = fate

    @contextmanager
    def write(self) -> Iterator[Connection]:
        self._fate.alive()
        with super().write() as connection:
            yield connection
            self._fate.at("before-a-commit")
        self._fate.at("after-a-commit")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        self._fate.alive()
        with super().read() as connection:
            yield connection

    def transact(self, work: Callable[[Connection], _T], *, tries: int = 8) -> _T:
        self._fate.alive()

        def mortal(connection: Connection) -> _T:
            result = work(connection)
            self._fate.at("before-a-commit")
            return result

        result = super().transact(mortal, tries=tries)
        self._fate.at("after-a-commit")
        return result


@dataclass(frozen=True)
class _Hub(Hub):
    """A hub whose connectors call their vendors as long as its process lives."""

    fate: Fate | None = None

    def caller(self, *args: Any, **options: Any) -> Any:
        connector: Connector = super().caller(*args, **options)
        send, fate = connector.client.request, self.fate

        def request(method: str, url: str, **more: Any) -> Any:
            if fate is None:
                return send(method, url, **more)
            fate.at("before-a-call")
            response = send(method, url, **more)
            fate.at("after-a-call")
            return response

        connector.client.request = request  # type: ignore[method-assign]
        return connector


@contextmanager
def mortal(town: Town, fate: Fate) -> Iterator[None]:
    """Within the block the town's hub is a process that dies by ``fate``, after it a new one, which goes on."""
    living = town.hub
    database = _Database(living.database, fate)
    town.hub = _Hub(living.settings, database, living.keyring, living.registry, living.doorbell, fate)
    try:
        yield
    except Killed:
        pass
    finally:
        town.hub = living
