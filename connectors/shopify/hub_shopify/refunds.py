"""Cancelling orders in a shop, and giving money back.

Shopify cancels behind its answer, so what counts is whether the order is cancelled. A refund has a key by which Shopify
knows it again for a day, and carries our reference in its note, by which we do for ever: it is looked for there before
anything is sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from hub.connector import EffectResult
from hub.core.model import Money
from hub.core.shipping import CancelReason, OrderCancellation, RefundRequest
from hub.errors import NotFound, Rejected, Unavailable
from hub_shopify import documents
from hub_shopify.admin_api import DELETED, AdminApi, gid

MOST_NOTE = 255

_REASONS = {
    CancelReason.CUSTOMER: "CUSTOMER",
    CancelReason.FRAUD: "FRAUD",
    CancelReason.STOCK: "INVENTORY",
    CancelReason.PAYMENT: "DECLINED",
    CancelReason.MISTAKE: "STAFF",
    CancelReason.OTHER: "OTHER",
}
# What is said of a key has no code.
_SAME_KEY_AGAIN = "currently in progress"
_OTHER_DETAILS = "idempotency key cannot be used"


class Refunds:
    """Cancellations and refunds in the shop that ``api`` talks to."""

    def __init__(self, api: AdminApi) -> None:
        self._api = api

    # --- cancelling

    def cancel(self, cancellation: OrderCancellation) -> EffectResult:
        """Cancel an order; one that is cancelled already is done."""
        if found := self.find_cancelled(cancellation):
            return found
        asked = {
            "id": gid("Order", cancellation.order_external_id),
            "reason": _REASONS[cancellation.reason],
            "refund": {"originalPaymentMethodsRefund": cancellation.refund},
            "restock": cancellation.restock,
            "notify": cancellation.notify,
            "note": cancellation.note[:MOST_NOTE] or None,
        }
        answer = self._api.ask(documents.CANCEL_ORDER, **asked)["orderCancel"]
        # It may be cancelled although there is an error: by an earlier attempt, or by somebody else.
        if found := self.find_cancelled(cancellation):
            return found
        if answer and answer["orderCancelUserErrors"]:
            error = answer["orderCancelUserErrors"][0]
            raise Rejected(
                f"Shopify does not cancel this order: {error['message'].rstrip('.')}. Look at the order in Shopify.",
                code=error["code"] or "",
            )
        raise Unavailable("Shopify is still cancelling the order. It will be looked at again.")

    def find_cancelled(self, cancellation: OrderCancellation) -> EffectResult | None:
        """Whether the order is cancelled by now."""
        order = self._api.ask(documents.CANCELLED, id=gid("Order", cancellation.order_external_id))["order"]
        if order is None:
            raise NotFound(DELETED)
        return EffectResult(cancellation.order_external_id, {"cancelled": True}) if order["cancelledAt"] else None

    # --- giving money back

    def refund(self, refund: RefundRequest, key: str) -> EffectResult:
        """Give so much back, over the payments it came by, the first ones first. Never more than is left of them."""
        if found := self.find_refund(refund):
            return found
        order = gid("Order", refund.order_external_id)
        lines = self._lines(refund)
        shipping = _text(refund.shipping) if refund.shipping else None
        asked = self._api.ask(documents.SUGGESTED_REFUND, id=order, lines=lines, shipping=shipping)["order"]
        if asked is None or asked["suggestedRefund"] is None:
            raise NotFound(DELETED)
        suggested = asked["suggestedRefund"]
        _check(refund, suggested)
        places = {
            (each["lineItem"]["id"], each["restockType"]): each["location"] and each["location"]["id"]
            for each in suggested["refundLineItems"]
        }
        for line in lines:
            place = places.get((line["lineItemId"], line["restockType"]))
            if place and line["restockType"] != "NO_RESTOCK":
                line["locationId"] = place
        call: dict[str, Any] = {
            "orderId": order,
            "note": _note(refund),
            "notify": refund.notify,
            "refundLineItems": lines,
            "transactions": _payments(refund.amount, order, suggested["suggestedTransactions"]),
        }
        if shipping:
            call["shipping"] = {"amount": shipping}
        answer = self._api.ask(documents.REFUND, input=call, key=key)["refundCreate"]
        if answer and answer["refund"] and not answer["userErrors"]:
            return _made(answer["refund"])
        words = answer["userErrors"][0]["message"] if answer and answer["userErrors"] else ""
        if not words or _SAME_KEY_AGAIN in words or _OTHER_DETAILS in words:
            raise Unavailable("Shopify did not say whether it gave the money back. It will be looked at again.")
        raise Rejected(f"Shopify gives nothing back: {words.rstrip('.')}. Look at the order in Shopify.")

    def find_refund(self, refund: RefundRequest) -> EffectResult | None:
        """The refund with our reference in its note."""
        order = self._api.ask(documents.REFUND_NOTES, id=gid("Order", refund.order_external_id))["order"]
        if order is None:
            raise NotFound(DELETED)
        mark = _mark(refund)
        id = next((each["id"] for each in order["refunds"] if (each["note"] or "").endswith(mark)), None)
        return _made(self._api.ask(documents.REFUND_MADE, id=id)["node"]) if id else None

    def _lines(self, refund: RefundRequest) -> list[dict[str, Any]]:
        """The lines as Shopify takes them: what was not shipped yet first. Raises Rejected for more than there is."""
        wanted = {gid("LineItem", each.line_external_id): each.quantity for each in refund.lines}
        if len(wanted) > documents.REFUND_CALL:
            raise Rejected(f"Shopify refunds {documents.REFUND_CALL} lines at once. Choose fewer.")
        nodes = self._api.ask(documents.REFUNDABLE_LINES, ids=list(wanted))["nodes"] if wanted else []
        found = {node["id"]: node for node in nodes if node}
        lines = []
        for id, quantity in wanted.items():
            node = found.get(id)
            left = node["refundableQuantity"] if node else 0
            if node is None or left < quantity:
                name = f"“{node['name']}”" if node else f"line {id.rpartition('/')[2]}"
                raise Rejected(
                    f"Of {name} Shopify can refund {left}, not {quantity}. Fetch the order, and choose anew."
                )
            unshipped = min(quantity, node["unfulfilledQuantity"])
            for units, how in ((unshipped, "CANCEL"), (quantity - unshipped, "RETURN")):
                if units:
                    kind = how if refund.restock else "NO_RESTOCK"
                    lines.append({"lineItemId": id, "quantity": units, "restockType": kind})
        return lines if refund.restock else _together(lines)


def _together(lines: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each line once: what is not restocked is the same, shipped or not."""
    units: Counter[str] = Counter()
    for each in lines:
        units[each["lineItemId"]] += each["quantity"]
    return [{"lineItemId": id, "quantity": some, "restockType": "NO_RESTOCK"} for id, some in units.items()]


