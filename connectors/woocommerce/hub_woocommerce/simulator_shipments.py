"""What a simulated WooCommerce shop keeps of shipments: fulfillments, the parcels of a plugin, and notes on orders."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hub.testing.simulator import SimRequest
from hub_woocommerce.simulator_answers import Answer, Refusal
from hub_woocommerce.simulator_shop import Order

if TYPE_CHECKING:
    from hub_woocommerce.simulator import WooCommerceSimulator

# By region, with where a parcel is followed: as the plugin Shipment Tracking tells them.
PROVIDERS: Mapping[str, Mapping[str, str]] = {
    "Global": {"Aramex": "https://www.aramex.com/track/track-results-new?ShipmentNumber=%1$s"},
    "United Kingdom": {"Royal Mail": "https://www3.royalmail.com/track-your-item#/tracking-results/%1$s"},
    "United States": {"UPS": "https://www.ups.com/track?tracknum=%1$s"},
}

# ---------------------------------------------------------------- fulfillments


def _feature(vendor: WooCommerceSimulator) -> None:
    if not vendor.fulfillments:
        raise Refusal(404, "rest_no_route", "No route was found matching the URL and request method.")


def _order(vendor: WooCommerceSimulator, id: int) -> Order:
    order = vendor.shop.orders.get(id)
    if order is None:
        raise Refusal(404, "woocommerce_rest_order_invalid_id", "Invalid order ID.")
    return order


def _get_fulfillments(vendor: WooCommerceSimulator, request: SimRequest, order_id: int) -> Answer:
    _feature(vendor)
    # In a list, true has become "1".
    return 200, [{**each, "is_fulfilled": "1"} for each in _order(vendor, order_id).fulfillments], {}


def _post_fulfillment(vendor: WooCommerceSimulator, request: SimRequest, order_id: int) -> Answer:
    _feature(vendor)
    order, asked = _order(vendor, order_id), request.json()
    meta = _checked_meta(asked)
    now = f"{vendor.second():%Y-%m-%dT%H:%M:%SZ}"
    made: dict[str, Any] = {
        "id": vendor.next_id("fulfillment"),
        "entity_type": "WC_Order",
        "entity_id": str(order_id),
        "status": asked.get("status", "unfulfilled"),
        "is_fulfilled": asked.get("is_fulfilled", False),
        "date_updated": now,
        "date_deleted": None,
        "meta_data": [{**entry, "id": vendor.next_id("item")} for entry in meta],
    }
    if made["is_fulfilled"]:
        made["meta_data"].append({"key": "_date_fulfilled", "value": now, "id": vendor.next_id("item")})
    order.fulfillments.append(made)
    vendor.order_changed(order)
    return 201, made, {}


def _put_fulfillment(vendor: WooCommerceSimulator, request: SimRequest, order_id: int, id: int) -> Answer:
    _feature(vendor)
    order, asked = _order(vendor, order_id), request.json()
    found = next((each for each in order.fulfillments if each["id"] == id), None)
    if found is None:
        raise _numbered("Fulfillment not found.")
    # What is not sent again is deleted.
    found["meta_data"] = [{**entry, "id": vendor.next_id("item")} for entry in _checked_meta(asked)]
    found.update({name: asked[name] for name in ("status", "is_fulfilled") if name in asked})
    found["date_updated"] = f"{vendor.second():%Y-%m-%dT%H:%M:%SZ}"
    vendor.order_changed(order)
    return 200, found, {}


def _checked_meta(asked: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Items there must be; whether so many were ever ordered, WooCommerce does not ask."""
    if "meta_data" not in asked:
        message = "Missing parameter(s): meta_data"
        raise Refusal(400, "rest_missing_callback_param", message, params=["meta_data"])
    meta: Sequence[Mapping[str, Any]] = asked["meta_data"]
    items = next((entry["value"] for entry in meta if entry["key"] == "_items"), None)
    if not items:
        raise _numbered("The fulfillment should contain at least one item.")
    if any(not isinstance(item.get("item_id"), int) or item.get("qty", 0) <= 0 for item in items):
        raise _numbered("Invalid item.")
    return meta


def _numbered(message: str) -> Refusal:
    """Fulfillments are refused with a code that is a number, and always the same."""
    refusal = Refusal(400, "", message)
    refusal.error["code"] = 0
    return refusal


def _look_up(vendor: WooCommerceSimulator, request: SimRequest, order_id: int) -> Answer:
    """Whose parcel a number may be: nothing that has to do with the order's fulfillments."""
    _feature(vendor)
    number = request.parameter("tracking_number")
    url = f"https://www.ups.com/track?tracknum={quote(number)}"
    known = {"ups": {"url": url, "ambiguity_score": 95}}
    said = {"tracking_number": number, "shipping_provider": "ups", "tracking_url": url, "possibilities": known}
    return 200, said, {}


# ---------------------------------------------------------------- the plugin


