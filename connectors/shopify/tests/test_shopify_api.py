"""Talking to Shopify: tokens, budgets, refusals that come as HTTP 200, and every fault followed by its recovery."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from hub.connector import RateBudget, StockPush, StockRef
from hub.errors import AuthError, NotFound, RateLimited, Rejected, Unavailable
from hub.http import Exchange, LocalLimiter
from hub.testing.clock import Clock
from hub.testing.context import MemoryTokenVault, context_for
from hub.testing.simulator import Fault, SimResponse
from hub_shopify import documents
from hub_shopify.authorization import SCOPES
from hub_shopify.connector import ShopifyConnector
from hub_shopify.settings import ShopifySettings
from hub_shopify.simulator import ShopifySimulator

GRAPHQL = "/admin/api"
GRANT = "/admin/oauth/access_token"


@pytest.fixture
def shop() -> Iterator[ShopifySimulator]:
    with ShopifySimulator() as simulator:
        yield simulator


def connect(shop: ShopifySimulator, entered: dict[str, str] | None = None, **options: Any) -> ShopifyConnector:
    settings = ShopifySettings().load({**shop.settings(), **(entered or {})})
    return ShopifyConnector(context_for(settings, shop, hosts=ShopifyConnector.hosts(settings), **options))


def grants(shop: ShopifySimulator) -> int:
    return sum(request.path == GRANT for request in shop.requests)


def says(body: Any) -> Fault:
    return Fault(response=SimResponse.of_json(body))


# --- the account


def test_check_tells_whose_shop_it_is(shop: ShopifySimulator) -> None:
    second = shop.add_location("Store in town")
    account = connect(shop).check()
    assert account.external_id == str(shop.shop_id)
    assert (account.name, account.currency) == ("Demo shop", "EUR")
    assert [place.name for place in account.locations] == ["Main warehouse", "Store in town"]
    assert account.locations[1].external_id == second
    assert account.warnings == ()


def test_check_names_every_missing_scope_and_no_other(shop: ShopifySimulator) -> None:
    shop.scopes = (*({*SCOPES} - {"read_products", "read_locations", "write_inventory"}), "write_products")
    connector = connect(shop)
    with pytest.raises(AuthError) as refused:
        connector.check()
    assert str(refused.value).startswith(
        "The app may not do all that is needed. Missing: read_locations (to know the shop's locations), "
        "write_inventory (to read and publish stock). Add what is missing to the app's access scopes"
    )
    shop.scopes = tuple(SCOPES)
    assert connector.check().name == "Demo shop"


def test_check_warns_that_old_orders_stay_hidden(shop: ShopifySimulator) -> None:
    shop.scopes = tuple(SCOPES)
    (warning,) = connect(shop).check().warnings
    assert "60 days" in warning
    assert "read_all_orders" in warning


def test_check_warns_when_shopify_serves_another_version(shop: ShopifySimulator) -> None:
    shop.served_version = "2027-04"
    (warning,) = connect(shop).check().warnings
    assert "2027-04 of its API instead of 2026-10" in warning


def test_check_notices_that_the_shop_has_another_address_now(shop: ShopifySimulator) -> None:
    connector = connect(shop)
    renamed = {
        "id": "gid://shopify/Shop/1",
        "name": "Shop",
        "currencyCode": "EUR",
        "myshopifyDomain": "new.myshopify.com",
    }
    scopes = [{"handle": scope} for scope in SCOPES]
    shop.fail_next(GRAPHQL, says({"data": {"shop": renamed, "currentAppInstallation": {"accessScopes": scopes}}}))
    with pytest.raises(Rejected, match=r"This shop's address is new\.myshopify\.com now\."):
        connector.check()


def test_a_wrong_shop_address_is_told_apart_from_a_wrong_key(shop: ShopifySimulator) -> None:
    settings = ShopifySettings().load({**shop.settings(), "shop": "other.myshopify.com"})
    routes = {"https://other.myshopify.com": shop.serve()}
    connector = ShopifyConnector(context_for(settings, routes=routes))
    with pytest.raises(Rejected, match=r"There is no Shopify shop at other\.myshopify\.com\."):
        connector.check()
    old_app = ShopifyConnector(context_for({**settings, "access_token": "shpat_1"}, routes=routes))
    with pytest.raises(Rejected, match=r"There is no Shopify shop at other\.myshopify\.com\."):
        old_app.check()


def test_talks_to_the_shop_and_to_nothing_else(shop: ShopifySimulator) -> None:
    connect(shop).check()
    assert {request.headers["host"] for request in shop.requests} == {"demo-shop.myshopify.com"}
    assert {request.path for request in shop.requests} == {GRANT, "/admin/api/2026-10/graphql.json"}


# --- tokens


def test_one_token_serves_all_calls_until_it_is_about_to_expire() -> None:
    clock = Clock()
    with ShopifySimulator(now=clock) as shop:
        connector = connect(shop, now=clock)
        connector.check()
        connector.check()
        assert grants(shop) == 1
        clock.advance(hours=23, minutes=59)
        connector.check()
        assert grants(shop) == 2


def test_a_revoked_token_is_replaced_once_and_the_call_repeated(shop: ShopifySimulator) -> None:
    connector = connect(shop)
    connector.check()
    shop.revoke_tokens()
    assert connector.check().name == "Demo shop"
    assert grants(shop) == 2


def test_workers_that_meet_a_revoked_token_together_fetch_one_new_token(shop: ShopifySimulator) -> None:
    first = connect(shop)
    first.check()
    shop.revoke_tokens()
    connectors = [ShopifyConnector(first.context) for _ in range(4)]
    workers = [threading.Thread(target=connector.check) for connector in connectors]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    vault = first.context.tokens
    assert isinstance(vault, MemoryTokenVault)
    assert vault.obtained == grants(shop) == 2


def test_a_token_refused_twice_asks_to_reconnect(shop: ShopifySimulator) -> None:
    connector = connect(shop)
    refusal = Fault(response=SimResponse.of_json({"errors": "[API] Invalid API key"}, 401))
    shop.fail_next(GRAPHQL, refusal, times=2)
    with pytest.raises(AuthError, match="reconnect the shop"):
        connector.check()
    assert connector.check().name == "Demo shop"


@pytest.mark.parametrize(
    ("entered", "words"),
    [
        ({"client_id": "0ther"}, "does not know this client ID together with this client secret"),
        ({"client_secret": "shpss_wrong"}, "does not know this client ID together with this client secret"),
    ],
)
def test_a_wrong_key_is_named(shop: ShopifySimulator, entered: dict[str, str], words: str) -> None:
    with pytest.raises(AuthError, match=words):
        connect(shop, entered).check()


def test_an_app_that_is_not_installed_can_be_installed_and_works(shop: ShopifySimulator) -> None:
    shop.installed = False
    connector = connect(shop)
    with pytest.raises(AuthError, match=r"not installed on demo-shop\.myshopify\.com"):
        connector.check()
    shop.installed = True
    assert connector.check().name == "Demo shop"


def test_an_app_of_another_organization_is_told_so(shop: ShopifySimulator) -> None:
    shop.permitted = False
    with pytest.raises(AuthError, match="must belong to the same organization"):
        connect(shop).check()


def test_an_unknown_refusal_of_a_token_says_what_to_check(shop: ShopifySimulator) -> None:
    shop.fail_next(
        GRANT, Fault(response=SimResponse(400, {"Content-Type": "text/html"}, b"<html>Oauth error odd</html>"))
    )
    with pytest.raises(AuthError, match="Check the client ID and the client secret"):
        connect(shop).check()


def test_an_access_token_of_an_old_app_needs_no_grant(shop: ShopifySimulator) -> None:
    connector = connect(shop, {"client_id": "", "access_token": shop.legacy_token})
    assert connector.check().name == "Demo shop"
    assert grants(shop) == 0


def test_a_refused_access_token_says_what_to_do(shop: ShopifySimulator) -> None:
    connector = connect(shop, {"client_id": "", "access_token": "shpat_wrong"})
    with pytest.raises(AuthError, match="Copy it again, or better, use the client ID"):
        connector.check()


def test_no_secret_reaches_the_activity_page(shop: ShopifySimulator) -> None:
    seen: list[Exchange] = []
    connector = connect(shop, on_exchange=seen.append)
    connector.check()
    shop.fail_next(GRAPHQL, Fault.status(500))
    shop.fail_next(GRANT, Fault.status(500))
    with pytest.raises(Unavailable):
        connector.check()
    shop.revoke_tokens()
    with pytest.raises(Unavailable):
        connector.check()
    assert len(seen) == 6
    assert shop.client_secret not in repr(seen)
    assert "shpat_" not in repr(seen)  # as every token begins


def test_an_error_page_that_repeats_the_secret_does_not_spread_it(shop: ShopifySimulator) -> None:
    page = SimResponse(500, {"Content-Type": "text/html"}, f"<p>bad: {shop.client_secret}</p>".encode())
    shop.fail_next(GRANT, Fault(response=page))
    with pytest.raises(Unavailable, match="bad: •••"):
        connect(shop).check()


# --- the query budget


def test_throttling_at_http_200_is_a_rate_limit_with_the_time_to_wait() -> None:
    clock = Clock()
    with ShopifySimulator(now=clock, restore_rate=100, bucket=1000) as shop:
        connector = connect(shop, now=clock)
        shop.buy([])
        while True:
            try:
                list(connector.fetch_orders(None))
            except RateLimited as error:
                limited = error
                break
        assert limited.retry_after is not None
        assert 1 <= limited.retry_after <= documents.ORDERS.cost / 100
        clock.advance(seconds=limited.retry_after + 1)
        assert [len(page.records) for page in connector.fetch_orders(None)] == [1]


def test_a_throttled_call_is_never_repeated_at_once(shop: ShopifySimulator) -> None:
    status = {"maximumAvailable": 1000, "currentlyAvailable": 990, "restoreRate": 50}
    cost = {"requestedQueryCost": 3, "actualQueryCost": None, "throttleStatus": status}
    connector = connect(shop)
    throttled = [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}]
    shop.fail_next(GRAPHQL, says({"errors": throttled, "extensions": {"cost": cost}}))
    with pytest.raises(RateLimited) as limited:
        connector.check()
    assert limited.value.retry_after == 1.0


def test_the_budget_is_learned_from_every_answer() -> None:
    learned: list[tuple[float, float, float]] = []

    class Watched(LocalLimiter):
        def learn(self, available: float, restore_rate: float, maximum: float) -> None:
            learned.append((available, restore_rate, maximum))
            super().learn(available, restore_rate, maximum)

    budget = ShopifyConnector.rate_budget
    assert budget == RateBudget(per_second=100, burst=1000)
    with ShopifySimulator(now=Clock()) as shop:
        connect(shop, limiter=Watched(budget)).check()
    assert learned == [(19_997.0, 1000.0, 20_000.0), (19_994.0, 1000.0, 20_000.0)]


def test_a_spent_budget_is_known_without_asking_shopify() -> None:
    clock = Clock()
    with ShopifySimulator(now=clock, restore_rate=50, bucket=1000) as shop:
        limiter = LocalLimiter(RateBudget(50, 1000), clock=lambda: clock.now.timestamp(), patience=0)
        connector = connect(shop, now=clock, limiter=limiter)
        shop.buy([])
        with pytest.raises(RateLimited, match="rate budget of this connection is spent"):
            for _ in range(50):
                list(connector.fetch_orders(None))
        clock.advance(seconds=20)
        assert [len(page.records) for page in connector.fetch_orders(None)] == [1]


# --- refusals that come with HTTP 200


@pytest.mark.parametrize(
    ("errors", "kind", "words"),
    [
        ([{"message": "x", "extensions": {"code": "ACCESS_DENIED", "requiredAccess": "`read_orders` access scope."}}],
         AuthError, "it needs: `read_orders` access scope. Add what is missing"),
        ([{"message": "Protected customer data", "extensions": {"code": "ACCESS_DENIED"}}],
         AuthError, "Protected customer data"),
        ([{"message": "x", "extensions": {"code": "SHOP_INACTIVE"}}], AuthError, "closed this shop or paused it"),
        ([{"message": "Query cost is 1203", "extensions": {"code": "MAX_COST_EXCEEDED"}}],
         Rejected, "Query cost is 1203"),
        ([{"message": "Field 'x' doesn't exist"}], Rejected, "Field 'x' doesn't exist"),
        ([{"message": "Internal error", "extensions": {"code": "INTERNAL_SERVER_ERROR"}}],
         Unavailable, "Internal error"),
        ([{"message": "a"}, {"message": "t", "extensions": {"code": "THROTTLED"}}], RateLimited, "slow down"),
        ("Something odd", Rejected, "Something odd"),
        ([17], Rejected, "17"),
        ([{"message": "no code", "extensions": None}], Rejected, "no code"),
    ],
)  # fmt: skip
def test_errors_in_an_answer_are_what_they_say_and_pass(
    shop: ShopifySimulator, errors: Any, kind: type[Exception], words: str
) -> None:
    connector = connect(shop)
    shop.fail_next(GRAPHQL, says({"data": {"shop": None}, "errors": errors}))
    with pytest.raises(kind) as raised:
        connector.check()
    assert words in str(raised.value)
    assert connector.check().name == "Demo shop"


def test_a_scope_taken_away_later_is_named(shop: ShopifySimulator) -> None:
    connector = connect(shop)
    shop.scopes = ("read_products",)
    with pytest.raises(AuthError, match="`read_orders` access scope"):
        list(connector.fetch_orders(None))
    shop.scopes = tuple(SCOPES)
    assert list(connector.fetch_orders(None)) == []


@pytest.mark.parametrize("body", [{"data": None}, {}, [], "text", {"extensions": {"cost": "odd"}}])
def test_an_answer_without_data_is_never_success(shop: ShopifySimulator, body: Any) -> None:
    connector = connect(shop)
    shop.fail_next(GRAPHQL, says(body))
    with pytest.raises(Unavailable):
        connector.check()
    assert connector.check().name == "Demo shop"


# --- faults of the line


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.status(500), Unavailable),
        (Fault.status(502, after_effect=True), Unavailable),
        (Fault.status(503, retry_after=7), RateLimited),
        (Fault.status(429, retry_after=2), RateLimited),
        (Fault.status(402), Rejected),
        (Fault.status(404), NotFound),
        (Fault.html(), Unavailable),
        (Fault.truncated(), Unavailable),
        (Fault.reset(), Unavailable),
        (Fault.reset(after_effect=False), Unavailable),
    ],
)
@pytest.mark.parametrize("path", [GRAPHQL, GRANT])
def test_every_fault_is_named_and_the_next_call_works(
    shop: ShopifySimulator, fault: Fault, kind: type[Exception], path: str
) -> None:
    shop.add_product("MUG", "Mug", 3, "8.00")
    connector = connect(shop)
    shop.fail_next(path, fault)
    if path == GRANT and kind is NotFound:
        kind = Rejected
    with pytest.raises(kind):
        list(connector.fetch_listings(None))
    assert [len(page.records) for page in connector.fetch_listings(None)] == [1]


def test_a_slow_answer_is_unclear_and_the_same_write_again_is_harmless(shop: ShopifySimulator) -> None:
    shop.add_product("MUG", "Mug", 3, "8.00")
    connector = connect(shop, timeout=(2.0, 0.2))
    (record,) = (record for page in connector.fetch_listings(None) for record in page.records)
    (listing,) = connector.read_listing(record)
    push = StockPush(StockRef(listing.external_id, listing.levels[0].location_external_id, listing.handles), 9, 3, "k1")
    shop.fail_next(GRAPHQL, Fault.slow(0.6))
    with pytest.raises(Unavailable) as unclear:
        connector.push_stock([push])
    assert unclear.value.sent
    assert [outcome.state for outcome in connector.push_stock([push])] == ["written"]
    assert [(write.sku, write.quantity) for write in shop.stock_writes] == [("MUG", 9)]
