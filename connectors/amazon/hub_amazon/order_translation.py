"""Reading orders of the Orders API 2026-01-01 into the hub's model: amounts, statuses, people, packages, wishes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from marshmallow import fields, post_load

from hub.core.model import (
    Address,
    ChannelShipment,
    Charge,
    ChargeKind,
    Hold,
    HoldReason,
    LineQuantity,
    Money,
    Order,
    OrderLine,
    OrderStatus,
    Payment,
)
from hub.errors import Unreadable
from hub.translation import Identifier, MoneyObject, Text, Translation, UtcMoment, WholeNumber
from hub_amazon.marketplaces import BY_ID

# What is asked for beside an order's own members. Left out: what it costs the seller (EXPENSE), and what only Easy Ship
# has (FULFILLMENT_ORDERS).
INCLUDED_DATA: Final = (
    "BUYER",
    "RECIPIENT",
    "PROCEEDS",
    "PROMOTION",
    "CANCELLATION",
    "FULFILLMENT",
    "PACKAGES",
    "TAX",
    "PAYMENT",
)

ELSEWHERE: Final = "NON_AMAZON"  # sold elsewhere and shipped by Amazon: no sale of this channel
BY_AMAZON: Final = "AMAZON"

_STATUSES: Mapping[str, OrderStatus] = {
    "PENDING_AVAILABILITY": OrderStatus.PENDING,
    "PENDING": OrderStatus.PENDING,
    "UNSHIPPED": OrderStatus.OPEN,
    "PARTIALLY_SHIPPED": OrderStatus.OPEN,
    "SHIPPED": OrderStatus.FULFILLED,
    # Shipped, and only the invoice is still missing: not in the model's list, but in what Amazon maps onto it.
    "INVOICE_UNCONFIRMED": OrderStatus.FULFILLED,
    "CANCELLED": OrderStatus.CANCELLED,
    "UNFULFILLABLE": OrderStatus.CANCELLED,
}
UNPAID: Final = frozenset({"PENDING_AVAILABILITY", "PENDING"})


def status_of(channel_status: str) -> OrderStatus:
    """The hub's word for one of Amazon's. One that is not known yet holds stock, and nobody ships it."""
    return _STATUSES.get(channel_status, OrderStatus.PENDING)


def holds_stock(channel_status: str, *, by_amazon: bool) -> bool:
    """Whether Amazon has taken the order's units off the merchant's figure: from the order on until it is done."""
    return not by_amazon and status_of(channel_status) in (OrderStatus.PENDING, OrderStatus.OPEN)


def listing_id(marketplace_id: str, sku: str) -> str:
    """What a listing is called: a SKU may be listed in several marketplaces, each with a figure of its own."""
    return f"{marketplace_id}/{sku}"


# ---------------------------------------------------------------- the parts of an order


def _objects(shape: type[Translation]) -> fields.List[Any]:
    return fields.List(fields.Nested(shape), load_default=list)


class _Alias(Translation):
    aliasId = Text()
    aliasType = Text()


class _AssociatedOrder(Translation):
    orderId = Text()
    associationType = Text()


class _SalesChannel(Translation):
    channelName = Text()
    marketplaceId = Text()
    marketplaceName = Text()


class _Buyer(Translation):
    buyerName = Text()
    buyerEmail = Text()
    buyerCompanyName = Text()
    buyerPurchaseOrderNumber = Text()


class _Address(Translation[Address]):
    name = Text()
    companyName = Text()
    addressLine1 = Text()
    addressLine2 = Text()
    addressLine3 = Text()
    city = Text()
    districtOrCounty = Text()
    stateOrRegion = Text()
    municipality = Text()
    postalCode = Text()
    countryCode = Text()
    phone = Text()

    @post_load
    def build(self, said: dict[str, Any], **_: Any) -> Address:
        return Address(
            name=said["name"],
            company=said["companyName"],
            line1=said["addressLine1"],
            line2=", ".join(part for part in (said["addressLine2"], said["addressLine3"]) if part),
            city=said["city"] or said["municipality"] or said["districtOrCounty"],
            region=said["stateOrRegion"],
            postcode=said["postalCode"],
            country=said["countryCode"],
            phone=said["phone"],
        )


class _DeliveryPreference(Translation):
    dropOffLocation = Text()
    addressInstruction = Text()


class _Recipient(Translation):
    deliveryAddress = fields.Nested(_Address, load_default=Address(), allow_none=True)
    deliveryPreference = fields.Nested(_DeliveryPreference, load_default=dict, allow_none=True)


class _DetailedBreakdown(Translation):
    subtype = Text()
    value = MoneyObject(currency="currencyCode", load_default=None, allow_none=True)


class _Breakdown(Translation):
    type = Text(required=True)
    subtotal = MoneyObject(currency="currencyCode", required=True)
    detailedBreakdowns = _objects(_DetailedBreakdown)


class _OrderProceeds(Translation):
    grandTotal = MoneyObject(currency="currencyCode", load_default=None, allow_none=True)
    breakdowns = _objects(_Breakdown)


class _ItemProceeds(Translation):
    proceedsTotal = MoneyObject(currency="currencyCode", load_default=None, allow_none=True)
    breakdowns = _objects(_Breakdown)


class _Window(Translation):
    earliestDateTime = UtcMoment(load_default=None, allow_none=True)
    latestDateTime = UtcMoment(load_default=None, allow_none=True)


class _OrderFulfillment(Translation):
    fulfillmentStatus = Text(required=True)
    fulfilledBy = Text()
    fulfillmentServiceLevel = Text()
    shipByWindow = fields.Nested(_Window, load_default=dict, allow_none=True)
    deliverByWindow = fields.Nested(_Window, load_default=dict, allow_none=True)


class _Price(Translation):
    unitPrice = MoneyObject(currency="currencyCode", load_default=None, allow_none=True)


class _Customization(Translation):
    customizedUrl = Text()


class _Condition(Translation):
    conditionType = Text()
    conditionSubtype = Text()


class _Product(Translation):
    asin = Text()
    title = Text()
    sellerSku = Text()
    condition = fields.Nested(_Condition, load_default=dict, allow_none=True)
    price = fields.Nested(_Price, load_default=dict, allow_none=True)
    customization = fields.Nested(_Customization, load_default=dict, allow_none=True)


class _CancellationRequest(Translation):
    requester = Text()
    cancelReason = Text()


class _Cancellation(Translation):
    cancellationRequest = fields.Nested(_CancellationRequest, load_default=None, allow_none=True)
    cancellationExecution = fields.Nested(_CancellationRequest, load_default=None, allow_none=True)


class _Gift(Translation):
    giftMessage = Text()
    giftWrapLevel = Text()


class _SerialNumbers(Translation):
    requirementType = Text()


class _Packing(Translation):
    giftOption = fields.Nested(_Gift, load_default=None, allow_none=True)
    serialNumberRequirement = fields.Nested(_SerialNumbers, load_default=dict, allow_none=True)


class _International(Translation):
    iossNumber = Text()


class _Shipping(Translation):
    scheduledDeliveryWindow = fields.Nested(_Window, load_default=dict, allow_none=True)
    shippingConstraints = fields.Dict(load_default=dict, allow_none=True)
    internationalShipping = fields.Nested(_International, load_default=dict, allow_none=True)


class _ItemFulfillment(Translation):
    quantityFulfilled = WholeNumber(load_default=None, allow_none=True)
    quantityUnfulfilled = WholeNumber(load_default=None, allow_none=True)
    packing = fields.Nested(_Packing, load_default=dict, allow_none=True)
    shipping = fields.Nested(_Shipping, load_default=dict, allow_none=True)


class _TaxCollection(Translation):
    model = Text()
    responsibleParty = Text()


class _TaxCalculation(Translation):
    reportingScheme = Text()


class _ItemTax(Translation):
    taxCollections = _objects(_TaxCollection)
    taxCalculationBreakdowns = _objects(_TaxCalculation)


class _PromotionId(Translation):
    promotionId = Text()


class _Promotion(Translation):
    breakdowns = _objects(_PromotionId)


class _Item(Translation):
    orderItemId = Identifier(required=True)
    quantityOrdered = WholeNumber(required=True)
    programs = fields.List(Text(), load_default=list, allow_none=True)
    product = fields.Nested(_Product, required=True)
    proceeds = fields.Nested(_ItemProceeds, load_default=dict, allow_none=True)
    promotion = fields.Nested(_Promotion, load_default=dict, allow_none=True)
    cancellation = fields.Nested(_Cancellation, load_default=dict, allow_none=True)
    fulfillment = fields.Nested(_ItemFulfillment, load_default=dict, allow_none=True)
    tax = fields.Nested(_ItemTax, load_default=dict, allow_none=True)


class _PackageStatus(Translation):
    status = Text()


class _PackageItem(Translation):
    orderItemId = Identifier(required=True)
    quantity = WholeNumber(required=True)


class _Package(Translation):
    packageReferenceId = Identifier(required=True)
    packageStatus = fields.Nested(_PackageStatus, load_default=dict, allow_none=True)
    carrier = Text()
    shipTime = UtcMoment(load_default=None, allow_none=True)
    trackingNumber = Text()
    packageItems = _objects(_PackageItem)


class _PaymentExecution(Translation):
    paymentMethod = Text()
    paymentAmount = MoneyObject(currency="currencyCode", load_default=None, allow_none=True)


class _OrderPayment(Translation):
    paymentExecutions = _objects(_PaymentExecution)


class _TaxRegistration(Translation):
    entityType = Text()
    legalName = Text()
    taxRegistrationType = Text()
    taxRegistrationNumber = Text()
    taxRegistrationAddress = fields.Nested(_Address, load_default=None, allow_none=True)


class _TaxInvoicing(Translation):
    buyerInvoicePreference = Text()
    invoiceStatus = Text()


class _OrderTax(Translation):
    taxRegistrations = _objects(_TaxRegistration)
    taxInvoicing = fields.Nested(_TaxInvoicing, load_default=dict, allow_none=True)


# ---------------------------------------------------------------- money

_FEES: Mapping[str, str] = {
    "GIFT_WRAP": "Gift wrap",
    "COD_FEE": "Cash on delivery",
    "DELIVERY_TIP": "Delivery tip",
    "OTHER": "Other",
}
_BESIDE = frozenset({"SHIPPING", "GIFT_WRAP", "COD_FEE", "OTHER"})


@dataclass(frozen=True, slots=True)
class _Proceeds:
    """The amounts of an item or an order by Amazon's types; a discount is told as what it takes off."""

    breakdowns: tuple[dict[str, Any], ...]
    zero: Money

    def of(self, type: str) -> Money:
        """All amounts of a type."""
        return _sum((each["subtotal"] for each in self.breakdowns if each["type"] == type), self.zero)

    def beside_goods(self, type: str) -> Money:
        """The part of a type that is said to belong to something else than the goods, such as the shipping."""
        details = (each for told in self.breakdowns if told["type"] == type for each in told["detailedBreakdowns"])
        return _sum((each["value"] for each in details if each["value"] and each["subtype"] in _BESIDE), self.zero)

    @property
    def discount(self) -> Money:
        """What was taken off, whichever sign it is written with."""
        return _above_zero(self.of("DISCOUNT"))

    @property
    def item_discount(self) -> Money:
        """The part of it that was taken off the goods themselves."""
        return self.discount - _above_zero(self.beside_goods("DISCOUNT"))

    @property
    def item_tax(self) -> Money:
        """The tax on the goods."""
        return self.of("TAX") - self.beside_goods("TAX")


