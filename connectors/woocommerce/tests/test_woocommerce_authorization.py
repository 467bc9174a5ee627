"""Connecting with one click: what the shop is asked, and which of its answers are believed."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from hub.connector import AuthorizationAnswer, AuthorizationRequest
from hub.errors import AuthError, Rejected, Unverified
from hub.testing.context import context_for
from hub.testing.simulator import SimRequest
from hub_woocommerce.connector import WooCommerceConnector
from hub_woocommerce.simulator import WooCommerceSimulator
from hub_woocommerce.simulator_authorization import Refused, question

REQUEST = AuthorizationRequest(
    state="st4te-of-this-once",
    return_url="https://hub.example/connect/back?step=2",
    callback_url="https://hub.example/connect/keys/7f3a",
)
SETTINGS = {"site": "https://woo.example"}


@pytest.fixture
def shop() -> Iterator[WooCommerceSimulator]:
    with WooCommerceSimulator() as shop:
        shop.hold_webhooks()
        yield shop


def address(request: AuthorizationRequest = REQUEST) -> str:
    return WooCommerceConnector.authorization_url(SETTINGS, request)


def by_browser(sent_to: str, state: str = REQUEST.state) -> Any:
    """What the connector makes of the address that the browser was sent back to."""
    parameters = dict(parse_qsl(urlsplit(sent_to).query))
    answer = AuthorizationAnswer(state=state, parameters=parameters, body=b"", by_browser=True)
    return WooCommerceConnector.read_authorization(SETTINGS, answer)


def by_server(body: bytes, state: str = REQUEST.state) -> Any:
    """What the connector makes of what the shop's server sent."""
    answer = AuthorizationAnswer(state=state, parameters={}, body=body, by_browser=False)
    return WooCommerceConnector.read_authorization(SETTINGS, answer)


def test_only_the_address_is_asked_for_and_is_understood_as_people_paste_it() -> None:
    schema = WooCommerceConnector.authorization_schema
    assert schema is not None
    assert list(schema().fields) == ["site"]
    assert schema().load({"site": " Woo.example/wp-admin/ "}) == SETTINGS


def test_the_merchant_is_led_to_their_own_shop_with_all_that_it_needs() -> None:
    parts = urlsplit(address())
    assert (parts.scheme, parts.netloc, parts.path) == ("https", "woo.example", "/wc-auth/v1/authorize")
    assert dict(parse_qsl(parts.query)) == {
        "app_name": "Tallyhub",
        "scope": "read_write",
        "user_id": "st4te-of-this-once",
        "return_url": "https://hub.example/connect/back?step=2",
        "callback_url": "https://hub.example/connect/keys/7f3a",
    }


def test_a_shop_in_a_folder_is_asked_there() -> None:
    url = WooCommerceConnector.authorization_url({"site": "https://woo.example/shop"}, REQUEST)
    assert url.startswith("https://woo.example/shop/wc-auth/v1/authorize?")


def test_a_hub_without_https_is_told_to_have_the_key_typed_in() -> None:
    request = AuthorizationRequest("state", "http://localhost:8000/back", "http://localhost:8000/keys")
    with pytest.raises(Rejected) as refused:
        address(request)
    assert str(refused.value) == (
        "WooCommerce hands out a key only to an https:// address, and this hub has none. Make a key in WooCommerce, "
        "and type it in."
    )


def test_the_key_comes_from_the_shops_server_and_works_there(shop: WooCommerceSimulator) -> None:
    back = shop.approve(address())
    assert back == "https://hub.example/connect/back?step=2&success=1&user_id=st4te-of-this-once"
    # The browser brings nothing but the news that it went well.
    assert by_browser(back) is None
    (letter,) = shop.take_webhooks()
    assert letter.address == REQUEST.callback_url
    keys = by_server(letter.body)
    said = json.loads(letter.body)
    assert keys == {
        "site": "https://woo.example",
        "consumer_key": said["consumer_key"],
        "consumer_secret": said["consumer_secret"],
    }
    settings = WooCommerceConnector.settings_schema().load(keys)
    assert WooCommerceConnector(context_for(settings, shop)).check().external_id == "woo.example"
    # A key is good only for the shop that made it.
    with WooCommerceSimulator(seed=1) as other, pytest.raises(AuthError):
        WooCommerceConnector(context_for(settings, other)).check()


