"""What the activity page gets to see of a request: everything that helps, and never a secret."""

from __future__ import annotations

import base64
import html
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, quote, quote_plus

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.errors import ConnectorError, NotFound, Rejected, Unavailable
from hub.http import Client, Exchange
from hub.testing.simulator import Fault, SimRequest, SimResponse, Simulator

SHOP = "https://shop.example"
SECRET = "shpat_c0ffee/with+signs=="


class Echo(Simulator):
    """Refuses every request under /refuse by repeating all of it, as careless error pages do."""

    origin = SHOP

    def answer(self, request: SimRequest) -> SimResponse:
        repeated = {
            "message": f"{request.method} {request.path} {request.query} {request.headers} {request.body!r}",
            "decoded": [base64.b64decode(request.headers.get("authorization", "").rpartition(" ")[2] + "==").decode()]
            if request.headers.get("authorization", "").startswith("Basic ")
            else [],
            "form": parse_qs(request.body.decode()) if request.body.startswith(b"grant_type") else {},
        }
        return SimResponse.of_json(repeated, 400 if request.path.startswith("/refuse") else 200)


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    with Echo() as echo:
        yield echo


class Log:
    """A client and the exchanges it told of."""

    def __init__(self, echo: Echo) -> None:
        self.exchanges: list[Exchange] = []
        self.client = Client(
            hosts=[SHOP], routes={SHOP: echo.serve()}, on_exchange=self.exchanges.append, timeout=(2.0, 1.0)
        )

    @property
    def last(self) -> Exchange:
        return self.exchanges[-1]


@pytest.fixture
def log(echo: Echo) -> Iterator[Log]:
    log = Log(echo)
    yield log
    log.client.close()


def test_tells_what_was_asked_and_what_came_back(log: Log) -> None:
    response = log.client.post(SHOP + "/orders?page=2", json={"id": 7})

    exchange = log.last
    assert (exchange.method, exchange.url, exchange.status) == ("POST", "https://shop.example/orders?page=2", 200)
    assert exchange.request_bytes == len(b'{"id": 7}')
    assert exchange.response_bytes == len(response.body)
    assert 0 < exchange.seconds < 5
    assert exchange.request_headers["Content-Type"] == "application/json"
    assert exchange.response_headers["Content-Type"] == "application/json; charset=utf-8"
    assert exchange.error == ""


def test_shows_nothing_of_the_bodies_while_all_is_well_because_they_are_customers(log: Log) -> None:
    log.client.post(SHOP + "/orders", json={"email": "anna@example.com"})
    assert "anna@example.com" not in repr(log.last)
    assert (log.last.request_excerpt, log.last.response_excerpt) == ("", "")


def test_shows_short_excerpts_when_the_vendor_refuses(log: Log) -> None:
    with pytest.raises(Rejected):
        log.client.put(SHOP + "/refuse/products/7", json={"stock_quantity": "abc", "note": "x" * 10_000})
    assert log.last.status == 400
    assert log.last.request_excerpt.startswith('{"stock_quantity": "abc", "note": "xxx')
    assert log.last.response_excerpt.startswith('{"message": "PUT /refuse/products/7 ')
    assert len(log.last.request_excerpt) == len(log.last.response_excerpt) == 300


def test_tells_of_a_request_that_got_no_answer(echo: Echo, log: Log) -> None:
    echo.fail_next("/orders", Fault.reset())
    with pytest.raises(Unavailable) as caught:
        log.client.post(SHOP + "/orders", data="quantity=3")
    assert log.last.status is None
    assert log.last.error == str(caught.value)
    assert log.last.request_excerpt == "quantity=3"
    assert log.last.response_bytes == 0


