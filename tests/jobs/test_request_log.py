"""The log of requests as workers write it: every call, what it was for, and never at the cost of the work."""

from __future__ import annotations

from base64 import b64encode
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from sqlalchemy import update

from hub.errors import Rejected
from hub.http import Client, Exchange
from hub.jobs.recording import Recorder
from hub.store import connections, exchanges
from hub.store import tables as t
from hub.store.database import DatabaseAway, new_id
from hub.store.queries import exchanges as queries
from hub.store.queries.exchanges import Wanted
from hub.testing.town import town_of
from hub_woocommerce import WooCommerceConnector
from hub_woocommerce.simulator import WooCommerceSimulator
from tests.http.test_exchange_log import SHOP, Echo
from tests.town import OWNER, Town

on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
ASKED = Exchange(
    method="GET",
    url="https://shop.example/orders",
    status=200,
    seconds=0.1,
    request_bytes=0,
    response_bytes=2,
    request_headers={},
    response_headers={},
)


@pytest.fixture
def woo(hub_town: Town) -> WooCommerceSimulator:
    return WooCommerceSimulator(site="https://woo.example")


@pytest.fixture
def place(hub_town: Town, woo: WooCommerceSimulator) -> UUID:
    woo.add_product("MUG", "Mug", stock=5, price="9.00")
    return hub_town.connect(WooCommerceConnector, woo)


def lines(town: Town, place: UUID, **wanted: Any) -> list[Any]:
    with town.hub.database.read() as db:
        return queries.exchanges(db, town.merchant, place, Wanted(**wanted), limit=500)


def test_every_call_of_a_connection_is_in_its_log(hub_town: Town, place: UUID) -> None:
    asked = lines(hub_town, place)

    assert len(asked) > 3
    assert {each.lane for each in asked} >= {"fetch"}
    assert {each.host for each in asked} == {"woo.example"}
    assert not any(each.failed for each in asked)


@on_sqlite
def test_no_secret_of_the_settings_is_in_the_log(
    hub_town: Town, place: UUID, woo: WooCommerceSimulator, capsys: pytest.CaptureFixture[str]
) -> None:
    secrets = [woo.consumer_key, woo.consumer_secret]
    woo.consumer_secret = "cs_changed"
    hub_town.poll(place)

    with hub_town.hub.database.read() as db:
        rows = db.execute(t.exchange.select()).all()
        told = [str(exchanges.details_of(hub_town.hub.keyring, hub_town.merchant, row.id, row.details)) for row in rows]
    everything = "\n".join([*map(str, rows), *told, capsys.readouterr().out])
    assert any(row.failed for row in rows) and "•••" in everything
    assert [secret for secret in secrets if secret in everything] == []


@on_sqlite
def test_the_order_that_something_is_done_for_is_named(hub_town: Town, place: UUID) -> None:
    row = hub_town.row(t.connection)
    order = new_id()
    with hub_town.hub.database.write() as db:
        at = hub_town.hub.database.now(db)
        told = {"id": order, "connection_id": place, "external_id": "1", "number": "1", "status": "open"}
        kept = {"currency": "EUR", "shipping_address": {}, "billing_address": {}, "details": None}
        kept |= dict.fromkeys(["imported_at", "received_at", "updated_at"], at)
        db.execute(t.sales_order.insert().values(merchant_id=row.merchant_id, **told, **kept))
    recorder = Recorder(hub_town.hub.database, hub_town.hub.keyring, hub_town.merchant, place, "effects")

    with recorder.doing(order_id=order):
        recorder(ASKED)
    recorder(replace(ASKED, url="https://shop.example/after"))
    recorder.flush()

    assert [(each.path, each.order_number) for each in lines(hub_town, place)][:2] == [("/after", ""), ("/orders", "1")]
    assert "/orders" in [each.path for each in lines(hub_town, place, order_id=order)]


