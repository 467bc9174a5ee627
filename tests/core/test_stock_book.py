"""The stock book: reservations, the backorder queue, shipments and corrections of one transaction."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID

import pytest

from hub.core.model import StockLevel
from hub.core.stock import Cause, Claim, Movement, StockBook
from tests.core.making import MUG, SHELF, TEE, minutes

BARN = UUID(int=2)  # a second location
_numbers = itertools.count(500)


def a_book(levels: Mapping[UUID, int] | int, *claims: Claim, barn: int | None = None) -> StockBook:
    """A book of mugs: so many on the shelf, and in the barn if it has any; ``claims`` hold what they say."""
    on_hand = {SHELF: levels} if isinstance(levels, int) else dict(levels)
    if barn is not None:
        on_hand[BARN] = barn
    held: Counter[UUID] = Counter()
    for claim in claims:
        held.update(claim.allocated)
    return StockBook(
        {(MUG, place): StockLevel(units, held[place]) for place, units in on_hand.items()},
        claims,
        location_order=[SHELF, BARN],
    )


def a_claim(order: int, *, held: int = 0, barn: int = 0, waiting: int = 0, placed: float | None = None) -> Claim:
    """The claim of an order's line, in the queue since ``placed`` minutes after noon (by default its number)."""
    allocated = {place: units for place, units in ((SHELF, held), (BARN, barn)) if units}
    return Claim(
        line_id=UUID(int=next(_numbers)),
        order_id=UUID(int=order),
        sku_id=MUG,
        since=minutes(order if placed is None else placed),
        allocated=allocated,
        waiting=waiting,
    )


def of(claim: Claim, revision: int = 1) -> str:
    """The reference under which an order's own changes are entered."""
    return f"{claim.order_id}/{revision}"


def entries(book: StockBook) -> list[tuple[Cause, str, int, int]]:
    return [(each.cause, each.reference, each.on_hand, each.allocated) for each in book.movements]


# ---------------------------------------------------------------- reserving


def test_reserves_what_is_free_and_queues_the_rest() -> None:
    book = a_book(5)
    claim = book.claim(UUID(int=1), UUID(int=100), MUG, minutes(0))

    book.demand(claim, 8, of(claim))

    assert (claim.allocated, claim.waiting) == ({SHELF: 5}, 3)
    assert book.level((MUG, SHELF)) == StockLevel(5, 5)
    assert entries(book) == [(Cause.ALLOCATED, of(claim), 0, 5)]


def test_two_lines_of_one_sku_are_one_summed_entry() -> None:
    book = a_book(5)
    order = UUID(int=100)
    one, two = (book.claim(UUID(int=line), order, MUG, minutes(0)) for line in (1, 2))

    book.demand(one, 3, of(one))
    book.demand(two, 3, of(two))

    assert (one.held, two.held, two.waiting) == (3, 2, 1)
    assert book.movements == [Movement((MUG, SHELF), Cause.ALLOCATED, of(one), 0, 5, order)]


def test_asking_for_the_same_again_changes_nothing() -> None:
    claim = a_claim(1, held=3)
    book = a_book(5, claim)

    book.demand(claim, 3, of(claim, 2))

    assert (book.movements, book.after, book.changed_claims) == ([], {}, set())


def test_what_only_waits_is_given_up_first() -> None:
    claim = a_claim(1, held=3, waiting=2)
    book = a_book(3, claim)

    book.demand(claim, 2, of(claim))

    assert (claim.held, claim.waiting) == (2, 0)
    assert entries(book) == [(Cause.RELEASED, of(claim), 0, -1)]


def test_a_sku_that_is_not_in_the_book_is_not_counted() -> None:
    book = a_book(5)

    assert book.counts(MUG)
    assert not book.counts(TEE)
    assert book.available(TEE) == 0


# ---------------------------------------------------------------- the queue


def test_the_oldest_order_is_served_first_whoever_came_in_first() -> None:
    late, early = a_claim(1, waiting=2, placed=30), a_claim(2, waiting=2, placed=10)
    holder = a_claim(3, held=3)
    book = a_book(3, late, early, holder)

    book.demand(holder, 0, of(holder))

    assert (early.held, early.waiting) == (2, 0)
    assert (late.held, late.waiting) == (1, 1)
    assert book.level((MUG, SHELF)) == StockLevel(3, 3)


