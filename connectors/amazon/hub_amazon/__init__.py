"""The connectors of Tallyhub to Amazon: the plugin that registers them."""

from __future__ import annotations

from collections.abc import Callable

import hub
from hub_amazon.channel import AmazonConnector
from hub_amazon.fulfillment import AmazonFulfillment


@hub.hookimpl
def register_connectors(register: Callable[[type[hub.Connector]], None]) -> None:
    """Offer the connectors to the hub."""
    register(AmazonConnector)
    register(AmazonFulfillment)
