"""What a record that came in is about, in words: channels, carriers and 3PLs each call it differently."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

# By the vendors' own names, in small letters. Each is said after "told of".
_TOPICS: Mapping[str, Any] = {
    # What the hub asks for itself.
    "order": _l("the order"),
    "order.gone": _l("an order that does not exist there"),
    "listing": _l("the listing"),
    "shipment": _l("a shipment"),
    "stock": _l("stock"),
    "tracking": _l("a parcel"),
    "message": _l("something that could not be read"),
    # Orders.
    "orders/create": _l("a new order"),
    "order.created": _l("a new order"),
    "orders/updated": _l("a change"),
    "order.updated": _l("a change"),
    "order.changed": _l("a change"),
    "order_change": _l("a change"),
    "orders/edited": _l("an edit"),
    "orders/paid": _l("a payment"),
    "orders/cancelled": _l("a cancellation"),
    "orders/fulfilled": _l("the shipment of all of it"),
    "orders/partially_fulfilled": _l("the shipment of a part"),
    "orders/delete": _l("the deletion of the order"),
    "order.deleted": _l("the deletion of the order"),
    "order.restored": _l("an order that was brought back"),
    "orders/risk_assessment_changed": _l("another opinion of the risk of fraud"),
    "refunds/create": _l("a refund"),
    "fulfillments/create": _l("a shipment"),
    "fulfillments/update": _l("a change of a shipment"),
    "returns/request": _l("a customer who wants to send goods back"),
    "returns/approve": _l("a return that was approved"),
    "returns/decline": _l("a return that was declined"),
    "returns/cancel": _l("a return that was called off"),
    "returns/close": _l("a return that is dealt with"),
    "returns/reopen": _l("a return that was opened again"),
    "returns/update": _l("a change of a return"),
    # The parts that a channel has dealt an order out into.
    "fulfillment_orders/order_routing_complete": _l("how it deals the order out"),
    "fulfillment_orders/fulfillment_request_submitted": _l("a wish that a part be shipped"),
    "fulfillment_orders/fulfillment_request_accepted": _l("a part that somebody will ship"),
    "fulfillment_orders/fulfillment_request_rejected": _l("a part that somebody will not ship"),
    "fulfillment_orders/fulfillment_service_failed_to_complete": _l("a part that could not be shipped"),
    "fulfillment_orders/cancellation_request_submitted": _l("a wish that a part not be shipped"),
    "fulfillment_orders/cancellation_request_accepted": _l("a part that will not be shipped, as was wished"),
    "fulfillment_orders/cancellation_request_rejected": _l("a part that is shipped all the same"),
    "fulfillment_orders/cancelled": _l("a part that was called off"),
    "fulfillment_orders/placed_on_hold": _l("a part that was put on hold"),
    "fulfillment_orders/hold_released": _l("a part that is on hold no more"),
    "fulfillment_orders/moved": _l("a part that another location ships"),
    "fulfillment_orders/split": _l("a part that was split"),
    "fulfillment_orders/merged": _l("parts that were put together"),
    "fulfillment_orders/rescheduled": _l("a part that is shipped on another day"),
    "fulfillment_orders/progress_reported": _l("a part that is being worked on"),
    "fulfillment_orders/manually_reported_progress_stopped": _l("a part that is worked on no more"),
    "fulfillment_orders/scheduled_fulfillment_order_ready": _l("a part whose day has come"),
    "fulfillment_holds/added": _l("a hold"),
    "fulfillment_holds/released": _l("a hold that was taken off"),
    # Goods and stock.
    "products/create": _l("a new product"),
    "product.created": _l("a new product"),
    "products/update": _l("a change of a product"),
    "product.updated": _l("a change of a product"),
    "products/delete": _l("the deletion of a product"),
    "product.deleted": _l("the deletion of a product"),
    "product.restored": _l("a product that was brought back"),
    "listings_item_status_change": _l("a change of a listing"),
    "inventory_items/delete": _l("the deletion of a product"),
    "inventory_levels/connect": _l("stock at another location"),
    "inventory_levels/update": _l("a change of stock"),
    "inventory_levels/disconnect": _l("a location that keeps no stock of it any more"),
    "fba_inventory_availability_changes": _l("a change of stock"),
    # The shop and its customers.
    "app/uninstalled": _l("the end of the connection"),
    "app/scopes_update": _l("a change of what the hub may do"),
    "customers/data_request": _l("a customer who wants to see what is kept"),
    "customers/redact": _l("a customer who wants to be forgotten"),
    "shop/redact": _l("a shop that wants to be forgotten"),
    # Carriers and 3PLs.
    "tracker.created": _l("a parcel that is followed now"),
    "tracker.updated": _l("the way of a parcel"),
    "track_alert": _l("the way of a parcel"),
    "refund.successful": _l("a label that was paid back"),
    "fulfillment_order_status": _l("how far the 3PL is"),
    "order.shipped": _l("a shipment"),
    "order.shipment.delivered": _l("a delivery"),
    "order.shipment.exception": _l("a shipment that is held up"),
    "order.shipment.on_hold": _l("a shipment that is on hold"),
    "order.shipment.cancelled": _l("a shipment that was called off"),
}


def about(topic: str) -> str:
    """What a record is about, with the vendor's own name of it behind; one that is not known here is called by that
    name, written so that it can be read."""
    known = _TOPICS.get(topic.lower())
    if known is not None:
        # What the hub itself calls so is no vendor's name.
        return str(known) if topic.isalpha() else _("%(what)s (%(topic)s)", what=known, topic=topic)
    plain = " ".join(re.sub(r"[^\w]|_", " ", topic).lower().split())
    return _("“%(topic)s”", topic=plain) if plain else _("something without a name")
