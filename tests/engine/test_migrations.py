"""The history of the schema: it leads exactly to the tables, all or nothing, and never touches a newer database."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert, inspect, select, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from hub.errors import HubError
from hub.store import migrate, tables
from hub.store.database import Database, new_id
from tests.servers import empty_database


@pytest.fixture
def empty(database: Database, tmp_path: Path) -> Iterator[Database]:
    """A database of the same kind as ``database``, without any table."""
    if database.is_sqlite:
        created = Database(f"sqlite:///{tmp_path / 'empty.db'}")
        yield created
        created.close()
        return
    with empty_database(database.url.render_as_string(hide_password=False), f"empty_{new_id().hex}") as url:
        created = Database(url)
        yield created
        created.close()


def schema(database: Database) -> dict[str, list[str]]:
    """Everything the database itself knows about its schema, but for alembic's own table."""
    with database.read() as connection:
        if database.is_sqlite:
            rows = connection.exec_driver_sql("select name, sql from sqlite_master where sql is not null").all()
            rows = [(name, line) for name, sql in rows for line in re.split(r",?\s*\n\)?", sql) if line.strip()]
        else:
            rows = connection.exec_driver_sql(
                """
                select c.table_name, concat_ws(' ', c.column_name, c.data_type,
                       c.character_maximum_length, c.is_nullable, c.column_default)
                  from information_schema.columns c where c.table_schema = 'public'
                union all
                select conrelid::regclass::text, conname || ' ' || pg_get_constraintdef(oid) from pg_constraint
                 where connamespace = 'public'::regnamespace
                union all
                select tablename, indexdef from pg_indexes where schemaname = 'public'
                """
            ).all()
    found: dict[str, list[str]] = {}
    for name, piece in sorted(rows):
        if not name.startswith(("alembic_", "sqlite_")):
            found.setdefault(name, []).append(re.sub(r"\s+", " ", piece).strip())
    return found


def test_upgrading_an_empty_database_gives_exactly_the_tables(empty: Database, database: Database) -> None:
    migrate.upgrade(empty)

    # `database` was made from tables.metadata. A difference here is what the newest revision must still say.
    assert schema(empty) == schema(database)
    assert len(schema(empty)) >= len(tables.metadata.tables)


def test_knows_how_far_a_database_is(empty: Database) -> None:
    assert migrate.current(empty) is None
    assert not migrate.is_current(empty)

    migrate.upgrade(empty)

    assert migrate.current(empty) == "0001"
    assert migrate.is_current(empty)


def test_upgrading_again_changes_nothing(empty: Database) -> None:
    migrate.upgrade(empty)
    with empty.write() as connection:
        now = empty.now(connection)
        connection.execute(insert(tables.merchant).values(id=new_id(), name="Corner Shop", created_at=now))

    migrate.upgrade(empty)

    with empty.read() as connection:
        assert connection.execute(select(tables.merchant.c.name)).scalars().all() == ["Corner Shop"]


def test_two_that_start_at_once_upgrade_once(empty: Database) -> None:
    failed: list[BaseException] = []
    ready = threading.Barrier(3)

    def start() -> None:
        ready.wait()
        try:
            migrate.upgrade(empty)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == []
    assert migrate.is_current(empty)


def test_refuses_a_database_of_a_newer_version_and_leaves_it_alone(empty: Database) -> None:
    migrate.upgrade(empty)
    with empty.write() as connection:
        connection.execute(text("update alembic_version set version_num = '9999'"))

    with pytest.raises(migrate.SchemaTooNew, match=r"newer Tallyhub \(schema 9999\). Install that version again"):
        migrate.is_current(empty)
    with pytest.raises(migrate.SchemaTooNew):
        migrate.upgrade(empty)

    assert migrate.current(empty) == "9999"


class TestARevisionToCome:
    """A second revision that alters a table others point at, the hardest case on SQLite."""

    REVISION = """
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade():
    with op.batch_alter_table("connection") as table:
        table.add_column(sa.Column("nickname", sa.String(20), nullable=False, server_default=""))
        table.alter_column("label", type_=sa.String(250))
    {then}
"""

    def plan(self, monkeypatch: pytest.MonkeyPatch, folder: Path, then: str) -> None:
        copied = folder / "migrations"
        (copied / "versions").mkdir(parents=True, exist_ok=True)
        for name in ("env.py", "versions/0001_first_tables.py"):
            (copied / name).write_text((migrate._FOLDER / name).read_text())
        (copied / "versions" / "0002_nickname.py").write_text(self.REVISION.format(then=then))
        monkeypatch.setattr(migrate, "_FOLDER", copied)

    @pytest.fixture
    def lived_in(self, empty: Database) -> Database:
        migrate.upgrade(empty)
        merchant, connection_id = new_id(), new_id()
        with empty.write() as connection:
            now = empty.now(connection)
            connection.execute(insert(tables.merchant).values(id=merchant, name="Corner Shop", created_at=now))
            connection.execute(
                insert(tables.connection).values(
                    merchant_id=merchant,
                    id=connection_id,
                    connector="shopify",
                    state="new",
                    settings={},
                    created_at=now,
                )
            )
            connection.execute(
                insert(tables.channel_location).values(
                    merchant_id=merchant, connection_id=connection_id, external_id="", name="Shop"
                )
            )
        return empty

    def test_keeps_the_rows_and_the_references_to_them(
        self, lived_in: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        self.plan(monkeypatch, tmp_path, then="")
        assert not migrate.is_current(lived_in)

        migrate.upgrade(lived_in)

        assert migrate.current(lived_in) == "0002"
        with lived_in.read() as connection:
            assert connection.execute(text("select connector, nickname from connection")).all() == [("shopify", "")]
            assert connection.execute(text("select name from channel_location")).all() == [("Shop",)]
        with pytest.raises(Exception, match=r"(?i)foreign key"), lived_in.write() as connection:
            connection.execute(text("delete from connection"))

    def test_changes_nothing_when_it_breaks_off_and_runs_through_once_mended(
        self, lived_in: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        before = schema(lived_in)
        self.plan(monkeypatch, tmp_path, then='op.execute("update no_such_table set x = 1")')

        with pytest.raises((OperationalError, ProgrammingError), match="no_such_table"):
            migrate.upgrade(lived_in)

        assert migrate.current(lived_in) == "0001"
        assert schema(lived_in) == before

        self.plan(monkeypatch, tmp_path, then="")
        migrate.upgrade(lived_in)
        assert "nickname" in [column["name"] for column in inspect(lived_in.engine).get_columns("connection")]

    # PostgreSQL checks every statement by itself.
    @pytest.mark.parametrize("database", ["sqlite"], indirect=True)
    def test_is_undone_when_it_would_leave_a_row_without_its_parent(
        self, lived_in: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        self.plan(monkeypatch, tmp_path, then='op.execute("delete from connection")')

        with pytest.raises(HubError, match="row of “channel_location” without its “connection”"):
            migrate.upgrade(lived_in)

        with lived_in.read() as connection:
            assert connection.execute(text("select connector from connection")).scalars().all() == ["shopify"]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_that_is_killed_half_way_has_changed_nothing(
        self, lived_in: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        before = schema(lived_in)
        self.plan(monkeypatch, tmp_path, then="import os; os._exit(9)")

        child = os.fork()
        if child == 0:
            lived_in.forget_connections()
            migrate.upgrade(lived_in)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9

        assert migrate.current(lived_in) == "0001"
        assert schema(lived_in) == before
