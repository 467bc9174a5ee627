"""Guesses, SQLite and PostgreSQL: counted together whoever counts them, waited for, and forgotten in the end."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select

from hub.store import tables as t
from hub.store import throttle
from hub.store.database import Database
from hub.store.throttle import Throttle

PAIR = Throttle("pair", free=3, slowest=60, memory=1800)
ACCOUNT = Throttle("account", free=5, slowest=10, memory=3600)


@pytest.fixture
def later(database: Database, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Stops the clock, and moves it on."""
    with database.read() as db:
        moment = [database.now(db)]
    monkeypatch.setattr(Database, "now", staticmethod(lambda connection: moment[0]))

    def move(seconds: float) -> None:
        moment[0] += timedelta(seconds=seconds)

    return move


def fail(database: Database, *watched: throttle.Watched) -> None:
    database.transact(lambda connection: throttle.failed(connection, watched))


def wait(database: Database, *watched: throttle.Watched) -> float:
    with database.read() as db:
        return throttle.wait(db, watched)


def test_each_further_guess_waits_twice_as_long_up_to_the_slowest(
    database: Database, later: Callable[[float], None]
) -> None:
    waits = []
    for _ in range(10):
        fail(database, (PAIR, "ada 192.0.2.1"))
        waits.append(wait(database, (PAIR, "ada 192.0.2.1")))

    assert waits == [0, 0, 1, 2, 4, 8, 16, 32, 60, 60]
    later(59)
    assert wait(database, (PAIR, "ada 192.0.2.1")) == 1
    later(1)
    assert wait(database, (PAIR, "ada 192.0.2.1")) == 0
    assert wait(database, (PAIR, "ada 192.0.2.2"), (ACCOUNT, "ada 192.0.2.1")) == 0  # another key, another throttle


def test_the_longest_wait_of_several_counts(database: Database, later: Callable[[float], None]) -> None:
    for _ in range(6):
        fail(database, (PAIR, "ada here"), (ACCOUNT, "ada"))

    assert wait(database, (ACCOUNT, "ada")) == 2
    assert wait(database, (PAIR, "ada here"), (ACCOUNT, "ada")) == 8


def test_guesses_are_forgotten_when_they_are_old_and_after_the_right_one(
    database: Database, later: Callable[[float], None]
) -> None:
    for _ in range(5):
        fail(database, (PAIR, "ada"), (ACCOUNT, "ada"))
    database.transact(lambda connection: throttle.succeeded(connection, (PAIR, "ada")))
    assert wait(database, (PAIR, "ada")) == 0

    later(3601)
    fail(database, (PAIR, "joan"))

    with database.read() as db:
        assert list(db.execute(select(t.failed_try.c.times)).scalars()) == [1]


def test_guesses_made_at_the_same_time_are_all_counted(database: Database) -> None:
    def guess(number: int) -> None:
        keys = [(PAIR, "ada"), (ACCOUNT, "ada")]
        fail(database, *(keys if number % 2 else reversed(keys)))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(guess, range(24)))

    with database.read() as db:
        assert list(db.execute(select(t.failed_try.c.times)).scalars()) == [24, 24]


def test_nobody_reads_in_the_table_who_was_guessed(database: Database) -> None:
    fail(database, (PAIR, "ada@tea.example 192.0.2.1"))

    with database.read() as db:
        kept = str(db.execute(select(t.failed_try)).all())
    assert "ada" not in kept and "192" not in kept
