"""What the code says to people: its sentences, with an ellipsis where a value is filled in."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from tests.docs.pages import ROOT

GAP = "…"


class Module:
    """One module of the code, and the texts it gives names to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        self._constants = {
            target.id: node.value
            for node in self.tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        self._imported = {
            alias.asname or alias.name: (node.module or "", alias.name)
            for node in self.tree.body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }

    def text(self, node: ast.expr | None) -> str:
        """The text that an expression makes; "…" for whatever is known only when it runs."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return re.sub(r"\{\w*\}", GAP, node.value)
        if isinstance(node, ast.JoinedStr):
            return "".join(self.text(part) for part in node.values)
        if isinstance(node, ast.FormattedValue):
            return self.text(node.value) or GAP
        if isinstance(node, ast.Name):
            return self._named(node.id)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in self._imported:
            package, name = self._imported[node.value.id]
            other = _module(f"{package}.{name}")
            return other._named(node.attr) if other else ""
        if isinstance(node, ast.Call) and node.args:
            return self.text(node.args[0])  # a text that is cut or escaped before it is shown
        return ""

    def _named(self, name: str) -> str:
        if name in self._constants:
            return self.text(self._constants[name])
        if name in self._imported:
            module, original = self._imported[name]
            other = _module(module)
            return other._named(original) if other else ""
        return ""


@cache
def _module(dotted: str) -> Module | None:
    for folder in (ROOT, *ROOT.glob("connectors/*")):
        path = folder / f"{dotted.replace('.', '/')}.py"
        if path.is_file():
            return Module(path)
    return None


def modules(*folders: str) -> Iterator[Module]:
    """Every module below the folders."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield Module(path)


@cache
def sentences(*folders: str) -> tuple[str, ...]:
    """Every text in the modules below the folders, adjoining literals joined."""
    return tuple(
        text
        for module in modules(*folders)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant | ast.JoinedStr) and (text := module.text(node))
    )


def is_said(quoted: str, said: tuple[str, ...]) -> bool:
    """Whether some sentence contains what a page quotes, its gaps standing for anything."""
    parts = [part.strip() for part in quoted.split(GAP) if part.strip()]
    pattern = re.compile(".*".join(map(re.escape, parts)), re.DOTALL)
    return any(pattern.search(sentence) for sentence in said)


def arguments(call: ast.Call, names: Mapping[str, int]) -> dict[str, ast.expr]:
    """The arguments of a call by name; ``names`` tells the position each has when it is not given by name."""
    given = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    return {name: given.get(name) or call.args[place] for name, place in names.items()}
