"""The client against a vendor that answers: what is sent, what comes back, and which error says what happens next."""

from __future__ import annotations

import base64
import hmac
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from typing import Any
from urllib.parse import quote

import pytest
import responses
import time_machine
from requests_oauthlib import OAuth1

from hub.errors import AuthError, ConnectorError, NotFound, RateLimited, Rejected, Unavailable
from hub.http import Client, Exchange, RefusingClient
from hub.testing.simulator import Fault, SimRequest, SimResponse, Simulator

SHOP = "https://shop.example"


class Vendor(Simulator):
    """Answers what it is told to, and counts."""

    origin = SHOP

    def __init__(self) -> None:
        super().__init__()
        self.next = SimResponse.of_json({"ok": True})
        self.effects = 0

    def answer(self, request: SimRequest) -> SimResponse:
        self.effects += 1
        return self.next


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with Vendor() as vendor:
        yield vendor


@pytest.fixture
def client(vendor: Vendor) -> Iterator[Client]:
    client = Client(hosts=[SHOP], routes={SHOP: vendor.serve()}, timeout=(2.0, 2.0))
    yield client
    client.close()


def refusal(client: Client, error: type[ConnectorError], path: str = "/orders", **options: Any) -> Any:
    with pytest.raises(error) as caught:
        client.get(SHOP + path, **options)
    assert type(caught.value) is error
    return caught.value


# ---------------------------------------------------------------- what is sent and returned


def test_sends_what_it_was_given(vendor: Vendor, client: Client) -> None:
    client.post(SHOP + "/orders?page=2", params={"status": "any"}, json={"id": 7}, headers={"X-Trace": "t1"})

    (request,) = vendor.requests
    assert (request.method, request.path) == ("POST", "/orders")
    assert request.query == (("page", "2"), ("status", "any"))
    assert request.json() == {"id": 7}
    assert request.headers["x-trace"] == "t1"
    assert request.headers["user-agent"].startswith("Tallyhub/")


@pytest.mark.parametrize("method", ["get", "post", "put", "delete"])
def test_has_a_method_for_each_verb(vendor: Vendor, client: Client, method: str) -> None:
    assert getattr(client, method)(SHOP + "/products/7").status == 200
    assert [request.method for request in vendor.requests] == [method.upper()]


def test_returns_the_answer_with_fractions_as_decimals(vendor: Vendor, client: Client) -> None:
    vendor.next = SimResponse(200, {"X-WP-Total": "1"}, b'{"price": 19.99, "name": "Zo\xc3\xab"}')

    response = client.get(SHOP + "/products")

    assert response.status == 200
    assert response.headers["x-wp-total"] == "1"
    assert response.body == b'{"price": 19.99, "name": "Zo\xc3\xab"}'
    assert response.text == '{"price": 19.99, "name": "Zoë"}'
    assert response.json() == {"price": Decimal("19.99"), "name": "Zoë"}


def test_an_error_page_with_status_200_is_no_answer(vendor: Vendor, client: Client) -> None:
    vendor.fail_next("/", Fault.html(after_effect=True))
    response = client.get(SHOP + "/orders")
    with pytest.raises(Unavailable) as caught:
        response.json()
    assert caught.value.sent is True
    assert str(caught.value) == (
        "shop.example answered 200 with something else than JSON. The body is not JSON (Expecting value, character 0)."
        " It will be asked again."
    )
    assert client.get(SHOP + "/orders").json() == {"ok": True}


def test_statuses_that_are_expected_are_returned(vendor: Vendor, client: Client) -> None:
    for status in (404, 422, 500, 302, 429):
        vendor.next = SimResponse.of_json({"code": "x"}, status)
        assert client.get(SHOP + "/orders", expect={404, 422, 500, 302, 429}).status == status


def test_an_answer_without_a_body_is_empty(vendor: Vendor, client: Client) -> None:
    vendor.next = SimResponse(204)
    response = client.delete(SHOP + "/webhooks/1")
    assert (response.status, response.body) == (204, b"")


def test_keeps_no_cookies(vendor: Vendor) -> None:
    shop = vendor.serve()
    client = Client(hosts=[shop], private_networks=["127.0.0.0/8"])
    vendor.next = SimResponse(200, {"Set-Cookie": "session=1; Path=/"}, b"{}")
    client.get(shop + "/orders")
    client.get(shop + "/orders")
    client.close()
    assert "cookie" not in vendor.requests[1].headers


