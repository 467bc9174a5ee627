"""WooCommerce's payloads read into the model: orders with their refunds, products with their variations.

Only the ``…_gmt`` times are read: the others are in the shop's own time zone and do not say which one that is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from marshmallow import ValidationError, fields, post_load

from hub.connector import Fact, Refetch, StockSeen
from hub.core.model import Address, Listing, ListingLevel, Money, Order, OrderLine, OrderStatus, Refund
from hub.translation import DecimalNumber, Identifier, Text, Translation, UtcMoment, WholeNumber

ZERO = Decimal(0)

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

# Nothing of such an order is shipped any more: it was, or never will be.
_OVER = frozenset({OrderStatus.FULFILLED, OrderStatus.CANCELLED, OrderStatus.REFUNDED, OrderStatus.REMOVED})

_AWAITS_PAYMENT = frozenset({"pending", "on-hold"})

# Products that are not sold as such: their parts or another site are.
UNSOLD_TYPES = frozenset({"grouped", "external"})


class Rows(fields.List[Any]):
    """A list. PHP writes one with holes in its numbering, as a plugin leaves them, as an object: its values are it."""

    def deserialize(
        self, value: Any, attr: str | None = None, data: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        if isinstance(value, Mapping):
            value = list(value.values())
        return super().deserialize(value, attr, data, **kwargs)


def _rows_of(shape: type[Translation]) -> Rows:
    return Rows(fields.Nested(shape), load_default=list)


def _optional_moment() -> UtcMoment:
    return UtcMoment(assume_utc=True, allow_none=True, load_default=None)


def _amount() -> DecimalNumber:
    return DecimalNumber(allow_none=True, load_default=ZERO)


# ---------------------------------------------------------------- orders


class _Meta(Translation):
    key = Text()
    value = fields.Raw(allow_none=True, load_default=None)


class _Line(Translation):
    id = Identifier(required=True)
    name = Text()
    sku = Text()
    product_id = WholeNumber(allow_none=True, load_default=0)
    variation_id = WholeNumber(allow_none=True, load_default=0)
    quantity = WholeNumber(required=True)
    price = _amount()
    total = DecimalNumber(required=True)
    total_tax = _amount()
    meta_data = _rows_of(_Meta)


class _Fee(Translation):
    total = _amount()


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
    meta_data = _rows_of(_Meta)


class _Refund(Translation):
    id = Identifier(required=True)
    reason = Text()
    amount = DecimalNumber(required=True)
    date_created_gmt = _optional_moment()
    line_items = _rows_of(_RefundLine)


class _Order(Translation):
    id = Identifier(required=True)
    number = Text()
    status = Text(required=True)
    currency = Text(required=True)
    date_created_gmt = _optional_moment()
    date_modified_gmt = _optional_moment()
    date_completed_gmt = _optional_moment()
    date_paid_gmt = _optional_moment()
    total = DecimalNumber(required=True)
    total_tax = _amount()
    shipping_total = _amount()
    customer_note = Text()
    billing = fields.Nested(_Address, load_default=dict)
    shipping = fields.Nested(_Address, load_default=dict)
    line_items = _rows_of(_Line)
    fee_lines = _rows_of(_Fee)
    refunds = _rows_of(_RefundSummary)


class WebhookOrder(_Order):
    """The body of an order webhook. It names refunds but not their lines: then the order is not whole.

    Until it is fetched, units that a refund put back into stock count as not shipped. To say shipped of one that was
    not would take it out of stock for good; the other way round is mended by what is fetched.
    """

    @post_load
    def make(self, order: Mapping[str, Any], **_: Any) -> Order:
        refunds = [
            Refund(external_id=refund["id"], amount=Money(-refund["total"], order["currency"]), reason=refund["reason"])
            for refund in order["refunds"]
        ]
        put_back = {line["id"]: _count(line, "_restock_refunded_items") for line in order["line_items"]}
        return _order(order, refunds, put_back, whole=not refunds)


class FetchedOrder(Translation):
    """The record of a fetched order: ``{"order": …, "refunds": […]}``, the refunds each with their lines."""

    order = fields.Nested(_Order, required=True)
    refunds = _rows_of(_Refund)

    @post_load
    def make(self, record: Mapping[str, Any], **_: Any) -> Order:
        order = record["order"]
        refunds = [
            Refund(
                external_id=refund["id"],
                amount=Money(refund["amount"], order["currency"]),
                reason=refund["reason"],
                refunded_at=refund["date_created_gmt"],
            )
            for refund in record["refunds"]
        ]
        return _order(order, refunds, _units_refunded(record["refunds"], _completed_at(order)), whole=True)


def _completed_at(order: Mapping[str, Any]) -> datetime | None:
    """When the shop shipped the order. The date stays when an order is opened again, and then means nothing."""
    moment: datetime | None = order["date_completed_gmt"]
    return moment if _status(order) in _OVER else None


def _units_refunded(refunds: Iterable[Mapping[str, Any]], completed_at: datetime | None) -> dict[str, int]:
    """Units per order line that were refunded before they were shipped: what is refunded later was a return."""
    units: dict[str, int] = {}
    for refund in refunds:
        created = refund["date_created_gmt"]
        if completed_at and created and created > completed_at:
            continue
        for line in refund["line_items"]:
            of = _meta(line, "_refunded_item_id")
            units[of] = units.get(of, 0) + abs(line["quantity"] or 0)
    return units


def _meta(row: Mapping[str, Any], key: str) -> str:
    return next((str(entry["value"]) for entry in row["meta_data"] if entry["key"] == key), "")


def _count(row: Mapping[str, Any], key: str) -> int:
    """A count that WooCommerce keeps in the meta data of a line, 0 if it keeps none."""
    text = _meta(row, key)
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) else 0


def _order(order: Mapping[str, Any], refunds: Sequence[Refund], refunded: Mapping[str, int], *, whole: bool) -> Order:
    currency = order["currency"]
    version = order["date_modified_gmt"] or order["date_created_gmt"]
    if version is None:
        raise ValidationError({"date_modified_gmt": ["Missing."]})
    status = _status(order)
    shipped = status is OrderStatus.FULFILLED or _completed_at(order) is not None
    called_off = status in _OVER and not shipped
    lines = [
        _line(line, currency, line["quantity"] if called_off else refunded.get(line["id"], 0), shipped)
        for line in order["line_items"]
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
        fees=Money(sum((fee["total"] or ZERO for fee in order["fee_lines"]), ZERO), currency),
        taxes_included=False,
        whole=whole,
        # Whoever pays on delivery owes the money, too; but that order is to be shipped, and has its own status.
        paid=order["status"] not in _AWAITS_PAYMENT or order["date_paid_gmt"] is not None,
        customer_name=_name(order["billing"]) or _name(order["shipping"]),
        email=order["billing"].get("email", ""),
        note=order["customer_note"],
        shipping_address=_address(order["shipping"]),
        billing_address=_address(order["billing"]),
        refunds=tuple(refunds),
    )


def _status(order: Mapping[str, Any]) -> OrderStatus:
    """The shop's status in the hub's words.

    Plugins add statuses whose names say nothing. Such an order is open only while the shop itself has taken stock for
    it, which it notes on the line: releasing that stock would sell it twice. Otherwise it waits, and holds nothing.
    """
    known = STATUSES.get(order["status"])
    if known is not None:
        return known
    taken = any(_meta(line, "_reduced_stock") not in ("", "0") for line in order["line_items"])
    return OrderStatus.OPEN if taken else OrderStatus.PENDING


def _line(line: Mapping[str, Any], currency: str, off: int, shipped: bool) -> OrderLine:
    quantity = line["quantity"]
    removed = min(off, quantity)
    listing = line["variation_id"] or line["product_id"]
    return OrderLine(
        external_id=line["id"],
        listing_external_id=str(listing) if listing else None,
        sku=line["sku"],
        title=line["name"],
        quantity=quantity,
        fulfilled=quantity - removed if shipped else 0,
        removed=removed,
        unit_price=Money(line["price"] or ZERO, currency),
        total=Money(line["total"], currency),
        tax=Money(line["total_tax"] or ZERO, currency),
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


# ---------------------------------------------------------------- products


class _Product(Translation):
    id = Identifier(required=True)
    name = Text()
    type = Text()
    status = Text()
    sku = Text()
    price = _amount()
    global_unique_id = Text()
    manage_stock = fields.Raw(allow_none=True, load_default=False)  # true, false, or "parent" for a variation
    stock_quantity = WholeNumber(allow_none=True, load_default=None)
    parent_id = WholeNumber(allow_none=True, load_default=0)
    variations = Rows(fields.Raw(), load_default=list)


class FetchedListing(Translation):
    """The record of a fetched product: ``{"product": …, "variations": […], "currency": "EUR"}``."""

    product = fields.Nested(_Product, required=True)
    variations = _rows_of(_Product)
    currency = Text()

    @post_load
    def make(self, record: Mapping[str, Any], **_: Any) -> tuple[Listing, ...]:
        product, currency = record["product"], record["currency"]
        if product["type"] in UNSOLD_TYPES:
            return ()
        if not is_variable(product):
            return (_listing(product, currency),)
        return tuple(_listing(_of_parent(variation, product), currency) for variation in record["variations"])


class WebhookProduct(_Product):
    """The body of a product webhook: a product, a variation in the shape of one, or the parent of variations."""

    @post_load
    def make(self, product: Mapping[str, Any], **_: Any) -> tuple[Fact, ...]:
        if product["type"] in UNSOLD_TYPES:
            return ()
        if is_variable(product):
            return (Refetch("listing", product["id"]),)
        listing = _listing(product, currency="")  # the body does not say in what currency its price is
        if not listing.tracked:
            return (listing,)
        return (listing, StockSeen(listing.external_id, "", product["stock_quantity"]))


def is_variable(product: Mapping[str, Any]) -> bool:
    """Whether not the product is sold but its variations are; plugins have types of their own for it."""
    return bool(product.get("variations")) or str(product.get("type")).startswith("variable")


def _of_parent(variation: Mapping[str, Any], parent: Mapping[str, Any]) -> Mapping[str, Any]:
    """A variation in the shape it has everywhere else: asked for through its parent it is called "S", not "Tee - S"."""
    return {
        **variation,
        "name": " - ".join(name for name in (parent["name"], variation["name"]) if name),
        "parent_id": parent["id"],
    }


def _listing(product: Mapping[str, Any], currency: str) -> Listing:
    tracked = product["manage_stock"] is True
    parent = product["parent_id"] or 0
    price = product["price"]
    return Listing(
        external_id=product["id"],
        sku=product["sku"],
        title=product["name"],
        # A variation that shares the stock of its parent has none of its own to write: "parent" is not tracked.
        tracked=tracked,
        active=product["status"] == "publish",
        barcode=product["global_unique_id"],
        price=Money(price, currency) if currency and price is not None else None,
        handles={"parent": str(parent)} if parent else {},
        levels=(ListingLevel(location_external_id="", available=product["stock_quantity"] if tracked else None),),
    )


class Removed(Translation):
    """The body of a deletion webhook: nothing but the id of what is gone."""

    id = Identifier(required=True)

    @post_load
    def make(self, body: Mapping[str, str], **_: Any) -> str:
        return body["id"]
