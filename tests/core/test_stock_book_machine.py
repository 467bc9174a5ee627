"""The stock book against a reference so simple that it is plainly right, over any sequence of events.

Between two books stands a shelf of plain dicts that keeps what the database keeps, and answers as the database does: a
book sees the SKUs it was opened on, whoever else waits is called up from the queue, and woken groups are tried in a
book of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hub.core.model import StockLevel
from hub.core.stock import Cause, Claim, Condition, Place, StockBook
from tests.core.making import minutes
from tests.long_form import examples
from tests.stock_reference import Line, Reference

SKUS = [UUID(int=number) for number in (11, 12, 13, 14)]
A, B, C, D = SKUS
LOCATIONS = [UUID(int=number) for number in (1, 2)]
PLACES = [(sku, location) for sku in SKUS for location in LOCATIONS]
# What a line may sell: one SKU, several of it in a pack, or a kit. Some share parts.
GOODS: list[Mapping[UUID, int]] = [{A: 1}, {B: 1}, {C: 1}, {A: 2}, {A: 1, B: 2}, {B: 1, C: 1}, {A: 1, B: 1, C: 1, D: 1}]
ORDERS = range(8)

goods = st.lists(st.sampled_from(GOODS), min_size=1, max_size=3)
orders = st.sampled_from(ORDERS)
places = st.sampled_from(PLACES)
units = st.integers(0, 8)


class Shelf:
    """What the database keeps of stock, and how it answers."""

    def __init__(self) -> None:
        self.levels: dict[Place, StockLevel] = {}
        self.claims: dict[UUID, Claim] = {}
        self.entries: set[tuple[Place, Cause, str]] = set()

    def open(self, skus: Iterable[UUID], lines: Iterable[UUID] = ()) -> StockBook:
        """A book of these SKUs with these lines, as ``store.stock.open_book`` makes it."""
        wanted = set(skus)
        queued = [claim for claim in self.claims.values() if claim.waiting]
        return StockBook(
            {place: level for place, level in self.levels.items() if place[0] in wanted},
            [self.copy(line) for line in lines if line in self.claims],
            location_order=LOCATIONS,
            awaited=[sku for sku in wanted if any(in_queue(claim, sku) for claim in queued)],
            unsettled=[sku for sku in wanted if any(claim.woken and sku in claim.parts for claim in queued)],
            queue=self.queue,
        )

    def open_whole(self, skus: Iterable[UUID]) -> StockBook:
        """A book with everybody who holds these SKUs, and what they hold beside."""
        wanted = set(skus)
        holders = {id for id, claim in self.claims.items() if any(place[0] in wanted for place in claim.allocated)}
        parts = {sku for id in holders for sku in self.claims[id].parts}
        companions = {self.claims[id].order_id for id in holders}
        grouped = {id for id, claim in self.claims.items() if claim.waiting and claim.group_id in companions}
        return self.open(wanted | parts, sorted(holders | grouped))

    def copy(self, line: UUID) -> Claim:
        claim = self.claims[line]
        return replace(claim, allocated=dict(claim.allocated))

    def queue(self, sku: UUID, most: int) -> Sequence[Claim]:
        rows = sorted((each for each in self.claims.values() if in_queue(each, sku)), key=lambda each: each.turn)
        groups = {each.group_id for each in rows[:most]}
        return [self.copy(id) for id, each in self.claims.items() if each.waiting and each.group_id in groups]

    def woken(self) -> list[UUID]:
        """Groups to be tried, in the queue's order."""
        found = [each for each in self.claims.values() if each.waiting and each.woken]
        return list(dict.fromkeys(each.group_id for each in sorted(found, key=lambda each: each.turn)))

    def write(self, book: StockBook) -> None:
        """Everything the book changed, refused where the database would refuse it."""
        numbers = {place: level.entries for place, level in book.before.items()}
        numbers |= dict.fromkeys(book.opened, 0)
        for place in book.opened:
            assert place not in self.levels
            self.levels[place] = StockLevel()
        for each in book.movements:
            key = (each.place, each.cause, each.reference)
            assert isinstance(each.cause, Cause)
            assert each.reference
            assert key not in self.entries, "the ledger would refuse a second entry of the same cause and reference"
            self.entries.add(key)
            numbers[each.place] += 1
            assert each.after.entries == numbers[each.place]
            assert added(self.levels[each.place], each.change) == replace(each.after, entries=0)
            self.levels[each.place] = each.after
        assert all(book.level(place) == replace(self.levels[place], entries=0) for place in numbers)
        for short in book.shortages:
            assert short.reference
            assert 0 < short.units <= book.claims[short.line_id].waiting
            assert short.missing <= book.claims[short.line_id].parts.keys()
            assert short.missing
        for line in book.changed_claims:
            claim = book.claims[line]
            assert (line in self.claims) <= (line in book.loaded), "rows that the store would not replace"
            self.claims[line] = replace(
                claim,
                allocated=dict(claim.allocated),
                missing=frozenset(claim.parts) if claim.alone else claim.missing,
            )
            if not claim.waiting and not claim.allocated:
                del self.claims[line]
        for claim in self.claims.values():
            if claim.waiting and claim.group_id in book.woken:
                claim.woken = True


