"""What a simulated WooCommerce shop says of itself: its versions and statuses, its units, its webhooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hub.testing.simulator import SimRequest
from hub_woocommerce.simulator_answers import Answer, Refusal, choice, gone
from hub_woocommerce.simulator_shop import STATUSES, Webhook

if TYPE_CHECKING:
    from hub_woocommerce.simulator import WooCommerceSimulator

WEBHOOK_STATUSES = ("all", "active", "paused", "disabled")
FIRST_WITH_STATUSES = 9  # from this WooCommerce on, it tells its statuses without counting orders


def _get_status(vendor: WooCommerceSimulator, request: SimRequest) -> Answer:
    site = vendor.shop.site
    environment = {"home_url": site, "site_url": site, "version": vendor.version, "wp_version": "7.0.4"}
    features = ["analytics", *(["fulfillments"] if vendor.fulfillments else [])]
    settings = {
        "currency": vendor.shop.currency,
        "number_of_decimals": 2,
        "HPOS_enabled": vendor.hpos,
        "enabled_features": features,
    }
    return 200, {"environment": environment, "settings": settings}, {}


def _named_statuses(vendor: WooCommerceSimulator) -> dict[str, str]:
    own = [status for status in STATUSES if status not in ("auto-draft", "checkout-draft")]
    return {**{status: status.replace("-", " ").capitalize() for status in own}, **vendor.statuses}


def _get_statuses(vendor: WooCommerceSimulator, request: SimRequest) -> Answer:
    if int(vendor.version.partition(".")[0]) < FIRST_WITH_STATUSES:
        raise Refusal(404, "rest_no_route", "No route was found matching the URL and request method.")
    return 200, [{"slug": slug, "name": name} for slug, name in _named_statuses(vendor).items()], {}


def _get_totals(vendor: WooCommerceSimulator, request: SimRequest) -> Answer:
    orders = [order.status for order in vendor.shop.orders.values()]
    named = _named_statuses(vendor).items()
    return 200, [{"slug": slug, "name": name, "total": orders.count(slug)} for slug, name in named], {}


def _get_weight_unit(vendor: WooCommerceSimulator, request: SimRequest) -> Answer:
    return 200, {"id": "woocommerce_weight_unit", "label": "Weight unit", "value": vendor.weight_unit}, {}


def _get_currency(vendor: WooCommerceSimulator, request: SimRequest) -> Answer:
    code = vendor.shop.currency
    return 200, {"code": code, "name": code, "symbol": code, "_links": {}}, {}


def _get_webhooks(vendor: WooCommerceSimulator, request: SimRequest) -> Answer:
    status = choice(request, "status", "all", WEBHOOK_STATUSES)
    rows = [webhook for webhook in vendor.shop.webhooks.values() if status in ("all", webhook.status)]
    return vendor.page_of(request, rows, vendor.shop.webhook_json, ("date", "id", "title"))


def _post_webhook(vendor: WooCommerceSimulator, request: SimRequest) -> Answer:
    asked = request.json()
    for name in ("topic", "delivery_url"):
        if not asked.get(name):
            raise Refusal(400, "rest_missing_callback_param", f"Missing parameter(s): {name}", params=[name])
    webhook = Webhook(
        vendor.next_id("webhook"),
        asked["topic"],
        asked["delivery_url"],
        asked.get("secret", ""),
        asked.get("name", ""),
        asked.get("status", "active"),
        vendor.second(),
    )
    vendor.shop.webhooks[webhook.id] = webhook
    ping = {"Content-Type": "application/x-www-form-urlencoded"}
    vendor.deliver(webhook.delivery_url, ping, f"webhook_id={webhook.id}".encode())
    return 201, vendor.shop.webhook_json(webhook), {}


def _put_webhook(vendor: WooCommerceSimulator, request: SimRequest, id: int) -> Answer:
    webhook, asked = vendor.shop.webhooks.get(id), request.json()
    if webhook is None:
        raise gone("shop_webhook")
    if asked.get("status", webhook.status) != webhook.status:
        webhook.status, webhook.failures = asked["status"], 0
    webhook.secret = asked.get("secret", webhook.secret)
    webhook.modified = vendor.second()
    return 200, vendor.shop.webhook_json(webhook), {}


def _delete_webhook(vendor: WooCommerceSimulator, request: SimRequest, id: int) -> Answer:
    if id not in vendor.shop.webhooks:
        raise gone("shop_webhook")
    if request.parameter("force") not in ("true", "1"):
        message = "Webhooks do not support trashing."
        raise Refusal(501, "woocommerce_rest_trash_not_supported", message)
    return 200, vendor.shop.webhook_json(vendor.shop.webhooks.pop(id)), {}


ROUTES: Sequence[tuple[str, str, Callable[..., Answer]]] = (
    ("GET", r"wc/v3/system_status", _get_status),
    ("GET", r"wc/v3/data/currencies/current", _get_currency),
    ("GET", r"wc/v3/webhooks", _get_webhooks),
    ("POST", r"wc/v3/webhooks", _post_webhook),
    ("PUT POST PATCH", r"wc/v3/webhooks/(\d+)", _put_webhook),
    ("GET", r"wc/v3/orders/statuses", _get_statuses),
    ("GET", r"wc/v3/reports/orders/totals", _get_totals),
    ("GET", r"wc/v3/settings/products/woocommerce_weight_unit", _get_weight_unit),
    ("DELETE", r"wc/v3/webhooks/(\d+)", _delete_webhook),
)
