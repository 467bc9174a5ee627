"""Dealing orders out in the database: stock is held where it is shipped from, each decision is kept, others go on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, insert, update

from hub.core.model import Address, HoldReason, Order, OrderStatus
from hub.core.plain import from_plain, to_plain
from hub.core.routing import Decision, Do, Request, RoutingPolicy, Rule, decide
from hub.core.shipping import ProviderState
from hub.errors import Conflict
from hub.store import forgetting, fulfillment, holds, locations, routing, routing_queue, routing_rules
from hub.store import tables as t
from hub.store.locations import Location
from tests.core.making import a_line, an_order, minutes
from tests.statements import statements
from tests.store.keeper import Keeper
from tests.store.warehouse import OWNER, Warehouse

LEEDS = Address(city="Leeds", postcode="LS1 4AP", country="GB")
BERLIN = Address(city="Berlin", postcode="10115", country="DE")
YORK = Address(name="Jo", line1="1 High Street", city="York", postcode="YO1 7HH", country="GB")


class Merchant:
    """Sells mugs and tees from Leeds and from Berlin; customers live in York."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        self.shop = warehouse.connect(live=True)
        self.main = warehouse.location()
        self.mug, self.tee = warehouse.sku("MUG"), warehouse.sku("TEE")
        for listing, sku in (("mug", self.mug), ("tee", self.tee)):
            warehouse.listing(self.shop, listing, sku)
        self.leeds = self.open("Leeds", LEEDS)
        self.berlin = self.open("Berlin", BERLIN)
        self.drop(self.main)

    def open(self, name: str, address: Address, **more: Any) -> UUID:
        house = self.warehouse
        return locations.save(house.database, house.merchant, None, Location(name=name, address=address, **more), OWNER)

    def drop(self, location_id: UUID) -> None:
        """The location that the connection brought along ships nothing."""
        with self.warehouse.database.write() as connection:
            connection.execute(update(t.location).where(t.location.c.id == location_id).values(ships=False))

    def stock(self, **units: Mapping[UUID, int]) -> None:
        for name, by_place in units.items():
            for place, on_hand in by_place.items():
                self.warehouse.count({"mug": self.mug, "tee": self.tee}[name], on_hand, place)

    def sell(self, number: str, *listings: tuple[str, int], **more: Any) -> UUID:
        lines = [a_line(units, id=str(nth), listing=listing) for nth, (listing, units) in enumerate(listings, start=1)]
        self.hear(an_order(*lines, id=number, shipping_address=YORK, **more))
        return self.order(number)

    def hear(self, order: Order) -> None:
        self.warehouse.hear(self.shop, order)

    def order(self, number: str) -> UUID:
        row = self.warehouse.row(t.sales_order, t.sales_order.c.external_id == number)
        assert isinstance(row.id, UUID)
        return row.id

    def route(self, *order_ids: UUID, **more: Any) -> routing.Outcome:
        database = self.warehouse.database

        def work(connection: Connection) -> routing.Outcome:
            at = database.now(connection)
            return routing.route(connection, self.warehouse.merchant, order_ids, at=at, **more)

        return database.transact(work)

    def due(self) -> list[UUID]:
        database = self.warehouse.database
        with database.read() as connection:
            at = database.now(connection)
            return routing_queue.due(connection, self.warehouse.merchant, self.shop, at, 100)

    def policy(self, *rules: Rule, **more: Any) -> None:
        house = self.warehouse
        with house.database.read() as connection:
            number, _ = routing_rules.policy(connection, house.merchant)
        wanted = RoutingPolicy(rules=rules or RoutingPolicy().rules, **more)
        routing_rules.save(house.database, house.merchant, wanted, "", OWNER, after=number)

    def asked(self) -> list[tuple[str, str, dict[str, int]]]:
        """(location, state, units by line) of every fulfillment order."""
        names = {row.id: row.name for row in self.warehouse.rows(t.location)}
        lines = {row.id: row.external_id for row in self.warehouse.rows(t.order_line)}
        found = []
        for row in sorted(self.warehouse.rows(t.fulfillment_order), key=lambda each: each.id):
            mine = self.warehouse.rows(t.fulfillment_line, t.fulfillment_line.c.fulfillment_order_id == row.id)
            units = {lines[each.order_line_id]: each.quantity for each in mine}
            found.append((names[row.location_id], row.state, units))
        return found

    def held(self) -> dict[str, int]:
        """Units that are allocated, by location."""
        names = {row.id: row.name for row in self.warehouse.rows(t.location)}
        found: dict[str, int] = {}
        for row in self.warehouse.rows(t.allocation):
            found[names[row.location_id]] = found.get(names[row.location_id], 0) + row.quantity
        return found

    def decisions(self) -> list[Any]:
        return sorted(self.warehouse.rows(t.routing_decision), key=lambda row: row.id)


