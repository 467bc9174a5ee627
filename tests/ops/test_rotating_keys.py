"""Another key for what is stored: killed half way it goes on, and then the old key may go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner
from sqlalchemy import LargeBinary, select, update

from hub.cli import main
from hub.config import load_settings
from hub.doctor import examine
from hub.store import (
    authorizations,
    connections,
    exchanges,
    inbox,
    migrate,
    papers,
    privacy,
    rekeying,
    two_factor,
    vault,
)
from hub.store import tables as t
from hub.store.audit import audit
from hub.store.database import Database, new_id
from hub.store.secrets import KeyRing, SecretsUnreadable, key_id_of, new_key
from tests.ops.shop import Shop

OLD, NEW = new_key(), new_key()
BODIES = 120


def only(key: str) -> KeyRing:
    return KeyRing([key])


def ids() -> tuple[str, str]:
    return only(OLD).key_ids[0], only(NEW).key_ids[0]


def test_every_encrypted_column_is_known_and_bound_as_its_own_room_binds_it() -> None:
    merchant, one, other = UUID(int=1), UUID(int=2), UUID(int=3)
    row: Any = SimpleNamespace(
        merchant_id=merchant, id=one, inbox_id=one, connection_id=other, name="access", kind="check"
    )
    row._mapping = vars(row)
    erasing: Any = SimpleNamespace(**vars(row) | {"kind": privacy.TASK})
    found = {each.name: each for each in rekeying.SEALED}

    assert {name: each.place(row) for name, each in found.items()} == {
        "user_account.totp_secret": two_factor._place(one),
        "connection.secrets": connections._place(merchant, one),
        "connection_token.value": vault._place(merchant, other, "access", "value"),
        "connection_token.refresh": vault._place(merchant, other, "access", "refresh"),
        "authorization.settings": authorizations._place(merchant, one),
        "privacy_request.subject": privacy._place(merchant, one),
        "inbox_body.body": inbox._place(merchant, one),
        "task.request": connections._place(merchant, other),
        "document.content": papers._place(merchant, one),
        "exchange.details": exchanges._place(merchant, one),
    }
    assert found["task.request"].place(erasing) == privacy._task_place(merchant, other)
    in_plain = {"picture_file.content", "stock_import.body"}
    forgotten = {"task.result"}  # after a day
    binary = {
        f"{table.name}.{column.name}"
        for table in t.metadata.sorted_tables
        for column in table.c
        if isinstance(column.type, LargeBinary)
    }
    assert binary - in_plain - forgotten == found.keys()


# ---------------------------------------------------------------- in each kind of database


def furnished(database: Database) -> Shop:
    """One of everything, each encrypted with the old key for its own place, and some more bodies."""
    old = only(OLD)
    with database.write() as connection:
        shop = Shop(connection, old)
        for number in range(BODIES - 1):
            record = new_id()
            shop.copy(connection, t.inbox, id=record, dedupe_key=f"more/{number}")
            shop.copy(connection, t.inbox_body, inbox_id=record)
        for each in rekeying.SEALED:
            table, value = each.column.table, str(each.name).encode()
            for row in connection.execute(select(table)).all():
                here = (column == row._mapping[column.name] for column in table.primary_key.columns)
                sealed = old.encrypt(value, each.place(row))
                connection.execute(update(t.metadata.tables[table.name]).where(*here).values({each.column: sealed}))
    return shop


def told(database: Database, keyring: KeyRing) -> dict[str, set[bytes]]:
    """What can be read of each column with these keys. Raises SecretsUnreadable."""
    with database.read() as connection:
        return {
            each.name: {
                keyring.decrypt(row._mapping[each.column.name], each.place(row))
                for row in connection.execute(select(each.column.table).where(each.column.is_not(None)))
            }
            for each in rekeying.SEALED
        }


def needing(database: Database) -> int:
    with database.read() as connection:
        return rekeying.needing(connection, KeyRing([NEW, OLD]))[ids()[0]]


def nothing(name: str, done: int, total: int) -> None:
    """Where nobody looks how far it is."""


def test_all_that_is_stored_comes_under_the_first_key(database: Database) -> None:
    furnished(database)
    before = told(database, only(OLD))
    seen: list[tuple[str, int, int]] = []

    unreadable = rekeying.rotate(database, KeyRing([NEW, OLD]), lambda *step: seen.append(step))

    assert unreadable == []
    assert told(database, only(NEW)) == before
    assert all(before.values()), "every column has a value to carry"
    assert needing(database) == 0
    assert [step for step in seen if step[0] == "inbox_body.body"] == [
        ("inbox_body.body", done, BODIES) for done in (50, 100, BODIES)
    ]
    assert {each.invariant: each.count for each in audit(database, only(NEW))}["I17"] == 0


def test_what_cannot_be_read_is_named_left_alone_and_holds_nothing_up(database: Database) -> None:
    shop = furnished(database)
    this = t.connection.c.id == shop.channel
    with database.write() as connection:
        value = only(OLD).encrypt(b"copied", "from elsewhere")
        connection.execute(update(t.connection).where(this).values(secrets=value))

    unreadable = rekeying.rotate(database, KeyRing([NEW, OLD]), nothing)

    assert unreadable == [f"connection:{shop.merchant}:{shop.channel}:secrets"]
    assert needing(database) == 1
    with database.read() as connection:
        assert connection.execute(select(t.connection.c.secrets).where(this)).scalar_one() == value


def test_what_changes_meanwhile_is_not_overwritten(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = furnished(database)
    place = f"connection:{shop.merchant}:{shop.channel}:secrets"
    newer = only(NEW).encrypt(b"entered just now", place)
    replace = rekeying._replace

    def reconnected_first(connection: Any, sealed: Any, row: Any, value: bytes) -> None:
        if sealed.name == "connection.secrets":
            connection.execute(update(t.connection).where(t.connection.c.id == row.id).values(secrets=newer))
        replace(connection, sealed, row, value)

    monkeypatch.setattr(rekeying, "_replace", reconnected_first)
    rekeying.rotate(database, KeyRing([NEW, OLD]), nothing)

    assert told(database, only(NEW))["connection.secrets"] == {b"entered just now"}


# ---------------------------------------------------------------- the command


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A hub whose keys are the old one."""
    environ = {"TALLYHUB_DATA_DIR": str(tmp_path / "hub"), "TALLYHUB_REDIS_URL": "none", "TALLYHUB_SECRET_KEYS": OLD}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return environ


