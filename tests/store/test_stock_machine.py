"""The stock of the database, changed by everything that may change it, against a reference that is plainly right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from sqlalchemy import insert, select, update

from hub.core.allocation import QueueOrder, StockPolicy
from hub.core.model import Order, OrderStatus
from hub.core.services import Received
from hub.core.stock import Condition
from hub.errors import BadInput, Conflict
from hub.store import kits, orders, policies, publications, stock
from hub.store import tables as t
from hub.store import warehouse as acts
from hub.store.database import Database, new_id
from hub.store.secrets import KeyRing
from tests.core.making import a_line, an_order
from tests.long_form import examples
from tests.stock_reference import Line, Place, Reference
from tests.store.stock_as_stored import stored
from tests.store.warehouse import OWNER, Warehouse

NOON = datetime(2035, 3, 2, 12, 0, tzinfo=UTC)  # after every count, whatever the clock says
SKUS = ("MUG", "TEE", "CAP")
KITS: Mapping[str, Mapping[str, int]] = {
    "SET": {"MUG": 1, "TEE": 2},
    "SIX": {"MUG": 3},
    "ALL": {"SET": 1, "CAP": 1},  # a kit in a kit
}
LEAVES = {"SET": {"MUG": 1, "TEE": 2}, "SIX": {"MUG": 3}, "ALL": {"MUG": 1, "TEE": 2, "CAP": 1}}
GOODS = (*SKUS, *KITS)

orders_of = st.integers(0, 5)
units = st.integers(0, 6)
few = st.integers(1, 4)
EDITS = ("ship", "ship", "unship", "remove", "cancel", "reopen", "delete", "turn")
somewhere = st.integers(0, 1)
skus = st.sampled_from(SKUS)
sold = st.lists(st.tuples(st.sampled_from(GOODS), units), min_size=1, max_size=3)


@dataclass
class Sold:
    """A line as its shop tells it, and what the hub has taken off its shelves for it."""

    listing: str
    quantity: int
    fulfilled: int = 0
    removed: int = 0
    shipped: int = 0
    before: int = 0  # fulfilled of what could not be taken off any shelf


@dataclass
class Bought:
    """An order as its shop tells it."""

    lines: dict[str, Sold]
    paid: bool = True
    promised: bool = False
    status: OrderStatus = OrderStatus.OPEN
    version: int = 0
    expired: bool = False
    elsewhere: bool = False  # the shop ships it from a warehouse of its own
    ids: dict[str, UUID] = field(default_factory=dict)


class StoredStock(RuleBasedStateMachine):
    """One merchant of a database, who does all there is to do."""

    def __init__(self, database: Database, keyring: KeyRing) -> None:
        super().__init__()
        merchant = new_id()
        with database.write() as connection:
            at = database.now(connection)
            connection.execute(insert(t.merchant).values(id=merchant, name="Corner Shop", created_at=at))
        self.database, self.merchant = database, merchant
        self.warehouse = Warehouse(database, keyring, merchant)
        self.bought: dict[int, Bought] = {}
        self.transfers: list[tuple[UUID, str, int, int]] = []  # the paper, the SKU, units on their way, and whither
        self.policy = StockPolicy()
        self.late = False
        self.numbers = count(1)
        self.here = (database, merchant)

    @initialize(late=st.booleans(), on_hand=st.lists(units, min_size=3, max_size=3), barn=st.booleans())
    def begin(self, late: bool, on_hand: list[int], barn: bool) -> None:
        self.late = late
        self.shop = self.warehouse.connect(live=True)
        self.places = [self.warehouse.location(), self.warehouse.location("Barn")]
        self.reference = Reference(self.places)
        self.ids = {code: self.warehouse.sku(code) for code in GOODS}
        self.recipes = {code: dict(LEAVES[code]) for code in KITS}
        for code, made_of in KITS.items():
            kits.define(*self.here, self.ids[code], {self.ids[part]: each for part, each in made_of.items()}, OWNER)
        for code in GOODS:
            self.warehouse.listing(self.shop, code.lower(), self.ids[code])
        for code, units in zip(SKUS, on_hand, strict=True):
            for location in self.places[: 1 + barn]:
                acts.adjust(*self.here, self.ids[code], location, units, "opening", OWNER, self.paper())
                self.reference.open((self.ids[code], location), units)

    # ------------------------------------------------------------ orders

    @rule(number=orders_of, sold=sold, paid=st.booleans(), promised=st.booleans())
    def order(self, number: int, sold: list[tuple[str, int]], paid: bool, promised: bool) -> None:
        """An order comes in, or is edited: lines change, go and come."""
        order = self.bought.setdefault(number, Bought({}))
        for position, (listing, quantity) in enumerate(sold, start=1):
            line = order.lines.setdefault(str(position), Sold(listing, 0))
            line.quantity = max(quantity, line.fulfilled + line.removed)
        order.paid, order.promised, order.expired = paid, promised, False
        self.hear(number, gone=set(order.lines) - {str(each) for each in range(1, len(sold) + 1)})

    @precondition(lambda self: self.bought)
    @rule(data=st.data(), what=st.sampled_from(EDITS))
    def change(self, data: st.DataObject, what: str) -> None:
        number = data.draw(st.sampled_from(sorted(self.bought)))
        order = self.bought[number]
        for line in order.lines.values():
            rest = line.quantity - line.fulfilled - line.removed
            match what:
                case "ship":
                    line.fulfilled += data.draw(st.integers(0, rest))
                case "unship":
                    line.fulfilled -= data.draw(st.integers(0, line.fulfilled))
                case "remove":
                    line.removed += data.draw(st.integers(0, rest))
        order.status = {
            "cancel": OrderStatus.CANCELLED,
            "delete": OrderStatus.REMOVED,
            "reopen": OrderStatus.OPEN,
        }.get(what, order.status)
        order.expired = False
        order.elsewhere = order.elsewhere != (what == "turn")
        self.hear(number)

    @precondition(lambda self: self.policy.unpaid_hours is not None)
    @rule()
    def nobody_pays(self) -> None:
        """The time of all unpaid orders is over."""
        order = t.sales_order.c
        with self.database.write() as connection:
            late = database_now(self.database) - timedelta(seconds=1)
            connection.execute(
                update(t.sales_order)
                .where(order.merchant_id == self.merchant, order.hold_until.is_not(None))
                .values(hold_until=late)
            )
        orders.expire_unpaid(*self.here)
        for number in sorted(self.bought, key=lambda each: self.bought[each].ids.get("", UUID(int=0))):
            bought = self.bought[number]
            if not (bought.paid or bought.expired or bought.elsewhere) and bought.status is OrderStatus.OPEN:
                bought.expired = True
                self.ask(number)
        self.after(strict=False)

    def hear(self, number: int, gone: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        order = self.bought[number]
        order.version += 1
        removed = order.status is OrderStatus.REMOVED
        for each in gone:
            order.lines[each].quantity = order.lines[each].fulfilled + order.lines[each].removed
        value = self.told(number, order, gone)
        at = NOON + timedelta(seconds=next(self.numbers))
        received = Received(str(number), None if removed else value, at, at, alone=removed)
        if removed:
            self.warehouse.hear(self.shop, Received(str(number), None, at - timedelta(milliseconds=1)))
        self.warehouse.hear(self.shop, received)
        with self.database.read() as connection:
            line, sales = t.order_line.c, t.sales_order.c
            rows = connection.execute(
                select(line.external_id, line.id, line.order_id)
                .join_from(t.order_line, t.sales_order, sales.id == line.order_id)
                .where(sales.merchant_id == self.merchant, sales.external_id == str(number))
            ).all()
        for row in rows:
            order.ids[row.external_id] = row.id
            order.ids[""] = row.order_id
            if row.id not in self.reference.lines:
                listing = order.lines[row.external_id].listing
                parts = {self.ids[each]: per for each, per in self.recipes.get(listing, {listing: 1}).items()}
                self.reference.lines[row.id] = Line(row.id, row.order_id, parts, value.placed_at)
        self.ask(number, gone)
        self.after()

    def told(self, number: int, order: Bought, gone: set[str]) -> Order:
        lines = [
            a_line(each.quantity, id=id, listing=each.listing.lower(), fulfilled=each.fulfilled, removed=each.removed)
            for id, each in sorted(order.lines.items())
            if id not in gone
        ]
        return an_order(
            *lines,
            id=str(number),
            status=order.status if order.status is not OrderStatus.REMOVED else OrderStatus.OPEN,
            version=NOON + timedelta(seconds=order.version),
            placed_at=NOON + timedelta(minutes=(number * 7) % 5),
            promised_at=NOON + timedelta(days=number) if order.promised else None,
            paid=order.paid,
            holds_stock=order.status is OrderStatus.OPEN,
            shipped_by_channel=order.elsewhere,
        )

    def ask(self, number: int, gone: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        """What the order means for the reference: what left leaves it, and the rest is asked for."""
        order = self.bought[number]
        self.line_up(number)
        known = [(id, order.lines[id]) for id in (*sorted(gone), *sorted(order.lines.keys() - gone))]
        for id, sold in known:
            line = self.reference.lines[order.ids[id]]
            if id not in gone and order.status is not OrderStatus.REMOVED and not order.expired:
                left = 0 if order.elsewhere else sold.fulfilled
                to_ship = max(0, left - sold.before) - sold.shipped
                if to_ship > 0:
                    missing = self.reference.ship(line, to_ship) if not self.late else {}
                    whole = to_ship - max((-(-each // line.parts[sku]) for sku, each in missing.items()), default=0)
                    sold.shipped += whole
                    sold.before += to_ship - whole
                elif to_ship < 0:
                    if not self.late:
                        self.reference.unship(line, -to_ship)
                    sold.shipped += to_ship
            holds = order.status is OrderStatus.OPEN and not (order.expired or order.elsewhere) and id not in gone
            if not self.late:
                self.reference.want(line, sold.quantity - sold.fulfilled - sold.removed if holds else 0)

    def line_up(self, number: int) -> None:
        """The place of the order in the queue."""
        order = self.bought[number]
        value = self.told(number, order, set())
        for id, line_id in order.ids.items():
            if id:
                line = self.reference.lines[line_id]
                line.rank = self.policy.rank(value.total.amount, value.promised_at)
                line.together = self.policy.hold_together

    # ------------------------------------------------------------ the warehouse

    @rule(sku=skus, where=somewhere, on_hand=units, counted=st.booleans())
    def correct(self, sku: str, where: int, on_hand: int, counted: bool) -> None:
        place = (self.ids[sku], self.places[where])
        if counted:
            acts.count(*self.here, place[1], {place[0]: on_hand}, "yearly", OWNER, self.paper())
        else:
            acts.adjust(*self.here, *place, on_hand, "found", OWNER, self.paper())
        if place in self.reference.opened:
            self.mirror(lambda: self.reference.correct(place, on_hand))
        else:
            self.reference.open(place, on_hand)
        self.after()

    @rule(where=somewhere, lines=st.dictionaries(skus, few, min_size=1, max_size=3))
    def receive(self, where: int, lines: dict[str, int]) -> None:
        location = self.places[where]
        received = {self.ids[sku]: units for sku, units in lines.items()}
        acts.receive(*self.here, location, received, self.paper(), OWNER)
        for sku_id, units in received.items():
            if (sku_id, location) not in self.reference.opened:
                self.reference.open((sku_id, location), 0)
            self.reference.on_hand[sku_id, location] += units
        self.after()

    @rule(sku=skus, where=somewhere, units=few)
    def send(self, sku: str, where: int, units: int) -> None:
        place, to = (self.ids[sku], self.places[where]), (self.ids[sku], self.places[1 - where])
        free = self.stored().free(place) if place in self.reference.opened else 0
        if not free:
            with_refusal(lambda: acts.send(*self.here, place[1], to[1], {place[0]: units}, self.paper(), OWNER))
            return
        units = min(units, free)
        paper, _ = acts.send(*self.here, place[1], to[1], {place[0]: units}, self.paper(), OWNER)
        self.transfers.append((paper, sku, units, 1 - where))
        self.mirror(lambda: self.reference.send(place, to, units))
        self.after()

    @precondition(lambda self: self.transfers)
    @rule(data=st.data(), arrived=st.booleans())
    def end_transfer(self, data: st.DataObject, arrived: bool) -> None:
        paper, sku, units, where = self.transfers.pop()
        place = (self.ids[sku], self.places[where])
        came = data.draw(st.integers(1, units)) if arrived else units
        if arrived:
            acts.arrive(*self.here, paper, {place[0]: came}, OWNER)
            if came < units:
                self.transfers.append((paper, sku, units - came, where))
        else:
            acts.close_transfer(*self.here, paper, OWNER)

        def mirrored() -> None:
            self.reference.incoming[place] -= came
            self.reference.on_hand[place] += came if arrived else 0

        self.mirror(mirrored)
        self.after()

    @rule(
        sku=skus,
        where=somewhere,
        units=few,
        condition=st.sampled_from(Condition),
        what=st.sampled_from(["aside", "restore", "off"]),
    )
    def set_aside(self, sku: str, where: int, units: int, condition: Condition, what: str) -> None:
        place = (self.ids[sku], self.places[where])
        now = self.stored()
        aside = now.quarantined if condition is Condition.QUARANTINED else now.damaged
        most = now.on_hand[place] - now.quarantined[place] - now.damaged[place] if what == "aside" else aside[place]
        more = (condition, "a reason", OWNER, self.paper())
        act = {"aside": acts.set_aside, "restore": acts.restore, "off": acts.write_off}[what]
        if place not in self.reference.opened or not most:
            with_refusal(lambda: act(*self.here, *place, units, *more))
            return
        units = min(units, most)
        act(*self.here, *place, units, *more)

        def mirrored() -> None:
            kept = self.reference.quarantined if condition is Condition.QUARANTINED else self.reference.damaged
            if what == "aside":
                self.reference.set_aside(place, units, kept)
            else:
                kept[place] -= units
                self.reference.on_hand[place] -= units if what == "off" else 0

        self.mirror(mirrored)
        self.after()

    # ------------------------------------------------------------ the office

    @rule(together=st.booleans(), queue=st.sampled_from(QueueOrder), unpaid=st.sampled_from([None, 24]))
    def set_policy(self, together: bool, queue: QueueOrder, unpaid: int | None) -> None:
        self.policy = StockPolicy(hold_together=together, queue=queue, unpaid_hours=unpaid)
        policies.save(*self.here, self.policy, OWNER)
        for number in self.bought:
            self.line_up(number)
        self.after()

    @rule(mugs=few, tees=st.integers(0, 2))
    def change_a_kit(self, mugs: int, tees: int) -> None:
        """Orders that are here keep the set as it was when they came in; a kit that has it in it changes with it."""
        parts = {"MUG": mugs} | ({"TEE": tees} if tees else {})
        kits.define(*self.here, self.ids["SET"], {self.ids[part]: each for part, each in parts.items()}, OWNER)
        self.recipes["SET"], self.recipes["ALL"] = parts, {**parts, "CAP": 1}

    @rule()
    def serve_woken(self) -> None:
        stock.serve_woken(*self.here)

    # ------------------------------------------------------------ comparing

    def paper(self) -> str:
        return f"paper {next(self.numbers)}"

    def mirror(self, work: Callable[[], object]) -> None:
        if not self.late:
            work()

    def after(self, *, strict: bool = True) -> None:
        """Give what is free to those who wait, and look whether both have come to the same."""
        if self.late:
            return
        stock.serve_woken(*self.here)
        self.reference.serve()
        actual = self.stored()
        self.compare(actual, strict)
        for line in self.reference.lines.values():
            line.held, line.waiting = actual.lines[line.id].held, actual.lines[line.id].waiting

    def compare(self, actual: Reference, strict: bool) -> None:
        assert actual.opened == self.reference.opened
        for place in actual.opened:
            assert figures(actual, place) == figures(self.reference, place)
        if strict:
            said = {id: (line.holds, line.waiting) for id, line in self.reference.lines.items()}
            assert {id: (line.holds, line.waiting) for id, line in actual.lines.items()} == said
        for id, line in actual.lines.items():
            if line.waiting:
                theirs = self.reference.lines[id]
                assert (line.turn, line.group) == (theirs.turn, theirs.group)
        actual.check()

    def stored(self) -> Reference:
        with self.database.read() as connection:
            return stored(connection, self.merchant)

    def teardown(self) -> None:
        if not hasattr(self, "reference"):
            return
        stock.serve_woken(*self.here)
        actual = self.stored()
        actual.check()
        self.shown(actual)
        self.warehouse.sound()

    def shown(self, actual: Reference) -> None:
        """The shop sees what is free at the first location, and of a kit as many as can be made up there."""
        with self.database.read() as connection:
            for code, sku_id in self.ids.items():
                (said,) = publications.preview(connection, self.merchant, sku_id)
                made_of = self.recipes.get(code, {code: 1})
                can_be_made = min(
                    actual.free((self.ids[part], self.places[0])) // units for part, units in made_of.items()
                )
                assert said.figure is not None
                assert said.figure.quantity == can_be_made


def figures(of: Reference, place: Place) -> tuple[int, ...]:
    return of.on_hand[place], of.quarantined[place], of.damaged[place], of.incoming[place]


def database_now(database: Database) -> datetime:
    with database.read() as connection:
        return database.now(connection)


def with_refusal(act: Callable[[], Any]) -> None:
    """What cannot be is refused, with a sentence."""
    try:
        act()
    except (BadInput, Conflict) as refused:
        assert str(refused).endswith((".", "?"))
    else:
        raise AssertionError("this should have been refused")


@pytest.mark.timeout(900)
def test_the_stored_stock_is_what_the_reference_says(database: Database, keyring: KeyRing) -> None:
    run_state_machine_as_test(lambda: StoredStock(database, keyring), settings=examples(12, steps=25))
