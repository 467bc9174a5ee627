"""WooCommerce's orders read into the model, with their refunds, shipments, and what add-ons wrote on them.

Only the ``…_gmt`` times are read: the others are in the shop's own time zone and do not say which one that is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from marshmallow import ValidationError, fields, post_load

from hub.connector import Fact, Refetch, Vocabulary
from hub.core.model import (
    Address,
    ChannelShipment,
    Charge,
    ChargeKind,
    Discount,
    Hold,
    HoldReason,
    LineKind,
    LineQuantity,
    Money,
    Order,
    OrderLine,
    OrderStatus,
    Payment,
    Refund,
)
from hub.translation import DecimalNumber, Identifier, Text, Translation, UtcMoment, WholeNumber
from hub_woocommerce.api import moment_of
from hub_woocommerce.meta import Meta, attributes_of, count_of, meta_of, rows_of_shape, text_of

ZERO = Decimal(0)

# ---------------------------------------------------------------- statuses

STATUSES: Mapping[str, OrderStatus] = {
    "auto-draft": OrderStatus.PENDING,
    "checkout-draft": OrderStatus.PENDING,
    "pending": OrderStatus.PENDING,
    "on-hold": OrderStatus.OPEN,
    "processing": OrderStatus.OPEN,
    "completed": OrderStatus.FULFILLED,
    "cancelled": OrderStatus.CANCELLED,
    "failed": OrderStatus.CANCELLED,
    "refunded": OrderStatus.REFUNDED,
    "trash": OrderStatus.REMOVED,
}

# What a status that a plugin adds can stand for.
_MEANINGS: Mapping[str, OrderStatus] = {
    "open": OrderStatus.OPEN,
    "held": OrderStatus.OPEN,
    "waiting": OrderStatus.PENDING,
    "shipped": OrderStatus.FULFILLED,
    "cancelled": OrderStatus.CANCELLED,
}

ORDER_STATUS = "order_status"  # the kind of word that Connector.mappings and Context.mappings know them by

STATUS_WORDS = Vocabulary(
    label="Statuses of orders",
    hint="Plugins add statuses whose names say nothing. Until you say what one stands for, an order in it is to be "
    "shipped if the shop took stock for it, and waits otherwise.",
    choices={
        "open": "To be shipped",
        "held": "Not to be shipped for now; its stock is kept",
        "waiting": "Not agreed yet; no stock is kept",
        "shipped": "Shipped, all of it",
        "cancelled": "Cancelled",
    },
    # Of plugins that are found in many shops, and whose names can mean nothing else.
    usual={"partial-shipped": "open", "shipped": "shipped", "delivered": "shipped"},
)

# Nothing of such an order is shipped any more: it was, or never will be.
_OVER = frozenset({OrderStatus.FULFILLED, OrderStatus.CANCELLED, OrderStatus.REFUNDED, OrderStatus.REMOVED})

_AWAITS_PAYMENT = frozenset({"pending", "on-hold"})

# ---------------------------------------------------------------- what stands in meta data

# Shops without fulfillments keep no units with a shipment. What we tell them we keep on the order, under our reference.
SHIPMENT = "_tallyhub_shipment_"
REFERENCE = "_tallyhub_reference"  # ours, on a fulfillment
_TRACKINGS = "_wc_shipment_tracking_items"  # of the plugin Shipment Tracking, and of others that took after it


def amount() -> DecimalNumber:
    """An amount of money, nothing where it is missing."""
    return DecimalNumber(allow_none=True, load_default=ZERO)


def _optional_moment() -> UtcMoment:
    return UtcMoment(assume_utc=True, allow_none=True, load_default=None)


# ---------------------------------------------------------------- orders


class _Line(Translation):
    id = Identifier(required=True)
    name = Text()
    sku = Text()
    product_id = WholeNumber(allow_none=True, load_default=0)
    variation_id = WholeNumber(allow_none=True, load_default=0)
    quantity = WholeNumber(required=True)
    price = amount()
    total = DecimalNumber(required=True)
    total_tax = amount()
    meta_data = rows_of_shape(Meta)


class _Fee(Translation):
    name = Text()
    total = amount()


class _Coupon(Translation):
    code = Text()
    discount = amount()


class _Shipping(Translation):
    method_title = Text()


class _Address(Translation):
    first_name = Text()
    last_name = Text()
    company = Text()
    address_1 = Text()
    address_2 = Text()
    city = Text()
    state = Text()
    postcode = Text()
    country = Text()
    phone = Text()
    email = Text()


class _RefundSummary(Translation):
    id = Identifier(required=True)
    reason = Text()
    total = DecimalNumber(required=True)


class _RefundLine(Translation):
    quantity = WholeNumber(allow_none=True, load_default=0)
    meta_data = rows_of_shape(Meta)


class _Refund(Translation):
    id = Identifier(required=True)
    reason = Text()
    amount = DecimalNumber(required=True)
    date_created_gmt = _optional_moment()
    line_items = rows_of_shape(_RefundLine)


class _Fulfillment(Translation):
    id = Identifier(required=True)
    is_fulfilled = fields.Raw(allow_none=True)  # true where it was made, "1" in a list
    date_deleted = fields.Raw(allow_none=True)
    meta_data = rows_of_shape(Meta)


class _Order(Translation):
    id = Identifier(required=True)
    number = Text()
    status = Text(required=True)
    currency = Text(required=True)
    created_via = Text()
    date_created_gmt = _optional_moment()
    date_modified_gmt = _optional_moment()
    date_completed_gmt = _optional_moment()
    date_paid_gmt = _optional_moment()
    total = DecimalNumber(required=True)
    total_tax = amount()
    shipping_total = amount()
    payment_method = Text()
    payment_method_title = Text()
    customer_note = Text()
    billing = fields.Nested(_Address, load_default=dict)
    shipping = fields.Nested(_Address, load_default=dict)
    line_items = rows_of_shape(_Line)
    fee_lines = rows_of_shape(_Fee)
    coupon_lines = rows_of_shape(_Coupon)
    shipping_lines = rows_of_shape(_Shipping)
    refunds = rows_of_shape(_RefundSummary)
    meta_data = rows_of_shape(Meta)


class WebhookOrder(_Order):
    """The body of an order webhook. It names refunds but not their lines: then the order is not whole.

    Until it is fetched, units that a refund put back into stock count as not shipped. To say shipped of one that was
    not would take it out of stock for good; the other way round is mended by what is fetched. In a shop that
    ``keeps_fulfillments`` the body tells that some units were shipped, but not which: then it says too little to be
    believed at all.
    """

    def __init__(self, meanings: Mapping[str, str], *, keeps_fulfillments: bool) -> None:
        super().__init__()
        self._meanings = meanings
        self._keeps_fulfillments = keeps_fulfillments

    @post_load
    def make(self, order: Mapping[str, Any], **_: Any) -> Fact:
        if self._keeps_fulfillments and has_fulfillments(order):
            return Refetch("order", order["id"])
        refunds = [
            Refund(external_id=refund["id"], amount=Money(-refund["total"], order["currency"]), reason=refund["reason"])
            for refund in order["refunds"]
        ]
        put_back = {line["id"]: count_of(line, "_restock_refunded_items") for line in order["line_items"]}
        return _order(order, self._meanings, refunds, put_back, (), whole=not refunds)


class FetchedOrder(Translation):
    """The record of a fetched order: ``{"order": …, "refunds": […], "fulfillments": […]}``, each with its lines."""

    order = fields.Nested(_Order, required=True)
    refunds = rows_of_shape(_Refund)
    fulfillments = rows_of_shape(_Fulfillment)

    def __init__(self, meanings: Mapping[str, str]) -> None:
        super().__init__()
        self._meanings = meanings

    @post_load
    def make(self, record: Mapping[str, Any], **_: Any) -> Order:
        order = record["order"]
        refunds = [
            Refund(
                external_id=refund["id"],
                amount=Money(refund["amount"], order["currency"]),
                reason=refund["reason"],
                refunded_at=refund["date_created_gmt"],
                lines=tuple(LineQuantity(line_external_id=of, quantity=n) for of, n in _units_of(refund).items()),
            )
            for refund in record["refunds"]
        ]
        refunded = _units_refunded(record["refunds"], _completed_at(order, self._meanings))
        return _order(order, self._meanings, refunds, refunded, record["fulfillments"], whole=True)


def has_fulfillments(order: Mapping[str, Any]) -> bool:
    """Whether WooCommerce notes on the order that some of it was fulfilled; which units, it tells elsewhere."""
    entries = order.get("meta_data")
    noted = (entry for entry in entries if isinstance(entry, Mapping)) if isinstance(entries, list) else ()
    return any(
        entry.get("key") == "_fulfillment_status" and entry.get("value") not in ("", None, "no_fulfillments")
        for entry in noted
    )


def _completed_at(order: Mapping[str, Any], meanings: Mapping[str, str]) -> datetime | None:
    """When the shop shipped the order. The date stays when an order is opened again, and then means nothing."""
    moment: datetime | None = order["date_completed_gmt"]
    return moment if _status(order, meanings) in _OVER else None


def _units_refunded(refunds: Iterable[Mapping[str, Any]], completed_at: datetime | None) -> dict[str, int]:
    """Units per order line that were refunded before they were shipped: what is refunded later was a return."""
    units: dict[str, int] = {}
    for refund in refunds:
        created = refund["date_created_gmt"]
        if completed_at and created and created > completed_at:
            continue
        for of, quantity in _units_of(refund).items():
            units[of] = units.get(of, 0) + quantity
    return units


def _units_of(refund: Mapping[str, Any]) -> dict[str, int]:
    """Units per order line that one refund is for."""
    units: dict[str, int] = {}
    for line in refund["line_items"]:
        of, quantity = str(meta_of(line, "_refunded_item_id")), abs(line["quantity"] or 0)
        if of and quantity:
            units[of] = units.get(of, 0) + quantity
    return units


def _order(
    order: Mapping[str, Any],
    meanings: Mapping[str, str],
    refunds: Sequence[Refund],
    refunded: Mapping[str, int],
    fulfillments: Sequence[Mapping[str, Any]],
    *,
    whole: bool,
) -> Order:
    currency = order["currency"]
    version = order["date_modified_gmt"] or order["date_created_gmt"]
    if version is None:
        raise ValidationError({"date_modified_gmt": ["Missing."]})
    status = _status(order, meanings)
    # Whoever pays on delivery owes the money, too; but that order is to be shipped, and has its own status.
    paid = order["status"] not in _AWAITS_PAYMENT or order["date_paid_gmt"] is not None
    shipments = _shipments(order, fulfillments)
    told: dict[str, int] = {}
    for line in (line for shipment in shipments if not shipment.cancelled for line in shipment.lines):
        told[line.line_external_id] = told.get(line.line_external_id, 0) + line.quantity
    shipped = status is OrderStatus.FULFILLED or _completed_at(order, meanings) is not None
    called_off = status in _OVER and not shipped
    lines = [
        _line(
            line,
            currency,
            off=line["quantity"] if called_off else refunded.get(line["id"], 0),
            told=told.get(line["id"], 0),
            shipped=shipped,
        )
        for line in order["line_items"]
    ]
    fees = [
        Charge(kind=ChargeKind.FEE, title=fee["name"], amount=Money(fee["total"] or ZERO, currency))
        for fee in order["fee_lines"]
    ]
    return Order(
        external_id=order["id"],
        number=order["number"] or order["id"],
        status=status,
        channel_status=order["status"],
        version=version,
        placed_at=order["date_created_gmt"] or version,
        currency=currency,
        holds_stock=status is OrderStatus.OPEN,
        lines=tuple(lines),
        total=Money(order["total"], currency),
        shipping=Money(order["shipping_total"] or ZERO, currency),
        tax=Money(order["total_tax"] or ZERO, currency),
        # What coupons took off is off the lines already, and every part is without tax, whatever the shop's
        # `prices_include_tax` says: that only tells how its prices were typed in.
        discount=Money.zero(currency),
        fees=Money(sum((fee.amount.amount for fee in fees), ZERO), currency),
        taxes_included=False,
        whole=whole,
        paid=paid,
        customer_name=_name(order["billing"]) or _name(order["shipping"]),
        email=order["billing"].get("email", ""),
        note=order["customer_note"],
        shipping_address=_address(order["shipping"]),
        billing_address=_address(order["billing"]),
        refunds=tuple(refunds),
        shipments=shipments,
        holds=_holds(order, meanings, paid),
        charges=tuple(fees),
        discounts=tuple(
            Discount(code=coupon["code"], amount=Money(coupon["discount"], currency))
            for coupon in order["coupon_lines"]
            if coupon["discount"] and coupon["discount"] > 0
        ),
        payments=_payments(order, currency),
        source=order["created_via"],
        shipping_method=", ".join(each["method_title"] for each in order["shipping_lines"] if each["method_title"]),
        attributes=attributes_of(order),
    )


def _status(order: Mapping[str, Any], meanings: Mapping[str, str]) -> OrderStatus:
    """The shop's status in the hub's words.

    Plugins add statuses whose names say nothing, unless the merchant said what they stand for. Otherwise such an order
    is open only while the shop itself has taken stock for it, which it notes on the line: releasing that stock would
    sell it twice. If it has not, the order waits, and holds nothing.
    """
    known = STATUSES.get(order["status"]) or _MEANINGS.get(_meaning(order, meanings))
    if known is not None:
        return known
    taken = any(meta_of(line, "_reduced_stock") not in ("", "0", None) for line in order["line_items"])
    return OrderStatus.OPEN if taken else OrderStatus.PENDING


def _meaning(order: Mapping[str, Any], meanings: Mapping[str, str]) -> str:
    return meanings.get(order["status"]) or STATUS_WORDS.usual.get(order["status"], "")


def _holds(order: Mapping[str, Any], meanings: Mapping[str, str], paid: bool) -> tuple[Hold, ...]:
    status = order["status"]
    if status == "on-hold":
        reason = HoldReason.MANUAL if paid else HoldReason.PAYMENT
    elif status not in STATUSES and _meaning(order, meanings) == "held":
        reason = HoldReason.MANUAL
    else:
        return ()
    return (Hold(external_id=status, reason=reason, held_by="WooCommerce"),)


def _payments(order: Mapping[str, Any], currency: str) -> tuple[Payment, ...]:
    method = order["payment_method_title"] or order["payment_method"]
    if order["date_paid_gmt"] is None or not order["total"]:
        return ()
    return (Payment(method=method, amount=Money(order["total"], currency)),)


def _line(line: Mapping[str, Any], currency: str, *, off: int, told: int, shipped: bool) -> OrderLine:
    """A line of which ``told`` units are in shipments; ``off`` were refunded, or called off with the whole order."""
    quantity = line["quantity"]
    told = min(told, quantity)  # WooCommerce takes a fulfillment of more than was ordered
    removed = min(off, quantity - told) if quantity > told else 0
    listing = line["variation_id"] or line["product_id"]
    return OrderLine(
        external_id=line["id"],
        listing_external_id=str(listing) if listing else None,
        sku=line["sku"],
        title=line["name"],
        quantity=quantity,
        fulfilled=quantity - removed if shipped else told,
        removed=removed,
        unit_price=Money(line["price"] or ZERO, currency),
        total=Money(line["total"], currency),
        tax=Money(line["total_tax"] or ZERO, currency),
        kind=LineKind.PRODUCT if listing else LineKind.CUSTOM,
        attributes=attributes_of(line),
    )


def _name(address: Mapping[str, str]) -> str:
    return f"{address.get('first_name', '')} {address.get('last_name', '')}".strip()


def _address(address: Mapping[str, str]) -> Address:
    return Address(
        name=_name(address),
        company=address.get("company", ""),
        line1=address.get("address_1", ""),
        line2=address.get("address_2", ""),
        city=address.get("city", ""),
        region=address.get("state", ""),
        postcode=address.get("postcode", ""),
        country=address.get("country", ""),
        phone=address.get("phone", ""),
    )


# ---------------------------------------------------------------- shipments


def _shipments(order: Mapping[str, Any], fulfillments: Sequence[Mapping[str, Any]]) -> tuple[ChannelShipment, ...]:
    """What the shop knows to have left: its fulfillments, what we noted on the order, and what a plugin tracks."""
    ordered = {line["id"] for line in order["line_items"]}
    found = [_fulfilled(each, ordered) for each in fulfillments if each.get("is_fulfilled") in (True, 1, "1")]
    for entry in order["meta_data"]:
        if entry["key"].startswith(SHIPMENT) and (noted := _noted(entry, ordered)):
            found.append(noted)
    numbers = {number for shipment in found for number in shipment.tracking_numbers}
    trackings = meta_of(order, _TRACKINGS)
    for tracking in trackings if isinstance(trackings, list) else ():
        if isinstance(tracking, Mapping) and (tracked := _tracked(tracking, numbers)):
            found.append(tracked)
            numbers.update(tracked.tracking_numbers)
    return tuple(found)


def _fulfilled(fulfillment: Mapping[str, Any], ordered: Iterable[str]) -> ChannelShipment:
    items = meta_of(fulfillment, "_items")
    units = {
        str(item.get("item_id")): item.get("qty")
        for item in (items if isinstance(items, list) else ())
        if isinstance(item, Mapping)
    }
    provider = text_of(meta_of(fulfillment, "_shipment_provider"))
    return ChannelShipment(
        external_id=fulfillment["id"],
        lines=_quantities(units, ordered),
        shipped_at=moment_of(meta_of(fulfillment, "_date_fulfilled")),
        carrier=text_of(meta_of(fulfillment, "_provider_name")) or ("" if provider == "other" else provider),
        tracking_numbers=_numbers(text_of(meta_of(fulfillment, "_tracking_number"))),
        tracking_url=text_of(meta_of(fulfillment, "_tracking_url")),
        cancelled=fulfillment.get("date_deleted") is not None,
    )


def _noted(entry: Mapping[str, Any], ordered: Iterable[str]) -> ChannelShipment | None:
    """A shipment as ``shipment_note`` wrote it; somebody may have edited or emptied it since."""
    try:
        note = json.loads(entry.get("value", ""))
        return ChannelShipment(
            external_id=entry["key"].removeprefix(SHIPMENT),
            lines=_quantities(note["lines"], ordered),
            shipped_at=moment_of(note["at"]),
            carrier=str(note["carrier"]),
            tracking_numbers=tuple(str(number) for number in note["numbers"]),
            tracking_url=str(note["url"]),
        )
    except (TypeError, ValueError, KeyError, AttributeError):
        return None


def shipment_note(
    lines: Mapping[str, int], shipped_at: datetime, carrier: str, numbers: Sequence[str], url: str
) -> str:
    """A shipment as it is kept on an order of a shop without fulfillments."""
    at = shipped_at.astimezone(UTC).isoformat()
    note = {"lines": dict(lines), "at": at, "carrier": carrier, "numbers": list(numbers), "url": url}
    return json.dumps(note, ensure_ascii=False, separators=(",", ":"))


def _tracked(tracking: Mapping[str, Any], known: Iterable[str]) -> ChannelShipment | None:
    """A parcel that a plugin tracks, unless it is one of those known already; the plugin does not say what is in it."""
    number = text_of(tracking.get("tracking_number"))
    if not number or number in known:
        return None
    sent = str(tracking.get("date_shipped") or "")
    return ChannelShipment(
        external_id=text_of(tracking.get("tracking_id")) or number,
        lines=(),
        shipped_at=datetime.fromtimestamp(int(sent), UTC) if re.fullmatch(r"[0-9]{1,10}", sent, re.ASCII) else None,
        carrier=text_of(tracking.get("tracking_provider")) or text_of(tracking.get("custom_tracking_provider")),
        tracking_numbers=(number,),
        tracking_url=text_of(tracking.get("custom_tracking_link")),
    )


def _quantities(units: Mapping[str, Any], ordered: Iterable[str]) -> tuple[LineQuantity, ...]:
    counted = {
        line: int(quantity)
        for line, quantity in units.items()
        if line in ordered and re.fullmatch(r"[1-9][0-9]{0,8}", str(quantity), re.ASCII)
    }
    return tuple(LineQuantity(line_external_id=line, quantity=quantity) for line, quantity in counted.items())


def _numbers(text: str) -> tuple[str, ...]:
    return tuple(number for number in re.split(r"\s*,\s*", text) if number)


class Removed(Translation):
    """The body of a deletion webhook: nothing but the id of what is gone."""

    id = Identifier(required=True)

    @post_load
    def make(self, body: Mapping[str, str], **_: Any) -> str:
        return body["id"]
