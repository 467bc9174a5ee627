"""``python -m simulation``: live through many worlds, or through one again, step by step."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter

from simulation.many import lived, quiet, workshop
from simulation.world import live


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="live through this world alone, and print what happens in it")
    parser.add_argument("--first", type=int, default=1, help="the first seed (1)")
    parser.add_argument("--seeds", type=int, default=10_000, help="how many seeds (10000)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="at a time (one per processor)")
    parser.add_argument("--failures", type=int, default=10, help="give up after so many (10)")
    chosen = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The order of a set of texts is drawn per process, unless it is told: a seed has to mean the same everywhere.
        os.execve(sys.executable, sys.orig_argv, os.environ | {"PYTHONHASHSEED": "0"})  # noqa: S606
    quiet()
    if chosen.seed is not None:
        sys.exit(_show(chosen.seed))
    sys.exit(_run(range(chosen.first, chosen.first + chosen.seeds), chosen.processes, chosen.failures))


def _show(seed: int) -> int:
    with workshop() as builder:
        try:
            world = live(builder, seed)
        except BaseException as error:
            print("\n".join(getattr(getattr(error, "world", None), "trace", [])))
            print(f"\nseed {seed}: {type(error).__name__}: {error}")
            if os.environ.get("TRACEBACK"):
                raise
            return 1
        print("\n".join(world.trace))
        print(f"\nseed {seed}: everything is as it should be")
        return 0


def _run(seeds: range, processes: int, most_failures: int) -> int:
    began = time.monotonic()
    told = began
    happened: Counter[str] = Counter()
    failed: list[tuple[int, str]] = []
    parts = [seeds[start::processes] for start in range(processes)]
    for done, (seed, wrong, counts) in enumerate(lived(parts), start=1):
        happened.update(counts)
        if wrong:
            failed.append((seed, wrong))
            print(f"seed {seed}: {wrong[:600]}", flush=True)
        if time.monotonic() - told > 10 or done == len(seeds):
            told = time.monotonic()
            print(f"{done} of {len(seeds)} worlds, {len(failed)} failed, {told - began:.0f} s", flush=True)
        if len(failed) >= most_failures:
            break
    print(", ".join(f"{count} {what}" for what, count in sorted(happened.items())))
    return 1 if failed else 0


if __name__ == "__main__":
    main()
