"""Shopify's payloads read into the model: orders and variants from GraphQL, and the REST-shaped bodies of webhooks.

Both shapes of one thing read alike: external ids are the numeric ids that both carry, money is in the shop's currency.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from marshmallow import ValidationError, fields, post_load

from hub.connector import Fact, ListingRemoved, OrderRemoved, Refetch, StockSeen
from hub.core.model import Address, Listing, ListingLevel, Money, Order, OrderLine, OrderStatus, Refund
from hub.translation import DecimalNumber, Identifier, Text, Translation, UtcMoment, WholeNumber, load_json

# The handles of a listing: under the first Shopify keeps its stock, the second is what it is a variant of.
INVENTORY_ITEM = "inventory_item_id"
PRODUCT = "product_id"

ZERO = Decimal(0)

# What came of these fulfillments was not shipped.
_NOT_SHIPPED = frozenset({"cancelled", "error", "failure"})
# Money that is not there, and not on its way: Shopify's own word decides, whatever is left to ship.
_UNPAID = frozenset({"pending", "expired", "voided"})
_ON_SALE = frozenset({"active", "unlisted"})


# ---------------------------------------------------------------- small shapes of both


class GlobalId(Identifier):
    """A GraphQL id such as "gid://shopify/LineItem/466157049", read as the number at its end."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        number = text.rpartition("/")[2]
        if not text.startswith("gid://shopify/") or not (number.isascii() and number.isdigit()):
            raise ValidationError("Not a Shopify id.")
        return number


class _ShopMoney(Translation):
    amount = DecimalNumber(required=True)
    currency = Text(required=True)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> Money:
        return Money(found["amount"], found["currency"])


class _GraphMoney(_ShopMoney):
    currency = Text(required=True, data_key="currencyCode")


class _RestMoney(_ShopMoney):
    currency = Text(required=True, data_key="currency_code")


class _GraphMoneyBag(Translation):
    money = fields.Nested(_GraphMoney, required=True, data_key="shopMoney")

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> Money:
        money: Money = found["money"]
        return money


class _RestMoneyBag(_GraphMoneyBag):
    money = fields.Nested(_RestMoney, required=True, data_key="shop_money")


def _graph_money(**options: Any) -> fields.Nested:
    return fields.Nested(_GraphMoneyBag, **options)


def _optional_graph_money(**options: Any) -> fields.Nested:
    return fields.Nested(_GraphMoneyBag, allow_none=True, load_default=None, **options)


def _optional_rest_money() -> fields.Nested:
    return fields.Nested(_RestMoneyBag, allow_none=True, load_default=None)


def _list_of(shape: type[Translation], **options: Any) -> fields.List[Any]:
    return fields.List(fields.Nested(shape), **options)


def _optional_moment(**options: Any) -> UtcMoment:
    return UtcMoment(allow_none=True, load_default=None, **options)


def _flag(**options: Any) -> fields.Boolean:
    return fields.Boolean(truthy={True}, falsy={False}, allow_none=True, load_default=False, **options)


def _total(currency: str, amounts: Iterable[Money | None]) -> Money:
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


