"""Parts of a page that draw themselves anew: what is under somebody's hands stays, and a page says when it is old."""

from __future__ import annotations

from playwright.sync_api import Page, Route, expect
from sqlalchemy import update

from hub.jobs import Hub
from hub.store import tables as t
from tests.browser.conftest import Visit
from tests.web.shop_builder import Shop, furnish

# Fields that a live part might have.
FIELDS = (
    '<div id="mine"><input id="typed" value="before" aria-label="Note">'
    '<details id="opened"><summary>More</summary>this</details>'
    '<input type="checkbox" id="ticked" aria-label="Tick"></div>'
)


def ask_now(page: Page) -> None:
    """What the clock does every few seconds."""
    with page.expect_response(lambda answer: answer.request.headers.get("hx-request") == "true"):
        page.evaluate("document.querySelector('[data-live]').dispatchEvent(new Event('every'))")


def test_what_is_typed_opened_and_focused_stays_while_figures_change(hub: Hub, shop: Shop, visit: Visit) -> None:
    things = furnish(shop)
    page = visit.sign_in().go("/connections")

    def add_fields(route: Route) -> None:
        answer = route.fetch()
        text = answer.text()
        at = text.index(">", text.index('id="live"')) + 1
        route.fulfill(response=answer, body=text[:at] + FIELDS + text[at:])

    page.route("**/connections", add_fields)
    page.reload()
    page.locator("#typed").fill("after")
    page.locator("#opened summary").click()
    page.locator("#ticked").check()
    page.locator("#typed").focus()
    page.evaluate("document.getElementById('typed').setSelectionRange(1, 3)")
    hub.database.transact(
        lambda db: db.execute(
            update(t.connection).where(t.connection.c.id == things.connection_id).values(label="Tea Avenue")
        )
    )
    ask_now(page)

    expect(page.get_by_role("link", name="Tea Avenue", exact=True)).to_be_visible()
    expect(page.locator("#typed")).to_have_value("after")
    expect(page.locator("#typed")).to_be_focused()
    assert page.evaluate("document.getElementById('typed').selectionStart") == 1
    expect(page.locator("#opened")).to_have_attribute("open", "")
    expect(page.locator("#ticked")).to_be_checked()


def test_a_page_says_that_it_is_old_while_the_hub_is_away_and_recovers(shop: Shop, visit: Visit) -> None:
    furnish(shop)
    page = visit.sign_in().go("/connections")
    away = page.get_by_text("The hub does not answer at the moment")
    expect(away).not_to_be_visible()
    visit.expected.append("Failed to load resource")
    visit.expected.append("Failed to fetch")
    visit.expected.append("htmx:error")

    page.route("**/connections", lambda route: route.abort())
    page.evaluate("document.querySelector('[data-live]').dispatchEvent(new Event('every'))")
    expect(away).to_be_visible()
    assert page.locator("[data-away-since]").inner_text() != ""

    page.unroute("**/connections")
    ask_now(page)
    expect(away).not_to_be_visible()


def test_a_page_in_the_background_does_not_ask(shop: Shop, visit: Visit) -> None:
    furnish(shop)
    page = visit.sign_in().go("/connections")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/static/" not in request.url else None)
    page.evaluate("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
    page.evaluate("document.querySelector('[data-live]').dispatchEvent(new Event('every'))")
    page.evaluate("Object.defineProperty(document, 'hidden', { value: false, configurable: true })")
    with page.expect_response("**/connections"):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # back again: it asks at once

    assert len(asked) == 1
