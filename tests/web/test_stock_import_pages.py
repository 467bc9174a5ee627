"""The pages of an import: a file handed in, explained, looked at, applied, what was not taken, and who may."""

from __future__ import annotations

import io
import re
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import select, update
from werkzeug.datastructures import FileStorage
from werkzeug.test import TestResponse, encode_multipart

from hub import jobs
from hub.jobs.desk_lane import LANE
from hub.store import packing, stock_import
from hub.store import tables as t
from tests.web.client import HTML, Browser, words
from tests.web.shop_builder import Furnished, Shop


def hand_in(browser: Browser, content: bytes, name: str = "count.csv", token: str = "") -> TestResponse:
    form = {"csrf_token": token or browser.token("/stock/import"), "file": FileStorage(io.BytesIO(content), name)}
    boundary, body = encode_multipart(form)
    return browser.client.post(
        "/stock/import",
        base_url=browser.base_url,
        data=body,
        headers=HTML | {"Referer": f"{browser.base_url}/stock/import"},
        content_type=f"multipart/form-data; boundary={boundary}",
    )


def drain(shop: Shop) -> None:
    for each in jobs.due(shop.hub, lane=LANE):
        jobs.drain(shop.hub, *each)


def explain(browser: Browser, path: str, shop: Shop, **more: str) -> TestResponse:
    with shop.hub.database.read() as connection:
        place = connection.execute(select(t.location.c.id).where(t.location.c.name == "Main warehouse")).scalar_one()
    form = {"meaning": "counted", "column-sku": "SKU", "column-quantity": "Quantity", "location_id": str(place)}
    answer = browser.post(f"{path}/columns", form | more, page="/stock/import")
    drain(shop)
    return answer


@pytest.fixture
def tea(shop: Shop, things: Furnished) -> Any:
    """A SKU with stock at the main warehouse."""
    with shop.hub.database.read() as connection:
        return connection.execute(
            select(t.sku.c.code, t.stock_level.c.on_hand, t.sku.c.id)
            .join(t.stock_level, t.stock_level.c.sku_id == t.sku.c.id)
            .join(t.location, t.location.c.id == t.stock_level.c.location_id)
            .where(t.sku.c.id == things.sku_id, t.location.c.name == "Main warehouse")
        ).one()


def test_a_file_is_explained_looked_at_and_applied(shop: Shop, owner: Browser, tea: Any) -> None:
    content = f"SKU,Quantity,Note\n{tea.code},{tea.on_hand + 7},x\nGONE,1,=2+3\n".encode("utf-16")
    path = hand_in(owner, content).headers["Location"]
    page = words(owner.get(path))
    assert "Read as UTF-16, with commas between the columns." in page
    assert "selected>SKU</option>" in owner.get(path).text

    assert explain(owner, path, shop).status_code == 303
    page = words(owner.get(path))
    assert "Would change 1 Units more 7" in page
    assert "Apply 1 change" in page

    bad = words(owner.get(f"{path}?show=bad"))
    assert "There is no SKU or barcode “GONE” here." in bad
    file = owner.post(f"{path}/bad.csv", page="/stock/import")
    assert file.text.splitlines() == [
        "\ufeffLine,What is wrong,SKU,Quantity,Note",
        '3,"There is no SKU or barcode “GONE” here. Match its listing first, or correct the code.",GONE,1,\'=2+3',
    ]

    assert owner.post(f"{path}/apply", page="/stock/import").status_code == 303
    assert "0 of 1 rows entered" in words(owner.get(path))
    drain(shop)
    assert "Applied 1 Units more 7" in words(owner.get(path))
    assert f"on hand {tea.on_hand + 7:,}" not in words(owner.get(f"/stock/{tea.id}"))
    with shop.hub.database.read() as connection:
        level = connection.execute(select(t.stock_level.c.on_hand).where(t.stock_level.c.sku_id == tea.id)).scalars()
        assert tea.on_hand + 7 in list(level)


