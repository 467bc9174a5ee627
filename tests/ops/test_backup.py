"""Backups: what comes out is what went in, on either database; what is damaged, foreign or in the way is refused."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, text, update

from hub.errors import BadInput, Conflict, HubError
from hub.store import backup, migrate
from hub.store import tables as t
from hub.store.backup import BackupDamaged
from hub.store.database import Database, new_id
from hub.store.secrets import KeyRing
from tests.ops.shop import NOON, Shop

# What a restore changes on purpose, so that the world since the backup is caught up with.
EMPTIED = {"lease", "session", "second_step", "failed_try", "setup_token"}


@pytest.fixture
def source(database: Database, keyring: KeyRing) -> Database:
    """A database in use, at the newest schema."""
    _stamp(database)
    with database.write() as connection:
        Shop(connection, keyring)
    return database


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Database]:
    """An empty SQLite database at the newest schema."""
    database = _sqlite(tmp_path / "target.sqlite3")
    yield database
    database.close()


def _sqlite(path: Path) -> Database:
    database = Database(f"sqlite:///{path}")
    t.metadata.create_all(database.engine)
    _stamp(database)
    return database


def _stamp(database: Database) -> None:
    """Give tables that were created directly the revision they correspond to."""
    with database.write() as connection:
        connection.execute(text("create table if not exists alembic_version (version_num varchar(32) primary key)"))
        connection.execute(text("delete from alembic_version"))
        head = migrate._scripts(migrate._config()).get_current_head()
        connection.execute(text("insert into alembic_version values (:head)"), {"head": head})


def make(database: Database, path: Path, **options: Any) -> backup.Manifest:
    return backup.create(database, path, version="1.2.3", key_ids=["k1"], **options)


def contents(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    with database.read() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]
            for table in t.metadata.sorted_tables
        }


def rewritten(path: Path, **members: bytes) -> Path:
    """The backup with some members replaced."""
    other = path.with_name(f"rewritten-{path.name}")
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(other, "w") as copy:
        for name in archive.namelist():
            copy.writestr(name, members.get(Path(name).stem, archive.read(name)))
    return other


def test_a_database_travels_to_the_other_kind_and_back(source: Database, target: Database, tmp_path: Path) -> None:
    before = contents(source)
    assert all(before.values()), "every table has a row to carry"

    make(source, tmp_path / "there.zip")
    backup.restore(target, tmp_path / "there.zip")
    there = contents(target)
    make(target, tmp_path / "back.zip")
    backup.restore(source, tmp_path / "back.zip", replace=True)
    back = contents(source)

    ours = before.keys() - EMPTIED - {"cursor", "publication", "effect"}
    assert {name: there[name] for name in ours} == {name: before[name] for name in ours}
    assert {name: back[name] for name in ours} == {name: before[name] for name in ours}
    for name in EMPTIED:
        assert there[name] == back[name] == []
    for name in ("cursor", "publication", "effect"):
        assert len(there[name]) == len(back[name]) == len(before[name])


def test_json_comes_back_as_the_very_text_it_was(source: Database, target: Database, tmp_path: Path) -> None:
    with source.write() as connection:
        connection.execute(
            text("""update activity set details = '{"b":  1.10, "a": null, "n": 123456789012345678901}'""")
        )
        connection.execute(text("update inbox set headers = 'null'"))
        connection.execute(text("update publication set cause = null"))

    make(source, tmp_path / "b.zip")
    backup.restore(target, tmp_path / "b.zip")

    with target.read() as connection:
        assert (
            connection.scalar(text("select details from activity"))
            == '{"b":  1.10, "a": null, "n": 123456789012345678901}'
        )
        assert connection.scalar(text("select headers from inbox")) == "null"
        assert connection.scalar(text("select cause from publication")) is None


def test_the_world_since_the_backup_is_caught_up_with(source: Database, target: Database, tmp_path: Path) -> None:
    with source.write() as connection:
        connection.execute(update(t.connection).values(not_before=NOON, failures=4))
    make(source, tmp_path / "b.zip")

    started = datetime.now(UTC)
    backup.restore(target, tmp_path / "b.zip")

    with target.read() as connection:
        due = dict(connection.execute(select(t.cursor.c.stream, t.cursor.c.due_at)).all())
        publication = connection.execute(select(t.publication)).one()
        effect = connection.execute(select(t.effect)).one()
        channel = connection.execute(select(t.connection)).one()
    assert due["orders"] >= started, "the newest orders are asked for at once"
    assert due["listings"] is None
    assert publication.not_before >= started + timedelta(minutes=2), "and only then a quantity is written"
    assert publication.verify_at >= started + timedelta(minutes=10)
    assert (effect.state, effect.unclear, effect.lease_until) == ("planned", True, None)
    assert (channel.not_before, channel.failures) == (None, 0)


def test_verify_reads_every_row_and_tells_what_is_inside(source: Database, tmp_path: Path) -> None:
    made = make(source, tmp_path / "b.zip")

    seen = backup.verify(tmp_path / "b.zip")

    assert seen == made
    assert seen.rows == sum(map(len, contents(source).values())) > 25
    assert (seen.tallyhub, seen.key_ids, seen.with_keys) == ("1.2.3", ("k1",), False)
    assert seen.database == source.engine.dialect.name
    assert seen.schema == migrate.current(source)


def test_progress_is_told_for_every_table(source: Database, target: Database, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []

    make(source, tmp_path / "b.zip", progress=lambda *step: told.append(step))
    written = len(told)
    backup.restore(target, tmp_path / "b.zip", progress=lambda *step: told.append(step))

    everything = {table.name for table in t.metadata.sorted_tables}
    assert {name for name, *_ in told[:written]} == {name for name, *_ in told[written:]} == everything
    assert all(done <= total for _, done, total in told)


def test_large_tables_are_carried_in_many_steps(source: Database, target: Database, tmp_path: Path) -> None:
    with source.write() as connection:
        merchant_id = connection.execute(select(t.merchant.c.id)).scalar_one()
        rows = [
            {"merchant_id": merchant_id, "id": new_id(), "at": NOON, "kind": "x", "summary": str(n)}
            for n in range(1234)
        ]
        connection.execute(insert(t.activity), rows)

    make(source, tmp_path / "b.zip")
    backup.restore(target, tmp_path / "b.zip")

    assert contents(target)["activity"] == contents(source)["activity"]


def test_the_file_is_for_the_owner_alone_and_holds_no_keys(source: Database, keyring: KeyRing, tmp_path: Path) -> None:
    path = tmp_path / "backups" / "b.zip"

    make(source, path)

    assert path.stat().st_mode & 0o777 == 0o600
    assert backup.keys_in(path) == ()
    assert [each.name for each in path.parent.iterdir()] == ["b.zip"], "no draft is left behind"
    assert b"token" not in zipfile.ZipFile(path).read("tables/connection_token.jsonl")


def test_keys_travel_along_only_when_asked(source: Database, tmp_path: Path) -> None:
    made = make(source, tmp_path / "b.zip", keys=["k1:AAAA", "k0:BBBB"])

    assert made.with_keys
    assert backup.keys_in(tmp_path / "b.zip") == ("k1:AAAA", "k0:BBBB")


def test_never_writes_over_a_file(source: Database, tmp_path: Path) -> None:
    (tmp_path / "b.zip").write_text("precious")

    with pytest.raises(Conflict, match="exists already"):
        make(source, tmp_path / "b.zip")

    assert (tmp_path / "b.zip").read_text() == "precious"


def test_nothing_can_be_made_of_a_database_without_tables(tmp_path: Path) -> None:
    empty = Database(f"sqlite:///{tmp_path}/empty.sqlite3")

    with pytest.raises(BadInput, match="nothing to back up"):
        make(empty, tmp_path / "b.zip")

    assert not (tmp_path / "b.zip").exists()
    empty.close()


def test_a_database_in_use_is_not_written_over(source: Database, target: Database, tmp_path: Path) -> None:
    make(source, tmp_path / "b.zip")
    with target.write() as connection:
        connection.execute(insert(t.merchant).values(id=new_id(), name="Somebody else", created_at=NOON))
    before = contents(target)

    with pytest.raises(Conflict, match="not empty: there are rows in “merchant”"):
        backup.restore(target, tmp_path / "b.zip")
    assert contents(target) == before

    backup.restore(target, tmp_path / "b.zip", replace=True)
    assert contents(target)["merchant"] == contents(source)["merchant"]


def test_a_first_start_does_not_count_as_use(source: Database, target: Database, tmp_path: Path) -> None:
    make(source, tmp_path / "b.zip")
    with target.write() as connection:
        connection.execute(insert(t.setup_token).values(token_sha256="x" * 64, created_at=NOON, expires_at=NOON))

    backup.restore(target, tmp_path / "b.zip")

    assert contents(target)["sales_order"] == contents(source)["sales_order"] != []


@pytest.mark.parametrize("cut", [0.2, 0.9])
def test_a_file_that_was_cut_off_is_noticed(source: Database, target: Database, tmp_path: Path, cut: float) -> None:
    path = tmp_path / "b.zip"
    make(source, path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * cut)])

    with pytest.raises(BackupDamaged, match="not a whole backup"):
        backup.verify(path)
    with pytest.raises(BackupDamaged):
        backup.restore(target, path)


def test_a_row_that_was_changed_is_noticed_and_nothing_restored(
    source: Database, target: Database, tmp_path: Path
) -> None:
    make(source, tmp_path / "b.zip")
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        forged = rewritten(
            tmp_path / "b.zip", stock_level=archive.read("tables/stock_level.jsonl").replace(b"3, 3", b"9, 3")
        )

    for attempt in (lambda: backup.verify(forged), lambda: backup.restore(target, forged)):
        with pytest.raises(BackupDamaged, match="“stock_level” in this backup is not as it was written"):
            attempt()
    assert not any(contents(target).values())


def test_a_missing_row_is_noticed(source: Database, tmp_path: Path) -> None:
    make(source, tmp_path / "b.zip")

    with pytest.raises(BackupDamaged, match="“activity”"):
        backup.verify(rewritten(tmp_path / "b.zip", activity=b""))


def test_another_schema_is_refused_with_the_version_that_fits(
    source: Database, target: Database, tmp_path: Path
) -> None:
    make(source, tmp_path / "b.zip")
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        manifest = json.loads(archive.read("manifest.json")) | {"schema": "9999"}

    with pytest.raises(BadInput, match=r"Install version 1\.2\.3, restore there, then upgrade\."):
        backup.restore(target, rewritten(tmp_path / "b.zip", manifest=json.dumps(manifest).encode()))


def test_a_newer_format_is_refused(source: Database, tmp_path: Path) -> None:
    make(source, tmp_path / "b.zip")

    with pytest.raises(BackupDamaged, match="a newer Tallyhub made it"):
        backup.verify(rewritten(tmp_path / "b.zip", manifest=b'{"format": 2}'))


def test_a_place_that_cannot_be_written_is_said_so(source: Database, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")

    with pytest.raises(HubError, match=r"cannot be written to .*: File exists\. No backup was made\."):
        make(source, tmp_path / "file" / "b.zip")
    with pytest.raises(BadInput, match=r"cannot be read: Is a directory\."):
        backup.verify(tmp_path)


def test_a_file_that_is_no_backup_is_told_apart_from_one_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("shopping list")
    with pytest.raises(BackupDamaged, match="not a whole backup of Tallyhub"):
        backup.verify(tmp_path / "notes.txt")
    with pytest.raises(BadInput, match="There is no file"):
        backup.verify(tmp_path / "nothing.zip")


@pytest.mark.postgres
def test_a_row_that_does_not_fit_undoes_the_whole_restore(
    _postgresql_database: Database, keyring: KeyRing, tmp_path: Path
) -> None:
    wide = _sqlite(tmp_path / "wide.sqlite3")
    _stamp(_postgresql_database)
    with wide.write() as connection:
        Shop(connection, keyring)
        # SQLite does not count characters.
        connection.execute(update(t.sku).where(t.sku.c.code == "MUG").values(code="x" * 300))
    make(wide, tmp_path / "b.zip")

    with pytest.raises(HubError, match=r"A row of “sku” does not fit into this database: .*Nothing was restored"):
        backup.restore(_postgresql_database, tmp_path / "b.zip")

    assert not any(contents(_postgresql_database).values())
    wide.close()
    _postgresql_database.close()


def test_a_backup_is_one_moment_although_the_hub_goes_on(source: Database, tmp_path: Path) -> None:
    """Orders keep coming while the tables are read one after the other: none of them is half in the file."""
    merchant_id = contents(source)["merchant"][0][0]

    def sell(*_: Any) -> None:
        with source.write() as connection:
            connection.execute(
                insert(t.activity).values(merchant_id=merchant_id, id=new_id(), at=NOON, kind="sold", summary="")
            )

    made = make(source, tmp_path / "b.zip", progress=sell)

    assert len(contents(source)["activity"]) > 20
    assert {each.table: each.rows for each in made.tables}["activity"] == 1


def test_a_backup_before_an_upgrade_holds_what_the_older_schema_had(source: Database, tmp_path: Path) -> None:
    """The tables are read as they are: a column this version expects may not be there yet."""
    with source.write() as connection:
        connection.execute(text("alter table merchant drop column demo"))
        connection.execute(text("create table keepsake (id integer primary key, label text)"))
        connection.execute(text("drop table activity"))
        connection.execute(text("insert into keepsake values (1, 'kept')"))
        connection.execute(text("update alembic_version set version_num = '0000_older'"))
    try:
        made = make(source, tmp_path / "b.zip")
    finally:
        with source.write() as connection:
            connection.execute(text("drop table keepsake"))
            connection.execute(text("alter table merchant add column demo boolean not null default false"))
            t.activity.create(connection)

    columns = {each.table: each.columns for each in made.tables}
    assert made.schema == "0000_older"
    assert "demo" not in columns["merchant"]
    assert columns["keepsake"] == ("id", "label")
    assert zipfile.ZipFile(tmp_path / "b.zip").read("tables/keepsake.jsonl") == b'[1, "kept"]\n'


def test_a_copy_left_by_a_crash_does_not_stop_the_next_backup(source: Database, tmp_path: Path) -> None:
    (tmp_path / ".b.zip.0badcafe").write_bytes(b"half")

    make(source, tmp_path / "b.zip")

    assert backup.verify(tmp_path / "b.zip").rows > 0