@pytest.fixture
def stored(environ: dict[str, str]) -> Iterator[Database]:
    (Path(environ["TALLYHUB_DATA_DIR"])).mkdir(mode=0o700)
    database = Database(load_settings(environ).database_url)
    migrate.upgrade(database)
    furnished(database)
    yield database
    database.close()


DIES = """
import os, signal
from hub.cli import main
from hub.store import rekeying

replace, rows = rekeying._replace, []

def replaced(connection, sealed, row, value):
    rows.append(row)
    if sealed.name == "inbox_body.body" and len(rows) > 70:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(connection, sealed, row, value)

rekeying._replace = replaced
main(["keys", "rotate"])
"""


def test_killed_half_way_it_goes_on_and_then_the_old_key_may_go(
    environ: dict[str, str], stored: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, both = told(stored, only(OLD)), f"{NEW} {OLD}"
    monkeypatch.setenv("TALLYHUB_SECRET_KEYS", both)
    at_first = needing(stored)

    died = subprocess.run([sys.executable, "-c", DIES], env=dict(os.environ), capture_output=True, timeout=120)

    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    assert 0 < needing(stored) < at_first
    assert told(stored, KeyRing([NEW, OLD])) == before, "with both keys everything is readable all the time"
    (warned,) = [each for each in examine(environ | {"TALLYHUB_SECRET_KEYS": both}) if each.name == "old keys"]
    assert (warned.state, warned.next_step) == ("warning", "Run: hub keys rotate")
    assert warned.message == f"{needing(stored)} stored values still need the key {ids()[0]}."

    went_on = CliRunner().invoke(main, ["keys", "rotate"])

    assert went_on.exit_code == 0, went_on.output
    assert f"All that is stored needs the key {ids()[1]} alone." in went_on.output
    assert f"Remove {ids()[0]} from the secret keys" in went_on.output
    assert told(stored, only(NEW)) == before
    with pytest.raises(SecretsUnreadable):
        told(stored, only(OLD))
    (checked,) = [each for each in examine(environ | {"TALLYHUB_SECRET_KEYS": both}) if each.name == "old keys"]
    assert checked.state == "ok" and "its line may be removed" in checked.message


def test_with_one_key_there_is_nothing_to_do(stored: Database) -> None:
    with stored.read() as connection:
        before = connection.execute(select(t.connection.c.secrets)).scalars().all()

    ended = CliRunner().invoke(main, ["keys", "rotate"])

    assert (ended.exit_code, "There is no other key." in ended.output) == (0, True)
    with stored.read() as connection:
        assert connection.execute(select(t.connection.c.secrets)).scalars().all() == before


def test_a_key_that_is_gone_is_told(stored: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYHUB_SECRET_KEYS", NEW)

    ended = CliRunner().invoke(main, ["keys", "rotate"])

    assert ended.exit_code == 1
    assert "stored values cannot be decrypted with the keys there are, and were left alone." in ended.output
    with stored.read() as connection:
        values = connection.execute(select(t.inbox_body.c.body)).scalars()
        assert {key_id_of(value) for value in values} == {ids()[0]}
