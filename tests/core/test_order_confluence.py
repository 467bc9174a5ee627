"""In whichever order an order's bodies arrive, how often and in what batches: one state, one stock figure."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.core.model import Order, OrderStatus
from hub.core.services import Received
from tests.core.making import MUG, TEE, Desk, a_line, an_order, minutes

OVER = {"holds_stock": False}

CREATED = an_order(a_line(3), version=minutes(1), status=OrderStatus.PENDING, holds_stock=False)
PAID = an_order(a_line(3), version=minutes(2))
SHIPPED = an_order(a_line(3, fulfilled=3), version=minutes(3), status=OrderStatus.FULFILLED, **OVER)
CANCELLED = an_order(a_line(3, fulfilled=3), version=minutes(4), status=OrderStatus.CANCELLED, **OVER)

PART_SHIPPED = an_order(a_line(3, fulfilled=1), version=minutes(3))
REST_CANCELLED = an_order(a_line(3, fulfilled=1, removed=2), version=minutes(4), status=OrderStatus.CANCELLED, **OVER)

TAKEN_BACK = an_order(a_line(3), version=minutes(4))
NEVER_SHIPPED = an_order(a_line(3, removed=3), version=minutes(5), status=OrderStatus.CANCELLED, **OVER)

SWAPPED = an_order(a_line(1), a_line(2, id="2", listing="tee"), version=minutes(3))
SWAPPED_BACK = an_order(a_line(2, id="2", listing="tee"), a_line(4, id="3"), version=minutes(4))

GUESSED = an_order(a_line(3, fulfilled=2), version=minutes(3), whole=False)
ELSEWHERE = replace(PAID, version=minutes(3), shipped_by_channel=True)
SHIPPED_ELSEWHERE = replace(SHIPPED, version=minutes(4), shipped_by_channel=True)
OURS_AFTER_ALL = replace(SHIPPED, version=minutes(5))
REFUNDED = an_order(a_line(3, fulfilled=3), version=minutes(3), status=OrderStatus.REFUNDED, **OVER)

# Each life: the bodies a shop sends, None for a deletion, and what it has in the end.
LIVES: dict[str, tuple[list[Order | None], Order | None]] = {
    "shipped": ([CREATED, PAID, SHIPPED], SHIPPED),
    "shipped, then cancelled": ([CREATED, PAID, SHIPPED, CANCELLED], CANCELLED),
    "shipped in part, the rest cancelled": ([CREATED, PAID, PART_SHIPPED, REST_CANCELLED], REST_CANCELLED),
    "shipment taken back, then cancelled": ([CREATED, PAID, SHIPPED, TAKEN_BACK, NEVER_SHIPPED], NEVER_SHIPPED),
    "deleted": ([CREATED, PAID, CANCELLED, None], None),
    "shipped, then deleted": ([CREATED, PAID, SHIPPED, None], None),
    "deleted, then restored": (
        [CREATED, PAID, None, replace(PAID, version=minutes(5))],
        replace(PAID, version=minutes(5)),
    ),
    "edited twice": ([CREATED, PAID, SWAPPED, SWAPPED_BACK], SWAPPED_BACK),
    "known only in part": ([CREATED, PAID, GUESSED], REFUNDED),
    "turned over to the shop's own warehouse": ([CREATED, PAID, ELSEWHERE, SHIPPED_ELSEWHERE], SHIPPED_ELSEWHERE),
    "counted as shipped by us, and was not": ([PAID, SHIPPED, SHIPPED_ELSEWHERE], SHIPPED_ELSEWHERE),
    "turned back": ([PAID, ELSEWHERE, SHIPPED_ELSEWHERE, OURS_AFTER_ALL], OURS_AFTER_ALL),
    "two bodies of one second": ([CREATED, PAID, replace(PAID, lines=(a_line(2),))], replace(PAID, lines=(a_line(2),))),
}


class World:
    """A hub and a shop that answers what it is asked: with ``final``, or that it has no such order."""

    def __init__(self, final: Order | None, on_hand: int = 10) -> None:
        self.desk = Desk({MUG: on_hand, TEE: 10})
        self.final = final
        self.clock = minutes(10)
        self.asked = 0

    def tick(self) -> None:
        self.clock += timedelta(seconds=1)

    def hear(self, bodies: Sequence[Order | None]) -> None:
        batch = []
        for body in bodies:
            self.tick()
            batch.append(Received("100", body, self.clock))
        refetch = self.desk.import_(*batch).refetch
        while refetch:
            self.tick()
            self.asked += 1
            assert self.asked < 50, "the shop is asked for ever"
            refetch = self.desk.import_(Received("100", self.final, self.clock, self.clock, alone=True)).refetch

    def ending(self) -> object:
        record = self.desk.order()
        lines = {
            line.external_id: (line.quantity, line.fulfilled, line.removed, line.shipped)
            for line in record.lines.values()
            if line.present
        }
        waiting = {line: self.desk.waiting(line) for line in lines}
        return record.status, record.holds_stock, lines, waiting, self.desk.level(MUG), self.desk.level(TEE)


def ended(life: str, bodies: Sequence[Sequence[Order | None]], on_hand: int = 10) -> object:
    world = World(LIVES[life][1], on_hand)
    for batch in bodies:
        world.hear(batch)
    return world.ending()


@pytest.mark.parametrize("on_hand", [10, 2])
@pytest.mark.parametrize("life", LIVES)
def test_every_order_of_arrival_ends_the_same(life: str, on_hand: int) -> None:
    bodies, _ = LIVES[life]
    in_turn = ended(life, [[body] for body in bodies], on_hand)

    for shuffled in itertools.permutations(bodies):
        # One body at a time, and all of them in one batch.
        for batches in ([[body] for body in shuffled], [shuffled]):
            ending = ended(life, batches, on_hand)
            if life in ("shipped, then deleted", "deleted"):
                # What the shop does not have any more it cannot tell: stock and status count, not the old lines.
                assert without_lines(ending) == without_lines(in_turn), shuffled
            else:
                assert ending == in_turn, shuffled


def without_lines(ending: object) -> object:
    status, holds, _, waiting, mugs, tees = ending  # type: ignore[misc]
    return status, holds, sum(waiting.values()), mugs, tees


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_repeats_and_batches_make_no_difference(data: st.DataObject) -> None:
    life = data.draw(st.sampled_from([name for name, (_, final) in LIVES.items() if final is not None]))
    bodies = LIVES[life][0]
    more = data.draw(st.lists(st.sampled_from(bodies), max_size=5))
    shuffled = data.draw(st.permutations([*bodies, *more]))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(shuffled)), max_size=4)))
    batches = [shuffled[start:end] for start, end in itertools.pairwise([0, *cuts, len(shuffled)])]

    assert ended(life, [batch for batch in batches if batch]) == ended(life, [[body] for body in bodies])


def test_a_life_is_told_by_its_last_body_alone() -> None:
    for life, (bodies, final) in LIVES.items():
        if final is None or life == "known only in part":
            continue
        assert ended(life, [[final]])[4:] == ended(life, [[body] for body in bodies])[4:], life  # type: ignore[index]
