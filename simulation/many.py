"""Many worlds at once: each process lives through its own part of the seeds."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from simulation.world import Builder, live

Outcome = tuple[int, str, dict[str, int]]  # the seed, what went wrong ("" if nothing did), what happened


def lived(parts: list[range]) -> Iterator[Outcome]:
    """What became of each seed; every process lives through its own part of them."""
    spawning = multiprocessing.get_context("spawn")
    outcomes: multiprocessing.Queue[Outcome] = spawning.Queue()
    workers = [spawning.Process(target=_live_all, args=(part, outcomes), daemon=True) for part in parts]
    for worker in workers:
        worker.start()
    try:
        for _ in range(sum(len(part) for part in parts)):
            yield outcomes.get(timeout=300)
    finally:
        for worker in workers:
            worker.terminate()


def _live_all(seeds: Iterable[int], outcomes: multiprocessing.Queue[Outcome]) -> None:
    quiet()
    with workshop() as builder:
        gc.disable()  # a world leaves little behind, and looking for it takes a tenth of the time
        for number, seed in enumerate(seeds):
            if number % 100 == 0:
                gc.collect()
            try:
                world = live(builder, seed)
            except Exception as error:
                outcomes.put((seed, f"{type(error).__name__}: {error}", {}))
            else:
                outcomes.put((seed, "", dict(world.counts)))


@contextmanager
def workshop() -> Iterator[Builder]:
    """A builder with a folder of its own, in memory where the machine has such a place."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="tallyhub-simulation-", dir=memory if memory.is_dir() else None))
    builder = Builder(folder)
    try:
        yield builder
    finally:
        builder.database.close()
        shutil.rmtree(folder, ignore_errors=True)


def quiet() -> None:
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
