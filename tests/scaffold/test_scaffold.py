"""`hub connector new`: what it writes can be installed, passes its tests, is certified, and never half written."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hub.certify import FAILED, Level, certify, contract_for
from hub.cli import main
from hub.connector import Kind
from hub.scaffold import new_distribution
from tests.scaffold.written import NAMES, connector, folder, simulator

BIN = Path(sys.executable).parent
KINDS = list(Kind)
UNAIDED = ("--no-deps", "--no-build-isolation", "--offline")  # what it needs to be built is here already


def new(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["connector", "new", *arguments], prog_name="hub")


@pytest.fixture(params=KINDS, ids=str)
def installed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The name of a new connector that was built and installed, and the environment in which it is."""
    name = f"royal_{request.param.name.lower()}"
    made = new_distribution(name, request.param, tmp_path)
    site = tmp_path / "site"
    subprocess.run(
        [BIN / "uv", "--quiet", "pip", "install", "--python", sys.executable, "--target", site, *UNAIDED, made],
        check=True,
        timeout=60,
    )
    data = tmp_path / "data"
    data.mkdir()
    told = {"PYTHONPATH": str(site), "TALLYHUB_DATA_DIR": str(data), "TALLYHUB_PLUGINS": f"tallyhub-{_dashed(name)}"}
    yield name, {**os.environ, **told}


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _run(environ: dict[str, str], *command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(command, env=environ, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


# ---------------------------------------------------------------- what it writes works


def test_it_installs_is_listed_and_passes_its_own_tests(installed: tuple[str, dict[str, str]], tmp_path: Path) -> None:
    name, environ = installed

    listed = json.loads(_run(environ, BIN / "hub", "connectors", "--json"))
    told = _run(
        environ,
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        "not TestContract",
        cwd=tmp_path / name,
    )

    (ours,) = [each for each in listed if each["name"] == name]
    assert not ours["error"]
    assert "3 passed" in told


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_certified_as_it_is_written(kind: Kind) -> None:
    """Bronze here; the higher levels, and the whole command, are tried by the slow test below."""
    cases = contract_for(connector(kind)).cases.values()
    wanted = [case.id for case in cases if case.rule.level is Level.BRONZE]

    report = certify(connector(kind), simulator(kind), only=wanted)

    assert [(each.case.id, each.reason) for each in report.outcomes if each.state == FAILED] == []
    assert len(cases) >= 120


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_command_certifies_it_and_its_tests_hold_the_whole_contract(
    installed: tuple[str, dict[str, str]], tmp_path: Path
) -> None:
    name, environ = installed

    report = json.loads(_run(environ, BIN / "hub", "certify", name, "--json"))
    told = _run(environ, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path / name)

    assert report["grade"] in ("bronze", "silver", "gold", "platinum")
    assert " failed" not in told


# ---------------------------------------------------------------- what it writes is whole


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_the_invented_vendor_is_left(kind: Kind) -> None:
    files = [path for path in folder(kind).rglob("*") if path.is_file() and "__pycache__" not in path.parts]

    assert {path.relative_to(folder(kind)).as_posix() for path in files} == {
        ".gitignore",
        "README.md",
        "pyproject.toml",
        f"hub_{NAMES[kind]}/__init__.py",
        f"hub_{NAMES[kind]}/connector.py",
        f"hub_{NAMES[kind]}/py.typed",
        f"hub_{NAMES[kind]}/settings.py",
        f"hub_{NAMES[kind]}/simulator.py",
        f"hub_{NAMES[kind]}/translation.py",
        f"tests/test_{NAMES[kind]}.py",
    }
    assert [path for path in files if "acme" in path.read_text().lower()] == []


@pytest.mark.parametrize("kind", KINDS)
def test_it_imports_the_public_api_alone(kind: Kind) -> None:
    own = f"hub_{NAMES[kind]}"
    for path in (folder(kind) / own).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            foreign = {name for name in names if name.split(".")[0] not in {own, *sys.stdlib_module_names}}
            assert foreign <= {"hub", "hub.testing", "marshmallow"}, path


def test_the_distribution_says_what_it_is_and_leaves_the_license_to_its_author(tmp_path: Path) -> None:
    made = new_distribution("royal_mail", Kind.CARRIER, tmp_path)
    project = tomllib.loads((made / "pyproject.toml").read_text())["project"]

    assert project["name"] == "tallyhub-royal-mail"
    assert project["entry-points"] == {
        "hub": {"royal_mail": "hub_royal_mail"},
        "hub.simulators": {"royal_mail": "hub_royal_mail.simulator:RoyalMailSimulator"},
    }
    assert "license" not in project
    assert "None is chosen yet" in (made / "README.md").read_text()
    assert 'label = "Royal Mail"' in (made / "hub_royal_mail" / "connector.py").read_text()
    assert "https://api.royal-mail.example" in (made / "hub_royal_mail" / "connector.py").read_text()


# ---------------------------------------------------------------- what it refuses

NO_NAME = (
    "cannot be the name of a connector. Use 2 to 40 lower-case letters, digits and single underscores, beginning with "
    "a letter, such as royal_mail."
)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Royal", NO_NAME),
        ("royal-mail", NO_NAME),
        ("4px", NO_NAME),
        ("x", NO_NAME),
        ("a" * 41, NO_NAME),
        ("royal__mail", NO_NAME),
        ("royal_", NO_NAME),
        ("../royal", NO_NAME),
        ("royal mail", NO_NAME),
        ("röyal", NO_NAME),
        ("class", "has a meaning of its own in Python."),
        ("json", "has a meaning of its own in Python."),
        ("hub", "has a meaning of its own in Python."),
        ("shopify", "There is a connector “shopify” already. Choose another name."),
    ],
)
def test_a_name_that_cannot_be_used_is_refused_with_a_sentence(name: str, why: str, tmp_path: Path) -> None:
    refused = new(name, "--kind", "carrier", "--into", str(tmp_path))

    assert refused.exit_code == 1
    assert why in refused.output
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "royal").mkdir()
    (tmp_path / "royal" / "mine.txt").write_text("mine")

    refused = new("royal", "--kind", "3pl", "--into", str(tmp_path))

    assert refused.exit_code == 1
    assert f"There is something at {tmp_path / 'royal'} already." in refused.output
    assert [path.name for path in tmp_path.rglob("*")] == ["royal", "mine.txt"]


def test_it_says_what_to_do_next(tmp_path: Path) -> None:
    done = new("royal_mail", "--kind", "channel", "--into", str(tmp_path / "new" / "folder"))

    made = tmp_path / "new" / "folder" / "royal_mail"
    assert (done.exit_code, done.output.splitlines()) == (
        0,
        [
            f"Written to {made}. What to do next:",
            f"  python -m pip install -e '{made}[simulator,test]'",
            f"  python -m pytest {made}",
            "  TALLYHUB_PLUGINS=tallyhub-royal-mail hub certify royal_mail",
        ],
    )


def test_where_the_disk_is_full_nothing_half_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, written = Path.write_text, []

    def full(path: Path, *arguments: Any, **options: Any) -> int:
        written.append(path)
        if len(written) > 4:
            raise OSError(28, "No space left on device")
        return write(path, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        refused = new("royal", "--kind", "carrier", "--into", str(tmp_path))

    assert refused.exit_code == 1
    assert "cannot be written: No space left on device. Choose another folder with --into." in refused.output
    assert list(tmp_path.iterdir()) == []
    assert new("royal", "--kind", "carrier", "--into", str(tmp_path)).exit_code == 0
