"""What most tests start from: an empty database of each kind, keys, a merchant, a clock that stands still, a Redis."""

from __future__ import annotations

import copy
import gc
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID
from zlib import crc32

import pytest
import structlog
from flask import Flask
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from sqlalchemy import event, insert
from sqlalchemy.engine import make_url
from werkzeug.routing import Rule

from hub.store import tables
from hub.store.database import Database, new_id
from hub.store.secrets import KeyRing, new_key
from hub.testing import Clock, ConnectorContract
from tests import servers

# Where Python may keep nothing that it compiles, each process that a test starts would compile the whole hub first.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Until all tests are collected next to nothing is garbage, and looking for it takes most of the time.
gc.disable()


@pytest.fixture(scope="session", autouse=True)
def _plain_logs() -> None:
    # The renderer for a developer's terminal spends a third of a second on each traceback.
    structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()])


class _Compiled(BytecodeCache):
    """Each template as it was first compiled: without this every application compiles them all anew."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if kept := self._kept.get(bucket.key):
            bucket.bytecode_from_string(kept)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._kept[bucket.key] = bucket.bytecode_to_string()


@pytest.fixture(scope="session", autouse=True)
def _templates() -> None:
    Flask.jinja_options = {"bytecode_cache": _Compiled()}


@pytest.fixture(scope="session", autouse=True)
def _addresses() -> None:
    """Each way to write an address as it was first compiled: that is nearly all of what making an application takes."""
    compile_anew = Rule._compile_builder
    kept: dict[tuple[object, ...], Callable[..., tuple[str, str]]] = {}

    def compiled(rule: Rule, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        of_what = (rule.rule, rule.subdomain, rule.host, repr(rule.defaults), append_unknown)
        if of_what not in kept:
            kept[of_what] = compile_anew(rule, append_unknown)
        return kept[of_what]

    Rule._compile_builder = compiled  # type: ignore[method-assign]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest) -> Database:
    """An empty database with all tables. Another process opens the same one at ``database_url``."""
    database: Database = request.getfixturevalue(f"_{request.param}_database")
    return database


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


@pytest.fixture
def clock() -> Clock:
    """A clock that stands at noon on 2 March 2026."""
    return Clock()


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
    """``eventually(condition)`` waits until the condition is true, or fails after a minute."""
    return servers.eventually


# ---------------------------------------------------------------- an empty database per test
#
# All tests of a worker share one engine of each kind: the engine keeps the statements it has compiled, and a test that
# compiled its own would spend more time on that than on anything else.


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    template = Database(f"sqlite:///{path}")
    tables.metadata.create_all(template.engine)
    template.close()
    return path


@pytest.fixture(scope="session")
def _sqlite_engine(_sqlite_template: Path) -> Callable[[Path], Database]:
    """``open(path)`` is the database in this file; the one opened before may no longer be used."""
    shared = Database(f"sqlite:///{_sqlite_template}")
    opened = _sqlite_template

    @event.listens_for(shared.engine, "do_connect")
    def _connect(_dialect: object, _record: object, arguments: list[object], _options: object) -> None:
        arguments[:] = [str(opened)]

    @event.listens_for(shared.engine, "connect")
    def _leave_the_disk_alone(connection: sqlite3.Connection, _record: object) -> None:
        # Tests kill processes, which loses nothing that was written; nobody pulls the plug of the machine.
        connection.execute("pragma synchronous=off")

    def open_file(path: Path) -> Database:
        nonlocal opened
        opened = path
        database = copy.copy(shared)
        database.url = make_url(f"sqlite:///{path}")
        return database

    return open_file


@pytest.fixture
def _sqlite_database(
    _sqlite_template: Path, _sqlite_engine: Callable[[Path], Database], tmp_path: Path
) -> Iterator[Database]:
    path = tmp_path / "hub.db"
    shutil.copyfile(_sqlite_template, path)
    database = _sqlite_engine(path)
    yield database
    database.close()


@pytest.fixture(scope="session")
def _postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    here = tmp_path_factory.getbasetemp()
    try:
        address = servers.postgres(here.parent if worker else here)
    except servers.NotHere as reason:
        pytest.skip(str(reason))
    name = f"tallyhub_test_{worker or 'alone'}_{os.getpid()}"
    with servers.empty_database(address, name) as url:
        created = Database(url, pooled=False)
        tables.metadata.create_all(created.engine)
        created.close()
        yield url


@pytest.fixture(scope="session")
def _postgres_engine(_postgres_url: str) -> Iterator[Database]:
    shared = Database(_postgres_url)
    yield shared
    shared.close()


# Deleting from tables that are almost empty takes far less time than truncating them, and a function is planned once.
# Ledgers refuse to be deleted from, but not in this mode. A process that a test has killed may have left a transaction
# open; connections that rest stay, since a new one has to learn of all tables anew.
_EMPTY = """
create function empty_all_tables() returns void language plpgsql
set session_replication_role = replica set plan_cache_mode = auto as $$ begin
perform pg_terminate_backend(pid) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle';
{}
end $$
"""


@pytest.fixture(scope="session")
def _empty_postgres(_postgres_url: str) -> Iterator[Callable[[], None]]:
    emptier = Database(_postgres_url, pool_size=1)
    with emptier.write() as connection:
        emptied = (f'delete from "{table.name}";' for table in reversed(tables.metadata.sorted_tables))
        connection.exec_driver_sql(_EMPTY.format("\n".join(emptied)))

    def empty() -> None:
        with emptier.write() as connection:
            connection.exec_driver_sql("select empty_all_tables()")

    yield empty
    emptier.close()


@pytest.fixture
def _postgresql_database(_postgres_engine: Database, _empty_postgres: Callable[[], None]) -> Iterator[Database]:
    _empty_postgres()
    database = copy.copy(_postgres_engine)
    yield database
    if database.engine.pool.checkedout():  # somebody was killed or forgot it
        database.close()


# ---------------------------------------------------------------- what is collected


# Of each contract so many cases are tried with the suite; `make certify` tries them all.
_ONE_CASE_IN = 8
# That both kinds of database keep what is asked of them alike is tested in the rest of tests/store. Of what is about a
# whole hub or warehouse at work, or about many variants of one thing, each test has its turn in one kind with the
# suite, in the other with `make twins`. What several do at once is tried in both.
_IN_ONE_KIND = (
    "tests/explain/",
    "tests/jobs/",
    "tests/ops/test_audit.py::test_notices",
    "tests/store/test_goods_that_leave.py",
    "tests/store/test_packed_together.py",
    "tests/store/test_packing_bench.py",
    "tests/store/test_stock_import.py",
    "tests/store/test_third_party_orders.py",
    "tests/store/test_third_party_stock.py",
    "tests/store/test_warehouse_documents.py",
)
_AT_ONCE = {"at_once", "threading"}  # what a test uses of which several are at the same rows


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Leave most cases of the connectors' contracts to `make certify`: another share of each, always the same. What is
    tested in both kinds of database leaves one of them to `make twins`, unless it is marked as being about both.

    The tests that were given more time than the others begin first, so that at the end nobody waits for one alone.
    """
    collected = {item.nodeid for item in items}
    for item in items:
        kind = getattr(item, "cls", None)
        of_contract = isinstance(kind, type) and issubclass(kind, ConnectorContract)
        if of_contract and crc32(item.nodeid.encode()) % _ONE_CASE_IN:
            item.add_marker(pytest.mark.certify)
        if item.nodeid.startswith(_IN_ONE_KIND) and _is_twin(item, collected):
            item.add_marker(pytest.mark.twin)
    yield
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)


def _is_twin(test: pytest.Item, collected: set[str]) -> bool:
    """Whether the same test is collected for both kinds of database, and this is the one left out of the suite."""
    name, _, cases = test.nodeid.partition("[")
    for here, there, share in (("sqlite", "postgresql", 0), ("postgresql", "sqlite", 1)):
        if here in cases and f"{name}[{cases.replace(here, there, 1)}" in collected:
            either = f"{name}[{cases.replace(here, '', 1)}"
            return crc32(either.encode()) % 2 == share and not _is_about_both(test)
    return False


def _is_about_both(test: pytest.Item) -> bool:
    used = test.function.__code__.co_names if isinstance(test, pytest.Function) else ()
    return test.get_closest_marker("both") is not None or not _AT_ONCE.isdisjoint(used)


def pytest_collection_finish() -> None:
    """From here on collect what tests leave behind, seldom, and never look at the modules and tests that stay."""
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    gc.enable()
