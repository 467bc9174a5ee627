"""The lane in which orders are dealt out: from the webhook to the location, with plugins that decide or misbehave."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint
from types import MappingProxyType, ModuleType
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection

from hub import hookimpl, jobs, plugins
from hub.core.model import Address
from hub.core.routing import Place, Request
from hub.jobs import draining, route_lane
from hub.plugins import Allocate, Registry
from hub.store import locations, routing, routing_queue, warehouse
from hub.store import tables as t
from hub.store.database import Interrupted
from hub.store.locations import Location
from tests.jobs.fake_shop import Shop, open_shop, send
from tests.town import OWNER, Town


class Street:
    """A shop with ten mugs here, and ten more in Leeds."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.shop = Shop(stock={"mug": 10})
        self.place = open_shop(town, self.shop)
        self.sku = town.row(t.sku).id
        self.main = town.row(t.location).id
        leeds = Location(name="Leeds", address=Address(country="GB"), priority=1)
        self.leeds = locations.save(town.hub.database, town.merchant, None, leeds, OWNER)
        warehouse.adjust(town.hub.database, town.merchant, self.sku, self.leeds, 10, "counted", OWNER, "form/1")

    def sell(self, units: int = 1) -> UUID:
        body = self.shop.buy("mug", units)
        send(self.town, self.place, "order", body)
        draining.drain(self.town.hub, self.town.merchant, self.place, "inbox")
        row = self.town.row(t.sales_order, t.sales_order.c.external_id == body["id"])
        assert isinstance(row.id, UUID)
        return row.id

    def deal_out(self) -> None:
        assert draining.drain(self.town.hub, self.town.merchant, self.place, "route")

    def asked(self) -> list[tuple[str, str]]:
        names = {row.id: row.name for row in self.town.rows(t.location)}
        rows = sorted(self.town.rows(t.fulfillment_order), key=lambda row: row.id)
        return [(names[row.location_id], row.state) for row in rows]

    def issues(self) -> list[Any]:
        return self.town.rows(t.issue, t.issue.c.kind == routing.FAILED, t.issue.c.resolved_at.is_(None))

    def with_plugin(self, name: str, allocate: Allocate) -> None:
        town = self.town
        allocators = {**town.hub.registry.allocators, name: allocate}
        town.hub = replace(town.hub, registry=replace(town.hub.registry, allocators=MappingProxyType(allocators)))


@pytest.fixture
def street(hub_town: Town) -> Street:
    return Street(hub_town)


def test_an_order_that_holds_stock_is_due_and_rung_for(street: Street) -> None:
    street.sell()

    assert (street.town.merchant, street.place, "route") in jobs.due(street.town.hub)
    assert (street.place, "route") in street.town.hub.doorbell.heard  # type: ignore[attr-defined]
    street.deal_out()

    assert len(street.asked()) == 1
    assert street.town.rows(t.routing_mark) == []
    assert (street.town.merchant, street.place, "route") not in jobs.due(street.town.hub)
    street.town.sound()


def test_a_lost_ring_is_made_good_by_the_sweep(street: Street) -> None:
    street.sell()
    street.town.hub.doorbell.heard.clear()  # type: ignore[attr-defined]

    jobs.sweep(street.town.hub)

    assert (street.place, "route") in street.town.hub.doorbell.heard  # type: ignore[attr-defined]


def test_more_than_a_batch_is_dealt_out_in_one_drain(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route_lane, "_AT_ONCE", 2)
    for _ in range(5):
        street.sell()

    street.deal_out()

    assert len(street.asked()) == 5


def test_a_plugin_decides_before_the_policy(street: Street) -> None:
    def to_leeds(order: Request, stock: Sequence[Place]) -> Mapping[str, Mapping[str, int]] | None:
        if order.lines[0].units == 1:
            return None
        return {place.id: {line.id: line.units for line in order.lines} for place in stock if place.name == "Leeds"}

    street.with_plugin("leeds-first", to_leeds)
    street.sell(1)
    street.sell(2)
    street.deal_out()

    (own, theirs) = sorted(street.town.rows(t.routing_decision), key=lambda row: row.id)
    assert own.cause == "imported"
    assert (theirs.cause, theirs.summary) == ("plugin", "Leeds: so says the plugin leeds-first.")
    assert [name for name, _ in street.asked()].count("Leeds") == 1
    street.town.sound()


