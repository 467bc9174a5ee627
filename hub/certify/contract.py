"""What a contract is made of: levels, rules, cases, and the calls by which a connector talks to its vendor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from hub.connector import Connector

if TYPE_CHECKING:
    from hub.certify.bench import Bench

_T = TypeVar("_T")

Needs = Callable[[type[Connector]], str]


class Level(StrEnum):
    """How far a connector can be trusted. Each level contains the ones before it."""

    BRONZE = "bronze"
    SILVER = "silver"
    GOLD = "gold"
    PLATINUM = "platinum"


LEVELS = tuple(Level)
NO_GRADE = "none"


class NotApplicable(Exception):
    """Raised by a case that cannot be asked of this connector; the message says why."""


class Refuted(AssertionError):
    """A connector does not keep what a case says; the message says what was seen instead."""


def expect(holds: object, seen: str) -> None:
    """Fail the case unless ``holds``; ``seen`` is a sentence about what was seen instead."""
    if not holds:
        raise Refuted(seen)


def fail(seen: str) -> NoReturn:
    """Fail the case; ``seen`` as in ``expect``."""
    raise Refuted(seen)


def anything(connector: type[Connector]) -> str:
    """The need of a case that every connector of its kind can meet."""
    return ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A named demand of one level, held when none of its cases fails. ``advice`` says what to do when one does."""

    id: str
    level: Level
    says: str
    advice: str


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that is tried. ``needs`` says why it cannot be asked of a connector, "" if it can.

    ``family`` is what all cases of one ``Contract.each`` have in common, (id, sentence) with ``{}`` for the difference.
    """

    id: str
    says: str
    rule: Rule
    run: Callable[[Any], None] = field(repr=False)
    needs: Needs = field(default=anything, repr=False)
    family: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class Call:
    """One way in which connectors of a kind talk to their vendor, as the cases for all kinds use it.

    ``run`` makes the call for a connector that ``bench.connect`` gave, with whatever it needs from the vendor arranged
    by ``prepare``, which runs before any fault is planned. ``writes``: it changes something at the vendor.
    """

    name: str
    run: Callable[[Any, Any], object]
    prepare: Callable[[Any], object] | None = None
    writes: bool = False
    needs: Needs = anything


class Contract:
    """All cases for one kind of connector.

    ``kind`` is "channel", "carrier" or "3pl"; ``base`` the class its connectors derive from; ``bench`` the class whose
    instances the cases are given; ``calls`` what the cases for all kinds are tried on.
    """

    def __init__(self, kind: str, base: type[Any], bench: type[Bench], calls: Sequence[Call]) -> None:
        self.kind = kind
        self.base = base
        self.bench = bench
        self.calls = tuple(calls)
        self.rules: dict[str, Rule] = {}
        self.cases: dict[str, Case] = {}

    def rule(self, id: str, level: Level, says: str, advice: str) -> Rule:
        """Add a rule."""
        if id in self.rules:
            raise ValueError(f"There are two rules {id}.")
        self.rules[id] = Rule(id, level, says, advice)
        return self.rules[id]

    def case(
        self, rule: Rule, id: str, says: str, *, needs: Needs = anything
    ) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
        """Make the decorated function, which takes a bench, the case ``id`` of ``rule``."""

        def add(run: Callable[[Any], None]) -> Callable[[Any], None]:
            self._add(Case(id, says, rule, run, needs, (id, says)))
            return run

        return add

    def each(
        self, rule: Rule, id: str, says: str, values: Mapping[str, _T], *, needs: Needs = anything
    ) -> Callable[[Callable[[Any, _T], None]], Callable[[Any, _T], None]]:
        """Make the decorated function, which takes a bench and a value, a case for each of ``values``.

        ``{}`` in ``id`` and ``says`` stands for the value's name. A value that is a ``Call``, or a tuple that holds
        one, brings the needs of that call along.
        """

        def add(run: Callable[[Any, _T], None]) -> Callable[[Any, _T], None]:
            for name, value in values.items():
                parts = value if isinstance(value, tuple) else (value,)
                calls = [part.needs for part in parts if isinstance(part, Call)]
                both = _first_of([needs, *calls])
                case = Case(id.format(name), says.format(name), rule, _bound(run, value), both, (id, says))
                self._add(case)
            return run

        return add

    def each_call(self, rule: Rule, id: str, says: str) -> Callable[[Callable[[Any, Call], None]], Any]:
        """Make the decorated function, which takes a bench and a call, a case for each call of the contract."""
        return self.each(rule, id, says, {call.name: call for call in self.calls})

    def _add(self, case: Case) -> None:
        if case.id in self.cases:
            raise ValueError(f"There are two cases {case.id}.")
        self.cases[case.id] = case


def _bound(run: Callable[[Any, _T], None], value: _T) -> Callable[[Any], None]:
    return lambda bench: run(bench, value)


def _first_of(needs: Sequence[Needs]) -> Needs:
    return lambda connector: next((why for each in needs if (why := each(connector))), "")
