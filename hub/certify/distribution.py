"""What a connector's distribution ships: its package, its README, its metadata, its imports."""

from __future__ import annotations

import ast
import importlib.metadata
import sys
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from email.message import Message
from pathlib import Path
from typing import Any

from hub.connector import Connector

# What connectors may import of the hub.
PUBLIC = {
    "hub",
    "hub.connector",
    "hub.core.model",
    "hub.core.shipping",
    "hub.errors",
    "hub.http",
    "hub.rows",
    "hub.sftp",
    "hub.translation",
}


def today() -> date:
    """The day it is."""
    return datetime.now(UTC).date()


def package(connector: type[Connector]) -> Path:
    """The folder of the package that the connector comes in."""
    module: Any = sys.modules[connector.__module__.partition(".")[0]]
    file = getattr(module, "__file__", None)
    return Path(file).parent if file else Path()


def metadata(connector: type[Connector]) -> Any:
    """The metadata of the distribution that the package belongs to, None if there is none.

    Where it is not installed, what the pyproject.toml beside the package says.
    """
    top = connector.__module__.partition(".")[0]
    for point in importlib.metadata.entry_points(group="hub"):
        if point.dist is not None and point.module.partition(".")[0] == top:
            return point.dist.metadata
    project = package(connector).parent / "pyproject.toml"
    return _stated(tomllib.loads(project.read_text(encoding="utf-8"))) if project.is_file() else None


def _stated(project: Mapping[str, Any]) -> Message:
    """The metadata that the [project] table leads to, as far as it is looked at here."""
    table, about = project.get("project", {}), Message()
    told = {"Name": "name", "Version": "version", "Summary": "description", "Requires-Python": "requires-python"}
    for header, name in told.items():
        if table.get(name):
            about[header] = str(table[name])
    if isinstance(table.get("license"), str):
        about["License-Expression"] = table["license"]
    for requirement in table.get("dependencies", ()):
        about["Requires-Dist"] = requirement
    return about


def readme(connector: type[Connector]) -> str:
    """The README: as the distribution carries it, or the file beside the package's pyproject.toml; "" without one."""
    beside = package(connector).parent / "README.md"
    if beside.is_file() and (beside.parent / "pyproject.toml").is_file():
        return beside.read_text(encoding="utf-8")
    about = metadata(connector)
    if not isinstance(about, Message):
        return ""
    return str(about.get("Description") or about.get_payload() or "")


def _modules(connector: type[Connector]) -> Iterator[tuple[str, ast.Module]]:
    root = package(connector)
    for path in sorted(root.rglob("*.py")):
        yield path.relative_to(root).as_posix(), ast.parse(path.read_bytes())


def source_of(connector: type[Connector], method: str) -> str:
    """The source of the module in which the class, or a class of its own that it derives from, defines the method, and
    of those of the same package that this module uses."""
    for each in connector.__mro__:
        if method in vars(each):
            module = sys.modules[each.__module__]
            used = {getattr(value, "__module__", getattr(value, "__name__", "")) for value in vars(module).values()}
            top = module.__name__.partition(".")[0]
            near = {name for name in used if isinstance(name, str) and name.partition(".")[0] == top}
            files = sorted(
                {str(sys.modules[name].__file__) for name in near | {module.__name__} if name in sys.modules}
            )
            return "\n".join(Path(file).read_text(encoding="utf-8") for file in files)
    return ""


def unannotated(connector: type[Connector]) -> list[str]:
    """The functions that do not say what they take or give, as file:line."""
    found = []
    for name, tree in _modules(connector):
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            taken = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            taken += [each for each in (node.args.vararg, node.args.kwarg) if each]
            bare = [each.arg for each in taken if each.annotation is None and each.arg not in ("self", "cls")]
            if bare or node.returns is None:
                found.append(f"{name}:{node.lineno} {node.name}")
    return found


def undocumented(connector: type[Connector]) -> list[str]:
    """The modules, and their public classes, that do not open with a docstring."""
    found = []
    for name, tree in _modules(connector):
        if tree.body and ast.get_docstring(tree) is None:
            found.append(name)
        found += [
            f"{name}:{node.lineno} {node.name}"
            for node in tree.body
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and ast.get_docstring(node) is None
        ]
    return found


def inner_imports(connector: type[Connector]) -> list[str]:
    """What it imports of the hub beyond the public API, as file:line module."""
    found = []
    for name, tree in _modules(connector):
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module or ""]
            else:
                continue
            inner = [each for each in modules if each == "hub" or each.startswith("hub.")]
            foreign = [each for each in inner if each not in PUBLIC and not f"{each}.".startswith("hub.testing.")]
            found += [f"{name}:{node.lineno} {each}" for each in foreign]
    return found
