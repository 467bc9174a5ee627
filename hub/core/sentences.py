"""Parts of the sentences that people read."""

from __future__ import annotations

from collections.abc import Iterable


def enumerated(each: Iterable[str], most: int) -> str:
    """The first ``most`` by name and the others by their number: "TEA-1, TEA-2 and 7 more"."""
    words = list(each)
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more
