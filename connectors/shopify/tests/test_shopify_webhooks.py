"""Webhooks: who sent them, which are copies, what they say, and that odd ones hurt nothing."""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import json
import os
import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hub.connector import Fact, ListingRemoved, OrderRemoved, RawRecord, Refetch, StockSeen, Subscriptions, Webhook
from hub.core.model import Listing, Money, Order, OrderStatus
from hub.errors import NotFound, Rejected, Unreadable, Unverified
from hub.http import RefusingClient
from hub.testing.context import MemoryTokenVault, connector_for, context_for
from hub.testing.simulator import DeliveryFault, Fault, SimRequest, SimResponse, Simulator
from hub_shopify.connector import ShopifyConnector
from hub_shopify.simulator import ShopifySimulator
from hub_shopify.simulator_model import Assessment, Subscription
from hub_shopify.webhooks import READERS, TOPICS

REPOSITORY = Path(__file__).parents[3]
FIXTURES = Path(os.environ.get("TALLYHUB_FIXTURES") or REPOSITORY.parent / "shared" / "fixtures") / "shopify"

SHOP = "my-shop.myshopify.com"
SECRET = "shpss_secret"


def usd(amount: str) -> Money:
    return Money(Decimal(amount), "USD")


def sign(body: bytes, secret: str = SECRET) -> str:
    return base64.b64encode(hmac.digest(secret.encode(), body, hashlib.sha256)).decode()


def webhook(body: bytes, topic: str = "orders/create", **changed: str | None) -> Webhook:
    """A webhook as Shopify sends it; a header changed to None is missing."""
    headers = {
        "x-shopify-hmac-sha256": sign(body),
        "x-shopify-shop-domain": SHOP,
        "x-shopify-topic": topic,
        "x-shopify-event-id": "e1",
        "x-shopify-webhook-id": "w1",
    }
    for name, value in changed.items():
        headers[f"x-shopify-{name.replace('_', '-')}"] = value or ""
    return Webhook({name: value for name, value in headers.items() if value}, body)


@pytest.fixture
def connector() -> ShopifyConnector:
    settings = {"shop": SHOP, "client_id": "id", "client_secret": SECRET, "access_token": ""}
    context = context_for(settings, hosts=ShopifyConnector.hosts(settings))
    refusing = type(context)(settings, "", RefusingClient(), context.now, MemoryTokenVault())  # as in the web process
    return ShopifyConnector(refusing)


def read(connector: ShopifyConnector, topic: str, body: Any) -> list[Fact]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return list(connector.read_webhook(RawRecord(topic, "", raw)))


# --- who sent it, and is it a copy


def test_a_signed_webhook_of_this_shop_is_accepted(connector: ShopifyConnector) -> None:
    delivery = connector.verify(webhook(b'{"id":1}'))
    assert delivery is not None
    assert delivery.topic == "orders/create"
    assert delivery.dedupe_key.startswith("orders/create:")


@pytest.mark.parametrize(
    "changed",
    [
        {"hmac_sha256": None},
        {"hmac_sha256": "short"},
        {"hmac_sha256": sign(b'{"id":1}', "another app's")},
        {"hmac_sha256": sign(b'{"id": 1}')},  # the same value, written another way
        {"hmac_sha256": ", ".join([sign(b'{"id":1}')] * 2)},  # the header twice, joined
        {"hmac_sha256": hmac.digest(SECRET.encode(), b'{"id":1}', "sha256").hex()},
        {"hmac_sha256": "ünïcode ✓ \ud800"},
        {"shop_domain": None},
        {"shop_domain": "other.myshopify.com"},
        {"shop_domain": f"{SHOP}, other.myshopify.com"},
        {"shop_domain": "ｍy-shop.myshopify.com"},
        {"topic": None},
        {"topic": "orders/create, orders/delete"},
        {"topic": "../../etc/passwd"},
        {"topic": "orders/" + "x" * 70_000},
    ],
)
def test_anything_else_is_refused_before_it_is_stored(
    connector: ShopifyConnector, changed: dict[str, str | None]
) -> None:
    with pytest.raises(Unverified):
        connector.verify(webhook(b'{"id":1}', **changed))


