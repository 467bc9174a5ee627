"""The stock book: reservations, the backorder queue, shipments and corrections of one transaction."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from hub.core.model import StockLevel
from hub.core.stock import Cause, Claim, Condition, Movement, Shortage, StockBook
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
        held.update({place[1]: units for place, units in claim.allocated.items()})
    return StockBook(
        {(MUG, place): StockLevel(units, held[place]) for place, units in on_hand.items()},
        claims,
        location_order=[SHELF, BARN],
    )


def new_claim(book: StockBook, order: int, *, line: int = 0, parts: Mapping[UUID, int] | None = None) -> Claim:
    """The claim of a line that holds nothing yet, of an order placed so many minutes after noon."""
    line_id = UUID(int=line or next(_numbers))
    return book.claim(Claim(line_id, UUID(int=order), parts or {MUG: 1}, minutes(order)))


def demand(book: StockBook, claim: Claim, wanted: int, revision: int = 1) -> None:
    """Ask for stock as an order does that has this one line."""
    book.demand(claim, wanted, of(claim, revision))
    book.serve(of(claim, revision))


def set_on_hand(book: StockBook, place: UUID, units: int, reference: str = "form/1") -> None:
    """Correct what is on hand of mugs, as a person does."""
    book.correct((MUG, place), units - book.level((MUG, place)).on_hand, Cause.ADJUSTED, reference)
    book.serve(reference)


def a_claim(order: int, *, held: int = 0, barn: int = 0, waiting: int = 0, placed: float | None = None) -> Claim:
    """The claim of an order's line, in the queue since ``placed`` minutes after noon (by default its number)."""
    allocated = {(MUG, place): units for place, units in ((SHELF, held), (BARN, barn)) if units}
    return Claim(
        line_id=UUID(int=next(_numbers)),
        order_id=UUID(int=order),
        parts={MUG: 1},
        since=minutes(order if placed is None else placed),
        allocated=allocated,
        waiting=waiting,
    )


def of(claim: Claim, revision: int = 1) -> str:
    """The reference under which an order's own changes are entered."""
    return f"{claim.order_id}/{revision}"


def entries(book: StockBook) -> list[tuple[Cause, str, int, int]]:
    return [(each.cause, each.reference, each.change.on_hand, each.change.allocated) for each in book.movements]


# ---------------------------------------------------------------- reserving


def test_reserves_what_is_free_and_queues_the_rest() -> None:
    book = a_book(5)
    claim = new_claim(book, 100)

    demand(book, claim, 8)

    assert (claim.allocated, claim.waiting) == ({(MUG, SHELF): 5}, 3)
    assert book.level((MUG, SHELF)) == StockLevel(5, 5)
    assert entries(book) == [(Cause.ALLOCATED, of(claim), 0, 5)]


def test_two_lines_of_one_sku_are_one_summed_entry() -> None:
    book = a_book(5)
    order = UUID(int=100)
    one, two = (new_claim(book, 100, line=line) for line in (1, 2))

    book.demand(one, 3, of(one))
    book.demand(two, 3, of(one))
    book.serve(of(one))

    assert (one.held, two.held, two.waiting) == (3, 2, 1)
    assert book.movements == [
        Movement(
            (MUG, SHELF),
            Cause.ALLOCATED,
            of(one),
            StockLevel(allocated=5),
            StockLevel(on_hand=5, allocated=5, entries=1),
            order,
        )
    ]


def test_asking_for_the_same_again_changes_nothing() -> None:
    claim = a_claim(1, held=3)
    book = a_book(5, claim)

    demand(book, claim, 3, 2)

    assert (book.movements, book.changed_claims) == ([], set())


def test_what_only_waits_is_given_up_first() -> None:
    claim = a_claim(1, held=3, waiting=2)
    book = a_book(3, claim)

    demand(book, claim, 2)

    assert (claim.held, claim.waiting) == (2, 0)
    assert entries(book) == [(Cause.RELEASED, of(claim), 0, -1)]


def test_a_sku_that_is_not_in_the_book_is_not_counted() -> None:
    book = a_book(5)

    assert book.counts([MUG])
    assert not book.counts([TEE])
    assert book.available(TEE) == 0


# ---------------------------------------------------------------- the queue


def test_the_oldest_order_is_served_first_whoever_came_in_first() -> None:
    late, early = a_claim(1, waiting=2, placed=30), a_claim(2, waiting=2, placed=10)
    holder = a_claim(3, held=3)
    book = a_book(3, late, early, holder)

    demand(book, holder, 0)

    assert (early.held, early.waiting) == (2, 0)
    assert (late.held, late.waiting) == (1, 1)
    assert book.level((MUG, SHELF)) == StockLevel(3, 3)