def test_who_profits_from_anothers_release_has_an_entry_of_its_own() -> None:
    one, two = a_claim(1, waiting=1), a_claim(2, waiting=1)
    holder = a_claim(3, held=2)
    book = a_book(2, one, two, holder)

    book.demand(holder, 0, of(holder))

    assert entries(book) == [
        (Cause.RELEASED, of(holder), 0, -2),
        (Cause.ALLOCATED, f"{one.line_id} by {of(holder)}", 0, 1),
        (Cause.ALLOCATED, f"{two.line_id} by {of(holder)}", 0, 1),
    ]
    assert [each.order_id for each in book.movements] == [holder.order_id, one.order_id, two.order_id]


def test_references_are_unique_per_place_and_cause() -> None:
    one, two, holder = a_claim(1, waiting=4), a_claim(2, waiting=4), a_claim(3, held=3, barn=3)
    book = a_book(3, one, two, holder, barn=3)

    book.demand(holder, 1, of(holder))
    book.demand(holder, 4, of(holder))
    book.set_on_hand((MUG, BARN), 10, "form/1")
    book.demand(one, 0, of(one))

    keys = [(each.place, each.cause, each.reference) for each in book.movements]
    assert len(keys) == len(set(keys))


def test_a_newcomer_waits_behind_the_queue() -> None:
    first = a_claim(1, waiting=2)
    book = a_book(0, first)
    newcomer = book.claim(UUID(int=9), UUID(int=2), MUG, minutes(5))

    book.demand(newcomer, 1, of(newcomer))
    book.set_on_hand((MUG, SHELF), 2, "form/1")

    assert (first.held, newcomer.held, newcomer.waiting) == (2, 0, 1)


def test_a_line_never_waits_while_stock_is_free() -> None:
    claim = a_claim(1, waiting=5)
    book = a_book(0, claim)

    for on_hand in (2, 4, 9):
        book.set_on_hand((MUG, SHELF), on_hand, f"form/{on_hand}")
        assert claim.waiting == max(0, 5 - on_hand)
        assert book.available(MUG) == max(0, on_hand - 5)


def test_only_as_many_are_called_up_as_units_came_free() -> None:
    queue = [a_claim(number, waiting=1) for number in range(10, 20)]
    asked: list[int] = []

    def first_ones(sku_id: UUID, most: int) -> list[Claim]:
        assert sku_id == MUG
        asked.append(most)
        return queue[:most]

    holder = a_claim(1, held=3)
    book = StockBook({(MUG, SHELF): StockLevel(3, 3)}, [holder], queue=first_ones)

    book.demand(holder, 1, of(holder))
    book.demand(holder, 0, of(holder))

    assert [claim.held for claim in queue] == [1] * 3 + [0] * 7
    assert asked == [2, 3]


def test_who_is_known_to_wait_keeps_nobody_behind_him_from_being_called_up() -> None:
    known, other = a_claim(1, held=2, waiting=1), a_claim(2, waiting=1)
    queue = [known, other]
    book = StockBook({(MUG, SHELF): StockLevel(2, 2)}, [known], queue=lambda _sku, most: queue[:most])

    book.demand(known, 1, of(known))

    assert (known.held, known.waiting, other.held) == (1, 0, 1)


def test_nobody_is_called_up_where_stock_was_free_from_the_beginning() -> None:
    book = StockBook({(MUG, SHELF): StockLevel(3, 1)}, queue=lambda *_: pytest.fail("nobody can wait"))
    claim = book.claim(UUID(int=1), UUID(int=100), MUG, minutes(0))

    book.demand(claim, 9, of(claim))

    assert (claim.held, claim.waiting) == (2, 7)


# ---------------------------------------------------------------- shipping