def _sum(amounts: Iterable[Money], zero: Money) -> Money:
    total = zero
    for amount in amounts:
        total = total + amount
    return total


def _above_zero(amount: Money) -> Money:
    return -amount if amount.amount < 0 else amount


def _currency(said: Mapping[str, Any]) -> str:
    """The order's currency: that of its amounts, or, while it has none, that of its marketplace. Raises Unreadable."""
    proceeds = said["proceeds"]
    found = [proceeds.get("grandTotal")]
    for item in said["orderItems"]:
        found += [each["subtotal"] for each in item["proceeds"].get("breakdowns", ())]
        found.append(item["product"]["price"].get("unitPrice"))
    for amount in found:
        if amount is not None:
            return str(amount.currency)
    return currency_of(said["salesChannel"]["marketplaceId"])


def currency_of(marketplace_id: str) -> str:
    """The currency of a marketplace. Raises Unreadable for one that is not known."""
    if marketplace_id not in BY_ID:
        raise Unreadable("The order has no amounts, and its marketplace is not known: it has no currency.")
    return BY_ID[marketplace_id].currency


# ---------------------------------------------------------------- the order


class FetchedOrder(Translation[Order]):
    """An order of searchOrders or getOrder."""

    orderId = Identifier(required=True)
    orderAliases = _objects(_Alias)
    createdTime = UtcMoment(required=True)
    lastUpdatedTime = UtcMoment(required=True)
    programs = fields.List(Text(), load_default=list, allow_none=True)
    associatedOrders = _objects(_AssociatedOrder)
    salesChannel = fields.Nested(_SalesChannel, required=True)
    buyer = fields.Nested(_Buyer, load_default=dict, allow_none=True)
    recipient = fields.Nested(_Recipient, load_default=dict, allow_none=True)
    proceeds = fields.Nested(_OrderProceeds, load_default=dict, allow_none=True)
    payment = fields.Nested(_OrderPayment, load_default=dict, allow_none=True)
    tax = fields.Nested(_OrderTax, load_default=dict, allow_none=True)
    fulfillment = fields.Nested(_OrderFulfillment, required=True)
    orderItems = fields.List(fields.Nested(_Item), required=True)
    packages = _objects(_Package)

    @post_load
    def build(self, said: dict[str, Any], **_: Any) -> Order:
        _fill_nothing(said)
        currency = _currency(said)
        zero = Money.zero(currency)
        fulfillment = said["fulfillment"]
        channel_status = fulfillment["fulfillmentStatus"]
        status = status_of(channel_status)
        by_amazon = fulfillment["fulfilledBy"] == BY_AMAZON
        lines = tuple(_line(item, said, zero, status) for item in said["orderItems"])
        still_open = status in (OrderStatus.PENDING, OrderStatus.OPEN)
        money = _amounts(said, lines, zero)
        return Order(
            external_id=said["orderId"],
            number=said["orderId"],
            status=status,
            channel_status=channel_status,
            version=said["lastUpdatedTime"],
            placed_at=said["createdTime"],
            currency=currency,
            holds_stock=holds_stock(channel_status, by_amazon=by_amazon),
            shipped_by_channel=by_amazon,
            paid=channel_status not in UNPAID,
            lines=lines,
            promised_at=_promised_at(fulfillment),
            customer_name=said["buyer"].get("buyerName", ""),
            email=said["buyer"].get("buyerEmail", ""),
            note=_wishes(said["recipient"].get("deliveryPreference") or {}),
            shipping_address=said["recipient"].get("deliveryAddress") or Address(),
            billing_address=_billing_address(said["tax"]),
            shipments=tuple(_shipments(said["packages"])),
            holds=tuple(_holds(said["orderItems"], lines)) if still_open else (),
            payments=tuple(_payments(said["payment"])),
            tags=tuple(said["programs"]),
            source=said["salesChannel"]["marketplaceName"] or said["salesChannel"]["channelName"],
            shipping_method=fulfillment["fulfillmentServiceLevel"],
            attributes=_attributes(said),
            **money,
        )


