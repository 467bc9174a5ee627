"""The simulated Amazon refuses what Amazon refuses, and does what Amazon does, when Amazon does it."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest

from hub.sqs import Queue
from hub.testing import Attempt, Clock, DeliveryFault, SimRequest, SimResponse
from hub_amazon.settings import AmazonSettings, queue_address, queue_arn
from hub_amazon.simulator import AmazonSimulator
from hub_amazon.simulator_account import queue_server
from hub_amazon.simulator_models import Models

SPECS = Path(os.environ.get("TALLYHUB_SPECS") or Path(__file__).parents[4] / "shared" / "specs") / "amazon-sp-api"
MODELS = Models(SPECS) if SPECS.is_dir() else None

DE, FR, US = "A1PA6795UKMFR9", "A13V1IB3VIYZZH", "ATVPDKIKX0DER"
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ORDERS = "/orders/2026-01-01/orders"
EVERYTHING = "BUYER,RECIPIENT,PROCEEDS,PROMOTION,CANCELLATION,FULFILLMENT,PACKAGES"
MUG = [("MUG-1", 1)]


class Seller:
    """A seller with ten mugs and a program that calls Amazon; each request and answer is checked where models are."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock(NOON)
        self.amazon = AmazonSimulator(now=self.clock, models=MODELS, **options)
        self.amazon.hold_webhooks()
        self.amazon.add_product("MUG-1", "Mug", 10, "12.50")
        self.token = self.grant(grant_type="refresh_token", refresh_token=self.amazon.refresh_token).json()[
            "access_token"
        ]

    def grant(self, **form: str) -> SimResponse:
        """Ask Login with Amazon for a token."""
        app = {"client_id": self.amazon.client_id, "client_secret": self.amazon.client_secret}
        return self.amazon.handle(SimRequest("POST", "/auth/o2/token", body=urlencode({**app, **form}).encode()))

    def grantless(self) -> str:
        """A token of the application itself."""
        answer = self.grant(grant_type="client_credentials", scope="sellingpartnerapi::notifications")
        token: str = answer.json()["access_token"]
        return token

    def call(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, **query: str | Sequence[str]
    ) -> SimResponse:
        told = tuple((name, value if isinstance(value, str) else ",".join(value)) for name, value in query.items())
        headers = {"x-amz-access-token": self.token if token is None else token}
        sent = b"" if body is None else json.dumps(body).encode()
        return self.amazon.handle(SimRequest(method, path, told, headers, sent))

    def get(self, path: str, **query: str | Sequence[str]) -> SimResponse:
        return self.call("GET", path, **query)

    def order(self, id: str, included: str = EVERYTHING) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"{ORDERS}/{id}", includedData=included).json()["order"]
        return found

    def buy(self, **about: Any) -> str:
        """A customer buys a mug; returns the order."""
        sale = self.amazon.checkout(about.pop("items", MUG), **about)
        assert sale is not None
        return sale.order_external_id

    def confirm(self, order: str, **package: Any) -> SimResponse:
        """Confirm a package; what is not said is right, and everything is in it."""
        items = [{"orderItemId": each["orderItemId"], "quantity": 1} for each in self.order(order)["orderItems"]]
        marketplace = package.pop("marketplaceId", DE)
        detail = {
            "packageReferenceId": "1",
            "carrierCode": "DHL",
            "trackingNumber": "00340434161094021501",
            "shipDate": self.clock().isoformat(),
            "orderItems": items,
            **package,
        }
        body = {"marketplaceId": marketplace, "packageDetail": detail}
        return self.call("POST", f"/orders/v0/orders/{order}/shipmentConfirmation", body)

    def write(self, quantity: Any, *, sku: str = "MUG-1", product_type: str = "HOME", **query: str) -> SimResponse:
        """Write the quantity of a SKU."""
        value = [{"fulfillment_channel_code": "DEFAULT", "quantity": quantity}]
        patch = {"op": "replace", "path": "/attributes/fulfillment_availability", "value": value}
        path = f"/listings/2021-08-01/items/{self.amazon.seller_id}/{sku}"
        body = {"productType": product_type, "patches": [patch]}
        return self.call("PATCH", path, body, **{"marketplaceIds": DE, **query})

    def listing(self, sku: str = "MUG-1") -> dict[str, Any]:
        path = f"/listings/2021-08-01/items/{self.amazon.seller_id}/{sku}"
        found: dict[str, Any] = self.get(path, marketplaceIds=DE, includedData="issues,fulfillmentAvailability").json()
        return found

    def store(self, method: str, url: str, body: bytes = b"", **headers: str) -> SimResponse:
        """Ask the store of documents."""
        parts = urlsplit(url)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.amazon.handle(SimRequest(method, parts.path, tuple(parse_qsl(parts.query)), named, body))

    def feed(self, document: bytes) -> str:
        """Send a feed; returns its id."""
        kind = "application/json; charset=UTF-8"
        made = self.call("POST", "/feeds/2021-06-30/documents", {"contentType": kind}).json()
        assert self.store("PUT", made["url"], document, content_type=kind).status == 200
        told = {"feedType": "JSON_LISTINGS_FEED", "marketplaceIds": [DE], "inputFeedDocumentId": made["feedDocumentId"]}
        id: str = self.call("POST", "/feeds/2021-06-30/feeds", told).json()["feedId"]
        return id

    def feed_state(self, id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/feeds/2021-06-30/feeds/{id}").json()
        return found

    def subscribe(self, type: str, **more: Any) -> SimResponse:
        """Have a type of notification left in the seller's queue."""
        made = self.destination()
        listed = self.call("GET", "/notifications/v1/destinations", token=self.grantless()).json()["payload"]
        assert made.status in (200, 409)
        version = "2020-09-04" if type == "FEED_PROCESSING_FINISHED" else "1.0"
        told = {"payloadVersion": version, "destinationId": listed[0]["destinationId"], **more}
        return self.call("POST", f"/notifications/v1/subscriptions/{type}", told)

    def destination(self, arn: str = "") -> SimResponse:
        arn = arn or queue_arn(self.amazon.settings()["queue_url"])
        told = {"name": "ours", "resourceSpecification": {"sqs": {"arn": arn}}}
        return self.call("POST", "/notifications/v1/destinations", told, token=self.grantless())

    def heard(self) -> list[dict[str, Any]]:
        """The messages on their way, in order."""
        return [json.loads(letter.body) for letter in self.amazon.take_webhooks()]


def refusal(answer: SimResponse) -> tuple[int, str]:
    """Status and words of a refusal."""
    [error] = answer.json()["errors"]
    return answer.status, error["details"] or error["message"]


# ---------------------------------------------------------------- Login with Amazon


def test_a_token_is_good_for_an_hour() -> None:
    seller = Seller()
    seller.clock.advance(minutes=59, seconds=59)
    assert seller.get("/sellers/v1/marketplaceParticipations").status == 200
    seller.clock.advance(seconds=1)
    answer = seller.get("/sellers/v1/marketplaceParticipations")
    assert refusal(answer) == (403, "The access token you provided has expired.")


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("", "Access token is missing in the request header."),
        ("Atza|another", "The access token you provided is revoked, malformed or invalid."),
    ],
)
def test_who_has_no_token_gets_nothing(token: str, words: str) -> None:
    assert refusal(Seller().call("GET", f"{ORDERS}/302-0000000-0000000", token=token)) == (403, words)


