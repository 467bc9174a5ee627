"""A Shopify app in a hub at work: installed with one click, renewed, removed, installed again, asked about its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import pytest
from sqlalchemy import update

from hub.connector import AuthorizationAnswer, AuthorizationRequest
from hub.store import connections
from hub.store import tables as t
from hub_shopify.connector import ShopifyConnector
from hub_shopify.settings import AppSettings, ShopifySettings
from hub_shopify.simulator import ShopifySimulator
from tests.town import OWNER, Town

PUBLIC = "https://hub.example"
REQUEST = AuthorizationRequest("made-once", f"{PUBLIC}/connect/return/shopify", f"{PUBLIC}/connect/callback")


@pytest.fixture
def public_town(hub_town: Town) -> Town:
    """A town whose hub can be reached from outside."""
    hub_town.hub = replace(hub_town.hub, settings=replace(hub_town.hub.settings, public_url=PUBLIC))
    return hub_town


def installed(shop: ShopifySimulator) -> dict[str, Any]:
    """What the connection's settings are made of once the merchant has installed the app."""
    typed: Mapping[str, Any] = AppSettings().load(shop.settings())
    back = shop.install(ShopifyConnector.authorization_url(typed, REQUEST))
    answer = AuthorizationAnswer(REQUEST.state, dict(parse_qsl(urlsplit(back).query)), b"", by_browser=True)
    given = ShopifyConnector.read_authorization(typed, answer)
    assert given is not None
    return dict(given)


def grants(shop: ShopifySimulator) -> list[str]:
    """By what tokens were asked for, in order."""
    forms = [dict(parse_qsl(each.body.decode())) for each in shop.requests if each.path == "/admin/oauth/access_token"]
    return [each.get("grant_type", "code") for each in forms]


def an_hour_passes(town: Town, shop: ShopifySimulator) -> None:
    """The tokens that were given have expired, here and there."""
    shop.revoke_tokens()
    with town.hub.database.write() as connection:
        connection.execute(update(t.connection_token).values(expires_at=datetime.now(UTC) - timedelta(seconds=1)))


def state(town: Town, place: UUID) -> str:
    text: str = town.row(t.connection, t.connection.c.id == place).state
    return text


def test_a_code_is_exchanged_once_and_its_tokens_are_renewed_by_whoever_needs_one(public_town: Town) -> None:
    shop = ShopifySimulator()
    shop.hold_webhooks()
    shop.add_product("MUG", "Mug", 5, "8.00")
    place = public_town.connect(ShopifyConnector, shop, installed(shop))
    assert grants(shop) == ["code"]

    for _ in range(2):
        an_hour_passes(public_town, shop)
        shop.buy([("MUG", 1)])
        public_town.poll(place)

    assert grants(shop) == ["code", "refresh_token", "refresh_token"]
    assert {row.external_id for row in public_town.rows(t.sales_order)} == shop.orders()
    assert state(public_town, place) == "connected"
    assert "reconnect" not in public_town.issues()


def test_a_removed_app_pauses_its_connection_until_it_is_installed_again(public_town: Town) -> None:
    shop = ShopifySimulator()
    shop.hold_webhooks()
    place = public_town.connect(ShopifyConnector, shop, installed(shop))
    shop.take_webhooks()

    shop.uninstall()
    (letter,) = shop.take_webhooks()
    assert public_town.hear(letter) == 200
    public_town.work()
    assert state(public_town, place) == "paused"
    assert public_town.issues() == ["reconnect"]

    town, settings = public_town.hub, ShopifySettings().load(installed(shop))
    connections.reconnect(town.database, town.keyring, public_town.merchant, place, ShopifyConnector, settings, OWNER)
    public_town.work()
    assert (state(public_town, place), public_town.issues()) == ("connected", [])
    assert len(shop.subscriptions) > 30  # they went with the app, and are there again
    assert grants(shop) == ["code", "code"]


def test_a_shop_is_forgotten_after_its_connection_was_removed_and_at_nobody_elses_word(public_town: Town) -> None:
    shop = ShopifySimulator()
    shop.hold_webhooks()
    shop.compliance_address = f"{PUBLIC}/webhooks/{public_town.merchant}/apps/shopify"
    place = public_town.connect(ShopifyConnector, shop, installed(shop))
    town = public_town.hub
    connections.remove(
        town.database, public_town.merchant, place, OWNER, keyring=town.keyring, connector=ShopifyConnector
    )
    public_town.work()
    shop.uninstall()
    shop.take_webhooks()

    shop.erase_shop()
    (letter,) = shop.take_webhooks()
    assert public_town.hear(replace(letter, body=letter.body + b" ")) == 401
    assert public_town.count(t.privacy_request) == 0
    assert public_town.hear(letter) == 200
    public_town.work()
    wish = public_town.row(t.privacy_request)
    assert (wish.kind, wish.everything, wish.connection_id) == ("erased", True, place)
