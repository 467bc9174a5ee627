"""A simulated seller's orders: the Orders API with its tokens and its lag, shipment confirmations, ORDER_CHANGE."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from hub.testing import SimResponse
from hub_amazon.marketplaces import BY_ID, Marketplace
from hub_amazon.simulator_account import SellerAccount, iso
from hub_amazon.simulator_listings import Listing
from hub_amazon.simulator_operations import (
    CONFIRM_SHIPMENT,
    GET_ORDER,
    SEARCH_ORDERS,
    Call,
    Refused,
    invalid,
    known,
    moment,
    needed,
)

TOKEN_LIFE = timedelta(hours=24)
LAG = timedelta(minutes=2)  # what changed less than this ago may not be asked for by its time
CENT = Decimal("0.01")
TAX = Decimal("0.19")
NO_ORDER = "No order with this id exists."

# What ORDER_CHANGE calls a status.
OLD_STATUS = {
    "PENDING": "Pending",
    "PENDING_AVAILABILITY": "PendingAvailability",
    "UNSHIPPED": "Unshipped",
    "PARTIALLY_SHIPPED": "PartiallyShipped",
    "SHIPPED": "Shipped",
    "CANCELLED": "Canceled",
    "UNFULFILLABLE": "Unfulfillable",
}
ADDRESS: Mapping[str, str] = {
    "name": "Ada Byron",
    "addressLine1": "Friedrichstr. 12",
    "addressLine2": "2. Hof",
    "city": "Berlin",
    "postalCode": "10117",
    "countryCode": "DE",
    "phone": "+49 30 5550123",
    "addressType": "RESIDENTIAL",
}


@dataclass(slots=True)
class Item:
    """A line of an order. ``price`` is of one piece, tax not among it; ``discount`` is of the whole line."""

    id: str
    listing: Listing
    quantity: int
    price: Decimal
    shipping: Decimal = Decimal(0)
    gift_wrap: Decimal = Decimal(0)
    discount: Decimal = Decimal(0)
    shipping_discount: Decimal = Decimal(0)
    tax_rate: Decimal = TAX
    gift_message: str = ""
    shipped: int = 0
    cancelled: int = 0
    cancel_reason: str | None = None  # why the buyer asks to cancel, None where nobody asks
    cancelled_by: str = ""

    @property
    def open(self) -> int:
        """Units that are still to be shipped."""
        return self.quantity - self.shipped - self.cancelled

    def amounts(self) -> dict[str, Decimal]:
        """What it brings in, by the categories of Amazon's breakdown."""
        item = self.price * (self.quantity - self.cancelled)
        taxed = item + self.shipping + self.gift_wrap - self.discount - self.shipping_discount
        return {
            "ITEM": item,
            "SHIPPING": self.shipping,
            "GIFT_WRAP": self.gift_wrap,
            "DISCOUNT": -(self.discount + self.shipping_discount),
            "TAX": (taxed * self.tax_rate).quantize(CENT, ROUND_HALF_UP),
        }

    @property
    def total(self) -> Decimal:
        """What the buyer pays for it."""
        return sum(self.amounts().values(), Decimal(0))


@dataclass(slots=True)
class Package:
    """A package that the seller has confirmed."""

    reference: str
    carrier: str
    tracking_number: str
    shipping_method: str
    at: datetime
    confirmed_at: datetime
    items: dict[str, int]
    status: str = "SHIPPED"


@dataclass(slots=True)
class Order:
    """An order at Amazon. ``by_amazon``: it is shipped from Amazon's own warehouse."""

    id: str
    marketplace: Marketplace
    created_at: datetime
    updated_at: datetime
    items: list[Item]
    status: str = "UNSHIPPED"
    by_amazon: bool = False
    service_level: str = "STANDARD"
    programs: tuple[str, ...] = ()
    seller_order_id: str = ""
    purchase_order: str = ""
    replaces: str = ""
    recipient: Mapping[str, Any] = field(default_factory=lambda: dict(ADDRESS))
    buyer_name: str = ADDRESS["name"]
    buyer_company: str = ""
    preference: str = ""
    packages: list[Package] = field(default_factory=list)

    @property
    def open(self) -> bool:
        """Whether it holds stock."""
        return self.status in ("PENDING", "UNSHIPPED", "PARTIALLY_SHIPPED")