def test_a_key_whose_delivery_failed_is_taken_back_by_the_shop(shop: WooCommerceSimulator) -> None:
    shop.approve(address())
    (letter,) = shop.take_webhooks()
    settings = WooCommerceConnector.settings_schema().load(by_server(letter.body))
    shop.answered(letter, 500)
    with pytest.raises(AuthError):
        WooCommerceConnector(context_for(settings, shop)).check()
    shop.approve(address())
    (letter,) = shop.take_webhooks()
    shop.answered(letter, 200)
    settings = WooCommerceConnector.settings_schema().load(by_server(letter.body))
    assert WooCommerceConnector(context_for(settings, shop)).check().external_id == "woo.example"


def test_a_merchant_who_says_no_is_told_what_else_there_is(shop: WooCommerceSimulator) -> None:
    back = shop.deny(address())
    assert back.endswith("success=0&user_id=st4te-of-this-once")
    with pytest.raises(Rejected) as refused:
        by_browser(back)
    assert str(refused.value) == ("In WooCommerce the connection was denied. Approve it there, or type a key in.")
    assert shop.take_webhooks() == []


@pytest.mark.parametrize("permission", ["read", "write", None])
def test_a_key_that_may_not_do_both_is_refused(shop: WooCommerceSimulator, permission: str | None) -> None:
    shop.approve(address())
    (letter,) = shop.take_webhooks()
    with pytest.raises(Rejected) as refused:
        by_server(json.dumps({**json.loads(letter.body), "key_permissions": permission}).encode())
    assert str(refused.value) == (
        f"WooCommerce made a key with the permission “{permission}”. The hub has to read and write: begin again, and "
        "approve both."
    )


@pytest.mark.parametrize("state", ["another", "", "st4te-of-this-onc", "ST4TE-OF-THIS-ONCE"])
def test_an_answer_to_another_request_is_not_believed(shop: WooCommerceSimulator, state: str) -> None:
    back = shop.approve(address())
    (letter,) = shop.take_webhooks()
    for answered in (lambda: by_browser(back, state), lambda: by_server(letter.body, state)):
        with pytest.raises(Unverified):
            answered()
    assert by_server(letter.body) is not None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b"\xff",
        b"consumer_key=ck_1&user_id=st4te-of-this-once",
        b'{"user_id":"st4te-of-this-once","key_permissions":"read_write"}',
        b'{"user_id":"st4te-of-this-once","key_permissions":"read_write","consumer_key":"ck_1","consumer_secret":7}',
        b'{"user_id":["st4te-of-this-once"],"key_permissions":"read_write"}',
        b'{"user_id":"\\ud800","key_permissions":"read_write"}',
    ],
)
def test_any_other_body_is_not_believed(body: bytes) -> None:
    with pytest.raises(Unverified):
        by_server(body)


def test_a_browser_that_says_nothing_is_not_believed() -> None:
    with pytest.raises(Unverified):
        by_browser("https://hub.example/connect/back?success=1")


# ---------------------------------------------------------------- the shop's pages


def visit(shop: WooCommerceSimulator, url: str) -> tuple[int, str]:
    parts = urlsplit(url)
    page = shop.handle(SimRequest("GET", parts.path, parse_qsl(parts.query)))
    return page.status, page.headers.get("Location", "") or page.body.decode()


def test_the_page_asks_in_the_hubs_name_and_leads_on(shop: WooCommerceSimulator) -> None:
    status, page = visit(shop, address())
    assert (status, "Tallyhub would like to connect to your store" in page) == (200, True)
    status, back = visit(shop, address().replace("/authorize?", "/access_granted?"))
    assert (status, back) == (302, "https://hub.example/connect/back?step=2&success=1&user_id=st4te-of-this-once")
    assert len(shop.take_webhooks()) == 1
    assert visit(shop, address().replace("/authorize?", "/elsewhere?"))[0] == 404


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("scope=read_write", "scope=all", "Invalid scope all"),
        ("app_name=Tallyhub", "app_name=", "Missing parameter app_name"),
        ("user_id=st4te-of-this-once", "", "Missing parameter user_id"),
        ("callback_url=https", "callback_url=http", "The callback_url needs to be over SSL"),
        ("callback_url=https%3A%2F%2F", "callback_url=", "The callback_url is not a valid URL"),
    ],
)
def test_the_shop_refuses_what_woocommerce_refuses(shop: WooCommerceSimulator, old: str, new: str, words: str) -> None:
    url = address().replace(old, new)
    assert url != address()
    with pytest.raises(Refused, match=words):
        question(url)
    status, page = visit(shop, url)
    assert (status, f"Error: {words}" in page, shop.handed_out) == (401, True, {})
