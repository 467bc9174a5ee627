"""Tells on one screen which tests failed and with which words: `python tools/failures.py REPORT` (JUnit, from pytest).

The log of a whole run is thousands of lines, and whoever looks at one looks at its end.
"""

from __future__ import annotations

import sys
from itertools import zip_longest
from pathlib import Path
from xml.etree import ElementTree

SCREEN = 44  # lines, with room for what lint has to say
WIDTH = 160  # characters of a line


def told(report: str) -> list[str]:
    """The lines to print for a report, none when nothing failed.

    Every failed test is named as long as there is room; what room is left is shared out among their messages.
    """
    suite = ElementTree.fromstring(report)  # noqa: S314 (pytest has written it just now)
    cases = suite.findall(".//testcase")
    failed = {_name(case): _words(wrong) for case in cases for wrong in case if wrong.tag in ("failure", "error")}
    if not failed:
        return []
    shown, hidden = list(failed)[: SCREEN - 2], len(failed) - (SCREEN - 2)
    room = SCREEN - 2 - len(shown)
    kept: dict[str, list[str]] = {name: [] for name in shown}
    for row in zip_longest(*(failed[name] for name in shown)):
        for name, line in zip(shown, row, strict=True):
            if line is not None and room > 0:
                kept[name].append(line)
                room -= 1
    lines = [f"{len(failed):,} of {len(cases):,} tests failed:"]
    for name in shown:
        lines += [f"FAILED {name}", *(f"    {line}" for line in kept[name])]
    return [*lines, f"and {hidden:,} more"] if hidden > 0 else lines


def _name(case: ElementTree.Element) -> str:
    """What to hand to pytest to run it again: ``tests/core/test_money.py::TestEuro::test_adds[1]``."""
    file, name, parts = case.get("file", ""), case.get("name", ""), case.get("classname", "")
    inner = parts.removeprefix(file.removesuffix(".py").replace("/", ".")).strip(".")
    return "::".join(part for part in (file, *inner.split("."), name) if part)


def _words(wrong: ElementTree.Element) -> list[str]:
    """What pytest marks with an E, and where it was; of anything else, such as a worker that died, its end."""
    lines = [line.rstrip() for line in (wrong.text or wrong.get("message") or "").splitlines() if line.strip()]
    marked = [line for line in lines if line.startswith("E ")]
    said = [*lines[-1:], *(line[1:].strip() for line in marked)] if marked else lines[-5:]
    return [line[:WIDTH] for line in said]


if __name__ == "__main__":
    if not (path := Path(sys.argv[1])).exists() or not path.stat().st_size:
        sys.exit("The tests ended before pytest could write its report: what happened stands above.")
    print("\n".join(told(path.read_text())) or "No test failed: what else went wrong stands above.")
