"""Kits multiplied out to what they take off the shelves, and the recipes that cannot be."""

from __future__ import annotations

from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core.kits import DEEPEST, MOST_PARTS, MOST_UNITS, ContainsItself, TooDeep, TooLarge, explode

BOX, CRATE, PALLET, MUG, TEE, CARD = (UUID(int=number) for number in range(1, 7))


def test_nested_kits_multiply() -> None:
    recipes = {PALLET: {CRATE: 2, CARD: 1}, CRATE: {BOX: 3, CARD: 1, MUG: 1}, BOX: {MUG: 2, TEE: 1}}

    assert explode([PALLET, BOX], recipes) == {
        PALLET: {MUG: 2 * (3 * 2 + 1), TEE: 2 * 3, CARD: 2 * 1 + 1},
        BOX: {MUG: 2, TEE: 1},
    }


def test_a_kit_that_contains_itself_is_shown_the_way_round() -> None:
    for recipes, path in (
        ({BOX: {BOX: 1}}, (BOX, BOX)),
        ({BOX: {CRATE: 1, MUG: 1}, CRATE: {BOX: 1}}, (BOX, CRATE, BOX)),
        ({BOX: {CRATE: 1}, CRATE: {PALLET: 1}, PALLET: {MUG: 1, CRATE: 1}}, (CRATE, PALLET, CRATE)),
    ):
        with pytest.raises(ContainsItself) as refused:
            explode([BOX], recipes)
        assert refused.value.path == path


def test_a_part_that_two_inner_kits_share_is_no_circle() -> None:
    recipes = {PALLET: {CRATE: 1, BOX: 1}, CRATE: {BOX: 1}, BOX: {MUG: 1}}

    assert explode([PALLET], recipes) == {PALLET: {MUG: 2}}


def _tower(height: int) -> dict[UUID, dict[UUID, int]]:
    """Kits one within the other, the outermost of which is 100."""
    return {UUID(int=100 + level): {UUID(int=101 + level): 1} for level in range(height)}


def test_kits_lie_within_each_other_only_so_deep() -> None:
    outermost = UUID(int=100)

    assert explode([outermost], _tower(DEEPEST)) == {outermost: {UUID(int=100 + DEEPEST): 1}}
    with pytest.raises(TooDeep) as refused:
        explode([outermost], _tower(DEEPEST + 1))
    assert refused.value.path == (outermost,)


def test_a_kit_is_only_so_large() -> None:
    parts = {UUID(int=number): 1 for number in range(100, 100 + MOST_PARTS)}

    assert len(explode([BOX], {BOX: parts})[BOX]) == MOST_PARTS
    with pytest.raises(TooLarge):
        explode([BOX], {BOX: parts | {MUG: 1}})
    assert explode([CRATE], {CRATE: {BOX: MOST_UNITS // 2}, BOX: {MUG: 2}}) == {CRATE: {MUG: MOST_UNITS}}
    with pytest.raises(TooLarge) as refused:
        explode([CRATE], {CRATE: {BOX: MOST_UNITS // 2 + 1}, BOX: {MUG: 2}})
    assert refused.value.path == (CRATE,)


def test_many_ways_to_one_part_are_added_up_once_each() -> None:
    # Ten kits on each of three levels, each made of all those below: a thousand ways from the top to the mug.
    levels = [[UUID(int=1000 * level + number) for number in range(10)] for level in (1, 2, 3)]
    recipes = {kit: {MUG: 1} for kit in levels[0]}
    for lower, upper in pairwise(levels):
        recipes |= {kit: dict.fromkeys(lower, 1) for kit in upper}
    recipes[BOX] = dict.fromkeys(levels[2], 1)

    assert explode([BOX], recipes) == {BOX: {MUG: 1000}}


@given(
    st.dictionaries(st.integers(1, 6), st.dictionaries(st.integers(1, 9), st.integers(1, 3), min_size=1), max_size=6)
)
def test_what_is_exploded_is_what_packing_one_by_one_would_take(drawn: dict[int, dict[int, int]]) -> None:
    recipes = {UUID(int=kit): {UUID(int=part): units for part, units in parts.items()} for kit, parts in drawn.items()}

    def pack(sku_id: UUID, above: frozenset[UUID]) -> list[UUID] | None:
        """Every unit that goes into one, or None for one that cannot be packed."""
        if sku_id in above:
            return None
        if sku_id not in recipes:
            return [sku_id]
        inside: list[UUID] = []
        for part_id, units in recipes[sku_id].items():
            packed = pack(part_id, above | {sku_id})
            if packed is None:
                return None
            inside += packed * units
        return inside

    for kit_id in recipes:
        packed = pack(kit_id, frozenset())
        if packed is None:
            with pytest.raises(ContainsItself):
                explode([kit_id], recipes)
        else:
            assert explode([kit_id], recipes) == {kit_id: {each: packed.count(each) for each in packed}}
