"""Values in files of rows: dates as they are written in the world, numbers that are none, and what is never guessed."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import Unreadable
from hub.rows import Column, FileFormat, FileKind, RowReader, ValueKind, assign_columns, read_values

KIND = FileKind(
    label="Things",
    hint="",
    folder="",
    columns={
        each.value: Column(label=each.value.title(), hint="", kind=each, usual=(each.value,)) for each in ValueKind
    },
)


def value(kind: str, text: str, **form: Any) -> Any:
    return read_values(KIND, {kind: text}, {}, FileFormat(**form)).get(kind)


@pytest.mark.parametrize(
    ("text", "form", "expected"),
    [
        ("2026-03-02T10:30:05Z", {}, datetime(2026, 3, 2, 10, 30, 5, tzinfo=UTC)),
        ("2026-03-02 10:30:05.123+02:00", {}, datetime(2026, 3, 2, 8, 30, 5, tzinfo=UTC)),
        ("2026-07-02 10:30", {"time_zone": "Europe/London"}, datetime(2026, 7, 2, 9, 30, tzinfo=UTC)),
        ("02.03.2026 10:30", {"time_zone": "Europe/Berlin"}, datetime(2026, 3, 2, 9, 30, tzinfo=UTC)),
        ("02/03/2026", {"dates": "mdy"}, datetime(2026, 2, 3, tzinfo=UTC)),
        ("20260302", {}, datetime(2026, 3, 2, tzinfo=UTC)),
        ("20260302T103005", {}, datetime(2026, 3, 2, 10, 30, 5, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", {}, datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_a_moment_is_read_in_the_ways_it_is_written(text: str, form: dict[str, str], expected: datetime) -> None:
    assert value("moment", text, **form) == expected
    assert value("date", text, **form) == date.fromisoformat(
        "2016-12-31" if text.startswith("2016") else "2026-07-02" if "07" in text else f"2026-{expected:%m-%d}"
    )


@pytest.mark.parametrize(
    "text", ["46083", "46083.5", "31.02.2026", "2026-13-01", "soon", "٢٠٢٦-٠٣-٠٢", "2026-03-02 25:00"]
)
def test_what_is_no_date_is_told_and_never_guessed(text: str) -> None:
    with pytest.raises(Unreadable, match="“moment” is ") as told:
        value("moment", text)
    assert text not in str(told.value)


@pytest.mark.parametrize(
    ("text", "decimal", "expected"),
    [("12", ".", 12), ("-3", ".", -3), ("4.000", ".", 4), ("4,0", ",", 4), ("+7", ".", 7)],
)
def test_a_whole_number_is_one_however_it_is_written(text: str, decimal: str, expected: int) -> None:
    assert value("whole", text, decimal=decimal) == expected


@pytest.mark.parametrize("text", ["1.5", "1,000", "1_000", "1e3", "1.23E+12", "٣", "0x10", "NaN", "1 000", "9" * 13])
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(Unreadable, match="“whole” is "):
        value("whole", text)


def test_an_id_keeps_its_noughts_and_a_shortened_one_is_refused() -> None:
    assert value("identifier", "00123") == "00123"
    assert value("identifier", '="00123"') == "00123"
    with pytest.raises(Unreadable, match="a spreadsheet has shortened"):
        value("identifier", "1,23E+12")


def test_everything_that_is_wrong_with_a_row_is_told_at_once() -> None:
    with pytest.raises(Unreadable) as told:
        read_values(KIND, {"whole": "few", "date": "soon"}, {}, FileFormat())

    assert str(told.value) == "“whole” is not a whole number; “date” is not a date such as 2026-05-31."


def test_a_column_is_found_whatever_its_case_and_punctuation_unless_somebody_chose() -> None:
    header = ["WHOLE ", "Date", "other"]

    assert assign_columns(KIND, header, {}) == {"whole": "WHOLE ", "date": "Date"}
    assert assign_columns(KIND, header, {"whole": "other", "date": ""}) == {"whole": "other"}
    with pytest.raises(Unreadable, match="no column for “Whole” \\(“gone”\\)"):
        assign_columns(KIND, header, {"whole": "gone"})


@given(st.binary(max_size=300))
def test_whatever_a_file_holds_each_of_its_lines_is_told_or_the_file_refused(body: bytes) -> None:
    try:
        rows = list(RowReader(io.BytesIO(b"a,b\n" + body), FileFormat(encoding="utf-8")))
    except Unreadable:
        return
    assert [row.line for row in rows] == sorted({row.line for row in rows})
    assert all(set(row.texts) == {"a", "b"} or (row.wrong and not row.texts) for row in rows)


@given(st.lists(st.lists(st.text("ab\"',;\n é", max_size=6), min_size=2, max_size=2), max_size=6))
def test_what_was_written_as_rows_is_read_as_the_same_rows(written: list[list[str]]) -> None:
    import csv

    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([["a", "b"], *written])

    rows = list(RowReader(io.BytesIO(text.getvalue().encode()), FileFormat(encoding="utf-8", delimiter=",")))

    assert [list(row.texts.values()) for row in rows] == written
