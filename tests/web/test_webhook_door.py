"""The door for webhooks: nothing is acknowledged that is not stored, and nothing is stored that is not signed."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask
from sqlalchemy import func, select, update
from werkzeug.test import TestResponse, create_environ, run_wsgi_app

from hub.app import create_app
from hub.connector import Delivery, SalesChannel, Webhook
from hub.jobs import Hub
from hub.plugins import Registry
from hub.store import connections, inbox
from hub.store import tables as t
from hub.store.database import Database, DatabaseAway
from hub.web import webhooks
from tests.statements import statements
from tests.web.shop_builder import Shop, TeaShop, hub_on, open_shop, registry, sign

BODY = b'{"id": 1, "note": "two cups"}'


@pytest.fixture
def hub(database: Database, tmp_path: Path) -> Hub:
    return hub_on(database, tmp_path)


@pytest.fixture
def shop(hub: Hub) -> Shop:
    return open_shop(hub)


@pytest.fixture
def connection_id(shop: Shop) -> UUID:
    return shop.connection(token="token-of-tea")


@pytest.fixture(autouse=True)
def _nothing_told() -> None:
    webhooks._told.clear()


def send(
    app: Flask,
    shop: Shop,
    connection_id: UUID,
    body: bytes = BODY,
    *,
    token: str | None = "token-of-tea",
    headers: dict[str, str] | None = None,
    **more: Any,
) -> TestResponse:
    signed = {"X-Tea-Topic": "order.created", "Content-Type": "application/json"}
    if token is not None:
        signed["X-Tea-Signature"] = sign(token, body).decode()
    return app.test_client().post(
        f"/webhooks/{shop.merchant_id}/{connection_id}",
        base_url="http://localhost",
        data=body,
        headers=signed | (headers or {}),
        **more,
    )


def rows(hub: Hub) -> int:
    with hub.database.read() as db:
        return db.execute(select(func.count()).select_from(t.inbox)).scalar_one()


def issues(hub: Hub, *, resolved: bool = False) -> list[str]:
    condition = t.issue.c.resolved_at.is_not(None) if resolved else t.issue.c.resolved_at.is_(None)
    with hub.database.read() as db:
        return list(db.execute(select(t.issue.c.title).where(condition)).scalars())


# ---------------------------------------------------------------- what is let in


def test_a_signed_webhook_is_stored_and_then_rings(hub: Hub, shop: Shop, connection_id: UUID) -> None:
    answer = send(create_app(hub), shop, connection_id)

    assert (answer.status_code, answer.json) == (200, {"stored": True})
    (stored,) = inbox.claim(hub.database, hub.keyring, shop.merchant_id, connection_id, limit=10)
    assert (stored.source, stored.record.topic, stored.record.body) == ("webhook", "order.created", BODY)
    assert "x-tea-signature" not in stored.record.headers
    assert hub.doorbell.rung == [(shop.merchant_id, connection_id, "inbox")]  # type: ignore[attr-defined]


def test_the_same_webhook_again_is_acknowledged_and_not_doubled(hub: Hub, shop: Shop, connection_id: UUID) -> None:
    app = create_app(hub)

    answers = [send(app, shop, connection_id).json for _ in range(3)]

    assert answers == [{"stored": True}, {"stored": False}, {"stored": False}]
    assert rows(hub) == 1


def test_a_handshake_is_answered_and_not_stored(hub: Hub, shop: Shop, connection_id: UUID) -> None:
    answer = send(create_app(hub), shop, connection_id, b"ping", token=None)

    assert (answer.status_code, answer.json, rows(hub)) == (200, {"stored": False}, 0)
    assert hub.doorbell.rung == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("token", "headers"),
    [
        (None, {}),
        ("another-token", {}),
        (None, {"X-Tea-Signature": ""}),
        (None, {"X-Tea-Signature": "x"}),
        (None, {"X-Tea-Signature": "ÿþ".encode().decode("latin-1")}),
    ],
)
def test_a_wrong_signature_leaves_no_trace(
    hub: Hub, shop: Shop, connection_id: UUID, token: str | None, headers: dict[str, str]
) -> None:
    answer = send(create_app(hub), shop, connection_id, token=token, headers=headers)

    assert answer.status_code == 401
    assert answer.json and answer.json["error"] == "The signature does not fit this connection."
    assert rows(hub) == 0 and issues(hub) == []


def test_a_body_changed_by_one_byte_is_refused(hub: Hub, shop: Shop, connection_id: UUID) -> None:
    app = create_app(hub)
    signature = sign("token-of-tea", BODY).decode()

    answer = send(app, shop, connection_id, BODY + b" ", token=None, headers={"X-Tea-Signature": signature})

    assert (answer.status_code, rows(hub)) == (401, 0)


def test_a_shops_signature_opens_no_other_shops_door(hub: Hub, shop: Shop, connection_id: UUID) -> None:
    other = open_shop(hub, "Rival")
    theirs = other.connection(token="token-of-rival")
    app = create_app(hub)

    assert send(app, other, theirs).status_code == 401
    assert send(app, shop, theirs).status_code == 404  # the connection is not this merchant's
    assert send(app, other, connection_id).status_code == 404
    assert rows(hub) == 0
    assert send(app, other, theirs, token="token-of-rival").status_code == 200


@pytest.mark.parametrize("state", ["removed", "new"])
def test_a_connection_that_is_gone_or_not_there_yet_takes_nothing(hub: Hub, shop: Shop, state: str) -> None:
    answer = send(create_app(hub), shop, shop.connection(state=state))

    assert (answer.status_code, rows(hub)) == (404, 0)
    assert answer.json and answer.json["error"] == "There is no such connection."


def test_a_paused_connection_still_keeps_what_comes(hub: Hub, shop: Shop) -> None:
    assert send(create_app(hub), shop, shop.connection(state="paused")).json == {"stored": True}


@pytest.mark.parametrize(
    "path", ["/webhooks/x/y", f"/webhooks/{UUID(int=1)}/1", f"/webhooks/{UUID(int=1)}/{UUID(int=2)}", "/webhooks/"]
)
def test_an_address_that_is_none_is_not_found(hub: Hub, path: str) -> None:
    answer = create_app(hub).test_client().post(path, base_url="http://localhost", data=b"{}")

    assert answer.status_code == 404
    assert answer.json and answer.json["error"]


def test_only_a_post_is_a_webhook(hub: Hub, shop: Shop, connection_id: UUID) -> None:
    answer = (
        create_app(hub).test_client().get(f"/webhooks/{shop.merchant_id}/{connection_id}", base_url="http://localhost")
    )

    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == {"OPTIONS", "POST"}


# ---------------------------------------------------------------- size


def test_a_body_may_be_as_large_as_sixteen_megabytes(hub: Hub, shop: Shop, connection_id: UUID) -> None:
    app = create_app(hub)

    fits = send(app, shop, connection_id, b"x" * webhooks.LARGEST_BODY)
    too_large = send(app, shop, connection_id, b"x" * (webhooks.LARGEST_BODY + 1))

    assert (fits.status_code, too_large.status_code) == (200, 413)
    assert too_large.json and "too large" in too_large.json["error"]
    assert rows(hub) == 1


class Endless(io.RawIOBase):
    """A body that never ends; ``read`` counts how much was taken of it."""

    taken = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.taken += len(buffer)
        buffer[:] = b"x" * len(buffer)
        return len(buffer)


def test_a_body_without_a_length_is_read_only_so_far(hub: Hub, shop: Shop, connection_id: UUID) -> None:
    body = Endless()
    environ = create_environ(f"/webhooks/{shop.merchant_id}/{connection_id}", "http://localhost", method="POST")
    environ |= {
        "HTTP_TRANSFER_ENCODING": "chunked",
        "wsgi.input": io.BufferedReader(body, 65536),
        "wsgi.input_terminated": True,  # as granian says of itself
    }

    _, status, _ = run_wsgi_app(create_app(hub), environ)

    assert (status[:3], rows(hub)) == ("413", 0)
    assert body.taken <= webhooks.LARGEST_BODY + 2 * 65536


def test_a_huge_body_for_nobody_costs_no_look_into_the_database(hub: Hub) -> None:
    client, body = create_app(hub).test_client(), b"x" * (webhooks.LARGEST_BODY + 1)

    with statements(hub.database) as asked:
        answer = client.post(f"/webhooks/{uuid4()}/{uuid4()}", base_url="http://localhost", data=body)

    assert (answer.status_code, asked) == (413, [])


@pytest.mark.parametrize("body", [b"", b"[" * 100_000, b'{"a": NaN', b"\xff\xfe", b"<html>", b"9" * 5000])
def test_the_door_never_looks_into_a_body(hub: Hub, shop: Shop, connection_id: UUID, body: bytes) -> None:
    assert send(create_app(hub), shop, connection_id, body).json == {"stored": True}
    (stored,) = inbox.claim(hub.database, hub.keyring, shop.merchant_id, connection_id, limit=10)
    assert stored.record.body == body


# ---------------------------------------------------------------- a secret that changes


def test_a_replaced_secret_counts_from_the_next_webhook_on(hub: Hub, shop: Shop, connection_id: UUID) -> None:
    app = create_app(hub)
    assert send(app, shop, connection_id, b"1").status_code == 200
    settings = {"address": "https://tea.example", "plan": "basic", "everything": False, "token": "a-new-token"}
    sealed = connections.seal(hub.keyring, shop.merchant_id, connection_id, settings, "webhook-secret")

    with hub.database.write() as db:
        db.execute(update(t.connection).values(secrets=sealed))

    assert send(app, shop, connection_id, b"2").status_code == 401
    assert send(app, shop, connection_id, b"2", token="a-new-token").status_code == 200


# ---------------------------------------------------------------- things that are away or broken


def test_nothing_is_acknowledged_while_the_database_is_away(
    hub: Hub, shop: Shop, connection_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(hub)

    def away(*_: Any, **__: Any) -> bool:
        raise DatabaseAway("The database cannot be reached. Nothing was stored; try again shortly.")

    monkeypatch.setattr(inbox, "store_webhook", away)
    answer = send(app, shop, connection_id)

    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"
    assert answer.json and "Nothing was stored" in answer.json["error"]
    assert hub.doorbell.rung == []  # type: ignore[attr-defined]

    monkeypatch.undo()
    assert send(app, shop, connection_id).json == {"stored": True}


class Moody(TeaShop):
    """Its check of signatures does whatever a test wants."""

    name = "moody"
    label = "Moody"
    mood: Any = None

    def verify(self, webhook: Webhook) -> Delivery | None:
        if isinstance(self.mood, BaseException):
            raise self.mood
        return super().verify(webhook) if self.mood is None else self.mood  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("mood", "reason"),
    [
        (RuntimeError("boom"), "The connector Moody failed to check a webhook (RuntimeError)"),
        (RecursionError(), "The connector Moody failed to check a webhook (RecursionError)"),
        (SystemExit(3), "The connector Moody failed to check a webhook (SystemExit)"),
        (BaseException(), "The connector Moody failed to check a webhook (BaseException)"),
        ("yes", "The connector Moody answered with no delivery"),
    ],
)
def test_a_plugin_that_breaks_turns_webhooks_away_and_a_person_is_told_until_it_works(
    hub: Hub, shop: Shop, monkeypatch: pytest.MonkeyPatch, mood: Any, reason: str
) -> None:
    connection_id = shop.connection(connector="moody")
    app = create_app(replace(hub, registry=registry(Moody)))
    monkeypatch.setattr(Moody, "mood", mood)

    answers = [send(app, shop, connection_id) for _ in range(3)]

    assert [(each.status_code, each.headers["Retry-After"]) for each in answers] == [(503, "60")] * 3
    assert "boom" not in answers[0].text
    assert (issues(hub), rows(hub)) == ([reason], 0)
    with hub.database.read() as db:
        assert db.execute(select(t.issue.c.times)).scalar_one() == 1  # told once, not once per webhook

    monkeypatch.setattr(Moody, "mood", None)
    assert send(app, shop, connection_id).json == {"stored": True}
    assert (issues(hub), issues(hub, resolved=True)) == ([], [reason])


def test_a_plugin_that_calls_its_vendor_while_it_verifies_is_stopped(
    hub: Hub, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Chatty(TeaShop):
        name = "chatty"

        def verify(self, webhook: Webhook) -> Delivery | None:
            self.client.get("https://tea.example/whoami")
            return Delivery("x", "x")

    connection_id = shop.connection(connector="chatty")
    answer = send(create_app(replace(hub, registry=registry(Chatty))), shop, connection_id)

    assert (answer.status_code, rows(hub)) == (503, 0)


def test_a_connector_without_webhooks_takes_none(hub: Hub, shop: Shop) -> None:
    class Silent(TeaShop):
        name = "silent"
        verify = SalesChannel.verify

    answer = send(create_app(replace(hub, registry=registry(Silent))), shop, shop.connection(connector="silent"))

    assert (answer.status_code, issues(hub)) == (404, [])


def test_a_connector_that_is_not_installed_keeps_its_shop_trying(hub: Hub, shop: Shop, connection_id: UUID) -> None:
    without = create_app(replace(hub, registry=Registry()))

    assert send(without, shop, connection_id).status_code == 503
    assert issues(hub) == ["The connector “tea” is not installed"]
    assert send(create_app(hub), shop, connection_id).json == {"stored": True}


def test_a_secret_that_cannot_be_read_keeps_its_shop_trying(
    hub: Hub, shop: Shop, connection_id: UUID, tmp_path: Path
) -> None:
    other_keys = hub_on(hub.database, tmp_path)

    answer = send(create_app(other_keys), shop, connection_id)

    assert answer.status_code == 503
    (told,) = issues(hub)
    assert told.startswith("The credentials of this connection cannot be read: A stored secret needs the key")
    assert send(create_app(hub), shop, connection_id).status_code == 200