def _check(refund: RefundRequest, suggested: Mapping[str, Any]) -> None:
    """Refuse what must not be asked for. Raises Rejected."""
    most = suggested["maximumRefundableSet"]
    if most["shopMoney"]["currencyCode"] != most["presentmentMoney"]["currencyCode"]:
        paid_in = most["presentmentMoney"]["currencyCode"]
        raise Rejected(f"The customer paid in {paid_in}: Shopify gives back in that currency. Refund it in Shopify.")
    left = _money(most["shopMoney"])
    if refund.amount.currency != left.currency or refund.amount.amount > left.amount:
        raise Rejected(f"Shopify can give back {left} of this order, not {refund.amount}.")
    if refund.shipping is not None:
        shipping = _money(suggested["shipping"]["maximumRefundableSet"]["shopMoney"])
        if refund.shipping.amount > shipping.amount:
            raise Rejected(f"Shopify can give back {shipping} of the shipping, not {refund.shipping}.")


def _payments(amount: Money, order: str, payments: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """By which payments the money goes back."""
    left, back = amount.amount, []
    for each in payments:
        some = min(
            left, _money(each["maximumRefundableSet"]["shopMoney"]).amount if each["maximumRefundableSet"] else 0
        )
        if some > 0:
            parent = each["parentTransaction"]
            back.append(
                {
                    "orderId": order,
                    "kind": "REFUND",
                    "gateway": each["gateway"],
                    "amount": _text(Money(Decimal(some), amount.currency)),
                    "parentId": parent and parent["id"],
                }
            )
            left -= some
    if left > 0:
        raise Rejected(f"Shopify does not say by which payment {amount} goes back. Refund it in Shopify.")
    return back


def _mark(refund: RefundRequest) -> str:
    return f"[{refund.reference}]"


def _note(refund: RefundRequest) -> str:
    return f"{refund.note[: MOST_NOTE - 40]} {_mark(refund)}".strip()


def _made(node: Mapping[str, Any]) -> EffectResult:
    by_hand = any(each["manualPaymentGateway"] for each in node["transactions"]["nodes"])
    given = node["totalRefundedSet"]["shopMoney"]
    details = {"amount": str(given["amount"]), "currency": given["currencyCode"], "by_hand": by_hand}
    return EffectResult(str(node["legacyResourceId"]), details)


def _money(value: Mapping[str, Any]) -> Money:
    return Money.of(str(value["amount"]), value["currencyCode"])


def _text(amount: Money) -> str:
    return str(amount).partition(" ")[0]
