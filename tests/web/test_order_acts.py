"""What can be done with a whole order from its page: money back, cancelled, asked again, noted; and its timeline."""

from __future__ import annotations

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
    for text in ("order.created: Read", "Move a part: Refused", "Quantity of Mug 3 → 2", "Allocated: TEA-1, +2 held"):
        assert text in everything, text
    stock = words(owner.get(f"{path}?show=stock"))
    assert "Allocated: TEA-1, +2 held" in stock and "order.created: Read" not in stock
    assert "order.created: Read" in words(owner.get(f"{path}?show=channel"))
    assert owner.get(f"{path}?before=nonsense").status_code == 400


def test_what_else_the_customer_has_ordered(shop: Shop, owner: Browser, things: Furnished, order: UUID) -> None:
    email = "ada@shop.example"
    with shop.hub.database.write() as db:
        db.execute(update(t.sales_order).where(t.sales_order.c.id == order).values(email=email))
    shop.order(things.other_connection_id, "7007", email=email)
    shop.order(things.connection_id, "7008", email="bob@shop.example")

    page = words(owner.get(f"/orders/{order}/others"))

    assert "7007" in page and "7008" not in page