def test_who_profits_from_anothers_release_has_an_entry_of_its_own() -> None:
    one, two = a_claim(1, waiting=1), a_claim(2, waiting=1)
    holder = a_claim(3, held=2)
    book = a_book(2, one, two, holder)

    demand(book, holder, 0)

    assert entries(book) == [
        (Cause.RELEASED, of(holder), 0, -2),
        (Cause.ALLOCATED, f"{one.line_id} by {of(holder)}", 0, 1),
        (Cause.ALLOCATED, f"{two.line_id} by {of(holder)}", 0, 1),
    ]
    assert [each.order_id for each in book.movements] == [holder.order_id, one.order_id, two.order_id]


def test_references_are_unique_per_place_and_cause() -> None:
    one, two, holder = a_claim(1, waiting=4), a_claim(2, waiting=4), a_claim(3, held=3, barn=3)
    book = a_book(3, one, two, holder, barn=3)

    demand(book, holder, 1)
    demand(book, holder, 4)
    set_on_hand(book, BARN, 10)
    demand(book, one, 0)

    keys = [(each.place, each.cause, each.reference) for each in book.movements]
    assert len(keys) == len(set(keys))


def test_a_newcomer_waits_behind_the_queue() -> None:
    first = a_claim(1, waiting=2)
    book = a_book(0, first)
    newcomer = new_claim(book, 2)

    demand(book, newcomer, 1)
    set_on_hand(book, SHELF, 2)

    assert (first.held, newcomer.held, newcomer.waiting) == (2, 0, 1)


def test_a_line_never_waits_while_stock_is_free() -> None:
    claim = a_claim(1, waiting=5)
    book = a_book(0, claim)

    for on_hand in (2, 4, 9):
        set_on_hand(book, SHELF, on_hand, f"form/{on_hand}")
        assert claim.waiting == max(0, 5 - on_hand)
        assert book.available(MUG) == max(0, on_hand - 5)


class Line:
    """Those who wait for mugs in the database, and what was asked of it."""

    def __init__(self, *claims: Claim) -> None:
        self.claims = list(claims)
        self.asked: list[int] = []

    def __call__(self, sku_id: UUID, most: int) -> list[Claim]:
        assert sku_id == MUG
        self.asked.append(most)
        return self.claims[:most]


def test_not_all_who_wait_are_called_up_for_a_few_units() -> None:
    line = Line(*(a_claim(number, waiting=1) for number in range(10, 200)))
    holder = a_claim(1, held=3)
    book = StockBook({(MUG, SHELF): StockLevel(3, 3)}, [holder], awaited=[MUG], queue=line)

    demand(book, holder, 1)
    assert [claim.held for claim in line.claims] == [1] * 2 + [0] * 188
    assert len(book.claims) == 1 + 2 + 16

    demand(book, holder, 0, 2)
    assert [claim.held for claim in line.claims] == [1] * 3 + [0] * 187


def test_as_many_are_called_up_as_there_is_stock_for() -> None:
    line = Line(*(a_claim(number, waiting=1) for number in range(10, 200)))
    book = StockBook({(MUG, SHELF): StockLevel(0)}, awaited=[MUG], queue=line)

    book.correct((MUG, SHELF), 150, Cause.RECEIVED, "delivery/1")
    book.serve("delivery/1")

    assert sum(claim.held for claim in line.claims) == 150
    assert line.asked == [150 + 16]


def test_who_is_known_to_wait_keeps_nobody_behind_him_from_being_called_up() -> None:
    known, other = a_claim(1, held=2, waiting=1), a_claim(2, waiting=1)
    line = Line(known, other)
    book = StockBook({(MUG, SHELF): StockLevel(2, 2)}, [known], awaited=[MUG], queue=line)

    demand(book, known, 1)

    assert (known.held, known.waiting, other.held) == (1, 0, 1)


def test_nobody_is_called_up_where_nobody_waits() -> None:
    holder = a_claim(2, held=1)
    book = StockBook({(MUG, SHELF): StockLevel(3, 1)}, [holder], queue=lambda *_: pytest.fail("nobody waits"))
    claim = new_claim(book, 100)

    demand(book, claim, 9)
    demand(book, holder, 0)

    assert (claim.held, claim.waiting) == (3, 6)


