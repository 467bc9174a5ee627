"""Stock: the book in which reservations, shipments and corrections of a set of SKUs are worked out before they are
written, all in one step, under the rule 0 <= allocated <= on_hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from hub.core.model import StockLevel

Place = tuple[UUID, UUID]  # (SKU, location)
Queue = Callable[[UUID, int], Iterable["Claim"]]  # the first so many claims that wait for a SKU, the oldest first


class Cause(StrEnum):
    """Why a ledger entry was written."""

    ADOPTED = "adopted"  # opening stock, taken over from a channel
    ADJUSTED = "adjusted"  # a person set on_hand
    ALLOCATED = "allocated"  # reserved for an order
    RELEASED = "released"  # an order gave its reservation back
    SHIPPED = "shipped"  # left the shelf with an order
    UNSHIPPED = "unshipped"  # a fulfilment was undone at the channel


@dataclass(frozen=True, slots=True)
class Movement:
    """One ledger entry: what changed on one SKU at one location, and why. ``reference`` is unique per cause."""

    place: Place
    cause: Cause
    reference: str
    on_hand: int
    allocated: int
    order_id: UUID | None = None


@dataclass(slots=True)
class Claim:
    """What one order line holds and waits for, by SKU: ``allocated`` per location, ``waiting`` in the backorder queue.

    ``since`` is the line's place in the queue: when its order was placed.
    """

    line_id: UUID
    order_id: UUID
    sku_id: UUID
    since: datetime
    allocated: dict[UUID, int] = field(default_factory=dict)
    waiting: int = 0

    @property
    def held(self) -> int:
        return sum(self.allocated.values())


class StockBook:
    """The balances, claims and backorder queues of some SKUs, as locked in one transaction.

    Every change goes through it and leaves a Movement; nothing is written before the whole book is. After each
    change the queue is served, so that a line never waits while stock of its SKU is free. Quantities are units.

    ``claims`` are those that are known to matter. Of all others that wait, ``queue`` calls up as many as units came
    free; where there was free stock from the beginning, nobody waits.
    """

    def __init__(
        self,
        levels: Mapping[Place, StockLevel],
        claims: Iterable[Claim] = (),
        *,
        location_order: Iterable[UUID] = (),
        queue: Queue = lambda _sku, _most: (),
    ) -> None:
        self.before = dict(levels)
        self._on_hand = {place: level.on_hand for place, level in levels.items()}
        self._allocated = {place: level.allocated for place, level in levels.items()}
        self._rank = {location: rank for rank, location in enumerate(location_order)}
        self._places: dict[UUID, list[Place]] = {}
        for place in sorted(levels, key=self._preference):
            self._places.setdefault(place[0], []).append(place)
        self.claims: dict[UUID, Claim] = {}
        self._queue: dict[UUID, dict[UUID, Claim]] = {}
        for claim in claims:
            self._adopt(claim)
        self.changed_claims: set[UUID] = set()
        self._others = queue
        # How many of the queue have been asked for: those who are here already stand in it, too.
        self._called_up = {
            sku_id: len(self._queue.get(sku_id, ())) for sku_id in self._places if not self.available(sku_id)
        }
        self._movements: dict[tuple[Place, Cause, str], list[int]] = {}
        self._orders: dict[tuple[Place, Cause, str], UUID | None] = {}

    # ------------------------------------------------------------ looking

    def counts(self, sku_id: UUID) -> bool:
        """Whether the hub keeps stock of the SKU: it has an opening balance somewhere."""
        return sku_id in self._places

    def level(self, place: Place) -> StockLevel:
        return StockLevel(self._on_hand[place], self._allocated[place])

    def available(self, sku_id: UUID) -> int:
        """Units of the SKU that nobody holds, over all locations."""
        return sum(self._free(place) for place in self._places.get(sku_id, ()))

    @property
    def movements(self) -> list[Movement]:
        """Every change since the book was opened, one entry per place, cause and reference."""
        return [
            Movement(place, cause, reference, on_hand, allocated, self._orders[place, cause, reference])
            for (place, cause, reference), (on_hand, allocated) in self._movements.items()
            if on_hand or allocated
        ]

    @property
    def after(self) -> dict[Place, StockLevel]:
        """The balances that changed, as they are now."""
        return {place: self.level(place) for place in self._on_hand if self.level(place) != self.before.get(place)}

    # ------------------------------------------------------------ orders

    def claim(self, line_id: UUID, order_id: UUID, sku_id: UUID, since: datetime) -> Claim:
        """The claim of a line, opened empty when it has none yet."""
        if line_id not in self.claims:
            self._adopt(Claim(line_id, order_id, sku_id, since))
        return self.claims[line_id]

    def demand(self, claim: Claim, wanted: int, reference: str) -> None:
        """Let the line hold ``wanted`` units: reserve what is free, queue the rest, give back what is too much."""
        excess = claim.held + claim.waiting - wanted
        if excess > 0:
            # What only waits is dropped first: it costs nobody anything.
            dropped = min(excess, claim.waiting)
            self._wait(claim, claim.waiting - dropped)
            self._give_back(claim, excess - dropped, reference)
        elif excess < 0:
            self._wait(claim, claim.waiting - excess)
        self._serve(claim.sku_id, reference)

    def ship(self, claim: Claim, units: int, reference: str) -> int:
        """Take units that left with the order out of stock, its own reservation first; returns how many there were.

        A line that was still waiting ships from what is free. What the book does not have cannot leave it: the
        caller tells a person that the count is wrong.
        """
        left = units
        for location in sorted(claim.allocated, key=lambda each: self._preference((claim.sku_id, each))):
            taken = min(left, claim.allocated[location])
            if taken:
                self._hold(claim, location, -taken)
                self._move((claim.sku_id, location), Cause.SHIPPED, reference, -taken, -taken, claim.order_id)
                left -= taken
        self._wait(claim, max(0, claim.waiting - left))
        for place in self._places.get(claim.sku_id, ()):
            taken = min(left, self._free(place))
            if taken:
                self._move(place, Cause.SHIPPED, reference, -taken, 0, claim.order_id)
                left -= taken
        return units - left

    def unship(self, claim: Claim, units: int, reference: str) -> None:
        """Put units back on the shelf whose fulfilment was undone."""
        place = self._places[claim.sku_id][0]
        self._move(place, Cause.UNSHIPPED, reference, units, 0, claim.order_id)
        self._serve(claim.sku_id, reference)

    # ------------------------------------------------------------ corrections

    def open(self, place: Place, on_hand: int, reference: str) -> None:
        """Start counting a SKU at a location, with its opening balance."""
        if place in self._on_hand:
            raise ValueError("This SKU already has an opening balance here.")
        self._on_hand[place] = self._allocated[place] = 0
        self._places.setdefault(place[0], []).append(place)
        self._places[place[0]].sort(key=self._preference)
        self._move(place, Cause.ADOPTED, reference, on_hand, 0, None)
        self._serve(place[0], reference)

    def set_on_hand(self, place: Place, on_hand: int, reference: str) -> None:
        """Correct on_hand. Where less is left than is reserved, the newest reservations go back to the queue first."""
        if on_hand < 0:
            raise ValueError("On hand cannot be negative.")
        sku_id, location = place
        short = self._allocated[place] - on_hand
        holders = [each for each in self.claims.values() if each.sku_id == sku_id and location in each.allocated]
        for claim in sorted(holders, key=lambda each: (each.since, each.line_id), reverse=True):
            if short <= 0:
                break
            back = min(short, claim.allocated[location])
            self._hold(claim, location, -back)
            self._move(place, Cause.RELEASED, _for_line(claim, reference), 0, -back, claim.order_id)
            self._wait(claim, claim.waiting + back)
            short -= back
        self._move(place, Cause.ADJUSTED, reference, on_hand - self._on_hand[place], 0, None)
        self._serve(sku_id, reference)

    # ------------------------------------------------------------ inside

    def _preference(self, place: Place) -> tuple[int, UUID]:
        return self._rank.get(place[1], len(self._rank)), place[1]

    def _free(self, place: Place) -> int:
        return self._on_hand[place] - self._allocated[place]

    def _adopt(self, claim: Claim) -> None:
        self.claims[claim.line_id] = claim
        if claim.waiting:
            self._queue.setdefault(claim.sku_id, {})[claim.line_id] = claim

    def _move(
        self, place: Place, cause: Cause, reference: str, on_hand: int, allocated: int, order_id: UUID | None
    ) -> None:
        self._on_hand[place] += on_hand
        self._allocated[place] += allocated
        if not 0 <= self._allocated[place] <= self._on_hand[place]:
            raise AssertionError(f"{cause} would leave {self.level(place)} at {place}")
        entry = self._movements.setdefault((place, cause, reference), [0, 0])
        entry[0] += on_hand
        entry[1] += allocated
        self._orders[place, cause, reference] = order_id

    def _hold(self, claim: Claim, location: UUID, units: int) -> None:
        claim.allocated[location] = claim.allocated.get(location, 0) + units
        if not claim.allocated[location]:
            del claim.allocated[location]
        self.changed_claims.add(claim.line_id)

    def _wait(self, claim: Claim, units: int) -> None:
        if units == claim.waiting:
            return
        claim.waiting = units
        self.changed_claims.add(claim.line_id)
        queue = self._queue.setdefault(claim.sku_id, {})
        if units:
            queue[claim.line_id] = claim
        else:
            queue.pop(claim.line_id, None)

    def _give_back(self, claim: Claim, units: int, reference: str) -> None:
        for location in sorted(claim.allocated, key=lambda each: self._preference((claim.sku_id, each)), reverse=True):
            back = min(units, claim.allocated[location])
            if back:
                self._hold(claim, location, -back)
                self._move((claim.sku_id, location), Cause.RELEASED, reference, 0, -back, claim.order_id)
                units -= back

    def _serve(self, sku_id: UUID, reference: str) -> None:
        """Give what is free to the lines that wait, the oldest order first."""
        free = self.available(sku_id)
        if not free:
            return
        if sku_id in self._called_up:
            self._called_up[sku_id] += free  # each that waits takes one unit at least
            for claim in self._others(sku_id, self._called_up[sku_id]):
                if claim.line_id not in self.claims:
                    self._adopt(claim)
        queue = self._queue.get(sku_id)
        if not queue:
            return
        for claim in sorted(queue.values(), key=lambda each: (each.since, each.line_id)):
            for place in self._places[sku_id]:
                taken = min(claim.waiting, self._free(place))
                if taken:
                    self._hold(claim, place[1], taken)
                    self._wait(claim, claim.waiting - taken)
                    self._move(place, Cause.ALLOCATED, _for_line(claim, reference), 0, taken, claim.order_id)
            if not self.available(sku_id):
                return


def _for_line(claim: Claim, reference: str) -> str:
    # An order's own change is referred to by the order alone, so that two lines of one SKU are one summed entry; a
    # line of another order that profits from it needs a reference of its own.
    return reference if reference.startswith(str(claim.order_id)) else f"{claim.line_id} by {reference}"
