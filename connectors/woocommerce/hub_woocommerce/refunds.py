"""Cancelling orders, and giving money back.

WooCommerce has no key by which it would know a request again, and refunds whatever it is asked to as often as it is
asked. So our reference ends the reason of each refund: it is looked for before anything is sent. What WooCommerce does
not check (units, shipping) is checked here first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from hub.connector import EffectResult
from hub.core.model import Money, Order, OrderStatus, minor_digits
from hub.core.shipping import OrderCancellation, RefundRequest
from hub.errors import NotFound, Rejected, Unavailable
from hub_woocommerce.api import one_of, said
from hub_woocommerce.orders import Orders

_REFUSED = "woocommerce_rest_cannot_create_order_refund"
_OVER = {
    OrderStatus.FULFILLED: "is completed",
    OrderStatus.REFUNDED: "is refunded",
    OrderStatus.REMOVED: "is in the bin",
}


class Refunds(Orders):
    """Cancels orders and gives money back."""

    # --- cancelling

    def cancel_order(self, cancellation: OrderCancellation, key: str) -> EffectResult:
        order = self._as_it_stands(cancellation.order_external_id)
        if order.status is OrderStatus.CANCELLED:
            return _cancelled(order)
        if order.status in _OVER:
            raise Rejected(f"Order {order.number} {_OVER[order.status]} in WooCommerce: it cannot be cancelled.")
        if any(line.fulfilled for line in order.lines):
            raise Rejected(f"A part of order {order.number} is shipped, says WooCommerce: it cannot be cancelled.")
        self._call("PUT", f"orders/{order.external_id}", body={"status": "cancelled"})
        return _cancelled(order)

    def find_cancel_order(self, cancellation: OrderCancellation, key: str) -> EffectResult | None:
        order = self._as_it_stands(cancellation.order_external_id)
        return _cancelled(order) if order.status is OrderStatus.CANCELLED else None

    def _as_it_stands(self, external_id: str) -> Order:
        return self.read_order(self._order_record(self._order(external_id)))

    # --- giving money back

    def refund(self, refund: RefundRequest, key: str) -> EffectResult:
        raw = self._order(refund.order_external_id)
        earlier = self._refunds(raw)
        if found := self._found(refund, raw, earlier):
            return found
        _check(refund, raw, earlier)
        body = {
            "amount": _text(refund.amount),
            "reason": f"{refund.note[:200]} {_mark(refund)}".strip(),
            "api_refund": self._pays_back(raw),
            "api_restock": refund.restock,
            "line_items": [*_lines(refund, raw), *_shipping(refund, raw)],
        }
        path = f"orders/{raw['id']}/refunds"
        answer = self._ask("POST", path, body=body, expect=(401, 403, 404, 500))
        if answer.status == 500:
            code, message = said(answer)
            if code == _REFUSED:
                raise Rejected(
                    f"WooCommerce gives nothing back: {message.rstrip('.')}. Look at the order there, and at your "
                    "payment provider, before you try again.",
                    code,
                )
            raise Unavailable("WooCommerce broke off while it gave money back. It will be looked at again.")
        if answer.status >= 400:
            raise self._refusal(answer)
        return _made(one_of(answer), raw)

    def find_refund(self, refund: RefundRequest, key: str) -> EffectResult | None:
        raw = self._order(refund.order_external_id)
        return self._found(refund, raw, self._refunds(raw))

    def _found(
        self, refund: RefundRequest, raw: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]]
    ) -> EffectResult | None:
        found = _ours(refund, raw, earlier)
        if found and found.details["by_hand"] and self._pays_back(raw):
            # It is noted first. Its payment provider may still be at work, or the shop broke off in between.
            return EffectResult(found.reference, {**found.details, "unsure": True})
        return found

    def _pays_back(self, raw: Mapping[str, Any]) -> bool:
        """Whether the order's way of paying can give money back by itself."""
        method = str(raw.get("payment_method") or "")
        if not re.fullmatch(r"[\w-]+", method, re.ASCII):
            return False
        try:
            gateway = one_of(self._call("GET", f"payment_gateways/{method}"))
        except NotFound:
            return False  # a plugin that is not there any more
        return "refunds" in (gateway.get("method_supports") or ())


# ---------------------------------------------------------------- what may be given back


