"""The rate budget that workers share in a real Redis, and what each does while Redis is away."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import redis

from hub.connector import RateBudget
from hub.errors import RateLimited
from hub.limits import RedisLimiter, quick_client
from tests.http.slept import Time

if TYPE_CHECKING:
    from tests.servers import RedisServer

KEY = b"tallyhub:rate:connection-1"


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    client = quick_client(redis_server.url)
    yield client
    client.close()


def limiter(
    client: redis.Redis,
    own: Time,
    per_second: float = 0.01,
    burst: float = 10.0,
    patience: float = 1e6,
    workers: int = 5,
) -> RedisLimiter:
    """A budget restored so slowly that the time a test takes does not matter."""
    return RedisLimiter(
        client,
        "connection-1",
        RateBudget(per_second, burst),
        workers=workers,
        clock=own.clock,
        sleep=own.sleep,
        patience=patience,
    )


def test_two_workers_spend_one_budget(client: redis.Redis) -> None:
    first, second = Time(), Time()
    one, other = limiter(client, first), limiter(client, second)
    one.acquire(6)
    other.acquire(4)
    assert (first.slept, second.slept) == ([], [])
    one.acquire(1)
    other.acquire(2)
    assert first.slept == [pytest.approx(100, abs=1)]
    assert second.slept == [pytest.approx(300, abs=1)]  # it queues behind the first


def test_a_wait_that_is_too_long_is_refused_and_costs_nothing(client: redis.Redis) -> None:
    own = Time()
    budget = limiter(client, own, patience=50)
    budget.acquire(10)
    before = client.hgetall(KEY)
    with pytest.raises(RateLimited) as caught:
        budget.acquire(1)
    assert caught.value.retry_after == pytest.approx(100, abs=1)
    assert own.slept == []
    assert client.hgetall(KEY) == before


def test_the_budget_is_restored_by_the_clock_of_redis(client: redis.Redis) -> None:
    own = Time()
    budget = limiter(client, own, patience=0.0)
    budget.acquire(10)
    own.now += 1e6  # this worker's clock runs far ahead: no matter
    with pytest.raises(RateLimited) as caught:
        budget.acquire(10)
    assert caught.value.retry_after == pytest.approx(1000, abs=1)

    taken_at = float(client.hget(KEY, "at"))
    assert taken_at == pytest.approx(time.time(), abs=60)
    client.hset(KEY, "at", taken_at - 1000)  # as if it had been taken a thousand seconds before
    budget.acquire(10)


def test_a_cost_above_the_burst_leaves_a_debt(client: redis.Redis) -> None:
    own = Time()
    budget = limiter(client, own)
    budget.acquire(25)
    assert own.slept == []
    budget.acquire(1)
    assert own.slept == [pytest.approx(1600, abs=1)]


def test_what_one_worker_learns_from_the_vendor_holds_for_all(client: redis.Redis) -> None:
    first, second = Time(), Time()
    one, other = limiter(client, first), limiter(client, second)
    one.acquire(10)
    one.learn(available=1500, restore_rate=0.02, maximum=2000)
    other.acquire(1500)
    assert second.slept == []
    one.acquire(1)
    assert first.slept == [pytest.approx(50, abs=1)]


def test_numbers_that_make_no_budget_are_ignored(client: redis.Redis) -> None:
    own = Time()
    budget = limiter(client, own)
    budget.learn(available=0, restore_rate=0, maximum=1000)
    budget.learn(available=0, restore_rate=50, maximum=0)
    assert client.keys() == []
    budget.acquire(10)
    assert own.slept == []


def test_connections_have_budgets_of_their_own(client: redis.Redis) -> None:
    own = Time()
    limiter(client, own).acquire(10)
    other = RedisLimiter(client, "connection-2", RateBudget(0.01, 10), workers=5, clock=own.clock, sleep=own.sleep)
    other.acquire(10)
    assert own.slept == []
    assert sorted(client.keys()) == [b"tallyhub:rate:connection-1", b"tallyhub:rate:connection-2"]


def test_a_bucket_that_is_not_used_is_forgotten(client: redis.Redis) -> None:
    own = Time()
    budget = limiter(client, own, per_second=1.0)
    budget.acquire(1)
    assert 3_599_000 < client.pttl(KEY) <= 3_600_000
    budget.learn(available=5, restore_rate=1, maximum=10)
    assert 3_599_000 < client.pttl(KEY) <= 3_600_000


def test_a_bucket_is_kept_until_its_debt_is_paid(client: redis.Redis) -> None:
    own = Time()
    budget = limiter(client, own, per_second=0.001)
    budget.acquire(10)
    assert client.pttl(KEY) == pytest.approx(10_000_000, abs=5_000)
    budget.learn(available=0, restore_rate=0.001, maximum=20)
    assert client.pttl(KEY) == pytest.approx(20_000_000, abs=5_000)


def test_a_clock_of_redis_that_steps_back_takes_nothing_away(client: redis.Redis) -> None:
    own = Time()
    budget = limiter(client, own)
    budget.acquire(5)
    client.hset(KEY, "at", time.time() + 3600)
    budget.acquire(5)
    assert own.slept == []
    budget.acquire(1)
    assert own.slept == [pytest.approx(100, abs=1)]


def test_workers_that_ask_at_once_never_spend_a_unit_twice(redis_server: RedisServer, client: redis.Redis) -> None:
    through: list[bool] = []
    gate = threading.Barrier(8)

    def spend() -> None:
        own = redis.Redis(unix_socket_path=str(redis_server.socket))
        budget = limiter(own, Time(), burst=100, patience=0.0)
        gate.wait()
        for _ in range(50):
            try:
                budget.acquire(1)
            except RateLimited:
                through.append(False)
            else:
                through.append(True)
        own.close()

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (through.count(True), through.count(False)) == (100, 300)


# ---------------------------------------------------------------- without Redis


def test_while_redis_is_away_each_worker_goes_by_its_share_and_then_by_all_of_it_again(
    redis_server: RedisServer, client: redis.Redis
) -> None:
    own = Time()
    budget = limiter(client, own, workers=5)
    budget.acquire(1)
    redis_server.stop()

    budget.acquire(2)  # a fifth of ten
    assert own.slept == []
    budget.acquire(1)
    assert own.slept == [500.0]  # a fifth of 0.01 per second

    redis_server.start()
    own.now += 5
    budget.acquire(10)
    assert own.slept == [500.0]
    assert client.hget(KEY, "available") is not None


def test_redis_is_not_asked_for_each_request_while_it_is_away(redis_server: RedisServer, client: redis.Redis) -> None:
    asked: list[object] = []
    own = Time()
    budget = limiter(client, own, workers=1)
    redis_server.pause()  # it takes connections and says nothing
    execute = client.execute_command

    def counting(*arguments: object, **options: object) -> object:
        asked.append(arguments)
        return execute(*arguments, **options)

    client.execute_command = counting  # type: ignore[method-assign]
    budget.acquire(1)
    budget.acquire(1)
    budget.learn(available=8, restore_rate=0.01, maximum=10)
    assert len(asked) == 1
    own.now += 5
    budget.acquire(1)
    assert len(asked) == 2
    assert own.slept == []


def test_what_was_learned_holds_for_the_share_too(redis_server: RedisServer, client: redis.Redis) -> None:
    own = Time()
    budget = limiter(client, own, workers=2)
    budget.learn(available=1000, restore_rate=1, maximum=1000)
    redis_server.stop()
    budget.acquire(500)
    assert own.slept == []
    budget.acquire(1)
    assert own.slept == [2.0]


def test_a_full_redis_is_as_good_as_none(client: redis.Redis) -> None:
    client.config_set("maxmemory", "1")
    own = Time()
    budget = limiter(client, own, workers=5)
    budget.acquire(2)
    assert own.slept == []
    budget.acquire(1)
    assert own.slept == [500.0]


def test_a_redis_that_was_wiped_starts_with_a_full_bucket(client: redis.Redis) -> None:
    own = Time()
    budget = limiter(client, own)
    budget.acquire(10)
    client.flushall()
    client.script_flush()
    budget.acquire(10)
    assert own.slept == []
