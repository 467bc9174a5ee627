"""The rate budget within one process: what may be spent at once, what has to wait, what is refused."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.connector import RateBudget
from hub.errors import RateLimited
from hub.http import LocalLimiter
from tests.http.slept import Time


def limiter(
    time: Time, per_second: float = 2.0, burst: float = 10.0, share: float = 1.0, patience: float = 10.0
) -> LocalLimiter:
    return LocalLimiter(RateBudget(per_second, burst), share, time.clock, time.sleep, patience)


def test_spends_the_burst_at_once_and_then_waits_for_what_is_restored() -> None:
    time = Time()
    budget = limiter(time)
    for _ in range(10):
        budget.acquire(1)
    assert time.slept == []
    budget.acquire(1)
    budget.acquire(3)
    assert time.slept == [0.5, 1.5]


def test_costs_are_weighed() -> None:
    time = Time()
    budget = limiter(time)
    budget.acquire(8)
    budget.acquire(2)
    assert time.slept == []
    budget.acquire(4)
    assert time.slept == [2.0]


def test_a_pause_restores_the_budget_but_no_more_than_all_of_it() -> None:
    time = Time()
    budget = limiter(time)
    budget.acquire(10)
    time.now += 3600
    budget.acquire(10)
    assert time.slept == []
    budget.acquire(2)
    assert time.slept == [1.0]


def test_a_cost_above_the_burst_waits_for_all_of_it_and_leaves_a_debt() -> None:
    time = Time()
    budget = limiter(time, patience=60)
    budget.acquire(30)
    assert time.slept == []
    budget.acquire(1)
    assert time.slept == [10.5]  # 20 units of debt and the one, at two per second


def test_a_wait_that_is_too_long_is_refused_and_costs_nothing() -> None:
    time = Time()
    budget = limiter(time, patience=2.0)
    budget.acquire(10)
    with pytest.raises(RateLimited) as caught:
        budget.acquire(5)
    assert caught.value.retry_after == 2.5
    assert str(caught.value) == "The rate budget of this connection is spent for 3 s; work goes on then."
    assert time.slept == []

    time.now += caught.value.retry_after
    budget.acquire(5)
    assert time.slept == []


def test_a_share_is_a_part_of_rate_and_burst() -> None:
    time = Time()
    budget = limiter(time, per_second=8.0, burst=20.0, share=0.25)
    budget.acquire(5)
    assert time.slept == []
    budget.acquire(1)
    assert time.slept == [0.5]


def test_the_vendors_own_numbers_replace_the_declared_ones() -> None:
    time = Time()
    budget = limiter(time)
    budget.learn(available=3, restore_rate=100, maximum=2000)
    budget.acquire(53)
    assert time.slept == [0.5]
    time.now += 3600
    budget.acquire(2000)
    assert time.slept == [0.5]
    budget.acquire(100)
    assert time.slept == [0.5, 1.0]


def test_the_vendors_numbers_are_shared_too() -> None:
    time = Time()
    budget = limiter(time, share=0.5)
    budget.learn(available=100, restore_rate=20, maximum=1000)
    budget.acquire(50)
    assert time.slept == []
    budget.acquire(10)
    assert time.slept == [1.0]


@pytest.mark.parametrize(("restore_rate", "maximum"), [(0, 1000), (-1, 1000), (50, 0), (50, -1)])
def test_numbers_that_make_no_budget_are_ignored(restore_rate: float, maximum: float) -> None:
    time = Time()
    budget = limiter(time)
    budget.learn(available=0, restore_rate=restore_rate, maximum=maximum)
    budget.acquire(10)
    assert time.slept == []


def test_a_clock_that_steps_back_gives_nothing_away() -> None:
    time = Time()
    budget = limiter(time)
    budget.acquire(10)
    time.now -= 500
    budget.acquire(1)
    assert time.slept == [0.5]


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(0, 12)), min_size=1, max_size=40))
def test_never_lets_more_through_than_burst_and_rate_allow(requests: list[tuple[float, float]]) -> None:
    time = Time()
    budget = limiter(time, patience=1e9)
    started, spent = time.now, 0.0
    for pause, cost in requests:
        time.now += pause
        budget.acquire(cost)
        # A cost above the burst is in debt until it is restored, so the last one may stick out by that much.
        assert spent + min(cost, 10.0) <= 10.0 + 2.0 * (time.now - started) + 1e-6
        spent += cost


def test_threads_spend_one_budget() -> None:
    through: list[bool] = []
    budget = LocalLimiter(RateBudget(0.001, 50), patience=0.0)

    def spend() -> None:
        for _ in range(20):
            try:
                budget.acquire(1)
            except RateLimited:
                through.append(False)
            else:
                through.append(True)

    threads = [threading.Thread(target=spend) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (through.count(True), through.count(False)) == (50, 50)
