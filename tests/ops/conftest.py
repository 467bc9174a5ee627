"""What tests of the commands start from: a data folder of their own, and a hub that was set up in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import insert

from hub.cli import main
from hub.config import load_settings
from hub.store import migrate
from hub.store import tables as t
from hub.store.database import Database, new_id
from hub.store.secrets import KeyRing

Run = Callable[..., Result]


class SetUp(NamedTuple):
    """A hub with a merchant, as the commands find it."""

    database: Database
    keyring: KeyRing
    merchant: UUID
    folder: Path


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `hub` with these words, on a data folder of the test's own and without Redis."""
    monkeypatch.setenv("TALLYHUB_DATA_DIR", str(tmp_path / "hub"))
    monkeypatch.setenv("TALLYHUB_REDIS_URL", "none")
    return lambda *arguments: CliRunner().invoke(main, [str(each) for each in arguments])


@pytest.fixture
def set_up(run: Run, tmp_path: Path) -> Iterator[SetUp]:
    """A hub in the folder on which ``run`` works."""
    settings = load_settings()
    database = Database(settings.database_url, pooled=False)
    migrate.upgrade(database)
    merchant = new_id()
    with database.write() as connection:
        connection.execute(insert(t.merchant).values(id=merchant, name="Tea", created_at=database.now(connection)))
    yield SetUp(database, KeyRing(settings.secret_keys), merchant, tmp_path / "hub")
    database.close()