def test_the_effect_that_something_is_sent_for_is_named() -> None:
    with town_of(WooCommerceConnector, public_url="https://hub.example") as built:
        place = built.connect(WooCommerceConnector, WooCommerceSimulator(site="https://woo.example"))

        sent = [each for each in lines(built, place) if each.effect_id is not None]
        [effect] = built.rows(t.effect)
    assert any(each.method == "POST" for each in sent)
    assert {(each.lane, each.effect_id, each.effect_kind) for each in sent} == {
        ("effects", effect.id, "subscribe_webhooks")
    }


CANARIES = [f"canary{number}/with+signs==" for number in range(9)]


@on_sqlite
def test_no_secret_reaches_the_log_by_whatever_way_it_is_sent(
    hub_town: Town, place: UUID, capsys: pytest.CaptureFixture[str]
) -> None:
    known, header, query, signed, short, body, form, basic, cookie = CANARIES
    recorder = Recorder(hub_town.hub.database, hub_town.hub.keyring, hub_town.merchant, place, "fetch")
    before = len(lines(hub_town, place))
    with Echo() as echo:
        client = Client(hosts=[SHOP], routes={SHOP: echo.serve()}, on_exchange=recorder)
        client.redact(known)
        for path in ("/orders", "/refuse"):
            with suppress(Rejected):
                client.post(f"{SHOP}{path}/{quote(known, safe='')}", json={"password": body, "note": known})
            with suppress(Rejected):
                client.get(f"{SHOP}{path}", params={"access_token": query, "X-Amz-Signature": signed, "sig": short})
            with suppress(Rejected):
                client.post(f"{SHOP}{path}", data={"client_secret": form}, auth=("user", basic))
            with suppress(Rejected):
                client.get(f"{SHOP}{path}", headers={"X-Api-Key": header, "Cookie": cookie})
        client.close()
    recorder.flush()

    with hub_town.hub.database.read() as db:
        rows = db.execute(t.exchange.select()).all()
    opened = [exchanges.details_of(hub_town.hub.keyring, hub_town.merchant, row.id, row.details) for row in rows]
    everything = "\n".join([*map(str, rows), *map(str, opened), capsys.readouterr().out])
    assert len(rows) - before == 8 and sum(row.failed for row in rows) >= 4
    spelled = {each: (each, quote(each, safe=""), b64encode(each.encode()).decode()) for each in CANARIES}
    assert [each for each, ways in spelled.items() if any(way in everything for way in ways)] == []


@on_sqlite
def test_a_log_that_cannot_be_written_stops_no_work(
    hub_town: Town, woo: WooCommerceSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    woo.add_product("MUG", "Mug", stock=5, price="9.00")

    def away(*_: Any) -> None:
        raise DatabaseAway("The disk is full.")

    monkeypatch.setattr(exchanges, "keep", away)
    place = hub_town.connect(WooCommerceConnector, woo)

    assert hub_town.row(t.connection).state == "connected"
    assert hub_town.count(t.listing) == 1
    assert lines(hub_town, place) == []

    monkeypatch.undo()
    hub_town.poll(place)
    assert lines(hub_town, place) != []


@on_sqlite
def test_many_calls_are_written_together(hub_town: Town, place: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    monkeypatch.setattr(exchanges, "keep", lambda *arguments: kept.append(len(arguments[-1])))
    recorder = Recorder(hub_town.hub.database, hub_town.hub.keyring, hub_town.merchant, place, "fetch")

    for _ in range(250):
        recorder(ASKED)
    recorder.flush()
    recorder.flush()

    assert kept == [100, 100, 50]


@on_sqlite
def test_a_removed_connection_leaves_no_log(hub_town: Town, place: UUID) -> None:
    assert lines(hub_town, place) != []

    connections.remove(
        hub_town.hub.database,
        hub_town.merchant,
        place,
        OWNER,
        keyring=hub_town.hub.keyring,
        connector=WooCommerceConnector,
    )

    assert lines(hub_town, place) == []


@on_sqlite
def test_the_hourly_tidying_forgets_old_lines(hub_town: Town, place: UUID) -> None:
    from hub import jobs

    with hub_town.hub.database.write() as db:
        db.execute(update(t.exchange).values(at=hub_town.hub.database.now(db) - exchanges.KEPT * 2))

    jobs.tidy(hub_town.hub)

    assert lines(hub_town, place) == []
