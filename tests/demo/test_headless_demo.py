"""The demo without a person, for real: two shops, a hub in a process tree of its own, and a clean count at the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from hub.store import migrate
from hub.store import tables as t
from hub.store.database import Database, new_id
from tests.ops.shop import NOON
from tests.servers import empty_database

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


class DemoRun:
    """A `hub demo --headless` in a folder of its own."""

    def __init__(self, folder: Path, *arguments: str, **settings: str) -> None:
        self.folder = folder
        self.report = folder.with_suffix(".json")
        environ = {name: value for name, value in os.environ.items() if not name.startswith("TALLYHUB_")} | settings
        command = [sys.executable, "-m", "hub.cli", "demo", "--headless", "--data-dir", str(folder)]
        self.process = subprocess.Popen(
            [*command, "--report", str(self.report), *arguments],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def workers(self) -> list[int]:
        """The process ids of its workers, without the children of those."""
        marker = f"TALLYHUB_DATA_DIR={self.folder}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit() and marker in (entry / "environ").read_bytes().split(b"\0"):
                    command = (entry / "cmdline").read_bytes().split(b"\0")
                    leads = os.getsid(int(entry.name)) == int(entry.name)
                    if b"worker" in command and leads:
                        found.append(int(entry.name))
        return found

    def result(self, seconds: float = 450) -> tuple[int, str, dict[str, Any]]:
        """(exit code, what it said, its report)."""
        said, _ = self.process.communicate(timeout=seconds)
        report = json.loads(self.report.read_text()) if self.report.exists() else {}
        return self.process.returncode, said, report


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Callable[..., DemoRun]]:
    runs: list[DemoRun] = []

    def start(*arguments: str, **settings: str) -> DemoRun:
        runs.append(DemoRun(tmp_path / "demo", *arguments, **settings))
        return runs[-1]

    yield start
    for each in runs:
        if each.process.poll() is None:
            each.process.kill()
            each.process.communicate()


@pytest.fixture
def empty_postgresql(_postgres_url: str) -> Iterator[str]:
    """The address of a database without tables."""
    with empty_database(_postgres_url, f"demo_{new_id().hex}") as url:
        yield url


def assert_clean(code: int, said: str, report: dict[str, Any]) -> None:
    assert code == 0, said
    assert report["orders_placed"] > 0
    assert report["orders_imported"] == report["orders_placed"]
    # Two shops sell everything; on Amazon there are twelve of the merchant's own and four that Amazon ships.
    assert report["listings_converged"] == report["listings"] == 2 * 48 + 12 + 4
    assert report["shipped_by_channels"] == report["orders_of_channels"]
    # Of every channel something came to a doorstep, and each was told of every parcel, each paid for or asked for once.
    assert all(report["delivered_by_shop"][shop] >= 1 for shop in ("shopify", "woocommerce", "amazon")), report
    assert report["shipments_confirmed"] == report["shipments"] >= 3
    assert report["labels_charged"] == report["labels_bought"] >= 3
    assert report["orders_at_3pl"] == report["orders_asked_of_3pl"] >= 1
    for name in ("duplicates", "oversold", "audit_violations", "units_unexplained", "quarantined"):
        assert report[name] == 0, (name, report)


@pytest.mark.timeout(480)
def test_every_order_arrives_once_and_every_shop_says_the_same(demo: Callable[..., DemoRun]) -> None:
    code, said, report = demo("--seconds", "8", "--rate", "5", TALLYHUB_REDIS_URL="none").result()

    assert_clean(code, said, report)
    assert 15 <= report["orders_placed"] <= 80
    assert (report["database"], report["redis"], report["rate"], report["restarts"]) == ("sqlite", "none", 5.0, 0)
    times = report["propagation_ms"]
    assert 0 < times["p50"] <= times["p95"] <= times["p99"]
    assert "Nothing lost, nothing doubled, nothing oversold" in said
    assert "Password" in said


def test_it_refuses_a_database_that_somebody_works_with(demo: Callable[..., DemoRun], tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/shop.sqlite3")
    migrate.upgrade(database)
    with database.write() as connection:
        connection.execute(insert(t.merchant).values(id=new_id(), name="Corner Shop", created_at=NOON))
    url = database.url.render_as_string()

    code, said, report = demo("--seconds", "5", TALLYHUB_DATABASE_URL=url).result(60)

    assert (code, report) == (1, {})
    assert "This database belongs to Corner Shop. The demo needs one of its own" in said
    with database.read() as connection:
        assert connection.execute(t.merchant.select()).one().name == "Corner Shop"
    database.close()


@pytest.mark.chaos
@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
@pytest.mark.parametrize("redis", ["none", "private"])
def test_killing_the_workers_again_and_again_changes_nothing(
    demo: Callable[..., DemoRun], request: pytest.FixtureRequest, kind: str, redis: str
) -> None:
    settings = {"TALLYHUB_REDIS_URL": "none"} if redis == "none" else {}
    if kind == "postgresql":
        settings["TALLYHUB_DATABASE_URL"] = request.getfixturevalue("empty_postgresql")
    run = demo("--seconds", "20", "--rate", "10", **settings)
    killed = 0
    end = time.monotonic() + 32  # well into the selling, which begins after some five seconds
    while time.monotonic() < end and run.process.poll() is None:
        time.sleep(2.0)
        if run.report.with_name("demo").joinpath("hub.log").exists() and time.monotonic() > end - 24:
            for pid in run.workers():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed += 1

    code, said, report = run.result()

    assert_clean(code, said, report)
    assert killed >= 5
    assert report["restarts"] >= 5
