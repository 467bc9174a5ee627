"""Connecting an account: what the forms take, Login with Amazon, tokens, and what a check finds wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import marshmallow
import pytest
import responses

import hub
from hub.testing import Clock, SimRequest, SimResponse, connector_for, context_for
from hub_amazon.authorization import authorization_url, read_authorization
from hub_amazon.channel import AmazonConnector
from hub_amazon.settings import AmazonSettings, AppSettings, hosts, marketplaces, queue_address, queue_arn, region
from hub_amazon.simulator import AmazonSimulator
from hub_amazon.simulator_models import Models
from hub_amazon.sp_api import SellingPartnerApi

SPECS = Path(os.environ.get("TALLYHUB_SPECS") or Path(__file__).parents[4] / "shared" / "specs") / "amazon-sp-api"
MODELS = Models(SPECS) if SPECS.is_dir() else None
NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/tallyhub"
SETTINGS = {
    "marketplaces": "DE",
    "client_id": "amzn1.application-oa2-client.1",
    "client_secret": "amzn1.oa2-cs.v1.1",
    "seller_id": "A3EXAMPLE9S",
    "refresh_token": "Atzr|1",
}
APP = {
    "marketplaces": "de, fr",
    "client_id": "amzn1.application-oa2-client.1",
    "client_secret": "amzn1.oa2-cs.v1.1",
    "application_id": "amzn1.sp.solution.1",
}
RETURN = "https://hub.example/connect/amazon/return"


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def amazon(clock: Clock) -> Iterator[AmazonSimulator]:
    with AmazonSimulator(now=clock, models=MODELS) as simulator:
        simulator.add_product("MUG-1", "Mug", 10, "9.50")
        yield simulator


@pytest.fixture
def connector(amazon: AmazonSimulator, clock: Clock) -> AmazonConnector:
    return connector_for(AmazonConnector, amazon, now=clock)


def loaded(**changed: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = AmazonSettings().load({**SETTINGS, **changed})
    return found


def paths(amazon: AmazonSimulator) -> list[str]:
    return [request.path for request in amazon.requests]


# ---------------------------------------------------------------- the forms


@pytest.mark.parametrize(
    ("typed", "kept"), [("de", "DE"), (" DE,fr ; it", "DE, FR, IT"), ("gb de", "UK, DE"), ("US\nCA,US", "US, CA")]
)
def test_marketplaces_are_understood_as_people_write_them(typed: str, kept: str) -> None:
    assert loaded(marketplaces=typed)["marketplaces"] == kept


@pytest.mark.parametrize(
    ("changed", "field", "words"),
    [
        ({"marketplaces": " , "}, "marketplaces", "Enter at least one"),
        ({"marketplaces": "XX"}, "marketplaces", "Amazon has no marketplace XX"),
        ({"marketplaces": "DE, US"}, "marketplaces", "belong to different regions"),
        ({"client_secret": "two words"}, "client_secret", "no part of a key"),
        ({"seller_id": "ann@shop.example"}, "seller_id", "Not a merchant token"),
        ({"refresh_token": ""}, "refresh_token", "Enter the refresh token"),
        ({"queue_url": f"{QUEUE}.fifo"}, "queue_url", "no messages to a FIFO queue"),
        ({"queue_url": "arn:aws:sqs:eu-west-1:123456789012:tallyhub"}, "queue_url", "Not the URL of a queue"),
        ({"queue_url": "https://sqs.eu-west-1.amazonaws.com.evil.example/123456789012/q"}, "queue_url", "Not the URL"),
        ({"queue_url": QUEUE, "queue_secret": "s"}, "queue_key_id", "The queue is opened with it"),
        ({"queue_url": QUEUE, "queue_key_id": "AKIA1"}, "queue_secret", "The queue is opened with it"),
    ],
)
def test_what_cannot_work_is_refused_where_it_was_typed(changed: dict[str, str], field: str, words: str) -> None:
    with pytest.raises(marshmallow.ValidationError) as refused:
        loaded(**changed)
    assert isinstance(refused.value.messages, dict)
    [said] = refused.value.messages[field]
    assert words in said


def test_every_region_has_its_host_and_the_hosts_of_its_documents() -> None:
    for code, name in (("US", "na"), ("DE", "eu"), ("JP", "fe")):
        settings = loaded(marketplaces=code)
        assert region(settings) == name
        api, login, *documents = hosts(settings)
        assert (api, login) == (f"https://sellingpartnerapi-{name}.amazon.com", "https://api.amazon.com")
        assert documents
        assert all(each.startswith(f"https://tortuga-prod-{name}.s3") for each in documents)


def test_marketplaces_keep_the_order_in_which_they_were_entered() -> None:
    assert [place.external_id for place in marketplaces(loaded(marketplaces="FR, DE"))] == [
        "A13V1IB3VIYZZH",
        "A1PA6795UKMFR9",
    ]


def test_a_queue_has_an_address_and_a_name_at_amazon() -> None:
    settings = loaded(queue_url=QUEUE, queue_key_id="AKIA1", queue_secret="s3cret")
    assert queue_address(settings) == hub.QueueAddress(QUEUE, "eu-west-1", "AKIA1", "s3cret")
    assert queue_arn(QUEUE) == "arn:aws:sqs:eu-west-1:123456789012:tallyhub"
    assert queue_address(loaded()) is None
    assert "s3cret" not in repr(queue_address(settings))


# ---------------------------------------------------------------- asking the seller


def test_the_seller_is_asked_at_seller_central_of_the_first_marketplace() -> None:
    request = hub.AuthorizationRequest("state-1", RETURN, "https://hub.example/callback")
    address = urlsplit(authorization_url(AppSettings().load(APP), request))
    assert (address.scheme, address.netloc) == ("https", "sellercentral-europe.amazon.com")
    assert address.path == "/apps/authorize/consent"
    assert parse_qs(address.query) == {
        "application_id": ["amzn1.sp.solution.1"],
        "state": ["state-1"],
        "redirect_uri": [RETURN],
    }


def back(**said: str) -> hub.AuthorizationAnswer:
    parameters = {"state": "state-1", "spapi_oauth_code": "code-1", "selling_partner_id": "A3EXAMPLE9S", **said}
    return hub.AuthorizationAnswer("state-1", {name: value for name, value in parameters.items() if value}, b"", True)


def test_what_comes_back_makes_settings_that_load() -> None:
    settings = AmazonSettings().load(read_authorization(AppSettings().load(APP), back()))
    assert settings["authorization_code"] == "code-1"
    assert (settings["seller_id"], settings["marketplaces"]) == ("A3EXAMPLE9S", "DE, FR")
    assert settings["refresh_token"] == ""


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (back(state="state-2"), hub.Unverified, "another request"),
        (back(state=""), hub.Unverified, "another request"),
        (back(spapi_oauth_code=""), hub.Unverified, "no permission in it"),
        (back(selling_partner_id=""), hub.Unverified, "no permission in it"),
        (back(error="access_denied"), hub.Rejected, "was not authorized"),
        (replace(back(), by_browser=False), hub.Unverified, "came from elsewhere"),
    ],
)
def test_an_answer_that_is_not_the_sellers_yes_connects_nothing(
    answer: hub.AuthorizationAnswer, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        read_authorization(AppSettings().load(APP), answer)


def test_a_code_is_exchanged_once_and_its_refresh_token_is_kept(amazon: AmazonSimulator, clock: Clock) -> None:
    app = AppSettings().load(
        {
            **{name: amazon.settings()[name] for name in ("marketplaces", "client_id", "client_secret")},
            "application_id": amazon.application_id,
        }
    )
    request = hub.AuthorizationRequest("state-1", RETURN, "https://hub.example/callback")
    returned = urlsplit(amazon.approve(authorization_url(app, request)))
    answer = hub.AuthorizationAnswer("state-1", dict(parse_qsl(returned.query)), b"", True)
    settings = AmazonSettings().load(read_authorization(app, answer))
    context = context_for(settings, amazon, hosts=AmazonConnector.hosts(settings), now=clock)
    assert AmazonConnector(context).check().external_id == f"eu/{amazon.seller_id}"
    clock.advance(hours=2)
    # The code is spent. What it brought goes on, in a connector that is made anew.
    assert AmazonConnector(context).fetch_listing("A1PA6795UKMFR9/MUG-1").external_id == "A1PA6795UKMFR9/MUG-1"
    asked = [dict(parse_qsl(each.body.decode())) for each in amazon.requests if each.path == "/auth/o2/token"]
    assert [each["grant_type"] for each in asked] == ["authorization_code", "refresh_token"]


# ---------------------------------------------------------------- tokens


def test_one_token_serves_for_an_hour(amazon: AmazonSimulator, connector: AmazonConnector, clock: Clock) -> None:
    connector.check()
    clock.advance(minutes=50)
    connector.fetch_listing("A1PA6795UKMFR9/MUG-1")
    assert paths(amazon).count("/auth/o2/token") == 1
    clock.advance(minutes=15)
    connector.fetch_listing("A1PA6795UKMFR9/MUG-1")
    assert paths(amazon).count("/auth/o2/token") == 2


def test_a_token_that_is_refused_is_replaced_and_the_call_repeated(
    amazon: AmazonSimulator, connector: AmazonConnector
) -> None:
    connector.check()
    amazon.revoke_tokens()
    assert connector.fetch_listing("A1PA6795UKMFR9/MUG-1").external_id == "A1PA6795UKMFR9/MUG-1"


def test_a_permission_that_was_taken_back_asks_the_merchant_to_reconnect(
    amazon: AmazonSimulator, connector: AmazonConnector
) -> None:
    connector.check()
    amazon.take_back()
    with pytest.raises(hub.AuthError, match=r"permission is over.*reconnect"):
        connector.fetch_listing("A1PA6795UKMFR9/MUG-1")


def test_a_client_secret_that_was_replaced_is_named(amazon: AmazonSimulator, connector: AmazonConnector) -> None:
    amazon.replace_secret()
    with pytest.raises(hub.AuthError, match="a secret that was replaced there no longer works"):
        connector.check()


@pytest.mark.parametrize(
    "body", [b"{}", b'{"access_token": "t"}', b'{"access_token": "t", "expires_in": "soon"}', b"<p>"]
)
def test_what_is_no_token_is_not_taken_for_one(body: bytes) -> None:
    with responses.RequestsMock() as web:
        web.post("https://api.amazon.com/auth/o2/token", body=body)
        with pytest.raises(hub.Unavailable):
            SellingPartnerApi(context_for(loaded(), hosts=hosts(loaded()), now=lambda: NOON)).call("searchOrders")


# ---------------------------------------------------------------- what a check finds


def test_a_check_tells_whose_account_it_is(amazon: AmazonSimulator, connector: AmazonConnector) -> None:
    found = connector.check()
    assert found.external_id == f"eu/{amazon.seller_id}"
    assert found.currency == "EUR"
    assert found.name.endswith(" (DE, FR)")
    assert found.locations == (hub.ChannelLocation(external_id="DEFAULT", name="Shipped by you"),)
    assert found.warnings == ()


def test_a_marketplace_the_seller_is_not_in_is_named(amazon: AmazonSimulator, clock: Clock) -> None:
    settings = AmazonSettings().load({**amazon.settings(), "marketplaces": "DE, PL"})
    context = context_for(settings, amazon, hosts=AmazonConnector.hosts(settings), now=clock)
    with pytest.raises(hub.Rejected, match="does not sell in Poland"):
        AmazonConnector(context).check()


def refusing(*statuses_and_bodies: tuple[int, bytes]) -> SellingPartnerApi:
    """An API that was logged in to and then answers so."""
    web = responses.mock
    web.post("https://api.amazon.com/auth/o2/token", json={"access_token": "Atza|1", "expires_in": 3600})
    for status, body in statuses_and_bodies:
        web.get("https://sellingpartnerapi-eu.amazon.com/orders/2026-01-01/orders/1", status=status, body=body)
    return SellingPartnerApi(context_for(loaded(), hosts=hosts(loaded()), now=lambda: NOON))


def errors(code: str, message: str, details: str = "") -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message, "details": details}]}).encode()


@responses.activate
@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (
            400,
            errors("InvalidInput", "Invalid Input", "orderId is odd"),
            hub.Rejected,
            "Invalid Input. orderId is odd.",
        ),
        (403, errors("Unauthorized", "Access denied."), hub.AuthError, "has the roles that are needed"),
        (404, errors("NotFound", "No such order"), hub.NotFound, "Amazon does not have it: No such order."),
        (413, b"", hub.Rejected, "status 413"),
        (429, errors("QuotaExceeded", "You exceeded your quota."), hub.RateLimited, "slow down"),
        (500, errors("InternalFailure", "Try again."), hub.Unavailable, "tried again"),
        (503, b"<html>", hub.Unavailable, "tried again"),
        (400, b'{"errors": ["odd"]}', hub.Rejected, "status 400"),
    ],
)
def test_refusals_are_raised_with_amazons_words(status: int, body: bytes, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as raised:
        refusing((status, body)).call("getOrder", path={"orderId": "1"})
    assert type(raised.value) is error


@responses.activate
def test_a_right_that_is_lacking_is_not_asked_for_twice() -> None:
    api = refusing((403, errors("Unauthorized", "Access to requested resource is denied.")))
    with pytest.raises(hub.AuthError):
        api.call("getOrder", path={"orderId": "1"})
    assert [call.request.method for call in responses.calls] == ["POST", "GET"]


@responses.activate
def test_the_rate_that_amazon_names_is_learnt_for_the_operation() -> None:
    api = refusing((200, b'{"order": {}}'))
    learnt: list[tuple[str, float]] = []
    api._client.learn_rate = lambda operation, per_second: learnt.append((operation, per_second))  # type: ignore[method-assign]
    for said in ("0.5", "12", "", "soon", "-1", "inf"):
        headers = {"x-amzn-RateLimit-Limit": said} if said else {}
        responses.upsert(
            "GET", "https://sellingpartnerapi-eu.amazon.com/orders/2026-01-01/orders/1", json={}, headers=headers
        )
        api.call("getOrder", path={"orderId": "1"})
    assert learnt == [("getOrder", 0.5), ("getOrder", 12.0)]


@responses.activate
@pytest.mark.parametrize("sku", [".", ".."])
def test_a_name_that_would_lead_elsewhere_is_not_asked_for(sku: str) -> None:
    api = refusing()
    with pytest.raises(hub.NotFound, match="that is no name in an address"):
        api.call("getListingsItem", path={"sellerId": "A3EXAMPLE9S", "sku": sku})
    assert [call.request.method for call in responses.calls] == ["POST"]


def test_a_document_that_claims_to_be_packed_and_is_not_is_asked_for_again(
    amazon: AmazonSimulator, clock: Clock
) -> None:
    def spoilt(request: SimRequest) -> SimResponse:
        return SimResponse(200, {}, b"not gzip")

    amazon.document = spoilt  # type: ignore[method-assign]
    connector = connector_for(AmazonConnector, amazon, now=clock)
    for compression, words in (("GZIP", "came damaged"), ("ZSTD", "not known here")):
        with pytest.raises(hub.Unavailable, match=words):
            connector._api.download(f"{amazon.document_host}/report", compression)
    assert connector._api.download(f"{amazon.document_host}/report", None) == b"not gzip"
