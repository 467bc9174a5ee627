"""When to try again: growing pauses with jitter, and the pause for a vendor that does not answer at all."""

from __future__ import annotations

from random import Random

UNAVAILABLE_BEFORE_PAUSE = 5  # failures in a row after which a connection is left alone for a while

_LONGEST_WAIT_ASKED = 3600.0  # a vendor that asks for longer is asked again after an hour
_WAIT_WHEN_NOT_ASKED = 15.0


def backoff(attempt: int, random: Random, *, first: float = 2.0, longest: float = 900.0) -> float:
    """Seconds to wait after the ``attempt``-th failure (1, 2, …): anything up to a limit that doubles each time.

    The whole range is drawn from ("full jitter"), so that many who failed together do not come back together.
    """
    limit = min(longest, first * 2.0 ** min(max(attempt, 1) - 1, 60))
    return random.uniform(0.0, limit)


def breaker_pause(failures: int, random: Random) -> float | None:
    """Seconds to leave a vendor alone after ``failures`` Unavailable in a row, None while it is not that bad.

    From 15 to 30 seconds at first, doubling up to ten minutes. After the pause one attempt shows whether it is back.
    """
    if failures < UNAVAILABLE_BEFORE_PAUSE:
        return None
    limit = min(600.0, 30.0 * 2.0 ** min(failures - UNAVAILABLE_BEFORE_PAUSE, 60))
    return random.uniform(limit / 2, limit)


def rate_limit_wait(retry_after: float | None, random: Random) -> float:
    """Seconds to wait when a vendor asks for ``retry_after`` (None: it did not say how long), a little spread out."""
    asked = _WAIT_WHEN_NOT_ASKED if retry_after is None else min(max(retry_after, 0.0), _LONGEST_WAIT_ASKED)
    return asked + random.uniform(0.0, min(1.0, asked / 10 + 0.1))
