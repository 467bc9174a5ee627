"""Reading files of rows (CSV) as they really come: what is detected, which column is which, each bad row told alone.

A connector declares its kinds of files with their columns; which of the vendor's columns is which the merchant says on
a page, where nothing is said the usual headers are looked for. Reading is in two steps: a ``RowReader`` takes a file
apart, row by row in little memory, and ``read_values`` turns the texts of a row into values. The second step needs the
declaration alone, so that a row can be stored as it came and read again when somebody has put the columns right.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hub.errors import Unreadable

__all__ = [
    "Column",
    "FileFormat",
    "FileKind",
    "Row",
    "RowReader",
    "ValueKind",
    "assign_columns",
    "columns_of",
    "read_values",
]

LONGEST_LINE = 65_536
MOST_LINES = 50  # of one row, with line ends inside its quotes
MOST_COLUMNS = 500
_HEAD = 65_536  # looked at to find out the encoding
DELIMITERS = (",", ";", "\t", "|")

# ---------------------------------------------------------------- what a connector declares


class ValueKind(StrEnum):
    """What a column holds, and the class its values are read as."""

    TEXT = "text"  # str, as it is
    IDENTIFIER = "identifier"  # str; what a spreadsheet has shortened (1.23E+12) is refused
    WHOLE = "whole"  # int
    MOMENT = "moment"  # datetime in UTC
    DATE = "date"  # date


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One thing a file tells. ``usual`` are the headers it is looked for under, case and punctuation aside."""

    label: str
    hint: str
    kind: ValueKind = ValueKind.TEXT
    required: bool = False
    usual: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileKind:
    """A kind of file, by the names of its columns. ``folder`` is the setting that says where such files arrive."""

    label: str
    hint: str
    columns: Mapping[str, Column]
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFormat:
    """How a vendor writes. ``encoding`` and ``delimiter`` "" are found out from each file.

    ``decimal`` is the decimal sign, ``dates`` the order of a date that does not begin with its year: "dmy" or "mdy".
    ``time_zone`` (an IANA name) is meant where a time names none.
    """

    encoding: str = ""
    delimiter: str = ""
    decimal: str = "."
    dates: str = "dmy"
    time_zone: str = "UTC"


def columns_of(kind: str) -> str:
    """Where ``Context.mappings`` has which column of files of this kind is which, by the column's name."""
    return f"columns/{kind}"


# ---------------------------------------------------------------- a file, taken apart


@dataclass(frozen=True, slots=True)
class Row:
    """A row: its line in the file, its texts by header, or what is wrong with it and the whole of it as it stands."""

    line: int
    texts: Mapping[str, str]
    wrong: str = ""
    whole: str = ""


class RowReader:
    """Takes a file apart. ``header`` is its first row; iterating gives the others, each bad one alone, none left out.

    ``encoding`` and ``delimiter`` are what was found out. Raises Unreadable for what is no file of rows at all.
    """

    def __init__(self, file: io.RawIOBase | io.BytesIO, form: FileFormat) -> None:
        buffered = io.BufferedReader(file, _HEAD)
        head = buffered.peek(_HEAD)[:_HEAD]
        self.encoding = form.encoding or _encoding_of(head)
        _refuse_other_files(head, self.encoding)
        try:
            # What is not in the encoding becomes half a surrogate, so that its row alone can be told of.
            text = io.TextIOWrapper(buffered, self.encoding, errors=_errors(self.encoding), newline=None)
        except LookupError as error:
            raise Unreadable(f"There is no encoding {self.encoding}.") from error
        self._lines = _Lines(text)
        self.delimiter, self.header = self._begin(form.delimiter)

    def _begin(self, delimiter: str) -> tuple[str, tuple[str, ...]]:
        line, first = self._first()
        if re.fullmatch(r"sep=.", first, re.IGNORECASE):  # how spreadsheets are told the delimiter
            delimiter = delimiter or first[-1]
            line, first = self._first()
        found = delimiter or max(DELIMITERS, key=first.count)
        self.delimiter = found
        self._lines.back(line, first)
        row = next(self._split(), None)
        if row is None or isinstance(row[1], str):
            raise Unreadable(f"The header of the file cannot be read: {row[1] if row else 'it is empty'}")
        header = tuple(text.strip().strip("\ufeff") for text in row[1])
        named = [text for text in header if text]
        if len(header) > MOST_COLUMNS:
            raise Unreadable(f"The file has {len(header)} columns: {MOST_COLUMNS} are the most that is read.")
        if len(named) != len(set(named)):
            raise Unreadable("Two columns of the file have the same header, so that nobody can tell which is meant.")
        return found, header

    def _first(self) -> tuple[int, str]:
        for line, text in self._lines:
            if text.strip():
                return line, text
        raise Unreadable("The file is empty.")

    def __iter__(self) -> Iterator[Row]:
        for line, texts, whole in self._split():
            if isinstance(texts, str):
                yield Row(line, {}, texts, whole)
            elif _damaged(texts):
                yield Row(line, {}, f"It is not {self.encoding.upper()} text. Is another encoding meant?", whole)
            elif len(texts) != len(self.header):
                # A file without a delimiter at the end of each row, or with one too many, is common and harmless.
                rest = texts[len(self.header) :]
                if len(texts) < len(self.header) or any(text.strip() for text in rest):
                    yield Row(line, {}, f"It has {len(texts)} columns where the header has {len(self.header)}.", whole)
                else:
                    yield Row(line, dict(zip(self.header, texts, strict=False)))
            else:
                yield Row(line, dict(zip(self.header, texts, strict=True)))

    def _split(self) -> Iterator[tuple[int, Sequence[str] | str, str]]:
        """Each row with its line: its texts, or what is wrong, and the whole of it."""
        for line, text in self._lines:
            if not text.strip():
                continue
            if len(text) >= LONGEST_LINE:
                yield line, f"It is longer than {LONGEST_LINE:,} characters.", text[:1000]
                continue
            taken = [text]
            while True:
                whole = "\n".join(taken)
                try:
                    texts = next(csv.reader([whole], delimiter=self.delimiter, strict=True))
                except csv.Error as error:
                    open_quote = "unexpected end of data" in str(error)
                else:
                    yield line, texts, whole
                    break
                following = next(self._lines, None) if open_quote and len(taken) < MOST_LINES else None
                if following is None:
                    for number, later in reversed(list(enumerate(taken[1:], start=line + 1))):
                        self._lines.back(number, later)
                    never = open_quote or len(taken) > 1
                    said = "A quote is opened and never closed." if never else "Its quotes are in the wrong places."
                    yield line, said, text
                    break
                taken.append(following[1])