def _order(
    *,
    external_id: str,
    number: str,
    updated_at: datetime,
    placed_at: datetime,
    cancelled: bool,
    closed: bool,
    financial: str,
    fulfillment: str,
    currency: str,
    taxes_included: bool,
    lines: Sequence[OrderLine],
    total: Money,
    shipping: Money,
    tax: Money,
    discounts: Money,
    line_discounts: Money,
    fees: Money,
    refunds: Sequence[Refund],
    whole: bool,
    test: bool,
    email: str,
    note: str,
    shipping_address: Address | None,
    billing_address: Address | None,
) -> Order:
    """The order, by the rules that hold whichever shape told it.

    Shopify holds stock for what is open and unfulfilled, paid or not. ``fees`` (tips, duties, import fees) count as far
    as the total holds them beyond its other parts: on some orders a tip is a line, or duties are in the prices.
    """
    discount = discounts - line_discounts
    parts = _total(currency, (line.total for line in lines)) + shipping - discount
    beyond = (total - (parts if taxes_included else parts + tax)).amount
    status = _status(cancelled=cancelled, closed=closed, financial=financial, lines=lines)
    said = [financial or "payment not required", fulfillment]
    if cancelled or closed:
        said.append("cancelled" if cancelled else "closed")
    return Order(
        external_id=external_id,
        number=number,
        status=status,
        channel_status=", ".join(said),
        version=updated_at,
        placed_at=placed_at,
        currency=currency,
        holds_stock=status in (OrderStatus.OPEN, OrderStatus.PENDING),
        lines=tuple(lines),
        total=total,
        shipping=shipping,
        tax=tax,
        discount=discount,
        fees=Money(max(ZERO, min(beyond, fees.amount)), currency),
        whole=whole,
        taxes_included=taxes_included,
        test=test,
        customer_name=next((each.name for each in (shipping_address, billing_address) if each and each.name), ""),
        email=email,
        note=note,
        shipping_address=shipping_address or Address(),
        billing_address=billing_address or Address(),
        refunds=tuple(refunds),
    )


# ---------------------------------------------------------------- orders from GraphQL


class _GraphAddress(Translation):
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


class _GraphVariantId(Translation):
    id = Identifier(required=True, data_key="legacyResourceId")


class _GraphTaxLine(Translation):
    price = _graph_money(required=True, data_key="priceSet")


class _GraphAllocation(Translation):
    amount = _graph_money(required=True, data_key="allocatedAmountSet")


class _GraphLine(Translation):
    id = GlobalId(required=True)
    name = Text()
    sku = Text()
    quantity = WholeNumber(required=True)
    current = WholeNumber(required=True, data_key="currentQuantity")
    unfulfilled = WholeNumber(required=True, data_key="unfulfilledQuantity")
    requires_shipping = _flag(data_key="requiresShipping")
    variant = fields.Nested(_GraphVariantId, allow_none=True, load_default=None)
    unit_price = _graph_money(required=True, data_key="originalUnitPriceSet")
    discounts = _list_of(_GraphAllocation, required=True, data_key="discountAllocations")
    taxes = _list_of(_GraphTaxLine, required=True, data_key="taxLines")


class _PageInfo(Translation):
    has_next_page = _flag(data_key="hasNextPage")


class _GraphLines(Translation):
    nodes = _list_of(_GraphLine, required=True)
    page = fields.Nested(_PageInfo, required=True, data_key="pageInfo")


class _GraphRefund(Translation):
    id = Identifier(required=True, data_key="legacyResourceId")
    created_at = _optional_moment(data_key="createdAt")
    note = Text()
    amount = _graph_money(required=True, data_key="totalRefundedSet")

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> Refund:
        return Refund(
            external_id=found["id"],
            amount=found["amount"],
            reason=found["note"],
            refunded_at=found["created_at"],
        )


class _GraphLineId(Translation):
    id = GlobalId(required=True)


class _GraphFulfillmentLine(Translation):
    quantity = WholeNumber(allow_none=True, load_default=0)
    line = fields.Nested(_GraphLineId, required=True, data_key="lineItem")


class _GraphFulfillment(Translation):
    status = Text(required=True)
    lines = _list_of(_GraphFulfillmentLine, required=True)


