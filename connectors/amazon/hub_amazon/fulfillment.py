"""Amazon's warehouses as a fulfillment provider: FBA stock in, orders of any channel shipped from it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, TypeVar

from marshmallow import ValidationError, fields, validate

import hub
from hub_amazon import account, authorization, messages
from hub_amazon.fulfillment_translation import (
    ORDER_STATUS,
    AmazonOrder,
    OrderBody,
    OrderStatusMessage,
    PreviewBody,
    line_id,
)
from hub_amazon.inventory_translation import STOCK_CHANGE, StockBody, StockMessage
from hub_amazon.marketplaces import Marketplace
from hub_amazon.settings import AmazonSettings, AppSettings, MarketplaceCodes, hosts, marketplaces, queue_address
from hub_amazon.sp_api import SellingPartnerApi, budgets

API_VERSION = "2026-07-04"

# A token for the next page of the inventory is good for 30 seconds. One that is older than this is not tried.
TOKEN_LIFE = timedelta(seconds=25)
# Changes are asked for again for so long, for what Amazon's own counting learns late and for clocks that disagree.
OVERLAP = timedelta(minutes=30)
# Asking for what changed does not find what only set out for Amazon: now and then everything is read.
WHOLE_EVERY = timedelta(hours=6)
FIRST_LOOK = timedelta(days=90)  # an order that has not changed for so long is nobody's any more
ORDER_OVERLAP = timedelta(minutes=10)

TOPICS = (ORDER_STATUS, STOCK_CHANGE)

ANY_BOX, PLAIN_BOX = "ANY", "UNBRANDED"
TIERS: Mapping[str, str] = {
    "": "STANDARD",
    "standard": "STANDARD",
    "expedited": "EXPEDITED",
    "express": "EXPEDITED",
    "priority": "PRIORITY",
}
PRIORITY_FROM = ("CA", "IN", "MX")
NO_CITY = "JP"  # where addresses have none

_HAD_BEFORE = re.compile(r"already|duplicate|in use", re.IGNORECASE)

_T = TypeVar("_T")


# ---------------------------------------------------------------- settings


class OneMarketplace(MarketplaceCodes):
    """The one marketplace whose stock is meant."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        codes = super()._deserialize(value, attr, data, **kwargs)
        if "," in codes:
            raise ValidationError(
                "Enter one marketplace: the same goods may be for sale in several, and would be counted in each. "
                "Make a connection for each country with stock of its own."
            )
        return codes


_MARKETPLACE = {
    "label": "Marketplace",
    "hint": "The country code of the marketplace whose FBA stock is to be counted and shipped from, such as DE.",
    "placeholder": "DE",
}
_BOXES = {
    "label": "Boxes",
    "hint": "UNBRANDED: orders leave in plain boxes only. ANY: whichever box is at hand, Amazon's own among them.",
}


class FulfillmentSettings(AmazonSettings):
    """What the connect form asks for."""

    marketplaces = OneMarketplace(required=True, metadata=_MARKETPLACE)
    boxes = fields.String(load_default=PLAIN_BOX, validate=validate.OneOf((PLAIN_BOX, ANY_BOX)), metadata=_BOXES)


class FulfillmentAppSettings(AppSettings):
    """The form of those who connect by giving their permission at Seller Central."""

    marketplaces = OneMarketplace(required=True, metadata=_MARKETPLACE)
    boxes = fields.String(load_default=PLAIN_BOX, validate=validate.OneOf((PLAIN_BOX, ANY_BOX)), metadata=_BOXES)


# ---------------------------------------------------------------- where fetching has got to


def _moment(said: Mapping[str, Any], name: str) -> datetime | None:
    return datetime.fromisoformat(said[name]) if said.get(name) else None


@dataclass(frozen=True, slots=True)
class _Orders:
    """Where fetching orders has got to: what changed since ``since``, page by page, of a walk begun at ``began``."""

    since: datetime
    began: datetime
    token: str = ""

    @classmethod
    def of(cls, cursor: str | None, now: datetime) -> _Orders:
        said = json.loads(cursor) if cursor else {}
        return cls(_moment(said, "since") or now - FIRST_LOOK, _moment(said, "began") or now, said.get("token", ""))

    @property
    def cursor(self) -> str:
        return json.dumps({"since": self.since.isoformat(), "began": self.began.isoformat(), "token": self.token})

    @property
    def end(self) -> str:
        """The cursor from which the next walk sets out."""
        return json.dumps({"since": (self.began - ORDER_OVERLAP).isoformat()})