def test_a_rank_goes_before_the_time_of_waiting() -> None:
    early, dear = a_claim(1, waiting=1, placed=1), replace(a_claim(2, waiting=1, placed=2), rank=-100)
    book = a_book(0, early, dear)

    set_on_hand(book, SHELF, 1)

    assert (early.held, dear.held) == (0, 1)


# ---------------------------------------------------------------- kits


def a_box(mugs: int, tees: int, *claims: Claim, **more: Any) -> StockBook:
    """A book of mugs and tees; ``claims`` hold what they say."""
    held: Counter[tuple[UUID, UUID]] = Counter()
    for claim in claims:
        held.update(claim.allocated)
    levels = {(sku, SHELF): StockLevel(units, held[sku, SHELF]) for sku, units in ((MUG, mugs), (TEE, tees))}
    return StockBook(levels, claims, **more)


SET = {MUG: 2, TEE: 1}  # a gift set


def test_a_kit_takes_all_of_its_parts() -> None:
    book = a_box(9, 9)
    kit = new_claim(book, 1, parts=SET)

    demand(book, kit, 3)

    assert (kit.allocated, kit.held) == ({(MUG, SHELF): 6, (TEE, SHELF): 3}, 3)
    assert {each.place[0]: each.change.allocated for each in book.movements} == {MUG: 6, TEE: 3}


def test_a_kit_is_held_complete_or_not_at_all() -> None:
    book = a_box(9, 1)
    kit = new_claim(book, 1, parts=SET)

    demand(book, kit, 3)

    assert (kit.held, kit.waiting, kit.missing) == (1, 2, {TEE})
    assert (book.available(MUG), book.available(TEE)) == (7, 0)


def test_a_kit_with_three_of_one_part_does_not_take_two() -> None:
    book = a_book(5)
    pack = new_claim(book, 1, parts={MUG: 3})

    demand(book, pack, 2)

    assert (pack.held, pack.waiting, pack.missing, book.available(MUG)) == (1, 1, {MUG}, 2)


def test_the_last_missing_part_completes_a_kit() -> None:
    book = a_box(4, 0)
    kit = new_claim(book, 1, parts=SET)
    demand(book, kit, 2)

    book.correct((TEE, SHELF), 2, Cause.RECEIVED, "delivery/1")
    book.serve("delivery/1")

    assert (kit.held, kit.waiting, kit.missing) == (2, 0, frozenset())


def test_a_kit_that_misses_one_part_keeps_nobody_from_the_other() -> None:
    book = a_box(2, 0)
    kit = new_claim(book, 1, parts=SET)
    demand(book, kit, 1)
    mug = new_claim(book, 2)

    demand(book, mug, 2)

    assert (kit.held, mug.held) == (0, 2)


def test_kits_and_single_parts_share_what_comes_in_by_their_turn() -> None:
    first, kit, last = a_claim(1, waiting=2), replace(a_claim(2, waiting=2), parts=SET), a_claim(3, waiting=2)
    kit.missing = frozenset([MUG])
    book = a_box(0, 5, first, kit, last)

    set_on_hand(book, SHELF, 5)

    assert (first.held, kit.held, kit.waiting, last.held) == (2, 1, 1, 1)
    assert kit.missing == {MUG}


def test_a_count_that_takes_one_part_of_a_kit_gives_back_the_others() -> None:
    kit = replace(a_claim(1), parts=SET, allocated={(MUG, SHELF): 4, (TEE, SHELF): 2})
    book = a_box(4, 2, kit)

    set_on_hand(book, SHELF, 3)

    assert (kit.held, kit.waiting, kit.missing) == (1, 1, {MUG})
    assert (book.available(MUG), book.available(TEE)) == (1, 1)
    assert [(each.taken, each.units, each.missing) for each in book.shortages] == [(True, 1, {MUG})]


def test_shipping_a_kit_takes_its_parts_off_the_shelf() -> None:
    kit = replace(a_claim(1), parts=SET, allocated={(MUG, SHELF): 2, (TEE, SHELF): 1})
    book = a_box(6, 2, kit)

    assert book.ship(kit, 2, of(kit)) == {}
    assert (book.level((MUG, SHELF)), book.level((TEE, SHELF))) == (StockLevel(2), StockLevel(0))

    assert book.ship(kit, 2, of(kit, 2)) == {MUG: 2, TEE: 2}
    assert (book.level((MUG, SHELF)), book.level((TEE, SHELF))) == (StockLevel(0), StockLevel(0))

    book.unship(kit, 1, of(kit, 3))
    assert (book.level((MUG, SHELF)), book.level((TEE, SHELF))) == (StockLevel(2), StockLevel(1))


