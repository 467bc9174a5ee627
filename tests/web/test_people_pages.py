"""Settings, people and sign-in in two steps, as pages: what is asked for, what is shown once, what stays apart."""

from __future__ import annotations

import html
import re
import smtplib
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pyotp
import pytest
from flask import Flask
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from hub import mail
from hub.app import create_app
from hub.jobs import Hub
from hub.mail import Handed, Handing, Letter
from hub.store import merchants, people
from hub.store import tables as t
from hub.web import gate
from hub.web.security import browser_name
from tests.web.client import HTML, Browser, words
from tests.web.shop_builder import PASSWORD, Furnished, Shop, furnish, open_shop, replaced
from tests.web.test_gate import FOR_MACHINES, OPEN_TO_ALL, routes

SECURITY = "/settings/security"


class App:
    """An authenticator app: a code works once, so that each further one is of a step further on."""

    def __init__(self, hub: Hub, email: str, secret: str) -> None:
        self.hub, self.email, self.app = hub, email, pyotp.TOTP(secret)

    def code(self) -> str:
        with self.hub.database.write() as db:
            db.execute(update(t.user_account).where(t.user_account.c.email == self.email).values(totp_step=None))
            return self.app.at(self.hub.database.now(db))


def turn_on(hub: Hub, browser: Browser, email: str) -> tuple[App, list[str]]:
    browser.post("/settings/two-factor/begin", page=SECURITY)
    secret = re.search(r'id="secret">([A-Z2-7]{32})<', browser.get(SECURITY).text)
    assert secret
    app = App(hub, email, secret[1])
    shown = browser.post("/settings/two-factor", {"code": app.code()}, page=SECURITY)
    assert shown.status_code == 200, words(shown)
    return app, re.findall(r"<li>((?:[A-Z2-9]{4}-){3}[A-Z2-9]{4})</li>", shown.text)


def first_step(app: Flask, email: str, wanted: str = "/orders") -> Browser:
    browser = Browser(app)
    answer = browser.post("/sign-in", {"email": email, "password": PASSWORD, "next": wanted})
    assert answer.headers["Location"] == f"/sign-in/code?next={wanted}"
    return browser


def link_in(page: str) -> str:
    found = re.search(r'value="http://localhost(/invitation/[\w-]+)"', page)
    assert found, page
    return found[1]


def time_passes(hub: Hub, **span: float) -> None:
    """Let time pass since passwords were typed."""
    with hub.database.write() as db:
        for at in db.execute(select(t.session.c.confirmed_at)).scalars().all():
            db.execute(update(t.session).values(confirmed_at=at - timedelta(**span)))


# ---------------------------------------------------------------- two steps


def test_signing_in_takes_a_code_once_it_is_on(hub: Hub, app: Flask, owner: Browser) -> None:
    phone, codes = turn_on(hub, owner, "ada@tea.example")
    assert len(codes) == 10
    assert codes[0] not in owner.get(SECURITY).text
    assert "10 recovery codes are left." in words(owner.get(SECURITY))

    browser = first_step(app, "ada@tea.example")
    assert browser.get("/orders").headers["Location"].startswith("/sign-in")  # half a sign-in opens nothing
    wrong = browser.post("/sign-in/code", {"code": "000000"}, page="/sign-in/code")
    assert (wrong.status_code, "This code is not right" in words(wrong)) == (401, True)

    answer = browser.post("/sign-in/code", {"code": phone.code(), "next": "/orders"}, page="/sign-in/code")

    assert (answer.status_code, answer.headers["Location"]) == (303, "/orders")
    assert browser.get("/settings").status_code == 200
    other = first_step(app, "ada@tea.example")
    assert other.post("/sign-in/code", {"code": codes[0]}, page="/sign-in/code").status_code == 303
    third = first_step(app, "ada@tea.example")
    assert third.post("/sign-in/code", {"code": codes[0]}, page="/sign-in/code").status_code == 401