def test_the_token_of_the_application_is_not_the_sellers_and_the_other_way_round() -> None:
    seller = Seller()
    assert seller.call("GET", f"{ORDERS}/302-0000000-0000000", token=seller.grantless()).status == 403
    assert seller.call("GET", "/notifications/v1/destinations").status == 403
    assert seller.call("GET", "/notifications/v1/destinations", token=seller.grantless()).status == 200


@pytest.mark.parametrize(
    ("form", "status", "code"),
    [
        ({"client_secret": "wrong", "grant_type": "refresh_token"}, 401, "invalid_client"),
        ({"grant_type": "refresh_token", "refresh_token": "Atzr|another"}, 400, "invalid_grant"),
        ({"grant_type": "authorization_code", "code": "never given"}, 400, "invalid_grant"),
        ({"grant_type": "client_credentials", "scope": "profile"}, 400, "invalid_scope"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
    ],
)
def test_login_with_amazon_refuses(form: Mapping[str, str], status: int, code: str) -> None:
    answer = Seller().grant(**form)
    assert (answer.status, answer.json()["error"]) == (status, code)


def consent(amazon: AmazonSimulator, **changed: str) -> str:
    asked = {
        "application_id": amazon.application_id,
        "state": "s1",
        "redirect_uri": "https://hub.example/back",
        **changed,
    }
    return f"https://{amazon.home.seller_central}/apps/authorize/consent?{urlencode(asked)}"


def test_a_seller_who_agrees_gives_a_code_that_is_good_once_and_for_five_minutes() -> None:
    seller = Seller()
    codes = []
    for _ in range(2):
        back = urlsplit(seller.amazon.approve(consent(seller.amazon)))
        told = {name: values[0] for name, values in parse_qs(back.query).items()}
        assert f"{back.scheme}://{back.netloc}{back.path}" == "https://hub.example/back"
        assert (told["state"], told["selling_partner_id"]) == ("s1", seller.amazon.seller_id)
        codes.append(told["spapi_oauth_code"])
    granted = seller.grant(grant_type="authorization_code", code=codes[0]).json()
    assert granted["refresh_token"] == seller.amazon.refresh_token
    assert seller.call("GET", "/sellers/v1/marketplaceParticipations", token=granted["access_token"]).status == 200
    assert seller.grant(grant_type="authorization_code", code=codes[0]).json()["error"] == "invalid_grant"
    seller.clock.advance(minutes=5)
    assert seller.grant(grant_type="authorization_code", code=codes[1]).json()["error"] == "invalid_grant"


def test_seller_central_knows_the_application_and_where_it_may_send_people_back_to() -> None:
    amazon = Seller().amazon
    with pytest.raises(ValueError, match="the application is not known"):
        amazon.approve(consent(amazon, application_id="amzn1.sp.solution.another"))
    amazon.redirects = ["https://other.example/"]
    with pytest.raises(ValueError, match="the redirect URI is not registered"):
        amazon.approve(consent(amazon))
    with pytest.raises(ValueError, match=r"This leads to sellercentral\.amazon\.com\."):
        amazon.approve("https://sellercentral.amazon.com/apps/authorize/consent?application_id=1")


def test_a_permission_that_was_taken_back_ends_every_token() -> None:
    seller = Seller()
    seller.amazon.take_back()
    assert seller.get("/sellers/v1/marketplaceParticipations").status == 403
    again = seller.grant(grant_type="refresh_token", refresh_token=seller.amazon.refresh_token)
    assert again.json()["error"] == "invalid_grant"


# ---------------------------------------------------------------- usage plans and parameters


def test_twenty_searches_are_allowed_at_once_and_one_every_three_minutes_after_that() -> None:
    seller = Seller(plan=1)

    def search() -> SimResponse:
        return seller.get(ORDERS, lastUpdatedAfter="2026-11-01T00:00:00Z")

    answers = [search() for _ in range(21)]
    assert [answer.status for answer in answers] == [200] * 20 + [429]
    assert answers[0].headers["x-amzn-RateLimit-Limit"] == "0.0056"
    assert refusal(answers[20]) == (429, "You exceeded your quota for the requested resource.")
    seller.clock.advance(seconds=178)
    assert search().status == 429
    seller.clock.advance(seconds=1)
    assert [search().status, search().status] == [200, 429]
    # Each operation has a plan of its own.
    assert seller.get(f"{ORDERS}/302-0000000-0000000").status == 404


def test_the_limit_is_told_only_where_it_is_known() -> None:
    seller = Seller()
    seller.amazon.tells_rates = False
    assert "x-amzn-RateLimit-Limit" not in seller.get(f"{ORDERS}/302-0000000-0000000").headers


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({}, "Exactly one of createdAfter and lastUpdatedAfter is needed."),
        (
            {"createdAfter": "2026-11-01T00:00:00Z", "lastUpdatedAfter": "2026-11-01T00:00:00Z"},
            "Exactly one of createdAfter and lastUpdatedAfter is needed.",
        ),
        (
            {"createdAfter": "2026-11-01T00:00:00Z", "lastUpdatedBefore": "2026-11-02T00:00:00Z"},
            "lastUpdatedBefore does not go with createdAfter.",
        ),
        (
            {"lastUpdatedAfter": "2026-11-01T00:00:00Z", "lastUpdatedBefore": "2026-11-22T11:58:01Z"},
            "lastUpdatedBefore lies before lastUpdatedAfter, or less than two minutes ago.",
        ),
        ({"lastUpdatedAfter": "2026-11-22T11:58:01Z"}, "lastUpdatedAfter lies less than two minutes ago."),
        ({"createdAfter": "2026-11-01"}, "createdAfter is no ISO 8601 time with a zone."),
        ({"createdAfter": "yesterday"}, "createdAfter is no ISO 8601 time."),
        ({"maxResultsPerPage": "101"}, "maxResultsPerPage is 101, out of its range."),
        ({"maxResultsPerPage": "many"}, "maxResultsPerPage is no whole number."),
        ({"fulfilledBy": "NOBODY"}, "fulfilledBy cannot be 'NOBODY'."),
        ({"marketplaceIds": ",".join(["X"] * 51)}, "marketplaceIds has 51 values, the most is 50."),
        (
            {"createdAfter": "2026-11-01T00:00:00Z", "marketplaceIds": US},
            f"The seller does not take part in the marketplace {US}.",
        ),
        ({"MarketplaceIds": DE}, "There is no parameter MarketplaceIds."),
        (
            {"lastUpdatedAfter": "2026-11-01T00:00:00Z", "paginationToken": "t"},
            "The paginationToken is none that was given, or has expired.",
        ),
    ],
)
def test_a_search_is_refused(query: Mapping[str, str], words: str) -> None:
    assert refusal(Seller().get(ORDERS, **query)) == (400, words)