def test_ignores_proxies_and_passwords_of_the_environment(
    vendor: Vendor, client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine shop.example login root password toor\nmachine 127.0.0.1 login root password toor\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    client.get(SHOP + "/orders")

    assert "authorization" not in vendor.requests[0].headers


# ---------------------------------------------------------------- where it goes


def test_a_route_leads_to_another_address_and_keeps_the_vendors_name(vendor: Vendor, client: Client) -> None:
    client.get("https://SHOP.example:443/orders")
    assert vendor.requests[0].headers["host"] == "shop.example"


def test_a_routed_request_is_signed_for_the_vendor(vendor: Vendor) -> None:
    insecure = "http://shop.example"
    client = Client(hosts=[insecure], routes={insecure: vendor.serve()})
    client.get(insecure + "/orders", auth=OAuth1("ck", "cs", signature_method="HMAC-SHA256", signature_type="query"))
    client.close()

    sent = dict(vendor.requests[0].query)
    signature = sent.pop("oauth_signature")
    parameters = "&".join(f"{name}={quote(sent[name], safe='')}" for name in sorted(sent))
    base = "&".join(["GET", quote(insecure + "/orders", safe=""), quote(parameters, safe="")])
    assert signature == base64.b64encode(hmac.digest(b"cs&", base.encode(), "sha256")).decode()


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example/orders",
        "https://shop.example.evil.example/orders",
        "https://shop.example:8443/orders",
        "http://shop.example/orders",
        "https://sub.shop.example/orders",
        "https://shop.example./orders",
        "//shop.example/orders",
        "/orders",
        "",
        "ftp://shop.example/orders",
        "file:///etc/passwd",
        "https://shop.example@evil.example/orders",
        "https://evil.example@shop.example/orders",
        "https://evil.example\\@shop.example/orders",
        "https://shop.example\\.evil.example/orders",
        "https://shop.example\n.evil.example/orders",
        "https://shop.example\t/orders",
        " https://shop.example/orders",
        "https://shop.example:port/orders",
        "https://[shop.example/orders",
        "https:///orders",
        "https://" + "a" * 300 + ".example/orders",
    ],
)
def test_talks_to_nobody_but_the_connections_hosts(vendor: Vendor, client: Client, url: str) -> None:
    with pytest.raises(Rejected):
        client.get(url)
    assert vendor.effects == 0


def test_says_which_address_is_not_the_connections(client: Client) -> None:
    with pytest.raises(Rejected) as caught:
        client.get("https://other.example/orders?consumer_key=ck_1")
    assert str(caught.value) == "https://other.example is not an address of this connection: nothing was sent."


def test_a_password_in_an_address_is_not_repeated(client: Client) -> None:
    with pytest.raises(Rejected) as caught:
        client.get("https://root:hunter2@shop.example/orders?token=abc")
    assert str(caught.value) == "“https://shop.example/orders” is not a web address such as https://shop.example."


@pytest.mark.parametrize("host", ["shop.example", "https://", "https://shop example", "https://a@shop.example", ""])
def test_a_connection_without_a_proper_address_has_no_client(host: str) -> None:
    with pytest.raises(Rejected, match="is not a web address such as https://shop"):
        Client(hosts=[host])


def test_a_redirect_is_not_followed_but_told(vendor: Vendor, client: Client) -> None:
    with Vendor() as elsewhere:
        vendor.next = SimResponse(301, {"Location": elsewhere.serve() + "/orders?token=abc"}, b"moved")
        error = refusal(client, Rejected)
        assert str(error) == (
            f"shop.example has moved to {elsewhere.serve()}/orders?token=•••. Connect the new address."
        )
        assert error.code == "301"
        assert list(elsewhere.requests) == []
    vendor.next = SimResponse.of_json({"ok": True})
    assert client.get(SHOP + "/orders").json() == {"ok": True}


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_no_redirect_is_followed(vendor: Vendor, client: Client, status: int) -> None:
    vendor.next = SimResponse(status, {"Location": "https://shop.example/elsewhere"})
    refusal(client, Rejected)
    assert [request.path for request in vendor.requests] == ["/orders"]


@pytest.mark.parametrize("name", ["X-Bad\n", "X Bad", "X-Ok"])
def test_a_header_that_would_start_another_is_refused(vendor: Vendor, client: Client, name: str) -> None:
    error = refusal(client, Rejected, headers={name: "a\r\nX-Injected: 1"})
    assert str(error).startswith("The request to https://shop.example could not be built: ")
    assert vendor.effects == 0