def test_codes_cannot_be_guessed_by_signing_in_again_and_again(hub: Hub, app: Flask, owner: Browser) -> None:
    turn_on(hub, owner, "ada@tea.example")

    answers = []
    for _ in range(3):
        browser = first_step(app, "ada@tea.example")
        answers += [
            browser.post("/sign-in/code", {"code": f"{number:06}"}, page="/sign-in/code").status_code
            for number in range(3)
        ]

    assert answers[:5] == [401] * 5
    assert set(answers[5:]) == {429}


def test_without_the_first_step_there_is_no_second(app: Flask, shop: Shop) -> None:
    answer = Browser(app).get("/sign-in/code")

    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in")


def test_where_it_is_required_nothing_opens_before_it_is_set_up(
    hub: Hub, app: Flask, owner: Browser, staff: Browser
) -> None:
    turn_on(hub, owner, "ada@tea.example")
    assert owner.post("/settings/people/two-factor", {"required": "yes"}, page="/settings/people").status_code == 303

    assert staff.get("/orders").headers["Location"] == f"{SECURITY}#two-factor"
    assert staff.post("/settings", {"name": "Mine"}, page=SECURITY).headers["Location"] == f"{SECURITY}#two-factor"
    assert "Set yours up below" in words(staff.get(SECURITY))
    turn_on(hub, staff, "joan@tea.example")

    assert staff.get("/orders").status_code == 200
    assert staff.post("/settings/two-factor/off", page=SECURITY).status_code == 303
    assert staff.get("/orders").status_code == 200  # it cannot be turned off again


def test_the_picture_has_no_styles(owner: Browser) -> None:
    owner.post("/settings/two-factor/begin", page=SECURITY)

    (picture,) = re.findall(r"(?s)<svg viewBox.*?</svg>", owner.get(SECURITY).text)

    assert "style" not in picture and "class" not in picture
    assert 'role="img" aria-label="QR code with the secret for your app"' in picture


# ---------------------------------------------------------------- the password again


def question(answer: TestResponse) -> dict[str, str]:
    """The fields that the question for the password carries along."""
    assert "Your password again" in words(answer)
    return {name: html.unescape(text) for name, text in re.findall(r'name="(\w+)" value="([^"]*)"', answer.text)}


def send_on(browser: Browser, answer: TestResponse, form: dict[str, str]) -> TestResponse:
    """What a browser does with an answer 307: the same form, to where it leads."""
    assert answer.status_code == 307
    return browser.client.post(answer.headers["Location"], base_url=browser.base_url, headers=HTML, data=form)


def test_after_ten_minutes_a_delicate_page_asks_for_the_password_again(hub: Hub, owner: Browser) -> None:
    assert owner.get("/connectors/tea").status_code == 200
    time_passes(hub, minutes=10, seconds=5)

    asked = owner.get("/connectors/tea")
    assert asked.headers["Location"] == "/confirm?next=/connectors/tea"
    cookie = owner.cookie()
    wrong = owner.post("/confirm", {"password": "wrong", "next": "/connectors/tea"}, page="/confirm")
    assert wrong.status_code == 422
    right = owner.post("/confirm", {"password": PASSWORD, "next": "/connectors/tea"}, page="/confirm")

    assert right.headers["Location"] == "/connectors/tea"
    assert owner.get("/connectors/tea").status_code == 200
    assert owner.cookie() != cookie
    owner.client.set_cookie("tallyhub", cookie, domain="localhost")
    assert owner.get("/orders").headers["Location"].startswith("/sign-in")  # the old token is worth nothing


INVITED = {"email": "noor@tea.example", "role": "support"}


def invited(hub: Hub) -> list[str]:
    with hub.database.read() as db:
        return list(db.execute(select(t.invitation.c.email)).scalars())


