"""Routing: which location ships which part of an order, by a merchant's ordered rules, and why it is that one.

A decision is a pure function of a request and a policy, both of which have a plain form (``core.plain``): kept with the
decision, they make it again, and under another policy they show what would have become of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from itertools import combinations
from typing import Any

from hub.core.geo import Point, measured_from

# ---------------------------------------------------------------- what is asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Units of an order line that some location has to ship. ``parts`` are the units of each SKU in one unit of it."""

    id: str
    sku: str
    units: int
    parts: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A location as it is when the decision is made.

    ``stock`` is what this order may take there, by SKU: what is available, and what it has reserved itself. ``load``
    are the fulfillment orders it has to do, ``capacity`` how many it does a day. ``days`` pass until what is given to
    it now leaves (cut-off, capacity). ``cost`` is what a parcel from here to there will cost about, None: nobody
    knows. ``roughly``: ``point`` is only the middle of its country. ``reserved`` are the units of ``stock`` that the
    order has reserved there: where nothing else decides, they stay.
    """

    id: str
    name: str
    kind: str = "warehouse"
    country: str = ""
    point: Point | None = None
    roughly: bool = False
    services: tuple[str, ...] = ()
    priority: int = 0
    load: int = 0
    capacity: int | None = None
    days: int = 0
    cost: Decimal | None = None
    ships: bool = True
    collects: bool = False
    reserved: int = 0
    stock: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An order whose ``lines`` are to be dealt out to ``places``.

    ``service`` is the wanted way to ship it, as a word that ``Place.services`` use; "": any. ``collect_at`` is the
    place where the customer fetches it. ``refused`` are places that have said no, with what they said.
    """

    number: str
    lines: tuple[Line, ...]
    places: tuple[Place, ...]
    country: str = ""
    region: str = ""
    postcode: str = ""
    point: Point | None = None
    roughly: bool = False
    channel: str = ""
    tags: tuple[str, ...] = ()
    value: Decimal = Decimal(0)
    service: str = ""
    collect_at: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)


# ---------------------------------------------------------------- the rules


class Do(StrEnum):
    """What a rule does. The first three shut places out; the others say which of several ways is better."""

    ONLY = "only"  # only these places, or these kinds of places, may ship it
    NEVER = "never"  # these may not
    KEEP = "keep"  # these keep so many units of each SKU back
    FEWEST_PARCELS = "fewest_parcels"
    NEAREST = "nearest"
    CHEAPEST = "cheapest"
    SOONEST = "soonest"
    LEAST_LOADED = "least_loaded"
    SAME_COUNTRY = "same_country"
    PRIORITY = "priority"

    @property
    def prefers(self) -> bool:
        """Whether it compares ways instead of shutting places out."""
        return self not in (Do.ONLY, Do.NEVER, Do.KEEP)


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """For which orders a rule holds: everything that is named here must fit, what is empty always does.

    With ``skus`` a rule that shuts places out speaks of the lines that sell these alone.
    """

    countries: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    postcodes: tuple[str, ...] = ()  # beginnings of postcodes
    channels: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    skus: tuple[str, ...] = ()
    value_from: Decimal | None = None
    value_below: Decimal | None = None

    def fits(self, request: Request) -> bool:
        """Whether the rule holds for the order."""
        return (
            _named(request.country, self.countries)
            and _named(request.region, self.regions)
            and (not self.postcodes or request.postcode.upper().startswith(tuple(p.upper() for p in self.postcodes)))
            and _named(request.channel, self.channels)
            and _named(request.service, self.services)
            and (not self.tags or any(_named(tag, self.tags) for tag in request.tags))
            and (not self.skus or any(_named(line.sku, self.skus) for line in request.lines))
            and (self.value_from is None or request.value >= self.value_from)
            and (self.value_below is None or request.value < self.value_below)
        )