class FetchedOrder(Translation):
    """An order as the connector fetches it: Shopify's node with all its lines.

    ``refunds`` and ``fulfillments`` (each with its lines) are there when something was refunded or removed.
    """

    id = Identifier(required=True, data_key="legacyResourceId")
    name = Text(required=True)
    created_at = UtcMoment(required=True, data_key="createdAt")
    processed_at = _optional_moment(data_key="processedAt")
    updated_at = UtcMoment(required=True, data_key="updatedAt")
    cancelled_at = _optional_moment(data_key="cancelledAt")
    closed = _flag()
    test = _flag()
    financial = Text(data_key="displayFinancialStatus")
    fulfillment = Text(required=True, data_key="displayFulfillmentStatus")
    currency = Text(required=True, data_key="currencyCode")
    taxes_included = _flag(data_key="taxesIncluded")
    email = Text()
    note = Text()
    total = _graph_money(required=True, data_key="totalPriceSet")
    shipping = _graph_money(required=True, data_key="totalShippingPriceSet")
    tax = _optional_graph_money(data_key="totalTaxSet")
    discounts = _optional_graph_money(data_key="totalDiscountsSet")
    tip = _optional_graph_money(data_key="totalTipReceivedSet")
    duties = _optional_graph_money(data_key="originalTotalDutiesSet")
    additional_fees = _optional_graph_money(data_key="originalTotalAdditionalFeesSet")
    shipping_address = fields.Nested(_GraphAddress, allow_none=True, load_default=None, data_key="shippingAddress")
    billing_address = fields.Nested(_GraphAddress, allow_none=True, load_default=None, data_key="billingAddress")
    lines = fields.Nested(_GraphLines, required=True, data_key="lineItems")
    refunds = _list_of(_GraphRefund, load_default=list)
    fulfillments = _list_of(_GraphFulfillment, load_default=None)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> Order:
        currency: str = found["currency"]
        lines: list[dict[str, Any]] = found["lines"]["nodes"]
        fulfillments: list[dict[str, Any]] | None = found["fulfillments"]
        shipped = None if fulfillments is None else _shipped(fulfillments)
        discounts = [_total(currency, (each["amount"] for each in line["discounts"])) for line in lines]
        return _order(
            external_id=found["id"],
            number=found["name"],
            updated_at=found["updated_at"],
            placed_at=found["processed_at"] or found["created_at"],
            cancelled=found["cancelled_at"] is not None,
            closed=found["closed"],
            financial=found["financial"].lower(),
            fulfillment=found["fulfillment"].lower(),
            currency=currency,
            taxes_included=found["taxes_included"],
            lines=[
                _graph_line(line, currency, taken_off, shipped)
                for line, taken_off in zip(lines, discounts, strict=True)
            ],
            total=found["total"],
            shipping=found["shipping"],
            tax=_total(currency, [found["tax"]]),
            discounts=_total(currency, [found["discounts"]]),
            line_discounts=_total(currency, discounts),
            fees=_total(currency, (found["tip"], found["duties"], found["additional_fees"])),
            refunds=found["refunds"],
            whole=not found["lines"]["page"]["has_next_page"]
            and (shipped is not None or not any(line["current"] < line["quantity"] for line in lines)),
            test=found["test"],
            email=found["email"],
            note=found["note"],
            shipping_address=found["shipping_address"],
            billing_address=found["billing_address"],
        )


def _shipped(fulfillments: Iterable[Mapping[str, Any]]) -> Counter[str]:
    shipped: Counter[str] = Counter()
    for fulfillment in fulfillments:
        if fulfillment["status"].lower() not in _NOT_SHIPPED:
            for line in fulfillment["lines"]:
                shipped[line["line"]["id"]] += line["quantity"]
    return shipped


def _graph_line(line: Mapping[str, Any], currency: str, discount: Money, shipped: Counter[str] | None) -> OrderLine:
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
        tax=_total(currency, (tax["price"] for tax in line["taxes"])),
        fulfilled=fulfilled,
        removed=done - fulfilled,
        requires_shipping=line["requires_shipping"],
    )


# ---------------------------------------------------------------- orders from webhooks


class _RestAddress(Translation):
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


class _RestTaxLine(Translation):
    price = DecimalNumber(allow_none=True, load_default=ZERO)
    price_set = _optional_rest_money()


class _RestAllocation(Translation):
    amount = DecimalNumber(allow_none=True, load_default=ZERO)
    amount_set = _optional_rest_money()


