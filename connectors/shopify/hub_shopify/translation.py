"""What the connector fetches by GraphQL, read into the model: orders and variants.

Webhooks tell the same in another shape (webhooks.py) and read alike: external ids are the numbers that both carry, and
money is in the shop's currency.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import marshmallow
from marshmallow import ValidationError, fields, post_load

from hub.core.model import Address, Listing, ListingLevel, Money, Order, OrderLine, OrderStatus, Refund
from hub.translation import DecimalNumber, Identifier, Text, Translation, UtcMoment, WholeNumber

# The handles of a listing: under the first Shopify keeps its stock, the second is what it is a variant of.
INVENTORY_ITEM = "inventory_item_id"
PRODUCT = "product_id"

ZERO = Decimal(0)

# What came of these fulfillments was not shipped.
_NOT_SHIPPED = frozenset({"cancelled", "error", "failure"})
# Money that is not there, and not on its way: Shopify's own word decides, whatever is left to ship.
_UNPAID = frozenset({"pending", "expired", "voided"})
ON_SALE = frozenset({"active", "unlisted"})


# ---------------------------------------------------------------- small shapes of both


class GlobalId(Identifier):
    """A GraphQL id such as "gid://shopify/LineItem/466157049", read as the number at its end."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        number = text.rpartition("/")[2]
        if not text.startswith("gid://shopify/") or not (number.isascii() and number.isdigit()):
            raise ValidationError("Not a Shopify id.")
        return number


class ShopMoney(Translation):
    """An amount with its currency, which shapes name differently."""

    amount = DecimalNumber(required=True)
    currency = Text(required=True)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> Money:
        return Money(found["amount"], found["currency"])


class _Money(ShopMoney):
    currency = Text(required=True, data_key="currencyCode")


class MoneyBag(Translation):
    """An amount in the shop's currency and in the customer's, of which the shop's is read."""

    money = fields.Nested(_Money, required=True, data_key="shopMoney")

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> Money:
        money: Money = found["money"]
        return money


def _money(**options: Any) -> fields.Nested:
    return fields.Nested(MoneyBag, **options)


def _optional_money(**options: Any) -> fields.Nested:
    return fields.Nested(MoneyBag, allow_none=True, load_default=None, **options)


