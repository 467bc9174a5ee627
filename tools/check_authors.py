"""Checks what connector authors meet: the types of the examples and of what `hub connector new` writes, as they would.

With mypy --strict and with pyright (basedpyright, which needs nothing from the network).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from hub.connector import Kind
from hub.scaffold import new_distribution

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


def main() -> int:
    failed = False
    with tempfile.TemporaryDirectory(prefix="tallyhub-authors-") as into:
        written = [new_distribution(f"author_{kind.name.lower()}", kind, Path(into)) for kind in Kind]
        packages = [path for folder in written for path in sorted(folder.glob("hub_*"))]
        strict: list[str | Path] = [
            BIN / "mypy",
            "--strict",
            "--config-file",
            "",
            "--cache-dir",
            ROOT / ".mypy_cache",
            *packages,
        ]
        failed |= _failed("mypy --strict on what `hub connector new` writes", strict, ROOT)
        for folder in [*written, *sorted((ROOT / "docs" / "examples").iterdir())]:
            pyright: list[str | Path] = [BIN / "basedpyright", "--pythonpath", sys.executable, "--warnings"]
            failed |= _failed(f"pyright on {folder.name}", pyright, folder)
    return 1 if failed else 0


def _failed(what: str, command: list[str | Path], folder: Path) -> bool:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{what}:\n{done.stdout}{done.stderr}")
    return done.returncode != 0


if __name__ == "__main__":
    sys.exit(main())