class Orders:
    """The orders of an account.

    What changed less than ``lag`` ago is not found by ``searchOrders`` yet (Amazon's: two minutes). With
    ``discounts_below_zero`` a DISCOUNT is told as an amount below zero; Amazon's model does not say. ``recipient`` gets
    what ``buyer_name`` buys, unless the order says otherwise.
    """

    def __init__(self, account: SellerAccount, lag: timedelta) -> None:
        self._account = account
        self.lag = lag
        self.discounts_below_zero = True
        self.recipient = ADDRESS
        self.buyer_name = ADDRESS["name"]
        self.sold: dict[str, Order] = {}
        self._tokens: dict[str, tuple[datetime, Mapping[str, Any], list[str]]] = {}
        account.offer({SEARCH_ORDERS: self._search, GET_ORDER: self._tell, CONFIRM_SHIPMENT: self._confirm})

    # --- what people do

    def place(self, marketplace: Marketplace, lines: Sequence[tuple[Listing, int]], **about: Any) -> Order:
        """A customer checks out; ``about`` is what else the order says, by the members of ``Order``."""
        now, draw = self._account.now(), self._account.draw
        items = [
            Item(f"{draw.randrange(10**13, 10**14)}", listing, quantity, listing.price) for listing, quantity in lines
        ]
        numbers = draw.randrange(100, 999), draw.randrange(10**6, 10**7), draw.randrange(10**6, 10**7)
        about = {"recipient": dict(self.recipient), "buyer_name": self.buyer_name, **about}
        order = Order("-".join(map(str, numbers)), marketplace, now, now, items, **about)
        self.sold[order.id] = order
        self.tell(order, "OrderStatusChange")
        return order

    def touch(self, order: Order, change: str = "OrderStatusChange", reason: str = "") -> None:
        """An order has changed: its status follows from its lines, and Amazon tells."""
        if order.status in ("UNSHIPPED", "PARTIALLY_SHIPPED"):
            shipped = any(item.shipped for item in order.items)
            if all(item.open == 0 for item in order.items):
                order.status = "SHIPPED" if shipped else "CANCELLED"
            elif shipped:
                order.status = "PARTIALLY_SHIPPED"
        # Never the same moment twice: it is what the hub knows a newer version by.
        order.updated_at = max(self._account.now(), order.updated_at + timedelta(milliseconds=1))
        self.tell(order, change, reason)

    def tell(self, order: Order, change: str, reason: str = "") -> None:
        """Leave an ORDER_CHANGE in the queue."""
        told = _change(self._account.seller_id, order, change, reason or OLD_STATUS[order.status])
        self._account.notify("ORDER_CHANGE", {"OrderChangeNotification": told}, change=change)

    # --- reading

    def _search(self, call: Call) -> SimResponse:
        query, now = call.query, self._account.now()
        by = _searched_by(query)
        before = query.get(f"{by}Before", now - LAG)
        if f"{by}Before" in query and not query[f"{by}After"] <= before <= now - LAG:
            raise invalid(f"{by}Before lies before {by}After, or less than two minutes ago.")
        if query[f"{by}After"] > now - LAG:
            raise invalid(f"{by}After lies less than two minutes ago.")
        for id in query.get("marketplaceIds", ()):
            self._account.marketplace(id)
        if "paginationToken" in query:
            left = self._turned(query, now)
        else:
            # Without a lag, what has just changed is found too, though the time until which is told is Amazon's own.
            until = query.get(f"{by}Before") or (now - self.lag if self.lag else datetime.max.replace(tzinfo=UTC))
            left = [order.id for order in self._matching(query, by, until)]
        size = query.get("maxResultsPerPage", 100)
        page, left = left[:size], left[size:]
        answer: dict[str, Any] = {
            "orders": [self._view(self.sold[id], query) for id in page],
            f"{by}Before": iso(before),
        }
        if left:
            token = self._account.unique()
            self._tokens[token] = (now + TOKEN_LIFE, _lasting(query), left)
            answer["pagination"] = {"nextToken": token}
        return SimResponse.of_json(answer)

    def _turned(self, query: Mapping[str, Any], now: datetime) -> list[str]:
        """The orders that a token leads to. It can be used again, as long as it lives."""
        expires_at, asked, left = self._tokens.get(query["paginationToken"], (now, {}, []))
        if expires_at <= now:
            raise invalid("The paginationToken is none that was given, or has expired.")
        if asked != _lasting(query):
            raise invalid("The parameters are not those that the paginationToken was given for.")
        return [id for id in left if id in self.sold]

    def _matching(self, query: Mapping[str, Any], by: str, until: datetime) -> list[Order]:
        def when(order: Order) -> datetime:
            return order.created_at if by == "created" else order.updated_at

        places = query.get("marketplaceIds", [each.external_id for each in self._account.marketplaces])
        found = [
            order
            for order in self.sold.values()
            if _to_the_millisecond(query[f"{by}After"]) <= when(order) <= until
            and order.marketplace.external_id in places
            and order.status in query.get("fulfillmentStatuses", [order.status])
            and ("AMAZON" if order.by_amazon else "MERCHANT") in query.get("fulfilledBy", ["AMAZON", "MERCHANT"])
        ]
        return sorted(found, key=lambda order: (when(order), order.id))

    def _tell(self, call: Call) -> SimResponse:
        order = self._order(call)
        return SimResponse.of_json({"order": self._view(order, call.query)})

    def _order(self, call: Call) -> Order:
        if not re.fullmatch(r"\d{3}-\d{7}-\d{7}", call.path["orderId"]):
            raise invalid("orderId is no id of an order.")
        try:
            return self.sold[call.path["orderId"]]
        except KeyError:
            raise Refused(404, "NotFound", NO_ORDER) from None

    def _view(self, order: Order, query: Mapping[str, Any]) -> dict[str, Any]:
        return _view(order, set(query.get("includedData", ())), self.discounts_below_zero)

    # --- shipping

    def _confirm(self, call: Call) -> SimResponse:
        order, told = self._order(call), call.body()
        needed(told, "marketplaceId", "packageDetail")
        known(told, "marketplaceId", "packageDetail", "codCollectionMethod")
        package = told["packageDetail"]
        needed(package, "packageReferenceId", "carrierCode", "trackingNumber", "shipDate", "orderItems")
        shipped_at = moment("shipDate", package["shipDate"])
        if not re.fullmatch(r"[1-9][0-9]{0,18}", str(package["packageReferenceId"])):
            raise invalid("packageReferenceId is no positive number.")
        if package["carrierCode"] == "Other" and not package.get("carrierName"):
            raise invalid("carrierName is needed where carrierCode is Other.")
        if told["marketplaceId"] != order.marketplace.external_id:
            raise invalid("The order belongs to another marketplace.")
        if order.by_amazon:
            raise invalid("Amazon ships this order.")
        if not order.created_at - timedelta(minutes=1) <= shipped_at <= self._account.now() + timedelta(hours=24):
            raise invalid("shipDate lies before the order, or in the future.")
        # A package that is told again takes the place of the one before.
        before = next((each for each in order.packages if each.reference == str(package["packageReferenceId"])), None)
        if order.status in ("PENDING", "CANCELLED"):
            raise invalid(f"The order is {order.status}.")
        units: dict[str, int] = {}
        for each in package["orderItems"]:
            units[each.get("orderItemId", "")] = units.get(each.get("orderItemId", ""), 0) + _units(each)
        for id, quantity in units.items():
            item = next((item for item in order.items if item.id == id), None)
            if item is None:
                raise invalid(f"The order has no item {id}.")
            if quantity > item.open + (before.items.get(id, 0) if before else 0):
                raise invalid(f"Of item {id} only {item.open} are left to be shipped.")
        if before is not None:
            self._unship(order, before)
        for item in order.items:
            item.shipped += units.get(item.id, 0)
        order.packages.append(
            Package(
                reference=str(package["packageReferenceId"]),
                carrier=package.get("carrierName") or package["carrierCode"],
                tracking_number=package["trackingNumber"],
                shipping_method=package.get("shippingMethod", ""),
                at=shipped_at,
                confirmed_at=self._account.now(),
                items=units,
            )
        )
        self.touch(order)
        return SimResponse(204, {}, b"")

    def _unship(self, order: Order, package: Package) -> None:
        order.packages.remove(package)
        if order.status == "SHIPPED":
            order.status = "UNSHIPPED"
        for item in order.items:
            item.shipped -= package.items.get(item.id, 0)


