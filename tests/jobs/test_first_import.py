"""A first import that is killed again and again: it goes on where it was, loses no order, doubles none, stays small."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from bench import cpu, first_import, old_shop, places
from hub.store import tables as t
from hub.store.audit import audit
from hub.store.database import Database
from hub.store.secrets import KeyRing

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

MOST_MEGABYTES = 150  # of one process, however many orders there are


class Progress:
    """What the database says of an import, and how large the processes of its worker have become."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.largest = 0.0

    def look(self, worker: int) -> int:
        """How many orders there are."""
        for pid in cpu.family(worker):
            try:
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            except OSError:
                continue  # it ended at this moment
            peaks = [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")]
            self.largest = max(self.largest, *peaks, 0.0)
        with self._database.read() as connection:
            return connection.execute(select(func.count()).select_from(t.sales_order)).scalar_one()

    def finished(self) -> bool:
        with self._database.read() as connection:
            polled = connection.execute(select(t.cursor.c.polled_at)).scalar_one()
            waits = connection.execute(select(t.inbox.c.id).where(t.inbox.c.state == "pending").limit(1)).first()
        return polled is not None and waits is None


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("opened", "kind", "count", "kills"),
    [
        pytest.param(old_shop.serving, "sqlite", 2_000, 1, id="woocommerce-2000"),
        pytest.param(first_import.simulated, "sqlite", 600, 1, id="shopify-600"),
        *(
            pytest.param(opened, kind, 100_000, 5, id=f"{name}-{kind}-100000", marks=pytest.mark.chaos)
            for name, opened in (("woocommerce", old_shop.serving), ("shopify", first_import.simulated))
            for kind in ("sqlite", "postgresql")
        ),
    ],
)
def test_every_order_is_there_once_though_its_workers_were_killed_half_way(
    opened: Callable[[int], AbstractContextManager[old_shop.OldShop | first_import.SimulatedShop]],
    kind: str,
    count: int,
    kills: int,
) -> None:
    with (
        opened(count) as shop,
        places.database_of(kind) as url,
        places.connected(shop, url, TALLYHUB_ROUTES=shop.routes) as place,
    ):
        database = Database(url, pooled=False)
        places.begin_import(place, database)
        progress = Progress(database)
        for kill in range(1, kills + 1):
            with places.worker(place) as worker:
                wait_until(lambda: progress.look(worker.pid) >= count * kill // (kills + 1), count)  # noqa: B023
                left = cpu.family(worker.pid)
                os.kill(worker.pid, signal.SIGKILL)
                worker.wait(10)
            wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left), count)  # noqa: B023
            assert 0 < progress.look(worker.pid) < count, "it was killed on its way"

        with places.worker(place) as worker:
            wait_until(lambda: progress.look(worker.pid) == count and progress.finished(), count)

        with database.read() as connection:
            known = connection.execute(select(t.sales_order.c.external_id)).scalars().all()
            said = connection.execute(select(t.cursor.c.fetched, t.cursor.c.total)).one()
            records = connection.execute(select(t.inbox.c.state, func.count()).group_by(t.inbox.c.state)).all()
            announced = connection.execute(
                select(func.count()).where(t.activity.c.kind == "order_imported")
            ).scalar_one()
        assert (len(known), set(known)) == (count, shop.orders)
        assert tuple(said) == (count, count)
        assert [tuple(row) for row in records] == [("done", count)], "each was stored once, and read"
        assert announced == count, "each took effect once"
        broken = [
            each.title
            for each in audit(database, KeyRing(place.settings.secret_keys), settle=timedelta(0))
            if each.count
        ]
        assert broken == []
        database.close()
        print(f"the largest process had {progress.largest:.0f} MiB")
        assert progress.largest < MOST_MEGABYTES


def wait_until(condition: Callable[[], bool], count: int) -> None:
    """Wait for it, patiently: other tests run at the same time."""
    gives_up = time.monotonic() + 60 + count / 50
    while not condition():
        assert time.monotonic() < gives_up, "It does not come to an end."
        time.sleep(0.1)
