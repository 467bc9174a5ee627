"""The gate: every route asks for a sign-in, a CSRF token and its own merchant; every answer carries its headers."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from sqlalchemy import select

from hub.access import GRANTS, NotPermitted, Permission, Role
from hub.app import create_app
from hub.jobs import Hub
from hub.store import tables as t
from tests.web.client import HTML, Browser, words
from tests.web.shop_builder import PASSWORD, Furnished, Shop, furnish, open_shop, replaced

OPEN_TO_ALL = {
    "entrance.setup",
    "entrance.finish_setup",
    "entrance.sign_in",
    "entrance.enter",
    "entrance.code_form",
    "entrance.enter_code",
    "entrance.invitation",
    "entrance.invitation_again",
    "entrance.accept",
    "entrance.sign_out",
}
FOR_MACHINES = {
    "health.healthz",
    "health.readyz",
    "health.security_txt",
    "webhooks.receive",
    "webhooks.receive_for_app",
    "authorize.call_back",
    "static",
}
FOR_ONESELF = {
    "entrance.accept_here",
    "orders.change_view",
    "orders.choose_columns",
    "orders.keep_view",
    "security.begin",
    "security.change_password",
    "security.confirm",
    "security.confirm_password",
    "security.end_others",
    "security.end_session",
    "security.new_codes",
    "security.security",
    "security.sign_out_everywhere",
    "security.turn_off",
    "security.turn_on",
    "settings.switch_merchant",
}
# What each route asks for, endpoint by endpoint of each blueprint; every other one shows something, or, of the lists,
# hands out what it shows.
ASKS: dict[Permission, dict[str, str]] = {
    Permission.ORDERS: {
        "handling": "act",
        "order_acts": "again note",
        "orders": "work",
        "routing": "choose route_again",
    },
    Permission.MONEY: {"order_acts": "cancel cancel_now give_back refund"},
    Permission.ISSUES: {"journal": "resolve resolve_many"},
    Permission.PACK: {
        "collecting": "email find hand_out",
        "packing": "find finish merge pack_together parcel save_box scan set_shelf split take_apart take_over undo",
        "shipments": "act act_on_many",
    },
    Permission.STOCK: {
        "connections": "adopt",
        "stock": "act_on_many adjust condition set_safety_stock",
        "stock_import": "apply choose choose_again drop hand_in undo",
        "warehouse": "arrive close count receive transfer",
    },
    Permission.CATALOG: {
        "connections": "accept_suggestions bind unbind",
        "matching": "decide undo",
        "selling": "save",
        "stock": "define_kit",
    },
    Permission.SYNC: {
        "columns": "fetch look",
        "connections": "bind_location decide pause pool_locations resume sync",
        "going_live": "preview",
        "providers": "bind match send_again take_back",
        "sync": "apply read_again replay stock_there",
        "words": "choose",
    },
    Permission.SETTINGS: {
        "handling": "save_rules",
        "home": "put_away",
        "locations": "add save",
        "routing": "change say_service",
        "settings": "save save_policy send_test",
        "shipments": "save_policy",
    },
    Permission.CONNECT: {
        "authorize": "come_back connect reconnect",
        "connections": "connect connect_form reconnect reconnect_form remove remove_form",
        "going_live": "form go_live",
        "home": "open_sandbox remove_sandbox walk_on",
    },
    Permission.PRIVACY: {"order_acts": "record", "privacy": "download hand_out index wish"},
    Permission.PEOPLE: {
        "audit": "download index",
        "people": "change index invite require_two_factor withdraw",
        "settings": "create_merchant",
    },
}
ASKED = {
    f"{room}.{name}": permission for permission, rooms in ASKS.items() for room in rooms for name in rooms[room].split()
}


def routes(app: Flask, things: Furnished | None = None) -> list[tuple[str, str, str]]:
    """(endpoint, method, path) of every route, with the ids of ``things`` in the path."""
    ids: dict[str, Any] = asdict(things) if things else {}
    ids |= {"name": "tea", "merchant_id": uuid4(), "filename": "hub.css", "effect_id": uuid4(), "size": "small"}
    adapter = app.url_map.bind("localhost")
    found = []
    for rule in app.url_map.iter_rules():
        values = {name: ids.get(name, uuid4()) for name in rule.arguments}
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            found.append((rule.endpoint, method, adapter.build(rule.endpoint, values, method=method)))
    return sorted(found)


def test_every_route_asks_for_a_sign_in_but_for_the_listed_ones(app: Flask, shop: Shop, things: Furnished) -> None:
    browser = Browser(app)
    token = browser.token()
    for endpoint, method, path in routes(app, things):
        if endpoint in OPEN_TO_ALL | FOR_MACHINES:
            continue
        answer = browser.client.open(
            path, method=method, base_url=browser.base_url, data={"csrf_token": token}, headers=HTML
        )
        assert answer.status_code == 303, f"{method} {path}: {answer.status}"
        assert answer.headers["Location"].startswith("/sign-in"), path


def test_a_program_without_a_session_is_told_so_in_json(app: Flask, shop: Shop) -> None:
    answer = app.test_client().get("/orders", base_url="http://localhost")

    assert answer.status_code == 401
    assert answer.json == {"error": "Sign in first.", "request_id": answer.headers["X-Request-Id"]}


def test_every_form_needs_its_token(app: Flask, owner: Browser, things: Furnished) -> None:
    unsafe = [
        (method, path)
        for endpoint, method, path in routes(app, things)
        if method != "GET" and endpoint not in FOR_MACHINES
    ]
    assert len(unsafe) >= 18
    for method, path in unsafe:
        for sent in ({}, {"csrf_token": "forged"}):
            answer = owner.client.open(path, method=method, base_url=owner.base_url, data=sent, headers=HTML)
            assert answer.status_code == 400, f"{method} {path}: {answer.status}"
            assert "Nothing was changed" in words(answer)


def test_no_page_changes_anything_when_it_is_only_looked_at(
    hub: Hub, app: Flask, owner: Browser, things: Furnished
) -> None:
    def everything() -> dict[str, list[Any]]:
        with hub.database.read() as db:
            return {
                table.name: sorted(map(str, db.execute(select(table))))
                for table in t.metadata.sorted_tables
                if table.name != "session"
            }

    before = everything()
    for endpoint, method, path in routes(app, things):
        if method == "GET" and endpoint not in FOR_MACHINES:
            owner.get(path)

    assert everything() == before


@pytest.mark.parametrize("form", [{"email": "ada\x00@tea.example"}, {"email": "ada@tea.example", "x\x00y": "1"}])
def test_a_form_with_what_no_database_keeps_is_refused_by_whoever_it_is_sent(
    app: Flask, shop: Shop, form: dict[str, str]
) -> None:
    answer = Browser(app).post("/sign-in", form | {"password": PASSWORD})

    assert answer.status_code == 400
    assert "This form is damaged." in words(answer)


def test_a_token_in_the_header_is_as_good_as_in_the_form(owner: Browser, shop: Shop, things: Furnished) -> None:
    token = owner.token("/settings")

    answer = owner.client.post(
        f"/connections/{things.connection_id}/pause",
        base_url=owner.base_url,
        headers=HTML | {"X-CSRFToken": token, "HX-Request": "true"},
    )

    assert answer.status_code == 200
    assert answer.headers["HX-Redirect"] == f"/connections/{things.connection_id}"


def test_over_https_a_form_of_another_site_is_refused_even_with_a_token(hub: Hub, shop: Shop) -> None:
    browser = Browser(create_app(hub), "https://localhost").sign_in("ada@tea.example")
    token = browser.token("/settings")

    def send(referer: str | None) -> int:
        headers = HTML | ({"Referer": referer} if referer else {})
        return browser.client.post(
            "/settings/sign-out-everywhere", base_url=browser.base_url, data={"csrf_token": token}, headers=headers
        ).status_code

    assert send("https://evil.example/") == 400
    assert send(None) == 400
    assert send("https://localhost/settings") == 303


# ---------------------------------------------------------------- roles and merchants


@pytest.mark.parametrize("role", list(Role))
def test_every_route_lets_in_just_the_roles_that_may(app: Flask, shop: Shop, things: Furnished, role: Role) -> None:
    shop.person("kim@tea.example", role, "Kim")
    kim = Browser(app).sign_in("kim@tea.example")
    token = kim.token("/settings")

    let_in, wrong = set(), []
    for endpoint, method, path in routes(app, things):
        if endpoint in OPEN_TO_ALL | FOR_MACHINES | FOR_ONESELF:
            continue
        passed = passes(app, kim, method, path, token)
        if passed:
            let_in.add(endpoint)
        if passed is not (ASKED.get(endpoint, Permission.LOOK) in GRANTS[role]):
            wrong.append(f"{method} {path} ({endpoint})")

    assert wrong == []
    assert ASKED.keys() & let_in == {name for name, permission in ASKED.items() if permission in GRANTS[role]}


def passes(app: Flask, browser: Browser, method: str, path: str, token: str) -> bool:
    """Whether the gate lets a request through; what is behind it is not begun."""
    cookie = {"Cookie": f"tallyhub={browser.cookie()}"}
    data = None if method == "GET" else {"csrf_token": token}
    with app.test_request_context(path, base_url=browser.base_url, method=method, data=data, headers=HTML | cookie):
        try:
            return app.preprocess_request() is None
        except NotPermitted:
            return False


def test_what_concerns_oneself_is_open_to_every_role(app: Flask, shop: Shop, things: Furnished) -> None:
    shop.person("kim@tea.example", "read_only", "Kim")
    kim = Browser(app).sign_in("kim@tea.example")
    token = kim.token("/settings")

    tried = {
        endpoint
        for endpoint, method, path in routes(app, things)
        if endpoint in FOR_ONESELF and passes(app, kim, method, path, token)
    }

    assert tried == FOR_ONESELF


def test_a_form_that_nobody_was_given_the_right_to_is_refused_to_owners_too(hub: Hub, shop: Shop) -> None:
    app = create_app(hub)
    app.add_url_rule("/forgotten", "forgotten", lambda: "done", methods=["POST"])

    answer = Browser(app).sign_in("ada@tea.example").post("/forgotten", page="/settings")

    assert answer.status_code == 403
    assert "Nobody has been given the right to do this." in words(answer)


def test_staff_are_told_whom_to_ask(staff: Browser, things: Furnished) -> None:
    answer = staff.get("/connectors/tea")

    assert answer.status_code == 403
    assert "Your role does not let you connect shops and set them live. Ask an owner" in words(answer)
    page = staff.get(f"/connections/{things.connection_id}").text
    assert "/sync" in page
    assert "/reconnect" not in page and "/remove" not in page


def test_another_merchants_things_do_not_exist(hub: Hub, app: Flask, shop: Shop) -> None:
    other = open_shop(hub, "Rival")
    theirs = furnish(other)
    owner = Browser(app).sign_in("ada@tea.example")
    token = owner.token("/settings")
    with hub.database.read() as db:
        before = {
            table.name: sorted(map(str, db.execute(select(table).where(table.c.merchant_id == other.merchant_id))))
            for table in t.metadata.sorted_tables
            if "merchant_id" in table.c
        }

    tried = 0
    found: list[str] = []
    for endpoint, method, path in routes(app, theirs):
        if endpoint in OPEN_TO_ALL | FOR_MACHINES or not any(str(each) in path for each in asdict(theirs).values()):
            continue
        answer = owner.client.open(
            path,
            method=method,
            base_url=owner.base_url,
            headers=HTML,
            data={
                "csrf_token": token,
                "on_hand": "5",
                "reason": "counted",
                "location_id": str(theirs.location_id),
                "once": str(uuid4()),
                "sku": "TEA-9",
                "which": "all",
                "decision": "done",
                "address": "https://tea.example",
                "token": "a token of mine",
            },
        )
        tried += 1
        if answer.status_code != 404:
            found.append(f"{method} {path} ({endpoint}): {answer.status}")

    assert "\n".join(found) == ""
    assert tried >= 20
    with hub.database.read() as db:
        after = {
            name: sorted(
                map(
                    str,
                    db.execute(
                        select(t.metadata.tables[name]).where(
                            t.metadata.tables[name].c.merchant_id == other.merchant_id
                        )
                    ),
                )
            )
            for name in before
        }
    assert after == before
    assert hub.doorbell.rung == []  # type: ignore[attr-defined]


def test_another_merchants_ids_inside_a_form_do_not_exist_either(
    hub: Hub, app: Flask, shop: Shop, things: Furnished
) -> None:
    theirs = furnish(open_shop(hub, "Rival"))
    owner = Browser(app).sign_in("ada@tea.example")

    counted = owner.post(
        f"/stock/{things.sku_id}/adjust",
        {"location_id": str(theirs.location_id), "once": str(uuid4()), "on_hand": "5", "reason": "x"},
        page="/settings",
    )
    placed = owner.post(
        f"/connections/{things.connection_id}/locations",
        {"external_id": "", "location_id": str(theirs.location_id)},
        page="/settings",
    )
    bound = owner.post(
        f"/connections/{things.connection_id}/listings/{theirs.listing_id}/bind", {"sku": "TEA-1"}, page="/settings"
    )
    accepted = owner.post(
        f"/connections/{things.connection_id}/suggestions",
        {"listing": str(theirs.unmatched_listing_id)},
        page="/settings",
    )

    assert (counted.status_code, placed.status_code, bound.status_code) == (400, 400, 404)
    assert accepted.status_code == 303
    with hub.database.read() as db:
        listing = t.listing.c
        assert db.execute(select(listing.sku_id).where(listing.id == theirs.unmatched_listing_id)).scalar_one() is None
        assert list(db.execute(select(t.stock_level.c.on_hand)).scalars()) == [12, 12]


def test_lists_and_filters_show_one_merchant_alone(hub: Hub, app: Flask, shop: Shop) -> None:
    rival = open_shop(hub, "Rival")
    theirs = furnish(rival)
    rival.sku("SECRET-SKU")
    rival.issue("A secret issue")
    rival.activity("A secret activity")
    owner = Browser(app).sign_in("ada@tea.example")

    for path in (
        "/",
        "/orders",
        f"/orders?connection={theirs.connection_id}",
        "/orders?q=1001",
        "/stock",
        "/stock?q=SECRET",
        "/connections",
        "/issues",
        "/issues?show=resolved",
        "/activity",
        f"/activity?connection={theirs.connection_id}",
    ):
        page = owner.get(path)
        assert page.status_code == 200
        for secret in ("SECRET-SKU", "secret", "Tea Street", "1001</a>", "Grace", str(theirs.order_id)):
            assert secret not in page.text, f"{secret} on {path}"


# ---------------------------------------------------------------- names, proxies, headers


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:8484", 200),
        ("127.0.0.1:8484", 200),
        ("[::1]:8484", 200),
        ("192.168.1.20", 200),
        ("hub.tea.example", 200),
        ("shelf.tea.example:8484", 200),
        ("evil.example", 400),
        ("hub.tea.example.evil.example", 400),
        ("hub.tea.example@evil.example", 400),
        ("evil.example:99999999", 400),
    ],
)
def test_answers_to_its_own_names_only(hub: Hub, shop: Shop, host: str, status: int) -> None:
    app = create_app(replaced(hub, public_url="https://hub.tea.example", trusted_hosts=("shelf.tea.example",)))

    answer = app.test_client().get("/sign-in", headers=HTML | {"Host": host})

    assert answer.status_code == status
    if status == 400 and "@" not in host and "9999" not in host:
        assert "TALLYHUB_TRUSTED_HOSTS" in answer.text


def test_the_doors_for_machines_answer_to_any_name(app: Flask, shop: Shop) -> None:
    for method, path in [("GET", "/healthz"), ("GET", "/readyz"), ("POST", f"/webhooks/{uuid4()}/{uuid4()}")]:
        answer = app.test_client().open(path, method=method, headers={"Host": "web.internal"})
        assert answer.status_code != 400, path


def test_forwarded_headers_count_only_from_as_many_proxies_as_were_named(hub: Hub, shop: Shop) -> None:
    claims = {
        "X-Forwarded-For": "203.0.113.9, 10.0.0.1",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "localhost",
    }
    plain = create_app(hub).test_client().get("/sign-in", base_url="http://localhost", headers=HTML | claims)
    behind = create_app(replaced(hub, proxies=1)).test_client()
    proxied = behind.get("/sign-in", base_url="http://10.0.0.1", headers=HTML | claims)

    assert "Strict-Transport-Security" not in plain.headers
    assert not plain.headers["Set-Cookie"].startswith("__Host-")
    assert "Strict-Transport-Security" in proxied.headers
    assert proxied.headers["Set-Cookie"].startswith("__Host-tallyhub=")
    spoofed = behind.get(
        "/sign-in", base_url="http://10.0.0.1", headers=HTML | claims | {"X-Forwarded-Host": "evil.example"}
    )
    assert spoofed.status_code == 400


def test_every_answer_carries_the_headers_that_keep_browsers_safe(
    app: Flask, owner: Browser, things: Furnished
) -> None:
    for path in ("/", "/nowhere", "/sign-in", "/healthz", "/static/hub.css", f"/orders/{things.order_id}"):
        headers = owner.get(path).headers
        assert headers["Content-Security-Policy"] == (
            "default-src 'self'; img-src 'self' data:; script-src 'self'; style-src 'self'; object-src 'none'; "
            "base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
        )
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "strict-origin-when-cross-origin"
        assert len(headers["X-Request-Id"]) == 16
    assert owner.get("/orders").headers["Cache-Control"] == "no-store"
    assert "max-age=31536000" in owner.get("/static/hub.css").headers["Cache-Control"]


def test_whoever_finds_a_hole_reads_whom_to_tell(hub: Hub, shop: Shop) -> None:
    answer = Browser(create_app(replaced(hub, security_contact="mailto:holes@tea.example"))).get(
        "/.well-known/security.txt"
    )

    assert answer.mimetype == "text/plain"
    contact, expires, rest = answer.text.split("\n")
    assert contact == "Contact: mailto:holes@tea.example"
    assert re.fullmatch(r"Expires: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", expires)
    assert rest == ""
    assert Browser(create_app(hub)).get("/.well-known/security.txt").status_code == 404


def test_a_door_for_machines_sets_no_cookie(app: Flask, shop: Shop) -> None:
    for path in ("/healthz", "/readyz", "/static/hub.css"):
        assert "Set-Cookie" not in Browser(app).get(path).headers
    answer = app.test_client().post(f"/webhooks/{uuid4()}/{uuid4()}", base_url="http://localhost")
    assert "Set-Cookie" not in answer.headers


def test_a_page_that_refreshes_itself_does_not_keep_its_session_alive(hub: Hub, owner: Browser) -> None:
    from datetime import timedelta

    from sqlalchemy import update

    def last_seen() -> Any:
        with hub.database.read() as db:
            return db.execute(select(t.session.c.last_seen_at)).scalar_one()

    earlier = last_seen() - timedelta(hours=1)
    with hub.database.write() as db:
        db.execute(update(t.session).values(last_seen_at=earlier))

    owner.get("/", headers={"HX-Request": "true"})
    assert last_seen() == earlier
    owner.get("/")
    assert last_seen() > earlier


def test_a_page_that_refreshes_itself_is_led_to_the_sign_in_when_its_session_ends(app: Flask, owner: Browser) -> None:
    owner.client.delete_cookie("tallyhub", domain="localhost")

    answer = owner.get("/orders", headers={"HX-Request": "true"})

    assert (answer.status_code, answer.headers["HX-Redirect"], answer.text) == (200, "/sign-in", "")


def test_a_banner_on_every_page_says_that_the_shops_are_simulated(hub: Hub, shop: Shop) -> None:
    routed = replaced(hub, routes={"https://tea.example": "http://127.0.0.1:4001"})
    browser = Browser(create_app(routed))
    before = browser.get("/sign-in")
    assert "Vendors are simulated tea.example" in words(before)
    assert 'title="https://tea.example → http://127.0.0.1:4001"' in before.text
    browser.sign_in("ada@tea.example")
    for path in ("/", "/orders", "/stock", "/settings", "/nowhere"):
        assert "Vendors are simulated" in words(browser.get(path)), path

    assert "Vendors are simulated" not in words(Browser(create_app(hub)).get("/sign-in"))