def test_a_parameter_that_is_there_twice_is_refused() -> None:
    seller = Seller()
    twice = (("createdAfter", "2026-11-01T00:00:00Z"), ("fulfilledBy", "AMAZON"), ("fulfilledBy", "MERCHANT"))
    answer = seller.amazon.handle(SimRequest("GET", ORDERS, twice, {"x-amz-access-token": seller.token}))
    assert refusal(answer) == (400, "A parameter is there twice.")


def test_what_amazon_does_not_have_is_not_found() -> None:
    seller = Seller()
    assert seller.get("/orders/v0/orders", MarketplaceIds=DE).status == 404
    assert seller.get(f"{ORDERS}/302-0000000-0000000").status == 404
    assert seller.get(f"{ORDERS}/MUG-1").status == 400


# ---------------------------------------------------------------- orders


def test_what_has_just_changed_is_found_two_minutes_later_and_each_change_once() -> None:
    seller = Seller(lag=timedelta(minutes=2))
    first = seller.buy()
    since, found = "2026-11-22T11:00:00Z", []
    for _ in range(5):
        answer = seller.get(ORDERS, lastUpdatedAfter=since).json()
        found.append([each["orderId"] for each in answer["orders"]])
        since = answer["lastUpdatedBefore"]
        seller.clock.advance(minutes=1, milliseconds=1)
    assert found == [[], [], [first], [], []]


