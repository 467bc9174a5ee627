"""Stock: the book in which reservations, shipments and corrections of a set of SKUs are worked out before they are
written, all in one step, under the rule that what is allocated or set aside is on hand, always."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from hub.core.model import StockLevel

Place = tuple[UUID, UUID]  # (SKU, location)
MOST_UNITS = 1_000_000_000  # of one SKU at one location
# Of the claims for which a SKU was missing when they were last tried, the first so many lines, in the queue's order;
# of a kit or of an order that is held together, all there is.
Queue = Callable[[UUID, int], Sequence["Claim"]]


class Cause(StrEnum):
    """Why a ledger entry was written."""

    ADOPTED = "adopted"  # opening stock, taken over from a channel
    ADJUSTED = "adjusted"  # a person set on_hand
    COUNTED = "counted"  # a count found more, or less
    RECEIVED = "received"  # came in from a supplier
    SENT = "sent"  # left for another location
    ARRIVED = "arrived"  # came in from another location
    LOST = "lost"  # was sent, and never arrived
    SET_ASIDE = "set_aside"  # damaged, or in quarantine: here, but not for sale
    RESTORED = "restored"  # for sale again
    WRITTEN_OFF = "written_off"  # thrown away
    ALLOCATED = "allocated"  # reserved for an order
    RELEASED = "released"  # an order gave its reservation back
    SHIPPED = "shipped"  # left the shelf with an order
    UNSHIPPED = "unshipped"  # a fulfilment was undone at the channel


class Condition(StrEnum):
    """Why units that are here are not for sale."""

    QUARANTINED = "quarantined"  # to be looked at before anybody gets it
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Movement:
    """One ledger entry: what changed on one SKU at one location, and why. ``reference`` is unique per cause.

    ``change`` holds the differences, ``after`` the balance that the entry leaves; ``after.entries`` is its number.
    """

    place: Place
    cause: Cause
    reference: str
    change: StockLevel
    after: StockLevel
    order_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Shortage:
    """An order line could not be given what it asked for, or lost what it had: it waits for ``units`` more.

    ``missing`` are the SKUs of which there was not enough, ``taken`` says that they had been reserved for it.
    """

    line_id: UUID
    order_id: UUID
    units: int
    missing: frozenset[UUID]
    taken: bool
    reference: str


@dataclass(slots=True, eq=False)
class Claim:
    """What one order line holds and waits for.

    ``parts`` are the units of each SKU in one unit of the line: one SKU once, or those of a kit. ``allocated`` counts
    SKU units by place and is always a whole number of line units; ``waiting`` counts line units in the backorder queue.

    The queue's order is ``rank``, then ``since``. With ``together``, all that waits of the order is held at once or not
    at all. ``missing`` is what there was not enough of when the claim was last tried; ``woken`` says that it should be
    tried again by somebody who has locked all of its SKUs.
    """

    line_id: UUID
    order_id: UUID
    parts: Mapping[UUID, int]
    since: datetime
    rank: int = 0
    together: bool = False
    prefers: Sequence[UUID] = ()  # locations to take from first
    allocated: dict[Place, int] = field(default_factory=dict)
    waiting: int = 0
    missing: frozenset[UUID] = frozenset()
    woken: bool = False

    @property
    def held(self) -> int:
        """Line units that are allocated."""
        if not self.allocated:
            return 0
        sku_id, per_unit = next(iter(self.parts.items()))
        return sum(units for place, units in self.allocated.items() if place[0] == sku_id) // per_unit

    @property
    def group_id(self) -> UUID:
        """Claims of one group are held at once or not at all."""
        return self.order_id if self.together else self.line_id

    @property
    def alone(self) -> bool:
        """Whether it takes whatever there is of its one SKU."""
        return not self.together and len(self.parts) == 1 and next(iter(self.parts.values())) == 1

    @property
    def turn(self) -> tuple[int, datetime, UUID]:
        """Its place in the queue."""
        return self.rank, self.since, self.line_id


class StockBook:
    """The balances, claims and backorder queues of some SKUs, as locked in one transaction.

    Every change goes through it and leaves a Movement; nothing is written before the whole book is. Whoever changes
    demand or supply calls ``serve`` next: it gives what is free to those who wait, in the queue's order. Quantities
    are units.

    ``claims`` are those that are known to matter. Whoever else waits for one of ``awaited`` is called up from ``queue``
    when units of it come free. A kit, or an order that is held together, may need SKUs that are not in this book: it is
    woken, and what it needs is kept from those behind it until it has been tried (``unsettled`` SKUs have such claims
    from the beginning).
    """

    def __init__(
        self,
        levels: Mapping[Place, StockLevel],
        claims: Iterable[Claim] = (),
        *,
        location_order: Iterable[UUID] = (),
        awaited: Iterable[UUID] = (),
        unsettled: Iterable[UUID] = (),
        queue: Queue = lambda _sku, _most: (),
    ) -> None:
        self.before = dict(levels)
        self._now: dict[Place, list[int]] = {
            place: [level.on_hand, level.allocated, level.quarantined, level.damaged, level.incoming]
            for place, level in levels.items()
        }
        self._rank = {location: rank for rank, location in enumerate(location_order)}
        self._places: dict[UUID, list[Place]] = {}
        for place in sorted(levels, key=self._preference):
            self._places.setdefault(place[0], []).append(place)
        self.claims: dict[UUID, Claim] = {}
        self._waiting: dict[UUID, dict[UUID, Claim]] = {}  # by SKU, then line
        self.changed_claims: set[UUID] = set()  # of lines that hold or wait for something else than before
        self.woken: set[UUID] = set()  # groups to be tried by somebody who has locked all of their SKUs
        self._shortages: list[Shortage] = []
        self.in_hand: set[UUID] = set()  # lines that somebody is packing by now: they lose their reservation last
        self._orders_together: dict[UUID, list[Claim]] = {}
        self.loaded: set[UUID] = set()  # lines that had a claim before
        for claim in claims:
            self._adopt(claim)
            self.loaded.add(claim.line_id)
        self._others = queue
        self._awaited = set(awaited)
        self._unsettled = set(unsettled)
        self._asked: dict[UUID, int] = {}  # how many of the queue have been asked for
        self._raised: set[UUID] = set()  # SKUs of which units came free since the queue was served
        self._eased: set[UUID] = set()  # orders held together that wait for less than before
        self._unkept: set[UUID] = set()  # SKUs that are no longer kept for a woken group
        self._newly: dict[UUID, tuple[Claim, int, bool, str]] = {}  # lines that wait for more since then
        self._movements: dict[tuple[Place, Cause, str], list[int]] = {}
        self._orders: dict[tuple[Place, Cause, str], UUID | None] = {}

    # ------------------------------------------------------------ looking

    def counts(self, parts: Iterable[UUID]) -> bool:
        """Whether the hub keeps stock of all these SKUs: each has an opening balance somewhere."""
        return all(sku_id in self._places for sku_id in parts)

    def level(self, place: Place) -> StockLevel:
        """The balance as it is now, before the ledger entries of this book are numbered."""
        return StockLevel(*self._now[place])

    def places(self, sku_id: UUID) -> Sequence[Place]:
        """Where the SKU is kept, the preferred location first."""
        return self._places.get(sku_id, ())

    def available(self, sku_id: UUID) -> int:
        """Units of the SKU that nobody holds, over all locations."""
        return sum(self._free(place) for place in self._places.get(sku_id, ()))

    @property
    def opened(self) -> list[Place]:
        """Places where the SKU was not kept before."""
        return sorted(self._now.keys() - self.before.keys())

    @property
    def movements(self) -> list[Movement]:
        """Every change since the book was opened, one entry per place, cause and reference, numbered."""
        running = {place: [*_figures(level), level.entries] for place, level in self.before.items()}
        found = []
        for (place, cause, reference), change in self._movements.items():
            if not any(change):
                continue
            balance = running.setdefault(place, [0] * 6)
            for index, units in enumerate(change):
                balance[index] += units
            balance[5] += 1
            order_id = self._orders[place, cause, reference]
            found.append(Movement(place, cause, reference, StockLevel(*change), StockLevel(*balance), order_id))
        return found

    @property
    def shortages(self) -> list[Shortage]:
        """What lines came away without, as far as they still do: what another order of the same book gave back to them
        was never missing."""
        left = {each.line_id: self.claims[each.line_id].waiting for each in self._shortages}
        found = []
        for each in reversed(self._shortages):
            units = min(each.units, left[each.line_id])
            left[each.line_id] -= units
            if units:
                found.append(replace(each, units=units))
        return found[::-1]

    # ------------------------------------------------------------ orders

    def claim(self, claim: Claim) -> Claim:
        """The claim of a line as the book knows it, with the rank of ``claim``: an order may have changed its place in
        the queue. ``claim`` itself, which is empty, when the line has none yet."""
        if claim.line_id not in self.claims:
            self._adopt(claim)
        known = self.claims[claim.line_id]
        if known.rank != claim.rank:
            known.rank = claim.rank
            if known.waiting:
                self.changed_claims.add(known.line_id)
        return known

    def demand(self, claim: Claim, wanted: int, reference: str) -> None:
        """Let the line hold or wait for ``wanted`` units: what is too much is given back, the rest joins the queue."""
        excess = claim.held + claim.waiting - wanted
        if excess > 0:
            # What only waits is dropped first: it costs nobody anything.
            dropped = min(excess, claim.waiting)
            self._wait(claim, claim.waiting - dropped)
            self._give_back(claim, excess - dropped, reference)
        elif excess < 0:
            self._wait(claim, claim.waiting - excess)
            self._want(claim, -excess, reference, taken=False)

    def serve(self, reference: str) -> None:
        """Give what is free to those who wait, in the queue's order, as far as this book reaches."""
        raised, self._raised = self._raised, set()
        due = raised | {sku_id for claim, *_ in self._newly.values() if claim.alone for sku_id in claim.parts}
        due = {sku_id for sku_id in due if self.available(sku_id) > 0}
        # A kit, or an order held together, is tried in any case: so that it is known what it misses.
        due |= {sku_id for claim, *_ in self._newly.values() if not claim.alone for sku_id in claim.parts}
        due |= {sku_id for order_id in self._eased for each in self._orders_together[order_id] for sku_id in each.parts}
        self._serve(due & self._places.keys(), raised, reference)
        self._eased.clear()
        self._note_shortages()

    def settle(self, group_ids: Iterable[UUID], reference: str) -> None:
        """Try the woken groups, whose SKUs are all in this book, and those who were kept waiting behind them."""
        groups = set(group_ids)
        due = {sku_id for claim in self.claims.values() if claim.group_id in groups for sku_id in claim.parts}
        self._serve(due & self._places.keys(), set(), reference)

    def rearrange(self, wanted: Iterable[tuple[Claim, Mapping[UUID, int]]], reference: str) -> None:
        """Hold what some lines have reserved at other locations: line units by location, as many as each line holds.

        Raises ValueError when there is not enough where it is wanted: nothing has moved then.
        """
        changes: list[tuple[Claim, Place, int]] = []
        for claim, held in wanted:
            if sum(held.values()) != claim.held:
                raise ValueError("Lines cannot hold more or less than before by holding it elsewhere.")
            for sku_id, per_unit in claim.parts.items():
                for place in {(sku_id, at) for at in held} | {each for each in claim.allocated if each[0] == sku_id}:
                    units = held.get(place[1], 0) * per_unit - claim.allocated.get(place, 0)
                    if units:
                        changes.append((claim, place, units))
        more: dict[Place, int] = {}
        for _, place, units in changes:
            more[place] = more.get(place, 0) + units
        if any(place not in self._now or units > self._free(place) for place, units in more.items()):
            raise ValueError("There is not enough at the other location.")
        for claim, place, units in sorted(changes, key=lambda each: (each[2], each[1], each[0].line_id)):
            cause = Cause.ALLOCATED if units > 0 else Cause.RELEASED
            self._hold(claim, place, units)
            self._move(place, cause, _for_line(claim, reference), claim.order_id, allocated=units)

    def ship(self, claim: Claim, units: int, reference: str, first: UUID | None = None) -> dict[UUID, int]:
        """Take line units that left with the order out of stock, its own reservation before all, and of that what lies
        at the location ``first``.

        A line that was still waiting ships from what is free. What the book does not have cannot leave it: returns the
        missing units by SKU, and the caller tells a person that the count is wrong.
        """
        missing = {}
        waited = claim.waiting
        reserved = min(units, claim.held)
        for sku_id, per_unit in claim.parts.items():
            own = reserved * per_unit
            for place in sorted(self._own_places(claim, sku_id), key=lambda place: place[1] != first):
                taken = min(own, claim.allocated[place])
                if taken:
                    self._hold(claim, place, -taken)
                    self._move(place, Cause.SHIPPED, reference, claim.order_id, on_hand=-taken, allocated=-taken)
                    own -= taken
            left = (units - reserved) * per_unit
            for place in sorted(self._preferred(claim, sku_id), key=lambda place: place[1] != first):
                taken = min(left, self._free(place))
                if taken > 0:
                    self._move(place, Cause.SHIPPED, reference, claim.order_id, on_hand=-taken)
                    left -= taken
            if left:
                missing[sku_id] = left
        self._wait(claim, max(0, waited - (units - reserved)))
        return missing

    def ship_from(
        self, claim: Claim, units: int, location: UUID, gone: Mapping[UUID, int], reference: str
    ) -> dict[UUID, int]:
        """Line units have left from this location and no other: whoever sent them says so.

        Of each SKU, ``gone`` units leave its shelf there; the others were counted out before. The line's reservation
        for what has left is given up wherever it is. Returns the units by SKU that the book does not have there.
        """
        missing = {}
        reserved = min(units, claim.held)
        for sku_id, per_unit in claim.parts.items():
            place, own = (sku_id, location), reserved * per_unit
            here = min(own, claim.allocated.get(place, 0))
            if here:
                self._hold(claim, place, -here)
            for other in self._own_places(claim, sku_id):
                back = min(own - here, claim.allocated[other])
                if back:
                    self._hold(claim, other, -back)
                    self._move(other, Cause.RELEASED, reference, claim.order_id, allocated=-back)
                    own -= back
            wanted = gone.get(sku_id, 0)
            out = min(wanted, self._now[place][_ON_HAND]) if place in self._now else 0
            if out > here:
                self._make_room(place, out - here, reference)
                self._use_up(place, out - here, Cause.SHIPPED, reference)
            if out or here:
                self._move(place, Cause.SHIPPED, reference, claim.order_id, on_hand=-out, allocated=-here)
            if wanted > out:
                missing[sku_id] = wanted - out
        self._wait(claim, max(0, claim.waiting - (units - reserved)))
        return missing

    def unship(self, claim: Claim, units: int, reference: str, location: UUID | None = None) -> None:
        """Put line units back on the shelf whose fulfilment was undone; at ``location`` where it is known."""
        for sku_id, per_unit in claim.parts.items():
            place = self._preferred(claim, sku_id)[0]
            if location is not None and (sku_id, location) in self._now:
                place = (sku_id, location)
            self._move(place, Cause.UNSHIPPED, reference, claim.order_id, on_hand=units * per_unit)

    # ------------------------------------------------------------ what happens in the warehouse

    def open(self, place: Place, on_hand: int, reference: str) -> None:
        """Start counting a SKU at a location, with its opening balance."""
        if place in self._now:
            raise ValueError("This SKU already has an opening balance here.")
        self._now[place] = [0, 0, 0, 0, 0]
        self._places.setdefault(place[0], []).append(place)
        self._places[place[0]].sort(key=self._preference)
        self._move(place, Cause.ADOPTED, reference, None, on_hand=on_hand)

    def correct(self, place: Place, units: int, cause: Cause, reference: str) -> None:
        """Add ``units`` to on_hand, or take them away: what is for sale first, then what is reserved, the last in the
        queue's order first, whose lines go back to the queue; then what is set aside."""
        if units < 0:
            if self._now[place][_ON_HAND] + units < 0:
                raise ValueError("On hand cannot be negative.")
            self._make_room(place, -units, reference)
            self._use_up(place, -units, cause, reference)
        self._move(place, cause, reference, None, on_hand=units)

    def recount(self, place: Place, on_hand: int, quarantined: int, cause: Cause, reference: str) -> None:
        """Have exactly so many here and in quarantine, as one entry; what is damaged is no more than the rest.

        Reservations for which there is no room then go back to the queue.
        """
        here, _, aside, damaged, _ = self._now[place]
        left = min(damaged, on_hand - quarantined)
        change = {"on_hand": on_hand - here, "quarantined": quarantined - aside, "damaged": left - damaged}
        self._make_room(place, change["quarantined"] + change["damaged"] - change["on_hand"], reference)
        if any(change.values()):
            self._move(place, cause, reference, None, **change)

    def set_aside(self, place: Place, units: int, condition: Condition, reference: str) -> None:
        """Take units off sale that stay on the shelf: what nobody holds first, then what is reserved."""
        self._make_room(place, units, reference)
        if self._free(place) < units:
            raise ValueError("There are not that many units that are not set aside yet.")
        self._move(place, Cause.SET_ASIDE, reference, None, **{condition.value: units})

    def restore(self, place: Place, units: int, condition: Condition, reference: str) -> None:
        """Put units on sale again that were set aside."""
        self._move(place, Cause.RESTORED, reference, None, **{condition.value: -units})

    def write_off(self, place: Place, units: int, condition: Condition, reference: str) -> None:
        """Throw units away that were set aside."""
        self._move(place, Cause.WRITTEN_OFF, reference, None, on_hand=-units, **{condition.value: -units})

    def send(self, place: Place, to: Place, units: int, reference: str) -> None:
        """Send units that nobody holds to another location, where they are incoming until they arrive."""
        if not 0 < units <= self._free(place):
            raise ValueError("Only units that nobody holds can be sent.")
        if to not in self._now:
            self.open(to, 0, reference)
        self._move(place, Cause.SENT, reference, None, on_hand=-units)
        self._move(to, Cause.SENT, reference, None, incoming=units)

    def arrive(self, place: Place, units: int, reference: str) -> None:
        """Incoming units are here."""
        self._move(place, Cause.ARRIVED, reference, None, on_hand=units, incoming=-units)

    def lose(self, place: Place, units: int, reference: str) -> None:
        """Incoming units will not come."""
        self._move(place, Cause.LOST, reference, None, incoming=-units)

    # ------------------------------------------------------------ inside: places and balances

    def _preference(self, place: Place) -> tuple[int, UUID]:
        return self._rank.get(place[1], len(self._rank)), place[1]

    def _preferred(self, claim: Claim, sku_id: UUID) -> Sequence[Place]:
        """The places of a SKU, those first that the claim's channel sells from."""
        places = self._places[sku_id]
        if not claim.prefers or len(places) == 1:
            return places
        return sorted(places, key=lambda place: place[1] not in claim.prefers)

    def _own_places(self, claim: Claim, sku_id: UUID) -> list[Place]:
        return [place for place in self._preferred(claim, sku_id) if place in claim.allocated]

    def _free(self, place: Place) -> int:
        on_hand, allocated, quarantined, damaged, _ = self._now[place]
        return on_hand - allocated - quarantined - damaged

    def _move(self, place: Place, cause: Cause, reference: str, order_id: UUID | None, **change: int) -> None:
        free = self._free(place)
        balance = self._now[place]
        entry = self._movements.setdefault((place, cause, reference), [0, 0, 0, 0, 0])
        for name, units in change.items():
            index = _INDEX[name]
            balance[index] += units
            entry[index] += units
        if min(balance) < 0 or self._free(place) < 0:
            raise AssertionError(f"{cause} would leave {self.level(place)} at {place}")
        if self._free(place) > free:
            self._raised.add(place[0])
        self._orders[place, cause, reference] = order_id

    def _use_up(self, place: Place, units: int, cause: Cause, reference: str) -> None:
        """Where fewer than ``units`` are free: take what is set aside for them."""
        for condition in Condition:
            short = units - self._free(place)
            if short > 0:
                gone = min(short, self._now[place][_INDEX[condition]])
                self._move(place, cause, reference, None, **{condition.value: -gone})

    def _make_room(self, place: Place, units: int, reference: str) -> None:
        """Take reservations away until ``units`` are free here, from the last in the queue's order first."""
        sku_id = place[0]
        holders = [claim for claim in self.claims.values() if place in claim.allocated]
        for claim in sorted(holders, key=lambda each: (each.line_id not in self.in_hand, each.turn), reverse=True):
            short = units - self._free(place)
            if short <= 0:
                return
            per_unit = claim.parts[sku_id]
            back = -(-min(short, claim.allocated[place]) // per_unit)
            self._give_back(claim, back, _for_line(claim, reference), first=place)
            self._wait(claim, claim.waiting + back)
            self._want(claim, back, reference, taken=True)

    # ------------------------------------------------------------ inside: claims

    def _adopt(self, claim: Claim) -> None:
        self.claims[claim.line_id] = claim
        if claim.together:
            self._orders_together.setdefault(claim.order_id, []).append(claim)
        if claim.waiting:
            for sku_id in claim.parts:
                self._waiting.setdefault(sku_id, {})[claim.line_id] = claim

    def _hold(self, claim: Claim, place: Place, units: int) -> None:
        held = claim.allocated.get(place, 0) + units
        if held:
            claim.allocated[place] = held
        else:
            del claim.allocated[place]
        self.changed_claims.add(claim.line_id)

    def _wait(self, claim: Claim, units: int) -> None:
        if units == claim.waiting:
            return
        if claim.together and units < claim.waiting:
            self._eased.add(claim.order_id)
        claim.waiting = units
        self.changed_claims.add(claim.line_id)
        for sku_id in claim.parts:
            queue = self._waiting.setdefault(sku_id, {})
            if units:
                queue[claim.line_id] = claim
            else:
                queue.pop(claim.line_id, None)
        if not units:
            if claim.woken:
                self._unkept.update(claim.parts)
            claim.missing, claim.woken = frozenset(), False

    def _want(self, claim: Claim, units: int, reference: str, *, taken: bool) -> None:
        _, before, was_taken, _ = self._newly.get(claim.line_id, (claim, 0, False, reference))
        self._newly[claim.line_id] = (claim, before + units, taken or was_taken, reference)

    def _give_back(self, claim: Claim, units: int, reference: str, first: Place | None = None) -> None:
        """Release line units: what is at ``first`` before all, then what lies at the least preferred location."""
        if not units:
            return
        for sku_id, per_unit in claim.parts.items():
            left = units * per_unit
            own = self._own_places(claim, sku_id)
            for place in [first, *reversed(own)] if first in own else reversed(own):
                back = min(left, claim.allocated.get(place, 0))
                if back:
                    self._hold(claim, place, -back)
                    self._move(place, Cause.RELEASED, reference, claim.order_id, allocated=-back)
                    left -= back

    def _take(self, claim: Claim, units: int, reference: str) -> None:
        """Reserve line units that are known to be free."""
        for sku_id, per_unit in claim.parts.items():
            left = units * per_unit
            for place in self._preferred(claim, sku_id):
                taken = min(left, self._free(place))
                if taken > 0:
                    self._hold(claim, place, taken)
                    self._move(place, Cause.ALLOCATED, _for_line(claim, reference), claim.order_id, allocated=taken)
                    left -= taken
        self._wait(claim, claim.waiting - units)

    # ------------------------------------------------------------ inside: the queue

    def _serve(self, due: set[UUID], raised: set[UUID], reference: str) -> None:
        due = self._with_unkept(due)
        while due:
            more = {sku_id for sku_id in due if self._call_up(sku_id, raised)}
            kept = self._pass(due, raised, reference)
            due = self._with_unkept({sku_id for sku_id in more if self.available(sku_id) > kept.get(sku_id, 0)})

    def _with_unkept(self, due: set[UUID]) -> set[UUID]:
        """``due``, and the SKUs that were kept from those behind a woken group which has had its turn, or has gone."""
        unkept, self._unkept = self._unkept, set()
        return due | (unkept & self._places.keys())

    def _call_up(self, sku_id: UUID, raised: set[UUID]) -> bool:
        """Bring the next of those who wait for the SKU into the book; whether there may be more of them."""
        if sku_id not in self._awaited or not (sku_id in raised or sku_id in self._unsettled):
            return False
        if not self.available(sku_id):
            return False
        most = 2 * self._asked.get(sku_id, 0) + self.available(sku_id) + _SOME
        called = self._others(sku_id, most)
        self._asked[sku_id] = most
        for claim in called:
            if claim.line_id not in self.claims:
                self._adopt(claim)
                self.loaded.add(claim.line_id)
        if len(called) >= most:
            return True
        self._awaited.discard(sku_id)
        return False

    def _pass(self, due: set[UUID], raised: set[UUID], reference: str) -> Mapping[UUID, int]:
        """Go through the groups that wait for these SKUs, once, in the queue's order.

        Returns what is kept, by SKU, for those of them that could not be tried here.
        """
        groups: dict[UUID, list[Claim]] = {}
        for claim in [each for sku_id in due for each in self._waiting.get(sku_id, {}).values()]:
            if claim.group_id not in groups:
                members = self._orders_together[claim.order_id] if claim.together else [claim]
                groups[claim.group_id] = [each for each in members if each.waiting]
        kept: dict[UUID, int] = {}
        for claims in sorted(groups.values(), key=lambda each: min(claim.turn for claim in each)):
            first = claims[0]
            if not first.alone and not any(
                claim.woken
                or claim.line_id in self._newly
                or claim.group_id in self._eased
                or not raised.isdisjoint(claim.missing)
                for claim in claims
            ):
                continue  # what it misses has not come
            needs: dict[UUID, int] = {}
            for claim in claims:
                for sku_id, per_unit in claim.parts.items():
                    needs[sku_id] = needs.get(sku_id, 0) + claim.waiting * per_unit
            if not self.counts(needs):
                self._wake(claims)
            else:
                unkept = {sku_id: max(0, self.available(sku_id) - kept.get(sku_id, 0)) for sku_id in needs}
                self._give(claims, needs, unkept, reference)
                if not first.waiting:
                    continue
                if first.alone:
                    self._mark_tried(first, ())
                    continue
                if missing := self._lacking(claims, needs):
                    for claim in claims:
                        self._mark_tried(claim, missing & claim.parts.keys())
                    continue
                self._wake(claims)  # it may have its turn when those before it have been tried
            for sku_id, units in needs.items():
                kept[sku_id] = kept.get(sku_id, 0) + units
        return kept

    def _give(self, claims: list[Claim], needs: Mapping[UUID, int], free: Mapping[UUID, int], reference: str) -> None:
        """Reserve for a group what it waits for, as far as it can be."""
        if claims[0].together:
            if all(free[sku_id] >= units for sku_id, units in needs.items()):
                for claim in claims:
                    self._take(claim, claim.waiting, reference)
            return
        (claim,) = claims
        units = min(claim.waiting, *(free[sku_id] // per_unit for sku_id, per_unit in claim.parts.items()))
        if units:
            self._take(claim, units, reference)

    def _lacking(self, claims: list[Claim], needs: Mapping[UUID, int]) -> set[UUID]:
        """The SKUs of which there is not enough, kept or not, to give the group anything more."""
        least = needs if claims[0].together else claims[0].parts
        return {sku_id for sku_id, units in least.items() if self.available(sku_id) < units}

    def _wake(self, claims: list[Claim]) -> None:
        self.woken.add(claims[0].group_id)
        for claim in claims:
            claim.woken = True
            self._unsettled.update(claim.parts)

    def _mark_tried(self, claim: Claim, missing: Iterable[UUID]) -> None:
        tried = frozenset(missing)
        if claim.woken:
            self._unkept.update(claim.parts)
        if claim.woken or claim.missing != tried:
            claim.missing, claim.woken = tried, False
            self.changed_claims.add(claim.line_id)

    def _note_shortages(self) -> None:
        for claim, units, taken, reference in self._newly.values():
            if claim.waiting:
                missing = claim.missing or {sku_id for sku_id in claim.parts if not self.available(sku_id)}
                self._shortages.append(
                    Shortage(
                        claim.line_id,
                        claim.order_id,
                        min(units, claim.waiting),
                        frozenset(missing or claim.parts),
                        taken,
                        reference,
                    )
                )
        self._newly.clear()


def _figures(level: StockLevel) -> list[int]:
    return [level.on_hand, level.allocated, level.quarantined, level.damaged, level.incoming]


def _for_line(claim: Claim, reference: str) -> str:
    # An order's own change is referred to by the order alone, so that two lines of one SKU are one summed entry; a
    # line of another order that profits from it needs a reference of its own.
    return reference if reference.startswith(str(claim.order_id)) else f"{claim.line_id} by {reference}"


_ON_HAND = 0
_INDEX = {"on_hand": 0, "allocated": 1, "quarantined": 2, "damaged": 3, "incoming": 4}
_SOME = 16  # claims of the queue called up beyond the units that are free: some of them may have to be passed over