FETCHED_ORDER = FetchedOrder()


def _fill_nothing(said: dict[str, Any]) -> None:
    """What Amazon leaves out or says null for reads the same."""
    for name in ("buyer", "recipient", "proceeds", "payment", "tax"):
        said[name] = said[name] or {}
    said["programs"] = said["programs"] or []
    for item in said["orderItems"]:
        for name in ("proceeds", "promotion", "cancellation", "fulfillment", "tax"):
            item[name] = item[name] or {}
        for name in ("condition", "price", "customization"):
            item["product"][name] = item["product"][name] or {}


def _amounts(said: Mapping[str, Any], lines: Iterable[OrderLine], zero: Money) -> dict[str, Any]:
    """The order's total and its parts.

    The parts are those of the items, which add up; a tip belongs to no item. Where items tell nothing, the order's own
    parts are all there is.
    """
    of_items = tuple(each for item in said["orderItems"] for each in item["proceeds"].get("breakdowns", ()))
    of_order = tuple(said["proceeds"].get("breakdowns", ()))
    tips = tuple(each for each in of_order if each["type"] == "DELIVERY_TIP")
    parts = _Proceeds((*of_items, *tips) if of_items else of_order, zero)
    item_discount = _sum(
        (_Proceeds(tuple(item["proceeds"].get("breakdowns", ())), zero).item_discount for item in said["orderItems"]),
        zero,
    )
    charges = tuple(
        Charge(kind=ChargeKind.TIP if type == "DELIVERY_TIP" else ChargeKind.FEE, title=title, amount=parts.of(type))
        for type, title in _FEES.items()
        if parts.of(type).amount
    )
    found = {
        "shipping": parts.of("SHIPPING"),
        "tax": parts.of("TAX"),
        "discount": parts.discount - item_discount,
        "fees": _sum((charge.amount for charge in charges), zero),
    }
    without_tax = _sum((line.total for line in lines), zero) + found["shipping"] + found["fees"] - found["discount"]
    total = said["proceeds"].get("grandTotal") or without_tax + found["tax"]
    # In some marketplaces prices have their tax in them; the total tells.
    included = bool(found["tax"].amount) and total == without_tax
    # What is pending has no amounts yet, which is not the same as an order that costs nothing.
    priced = said["proceeds"].get("grandTotal") is not None or bool(parts.breakdowns)
    return {"total": total, "priced": priced, "charges": charges, "taxes_included": included, **found}


