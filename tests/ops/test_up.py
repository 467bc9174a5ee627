"""`hub up` for real: it comes up, stays up, goes down without a trace, and starts again after the worst end."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import func, select

from hub.processes import find_redis_server
from hub.store import accounts, sandbox
from hub.store import tables as t
from hub.store.database import Database

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
Eventually = Callable[..., None]


class Up:
    """A `hub up` in a data folder of its own."""

    def __init__(self, folder: Path, port: int, **more: str) -> None:
        self.folder = folder
        self.port = port
        self.log = folder.with_suffix(".log")
        environ = {name: value for name, value in os.environ.items() if not name.startswith("TALLYHUB_")}
        environ |= {"TALLYHUB_DATA_DIR": str(folder), "TALLYHUB_PORT": str(port), "TALLYHUB_WORKERS": "1"} | more
        self._log_begins = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hub.cli", "up"],
                env=environ,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def said(self) -> str:
        return self.log.read_bytes()[self._log_begins :].decode()

    def get(self, path: str) -> tuple[int, str]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            return answer.status, answer.read().decode()

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.said()
        # What a killed hub left behind may answer on this port for a moment: it is not this one.
        if "Tallyhub is ready" not in self.said():
            return False
        with suppress(OSError):
            return self.get("/readyz")[0] == 200
        return False

    def tree(self) -> dict[int, str]:
        """Every process that works for this data folder, the supervisor too: pid and command line."""
        marker = f"TALLYHUB_DATA_DIR={self.folder}".encode()
        found = {}
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if not entry.name.isdigit():
                    continue
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                # Redis writes its title over its environment; the title names its socket.
                if marker in (entry / "environ").read_bytes().split(b"\0") or f"{self.folder}/redis" in command:
                    found[int(entry.name)] = command
        return found


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    started: list[Up] = []
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def start(**more: str) -> Up:
        started.append(Up(tmp_path / "hub", port, **more))
        return started[-1]

    yield start
    for each in started:
        for pid in each.tree():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        each.process.wait(60)


def test_it_comes_up_with_everything_and_goes_down_without_a_trace(
    up: Callable[..., Up], eventually: Eventually
) -> None:
    hub = up()
    eventually(hub.is_ready)

    assert json.loads(hub.get("/healthz")[1]) == {"status": "ok"}
    eventually(lambda: "/setup?token=" in hub.said())
    (address,) = re.findall(r"http://127\.0\.0\.1:\d+(/setup\?token=\S+)", hub.said())
    assert hub.get(address)[0] == 200
    programs = " ".join(hub.tree().values())
    assert "hub.cli web" in programs
    assert "hub.cli worker" in programs
    assert ("valkey-server" in programs or "redis-server" in programs) is (find_redis_server() is not None)

    hub.process.send_signal(signal.SIGTERM)
    assert hub.process.wait(60) == 0

    assert hub.tree() == {}
    assert "Tallyhub has stopped." in hub.said()
    assert "Traceback" not in hub.said()


def test_a_killed_web_server_and_a_killed_worker_come_back(up: Callable[..., Up], eventually: Eventually) -> None:
    hub = up(TALLYHUB_REDIS_URL="none")
    eventually(hub.is_ready)
    for name in ("web", "worker"):
        for pid, command in hub.tree().items():
            if command.rstrip().endswith(f"hub.cli {name}"):
                os.kill(pid, signal.SIGKILL)

    eventually(lambda: hub.said().count("Starting it again") >= 2)
    eventually(hub.is_ready)

    assert "web ended (killed by SIGKILL). Starting it again in 0.25 s." in hub.said()
    assert "worker 1 ended (killed by SIGKILL). Starting it again in 0.25 s." in hub.said()
    hub.process.send_signal(signal.SIGINT)
    assert hub.process.wait(60) == 0
    assert hub.tree() == {}


def test_a_second_start_after_the_whole_tree_was_killed_works(up: Callable[..., Up], eventually: Eventually) -> None:
    first = up()
    eventually(first.is_ready)
    for pid in first.tree():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    first.process.wait(60)

    second = up()

    eventually(second.is_ready)
    second.process.send_signal(signal.SIGTERM)
    assert second.process.wait(60) == 0
    assert second.tree() == {}


def test_a_sandbox_begins_anew_when_the_whole_tree_was_killed(up: Callable[..., Up], eventually: Eventually) -> None:
    """Its shops lived in memory: they are gone with all that came of them, and others take their place."""
    first = up(TALLYHUB_REDIS_URL="none")
    eventually(first.is_ready)
    database = Database(f"sqlite:///{first.folder}/tallyhub.sqlite3")
    token = accounts.issue_setup_token(database) or ""
    merchant, _ = accounts.set_up(
        database, token, merchant_name="Tea", email="ada@tea.example", name="Ada", password="a-pot-of-green-tea"
    )
    sandbox.open_up(database, merchant, "ada@tea.example")

    def connected() -> set[UUID]:
        """The connections of the sandbox once they work and have told of their products; until then nothing."""
        shop = t.connection.c
        with database.read() as connection:
            ids = set(connection.execute(select(shop.id).where(shop.state == "connected", shop.sandbox)).scalars())
            told = connection.execute(select(func.count(t.listing.c.connection_id.distinct()))).scalar_one()
        return ids if len(ids) == 4 and told == 2 else set()

    eventually(connected)
    before = connected()
    for pid in first.tree():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    first.process.wait(60)

    second = up(TALLYHUB_REDIS_URL="none")

    eventually(lambda: connected() - before)
    with database.read() as connection:
        found = sandbox.sandbox(connection, merchant)
        rest = connection.execute(select(t.connection.c.id).where(t.connection.c.id.in_(before))).all()
        people = connection.execute(select(func.count()).select_from(t.membership)).scalar_one()
    database.close()
    assert found is not None and (found.beginnings, found.error) == (2, "")
    assert (rest, people) == ([], 1)
    assert "Traceback" not in second.said()
    second.process.send_signal(signal.SIGTERM)
    assert second.process.wait(60) == 0
    assert second.tree() == {}


def test_a_killed_supervisor_takes_everyone_with_it_and_does_not_stand_in_the_way(
    up: Callable[..., Up], eventually: Eventually
) -> None:
    first = up()
    eventually(first.is_ready)
    first.process.kill()
    first.process.wait(60)

    second = up()
    eventually(second.is_ready)

    assert len([each for each in second.tree().values() if each.rstrip().endswith("hub.cli worker")]) == 1
    second.process.send_signal(signal.SIGTERM)
    assert second.process.wait(60) == 0
    eventually(lambda: second.tree() == {})


def test_a_second_hub_on_the_same_folder_says_why_it_does_not_start(
    up: Callable[..., Up], eventually: Eventually
) -> None:
    first = up(TALLYHUB_REDIS_URL="none")
    eventually(first.is_ready)

    second = up(TALLYHUB_REDIS_URL="none")

    assert second.process.wait(60) == 1
    assert f"Error: Tallyhub runs already on {first.folder} (process {first.process.pid})." in second.said()
    assert first.is_ready()
