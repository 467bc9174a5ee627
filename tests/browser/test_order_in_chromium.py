"""An order in full in a real browser: readable by everybody, on a phone as well, and a part of it held back."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from sqlalchemy import select

from hub.jobs import Hub
from hub.store import tables as t
from tests.browser.conftest import Visit
from tests.web.shop_builder import Shop, furnish

pytestmark = pytest.mark.browser


def test_an_order_in_full_is_usable_by_everybody_and_a_part_of_it_is_held(hub: Hub, shop: Shop, visit: Visit) -> None:
    things = furnish(shop)
    visit.sign_in()
    page = visit.go(f"/orders/{things.order_id}")
    for summary in page.get_by_text("Do something about it").all():
        if not summary.locator("..").evaluate("details => details.open"):
            summary.click()
    problems = visit.accessibility_problems()

    page.get_by_label("Hold it back because of").select_option("fraud")
    page.get_by_label("Why it is held back").fill("Looks odd")
    page.get_by_role("button", name="Hold", exact=True).click()

    expect(page.locator("#parts").get_by_text("Waiting to be sent")).to_be_visible()
    with hub.database.read() as db:
        request = db.execute(select(t.effect.c.request).where(t.effect.c.kind == "hold_work")).scalar_one()
    assert (request["work_external_id"], request["note"]) == ("w2", "Looks odd")
    assert problems == []


def test_an_order_in_full_fits_on_a_phone(shop: Shop, phone: Visit) -> None:
    things = furnish(shop)
    phone.sign_in()
    page = phone.go(f"/orders/{things.order_id}")
    page.get_by_text("Do something about it").first.click()

    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert phone.accessibility_problems() == []
