"""The Shopify connector of Tallyhub: the plugin that registers it."""

from __future__ import annotations

from collections.abc import Callable

import hub
from hub_shopify.connector import ShopifyConnector


@hub.hookimpl
def register_connectors(register: Callable[[type[hub.Connector]], None]) -> None:
    """Offer the connector to the hub."""
    register(ShopifyConnector)
