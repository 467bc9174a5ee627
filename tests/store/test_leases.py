"""Leases: one holder at a time, a fence that only rises, and no write by whoever has lost it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from hub.store import tables as t
from hub.store.database import Database, Lease, LeaseLost, new_id


def expire(database: Database, name: str) -> None:
    """Let the time of a lease run out."""
    with database.write() as connection:
        past = database.now(connection) - timedelta(seconds=1)
        connection.execute(update(t.lease).where(t.lease.c.name == name).values(until=past))


def taken(database: Database, name: str, seconds: float = 30) -> Lease:
    lease = database.lease(name, seconds)
    assert lease is not None
    return lease


def test_a_lease_has_one_holder(database: Database) -> None:
    mine = taken(database, "inbox:1")

    assert database.lease("inbox:1", 30) is None
    assert database.lease("inbox:2", 30) is not None

    database.release(mine)
    theirs = taken(database, "inbox:1")
    assert theirs.fence > mine.fence


def test_a_lease_that_ran_out_goes_to_the_next_and_never_back(database: Database) -> None:
    mine = taken(database, "inbox:1")
    expire(database, "inbox:1")

    theirs = taken(database, "inbox:1")

    assert theirs.fence == mine.fence + 1
    with pytest.raises(LeaseLost, match=r"The lease inbox:1 was taken over\."):
        database.renew(mine, 30)
    database.release(mine)
    assert database.lease("inbox:1", 30) is None, "releasing a lost lease must not free the one that took it"


def test_a_lease_that_ran_out_is_still_ours_while_nobody_wants_it(database: Database) -> None:
    mine = taken(database, "inbox:1")
    expire(database, "inbox:1")

    renewed = database.renew(mine, 30)

    assert (renewed.fence, renewed.remaining() > 29) == (mine.fence, True)
    assert database.lease("inbox:1", 30) is None


def test_the_same_holder_takes_it_again_under_a_new_fence(database: Database) -> None:
    first = database.lease("chore", 30, holder="me")
    again = database.lease("chore", 30, holder="me")

    assert first is not None
    assert again is not None
    assert again.fence == first.fence + 1
    with pytest.raises(LeaseLost):
        database.renew(first, 30)


def test_what_remains_is_counted_from_before_it_was_asked_for(database: Database) -> None:
    before = time.monotonic()
    lease = taken(database, "inbox:1", seconds=500)

    assert lease.until_monotonic <= time.monotonic() + 500
    assert before + 500 <= lease.until_monotonic
    assert 400 < lease.remaining() <= 500


def test_a_write_under_a_lost_lease_is_rolled_back(database: Database) -> None:
    mine = taken(database, "inbox:1")
    expire(database, "inbox:1")
    taken(database, "inbox:1")

    with pytest.raises(LeaseLost), database.write() as connection:
        connection.execute(insert(t.merchant).values(id=new_id(), name="Never", created_at=database.now(connection)))
        database.hold(connection, mine)

    with database.read() as connection:
        assert connection.execute(select(t.merchant.c.name)).all() == []


def test_nobody_takes_over_between_the_check_and_the_commit(database: Database) -> None:
    mine = taken(database, "inbox:1")
    expire(database, "inbox:1")
    order: list[str] = []

    def take_over() -> None:
        theirs = database.lease("inbox:1", 30)
        order.append("taken over" if theirs else "refused")

    other = threading.Thread(target=take_over)
    with database.write() as connection:
        database.hold(connection, mine)
        other.start()
        time.sleep(0.3)
        order.append("committed")
    other.join()

    assert order == ["committed", "taken over"]


def test_a_lease_has_one_winner_among_many(database: Database) -> None:
    winners: list[Lease | None] = []
    start = threading.Barrier(8)

    def race() -> None:
        start.wait()
        winners.append(database.lease("inbox:1", 30))

    racers = [threading.Thread(target=race) for _ in range(8)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()

    assert sum(each is not None for each in winners) == 1


HOLDER = """
import sys, time
from hub.store.database import Database
database = Database(sys.argv[1])
print(database.lease(sys.argv[2], 3600).fence, flush=True)
time.sleep(60)
"""


def test_a_killed_process_gives_its_leases_back_without_waiting(database: Database, database_url: str) -> None:
    mine = taken(database, "publish:1", 3600)
    child = subprocess.Popen([sys.executable, "-c", HOLDER, database_url, "inbox:1"], stdout=subprocess.PIPE)
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"1\n"
        assert database.release_dead() == 0, "it is alive"
        assert database.lease("inbox:1", 30) is None

        child.send_signal(signal.SIGKILL)
        child.wait()

    assert database.release_dead() == 1
    assert taken(database, "inbox:1").fence == 2
    assert database.renew(mine, 30).fence == mine.fence, "ours was left alone"


@pytest.mark.parametrize("holder", ["another-machine:1:x", "", "nobody"])
def test_leases_of_other_machines_are_left_alone(database: Database, holder: str) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    with database.write() as connection:
        connection.execute(insert(t.lease).values(name="inbox:1", holder=holder, fence=7, until=until))

    assert database.release_dead() == 0
    assert database.lease("inbox:1", 30) is None


def row(database: Database, name: str) -> Any:
    with database.read() as connection:
        return connection.execute(select(t.lease).where(t.lease.c.name == name)).one()


def test_the_databases_clock_decides(database: Database) -> None:
    lease = taken(database, "inbox:1", 30)

    found = row(database, lease.name)

    with database.read() as connection:
        left = found.until - database.now(connection)
    assert timedelta(seconds=28) < left <= timedelta(seconds=30)
    assert found.until.tzinfo is UTC
