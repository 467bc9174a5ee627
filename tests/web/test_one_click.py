"""Connecting with one click: who is sent out comes back once, and nobody comes back in their place."""

from __future__ import annotations

import hashlib
import hmac
import html
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import UUID, uuid4

import marshmallow
import pytest
from flask import Flask
from marshmallow import fields
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from hub.app import create_app
from hub.connector import AuthorizationAnswer, AuthorizationRequest
from hub.errors import Rejected, Unverified
from hub.jobs import Hub
from hub.store import authorizations, connections
from hub.store import tables as t
from hub.store.accounts import Visitor
from hub.store.database import Database
from tests.web.client import Browser, words
from tests.web.shop_builder import Shop, TeaSettings, TeaShop, hub_on, open_shop, registry

PUBLIC = "https://hub.tea.example"
ADDRESS = {"address": "https://tea.example"}


class Asked(marshmallow.Schema):
    address = fields.Url(required=True, schemes=("https",), metadata={"label": "Shop address", "hint": "With https."})


class Granted(TeaSettings):
    grant = fields.String(load_default="", metadata={"label": "Grant", "hint": "", "hidden": True})


class OneClickTea(TeaShop):
    """Asks in the browser, and signs its answer; or sends its keys from server to server."""

    name = "one-click"
    settings_schema = Granted
    authorization_schema = Asked

    @classmethod
    def authorization_url(cls, settings: Mapping[str, Any], request: AuthorizationRequest) -> str:
        asked = {"state": request.state, "back": request.return_url, "keys_to": request.callback_url}
        return f"{settings['address']}/authorize?{urlencode(asked)}"

    @classmethod
    def read_authorization(cls, settings: Mapping[str, Any], answer: AuthorizationAnswer) -> Mapping[str, Any] | None:
        if answer.by_browser and "code" not in answer.parameters:
            if answer.parameters.get("denied"):
                raise Rejected("You did not give your permission. The shop is not connected.")
            return None
        said = answer.parameters if answer.by_browser else json.loads(answer.body)
        if not hmac.compare_digest(said["signature"], signed(said["code"], answer.state)):
            raise Unverified("This is not the tea shop's signature.")
        return {"address": settings["address"], "token": said["code"], "grant": "by one click"}


def signed(code: str, state: str) -> str:
    return hmac.new(b"tea", f"{code}/{state}".encode(), hashlib.sha256).hexdigest()


class Explosive(OneClickTea):
    name = "explosive"

    @classmethod
    def authorization_url(cls, settings: Mapping[str, Any], request: AuthorizationRequest) -> str:
        raise SystemExit(3)


class Elsewhere(OneClickTea):
    name = "elsewhere"

    @classmethod
    def authorization_url(cls, settings: Mapping[str, Any], request: AuthorizationRequest) -> str:
        return "javascript:alert(1)"


@pytest.fixture
def hub(_sqlite_database: Database, tmp_path: Path) -> Hub:
    made = hub_on(_sqlite_database, tmp_path, public_url=PUBLIC)
    return replace(made, registry=registry(OneClickTea, Explosive, Elsewhere))


class Trip:
    """A merchant on the way to the tea shop: where they were led, and what they come back with."""

    def __init__(self, browser: Browser, page: TestResponse) -> None:
        assert page.status_code == 200, page.text
        found = re.search(r'id="go-on" href="([^"]+)"', page.text)
        assert found
        self.browser = browser
        self.address = html.unescape(found[1])
        asked = {name: each for name, (each,) in parse_qs(urlsplit(self.address).query).items()}
        self.state, self.back, self.keys_to = asked["state"], asked["back"], asked["keys_to"]

    def answer(self, code: str = "code-of-tea", **changed: str) -> dict[str, str]:
        return {"state": self.state, "code": code, "signature": signed(code, self.state)} | changed

    def come_back(self, browser: Browser | None = None, **answer: str) -> TestResponse:
        return (browser or self.browser).get(f"{urlsplit(self.back).path}?{urlencode(answer)}")

    def send_keys(self, **answer: str) -> TestResponse:
        return self.browser.client.post(urlsplit(self.keys_to).path, json=answer, base_url="http://another.name")


def set_out(browser: Browser, name: str = "one-click", **more: str) -> Trip:
    path = f"/connectors/{name}"
    return Trip(browser, browser.post(f"{path}/authorize", ADDRESS | more, page=path))


def rows(hub: Hub, table: Any) -> list[Any]:
    with hub.database.read() as db:
        return list(db.execute(select(table)).all())


# ---------------------------------------------------------------- there and back


