"""Every message and every label that the pages for merchants and operators quote is really said."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from hub_shopify.authorization import OLD_ORDERS, SCOPES
from tests.docs.pages import DOCS, ROOT, Page
from tests.docs.said import GAP, is_said, sentences

CODE = (
    "hub",
    "connectors/3pl/hub_3pl",
    "connectors/amazon/hub_amazon",
    "connectors/carriers/hub_carriers",
    "connectors/shopify/hub_shopify",
    "connectors/woocommerce/hub_woocommerce",
)
QUOTING = [
    Page(DOCS / "merchants" / "connect-shopify.md"),
    Page(DOCS / "merchants" / "connect-woocommerce.md"),
    Page(DOCS / "merchants" / "connect-amazon.md"),
    Page(DOCS / "merchants" / "connect-easypost.md"),
    Page(DOCS / "merchants" / "connect-ups.md"),
    Page(DOCS / "merchants" / "connect-shipbob.md"),
    Page(DOCS / "operators" / "running.md"),
    *(Page(path) for path in sorted(ROOT.glob("connectors/*/README.md"))),
]


def _quoted() -> Iterator[tuple[str, str]]:
    for page in QUOTING:
        for rows in page.tables():
            for row in rows:
                first = next(iter(row.values()))
                yield from ((str(page), found) for found in re.findall(r"“((?:[^“”]|“[^”]*”)+)”", first))
        for paragraph in re.findall(r"^Two remarks .*?\n\n", page.text, re.DOTALL | re.MULTILINE):
            yield from ((str(page), found) for found in re.findall(r"“([^”]+)”", " ".join(paragraph.split())))


@pytest.mark.parametrize(("page", "quoted"), list(_quoted()))
def test_the_hub_says_what_the_page_quotes(page: str, quoted: str) -> None:
    assert is_said(quoted, sentences(*CODE)), f"{page} quotes what nobody says: {quoted}"


def test_a_message_that_nobody_says_is_found_out() -> None:
    assert not is_said("Shopify is on holiday.", sentences(*CODE))
    assert not is_said(f"The app is not installed on {GAP} the moon", sentences(*CODE))


TEMPLATES = "\n".join(path.read_text() for path in sorted((ROOT / "hub" / "web" / "templates").rglob("*.html")))
LABELS = [
    (page, label)
    for page in [*QUOTING[:2], *(Page(path) for path in sorted((DOCS / "merchants").glob("*.md")))]
    for label in sorted(set(re.findall(r"(?<!\*)\*\*([A-Z][^*]{1,40})\*\*(?!\*)", " ".join(page.prose))))
    if not re.search(r"[.:]$", label)
]


@pytest.mark.parametrize(("page", "label"), LABELS, ids=str)
def test_a_label_in_bold_stands_on_a_page_of_the_hub(page: Page, label: str) -> None:
    said = (*sentences(*CODE), TEMPLATES)
    assert any(label in text for text in said), f"{page}: no page of the hub says “{label}”."


def test_the_scopes_to_paste_are_those_the_connector_needs() -> None:
    page = QUOTING[0]
    shown = page.blocks[0].text.strip()

    assert shown.split(",") == list(SCOPES)
    assert all(f"| `{scope}` | {use} |" in page.text for scope, use in SCOPES.items())
    assert f"Add `{OLD_ORDERS}`" in page.text
