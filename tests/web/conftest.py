"""The hub's pages on an empty SQLite database, with an owner and a staff member who can sign in."""

from __future__ import annotations

from pathlib import Path

import pytest
from argon2 import PasswordHasher
from flask import Flask

from hub.app import create_app
from hub.jobs import Hub
from hub.store import accounts
from hub.store.database import Database
from tests.web.client import Browser
from tests.web.shop_builder import Furnished, Shop, furnish, hub_on, open_shop

_QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
_NOBODY = _QUICK.hash("what nobody types")


@pytest.fixture
def hub(_sqlite_database: Database, tmp_path: Path) -> Hub:
    """A hub on SQLite: most pages say the same on both databases."""
    return hub_on(_sqlite_database, tmp_path)


@pytest.fixture(autouse=True)
def _quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashing takes its time by design, at every sign-in; how it is really done is proven in test_accounts.py."""
    monkeypatch.setattr(accounts, "_hasher", _QUICK)
    monkeypatch.setattr(accounts, "_nobody", lambda: _NOBODY)


@pytest.fixture
def app(hub: Hub) -> Flask:
    return create_app(hub)


@pytest.fixture
def shop(hub: Hub) -> Shop:
    """A merchant whose owner is ada@tea.example and whose staff is joan@tea.example."""
    shop = open_shop(hub)
    shop.person("ada@tea.example")
    shop.person("joan@tea.example", "manager", "Joan")
    return shop


@pytest.fixture
def things(shop: Shop) -> Furnished:
    """One of everything in the shop."""
    return furnish(shop)


@pytest.fixture
def owner(app: Flask, shop: Shop) -> Browser:
    return Browser(app).sign_in("ada@tea.example")


@pytest.fixture
def staff(app: Flask, shop: Shop) -> Browser:
    return Browser(app).sign_in("joan@tea.example")
