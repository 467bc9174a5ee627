"""Orders read into the model: the rules that hold whichever shape tells them, and the shape they are fetched in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import marshmallow
from marshmallow import fields, post_load

from hub.core.model import (
    Address,
    ChannelShipment,
    ChannelWork,
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
    Return,
    ReturnStatus,
    Risk,
    RiskLevel,
    WorkRequest,
    WorkStatus,
)
from hub.translation import Identifier, Text, Translation, UtcMoment, WholeNumber
from hub_shopify.translation import (
    Attributes,
    Flag,
    GlobalId,
    Items,
    TotalBag,
    money_bag,
    optional_moment,
    optional_money_bag,
    total_of,
)

GIFT_CARD = "gift_card"  # the gateway of Shopify's own gift cards

# What came of these fulfillments was not shipped.
_NOT_SHIPPED = frozenset({"cancelled", "error", "failure"})
# Money that is not there, and not on its way: Shopify's own word decides, whatever is left to ship.
_UNPAID = frozenset({"pending", "expired", "voided"})

# ---------------------------------------------------------------- what makes an order


def _status(*, cancelled: bool, closed: bool, financial: str, lines: Sequence[OrderLine]) -> OrderStatus:
    if cancelled:
        return OrderStatus.CANCELLED
    if closed or not any(line.open_quantity for line in lines):
        return OrderStatus.REFUNDED if financial == "refunded" else OrderStatus.FULFILLED
    return OrderStatus.PENDING if financial in _UNPAID else OrderStatus.OPEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """What is charged beside goods, shipping and tax, by what it is for."""

    tip: Money | None
    duties: Money | None
    fees: Money | None


def _charges(extras: Extras, most: Money) -> tuple[Charge, ...]:
    """The extras, as far as a total has room for them."""
    named = (
        (ChargeKind.TIP, "Tip", extras.tip),
        (ChargeKind.DUTY, "Duties", extras.duties),
        (ChargeKind.FEE, "Additional fees", extras.fees),
    )
    charges, left = [], most.amount
    for kind, title, amount in named:
        if amount is not None and (fits := min(amount.amount, left)) > 0:
            charges.append(Charge(kind=kind, title=title, amount=Money(fits, most.currency)))
            left -= fits
    return tuple(charges)


def line_kind(*, gift_card: bool, listing: str | None, vendor: str) -> LineKind:
    """What a line sells. One without a variant was typed in, or its product was deleted: that one had a vendor."""
    if gift_card:
        return LineKind.GIFT_CARD
    return LineKind.CUSTOM if listing is None and not vendor else LineKind.PRODUCT


def discounts_of(currency: str, named: Iterable[tuple[str, Money]]) -> tuple[Discount, ...]:
    """The discounts, each with all that it took off."""
    amounts: dict[str, Money] = {}
    for code, amount in named:
        amounts[code] = amounts.get(code, Money.zero(currency)) + amount
    return tuple(Discount(code=code, amount=amount) for code, amount in amounts.items() if amount.amount > 0)


def payment(gateway: str, amount: Money) -> Payment:
    return Payment(method=gateway, amount=amount, gift_card=gateway == GIFT_CARD)


def make_order(
    found: Mapping[str, Any],
    *,
    closed: bool,
    financial: str,
    fulfillment: str,
    lines: Sequence[OrderLine],
    total: Money,
    presentment_total: Money | None,
    shipping: Money,
    tax: Money,
    discount: Money,
    extras: Extras,
    whole: bool,
    **beside: Any,
) -> Order:
    """The order, by the rules that hold whichever shape told it; ``found`` has what both call alike, and ``beside`` are
    further members of the order.

    Shopify holds stock for what is open and unfulfilled, paid or not. ``extras`` are fees as far as the total holds
    them beyond its other parts: on some orders a tip is a line, or duties are in the prices.
    """
    currency: str = found["currency"]
    cancelled = found["cancelled_at"] is not None
    parts = total_of(currency, (line.total for line in lines)) + shipping - discount
    charges = _charges(extras, total - (parts if found["taxes_included"] else parts + tax))
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
        presentment_total=presentment_total,
        shipping=shipping,
        tax=tax,
        discount=discount,
        fees=total_of(currency, (charge.amount for charge in charges)),
        charges=charges,
        whole=whole,
        taxes_included=found["taxes_included"],
        test=found["test"],
        customer_name=addresses[0].name or addresses[1].name,
        email=found["email"],
        note=found["note"],
        shipping_address=addresses[0],
        billing_address=addresses[1],
        attributes=found["attributes"],
        **beside,
    )


# ---------------------------------------------------------------- as they are fetched


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
    price = money_bag(required=True, data_key="priceSet")


class _DiscountReason(Translation):
    """Why something is cheaper: by a code, or by whatever its title says."""

    code = Text()
    title = Text()


class _Allocation(Translation):
    amount = money_bag(required=True, data_key="allocatedAmountSet")
    reason = fields.Nested(_DiscountReason, required=True, data_key="discountApplication")

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> tuple[str, Money]:
        reason = found["reason"]
        return reason["code"] or reason["title"], found["amount"]


class _Line(Translation):
    id = GlobalId(required=True)
    name = Text()
    sku = Text()
    vendor = Text()
    quantity = WholeNumber(required=True)
    current = WholeNumber(required=True, data_key="currentQuantity")
    unfulfilled = WholeNumber(required=True, data_key="unfulfilledQuantity")
    requires_shipping = Flag(data_key="requiresShipping")
    gift_card = Flag(data_key="isGiftCard")
    attributes = Attributes("key", data_key="customAttributes")
    variant = fields.Nested(_VariantId, allow_none=True, load_default=None)
    unit_price = money_bag(required=True, data_key="originalUnitPriceSet")
    discounts = Items(_Allocation, required=True, data_key="discountAllocations")
    taxes = Items(_TaxLine, required=True, data_key="taxLines")


class _PageInfo(Translation):
    has_next_page = Flag(data_key="hasNextPage")


class _Lines(Translation):
    nodes = Items(_Line, required=True)
    page = fields.Nested(_PageInfo, required=True, data_key="pageInfo")


class _LineId(Translation):
    id = GlobalId(required=True)


class _Units(Translation):
    """Some units of an order line."""

    quantity = WholeNumber(allow_none=True, load_default=0)
    line = fields.Nested(_LineId, required=True, data_key="lineItem")

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> LineQuantity:
        return LineQuantity(line_external_id=found["line"]["id"], quantity=found["quantity"] or 0)


class _UnitsOfPart(Translation):
    nodes = Items(_Units, required=True)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> tuple[LineQuantity, ...]:
        return tuple(found["nodes"])


class _Refund(Translation):
    id = Identifier(required=True, data_key="legacyResourceId")
    created_at = optional_moment(data_key="createdAt")
    note = Text()
    amount = money_bag(required=True, data_key="totalRefundedSet")
    lines = fields.Nested(_UnitsOfPart, load_default=(), data_key="refundLineItems")

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> Refund:
        return Refund(
            external_id=found["id"],
            amount=found["amount"],
            reason=found["note"],
            refunded_at=found["created_at"],
            lines=found["lines"],
        )


class _ShippedLine(Translation):
    line = fields.Nested(_LineId, required=True, data_key="lineItem")


class _ReturnReason(Translation):
    name = Text()


class _ReturnedUnits(Translation):
    """Units that come back. What somebody sends back without having been sent it has no line."""

    quantity = WholeNumber(required=True)
    shipped = fields.Nested(_ShippedLine, allow_none=True, load_default=None, data_key="fulfillmentLineItem")
    reason = fields.Nested(_ReturnReason, allow_none=True, load_default=None, data_key="returnReasonDefinition")


class _ReturnedLines(Translation):
    nodes = Items(_ReturnedUnits, required=True)


RETURN_STATUSES = {
    "REQUESTED": ReturnStatus.REQUESTED,
    "OPEN": ReturnStatus.OPEN,
    "CLOSED": ReturnStatus.CLOSED,
    "DECLINED": ReturnStatus.DECLINED,
    "CANCELED": ReturnStatus.CANCELLED,
}


class _Return(Translation):
    id = GlobalId(required=True)
    name = Text()
    status = fields.String(required=True, validate=marshmallow.validate.OneOf(RETURN_STATUSES))
    lines = fields.Nested(_ReturnedLines, required=True, data_key="returnLineItems")

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> Return:
        units = found["lines"]["nodes"]
        by_line: Counter[str] = Counter()
        for each in units:
            if each["shipped"]:
                by_line[each["shipped"]["line"]["id"]] += each["quantity"]
        reasons = dict.fromkeys(each["reason"]["name"] for each in units if each["reason"] and each["reason"]["name"])
        return Return(
            external_id=found["id"],
            number=found["name"],
            status=RETURN_STATUSES[found["status"]],
            reason=", ".join(reasons),
            lines=tuple(LineQuantity(line_external_id=id, quantity=units) for id, units in by_line.items()),
        )


class _Tracking(Translation):
    company = Text()
    number = Text()
    url = Text()


class _OptionalLocation(Translation):
    id = Identifier(required=True, data_key="legacyResourceId")


class _Shipment(Translation):
    """A fulfillment; without lines where the only one was not asked for them."""

    id = Identifier(required=True, data_key="legacyResourceId")
    status = Text(required=True)
    created_at = optional_moment(data_key="createdAt")
    tracking = Items(_Tracking, data_key="trackingInfo")
    location = fields.Nested(_OptionalLocation, allow_none=True, load_default=None)
    lines = fields.Nested(_UnitsOfPart, load_default=(), data_key="fulfillmentLineItems")

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> ChannelShipment:
        tracking = found["tracking"]
        return ChannelShipment(
            external_id=found["id"],
            lines=found["lines"],
            shipped_at=found["created_at"],
            carrier=next((each["company"] for each in tracking if each["company"]), ""),
            tracking_numbers=tuple(each["number"] for each in tracking if each["number"]),
            tracking_url=next((each["url"] for each in tracking if each["url"]), ""),
            location_external_id=found["location"]["id"] if found["location"] else "",
            cancelled=not_shipped(found["status"]),
        )


HOLD_REASONS = {
    "AWAITING_PAYMENT": HoldReason.PAYMENT,
    "HIGH_RISK_OF_FRAUD": HoldReason.FRAUD,
    "INCORRECT_ADDRESS": HoldReason.ADDRESS,
    "INVENTORY_OUT_OF_STOCK": HoldReason.BACKORDER,
}


class _Hold(Translation):
    id = GlobalId(required=True)
    reason = Text(required=True)
    notes = Text(data_key="reasonNotes")
    shown = Text(data_key="displayReason")
    ours = Flag(data_key="heldByRequestingApp")

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> Hold:
        reason = HOLD_REASONS.get(found["reason"], HoldReason.MANUAL)
        return Hold(
            external_id=found["id"],
            reason=reason,
            note=found["notes"] or (found["shown"] if reason is HoldReason.MANUAL else ""),
            held_by="Tallyhub" if found["ours"] else "",
        )


class _WorkUnits(_Units):
    quantity = WholeNumber(required=True, data_key="remainingQuantity")


class _WorkLines(Translation):
    nodes = Items(_WorkUnits, required=True)


class _AssignedLocation(Translation):
    location = fields.Nested(_OptionalLocation, allow_none=True, load_default=None)


class _Delivery(Translation):
    by = optional_moment(data_key="maxDeliveryDateTime")


WORK_REQUESTS = {
    "SUBMITTED": WorkRequest.SUBMITTED,
    "ACCEPTED": WorkRequest.ACCEPTED,
    "REJECTED": WorkRequest.REJECTED,
    "CANCELLATION_REQUESTED": WorkRequest.CANCELLATION_REQUESTED,
    "CANCELLATION_ACCEPTED": WorkRequest.CANCELLATION_ACCEPTED,
    "CANCELLATION_REJECTED": WorkRequest.CANCELLATION_REJECTED,
}
WORK_STATUSES = {status.value.upper(): status for status in WorkStatus}
_WORK_DONE = frozenset({WorkStatus.CLOSED, WorkStatus.CANCELLED})


class _Work(Translation):
    """A fulfillment order."""

    id = GlobalId(required=True)
    status = fields.String(required=True, validate=marshmallow.validate.OneOf(WORK_STATUSES))
    request = Text(data_key="requestStatus")
    ship_from = optional_moment(data_key="fulfillAt")
    ship_by = optional_moment(data_key="fulfillBy")
    assigned = fields.Nested(_AssignedLocation, required=True, data_key="assignedLocation")
    delivery = fields.Nested(_Delivery, allow_none=True, load_default=None, data_key="deliveryMethod")
    holds = Items(_Hold, data_key="fulfillmentHolds")
    lines = fields.Nested(_WorkLines, required=True, data_key="lineItems")

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> tuple[ChannelWork, datetime | None]:
        """The work, and when the customer is to have it."""
        location = found["assigned"]["location"]
        work = ChannelWork(
            external_id=found["id"],
            status=WORK_STATUSES[found["status"]],
            request=WORK_REQUESTS.get(found["request"], WorkRequest.NONE),
            location_external_id=location["id"] if location else "",
            holds=tuple(found["holds"]),
            ship_from=found["ship_from"],
            ship_by=found["ship_by"],
            lines=tuple(line for line in found["lines"]["nodes"] if line.quantity),
        )
        return work, found["delivery"]["by"] if found["delivery"] else None


class _AllWork(Translation):
    nodes = Items(_Work, required=True)


class _RiskFact(Translation):
    description = Text()
    sentiment = Text()


class _Assessment(Translation):
    level = Text(data_key="riskLevel")
    facts = Items(_RiskFact)


RISK_LEVELS = {
    "HIGH": RiskLevel.HIGH,
    "MEDIUM": RiskLevel.MEDIUM,
    "LOW": RiskLevel.LOW,
    "PENDING": RiskLevel.PENDING,
}
RISK_BY_ADVICE = {"CANCEL": RiskLevel.HIGH, "INVESTIGATE": RiskLevel.MEDIUM, "ACCEPT": RiskLevel.LOW}


class _Risk(Translation):
    """What Shopify and the apps of the shop think of an order: the worst of it counts."""

    advice = Text(data_key="recommendation")
    assessments = Items(_Assessment)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> Risk | None:
        said = {RISK_LEVELS.get(each["level"]) for each in found["assessments"]}
        said.add(RISK_BY_ADVICE.get(found["advice"]))
        level = next((level for level in RISK_LEVELS.values() if level in said), None)
        against = [
            fact["description"]
            for each in found["assessments"]
            for fact in each["facts"]
            if fact["sentiment"] == "NEGATIVE"
        ]
        return Risk(level=level, reasons=tuple(dict.fromkeys(against))) if level else None


class _Transaction(Translation):
    kind = Text()
    status = Text()
    gateway = Text()
    amount = money_bag(required=True, data_key="amountSet")


class _ShippingLine(Translation):
    title = Text()
    discounts = Items(_Allocation, data_key="discountAllocations")


class _App(Translation):
    name = Text()


class FetchedOrder(Translation):
    """An order as the connector fetches it: Shopify's node with all its lines and fulfillment orders.

    ``refunds``, ``returns``, ``transactions`` and the lines of ``fulfillments`` are there where there is more to tell
    than one shipment of everything, paid in one way.
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
    tags = fields.List(Text(), load_default=list)
    source = Text(data_key="sourceName")
    app = fields.Nested(_App, allow_none=True, load_default=None)
    gateways = fields.List(Text(), load_default=list, data_key="paymentGatewayNames")
    attributes = Attributes("key", data_key="customAttributes")
    total = fields.Nested(TotalBag, required=True, data_key="totalPriceSet")
    shipping = money_bag(required=True, data_key="totalShippingPriceSet")
    tax = optional_money_bag(data_key="totalTaxSet")
    discounts = optional_money_bag(data_key="totalDiscountsSet")
    tip = optional_money_bag(data_key="totalTipReceivedSet")
    received = optional_money_bag(data_key="totalReceivedSet")
    duties = optional_money_bag(data_key="originalTotalDutiesSet")
    additional_fees = optional_money_bag(data_key="originalTotalAdditionalFeesSet")
    shipping_line = fields.Nested(_ShippingLine, allow_none=True, load_default=None, data_key="shippingLine")
    risk = fields.Nested(_Risk, allow_none=True, load_default=None)
    shipping_address = fields.Nested(_Address, allow_none=True, load_default=None, data_key="shippingAddress")
    billing_address = fields.Nested(_Address, allow_none=True, load_default=None, data_key="billingAddress")
    lines = fields.Nested(_Lines, required=True, data_key="lineItems")
    work = fields.Nested(_AllWork, allow_none=True, load_default=None, data_key="fulfillmentOrders")
    refunds = Items(_Refund)
    returns = Items(_Return)
    transactions = Items(_Transaction, load_default=None)
    fulfillments = Items(_Shipment)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> Order:
        currency: str = found["currency"]
        lines: list[dict[str, Any]] = found["lines"]["nodes"]
        taken_off = [total_of(currency, (amount for _, amount in line["discounts"])) for line in lines]
        reduced = any(line["current"] < line["quantity"] for line in lines)
        shipments: list[ChannelShipment] = found["fulfillments"]
        asked = found["transactions"] is not None  # what came of it
        shipped = shipped_units(shipments) if asked else None
        if not asked and len(shipments) == 1 and not reduced:
            shipments = [replace(shipments[0], lines=_not_left(lines))]
        shipping = found["shipping_line"] or {"title": "", "discounts": ()}
        total, presentment_total = found["total"]
        work = [(each, by) for each, by in (found["work"] or {"nodes": ()})["nodes"] if each.status not in _WORK_DONE]
        return make_order(
            found,
            closed=found["closed"],
            financial=found["financial"].lower(),
            fulfillment=found["fulfillment"].lower(),
            lines=[_line(line, currency, discount, shipped) for line, discount in zip(lines, taken_off, strict=True)],
            total=total,
            presentment_total=presentment_total,
            shipping=found["shipping"],
            tax=total_of(currency, [found["tax"]]),
            discount=total_of(currency, [found["discounts"]]) - total_of(currency, taken_off),
            extras=Extras(tip=found["tip"], duties=found["duties"], fees=found["additional_fees"]),
            whole=not found["lines"]["page"]["has_next_page"] and (asked or not (reduced or len(shipments) > 1)),
            refunds=tuple(found["refunds"]),
            returns=tuple(found["returns"]),
            shipments=tuple(shipments),
            work=tuple(each for each, _ in work),
            promised_at=min((by for _, by in work if by), default=None),
            risk=found["risk"],
            discounts=discounts_of(
                currency, [*(each for line in lines for each in line["discounts"]), *shipping["discounts"]]
            ),
            payments=_payments(found, currency),
            tags=tuple(found["tags"]),
            source=source_of(found["source"], found["app"]["name"] if found["app"] else ""),
            shipping_method=shipping["title"],
        )


