"""The time in a test, which passes when the test says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

__all__ = ["Clock"]

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


class Clock:
    """A clock that stands still until ``advance`` moves it. Call it for the time, aware and in UTC.

    A simulator and the context of a connector take it as ``now``, so that both live at the same time.
    """

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float = 0.0, **more: float) -> None:
        """Move on by ``seconds`` and whatever else timedelta takes (``minutes=5``)."""
        self.now += timedelta(seconds=seconds, **more)