def raises(order: Request, stock: Sequence[Place]) -> Mapping[str, Mapping[str, int]] | None:
    raise KeyError("region")


def ends(order: Request, stock: Sequence[Place]) -> Mapping[str, Mapping[str, int]] | None:
    sys.exit("enough")


@pytest.mark.parametrize(
    ("allocate", "said"),
    [
        (raises, "KeyError: 'region'"),
        (ends, "SystemExit: enough"),
        (lambda order, stock: {"nowhere": {"1": 1}}, "ValueError: The plugin odd cannot be followed. There is no loc"),
        (lambda order, stock: {stock[0].id: {}}, "ValueError: The plugin odd cannot be followed."),
        (lambda order, stock: ["Leeds"], "ValueError: The plugin odd cannot be followed."),
        (lambda order, stock: {}, "ValueError: The plugin odd cannot be followed. 0 of 1 units of"),
        (
            lambda order, stock: {each.id: {order.lines[0].id: 1} for each in stock},
            "ValueError: The plugin odd cannot be followed. 2 of 1 units of",
        ),
    ],
    ids=["raises", "ends the process", "no such location", "no units", "no mapping", "nothing", "twice"],
)
def test_a_plugin_that_misbehaves_sets_one_order_aside(street: Street, allocate: Allocate, said: str) -> None:
    odd = street.sell()
    number = street.town.row(t.sales_order).number
    street.with_plugin("odd", lambda order, stock: allocate(order, stock) if order.number == number else None)
    street.sell()

    street.deal_out()

    assert len(street.asked()) == 1
    (issue,) = street.issues()
    assert issue.title.startswith(f"Order {number} could not be dealt out: {said}")
    assert issue.order_id == odd
    assert (street.town.merchant, street.place, "route") not in jobs.due(street.town.hub)
    street.town.sound()

    # Once it behaves, “Route again” goes on with it.
    street.town.hub = replace(street.town.hub, registry=replace(street.town.hub.registry, allocators={}))
    with street.town.hub.database.write() as connection:
        at = street.town.hub.database.now(connection)
        routing_queue.mark(connection, street.town.merchant, [odd], at=at)
    street.deal_out()
    assert len(street.asked()) == 2
    assert street.issues() == []


def test_an_order_that_cannot_be_written_is_found_and_set_aside(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = street.sell(), street.sell()
    create = routing.fulfillment.create_all

    def refuse(connection: Connection, merchant_id: UUID, asked: Mapping[UUID, Any], **more: Any) -> list[UUID]:
        if bad in asked:
            raise RuntimeError("The database does not like it.")
        return create(connection, merchant_id, asked, **more)

    monkeypatch.setattr(routing.fulfillment, "create_all", refuse)
    street.deal_out()

    assert [row.order_id for row in street.town.rows(t.fulfillment_order)] == [good]
    (issue,) = street.issues()
    assert issue.title.endswith("could not be dealt out: RuntimeError: The database does not like it.")
    street.town.sound()


def test_a_stop_in_the_middle_sets_nothing_aside(street: Street) -> None:
    street.sell()

    def stop(order: Request, stock: Sequence[Place]) -> Mapping[str, Mapping[str, int]] | None:
        raise Interrupted("The worker stops.")

    street.with_plugin("slow", stop)
    with pytest.raises(Interrupted):
        street.deal_out()

    assert (street.asked(), street.issues()) == ([], [])
    with street.town.hub.database.read() as connection:
        at = street.town.hub.database.now(connection)
        assert len(routing_queue.due(connection, street.town.merchant, street.place, at, 9)) == 1


def test_a_plugin_offers_itself_by_the_hook() -> None:
    module = ModuleType("nearby")

    @hookimpl
    def allocate_order(order: Request, stock: Sequence[Place]) -> Mapping[str, Mapping[str, int]] | None:
        return {stock[0].id: {line.id: line.units for line in order.lines}} if stock else None

    module.allocate_order = allocate_order  # type: ignore[attr-defined]

    class Point(EntryPoint):
        def load(self) -> Any:
            return module

    found = [Point(name="nearby", value="nearby", group="hub")]
    registry: Registry = plugins.load(["nearby"], found)

    assert [each.error for each in registry.plugins] == [""]
    assert list(registry.allocators) == ["nearby"]
    request = Request(number="1", lines=(), places=())
    assert registry.allocators["nearby"](request, ()) is None
    assert registry.allocators["nearby"](request, (Place(id="a", name="A"),)) == {"a": {}}
