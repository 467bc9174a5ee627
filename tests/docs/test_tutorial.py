"""The tutorial's connector does what the tutorial says, in a real hub: an order in comes out as stock."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from hub import plugins
from hub.app import create_app
from hub.cli import main
from hub.store import tables as t
from hub.store.secrets import new_key
from hub.testing.simulator import Fault
from hub_larkmart.connector import LarkmartConnector
from hub_larkmart.simulator import LarkmartSimulator
from tests.docs.pages import DOCS, Page
from tests.town import Town

EXAMPLE = DOCS / "examples" / "larkmart"
TUTORIAL = Page(DOCS / "connectors" / "tutorial.md")
SIMULATORS = Page(DOCS / "connectors" / "simulators.md")


def test_an_order_at_one_stall_is_taken_off_the_other(hub_town: Town) -> None:
    corner, market = LarkmartSimulator("corner"), LarkmartSimulator("market")
    for stall in (corner, market):
        stall.add_product("MUG-1", "Mug", stock=10, price="12.50")
        stall.add_product("TEE-S", "Tee", stock=5, price="20.00")
    here = hub_town.connect(LarkmartConnector, corner)
    there = hub_town.connect(LarkmartConnector, market)
    hub_town.open_for_business(here, adopt=True)
    hub_town.open_for_business(there)

    sale = corner.buy([("MUG-1", 3), ("TEE-S", 1)])
    assert sale
    hub_town.poll(here)

    assert market.stock() == {"MUG-1": 7, "TEE-S": 4}
    assert corner.stock() == {"MUG-1": 7, "TEE-S": 4}
    assert hub_town.stock() == {"MUG-1": (10, 3), "TEE-S": (5, 1)}
    assert hub_town.count(t.sales_order) == 1

    corner.cancel(sale.order_external_id)
    hub_town.poll(here)

    assert market.stock() == {"MUG-1": 10, "TEE-S": 5}
    assert hub_town.stock() == {"MUG-1": (10, 0), "TEE-S": (5, 0)}


def test_a_stall_that_fails_for_a_while_gets_its_figures_afterwards(hub_town: Town) -> None:
    corner, market = LarkmartSimulator("corner"), LarkmartSimulator("market")
    for stall in (corner, market):
        stall.add_product("MUG-1", "Mug", stock=10, price="12.50")
    here = hub_town.connect(LarkmartConnector, corner)
    there = hub_town.connect(LarkmartConnector, market)
    hub_town.open_for_business(here, adopt=True)
    hub_town.open_for_business(there)
    market.fail_next("/v1/stock", Fault.status(500))

    corner.buy([("MUG-1", 4)])
    hub_town.poll(here)
    assert market.stock() == {"MUG-1": 10}
    assert corner.stock() == {"MUG-1": 6}

    hub_town.poll(there)
    assert market.stock() == {"MUG-1": 6}
    assert hub_town.count(t.sales_order) == 1


def test_a_webhook_brings_the_order_before_anybody_asks(hub_town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    reachable = replace(hub_town.hub.settings, public_url="https://hub.example", secret_keys=(new_key(),))
    hub_town.hub = replace(hub_town.hub, settings=reachable)
    corner = LarkmartSimulator("corner")
    corner.add_product("MUG-1", "Mug", stock=10, price="12.50")
    letters: list[tuple[str, dict[str, str], bytes]] = []
    monkeypatch.setattr(corner, "deliver", lambda *letter: letters.append(letter))
    here = hub_town.connect(LarkmartConnector, corner)
    corner.buy([("MUG-1", 3)])
    ((address, headers, body),) = letters
    asked = len(corner.requests)
    browser = create_app(hub_town.hub).test_client()

    forged = browser.post(address, data=body + b" ", headers=headers)
    answer = browser.post(address, data=body, headers=headers)
    hub_town.work()

    assert address == f"https://hub.example/webhooks/{hub_town.merchant}/{here}"
    assert (forged.status_code, answer.status_code, answer.json) == (401, 200, {"stored": True})
    assert hub_town.row(t.sales_order).number == "1001"
    assert hub_town.count(t.inbox, t.inbox.c.source == "webhook") == 1
    assert len(corner.requests) == asked, "The webhook says it all: the stall need not be asked."


def test_it_is_loaded_only_when_it_is_named(larkmart_installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "hub_larkmart"]:
        monkeypatch.delitem(sys.modules, name)

    refused = plugins.load()

    assert "larkmart" not in refused.connectors
    assert "hub_larkmart" not in sys.modules
    (plugin,) = [each for each in refused.plugins if each.name == "larkmart"]
    assert plugin.error in TUTORIAL.text.replace("\n> ", " ")

    for named in ("tallyhub-larkmart", "tallyhub-larkmart==0.1.0"):
        assert "larkmart" in plugins.load([named]).connectors
    assert "larkmart" not in plugins.load(["tallyhub-larkmart==0.2.0"]).connectors


def test_it_imports_nothing_but_the_public_api() -> None:
    allowed = {"hub", "hub.testing", "marshmallow"} | set(sys.stdlib_module_names)
    for path in sorted((EXAMPLE / "hub_larkmart").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            else:
                continue
            foreign = {
                name
                for name in names
                if name not in allowed and name.split(".")[0] not in (sys.stdlib_module_names | {"hub_larkmart"})
            }
            assert foreign == set(), path


def test_the_connector_stays_under_a_hundred_lines() -> None:
    assert len((EXAMPLE / "hub_larkmart" / "connector.py").read_text().splitlines()) < 100


WHOLE = [
    "pyproject.toml",
    "hub_larkmart/__init__.py",
    "hub_larkmart/settings.py",
    "hub_larkmart/translation.py",
    "hub_larkmart/connector.py",
    "README.md",
]
IN_PART = ["hub_larkmart/simulator.py", "tests/test_larkmart.py"]


@pytest.mark.parametrize("name", WHOLE + IN_PART)
def test_the_pages_show_the_files_as_they_are(name: str) -> None:
    """A block after a comment that names a file is a part of that file, character by character."""
    file = (EXAMPLE / name).read_text()
    shown = [block.text for page in (TUTORIAL, SIMULATORS) for block in page.blocks if block.label == name]
    assert shown, f"The tutorial never shows {name}."
    for part in shown:
        assert part in file, f"This is not a part of {name}:\n{part}"


@pytest.mark.parametrize("name", WHOLE)
def test_nothing_of_the_connector_is_left_out(name: str) -> None:
    rest = (EXAMPLE / name).read_text()
    for block in TUTORIAL.blocks:
        if block.label == name:
            rest = rest.replace(block.text, "", 1)
    assert rest.strip() == "", f"The tutorial leaves this out of {name}:\n{rest.strip()}"


# ---------------------------------------------------------------- followed word by word


def _as_shown(name: str) -> str:
    """A file as a reader puts it together: its blocks in the order of the page."""
    return "\n".join(block.text for block in TUTORIAL.blocks if block.label == name)


def _without_blank_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


@pytest.fixture
def followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a reader has who typed the first command and every file."""
    (command,) = [line for block in TUTORIAL.blocks for line in block.text.splitlines() if "connector new" in line]
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(main, command.split()[1:]).exit_code == 0
    made = tmp_path / "larkmart"
    for name in WHOLE:
        (made / name).write_text(_as_shown(name))
    for name in IN_PART:  # shown in part, and linked
        (made / name).write_text((EXAMPLE / name).read_text())
    return made


