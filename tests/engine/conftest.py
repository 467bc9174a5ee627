"""A merchant's connection to stand on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, update

from hub.store import tables as t
from hub.store.database import Database, new_id


@pytest.fixture
def connect(database: Database, merchant: UUID) -> Callable[[], UUID]:
    """Adds a connection to the merchant, called "Green Shop", and returns its id."""

    def connect() -> UUID:
        connection_id = new_id()
        with database.write() as connection:
            connection.execute(
                insert(t.connection).values(
                    merchant_id=merchant,
                    id=connection_id,
                    connector="fake",
                    label="Green Shop",
                    state="connected",
                    settings={},
                    created_at=database.now(connection),
                )
            )
        return connection_id

    return connect


@pytest.fixture
def connection_id(connect: Callable[[], UUID]) -> UUID:
    """The id of a connection of ``merchant``."""
    return connect()


@pytest.fixture
def change(database: Database) -> Callable[..., None]:
    """``change(table, column=value)`` sets columns of all rows of a table, as time or a person would."""

    def change(table: Any, **values: Any) -> None:
        with database.write() as connection:
            connection.execute(update(table).values(values))

    return change
