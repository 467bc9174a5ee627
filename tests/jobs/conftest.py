"""A town to work in: a hub that knows the connectors that are installed, and those that only tests have."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from uuid import UUID

import pytest

from hub import plugins
from hub.plugins import Registry
from hub.store.database import Database
from hub.store.secrets import KeyRing
from tests.jobs.fake_shop import CarefulChannel, DealingChannel, FakeChannel, FeedChannel
from tests.town import Town, town

_installed = cache(plugins.load)  # looking for them among all that is installed takes its time


@pytest.fixture
def hub_town(database: Database, keyring: KeyRing, merchant: UUID, tmp_path: Path) -> Iterator[Town]:
    """An empty town, in each kind of database."""
    connectors = {each.name: each for each in (FakeChannel, CarefulChannel, DealingChannel, FeedChannel)}
    registry = Registry({**_installed().connectors, **connectors})
    with town(database, keyring, merchant, registry, tmp_path) as built:
        yield built
