"""From three shops to three doorsteps in a real browser: two parcels packed on the own bench, one left to a 3PL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

import pytest
from playwright.sync_api import Locator, Page, expect

from hub.core.model import Address, Money
from hub.core.shipping import TrackingStatus, Weight, WeightUnit
from hub.store import connections
from hub.store import tables as t
from hub.testing import Customer
from hub_3pl.shipbob import ShipBobConnector
from hub_3pl.simulator_shipbob import ShipBobSimulator
from hub_amazon.channel import AmazonConnector
from hub_amazon.messages import POLL_SECONDS
from hub_amazon.simulator import AmazonSimulator
from hub_carriers.easypost import EasyPostConnector
from hub_carriers.simulator_easypost import EasyPostSimulator
from hub_carriers.simulator_ups import UpsSimulator
from hub_carriers.ups import UpsConnector
from hub_shopify.connector import ShopifyConnector
from hub_shopify.simulator import ShopifySimulator
from hub_woocommerce.connector import WooCommerceConnector
from hub_woocommerce.simulator import WooCommerceSimulator
from tests.browser.conftest import Site, Visit, move_to_leeds
from tests.town import OWNER, Town

pytestmark = pytest.mark.browser

YORK = Address(
    name="Grace Hopper", line1="7 Stonegate", city="York", postcode="YO1 8AS", country="GB", phone="+441904000"
)


class Street(NamedTuple):
    """A hub at work between three shops, two carriers and a 3PL, all of them simulators that refuse what vendors do."""

    town: Town
    shopify: ShopifySimulator
    woo: WooCommerceSimulator
    amazon: AmazonSimulator
    easypost: EasyPostSimulator
    ups: UpsSimulator
    shipbob: ShipBobSimulator


@pytest.fixture
def street(town: Town, site: Site) -> Iterator[Street]:
    """Mugs lie in Leeds, vases at ShipBob; two shops sell both, Amazon sells mugs. The hub hears of it at its door, of
    Amazon in a queue."""
    shopify, woo = ShopifySimulator(), WooCommerceSimulator(site="https://woo.example")
    easypost, ups, shipbob = EasyPostSimulator(), UpsSimulator(), ShipBobSimulator()
    amazon = AmazonSimulator(marketplaces=("UK",))
    amazon.customer_comes(Customer(address=YORK, email="ada@example.com"))
    everybody = (shopify, woo, amazon, easypost, ups, shipbob)
    for each in everybody:
        town.lead_to(each)
    site.serve(town.hub)
    for channel in (shopify, woo):
        channel.add_product("MUG", "Stoneware mug", 8, "14.90")
        channel.add_product("VASE", "Bud vase", 0, "26.50")
    amazon.add_product("MUG", "Stoneware mug", 8, "15.90")
    shipbob.stock_item("VASE", "Bud vase", 5)
    shops = [
        town.connect(ShopifyConnector, shopify),
        town.connect(WooCommerceConnector, woo),
        town.connect(AmazonConnector, amazon),
    ]
    town.open_for_business(shops[0], adopt=True)
    move_to_leeds(town)
    town.connect(EasyPostConnector, easypost)
    town.connect(UpsConnector, ups)
    town.connect(ShipBobConnector, shipbob)
    town.open_for_business(shops[1])
    town.open_for_business(shops[2])
    places = {row.id for row in town.rows(t.location)}
    for row in town.rows(t.channel_location, t.channel_location.c.connection_id.in_(shops)):
        connections.pool_locations(town.hub.database, town.merchant, row.connection_id, row.external_id, places, OWNER)
    town.settle()
    yield Street(town, *everybody)
    for each in everybody:
        each.close()


def buy_everywhere(street: Street) -> tuple[str, str, str]:
    """Customers buy a mug at Shopify, a vase at WooCommerce, a mug at Amazon; the shops' ids of the orders."""
    sales = [street.shopify.buy([("MUG", 1)]), street.woo.buy([("VASE", 1)])]
    street.town.settle()
    sales.append(street.amazon.buy([("MUG", 1)]))
    hear_of_amazon(street)
    mug, vase, second_mug = (sale.order_external_id for sale in sales if sale is not None)
    return mug, vase, second_mug


def hear_of_amazon(street: Street) -> None:
    """Amazon leaves its news in the queue, and the hub looks into that; figures that Amazon took in are judged."""
    street.amazon.wait_for_deliveries()
    street.town.let_pass(POLL_SECONDS)
    street.town.settle()
    for _ in range(5):
        if street.town.count(t.pending_push):
            street.town.let_pass(20)
            street.town.settle()


def shipping(page: Page) -> Locator:
    """What an order's page says of how it is shipped."""
    return page.get_by_role("region", name="Shipping", exact=True)