def test_the_signature_covers_every_byte(connector: ShopifyConnector) -> None:
    body = json.dumps({"id": 450789469, "name": "#1001 — Ünïcode"}, ensure_ascii=False).encode()
    assert connector.verify(webhook(body))
    for position in range(len(body)):
        forged = body[:position] + bytes([body[position] ^ 1]) + body[position + 1 :]
        with pytest.raises(Unverified):
            connector.verify(Webhook(webhook(body).headers, forged))


def test_a_body_of_any_kind_can_be_verified(connector: ShopifyConnector) -> None:
    for body in (b"", b"\xff\xfe\x00", b"[" * 100_000, bytes(range(256)) * 1000):
        assert connector.verify(webhook(body))


def test_a_copy_has_the_same_key_and_news_has_another(connector: ShopifyConnector) -> None:
    def key(body: bytes = b'{"id":1}', topic: str = "orders/updated", **changed: str | None) -> str:
        delivery = connector.verify(webhook(body, topic, **changed))
        assert delivery is not None
        return delivery.dedupe_key

    first = key()
    assert key() == first
    assert key(webhook_id="w2") == first  # sent again, or for a second subscription to this topic
    assert key(topic="orders/create") != first  # one event, two topics
    assert key(event_id="e2") != first  # the same said by another event
    assert key(b'{"id":2}') != first  # one event, two messages: the stock of two lines of an order
    assert key(event_id=None) == key(event_id=None)
    assert key(b'{"id":2}', event_id=None) != key(event_id=None)
    assert len(key(event_id="e" * 70_000)) < 200


# --- the older bodies


def fixture(name: str) -> Any:
    path = FIXTURES / f"{name}.json"
    if not path.exists():
        pytest.skip(f"{path.name} is not there: set TALLYHUB_FIXTURES to the folder with Shopify's recorded answers.")
    (body,) = json.loads(path.read_bytes()).values()
    return body


def verified(connector: ShopifyConnector, topic: str, body: Any) -> list[Fact]:
    """What a body says that arrived signed."""
    raw = json.dumps(body).encode()
    delivery = connector.verify(webhook(raw, topic))
    assert delivery is not None
    return read(connector, delivery.topic, raw)


def test_an_old_order_body_reads_right_to_the_cent(connector: ShopifyConnector) -> None:
    (order,) = verified(connector, "orders/create", fixture("order"))
    assert isinstance(order, Order)
    assert (order.external_id, order.number, order.currency) == ("450789469", "#1001", "USD")
    assert order.version == order.placed_at == datetime(2008, 1, 10, 16, tzinfo=UTC)
    assert (order.status, order.channel_status, order.holds_stock) == (
        OrderStatus.OPEN,
        "authorized, unfulfilled",
        True,
    )
    assert (order.total, order.tax, order.shipping) == (usd("409.94"), usd("11.94"), usd("0.00"))
    assert (order.discount, order.fees) == (usd("0.00"), usd("0"))
    assert order.rounding == usd("-199.00")  # the recorded total leaves one of its three lines out
    assert [
        (line.external_id, line.listing_external_id, line.sku, line.quantity, line.unit_price, line.total, line.tax)
        for line in order.lines
    ] == [
        ("466157049", "39072856", "IPOD2008GREEN", 1, usd("199.00"), usd("199.00"), usd("0")),
        ("518995019", "49148385", "IPOD2008RED", 1, usd("199.00"), usd("199.00"), usd("0")),
        ("703073504", "457924702", "IPOD2008BLACK", 1, usd("199.00"), usd("199.00"), usd("0")),
    ]
    assert order.lines[0].title == "IPod Nano - 8gb - green"
    assert [line.fulfilled for line in order.lines] == [0, 0, 0]  # its one fulfillment failed
    assert not order.whole  # it does not say whether anything was refunded
    assert (order.customer_name, order.email) == ("Bob Norman", "bob.norman@hostmail.com")
    address = order.shipping_address
    assert (address.line1, address.city, address.region) == ("Chestnut Street 92", "Louisville", "KY")
    assert (address.postcode, address.country) == ("40202", "US")


