"""No figure stands in the documentation that was not measured."""

from __future__ import annotations

import json

from tests.docs.pages import DOCS, ROOT, Page

RUNNING = Page(DOCS / "operators" / "running.md")
RESULTS = ROOT / "bench" / "results.json"


def test_every_figure_of_the_capacity_table_was_measured() -> None:
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    measured = [
        {
            "Measurement": each["name"],
            "Figure": f"{each['value']:,} {each['unit']}",
            "Compared with": f"{each['compared_with']} ({each['ratio']:,}×)" if each["compared_with"] else "—",
            "Database": each["database"],
            "Date": each["date"],
        }
        for each in results
    ]
    (written,) = [rows for rows in RUNNING.tables() if rows == [] or "Measurement" in rows[0]]
    wanted = "\n".join("| " + " | ".join(row.values()) + " |" for row in measured)

    assert [row for row in written if row not in measured] == [], f"Take the rows from bench/results.json:\n{wanted}"
    assert bool(written) == bool(measured), f"{RUNNING} should show, of bench/results.json:\n{wanted}"
