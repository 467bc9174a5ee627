"""The WooCommerce connector: one shop's REST API (wc/v3) and its webhooks, put together from its parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from hub.connector import Capabilities, RateBudget, Settlement
from hub_woocommerce.api import CORE, PER_PAGE
from hub_woocommerce.connecting import Connecting
from hub_woocommerce.fulfillment import Fulfillment
from hub_woocommerce.refunds import Refunds
from hub_woocommerce.stock import Stock
from hub_woocommerce.webhooks import Webhooks

__all__ = ["PER_PAGE", "WooCommerceConnector"]


class WooCommerceConnector(Connecting, Fulfillment, Refunds, Webhooks, Stock):
    """A WooCommerce shop."""

    name = "woocommerce"
    label = "WooCommerce"
    description = "Shops on WordPress with the WooCommerce plugin."
    api_version = CORE
    capabilities = Capabilities(compare_and_set=False, push_batch=PER_PAGE, refund_choices=("restock",))
    effects: ClassVar[Mapping[str, Settlement]] = {
        "subscribe_webhooks": Settlement.NATURAL_KEY,
        "confirm_shipment": Settlement.LOOKUP,
        "cancel_order": Settlement.LOOKUP,
        "refund": Settlement.LOOKUP,
    }
    # WooCommerce itself has no limit; this is what a small host bears beside its customers.
    rate_budget = RateBudget(per_second=20, burst=40)
