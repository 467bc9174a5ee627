"""The stock book against a reference so simple that it is plainly right, over any sequence of events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hub.core.model import StockLevel
from hub.core.stock import Claim, Place, StockBook
from tests.core.making import MUG, minutes

PLACES = [(MUG, UUID(int=number)) for number in (1, 2)]
LINES = range(6)


class Book(RuleBasedStateMachine):
    """The reference knows two things only: who wants how much, and how much there is. From that follows all else."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted: Counter[int] = Counter()  # by line
        self.on_hand: Counter[Place] = Counter()
        self.revision = 0
        self.seen: set[tuple[Place, str, str]] = set()
        self.ledger: Counter[tuple[Place, str]] = Counter()
        self.levels: dict[Place, StockLevel] = {}
        self.claims: dict[UUID, Claim] = {}
        self.book = StockBook({})

    def open_book(self, lines: Iterable[int] | None) -> None:
        """Begin a transaction about ``lines`` (None: all there are); others are called up from the queue."""
        known = self.claims if lines is None else {id for line in lines if (id := UUID(int=line + 1)) in self.claims}
        self.book = StockBook(
            self.levels,
            [copied(self.claims[line_id]) for line_id in known],
            location_order=[place[1] for place in PLACES],
            queue=self.queue,
        )
        self.revision += 1

    def queue(self, sku_id: UUID, most: int) -> list[Claim]:
        waiting = [claim for claim in self.claims.values() if claim.waiting and claim.sku_id == sku_id]
        return [copied(claim) for claim in sorted(waiting, key=lambda each: (each.since, each.line_id))[:most]]

    def write_book(self) -> None:
        """End the transaction: everything it changed is written."""
        for each in self.book.movements:
            key = (each.place, each.cause.value, each.reference)
            assert key not in self.seen, "the ledger would refuse a second entry of the same cause and reference"
            self.seen.add(key)
            assert each.on_hand or each.allocated
            self.ledger[each.place, "on_hand"] += each.on_hand
            self.ledger[each.place, "allocated"] += each.allocated
        self.levels |= self.book.after
        self.claims |= {line_id: self.book.claims[line_id] for line_id in self.book.changed_claims}

    def claim(self, line: int) -> Claim:
        # Lines 0 and 1 are of one order; a line's place in the queue is not its number.
        order = UUID(int=100 + max(line, 1))
        return self.book.claim(UUID(int=line + 1), order, MUG, minutes((line * 7) % 5))

    def reference(self, claim: Claim) -> str:
        return f"{claim.order_id}/{self.revision}"

    @initialize(first=st.integers(0, 8), second=st.integers(0, 8))
    def open(self, first: int, second: int) -> None:
        self.open_book(None)
        for place, units in zip(PLACES, (first, second), strict=True):
            self.book.open(place, units, "adopt/1")
            self.on_hand[place] = units
        self.write_book()

    @rule(line=st.sampled_from(LINES), units=st.integers(0, 7))
    def demand(self, line: int, units: int) -> None:
        self.open_book([line])
        claim = self.claim(line)
        self.book.demand(claim, units, self.reference(claim))
        self.wanted[line] = units
        self.write_book()

    @rule(units=st.tuples(st.integers(0, 7), st.integers(0, 7)))
    def edit(self, units: tuple[int, int]) -> None:
        """Both lines of one order in one transaction."""
        self.open_book([0, 1])
        for line, wanted in enumerate(units):
            claim = self.claim(line)
            self.book.demand(claim, wanted, self.reference(claim))
            self.wanted[line] = wanted
        self.write_book()

    @rule(line=st.sampled_from(LINES), units=st.integers(1, 7))
    def ship(self, line: int, units: int) -> None:
        self.open_book([line])
        claim = self.claim(line)
        held = claim.held
        free = self.book.available(MUG)
        shipped = self.book.ship(claim, units, self.reference(claim))
        # Its own first, then what nobody holds, never what others hold.
        assert shipped == min(units, held + free)
        self.wanted[line] = max(0, self.wanted[line] - units)
        for place in PLACES:
            self.on_hand[place] += self.book.level(place).on_hand - self.levels[place].on_hand
        assert sum(self.on_hand.values()) == sum(each.on_hand for each in self.levels.values()) - shipped
        self.book.demand(claim, self.wanted[line], self.reference(claim))
        self.write_book()

    @rule(line=st.sampled_from(LINES), units=st.integers(1, 4))
    def unship(self, line: int, units: int) -> None:
        self.open_book([line])
        claim = self.claim(line)
        self.book.unship(claim, units, self.reference(claim))
        self.on_hand[PLACES[0]] += units
        self.write_book()

    @rule(place=st.sampled_from(PLACES), units=st.integers(0, 12))
    def count(self, place: Place, units: int) -> None:
        self.open_book(None)
        self.book.set_on_hand(place, units, f"form/{self.revision}")
        self.on_hand[place] = units
        self.write_book()

    @invariant()
    def nothing_is_allocated_beyond_what_is_on_hand(self) -> None:
        assert all(0 <= level.allocated <= level.on_hand for level in self.levels.values())

    @invariant()
    def there_is_as_much_as_the_reference_says(self) -> None:
        assert {place: level.on_hand for place, level in self.levels.items()} == {
            place: self.on_hand[place] for place in self.levels
        }

    @invariant()
    def as_much_is_allocated_as_is_wanted_and_there(self) -> None:
        wanted = sum(self.wanted.values())
        assert sum(level.allocated for level in self.levels.values()) == min(wanted, sum(self.on_hand.values()))

    @invariant()
    def every_line_holds_or_awaits_what_it_wants(self) -> None:
        have = {claim.line_id: claim.held + claim.waiting for claim in self.claims.values()}
        for line, units in self.wanted.items():
            assert have.get(UUID(int=line + 1), 0) == units

    @invariant()
    def nobody_waits_while_stock_is_free(self) -> None:
        free = sum(level.available for level in self.levels.values())
        assert not free or not any(claim.waiting for claim in self.claims.values())

    @invariant()
    def allocations_explain_what_is_allocated(self) -> None:
        for place, level in self.levels.items():
            assert sum(claim.allocated.get(place[1], 0) for claim in self.claims.values()) == level.allocated

    @invariant()
    def the_ledger_adds_up_to_the_balance(self) -> None:
        for place, level in self.levels.items():
            assert (self.ledger[place, "on_hand"], self.ledger[place, "allocated"]) == (level.on_hand, level.allocated)


def copied(claim: Claim) -> Claim:
    return replace(claim, allocated=dict(claim.allocated))


TestBook = Book.TestCase
TestBook.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