@dataclass(frozen=True, slots=True)
class _Inventory:
    """Where reading the inventory has got to.

    ``start`` is since when changes are asked for, None for everything; ``whole_at`` when everything was read last, or
    is being read.
    """

    start: datetime | None
    began: datetime
    whole_at: datetime
    token: str = ""
    token_at: datetime | None = None

    @classmethod
    def of(cls, cursor: str | None, now: datetime) -> _Inventory:
        said = json.loads(cursor) if cursor else {}
        whole_at, began = _moment(said, "whole_at"), _moment(said, "began")
        if began is not None and whole_at is not None:  # in the middle of a walk
            place = cls(_moment(said, "start"), began, whole_at, said.get("token", ""), _moment(said, "token_at"))
            return place if place.fresh(now) else place.again(now)
        since = _moment(said, "since")
        if since is None or whole_at is None or now - whole_at >= WHOLE_EVERY:
            return cls(None, now, now)
        return cls(since - OVERLAP, now, whole_at)

    def fresh(self, now: datetime) -> bool:
        """Whether its token still is good for a page."""
        return self.token_at is None or now - self.token_at < TOKEN_LIFE

    def again(self, now: datetime) -> _Inventory:
        """The same walk from its beginning."""
        return _Inventory(self.start, now, now if self.start is None else self.whole_at)

    @property
    def cursor(self) -> str:
        return json.dumps(
            {
                "start": self.start.isoformat() if self.start else "",
                "began": self.began.isoformat(),
                "whole_at": self.whole_at.isoformat(),
                "token": self.token,
                "token_at": self.token_at.isoformat() if self.token_at else "",
            }
        )

    @property
    def end(self) -> str:
        """The cursor from which the next walk sets out."""
        return json.dumps({"since": self.began.isoformat(), "whole_at": self.whole_at.isoformat()})


# ---------------------------------------------------------------- the connector