def test_pages_lead_to_every_order_and_their_tokens_live_for_a_day() -> None:
    seller = Seller()
    bought = []
    for _ in range(5):
        bought.append(seller.buy())
        seller.clock.advance(seconds=1)
    asked = {"lastUpdatedAfter": "2026-11-22T11:00:00Z", "maxResultsPerPage": "2"}
    page = seller.get(ORDERS, **asked).json()
    found = [each["orderId"] for each in page["orders"]]
    token = page["pagination"]["nextToken"]
    changed = seller.get(ORDERS, **{**asked, "lastUpdatedAfter": "2026-11-22T11:00:01Z"}, paginationToken=token)
    assert refusal(changed) == (400, "The parameters are not those that the paginationToken was given for.")
    seller.clock.advance(hours=23)
    seller.token = seller.grant(grant_type="refresh_token", refresh_token=seller.amazon.refresh_token).json()[
        "access_token"
    ]
    while token:
        page = seller.get(ORDERS, **asked, paginationToken=token, includedData="FULFILLMENT").json()
        found += [each["orderId"] for each in page["orders"]]
        token = page.get("pagination", {}).get("nextToken", "")
    assert found == bought
    first = seller.get(ORDERS, **asked).json()["pagination"]["nextToken"]
    seller.clock.advance(hours=24)
    seller.token = seller.grant(grant_type="refresh_token", refresh_token=seller.amazon.refresh_token).json()[
        "access_token"
    ]
    assert seller.get(ORDERS, **asked, paginationToken=first).status == 400


def test_an_order_that_is_not_paid_tells_nothing_of_its_buyer_but_holds_the_stock() -> None:
    seller = Seller()
    order = seller.buy(status="PENDING")
    told = seller.order(order)
    assert told["fulfillment"]["fulfillmentStatus"] == "PENDING"
    assert "buyer" not in told
    assert "recipient" not in told
    assert seller.amazon.stock() == {"MUG-1": 9}
    seller.amazon.pay(order)
    told = seller.order(order)
    assert told["fulfillment"]["fulfillmentStatus"] == "UNSHIPPED"
    assert told["buyer"]["buyerName"] == told["recipient"]["deliveryAddress"]["name"] == "Ada Byron"


def test_what_was_not_asked_for_is_not_told() -> None:
    seller = Seller()
    told = seller.order(seller.buy(), included="FULFILLMENT")
    assert told.keys() == {
        "orderId",
        "createdTime",
        "lastUpdatedTime",
        "programs",
        "salesChannel",
        "orderItems",
        "fulfillment",
    }


def test_an_order_is_shipped_in_parts_each_with_a_package_of_its_own() -> None:
    seller = Seller()
    order = seller.buy(items=[("MUG-1", 3)])
    assert seller.confirm(order).status == 204
    told = seller.order(order)
    assert told["fulfillment"]["fulfillmentStatus"] == "PARTIALLY_SHIPPED"
    assert told["orderItems"][0]["fulfillment"] == {"quantityFulfilled": 1, "quantityUnfulfilled": 2}
    rest = [{"orderItemId": told["orderItems"][0]["orderItemId"], "quantity": 2}]
    assert seller.confirm(order, packageReferenceId="2", orderItems=rest, trackingNumber="T2").status == 204
    told = seller.order(order)
    assert told["fulfillment"]["fulfillmentStatus"] == "SHIPPED"
    assert [(each["packageReferenceId"], each["trackingNumber"]) for each in told["packages"]] == [
        ("1", "00340434161094021501"),
        ("2", "T2"),
    ]


def test_a_package_that_is_confirmed_again_takes_the_place_of_the_one_before() -> None:
    seller = Seller()
    order = seller.buy()
    assert seller.confirm(order, trackingNumber="wrong").status == 204
    assert seller.confirm(order, trackingNumber="right").status == 204
    [package] = seller.order(order)["packages"]
    assert package["trackingNumber"] == "right"
    assert refusal(seller.confirm(order, packageReferenceId="2"))[1].endswith("only 0 are left to be shipped.")


