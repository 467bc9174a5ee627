"""Trying a contract on a connector, case by case."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections.abc import Callable, Collection, Iterable
from importlib.metadata import EntryPoint, entry_points

from hub.certify.bench import Endless, SimulatorFactory
from hub.certify.contract import Case, Contract, NotApplicable, Refuted
from hub.certify.distribution import metadata
from hub.certify.report import FAILED, NOT_APPLICABLE, PASSED, Outcome, Report
from hub.connector import Connector
from hub.errors import BadInput

SIMULATORS = "hub.simulators"


def simulator_of(connector: type[Connector], found: Iterable[EntryPoint] | None = None) -> SimulatorFactory:
    """The simulator that the connector's distribution announces under the connector's name. Raises BadInput.

    ``found`` replaces the installed entry points of the group ``hub.simulators``. Only an entry point of the
    distribution the connector comes from counts, so that certifying one plugin never imports another.
    """
    points = list(entry_points(group=SIMULATORS) if found is None else found)
    package = connector.__module__.partition(".")[0]
    for point in points:
        if point.name == connector.name and point.module.partition(".")[0] == package:
            factory: SimulatorFactory = point.load()
            return factory
    raise BadInput(
        f"{connector.label} comes without a simulator. In its pyproject.toml, name one in the group "
        f'[project.entry-points."{SIMULATORS}"], such as {connector.name} = "{package}.simulator:Simulator", and '
        "install it again."
    )


def contract_for(connector: type[Connector]) -> Contract:
    """The contract for connectors of this kind. Raises BadInput."""
    from hub.certify import CONTRACTS

    for contract in CONTRACTS:
        if issubclass(connector, contract.base):
            return contract
    raise BadInput(f"{connector.label} is of no kind that has a contract.")


def certify(
    connector: type[Connector],
    simulator: SimulatorFactory,
    *,
    seed: int = 0,
    only: Collection[str] = (),
    told: Callable[[Outcome], None] = lambda outcome: None,
) -> Report:
    """Try every case on ``connector``, or those named in ``only``; ``told`` hears of each outcome at once."""
    contract = contract_for(connector)
    if unknown := sorted(set(only) - contract.cases.keys()):
        raise BadInput(f"The contract has no case {', '.join(unknown)}.")
    outcomes = []
    for case in contract.cases.values():
        if only and case.id not in only:
            continue
        outcome = try_case(contract, case, connector, simulator, seed)
        told(outcome)
        outcomes.append(outcome)
    tried = {outcome.case.rule.id for outcome in outcomes}
    return Report(
        connector=connector.name,
        label=connector.label,
        kind=contract.kind,
        seed=seed,
        versions=_versions(connector),
        rules=[rule for rule in contract.rules.values() if rule.id in tried],
        outcomes=outcomes,
        partial=bool(only),
    )


def try_case(
    contract: Contract, case: Case, connector: type[Connector], simulator: SimulatorFactory, seed: int = 0
) -> Outcome:
    """Try one case. What a connector raises fails the case, not the run."""
    if why := case.needs(connector):
        return Outcome(case, NOT_APPLICABLE, why)
    began = time.monotonic()
    with contract.bench(connector, simulator, seed=seed, case=case.id) as bench:
        state, reason, error = _tried(case, bench)
        trace = tuple(bench.trace)
    return Outcome(case, state, reason, time.monotonic() - began, trace, error)


def _tried(case: Case, bench: object) -> tuple[str, str, BaseException | None]:
    try:
        case.run(bench)
    except NotApplicable as why:
        return NOT_APPLICABLE, str(why), None
    except (Refuted, Endless) as seen:
        return FAILED, str(seen), seen
    except (Exception, SystemExit) as error:
        return FAILED, f"{type(error).__name__}: {error}", error
    return PASSED, "", None


def _versions(connector: type[Connector]) -> dict[str, str]:
    found = {"tallyhub": importlib.metadata.version("tallyhub")}
    if (about := metadata(connector)) is not None:
        found[str(about["Name"])] = str(about["Version"])
    return {**found, "API": connector.api_version, "Python": platform.python_version()}
