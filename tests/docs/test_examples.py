"""Every piece of Python on the pages for connector authors is a signature, a part of a file, or is run here."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import hub
from hub.connector import Kind
from tests.docs.dictated import public_names, shipped_for_tests
from tests.docs.pages import DOCS, Block, Page
from tests.scaffold.written import connector, simulator

PAGES = [Page(path) for path in sorted((DOCS / "connectors").glob("*.md"))]
VENDOR = {"carriers": Kind.CARRIER, "providers": Kind.PROVIDER}  # what Acme is on a page; a channel on all others


def _signatures(page: Page) -> set[str]:
    """The first block below each heading that is a name: dictated by the code."""
    names = {*public_names(), *shipped_for_tests()}
    sections = [each for each in page.sections if each.title.strip("`") in names]
    blocks = [re.search(r"```python\n(.*?)```", each.text, re.DOTALL) for each in sections]
    return {found[1] for found in blocks if found}


def _examples() -> Iterator[tuple[str, Block]]:
    for page in PAGES:
        signatures = _signatures(page)
        for block in page.blocks:
            if block.language == "python" and not block.label and block.text not in signatures:
                yield page.path.stem, block


EXAMPLES = list(_examples())


@pytest.mark.parametrize(("page", "block"), EXAMPLES, ids=[f"{page}:{block.line}" for page, block in EXAMPLES])
def test_an_example_runs(page: str, block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = VENDOR.get(page, Kind.CHANNEL)
    acme = {"AcmeConnector": connector(kind), "AcmeSimulator": simulator(kind)}
    for name in ("hub_acme", "hub_acme.connector", "hub_acme.simulator"):
        module = ModuleType(name)
        vars(module).update(acme)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr("builtins.input", lambda prompt: "")
    names: dict[str, Any] = {"hub": hub, "__name__": "example", **acme}

    text = block.text.replace("port=9100", "port=0")  # somebody may be listening there

    exec(compile(text, f"{page}.md:{block.line}", "exec"), names)  # noqa: S102 - our own pages


def test_there_are_examples_of_each_kind() -> None:
    assert {page for page, _ in EXAMPLES} >= {"carriers", "providers", "reference", "tutorial"}
