"""Every page in a real browser: in light and dark without a complaint, and with hostile text in every field it shows.

Each test takes its share of the pages, so that several processes divide the work among them.
"""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import JSON, CheckConstraint, Column, String, select, update
from sqlalchemy import text as text_of

from hub.app import create_app
from hub.jobs import Hub
from hub.store import tables as t
from tests.browser.conftest import Visit
from tests.web.shop_builder import Furnished, Shop, furnish
from tests.web.test_markup import HOSTILE
from tests.web.test_pages_render import PUBLIC, pages

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

SHARES = 3
OF_COLORS = ("color-contrast", "link-in-text-block")  # the rules of axe that may judge otherwise in the dark


def _shown(hub: Hub, things: Furnished) -> list[str]:
    """What a browser shows: no files."""
    every = pages(create_app(hub), things)
    return sorted(each for each in every if each not in PUBLIC and not each.endswith(".csv"))


@pytest.mark.parametrize("share", range(SHARES))
def test_axe_finds_nothing_on_any_page_in_light_or_dark(hub: Hub, shop: Shop, visit: Visit, share: int) -> None:
    things = furnish(shop)
    outlet = shop.connection("Outlet", state="paused", error="The shop refused the token. Reconnect the shop.")
    failed = shop.task(outlet, state="failed", message="The shop refused the token. Copy it again.")
    more = [f"/connections/{outlet}", f"/connections/{outlet}/tasks/{failed}", "/orders?q=nothing", "/nowhere"]
    visit.expected.append("404")
    problems = []
    if share == 0:
        visit.go("/sign-in")
        problems += [f"/sign-in {each}" for each in visit.accessibility_problems()]
    visit.sign_in()
    for path in [*_shown(hub, things), *more][share::SHARES]:
        visit.page.emulate_media(color_scheme="light", reduced_motion="reduce")
        visit.go(path)
        problems += [f"{path}: {each}" for each in visit.accessibility_problems()]
        visit.page.emulate_media(color_scheme="dark", reduced_motion="reduce")
        problems += [f"{path} in the dark: {each}" for each in visit.accessibility_problems(*OF_COLORS)]

    assert not problems, "\n".join(problems)


_MORE_HOSTILE = (
    "<body onload=alert(2)>",
    "<iframe srcdoc='<script>parent.alert(3)</script>'></iframe>",
    "<math><mi//xlink:href='data:x,<script>alert(4)</script>'>",
    "<details open ontoggle=alert(5)>",
    "<input autofocus onfocus=alert(6)>",
    "<style>@import 'https://evil.example/x.css'</style><link rel=stylesheet href=https://evil.example/y.css>",
    "<img src=https://evil.example/pixel.png>",
    "<form action=https://evil.example><button hx-get=https://evil.example hx-trigger=load>",
    "</script><script>alert(7)</script>",
    "</textarea></option></select></dialog><script>alert(8)</script>",
    "%(name)s %s {0} {{ config }} {% raw %}",
    "\u2029\u202e\u200b",
)
# One text that leaves every kind of place at once, and one that is an address from its beginning on.
TEXTS = {"markup": "'\"><b>" + " ".join([*HOSTILE, *_MORE_HOSTILE]), "address": "javascript:alert(9)//"}


# The fields of all tables that hold what a shop, a customer, a carrier, a file or a person has said.
_SAID = frozenset(
    (
        "account_external_id", "account_name", "actor", "attributes", "barcode", "bound_by", "changed_by",
        "channel_reference", "channel_status", "choice", "code", "created_by", "customer_name", "described", "done_by",
        "email", "error", "external_id", "file_name", "header", "host", "hs_code", "image_url", "invited_by",
        "joined_by", "label", "link", "listing_external_id", "matched_by", "message", "method", "name", "network",
        "next_step", "note", "number", "origin_country", "own_address", "own_tags", "packaging", "packer", "path",
        "place", "placed_by", "problem", "reason", "recipient", "reference", "released_by", "resolved_by", "result",
        "said", "serial_numbers", "service", "services", "shipping_address", "billing_address", "shipping_method",
        "sku_text", "source", "steps", "subject", "summary", "tags", "texts", "title", "topic", "tracking_number",
        "tracking_numbers", "tracking_url", "undone_by", "user_agent", "variant", "verdict", "version", "wanted_by",
        "zone",
    )
)  # fmt: skip
_READ_BY_THE_HUB = {  # and these of them it reads as its own words
    ("bulk_act", "described"),
    ("shipment", "choice"),
    ("shipment", "channel_reference"),
}


