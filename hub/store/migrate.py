"""Bringing a database to the schema this version works with, in one transaction, or saying why that cannot be."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text

from hub.errors import HubError
from hub.store.database import Database

_FOLDER = Path(__file__).parents[1] / "migrations"
_LOCK = 0x7A11_4B0B  # any number that means "somebody migrates this database"


class SchemaTooNew(HubError):
    """A newer version has upgraded this database: working on it with what we know could damage it."""


def current(database: Database) -> str | None:
    """The revision the database is at, None for one without our tables."""
    with database.read() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def is_current(database: Database) -> bool:
    """Whether the database is at the newest revision. Raises SchemaTooNew when it is beyond that."""
    revision, scripts = current(database), _scripts(_config())
    _refuse_newer(revision, scripts)
    return revision == scripts.get_current_head()


def upgrade(database: Database) -> None:
    """Run what is missing, all or nothing. Two at once do it once. Raises SchemaTooNew, and changes nothing then."""
    config = _config()
    scripts = _scripts(config)
    with database.engine.connect() as connection:
        # A table made anew (the only way to alter one on SQLite) would run into the foreign keys that point at it;
        # they can be switched off only outside a transaction, and are checked as a whole before the commit.
        _sqlite_foreign_keys(connection, on=False)
        try:
            with connection.begin():
                if not database.is_sqlite:  # there, BEGIN IMMEDIATE lets one in at a time
                    connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
                _refuse_newer(MigrationContext.configure(connection).get_current_revision(), scripts)
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                _check_sqlite_foreign_keys(connection)
        finally:
            _sqlite_foreign_keys(connection, on=True)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    return config


def _scripts(config: Config) -> ScriptDirectory:
    return ScriptDirectory.from_config(config)


def _refuse_newer(revision: str | None, scripts: ScriptDirectory) -> None:
    if revision is None:
        return
    try:
        scripts.get_revision(revision)
    except CommandError as error:
        raise SchemaTooNew(
            f"This database was upgraded by a newer Tallyhub (schema {revision}). "
            "Install that version again, or restore a backup made before the upgrade. Nothing was changed."
        ) from error


def _sqlite_foreign_keys(connection: Connection, *, on: bool) -> None:
    driver = connection.connection.dbapi_connection
    if connection.dialect.name == "sqlite" and driver is not None:
        driver.cursor().execute(f"PRAGMA foreign_keys={'ON' if on else 'OFF'}")


def _check_sqlite_foreign_keys(connection: Connection) -> None:
    if connection.dialect.name != "sqlite":
        return
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if broken is not None:
        raise HubError(
            f"The upgrade would leave a row of “{broken[0]}” without its “{broken[2]}”, so it was undone. "
            "Please report this; the version before goes on working."
        )