def test_who_follows_it_has_the_example(followed: Path) -> None:
    files = {
        path.relative_to(followed).as_posix()
        for path in followed.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert files - {".gitignore"} == {*WHOLE, *IN_PART, "hub_larkmart/py.typed"}
    for name in WHOLE:
        shown, kept = (followed / name).read_text(), (EXAMPLE / name).read_text()
        assert _without_blank_lines(shown) == _without_blank_lines(kept), name


def test_who_follows_it_has_tests_that_pass(followed: Path) -> None:
    """Its own tests here; the contract, which is gold's, runs with the example itself."""
    told = _run(followed, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not TestContract")

    assert re.search(r"^[0-9]+ passed", told, re.MULTILINE), told


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_who_follows_it_has_gold(followed: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    install = [BIN / "uv", "--quiet", "pip", "install", "--python", sys.executable, "--target", site, "--no-deps"]
    _run(followed, *install, "--no-build-isolation", "--offline", followed)

    report = json.loads(_run(site, BIN / "hub", "certify", "larkmart", "--json"))

    assert report["grade"] in ("gold", "platinum"), [each for each in report["cases"] if each["state"] == "failed"]


BIN = Path(sys.executable).parent


def _run(folder: Path, *command: str | Path) -> str:
    told = {"PYTHONPATH": str(folder), "TALLYHUB_PLUGINS": "tallyhub-larkmart", "TALLYHUB_DATA_DIR": str(folder)}
    done = subprocess.run(
        command, env={**os.environ, **told}, cwd=folder, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_the_command_lists_it_as_the_tutorial_says(larkmart_installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYHUB_PLUGINS", "tallyhub-larkmart")

    listed = CliRunner().invoke(main, ["connectors"])

    (line,) = [line for line in listed.output.splitlines() if line.startswith("larkmart")]
    assert line in TUTORIAL.text