# ---------------------------------------------------------------- lines


def _line(item: Mapping[str, Any], said: Mapping[str, Any], zero: Money, status: OrderStatus) -> OrderLine:
    product, proceeds = item["product"], _Proceeds(tuple(item["proceeds"].get("breakdowns", ())), zero)
    quantity = item["quantityOrdered"]
    price = proceeds.of("ITEM")
    unit_price = product["price"].get("unitPrice")
    if unit_price is None:
        unit_price = Money(price.amount / quantity, price.currency) if quantity else zero
    sku = product["sellerSku"]
    return OrderLine(
        external_id=item["orderItemId"],
        listing_external_id=listing_id(said["salesChannel"]["marketplaceId"], sku) if sku else None,
        sku=sku,
        title=product["title"] or product["asin"],
        quantity=quantity,
        unit_price=unit_price,
        total=price - proceeds.item_discount,
        tax=proceeds.item_tax,
        fulfilled=item["fulfillment"].get("quantityFulfilled") or 0,
        removed=_removed(item, status),
        attributes=dict(_line_attributes(item)),
    )


def _removed(item: Mapping[str, Any], status: OrderStatus) -> int:
    """Units that were cancelled. What is pending tells no units to be shipped, and that means nothing."""
    told = item["fulfillment"]
    rest: int = max(0, item["quantityOrdered"] - (told.get("quantityFulfilled") or 0))
    unfulfilled: int | None = told.get("quantityUnfulfilled")
    if status is OrderStatus.CANCELLED:
        return rest
    if unfulfilled is None:
        return rest if item["cancellation"].get("cancellationExecution") else 0
    return 0 if status is OrderStatus.PENDING else max(0, rest - unfulfilled)