@pytest.fixture
def house(warehouse: Warehouse) -> Merchant:
    return Merchant(warehouse)


def test_holds_the_units_where_they_are_shipped_from(house: Merchant) -> None:
    house.stock(mug={house.berlin: 5, house.leeds: 5}, tee={house.berlin: 5, house.leeds: 5})
    order = house.sell("100", ("mug", 2), ("tee", 1))
    assert house.due() == [order]

    house.route(order)

    assert house.asked() == [("Leeds", "open", {"1": 2, "2": 1})]
    assert house.held() == {"Leeds": 3}
    assert house.due() == []
    (decision,) = house.decisions()
    assert decision.summary == "Leeds: nearest of the 2 that have both lines (roughly: only the country is known)."
    assert (decision.cause, decision.policy_number) == ("imported", 0)
    told = house.warehouse.row(t.activity, t.activity.c.kind == "routed")
    assert (told.summary, told.order_id, told.details) == (decision.summary, order, {"decision": str(decision.id)})
    house.warehouse.sound()


def test_a_decision_is_kept_with_all_that_makes_it_again(house: Merchant) -> None:
    house.stock(mug={house.berlin: 5, house.leeds: 5})
    house.route(house.sell("100", ("mug", 2), tags=("gift",)))

    (kept,) = house.decisions()
    request = from_plain(Request, kept.inputs)

    assert to_plain(decide(request, RoutingPolicy())) == kept.outcome
    assert (request.country, request.postcode, request.channel) == ("GB", "YO1 7HH", str(house.shop))
    assert (request.value, request.tags, request.roughly) == (20, ("gift",), True)
    assert {place.name: place.stock for place in request.places} == {
        "Berlin": {str(house.mug): 5},
        "Leeds": {str(house.mug): 5},
        "Main warehouse": {},
    }


def test_is_dealt_out_once_however_often_it_is_due(house: Merchant) -> None:
    house.stock(mug={house.leeds: 5})
    order = house.sell("100", ("mug", 2))
    house.route(order)
    before = house.warehouse.digest(t.fulfillment_order, t.fulfillment_line, t.routing_decision, t.stock_entry)

    house.route(order)

    assert house.warehouse.digest(t.fulfillment_order, t.fulfillment_line, t.routing_decision, t.stock_entry) == before


def test_two_parcels_hold_stock_at_both_places(house: Merchant) -> None:
    house.stock(mug={house.berlin: 5}, tee={house.leeds: 5})
    house.route(house.sell("100", ("mug", 2), ("tee", 1)))

    assert house.asked() == [("Leeds", "open", {"2": 1}), ("Berlin", "open", {"1": 2})]
    assert house.held() == {"Berlin": 2, "Leeds": 1}
    house.warehouse.sound()


def test_orders_of_one_batch_see_what_those_before_have_taken(house: Merchant) -> None:
    house.stock(mug={house.leeds: 3, house.berlin: 3})
    orders = [house.sell(number, ("mug", 2)) for number in ("100", "101")]

    house.route(*orders)

    assert house.asked() == [("Leeds", "open", {"1": 2}), ("Berlin", "open", {"1": 2})]
    assert house.held() == {"Leeds": 2, "Berlin": 2}
    requests = [from_plain(Request, each.inputs) for each in house.decisions()]
    assert [{place.name: place.load for place in each.places}["Leeds"] for each in requests] == [0, 1]
    house.warehouse.sound()


