"""Lists as CSV files: streamed page by page of what is stored, whatever their size, and harmless in any spreadsheet."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from threading import BoundedSemaphore
from typing import Generic, TypeVar

import structlog
from flask import Response, stream_with_context
from flask_babel import gettext as _

from hub.core.model import Money
from hub.store import activity
from hub.store.database import Database
from hub.web.failures import failure
from hub.web.gate import hub, visitor
from hub.web.reader import reader

Row = TypeVar("Row")
Place = TypeVar("Place")
Cell = str | int | Decimal | Money | datetime | bool | None

log = structlog.get_logger()

# Each holds a thread of the process for as long as it takes, and there are few.
_running = BoundedSemaphore(2)
_CHUNK = 64 * 1024
_BOM = "\ufeff"

# By what spreadsheets take a cell for a formula, full-width forms too: at its beginning, behind what they pass over
# there, and behind what some of them split a line at even where a comma separates.
_FORMULA = r"(?=[=+\-@＝＋－＠])"
_LEADS_A_FORMULA = re.compile(rf"\s*{_FORMULA}|[\t\r\n]")
_SPLIT_OFF = re.compile(rf"([;\t]\s*){_FORMULA}(?!-[0-9.,]+(?:[;\t]|$))")
_NUMBER = re.compile(r"-?[0-9]+(?:[.,][0-9]+)*")


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """One column of a file: what it is called, and what it says of a row."""

    heading: str
    value: Callable[[Row], Cell]


def pages(read: Callable[[Place | None], Sequence[Row]], place: Callable[[Row], Place]) -> Iterator[Row]:
    """Every row of a list that is read a page at a time: ``read`` gets the ``place`` of the last row it has given.

    ``read`` opens and ends its own transaction: none is open while a browser takes its time.
    """
    last: Place | None = None
    while rows := read(last):
        yield from rows
        last = place(rows[-1])


def lines(columns: Sequence[Column[Row]], rows: Iterable[Row], *, mark: bool = False) -> Iterator[str]:
    """The file as RFC 4180 has it, in pieces. With ``mark`` it begins with the byte order mark by which some
    spreadsheets recognize UTF-8."""
    piece = io.StringIO()
    if mark:
        piece.write(_BOM)
    writer = csv.writer(piece, quoting=csv.QUOTE_MINIMAL, lineterminator="\r\n")
    writer.writerow([_harmless(each.heading) for each in columns])
    for row in rows:
        writer.writerow([written(each.value(row)) for each in columns])
        if piece.tell() >= _CHUNK:
            yield piece.getvalue()
            piece.seek(0)
            piece.truncate()
    yield piece.getvalue()


def written(cell: Cell) -> str:
    """A cell as it stands in the file: money without its currency, times in the reader's zone as spreadsheets read
    them, and text that no spreadsheet takes for a formula."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return _("yes") if cell else _("no")
    if isinstance(cell, datetime):
        return f"{cell.astimezone(reader().zone):%Y-%m-%d %H:%M:%S}"
    if isinstance(cell, Money):
        return f"{cell.amount:f}"
    if isinstance(cell, Decimal):
        return f"{cell:f}"
    return _harmless(cell) if isinstance(cell, str) else str(cell)


def _harmless(text: str) -> str:
    """Text as it is, or with an apostrophe before what would be a formula, by which spreadsheets take it as text. Plain
    numbers stay numbers."""
    if _NUMBER.fullmatch(text):
        return text
    return _SPLIT_OFF.sub(r"\1'", f"'{text}" if _LEADS_A_FORMULA.match(text) else text)


def download(
    what: str,
    name: str,
    columns: Sequence[Column[Row]],
    rows: Iterable[Row],
    *,
    described: str = "",
    mark: bool = False,
) -> Response:
    """The answer that hands out a list as ``name``-<today>.csv, and keeps on the activity page who took it and how
    much: before the first row leaves, and again when it is over.

    ``what`` and ``described`` say there what is in it ("orders"), and which of them; they are not translated, as
    nothing is that is kept. For a route that takes forms: a page that is only looked at writes nothing.
    """
    if not _running.acquire(blocking=False):
        sentence = _("Others are being exported at this moment. Try again in a minute.")
        return failure(503, sentence, {"Retry-After": "60"})
    with ExitStack() as held:
        held.callback(_running.release)
        told = _Told(hub().database, what, described, [each.heading for each in columns])
        told.note(f"Began to export {what}", None)
        over = held.pop_all()
    stream = stream_with_context(_counted(lines(columns, told.counting(rows), mark=mark), told, over))
    answer = Response(stream, mimetype="text/csv")
    today = f"{datetime.now(reader().zone):%Y-%m-%d}"
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}-{today}.csv"'
    answer.call_on_close(over.close)  # also of a file of which nobody has read the first line
    return answer


class _Told:
    """How much of a list was handed out, for the activity page."""

    def __init__(self, database: Database, what: str, described: str, headings: Sequence[str]) -> None:
        self._database, self._what, self._described, self._headings = database, what, described, headings
        self._merchant_id, self._actor = visitor().merchant_id, visitor().email
        self.rows = 0

    def counting(self, rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            self.rows += 1
            yield row

    def note(self, summary: str, complete: bool | None) -> None:
        details = {"what": self._what, "which": self._described, "columns": list(self._headings), "rows": self.rows}
        with self._database.write() as connection:
            activity.note(
                connection,
                self._merchant_id,
                "exported",
                summary,
                at=self._database.now(connection),
                actor=self._actor,
                details=details | ({} if complete is None else {"complete": complete}),
            )

    def end(self, complete: bool) -> None:
        which = f" ({self._described})" if self._described else ""
        rest = "" if complete else ", and did not get to the end"
        rows = f"{self.rows:,} {'row' if self.rows == 1 else 'rows'}"
        self.note(f"Exported {self._what}: {rows}{which}{rest}", complete)


def _counted(pieces: Iterable[str], told: _Told, over: ExitStack) -> Iterator[bytes]:
    complete = False
    with over:
        try:
            for piece in pieces:
                yield piece.encode()
            complete = True
        finally:
            # Also when the browser goes away in the middle: what it has got, it has got.
            told.end(complete)