def test_a_request_that_was_never_sent_leaves_no_line(log: Log) -> None:
    with pytest.raises(Rejected):
        log.client.get("https://other.example/")
    assert log.exchanges == []


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"headers": {"Authorization": f"Bearer {SECRET}"}}, id="bearer"),
        pytest.param({"headers": {"Authorization": SECRET}}, id="bare"),
        pytest.param({"headers": {"X-Shopify-Access-Token": SECRET}}, id="Shopify"),
        pytest.param({"headers": {"x-amz-access-token": SECRET}}, id="Amazon"),
        pytest.param({"headers": {"X-Api-Key": SECRET}}, id="API key"),
        pytest.param({"headers": {"Cookie": f"session={SECRET}"}}, id="cookie"),
        pytest.param({"auth": ("ck_public", SECRET)}, id="basic password"),
        pytest.param({"auth": (SECRET, "")}, id="basic user"),
        pytest.param({"params": {"consumer_secret": SECRET}}, id="query"),
        pytest.param({"params": {"access_token": SECRET, "page": 1}}, id="query token"),
        pytest.param({"json": {"client_secret": SECRET}}, id="JSON"),
        pytest.param({"json": {"nested": [{"api_key": SECRET}]}}, id="nested JSON"),
        pytest.param({"data": {"grant_type": "client_credentials", "client_secret": SECRET}}, id="form"),
    ],
)
@pytest.mark.parametrize("path", ["/orders", "/refuse"])
def test_no_secret_is_shown_wherever_it_travels(echo: Echo, path: str, options: dict[str, Any]) -> None:
    log = Log(echo)
    log.client.redact(SECRET)
    told = ""
    try:
        log.client.post(SHOP + path, **options)
    except Rejected as error:
        told = str(error)
    log.client.close()
    assert "c0ffee" not in repr(log.last) + told
    assert base64.b64encode(SECRET.encode()).decode()[:20] not in repr(log.last) + told


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"headers": {"Authorization": f"Bearer {SECRET}"}}, id="bearer"),
        pytest.param({"headers": {"X-Shopify-Access-Token": SECRET}}, id="Shopify"),
        pytest.param({"auth": ("ck_c0ffee", SECRET)}, id="basic"),
    ],
)
def test_credentials_given_with_a_request_need_not_be_registered(echo: Echo, options: dict[str, Any]) -> None:
    log = Log(echo)
    with pytest.raises(Rejected) as caught:
        log.client.post(SHOP + "/refuse", **options)
    log.client.close()
    assert "c0ffee" not in repr(log.last) + str(caught.value)


def test_a_password_in_a_query_is_masked_and_the_rest_stays_readable(log: Log) -> None:
    log.client.get(SHOP + "/orders", params={"consumer_key": "ck_1", "oauth_signature": "abc=", "status": "any"})
    assert log.last.url == "https://shop.example/orders?consumer_key=•••&oauth_signature=•••&status=any"


def test_secrets_in_an_answers_headers_are_masked(echo: Echo) -> None:
    class Setting(Echo):
        def answer(self, request: SimRequest) -> SimResponse:
            return SimResponse(200, {"Set-Cookie": f"wordpress={SECRET}", "X-Auth-Token": SECRET, "X-Page": "2"}, b"{}")

    with Setting() as vendor:
        log = Log(vendor)
        log.client.get(SHOP + "/orders")
        log.client.close()
    assert log.last.response_headers["Set-Cookie"] == "•••"
    assert log.last.response_headers["X-Auth-Token"] == "•••"
    assert log.last.response_headers["X-Page"] == "2"


def test_a_registered_value_is_masked_in_the_vendors_own_words(echo: Echo, log: Log) -> None:
    log.client.redact("tok/en+1")
    with pytest.raises(Rejected) as caught:
        log.client.get(SHOP + "/refuse/tok/en+1")
    assert str(caught.value).startswith("shop.example refused the request (400: GET /refuse/••• ")
    assert "tok/en" not in repr(log.last)


def test_masks_a_value_as_php_writes_it() -> None:
    class Php(Echo):
        def answer(self, request: SimRequest) -> SimResponse:
            return SimResponse(404, {}, b'{"message":"No key shpat_c0ffee\\/with+signs== here"}')

    with Php() as vendor:
        log = Log(vendor)
        log.client.redact(SECRET)
        with pytest.raises(NotFound) as caught:
            log.client.get(SHOP + "/orders")
        log.client.close()
    assert str(caught.value) == "shop.example does not have it (404: No key ••• here)."
    assert log.last.response_excerpt == '{"message":"No key ••• here"}'


