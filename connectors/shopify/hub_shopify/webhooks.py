"""The bodies of Shopify's webhooks, which have the shape of its REST API, read into what they tell.

They tell less than a fetched record: where a body leaves the truth open, what it says is taken and the rest fetched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from marshmallow import fields, post_load

from hub.connector import Fact, ListingRemoved, OrderRemoved, Refetch, StockSeen
from hub.core.model import Address, Listing, Money, Order, OrderLine, Refund
from hub.translation import DecimalNumber, Identifier, Text, Translation, UtcMoment, WholeNumber, load_json
from hub_shopify.translation import (
    INVENTORY_ITEM,
    ON_SALE,
    PRODUCT,
    Amount,
    Flag,
    Items,
    MoneyBag,
    ShopMoney,
    make_order,
    optional_moment,
    shipped_units,
    total_of,
    variant_title,
)

# ---------------------------------------------------------------- orders


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


class _TaxLine(Translation):
    price = Amount()
    price_set = _optional_money()


class _Allocation(Translation):
    amount = Amount()
    amount_set = _optional_money()


class _Line(Translation):
    id = Identifier(required=True)
    variant_id = Identifier(allow_none=True, load_default=None)
    name = Text()
    title = Text()
    sku = Text()
    quantity = WholeNumber(required=True)
    current_quantity = WholeNumber(allow_none=True, load_default=None)
    requires_shipping = Flag()
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
    def make(self, found: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {"line": {"id": found["id"]}, "quantity": found["quantity"]}


class _Fulfillment(Translation):
    status = Text()
    lines = Items(_FulfilledLine, data_key="line_items")


class _ShippingLine(Translation):
    price = Amount()
    price_set = _optional_money()


class WebhookOrder(Translation):
    """The body of an orders/… webhook. Older bodies have plain amounts only: they are in the shop's currency too."""

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
    total_price = DecimalNumber(required=True)
    total_price_set = _optional_money()
    total_shipping_price_set = _optional_money()
    shipping_lines = Items(_ShippingLine)
    total_tax = Amount()
    total_tax_set = _optional_money()
    total_discounts = Amount()
    total_discounts_set = _optional_money()
    total_tip_received = Amount()
    original_total_duties_set = _optional_money()
    original_total_additional_fees_set = _optional_money()
    shipping_address = fields.Nested(_Address, allow_none=True, load_default=None)
    billing_address = fields.Nested(_Address, allow_none=True, load_default=None)
    line_items = Items(_Line, required=True)
    refunds = Items(_Refund, load_default=None)
    fulfillments = Items(_Fulfillment, load_default=None)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> Order:
        currency: str = found["currency"]
        refunds: list[dict[str, Any]] | None = found["refunds"]
        fulfillments: list[dict[str, Any]] | None = found["fulfillments"]
        lines: list[dict[str, Any]] = found["line_items"]
        shipped = shipped_units(fulfillments or [])
        refunded = _refunded_units(refunds or [])
        duties, fees = found["original_total_duties_set"], found["original_total_additional_fees_set"]
        return make_order(
            found,
            closed=found["closed_at"] is not None,
            financial=found["financial_status"],
            fulfillment=_FULFILLMENT_WORDS.get(found["fulfillment_status"], found["fulfillment_status"]),
            lines=[_order_line(line, currency, shipped, refunded) for line in lines],
            total=_amount(found, "total_price", currency),
            shipping=_shipping(found, currency),
            tax=_amount(found, "total_tax", currency),
            discount=_amount(found, "total_discounts", currency)
            - total_of(currency, (_discount(line, currency) for line in lines)),
            extras=total_of(currency, (Money(found["total_tip_received"], currency), duties, fees)),
            refunds=[_order_refund(refund, currency) for refund in refunds or []],
            # A refund does not say how many of its units had been shipped before.
            whole=refunds == [] and fulfillments is not None and not any(_reduced_by(line) for line in lines),
        )


_FULFILLMENT_WORDS = {"": "unfulfilled", "partial": "partially_fulfilled"}


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
    )


# ---------------------------------------------------------------- listings