def test_a_body_with_money_sets_reads_right_to_the_cent(connector: ShopifyConnector) -> None:
    # This recording has the sets but no lines; the other has lines but no sets. Together they are a whole body.
    body = {**fixture("orders")[0], "line_items": fixture("order")["line_items"], "refunds": [], "fulfillments": []}
    (order,) = verified(connector, "orders/updated", body)
    assert isinstance(order, Order)
    assert (order.total, order.tax, order.discount) == (usd("598.94"), usd("11.94"), usd("10.00"))
    assert (order.shipping, order.rounding) == (usd("0.00"), usd("0.00"))
    assert order.channel_status == "partially_refunded, unfulfilled"


def test_an_order_body_without_lines_is_fetched_instead(connector: ShopifyConnector) -> None:
    assert verified(connector, "orders/updated", fixture("orders")[0]) == [Refetch("order", "450789469")]


def test_the_other_recorded_bodies_say_what_to_fetch_or_what_was_seen(connector: ShopifyConnector) -> None:
    assert verified(connector, "refunds/create", fixture("refund")) == [Refetch("order", "450789469")]
    assert verified(connector, "fulfillments/create", fixture("fulfillment")) == [Refetch("order", "450789469")]
    assert verified(connector, "fulfillments/update", fixture("fulfillment")) == [Refetch("order", "450789469")]
    assert verified(connector, "products/update", fixture("product")) == [
        Refetch("listing", id) for id in ("808950810", "49148385", "39072856", "457924702")
    ]
    assert verified(connector, "inventory_levels/update", fixture("inventory_level")) == [
        StockSeen("808950810", "905684977", 6, handle="inventory_item_id")
    ]


# --- the bodies of today


class Receiver(Simulator):
    """A hub's webhook address: keeps what it is sent, and answers ``status``."""

    origin = "http://hub.example"
    status = 200

    def answer(self, request: SimRequest) -> SimResponse:
        return SimResponse(self.status)


@pytest.fixture
def shop() -> Iterator[ShopifySimulator]:
    with ShopifySimulator(webhook_retries=(0.0,) * 8) as simulator:
        yield simulator


@pytest.fixture
def hub() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def subscribed(shop: ShopifySimulator, hub: Receiver) -> ShopifyConnector:
    connector = connector_for(ShopifyConnector, shop)
    connector.subscribe_webhooks({"address": f"{hub.serve()}/hook"}, "key")
    return connector


def received(shop: ShopifySimulator, hub: Receiver) -> list[Webhook]:
    """What the hub was sent since it was last asked."""
    assert shop.wait_for_deliveries()
    webhooks = [Webhook(request.headers, request.body) for request in hub.requests]
    hub.requests.clear()
    return webhooks


def facts(connector: ShopifyConnector, webhooks: list[Webhook]) -> Mapping[str, list[Fact]]:
    """What webhooks say, by their topic."""
    said: dict[str, list[Fact]] = {}
    for each in webhooks:
        delivery = connector.verify(each)
        assert delivery is not None
        said.setdefault(delivery.topic, []).extend(read(connector, delivery.topic, each.body))
    return said


ADDRESS = "https://hub.example/webhooks/m1/c1"


def subscriptions(shop: ShopifySimulator) -> set[tuple[str, str]]:
    return {(each.topic, each.uri) for each in shop.subscriptions.values()}


def test_the_connector_subscribes_to_what_is_missing_and_to_nothing_twice(shop: ShopifySimulator) -> None:
    connector = connector_for(ShopifyConnector, shop)
    result = connector.perform("subscribe_webhooks", {"address": ADDRESS}, "key")
    assert result.details == {"address": ADDRESS, "created": list(TOPICS), "deleted": 0}
    assert subscriptions(shop) == {(topic.replace("/", "_").upper(), ADDRESS) for topic in TOPICS}
    again = connector.perform("subscribe_webhooks", {"address": ADDRESS}, "key")
    assert again.details == {"address": ADDRESS, "created": [], "deleted": 0}


def test_a_subscription_that_shopify_deleted_is_missed_and_made_again(shop: ShopifySimulator, hub: Receiver) -> None:
    connector = connector_for(ShopifyConnector, shop)
    address = f"{hub.serve()}/hook"
    assert connector.read_subscriptions(address) == Subscriptions((), TOPICS)
    connector.subscribe_webhooks({"address": address}, "key")
    assert connector.read_subscriptions(address) == Subscriptions(TOPICS)
    hub.status = 500
    shop.add_product("MUG", "Mug", 10, "8.00")
    assert shop.wait_for_deliveries()
    assert len(shop.attempts) == 9
    found = connector.read_subscriptions(address)
    assert found.missing == ("products/create",)
    assert set(found.active) == set(TOPICS) - {"products/create"}
    assert connector.subscribe_webhooks({"address": address}, "key").details["created"] == ["products/create"]
    assert connector.read_subscriptions(address) == Subscriptions(TOPICS)


