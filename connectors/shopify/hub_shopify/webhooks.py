"""The bodies of Shopify's webhooks, which have the shape of its REST API, read into what they tell.

They tell less than a fetched record: where a body leaves the truth open, what it says is taken and the rest fetched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from marshmallow import fields, post_load

from hub.connector import Fact, ListingRemoved, OrderRemoved, Refetch, StockSeen
from hub.core.model import Address, Listing, Money, Order, OrderLine, Refund
from hub.translation import DecimalNumber, Identifier, Text, Translation, UtcMoment, WholeNumber, load_json
from hub_shopify.translation import (
    INVENTORY_ITEM,
    ON_SALE,
    PRODUCT,
    MoneyBag,
    ShopMoney,
    flag,
    list_of,
    make_order,
    optional_moment,
    shipped_units,
    total_of,
    variant_title,
)

ZERO = Decimal(0)

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
    price = DecimalNumber(allow_none=True, load_default=ZERO)
    price_set = _optional_money()


class _Allocation(Translation):
    amount = DecimalNumber(allow_none=True, load_default=ZERO)
    amount_set = _optional_money()


class _Line(Translation):
    id = Identifier(required=True)
    variant_id = Identifier(allow_none=True, load_default=None)
    name = Text()
    title = Text()
    sku = Text()
    quantity = WholeNumber(required=True)
    current_quantity = WholeNumber(allow_none=True, load_default=None)
    fulfillable_quantity = WholeNumber(allow_none=True, load_default=None)
    requires_shipping = flag()
    price = DecimalNumber(required=True)
    price_set = _optional_money()
    total_discount = DecimalNumber(allow_none=True, load_default=ZERO)
    total_discount_set = _optional_money()
    discount_allocations = list_of(_Allocation, allow_none=True, load_default=None)
    tax_lines = list_of(_TaxLine, load_default=list)


class _RefundLine(Translation):
    line_item_id = Identifier(required=True)
    quantity = WholeNumber(required=True)
    restock_type = Text()


class _Transaction(Translation):
    kind = Text()
    status = Text()
    amount = DecimalNumber(allow_none=True, load_default=ZERO)
    currency = Text()


class _Refund(Translation):
    id = Identifier(required=True)
    created_at = optional_moment()
    note = Text()
    refund_line_items = list_of(_RefundLine, load_default=list)
    transactions = list_of(_Transaction, load_default=list)


class _FulfilledLine(Translation):
    id = Identifier(required=True)
    quantity = WholeNumber(required=True)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {"line": {"id": found["id"]}, "quantity": found["quantity"]}


class _Fulfillment(Translation):
    status = Text()
    lines = list_of(_FulfilledLine, load_default=list, data_key="line_items")


class _ShippingLine(Translation):
    price = DecimalNumber(allow_none=True, load_default=ZERO)
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
    test = flag()
    financial_status = Text()
    fulfillment_status = Text()
    currency = Text(required=True)
    taxes_included = flag()
    email = Text()
    note = Text()
    total_price = DecimalNumber(required=True)
    total_price_set = _optional_money()
    total_shipping_price_set = _optional_money()
    shipping_lines = list_of(_ShippingLine, load_default=list)
    total_tax = DecimalNumber(allow_none=True, load_default=ZERO)
    total_tax_set = _optional_money()
    total_discounts = DecimalNumber(allow_none=True, load_default=ZERO)
    total_discounts_set = _optional_money()
    total_tip_received = DecimalNumber(allow_none=True, load_default=ZERO)
    original_total_duties_set = _optional_money()
    original_total_additional_fees_set = _optional_money()
    shipping_address = fields.Nested(_Address, allow_none=True, load_default=None)
    billing_address = fields.Nested(_Address, allow_none=True, load_default=None)
    line_items = list_of(_Line, required=True)
    refunds = list_of(_Refund, load_default=None)
    fulfillments = list_of(_Fulfillment, load_default=None)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> Order:
        currency: str = found["currency"]

        def money(of: Mapping[str, Any], name: str) -> Money:
            return of[f"{name}_set"] or Money(of[name] or ZERO, currency)

        def line_discount(line: Mapping[str, Any]) -> Money:
            allocations = line["discount_allocations"]
            if allocations is None:
                return money(line, "total_discount")
            return total_of(currency, (money(allocation, "amount") for allocation in allocations))

        refunds: list[dict[str, Any]] = found["refunds"] or []
        refunded: Counter[str] = Counter()
        cancelled: Counter[str] = Counter()
        for refund in refunds:
            for each in refund["refund_line_items"]:
                refunded[each["line_item_id"]] += each["quantity"]
                cancelled[each["line_item_id"]] += each["quantity"] if each["restock_type"] == "cancel" else 0
        shipped = shipped_units(found["fulfillments"] or [])
        lines = []
        for line in found["line_items"]:
            fulfilled, removed = _units(line, shipped, refunded, cancelled)
            lines.append(
                OrderLine(
                    external_id=line["id"],
                    listing_external_id=line["variant_id"],
                    sku=line["sku"],
                    title=line["name"] or line["title"],
                    quantity=line["quantity"],
                    unit_price=money(line, "price"),
                    total=money(line, "price") * line["quantity"] - line_discount(line),
                    tax=total_of(currency, (money(tax, "price") for tax in line["tax_lines"])),
                    fulfilled=fulfilled,
                    removed=removed,
                    requires_shipping=line["requires_shipping"],
                )
            )
        shipping = found["total_shipping_price_set"]
        untouched = not any(
            line["current_quantity"] is not None and line["current_quantity"] < line["quantity"]
            for line in found["line_items"]
        )
        return make_order(
            external_id=found["id"],
            number=found["name"],
            updated_at=found["updated_at"],
            placed_at=found["processed_at"] or found["created_at"],
            cancelled=found["cancelled_at"] is not None,
            closed=found["closed_at"] is not None,
            financial=found["financial_status"],
            fulfillment=_FULFILLMENT_WORDS.get(found["fulfillment_status"], found["fulfillment_status"]),
            currency=currency,
            taxes_included=found["taxes_included"],
            lines=lines,
            total=money(found, "total_price"),
            shipping=shipping or total_of(currency, (money(line, "price") for line in found["shipping_lines"])),
            tax=money(found, "total_tax"),
            discounts=money(found, "total_discounts"),
            line_discounts=total_of(currency, map(line_discount, found["line_items"])),
            fees=total_of(
                currency,
                (
                    Money(found["total_tip_received"] or ZERO, currency),
                    found["original_total_duties_set"],
                    found["original_total_additional_fees_set"],
                ),
            ),
            refunds=[_refund(refund, currency) for refund in refunds],
            # A refund does not say how many of its units had been shipped before.
            whole=found["refunds"] == [] and found["fulfillments"] is not None and untouched,
            test=found["test"],
            email=found["email"],
            note=found["note"],
            shipping_address=found["shipping_address"],
            billing_address=found["billing_address"],
        )


_FULFILLMENT_WORDS = {"": "unfulfilled", "partial": "partially_fulfilled"}


def _units(
    line: Mapping[str, Any], shipped: Counter[str], refunded: Counter[str], cancelled: Counter[str]
) -> tuple[int, int]:
    """How many units of a webhook's line were shipped, and how many surely removed before that.

    Surely: refunded as canceled, or taken out of the order by an edit, which is no refund. The rest is for the order
    itself to tell, so that no unit is let go too early.
    """
    quantity: int = line["quantity"]
    fulfilled = min(quantity, shipped[line["id"]])
    removed = cancelled[line["id"]]
    if line["current_quantity"] is not None:
        removed += max(0, quantity - line["current_quantity"] - refunded[line["id"]])
    return fulfilled, min(removed, quantity - fulfilled)


def _refund(refund: Mapping[str, Any], currency: str) -> Refund:
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
    inventory_management = Text(load_default=None)


class WebhookProduct(Translation):
    """The body of products/create and products/update: its variants.

    Shopify sends it for every sale too, so nothing is fetched that it says itself. It does not say the currency of a
    price nor the stock per location. A body without inventory items (an old one) only tells which variants to fetch.
    """

    id = Identifier(required=True)
    title = Text()
    status = Text()
    variants = list_of(_Variant, required=True)

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
