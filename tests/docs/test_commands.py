"""The page of commands repeats the help of every command word by word, and explains the report of the demo."""

from __future__ import annotations

import ast
import re

import click
import pytest

from hub.cli import main
from tests.docs.dictated import COMMANDS, COMMANDS_PAGE, help_of
from tests.docs.pages import Page, all_pages
from tests.docs.said import modules

PAGE = Page(COMMANDS_PAGE)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_shown_with_its_help(name: str) -> None:
    section = PAGE.section(f"`{name}`")

    assert f"```\n{help_of(name)}```" in section.text, "Run: python -m tests.docs.dictated"


def test_nothing_is_shown_that_is_no_command() -> None:
    shown = {each.title.strip("`") for each in PAGE.sections if each.title.startswith("`")}
    assert shown == set(COMMANDS)


def test_every_command_that_a_page_tells_to_run_exists() -> None:
    unknown = []
    for page in all_pages():
        for block in page.blocks:
            if block.language != "sh":
                continue
            for line in block.text.splitlines():
                words = line.partition("#")[0].split()
                if "hub" not in words:
                    continue
                problem = _problem(words[words.index("hub") + 1 :])
                if problem:
                    unknown.append(f"{page}:{block.line}: {line.strip()}: {problem}")
    assert unknown == []


def test_every_key_of_the_demos_report_is_explained() -> None:
    counted = {
        key.value
        for module in modules("hub/demo")
        for function in ast.walk(module.tree)
        if isinstance(function, ast.FunctionDef) and function.name in ("count", "_shipped", "run")
        for node in ast.walk(function)
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant)
    }
    section = PAGE.section("`hub demo`").text
    explained = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE)))

    assert "orders_placed" in counted
    assert set(explained) == counted


def _problem(words: list[str]) -> str:
    """What is wrong with a command line as a page shows it; nothing is run."""
    command: click.Command = main
    while isinstance(command, click.Group):
        if not words or words[0].startswith("-"):
            break
        if words[0] not in command.commands:
            return f"there is no {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}
    unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
    return f"it does not know {', '.join(unknown)}" if unknown else ""