def test_reading_subscriptions_changes_nothing(shop: ShopifySimulator) -> None:
    connector = connector_for(ShopifyConnector, shop)
    connector.subscribe_webhooks({"address": ADDRESS}, "key")
    before = dict(shop.subscriptions)
    connector.read_subscriptions(ADDRESS)
    connector.read_subscriptions("https://moved.example/webhooks/m1/c1")
    assert shop.subscriptions == before


def test_what_was_left_at_an_older_address_of_this_connection_is_deleted_and_nothing_else(
    shop: ShopifySimulator,
) -> None:
    connector = connector_for(ShopifyConnector, shop)
    other = "https://hub.example/webhooks/m1/c2"  # another connection with the same app
    connector.subscribe_webhooks({"address": ADDRESS}, "key")
    connector.subscribe_webhooks({"address": other}, "key")
    moved = "https://moved.example/webhooks/m1/c1"
    result = connector.subscribe_webhooks({"address": moved}, "key")
    assert result.details == {"address": moved, "created": list(TOPICS), "deleted": len(TOPICS)}
    assert {uri for _, uri in subscriptions(shop)} == {moved, other}
    assert connector.read_subscriptions(ADDRESS).active == ()
    assert connector.read_subscriptions(other).missing == ()


def test_two_workers_that_subscribe_at_once_leave_one_subscription_each(shop: ShopifySimulator) -> None:
    connector = connector_for(ShopifyConnector, shop)
    connector.check()

    def another_is_faster() -> None:
        shop.subscriptions[1] = Subscription(1, "ORDERS_CREATE", ADDRESS, "")

    shop.fail_next("/admin/api", Fault.changing(another_is_faster))
    result = connector.subscribe_webhooks({"address": ADDRESS}, "key")
    assert len(shop.subscriptions) == len(TOPICS)
    assert result.details["created"] == list(TOPICS)
    assert connector.read_subscriptions(ADDRESS).missing == ()


def test_a_topic_that_shopify_refuses_is_named_and_the_others_are_subscribed_to(shop: ShopifySimulator) -> None:
    connector = connector_for(ShopifyConnector, shop)
    shop.scopes = tuple(scope for scope in shop.scopes if scope != "read_fulfillments")
    with pytest.raises(Rejected) as refused:
        connector.subscribe_webhooks({"address": ADDRESS}, "key")
    assert str(refused.value) == (
        "Shopify does not send this to the hub: fulfillments/create (You do not have permission to create or update "
        "webhooks with fulfillments_create topic.), fulfillments/update (You do not have permission to create or "
        "update webhooks with fulfillments_update topic.)"
    )
    assert connector.read_subscriptions(ADDRESS).missing == ("fulfillments/create", "fulfillments/update")


def test_an_address_that_shopify_does_not_take_is_explained(shop: ShopifySimulator) -> None:
    connector = connector_for(ShopifyConnector, shop)
    with pytest.raises(Rejected, match=r"does not send this to the hub: orders/create \(Address is invalid\)"):
        connector.subscribe_webhooks({"address": "http://hub.example/hook"}, "key")


def test_the_webhook_of_an_order_reads_like_the_order_itself(
    shop: ShopifySimulator, hub: Receiver, subscribed: ShopifyConnector
) -> None:
    shop.add_product("MUG", "Mug", 10, "8.00")
    received(shop, hub)
    sale = shop.checkout([("MUG", 3)], extras=[("Gift wrap", "2.50", 1)], discount="5.00", note="Ring twice")
    assert sale is not None
    fetched = subscribed.read_order(subscribed.fetch_order(sale.order_external_id))
    said = facts(subscribed, received(shop, hub))
    told = replace(fetched, whole=False, work=())  # who is to ship it, a body does not say: it is asked for
    assert said["orders/create"] == said["orders/updated"] == [told]
    shop.fulfill(sale.order_external_id, units=1)
    fetched = subscribed.read_order(subscribed.fetch_order(sale.order_external_id))
    assert facts(subscribed, received(shop, hub))["orders/updated"] == [replace(fetched, whole=False, work=())]
    assert fetched.lines[0].fulfilled == 1


