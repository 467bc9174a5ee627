"""The pages of the packing bench: scanning, picking, packing, holding and handing out, as a browser meets them."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from hub.jobs import Hub
from hub.store import tables as t
from tests.web.client import Browser, words
from tests.web.shop_builder import Shop

HTMX = {"HX-Request": "true"}
FROM = {"origin_country": "CN", "hs_code": "6912.00"}
HOME = {"name": "Ann Li", "line1": "1 Harbor Road", "city": "Bremen", "postcode": "28195", "country": "DE"}


@dataclass
class Room:
    """A warehouse with two mugs and a tee to be packed for Ann."""

    hub: Hub
    shop: Shop
    connection_id: UUID
    place: UUID
    order_id: UUID
    mug: UUID
    id: UUID

    @property
    def path(self) -> str:
        return f"/pack/{self.id}"

    def scan(self, browser: Browser, code: str, **form: Any) -> TestResponse:
        form = {"code": code, "once": str(uuid4())} | form
        return browser.post(f"{self.path}/scan", form, page="/settings", headers=HTMX)

    def row(self, table: Any, *conditions: Any) -> Any:
        with self.hub.database.read() as connection:
            return connection.execute(select(table).where(*conditions)).one()

    def state(self) -> str:
        return str(self.row(t.fulfillment_order, t.fulfillment_order.c.id == self.id).state)


@pytest.fixture
def room(hub: Hub, shop: Shop) -> Room:
    connection_id, place = shop.connection(), shop.location("Leeds")
    mug, tee = shop.sku("MUG-1", "Mug"), shop.sku("TEE-1", "Tee")
    for sku_id in (mug, tee):
        shop.level(sku_id, place, on_hand=9, allocated=2)
    shop.listing(
        connection_id, "mug", mug, weight_grams=300, barcode="4006381333931", image_url="https://cdn.example/m", **FROM
    )
    shop.listing(connection_id, "tee", tee, weight_grams=200, **FROM)
    order_id = shop.order(connection_id, "1001", shipping_address=HOME, note="Ring twice", customer_name="Ann Li")
    lines = {
        shop.line(order_id, "1", mug, title="Mug", listing_external_id="mug"): 2,
        shop.line(order_id, "2", tee, title="Tee", listing_external_id="tee", quantity=1, position=1): 1,
    }
    made = shop.to_ship(order_id, place, lines, "1001-1-ABC")
    return Room(hub, shop, connection_id, place, order_id, mug, made)


def verdict(answer: TestResponse) -> tuple[str, str]:
    """Which sound is played, and what is said."""
    found = re.search(r'(?s)data-sound="(\w+)">(.*?)</div></div>', answer.text)
    assert found, answer.text[:2000]
    return found[1], " ".join(html.unescape(re.sub(r"<[^>]+>", " ", found[2])).split())


# ---------------------------------------------------------------- scanning


def test_the_slip_of_an_order_leads_to_its_table(room: Room, staff: Browser) -> None:
    assert "1001 Ann Li 1001-1-ABC To be packed" in words(staff.get("/pack"))

    answer = staff.post("/pack", {"code": " 1001-1-abc "}, page="/pack")

    assert answer.headers["Location"] == room.path
    page = words(staff.get(room.path))
    assert "0 of 3 packed" in page and "Ann Li 1 Harbor Road 28195 Bremen DE" in page and "Note Ring twice" in page
    assert room.row(t.packing).packer == "joan@tea.example"


@pytest.mark.parametrize(("code", "said"), [("NO-SUCH", "No order has the code “NO-SUCH”"), ("", "Scan a code.")])
def test_a_code_that_is_no_slip_is_said_loudly(room: Room, staff: Browser, code: str, said: str) -> None:
    answer = staff.post("/pack", {"code": code}, page="/pack")

    assert answer.status_code == 422 and said in words(answer)


def test_good_and_bad_scans_differ_by_word_and_sound_and_count_once(room: Room, staff: Browser) -> None:
    once = str(uuid4())

    answers = [room.scan(staff, "4006381333931", once=once) for _ in range(2)]

    assert [verdict(answer) for answer in answers] == [("good", "OK Mug: 1 of 2.")] * 2
    assert "1 of 3 packed" in words(answers[1])
    assert verdict(room.scan(staff, "NO-SUCH"))[0] == "bad"
    assert verdict(room.scan(staff, "NO-SUCH"))[1].startswith("STOP Unknown code “NO-SUCH”")
    page = staff.get(room.path).text
    assert 'src="/static/good.wav' in page and 'src="/static/bad.wav' in page
    assert staff.get(re.findall(r'src="(/static/good.wav[^"]*)"', page)[0]).status_code == 200


def test_without_scripts_a_scan_is_a_form_like_any_other(room: Room, staff: Browser) -> None:
    once = re.findall(r'name="once" value="([^"]+)"', staff.get(room.path).text)[0]

    answer = staff.post(f"{room.path}/scan", {"code": "TEE-1", "once": once}, page=room.path)

    assert answer.status_code == 200 and "1 of 3 packed" in words(answer)


def test_scanning_another_orders_slip_goes_on_with_that_one(room: Room, staff: Browser) -> None:
    other = room.shop.to_ship(room.order_id, room.place, {}, "1001-2-XYZ", number=2)

    answer = room.scan(staff, "1001-2-XYZ")

    assert answer.headers["HX-Redirect"] == f"/pack/{other}"


def test_a_second_packer_is_told_and_can_take_over(room: Room, staff: Browser, owner: Browser) -> None:
    room.scan(staff, "MUG-1")

    page = owner.get(room.path)
    assert "joan@tea.example packs this order since" in words(page) and 'name="act" value="pack"' not in page.text
    assert verdict(room.scan(owner, "MUG-1"))[1].startswith("STOP joan@tea.example packs this order since")
    owner.post(f"{room.path}/take-over", {"instead_of": "joan@tea.example"}, page=room.path)

    assert verdict(room.scan(owner, "MUG-1")) == ("good", "OK Mug: 2 of 2. Complete.")
    assert verdict(room.scan(staff, "TEE-1"))[1].startswith("STOP ada@tea.example packs this order since")


def test_one_is_taken_out_again(room: Room, staff: Browser) -> None:
    room.scan(staff, "MUG-1")

    answer = staff.post(f"{room.path}/undo", {}, page=room.path, headers=HTMX)
    assert verdict(answer) == ("good", "OK Taken out again: MUG-1.") and "0 of 3 packed" in words(answer)
    answer = staff.post(f"{room.path}/undo", {}, page=room.path, headers=HTMX)
    assert verdict(answer) == ("bad", "STOP Nothing is on the table that could be taken out.")


def test_what_is_on_hold_says_so_and_is_not_counted(room: Room, staff: Browser) -> None:
    room.shop.write(t.order_hold, id=uuid4(), order_id=room.order_id, reason="fraud", placed_at=room.shop.now)

    assert verdict(room.scan(staff, "MUG-1"))[1].startswith("STOP Order 1001 is on hold (fraud)")
    assert "nothing of it may be packed" in words(staff.get(room.path))


# ---------------------------------------------------------------- parcels


def test_packed_leads_to_the_label_and_rings_for_rates(room: Room, staff: Browser) -> None:
    sizes = {"length_mm": 300, "width_mm": 200, "height_mm": 100, "empty_grams": 100, "most_grams": 2000}
    box = room.shop.write(t.box, id=uuid4(), name="Small", **sizes)
    for code in ("MUG-1", "MUG-1", "TEE-1"):
        room.scan(staff, code)
    page = words(staff.get(room.path))
    assert "About 900 g, by the weights of its listings and the box." in page
    assert "Small: 300 × 200 × 100 mm, up to 2,000 g (the smallest that carries it)" in page

    path, form = f"{room.path}/finish", {"act": "pack", "parcel": "1", "box-1": str(box)}
    refused = staff.post(path, form, page=room.path)
    assert refused.status_code == 422 and "Parcel 1 has no weight yet" in words(refused)
    heavy = staff.post(path, form | {"weight-1": "2001"}, page=room.path)
    assert heavy.status_code == 422 and "Small carries 2,000 g at most" in words(heavy)
    answer = staff.post(path, form | {"weight-1": "930"}, page=room.path)

    assert answer.headers["Location"] == f"/shipments/{room.row(t.shipment).id}"
    parcel = room.row(t.parcel)
    assert (room.state(), parcel.weight_grams, parcel.length_mm) == ("packed", 930, 300)
    assert (room.connection_id, "ship") in {each[1:] for each in room.hub.doorbell.rung}  # type: ignore[attr-defined]


def test_a_part_is_shipped_now_and_the_rest_stays_on_the_list(room: Room, staff: Browser) -> None:
    room.scan(staff, "TEE-1")
    form = {"act": "pack", "parcel": "1", "weight-1": "200"}

    refused = staff.post(f"{room.path}/finish", form, page=room.path)
    assert refused.status_code == 422 and "2 units are not packed yet" in words(refused)
    staff.post(f"{room.path}/finish", form | {"act": "rest_later"}, page=room.path)

    assert room.state() == "open"
    assert "1 of 3" in words(staff.get("/pack"))


def test_units_are_split_off_and_packed_along_again(room: Room, staff: Browser) -> None:
    with room.hub.database.read() as connection:
        mug = connection.execute(select(t.order_line.c.id).where(t.order_line.c.title == "Mug")).scalar_one()

    staff.post(f"{room.path}/split", {"line": str(mug), "units": "1"}, page=room.path)
    page = staff.get(room.path)
    other = re.findall(r'name="other" value="([^"]+)"', page.text)[0]
    assert "0 of 2 packed" in words(page)
    staff.post(f"{room.path}/merge", {"other": other}, page=room.path)

    assert "0 of 3 packed" in words(staff.get(room.path))


def also(room: Room, number: str, **more: Any) -> UUID:
    """Another order of a mug for Ann, to be packed at the same place."""
    about = {"shipping_address": HOME | {"line1": "1, HARBOR ROAD"}, "customer_name": "Ann Li"} | more
    order_id = room.shop.order(room.connection_id, number, **about)
    line_id = room.shop.line(order_id, "1", room.mug, title="Mug", listing_external_id="mug", quantity=1)
    return room.shop.to_ship(order_id, room.place, {line_id: 1}, f"{number}-1-ABC")


def test_more_orders_to_one_address_are_packed_together_with_one_press_and_taken_apart(
    room: Room, staff: Browser
) -> None:
    second, third = also(room, "1002"), also(room, "1003")
    also(room, "1004", customer_name="Bo", email="bo@example.com")
    offer = staff.get(room.path)
    assert "2 more orders go to Ann Li, Bremen" in words(offer)
    assert "more orders" not in words(room.scan(staff, "MUG-1"))
    staff.post(f"{room.path}/undo", {}, page=room.path)

    joined = staff.post(f"{room.path}/together", {"other": [str(second), str(third)]}, page=room.path)
    assert joined.status_code == 303
    page = staff.get(room.path)

    assert "0 of 5 packed" in words(page)
    assert f"slips.pdf?order={room.id}&amp;order={second}&amp;order={third}" in page.text
    assert "It is packed together with order 1001" in words(staff.get(f"/pack/{second}"))
    slip = staff.post("/pack", {"code": "1003-1-abc"}, page="/pack")
    assert slip.headers["Location"] == room.path
    assert staff.post(f"{room.path}/apart", {"other": str(third)}, page=room.path).status_code == 303
    said = words(staff.get(room.path))
    assert "0 of 4 packed" in said
    assert "1 more order goes to Ann Li, Bremen" in said


def test_the_shipment_of_several_orders_names_all_of_them_and_each_order_shows_it(room: Room, staff: Browser) -> None:
    second = also(room, "1002")
    staff.post(f"{room.path}/together", {"other": str(second)}, page=room.path)
    for code in ("MUG-1", "MUG-1", "MUG-1", "TEE-1"):
        room.scan(staff, code)

    later = staff.post(
        f"{room.path}/finish", {"act": "pack", "parcel": "1", "weight-1": "900", "box-1": ""}, page=room.path
    )

    assert later.status_code == 303
    shown = later.headers["Location"]
    assert "With order 1002 in the same parcels" in words(staff.get(shown))
    order_id = room.row(t.fulfillment_order, t.fulfillment_order.c.id == second).order_id
    assert shown in staff.get(f"/orders/{order_id}").text
    assert "Pack by itself : order 1002" in words(staff.get(room.path))
    slips = staff.get(f"/pack/slips.pdf?order={room.id}&order={second}")
    assert (slips.status_code, slips.data[:5]) == (200, b"%PDF-")


def test_what_cannot_be_packed_together_is_said(room: Room, staff: Browser) -> None:
    stranger = also(room, "1002", customer_name="Bo", email="bo@example.com")

    answer = staff.post(f"{room.path}/together", {"other": str(stranger)}, page=room.path)

    assert answer.status_code == 409
    assert "Only orders of one customer to one address" in words(answer)


# ---------------------------------------------------------------- picking and paper


def test_a_batch_is_picked_in_one_walk_by_shelf_and_by_zone(room: Room, staff: Browser) -> None:
    second = room.shop.order(room.connection_id, "1002", shipping_address=HOME)
    line = room.shop.line(second, "1", room.mug, title="Mug")
    other = room.shop.to_ship(second, room.place, {line: 2}, "1002-1-DEF")
    room.shop.write(t.shelf, sku_id=room.mug, location_id=room.place, zone="B", name="B-2")
    chosen = f"order={room.id}&order={other}"

    page = words(staff.get(f"/pack/pick?{chosen}"))
    zone = words(staff.get(f"/pack/pick?{chosen}&zone=B"))

    assert "5 units for 2 orders: 1001-1-ABC , 1002-1-DEF" in page
    assert page.index("B B-2 4 MUG-1 Mug 2 × 1001-1-ABC 2 × 1002-1-DEF") < page.index("— 1 TEE-1 Tee 1 × 1001-1-ABC")
    assert "MUG-1" in zone and "TEE-1" not in zone
    for path in (f"/pack/pick.pdf?{chosen}", f"/pack/slips.pdf?{chosen}&paper=4x6"):
        answer = staff.get(path)
        assert (answer.mimetype, answer.data[:5]) == ("application/pdf", b"%PDF-")


def test_what_is_packed_already_is_not_picked_again(room: Room, staff: Browser) -> None:
    room.scan(staff, "TEE-1")

    assert "2 units for 1 order" in words(staff.get(f"/pack/pick?order={room.id}"))


def test_too_many_orders_are_no_walk_and_strangers_have_no_slips(room: Room, staff: Browser) -> None:
    many = "&".join(f"order={uuid4()}" for _ in range(51))

    assert "at most 50 orders" in words(staff.get(f"/pack/pick?{many}"))
    assert staff.get(f"/pack/slips.pdf?order={uuid4()}").status_code == 404
    assert staff.get("/pack/pick?order=x").status_code in (400, 422)


def test_a_shipment_across_a_border_has_customs_papers_and_another_has_none(room: Room, staff: Browser) -> None:
    for code in ("MUG-1", "MUG-1", "TEE-1"):
        room.scan(staff, code)
    staff.post(f"{room.path}/finish", {"act": "pack", "parcel": "1", "weight-1": "900"}, page=room.path)
    shipment = room.row(t.shipment).id
    here = {"line1": "1 Dock", "city": "Leeds", "postcode": "LS1 1AA", "country": "GB"}

    for country, status in (("DE", 200), ("GB", 404)):
        room.shop.write_to(t.location, room.place, address=here)
        room.shop.write_to(t.sales_order, room.order_id, shipping_address=HOME | {"country": country})
        assert ("Commercial invoice" in words(staff.get(f"/shipments/{shipment}"))) == (status == 200)
        for name in ("invoice", "cn22"):
            answer = staff.get(f"/shipments/{shipment}/{name}.pdf")
            assert answer.status_code == status, answer.text[:3000]
            assert (answer.mimetype == "application/pdf") == (status == 200)
    assert staff.get(f"/shipments/{uuid4()}/invoice.pdf").status_code == 404


# ---------------------------------------------------------------- boxes, shelves, rules


def test_a_box_is_kept_changed_and_removed(room: Room, staff: Browser) -> None:
    box = {
        "name": "Bag",
        "length_mm": "10",
        "width_mm": "20",
        "height_mm": "30",
        "empty_grams": "5",
        "most_grams": "900",
    }
    box |= {"box": str(uuid4())}

    wrong = staff.post("/pack/boxes", box | {"width_mm": "wide"}, page="/pack/boxes")
    assert wrong.status_code == 422 and "Enter a whole number" in words(wrong) and 'value="wide"' in wrong.text
    staff.post("/pack/boxes", box, page="/pack/boxes")
    staff.post("/pack/boxes", box | {"name": "Sack"}, page="/pack/boxes")
    assert room.row(t.box).name == "Sack"
    staff.post("/pack/boxes", {"box": box["box"], "act": "remove"}, page="/pack/boxes")

    assert "Sack" not in words(staff.get("/pack/boxes"))


def test_a_shelf_is_kept_and_forgotten(room: Room, staff: Browser) -> None:
    here = {"location": str(room.place), "sku": str(room.mug)}

    staff.post("/pack/shelves", here | {"zone": " C ", "shelf": "C-7"}, page="/pack/shelves")
    assert (room.row(t.shelf).zone, "C C-7" in words(staff.get(room.path))) == ("C", True)
    staff.post("/pack/shelves", here | {"zone": "", "shelf": ""}, page="/pack/shelves")

    assert "C-7" not in staff.get(f"/pack/shelves?location={room.place}").text
    assert "MUG-1 Mug" in words(staff.get(f"/pack/shelves?location={room.place}&q=mug"))


def test_rules_of_priority_are_kept_in_their_order(room: Room, staff: Browser) -> None:
    form = {
        "kind": ["value", "", "promised"],
        "value": ["20", "", "2"],
        "urgency": ["-10", "0", "-20"],
        "confirms_digital": "yes",
        "paper": "4x6",
    }

    answer = staff.post("/pack/rules", form, page="/pack/rules")

    assert answer.status_code == 303
    kept = room.row(t.handling_policy)
    assert [each["kind"] for each in kept.priorities] == ["value", "promised"]
    assert (kept.confirms_digital, kept.paper) == (True, "4x6")
    assert "It is worth 20 or more." in words(staff.get(f"/orders/{room.order_id}/handling"))
    wrong = staff.post("/pack/rules", form | {"value": ["x", "", "2"]}, page="/pack/rules")
    assert wrong.status_code == 422 and "Look at the rules again." in words(wrong)


# ---------------------------------------------------------------- what people say of an order


def handle(browser: Browser, room: Room, act: str, **form: str) -> TestResponse:
    return browser.post(f"/orders/{room.order_id}/handling", {"act": act} | form, page="/settings")


def test_an_order_is_held_with_a_reason_and_released_by_whom_the_page_says(
    room: Room, staff: Browser, owner: Browser
) -> None:
    refused = handle(staff, room, "hold", reason="manual", note="")
    assert refused.status_code == 422 and "whoever packs has to know" in words(refused)
    handle(staff, room, "hold", reason="manual", note="Ask Ann first")

    page = words(owner.get(f"/orders/{room.order_id}"))
    assert "On hold: By hand Ask Ann first Release (By hand) by joan@tea.example" in page
    assert re.findall(r'class="row-link"[^>]*>([^<]+)<', owner.get("/orders?status=on_hold").text) == ["1001"]
    hold = room.row(t.order_hold)
    handle(owner, room, "release", hold=str(hold.id))

    page = words(owner.get(f"/orders/{room.order_id}"))
    assert "Was on hold: By hand Ask Ann first by joan@tea.example" in page and ", by ada@tea.example" in page
    assert re.findall(r'class="row-link"', owner.get("/orders?status=on_hold").text) == []
    again = handle(owner, room, "release", hold=str(hold.id))
    assert again.status_code == 409 and "taken off already" in words(again)


def test_an_address_that_cannot_be_right_is_shown_and_corrected(room: Room, staff: Browser) -> None:
    room.shop.write_to(t.sales_order, room.order_id, shipping_address=HOME | {"postcode": ""})
    assert "The postal code is missing. Correct the address" in words(staff.get(f"/orders/{room.order_id}"))
    assert "The postal code is missing." in words(staff.get(room.path))

    wrong = handle(staff, room, "address", **HOME | {"postcode": "1"})
    assert wrong.status_code == 422 and "“1” is no postal code of Germany" in words(wrong) and 'value="1"' in wrong.text
    handle(staff, room, "address", **HOME)

    page = words(staff.get(f"/orders/{room.order_id}"))
    assert "28195 Bremen" in page and "Corrected by hand; the shop says" in page and "is missing" not in page


def test_labels_that_spell_it_otherwise_are_shown(room: Room, staff: Browser) -> None:
    room.shop.write_to(t.sales_order, room.order_id, shipping_address=HOME | {"name": "Иван", "line1": "x" * 60})

    page = words(staff.get(f"/orders/{room.order_id}/handling"))

    assert "UPS Иван → Ivan" in page and "Too long: line1: 60 characters, and 35 fit. Shorten it above." in page


def test_tags_priority_and_collection_are_kept(room: Room, staff: Browser) -> None:
    handle(staff, room, "tags", tags="rush, gift")
    handle(staff, room, "priority", priority="-20")
    page = words(staff.get(f"/orders/{room.order_id}"))
    assert "Holds and priority Urgent" in page and "rush gift" in page
    assert "Urgent A person said so." in words(staff.get(f"/orders/{room.order_id}/handling"))
    room.shop.write_to(t.location, room.place, collects=True)
    refused = handle(staff, room, "collect", location=str(room.place))
    assert refused.status_code == 409 and "in hand already" in words(refused)
    room.shop.write_to(t.fulfillment_order, room.id, state="cancelled", closed_at=room.shop.now)
    handle(staff, room, "collect", location=str(room.place))

    assert room.row(t.sales_order).collect_at == room.place
    assert handle(staff, room, "dance").status_code in (400, 422)


# ---------------------------------------------------------------- the counter


@pytest.fixture
def ready(room: Room, staff: Browser) -> str:
    """The order lies at the counter; its code."""
    room.shop.write_to(t.fulfillment_order, room.id, collect=True)
    with room.hub.database.write() as connection:
        connection.execute(update(t.sales_order).values(collect_at=room.place, email="ann@example.com"))
    for code in ("MUG-1", "MUG-1", "TEE-1"):
        room.scan(staff, code)
    answer = staff.post(f"{room.path}/finish", {"act": "pack", "parcel": "1"}, page=room.path)
    assert answer.headers["Location"] == f"/collect/{room.id}"
    return str(room.row(t.fulfillment_order, t.fulfillment_order.c.id == room.id).collection_code)


def test_the_code_of_a_customer_hands_the_order_out(room: Room, staff: Browser, ready: str) -> None:
    assert "1001 Ann Li 3 units at Leeds" in words(staff.get("/collect"))
    assert staff.post("/collect", {"code": "NOTHING2"}, page="/collect").status_code == 422

    for page in ("/collect", "/pack"):
        assert staff.post(page, {"code": ready.lower()}, page=page).headers["Location"] == f"/collect/{room.id}"
    answer = staff.post(f"/collect/{room.id}", {}, page=f"/collect/{room.id}")

    assert (answer.status_code, room.state()) == (303, "collected")
    again = staff.post(f"/collect/{room.id}", {}, page="/settings")
    assert again.status_code == 409 and "was handed out already" in words(again)


def test_without_a_mail_server_the_notice_is_for_a_person_to_send(room: Room, staff: Browser, ready: str) -> None:
    page = staff.get(f"/collect/{room.id}")

    assert "No mail server is set up, so the hub sends nothing." in words(page)
    link = html.unescape(re.findall(r'href="(mailto:[^"]+)"', page.text)[0])
    assert link.startswith("mailto:ann%40example.com?subject=Your%20order%201001%20is%20ready") and ready in link
    email = room.row(t.email)
    staff.post(f"/collect/{room.id}/email", {"email": str(email.id), "act": "told"}, page=f"/collect/{room.id}")

    assert "The customer knows" in words(staff.get(f"/collect/{room.id}")) and room.row(t.email).state == "sent"
