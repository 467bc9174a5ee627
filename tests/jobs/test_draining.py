"""Draining: what is due and in which order, the sweep that finds what nobody rang for, the end of a turn."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, select, update

from hub import jobs
from hub.jobs import draining
from hub.jobs.shift import start_shift
from hub.store import connections, warehouse
from hub.store import tables as t
from hub.store.database import Database
from hub_woocommerce.connector import WooCommerceConnector
from hub_woocommerce.simulator import WooCommerceSimulator
from tests.jobs.fake_shop import Shop, connect, open_shop, send
from tests.statements import plans, statements
from tests.town import OWNER, Town


def lanes(town: Town, connection_id: UUID) -> list[str]:
    return [lane for _, place, lane in jobs.due(town.hub) if place == connection_id]


def heard(town: Town) -> set[tuple[UUID, str]]:
    return set(town.hub.doorbell.heard)  # type: ignore[attr-defined]


def test_what_is_urgent_comes_first(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    assert jobs.due(hub_town.hub) == []

    sku, shelf = hub_town.row(t.sku), hub_town.row(t.location)
    warehouse.adjust(hub_town.hub.database, hub_town.merchant, sku.id, shelf.id, 8, "counted", OWNER, "form/1")
    send(hub_town, place, "order", shop.buy("mug"))
    connections.adopt_stock(hub_town.hub.database, hub_town.merchant, place, OWNER)

    assert lanes(hub_town, place) == ["inbox", "publish", "fetch"]
    assert jobs.due(hub_town.hub, connection_id=place) == jobs.due(hub_town.hub)
    assert jobs.due(hub_town.hub, place, "publish") == [(hub_town.merchant, place, "publish")]
    assert jobs.due(hub_town.hub, place, "ship") == []


def test_only_the_connection_asked_about_is_looked_at(hub_town: Town) -> None:
    shops = [Shop(stock={"mug": 10}), Shop(stock={"mug": 10})]
    places = [open_shop(hub_town, shop) for shop in shops]
    for place, shop in zip(places, shops, strict=True):
        send(hub_town, place, "order", shop.buy("mug"))

    assert {place for _, place, _ in jobs.due(hub_town.hub)} == set(places)
    assert [place for _, place, _ in jobs.due(hub_town.hub, connection_id=places[1])] == places[1:]


@pytest.mark.parametrize("alone", [True, False])
def test_what_is_over_is_not_looked_through_for_what_is_due(hub_town: Town, alone: bool) -> None:
    database = hub_town.hub.database
    if not database.is_sqlite:
        pytest.skip("PostgreSQL decides by what is in the tables, and here is nothing in them")
    place = open_shop(hub_town, Shop(stock={}))
    hub = replace(hub_town.hub, settings=replace(hub_town.hub.settings, smtp_url="smtp://post.test", mail_from="a@b.c"))
    with statements(database) as asked:
        jobs.due(hub, place if alone else None)

    # Of these there is more every day, and hardly any is open.
    growing = ("inbox", "effect", "older", "email", "task", "sales_order", "shipment", "bulk_act_row", "stock_import")
    open_ones = {
        index.name
        for table in t.metadata.sorted_tables
        for index in table.indexes
        if index.dialect_options["sqlite"]["where"] is not None
    }
    looked = [plan.split() for plan in plans(database, asked) if plan.split()[1] in growing]
    assert {words[1] for words in looked} == set(growing)
    for words in looked:
        named = next((word for word in words if word.startswith(("ix_", "sqlite_autoindex"))), "no index")
        assert named in open_ones or " ".join(words).endswith(" AND id=?)") or "ordering_key=?" in words, words


@pytest.mark.parametrize("state", ["new", "connected", "paused", "removed"])
def test_a_connection_has_only_the_work_its_state_allows(hub_town: Town, state: str) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    sku, shelf = hub_town.row(t.sku), hub_town.row(t.location)
    warehouse.adjust(hub_town.hub.database, hub_town.merchant, sku.id, shelf.id, 8, "counted", OWNER, "form/1")
    send(hub_town, place, "order", shop.buy("mug"))
    hub_town.let_pass(10_000)

    # Of a removed connection that much is left by which its vendor is recognized, or nothing at all.
    forgotten = {"secrets": None} if state == "removed" else {}
    with hub_town.hub.database.write() as connection:
        connection.execute(update(t.connection).values(state=state, **forgotten))

    allowed = {"connected": ["inbox", "publish", "fetch"], "removed": []}
    assert lanes(hub_town, place) == allowed.get(state, ["inbox"])


def test_a_connection_asked_to_wait_is_read_but_not_called(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    send(hub_town, place, "order", shop.buy("mug"))
    hub_town.let_pass(10_000)
    with hub_town.hub.database.write() as connection:
        later = Database.now(connection) + timedelta(minutes=5)
        connection.execute(update(t.connection).values(not_before=later))

    assert lanes(hub_town, place) == ["inbox"]


def test_the_sweep_rings_for_whatever_nobody_rang_for(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    hub_town.hub.doorbell.heard.clear()  # type: ignore[attr-defined]
    assert jobs.sweep(hub_town.hub) == 0

    send(hub_town, place, "order", shop.buy("mug"))
    assert heard(hub_town) == set(), "the ring was lost"

    assert jobs.sweep(hub_town.hub) == 1
    assert heard(hub_town) == {(place, "inbox")}


KILLED = """
import sys
from hub.store.database import Database
Database(sys.argv[1]).lease(sys.argv[2], 3600)
"""


@pytest.mark.both
def test_the_sweep_frees_the_lanes_of_a_worker_that_is_gone(hub_town: Town, database_url: str) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    send(hub_town, place, "order", shop.buy("mug"))
    subprocess.run([sys.executable, "-c", KILLED, database_url, f"inbox:{place}"], check=True)
    assert lanes(hub_town, place) == []

    jobs.sweep(hub_town.hub)

    assert (place, "inbox") in heard(hub_town)
    hub_town.work()
    assert hub_town.stock() == {"MUG": (10, 1)}


def test_what_came_in_at_the_very_end_is_not_left_lying(hub_town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    original, late = draining._WORK["inbox"], [shop.buy("mug"), shop.buy("mug")]

    def and_one_more(shift: Any) -> None:
        original(shift)
        if late:
            send(hub_town, place, "order", late.pop())  # its ring finds the lane taken

    monkeypatch.setitem(draining._WORK, "inbox", and_one_more)  # type: ignore[arg-type]
    send(hub_town, place, "order", shop.buy("mug"))

    jobs.drain(hub_town.hub, hub_town.merchant, place, "inbox", budget_seconds=60.0)

    assert hub_town.count(t.inbox, t.inbox.c.state == "pending") == 0
    assert hub_town.count(t.sales_order) == 3


def test_a_drain_whose_time_is_over_lets_others_have_a_turn_and_rings_for_the_rest(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    send(hub_town, place, "order", shop.buy("mug"))
    hub_town.hub.doorbell.heard.clear()  # type: ignore[attr-defined]

    assert jobs.drain(hub_town.hub, hub_town.merchant, place, "inbox", budget_seconds=0.0)

    assert heard(hub_town) == {(place, "inbox")}
    assert lanes(hub_town, place) == ["inbox"]


def test_a_worker_that_is_shutting_down_begins_nothing_new(hub_town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    send(hub_town, place, "order", shop.buy("mug"))
    for module in (draining, jobs.shift):
        monkeypatch.setattr(module, "stop_requested", lambda: True)
    began = time.monotonic()

    jobs.drain(hub_town.hub, hub_town.merchant, place, "inbox", budget_seconds=60.0)

    assert time.monotonic() - began < 30, "it does not look again and again until its time is up"
    assert hub_town.count(t.inbox, t.inbox.c.state == "pending") == 1


def test_draining_for_nothing_does_no_harm(hub_town: Town) -> None:
    place = open_shop(hub_town, Shop(stock={"mug": 10}))
    before = [hub_town.rows(table) for table in t.metadata.sorted_tables if table is not t.lease]

    for lane in jobs.LANES:
        for _ in range(2):
            assert jobs.drain(hub_town.hub, hub_town.merchant, place, lane)

    assert [hub_town.rows(table) for table in t.metadata.sorted_tables if table is not t.lease] == before


def test_a_connector_that_makes_many_slow_calls_keeps_its_lane(hub_town: Town) -> None:
    place = hub_town.connect(WooCommerceConnector, WooCommerceSimulator(site="https://woo.example"))

    with start_shift(hub_town.hub, hub_town.merchant, place, "fetch", time.monotonic() + 10) as shift:
        assert shift is not None
        shift.lease = replace(shift.lease, until_monotonic=time.monotonic() + 1)
        shift.caller(shift.row()).check()

        assert shift.lease.remaining() > 40
        assert hub_town.row(t.lease, t.lease.c.name == shift.lease.name).fence == shift.lease.fence


def test_housekeeping_forgets_what_is_kept_for_a_time_only(hub_town: Town) -> None:
    connect(hub_town, Shop())
    database = hub_town.hub.database
    with database.write() as connection:
        old = Database.now(connection) - timedelta(days=2)
        new = Database.now(connection) + timedelta(days=2)
        for name, until in (("gone", old), ("held", new)):
            connection.execute(insert(t.lease).values(name=name, holder="x", fence=1, until=until))
            connection.execute(insert(t.setup_token).values(token_sha256=name, created_at=old, expires_at=until))

    jobs.tidy(hub_town.hub)

    with database.read() as connection:
        assert connection.execute(select(t.setup_token.c.token_sha256)).scalars().all() == ["held"]
        names = connection.execute(select(t.lease.c.name)).scalars().all()
    assert "held" in names
    assert "gone" not in names
