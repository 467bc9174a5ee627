"""A day in the warehouse in a real browser: goods received with a scanner, counted, made into kits, kept back, sent."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.web.shop_builder import Shop

pytestmark = pytest.mark.browser


def test_a_day_in_the_warehouse(shop: Shop, visit: Visit) -> None:
    main, _ = shop.location("Main warehouse"), shop.location("Harbor")
    street = shop.connection()
    shop.place(street, main)
    cup, saucer, box = shop.sku("CUP-1", "Cup"), shop.sku("SAUCER-1", "Saucer"), shop.sku("BOX-1", "Tea for two")
    for code, sku_id in (("CUP-1", cup), ("SAUCER-1", saucer), ("BOX-1", box)):
        shop.listing(street, code, sku_id, title=code, barcode=f"40{code}")
    page = visit.sign_in().go("/stock")

    # Receive: every scan is a SKU or a barcode and Enter, and the place for the next one keeps the focus.
    page.get_by_role("link", name="Receive").click()
    page.get_by_label("Location").select_option(label="Main warehouse")
    page.get_by_label("Delivery note").fill("DN-1")
    scan = page.get_by_label("Add a SKU")
    scan.focus()
    for code in ("CUP-1", "40CUP-1", "NO-SUCH", "SAUCER-1"):
        page.keyboard.type(code)
        page.keyboard.press("Enter")
        if code == "40CUP-1":
            expect(page.get_by_label("Units received of CUP-1")).to_have_value("2")
        elif code == "NO-SUCH":
            expect(page.get_by_text("There is no SKU or barcode “NO-SUCH” here.")).to_be_visible()
            expect(scan).to_have_value("NO-SUCH")
            scan.select_text()
        else:
            expect(page.get_by_label(f"Units received of {code}")).to_have_value("1")
        expect(scan).to_be_focused()
    visit.expected.append("422")
    page.get_by_label("Units received of CUP-1").fill("1.5")
    page.get_by_label("Units received of SAUCER-1").fill("30")
    page.get_by_role("button", name="Enter the receipt").click()
    expect(page.get_by_text("Enter a whole number, such as 12.")).to_be_visible()
    expect(page.get_by_label("Units received of SAUCER-1")).to_have_value("30")
    page.get_by_label("Units received of CUP-1").fill("24")
    page.get_by_role("button", name="Enter the receipt").click()
    expect(page.get_by_role("heading", name="Delivery note DN-1")).to_be_visible()

    # Count: the difference is shown, and needs a reason, before anything is entered.
    visit.go(f"/stock/count?sku={cup}&location={main}")
    page.get_by_label("Counted of CUP-1").fill("23")
    page.get_by_role("button", name="Check the count").click()
    expect(page.get_by_text("Nothing is entered yet.")).to_be_visible()
    expect(page.get_by_role("row", name="CUP-1")).to_contain_text("−1")
    page.get_by_role("button", name="Enter the count").click()
    expect(page.get_by_text("Enter a reason")).to_be_visible()
    page.get_by_label("Reason").fill("one broken")
    page.get_by_role("button", name="Enter the count").click()
    expect(page.get_by_text("The count is entered.")).to_be_visible()

    # A kit of what is there.
    visit.go(f"/stock/{box}/kit")
    for code in ("CUP-1", "SAUCER-1"):
        page.get_by_label("Add a SKU").fill(code)
        page.get_by_label("Add a SKU").press("Enter")
        page.get_by_label(f"Units in one kit of {code}").fill("2")
    page.get_by_role("button", name="Save the kit").click()
    expect(page.get_by_text("BOX-1 is made of 2 SKUs now.")).to_be_visible()
    expect(page.get_by_text("11 kits can be made of what is free")).to_be_visible()

    # A buffer: what the shop would show follows the typing, and is what it gets.
    page.get_by_role("link", name="Selling rule", exact=True).click()
    page.get_by_label("Buffer in units").fill("3")
    expect(page.get_by_role("row", name="BOX-1").get_by_role("cell")).to_contain_text(["BOX-1", "", "11", "8", ""])
    expect(page.get_by_text("not stored yet")).to_be_visible()
    page.get_by_role("button", name="Save the rule").click()
    expect(page.get_by_text("The rule is stored.")).to_be_visible()
    visit.go(f"/stock/{box}")
    page.get_by_text("How 8 comes about").click()
    expect(page.get_by_text("buffer of 3: 3 kept back")).to_be_visible()

    # A transfer that arrives in two parts.
    visit.go(f"/stock/transfer?sku={saucer}&location={main}")
    page.get_by_label("To", exact=True).select_option(label="Harbor")
    page.get_by_label("Units to send of SAUCER-1").fill("10")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("They are in transit.")).to_be_visible()
    page.get_by_label("Units of SAUCER-1 that arrive now").fill("4")
    page.get_by_role("button", name="They have arrived").click()
    expect(page.get_by_label("Units of SAUCER-1 that arrive now")).to_have_value("6")
    page.get_by_role("button", name="They have arrived").click()
    expect(page.get_by_text("In transit", exact=True)).not_to_be_visible()
    visit.go(f"/stock/{saucer}")
    expect(page.get_by_role("row", name="Harbor").first).to_contain_text("10")