def _check(refund: RefundRequest, raw: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]]) -> None:
    """Refuse what WooCommerce would take without a word. Raises Rejected."""
    number = raw.get("number") or raw["id"]
    if refund.amount.currency != raw.get("currency"):
        raise Rejected(f"Order {number} is in {raw.get('currency')}, not in {refund.amount.currency}.")
    left = _decimal(raw.get("total")) - sum((_decimal(each.get("amount")) for each in earlier), Decimal(0))
    if refund.amount.amount > left:
        raise Rejected(
            f"WooCommerce can give back {Money(left, refund.amount.currency)} of order {number}, not {refund.amount}."
        )
    lines = {str(line["id"]): line for line in _rows(raw, "line_items")}
    for wanted in refund.lines:
        line = lines.get(wanted.line_external_id)
        if line is None:
            raise Rejected(f"Order {number} has no line {wanted.line_external_id[:40]} in WooCommerce.")
        units = int(line.get("quantity") or 0) - _units(wanted.line_external_id, earlier)
        if wanted.quantity > units:
            raise Rejected(f"Of “{line.get('name')}” WooCommerce can refund {units}, not {wanted.quantity}.")
    if refund.shipping is not None:
        paid = sum((_gross(line) for line in _rows(raw, "shipping_lines")), Decimal(0))
        back = sum((_gross(line) for each in earlier for line in _rows(each, "shipping_lines")), Decimal(0))
        if refund.shipping.amount > paid + back:  # what was given back is below zero
            most = Money(paid + back, refund.shipping.currency)
            raise Rejected(f"WooCommerce can give back {most} of the shipping, not {refund.shipping}.")


def _units(line: str, earlier: Iterable[Mapping[str, Any]]) -> int:
    """Units of a line that were refunded before."""
    units = 0
    for refund in earlier:
        for each in _rows(refund, "line_items"):
            of = next(
                (str(m.get("value")) for m in _rows(each, "meta_data") if m.get("key") == "_refunded_item_id"), ""
            )
            if of == line:
                units += abs(int(each.get("quantity") or 0))
    return units


# ---------------------------------------------------------------- what is sent


def _lines(refund: RefundRequest, raw: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    lines = {str(line["id"]): line for line in _rows(raw, "line_items")}
    for wanted in refund.lines:
        line = lines[wanted.line_external_id]
        yield {"id": line["id"], "quantity": wanted.quantity, **_parted(line, wanted.amount)}


def _shipping(refund: RefundRequest, raw: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    left = refund.shipping.amount if refund.shipping else Decimal(0)
    for line in _rows(raw, "shipping_lines"):
        if some := min(left, _gross(line)):
            yield {"id": line["id"], "quantity": 0, **_parted(line, Money(some, refund.amount.currency))}
            left -= some


def _parted(line: Mapping[str, Any], amount: Money) -> dict[str, Any]:
    """An amount as WooCommerce takes it: without tax, and the tax by its rates, shared out as the line has it."""
    gross = _gross(line)
    taxes = [each for each in _rows(line, "taxes") if _decimal(each.get("total"))]
    if not gross or not taxes:
        return {"refund_total": _text(amount)}
    step = Decimal(1).scaleb(-minor_digits(amount.currency))

    def share(of: Any) -> Decimal:
        return (amount.amount * _decimal(of) / gross).quantize(step, ROUND_HALF_UP)

    by_rate = {each["id"]: share(each.get("total")) for each in taxes}
    net = amount.amount - sum(by_rate.values(), Decimal(0))
    return {
        "refund_total": _text(Money(net, amount.currency)),
        "refund_tax": [
            {"id": id, "refund_total": _text(Money(tax, amount.currency))} for id, tax in by_rate.items() if tax
        ],
    }


# ---------------------------------------------------------------- what is found


def _cancelled(order: Order) -> EffectResult:
    return EffectResult(order.external_id, {"cancelled": True})


def _mark(refund: RefundRequest) -> str:
    return f"[{refund.reference}]"


def _ours(refund: RefundRequest, raw: Mapping[str, Any], earlier: Iterable[Mapping[str, Any]]) -> EffectResult | None:
    mark = _mark(refund)
    found = next((each for each in earlier if str(each.get("reason") or "").endswith(mark)), None)
    return _made(found, raw) if found else None


def _made(made: Mapping[str, Any], raw: Mapping[str, Any]) -> EffectResult:
    by_hand = not made.get("refunded_payment")
    details = {"amount": str(made.get("amount") or ""), "currency": str(raw["currency"]), "by_hand": by_hand}
    return EffectResult(str(made["id"]), details)


def _rows(of: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    rows = of.get(name)
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


def _gross(line: Mapping[str, Any]) -> Decimal:
    return _decimal(line.get("total")) + _decimal(line.get("total_tax"))


def _decimal(value: Any) -> Decimal:
    return Decimal(str(value or 0))


def _text(amount: Money) -> str:
    return str(amount).partition(" ")[0]