def test_a_sale_tells_the_new_stock_of_every_line_under_one_event(
    shop: ShopifySimulator, hub: Receiver, subscribed: ShopifyConnector
) -> None:
    mug, pot = (shop.variants[int(shop.add_product(sku, sku, 10, "8.00"))] for sku in ("MUG", "POT"))
    received(shop, hub)
    shop.buy([("MUG", 3), ("POT", 1)])
    webhooks = received(shop, hub)
    assert len({each.headers["x-shopify-event-id"] for each in webhooks}) == 1
    deliveries = [delivery for each in webhooks if (delivery := subscribed.verify(each))]
    assert len({delivery.dedupe_key for delivery in deliveries}) == len(webhooks) == 4
    home = next(iter(shop.locations))
    assert sorted(facts(subscribed, webhooks)["inventory_levels/update"], key=repr) == [
        StockSeen(str(mug.item_id), str(home), 7, handle="inventory_item_id"),
        StockSeen(str(pot.item_id), str(home), 9, handle="inventory_item_id"),
    ]


def test_a_refund_is_known_at_once_and_fetched_for_its_whole_truth(
    shop: ShopifySimulator, hub: Receiver, subscribed: ShopifyConnector
) -> None:
    shop.add_product("MUG", "Mug", 10, "8.00")
    sale = shop.buy([("MUG", 3)])
    assert sale is not None
    shop.fulfill(sale.order_external_id, units=1)
    received(shop, hub)
    shop.refund(sale.order_external_id, "MUG", 2)
    said = facts(subscribed, received(shop, hub))
    assert said["refunds/create"] == [Refetch("order", sale.order_external_id)]
    (order,) = said["orders/updated"]
    assert isinstance(order, Order)
    assert not order.whole
    assert [refund.amount for refund in order.refunds] == [Money(Decimal("17.60"), "EUR")]
    (line,) = order.lines
    assert (line.fulfilled, line.removed, line.open_quantity) == (1, 1, 1)


def test_units_are_not_let_go_before_it_is_sure(connector: ShopifyConnector) -> None:
    order = {
        "id": 1, "name": "#1", "currency": "USD", "total_price": "10.00",
        "created_at": "2026-11-21T12:00:00Z", "updated_at": "2026-11-21T12:00:00Z", "fulfillments": [],
    }  # fmt: skip
    line = {"id": 7, "quantity": 5, "price": "2.00", "current_quantity": 2}

    def left(how: str, refunded: int) -> tuple[int, int]:
        back = {"id": 9, "refund_line_items": [{"line_item_id": 7, "quantity": refunded, "restock_type": how}]}
        (read_order,) = read(connector, "orders/updated", {**order, "line_items": [line], "refunds": [back]})
        assert isinstance(read_order, Order)
        return read_order.lines[0].removed, read_order.lines[0].open_quantity

    assert left("cancel", 3) == (3, 2)  # taken back before they were shipped
    assert left("return", 3) == (0, 5)  # had been shipped, or not: the order itself will tell
    assert left("no_restock", 3) == (0, 5)
    assert left("no_restock", 1) == (2, 3)  # two were taken out of the order by an edit
    assert left("cancel", 9) == (5, 0)


def test_a_canceled_or_deleted_order_lets_its_stock_go(
    shop: ShopifySimulator, hub: Receiver, subscribed: ShopifyConnector
) -> None:
    shop.add_product("MUG", "Mug", 10, "8.00")
    first, second = (shop.buy([("MUG", 1)]) for _ in range(2))
    assert first is not None
    assert second is not None
    received(shop, hub)
    shop.cancel(first.order_external_id)
    (order,) = facts(subscribed, received(shop, hub))["orders/cancelled"]
    assert isinstance(order, Order)
    assert (order.status, order.holds_stock) == (OrderStatus.CANCELLED, False)
    shop.delete(second.order_external_id)
    assert facts(subscribed, received(shop, hub))["orders/delete"] == [OrderRemoved(second.order_external_id)]


