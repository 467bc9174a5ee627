"""The page of a 3PL: what is with it, stock theirs and ours, names, places, and what a person can do there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from hub.app import create_app
from hub.core.shipping import ProviderState
from hub.jobs import Hub
from hub.plugins import Registry
from hub.store import tables as t
from hub.store.fulfillment import State
from tests.store.keeper import Keeper, KeeperConnector, lots
from tests.store.warehouse import Warehouse
from tests.web import client
from tests.web.client import Browser
from tests.web.shop_builder import Shop


@pytest.fixture
def keeper(hub: Hub, shop: Shop) -> Iterator[Keeper]:
    return Keeper(Warehouse(hub.database, hub.keyring, shop.merchant_id), mug=10, tee=4)


@pytest.fixture
def ada(hub: Hub, keeper: Keeper) -> Browser:
    known = Registry({**hub.registry.connectors, KeeperConnector.name: KeeperConnector})
    return Browser(create_app(replace(hub, registry=known))).sign_in("ada@tea.example")


def warehouse(keeper: Keeper) -> str:
    return f"/connections/{keeper.id}/warehouse"


def test_what_is_with_it_is_shown_with_its_state_and_what_it_said(ada: Browser, keeper: Keeper) -> None:
    keeper.sell(("mug", 2))
    keeper.send()
    keeper.tell(ProviderState.ON_HOLD, message="Which mug?")
    keeper.warehouse.let_pass(t.fulfillment_order, "created_at", timedelta(0))
    with keeper.database.write() as connection:
        connection.execute(t.fulfillment_order.update().values(ship_by=keeper.minute(0)))

    page = client.words(ada.get(warehouse(keeper)))

    for said in (keeper.reference, "0 of 2", "Which mug?", "On hold there", "Should have left", "Take back"):
        assert said in page
    assert "Asked to ship 1 order Shipped 0" in page


def test_stock_is_shown_theirs_beside_ours_with_the_difference(ada: Browser, keeper: Keeper) -> None:
    keeper.sell(("mug", 10))
    keeper.send()
    keeper.count("MUG", 7, 5, minute=10, lots=lots(("L-42", 7)))

    page = client.words(ada.get(warehouse(keeper)))

    assert "MUG 1 lot L-42: 7 MUG Leeds 7 5 10 10 0 3" in page
    assert "TEE TEE Leeds 4 4 4 0 0 0" in page


def test_what_is_on_the_way_there_and_promised_to_others_is_shown_with_when_it_was_counted(
    ada: Browser, keeper: Keeper
) -> None:
    keeper.count("MUG", 12, 9, minute=10, inbound=40, reserved=3)
    keeper.count("TEE", 4, minute=10, inbound=0)

    page = client.words(ada.get(warehouse(keeper)))
    assert "12 3 promised to others 40 more on the way there" in page

    lies = client.words(ada.get(f"/stock/{keeper.skus['mug']}"))
    assert "ago : 12 there, 3 of them promised to others, 40 more on the way there" in lies
    tees = client.words(ada.get(f"/stock/{keeper.skus['tee']}"))
    assert "ago : 4 there, 0 more on the way there" in tees and "promised to others" not in tees


def test_a_name_is_suggested_and_matched(ada: Browser, keeper: Keeper) -> None:
    keeper.skus["tray"] = keeper.warehouse.sku("TRAY-L")
    keeper.count("TRAY_L", 6, minute=10)
    page = ada.get(warehouse(keeper))
    assert 'value="TRAY-L"' in page.text and "Suggested, as it reads alike" in page.text

    form = {"name": "TRAY_L", "code": "TRAY-L"}
    answer = ada.post(f"{warehouse(keeper)}/items", form, page=warehouse(keeper))

    assert answer.status_code == 303
    assert keeper.there("tray") == (6, 0, 0)
    wrong = ada.post(f"{warehouse(keeper)}/items", {"name": "X", "code": "NOPE"}, page=warehouse(keeper))
    assert (wrong.status_code, "There is no such SKU." in wrong.text) == (422, True)


def test_an_order_is_taken_back_and_what_was_rejected_sent_again(ada: Browser, keeper: Keeper) -> None:
    keeper.sell(("mug", 2))
    keeper.send()
    work: UUID = keeper.work()[0].id
    back = {"back": warehouse(keeper)}
    answer = ada.post(f"/fulfillment/{work}/take-back", back, page=warehouse(keeper))
    assert (answer.status_code, answer.headers["Location"]) == (303, warehouse(keeper))
    assert keeper.states == [State.CANCELLING]
    keeper.send()
    assert keeper.states == [State.REJECTED]

    answer = ada.post(f"/fulfillment/{work}/send-again", back, page=warehouse(keeper))

    assert (answer.status_code, keeper.states) == (303, [State.CANCELLED])
    again = ada.post(f"/fulfillment/{work}/send-again", back, page=warehouse(keeper))
    assert again.status_code == 409


def test_a_place_is_bound_to_another_location_of_a_3pl(ada: Browser, keeper: Keeper) -> None:
    own = str(keeper.warehouse.location())
    form = {"external_id": "leeds", "location_id": own}
    refused = ada.post(f"{warehouse(keeper)}/places", form, page=warehouse(keeper))
    assert (refused.status_code, "a place of your own" in refused.text) == (409, True)

    form["location_id"] = ""
    assert ada.post(f"{warehouse(keeper)}/places", form, page=warehouse(keeper)).status_code == 303
    assert keeper.places() == [None]


def test_the_connection_leads_there_and_a_shop_has_no_such_page(ada: Browser, keeper: Keeper) -> None:
    assert warehouse(keeper) in ada.get(f"/connections/{keeper.id}").text
    page = client.words(ada.get(f"/connections/{keeper.channel}/warehouse"))
    assert "This is no 3PL" in page


def test_how_it_does_is_told_from_what_is_stored(ada: Browser, keeper: Keeper) -> None:
    keeper.sell(("mug", 2))
    keeper.send()
    keeper.warehouse.let_pass(t.fulfillment_order, "requested_at", timedelta(hours=5))
    keeper.ship(("MUG", 2), minute=10)
    keeper.sell(("mug", 1))
    keeper.send()
    keeper.tell(ProviderState.REJECTED, message="No.")

    page = client.words(ada.get(warehouse(keeper)))

    assert "Asked to ship 2 orders Shipped 1, half of them within 5 h of being asked" in page
    assert "Rejected 1 Late 0" in page
