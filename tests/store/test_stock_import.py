"""Files of stock: what is read of them, what is refused and why, and that what is applied is applied exactly once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event, update

from hub import access
from hub.access import NotPermitted, Role, acting_as
from hub.core.stock import Condition
from hub.errors import BadInput, Conflict, Unreadable
from hub.store import stock_import
from hub.store import tables as t
from hub.store import warehouse as house
from hub.store.database import new_id
from hub.store.stock_import import Meaning
from tests.core.making import a_line, an_order
from tests.statements import statements
from tests.store.warehouse import OWNER, Warehouse

MUCH = 10**6


class File:
    """A file that somebody has handed in."""

    def __init__(self, warehouse: Warehouse, content: str | bytes, meaning: Meaning = Meaning.COUNTED) -> None:
        self.warehouse, self.meaning = warehouse, meaning
        body = content.encode() if isinstance(content, str) else content
        self.here = (warehouse.database, warehouse.merchant)
        self.id = stock_import.hand_in(*self.here, "stock.csv", body, OWNER)

    def read(self, where: str | None = "Main warehouse", actor: str = OWNER) -> File:
        columns = self.warehouse.row(t.stock_import, t.stock_import.c.id == self.id).columns
        place = self.warehouse.location(where) if where else None
        stock_import.choose(*self.here, self.id, self.meaning, columns, place, "Spring count", actor)
        self.work()
        return self

    def work(self, steps: int = MUCH) -> None:
        for _ in range(steps):
            if stock_import.go_on(*self.here, lambda: True) is None:
                return

    def apply(self) -> int:
        moved = stock_import.apply(*self.here, self.id, OWNER)
        self.work()
        return moved

    def undo(self) -> None:
        stock_import.undo(*self.here, self.id, OWNER)
        self.work()

    @property
    def head(self) -> Any:
        return self.warehouse.row(t.stock_import, t.stock_import.c.id == self.id)

    def rows(self) -> list[tuple[int, str, int | None, int | None]]:
        """(line, fate, before, after)"""
        found = self.warehouse.rows(t.stock_import_row, t.stock_import_row.c.import_id == self.id)
        return sorted((row.line, row.state, row.before, row.after) for row in found)

    def problems(self) -> dict[int, str]:
        found = self.warehouse.rows(t.stock_import_row, t.stock_import_row.c.import_id == self.id)
        return {row.line: row.problem for row in found if row.problem}


def on_hand(warehouse: Warehouse, sku: UUID, where: str = "Main warehouse") -> int:
    level = t.stock_level.c
    found = warehouse.row(t.stock_level, level.sku_id == sku, level.location_id == warehouse.location(where))
    return int(found.on_hand)


def entries(warehouse: Warehouse, sku: UUID) -> list[tuple[str, int, int]]:
    """(cause, change, on hand after) of a SKU's ledger."""
    found = warehouse.rows(t.stock_entry, t.stock_entry.c.sku_id == sku)
    ordered = sorted(found, key=lambda row: (row.location_id, row.number))
    return [(row.cause, row.on_hand_delta, row.on_hand) for row in ordered]


# ---------------------------------------------------------------- what is applied


def test_counted_figures_become_a_count_and_what_is_as_it_was_is_left_alone(warehouse: Warehouse) -> None:
    mug, tee, new = warehouse.sku("MUG", 10), warehouse.sku("TEE", 4), warehouse.sku("NEW")

    file = File(warehouse, "SKU,Quantity\nMUG,7\ntee,4\nNEW,3\n").read()

    assert file.head.state == "preview"
    assert file.rows() == [(2, "ready", 10, 7), (3, "unchanged", 4, 4), (4, "ready", None, 3)]
    assert entries(warehouse, mug) == [("adopted", 10, 10)], "nothing is changed before a person has said so"

    assert file.apply() == 0

    assert file.head.state == "applied"
    assert file.rows() == [(2, "applied", 10, 7), (3, "unchanged", 4, 4), (4, "applied", None, 3)]
    assert (on_hand(warehouse, mug), on_hand(warehouse, tee), on_hand(warehouse, new)) == (7, 4, 3)
    assert entries(warehouse, mug) == [("adopted", 10, 10), ("counted", -3, 7)]
    (count,) = warehouse.rows(t.stock_document, t.stock_document.c.kind == "count")
    assert (count.reference, count.note, count.actor) == (f"import/{file.id.hex}/2", "Spring count", OWNER)
    warehouse.sound()