def test_a_merchant_goes_to_the_vendor_by_a_link_and_comes_back_to_the_check(
    hub: Hub, shop: Shop, owner: Browser
) -> None:
    trip = set_out(owner, label="Tea Street")
    assert trip.address.startswith("https://tea.example/authorize?")
    assert trip.back == f"{PUBLIC}/connect/return/one-click", "to the letter what a vendor was told beforehand"
    assert len(trip.state) == 43, "256 bits"

    answer = trip.come_back(**trip.answer())

    (kept,), (task,) = rows(hub, t.connection), rows(hub, t.task)
    assert answer.status_code == 303
    assert answer.headers["Location"] == f"/connections/{kept.id}/tasks/{task.id}"
    assert (kept.label, kept.state, task.actor) == ("Tea Street", "new", "ada@tea.example")
    credentials = connections.unseal(hub.keyring, shop.merchant_id, kept.id, OneClickTea, task.request)
    assert credentials.settings == {
        "address": "https://tea.example",
        "plan": "basic",
        "everything": False,
        "token": "code-of-tea",
        "grant": "by one click",
    }
    assert hub.doorbell.rung == [(shop.merchant_id, kept.id, "fetch")]  # type: ignore[attr-defined]


def test_nothing_of_what_goes_along_is_kept_in_clear(hub: Hub, owner: Browser) -> None:
    trip = set_out(owner)

    (row,) = rows(hub, t.authorization)
    assert row.state_sha256 == hashlib.sha256(trip.state.encode()).hexdigest()
    assert b"tea.example" not in row.settings
    assert trip.state not in repr(row)
    assert row.expires_at - row.created_at == timedelta(minutes=30)


def test_the_same_answer_again_leads_to_the_same_check(hub: Hub, owner: Browser) -> None:
    trip = set_out(owner)

    first, again = trip.come_back(**trip.answer()), trip.come_back(**trip.answer("another-code"))

    assert first.headers["Location"] == again.headers["Location"]
    assert (len(rows(hub, t.connection)), len(rows(hub, t.task))) == (1, 1)


def test_a_vendor_sends_its_keys_from_server_to_server_while_the_merchant_waits(
    hub: Hub, shop: Shop, owner: Browser
) -> None:
    trip = set_out(owner)
    waiting = trip.come_back(state=trip.state)
    assert waiting.status_code == 200 and "is sending the keys now" in words(waiting)

    assert trip.send_keys(**trip.answer()).status_code == 200

    (kept,), (task,) = rows(hub, t.connection), rows(hub, t.task)
    assert trip.come_back(state=trip.state).headers["Location"] == f"/connections/{kept.id}/tasks/{task.id}"
    assert hub.doorbell.rung == [(shop.merchant_id, kept.id, "fetch")]  # type: ignore[attr-defined]
    assert trip.send_keys(**trip.answer()).status_code == 410
    assert len(rows(hub, t.connection)) == 1


def test_a_connection_is_reconnected_and_keeps_its_id(hub: Hub, shop: Shop, owner: Browser) -> None:
    here = shop.connection(connector="one-click")
    page = owner.get(f"/connections/{here}/reconnect")
    assert 'id="one-click-address"' in page.text and page.text.count('value="https://tea.example"') == 2
    trip = Trip(owner, owner.post(f"/connections/{here}/authorize", ADDRESS, page=f"/connections/{here}/reconnect"))

    answer = trip.come_back(**trip.answer("a-new-token"))

    (task,) = rows(hub, t.task)
    assert answer.headers["Location"] == f"/connections/{here}/tasks/{task.id}"
    assert len(rows(hub, t.connection)) == 1


def test_whoever_says_no_is_told_so_and_may_try_again(hub: Hub, owner: Browser) -> None:
    trip = set_out(owner)

    answer = trip.come_back(state=trip.state, denied="yes")

    assert answer.headers["Location"] == "/connectors/one-click"
    assert "You did not give your permission." in words(owner.get("/connectors/one-click"))
    assert trip.come_back(**trip.answer()).status_code == 410, "that no stands"
    assert rows(hub, t.connection) == []
    assert set_out(owner).come_back(state="x").status_code == 404


# ---------------------------------------------------------------- who may not


@pytest.mark.parametrize(
    "wrong",
    [{"state": ""}, {"state": "x" * 43}, {"state": "é" * 43}, {"state": "x" * 5000}, {}],
    ids=["empty", "another", "foreign letters", "long", "none"],
)
def test_an_answer_to_a_question_that_was_not_asked_is_not_read(
    hub: Hub, owner: Browser, wrong: dict[str, str]
) -> None:
    trip = set_out(owner)

    assert trip.come_back(**({"code": "c", "signature": "s"} | wrong)).status_code == 404
    assert trip.send_keys(**({"code": "c", "signature": "s"} | wrong)).status_code == 404
    assert rows(hub, t.connection) == []


