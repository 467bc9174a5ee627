"""Pauses grow, are spread out, and end somewhere."""

from __future__ import annotations

from random import Random

import pytest

from hub.core.retry import backoff, breaker_pause, rate_limit_wait


class Highest(Random):
    """Always draws the largest number of a range."""

    def uniform(self, a: float, b: float) -> float:
        return b


class Lowest(Random):
    """Always draws the smallest number of a range."""

    def uniform(self, a: float, b: float) -> float:
        return a


def test_the_longest_pause_doubles_with_each_failure_up_to_a_quarter_of_an_hour() -> None:
    assert [backoff(attempt, Highest()) for attempt in (1, 2, 3, 4)] == [2, 4, 8, 16]
    assert backoff(10, Highest()) == backoff(10_000, Highest()) == 900


def test_uses_the_whole_range_so_that_workers_do_not_return_together() -> None:
    assert backoff(6, Lowest()) == 0
    drawn = [backoff(6, Random(seed)) for seed in range(300)]
    assert min(drawn) < 7 and max(drawn) > 57
    assert len(set(drawn)) == 300


def test_a_vendor_is_left_alone_only_from_the_fifth_failure_in_a_row() -> None:
    assert [breaker_pause(failures, Highest()) for failures in range(5)] == [None] * 5
    assert [breaker_pause(failures, Highest()) for failures in (5, 6, 7)] == [30, 60, 120]
    assert [breaker_pause(failures, Lowest()) for failures in (5, 6, 7)] == [15, 30, 60]
    assert breaker_pause(10_000, Highest()) == 600


@pytest.mark.parametrize(("asked", "shortest"), [(2.0, 2), (None, 15), (-5, 0), (1e9, 3600), (0, 0)])
def test_waits_at_least_as_long_as_the_vendor_asked_within_reason(asked: float | None, shortest: float) -> None:
    assert rate_limit_wait(asked, Lowest()) == shortest
    assert shortest < rate_limit_wait(asked, Highest()) <= shortest + 1
