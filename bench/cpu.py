"""Seconds of CPU that processes have taken, with everything they started, read from /proc."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
from sqlalchemy.engine import make_url

_TICKS = os.sysconf("SC_CLK_TCK")


def taken_by(root: int) -> float:
    """What process ``root`` and all below it have taken so far, those that have ended included."""
    return sum(sum(figures) for figures in _family(root).values()) / _TICKS


def family(root: int) -> list[int]:
    """The ids of process ``root`` and all below it."""
    return list(_family(root))


def _family(root: int) -> dict[int, tuple[int, ...]]:
    parents: dict[int, int] = {}
    ticks: dict[int, tuple[int, ...]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended at this moment
        pid = int(path.parent.name)
        parents[pid] = int(fields[1])
        ticks[pid] = tuple(map(int, fields[11:15]))  # its own, in programs and in the system; its children's

    def belongs(pid: int) -> bool:
        while pid in parents:
            if pid == root:
                return True
            pid = parents[pid]
        return False

    return {pid: figures for pid, figures in ticks.items() if belongs(pid)}


def server_of(database: str) -> int | None:
    """The id of the PostgreSQL server's first process, None when it does not run on this machine."""
    url = make_url(database)
    if url.get_backend_name() != "postgresql":
        return None
    with psycopg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False)) as connection:
        (pid,) = connection.execute("select pg_backend_pid()").fetchone() or (0,)
        try:
            return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return None
