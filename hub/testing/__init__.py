"""Shipped to connector authors: simulators that serve and fail on demand, and contexts that run connectors on them.

``from hub.testing import …`` has every name that a connector's own tests need; ``hub.testing.town`` is a whole hub.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hub.testing.carrier import CarrierSimulator as CarrierSimulator
    from hub.testing.carrier import Charge as Charge
    from hub.testing.clock import Clock as Clock
    from hub.testing.context import WEBHOOK_SECRET as WEBHOOK_SECRET
    from hub.testing.context import MemoryTokenVault as MemoryTokenVault
    from hub.testing.context import connector_for as connector_for
    from hub.testing.context import context_for as context_for
    from hub.testing.contract import CarrierContract as CarrierContract
    from hub.testing.contract import ConnectorContract as ConnectorContract
    from hub.testing.contract import FulfillmentProviderContract as FulfillmentProviderContract
    from hub.testing.contract import SalesChannelContract as SalesChannelContract
    from hub.testing.files import FileVendor as FileVendor
    from hub.testing.queues import QueueServer as QueueServer
    from hub.testing.queues import queue_server as queue_server
    from hub.testing.simulator import Attempt as Attempt
    from hub.testing.simulator import Customer as Customer
    from hub.testing.simulator import DeliveryFault as DeliveryFault
    from hub.testing.simulator import Fault as Fault
    from hub.testing.simulator import Letter as Letter
    from hub.testing.simulator import Sale as Sale
    from hub.testing.simulator import ShopSimulator as ShopSimulator
    from hub.testing.simulator import SimRequest as SimRequest
    from hub.testing.simulator import SimResponse as SimResponse
    from hub.testing.simulator import Simulator as Simulator
    from hub.testing.simulator import StockWrite as StockWrite
    from hub.testing.simulator import VendorSimulator as VendorSimulator
    from hub.testing.town import Town as Town
    from hub.testing.town import town_of as town_of
    from hub.testing.warehouse import PlacedOrder as PlacedOrder
    from hub.testing.warehouse import WarehouseSimulator as WarehouseSimulator

_NAMES = {
    "hub.testing.carrier": "CarrierSimulator Charge",
    "hub.testing.clock": "Clock",
    "hub.testing.context": "WEBHOOK_SECRET MemoryTokenVault connector_for context_for",
    "hub.testing.contract": "CarrierContract ConnectorContract FulfillmentProviderContract SalesChannelContract",
    "hub.testing.files": "FileVendor",
    "hub.testing.queues": "QueueServer queue_server",
    "hub.testing.simulator": (
        "Attempt Customer DeliveryFault Fault Letter Sale ShopSimulator SimRequest SimResponse Simulator StockWrite"
        " VendorSimulator"
    ),
    "hub.testing.town": "Town town_of",
    "hub.testing.warehouse": "PlacedOrder WarehouseSimulator",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'hub.testing' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
