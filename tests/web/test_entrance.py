"""Coming in: set-up in the browser, signing in and out, the cookie, and what happens to somebody who guesses."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from flask import Flask
from sqlalchemy import func, select

from hub.app import create_app
from hub.jobs import Hub
from hub.store import accounts, throttle
from hub.store import tables as t
from hub.web.gate import safe_path
from tests.web.client import Browser, words
from tests.web.shop_builder import PASSWORD, Shop, replaced

FORM = {"merchant_name": "Tea", "name": "Ada", "email": "ada@tea.example", "password": PASSWORD, "again": PASSWORD}


def count(hub: Hub, table: object) -> int:
    with hub.database.read() as db:
        return db.execute(select(func.count()).select_from(table)).scalar_one()  # type: ignore[call-overload]


# ---------------------------------------------------------------- set-up


def test_a_fresh_hub_is_set_up_in_the_browser_once(hub: Hub, app: Flask) -> None:
    token = accounts.issue_setup_token(hub.database) or ""
    browser = Browser(app)
    assert browser.get("/orders").headers["Location"] == "/sign-in?next=/orders"
    assert browser.get("/sign-in").headers["Location"] == "/setup"
    link = f"/setup?token={token}"
    assert f'value="{token}"' in browser.get(link).text

    answer = browser.post("/setup", FORM | {"token": token}, page=link)

    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    home = words(browser.get("/"))
    assert "Connect a shop" in home and "Tea" in home

    stranger = Browser(app)
    again = stranger.get(link)
    assert (again.status_code, again.headers["Location"]) == (303, "/sign-in")
    assert "set up already" in words(stranger.get("/sign-in"))
    refused = stranger.post("/setup", FORM | {"token": token, "email": "mallory@tea.example"})
    assert refused.status_code == 403
    assert count(hub, t.user_account) == count(hub, t.merchant) == 1


def test_a_wrong_token_makes_nothing(hub: Hub, app: Flask) -> None:
    accounts.issue_setup_token(hub.database)

    answer = Browser(app).post("/setup", FORM | {"token": "guess"}, page="/setup")

    assert answer.status_code == 403
    assert "Start the hub again" in words(answer)
    assert count(hub, t.user_account) == 0


def test_mistakes_are_shown_beside_their_field_and_nothing_secret_comes_back(hub: Hub, app: Flask) -> None:
    token = accounts.issue_setup_token(hub.database) or ""
    browser = Browser(app)

    answer = browser.post("/setup", FORM | {"token": token, "email": "no address"}, page="/setup")

    assert answer.status_code == 422
    assert "Enter an e-mail address, such as you@example.com." in words(answer)
    assert 'value="Ada"' in answer.text and 'value="no address"' in answer.text
    assert PASSWORD not in answer.text
    differing = browser.post("/setup", FORM | {"token": token, "again": "another one"}, page="/setup")
    assert "This is not the same password." in words(differing)
    assert count(hub, t.user_account) == 0

    assert browser.post("/setup", FORM | {"token": token}, page="/setup").status_code == 303


# ---------------------------------------------------------------- the cookie


def test_over_https_the_cookie_is_bound_to_this_host(hub: Hub, shop: Shop) -> None:
    browser = Browser(create_app(hub), "https://localhost")

    answer = browser.post("/sign-in", {"email": "ada@tea.example", "password": PASSWORD})

    (cookie,) = (text for text in answer.headers.getlist("Set-Cookie") if "tallyhub" in text)
    name, *attributes = cookie.split("; ")
    assert name.startswith("__Host-tallyhub=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(attributes)
    assert not any(each.startswith("Domain") for each in attributes)
    assert "max-age=31536000" in answer.headers["Strict-Transport-Security"]
    assert browser.get("/").status_code == 200


def test_without_https_the_cookie_is_still_out_of_reach_of_scripts(app: Flask, shop: Shop) -> None:
    answer = Browser(app).post("/sign-in", {"email": "ada@tea.example", "password": PASSWORD})

    (cookie,) = answer.headers.getlist("Set-Cookie")
    assert cookie.startswith("tallyhub=")
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Secure" not in cookie


def test_signing_in_changes_the_cookie_and_what_was_planted_in_it_before(app: Flask, shop: Shop) -> None:
    browser = Browser(app)
    planted = browser.token()
    before = browser.cookie()

    browser.post("/sign-in", {"email": "ada@tea.example", "password": PASSWORD})

    assert browser.cookie() != before
    used = browser.client.post("/settings/sign-out-everywhere", base_url=browser.base_url, data={"csrf_token": planted})
    assert used.status_code == 400
    assert browser.get("/").status_code == 200


def test_signing_out_ends_the_session_on_the_server_too(app: Flask, shop: Shop) -> None:
    browser = Browser(app).sign_in("ada@tea.example")
    stolen = browser.cookie()

    assert browser.post("/sign-out", page="/settings").headers["Location"] == "/sign-in"

    thief = Browser(app)
    thief.client.set_cookie("tallyhub", stolen, domain="localhost")
    assert thief.get("/orders").headers["Location"] == "/sign-in?next=/orders"


def test_signing_in_again_ends_the_session_this_browser_had(hub: Hub, app: Flask, shop: Shop) -> None:
    browser = Browser(app).sign_in("ada@tea.example")
    first = browser.cookie()
    page = browser.get("/settings").text
    token = page.split('name="csrf_token" value="')[1].split('"')[0]

    answer = browser.client.post(
        "/sign-in",
        base_url=browser.base_url,
        data={"csrf_token": token, "email": "joan@tea.example", "password": PASSWORD},
    )

    assert answer.status_code == 303
    old = Browser(app)
    old.client.set_cookie("tallyhub", first, domain="localhost")
    assert old.get("/").headers["Location"] == "/sign-in"
    assert count(hub, t.session) == 1


def test_a_cookie_that_was_tampered_with_is_worth_nothing(app: Flask, shop: Shop) -> None:
    browser = Browser(app).sign_in("ada@tea.example")
    payload, _, rest = browser.cookie().partition(".")

    browser.client.set_cookie("tallyhub", f"{payload}A.{rest}", domain="localhost")

    assert browser.get("/").headers["Location"] == "/sign-in"


def test_a_session_survives_a_new_secret_key_while_the_old_one_is_kept(hub: Hub, shop: Shop) -> None:
    from hub.store.secrets import new_key

    browser = Browser(create_app(hub)).sign_in("ada@tea.example")
    cookie = browser.cookie()

    def status_with(keys: tuple[str, ...]) -> int:
        other = Browser(create_app(replaced(hub, secret_keys=keys)))
        other.client.set_cookie("tallyhub", cookie, domain="localhost")
        return other.get("/").status_code

    (old,) = hub.settings.secret_keys
    assert status_with((new_key(), old)) == 200
    assert status_with((new_key(),)) == 303


# ---------------------------------------------------------------- signing in


@pytest.mark.parametrize(
    ("wanted", "leads_to"),
    [
        ("/orders?status=open", "/orders?status=open"),
        ("", "/"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/\tevil", "/"),
    ],
)
def test_leads_back_to_the_page_that_was_wanted_and_nowhere_else(
    app: Flask, shop: Shop, wanted: str, leads_to: str
) -> None:
    answer = Browser(app).post("/sign-in", {"email": "ada@tea.example", "password": PASSWORD, "next": wanted})

    assert answer.headers["Location"] == leads_to


def test_says_the_same_of_a_wrong_password_and_of_an_unknown_address(app: Flask, shop: Shop) -> None:
    known = Browser(app).post("/sign-in", {"email": "ada@tea.example", "password": "wrong"})
    unknown = Browser(app).post("/sign-in", {"email": "eve@tea.example", "password": "wrong"})

    assert known.status_code == unknown.status_code == 401
    assert words(known) == words(unknown)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the clock of the throttles on; without it no time passes for them."""
    moment = [datetime(2026, 3, 2, 12, 0, tzinfo=UTC)]
    monkeypatch.setattr(throttle, "Database", SimpleNamespace(now=lambda connection: moment[0]))

    def advance(seconds: float) -> None:
        moment[0] += timedelta(seconds=seconds)

    return advance


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No hashing: the passwords that were tried, the right one being "right"."""
    tried: list[str] = []
    real = accounts.authenticate

    def authenticate(database: object, email: str, password: str) -> object:
        tried.append(password)
        return real(database, email, PASSWORD) if password == "right" else None  # type: ignore[arg-type]

    monkeypatch.setattr(accounts, "authenticate", authenticate)
    return tried


def guess(browser: Browser, password: str, email: str = "ada@tea.example") -> int:
    return browser.post("/sign-in", {"email": email, "password": password}).status_code


def test_a_thousand_guesses_are_a_handful_of_tries(
    app: Flask, shop: Shop, clock: Callable[[float], None], quick: list[str]
) -> None:
    attacker = Browser(app, REMOTE_ADDR="203.0.113.7")

    answers = [guess(attacker, f"guess {number}") for number in range(1000)]

    assert answers[:5] == [401] * 5
    assert set(answers[5:]) == {429}
    assert len(quick) == 5
    refused = attacker.post("/sign-in", {"email": "ada@tea.example", "password": "right"})
    assert refused.headers["Retry-After"] == "2"
    assert "Try again in 2 seconds" in words(refused)

    clock(2)
    assert guess(attacker, "wrong") == 401
    clock(1.9)
    assert guess(attacker, "right") == 429  # each further try waits longer
    clock(0.2)
    assert guess(attacker, "right") == 303


def test_nobody_is_locked_out_by_somebody_elses_guesses(
    app: Flask, shop: Shop, clock: Callable[[float], None], quick: list[str]
) -> None:
    at_home = Browser(app, REMOTE_ADDR="198.51.100.1")
    assert guess(at_home, "right") == 303
    at_home.post("/sign-out", page="/settings")

    for number in range(200):  # from as many addresses
        guess(Browser(app, REMOTE_ADDR=f"203.0.113.{number}"), "wrong")

    assert guess(at_home, "right") == 303  # a browser that was let in before
    assert guess(Browser(app, REMOTE_ADDR="192.0.2.9"), "right") == 429
    clock(11)
    assert guess(Browser(app, REMOTE_ADDR="192.0.2.9"), "right") == 303


def test_guesses_are_counted_for_all_processes_at_once(
    hub: Hub, shop: Shop, clock: Callable[[float], None], quick: list[str]
) -> None:
    processes = [create_app(hub) for _ in range(3)]

    answers = [guess(Browser(processes[number % 3], REMOTE_ADDR="203.0.113.7"), "wrong") for number in range(9)]

    assert answers == [401] * 5 + [429] * 4
    clock(1801)
    assert guess(Browser(processes[0], REMOTE_ADDR="203.0.113.7"), "wrong") == 401  # forgotten by now
    with hub.database.read() as db:
        assert sorted(db.execute(select(t.failed_try.c.times)).scalars()) == [1, 1, 6]  # one account, for an hour


def test_one_network_cannot_try_every_account(
    app: Flask, shop: Shop, clock: Callable[[float], None], quick: list[str]
) -> None:
    answers = [
        guess(Browser(app, REMOTE_ADDR=f"2001:db8:1:2::{number:x}"), "Summer2026!!", f"user{number}@tea.example")
        for number in range(1, 40)
    ]

    assert answers == [401] * 30 + [429] * 9
    assert guess(Browser(app, REMOTE_ADDR="2001:db8:1:3::1"), "right") == 303


# ---------------------------------------------------------------- one's own password


def test_changing_the_password_signs_out_everywhere(app: Flask, owner: Browser) -> None:
    elsewhere = Browser(app).sign_in("ada@tea.example")
    form = {"current": PASSWORD, "new": "seven loud blue kettles", "again": "seven loud blue kettles"}

    wrong = owner.post("/settings/password", form | {"current": "wrong"}, page="/settings")
    assert (wrong.status_code, "This is not your current password." in words(wrong)) == (422, True)
    assert "kettles" not in wrong.text
    short = owner.post("/settings/password", form | {"new": "short", "again": "short"}, page="/settings")
    assert (short.status_code, "at least 12 characters" in words(short)) == (422, True)
    assert elsewhere.get("/").status_code == 200

    assert owner.post("/settings/password", form, page="/settings").headers["Location"] == "/sign-in"

    assert "Your password is changed" in words(owner.get("/sign-in"))
    assert elsewhere.get("/").headers["Location"] == "/sign-in"
    assert owner.get("/").headers["Location"] == "/sign-in"
    Browser(app).sign_in("ada@tea.example", "seven loud blue kettles")


def test_the_current_password_cannot_be_guessed_in_an_open_browser(owner: Browser, quick: list[str]) -> None:
    form = {"current": "wrong", "new": "seven loud blue kettles", "again": "seven loud blue kettles"}
    for _ in range(5):
        owner.post("/settings/password", form, page="/settings")

    answer = owner.post("/settings/password", form | {"current": PASSWORD}, page="/settings")

    assert answer.status_code == 422
    assert "Too many tries" in words(answer)


def test_signing_out_everywhere_ends_this_session_and_the_others(hub: Hub, app: Flask, owner: Browser) -> None:
    Browser(app).sign_in("ada@tea.example")
    Browser(app).sign_in("joan@tea.example")
    assert words(owner.get("/settings/security")).count("last used") == 2

    owner.post("/settings/sign-out-everywhere", page="/settings")

    assert owner.get("/").headers["Location"] == "/sign-in"
    assert count(hub, t.session) == 1
    line = t.activity.c
    with hub.database.read() as db:
        told = db.execute(select(line.actor, line.summary).where(line.kind == "session_ended")).all()
    assert [tuple(each) for each in told] == [("ada@tea.example", "2 sessions ended")]


@pytest.mark.parametrize(
    ("wanted", "led_to"),
    [
        ("/orders?show=open", "/orders?show=open"),
        ("//evil.example/", "/"),
        ("/\\evil.example/", "/"),
        ("/\t/evil.example/", "/"),
        ("https://evil.example/", "/"),
        ("//[", "/"),
        ("http://[", "/"),
        ("", "/"),
    ],
)
def test_signing_in_leads_nowhere_but_to_a_page_of_this_hub(wanted: str, led_to: str) -> None:
    assert safe_path(wanted) == led_to
