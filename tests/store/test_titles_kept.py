"""The titles that suggestions are made of are read once, and new SKUs as they come."""

from __future__ import annotations

from hub.store import tables as t
from hub.store.matching import Titles
from tests.statements import statements
from tests.store.warehouse import Warehouse


def titled(warehouse: Warehouse, code: str, title: str) -> None:
    sku_id = warehouse.sku(code)
    with warehouse.database.write() as connection:
        connection.execute(t.sku.update().where(t.sku.c.id == sku_id).values(title=title))


def test_titles_are_read_once_and_new_ones_are_found_all_the_same(warehouse: Warehouse) -> None:
    titled(warehouse, "TEA-1", "Green tea, 100 g")
    with warehouse.database.read() as connection:
        first = Titles.of(connection, warehouse.merchant)
    titled(warehouse, "TEA-2", "White tea, 50 g")

    with warehouse.database.read() as connection:
        second = Titles.of(connection, warehouse.merchant)

    assert second is first
    assert next(code for _, code, _, _ in second.like("White tea 50 g")) == "TEA-2"
    assert next(code for _, code, _, _ in second.like("Green tea 100 g")) == "TEA-1"
    assert len({code for _, code, _, _ in second.like("tea 100 g")}) == len(second.like("tea 100 g")), "none twice"


def test_only_the_newest_are_read_again(warehouse: Warehouse) -> None:
    titled(warehouse, "TEA-1", "Green tea, 100 g")
    with warehouse.database.read() as connection:
        Titles.of(connection, warehouse.merchant)

    with statements(warehouse.database) as said, warehouse.database.read() as connection:
        Titles.of(connection, warehouse.merchant)

    renamed, query = (each.text for each in said if "FROM sku" in each.text)
    assert "max(sku.titled_at)" in renamed
    assert "sku.id >" in query


def test_titles_of_skus_that_are_gone_are_forgotten(warehouse: Warehouse) -> None:
    titled(warehouse, "TEA-1", "Green tea, 100 g")
    with warehouse.database.read() as connection:
        Titles.of(connection, warehouse.merchant)
    with warehouse.database.write() as connection:
        connection.execute(t.sku_word.delete())
        connection.execute(t.sku.delete())
    titled(warehouse, "TEA-2", "White tea, 50 g")

    with warehouse.database.read() as connection:
        titles = Titles.of(connection, warehouse.merchant)

    assert "TEA-1" not in [code for _, code, _, _ in titles.like("Green tea, 100 g")]
    assert [code for _, code, _, _ in titles.like("White tea, 50 g")] == ["TEA-2"]
