"""The grid of orders in a real browser: found while typing, chosen by mouse and by keys, and something done to many."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from hub import jobs
from hub.jobs import Hub
from hub.store import tables as t
from tests.browser.conftest import Visit
from tests.web.shop_builder import Shop

pytestmark = pytest.mark.browser


def fill(shop: Shop) -> None:
    """Five orders of a shop, the newest first: Ann's, Bo's, Cy's, Di's and Ed's."""
    place = shop.connection()
    for number, name in enumerate(["Ann", "Bo", "Cy", "Di", "Ed"], start=1):
        status = "fulfilled" if name == "Ed" else "open"
        shop.order(place, f"10{number}", customer_name=f"{name} Li", placed_at=shop.ago(minutes=number), status=status)


def customers(page: Page) -> list[str]:
    return [each.strip() for each in page.locator("#orders td[data-label=Customer]").all_inner_texts()]


def work(hub: Hub, shop: Shop) -> None:
    """What a worker does, who is rung for."""
    for merchant_id, connection_id, lane in jobs.due(hub, lane="bulk"):
        jobs.drain(hub, merchant_id, connection_id, lane)


def tags(hub: Hub) -> dict[str, list[str]]:
    with hub.database.read() as db:
        return {
            row.number: row.own_tags for row in db.execute(select(t.sales_order.c.number, t.sales_order.c.own_tags))
        }


def test_a_list_is_narrowed_down_and_kept_and_something_is_done_to_three_of_its_orders(
    hub: Hub, shop: Shop, visit: Visit
) -> None:
    fill(shop)
    visit.sign_in()
    page = visit.go("/orders")
    assert customers(page) == ["Ann Li", "Bo Li", "Cy Li", "Di Li", "Ed Li"]

    # As one types, with the focus where it is.
    page.keyboard.press("/")
    page.keyboard.type("cy")
    expect(page.locator("#orders tr[data-order]")).to_have_count(1)
    expect(page).to_have_url(re.compile(r"/orders\?q=cy$"))
    assert page.evaluate("document.activeElement.name") == "q"
    expect(page.locator("#orders-said")).to_have_text("1 order")
    page.keyboard.type("zz")
    expect(page.get_by_text("No order fits")).to_be_visible()
    page.get_by_role("link", name="Take off: “cyzz”").click()
    expect(page.locator("#orders tr[data-order]")).to_have_count(5)

    page.get_by_text("Filter", exact=True).click()
    page.locator("#narrow").get_by_label("Status").select_option("open")
    expect(page.locator("#orders tr[data-order]")).to_have_count(4)
    assert visit.accessibility_problems() == []
    page.keyboard.press("Escape")

    # Kept as a view, which says when the list is something else by now.
    page.get_by_role("button", name="Save as a view").click()
    page.get_by_role("dialog").get_by_label("Name").fill("To do")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.get_by_role("link", name="To do")).to_have_attribute("aria-current", "true")
    page.get_by_role("searchbox").fill("li")
    expect(page.get_by_text("Changed")).to_be_visible()

    # Columns in an order of one's own.
    page.get_by_role("button", name="Columns").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("checkbox", name="Tags").check()
    dialog.get_by_role("checkbox", name="Stock").uncheck()
    while dialog.locator("li").first.inner_text().strip() != "Customer":
        dialog.get_by_role("button", name="Move Customer up").click()
    assert visit.accessibility_problems() == []
    dialog.get_by_role("button", name="Show these").click()
    expect(page.locator("#orders thead th")).to_have_text(
        ["Order", "Customer", "Shop", "Placed", "Status", "Total", "Tags"]
    )

    # Three in a row, and a tag for each.
    page.get_by_label("Choose order 101").click()
    page.get_by_label("Choose order 103").click(modifiers=["Shift"])
    expect(page.locator("#bulk-bar [data-chosen-count]")).to_have_text("3 chosen")
    assert visit.accessibility_problems() == []
    page.get_by_role("button", name="Add a tag").click()
    page.get_by_role("dialog").get_by_label("Tag").fill("gift")
    page.get_by_role("dialog").get_by_role("button", name="Add a tag").click()
    expect(page.get_by_text("0 of 3")).to_be_visible()
    assert visit.accessibility_problems() == []
    work(hub, shop)

    expect(page.get_by_text("Done for all of them.")).to_be_visible()
    expect(page.get_by_role("cell", name="Tagged")).to_have_count(3)
    assert tags(hub) == {"101": ["gift"], "102": ["gift"], "103": ["gift"], "104": [], "105": []}


def test_orders_are_chosen_and_held_with_the_keyboard_alone_and_refused_ones_are_told(
    hub: Hub, shop: Shop, visit: Visit
) -> None:
    fill(shop)
    visit.sign_in()
    page = visit.go("/orders")
    for key in ["j", "x", "j", "ArrowDown", "X", "k"]:
        page.keyboard.press(key)
    expect(page.locator("#bulk-bar [data-chosen-count]")).to_have_text("3 chosen")
    assert page.evaluate("document.activeElement.textContent") == "102"

    # The list draws itself anew, and nothing that was chosen is lost, nor the place where one is.
    with page.expect_response(lambda answer: "/orders" in answer.url):
        page.locator("#orders-rows").dispatch_event("every")
    page.wait_for_timeout(50)
    expect(page.locator("#bulk-bar [data-chosen-count]")).to_have_text("3 chosen")
    assert page.evaluate("document.activeElement.textContent") == "102"

    page.locator("#bulk-bar").get_by_role("button", name="Release").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("0 of 3")).to_be_visible()
    work(hub, shop)
    expect(page.get_by_text("It went wrong for 3 of 3.")).to_be_visible()
    expect(page.get_by_role("cell", name="Nothing holds this order here.")).to_have_count(3)
    assert visit.accessibility_problems() == []

    page.get_by_role("button", name="Retry those that went wrong").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="What went wrong before")).to_be_visible()
    page.get_by_role("button", name="Stop").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("3 orders are left as they are.")).to_be_visible()


def test_the_chosen_orders_come_as_a_file(hub: Hub, shop: Shop, visit: Visit, tmp_path: Path) -> None:
    fill(shop)
    visit.sign_in()
    page = visit.go("/orders?status=open")
    page.get_by_label("Choose order 102").check()
    page.get_by_role("button", name="More").click()
    page.locator("#bulk-bar").get_by_role("button", name="Export").click()
    for _ in range(2):  # once more, as nothing was refused
        with page.expect_download() as download:
            page.get_by_role("button", name="Download CSV").click()
        page.locator(".btn-list").get_by_role("button", name="Export").first.click()
    file = tmp_path / "orders.csv"
    download.value.save_as(file)

    rows = list(csv.reader(file.read_text(encoding="utf-8-sig").splitlines()))
    assert [row[0] for row in rows] == ["Order", "101", "102", "103", "104"]
    with hub.database.read() as db:
        told = db.execute(select(t.activity.c.summary).where(t.activity.c.kind == "exported")).scalars().all()
    assert "Exported orders: 1 row (1 chosen)" in told


def test_the_grid_fits_on_a_phone(shop: Shop, phone: Visit) -> None:
    fill(shop)
    phone.sign_in()
    page = phone.go("/orders?status=open&paid=yes")
    page.get_by_label("Choose order 101").tap()
    expect(page.locator("#bulk-bar")).to_be_visible()

    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert phone.accessibility_problems() == []
