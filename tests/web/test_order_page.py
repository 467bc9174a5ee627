"""The order page in full: what the channel tells of an order, how an edit is told, and what can be asked of it."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update

from hub.core.changes import Change
from hub.core.model import ChannelShipment, LineQuantity
from hub.core.plain import to_plain
from hub.jobs import Hub
from hub.store import tables as t
from hub.store.database import new_id
from hub.web import edits
from tests.web.client import Browser, words
from tests.web.shop_builder import Furnished, Shop


def wishes(hub: Hub) -> list[tuple[str, dict[str, Any]]]:
    with hub.database.read() as db:
        rows = db.execute(select(t.effect).where(t.effect.c.state == "planned").order_by(t.effect.c.created_at))
        return [(row.kind, row.request) for row in rows]


def form_of(page: str, act: str, part: str) -> dict[str, str]:
    """The hidden inputs of the form that asks for this."""
    for form in re.findall(r"(?s)<form.*?</form>", page):
        found = dict(re.findall(r'<input type="hidden" name="([a-z]+)" value="([^"]*)"', form))
        if (found.get("act"), found.get("part")) == (act, part):
            return {name: value for name, value in found.items() if name not in ("csrf", "line")}
    raise AssertionError(f"no form asks for {act} of {part}")


def ask(browser: Browser, order_id: UUID, act: str, part: str, **typed: Any) -> Any:
    form = form_of(browser.get(f"/orders/{order_id}").text, act, part)
    return browser.post(f"/orders/{order_id}/work", form | typed, page="/settings")


# ---------------------------------------------------------------- what it tells


def test_everything_the_channel_tells_is_on_the_page(owner: Browser, things: Furnished) -> None:
    page = words(owner.get(f"/orders/{things.order_id}"))

    for text in (
        "On hold POS VIP",
        "Before it ships On hold: Address No such street by Mia High risk of fraud, says the shop The card is from",
        "as the customer saw it 31.20 USD",
        "taken off with SPRING −3.00 Paid by Voucher gift card 28.90",
        "Green tea, 100 g −5.00",
        "How Tea Street deals it out",
        "To be shipped The shop asks you to ship it 2 × Green tea, 100 g to be shipped by 2 Mar 2030, 00:00 UTC",
        "Move: Refused The location does not stock it.",
        "Shipped 1 × Green tea, 100 g Royal Mail · RM-1 (opens the carrier's page) · RM-2",
        "cancelled 1 × Green tea, 100 g No carrier named No date given",
        "Goods coming back R-1: On its way back 1 × Green tea, 100 g stale",
        "Changed at the shop Quantity of Mug 3 → 2",
        "Gift message: Happy birthday",
        "Sold at pos Shipping Express Risk High risk",
    ):
        assert text in page, text


def test_only_a_web_address_becomes_a_link(owner: Browser, things: Furnished) -> None:
    page = owner.get(f"/orders/{things.order_id}").text

    assert '<a class="mono" href="https://track.example/RM-1" rel="noopener noreferrer" target="_blank">RM-1' in page
    assert "javascript:" not in page


def test_lines_that_are_no_products_are_marked(shop: Shop, owner: Browser, things: Furnished) -> None:
    order_id = shop.order(things.connection_id, "1002")
    shop.line(order_id, "1", kind="gift_card", title="Voucher", listing_external_id=None)
    shop.line(order_id, "2", kind="custom", title="Engraving", listing_external_id=None, attributes={"Text": "For Ann"})

    page = words(owner.get(f"/orders/{order_id}"))

    assert "Voucher gift card" in page and "Engraving custom item" in page and "Text: For Ann" in page


def test_a_plain_order_shows_none_of_it(shop: Shop, owner: Browser, things: Furnished) -> None:
    page = words(owner.get(f"/orders/{shop.order(things.connection_id, '1002')}"))

    for title in (
        "Before it ships",
        "deals it out",
        "Goods coming back",
        "Changed at the shop",
        "Sold at",
        "as the cust",
    ):
        assert title not in page


def test_the_list_marks_what_is_special_and_can_be_narrowed_to_it(
    shop: Shop, owner: Browser, things: Furnished
) -> None:
    shop.order(things.connection_id, "2002", test=True)
    shop.order(things.connection_id, "2003", returns_open=True)

    assert "1001 POS Tea Street" in words(owner.get("/orders"))
    for status, number in {"on_hold": "1001", "risky": "1001", "test": "2002", "returns": "2003"}.items():
        rows = re.findall(r'class="row-link"[^>]*>([^<]+)<', owner.get(f"/orders?status={status}").text)
        assert rows == [number], status


def test_what_the_channel_ships_itself_says_so_and_offers_nothing_to_do(
    shop: Shop, owner: Browser, things: Furnished
) -> None:
    order_id = shop.order(things.connection_id, "3001", shipped_by_channel=True, holds_stock=False)
    shop.line(order_id, "1", things.sku_id)

    page = words(owner.get(f"/orders/{order_id}"))
    assert "Shipped by Tea Street" in page
    assert "Holds stock no: Tea Street ships it from a warehouse of its own" in page
    assert "Holds and priority" not in page

    listed = owner.get("/orders?status=by_channel")
    assert re.findall(r'class="row-link"[^>]*>([^<]+)<', listed.text) == ["3001"]
    assert "shipped by Tea Street" in words(listed)


def test_that_the_customer_asks_to_cancel_can_be_passed_over_by_a_person(
    hub: Hub, shop: Shop, owner: Browser, things: Furnished
) -> None:
    order_id = shop.order(things.connection_id, "3002")
    hold_id = shop.write(
        t.order_hold,
        id=new_id(),
        order_id=order_id,
        reason="cancellation",
        note="Bought twice",
        external_id="c1",
        placed_by="",
        placed_at=shop.ago(minutes=1),
    )
    page = words(owner.get(f"/orders/{order_id}"))
    assert "The customer asks to cancel" in page and "Bought twice" in page and "by the shop, at the shop" in page

    form = {"act": "release", "hold": str(hold_id)}
    assert owner.post(f"/orders/{order_id}/handling", form, page=f"/orders/{order_id}").status_code == 303

    with hub.database.read() as db:
        released = select(t.order_hold.c.released_by).where(t.order_hold.c.id == hold_id)
        assert db.execute(released).scalar_one() == "ada@tea.example"


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "javascript:alert(1)"])
def test_what_a_shop_says_of_it_stays_text(shop: Shop, owner: Browser, things: Furnished, text: str) -> None:
    shipment = ChannelShipment(
        external_id=text,
        lines=(LineQuantity(line_external_id=text, quantity=1),),
        carrier=text,
        tracking_numbers=(text,),
        tracking_url=text,
    )
    order_id = shop.order(
        things.connection_id,
        "1002",
        tags=[text],
        source=text,
        details={"shipments": to_plain([shipment]), "attributes": {text: text}},
    )
    shop.edit(order_id, Change(part="attributes", member=text, before=text, after=text + "!"))

    page = owner.get(f"/orders/{order_id}").text

    assert "<script>alert" not in page and "<img src=x" not in page and 'href="javascript' not in page


# ---------------------------------------------------------------- how an edit is told


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (Change(part="lines", external_id="1", subject="Mug", before=None, after=2), ("Mug", None, "2 units")),
        (Change(part="lines", external_id="1", member="kind", subject="Mug", before="product", after="gift_card"),
         ("Kind of Mug", "product", "gift card")),
        (Change(part="lines", external_id="1", member="attributes/For_whom", subject="Mug", before=None, after="Ann_L"),
         ("For_whom of Mug", None, "Ann_L")),
        (Change(part="total", before={"amount": "999.5", "currency": "EUR"}, after={"amount": "-3", "currency": "JPY"}),
         ("Total", "999.50 EUR", "−3 JPY")),
        (Change(part="promised_at", before=None, after="2026-03-02T12:00:00+00:00"),
         ("Promised for", None, "2 Mar 2026, 12:00 UTC")),
        (Change(part="shipping_address", member="postcode", before="LS1", after="YO1"),
         ("Ships to: postal code", "LS1", "YO1")),
        (Change(part="paid", before=False, after=True), ("Paid", "no", "yes")),
        (Change(part="note", before="", after="Ring_twice."), ("Note", "nothing", "Ring_twice.")),
        (Change(part="status", before="open", after="cancelled"), ("Status", "open", "cancelled")),
        (Change(part="work", external_id="w", member="location_external_id", before="a", after="b"),
         ("Part to be shipped: location", "Leeds", "b")),
        (Change(part="work", external_id="w", member="request", before="none", after="cancellation_requested"),
         ("Part to be shipped: request", "none", "cancellation requested")),
        (Change(part="holds", external_id="h", subject="No such street", before=None, after="address"),
         ("Hold No such street", None, "address")),
        (Change(part="risk", member="level", before="pending", after="high"), ("Risk", "pending", "high")),
        (Change(part="discounts", subject="SPRING", before={"amount": "3.00", "currency": "EUR"}, after=None),
         ("Discount SPRING", "3.00 EUR", None)),
        (Change(part="shipments", external_id="s", member="cancelled", before=False, after=True),
         ("Shipment: cancelled", "no", "yes")),
        (Change(part="tags", member="rush", before=None, after="rush"), ("Tag", None, "rush")),
    ],
)  # fmt: skip
def test_a_change_in_words(change: Change, told: tuple[str, str | None, str | None]) -> None:
    found = edits.told(change, {"a": "Leeds"})

    assert (found.what, found.before, found.after) == told


# ---------------------------------------------------------------- what can be asked


def test_a_part_is_held_and_nobody_asks_twice(hub: Hub, staff: Browser, things: Furnished) -> None:
    form = form_of(staff.get(f"/orders/{things.order_id}").text, "hold_work", "w2")
    form |= {"reason": "fraud", "note": "Looks odd"}
    path = f"/orders/{things.order_id}/work"

    answers = [staff.post(path, form, page="/settings") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [303, 303]
    ((kind, request),) = wishes(hub)
    assert (kind, request["work_external_id"], request["reason"], request["note"]) == (
        "hold_work",
        "w2",
        "fraud",
        "Looks odd",
    )
    assert (things.connection_id, "effects") in {each[1:] for each in hub.doorbell.rung}  # type: ignore[attr-defined]
    page = staff.get(f"/orders/{things.order_id}")
    assert "Hold: Waiting to be sent" in words(page) and "joan@tea.example" in words(page)
    assert 'hx-select="#parts"' in page.text and 'name="once"' not in page.text, "one thing after the other"


@pytest.mark.parametrize(
    ("act", "part", "typed", "request_"),
    [
        ("release_work", "w1", {}, {"hold_external_ids": ["h1"]}),
        ("split_work", "w2", {"line": "2", "units": "1"}, {"lines": [{"line_external_id": "2", "quantity": 1}]}),
        ("answer_work", "w2", {"answer": "accept", "message": " Gladly "},
         {"question": "fulfillment", "accepted": True, "message": "Gladly"}),
        ("answer_work", "w2", {"answer": "reject"}, {"question": "fulfillment", "accepted": False}),
    ],
)  # fmt: skip
def test_what_fits_can_be_asked(
    hub: Hub, owner: Browser, things: Furnished, act: str, part: str, typed: dict[str, str], request_: dict[str, Any]
) -> None:
    assert ask(owner, things.order_id, act, part, **typed).status_code == 303

    ((kind, request),) = wishes(hub)
    order = {"order_external_id": "x1001", "work_external_id": part}
    assert (kind, request) == (act, order | request_)


def test_a_part_moves_where_there_is_another_place(hub: Hub, shop: Shop, owner: Browser, things: Furnished) -> None:
    assert "Have it shipped from" not in words(owner.get(f"/orders/{things.order_id}"))
    shop.place(things.connection_id, None, "York", "york")

    assert ask(owner, things.order_id, "move_work", "w2", location="york").status_code == 303

    assert wishes(hub)[0][1]["location_external_id"] == "york"


@pytest.mark.parametrize(
    ("act", "typed", "message"),
    [
        ("split_work", {"line": "2", "units": "0"}, "A split takes some of the units, and leaves some."),
        ("split_work", {"line": "2", "units": "3"}, "A split takes at most what is there of each line."),
        ("split_work", {"line": "2", "units": "x"}, "This is not a number of units."),
        ("hold_work", {"reason": "whim"}, "Choose why it is held back."),
    ],
)
def test_what_was_typed_wrongly_is_said_at_its_part(
    hub: Hub, owner: Browser, things: Furnished, act: str, typed: dict[str, str], message: str
) -> None:
    answer = ask(owner, things.order_id, act, "w2", **typed)

    assert (answer.status_code, wishes(hub)) == (422, [])
    assert message in words(answer)


@pytest.mark.parametrize("change", [{"state": "removed", "secrets": None}, {"connector": "gone"}])
def test_a_channel_that_cannot_be_asked_is_not_offered(
    hub: Hub, owner: Browser, things: Furnished, change: dict[str, Any]
) -> None:
    form = form_of(owner.get(f"/orders/{things.order_id}").text, "hold_work", "w2")
    with hub.database.write() as db:
        db.execute(update(t.connection).where(t.connection.c.id == things.connection_id).values(**change))

    assert "Do something about it" not in words(owner.get(f"/orders/{things.order_id}"))
    answer = owner.post(f"/orders/{things.order_id}/work", form | {"reason": "manual"}, page="/settings")
    assert (answer.status_code >= 400, wishes(hub)) == (True, [])


def test_a_damaged_form_asks_for_nothing(hub: Hub, owner: Browser, things: Furnished) -> None:
    path, form = f"/orders/{things.order_id}/work", {"act": "hold_work", "part": "w2", "reason": "manual"}

    assert owner.post(path, form, page="/settings").status_code == 400, "without the form's own mark"
    good = form_of(owner.get(f"/orders/{things.order_id}").text, "hold_work", "w2")
    assert owner.post(path, good | {"act": "eat_work"}, page="/settings").status_code == 400
    assert owner.post(f"/orders/{UUID(int=9)}/work", good, page="/settings").status_code == 404
    assert wishes(hub) == []