def test_a_kit_goes_where_all_its_parts_are(house: Merchant) -> None:
    box = house.warehouse.kit("BOX", {house.mug: 2, house.tee: 1})
    house.warehouse.listing(house.shop, "box", box)
    house.stock(mug={house.leeds: 2, house.berlin: 9}, tee={house.leeds: 2, house.berlin: 9})

    house.route(house.sell("100", ("box", 2)))

    assert house.asked() == [("Berlin", "open", {"1": 2})]
    assert house.held() == {"Berlin": 6}
    house.warehouse.sound()


def test_what_waits_for_stock_keeps_the_rest_unless_parts_may_go(house: Merchant) -> None:
    house.stock(mug={house.leeds: 5}, tee={house.leeds: 0})
    order = house.sell("100", ("mug", 2), ("tee", 1))

    house.route(order)
    assert house.asked() == []
    house.policy(in_parts=True)
    house.route(order)
    assert house.asked() == [("Leeds", "open", {"1": 2})]

    house.stock(tee={house.berlin: 1})
    assert house.due() == [order]
    house.route(order)
    assert house.asked() == [("Leeds", "open", {"1": 2}), ("Berlin", "open", {"2": 1})]
    assert [each.cause for each in house.decisions()] == ["imported", "again"]
    house.warehouse.sound()


def test_what_is_to_be_matched_keeps_the_rest_and_is_looked_at_again(house: Merchant) -> None:
    house.stock(mug={house.leeds: 5})
    listing = house.warehouse.listing(house.shop, "scarf")
    order = house.sell("100", ("mug", 1), ("scarf", 1))

    house.route(order)
    assert house.asked() == []
    assert house.due() == []
    house.warehouse.let_pass(t.routing_mark, "due_at", routing.LOOK_AGAIN)
    assert house.due() == [order]

    # A product that nobody wants matched holds nothing back.
    with house.warehouse.database.write() as connection:
        at = house.warehouse.database.now(connection)
        connection.execute(update(t.listing).where(t.listing.c.id == listing).values(ignored_at=at))
    house.route(order)
    assert house.asked() == [("Leeds", "open", {"1": 1})]


def test_where_nobody_can_ship_it_a_person_is_told_until_somebody_can(house: Merchant) -> None:
    house.stock(mug={house.leeds: 5})
    house.policy(Rule(do=Do.NEVER, places=(str(house.leeds),)))
    order = house.sell("100", ("mug", 1))

    house.route(order)

    issue = house.warehouse.row(t.issue, t.issue.c.kind == routing.NOBODY)
    assert issue.title.startswith("No location ships order #100. No location may ship it: ")
    assert "Leeds a rule shuts it out" in issue.title
    assert issue.link == f"/orders/{order}"
    assert house.asked() == []
    assert house.held() == {"Leeds": 1}

    house.policy(Rule(do=Do.NEAREST))
    house.route(order)
    assert house.asked() == [("Leeds", "open", {"1": 1})]
    assert house.warehouse.row(t.issue, t.issue.c.kind == routing.NOBODY).resolved_at is not None


def test_an_order_that_cannot_be_decided_about_holds_back_no_other(house: Merchant) -> None:
    house.stock(mug={house.leeds: 5})
    bad, good = house.sell("100", ("mug", 1)), house.sell("101", ("mug", 1))

    def fail(request: Request) -> Decision | None:
        if request.number == "#100":
            raise RuntimeError("It is Monday.")
        return None

    outcome = house.route(bad, good, allocate=fail)

    assert {order: str(error) for order, error in outcome.failed.items()} == {bad: "It is Monday."}
    assert house.asked() == [("Leeds", "open", {"1": 1})]
    assert [row.order_id for row in house.decisions()] == [good]
    assert house.due() == []
    house.warehouse.sound()