class AmazonFulfillment(hub.FulfillmentProvider):
    """A seller's stock in Amazon's warehouses, for the orders of other channels."""

    name = "amazon-mcf"
    label = "Amazon Multi-Channel Fulfillment: FBA"
    description = "Stock in Amazon's warehouses, which ship orders of any channel from it."
    api_version = API_VERSION
    settings_schema = FulfillmentSettings
    authorization_schema = FulfillmentAppSettings
    capabilities = hub.ProviderCapabilities(
        webhooks=False, message_poll_seconds=messages.POLL_SECONDS, min_poll_seconds=60.0, stock_poll_seconds=300.0
    )
    rate_budgets = budgets(
        "getMarketplaceParticipations",
        "getInventorySummaries",
        "getOrderPreview",
        "createOrder",
        "listOrders",
        "getFulfillmentOrder",
        "cancelOrder",
        *messages.OPERATIONS,
    )
    personal_days = 30
    secret_days = 180
    effects: ClassVar[Mapping[str, hub.Settlement]] = {
        "submit": hub.Settlement.LOOKUP,
        "cancel": hub.Settlement.NATURAL_KEY,
        "subscribe_webhooks": hub.Settlement.NATURAL_KEY,
    }

    def __init__(self, context: hub.Context) -> None:
        super().__init__(context)
        self.api = SellingPartnerApi(context)
        # Orders that were looked for in vain: an earlier attempt may have placed them, and Amazon not show them yet.
        self._missed: set[str] = set()

    @classmethod
    def hosts(cls, settings: Mapping[str, Any]) -> Sequence[str]:
        return hosts(settings)

    @classmethod
    def authorization_url(cls, settings: Mapping[str, Any], request: hub.AuthorizationRequest) -> str:
        return authorization.authorization_url(settings, request)

    @classmethod
    def read_authorization(
        cls, settings: Mapping[str, Any], answer: hub.AuthorizationAnswer
    ) -> Mapping[str, Any] | None:
        return authorization.read_authorization(settings, answer)

    @property
    def _marketplace(self) -> Marketplace:
        return marketplaces(self.settings)[0]

    def check(self) -> hub.Account:
        found = account.account(self.api, self.settings)
        # What it is connected for has to be allowed, too: the roles for inventory and for fulfillment.
        self._summaries({})
        lately = _text(self.context.now() - ORDER_OVERLAP)
        self.api.call("listOrders", params={"updatedAfter": lately, "shipments": "EXCLUDE"})
        place = self._marketplace
        return replace(
            found,
            locations=(hub.ChannelLocation(external_id=place.external_id, name=place.name),),
        )

    # --- orders out

    def submit(self, order: hub.FulfillmentOrder, key: str) -> hub.Submission:
        # What is short may be so because our own order has it already. Of an order that Amazon has and does not show
        # yet only its id tells, when it is made again.
        if order.reference not in self._missed and (why := self._preview(order)):
            if (found := self._find(order.reference)) is not None:
                return found.submission()
            raise hub.Rejected(why)
        try:
            answer = self.api.call("createOrder", body=self._body(order)).object()
        except hub.Rejected as refusal:
            # An id that Amazon has had is refused, and it is ours: the order is there already.
            if (found := self._find(order.reference)) is not None:
                return found.submission()
            if _HAD_BEFORE.search(str(refusal)):
                raise hub.Unavailable(
                    f"Amazon says that it has {order.reference}, and does not show it yet. It is looked for again."
                ) from refusal
            raise
        if "order" not in answer:  # taken in, to be looked at later
            taken = _read_member(answer, "orderId")
            return hub.Submission(reference=taken, external_id=taken, state=hub.ProviderState.SUBMITTED)
        return _read(OrderBody(), answer["order"]).submission()

    def _preview(self, order: hub.FulfillmentOrder) -> str:
        """Ask whether it can be shipped; returns Amazon's reasons where it cannot, "" where it can."""
        asked = {
            "fulfillmentConfiguration": {
                "serviceLevel": self._service_level(order.service),
                "services": {"packaging": {"packagingOption": self.settings["boxes"]}},
            },
            "origin": self._origin(),
            "destination": {"deliveryAddress": _address(order)},
            "lineItems": [_goods(line) for line in order.lines],
            "excludeEstimatedFees": True,
        }
        wanted: Counter[str] = Counter()
        for line in order.lines:
            wanted[line.sku] += line.quantity
        try:
            answer = self.api.call("getOrderPreview", body=asked).object("plannedShipments")
        except hub.Rejected as refusal:
            return str(refusal)
        return _read(PreviewBody(), answer).why_not(wanted)

    def _body(self, order: hub.FulfillmentOrder) -> dict[str, Any]:
        return {
            "orderId": order.reference,
            "fulfillmentConfiguration": {
                "serviceLevel": self._service_level(order.service),
                "action": "SHIP",
                # All of it or nothing: what Amazon cannot ship whole is for another location.
                "policy": "FILL_OR_KILL",
                "services": {"packaging": {"packagingOption": self.settings["boxes"]}},
            },
            "origin": self._origin(),
            "destination": {"deliveryAddress": _address(order)},
            "lineItems": [{"lineItemId": line_id(order.reference, line), **_goods(line)} for line in order.lines],
        }

    def _origin(self) -> dict[str, str]:
        code = self._marketplace.code
        return {"countryCode": "GB" if code == "UK" else code}

    def _service_level(self, service: str) -> dict[str, list[str]]:
        tier = TIERS.get(service.strip().casefold())
        if tier is None or (tier == "PRIORITY" and self._marketplace.code not in PRIORITY_FROM):
            raise hub.Rejected(
                f"Amazon ships standard or expedited from {self._marketplace.name}, not “{service}”. "
                "Choose one of these two, or another location."
            )
        return {"serviceTiers": [tier]}

    def find_submit(self, order: hub.FulfillmentOrder, key: str) -> hub.Submission | None:
        found = self._find(order.reference)
        if found is None:
            self._missed.add(order.reference)
            return None
        return found.submission()

    def _find(self, reference: str) -> AmazonOrder | None:
        try:
            return self._order(reference)
        except hub.NotFound:
            return None

    def _order(self, reference: str) -> AmazonOrder:
        return _read(OrderBody(), self._told(reference))

    def _told(self, reference: str) -> dict[str, Any]:
        """An order as Amazon tells it. Raises NotFound."""
        answer = self.api.call("getFulfillmentOrder", path={"orderId": reference})
        told = answer.object("order")["order"]
        if not isinstance(told, dict) or told.get("orderId") != reference:
            raise hub.Unavailable("Amazon answered with another order than was asked for. It will be asked again.")
        return told

    def cancel(self, submission: hub.Submission, key: str) -> hub.Cancellation:
        reference = submission.external_id or submission.reference
        try:
            answer = self.api.call("cancelOrder", path={"orderId": reference})
        except hub.NotFound:
            raise
        except hub.Rejected as refusal:
            stands = self._order(reference).cancellation()
            waits = stands.state is hub.CancelState.REQUESTED
            return replace(stands, state=hub.CancelState.REFUSED, message=str(refusal)) if waits else stands
        if answer.status != 202:  # it says nothing else: a page of a proxy's does not
            raise hub.Unavailable("Amazon answered with something else than was asked for. It will be asked again.")
        return self._order(reference).cancellation()

    # --- shipments in

    def fetch_shipments(self, cursor: str | None) -> Iterator[hub.Page]:
        place, restarted = _Orders.of(cursor, self.context.now()), False
        seen = {place.token}
        while True:
            params = {"updatedAfter": _text(place.since)}
            if place.token:
                params["pageToken"] = place.token
            try:
                answer = self.api.call("listOrders", params=params).object("orders")
            except hub.Rejected:
                if not place.token or restarted:
                    raise
                # The token is good no more, and nobody says for how long it is: from the beginning, once.
                place, restarted, seen = replace(place, token=""), True, set()
                continue
            orders = [(told, _read_order(told)) for told in _objects(answer["orders"], "orderId")]
            records = tuple(self._record(told, order) for told, order in orders if order is None or order.is_ours)
            token = _next_token(answer)
            if not token:
                yield hub.Page(records, place.end)
                return
            if token in seen:
                raise _the_same_again()
            seen.add(token)
            place = replace(place, token=token)
            yield hub.Page(records, place.cursor)

    def fetch_order(self, external_id: str) -> hub.RawRecord:
        told = self._told(external_id)
        return self._record(told, _read_order(told))

    def _record(self, told: dict[str, Any], order: AmazonOrder | None) -> hub.RawRecord:
        """An order as it is kept: without the customer, whom the hub knows by itself. ``order`` is what it says."""
        if order is not None and order.is_ours and order.will_not_leave:
            told = {**told, "constraints": self._constraints(told)}
        kept = {name: each for name, each in told.items() if name not in ("destination", "paymentInformation")}
        version = order.version.isoformat() if order is not None else ""
        return hub.RawRecord(
            "shipment", str(told["orderId"]), json.dumps(kept, default=float).encode(), version=version
        )

    def _constraints(self, told: Mapping[str, Any]) -> list[Any]:
        """Why Amazon has given an order up: it says so of a preview of the same goods to the same address only."""
        goods = [{"product": line["product"], "amount": line["amount"]} for line in told["lineItems"]]
        address = (told.get("destination") or {}).get("deliveryAddress")
        if not address:
            return []
        asked = {
            "origin": self._origin(),
            "destination": {"deliveryAddress": address},
            "lineItems": goods,
            "excludeEstimatedFees": True,
        }
        try:
            said = self.api.call("getOrderPreview", body=asked).object("plannedShipments").get("constraints")
        except hub.Rejected as refusal:
            return [{"type": "ValidationError", "code": refusal.code, "message": str(refusal)}]
        except hub.Unavailable:
            return []  # nobody has to wait for the news because their reason is missing
        return said if isinstance(said, list) else []

    def read_shipments(self, record: hub.RawRecord) -> Iterable[hub.Progress | hub.ProviderShipment | hub.Tracking]:
        order = OrderBody().read(record.body)
        # What others have ordered from the same stock leaves it as its counts say, and is none of ours.
        return order.facts(self._marketplace.external_id) if order.is_ours else []

    # --- stock in

    def fetch_stock(self, cursor: str | None) -> Iterator[hub.Page]:
        """What changed, or everything now and then; from the beginning again where a page's token is over."""
        place, restarted = _Inventory.of(cursor, self.context.now()), False
        seen = {place.token}
        while True:
            # Before it is counted: what leaves meanwhile is taken off twice for a while, rather than not at all.
            asked_at = self.context.now()
            over = not place.fresh(asked_at)
            try:
                answer = {} if over else self._summaries(_asked(place))
            except hub.Rejected:
                if not place.token:
                    raise
                over = True
            if over:
                if restarted:
                    raise hub.Unavailable("Amazon's inventory takes longer to read than it lets. It is read later.")
                place, restarted, seen = place.again(asked_at), True, set()
                continue
            records = tuple(self._stock_record(each, asked_at) for each in _summaries_of(answer))
            token = _next_token(answer)
            if not token:
                yield hub.Page(records, place.end)
                return
            if token in seen:
                raise _the_same_again()
            seen.add(token)
            place = replace(place, token=token, token_at=asked_at)
            yield hub.Page(records, place.cursor)

    def _summaries(self, params: Mapping[str, str]) -> dict[str, Any]:
        id = self._marketplace.external_id
        asked = {"granularityType": "Marketplace", "granularityId": id, "marketplaceIds": id, "details": "true"}
        return self.api.call("getInventorySummaries", params={**asked, **params}).object("payload")

    def _stock_record(self, summary: Mapping[str, Any], asked_at: datetime) -> hub.RawRecord:
        counted_at = asked_at.isoformat()
        body = {"marketplace_id": self._marketplace.external_id, "counted_at": counted_at, "summary": summary}
        name = str(summary.get("sellerSku") or summary.get("fnSku") or "")
        return hub.RawRecord("stock", name, json.dumps(body, default=float).encode(), version=counted_at)

    def read_stock(self, record: hub.RawRecord) -> Iterable[hub.StockCount]:
        return StockBody().read(record.body)

    # --- messages

    @classmethod
    def queue_address(cls, settings: Mapping[str, Any]) -> hub.QueueAddress | None:
        return queue_address(settings)

    @classmethod
    def read_message(cls, body: bytes) -> hub.Delivery | None:
        return messages.read_message(body)

    def subscribe_webhooks(self, request: Mapping[str, Any], key: str) -> hub.EffectResult:
        return messages.subscribe(self.api, self.settings, TOPICS)

    def read_subscriptions(self, address: str) -> hub.Subscriptions:
        return messages.read_subscriptions(self.api, self.settings, TOPICS)

    def read_webhook(self, record: hub.RawRecord) -> Iterable[hub.ProviderFact]:
        if record.topic == ORDER_STATUS:
            return OrderStatusMessage().read(record.body)
        if record.topic == STOCK_CHANGE:
            here = self._marketplace.external_id
            return [each for each in StockMessage().read(record.body) if each.location_external_id == here]
        return []


