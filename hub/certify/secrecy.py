"""The cases for secrets: what must be in no message, log, repr or result."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote

from structlog.testing import capture_logs

from hub.certify.bench import Bench
from hub.certify.contract import Call, Contract, Level, expect
from hub.certify.failing import ready
from hub.errors import ConnectorError
from hub.testing.context import WEBHOOK_SECRET
from hub.testing.simulator import Fault


def secrets(contract: Contract) -> None:
    """What must never be seen."""
    rule = contract.rule(
        "secrets-stay-hidden",
        Level.BRONZE,
        "No secret is in a text that somebody may read: messages, logs, the exchange log, a repr, a result.",
        "Never put a setting into a message; client.redact() every secret that is not a field marked secret.",
    )

    @contract.case(rule, "secrets-not-in-repr", "The repr of the connector, its context and its settings shows none.")
    def _(bench: Bench) -> None:
        vendor, connector = bench.connected()
        connector.check()
        no_secret(bench, vendor, [repr(connector), str(connector), repr(connector.context)], "a repr")

    @contract.case(rule, "secrets-not-in-the-exchange-log", "What the activity page shows of requests has none.")
    def _(bench: Bench) -> None:
        vendor, connector = bench.connected()
        connector.check()
        vendor.fail_next("", Fault.echo(500))
        with suppress(ConnectorError):
            connector.check()
        no_secret(bench, vendor, [repr(each) for each in bench.exchanges], "the exchange log")

    @contract.each_call(
        rule,
        "secrets-not-in-errors-of-{}",
        "Whatever the vendor answers to {}, the error shows no secret, even where the answer repeats the request.",
    )
    def _(bench: Bench, call: Call) -> None:
        connector = ready(bench, call)
        vendor = bench.vendors[0]
        for fault in (Fault.echo(400), Fault.echo(401), Fault.echo(403), Fault.echo(500), Fault.echo(200)):
            vendor.fail_next("", fault, times=9)
            texts: list[str] = []
            try:
                texts.append(repr(call.run(bench, connector)))
            except Exception as error:
                texts += [str(error), repr(error)]
            vendor.heal()
            no_secret(bench, vendor, texts, f"what {call.name} says after {fault.name}")
        no_secret(bench, vendor, [repr(each) for each in bench.exchanges], "the exchange log")

    @contract.each_call(rule, "secrets-not-in-logs-of-{}", "{} logs no secret, when it goes well and when it fails.")
    def _(bench: Bench, call: Call) -> None:
        with captured_logs() as logged:
            connector = ready(bench, call)
            vendor = bench.vendors[0]
            vendor.fail_next("", Fault.echo(500))
            with suppress(ConnectorError):
                call.run(bench, connector)
            vendor.heal()
            call.run(bench, connector)
        no_secret(bench, vendor, logged, "the log")

    @contract.each_call(
        rule,
        "secrets-not-in-results-of-{}",
        "What {} returns holds no secret: it is stored, and shown.",
    )
    def _(bench: Bench, call: Call) -> None:
        connector = ready(bench, call)
        no_secret(bench, bench.vendors[0], [repr(call.run(bench, connector))], f"the result of {call.name}")


def no_secret(bench: Bench, vendor: Any, texts: list[str], where: str) -> None:
    """None of the texts holds a secret of the vendor's settings, the webhook secret, or a token that was obtained."""
    typed = vendor.settings()
    hidden = {name: typed[name] for name in bench.secret_fields() if len(typed.get(name, "")) >= 4}
    hidden["webhook secret"] = WEBHOOK_SECRET
    hidden |= {f"token {number}": value for number, value in enumerate(bench.tokens(), start=1)}
    for name, value in hidden.items():
        spellings = {value, quote(value, safe=""), base64.b64encode(value.encode()).decode()}
        for text in texts:
            expect(not any(spelling in text for spelling in spellings), f"The {name} is in {where}.")


@contextmanager
def captured_logs() -> Iterator[list[str]]:
    """Every line that is logged meanwhile, by the standard library's logging or by structlog."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.getMessage()} {record.exc_info or ''}")

    root = logging.getLogger()
    keep, level = Keep(level=logging.DEBUG), root.level
    root.addHandler(keep)
    root.setLevel(logging.DEBUG)
    try:
        with capture_logs() as events:
            yield lines
        lines += [repr(event) for event in events]
    finally:
        root.removeHandler(keep)
        root.setLevel(level)
