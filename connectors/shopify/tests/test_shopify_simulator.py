"""The simulated shop keeps Shopify's rules, so that a connector which passes on it has kept them too."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest

from hub.testing import Clock
from hub.testing.simulator import Fault, SimRequest, SimResponse, Simulator
from hub_shopify.simulator import ShopifySimulator
from hub_shopify.simulator_apps import CREDENTIAL_SECONDS

SET = """
mutation ($input: InventorySetQuantitiesInput!, $key: String!) {
  inventorySetQuantities(input: $input) @idempotent(key: $key) {
    inventoryAdjustmentGroup { reason referenceDocumentUri }
    userErrors { code field message }
  }
}
"""


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime(2026, 11, 21, 12, tzinfo=UTC))


@pytest.fixture
def shop(clock: Clock) -> Iterator[ShopifySimulator]:
    with ShopifySimulator(now=clock, webhook_retries=(0.0,) * 8) as simulator:
        yield simulator


def ask(shop: ShopifySimulator, query: str, token: str | None = None, **variables: Any) -> dict[str, Any]:
    """What the shop answers to a document, in process."""
    headers = {"x-shopify-access-token": token or shop.legacy_token}
    body = json.dumps({"query": query, "variables": variables}).encode()
    response = shop.handle(SimRequest("POST", "/admin/api/2026-10/graphql.json", headers=headers, body=body))
    assert response.status == 200
    return dict(response.json())


def grant(shop: ShopifySimulator, **changed: str) -> SimResponse:
    form = {"grant_type": "client_credentials", "client_id": shop.client_id, "client_secret": shop.client_secret}
    body = urlencode({**form, **changed}).encode()
    return shop.handle(SimRequest("POST", "/admin/oauth/access_token", body=body))


def quantity(shop: ShopifySimulator, sku: str, amount: int, expected: int | None) -> dict[str, Any]:
    variant = next(each for each in shop.variants.values() if each.sku == sku)
    (location, *_) = shop.locations
    return {
        "inventoryItemId": f"gid://shopify/InventoryItem/{variant.item_id}",
        "locationId": f"gid://shopify/Location/{location}",
        "quantity": amount,
        "changeFromQuantity": expected,
    }


def write(shop: ShopifySimulator, *quantities: dict[str, Any], key: str = "k1", **changed: Any) -> list[str]:
    """The codes of the user errors a write is answered with."""
    call = {"name": "available", "reason": "correction", "quantities": list(quantities), **changed}
    answer = ask(shop, SET, input=call, key=key)
    return [error["code"] for error in answer["data"]["inventorySetQuantities"]["userErrors"]]


def code(answer: dict[str, Any]) -> str:
    (error,) = answer["errors"]
    return str(error.get("extensions", {}).get("code", error["message"]))


# --- the door


def test_tokens_are_given_for_the_right_keys_and_expire(shop: ShopifySimulator, clock: Clock) -> None:
    given = grant(shop).json()
    assert given["expires_in"] == CREDENTIAL_SECONDS
    assert given["scope"].split(",") == list(shop.scopes)
    assert ask(shop, "{ shop { name } }", given["access_token"])["data"] == {"shop": {"name": "Demo shop"}}
    clock.advance(seconds=CREDENTIAL_SECONDS)
    request = SimRequest(
        "POST", "/admin/api/2026-10/graphql.json", headers={"x-shopify-access-token": given["access_token"]}
    )
    assert shop.handle(request).status == 401
    assert b"Oauth error invalid_client" in grant(shop, client_secret="wrong").body
    assert b"Oauth error application_cannot_be_found" in grant(shop, client_id="wrong").body
    assert grant(shop, grant_type="password").status == 400


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/admin/api/2026-10/graphql.json", {}, 401),
        ("POST", "/admin/api/2026-10/graphql.json", {"x-shopify-access-token": "shpat_wrong"}, 401),
        ("POST", "/admin/api/2026-11/graphql.json", {}, 404),
        ("POST", "/admin/api/graphql.json", {}, 404),
        ("GET", "/admin/api/2026-10/graphql.json", {}, 404),
        ("POST", "/admin/api/2026-10/graphql.json", {"host": "other.myshopify.com"}, 404),
    ],
)
def test_strangers_and_wrong_addresses_are_turned_away(
    shop: ShopifySimulator, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    assert shop.handle(SimRequest(method, path, headers=headers)).status == status


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"variables":{}}', b"17"])
def test_a_body_that_is_no_query_is_a_bad_request(shop: ShopifySimulator, body: bytes) -> None:
    headers = {"x-shopify-access-token": shop.legacy_token}
    assert shop.handle(SimRequest("POST", "/admin/api/2026-10/graphql.json", headers=headers, body=body)).status == 400


# --- queries


def test_any_document_within_the_schema_is_executed(shop: ShopifySimulator) -> None:
    shop.add_product("MUG", "Mug", 7, "8.50")
    shop.buy([("MUG", 2)])
    query = """
      { last: orders(first: 1, sortKey: ID) { nodes { number: name, ...Lines } }
        item: productVariants(first: 3) { nodes { inventoryItem { inventoryLevels(first: 2) { nodes {
          quantities(names: ["on_hand", "available", "committed", "incoming"]) { name quantity } } } } } } }
      fragment Lines on Order { lineItems(first: 1) { nodes { quantity variant { sku product { title } } } } }
    """
    data = ask(shop, query)["data"]
    line = {"quantity": 2, "variant": {"sku": "MUG", "product": {"title": "Mug"}}}
    assert data["last"] == {"nodes": [{"number": "#1001", "lineItems": {"nodes": [line]}}]}
    (item,) = data["item"]["nodes"]
    (level,) = item["inventoryItem"]["inventoryLevels"]["nodes"]
    named = {each["name"]: each["quantity"] for each in level["quantities"]}
    assert named == {"on_hand": 7, "available": 5, "committed": 2}


@pytest.mark.parametrize(
    "query",
    ["{ orders { nodes { id } } }", "{ orders(first: 251) { nodes { id } } }", "{ orders(first: 0) { nodes { id } } }"],
)
def test_pages_have_a_size_of_at_most_250(shop: ShopifySimulator, query: str) -> None:
    assert code(ask(shop, query)) == "BAD_REQUEST"


def test_unknown_fields_and_broken_documents_are_refused(shop: ShopifySimulator) -> None:
    assert "Cannot query field 'qty'" in ask(shop, "{ shop { qty } }")["errors"][0]["message"]
    assert "Syntax Error" in ask(shop, "{ shop {")["errors"][0]["message"]
    assert "errors" in ask(shop, "query ($id: ID!) { order(id: $id) { id } }")


def test_a_query_that_could_cost_more_than_1000_is_refused_whatever_it_finds(shop: ShopifySimulator) -> None:
    nested = "{ orders(first: %d) { nodes { lineItems(first: 50) { nodes { id } } } } }"
    assert code(ask(shop, nested % 19)) == "MAX_COST_EXCEEDED"
    answer = ask(shop, nested % 18)
    assert answer["extensions"]["cost"]["requestedQueryCost"] == 2 + 18 * (1 + 2 + 50)
    assert answer["extensions"]["cost"]["actualQueryCost"] == 2


def test_the_budget_is_spent_by_what_was_found_and_comes_back(clock: Clock) -> None:
    with ShopifySimulator(now=clock, restore_rate=50, bucket=300) as shop:
        page = "{ orders(first: 250) { nodes { id } } }"
        for _ in range(40):
            shop.add_product(f"SKU{_}", "Thing", 1, "1.00")
            shop.buy([(f"SKU{_}", 1)])
        answers = [ask(shop, page) for _ in range(3)]
        assert [answer["extensions"]["cost"]["actualQueryCost"] for answer in answers] == [42, 42, None]
        assert code(answers[2]) == "THROTTLED"
        assert "data" not in answers[2]
        status = answers[2]["extensions"]["cost"]["throttleStatus"]
        assert status == {"maximumAvailable": 300, "currentlyAvailable": 216, "restoreRate": 50}
        clock.advance(seconds=1)
        assert "data" in ask(shop, page)


def test_scopes_decide_what_can_be_read_and_written(shop: ShopifySimulator) -> None:
    shop.add_product("MUG", "Mug", 7, "8.50")
    shop.scopes = ("read_products",)
    assert code(ask(shop, "{ orders(first: 1) { nodes { id } } }")) == "ACCESS_DENIED"
    assert code(ask(shop, "{ locations(first: 1) { nodes { id } } }")) == "ACCESS_DENIED"
    levels = (
        "{ productVariants(first: 1) { nodes { sku inventoryItem { inventoryLevels(first: 1) { nodes { id } } } } } }"
    )
    assert code(ask(shop, levels)) == "ACCESS_DENIED"
    call = {"name": "available", "reason": "correction", "quantities": [quantity(shop, "MUG", 1, 7)]}
    assert code(ask(shop, SET, input=call, key="k")) == "ACCESS_DENIED"
    assert shop.stock() == {"MUG": 7}


# --- writing stock


def test_a_write_happens_once_for_each_key(shop: ShopifySimulator, clock: Clock) -> None:
    shop.add_product("MUG", "Mug", 7, "8.50")
    assert write(shop, quantity(shop, "MUG", 9, 7)) == []
    assert write(shop, quantity(shop, "MUG", 9, 7)) == []  # the same again: the same answer, and nothing done
    assert write(shop, quantity(shop, "MUG", 8, 9)) == ["IDEMPOTENCY_KEY_PARAMETER_MISMATCH"]
    assert write(shop, quantity(shop, "MUG", 9, 7), key="k2") == ["CHANGE_FROM_QUANTITY_STALE"]
    assert [(each.sku, each.quantity) for each in shop.stock_writes] == [("MUG", 9)]
    clock.advance(hours=25)
    assert write(shop, quantity(shop, "MUG", 8, 9)) == []


def test_the_key_and_the_expectation_cannot_be_left_out(shop: ShopifySimulator) -> None:
    shop.add_product("MUG", "Mug", 7, "8.50")
    call = {"name": "available", "reason": "correction", "quantities": [quantity(shop, "MUG", 9, 7)]}
    plain = SET.replace(" @idempotent(key: $key)", "").replace(", $key: String!", "")
    assert "@idempotent" in ask(shop, plain, input=call)["errors"][0]["message"]
    assert "@idempotent" in ask(shop, SET, input=call, key=" ")["errors"][0]["message"]
    del call["quantities"][0]["changeFromQuantity"]
    assert "changeFromQuantity is required" in ask(shop, SET, input=call, key="k")["errors"][0]["message"]
    assert shop.stock() == {"MUG": 7}


def test_one_wrong_quantity_stops_the_whole_call(shop: ShopifySimulator) -> None:
    shop.add_product("MUG", "Mug", 7, "8.50")
    shop.add_product("POT", "Pot", 7, "19.99")
    mug, pot = quantity(shop, "MUG", 9, 7), quantity(shop, "POT", 9, 6)
    call = {"name": "available", "reason": "correction", "quantities": [mug, pot]}
    (error,) = ask(shop, SET, input=call, key="k")["data"]["inventorySetQuantities"]["userErrors"]
    assert (error["code"], error["field"]) == (
        "CHANGE_FROM_QUANTITY_STALE",
        ["input", "quantities", "1", "changeFromQuantity"],
    )
    assert write(shop, mug, mug, key="k2") == ["NO_DUPLICATE_INVENTORY_ITEM_ID_GROUP_ID_PAIR"]
    assert write(shop, mug, key="k3", name="committed") == ["INVALID_NAME"]
    assert write(shop, mug, key="k4", reason="because") == ["INVALID_REASON"]
    assert write(shop, mug, key="k5", referenceDocumentUri="no uri") == ["INVALID_REFERENCE_DOCUMENT"]
    many = {"name": "available", "reason": "correction", "quantities": [mug] * 251}
    assert code(ask(shop, SET, input=many, key="k6")) == "MAX_INPUT_SIZE_EXCEEDED"
    assert shop.stock() == {"MUG": 7, "POT": 7}
    assert shop.stock_writes == []


def test_on_hand_counts_what_orders_hold(shop: ShopifySimulator) -> None:
    shop.add_product("MUG", "Mug", 7, "8.50")
    shop.buy([("MUG", 2)])
    assert write(shop, quantity(shop, "MUG", 10, 7), name="on_hand") == []
    assert shop.stock() == {"MUG": 8}


# --- customers and staff


def test_a_checkout_is_all_or_nothing(shop: ShopifySimulator) -> None:
    shop.add_product("MUG", "Mug", 2, "8.50")
    shop.add_product("POT", "Pot", 1, "19.99")
    assert shop.buy([("MUG", 1), ("POT", 1), ("POT", 1)]) is None
    assert shop.stock() == {"MUG": 2, "POT": 1}
    sale = shop.buy([("MUG", 2), ("POT", 1)])
    assert sale is not None
    assert shop.orders() == {sale.order_external_id}
    assert shop.buy([("MUG", 1)]) is None
    shop.cancel(sale.order_external_id)
    assert shop.stock() == {"MUG": 2, "POT": 1}


def test_the_last_unit_is_sold_once(shop: ShopifySimulator) -> None:
    shop.add_product("MUG", "Mug", 10, "8.50")
    sold: list[object] = []
    buyers = [threading.Thread(target=lambda: sold.append(shop.buy([("MUG", 1)]))) for _ in range(25)]
    for buyer in buyers:
        buyer.start()
    for buyer in buyers:
        buyer.join()
    assert sum(sale is not None for sale in sold) == len(shop.orders()) == 10
    assert shop.stock() == {"MUG": 0}


# --- webhooks


class Receiver(Simulator):
    """An address that answers every webhook with ``status``."""

    origin = "http://hub.example"
    status = 200

    def answer(self, request: SimRequest) -> SimResponse:
        return SimResponse(self.status)


@pytest.fixture
def hub() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def subscribe(shop: ShopifySimulator, topic: str, address: str) -> list[str]:
    mutation = """
      mutation ($topic: WebhookSubscriptionTopic!, $uri: String!) {
        webhookSubscriptionCreate(topic: $topic, webhookSubscription: {uri: $uri, name: "tallyhub"}) {
          userErrors { message } } }
    """
    answer = ask(shop, mutation, topic=topic, uri=address)
    return [error["message"] for error in answer["data"]["webhookSubscriptionCreate"]["userErrors"]]


def test_a_webhook_carries_all_of_shopifys_headers(shop: ShopifySimulator, hub: Receiver) -> None:
    address = f"{hub.serve()}/hook"
    assert subscribe(shop, "ORDERS_CREATE", address) == []
    assert subscribe(shop, "ORDERS_CREATE", f"{address}/2") == []
    assert subscribe(shop, "ORDERS_CREATE", address) == ["Address for this topic has already been taken"]
    assert subscribe(shop, "ORDERS_CREATE", "http://shop.example") == ["Address is invalid"]
    shop.add_product("MUG", "Mug", 2, "8.50")
    shop.buy([("MUG", 1)])
    assert shop.wait_for_deliveries()
    first, second = hub.requests
    assert first.headers["x-shopify-event-id"] == second.headers["x-shopify-event-id"]
    assert first.headers["x-shopify-webhook-id"] != second.headers["x-shopify-webhook-id"]
    assert first.headers["x-shopify-topic"] == "orders/create"
    assert first.headers["x-shopify-shop-domain"] == shop.domain
    assert first.headers["x-shopify-api-version"] == "2026-10"
    assert first.headers["x-shopify-triggered-at"] == "2026-11-21T12:00:00+00:00"
    assert first.headers["x-shopify-name"] == "tallyhub"
    assert len(first.headers["x-shopify-hmac-sha256"]) == 44
    assert first.body == second.body


def test_a_subscription_is_gone_after_eight_further_failures(shop: ShopifySimulator, hub: Receiver) -> None:
    subscribe(shop, "ORDERS_CREATE", f"{hub.serve()}/hook")
    subscribe(shop, "ORDERS_DELETE", f"{hub.serve()}/hook")
    shop.add_product("MUG", "Mug", 2, "8.50")
    hub.status = 500
    shop.buy([("MUG", 1)])
    assert shop.wait_for_deliveries()
    assert len(hub.requests) == 9
    assert len({request.headers["x-shopify-webhook-id"] for request in hub.requests}) == 1
    assert [each.topic for each in shop.subscriptions.values()] == ["ORDERS_DELETE"]


def test_a_subscription_survives_failures_that_pass(shop: ShopifySimulator, hub: Receiver) -> None:
    subscribe(shop, "ORDERS_CREATE", f"{hub.serve()}/hook")
    shop.add_product("MUG", "Mug", 2, "8.50")
    for _ in range(8):
        hub.fail_next("/hook", Fault.status(503))
    shop.buy([("MUG", 1)])
    assert shop.wait_for_deliveries()
    assert [attempt.status for attempt in shop.attempts] == [503] * 8 + [200]
    assert len(shop.subscriptions) == 1


def test_a_subscription_can_be_deleted(shop: ShopifySimulator, hub: Receiver) -> None:
    subscribe(shop, "ORDERS_CREATE", f"{hub.serve()}/hook")
    (id,) = shop.subscriptions
    delete = "mutation ($id: ID!) { webhookSubscriptionDelete(id: $id) { userErrors { message } } }"
    gid = f"gid://shopify/WebhookSubscription/{id}"
    assert ask(shop, delete, id=gid)["data"]["webhookSubscriptionDelete"]["userErrors"] == []
    assert len(ask(shop, delete, id=gid)["data"]["webhookSubscriptionDelete"]["userErrors"]) == 1
    assert shop.subscriptions == {}
