"""What can be done with an order: two things at once, the rest in a menu, for mouse, keyboard, phone and no script."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import expect

from hub.connector import Settlement
from tests.browser.conftest import Visit
from tests.web.shop_builder import Shop, TeaShop, furnish

pytestmark = pytest.mark.browser


@pytest.fixture
def order(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> UUID:
    """An open order at a shop that takes cancellations and refunds."""
    effects = {**TeaShop.effects, "cancel_order": Settlement.LOOKUP, "refund": Settlement.LOOKUP}
    monkeypatch.setattr(TeaShop, "effects", effects)
    things = furnish(shop)
    order_id = shop.order(things.connection_id, "4001")
    shop.line(order_id, "1", things.sku_id)
    return order_id


def test_the_menu_opens_and_closes_by_keyboard_and_mouse_and_without_a_script(order: UUID, visit: Visit) -> None:
    page = visit.sign_in().go(f"/orders/{order}")
    expect(page.get_by_text("Show them")).to_have_count(0)
    more, cancel = page.locator("[data-menu] > summary"), page.get_by_role("link", name="Cancel the order")
    expect(page.locator(".order-acts > a")).to_have_count(2)
    expect(more).to_have_accessible_name("More actions")
    expect(cancel).not_to_be_visible()

    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.reload()
        expect(page.get_by_text("Show them")).to_have_count(0)  # the other orders have come
        more.focus()
        page.keyboard.press("Enter")
        expect(cancel).to_be_visible()
        assert visit.accessibility_problems() == []
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Priority and tags")).to_be_focused()
    page.keyboard.press("Escape")
    expect(cancel).not_to_be_visible()
    expect(more).to_be_focused()

    page.keyboard.press("Space")
    expect(cancel).to_be_visible()
    for _ in range(6):  # beyond the last of it
        page.keyboard.press("Tab")
    expect(cancel).not_to_be_visible()

    more.click()
    page.locator("h1").click()
    expect(cancel).not_to_be_visible()
    more.click()
    page.get_by_role("link", name="Send again").click()
    expect(cancel).not_to_be_visible()
    expect(page).to_have_url(f"{visit.site.address}/orders/{order}#again")

    browser = visit.context.browser
    assert browser is not None
    kept: Any = visit.context.storage_state()
    plain = browser.new_context(java_script_enabled=False, storage_state=kept)
    without = plain.new_page()
    without.goto(f"{visit.site.address}/orders/{order}")
    without.locator("[data-menu] > summary").click()
    without.get_by_role("link", name="Cancel the order").click()
    expect(without.get_by_role("heading", name="Cancel")).to_be_visible()
    plain.close()


def test_on_a_phone_the_menu_is_as_wide_as_the_page_and_all_of_it_can_be_pressed(order: UUID, phone: Visit) -> None:
    page = phone.sign_in().go(f"/orders/{order}")
    expect(page.get_by_text("Show them")).to_have_count(0)

    page.locator("[data-menu] > summary").tap()

    box = page.locator(".menu-items").bounding_box()
    assert box is not None
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert phone.accessibility_problems() == []
    page.get_by_role("link", name="Cancel the order").tap()
    expect(page).to_have_url(f"{phone.site.address}/orders/{order}/cancel")
