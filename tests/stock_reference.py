"""What stock has to do, said a second time as simply as it can be: plain dicts, one global queue, no cleverness."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

Place = tuple[UUID, UUID]  # (SKU, location)


@dataclass
class Line:
    """An order line: what it has, and how many of it wait."""

    id: UUID
    order_id: UUID
    parts: Mapping[UUID, int]
    since: datetime
    rank: int = 0
    together: bool = False
    prefers: Sequence[UUID] = ()
    held: Counter[Place] = field(default_factory=Counter)
    waiting: int = 0

    @property
    def turn(self) -> tuple[int, datetime, UUID]:
        return self.rank, self.since, self.id

    @property
    def group(self) -> UUID:
        return self.order_id if self.together else self.id

    @property
    def holds(self) -> int:
        """Line units that are reserved, of every part the same number."""
        units = {
            sku: sum(count for place, count in self.held.items() if place[0] == sku) / per_unit
            for sku, per_unit in self.parts.items()
        }
        (whole,) = set(units.values())
        assert whole == int(whole), f"a part of a kit is reserved: {units}"
        return int(whole)


class Reference:
    """The balances, and all lines in one list. After each change ``serve`` goes through everybody who waits."""

    def __init__(self, locations: Sequence[UUID]) -> None:
        self.locations = list(locations)  # the preferred one first
        self.opened: set[Place] = set()
        self.on_hand: Counter[Place] = Counter()
        self.quarantined: Counter[Place] = Counter()
        self.damaged: Counter[Place] = Counter()
        self.incoming: Counter[Place] = Counter()
        self.lines: dict[UUID, Line] = {}

    # ------------------------------------------------------------ looking

    def allocated(self, place: Place) -> int:
        return sum(line.held[place] for line in self.lines.values())

    def free(self, place: Place) -> int:
        return self.on_hand[place] - self.allocated(place) - self.quarantined[place] - self.damaged[place]

    def available(self, sku: UUID) -> int:
        return sum(self.free(place) for place in self.opened if place[0] == sku)

    def queue(self) -> list[list[Line]]:
        """Those who wait, in groups that are served at once or not at all, in their order."""
        groups: dict[UUID, list[Line]] = {}
        for line in self.lines.values():
            if line.waiting:
                groups.setdefault(line.group, []).append(line)
        return sorted(groups.values(), key=lambda lines: min(line.turn for line in lines))

    def could_have(self, lines: Sequence[Line]) -> int:
        """Units of the group's line that could be reserved for it; of an order held together, all or none."""
        if lines[0].together:
            needs = needed(lines)
            enough = all(self.available(sku) >= units for sku, units in needs.items())
            return sum(line.waiting for line in lines) if enough else 0
        (line,) = lines
        return min(line.waiting, *(self.available(sku) // per_unit for sku, per_unit in line.parts.items()))

    # ------------------------------------------------------------ orders

    def want(self, line: Line, units: int) -> None:
        """The line wants to hold or wait for so many in all: what only waits is given up first."""
        excess = line.holds + line.waiting - units
        if excess <= 0:
            line.waiting -= excess
            return
        dropped = min(excess, line.waiting)
        line.waiting -= dropped
        self.give_back(line, excess - dropped)

    def ship(self, line: Line, units: int) -> dict[UUID, int]:
        """Its own first, then what nobody holds; returns what was missing."""
        missing = {}
        own = min(units, line.holds)
        for sku, per_unit in line.parts.items():
            left = own * per_unit
            for place in self.places(sku, line.prefers):
                taken = min(left, line.held[place])
                line.held[place] -= taken
                self.on_hand[place] -= taken
                left -= taken
            left = (units - own) * per_unit
            for place in self.places(sku, line.prefers):
                taken = min(left, self.free(place))
                self.on_hand[place] -= taken
                left -= taken
            if left:
                missing[sku] = left
        line.waiting -= min(line.waiting, units - own)
        return missing

    def unship(self, line: Line, units: int) -> None:
        for sku, per_unit in line.parts.items():
            self.on_hand[self.places(sku, line.prefers)[0]] += units * per_unit

    # ------------------------------------------------------------ the warehouse

    def correct(self, place: Place, on_hand: int) -> None:
        """So many are on hand: what nobody holds goes first, then what the last of the queue hold, then the rest."""
        lost = self.on_hand[place] - on_hand
        self.make_room(place, lost)
        for aside in (self.quarantined, self.damaged):
            gone = min(aside[place], max(0, lost - self.free(place)))
            aside[place] -= gone
        self.on_hand[place] = on_hand

    def set_aside(self, place: Place, units: int, aside: Counter[Place]) -> None:
        self.make_room(place, units)
        aside[place] += units

    def make_room(self, place: Place, units: int) -> None:
        holders = [line for line in self.lines.values() if line.held[place]]
        for line in sorted(holders, key=lambda each: each.turn, reverse=True):
            short = units - self.free(place)
            if short <= 0:
                return
            back = -(-min(short, line.held[place]) // line.parts[place[0]])
            self.give_back(line, back, first=place)
            line.waiting += back

    def open(self, place: Place, on_hand: int) -> None:
        assert place not in self.opened
        self.opened.add(place)
        self.on_hand[place] = on_hand

    def send(self, place: Place, to: Place, units: int) -> None:
        if to not in self.opened:
            self.open(to, 0)
        self.on_hand[place] -= units
        self.incoming[to] += units

    # ------------------------------------------------------------ the queue

    def serve(self) -> None:
        """Give what is free to those who wait, one after the other, whatever each can have."""
        for lines in self.queue():
            units = self.could_have(lines)
            for line in lines:
                taken = line.waiting if line.together else units
                if units and taken:
                    self.take(line, taken)

    def take(self, line: Line, units: int) -> None:
        for sku, per_unit in line.parts.items():
            left = units * per_unit
            for place in self.places(sku, line.prefers):
                taken = min(left, self.free(place))
                line.held[place] += taken
                left -= taken
            assert not left
        line.waiting -= units

    def give_back(self, line: Line, units: int, first: Place | None = None) -> None:
        for sku, per_unit in line.parts.items():
            left = units * per_unit
            places = self.places(sku, line.prefers)[::-1]
            for place in sorted(places, key=lambda each: each != first):
                back = min(left, line.held[place])
                line.held[place] -= back
                left -= back
            assert not left

    def places(self, sku: UUID, prefers: Sequence[UUID]) -> list[Place]:
        """Where a SKU is looked for: first where its channel sells from."""
        kept = [(sku, each) for each in self.locations if (sku, each) in self.opened]
        return sorted(kept, key=lambda place: bool(prefers) and place[1] not in prefers)

    # ------------------------------------------------------------ what must be true at any moment

    def check(self) -> None:
        """Nothing is promised twice, and nobody waits for what is there."""
        for place in self.opened:
            assert min(self.quarantined[place], self.damaged[place], self.incoming[place]) >= 0
            assert self.free(place) >= 0
        for lines in self.queue():
            assert not self.could_have(lines)


def needed(lines: Iterable[Line]) -> Counter[UUID]:
    """The units of each SKU that these lines wait for."""
    needs: Counter[UUID] = Counter()
    for line in lines:
        for sku, per_unit in line.parts.items():
            needs[sku] += line.waiting * per_unit
    return needs
