"""Issues and what happened appear by themselves, and what somebody ticks, opens or stands on meanwhile stays."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from hub.store import tables as t
from tests.browser.conftest import Visit
from tests.web.shop_builder import Shop, furnish


def ask_now(page: Page) -> None:
    """What the clock does every few seconds."""
    with page.expect_response(lambda answer: answer.request.headers.get("hx-request") == "true"):
        page.evaluate("document.querySelector('[data-live]').dispatchEvent(new Event('every'))")


def test_a_new_issue_appears_while_another_stays_ticked_and_is_resolved_alone(shop: Shop, visit: Visit) -> None:
    things = furnish(shop)
    oversold = shop.issue("2 units were oversold", kind="oversold")
    page = visit.sign_in().go("/issues")
    page.get_by_text("Resolve several").click()
    page.get_by_label("2 units were oversold").check()
    page.get_by_label("2 units were oversold").focus()
    expect(page.get_by_text("Nobody can ship it")).to_have_count(0)

    # Newer than both, so that every row moves down by one; and the one that is ticked tells more by now.
    shop.write_to(t.issue, oversold, title="3 units were oversold")
    shop.issue("Nobody can ship it", kind="nobody_can_ship", opened_at=shop.now)
    ask_now(page)

    expect(page.locator(".happened").get_by_text("Nobody can ship it")).to_be_visible()
    expect(page.locator("#several")).to_have_attribute("open", "")
    expect(page.get_by_label("3 units were oversold")).to_be_checked()
    expect(page.get_by_label("3 units were oversold")).to_be_focused()
    expect(page.get_by_label("Nobody can ship it")).not_to_be_checked()
    expect(page.get_by_label("A shop refused the token")).not_to_be_checked()
    assert visit.accessibility_problems() == []

    page.get_by_role("button", name="Resolve those chosen").click()
    expect(page.get_by_text("1 of 1 resolved")).to_be_visible()
    expect(page.locator("#waiting .happened > li")).to_have_count(2)

    # The page with the outcomes is the list as well: it goes on by itself, and its choices lead on.
    shop.issue("A label has no file", kind="label_without_file")
    ask_now(page)
    expect(page.locator("#waiting .happened > li")).to_have_count(3)
    page.get_by_role("link", name="Resolved", exact=True).click()
    expect(page.locator("#waiting .happened > li")).to_have_count(1)

    # What happened is told the same way.
    shop.activity("A parcel was weighed", details={"grams": 412})
    page = visit.go(f"/activity?connection={things.connection_id}")
    expect(page.get_by_text("A parcel was weighed")).to_have_count(0)
    page = visit.go("/activity")
    opened = page.locator(".happened > li", has_text="A parcel was weighed")
    opened.locator("summary").click()
    shop.activity("The dog barked", at=shop.now)
    ask_now(page)
    expect(page.get_by_text("The dog barked")).to_be_visible()
    expect(opened.locator("details")).to_have_attribute("open", "")
    expect(page.locator(".happened details[open]")).to_have_count(1)