@pytest.mark.parametrize(
    ("package", "words"),
    [
        ({"marketplaceId": FR}, "The order belongs to another marketplace."),
        ({"packageReferenceId": "A-1"}, "packageReferenceId is no positive number."),
        ({"packageReferenceId": "0"}, "packageReferenceId is no positive number."),
        ({"carrierCode": ""}, "carrierCode is missing."),
        ({"carrierCode": "Other"}, "carrierName is needed where carrierCode is Other."),
        ({"trackingNumber": ""}, "trackingNumber is missing."),
        ({"shipDate": "22.11.2026"}, "shipDate is no ISO 8601 time."),
        ({"shipDate": "2026-11-20T12:00:00Z"}, "shipDate lies before the order, or in the future."),
        ({"orderItems": [{"orderItemId": "1", "quantity": 1}]}, "The order has no item 1."),
    ],
)
def test_a_confirmation_is_refused(package: Mapping[str, Any], words: str) -> None:
    seller = Seller()
    order = seller.buy()
    status, said = refusal(seller.confirm(order, **package))
    # The model refuses some of it before its words are looked at.
    assert status == 400
    assert said == words or "shipDate: " in said
    assert "packages" not in seller.order(order)


def test_what_is_cancelled_not_paid_or_amazons_is_not_confirmed() -> None:
    seller = Seller()
    seller.amazon.add_product_shipped_by_channel("TEE-S", "Tee", "19.99")
    cancelled, pending = seller.buy(), seller.buy(status="PENDING")
    by_amazon = seller.buy(items=[("TEE-S", 1)])
    seller.amazon.cancel(cancelled)
    assert refusal(seller.confirm(cancelled)) == (400, "The order is CANCELLED.")
    assert refusal(seller.confirm(pending)) == (400, "The order is PENDING.")
    assert refusal(seller.confirm(by_amazon)) == (400, "Amazon ships this order.")


def test_an_order_that_amazon_ships_takes_nothing_of_the_sellers_stock() -> None:
    seller = Seller()
    seller.amazon.add_product_shipped_by_channel("TEE-S", "Tee", "19.99")
    order = seller.buy(items=[("TEE-S", 2)])
    assert seller.order(order)["fulfillment"]["fulfilledBy"] == "AMAZON"
    assert seller.amazon.stock() == {"MUG-1": 10}
    seller.amazon.fulfill(order)
    told = seller.order(order)
    assert told["fulfillment"]["fulfillmentStatus"] == "SHIPPED"
    assert "packages" not in told


def test_a_buyer_can_ask_to_cancel_and_think_again() -> None:
    seller = Seller()
    order = seller.buy()
    seller.amazon.ask_to_cancel(order, "Found it cheaper")
    asked = {"cancellationRequest": {"requester": "BUYER", "cancelReason": "Found it cheaper"}}
    assert seller.order(order)["orderItems"][0]["cancellation"] == asked
    seller.amazon.think_again(order)
    assert "cancellation" not in seller.order(order)["orderItems"][0]
    seller.amazon.cancel(order)
    assert seller.order(order)["fulfillment"]["fulfillmentStatus"] == "CANCELLED"
    assert seller.amazon.stock() == {"MUG-1": 10}


def test_nothing_is_sold_beyond_what_is_there() -> None:
    seller = Seller()
    assert seller.amazon.buy([("MUG-1", 6), ("MUG-1", 5)]) is None
    assert seller.amazon.stock() == {"MUG-1": 10}


# ---------------------------------------------------------------- listings


def test_a_quantity_is_accepted_at_once_and_true_later() -> None:
    seller = Seller()
    seller.amazon.listings.applies_after = timedelta(minutes=3)
    answer = seller.write(4).json()
    assert (answer["status"], answer["issues"]) == ("ACCEPTED", [])
    seller.clock.advance(minutes=2)
    assert seller.listing()["fulfillmentAvailability"] == [{"fulfillmentChannelCode": "DEFAULT", "quantity": 10}]
    seller.clock.advance(minutes=1)
    assert seller.listing()["fulfillmentAvailability"] == [{"fulfillmentChannelCode": "DEFAULT", "quantity": 4}]
    assert [(write.sku, write.quantity) for write in seller.amazon.stock_writes] == [("MUG-1", 4)]


def test_a_quantity_that_was_accepted_may_be_found_wrong_later() -> None:
    seller = Seller()
    seller.amazon.listings.refused["MUG-1"] = "The offer is blocked."
    assert seller.write(4).json()["status"] == "ACCEPTED"
    listing = seller.listing()
    assert listing["fulfillmentAvailability"][0]["quantity"] == 10
    assert [(each["severity"], each["message"]) for each in listing["issues"]] == [("ERROR", "The offer is blocked.")]


@pytest.mark.parametrize("quantity", [-1, 1.5, "4", None])
def test_a_quantity_that_is_none_is_invalid(quantity: Any) -> None:
    seller = Seller()
    answer = seller.write(quantity).json()
    assert answer["status"] == "INVALID"
    assert answer["issues"][0]["message"] == "'quantity' is not a whole number of at least 0."
    assert seller.amazon.stock() == {"MUG-1": 10}


def test_writing_to_what_is_not_there_or_something_else_is_refused() -> None:
    seller = Seller()
    assert refusal(seller.write(4, sku="MUG-9"))[1] == f"SKU 'MUG-9' not found in marketplace {DE}"
    assert refusal(seller.write(4, marketplaceIds=US))[0] == 400
    assert seller.write(4, product_type="SHOES").json()["status"] == "INVALID"
    assert seller.write(4, product_type="PRODUCT").json()["status"] == "ACCEPTED"
    missing = refusal(seller.write(4, includedData="identifiers"))
    assert missing == (400, "identifiers can be asked for with VALIDATION_PREVIEW alone.")


