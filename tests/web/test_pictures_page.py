"""Pictures of products on the pages: from the hub itself, to the merchant they belong to, and never asked for twice."""

from __future__ import annotations

import re
from io import BytesIO

import pytest
from flask import Flask
from PIL import Image

from hub.jobs import Hub
from hub.store import connections
from hub.store import tables as t
from tests.web.client import HTML, Browser
from tests.web.shop_builder import Furnished, Shop, TeaShop, open_shop


def thumbs(page: str) -> list[dict[str, str]]:
    """The attributes of every picture of a product on a page."""
    return [dict(re.findall(r'([a-z]+)="([^"]*)"', each)) for each in re.findall(r'<img class="thumb[^>]*>', page)]


PAGES = {
    "/orders/{order_id}": ("small", ""),
    "/stock": ("small", ""),
    "/stock/{sku_id}": ("large", ""),
    "/connections/{connection_id}/listings?show=all": ("small", ""),
    "/connections/{connection_id}/listings/{listing_id}": ("large", "Green tea"),
    "/pack/{fulfillment_order_id}": ("large", ""),
}
SIDES = {"small": "40", "large": "128"}


@pytest.mark.parametrize("path", PAGES)
def test_a_page_shows_the_picture_in_a_place_that_is_kept_for_it(owner: Browser, things: Furnished, path: str) -> None:
    size, alt = PAGES[path]

    found = thumbs(owner.get(path.format(**things_by_name(things))).text)

    mine = [each for each in found if each["src"] == f"/pictures/{things.picture}/{size}"]
    assert mine, found
    for each in mine:
        assert (each["width"], each["height"], each["loading"], each["alt"]) == (SIDES[size], SIDES[size], "lazy", alt)


def things_by_name(things: Furnished) -> dict[str, object]:
    return {name: getattr(things, name) for name in things.__dataclass_fields__}


def test_a_pick_list_shows_what_to_look_for_on_the_shelf(shop: Shop, owner: Browser, things: Furnished) -> None:
    order_id = shop.order(things.connection_id, "1002")
    line = shop.line(order_id, "1", things.sku_id)
    work = shop.to_ship(order_id, things.location_id, {line: 2}, "1002-1-ABC")

    (found,) = thumbs(owner.get(f"/pack/pick?order={work}").text)

    assert (found["src"], found["alt"]) == (f"/pictures/{things.picture}/large", "")


def test_the_queue_shows_what_is_to_be_matched_and_what_it_may_be(
    shop: Shop, owner: Browser, things: Furnished
) -> None:
    theirs = shop.listing(things.other_connection_id, "M1", title="Green tea", sku_text="TEA-1")
    picture = shop.picture(theirs, things.other_connection_id, "navy")

    found = [each["src"] for each in thumbs(owner.get("/matching").text)]

    assert found == [f"/pictures/{picture}/small", f"/pictures/{things.picture}/small"]


def test_a_line_without_a_picture_of_its_own_shows_one_of_its_sku(
    shop: Shop, owner: Browser, things: Furnished
) -> None:
    shop.write_to(t.listing, things.listing_id, picture_id=None)
    assert thumbs(owner.get(f"/orders/{things.order_id}").text) == []
    elsewhere = shop.listing(things.other_connection_id, "M1", things.sku_id)
    picture = shop.picture(elsewhere, things.other_connection_id)

    found = {each["src"] for each in thumbs(owner.get(f"/orders/{things.order_id}").text)}

    assert found == {f"/pictures/{picture}/small"}


def test_without_a_picture_there_is_an_icon_of_the_same_size(shop: Shop, owner: Browser, things: Furnished) -> None:
    shop.write_to(t.listing, things.listing_id, picture_id=None)

    page = owner.get(f"/stock/{things.sku_id}").text

    assert thumbs(page) == []
    assert '<span class="thumb thumb-large thumb-none"><svg' in page


def test_a_listing_says_why_the_hub_keeps_no_picture_of_it(shop: Shop, owner: Browser, things: Furnished) -> None:
    with shop.hub.database.write() as db:
        db.execute(t.picture.update().values(address="", state="failed", error="cdn.example does not have it (404)."))

    page = owner.get(f"/connections/{things.connection_id}/listings/{things.listing_id}").text

    assert "The hub keeps none of it: cdn.example does not have it (404)." in page


# ---------------------------------------------------------------- the picture itself


def test_a_picture_is_kept_by_the_browser_and_never_by_a_proxy(owner: Browser, things: Furnished) -> None:
    path = f"/pictures/{things.picture}/large"
    answer = owner.get(path)

    assert (answer.status_code, answer.mimetype) == (200, "image/webp")
    assert Image.open(BytesIO(answer.data)).size == (120, 80)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert set(answer.headers["Cache-Control"].split(", ")) == {"private", "max-age=31536000", "immutable"}
    again = owner.client.get(path, base_url=owner.base_url, headers=HTML | {"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert owner.get(f"/pictures/{things.picture}/small").headers["ETag"] != answer.headers["ETag"]


@pytest.mark.parametrize("address", ["0" * 32 + "-0123456789abcdef", "nonsense", "-", "%00"])
def test_an_address_that_is_none_has_no_picture(owner: Browser, things: Furnished, address: str) -> None:
    answer = owner.get(f"/pictures/{address}/small")

    assert answer.status_code == 404
    assert answer.headers["Cache-Control"] == "no-store"


def test_only_the_content_that_an_address_names_is_shown_there(owner: Browser, things: Furnished) -> None:
    other = things.picture[:-1] + ("0" if things.picture[-1] != "0" else "1")

    assert owner.get(f"/pictures/{other}/small").status_code == 404
    assert owner.get(f"/pictures/{things.picture}/huge").status_code == 404


def test_another_merchants_picture_does_not_exist(hub: Hub, app: Flask, things: Furnished) -> None:
    open_shop(hub, "Other shop").person("eve@other.example", "owner", "Eve")
    eve = Browser(app).sign_in("eve@other.example")

    assert eve.get(f"/pictures/{things.picture}/small").status_code == 404


def test_a_removed_connection_shows_no_pictures_any_more(
    hub: Hub, shop: Shop, owner: Browser, things: Furnished
) -> None:
    path = f"/pictures/{things.picture}/small"
    assert owner.get(path).status_code == 200

    connections.remove(
        hub.database, shop.merchant_id, things.connection_id, "ada", keyring=hub.keyring, connector=TeaShop
    )

    assert owner.get(path).status_code == 404
    assert thumbs(owner.get(f"/orders/{things.order_id}").text) == []
