"""Markup: nothing that comes from a shop is taken for HTML, and no page holds what the content policy would block."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from flask import Flask

import hub.web
from tests.web.client import Browser
from tests.web.shop_builder import Furnished, Shop
from tests.web.test_pages_render import PUBLIC, pages

TEMPLATES = sorted((Path(hub.web.__file__).parent / "templates").rglob("*.html"))
SCRIPTS = sorted((Path(hub.web.__file__).parent / "static").glob("*.js"))

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg onload=alert(1)>",
    "javascript:alert(1)",
    "</title><script>alert(1)</script>",
    "{{7*7}}${7*7}<%= 7*7 %>",
    '" autofocus onfocus=alert(1) x="',
    "<a href='https://evil.example'>click</a>",
    "]]><!--<script>alert(1)</script>-->",
    "\u202etxt.exe\u0000\u2028",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_shop_says_stays_text_on_every_page(
    app: Flask, shop: Shop, owner: Browser, things: Furnished, text: str
) -> None:
    here = things.connection_id
    shown = text.replace("\x00", "")
    sku_id = shop.sku(f"SKU {shown}", shown)
    shop.level(sku_id, things.location_id, on_hand=3)
    place = shop.location(f"Cellar {shown}")
    shop.place(here, place, shown, shown[:20])
    hostile = shop.connection(shown, error=shown, account_name=shown, account_external_id=shown)
    listing = shop.listing(here, f"X{shown}", sku_id, title=shown, sku_text=shown, barcode=shown)
    shop.publication(listing, here, 1, error=shown, cause={"cause": shown, "order_id": shown})
    shop.listing(here, f"Y{shown}", title=shown, sku_text=shown)
    order_id = shop.order(
        here,
        shown,
        external_id=shown,
        channel_status=shown,
        customer_name=shown,
        email=shown,
        note=shown,
        shipping_address=dict.fromkeys(
            ["name", "company", "line1", "line2", "city", "region", "postcode", "country", "phone"], shown
        ),
        billing_address={"name": shown},
    )
    shop.line(order_id, shown, None, title=shown, sku_text=shown, listing_external_id=f"Y{shown}")
    shop.issue(shown, next_step=shown, link=shown, connection_id=hostile, order_id=order_id)
    shop.activity(shown, actor=shown, details={shown: [shown]}, order_id=order_id, connection_id=hostile)
    task_id = shop.task(here, "check", "failed", message=shown)

    for path in [
        *(each for each in pages(app, things) if each not in PUBLIC),
        f"/orders/{order_id}",
        f"/stock/{sku_id}",
        f"/connections/{hostile}",
        f"/connections/{here}/tasks/{task_id}",
        "/orders?q=" + text.replace("#", "").replace("&", "").replace("%", ""),
    ]:
        answer = owner.get(path)
        assert answer.status_code == 200, path
        _check(answer.text, path)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.problems: list[str] = []
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "script":
            self.scripts.append(given.get("src") or "inline")
        if tag in ("iframe", "object", "embed", "base", "style") or (tag == "img" and given.get("src") == "x"):
            self.problems.append(f"<{tag}>")
        for name, value in attrs:
            if name.startswith("on") or name == "style":
                self.problems.append(f"{name} on <{tag}>")
            if given.get("rel") == "noopener noreferrer" and name == "href" and (value or "").startswith("https://"):
                continue  # a carrier's page about a parcel
            if name in ("href", "src", "action", "hx-get", "hx-post") and not (value or "").startswith(("/", "#")):
                self.problems.append(f"{name}={value} on <{tag}>")


def _check(text: str, path: str) -> None:
    reader = _Reader()
    reader.feed(text)
    assert reader.problems == [], f"{path}: {reader.problems}"
    assert len(reader.scripts) >= 4 and all(each.startswith("/static/") for each in reader.scripts), path
    assert "49$" not in text


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
def test_no_template_needs_what_the_content_policy_forbids(template: Path) -> None:
    text = template.read_text()

    assert "|safe" not in text.replace(" ", "") and "autoescape" not in text
    assert not re.search(r"\sstyle=|<style|\son[a-z]+=|hx-on|js:|javascript:", text)
    assert not re.search(r"<script(?![^>]*\ssrc=)", text)
    assert not re.search(r'hx-trigger="[^"]*\[', text)
    assert not re.search(r'(href|src|action)="(https?:)?//', text)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
def test_every_form_that_changes_something_carries_its_token(template: Path) -> None:
    text = template.read_text()
    for form in re.findall(r'(?s)<form[^>]*method="post".*?</form>', text):
        assert "csrf" in form, form[:200]


def test_every_icon_that_is_used_is_in_the_sprite(app: Flask, owner: Browser, things: Furnished) -> None:
    sprite = Path(hub.web.__file__).parent / "static" / "vendor" / "icons.svg"
    if not sprite.exists():
        pytest.skip("the front-end files have not been fetched (make assets)")
    known = set(re.findall(r'<symbol id="([^"]+)"', sprite.read_text()))
    sources = [*TEMPLATES, *(Path(hub.web.__file__).parent).glob("*.py")]
    named = {name for path in sources for name in re.findall(r'icon\("([a-z0-9-]+)"', path.read_text())}
    from hub.web import looks

    for states in (*looks._STATES.values(), looks._CAUSES):
        named |= {state.icon for state in states.values()}  # type: ignore[attr-defined]
    named |= set(looks._KIND_ICONS.values())

    assert named - known == set()


def test_own_scripts_build_no_code_from_text() -> None:
    for path in SCRIPTS:
        assert not re.search(
            r"\beval\b|new Function|innerHTML|document\.write|setTimeout\(\s*[\"']", path.read_text()
        ), path
