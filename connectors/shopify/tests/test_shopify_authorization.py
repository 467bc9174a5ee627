"""Being given a shop's permission in its admin, and living by tokens that expire: guards, losses and recoveries."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from marshmallow import ValidationError

from hub.connector import AuthorizationAnswer, AuthorizationRequest, Context, Token, Webhook
from hub.errors import AuthError, Rejected, Unavailable, Unverified
from hub.http import Exchange
from hub.testing import Clock
from hub.testing.context import MemoryTokenVault, context_for
from hub.testing.simulator import Fault, SimResponse
from hub_shopify.authorization import SCOPES, signature
from hub_shopify.connector import ShopifyConnector
from hub_shopify.settings import AppSettings, ShopifySettings
from hub_shopify.simulator import ShopifySimulator

GRANT = "/admin/oauth/access_token"
GRAPHQL = "/admin/api"
REQUEST = AuthorizationRequest(
    state="s7ate-Made_once",
    return_url="https://hub.example/authorizations/return",
    callback_url="https://hub.example/authorizations/callback",
)


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime(2026, 11, 21, 12, tzinfo=UTC))


@pytest.fixture
def shop(clock: Clock) -> Iterator[ShopifySimulator]:
    with ShopifySimulator(now=clock) as simulator:
        yield simulator


def form(shop: ShopifySimulator) -> Mapping[str, Any]:
    typed: Mapping[str, Any] = AppSettings().load(shop.settings())
    return typed


def answered(shop: ShopifySimulator, request: AuthorizationRequest = REQUEST) -> AuthorizationAnswer:
    """The merchant follows the link and installs the app; what then comes back to the hub."""
    back = shop.install(ShopifyConnector.authorization_url(form(shop), request))
    assert back.startswith(f"{request.return_url}?")
    return AuthorizationAnswer(request.state, dict(parse_qsl(urlsplit(back).query)), b"", by_browser=True)


def by_code(shop: ShopifySimulator) -> Mapping[str, Any]:
    """The settings of a connection made by installing the app, as they are stored and loaded again."""
    given = ShopifyConnector.read_authorization(form(shop), answered(shop))
    assert given is not None
    settings: Mapping[str, Any] = ShopifySettings().load(dict(given))
    return settings


def connected(shop: ShopifySimulator, settings: Mapping[str, Any] | None = None, **options: Any) -> ShopifyConnector:
    settings = settings or by_code(shop)
    context = context_for(settings, shop, hosts=ShopifyConnector.hosts(settings), now=shop.now, **options)
    return ShopifyConnector(context)


def asked(shop: ShopifySimulator) -> list[str]:
    """By what the connector asked for its tokens, in order."""
    forms = [dict(parse_qsl(each.body.decode())) for each in shop.requests if each.path == GRANT]
    return [each.get("grant_type") or ("code" if "code" in each else "?") for each in forms]


# --- the way there


def test_the_merchant_is_asked_in_the_admin_of_the_shop_that_was_typed_in(shop: ShopifySimulator) -> None:
    parts = urlsplit(ShopifyConnector.authorization_url(form(shop), REQUEST))
    assert (parts.scheme, parts.netloc, parts.path) == ("https", shop.domain, "/admin/oauth/authorize")
    assert dict(parse_qsl(parts.query)) == {
        "client_id": shop.client_id,
        "scope": ",".join(SCOPES),
        "redirect_uri": REQUEST.return_url,
        "state": REQUEST.state,
    }
    assert shop.client_secret not in parts.query


def test_a_shop_connects_without_a_token_being_typed_in(shop: ShopifySimulator) -> None:
    shop.installed = False
    shop.redirects = [REQUEST.return_url]
    settings = by_code(shop)
    assert settings["grant"] == "authorization_code"
    assert len(settings["authorization_code"]) == 32
    connector = connected(shop, settings)
    assert connector.check().external_id == str(shop.shop_id)
    assert connector.check().name == "Demo shop"
    assert asked(shop) == ["code"]


def test_a_token_that_expires_is_asked_for(shop: ShopifySimulator) -> None:
    connector = connected(shop)
    connector.check()
    (exchange,) = [dict(parse_qsl(each.body.decode())) for each in shop.requests if each.path == GRANT]
    assert exchange["expiring"] == "1"
    kept = connector.context.tokens.kept("admin")
    assert kept is not None
    assert kept.expires_at == shop.now() + timedelta(minutes=60)
    assert kept.refresh_token.startswith("shprt_")
    assert kept.refresh_expires_at == shop.now() + timedelta(days=90)


@pytest.mark.parametrize(
    ("entered", "field", "says"),
    [
        ({"shop": "shop.example"}, "shop", ".myshopify.com"),
        ({"client_id": ""}, "client_id", "Enter the client ID"),
        ({"client_secret": " "}, "client_secret", "it is needed"),
        ({"client_secret": "shpat_1"}, "client_secret", "This is an access token."),
    ],
)
def test_what_is_needed_to_ask_is_asked_for_before(
    shop: ShopifySimulator, entered: dict[str, str], field: str, says: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        AppSettings().load({**shop.settings(), **entered})
    messages = refused.value.normalized_messages()
    assert list(messages) == [field]
    assert says in messages[field][0]


# --- the way back


def resigned(simulator: ShopifySimulator, answer: AuthorizationAnswer, **changed: str | None) -> AuthorizationAnswer:
    """The answer with other parameters, rightly signed by Shopify; None takes one out."""
    said = {**answer.parameters, **changed}
    kept = {name: value for name, value in said.items() if value is not None and name != "hmac"}
    message = "&".join(f"{name}={value}" for name, value in sorted(kept.items()))
    mac = hmac.new(simulator.client_secret.encode(), message.encode(), hashlib.sha256).hexdigest()
    return AuthorizationAnswer(answer.state, {**kept, "hmac": mac}, b"", by_browser=True)


def refusal(shop: ShopifySimulator, answer: AuthorizationAnswer) -> str:
    with pytest.raises(Unverified) as refused:
        ShopifyConnector.read_authorization(form(shop), answer)
    return str(refused.value)


def test_the_right_answer_is_taken_and_names_what_was_typed_in(shop: ShopifySimulator) -> None:
    answer = answered(shop)
    assert ShopifyConnector.read_authorization(form(shop), resigned(shop, answer)) == {
        **shop.settings(),
        "grant": "authorization_code",
        "authorization_code": answer.parameters["code"],
    }


@pytest.mark.parametrize("name", ["code", "host", "shop", "state", "timestamp"])
def test_the_signature_covers_every_parameter(shop: ShopifySimulator, name: str) -> None:
    answer = answered(shop)
    said = {**answer.parameters, name: f"{answer.parameters[name]}0"}
    assert "The signature does not fit" in refusal(shop, AuthorizationAnswer(answer.state, said, b"", True))
    del said[name]
    assert "The signature does not fit" in refusal(shop, AuthorizationAnswer(answer.state, said, b"", True))


@pytest.mark.parametrize("mac", ["", "0" * 64, "ünïcode ✓ \ud800", "short"])
def test_a_wrong_signature_is_refused_whatever_it_is(shop: ShopifySimulator, mac: str) -> None:
    answer = answered(shop)
    said = {**answer.parameters, "hmac": mac}
    assert "The signature does not fit" in refusal(shop, AuthorizationAnswer(answer.state, said, b"", True))


def test_the_signature_of_another_app_is_refused(shop: ShopifySimulator) -> None:
    answer = answered(shop)
    shop.client_secret = "shpss_another"
    assert "client secret is that of another app" in refusal(shop, answer)


def test_a_signed_text_cannot_be_cut_into_other_parameters(shop: ShopifySimulator) -> None:
    answer = answered(shop)
    code, host = answer.parameters["code"], answer.parameters["host"]
    joined = {**answer.parameters, "code": f"{code}&host={host}"}
    del joined["host"]
    assert "The signature does not fit" in refusal(shop, AuthorizationAnswer(answer.state, joined, b"", True))
    assert signature({"a": "1&b=2"}, "s") != signature({"a": "1", "b": "2"}, "s")
    assert signature({"a=1&b": "2"}, "s") != signature({"a": "1", "b": "2"}, "s")
    assert signature({"a=b": "c"}, "s") != signature({"a": "b=c"}, "s")
    assert signature({"a": "%26"}, "s") != signature({"a": "&"}, "s")


def test_the_answer_to_another_request_is_refused(shop: ShopifySimulator) -> None:
    answer = answered(shop)
    other = AuthorizationAnswer("another-state", answer.parameters, b"", by_browser=True)
    assert "answers another request" in refusal(shop, other)
    assert "answers another request" in refusal(shop, resigned(shop, answer, state=None))


def test_the_answer_for_another_shop_is_refused(shop: ShopifySimulator) -> None:
    answer = answered(shop)
    says = "gave its permission for another shop than demo-shop.myshopify.com"
    for other in ("other-shop.myshopify.com", "demo-shop.myshopify.com.evil.example", "evil.example", None):
        assert says in refusal(shop, resigned(shop, answer, shop=other))


def test_only_the_merchants_own_browser_brings_the_answer(shop: ShopifySimulator) -> None:
    answer = answered(shop)
    called = AuthorizationAnswer(answer.state, answer.parameters, b"", by_browser=False)
    assert "in the browser" in refusal(shop, called)


def test_a_merchant_who_says_no_is_told_that_nothing_was_changed(shop: ShopifySimulator) -> None:
    answer = resigned(shop, answered(shop), code=None, error="access_denied")
    with pytest.raises(Rejected, match="was not installed, so the shop is not connected"):
        ShopifyConnector.read_authorization(form(shop), answer)
    assert "has no permission in it" in refusal(shop, resigned(shop, answered(shop), code=None))


# --- the code


def test_a_code_is_good_for_one_time(shop: ShopifySimulator) -> None:
    settings = by_code(shop)
    assert connected(shop, settings).check().name == "Demo shop"
    with pytest.raises(AuthError, match="good for one time only"):
        connected(shop, settings).check()  # as if what came of it had been lost
    assert connected(shop, by_code(shop)).check().name == "Demo shop"


def test_a_lost_answer_to_the_code_is_never_taken_for_success(shop: ShopifySimulator) -> None:
    connector = connected(shop)
    shop.fail_next(GRANT, Fault.reset())
    with pytest.raises(Unavailable):
        connector.check()
    with pytest.raises(AuthError, match="Connect the shop once more"):
        connector.check()
    assert connected(shop).check().name == "Demo shop"


def test_a_code_that_shopify_never_saw_is_sent_again(shop: ShopifySimulator) -> None:
    connector = connected(shop)
    shop.fail_next(GRANT, Fault.status(503))
    with pytest.raises(Unavailable):
        connector.check()
    assert connector.check().name == "Demo shop"


# --- tokens that expire


def test_one_token_serves_until_it_is_about_to_expire_and_is_then_renewed(shop: ShopifySimulator, clock: Clock) -> None:
    connector = connected(shop)
    connector.check()
    clock.advance(minutes=58)
    connector.check()
    assert asked(shop) == ["code"]
    for _ in range(3):
        clock.advance(minutes=59, seconds=30)
        assert connector.check().name == "Demo shop"
    assert asked(shop) == ["code", "refresh_token", "refresh_token", "refresh_token"]


def test_each_refresh_token_is_used_once_and_replaced_by_the_one_that_came_with_the_answer(
    shop: ShopifySimulator, clock: Clock
) -> None:
    connector = connected(shop)
    sent = []
    for _ in range(4):
        connector.check()
        kept = connector.context.tokens.kept("admin")
        assert kept is not None
        sent.append(kept.refresh_token)
        clock.advance(hours=1)
    assert len(set(sent)) == 4
    forms = [dict(parse_qsl(each.body.decode())) for each in shop.requests if each.path == GRANT]
    assert [each["refresh_token"] for each in forms[1:]] == sent[:3]


def test_a_lost_answer_is_made_up_for_with_the_same_refresh_token(shop: ShopifySimulator, clock: Clock) -> None:
    connector = connected(shop)
    connector.check()
    clock.advance(hours=1)
    shop.fail_next(GRANT, Fault.reset(), times=2)
    for _ in range(2):
        with pytest.raises(Unavailable):
            connector.check()
    clock.advance(days=29)  # Shopify takes it for thirty days, unless its successor was used
    assert connector.check().name == "Demo shop"
    clock.advance(hours=1)
    assert connector.check().name == "Demo shop"
    assert asked(shop) == ["code", *["refresh_token"] * 4]


def test_an_answer_lost_for_too_long_asks_to_reconnect(shop: ShopifySimulator, clock: Clock) -> None:
    connector = connected(shop)
    connector.check()
    clock.advance(hours=1)
    shop.fail_next(GRANT, Fault.reset())
    with pytest.raises(Unavailable):
        connector.check()
    clock.advance(days=31)
    with pytest.raises(AuthError, match=r"permission for demo-shop\.myshopify\.com is over"):
        connector.check()
    assert connected(shop).check().name == "Demo shop"


def test_a_refresh_token_that_was_replaced_and_left_is_refused(shop: ShopifySimulator, clock: Clock) -> None:
    connector = connected(shop)
    connector.check()
    vault = connector.context.tokens
    old = vault.kept("admin")
    for _ in range(2):
        clock.advance(hours=1)
        connector.check()
    assert isinstance(vault, MemoryTokenVault)
    vault._tokens["admin"] = old or Token("")  # a copy of the database from before
    with pytest.raises(AuthError, match="Install the app once more with “Reconnect”"):
        connector.check()
    assert connected(shop).check().name == "Demo shop"


def test_a_permission_that_was_not_used_for_ninety_days_is_over_without_asking(
    shop: ShopifySimulator, clock: Clock
) -> None:
    connector = connected(shop)
    connector.check()
    clock.advance(days=89)
    connector.check()
    clock.advance(days=90)
    before = len(shop.requests)
    with pytest.raises(AuthError, match="nothing was asked for 90 days"):
        connector.check()
    assert len(shop.requests) == before


def test_workers_that_meet_an_expired_token_together_renew_it_once(shop: ShopifySimulator, clock: Clock) -> None:
    first = connected(shop)
    first.check()
    clock.advance(hours=2)
    workers = [threading.Thread(target=ShopifyConnector(first.context).check) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert asked(shop) == ["code", "refresh_token"]


def test_a_revoked_token_is_renewed_at_once(shop: ShopifySimulator) -> None:
    connector = connected(shop)
    connector.check()
    shop.revoke_tokens()
    assert connector.check().name == "Demo shop"
    assert asked(shop) == ["code", "refresh_token"]


def test_what_an_answer_leaves_out_stays_as_it_was(shop: ShopifySimulator, clock: Clock) -> None:
    connector = connected(shop)
    connector.check()
    before = connector.context.tokens.kept("admin")
    assert before is not None
    clock.advance(hours=1)
    shop.fail_next(GRANT, Fault(response=SimResponse.of_json({"access_token": "shpat_odd"}), after_effect=True))
    shop._tokens["shpat_odd"] = clock.now + timedelta(hours=1)
    assert connector.check().name == "Demo shop"
    kept = connector.context.tokens.kept("admin")
    assert kept == Token("shpat_odd", None, before.refresh_token, before.refresh_expires_at)
    clock.advance(hours=1)  # it expires, though nobody said when
    assert connector.check().name == "Demo shop"


@pytest.mark.parametrize("told", [True, -1, 1.5, "soon", 10**30, None, [], "3600"])
def test_an_odd_lifetime_never_stops_the_tokens(shop: ShopifySimulator, told: Any) -> None:
    connector = connected(shop)
    answer = {"access_token": "shpat_odd", "refresh_token": "shprt_odd", "expires_in": told}
    shop.fail_next(GRANT, Fault(response=SimResponse.of_json(answer)))
    shop._tokens["shpat_odd"] = shop.now() + timedelta(hours=1)
    assert connector.check().name == "Demo shop"
    kept = connector.context.tokens.kept("admin")
    assert kept is not None
    assert kept.expires_at == (shop.now() + timedelta(hours=1) if told == "3600" else None)


def test_a_permission_that_does_not_expire_serves_until_it_is_taken_away(shop: ShopifySimulator) -> None:
    connector = connected(shop)
    answer = {"access_token": "shpat_forever", "scope": ",".join(SCOPES)}
    shop.fail_next(GRANT, Fault(response=SimResponse.of_json(answer)))
    shop._tokens["shpat_forever"] = shop.now() + timedelta(days=9999)
    assert connector.check().name == "Demo shop"
    shop.revoke_tokens()
    with pytest.raises(AuthError, match="is over"):
        connector.check()
    assert asked(shop) == ["code"]


@pytest.mark.parametrize("fault", [Fault.status(520), Fault.html(), Fault.truncated(), Fault.reset()])
def test_a_failing_renewal_is_tried_again_and_recovers(shop: ShopifySimulator, clock: Clock, fault: Fault) -> None:
    connector = connected(shop)
    connector.check()
    clock.advance(hours=1)
    shop.fail_next(GRANT, fault)
    with pytest.raises(Unavailable):
        connector.check()
    assert connector.check().name == "Demo shop"


def test_no_code_and_no_token_reaches_the_activity_page(shop: ShopifySimulator, clock: Clock) -> None:
    seen: list[Exchange] = []
    settings = by_code(shop)
    connector = connected(shop, settings, on_exchange=seen.append)
    connector.check()
    clock.advance(hours=1)
    connector.check()
    shop.fail_next(GRANT, Fault.echo(500))
    clock.advance(hours=1)
    with pytest.raises(Unavailable) as failed:
        connector.check()
    told = f"{seen!r} {failed.value}"
    assert len(seen) > 4
    for secret in (shop.client_secret, settings["authorization_code"], "shpat_", "shprt_"):
        assert secret not in told


def page_with(text: str) -> Fault:
    return Fault(response=SimResponse(500, {"Content-Type": "text/html"}, f"<p>bad: {text}</p>".encode()))


def test_an_error_page_that_repeats_a_code_or_a_token_does_not_spread_it(shop: ShopifySimulator, clock: Clock) -> None:
    settings = by_code(shop)
    connector = connected(shop, settings)
    shop.fail_next(GRANT, page_with(settings["authorization_code"]))
    with pytest.raises(Unavailable, match="bad: •••"):
        connector.check()
    connector.check()
    kept = connector.context.tokens.kept("admin")
    assert kept is not None
    # A worker that finds the token in the vault knows it as little as one that has just been given it.
    later = ShopifyConnector(replace(connected(shop, settings).context, tokens=connector.context.tokens))
    shop.fail_next(GRAPHQL, page_with(kept.value))
    with pytest.raises(Unavailable, match="bad: •••"):
        later.check()
    clock.advance(hours=1)
    shop.fail_next(GRANT, page_with(kept.refresh_token))
    with pytest.raises(Unavailable, match="bad: •••"):
        later.check()
    assert later.check().name == "Demo shop"


# --- removed, and connected again


def test_an_app_that_was_removed_says_so_and_can_be_installed_again(shop: ShopifySimulator) -> None:
    connector = connected(shop)
    connector.check()
    shop.uninstall()
    with pytest.raises(AuthError, match="the app was removed"):
        connector.check()
    assert connected(shop).check().name == "Demo shop"


def legacy(shop: ShopifySimulator) -> Mapping[str, Any]:
    settings: Mapping[str, Any] = ShopifySettings().load(
        {**shop.settings(), "client_id": "", "access_token": shop.legacy_token}
    )
    return settings


def typed_in(shop: ShopifySimulator) -> Mapping[str, Any]:
    settings: Mapping[str, Any] = ShopifySettings().load(shop.settings())
    return settings


WAYS = {"client credentials": typed_in, "authorization code": by_code, "access token": legacy}


@pytest.mark.parametrize("after", WAYS.values(), ids=list(WAYS))
@pytest.mark.parametrize("before", WAYS.values(), ids=list(WAYS))
def test_a_shop_is_reconnected_in_every_way_after_every_other(
    shop: ShopifySimulator,
    before: Callable[[ShopifySimulator], Mapping[str, Any]],
    after: Callable[[ShopifySimulator], Mapping[str, Any]],
) -> None:
    assert connected(shop, before(shop)).check().name == "Demo shop"
    shop.uninstall()
    with pytest.raises(AuthError):
        connected(shop, typed_in(shop)).check()
    shop.installed = True
    assert connected(shop, after(shop)).check().name == "Demo shop"


def test_the_way_that_was_taken_is_remembered_and_not_drawn(shop: ShopifySimulator) -> None:
    fields = ShopifySettings().fields
    assert {name for name, field in fields.items() if field.metadata.get("hidden")} == {"grant", "authorization_code"}
    assert typed_in(shop)["grant"] == "client_credentials"
    assert by_code(shop)["grant"] == "authorization_code"
    assert ShopifySettings().load(dict(by_code(shop)))["grant"] == "authorization_code"
    with pytest.raises(ValidationError, match="permission is missing"):
        ShopifySettings().load({**shop.settings(), "grant": "authorization_code"})
    with pytest.raises(ValidationError):
        ShopifySettings().load({**shop.settings(), "grant": "password"})


def test_what_is_kept_of_a_removed_connection_is_enough_to_verify_its_webhooks(shop: ShopifySimulator) -> None:
    fields = ShopifySettings().fields
    signing = {name for name, field in fields.items() if field.metadata.get("signs")}
    assert signing == {"shop", "client_secret"}
    shop.compliance_address = "https://hub.example/compliance"
    shop.hold_webhooks()
    settings = by_code(shop)
    shop.uninstall()
    shop.erase_shop()
    (letter,) = shop.take_webhooks()
    left = {name: value for name, value in settings.items() if name in signing}
    context: Context = context_for(left, shop)
    headers = {name.lower(): value for name, value in letter.headers.items()}
    delivery = ShopifyConnector(context).verify(Webhook(headers, letter.body))
    assert delivery is not None
    assert delivery.topic == "shop/redact"


# --- what the simulated Shopify refuses


def test_the_install_page_refuses_what_shopify_refuses(shop: ShopifySimulator) -> None:
    url = ShopifyConnector.authorization_url(form(shop), REQUEST)
    shop.redirects = ["https://elsewhere.example/"]
    with pytest.raises(ValueError, match="redirect_uri is not whitelisted"):
        shop.install(url)
    shop.redirects = None
    with pytest.raises(ValueError, match="application_cannot_be_found"):
        shop.install(url.replace(shop.client_id, "0ther"))
    with pytest.raises(ValueError, match="invalid_scope: read_everything"):
        shop.install(url.replace("write_orders", "read_everything"))
    with pytest.raises(ValueError, match=r"leads to other\.myshopify\.com"):
        shop.install(url.replace(shop.domain, "other.myshopify.com"))
    host = dict(parse_qsl(urlsplit(shop.install(url)).query))["host"]
    assert base64.b64decode(f"{host}==") == b"admin.shopify.com/store/demo-shop"


def test_a_new_permission_ends_the_one_before(shop: ShopifySimulator, clock: Clock) -> None:
    first = connected(shop)
    first.check()
    second = connected(shop)
    second.check()
    clock.advance(hours=1)
    with pytest.raises(AuthError, match="is over"):
        first.check()
    assert second.check().name == "Demo shop"
