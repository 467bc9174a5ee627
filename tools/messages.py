"""Gathers the texts of the pages into build/messages.pot, brings every catalog under hub/translations up to date with
them and compiles it. A language named on the command line ("de", "pt_BR") is begun.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CATALOGS = ROOT / "hub" / "translations"
TEXTS = ROOT / "build" / "messages.pot"


def babel(command: str, *arguments: str | Path) -> None:
    outcome = subprocess.run(
        [sys.executable, "-m", "babel.messages.frontend", "--quiet", command, *map(str, arguments)], cwd=ROOT
    )
    if outcome.returncode:
        sys.exit(f"messages: {command} failed.")


def main(begin: list[str]) -> None:
    TEXTS.parent.mkdir(exist_ok=True)
    babel(
        "extract",
        *("--mapping", "babel.cfg", "--keyword", "_l", "--no-location", "--project", "Tallyhub"),
        *("--add-comments", "For translators:", "--output-file", TEXTS, "hub/web"),
    )
    for locale in begin:
        if (CATALOGS / locale).exists():
            sys.exit(f"messages: there is a catalog of {locale} already.")
        babel("init", "--input-file", TEXTS, "--output-dir", CATALOGS, "--locale", locale)
    for catalog in sorted(CATALOGS.glob("*/LC_MESSAGES/messages.po")):
        locale = catalog.parent.parent.name
        # What is only alike is not taken for a translation: nobody would notice what it says.
        babel(
            "update",
            *("--input-file", TEXTS, "--output-file", catalog, "--locale", locale),
            *("--no-fuzzy-matching", "--ignore-obsolete"),
        )
        babel("compile", "--input-file", catalog, "--output-file", catalog.with_suffix(".mo"))
        print(f"messages: {catalog.relative_to(ROOT)} is up to date")


if __name__ == "__main__":
    main(sys.argv[1:])
