"""WooCommerce and Shopify side by side: their own connectors, their own rules, webhooks through the hub's own door."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from werkzeug.serving import WSGIRequestHandler, make_server

from hub.app import create_app
from hub.connector import Connector
from hub.store import tables as t
from hub.store import warehouse
from hub.testing.simulator import DeliveryFault, Fault, ShopSimulator
from hub_shopify.connector import ShopifyConnector
from hub_shopify.simulator import ShopifySimulator
from hub_woocommerce.connector import WooCommerceConnector
from hub_woocommerce.simulator import WooCommerceSimulator
from tests.town import OWNER, Town

Shops = dict[UUID, ShopSimulator]


class Quiet(WSGIRequestHandler):
    """Says nothing about each request."""

    def log(self, type: str, message: str, *args: object) -> None:
        pass


pytestmark = pytest.mark.both  # shops deliver while the hub writes: several are at the same rows


@pytest.fixture
def door(hub_town: Town) -> Iterator[Town]:
    """The town with its web server on loopback, where webhooks come in."""
    apps: list[Any] = []  # made as soon as the address is known
    server = make_server("127.0.0.1", 0, lambda *request: apps[0](*request), threaded=True, request_handler=Quiet)
    hub_town.hub = replace(
        hub_town.hub,
        settings=replace(hub_town.hub.settings, public_url=f"http://127.0.0.1:{server.server_port}"),
    )
    apps.append(create_app(hub_town.hub))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield hub_town
    server.shutdown()
    thread.join()
    server.server_close()


def open_both(town: Town, stock_of: dict[str, int]) -> tuple[ShopSimulator, ShopSimulator]:
    """A WooCommerce and a Shopify shop with the same goods, connected, adopted from the first, live."""
    woo, shopify = WooCommerceSimulator(site="https://woo.example"), ShopifySimulator()
    connectors: list[tuple[type[Connector], ShopSimulator]] = [(WooCommerceConnector, woo), (ShopifyConnector, shopify)]
    for connector, shop in connectors:
        for sku, units in stock_of.items():
            shop.add_product(sku, sku.title(), units, "10.00")
        place = town.connect(connector, shop)
        town.open_for_business(place, adopt=shop is woo)
    town.settle()
    return woo, shopify


def in_the_shops(shops: Shops) -> set[tuple[UUID, str]]:
    return {(place, order) for place, shop in shops.items() for order in shop.orders()}


def in_the_hub(town: Town) -> set[tuple[UUID, str]]:
    return {(row.connection_id, row.external_id) for row in town.rows(t.sales_order)}


def test_the_last_unit_sold_in_both_shops_at_once_is_one_sale_and_one_backorder(hub_town: Town) -> None:
    woo, shopify = open_both(hub_town, {"MUG": 1})
    assert (woo.stock(), shopify.stock()) == ({"MUG": 1}, {"MUG": 1})

    sales = [woo.buy([("MUG", 1)]), shopify.buy([("MUG", 1)])]
    assert None not in sales
    for place in hub_town.shops:
        hub_town.poll(place)
    hub_town.settle()

    assert hub_town.stock() == {"MUG": (1, 1)}
    assert hub_town.row(t.backorder).quantity == 1
    assert (woo.stock(), shopify.stock()) == ({"MUG": 0}, {"MUG": 0})
    hub_town.sound()

    sku, place = hub_town.row(t.sku), hub_town.row(t.location)
    warehouse.adjust(hub_town.hub.database, hub_town.merchant, sku.id, place.id, 3, "delivery", OWNER, "delivery/1")
    hub_town.settle()

    assert (hub_town.stock(), hub_town.count(t.backorder)) == ({"MUG": (3, 2)}, 0)
    assert (woo.stock(), shopify.stock()) == ({"MUG": 1}, {"MUG": 1})
    hub_town.sound()


def test_webhooks_alone_keep_both_shops_right(door: Town) -> None:
    woo, shopify = open_both(door, {"MUG": 20, "TEE": 9})
    for shop in (woo, shopify):
        shop.requests.clear()

    sold = [woo.buy([("MUG", 2), ("TEE", 1)]), shopify.buy([("MUG", 3)]), woo.buy([("TEE", 2)])]
    assert None not in sold
    door.settle()

    assert in_the_hub(door) == in_the_shops(door.shops)
    assert door.stock() == {"MUG": (20, 5), "TEE": (9, 3)}
    assert woo.stock() == shopify.stock() == {"MUG": 15, "TEE": 6}
    assert sold[0] is not None
    woo.cancel(sold[0].order_external_id)
    door.settle()
    assert door.stock() == {"MUG": (20, 3), "TEE": (9, 2)}
    assert woo.stock() == shopify.stock() == {"MUG": 17, "TEE": 7}
    door.sound()


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
def test_doubled_late_and_lost_webhooks_and_polls_import_each_order_once(door: Town, seed: int) -> None:
    chance = random.Random(seed)
    woo, shopify = open_both(door, {"MUG": 60, "TEE": 40, "CUP": 25})
    for shop in (woo, shopify):
        shop.disturb_randomly(
            0.5, [DeliveryFault(copies=0), DeliveryFault(copies=3), DeliveryFault(copies=2, delay=0.3)]
        )
        shop.fail_randomly(0.1, [Fault.status(500), Fault.reset(), Fault.html(), Fault.slow(0.05)])
    sold: Counter[str] = Counter()

    for _ in range(25):
        shop = chance.choice([woo, shopify])
        basket = Counter(chance.choices(["MUG", "TEE", "CUP"], k=chance.randint(1, 3)))
        sale = shop.buy(sorted(basket.items()))
        assert sale is not None
        over = chance.random()
        if over < 0.15:
            shop.cancel(sale.order_external_id)
        else:
            sold.update(basket)
            if over < 0.4:
                shop.fulfill(sale.order_external_id)
        if chance.random() < 0.2:
            door.work()
    for shop in (woo, shopify):
        shop.disturb_randomly(0.0, [])
        shop.fail_randomly(0.0, [])
    door.settle()
    # What no webhook told, the next polls find; what an outage put off is tried again.
    for _ in range(3):
        door.let_pass(1000)
        door.settle()
        for place in door.shops:
            door.poll(place)
        door.settle()

    assert in_the_hub(door) == in_the_shops(door.shops)
    left = {sku: units - sold[sku] for sku, units in {"MUG": 60, "TEE": 40, "CUP": 25}.items()}
    assert {sku: on_hand - allocated for sku, (on_hand, allocated) in door.stock().items()} == left
    assert woo.stock() == shopify.stock() == left
    assert door.issues() == []
    door.sound()
