"""Shipments in a real browser: usable by everybody, on a phone as well, and a label from elsewhere handed over."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from sqlalchemy import select, update

from hub.jobs import Hub
from hub.store import tables as t
from tests.browser.conftest import Visit
from tests.web.shop_builder import Shop, furnish

pytestmark = pytest.mark.browser


def test_every_page_of_shipments_is_usable_by_everybody_and_a_parcel_leaves(hub: Hub, shop: Shop, visit: Visit) -> None:
    things = furnish(shop)
    with hub.database.write() as db:
        db.execute(update(t.order_hold).values(released_at=shop.now))
    visit.sign_in()
    problems: list[str] = []
    for path in ("/shipments", "/shipments/manifest", "/shipping", f"/shipments/{things.shipment_id}"):
        page = visit.go(path)
        problems += visit.accessibility_problems()

    page.get_by_text("The label was bought elsewhere").click()
    problems += visit.accessibility_problems()
    page.get_by_label("Carrier", exact=True).fill("Royal Mail")
    page.get_by_label("Tracking numbers").fill("RM1")
    page.get_by_role("button", name="Keep it").click()
    page.get_by_role("button", name="Handed over").click()

    expect(page.get_by_text("It has left")).to_be_visible()
    with hub.database.read() as db:
        row = db.execute(select(t.shipment).where(t.shipment.c.id == things.shipment_id)).one()
    assert (row.state, row.tracking_numbers, problems) == ("shipped", ["RM1"], [])


def test_a_shipment_fits_on_a_phone(shop: Shop, phone: Visit) -> None:
    things = furnish(shop)
    phone.sign_in()
    for path in ("/shipments", f"/shipments/{things.shipment_id}", "/shipping"):
        page = phone.go(path)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), path
    assert phone.accessibility_problems() == []
