"""The queue of listings: what it suggests, accepting one by one and in bulk, undoing, ignoring."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import select

from hub.jobs import Hub
from hub.store import tables as t
from tests.web.client import Browser, words
from tests.web.shop_builder import Furnished, Shop


def matched(hub: Hub) -> dict[str, str | None]:
    """SKU codes by the listing's external id."""
    with hub.database.read() as db:
        return dict(
            db.execute(
                select(t.listing.c.external_id, t.sku.c.code).outerjoin(t.sku, t.sku.c.id == t.listing.c.sku_id)
            ).all()
        )


def wish(owner: Browser, act: str, **form: Any) -> Any:
    return owner.post("/matching", {"act": act} | form, page="/settings")


def test_the_queue_says_what_is_suggested_and_why(shop: Shop, owner: Browser, things: Furnished) -> None:
    shop.write_to(t.listing, things.listing_id, barcode="4006381333931")
    shop.listing(things.other_connection_id, "M1", title="Grüner Tee", sku_text="", barcode="4006381333931")

    page = owner.get("/matching")

    said = words(page)
    assert "TEA-2 · new SKU" in said and "no SKU is like it: a new one" in said
    assert "TEA-1 · 100 %" in said and "same barcode as “Green tea” at Tea Street" in said
    assert "Market Hall · no SKU at the shop · 4006381333931" in said
    assert "Green tea matched" not in said


def test_the_queue_is_filtered_by_shop_and_by_text(shop: Shop, owner: Browser, things: Furnished) -> None:
    shop.listing(things.other_connection_id, "M1", title="Black tea")

    assert "White tea" in words(owner.get("/matching")) and "Black tea" in words(owner.get("/matching"))
    here = words(owner.get(f"/matching?connection={things.other_connection_id}"))
    assert "Black tea" in here and "White tea" not in here
    found = words(owner.get("/matching?q=TEA-2"))
    assert "White tea" in found and "Black tea" not in found
    assert "No listing fits" in words(owner.get("/matching?q=coffee"))
    assert owner.get("/matching?connection=x").status_code == 400


def test_the_queue_goes_on_on_the_next_page(shop: Shop, owner: Browser, things: Furnished) -> None:
    for number in range(60):
        shop.listing(things.connection_id, f"N{number}", title=f"Tin {number:02}")

    first = owner.get("/matching?q=Tin")
    assert "Tin 49" in words(first) and "Tin 50" not in words(first)
    mark = first.text.split('rel="next"')[0].rsplit('href="', 1)[1].split('"')[0].replace("&amp;", "&")
    second = words(owner.get(mark))
    assert "Tin 50" in second and "Tin 59" in second and "Tin 49" not in second


