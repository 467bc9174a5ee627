"""Workers as real processes: nothing is lost when they, Redis or a plugin die, and nothing holds up the others."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from hub.store.database import Database
from hub.wakeup import QUEUE, RedisDoorbell
from tests.servers import RedisServer, die_with_parent

Eventually = Callable[..., None]
SHOP = uuid4()


class Site:
    """A folder of work and the workers that are at it."""

    def __init__(self, folder: Path, database_url: str, eventually: Eventually) -> None:
        self.folder, self.database_url, self.eventually = folder, database_url, eventually
        self.workers: list[subprocess.Popen[bytes]] = []
        (folder / "due").mkdir()

    def start(
        self, redis_url: str = "poll", sweep_seconds: float = 0.5, deadline_seconds: float = 60.0
    ) -> subprocess.Popen[bytes]:
        log = (self.folder / f"log{len(self.workers)}").open("wb")
        worker = subprocess.Popen(
            [sys.executable, "-m", "tests.engine.real_worker", self.database_url, redis_url, self.folder,
             str(sweep_seconds), str(deadline_seconds)],
            stdout=log, stderr=subprocess.STDOUT, preexec_fn=die_with_parent,
        )  # fmt: skip
        log.close()
        self.workers.append(worker)
        self.eventually(lambda: "worker started" in self.log(-1))
        return worker

    def log(self, number: int = -1) -> str:
        return (self.folder / f"log{range(len(self.workers))[number]}").read_text()

    def need(self, lane: str = "work", connection_id: UUID | None = None) -> UUID:
        """Make a lane due; returns the connection's id."""
        connection_id = connection_id or uuid4()
        (self.folder / "due" / f"{SHOP}_{connection_id}_{lane}").touch()
        return connection_id

    def let_go(self) -> None:
        """Let the drains of the lane "slow" come to their end, now and from here on."""
        (self.folder / "go").touch()

    def lines(self, file: str) -> list[str]:
        path = self.folder / file
        return path.read_text().splitlines() if path.exists() else []

    def all_done(self) -> bool:
        return not list((self.folder / "due").iterdir())

    def drainer(self, lane: str) -> int:
        """The process that drains the lane."""
        path = self.folder / f"pid_{lane}"
        self.eventually(lambda: path.exists() and path.read_text())
        return int(path.read_text())

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait()


@pytest.fixture
def site(tmp_path: Path, database_url: str, eventually: Eventually) -> Iterator[Site]:
    site = Site(tmp_path, database_url, eventually)
    yield site
    site.close()


# One kind of database is enough where the database is not what the test is about.
on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# ---------------------------------------------------------------- polling


def test_polls_drains_and_stops_in_order(site: Site, database: Database, eventually: Eventually) -> None:
    worker = site.start()
    for _ in range(5):
        site.need()
    eventually(site.all_done)

    worker.send_signal(signal.SIGTERM)

    assert worker.wait(60) == 0
    assert "worker stopped" in site.log()
    assert len(site.lines("done")) == 5


@on_sqlite
def test_a_plugin_that_hangs_holds_up_nobody(site: Site, eventually: Eventually) -> None:
    site.start()
    site.need("hang")
    hanging = site.drainer("hang")
    good = [site.need() for _ in range(10)]

    eventually(lambda: len(site.lines("done")) >= 10)

    assert sorted(site.lines("done")) == sorted(f"{each} work" for each in good)
    assert site.lines("broke") == []  # it had not to be killed before
    assert runs(hanging)


@on_sqlite
def test_a_connection_all_of_whose_lanes_hang_cannot_take_every_child(site: Site, eventually: Eventually) -> None:
    bad = uuid4()
    for lane in ("hang", "patient", "stuck"):
        site.need(lane, bad)
    site.start()
    site.drainer("hang")
    good = site.need()

    eventually(lambda: f"{good} work" in site.lines("done"))

    assert site.lines("broke") == []  # there was room before the first of them was killed


@on_sqlite
def test_what_is_urgent_finds_room_however_busy_the_others_are(site: Site, eventually: Eventually) -> None:
    busy = uuid4()
    for lane in ("patient", "hang"):
        site.need(lane, busy)
    for _ in range(3):
        site.need("patient")
    site.start()
    site.drainer("patient")
    site.need("urgent", busy)

    eventually(lambda: f"{busy} urgent" in site.lines("done"))

    assert site.lines("broke") == []  # nothing had to end before


@on_sqlite
def test_however_much_is_urgent_the_others_go_on(site: Site, eventually: Eventually) -> None:
    for _ in range(6):
        site.need("pressing")
    site.start()
    site.drainer("pressing")
    label = site.need()

    eventually(lambda: f"{label} work" in site.lines("done"))

    assert site.lines("broke") == []  # nothing had to end before


@on_sqlite
def test_what_nobody_waits_for_takes_one_child_at_most(site: Site, eventually: Eventually) -> None:
    for _ in range(6):
        site.need("leisure")
    site.start()
    site.drainer("leisure")
    label = site.need()

    eventually(lambda: f"{label} work" in site.lines("done"))

    assert site.lines("broke") == []  # nothing had to end before