def test_changes_and_receipts_add_to_what_is_there_by_then(warehouse: Warehouse) -> None:
    mug = warehouse.sku("MUG", 10)
    changes = File(warehouse, "SKU,Quantity\nMUG,-4\n", Meaning.CHANGES).read()
    receipt = File(warehouse, "SKU,Quantity\nMUG,5\n", Meaning.RECEIPTS).read()
    warehouse.count(mug, 20)

    assert changes.apply() == 0
    assert receipt.apply() == 0

    assert changes.rows() == [(2, "applied", 20, 16)]
    assert receipt.rows() == [(2, "applied", 16, 21)]
    assert entries(warehouse, mug)[2:] == [("adjusted", -4, 16), ("received", 5, 21)]
    warehouse.sound()


def test_every_location_gets_a_document_of_its_own(warehouse: Warehouse) -> None:
    mug = warehouse.sku("MUG", 10)
    warehouse.location("Barn")

    file = File(warehouse, "Artikelnummer;Bestand;Lager\nMUG;8;main  WAREHOUSE\nMUG;5;Barn\n").read(None)
    file.apply()

    assert (on_hand(warehouse, mug), on_hand(warehouse, mug, "Barn")) == (8, 5)
    counts = warehouse.rows(t.stock_document, t.stock_document.c.kind == "count")
    assert {each.location_id for each in counts} == {warehouse.location(), warehouse.location("Barn")}
    warehouse.sound()


