"""What a channel may see: exact figures with their steps in words, and what holds for every stock and every rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.core.model import StockLevel
from hub.core.selling import Limits, Part, SellingRule, Shelf, Split, available_to_sell, free_units, shares

NO_LIMITS = Limits()
AMBER, BLUE, CYAN, DUSK = (UUID(int=number) for number in range(1, 5))


def shelf(
    on_hand: int, allocated: int = 0, *, sku: str = "MUG", at: str = "Main", safety: int = 0, **more: int
) -> Shelf:
    return Shelf(sku, at, StockLevel(on_hand, allocated, **more), safety)


def mugs(*shelves: Shelf) -> list[Part]:
    """What is listed is the SKU itself."""
    return [Part("MUG", 1, shelves)]


def shown(parts: list[Part], limits: Limits = NO_LIMITS, waiting: int = 0, **rule: int) -> int:
    return available_to_sell(parts, SellingRule(**rule), limits, waiting=waiting).quantity


# ---------------------------------------------------------------- the shelves


def test_what_is_free_is_shown_and_every_step_says_so() -> None:
    parts = mugs(shelf(12, 3, quarantined=1))

    figure = available_to_sell(parts, SellingRule(buffer_percent=10), NO_LIMITS)

    assert figure.quantity == 7
    assert figure.steps == (
        "12 on hand, 3 allocated, 1 set aside: 8 free",
        "buffer 10 %: 1 kept back",
        "shown: 7",
    )


def test_all_that_is_set_aside_and_the_safety_stock_are_hidden() -> None:
    figure = available_to_sell(mugs(shelf(20, 4, quarantined=1, damaged=2, safety=5)), SellingRule(), NO_LIMITS)

    assert figure.quantity == 8
    assert figure.steps[0] == "20 on hand, 4 allocated, 3 set aside, 5 safety stock: 8 free"


def test_the_safety_stock_of_one_location_takes_nothing_from_another() -> None:
    parts = mugs(shelf(2, at="Main", safety=10), shelf(6, at="Attic", safety=1))

    figure = available_to_sell(parts, SellingRule(), NO_LIMITS)

    assert figure.quantity == 5, "0 from Main, never less"
    assert figure.steps == (
        "Main: 2 on hand, 10 safety stock: 0 free",
        "Attic: 6 on hand, 1 safety stock: 5 free",
        "5 free together",
        "shown: 5",
    )


def test_what_is_incoming_is_not_for_sale_yet() -> None:
    assert shown(mugs(shelf(1, incoming=50))) == 1


def test_a_sku_that_is_counted_nowhere_the_channel_sells_from_shows_none() -> None:
    figure = available_to_sell(mugs(), SellingRule(), NO_LIMITS)

    assert (figure.quantity, figure.steps[0]) == (0, "not counted where the channel sells from: 0 free")
    assert available_to_sell([], SellingRule(), NO_LIMITS).quantity == 0


def test_a_kit_is_shown_as_often_as_it_can_be_made_up() -> None:
    kit = [
        Part("CUP", 2, (shelf(9, 2, sku="CUP"),)),
        Part("POT", 1, (shelf(3, sku="POT", at="Main"), shelf(2, 1, sku="POT", at="Attic"))),
    ]

    figure = available_to_sell(kit, SellingRule(), NO_LIMITS)

    assert figure.quantity == 3
    assert figure.steps == (
        "CUP: 9 on hand, 2 allocated: 7 free",
        "CUP: 2 in each: enough for 3",
        "POT: Main: 3 on hand: 3 free",
        "POT: Attic: 2 on hand, 1 allocated: 1 free",
        "POT: 4 free together",
        "POT: 1 in each: enough for 4",
        "kit: 3 can be made up",
        "shown: 3",
    )


def test_a_kit_of_which_two_locations_together_have_a_part_can_be_made_up_once() -> None:
    parts = [Part("CUP", 2, (shelf(1, sku="CUP", at="Main"), shelf(1, sku="CUP", at="Attic")))]

    assert shown(parts) == 1


# ---------------------------------------------------------------- the rule


@pytest.mark.parametrize(
    ("free", "percent", "left"),
    [(100, 10, 90), (8, 10, 7), (1, 10, 0), (1, 0, 1), (10, 100, 0), (0, 50, 0), (3, 34, 1)],
)
def test_a_percentage_is_rounded_so_that_it_protects(free: int, percent: int, left: int) -> None:
    assert shown(mugs(shelf(free)), buffer_percent=percent) == left


def test_the_percentage_is_kept_back_first_and_then_the_units() -> None:
    figure = available_to_sell(mugs(shelf(20)), SellingRule(buffer_percent=10, buffer_units=3), NO_LIMITS)

    assert figure.quantity == 15
    assert figure.steps[1:3] == ("buffer 10 %: 2 kept back", "buffer of 3: 3 kept back")
    assert shown(mugs(shelf(2)), buffer_units=3) == 0


@pytest.mark.parametrize(("free", "left"), [(4, 4), (3, 0), (1, 0), (0, 0)])
def test_with_so_many_left_or_fewer_the_channel_stops(free: int, left: int) -> None:
    assert shown(mugs(shelf(free)), stop_at=3) == left


def test_stopping_says_how_many_there_were() -> None:
    steps = available_to_sell(mugs(shelf(2)), SellingRule(stop_at=3), NO_LIMITS).steps
    assert steps[1:] == ("stop at 3: 2 left, none shown", "shown: 0")


def test_not_more_than_the_maximum_is_shown_backorders_included() -> None:
    assert shown(mugs(shelf(50)), maximum=5) == 5
    assert shown(mugs(shelf(5)), maximum=5) == 5
    assert shown(mugs(shelf(3)), maximum=5, backorder_limit=10) == 5
    steps = available_to_sell(mugs(shelf(50)), SellingRule(maximum=5), NO_LIMITS).steps
    assert steps[1] == "maximum 5: not more is shown"


@pytest.mark.parametrize(
    ("on_hand", "waiting", "quantity"), [(4, 0, 14), (0, 0, 10), (0, 3, 7), (0, 10, 0), (0, 12, 0)]
)
def test_so_many_may_be_sold_that_are_not_there_less_those_that_wait(on_hand: int, waiting: int, quantity: int) -> None:
    assert shown(mugs(shelf(on_hand)), waiting=waiting, backorder_limit=10) == quantity


def test_selling_backorders_says_how_many_more() -> None:
    figure = available_to_sell(mugs(shelf(0)), SellingRule(backorder_limit=10), NO_LIMITS, waiting=4)
    assert figure.steps[1:] == ("backorders up to 10, 4 wait: 6 more may be sold", "shown: 6")


def test_a_channel_that_stopped_still_sells_backorders() -> None:
    assert shown(mugs(shelf(2)), stop_at=3, backorder_limit=10) == 10


def test_only_a_channel_that_knows_less_than_nothing_is_told_so() -> None:
    owing = Limits(negative_stock=True)

    assert shown(mugs(shelf(0)), owing, waiting=12, backorder_limit=10) == -2
    assert shown(mugs(shelf(0)), waiting=12, backorder_limit=10) == 0
    assert shown(mugs(shelf(0)), owing, waiting=12) == 0, "nobody said that backorders are sold"
    assert shown(mugs(shelf(3)), owing, waiting=12, backorder_limit=10) == 3


def test_a_channel_is_told_no_more_than_it_takes() -> None:
    figure = available_to_sell(mugs(shelf(5000)), SellingRule(), Limits(most_units=999))
    assert (figure.quantity, figure.steps[1]) == (999, "the channel takes no more than 999")


def test_a_narrower_rule_wins_field_by_field() -> None:
    wide = SellingRule(buffer_units=2, maximum=10)
    narrow = SellingRule(maximum=0, stop_at=1)

    assert narrow.over(wide) == SellingRule(buffer_units=2, maximum=0, stop_at=1)
    assert narrow.said == {"maximum": 0, "stop_at": 1}


# ---------------------------------------------------------------- sharing between channels


def test_channels_share_what_there_is_and_the_last_unit_is_sold_somewhere() -> None:
    half = {AMBER: 50, BLUE: 50}
    assert shares(10, half) == {AMBER: 5, BLUE: 5}
    assert shares(11, half) == {AMBER: 6, BLUE: 5}
    assert shares(1, half) == {AMBER: 1, BLUE: 0}
    assert shares(0, half) == {AMBER: 0, BLUE: 0}
    assert shares(1, {AMBER: 20, BLUE: 80}) == {AMBER: 0, BLUE: 1}
    assert shares(10, {AMBER: 70, BLUE: 20, CYAN: 10}) == {AMBER: 7, BLUE: 2, CYAN: 1}


def test_what_is_shared_out_in_part_only_is_rounded_up() -> None:
    assert shares(10, {AMBER: 30}) == {AMBER: 3}
    assert shares(1, {AMBER: 30}) == {AMBER: 1}
    assert shares(10, {AMBER: 0, BLUE: 40}) == {AMBER: 0, BLUE: 4}


def test_more_than_everything_is_shared_in_proportion() -> None:
    assert shares(9, {AMBER: 100, BLUE: 100, CYAN: 100}) == {AMBER: 3, BLUE: 3, CYAN: 3}


def test_a_share_says_of_what() -> None:
    parts = mugs(shelf(8))
    split = Split({AMBER: 40, BLUE: 60}, AMBER, "", {"": parts})

    figure = available_to_sell(parts, SellingRule(share_percent=40), NO_LIMITS, split=split)

    assert (figure.quantity, figure.steps[1]) == (3, "share 40 %: 3 of 8")


def test_a_channel_with_two_places_shows_its_share_once() -> None:
    places = {"north": mugs(shelf(6, at="North")), "south": mugs(shelf(3, at="South"))}
    found = {
        place: available_to_sell(
            parts, SellingRule(share_percent=50), NO_LIMITS, split=Split({AMBER: 50, BLUE: 50}, AMBER, place, places)
        )
        for place, parts in places.items()
    }

    assert {place: figure.quantity for place, figure in found.items()} == {"north": 3, "south": 2}
    assert found["north"].steps[1] == "share 50 %: 5 of 9, 2 of them shown at its other places"


def test_a_shelf_that_two_places_of_a_channel_sell_from_is_shared_once() -> None:
    main = shelf(10, at="Main")
    places = {"north": mugs(main), "south": mugs(main, shelf(2, at="South"))}
    figures = [
        available_to_sell(
            parts, SellingRule(share_percent=50), NO_LIMITS, split=Split({AMBER: 50, BLUE: 50}, AMBER, place, places)
        ).quantity
        for place, parts in places.items()
    ]
    assert sum(figures) == 6


def test_a_kit_whose_parts_lie_at_different_places_is_shown_at_none() -> None:
    places = {
        "north": [Part("CUP", 1, (shelf(3, sku="CUP", at="North"),)), Part("POT", 1, ())],
        "south": [Part("CUP", 1, ()), Part("POT", 1, (shelf(3, sku="POT", at="South"),))],
    }
    for place, parts in places.items():
        split = Split({AMBER: 50, BLUE: 50}, AMBER, place, places)
        assert available_to_sell(parts, SellingRule(share_percent=50), NO_LIMITS, split=split).quantity == 0


# ---------------------------------------------------------------- whatever the stock and the rule

UNITS = st.integers(0, 40)
PERCENTS = st.dictionaries(st.sampled_from([AMBER, BLUE, CYAN, DUSK]), st.integers(0, 100), min_size=1)
RULES = st.builds(
    SellingRule,
    **{name: st.none() | UNITS for name in ("buffer_units", "stop_at", "maximum", "backorder_limit")},
    **{name: st.none() | st.integers(0, 100) for name in ("buffer_percent", "share_percent")},
)
LIMITS = st.builds(Limits, negative_stock=st.booleans(), most_units=st.none() | UNITS)
LEVELS = st.builds(StockLevel, UNITS, UNITS, UNITS, UNITS)  # also such as the database would refuse


@st.composite
def kits(draw: st.DrawFn) -> list[Part]:
    """Up to three SKUs on the shelves of up to three locations."""
    return [
        Part(
            code,
            draw(st.integers(1, 4)),
            tuple(Shelf(code, at, draw(LEVELS), draw(UNITS)) for at in draw(st.sets(st.sampled_from("xyz")))),
        )
        for code in draw(st.lists(st.sampled_from(["CUP", "POT", "TEE"]), unique=True, max_size=3))
    ]


def one_more(parts: list[Part]) -> list[list[Part]]:
    """The same with one more unit on one of the shelves."""
    richer = []
    for number, part in enumerate(parts):
        for place, each in enumerate(part.shelves):
            level = replace(each.level, on_hand=each.level.on_hand + 1)
            shelves = [*part.shelves]
            shelves[place] = replace(each, level=level)
            richer.append([*parts[:number], replace(part, shelves=tuple(shelves)), *parts[number + 1 :]])
    return richer


@given(kits(), RULES, LIMITS, UNITS, PERCENTS)
@settings(max_examples=300, deadline=None)
def test_a_figure_keeps_its_bounds_never_falls_when_there_is_more_and_is_the_same_every_time(
    parts: list[Part], rule: SellingRule, limits: Limits, waiting: int, percents: dict[UUID, int]
) -> None:
    def figure(of: list[Part]) -> Any:
        split = Split(percents, AMBER, "", {"": of})
        return available_to_sell(of, rule, limits, waiting=waiting, split=split)

    quantity = figure(parts).quantity

    assert isinstance(quantity, int)
    assert quantity <= free_units(parts) + (rule.backorder_limit or 0)
    assert rule.maximum is None or quantity <= rule.maximum
    assert limits.most_units is None or quantity <= limits.most_units
    assert quantity >= 0 or (limits.negative_stock and rule.backorder_limit is not None)
    assert all(figure(richer).quantity >= quantity for richer in one_more(parts))
    assert figure(parts) == figure(parts)


@given(st.integers(0, 500), PERCENTS)
@settings(max_examples=300, deadline=None)
def test_shares_never_exceed_what_is_free_nor_fall_short_of_the_percentage(
    free: int, percents: dict[UUID, int]
) -> None:
    found = shares(free, percents)
    total = sum(percents.values())

    assert sum(found.values()) == (-(-free * min(100, total) // 100) if total else 0)
    assert sum(found.values()) <= free
    assert all(found[each] >= free * percent // max(100, total) for each, percent in percents.items())
    assert all(more >= found[each] for each, more in shares(free + 1, percents).items())


@given(
    st.dictionaries(st.sampled_from([AMBER, BLUE, CYAN, DUSK]), st.sets(st.sampled_from("xyz"), min_size=1)),
    PERCENTS,
    st.fixed_dictionaries(dict.fromkeys("xyz", UNITS)),
)
@settings(max_examples=300, deadline=None)
def test_the_shares_of_all_channels_together_never_exceed_what_is_free(
    sources: dict[UUID, set[str]], percents: dict[UUID, int], on_hand: dict[str, int]
) -> None:
    sold = [
        available_to_sell(
            parts,
            SellingRule(share_percent=percents[channel]),
            NO_LIMITS,
            split=Split(percents, channel, "", {"": parts}),
        ).quantity
        for channel, places in sources.items()
        if channel in percents
        for parts in [mugs(*(shelf(on_hand[at], at=at) for at in sorted(places)))]
    ]
    assert sum(sold) <= sum(on_hand.values())
