"""The app is removed, its scopes change, people want their data: what one address hears about every shop of an app."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from hub.connector import Disconnected, Fact, PersonalDataErased, PersonalDataWanted, RawRecord, Webhook
from hub.errors import Unreadable, Unverified
from hub.testing.context import connector_for
from hub_shopify.authorization import SCOPES
from hub_shopify.connector import ShopifyConnector
from hub_shopify.simulator import ShopifySimulator

ADDRESS = "https://hub.example/webhooks/m1/c1"
COMPLIANCE = "https://hub.example/apps/shopify"


@pytest.fixture
def shop() -> Iterator[ShopifySimulator]:
    with ShopifySimulator() as simulator:
        simulator.compliance_address = COMPLIANCE
        simulator.hold_webhooks()
        yield simulator


@pytest.fixture
def connector(shop: ShopifySimulator) -> ShopifyConnector:
    found = connector_for(ShopifyConnector, shop)
    found.subscribe_webhooks({"address": ADDRESS}, "key")
    return found


def letters(shop: ShopifySimulator) -> list[tuple[str, Webhook]]:
    """(address, webhook) of what was sent since this was last asked for."""
    return [
        (letter.address, Webhook({name.lower(): value for name, value in letter.headers.items()}, letter.body))
        for letter in shop.take_webhooks()
    ]


def facts(connector: ShopifyConnector, shop: ShopifySimulator) -> Mapping[str, list[Fact]]:
    """What was sent, verified and read, by the address it was sent to."""
    said: dict[str, list[Fact]] = {}
    for address, webhook in letters(shop):
        delivery = connector.verify(webhook)
        assert delivery is not None
        record = RawRecord(delivery.topic, "", webhook.body, headers=webhook.headers)
        said.setdefault(address, []).extend(connector.read_webhook(record))
    return said


def read(connector: ShopifyConnector, topic: str, body: Any) -> list[Fact]:
    return list(connector.read_webhook(RawRecord(topic, "", json.dumps(body).encode())))


# --- the app


def test_a_removed_app_disconnects_its_shop(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    shop.uninstall()
    ((address, said),) = facts(connector, shop).items()
    assert address == ADDRESS
    (removed,) = said
    assert isinstance(removed, Disconnected) and removed.at is not None
    assert said == [
        Disconnected(
            "The app was removed from the shop in Shopify, which ends the hub's access. Install it again and reconnect "
            "the shop, or remove this connection.",
            removed.at,
        )
    ]
    assert shop.subscriptions == {}


@pytest.mark.parametrize(
    ("told", "at"),
    [
        ("2026-03-02T11:00:00.123456789Z", datetime(2026, 3, 2, 11, 0, 0, 123456, UTC)),
        ("2026-03-02T12:00:00+01:00", datetime(2026, 3, 2, 11, tzinfo=UTC)),
        ("2026-03-02T12:00:00", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_a_removal_says_when_it_was_however_late_it_comes(
    connector: ShopifyConnector, told: str, at: datetime | None
) -> None:
    removed = RawRecord("app/uninstalled", "", b'{"id": 7}', headers={"x-shopify-triggered-at": told})
    ((said),) = connector.read_webhook(removed)
    assert isinstance(said, Disconnected) and said.at == at


def test_a_scope_that_is_taken_away_disconnects_and_is_named(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    shop.accept_scopes([scope for scope in SCOPES if scope != "write_inventory"])
    ((said,),) = facts(connector, shop).values()
    assert isinstance(said, Disconnected)
    assert said.message.startswith(
        "The app may not do all that is needed. Missing: write_inventory (to read and publish stock). Add what"
    )


def test_scopes_that_are_enough_change_nothing(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    shop.accept_scopes([*SCOPES, "read_all_orders"])
    assert facts(connector, shop) == {ADDRESS: []}


# --- people's data


def test_a_customer_wants_to_see_their_data(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    wish = shop.ask_for_data(["450789469", "7"], "ada@example.com")
    wanted = PersonalDataWanted(reference=str(wish), order_external_ids=("450789469", "7"), email="ada@example.com")
    assert facts(connector, shop) == {COMPLIANCE: [wanted]}


def test_a_customer_wants_to_be_forgotten(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    shop.erase_customer(["450789469"], "ada@example.com")
    ((address, (erased,)),) = facts(connector, shop).items()
    assert address == COMPLIANCE
    assert isinstance(erased, PersonalDataErased)
    assert (erased.order_external_ids, erased.email, erased.everything) == (("450789469",), "ada@example.com", False)
    assert "191167" not in erased.reference  # it is kept, and does not name the customer


def test_everything_of_a_shop_is_to_be_forgotten_after_its_app_was_removed(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    shop.uninstall()
    shop.erase_shop()
    (erased,) = facts(connector, shop)[COMPLIANCE]
    assert isinstance(erased, PersonalDataErased)
    assert (erased.order_external_ids, erased.email, erased.everything) == ((), "", True)


def test_a_wish_that_comes_a_second_time_is_another_wish_and_one_that_is_sent_twice_is_not(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    for _ in range(2):
        shop.erase_customer(["450789469"], "ada@example.com")
        shop.erase_shop()
    records = [
        RawRecord(each.headers["x-shopify-topic"], "", each.body, headers=each.headers) for _, each in letters(shop)
    ]
    once, twice = ([fact for each in records for fact in connector.read_webhook(each)] for _ in range(2))
    assert once == twice
    assert len({fact.reference for fact in once if isinstance(fact, PersonalDataErased)}) == 4


def test_a_customer_without_email_or_orders_is_known_by_what_there_is(connector: ShopifyConnector) -> None:
    customer = {"id": 191167, "email": None, "phone": None}
    wanted = {"customer": customer, "orders_requested": None, "data_request": {"id": 9999}}
    assert read(connector, "customers/data_request", wanted) == [PersonalDataWanted(reference="9999")]
    (erased,) = read(connector, "customers/redact", {"customer": {"email": "ada@example.com"}})
    assert isinstance(erased, PersonalDataErased)
    assert (erased.order_external_ids, erased.email) == ((), "ada@example.com")
    assert len(erased.reference) == 64  # without a number of the event it goes by what was said


@pytest.mark.parametrize("topic", ["customers/data_request", "customers/redact", "shop/redact"])
@pytest.mark.parametrize("body", [{}, {"customer": 7}, {"shop_id": {}}, {"customer": {}, "orders_requested": "all"}])
def test_a_wish_that_makes_no_sense_is_set_aside(connector: ShopifyConnector, topic: str, body: Any) -> None:
    if topic == "customers/redact" and "orders_requested" in body:
        body = {"customer": {}, "orders_to_redact": "all"}
    with pytest.raises(Unreadable):
        read(connector, topic, body)


# --- one address for every shop


def test_the_shop_is_found_by_its_header(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    shop.erase_shop()
    ((_, webhook),) = letters(shop)
    assert ShopifyConnector.webhook_account(webhook) == {"shop": "demo-shop.myshopify.com"}
    shouted = Webhook({**webhook.headers, "x-shopify-shop-domain": " Demo-Shop.myshopify.com "}, webhook.body)
    assert ShopifyConnector.webhook_account(shouted) == {"shop": "demo-shop.myshopify.com"}


@pytest.mark.parametrize(
    "said", [None, "", "demo-shop", "evil.example", "demo-shop.myshopify.com.evil.example", "a.b.myshopify.com",
             "demo-shop.myshopify.com, other.myshopify.com", "ｄemo-shop.myshopify.com", "x" * 200 + ".myshopify.com"]
)  # fmt: skip
def test_what_is_no_shop_is_not_looked_for(said: str | None) -> None:
    headers = {"x-shopify-shop-domain": said} if said is not None else {}
    assert ShopifyConnector.webhook_account(Webhook(headers, b"{}")) is None


def test_a_wish_in_the_name_of_another_shop_is_refused(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    shop.erase_shop()
    ((_, webhook),) = letters(shop)
    forged = {**webhook.headers, "x-shopify-shop-domain": "other-shop.myshopify.com"}
    with pytest.raises(Unverified, match="about another shop"):
        connector.verify(Webhook(forged, webhook.body))
    with pytest.raises(Unverified, match="signature does not fit"):
        connector.verify(Webhook(webhook.headers, webhook.body + b" "))
    assert connector.verify(webhook) is not None


def test_two_wishes_are_never_taken_for_copies(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    shop.erase_customer(["1"])
    shop.erase_customer(["1"])
    keys = [delivery.dedupe_key for _, webhook in letters(shop) if (delivery := connector.verify(webhook))]
    assert len(set(keys)) == 2