def test_a_form_is_sent_on_as_it_was_once_the_password_is_right(hub: Hub, owner: Browser) -> None:
    time_passes(hub, minutes=11)

    asked = owner.post("/settings/people/invite", INVITED, page="/settings/people")
    carried = question(asked)
    assert (asked.status_code, asked.headers["Cache-Control"], invited(hub)) == (200, "no-store", [])
    assert carried["next"] == "/settings/people" and "noor" not in asked.text  # what was typed stays sealed
    wrong = owner.post("/confirm", carried | {"password": "wrong"}, page="/settings/people")
    assert (wrong.status_code, question(wrong)["kept_form"]) == (422, carried["kept_form"])
    right = owner.post("/confirm", carried | {"password": PASSWORD}, page="/settings/people")
    assert (right.headers["Location"], invited(hub)) == ("/settings/people/invite", [])

    assert "noor@tea.example" in words(send_on(owner, right, carried | {"password": PASSWORD}))
    assert invited(hub) == ["noor@tea.example"]


def test_a_kept_form_is_good_for_whoever_sent_it_alone_and_for_nothing_else(
    hub: Hub, app: Flask, shop: Shop, owner: Browser
) -> None:
    shop.person("kim@tea.example", "owner", "Kim")
    kim = Browser(app).sign_in("kim@tea.example")
    time_passes(hub, minutes=11)
    carried = question(owner.post("/settings/people/invite", INVITED, page="/settings/people"))
    stolen, broken = {"kept_form": carried["kept_form"]}, {"kept_form": carried["kept_form"][:-8] + "AAAAAAA="}

    for browser, form in ((kim, stolen), (owner, broken), (owner, {"kept_form": "x"})):
        answer = browser.post("/confirm", form | {"password": PASSWORD}, page="/settings/people")
        assert (answer.status_code, "Nothing was done: begin again." in words(answer)) == (400, True)
    assert owner.post("/confirm", {"password": PASSWORD}, page="/settings/people").status_code == 303
    elsewhere = owner.post("/settings/people/two-factor", stolen, page="/settings/people")
    assert (elsewhere.status_code, "This form is damaged." in words(elsewhere)) == (400, True)
    assert invited(hub) == []


