"""The connectors of Tallyhub to fulfillment providers: the plugin that registers them."""

from __future__ import annotations

from collections.abc import Callable

import hub
from hub_3pl.sftp import SftpConnector
from hub_3pl.shipbob import ShipBobConnector


@hub.hookimpl
def register_connectors(register: Callable[[type[hub.Connector]], None]) -> None:
    """Offer the connectors to the hub."""
    register(ShipBobConnector)
    register(SftpConnector)
