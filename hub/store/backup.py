"""Backups: the whole database in one file that says what it holds, readable on SQLite and PostgreSQL alike.

The file is a ZIP archive: one member per table with a JSON list per row, the secret keys only when they were asked
for, and manifest.json. Secrets and raw bodies stay encrypted in it; names and addresses of customers do not.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import sqlite3
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import IO, Any
from uuid import UUID

from sqlalchemy import JSON, Column, Connection, MetaData, Table, Text, cast, delete, func, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import UserDefinedType

from hub.errors import BadInput, Conflict, HubError
from hub.store import migrate
from hub.store import tables as t
from hub.store.database import Database

FORMAT = 1
_MANIFEST = "manifest.json"
_KEYS = "secret.keys"
_BATCH = 500
_LONGEST_ROW = 256 * 1024 * 1024
# After a restore the channels have moved on: their newest orders are imported before a quantity is written again, and
# what they say is read back a little later still.
_READ_BEFORE_WRITING = timedelta(minutes=2)
_READ_BACK = timedelta(minutes=10)

Progress = Callable[[str, int, int], None]


class BackupDamaged(HubError):
    """The file is not a backup, or not the one that was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """One table in a backup: its columns in the order of each row, how many rows, the SHA-256 of its member."""

    table: str
    columns: tuple[str, ...]
    rows: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup says about itself. ``key_ids`` are the keys its secrets need, ``with_keys`` whether it has them."""

    made_at: datetime
    tallyhub: str
    schema: str
    database: str
    key_ids: tuple[str, ...]
    with_keys: bool
    tables: tuple[Contents, ...]

    @property
    def rows(self) -> int:
        return sum(each.rows for each in self.tables)


def _ignore(table: str, done: int, total: int) -> None:
    pass


# ---------------------------------------------------------------- making one


def create(
    database: Database,
    path: Path,
    *,
    version: str,
    key_ids: Sequence[str],
    keys: Sequence[str] = (),
    progress: Progress = _ignore,
) -> Manifest:
    """Write the database as it is at this moment to ``path``, while it goes on being used.

    ``key_ids`` names the keys in use; ``keys`` are the lines to put into the file, none by default. Raises Conflict
    when the file exists, BadInput when the database has no tables yet.
    """
    if path.exists():
        raise Conflict(f"{path} exists already. Name another file, or move that one away.")
    schema = migrate.current(database)
    if schema is None:
        raise BadInput("The database is empty: there is nothing to back up yet.")
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b") as file:
            with (
                _still(database, path.parent) as connection,
                zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
            ):
                contents = [_write_table(archive, connection, each, progress) for each in _tables(connection)]
                if keys:
                    archive.writestr(_KEYS, "".join(f"{key}\n" for key in keys))
                made = Manifest(
                    made_at=datetime.now(UTC),
                    tallyhub=version,
                    schema=schema,
                    database=connection.dialect.name,
                    key_ids=tuple(key_ids),
                    with_keys=bool(keys),
                    tables=tuple(contents),
                )
                archive.writestr(_MANIFEST, json.dumps(_as_json(made), indent=1))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise HubError(f"The backup cannot be written to {path}: {error.strerror}. No backup was made.") from error
    finally:
        with suppress(OSError):
            draft.unlink()
    return made


@contextmanager
def _still(database: Database, folder: Path) -> Iterator[Connection]:
    """The database at one moment, however long the reading takes."""
    if not database.is_sqlite:
        snapshot = database.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with snapshot.begin() as connection:
            yield connection
        return
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=folder) as temporary:
        copy = Path(temporary) / "copy.sqlite3"
        with database.read() as connection, sqlite3.connect(copy) as target:
            driver: Any = connection.connection.dbapi_connection
            driver.backup(target)
        target.close()
        copied = Database(f"sqlite:///{copy}", pooled=False)
        with copied.read() as connection:
            yield connection
        copied.close()


def _tables(connection: Connection) -> list[Table]:
    """The tables as the database has them, which before an upgrade are not those of this version; ours are typed."""
    found = MetaData()
    found.reflect(connection, only=lambda name, _: name != "alembic_version")
    known = [found.tables[each.name] for each in t.metadata.sorted_tables if each.name in found.tables]
    # When all of ours are there, whatever else is belongs to somebody who shares the database.
    tables = known if len(known) == len(t.metadata.tables) else found.sorted_tables
    typed = MetaData()
    for table in tables:
        ours = t.metadata.tables.get(table.name)
        columns = (ours.c[each.name] if ours is not None and each.name in ours.c else each for each in table.columns)
        Table(table.name, typed, *(Column(each.name, each.type, primary_key=each.primary_key) for each in columns))
    return list(typed.tables.values())


def _write_table(archive: zipfile.ZipFile, connection: Connection, table: Table, progress: Progress) -> Contents:
    total = connection.execute(select(func.count()).select_from(table)).scalar_one()
    # JSON is taken as the text it is stored as: read and written again, a number could come out another one.
    columns = [cast(each, Text) if isinstance(each.type, JSON) else each for each in table.columns]
    rows = connection.execution_options(yield_per=_BATCH).execute(select(*columns).order_by(*table.primary_key))
    done, digest = 0, hashlib.sha256()
    with archive.open(_member(table.name), "w", force_zip64=True) as member:
        for row in rows:
            line = (
                json.dumps([_plain(value) for value in row], ensure_ascii=False).encode("utf-8", "surrogatepass")
                + b"\n"
            )
            digest.update(line)
            member.write(line)
            done += 1
            if done % _BATCH == 0:
                progress(table.name, done, max(done, total))
    progress(table.name, done, max(done, total))
    names = tuple(each.name for each in table.columns)
    return Contents(table=table.name, columns=names, rows=done, sha256=digest.hexdigest())


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return value.hex
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value


# ---------------------------------------------------------------- looking at one


def verify(path: Path, progress: Progress = _ignore) -> Manifest:
    """Read the whole file and compare it with what it says about itself. Raises BackupDamaged."""
    with _opened(path) as (archive, said):
        for contents in said.tables:
            with archive.open(_member(contents.table)) as member:
                for _ in _lines(member, contents, progress):
                    pass
    return said


def manifest(path: Path) -> Manifest:
    """What the file says about itself, unchecked. Raises BackupDamaged."""
    with _opened(path) as (_, said):
        return said


def keys_in(path: Path) -> tuple[str, ...]:
    """The secret keys in the backup, none if it was made without them."""
    with _opened(path) as (archive, said):
        return tuple(archive.read(_KEYS).decode("ascii").split()) if said.with_keys else ()


@contextmanager
def _opened(path: Path) -> Iterator[tuple[zipfile.ZipFile, Manifest]]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive, _read_manifest(archive)
    except FileNotFoundError as error:
        raise BadInput(f"There is no file {path}.") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from error
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError, EOFError) as error:
        raise BackupDamaged(f"{path} is not a whole backup of Tallyhub ({error}). Take another copy of it.") from error


def _read_manifest(archive: zipfile.ZipFile) -> Manifest:
    try:
        said = json.loads(archive.read(_MANIFEST))
        if said["format"] != FORMAT:
            raise BackupDamaged(f"This backup has format {said['format']}: a newer Tallyhub made it and can read it.")
        return Manifest(
            made_at=datetime.fromisoformat(said["made_at"]),
            tallyhub=str(said["tallyhub"]),
            schema=str(said["schema"]),
            database=str(said["database"]),
            key_ids=tuple(said["key_ids"]),
            with_keys=bool(said["with_keys"]),
            tables=tuple(Contents(**each | {"columns": tuple(each["columns"])}) for each in said["tables"]),
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise BackupDamaged(
            f"The manifest of this backup cannot be read ({error}). Take another copy of it."
        ) from error


def _as_json(manifest: Manifest) -> dict[str, Any]:
    return {"format": FORMAT} | asdict(manifest) | {"made_at": manifest.made_at.isoformat()}


def _lines(member: IO[bytes], contents: Contents, progress: Progress) -> Iterator[list[Any]]:
    done, digest = 0, hashlib.sha256()
    while line := member.readline(_LONGEST_ROW):
        digest.update(line)
        try:
            row = json.loads(line.decode("utf-8", "surrogatepass"))
        except ValueError:
            break
        done += 1
        yield row
        if done % _BATCH == 0:
            progress(contents.table, done, contents.rows)
    progress(contents.table, done, contents.rows)
    if (done, digest.hexdigest()) != (contents.rows, contents.sha256):
        raise BackupDamaged(f"The table “{contents.table}” in this backup is not as it was written. Take another copy.")


def _member(table: str) -> str:
    return f"tables/{table}.jsonl"


# ---------------------------------------------------------------- putting one back


def restore(database: Database, path: Path, *, replace: bool = False, progress: Progress = _ignore) -> Manifest:
    """Fill the database, whose tables must be there, with the backup: all of it or nothing.

    ``replace`` empties it first; without it a database that holds anything raises Conflict. Everybody is signed out,
    every channel is asked for its newest orders before anything is written to it, and effects that were on their way
    are settled before they are sent again. Raises BackupDamaged, and BadInput for a backup of another schema.
    """
    with _opened(path) as (archive, said):
        schema = migrate.current(database)
        if said.schema != schema:
            raise BadInput(
                f"This backup was made by Tallyhub {said.tallyhub} with schema {said.schema}; this version has "
                f"schema {schema}. Install version {said.tallyhub}, restore there, then upgrade."
            )
        with database.write() as connection:
            if occupied := _occupied(connection):
                if not replace:
                    raise Conflict(
                        f"The database is not empty: there are rows in “{occupied}”. Restore into an empty one, or say "
                        "that everything in it may be replaced."
                    )
                t.empty_everything(connection)
            written = {each.table: each for each in said.tables}
            for table in t.metadata.sorted_tables:
                contents = written[table.name]
                with archive.open(_member(table.name)) as member:
                    _fill(connection, table, contents, _lines(member, contents, progress))
            _catch_up(connection)
    return said


def _occupied(connection: Connection) -> str | None:
    """A table with rows. Leases, set-up tokens and wrong guesses come by themselves."""
    for table in t.metadata.sorted_tables:
        if table not in (t.lease, t.setup_token, t.failed_try) and connection.execute(select(table).limit(1)).first():
            return table.name
    return None


def _fill(connection: Connection, table: Table, contents: Contents, rows: Iterator[list[Any]]) -> None:
    columns = [table.c[name] for name in contents.columns]
    target = Table(
        table.name,
        MetaData(),
        *(Column(each.name, _Stored() if isinstance(each.type, JSON) else each.type) for each in columns),
    )
    read = [_reader(each) for each in columns]
    try:
        while batch := list(islice(rows, _BATCH)):
            values = [
                {name: reader(value) for name, reader, value in zip(contents.columns, read, row, strict=True)}
                for row in batch
            ]
            connection.execute(target.insert(), values)
    except DBAPIError as error:
        reason = str(error.orig).splitlines()[0]
        raise HubError(
            f"A row of “{table.name}” does not fit into this database: {reason}. Nothing was restored."
        ) from error


class _Stored(UserDefinedType[str]):
    """JSON as the text it was stored as."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "JSON"


