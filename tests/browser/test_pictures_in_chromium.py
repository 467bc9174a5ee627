"""Pictures of products in a real browser: fetched from a shop's simulator, and shown to who packs under the strict
content policy."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from hub.demo.drawings import drawn
from hub.store import tables as t
from hub_shopify.connector import ShopifyConnector
from hub_shopify.simulator import ShopifySimulator
from tests.browser.conftest import Site, Visit
from tests.town import Town
from tests.web.shop_builder import Shop

pytestmark = pytest.mark.browser


def shown(visit: Visit, path: str) -> list[tuple[str, int, int]]:
    """Of every picture on a page: whose it is, how wide it came, and how wide it stands there."""
    pictures = visit.go(path).locator("img.thumb")
    pictures.evaluate_all("all => Promise.all(all.map(each => each.decode()))")
    script = "all => all.map(each => [each.src.split('/')[4], each.naturalWidth, each.offsetWidth])"
    found: list[tuple[str, int, int]] = [tuple(each) for each in pictures.evaluate_all(script)]
    return found


def test_who_packs_sees_what_to_pack(town: Town, shop: Shop, site: Site, visit: Visit) -> None:
    settings = replace(town.hub.settings, pictures=True)
    town.hub = replace(town.hub, settings=settings)
    with ShopifySimulator() as shopify:
        shopify.add_product("MUG-SAND", "Stoneware mug, sand", 9, "14.90")
        shopify.show_picture("MUG-SAND", drawn("MUG", "Sand"))
        connection_id = town.connect(ShopifyConnector, shopify)
        listing = town.row(t.listing)
        address = town.row(t.picture).address
        sku_id: UUID = shop.sku("MUG-SAND", "Stoneware mug")
        shop.write_to(t.listing, listing.id, sku_id=sku_id)
        place = shop.location("Leeds")
        shop.level(sku_id, place, on_hand=9, allocated=2)
        order_id = shop.order(connection_id, "1001")
        line = shop.line(order_id, "1", sku_id, title="Stoneware mug", listing_external_id=listing.external_id)
        work = shop.to_ship(order_id, place, {line: 2}, "1001-1-ABC")
    site.serve(town.hub)
    visit.sign_in()

    assert shown(visit, f"/pack/{work}") == [(address, 240, 128)]
    problems = visit.accessibility_problems()
    assert shown(visit, f"/pack/pick?order={work}") == [(address, 240, 128)]
    assert shown(visit, f"/orders/{order_id}") == [(address, 96, 40)]
    assert shown(visit, "/stock") == [(address, 96, 40)]
    assert shown(visit, f"/stock/{sku_id}") == [(address, 240, 128)]
    assert shown(visit, f"/connections/{connection_id}/listings/{listing.id}") == [(address, 240, 128)]
    assert problems == []
