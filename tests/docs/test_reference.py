"""The reference of the public API says what the code says: every name, every signature, every value."""

from __future__ import annotations

import ast
import importlib
import re
from enum import StrEnum
from pathlib import Path
from types import ModuleType

import pytest

import hub
from tests.docs.pages import DOCS, ROOT, Page

REFERENCE = Page(DOCS / "connectors" / "reference.md")
SIMULATORS = Page(DOCS / "connectors" / "simulators.md")
# What a field or a schema inherits from marshmallow, and only does differently.
INHERITED = {"deserialize", "error_messages"}


def _definition(module: str, name: str) -> ast.stmt:
    """The statement that defines a name, with each default that only the module can name replaced by its value."""
    loaded = importlib.import_module(module)
    for node in ast.parse(Path(str(loaded.__file__)).read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            for each in ast.walk(node):
                if isinstance(each, ast.arguments):
                    each.defaults = [_readable(loaded, default) for default in each.defaults]
                    each.kw_defaults = [default and _readable(loaded, default) for default in each.kw_defaults]
            return node
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]:
            return node
    raise AssertionError(f"{module} does not define {name}.")


def _readable(module: ModuleType, default: ast.expr) -> ast.expr:
    if not isinstance(default, ast.Name):
        return default
    value = getattr(module, default.id)
    return ast.Constant(value if isinstance(value, str | int | float) else ...)


def _stub(node: ast.stmt) -> str:
    """What a caller sees of a definition: no body, no docstring, nothing private."""
    if isinstance(node, ast.FunctionDef):
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        return f"{_decorators(node)}def {node.name}({ast.unparse(node.args)}){returns}: ..."
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(re.sub(r"^_\w+\[", "Field[", ast.unparse(base)) for base in node.bases)
        members = "\n".join(member for each in node.body if (member := _member(each))) or "..."
        body = "\n".join(f"    {line}" for line in members.splitlines())
        return f"{_decorators(node)}class {node.name}{f'({bases})' if bases else ''}:\n{body}"
    return ast.unparse(node)


def _decorators(node: ast.FunctionDef | ast.ClassDef) -> str:
    """Those that change how it is called; whether a dataclass is frozen or has slots does not."""
    written = [ast.unparse(each) for each in node.decorator_list]
    kept = [text for text in written if text in ("property", "classmethod", "staticmethod", "abstractmethod")]
    if any(text.startswith("dataclass(") and "kw_only=True" in text for text in written):
        kept.append("dataclass(kw_only=True)")
    return "".join(f"@{text}\n" for text in kept)


def _member(node: ast.stmt) -> str:
    if isinstance(node, ast.FunctionDef):
        own = node.name not in INHERITED and (not node.name.startswith("_") or node.name == "__init__")
        return _stub(node) if own else ""
    if isinstance(node, ast.AnnAssign) and not ast.unparse(node.target).startswith("_"):
        text, _, options = ast.unparse(node).partition(" = field(")
        factory = re.search(r"default_factory=(\w+)", options)
        return f"{text} = {factory[1]}()" if factory else text
    if isinstance(node, ast.Assign) and (name := ast.unparse(node.targets[0])) not in INHERITED:
        return "" if name.startswith("_") else ast.unparse(node)
    return ""


def _written(page: Page, name: str) -> str:
    sections = [each for each in page.sections if each.title == f"`{name}`"]
    assert len(sections) == 1, f"{page} needs one heading `{name}`, with the backticks; it has {len(sections)}."
    blocks = re.findall(r"```python\n(.*?)```", sections[0].text, re.DOTALL)
    assert blocks, f"{page}: `{name}` shows no signature."
    (node,) = ast.parse(blocks[0]).body
    return _stub(node)


ENUMERATIONS = [
    value for name in hub.__all__ if isinstance(value := getattr(hub, name), type) and issubclass(value, StrEnum)
]


@pytest.mark.parametrize("values", ENUMERATIONS)
def test_every_value_of_an_enumeration_is_explained(values: type[StrEnum]) -> None:
    explained = REFERENCE.section(f"`{values.__name__}`").text.rpartition("```")[2]
    assert set(re.findall(r"`([A-Z_]+)`", explained)) >= {value.name for value in values}


@pytest.mark.parametrize("name", hub.__all__)
def test_every_public_name_is_described_as_it_is(name: str) -> None:
    assert _written(REFERENCE, name) == _stub(_definition(hub._MODULES[name], name))


def test_nothing_is_described_that_is_not_public() -> None:
    described = {found[1] for each in REFERENCE.sections if (found := re.fullmatch(r"`(\w+)`", each.title))}
    assert described == {*hub.__all__, "register_connectors"}


def test_the_hook_is_described_as_it_is() -> None:
    assert _written(REFERENCE, "register_connectors") == _stub(_definition("hub.hookspecs", "register_connectors"))


def _shipped_for_tests() -> list[tuple[str, str]]:
    modules = sorted((ROOT / "hub" / "testing").glob("*.py"))
    names = [f"hub.testing.{path.stem}" for path in modules if path.stem != "__init__"]
    return [(module, name) for module in names for name in getattr(importlib.import_module(module), "__all__", ())]


@pytest.mark.parametrize(("module", "name"), _shipped_for_tests(), ids=lambda value: value.rpartition(".")[2])
def test_everything_shipped_for_tests_is_described_as_it_is(module: str, name: str) -> None:
    definition = _definition(module, name)
    if isinstance(definition, ast.Assign):
        assert ast.unparse(definition) in SIMULATORS.text
    else:
        assert _written(SIMULATORS, name) == _stub(definition)
