"""What a channel may see of the stock: the units it may sell, worked out in steps that a person can follow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from uuid import UUID

from hub.core.model import StockLevel


@dataclass(frozen=True, slots=True, kw_only=True)
class SellingRule:
    """What a channel may see less, or more, than what is free; None: nothing is said about it.

    ``buffer_percent`` and ``buffer_units`` are kept back; the percentage is rounded up, so that even of a single unit
    something is kept. ``stop_at``: with so many left, or fewer, none are shown. ``maximum`` is the most that is shown.
    ``share_percent`` splits what is free between the channels that have one; shares of more than 100 % together are
    taken in proportion. ``backorder_limit`` is how many units may be sold that are not there, over all channels.
    """

    buffer_units: int | None = None
    buffer_percent: int | None = None
    stop_at: int | None = None
    maximum: int | None = None
    share_percent: int | None = None
    backorder_limit: int | None = None

    def over(self, wider: SellingRule) -> SellingRule:
        """This rule, with what it says nothing about taken from ``wider``."""
        return SellingRule(**(wider.said | self.said))

    @property
    def said(self) -> dict[str, int]:
        """The fields that say something."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the channel itself can be told: figures below 0 or not, and the largest one (None: any)."""

    negative_stock: bool = False
    most_units: int | None = None


@dataclass(frozen=True, slots=True)
class Shelf:
    """The balance of one SKU (its code) at one location (its name). ``safety_stock`` is shown to no channel."""

    sku: str
    location: str
    level: StockLevel
    safety_stock: int = 0

    @property
    def free(self) -> int:
        """Units a channel may be shown, never below 0."""
        return max(0, self.level.available - self.safety_stock)


@dataclass(frozen=True, slots=True)
class Part:
    """A SKU of which ``units`` go into one unit of what is listed, and the shelves it is sold from, pooled."""

    sku: str
    units: int
    shelves: tuple[Shelf, ...]

    @property
    def free(self) -> int:
        return sum(shelf.free for shelf in self.shelves)

    @property
    def enough_for(self) -> int:
        """Units of what is listed for which there is enough of this part."""
        return self.free // max(1, self.units)


