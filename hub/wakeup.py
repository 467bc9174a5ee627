"""Waking workers: a doorbell on RQ that carries no truth, and the worker that answers it, or polls where there is none.

What is to be done stands in the database. A ring says "look at this lane of this connection"; it may be lost, doubled,
late or forged, and the worst that follows is a look in vain or one a few seconds later. Every drain runs in a child
process with a deadline, so that a plugin that hangs, crashes or exits takes nothing else with it.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from types import FrameType
from typing import Any, ClassVar
from uuid import UUID, uuid4

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue, SimpleWorker
from rq.defaults import RQ_KEY_PREFIX
from rq.exceptions import DequeueTimeout, DeserializationError, StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.timeouts import BaseDeathPenalty

from hub.children import Child, Exit, Runner
from hub.errors import HubError
from hub.store.database import Database

log = structlog.get_logger()

QUEUE = "tallyhub"
Lane = tuple[UUID, UUID, str]  # merchant, connection, name of the lane

_FUNCTION = "hub.wakeup.wake"
_RING_SECONDS = 60  # a ring that was not answered by then is of no use to anybody
# While this lasts a lane is not rung again. Shorter than the pause between two sweeps, so that a ring that got lost
# after it was coalesced with others is made up for by the next sweep.
_COALESCE_SECONDS = 2
_QUIET_SECONDS = 1.0
_MOST_TASKS, _OLDEST = 500, 600.0  # of one process; then a fresh one, whatever a plugin may have piled up in it

# ---------------------------------------------------------------- ringing


class SilentDoorbell:
    """Rings nowhere: the workers poll."""

    def ring(self, merchant_id: UUID, connection_id: UUID, lane: str) -> None:
        """Do nothing."""


class RedisDoorbell:
    """Wakes a worker through RQ.

    ``ring`` never raises and gives up after 200 ms; after a failure it keeps quiet for a second, so that a burst of
    webhooks does not wait for a Redis that is away.
    """

    def __init__(self, redis_url: str) -> None:
        self._client = _client(redis_url, seconds=0.2)
        self._queue = Queue(QUEUE, connection=self._client, serializer=JSONSerializer, job_class=WakeUp)
        self._quiet_until = 0.0
        self._heard = True

    def ring(self, merchant_id: UUID, connection_id: UUID, lane: str) -> None:
        """Say that there is work on this lane. Ring after the commit, never before."""
        if time.monotonic() < self._quiet_until:
            return
        try:
            if not self._client.set(_flag(connection_id, lane), 1, nx=True, ex=_COALESCE_SECONDS):
                return
            with self._client.pipeline() as pipeline:
                self._queue.enqueue_call(
                    _FUNCTION,
                    args=(str(merchant_id), str(connection_id), lane),
                    timeout=_RING_SECONDS,
                    ttl=_RING_SECONDS,
                    failure_ttl=_RING_SECONDS,
                    result_ttl=0,
                    pipeline=pipeline,
                )
                pipeline.execute()
            self._heard = True
        except Exception as error:  # whatever it is, the work is committed and a sweep finds it
            self._quiet_until = time.monotonic() + _QUIET_SECONDS
            if self._heard:
                self._heard = False
                log.warning("the doorbell does not ring, workers find the work by themselves", error=_short(error))


def _flag(connection_id: UUID, lane: str) -> str:
    return f"{RQ_KEY_PREFIX}:{QUEUE}:rung:{connection_id}:{lane}"


def _client(redis_url: str, *, seconds: float) -> redis.Redis:
    # Without the client's own retries, which would multiply every wait.
    return redis.Redis.from_url(
        redis_url, socket_timeout=seconds, socket_connect_timeout=seconds, retry=Retry(NoBackoff(), 0)
    )


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:200]


# ---------------------------------------------------------------- answering: what RQ may do in our process


class NotAllowed(HubError):
    """A job in Redis asks for something that is no ring."""


class WakeUp(Job):
    """A job that can only be a ring.

    Whoever can write to Redis chooses what stands in a job, and RQ would import any function, callback or pickle and
    call any address named there. Nothing of that gets through: the function is looked up in ``answers``, arguments
    are three texts in JSON, and everything that RQ would act upon after the job is cleared.
    """

    answers: ClassVar[Mapping[str, Callable[[str, str, str], None]]] = {}
    success_callback = failure_callback = stopped_callback = None

    def __init__(self, id: str | None = None, connection: redis.Redis | None = None, serializer: Any = None) -> None:
        super().__init__(id, connection, JSONSerializer)

    @property
    def func(self) -> Callable[[str, str, str], None]:
        answer = self.answers.get(str(self.func_name))
        if answer is None:
            raise NotAllowed("A job in Redis names a function that is no ring. It was not run.")
        return answer

    def _deserialize_data(self) -> None:
        try:
            name, instance, args, kwargs = json.loads(self.data)
        except Exception as error:
            raise DeserializationError from error
        if instance is not None or kwargs or len(args) != 3 or not all(isinstance(each, str) for each in args):
            # The only error of this method that RQ is prepared for; another one would end its loop.
            raise DeserializationError("A job in Redis is not of the form of a ring. It was not run.")
        self._func_name, self._instance, self._args, self._kwargs = str(name), None, args, {}

    def restore(self, raw_data: Mapping[bytes, bytes]) -> None:
        if sum(map(len, raw_data.values())) > 10_000:  # also bounds what it can unpack to
            raise NotAllowed("A job in Redis is far too large for a ring. It was not run.")
        super().restore(raw_data)
        self.webhooks = []
        self.timeout, self.result_ttl, self.failure_ttl = _RING_SECONDS, 0, _RING_SECONDS
        self.retries_left = self.repeats_left = self.group_id = self.rate_limit_key = None
        self._dependency_ids = []


class _NoAlarm(BaseDeathPenalty):
    """RQ's alarm would raise in the middle of anything; answering a ring takes no time, and drains have deadlines."""

    def setup_death_penalty(self) -> None:
        pass

    def cancel_death_penalty(self) -> None:
        pass