def _named(word: str, words: Sequence[str]) -> bool:
    return not words or word.casefold() in (each.casefold() for each in words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. ``places`` and ``kinds`` say of which places it speaks (a place fits one or the other), ``units`` how
    many KEEP keeps back."""

    do: Do
    when: When = When()
    places: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    units: int = 0

    def __post_init__(self) -> None:
        if self.do.prefers and (self.places or self.kinds or self.units):
            raise ValueError(f"“{self.do}” compares all places: it names none.")
        if not self.do.prefers and not (self.places or self.kinds):
            raise ValueError(f"“{self.do}” has to name places, or kinds of places.")
        if self.units < 0 or (self.units > 0) != (self.do is Do.KEEP):
            raise ValueError("A number of units belongs to “keep”, and only there.")

    def speaks_of(self, place: Place) -> bool:
        """Whether the place is one of those it names."""
        return place.id in self.places or place.kind in self.kinds


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingPolicy:
    """How a merchant's orders are dealt out: the rules in their order, an earlier one always before a later one.

    ``most_parcels`` is into how many parts an order may be split, 1: never. ``in_parts`` lets what is there go while
    the rest of the order still waits for stock.
    """

    rules: tuple[Rule, ...] = (Rule(do=Do.FEWEST_PARCELS), Rule(do=Do.NEAREST), Rule(do=Do.PRIORITY))
    most_parcels: int = 2
    in_parts: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.most_parcels <= 4:
            raise ValueError("An order may be split into 1 to 4 parcels.")


# ---------------------------------------------------------------- the decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one place ships: units by line."""

    place: str
    units: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What was found at one place: how many lines it could ship whole, how far away it is (km), and why it may not."""

    place: str
    name: str
    whole_lines: int
    kilometers: int | None = None
    roughly: bool = False
    cost: Decimal | None = None
    shut_out: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Who ships what, and why. ``shares`` is empty where nobody can: ``summary`` then says what stands in the way."""

    shares: tuple[Share, ...]
    summary: str
    looked: tuple[Looked, ...]
    kilometers: int | None = None  # over all parcels
    cost: Decimal | None = None


_FAR = 40_000  # more than half around the earth: a distance nobody knows comes after every known one


def decide(request: Request, policy: RoutingPolicy) -> Decision:
    """Choose who ships the order. The same request and policy give the same decision, whatever the order of places."""
    rules = _Rules(request, policy)
    found = _look(request, rules)
    looked = tuple(each.looked for each in found)
    able = [each for each in found if each.most]
    whole = [_Way([each], [each.most]) for each in able if each.whole]
    ways = list(whole)
    if policy.most_parcels > 1 and not (whole and rules.fewest_first):
        ways += _splits(able, request, rules, policy.most_parcels)
    if not ways:
        return Decision(shares=(), summary=_why_nobody(found, request, policy), looked=looked)
    best, decisive = _best(ways, rules.prefer)
    barred = any(each.whole and each.looked.shut_out for each in found)
    return Decision(
        shares=best.shares,
        summary=_in_words(best, decisive, len(whole), request, barred),
        looked=looked,
        kilometers=best.kilometers,
        cost=best.cost,
    )


def given(request: Request, shares: Mapping[str, Mapping[str, int]], reason: str) -> Decision:
    """The decision that somebody else has made: a person, or a plugin. ``reason`` says who and why.

    Raises ValueError where it does not ship everything exactly once, or more than there is at a place, or from a place
    that is not there.
    """
    found = _look(request, _Rules(request, RoutingPolicy(rules=())))
    places = {each.place.id: each for each in found}
    lines = {line.id: line for line in request.lines}
    dealt = dict.fromkeys(lines, 0)
    chosen, units_of = [], []
    for place_id, units in sorted(shares.items(), key=lambda each: str(each[0])):
        if place_id not in places:
            raise ValueError(f"There is no location {place_id}.")
        if not units or any(type(number) is not int or number < 1 for number in units.values()):
            raise ValueError(f"{places[place_id].place.name} is given something that is no number of units.")
        if unknown := [line_id for line_id in units if line_id not in lines]:
            raise ValueError(f"There is no line {unknown[0]}.")
        left = dict(places[place_id].stock)
        for line_id, number in units.items():
            dealt[line_id] += number
            if not _take(left, lines[line_id].parts, number):
                raise ValueError(f"{places[place_id].place.name} does not have that much of {lines[line_id].sku}.")
        chosen.append(places[place_id])
        units_of.append(dict(units))
    for line in request.lines:
        if dealt[line.id] != line.units:
            raise ValueError(f"{dealt[line.id]} of {line.units} units of {line.sku} are dealt out.")
    way = _Way(chosen, units_of)
    return Decision(
        shares=way.shares,
        summary=f"{_parts_in_words(way, request)}: {reason}",
        looked=tuple(each.looked for each in found),
        kilometers=way.kilometers,
        cost=way.cost,
    )


class _Rules:
    """The rules that hold for one order, by what they do."""

    def __init__(self, request: Request, policy: RoutingPolicy) -> None:
        holding = [rule for rule in policy.rules if rule.when.fits(request)]
        self.prefer = list(dict.fromkeys(rule.do for rule in holding if rule.do.prefers))
        # No way with more parcels can be better than one with fewer.
        self.fewest_first = self.prefer[:1] == [Do.FEWEST_PARCELS]
        self.keeps = [rule for rule in holding if rule.do is Do.KEEP]
        shutting = [rule for rule in holding if rule.do in (Do.ONLY, Do.NEVER)]
        self.of_orders = [rule for rule in shutting if not rule.when.skus]
        self.of_lines = [rule for rule in shutting if rule.when.skus]

    def kept(self, place: Place, lines: Iterable[Line]) -> dict[str, int]:
        """The units of each SKU that the place keeps back from these lines."""
        found: dict[str, int] = {}
        for rule in self.keeps:
            if rule.speaks_of(place):
                for line in lines:
                    if not rule.when.skus or _named(line.sku, rule.when.skus):
                        for sku in line.parts:
                            found[sku] = max(found.get(sku, 0), rule.units)
        return found


def _shuts_out(rule: Rule, place: Place) -> bool:
    return rule.speaks_of(place) is (rule.do is Do.NEVER)


class _Found:
    """A place as one order finds it: how far away, and the units of each line it could ship if it were the only one."""

    __slots__ = ("abroad", "kilometers", "looked", "most", "place", "stock", "whole")

    def __init__(self, place: Place, kilometers: int | None, abroad: bool, stock: Mapping[str, int]) -> None:
        self.place = place
        self.kilometers = kilometers
        self.abroad = abroad
        self.stock = stock
        self.most: dict[str, int] = {}
        self.whole = False  # has everything, whether it may ship it or not
        self.looked: Looked

    def score(self, do: Do) -> float | Decimal:
        """How it does by one preference: the less the better."""
        if do is Do.NEAREST:
            return _FAR if self.kilometers is None else self.kilometers
        if do is Do.CHEAPEST:  # a cost that nobody knows comes after every known one
            return Decimal("Infinity") if self.place.cost is None else self.place.cost
        if do is Do.SAME_COUNTRY:
            return self.abroad
        if do is Do.SOONEST:
            return self.place.days
        if do is Do.LEAST_LOADED:  # how much of its day's work it has already; without a limit it is never full
            return self.place.load / (self.place.capacity or 1_000_000)
        if do is Do.PRIORITY:
            return self.place.priority
        return 1  # a parcel


# What several places cost together is the sum, or what the worst of them does.
_ADDED = frozenset({Do.FEWEST_PARCELS, Do.NEAREST, Do.CHEAPEST, Do.SAME_COUNTRY})


def _look(request: Request, rules: _Rules) -> list[_Found]:
    """Every place, in the order of names, as the order finds it."""
    distance = measured_from(request.point) if request.point else None
    country = request.country.upper()
    lines = request.lines
    number = len(lines)
    skus = [sku for line in lines for sku in line.parts]
    shared = len(set(skus)) != len(skus)  # two lines want the same: what each finds alone, both may not
    found = []
    for place in sorted(request.places, key=_by_name):
        far = distance(place.point) if distance and place.point else None
        kept = rules.kept(place, lines) if rules.keeps else {}
        stock = {sku: units - kept.get(sku, 0) for sku, units in place.stock.items()} if kept else place.stock
        each = _Found(place, far, bool(country) and place.country.upper() != country, stock)
        found.append(each)
        why = _shut_out(place, request, rules)
        most, whole_lines = {}, 0
        for line in lines:
            if units := _fitting(stock, line):
                most[line.id] = units
                whole_lines += units == line.units
        each.whole = whole_lines == number and (not shared or _has_all(stock, lines))
        if not why:
            each.most = most
            if rules.of_lines:
                may = [line for line in lines if _may_ship(place, line, rules)]
                each.most = {line.id: most[line.id] for line in may if line.id in most}
                each.whole = each.whole and len(may) == number
                whole_lines = sum(each.most.get(line.id) == line.units for line in may)
                why = "" if may else "the rules leave it no line"
            if not each.most and not why:
                beside = max(kept.values(), default=0)
                why = f"has none of it beside the {beside} it keeps back" if beside else "has none of it"
        each.looked = Looked(
            place=place.id,
            name=place.name,
            whole_lines=whole_lines,
            kilometers=far,
            roughly=place.roughly or request.roughly,
            cost=place.cost,
            shut_out=why,
        )
    return found


def _by_name(place: Place) -> tuple[str, str]:
    return place.name, place.id


def _fitting(stock: Mapping[str, int], line: Line) -> int:
    """Units of the line that there are parts for."""
    units = line.units
    for sku, per_unit in line.parts.items():
        there = stock.get(sku, 0) // per_unit
        if there < units:
            units = there if there > 0 else 0
    return units


def _take(stock: dict[str, int], parts: Mapping[str, int], units: int) -> bool:
    """Take the parts of so many units out of ``stock``; whether there was enough."""
    for sku, per_unit in parts.items():
        stock[sku] = stock.get(sku, 0) - per_unit * units
    return all(stock[sku] >= 0 for sku in parts)


def _has_all(stock: Mapping[str, int], lines: Iterable[Line]) -> bool:
    left = dict(stock)
    return all(_take(left, line.parts, line.units) for line in lines)


def _shut_out(place: Place, request: Request, rules: _Rules) -> str:
    if place.id in request.refused:
        said = request.refused[place.id]
        return f"has refused it: {said}" if said else "has refused it"
    if request.collect_at:
        if place.id != request.collect_at:
            return "the customer fetches it elsewhere"
        return "" if place.collects else "hands nothing out to customers"
    if not place.ships:
        return "does not ship"
    if place.capacity == 0:
        return "takes no orders at present"
    if request.service and place.services and not _named(request.service, place.services):
        return f"does not offer {request.service}"
    for rule in rules.of_orders:
        if _shuts_out(rule, place):
            return "a rule leaves it to others" if rule.do is Do.ONLY else "a rule shuts it out"
    return ""


def _may_ship(place: Place, line: Line, rules: _Rules) -> bool:
    """Whether the rules about SKUs let the place ship this line."""
    return not any(_named(line.sku, rule.when.skus) and _shuts_out(rule, place) for rule in rules.of_lines)


# ---------------------------------------------------------------- ways to ship it


class _Way:
    """One way to ship the whole order."""

    __slots__ = ("found", "units")

    def __init__(self, found: Sequence[_Found], units: Sequence[Mapping[str, int]]) -> None:
        self.found = found
        self.units = units

    @property
    def kilometers(self) -> int | None:
        distances = [each.kilometers for each in self.found]
        return sum(each for each in distances if each is not None) if None not in distances else None

    @property
    def cost(self) -> Decimal | None:
        costs = [each.place.cost for each in self.found]
        return sum((each for each in costs if each is not None), Decimal(0)) if None not in costs else None

    @property
    def shares(self) -> tuple[Share, ...]:
        return tuple(
            Share(place=each.place.id, units=units) for each, units in zip(self.found, self.units, strict=True)
        )

    def scores(self, prefer: Sequence[Do]) -> tuple[float | Decimal, ...]:
        """How this way does by each preference: the less the better."""
        if len(self.found) == 1:
            return tuple(self.found[0].score(do) for do in prefer)
        return tuple(
            sum(each.score(do) for each in self.found) if do in _ADDED else max(each.score(do) for each in self.found)
            for do in prefer
        )

    def turn(self, prefer: Sequence[Do]) -> tuple[Any, ...]:
        """What ways are sorted by: where no preference decides, fewer parcels are better, then places where the order's
        stock is reserved already, then the names decide."""
        places = [each.place for each in self.found]
        return (
            self.scores(prefer),
            len(places),
            -sum(place.reserved for place in places),
            [_by_name(place) for place in places],
        )


# So many places are tried in ways of 2, 3 and 4 parcels: no more than a few hundred ways altogether.
_TRIED = {2: 20, 3: 12, 4: 10}
_MOST_BEST = 8  # of them because a place is good by itself


def _splits(able: Sequence[_Found], request: Request, rules: _Rules, most: int) -> list[_Way]:
    """The best two ways to ship the order from so and so many places. A way is as good as its places are, so that the
    first that works is the best."""
    tried = _worth_trying(able, request, rules.prefer)
    ways: list[_Way] = []
    for number in range(2, min(most, len(tried)) + 1):
        works: list[_Way] = []
        some = [_Way(each, ()) for each in combinations(tried[: _TRIED[number]], number) if _cover(each, request)]
        for way in sorted(some, key=lambda each: each.turn(rules.prefer)):
            places = sorted(way.found, key=lambda each: _Way([each], ()).turn(rules.prefer))
            turns = (_dealt([*places[turn:], *places[:turn]], request) for turn in range(number))
            if dealt := next((each for each in turns if each), None):
                works.append(dealt)
                if len(works) == 2:
                    break
        ways += works
        if ways and rules.fewest_first:
            break
    return ways


def _cover(places: Sequence[_Found], request: Request) -> bool:
    return all(sum(each.most.get(line.id, 0) for each in places) >= line.units for line in request.lines)


def _worth_trying(able: Sequence[_Found], request: Request, prefer: Sequence[Do]) -> list[_Found]:
    """The places that ways are made of, the most needed first: those with what few have, those that have most of it,
    and those that are best by the preferences."""
    best = sorted(able, key=lambda each: _Way([each], ()).turn(prefer))
    holders = {line.id: [each for each in best if line.id in each.most] for line in request.lines}
    chosen: dict[str, _Found] = {}
    for nth in range(3):
        for line in sorted(request.lines, key=lambda each: len(holders[each.id])):
            for each in holders[line.id][nth : nth + 1]:
                chosen[each.place.id] = each
    much = sorted(best, key=lambda each: -sum(each.most.values()))
    for pair in zip(much[:_MOST_BEST], best[:_MOST_BEST], strict=True):
        for each in pair:
            chosen[each.place.id] = each
    return list(chosen.values())


def _dealt(places: Sequence[_Found], request: Request) -> _Way | None:
    """The order dealt out to these places, the first before the others: lines whole where that is possible. None where
    they do not have all of it, or where one of them is not needed."""
    stock = {each.place.id: dict(each.stock) for each in places}
    units: dict[str, dict[str, int]] = {each.place.id: {} for each in places}
    # What few have first, then what is hardest to find a place for.
    for line in sorted(request.lines, key=lambda each: (sum(each.id in place.most for place in places), -each.units)):
        left = line.units
        may = [each for each in places if line.id in each.most]
        whole = [each for each in may if _fitting(stock[each.place.id], line) == left]
        for each in whole[:1] or may:
            here = min(left, _fitting(stock[each.place.id], line))
            if here:
                units[each.place.id][line.id] = here
                _take(stock[each.place.id], line.parts, here)
                left -= here
        if left:
            return None
    if not all(units.values()):
        return None
    return _Way(places, [units[each.place.id] for each in places])


def _best(ways: Sequence[_Way], prefer: Sequence[Do]) -> tuple[_Way, list[Do]]:
    """The best way, and the preferences by which it wins over the others that have as many parcels."""
    best = min(ways, key=lambda way: way.turn(prefer))
    mine = best.scores(prefer)
    rivals = {way.scores(prefer) for way in ways if way is not best and len(way.found) == len(best.found)}
    decisive = {next((at for at in range(len(prefer)) if mine[at] != theirs[at]), len(prefer)) for theirs in rivals}
    return best, [prefer[at] for at in sorted(decisive) if at < len(prefer)]


# ---------------------------------------------------------------- in words

_WINS_BY: Mapping[Do, str] = {
    Do.FEWEST_PARCELS: "fewest parcels",
    Do.NEAREST: "nearest",
    Do.CHEAPEST: "cheapest",
    Do.SOONEST: "soonest to leave",
    Do.LEAST_LOADED: "least loaded",
    Do.SAME_COUNTRY: "in the customer's country",
    Do.PRIORITY: "first by priority",
}
_MOST_NAMED = 5


def _all_of_it(request: Request) -> str:
    number = len(request.lines)
    return "it" if number == 1 else "both lines" if number == 2 else f"all {number} lines"


def _in_words(best: _Way, decisive: Sequence[Do], whole: int, request: Request, barred: bool) -> str:
    it = _all_of_it(request)
    if barred:
        it += " and may ship " + ("it" if len(request.lines) == 1 else "them")
    rough = Do.NEAREST in decisive and any(each.looked.roughly for each in best.found)
    hint = " (roughly: only the country is known)" if rough else ""
    by = ", then ".join(_WINS_BY[each] for each in decisive)
    if len(best.found) > 1:
        why = "no location has" if not whole else "better than one location that has"
        return f"{_parts_in_words(best, request)}: {why} {it}{by and f'; {by}'}{hint}."
    name = best.found[0].place.name
    if request.collect_at:
        return f"{name}: the customer fetches it there."
    if whole == 1:
        return f"{name}: the only location that has {it}."
    usual = "reserved there, one" if best.found[0].place.reserved else "first by name"
    return f"{name}: {by or usual} of the {whole} that have {it}{hint}."


def _parts_in_words(way: _Way, request: Request) -> str:
    if len(way.found) == 1:
        return way.found[0].place.name
    all_units = sum(line.units for line in request.lines)
    parts = [
        f"{each.place.name} ({sum(units.values())} of {all_units} units)"
        for each, units in zip(way.found, way.units, strict=True)
    ]
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def _why_nobody(found: Sequence[_Found], request: Request, policy: RoutingPolicy) -> str:
    if not found:
        return "There is no location yet. Add one under Locations."
    it = _all_of_it(request)
    partly = [each for each in found if each.most]
    said = [
        f"{each.place.name} has {sum(each.most.values())} of {sum(line.units for line in request.lines)} units"
        for each in partly
    ]
    said += [f"{each.place.name} {each.looked.shut_out}" for each in found if not each.most]
    named = "; ".join(said[:_MOST_NAMED]) + (f"; and {len(said) - _MOST_NAMED} more" if len(said) > _MOST_NAMED else "")
    if partly and _cover(partly, request):
        if policy.most_parcels == 1:
            return f"No single location has {it}, and the policy does not split orders: {named}."
        return f"No way was found to ship it in at most {policy.most_parcels} parcels: {named}."
    if partly:
        return f"Nobody has {it}: {named}."
    return f"No location may ship it: {named}."


# ---------------------------------------------------------------- when it leaves

_SATURDAY = 5


def leaves_in(now: datetime, cut_off: str, load: int, capacity: int | None) -> int:
    """Days from ``now``, the local time of a place, until what it is given now leaves there.

    After the cut-off ("16:00") today's parcels are gone; a day's work is what its capacity says; nobody works on
    Saturdays and Sundays, and no holiday is known.
    """
    working = load // capacity if capacity else 0
    if cut_off and f"{now:%H:%M}" >= cut_off and now.weekday() < _SATURDAY:
        working += 1
    days = 0
    while working or (now.weekday() + days) % 7 >= _SATURDAY:
        working -= (now.weekday() + days) % 7 < _SATURDAY
        days += 1
    return days