def _plugin(vendor: WooCommerceSimulator) -> None:
    if not vendor.tracks_parcels:
        raise Refusal(404, "rest_no_route", "No route was found matching the URL and request method.")


def _get_providers(vendor: WooCommerceSimulator, request: SimRequest) -> Answer:
    _plugin(vendor)
    return 200, PROVIDERS, {}


def _get_trackings(vendor: WooCommerceSimulator, request: SimRequest, order_id: int) -> Answer:
    _plugin(vendor)
    return 200, [_tracking_json(each) for each in _tracked_order(vendor, order_id).trackings], {}


def _post_tracking(vendor: WooCommerceSimulator, request: SimRequest, order_id: int) -> Answer:
    """One more, even if its number is there already."""
    _plugin(vendor)
    order, asked = _tracked_order(vendor, order_id), request.json()
    if not asked.get("tracking_number"):
        message = "Missing parameter(s): tracking_number"
        raise Refusal(400, "rest_missing_callback_param", message, params=["tracking_number"])
    sent = asked.get("date_shipped") or f"{vendor.second():%Y-%m-%d}"
    made = {
        "tracking_provider": asked.get("tracking_provider", ""),
        "custom_tracking_provider": asked.get("custom_tracking_provider", ""),
        "custom_tracking_link": asked.get("custom_tracking_link", ""),
        "tracking_number": asked["tracking_number"],
        "date_shipped": str(int(datetime.fromisoformat(sent).replace(tzinfo=UTC).timestamp())),
        "tracking_id": hashlib.md5(f"{vendor.next_id('item')}".encode(), usedforsecurity=False).hexdigest(),
    }
    order.trackings.append(made)
    vendor.order_changed(order)
    return 201, _tracking_json(made), {}


def _delete_tracking(vendor: WooCommerceSimulator, request: SimRequest, order_id: int, id: str) -> Answer:
    _plugin(vendor)
    order = _tracked_order(vendor, order_id)
    found = next((each for each in order.trackings if each["tracking_id"] == id), None)
    if found is None:
        raise Refusal(404, "woocommerce_rest_order_shipment_tracking_invalid_id", "Invalid shipment tracking ID.")
    order.trackings.remove(found)
    vendor.order_changed(order)
    return 200, _tracking_json(found), {}


def _tracked_order(vendor: WooCommerceSimulator, id: int) -> Order:
    if id not in vendor.shop.orders:
        raise Refusal(404, "woocommerce_rest_shop_order_invalid_id", "Invalid order ID.")
    return vendor.shop.orders[id]


def _tracking_json(tracking: Mapping[str, str]) -> dict[str, str]:
    sent = datetime.fromtimestamp(int(tracking["date_shipped"]), UTC)
    return {
        "tracking_id": tracking["tracking_id"],
        "tracking_provider": tracking["tracking_provider"] or tracking["custom_tracking_provider"],
        "tracking_link": tracking["custom_tracking_link"],
        "tracking_number": tracking["tracking_number"],
        "date_shipped": f"{sent:%Y-%m-%d}",
    }


# ---------------------------------------------------------------- notes


def _get_notes(vendor: WooCommerceSimulator, request: SimRequest, order_id: int) -> Answer:
    return 200, _order(vendor, order_id).notes[::-1], {}


def _post_note(vendor: WooCommerceSimulator, request: SimRequest, order_id: int) -> Answer:
    order, asked = _order(vendor, order_id), request.json()
    if "note" not in asked:
        raise Refusal(400, "rest_missing_callback_param", "Missing parameter(s): note", params=["note"])
    at = vendor.second().replace(tzinfo=None).isoformat()
    made = {
        "id": vendor.next_id("note"),
        "author": "WooCommerce",
        "date_created": at,
        "date_created_gmt": at,
        "note": asked["note"],
        "customer_note": asked.get("customer_note", False),
    }
    order.notes.append(made)
    return 201, made, {}


ROUTES: Sequence[tuple[str, str, Callable[..., Answer]]] = (
    ("GET", r"wc/v3/orders/(\d+)/fulfillments", _get_fulfillments),
    ("POST", r"wc/v3/orders/(\d+)/fulfillments", _post_fulfillment),
    ("PUT POST PATCH", r"wc/v3/orders/(\d+)/fulfillments/(\d+)", _put_fulfillment),
    ("GET", r"wc/v3/orders/(\d+)/fulfillments/lookup", _look_up),
    ("GET", r"wc/v3/orders/(\d+)/notes", _get_notes),
    ("POST", r"wc/v3/orders/(\d+)/notes", _post_note),
    ("GET", r"wc-shipment-tracking/v3/shipment-trackings/providers", _get_providers),
    ("GET", r"wc-shipment-tracking/v3/orders/(\d+)/shipment-trackings", _get_trackings),
    ("POST", r"wc-shipment-tracking/v3/orders/(\d+)/shipment-trackings", _post_tracking),
    ("DELETE", r"wc-shipment-tracking/v3/orders/(\d+)/shipment-trackings/([0-9a-f]+)", _delete_tracking),
)