def _units(told: Mapping[str, Any]) -> int:
    quantity = told.get("quantity")
    if isinstance(quantity, bool) or not isinstance(quantity, int) or quantity < 1:
        raise invalid("quantity is no whole number above zero.")
    return quantity


def _searched_by(query: Mapping[str, Any]) -> str:
    """Which of the two times a search goes by. Raises Refused where it is not exactly one."""
    found = [by for by in ("created", "lastUpdated") if f"{by}After" in query]
    if len(found) != 1:
        raise invalid("Exactly one of createdAfter and lastUpdatedAfter is needed.")
    other = "lastUpdated" if found == ["created"] else "created"
    if f"{other}Before" in query:
        raise invalid(f"{other}Before does not go with {found[0]}After.")
    return found[0]


def _lasting(query: Mapping[str, Any]) -> dict[str, Any]:
    """What must be the same on every page of one search."""
    changing = ("paginationToken", "maxResultsPerPage", "includedData")
    return {name: value for name, value in query.items() if name not in changing}


def _to_the_millisecond(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


# ---------------------------------------------------------------- as it is told


def _view(order: Order, included: set[str], below_zero: bool) -> dict[str, Any]:
    """An order as the Orders API tells it."""
    place = order.marketplace
    view: dict[str, Any] = {
        "orderId": order.id,
        "createdTime": iso(order.created_at),
        "lastUpdatedTime": iso(order.updated_at),
        "programs": list(order.programs),
        "salesChannel": {
            "channelName": "AMAZON",
            "marketplaceId": place.external_id,
            "marketplaceName": f"Amazon.{place.code.lower()}",
        },
        "orderItems": [_item_view(item, included, place.currency, below_zero) for item in order.items],
    }
    if order.seller_order_id:
        view["orderAliases"] = [{"aliasId": order.seller_order_id, "aliasType": "SELLER_ORDER_ID"}]
    if order.replaces:
        view["associatedOrders"] = [{"orderId": order.replaces, "associationType": "REPLACEMENT_ORIGINAL_ID"}]
    # Of an order that is not paid yet, nothing is told of who bought it.
    known = order.status not in ("PENDING", "PENDING_AVAILABILITY")
    if "BUYER" in included and known:
        view["buyer"] = _without_gaps(
            {
                "buyerName": order.buyer_name,
                "buyerEmail": f"{order.id.replace('-', '')}@marketplace.amazon.example",
                "buyerCompanyName": order.buyer_company,
                "buyerPurchaseOrderNumber": order.purchase_order,
            }
        )
    if "RECIPIENT" in included and known and (not order.by_amazon or order.status == "SHIPPED"):
        view["recipient"] = {"deliveryAddress": dict(order.recipient)}
        if order.preference:
            view["recipient"]["deliveryPreference"] = {"addressInstruction": order.preference}
    if "PROCEEDS" in included:
        total = sum((item.total for item in order.items), Decimal(0))
        view["proceeds"] = {"grandTotal": _money(total, place.currency)}
    view["fulfillment"] = {
        "fulfillmentStatus": order.status,
        "fulfilledBy": "AMAZON" if order.by_amazon else "MERCHANT",
    }
    if "FULFILLMENT" in included:
        day = timedelta(days=1)
        view["fulfillment"] |= {
            "fulfillmentServiceLevel": order.service_level,
            "shipByWindow": _window(order.created_at, order.created_at + 2 * day),
            "deliverByWindow": _window(order.created_at + 3 * day, order.created_at + 5 * day),
        }
    if "PACKAGES" in included and not order.by_amazon and order.packages:
        view["packages"] = [_package_view(package) for package in order.packages]
    return view


def _item_view(item: Item, included: set[str], currency: str, below_zero: bool) -> dict[str, Any]:
    view: dict[str, Any] = {
        "orderItemId": item.id,
        "quantityOrdered": item.quantity,
        "programs": [],
        "product": {
            "asin": item.listing.asin,
            "title": item.listing.title,
            "sellerSku": item.listing.sku,
            "condition": {"conditionType": "NEW", "conditionSubtype": "NEW"},
            "price": {"unitPrice": _money(item.price, currency)},
        },
    }
    if "PROCEEDS" in included:
        view["proceeds"] = {
            "proceedsTotal": _money(item.total, currency),
            "breakdowns": list(_breakdowns(item, currency, below_zero)),
        }
    if "PROMOTION" in included and item.discount:
        view["promotion"] = {"breakdowns": [{"promotionId": "SUMMER-SALE"}]}
    if "CANCELLATION" in included and (cancellation := _cancellation(item)):
        view["cancellation"] = cancellation
    if "FULFILLMENT" in included:
        view["fulfillment"] = {"quantityFulfilled": item.shipped, "quantityUnfulfilled": item.open}
        if item.gift_message:
            gift = {"giftMessage": item.gift_message, "giftWrapLevel": "STANDARD"}
            view["fulfillment"]["packing"] = {"giftOption": gift}
    return view


def _breakdowns(item: Item, currency: str, below_zero: bool) -> list[dict[str, Any]]:
    found = []
    for type, amount in item.amounts().items():
        if amount or type == "ITEM":
            told = amount if below_zero else abs(amount)
            breakdown: dict[str, Any] = {"type": type, "subtotal": _money(told, currency)}
            if type == "TAX":
                breakdown["detailedBreakdowns"] = [{"subtype": "ITEM", "value": _money(told, currency)}]
            elif type == "DISCOUNT" and item.shipping_discount:
                part = -item.shipping_discount if below_zero else item.shipping_discount
                breakdown["detailedBreakdowns"] = [{"subtype": "SHIPPING", "value": _money(part, currency)}]
            found.append(breakdown)
    return found


def _cancellation(item: Item) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if item.cancel_reason is not None:
        found["cancellationRequest"] = {"requester": "BUYER", "cancelReason": item.cancel_reason}
    if item.cancelled_by:
        found["cancellationExecution"] = {"cancelledBy": item.cancelled_by, "cancelReason": "No inventory"}
    return found


def _package_view(package: Package) -> dict[str, Any]:
    return _without_gaps(
        {
            "packageReferenceId": package.reference,
            "createdTime": iso(package.confirmed_at),
            "packageStatus": {"status": package.status},
            "carrier": package.carrier,
            "shipTime": iso(package.at),
            "shippingService": package.shipping_method,
            "trackingNumber": package.tracking_number,
            "packageItems": [{"orderItemId": id, "quantity": units} for id, units in package.items.items()],
        }
    )


def _change(seller: str, order: Order, change: str, reason: str) -> dict[str, Any]:
    """An order as ORDER_CHANGE tells it: no names, no money."""
    shipped = sum(item.shipped for item in order.items)
    address = order.recipient.get("postalCode") if order.status != "PENDING" else None
    return {
        "NotificationLevel": "OrderLevel",
        "SellerId": seller,
        "AmazonOrderId": order.id,
        "OrderChangeType": change,
        "OrderChangeTrigger": {"TimeOfOrderChange": iso(order.updated_at), "ChangeReason": reason},
        "Summary": {
            "MarketplaceId": order.marketplace.external_id,
            "OrderStatus": OLD_STATUS[order.status],
            "PurchaseDate": iso(order.created_at),
            "DestinationPostalCode": address,
            "FulfillmentType": "AFN" if order.by_amazon else "MFN",
            "OrderType": "Preorder" if order.status == "PENDING_AVAILABILITY" else "StandardOrder",
            "NumberOfItemsShipped": shipped,
            "NumberOfItemsUnshipped": sum(item.open for item in order.items),
            "OrderItems": [
                {
                    "OrderItemId": item.id,
                    "SellerSKU": item.listing.sku,
                    "SupplySourceId": None,
                    "OrderItemStatus": "Shipped" if item.shipped and not item.open else "Unshipped",
                    "Quantity": item.quantity - item.cancelled,
                    "QuantityShipped": item.shipped,
                    "IsBuyerRequestedCancel": item.cancel_reason is not None,
                }
                for item in order.items
            ],
        },
    }


def _money(amount: Decimal, currency: str) -> dict[str, str]:
    places = Decimal(1) if currency == "JPY" else CENT
    return {"amount": str(amount.quantize(places, ROUND_HALF_UP)), "currencyCode": currency}


def _window(earliest: datetime, latest: datetime) -> dict[str, str]:
    return {"earliestDateTime": iso(earliest), "latestDateTime": iso(latest)}


def _without_gaps(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value}


def home_of(listing: Listing) -> Marketplace:
    """The marketplace that a listing stands in."""
    return BY_ID[listing.marketplace]
