"""Going live in steps: nothing is written to a shop before somebody has seen what would be."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import select

from hub.jobs import Hub
from hub.store import tables as t
from tests.web.client import Browser, words
from tests.web.shop_builder import Furnished, Shop


def look(shop: Shop, place: UUID, figures: dict[str, tuple[int | None, int]], **ago: float) -> None:
    """A finished preview: by title, what the shop says and what the hub would write."""
    for title, (says, writes) in figures.items():
        shop.write(
            t.preview_figure,
            connection_id=place,
            listing_id=shop.listing(place, title, title=title),
            location_external_id="",
            says=says,
            writes=writes,
            change=0 if says is None else abs(says - writes),
            steps=[f"{writes} for sale"],
            at=shop.ago(**ago),
        )
    shop.compared(place, **ago)


def live_at(hub: Hub, place: UUID) -> Any:
    with hub.database.read() as db:
        return db.execute(select(t.connection.c.live_at).where(t.connection.c.id == place)).scalar_one()


def shown(owner: Browser, place: UUID, show: str) -> list[str]:
    said = owner.get(f"/connections/{place}/go-live?show={show}").text.split("<tbody>")
    return [] if len(said) < 2 else [each.split("<")[0] for each in said[1].split('<span class="clip">')[1:]]


def test_a_preview_is_a_task_that_leads_to_the_differences(
    hub: Hub, shop: Shop, owner: Browser, things: Furnished
) -> None:
    here = things.other_connection_id
    followed = owner.post(f"/connections/{here}/preview", page="/settings").headers["Location"]
    assert "Comparing stock with the shop" in words(owner.get(followed))
    assert "The shop is being asked what it says now." in words(owner.get(f"/connections/{here}/go-live"))

    shop.set_task(UUID(followed.rsplit("/", 1)[1]), state="done", message="2 figures compared.", finished_at=shop.now)

    done = owner.get(followed)
    assert "2 figures compared." in words(done) and f'href="/connections/{here}/go-live"' in done.text


def test_the_preview_says_figure_by_figure_what_would_change(shop: Shop, owner: Browser, things: Furnished) -> None:
    here = things.other_connection_id
    look(
        shop,
        here,
        {"Mug": (10, 12), "Tee": (9, 4), "Cup": (8, 0), "Hat": (3, 3), "Pin": (None, 2), "Sock": (9, 8)},
        minutes=5,
    )

    page = words(owner.get(f"/connections/{here}/go-live"))

    assert "4 figures change 1 raised 3 lowered 2 by half or more 1 to 0: customers cannot buy it" in page
    assert "1 stays as it is" in page
    assert "7 cannot be written 1 the shop says nothing of 6 not matched to a SKU" in page
    assert "Cup at Stall 8 0 −8 Sells out" in page and page.count("Sells out") == 1
    assert shown(owner, here, "differences") == ["Cup", "Tee", "Mug", "Sock"]
    assert shown(owner, here, "drops") == ["Cup", "Tee"]
    assert shown(owner, here, "zero") == ["Cup"]
    assert shown(owner, here, "raised") == ["Mug"]
    assert shown(owner, here, "lowered") == ["Cup", "Tee", "Sock"]
    assert shown(owner, here, "unchanged") == ["Hat"]
    assert shown(owner, here, "silent") == ["Pin"]
    assert len(shown(owner, here, "all")) == 6


def test_the_page_counts_nothing_itself(shop: Shop, owner: Browser, things: Furnished) -> None:
    here = things.other_connection_id
    look(shop, here, {"Mug": (10, 12)}, minutes=5)
    with shop.hub.database.write() as db:
        this = t.preview.c.connection_id == here
        db.execute(t.preview.update().where(this).values(raised=54_321, lowered=0, unmatched=100_000))

    page = words(owner.get(f"/connections/{here}/go-live"))

    assert "54,321 figures change" in page and "100,000 not matched to a SKU" in page


def test_a_long_preview_is_shown_page_by_page(shop: Shop, owner: Browser, things: Furnished) -> None:
    here = things.other_connection_id
    look(shop, here, {f"Tin {number:02}": (100 - number // 4, 0) for number in range(60)}, minutes=5)

    first = owner.get(f"/connections/{here}/go-live").text
    mark = first.split('rel="next"')[0].rsplit('href="', 1)[1].split('"')[0].replace("&amp;", "&")
    second = owner.get(mark).text

    titles = [each.split("<")[0] for page in (first, second) for each in page.split('<span class="clip">')[1:]]
    assert (len(titles), len(set(titles))) == (60, 60)
    assert owner.get(f"/connections/{here}/go-live?after=x").status_code == 400
    assert owner.get(f"/connections/{here}/go-live?after=1~{here}").status_code == 400


def test_after_a_fresh_look_a_shop_goes_live_at_once(hub: Hub, shop: Shop, owner: Browser, things: Furnished) -> None:
    here = things.other_connection_id
    look(shop, here, {"Mug": (10, 12)}, minutes=59)
    assert "Go live without looking" not in words(owner.get(f"/connections/{here}/go-live"))

    owner.post(f"/connections/{here}/go-live", page="/settings")

    assert live_at(hub, here) is not None


def test_an_old_look_is_not_enough(hub: Hub, shop: Shop, owner: Browser, things: Furnished) -> None:
    here = things.other_connection_id
    look(shop, here, {"Mug": (10, 12)}, minutes=61)
    assert "This look is older than an hour" in words(owner.get(f"/connections/{here}/go-live"))

    refused = owner.post(f"/connections/{here}/go-live", page="/settings")
    assert refused.status_code == 409 and live_at(hub, here) is None

    owner.post(f"/connections/{here}/go-live", {"unseen": "yes"}, page="/settings")
    assert live_at(hub, here) is not None, "a person may decide to do without"


def test_a_look_that_is_going_on_is_none_yet(hub: Hub, shop: Shop, owner: Browser, things: Furnished) -> None:
    here = things.other_connection_id
    look(shop, here, {"Mug": (10, 12)}, minutes=5)
    owner.post(f"/connections/{here}/preview", page="/settings")

    refused = owner.post(f"/connections/{here}/go-live", page="/settings")

    assert refused.status_code == 409 and live_at(hub, here) is None


def test_the_steps_are_a_list_on_the_page_of_the_connection(shop: Shop, owner: Browser, things: Furnished) -> None:
    here = things.other_connection_id
    shop.listing(here, "M1", things.sku_id)

    def steps() -> str:
        return words(owner.get(f"/connections/{here}")).split("Connected : done")[1].split("Ready.")[0]

    assert "Imported : done" in steps() and "Matched : done" in steps() and "Opening stock : done" in steps()
    assert "Previewed : next Not compared yet" in steps()
    shop.compared(here, minutes=3)
    assert "Previewed : done Compared with what it says" in steps() and "Live : next" in steps()


def test_staff_may_look_but_only_an_owner_goes_live(hub: Hub, shop: Shop, staff: Browser, things: Furnished) -> None:
    here = things.other_connection_id
    look(shop, here, {"Mug": (10, 12)}, minutes=5)

    assert staff.post(f"/connections/{here}/preview", page="/settings").status_code == 303
    assert staff.post(f"/connections/{here}/go-live", page="/settings").status_code == 403
    assert live_at(hub, here) is None
