"""An order at Shopify in a real browser: two of its three lines paid back, asked about, and another one cancelled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple
from uuid import UUID

import pytest
from playwright.sync_api import expect

from hub.store import tables as t
from hub_shopify.connector import ShopifyConnector
from hub_shopify.simulator import ShopifySimulator
from tests.browser.conftest import Site, Visit
from tests.town import Town

pytestmark = pytest.mark.browser

GOODS = (("MUG", "Mug", "10.00"), ("TEE", "Tee", "20.00"), ("PEN", "Pen", "1.50"))


class Street(NamedTuple):
    """A hub at work for one shop."""

    town: Town
    shopify: ShopifySimulator

    def buy(self) -> tuple[str, UUID]:
        """Two mugs, a tee and three pens: 44.50 without tax, 53.85 in all; the order there and here."""
        sale = self.shopify.buy([("MUG", 2), ("TEE", 1), ("PEN", 3)])
        assert sale is not None
        self.town.settle()
        row = self.town.row(t.sales_order, t.sales_order.c.external_id == sale.order_external_id)
        return sale.order_external_id, row.id


@pytest.fixture
def street(town: Town, site: Site) -> Iterator[Street]:
    with ShopifySimulator() as shopify:
        town.lead_to(shopify)
        site.serve(town.hub)
        for sku, title, price in GOODS:
            shopify.add_product(sku, title, 20, price)
        town.open_for_business(town.connect(ShopifyConnector, shopify), adopt=True)
        town.settle()
        yield Street(town, shopify)


def test_two_of_three_lines_are_paid_back_and_another_order_is_cancelled(street: Street, visit: Visit) -> None:
    external_id, order_id = street.buy()
    page = visit.sign_in().go(f"/orders/{order_id}")

    # Two of three lines: the hub works the sum out while it is typed.
    page.get_by_text("More actions").click()
    page.get_by_role("link", name="Give money back").click()
    page.get_by_label("Units of Mug").fill("1")
    page.get_by_label("Units of Pen").fill("2")
    expect(page.locator("#sum .fs-1")).to_have_text("14.30 EUR")
    page.get_by_label("The goods are for sale again").check()
    page.get_by_label("Why", exact=True).fill("Chipped")
    assert visit.accessibility_problems() == []
    page.get_by_label("Type the sum to confirm").fill("14.30")
    page.get_by_role("button", name="Give it back").click()
    expect(page.locator("#asked").get_by_text("Give money back: Waiting to be sent")).to_be_visible()
    street.town.settle()
    expect(page.locator("#asked").get_by_text("Give money back")).to_have_count(0)

    (made,) = street.shopify.sold[int(external_id)].refunds
    assert [(line.name, units, how) for line, units, how in made.items] == [("Mug", 1, "cancel"), ("Pen", 2, "cancel")]
    assert (f"{made.amount:.2f}", made.note.partition(" [")[0]) == ("14.30", "Chipped")
    page.reload()
    expect(page.get_by_text("−14.30").first).to_be_visible()
    expect(page.get_by_text("Give money back: Done")).to_be_visible()
    assert visit.accessibility_problems() == []

    # How it stands is asked for once more, and written down.
    page.get_by_role("button", name="how it stands").click()
    expect(page.get_by_text("The channel is asked how the order stands")).to_be_visible()
    page.get_by_label("Write something down").fill("Ask for a photo next time")
    page.get_by_role("button", name="Note it").click()
    expect(page.locator(".happened").get_by_text("Ask for a photo next time")).to_be_visible()
    street.town.settle()

    # Another order is cancelled: typed by its number, and everything is for sale again.
    external_id, order_id = street.buy()
    page = visit.go(f"/orders/{order_id}")
    page.get_by_text("More actions").click()
    page.get_by_role("link", name="Cancel the order").click()
    assert visit.accessibility_problems() == []
    number = street.town.row(t.sales_order, t.sales_order.c.id == order_id).number
    page.get_by_label("Type the number of the order to confirm").fill(number)
    page.get_by_role("button", name="Cancel the order").click()
    expect(page.locator("#asked").get_by_text("Cancel the order: Waiting to be sent")).to_be_visible()
    expect(page.get_by_text("The channel is asked to cancel it.").first).to_be_visible()
    street.town.settle()
    page.reload()
    expect(page.get_by_text("Cancelled", exact=True).first).to_be_visible()
    cancelled = street.shopify.sold[int(external_id)]
    assert (cancelled.cancelled_at is not None, f"{cancelled.refunded:.2f}") == (True, "53.85")
    assert street.shopify.stock() == {"MUG": 19, "TEE": 19, "PEN": 19}
