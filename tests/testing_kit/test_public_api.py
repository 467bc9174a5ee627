"""The one import for connector authors: complete, documented by its types, and loaded only as far as it is used."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import hub

HEAVY = ["requests", "requests_hardened", "urllib3", "marshmallow", "flask", "sqlalchemy", "redis", "pluggy", "click"]


def loaded_by(statement: str) -> list[str]:
    """Which heavy packages a fresh interpreter has loaded after the statement."""
    program = f"import sys, json\n{statement}\nprint(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    loaded: list[str] = json.loads(done.stdout)
    return loaded


@pytest.mark.parametrize(
    "statement",
    [
        "import hub",
        "import hub.core",
        "import hub.core.model",
        "import hub.errors",
        "import hub.connector",
        "import hub; hub.Money; hub.SalesChannel; hub.Rejected; dir(hub)",
    ],
)
def test_the_core_and_the_contract_load_no_third_party_package(statement: str) -> None:
    assert loaded_by(statement) == []


def test_what_is_used_is_loaded() -> None:
    assert loaded_by("import hub; hub.Client") == ["requests", "requests_hardened", "urllib3", "marshmallow"]
    assert loaded_by("import hub; hub.hookimpl") == ["pluggy"]


def test_every_name_is_there_and_is_the_same_as_in_its_module() -> None:
    for name in hub.__all__:
        value = getattr(hub, name)
        module = getattr(value, "__module__", None)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert getattr(importlib.import_module(str(module)), name) is value
        assert name in dir(hub)


def test_type_checkers_see_the_same_names_as_the_interpreter() -> None:
    tree = ast.parse(Path(str(hub.__file__)).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        (alias.asname or alias.name): node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == hub._MODULES
    assert sorted(seen) == list(hub.__all__)


def test_everything_a_connector_must_name_is_exported() -> None:
    connector = importlib.import_module("hub.connector")
    defined = {
        name
        for name, value in vars(connector).items()
        if inspect.isclass(value) and value.__module__ == "hub.connector"
    }
    assert defined - set(hub.__all__) == set()


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'hub' has no attribute 'Flask'"):
        _ = hub.Flask  # type: ignore[attr-defined]