# ---------------------------------------------------------------- what is asked, what is answered


def _the_same_again() -> hub.Unavailable:
    return hub.Unavailable("Amazon answers with the same page again. It will be asked later.")


def _text(moment: datetime) -> str:
    """A moment as Amazon takes it: without fractions of a second, on which its operations do not agree."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _read_order(told: Mapping[str, Any]) -> AmazonOrder | None:
    """An order that was told; None for one that cannot be read, which is kept and set aside when it is read."""
    try:
        return OrderBody().read(told)
    except hub.Unreadable:
        return None


def _asked(place: _Inventory) -> dict[str, str]:
    asked = {"startDateTime": _text(place.start)} if place.start else {}
    return {**asked, "nextToken": place.token} if place.token else asked


def _goods(line: hub.FulfillmentLine) -> dict[str, Any]:
    product: dict[str, Any] = {"productIdentifier": {"amazonSku": line.sku}}
    if line.unit_price is not None:
        price = line.unit_price
        product["perUnitDeclaredValue"] = {"currencyCode": price.currency, "amount": f"{price.amount:f}"}
    return {"product": product, "amount": {"unit": "EACHES", "value": str(line.quantity)}}


def _address(order: hub.FulfillmentOrder) -> dict[str, str]:
    to = order.destination
    lines = [each for each in (to.line1, to.line2, to.company if to.name else "") if each.strip()]
    named = {
        "name": to.name or to.company,
        **{f"addressLine{number}": text for number, text in enumerate(lines[:3], start=1)},
        "city": "" if to.country == NO_CITY else to.city,
        "stateOrRegion": to.region,
        "postalCode": to.postcode,
        "countryCode": to.country,
        "phone": to.phone,
        "email": order.email,
    }
    missing = [what for name, what in _NEEDED.items() if not named.get(name, "").strip()]
    if missing:
        raise hub.Rejected(f"Amazon ships to a whole address only. Missing: {', '.join(missing)}.")
    return {name: text for name, text in named.items() if text}


_NEEDED = {"name": "the name", "addressLine1": "the street", "postalCode": "the postcode", "countryCode": "the country"}


def _next_token(answer: Mapping[str, Any]) -> str:
    pagination = answer.get("pagination")
    token = pagination.get("nextToken") if isinstance(pagination, dict) else None
    return token if isinstance(token, str) else ""


def _summaries_of(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    payload = answer["payload"]
    return _objects(payload.get("inventorySummaries") if isinstance(payload, dict) else None, None)


def _objects(said: Any, member: str | None) -> list[dict[str, Any]]:
    """The rows of an answer. Raises Unavailable for something else, as comes from proxies and caches."""
    if isinstance(said, list) and all(isinstance(each, dict) and (not member or each.get(member)) for each in said):
        return said
    raise hub.Unavailable("Amazon answered with something else than was asked for. It will be asked again.")


def _read_member(said: Mapping[str, Any], name: str) -> str:
    if isinstance(said.get(name), str) and said[name]:
        return str(said[name])
    raise hub.Unavailable("Amazon's answer cannot be read. It will be asked again.")


def _read(body: hub.Translation[_T], said: Any) -> _T:
    """What an answer says. One that cannot be read tells nothing, so it is asked for again."""
    try:
        return body.read(said)
    except hub.Unreadable as error:
        raise hub.Unavailable(f"Amazon's answer cannot be read. {error} It will be asked again.") from error