# ---------------------------------------------------------------- who needs what is not in this book


def test_a_kit_whose_other_part_is_elsewhere_is_woken_and_nobody_behind_it_takes_its_share() -> None:
    kit = replace(a_claim(1, waiting=1), parts=SET, missing=frozenset([MUG]))
    behind = a_claim(2, waiting=3)
    book = a_book(0, kit, behind)

    set_on_hand(book, SHELF, 4)

    assert book.woken == {kit.line_id}
    assert (kit.held, behind.held, behind.waiting, book.available(MUG)) == (0, 2, 1, 2)


def test_a_kit_that_waits_for_something_else_is_left_asleep() -> None:
    kit = replace(a_claim(1, waiting=1), parts=SET, missing=frozenset([TEE]))
    behind = a_claim(2, waiting=3)
    book = a_book(0, kit, behind)

    set_on_hand(book, SHELF, 3)

    assert (book.woken, behind.held) == (set(), 3)


def test_who_comes_new_waits_behind_a_kit_that_has_been_woken() -> None:
    kit = replace(a_claim(1, waiting=1), parts=SET, woken=True)
    book = StockBook({(MUG, SHELF): StockLevel(3)}, awaited=[MUG], unsettled=[MUG], queue=Line(kit))
    newcomer = new_claim(book, 2)

    demand(book, newcomer, 3)

    assert (newcomer.held, newcomer.waiting) == (1, 2)


def test_a_woken_kit_that_can_be_had_is_had_and_then_the_others_have_their_turn() -> None:
    kit = replace(a_claim(1, waiting=1), parts=SET, woken=True)
    behind = a_claim(2, waiting=5)
    book = a_box(
        3, 1, kit, awaited=[MUG, TEE], unsettled=[MUG, TEE], queue=lambda sku, _: [kit, behind][: 1 + (sku == MUG)]
    )

    book.settle([kit.line_id], "woken/1")

    assert (kit.held, kit.woken, behind.held, behind.waiting) == (1, False, 1, 4)


def test_a_woken_kit_that_cannot_be_had_goes_back_to_sleep_and_lets_the_others_pass() -> None:
    kit = replace(a_claim(1, waiting=1), parts=SET, woken=True)
    behind = a_claim(2, waiting=5)
    book = a_box(
        3, 0, kit, awaited=[MUG, TEE], unsettled=[MUG, TEE], queue=lambda sku, _: [kit, behind][: 1 + (sku == MUG)]
    )

    book.settle([kit.line_id], "woken/1")

    assert (kit.held, kit.woken, kit.missing, behind.held) == (0, False, {TEE}, 3)
    assert kit.line_id in book.changed_claims


def test_a_woken_kit_of_which_nothing_is_left_goes_back_to_sleep() -> None:
    kit = replace(a_claim(1, waiting=1), parts=SET, woken=True)
    book = a_box(0, 0, kit, awaited=[MUG, TEE], unsettled=[MUG, TEE])

    book.settle([kit.line_id], "woken/1")

    assert (kit.woken, kit.missing) == (False, {MUG, TEE})


# ---------------------------------------------------------------- orders held together


def two_lines(book: StockBook, order: int = 1) -> tuple[Claim, Claim]:
    """The lines of an order that is held together: a mug's and a tee's."""
    return tuple(
        book.claim(Claim(UUID(int=next(_numbers)), UUID(int=order), {sku: 1}, minutes(order), together=True))
        for sku in (MUG, TEE)
    )


def ask(book: StockBook, claims: Iterable[Claim], *wanted: int, revision: int = 1) -> None:
    """Let the lines of an order ask, then serve them."""
    reference = ""
    for claim, units in zip(claims, wanted, strict=True):
        reference = of(claim, revision)
        book.demand(claim, units, reference)
    book.serve(reference)


def test_an_order_held_together_takes_all_or_nothing() -> None:
    book = a_box(5, 1)
    short, whole = two_lines(book, 1), two_lines(book, 2)

    ask(book, short, 2, 2)
    ask(book, whole, 2, 1)

    assert [(claim.held, claim.waiting) for claim in (*short, *whole)] == [(0, 2), (0, 2), (2, 0), (1, 0)]
    assert [claim.missing for claim in short] == [frozenset(), {TEE}]


def test_what_completes_an_order_releases_all_of_it() -> None:
    book = a_box(5, 1)
    lines = two_lines(book)
    ask(book, lines, 2, 2)

    book.correct((TEE, SHELF), 1, Cause.RECEIVED, "delivery/1")
    book.serve("delivery/1")

    assert [claim.held for claim in lines] == [2, 2]


