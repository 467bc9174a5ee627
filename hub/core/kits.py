"""Kits: what they are made of down to SKUs that are no kits, and which recipes cannot be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

DEEPEST = 8  # kits one within the other
MOST_PARTS = 100  # different SKUs in one kit, multiplied out
MOST_UNITS = 10_000  # units of one SKU in one kit, multiplied out

Recipe = Mapping[UUID, int]  # units of each part in one kit, as entered: a part may be a kit, too


class Impossible(Exception):
    """A recipe that cannot be. ``path`` are the kits concerned, each made with the next."""

    def __init__(self, *path: UUID) -> None:
        super().__init__(*path)
        self.path = path


class ContainsItself(Impossible):
    """The last of the path is its first."""


class TooDeep(Impossible):
    """More than DEEPEST kits lie one within the other, the outermost of which is the path."""


class TooLarge(Impossible):
    """The kit that is the path takes too many different SKUs, or too many units of one."""


def explode(kit_ids: Iterable[UUID], recipes: Mapping[UUID, Recipe]) -> dict[UUID, dict[UUID, int]]:
    """The units of each SKU that one of each of these kits takes off the shelves: recipes multiplied out.

    ``recipes`` has those of all kits within them. Raises Impossible.
    """
    known: dict[UUID, tuple[int, dict[UUID, int]]] = {}
    return {kit_id: _explode(kit_id, recipes, (), known)[1] for kit_id in kit_ids}


def _explode(
    sku_id: UUID,
    recipes: Mapping[UUID, Recipe],
    above: tuple[UUID, ...],
    known: dict[UUID, tuple[int, dict[UUID, int]]],
) -> tuple[int, dict[UUID, int]]:
    """How many kits lie one within the other in this SKU, and its leaves."""
    if sku_id not in recipes:
        return 0, {sku_id: 1}
    if sku_id in above:
        raise ContainsItself(*above[above.index(sku_id) :], sku_id)
    if sku_id not in known:
        deepest, leaves = 0, dict[UUID, int]()
        for part_id, units in sorted(recipes[sku_id].items()):
            depth, inside = _explode(part_id, recipes, (*above, sku_id), known)
            deepest = max(deepest, depth)
            for leaf_id, each in inside.items():
                leaves[leaf_id] = leaves.get(leaf_id, 0) + units * each
        if deepest >= DEEPEST:
            raise TooDeep(sku_id)
        if len(leaves) > MOST_PARTS or max(leaves.values()) > MOST_UNITS:
            raise TooLarge(sku_id)
        known[sku_id] = deepest + 1, leaves
    return known[sku_id]
