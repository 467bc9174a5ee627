"""A file of stock in a real browser: handed in, explained, looked at, applied and taken back, by keyboard alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from hub import jobs
from hub.jobs import Hub
from hub.jobs.desk_lane import LANE
from hub.store import tables as t
from tests.browser.conftest import Visit
from tests.web.shop_builder import Shop

pytestmark = pytest.mark.browser


def work(hub: Hub) -> None:
    """What a worker does."""
    for each in jobs.due(hub, lane=LANE):
        jobs.drain(hub, *each)


def both_themes(visit: Visit) -> list[str]:
    found = []
    for scheme in ("dark", "light"):
        visit.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        found += [f"{scheme}: {each}" for each in visit.accessibility_problems()]
    return found


def press(page: Page, name: str) -> None:
    """Go to a button or link by keyboard, and press it."""
    target = page.get_by_role("button", name=name).or_(page.get_by_role("link", name=name)).first
    for _ in range(80):
        page.keyboard.press("Tab")
        if target.evaluate("each => each === document.activeElement"):
            page.keyboard.press("Enter")
            return
    raise AssertionError(f"{name} cannot be reached with Tab")


def test_a_file_of_stock_is_applied_and_taken_back(hub: Hub, shop: Shop, visit: Visit, tmp_path: Path) -> None:
    place = shop.location()
    street = shop.connection("Tea Street")
    shop.place(street, place)
    green, white = shop.sku("TEA-1", "Green tea, 100 g"), shop.sku("TEA-2", "White tea, 50 g")
    for sku_id, units in ((green, 12), (white, 3)):
        shop.level(sku_id, place, on_hand=units, allocated=0)
    shop.listing(street, "L1", green, title="Green tea")
    file = tmp_path / "bestand.csv"
    file.write_bytes("Artikelnummer;Zählung\nTEA-1;9\nTEA-2;3\nTEA-9;1\n".encode("cp1252"))
    visit.sign_in()
    problems: list[str] = []

    page = visit.go("/stock/import")
    problems += both_themes(visit)
    page.get_by_label("File", exact=True).set_input_files(file)
    press(page, "Look at it")

    # What its columns mean: the SKU is suggested, the quantity has a name that nobody knows.
    expect(page.get_by_text("Read as CP1252, with semicolons between the columns.")).to_be_visible()
    expect(page.get_by_label("SKU", exact=True)).to_have_value("Artikelnummer")
    problems += both_themes(visit)
    page.get_by_label("Counted figures").check()
    page.get_by_label("Quantity").select_option("Zählung")
    press(page, "See what would change")
    expect(page.get_by_text("of about 4 rows read")).to_be_visible()
    work(hub)

    # The page goes on by itself, to what each row would change.
    row = page.get_by_role("row").filter(has_text="TEA-1")
    expect(row.get_by_role("cell")).to_contain_text(["2", "TEA-1", "Main warehouse", "12", "9", "−3"])
    problems += both_themes(visit)
    page.keyboard.press("Tab")
    press(page, "Not taken (1)")
    expect(page.get_by_text("There is no SKU or barcode “TEA-9” here.")).to_be_visible()
    problems += both_themes(visit)
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download the row that was not taken").click()
    assert "TEA-9" in Path(waiting.value.path()).read_text()

    press(page, "Apply 1 change")
    expect(page.get_by_text("0 of 1 rows entered")).to_be_visible()
    work(hub)
    expect(page.get_by_text("Take it back")).to_be_visible()
    problems += both_themes(visit)

    page = visit.go(f"/stock/{green}")
    expect(page.get_by_role("region", name="Ledger").get_by_role("row").nth(1)).to_contain_text("bestand.csv")
    problems += both_themes(visit)

    with hub.database.read() as db:
        (import_id,) = db.execute(select(t.stock_import.c.id)).scalars().all()
    page = visit.go(f"/stock/import/{import_id}")
    press(page, "Take it back")
    expect(page.get_by_text("0 of 1 rows taken back")).to_be_visible()
    work(hub)
    expect(page.get_by_role("link", name="Taken back (1)")).to_be_visible()
    with hub.database.read() as db:
        levels = dict(db.execute(select(t.stock_level.c.sku_id, t.stock_level.c.on_hand)).all())
    assert (levels[green], levels[white]) == (12, 3)
    assert problems == []
