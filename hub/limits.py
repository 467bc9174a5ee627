"""The rate budget of a connection in Redis, where all workers share it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.commands.core import Script
from redis.retry import Retry

from hub.connector import RateBudget
from hub.http import LocalLimiter, too_fast

__all__ = ["Left", "RedisLimiter", "left", "operation_key", "quick_client"]

FORGET_AFTER = 3_600.0  # seconds without a request, after which a bucket starts anew
TIMEOUT = 0.2  # seconds
_PREFIX = "tallyhub:rate:"
REDIS_PAUSE = 5.0  # seconds before Redis is asked again after it failed

# The hash of a bucket: available units, at (Redis's clock), rate and burst. Each script is one step, by one clock, so
# that workers can neither spend a unit twice nor disagree about the time. First, what is there by now at the rate so
# far: the budget's own (ARGV[1] and [2]) where the vendor has told none. A bucket is forgotten after ARGV[3] seconds.
_BY_NOW = """
local kept = redis.call('HMGET', KEYS[1], 'available', 'at', 'rate', 'burst')
local rate, burst = tonumber(kept[3] or ARGV[1]), tonumber(kept[4] or ARGV[2])
local forget = tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local available = burst
if kept[1] then
  available = math.min(burst, kept[1] + math.max(0, now - kept[2]) * rate)
end
"""

# Answers "" when the units were taken without waiting for them, "+s" when they were taken and are there in s seconds,
# "-s" when nothing was taken because s is too long.
_ACQUIRE = (
    _BY_NOW
    + """
local cost, patience = tonumber(ARGV[4]), tonumber(ARGV[5])
local wait = math.max(0, (math.min(cost, burst) - available) / rate)
if wait > patience then
  return string.format('-%.6f', wait)
end
available = available - cost
redis.call('HSET', KEYS[1], 'available', string.format('%.6f', available), 'at', string.format('%.6f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil(1000 * math.max(forget, (burst - available) / rate)))
if wait > 0 then
  return string.format('+%.6f', wait)
end
return ''
"""
)

_LEARN = """
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], 'available', ARGV[1], 'at', string.format('%.6f', time[1] + time[2] / 1000000),
  'rate', ARGV[2], 'burst', ARGV[3])
redis.call('PEXPIRE', KEYS[1], math.ceil(1000 * math.max(tonumber(ARGV[4]), (ARGV[3] - ARGV[1]) / ARGV[2])))
"""

_KEEP = """
local function keep()
  redis.call('HSET', KEYS[1], 'available', string.format('%.6f', available), 'at', string.format('%.6f', now),
    'rate', tostring(rate), 'burst', tostring(burst))
  redis.call('PEXPIRE', KEYS[1], math.ceil(1000 * math.max(forget, (burst - available) / rate)))
end
"""

_LEARN_RATE = (
    _BY_NOW
    + _KEEP
    + """
rate = tonumber(ARGV[4])
keep()
"""
)

_EMPTIED = (
    _BY_NOW
    + _KEEP
    + """
available = math.min(0, available)
keep()
return string.format('%.6f', (math.min(1, burst) - available) / rate)
"""
)


def quick_client(url: str) -> redis.Redis:
    """A Redis client that gives up after a fraction of a second; left to itself, redis-py tries again for seconds."""
    return redis.Redis.from_url(
        url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=Retry(NoBackoff(), retries=0)
    )


class RedisLimiter:
    """A token bucket shared by all workers of one connection; see ``hub.http.Limiter``.

    ``client`` comes from ``quick_client``, since a request waits for it. While Redis does not answer, each worker goes
    by its own share of the budget, one of ``workers``, so that together they keep to it.
    """

    def __init__(
        self,
        client: redis.Redis,
        connection_id: str,
        budget: RateBudget,
        *,
        workers: int,
        prefix: str = _PREFIX,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        patience: float = 10.0,
    ) -> None:
        self._key = f"{prefix}{connection_id}"
        self._bucket = [budget.per_second, budget.burst, FORGET_AFTER]
        self._acquire = client.register_script(_ACQUIRE)
        self._learn = client.register_script(_LEARN)
        self._learn_rate = client.register_script(_LEARN_RATE)
        self._emptied = client.register_script(_EMPTIED)
        self._rate = 0.0  # that was learnt last
        self._alone = LocalLimiter(budget, 1 / workers, clock, sleep, patience)
        self._clock = clock
        self._sleep = sleep
        self._patience = patience
        self._ask_again = -math.inf

    def acquire(self, cost: float) -> None:
        """Take ``cost`` units, waiting for them. Raises RateLimited when the wait would be too long."""
        answer = self._ask(self._acquire, [*self._bucket, cost, self._patience])
        if answer is None:
            self._alone.acquire(cost)
            return
        if answer.startswith("-"):
            raise too_fast(float(answer[1:]))
        if answer:
            self._sleep(float(answer))

    def learn(self, available: float, restore_rate: float, maximum: float) -> None:
        """Take over what the vendor itself says about the budget."""
        if restore_rate <= 0 or maximum <= 0:
            return
        self._alone.learn(available, restore_rate, maximum)
        self._ask(self._learn, [available, restore_rate, maximum, FORGET_AFTER])

    def learn_rate(self, restore_rate: float) -> None:
        """Take over how much the vendor restores per second; said again, it is not told again."""
        if restore_rate <= 0 or restore_rate == self._rate:
            return
        self._rate = restore_rate
        self._alone.learn_rate(restore_rate)
        self._ask(self._learn_rate, [*self._bucket, restore_rate])

    def emptied(self) -> float:
        """The vendor says that nothing is left; returns the seconds until a unit is."""
        alone = self._alone.emptied()
        answer = self._ask(self._emptied, self._bucket)
        return float(answer) if answer else alone

    def _ask(self, script: Script, arguments: list[float]) -> str | None:
        """The script's answer, None while Redis is away."""
        if self._clock() < self._ask_again:
            return None
        try:
            answer = script(keys=[self._key], args=arguments)
        except redis.RedisError:
            self._ask_again = self._clock() + REDIS_PAUSE
            return None
        return answer.decode() if isinstance(answer, bytes) else str(answer or "")


def operation_key(connection_id: object, operation: str) -> str:
    """Under which the budget of one operation of a connection is kept, instead of the connection's own."""
    return f"{connection_id}:{operation}"


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of a rate budget at a moment, in the vendor's units."""

    available: float
    per_second: float
    burst: float


def left(client: redis.Redis, connection_id: str, budget: RateBudget, *, prefix: str = _PREFIX) -> Left:
    """What all workers together may still spend on a connection now. Raises redis.RedisError."""
    kept: Any = client.hmget(f"{prefix}{connection_id}", ["available", "at", "rate", "burst"])
    seconds, micros = client.time()
    available, at, rate, burst = (None if each is None else float(each) for each in kept)
    rate, burst = rate or budget.per_second, burst or budget.burst
    if available is None or at is None:
        return Left(burst, rate, burst)
    spared = max(0.0, seconds + micros / 1_000_000 - at) * rate
    return Left(max(0.0, min(burst, available + spared)), rate, burst)
