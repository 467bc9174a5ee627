"""Orders, stock and issues in the browser: what a person reads, corrects and resolves."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update

from hub.jobs import Hub
from hub.store import tables as t
from tests.web.client import Browser, words
from tests.web.shop_builder import Furnished, Shop


def entries(hub: Hub) -> list[tuple[str, int, str, str]]:
    with hub.database.read() as db:
        entry = t.stock_entry.c
        rows = db.execute(select(entry.cause, entry.on_hand_delta, entry.note, entry.actor).order_by(entry.at))
        return [tuple(each) for each in rows if each.cause == "adjusted"]


# ---------------------------------------------------------------- orders


def test_an_order_page_tells_everything_about_it(owner: Browser, things: Furnished) -> None:
    page = words(owner.get(f"/orders/{things.order_id}"))

    assert "Order 1001" in page and "Tea Street" in page and "Grace Hopper" in page and "1 Harbour Road" in page
    assert "2 at Main warehouse" in page and "2 on backorder" in page and "match its listing" in page
    assert "Items 20.00 Shipping 4.90 Tax 4.00 Total 28.90 EUR" in page
    assert "Refunded: late" in page and "−5.00" in page
    assert "Order 1001 imported" in page and "told us of a new order (order.created): read" in page
    assert "A shop refused the token" in page


def test_times_are_utc_and_exact_for_machines(owner: Browser, shop: Shop, things: Furnished) -> None:
    placed = shop.ago(minutes=10)

    page = owner.get(f"/orders/{things.order_id}").text

    assert f'<time datetime="{placed.isoformat(timespec="seconds")}"' in page
    assert f"{placed.day} {placed:%b %Y, %H:%M} UTC</time>" in page


def test_filters_live_in_the_address_and_pages_keep_them(shop: Shop, owner: Browser, things: Furnished) -> None:
    for number in range(60):
        shop.order(things.connection_id, f"F{number:02}", status="fulfilled", placed_at=shop.ago(minutes=number))

    first = owner.get("/orders?status=fulfilled&q=F")
    assert first.text.count('class="row-link"') == 50
    older = first.text.split('rel="next"')[0].rpartition('href="')[2].split('"')[0].replace("&amp;", "&")
    second = owner.get(older)

    assert "status=fulfilled" in older and "q=F" in older
    assert second.text.count('class="row-link"') == 10
    assert "First page" in words(second) and "Next page" not in words(second)
    assert "1001" not in words(second)


@pytest.mark.parametrize(
    "query",
    ["before=nonsense", "before=2026-01-01~x", f"before=0001-01-01T00:00:00%2B23:59~{UUID(int=7)}", "connection=x"],
)
def test_a_damaged_address_is_explained(owner: Browser, query: str) -> None:
    answer = owner.get(f"/orders?{query}")

    assert answer.status_code == 400
    assert "Go back to the first page." in words(answer)


@pytest.mark.parametrize(
    "query",
    ["q=%00%00", "q=" + "x" * 5000, "q=%25_%5C", "q=%F0%9F%8D%B5", "q=%ff%fe", "status=unheard-of", "q=%22%27;--"],
)
def test_whatever_is_searched_for_is_answered(owner: Browser, things: Furnished, query: str) -> None:
    for path in ("/orders", "/stock", f"/connections/{things.connection_id}/listings"):
        assert owner.get(f"{path}?{query}").status_code == 200


# ---------------------------------------------------------------- stock


def test_correcting_a_count_writes_one_entry_and_wakes_the_shops(hub: Hub, owner: Browser, things: Furnished) -> None:
    path = f"/stock/{things.sku_id}"
    page = owner.get(path).text
    once = page.split('name="once" value="')[1].split('"')[0]
    form = {"location_id": str(things.location_id), "once": once, "on_hand": "20", "reason": "counted"}

    answer = owner.post(f"{path}/adjust", form, page="/settings")
    twice = owner.post(f"{path}/adjust", form, page="/settings")

    assert (answer.status_code, twice.status_code) == (303, 409)
    assert entries(hub) == [("adjusted", 8, "counted", "ada@tea.example")]
    assert {(each, lane) for _, each, lane in hub.doorbell.rung} == {(things.connection_id, "publish")}  # type: ignore[attr-defined]
    shown = words(owner.get(path))
    assert "Adjusted its document counted · ada@tea.example" in shown
    # The order that waited got its stock.
    assert "On hand 20 Allocated 4 Set aside 0 Incoming 0 Available 16 Waiting 0" in shown


@pytest.mark.parametrize("on_hand", ["", "-1", "1.5", "1_000", "１２", "1e3", "9" * 13, "2000000000"])
def test_what_is_no_number_of_units_changes_nothing(hub: Hub, owner: Browser, things: Furnished, on_hand: str) -> None:
    form = {"location_id": str(things.location_id), "once": str(uuid4()), "on_hand": on_hand, "reason": "counted"}

    answer = owner.post(f"/stock/{things.sku_id}/adjust", form, page="/settings")

    assert answer.status_code == 422
    assert 'id="on_hand-wrong"' in answer.text and 'value="counted"' in answer.text
    assert entries(hub) == []


def test_a_correction_needs_a_reason(hub: Hub, owner: Browser, things: Furnished) -> None:
    form = {"location_id": str(things.location_id), "once": str(uuid4()), "on_hand": "3", "reason": " "}

    answer = owner.post(f"/stock/{things.sku_id}/adjust", form, page="/settings")

    assert (answer.status_code, entries(hub)) == (422, [])
    assert "Enter a reason" in words(answer)


def test_a_sku_can_be_counted_by_hand_before_anything_was_adopted(
    hub: Hub, shop: Shop, owner: Browser, things: Furnished
) -> None:
    fresh = shop.sku("TEA-5", counted=False)
    assert "Main warehouse (not counted yet)" in words(owner.get(f"/stock/{fresh}"))
    form = {"location_id": str(things.location_id), "once": str(uuid4()), "on_hand": "7", "reason": "first count"}

    assert owner.post(f"/stock/{fresh}/adjust", form, page="/settings").status_code == 303

    assert "On hand 7 Allocated 0 Set aside 0 Incoming 0 Available 7" in words(owner.get(f"/stock/{fresh}"))


def test_the_stock_list_says_of_each_shop_whether_it_is_right(shop: Shop, owner: Browser, things: Furnished) -> None:
    def figure(code: str, **more: Any) -> str:
        sku_id = shop.sku(code)
        shop.level(sku_id, things.location_id, on_hand=9)
        listing = shop.listing(things.connection_id, code, sku_id, **more.pop("listing", {}))
        if more:
            shop.publication(listing, things.connection_id, **more)
        return words(owner.get(f"/stock?q={code}"))

    assert "Tea Street 9 3 min ago" in figure("RIGHT", quantity=9)
    assert "Tea Street 4 → 9, 1 min ago" in figure("BEHIND", quantity=4, version=2, dirty_since=shop.ago(seconds=70))
    assert "Tea Street 4 should be 9" in figure("REFUSED", quantity=4, error="No.")
    sent = shop.sku("SENT")
    shop.level(sent, things.location_id, on_hand=9)
    shop.sent(shop.listing(things.connection_id, "SENT", sent), things.connection_id, 7, seconds=12, version=2)
    assert "Tea Street — → 7, sent to Tea Street 12 s ago , being processed" in words(owner.get("/stock?q=SENT"))
    assert "Tea Street — not the hub’s to write" in figure("UNTRACKED", listing={"tracked": False})
    sku_id = shop.sku("ASLEEP")
    shop.listing(things.other_connection_id, "A", sku_id)
    assert "Market Hall — not live" in words(owner.get("/stock?q=ASLEEP"))


def test_the_page_of_a_sku_says_in_words_what_each_channel_sees_and_why(
    shop: Shop, owner: Browser, things: Furnished, hub: Hub
) -> None:
    def told(code: str, *, counted: bool = True, at: UUID | None = None, **more: Any) -> str:
        sku_id = shop.sku(code, counted=counted)
        if counted:
            shop.level(sku_id, things.location_id, on_hand=9)
        listing = shop.listing(at or things.connection_id, code, sku_id, **more.pop("listing", {}))
        if more:
            shop.publication(listing, things.connection_id, **more)
        page = owner.get(f"/stock/{sku_id}").text
        assert page.count("comes about") == ("How 9 comes about" in page)
        return " ".join(re.findall(r'<p class="mb-1 break">([^<]*)</p>', page))

    assert told("RIGHT", quantity=9) == "Tea Street shows 9, and that is right."
    assert told("BEHIND", quantity=4, version=2, dirty_since=shop.ago(seconds=70)) == "Tea Street is being told 9."
    assert told("NEW") == "Tea Street is being told 9."
    assert told("REFUSED", quantity=4, error="No.") == (
        "Tea Street should show 9, and did not take it: the hub tries again."
    )
    assert told("UNTRACKED", listing={"tracked": False}) == (
        "Tea Street keeps this stock itself: it ships from its own warehouse, or sells without counting. The hub only "
        "reads it, and writes no figure there."
    )
    assert told("GONE", listing={"active": False}) == ("The listing is gone from Tea Street: nothing is sold by it.")
    assert told("FIRST", counted=False) == (
        "Tea Street goes by its own figure: this SKU was never counted here. Count it, and Tea Street is told."
    )
    assert told("LATER", at=things.other_connection_id) == (
        "Market Hall goes by its own figure: the hub writes nothing there before you set it live. It would then show 9."
    )
    with hub.database.write() as db:
        there = t.channel_location.c.connection_id == things.other_connection_id
        db.execute(update(t.channel_location).where(there).values(location_id=None))
    assert told("ASLEEP", at=things.other_connection_id) == (
        "No place of Market Hall stands for a location of yours, and so it is told nothing. Match its places on the "
        "page of the connection."
    )
    with hub.database.write() as db:
        db.execute(update(t.connection).where(t.connection.c.id == things.connection_id).values(state="paused"))
    assert told("PAUSED") == "Tea Street is paused, and told nothing. Resumed, it would show 9."
    with hub.database.write() as db:
        here = t.connection.c.id == things.connection_id
        db.execute(update(t.connection).where(here).values(state="connected", live_at=None))
    assert told("EARLY") == (
        "Tea Street goes by its own figure: the hub writes nothing there before you set it live. It would then show 9."
    )


def test_the_filters_of_the_stock_list_are_folded_in_and_say_what_is_chosen(
    shop: Shop, owner: Browser, things: Furnished
) -> None:
    barn = shop.location("Barn")

    page = owner.get(f"/stock?show=short&location={barn}").text

    (folded,) = re.findall(r'<details class="narrow-more">(.*?)</details>', page, re.DOTALL)
    assert 'value="short" selected' in folded and f'value="{barn}" selected' in folded
    assert re.search(r'<ul class="choices when-wide"', page)
    assert re.search(r'<p class="when-narrow mb-0">Short · Barn · <a href="/stock">Show all', page)


# ---------------------------------------------------------------- issues


def test_an_issue_names_its_next_step_and_can_be_resolved(hub: Hub, owner: Browser, things: Furnished) -> None:
    page = owner.get("/issues")
    assert "A shop refused the token Reconnect the shop." in words(page)
    assert 'href="/connections">Open</a>' in page.text
    assert "open: 1" in words(page)

    answer = owner.post(f"/issues/{things.issue_id}/resolve", {"back": "/issues?show=open"}, page="/settings")

    assert answer.headers["Location"] == "/issues?show=open"
    assert "Nothing needs a decision" in words(owner.get("/issues"))
    assert "Resolved just now by ada@tea.example" in words(owner.get("/issues?show=resolved"))
    assert "Resolved: A shop refused the token" in words(owner.get("/activity"))
    again = owner.post(f"/issues/{things.issue_id}/resolve", page="/settings")
    assert again.status_code == 303
    assert words(owner.get("/activity")).count("Resolved: A shop") == 1


def test_an_issue_never_leads_away_from_the_hub(shop: Shop, owner: Browser) -> None:
    shop.issue(link="https://evil.example/")
    shop.issue(link="javascript:alert(1)")

    page = owner.get("/issues").text

    assert "evil.example" not in page and "javascript:" not in page
