"""A hub among stalls of the tutorial's vendor: what the pages tell is played through with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from hub import plugins
from hub.store.database import Database
from hub.store.secrets import KeyRing
from tests.town import Town, town


@pytest.fixture
def database(_sqlite_database: Database) -> Iterator[Database]:
    """One kind of database is enough here: that both behave alike is the business of the tests of the store."""
    yield _sqlite_database
    _sqlite_database.close()


@pytest.fixture
def larkmart_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tutorial's distribution as `pip install` would leave it: its metadata on the path beside its package."""
    about = tmp_path / "site" / "tallyhub_larkmart-0.1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: tallyhub-larkmart\nVersion: 0.1.0\n")
    (about / "entry_points.txt").write_text("[hub]\nlarkmart = hub_larkmart\n")
    monkeypatch.syspath_prepend(about.parent)


@pytest.fixture
def hub_town(
    database: Database, keyring: KeyRing, merchant: UUID, tmp_path: Path, larkmart_installed: None
) -> Iterator[Town]:
    with town(database, keyring, merchant, plugins.load(["tallyhub-larkmart"]), tmp_path) as built:
        yield built
