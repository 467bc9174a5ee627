"""Asking a carrier about an address on the page of an order: one press to ask, one to take over what it suggests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar
from uuid import UUID

import pytest
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from hub.connector import CarrierCapabilities
from hub.core.model import Address
from hub.core.plain import to_plain
from hub.core.shipping import AddressState, AddressVerdict
from hub.jobs import Hub
from hub.store import address_checks
from hub.store import tables as t
from hub.store.database import new_id
from tests.store.post_office import YORK, PostOffice
from tests.web.client import Browser, words
from tests.web.shop_builder import Shop

BETTER = replace(YORK, line1="7 MILL LN")
SUGGESTED = "Ada Byron, 7 MILL LN, York, YO1 7HH, GB"


class Knowing(PostOffice):
    """Knows every street."""

    capabilities: ClassVar[CarrierCapabilities] = CarrierCapabilities(validates_addresses=True)


@dataclass
class Desk:
    """An order to York on a page, and an account at a carrier that knows every street."""

    hub: Hub
    shop: Shop
    order_id: UUID
    carrier_id: UUID
    rings: list[tuple[UUID, str]]

    @property
    def path(self) -> str:
        return f"/orders/{self.order_id}"

    def act(self, browser: Browser, name: str, **form: str) -> TestResponse:
        return browser.post(f"{self.path}/handling", {"act": name} | form, page="/settings")

    def ask(self, browser: Browser) -> TestResponse:
        return self.act(browser, "ask_carrier", carrier=str(self.carrier_id))

    def answer(self, state: AddressState, *candidates: Address, **more: Any) -> None:
        """The worker has heard what the carrier thinks."""
        verdict = AddressVerdict(state=state, candidates=candidates, **more)
        with self.hub.database.write() as db:
            at = self.hub.database.now(db)
            asked = address_checks.next_to_ask(db, self.shop.merchant_id, self.carrier_id, at)
            assert asked is not None
            address_checks.answered(db, asked, verdict, at=at)

    def order(self) -> Any:
        with self.hub.database.read() as db:
            return db.execute(select(t.sales_order).where(t.sales_order.c.id == self.order_id)).one()


@pytest.fixture
def desk(hub: Hub, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Desk:
    hub.registry.connectors["post"] = Knowing  # type: ignore[index]
    order_id = shop.order(shop.connection(), "1001", shipping_address=to_plain(YORK))
    carrier_id = new_id()
    row = {"connector": "post", "label": "Post", "state": "connected", "settings": {}, "created_at": shop.now}
    shop.write(t.connection, id=carrier_id, **row)
    rings: list[tuple[UUID, str]] = []

    def ring(merchant_id: UUID, connection_id: UUID, lane: str) -> None:
        rings.append((connection_id, lane))

    monkeypatch.setattr(hub.doorbell, "ring", ring)
    return Desk(hub, shop, order_id, carrier_id, rings)


def test_a_worker_is_rung_for_and_the_page_waits_for_the_answer(desk: Desk, staff: Browser) -> None:
    assert "Ask the carrier (Post) whether the address is right" in words(staff.get(f"{desk.path}/handling"))

    assert desk.ask(staff).status_code == 303

    assert desk.rings == [(desk.carrier_id, "fetch")]
    page = staff.get(desk.path)
    assert "Post is asked whether the address is right" in words(page)
    assert 'hx-select="#address-check" hx-trigger="every 2s"' in page.text
    assert "Ask the carrier" not in words(page), "it is being asked"
    desk.answer(AddressState.VALID, residential=True)
    page = staff.get(desk.path)
    assert "Post delivers to this address, a home" in words(page) and "asked by joan@tea.example" in words(page)
    assert "every 2s" not in page.text
    assert "Ask the carrier" in words(staff.get(f"{desk.path}/handling")), "it can be asked anew"


def test_a_suggestion_is_taken_over_with_one_press(desk: Desk, staff: Browser) -> None:
    desk.ask(staff)
    desk.answer(AddressState.CORRECTED, BETTER, messages=("The street is written so.",))
    for path in (desk.path, f"{desk.path}/handling"):
        page = words(staff.get(path))
        assert "Post delivers there if it is written otherwise The street is written so." in page
        assert f"{SUGGESTED} Use this" in page

    assert desk.act(staff, "take_suggestion", suggestion=SUGGESTED).status_code == 303

    assert desk.order().own_address == to_plain(BETTER)
    page = words(staff.get(desk.path))
    assert "Written as Post has it" in page and "Use this" not in page
    again = desk.act(staff, "take_suggestion", suggestion=SUGGESTED)
    assert (again.status_code, "changed meanwhile" in words(again)) == (409, True)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (AddressState.AMBIGUOUS, "Post takes it for one of several"),
        (AddressState.INVALID, "Post knows no such address. Ask the customer, then correct it."),
    ],
)
def test_whatever_the_carrier_thinks_is_said_in_words(
    desk: Desk, staff: Browser, state: AddressState, said: str
) -> None:
    desk.ask(staff)
    desk.answer(state, BETTER, YORK)

    page = words(staff.get(desk.path))

    assert said in page
    assert page.count("Use this") == (2 if state is AddressState.AMBIGUOUS else 0)


def test_a_verdict_on_another_address_is_said_to_be_one(desk: Desk, staff: Browser) -> None:
    desk.ask(staff)
    desk.answer(AddressState.CORRECTED, BETTER)
    elsewhere = to_plain(replace(YORK, line1="1 Church Street"))
    staff.post(f"{desk.path}/handling", {"act": "address"} | elsewhere, page="/settings")

    page = words(staff.get(desk.path))

    assert "Post was asked about another address: it has been changed since" in page and "Use this" not in page


def test_why_there_is_no_verdict_is_said(desk: Desk, staff: Browser) -> None:
    desk.ask(staff)
    with desk.hub.database.write() as db:
        db.execute(update(t.connection).where(t.connection.c.id == desk.carrier_id).values(state="paused"))

    assert "Post did not check the address: Post is paused: it is not asked." in words(staff.get(desk.path))


def test_nobody_is_offered_who_does_not_check_addresses_or_is_not_connected(desk: Desk, staff: Browser) -> None:
    desk.hub.registry.connectors["post"] = PostOffice  # type: ignore[index]
    assert "Ask the carrier" not in words(staff.get(desk.path))
    refused = desk.ask(staff)
    assert (refused.status_code, desk.rings) == (409, [])

    desk.hub.registry.connectors["post"] = Knowing  # type: ignore[index]
    desk.shop.write_to(t.connection, desk.carrier_id, state="removed")
    assert "Ask the carrier" not in words(staff.get(f"{desk.path}/handling"))
    assert desk.ask(staff).status_code == 409


def test_the_carrier_is_chosen_where_there_are_several(desk: Desk, staff: Browser) -> None:
    row = {"connector": "post", "label": "Other post", "state": "connected", "settings": {}}
    desk.shop.write(t.connection, id=new_id(), created_at=desk.shop.now, **row)

    page = staff.get(f"{desk.path}/handling").text

    assert '<select class="form-select" id="address-carrier" name="carrier">' in page
    assert f'<option value="{desk.carrier_id}">Post</option>' in page and ">Other post</option>" in page


def test_another_merchants_order_and_carrier_are_out_of_reach(desk: Desk, staff: Browser) -> None:
    elsewhere = desk.act(staff, "ask_carrier", carrier=str(new_id()))
    assert (elsewhere.status_code, desk.rings) == (409, [])
    path = f"/orders/{new_id()}/handling"
    form = {"act": "ask_carrier", "carrier": str(desk.carrier_id)}
    assert staff.post(path, form, page="/settings").status_code == 404
    assert desk.act(staff, "take_suggestion", suggestion=SUGGESTED).status_code == 409
