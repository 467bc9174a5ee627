"""Every text of the pages can be translated: in a language made up here, where each is marked, nothing is left unmarked
but what is stored."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

import pytest
from babel.messages import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from flask import Flask
from sqlalchemy import select, update

import hub.web
from hub.app import create_app
from hub.core.countries import COUNTRIES
from hub.jobs import Hub
from hub.store import tables as t
from hub.web import looks, reader, settings
from tests.web.client import Browser
from tests.web.shop_builder import Furnished, Shop, TeaShop
from tests.web.test_pages_render import PUBLIC, pages

WEB = Path(hub.web.__file__).parent
KEYWORDS = {"_": None, "gettext": None, "_l": None, "lazy_gettext": None, "ngettext": (1, 2), "pgettext": ((1, "c"), 2)}
OPEN, CLOSE = "⟦", "⟧"
# Said to people, and read aloud to them.
ATTRIBUTES = {"title", "placeholder", "alt", "aria-label", "data-label", "data-key-help", "aria-description"}
SILENT = {"script", "style", "code", "time"}
# The same in every language.
NAMES = {"Tallyhub", "UTC", "Ctrl", "Esc", "kg", "mm", "cm", "PL", "PDF", "PNG", "ZPL", "US"}
BELOW = ("/explain", "/oversell")  # pages that mostly show what hub.explain says
# Sentences made below the pages, which stay English (docs/design/translation.md).
ENGLISH = (
    "12 on hand, 2 allocated: 10 free",
    "shown: 10",
    "The customer paid for “Express”.",
    "no SKU is like it: a new one, called as the shop calls it",
    "not known: enter a country",
    "operator",
    "Not loaded: add mate-hub to TALLYHUB_PLUGINS.",
    "ImportError: No module named 'beans'",
    *("coffee-hub 0.3", "mate-hub 2.0", "tallyhub-tea 1.0", "coffee", "Basic", "Plus"),
    "webhooks, answer work, hold work, move work, release work, split work",
)


def texts() -> Catalog:
    """All that `make messages` would gather."""
    catalog = Catalog()
    methods = [("**.py", "python"), ("**/templates/**.html", "jinja2")]
    for _file, _line, message, _comments, context in extract_from_dir(
        WEB, methods, {"**/templates/**.html": {"silent": "false", "trimmed": "true"}}, KEYWORDS
    ):
        catalog.add(message, context=context)
    return catalog


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A language, Esperanto by its name, in which each text is the English one between marks."""
    catalog = Catalog(locale="eo")
    for message in texts():
        if not message.id:
            continue
        plural = isinstance(message.id, tuple | list)
        said = [f"{OPEN}{each}{CLOSE}" for each in message.id] if plural else f"{OPEN}{message.id}{CLOSE}"
        catalog.add(message.id, said, context=message.context)
    compiled = BytesIO()
    write_mo(compiled, catalog)
    file = tmp_path / "translations" / "eo" / "LC_MESSAGES" / "messages.mo"
    file.parent.mkdir(parents=True)
    file.write_bytes(compiled.getvalue())
    monkeypatch.setattr(reader, "TRANSLATIONS", tmp_path / "translations")
    monkeypatch.setattr(looks, "TRANSLATIONS", tmp_path / "translations")
    for kept in (reader.languages, settings._locales):
        kept.cache_clear()
    yield
    for kept in (reader.languages, settings._locales):
        kept.cache_clear()


class _Seen(HTMLParser):
    """What people read of a page outside of marks, piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self._silent = self._depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in SILENT:
            self._silent += 1
        else:
            self.pieces += [_outside(value, 0)[0] for name, value in attrs if name in ATTRIBUTES and value]

    def handle_endtag(self, tag: str) -> None:
        if tag in SILENT:
            self._silent -= 1

    def handle_data(self, data: str) -> None:
        said, self._depth = _outside(data, self._depth)  # a text may have a link within it
        if not self._silent:
            self.pieces.append(said)


def _outside(text: str, depth: int) -> tuple[str, int]:
    """What of a text stands outside of marks, and within how many it ends."""
    left = ""
    for each in text:
        depth += (each == OPEN) - (each == CLOSE)
        left += each if depth == 0 and each != CLOSE else " "
    return left, depth


def unmarked(page: str, stored: Iterable[str]) -> list[str]:
    """The pieces with words in them that no mark surrounds and no row holds."""
    seen = _Seen()
    seen.feed(page)
    found = []
    for piece in seen.pieces:
        left = piece
        for text in stored:
            left = left.replace(text, " ")
        if any(word not in NAMES for word in re.findall(r"[^\W\d_]{2,}", left)):
            found.append(" ".join(piece.split()))
    return found


def stored_texts(hub: Hub) -> list[str]:
    """Every text that stands in the database or is a connector's, the longest first."""
    found: set[str] = set()

    def add(value: Any) -> None:
        if isinstance(value, str):
            found.update((value, value.replace("_", " "), value.replace("_", " ").capitalize()))
        elif isinstance(value, dict):
            for name, each in value.items():
                add(name)
                add(each)
        elif isinstance(value, list | tuple):
            for each in value:
                add(each)

    with hub.database.read() as db:
        for table in t.metadata.sorted_tables:
            for row in db.execute(select(table)):
                for value in row:
                    add(value)
    for connector in hub.registry.connectors.values():
        add([connector.name, connector.label, connector.description, connector.api_version])
    for field in TeaShop.settings_schema().fields.values():
        add(list(field.metadata.values()))
    add(list(available_timezones()))
    found |= {country.name for country in COUNTRIES.values()}
    found |= {name for _, name in settings._locales()}
    return sorted((each for each in found if re.search(r"\w\w", each)), key=len, reverse=True)


def test_no_page_says_what_cannot_be_translated(marked: None, hub: Hub, shop: Shop, things: Furnished) -> None:
    hub.database.transact(lambda db: db.execute(update(t.merchant).values(locale="eo")))
    app = create_app(hub)
    owner = Browser(app).sign_in("ada@tea.example")
    stored = [*ENGLISH, *stored_texts(hub)]
    problems = []
    for path in [each for each in pages(app, things) if each not in PUBLIC and not each.endswith(BELOW)]:
        answer = owner.get(path)
        assert answer.status_code == 200, path
        if answer.mimetype == "text/html":
            assert OPEN in answer.text, path
            problems += [f"{path}: {each}" for each in unmarked(answer.text, stored)]

    assert problems == []


def test_a_browser_is_answered_in_its_language_where_the_merchant_chose_none(
    marked: None, hub: Hub, shop: Shop
) -> None:
    app = create_app(hub)

    page = Browser(app).get("/sign-in", headers={"Accept-Language": "eo,en;q=0.5"}).text
    assert f"{OPEN}Sign in{CLOSE}" in page and '<html lang="eo">' in page
    page = Browser(app).get("/sign-in", headers={"Accept-Language": "tlh"}).text
    assert OPEN not in page and '<html lang="en">' in page


def test_placeholders_of_a_text_are_names(app: Flask) -> None:
    for message in texts():
        for text in message.id if isinstance(message.id, tuple | list) else [message.id]:
            assert not re.search(r"(?<!%)%(?![%(])[sd]", text), text