class Items(fields.List[Any]):
    """A list of ``shape``; missing and null read as ``load_default``, an empty list unless said otherwise."""

    def __init__(self, shape: type[Translation], **options: Any) -> None:
        if not options.get("required"):
            options.setdefault("load_default", list)
        super().__init__(fields.Nested(shape), **options)

    def deserialize(
        self, value: Any, attr: str | None = None, data: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        absent = value is None and not self.required
        return super().deserialize(marshmallow.missing if absent else value, attr, data, **kwargs)


class Amount(DecimalNumber):
    """An amount; missing and null read as nothing."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_none=True, load_default=ZERO, **options)

    def deserialize(
        self, value: Any, attr: str | None = None, data: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        return super().deserialize(value, attr, data, **kwargs) or ZERO


class Flag(fields.Boolean):
    """A truth value; missing and null read as False."""

    def __init__(self, **options: Any) -> None:
        super().__init__(truthy={True}, falsy={False}, load_default=False, **options)

    def deserialize(
        self, value: Any, attr: str | None = None, data: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        return super().deserialize(False if value is None else value, attr, data, **kwargs)


def optional_moment(**options: Any) -> UtcMoment:
    return UtcMoment(allow_none=True, load_default=None, **options)


def total_of(currency: str, amounts: Iterable[Money | None]) -> Money:
    total = Money.zero(currency)
    for amount in amounts:
        if amount is not None:
            total = total + amount
    return total


def _status(*, cancelled: bool, closed: bool, financial: str, lines: Sequence[OrderLine]) -> OrderStatus:
    if cancelled:
        return OrderStatus.CANCELLED
    if closed or not any(line.open_quantity for line in lines):
        return OrderStatus.REFUNDED if financial == "refunded" else OrderStatus.FULFILLED
    return OrderStatus.PENDING if financial in _UNPAID else OrderStatus.OPEN


def make_order(
    found: Mapping[str, Any],
    *,
    closed: bool,
    financial: str,
    fulfillment: str,
    lines: Sequence[OrderLine],
    total: Money,
    shipping: Money,
    tax: Money,
    discount: Money,
    extras: Money,
    refunds: Sequence[Refund],
    whole: bool,
) -> Order:
    """The order, by the rules that hold whichever shape told it; ``found`` has what both call alike.

    Shopify holds stock for what is open and unfulfilled, paid or not. ``extras`` (tips, duties, import fees) are fees
    as far as the total holds them beyond its other parts: on some orders a tip is a line, or duties are in the prices.
    """
    currency: str = found["currency"]
    cancelled = found["cancelled_at"] is not None
    parts = total_of(currency, (line.total for line in lines)) + shipping - discount
    beyond = (total - (parts if found["taxes_included"] else parts + tax)).amount
    status = _status(cancelled=cancelled, closed=closed, financial=financial, lines=lines)
    said = [financial or "payment not required", fulfillment]
    if cancelled or closed:
        said.append("cancelled" if cancelled else "closed")
    addresses = found["shipping_address"] or Address(), found["billing_address"] or Address()
    return Order(
        external_id=found["id"],
        number=found["name"],
        status=status,
        channel_status=", ".join(said),
        version=found["updated_at"],
        placed_at=found["processed_at"] or found["created_at"],
        currency=currency,
        holds_stock=status in (OrderStatus.OPEN, OrderStatus.PENDING),
        paid=financial not in _UNPAID,
        lines=tuple(lines),
        total=total,
        shipping=shipping,
        tax=tax,
        discount=discount,
        fees=Money(max(ZERO, min(beyond, extras.amount)), currency),
        whole=whole,
        taxes_included=found["taxes_included"],
        test=found["test"],
        customer_name=addresses[0].name or addresses[1].name,
        email=found["email"],
        note=found["note"],
        shipping_address=addresses[0],
        billing_address=addresses[1],
        refunds=tuple(refunds),
    )


# ---------------------------------------------------------------- orders


class _Address(Translation):
    name = Text()
    company = Text()
    line1 = Text(data_key="address1")
    line2 = Text(data_key="address2")
    city = Text()
    province = Text()
    province_code = Text(data_key="provinceCode")
    postcode = Text(data_key="zip")
    country = Text(data_key="countryCodeV2")
    phone = Text()

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> Address:
        province, code = found.pop("province"), found.pop("province_code")
        return Address(**found, region=code or province)


class _VariantId(Translation):
    id = Identifier(required=True, data_key="legacyResourceId")


class _TaxLine(Translation):
    price = _money(required=True, data_key="priceSet")


class _Allocation(Translation):
    amount = _money(required=True, data_key="allocatedAmountSet")


class _Line(Translation):
    id = GlobalId(required=True)
    name = Text()
    sku = Text()
    quantity = WholeNumber(required=True)
    current = WholeNumber(required=True, data_key="currentQuantity")
    unfulfilled = WholeNumber(required=True, data_key="unfulfilledQuantity")
    requires_shipping = Flag(data_key="requiresShipping")
    variant = fields.Nested(_VariantId, allow_none=True, load_default=None)
    unit_price = _money(required=True, data_key="originalUnitPriceSet")
    discounts = Items(_Allocation, required=True, data_key="discountAllocations")
    taxes = Items(_TaxLine, required=True, data_key="taxLines")


class _PageInfo(Translation):
    has_next_page = Flag(data_key="hasNextPage")


class _Lines(Translation):
    nodes = Items(_Line, required=True)
    page = fields.Nested(_PageInfo, required=True, data_key="pageInfo")


class _Refund(Translation):
    id = Identifier(required=True, data_key="legacyResourceId")
    created_at = optional_moment(data_key="createdAt")
    note = Text()
    amount = _money(required=True, data_key="totalRefundedSet")

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> Refund:
        return Refund(
            external_id=found["id"],
            amount=found["amount"],
            reason=found["note"],
            refunded_at=found["created_at"],
        )


class _LineId(Translation):
    id = GlobalId(required=True)


class _FulfillmentLine(Translation):
    quantity = WholeNumber(allow_none=True, load_default=0)
    line = fields.Nested(_LineId, required=True, data_key="lineItem")


class _Fulfillment(Translation):
    status = Text(required=True)
    lines = Items(_FulfillmentLine, required=True)


class FetchedOrder(Translation):
    """An order as the connector fetches it: Shopify's node with all its lines.

    ``refunds`` and ``fulfillments`` (each with its lines) are there when something was refunded or removed.
    """

    id = Identifier(required=True, data_key="legacyResourceId")
    name = Text(required=True)
    created_at = UtcMoment(required=True, data_key="createdAt")
    processed_at = optional_moment(data_key="processedAt")
    updated_at = UtcMoment(required=True, data_key="updatedAt")
    cancelled_at = optional_moment(data_key="cancelledAt")
    closed = Flag()
    test = Flag()
    financial = Text(data_key="displayFinancialStatus")
    fulfillment = Text(required=True, data_key="displayFulfillmentStatus")
    currency = Text(required=True, data_key="currencyCode")
    taxes_included = Flag(data_key="taxesIncluded")
    email = Text()
    note = Text()
    total = _money(required=True, data_key="totalPriceSet")
    shipping = _money(required=True, data_key="totalShippingPriceSet")
    tax = _optional_money(data_key="totalTaxSet")
    discounts = _optional_money(data_key="totalDiscountsSet")
    tip = _optional_money(data_key="totalTipReceivedSet")
    duties = _optional_money(data_key="originalTotalDutiesSet")
    additional_fees = _optional_money(data_key="originalTotalAdditionalFeesSet")
    shipping_address = fields.Nested(_Address, allow_none=True, load_default=None, data_key="shippingAddress")
    billing_address = fields.Nested(_Address, allow_none=True, load_default=None, data_key="billingAddress")
    lines = fields.Nested(_Lines, required=True, data_key="lineItems")
    refunds = Items(_Refund)
    fulfillments = Items(_Fulfillment, load_default=None)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> Order:
        currency: str = found["currency"]
        lines: list[dict[str, Any]] = found["lines"]["nodes"]
        fulfillments: list[dict[str, Any]] | None = found["fulfillments"]
        shipped = None if fulfillments is None else shipped_units(fulfillments)
        taken_off = [total_of(currency, (each["amount"] for each in line["discounts"])) for line in lines]
        reduced = any(line["current"] < line["quantity"] for line in lines)
        return make_order(
            found,
            closed=found["closed"],
            financial=found["financial"].lower(),
            fulfillment=found["fulfillment"].lower(),
            lines=[_line(line, currency, discount, shipped) for line, discount in zip(lines, taken_off, strict=True)],
            total=found["total"],
            shipping=found["shipping"],
            tax=total_of(currency, [found["tax"]]),
            discount=total_of(currency, [found["discounts"]]) - total_of(currency, taken_off),
            extras=total_of(currency, (found["tip"], found["duties"], found["additional_fees"])),
            refunds=found["refunds"],
            whole=not found["lines"]["page"]["has_next_page"] and not (reduced and shipped is None),
        )


def shipped_units(fulfillments: Iterable[Mapping[str, Any]]) -> Counter[str]:
    shipped: Counter[str] = Counter()
    for fulfillment in fulfillments:
        if fulfillment["status"].lower() not in _NOT_SHIPPED:
            for line in fulfillment["lines"]:
                shipped[line["line"]["id"]] += line["quantity"]
    return shipped


def _line(line: Mapping[str, Any], currency: str, discount: Money, shipped: Counter[str] | None) -> OrderLine:
    """The line with its units told apart.

    Shopify counts all that were ordered, those not refunded or removed, and those not yet fulfilled: what is in both
    of the latter is open. The others were shipped as far as fulfillments say so, and removed for the rest. Without a
    refund or removal there is no rest.
    """
    quantity = line["quantity"]
    open_quantity = max(0, min(line["unfulfilled"], line["current"]))
    done = max(0, quantity - open_quantity)
    fulfilled = max(0, line["current"] - open_quantity) if shipped is None else min(done, shipped[line["id"]])
    return OrderLine(
        external_id=line["id"],
        listing_external_id=line["variant"]["id"] if line["variant"] else None,
        sku=line["sku"],
        title=line["name"],
        quantity=quantity,
        unit_price=line["unit_price"],
        total=line["unit_price"] * quantity - discount,
        tax=total_of(currency, (tax["price"] for tax in line["taxes"])),
        fulfilled=fulfilled,
        removed=done - fulfilled,
        requires_shipping=line["requires_shipping"],
    )


# ---------------------------------------------------------------- listings


def variant_title(product: str, variant: str) -> str:
    """A product with a single variant calls it "Default Title"."""
    return product if variant in ("", "Default Title") else f"{product} - {variant}"


class _Quantity(Translation):
    name = Text(required=True)
    quantity = WholeNumber(required=True)


class _LocationId(Translation):
    id = Identifier(required=True, data_key="legacyResourceId")


class _Level(Translation):
    location = fields.Nested(_LocationId, required=True)
    quantities = Items(_Quantity, required=True)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> ListingLevel:
        return ListingLevel(location_external_id=found["location"]["id"], available=available(found["quantities"]))


def available(quantities: Iterable[Mapping[str, Any]]) -> int | None:
    """The quantity named "available" among those of an inventory level."""
    return next((each["quantity"] for each in quantities if each["name"] == "available"), None)


class _Levels(Translation):
    nodes = Items(_Level, required=True)


class _InventoryItem(Translation):
    id = Identifier(required=True, data_key="legacyResourceId")
    tracked = Flag()
    levels = fields.Nested(_Levels, required=True, data_key="inventoryLevels")


class _Product(Translation):
    id = Identifier(required=True, data_key="legacyResourceId")
    title = Text()
    status = Text(required=True)


class FetchedVariant(Translation):
    """A product variant as the connector fetches it: Shopify's node, with the shop's currency beside it."""

    id = Identifier(required=True, data_key="legacyResourceId")
    title = Text()
    sku = Text()
    barcode = Text()
    price = DecimalNumber(required=True)
    currency = Text(required=True, data_key="currencyCode")
    product = fields.Nested(_Product, required=True)
    item = fields.Nested(_InventoryItem, required=True, data_key="inventoryItem")

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> Listing:
        item = found["item"]
        return Listing(
            external_id=found["id"],
            sku=found["sku"],
            title=variant_title(found["product"]["title"], found["title"]),
            tracked=item["tracked"],
            active=found["product"]["status"].lower() in ON_SALE,
            barcode=found["barcode"],
            price=Money(found["price"], found["currency"]),
            handles={INVENTORY_ITEM: item["id"], PRODUCT: found["product"]["id"]},
            levels=tuple(item["levels"]["nodes"]),
        )


# Schemas are built once: that takes longer than reading with them.
FETCHED_ORDER = FetchedOrder()
FETCHED_VARIANT = FetchedVariant()