def _reader(column: Column[Any]) -> Callable[[Any], Any]:
    kinds: Mapping[type, Callable[[Any], Any]] = {
        UUID: UUID,
        bytes: base64.b64decode,
        datetime: datetime.fromisoformat,
    }
    kind = datetime if isinstance(column.type, t.Moment) else column.type.python_type
    read = kinds.get(kind)
    return lambda value: value if value is None or read is None else read(value)


def _catch_up(connection: Connection) -> None:
    """The backup is older than the world: whatever happened since is asked for, and nothing is done twice."""
    now = Database.now(connection)
    connection.execute(delete(t.lease))
    connection.execute(delete(t.session))
    connection.execute(delete(t.second_step))
    connection.execute(delete(t.failed_try))
    connection.execute(delete(t.setup_token))
    connection.execute(update(t.cursor).where(t.cursor.c.due_at.is_not(None)).values(due_at=now))
    connection.execute(update(t.connection).values(not_before=None, failures=0))
    # What a channel had taken in may have come true meanwhile, or not: every figure is read before it is written.
    connection.execute(
        update(t.publication).values(
            not_before=now + _READ_BEFORE_WRITING, verify_at=now + _READ_BACK, attempts=0, pending_id=None
        )
    )
    connection.execute(
        update(t.effect)
        .where(t.effect.c.state.in_(("planned", "in_flight")))
        .values(state="planned", unclear=True, lease_until=None, due_at=now)
    )