def test_a_question_is_answered_within_the_hour(hub: Hub, owner: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    time_passes(hub, minutes=11)
    carried = question(owner.post("/settings/people/invite", INVITED, page="/settings/people"))

    monkeypatch.setattr(gate, "_KEPT_FOR", timedelta(0))
    late = owner.post("/confirm", carried | {"password": PASSWORD}, page="/settings/people")

    assert (late.status_code, "This question is too old" in words(late)) == (400, True)


def test_a_form_in_place_is_asked_about_on_the_whole_page(hub: Hub, owner: Browser) -> None:
    time_passes(hub, minutes=11)
    form = {"address": "https://tea.example", "plan": "basic", "token": "a token of mine"}

    asked = owner.post("/connectors/tea", form, page="/settings", headers={"HX-Request": "true"})

    told = {name: asked.headers[name] for name in ("HX-Retarget", "HX-Reselect", "HX-Reswap")}
    assert told == {"HX-Retarget": "body", "HX-Reselect": "main", "HX-Reswap": "innerHTML"}
    assert "a token of mine" not in asked.text
    answered = question(asked) | {"password": PASSWORD}
    right = owner.post("/confirm", answered, page="/settings")
    assert "/tasks/" in send_on(owner, right, answered).headers["Location"]


def test_of_what_is_done_to_many_orders_only_cancelling_them_asks(hub: Hub, owner: Browser, things: Furnished) -> None:
    time_passes(hub, minutes=11)
    form = {"order": str(things.order_id), "query": "", "reason": "customer", "money": "keep", "note": "no"}
    once = {act: {"once": str(uuid4()), "act": act} for act in ("release", "cancel")}

    released = owner.post("/orders/bulk", form | once["release"], page="/orders")
    asked = owner.post("/orders/bulk", form | once["cancel"] | {"confirm": "CANCEL"}, page="/orders")
    answered = question(asked) | {"password": PASSWORD}
    right = send_on(owner, owner.post("/confirm", answered, page="/settings"), answered)

    assert released.headers["Location"] == f"/orders/bulk/{once['release']['once']}"
    assert right.headers["Location"] == f"/orders/bulk/{once['cancel']['once']}"


def test_the_password_cannot_be_guessed_there_either(hub: Hub, owner: Browser) -> None:
    answers = [owner.post("/confirm", {"password": "wrong"}, page="/confirm").status_code for _ in range(7)]

    assert answers == [422] * 5 + [429] * 2
    assert owner.post("/confirm", {"password": PASSWORD}, page="/confirm").status_code == 429


def test_it_leads_nowhere_else(owner: Browser) -> None:
    answer = owner.post("/confirm", {"password": PASSWORD, "next": "https://evil.example/"}, page="/confirm")

    assert answer.headers["Location"] == "/"


# What asks for the password; FILES lead there, as the browser stays on the page that it shows.
DELICATE = {
    "audit.download",
    "authorize.connect",
    "authorize.reconnect",
    "connections.connect",
    "connections.connect_form",
    "connections.reconnect",
    "connections.reconnect_form",
    "connections.remove",
    "going_live.go_live",
    "order_acts.cancel_now",
    "order_acts.give_back",
    "people.change",
    "people.invite",
    "people.require_two_factor",
    "people.withdraw",
    "privacy.download",
    "privacy.hand_out",
    "security.begin",
    "security.new_codes",
    "security.turn_off",
    "security.turn_on",
    "settings.create_merchant",
}
FILES = {"audit.download", "privacy.download"}


def test_what_is_delicate_asks_first_and_nothing_else_does(
    hub: Hub, app: Flask, owner: Browser, things: Furnished
) -> None:
    time_passes(hub, minutes=11)
    token, page = owner.token("/settings"), "/settings/security"

    asking, leading = set(), set()
    for endpoint, method, path in routes(app, things):
        if endpoint in OPEN_TO_ALL | FOR_MACHINES:
            continue
        headers = HTML | {"Cookie": f"tallyhub={owner.cookie()}", "Referer": f"{owner.base_url}{page}"}
        data = None if method == "GET" else {"csrf_token": token}
        with app.test_request_context(path, base_url=owner.base_url, method=method, data=data, headers=headers):
            answer: Any = app.preprocess_request()
        if answer is not None:
            asking.add(endpoint)
        if answer is not None and answer.status_code == 303 and method == "POST":
            leading.add((endpoint, answer.headers["Location"]))

    assert asking == DELICATE
    assert leading == {(endpoint, f"/confirm?next={page}&again=yes") for endpoint in FILES}


def test_no_form_with_a_file_of_somebodys_asks_for_the_password(app: Flask) -> None:
    # What was uploaded could not be kept over the question.
    views = app.view_functions.items()

    assert [name for name, view in views if hasattr(view, "largest_file") and hasattr(view, "needs_password")] == []


def test_whoever_wants_a_file_comes_back_to_the_button(hub: Hub, owner: Browser) -> None:
    time_passes(hub, minutes=11)
    page = "/settings/audit?area=people"

    asked = owner.post("/settings/audit.csv", {"area": "people"}, page=page)
    assert asked.headers["Location"] == "/confirm?next=/settings/audit?area%3Dpeople&again=yes"
    carried = question(owner.get(asked.headers["Location"]))
    right = owner.post("/confirm", carried | {"password": PASSWORD}, page="/settings")

    assert right.headers["Location"] == page
    assert "Press the button again: nothing more is asked." in words(owner.get(page))
    assert owner.post("/settings/audit.csv", {"area": "people"}, page=page).mimetype == "text/csv"


# ---------------------------------------------------------------- sessions


def test_one_browser_is_signed_out_from_another(app: Flask, owner: Browser) -> None:
    phone, joan = Browser(app).sign_in("ada@tea.example"), Browser(app).sign_in("joan@tea.example")
    (key,) = re.findall(r"/settings/sessions/([0-9a-f]{64})/end", owner.get(SECURITY).text)

    joan.post(f"/settings/sessions/{key}/end", page=SECURITY)  # somebody else's
    assert phone.get("/orders").status_code == 200
    owner.post(f"/settings/sessions/{key}/end", page=SECURITY)

    assert phone.get("/orders").headers["Location"].startswith("/sign-in")
    assert owner.get("/orders").status_code == joan.get("/orders").status_code == 200


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0", "Firefox, Windows"),
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/142.0 Safari/537.36 Edg/142.0", "Edge, Linux"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 26_0 like Mac OS X) AppleWebKit/605.1 Safari/604.1", "Safari, iPhone"),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15) AppleWebKit/537.36 Chrome/142.0 Safari/537.36",
            "Chrome, macOS",
        ),
        ("curl/8.5.0", "curl/8.5.0"),
        ("", "Unknown browser"),
    ],
)
def test_browsers_are_told_as_people_call_them(app: Flask, agent: str, name: str) -> None:
    with app.test_request_context():
        assert browser_name(agent) == name


