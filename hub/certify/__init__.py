"""`hub certify`: the contract that every connector is tried by, against its simulator, and the grade it earns.

A *contract* has *rules*, each of one *level* (bronze, silver, gold, platinum), and each rule has *cases*. A case is a
function that is given a *bench*: a fresh simulated vendor, real connectors that talk to it over real HTTP, a clock that
stands still, and one seed for everything random. It passes by returning, fails by raising (`expect` and `fail` say what
was seen instead), and says by `NotApplicable` that it cannot be asked. A rule is kept when none of its cases fails; the
grade is the highest level whose rules, and those of every level before it, are all kept.

How to add cases:

- `contract.py`: `Level`, `Rule`, `Case`, `Call`, `Contract`, and `expect`, `fail`, `NotApplicable`.
- `bench.py`: `Bench`, on which each kind builds its own.
- `everywhere.py`: the cases for all kinds; with `secrecy.py`, `failing.py` and `webhooks.py`, which are tried on the
  contract's `calls`, and `odd.py`, the odd input.
- `channel.py`, `channel_pages.py`, `channel_stock.py`, `channel_effects.py`: what is asked of sales channels;
  `channel_hub.py`: what is asked of them in a hub at work, which `crashing.py` can kill at any point. `carrier.py` and
  `provider.py` likewise, with `shared.py` and `sending.py`.
- `running.py`: `certify`, `simulator_of`; `report.py`: `Report`, `badge`.

Another kind is a module that makes a `Contract` with its own `Bench` and calls, lets `everywhere.add_to` put in the
common cases, adds its own by `@contract.case` and `@contract.each`, and is named in `CONTRACTS`.
"""

from __future__ import annotations

from hub.certify.bench import Bench
from hub.certify.contract import NO_GRADE, Call, Case, Contract, Level, NotApplicable, Refuted, Rule, expect, fail
from hub.certify.report import FAILED, NOT_APPLICABLE, PASSED, Outcome, Report, badge
from hub.certify.running import certify, contract_for, simulator_of, try_case

__all__ = [
    "CONTRACTS",
    "FAILED",
    "NOT_APPLICABLE",
    "NO_GRADE",
    "PASSED",
    "Bench",
    "Call",
    "Case",
    "Contract",
    "Level",
    "NotApplicable",
    "Outcome",
    "Refuted",
    "Report",
    "Rule",
    "badge",
    "certify",
    "contract_for",
    "expect",
    "fail",
    "simulator_of",
    "try_case",
]

from hub.certify import (  # noqa: F401
    carrier,
    channel,
    channel_asking,
    channel_effects,
    channel_hub,
    channel_pages,
    channel_stock,
    provider,
)

CONTRACTS: tuple[Contract, ...] = (channel.CONTRACT, carrier.CONTRACT, provider.CONTRACT)
