"""SKUs are found by the beginnings of the words of their codes and titles, and by the barcodes of what sells them."""

from __future__ import annotations

import random
from uuid import UUID

import pytest
from sqlalchemy import insert, select, update

from hub.store import matching, searching
from hub.store import tables as t
from hub.store.database import new_id
from hub.store.queries import finding, stock
from tests.store.warehouse import OWNER, Warehouse


def found(warehouse: Warehouse, text: str) -> list[str]:
    """What the stock list shows."""
    with warehouse.database.read() as connection:
        return [row.code for row in stock.stock(connection, warehouse.merchant, text=text)]


def called(warehouse: Warehouse, code: str, title: str) -> UUID:
    """A SKU whose title says something else than its code."""
    sku_id = new_id()
    with warehouse.database.write() as connection:
        at = warehouse.database.now(connection)
        values = {"merchant_id": warehouse.merchant, "id": sku_id, "code": code, "title": title, "created_at": at}
        connection.execute(insert(t.sku).values(**values))
        searching.add_skus(connection, warehouse.merchant, [(sku_id, code, title)])
    return sku_id


def test_a_code_is_found_by_its_pieces_and_a_title_by_its_words(warehouse: Warehouse) -> None:
    called(warehouse, "MUG-017-GRN", "Großer Becher")
    called(warehouse, "TEA-1", "Grüner Tee")

    for typed in ("mug", "MUG-0", "017", "grn", "grosser", "bech gr", "becher mug-017-grn"):
        assert found(warehouse, typed) == ["MUG-017-GRN"], typed
    assert found(warehouse, "gr") == ["MUG-017-GRN", "TEA-1"]
    assert found(warehouse, "ug") == found(warehouse, "tea becher") == [], "in the middle of a word, and of two SKUs"
    assert found(warehouse, "%") == [], "nothing that could be a word"


def test_a_sku_that_matching_makes_is_found_at_once(warehouse: Warehouse) -> None:
    shop = warehouse.connect("amber")
    listing_id = warehouse.listing(shop, "P1", None)

    matching.bind(warehouse.database, warehouse.merchant, listing_id, "JAR-7", OWNER)

    assert found(warehouse, "jar") == ["JAR-7"]
    warehouse.sound()


def test_a_barcode_finds_the_sku_of_its_listing_beside_what_is_called_so(warehouse: Warehouse) -> None:
    scanned, named = called(warehouse, "MUG", "Mug"), called(warehouse, "4006381333931", "A box of pens")
    shop = warehouse.connect("amber")
    listing_id = warehouse.listing(shop, "P1", scanned)
    with warehouse.database.write() as connection:
        connection.execute(update(t.listing).where(t.listing.c.id == listing_id).values(barcode="4006381333931"))

    assert found(warehouse, "4006381333931") == ["4006381333931", "MUG"]
    assert found(warehouse, "400638133") == ["4006381333931"], "a barcode is asked for whole"
    with warehouse.database.read() as connection:
        palette = finding.skus(connection, warehouse.merchant, "4006381333931", limit=5)
    assert [each.id for each in palette] == [named, scanned]


def test_the_palette_names_the_very_code_first_then_codes_that_begin_so(warehouse: Warehouse) -> None:
    for code, title in (("A-TEA", "Pot"), ("TEA", "Green"), ("TEA-2", "Black"), ("B", "Tea towel")):
        called(warehouse, code, title)

    with warehouse.database.read() as connection:
        palette = finding.skus(connection, warehouse.merchant, "tea", limit=5)

    assert [each.code for each in palette] == ["TEA", "TEA-2", "A-TEA", "B"]


@pytest.mark.parametrize("few", [1, 4, 1000])
def test_however_many_have_a_word_what_is_found_is_what_looking_at_each_sku_finds(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """Whatever counts as few, so that each way is taken: by what was read, by the database, and by both."""
    monkeypatch.setattr(searching, "_FEW_SKUS", few)
    chance = random.Random(few)
    words = {}
    for number in range(40):
        code = f"{chance.choice(('MUG', 'TEA', 'TIN'))}-{number:02d}"
        title = " ".join(chance.choices(("green", "grey", "tea", "tall", "old"), k=2))
        called(warehouse, code, title)
        words[code] = searching.sku_words(code, title)
    for _ in range(25):
        typed = chance.sample(
            ("mug", "te", "t", "gre", "grey", "0", "1", "07", "tall", "none"), chance.choice((1, 2, 3))
        )
        looked_for = searching.typed_words(" ".join(typed))
        expected = [
            code
            for code, said in sorted(words.items())
            if all(any(word.startswith(each) for word in said) for each in looked_for)
        ]
        assert found(warehouse, " ".join(typed)) == expected, typed


def test_another_merchants_skus_are_not_found(warehouse: Warehouse) -> None:
    called(warehouse, "MUG", "Mug")

    with warehouse.database.read() as connection:
        condition = searching.of_skus(connection, new_id(), "mug", ["mug"])
        assert connection.execute(select(t.sku.c.id).where(condition)).all() == []
