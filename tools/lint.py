"""Runs every check of `make lint`, all of them even when one fails, and ends non-zero if any did."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
CHECKS = {
    "style": ["ruff", "check", "--quiet", "."],
    "format": ["ruff", "format", "--check", "--quiet", "."],
    "types": ["mypy"],
    "authors": ["python", "tools/check_authors.py"],
    "layers": ["lint-imports", "--no-logo"],
    "repository": ["python", "tools/check_repo.py"],
}


def main() -> int:
    failed = []
    for name, (program, *arguments) in CHECKS.items():
        outcome = subprocess.run(
            [str(BIN / program), *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
        print(f"lint: {name:<10} {'FAILED' if outcome.returncode else 'ok'}", flush=True)
        if outcome.returncode:
            failed.append(name)
            print(outcome.stdout + outcome.stderr, flush=True)
    if failed:
        print(f"lint: {', '.join(failed)} failed. `make format` mends most of style and format.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
