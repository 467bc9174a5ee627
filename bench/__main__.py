"""`make bench`: measure everything, or what is named, and write bench/results.json."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from bench import first_import, measure, pages, rates, reservations, routing
from bench.places import CannotMeasure

RESULTS = Path(__file__).with_name("results.json")

Measurement = Callable[..., Iterator[measure.Result]]
MEASUREMENTS: dict[str, Measurement] = {
    "webhook": partial(measure.webhook_acknowledged, "postgresql"),
    "propagation": partial(measure.propagation, "postgresql", "private"),
    "propagation-sqlite": partial(measure.propagation, "sqlite", "private"),
    "propagation-polling": partial(measure.propagation, "sqlite", "none"),
    "drain": partial(measure.inbox_drained, "postgresql"),
    "drain-sqlite": partial(measure.inbox_drained, "sqlite"),
    "reservations-hot": partial(reservations.reservations, 1),
    "reservations": partial(reservations.reservations, 10_000),
    "first-import": partial(first_import.woocommerce, "postgresql"),
    "first-import-sqlite": partial(first_import.woocommerce, "sqlite"),
    "first-import-shopify": partial(first_import.shopify, "postgresql"),
    "growth": partial(reservations.growth),
    "routing": partial(routing.decisions),
    "rates": partial(rates.rates_read),
    "pages": partial(pages.at_size),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure: {', '.join(MEASUREMENTS)}")
    parser.add_argument("--seconds", type=float, default=15.0, help="how long each measurement takes (15)")
    parser.add_argument("--repeats", type=int, default=3, help="how often each is repeated (3); the median counts")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the results go")
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - MEASUREMENTS.keys():
        parser.error(f"{', '.join(sorted(unknown))} cannot be measured; choose from {', '.join(MEASUREMENTS)}")

    rows = []
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    began = time.monotonic()
    for name in chosen.names or MEASUREMENTS:
        say(f"{name}: {MEASUREMENTS[name].func.__doc__}")  # type: ignore[attr-defined]
        try:
            for result in MEASUREMENTS[name](chosen.seconds, chosen.repeats, say):
                rows.append(asdict(result) | {"ratio": result.ratio, "date": date})
        except CannotMeasure as reason:
            say(f"  not measured: {reason}")
            return 1
    # What was not measured this time keeps its figure and its date.
    measured = {(row["name"], row["database"].split()[0]) for row in rows}
    before = json.loads(chosen.output.read_text(encoding="utf-8")) if chosen.output.exists() else []
    kept = [row for row in before if (row["name"], row["database"].split()[0]) not in measured]
    chosen.output.write_text(json.dumps(kept + rows, indent=2) + "\n", encoding="utf-8")
    say(f"\n{chosen.output}, after {time.monotonic() - began:.0f} s:")
    for row in rows:
        floor = f"floor {row['compared_value']:g} {row['unit']}, ratio {row['ratio']:g}"
        told = floor if row["compared_with"] else "alone"
        say(f"  {row['name']}: {row['value']:g} {row['unit']} on {row['database']} ({told})")
    return 0


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
