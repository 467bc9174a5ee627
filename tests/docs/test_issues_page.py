"""The page of issues lists every kind the code raises, with its title and its next step as people read them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from hub.web.journal import KINDS
from tests.docs.pages import DOCS, ROOT, Page
from tests.docs.said import arguments, modules

PAGE = Page(DOCS / "merchants" / "issues.md")


@dataclass(frozen=True)
class Raised:
    """One place in the code that raises an issue."""

    kind: str
    title: str
    next_step: str
    where: str


def _raised() -> Iterator[Raised]:
    for module in modules("hub"):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "raise_issue":
                given = arguments(node, {"kind": 2, "title": 4, "next_step": 5})
                where = f"{module.path.relative_to(ROOT)}:{node.lineno}"
                yield Raised(**{name: module.text(value) for name, value in given.items()}, where=where)


RAISED = list(_raised())


def test_every_kind_of_issue_is_on_the_page_and_no_other() -> None:
    written = {found[1] for each in PAGE.sections if (found := re.search(r"\(`(\w+)`\)$", each.title))}

    assert all(each.kind for each in RAISED), "A kind of issue is made up as the program runs; name it."
    assert written == {each.kind for each in RAISED}


def test_every_kind_has_its_name_in_the_list_of_issues() -> None:
    assert {each.kind for each in RAISED} == set(KINDS)


@pytest.mark.parametrize("raised", RAISED, ids=lambda each: f"{each.kind}-{each.where}")
def test_an_issue_is_quoted_as_people_read_it(raised: Raised) -> None:
    (section,) = [each.text for each in PAGE.sections if each.title.endswith(f"(`{raised.kind}`)")]
    quoted = " ".join(section.replace("\n>", " ").split())

    for text in (raised.title, raised.next_step):
        if text:  # a text handed over by the caller is quoted where the caller makes it
            assert " ".join(text.split()) in quoted, f"{PAGE} should quote, under {raised.kind}: {text}"
