"""The Amazon connector: one seller's orders, listings and stock in the marketplaces of a region."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final

from hub.connector import (
    AuthorizationAnswer,
    AuthorizationRequest,
    Capabilities,
    Context,
    Delivery,
    EffectResult,
    Fact,
    Page,
    PushOutcome,
    QueueAddress,
    RawRecord,
    SalesChannel,
    Settlement,
    StockPush,
    StockRef,
    Subscriptions,
    Unread,
)
from hub.core.model import Account, ChannelLocation, Listing, Order
from hub.core.shipping import ShipmentConfirmation
from hub.errors import NotFound, Rejected, Unavailable
from hub_amazon import authorization, channel_messages, messages
from hub_amazon.account import account
from hub_amazon.carriers import carrier_code
from hub_amazon.channel_messages import TOPICS
from hub_amazon.listings import DEFAULT, MANY, Listings
from hub_amazon.listings import read as read_listing
from hub_amazon.order_translation import ELSEWHERE, FETCHED_ORDER, INCLUDED_DATA
from hub_amazon.settings import AmazonSettings, AppSettings, hosts, marketplaces, queue_address
from hub_amazon.sp_api import ORDERS_VERSION, SellingPartnerApi, budgets

_STILL_OPEN: Final = ("PENDING_AVAILABILITY", "PENDING", "UNSHIPPED", "PARTIALLY_SHIPPED")
_HISTORY: Final = timedelta(days=30)  # how far the first import goes back; open orders are found however old they are
_OPEN_SINCE: Final = timedelta(days=730)  # older ones Amazon shows in few marketplaces
_LAG: Final = timedelta(minutes=2)  # an order is found so long after its change
_PAGE: Final = 100


class AmazonConnector(SalesChannel):
    """A seller's account: orders and listings come from it, stock of what the merchant ships goes to it."""

    name = "amazon"
    label = "Amazon"
    description = "Orders, listings, stock and shipments of a seller's account in Amazon's marketplaces."
    api_version = ORDERS_VERSION
    settings_schema = AmazonSettings
    authorization_schema = AppSettings
    effects: ClassVar[Mapping[str, Settlement]] = {
        "subscribe_webhooks": Settlement.NATURAL_KEY,
        "confirm_shipment": Settlement.LOOKUP,
    }
    rate_budgets = budgets(
        "searchOrders",
        "getOrder",
        "confirmShipment",
        "searchListingsItems",
        "getListingsItem",
        "patchListingsItem",
        "createFeedDocument",
        "createFeed",
        "getFeed",
        "getFeedDocument",
        "getMarketplaceParticipations",
        *messages.OPERATIONS,
    )
    # One search of orders in three minutes is what Amazon grants for ever.
    capabilities = Capabilities(
        push_batch=MANY,
        coalesce_seconds=0.5,
        webhooks=False,
        message_poll_seconds=messages.POLL_SECONDS,
        min_poll_seconds=180.0,
    )
    personal_days = 30
    secret_days = 180

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._api = SellingPartnerApi(context)
        self._places = marketplaces(context.settings)
        self._listings = Listings(self._api, context.settings["seller_id"], self._places, context.now)

    @classmethod
    def hosts(cls, settings: Mapping[str, Any]) -> Sequence[str]:
        return hosts(settings)

    # --- the account

    @classmethod
    def authorization_url(cls, settings: Mapping[str, Any], request: AuthorizationRequest) -> str:
        return authorization.authorization_url(settings, request)

    @classmethod
    def read_authorization(cls, settings: Mapping[str, Any], answer: AuthorizationAnswer) -> Mapping[str, Any] | None:
        return authorization.read_authorization(settings, answer)

    def check(self) -> Account:
        found = account(self._api, self.settings)
        # What it is connected for has to be allowed, too: the roles for listings, and for orders with their customers.
        next(self._listings.pages(None))
        self._search({"lastUpdatedAfter": _text(self.context.now() - timedelta(hours=1)), "maxResultsPerPage": 1})
        return replace(found, locations=(ChannelLocation(external_id=DEFAULT, name="Shipped by you"),))

    # --- orders

    def fetch_orders(self, cursor: str | None) -> Iterator[Page]:
        """First what is open, however old, then what was changed lately; from then on what was changed since.

        The cursor is a question and how far its answer was read. Amazon says with each answer up to which moment it
        knows of everything: there the next question begins.
        """
        now = self.context.now()
        question = json.loads(cursor) if cursor else {"since": _text(now - _OPEN_SINCE), "open": True}
        yield from self._orders(question)
        if question.get("open"):
            yield from self._orders({"since": _text(now - _HISTORY)})

    def _orders(self, question: Mapping[str, Any]) -> Iterator[Page]:
        asked: dict[str, Any] = {"lastUpdatedAfter": question["since"], "maxResultsPerPage": _PAGE}
        if question.get("open"):
            asked["fulfillmentStatuses"] = _STILL_OPEN
        token, until = question.get("token"), question.get("until")
        while True:
            try:
                answer = self._search({**asked, "paginationToken": token} if token else asked)
            except Rejected:
                if not token or token != question.get("token"):
                    raise
                # Kept since an earlier run, a token is good for a day only: read it all once more.
                token = until = None
                continue
            # What the answer to the first page tells: a later page may tell a later moment that nobody has asked for.
            until = until or answer.get("lastUpdatedBefore") or _text(self.context.now() - _LAG)
            token = (answer.get("pagination") or {}).get("nextToken")
            records = tuple(
                _order_record(order) for order in answer["orders"] if order["salesChannel"]["channelName"] != ELSEWHERE
            )
            if token:
                yield Page(records, json.dumps({**question, "token": token, "until": until}, sort_keys=True))
                continue
            since = _text(self.context.now() - _HISTORY) if question.get("open") else _a_little_before(until)
            yield Page(records, json.dumps({"since": since}))
            return

    def _search(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        answer = self._api.call(
            "searchOrders",
            params={
                **asked,
                "marketplaceIds": [place.external_id for place in self._places],
                "includedData": INCLUDED_DATA,
            },
        )
        return answer.object("orders")

    def fetch_order(self, external_id: str) -> RawRecord:
        return _order_record(self._order(external_id, INCLUDED_DATA))

    def _order(self, external_id: str, included: Sequence[str]) -> dict[str, Any]:
        try:
            answer = self._api.call("getOrder", path={"orderId": external_id}, params={"includedData": included})
        except NotFound:
            raise
        except Rejected as error:
            # What cannot be the id of an order is refused rather than not found.
            if error.code in ("InvalidInput", "BAD_REQUEST"):
                raise NotFound(str(error), code=error.code) from error
            raise
        order: dict[str, Any] = answer.object("order")["order"]
        return order

    def read_order(self, record: RawRecord) -> Order:
        return FETCHED_ORDER.read(record.body)

    # --- listings and stock

    def fetch_listings(self, cursor: str | None) -> Iterator[Page]:
        return self._listings.pages(cursor)

    def fetch_listing(self, external_id: str) -> RawRecord:
        return self._listings.one(external_id)

    def read_listing(self, record: RawRecord) -> Iterable[Listing]:
        return (read_listing(record),)

    def read_stock(self, refs: Sequence[StockRef]) -> Sequence[int | Unread | None]:
        return self._listings.stock(refs)

    def push_stock(self, pushes: Sequence[StockPush]) -> Sequence[PushOutcome]:
        return self._listings.write(pushes)

    def settle_stock(self, reference: str, pushes: Sequence[StockPush]) -> Sequence[PushOutcome]:
        return self._listings.settle(reference, pushes)

    # --- messages

    @classmethod
    def queue_address(cls, settings: Mapping[str, Any]) -> QueueAddress | None:
        return queue_address(settings)

    @classmethod
    def read_message(cls, body: bytes) -> Delivery | None:
        return messages.read_message(body)

    def subscribe_webhooks(self, request: Mapping[str, Any], key: str) -> EffectResult:
        return messages.subscribe(self._api, self.settings, TOPICS)

    def read_subscriptions(self, address: str) -> Subscriptions:
        return messages.read_subscriptions(self._api, self.settings, TOPICS)

    def read_webhook(self, record: RawRecord) -> Iterable[Fact]:
        places = (place.external_id for place in self._places)
        return channel_messages.read(record, self.settings["seller_id"], places)

    # --- shipping

    def confirm_shipment(self, confirmation: ShipmentConfirmation, key: str) -> EffectResult:
        code, name = carrier_code(confirmation.carrier, confirmation.carrier_name)
        package = confirmation.supersedes or package_reference(confirmation.reference)
        self._api.call(
            "confirmShipment",
            path={"orderId": confirmation.order_external_id},
            body={
                "marketplaceId": self._marketplace_of(confirmation.order_external_id),
                "packageDetail": {
                    "packageReferenceId": package,
                    "carrierCode": code,
                    "carrierName": name,
                    # A package has one number. The parcels of a shipment in several follow the first.
                    "trackingNumber": next(iter(confirmation.tracking_numbers), ""),
                    "shipDate": _text(confirmation.shipped_at),
                    "orderItems": [
                        {"orderItemId": line.line_external_id, "quantity": line.quantity} for line in confirmation.lines
                    ],
                },
            },
        )
        return EffectResult(package)

    def _marketplace_of(self, order_external_id: str) -> str:
        """Where an order was placed: nobody has to be asked where there is one marketplace only."""
        if len(self._places) == 1:
            return self._places[0].external_id
        return str(self._order(order_external_id, ("FULFILLMENT",))["salesChannel"]["marketplaceId"])

    def find_confirm_shipment(self, confirmation: ShipmentConfirmation, key: str) -> EffectResult | None:
        package = confirmation.supersedes or package_reference(confirmation.reference)
        tracking = next(iter(confirmation.tracking_numbers), "")
        order = self._order(confirmation.order_external_id, ("FULFILLMENT", "PACKAGES"))
        for each in order.get("packages") or ():
            if each.get("packageReferenceId") == package and (each.get("trackingNumber") or "") == tracking:
                return EffectResult(package)
        return None


# ---------------------------------------------------------------- ids, times and records


def package_reference(reference: str) -> str:
    """Our reference of a shipment as Amazon takes one: a number above zero, unique within the order.

    Told again, it is the same package: nothing is shipped twice.
    """
    digest = hashlib.sha256(reference.encode()).digest()
    return str(int.from_bytes(digest[:4], "big") % 999_999_999 + 1)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _a_little_before(text: str) -> str:
    """Amazon's own watermark, and as much earlier as its index may lag."""
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise Unavailable("Amazon does not say up to when it has told everything. It will be asked again.") from error
    return _text(moment - _LAG)


def _order_record(order: Mapping[str, Any]) -> RawRecord:
    """The same bytes in whichever order the members came, and from whichever operation."""
    body = json.dumps(order, ensure_ascii=False, separators=(",", ":"), sort_keys=True, default=str)
    return RawRecord("order", order["orderId"], body.encode(), version=order["lastUpdatedTime"])