def test_all_other_browsers_are_signed_out(app: Flask, owner: Browser) -> None:
    others = [Browser(app).sign_in("ada@tea.example") for _ in range(2)]

    owner.post("/settings/sessions/end-others", page=SECURITY)

    assert [each.get("/orders").status_code for each in others] == [303, 303]
    assert "2 other browsers are signed out." in words(owner.get(SECURITY))


# ---------------------------------------------------------------- people


def test_somebody_is_invited_by_a_link_to_copy_and_comes_in(hub: Hub, app: Flask, owner: Browser) -> None:
    answer = owner.post(
        "/settings/people/invite", {"email": "Noor@tea.example", "role": "warehouse"}, page="/settings/people"
    )
    link = link_in(answer.text)
    assert link not in owner.get("/settings/people").text  # shown once
    noor = Browser(app)
    assert "ada@tea.example invites noor@tea.example as: Warehouse." in words(noor.get(link))
    form = {"name": "Noor", "password": "seven loud blue kettles", "again": "seven loud blue kettles"}

    differing = noor.post(link, form | {"again": "another"}, page=link)
    assert (differing.status_code, "kettles" in differing.text) == (422, False)
    assert noor.post(link, form, page=link).headers["Location"] == "/"

    assert noor.get("/stock").status_code == 200
    assert noor.get("/settings/people").status_code == 403
    assert Browser(app).get(link).status_code == 404


def test_an_invitation_goes_out_by_e_mail_where_there_is_a_mail_server(
    hub: Hub, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[str, Letter]] = []

    def hand_over(url: str, sender: str, recipient: str, letter: Letter, message_id: str) -> Handing:
        sent.append((recipient, letter))
        return Handing(Handed.SENT if len(sent) == 1 else Handed.LATER, "The mail server cannot be used now.")

    monkeypatch.setattr(mail, "hand_over", hand_over)
    posting = replaced(
        hub, smtp_url="smtp://mail.example", mail_from="hub@tea.example", public_url="https://hub.tea.example"
    )
    owner = Browser(create_app(posting)).sign_in("ada@tea.example")
    form = {"email": "noor@tea.example", "role": "support"}

    answer = owner.post("/settings/people/invite", form, page="/settings/people")

    assert answer.status_code == 303
    recipient, letter = sent[0]
    link = re.search(r"https://hub\.tea\.example/invitation/[\w-]{43}", letter.text)
    assert recipient == "noor@tea.example" and link and link[0] in letter.html
    assert "Ada invites you to work for Corner Shop" in letter.text
    again = owner.post("/settings/people/invite", form, page="/settings/people")
    assert "It could not be sent by e-mail: The mail server cannot be used now." in words(again)
    assert "https://hub.tea.example/invitation/" in again.text


def test_who_has_an_account_accepts_with_its_password(hub: Hub, app: Flask, owner: Browser) -> None:
    rival = open_shop(hub, "Rival")
    rival.person("max@rival.example", "owner", "Max")
    answer = owner.post(
        "/settings/people/invite", {"email": "max@rival.example", "role": "support"}, page="/settings/people"
    )
    link = link_in(answer.text)
    max_ = Browser(app)

    assert max_.post(link, {"password": "wrong"}, page=link).status_code == 422
    assert max_.post(link, {"password": PASSWORD}, page=link).headers["Location"] == "/"

    page = max_.get("/settings").text
    assert "Corner Shop" in page and "Rival" in page
    assert max_.get("/settings/people").status_code == 403  # support here, whatever he is elsewhere


