"""Stories that are lived again and again, with a process that dies at another point each time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import nullcontext

from hub.certify.crashing import POINTS, Fate, mortal
from hub.testing.town import Town

Deadly = Sequence[tuple[str, int]]  # the points at which one process after the other dies


def every_death(survives: Callable[[Deadly], bool], deaths: int = 1) -> int:
    """Live the same story with so many deaths, the last one at every point that is passed in it; returns how many
    deadly stories there were. ``survives``: whether the last point was never passed.

    After a commit comes a call or the next commit, before which they die all the same.
    """
    died = 0
    for points in itertools.product(POINTS[:3], repeat=deaths):
        for earlier in itertools.product(range(1, 4), repeat=deaths - 1):
            for number in itertools.count(1):
                if survives(list(zip(points, (*earlier, number), strict=True))):
                    break
                died += 1
    return died


def passes(town: Town, fates: Sequence[Fate], work: Callable[[], object], done: Callable[[], bool]) -> bool:
    """Whether it is ``done`` in the end, pass after pass of ``work``, although the process dies by one fate after the
    other. Between two passes leases run out, and what was put off comes due."""
    for _ in range(8):
        waiting = [fate for fate in fates if not fate.dead]
        with mortal(town, waiting[0]) if waiting else nullcontext():
            work()
        if done():
            return True
        town.let_pass(1800)
    return False
