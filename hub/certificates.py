"""The grades that `hub certify` gave: those of this machine, kept in the data folder, and those that connectors bring
along."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

__all__ = ["Certificate", "keep", "kept", "known", "shipped", "to_ship"]

FOLDER = "certificates"
SHIPPED = ("certificate_{}.json", "certificate.json")  # in a package of several connectors, and of one


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
    brought: bool = False  # by the connector's package: its author says so, nobody has tried it here


def known(data_dir: Path, packages: Mapping[str, str]) -> dict[str, Certificate]:
    """The certificate of each connector: the one given here, else the one its package (by connector) brings along."""
    brought = {name: shipped(package, name) for name, package in packages.items()}
    return {name: each for name, each in brought.items() if each is not None} | kept(data_dir)


def to_ship(report: Mapping[str, Any], at: datetime) -> str:
    """What a connector's package may bring along as its certificate, of the report of one run."""
    said = {"connector": report["connector"], "grade": report["grade"], "at": at.astimezone(UTC).isoformat()}
    return json.dumps(said | {"versions": report["versions"]}, indent=2) + "\n"


def shipped(package: str, connector: str) -> Certificate | None:
    """The connector's certificate in its package; None where there is none of it that can be read."""
    for name in SHIPPED:
        try:
            said = json.loads(files(package).joinpath(name.format(connector)).read_text(encoding="utf-8"))
            found = Certificate(
                said["connector"],
                said["grade"],
                datetime.fromisoformat(said["at"]),
                dict(said["versions"]),
                brought=True,
            )
        except (ImportError, OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        if found.connector == connector:
            return found
    return None


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