def test_who_is_signed_in_accepts_with_one_press(hub: Hub, app: Flask, owner: Browser) -> None:
    rival = open_shop(hub, "Rival")
    rival.person("max@rival.example", "owner", "Max")
    link = link_in(
        owner.post(
            "/settings/people/invite", {"email": "max@rival.example", "role": "manager"}, page="/settings/people"
        ).text
    )
    assert owner.post(f"{link}/mine", page="/settings").status_code == 403  # it is not Ada's
    max_ = Browser(app).sign_in("max@rival.example")

    assert max_.post(f"{link}/mine", page=link).headers["Location"] == "/"
    assert "Corner Shop" in words(max_.get("/settings/security"))


def test_an_invitation_opened_again_says_what_happened_and_where_to_sign_in(
    hub: Hub, app: Flask, shop: Shop, owner: Browser
) -> None:
    rival = open_shop(hub, "Rival")
    rival.person("max@rival.example", "owner", "Max")
    form = {"email": "max@rival.example", "role": "manager"}
    link = link_in(owner.post("/settings/people/invite", form, page="/settings/people").text)
    max_ = Browser(app).sign_in("max@rival.example")
    token = max_.token(link)
    max_.post(f"{link}/mine", page=link)

    reloaded = max_.get(f"{link}/mine")
    assert (reloaded.status_code, reloaded.headers["Location"]) == (303, link)
    again = max_.get(link)
    assert again.status_code == 404
    assert "This invitation is not good any more" in words(again)
    assert "You are signed in as max@rival.example. Go on to Corner Shop" in words(again)
    twice = max_.client.post(f"{link}/mine", base_url=max_.base_url, data={"csrf_token": token}, headers=HTML)
    assert (twice.status_code, words(twice)) == (404, words(again))
    stranger = Browser(app).get(link)
    assert 'href="/sign-in"' in stranger.text and "Did you come in by it already?" in words(stranger)


def test_roles_are_changed_on_the_page_and_the_last_owner_stays(hub: Hub, shop: Shop, owner: Browser) -> None:
    joan, ada = shop.people["joan@tea.example"], shop.people["ada@tea.example"]

    owner.post(f"/settings/people/{joan}", {"act": "role", "role": "warehouse"}, page="/settings/people")
    assert "joan@tea.example has another role" in words(owner.get("/settings/people"))
    owner.post(f"/settings/people/{ada}", {"act": "remove"}, page="/settings/people")

    assert "Make somebody else an owner first." in words(owner.get("/settings/people"))
    assert owner.post(f"/settings/people/{joan}", {"act": "sack"}, page="/settings/people").status_code == 400
    with hub.database.read() as db:
        assert {each.email: each.role for each in people.people(db, shop.merchant_id)} == {
            "ada@tea.example": "owner",
            "joan@tea.example": "warehouse",
        }


def test_the_table_of_roles_is_what_is_asked(owner: Browser) -> None:
    page = owner.get("/settings/people").text
    table = page[page.index('id="roles"') :]

    rows = [re.findall(r"<td>.*?(yes|no)</span></td>", row) for row in re.findall(r"(?s)<tr>.*?</tr>", table)][1:]

    assert len(rows) == 12
    assert ["".join(each[0] for each in row) for row in rows] == [
        "yyyyy",
        "yynyn",
        "yyyyn",
        "yynyn",
        "yyynn",
        "yyynn",
        "yynnn",
        "yynnn",
        "yynnn",
        "ynnnn",
        "ynnnn",
        "ynnnn",
    ]


def test_an_owner_lets_somebody_in_who_lost_the_telephone(hub: Hub, app: Flask, shop: Shop, owner: Browser) -> None:
    joan = Browser(app).sign_in("joan@tea.example")
    turn_on(hub, joan, "joan@tea.example")

    owner.post(f"/settings/people/{shop.people['joan@tea.example']}", {"act": "reset"}, page="/settings/people")

    assert joan.get("/orders").headers["Location"].startswith("/sign-in")
    Browser(app).sign_in("joan@tea.example")


