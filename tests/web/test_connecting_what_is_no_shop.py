"""Carriers and fulfillment providers in the browser: they connect as shops do, and nothing of a shop is expected."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import func, select

import hub as api
from hub import jobs
from hub.app import create_app
from hub.connector import Kind
from hub.core.plain import from_plain, to_plain
from hub.jobs import Hub
from hub.plugins import Plugin, Registry
from hub.store import effects
from hub.store import tables as t
from hub.store.database import Database
from tests.scaffold.written import connector, simulator
from tests.web.client import Browser, words
from tests.web.shop_builder import Shop

KINDS = [Kind.CARRIER, Kind.PROVIDER]


@pytest.fixture(params=KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture
def vendor(kind: Kind) -> Iterator[Any]:
    with simulator(kind)() as made:
        yield made


@pytest.fixture
def hub(hub: Hub, kind: Kind, vendor: Any) -> Hub:
    """A hub that has one connector, and whose calls to the vendor end at the simulator. It is reachable by webhooks."""
    name = connector(kind).name
    registry = Registry({name: connector(kind)}, (Plugin(name, f"tallyhub-{name}", "0.1.0", connectors=(name,)),))
    settings = replace(hub.settings, routes={vendor.origin: vendor.serve()}, public_url="https://hub.example")
    return replace(hub, registry=registry, settings=settings)


@pytest.fixture
def app(hub: Hub) -> Flask:
    return create_app(hub)


def count(hub: Hub, table: Any) -> int:
    with hub.database.read() as db:
        return db.execute(select(func.count()).select_from(table)).scalar_one()


def work(hub: Hub) -> None:
    while waiting := jobs.due(hub):
        for merchant_id, connection_id, lane in waiting:
            jobs.drain(hub, merchant_id, connection_id, lane)


def connected(hub: Hub, owner: Browser, kind: Kind, vendor: Any) -> UUID:
    page = f"/connectors/{connector(kind).name}"
    answer = owner.post(page, vendor.settings() | {"label": "Ours"}, page=page)
    assert answer.status_code == 303
    work(hub)
    with hub.database.read() as db:
        found: UUID = db.execute(select(t.connection.c.id)).scalar_one()
    return found


def test_it_connects_through_the_form_and_nothing_of_a_shop_is_expected(
    hub: Hub, shop: Shop, owner: Browser, kind: Kind, vendor: Any
) -> None:
    assert connector(kind).label in words(owner.get("/connectors"))

    connection_id = connected(hub, owner, kind, vendor)

    with hub.database.read() as db:
        row = db.execute(select(t.connection)).one()
        task = db.execute(select(t.task)).one()
    assert (row.state, row.account_external_id, row.account_name) == ("connected", "acc-corner", "Corner")
    assert (task.state, task.message.partition(".")[0]) == ("done", "Connected to Corner")
    assert count(hub, t.issue) == 0
    with hub.database.read() as db:
        assert db.execute(select(t.effect.c.kind, t.effect.c.state)).all() == [("subscribe_webhooks", "succeeded")]
        streams = set(db.execute(select(t.cursor.c.stream)).scalars())
    assert not streams & {"orders", "listings"}
    page = words(owner.get(f"/connections/{connection_id}"))
    assert "Corner" in page
    for word in ("Opening stock", "Adopt", "go live", "Replay", "Sync now"):
        assert word not in page, word
    assert jobs.due(hub) == []


def test_a_wrong_key_is_told_and_the_right_one_helps(
    hub: Hub, shop: Shop, owner: Browser, kind: Kind, vendor: Any
) -> None:
    page = f"/connectors/{connector(kind).name}"
    owner.post(page, vendor.settings() | {"label": "Ours", "api_key": "ak_not_this_one"}, page=page)
    work(hub)
    with hub.database.read() as db:
        row, task = db.execute(select(t.connection)).one(), db.execute(select(t.task)).one()
    assert (row.state, task.state) == ("new", "failed")
    assert "refused the credentials" in task.message and "ak_not_this_one" not in task.message
    here = f"/connections/{row.id}/reconnect"

    owner.post(here, vendor.settings(), page=here)
    work(hub)

    with hub.database.read() as db:
        assert db.execute(select(t.connection.c.state)).scalar_one() == "connected"


@pytest.mark.parametrize("lane", jobs.LANES)
def test_a_ring_on_any_lane_does_nothing(
    hub: Hub, shop: Shop, owner: Browser, kind: Kind, vendor: Any, lane: str
) -> None:
    connection_id = connected(hub, owner, kind, vendor)
    asked = len(vendor.requests)

    assert jobs.drain(hub, shop.merchant_id, connection_id, lane)

    assert len(vendor.requests) == asked
    assert [count(hub, table) for table in (t.inbox, t.issue)] == [0, 0]


def test_it_cannot_go_live_and_a_webhook_that_is_not_signed_is_refused(
    hub: Hub, shop: Shop, owner: Browser, kind: Kind, vendor: Any
) -> None:
    connection_id = connected(hub, owner, kind, vendor)
    here = f"/connections/{connection_id}"

    live = owner.post(f"{here}/go-live", page=f"{here}/reconnect")
    letter = owner.client.post(f"/webhooks/{shop.merchant_id}/{connection_id}", data=b"{}")

    assert (live.status_code, letter.status_code) == (400, 401)
    with hub.database.read() as db:
        assert db.execute(select(t.connection.c.live_at)).scalar_one() is None


def test_its_effects_are_carried_out_as_typed_requests(
    hub: Hub, shop: Shop, owner: Browser, kind: Kind, vendor: Any
) -> None:
    connection_id = connected(hub, owner, kind, vendor)
    with hub.database.read() as db:
        row = db.execute(select(t.connection)).one()
    if kind is Kind.CARRIER:
        offered = hub_caller(hub, row).rates(vendor.example("R-1"))
        name, request = "buy_label", to_plain(api.LabelPurchase(shipment=vendor.example("R-1"), rate=offered.rates[0]))
    else:
        vendor.stock_item("MUG-1", "Mug", 10)
        name, request = "submit", to_plain(vendor.example("R-1", {"MUG-1": 3}))

    def plan(db: Any) -> UUID:
        return effects.plan(db, shop.merchant_id, connection_id, name, "R-1", request, now=Database.now(db))

    hub.database.transact(plan)
    work(hub)

    with hub.database.read() as db:
        done = db.execute(select(t.effect).where(t.effect.c.kind == name)).one()
    assert done.state == "succeeded"
    if kind is Kind.CARRIER:
        label = from_plain(api.Label, done.result)
        assert [charge.tracking_numbers for charge in vendor.charges()] == [label.tracking_numbers]
    else:
        submission = from_plain(api.Submission, done.result)
        assert [(each.reference, each.external_id) for each in vendor.placed()] == [("R-1", submission.external_id)]


def hub_caller(hub: Hub, row: Any) -> Any:
    """The connector as a worker has it."""
    from hub.store import connections

    of = hub.registry.connector(row.connector)
    credentials = connections.unseal(hub.keyring, row.merchant_id, row.id, of, row.secrets)
    return hub.caller(of, credentials, row.merchant_id, row.id)