# ---------------------------------------------------------------- what an error status means


@pytest.mark.parametrize(
    ("status", "error", "sentence"),
    [
        (400, Rejected, "shop.example refused the request (400: simulated 400)."),
        (401, AuthError, "shop.example refused the credentials (401: simulated 401). Reconnect it."),
        (402, Rejected, "shop.example refused the request (402: simulated 402)."),
        (403, AuthError, "shop.example refused the credentials (403: simulated 403). Reconnect it."),
        (404, NotFound, "shop.example does not have it (404: simulated 404)."),
        (408, Unavailable, "shop.example failed (408: simulated 408). It will be tried again."),
        (409, Rejected, "shop.example refused the request (409: simulated 409)."),
        (410, NotFound, "shop.example does not have it (410: simulated 410)."),
        (413, Rejected, "shop.example refused the request (413: simulated 413)."),
        (422, Rejected, "shop.example refused the request (422: simulated 422)."),
        (425, Unavailable, "shop.example failed (425: simulated 425). It will be tried again."),
        (429, RateLimited, "shop.example asks to slow down (429: simulated 429)."),
        (430, Rejected, "shop.example refused the request (430: simulated 430)."),
        (500, Unavailable, "shop.example failed (500: simulated 500). It will be tried again."),
        (502, Unavailable, "shop.example failed (502: simulated 502). It will be tried again."),
        (503, Unavailable, "shop.example failed (503: simulated 503). It will be tried again."),
        (504, Unavailable, "shop.example failed (504: simulated 504). It will be tried again."),
        (530, Unavailable, "shop.example failed (530: simulated 530). It will be tried again."),
    ],
)
def test_an_error_status_says_what_happens_next_and_the_next_request_is_unharmed(
    vendor: Vendor, client: Client, status: int, error: type[ConnectorError], sentence: str
) -> None:
    vendor.fail_next("/orders", Fault.status(status))
    assert str(refusal(client, error)) == sentence
    assert client.get(SHOP + "/orders").json() == {"ok": True}


def test_an_outcome_after_a_failure_of_the_vendor_is_unclear(vendor: Vendor, client: Client) -> None:
    vendor.fail_next("/orders", Fault.status(500, after_effect=True))
    assert refusal(client, Unavailable).sent is True
    assert vendor.effects == 1


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("2", 2.0),
        ("2.5", 2.5),
        ("0", 0.0),
        (" 7 ", 7.0),
        ("999999999", 86_400.0),
        (format_datetime(datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC), usegmt=True), 30.0),
        (format_datetime(datetime(2026, 11, 22, 11, 0, 0, tzinfo=UTC), usegmt=True), 0.0),
        ("Sun, 22 Nov 2026 12:00:30", 30.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400.0),
    ],
)
def test_tells_how_long_the_vendor_asks_to_wait(
    vendor: Vendor, client: Client, status: int, header: str, seconds: float
) -> None:
    vendor.fail_next("/orders", Fault.status(status, retry_after=header))
    with time_machine.travel(datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC), tick=False):
        assert refusal(client, RateLimited).retry_after == seconds


@pytest.mark.parametrize("header", ["", "soon", "-5", "nan", "inf", "1e9", "\u0663", "99 Foo 2026", "1" * 400])
def test_a_wait_that_cannot_be_read_is_no_wait(vendor: Vendor, client: Client, header: str) -> None:
    vendor.next = SimResponse(429, {"Retry-After": header.encode().decode("latin-1")})
    assert refusal(client, RateLimited).retry_after is None


