"""A demo begins with an empty database, also where an earlier one left its ledgers, which nobody can delete from."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, func, select
from sqlalchemy.exc import DBAPIError

from hub import demo
from hub.store import tables as t
from hub.store.database import Database
from hub.store.secrets import KeyRing
from tests.ops.shop import Shop


def test_what_an_earlier_demo_left_is_forgotten_and_the_ledgers_stay_guarded(
    database: Database, keyring: KeyRing
) -> None:
    with database.write() as connection:
        Shop(connection, keyring)
        connection.execute(t.merchant.update().values(demo=True))
    with pytest.raises(DBAPIError, match="append-only"), database.write() as connection:
        connection.execute(delete(t.stock_entry))

    database.transact(demo._clear)

    with database.read() as connection:
        for table in t.metadata.sorted_tables:
            assert connection.execute(select(func.count()).select_from(table)).scalar_one() == 0, table.name
    with database.write() as connection:
        Shop(connection, keyring)
    with pytest.raises(DBAPIError, match="append-only"), database.write() as connection:
        connection.execute(delete(t.stock_entry))