class _Answering(SimpleWorker):
    """RQ's worker, reduced to taking rings off one queue. Answering one only notes the lane; RQ never forks, because
    our own children give isolation and a deadline, and it starts no thread, because a process with threads must not
    fork. Nothing in Redis can stop or suspend it.

    One queue, always: with several RQ would take jobs off in a way that loses them when it is killed.
    """

    death_penalty_class = _NoAlarm
    connection_timeout = 3  # of the socket; longer than the longest wait for a ring

    def __init__(self, worker: Worker, connection: redis.Redis) -> None:
        answers = {_FUNCTION: worker.wake}
        super().__init__(
            [QUEUE],
            name=f"{QUEUE}-{uuid4().hex}",
            connection=connection,
            job_class=type("WakeUpOfThisWorker", (WakeUp,), {"answers": answers}),
            serializer=JSONSerializer,
            worker_ttl=60,
            log_job_description=False,
        )
        self._worker = worker
        self._beat_at = 0.0

    def dequeue_job_and_maintain_ttl(self, timeout: int | None, max_idle_time: int | None = None) -> Any:
        """The next ring; meanwhile the worker goes on with everything else. Errors of Redis end ``work``."""
        while True:
            if self._worker.stopping:
                raise StopRequested
            free = self._worker.turn()
            if time.monotonic() >= self._beat_at:
                self.heartbeat()
                self._beat_at = time.monotonic() + 10
            self._worker.redis_answers()
            if not free or self._all_given_back():  # another worker may have time for the ring
                self._worker.wait(0.25)
                continue
            found = self._next(None if self._worker.busy else 1)
            if found is not None:
                return found
            if self._worker.busy:
                self._worker.wait(0.05)

    def _all_given_back(self) -> bool:
        """Whether this worker has looked at every ring there is, and has no room for any of them now."""
        if not self._worker.given_back or self._worker.given_back < self.connection.llen(self.queues[0].key):
            return False
        self._worker.given_back = 0
        return True

    def _next(self, timeout: int | None) -> Any:
        try:
            return self.queue_class.dequeue_any(
                self.queues, timeout, connection=self.connection, job_class=self.job_class, serializer=JSONSerializer
            )
        except DequeueTimeout:
            return None
        except redis.RedisError:
            raise
        except Exception as error:  # a job that is none
            log.warning("a job in Redis cannot be read, it was thrown away", error=_short(error))
            if job_id := getattr(error, "job_id", None):
                self.connection.delete(WakeUp.key_for(job_id))
            return None

    def run_maintenance_tasks(self) -> None:
        try:
            super().run_maintenance_tasks()  # type: ignore[no-untyped-call]
            if self.connection.llen(self.queues[0].key) > 1000:
                # Nobody was there for long. Most of these have expired, and a sweep says it all.
                self.connection.delete(self.queues[0].key)
        except redis.RedisError:
            raise
        except Exception as error:
            log.warning("old rings could not be cleared away", error=_short(error))
        finally:
            self.last_cleaned_at = datetime.now(UTC)  # type: ignore[assignment]

    def subscribe(self) -> None:
        """No remote commands, and no thread to hear them."""

    def unsubscribe(self) -> None:
        pass

    def check_for_suspension(self, burst: bool) -> None:
        pass

    def _install_signal_handlers(self) -> None:
        """The worker has its own."""


