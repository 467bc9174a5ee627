"""What can be done with a whole order from its page: money back, cancelled, asked again, noted; and its timeline."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask
from sqlalchemy import select, update

from hub.connector import Capabilities, Settlement
from hub.jobs import Hub
from hub.store import inbox
from hub.store import tables as t
from hub.store.database import new_id
from tests.web.client import Browser, words
from tests.web.shop_builder import Furnished, Shop, TeaShop


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> type[TeaShop]:
    """The tea shop takes cancellations and refunds."""
    effects = {**TeaShop.effects, "cancel_order": Settlement.LOOKUP, "refund": Settlement.LOOKUP}
    monkeypatch.setattr(TeaShop, "effects", effects)
    capabilities = Capabilities(cancel_choices=("refund", "restock", "notify"), refund_choices=("restock", "notify"))
    monkeypatch.setattr(TeaShop, "capabilities", capabilities)
    return TeaShop


@pytest.fixture
def order(shop: Shop, things: Furnished) -> UUID:
    """An order of three teas for 28.90, 4.90 of it for shipping, that is open and paid."""
    order_id = shop.order(things.connection_id, "4001")
    shop.line(order_id, "1", things.sku_id, quantity=2, total_minor=2000, tax_minor=400)
    return order_id


def once(page: str) -> str:
    found = re.search(r'name="once" value="([^"]+)"', page)
    assert found
    return found[1]


def asked(hub: Hub, order_id: UUID) -> list[tuple[str, dict[str, Any]]]:
    with hub.database.read() as db:
        rows = db.execute(select(t.effect).where(t.effect.c.order_id == order_id).order_by(t.effect.c.created_at))
        return [(row.kind, dict(row.request)) for row in rows]


def give_back(browser: Browser, order_id: UUID, **typed: str) -> Any:
    path = f"/orders/{order_id}/refund"
    return browser.post(path, {"once": once(browser.get(path).text), **typed}, page="/settings")


# ---------------------------------------------------------------- giving money back


def test_the_sum_is_worked_out_by_the_hub(owner: Browser, order: UUID, told: Any) -> None:
    page = owner.get(f"/orders/{order}/refund?units-1=1&shipping=4,90")

    assert re.search(r'<div class="fs-1 fw-bold">([^<]+)</div>', page.text)[1] == "16.90 EUR"  # type: ignore[index]


def test_money_is_given_back_once_its_sum_is_typed(hub: Hub, owner: Browser, order: UUID, told: Any) -> None:
    form = {"units-1": "1", "amount-1": "10", "goodwill": "2.50", "restock": "yes", "note": " Chipped  cup "}

    refused = give_back(owner, order, **form, confirm="12")
    assert (refused.status_code, asked(hub, order)) == (422, [])
    assert "Type 12.50 to confirm." in words(refused)

    assert give_back(owner, order, **form, confirm="12,50").status_code == 303

    ((kind, request),) = asked(hub, order)
    assert (kind, len(request.pop("reference"))) == ("refund", 32)
    assert request == {
        "order_external_id": "x4001",
        "lines": [{"line_external_id": "1", "quantity": 1, "amount": {"amount": "10", "currency": "EUR"}}],
        "goodwill": {"amount": "2.50", "currency": "EUR"},
        "restock": True,
        "note": "Chipped cup",
    }
    page = words(owner.get(f"/orders/{order}"))
    assert "What Tea Street was asked" in page and "Give money back: Waiting to be sent" in page
    assert "12.50 EUR to be given back: Chipped cup" in page, "in the timeline, with the person"


def test_a_form_sent_twice_is_one_refund(hub: Hub, owner: Browser, order: UUID, told: Any) -> None:
    path = f"/orders/{order}/refund"
    form = {"once": once(owner.get(path).text), "goodwill": "1", "confirm": "1"}

    assert [owner.post(path, form, page="/settings").status_code for _ in range(2)] == [303, 303]

    assert [kind for kind, _ in asked(hub, order)] == ["refund"]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"units-1": "3"}, "at most 2 can be given back"),
        ({"units-1": "x"}, "This is not a number of units."),
        ({"units-9": "1"}, "The order has changed meanwhile."),
        ({"goodwill": "1.005"}, "This is not an amount of money."),
        ({"goodwill": "NaN"}, "This is not an amount of money."),
        ({"goodwill": "1e9999"}, "This is not an amount of money."),
        ({"goodwill": "-1"}, "This is not an amount of money."),
        ({"shipping": "5"}, "At most 4.90 EUR of the shipping can be given back."),
        ({"goodwill": "99999"}, "can be given back of this order"),
        ({}, "Choose what is given back."),
    ],
)
def test_what_is_typed_wrongly_is_said_and_nothing_is_asked(
    hub: Hub, owner: Browser, order: UUID, told: Any, typed: dict[str, str], said: str
) -> None:
    answer = give_back(owner, order, **typed, confirm="0")

    assert (answer.status_code, asked(hub, order)) == (422, [])
    assert said in words(answer)


def test_a_shop_that_cannot_says_so_instead_of_a_dead_button(hub: Hub, owner: Browser, order: UUID) -> None:
    page = words(owner.get(f"/orders/{order}"))
    assert "Give money back: Tea Street takes no such wish from here. Do it there: it is heard of." in page
    assert "Tea Street cannot be told to give money back." in words(owner.get(f"/orders/{order}/refund"))
    answer = owner.post(
        f"/orders/{order}/refund", {"once": str(uuid4()), "goodwill": "1", "confirm": "1"}, page="/settings"
    )
    assert (answer.status_code, asked(hub, order)) == (409, [])


# ---------------------------------------------------------------- cancelling


def test_it_is_cancelled_once_its_number_is_typed(hub: Hub, owner: Browser, order: UUID, told: Any) -> None:
    path = f"/orders/{order}/cancel"
    page = owner.get(path)
    assert "The order is on hold at once" in words(page) and "Give 28.90 EUR back" in words(page)
    form = {"once": once(page.text), "reason": "stock", "refund": "yes", "note": "Sold out"}

    assert owner.post(path, form | {"confirm": "nope"}, page="/settings").status_code == 422
    assert owner.post(path, form | {"reason": "whim", "confirm": "4001"}, page="/settings").status_code == 422
    assert asked(hub, order) == []
    assert owner.post(path, form | {"confirm": "#4001"}, page="/settings").status_code == 303

    ((kind, request),) = asked(hub, order)
    assert (kind, request["reason"], request["refund"], request.get("restock", False), request["note"]) == (
        "cancel_order",
        "stock",
        True,
        False,
        "Sold out",
    )
    page = words(owner.get(f"/orders/{order}"))
    assert "Cancel the order: Waiting to be sent" in page and "The channel is asked to cancel it." in page
    again = owner.post(path, form | {"once": str(uuid4()), "confirm": "4001"}, page="/settings")
    assert (again.status_code, len(asked(hub, order))) == (409, 1)


def test_what_a_shop_leaves_no_choice_about_is_not_asked_of_it(
    hub: Hub, owner: Browser, order: UUID, told: type[TeaShop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(told, "capabilities", Capabilities())
    path = f"/orders/{order}/cancel"
    page = owner.get(path)
    assert "No money goes back by it. Give it back first" in words(page) and 'name="refund"' not in page.text

    form = {"once": once(page.text), "reason": "stock", "refund": "yes", "restock": "yes", "confirm": "4001"}
    assert owner.post(path, form, page="/settings").status_code == 303

    assert not {"refund", "restock"} & asked(hub, order)[0][1].keys()


def test_a_label_that_was_paid_for_is_told_of_before(shop: Shop, owner: Browser, things: Furnished, told: Any) -> None:
    order_id = shop.order(things.connection_id, "4002")
    line = shop.line(order_id, "1", things.sku_id)
    work = shop.to_ship(order_id, things.location_id, {line: 1}, "4002-1")
    shop.shipment(order_id, work, line, "labelled", reference="S-4002", cost_minor=490, currency="EUR")

    page = words(owner.get(f"/orders/{order_id}/cancel"))

    assert "The label S-4002 cost 4.90 EUR. Its carrier is asked to take it back, and may refuse." in page


# ---------------------------------------------------------------- who may


def test_who_packs_may_do_neither_and_is_not_offered_it(
    app: Flask, hub: Hub, shop: Shop, order: UUID, told: Any
) -> None:
    shop.person("pat@tea.example", "warehouse")
    packer = Browser(app).sign_in("pat@tea.example")
    page = packer.get(f"/orders/{order}")

    assert f"/orders/{order}/refund" not in page.text and f"/orders/{order}/cancel" not in page.text
    for path in ("refund", "cancel"):
        assert packer.get(f"/orders/{order}/{path}").status_code == 403
        assert packer.post(f"/orders/{order}/{path}", {"confirm": "1"}, page="/settings").status_code == 403
    assert asked(hub, order) == []


# ---------------------------------------------------------------- what is offered


def offered(page: str) -> tuple[list[str], list[str]]:
    """The labels of what is offered at once, and of what stands in the menu, in their order."""
    nav = re.search(r'(?s)<nav class="order-acts.*?</nav>', page)
    assert nav
    first, _, more = nav[0].partition("<details")
    return links(first), links(more)


def links(markup: str) -> list[str]:
    return [re.sub(r"(?s)<[^>]+>", "", each).strip() for each in re.findall(r"(?s)<a .*?</a>", markup)]


GOOD = {"name": "Grace Hopper", "line1": "1 Harbour Road", "city": "Bremen", "postcode": "28195", "country": "DE"}


def test_two_things_are_offered_at_once_and_what_cannot_be_taken_back_is_last_and_marked(
    shop: Shop, owner: Browser, order: UUID, told: Any
) -> None:
    shop.write_to(t.sales_order, order, shipping_address=GOOD)
    page = owner.get(f"/orders/{order}").text

    assert offered(page) == (
        ["Hold", "Correct the address"],
        ["Priority and tags", "Split, merge or reroute", "Send again", "Give money back", "Cancel the order"],
    )
    menu = page.partition('<details class="menu"')[2].partition("</nav>")[0]
    before, _, after = menu.partition("Cannot be taken back")
    assert "menu-danger" not in before and after.count('menu-danger" href') == 2 == after.count('"cannot-be-undone"')


def test_what_is_offered_first_goes_by_the_state_of_the_order(
    shop: Shop, owner: Browser, things: Furnished, order: UUID, told: Any
) -> None:
    assert offered(owner.get(f"/orders/{order}").text)[0] == ["Correct the address", "Hold"], "it has no postal code"
    shop.write_to(t.sales_order, order, shipping_address=GOOD)
    assert offered(owner.get(f"/orders/{order}").text)[0] == ["Hold", "Correct the address"]
    owner.post(f"/orders/{order}/handling", {"act": "hold", "reason": "manual", "note": "Wait"}, page="/settings")
    assert offered(owner.get(f"/orders/{order}").text)[0] == ["Release", "Correct the address"]

    over = shop.order(things.connection_id, "4006", status="fulfilled")
    assert offered(owner.get(f"/orders/{over}").text) == (["Send again"], ["Give money back"])
    theirs = shop.order(things.connection_id, "4007", shipped_by_channel=True)
    assert offered(owner.get(f"/orders/{theirs}").text)[0] == ["Send again"]


# ---------------------------------------------------------------- told again


@pytest.fixture
def left(shop: Shop, things: Furnished, monkeypatch: pytest.MonkeyPatch) -> UUID:
    """An order whose parcel has left, and whose shop was told of it and can be asked about it."""
    monkeypatch.setattr(TeaShop, "effects", {**TeaShop.effects, "confirm_shipment": Settlement.LOOKUP})
    order_id = shop.order(things.connection_id, "4010")
    line = shop.line(order_id, "1", things.sku_id)
    work = shop.to_ship(order_id, things.location_id, {line: 1}, "4010-1", state="shipped")
    shop.shipment(order_id, work, line, "shipped", reference="S-4010", shipped_at=shop.now)
    confirmation = {"reference": "S-4010", "order_external_id": "x4010", "tracking_numbers": ["GB1"]}
    confirmation |= {"lines": [{"line_external_id": "1", "quantity": 1}], "shipped_at": shop.now.isoformat()}
    told = {"request": confirmation, "finished_at": shop.now}
    shop.wished(order_id, things.connection_id, "confirm_shipment", "", "succeeded", **told)
    return order_id


def support(app: Flask, shop: Shop) -> Browser:
    shop.person("sam@tea.example", "support", "Sam")
    return Browser(app).sign_in("sam@tea.example")


def test_the_shop_is_told_of_a_shipment_again_by_one_effect_that_looks_first(
    app: Flask, hub: Hub, shop: Shop, left: UUID
) -> None:
    sam = support(app, shop)
    page = sam.get(f"/orders/{left}")
    assert "Tea Street knows of the shipment S-4010 GB1" in words(page)
    form = {"act": "tell", "shipment": "S-4010", "once": once(page.text)}

    answers = [sam.post(f"/orders/{left}/again", form, page="/settings").status_code for _ in range(2)]

    assert answers == [303, 303]
    with hub.database.read() as db:
        rows = db.execute(select(t.effect).where(t.effect.c.order_id == left).order_by(t.effect.c.created_at)).all()
    assert [(row.state, row.look_first, row.request["reference"]) for row in rows] == [
        ("succeeded", False, "S-4010"),
        ("planned", True, "S-4010"),
    ]
    page = sam.get(f"/orders/{left}")
    said = words(page)
    assert "Told again: Waiting to be sent" in said and "Tell Tea Street again" not in said
    assert said.count("The channel is to be told of S-4010 again") == 1
    assert "sam@tea.example" in words(sam.get(f"/orders/{left}?show=people"))

    shop.write_to(t.effect, rows[1].id, state="succeeded", result={"already": True}, finished_at=shop.now)
    said = words(sam.get(f"/orders/{left}"))
    assert "Told again: it had it already, so nothing was written" in said
    assert "Tell of the shipment again: Done It had it already, so nothing was written." in said, "on the timeline"


def test_who_asked_stands_in_the_audit(app: Flask, shop: Shop, owner: Browser, left: UUID) -> None:
    form = {"act": "tell", "shipment": "S-4010", "once": str(uuid4())}
    support(app, shop).post(f"/orders/{left}/again", form, page="/settings")

    said = words(owner.get("/settings/audit?area=orders"))

    assert "The channel is to be told of S-4010 again" in said and "sam@tea.example" in said


def test_a_shop_that_cannot_be_asked_is_not_told_again_and_the_page_says_why(
    hub: Hub, owner: Browser, left: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TeaShop, "effects", {**TeaShop.effects, "confirm_shipment": Settlement.NATIVE_KEY})
    page = words(owner.get(f"/orders/{left}"))
    assert "Tea Shop cannot be asked whether it has a shipment" in page and "Tell Tea Street again" not in page

    form = {"act": "tell", "shipment": "S-4010", "once": str(uuid4())}
    answer = owner.post(f"/orders/{left}/again", form, page="/settings")

    assert (answer.status_code, len(asked(hub, left))) == (409, 1)


def test_support_has_a_notice_that_was_sent_sent_once_more(
    app: Flask, hub: Hub, shop: Shop, things: Furnished, order: UUID
) -> None:
    work = shop.to_ship(order, things.location_id, {}, "4001-1", state="ready")
    notice = {"connection_id": things.connection_id, "order_id": order, "recipient": "grace@example.com"}
    notice |= {"occasion": f"ready/{work}", "subject": "Ready to be collected", "state": "sent", "due_at": shop.now}
    email_id = shop.write(t.email, id=new_id(), **notice, sent_at=shop.now, created_at=shop.now)
    sam = support(app, shop)
    page = sam.get(f"/orders/{order}?show=mail")
    assert "Ready to be collected: The customer knows" in words(page) and "Send it again" in words(page)

    form = {"act": "email", "email": str(email_id), "once": once(page.text)}
    assert [sam.post(f"/orders/{order}/again", form, page="/settings").status_code for _ in range(2)] == [303, 303]

    with hub.database.read() as db:
        rows = db.execute(select(t.email.c.state).where(t.email.c.order_id == order)).scalars().all()
    assert sorted(rows) == ["sent", "waiting"]
    said = words(sam.get(f"/orders/{order}?show=people"))
    assert said.count("“Ready to be collected” is sent to the customer once more") == 1 and "sam@tea.example" in said

    # Once it was handed out, nobody is told any more that it lies ready.
    shop.write_to(t.fulfillment_order, work, state="collected")
    assert "Send it again" not in words(sam.get(f"/orders/{order}?show=mail"))


# ---------------------------------------------------------------- what is not known yet


def test_what_an_order_costs_is_not_known_before_its_shop_has_said_so(
    shop: Shop, owner: Browser, things: Furnished
) -> None:
    nothing = {"total_minor": 0, "lines_minor": 0, "shipping_minor": 0, "tax_minor": 0}
    pending = shop.order(things.connection_id, "4020", status="pending", priced=False, paid=False, **nothing)
    shop.line(pending, "1", things.sku_id, unit_price="0.00", total_minor=0, tax_minor=0)
    free = shop.order(things.connection_id, "4021", **nothing)
    shop.line(free, "1", things.sku_id, unit_price="0.00", total_minor=0, tax_minor=0)

    page = words(owner.get(f"/orders/{pending}"))
    assert "Total not known yet" in page and "0.00" not in page
    assert "Total 0.00 EUR" in words(owner.get(f"/orders/{free}")), "what costs nothing says so"
    listed = words(owner.get("/orders?all=1&q=4020"))
    assert "not known yet" in listed and "0.00" not in listed
    assert "0.00 EUR" in words(owner.get("/orders?all=1&q=4021"))
    assert "4020 not known yet" in words(owner.get(f"/orders/{free}/others"))

    wanted = {"order": [str(pending), str(free)], "columns": "all", "what": "lines"}
    text = owner.post("/orders/export", wanted, page="/orders").get_data(as_text=True)
    head, *rows = csv.reader(io.StringIO(text, newline=""))
    money = [head.index(name) for name in ("Total", "Currency", "Unit price", "Line total")]
    found = {row[0]: [row[each] for each in money] for row in rows}
    assert found == {"4020": ["", "", "", ""], "4021": ["0.00", "EUR", "0.00", "0.00"]}


# ---------------------------------------------------------------- again, noted, as it came in


def test_what_failed_is_asked_again_once(hub: Hub, shop: Shop, owner: Browser, things: Furnished, order: UUID) -> None:
    shop.wished(order, things.connection_id, "confirm_shipment", "", "failed", error="No such line.")
    with hub.database.read() as db:
        effect_id = db.execute(select(t.effect.c.id).where(t.effect.c.order_id == order)).scalar_one()
    assert "Tell of the shipment: Refused" in words(owner.get(f"/orders/{order}"))

    form = {"act": "effect", "effect": str(effect_id)}
    assert [owner.post(f"/orders/{order}/again", form, page="/settings").status_code for _ in range(2)] == [303, 303]

    assert [kind for kind, _ in asked(hub, order)] == ["confirm_shipment"] * 2
    assert words(owner.get(f"/orders/{order}")).count("Ask again") == 0


def test_the_shop_is_asked_how_it_stands(hub: Hub, owner: Browser, things: Furnished, order: UUID) -> None:
    assert owner.post(f"/orders/{order}/again", {"act": "fetch"}, page="/settings").status_code == 303

    with hub.database.read() as db:
        assert db.execute(select(t.fetch_request.c.external_id)).scalars().all() == ["x4001"]
    assert owner.post(f"/orders/{order}/again", {"act": "dance"}, page="/settings").status_code == 400


def test_a_note_stands_in_the_timeline(owner: Browser, order: UUID) -> None:
    assert owner.post(f"/orders/{order}/note", {"note": "Call <b>first</b>"}, page="/settings").status_code == 303

    assert "Call <b>first</b>" in words(owner.get(f"/orders/{order}?show=people"))
    assert owner.post(f"/orders/{order}/note", {"note": " "}, page="/settings").status_code == 400


def test_a_record_is_shown_as_it_came_in_without_what_signs_it(
    hub: Hub, shop: Shop, owner: Browser, things: Furnished
) -> None:
    body = json.dumps({"id": 7, "customer": {"name": "Ada", "access_token": "s3cret"}}).encode()
    with hub.database.write() as db:
        db.execute(
            update(t.inbox)
            .where(t.inbox.c.id == things.record_id)
            .values(headers={"x-tea-signature": "abc=", "x-topic": "order.created"})
        )
        packed = hub.keyring.pack(body, inbox._place(shop.merchant_id, things.record_id))
        db.execute(
            t.inbox_body.insert().values(
                merchant_id=shop.merchant_id, inbox_id=things.record_id, body=packed, received_at=shop.now
            )
        )
    page = owner.get(f"/orders/{things.order_id}/records/{things.record_id}")

    assert '"name": "Ada"' in words(page) and "s3cret" not in page.text and "abc=" not in page.text
    assert "order.created" in page.text
    assert owner.get(f"/orders/{things.order_id}/records/{uuid4()}").status_code == 404
    other = shop.order(things.connection_id, "4009")
    assert owner.get(f"/orders/{other}/records/{things.record_id}").status_code == 404


# ---------------------------------------------------------------- the timeline


def test_the_timeline_goes_on_exactly_where_its_page_ends(hub: Hub, shop: Shop, owner: Browser, order: UUID) -> None:
    for number in range(70):  # several of one moment
        row = {"id": new_id(), "kind": "order_note", "summary": f"Note {number:02}.", "actor": "", "details": None}
        shop.write(t.activity, at=shop.now - timedelta(seconds=number // 7), order_id=order, **row)

    for turn in ("", "oldest"):
        seen, path = [], f"/orders/{order}?turn={turn}"
        while path:
            page = owner.get(path).text
            seen += re.findall(r"Note \d\d\.", page)
            older = re.search(r'href="(/orders/[^"]*before=[^"]+)" rel="next"', page)
            path = older[1].replace("&amp;", "&") if older else ""
        assert len(seen) == 70 == len(set(seen)), turn


def test_the_timeline_tells_every_kind_and_can_be_narrowed(owner: Browser, things: Furnished) -> None:
    path = f"/orders/{things.order_id}"
    everything = words(owner.get(path))
    heard = "Tea Street told us of a new order (order.created): read"
    for text in (heard, "Move a part: Refused", "Quantity of Mug 3 → 2", "Allocated: TEA-1, +2 held"):
        assert text in everything, text
    stock = words(owner.get(f"{path}?show=stock"))
    assert "Allocated: TEA-1, +2 held" in stock and heard not in stock
    assert heard in words(owner.get(f"{path}?show=channel"))
    assert owner.get(f"{path}?before=nonsense").status_code == 400


def test_what_else_the_customer_has_ordered(shop: Shop, owner: Browser, things: Furnished, order: UUID) -> None:
    email = "ada@shop.example"
    with shop.hub.database.write() as db:
        db.execute(update(t.sales_order).where(t.sales_order.c.id == order).values(email=email))
    shop.order(things.other_connection_id, "7007", email=email)
    shop.order(things.connection_id, "7008", email="bob@shop.example")

    page = words(owner.get(f"/orders/{order}/others"))

    assert "7007" in page and "7008" not in page