def test_products_tell_their_listings_without_being_fetched(
    shop: ShopifySimulator, hub: Receiver, subscribed: ShopifyConnector
) -> None:
    id = shop.add_product("MUG", "Mug", 10, "8.00")
    variant = shop.variants[int(id)]
    (listing,) = facts(subscribed, received(shop, hub))["products/create"]
    handles = {"inventory_item_id": str(variant.item_id), "product_id": str(variant.product_id)}
    assert listing == Listing(external_id=id, sku="MUG", title="Mug", handles=handles)
    variant.tracked = False
    shop.rename_product(id, "Big mug")
    (listing,) = facts(subscribed, received(shop, hub))["products/update"]
    assert listing == Listing(external_id=id, sku="MUG", title="Big mug", tracked=False, handles=handles)
    shop.delete_product(id)
    said = facts(subscribed, received(shop, hub))
    assert said["products/delete"] == [ListingRemoved(str(variant.product_id), handle="product_id")]
    assert said["inventory_items/delete"] == [ListingRemoved(str(variant.item_id), handle="inventory_item_id")]


def test_an_edited_order_is_fetched(connector: ShopifyConnector) -> None:
    edit = {"order_edit": {"id": 78, "order_id": 450789469, "line_items": {"additions": [], "removals": []}}}
    assert read(connector, "orders/edited", edit) == [Refetch("order", "450789469")]


@pytest.mark.parametrize(
    ("body", "of"),
    [
        ({"fulfillment_order": {"id": "gid://shopify/FulfillmentOrder/7", "status": "open"}}, "FulfillmentOrder/7"),
        (
            {
                "source_location": {"id": "gid://shopify/Location/1"},
                "original_fulfillment_order": {"id": "gid://shopify/FulfillmentOrder/7", "status": "closed"},
                "moved_fulfillment_order": {"id": "gid://shopify/FulfillmentOrder/7"},
            },
            "FulfillmentOrder/7",
        ),
        (
            {
                "fulfillment_order_merges": [{"fulfillment_order": {"id": "gid://shopify/FulfillmentOrder/7"}}],
                "fulfillment_hold": {"id": "gid://shopify/FulfillmentHold/3"},
            },
            "FulfillmentOrder/7",
        ),
    ],
)
def test_what_happens_to_a_fulfillment_order_has_its_order_fetched(
    connector: ShopifyConnector, body: dict[str, Any], of: str
) -> None:
    topics = [topic for topic in READERS if topic.startswith(("fulfillment_orders/", "fulfillment_holds/"))]
    assert len(topics) == 20
    for topic in topics:
        assert read(connector, topic, body) == [Refetch("order", of)]


def test_what_happens_to_a_return_has_its_order_fetched(connector: ShopifyConnector) -> None:
    gid = "gid://shopify/Return/78"
    order = {"id": 450789469, "admin_graphql_api_id": "gid://shopify/Order/450789469"}
    topics = [topic for topic in READERS if topic.startswith("returns/")]
    assert len(topics) == 7
    for topic in topics:
        assert read(connector, topic, {"id": 78, "order": order}) == [Refetch("order", "450789469")]
        assert read(connector, topic, {"id": 78, "order_id": 450789469}) == [Refetch("order", "450789469")]
        assert read(connector, topic, {"id": 78, "admin_graphql_api_id": gid}) == [Refetch("order", "Return/78")]
        with pytest.raises(Unreadable, match="does not say which order"):
            read(connector, topic, {"id": 78, "admin_graphql_api_id": "gid://shopify/Return/../Order/1"})


def test_an_order_is_fetched_by_what_names_only_a_part_of_it(shop: ShopifySimulator) -> None:
    shop.add_product("MUG", "Mug", 10, "8.00")
    sales = [shop.buy([("MUG", 1)]) for _ in range(2)]
    connector = connector_for(ShopifyConnector, shop)
    for sale in sales:
        assert sale is not None
        (work,) = shop.fulfillment_orders.open(sale.order_external_id)
        coming = shop.send_back(sale.order_external_id, "MUG", 1)
        for part in (f"FulfillmentOrder/{work.id}", f"Return/{coming.id}"):
            assert connector.fetch_order(part).external_id == sale.order_external_id
    for unknown in ("FulfillmentOrder/1", "Return/1", "Return/", "Return/x"):
        with pytest.raises(NotFound):
            connector.fetch_order(unknown)