def poison(hub: Hub, text: str) -> int:
    """Put ``text`` into every field of every row that may hold what somebody else has said; tells into how many."""
    text = text.replace("\x00", "")
    poisoned = 0
    with hub.database.write() as db:
        for (guard,) in db.execute(text_of("select name from sqlite_master where type = 'trigger'")).all():
            db.execute(text_of(f"drop trigger {guard}"))  # they keep what is written once as it is
        for table in t.metadata.sorted_tables:
            said = [each for each in table.columns if _is_said(each)]
            for number, row in enumerate(db.execute(select(table)).mappings().all()):
                changed = {each.name: _poisoned(row[each.name], f"{text} {number}") for each in said}
                if changed:
                    this = [key == row[key.name] for key in table.primary_key.columns]
                    db.execute(update(table).where(*this).values(changed))
                    poisoned += len(changed)
    return poisoned


def _is_said(column: Column[Any]) -> bool:
    if column.name not in _SAID or (column.table.name, column.name) in _READ_BY_THE_HUB:
        return False
    checked = any(
        isinstance(each, CheckConstraint) and column.name in str(each.sqltext) for each in column.table.constraints
    )
    return isinstance(column.type, JSON | String) and not (checked or column.primary_key or column.foreign_keys)


def _poisoned(value: Any, text: str) -> Any:
    """The text in place of every text of a value, and as the name of what has one in a mapping."""
    if isinstance(value, list):
        return [_poisoned(each, text) for each in value]
    if isinstance(value, dict):
        return {name: _poisoned(each, text) for name, each in value.items()}
    return value if value is None or isinstance(value, bool | int) else text


@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("kind", TEXTS)
def test_hostile_text_in_every_field_stays_text(hub: Hub, shop: Shop, visit: Visit, kind: str, share: int) -> None:
    things = furnish(shop)
    visit.sign_in()
    assert poison(hub, TEXTS[kind]) > 100
    problems, read = [], 0
    for path in _shown(hub, things)[share::SHARES]:
        answer = visit.page.goto(visit.site.address + path)
        assert answer is not None
        if answer.status != 200:
            problems.append(f"{path}: {answer.status}")
        problems += [f"{path}: {each}" for each in _grown(visit.page)]
        read += TEXTS[kind][:20] in visit.page.locator("body").inner_text()

    # What the palette finds is drawn into the page by a script.
    visit.page.keyboard.press("Control+k")
    visit.page.keyboard.type(TEXTS[kind][:9])
    expect(visit.page.locator("#palette").get_by_role("option").first).to_contain_text(TEXTS[kind][:9])
    problems += [f"the palette: {each}" for each in _grown(visit.page)]
    assert problems == []
    assert read >= 5


def _grown(page: Page) -> list[str]:
    """What of the text has become part of the page. ``visit`` sees dialogs, errors, blocked and foreign requests."""
    return page.evaluate(
        """() => {
          const found = [];
          for (const each of document.querySelectorAll('iframe, object, embed, math, base, style, marquee'))
            found.push(each.outerHTML.slice(0, 80));
          for (const each of document.querySelectorAll('*'))
            for (const { name, value } of each.attributes) {
              if (name.startsWith('on')) found.push(`${name} of ${each.tagName}`);
              if (/^(href|src|action|formaction)$/.test(name) && /^\\s*(javascript|data):/i.test(value))
                found.push(`${name}=${value.slice(0, 80)}`);
            }
          return found;
        }"""
    )
