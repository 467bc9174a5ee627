"""In a real browser: labels bought for many parcels and followed, a file of details, the stock list on a phone."""

from __future__ import annotations

import pytest
from playwright.sync_api import FilePayload, expect
from sqlalchemy import update

from hub import jobs
from hub.jobs import Hub
from hub.jobs.desk_lane import LANE
from hub.store import tables as t
from tests.browser.conftest import Visit
from tests.web.shop_builder import Shop, furnish
from tests.web.test_shipment_pages import account_of
from tests.web.test_shipping_flow import Printer

pytestmark = pytest.mark.browser


def test_labels_are_bought_by_a_worker_and_the_page_follows_by_itself(hub: Hub, shop: Shop, visit: Visit) -> None:
    things = furnish(shop)
    account_of(Printer, hub, shop, things)
    visit.sign_in()
    page = visit.go("/shipments?show=to_label")
    page.get_by_label("Choose all").check()
    page.get_by_role("button", name="Buy the chosen offers").click()
    expect(page.get_by_role("heading", name="Buy labels: 1 shipment")).to_be_visible()
    expect(page.get_by_text("0 of 1")).to_be_visible()

    assert jobs.drain(hub, shop.merchant_id, things.connection_id, "bulk")
    expect(page.get_by_text("1 label is being bought at its carrier")).to_be_visible()
    problems = visit.accessibility_problems()
    with hub.database.write() as db:
        sold = {"state": "labelled", "labelled_at": shop.now, "tracking_numbers": ["GB7"]}
        db.execute(update(t.shipment).where(t.shipment.c.id == things.shipment_id).values(**sold))

    expect(page.get_by_role("link", name="Print the label")).to_be_visible()
    expect(page.get_by_text("GB7")).to_be_visible()
    assert problems + visit.accessibility_problems() == []


def test_a_file_of_details_shows_every_change_before_it_is_made(hub: Hub, shop: Shop, visit: Visit) -> None:
    place = shop.location("Main warehouse")
    cup = shop.sku("CUP-1")
    shop.level(cup, place, on_hand=12)
    visit.sign_in()
    page = visit.go("/stock/import")
    content = b"SKU,Title,Shelf,Safety stock\r\nCUP-1,A better cup,B-12,2\r\nPOT-1,A new pot,,\r\nCUP-9,x,,1\r\n"
    page.locator("#file").set_input_files(FilePayload(name="details.csv", mimeType="text/csv", buffer=content))
    page.get_by_role("button", name="Look at it").click()
    page.get_by_label("Details", exact=False).check()
    page.get_by_text("What a file of details sets").click()
    page.get_by_label("Make SKUs of codes that are new").check()
    problems = visit.accessibility_problems()
    page.get_by_role("button", name="See what would change").click()
    for each in jobs.due(hub, lane=LANE):
        jobs.drain(hub, *each)

    row = page.get_by_role("row", name="CUP-1").first
    expect(row).to_contain_text("A better cup")
    expect(row).to_contain_text("Safety stock: 0 → 2")
    expect(page.get_by_role("button", name="Apply 2 changes")).to_be_visible()
    problems += visit.accessibility_problems()
    page.get_by_role("button", name="Apply 2 changes").click()
    for each in jobs.due(hub, lane=LANE):
        jobs.drain(hub, *each)
    expect(page.get_by_text("SKUs that were made stay.")).to_be_visible()
    assert problems == []


def test_on_a_phone_the_filters_of_the_stock_list_are_folded_in(shop: Shop, phone: Visit) -> None:
    furnish(shop)
    shop.location("Barn")
    phone.sign_in()
    page = phone.go("/stock?show=short")

    first = page.locator(".stock-list, .empty").first
    expect(page.get_by_text("Short · Show all")).to_be_visible()
    expect(page.get_by_label("Only those that are")).not_to_be_visible()
    assert first.bounding_box()["y"] < 500, "what is listed begins on the first screen"  # type: ignore[index]
    page.get_by_text("Filter", exact=True).click()
    page.get_by_label("Only those that are").select_option("all")
    problems = phone.accessibility_problems()
    page.keyboard.press("Escape")
    expect(page.get_by_label("Only those that are")).not_to_be_visible()
    page.get_by_text("Filter", exact=True).click()
    page.get_by_role("button", name="Show these").click()

    expect(page.locator(".stock-list")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert problems + phone.accessibility_problems() == []