def _line_attributes(item: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    product, fulfillment = item["product"], item["fulfillment"]
    packing, shipping = fulfillment.get("packing") or {}, fulfillment.get("shipping") or {}
    gift = packing.get("giftOption") or {}
    window = shipping.get("scheduledDeliveryWindow") or {}
    scheduled = " to ".join(moment.isoformat() for moment in window.values() if moment)
    condition = product["condition"]
    told = {
        "ASIN": product["asin"],
        "Condition": ", ".join(dict.fromkeys(part for part in condition.values() if part)),
        "Gift message": gift.get("giftMessage", ""),
        "Gift wrap": gift.get("giftWrapLevel", ""),
        "Customization": product["customization"].get("customizedUrl", ""),
        "Serial numbers": (packing.get("serialNumberRequirement") or {}).get("requirementType", ""),
        "Scheduled delivery": scheduled,
        "Shipping constraints": ", ".join(
            name for name, value in (shipping.get("shippingConstraints") or {}).items() if value == "MANDATORY"
        ),
        "IOSS number": (shipping.get("internationalShipping") or {}).get("iossNumber", ""),
        "Promotions": ", ".join(each["promotionId"] for each in item["promotion"].get("breakdowns", ())),
        "Programs": ", ".join(item["programs"] or ()),
        "Tax collection": ", ".join(
            " by ".join(part for part in (each["model"], each["responsibleParty"]) if part)
            for each in item["tax"].get("taxCollections", ())
        ),
        "Tax scheme": ", ".join(each["reportingScheme"] for each in item["tax"].get("taxCalculationBreakdowns", ())),
    }
    yield from ((name, value) for name, value in told.items() if value)


# ---------------------------------------------------------------- what stands beside


def _promised_at(fulfillment: Mapping[str, Any]) -> Any:
    """By when it has to be shipped; where Amazon says nothing of that, by when it has to be there."""
    windows = (fulfillment["shipByWindow"] or {}, fulfillment["deliverByWindow"] or {})
    return next((window["latestDateTime"] for window in windows if window.get("latestDateTime")), None)


def _wishes(preference: Mapping[str, Any]) -> str:
    told = (preference.get("dropOffLocation", ""), preference.get("addressInstruction", ""))
    return "\n".join(part for part in told if part)


def _billing_address(tax: Mapping[str, Any]) -> Address:
    for each in tax.get("taxRegistrations", ()):
        if each["entityType"] == "BUYER" and each["taxRegistrationAddress"] is not None:
            found: Address = each["taxRegistrationAddress"]
            return found
    return Address()


def _shipments(packages: Iterable[Mapping[str, Any]]) -> Iterator[ChannelShipment]:
    """What left. A package that still waits to be picked up has not."""
    for each in packages:
        status = (each["packageStatus"] or {}).get("status", "")
        if status == "PENDING":
            continue
        yield ChannelShipment(
            external_id=each["packageReferenceId"],
            lines=tuple(
                LineQuantity(line_external_id=item["orderItemId"], quantity=item["quantity"])
                for item in each["packageItems"]
            ),
            shipped_at=each["shipTime"],
            carrier=each["carrier"],
            tracking_numbers=(each["trackingNumber"],) if each["trackingNumber"] else (),
            cancelled=status == "CANCELLED",
        )


def _holds(items: Iterable[Mapping[str, Any]], lines: Iterable[OrderLine]) -> Iterator[Hold]:
    """The buyer's wishes to cancel that nobody has followed yet, while there is something left to be cancelled."""
    for item, line in zip(items, lines, strict=True):
        request = item["cancellation"].get("cancellationRequest")
        if request and not item["cancellation"].get("cancellationExecution") and line.open_quantity:
            yield Hold(
                external_id=f"cancellation/{line.external_id}",
                reason=HoldReason.CANCELLATION,
                note=f"{line.title or line.sku}: {request['cancelReason'] or 'no reason given'}",
                held_by=request["requester"] or "BUYER",
            )


def _payments(payment: Mapping[str, Any]) -> Iterator[Payment]:
    for each in payment.get("paymentExecutions", ()):
        if each["paymentAmount"] is not None:
            method = each["paymentMethod"]
            yield Payment(
                method=method, amount=each["paymentAmount"], gift_card=method.lower().replace(" ", "") == "giftcard"
            )


def _attributes(said: Mapping[str, Any]) -> dict[str, str]:
    tax = said["tax"]
    invoicing = tax.get("taxInvoicing") or {}
    told = {
        "Seller's order number": ", ".join(
            each["aliasId"] for each in said["orderAliases"] if each["aliasType"] == "SELLER_ORDER_ID"
        ),
        "Purchase order": said["buyer"].get("buyerPurchaseOrderNumber", ""),
        "Company": said["buyer"].get("buyerCompanyName", ""),
        "Belongs to order": ", ".join(
            f"{each['orderId']} ({each['associationType']})" for each in said["associatedOrders"] if each["orderId"]
        ),
        "Invoice": invoicing.get("invoiceStatus", ""),
        "Invoice wanted": invoicing.get("buyerInvoicePreference", ""),
    }
    for each in tax.get("taxRegistrations", ()):
        if each["entityType"] == "BUYER" and each["taxRegistrationNumber"]:
            named = " ".join(part for part in ("Tax number", each["taxRegistrationType"]) if part)
            told[named] = each["taxRegistrationNumber"]
    return {name: value for name, value in told.items() if value}
