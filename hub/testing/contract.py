"""The contract of `hub certify` as pytest classes: each of its cases a test of its own.

    class TestAcme(SalesChannelContract):
        connector = AcmeConnector
        simulator = AcmeSimulator

It needs no plugin and no conftest, and imports nothing of pytest: a case that cannot be asked of a connector skips by
``unittest.SkipTest``, which pytest understands.
"""

from __future__ import annotations

import unittest
from collections.abc import Callable
from typing import Any, ClassVar

from hub.connector import Connector
from hub.testing.simulator import VendorSimulator

__all__ = ["CarrierContract", "ConnectorContract", "FulfillmentProviderContract", "SalesChannelContract"]


class ConnectorContract:
    """Fills a subclass that names a connector and its simulator with one test per case, up to those of ``grade``."""

    connector: ClassVar[type[Connector]]
    simulator: ClassVar[Callable[..., VendorSimulator]]
    grade: ClassVar[str] = "platinum"
    seed: ClassVar[int] = 0

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        if not hasattr(cls, "connector") or not hasattr(cls, "simulator"):
            return
        # Only here: a program that imports hub.testing does not load the whole hub.
        from hub.certify import Level, contract_for

        levels = list(Level)
        asked = levels[: levels.index(Level(cls.grade)) + 1]
        for case in contract_for(cls.connector).cases.values():
            if case.rule.level not in asked:
                continue
            name = f"test_{case.id.replace('-', '_')}"
            if name not in vars(cls):
                setattr(cls, name, _test(case.id, case.says, name))


def _test(case_id: str, says: str, name: str) -> Callable[[ConnectorContract], None]:
    def test(self: ConnectorContract) -> None:
        from hub.certify import FAILED, NOT_APPLICABLE, contract_for, try_case

        contract = contract_for(self.connector)
        outcome = try_case(contract, contract.cases[case_id], self.connector, type(self).simulator, self.seed)
        if outcome.state == NOT_APPLICABLE:
            raise unittest.SkipTest(outcome.reason)
        if outcome.state == FAILED:
            raise AssertionError(f"{case_id}: {outcome.reason}") from outcome.error

    test.__name__ = test.__qualname__ = name
    test.__doc__ = says
    return test


class SalesChannelContract(ConnectorContract):
    """The contract for sales channels: set ``connector`` and ``simulator``, and ``seed`` for another run of luck."""


class CarrierContract(ConnectorContract):
    """The contract for carriers, likewise."""


class FulfillmentProviderContract(ConnectorContract):
    """The contract for fulfillment providers, likewise."""