# ---------------------------------------------------------------- several businesses


def test_switching_never_mixes_two_businesses(hub: Hub, app: Flask, shop: Shop, things: Furnished) -> None:
    coffee = open_shop(hub, "Coffee House")
    theirs = furnish(coffee)
    coffee.sku("BEAN-1")
    with hub.database.write() as db:
        db.execute(
            t.membership.insert().values(
                merchant_id=coffee.merchant_id, user_id=shop.people["ada@tea.example"], role="read_only"
            )
        )
    ada = Browser(app).sign_in("ada@tea.example")
    cookie = ada.cookie()
    assert ada.get(f"/orders/{things.order_id}").status_code == 200
    assert ada.get(f"/orders/{theirs.order_id}").status_code == 404

    answer = ada.post("/merchants/switch", {"merchant_id": str(coffee.merchant_id)}, page="/settings")

    assert answer.headers["Location"] == "/"
    assert ada.cookie() != cookie
    assert ada.get(f"/orders/{things.order_id}").status_code == 404
    assert ada.get(f"/orders/{theirs.order_id}").status_code == 200
    assert "BEAN-1" in ada.get("/stock").text
    assert ada.get("/settings/people").status_code == 403  # read only there
    refused = ada.post(f"/stock/{theirs.sku_id}/adjust", {"on_hand": "5"}, page="/settings")
    assert refused.status_code == 403
    again = Browser(app)
    again.client.set_cookie("tallyhub", cookie, domain="localhost")
    assert again.get("/orders").headers["Location"].startswith("/sign-in")
    assert ada.post("/merchants/switch", {"merchant_id": str(shop.merchant_id)}, page="/settings").status_code == 303
    assert "BEAN-1" not in ada.get("/stock").text


def test_nobody_switches_to_a_business_they_do_not_work_for(hub: Hub, owner: Browser) -> None:
    rival = open_shop(hub, "Rival")

    answer = owner.post("/merchants/switch", {"merchant_id": str(rival.merchant_id)}, page="/settings")

    assert answer.status_code == 400
    assert "Corner Shop" in words(owner.get("/settings"))


def test_an_owner_creates_another_business_and_is_in_it(
    hub: Hub, shop: Shop, things: Furnished, owner: Browser
) -> None:
    assert owner.post("/merchants", {"new_name": "  "}, page="/settings").status_code == 422

    assert owner.post("/merchants", {"new_name": "Coffee House"}, page="/settings").headers["Location"] == "/"

    assert owner.get(f"/orders/{things.order_id}").status_code == 404
    with hub.database.read() as db:
        mine = merchants.of_person(db, shop.people["ada@tea.example"])
    assert [(each.name, each.role) for each in mine] == [("Coffee House", "owner"), ("Corner Shop", "owner")]
    switcher = owner.get("/settings").text
    assert f'name="merchant_id" value="{shop.merchant_id}"' in switcher


def test_the_operator_says_how_many_businesses_somebody_may_own(hub: Hub, shop: Shop) -> None:
    owner = Browser(create_app(replaced(hub, businesses_per_owner=1))).sign_in("ada@tea.example")

    answer = owner.post("/merchants", {"new_name": "Coffee House"}, page="/settings")

    assert answer.status_code == 409
    assert "This hub allows 1 businesses to each owner, and you have as many." in words(answer)
    assert 'value="Coffee House"' in answer.text
    with hub.database.read() as db:
        assert len(merchants.of_person(db, shop.people["ada@tea.example"])) == 1


# ---------------------------------------------------------------- the business, e-mail


def test_the_business_page_changes_how_times_and_amounts_are_read(owner: Browser, things: Furnished) -> None:
    form = {"name": "Leaf", "time_zone": "Europe/Berlin", "locale": "de_DE"}

    assert owner.post("/settings", form, page="/settings").status_code == 303

    page = owner.get(f"/orders/{things.order_id}").text
    assert "28,90" in page
    assert "Europe/Berlin" in page
    for wrong in ({"time_zone": "Moon/Base"}, {"locale": "xx_YY"}, {"name": " "}):
        assert owner.post("/settings", form | wrong, page="/settings").status_code == 422


