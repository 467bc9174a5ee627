"""Which location ships an order: each rule, what shuts a place out, splits, and the words in which it is told."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from hub.core.geo import Point, kilometers
from hub.core.plain import from_plain, to_plain
from hub.core.routing import (
    Decision,
    Do,
    Line,
    Place,
    Request,
    RoutingPolicy,
    Rule,
    When,
    decide,
    given,
    leaves_in,
)

YORK = Point(53.96, -1.08)  # where the customer lives
LEEDS = Point(53.80, -1.55)
LONDON = Point(51.51, -0.13)
BERLIN = Point(52.52, 13.40)


def lines(**units: int) -> tuple[Line, ...]:
    """A line for each SKU, of one unit of stock a piece."""
    return tuple(Line(id=f"line-{sku}", sku=sku.upper(), units=number, parts={sku: 1}) for sku, number in units.items())


def place(name: str, point: Point | None = None, *, stock: dict[str, int] | None = None, **more: Any) -> Place:
    values: dict[str, Any] = {"id": name.lower(), "name": name, "country": "GB", "point": point, "stock": stock or {}}
    return Place(**values | more)


def asked(*places: Place, of: tuple[Line, ...] = lines(mug=1), **more: Any) -> Request:
    values: dict[str, Any] = {"number": "#100", "lines": of, "places": places, "country": "GB", "point": YORK}
    return Request(**values | more)


def shipped(decision: Decision) -> dict[str, dict[str, int]]:
    return {share.place: dict(share.units) for share in decision.shares}


def why_not(decision: Decision) -> dict[str, str]:
    return {each.name: each.shut_out for each in decision.looked if each.shut_out}


FULL = {"mug": 9, "tee": 9, "cap": 9}
LEEDS_FULL = place("Leeds", LEEDS, stock=FULL)
LONDON_FULL = place("London", LONDON, stock=FULL)
SHOP = place("Shop", YORK, kind="shop", stock=FULL)
NO_RULES = RoutingPolicy(rules=())


def policy(*rules: Rule | Do, **more: Any) -> RoutingPolicy:
    return RoutingPolicy(rules=tuple(each if isinstance(each, Rule) else Rule(do=each) for each in rules), **more)


# ---------------------------------------------------------------- in words


def test_says_why_it_is_that_one() -> None:
    decision = decide(
        asked(LEEDS_FULL, LONDON_FULL, place("Bath", stock={"mug": 1}), of=lines(mug=1, tee=2, cap=1)), RoutingPolicy()
    )

    assert decision.summary == "Leeds: nearest of the 2 that have all 3 lines."
    assert shipped(decision) == {"leeds": {"line-mug": 1, "line-tee": 2, "line-cap": 1}}
    assert decision.kilometers == kilometers(LEEDS, YORK) == 36
    assert [(each.name, each.whole_lines, each.kilometers) for each in decision.looked] == [
        ("Bath", 1, None),
        ("Leeds", 3, 36),
        ("London", 3, 280),
    ]


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (asked(LEEDS_FULL), "Leeds: the only location that has it."),
        (asked(LEEDS_FULL, place("Bath"), of=lines(mug=1, tee=1)), "Leeds: the only location that has both lines."),
        (asked(LEEDS_FULL, LONDON_FULL, of=lines(mug=1, tee=1)), "Leeds: nearest of the 2 that have both lines."),
        (
            asked(LEEDS_FULL, replace(LONDON_FULL, ships=False), of=lines(mug=1)),
            "Leeds: the only location that has it and may ship it.",
        ),
        (
            asked(LEEDS_FULL, LONDON_FULL, replace(SHOP, ships=False), of=lines(mug=1, tee=1)),
            "Leeds: nearest of the 2 that have both lines and may ship them.",
        ),
        (
            asked(replace(LEEDS_FULL, roughly=True), LONDON_FULL),
            "Leeds: nearest of the 2 that have it (roughly: only the country is known).",
        ),
        (asked(LEEDS_FULL, LONDON_FULL, point=None), "Leeds: first by name of the 2 that have it."),
        (
            asked(LEEDS_FULL, replace(LONDON_FULL, reserved=1), point=None),
            "London: reserved there, one of the 2 that have it.",
        ),
        (
            asked(LEEDS_FULL, replace(LEEDS_FULL, id="b", name="Bath", priority=1), LONDON_FULL),
            "Leeds: nearest, then first by priority of the 3 that have it.",
        ),
        (asked(), "There is no location yet. Add one under Locations."),
        (
            asked(place("Bath"), place("Leeds", ships=False)),
            "No location may ship it: Bath has none of it; Leeds does not ship.",
        ),
        (
            asked(place("Bath", stock={"mug": 1}), place("Leeds"), of=lines(mug=3)),
            "Nobody has it: Bath has 1 of 3 units; Leeds has none of it.",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_tells_what_decided(request_: Request, said: str) -> None:
    assert decide(request_, RoutingPolicy()).summary == said


def test_names_five_places_at_most_where_nobody_can() -> None:
    decision = decide(asked(*(place(f"P{number}") for number in range(8))), RoutingPolicy())

    assert decision.shares == ()
    assert decision.summary == (
        "No location may ship it: P0 has none of it; P1 has none of it; P2 has none of it; P3 has none of it; "
        "P4 has none of it; and 3 more."
    )


# ---------------------------------------------------------------- what is better


@pytest.mark.parametrize(
    ("do", "better", "said"),
    [
        (Do.NEAREST, {"point": YORK}, "Zennor: nearest of the 2 that have it."),
        (Do.CHEAPEST, {"cost": Decimal("4.90")}, "Zennor: cheapest of the 2 that have it."),
        (Do.SOONEST, {"days": 0}, "Zennor: soonest to leave of the 2 that have it."),
        (Do.LEAST_LOADED, {"load": 1, "capacity": 10}, "Zennor: least loaded of the 2 that have it."),
        (Do.SAME_COUNTRY, {"country": "GB"}, "Zennor: in the customer's country of the 2 that have it."),
        (Do.PRIORITY, {"priority": 0}, "Zennor: first by priority of the 2 that have it."),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_prefers_what_the_rule_says(do: Do, better: dict[str, Any], said: str) -> None:
    worse: dict[str, Any] = {"cost": Decimal(5), "days": 2, "load": 5, "capacity": 10, "country": "FR", "priority": 3}
    first = place("Ayr", LONDON, stock=FULL, **worse)
    second = place("Zennor", LONDON, stock=FULL, **worse)

    assert decide(asked(first, second), policy(do)).summary == "Ayr: first by name of the 2 that have it."
    decision = decide(asked(first, replace(second, **better)), policy(do))
    assert decision.summary == said
    assert list(shipped(decision)) == ["zennor"]


def test_an_earlier_rule_counts_before_a_later_one() -> None:
    near, cheap = replace(LEEDS_FULL, cost=Decimal(6)), replace(LONDON_FULL, cost=Decimal(5))

    assert list(shipped(decide(asked(near, cheap), policy(Do.NEAREST, Do.CHEAPEST)))) == ["leeds"]
    assert list(shipped(decide(asked(near, cheap), policy(Do.CHEAPEST, Do.NEAREST)))) == ["london"]


def test_what_nobody_knows_comes_last() -> None:
    known = replace(LONDON_FULL, cost=Decimal(50))
    unknown = replace(LEEDS_FULL, point=None, cost=None)

    assert list(shipped(decide(asked(unknown, known), policy(Do.NEAREST)))) == ["london"]
    assert list(shipped(decide(asked(unknown, known), policy(Do.CHEAPEST)))) == ["london"]


# ---------------------------------------------------------------- what shuts a place out


@pytest.mark.parametrize(
    ("change", "more", "said"),
    [
        ({"ships": False}, {}, "does not ship"),
        ({"capacity": 0}, {}, "takes no orders at present"),
        ({"services": ("standard",)}, {"service": "express"}, "does not offer express"),
        ({}, {"refused": {"leeds": "broken glass"}}, "has refused it: broken glass"),
        ({}, {"refused": {"leeds": ""}}, "has refused it"),
        ({}, {"collect_at": "london"}, "the customer fetches it elsewhere"),
        ({"stock": {"mug": 0}}, {}, "has none of it"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_place_is_shut_out(change: dict[str, Any], more: dict[str, Any], said: str) -> None:
    other = replace(LONDON_FULL, collects=True)

    decision = decide(asked(replace(LEEDS_FULL, **change), other, **more), RoutingPolicy())

    assert why_not(decision) == {"Leeds": said}
    assert list(shipped(decision)) == ["london"]


def test_a_place_that_names_no_service_offers_all() -> None:
    express = replace(LEEDS_FULL, services=("Express", "standard"))

    assert why_not(decide(asked(express, LONDON_FULL, service="express"), RoutingPolicy())) == {}


def test_the_customer_fetches_it_where_he_said() -> None:
    shop = replace(LONDON_FULL, kind="shop", ships=False, collects=True)

    decision = decide(asked(LEEDS_FULL, shop, collect_at="london"), RoutingPolicy())
    assert decision.summary == "London: the customer fetches it there."
    assert list(shipped(decision)) == ["london"]

    closed = decide(asked(LEEDS_FULL, replace(shop, collects=False), collect_at="london"), RoutingPolicy())
    assert closed.summary == (
        "No location may ship it: Leeds the customer fetches it elsewhere; London hands nothing out to customers."
    )


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (Rule(do=Do.ONLY, kinds=("warehouse",)), {"Shop": "a rule leaves it to others"}),
        (Rule(do=Do.ONLY, places=("leeds",)), {"Shop": "a rule leaves it to others"}),
        (Rule(do=Do.NEVER, kinds=("shop",)), {"Shop": "a rule shuts it out"}),
        (Rule(do=Do.NEVER, places=("shop",)), {"Shop": "a rule shuts it out"}),
        (Rule(do=Do.NEVER, kinds=("shop",), when=When(skus=("MUG",))), {"Shop": "the rules leave it no line"}),
        (Rule(do=Do.ONLY, places=("leeds",), when=When(skus=("mug",))), {"Shop": "the rules leave it no line"}),
    ],
    ids=["only kind", "only place", "never kind", "never place", "never with this SKU", "only with this SKU"],
)
def test_rules_shut_places_out(rule: Rule, said: dict[str, str]) -> None:
    assert list(shipped(decide(asked(LEEDS_FULL, SHOP), policy(Do.NEAREST)))) == ["shop"]

    decision = decide(asked(LEEDS_FULL, SHOP), policy(rule, Do.NEAREST))

    assert why_not(decision) == said
    assert list(shipped(decision)) == ["leeds"]


def test_a_rule_about_one_sku_leaves_the_other_lines_alone() -> None:
    rule = Rule(do=Do.NEVER, kinds=("shop",), when=When(skus=("MUG",)))

    decision = decide(asked(replace(LEEDS_FULL, stock={"mug": 1}), SHOP, of=lines(mug=1, tee=1)), policy(rule))

    assert shipped(decision) == {"leeds": {"line-mug": 1}, "shop": {"line-tee": 1}}


@pytest.mark.parametrize(
    ("when", "fits", "differs"),
    [
        (When(countries=("gb",)), {"country": "GB"}, {"country": "FR"}),
        (When(regions=("Yorkshire",)), {"region": "yorkshire"}, {"region": "Kent"}),
        (When(postcodes=("yo1", "LS")), {"postcode": "YO10 5DD"}, {"postcode": "SW1A 1AA"}),
        (When(channels=("web",)), {"channel": "web"}, {"channel": "market"}),
        (When(services=("express",)), {"service": "express"}, {"service": ""}),
        (When(tags=("fragile", "gift")), {"tags": ("gift",)}, {"tags": ("other",)}),
        (When(value_from=Decimal(100)), {"value": Decimal(100)}, {"value": Decimal("99.99")}),
        (When(value_below=Decimal(100)), {"value": Decimal("99.99")}, {"value": Decimal(100)}),
        (
            When(countries=("GB",), tags=("gift",)),
            {"tags": ("gift",), "country": "GB"},
            {"tags": ("gift",), "country": "FR"},
        ),
    ],
    ids=["country", "region", "postcode", "channel", "service", "tag", "value from", "value below", "two together"],
)
def test_a_rule_holds_for_the_orders_it_names(when: When, fits: dict[str, Any], differs: dict[str, Any]) -> None:
    rules = policy(Rule(do=Do.NEVER, places=("leeds",), when=when), Do.NEAREST)

    assert list(shipped(decide(asked(LEEDS_FULL, LONDON_FULL, **fits), rules))) == ["london"]
    assert list(shipped(decide(asked(LEEDS_FULL, LONDON_FULL, **differs), rules))) == ["leeds"]


def test_keeps_one_unit_in_shops() -> None:
    keep = Rule(do=Do.KEEP, kinds=("shop",), units=1)
    shop = replace(SHOP, stock={"mug": 2, "tee": 1})

    assert list(shipped(decide(asked(shop, LEEDS_FULL), policy(keep, Do.NEAREST)))) == ["shop"]
    decision = decide(asked(shop, LEEDS_FULL, of=lines(mug=2)), policy(keep, Do.NEAREST))
    assert list(shipped(decision)) == ["leeds"]
    decision = decide(asked(shop, LEEDS_FULL, of=lines(tee=1)), policy(keep, Do.NEAREST))
    assert why_not(decision) == {"Shop": "has none of it beside the 1 it keeps back"}
    # What the rule names alone is kept back.
    only_tees = replace(keep, when=When(skus=("TEE",)))
    decision = decide(asked(shop, of=lines(mug=2)), policy(only_tees))
    assert list(shipped(decision)) == ["shop"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"do": Do.NEAREST, "places": ("leeds",)}, "compares all places"),
        ({"do": Do.ONLY}, "has to name places"),
        ({"do": Do.KEEP, "kinds": ("shop",)}, "number of units"),
        ({"do": Do.NEVER, "kinds": ("shop",), "units": 1}, "number of units"),
        ({"do": Do.KEEP, "kinds": ("shop",), "units": -1}, "number of units"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Rule(**values)
    with pytest.raises(ValueError, match="1 to 4"):
        RoutingPolicy(most_parcels=5)


# ---------------------------------------------------------------- several parcels


def test_splits_where_no_place_has_everything() -> None:
    mugs, tees = replace(LEEDS_FULL, stock={"mug": 2}), replace(LONDON_FULL, stock={"tee": 1})

    decision = decide(asked(mugs, tees, of=lines(mug=2, tee=1)), RoutingPolicy())

    assert shipped(decision) == {"leeds": {"line-mug": 2}, "london": {"line-tee": 1}}
    assert decision.summary == "Leeds (2 of 3 units) and London (1 of 3 units): no location has both lines."
    assert decision.kilometers == 36 + 280


def test_splits_a_line_only_where_it_has_to() -> None:
    some, others = replace(LEEDS_FULL, stock={"mug": 2}), replace(LONDON_FULL, stock={"mug": 2})

    decision = decide(asked(some, others, of=lines(mug=3)), RoutingPolicy())

    assert shipped(decision) == {"leeds": {"line-mug": 2}, "london": {"line-mug": 1}}
    assert decision.summary == "Leeds (2 of 3 units) and London (1 of 3 units): no location has it."


def test_does_not_split_where_the_policy_forbids_it() -> None:
    mugs, tees = replace(LEEDS_FULL, stock={"mug": 2}), replace(LONDON_FULL, stock={"tee": 1})

    decision = decide(asked(mugs, tees, of=lines(mug=2, tee=1)), RoutingPolicy(most_parcels=1))

    assert decision.shares == ()
    assert decision.summary == (
        "No single location has both lines, and the policy does not split orders: "
        "Leeds has 2 of 3 units; London has 1 of 3 units."
    )


def test_splits_into_no_more_parcels_than_allowed() -> None:
    three = [replace(LEEDS_FULL, id=sku, name=sku, stock={sku: 1}) for sku in ("mug", "tee", "cap")]
    wanted = asked(*three, of=lines(mug=1, tee=1, cap=1))

    assert decide(wanted, RoutingPolicy()).summary == (
        "No way was found to ship it in at most 2 parcels: "
        "cap has 1 of 3 units; mug has 1 of 3 units; tee has 1 of 3 units."
    )
    assert len(decide(wanted, RoutingPolicy(most_parcels=3)).shares) == 3


def test_takes_the_nearest_two_of_those_that_work() -> None:
    places = [
        replace(LONDON_FULL, stock={"mug": 1}),
        replace(LEEDS_FULL, stock={"tee": 1}),
        place("Berlin", BERLIN, stock={"mug": 1, "cap": 5}),
    ]

    decision = decide(asked(*places, of=lines(mug=1, tee=1)), RoutingPolicy())

    assert decision.summary == "Leeds (1 of 2 units) and London (1 of 2 units): no location has both lines; nearest."


def test_splits_where_that_is_preferred_to_one_far_parcel() -> None:
    places = [
        replace(LEEDS_FULL, stock={"mug": 1}),
        replace(LEEDS_FULL, id="hull", name="Hull", stock={"tee": 1}),
        place("Berlin", BERLIN, stock=FULL),
    ]
    wanted = asked(*places, of=lines(mug=1, tee=1))

    assert list(shipped(decide(wanted, policy(Do.FEWEST_PARCELS, Do.NEAREST)))) == ["berlin"]
    decision = decide(wanted, policy(Do.NEAREST, Do.FEWEST_PARCELS))
    assert decision.summary == (
        "Hull (1 of 2 units) and Leeds (1 of 2 units): better than one location that has both lines; nearest."
    )


def test_one_parcel_is_better_where_no_rule_tells_ways_apart() -> None:
    places = [place("Ayr", stock={"mug": 1}), place("Bath", stock={"tee": 1}), place("Zennor", stock=FULL)]

    assert list(shipped(decide(asked(*places, of=lines(mug=1, tee=1)), policy(Do.PRIORITY)))) == ["zennor"]


def test_a_kit_is_shipped_where_all_its_parts_are() -> None:
    box = Line(id="box", sku="BOX", units=2, parts={"mug": 2, "tee": 1})
    half, full = replace(LEEDS_FULL, stock={"mug": 9, "tee": 1}), replace(LONDON_FULL, stock={"mug": 4, "tee": 2})

    assert shipped(decide(asked(half, full, of=(box,)), RoutingPolicy())) == {"london": {"box": 2}}
    parts = [replace(LEEDS_FULL, stock={"mug": 4}), replace(LONDON_FULL, stock={"tee": 2})]
    assert decide(asked(*parts, of=(box,)), RoutingPolicy()).shares == ()


def test_two_lines_of_one_sku_share_what_is_there() -> None:
    two = (
        Line(id="first", sku="MUG", units=2, parts={"mug": 1}),
        Line(id="second", sku="MUG", units=2, parts={"mug": 1}),
    )
    three, four = replace(LEEDS_FULL, stock={"mug": 3}), replace(LONDON_FULL, stock={"mug": 4})

    assert shipped(decide(asked(three, four, of=two), RoutingPolicy())) == {"london": {"first": 2, "second": 2}}
    decision = decide(asked(three, replace(four, stock={"mug": 3}), of=two), RoutingPolicy())
    assert shipped(decision) == {"leeds": {"first": 2}, "london": {"second": 2}}


def test_many_places_and_many_lines_take_no_time() -> None:
    """Whatever is tried is bounded: 200 places with one line of forty each would be millions of ways."""
    skus = [f"s{number}" for number in range(40)]
    places = [place(f"P{number:03}", stock={skus[number % 40]: 1}) for number in range(200)]
    wanted = asked(*places, of=lines(**dict.fromkeys(skus, 1)))

    assert decide(wanted, RoutingPolicy(most_parcels=4)).shares == ()


# ---------------------------------------------------------------- decided by somebody else


def test_what_a_person_chose_is_carried_out_as_it_is() -> None:
    decision = given(asked(LEEDS_FULL, LONDON_FULL), {"london": {"line-mug": 1}}, "chosen by ada. Leeds has a flood")

    assert decision.summary == "London: chosen by ada. Leeds has a flood"
    assert shipped(decision) == {"london": {"line-mug": 1}}
    assert decision.kilometers == 280


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ({"nowhere": {"line-mug": 1}}, "There is no location nowhere"),
        ({"leeds": {"line-cap": 1}}, "There is no line line-cap"),
        ({"leeds": {"line-mug": 3}}, "Leeds does not have that much of MUG"),
        ({"leeds": {"line-mug": 1}}, "1 of 2 units of MUG are dealt out"),
        ({"leeds": {"line-mug": 2}, "london": {"line-mug": 1}}, "3 of 2 units of MUG are dealt out"),
        ({}, "0 of 2 units of MUG are dealt out"),
        ({"leeds": {}}, "no number of units"),
        ({"leeds": {"line-mug": True}}, "no number of units"),
        ({"leeds": {"line-mug": 0}}, "no number of units"),
    ],
)
def test_what_cannot_be_carried_out_is_refused(shares: dict[str, dict[str, int]], said: str) -> None:
    places = replace(LEEDS_FULL, stock={"mug": 2}), LONDON_FULL

    with pytest.raises(ValueError, match=said):
        given(asked(*places, of=lines(mug=2)), shares, "")


# ---------------------------------------------------------------- what always holds

SKUS = ("mug", "tee", "cap")
points = st.one_of(st.none(), st.builds(Point, st.integers(40, 60), st.integers(-10, 20)))
shelves = st.dictionaries(st.sampled_from(SKUS), st.integers(0, 4))
some_places = st.builds(
    lambda number, values: [
        Place(id=f"{nth}", name=f"P{nth % 3}{nth}", **values[nth % len(values)]) for nth in range(number)
    ],
    st.integers(0, 6),
    st.lists(
        st.fixed_dictionaries(
            {
                "point": points,
                "country": st.sampled_from(["", "GB", "DE"]),
                "kind": st.sampled_from(["warehouse", "shop"]),
                "priority": st.integers(0, 2),
                "load": st.integers(0, 3),
                "capacity": st.sampled_from([None, 0, 2]),
                "ships": st.booleans(),
                "cost": st.sampled_from([None, Decimal(3), Decimal(4)]),
                "stock": shelves,
            }
        ),
        min_size=1,
        max_size=6,
    ),
)
parts = st.dictionaries(st.sampled_from(SKUS), st.integers(1, 2), min_size=1, max_size=2)
some_lines = st.lists(st.tuples(st.integers(1, 4), parts), min_size=1, max_size=4)
rules = st.one_of(
    st.sampled_from([Rule(do=do) for do in Do if do.prefers]),
    st.sampled_from(
        [
            Rule(do=Do.KEEP, kinds=("shop",), units=1),
            Rule(do=Do.NEVER, kinds=("shop",)),
            Rule(do=Do.ONLY, kinds=("warehouse",), when=When(skus=("S1",))),
        ]
    ),
)
policies = st.builds(
    RoutingPolicy, rules=st.lists(rules, max_size=4).map(tuple), most_parcels=st.integers(1, 4), in_parts=st.booleans()
)


@drawn(some_places, some_lines, policies, st.randoms(use_true_random=False))
def test_everything_is_shipped_or_nothing_and_never_more_than_there_is(
    places: list[Place], of: list[tuple[int, dict[str, int]]], rules: RoutingPolicy, chance: random.Random
) -> None:
    wanted = Request(
        number="1",
        lines=tuple(
            Line(id=str(nth), sku=f"S{nth}", units=units, parts=made_of) for nth, (units, made_of) in enumerate(of)
        ),
        places=tuple(places),
        country="GB",
        point=YORK,
    )
    decision = decide(wanted, rules)

    dealt = dict.fromkeys((line.id for line in wanted.lines), 0)
    for share in decision.shares:
        there = next(each for each in places if each.id == share.place)
        assert there.ships
        assert there.capacity != 0
        taken: dict[str, int] = {}
        for line in wanted.lines:
            units = share.units.get(line.id, 0)
            dealt[line.id] += units
            for sku, per_unit in line.parts.items():
                taken[sku] = taken.get(sku, 0) + units * per_unit
        assert any(share.units.values())
        assert all(units <= there.stock.get(sku, 0) for sku, units in taken.items())
    if decision.shares:
        assert dealt == {line.id: line.units for line in wanted.lines}
        assert len(decision.shares) <= rules.most_parcels
        assert len({share.place for share in decision.shares}) == len(decision.shares)
    assert decision.summary
    assert len(decision.looked) == len(places)

    # Whatever the order of places, and after a night in the database, it comes out the same.
    chance.shuffle(places)
    again = from_plain(Request, to_plain(replace(wanted, places=tuple(places))))
    assert to_plain(decide(again, from_plain(RoutingPolicy, to_plain(rules)))) == to_plain(decision)


@drawn(some_places, some_lines)
def test_one_place_that_has_everything_is_always_found(
    places: list[Place], of: list[tuple[int, dict[str, int]]]
) -> None:
    wanted = tuple(Line(id=str(nth), sku="S", units=units, parts=made_of) for nth, (units, made_of) in enumerate(of))
    everything = Place(id="all", name="All", stock=dict.fromkeys(SKUS, 100))

    decision = decide(Request(number="1", lines=wanted, places=(*places, everything)), NO_RULES)

    assert len(decision.shares) == 1


# ---------------------------------------------------------------- when it leaves


@pytest.mark.parametrize(
    ("now", "cut_off", "load", "capacity", "days"),
    [
        ("2026-03-02 15:59", "16:00", 0, None, 0),  # a Monday
        ("2026-03-02 16:00", "16:00", 0, None, 1),
        ("2026-03-02 23:00", "", 50, None, 0),
        ("2026-03-02 10:00", "16:00", 50, 20, 2),
        ("2026-03-02 10:00", "16:00", 19, 20, 0),
        ("2026-03-06 17:00", "16:00", 0, None, 3),  # a Friday: on Monday
        ("2026-03-07 10:00", "16:00", 0, None, 2),  # a Saturday
        ("2026-03-07 18:00", "16:00", 0, None, 2),
        ("2026-03-07 18:00", "16:00", 20, 20, 3),
        ("2026-03-05 17:00", "16:00", 20, 20, 4),  # a Thursday: Friday is full, too
    ],
)
def test_counts_the_days_until_it_leaves(now: str, cut_off: str, load: int, capacity: int | None, days: int) -> None:
    assert leaves_in(datetime.fromisoformat(now), cut_off, load, capacity) == days


# ---------------------------------------------------------------- distances


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        (LONDON, Point(48.857, 2.352), 344),
        (LONDON, BERLIN, 932),
        (Point(40.71, -74.01), Point(34.05, -118.24), 3936),
        (Point(0, 179), Point(0, -179), 222),
        (Point(0, 0), Point(0, 180), 20015),
        (YORK, YORK, 0),
    ],
)
def test_measures_as_the_crow_flies(one: Point, other: Point, apart: int) -> None:
    assert kilometers(one, other) == kilometers(other, one) == pytest.approx(apart, rel=0.005)


@pytest.mark.parametrize("degrees", [(91, 0), (0, 181), (-90.1, 0), (float("nan"), 0)])
def test_a_point_has_to_be_on_earth(degrees: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="no place on earth"):
        Point(*degrees)
