"""The orders in the bodies of webhooks, which have the shape of Shopify's REST API."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from marshmallow import fields, post_load

from hub.core.model import Address, ChannelShipment, LineQuantity, Money, Order, OrderLine, Payment, Refund
from hub.translation import DecimalNumber, Identifier, Text, Translation, UtcMoment, WholeNumber
from hub_shopify.order_translation import (
    Extras,
    discounts_of,
    line_kind,
    make_order,
    not_shipped,
    payment,
    shipped_units,
)
from hub_shopify.translation import (
    Amount,
    Attributes,
    Flag,
    Items,
    MoneyBag,
    Presentment,
    ShopMoney,
    TotalBag,
    optional_moment,
    total_of,
)


class _Money(ShopMoney):
    currency = Text(required=True, data_key="currency_code")


class _MoneyBag(MoneyBag):
    money = fields.Nested(_Money, required=True, data_key="shop_money")


def _optional_money() -> fields.Nested:
    return fields.Nested(_MoneyBag, allow_none=True, load_default=None)


class _Address(Translation):
    name = Text()
    first_name = Text()
    last_name = Text()
    company = Text()
    line1 = Text(data_key="address1")
    line2 = Text(data_key="address2")
    city = Text()
    province = Text()
    province_code = Text()
    postcode = Text(data_key="zip")
    country = Text(data_key="country_code")
    phone = Text()

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> Address:
        province, code = found.pop("province"), found.pop("province_code")
        first, last = found.pop("first_name"), found.pop("last_name")
        found["name"] = found["name"] or f"{first} {last}".strip()
        return Address(**found, region=code or province)


class _Presentment(Presentment):
    currency = Text(data_key="currency_code")


class _TotalBag(TotalBag):
    money = fields.Nested(_Money, required=True, data_key="shop_money")
    presentment = fields.Nested(_Presentment, allow_none=True, load_default=None, data_key="presentment_money")


class _TaxLine(Translation):
    price = Amount()
    price_set = _optional_money()


class _Allocation(Translation):
    amount = Amount()
    amount_set = _optional_money()
    reason = WholeNumber(allow_none=True, load_default=None, data_key="discount_application_index")


class _Line(Translation):
    id = Identifier(required=True)
    variant_id = Identifier(allow_none=True, load_default=None)
    name = Text()
    title = Text()
    sku = Text()
    vendor = Text()
    quantity = WholeNumber(required=True)
    current_quantity = WholeNumber(allow_none=True, load_default=None)
    requires_shipping = Flag()
    gift_card = Flag()
    properties = Attributes("name")
    price = DecimalNumber(required=True)
    price_set = _optional_money()
    total_discount = Amount()
    total_discount_set = _optional_money()
    discount_allocations = Items(_Allocation, load_default=None)
    tax_lines = Items(_TaxLine)


class _RefundLine(Translation):
    line_item_id = Identifier(required=True)
    quantity = WholeNumber(required=True)
    restock_type = Text()


class _Transaction(Translation):
    kind = Text()
    status = Text()
    amount = Amount()
    currency = Text()


class _Refund(Translation):
    id = Identifier(required=True)
    created_at = optional_moment()
    note = Text()
    refund_line_items = Items(_RefundLine)
    transactions = Items(_Transaction)


class _FulfilledLine(Translation):
    id = Identifier(required=True)
    quantity = WholeNumber(required=True)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> LineQuantity:
        return LineQuantity(line_external_id=found["id"], quantity=found["quantity"])


class _Fulfillment(Translation):
    id = Identifier(required=True)
    status = Text()
    created_at = optional_moment()
    location_id = Identifier(allow_none=True, load_default=None)
    company = Text(data_key="tracking_company")
    numbers = fields.List(Text(), allow_none=True, load_default=None, data_key="tracking_numbers")
    urls = fields.List(Text(), allow_none=True, load_default=None, data_key="tracking_urls")
    lines = Items(_FulfilledLine, data_key="line_items")

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> ChannelShipment:
        return ChannelShipment(
            external_id=found["id"],
            lines=tuple(found["lines"]),
            shipped_at=found["created_at"],
            carrier=found["company"],
            tracking_numbers=tuple(number for number in found["numbers"] or () if number),
            tracking_url=next((url for url in found["urls"] or () if url), ""),
            location_external_id=found["location_id"] or "",
            cancelled=not_shipped(found["status"]),
        )


class _ShippingLine(Translation):
    title = Text()
    price = Amount()
    price_set = _optional_money()
    discount_allocations = Items(_Allocation)


class _DiscountApplication(Translation):
    code = Text()
    title = Text()
    description = Text()

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> str:
        name: str = found["code"] or found["title"] or found["description"]
        return name


class WebhookOrder(Translation):
    """The body of an orders/… webhook. Older bodies have plain amounts only: they are in the shop's currency too.

    No body says how the order is dealt out to locations and what is on hold there, what comes back, or how risky it
    is: none is whole, so that each has the order asked for. What it does say (who bought how many) counts at once.
    """

    id = Identifier(required=True)
    name = Text(required=True)
    created_at = UtcMoment(required=True)
    processed_at = optional_moment()
    updated_at = UtcMoment(required=True)
    cancelled_at = optional_moment()
    closed_at = optional_moment()
    test = Flag()
    financial_status = Text()
    fulfillment_status = Text()
    currency = Text(required=True)
    taxes_included = Flag()
    email = Text()
    note = Text()
    tags = Text()
    source_name = Text()
    payment_gateway_names = fields.List(Text(), allow_none=True, load_default=None)
    attributes = Attributes("name", data_key="note_attributes")
    total_price = DecimalNumber(required=True)
    total_price_set = fields.Nested(_TotalBag, allow_none=True, load_default=None)
    total_shipping_price_set = _optional_money()
    shipping_lines = Items(_ShippingLine)
    total_tax = Amount()
    total_tax_set = _optional_money()
    total_discounts = Amount()
    total_discounts_set = _optional_money()
    discount_applications = Items(_DiscountApplication)
    total_tip_received = Amount()
    original_total_duties_set = _optional_money()
    original_total_additional_fees_set = _optional_money()
    shipping_address = fields.Nested(_Address, allow_none=True, load_default=None)
    billing_address = fields.Nested(_Address, allow_none=True, load_default=None)
    line_items = Items(_Line, required=True)
    refunds = Items(_Refund)
    fulfillments = Items(_Fulfillment)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> Order:
        currency: str = found["currency"]
        lines: list[dict[str, Any]] = found["line_items"]
        shipped = shipped_units(found["fulfillments"])
        refunded = _refunded_units(found["refunds"])
        total, presentment_total = found["total_price_set"] or (Money(found["total_price"], currency), None)
        return make_order(
            found,
            closed=found["closed_at"] is not None,
            financial=found["financial_status"],
            fulfillment=_FULFILLMENT_WORDS.get(found["fulfillment_status"], found["fulfillment_status"]),
            lines=[_order_line(line, currency, shipped, refunded) for line in lines],
            total=total,
            presentment_total=presentment_total,
            shipping=_shipping(found, currency),
            tax=_amount(found, "total_tax", currency),
            discount=_amount(found, "total_discounts", currency)
            - total_of(currency, (_discount(line, currency) for line in lines)),
            extras=Extras(
                tip=Money(found["total_tip_received"], currency),
                duties=found["original_total_duties_set"],
                fees=found["original_total_additional_fees_set"],
            ),
            whole=False,
            refunds=tuple(_order_refund(refund, currency) for refund in found["refunds"]),
            shipments=tuple(found["fulfillments"]),
            discounts=discounts_of(currency, _reasons(found, currency)),
            payments=_payments(found, total),
            tags=tuple(tag.strip() for tag in found["tags"].split(",") if tag.strip()),
            source=found["source_name"],
            shipping_method=next((line["title"] for line in found["shipping_lines"]), ""),
        )


_FULFILLMENT_WORDS = {"": "unfulfilled", "partial": "partially_fulfilled"}
_PAID_ONCE = frozenset({"paid", "partially_refunded", "refunded"})


def _payments(order: Mapping[str, Any], total: Money) -> tuple[Payment, ...]:
    """How the order was paid; how several ways of paying share the total is not said."""
    gateways: list[str] = order["payment_gateway_names"] or []
    paid = order["financial_status"] in _PAID_ONCE and total.amount > 0
    return (payment(gateways[0], total),) if paid and len(gateways) == 1 else ()


def _reasons(order: Mapping[str, Any], currency: str) -> Iterator[tuple[str, Money]]:
    """What each reason for a discount took off, on each line and on the shipping."""
    reasons = order["discount_applications"]
    for line in (*order["line_items"], *order["shipping_lines"]):
        for each in line["discount_allocations"] or ():
            if each["reason"] is not None and 0 <= each["reason"] < len(reasons):
                yield reasons[each["reason"]], _amount(each, "amount", currency)


def _amount(of: Mapping[str, Any], name: str, currency: str) -> Money:
    amount: Money | None = of[f"{name}_set"]
    return amount or Money(of[name], currency)


def _shipping(order: Mapping[str, Any], currency: str) -> Money:
    shipping: Money | None = order["total_shipping_price_set"]
    return shipping or total_of(currency, (_amount(line, "price", currency) for line in order["shipping_lines"]))


def _discount(line: Mapping[str, Any], currency: str) -> Money:
    """What is taken off a line; where it is not said how discounts are shared out, what was taken off it alone."""
    allocations = line["discount_allocations"]
    if allocations is None:
        return _amount(line, "total_discount", currency)
    return total_of(currency, (_amount(each, "amount", currency) for each in allocations))


def _reduced_by(line: Mapping[str, Any]) -> int:
    """How many units of a line were refunded or removed, as far as the body says."""
    current: int | None = line["current_quantity"]
    return 0 if current is None else max(0, int(line["quantity"]) - current)


def _refunded_units(refunds: Iterable[Mapping[str, Any]]) -> Counter[tuple[str, str]]:
    """How many units of each line were refunded, by the way they were restocked."""
    units: Counter[tuple[str, str]] = Counter()
    for refund in refunds:
        for each in refund["refund_line_items"]:
            units[each["line_item_id"], each["restock_type"]] += each["quantity"]
    return units


def _order_line(
    line: Mapping[str, Any], currency: str, shipped: Counter[str], refunded: Counter[tuple[str, str]]
) -> OrderLine:
    """The line. Units count as removed only where that is sure: refunded as canceled, or taken out by an edit, which
    is no refund. The rest is for the order itself to tell, so that no unit is let go too early.
    """
    id, quantity = line["id"], line["quantity"]
    fulfilled = min(quantity, shipped[id])
    edited_out = _reduced_by(line) - sum(units for (each, _), units in refunded.items() if each == id)
    return OrderLine(
        external_id=id,
        listing_external_id=line["variant_id"],
        sku=line["sku"],
        title=line["name"] or line["title"],
        quantity=quantity,
        unit_price=_amount(line, "price", currency),
        total=_amount(line, "price", currency) * quantity - _discount(line, currency),
        tax=total_of(currency, (_amount(tax, "price", currency) for tax in line["tax_lines"])),
        fulfilled=fulfilled,
        removed=max(0, min(refunded[id, "cancel"] + max(0, edited_out), quantity - fulfilled)),
        requires_shipping=line["requires_shipping"],
        kind=line_kind(gift_card=line["gift_card"], listing=line["variant_id"], vendor=line["vendor"]),
        attributes=line["properties"],
    )


def _order_refund(refund: Mapping[str, Any], currency: str) -> Refund:
    paid_back = (
        Money(each["amount"], currency)
        for each in refund["transactions"]
        if each["kind"] == "refund" and each["status"] == "success" and each["currency"] in ("", currency)
    )
    return Refund(
        external_id=refund["id"],
        amount=total_of(currency, paid_back),
        reason=refund["note"],
        refunded_at=refund["created_at"],
        lines=tuple(
            LineQuantity(line_external_id=each["line_item_id"], quantity=each["quantity"])
            for each in refund["refund_line_items"]
        ),
    )