def test_who_writes_the_quantity_of_what_amazon_ships_ships_it_from_then_on() -> None:
    """Which is why the hub may never do it."""
    seller = Seller()
    seller.amazon.add_product_shipped_by_channel("TEE-S", "Tee", "19.99")
    assert seller.listing("TEE-S")["fulfillmentAvailability"] == [{"fulfillmentChannelCode": "AMAZON_EU"}]
    seller.write(4, sku="TEE-S")
    assert seller.listing("TEE-S")["fulfillmentAvailability"] == [{"fulfillmentChannelCode": "DEFAULT", "quantity": 4}]


def test_one_figure_is_sold_from_in_all_marketplaces() -> None:
    seller = Seller()
    seller.amazon.listings.add("MUG-1", "Tasse", 99, "13.00", marketplace="FR")
    assert seller.amazon.checkout(MUG, marketplace=FR) is not None
    assert seller.amazon.stock() == {"MUG-1": 9}


def test_listings_come_in_pages_of_twenty_and_a_thousand_at_most() -> None:
    seller = Seller()
    for number in range(1, 1003):
        seller.amazon.add_product(f"SKU-{number:04}", f"Thing {number}", 1, "1.00")
    path, asked = f"/listings/2021-08-01/items/{seller.amazon.seller_id}", {"marketplaceIds": DE, "sortBy": "sku"}
    found, token = [], ""
    while True:
        turned = {"pageToken": token} if token else {}
        page = seller.get(path, **asked, sortOrder="ASC", pageSize="20", **turned).json()
        found += [each["sku"] for each in page["items"]]
        token = page.get("pagination", {}).get("nextToken", "")
        if not token:
            break
    assert page["numberOfResults"] == 1003
    assert found == ["MUG-1", *(f"SKU-{number:04}" for number in range(1, 1000))]
    assert seller.get(path, **asked, pageSize="21").status == 400
    by_sku = seller.get(path, marketplaceIds=DE, identifiersType="SKU", identifiers=["SKU-1002", "SKU-9999"])
    assert [each["sku"] for each in by_sku.json()["items"]] == ["SKU-1002"]


# ---------------------------------------------------------------- feeds


def messages(quantities: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "messageId": number,
            "sku": sku,
            "operationType": "PATCH",
            "productType": "PRODUCT",
            "patches": [
                {
                    "op": "replace",
                    "path": "/attributes/fulfillment_availability",
                    "value": [{"fulfillment_channel_code": "DEFAULT", "quantity": quantity}],
                }
            ],
        }
        for number, (sku, quantity) in enumerate(quantities.items(), start=1)
    ]


def listings_feed(seller: Seller, quantities: Mapping[str, Any], **header: str) -> bytes:
    told = {"sellerId": seller.amazon.seller_id, "version": "2.0", **header}
    return json.dumps({"header": told, "messages": messages(quantities)}).encode()


def test_the_report_of_a_feed_names_each_sku_that_failed_and_why() -> None:
    seller = Seller()
    for number in range(500):
        seller.amazon.add_product(f"SKU-{number}", "Thing", 1, "1.00")
    seller.amazon.listings.refused["SKU-7"] = "The offer is blocked."
    quantities: dict[str, Any] = {f"SKU-{number}": 5 for number in range(500)}
    quantities["SKU-250"] = -1
    seller.amazon.listings.remove(f"{DE}/SKU-499")
    state = seller.feed_state(seller.feed(listings_feed(seller, quantities)))
    document = seller.get(f"/feeds/2021-06-30/documents/{state['resultFeedDocumentId']}").json()
    assert document["compressionAlgorithm"] == "GZIP"
    report = json.loads(gzip.decompress(seller.store("GET", document["url"]).body))
    assert {each["sku"]: each["message"] for each in report["issues"]} == {
        "SKU-7": "The offer is blocked.",
        "SKU-250": "'quantity' is not a whole number of at least 0.",
        "SKU-499": "The SKU SKU-499 does not exist.",
    }
    assert report["summary"] == {
        "errors": 3,
        "warnings": 0,
        "messagesProcessed": 500,
        "messagesAccepted": 497,
        "messagesInvalid": 3,
    }
    wrong = {sku: quantity for sku, quantity in seller.amazon.stock().items() if sku != "MUG-1" and quantity != 5}
    assert wrong == {"SKU-7": 1, "SKU-250": 1}


def test_a_feed_waits_is_worked_at_and_is_done() -> None:
    seller = Seller()
    seller.subscribe("FEED_PROCESSING_FINISHED")
    seller.amazon.listings.feed_takes = timedelta(minutes=4)
    id = seller.feed(listings_feed(seller, {"MUG-1": 3}))
    states = []
    for _ in range(3):
        states.append((seller.feed_state(id)["processingStatus"], seller.amazon.stock()["MUG-1"]))
        seller.clock.advance(minutes=2)
    assert states == [("IN_QUEUE", 10), ("IN_PROGRESS", 10), ("DONE", 3)]
    [told] = [each for each in seller.heard() if each.get("notificationType") == "FEED_PROCESSING_FINISHED"]
    assert told["payload"]["feedProcessingFinishedNotification"]["feedId"] == id