def test_an_order_that_gives_up_what_it_misses_gets_the_rest() -> None:
    book = a_box(5, 1)
    lines = two_lines(book)
    ask(book, lines, 2, 2)

    ask(book, lines, 2, 0, revision=2)

    assert [(claim.held, claim.waiting) for claim in lines] == [(2, 0), (0, 0)]


def test_an_order_held_together_of_which_a_part_is_elsewhere_is_woken() -> None:
    mug, tee = (
        replace(a_claim(1, waiting=1), together=True, missing=frozenset([MUG])),
        replace(a_claim(1, waiting=1), together=True, parts={TEE: 1}),
    )
    book = a_book(0, mug, tee)

    set_on_hand(book, SHELF, 1)

    assert (book.woken, mug.held, mug.woken, tee.woken) == ({mug.order_id}, 0, True, True)


# ---------------------------------------------------------------- shortages


def test_what_could_not_be_held_leaves_its_evidence() -> None:
    book = a_book(1)
    claim = new_claim(book, 1)

    demand(book, claim, 3)

    assert book.shortages == [Shortage(claim.line_id, claim.order_id, 2, frozenset([MUG]), False, of(claim))]


def test_who_waits_on_as_before_leaves_no_new_evidence() -> None:
    claim = a_claim(1, held=1, waiting=2)
    book = a_book(1, claim)

    demand(book, claim, 3)
    demand(book, claim, 2, 2)

    assert (claim.waiting, book.shortages) == (1, [])


def test_what_another_order_of_the_same_book_gives_back_was_never_missing() -> None:
    first = a_claim(1, held=2)
    book = a_book(2, first)
    second = new_claim(book, 2)

    demand(book, second, 3)
    assert [each.units for each in book.shortages] == [3]
    demand(book, first, 0, 2)

    assert (second.held, second.waiting) == (2, 1)
    assert book.shortages == [Shortage(second.line_id, second.order_id, 1, frozenset([MUG]), False, of(second))]


# ---------------------------------------------------------------- shipping


def test_ships_from_its_own_reservation() -> None:
    claim = a_claim(1, held=3)
    book = a_book(10, claim)

    assert book.ship(claim, 2, of(claim)) == {}

    assert (claim.held, book.level((MUG, SHELF))) == (1, StockLevel(8, 1))
    assert entries(book) == [(Cause.SHIPPED, of(claim), -2, -2)]


def test_a_line_that_waited_ships_from_what_is_free() -> None:
    claim = a_claim(1, held=1)
    book = a_book(5, claim)

    assert book.ship(claim, 4, of(claim)) == {}

    assert (claim.held, claim.waiting, book.level((MUG, SHELF))) == (0, 0, StockLevel(1, 0))


def test_what_is_shipped_does_not_wait_any_more() -> None:
    holder, claim = a_claim(1, held=3), a_claim(2, waiting=5)
    book = a_book(3, holder, claim)

    assert book.ship(claim, 2, of(claim)) == {MUG: 2}

    assert (claim.waiting, holder.held) == (3, 3)
    assert book.level((MUG, SHELF)) == StockLevel(3, 3)


def test_what_the_book_does_not_have_cannot_leave_it() -> None:
    claim = a_claim(1, held=1)
    book = a_book(2, claim)

    assert book.ship(claim, 5, of(claim)) == {MUG: 3}

    assert book.level((MUG, SHELF)) == StockLevel(0, 0)


def test_shipping_never_touches_what_others_hold() -> None:
    holder, claim = a_claim(1, held=3), a_claim(2, held=1)
    book = a_book(4, holder, claim)

    assert book.ship(claim, 3, of(claim)) == {MUG: 2}

    assert (holder.held, book.level((MUG, SHELF))) == (3, StockLevel(3, 3))


def test_an_undone_fulfillment_comes_back_to_the_shelf_and_serves_the_queue() -> None:
    claim, waiting = a_claim(1), a_claim(2, waiting=2)
    book = a_book(0, claim, waiting)

    book.unship(claim, 3, of(claim))
    book.serve(of(claim))

    assert (waiting.held, waiting.waiting) == (2, 0)
    assert book.level((MUG, SHELF)) == StockLevel(3, 2)
    assert entries(book)[0] == (Cause.UNSHIPPED, of(claim), 3, 0)


# ---------------------------------------------------------------- corrections


def test_a_correction_is_one_entry() -> None:
    book = a_book(10)

    set_on_hand(book, SHELF, 7)

    assert entries(book) == [(Cause.ADJUSTED, "form/1", -3, 0)]