@dataclass(frozen=True, slots=True)
class Split:
    """How the channels share what is listed: their percentages, and where ``channel`` sells it from, by its places.

    ``place`` is the one that is asked about.
    """

    percents: Mapping[UUID, int]
    channel: UUID
    place: str
    places: Mapping[str, Sequence[Part]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Figure:
    """A quantity to be shown, and how it came about, in words."""

    quantity: int
    steps: tuple[str, ...]


def available_to_sell(
    parts: Sequence[Part],
    rule: SellingRule,
    limits: Limits,
    *,
    waiting: int = 0,
    split: Split | None = None,
) -> Figure:
    """What a channel is told to sell of one listing at one of its places.

    ``parts`` is the SKU itself, or what the kit is made of. ``waiting`` are units of the listed SKU on backorder. The
    figure rises, or stays, when there is more on a shelf, and never exceeds what is free and the backorder limit.
    """
    quantity = free_units(parts)
    steps = _on_the_shelves(parts, quantity)
    if rule.share_percent is not None and split is not None:
        quantity = _share(quantity, split, steps)
    if rule.buffer_percent is not None:
        kept = -(-quantity * rule.buffer_percent // 100)
        quantity -= kept
        steps.append(f"buffer {rule.buffer_percent} %: {kept} kept back")
    if rule.buffer_units is not None:
        kept = min(quantity, rule.buffer_units)
        quantity -= kept
        steps.append(f"buffer of {rule.buffer_units}: {kept} kept back")
    if rule.stop_at is not None and 0 < quantity <= rule.stop_at:
        steps.append(f"stop at {rule.stop_at}: {quantity} left, none shown")
        quantity = 0
    if rule.backorder_limit is not None:
        left = rule.backorder_limit - waiting
        if left >= 0 or quantity or not limits.negative_stock:
            left = max(0, left)
        quantity += left
        waits = f", {waiting} wait" if waiting else ""
        more = f"{left} more may be sold" if left >= 0 else f"{-left} too many were sold"
        steps.append(f"backorders up to {rule.backorder_limit}{waits}: {more}")
    if rule.maximum is not None and quantity > rule.maximum:
        steps.append(f"maximum {rule.maximum}: not more is shown")
        quantity = rule.maximum
    if limits.most_units is not None and quantity > limits.most_units:
        steps.append(f"the channel takes no more than {limits.most_units}")
        quantity = limits.most_units
    return Figure(quantity, (*steps, f"shown: {quantity}"))


def free_units(parts: Sequence[Part]) -> int:
    """Units of what is listed that are free: of a kit as many as there is enough for of every part."""
    return min((part.enough_for for part in parts), default=0)


def _on_the_shelves(parts: Sequence[Part], together: int) -> list[str]:
    steps: list[str] = []
    is_kit = len(parts) != 1 or parts[0].units != 1
    for part in parts:
        several = len(part.shelves) > 1
        named = f"{part.sku}: " if is_kit else ""
        for shelf in part.shelves:
            place = f"{shelf.location}: " if several else ""
            steps.append(f"{named}{place}{_balance(shelf)}: {shelf.free} free")
        if not part.shelves:
            steps.append(f"{named}not counted where the channel sells from: 0 free")
        if several:
            steps.append(f"{named}{part.free} free together")
        if is_kit:
            steps.append(f"{named}{part.units} in each: enough for {part.enough_for}")
    if is_kit:
        steps.append(f"kit: {together} can be made up")
    return steps


def _balance(shelf: Shelf) -> str:
    level = shelf.level
    told = [f"{level.on_hand} on hand"]
    for units, what in (
        (level.allocated, "allocated"),
        (level.quarantined + level.damaged, "set aside"),
        (shelf.safety_stock, "safety stock"),
    ):
        if units:
            told.append(f"{units} {what}")
    return ", ".join(told)


# ---------------------------------------------------------------- sharing between channels


def _share(free: int, split: Split, steps: list[str]) -> int:
    total = sum(split.percents.values())
    percent = split.percents.get(split.channel, 0)
    places = {place: free_units(parts) for place, parts in split.places.items()} | {split.place: free}
    everywhere = free_units(_pooled(split.places.values())) if len(places) > 1 else free
    share = shares(everywhere, split.percents).get(split.channel, 0)
    quantity = _by_place(share, places)[split.place]
    of = f"{percent} %" if total <= 100 else f"{percent} of {total} %"
    elsewhere = f", {share - quantity} of them shown at its other places" if share != quantity else ""
    steps.append(f"share {of}: {share} of {everywhere}{elsewhere}")
    return quantity


def shares(free: int, percents: Mapping[UUID, int]) -> dict[UUID, int]:
    """Split ``free`` units between channels: together never more than there are, and no unit is lost to rounding.

    One after the other goes to the channel with the largest percentage per unit it would then have. Nobody's share
    shrinks when there is more to share (giving the largest remainders one more would not keep that), and nobody gets
    less than its percentage rounded down. Each channel's share may therefore be worked out of the stock it sells from:
    the shares of all still do not exceed what there is at the best supplied one.
    """
    total = sum(percents.values())
    if free <= 0 or total <= 0:
        return dict.fromkeys(percents, 0)
    given = -(-free * min(total, 100) // 100)
    turns = _turns(tuple(sorted(percents.items())))
    rounds, rest = divmod(given, len(turns))
    return {
        channel: rounds * percent + sum(turn == channel for turn in turns[:rest])
        for channel, percent in percents.items()
    }


@lru_cache(1000)
def _turns(percents: tuple[tuple[UUID, int], ...]) -> tuple[UUID, ...]:
    """Who gets the next unit, for as many units as there are percents; from there on it begins anew."""
    has = {channel: 0 for channel, percent in percents if percent > 0}
    weight = dict(percents)
    turns = []
    for _ in range(sum(weight.values())):
        # The most percent per unit; of equals, the one that has come first. Compared as fractions, without dividing.
        best = next(iter(has))
        for channel in has:
            if weight[channel] * (has[best] + 1) > weight[best] * (has[channel] + 1):
                best = channel
        has[best] += 1
        turns.append(best)
    return tuple(turns)


def _by_place(share: int, free: Mapping[str, int]) -> dict[str, int]:
    """Split a channel's share between its places, in proportion to what is free at each and never more than that."""
    total = sum(free.values())
    share = min(share, total)
    if not share:
        return dict.fromkeys(free, 0)
    found = {place: share * units // total for place, units in free.items()}
    remainders = sorted(free, key=lambda place: (-(share * free[place] % total), place))
    for place in remainders[: share - sum(found.values())]:
        found[place] += 1
    return found


def _pooled(places: Iterable[Sequence[Part]]) -> list[Part]:
    """What a channel sells from at all of its places; a shelf that two of them share counts once."""
    shelves: dict[tuple[str, int], dict[tuple[str, str], Shelf]] = {}
    for parts in places:
        for part in parts:
            found = shelves.setdefault((part.sku, part.units), {})
            found.update({(shelf.sku, shelf.location): shelf for shelf in part.shelves})
    return [Part(sku, units, tuple(found.values())) for (sku, units), found in shelves.items()]
