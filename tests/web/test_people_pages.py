"""Settings, people and sign-in in two steps, as pages: what is asked for, what is shown once, what stays apart."""

from __future__ import annotations

import re
import smtplib
from datetime import timedelta
from typing import Any

import pyotp
import pytest
from flask import Flask
from sqlalchemy import select, update

from hub import mail
from hub.app import create_app
from hub.jobs import Hub
from hub.mail import Handed, Handing, Letter
from hub.store import merchants, people
from hub.store import tables as t
from hub.web.security import browser_name
from tests.web.client import Browser, words
from tests.web.shop_builder import PASSWORD, Furnished, Shop, furnish, open_shop, replaced

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


def test_after_ten_minutes_delicate_pages_ask_for_the_password_again(hub: Hub, owner: Browser) -> None:
    assert owner.get("/connectors/tea").status_code == 200
    time_passes(hub, minutes=10, seconds=5)

    asked = owner.get("/connectors/tea")
    assert asked.headers["Location"] == "/confirm?next=/connectors/tea"
    form = owner.post("/settings/people/invite", {"email": "x@tea.example", "role": "owner"}, page="/settings/people")
    assert form.headers["Location"] == "/confirm?next=/settings/people"
    cookie = owner.cookie()
    wrong = owner.post("/confirm", {"password": "wrong", "next": "/connectors/tea"}, page="/confirm")
    assert wrong.status_code == 422
    right = owner.post("/confirm", {"password": PASSWORD, "next": "/connectors/tea"}, page="/confirm")

    assert right.headers["Location"] == "/connectors/tea"
    assert owner.get("/connectors/tea").status_code == 200
    assert owner.cookie() != cookie
    owner.client.set_cookie("tallyhub", cookie, domain="localhost")
    assert owner.get("/orders").headers["Location"].startswith("/sign-in")  # the old token is worth nothing
    with hub.database.read() as db:
        assert db.execute(select(t.invitation)).all() == []


def test_the_password_cannot_be_guessed_there_either(hub: Hub, owner: Browser) -> None:
    answers = [owner.post("/confirm", {"password": "wrong"}, page="/confirm").status_code for _ in range(7)]

    assert answers == [422] * 5 + [429] * 2
    assert owner.post("/confirm", {"password": PASSWORD}, page="/confirm").status_code == 429


def test_it_leads_nowhere_else(owner: Browser) -> None:
    answer = owner.post("/confirm", {"password": PASSWORD, "next": "https://evil.example/"}, page="/confirm")

    assert answer.headers["Location"] == "/"


@pytest.mark.parametrize(
    "path",
    [
        "/settings/two-factor/begin",
        "/settings/two-factor",
        "/settings/two-factor/off",
        "/settings/two-factor/codes",
        "/settings/people/two-factor",
        "/merchants",
        "/connectors/tea",
    ],
)
def test_what_is_delicate_asks_first(hub: Hub, owner: Browser, path: str) -> None:
    time_passes(hub, minutes=11)

    assert owner.post(path, page=SECURITY).headers["Location"] == f"/confirm?next={SECURITY}"


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
