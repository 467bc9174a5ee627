"""Refuses what must never be committed, and the house rules that no other checker knows.

It reads every file git tracks or would add. The forbidden names are spelled in two halves, so that this file passes.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

REGISTRIES = [
    ("pypi", ".org"),
    ("pythonhosted", ".org"),
    ("npmjs", ".org"),
    ("npmjs", ".com"),
    ("yarnpkg", ".com"),
    ("docker", ".io"),
    ("ghcr", ".io"),
    ("quay", ".io"),
    ("gcr", ".io"),
    ("mcr.micro", "soft.com"),
]
PATTERNS = {
    "a package registry's host name; the lock files name versions and hashes only": re.compile(
        r"(?<![\w-])(" + "|".join(re.escape("".join(halves)) for halves in REGISTRIES) + r")(?![\w-])", re.IGNORECASE
    ),
    "an index or registry URL": re.compile(
        r"(--(extra-)?index" + r"-url|find" + r"-links|registry)[ =:\"']+(https?|file):", re.IGNORECASE
    ),
    "a path of somebody's machine": re.compile(r"(?<![\w.%}-])/(work|root|home|Users)" + r"/[\w.]"),
    "a private key": re.compile("-----BEGIN [A-Z ]*PRIVATE" + " KEY-----"),
    "an access token": re.compile(r"(?<!\w)(AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}|npm_[A-Za-z0-9]{36})(?!\w)"),
}


def files() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode:
        sys.exit("check_repo: this is not a git checkout, so there is no list of files to check.")
    return [path for name in sorted(listing.stdout.split("\0")) if name and (path := ROOT / name).is_file()]


def forbidden_text(paths: list[Path]) -> Iterator[str]:
    for path in paths:
        content = path.read_bytes()
        if b"\0" in content:
            continue
        for number, line in enumerate(content.decode(errors="replace").splitlines(), start=1):
            for meaning, pattern in PATTERNS.items():
                if found := pattern.search(line):
                    yield f"{path.relative_to(ROOT)}:{number}: {meaning}: {found[0]}"


def foreign_imports_of_the_core() -> Iterator[str]:
    """hub.core imports the standard library and itself. import-linter can only refuse names it is told."""
    for path in sorted((ROOT / "hub" / "core").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            else:
                continue
            for name in names:
                if name.split(".")[0] not in sys.stdlib_module_names and not f"{name}.".startswith("hub.core."):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}: hub.core imports {name}"


def house_rules(paths: list[Path]) -> Iterator[str]:
    names: dict[str, Path] = {}
    for path in paths:
        if re.fullmatch(r"test_.*\.py", path.name):
            if path.name in names:
                yield f"{path.relative_to(ROOT)}: another test file has this name: {names[path.name].relative_to(ROOT)}"
            names[path.name] = path
        if path.name == "conftest.py" and path.is_relative_to(ROOT / "connectors"):
            yield f"{path.relative_to(ROOT)}: a connector has no conftest.py; fixtures come from hub.testing"

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    checked = set(project["tool"]["importlinter"]["root_packages"])
    everything = project["project"]["optional-dependencies"]["all"]
    for member in sorted(ROOT.glob("connectors/*/pyproject.toml")):
        for package in member.parent.glob("hub_*/__init__.py"):
            if package.parent.name not in checked:
                yield f"pyproject.toml: tool.importlinter.root_packages lacks {package.parent.name}"
        if (name := tomllib.loads(member.read_text())["project"]["name"]) not in everything:
            yield f"pyproject.toml: the extra `all` lacks {name}"


def main() -> int:
    paths = files()
    complaints = [*forbidden_text(paths), *foreign_imports_of_the_core(), *house_rules(paths)]
    print("\n".join(complaints) if complaints else f"{len(paths)} files are fit to commit")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
