"""How often each page asks the database: as often for sixty of everything as a page may ask at all."""

from __future__ import annotations

from collections import defaultdict
from typing import Any
from uuid import UUID

from flask import Flask
from sqlalchemy import Connection, Integer, String, Table, Uuid, insert, select
from sqlalchemy.exc import IntegrityError

from hub.store import searching
from hub.store import tables as t
from hub.store.database import new_id
from tests.statements import statements
from tests.web.client import Browser
from tests.web.shop_builder import Furnished, Shop
from tests.web.test_pages_render import PUBLIC, pages

MOST = 15  # statements
MANY = 60


def asking_too_often(app: Flask, owner: Browser, shop: Shop, things: Furnished) -> dict[str, int]:
    """By address: how many statements the page takes, of those that take more than they may."""
    found = {}
    for path in [*pages(app, things), "/orders?q=tea+1001&status=open", "/orders?tag=vip&country=DE"]:
        if path in PUBLIC:
            continue
        with statements(shop.hub.database) as said:
            answer = owner.get(path)
        assert answer.status_code == 200, path
        if len(said) > MOST:
            found[path] = len(said)
    return found


def test_a_page_with_one_of_everything_asks_at_most_fifteen_times(
    app: Flask, owner: Browser, shop: Shop, things: Furnished
) -> None:
    assert asking_too_often(app, owner, shop, things) == {}


def test_a_page_with_sixty_of_everything_asks_at_most_fifteen_times(
    app: Flask, owner: Browser, shop: Shop, things: Furnished
) -> None:
    multiply(shop)

    assert asking_too_often(app, owner, shop, things) == {}


# ---------------------------------------------------------------- sixty of everything


def multiply(shop: Shop) -> None:
    """Sixty copies of each row of the merchant's: of a thing with an id of its own below what the first belongs to, of
    what has none below the copies of what it is about."""
    made: dict[UUID, list[UUID]] = defaultdict(list)
    with shop.hub.database.write() as db:
        counts = {table.name: _copy(db, table, shop.merchant_id, made) for table in t.metadata.sorted_tables}
        order_ids = db.execute(select(t.sales_order.c.id)).scalars().all()
        searching.keep_up(db, shop.merchant_id, order_ids)
    for name in ("sku", "listing", "publication", "stock_level", "stock_entry", "sales_order", "order_line", "issue"):
        assert counts[name] >= MANY, name
    for name in ("connection", "location", "allocation", "fulfillment_order", "shipment", "stock_document", "inbox"):
        assert counts[name] >= MANY, name


def _copy(db: Connection, table: Table, merchant_id: UUID, made: dict[UUID, list[UUID]]) -> int:
    if "merchant_id" not in table.c or table in (t.membership, t.session, t.order_word, t.sku_word):
        return 0
    copied = 0
    for row in db.execute(select(table).where(table.c.merchant_id == merchant_id)).mappings().all():
        for turn in range(MANY):
            values = dict(row) | _another(table, dict(row), turn, made)
            try:
                with db.begin_nested():
                    db.execute(insert(table).values(**values))
            except IntegrityError:
                break  # there can be only one
            copied += 1
            if "id" in table.primary_key.columns:
                made[row["id"]].append(values["id"])
    return copied


def _another(table: Table, row: dict[str, Any], turn: int, made: dict[UUID, list[UUID]]) -> dict[str, Any]:
    """What has to be different in a copy: its id or the first thing it is about, and what is unique."""
    unique = {
        column.name
        for each in (*table.constraints, *(index for index in table.indexes if index.unique))
        if each.__visit_name__ in ("unique_constraint", "primary_key_constraint", "index")
        for column in each.columns
    }
    referring = {column.name for each in table.foreign_keys for column in [each.parent]}
    changed: dict[str, Any] = {}
    for column in table.columns:
        value = row[column.name]
        if column.name not in unique or value is None:
            continue
        if column.name in referring:
            copies = made.get(value, []) if isinstance(column.type, Uuid) else []
            if "id" not in table.primary_key.columns and len(copies) == MANY and not changed:
                changed[column.name] = copies[turn]
        elif column.name == "id":
            changed["id"] = new_id()
        elif isinstance(column.type, Uuid):
            changed[column.name] = new_id()
        elif isinstance(column.type, Integer):
            changed[column.name] = value + turn + 1
        elif isinstance(column.type, String):
            changed[column.name] = f"{value}-{turn}"[-(column.type.length or 1000) :]
    return changed