def test_a_receipt_serves_those_who_wait(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    mug = warehouse.sku("MUG", 0)
    warehouse.listing(shop, "mug", mug)
    warehouse.hear(shop, an_order(a_line(2)))
    assert warehouse.waiting(mug) == {"#100": 2}

    File(warehouse, "SKU,Quantity\nMUG,3\n", Meaning.RECEIPTS).read().apply()

    assert warehouse.waiting(mug) == {}
    assert warehouse.level(mug) == (3, 2)
    warehouse.sound()


# ---------------------------------------------------------------- what cannot be taken


def test_every_row_that_cannot_be_taken_says_why_by_its_line(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    mug, tee = warehouse.sku("MUG", 10), warehouse.sku("TEE", 10)
    warehouse.kit("BOX", {mug: 1})
    warehouse.listing(shop, "mug", mug)
    warehouse.hear(shop, an_order(a_line(3)))
    far = warehouse.location("Far away")
    with warehouse.database.write() as connection:
        connection.execute(update(t.location).where(t.location.c.id == far).values(kind="3pl"))
    bad = [
        "GONE,1,",
        ",1,",
        "TEE,,",
        "TEE,1.5,",
        "TEE,-1,",
        "BOX,1,",
        "TEE,1,Moon",
        "TEE,1,Far away",
        "MUG,2,",
        '"TEE,1,',
        "TEE",
        "TEE,9999999999999,",
        "1.23E+12,1,",
        "TEE,2000000000,",
        f"{'x' * 70_000},1,",
        "T\x00E,1,",
        "=1+1,1,",
    ]

    file = File(warehouse, "SKU,Quantity,Location\n" + "\n".join(bad) + "\n").read()

    assert file.problems() == {
        2: "There is no SKU or barcode “GONE” here. Match its listing first, or correct the code.",
        3: "It names no SKU.",
        4: "It has no quantity.",
        5: "“Quantity” is not a whole number.",
        6: "It is less than none. Where the numbers are changes, say so instead.",
        7: "BOX is a kit, and has no stock of its own. Count its parts instead.",
        8: "There is no location “Moon” here. Correct the name, or add it in the settings.",
        9: "Far away belongs to a 3PL: its stock is what the 3PL says. Correct it there.",
        10: "That would leave 2, and 3 are reserved for orders or set aside. If it is so, count this SKU on its own: "
        "its orders then wait again.",
        11: "A quote is opened and never closed.",
        12: "It has 1 columns where the header has 3.",
        13: "“Quantity” is not a whole number.",
        14: "“SKU” is a number that a spreadsheet has shortened (1.23E+12): have the column exported as text.",
        15: "The hub counts to 1,000,000,000.",
        16: "It is longer than 65,536 characters.",
        17: "“SKU” is too long, or not printable.",
        18: "There is no SKU or barcode “=1+1” here. Match its listing first, or correct the code.",
    }
    assert {fate for _, fate, _, _ in file.rows()} == {"bad"}
    with pytest.raises(Conflict, match="nothing to apply"):
        file.apply()
    assert (on_hand(warehouse, mug), on_hand(warehouse, tee)) == (10, 10)
    kept = {row.line: row.texts for row in warehouse.rows(t.stock_import_row)}
    assert len(kept) == len(bad), "none is lost"
    assert kept[2] == ["GONE", "1", ""]


def test_the_same_sku_twice_is_taken_neither_time(warehouse: Warehouse) -> None:
    warehouse.sku("MUG", 10)
    tee = warehouse.sku("TEE", 1)

    file = File(warehouse, "SKU,Quantity\nMUG,7\nTEE,2\nmug,8\n").read()

    twice = "Lines 2, 4 are about the same SKU at the same location. Leave one of them."
    assert file.problems() == {2: twice, 4: twice}
    file.apply()
    assert on_hand(warehouse, tee) == 2


def test_a_barcode_names_its_sku_and_a_change_needs_a_figure_to_change(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    mug = warehouse.sku("MUG", 3)
    warehouse.sku("NEW")
    warehouse.listing(shop, "mug", mug, barcode="4006381333931")

    file = File(warehouse, "EAN,Change\n4006381333931,-2\nNEW,1\nMUG,-9\n", Meaning.CHANGES).read()

    assert [row[:2] for row in file.rows()] == [(2, "ready"), (3, "bad"), (4, "bad")]
    assert file.problems() == {
        3: "It was never counted there, so that nothing can be added or taken away. Count it first.",
        4: "That would leave -6: there are 3.",
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "The file is empty."),
        (b"\n\n", "The file is empty."),
        (b"SKU\nMUG\n", "only one column"),
        (b"PK\x03\x04rest", "Excel workbook"),
        (b"SKU,Quantity\x00\n", "no text"),
        (b"SKU,SKU\nMUG,1\n", "same header"),
        (b'"SKU,Quantity\nMUG,1\n', "header of the file cannot be read"),
        (b"%PDF-1.7", "a PDF"),
    ],
)
def test_what_is_no_file_of_rows_is_refused_and_nothing_of_it_kept(
    warehouse: Warehouse, content: bytes, said: str
) -> None:
    with pytest.raises(Unreadable, match=said):
        File(warehouse, content)

    assert warehouse.rows(t.stock_import) == []


def test_a_file_that_is_too_large_is_refused(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stock_import, "MOST_ROWS", 2)
    with pytest.raises(BadInput, match="The file has 4 lines, and at most 2 are taken at once"):
        File(warehouse, "SKU,Quantity\nMUG,1\nTEE,1\nPEN,1\n")

    monkeypatch.setattr(stock_import, "LARGEST_FILE", 10)
    with pytest.raises(BadInput, match="larger than"):
        File(warehouse, "SKU,Quantity\n")
    assert warehouse.rows(t.stock_import) == []


@pytest.mark.parametrize(
    ("encoding", "told"), [("utf-8-sig", "utf-8-sig"), ("utf-16", "utf-16"), ("cp1252", "cp1252"), ("utf-8", "utf-8")]
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_usual_ways_to_write_a_file_are_recognized_and_told(
    warehouse: Warehouse, encoding: str, told: str, delimiter: str
) -> None:
    mug = warehouse.sku("TASSE-GRÜN", 1)
    content = "Artikelnummer;Stück;Größe\r\nTASSE-GRÜN;5;groß\r\n".replace(";", delimiter).encode(encoding)

    file = File(warehouse, content).read()
    file.apply()

    assert (file.head.encoding, file.head.delimiter) == (told, delimiter)
    assert on_hand(warehouse, mug) == 5


# ---------------------------------------------------------------- columns


def test_what_was_said_of_a_file_is_remembered_for_the_next_with_the_same_header(warehouse: Warehouse) -> None:
    warehouse.sku("MUG", 1)
    first = File(warehouse, "Foo,Bar\nMUG,2\n", Meaning.CHANGES)
    assert first.head.columns == {}
    columns = {"sku": "Foo", "quantity": "Bar", "location": ""}
    columns_without_a_place = {"sku": "SKU", "quantity": "Stock", "location": ""}
    stock_import.choose(*first.here, first.id, Meaning.CHANGES, columns, warehouse.location(), "", OWNER)

    second = File(warehouse, "Foo,Bar\nMUG,3\n")

    assert (second.head.columns, second.head.meaning) == ({"sku": "Foo", "quantity": "Bar"}, "changes")
    assert second.head.location_id == warehouse.location()
    wide = "SKU,Stock,Lager,Title\nMUG,2,Barn,A mug\n"
    third = File(warehouse, wide)
    stock_import.choose(
        *third.here, third.id, Meaning.COUNTED, columns_without_a_place, warehouse.location(), "", OWNER
    )
    assert File(warehouse, wide).head.columns == {"sku": "SKU", "quantity": "Stock", "title": "Title"}, (
        "what was said not to be there is not guessed; what nobody was asked about is"
    )


def test_columns_that_do_not_fit_are_refused_at_their_fields(warehouse: Warehouse) -> None:
    file = File(warehouse, "SKU,Quantity\nMUG,2\n")

    for columns, place, fields in (
        ({"sku": "", "quantity": "Quantity"}, warehouse.location(), {"sku"}),
        ({"sku": "SKU", "quantity": "Gone"}, warehouse.location(), {"quantity"}),
        ({"sku": "SKU", "quantity": "SKU"}, warehouse.location(), {"quantity"}),
        ({"sku": "SKU", "quantity": "Quantity"}, None, {"location_id"}),
        ({"sku": "SKU", "quantity": "Quantity"}, new_id(), {"location_id"}),
    ):
        with pytest.raises(BadInput) as refused:
            stock_import.choose(*file.here, file.id, Meaning.COUNTED, columns, place, "", OWNER)
        assert refused.value.fields.keys() == fields
    assert file.head.state == "columns"


def test_a_file_can_be_read_another_way_until_it_is_applied(warehouse: Warehouse) -> None:
    mug = warehouse.sku("MUG", 1)
    file = File(warehouse, "SKU,Quantity\nMUG,2\n").read()

    stock_import.choose_again(*file.here, file.id, OWNER)
    file.meaning = Meaning.CHANGES
    file.read().apply()

    assert on_hand(warehouse, mug) == 3
    with pytest.raises(Conflict):
        stock_import.choose_again(*file.here, file.id, OWNER)


# ---------------------------------------------------------------- meanwhile


def test_counted_stock_that_moved_is_worked_out_anew_and_looked_at_again(warehouse: Warehouse) -> None:
    mug, tee, pen = warehouse.sku("MUG", 10), warehouse.sku("TEE", 5), warehouse.sku("PEN", 2)
    file = File(warehouse, "SKU,Quantity\nMUG,7\nTEE,5\nPEN,3\n").read()
    warehouse.count(mug, 9)
    warehouse.count(tee, 4)

    assert file.apply() == 2

    assert file.head.state == "preview"
    assert file.rows() == [(2, "moved", 9, 7), (3, "moved", 4, 5), (4, "ready", 2, 3)]
    assert (on_hand(warehouse, mug), on_hand(warehouse, pen)) == (9, 2), "nothing is entered that nobody has seen"
    assert file.apply() == 0
    assert (on_hand(warehouse, mug), on_hand(warehouse, tee), on_hand(warehouse, pen)) == (7, 5, 3)


def test_a_row_that_moves_while_it_is_applied_waits_for_another_look(warehouse: Warehouse) -> None:
    mug, tee = warehouse.sku("MUG", 10), warehouse.sku("TEE", 5)
    file = File(warehouse, "SKU,Quantity\nMUG,7\nTEE,6\n").read()
    stock_import.apply(*file.here, file.id, OWNER)
    warehouse.count(mug, 9)

    file.work()

    assert file.head.state == "applied"
    assert file.rows() == [(2, "moved", 9, 7), (3, "applied", 5, 6)]
    assert (on_hand(warehouse, mug), on_hand(warehouse, tee)) == (9, 6)
    assert file.apply() == 0
    assert on_hand(warehouse, mug) == 7
    warehouse.sound()


def test_what_orders_have_reserved_meanwhile_is_not_taken_from_them(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    mug = warehouse.sku("MUG", 10)
    warehouse.listing(shop, "mug", mug)
    file = File(warehouse, "SKU,Quantity\nMUG,2\n").read()
    stock_import.apply(*file.here, file.id, OWNER)
    warehouse.hear(shop, an_order(a_line(3)))

    file.work()

    assert [row[:2] for row in file.rows()] == [(2, "refused")]
    assert "3 are reserved for orders" in file.problems()[2]
    assert warehouse.level(mug) == (10, 3)


def test_two_people_apply_files_about_the_same_stock_and_no_figure_is_lost(warehouse: Warehouse) -> None:
    mug = warehouse.sku("MUG", 10)
    hers = File(warehouse, "SKU,Quantity\nMUG,7\n").read()
    his = File(warehouse, "SKU,Quantity\nMUG,8\n").read()

    stock_import.apply(*hers.here, hers.id, OWNER)
    stock_import.apply(*his.here, his.id, OWNER)
    hers.work()

    assert hers.rows() == [(2, "applied", 10, 7)]
    assert his.rows() == [(2, "moved", 7, 8)], "he is told that it is 7 by now"
    assert entries(warehouse, mug) == [("adopted", 10, 10), ("counted", -3, 7)]


def test_only_who_handed_a_file_in_decides_about_it(warehouse: Warehouse) -> None:
    warehouse.sku("MUG", 10)
    file = File(warehouse, "SKU,Quantity\nMUG,7\n").read()
    acts: tuple[Callable[..., object], ...] = (stock_import.apply, stock_import.undo, stock_import.drop)

    for act in acts:
        with pytest.raises(Conflict, match=f"{OWNER} handed this file in"):
            act(*file.here, file.id, "joan@tea.example")

    assert file.head.state == "preview"


def test_who_may_not_change_stock_hands_nothing_in_and_applies_nothing(warehouse: Warehouse) -> None:
    warehouse.sku("MUG", 10)
    file = File(warehouse, "SKU,Quantity\nMUG,7\n").read()

    with acting_as(access.grants(Role.SUPPORT)):
        for act in (stock_import.apply, stock_import.undo, stock_import.drop, stock_import.choose_again):
            with pytest.raises(NotPermitted):
                act(*file.here, file.id, OWNER)
        with pytest.raises(NotPermitted):
            stock_import.hand_in(*file.here, "stock.csv", b"SKU,Quantity\n", OWNER)


# ---------------------------------------------------------------- a worker that dies, and many rows


def many(warehouse: Warehouse, count: int) -> list[UUID]:
    return [warehouse.sku(f"S-{number:05}", 1) for number in range(count)]


def test_a_worker_that_dies_anywhere_leaves_nothing_half_written_or_twice(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stock_import, "_APPLIED_AT_ONCE", 2)
    monkeypatch.setattr(stock_import, "_READ_AT_ONCE", 2)
    skus = many(warehouse, 5)
    content = "SKU,Quantity\n" + "".join(f"S-{number:05},{number + 2}\n" for number in range(5))
    file = File(warehouse, content)

    class Killed(BaseException):
        pass

    def die_at(number: int, act: Callable[[], object]) -> None:
        """Run ``act`` in a process that ends at its ``number``-th write."""
        seen = 0

        def count(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            nonlocal seen
            if statement.lstrip()[:6].upper() in ("INSERT", "UPDATE", "DELETE"):
                seen += 1
                if seen == number:
                    raise Killed

        event.listen(warehouse.database.engine, "before_cursor_execute", count)
        try:
            act()
        except Killed:
            pass
        finally:
            event.remove(warehouse.database.engine, "before_cursor_execute", count)

    columns = file.head.columns
    stock_import.choose(*file.here, file.id, Meaning.COUNTED, columns, warehouse.location(), "", OWNER)
    for number in (2, 3, 4, 5, 6):
        die_at(number, lambda: stock_import.go_on(*file.here, lambda: True))
        with warehouse.database.write() as connection:  # it is not its fault that it is killed again and again
            connection.execute(update(t.stock_import).values(attempts=0))
    file.work()
    assert [(fate, before, after) for _, fate, before, after in file.rows()] == [
        ("ready", 1, number + 2) for number in range(5)
    ]

    stock_import.apply(*file.here, file.id, OWNER)
    for number in range(2, 24, 3):
        die_at(number, lambda: stock_import.go_on(*file.here, lambda: True))
        with warehouse.database.write() as connection:
            connection.execute(update(t.stock_import).values(attempts=0))
    file.work()

    assert file.head.state == "applied"
    for number, sku in enumerate(skus):
        assert entries(warehouse, sku) == [("adopted", 1, 1), ("counted", number + 1, number + 2)]
    assert len(warehouse.rows(t.stock_document, t.stock_document.c.kind == "count")) == 3
    warehouse.sound()


def test_a_file_that_breaks_its_worker_down_is_given_back_with_a_message(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.sku("MUG", 1)
    file = File(warehouse, "SKU,Quantity\nMUG,2\n")

    def break_down(*_: object) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as broken:
        broken.setattr(stock_import, "_keep", break_down)
        columns = file.head.columns
        stock_import.choose(*file.here, file.id, Meaning.COUNTED, columns, warehouse.location(), "", OWNER)
        for _ in range(3):
            with pytest.raises(RuntimeError):
                file.work(1)
        file.work()

    assert file.head.state == "columns"
    assert file.head.message == "The hub broke down over this several times. Try again, or tell the operator."
    assert file.read().rows() == [(2, "ready", 1, 2)]


def test_a_reader_out_of_time_is_followed_by_one_that_goes_on_behind_it(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stock_import, "_READ_AT_ONCE", 1)
    warehouse.sku("MUG", 1)
    warehouse.sku("TEE", 1)
    file = File(warehouse, "SKU,Quantity\nMUG,2\nTEE,3\n")
    columns = file.head.columns
    stock_import.choose(*file.here, file.id, Meaning.COUNTED, columns, warehouse.location(), "", OWNER)

    stock_import.go_on(*file.here, lambda: False)

    assert (file.head.state, file.head.done, len(file.rows())) == ("reading", 1, 1)
    file.work()
    assert (file.head.state, file.head.done, len(file.rows())) == ("preview", 2, 2)


def test_twenty_thousand_rows_are_read_with_a_few_statements_for_each_thousand(warehouse: Warehouse) -> None:
    many(warehouse, 1)
    content = "SKU,Quantity\n" + "".join(f"S-{number:05},5\n" for number in range(20_000))
    file = File(warehouse, content)
    columns = file.head.columns
    stock_import.choose(*file.here, file.id, Meaning.COUNTED, columns, warehouse.location(), "", OWNER)

    with statements(warehouse.database) as said:
        file.work()

    assert file.head.done == 20_000
    assert len(file.problems()) == 19_999
    assert len(said) < 20 * 12, "the statements follow the thousands, not the rows"


# ---------------------------------------------------------------- taking back


def test_what_was_applied_is_taken_back_by_counter_documents(warehouse: Warehouse) -> None:
    mug, new = warehouse.sku("MUG", 10), warehouse.sku("NEW")
    file = File(warehouse, "SKU,Quantity\nMUG,7\nNEW,3\n").read()
    file.apply()
    warehouse.count(mug, 8)

    file.undo()

    assert file.head.state == "undone"
    assert (on_hand(warehouse, mug), on_hand(warehouse, new)) == (11, 0), "by as many units as it had changed"
    assert entries(warehouse, mug)[-1] == ("adjusted", 3, 11)
    with pytest.raises(Conflict):
        file.undo()
    warehouse.sound()


def test_what_is_sold_or_reserved_by_now_is_not_taken_back(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    mug, tee = warehouse.sku("MUG", 0), warehouse.sku("TEE", 0)
    warehouse.listing(shop, "mug", mug)
    file = File(warehouse, "SKU,Quantity\nMUG,3\nTEE,4\n", Meaning.RECEIPTS).read()
    file.apply()
    warehouse.hear(shop, an_order(a_line(2)))

    file.undo()

    assert file.rows() == [(2, "kept", 0, 3), (3, "undone", 0, 4)]
    assert file.problems()[2].startswith("That would leave 0, and 2 are reserved for orders")
    assert warehouse.level(mug) == (3, 2)
    assert warehouse.level(tee) == (0, 0)
    warehouse.sound()


def test_what_is_set_aside_counts_as_held(warehouse: Warehouse) -> None:
    mug = warehouse.sku("MUG", 5)
    place = warehouse.location()
    here = (warehouse.database, warehouse.merchant, mug, place)
    house.set_aside(*here, 4, Condition.DAMAGED, "fell", OWNER, "A-1")

    file = File(warehouse, "SKU,Quantity\nMUG,3\n").read()

    assert file.problems()[2].startswith("That would leave 3, and 4 are reserved for orders or set aside.")


def test_files_are_dropped_on_wish_and_forgotten_after_a_while_but_never_while_a_worker_is_at_them(
    warehouse: Warehouse,
) -> None:
    warehouse.sku("MUG", 1)
    dropped, old, applied = (File(warehouse, "SKU,Quantity\nMUG,2\n").read() for _ in range(3))
    stock_import.drop(*dropped.here, dropped.id, OWNER)
    applied.apply()
    with pytest.raises(Conflict):
        stock_import.drop(*applied.here, applied.id, OWNER)
    stock_import.choose_again(*old.here, old.id, OWNER)
    columns = old.head.columns
    stock_import.choose(*old.here, old.id, Meaning.COUNTED, columns, warehouse.location(), "", OWNER)

    stock_import.forget_old(warehouse.database, warehouse.now() + timedelta(days=1))

    assert [each.id for each in warehouse.rows(t.stock_import)] == [old.id]
    assert len(warehouse.rows(t.stock_document, t.stock_document.c.kind == "count")) == 1
