"""The doorbell: it never holds anybody up, and nothing that stands in Redis is run but a ring."""

from __future__ import annotations

import http.server
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
import structlog.testing
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Callback, Queue, Webhook
from rq.job import Job

from hub import wakeup
from hub.wakeup import QUEUE, RedisDoorbell, SilentDoorbell, WakeUp, _Answering
from tests.servers import RedisServer

SHOP, GREEN, BLUE = uuid4(), uuid4(), uuid4()


@pytest.fixture
def doorbell(redis_server: RedisServer) -> RedisDoorbell:
    return RedisDoorbell(redis_server.url)


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    client = redis_server.client()
    yield client
    client.close()


class Ears:
    """Stands in for the worker: hears rings until the queue is empty."""

    busy = True
    given_back = 0

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self.heard: list[tuple[str, str, str]] = []

    @property
    def stopping(self) -> bool:
        return self.client.llen(f"rq:queue:{QUEUE}") == 0

    def wake(self, merchant_id: str, connection_id: str, lane: str) -> None:
        self.heard.append((merchant_id, connection_id, lane))

    def turn(self) -> bool:
        return True

    def wait(self, seconds: float) -> None:
        pass

    def redis_answers(self) -> None:
        pass


@pytest.fixture
def listen(client: redis.Redis) -> Callable[[], list[tuple[str, str, str]]]:
    """Answers all that is in the queue as a worker would, and returns the rings that were heard."""

    def listen() -> list[tuple[str, str, str]]:
        ears = Ears(client)
        last = ("the", "last", "ring")
        Queue(QUEUE, connection=client, serializer="json").enqueue("hub.wakeup.wake", *last, result_ttl=0)
        _Answering(ears, client).work(logging_level="CRITICAL")  # type: ignore[arg-type]
        assert ears.heard.pop() == last  # nothing that came before it stops it
        return ears.heard

    return listen


# ---------------------------------------------------------------- ringing


def test_a_ring_carries_ids_in_json_and_is_gone_soon(doorbell: RedisDoorbell, client: redis.Redis) -> None:
    doorbell.ring(SHOP, GREEN, "inbox")

    (job_id,) = client.lrange(f"rq:queue:{QUEUE}", 0, -1)
    job = WakeUp.fetch(job_id.decode(), connection=client)
    assert job.func_name == "hub.wakeup.wake"
    assert job.args == [str(SHOP), str(GREEN), "inbox"]
    assert 0 < client.ttl(job.key) <= 60
    assert (job.result_ttl, job.retries_left, job.webhooks) == (0, None, [])


def test_is_heard_by_a_worker_and_leaves_nothing_behind(
    doorbell: RedisDoorbell, listen: Any, client: redis.Redis
) -> None:
    doorbell.ring(SHOP, GREEN, "inbox")

    assert listen() == [(str(SHOP), str(GREEN), "inbox")]

    assert client.keys("rq:job:*") == []
    assert client.llen(f"rq:queue:{QUEUE}:intermediate") == 0


