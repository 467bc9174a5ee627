"""Tenancy: the database itself refuses a row of one merchant that points at a row of another, for every foreign key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Table, UniqueConstraint, insert, text, update
from sqlalchemy.exc import IntegrityError

from hub.errors import BadInput, Conflict
from hub.store import connections, kits, matching
from hub.store import tables as t
from hub.store import warehouse as house
from hub.store.database import Database, new_id
from hub.store.secrets import KeyRing
from tests.ops.shop import Shop
from tests.store.warehouse import OWNER, Warehouse

OF_NOBODY = {"session", "setup_token", "second_step", "failed_try", "lease", "postal_place"}
WITHOUT_MERCHANT = {"merchant", "user_account", "recovery_code"} | OF_NOBODY
TENANTS = [table for table in t.metadata.sorted_tables if table.name not in WITHOUT_MERCHANT]
ACROSS = [
    (table, key)
    for table in t.metadata.sorted_tables
    for key in sorted(table.foreign_key_constraints, key=lambda key: str(key.name))
    if "merchant_id" in table.c and len(key.column_keys) > 1
]


@pytest.mark.parametrize("table", TENANTS, ids=lambda table: table.name)
def test_every_key_begins_with_the_merchant(table: Table) -> None:
    keys = [table.primary_key.columns.keys()]
    keys += [key.columns.keys() for key in table.constraints if isinstance(key, UniqueConstraint)]
    keys += [index.columns.keys() for index in table.indexes if index.unique]

    assert {key[0] for key in keys} == {"merchant_id"}
    for foreign in table.foreign_key_constraints:
        if foreign.referred_table.name not in ("merchant", "user_account"):
            assert foreign.column_keys[0] == "merchant_id"
            assert next(iter(foreign.elements)).column.name == "merchant_id"


def test_only_these_tables_belong_to_no_merchant() -> None:
    keyless = {table.name for table in t.metadata.sorted_tables if "merchant_id" not in table.primary_key.columns}

    assert keyless == WITHOUT_MERCHANT


@pytest.fixture
def two_merchants(database: Database, keyring: KeyRing) -> tuple[Shop, Mapping[Table, Mapping[str, Any]]]:
    """A shop with one row of everything, and the rows of a second merchant who has just the same."""
    with database.write() as connection:
        shop = Shop(connection, keyring)
        ids: dict[UUID, UUID] = {}
        theirs: dict[Table, dict[str, Any]] = {}
        for table, row in shop.rows:
            if table.name in OF_NOBODY:
                continue
            changed = {
                name: ids.setdefault(value, new_id()) if isinstance(value, UUID) else value
                for name, value in row.items()
            }
            if table is t.user_account:
                changed["email"] = "other@b.example"
            connection.execute(insert(table).values(**changed))
            theirs.setdefault(table, changed)
    return shop, theirs


def test_the_database_refuses_a_reference_to_another_merchants_row(
    database: Database, two_merchants: tuple[Shop, Mapping[Table, Mapping[str, Any]]]
) -> None:
    shop, theirs = two_merchants
    unguard = "drop trigger {0}_no_update" if database.is_sqlite else "alter table {0} disable trigger user"
    accepted = []
    for table, key in ACROSS:
        there = theirs[key.referred_table]
        values = {each.parent.name: there[each.column.name] for each in key.elements}
        del values["merchant_id"]
        ours = next(row for each, row in shop.rows if each is table)
        this = [column == ours[column.name] for column in table.primary_key]
        try:
            with database.write() as connection:
                if table in t.APPEND_ONLY:  # guarded twice: this test is about the key
                    connection.execute(text(unguard.format(table.name)))
                assert connection.execute(update(table).where(*this).values(**values)).rowcount == 1
                accepted.append(f"{table.name}: {', '.join(key.column_keys)}")
                connection.rollback()
        except IntegrityError as refusal:
            assert re.search("(?i)foreign key", str(refusal)), (table.name, key.column_keys)

    assert (accepted, len(ACROSS) > 90) == ([], True)


def test_another_merchants_ids_are_as_if_they_did_not_exist(warehouse: Warehouse, database: Database) -> None:
    mine, theirs = warehouse, Warehouse(database, warehouse.keyring, new_id())
    with database.write() as connection:
        connection.execute(
            insert(t.merchant).values(id=theirs.merchant, name="Other", created_at=database.now(connection))
        )
    shop, place, sku = theirs.connect(), theirs.location(), theirs.sku("MUG", 5)
    listing = theirs.listing(shop, "7", sku)
    before = theirs.digest(*t.metadata.sorted_tables)
    here = (database, mine.merchant)

    for trespass in (
        lambda: connections.pause(*here, shop, OWNER),
        lambda: connections.remove(*here, shop, OWNER, keyring=warehouse.keyring, connector=None),
        lambda: connections.go_live(*here, shop, OWNER),
        lambda: connections.sync_now(*here, shop, OWNER),
        lambda: connections.adopt_stock(*here, shop, OWNER),
        lambda: matching.bind(*here, listing, "MINE", OWNER),
        lambda: matching.unbind(*here, listing, OWNER),
        lambda: connections.bind_location(*here, shop, "", None, OWNER),
        lambda: connections.pool_locations(*here, shop, "", [place], OWNER),
        lambda: house.adjust(*here, sku, place, 3, "counted", OWNER, "form/1"),
        lambda: house.adjust(*here, mine.sku("MINE"), place, 3, "counted", OWNER, "form/2"),
        lambda: kits.define(*here, mine.sku("BOX"), {sku: 1}, OWNER),
    ):
        with pytest.raises((BadInput, Conflict)):
            trespass()

    assert matching.accept_suggestions(*here, shop, [listing], OWNER).matched == 0
    with database.write() as connection:
        for table in (t.sku_word, t.sku):
            connection.execute(table.delete().where(table.c.merchant_id == mine.merchant))
    assert theirs.digest(*t.metadata.sorted_tables) == before