@pytest.mark.parametrize(
    "spoil",
    [
        lambda document: b"no JSON",
        lambda document: document.replace(b'"2.0"', b'"1.0"'),
        lambda document: document.replace(b'"sellerId": "A', b'"sellerId": "B'),
        lambda document: document.replace(b'"messageId": 2', b'"messageId": 1'),
    ],
    ids=["no JSON", "another version", "another seller", "a number twice"],
)
def test_a_feed_that_cannot_be_read_ends_with_nothing_done(spoil: Any) -> None:
    seller = Seller()
    seller.amazon.add_product("TEE-S", "Tee", 5, "19.99")
    state = seller.feed_state(seller.feed(spoil(listings_feed(seller, {"MUG-1": 3, "TEE-S": 3}))))
    assert state["processingStatus"] == "FATAL"
    assert "resultFeedDocumentId" not in state
    assert seller.amazon.stock() == {"MUG-1": 10, "TEE-S": 5}


def test_the_store_of_documents_takes_what_was_announced_for_five_minutes_and_no_tokens() -> None:
    seller = Seller()
    made = seller.call("POST", "/feeds/2021-06-30/documents", {"contentType": "application/json"}).json()
    assert seller.store("PUT", made["url"], b"{}", content_type="text/plain").status == 403
    assert (
        seller.store("PUT", made["url"], b"{}", content_type="application/json", x_amz_access_token="t").status == 400
    )
    assert seller.store("PUT", made["url"].partition("?")[0], b"{}", content_type="application/json").status == 403
    told = {"feedType": "JSON_LISTINGS_FEED", "marketplaceIds": [DE], "inputFeedDocumentId": made["feedDocumentId"]}
    assert seller.call("POST", "/feeds/2021-06-30/feeds", told).status == 400
    seller.clock.advance(minutes=5)
    assert seller.store("PUT", made["url"], b"{}", content_type="application/json").status == 403


def test_a_feed_of_another_kind_is_refused() -> None:
    told = {"feedType": "POST_INVENTORY_AVAILABILITY_DATA", "marketplaceIds": [DE], "inputFeedDocumentId": "x"}
    answer = Seller().call("POST", "/feeds/2021-06-30/feeds", told)
    assert refusal(answer) == (400, "There is no feed type POST_INVENTORY_AVAILABILITY_DATA.")


# ---------------------------------------------------------------- messages


def test_messages_go_only_where_amazon_may_leave_them() -> None:
    seller = Seller()
    assert refusal(seller.destination("arn:aws:sqs:us-east-1:123456789012:somebody-elses"))[0] == 400
    assert refusal(seller.destination("arn:aws:sqs:us-east-1:123456789012:ours.fifo"))[0] == 400
    seller.amazon.queue_open = False
    assert refusal(seller.destination())[0] == 400
    seller.amazon.queue_open = True
    assert seller.destination().status == 200
    assert refusal(seller.destination()) == (409, "The destination exists already.")


def test_there_is_one_subscription_of_each_type() -> None:
    seller = Seller()
    missing = seller.get("/notifications/v1/subscriptions/ORDER_CHANGE", payloadVersion="1.0")
    assert refusal(missing) == (404, "There is no subscription.")
    made = seller.subscribe("ORDER_CHANGE").json()["payload"]
    assert seller.get("/notifications/v1/subscriptions/ORDER_CHANGE").json()["payload"] == made
    assert refusal(seller.subscribe("ORDER_CHANGE")) == (409, "The subscription exists already.")
    assert refusal(seller.subscribe("NEVER_HEARD_OF")) == (400, "There is no notification type NEVER_HEARD_OF.")
    other = seller.subscribe("FULFILLMENT_ORDER_STATUS", payloadVersion="2.0")
    assert refusal(other) == (400, "There is no version 2.0 of FULFILLMENT_ORDER_STATUS.")
    destination = f"/notifications/v1/destinations/{made['destinationId']}"
    assert seller.call("DELETE", destination, token=seller.grantless()).status == 409
    one = f"/notifications/v1/subscriptions/ORDER_CHANGE/{made['subscriptionId']}"
    assert seller.call("DELETE", one, token=seller.grantless()).status == 200
    assert seller.call("DELETE", one, token=seller.grantless()).status == 404
    assert seller.call("DELETE", destination, token=seller.grantless()).status == 200