@pytest.mark.parametrize(
    "spelling",
    [
        pytest.param(lambda secret: html.escape(secret), id="HTML"),
        pytest.param(lambda secret: quote(secret, safe=""), id="URL"),
        pytest.param(lambda secret: quote_plus(secret), id="form"),
        pytest.param(lambda secret: json.dumps(secret), id="JSON"),
        pytest.param(lambda secret: base64.b64encode(secret.encode()).decode(), id="base64"),
        pytest.param(lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(), id="base64 for URLs"),
    ],
)
def test_masks_a_value_in_the_spellings_it_may_come_back_in(spelling: Callable[[str], str]) -> None:
    secret = 'c0ffee & <"pass word">/?~é'

    class Repeating(Echo):
        def answer(self, request: SimRequest) -> SimResponse:
            return SimResponse(400, {}, f"refused {spelling(secret)} here".encode())

    with Repeating() as vendor:
        log = Log(vendor)
        log.client.redact(secret)
        with pytest.raises(Rejected):
            log.client.get(SHOP + "/orders")
        log.client.close()
    assert log.last.response_excerpt.replace('"', "") == "refused ••• here"


def test_values_named_like_secrets_are_masked_although_nobody_registered_them() -> None:
    class Careless(Echo):
        def answer(self, request: SimRequest) -> SimResponse:
            body = b'{"client_secret" : "a\\"b", "refresh_token": 12, "name": "Zoe", "x": "api_key=c&page=2"}'
            return SimResponse(400, {}, body)

    with Careless() as vendor:
        log = Log(vendor)
        with pytest.raises(Rejected):
            log.client.post(SHOP + "/login", data={"grant_type": "password", "password": "hunter2", "user": "zoe"})
        log.client.close()
    assert log.last.request_excerpt == "grant_type=password&password=•••&user=zoe"
    assert log.last.response_excerpt == (
        '{"client_secret" : "•••", "refresh_token": "•••", "name": "Zoe", "x": "api_key=•••&page=2"}'
    )


def test_no_secret_reaches_the_logs_of_the_libraries(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        log.client.get(SHOP + "/orders", params={"oauth_signature": SECRET})
    assert "c0ffee" not in caplog.text


def test_an_empty_value_masks_nothing(log: Log) -> None:
    log.client.redact("")
    log.client.get(SHOP + "/orders?page=2")
    assert log.last.url == "https://shop.example/orders?page=2"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=16, max_size=40),
    st.sampled_from(["header", "query", "json", "form", "basic", "path"]),
)
def test_whatever_a_secret_looks_like_it_is_not_shown(echo: Echo, secret: str, place: str) -> None:
    log = Log(echo)
    log.client.redact(secret)
    options: dict[str, Any] = {
        "header": {"headers": {"X-Custom": secret}},
        "query": {"params": {"q": secret}},
        "json": {"json": {"q": secret}},
        "form": {"data": {"grant_type": "x", "q": secret}},
        "basic": {"auth": ("user", secret)},
        "path": {},
    }[place]
    told = ""
    try:
        log.client.post(SHOP + "/refuse", **options)
    except ConnectorError as error:
        told = str(error)
    log.client.close()
    exchange = log.last
    shown = [exchange.url, exchange.request_excerpt, exchange.response_excerpt, exchange.error, told]
    shown += [*exchange.request_headers.values(), *exchange.response_headers.values()]
    assert [text for text in shown if secret in text] == []


def test_masks_what_is_named_like_a_secret_wherever_an_answer_repeats_it(log: Log) -> None:
    sent = {"outer": [{"password": "hunter-two-and-a-half"}], "note": "nothing to hide"}
    with pytest.raises(Rejected):
        log.client.post(SHOP + "/refuse", params=[("sig", "c0ffee-of-the-day")], json=sent)

    said = f"{log.last.request_excerpt} {log.last.response_excerpt} {log.last.url}"
    assert "hunter-two" not in said and "c0ffee" not in said
    assert "nothing to hide" in log.last.request_excerpt


def test_a_place_in_a_list_is_no_secret_to_be_looked_for_in_everything(log: Log) -> None:
    for number in range(200):
        log.client.get(SHOP + "/orders", params={"page_token": f"page-number-{number}"})
        log.client.get(SHOP + "/orders", params={"access_token": f"token-number-{number}"})

    assert len(log.client._seen) == 50
    assert "page-number" not in log.last.url and "token-number" not in log.last.url
