"""Budgets of single operations: one that is spent stops itself alone, and the vendor may say how fast it comes back."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import redis

from hub.connector import RateBudget
from hub.errors import RateLimited
from hub.http import Client, LocalLimiter
from hub.limits import RedisLimiter, left, operation_key, quick_client
from hub.testing import Fault, SimRequest, SimResponse, Simulator

if TYPE_CHECKING:
    from tests.servers import RedisServer

SLOW, QUICK = RateBudget(0.01, 2), RateBudget(0.01, 5)


class Vendor(Simulator):
    """Answers everything with nothing."""

    origin = "https://api.vendor.example"

    def answer(self, request: SimRequest) -> SimResponse:
        return SimResponse.of_json({})


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with Vendor() as vendor:
        yield vendor


def client(vendor: Vendor) -> Client:
    still = functools.partial(LocalLimiter, clock=lambda: 0.0, patience=1.0)
    limiters = {"getOrder": still(SLOW), "listOrders": still(QUICK)}
    return Client(hosts=[vendor.origin], routes=vendor.routes(), limiters=limiters)


def ask(client: Client, operation: str) -> None:
    client.get("https://api.vendor.example/orders", operation=operation)


def test_a_spent_budget_names_its_operation_and_the_others_go_on(vendor: Vendor) -> None:
    asked = client(vendor)
    ask(asked, "getOrder")
    ask(asked, "getOrder")
    with pytest.raises(RateLimited) as caught:
        ask(asked, "getOrder")

    assert (caught.value.operation, caught.value.retry_after) == ("getOrder", pytest.approx(100))
    assert str(caught.value) == "The rate budget of getOrder is spent for 100 s; it goes on then."
    ask(asked, "listOrders")
    ask(asked, "noBudgetOfItsOwn")
    asked.get("https://api.vendor.example/orders")
    assert len(vendor.requests) == 5, "what is refused is not sent"


def test_a_refusal_by_the_vendor_empties_the_budget_of_that_operation(vendor: Vendor) -> None:
    asked = client(vendor)
    vendor.fail_next("/", Fault.status(429))
    with pytest.raises(RateLimited) as caught:
        ask(asked, "listOrders")
    assert (caught.value.operation, caught.value.retry_after) == ("listOrders", pytest.approx(100))
    with pytest.raises(RateLimited):
        ask(asked, "listOrders")
    assert len(vendor.requests) == 1
    ask(asked, "getOrder")


def test_what_the_vendor_asks_for_counts_more_than_the_budget(vendor: Vendor) -> None:
    vendor.fail_next("/", Fault.status(429, retry_after=7))
    with pytest.raises(RateLimited) as caught:
        ask(client(vendor), "listOrders")
    assert caught.value.retry_after == 7


def test_a_refusal_of_what_has_no_budget_of_its_own_means_the_whole_connection(vendor: Vendor) -> None:
    vendor.fail_next("/", Fault.status(429))
    with pytest.raises(RateLimited) as caught:
        ask(client(vendor), "noBudgetOfItsOwn")
    assert (caught.value.operation, caught.value.retry_after) == ("", None)


def test_the_vendor_says_how_fast_it_comes_back(vendor: Vendor) -> None:
    asked = client(vendor)
    for rate in (0.02, 0, -1):
        asked.learn_rate("getOrder", rate)
    asked.learn_rate("noBudgetOfItsOwn", 1)
    ask(asked, "getOrder")
    ask(asked, "getOrder")
    with pytest.raises(RateLimited) as caught:
        ask(asked, "getOrder")
    assert caught.value.retry_after == pytest.approx(50)


# ---------------------------------------------------------------- shared by all workers


@pytest.fixture
def shared(redis_server: RedisServer) -> Iterator[redis.Redis]:
    shared = quick_client(redis_server.url)
    yield shared
    shared.close()


def worker(shared: redis.Redis, operation: str = "getOrder", budget: RateBudget = SLOW) -> RedisLimiter:
    return RedisLimiter(shared, operation_key("shop-1", operation), budget, workers=4, patience=1.0)


def test_workers_share_the_budget_of_each_operation(shared: redis.Redis) -> None:
    one, other = worker(shared), worker(shared)
    one.acquire(1)
    other.acquire(1)
    with pytest.raises(RateLimited):
        one.acquire(1)
    worker(shared, "listOrders").acquire(1)
    assert left(shared, operation_key("shop-1", "getOrder"), SLOW).available == pytest.approx(0, abs=0.1)
    assert left(shared, operation_key("shop-1", "listOrders"), SLOW).available == pytest.approx(1, abs=0.1)


def test_a_rate_that_one_worker_learns_holds_for_all_and_what_is_left_stays(shared: redis.Redis) -> None:
    one, other = worker(shared), worker(shared)
    one.acquire(2)
    other.learn_rate(0.05)
    other.learn_rate(0)

    seen = left(shared, operation_key("shop-1", "getOrder"), SLOW)
    assert (seen.per_second, seen.burst, seen.available) == (0.05, 2, pytest.approx(0, abs=0.1))
    with pytest.raises(RateLimited) as caught:
        one.acquire(1)
    assert caught.value.retry_after == pytest.approx(20, abs=1)


def test_the_same_rate_is_not_told_twice(shared: redis.Redis) -> None:
    one = worker(shared)
    one.learn_rate(0.05)
    worker(shared).learn_rate(0.02)
    one.learn_rate(0.05)
    assert left(shared, operation_key("shop-1", "getOrder"), SLOW).per_second == 0.02


def test_one_worker_is_told_that_nothing_is_left_and_all_stop(shared: redis.Redis) -> None:
    one, other = worker(shared), worker(shared)
    one.acquire(1)
    assert one.emptied() == pytest.approx(100, abs=1)
    with pytest.raises(RateLimited):
        other.acquire(1)


def test_what_was_taken_in_advance_is_not_given_back(shared: redis.Redis) -> None:
    patient = RedisLimiter(
        shared, operation_key("shop-1", "getOrder"), SLOW, workers=4, patience=1e6, sleep=lambda _: None
    )
    patient.acquire(2)
    patient.acquire(2)
    assert patient.emptied() == pytest.approx(300, abs=1)


def test_without_redis_each_worker_goes_by_its_part(shared: redis.Redis, redis_server: RedisServer) -> None:
    alone = worker(shared, budget=RateBudget(0.04, 8))
    redis_server.stop()
    alone.learn_rate(0.08)
    alone.acquire(2)
    with pytest.raises(RateLimited) as caught:
        alone.acquire(1)
    assert caught.value.retry_after == pytest.approx(50, abs=1)
    assert alone.emptied() == pytest.approx(50, abs=1)
