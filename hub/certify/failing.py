"""The cases for vendors that fail: errors mapped, odd answers noticed, no retry of its own, the rate budget kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from hub.certify.bench import Bench, impatient, line_of, only_connector_errors, short
from hub.certify.contract import Call, Contract, Level, NotApplicable, expect, fail
from hub.connector import Connector
from hub.errors import AuthError, ConnectorError, RateLimited, Unavailable
from hub.testing.simulator import Fault, SimResponse


@dataclass(frozen=True, slots=True)
class _Wrong:
    """A fault, and the errors that may come of it."""

    fault: Fault
    error: tuple[type[ConnectorError], ...]
    times: int = 1


_FAULTS: Mapping[str, _Wrong] = {
    "401": _Wrong(Fault.status(401), (AuthError, Unavailable), times=9),
    "429": _Wrong(Fault.status(429), (RateLimited,)),
    "429-with-retry-after": _Wrong(Fault.status(429, retry_after=7), (RateLimited,)),
    "500": _Wrong(Fault.status(500), (Unavailable,)),
    "503": _Wrong(Fault.status(503), (Unavailable,)),
    "500-after-the-effect": _Wrong(Fault.status(500, after_effect=True), (Unavailable,)),
    "reset": _Wrong(Fault.reset(after_effect=False), (Unavailable,)),
    "reset-after-the-effect": _Wrong(Fault.reset(), (Unavailable,)),
    "truncated": _Wrong(Fault.truncated(), (Unavailable,)),
    "half-open": _Wrong(Fault.half_open(), (Unavailable,)),
}

_NO_ANSWERS: Mapping[str, Fault] = {
    "html": Fault.html(),
    "an-error-inside": Fault.error_inside(),
    "nothing": Fault("empty", response=SimResponse(200, {"Content-Type": "application/json"}, b"")),
    "null": Fault("null", response=SimResponse.of_json(None)),
    "a-number": Fault("number", response=SimResponse.of_json(7)),
    "a-text": Fault("text", response=SimResponse.of_json("busy")),
}

_TO_BE_LEFT: Mapping[str, Fault] = {
    "429": Fault.status(429, retry_after=1),
    "500": Fault.status(500),
    "reset": Fault.reset(),
}


def errors(contract: Contract) -> None:
    """What a connector makes of a vendor that fails."""
    mapped = contract.rule(
        "errors-are-mapped",
        Level.SILVER,
        "Whatever goes wrong on the way becomes the error that says what happens next, and afterwards it works again.",
        "Let hub.Client raise: it maps statuses and broken connections. Catch only what you can answer better.",
    )
    each = {f"{name}-at-{call.name}": (wrong, call) for call in contract.calls for name, wrong in _FAULTS.items()}

    @contract.each(mapped, "error-{}", "It is told what happened ({}), and the next call works.", each)
    def _(bench: Bench, tried: tuple[_Wrong, Call]) -> None:
        wrong, call = tried
        if wrong.error == (RateLimited,) and exchanges_files(bench.connector):
            raise NotApplicable("A file server has no way to ask to slow down.")
        connector = ready(bench, call)
        vendor = bench.vendors[0]
        vendor.fail_next("", wrong.fault, times=wrong.times)
        with impatient(connector) if wrong.fault.broken == "silent" else nullcontext():
            error = _failed(bench, call, connector, wrong.fault.name)
        expect(isinstance(error, wrong.error), f"It raised {type(error).__name__} ({error}).")
        _is_a_sentence(error)
        told = wrong.fault.response.headers.get("Retry-After") if wrong.fault.response else None
        if isinstance(error, RateLimited) and told:
            expect(error.retry_after == float(told), f"It says to wait {error.retry_after} s instead of {told} s.")
        if isinstance(error, Unavailable) and wrong.fault.after_effect and call.writes:
            expect(error.sent, "It says that the vendor never saw the request, and the vendor did.")
        vendor.heal()
        call.run(bench, connector)

    odd = contract.rule(
        "odd-answers",
        Level.GOLD,
        "An answer with status 200 that is not what was asked for is an error, never a success and never a crash.",
        "Look at the shape of what Response.json() gives before you use it, and raise Unavailable or Rejected.",
    )
    answers = {
        f"{name}-at-{call.name}": (fault, call) for call in contract.calls for name, fault in _NO_ANSWERS.items()
    }

    @contract.each(odd, "answer-{}", "Status 200 with something else than the answer ({}) is an error.", answers)
    def _(bench: Bench, tried: tuple[Fault, Call]) -> None:
        fault, call = tried
        connector = ready(bench, call)
        vendor = bench.vendors[0]
        vendor.fail_next("", fault)
        _is_a_sentence(_failed(bench, call, connector, fault.name))
        vendor.heal()
        call.run(bench, connector)

    left = contract.rule(
        "leaves-retrying-to-the-hub",
        Level.GOLD,
        "It never tries again by itself: the hub knows what else waits, and whether repeating does harm.",
        "Raise, and send nothing more in this call.",
    )
    tries = {f"{name}-at-{call.name}": (fault, call) for call in contract.calls for name, fault in _TO_BE_LEFT.items()}

    @contract.each(left, "no-retry-after-{}", "After a failure ({}) it sends nothing more.", tries)
    def _(bench: Bench, tried: tuple[Fault, Call]) -> None:
        fault, call = tried
        connector = ready(bench, call)
        vendor = bench.vendors[0]
        before = len(vendor.requests)
        vendor.fail_next("", fault)
        _failed(bench, call, connector, fault.name)
        sent = len(vendor.requests) - before
        expect(sent == 1, f"It sent {sent - 1} more requests after {fault.name}.")

    budget = contract.rule(
        "rate-budget",
        Level.GOLD,
        "Everything it sends goes through the client, is counted, and waits for the rate budget.",
        "Send with self.client only, give each request its cost, and declare rate_budget as the vendor states it.",
    )

    @contract.case(budget, "budget-is-declared", "It declares the vendor's rate budget.")
    def _(bench: Bench) -> None:
        declared = bench.connector.rate_budget is not None or bench.connector.rate_budgets
        expect(declared, "It has no rate_budget: the hub would ask as fast as it can.")

    @contract.each_call(budget, "budget-counts-{}", "Every request of {} is counted by the limiter, at a cost.")
    def _(bench: Bench, call: Call) -> None:
        connector = ready(bench, call)
        vendor, limiter = bench.vendors[0], line_of(connector).limiter
        requests, counted, cost = len(vendor.requests), limiter.requests, limiter.cost
        call.run(bench, connector)
        sent = len(vendor.requests) - requests
        expect(sent, "It sent nothing.")
        expect(
            limiter.requests - counted == sent, f"It sent {sent} requests; {limiter.requests - counted} were counted."
        )
        expect(limiter.cost - cost >= sent, f"{sent} requests cost {limiter.cost - cost:g} together.")

    @contract.each_call(budget, "budget-spent-at-{}", "With the budget spent, {} raises RateLimited and sends nothing.")
    def _(bench: Bench, call: Call) -> None:
        connector = ready(bench, call)
        vendor = bench.vendors[0]
        line_of(connector).limiter = _Spent()
        before = len(vendor.requests)
        error = _failed(bench, call, connector, "the budget was spent")
        expect(isinstance(error, RateLimited), f"It raised {type(error).__name__} ({error}).")
        expect(len(vendor.requests) == before, "It sent something although the budget was spent.")


def exchanges_files(connector: type[Connector]) -> bool:
    """Whether it talks to a file server: the answers of one are files and numbers of its own, not those of HTTP."""
    return connector.file_host.__func__ is not Connector.file_host.__func__  # type: ignore[attr-defined]


class _Spent:
    """A limiter with nothing left."""

    def acquire(self, cost: float) -> None:
        raise RateLimited("The rate budget of this connection is spent for 60 s; work goes on then.", 60.0)

    def learn(self, available: float, restore_rate: float, maximum: float) -> None:
        """There is nothing to learn."""


def ready(bench: Bench, call: Call) -> Any:
    """A connector that has talked to its vendor before, with all that the call needs in place."""
    vendor = bench.vendor()
    if call.prepare is not None:
        call.prepare(bench)
    connector = bench.connect(vendor)
    connector.check()
    return connector


def _failed(bench: Bench, call: Call, connector: Any, what: str) -> ConnectorError:
    """The error of a call that has to fail."""
    with only_connector_errors(f"{call.name} after {what}") as raised:
        result = call.run(bench, connector)
    if not raised:
        fail(f"{call.name} did not notice: after {what} it returned {short(result)}.")
    return raised[0]


def _is_a_sentence(error: ConnectorError) -> None:
    text = str(error)
    expect(re.search(r"[.!?)”]$", text) and " " in text, f"What it says is no sentence for a person: {text!r}.")