@pytest.mark.parametrize("status", ["cancelled", "fulfilled", "pending"])
def test_only_open_orders_are_dealt_out(house: Merchant, status: str) -> None:
    house.stock(mug={house.leeds: 5})
    order = house.sell("100", ("mug", 1))
    with house.warehouse.database.write() as connection:
        connection.execute(update(t.sales_order).values(status=status))

    house.route(order)

    assert (house.asked(), house.decisions(), house.due()) == ([], [], [])


@pytest.mark.parametrize("before", [OrderStatus.PENDING, OrderStatus.CANCELLED])
def test_an_order_that_opens_later_is_dealt_out_then(house: Merchant, before: OrderStatus) -> None:
    """Most channels tell of an order while it is being paid. Its stock is held from then on."""
    house.stock(mug={house.leeds: 5})
    order = house.sell("100", ("mug", 2), status=before, version=minutes(1))
    house.route(order)
    assert (house.asked(), house.due()) == ([], [])

    house.hear(an_order(a_line(2, listing="mug"), id="100", shipping_address=YORK, version=minutes(2)))

    assert house.due() == [order]
    house.route(order)
    assert house.asked() == [("Leeds", "open", {"1": 2})]


def test_after_a_rejection_another_location_is_asked(house: Merchant) -> None:
    house.stock(mug={house.leeds: 5, house.berlin: 5})
    order = house.sell("100", ("mug", 2))
    house.route(order)

    def reject(connection: Connection) -> None:
        at = house.warehouse.database.now(connection)
        row = house.warehouse.row(t.fulfillment_order)
        locked = fulfillment.locked(connection, house.warehouse.merchant, row.id)
        fulfillment.change(connection, locked, fulfillment.State.REJECTED, at=at, message="the roof leaks")
        assert fulfillment.deal_out_again(connection, house.warehouse.merchant, order, at=at) == [(house.shop, "route")]

    house.warehouse.database.transact(reject)
    assert house.due() == [order]
    house.route(order)

    assert house.asked() == [("Leeds", "rejected", {"1": 2}), ("Berlin", "open", {"1": 2})]
    assert house.held() == {"Berlin": 2}
    _, second = house.decisions()
    assert (second.cause, second.summary) == ("rejected", "Berlin: the only location that has it and may ship it.")
    assert from_plain(Request, second.inputs).refused == {str(house.leeds): "the roof leaks"}
    house.warehouse.sound()


def test_the_customer_fetches_it_at_the_shop(house: Merchant) -> None:
    shop = house.open("Corner", BERLIN, kind="shop", ships=False, collects=True)
    house.stock(mug={house.leeds: 5, shop: 1})
    order = house.sell("100", ("mug", 1))
    with house.warehouse.database.write() as connection:
        connection.execute(update(t.sales_order).values(collect_at=shop))

    house.route(order)

    assert house.asked() == [("Corner", "open", {"1": 1})]
    assert house.warehouse.row(t.fulfillment_order).collect
    assert house.decisions()[0].summary == "Corner: the customer fetches it there."


def test_the_wanted_service_goes_along(house: Merchant) -> None:
    house.stock(mug={house.leeds: 5, house.berlin: 5})
    database, merchant = house.warehouse.database, house.warehouse.merchant
    routing_rules.say_service(database, merchant, " DHL Express Worldwide ", "Express", OWNER)
    leeds = Location(name="Leeds", address=LEEDS, services=("standard",))
    locations.save(database, merchant, house.leeds, leeds, OWNER)

    house.route(house.sell("100", ("mug", 1), shipping_method="DHL Express Worldwide"))

    assert house.asked() == [("Berlin", "open", {"1": 1})]
    assert house.warehouse.row(t.fulfillment_order).service == "express"
    with database.read() as connection:
        assert routing_rules.methods(connection, merchant) == ["dhl express worldwide"]
        assert routing_rules.services(connection, merchant) == {"dhl express worldwide": "express"}