def test_a_form_that_is_not_filled_in_says_what_is_missing(shop: Shop, owner: Browser, tea: Any) -> None:
    path = hand_in(owner, b"SKU,Quantity\nA,1\n").headers["Location"]

    answer = explain(owner, path, shop, meaning="", **{"column-quantity": ""})

    assert answer.status_code == 422
    assert "Say what the numbers of the file are." in words(answer)
    answer = explain(owner, path, shop, **{"column-quantity": ""})
    assert "Say which column has the quantity." in words(answer)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "The file is empty."), (b"PK\x03\x04", "Excel workbook"), (b"SKU\nA\n", "only one column")],
)
def test_what_is_no_file_of_rows_is_told_beside_the_field(owner: Browser, content: bytes, said: str) -> None:
    answer = hand_in(owner, content)

    assert answer.status_code == 422
    assert said in words(answer)


def test_a_file_larger_than_other_forms_is_taken_and_one_beyond_the_limit_is_not(
    owner: Browser, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = b"SKU,Quantity\n" + b"TEA-GREEN-100,1\n" * 100_000
    assert len(large) > app.config["MAX_CONTENT_LENGTH"]

    assert hand_in(owner, large).status_code == 303

    monkeypatch.setattr(app.view_functions["stock_import.hand_in"], "largest_file", 1000)
    assert hand_in(owner, large * 2).status_code == 413


def test_nobody_who_has_not_signed_in_makes_the_hub_read_a_large_form(app: Flask, shop: Shop) -> None:
    stranger = Browser(app)

    answer = hand_in(stranger, b"SKU,Quantity\n" + b"TEA-GREEN-100,1\n" * 100_000, token=stranger.token())

    assert answer.status_code == 413


def test_a_colleague_sees_the_file_and_does_not_decide_about_it(
    shop: Shop, owner: Browser, staff: Browser, tea: Any
) -> None:
    path = hand_in(owner, f"SKU,Quantity\n{tea.code},999\n".encode()).headers["Location"]
    explain(owner, path, shop)

    page = staff.get(path)
    assert "Only who handed a file in applies it." in words(page)
    assert "/apply" not in page.text
    refused = staff.post(f"{path}/apply", page="/stock")
    assert refused.status_code == 409
    assert "ada@tea.example handed this file in" in words(refused)


def test_stock_that_moved_since_is_told_in_its_row_and_looked_at_again(shop: Shop, owner: Browser, tea: Any) -> None:
    path = hand_in(owner, f"SKU,Quantity\n{tea.code},{tea.on_hand + 7}\n".encode()).headers["Location"]
    explain(owner, path, shop)
    explain(
        owner,
        (second := hand_in(owner, f"SKU,Quantity\n{tea.code},{tea.on_hand + 2}\n".encode()).headers["Location"]),
        shop,
    )
    owner.post(f"{second}/apply", page="/stock/import")
    drain(shop)

    assert f"{tea.on_hand + 2} by now" in words(owner.get(path))
    owner.post(f"{path}/apply", page="/stock/import")
    page = words(owner.get(path))
    assert "the stock of 1 rows moved since you looked" in page
    assert "moved meanwhile" in page


def test_the_template_is_a_file_that_can_be_handed_in(shop: Shop, owner: Browser) -> None:
    file = owner.get("/stock/import/template.csv")

    assert re.match(r"SKU,Quantity,Location\r\n", file.text)
    assert hand_in(owner, file.data).status_code == 303
    assert stock_import.assign_columns(stock_import.KIND, ["SKU", "Quantity", "Location"], {}) == {
        "sku": "SKU",
        "quantity": "Quantity",
        "location": "Location",
    }


def test_the_merchants_own_worker_is_rung_for_and_works_without_any_shop(shop: Shop, owner: Browser) -> None:
    shop.level(shop.sku("MUG", "Mug"), shop.location(), on_hand=3)
    path = hand_in(owner, b"SKU,Quantity\nMUG,4\n").headers["Location"]

    explain(owner, path, shop)

    assert (shop.merchant_id, shop.merchant_id, LANE) in shop.hub.doorbell.rung  # type: ignore[attr-defined]
    assert "Apply 1 change" in words(owner.get(path))
    assert jobs.due(shop.hub, lane=LANE) == []
    assert (
        owner.post(f"{path}/apply", page="/stock/import").status_code,
        jobs.due(shop.hub),
        jobs.due(shop.hub, shop.merchant_id, LANE),
    ) == (303, [(shop.merchant_id, shop.merchant_id, LANE)], [(shop.merchant_id, shop.merchant_id, LANE)])


def test_a_worker_that_breaks_down_over_a_file_blames_no_connection(shop: Shop) -> None:
    jobs.broke_down(shop.hub, shop.merchant_id, shop.merchant_id, LANE, "killed")

    with shop.hub.database.read() as connection:
        assert connection.execute(select(t.issue)).all() == []


# ---------------------------------------------------------------- details


def test_details_are_shown_as_they_are_and_would_be_applied_and_taken_back(
    shop: Shop, owner: Browser, tea: Any
) -> None:
    content = f"SKU,Title,Safety stock,Shelf\r\n{tea.code},Best tea,4,\r\nNEW-1,A new one,,\r\n".encode()
    path = hand_in(owner, content).headers["Location"]
    assert "What a file of details sets" in words(owner.get(path))
    columns = {"column-title": "Title", "column-safety_stock": "Safety stock", "column-shelf": "Shelf"}

    nothing = explain(owner, path, shop, meaning="details", **{"column-quantity": ""})
    assert "Choose at least one column of what the file sets." in words(nothing)
    assert '<details class="mb-3" open>' in nothing.text
    explain(owner, path, shop, meaning="details", make_skus="yes", **columns, **{"column-quantity": ""})

    preview = words(owner.get(path))
    assert "Details" in preview and "Units more" not in preview
    assert "→ Best tea" in preview and "Safety stock: 0 → 4" in preview
    assert "New SKU: NEW-1" in preview and "A new one" in preview
    owner.post(f"{path}/apply", page=path)
    drain(shop)
    applied = words(owner.get(path))
    assert "SKUs that were made stay." in applied and "Applied 2" in applied
    assert "Best tea" in words(owner.get(f"/stock/{tea.id}"))
    assert "A new one" in words(owner.get("/stock?q=NEW-1"))
    owner.post(f"{path}/undo", page=path)
    drain(shop)
    undone = words(owner.get(f"{path}?show=bad"))
    assert "The SKU that it made stays: orders and listings may be about it by now." in undone
    assert "Best tea" not in words(owner.get(f"/stock/{tea.id}"))


def test_what_is_exported_and_handed_in_again_changes_nothing(shop: Shop, owner: Browser, tea: Any) -> None:
    with shop.hub.database.write() as connection:
        place = connection.execute(select(t.location.c.id).where(t.location.c.name == "Main warehouse")).scalar_one()
        connection.execute(update(t.stock_level).where(t.stock_level.c.sku_id == tea.id).values(safety_stock=3))
        connection.execute(
            update(t.sku).where(t.sku.c.id == tea.id).values(title='=HYPERLINK("x"); "Earl" grey, loose')
        )
    packing.set_shelf(shop.hub.database, shop.merchant_id, place, tea.id, "A", "-12", "ada@tea.example")
    content = owner.post("/stock/levels.csv", page="/settings").data
    assert b"A,'-12" in content or b"A,-12" in content

    for meaning, columns in (
        ("details", {"title": "Title", "safety_stock": "Safety stock", "zone": "Zone", "shelf": "Shelf"}),
        ("counted", {"quantity": "On hand"}),
    ):
        path = hand_in(owner, content).headers["Location"]
        named = {f"column-{name}": heading for name, heading in columns.items()}
        explain(owner, path, shop, meaning=meaning, **{"column-location": "Location", "column-quantity": ""} | named)
        with shop.hub.database.read() as connection:
            row = t.stock_import_row.c
            mine = row.import_id == UUID(path.rpartition("/")[2])
            fates = set(connection.execute(select(row.state, row.problem).where(mine)).all())
        assert fates == {("unchanged", "")}, meaning
