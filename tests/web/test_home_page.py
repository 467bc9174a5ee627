"""The home page as people meet it: the choice at the beginning, the steps, the sandbox, and for each role its day."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from flask import Flask
from sqlalchemy import select, update

from hub import plugins
from hub.app import create_app
from hub.store import sandbox
from hub.store import tables as t
from tests.web.client import Browser
from tests.web.shop_builder import Furnished, Shop, TeaShop


def sections(page: str) -> list[str]:
    """What the page shows, in the order in which a phone shows it."""
    found = re.findall(r'<div class="today-(\d)">\s*<section [^>]*aria-labelledby="(\w+)"', page)
    return [name for _, name in sorted(found)]


def open_up(shop: Shop) -> None:
    database = shop.hub.database
    sandbox.open_up(database, shop.merchant_id, "ada@tea.example")
    tea = {"address": "https://tea.example", "token": "leaves and water"}
    sandbox.begin(database, shop.hub.keyring, shop.merchant_id, {"https://tea.example": "http://b"}, [(TeaShop, tea)])


# ---------------------------------------------------------------- the beginning


def test_an_empty_hub_offers_the_sandbox_or_a_shop(owner: Browser) -> None:
    page = owner.get("/").text
    assert "Open the sandbox" in page
    assert 'aria-current="step"' in page
    assert "about 5 minutes left" in page
    assert sections(page) == []


def test_who_may_not_connect_is_told_who_does(owner: Browser, staff: Browser) -> None:
    page = staff.get("/").text
    assert "Open the sandbox" not in page
    assert page.count("An owner does this.") == 2
    assert staff.post("/sandbox", page="/connections").status_code == 403


def test_opening_the_sandbox_is_a_wish_that_every_page_then_tells(owner: Browser, shop: Shop) -> None:
    assert owner.post("/sandbox", page="/").status_code == 303
    with shop.hub.database.read() as db:
        assert sandbox.wanted(db) == [shop.merchant_id]
    for path in ("/", "/orders", "/stock", "/connections"):
        assert "figures on this page are simulated" in owner.get(path).text, path


def test_an_operator_can_turn_it_off(shop: Shop) -> None:
    hub = replace(shop.hub, settings=replace(shop.hub.settings, sandbox=False))
    owner = Browser(create_app(hub)).sign_in("ada@tea.example")
    page = owner.get("/").text
    assert "has turned the sandbox off" in page
    assert "Open the sandbox" not in page
    assert owner.post("/sandbox", page="/").status_code == 400
    with shop.hub.database.read() as db:
        assert sandbox.wanted(db) == []


def test_without_simulators_it_says_what_to_install(
    owner: Browser, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    dist = SimpleNamespace(name="tallyhub-shopify", requires=['nothing-like-it>=1; extra == "simulator"'])
    point = SimpleNamespace(name="shopify", dist=dist)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point])
    page = owner.get("/").text
    assert "installs tallyhub-shopify[simulator], tallyhub-woocommerce[simulator]" in page
    assert "Open the sandbox" not in page
    assert owner.post("/sandbox", page="/").status_code == 400
    with shop.hub.database.read() as db:
        assert sandbox.wanted(db) == []


@pytest.mark.parametrize("state", ["new", "removed"])
def test_beside_a_real_shop_there_is_none(owner: Browser, shop: Shop, state: str) -> None:
    shop.connection(state=state)
    assert ("Open the sandbox" in owner.get("/").text) == (state == "removed")  # what was removed is not looked for
    owner.post("/sandbox", page="/")
    assert "There is a connection here already." in owner.get("/").text
    with shop.hub.database.read() as db:
        assert sandbox.wanted(db) == []


# ---------------------------------------------------------------- walking


def test_a_step_is_done_only_if_it_is_still_the_next(owner: Browser, shop: Shop) -> None:
    open_up(shop)
    with shop.hub.database.write() as db:
        db.execute(update(t.connection).values(state="connected"))
        connection_id = db.execute(select(t.connection.c.id)).scalar_one()
    shop.listing(connection_id, "L1", sku_text="TEA-1")
    page = owner.get("/").text
    assert 'name="step" value="match"' in page

    owner.post("/sandbox/next-step", {"step": "live"}, page="/")
    with shop.hub.database.read() as db:
        assert db.execute(select(t.connection.c.live_at)).scalar_one() is None
        assert db.execute(select(t.listing.c.sku_id)).scalar_one() is None

    owner.post("/sandbox/next-step", {"step": "match"}, page="/")
    with shop.hub.database.read() as db:
        assert db.execute(select(t.listing.c.sku_id)).scalar_one() is not None
    assert "Matched 1 listings of 1 shops by their SKUs." in owner.get("/").text


def test_nothing_is_done_for_anybody_without_a_sandbox(owner: Browser, shop: Shop) -> None:
    connection_id = shop.connection(live=False)
    shop.listing(connection_id, "L1", sku_text="TEA-1")
    page = owner.get("/").text
    assert "Do it for me" not in page
    owner.post("/sandbox/next-step", {"step": "match"}, page="/")
    with shop.hub.database.read() as db:
        assert db.execute(select(t.listing.c.sku_id)).scalar_one() is None


def test_the_list_can_be_put_away_and_the_first_order_has_its_moment(
    owner: Browser, shop: Shop, things: Furnished
) -> None:
    shop.write_to(t.location, things.location_id, address={"country": "DE"})
    page = owner.get("/").text
    assert "Your first order is here" in page
    assert owner.post("/first-steps/put-away", page="/").status_code == 303
    page = owner.get("/").text
    assert "Your first order is here" not in page
    assert 'id="way"' not in page


# ---------------------------------------------------------------- the end of a sandbox


def test_removing_it_is_followed_until_it_is_gone(owner: Browser, shop: Shop) -> None:
    open_up(shop)
    owner.post("/sandbox/remove", page="/")
    assert "is being removed" in owner.get("/").text
    partial = {"HX-Request": "true"}
    assert "HX-Redirect" not in owner.get("/?ending=yes", headers=partial).headers
    with shop.hub.database.write() as db:
        sandbox.forget(db, shop.merchant_id, at=shop.now)
    assert owner.get("/?ending=yes", headers=partial).headers["HX-Redirect"] == "/"
    assert "Open the sandbox" in owner.get("/").text
    assert owner.post("/sandbox/remove", page="/").status_code == 409


def test_one_that_began_anew_says_so(owner: Browser, shop: Shop) -> None:
    open_up(shop)
    assert "began anew" not in owner.get("/").text
    with shop.hub.database.write() as db:
        db.execute(update(t.sandbox).values(beginnings=2))
    assert "its shops live in memory, and the hub was restarted" in owner.get("/").text


# ---------------------------------------------------------------- the day


@pytest.mark.parametrize(
    ("role", "first"),
    [
        ("owner", ["needs", "late", "day", "bench", "shops"]),
        ("warehouse", ["bench", "late", "shelves", "needs", "day"]),
        ("support", ["needs", "late", "day", "bench", "shops"]),
    ],
)
def test_each_role_sees_first_what_is_theirs(
    app: Flask, shop: Shop, things: Furnished, role: str, first: list[str]
) -> None:
    shop.person(f"{role}@tea.example", role)
    page = Browser(app).sign_in(f"{role}@tea.example").get("/").text
    assert sections(page)[:5] == first


def test_a_chart_has_its_figures_in_a_table(owner: Browser, things: Furnished) -> None:
    page = owner.get("/").text
    assert page.count('class="hours"') == 2
    assert page.count('role="img"') >= 2
    table = page.partition("The same as a table")[2].partition("</table>")[0]
    assert table.count('<th scope="row">') == 24
