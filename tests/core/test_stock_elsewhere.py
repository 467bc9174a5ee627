"""The stock book where somebody else keeps the shelf: what left from one place alone, and counts from outside."""

from __future__ import annotations

from uuid import UUID

import pytest

from hub.core.model import StockLevel
from hub.core.stock import Cause, Claim, Place, StockBook
from tests.core.making import MUG, NOON, TEE, minutes

HERE, THERE = UUID(int=1), UUID(int=2)
AT_HERE, AT_THERE = (MUG, HERE), (MUG, THERE)


def claim(number: int, units: int, place: Place = AT_HERE, **more: int) -> Claim:
    """A line that holds so many mugs at a place."""
    return Claim(
        UUID(int=100 + number), UUID(int=200 + number), {MUG: 1}, minutes(number), allocated={place: units}, **more
    )


def book(levels: dict[Place, StockLevel], *claims: Claim) -> StockBook:
    return StockBook(levels, claims, location_order=[HERE, THERE])


def figures(book: StockBook, place: Place) -> tuple[int, int, int]:
    level = book.level(place)
    return level.on_hand, level.allocated, level.quarantined


def test_what_left_one_place_gives_up_its_reservation_wherever_it_is() -> None:
    line = claim(1, 3, AT_THERE)
    opened = book({AT_HERE: StockLevel(5), AT_THERE: StockLevel(4, 3)}, line)

    assert opened.ship_from(line, 3, HERE, {MUG: 3}, f"{line.order_id}/1") == {}

    assert (figures(opened, AT_HERE), figures(opened, AT_THERE)) == ((2, 0, 0), (4, 0, 0))
    assert line.held == 0


def test_units_that_were_counted_out_before_only_give_up_their_reservation() -> None:
    line = claim(1, 3)
    opened = book({AT_HERE: StockLevel(5, 3)}, line)

    opened.ship_from(line, 3, HERE, {MUG: 1}, f"{line.order_id}/1")

    assert figures(opened, AT_HERE) == (4, 0, 0)
    (movement,) = opened.movements
    assert (movement.cause, movement.change.on_hand, movement.change.allocated) == (Cause.SHIPPED, -1, -3)


def test_what_left_for_one_line_may_have_been_reserved_for_another() -> None:
    mine, yours = claim(1, 0), claim(2, 4)
    mine.allocated = {}
    mine.waiting = 2
    opened = book({AT_HERE: StockLevel(4, 4)}, mine, yours)

    opened.ship_from(mine, 2, HERE, {MUG: 2}, f"{mine.order_id}/1")

    assert figures(opened, AT_HERE) == (2, 2, 0)
    assert (yours.held, yours.waiting, mine.waiting) == (2, 2, 0)


def test_what_was_set_aside_may_have_left_all_the_same() -> None:
    line = claim(1, 1)
    opened = book({AT_HERE: StockLevel(3, 1, 2)}, line)

    opened.ship_from(line, 3, HERE, {MUG: 3}, f"{line.order_id}/1")

    assert figures(opened, AT_HERE) == (0, 0, 0)


def test_more_than_there_is_is_missing() -> None:
    line = claim(1, 1)
    opened = book({AT_HERE: StockLevel(2, 1)}, line)

    assert opened.ship_from(line, 5, HERE, {MUG: 5}, f"{line.order_id}/1") == {MUG: 3}
    assert figures(opened, AT_HERE) == (0, 0, 0)


def test_a_kit_gives_up_all_of_its_parts_though_one_was_counted_out() -> None:
    line = Claim(UUID(int=100), UUID(int=200), {MUG: 2, TEE: 1}, NOON, allocated={AT_HERE: 4, (TEE, HERE): 2})
    opened = book({AT_HERE: StockLevel(4, 4), (TEE, HERE): StockLevel(2, 2)}, line)

    opened.ship_from(line, 1, HERE, {MUG: 0, TEE: 1}, f"{line.order_id}/1")

    assert (figures(opened, AT_HERE), figures(opened, (TEE, HERE))) == ((4, 2, 0), (1, 1, 0))
    assert line.held == 1


@pytest.mark.parametrize(
    ("before", "on_hand", "aside", "after"),
    [
        (StockLevel(10), 7, 2, (7, 0, 2)),
        (StockLevel(10, 0, 4), 10, 0, (10, 0, 0)),
        (StockLevel(10, 0, 0, 3), 2, 1, (2, 0, 1)),
    ],
)
def test_a_count_from_outside_is_one_entry(
    before: StockLevel, on_hand: int, aside: int, after: tuple[int, int, int]
) -> None:
    opened = book({AT_HERE: before})

    opened.recount(AT_HERE, on_hand, aside, Cause.COUNTED, "record 7")

    assert figures(opened, AT_HERE) == after
    assert [movement.cause for movement in opened.movements] == [Cause.COUNTED]
    opened.recount(AT_HERE, on_hand, aside, Cause.COUNTED, "record 8")
    assert len(opened.movements) == 1


def test_who_is_being_packed_for_loses_the_reservation_last() -> None:
    first, last = claim(1, 2), claim(2, 2)
    opened = book({AT_HERE: StockLevel(4, 4)}, first, last)
    opened.in_hand = {last.line_id}

    opened.recount(AT_HERE, 2, 0, Cause.COUNTED, "record 7")

    assert (first.held, last.held) == (0, 2)


def test_what_comes_back_comes_back_where_it_left() -> None:
    line = claim(1, 0)
    line.allocated = {}
    opened = book({AT_HERE: StockLevel(1), AT_THERE: StockLevel(1)}, line)

    opened.unship(line, 2, f"{line.order_id}/1 void", THERE)
    opened.unship(line, 1, f"{line.order_id}/2 void", UUID(int=9))

    assert (opened.level(AT_HERE).on_hand, opened.level(AT_THERE).on_hand) == (2, 3)
