"""Transactions: retried when the database broke them off, never blamed on it when the statement is wrong."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from hub.errors import HubError
from hub.store import tables as t
from hub.store.database import Broken, Database, DatabaseAway, in_chunks, new_id


def add_merchant(database: Database, connection: Connection, name: str) -> None:
    connection.execute(insert(t.merchant).values(id=new_id(), name=name, created_at=database.now(connection)))


def names(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(select(t.merchant.c.name).order_by(t.merchant.c.name)).scalars())


def test_a_transaction_that_was_broken_off_starts_again_from_nothing(database: Database) -> None:
    tries: list[int] = []

    def work(connection: Connection) -> str:
        tries.append(len(tries))
        add_merchant(database, connection, f"try {len(tries)}")
        if len(tries) < 3:
            raise Broken("Somebody was faster.")
        return "done"

    assert database.transact(work) == "done"
    assert names(database) == ["try 3"]


def test_it_gives_up_after_some_tries_and_says_why(database: Database) -> None:
    def work(connection: Connection) -> None:
        add_merchant(database, connection, "never")
        raise Broken("Somebody is always faster.")

    with pytest.raises(Broken, match="always faster"):
        database.transact(work, tries=3)
    assert names(database) == []


def test_an_error_of_ours_is_not_tried_again(database: Database) -> None:
    tries = 0

    def work(connection: Connection) -> None:
        nonlocal tries
        tries += 1
        add_merchant(database, connection, "never")
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        database.transact(work)
    assert (tries, names(database)) == (1, [])


def test_a_refused_row_is_not_the_databases_absence(database: Database) -> None:
    def work(connection: Connection) -> None:
        connection.execute(insert(t.setup_token).values(token_sha256=None))

    with pytest.raises(IntegrityError) as caught:
        database.transact(work)
    assert caught.value.__cause__ is not caught.value
    with pytest.raises(IntegrityError), database.write() as connection:
        work(connection)


def test_a_wrong_statement_is_not_the_databases_absence(database: Database) -> None:
    with pytest.raises((OperationalError, ProgrammingError)), database.read() as connection:
        connection.exec_driver_sql("select from where")


# SQLite takes as many parameters as it was built for, and has no server that could drop a connection.
on_postgresql = pytest.mark.parametrize(
    "database", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True
)


@on_postgresql
def test_a_statement_too_large_for_the_database_is_not_its_absence(database: Database) -> None:
    too_many = select(t.merchant.c.id).where(t.merchant.c.id.in_([new_id() for _ in range(65_536)]))

    with pytest.raises(OperationalError), database.read() as connection:
        connection.execute(too_many)


def test_a_database_that_is_not_there_is_away(tmp_path: Path) -> None:
    for address in (f"sqlite:///{tmp_path}/no/folder/hub.db", f"postgresql://nobody@/hub?host={tmp_path}"):
        away = Database(address)
        with pytest.raises(DatabaseAway, match=r"Nothing was stored; try again shortly\."), away.read():
            pass
        with pytest.raises(DatabaseAway):
            away.transact(lambda connection: None)
        with pytest.raises(DatabaseAway):
            away.lease("inbox:1", 30)
        away.close()


def test_an_empty_database_says_what_to_do(tmp_path: Path) -> None:
    empty = Database(f"sqlite:///{tmp_path}/hub.db")

    with pytest.raises(HubError, match=r"Run “hub db upgrade”"), empty.read() as connection:
        connection.execute(select(t.merchant.c.id))
    empty.close()


def test_writers_wait_for_each_other_and_none_is_lost(database: Database) -> None:
    with database.write() as connection:
        add_merchant(database, connection, "0")

    def add_one(connection: Connection) -> None:
        (name,) = connection.execute(select(t.merchant.c.name).with_for_update()).scalars()
        connection.execute(update(t.merchant).values(name=str(int(name) + 1)))

    def work() -> None:
        for _ in range(10):
            database.transact(add_one)

    workers = [threading.Thread(target=work) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert names(database) == ["60"]


def test_a_reader_waits_out_whoever_closes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    database = Database(f"sqlite:///{path}")
    t.metadata.create_all(database.engine)
    database.close()
    # The last process to close a database, and the first to open it after a crash, keep all others out for a moment.
    alone = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    alone.execute("PRAGMA locking_mode=EXCLUSIVE")
    alone.execute("BEGIN IMMEDIATE")
    alone.execute("COMMIT")
    done = threading.Timer(0.3, alone.close)
    done.start()
    began = time.monotonic()

    assert names(database) == []

    assert time.monotonic() - began > 0.2
    done.join()
    database.close()


def test_a_reader_never_waits_for_a_writer(database: Database) -> None:
    with database.write() as connection:
        add_merchant(database, connection, "not yet")

        assert names(database) == []

    assert names(database) == ["not yet"]


def test_times_come_back_in_utc_with_their_microseconds(database: Database) -> None:
    with database.write() as connection:
        at = database.now(connection).replace(microsecond=123_456)
        connection.execute(insert(t.merchant).values(id=new_id(), name="x", created_at=at))

    with database.read() as connection:
        assert connection.execute(select(t.merchant.c.created_at)).scalar_one() == at


def test_the_databases_clock_goes_on_within_a_transaction(database: Database) -> None:
    with database.read() as connection:
        first = database.now(connection)
        time.sleep(0.02)
        assert database.now(connection) > first


def test_ids_follow_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [new_id() for _ in range(10_000)]
    monkeypatch.setattr(time, "time_ns", lambda: 0)  # the clock was set back
    made += [new_id() for _ in range(10)]

    assert made == sorted(set(made))
    assert {(each.version, each.variant) for each in made} == {(7, "specified in RFC 4122")}
    moment = made[0].int >> 80
    assert abs(moment / 1000 - time.time()) < 60, "it tells when it was made"


def test_chunks_hold_everything_once() -> None:
    assert list(in_chunks(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(in_chunks([])) == []


def test_foreign_keys_are_on(database: Database) -> None:
    with pytest.raises(IntegrityError), database.write() as connection:
        connection.execute(
            insert(t.sku).values(merchant_id=new_id(), id=new_id(), code="x", created_at=database.now(connection))
        )


@on_postgresql
def test_a_server_that_dropped_the_connections_is_asked_again(database: Database) -> None:
    assert names(database) == []
    others = "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()"
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as killer:
        killer.execute(text(f"{others} and datname = current_database()"))

    assert names(database) == []