def test_whatever_happens_to_an_order_is_told_without_names_or_money() -> None:
    seller = Seller()
    seller.buy()
    assert seller.heard() == []  # nobody has subscribed
    seller.subscribe("ORDER_CHANGE")
    order = seller.buy(status="PENDING", items=[("MUG-1", 2)], shipping="4.90")
    seller.amazon.pay(order)
    seller.amazon.ask_to_cancel(order)
    seller.amazon.fulfill(order)
    told = [each["Payload"]["OrderChangeNotification"] for each in seller.heard()]
    assert [(each["OrderChangeType"], each["Summary"]["OrderStatus"]) for each in told] == [
        ("OrderStatusChange", "Pending"),
        ("OrderStatusChange", "Unshipped"),
        ("BuyerRequestedChange", "Unshipped"),
        ("OrderStatusChange", "Shipped"),
    ]
    item = told[2]["Summary"]["OrderItems"][0]
    assert (item["SellerSKU"], item["Quantity"], item["IsBuyerRequestedCancel"]) == ("MUG-1", 2, True)
    assert "Ada" not in json.dumps(told)
    assert "12.50" not in json.dumps(told)
    assert len({each["OrderChangeTrigger"]["TimeOfOrderChange"] for each in told}) == 4


def test_a_listing_that_comes_goes_or_says_another_quantity_is_told() -> None:
    seller = Seller()
    for type in ("LISTINGS_ITEM_STATUS_CHANGE", "LISTINGS_ITEM_MFN_QUANTITY_CHANGE"):
        assert seller.subscribe(type).status == 200
    listing = seller.amazon.add_product("TEE-S", "Tee", 5, "19.99")
    seller.buy(items=[("TEE-S", 2)])
    seller.write(7, sku="TEE-S")
    seller.write(7, sku="TEE-S")
    seller.amazon.listings.remove(listing)
    told = [each["Payload"] for each in seller.heard()]
    assert {(each["SellerId"], each["Sku"]) for each in told} == {(seller.amazon.seller_id, "TEE-S")}
    assert [each.get("Status", each.get("Quantity")) for each in told] == [
        ["BUYABLE", "DISCOVERABLE"],
        3,
        7,
        ["DELETED"],
    ]


def test_a_subscription_may_leave_kinds_of_changes_out() -> None:
    seller = Seller()
    chosen = {"eventFilterType": "ORDER_CHANGE", "orderChangeTypes": ["BuyerRequestedChange"]}
    assert seller.subscribe("ORDER_CHANGE", processingDirective={"eventFilter": chosen}).status == 200
    order = seller.buy()
    seller.amazon.ask_to_cancel(order)
    assert [each["Payload"]["OrderChangeNotification"]["OrderChangeType"] for each in seller.heard()] == [
        "BuyerRequestedChange"
    ]


def test_messages_lie_in_a_real_queue_lost_doubled_and_late_as_they_come() -> None:
    with AmazonSimulator(models=MODELS) as amazon:
        address = queue_address(AmazonSettings().load(amazon.settings()))
        assert address is not None
        queue = Queue(address, routes=amazon.routes())
        amazon.add_product("MUG-1", "Mug", 10, "12.50")
        amazon.listen_elsewhere("ORDER_CHANGE", amazon.queue_name)
        amazon.disturb_next(DeliveryFault(copies=0))
        amazon.disturb_next(DeliveryFault(copies=2))
        sales = [amazon.buy(MUG) for _ in range(3)]
        assert amazon.wait_for_deliveries()
        received = queue.receive()
        orders = [json.loads(each.body)["Payload"]["OrderChangeNotification"]["AmazonOrderId"] for each in received]
        ids = [sale.order_external_id for sale in sales if sale]
        assert sorted(orders) == sorted([ids[1], ids[1], ids[2]])
        queue.delete(received)
        assert queue_server().left(amazon.queue_name) == 0
        queue.close()


def test_a_message_that_the_queue_does_not_take_is_sent_again() -> None:
    class Mended(AmazonSimulator):
        """The queue lets Amazon in again once a message was refused."""

        def delivered(self, attempt: Attempt, *, final: bool) -> None:
            self.queue_open = True

    with Mended() as amazon:
        amazon.webhook_retries = (0.0,)
        amazon.add_product("MUG-1", "Mug", 10, "12.50")
        amazon.settings()
        amazon.listen_elsewhere("ORDER_CHANGE", amazon.queue_name)
        amazon.queue_open = False
        amazon.buy(MUG)
        assert amazon.wait_for_deliveries()
        assert [attempt.status for attempt in amazon.attempts] == [403, 200]
        assert queue_server().left(amazon.queue_name) == 1


# ---------------------------------------------------------------- the simulator itself


@pytest.mark.skipif(MODELS is None, reason=f"the vendor's specifications are not at {SPECS}; set TALLYHUB_SPECS")
def test_an_answer_that_amazon_could_not_give_is_noticed() -> None:
    seller = Seller()
    order = seller.buy()
    seller.amazon.book.sold[order].status = "ON_THE_MOON"
    with pytest.raises(AssertionError, match="getOrder answers what its model does not allow"):
        seller.order(order)


def test_the_same_seed_makes_the_same_ids() -> None:
    def ids() -> tuple[str, str]:
        seller = Seller(seed=7)
        return seller.amazon.seller_id, seller.buy()

    assert ids() == ids()