class _Variant(Translation):
    id = Identifier(required=True)
    inventory_item_id = Identifier(allow_none=True, load_default=None)
    title = Text()
    sku = Text()
    barcode = Text()
    inventory_management = Text(load_default=None, allow_none=False)  # null: untracked, missing: not said


class WebhookProduct(Translation):
    """The body of products/create and products/update: its variants.

    Shopify sends it for every sale too, so nothing is fetched that it says itself. It does not say the currency of a
    price nor the stock per location. A body without inventory items (an old one) only tells which variants to fetch.
    """

    id = Identifier(required=True)
    title = Text()
    status = Text()
    variants = Items(_Variant, required=True)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> list[Fact]:
        return [_listing(found, variant) for variant in found["variants"]]


def _listing(product: Mapping[str, Any], variant: Mapping[str, Any]) -> Fact:
    item, management = variant["inventory_item_id"], variant["inventory_management"]
    if item is None or management is None:
        return Refetch("listing", variant["id"])
    return Listing(
        external_id=variant["id"],
        sku=variant["sku"],
        title=variant_title(product["title"], variant["title"]),
        tracked=management != "",
        active=product["status"] in ON_SALE,
        barcode=variant["barcode"],
        handles={INVENTORY_ITEM: item, PRODUCT: product["id"]},
    )


# ---------------------------------------------------------------- other webhooks


class _RemovedOrder(Translation):
    id = Identifier(required=True)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> list[Fact]:
        return [OrderRemoved(found["id"])]


class _RemovedProduct(Translation):
    id = Identifier(required=True)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> list[Fact]:
        return [ListingRemoved(found["id"], handle=PRODUCT)]


class _RemovedItem(Translation):
    """An inventory item goes with its variant."""

    id = Identifier(required=True)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> list[Fact]:
        return [ListingRemoved(found["id"], handle=INVENTORY_ITEM)]


class _PartOfOrder(Translation):
    """A refund, a fulfillment or an edit: the order it belongs to has changed."""

    order_id = Identifier(required=True)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> list[Fact]:
        return [Refetch("order", found["order_id"])]


class _Level(Translation):
    inventory_item_id = Identifier(required=True)
    location_id = Identifier(required=True)
    available = WholeNumber(allow_none=True, load_default=None)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> list[Fact]:
        return [StockSeen(found["inventory_item_id"], found["location_id"], found["available"], handle=INVENTORY_ITEM)]


_WEBHOOK_ORDER = WebhookOrder()
_PART_OF_ORDER = _PartOfOrder()


def _changed_order(body: bytes) -> Iterable[Fact]:
    """The order in the body; only its id where the body leaves its lines out, or tells what an edit did."""
    told = load_json(body)
    part = told
    if isinstance(told, dict) and "order_edit" in told:
        part = told["order_edit"]
    elif isinstance(told, dict) and "line_items" not in told:
        part = {"order_id": told.get("id")}
    return [_WEBHOOK_ORDER.read(told)] if part is told else _PART_OF_ORDER.read(part)


# How the body of each topic is read. Other topics tell nothing that matters here: inventory_items/update changes
# nothing that products/update does not tell, and app/uninstalled shows as a refused token at the next call.
READERS: Mapping[str, Callable[[bytes], Iterable[Fact]]] = {
    "orders/create": _changed_order,
    "orders/updated": _changed_order,
    "orders/paid": _changed_order,
    "orders/edited": _changed_order,
    "orders/cancelled": _changed_order,
    "orders/fulfilled": _changed_order,
    "orders/partially_fulfilled": _changed_order,
    "orders/delete": _RemovedOrder().read,
    "refunds/create": _PART_OF_ORDER.read,
    "fulfillments/create": _PART_OF_ORDER.read,
    "fulfillments/update": _PART_OF_ORDER.read,
    "products/create": WebhookProduct().read,
    "products/update": WebhookProduct().read,
    "products/delete": _RemovedProduct().read,
    "inventory_items/delete": _RemovedItem().read,
    "inventory_levels/update": _Level().read,
}