def test_the_newest_reservations_go_back_to_the_queue_when_less_is_left() -> None:
    first, second, third = a_claim(1, held=2), a_claim(2, held=2), a_claim(3, held=2)
    book = a_book(6, third, first, second)

    set_on_hand(book, SHELF, 3)

    assert [(each.held, each.waiting) for each in (first, second, third)] == [(2, 0), (1, 1), (0, 2)]
    assert book.level((MUG, SHELF)) == StockLevel(3, 3)
    assert entries(book) == [
        (Cause.RELEASED, f"{third.line_id} by form/1", 0, -2),
        (Cause.RELEASED, f"{second.line_id} by form/1", 0, -1),
        (Cause.ADJUSTED, "form/1", -3, 0),
    ]


def test_a_correction_of_one_sku_takes_nothing_from_another() -> None:
    mug, tee = a_claim(1, held=2), replace(a_claim(2), parts={TEE: 1}, allocated={(TEE, SHELF): 2})
    book = StockBook({(MUG, SHELF): StockLevel(2, 2), (TEE, SHELF): StockLevel(2, 2)}, [mug, tee])

    set_on_hand(book, SHELF, 0)

    assert (mug.held, mug.waiting, tee.held, tee.waiting) == (0, 2, 2, 0)


def test_what_was_sent_back_to_the_queue_finds_stock_elsewhere() -> None:
    claim = a_claim(1, held=4)
    book = a_book(4, claim, barn=3)

    set_on_hand(book, SHELF, 0)

    assert (claim.allocated, claim.waiting) == ({(MUG, BARN): 3}, 1)


def test_a_count_that_finds_the_same_says_nothing() -> None:
    claim = a_claim(1, held=2, waiting=0)
    book = a_book(4, claim)

    set_on_hand(book, SHELF, 4)

    assert (book.movements, book.changed_claims) == ([], set())


def test_nothing_is_counted_below_zero() -> None:
    with pytest.raises(ValueError, match="cannot be negative"):
        set_on_hand(a_book(1), SHELF, -1)


def test_an_opening_balance_serves_who_waits() -> None:
    claim = a_claim(1, waiting=2)
    book = a_book(0, claim)

    book.open((MUG, BARN), 5, "adopt/1")
    book.serve("adopt/1")

    assert (claim.allocated, book.level((MUG, BARN))) == ({(MUG, BARN): 2}, StockLevel(5, 2))
    assert entries(book)[0] == (Cause.ADOPTED, "adopt/1", 5, 0)


def test_a_place_is_opened_once() -> None:
    with pytest.raises(ValueError, match="has an opening balance here"):
        a_book(1).open((MUG, SHELF), 5, "adopt/1")


def test_a_place_opened_with_nothing_is_counted_all_the_same() -> None:
    book = StockBook({})

    book.open((TEE, SHELF), 0, "adopt/1")

    assert book.counts([TEE])
    assert (book.opened, book.movements) == ([(TEE, SHELF)], [])


# ---------------------------------------------------------------- several locations


def test_takes_from_the_preferred_location_first() -> None:
    book = a_book(2, barn=5)
    claim = new_claim(book, 100)

    demand(book, claim, 4)

    assert claim.allocated == {(MUG, SHELF): 2, (MUG, BARN): 2}
    assert book.available(MUG) == 3


def test_preference_is_what_the_merchant_says_and_not_a_matter_of_ids() -> None:
    levels = {(MUG, SHELF): StockLevel(2, 0), (MUG, BARN): StockLevel(5, 0)}
    book = StockBook(levels, location_order=[BARN, SHELF])
    claim = new_claim(book, 100)

    demand(book, claim, 6)
    demand(book, claim, 5)

    assert claim.allocated == {(MUG, BARN): 5}


def test_a_place_opened_later_has_its_rank_all_the_same() -> None:
    book = StockBook({(MUG, BARN): StockLevel(5, 0)}, location_order=[SHELF, BARN])
    book.open((MUG, SHELF), 2, "adopt/1")
    claim = new_claim(book, 100)

    demand(book, claim, 3)

    assert claim.allocated == {(MUG, SHELF): 2, (MUG, BARN): 1}


def test_gives_back_to_the_least_preferred_location_first() -> None:
    claim = a_claim(1, held=2, barn=2)
    book = a_book(2, claim, barn=5)

    demand(book, claim, 1)

    assert claim.allocated == {(MUG, SHELF): 1}
    assert [(each.place[1], each.change.allocated) for each in book.movements] == [(BARN, -2), (SHELF, -1)]