def source_of(source: str, app: str) -> str:
    """Where an order was sold. Apps that have no word for it leave their number there: their name says more."""
    return app if app and (not source or source.isdigit()) else source


def not_shipped(status: str) -> bool:
    return status.lower() in _NOT_SHIPPED


def shipped_units(shipments: Iterable[ChannelShipment]) -> Counter[str]:
    """How many units of each line left in all."""
    shipped: Counter[str] = Counter()
    for shipment in shipments:
        if not shipment.cancelled:
            for line in shipment.lines:
                shipped[line.line_external_id] += line.quantity
    return shipped


def _not_left(lines: Iterable[Mapping[str, Any]]) -> tuple[LineQuantity, ...]:
    """What the only shipment of an order holds from which nothing was taken: all that is not to be shipped any more."""
    gone = ((line["id"], line["quantity"] - line["unfulfilled"]) for line in lines)
    return tuple(LineQuantity(line_external_id=id, quantity=units) for id, units in gone if units > 0)


# What brings money in. An authorization only promises it.
_PAID_BY = frozenset({"SALE", "CAPTURE"})


def _payments(found: Mapping[str, Any], currency: str) -> tuple[Payment, ...]:
    """By which ways how much was paid; with only one of them, all that was received."""
    transactions, received = found["transactions"], found["received"]
    if transactions is None:
        once = received is not None and received.amount > 0 and len(found["gateways"]) == 1
        return (payment(found["gateways"][0], received),) if once else ()
    amounts: dict[str, Money] = {}
    for each in transactions:
        if each["kind"] in _PAID_BY and each["status"] == "SUCCESS":
            amounts[each["gateway"]] = amounts.get(each["gateway"], Money.zero(currency)) + each["amount"]
    return tuple(payment(gateway, amount) for gateway, amount in amounts.items())


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
    listing = line["variant"]["id"] if line["variant"] else None
    return OrderLine(
        external_id=line["id"],
        listing_external_id=listing,
        sku=line["sku"],
        title=line["name"],
        quantity=quantity,
        unit_price=line["unit_price"],
        total=line["unit_price"] * quantity - discount,
        tax=total_of(currency, (tax["price"] for tax in line["taxes"])),
        fulfilled=fulfilled,
        removed=done - fulfilled,
        requires_shipping=line["requires_shipping"],
        kind=line_kind(gift_card=line["gift_card"], listing=listing, vendor=line["vendor"]),
        attributes=line["attributes"],
    )


FETCHED_ORDER = FetchedOrder()
