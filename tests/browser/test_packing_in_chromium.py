"""The packing bench in a real browser: held, released, picked, scanned faster than the line, and packed."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Route, expect
from sqlalchemy import select

from hub.jobs import Hub
from hub.store import tables as t
from tests.browser.conftest import Visit
from tests.web.shop_builder import Shop

pytestmark = pytest.mark.browser

HOME = {"name": "Ann Li", "line1": "1 Harbor Road", "city": "Bremen", "postcode": "28195", "country": "DE"}


def order_to_pack(shop: Shop) -> str:
    """Two mugs and a tee for Ann; the path of the order's page."""
    connection_id, place = shop.connection(), shop.location("Leeds")
    mug, tee = shop.sku("MUG-1", "Mug"), shop.sku("TEE-1", "Tee")
    for sku_id in (mug, tee):
        shop.level(sku_id, place, on_hand=9, allocated=2)
    order_id = shop.order(connection_id, "1001", shipping_address=HOME)
    lines = {shop.line(order_id, "1", mug, title="Mug"): 2, shop.line(order_id, "2", tee, title="Tee", quantity=1): 1}
    shop.to_ship(order_id, place, lines, "1001-1-ABC")
    return f"/orders/{order_id}"


def test_an_order_is_held_released_picked_scanned_and_packed_by_keyboard(hub: Hub, shop: Shop, visit: Visit) -> None:
    path = order_to_pack(shop)
    visit.sign_in()
    problems = []

    page = visit.go(path)
    page.get_by_label("Why, for your colleagues").fill("Ask Ann first")
    page.get_by_role("button", name="Put on hold").click()
    expect(page.get_by_text("Ask Ann first").first).to_be_visible()
    problems += visit.accessibility_problems()
    page = visit.go("/pack")
    page.keyboard.type("1001-1-ABC\n")  # the field has the focus: as a scanner types
    expect(page.get_by_text("is on hold").first).to_be_visible()
    problems += visit.accessibility_problems()
    page = visit.go(path)
    page.get_by_role("button", name="Release (By hand)").click()
    expect(page.get_by_text("Was on hold: By hand")).to_be_visible()

    page = visit.go("/pack")
    problems += visit.accessibility_problems()
    page.get_by_label("Choose 1001-1-ABC").check()
    page.get_by_role("button", name="Pick list", exact=True).click()
    expect(page.get_by_text("3 units for 1 order")).to_be_visible()
    problems += visit.accessibility_problems()

    page = visit.go("/pack")
    page.keyboard.type("1001-1-ABC\n")
    expect(page.get_by_role("heading", name="0 of 3 packed")).to_be_visible()
    for code in ("MUG-1", "TEE-1", "NO-SUCH", "MUG-1"):
        page.keyboard.type(f"{code}\n")  # without waiting for an answer
    expect(page.get_by_role("heading", name="3 of 3 packed")).to_be_visible()
    expect(page.get_by_text("OK Mug: 2 of 2. Complete.")).to_be_visible()
    page.keyboard.type("TEE-1\n")
    expect(page.get_by_text("STOP Too many")).to_be_visible()
    problems += visit.accessibility_problems()
    page.get_by_label("Weight of parcel 1 in grams").fill("900")
    page.get_by_role("button", name="Packed: go on to the label").click()
    expect(page.get_by_text("Packed. Choose a rate and buy the label.")).to_be_visible()

    with hub.database.read() as db:
        packed = db.execute(select(t.parcel_line.c.quantity).order_by(t.parcel_line.c.quantity)).scalars().all()
        scans = db.execute(select(t.packing_scan.c.code).order_by(t.packing_scan.c.number)).scalars().all()
    assert packed == [1, 2]
    assert scans == ["MUG-1", "TEE-1", "NO-SUCH", "MUG-1", "TEE-1"], "each once, in their order"
    assert problems == []


def test_a_line_that_breaks_loses_no_scan(hub: Hub, shop: Shop, visit: Visit) -> None:
    order_to_pack(shop)
    visit.sign_in()
    visit.expected = ["ERR_INTERNET_DISCONNECTED"]
    page = visit.go("/pack")
    page.keyboard.type("1001-1-ABC\n")
    expect(page.get_by_role("heading", name="0 of 3 packed")).to_be_visible()

    visit.context.set_offline(True)
    page.keyboard.type("MUG-1\n")
    page.keyboard.type("TEE-1\n")
    expect(page.get_by_text(re.compile("Not connected: 2 scans are kept"))).to_be_visible()
    visit.context.set_offline(False)

    expect(page.get_by_role("heading", name="2 of 3 packed")).to_be_visible()
    expect(page.get_by_text("Not connected")).to_be_hidden()
    page.reload()
    expect(page.get_by_role("heading", name="2 of 3 packed")).to_be_visible()
    with hub.database.read() as db:
        assert len(db.execute(select(t.packing_scan.c.id)).all()) == 2


def test_the_bench_and_the_counter_fit_on_a_phone(shop: Shop, phone: Visit) -> None:
    path = order_to_pack(shop)
    phone.sign_in()
    page = phone.go("/pack")
    page.get_by_role("textbox", name="Scan a packing slip").fill("1001-1-ABC")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="0 of 3 packed")).to_be_visible()

    for place in (None, "/pack", "/pack/boxes", "/pack/shelves", "/pack/rules", "/collect", f"{path}/handling"):
        if place:
            phone.go(place)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), place
        assert phone.accessibility_problems() == [], place


def test_a_scan_counts_wherever_the_focus_is(hub: Hub, shop: Shop, visit: Visit) -> None:
    order_to_pack(shop)
    visit.sign_in()
    page = visit.go("/pack")
    page.evaluate("document.activeElement.blur()")

    page.keyboard.type("1001-1-ABC\n")

    expect(page.get_by_role("heading", name="0 of 3 packed")).to_be_visible()


def test_a_scan_counts_before_the_scripts_of_the_page_have_come(hub: Hub, shop: Shop, visit: Visit) -> None:
    order_to_pack(shop)
    visit.sign_in()
    page = visit.page
    held: list[Route] = []
    page.route("**/hub.js*", lambda route: held.append(route))
    page.goto(f"{visit.site.address}/pack", wait_until="commit")
    expect(page.get_by_role("textbox", name="Scan a packing slip")).to_be_visible()
    page.evaluate("document.activeElement.blur()")

    page.keyboard.type("1001-1-ABC\n")

    page.unroute("**/hub.js*")
    expect(page.get_by_role("heading", name="0 of 3 packed")).to_be_visible()
    assert held
