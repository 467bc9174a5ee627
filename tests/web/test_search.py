"""The palette's answers: the exact one first, then beginnings, and nothing that one may not open."""

from __future__ import annotations

import re

import pytest
from flask import Flask

from hub.jobs import Hub
from hub.store import searching
from tests.web.client import Browser, words
from tests.web.shop_builder import Furnished, Shop, open_shop


def hits(browser: Browser, text: str) -> list[tuple[str, str]]:
    """What is found, each with where it leads ("" for what works a control of the page)."""
    page = browser.get(f"/search?q={text}").text
    found = re.findall(
        r'(?s)class="palette-hit"[^>]*?(?:href="([^"]*)"|data-press="[^"]*")>.*?palette-name">(.*?)<', page
    )
    return [(label, address) for address, label in found]


def order(shop: Shop, connection_id: object, number: str, **more: object) -> object:
    order_id = shop.order(connection_id, number, **more)  # type: ignore[arg-type]
    shop.hub.database.transact(lambda db: searching.keep_up(db, shop.merchant_id, [order_id]))
    return order_id


def test_an_order_is_found_by_its_very_number_before_newer_ones_that_begin_with_it(
    shop: Shop, owner: Browser, things: Furnished
) -> None:
    wanted = order(shop, things.connection_id, "77", placed_at=shop.ago(days=2))
    longer = [order(shop, things.connection_id, f"77{each}") for each in "123"]

    assert hits(owner, "77")[0] == ("Order 77", f"/orders/{wanted}")
    assert hits(owner, "%2377")[0] == ("Order 77", f"/orders/{wanted}")
    assert {address for _, address in hits(owner, "77")} == {f"/orders/{each}" for each in [wanted, *longer]}


def test_a_sku_is_found_by_its_code_before_orders_with_words_that_begin_so(
    shop: Shop, owner: Browser, things: Furnished
) -> None:
    order(shop, things.connection_id, "4711", customer_name="Tea-1 Drinker")
    shop.sku("TEA-10", "Black tea")

    assert hits(owner, "tea-1")[:2] == [("TEA-1", f"/stock/{things.sku_id}"), hits(owner, "TEA-10")[0]]
    assert hits(owner, "green te") == [("TEA-1", f"/stock/{things.sku_id}")]
    assert hits(owner, "ea-1") == []  # in the middle of a word


def test_a_connection_and_a_parcel_are_found(shop: Shop, owner: Browser, things: Furnished) -> None:
    assert ("Market Hall", f"/connections/{things.other_connection_id}") in hits(owner, "market")
    assert hits(owner, "gb1")[0] == ("GB1", f"/shipments/{things.shipment_id}")
    assert hits(owner, "G B1")[0] == ("GB1", f"/shipments/{things.shipment_id}")


@pytest.mark.parametrize("text", ["%25", "_", "'", '"', "\\", "💥", "a" * 300])
def test_signs_that_mean_something_elsewhere_find_nothing_and_harm_nothing(
    owner: Browser, things: Furnished, text: str
) -> None:
    assert hits(owner, text) == []


def test_pages_and_things_to_do_are_found_by_the_beginnings_of_their_words(owner: Browser, things: Furnished) -> None:
    assert hits(owner, "new trans") == [("New transfer", "/stock/transfer")]
    assert hits(owner, "stocktake") == [("Count stock", "/stock/count")]
    assert ("Use dark colors", "") in hits(owner, "dark")
    assert ("Selling rules", "/stock/rules") in hits(owner, "sell")
    assert "Nothing begins with “quux”" in words(owner.get("/search?q=quux"))


def test_nobody_is_led_to_what_they_may_not_do(app: Flask, shop: Shop, owner: Browser, things: Furnished) -> None:
    shop.person("rosa@tea.example", "read_only", "Rosa")
    rosa = Browser(app).sign_in("rosa@tea.example")

    assert hits(rosa, "new trans") == hits(rosa, "connect a shop") == hits(rosa, "invite") == []
    assert hits(rosa, "tea-1")[0] == ("TEA-1", f"/stock/{things.sku_id}")
    for label, address in hits(rosa, ""):
        if address:
            assert rosa.get(address).status_code == 200, label


def test_another_merchants_rows_are_not_found(
    hub: Hub, app: Flask, shop: Shop, owner: Browser, things: Furnished
) -> None:
    other = open_shop(hub, "Rival")
    rival = other.connection("Tea Rival")
    other.sku("TEA-SECRET")
    order(other, rival, "9911")

    assert hits(owner, "tea-secret") == hits(owner, "9911") == hits(owner, "rival") == []
    assert owner.get("/search?q=").status_code == 200
