"""One connection through its pages in a real browser: connected, looked into, broken, mended, replayed."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect
from sqlalchemy import insert, update

from hub.store import tables as t
from hub.store.database import new_id
from hub_woocommerce.simulator import WooCommerceSimulator
from tests.browser.conftest import Site, Visit
from tests.town import Town
from tests.web.shop_builder import Shop

pytestmark = pytest.mark.browser

ADDRESS = "https://woo.example"


@pytest.fixture
def woo() -> Iterator[WooCommerceSimulator]:
    with WooCommerceSimulator(site=ADDRESS) as woo:
        woo.add_product("MUG", "Mug", stock=5, price="9.00")
        yield woo


@pytest.fixture
def street(town: Town, site: Site, woo: WooCommerceSimulator) -> Town:
    """A hub that reaches the simulated shop."""
    town.lead_to(woo)
    site.serve(town.hub)
    return town


def test_a_connection_from_its_form_to_a_replay(
    street: Town, shop: Shop, visit: Visit, woo: WooCommerceSimulator
) -> None:
    visit.sign_in()

    # Found in the catalogue, refused with a reason that leads to the request, then connected.
    page = visit.go("/connectors?q=woo")
    page.get_by_role("link", name="Connect WooCommerce").click()
    page.get_by_label("Address of the shop").last.fill(ADDRESS)
    page.get_by_label("Consumer key").last.fill(woo.consumer_key)
    page.get_by_label("Consumer secret").last.fill("cs_0000000000")
    page.get_by_role("button", name="Connect", exact=True).click()
    expect(page.get_by_text("Waiting for a worker…")).to_be_visible()
    street.work()
    page.get_by_role("link", name="See what was asked, and what it answered").click()
    expect(page.get_by_text("401").first).to_be_visible()
    assert "cs_0000000000" not in page.content()
    page.get_by_role("link", name="Settings", exact=True).last.click()
    page.get_by_role("link", name="Reconnect").click()
    page.get_by_label("Consumer key").last.fill(woo.consumer_key)
    page.get_by_label("Consumer secret").last.fill(woo.consumer_secret)
    page.get_by_role("button", name="Check and replace").click()
    expect(page.get_by_text("Waiting for a worker…")).to_be_visible()
    street.work()
    place = street.row(t.connection).id
    page.get_by_role("link", name="Go on").click()
    expect(page.get_by_role("heading", name="The vendor's side")).to_be_visible()

    # Its log of requests: all of them, then one.
    page.get_by_role("navigation", name="Pages of").get_by_role("link", name="Requests").click()
    page.get_by_label("Path begins with").fill("/wp-json/wc/v3/products")
    page.get_by_role("button", name="Show").click()
    expect(page).to_have_url(re.compile("q=%2Fwp-json"))
    page.get_by_role("link", name="GET /wp-json/wc/v3/products").first.click()
    expect(page.get_by_role("heading", name="What was asked")).to_be_visible()
    expect(page.get_by_role("heading", name="Repeat it by hand")).to_be_visible()
    content = page.content()
    assert woo.consumer_secret not in content and woo.consumer_key not in content
    assert visit.accessibility_problems() == []

    # Its key is taken away at the shop: it pauses, says why, and leads to the way out.
    woo.consumer_secret = "cs_1111111111"
    with street.hub.database.write() as db:
        db.execute(update(t.cursor).values(due_at=street.hub.database.now(db)))
    street.work()
    visit.go(f"/connections/{place}")
    expect(page.get_by_text("refused the credentials").first).to_be_visible()
    visit.go(f"/connections/{place}/requests?show=failed")
    page.get_by_role("link", name="GET /wp-json").first.click()
    page.get_by_role("link", name="Reconnect with working ones").click()
    page.get_by_label("Consumer key").last.fill(woo.consumer_key)
    page.get_by_label("Consumer secret").last.fill(woo.consumer_secret)
    page.get_by_role("button", name="Check and replace").click()
    expect(page.get_by_text("Waiting for a worker…")).to_be_visible()
    street.work()
    page.get_by_role("link", name="Go on").click()
    expect(page.get_by_role("link", name="Pause…")).to_be_visible()

    # A record that could not be read is set aside, looked at, and read again.
    with street.hub.database.write() as db:
        here = {"merchant_id": shop.merchant_id, "id": new_id(), "connection_id": place}
        told = {"source": "webhook", "topic": "ping", "external_id": "77", "dedupe_key": "q", "body_sha256": "0" * 64}
        why = {"state": "quarantined", "error": "lines.0.quantity: Not a whole number."}
        db.execute(insert(t.inbox).values(headers={}, received_at=street.hub.database.now(db), **here, **told, **why))
    page.get_by_role("link", name="Replay").click()
    expect(page.get_by_text("lines.0.quantity: Not a whole number.")).to_be_visible()
    assert visit.accessibility_problems() == []
    page.get_by_role("button", name="Read again", exact=True).click()
    expect(page.get_by_text("Nothing is set aside", exact=True)).to_be_visible()

    # What removing would do, in numbers; and the same pages in the dark find no complaint.
    page.emulate_media(color_scheme="dark")
    for path in ("", "/health", "/mappings", "/requests", "/replay", "/activity", "/settings", "/remove"):
        visit.go(f"/connections/{place}{path}")
        assert visit.accessibility_problems() == [], path
    expect(page.get_by_role("heading", name="What ends")).to_be_visible()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("Its orders and its history stay.")).to_be_visible()
