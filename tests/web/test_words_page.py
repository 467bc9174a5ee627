"""The page on which a merchant says what a shop's words stand for, and the page of what customers ask."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar
from uuid import UUID

import pytest
from sqlalchemy import select, update

from hub.app import create_app
from hub.connector import PersonalDataWanted, Vocabulary
from hub.jobs import Hub
from hub.store import privacy, words
from hub.store import tables as t
from tests.web import client
from tests.web.client import Browser
from tests.web.shop_builder import Furnished, Shop, TeaShop, registry


class WordyTea(TeaShop):
    name = "wordy"
    mappings: ClassVar[Mapping[str, Vocabulary]] = {
        "order_status": Vocabulary(
            label="Order statuses",
            hint="What each of your statuses means.",
            choices={"open": "to be shipped", "held": "held back", "done": "finished"},
            usual={"processing": "open"},
        )
    }


@pytest.fixture
def wordy(hub: Hub, shop: Shop, things: Furnished) -> Hub:
    """The same hub, whose first shop has three statuses."""
    with hub.database.write() as db:
        db.execute(
            update(t.connection)
            .where(t.connection.c.id == things.connection_id)
            .values(
                connector="wordy",
                words={"order_status": {"processing": "Processing", "on/pack": "Packing “A/B”", "old": "Old"}},
            )
        )
        db.execute(update(t.sales_order).values(channel_status="on/pack"))
    return replace(hub, registry=registry(WordyTea))


@pytest.fixture
def ada(wordy: Hub) -> Browser:
    return Browser(create_app(wordy)).sign_in("ada@tea.example")


def asked_for(hub: Hub) -> list[tuple[str, str]]:
    with hub.database.read() as db:
        return [(row.kind, row.external_id) for row in db.execute(select(t.fetch_request))]


def said(hub: Hub, merchant_id: UUID, connection_id: UUID) -> dict[str, dict[str, str]]:
    with hub.database.read() as db:
        return words.mappings(db, merchant_id, connection_id)


def test_each_word_is_shown_with_what_it_usually_stands_for(ada: Browser, things: Furnished) -> None:
    page = ada.get(f"/connections/{things.connection_id}/mappings")

    text = client.words(page)
    assert "Order statuses 2 not mapped What each of your statuses means." in text
    assert "Processing processing As usual: to be shipped to be shipped (usual) held back finished" in text
    assert "Nobody has said yet what it stands for" in text
    here = f"/connections/{things.connection_id}"
    assert f'href="{here}/mappings"' in ada.get(here).text


def test_a_word_that_now_means_something_else_has_its_orders_read_again(
    wordy: Hub, shop: Shop, ada: Browser, things: Furnished
) -> None:
    here = f"/connections/{things.connection_id}/mappings"
    with wordy.database.read() as db:
        orders = db.execute(
            select(t.sales_order.c.external_id).where(t.sales_order.c.connection_id == things.connection_id)
        ).scalars()
        concerned = {("order", each) for each in orders}

    ada.post(here, {"order_status/on/pack": "held", "order_status/processing": "", "order_status/old": ""}, page=here)

    assert said(wordy, shop.merchant_id, things.connection_id) == {"order_status": {"on/pack": "held"}}
    assert set(asked_for(wordy)) == concerned != set()
    assert "“Packing “A/B”” at Tea Street stands for: held back" in client.words(ada.get("/activity"))
    assert (shop.merchant_id, things.connection_id, "fetch") in wordy.doorbell.rung  # type: ignore[attr-defined]
    assert 'value="held" selected' in ada.get(here).text

    with wordy.database.write() as db:
        db.execute(t.fetch_request.delete())
    again = ada.post(here, {"order_status/on/pack": "held"}, page=here)
    assert again.status_code == 303 and asked_for(wordy) == [], "nothing changed"
    ada.post(here, {"order_status/on/pack": ""}, page=here)
    assert said(wordy, shop.merchant_id, things.connection_id) == {}


def test_a_meaning_that_is_none_changes_nothing(wordy: Hub, shop: Shop, ada: Browser, things: Furnished) -> None:
    here = f"/connections/{things.connection_id}/mappings"

    answer = ada.post(here, {"order_status/old": "flown", "order_status/on/pack": "held"}, page=here)

    assert answer.status_code == 400 and "“Old” cannot stand for that." in client.words(answer)
    assert said(wordy, shop.merchant_id, things.connection_id) == {}
    assert ada.post(here, {"other/old": "held", "order_status/new": "held"}, page=here).status_code == 303
    assert said(wordy, shop.merchant_id, things.connection_id) == {}


def test_a_connector_without_such_words_has_nothing_to_ask(owner: Browser, things: Furnished) -> None:
    here = f"/connections/{things.connection_id}/mappings"
    assert "The words of Tea Shop mean the same in every shop." in client.words(owner.get(here))
    assert owner.post(here, {"order_status/x": "held"}, page="/settings").status_code == 404


# ---------------------------------------------------------------- what customers ask


def test_where_nobody_has_asked_the_page_says_when_somebody_will(owner: Browser) -> None:
    assert "Nobody has asked" in client.words(owner.get("/privacy"))


def ask(hub: Hub, shop: Shop, connection_id: UUID, email: str) -> UUID:
    with hub.database.write() as db:
        wish = PersonalDataWanted(reference="9", email=email)
        privacy.hear(db, hub.keyring, shop.merchant_id, connection_id, wish, at=hub.database.now(db))
        mine = select(t.privacy_request.c.id).where(t.privacy_request.c.reference == wish.reference)
        found: UUID = db.execute(mine).scalar_one()
        return found


def test_an_owner_downloads_what_is_kept_and_says_when_the_customer_was_told(
    hub: Hub, shop: Shop, owner: Browser, staff: Browser, things: Furnished
) -> None:
    with hub.database.write() as db:
        db.execute(update(t.sales_order).values(email="grace@buyer.example", customer_name="Grace Buyer"))
    request_id = ask(hub, shop, things.connection_id, "grace@buyer.example")
    here = f"/privacy/{request_id}"
    assert here in owner.get("/issues").text and here in owner.get("/privacy").text

    file = owner.post(f"{here}/download", page=here)

    told: Any = json.loads(file.text)
    assert file.headers["Content-Disposition"].startswith("attachment; filename=")
    assert {each["order"]["customer_name"] for each in told["orders"]} == {"Grace Buyer"}
    assert staff.get(here).status_code == 403 and staff.post(f"{here}/download", page="/settings").status_code == 403
    owner.post(here, page="/settings")
    assert "done" in client.words(owner.get("/privacy"))
    assert owner.post(here, page="/settings").status_code == 409
    assert owner.post(f"{here}/download", page="/settings").status_code == 409
    assert "grace@buyer.example" not in owner.get(here).text