def test_a_test_message_tells_what_the_mail_server_said(
    hub: Hub, shop: Shop, monkeypatch: pytest.MonkeyPatch, owner: Browser
) -> None:
    assert "No mail server is set up" in words(owner.get("/settings/email"))
    owner.post("/settings/email/test", page="/settings/email")
    assert "This hub sends no e-mail." in words(owner.get("/settings/email"))

    def refuse(*_: Any, **__: Any) -> Any:
        raise smtplib.SMTPConnectError(421, "not now")

    monkeypatch.setattr(smtplib, "SMTP", refuse)
    posting = replaced(hub, smtp_url="smtp://me:secret@mail.example", mail_from="hub@tea.example")
    browser = Browser(create_app(posting)).sign_in("ada@tea.example")
    browser.post("/settings/email/test", page="/settings/email")

    page = browser.get("/settings/email")
    assert "It was not taken: The mail server cannot be used now (SMTPConnectError)." in words(page)
    assert "mail.example" in page.text and "secret" not in page.text


# ---------------------------------------------------------------- the audit log


def test_the_audit_log_tells_who_came_in_and_who_tried(app: Flask, shop: Shop) -> None:
    Browser(app, REMOTE_ADDR="203.0.113.77").post("/sign-in", {"email": "joan@tea.example", "password": "wrong"})
    Browser(app).post("/sign-in", {"email": "nobody@tea.example", "password": "wrong"})
    owner = Browser(app, REMOTE_ADDR="2001:db8:1:2::3").sign_in("ada@tea.example")

    said = words(owner.get("/settings/audit?area=sign_ins"))

    assert "Sign-in failed, wrong password, from 203.0.113.0/24" in said
    assert "Signed in from 2001:db8:1::/48" in said
    assert "nobody@tea.example" not in said
    assert "203.0.113.77" not in said
    assert "Sign-in failed" not in words(owner.get("/activity"))  # that is for everybody


def test_the_audit_log_is_filtered_and_paged(shop: Shop, owner: Browser) -> None:
    for number in range(60):
        shop.activity(f"Joan did {number:02}", kind="order_held", actor="joan@tea.example", at=shop.ago(minutes=number))
    shop.activity("The hub did", kind="order_imported", at=shop.now)

    first = owner.get("/settings/audit?actor=joan@tea.example&area=orders")
    assert first.text.count("Joan did") == 50
    assert "The hub did" not in first.text
    more = re.search(r'href="([^"]+)" rel="next"', first.text)
    assert more
    rest = owner.get(more[1].replace("&amp;", "&"))
    assert rest.text.count("Joan did") == 10 and "Joan did 59" in rest.text
    assert "Joan did" not in owner.get("/settings/audit?actor=ada@tea.example").text
    assert "Joan did" not in owner.get("/settings/audit?until=2001-01-01").text
    assert owner.get("/settings/audit?since=yesterday").status_code == 400


def test_the_audit_log_says_what_was_changed_and_leaves_as_a_file(owner: Browser) -> None:
    owner.post("/settings", {"name": "=Leaf", "time_zone": "", "locale": ""}, page="/settings")

    page = owner.get("/settings/audit?area=people").text
    assert "<del>Corner Shop</del> → <ins>=Leaf</ins>" in page
    file = owner.post("/settings/audit.csv", {"area": "people"}, page="/settings/audit")

    lines = file.text.splitlines()
    assert lines[0] == "Time,Person,Kind,What happened,Details"
    assert ",ada@tea.example,merchant_changed,Business changed," in lines[1]
    assert len(lines) == 2


def test_what_a_person_may_not_see_is_refused_by_name(hub: Hub, app: Flask, staff: Browser) -> None:
    for path in ("/settings/people", "/settings/audit"):
        answer = staff.get(path)
        assert answer.status_code == 403
        assert "see and change who works here" in words(answer)
    assert "/settings/people" not in staff.get("/settings").text