class _RestLine(Translation):
    id = Identifier(required=True)
    variant_id = Identifier(allow_none=True, load_default=None)
    name = Text()
    title = Text()
    sku = Text()
    quantity = WholeNumber(required=True)
    current_quantity = WholeNumber(allow_none=True, load_default=None)
    fulfillable_quantity = WholeNumber(allow_none=True, load_default=None)
    requires_shipping = _flag()
    price = DecimalNumber(required=True)
    price_set = _optional_rest_money()
    total_discount = DecimalNumber(allow_none=True, load_default=ZERO)
    total_discount_set = _optional_rest_money()
    discount_allocations = _list_of(_RestAllocation, allow_none=True, load_default=None)
    tax_lines = _list_of(_RestTaxLine, load_default=list)


class _RestRefundLine(Translation):
    line_item_id = Identifier(required=True)
    quantity = WholeNumber(required=True)
    restock_type = Text()


class _RestTransaction(Translation):
    kind = Text()
    status = Text()
    amount = DecimalNumber(allow_none=True, load_default=ZERO)
    currency = Text()


class _RestRefund(Translation):
    id = Identifier(required=True)
    created_at = _optional_moment()
    note = Text()
    refund_line_items = _list_of(_RestRefundLine, load_default=list)
    transactions = _list_of(_RestTransaction, load_default=list)


class _RestFulfilledLine(Translation):
    id = Identifier(required=True)
    quantity = WholeNumber(required=True)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {"line": {"id": found["id"]}, "quantity": found["quantity"]}


class _RestFulfillment(Translation):
    status = Text()
    lines = _list_of(_RestFulfilledLine, load_default=list, data_key="line_items")


class _RestShippingLine(Translation):
    price = DecimalNumber(allow_none=True, load_default=ZERO)
    price_set = _optional_rest_money()


