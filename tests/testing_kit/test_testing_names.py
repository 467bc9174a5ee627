"""`from hub.testing import …`: complete for a connector's tests, seen by type checkers, loaded only as it is used."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import hub.testing

MODULES = [path.stem for path in sorted(Path(str(hub.testing.__file__)).parent.glob("*.py"))]


def test_every_name_of_every_module_is_there() -> None:
    """Of the town, which is a whole hub, what a test needs to begin with."""
    expected = {
        name: importlib.import_module(f"hub.testing.{stem}")
        for stem in set(MODULES) - {"__init__", "town"}
        for name in importlib.import_module(f"hub.testing.{stem}").__all__
    }

    assert set(hub.testing.__all__) == {*expected, "Town", "town_of"}
    for name, module in expected.items():
        assert getattr(hub.testing, name) is getattr(module, name)
        assert name in dir(hub.testing)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(str(hub.testing.__file__)).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        (alias.asname or alias.name): node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    assert seen == hub.testing._MODULES


def test_a_simulator_loads_no_hub() -> None:
    program = "import sys; from hub.testing import CarrierSimulator, Fault; print('sqlalchemy' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout == "False\n"
