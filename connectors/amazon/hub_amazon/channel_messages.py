"""Reading the notifications about orders and listings; they carry no names, no addresses and no money."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from marshmallow import fields, post_load

from hub.connector import Fact, ListingRemoved, RawRecord, Refetch
from hub.core.model import Money, Order, OrderLine, OrderStatus
from hub.errors import Unreadable
from hub.translation import Identifier, Text, Translation, UtcMoment, WholeNumber, load_json
from hub_amazon.marketplaces import BY_ID
from hub_amazon.messages import member
from hub_amazon.order_translation import UNPAID, holds_stock, listing_id, status_of

ORDER_CHANGE: Final = "ORDER_CHANGE"
LISTING_STATUS: Final = "LISTINGS_ITEM_STATUS_CHANGE"
# LISTINGS_ITEM_MFN_QUANTITY_CHANGE is left alone. It comes with every sale, often before the order that explains it:
# who believes it takes the sale for somebody's typing error.
TOPICS: Final = (ORDER_CHANGE, LISTING_STATUS)

# Notifications still name statuses and ways of shipping as version 0 of the Orders API did.
_STATUSES: Mapping[str, str] = {
    "PendingAvailability": "PENDING_AVAILABILITY",
    "Pending": "PENDING",
    "Unshipped": "UNSHIPPED",
    "PartiallyShipped": "PARTIALLY_SHIPPED",
    "Shipped": "SHIPPED",
    "InvoiceUnconfirmed": "INVOICE_UNCONFIRMED",
    "Canceled": "CANCELLED",
    "Unfulfillable": "UNFULFILLABLE",
}
_BY_AMAZON = "AFN"


def read(record: RawRecord, seller_id: str, marketplace_ids: Iterable[str]) -> Iterable[Fact]:
    """What a notification says about this seller in these marketplaces. Raises Unreadable."""
    if record.topic not in _READERS:
        return ()
    payload = member(load_json(record.body), "Payload")
    try:
        return _READERS[record.topic](payload, seller_id, tuple(marketplace_ids))
    except ValueError as error:
        raise Unreadable(str(error)) from error


# ---------------------------------------------------------------- orders


class _Item(Translation):
    OrderItemId = Identifier(required=True)
    SellerSKU = Text(required=True)
    Quantity = WholeNumber(required=True)
    QuantityShipped = WholeNumber(load_default=0)


class _Summary(Translation):
    MarketplaceId = Text(required=True)
    OrderStatus = Text(required=True)
    PurchaseDate = UtcMoment(load_default=None, allow_none=True)
    FulfillmentType = Text(required=True)
    LatestShipDate = UtcMoment(load_default=None, allow_none=True)
    OrderItems = fields.List(fields.Nested(_Item), required=True)


class _Change(Translation):
    SellerId = Text(required=True)
    AmazonOrderId = Identifier(required=True)
    Summary = fields.Nested(_Summary, required=True)


class _OrderChange(Translation):
    OrderChangeNotification = fields.Nested(_Change, required=True)

    @post_load
    def unwrap(self, said: dict[str, Any], **_: Any) -> dict[str, Any]:
        change: dict[str, Any] = said["OrderChangeNotification"]
        return change


def _order(payload: Any, seller_id: str, marketplace_ids: tuple[str, ...]) -> Iterable[Fact]:
    """The order as far as the notification tells it: enough to hold its stock until getOrder has told the rest.

    Its version is the moment it was placed, so that it is believed only of an order that nothing else is known of: it
    has no money and no address, and of notifications that overtake each other none says which is the last. An order
    that is known is only fetched. Until then it is pending: nobody is to ship what has no address yet.
    """
    said = _OrderChange().read(payload)
    summary = said["Summary"]
    if said["SellerId"] != seller_id or summary["MarketplaceId"] not in marketplace_ids:
        return ()
    placed_at = summary["PurchaseDate"]
    marketplace = BY_ID[summary["MarketplaceId"]]
    if placed_at is None or not summary["OrderItems"]:
        return (Refetch("order", said["AmazonOrderId"]),)
    channel_status = _STATUSES.get(summary["OrderStatus"], summary["OrderStatus"])
    status = status_of(channel_status)
    by_amazon = summary["FulfillmentType"] == _BY_AMAZON
    nothing = Money.zero(marketplace.currency)
    return (
        Order(
            external_id=said["AmazonOrderId"],
            number=said["AmazonOrderId"],
            status=OrderStatus.PENDING if status is OrderStatus.OPEN else status,
            channel_status=channel_status,
            version=placed_at,
            placed_at=placed_at,
            currency=marketplace.currency,
            holds_stock=holds_stock(channel_status, by_amazon=by_amazon),
            shipped_by_channel=by_amazon,
            paid=channel_status not in UNPAID,
            whole=False,
            lines=tuple(
                OrderLine(
                    external_id=item["OrderItemId"],
                    listing_external_id=listing_id(marketplace.external_id, item["SellerSKU"]),
                    sku=item["SellerSKU"],
                    title=item["SellerSKU"],
                    quantity=item["Quantity"],
                    unit_price=nothing,
                    total=nothing,
                    fulfilled=item["QuantityShipped"],
                    removed=item["Quantity"] - item["QuantityShipped"] if status is OrderStatus.CANCELLED else 0,
                )
                for item in summary["OrderItems"]
            ),
            total=nothing,
            priced=False,
            promised_at=summary["LatestShipDate"],
        ),
    )


# ---------------------------------------------------------------- listings


class _ListingStatus(Translation):
    SellerId = Text(required=True)
    MarketplaceId = Text(required=True)
    Sku = Text(required=True)
    Status = fields.List(Text(), load_default=list)


def _listing_status(payload: Any, seller_id: str, marketplace_ids: tuple[str, ...]) -> Iterable[Fact]:
    said = _ListingStatus().read(payload)
    if said["SellerId"] != seller_id or said["MarketplaceId"] not in marketplace_ids:
        return ()
    named = listing_id(said["MarketplaceId"], said["Sku"])
    return (ListingRemoved(named),) if "DELETED" in said["Status"] else (Refetch("listing", named),)


_READERS: Mapping[str, Callable[[Any, str, tuple[str, ...]], Iterable[Fact]]] = {
    ORDER_CHANGE: _order,
    LISTING_STATUS: _listing_status,
}