@on_sqlite
@pytest.mark.parametrize(
    ("lane", "reason"),
    [("crash", "killed by SIGABRT"), ("exit", "SystemExit: 0"), ("hang", "it took longer than 2 seconds")],
)
def test_hears_of_drains_that_break_down_and_goes_on(
    site: Site, eventually: Eventually, lane: str, reason: str
) -> None:
    worker = site.start(deadline_seconds=2)
    bad = site.need(lane)
    eventually(lambda: f"{bad} {lane} {reason}" in site.lines("broke"))

    (site.folder / "due" / f"{SHOP}_{bad}_{lane}").unlink()  # the plugin was mended
    site.need()

    eventually(lambda: len(site.lines("done")) == 1)
    assert worker.poll() is None


@on_sqlite
def test_a_database_that_is_away_is_not_held_against_the_connection(site: Site, eventually: Eventually) -> None:
    site.start()
    site.need("away")
    eventually(lambda: "the database was away" in site.log())

    assert site.lines("broke") == []


@on_sqlite
def test_what_a_plugin_leaves_running_is_ended(site: Site, eventually: Eventually) -> None:
    site.start()
    site.need("litter")
    eventually(site.all_done)

    eventually(lambda: not runs(int((site.folder / "litter").read_text())))


@on_sqlite
def test_a_chore_is_done_by_one_of_all_workers(site: Site, eventually: Eventually) -> None:
    for _ in range(3):
        site.start(sweep_seconds=0.5)
    began, before = time.monotonic(), len(site.lines("chores"))
    eventually(lambda: len(site.lines("chores")) >= before + 3)
    done = len(site.lines("chores")) - before

    assert done <= (time.monotonic() - began) / 0.45 + 1


# ---------------------------------------------------------------- stopping


@on_sqlite
def test_lets_the_running_drain_finish_and_begins_nothing_new(site: Site, eventually: Eventually) -> None:
    worker = site.start()
    slow = site.need("slow")
    site.drainer("slow")

    worker.send_signal(signal.SIGTERM)
    eventually(lambda: site.lines("asked to stop"))
    later = site.need()
    site.let_go()

    assert worker.wait(60) == 0
    assert site.lines("done") == [f"{slow} slow"]
    assert not site.all_done()

    site.start()
    eventually(site.all_done)
    assert site.lines("done")[1:] == [f"{later} work"]


@on_sqlite
def test_a_drain_that_can_stop_early_is_told_to(site: Site) -> None:
    worker = site.start()
    patient = site.need("patient")
    site.drainer("patient")

    worker.send_signal(signal.SIGINT)

    assert worker.wait(60) == 0
    assert site.lines("done") == [f"{patient} patient"]


@on_sqlite
def test_a_second_signal_ends_it_at_once(site: Site, eventually: Eventually) -> None:
    worker = site.start()
    site.need("hang")
    child = site.drainer("hang")
    worker.send_signal(signal.SIGTERM)
    worker.send_signal(signal.SIGINT)  # the same press of Ctrl+C, by another way
    time.sleep(1.05)
    assert worker.poll() is None

    def ended() -> bool:
        worker.send_signal(signal.SIGTERM)
        return worker.poll() is not None

    eventually(ended)
    assert worker.returncode == 1
    eventually(lambda: not runs(child))
    assert site.lines("done") == []


@on_sqlite
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_killed_worker_leaves_no_orphan_and_its_work_to_the_next(site: Site, eventually: Eventually) -> None:
    worker = site.start()
    site.need("slow")
    child = site.drainer("slow")

    worker.kill()
    worker.wait()

    eventually(lambda: not runs(child))
    assert site.lines("done") == []
    site.let_go()
    site.start()
    eventually(site.all_done)
    assert len(site.lines("done")) == 1


# ---------------------------------------------------------------- with a doorbell


def test_answers_a_ring_long_before_the_next_sweep(
    site: Site, redis_server: RedisServer, eventually: Eventually
) -> None:
    site.start(redis_server.url, sweep_seconds=600)
    eventually(lambda: "listening to the doorbell" in site.log() and site.lines("chores"))
    doorbell = RedisDoorbell(redis_server.url)

    for number in range(1, 4):
        doorbell.ring(SHOP, site.need(), "work")
        eventually(lambda number=number: len(site.lines("done")) >= number)


@on_sqlite
def test_a_ring_during_a_drain_leads_to_another_one(
    site: Site, redis_server: RedisServer, eventually: Eventually
) -> None:
    site.start(redis_server.url, sweep_seconds=600)
    doorbell = RedisDoorbell(redis_server.url)
    connection_id = site.need("slow")
    doorbell.ring(SHOP, connection_id, "slow")
    site.drainer("slow")

    doorbell.ring(SHOP, connection_id, "slow")
    site.let_go()

    eventually(lambda: len(site.lines("done")) >= 2)