def test_ships_from_its_own_reservation() -> None:
    claim = a_claim(1, held=3)
    book = a_book(10, claim)

    assert book.ship(claim, 2, of(claim)) == 2

    assert (claim.held, book.level((MUG, SHELF))) == (1, StockLevel(8, 1))
    assert entries(book) == [(Cause.SHIPPED, of(claim), -2, -2)]


def test_a_line_that_waited_ships_from_what_is_free() -> None:
    claim = a_claim(1, held=1)
    book = a_book(5, claim)

    assert book.ship(claim, 4, of(claim)) == 4

    assert (claim.held, claim.waiting, book.level((MUG, SHELF))) == (0, 0, StockLevel(1, 0))


def test_what_is_shipped_does_not_wait_any_more() -> None:
    holder, claim = a_claim(1, held=3), a_claim(2, waiting=5)
    book = a_book(3, holder, claim)

    assert book.ship(claim, 2, of(claim)) == 0

    assert (claim.waiting, holder.held) == (3, 3)
    assert book.level((MUG, SHELF)) == StockLevel(3, 3)


def test_what_the_book_does_not_have_cannot_leave_it() -> None:
    claim = a_claim(1, held=1)
    book = a_book(2, claim)

    assert book.ship(claim, 5, of(claim)) == 2

    assert book.level((MUG, SHELF)) == StockLevel(0, 0)


def test_shipping_never_touches_what_others_hold() -> None:
    holder, claim = a_claim(1, held=3), a_claim(2, held=1)
    book = a_book(4, holder, claim)

    assert book.ship(claim, 3, of(claim)) == 1

    assert (holder.held, book.level((MUG, SHELF))) == (3, StockLevel(3, 3))


def test_an_undone_fulfillment_comes_back_to_the_shelf_and_serves_the_queue() -> None:
    claim, waiting = a_claim(1), a_claim(2, waiting=2)
    book = a_book(0, claim, waiting)

    book.unship(claim, 3, of(claim))

    assert (waiting.held, waiting.waiting) == (2, 0)
    assert book.level((MUG, SHELF)) == StockLevel(3, 2)
    assert entries(book)[0] == (Cause.UNSHIPPED, of(claim), 3, 0)


# ---------------------------------------------------------------- corrections


def test_a_correction_is_one_entry() -> None:
    book = a_book(10)

    book.set_on_hand((MUG, SHELF), 7, "form/1")

    assert entries(book) == [(Cause.ADJUSTED, "form/1", -3, 0)]


def test_the_newest_reservations_go_back_to_the_queue_when_less_is_left() -> None:
    first, second, third = a_claim(1, held=2), a_claim(2, held=2), a_claim(3, held=2)
    book = a_book(6, third, first, second)

    book.set_on_hand((MUG, SHELF), 3, "form/1")

    assert [(each.held, each.waiting) for each in (first, second, third)] == [(2, 0), (1, 1), (0, 2)]
    assert book.level((MUG, SHELF)) == StockLevel(3, 3)
    assert entries(book) == [
        (Cause.RELEASED, f"{third.line_id} by form/1", 0, -2),
        (Cause.RELEASED, f"{second.line_id} by form/1", 0, -1),
        (Cause.ADJUSTED, "form/1", -3, 0),
    ]


def test_a_correction_of_one_sku_takes_nothing_from_another() -> None:
    mug, tee = a_claim(1, held=2), replace(a_claim(2, held=2), sku_id=TEE)
    book = StockBook({(MUG, SHELF): StockLevel(2, 2), (TEE, SHELF): StockLevel(2, 2)}, [mug, tee])

    book.set_on_hand((MUG, SHELF), 0, "form/1")

    assert (mug.held, mug.waiting, tee.held, tee.waiting) == (0, 2, 2, 0)


def test_what_was_sent_back_to_the_queue_finds_stock_elsewhere() -> None:
    claim = a_claim(1, held=4)
    book = a_book(4, claim, barn=3)

    book.set_on_hand((MUG, SHELF), 0, "form/1")

    assert (claim.allocated, claim.waiting) == ({BARN: 3}, 1)


def test_a_count_that_finds_the_same_says_nothing() -> None:
    claim = a_claim(1, held=2, waiting=0)
    book = a_book(4, claim)

    book.set_on_hand((MUG, SHELF), 4, "form/1")

    assert (book.movements, book.changed_claims) == ([], set())