def test_what_labels_cost_of_late_is_what_the_next_will_cost(house: Merchant) -> None:
    house.stock(mug={house.leeds: 9, house.berlin: 9})
    with house.warehouse.database.write() as connection:
        connection.execute(update(t.listing).values(weight_grams=400))
    orders = [house.sell(number, ("mug", 1)) for number in ("100", "101", "102")]
    house.route(*orders)
    for number, (row, cents) in enumerate(zip(house.warehouse.rows(t.fulfillment_order), (490, 700, 510), strict=True)):
        label(house, row, number, cents)

    house.route(house.sell("103", ("mug", 1)), house.sell("104", ("mug", 5)))

    small, large = (from_plain(Request, each.inputs) for each in house.decisions()[3:])
    assert {place.name: str(place.cost) for place in small.places if place.cost} == {"Leeds": "5.10"}
    assert {place.name: str(place.cost) for place in large.places if place.cost} == {"Leeds": "5.10"}


def label(house: Merchant, row: Any, number: int, cents: int) -> None:
    with house.warehouse.database.write() as connection:
        at = house.warehouse.database.now(connection)
        shipment = {
            "merchant_id": row.merchant_id,
            "id": UUID(int=number + 1),
            "order_id": row.order_id,
            "fulfillment_order_id": row.id,
            "reference": f"S-{number}",
            "state": "shipped",
            "cost_minor": cents,
            "currency": "EUR",
            "created_at": at,
        }
        connection.execute(insert(t.shipment).values(**shipment))
        box = {"merchant_id": row.merchant_id, "id": UUID(int=number + 1), "shipment_id": UUID(int=number + 1)}
        connection.execute(insert(t.parcel).values(**box, number=1, weight_grams=500))


def test_of_a_forgotten_customer_only_that_it_was_routed_stays(house: Merchant) -> None:
    house.stock(mug={house.leeds: 5})
    kept, forgotten = house.sell("100", ("mug", 1)), house.sell("101", ("mug", 1))
    house.route(kept, forgotten)

    with house.warehouse.database.write() as connection:
        at = house.warehouse.database.now(connection)
        forgetting.erase_orders(connection, house.warehouse.merchant, [forgotten], at=at)

    by_order = {row.order_id: row for row in house.decisions()}
    assert (by_order[forgotten].inputs, by_order[forgotten].outcome) == ({}, {})
    assert by_order[forgotten].summary == "Routed (erased)"
    assert by_order[kept].inputs["postcode"] == "YO1 7HH"


# ---------------------------------------------------------------- the policy


def test_a_policy_holds_from_now_on_and_the_earlier_ones_stay(house: Merchant) -> None:
    house.stock(mug={house.leeds: 5, house.berlin: 5})
    house.route(house.sell("100", ("mug", 1)))
    house.policy(Rule(do=Do.NEVER, places=(str(house.leeds),)))
    house.route(house.sell("101", ("mug", 1)))

    assert [each.policy_number for each in house.decisions()] == [0, 1]
    assert [name for name, _, _ in house.asked()] == ["Leeds", "Berlin"]
    told = house.warehouse.row(t.activity, t.activity.c.kind == "routing_changed")
    assert (told.summary, told.actor) == ("Routing policy 1 holds from now on", OWNER)
    with house.warehouse.database.read() as connection:
        assert routing_rules.numbered(connection, house.warehouse.merchant, 0) == RoutingPolicy()
        assert routing_rules.numbered(connection, house.warehouse.merchant, 1) == RoutingPolicy(
            rules=(Rule(do=Do.NEVER, places=(str(house.leeds),)),)
        )
        assert routing_rules.numbered(connection, house.warehouse.merchant, 2) is None


def test_a_policy_made_from_an_old_one_is_refused(house: Merchant) -> None:
    house.policy()

    with pytest.raises(Conflict, match="Somebody has changed the routing policy meanwhile"):
        routing_rules.save(house.warehouse.database, house.warehouse.merchant, RoutingPolicy(), "", OWNER, after=0)
    assert [row.number for row in house.warehouse.rows(t.routing_policy)] == [1]


