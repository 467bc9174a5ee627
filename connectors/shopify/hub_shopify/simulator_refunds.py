"""The simulated shop's refunds and cancellations: what Shopify suggests, what it refuses, and the job that cancels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from graphql import GraphQLError

from hub_shopify.simulator_fulfillment import FulfillmentApi
from hub_shopify.simulator_graphql import BY_HAND, Info, _connection, legacy
from hub_shopify.simulator_model import Line, Order, Refund, cents, gid
from hub_shopify.simulator_stock import KEY_WORDS, key_of

if TYPE_CHECKING:
    from hub_shopify.simulator import ShopifySimulator

MOST_NOTE = 255

_Units = list[tuple[Line, int, str]]


class RefundApi(FulfillmentApi):
    """What the API shows of refunds, and the mutations that cancel and give back."""

    def __init__(self, shop: ShopifySimulator) -> None:
        super().__init__(shop)
        self._jobs: list[tuple[datetime, Order, bool, bool]] = []

    # --- reading

    def _order(self, order: Order) -> dict[str, Any]:
        def suggested(info: Info, refundLineItems: Any = None, shippingAmount: Any = None, **_: Any) -> dict[str, Any]:
            return self._suggested(order, refundLineItems or [], Decimal(shippingAmount or 0))

        return {**super()._order(order), "suggestedRefund": suggested}

    def _suggested(self, order: Order, asked: Sequence[Mapping[str, Any]], shipping: Decimal) -> dict[str, Any]:
        items = self._items(order, asked)
        amount = shipping + sum((_share(line, quantity) for line, quantity, _ in items), Decimal(0))
        left = sum((left for _, left in order.refundable), Decimal(0))
        transactions = []
        for paid, (gateway, most) in zip(self._transactions(order), order.refundable, strict=True):
            transactions.append(
                {
                    "gateway": gateway,
                    "amountSet": self._money(min(amount, most)),
                    "maximumRefundableSet": self._money(most),
                    "parentTransaction": paid,
                }
            )
            amount -= min(amount, most)
        most_back = self._money(left)
        if order.presentment:
            currency, rate = order.presentment
            most_back["presentmentMoney"] = {"amount": f"{cents(left * rate):f}", "currencyCode": currency}
        return {
            "amountSet": self._money(shipping + sum((_share(line, units) for line, units, _ in items), Decimal(0))),
            "maximumRefundableSet": most_back,
            "shipping": {
                "amountSet": self._money(shipping),
                "maximumRefundableSet": self._money(order.shipping - _shipping_back(order)),
            },
            "refundLineItems": [
                {
                    "quantity": quantity,
                    "restockType": how,
                    "lineItem": self._line(line),
                    "location": None if how == "NO_RESTOCK" else self._location(line.location),
                }
                for line, quantity, how in items
            ],
            "suggestedTransactions": transactions,
        }

    def _refund(self, refund: Refund) -> dict[str, Any]:
        def transactions(info: Info, **paging: Any) -> dict[str, Any]:
            order = next(each for each in self._shop.sold.values() if refund in each.refunds)
            back = {
                "kind": "REFUND",
                "status": "SUCCESS",
                "gateway": order.gateways[0],
                "manualPaymentGateway": order.gateways[0] in BY_HAND,
                "id": gid("OrderTransaction", refund.id),
                "amountSet": self._money(refund.amount),
            }
            return _connection([back] if refund.amount else [], lambda each: [refund.id], lambda each: each, paging)

        return {**super()._refund(refund), "transactions": transactions}

    # --- cancelling

    def orderCancel(
        self,
        info: Info,
        orderId: str,
        reason: str,
        restock: bool,
        refundMethod: Mapping[str, Any] | None = None,
        staffNote: str | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        self._need("write_orders")
        order = self._shop.sold.get(legacy(orderId, "Order"))
        if order is None:
            return _not_cancelled("NOT_FOUND", "Order does not exist")
        if len(staffNote or "") > MOST_NOTE:
            return _not_cancelled("INVALID", f"Staff note is too long (maximum is {MOST_NOTE} characters)")
        if order.cancelled_at or any(job[1] is order for job in self._jobs):
            return _not_cancelled("INVALID", "Cannot cancel an order that has already been canceled")
        if any(line.fulfilled for line in order.lines):
            return _not_cancelled("INVALID", "Cannot cancel an order with fulfillments")
        if any(each.status in ("OPEN", "REQUESTED") for each in order.returns):
            return _not_cancelled("INVALID", "Cannot cancel an order that has active returns")
        order.staff_note = staffNote or ""
        refunds = bool((refundMethod or {}).get("originalPaymentMethodsRefund"))
        self._jobs.append((self._shop.now() + self._shop.cancel_lag, order, refunds, restock))
        return {"job": {"id": gid("Job", next(self._shop._ids)), "done": False}, "orderCancelUserErrors": []}

    def finish_jobs(self) -> None:
        """Cancel what is to be cancelled by now."""
        due = [job for job in self._jobs if job[0] <= self._shop.now()]
        self._jobs = [job for job in self._jobs if job not in due]
        for _, order, refunds, restock in due:
            self._shop.cancel(str(order.id), refund=refunds, restock=restock)

    # --- giving money back

    def refundCreate(self, info: Info, input: dict[str, Any]) -> dict[str, Any]:
        self._need("write_orders")
        key = key_of(info)
        if code := self._key_refused(key, input):
            return {"userErrors": [{"field": None, "message": KEY_WORDS[code]}]}
        return self._once(key, input, lambda: self._give_back(input))

    def _give_back(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        shop = self._shop
        order = shop.sold.get(legacy(asked["orderId"], "Order"))
        if order is None:
            return _refused(["orderId"], "Order does not exist")
        items = self._items(order, asked.get("refundLineItems") or [])
        units: Counter[int] = Counter()
        for line, quantity, how in items:
            units[line.id] += quantity
            if units[line.id] > line.current or quantity < 1:
                return _refused(["refundLineItems"], "Quantity cannot refund more items than were purchased")
            if how == "CANCEL" and quantity > line.open:
                return _refused(["refundLineItems"], "Quantity cannot remove more than the unfulfilled quantity")
        shipping = Decimal((asked.get("shipping") or {}).get("amount") or 0)
        if shipping > order.shipping - _shipping_back(order):
            return _refused(["shipping"], "Shipping amount cannot be more than what was paid for shipping")
        transactions = asked.get("transactions") or []
        known = {paid["id"]: most for paid, (_, most) in zip(self._transactions(order), order.refundable, strict=True)}
        for each in transactions:
            if each["kind"] != "REFUND" or each.get("parentId") not in known:
                return _refused(["transactions"], "Transactions must name the payment they give back")
            if Decimal(each["amount"]) > known[each["parentId"]] and not asked["allowOverRefunding"]:
                return _refused(["transactions"], "Refund amount is greater than net payment received")
        amount = sum((Decimal(each["amount"]) for each in transactions), Decimal(0))
        if not items and not amount:
            return _refused([], "Refund must have items, shipping or an amount")
        made = Refund(next(shop._ids), shop._second(), amount, asked.get("note") or "", [], shipping)
        made.notified = int(bool(asked.get("notify")))
        for line, quantity, how in items:
            made.items += self._take_off(line, quantity, how)
        back = order.refunded + amount
        if amount:
            order.financial = "REFUNDED" if back >= order.total else "PARTIALLY_REFUNDED"
        shop.paid_back(order, made)
        return {"refund": self._refund(made), "order": self._order(order), "userErrors": []}

    def _take_off(self, line: Line, quantity: int, how: str) -> _Units:
        """Units leave an order: open ones first, unless they are said to have come back."""
        open_ones = 0 if how == "RETURN" else min(quantity, line.open)
        line.removed += open_ones
        line.returned += quantity - open_ones
        if line.variant:
            back = 0 if how == "NO_RESTOCK" else quantity
            self._shop._move(line.variant, line.location, available=back, committed=-open_ones)
        return [(line, quantity, how.lower())]

    def _items(self, order: Order, asked: Sequence[Mapping[str, Any]]) -> _Units:
        lines = {gid("LineItem", line.id): line for line in order.lines}
        if unknown := [each["lineItemId"] for each in asked if each["lineItemId"] not in lines]:
            raise GraphQLError(f"Invalid global id '{unknown[0]}'")
        return [
            (lines[each["lineItemId"]], each["quantity"], each.get("restockType") or "NO_RESTOCK") for each in asked
        ]


def _share(line: Line, quantity: int) -> Decimal:
    return cents((line.total + line.tax) * quantity / line.quantity)


def _shipping_back(order: Order) -> Decimal:
    return sum((each.shipping for each in order.refunds), Decimal(0))


def _not_cancelled(code: str, words: str) -> dict[str, Any]:
    return {"orderCancelUserErrors": [{"code": code, "field": ["orderId"], "message": words}]}


def _refused(field: list[str], words: str) -> dict[str, Any]:
    return {"userErrors": [{"field": field, "message": words}]}
