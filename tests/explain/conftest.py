"""A warehouse to explain, in each kind of database."""

from __future__ import annotations

from uuid import UUID

import pytest

from hub.store.database import Database
from hub.store.secrets import KeyRing
from tests.store.warehouse import Warehouse


@pytest.fixture
def warehouse(database: Database, keyring: KeyRing, merchant: UUID) -> Warehouse:
    return Warehouse(database, keyring, merchant)
