"""The pages on the design name tests, layers, rooms and invariants that exist."""

from __future__ import annotations

import re
import tomllib

from hub.store import tables as t
from hub.store.database import Database
from tests.docs.dictated import GUARANTEES_PAGE, invariants
from tests.docs.pages import DOCS, ROOT, Page

GUARANTEES = Page(GUARANTEES_PAGE)
ARCHITECTURE = Page(DOCS / "design" / "architecture.md")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_promise_is_shown_by_a_test_that_exists() -> None:
    promises = [row for rows in GUARANTEES.tables() for row in rows if "Promise" in row]
    missing = []
    for promise in promises:
        shown = re.findall(r"\[([^\]]+)\]\(([^)]+)\)", promise["Shown by"])
        assert shown, f"Nothing shows that: {promise['Promise']}"
        for sentence, target in shown:
            path = (GUARANTEES.path.parent / target).resolve()
            name = f"test_{sentence.replace(' ', '_')}"
            if not path.is_file() or f"def {name}(" not in path.read_text():
                missing.append(f"{target} has no {name}")
    assert missing == []


def test_the_invariants_are_those_that_the_audit_asks(database: Database) -> None:
    assert invariants(database) in GUARANTEES.text, "Run: python -m tests.docs.dictated"


def test_the_layers_are_those_that_are_checked() -> None:
    (block,) = [block.text for block in ARCHITECTURE.blocks if block.language == "toml"]
    (layers,) = [each for each in PROJECT["tool"]["importlinter"]["contracts"] if each["id"] == "layers"]

    assert tomllib.loads(block)["layers"] == layers["layers"]


def test_every_room_is_described_and_every_file_that_is_named_exists() -> None:
    named = set(re.findall(r"`(?:hub/)?([\w/]+\.py)`", ARCHITECTURE.text))
    missing = sorted(name for name in named if not list((ROOT / "hub").glob(f"**/{name}")))
    assert missing == []

    rooms = {path.name for path in (ROOT / "hub").glob("*.py") if path.name != "__init__.py"}
    rooms |= {f"hub/{path.name}" for path in (ROOT / "hub").iterdir() if (path / "__init__.py").is_file()}
    section = ARCHITECTURE.section("Rooms").text
    assert sorted(room for room in rooms - {"hub/migrations"} if room not in section) == []


def test_as_many_tables_are_without_a_merchant_as_the_page_says() -> None:
    without = [table.name for table in t.metadata.tables.values() if "merchant_id" not in table.primary_key.columns]
    assert len(without) == 9
    assert "Every table but nine begins its key with the merchant" in " ".join(ARCHITECTURE.text.split())
