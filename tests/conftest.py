"""What most tests start from: an empty database of each kind, keys, a merchant, a clock that stands still, a Redis."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID
from zlib import crc32

import pytest
import structlog
from sqlalchemy import insert, text
from sqlalchemy.engine import make_url

from hub.store import tables
from hub.store.database import Database, new_id
from hub.store.secrets import KeyRing, new_key
from hub.testing import ConnectorContract
from tests import servers


@pytest.fixture(scope="session", autouse=True)
def _plain_logs() -> None:
    # The renderer for a developer's terminal spends a third of a second on each traceback.
    structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()])


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """An empty database with all tables. Another process opens the same one at ``database_url``."""
    database: Database = request.getfixturevalue(f"_{request.param}_database")
    yield database
    database.close()


@pytest.fixture
def database_url(database: Database) -> str:
    """The address of ``database``."""
    return database.url.render_as_string(hide_password=False)


@pytest.fixture
def keyring() -> KeyRing:
    """A key ring with one fresh key."""
    return KeyRing([new_key()])


@pytest.fixture
def merchant(database: Database) -> UUID:
    """The id of a merchant in ``database``."""
    merchant_id = new_id()
    with database.write() as connection:
        now = database.now(connection)
        connection.execute(insert(tables.merchant).values(id=merchant_id, name="Corner Shop", created_at=now))
    return merchant_id


class Clock:
    """A clock that stands still until ``advance`` moves it. Call it for the time, aware and in UTC."""

    def __init__(self, start: datetime) -> None:
        self.now = start

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float = 0.0, **more: float) -> None:
        """Move on by ``seconds`` and whatever else timedelta takes (``minutes=5``)."""
        self.now += timedelta(seconds=seconds, **more)


@pytest.fixture
def clock() -> Clock:
    """A clock that stands at noon on 2 March 2026."""
    return Clock(datetime(2026, 3, 2, 12, 0, tzinfo=UTC))


@pytest.fixture
def redis_server() -> Iterator[servers.RedisServer]:
    """A running, empty Redis of the test's own: ``url``, ``client()``, ``stop()``, ``start()``, ``pause()``."""
    folder = Path(tempfile.mkdtemp(prefix="tallyhub-redis-"))
    server = servers.RedisServer(folder)
    try:
        server.start()
    except servers.NotHere as reason:
        pytest.skip(str(reason))
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def eventually() -> Callable[..., None]:
    """``eventually(condition, seconds=10)`` waits until the condition is true, or fails."""
    return servers.eventually


# ---------------------------------------------------------------- one database per worker, emptied per test


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    template = Database(f"sqlite:///{path}")
    tables.metadata.create_all(template.engine)
    template.close()
    return path


@pytest.fixture
def _sqlite_database(_sqlite_template: Path, tmp_path: Path) -> Database:
    path = tmp_path / "hub.db"
    shutil.copyfile(_sqlite_template, path)
    return Database(f"sqlite:///{path}")


@pytest.fixture(scope="session")
def _postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    here = tmp_path_factory.getbasetemp()
    try:
        address = servers.postgres(here.parent if worker else here)
    except servers.NotHere as reason:
        pytest.skip(str(reason))
    name = f"tallyhub_test_{worker or 'alone'}_{os.getpid()}"
    admin = Database(address, pooled=False)
    unbound = admin.engine.execution_options(isolation_level="AUTOCOMMIT")
    with unbound.connect() as connection:
        connection.execute(text(f'create database "{name}"'))
    url = make_url(address).set(database=name)
    created = Database(url.render_as_string(hide_password=False), pooled=False)
    tables.metadata.create_all(created.engine)
    created.close()
    yield url.render_as_string(hide_password=False)
    with unbound.connect() as connection:
        connection.execute(text(f'drop database "{name}" with (force)'))
    admin.close()


@pytest.fixture
def _postgresql_database(_postgres_url: str) -> Database:
    database = Database(_postgres_url)
    with database.write() as connection:
        # A process that a test before this one has killed may have left a transaction open.
        connection.execute(
            text(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
        )
        # Deleting from tables that are almost empty takes far less time than truncating them. Ledgers refuse to be
        # deleted from, but not in this mode.
        connection.exec_driver_sql("set local session_replication_role = replica")
        emptied = (f'delete from "{table.name}"' for table in reversed(tables.metadata.sorted_tables))
        connection.exec_driver_sql("; ".join(emptied))
    return database


# Of each contract so many cases are tried with the suite; `make certify` tries them all.
_ONE_CASE_IN = 4


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave most cases of the connectors' contracts to `make certify`: another share of each, always the same."""
    for item in items:
        kind = getattr(item, "cls", None)
        of_contract = isinstance(kind, type) and issubclass(kind, ConnectorContract)
        if of_contract and crc32(item.nodeid.encode()) % _ONE_CASE_IN:
            item.add_marker(pytest.mark.certify)
