"""Importing orders: which of two bodies counts, what a body does to lines and stock, and what has to be fetched."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from hub.core.allocation import QueueOrder, StockPolicy
from hub.core.model import Order, OrderLine, OrderStatus
from hub.core.services import Received
from hub.core.stock import Cause
from tests.core.making import MUG, NOON, SHELF, TEE, Desk, a_line, an_order, euros, minutes


def answer(order: Order, *, asked: float, received: float | None = None) -> Received:
    """What the vendor said when it was asked for this very order, ``asked`` minutes after noon."""
    return Received(
        order.external_id, order, minutes(asked if received is None else received), minutes(asked), alone=True
    )


def polled(order: Order, *, asked: float) -> Received:
    return Received(order.external_id, order, minutes(asked), minutes(asked))


def removal(*, at: float, id: str = "100") -> Received:
    """The news that the order was deleted."""
    return Received(id, None, minutes(at))


def gone(*, asked: float, id: str = "100") -> Received:
    """The vendor, asked for the order, does not have it."""
    return Received(id, None, minutes(asked), minutes(asked), alone=True)


# ---------------------------------------------------------------- what an order does to stock


def test_an_open_order_holds_its_stock() -> None:
    desk = Desk({MUG: 10})

    plan = desk.hear(an_order(a_line(3)))

    assert desk.level() == (10, 3)
    assert plan.outcomes == ["applied"]
    assert [(note.kind, note.summary) for note in plan.notes] == [
        ("order_imported", "Order #100 imported: 30.00 EUR, open. 3 allocated.")
    ]
    assert plan.refetch == set()


def test_an_order_that_the_channel_holds_no_stock_for_holds_none_here() -> None:
    desk = Desk({MUG: 10})

    desk.hear(an_order(a_line(3), status=OrderStatus.PENDING, holds_stock=False))

    assert desk.level() == (10, 0)


def test_what_the_channel_ships_itself_holds_nothing_and_takes_nothing() -> None:
    desk = Desk({MUG: 10})
    theirs = an_order(a_line(3), shipped_by_channel=True, paid=False)

    plan = desk.hear(theirs)
    assert (desk.level(), desk.order().holds_stock, desk.order().hold_until) == ((10, 0), False, None)
    assert plan.notes[0].summary == "Order #100 imported: 30.00 EUR, open."

    shipped = replace(theirs, version=minutes(1), status=OrderStatus.FULFILLED, lines=(a_line(3, fulfilled=3),))
    assert (desk.hear(shipped).shortfalls, desk.level(), desk.ledger) == ([], (10, 0), [])


def test_nobody_is_asked_to_match_what_the_channel_ships_itself() -> None:
    desk = Desk({MUG: 10})

    assert desk.hear(an_order(a_line(1, listing="new"), shipped_by_channel=True)).unknown_listings == {}
    assert set(desk.hear(an_order(a_line(1, listing="new"), id="101")).unknown_listings) == {"new"}


def test_an_order_that_the_channel_takes_over_gives_back_what_it_held_and_what_was_taken_out() -> None:
    desk = Desk({MUG: 10})
    desk.hear(an_order(a_line(3, fulfilled=1)))
    assert desk.level() == (9, 2)

    desk.hear(an_order(a_line(3, fulfilled=1), version=minutes(1), shipped_by_channel=True))

    assert desk.level() == (10, 0)
    assert desk.ledger[-2:] == [("unshipped", 1, 0), ("released", 0, -2)]


def test_an_order_that_comes_back_to_us_takes_its_stock() -> None:
    desk = Desk({MUG: 10})
    desk.hear(an_order(a_line(3, fulfilled=1), shipped_by_channel=True))

    desk.hear(an_order(a_line(3, fulfilled=1), version=minutes(1)))

    assert desk.level() == (9, 2)


def test_what_the_hub_has_sent_itself_has_left_whoever_ships_the_rest() -> None:
    desk = Desk({MUG: 10})
    desk.hear(an_order(a_line(3, fulfilled=2)))
    desk.order().lines["1"].sent = 1

    desk.hear(an_order(a_line(3, fulfilled=3), version=minutes(1), shipped_by_channel=True))

    assert desk.level() == (9, 0)


def test_two_lines_of_one_sku_are_summed_in_one_entry() -> None:
    desk = Desk({MUG: 5})

    plan = desk.hear(an_order(a_line(3), a_line(4, id="2")))

    assert desk.level() == (5, 5)
    assert (desk.waiting("1"), desk.waiting("2")) == (0, 2)
    assert desk.ledger == [("allocated", 0, 5)]
    assert plan.notes[0].summary.endswith("5 allocated, 2 on backorder.")


def test_shipping_takes_the_goods_off_the_shelf() -> None:
    desk = Desk({MUG: 10})
    desk.hear(an_order(a_line(3)))

    desk.hear(an_order(a_line(3, fulfilled=2), version=minutes(1)))
    assert desk.level() == (8, 1)

    shipped = an_order(a_line(3, fulfilled=3), version=minutes(2), status=OrderStatus.FULFILLED, holds_stock=False)
    plan = desk.hear(shipped)
    assert (desk.level(), plan.shortfalls) == ((7, 0), [])
    assert plan.notes[0].summary == "Order #100 updated: 30.00 EUR, open → fulfilled."


def test_a_cancelled_order_gives_its_stock_back() -> None:
    desk = Desk({MUG: 10})
    desk.hear(an_order(a_line(3)))

    desk.hear(an_order(a_line(3, removed=3), version=minutes(1), status=OrderStatus.CANCELLED, holds_stock=False))

    assert desk.level() == (10, 0)
    assert desk.ledger == [("allocated", 0, 3), ("released", 0, -3)]


def test_units_cancelled_before_shipment_are_given_back() -> None:
    desk = Desk({MUG: 10})
    desk.hear(an_order(a_line(3)))

    desk.hear(an_order(a_line(3, removed=1, fulfilled=1), version=minutes(1)))

    assert desk.level() == (9, 1)


def test_an_undone_fulfillment_of_an_open_order_comes_back() -> None:
    desk = Desk({MUG: 10})
    desk.hear(an_order(a_line(3, fulfilled=3)))

    desk.hear(an_order(a_line(3), version=minutes(1)))

    assert desk.level() == (10, 3)
    assert desk.ledger == [("shipped", -3, 0), ("unshipped", 3, 0), ("allocated", 0, 3)]


def test_half_a_record_of_an_open_order_takes_a_fulfillment_back() -> None:
    desk = Desk({MUG: 10})
    desk.hear(an_order(a_line(3, fulfilled=3)))

    desk.hear(an_order(a_line(3), version=minutes(1), whole=False))

    assert desk.level() == (10, 3)


def test_half_a_record_of_a_finished_order_takes_no_fulfillment_back() -> None:
    desk = Desk({MUG: 10})
    over = {"status": OrderStatus.REFUNDED, "holds_stock": False}
    desk.hear(an_order(a_line(3, fulfilled=3), status=OrderStatus.FULFILLED, holds_stock=False))

    desk.hear(an_order(a_line(3), version=minutes(1), whole=False, **over))
    assert desk.level() == (7, 0)

    desk.import_(answer(an_order(a_line(3, fulfilled=3), version=minutes(1), **over), asked=2))
    assert desk.level() == (7, 0)
    assert desk.ledger == [("shipped", -3, 0)]


def test_shipping_more_than_there_was_tells_a_person_and_goes_no_lower_than_nothing() -> None:
    desk = Desk({MUG: 2})

    plan = desk.hear(an_order(a_line(5, fulfilled=5), status=OrderStatus.FULFILLED, holds_stock=False))

    assert desk.level() == (0, 0)
    assert [(each.order_number, each.sku_id, each.units) for each in plan.shortfalls] == [("#100", MUG, 3)]
    again = desk.hear(
        an_order(a_line(5, fulfilled=5), version=minutes(1), status=OrderStatus.FULFILLED, holds_stock=False)
    )
    assert (again.shortfalls, desk.level()) == ([], (0, 0))


def test_supply_reaches_the_order_that_has_waited_longest() -> None:
    desk = Desk({MUG: 0})
    desk.hear(an_order(a_line(2), id="later", placed_at=minutes(5)))
    desk.hear(an_order(a_line(2), id="sooner", placed_at=minutes(1)))

    desk.book.correct((MUG, SHELF), 3, Cause.RECEIVED, "delivery/1")
    desk.book.serve("delivery/1")

    assert (desk.waiting(order_id="sooner"), desk.waiting(order_id="later")) == (0, 1)


# ---------------------------------------------------------------- before the SKU was counted


@pytest.mark.parametrize(
    "life",
    [
        [a_line(3, fulfilled=3)],
        [a_line(3, fulfilled=3), a_line(3, fulfilled=3)],
        [a_line(3, removed=3)],
    ],
    ids=["shipped", "shipped and touched again", "called off"],
)
def test_business_finished_before_the_sku_was_counted_never_touches_stock(life: list[OrderLine]) -> None:
    desk = Desk({MUG: 10}, counted_at=minutes(60))

    for number, line in enumerate(life):
        over = OrderStatus.FULFILLED if line.fulfilled else OrderStatus.CANCELLED
        desk.hear(an_order(line, version=minutes(90 + number), placed_at=NOON, status=over, holds_stock=False))

    assert (desk.level(), desk.ledger) == ((10, 0), [])


def test_an_order_that_seems_a_moment_older_than_the_count_is_younger() -> None:
    desk = Desk({MUG: 10}, counted_at=NOON + timedelta(seconds=50))

    desk.hear(an_order(a_line(3, fulfilled=3), status=OrderStatus.FULFILLED, holds_stock=False))

    assert desk.level() == (7, 0), "the shop's clock is slow, or has no seconds"


def test_what_happens_to_an_older_order_after_the_count_does_touch_stock() -> None:
    desk = Desk({MUG: 10}, counted_at=minutes(60))
    desk.hear(an_order(a_line(5, fulfilled=2), placed_at=NOON, version=minutes(70)))
    assert desk.level() == (10, 3)

    desk.hear(an_order(a_line(5, fulfilled=4), placed_at=NOON, version=minutes(80)))

    assert desk.level() == (8, 1)


def test_an_older_order_seen_twice_in_one_batch_is_as_if_seen_in_two() -> None:
    open_order = an_order(a_line(3), placed_at=NOON, version=minutes(70))
    shipped = replace(
        open_order,
        lines=(a_line(3, fulfilled=3),),
        version=minutes(80),
        status=OrderStatus.FULFILLED,
        holds_stock=False,
    )
    together, apart = (Desk({MUG: 10}, counted_at=minutes(60)) for _ in range(2))

    together.import_(*(Received("100", each, each.version) for each in (open_order, shipped)))
    for each in (open_order, shipped):
        apart.hear(each)

    assert together.level() == apart.level() == (7, 0)


def test_a_sku_that_is_not_counted_holds_nothing() -> None:
    desk = Desk({TEE: 5})

    plan = desk.hear(an_order(a_line(3)))
    assert (desk.level(TEE), desk.ledger, desk.waiting()) == ((5, 0), [], 0)
    assert desk.line().sku_id == MUG

    plan = desk.hear(an_order(a_line(3, fulfilled=3), version=minutes(1)))
    assert (plan.shortfalls, desk.line().fulfilled_before, desk.line().shipped) == ([], 3, 0)


# ---------------------------------------------------------------- listings that are not known


def test_an_order_is_kept_whole_when_one_listing_is_unknown() -> None:
    desk = Desk({MUG: 10}, bound={"mug": MUG, "tee": None})

    plan = desk.hear(an_order(a_line(1), a_line(2, id="2", listing="tee"), a_line(1, id="3", listing=None)))

    assert sorted(desk.order().lines) == ["1", "2", "3"]
    assert desk.level() == (10, 1)
    assert [(each.listing_external_id, each.order_number) for each in plan.unknown_listings.values()] == [
        ("tee", "#100")
    ]


def test_nobody_is_asked_about_the_listing_of_an_order_that_is_over() -> None:
    desk = Desk({}, bound={})

    plan = desk.hear(an_order(a_line(1, fulfilled=1), status=OrderStatus.FULFILLED, holds_stock=False))

    assert plan.unknown_listings == {}
    assert sorted(desk.order().lines) == ["1"]


def test_a_line_keeps_its_sku_when_the_listing_is_matched_to_another() -> None:
    desk = Desk({MUG: 10, TEE: 10})
    desk.hear(an_order(a_line(2)))

    desk.bound["mug"] = TEE
    desk.hear(an_order(a_line(3), version=minutes(1)))

    assert (desk.level(MUG), desk.level(TEE)) == ((10, 3), (10, 0))
    assert desk.line().sku_id == MUG


def test_lines_that_hold_nothing_are_dropped_and_removed_like_others() -> None:
    desk = Desk({MUG: 10})
    desk.hear(an_order(a_line(1), a_line(1, id="2", listing=None), a_line(1, id="3", listing="unknown")))

    desk.hear(an_order(a_line(1), a_line(1, id="3", listing="unknown"), version=minutes(1)))
    assert [desk.line(id).present for id in ("1", "2", "3")] == [True, False, True]

    desk.import_(removal(at=2))
    assert (desk.level(), desk.order().status) == ((10, 0), OrderStatus.REMOVED)


# ---------------------------------------------------------------- edited orders


def test_a_line_added_by_an_edit_holds_stock() -> None:
    desk = Desk({MUG: 10, TEE: 10})
    desk.hear(an_order(a_line(1)))

    desk.hear(an_order(a_line(1), a_line(2, id="2", listing="tee"), version=minutes(1)))

    assert (desk.level(MUG), desk.level(TEE)) == ((10, 1), (10, 2))


def test_a_line_dropped_by_an_edit_gives_its_stock_back_and_stays_on_record() -> None:
    desk = Desk({MUG: 10, TEE: 10})
    desk.hear(an_order(a_line(1), a_line(2, id="2", listing="tee")))

    desk.hear(an_order(a_line(1), version=minutes(1)))

    assert desk.level(TEE) == (10, 0)
    assert [desk.line(id).present for id in ("1", "2")] == [True, False]

    desk.hear(an_order(a_line(1), a_line(2, id="2", listing="tee"), version=minutes(2)))
    assert (desk.level(TEE), desk.line("2").present) == ((10, 2), True)


def test_a_quantity_changed_by_an_edit_changes_what_is_held() -> None:
    desk = Desk({MUG: 10})
    desk.hear(an_order(a_line(2)))

    desk.hear(an_order(a_line(6), version=minutes(1)))
    assert desk.level() == (10, 6)

    desk.hear(an_order(a_line(1), version=minutes(2)))
    assert desk.level() == (10, 1)


def test_lines_keep_the_order_in_which_the_channel_shows_them() -> None:
    desk = Desk({})
    desk.hear(an_order(a_line(1, id="b"), a_line(1, id="a")))

    desk.hear(an_order(a_line(1, id="a"), a_line(1, id="c"), a_line(1, id="b"), version=minutes(1)))

    assert [desk.line(id).position for id in ("a", "c", "b")] == [0, 1, 2]


# ---------------------------------------------------------------- which body counts


def test_an_older_body_changes_nothing() -> None:
    desk = Desk({MUG: 10})
    desk.hear(an_order(a_line(3), version=minutes(2)))

    plan = desk.hear(an_order(a_line(9), version=minutes(1)), at=minutes(5))

    assert (plan.outcomes, plan.changed, plan.refetch) == (["stale"], [], set())
    assert desk.level() == (10, 3)


def test_a_newer_body_stands_without_a_question() -> None:
    desk = Desk({MUG: 10})
    desk.hear(an_order(a_line(3)))

    plan = desk.hear(an_order(a_line(4), version=minutes(1)))

    assert (plan.outcomes, plan.refetch, desk.level()) == (["applied"], set(), (10, 4))


def test_half_a_newer_record_stands_until_the_whole_of_it_is_known() -> None:
    desk = Desk({MUG: 10})
    desk.hear(an_order(a_line(3)))

    plan = desk.hear(an_order(a_line(4), version=minutes(1), whole=False))

    assert (plan.outcomes, plan.refetch, desk.level()) == (["applied"], {"100"}, (10, 4))


def test_an_older_whole_body_makes_half_a_record_no_more_whole() -> None:
    desk = Desk({MUG: 10})
    desk.hear(an_order(a_line(3), version=minutes(1), whole=False))

    desk.hear(an_order(a_line(3)), at=minutes(2))

    assert not desk.order().whole


def test_an_answer_about_an_order_nobody_knew_is_the_last_word() -> None:
    desk = Desk({MUG: 10})

    plan = desk.import_(answer(an_order(a_line(3), whole=False), asked=1))

    assert (plan.outcomes, plan.refetch, desk.level()) == (["applied"], set(), (10, 3))


def test_the_same_body_again_changes_nothing() -> None:
    desk = Desk({MUG: 10})
    desk.hear(an_order(a_line(3)))

    plan = desk.hear(an_order(a_line(3)), at=minutes(5))

    assert (plan.outcomes, plan.changed, plan.notes, plan.refetch) == (["same"], [], [], set())


def test_one_version_with_another_content_stands_and_is_fetched() -> None:
    desk = Desk({MUG: 10})
    desk.hear(an_order(a_line(3)))

    plan = desk.hear(an_order(a_line(4)), at=minutes(1))

    assert (plan.outcomes, plan.refetch) == (["applied"], {"100"})
    assert desk.level() == (10, 4)


def test_an_answer_asked_for_afterwards_settles_a_tie() -> None:
    desk = Desk({MUG: 10})
    desk.hear(an_order(a_line(3)))
    desk.hear(an_order(a_line(4)), at=minutes(1))

    plan = desk.import_(answer(an_order(a_line(3)), asked=2))

    assert (plan.outcomes, plan.refetch) == (["applied"], set())
    assert desk.level() == (10, 3)


def test_an_answer_asked_for_at_that_very_moment_settles_it_as_well() -> None:
    desk = Desk({MUG: 10})
    desk.hear(an_order(a_line(3)))
    desk.hear(an_order(a_line(4)), at=minutes(1))

    assert desk.import_(answer(an_order(a_line(5)), asked=1)).refetch == set()
    assert desk.level() == (10, 5)


def test_an_answer_asked_for_before_the_other_body_came_in_settles_nothing() -> None:
    desk = Desk({MUG: 10})
    desk.hear(an_order(a_line(3)))
    desk.hear(an_order(a_line(4)), at=minutes(2))

    plan = desk.import_(answer(an_order(a_line(3)), asked=1, received=3))

    assert (plan.outcomes, plan.refetch) == (["applied"], {"100"})


def test_what_is_settled_within_a_batch_is_not_asked_for() -> None:
    desk = Desk({MUG: 10})
    desk.hear(an_order(a_line(3)))

    plan = desk.import_(
        Received("100", an_order(a_line(4)), minutes(1)),
        Received("100", an_order(a_line(5), whole=False), minutes(2)),
        answer(an_order(a_line(3)), asked=3),
    )

    assert (plan.refetch, desk.level()) == (set(), (10, 3))
    assert desk.import_(removal(at=4), gone(asked=5)).refetch == set()


def test_a_polled_body_of_the_same_version_asked_for_afterwards_needs_no_fetch() -> None:
    desk = Desk({MUG: 10})
    desk.hear(an_order(a_line(3)))

    plan = desk.import_(polled(an_order(a_line(4)), asked=2))

    assert (plan.outcomes, plan.refetch, desk.level()) == (["applied"], set(), (10, 4))


def test_half_a_record_is_applied_and_fetched() -> None:
    desk = Desk({MUG: 10})

    plan = desk.hear(an_order(a_line(3), whole=False))

    assert (plan.refetch, desk.level(), desk.order().whole) == ({"100"}, (10, 3), False)

    plan = desk.import_(answer(an_order(a_line(3, removed=1)), asked=1))
    assert (plan.refetch, desk.level(), desk.order().whole) == (set(), (10, 2), True)


@pytest.mark.parametrize("received", [Received("100", None, NOON), polled(an_order(a_line(1)), asked=5)])
def test_half_a_record_never_replaces_a_whole_one_of_the_same_version(received: Received) -> None:
    desk = Desk({MUG: 10})
    desk.hear(an_order(a_line(3, removed=1)))

    plan = desk.import_(replace(received, order=an_order(a_line(3), whole=False)))

    assert (plan.outcomes, plan.refetch, desk.level()) == (["same"], {"100"}, (10, 2))


def test_the_whole_record_that_says_the_same_makes_it_whole() -> None:
    desk = Desk({MUG: 10})
    desk.hear(an_order(a_line(3), whole=False))

    plan = desk.import_(answer(an_order(a_line(3)), asked=1))

    assert (plan.outcomes, len(plan.changed), desk.order().whole) == (["same"], 1, True)
    assert plan.refetch == set()


def test_half_a_record_again_is_still_half_a_record() -> None:
    desk = Desk({MUG: 10})
    desk.hear(an_order(a_line(3), whole=False))

    plan = desk.hear(an_order(a_line(3), whole=False), at=minutes(1))

    assert (plan.outcomes, plan.refetch, desk.order().whole) == (["same"], {"100"}, False)


def test_a_connector_that_never_reads_a_whole_order_is_not_asked_for_ever() -> None:
    desk = Desk({MUG: 10})
    desk.hear(an_order(a_line(3), whole=False))

    plan = desk.import_(answer(an_order(a_line(4), whole=False), asked=1))

    assert (plan.refetch, desk.level(), desk.order().whole) == (set(), (10, 4), False)


# ---------------------------------------------------------------- removals


def test_a_removed_order_gives_its_stock_back_at_once_and_is_fetched_to_be_sure() -> None:
    desk = Desk({MUG: 10})
    desk.hear(an_order(a_line(3)))

    plan = desk.import_(removal(at=1))

    assert (desk.level(), desk.order().status, desk.order().holds_stock) == ((10, 0), OrderStatus.REMOVED, False)
    assert plan.refetch == {"100"}
    assert plan.notes[0].summary == "Order #100 was deleted at the channel."

    plan = desk.import_(gone(asked=2))
    assert (plan.outcomes, plan.refetch, plan.missing) == (["same"], set(), {})
    assert desk.order().status is OrderStatus.REMOVED


def test_an_order_that_is_there_after_all_holds_its_stock_again() -> None:
    desk = Desk({MUG: 10})
    desk.hear(an_order(a_line(3)))
    desk.import_(removal(at=1))

    plan = desk.import_(answer(an_order(a_line(3)), asked=2))

    assert (desk.level(), desk.order().status, plan.refetch) == ((10, 3), OrderStatus.OPEN, set())
    assert desk.order().removal_heard_at is None


def test_a_late_body_of_a_removed_order_is_not_believed_without_asking() -> None:
    desk = Desk({MUG: 10})
    desk.import_(removal(at=1))
    assert desk.order().status is OrderStatus.REMOVED

    plan = desk.hear(an_order(a_line(3)), at=minutes(2))
    assert (desk.level(), plan.refetch) == ((10, 3), {"100"})

    desk.import_(gone(asked=3))
    assert (desk.level(), desk.order().status) == ((10, 0), OrderStatus.REMOVED)


def test_a_removal_heard_first_of_an_order_nobody_knows_is_remembered() -> None:
    desk = Desk({MUG: 10})

    plan = desk.import_(removal(at=1))

    assert (plan.outcomes, plan.refetch, len(plan.orders)) == (["applied"], {"100"}, 1)
    assert (desk.order().number, desk.order().version) == ("100", None)


def test_gone_asked_before_the_order_was_restored_is_not_believed() -> None:
    desk = Desk({MUG: 10})
    desk.hear(an_order(a_line(3)))
    desk.import_(removal(at=1))
    desk.hear(an_order(a_line(3), version=minutes(3)), at=minutes(3))

    plan = desk.import_(replace(gone(asked=2), received_at=minutes(4)))

    assert (plan.outcomes, plan.refetch, desk.level()) == (["stale"], {"100"}, (10, 3))


def test_gone_asked_before_the_removal_was_heard_again_settles_nothing() -> None:
    desk = Desk({MUG: 10})
    desk.hear(an_order(a_line(3)))
    desk.import_(removal(at=1))
    desk.import_(removal(at=5))

    plan = desk.import_(gone(asked=3))

    assert (plan.outcomes, plan.refetch) == (["stale"], {"100"})


def test_an_order_gone_that_nobody_said_was_removed_is_kept_and_shown() -> None:
    desk = Desk({MUG: 10})
    desk.hear(an_order(a_line(3)))

    plan = desk.import_(gone(asked=1))

    assert list(plan.missing) == ["100"]
    assert (desk.level(), desk.order().status, plan.changed) == ((10, 3), OrderStatus.OPEN, [])


def test_an_order_in_the_bin_may_vanish_from_it() -> None:
    desk = Desk({MUG: 10})
    binned = an_order(a_line(3), version=minutes(1), status=OrderStatus.REMOVED, holds_stock=False)
    desk.hear(binned)

    plan = desk.import_(gone(asked=2))

    assert (plan.missing, plan.refetch, desk.order().status) == ({}, set(), OrderStatus.REMOVED)


def test_an_order_neither_side_has_is_nothing() -> None:
    desk = Desk({MUG: 10})

    plan = desk.import_(gone(asked=1))

    assert (plan.outcomes, plan.orders, plan.missing, plan.refetch) == (["same"], {}, {}, set())


def test_a_removal_heard_twice_is_one() -> None:
    desk = Desk({MUG: 10})
    desk.hear(an_order(a_line(3)))

    plan = desk.import_(removal(at=1), removal(at=2))

    assert plan.outcomes == ["applied", "same"]
    assert [note.kind for note in plan.notes] == ["order_removed"]
    assert desk.order().removal_heard_at == minutes(2)


def test_a_vendor_whose_versions_went_back_is_not_asked_for_ever() -> None:
    desk = Desk({MUG: 10})
    desk.hear(an_order(a_line(3), version=minutes(5)))
    desk.import_(removal(at=6))

    plan = desk.import_(answer(an_order(a_line(3)), asked=7))

    assert (plan.outcomes, plan.refetch) == (["stale"], set())


def test_goods_that_left_stay_gone_when_their_order_is_removed() -> None:
    desk = Desk({MUG: 10})
    desk.hear(an_order(a_line(3, fulfilled=2)))

    desk.import_(removal(at=1))

    assert desk.level() == (8, 0)


# ---------------------------------------------------------------- batches


def test_orders_of_one_batch_are_applied_in_order_of_receipt() -> None:
    desk = Desk({MUG: 3})
    orders = [an_order(a_line(2), id=str(number), placed_at=NOON + timedelta(seconds=number)) for number in range(3)]

    plan = desk.import_(*(Received(each.external_id, each, NOON) for each in orders))

    assert plan.outcomes == ["applied"] * 3
    assert [desk.waiting(order_id=str(number)) for number in range(3)] == [0, 1, 2]
    assert desk.level() == (3, 3)


def test_two_bodies_of_a_new_order_in_one_batch_make_one_order() -> None:
    desk = Desk({MUG: 10})
    first, second = an_order(a_line(3)), an_order(a_line(2), version=minutes(1))

    plan = desk.import_(Received("100", first, NOON), Received("100", second, minutes(1)))

    assert (plan.outcomes, len(plan.orders), desk.level()) == (["applied", "applied"], 1, (10, 2))
    assert [note.kind for note in plan.notes] == ["order_imported", "order_updated"]


# ---------------------------------------------------------------- kits

BOX = UUID(int=13)  # a kit: two mugs and a tee


def a_gift_shop(mugs: int, tees: int, **more: Any) -> Desk:
    """Sells mugs, tees and boxes of two mugs and a tee."""
    bound = {"mug": MUG, "tee": TEE, "box": BOX}
    return Desk({MUG: mugs, TEE: tees}, bound=bound, kits={BOX: {MUG: 2, TEE: 1}}, **more)


def test_a_kit_that_is_sold_holds_its_parts() -> None:
    desk = a_gift_shop(10, 10)

    plan = desk.hear(an_order(a_line(3, listing="box")))

    assert (desk.level(MUG), desk.level(TEE)) == ((10, 6), (10, 3))
    assert desk.line().parts == {MUG: 2, TEE: 1}
    assert plan.notes[0].summary.endswith("3 allocated.")


def test_kits_and_parts_in_one_order_are_one_demand() -> None:
    desk = a_gift_shop(5, 5)

    desk.hear(an_order(a_line(2, listing="box"), a_line(3, id="2")))

    assert (desk.level(MUG), desk.level(TEE)) == ((5, 5), (5, 2))
    assert (desk.waiting("1"), desk.waiting("2")) == (0, 2)
    assert ("allocated", 0, 5) in desk.ledger  # one entry for both lines


def test_a_kit_that_ships_takes_its_parts_along() -> None:
    desk = a_gift_shop(10, 10)
    desk.hear(an_order(a_line(3, listing="box")))

    desk.hear(an_order(a_line(3, listing="box", fulfilled=2), version=minutes(1)))

    assert (desk.level(MUG), desk.level(TEE)) == ((6, 2), (8, 1))
    assert desk.line().shipped == 2


def test_a_kit_shipped_without_enough_of_one_part_is_told_by_part() -> None:
    desk = a_gift_shop(10, 1)

    plan = desk.hear(an_order(a_line(3, listing="box", fulfilled=3)))

    assert [(each.sku_id, each.units) for each in plan.shortfalls] == [(TEE, 2)]
    assert (desk.level(MUG), desk.level(TEE)) == ((4, 0), (0, 0))
    assert (desk.line().shipped, desk.line().fulfilled_before) == (1, 2)


def test_an_order_keeps_the_kit_as_it_was_when_it_was_sold() -> None:
    desk = a_gift_shop(10, 10)
    desk.hear(an_order(a_line(1, listing="box")))
    desk.kits = {BOX: {MUG: 1}}

    desk.hear(an_order(a_line(2, listing="box"), version=minutes(1)))
    desk.hear(an_order(a_line(1, listing="box"), id="200"))

    assert (desk.level(MUG), desk.level(TEE)) == ((10, 5), (10, 2))


def test_a_kit_is_counted_when_all_of_its_parts_are() -> None:
    desk = a_gift_shop(10, 10)
    del desk.stock[TEE, SHELF], desk.counted[TEE]

    desk.hear(an_order(a_line(3, listing="box")))

    assert (desk.level(MUG), desk.waiting()) == ((10, 0), 0)


def test_what_left_before_the_last_part_of_a_kit_was_counted_is_not_taken_out() -> None:
    desk = a_gift_shop(10, 10)
    desk.counted[TEE] = minutes(30)

    desk.hear(an_order(a_line(3, listing="box", fulfilled=2), version=minutes(60)))

    assert (desk.level(MUG), desk.level(TEE)) == ((10, 2), (10, 1))
    assert desk.line().fulfilled_before == 2


# ---------------------------------------------------------------- policies


def test_an_order_held_together_waits_for_all_of_it() -> None:
    desk = Desk({MUG: 5, TEE: 1}, policy=StockPolicy(hold_together=True))

    plan = desk.hear(an_order(a_line(3), a_line(2, id="2", listing="tee")))
    assert (desk.level(MUG), desk.level(TEE)) == ((5, 0), (1, 0))
    assert plan.notes[0].summary.endswith("0 allocated, 5 on backorder.")

    desk.hear(an_order(a_line(3), a_line(2, id="2", listing="tee", removed=1), version=minutes(1)))
    assert (desk.level(MUG), desk.level(TEE)) == ((5, 3), (1, 1))


def test_the_most_valuable_order_is_served_first_where_that_is_the_policy() -> None:
    desk = Desk({MUG: 0}, policy=StockPolicy(queue=QueueOrder.VALUE))
    desk.hear(an_order(a_line(1), id="early"))
    desk.hear(an_order(a_line(1), id="dear", placed_at=minutes(5), total=euros(500)))

    desk.book.correct((MUG, SHELF), 1, Cause.RECEIVED, "delivery/1")
    desk.book.serve("delivery/1")

    assert (desk.waiting("1", "early"), desk.waiting("1", "dear")) == (1, 0)


def test_the_order_promised_first_is_served_first_where_that_is_the_policy() -> None:
    desk = Desk({MUG: 0}, policy=StockPolicy(queue=QueueOrder.PROMISED_DATE))
    desk.hear(an_order(a_line(1), id="no promise"))
    desk.hear(an_order(a_line(1), id="tomorrow", placed_at=minutes(5), promised_at=minutes(24 * 60)))
    desk.hear(an_order(a_line(1), id="today", placed_at=minutes(9), promised_at=minutes(60)))

    desk.book.correct((MUG, SHELF), 2, Cause.RECEIVED, "delivery/1")
    desk.book.serve("delivery/1")

    assert [desk.waiting("1", each) for each in ("no promise", "tomorrow", "today")] == [1, 0, 0]


def test_an_unpaid_order_holds_stock_for_a_time_only() -> None:
    desk = Desk({MUG: 10}, policy=StockPolicy(unpaid_hours=48))

    desk.hear(an_order(a_line(3), paid=False))
    assert (desk.level(), desk.order().hold_until) == ((10, 3), minutes(48 * 60))

    assert desk.expire() == "Order #100 was not paid in time: 3 units given back to stock."
    assert (desk.level(), desk.order().hold_until, desk.order().holds_stock) == ((10, 0), None, False)


def test_an_unpaid_order_heard_of_too_late_holds_nothing() -> None:
    desk = Desk({MUG: 10}, policy=StockPolicy(unpaid_hours=48))
    order = an_order(a_line(3), paid=False)

    desk.import_(Received("100", order, minutes(1)), now=minutes(48 * 60))

    assert (desk.level(), desk.order().hold_until) == ((10, 0), None)


def test_payment_brings_an_expired_order_back_into_the_queue() -> None:
    desk = Desk({MUG: 3}, policy=StockPolicy(unpaid_hours=48))
    desk.hear(an_order(a_line(3), paid=False))
    desk.expire()
    desk.hear(an_order(a_line(2), id="200"))

    paid = an_order(a_line(3), version=minutes(50 * 60))
    desk.import_(Received("100", paid, minutes(50 * 60)), now=minutes(50 * 60))

    assert (desk.level(), desk.waiting()) == ((3, 3), 2)
    assert desk.order().hold_until is None


def test_without_a_limit_an_unpaid_order_holds_stock_until_it_is_cancelled() -> None:
    desk = Desk({MUG: 10})

    desk.import_(Received("100", an_order(a_line(3), paid=False), minutes(1)), now=minutes(10_000))

    assert (desk.level(), desk.order().hold_until) == ((10, 3), None)
