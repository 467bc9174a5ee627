"""The door for the webhooks of a merchant's app: the shop is found by what they say, and believed by its signature."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from marshmallow import fields
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from hub.app import create_app
from hub.connector import Webhook
from hub.jobs import Hub
from hub.store import connections
from hub.store import tables as t
from hub.store.database import Database
from hub.web import webhooks
from tests.web.client import Browser
from tests.web.shop_builder import Shop, TeaSettings, TeaShop, hub_on, open_shop, registry, sign

BODY = b'{"customer": "somebody"}'


class AppSettings(TeaSettings):
    token = fields.String(required=True, metadata={"label": "Token", "hint": "", "secret": True, "signs": True})
    password = fields.String(load_default="", metadata={"label": "Password", "hint": "", "secret": True})


class AppTea(TeaShop):
    """One app for many shops: each webhook names its shop in a header."""

    name = "app-tea"
    settings_schema = AppSettings

    @classmethod
    def webhook_account(cls, webhook: Webhook) -> Mapping[str, str] | None:
        if webhook.headers.get("x-tea-shop") == "explode":
            raise SystemExit(1)
        shop = webhook.headers.get("x-tea-shop")
        return {"address": shop} if shop else None


@pytest.fixture
def hub(database: Database, tmp_path: Path) -> Hub:
    return replace(hub_on(database, tmp_path), registry=registry(AppTea))


@pytest.fixture
def shop(hub: Hub) -> Shop:
    return open_shop(hub)


@pytest.fixture
def app(hub: Hub) -> Flask:
    return create_app(hub)


@pytest.fixture(autouse=True)
def _nothing_told() -> None:
    webhooks._told.clear()


def connected(shop: Shop, token: str = "token-of-tea", address: str = "https://tea.example", **more: Any) -> UUID:
    connection_id = shop.connection(token=token, connector="app-tea", **more)
    settings = {"address": address, "plan": "basic", "everything": False, "token": token, "password": "open sesame"}
    sealed = connections.seal(shop.hub.keyring, shop.merchant_id, connection_id, settings, "webhook-secret")
    shown = {name: value for name, value in settings.items() if name not in ("token", "password")}
    with shop.hub.database.write() as db:
        db.execute(
            update(t.connection).where(t.connection.c.id == connection_id).values(settings=shown, secrets=sealed)
        )
    return connection_id


def removed(shop: Shop, connection_id: UUID) -> None:
    hub = shop.hub
    connections.remove(
        hub.database, shop.merchant_id, connection_id, "ada@tea.example", keyring=hub.keyring, connector=AppTea
    )


def send(
    app: Flask,
    shop: Shop,
    *,
    token: str = "token-of-tea",
    address: str = "https://tea.example",
    connector: str = "app-tea",
    body: bytes = BODY,
) -> TestResponse:
    return app.test_client().post(
        f"/webhooks/{shop.merchant_id}/apps/{connector}",
        base_url="http://any.name",
        data=body,
        headers={
            "X-Tea-Topic": "customer.redact",
            "X-Tea-Signature": sign(token, body).decode(),
            "X-Tea-Shop": address,
        },
    )


def received(hub: Hub) -> list[UUID]:
    with hub.database.read() as db:
        return list(db.execute(select(t.inbox.c.connection_id).order_by(t.inbox.c.received_at)).scalars())


def secrets_of(shop: Shop, connection_id: UUID) -> Any:
    with shop.hub.database.read() as db:
        return db.execute(select(t.connection.c.secrets).where(t.connection.c.id == connection_id)).scalar_one()


# ---------------------------------------------------------------- finding the shop


def test_a_webhook_finds_its_shop_among_several(hub: Hub, app: Flask, shop: Shop) -> None:
    here = connected(shop)
    there = connected(shop, address="https://coffee.example")

    assert send(app, shop).json == {"stored": True}
    assert send(app, shop, address="https://coffee.example").json == {"stored": True}

    assert received(hub) == [here, there]
    assert hub.doorbell.rung == [  # type: ignore[attr-defined]
        (shop.merchant_id, here, "inbox"),
        (shop.merchant_id, there, "inbox"),
    ]
    assert send(app, shop).json == {"stored": False}, "a copy is known"


def test_nobody_learns_here_which_shops_are_connected(hub: Hub, app: Flask, shop: Shop) -> None:
    connected(shop)

    refused = [
        send(app, shop, token="another-token"),
        send(app, shop, address="https://nobody.example"),
        send(app, shop, address=""),
        send(app, shop, address="explode"),
        send(app, open_shop(hub, "Rival")),
    ]

    assert [answer.status_code for answer in refused] == [401] * 5
    assert len({answer.json and answer.json["error"] for answer in refused}) == 1
    assert received(hub) == []
    assert send(app, shop, connector="unheard-of").status_code == 404


def test_the_connect_page_says_which_address_it_is(hub: Hub, shop: Shop) -> None:
    reachable = create_app(replace(hub, settings=replace(hub.settings, public_url="https://hub.tea.example")))
    shop.person("ada@tea.example")
    ada = Browser(reachable).sign_in("ada@tea.example")

    assert f"https://hub.tea.example/webhooks/{shop.merchant_id}/apps/app-tea" in ada.get("/connectors/app-tea").text
    assert "/apps/" not in ada.get("/connectors/tea").text, "only where there is one"


def test_a_handshake_is_answered_and_not_stored(hub: Hub, app: Flask, shop: Shop) -> None:
    connected(shop)

    answer = app.test_client().post(
        f"/webhooks/{shop.merchant_id}/apps/app-tea", data=b"ping", headers={"X-Tea-Shop": "https://tea.example"}
    )

    assert (answer.status_code, answer.json, received(hub)) == (200, {"stored": False}, [])


def test_a_connector_that_cannot_check_is_asked_again(
    hub: Hub, app: Flask, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = connected(shop)

    def explode(*_: Any) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(AppTea, "verify", explode)
        assert send(app, shop).status_code == 503
    assert send(app, shop).status_code == 200
    assert received(hub) == [here]


# ---------------------------------------------------------------- after the app is gone


def test_of_a_removed_connection_only_what_signs_can_be_read(hub: Hub, app: Flask, shop: Shop) -> None:
    here = connected(shop)

    removed(shop, here)

    opened = json.loads(hub.keyring.decrypt(secrets_of(shop, here), f"connection:{shop.merchant_id}:{here}:secrets"))
    assert opened == {
        "settings": {"address": "https://tea.example", "plan": "basic", "everything": False, "token": "token-of-tea"},
        "webhook_secret": "",
        "removed": True,
    }
    assert send(app, shop).json == {"stored": True}
    assert received(hub) == [here]
    own = app.test_client().post(f"/webhooks/{shop.merchant_id}/{here}", data=BODY)
    assert own.status_code == 404, "its own door is shut"


def test_the_connection_that_works_goes_before_those_that_were_removed(hub: Hub, app: Flask, shop: Shop) -> None:
    newest = [connected(shop) for _ in range(3)][-1]
    removed(shop, newest)
    with hub.database.write() as db:
        db.execute(update(t.connection).where(t.connection.c.id != newest).values(state="paused"))

    send(app, shop)

    assert received(hub) != [newest]
    assert len(received(hub)) == 1


def test_ninety_days_later_nothing_is_left(hub: Hub, app: Flask, shop: Shop) -> None:
    here = connected(shop)
    removed(shop, here)
    connections.forget_removed(hub.database)
    assert secrets_of(shop, here) is not None

    with hub.database.write() as db:
        db.execute(update(t.connection).values(removed_at=hub.database.now(db) - timedelta(days=91)))
    connections.forget_removed(hub.database)

    assert secrets_of(shop, here) is None
    assert send(app, shop).status_code == 401
    assert received(hub) == []
