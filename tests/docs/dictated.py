"""What the code dictates to the pages: the help of each command, the signatures of the connector API, the invariants.

`python -m tests.docs.dictated` writes it into the pages, after a change that a test has complained about.
"""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import click
from click.testing import CliRunner

import hub
from hub.certify import CONTRACTS, Contract, Level
from hub.cli import main as command
from hub.store import tables
from hub.store.audit import audit
from hub.store.database import Database
from hub.store.secrets import KeyRing, new_key
from tests.docs.pages import DOCS, ROOT

COMMANDS_PAGE = DOCS / "operators" / "commands.md"
REFERENCE_PAGES = [DOCS / "connectors" / f"{name}.md" for name in ("reference", "carriers", "providers")]
SIMULATORS_PAGE = DOCS / "connectors" / "simulators.md"
CERTIFY_PAGE = DOCS / "connectors" / "certify.md"
GUARANTEES_PAGE = DOCS / "design" / "guarantees.md"

# ---------------------------------------------------------------- commands


def _commands(found: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, found
    if isinstance(found, click.Group):
        for each in sorted(found.commands):
            yield from _commands(found.commands[each], f"{name} {each}")


COMMANDS = dict(_commands(command, "hub"))


def help_of(name: str) -> str:
    """What `hub … --help` prints, 100 characters wide."""
    shown = CliRunner().invoke(command, [*name.split()[1:], "--help"], prog_name="hub", terminal_width=100)
    assert shown.exit_code == 0
    return shown.output


# ---------------------------------------------------------------- signatures

# What a field or a schema inherits from marshmallow, and only does differently.
_INHERITED = {"deserialize", "error_messages"}


def definition(module: str, name: str) -> ast.stmt:
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


def stub(node: ast.stmt) -> str:
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
        own = node.name not in _INHERITED and (not node.name.startswith("_") or node.name == "__init__")
        return stub(node) if own else ""
    if isinstance(node, ast.AnnAssign) and not ast.unparse(node.target).startswith("_"):
        text, _, options = ast.unparse(node).partition(" = field(")
        factory = re.search(r"default_factory=(\w+)", options)
        return f"{text} = {factory[1]}()" if factory else text
    if isinstance(node, ast.Assign) and (name := ast.unparse(node.targets[0])) not in _INHERITED:
        return "" if name.startswith("_") else ast.unparse(node)
    return ""


def public_names() -> dict[str, str]:
    """The module of each name in the reference."""
    return {**hub._MODULES, "register_connectors": "hub.hookspecs"}


def shipped_for_tests() -> dict[str, str]:
    """The module of each name that hub.testing offers."""
    modules = sorted(path.stem for path in (ROOT / "hub" / "testing").glob("*.py") if path.stem != "__init__")
    return {
        name: module
        for module in (f"hub.testing.{stem}" for stem in modules)
        for name in getattr(importlib.import_module(module), "__all__", ())
    }


def _formatted(text: str) -> str:
    ruff = [str(Path(sys.executable).with_name("ruff")), "format", "--stdin-filename", "stub.py", "-"]
    return subprocess.run(ruff, input=text, capture_output=True, text=True, check=True, cwd=ROOT).stdout


# ---------------------------------------------------------------- invariants


def invariants(database: Database) -> str:
    """The table of what `hub audit` asks, found by asking it about ``database``."""
    rows = [f"| {each.invariant} | {each.title} |" for each in audit(database, KeyRing([new_key()]))]
    return "\n".join(["| Invariant | What must be true |", "|---|---|", *rows, ""])


# ---------------------------------------------------------------- contracts


def contract_tables(contract: Contract) -> str:
    """The rules of a contract by level, each with its cases; those that differ in one thing only, as one."""
    lines: list[str] = []
    for level in Level:
        lines += [f"#### {contract.kind}: {level.value}", "", "| Rule | What it demands | Cases |", "|---|---|---|"]
        for rule in (each for each in contract.rules.values() if each.level is level):
            families = Counter(case.family[0] for case in contract.cases.values() if case.rule is rule)
            cases = ", ".join(
                f"`{id.replace('{}', '…')}`" + (f" ({count})" if "{}" in id else "") for id, count in families.items()
            )
            lines.append(f"| `{rule.id}` | {rule.says} | {cases} |")
        lines.append("")
    return "\n".join(lines).replace("|---|---|---|\n\n", "|---|---|---|\n")


# ---------------------------------------------------------------- writing


def _write(path: Path, fence: str, wanted: Callable[[str], str | None]) -> None:
    """Replace the first block below each heading that is a name in backticks."""

    def block(found: re.Match[str]) -> str:
        text = wanted(found["name"])
        return found[0] if text is None else f"{found['head']}```{fence}\n{text}```\n"

    pattern = rf"(?P<head>^#+ `(?P<name>[^`]+)`\n\n)```{fence}\n.*?```\n"
    path.write_text(re.sub(pattern, block, path.read_text(), flags=re.MULTILINE | re.DOTALL))


def main() -> None:
    def signature(names: dict[str, str]) -> Callable[[str], str | None]:
        return lambda name: _formatted(stub(definition(names[name], name))) if name in names else None

    with TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/empty.db")
        tables.metadata.create_all(database.engine)
        table = invariants(database)
        database.close()
    text = re.sub(r"\| Invariant \|.*?\n(?=\n)", lambda _: table, GUARANTEES_PAGE.read_text(), flags=re.DOTALL)
    GUARANTEES_PAGE.write_text(text)
    for contract in CONTRACTS:
        text = re.sub(
            rf"(<!-- rules: {contract.kind} -->\n\n).*?(?=<!-- end -->)",
            lambda found, contract=contract: found[1] + contract_tables(contract) + "\n",
            CERTIFY_PAGE.read_text(),
            flags=re.DOTALL,
        )
        CERTIFY_PAGE.write_text(text)
    _write(COMMANDS_PAGE, "", lambda name: help_of(name) if name in COMMANDS else None)
    for page in REFERENCE_PAGES:
        _write(page, "python", signature(public_names()))
    _write(SIMULATORS_PAGE, "python", signature(shipped_for_tests()))


if __name__ == "__main__":
    main()