def in_queue(claim: Claim, sku: UUID) -> bool:
    return claim.waiting > 0 and sku in claim.parts and (claim.alone or sku in claim.missing or claim.woken)


def added(level: StockLevel, change: StockLevel) -> StockLevel:
    names = ("on_hand", "allocated", "quarantined", "damaged", "incoming")
    return StockLevel(**{name: getattr(level, name) + getattr(change, name) for name in names})


class Stock(RuleBasedStateMachine):
    """Orders, shipments and what happens in a warehouse, each in a book of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.shelf = Shelf()
        self.reference = Reference(LOCATIONS)
        self.orders: dict[int, list[Line]] = {}
        self.wanted: Counter[UUID] = Counter()
        self.transfers: list[tuple[Place, int]] = []
        self.revision = 0
        self.late = False  # woken groups are tried at some time, and not at once

    # ------------------------------------------------------------ books

    def change(self, book: StockBook, work: Callable[[str], object], reference: str) -> None:
        """Do something in a book and in the reference; then both give what is free to those who wait."""
        work(reference)
        book.serve(reference)
        self.shelf.write(book)
        if not self.late:
            self.reference.serve()
            self.settle()

    def settle(self) -> None:
        """Try all woken groups, then look whether everything is as it should be."""
        self.settle_all()
        if self.late:
            self.look_up()
        else:
            self.compare()

    def settle_all(self) -> None:
        while groups := self.shelf.woken():
            self.settle_some(groups[:2])

    def settle_some(self, groups: Sequence[UUID]) -> None:
        self.revision += 1
        lines = [id for id, claim in self.shelf.claims.items() if claim.waiting and claim.group_id in groups]
        book = self.shelf.open({sku for line in lines for sku in self.shelf.claims[line].parts}, lines)
        book.settle(groups, f"woken/{self.revision}")
        self.shelf.write(book)

    def next_reference(self, what: Any) -> str:
        self.revision += 1
        return f"{what}/{self.revision}"

    # ------------------------------------------------------------ orders

    @initialize(late=st.booleans(), on_hand=st.lists(units, min_size=len(PLACES), max_size=len(PLACES)))
    def begin(self, late: bool, on_hand: list[int]) -> None:
        self.late = late
        book = self.shelf.open(SKUS)
        for place, count in zip(PLACES, on_hand, strict=True):
            if place[1] == LOCATIONS[0] or count > 4:
                book.open(place, count, "adopt/1")
                self.reference.open(place, count)
        self.shelf.write(book)

    @rule(
        order=orders,
        goods=goods,
        wanted=st.lists(units, min_size=3, max_size=3),
        rank=st.integers(0, 2),
        more=st.data(),
    )
    def order(
        self, order: int, goods: list[Mapping[UUID, int]], wanted: list[int], rank: int, more: st.DataObject
    ) -> None:
        """An order comes in, or is edited: a cancelled one wants nothing any more."""
        if order not in self.orders:
            together = more.draw(st.booleans(), label="together")
            prefers = more.draw(st.sampled_from([(), LOCATIONS[1:]]), label="prefers")
            self.orders[order] = [
                Line(
                    UUID(int=1000 + 10 * order + position),
                    UUID(int=100 + order),
                    parts,
                    minutes((order * 5) % 7),
                    rank,
                    together,
                    prefers,
                )
                for position, parts in enumerate(goods)
            ]
            self.reference.lines |= {line.id: line for line in self.orders[order]}
        lines = self.orders[order]
        book = self.open_for(lines)

        def edit(reference: str) -> None:
            for line, count in zip(lines, wanted, strict=False):
                self.demand(book, line, count, reference)

        self.change(book, edit, self.next_reference(lines[0].order_id))

    @precondition(lambda self: self.orders)
    @rule(data=st.data())
    def several_orders_at_once(self, data: st.DataObject) -> None:
        """A batch: one book, in which each order is served in its turn."""
        some = data.draw(st.lists(st.sampled_from(sorted(self.orders)), min_size=1, max_size=4, unique=True))
        book = self.open_for([line for order in some for line in self.orders[order]])
        for order in some:
            reference = self.next_reference(UUID(int=100 + order))
            for line in self.orders[order]:
                self.demand(book, line, data.draw(units), reference)
            book.serve(reference)
            if not self.late:
                self.reference.serve()
        self.shelf.write(book)
        if self.late:
            return
        if self.shelf.woken():
            # What was kept for one of them may go to an order of the batch that is older than the one that came first.
            self.settle_all()
            self.look_up()
        self.compare()

    @precondition(lambda self: self.orders)
    @rule(data=st.data(), count=st.integers(1, 5))
    def ship(self, data: st.DataObject, count: int) -> None:
        line = self.a_line(data)
        book = self.open_for(self.orders[line.order_id.int - 100])

        def ship(reference: str) -> None:
            claim = self.claim(book, line)
            missing = book.ship(claim, count, reference)
            if not self.late:
                assert missing == self.reference.ship(line, count)
            self.demand(book, line, max(0, self.wanted[line.id] - count), reference)

        self.change(book, ship, self.next_reference(line.order_id))

    @precondition(lambda self: self.orders)
    @rule(data=st.data(), count=st.integers(1, 3))
    def unship(self, data: st.DataObject, count: int) -> None:
        line = self.a_line(data)
        book = self.open_for(self.orders[line.order_id.int - 100])

        def unship(reference: str) -> None:
            book.unship(self.claim(book, line), count, reference)
            self.reference.unship(line, count)
            self.demand(book, line, self.wanted[line.id] + data.draw(st.sampled_from([0, count])), reference)

        self.change(book, unship, self.next_reference(line.order_id))

    # ------------------------------------------------------------ the warehouse

    @rule(place=places, count=units)
    def count(self, place: Place, count: int) -> None:
        if place not in self.shelf.levels:
            book = self.shelf.open([place[0]])
            self.reference.open(place, count)
            self.change(book, lambda reference: book.open(place, count, reference), self.next_reference("first"))
            return
        book = self.shelf.open_whole([place[0]])
        change = count - self.shelf.levels[place].on_hand

        def correct(reference: str) -> None:
            book.correct(place, change, Cause.COUNTED, reference)
            if not self.late:
                self.reference.correct(place, count)

        self.change(book, correct, self.next_reference("count"))

    @rule(receipt=st.dictionaries(places, st.integers(1, 6), min_size=1, max_size=3))
    def receive(self, receipt: dict[Place, int]) -> None:
        book = self.shelf.open({sku for sku, _ in receipt})

        def receive(reference: str) -> None:
            for place, count in receipt.items():
                if place in book.before:
                    book.correct(place, count, Cause.RECEIVED, reference)
                    self.reference.on_hand[place] += count
                else:
                    book.open(place, count, reference)
                    self.reference.open(place, count)

        self.change(book, receive, self.next_reference("receipt"))

    @rule(place=places, condition=st.sampled_from(Condition), count=st.integers(1, 5))
    def set_aside(self, place: Place, condition: Condition, count: int) -> None:
        level = self.shelf.levels.get(place, StockLevel())
        count = min(count, level.on_hand - level.quarantined - level.damaged)
        if count <= 0:
            return
        book = self.shelf.open_whole([place[0]])

        def set_aside(reference: str) -> None:
            book.set_aside(place, count, condition, reference)
            if not self.late:
                self.reference.set_aside(place, count, self.aside(condition))

        self.change(book, set_aside, self.next_reference("aside"))

    @rule(place=places, condition=st.sampled_from(Condition), count=st.integers(1, 5), thrown_away=st.booleans())
    def restore_or_write_off(self, place: Place, condition: Condition, count: int, thrown_away: bool) -> None:
        level = self.shelf.levels.get(place, StockLevel())
        count = min(count, getattr(level, condition.value))
        if count <= 0:
            return
        book = self.shelf.open([place[0]])
        self.aside(condition)[place] -= count
        if thrown_away:
            self.reference.on_hand[place] -= count
        work = book.write_off if thrown_away else book.restore
        self.change(book, lambda reference: work(place, count, condition, reference), self.next_reference("back"))

    @rule(place=places, count=st.integers(1, 5))
    def send(self, place: Place, count: int) -> None:
        count = min(count, self.shelf.levels.get(place, StockLevel()).available)
        if count <= 0:
            return
        to = (place[0], LOCATIONS[place[1] == LOCATIONS[0]])
        book = self.shelf.open([place[0]])

        def send(reference: str) -> None:
            book.send(place, to, count, reference)
            if not self.late:
                self.reference.send(place, to, count)

        self.change(book, send, self.next_reference("transfer"))
        self.transfers.append((to, count))

    @precondition(lambda self: self.transfers)
    @rule(data=st.data(), arrived=st.booleans())
    def end_transfer(self, data: st.DataObject, arrived: bool) -> None:
        to, count = self.transfers.pop(data.draw(st.integers(0, len(self.transfers) - 1)))
        book = self.shelf.open([to[0]])

        def end(reference: str) -> None:
            (book.arrive if arrived else book.lose)(to, count, reference)
            self.reference.incoming[to] -= count
            self.reference.on_hand[to] += count if arrived else 0

        self.change(book, end, self.next_reference("transfer"))

    @precondition(lambda self: self.late)
    @rule(most=st.integers(1, 3))
    def serve_woken(self, most: int) -> None:
        if groups := self.shelf.woken():
            self.settle_some(groups[:most])

    # ------------------------------------------------------------ inside

    def open_for(self, lines: Sequence[Line]) -> StockBook:
        return self.shelf.open({sku for line in lines for sku in line.parts}, [line.id for line in lines])

    def claim(self, book: StockBook, line: Line) -> Claim:
        return book.claim(Claim(line.id, line.order_id, line.parts, line.since, line.rank, line.together, line.prefers))

    def demand(self, book: StockBook, line: Line, wanted: int, reference: str) -> None:
        self.wanted[line.id] = wanted
        book.demand(self.claim(book, line), wanted, reference)
        if not self.late:
            self.reference.want(line, wanted)

    def a_line(self, data: st.DataObject) -> Line:
        return data.draw(st.sampled_from([line for lines in self.orders.values() for line in lines]))

    def aside(self, condition: Condition) -> Counter[Place]:
        return self.reference.quarantined if condition is Condition.QUARANTINED else self.reference.damaged

    def compare(self) -> None:
        """The shelf is what the reference says; at which location an order's units lie is the book's own choice."""
        for place, level in self.shelf.levels.items():
            assert place in self.reference.opened
            assert (level.on_hand, level.quarantined, level.damaged, level.incoming) == (
                self.reference.on_hand[place],
                self.reference.quarantined[place],
                self.reference.damaged[place],
                self.reference.incoming[place],
            )
        for line in self.reference.lines.values():
            claim = self.shelf.claims.get(line.id)
            assert (claim.held if claim else 0, claim.waiting if claim else 0) == (line.holds, line.waiting)
        self.look_up()

    def look_up(self) -> None:
        """Let the reference look at the shelf as it is, so that it can say what is possible next."""
        for place, level in self.shelf.levels.items():
            self.reference.opened.add(place)
            self.reference.on_hand[place] = level.on_hand
            self.reference.quarantined[place] = level.quarantined
            self.reference.damaged[place] = level.damaged
            self.reference.incoming[place] = level.incoming
        for line in self.reference.lines.values():
            claim = self.shelf.claims.get(line.id)
            line.held = Counter(claim.allocated if claim else {})
            line.waiting = claim.waiting if claim else 0
        self.reference.check()

    # ------------------------------------------------------------ what holds at any moment

    @invariant()
    def nothing_is_promised_that_is_not_there(self) -> None:
        for place, level in self.shelf.levels.items():
            assert min(level.allocated, level.quarantined, level.damaged, level.incoming, level.available) >= 0
            assert level.allocated == sum(claim.allocated.get(place, 0) for claim in self.shelf.claims.values())

    @invariant()
    def every_line_holds_or_awaits_what_it_wants(self) -> None:
        have = {id: claim.held + claim.waiting for id, claim in self.shelf.claims.items()}
        assert {line: wanted for line, wanted in self.wanted.items() if wanted} == have

    @invariant()
    def kits_are_held_complete(self) -> None:
        for claim in self.shelf.claims.values():
            of_each = Counter[UUID]()
            for (sku, _), count in claim.allocated.items():
                of_each[sku] += count
            assert of_each == Counter({sku: claim.held * per_unit for sku, per_unit in claim.parts.items()})

    @invariant()
    def who_waits_for_one_sku_is_not_woken_but_served(self) -> None:
        """Beside free units only those may wait who have to be tried in a book of their own, or behind them."""
        free = Counter[UUID]()
        for place, level in self.shelf.levels.items():
            free[place[0]] += level.available
        unsettled = {sku for claim in self.shelf.claims.values() if claim.woken for sku in claim.parts}
        for claim in self.shelf.claims.values():
            if claim.waiting and claim.alone and not unsettled & claim.parts.keys():
                assert not free[next(iter(claim.parts))]

    def teardown(self) -> None:
        self.settle()


TestStock = Stock.TestCase
TestStock.settings = examples(60, steps=40)


# ---------------------------------------------------------------- what the machine has found


def a_kit_that_keeps_mugs_from_a_later_order() -> Stock:
    """Order 1, the first in the queue, is a kit of one A and two B, woken by a B that came in: nothing is tried yet.

    Order 2 behind it wants that B, and there is an A.
    """
    stock = Stock()
    stock.begin(late=True, on_hand=[0] * len(PLACES))
    for number, parts in ((1, {A: 1, B: 2}), (2, {B: 1})):
        stock.orders[number] = [Line(UUID(int=1000 + number), UUID(int=100 + number), parts, minutes(number))]
        stock.reference.lines |= {line.id: line for line in stock.orders[number]}
    stock.receive({(A, LOCATIONS[0]): 1})
    edit(stock, 1, 1)
    stock.receive({(B, LOCATIONS[0]): 1})
    edit(stock, 2, 1)
    assert stock.shelf.woken() == [UUID(int=1001)]
    assert stock.shelf.claims[UUID(int=1002)].waiting == 1
    return stock


def edit(stock: Stock, number: int, wanted: int) -> None:
    (line,) = stock.orders[number]
    book = stock.open_for([line])
    reference = stock.next_reference(line.order_id)
    stock.change(book, lambda reference: stock.demand(book, line, wanted, reference), reference)


def test_who_waits_behind_a_woken_kit_is_served_when_the_kit_is_cancelled() -> None:
    stock = a_kit_that_keeps_mugs_from_a_later_order()

    edit(stock, 1, 0)

    assert stock.shelf.claims[UUID(int=1002)].held == 1
    assert stock.shelf.woken() == []


def test_who_waits_behind_a_woken_kit_is_served_when_the_kit_was_tried_in_passing() -> None:
    """Not by ``settle``, but because another change opened a book of all its SKUs."""
    stock = a_kit_that_keeps_mugs_from_a_later_order()
    (kit,) = stock.orders[1]
    book = stock.open_for([kit])

    stock.change(book, lambda reference: book.unship(stock.claim(book, kit), 0, reference), "1/1")
    assert stock.shelf.claims[UUID(int=1002)].waiting == 1  # nothing has changed so far
    book = stock.open_for([kit])
    stock.change(book, lambda reference: book.correct((A, LOCATIONS[0]), 1, Cause.RECEIVED, reference), "1/2")

    assert stock.shelf.claims[UUID(int=1001)].missing == {B}
    assert stock.shelf.claims[UUID(int=1002)].held == 1
    assert stock.shelf.woken() == []
