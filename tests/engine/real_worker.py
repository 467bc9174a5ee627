"""A worker as a process of its own, for tests that stop, kill and starve it. Work is files in a folder.

    python -m tests.engine.real_worker DATABASE_URL REDIS_URL|poll FOLDER [SWEEP_SECONDS [DEADLINE_SECONDS]]

A file ``due/<merchant>_<connection>_<lane>`` means that the lane has work; what draining it does is the lane's name.
``done`` has a line for each drain that came to its end, ``broke`` one for each that did not, ``chores`` one per sweep,
``asked to stop`` one for each slow drain that was. Slow ones end when there is a file ``go``.
"""

from __future__ import annotations

import faulthandler
import os
import subprocess
import sys
import time
from pathlib import Path
from uuid import UUID

import structlog

from hub.children import stop_requested
from hub.store.database import Database, DatabaseAway
from hub.wakeup import Chore, RedisDoorbell, Worker


def main(
    database_url: str, redis_url: str, folder: str, sweep_seconds: str = "0.5", deadline_seconds: str = "60"
) -> None:
    root = Path(folder)
    doorbell = RedisDoorbell(redis_url) if redis_url != "poll" else None

    def say(file: str, *words: object) -> None:
        with (root / file).open("a") as out:
            out.write(" ".join(map(str, words)) + "\n")

    def due() -> list[tuple[UUID, UUID, str]]:
        found = []
        for path in sorted((root / "due").iterdir()):
            merchant, connection, lane = path.name.split("_")
            found.append((UUID(merchant), UUID(connection), lane))
        return found

    def drain(merchant_id: UUID, connection_id: UUID, lane: str) -> None:
        mine = root / f"pid_{lane}_{os.getpid()}"
        mine.write_text(str(os.getpid()))
        mine.rename(root / f"pid_{lane}")
        if lane in ("hang", "stuck"):
            while True:
                time.sleep(60)
        elif lane == "crash":
            faulthandler.disable()
            os.abort()
        elif lane == "exit":
            sys.exit(0)
        elif lane == "away":
            raise DatabaseAway("The database cannot be reached.")
        elif lane == "slow":
            asked = False
            while not (root / "go").exists():
                if stop_requested() and not asked:
                    asked = True
                    say("asked to stop", lane)
                time.sleep(0.01)
        elif lane in ("patient", "pressing", "leisure"):
            while not stop_requested():
                time.sleep(0.01)
        elif lane == "litter":
            (root / "litter").write_text(str(subprocess.Popen(["/bin/sleep", "60"]).pid))
        (root / "due" / f"{merchant_id}_{connection_id}_{lane}").unlink(missing_ok=True)
        say("done", connection_id, lane)

    def sweep() -> None:
        say("chores", "sweep")
        for each in due():
            if doorbell:
                doorbell.ring(*each)

    Worker(
        Database(database_url),
        drain=drain,
        due=due,
        broke_down=lambda merchant_id, connection_id, lane, reason: say("broke", connection_id, lane, reason),
        lanes=[
            "work",
            "hang",
            "stuck",
            "crash",
            "exit",
            "away",
            "slow",
            "patient",
            "litter",
            "urgent",
            "pressing",
            "leisure",
        ],
        urgent=["urgent", "pressing"],
        leisurely=["leisure"],
        chores=[Chore("sweep", float(sweep_seconds), sweep)],
        redis_url=None if redis_url == "poll" else redis_url,
        at_once=4,
        deadline_seconds=float(deadline_seconds),
        grace_seconds=60.0,
    ).run()


if __name__ == "__main__":
    structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()])
    main(*sys.argv[1:])