def test_what_three_shops_sell_comes_to_three_doorsteps(street: Street, visit: Visit) -> None:
    town = street.town
    problems: list[str] = []
    mug, vase, second_mug = buy_everywhere(street)
    visit.sign_in()

    # Where the mug is shipped from, and why.
    page = visit.go("/orders")
    page.get_by_role("link", name="#1001").click()
    expect(page.get_by_text("Leeds: the only location that has it.").first).to_be_visible()
    expect(shipping(page)).to_contain_text("To be packed")
    reference = re.findall(r"1001-1-[A-Z2-7]{8}", shipping(page).inner_text())[0]
    problems += visit.accessibility_problems()

    # At the bench: the slip, a wrong item, the right one, the scales.
    page.get_by_role("link", name="Shipments", exact=True).first.click()
    problems += visit.accessibility_problems()
    page.keyboard.type(f"{reference}\n")
    expect(page.get_by_role("heading", name="0 of 1 packed")).to_be_visible()
    page.keyboard.type("VASE\n")
    told = page.get_by_role("alert")
    expect(told).to_have_text("STOP Wrong item: VASE (Bud vase) is not in this order. Put it back.")
    expect(told).to_have_attribute("data-sound", "bad")
    problems += visit.accessibility_problems()
    page.keyboard.type("MUG\n")
    expect(told).to_have_text("OK Stoneware mug: 1 of 1. Complete.")
    expect(told).to_have_attribute("data-sound", "good")
    page.get_by_label("Weight of parcel 1 in grams").fill("450")
    page.get_by_role("button", name="Packed: go on to the label").click()
    expect(page.get_by_text("Packed. Choose a rate and buy the label.")).to_be_visible()

    # Both carriers are asked; their offers stand side by side while the page is open.
    expect(page.get_by_text("Being asked")).to_be_visible()
    town.settle()
    offers = page.get_by_role("region", name="What carriers offer").locator("tbody tr")
    expect(offers).to_have_count(8)
    assert [
        (offer.locator("td").nth(0).inner_text().split("\n")[0].strip(), *offer.locator("td").all_inner_texts()[1:4:2])
        for offer in offers.all()
    ] == [
        ("UPS Ground", "EasyPost", "7.85 USD"),
        ("USPS Ground Advantage", "EasyPost", "8.20 USD"),
        ("FedEx Ground", "EasyPost", "9.30 USD"),
        ("USPS Priority", "EasyPost", "11.01 USD"),
        ("UPS Standard", "UPS", "17.30 USD"),
        ("UPS Next Day Air", "EasyPost", "31.90 USD"),
        ("UPS Worldwide Saver", "UPS", "52.40 USD"),
        ("UPS Worldwide Express", "UPS", "66.10 USD"),
    ]
    expect(page.get_by_text("Chosen", exact=True)).to_have_count(1)
    expect(offers.first).to_contain_text("Chosen")
    expect(page.get_by_text("Cheapest of 8 offers: no day was promised.")).to_be_visible()
    problems += visit.accessibility_problems()
    assert street.easypost.charges() == street.ups.charges() == []

    # The label: bought once, and a file that a printer takes.
    offers.first.get_by_role("button", name="Buy").click()
    expect(page.get_by_text("Label is being bought")).to_be_visible()
    town.settle()
    expect(page.get_by_text("Cheapest of 8 offers: no day was promised. (ada@tea.example)")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Label, PDF").click()
    assert download.value.suggested_filename == f"label-{reference}-1.pdf"
    assert download.value.path().read_bytes().startswith(b"%PDF-1.4\n")
    (charge,) = street.easypost.charges()
    (number,) = charge.tracking_numbers
    assert (charge.reference, charge.cost, charge.voided) == (f"{reference}-1", Money(Decimal("7.85"), "USD"), False)
    assert charge.weight == Weight(Decimal("15.9"), WeightUnit.OUNCE), "450 g, rounded up"
    problems += visit.accessibility_problems()
    sold = street.shopify.sold[int(mug)]
    assert (sold.fulfillments, town.stock()["MUG"]) == ([], (8, 2)), "the parcel is still here"

    # Handed over: now the shop knows, and its customer.
    page.get_by_role("button", name="Handed over").click()
    expect(page.get_by_text("It has left: stock is changed, and the shop is being told.")).to_be_visible()
    town.settle()
    (told_shopify,) = sold.fulfillments
    assert [(line.name, units) for line, units in told_shopify.items] == [("Stoneware mug", 1)]
    assert [(each.company, each.number, each.url) for each in told_shopify.tracking] == [
        ("UPS", number, f"https://track.easypost.com/{number}")
    ]
    assert (told_shopify.cancelled, told_shopify.notified) == (False, 1)

    # The van, and the doorstep.
    for status, word in ((TrackingStatus.IN_TRANSIT, "On its way"), (TrackingStatus.DELIVERED, "Delivered")):
        street.easypost.scan(number, status)
        town.settle()
        page.reload()
        expect(page.get_by_role("region", name="On the way")).to_contain_text(word)
    page.get_by_role("link", name="order #1001").click()
    expect(shipping(page)).to_contain_text("1 of 1 unit shipped")
    expect(shipping(page).get_by_text("Delivered").first).to_be_visible()
    problems += visit.accessibility_problems()

    # Meanwhile the vase went to the 3PL by itself.
    page = visit.go("/orders")
    page.get_by_role("link", name=vase, exact=True).click()
    expect(page.get_by_text("ShipBob Cicero (IL): the only location that has it.").first).to_be_visible()
    expect(shipping(page)).to_contain_text("Accepted by the 3PL")
    expect(shipping(page)).to_contain_text("0 of 1 unit shipped")
    (placed,) = street.shipbob.placed()
    expect(page.get_by_text(f"{placed.reference} goes to the 3PL")).to_be_visible()
    assert (placed.lines, placed.shipped) == ({"VASE": 1}, {})
    provider = town.row(t.connection, t.connection.c.connector == "shipbob")
    page = visit.go(f"/connections/{provider.id}/warehouse")
    expect(page.get_by_role("region", name="With it").get_by_role("row", name=placed.reference)).to_contain_text(
        "Accepted by the 3PL"
    )
    problems += visit.accessibility_problems()

    # It ships, and delivers; its webhooks tell.
    street.shipbob.ship(placed.reference)
    town.settle()
    (told_woo,) = street.woo.shop.orders[int(vase)].fulfillments
    said = {entry["key"]: entry["value"] for entry in told_woo["meta_data"]}
    (line,) = street.woo.shop.orders[int(vase)].lines
    (left,) = town.rows(t.shipment, t.shipment.c.connection_id == provider.id)
    assert said["_items"] == [{"item_id": line.id, "qty": 1}]
    assert (said["_shipment_provider"], said["_tracking_number"]) == ("usps", *left.tracking_numbers)
    assert told_woo["is_fulfilled"] is True
    street.shipbob.deliver_parcel(placed.reference)
    town.settle()
    page.get_by_role("link", name="Orders", exact=True).click()
    page.get_by_role("link", name=vase, exact=True).click()
    expect(shipping(page)).to_contain_text("1 of 1 unit shipped")
    expect(shipping(page).get_by_text("Delivered").first).to_be_visible()
    expect(shipping(page)).to_contain_text(said["_tracking_number"])

    # Amazon's mug goes with UPS's own label, which the packer prefers to the cheapest.
    page = visit.go("/orders")
    page.get_by_role("link", name=second_mug, exact=True).click()
    expect(page.get_by_text("Leeds: the only location that has it.").first).to_be_visible()
    reference = re.findall(rf"{second_mug[:18]}-1-[A-Z2-7]{{8}}", shipping(page).inner_text())[0]
    page.get_by_role("link", name="Shipments", exact=True).first.click()
    expect(page.get_by_role("heading", name="Packing", exact=True)).to_be_visible()
    page.keyboard.type(f"{reference}\n")
    expect(page.get_by_role("heading", name="0 of 1 packed")).to_be_visible()
    page.keyboard.type("MUG\n")
    expect(page.get_by_role("alert")).to_have_text("OK Stoneware mug: 1 of 1. Complete.")
    page.get_by_label("Weight of parcel 1 in grams").fill("450")
    page.get_by_role("button", name="Packed: go on to the label").click()
    expect(page.get_by_text("Packed. Choose a rate and buy the label.")).to_be_visible()
    town.settle()
    ours = page.get_by_role("region", name="What carriers offer").get_by_role("row", name="UPS Standard")
    ours.get_by_role("button", name="Buy").click()
    expect(page.get_by_text("Label is being bought")).to_be_visible()
    town.settle()
    (ups_charge,) = street.ups.charges()
    (ups_number,) = ups_charge.tracking_numbers
    page.get_by_role("button", name="Handed over").click()
    expect(page.get_by_text("It has left: stock is changed, and the shop is being told.")).to_be_visible()
    town.settle()
    sold_at_amazon = street.amazon.book.sold[second_mug]
    assert [(each.carrier, each.tracking_number, [*each.items.values()]) for each in sold_at_amazon.packages] == [
        ("UPS", ups_number, [1])
    ]
    assert sold_at_amazon.status == "SHIPPED"
    town.let_pass(60)  # UPS is asked to tell of several labels at once
    town.settle()
    street.ups.scan(ups_number, TrackingStatus.DELIVERED)
    town.settle()
    page.get_by_role("link", name=f"order {second_mug}").click()
    expect(shipping(page)).to_contain_text("1 of 1 unit shipped")
    expect(shipping(page).get_by_text("Delivered").first).to_be_visible()
    problems += visit.accessibility_problems()

    # In the end everybody says the same, and nothing was done twice.
    hear_of_amazon(street)
    assert problems == []
    assert (street.easypost.charges(), street.ups.charges()) == ([charge], [ups_charge])
    assert [(each.lines, each.shipped) for each in street.shipbob.placed()] == [({"VASE": 1}, {"VASE": 1})]
    assert (len(sold.fulfillments), len(street.woo.shop.orders[int(vase)].fulfillments)) == (1, 1)
    assert town.stock() == {"MUG": (6, 0), "VASE": (4, 0)}
    assert street.shopify.stock() == street.woo.stock() == {"MUG": 6, "VASE": 4}
    assert street.amazon.stock() == {"MUG": 6}
    assert town.issues() == []
    town.sound()
