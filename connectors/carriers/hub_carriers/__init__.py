"""The carrier connectors of Tallyhub: the plugin that registers them, one module each."""

from __future__ import annotations

from collections.abc import Callable

import hub
from hub_carriers.easypost import EasyPostConnector
from hub_carriers.ups import UpsConnector


@hub.hookimpl
def register_connectors(register: Callable[[type[hub.Connector]], None]) -> None:
    """Offer the connectors to the hub."""
    register(EasyPostConnector)
    register(UpsConnector)