def test_ships_where_it_is_reserved() -> None:
    claim = a_claim(1, held=1, barn=2)
    book = a_book(5, claim, barn=2)

    assert book.ship(claim, 3, of(claim)) == {}

    assert (book.level((MUG, SHELF)), book.level((MUG, BARN))) == (StockLevel(4), StockLevel())


def test_another_sku_is_another_matter() -> None:
    book = StockBook({(MUG, SHELF): StockLevel(1, 0), (TEE, SHELF): StockLevel(9, 0)})
    mug = new_claim(book, 100)

    demand(book, mug, 3)

    assert (mug.waiting, book.level((TEE, SHELF))) == (2, StockLevel(9, 0))
    assert {each.place for each in book.movements} == {(MUG, SHELF)}


# ---------------------------------------------------------------- what is here, but not for sale


def test_damaged_goods_are_here_but_not_for_sale() -> None:
    book = a_book(5)

    book.set_aside((MUG, SHELF), 2, Condition.DAMAGED, "form/1")

    assert (book.level((MUG, SHELF)), book.available(MUG)) == (StockLevel(5, damaged=2), 3)
    assert [(each.cause, each.change) for each in book.movements] == [(Cause.SET_ASIDE, StockLevel(damaged=2))]


def test_setting_reserved_goods_aside_sends_the_last_order_back_to_the_queue() -> None:
    first, last = a_claim(1, held=2), a_claim(2, held=2)
    book = a_book(5, first, last)

    book.set_aside((MUG, SHELF), 2, Condition.QUARANTINED, "form/1")
    book.serve("form/1")

    assert ((first.held, first.waiting), (last.held, last.waiting)) == ((2, 0), (1, 1))
    assert book.level((MUG, SHELF)) == StockLevel(5, 3, quarantined=2)


def test_no_more_can_be_set_aside_than_there_is() -> None:
    book = a_book(5)
    book.set_aside((MUG, SHELF), 4, Condition.DAMAGED, "form/1")

    with pytest.raises(ValueError, match="not that many units"):
        book.set_aside((MUG, SHELF), 2, Condition.QUARANTINED, "form/2")


def test_restored_goods_are_given_to_those_who_wait() -> None:
    claim = a_claim(1, waiting=2)
    book = StockBook({(MUG, SHELF): StockLevel(3, quarantined=3)}, [claim])

    book.restore((MUG, SHELF), 1, Condition.QUARANTINED, "form/1")
    book.write_off((MUG, SHELF), 2, Condition.QUARANTINED, "form/2")
    book.serve("form/1")

    assert (claim.held, book.level((MUG, SHELF))) == (1, StockLevel(1, 1))


def test_what_is_not_set_aside_cannot_be_restored_or_written_off() -> None:
    book = a_book(5)

    with pytest.raises(AssertionError, match="restored would leave"):
        book.restore((MUG, SHELF), 1, Condition.DAMAGED, "form/1")


def test_a_count_below_what_is_set_aside_takes_that_away_last() -> None:
    holder = a_claim(1, held=1)
    book = StockBook({(MUG, SHELF): StockLevel(5, 1, quarantined=1, damaged=2)}, [holder])

    book.correct((MUG, SHELF), -4, Cause.COUNTED, "count/1")
    book.serve("count/1")

    assert (holder.waiting, book.level((MUG, SHELF))) == (1, StockLevel(1, damaged=1))


# ---------------------------------------------------------------- between locations


def test_goods_on_their_way_are_incoming_until_they_arrive() -> None:
    claim = a_claim(1, waiting=1)
    book = a_book(5, claim, barn=0)
    book.send((MUG, SHELF), (MUG, BARN), 4, "transfer/1")
    assert (book.level((MUG, SHELF)), book.level((MUG, BARN))) == (StockLevel(1), StockLevel(incoming=4))

    book.arrive((MUG, BARN), 3, "transfer/1/1")
    book.lose((MUG, BARN), 1, "transfer/1/2")

    assert book.level((MUG, BARN)) == StockLevel(3)
    assert [each.cause for each in book.movements] == [Cause.SENT, Cause.SENT, Cause.ARRIVED, Cause.LOST]


def test_only_what_nobody_holds_is_sent() -> None:
    book = a_book(5, a_claim(1, held=3), barn=0)

    with pytest.raises(ValueError, match="that nobody holds"):
        book.send((MUG, SHELF), (MUG, BARN), 3, "transfer/1")


