"""Locations and routing in a real browser: usable by everybody, on a phone as well, and by the keyboard alone."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from hub.store import routing_rules
from tests.browser.conftest import Visit
from tests.web.shop_builder import Shop
from tests.web.test_routing_pages import Shipping

pytestmark = pytest.mark.browser


def test_rules_are_changed_by_the_keyboard_and_tried_before_they_hold(shop: Shop, visit: Visit) -> None:
    shipping = Shipping(shop)
    visit.sign_in()
    page = visit.go("/routing")
    page.get_by_label("What it does").select_option("never")
    page.get_by_label("Leeds").check()
    page.get_by_label("Countries").fill("GB")
    page.get_by_label("Countries").press("Enter")
    expect(page.get_by_text("4. Never from Leeds, for orders to GB")).to_be_visible()
    page.get_by_role("button", name="What would differ").press("Enter")
    expect(page.get_by_text("Berlin: the only location that has it and may ship it.")).to_be_visible()
    problems = visit.accessibility_problems()

    page.get_by_role("button", name="Save the rules").click()

    expect(page.get_by_text("Orders are dealt out by these rules from now on.")).to_be_visible()
    with shop.hub.database.read() as db:
        number, policy = routing_rules.policy(db, shop.merchant_id)
    assert (number, policy.rules[-1].places) == (1, (str(shipping.leeds),))
    assert problems == []


def test_locations_and_the_order_are_usable_by_everybody_on_a_phone(shop: Shop, phone: Visit) -> None:
    shipping = Shipping(shop)
    phone.sign_in()
    problems = []
    for address in (f"/locations/{shipping.leeds}", "/routing", f"/orders/{shipping.order}"):
        page = phone.go(address)
        for summary in page.locator("main details > summary").all():
            summary.click()
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), address
        problems += phone.accessibility_problems()

    assert problems == []