class _Lines(Iterator[tuple[int, str]]):
    """The lines of a text with their numbers, whatever ends them; some can be given back."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self._number = 0
        self._given_back: list[tuple[int, str]] = []

    def __next__(self) -> tuple[int, str]:
        if self._given_back:
            return self._given_back.pop()
        line = self._text.readline(LONGEST_LINE)
        if not line:
            raise StopIteration
        self._number += 1
        if not line.endswith("\n") and len(line) == LONGEST_LINE:
            while (more := self._text.readline(LONGEST_LINE)) and not more.endswith("\n"):
                pass
        return self._number, line.removesuffix("\n")

    def back(self, number: int, line: str) -> None:
        self._given_back.append((number, line))


def _encoding_of(head: bytes) -> str:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    every_other = head[:200:2], head[1:200:2]
    if len(head) >= 8 and not any(every_other[1]):
        return "utf-16-le"
    if len(head) >= 8 and not any(every_other[0]):
        return "utf-16-be"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # it may end in the middle of a character
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _errors(encoding: str) -> str:
    return "replace" if encoding.startswith("utf-16") else "surrogateescape"


_OTHER_FILES = {
    b"PK\x03\x04": "an Excel workbook (xlsx) or another ZIP file",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook (xls)",
    b"\x89PNG": "a picture",
    b"%PDF": "a PDF",
    b"\x1f\x8b": "compressed (gzip)",
    b"<!do": "a web page",
    b"<htm": "a web page",
    b"<?xm": "XML",
}


def _refuse_other_files(head: bytes, encoding: str) -> None:
    for magic, what in _OTHER_FILES.items():
        if head[:4].lower().startswith(magic.lower()):
            raise Unreadable(f"The file is {what}, whatever its name says. Have it saved as CSV.")
    if b"\x00" in head and not encoding.startswith("utf-16"):
        raise Unreadable("The file is no text. Have it saved as CSV.")


def _damaged(texts: Sequence[str]) -> bool:
    return any(not text.isascii() and re.search("[\ud800-\udfff\ufffd]", text) for text in texts)


# ---------------------------------------------------------------- which column is which


def assign_columns(kind: FileKind, header: Sequence[str], chosen: Mapping[str, str]) -> dict[str, str]:
    """The header of each column that the file has: as chosen ("": it has none), otherwise under a usual name.

    Raises Unreadable where a required one is not there.
    """
    plain = {_plain(text): text for text in reversed(header) if text}
    found: dict[str, str] = {}
    missing = []
    for name, column in kind.columns.items():
        if name in chosen:
            if not chosen[name] and not column.required:
                continue
            theirs = chosen[name] if chosen[name] and chosen[name] in header else None
        else:
            theirs = next((plain[_plain(text)] for text in column.usual if _plain(text) in plain), None)
        if theirs is not None:
            found[name] = theirs
        elif column.required or name in chosen:
            missing.append(f"“{column.label}”" + (f" (“{chosen[name]}”)" if chosen.get(name) else ""))
    if missing:
        raise Unreadable(
            f"The file has no column for {', '.join(missing)}. If it has one under another name, say so on the page "
            "of the connection's columns, then read it again."
        )
    return found


def _plain(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).casefold()


# ---------------------------------------------------------------- values

_MANGLED = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?[eE]\+?[0-9]+")
_SERIAL = re.compile(r"[0-9]{5}(?:[.,][0-9]+)?")
_CLOCK = r"(?:[T ]+([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(?:[.,][0-9]{1,9})?)?)?"
_YEAR_FIRST = re.compile(
    r"([0-9]{4})[-/.]([0-9]{1,2})[-/.]([0-9]{1,2})" + _CLOCK + r" ?(Z|z|UTC|[+-][0-9]{2}:?[0-9]{2})?"
)
_YEAR_LAST = re.compile(r"([0-9]{1,2})[-/.]([0-9]{1,2})[-/.]([0-9]{4})" + _CLOCK)
_COMPACT = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})(?:[T ]?([0-9]{2})([0-9]{2})([0-9]{2})?)?")


def read_values(
    kind: FileKind, texts: Mapping[str, str], chosen: Mapping[str, str], form: FileFormat
) -> dict[str, Any]:
    """The values of a row by the names of its columns; those without a text are left out.

    ``texts`` are by header, ``chosen`` says which header a column has. Raises Unreadable with everything that is wrong,
    and never with a value: it may be a customer's.
    """
    values: dict[str, Any] = {}
    wrong = []
    for name, theirs in assign_columns(kind, list(texts), chosen).items():
        column = kind.columns[name]
        text = texts[theirs].strip()
        if not text:
            if column.required:
                wrong.append(f"“{theirs}” is empty")
            continue
        try:
            values[name] = _READ[column.kind](text, form)
        except ValueError as error:
            wrong.append(f"“{theirs}” is {error}")
    if wrong:
        raise Unreadable(f"{'; '.join(wrong)}.")
    return values


def _text(text: str, form: FileFormat) -> str:
    if "\x00" in text:
        raise ValueError("no text")
    return text


def _identifier(text: str, form: FileFormat) -> str:
    if _MANGLED.fullmatch(text):
        raise ValueError("a number that a spreadsheet has shortened (1.23E+12): have the column exported as text")
    if len(text) > 255 or not text.isprintable():
        raise ValueError("too long, or not printable")
    # Spreadsheets are kept from such damage by ="00123".
    return text[2:-1] if text.startswith('="') and text.endswith('"') else text


def _whole(text: str, form: FileFormat) -> int:
    if _MANGLED.fullmatch(text):
        raise ValueError("a number that a spreadsheet has shortened (1.23E+12)")
    whole, sign, fraction = text.partition(form.decimal)
    if not re.fullmatch(r"[+-]?[0-9]{1,12}", whole) or (sign and not re.fullmatch("0+", fraction)):
        raise ValueError("not a whole number")
    return int(whole)


def _date(text: str, form: FileFormat) -> date:
    return _parts(text, form)[0]


def _moment(text: str, form: FileFormat) -> datetime:
    day, clock, offset = _parts(text, form)
    try:
        zone = ZoneInfo(form.time_zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError("in a time zone that this machine does not know") from error
    if offset:
        return datetime.fromisoformat(f"{datetime.combine(day, clock).isoformat()}{offset}").astimezone(UTC)
    try:
        return datetime.combine(day, clock, zone).astimezone(UTC)
    except OverflowError as error:
        raise ValueError("no date that can be meant") from error


def _parts(text: str, form: FileFormat) -> tuple[date, time, str]:
    if found := _YEAR_FIRST.fullmatch(text):
        year, month, day, *clock = found.groups()
        offset = clock.pop() or ""
    elif found := _COMPACT.fullmatch(text):
        year, month, day, *clock = found.groups()
        offset = ""
    elif found := _YEAR_LAST.fullmatch(text):
        first, second, year, *clock = found.groups()
        day, month = (second, first) if form.dates == "mdy" else (first, second)
        offset = ""
    elif _SERIAL.fullmatch(text):
        raise ValueError("a day as a spreadsheet counts it: have the column exported as a date")
    else:
        raise ValueError("not a date such as 2026-05-31")
    try:
        hours, minutes, seconds = (int(each or 0) for each in clock)
        at = time(hours, minutes, min(seconds, 59))  # a leap second is its minute's last
        offset = "+00:00" if offset in ("Z", "z", "UTC") else offset
        return date(int(year), int(month), int(day)), at, offset
    except ValueError:
        raise ValueError("no date that the calendar has") from None


_READ: Mapping[ValueKind, Any] = {
    ValueKind.TEXT: _text,
    ValueKind.IDENTIFIER: _identifier,
    ValueKind.WHOLE: _whole,
    ValueKind.MOMENT: _moment,
    ValueKind.DATE: _date,
}