def test_goods_may_be_sent_to_where_the_sku_was_never_kept() -> None:
    book = a_book(5)

    book.send((MUG, SHELF), (MUG, BARN), 2, "transfer/1")

    assert (book.opened, book.level((MUG, BARN))) == ([(MUG, BARN)], StockLevel(incoming=2))


def test_a_channel_gets_what_lies_where_it_sells_from() -> None:
    book = a_book(2, barn=2)
    claim = book.claim(Claim(UUID(int=1), UUID(int=1), {MUG: 1}, minutes(1), prefers=[BARN]))

    demand(book, claim, 3)

    assert claim.allocated == {(MUG, BARN): 2, (MUG, SHELF): 1}


# ---------------------------------------------------------------- the ledger


def test_entries_are_numbered_and_keep_the_balance_they_leave() -> None:
    book = StockBook({(MUG, SHELF): StockLevel(5, entries=7)})
    claim = new_claim(book, 1)

    demand(book, claim, 2)
    book.correct((MUG, SHELF), 3, Cause.RECEIVED, "delivery/1")

    assert [each.after for each in book.movements] == [StockLevel(5, 2, entries=8), StockLevel(8, 2, entries=9)]


def test_what_was_taken_back_at_once_leaves_no_entry() -> None:
    book = a_book(5)

    book.correct((MUG, SHELF), 3, Cause.RECEIVED, "delivery/1")
    book.correct((MUG, SHELF), -3, Cause.RECEIVED, "delivery/1")

    assert book.movements == []


def test_the_rule_itself_stops_what_would_break_it() -> None:
    claim = a_claim(1, held=1)
    book = StockBook({(MUG, SHELF): StockLevel(0, 0)}, [claim])

    with pytest.raises(AssertionError, match="shipped would leave"):
        book.ship(claim, 1, of(claim))


# ---------------------------------------------------------------- held elsewhere


def test_holds_at_another_location_what_an_order_has_reserved() -> None:
    claim = a_claim(1, held=3)
    book = a_book(5, claim, barn=4)

    book.rearrange([(claim, {SHELF: 1, BARN: 2})], "order/decision")

    assert claim.allocated == {(MUG, SHELF): 1, (MUG, BARN): 2}
    assert [(each.place[1], each.cause, each.change) for each in book.movements] == [
        (SHELF, Cause.RELEASED, StockLevel(allocated=-2)),
        (BARN, Cause.ALLOCATED, StockLevel(allocated=2)),
    ]
    assert book.changed_claims == {claim.line_id}


def test_what_is_held_there_already_stays_without_an_entry() -> None:
    claim = a_claim(1, held=3)
    book = a_book(5, claim, barn=4)

    book.rearrange([(claim, {SHELF: 3})], "order/decision")

    assert (book.movements, book.changed_claims) == ([], set())


def test_two_lines_change_places_though_neither_place_has_room() -> None:
    here, there = a_claim(1, held=2), a_claim(1, barn=2)
    book = a_book(2, here, there, barn=2)

    book.rearrange([(here, {BARN: 2}), (there, {SHELF: 2})], "order/decision")

    assert (here.allocated, there.allocated) == ({(MUG, BARN): 2}, {(MUG, SHELF): 2})
    assert [book.level((MUG, place)).allocated for place in (SHELF, BARN)] == [2, 2]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({BARN: 3}, "not enough at the other location"),
        ({UUID(int=3): 3}, "not enough at the other location"),
        ({SHELF: 2}, "more or less than before"),
        ({SHELF: 4}, "more or less than before"),
    ],
    ids=["too much", "not kept there", "less", "more"],
)
def test_what_cannot_be_held_there_moves_nothing(wanted: dict[UUID, int], said: str) -> None:
    other, claim = a_claim(1, held=1), a_claim(2, held=3)
    book = a_book(9, other, claim, barn=2)

    with pytest.raises(ValueError, match=said):
        book.rearrange([(other, {BARN: 1}), (claim, wanted)], "order/decision")

    assert (book.movements, book.changed_claims) == ([], set())
    assert claim.allocated == {(MUG, SHELF): 3}


def test_a_kit_is_held_elsewhere_with_all_of_its_parts() -> None:
    book = StockBook(
        {(sku, place): StockLevel(4) for sku in (MUG, TEE) for place in (SHELF, BARN)}, location_order=[SHELF, BARN]
    )
    claim = new_claim(book, 1, parts={MUG: 2, TEE: 1})
    demand(book, claim, 2)

    book.rearrange([(claim, {BARN: 2})], "order/decision")

    assert claim.allocated == {(MUG, BARN): 4, (TEE, BARN): 2}
