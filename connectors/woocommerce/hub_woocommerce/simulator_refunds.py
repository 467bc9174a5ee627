"""What a simulated WooCommerce shop refunds when it is asked to: whatever it is told, as often, up to what was paid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from hub.testing.simulator import SimRequest
from hub_woocommerce.simulator_answers import Answer, Refusal, gone
from hub_woocommerce.simulator_shop import Refund

if TYPE_CHECKING:
    from hub_woocommerce.simulator import WooCommerceSimulator

# The ways of paying, and what each can do.
GATEWAYS: Mapping[str, Sequence[str]] = {
    "bacs": ("products",),
    "cod": ("products",),
    "cards": ("products", "refunds"),
}


def _get_gateway(vendor: WooCommerceSimulator, request: SimRequest, id: str) -> Answer:
    if id not in GATEWAYS:
        raise gone("payment_gateway")
    return 200, {"id": id, "title": id, "enabled": True, "method_supports": list(GATEWAYS[id])}, {}


def _post_refund(vendor: WooCommerceSimulator, request: SimRequest, order_id: int) -> Answer:
    order, asked = vendor.shop.orders.get(order_id), request.json()
    if order is None:
        raise gone("shop_order")
    lines = {line.id: line for line in order.lines}
    made = Refund(vendor.next_id(), vendor.second(), asked.get("reason", ""))
    for item in asked.get("line_items", ()):
        money = Decimal(str(item["refund_total"]))
        if item["id"] in lines:
            made.lines.append((vendor.next_id("item"), lines[item["id"]], item["quantity"], money))
        elif item["id"] == order.shipping_line:
            made.shipping += money
    made.beside = _amount(asked, made) - made.amount
    back = sum((each.amount for each in order.refunds), Decimal(0))
    if made.amount <= 0 or back + made.amount > order.total:
        raise _refused("Invalid refund amount.")
    if asked.get("api_refund", True):
        if "refunds" not in GATEWAYS.get(order.payment_method, ()):
            raise _refused("The payment gateway for this order does not support automatic refunds.")
        made.paid = True
    vendor.paid_back(order, made, restock=asked.get("api_restock", True))
    return 201, vendor.shop.refund_json(order, made), {}


def _amount(asked: Mapping[str, Any], made: Refund) -> Decimal:
    return made.amount if asked.get("amount") is None else Decimal(str(asked["amount"]))


def _refused(message: str) -> Refusal:
    """WooCommerce says it with the status of a server that is broken."""
    return Refusal(500, "woocommerce_rest_cannot_create_order_refund", message)


ROUTES: Sequence[tuple[str, str, Callable[..., Answer]]] = (
    ("GET", r"wc/v3/payment_gateways/([\w-]+)", _get_gateway),
    ("POST", r"wc/v3/orders/(\d+)/refunds", _post_refund),
)
