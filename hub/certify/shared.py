"""What the contracts of all kinds share: effects under faults and crashes; and odd addresses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from hub.certify.bench import SHORT, TIMEOUT, Bench
from hub.certify.contract import Contract, Level, Needs, NotApplicable, Rule, expect
from hub.certify.sending import Sending
from hub.connector import Connector, Settlement
from hub.core.model import Address
from hub.testing.simulator import Fault

ODD_TEXTS: Mapping[str, str] = {
    "accents": "Zażółć gęślą jaźń",
    "umlauts": "Straße der Pariser Kommune 8–10",
    "greek": "Οδός Ερμού",
    "japanese": "東京都千代田区",
    "arabic": "شارع الملك فهد",
    "an-emoji": "Flat 2 🏠",
    "quotes": 'O\'Neill "The Loft" & Sons',
    "markup": "<b>1</b> High Street",
    "a-backslash": "C:\\Mill\\Lane",
    "line-ends": "1 High\r\nStreet",
    "a-percent-sign": "100% Lane %s {}",
    "five-hundred-letters": "Long " * 100,
    "only-spaces": "   ",
}

ONCE: Mapping[str, tuple[Fault, tuple[float, float]]] = {
    "a-500-before": (Fault.status(500), TIMEOUT),
    "a-500-after": (Fault.status(500, after_effect=True), TIMEOUT),
    "a-502-after": (Fault.status(502, after_effect=True), TIMEOUT),
    "a-504-after": (Fault.status(504, after_effect=True), TIMEOUT),
    "a-408-after": (Fault.status(408, after_effect=True), TIMEOUT),
    "a-429-before": (Fault.status(429), TIMEOUT),
    "a-429-with-retry-after": (Fault.status(429, retry_after=3), TIMEOUT),
    "a-503-with-retry-after": (Fault.status(503, retry_after=3), TIMEOUT),
    "a-401-before": (Fault.status(401), TIMEOUT),
    "a-reset-before": (Fault.reset(after_effect=False), TIMEOUT),
    "a-reset-after": (Fault.reset(), TIMEOUT),
    "a-truncated-answer": (Fault.truncated(), TIMEOUT),
    "a-silent-connection": (Fault.half_open(), SHORT),
    "a-late-answer": (Fault.slow(0.8), SHORT),
    "a-page-for-people-before": (Fault.html(), TIMEOUT),
    "a-page-for-people-after": (Fault.html(after_effect=True), TIMEOUT),
    "an-error-inside-before": (Fault.error_inside(), TIMEOUT),
    "an-error-inside-after": (Fault.error_inside(after_effect=True), TIMEOUT),
}

# (before the n-th request, after the n-th, how many lives end so)
DEATHS: Mapping[str, tuple[int, int, int]] = {
    "before-the-first-request": (1, 0, 1),
    "after-the-first-answer": (0, 1, 1),
    "before-the-second-request": (2, 0, 1),
    "after-the-second-answer": (0, 2, 1),
    "twice-before-the-first-request": (1, 0, 2),
    "twice-after-the-first-answer": (0, 1, 2),
}


_MOST_POINTS = 15


@dataclass(frozen=True, slots=True)
class Deed:
    """An effect of a kind of connectors, as the cases about it need it.

    ``prepare`` arranges what it is about and returns the stored request; ``count`` how often the vendor has done it.
    """

    kind: str
    name: str
    prepare: Callable[[Any, Any, Any], Mapping[str, Any]]
    count: Callable[[Any, Any], int]


def odd_address(address: Address, text: str) -> Address:
    """The address with an odd text wherever people write freely."""
    return replace(address, name=text, company=text, line1=text, line2=text)


def declared(deed: Deed, *classes: Settlement) -> Needs:
    """The need of cases for connectors that settle ``deed`` by one of ``classes`` (none given: that declare it)."""

    def needs(connector: type[Connector]) -> str:
        found = connector.effects.get(deed.kind)
        if found is None:
            return f"It has no effect {deed.kind}."
        return "" if not classes or found in classes else f"It settles {deed.kind} by {found.value}."

    return needs


def add_to(contract: Contract, deeds: tuple[Deed, ...]) -> None:
    """Add what is asked of every effect that must happen once: under each fault, at each crash point, by its class."""
    once = contract.rule(
        "exactly-once",
        Level.GOLD,
        "Whatever goes wrong with the answer, the hub's engine brings each effect about once, or asks a person.",
        "Declare the settlement class the vendor really allows; raise Unavailable where nobody can tell; send our "
        "reference along and find by it.",
    )
    crash = contract.rule(
        "crash-points",
        Level.GOLD,
        "A hub that dies at any request and comes back brings each effect about once, or asks a person.",
        "What a retry must know belongs into the request (Rate.handles, references), never into the process.",
    )
    settled = contract.rules["settlement"]
    for deed in deeds:
        _once(contract, once, deed)
        _crashes(contract, crash, deed)
        _settles(contract, settled, deed)
        _is_declared(contract, settled, deed)


def add_where_declared(contract: Contract, rule: Rule, deeds: tuple[Deed, ...]) -> None:
    """Ask the same, all of it under one rule, of those who declare the effect: nobody has to."""
    for deed in deeds:
        _once(contract, rule, deed)
        _crashes(contract, rule, deed)
        _anywhere(contract, rule, deed)
        _settles(contract, rule, deed)


def _anywhere(contract: Contract, rule: Rule, deed: Deed) -> None:
    """What looks before it acts acts late: everything goes wrong at each of its requests in turn."""

    @contract.each(
        rule,
        deed.name + "-once-{}-anywhere",
        deed.name + " happens once, {} at whichever of its requests.",
        {
            "dying-before": "dies_before",
            "dying-after": "dies_after",
            "with-a-lost-answer": "",
            "with-a-500-after": "500",
        },
        needs=declared(deed),
    )
    def _(bench: Bench, how: str) -> None:
        for point in range(1, _MOST_POINTS):
            vendor = bench.vendor()
            request = deed.prepare(bench, vendor, bench.connect(vendor))
            sending = Sending(bench, partial(bench.connect, vendor))
            before = len(vendor.requests)
            if how.startswith("dies"):
                row = sending.send(deed.kind, request, **{how: point})
            else:
                fault = Fault.status(500, after_effect=True) if how else Fault.reset()
                vendor.fail_next("", fault, after=point - 1)
                row = sending.send(deed.kind, request)
                vendor.heal()
            _honest(bench, vendor, deed, row)
            if len(vendor.requests) - before < point:
                return
        raise NotApplicable(f"It takes more than {_MOST_POINTS} requests.")


def _once(contract: Contract, rule: Rule, deed: Deed) -> None:
    @contract.each(
        rule, deed.name + "-once-after-{}", deed.name + " happens once after {}.", ONCE, needs=declared(deed)
    )
    def _(bench: Bench, tried: tuple[Fault, tuple[float, float]]) -> None:
        fault, timeout = tried
        vendor = bench.vendor()
        request = deed.prepare(bench, vendor, bench.connect(vendor))
        sending = Sending(bench, lambda: bench.connect(vendor, timeout=timeout))
        vendor.fail_next("", fault)
        row = sending.send(deed.kind, request)
        _honest(bench, vendor, deed, row)

    @contract.case(
        rule, f"{deed.name}-once-when-asked-twice", f"Planned twice, {deed.name} happens once.", needs=declared(deed)
    )
    def _(bench: Bench) -> None:
        vendor = bench.vendor()
        request = deed.prepare(bench, vendor, bench.connect(vendor))
        sending = Sending(bench, lambda: bench.connect(vendor))
        first, second = sending.send(deed.kind, request), sending.send(deed.kind, request)
        expect(first.id == second.id, "It was planned as two effects.")
        _honest(bench, vendor, deed, second)


def _crashes(contract: Contract, rule: Rule, deed: Deed) -> None:
    @contract.each(
        rule,
        deed.name + "-once-dying-{}",
        deed.name + " happens once though the hub dies {}.",
        DEATHS,
        needs=declared(deed),
    )
    def _(bench: Bench, death: tuple[int, int, int]) -> None:
        before, after, deaths = death
        vendor = bench.vendor()
        request = deed.prepare(bench, vendor, bench.connect(vendor))
        sending = Sending(bench, lambda: bench.connect(vendor))
        row = sending.send(deed.kind, request, dies_before=before, dies_after=after, deaths=deaths)
        _honest(bench, vendor, deed, row)


def _honest(bench: Bench, vendor: Any, deed: Deed, row: Any) -> None:
    """What the hub believes of an effect is what the vendor did, and it was done no more than once."""
    done = deed.count(bench, vendor)
    expect(done <= 1, f"The vendor did it {done} times.")
    expect(row.state in ("succeeded", "unknown"), f"The effect ended as {row.state}: {row.error}")
    if row.state == "succeeded":
        expect(done == 1, "The hub believes that it was done, and the vendor did not do it.")
    else:
        left_to_people = bench.connector.effects[deed.kind] is Settlement.NONE
        expect(left_to_people, f"A person was asked although the outcome can be found out: {row.error}")


def _settles(contract: Contract, rule: Rule, deed: Deed) -> None:
    kind, name = deed.kind, deed.name
    looks_up = declared(deed, Settlement.LOOKUP)

    def arranged(bench: Bench) -> tuple[Any, Any, Mapping[str, Any]]:
        vendor, connector = bench.connected()
        return vendor, connector, deed.prepare(bench, vendor, connector)

    @contract.case(
        rule, f"{name}-is-not-found-before", f"Before it is done, looking for {name} finds nothing.", needs=looks_up
    )
    def _(bench: Bench) -> None:
        _, connector, request = arranged(bench)
        found = connector.find(kind, request, "key-1")
        expect(found is None, f"It found {found}.")

    @contract.case(
        rule, f"{name}-is-found-after", f"After it is done, looking for {name} finds the same result.", needs=looks_up
    )
    def _(bench: Bench) -> None:
        vendor, connector, request = arranged(bench)
        result = connector.perform(kind, request, "key-1")
        found = bench.connect(vendor).find(kind, request, "key-1")
        expect(found is not None, "It was done, and is not found.")
        expect(
            (found.reference, found.details) == (result.reference, result.details), f"It found {found}, not {result}."
        )

    @contract.case(
        rule,
        f"{name}-of-others-is-not-found",
        f"Looking for {name} finds nothing of another reference.",
        needs=looks_up,
    )
    def _(bench: Bench) -> None:
        vendor, connector, request = arranged(bench)
        other = deed.prepare(bench, vendor, connector)
        connector.perform(kind, other, "key-2")
        found = connector.find(kind, request, "key-1")
        expect(found is None, f"It found another one's: {found}.")

    @contract.case(rule, f"{name}-looking-changes-nothing", f"Looking for {name} does nothing itself.", needs=looks_up)
    def _(bench: Bench) -> None:
        vendor, connector, request = arranged(bench)
        connector.find(kind, request, "key-1")
        expect(deed.count(bench, vendor) == 0, "The look-up did it.")

    @contract.case(
        rule,
        f"{name}-twice-with-one-key-is-one",
        f"{name} asked for twice with one key happens once.",
        needs=declared(deed, Settlement.NATIVE_KEY, Settlement.NATURAL_KEY),
    )
    def _(bench: Bench) -> None:
        vendor, connector, request = arranged(bench)
        first = connector.perform(kind, request, "key-1")
        second = bench.connect(vendor).perform(kind, request, "key-1")
        done = deed.count(bench, vendor)
        expect(done == 1, f"The vendor did it {done} times.")
        expect(first.reference == second.reference, f"It says {second.reference} and before {first.reference}.")

    @contract.case(
        rule, f"{name}-is-done-once-without-trouble", f"Without trouble {name} happens once.", needs=declared(deed)
    )
    def _(bench: Bench) -> None:
        vendor, _, request = arranged(bench)
        row = Sending(bench, lambda: bench.connect(vendor)).send(kind, request)
        expect(row.state == "succeeded", f"The effect ended as {row.state}: {row.error}")
        expect(deed.count(bench, vendor) == 1, f"The vendor did it {deed.count(bench, vendor)} times.")
        expect(row.result is not None, "What it brought about could not be stored as JSON.")

    @contract.case(
        rule,
        f"{name}-is-never-repeated-blindly",
        f"Where nobody can tell whether {name} was done, a person is asked and nothing is sent again.",
        needs=declared(deed, Settlement.NONE),
    )
    def _(bench: Bench) -> None:
        vendor, _, request = arranged(bench)
        vendor.fail_next("", Fault.reset())
        before = len(vendor.requests)
        row = Sending(bench, lambda: bench.connect(vendor)).send(kind, request)
        expect(row.state == "unknown", f"The effect ended as {row.state}.")
        if len(vendor.requests) - before != 1:
            raise NotApplicable("It takes several requests.")


def _is_declared(contract: Contract, rule: Rule, deed: Deed) -> None:
    @contract.case(
        rule, f"{deed.name}-is-declared", f"{deed.name} is among its effects, so that the hub can carry it out."
    )
    def _(bench: Bench) -> None:
        expect(deed.kind in bench.connector.effects, f"{deed.kind} is not among its effects.")