def test_holds_requests_returns_and_risk_have_the_order_fetched(
    shop: ShopifySimulator, hub: Receiver, subscribed: ShopifyConnector
) -> None:
    shop.add_product("MUG", "Mug", 10, "8.00")
    sale = shop.buy([("MUG", 1)])
    assert sale is not None
    (work,) = shop.fulfillment_orders.open(sale.order_external_id)
    received(shop, hub)
    shop.fulfillment_orders.ask(work)
    shop.fulfillment_orders.ask(work, "CANCELLATION_REQUESTED")
    shop.fulfillment_orders.report_progress(work)
    shop.fulfillment_orders.hold_by_hand(work, "OTHER")
    shop.send_back(sale.order_external_id, "MUG", 1, status="REQUESTED")
    shop.assess(sale.order_external_id, "CANCEL", Assessment("HIGH"))
    said = facts(subscribed, received(shop, hub))
    part, whole = Refetch("order", f"FulfillmentOrder/{work.id}"), Refetch("order", sale.order_external_id)
    assert {topic: found for topic, found in said.items() if topic != "orders/updated"} == {
        "fulfillment_orders/fulfillment_request_submitted": [part],
        "fulfillment_orders/cancellation_request_submitted": [part],
        "fulfillment_orders/progress_reported": [part],
        "fulfillment_holds/added": [part],
        "returns/request": [whole],
        "orders/risk_assessment_changed": [whole],
    }


def test_a_new_look_at_the_risk_has_the_order_fetched_where_it_is_named(connector: ShopifyConnector) -> None:
    looked = {"risk_level": "high", "provider_id": None, "order_id": "1"}
    named = {**looked, "admin_graphql_api_order_id": "gid://shopify/Order/450789469"}
    assert read(connector, "orders/risk_assessment_changed", named) == [Refetch("order", "450789469")]
    unnamed = {**looked, "admin_graphql_api_order_id": None}
    assert read(connector, "orders/risk_assessment_changed", unnamed) == []


def test_stock_that_is_no_longer_kept_somewhere_is_told(connector: ShopifyConnector) -> None:
    place = {"inventory_item_id": 808950810, "location_id": 905684977}
    gone = StockSeen("808950810", "905684977", None, handle="inventory_item_id")
    assert read(connector, "inventory_levels/disconnect", place) == [gone]
    begun = StockSeen("808950810", "905684977", 0, handle="inventory_item_id")
    assert read(connector, "inventory_levels/connect", {**place, "available": 0}) == [begun]


def test_topics_that_do_not_matter_say_nothing(connector: ShopifyConnector) -> None:
    for topic in ("inventory_items/update", "shop/update", "locations/update"):
        assert read(connector, topic, {"id": 1}) == []


def test_doubled_and_repeated_deliveries_are_recognized(
    shop: ShopifySimulator, hub: Receiver, subscribed: ShopifyConnector
) -> None:
    shop.add_product("MUG", "Mug", 10, "8.00")
    received(shop, hub)
    shop.disturb_next(DeliveryFault(copies=3), times=3)
    shop.buy([("MUG", 1)])
    webhooks = received(shop, hub)
    deliveries = [delivery for each in webhooks if (delivery := subscribed.verify(each))]
    assert len(deliveries) == 9
    assert len({delivery.dedupe_key for delivery in deliveries}) == 3


# --- odd bodies

ORDER: dict[str, Any] = {
    "id": 450789469,
    "name": "#1001",
    "created_at": "2026-11-21T12:00:00Z",
    "updated_at": "2026-11-21T12:00:00Z",
    "currency": "USD",
    "total_price": "10.00",
    "financial_status": "paid",
    "fulfillments": [],
    "refunds": [],
    "line_items": [{"id": 7, "variant_id": 8, "sku": "MUG", "quantity": 1, "price": "10.00"}],
}


def test_the_least_that_an_order_must_say(connector: ShopifyConnector) -> None:
    (order,) = read(connector, "orders/create", ORDER)
    assert isinstance(order, Order)
    assert (order.total, order.rounding, order.whole) == (usd("10.00"), usd("0.00"), False)
    nothing = dict.fromkeys(
        ("refunds", "fulfillments", "shipping_lines", "total_tax", "test", "taxes_included", "note")
    )
    (order,) = read(connector, "orders/create", {**ORDER, **nothing})
    assert isinstance(order, Order)
    assert (order.total, order.test, order.whole) == (usd("10.00"), False, False)


