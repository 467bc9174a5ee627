"""The page of commands repeats the help of every command, word by word."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from hub.cli import main
from tests.docs.pages import DOCS, Page, all_pages

PAGE = Page(DOCS / "operators" / "commands.md")


def _commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for each in sorted(command.commands):
            yield from _commands(command.commands[each], f"{name} {each}")


COMMANDS = dict(_commands(main, "hub"))


def _help(name: str) -> str:
    shown = CliRunner().invoke(main, [*name.split()[1:], "--help"], prog_name="hub", terminal_width=100)
    assert shown.exit_code == 0
    return shown.output


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_shown_with_its_help(name: str) -> None:
    section = PAGE.section(f"`{name}`")

    assert f"```\n{_help(name)}```" in section.text, f"{PAGE} should show under `{name}`:\n\n```\n{_help(name)}```"


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