# ---------------------------------------------------------------- what it costs


def test_merchants_with_one_location_hardly_pay(warehouse: Warehouse) -> None:
    shop = warehouse.connect(live=True)
    warehouse.listing(shop, "mug", warehouse.sku("MUG", 100))
    for number in range(21):
        warehouse.hear(shop, an_order(a_line(1), id=str(number), shipping_address=YORK))
    orders = [row.id for row in sorted(warehouse.rows(t.sales_order), key=lambda row: row.id)]
    house = Merchant.__new__(Merchant)
    house.warehouse = warehouse

    with statements(house.warehouse.database) as one:
        house.route(orders[0])
    with statements(house.warehouse.database) as twenty:
        house.route(*orders[1:])

    assert len(house.asked()) == 21
    assert len(one) <= 30
    assert len(twenty) - len(one) <= 2, "statements for all, and none for each"
    assert not any("postal_place" in each.text or "shipment" in each.text for each in (*one, *twenty))
    stock_before = warehouse.rows(t.stock_entry, t.stock_entry.c.cause == "released")
    assert stock_before == []


def test_due_orders_come_oldest_first(house: Merchant) -> None:
    house.stock(mug={house.leeds: 9})
    first, second = house.sell("100", ("mug", 1)), house.sell("101", ("mug", 1))
    with house.warehouse.database.write() as connection:
        moment = house.warehouse.now() - timedelta(minutes=1)
        routing_queue.mark(connection, house.warehouse.merchant, [second], at=moment)

    assert house.due() == [second, first]


# ---------------------------------------------------------------- a 3PL that says no


def test_what_a_3pl_rejects_is_shipped_from_the_own_shelf(warehouse: Warehouse) -> None:
    keeper = Keeper(warehouse, mug=10)
    own = warehouse.location()
    warehouse.count(keeper.skus["mug"], 5, own)
    with warehouse.database.write() as connection:
        place = t.location.c
        connection.execute(update(t.location).where(place.id != own).values(priority=0))
        connection.execute(update(t.location).where(place.id == own).values(priority=9))
    keeper.depot.answer = ProviderState.REJECTED

    keeper.sell(("mug", 2))
    assert keeper.send() == ["submit succeeded"]
    keeper.route()

    names = {row.id: row.name for row in warehouse.rows(t.location)}
    asked = sorted(warehouse.rows(t.fulfillment_order), key=lambda row: row.number)
    assert [(row.location_id == own, row.state) for row in asked] == [(False, "rejected"), (True, "open")]
    assert [(row.location_id, row.quantity) for row in warehouse.rows(t.allocation)] == [(own, 2)]
    _, second = sorted(warehouse.rows(t.routing_decision), key=lambda row: row.id)
    assert second.cause == "rejected"
    assert second.summary == f"{names[own]}: the only location that has it and may ship it."
    assert len(keeper.depot.taken) == 1
    warehouse.sound()


def test_a_3pl_is_asked_only_when_nothing_holds_the_order(warehouse: Warehouse) -> None:
    keeper = Keeper(warehouse, mug=10)
    shop = warehouse.connect()
    warehouse.listing(shop, "mug", keeper.skus["mug"])
    warehouse.hear(shop, an_order(a_line(1), id="held", shipping_address=YORK))
    order = warehouse.row(t.sales_order)
    holds.hold_order(warehouse.database, warehouse.merchant, order.id, HoldReason.MANUAL, "Ask first.", OWNER)
    house = Merchant.__new__(Merchant)
    house.warehouse = warehouse

    house.route(order.id)
    assert [row.state for row in warehouse.rows(t.fulfillment_order)] == ["open"]
    assert keeper.send() == []

    (hold,) = warehouse.rows(t.order_hold)
    holds.release(warehouse.database, warehouse.merchant, order.id, hold.id, OWNER)
    outcome = house.route(order.id)
    assert outcome.lanes == [(keeper.id, "effects")]
    assert keeper.send() == ["submit succeeded"]
