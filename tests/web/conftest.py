"""The hub's pages on an empty SQLite database, with an owner and a staff member who can sign in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from hub.app import create_app
from hub.jobs import Hub
from hub.store.database import Database
from hub.web import entrance, settings
from tests.web.client import Browser
from tests.web.shop_builder import Furnished, Shop, furnish, hub_on, open_shop


@pytest.fixture
def hub(_sqlite_database: Database, tmp_path: Path) -> Iterator[Hub]:
    """A hub on SQLite: most pages say the same on both databases."""
    yield hub_on(_sqlite_database, tmp_path)
    _sqlite_database.close()


@pytest.fixture(autouse=True)
def _nobody_waits() -> None:
    """Failures that another test caused slow nobody down here."""
    for throttle in (entrance._per_pair, entrance._per_network, entrance._per_account, settings._guesses):
        throttle.forget()


@pytest.fixture
def app(hub: Hub) -> Flask:
    return create_app(hub)


@pytest.fixture
def shop(hub: Hub) -> Shop:
    """A merchant whose owner is ada@tea.example and whose staff is joan@tea.example."""
    shop = open_shop(hub)
    shop.person("ada@tea.example")
    shop.person("joan@tea.example", "staff", "Joan")
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