def test_a_forged_answer_connects_nothing_and_the_true_one_still_does(hub: Hub, owner: Browser) -> None:
    trip = set_out(owner)

    forged = trip.come_back(**trip.answer(signature="0" * 64))
    assert forged.status_code == 409 and "not the tea shop's signature" in words(forged)
    assert trip.send_keys(**trip.answer(signature="0" * 64)).status_code == 401
    assert rows(hub, t.connection) == []

    assert trip.come_back(**trip.answer()).status_code == 303


def test_an_answer_belongs_to_who_asked(hub: Hub, app: Flask, shop: Shop, owner: Browser) -> None:
    trip = set_out(owner)
    shop.person("grace@tea.example")
    rival = open_shop(hub, "Rival")
    rival.person("eve@rival.example")

    for somebody in ("grace@tea.example", "eve@rival.example"):
        assert trip.come_back(Browser(app).sign_in(somebody), **trip.answer()).status_code == 404
    nobody = trip.come_back(Browser(app), **trip.answer())
    assert (nobody.status_code, nobody.headers["Location"][:8]) == (303, "/sign-in")
    theirs = urlsplit(trip.keys_to).path.replace(str(shop.merchant_id), str(rival.merchant_id))
    assert owner.client.post(theirs, json=trip.answer()).status_code == 404
    assert rows(hub, t.connection) == []


def test_an_answer_belongs_to_its_connector_and_its_own_question(hub: Hub, app: Flask, owner: Browser) -> None:
    first, second = set_out(owner), set_out(owner)

    assert owner.get(f"/connect/return/explosive?{urlencode(first.answer())}").status_code == 404
    crossed = owner.client.post(urlsplit(first.keys_to).path, json=second.answer())
    assert crossed.status_code == 404
    assert rows(hub, t.connection) == []


def test_staff_connects_nothing(app: Flask, shop: Shop, staff: Browser) -> None:
    assert staff.post("/connectors/one-click/authorize", ADDRESS, page="/settings").status_code == 403
    assert staff.get("/connect/return/one-click").status_code == 403


def test_half_an_hour_later_it_is_over(hub: Hub, owner: Browser) -> None:
    trip = set_out(owner)
    with hub.database.write() as db:
        db.execute(update(t.authorization).values(expires_at=hub.database.now(db)))

    over = trip.come_back(**trip.answer())

    assert over.status_code == 410 and "Connect the shop once more." in words(over)
    keys = trip.send_keys(**trip.answer())
    assert (keys.status_code, keys.json and keys.json["error"]) == (410, "This is over.")
    assert rows(hub, t.connection) == []
    assert set_out(owner).come_back().status_code == 404


def test_of_two_answers_at_once_one_connects(hub: Hub, shop: Shop, owner: Browser) -> None:
    trip = set_out(owner)
    ada = Visitor(shop.people["ada@tea.example"], "", "", "owner", shop.merchant_id, "", shop.now, shop.now)
    asked = authorizations.come_back(hub.database, hub.keyring, ada.merchant_id, [trip.state])
    assert asked is not None
    settings = OneClickTea.settings_schema().load(ADDRESS | {"token": "code-of-tea"})

    authorizations.complete(hub.database, hub.keyring, asked, OneClickTea, settings)

    with pytest.raises(authorizations.Spent):
        authorizations.complete(hub.database, hub.keyring, asked, OneClickTea, settings)
    assert len(rows(hub, t.connection)) == 1


def test_the_door_for_keys_takes_no_more_than_it_needs(owner: Browser) -> None:
    trip = set_out(owner)
    path = urlsplit(trip.keys_to).path

    assert owner.client.post(path, data=b"x" * (64 * 1024 + 1)).status_code == 413
    assert owner.client.post(path, data=b"[" * 60_000).status_code == 404
    assert owner.client.post(path, data=b"\xff\xfe{").status_code == 404


def test_who_tries_states_at_the_door_has_to_wait(shop: Shop, owner: Browser) -> None:
    path = f"/connect/callback/{shop.merchant_id}/{uuid4()}"

    answers = [owner.client.post(path, json={"state": f"guess {number}"}).status_code for number in range(22)]

    assert answers == [404] * 20 + [429] * 2


