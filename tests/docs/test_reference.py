"""The reference of the public API says what the code says: every name, every signature, every value."""

from __future__ import annotations

import ast
import re
from enum import StrEnum

import pytest

import hub
from tests.docs.dictated import REFERENCE_PAGES, SIMULATORS_PAGE, definition, public_names, shipped_for_tests, stub
from tests.docs.pages import Page

REFERENCE = [Page(path) for path in REFERENCE_PAGES]
SIMULATORS = Page(SIMULATORS_PAGE)


def _section(pages: list[Page], name: str) -> str:
    sections = [each for page in pages for each in page.sections if each.title == f"`{name}`"]
    where = ", ".join(map(str, pages))
    assert len(sections) == 1, f"{where}: there must be one heading `{name}`, with the backticks, not {len(sections)}."
    return sections[0].text


def _written(pages: list[Page], name: str) -> str:
    blocks = re.findall(r"```python\n(.*?)```", _section(pages, name), re.DOTALL)
    assert blocks, f"`{name}` shows no signature."
    (node,) = ast.parse(blocks[0]).body
    return stub(node)


ENUMERATIONS = [
    value for name in hub.__all__ if isinstance(value := getattr(hub, name), type) and issubclass(value, StrEnum)
]


@pytest.mark.parametrize("values", ENUMERATIONS)
def test_every_value_of_an_enumeration_is_explained(values: type[StrEnum]) -> None:
    explained = _section(REFERENCE, values.__name__).rpartition("```")[2]
    assert set(re.findall(r"`([A-Z_]+)`", explained)) >= {value.name for value in values}


@pytest.mark.parametrize(("name", "module"), public_names().items())
def test_every_public_name_is_described_as_it_is(name: str, module: str) -> None:
    assert _written(REFERENCE, name) == stub(definition(module, name)), "Run: python -m tests.docs.dictated"


def test_nothing_is_described_that_is_not_public() -> None:
    sections = [each for page in REFERENCE for each in page.sections]
    described = {found[1] for each in sections if (found := re.fullmatch(r"`(\w+)`", each.title))}
    assert described == set(public_names())


@pytest.mark.parametrize(("name", "module"), shipped_for_tests().items())
def test_everything_shipped_for_tests_is_described_as_it_is(name: str, module: str) -> None:
    defined = definition(module, name)
    if isinstance(defined, ast.Assign):
        assert ast.unparse(defined) in SIMULATORS.text
    else:
        assert _written([SIMULATORS], name) == stub(defined)