def test_money_comes_from_the_sets_where_there_are_any(connector: ShopifyConnector) -> None:
    total = {"shop_money": {"amount": "12.34", "currency_code": "USD"}, "presentment_money": {"amount": "11.00"}}
    (order,) = read(connector, "orders/create", {**ORDER, "total_price_set": total})
    assert isinstance(order, Order)
    assert order.total == usd("12.34")


@pytest.mark.parametrize(
    "about", ["create", "updated", "paid", "edited", "cancelled", "fulfilled", "partially_fulfilled"]
)
def test_every_topic_about_orders_tells_the_order(connector: ShopifyConnector, about: str) -> None:
    (order,) = read(connector, f"orders/{about}", ORDER)
    assert isinstance(order, Order)
    assert (order.external_id, order.number) == ("450789469", "#1001")


# One topic for each way of reading, but for the one whose body may leave everything out.
READ = sorted({read: topic for topic, read in READERS.items() if "risk" not in topic}.values())


@pytest.mark.parametrize("topic", READ)
@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"{", b"null", b"[]", b"17", b'"text"', b"[" * 100_000, b"\xff", b'{"id":1,"id":2}', b'{"id":NaN}',
     b'{"id":{}}', b'{"id":' + b"9" * 5000 + b"}", b'{"id":null,"line_items":null}'],
)  # fmt: skip
def test_a_body_that_makes_no_sense_is_unreadable_and_nothing_worse(
    connector: ShopifyConnector, topic: str, body: bytes
) -> None:
    with pytest.raises(Unreadable):
        read(connector, topic, body)


@pytest.mark.parametrize("odd", [None, True, -1, 0, 1.5, 10**30, "", "x", "1_000", "٣", [], {}, [[]], {"id": {}}])
def test_no_odd_value_anywhere_does_worse_than_unreadable(connector: ShopifyConnector, odd: Any) -> None:
    full = {
        **ORDER,
        "line_items": [{**ORDER["line_items"][0], "current_quantity": 1, "tax_lines": [{"price": "0.10"}],
                        "discount_allocations": [{"amount": "1.00", "discount_application_index": 0}],
                        "properties": [{"name": "Engraving", "value": "Ann"}], "gift_card": False, "vendor": "V"}],
        "fulfillments": [{"id": 8, "status": "success", "line_items": [{"id": 7, "quantity": 1}], "location_id": 3,
                          "tracking_company": "UPS", "tracking_numbers": ["1Z"], "tracking_urls": ["https://u.example"]}],
        "discount_applications": [{"type": "discount_code", "code": "TENOFF"}], "tags": "a, b", "source_name": "web",
        "note_attributes": [{"name": "Gift", "value": "yes"}], "payment_gateway_names": ["cash"],
        "shipping_lines": [{"title": "Standard", "price": "0.00", "discount_allocations": []}],
        "refunds": [{"id": 9, "refund_line_items": [{"line_item_id": 7, "quantity": 1, "restock_type": "cancel"}],
                     "transactions": [{"kind": "refund", "status": "success", "amount": "1.00", "currency": "USD"}]}],
        "total_price_set": {"shop_money": {"amount": "10.00", "currency_code": "USD"},
                            "presentment_money": {"amount": "9.00", "currency_code": "EUR"}},
        "shipping_address": {"name": "Ada", "zip": "40202"},
    }  # fmt: skip
    assert read(connector, "orders/updated", full)
    for path in _paths(full):
        changed = copy.deepcopy(full)
        place = changed
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = odd
        try:
            read(connector, "orders/updated", changed)
        except Unreadable as error:
            assert str(error)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield (*path, step)
        yield from _paths(inner, (*path, step))


def test_a_body_cut_anywhere_is_unreadable(connector: ShopifyConnector) -> None:
    body = json.dumps(ORDER).encode()
    for length in random.Random(1).sample(range(len(body)), 40):
        with pytest.raises(Unreadable):
            read(connector, "orders/create", body[:length])