@on_sqlite
def test_a_ring_lost_between_being_taken_and_being_answered_is_made_up_for(
    site: Site, redis_server: RedisServer, eventually: Eventually
) -> None:
    connection_id = site.need()
    RedisDoorbell(redis_server.url).ring(SHOP, connection_id, "work")
    client = redis_server.client()
    # What a worker leaves behind that is killed right after RQ has taken a job off the queue.
    assert client.blmove(f"rq:queue:{QUEUE}", f"rq:queue:{QUEUE}:intermediate", 1)
    client.close()

    site.start(redis_server.url)

    eventually(site.all_done)


@on_sqlite
def test_wiping_redis_all_the_time_loses_nothing(site: Site, redis_server: RedisServer, eventually: Eventually) -> None:
    site.start(redis_server.url)
    doorbell = RedisDoorbell(redis_server.url)
    client = redis_server.client()
    needed = []
    for _ in range(30):
        needed.append(site.need())
        doorbell.ring(SHOP, needed[-1], "work")
        client.flushall()
        time.sleep(0.02)
    client.close()

    eventually(site.all_done)
    assert {line.split()[0] for line in site.lines("done")} == {str(each) for each in needed}


@on_sqlite
def test_polls_while_redis_is_away_and_listens_again_when_it_is_back(
    site: Site, redis_server: RedisServer, eventually: Eventually
) -> None:
    redis_server.stop()
    worker = site.start(redis_server.url)
    site.need()
    eventually(site.all_done)

    redis_server.start()
    eventually(lambda: "listening to the doorbell" in site.log())
    site.need()
    eventually(site.all_done)

    redis_server.stop()
    site.need()
    eventually(site.all_done)
    time.sleep(3.5)  # it tries again, and says nothing

    assert site.log().count("Redis does not answer") == 2
    assert site.log().count("listening to the doorbell") == 1
    assert "Traceback" not in site.log()
    assert worker.poll() is None
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0


@on_sqlite
def test_polls_while_redis_takes_connections_and_says_nothing(
    site: Site, redis_server: RedisServer, eventually: Eventually
) -> None:
    site.start(redis_server.url, sweep_seconds=600)
    eventually(lambda: "listening to the doorbell" in site.log())
    redis_server.pause()
    site.need()

    eventually(site.all_done)


@on_sqlite
def test_polls_while_redis_refuses_the_password(site: Site, redis_server: RedisServer, eventually: Eventually) -> None:
    client = redis_server.client()
    client.config_set("requirepass", "secret")
    worker = site.start(redis_server.url)
    site.need()
    eventually(site.all_done)
    assert "Redis does not answer" in site.log()

    client.config_set("requirepass", "")
    client.close()
    eventually(lambda: "listening to the doorbell" in site.log())
    assert worker.poll() is None


@on_sqlite
def test_forged_rings_lead_nowhere_and_the_worker_lives(
    site: Site, redis_server: RedisServer, eventually: Eventually
) -> None:
    from rq import Queue

    worker = site.start(redis_server.url, sweep_seconds=600)
    client = redis_server.client()
    queue = Queue(QUEUE, connection=client, serializer="json")
    queue.enqueue("hub.wakeup.wake", "not an id", str(uuid4()), "work")
    queue.enqueue("hub.wakeup.wake", str(SHOP), str(uuid4()), "no such lane")
    queue.enqueue("hub.wakeup.wake", str(SHOP), str(uuid4()), "../../etc")
    queue.enqueue("os.system", f"touch {site.folder / 'owned'}")
    connection_id = site.need()
    RedisDoorbell(redis_server.url).ring(SHOP, connection_id, "work")
    client.close()

    eventually(lambda: f"{connection_id} work" in site.lines("done"))

    assert site.log().count("a ring for a lane that does not exist was ignored") == 3
    assert not (site.folder / "owned").exists()
    assert worker.poll() is None


@on_sqlite
def test_is_one_thread_so_that_it_may_fork(site: Site, redis_server: RedisServer, eventually: Eventually) -> None:
    worker = site.start(redis_server.url)
    eventually(lambda: "listening to the doorbell" in site.log())

    assert len(list(Path(f"/proc/{worker.pid}/task").iterdir())) == 1


@on_sqlite
def test_a_worker_with_its_hands_full_leaves_the_rings_to_others(
    site: Site, redis_server: RedisServer, eventually: Eventually
) -> None:
    site.start(redis_server.url, sweep_seconds=600)
    doorbell = RedisDoorbell(redis_server.url)
    client = redis_server.client()
    for _ in range(6):
        doorbell.ring(SHOP, site.need("slow"), "slow")
    site.drainer("slow")
    end = time.monotonic() + 1
    while time.monotonic() < end:
        # It runs three at once and takes no more; one may just be on its way back.
        assert client.llen(f"rq:queue:{QUEUE}") >= 2
        time.sleep(0.02)

    site.let_go()
    site.start(redis_server.url, sweep_seconds=600)

    eventually(site.all_done)
    client.close()
