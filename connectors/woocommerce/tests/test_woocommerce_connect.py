"""Connecting a shop: whose it is, the usual mistakes and what to do about them, keys, and webhooks."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from hub.connector import RawRecord, Settlement, Subscriptions, Webhook
from hub.core.model import Account, ChannelLocation
from hub.errors import AuthError, ConnectorError, Rejected, Unavailable
from hub.http import Exchange
from hub.testing.clock import Clock
from hub.testing.context import WEBHOOK_SECRET, connector_for, context_for
from hub.testing.simulator import Fault, SimRequest, SimResponse
from hub_woocommerce.connector import WooCommerceConnector
from hub_woocommerce.simulator import WooCommerceSimulator
from hub_woocommerce.webhooks import TOPICS

NEW_KEY = (
    "In WooCommerce, under Settings > Advanced > REST API, add a key with the permission Read/Write for an "
    "administrator or a shop manager, and enter both of its parts."
)
SIGNED = "Without https:// the clocks of hub and shop must agree; enter an https:// address if the shop has one."
NO_API = (
    "No WooCommerce answers at https://woo.example/wp-json/. Check the address (the one of the shop's front page); see "
    "that the WooCommerce plugin is active; and in WordPress, under Settings > Permalinks, choose anything but “Plain”."
)


@pytest.fixture
def shop() -> Iterator[WooCommerceSimulator]:
    with WooCommerceSimulator(title="Bob&#039;s Mugs") as shop:
        yield shop


def refused(shop: WooCommerceSimulator, fault: Fault, times: int = 1) -> ConnectorError:
    """What a merchant is told when the shop answers so; without the fault, the same settings work."""
    connector = connector_for(WooCommerceConnector, shop)
    shop.fail_next("/", fault, times)
    with pytest.raises(ConnectorError) as error:
        connector.check()
    assert connector.check().external_id == "woo.example"
    return error.value


def page(status: int) -> Fault:
    return Fault(response=SimResponse(status, {"Content-Type": "text/html"}, b"<!doctype html><h1>For people</h1>"))


def answer(status: int, code: str, message: str = "Sorry.") -> Fault:
    said = {"code": code, "message": message, "data": {"status": status}}
    return Fault(response=SimResponse.of_json(said, status))


# ---------------------------------------------------------------- whose account


def test_the_account_is_the_site_as_the_shop_states_it(shop: WooCommerceSimulator) -> None:
    assert connector_for(WooCommerceConnector, shop).check() == Account(
        external_id="woo.example",
        name="Bob's Mugs",
        currency="EUR",
        locations=(ChannelLocation(external_id="", name="WooCommerce"),),
        words={"order_status": {}},
        features={
            "woocommerce": "11.0.1",
            "wordpress": "7.0.4",
            "orders": "own tables",
            "shipments": "fulfillments",
            "weight_unit": "kg",
            "currency": "EUR",
        },
    )


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"hpos": False}, {"orders": "posts"}),
        ({"fulfillments": True, "tracks_parcels": True}, {"shipments": "fulfillments"}),
        ({"fulfillments": False, "tracks_parcels": True}, {"shipments": "trackings"}),
        ({"fulfillments": False}, {"shipments": "notes"}),
        ({"version": "8.2.0-beta.1", "weight_unit": "lbs"}, {"woocommerce": "8.2.0-beta.1", "weight_unit": "lbs"}),
    ],
)
def test_finds_out_what_the_shop_can_do(options: dict[str, Any], found: dict[str, str]) -> None:
    with WooCommerceSimulator(**options) as shop:
        features = connector_for(WooCommerceConnector, shop).check().features
    assert {name: features[name] for name in found} == found


@pytest.mark.parametrize("version", ["11.0.1", "6.4.0"])
def test_tells_the_statuses_that_plugins_added_and_not_those_of_every_shop(version: str) -> None:
    statuses = {"packing": "Being packed", "picked-up": "Collected &amp; gone"}
    with WooCommerceSimulator(statuses=statuses, version=version) as shop:
        words = connector_for(WooCommerceConnector, shop).check().words
        asked = [request.path.rpartition("/wc/v3/")[2] for request in shop.requests]
    assert words == {"order_status": {"packing": "Being packed", "picked-up": "Collected & gone"}}
    # Only an old WooCommerce is asked in a way for which it has to count its orders.
    assert ("reports/orders/totals" in asked) is (version == "6.4.0")


def test_a_shop_that_moves_to_https_is_the_same_account() -> None:
    ids = []
    for site in ("http://woo.example/store", "https://woo.example/store"):
        with WooCommerceSimulator(site=site) as shop:
            ids.append(connector_for(WooCommerceConnector, shop).check().external_id)
    assert ids == ["woo.example/store", "woo.example/store"]


def test_checking_changes_nothing_in_the_shop(shop: WooCommerceSimulator) -> None:
    shop.add_product("MUG", "Mug", 3, "1")
    connector_for(WooCommerceConnector, shop).check()
    assert (shop.stock(), shop.stock_writes, shop.orders()) == ({"MUG": 3}, [], set())
    assert [(request.method, request.body) for request in shop.requests if request.method != "GET"] == [
        ("POST", b'{"update": []}')
    ]


def test_the_key_is_not_shown_to_wordpress_where_it_would_take_it_for_a_users(shop: WooCommerceSimulator) -> None:
    connector_for(WooCommerceConnector, shop).check()
    shown = {request.path: "authorization" in request.headers for request in shop.requests}
    assert shown == {
        "/wp-json/wc/v3/system_status": True,
        "/wp-json/wc/v3/products/batch": True,
        "/wp-json/": False,
        "/wp-json/wc/v3/orders/statuses": True,
        "/wp-json/wc/v3/settings/products/woocommerce_weight_unit": True,
    }


def test_a_site_that_hides_its_name_from_strangers_is_called_by_its_address(shop: WooCommerceSimulator) -> None:
    connector = connector_for(WooCommerceConnector, shop)
    login = {"code": "rest_login_required", "message": "Log in first.", "data": {"status": 401}}
    shop.fail_next("/wp-json/wc/", Fault(after_effect=True), times=2)
    shop.fail_next("/wp-json/", Fault(response=SimResponse.of_json(login, 401)))
    assert connector.check().name == "woo.example"
    assert connector.check().name == "Bob's Mugs"


def test_warns_when_the_shop_knows_itself_by_another_address(shop: WooCommerceSimulator) -> None:
    connector = connector_for(WooCommerceConnector, shop)
    stated = {"environment": {"home_url": "https://old.example/", "version": "9.0"}, "settings": {"currency": "GBP"}}
    shop.fail_next("/", Fault(response=SimResponse.of_json(stated)))
    account = connector.check()
    assert (account.external_id, account.currency) == ("old.example", "GBP")
    assert account.warnings == (
        "The shop calls itself https://old.example: its webhooks will be refused. Connect it under that address.",
    )
    assert connector.check().warnings == ()


def test_warns_of_a_shop_without_https() -> None:
    with WooCommerceSimulator(site="http://woo.example") as shop:
        assert connector_for(WooCommerceConnector, shop).check().warnings == (
            "The shop has no https:// address: orders travel readable by everybody on the way.",
        )


# ---------------------------------------------------------------- the usual mistakes


@pytest.mark.parametrize("fault", [page(404), page(200), answer(404, "rest_no_route")])
def test_a_wordpress_without_woocommerce(shop: WooCommerceSimulator, fault: Fault) -> None:
    error = refused(shop, fault)
    assert (type(error), str(error)) == (
        Rejected,
        "WordPress answers at https://woo.example, but no WooCommerce does. See that the WooCommerce plugin is active, "
        "and that no plugin switches off its REST API.",
    )


def test_a_site_that_is_no_wordpress(shop: WooCommerceSimulator) -> None:
    error = refused(shop, page(404), times=2)
    assert (type(error), str(error)) == (Rejected, NO_API)


def test_plain_permalinks() -> None:
    with WooCommerceSimulator(permalinks=False) as shop:
        connector = connector_for(WooCommerceConnector, shop)
        with pytest.raises(Rejected) as error:
            connector.check()
        assert str(error.value) == (
            "The shop's permalinks are “Plain”, so it has no address to be asked at. In WordPress, under Settings > "
            "Permalinks, choose any other structure, and save."
        )
        shop.permalinks = True
        assert connector.check().external_id == "woo.example"


def test_a_shop_in_a_folder_that_was_left_out_of_the_address() -> None:
    with WooCommerceSimulator(site="https://woo.example/shop") as shop:
        right = shop.settings()
        connector = WooCommerceConnector(context_for({**right, "site": "https://woo.example"}, shop))
        root = SimResponse(200, {"Link": '<https://woo.example/shop/wp-json/>; rel="https://api.w.org/"'})
        shop.fail_next("/", Fault(response=root), after=1)
        with pytest.raises(Rejected) as error:
            connector.check()
        assert str(error.value) == (
            "The shop is not at https://woo.example, but at https://woo.example/shop. Enter that address."
        )
        assert WooCommerceConnector(context_for(right, shop)).check().external_id == "woo.example/shop"


@pytest.mark.parametrize("fault", [page(403), page(401), answer(403, "rest_forbidden"), answer(401, "itsec_blocked")])
def test_a_security_plugin_in_the_way(shop: WooCommerceSimulator, fault: Fault) -> None:
    error = refused(shop, fault)
    status = fault.response.status if fault.response else 0
    assert (type(error), str(error)) == (
        Unavailable,
        f"Something in front of WooCommerce refused the request ({status}): a security plugin, a firewall or a "
        "password on the site. Let the hub reach /wp-json/wc/v3/ there.",
    )


@pytest.mark.parametrize("wrong", ["consumer_key", "consumer_secret"])
@pytest.mark.parametrize("site", ["https://woo.example", "http://woo.example"])
def test_a_wrong_key(site: str, wrong: str) -> None:
    with WooCommerceSimulator(site=site) as shop:
        right = getattr(shop, wrong)
        setattr(shop, wrong, f"{right}0")
        connector = connector_for(WooCommerceConnector, shop)
        setattr(shop, wrong, right)
        with pytest.raises(AuthError) as error:
            connector.check()
        reason = "It is wrong, or was revoked, or may not do this."
        if (site, wrong) == ("http://woo.example", "consumer_secret"):
            reason = "Invalid signature - provided signature does not match."
        clocks = f" {SIGNED}" if site.startswith("http://") else ""
        assert str(error.value) == f"WooCommerce refused the key. {reason} {NEW_KEY}{clocks}"
        assert connector_for(WooCommerceConnector, shop).check().currency == "EUR"


@pytest.mark.parametrize(("permission", "site"), [("read", "https://w.example"), ("write", "http://w.example")])
def test_a_key_that_may_only_read_or_only_write(permission: str, site: str) -> None:
    with WooCommerceSimulator(permission=permission, site=site) as shop:
        connector = connector_for(WooCommerceConnector, shop)
        with pytest.raises(AuthError) as error:
            connector.check()
        reason = f"The API key provided does not have {'write' if permission == 'read' else 'read'} permissions."
        assert str(error.value).startswith(f"WooCommerce refused the key. {reason} {NEW_KEY}")
        shop.permission = "read_write"
        assert connector.check().external_id == "w.example"


def test_a_password_of_the_web_server_in_the_way(shop: WooCommerceSimulator) -> None:
    asks = SimResponse(401, {"WWW-Authenticate": 'Basic realm="Staging"'}, b"<h1>401</h1>")
    error = refused(shop, Fault(response=asks))
    assert (type(error), str(error)) == (
        Unavailable,
        "The web server asks for a password of its own before WordPress sees the request (401). Let the hub reach "
        "/wp-json/ without it.",
    )


@pytest.mark.parametrize(
    ("site", "location", "sentence"),
    [
        (
            "https://woo.example",
            "https://new.example/wp-json/wc/v3/system_status?_fields=x",
            "https://woo.example has moved to https://new.example. Connect the new address.",
        ),
        (
            "https://woo.example",
            "https://www.woo.example/wp-json/wc/v3/system_status",
            "https://woo.example has moved to https://www.woo.example. Connect the new address.",
        ),
        (
            "http://woo.example",
            "https://woo.example/wp-json/wc/v3/system_status",
            "The shop is at https://woo.example: enter its address with https://.",
        ),
        (
            "https://woo.example",
            "https://woo.example/wp-login.php?redirect_to=x",
            "https://woo.example sends every visitor elsewhere (https://woo.example/wp-login.php): a login, a page of "
            "its host, or a “coming soon”. Let the hub reach /wp-json/ there.",
        ),
        (
            "https://woo.example",
            "https://www.woo.example/my-account/",
            "https://woo.example sends every visitor elsewhere (https://www.woo.example/my-account/): a login, a page "
            "of its host, or a “coming soon”. Let the hub reach /wp-json/ there.",
        ),
        (
            "https://woo.example",
            "https://parked.example/for-sale?domain=woo.example",
            "https://woo.example has moved to https://parked.example. Connect the new address.",
        ),
        (
            "https://woo.example",
            "https://woo.example/shop/wp-json/wc/v3/system_status",
            "https://woo.example has moved to https://woo.example/shop. Connect the new address.",
        ),
        (
            "http://woo.example",
            "https://www.woo.example/wp-json/wc/v3/system_status?oauth_signature=s1gned",
            "http://woo.example has moved to https://www.woo.example. Connect the new address.",
        ),
        (
            "http://woo.example",
            "http://woo.example/login?to=system_status&oauth_signature=s1gned",
            "http://woo.example sends every visitor elsewhere (http://woo.example/login): a login, a page of its host, "
            "or a “coming soon”. Let the hub reach /wp-json/ there.",
        ),
        (
            "https://woo.example",
            "/coming-soon/",
            "https://woo.example sends every visitor elsewhere (/coming-soon/): a login, a page of its host, or a "
            "“coming soon”. Let the hub reach /wp-json/ there.",
        ),
    ],
)
def test_a_shop_that_sends_its_visitors_elsewhere(site: str, location: str, sentence: str) -> None:
    with WooCommerceSimulator(site=site) as shop:
        error = refused(shop, Fault(response=SimResponse(301, {"Location": location})))
    assert (type(error), str(error)) == (Rejected, sentence)


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "600"}])
def test_a_shop_in_maintenance_mode(shop: WooCommerceSimulator, headers: dict[str, str]) -> None:
    briefly = b"<h1>Briefly unavailable for scheduled maintenance. Check back in a minute.</h1>"
    error = refused(shop, Fault(response=SimResponse(503, headers, briefly)))
    assert (type(error), str(error)) == (
        Unavailable,
        "The shop is in maintenance mode (503). Switch it off, or wait until its update is through, then connect "
        "again.",
    )


@pytest.mark.parametrize(("version", "works"), [("5.7.2", False), ("3.5", False), ("5.8.0", True), ("10.1", True)])
def test_a_woocommerce_that_is_too_old(version: str, works: bool) -> None:
    with WooCommerceSimulator(version=version) as shop:
        connector = connector_for(WooCommerceConnector, shop)
        if works:
            assert connector.check().features["woocommerce"] == version
            return
        with pytest.raises(Rejected) as error:
            connector.check()
        assert str(error.value) == (
            f"WooCommerce {version} is too old to be asked for what has changed: it has to be 5.8 or later. Update "
            "WooCommerce, then connect again."
        )
        shop.version = "11.0.1"
        assert connector.check().features["woocommerce"] == "11.0.1"


def test_a_shop_that_does_not_say_who_it_is(shop: WooCommerceSimulator) -> None:
    error = refused(shop, Fault(response=SimResponse.of_json({"environment": {}, "settings": []})))
    assert (type(error), str(error)) == (
        Rejected,
        "WooCommerce does not say its address and currency. Update WooCommerce, then connect again.",
    )


def test_a_shop_that_is_away_for_a_moment(shop: WooCommerceSimulator) -> None:
    assert type(refused(shop, Fault.status(500))) is Unavailable
    assert type(refused(shop, Fault.reset(after_effect=False))) is Unavailable


# ---------------------------------------------------------------- signed requests, without https


def test_over_plain_http_every_request_is_signed_and_the_secret_never_sent() -> None:
    exchanges: list[Exchange] = []
    with WooCommerceSimulator(site="http://woo.example:8080/store") as shop:
        shop.add_product("Mug & Söhne", "Mug", 5, "1")
        connector = connector_for(WooCommerceConnector, shop, on_exchange=exchanges.append)
        connector.check()
        assert len(list(connector.fetch_listings(None))) == 1
        connector.subscribe_webhooks({"address": "http://127.0.0.1:9/webhooks/a/b?c=d&e=f g"}, "key")
        requests = list(shop.requests)
    assert all("authorization" not in request.headers for request in requests)
    assert not any(shop.consumer_secret.encode() in repr(request).encode() for request in requests)
    signed = [request.parameter("oauth_nonce") for request in requests if request.path != "/store/wp-json/"]
    assert len(set(signed)) == len(signed) == len(requests) - 1
    assert all(signed)
    # Nor does the activity page show what a request was signed with.
    assert len(exchanges) == len(requests)
    for exchange in exchanges:
        assert shop.consumer_key not in repr(exchange)
        assert all(nonce not in repr(exchange) for nonce in signed)


def test_basic_credentials_are_shown_to_nobody(shop: WooCommerceSimulator) -> None:
    exchanges: list[Exchange] = []
    connector_for(WooCommerceConnector, shop, on_exchange=exchanges.append).check()
    assert len(exchanges) == 5
    assert shop.consumer_key not in repr(exchanges)
    assert shop.consumer_secret not in repr(exchanges)


@pytest.mark.parametrize("minutes", [-16, 16])
def test_clocks_that_differ_too_much_are_named_as_the_cause(minutes: int) -> None:
    hub, vendor = Clock(), Clock()
    vendor.advance(minutes=minutes)
    with WooCommerceSimulator(site="http://woo.example", now=vendor) as shop:
        connector = connector_for(WooCommerceConnector, shop, now=hub)
        with pytest.raises(AuthError) as error:
            connector.check()
        assert str(error.value) == f"WooCommerce refused the key. Invalid timestamp. {NEW_KEY} {SIGNED}"
        vendor.now = hub.now
        assert connector.check().external_id == "woo.example"


def test_a_shop_that_signs_with_another_scheme_than_it_is_called_by() -> None:
    with WooCommerceSimulator(site="http://woo.example") as shop:
        connector = connector_for(WooCommerceConnector, shop)
        # Behind a proxy that ends TLS it takes itself for the other one.
        shop.origin = "https://woo.example"
        with pytest.raises(AuthError) as error:
            connector.check()
        reason = "Invalid signature - provided signature does not match."
        assert str(error.value) == f"WooCommerce refused the key. {reason} {NEW_KEY} {SIGNED}"
        shop.origin = "http://woo.example"
        assert connector.check().external_id == "woo.example"


# ---------------------------------------------------------------- webhooks


def subscriptions(shop: WooCommerceSimulator) -> dict[str, tuple[str, str, str]]:
    return {each.topic: (each.delivery_url, each.secret, each.status) for each in shop.shop.webhooks.values()}


ADDRESS = "http://127.0.0.1:9/webhooks/merchant/connection"


def test_subscribes_to_every_topic_once(shop: WooCommerceSimulator) -> None:
    connector = connector_for(WooCommerceConnector, shop)
    assert WooCommerceConnector.effects["subscribe_webhooks"] is Settlement.NATURAL_KEY
    first = connector.perform("subscribe_webhooks", {"address": ADDRESS}, "key")
    assert (first.reference, first.details) == (ADDRESS, {"created": list(TOPICS), "activated": [], "deleted": []})
    assert subscriptions(shop) == dict.fromkeys(TOPICS, (ADDRESS, WEBHOOK_SECRET, "active"))
    again = connector.perform("subscribe_webhooks", {"address": ADDRESS}, "key")
    assert again.details == {"created": [], "activated": [], "deleted": []}
    assert len(shop.shop.webhooks) == 8


def test_adds_only_what_is_missing_and_wakes_only_what_sleeps(shop: WooCommerceSimulator) -> None:
    connector = connector_for(WooCommerceConnector, shop)
    connector.subscribe_webhooks({"address": ADDRESS}, "key")
    webhooks = {each.topic: each for each in shop.shop.webhooks.values()}
    del shop.shop.webhooks[webhooks["order.deleted"].id]
    webhooks["order.updated"].status, webhooks["order.updated"].secret = "disabled", "forgotten"
    webhooks["product.updated"].delivery_url = "http://127.0.0.1:9/somebody/else"
    result = connector.subscribe_webhooks({"address": ADDRESS}, "key")
    assert result.details == {
        "created": ["order.deleted", "product.updated"],
        "activated": ["order.updated"],
        "deleted": [],
    }
    assert subscriptions(shop) == dict.fromkeys(TOPICS, (ADDRESS, WEBHOOK_SECRET, "active"))
    assert len(shop.shop.webhooks) == 9


def test_a_working_webhook_counts_however_many_disabled_ones_lie_beside_it(shop: WooCommerceSimulator) -> None:
    connector = connector_for(WooCommerceConnector, shop)
    connector.subscribe_webhooks({"address": ADDRESS}, "key")
    for webhook in list(shop.shop.webhooks.values()):
        shop.shop.webhooks[webhook.id + 100] = replace(webhook, id=webhook.id + 100, status="disabled")
        shop.shop.webhooks[webhook.id + 200] = replace(webhook, id=webhook.id + 200, status="disabled")
    assert connector.subscribe_webhooks({"address": ADDRESS}, "key").details == {
        "created": [],
        "activated": [],
        "deleted": [],
    }


def test_a_subscription_cut_off_half_way_is_finished_by_doing_it_again(shop: WooCommerceSimulator) -> None:
    connector = connector_for(WooCommerceConnector, shop)
    shop.fail_next("/wp-json/wc/v3/webhooks", Fault(after_effect=True), times=3)
    shop.fail_next("/wp-json/wc/v3/webhooks", Fault.reset())
    with pytest.raises(Unavailable):
        connector.subscribe_webhooks({"address": ADDRESS}, "key")
    result = connector.subscribe_webhooks({"address": ADDRESS}, "key")
    assert result.details == {"created": list(TOPICS[3:]), "activated": [], "deleted": []}
    assert len(shop.shop.webhooks) == 8


def test_the_shop_disables_what_fails_and_the_hub_wakes_it(shop: WooCommerceSimulator) -> None:
    shop.add_product("MUG", "Mug", 10, "1")
    connector = connector_for(WooCommerceConnector, shop)
    connector.subscribe_webhooks({"address": ADDRESS}, "key")  # nobody listens there
    for quantity in range(6):
        shop.set_stock("MUG", quantity)
        assert shop.wait_for_deliveries()
    assert subscriptions(shop)["product.updated"] == (ADDRESS, WEBHOOK_SECRET, "disabled")
    assert subscriptions(shop)["order.updated"] == (ADDRESS, WEBHOOK_SECRET, "active")
    assert connector.read_subscriptions(ADDRESS).missing == ("product.updated",)
    result = connector.subscribe_webhooks({"address": ADDRESS}, "key")
    assert result.details == {"created": [], "activated": ["product.updated"], "deleted": []}
    assert subscriptions(shop)["product.updated"] == (ADDRESS, WEBHOOK_SECRET, "active")


def test_tells_which_topics_reach_the_hub_without_changing_anything(shop: WooCommerceSimulator) -> None:
    connector = connector_for(WooCommerceConnector, shop)
    assert connector.read_subscriptions(ADDRESS) == Subscriptions(active=(), missing=TOPICS)
    connector.subscribe_webhooks({"address": ADDRESS}, "key")
    webhooks = {each.topic: each for each in shop.shop.webhooks.values()}
    webhooks["order.updated"].status = "disabled"
    webhooks["product.created"].status = "paused"
    del shop.shop.webhooks[webhooks["order.deleted"].id]
    broken = ("order.updated", "order.deleted", "product.created")
    shop.requests.clear()
    assert connector.read_subscriptions(ADDRESS) == Subscriptions(
        active=tuple(topic for topic in TOPICS if topic not in broken), missing=broken
    )
    assert {request.method for request in shop.requests} == {"GET"}
    connector.subscribe_webhooks({"address": ADDRESS}, "key")
    assert connector.read_subscriptions(ADDRESS) == Subscriptions(active=TOPICS)


def test_when_the_hub_moves_those_at_its_old_address_are_deleted(shop: WooCommerceSimulator) -> None:
    connector = connector_for(WooCommerceConnector, shop)
    connector.subscribe_webhooks({"address": ADDRESS}, "key")
    others = "http://127.0.0.1:9/webhooks/merchant/another"
    connector.subscribe_webhooks({"address": others}, "key")
    moved = "https://hub.example/webhooks/merchant/connection"
    result = connector.subscribe_webhooks({"address": moved}, "key")
    assert result.details == {"created": list(TOPICS), "activated": [], "deleted": list(TOPICS)}
    assert sorted(each.delivery_url for each in shop.shop.webhooks.values()) == [others] * 8 + [moved] * 8
    again = connector.subscribe_webhooks({"address": moved}, "key")
    assert again.details == {"created": [], "activated": [], "deleted": []}


def test_webhooks_of_the_simulated_shop_are_verified_and_read_like_real_ones() -> None:
    received: list[SimRequest] = []

    class Receiver(WooCommerceSimulator):
        def answer(self, request: SimRequest) -> SimResponse:
            received.append(request)
            return SimResponse()

    with WooCommerceSimulator() as shop, Receiver() as receiver:
        shop.add_product("MUG", "Mug", 10, "12.50")
        connector = connector_for(WooCommerceConnector, shop)
        connector.subscribe_webhooks({"address": f"{receiver.serve()}/hook"}, "key")
        sale = shop.buy([("MUG", 2)])
        assert sale is not None
        shop.trash(sale.order_external_id)
        assert shop.wait_for_deliveries()
    known = read_all(connector, received)
    assert sorted(topic for topic, _ in known) == ["order.created", "order.deleted", "order.updated", "product.updated"]
    said: dict[str, Any] = dict(known)
    assert said["order.created"] == said["order.updated"]
    assert said["order.created"][0].external_id == sale.order_external_id
    assert said["order.deleted"][0].external_id == sale.order_external_id
    assert [(fact.external_id, fact.available) for fact in said["product.updated"][1:]] == [("10", 8)]


def read_all(connector: WooCommerceConnector, requests: list[SimRequest]) -> list[tuple[str, Any]]:
    known = []
    for request in requests:
        delivery = connector.verify(Webhook(request.headers, request.body))
        if delivery is None:
            assert request.body.startswith(b"webhook_id=")
            continue
        known.append((delivery.topic, list(connector.read_webhook(RawRecord(delivery.topic, "", request.body)))))
    return known
