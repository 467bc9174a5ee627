"""The grades that `hub certify` gave on this machine, kept in the data folder for the pages and commands to show."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["Certificate", "keep", "kept"]

FOLDER = "certificates"


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the last run of `hub certify` found: the grade, when, of which versions, and which cases failed.

    ``versions`` are by distribution ("tallyhub", the connector's own) and "API", "Python": a grade that was given to
    another version of the connector says little about this one.
    """

    connector: str
    grade: str
    at: datetime
    versions: Mapping[str, str]
    failed: tuple[str, ...] = ()


def keep(data_dir: Path, report: Mapping[str, Any], at: datetime) -> None:
    """Keep the report of one run, as ``hub.certify.Report.as_json`` gives it; the last one counts."""
    folder = data_dir / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    draft = folder / f".{report['connector']}.json"
    draft.write_text(json.dumps({**report, "at": at.astimezone(UTC).isoformat()}, indent=2), encoding="utf-8")
    draft.replace(folder / f"{report['connector']}.json")


def kept(data_dir: Path) -> dict[str, Certificate]:
    """The certificates by the connector's name; a file that cannot be read is as none."""
    found = {}
    for path in sorted((data_dir / FOLDER).glob("[!.]*.json")):
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
            found[report["connector"]] = Certificate(
                report["connector"],
                report["grade"],
                datetime.fromisoformat(report["at"]),
                dict(report["versions"]),
                tuple(each["id"] for each in report["cases"] if each["state"] == "failed"),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return found
