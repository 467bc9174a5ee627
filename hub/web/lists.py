"""What every list of the hub understands in its address: a search text, a choice, and where the next page begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from flask import request
from flask_babel import gettext as _

from hub.core.model import utc
from hub.errors import BadInput
from hub.store.queries.parts import PAGE

Row = TypeVar("Row")

ONE_MORE = PAGE + 1  # asked for, to know whether there is a next page


@dataclass(frozen=True, slots=True)
class Listed(Generic[Row]):
    """One page of a list; ``older`` is the mark from which the next page goes on, "" on the last one."""

    rows: Sequence[Row]
    older: str
    is_first: bool


def listed(rows: Sequence[Row], mark: Callable[[Row], str], *, parameter: str = "before") -> Listed[Row]:
    """The page made of ``rows``, of which ONE_MORE were asked for."""
    shown = rows[:PAGE]
    older = mark(shown[-1]) if len(rows) > PAGE else ""
    return Listed(shown, older, not request.args.get(parameter))


def search_text() -> str:
    """What is searched for: printable, and not longer than anything that could be found."""
    return "".join(each for each in request.args.get("q", "") if each.isprintable()).strip()[:200]


def choice(parameter: str, allowed: Sequence[str], default: str = "") -> str:
    """One of ``allowed``; anything else counts as not chosen."""
    value = request.args.get(parameter, default)
    return value if value in allowed else default


def chosen_id(parameter: str) -> UUID | None:
    """An id to filter by, None if none is given. Raises BadInput for what is no id."""
    value = request.args.get(parameter, "")
    if not value:
        return None
    try:
        return UUID(value)
    except ValueError:
        raise stale() from None


def time_mark(at: datetime, row_id: UUID) -> str:
    """Where a list by time goes on after this row."""
    return f"{at.isoformat()}~{row_id}"


def read_time_mark(parameter: str = "before") -> tuple[datetime, UUID] | None:
    """The (time, id) after which a list by time goes on. Raises BadInput."""
    value = request.args.get(parameter, "")
    if not value:
        return None
    at, _, row_id = value.partition("~")
    try:
        # A plus sign that was not escaped arrives as a space.
        return utc(datetime.fromisoformat(at.replace(" ", "+"))), UUID(row_id)
    except (ValueError, OverflowError):
        raise stale() from None


def text_mark(text: str, row_id: UUID) -> str:
    """Where a list by name goes on after this row."""
    return f"{row_id}~{text}"


def read_text_mark(parameter: str = "after") -> tuple[str, UUID] | None:
    """The (text, id) after which a list by name goes on. Raises BadInput."""
    value = request.args.get(parameter, "")
    if not value:
        return None
    row_id, separator, text = value.partition("~")
    try:
        identity = UUID(row_id)
    except ValueError:
        raise stale() from None
    if not separator or "\x00" in text:
        raise stale()
    return text, identity


def stale() -> BadInput:
    """Raised for a mark that no page of the list has given out."""
    return BadInput(_("This page of the list cannot be found. Go back to the first page."))
