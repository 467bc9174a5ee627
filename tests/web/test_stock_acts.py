"""What people do to stock in the pages: what they enter is written once, and what cannot be is refused at its field."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask
from sqlalchemy import func, select

from hub.core.allocation import QueueOrder, StockPolicy
from hub.core.selling import SellingRule
from hub.jobs import Hub
from hub.store import kits, selling, stock
from hub.store import tables as t
from tests.web.client import Browser, words
from tests.web.shop_builder import Furnished, Shop, furnish, open_shop

# What people, spreadsheets and scanners send where a number of units is asked for.
NO_UNITS = ["", "-1", "1.5", "1,5", "NaN", "1e3", "١٢", "0x10", "1_000", "+3", "99999999999999", "2000000000"]


def balance(hub: Hub, sku_id: UUID, location_id: UUID) -> tuple[int, ...]:
    """on_hand, allocated, quarantined, damaged, incoming"""
    level = t.stock_level.c
    with hub.database.read() as db:
        row = db.execute(
            select(level.on_hand, level.allocated, level.quarantined, level.damaged, level.incoming).where(
                level.sku_id == sku_id, level.location_id == location_id
            )
        ).one_or_none()
    return tuple(row) if row else ()


def written(hub: Hub) -> dict[str, int]:
    """How many rows there are of what an act on stock writes."""
    tables = (t.stock_entry, t.stock_document, t.stock_document_line, t.selling_rule, t.kit_part, t.stock_policy)
    with hub.database.read() as db:
        return {each.name: db.execute(select(func.count()).select_from(each)).scalar_one() for each in tables}


def sheet(things: Furnished, units: dict[UUID, str], act: str = "enter", **more: Any) -> dict[str, Any]:
    """A form with a row for each SKU, as the browser sends it."""
    return {
        "location_id": str(things.location_id),
        "once": str(uuid4()),
        "sku": [str(sku_id) for sku_id in units],
        "units": list(units.values()),
        "act": act,
    } | more


def harbor(hub: Hub) -> UUID:
    with hub.database.read() as db:
        return db.execute(select(t.location.c.id).where(t.location.c.name == "Harbor")).scalar_one()  # type: ignore[no-any-return]


# ---------------------------------------------------------------- filling a form in


def test_rows_are_added_counted_up_and_taken_away_without_entering_anything(
    hub: Hub, shop: Shop, owner: Browser, things: Furnished
) -> None:
    shop.sku("CUP-1")
    shop.listing(things.connection_id, "B1", things.sku_id, barcode="4006381333931")
    before = written(hub)

    added = owner.post("/stock/receive", sheet(things, {things.sku_id: "6"}, "add", scan="cup-1"), page="/settings")
    again = owner.post(
        "/stock/receive", sheet(things, {things.sku_id: "6"}, "enter", scan="4006381333931"), page="/settings"
    )
    away = owner.post(
        "/stock/receive", sheet(things, {things.sku_id: "6"}, f"remove-{things.sku_id}"), page="/settings"
    )

    assert (added.status_code, again.status_code, away.status_code) == (200, 200, 200)
    assert 'aria-label="Units received of CUP-1"' in added.text and "2 SKUs" in words(added)
    assert re.search(r'value="7"[^>]*aria-label="Units received of TEA-1"', again.text)
    assert "Units received of TEA-1" not in away.text and "0 SKUs" in words(away)
    assert written(hub) == before


def test_an_unknown_sku_is_told_where_it_was_typed_and_the_rows_stay(
    hub: Hub, owner: Browser, things: Furnished
) -> None:
    form = sheet(things, {things.sku_id: "6"}, "enter", scan="<b>nothing</b>")

    answer = owner.post("/stock/receive", form, page="/settings")

    assert 'id="scan-wrong"' in answer.text
    assert "There is no SKU or barcode “<b>nothing</b>” here." in words(answer).replace("&lt;", "<")
    assert 'value="6"' in answer.text and 'value="&lt;b&gt;nothing&lt;/b&gt;"' in answer.text


@pytest.mark.parametrize(
    "change",
    [
        {"sku": ["x"], "units": ["1"]},
        {"units": ["1", "2"]},
        {"location_id": "x"},
        {"once": "x"},
    ],
)
@pytest.mark.parametrize("path", ["/stock/count", "/stock/transfer"])
def test_a_damaged_form_is_refused(
    hub: Hub, owner: Browser, things: Furnished, path: str, change: dict[str, Any]
) -> None:
    before = written(hub)
    form = sheet(things, {things.sku_id: "1"}, to_location_id=str(harbor(hub)), reason="counted") | change

    answer = owner.post(path, form, page="/settings")

    assert (answer.status_code, written(hub)) == (400, before)
    assert "Reload the page." in words(answer)


@pytest.mark.parametrize("path", ["/stock/receive", "/stock/count", "/stock/transfer"])
def test_what_belongs_to_another_merchant_does_not_exist_here(
    hub: Hub, owner: Browser, things: Furnished, path: str
) -> None:
    theirs = furnish(open_shop(hub, "Rival"))
    before = written(hub)
    for change in ({"sku": [str(theirs.sku_id)]}, {"location_id": str(theirs.location_id)}):
        form = sheet(
            things, {things.sku_id: "1"}, reference="X-1", reason="x", to_location_id=str(harbor_of(hub, things))
        )

        answer = owner.post(path, form | change, page="/settings")

        assert answer.status_code == 400, change
        assert "does not exist here. Reload the page." in words(answer)
    assert written(hub) == before


def harbor_of(hub: Hub, things: Furnished) -> UUID:
    """The other location of the same merchant."""
    with hub.database.read() as db:
        document = t.stock_document.c
        return db.execute(  # type: ignore[no-any-return]
            select(document.to_location_id).where(document.id == things.document_id)
        ).scalar_one()


@pytest.mark.parametrize("units", NO_UNITS)
def test_no_form_takes_what_is_no_number_of_units(hub: Hub, owner: Browser, things: Furnished, units: str) -> None:
    before = written(hub)
    rows = {things.sku_id: units}
    to = str(harbor(hub))
    here = {"location_id": str(things.location_id), "once": str(uuid4())}
    for path, form, field in (
        ("/stock/receive", sheet(things, rows, reference="DN-8"), f"units-{things.sku_id}"),
        ("/stock/count", sheet(things, rows, reason="counted"), f"units-{things.sku_id}"),
        ("/stock/transfer", sheet(things, rows, to_location_id=to), f"units-{things.sku_id}"),
        (f"/stock/{things.kit_id}/kit", sheet(things, rows), f"units-{things.sku_id}"),
        (f"/stock/{things.sku_id}/safety-stock", here | {"safety_stock": units}, "safety"),
        (
            f"/stock/{things.sku_id}/condition",
            here | {"act": "set_aside", "condition": "damaged", "units": units, "why": "wet"},
            "units",
        ),
    ):
        answer = owner.post(path, form, page="/settings")

        assert answer.status_code == 422, path
        assert f'id="{field}-wrong"' in answer.text, path
    if units:
        for field in ("buffer_units", "share_percent"):
            answer = owner.post("/stock/rules", {"act": "save", field: units}, page="/settings")
            assert (answer.status_code, f'id="{field}-wrong"' in answer.text) == (422, True), field
        answer = owner.post("/settings/stock-policy", {"queue": "value", "unpaid_hours": units}, page="/settings")
        assert (answer.status_code, 'id="unpaid_hours-wrong"' in answer.text) == (422, True)
    assert written(hub) == before


# ---------------------------------------------------------------- receiving


def test_a_delivery_is_received_once_and_the_shops_are_told(
    hub: Hub, shop: Shop, owner: Browser, things: Furnished
) -> None:
    fresh = shop.sku("CUP-1", counted=False)
    form = sheet(things, {things.sku_id: "6", fresh: "40"}, reference=" DN-8 ", note="from Kyoto")

    answer = owner.post("/stock/receive", form, page="/settings")
    twice = owner.post("/stock/receive", form, page="/settings")

    assert (answer.status_code, twice.status_code) == (303, 409)
    assert balance(hub, fresh, things.location_id) == (40, 0, 0, 0, 0)
    # The order that waited for two got them.
    assert balance(hub, things.sku_id, things.location_id) == (18, 4, 0, 0, 0)
    assert (things.connection_id, "publish") in {(each, lane) for _, each, lane in hub.doorbell.rung}  # type: ignore[attr-defined]
    paper = words(owner.get(answer.headers["Location"]))
    assert "Delivery note DN-8" in paper and "from Kyoto" in paper and "CUP-1" in paper
    assert "Receipt DN-8 was entered already" in words(twice)
    assert f'{answer.headers["Location"]}">See what was entered' in twice.text
    assert 'value="40"' in twice.text


def test_a_receipt_needs_a_number_a_place_and_something_in_it(hub: Hub, owner: Browser, things: Furnished) -> None:
    before = written(hub)

    answer = owner.post("/stock/receive", sheet(things, {}, location_id=""), page="/settings")

    assert (answer.status_code, written(hub)) == (422, before)
    for field in ("scan", "location_id", "reference"):
        assert f'id="{field}-wrong"' in answer.text


# ---------------------------------------------------------------- counting


def test_a_count_shows_what_differs_before_it_is_entered(
    hub: Hub, shop: Shop, owner: Browser, things: Furnished
) -> None:
    cup = shop.sku("CUP-1")
    shop.level(cup, things.location_id, on_hand=5)
    rows = {things.sku_id: "11", cup: "5"}
    before = written(hub)

    checked = owner.post("/stock/count", sheet(things, rows, "check"), page="/settings")
    unexplained = owner.post("/stock/count", sheet(things, rows), page="/settings")

    assert (checked.status_code, unexplained.status_code, written(hub)) == (200, 422, before)
    shown = words(checked)
    assert "12 −1" in shown and "5 as expected" in shown and "Nothing is entered yet." in shown
    assert 'id="reason-wrong"' in unexplained.text and "12 −1" in words(unexplained)

    answer = owner.post("/stock/count", sheet(things, rows, reason="one broken"), page="/settings")

    assert answer.status_code == 303
    assert balance(hub, things.sku_id, things.location_id) == (11, 2, 0, 0, 0)
    paper = words(owner.get(answer.headers["Location"]))
    assert "one broken" in paper and "12 11 −1" in paper and "5 5 as expected" in paper


def test_a_count_of_a_kit_is_refused_at_its_row(hub: Hub, owner: Browser, things: Furnished) -> None:
    before = written(hub)

    answer = owner.post("/stock/count", sheet(things, {things.kit_id: "3"}, reason="counted"), page="/settings")

    assert (answer.status_code, written(hub)) == (422, before)
    assert f'id="units-{things.kit_id}-wrong"' in answer.text
    assert "This is a kit. Enter its parts instead." in words(answer)


@pytest.mark.parametrize("moment", ["2126-01-01T10:00", "yesterday", "0001-01-01T00:00+23:00"])
def test_a_count_is_of_a_time_that_has_passed(hub: Hub, owner: Browser, things: Furnished, moment: str) -> None:
    before = written(hub)
    form = sheet(things, {things.sku_id: "3"}, reason="counted", counted_at=moment)

    answer = owner.post("/stock/count", form, page="/settings")

    assert (answer.status_code, written(hub)) == (422, before)
    assert 'id="counted_at-wrong"' in answer.text


def test_a_count_of_earlier_is_compared_with_what_was_there_then(
    hub: Hub, shop: Shop, owner: Browser, things: Furnished
) -> None:
    sku_id = shop.sku("CUP-1")
    shop.level(sku_id, things.location_id, on_hand=9)
    shop.entry(sku_id, things.location_id, "adopted", 10, at=shop.ago(hours=3))
    shop.entry(sku_id, things.location_id, "shipped", -1, at=shop.ago(hours=1))
    form = sheet(things, {sku_id: "10"}, "check", counted_at=f"{shop.ago(hours=2):%Y-%m-%dT%H:%M}")

    assert "10 as expected" in words(owner.post("/stock/count", form, page="/settings"))
    assert owner.post("/stock/count", form | {"act": "enter"}, page="/settings").status_code == 303
    assert balance(hub, sku_id, things.location_id) == (9, 0, 0, 0, 0)


# ---------------------------------------------------------------- from one location to another


def test_a_transfer_arrives_in_parts_and_the_rest_is_lost(
    hub: Hub, shop: Shop, owner: Browser, things: Furnished
) -> None:
    there = harbor(hub)
    answer = owner.post(
        "/stock/transfer", sheet(things, {things.sku_id: "6"}, to_location_id=str(there)), page="/settings"
    )
    paper = answer.headers["Location"]
    assert balance(hub, things.sku_id, there) == (0, 0, 0, 0, 6)
    page = owner.get(paper).text
    seen = page.split('name="seen" value="')[1].split('"')[0]
    field = f"units-{things.sku_id}"

    arrived = owner.post(f"{paper}/arrive", {"seen": seen, field: "2"}, page=paper)
    twice = owner.post(f"{paper}/arrive", {"seen": seen, field: "2"}, page=paper)
    too_many = owner.post(f"{paper}/arrive", {"seen": "2+0", field: "5"}, page=paper)
    unsure = owner.post(f"{paper}/close", page=paper)
    after = balance(hub, things.sku_id, there)
    closed = owner.post(f"{paper}/close", {"sure": "yes"}, page=paper)

    codes = [each.status_code for each in (arrived, twice, too_many, unsure, closed)]
    assert codes == [303, 409, 422, 422, 303]
    assert "Something arrived since this page was opened." in words(twice)
    assert f'id="{field}-wrong"' in too_many.text and 'id="sure-wrong"' in unsure.text
    # Two of them went to the order that waited.
    assert (after[0], after[4]) == (2, 4)
    assert balance(hub, things.sku_id, there)[4] == 0
    assert "Lost TEA-1 Green tea, 100 g 6 2 4" in words(owner.get(paper))
    again = owner.post(f"{paper}/close", {"sure": "yes"}, page="/settings")
    assert again.status_code == 409


def test_a_transfer_goes_somewhere_else_and_takes_only_what_is_free(
    hub: Hub, owner: Browser, things: Furnished
) -> None:
    before = written(hub)
    here, there = str(things.location_id), str(harbor(hub))
    for to, units, field in ((here, "1", "to_location_id"), ("", "1", "to_location_id"), (there, "11", None)):
        form = sheet(things, {things.sku_id: units}, to_location_id=to)

        answer = owner.post("/stock/transfer", form, page="/settings")

        assert answer.status_code == 422
        assert f'id="{field or f"units-{things.sku_id}"}-wrong"' in answer.text
    assert written(hub) == before


# ---------------------------------------------------------------- not for sale, and kept back


def test_units_are_set_aside_sold_again_and_written_off_each_once(hub: Hub, owner: Browser, things: Furnished) -> None:
    path = f"/stock/{things.sku_id}/condition"

    def enter(act: str, units: str, once: UUID) -> int:
        form = {
            "location_id": str(things.location_id),
            "once": str(once),
            "act": act,
            "condition": "damaged",
            "units": units,
            "why": "wet",
        }
        return owner.post(path, form, page="/settings").status_code

    once = uuid4()
    assert (enter("set_aside", "5", once), enter("set_aside", "5", once)) == (303, 409)
    assert balance(hub, things.sku_id, things.location_id) == (12, 2, 0, 5, 0)
    assert enter("restore", "2", uuid4()) == 303
    assert enter("write_off", "4", uuid4()) == 422
    assert enter("write_off", "1", uuid4()) == 303
    assert enter("burn", "1", uuid4()) == 400
    on_hand, _, quarantined, damaged, _ = balance(hub, things.sku_id, things.location_id)
    assert (on_hand, quarantined, damaged) == (11, 0, 2)
    assert "Written off its document wet · ada@tea.example" in words(owner.get(f"/stock/{things.sku_id}"))


def test_safety_stock_is_set_in_place_and_hidden_from_the_shops(hub: Hub, owner: Browser, things: Furnished) -> None:
    form = {"location_id": str(things.location_id), "safety_stock": "4"}

    assert owner.post(f"/stock/{things.sku_id}/safety-stock", form, page="/settings").status_code == 303

    page = owner.get(f"/stock/{things.sku_id}")
    assert 'name="safety_stock" value="4"' in page.text
    assert "12 on hand, 2 allocated, 4 safety stock: 6 free" in words(page)


# ---------------------------------------------------------------- kits


def test_a_kit_is_made_of_what_is_entered_and_unmade_again(
    hub: Hub, shop: Shop, owner: Browser, things: Furnished
) -> None:
    cup, box = shop.sku("CUP-1"), shop.sku("SET-1", counted=False)
    shop.level(cup, things.location_id, on_hand=7)
    path = f"/stock/{box}/kit"

    answer = owner.post(path, sheet(things, {things.sku_id: "1", cup: "2"}), page="/settings")

    assert answer.status_code == 303
    page = words(owner.get(f"/stock/{box}"))
    assert "Can be made 3" in page and "There is least of CUP-1 ." in page
    assert 'value="2"' in owner.get(path).text
    assert owner.post(path, sheet(things, {}), page="/settings").status_code == 303
    with hub.database.read() as db:
        assert kits.parts_of(db, shop.merchant_id, box) == {}


def test_a_kit_that_would_contain_itself_is_refused_with_the_way_round(
    hub: Hub, shop: Shop, owner: Browser, things: Furnished
) -> None:
    outer = shop.sku("OUTER-1", counted=False)
    assert owner.post(f"/stock/{outer}/kit", sheet(things, {things.kit_id: "1"}), page="/settings").status_code == 303
    before = written(hub)

    answer = owner.post(f"/stock/{things.kit_id}/kit", sheet(things, {outer: "1"}), page="/settings")

    assert (answer.status_code, written(hub)) == (422, before)
    assert re.search(r"BOX-1 .*OUTER-1 .*BOX-1", words(answer).split("Take off")[0])


def test_a_sku_with_stock_of_its_own_does_not_become_a_kit(
    hub: Hub, shop: Shop, owner: Browser, things: Furnished
) -> None:
    cup = shop.sku("CUP-1")
    before = written(hub)

    answer = owner.post(f"/stock/{things.sku_id}/kit", sheet(things, {cup: "1"}), page="/settings")

    assert (answer.status_code, written(hub)) == (409, before)
    assert 'role="alert"' in answer.text


# ---------------------------------------------------------------- what the shops may see


def test_a_rule_is_previewed_then_stored_then_taken_away(
    hub: Hub, shop: Shop, owner: Browser, things: Furnished
) -> None:
    form = {"connection": str(things.connection_id), "sku": str(things.sku_id), "buffer_units": "4"}
    before = written(hub)

    preview = owner.post("/stock/rules", form | {"act": "preview"}, page="/settings")

    assert "TEA-1 Tea Street Green tea 10 6" in words(preview) and "not stored yet" in words(preview)
    assert written(hub) == before
    answer = owner.post("/stock/rules", form | {"act": "save"}, page="/settings")
    assert answer.status_code == 303
    scope = selling.Scope(connection_id=things.connection_id, sku_id=things.sku_id)
    with hub.database.read() as db:
        assert selling.rules(db, shop.merchant_id).by_scope[scope.text] == SellingRule(buffer_units=4)
    page = words(owner.get(answer.headers["Location"]))
    assert "Rule for TEA-1 at Tea Street" in page and "buffer in units 4" in page
    # What a wider rule says is told where this one says nothing.
    assert 'placeholder="1 by a wider rule"' in owner.get(answer.headers["Location"]).text
    taken = owner.post("/stock/rules", form | {"act": "save", "buffer_units": ""}, page="/settings")
    assert taken.status_code == 303
    with hub.database.read() as db:
        assert scope.text not in selling.rules(db, shop.merchant_id).by_scope


@pytest.mark.parametrize(
    ("query", "about"),
    [
        ("", "everything"),
        ("connection={connection_id}", "everything at Tea Street"),
        ("sku={sku_id}", "TEA-1, in every shop"),
        ("connection={connection_id}&q=tea-1", "TEA-1 at Tea Street"),
        ("listing={listing_id}", "the listing “Green tea”"),
    ],
)
def test_there_is_a_rule_for_everything_down_to_one_listing(
    owner: Browser, things: Furnished, query: str, about: str
) -> None:
    address = query.format(connection_id=things.connection_id, sku_id=things.sku_id, listing_id=things.listing_id)

    page = owner.get(f"/stock/rules?{address}")

    assert f"Rule for {about} What the shops" in words(page)
    assert ("share_percent" in page.text) == (not query.startswith("listing"))


def test_rules_are_about_things_of_ones_own(hub: Hub, owner: Browser, things: Furnished) -> None:
    theirs = furnish(open_shop(hub, "Rival"))
    before = written(hub)

    for name, row_id in (("sku", theirs.sku_id), ("connection", theirs.connection_id), ("listing", theirs.listing_id)):
        assert owner.get(f"/stock/rules?{name}={row_id}").status_code == 404
        form = {name: str(row_id), "act": "save", "maximum": "1"}
        assert owner.post("/stock/rules", form, page="/settings").status_code in (400, 404)
    assert owner.get("/stock/rules?sku=x").status_code == 400
    assert "There is no SKU or barcode “TEA-X” here." in words(owner.get("/stock/rules?q=TEA-X"))
    assert written(hub) == before


# ---------------------------------------------------------------- settings, and where a shop sells from


def test_owners_and_managers_say_which_orders_get_stock_first(hub: Hub, app: Flask, shop: Shop, owner: Browser) -> None:
    shop.person("kim@tea.example", "warehouse", "Kim")
    kim = Browser(app).sign_in("kim@tea.example")
    form = {"queue": "promised_date", "hold_together": "yes", "unpaid_hours": "48"}

    assert kim.post("/settings/stock-policy", form, page="/settings").status_code == 403
    assert owner.post("/settings/stock-policy", form, page="/settings").status_code == 303
    assert owner.post("/settings/stock-policy", form | {"queue": "mine"}, page="/settings").status_code == 400

    with hub.database.read() as db:
        assert stock.policy(db, shop.merchant_id) == StockPolicy(
            hold_together=True, queue=QueueOrder.PROMISED_DATE, unpaid_hours=48
        )
    assert re.search(r'value="promised_date" checked', owner.get("/settings/stock-policy").text)
    assert "An owner or a manager changes this." in words(kim.get("/settings/stock-policy"))


def test_a_shop_sells_from_several_locations(hub: Hub, shop: Shop, staff: Browser, things: Furnished) -> None:
    there = harbor(hub)
    shop.level(things.sku_id, there, on_hand=5)
    path = f"/connections/{things.connection_id}"
    assert "Sells from 1 location" in words(staff.get(f"{path}/mappings"))
    form = {"external_id": "", "source": [str(things.location_id), str(there)]}

    assert staff.post(f"{path}/pool", form, page="/settings").status_code == 303

    assert "Sells from 2 locations" in words(staff.get(f"{path}/mappings"))
    assert "15 free together" in words(staff.get(f"/stock/{things.sku_id}"))
    assert staff.post(f"{path}/pool", form | {"source": ["x"]}, page="/settings").status_code == 400