def test_nothing_is_counted_below_zero() -> None:
    with pytest.raises(ValueError, match="cannot be negative"):
        a_book(1).set_on_hand((MUG, SHELF), -1, "form/1")


def test_an_opening_balance_serves_who_waits() -> None:
    claim = a_claim(1, waiting=2)
    book = a_book(0, claim)

    book.open((MUG, BARN), 5, "adopt/1")

    assert (claim.allocated, book.level((MUG, BARN))) == ({BARN: 2}, StockLevel(5, 2))
    assert entries(book)[0] == (Cause.ADOPTED, "adopt/1", 5, 0)


def test_a_place_is_opened_once() -> None:
    with pytest.raises(ValueError, match="has an opening balance here"):
        a_book(1).open((MUG, SHELF), 5, "adopt/1")


def test_a_place_opened_with_nothing_is_counted_all_the_same() -> None:
    book = StockBook({})

    book.open((TEE, SHELF), 0, "adopt/1")

    assert book.counts(TEE)
    assert book.after == {(TEE, SHELF): StockLevel(0, 0)}
    assert book.movements == []


# ---------------------------------------------------------------- several locations


def test_takes_from_the_preferred_location_first() -> None:
    book = a_book(2, barn=5)
    claim = book.claim(UUID(int=1), UUID(int=100), MUG, minutes(0))

    book.demand(claim, 4, of(claim))

    assert claim.allocated == {SHELF: 2, BARN: 2}
    assert book.available(MUG) == 3


def test_preference_is_what_the_merchant_says_and_not_a_matter_of_ids() -> None:
    levels = {(MUG, SHELF): StockLevel(2, 0), (MUG, BARN): StockLevel(5, 0)}
    book = StockBook(levels, location_order=[BARN, SHELF])
    claim = book.claim(UUID(int=1), UUID(int=100), MUG, minutes(0))

    book.demand(claim, 6, of(claim))
    book.demand(claim, 5, of(claim))

    assert claim.allocated == {BARN: 5}


def test_a_place_opened_later_has_its_rank_all_the_same() -> None:
    book = StockBook({(MUG, BARN): StockLevel(5, 0)}, location_order=[SHELF, BARN])
    book.open((MUG, SHELF), 2, "adopt/1")
    claim = book.claim(UUID(int=1), UUID(int=100), MUG, minutes(0))

    book.demand(claim, 3, of(claim))

    assert claim.allocated == {SHELF: 2, BARN: 1}


def test_gives_back_to_the_least_preferred_location_first() -> None:
    claim = a_claim(1, held=2, barn=2)
    book = a_book(2, claim, barn=5)

    book.demand(claim, 1, of(claim))

    assert claim.allocated == {SHELF: 1}
    assert [(each.place[1], each.allocated) for each in book.movements] == [(BARN, -2), (SHELF, -1)]


def test_ships_where_it_is_reserved() -> None:
    claim = a_claim(1, held=1, barn=2)
    book = a_book(5, claim, barn=2)

    assert book.ship(claim, 3, of(claim)) == 3

    assert book.after == {(MUG, SHELF): StockLevel(4, 0), (MUG, BARN): StockLevel(0, 0)}


def test_another_sku_is_another_matter() -> None:
    book = StockBook({(MUG, SHELF): StockLevel(1, 0), (TEE, SHELF): StockLevel(9, 0)})
    mug = book.claim(UUID(int=1), UUID(int=100), MUG, minutes(0))

    book.demand(mug, 3, of(mug))

    assert (mug.waiting, book.level((TEE, SHELF))) == (2, StockLevel(9, 0))
    assert set(book.after) == {(MUG, SHELF)}


def test_the_rule_itself_stops_what_would_break_it() -> None:
    claim = a_claim(1, held=1)
    book = StockBook({(MUG, SHELF): StockLevel(0, 0)}, [claim])

    with pytest.raises(AssertionError, match="shipped would leave"):
        book.ship(claim, 1, of(claim))