def test_a_connection_removed_meanwhile_is_not_brought_back(hub: Hub, shop: Shop, owner: Browser) -> None:
    here = shop.connection(connector="one-click")
    trip = Trip(owner, owner.post(f"/connections/{here}/authorize", ADDRESS, page="/settings"))
    with hub.database.write() as db:
        db.execute(update(t.connection).values(state="removed"))

    assert trip.come_back(**trip.answer()).status_code == 409
    assert rows(hub, t.task) == []
    assert owner.post(f"/connections/{here}/authorize", ADDRESS, page="/settings").status_code == 409


# ---------------------------------------------------------------- the form, and odd connectors


def test_without_a_public_address_the_form_says_why_it_cannot_be_used(hub: Hub, shop: Shop) -> None:
    alone = create_app(replace(hub, settings=replace(hub.settings, public_url=None)))
    ada = Browser(alone).sign_in("ada@tea.example")

    page = ada.get("/connectors/one-click")

    assert "<fieldset disabled>" in page.text
    assert "The operator sets TALLYHUB_PUBLIC_URL" in words(page)
    answer = ada.post("/connectors/one-click/authorize", ADDRESS, page="/settings")
    assert answer.status_code == 409 and "TALLYHUB_PUBLIC_URL" in words(answer)
    assert "with one click" not in words(ada.get("/connectors/tea")), "only where the vendor has such a way"
    assert ada.post("/connectors/tea/authorize", ADDRESS, page="/settings").status_code == 404


def test_mistakes_come_back_beside_the_fields_of_the_form_they_were_typed_into(hub: Hub, owner: Browser) -> None:
    answer = owner.post("/connectors/one-click/authorize", {"address": "ftp://x"}, page="/connectors/one-click")

    assert answer.status_code == 422
    assert answer.text.count("Not a valid URL.") == 1 and 'id="one-click-address-wrong"' in answer.text
    ids = re.findall(r' id="([^"]+)"', answer.text)
    assert sorted(ids) == sorted(set(ids))
    assert rows(hub, t.authorization) == []


def test_a_hidden_setting_is_not_drawn_and_begins_anew_when_the_rest_is_typed(
    hub: Hub, shop: Shop, owner: Browser
) -> None:
    here = shop.connection(connector="one-click")
    sealed = connections.seal(
        hub.keyring, shop.merchant_id, here, ADDRESS | {"token": "code-of-tea", "grant": "by one click"}, "secret"
    )
    with hub.database.write() as db:
        db.execute(update(t.connection).values(secrets=sealed))
    assert 'name="grant"' not in owner.get(f"/connections/{here}/reconnect").text

    typed = ADDRESS | {"plan": "plus", "token": "another-token", "grant": "forged"}
    owner.post(f"/connections/{here}/reconnect", typed, page="/settings")

    (task,) = rows(hub, t.task)
    settings = connections.unseal(hub.keyring, shop.merchant_id, here, OneClickTea, task.request).settings
    assert (settings["token"], settings["plan"], settings["grant"]) == ("another-token", "plus", "")


def test_a_connector_that_breaks_on_the_way_ends_this_page_alone(hub: Hub, owner: Browser) -> None:
    broken = owner.post("/connectors/explosive/authorize", ADDRESS, page="/connectors/explosive")
    assert broken.status_code == 409 and "failed at its own form (SystemExit: 3)" in words(broken)

    odd = owner.post("/connectors/elsewhere/authorize", ADDRESS, page="/connectors/elsewhere")
    assert odd.status_code == 409 and "leads to no web site" in words(odd)
    assert "javascript:" not in odd.text


def test_a_connector_that_breaks_over_an_answer_leaves_the_question_open(
    hub: Hub, owner: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    trip = set_out(owner)
    with monkeypatch.context() as patched:
        patched.setattr(OneClickTea, "read_authorization", classmethod(lambda *_: {"address": 7}))
        assert trip.come_back(**trip.answer()).status_code == 409
        assert trip.send_keys(**trip.answer()).status_code == 409
    assert rows(hub, t.connection) == []

    assert trip.come_back(**trip.answer()).status_code == 303


def test_whoever_asks_again_and_again_is_slowed_down(hub: Hub, owner: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authorizations, "_MOST_OPEN", 2)
    set_out(owner)
    set_out(owner)

    answer = owner.post("/connectors/one-click/authorize", ADDRESS, page="/connectors/one-click")

    assert answer.status_code == 409 and "Wait half an hour" in words(answer)
    assert len(rows(hub, t.authorization)) == 2
    assert {UUID(str(row.user_id)) for row in rows(hub, t.authorization)} == {rows(hub, t.user_account)[0].id}
