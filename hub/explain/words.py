"""How explanations put times, spans and counts."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from typing import Any


def moment(at: datetime) -> str:
    """A time in UTC, to the second: "2026-03-02 12:00:05"."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def span(time: timedelta) -> str:
    """How long something took: "0.4 s", "43 s", "12 min 5 s", "3 h 20 min", "2 days 4 h"."""
    seconds = max(0.0, time.total_seconds())
    if seconds < 9.95:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    whole = round(seconds)
    for unit, length, part, smaller in (("days", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= length:
            many, rest = divmod(whole, length)
            name = "day" if unit == "days" and many == 1 else unit
            return f"{many} {name}" + (f" {rest // smaller} {part}" if rest // smaller else "")
    return f"{whole} s"


def units(count: int) -> str:
    """A count of units: "1 unit", "2 units"."""
    return f"{count:,} unit{'' if count == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: "A", "A and B", "A, B and C"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def wrapped(lines: Iterable[tuple[int, str]], width: int) -> Iterator[str]:
    """Sentences for a terminal, each with the depth it is indented to; what does not fit goes on a little deeper."""
    for depth, text in lines:
        margin = "  " * depth
        yield from textwrap.wrap(
            text, max(width, 30), initial_indent=margin, subsequent_indent=margin + "  ", break_on_hyphens=False
        ) or [""]


def as_plain(value: Any) -> Any:
    """An explanation as JSON has it: objects by their fields' names, times as ISO 8601 in UTC, ids as text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: as_plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, tuple | list):
        return [as_plain(each) for each in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