def test_one_listing_is_matched_to_what_is_chosen_or_typed(hub: Hub, owner: Browser, things: Furnished) -> None:
    one = things.unmatched_listing_id
    answer = wish(owner, f"match:{one}", **{f"sku:{one}": "TEA-2", f"other:{one}": " TEA-9 ", "q": "White"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/matching?q=White")
    assert "1 listing matched, 1 of them to new SKUs." in words(owner.get("/matching"))
    assert matched(hub)["L2"] == "TEA-9", "what is typed counts"

    bad = wish(owner, f"match:{one}", **{f"sku:{one}": "", f"other:{one}": ""})
    assert bad.status_code == 422 and "Enter a SKU of 1 to 200 characters." in words(bad)


def test_the_chosen_are_matched_together_and_undone_together(
    hub: Hub, shop: Shop, owner: Browser, things: Furnished
) -> None:
    two = shop.listing(things.other_connection_id, "M1", title="Black tea")
    one = things.unmatched_listing_id

    wish(owner, "match", listing=[str(one), str(two)], **{f"sku:{one}": "TEA-2", f"sku:{two}": "TEA-1"})

    assert (matched(hub)["L2"], matched(hub)["M1"]) == ("TEA-2", "TEA-1")
    assert "Undo all 2" in words(owner.get("/matching"))
    with hub.database.read() as db:
        act = db.execute(select(t.match_act.c.id).where(t.match_act.c.listings == 2)).scalar_one()

    owner.post(f"/matching/acts/{act}/undo", page="/settings")

    assert (matched(hub)["L2"], matched(hub)["M1"]) == (None, None)
    said = words(owner.get("/matching"))
    assert "Undone: 2 listings not matched any more." in said and "Undone by ada@tea.example" in said
    assert owner.post(f"/matching/acts/{act}/undo", page="/settings").status_code == 409


def test_without_a_choice_or_a_sku_nothing_is_done(hub: Hub, shop: Shop, owner: Browser, things: Furnished) -> None:
    two = shop.listing(things.other_connection_id, "M1", title="Black tea")
    before = matched(hub)

    wish(owner, "match")
    assert "Choose listings first" in words(owner.get("/matching"))
    some = wish(owner, "match", listing=[str(things.unmatched_listing_id), str(two)], **{f"sku:{two}": "TEA-1"})
    assert some.status_code == 422 and "For some of the chosen listings no SKU is named." in words(some)
    assert wish(owner, "match", listing="x").status_code == 400
    assert wish(owner, f"burn:{two}").status_code == 400

    assert matched(hub) == before


def test_all_that_is_sure_is_accepted_over_all_shops(hub: Hub, shop: Shop, owner: Browser, things: Furnished) -> None:
    shop.listing(things.other_connection_id, "M1", title="Green tea", sku_text="TEA-1")
    shop.listing(things.other_connection_id, "M2", title="Something", sku_text="")

    wish(owner, "sure")

    assert matched(hub) == {"L1": "TEA-1", "L2": "TEA-2", "M1": "TEA-1", "M2": None}
    wish(owner, "sure")
    assert "Nothing was matched: nothing is that sure." in words(owner.get("/matching"))


def test_many_are_left_to_a_worker_and_followed(
    hub: Hub, shop: Shop, owner: Browser, things: Furnished, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.web.matching._AT_ONCE", 0)

    answer = wish(owner, "sure")

    assert answer.headers["Location"].startswith(f"/connections/{things.connection_id}/tasks/")
    assert "Matching listings" in words(owner.get(answer.headers["Location"]))
    with hub.database.read() as db:
        (task,) = db.execute(select(t.task).where(t.task.c.kind == "match")).all()
    assert (task.connection_id, task.state, matched(hub)["L2"]) == (things.connection_id, "waiting", None)
    assert (shop.merchant_id, things.connection_id, "fetch") in hub.doorbell.rung  # type: ignore[attr-defined]


def test_an_ignored_listing_leaves_the_queue_and_comes_back(hub: Hub, owner: Browser, things: Furnished) -> None:
    one = things.unmatched_listing_id

    wish(owner, f"ignore:{one}")

    assert "Everything is matched" in words(owner.get("/matching"))
    assert "White tea" in words(owner.get("/matching?show=ignored"))
    assert "0 of" not in words(owner.get(f"/connections/{things.connection_id}"))

    wish(owner, "bring-back", listing=str(one), show="ignored")

    assert "White tea" in words(owner.get("/matching"))
    assert "Nothing is ignored" in words(owner.get("/matching?show=ignored"))


def test_a_picture_is_a_link_to_the_shop_and_only_over_https(shop: Shop, owner: Browser, things: Furnished) -> None:
    shop.write_to(t.listing, things.unmatched_listing_id, image_url="https://cdn.example/white.jpg")
    page = owner.get("/matching").text
    assert 'href="https://cdn.example/white.jpg" target="_blank" rel="noreferrer noopener"' in page
    assert not re.search(r'<img[^>]* src="(?!/)', page), "pages load nothing from elsewhere"

    shop.write_to(t.listing, things.unmatched_listing_id, image_url="javascript:alert(1)")
    assert "javascript:alert" not in owner.get("/matching").text
