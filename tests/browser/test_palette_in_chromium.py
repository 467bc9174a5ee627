"""The palette and the shortcuts, by the keyboard alone."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.web.shop_builder import Shop, furnish


def test_the_palette_leads_anywhere_by_the_keyboard_alone(shop: Shop, visit: Visit) -> None:
    things = furnish(shop)
    visit.sign_in()
    page = visit.page
    page.keyboard.press("Control+k")
    field = page.get_by_role("combobox", name="Search orders, SKUs, connections, pages and actions")
    expect(field).to_be_focused()
    expect(page.get_by_role("option", name="Orders")).to_be_visible()  # before anything is typed: where one may go
    assert visit.accessibility_problems() == []

    # What is typed and opened at once waits for its answer.
    page.keyboard.type("tea-1")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/stock/{things.sku_id}")

    page.keyboard.press("Control+k")
    recent = page.get_by_role("group", name="Recent").get_by_role("option")
    expect(recent).to_have_text(["TEA-1Green tea, 100 g"])
    expect(recent).to_have_attribute("aria-selected", "true")
    expect(field).to_have_attribute("aria-activedescendant", "recent-0")
    page.keyboard.press("ArrowUp")  # round to the end
    expect(field).not_to_have_attribute("aria-activedescendant", "recent-0")
    page.keyboard.press("ArrowDown")
    expect(field).to_have_attribute("aria-activedescendant", "recent-0")

    page.keyboard.type("nothing is called this")
    said = page.locator("#palette-said")
    expect(said).to_contain_text("Nothing begins with “nothing is called this”.")
    field.fill("use dark")
    expect(page.locator("#palette").get_by_role("option")).to_have_text(["Use dark colors"])
    page.keyboard.press("Enter")
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    expect(page.locator("#palette")).not_to_be_visible()
    expect(page.get_by_role("radio", name="Dark")).to_be_checked()

    page.keyboard.press("Control+k")
    page.keyboard.press("Escape")
    expect(page.locator("#palette")).not_to_be_visible()

    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in*")
    assert page.evaluate("Object.keys(localStorage).filter(each => each.startsWith('tallyhub-recent'))") == []


def test_keys_lead_from_page_to_page_unless_somebody_types_or_turned_them_off(shop: Shop, visit: Visit) -> None:
    furnish(shop)
    visit.sign_in()
    page = visit.page
    page.keyboard.type("gs")
    page.wait_for_url("**/stock")
    page.keyboard.type("/")
    search = page.get_by_role("searchbox")
    expect(search).to_be_focused()
    page.keyboard.type("gl/?")
    expect(search).to_have_value("gl/?")
    assert page.url.endswith("/stock")

    page.locator("h1").click()
    page.keyboard.type("?")
    help = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(help).to_be_visible()
    expect(help.get_by_text("Search in this list")).to_be_visible()
    expect(help.get_by_text("Listings", exact=True)).to_be_visible()
    assert visit.accessibility_problems() == []
    page.keyboard.type("gl")  # under the dialog nothing moves
    switch = help.get_by_role("checkbox", name="Shortcuts of single keys")
    expect(switch).to_be_checked()
    switch.uncheck()
    page.keyboard.press("Escape")
    page.keyboard.type("gl?")
    expect(help).not_to_be_visible()
    assert page.url.endswith("/stock")

    page.keyboard.press("Control+k")  # a key with another one held down is never pressed by mistake
    expect(page.locator("#palette")).to_be_visible()
