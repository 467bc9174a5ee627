"""The list of stock: narrowed down, searched by barcode, acted on for many SKUs, exported; a SKU over 90 days."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from hub.jobs import Hub
from hub.store import tables as t
from hub.store.queries import stock
from tests.statements import statements
from tests.web.client import Browser, words
from tests.web.shop_builder import Furnished, Shop


@pytest.fixture
def barn(shop: Shop, things: Furnished) -> Any:
    """A second location, with 5 of a SKU that no shop sells."""
    place = shop.location("Barn")
    sku_id = shop.sku("JAR-9", "Jar of honey")
    shop.level(sku_id, place, on_hand=5)
    return place, sku_id


def codes(browser: Browser, query: str) -> set[str]:
    page = browser.get(f"/stock?{query}").text
    return {code for code in ("TEA-1", "JAR-9") if f'">{code}</a>' in page}


def test_the_list_is_narrowed_to_what_one_looks_for(owner: Browser, shop: Shop, things: Furnished, barn: Any) -> None:
    assert codes(owner, "") == {"TEA-1", "JAR-9"}
    assert codes(owner, f"location={barn[0]}") == {"JAR-9"}
    assert codes(owner, "show=unpublished") == {"JAR-9"}
    assert codes(owner, "q=honey") == {"JAR-9"}
    assert "JAR-9" not in codes(owner, "show=waiting")
    shop.backorder(shop.line(things.order_id, "w", barn[1]), barn[1], 3)
    assert "JAR-9" in codes(owner, "show=waiting")


def test_a_barcode_finds_its_sku(owner: Browser, hub: Hub, things: Furnished, barn: Any) -> None:
    with hub.database.write() as db:
        db.execute(t.listing.update().where(t.listing.c.id == things.listing_id).values(barcode="4006381333931"))

    assert codes(owner, "q=4006381333931") == {"TEA-1"}


def test_why_a_shop_sees_a_figure_stands_in_the_list(owner: Browser, things: Furnished) -> None:
    page = owner.get("/stock")

    assert f'href="/stock/{things.sku_id}/explain"' in page.text
    assert "The whole story" in words(page)


def test_chosen_skus_are_counted_together_and_get_the_same_safety_stock(
    owner: Browser, hub: Hub, things: Furnished, barn: Any
) -> None:
    place, jar = barn
    chosen = [things.sku_id, jar]

    form = owner.post("/stock", {"act": "count", "sku": chosen, "at": place}, page="/stock")
    page = owner.get(form.headers["Location"]).text
    assert all(f'id="units-{each}"' in page for each in chosen)
    assert f'value="{place}" selected' in page

    answer = owner.post("/stock", {"act": "safety_stock", "sku": chosen, "at": place, "units": "2"}, page="/stock")

    assert "Safety stock set for 1 of 2 SKUs." in words(answer)
    assert "TEA-1 was never counted at Barn." in words(answer)
    with hub.database.read() as db:
        kept = db.execute(select(t.stock_level.c.safety_stock).where(t.stock_level.c.sku_id == jar)).scalar_one()
    assert kept == 2
    assert owner.post("/stock", {"act": "safety_stock", "sku": chosen, "units": "2"}, page="/stock").status_code == 422
    assert (
        owner.post("/stock", {"act": "safety_stock", "sku": jar, "at": place, "units": "x"}, page="/stock").status_code
        == 422
    )


def test_who_may_not_change_stock_is_offered_nothing_and_sets_nothing(
    app: Flask, shop: Shop, things: Furnished, barn: Any
) -> None:
    shop.person("sue@tea.example", "support", "Sue")
    support = Browser(app).sign_in("sue@tea.example")

    assert "Count the chosen" not in support.get("/stock").text
    assert support.post("/stock", {"act": "count", "sku": barn[1]}, page="/stock").status_code == 403


def test_levels_and_documents_are_exported_row_by_row(owner: Browser, things: Furnished, barn: Any) -> None:
    levels = owner.post("/stock/levels.csv", page="/stock")
    assert levels.text.splitlines()[0].lstrip("\ufeff").startswith("SKU,Title,Location,On hand,Allocated")
    assert any(line.startswith("JAR-9,Jar of honey,Barn,5,0,0,0,0,5,0") for line in levels.text.splitlines())

    documents = owner.post("/stock/documents.csv?kind=receipt", page="/stock")
    assert documents.text.splitlines()[0].lstrip("\ufeff").startswith("Kind,Number,Location")
    assert {line.partition(",")[0] for line in documents.text.splitlines()[1:]} <= {"receipt"}


def test_a_skus_page_shows_the_last_ninety_days_as_a_picture_and_a_table(owner: Browser, shop: Shop, barn: Any) -> None:
    place, jar = barn
    for number, days in ((101, 10), (102, 1)):
        row = {"sku_id": jar, "location_id": place, "number": number, "at": shop.ago(days=days), "on_hand": number}
        shop.write(t.stock_entry, **row, cause="adjusted", reference=f"r{number}", on_hand_delta=1)

    page = owner.get(f"/stock/{jar}")

    assert "On hand and available in the last 90 days" in words(page)
    assert 'role="img" aria-labelledby="over-time"' in page.text
    assert "The same as a table, week by week" in words(page)


def test_the_history_of_a_sku_is_what_the_ledger_says_at_the_end_of_each_day(hub: Hub, shop: Shop) -> None:
    place, other = shop.location(), shop.location("Barn")
    sku_id = shop.sku("MUG", "Mug")
    for where in (place, other):
        shop.write(t.stock_level, sku_id=sku_id, location_id=where, on_hand=4, entries=3, updated_at=shop.now)
    noon = shop.now.replace(hour=12, minute=0, second=0, microsecond=0)

    def entry(where: Any, number: int, ago: timedelta, on_hand: int, allocated: int = 0) -> None:
        said = {"cause": "adjusted", "reference": f"r{number}", "on_hand_delta": 1}
        row = {"sku_id": sku_id, "location_id": where, "number": number, "at": noon - ago}
        shop.write(t.stock_entry, **row, **said, on_hand=on_hand, allocated=allocated)

    entry(place, 1, timedelta(days=40), 9)
    entry(place, 2, timedelta(days=2, hours=1), 5)
    entry(place, 3, timedelta(days=2), 4, 1)
    entry(other, 1, timedelta(days=1), 7)

    with hub.database.read() as db:
        days = stock.history(db, shop.merchant_id, sku_id, 4, now=noon + timedelta(hours=1))

    assert [(day.on_hand, day.available) for day in days] == [(9, 9), (4, 3), (11, 10), (11, 10)]
    assert days[-1].at == noon + timedelta(hours=1)


def test_the_ledger_is_narrowed_by_cause_and_place(owner: Browser, things: Furnished, barn: Any) -> None:
    everything = words(owner.get(f"/stock/{things.sku_id}"))
    assert "By orders" in everything

    page = owner.get(f"/stock/{things.sku_id}?why=orders")
    assert page.status_code == 200
    assert "No entry of this kind." in words(owner.get(f"/stock/{barn[1]}?why=orders&at={barn[0]}"))


@pytest.mark.parametrize("path", ["/stock", "/stock?show=behind", "/matching", "/matching?score=likely", "/pack"])
def test_the_lists_take_few_statements(owner: Browser, hub: Hub, things: Furnished, path: str) -> None:
    with statements(hub.database) as said:
        owner.get(path)

    assert len(said) <= 15, said


def test_the_queue_is_narrowed_to_listings_with_such_a_score(owner: Browser, shop: Shop, things: Furnished) -> None:
    def shown(score: str) -> bool:
        return f'value="{things.unmatched_listing_id}"' in owner.get(f"/matching?score={score}").text

    kinds = [score for score in ("sure", "likely", "none") if shown(score)]

    assert len(kinds) == 1, "each listing has one score"
    assert shown("")