@pytest.mark.parametrize(
    ("body", "said", "code"),
    [
        pytest.param(
            b'{"code": "woocommerce_rest_shop_order_invalid_id", "message": "Invalid ID.", "data": {"status": 400}}',
            "400: Invalid ID.",
            "woocommerce_rest_shop_order_invalid_id",
            id="WooCommerce",
        ),
        pytest.param(b'{"errors": "Not Found"}', "400: Not Found", "", id="Shopify, a text"),
        pytest.param(
            b'{"errors": {"title": ["can\'t be blank"]}}',
            '400: {"title": ["can\'t be blank"]}',
            "",
            id="Shopify, by field",
        ),
        pytest.param(
            b'{"error": "invalid_grant", "error_description": "The code has expired."}',
            "400: The code has expired.",
            "invalid_grant",
            id="OAuth",
        ),
        pytest.param(b'{"error": {"message": "no"}}', '400: {"message": "no"}', "", id="nested"),
        pytest.param(b'{"code": 0, "message": "no"}', "400: no", "", id="numeric code"),
        pytest.param(b'"no"', "400: no", "", id="a JSON text"),
        pytest.param(b'[{"code": "InvalidInput"}]', '400: [{"code": "InvalidInput"}]', "", id="a list"),
        pytest.param(
            b"<html><head><title>x</title><style>p{}</style></head><body><p>Blocked by\n<b>Firewall</b></body></html>",
            "400: Blocked by Firewall",
            "",
            id="a page",
        ),
        pytest.param(b"plain\x00 text\x1b[31m\xff", "400: plain text [31m\ufffd", "", id="control characters"),
        pytest.param(b"", "400 Bad Request", "", id="nothing"),
        pytest.param(b'{"message": "' + b"x" * 1000 + b'"}', "400: " + "x" * 299 + "…", "", id="long"),
    ],
)
def test_passes_on_the_vendors_own_words(vendor: Vendor, client: Client, body: bytes, said: str, code: str) -> None:
    vendor.next = SimResponse(400, {}, body)
    error = refusal(client, Rejected)
    assert str(error) == f"shop.example refused the request ({said})."
    assert error.code == code


def test_a_status_without_a_name_is_told_by_its_number(vendor: Vendor, client: Client) -> None:
    vendor.next = SimResponse(499)
    assert str(refusal(client, Rejected)) == "shop.example refused the request (499)."


# ---------------------------------------------------------------- beside the request


class Budget:
    """A limiter that notes what it is asked, and refuses when told to."""

    def __init__(self) -> None:
        self.costs: list[float] = []
        self.spent = False

    def acquire(self, cost: float) -> None:
        if self.spent:
            raise RateLimited("spent", 3.0)
        self.costs.append(cost)

    def learn(self, available: float, restore_rate: float, maximum: float) -> None:
        raise AssertionError("nothing to learn from")


def test_takes_its_cost_from_the_budget_before_it_sends(vendor: Vendor) -> None:
    budget = Budget()
    client = Client(hosts=[SHOP], routes={SHOP: vendor.serve()}, limiter=budget)
    client.get(SHOP + "/orders")
    client.post(SHOP + "/graphql", cost=42.0)
    assert budget.costs == [1.0, 42.0]
    assert client.limiter is budget

    budget.spent = True
    with pytest.raises(RateLimited):
        client.get(SHOP + "/orders")
    assert vendor.effects == 2

    budget.spent = False
    client.get(SHOP + "/orders")
    assert vendor.effects == 3
    client.close()


def test_a_request_to_a_foreign_host_costs_nothing(vendor: Vendor) -> None:
    budget = Budget()
    client = Client(hosts=[SHOP], limiter=budget)
    with pytest.raises(Rejected):
        client.get("https://other.example/")
    assert budget.costs == []


def test_an_outcome_is_not_lost_when_it_cannot_be_logged(vendor: Vendor, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: Exchange) -> None:
        raise RuntimeError("disk full")

    client = Client(hosts=[SHOP], routes={SHOP: vendor.serve()}, on_exchange=fail)
    with caplog.at_level(logging.ERROR, "hub.http"):
        assert client.post(SHOP + "/orders").json() == {"ok": True}
    assert caplog.messages == ["An exchange could not be recorded."]
    client.close()


def test_the_client_of_the_web_process_refuses_every_request() -> None:
    client = RefusingClient()
    for method in (client.get, client.post, client.put, client.delete):
        with pytest.raises(Rejected, match="Connectors do not talk to their vendor in the web process"):
            method(SHOP + "/orders")


@responses.activate
def test_connector_authors_can_use_responses_instead_of_a_server() -> None:
    responses.get("https://api.example/v1/orders", json={"orders": []}, headers={"X-Total": "0"})
    responses.get("https://api.example/v1/orders/9", status=404, json={"message": "unknown"})
    client = Client(hosts=["https://api.example"])

    assert client.get("https://api.example/v1/orders").json() == {"orders": []}
    with pytest.raises(NotFound, match="unknown"):
        client.get("https://api.example/v1/orders/9")


def test_a_time_to_wait_is_measured_from_now(vendor: Vendor, client: Client) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=30)
    vendor.fail_next("/orders", Fault.status(429, retry_after=format_datetime(soon, usegmt=True)))
    assert 25 < refusal(client, RateLimited).retry_after <= 30
