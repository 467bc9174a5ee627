"""The stock book against a reference so simple that it is plainly right, over any sequence of events."""

from __future__ import annotations

from collections import Counter
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
        self.claims: list[Claim] = []
        self.book = StockBook({})

    def reopen(self) -> None:
        """Write the book and open the next one, as each transaction does."""
        for each in self.book.movements:
            key = (each.place, each.cause.value, each.reference)
            assert key not in self.seen, "the ledger would refuse a second entry of the same cause and reference"
            self.seen.add(key)
            assert each.on_hand or each.allocated
            self.ledger[each.place, "on_hand"] += each.on_hand
            self.ledger[each.place, "allocated"] += each.allocated
        self.levels |= self.book.after
        self.claims = list(self.book.claims.values())
        self.book = StockBook(self.levels, self.claims, location_order=[place[1] for place in PLACES])
        self.revision += 1

    def claim(self, line: int) -> Claim:
        # Lines 0 and 1 are of one order; a line's place in the queue is not its number.
        order = UUID(int=100 + max(line, 1))
        return self.book.claim(UUID(int=line + 1), order, MUG, minutes((line * 7) % 5))

    def reference(self, claim: Claim) -> str:
        return f"{claim.order_id}/{self.revision}"

    @initialize(first=st.integers(0, 8), second=st.integers(0, 8))
    def open(self, first: int, second: int) -> None:
        for place, units in zip(PLACES, (first, second), strict=True):
            self.book.open(place, units, "adopt/1")
            self.on_hand[place] = units
        self.reopen()

    @rule(line=st.sampled_from(LINES), units=st.integers(0, 7))
    def demand(self, line: int, units: int) -> None:
        claim = self.claim(line)
        self.book.demand(claim, units, self.reference(claim))
        self.wanted[line] = units
        self.reopen()

    @rule(line=st.sampled_from(LINES), units=st.integers(1, 7))
    def ship(self, line: int, units: int) -> None:
        claim = self.claim(line)
        held = dict(claim.allocated)
        free = {place: self.book.level(place).available for place in PLACES}
        shipped = self.book.ship(claim, units, self.reference(claim))
        # Its own first, then what nobody holds, never what others hold.
        assert shipped == min(units, sum(held.values()) + sum(free.values()))
        self.wanted[line] = max(0, self.wanted[line] - units)
        for place in PLACES:
            self.on_hand[place] += self.book.level(place).on_hand - self.levels[place].on_hand
        assert sum(self.on_hand.values()) == sum(each.on_hand for each in self.levels.values()) - shipped
        # What was shipped beyond the reservation is not waited for; what was not there stays on the shelf of others.
        assert claim.held + claim.waiting <= self.wanted[line]
        self.book.demand(claim, self.wanted[line], self.reference(claim))
        self.reopen()

    @rule(line=st.sampled_from(LINES), units=st.integers(1, 4))
    def unship(self, line: int, units: int) -> None:
        claim = self.claim(line)
        self.book.unship(claim, units, self.reference(claim))
        self.on_hand[PLACES[0]] += units
        self.reopen()

    @rule(place=st.sampled_from(PLACES), units=st.integers(0, 12))
    def count(self, place: Place, units: int) -> None:
        self.book.set_on_hand(place, units, f"form/{self.revision}")
        self.on_hand[place] = units
        self.reopen()

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
        have = {claim.line_id: claim.held + claim.waiting for claim in self.claims}
        for line, units in self.wanted.items():
            assert have.get(UUID(int=line + 1), 0) == units

    @invariant()
    def allocations_explain_what_is_allocated(self) -> None:
        for place, level in self.levels.items():
            assert sum(claim.allocated.get(place[1], 0) for claim in self.claims) == level.allocated

    @invariant()
    def the_ledger_adds_up_to_the_balance(self) -> None:
        for place, level in self.levels.items():
            assert (self.ledger[place, "on_hand"], self.ledger[place, "allocated"]) == (level.on_hand, level.allocated)


TestBook = Book.TestCase
TestBook.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
