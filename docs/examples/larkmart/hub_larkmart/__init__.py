"""The Larkmart connector for Tallyhub: the plugin that registers it."""

from __future__ import annotations

from collections.abc import Callable

import hub
from hub_larkmart.connector import LarkmartConnector


@hub.hookimpl
def register_connectors(register: Callable[[type[hub.Connector]], None]) -> None:
    """Offer the connector to the hub."""
    register(LarkmartConnector)
