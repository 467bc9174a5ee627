"""The tutorial's connector does what the tutorial says, in a real hub: an order in comes out as stock."""

from __future__ import annotations

import ast
import sys
from dataclasses import replace

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
    allowed = {"hub", "hub.testing.simulator", "marshmallow"} | set(sys.stdlib_module_names)
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


def test_the_command_lists_it_as_the_tutorial_says(larkmart_installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYHUB_PLUGINS", "tallyhub-larkmart")

    listed = CliRunner().invoke(main, ["connectors"])

    (line,) = [line for line in listed.output.splitlines() if line.startswith("larkmart")]
    assert line in TUTORIAL.text
