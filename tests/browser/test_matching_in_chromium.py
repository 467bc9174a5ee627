"""From a queue of listings to a live shop in a real browser: matched in bulk, undone, by keyboard, previewed, live."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import expect
from sqlalchemy import select, update

from hub.jobs import Hub
from hub.store import previews
from hub.store import tables as t
from hub.store.database import new_id
from tests.browser.conftest import Visit
from tests.web.shop_builder import Shop

pytestmark = pytest.mark.browser


def two_shops(shop: Shop) -> tuple[UUID, UUID]:
    """Tea Street sells green tea, matched and counted; Market Hall has three listings that are not matched."""
    location = shop.location()
    street, hall = shop.connection("Tea Street"), shop.connection("Market Hall", live=False)
    for place in (street, hall):
        shop.place(place, location)
    green, white = shop.sku("TEA-1", "Green tea, 100 g"), shop.sku("TEA-2", "White tea, 50 g")
    for sku_id, units in ((green, 12), (white, 3)):
        shop.level(sku_id, location, on_hand=units, allocated=0)
    shop.listing(street, "L1", green, title="Green tea", barcode="4006381333931")
    shop.listing(hall, "M1", title="Grüner Tee", sku_text="", barcode="4006381333931")
    shop.listing(hall, "M2", title="Weißer Tee", sku_text="TEA-2")
    shop.listing(hall, "M3", title="Gift wrap", sku_text="")
    return street, hall


def finish_preview(hub: Hub, place: UUID) -> None:
    """What a worker does: it compares what the shop says with what the hub would write."""
    with hub.database.write() as db:
        now = hub.database.now(db)
        listing = t.listing.c
        matched = select(listing.id, listing.merchant_id, listing.title).where(
            listing.connection_id == place, listing.sku_id.is_not(None)
        )
        for row in db.execute(matched).all():
            says, writes = (20, 12) if row.title == "Grüner Tee" else (1, 3)
            db.execute(
                t.preview_figure.insert().values(
                    merchant_id=row.merchant_id,
                    connection_id=place,
                    listing_id=row.id,
                    location_external_id="",
                    says=says,
                    writes=writes,
                    change=abs(says - writes),
                    steps=[f"{writes} available"],
                    at=now,
                )
            )
        merchant_id = db.execute(select(t.connection.c.merchant_id).where(t.connection.c.id == place)).scalar_one()
        previews.finish(db, merchant_id, place, at=now)
        db.execute(
            update(t.task)
            .where(t.task.c.kind == "preview")
            .values(state="done", message="2 figures compared.", finished_at=now)
        )


def matched(hub: Hub, place: UUID) -> dict[str, Any]:
    with hub.database.read() as db:
        return dict(
            db.execute(
                select(t.listing.c.title, t.sku.c.code)
                .outerjoin(t.sku, t.sku.c.id == t.listing.c.sku_id)
                .where(t.listing.c.connection_id == place)
            ).all()
        )


def test_from_the_queue_to_a_live_shop(hub: Hub, shop: Shop, visit: Visit) -> None:
    _, hall = two_shops(shop)
    page = visit.sign_in().page
    nothing = {"Grüner Tee": None, "Weißer Tee": None, "Gift wrap": None}

    # Two of three are sure, and say why.
    page.get_by_role("link", name="Listings").click()
    expect(page.get_by_text("same barcode as “Green tea” at Tea Street")).to_be_visible()
    expect(page.get_by_text("its SKU at the shop is “TEA-2”")).to_be_visible()
    expect(page.get_by_text("Nothing in the hub is like it.")).to_be_visible()
    problems = visit.accessibility_problems()

    # All at once, and all taken back at once.
    page.get_by_role("button", name="Accept all at 100 %").click()
    expect(page.get_by_text("2 listings matched.", exact=False)).to_be_visible()
    assert matched(hub, hall) == {"Grüner Tee": "TEA-1", "Weißer Tee": "TEA-2", "Gift wrap": None}
    page.get_by_role("button", name="Undo all 2").click()
    expect(page.get_by_text("Undone: 2 listings not matched any more.", exact=False)).to_be_visible()
    assert matched(hub, hall) == nothing

    # By keyboard alone: j and k, or the arrows, lead from row to row, x or the space bar marks, and Enter matches the
    # row it is typed in.
    page.keyboard.press("j")
    expect(page.get_by_label("Gift wrap", exact=True)).to_be_focused()
    page.keyboard.press("j")
    expect(page.get_by_label("Grüner Tee", exact=True)).to_be_focused()
    page.keyboard.press("x")
    expect(page.get_by_label("Grüner Tee", exact=True)).to_be_checked()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_label("Weißer Tee", exact=True)).to_be_focused()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Match the chosen").press("Enter")
    expect(page.get_by_text("2 listings matched.", exact=False)).to_be_visible()
    other = page.get_by_label("Another SKU for Gift wrap")
    other.fill("WRAP")
    other.press("Enter")
    expect(page.get_by_text("Everything is matched")).to_be_visible()
    assert matched(hub, hall) == {"Grüner Tee": "TEA-1", "Weißer Tee": "TEA-2", "Gift wrap": "WRAP"}

    # A look at what would be written, then live.
    visit.go(f"/connections/{hall}/go-live")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("heading", name="Comparing stock with the shop")).to_be_visible()
    finish_preview(hub, hall)
    page.get_by_role("link", name="See the differences").click()
    expect(page.get_by_role("heading", name="3 figures change")).to_be_visible()
    expect(page.get_by_role("row", name="Grüner Tee TEA-1")).to_contain_text("−8")
    problems += visit.accessibility_problems()
    page.get_by_role("button", name="Go live").click()
    expect(page.get_by_text("Market Hall is live.")).to_be_visible()

    page.get_by_role("link", name="all of its health").click()
    expect(page.get_by_role("heading", name="Works, up to date")).to_be_visible()
    problems += visit.accessibility_problems()
    assert problems == []


def test_the_queue_fits_on_a_phone(shop: Shop, phone: Visit) -> None:
    _, hall = two_shops(shop)
    long = "Ein-sehr-langer-Name-ohne-Leerzeichen-" * 4
    shop.listing(hall, str(new_id()), title=long, sku_text=long[:150], barcode="9" * 40)
    phone.sign_in()

    for path in ("/matching", f"/connections/{hall}/health", f"/connections/{hall}/go-live"):
        page = phone.go(path)
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), path
