"""The Shopify connector: one shop's Admin GraphQL API and its webhooks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from functools import partial
from typing import Any, ClassVar, TypeVar

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
    RateBudget,
    RawRecord,
    SalesChannel,
    Settlement,
    StockPush,
    StockRef,
    Subscriptions,
    Webhook,
)
from hub.core.model import Account, ChannelLocation, Listing, Order
from hub.core.shipping import (
    OrderCancellation,
    RefundRequest,
    ShipmentConfirmation,
    StockListing,
    WorkAnswer,
    WorkHold,
    WorkMove,
    WorkRelease,
    WorkSplit,
)
from hub.errors import AuthError, NotFound, Rejected
from hub_shopify import authorization, documents, subscriptions, webhooks
from hub_shopify.admin_api import DELETED, AdminApi, gid, json_body
from hub_shopify.authorization import NO_SHOP, OLD_ORDERS
from hub_shopify.bulk import FILES
from hub_shopify.fulfillment import Fulfillment
from hub_shopify.order_translation import FETCHED_ORDER
from hub_shopify.orders import Orders
from hub_shopify.refunds import Refunds
from hub_shopify.settings import AppSettings, ShopifySettings
from hub_shopify.stock import Stock
from hub_shopify.translation import FETCHED_VARIANT

_T = TypeVar("_T")

# ---------------------------------------------------------------- the connector


class ShopifyConnector(SalesChannel):
    """A Shopify shop: orders and variants come from it, stock goes to its locations and shipments to its orders."""

    name = "shopify"
    label = "Shopify"
    description = "Orders, listings, shipments and stock per location of a Shopify shop."
    api_version = documents.API_VERSION
    api_version_ends = date(2027, 10, 1)
    settings_schema = ShopifySettings
    authorization_schema = AppSettings
    effects: ClassVar[Mapping[str, Settlement]] = {
        "subscribe_webhooks": Settlement.NATURAL_KEY,
        "confirm_shipment": Settlement.LOOKUP,
        "cancel_order": Settlement.LOOKUP,
        "refund": Settlement.LOOKUP,
        "hold_work": Settlement.NATURAL_KEY,
        "release_work": Settlement.NATURAL_KEY,
        "move_work": Settlement.NATURAL_KEY,
        "split_work": Settlement.NATURAL_KEY,
        "answer_work": Settlement.NATURAL_KEY,
        "stock_listing": Settlement.NATIVE_KEY,
    }
    # What the smallest plan has; Shopify tells with each answer what it really is.
    rate_budget = RateBudget(per_second=100, burst=1000)
    capabilities = Capabilities(
        compare_and_set=True,
        push_batch=documents.STOCK_BATCH,
        most_units=1_000_000_000,
        cancel_choices=("refund", "restock", "notify"),
        refund_choices=("restock", "notify"),
    )

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._api = AdminApi(context)
        self._fulfillment = Fulfillment(self._api)
        self._refunds = Refunds(self._api)
        self._stock = Stock(self._api, context.settings["shop"])
        self._orders = Orders(self._api, context.client, context.now)

    @classmethod
    def hosts(cls, settings: Mapping[str, Any]) -> Sequence[str]:
        return (f"https://{settings['shop']}", FILES)

    # --- the account

    @classmethod
    def authorization_url(cls, settings: Mapping[str, Any], request: AuthorizationRequest) -> str:
        return authorization.authorization_url(settings, request)

    @classmethod
    def read_authorization(cls, settings: Mapping[str, Any], answer: AuthorizationAnswer) -> Mapping[str, Any] | None:
        return authorization.read_authorization(settings, answer)

    def check(self) -> Account:
        try:
            response, answer = self._api.exchange(documents.SHOP)
        except NotFound as error:
            raise Rejected(NO_SHOP.format(shop=self.settings["shop"])) from error
        granted = authorization.granted(scope["handle"] for scope in answer["currentAppInstallation"]["accessScopes"])
        if lacking := authorization.complaint(granted):
            raise AuthError(lacking)
        shop = answer["shop"]
        if shop["myshopifyDomain"] != self.settings["shop"]:
            raise Rejected(f"This shop's address is {shop['myshopifyDomain']} now. Connect it with that address.")
        warnings = []
        if OLD_ORDERS not in granted:
            warnings.append(f"Orders older than 60 days are not imported: the app lacks the scope {OLD_ORDERS}.")
        served = response.headers.get("X-Shopify-API-Version", self.api_version)
        if served != self.api_version:
            warnings.append(
                f"Shopify serves version {served} of its API instead of {self.api_version}. Update Tallyhub."
            )
        return Account(
            external_id=_number(shop["id"]),
            name=shop["name"],
            currency=shop["currencyCode"],
            locations=tuple(
                ChannelLocation(external_id=place["legacyResourceId"], name=place["name"], active=place["isActive"])
                for place in self._api.all(documents.LOCATIONS, ("locations",))
            ),
            warnings=tuple(warnings),
        )

    # --- orders

    def fetch_orders(self, cursor: str | None) -> Iterator[Page]:
        return self._orders.pages(cursor)

    def fetch_order(self, external_id: str) -> RawRecord:
        return self._orders.one(self._order_of(external_id))

    def _order_of(self, external_id: str) -> str:
        """The id of an order, where a webhook may have named only a part of it: "Return/78"."""
        kind, part, number = external_id.partition("/")
        if not part:
            return external_id
        node = self._api.ask(documents.ORDER_OF, id=gid(kind, number))["node"]
        if node is None:
            raise NotFound(DELETED)
        return _number(node["orderId"] if "orderId" in node else node["order"]["id"])

    def read_order(self, record: RawRecord) -> Order:
        order: Order = FETCHED_ORDER.read(record.body)
        return order

    # --- listings

    def fetch_listings(self, cursor: str | None) -> Iterator[Page]:
        total = None if cursor else self._api.count(documents.VARIANTS_COUNT, "productVariantsCount")
        last = cursor
        while True:
            answer = self._api.ask(documents.VARIANTS, query=last and f"id:>{last}")
            variants = answer["productVariants"]
            if not variants["nodes"]:
                return
            last = variants["nodes"][-1]["legacyResourceId"]
            currency = answer["shop"]["currencyCode"]
            records = _existing(partial(self._listing_record, currency), variants["nodes"])
            yield Page(tuple(records), last, total)
            if not variants["pageInfo"]["hasNextPage"]:
                return

    def fetch_listing(self, external_id: str) -> RawRecord:
        answer = self._api.ask(documents.VARIANT, id=gid("ProductVariant", external_id))
        if answer["productVariant"] is None:
            raise NotFound(DELETED)
        return self._listing_record(answer["shop"]["currencyCode"], answer["productVariant"])

    def _listing_record(self, currency: str, node: dict[str, Any]) -> RawRecord:
        item = node["inventoryItem"]
        self._api.complete(
            documents.LEVELS_AFTER, ("inventoryItem", "inventoryLevels"), item["inventoryLevels"], item["id"]
        )
        body = json_body({**node, "currencyCode": currency})
        return RawRecord("listing", node["legacyResourceId"], body, version=node["updatedAt"])

    def read_listing(self, record: RawRecord) -> Iterable[Listing]:
        return [FETCHED_VARIANT.read(record.body)]

    # --- webhooks

    @classmethod
    def webhook_account(cls, webhook: Webhook) -> Mapping[str, str] | None:
        return webhooks.account(webhook)

    def verify(self, webhook: Webhook) -> Delivery | None:
        return webhooks.verified(webhook, self.settings)

    def read_webhook(self, record: RawRecord) -> Iterable[Fact]:
        return webhooks.read(record)

    def subscribe_webhooks(self, request: Mapping[str, Any], key: str) -> EffectResult:
        return subscriptions.subscribe(self._api, request["address"])

    def read_subscriptions(self, address: str) -> Subscriptions:
        return subscriptions.read(self._api, address)

    # --- shipping

    def confirm_shipment(self, confirmation: ShipmentConfirmation, key: str) -> EffectResult:
        return self._fulfillment.confirm(confirmation)

    def find_confirm_shipment(self, confirmation: ShipmentConfirmation, key: str) -> EffectResult | None:
        return self._fulfillment.find(confirmation)

    def cancel_order(self, cancellation: OrderCancellation, key: str) -> EffectResult:
        return self._refunds.cancel(cancellation)

    def find_cancel_order(self, cancellation: OrderCancellation, key: str) -> EffectResult | None:
        return self._refunds.find_cancelled(cancellation)

    def refund(self, refund: RefundRequest, key: str) -> EffectResult:
        return self._refunds.refund(refund, key)

    def find_refund(self, refund: RefundRequest, key: str) -> EffectResult | None:
        return self._refunds.find_refund(refund)

    def hold_work(self, hold: WorkHold, key: str) -> EffectResult:
        return self._fulfillment.hold(hold)

    def release_work(self, release: WorkRelease, key: str) -> EffectResult:
        return self._fulfillment.release(release)

    def move_work(self, move: WorkMove, key: str) -> EffectResult:
        return self._fulfillment.move(move)

    def split_work(self, split: WorkSplit, key: str) -> EffectResult:
        return self._fulfillment.split(split)

    def answer_work(self, answer: WorkAnswer, key: str) -> EffectResult:
        return self._fulfillment.answer(answer)

    # --- stock

    def read_stock(self, refs: Sequence[StockRef]) -> Sequence[int | None]:
        return self._stock.read(refs)

    def push_stock(self, pushes: Sequence[StockPush]) -> Sequence[PushOutcome]:
        return self._stock.push(pushes)

    def stock_listing(self, listing: StockListing, key: str) -> EffectResult:
        return self._stock.begin(listing, key)


# ---------------------------------------------------------------- ids and records


def _existing(complete: Callable[[dict[str, Any]], _T], nodes: Iterable[dict[str, Any] | None]) -> list[_T]:
    """The completed nodes, without those that were deleted before they were."""
    found = []
    for node in nodes:
        if node is not None:
            with contextlib.suppress(NotFound):
                found.append(complete(node))
    return found


def _number(gid: str) -> str:
    return gid.rpartition("/")[2]