def test_rings_once_for_a_burst_and_again_after_it(
    doorbell: RedisDoorbell, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert wakeup._COALESCE_SECONDS <= 2, "shorter than the pause between two sweeps"
    monkeypatch.setattr(wakeup, "_COALESCE_SECONDS", 60)  # the rings of a busy machine are one burst all the same

    def length() -> int:
        return client.llen(f"rq:queue:{QUEUE}")

    for _ in range(50):
        doorbell.ring(SHOP, GREEN, "inbox")
    assert length() == 1
    doorbell.ring(SHOP, GREEN, "publish")
    doorbell.ring(SHOP, BLUE, "inbox")
    assert length() == 3

    for rung in client.keys("*:rung:*"):
        assert 0 < client.ttl(rung) <= 60
        client.delete(rung)  # when its time is over
    doorbell.ring(SHOP, GREEN, "inbox")
    assert length() == 4


def test_gives_up_quickly_when_redis_is_away_and_rings_when_it_is_back(
    doorbell: RedisDoorbell, redis_server: RedisServer, listen: Any, eventually: Callable[..., None]
) -> None:
    redis_server.stop()
    began = time.monotonic()
    with structlog.testing.capture_logs() as logs:
        for _ in range(100):
            doorbell.ring(SHOP, GREEN, "inbox")
    assert time.monotonic() - began < 10, "a hundred waits would take twenty seconds"
    assert [each["log_level"] for each in logs] == ["warning"]

    redis_server.start()

    def heard() -> bool:
        doorbell.ring(SHOP, GREEN, "inbox")
        return bool(listen())

    eventually(heard)


def test_gives_up_quickly_when_redis_takes_the_connection_and_says_nothing(
    doorbell: RedisDoorbell, redis_server: RedisServer
) -> None:
    doorbell.ring(SHOP, GREEN, "inbox")
    redis_server.pause()

    began = time.monotonic()
    doorbell.ring(SHOP, GREEN, "publish")
    assert time.monotonic() - began < 2

    began = time.monotonic()
    for _ in range(100):
        doorbell.ring(SHOP, GREEN, "effects")  # does not even try
    assert time.monotonic() - began < 10, "a hundred waits would take twenty seconds"


@pytest.mark.parametrize("setting", [("maxmemory", "1"), ("requirepass", "secret")])
def test_a_redis_that_refuses_holds_up_nobody(
    doorbell: RedisDoorbell, client: redis.Redis, setting: tuple[str, str]
) -> None:
    client.config_set(*setting)

    doorbell.ring(SHOP, GREEN, "inbox")


def test_never_says_the_password(redis_server: RedisServer) -> None:
    redis_server.stop()
    with structlog.testing.capture_logs() as logs:
        RedisDoorbell("redis://user:hunter2@127.0.0.1:1/0").ring(SHOP, GREEN, "inbox")

    assert len(logs) == 1
    assert "hunter2" not in str(logs)


def test_without_redis_there_is_nothing_to_ring() -> None:
    SilentDoorbell().ring(SHOP, GREEN, "inbox")


# ---------------------------------------------------------------- what stands in Redis is not to be trusted


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


@pytest.fixture
def attacker(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """Somebody who can write to Redis, and knows RQ."""
    client = redis.Redis(unix_socket_path=str(redis_server.socket), retry=Retry(NoBackoff(), 0))
    yield client
    client.close()


def test_a_foreign_function_is_not_run(attacker: redis.Redis, listen: Any, tmp_path: Path) -> None:
    queue = Queue(QUEUE, connection=attacker, serializer="json")
    queue.enqueue("os.system", f"touch {tmp_path / 'owned'}")
    queue.enqueue("os.symlink", "anywhere", f"{tmp_path / 'owned'}", "with three texts, as a ring has")

    assert listen() == []
    assert list(tmp_path.iterdir()) == []


def test_a_pickle_is_not_loaded_wherever_it_stands(attacker: redis.Redis, listen: Any, tmp_path: Path) -> None:
    bomb = pickle.dumps(Bomb(tmp_path / "owned"))
    Queue(QUEUE, connection=attacker).enqueue("hub.wakeup.wake", Bomb(tmp_path / "owned"), "b", "c")
    for field in ("data", "meta", "result", "exc_info"):
        job = Queue(QUEUE, connection=attacker, serializer="json").enqueue("hub.wakeup.wake", "a", "b", field)
        attacker.hset(job.key, field, bomb)

    heard = listen()

    assert [lane for _, _, lane in heard] == ["meta", "result"]  # these two are rings, with ballast
    job = Queue(QUEUE, connection=attacker, serializer="json").enqueue("hub.wakeup.wake", "a", "b", "c")
    attacker.hset(job.key, "meta", bomb)
    WakeUp.fetch(job.id, connection=attacker)  # RQ itself forgets the serializer here and there
    assert not (tmp_path / "owned").exists()


def test_callbacks_are_not_called(attacker: redis.Redis, listen: Any, tmp_path: Path) -> None:
    job = Queue(QUEUE, connection=attacker, serializer="json").enqueue(
        "hub.wakeup.wake", "a", "b", "c",
        on_success=Callback("os.system"), on_failure=Callback("os.system"), on_stopped=Callback("os.system"),
    )  # fmt: skip
    assert attacker.hget(job.key, "success_callback_name") == b"os.system"
    failing = Queue(QUEUE, connection=attacker, serializer="json").enqueue(
        "os.system", "true", on_failure=Callback("tests.engine.test_doorbell.touch")
    )
    assert failing.id

    assert listen() == [("a", "b", "c")]
    assert touched == []


touched: list[Any] = []


def touch(*arguments: Any) -> None:
    touched.append(arguments)


def test_an_instance_or_keywords_are_refused(attacker: redis.Redis, listen: Any) -> None:
    import json
    import zlib

    for payload in (
        ["hub.wakeup.wake", {"an": "instance"}, ["a", "b", "c"], {}],
        ["hub.wakeup.wake", None, ["a", "b", "c"], {"more": 1}],
        ["hub.wakeup.wake", None, ["a", "b"], {}],
        ["hub.wakeup.wake", None, ["a", "b", 3], {}],
        ["wake", None, ["a", "b", "c"], {}],
        {"not": "a list"},
        "text",
        None,
    ):
        job = Queue(QUEUE, connection=attacker, serializer="json").enqueue("hub.wakeup.wake", "a", "b", "c")
        attacker.hset(job.key, "data", zlib.compress(json.dumps(payload).encode()))

    assert listen() == []


@pytest.fixture
def trap() -> Iterator[tuple[str, list[str]]]:
    """An address on this machine, and the requests that reached it."""
    reached: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            reached.append(self.path)
            self.send_response(200)
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *arguments: Any) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/internal", reached
    server.shutdown()
    thread.join()
    server.server_close()


def test_no_address_named_in_a_job_is_called(attacker: redis.Redis, listen: Any, trap: tuple[str, list[str]]) -> None:
    address, reached = trap
    queue = Queue(QUEUE, connection=attacker, serializer="json")
    hooks = [Webhook(address, status) for status in ("finished", "failed")]
    queue.enqueue("hub.wakeup.wake", "a", "b", "c", webhooks=hooks)
    queue.enqueue("os.system", "true", webhooks=hooks)

    assert listen() == [("a", "b", "c")]
    assert reached == []


def test_nothing_is_repeated_retried_or_set_off_afterwards(attacker: redis.Redis, listen: Any) -> None:
    queue = Queue(QUEUE, connection=attacker, serializer="json")
    ring = queue.enqueue("hub.wakeup.wake", "a", "b", "c")
    attacker.hset(ring.key, mapping={"repeats_left": 5, "repeat_intervals": "[0]", "timeout": 1, "result_ttl": 9999})
    foreign = queue.enqueue("os.system", "true", "", "")
    attacker.hset(foreign.key, mapping={"retries_left": 5, "retry_intervals": "[0]", "failure_ttl": 999_999})

    assert listen() == [("a", "b", "c")]

    assert attacker.llen(f"rq:queue:{QUEUE}") == 0
    assert not attacker.exists(ring.key)
    assert 0 < attacker.ttl(foreign.key) <= 60


@pytest.mark.parametrize(
    "fields",
    [
        {"data": b"\xff\xfe"},
        {"created_at": "yesterday"},
        {"timeout": "soon"},
        {"retries_left": "many"},
        {"success_callback_name": b"\xff"},
        {"meta": "x" * 20_000},
    ],
)
def test_a_job_that_cannot_be_read_does_not_stop_the_rings_behind_it(
    attacker: redis.Redis, listen: Any, fields: dict[str, Any]
) -> None:
    queue = Queue(QUEUE, connection=attacker, serializer="json")
    broken = queue.enqueue("hub.wakeup.wake", "a", "b", "broken")
    attacker.hset(broken.key, mapping=fields)
    attacker.lpush(f"rq:queue:{QUEUE}", "no-such-job")
    queue.enqueue("hub.wakeup.wake", "a", "b", "behind it")

    assert listen() == [("a", "b", "behind it")]


def test_a_suspended_queue_and_commands_from_redis_are_ignored(
    attacker: redis.Redis, doorbell: RedisDoorbell, listen: Any
) -> None:
    attacker.set("rq:suspended", 1)
    doorbell.ring(SHOP, GREEN, "inbox")
    before = threading.active_count()

    assert listen() == [(str(SHOP), str(GREEN), "inbox")]

    assert threading.active_count() == before


def test_a_heap_of_old_rings_is_dropped_for_the_sweep_says_it_all(
    client: redis.Redis, doorbell: RedisDoorbell, listen: Any
) -> None:
    client.rpush(f"rq:queue:{QUEUE}", *(str(uuid4()) for _ in range(1001)))

    _Answering(Ears(client), client).work(logging_level="CRITICAL")  # type: ignore[arg-type]

    assert client.llen(f"rq:queue:{QUEUE}") == 0
    doorbell.ring(SHOP, GREEN, "inbox")
    assert listen() == [(str(SHOP), str(GREEN), "inbox")]


def test_a_worker_without_our_job_class_would_have_run_it(attacker: redis.Redis, tmp_path: Path) -> None:
    """Shows that the attacks above are real ones."""
    from rq import SimpleWorker

    queue = Queue(QUEUE, connection=attacker, serializer="json")
    queue.enqueue("os.system", f"touch {tmp_path / 'owned'}", job_timeout=60)

    class Quiet(SimpleWorker):
        def subscribe(self) -> None:
            pass

        def unsubscribe(self) -> None:
            pass

        def _install_signal_handlers(self) -> None:
            pass

    Quiet([queue], connection=attacker, serializer="json").work(burst=True, logging_level="CRITICAL")

    assert (tmp_path / "owned").exists()
    assert issubclass(WakeUp, Job)
