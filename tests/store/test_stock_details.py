"""Files that set titles, safety stock and shelves, and make SKUs: each change shown, made once, and taken back."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from hub import access
from hub.access import GRANTS, NotPermitted, Role
from hub.certify.crashing import Killed
from hub.errors import BadInput, Conflict
from hub.store import matching, packing, searching, skus, stock_import
from hub.store import tables as t
from hub.store import warehouse as house
from hub.store.stock_import import Meaning
from tests.store.test_stock_import import File
from tests.store.warehouse import OWNER, Warehouse

HEADER = "SKU,Location,Title,Safety stock,Zone,Shelf\n"


class Details(File):
    """A file of details that somebody has handed in."""

    def __init__(self, warehouse: Warehouse, rows: str) -> None:
        super().__init__(warehouse, HEADER + rows, Meaning.DETAILS)

    def read_as(self, *, make_skus: bool = False, where: str | None = "Main warehouse") -> Details:
        place = self.warehouse.location(where) if where else None
        stock_import.choose(*self.here, self.id, self.meaning, self.head.columns, place, "", OWNER, make_skus=make_skus)
        self.work()
        return self

    def told(self) -> list[tuple[int, str, dict[str, Any]]]:
        """(line, fate, what changes)"""
        found = self.warehouse.rows(t.stock_import_row, t.stock_import_row.c.import_id == self.id)
        return sorted((row.line, row.state, row.details) for row in found)


def said(warehouse: Warehouse, sku: UUID) -> tuple[str, int, str, str]:
    """(title, safety stock, zone, shelf) of a SKU at the main warehouse."""
    (title,) = [row.title for row in warehouse.rows(t.sku, t.sku.c.id == sku)]
    (level,) = warehouse.rows(t.stock_level, t.stock_level.c.sku_id == sku)
    shelves = warehouse.rows(t.shelf, t.shelf.c.sku_id == sku)
    return title, level.safety_stock, *((shelves[0].zone, shelves[0].name) if shelves else ("", ""))


def found_by(warehouse: Warehouse, word: str) -> set[UUID]:
    return {row.sku_id for row in warehouse.rows(t.sku_word, t.sku_word.c.word == searching.fold(word))}


def test_every_change_is_shown_as_it_is_and_would_be_and_then_made(warehouse: Warehouse) -> None:
    mug, tee = warehouse.sku("MUG", 10), warehouse.sku("TEE", 4)
    title = said(warehouse, mug)[0]

    file = Details(warehouse, "MUG,,Big  mug,3,A,A-1\nTEE,Main warehouse,,,,B-2\n").read_as()

    changes = {"title": [title, "Big mug"], "safety_stock": [0, 3], "zone": ["", "A"], "shelf": ["", "A-1"]}
    assert file.told() == [(2, "ready", changes), (3, "ready", {"shelf": ["", "B-2"]})]
    assert said(warehouse, mug) == (title, 0, "", ""), "nothing is changed before a person has said so"

    file.apply()

    assert file.head.state == "applied"
    assert said(warehouse, mug) == ("Big mug", 3, "A", "A-1")
    assert said(warehouse, tee)[1:] == (0, "", "B-2"), "an empty cell leaves things as they are"
    assert found_by(warehouse, "big") == {mug}
    assert {row.cause for row in warehouse.rows(t.stock_entry)} == {"adopted"}, "no stock is moved"
    noted = {row.kind: row.actor for row in warehouse.rows(t.activity)}
    assert [noted.get(kind) for kind in ("sku_renamed", "safety_stock_set", "shelf_changed")] == [OWNER] * 3
    again = Details(warehouse, "MUG,,Big mug,3,A,A-1\nTEE,Main warehouse,,0,,B-2\n").read_as()
    assert again.told() == [(2, "unchanged", {}), (3, "unchanged", {})]
    warehouse.sound()


def test_what_was_set_is_taken_back_but_for_what_somebody_has_changed_since(warehouse: Warehouse) -> None:
    mug, tee = warehouse.sku("MUG", 10), warehouse.sku("TEE", 4)
    before, place = said(warehouse, mug), warehouse.location()
    file = Details(warehouse, "MUG,,Big mug,3,A,A-1\nTEE,,,5,,\n").read_as()
    file.apply()
    house.set_safety_stock(*file.here, tee, place, 7, OWNER)

    file.undo()

    assert [fate for _, fate, _ in file.told()] == ["undone", "kept"]
    assert file.problems() == {3: "Somebody has changed it since, and that stays."}
    assert (said(warehouse, mug), said(warehouse, tee)[1]) == (before, 7)
    assert found_by(warehouse, "big") == set()


def test_every_row_that_cannot_be_taken_says_why_by_its_line(warehouse: Warehouse) -> None:
    part, box = warehouse.sku("PART", 10), warehouse.sku("NEVER")
    warehouse.kit("BOX", {part: 1})
    rows = [
        (",,x,,,", "It names no SKU."),
        ("NOBODY,,x,,,", "There is no SKU or barcode “NOBODY” here."),
        ("BOX,,,2,,", "BOX is a kit, and lies nowhere"),
        ("PART,Moon,,2,,", "There is no location “Moon” here."),
        ("NEVER,,,2,,", "NEVER was never counted at Main warehouse. Count it there first."),
        ("PART,,,-1,,", "Its safety stock must be from 0 to"),
        ("PART,,,1.5,,", "“Safety stock” is"),
        (f"PART,,,,{'z' * 41},", "Its zone has 41 characters, and may have 40."),
        (f"PART,,,,,{'s' * 61}", "Its shelf has 61 characters, and may have 60."),
        (f"PART,,{'t' * 501},,,", "Its title has 501 characters, and may have 500."),
    ]

    file = Details(warehouse, "".join(f"{row}\n" for row, _ in rows)).read_as()

    problems = file.problems()
    assert [fate for _, fate, _ in file.told()] == ["bad"] * len(rows)
    for line, (row, why) in enumerate(rows, start=2):
        assert why in problems[line], row
    with pytest.raises(Conflict, match="nothing to apply"):
        file.apply()
    assert box


def test_rows_that_contradict_each_other_are_taken_neither_time(warehouse: Warehouse) -> None:
    warehouse.sku("MUG", 10)
    warehouse.location("Barn")
    rows = "MUG,Main warehouse,One,,,\nMUG,Barn,Two,,,\nNEW,,A,,,\nNEW,,B,,,\n"

    file = Details(warehouse, rows).read_as(make_skus=True)

    assert [fate for _, fate, _ in file.told()] == ["bad"] * 4
    agree = "Leave one of them, or make them agree."
    assert file.problems()[2] == f"Lines 2, 3 want different titles for one SKU. {agree}"
    assert file.problems()[4] == f"Lines 4, 5 would make the same SKU. {agree}"
    same = Details(warehouse, "MUG,Main warehouse,One,,,\nMUG,Barn,One,,,\n").read_as()
    same.apply()
    assert [fate for _, fate, _ in same.told()] == ["applied", "applied"]


def test_codes_that_are_new_become_skus_where_a_person_wants_that_and_stay(warehouse: Warehouse) -> None:
    refused = Details(warehouse, "NEW,,A thing,,,\n").read_as()
    assert [fate for _, fate, _ in refused.told()] == ["bad"]

    file = Details(warehouse, "NEW,,A thing,,,\nOTHER,,,1,,\n").read_as(make_skus=True)

    assert file.told()[0] == (2, "ready", {"sku": [None, "NEW"], "title": ["", "A thing"]})
    assert "has no stock yet" in file.problems()[3]
    file.apply()
    (made,) = warehouse.rows(t.sku)
    assert (made.code, made.title, made.counted_since, found_by(warehouse, "thing")) == (
        "NEW",
        "A thing",
        None,
        {made.id},
    )
    file.undo()
    assert [fate for _, fate, _ in file.told()] == ["kept", "bad"]
    assert "stays" in file.problems()[2]
    assert len(warehouse.rows(t.sku)) == 1


def test_what_was_changed_since_somebody_looked_is_shown_once_more(warehouse: Warehouse) -> None:
    mug, tee = warehouse.sku("MUG", 10), warehouse.sku("TEE", 4)
    file = Details(warehouse, "MUG,,,3,,\nTEE,,,5,,\n").read_as()
    house.set_safety_stock(*file.here, mug, warehouse.location(), 8, OWNER)

    file.apply()

    assert file.told() == [(2, "moved", {"safety_stock": [8, 3]}), (3, "applied", {"safety_stock": [0, 5]})]
    assert said(warehouse, mug)[1] == 8, "nobody has agreed to this change"
    file.apply()
    assert (said(warehouse, mug)[1], said(warehouse, tee)[1]) == (3, 5)


def test_a_worker_that_dies_half_way_leaves_each_row_whole_and_the_next_goes_on(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stock_import, "_ENTERED_AT_ONCE", 2)
    found = [warehouse.sku(f"S{number}", 1) for number in range(5)]
    file = Details(warehouse, "".join(f"S{number},,,{number + 1},,R{number}\n" for number in range(5))).read_as()
    shelve, calls = packing.set_shelf, []

    def dying(*arguments: Any) -> None:
        calls.append(arguments)
        shelve(*arguments)
        if len(calls) == 4:
            raise Killed("the worker is gone")

    monkeypatch.setattr(packing, "set_shelf", dying)
    with pytest.raises(Killed):
        file.apply()
    done = [fate for _, fate, _ in file.told()]
    assert done == ["applied", "applied", "ready", "ready", "ready"]
    assert [said(warehouse, sku)[1] for sku in found] == [1, 2, 0, 0, 0], "what died with it was not done"

    file.work()

    assert file.head.state == "applied"
    assert [said(warehouse, sku)[1:] for sku in found] == [(number + 1, "", f"R{number}") for number in range(5)]
    set_once = warehouse.rows(t.activity, t.activity.c.kind == "safety_stock_set")
    assert len(set_once) == 5


def test_a_file_does_nothing_that_its_person_could_not_do_by_hand(warehouse: Warehouse) -> None:
    warehouse.sku("MUG", 10)
    file = Details(warehouse, "MUG,,Big mug,3,,\n")
    here, columns = (*file.here, file.id, Meaning.DETAILS), dict(file.head.columns)

    with access.acting_as(GRANTS[Role.WAREHOUSE]):
        with pytest.raises(NotPermitted):
            stock_import.choose(*here, columns, warehouse.location(), "", OWNER)
        without = columns | {"title": ""}
        with pytest.raises(NotPermitted):
            stock_import.choose(*here, without, warehouse.location(), "", OWNER, make_skus=True)
        stock_import.choose(*here, without, warehouse.location(), "", OWNER)


def test_columns_that_set_nothing_are_refused_at_their_field(warehouse: Warehouse) -> None:
    file = Details(warehouse, "MUG,,Big mug,3,,\n")
    here = (*file.here, file.id, Meaning.DETAILS)

    with pytest.raises(BadInput) as nothing:
        stock_import.choose(*here, {"sku": "SKU"}, None, "", OWNER)
    with pytest.raises(BadInput) as nowhere:
        stock_import.choose(*here, {"sku": "SKU", "shelf": "Shelf"}, None, "", OWNER)
    with pytest.raises(BadInput) as twice:
        stock_import.choose(*here, {"sku": "SKU", "title": "SKU"}, None, "", OWNER)

    assert [list(each.value.fields) for each in (nothing, nowhere, twice)] == [["title"], ["location_id"], ["title"]]


def test_what_a_spreadsheet_was_kept_from_taking_for_a_formula_is_read_as_it_was_written(warehouse: Warehouse) -> None:
    mug = warehouse.sku("MUG", 10)
    skus.rename(warehouse.database, warehouse.merchant, mug, "=1+1; -x 'n' y", OWNER)

    file = Details(warehouse, "MUG,,\"'=1+1; '-x 'n' y\",,,\n").read_as()

    assert file.told() == [(2, "unchanged", {})]


# ---------------------------------------------------------------- the acts behind it


def test_a_sku_is_made_once_and_called_something_that_can_be(warehouse: Warehouse) -> None:
    here = (warehouse.database, warehouse.merchant)
    mug = skus.make(*here, " MUG ", " A  mug ", OWNER)

    with pytest.raises(Conflict, match="There is a SKU called MUG already"):
        skus.make(*here, "MUG", "", OWNER)
    with pytest.raises(BadInput):
        skus.make(*here, "a\nb", "", OWNER)
    with pytest.raises(BadInput, match="at most 500"):
        skus.rename(*here, mug, "x" * 501, OWNER)
    with pytest.raises(BadInput, match="does not exist"):
        skus.rename(warehouse.database, UUID(int=1), mug, "x", OWNER)

    (row,) = warehouse.rows(t.sku)
    assert (row.code, row.title, row.titled_at) == ("MUG", "A mug", None)


def test_suggestions_go_by_the_new_title(warehouse: Warehouse) -> None:
    mug = warehouse.sku("MUG", 1)
    here = (warehouse.database, warehouse.merchant)
    skus.rename(*here, mug, "Blue enamel mug", OWNER)
    with warehouse.database.read() as connection:
        assert [each[2] for each in matching.Titles.of(connection, warehouse.merchant).like("Blue enamel mug")] == [
            "Blue enamel mug"
        ]
    skus.rename(*here, mug, "Green wooden bowl", OWNER)

    with warehouse.database.read() as connection:
        titles = matching.Titles.of(connection, warehouse.merchant)

    assert list(titles.like("Blue enamel mug")) == []
    assert [each[2] for each in titles.like("Green wooden bowl")] == ["Green wooden bowl"]