class WebhookOrder(Translation):
    """The body of an orders/… webhook. Older bodies have plain amounts only: they are in the shop's currency too."""

    id = Identifier(required=True)
    name = Text(required=True)
    created_at = UtcMoment(required=True)
    processed_at = _optional_moment()
    updated_at = UtcMoment(required=True)
    cancelled_at = _optional_moment()
    closed_at = _optional_moment()
    test = _flag()
    financial_status = Text()
    fulfillment_status = Text()
    currency = Text(required=True)
    taxes_included = _flag()
    email = Text()
    note = Text()
    total_price = DecimalNumber(required=True)
    total_price_set = _optional_rest_money()
    total_shipping_price_set = _optional_rest_money()
    shipping_lines = _list_of(_RestShippingLine, load_default=list)
    total_tax = DecimalNumber(allow_none=True, load_default=ZERO)
    total_tax_set = _optional_rest_money()
    total_discounts = DecimalNumber(allow_none=True, load_default=ZERO)
    total_discounts_set = _optional_rest_money()
    total_tip_received = DecimalNumber(allow_none=True, load_default=ZERO)
    original_total_duties_set = _optional_rest_money()
    original_total_additional_fees_set = _optional_rest_money()
    shipping_address = fields.Nested(_RestAddress, allow_none=True, load_default=None)
    billing_address = fields.Nested(_RestAddress, allow_none=True, load_default=None)
    line_items = _list_of(_RestLine, required=True)
    refunds = _list_of(_RestRefund, load_default=None)
    fulfillments = _list_of(_RestFulfillment, load_default=None)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> Order:
        currency: str = found["currency"]

        def money(of: Mapping[str, Any], name: str) -> Money:
            return of[f"{name}_set"] or Money(of[name] or ZERO, currency)

        def line_discount(line: Mapping[str, Any]) -> Money:
            allocations = line["discount_allocations"]
            if allocations is None:
                return money(line, "total_discount")
            return _total(currency, (money(allocation, "amount") for allocation in allocations))

        refunds: list[dict[str, Any]] = found["refunds"] or []
        refunded: Counter[str] = Counter()
        cancelled: Counter[str] = Counter()
        for refund in refunds:
            for each in refund["refund_line_items"]:
                refunded[each["line_item_id"]] += each["quantity"]
                cancelled[each["line_item_id"]] += each["quantity"] if each["restock_type"] == "cancel" else 0
        shipped = _shipped(found["fulfillments"] or [])
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
                    tax=_total(currency, (money(tax, "price") for tax in line["tax_lines"])),
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
        return _order(
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
            shipping=shipping or _total(currency, (money(line, "price") for line in found["shipping_lines"])),
            tax=money(found, "total_tax"),
            discounts=money(found, "total_discounts"),
            line_discounts=_total(currency, map(line_discount, found["line_items"])),
            fees=_total(
                currency,
                (
                    Money(found["total_tip_received"] or ZERO, currency),
                    found["original_total_duties_set"],
                    found["original_total_additional_fees_set"],
                ),
            ),
            refunds=[_rest_refund(refund, currency) for refund in refunds],
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


def _rest_refund(refund: Mapping[str, Any], currency: str) -> Refund:
    paid_back = (
        Money(each["amount"], currency)
        for each in refund["transactions"]
        if each["kind"] == "refund" and each["status"] == "success" and each["currency"] in ("", currency)
    )
    return Refund(
        external_id=refund["id"],
        amount=_total(currency, paid_back),
        reason=refund["note"],
        refunded_at=refund["created_at"],
    )


# ---------------------------------------------------------------- listings


def _title(product: str, variant: str) -> str:
    """A product with a single variant calls it "Default Title"."""
    return product if variant in ("", "Default Title") else f"{product} - {variant}"


class _Quantity(Translation):
    name = Text(required=True)
    quantity = WholeNumber(required=True)


class _LocationId(Translation):
    id = Identifier(required=True, data_key="legacyResourceId")


class _GraphLevel(Translation):
    location = fields.Nested(_LocationId, required=True)
    quantities = _list_of(_Quantity, required=True)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> ListingLevel:
        return ListingLevel(location_external_id=found["location"]["id"], available=available(found["quantities"]))


def available(quantities: Iterable[Mapping[str, Any]]) -> int | None:
    """The quantity named "available" among those of an inventory level."""
    return next((each["quantity"] for each in quantities if each["name"] == "available"), None)


class _GraphLevels(Translation):
    nodes = _list_of(_GraphLevel, required=True)


class _InventoryItem(Translation):
    id = Identifier(required=True, data_key="legacyResourceId")
    tracked = _flag()
    levels = fields.Nested(_GraphLevels, required=True, data_key="inventoryLevels")


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
            title=_title(found["product"]["title"], found["title"]),
            tracked=item["tracked"],
            active=found["product"]["status"].lower() in _ON_SALE,
            barcode=found["barcode"],
            price=Money(found["price"], found["currency"]),
            handles={INVENTORY_ITEM: item["id"], PRODUCT: found["product"]["id"]},
            levels=tuple(item["levels"]["nodes"]),
        )


class _RestVariant(Translation):
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
    variants = _list_of(_RestVariant, required=True)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> list[Fact]:
        return [_rest_listing(found, variant) for variant in found["variants"]]


def _rest_listing(product: Mapping[str, Any], variant: Mapping[str, Any]) -> Fact:
    item, management = variant["inventory_item_id"], variant["inventory_management"]
    if item is None or management is None:
        return Refetch("listing", variant["id"])
    return Listing(
        external_id=variant["id"],
        sku=variant["sku"],
        title=_title(product["title"], variant["title"]),
        tracked=management != "",
        active=product["status"] in _ON_SALE,
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


# Schemas are built once: that takes longer than reading with them.
FETCHED_ORDER = FetchedOrder()
FETCHED_VARIANT = FetchedVariant()
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
WEBHOOKS: Mapping[str, Callable[[bytes], Iterable[Fact]]] = {
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