# ---------------------------------------------------------------- the worker


@dataclass(frozen=True, slots=True)
class Chore:
    """Something one of all workers does every so many seconds."""

    name: str
    every_seconds: float
    run: Callable[[], object]


class Worker:
    """Answers the doorbell, or polls while there is none, and drains lanes in children until it is told to stop.

    ``due`` tells which lanes have work, ``drain(merchant_id, connection_id, lane)`` works one off, ``broke_down``
    hears of drains that did not come to an orderly end, with the reason. ``lanes`` are the names a ring may carry;
    those that are ``urgent`` go first, and find a third of the children kept free of the others, who find one; those
    that are ``leisurely`` go last, one at a time. Without ``redis_url`` it polls. SIGTERM and SIGINT let the running
    drains finish for ``grace_seconds``; a second one ends them at once.
    """

    def __init__(
        self,
        database: Database,
        *,
        drain: Callable[[UUID, UUID, str], object],
        due: Callable[[], Sequence[Lane]],
        broke_down: Callable[[UUID, UUID, str, str], object],
        lanes: Collection[str],
        urgent: Collection[str] = (),
        leisurely: Collection[str] = (),
        chores: Sequence[Chore] = (),
        redis_url: str | None = None,
        at_once: int = 6,
        deadline_seconds: float = 120.0,
        grace_seconds: float = 20.0,
    ) -> None:
        self._database = database
        self._drain = drain
        self._due = due
        self._broke_down = broke_down
        self._lanes = frozenset(lanes)
        self._urgent = frozenset(urgent)
        self._leisurely = frozenset(leisurely)
        self._chores = dict.fromkeys(chores, 0.0)
        self._redis_url = redis_url
        self._doorbell = RedisDoorbell(redis_url) if redis_url else None
        self._at_once = at_once
        self._deadline = deadline_seconds
        self._grace = grace_seconds
        self._waiting: dict[Lane, None] = {}
        self._draining: dict[Lane, Runner] = {}
        self._idle: dict[UUID, list[Runner]] = {}  # by the connection they have worked for, the last one last
        self._doing: dict[Chore, Child] = {}
        self.given_back = 0  # rings in a row that this worker had no room for
        self._redis_seen: bool | None = None
        self._connection: redis.Redis | None = None
        self._stop_at: float | None = None

    def run(self) -> None:
        """Work until told to stop; returns when the drains that were running have ended."""
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, self._on_signal)
        logging.getLogger("rq.worker").setLevel(logging.CRITICAL)  # it says what is said here, and at every ring
        log.info("worker started", pid=os.getpid(), doorbell="redis" if self._redis_url else "none, polling")
        try:
            while not self.stopping:
                if self._redis_url:
                    self._answer_rings(self._redis_url)
                self._poll(3.0)
        finally:
            self._see_children_out()
        log.info("worker stopped", pid=os.getpid())

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stop_at is not None

    @property
    def busy(self) -> bool:
        """Whether any child is running or any lane waits for one."""
        return bool(self._waiting or self._draining or self._doing)

    # ------------------------------------------------------------ with a doorbell

    def _answer_rings(self, redis_url: str) -> None:
        """Answer rings until Redis fails or the worker is told to stop."""
        self._connection = _client(redis_url, seconds=3.0)
        try:
            _Answering(self, self._connection).work(logging_level=None)
            if not self.stopping:
                self._connection.ping()  # RQ keeps to itself why it stopped
                self._missing_redis("RQ stopped by itself")
        except redis.RedisError as error:
            self._missing_redis(_short(error))
        finally:
            with suppress(redis.RedisError):
                self._connection.close()
            self._connection = None

    def _missing_redis(self, why: str) -> None:
        if self._redis_seen is not False:
            log.warning("Redis does not answer, polling the database until it does", error=why)
        self._redis_seen = False

    def redis_answers(self) -> None:
        """Called at each sign of life of Redis."""
        if not self._redis_seen:
            self._redis_seen = True
            log.info("listening to the doorbell")

    def wake(self, merchant_id: str, connection_id: str, lane: str) -> None:
        """Answer a ring: look at the lane as soon as there is room. This is all that RQ ever runs."""
        try:
            found = (UUID(merchant_id), UUID(connection_id), lane)
        except ValueError:
            found = None
        if found is None or lane not in self._lanes:
            log.warning("a ring for a lane that does not exist was ignored")
            return
        if self._connection is not None:
            # First of all: what is committed from here on rings again.
            with suppress(redis.RedisError):
                self._connection.delete(_flag(found[1], lane))
        if self._doorbell is not None and self._is_full(urgent=lane in self._urgent):
            # What is kept free is kept for others. Another worker may have room for this one.
            self.given_back += 1
            self._doorbell.ring(*found)
            return
        self.given_back = 0
        self._waiting[found] = None

    # ------------------------------------------------------------ without one

    def _poll(self, seconds: float) -> None:
        """Look for work in the database for so long; then there may be a doorbell to try again."""
        end = time.monotonic() + seconds
        pause = 0.2
        while not self.stopping and (time.monotonic() < end):
            found = self._look()
            self._waiting.update(dict.fromkeys(lane for lane in found if lane not in self._draining))
            pause = 0.2 if found else min(0.5, pause * 1.1)
            self.turn()
            self.wait(pause)

    def _look(self) -> Sequence[Lane]:
        try:
            return self._due()
        except Exception as error:
            log.warning("the database could not be asked for work, trying again", error=_short(error))
            self.wait(1.0)
            return ()

    # ------------------------------------------------------------ children

    def turn(self) -> bool:
        """See after the children and start what waits; True while there is room for more."""
        self._reap()
        for chore, at in self._chores.items():
            if time.monotonic() >= at and chore not in self._doing:
                self._chores[chore] = time.monotonic() + chore.every_seconds
                self._start_chore(chore)
        for lane in sorted(self._waiting, key=self._patience):
            if len(self._draining) >= self._at_once:
                break
            if self._may_begin(lane):
                try:
                    self._draining[lane] = self._runner(lane)
                except OSError as error:
                    log.error("no child could be started, trying again", error=_short(error))
                    break
                del self._waiting[lane]
        return len(self._draining) < self._at_once

    def _patience(self, lane: Lane) -> int:
        return (lane[2] in self._leisurely) - (lane[2] in self._urgent)

    def _may_begin(self, lane: Lane) -> bool:
        """Whether there is a child for the lane.

        A connection gets two for urgent lanes and two for the others at most, so that one whose plugin hangs cannot
        take them all, and so that stock does not wait for labels.
        """
        if lane[2] in self._leisurely and any(each[2] in self._leisurely for each in self._draining):
            return False
        urgent = lane[2] in self._urgent
        of_connection = sum(lane[1] == each[1] for each in self._draining if (each[2] in self._urgent) is urgent)
        return lane not in self._draining and of_connection < 2 and not self._is_full(urgent=urgent)

    def _is_full(self, *, urgent: bool) -> bool:
        if len(self._draining) >= self._at_once:
            return True
        if not self._urgent:
            return False
        alike = sum((lane[2] in self._urgent) is urgent for lane in self._draining)
        third = self._at_once // 3
        # However much is urgent, for however long, labels and what channels are told go on one by one.
        return alike >= self._at_once - (min(1, third) if urgent else third)

    def wait(self, seconds: float) -> None:
        """Wait for so long, or until a child ends."""
        children = self._children()
        if children:
            select.select(children, (), (), seconds)
        else:
            time.sleep(seconds)

    def _runner(self, lane: Lane) -> Runner:
        """A process that begins with ``lane``: one that worked for the same connection before, or a new one.

        Never one of another connection: what a plugin leaves behind in its process reaches that connection alone.
        """
        task = " ".join(map(str, lane))
        mine = self._idle.get(lane[1], [])
        while mine:
            runner = mine.pop()
            fresh = runner.tasks < _MOST_TASKS and time.monotonic() - runner.born < _OLDEST
            if fresh and runner.begin(task):
                return runner
            runner.retire()
        others = [(connection_id, each) for connection_id, idle in self._idle.items() for each in idle]
        if len(others) + len(self._draining) >= self._at_once and others:
            connection_id, oldest = min(others, key=lambda each: each[1].born)
            self._idle[connection_id].remove(oldest)
            oldest.retire()
        self._prepare_fork()
        runner = Runner(self._task, self._deadline)
        runner.begin(task)
        return runner

    def _task(self, line: str) -> None:
        merchant_id, connection_id, lane = line.split(" ")
        self._drain(UUID(merchant_id), UUID(connection_id), lane)

    def _prepare_fork(self) -> None:
        # SQLite must not be carried across a fork, and two processes on one connection to PostgreSQL would mix: closed
        # here, there is nothing to carry.
        self._database.close()

    def _child(self, target: Callable[[], object]) -> Child:
        self._prepare_fork()
        return Child(target, self._deadline)

    def _start_chore(self, chore: Chore) -> None:
        try:
            # Held until it runs out: thus it is done once in this time by all workers together.
            if self._database.lease(f"chore:{chore.name}", chore.every_seconds * 0.9) is None:
                return
            self._doing[chore] = self._child(chore.run)
        except (HubError, OSError) as error:
            log.warning("a chore could not be started, trying again", chore=chore.name, error=_short(error))

    def _reap(self) -> None:
        for idle in self._idle.values():
            idle[:] = [runner for runner in idle if not runner.gone()]
        for chore, child in list(self._doing.items()):
            if (ended := child.ended()) is not None:
                del self._doing[chore]
                if ended.reason:
                    log.error("a chore broke down", chore=chore.name, reason=ended.reason)
        for lane, runner in list(self._draining.items()):
            if (ended := runner.ended()) is not None:
                del self._draining[lane]
                if not ended.reason:
                    self._idle.setdefault(lane[1], []).append(runner)
                elif not self.stopping:
                    self._tell(lane, ended)

    def _tell(self, lane: Lane, ended: Exit) -> None:
        log.error("a drain broke down", connection=str(lane[1]), lane=lane[2], reason=ended.reason)
        if ended.database_away:
            return
        try:
            self._broke_down(*lane, ended.reason)
        except Exception as error:
            log.warning("that could not be noted", error=_short(error))

    def _see_children_out(self) -> None:
        self._retire_idle()
        for child in self._children():
            child.ask_to_stop()
        end = (self._stop_at or time.monotonic()) + self._grace
        while (self._draining or self._doing) and time.monotonic() < end:
            self.wait(0.1)
            self._reap()
        self._retire_idle()
        for child in self._children():
            log.warning("a drain did not end in time and was killed", pid=child.pid)
            child.kill()
            while child.ended() is None:
                time.sleep(0.01)

    def _children(self) -> list[Child | Runner]:
        return [*self._draining.values(), *self._doing.values()]

    def _retire_idle(self) -> None:
        for runner in [each for idle in self._idle.values() for each in idle]:
            runner.retire()
        self._idle.clear()

    def _on_signal(self, _signum: int, _frame: FrameType | None) -> None:
        if self._stop_at is None:
            self._stop_at = time.monotonic()
        elif time.monotonic() - self._stop_at > 1.0:  # one press of Ctrl+C may arrive by two ways
            for child in self._children():
                child.kill()
            os._exit(1)
