"""Slowing down whoever guesses passwords, without shutting out the person whose password it is."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

_MOST_KEYS = 20_000


class Throttle:
    """Counts failures per key. After ``free`` of them each further try has to wait, ``slowest`` seconds at most.

    A failure is forgotten after ``memory`` seconds. It lives in this process: with several web processes an attacker
    gets that many times the tries, which changes nothing about the odds. ``clock`` is monotonic.
    """

    def __init__(self, free: int, slowest: float, memory: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._free, self._slowest, self._memory, self._clock = free, slowest, memory, clock
        self._failures: OrderedDict[str, tuple[float, float]] = OrderedDict()  # key -> (count, last failure)
        self._lock = Lock()

    def wait(self, key: str) -> float:
        """Seconds until ``key`` may try again, 0 when it may now."""
        with self._lock:
            count, last = self._now(key)
        over = count - self._free
        if over < 0:
            return 0.0
        pause: float = min(self._slowest, 2.0 ** min(over, 30))
        return max(0.0, last + pause - self._clock())

    def failed(self, key: str) -> None:
        """Count one more failure."""
        with self._lock:
            count, _ = self._now(key)
            self._failures[key] = (count + 1, self._clock())
            self._failures.move_to_end(key)
            while len(self._failures) > _MOST_KEYS:
                self._failures.popitem(last=False)

    def succeeded(self, key: str) -> None:
        """Forget the failures of ``key``."""
        with self._lock:
            self._failures.pop(key, None)

    def forget(self) -> None:
        """Forget every failure of everybody."""
        with self._lock:
            self._failures.clear()

    def _now(self, key: str) -> tuple[float, float]:
        count, last = self._failures.get(key, (0.0, float("-inf")))
        forgotten = (self._clock() - last) / self._memory
        return (0.0, last) if forgotten >= 1 else (count, last)
