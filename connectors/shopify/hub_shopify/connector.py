"""The Shopify connector: one shop's Admin GraphQL API and its webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar, TypeVar

import marshmallow
from marshmallow import ValidationError, fields

from hub.connector import (
    Capabilities,
    Delivery,
    EffectResult,
    Fact,
    Page,
    PushOutcome,
    PushState,
    RateBudget,
    RawRecord,
    SalesChannel,
    Settlement,
    StockPush,
    StockRef,
    Token,
    Webhook,
)
from hub.core.model import Account, ChannelLocation, Listing, Order
from hub.errors import AuthError, NotFound, RateLimited, Rejected, Unavailable, Unverified
from hub.http import Response
from hub_shopify import documents
from hub_shopify.documents import Document
from hub_shopify.translation import FETCHED_ORDER, FETCHED_VARIANT, INVENTORY_ITEM, available
from hub_shopify.webhooks import READERS

SCOPES = ("read_orders", "read_products", "read_inventory", "write_inventory")
# Without it Shopify shows only the orders of the last 60 days.
OLD_ORDERS = "read_all_orders"

# The topics to subscribe to. Payments, fulfillments, refunds and edits all come as orders/updated as well.
TOPICS = (
    "ORDERS_CREATE",
    "ORDERS_UPDATED",
    "ORDERS_CANCELLED",
    "ORDERS_DELETE",
    "REFUNDS_CREATE",
    "PRODUCTS_CREATE",
    "PRODUCTS_UPDATE",
    "PRODUCTS_DELETE",
    "INVENTORY_ITEMS_DELETE",
    "INVENTORY_LEVELS_UPDATE",
)

_T = TypeVar("_T")

# ---------------------------------------------------------------- what a merchant enters

_PASTED = re.compile(r"\A(?:https?://)?([a-z0-9][a-z0-9-]*\.myshopify\.com)(?:[/?][!-~]*)?\Z")
_PASTED_ADMIN = re.compile(r"\A(?:https?://)?admin\.shopify\.com/store/([a-z0-9][a-z0-9-]*)(?:[/?][!-~]*)?\Z")
_NAME = re.compile(r"\A([a-z0-9][a-z0-9-]*)\Z")


def shop_domain(text: str) -> str:
    """The shop's own domain, "my-shop.myshopify.com", from what people paste. Raises ValueError."""
    text = text.strip().lower()
    if found := _PASTED.match(text):
        return found[1]
    if found := _PASTED_ADMIN.match(text) or _NAME.match(text):
        return f"{found[1]}.myshopify.com"
    raise ValueError(f"{text!r} is not the address of a Shopify shop.")


class ShopDomain(fields.String):
    """A shop's domain, as people paste it: with https://, from a page of its admin, or its name alone."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        try:
            return shop_domain(str(super()._deserialize(value, attr, data, **kwargs)))
        except ValueError as error:
            raise ValidationError(
                "Not a Shopify address. Enter the one that ends in .myshopify.com: in Shopify it is under "
                "Settings > Domains, also when customers use another one."
            ) from error


class Trimmed(fields.String):
    """Text as it was copied, without the spaces and line ends copied along."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        text = str(super()._deserialize(value, attr, data, **kwargs)).strip()
        if not re.fullmatch(r"[!-~]{0,255}", text):
            raise ValidationError("There is something in it that is no part of a key. Copy it again.")
        return text


class ShopifySettings(marshmallow.Schema):
    """What the connect form asks for."""

    shop = ShopDomain(
        required=True,
        metadata={
            "label": "Shop address",
            "hint": "It ends in .myshopify.com, such as my-shop.myshopify.com.",
            "placeholder": "my-shop.myshopify.com",
        },
    )
    client_id = Trimmed(
        load_default="",
        metadata={
            "label": "Client ID",
            "hint": "In the Dev Dashboard, under your app's Settings. Leave it empty if you enter an access token.",
        },
    )
    client_secret = Trimmed(
        required=True,
        validate=marshmallow.validate.Length(min=1, error="Shopify signs its messages with it: it is needed."),
        metadata={
            "label": "Client secret",
            "hint": "Beside the client ID. For an app made in the shop's admin it is called API secret key.",
            "secret": True,
        },
    )
    access_token = Trimmed(
        load_default="",
        metadata={
            "label": "Access token",
            "hint": "Only for an app made in the shop's admin before 2026: the token that begins with shpat_.",
            "secret": True,
        },
    )

    @marshmallow.validates_schema
    def belong_together(self, found: Mapping[str, Any], **_: Any) -> None:
        """Refuse what cannot work, and say what was probably mixed up."""
        if found["client_secret"].startswith("shpat_"):
            raise ValidationError("This is an access token. The client secret is another text.", "client_secret")
        if found["access_token"].startswith("shpss_"):
            raise ValidationError("This is a client secret. Access tokens begin with shpat_.", "access_token")
        if not found["client_id"] and not found["access_token"]:
            raise ValidationError("Enter the client ID of your app, or an access token below.", "client_id")


_WRONG_APP = (
    "Shopify does not know this client ID together with this client secret. Copy both again from your app's Settings "
    "in the Dev Dashboard; after a new secret was made there, only the new one works."
)
_REFUSED_APP = (
    "Shopify refused the token it had just given. See that the app is still installed, then reconnect the shop."
)
_REFUSED_BY_HAND = (
    "Shopify refused the access token. Copy it again, or better, use the client ID and secret of a Dev Dashboard app; "
    "then reconnect the shop."
)
_TOKEN_REFUSALS = {
    "app_not_installed": "The app is not installed on {shop}. Install it from its page in the Dev Dashboard.",
    "shop_not_permitted": (
        "Shopify gives this app no access to {shop}: the app and the shop must belong to the same organization. "
        "Create the app in the Dev Dashboard of the organization that owns the shop."
    ),
    "application_cannot_be_found": _WRONG_APP,
    "invalid_client": _WRONG_APP,
}
_ADD_SCOPES = (
    "Add what is missing to the app's access scopes in the Dev Dashboard, release the new version, accept it in the "
    "shop, and reconnect."
)
_NO_SHOP = "There is no Shopify shop at {shop}. Check the address under Settings > Domains in Shopify."

# ---------------------------------------------------------------- where fetching goes on

# Shopify finds orders through an index that lags behind. What it shows late is looked for this far back.
OVERLAP = timedelta(minutes=5)
# An order may change again within the second that its mark names. What is older than this has its last mark.
SETTLED = timedelta(seconds=15)
KNOWN = 1500  # orders remembered within the overlap; the others are only fetched again
# Shopify ends a listing after 25,000 things; long before that a new search begins where the last one stands.
SEARCH = 20_000


@dataclass(frozen=True, slots=True)
class OrderCursor:
    """How far the orders have been fetched: the newest mark, and the orders near it that need not be fetched again."""

    newest: datetime | None = None
    known: Mapping[str, str] = field(default_factory=dict)  # GraphQL id -> updatedAt

    @classmethod
    def parse(cls, text: str | None) -> OrderCursor:
        """The cursor of a page; the beginning without one."""
        if not text:
            return cls()
        saved = json.loads(text)
        return cls(datetime.fromisoformat(saved["newest"]), saved["known"])

    def __str__(self) -> str:
        newest = self.newest.isoformat() if self.newest else None
        return json.dumps({"newest": newest, "known": self.known}, separators=(",", ":"))

    def after(self, orders: Iterable[Mapping[str, Any]], now: datetime) -> OrderCursor:
        """The cursor once ``orders`` (nodes) are stored, which were fetched at ``now`` or later."""
        marks = {order["id"]: order["updatedAt"] for order in orders}
        newest = max([*map(_moment, marks.values()), *([self.newest] if self.newest else [])])
        settled = {**self.known, **{id: mark for id, mark in marks.items() if _moment(mark) <= now - SETTLED}}
        near = sorted((mark, id) for id, mark in settled.items() if _moment(mark) >= newest - OVERLAP)
        return OrderCursor(newest, {id: mark for mark, id in near[-KNOWN:]})


def _moment(mark: str) -> datetime:
    return datetime.fromisoformat(mark.replace("Z", "+00:00"))


# ---------------------------------------------------------------- the connector


class ShopifyConnector(SalesChannel):
    """A Shopify shop: orders and variants come from it, stock goes to its locations."""

    name = "shopify"
    label = "Shopify"
    description = "Orders, listings and stock per location of a Shopify shop."
    api_version = documents.API_VERSION
    api_version_ends = date(2027, 10, 1)
    settings_schema = ShopifySettings
    effects: ClassVar[Mapping[str, Settlement]] = {"subscribe_webhooks": Settlement.NATURAL_KEY}
    # What the smallest plan has; Shopify tells with each answer what it really is.
    rate_budget = RateBudget(per_second=100, burst=1000)
    capabilities = Capabilities(compare_and_set=True, push_batch=documents.STOCK_BATCH)

    @classmethod
    def hosts(cls, settings: Mapping[str, Any]) -> Sequence[str]:
        return (f"https://{settings['shop']}",)

    # --- the account

    def check(self) -> Account:
        try:
            response, answer = self._exchange(documents.SHOP)
        except NotFound as error:
            raise Rejected(_NO_SHOP.format(shop=self.settings["shop"])) from error
        granted = _granted(scope["handle"] for scope in answer["currentAppInstallation"]["accessScopes"])
        if missing := [scope for scope in SCOPES if scope not in granted]:
            raise AuthError(f"The app may not do all that is needed. Missing: {', '.join(missing)}. {_ADD_SCOPES}")
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
                for place in self._all(documents.LOCATIONS, ("locations",))
            ),
            warnings=tuple(warnings),
        )

    # --- orders

    def fetch_orders(self, cursor: str | None) -> Iterator[Page]:
        at = OrderCursor.parse(cursor)
        total = None if cursor else self._count(documents.ORDERS_COUNT, "ordersCount")
        for marks in self._changed_orders(at.newest):
            changed = [mark["id"] for mark in marks if at.known.get(mark["id"]) != mark["updatedAt"]]
            for ids in _chunks(changed, documents.ORDER_BATCH):
                now = self.context.now()
                orders = [self._whole(node) for node in self._ask(documents.ORDERS, ids=ids)["nodes"] if node]
                if orders:
                    at = at.after(orders, now)
                    yield Page(tuple(_order_record(order) for order in orders), str(at), total)

    def _changed_orders(self, newest: datetime | None) -> Iterator[Sequence[Mapping[str, Any]]]:
        """The ids and marks of all orders changed since a little before ``newest``, oldest change first."""
        since = newest and newest - OVERLAP
        while True:
            query = since and f"updated_at:>='{since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}'"
            met = 0
            for page in self._pages(documents.CHANGED_ORDERS, ("orders",), query=query):
                if page:
                    yield page
                    met += len(page)
                    last = _moment(page[-1]["updatedAt"])
                    if met >= SEARCH and (since is None or last > since):
                        since = last
                        break
            else:
                return

    def fetch_order(self, external_id: str) -> RawRecord:
        node = self._ask(documents.ORDER, id=_gid("Order", external_id))["order"]
        if node is None:
            raise NotFound(f"Shopify has no order {external_id} any more.")
        return _order_record(self._whole(node))

    def _whole(self, node: dict[str, Any]) -> dict[str, Any]:
        """The order with the lines, refunds and fulfillments that did not come with it."""
        lines = node["lineItems"]
        self._complete(documents.ORDER_LINES_AFTER, ("order", "lineItems"), lines, node["id"])
        removed = any(line["currentQuantity"] < line["quantity"] for line in lines["nodes"])
        if removed or Decimal(node["totalRefundedSet"]["shopMoney"]["amount"]):
            aftermath = self._ask(documents.ORDER_AFTERMATH, id=node["id"])["order"] or {}
            node["refunds"] = aftermath.get("refunds", [])
            node["fulfillments"] = [
                {
                    "status": each["status"],
                    "lines": list(
                        self._all(documents.FULFILLMENT_LINES, ("node", "fulfillmentLineItems"), id=each["id"])
                    ),
                }
                for each in aftermath.get("fulfillments", [])
            ]
        return node

    def read_order(self, record: RawRecord) -> Order:
        order: Order = FETCHED_ORDER.read(record.body)
        return order

    # --- listings

    def fetch_listings(self, cursor: str | None) -> Iterator[Page]:
        total = None if cursor else self._count(documents.VARIANTS_COUNT, "productVariantsCount")
        last = cursor
        while True:
            answer = self._ask(documents.VARIANTS, query=last and f"id:>{last}")
            variants = answer["productVariants"]
            if not variants["nodes"]:
                return
            last = variants["nodes"][-1]["legacyResourceId"]
            currency = answer["shop"]["currencyCode"]
            yield Page(tuple(self._listing_record(node, currency) for node in variants["nodes"]), last, total)
            if not variants["pageInfo"]["hasNextPage"]:
                return

    def fetch_listing(self, external_id: str) -> RawRecord:
        answer = self._ask(documents.VARIANT, id=_gid("ProductVariant", external_id))
        if answer["productVariant"] is None:
            raise NotFound(f"Shopify has no variant {external_id} any more.")
        return self._listing_record(answer["productVariant"], answer["shop"]["currencyCode"])

    def _listing_record(self, node: dict[str, Any], currency: str) -> RawRecord:
        item = node["inventoryItem"]
        self._complete(
            documents.LEVELS_AFTER, ("inventoryItem", "inventoryLevels"), item["inventoryLevels"], item["id"]
        )
        body = _body({**node, "currencyCode": currency})
        return RawRecord("listing", node["legacyResourceId"], body, version=node["updatedAt"])

    def read_listing(self, record: RawRecord) -> Iterable[Listing]:
        return [FETCHED_VARIANT.read(record.body)]

    # --- webhooks

    def verify(self, webhook: Webhook) -> Delivery | None:
        headers = webhook.headers
        secret = self.settings["client_secret"].encode()
        signature = base64.b64encode(hmac.digest(secret, webhook.body, hashlib.sha256))
        if not hmac.compare_digest(signature, _sent(headers, "x-shopify-hmac-sha256")):
            raise Unverified("The signature does not fit: this message is not from Shopify, or for another app.")
        if not hmac.compare_digest(self.settings["shop"].encode(), _sent(headers, "x-shopify-shop-domain").lower()):
            raise Unverified("This message is about another shop.")
        topic = headers.get("x-shopify-topic", "")
        if not re.fullmatch(r"[a-z_]{1,60}/[a-z_]{1,60}", topic):
            raise Unverified("This message does not say what it is about.")
        # One event is sent once per subscription, and one action of a merchant is several messages under one id (the
        # new stock of each line of an order): only topic, id and body together tell a copy from news.
        mark = hashlib.sha256(_sent(headers, "x-shopify-event-id") + b"\0" + webhook.body).hexdigest()
        return Delivery(topic, f"{topic}:{mark}")

    def read_webhook(self, record: RawRecord) -> Iterable[Fact]:
        read = READERS.get(record.topic)
        return read(record.body) if read else ()

    def subscribe_webhooks(self, request: Mapping[str, Any], key: str) -> EffectResult:
        address = request["address"]
        there = {
            each["topic"]
            for each in self._all(documents.SUBSCRIPTIONS, ("webhookSubscriptions",))
            if each["uri"] == address
        }
        missing = [topic for topic in TOPICS if topic not in there]
        for topic in missing:
            answer = self._ask(documents.SUBSCRIBE, topic=topic, address=address)["webhookSubscriptionCreate"]
            for error in answer["userErrors"]:
                if "already been taken" not in error["message"]:  # somebody else was faster
                    raise Rejected(f"Shopify does not send {topic} to this hub: {error['message']}")
        return EffectResult(details={"address": address, "created": missing})

    # --- stock

    def read_stock(self, refs: Sequence[StockRef]) -> Sequence[int | None]:
        found: dict[tuple[str, str], int | None] = {}
        by_location: dict[str, list[str]] = {}
        for item, location in dict.fromkeys(pair for ref in refs if (pair := _pair(ref))):
            by_location.setdefault(location, []).append(item)
        for location, items in by_location.items():
            for ids in _chunks(sorted(items), documents.STOCK_BATCH):
                for item, node in zip(
                    ids, self._ask(documents.STOCK, ids=ids, location=location)["nodes"], strict=True
                ):
                    level = node and node["tracked"] and node["inventoryLevel"]
                    found[item, location] = available(level["quantities"]) if level else None
        return [found.get(pair) if (pair := _pair(ref)) else None for ref in refs]

    def push_stock(self, pushes: Sequence[StockPush]) -> Sequence[PushOutcome]:
        placed = {index: pair for index, push in enumerate(pushes) if (pair := _pair(push.ref))}
        outcomes = {index: _NO_PLACE for index in range(len(pushes)) if index not in placed}
        unsent = len(outcomes)
        try:
            for indexes in _calls(placed):
                self._write({index: pushes[index] for index in indexes}, outcomes)
        except (RateLimited, Unavailable) as error:
            if len(outcomes) == unsent:
                raise
            # What has been written stays written: only the rest is tried again.
            rest = PushOutcome(PushState.RETRY, message=str(error))
            return [outcomes.get(index, rest) for index in range(len(pushes))]
        return [outcomes[index] for index in range(len(pushes))]

    def _write(self, batch: Mapping[int, StockPush], outcomes: dict[int, PushOutcome], attempt: int = 1) -> None:
        """Write a batch and note what became of each push. Shopify writes all of a call or nothing.

        So what it refuses is taken out and the others are sent again; where it does not say which it refused, halves
        are tried. Each call has the key that belongs to what is in it.
        """
        if not batch:
            return
        errors = self._set_quantities(list(batch.values()), attempt)
        if not errors:
            outcomes |= {index: PushOutcome(PushState.WRITTEN, push.quantity) for index, push in batch.items()}
            return
        codes = {error["code"] for error in errors}
        if codes & _SAME_KEY_AGAIN:
            outcomes |= dict.fromkeys(batch, PushOutcome(PushState.RETRY, message=errors[0]["message"]))
            return
        if codes & _OTHER_KEY:
            if attempt < MOST_ATTEMPTS:
                self._write(batch, outcomes, attempt + 1)
            else:
                outcomes |= dict.fromkeys(batch, PushOutcome(PushState.RETRY, message=errors[0]["message"]))
            return
        indexes = list(batch)
        refused = {
            indexes[position]: _refusal(error)
            for error in errors
            if (position := _position(error["field"])) is not None and position < len(indexes)
        }
        if len(batch) == 1 or codes & _ABOUT_THE_CALL:
            refused = dict.fromkeys(batch, _refusal(errors[0]))
        outcomes |= refused
        rest = {index: push for index, push in batch.items() if index not in refused}
        if refused:
            self._write(rest, outcomes)
        else:
            for half in _chunks(list(rest.items()), (len(rest) + 1) // 2):
                self._write(dict(half), outcomes)

    def _set_quantities(self, pushes: Sequence[StockPush], attempt: int) -> Sequence[Mapping[str, Any]]:
        quantities = []
        for push in pushes:
            item, location = _pair(push.ref) or ("", "")
            quantities.append(
                {
                    "inventoryItemId": item,
                    "locationId": location,
                    "quantity": push.quantity,
                    # Null writes without a comparison; leaving it out is an error.
                    "changeFromQuantity": push.expected,
                }
            )
        # The same writes in the same order are the same key, anything else is another.
        writes = json.dumps([[push.key for push in pushes], quantities, attempt])
        key = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.settings['shop']} {writes}"))
        call = {
            "name": "available",
            "reason": "correction",
            "referenceDocumentUri": f"gid://tallyhub/StockPush/{key}",
            "quantities": quantities,
        }
        answer = self._ask(documents.SET_STOCK, input=call, key=key)["inventorySetQuantities"]
        if answer is None:
            raise Unavailable("Shopify did not say what became of the stock that was sent. It will be tried again.")
        errors: Sequence[Mapping[str, Any]] = answer["userErrors"]
        return errors

    # --- talking to Shopify

    def _ask(self, document: Document, **variables: Any) -> Mapping[str, Any]:
        return self._exchange(document, **variables)[1]

    def _exchange(self, document: Document, **variables: Any) -> tuple[Response, Mapping[str, Any]]:
        """Send a document; returns the answer and its data. An HTTP 200 says nothing: errors come with it too."""
        response = self._post({"query": document.text, "variables": variables}, document.cost)
        answer = response.json()
        if not isinstance(answer, dict):
            raise Unavailable("Shopify answered with something else than a GraphQL answer. It will be asked again.")
        cost = _cost(answer)
        if self.client.limiter is not None and cost.available is not None:
            self.client.limiter.learn(cost.available, cost.restore_rate, cost.maximum)
        if errors := answer.get("errors"):
            raise _graphql_error(errors, cost)
        data = answer.get("data")
        if not isinstance(data, dict):
            raise Unavailable("Shopify answered without data. It will be asked again.")
        return response, data

    def _post(self, body: Mapping[str, Any], cost: int) -> Response:
        token = self._token()
        response = self._send(body, cost, token)
        if response.status == 401 and not self.settings["access_token"]:
            response = self._send(body, cost, self._token(refused=token))
        if response.status == 401:
            raise AuthError(_REFUSED_BY_HAND if self.settings["access_token"] else _REFUSED_APP)
        return response

    def _send(self, body: Mapping[str, Any], cost: int, token: str) -> Response:
        return self.client.post(
            f"https://{self.settings['shop']}/admin/api/{self.api_version}/graphql.json",
            json=body,
            headers={"X-Shopify-Access-Token": token},
            cost=cost,
            expect=(401,),
        )

    def _token(self, refused: str | None = None) -> str:
        legacy: str = self.settings["access_token"]
        return legacy or self.context.tokens.token("admin", self._grant, refused=refused)

    def _grant(self) -> Token:
        """A token by the client credentials grant: about a day's access for an app of the shop's own organization."""
        shop = self.settings["shop"]
        self.client.redact(self.settings["client_secret"])
        response = self.client.post(
            f"https://{shop}/admin/oauth/access_token",
            data={
                "grant_type": "client_credentials",
                "client_id": self.settings["client_id"],
                "client_secret": self.settings["client_secret"],
            },
            expect=(400, 401, 403, 404),
        )
        if response.status == 404:
            raise Rejected(_NO_SHOP.format(shop=shop))
        if response.status >= 400:
            said = next((words for code, words in _TOKEN_REFUSALS.items() if code in response.text), _WRONG_APP)
            raise AuthError(said.format(shop=shop))
        answer = response.json()
        if not isinstance(answer, dict) or not isinstance(answer.get("access_token"), str):
            raise Unavailable("Shopify answered without a token. It will be asked again.")
        seconds = answer.get("expires_in")
        expires_at = self.context.now() + timedelta(seconds=seconds) if isinstance(seconds, int) else None
        self.client.redact(answer["access_token"])
        return Token(answer["access_token"], expires_at)

    def _count(self, document: Document, name: str) -> int | None:
        counted = self._ask(document)[name]
        return counted["count"] if counted else None

    def _pages(self, document: Document, path: Sequence[str], **variables: Any) -> Iterator[list[dict[str, Any]]]:
        """The nodes of a connection, page by page; ``path`` leads to it in the answer."""
        while True:
            found: Any = self._ask(document, **variables)
            for name in path:
                found = found and found[name]
            if not found:
                return  # what it belongs to was deleted meanwhile
            yield found["nodes"]
            if not found["pageInfo"]["hasNextPage"]:
                return
            variables["after"] = found["pageInfo"]["endCursor"]

    def _all(self, document: Document, path: Sequence[str], **variables: Any) -> Iterator[dict[str, Any]]:
        for page in self._pages(document, path, **variables):
            yield from page

    def _complete(self, document: Document, path: Sequence[str], connection: dict[str, Any], id: str) -> None:
        """Append to a connection's first page of nodes all further ones."""
        page = connection["pageInfo"]
        if page["hasNextPage"]:
            connection["nodes"] += self._all(document, path, id=id, after=page["endCursor"])
        connection["pageInfo"] = {"hasNextPage": False}


# ---------------------------------------------------------------- ids and records


def _gid(kind: str, external_id: str) -> str:
    """Shopify's GraphQL id. Raises NotFound for what cannot be one of its ids."""
    if not (external_id.isascii() and external_id.isdigit()):
        raise NotFound(f"“{external_id[:40]}” is no id of Shopify's.")
    return f"gid://shopify/{kind}/{external_id}"


def _granted(handles: Iterable[str]) -> set[str]:
    """Access scopes with what they include: who may write may read."""
    scopes = set(handles)
    return scopes | {scope.replace("write_", "read_", 1) for scope in scopes}


def _number(gid: str) -> str:
    return gid.rpartition("/")[2]


def _body(node: Mapping[str, Any]) -> bytes:
    return json.dumps(node, ensure_ascii=False, separators=(",", ":")).encode()


def _order_record(node: Mapping[str, Any]) -> RawRecord:
    return RawRecord("order", node["legacyResourceId"], _body(node), version=node["updatedAt"])


def _sent(headers: Mapping[str, str], name: str) -> bytes:
    """A header as bytes: comparing text in constant time fails on anything beyond ASCII."""
    return headers.get(name, "").strip().encode("utf-8", "replace")


def _chunks(things: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    for start in range(0, len(things), size):
        yield things[start : start + size]


# ---------------------------------------------------------------- what became of stock

MOST_ATTEMPTS = 3
_SAME_KEY_AGAIN = frozenset({"IDEMPOTENCY_CONCURRENT_REQUEST"})
_OTHER_KEY = frozenset({"IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED", "IDEMPOTENCY_KEY_PARAMETER_MISMATCH"})
_ABOUT_THE_CALL = frozenset({"INVALID_NAME", "INVALID_REASON", "INVALID_REFERENCE_DOCUMENT"})
_REFUSALS = {
    "CHANGE_FROM_QUANTITY_STALE": (PushState.STALE, "Shopify's quantity has changed meanwhile."),
    "INVALID_INVENTORY_ITEM": (PushState.GONE, "Shopify does not have this variant any more."),
    "ITEM_NOT_STOCKED_AT_LOCATION": (
        PushState.REJECTED,
        "Shopify does not stock this variant at this location. Tick the location on the variant's page in Shopify, "
        "under Inventory, or publish to another location.",
    ),
    "INVALID_LOCATION": (
        PushState.REJECTED,
        "Shopify does not have this location, or it is deactivated. Choose another location for this connection.",
    ),
    "NON_MUTABLE_INVENTORY_ITEM": (
        PushState.REJECTED,
        "Shopify keeps the stock of this variant itself, as it does for bundles. Publish the stock of its parts.",
    ),
}


_NO_PLACE = PushOutcome(
    PushState.REJECTED,
    message="It is not known where Shopify keeps the stock of this variant. Import the listings again, and choose one "
    "of the shop's locations.",
)


def _refusal(error: Mapping[str, Any]) -> PushOutcome:
    state, message = _REFUSALS.get(
        error["code"], (PushState.REJECTED, f"Shopify refused this quantity: {error['message']}")
    )
    return PushOutcome(state, message=message)


def _position(path: Sequence[str] | None) -> int | None:
    """The number of the quantity that an error is about, from a path such as input.quantities.0.changeFromQuantity."""
    names = [str(name) for name in path or ()]
    if "quantities" not in names[:-1]:
        return None
    number = names[names.index("quantities") + 1]
    return int(number) if number.isascii() and number.isdigit() else None


def _pair(ref: StockRef) -> tuple[str, str] | None:
    """The inventory item and the location of a listing, None where one of them is missing."""
    try:
        return _gid("InventoryItem", ref.handles.get(INVENTORY_ITEM, "")), _gid("Location", ref.location_external_id)
    except NotFound:
        return None


def _calls(placed: Mapping[int, tuple[str, str]]) -> Iterable[Collection[int]]:
    """What goes into one call each: no more than Shopify takes, and no item twice at one location."""
    calls: list[dict[tuple[str, str], int]] = []
    for index, pair in placed.items():
        fitting = (call for call in calls if pair not in call and len(call) < documents.STOCK_BATCH)
        call = next(fitting, None)
        if call is None:
            calls.append(call := {})
        call[pair] = index
    return [call.values() for call in calls]


# ---------------------------------------------------------------- what Shopify answers


@dataclass(frozen=True, slots=True)
class _Cost:
    """What an answer says about its cost and the budget, in points; ``available`` is None where it says nothing."""

    requested: float
    available: float | None
    maximum: float
    restore_rate: float


def _cost(answer: Mapping[str, Any]) -> _Cost:
    try:
        cost = answer["extensions"]["cost"]
        status = cost["throttleStatus"]
        return _Cost(
            requested=float(cost["requestedQueryCost"] or 0),
            available=float(status["currentlyAvailable"]),
            maximum=float(status["maximumAvailable"]),
            restore_rate=float(status["restoreRate"]),
        )
    except (KeyError, TypeError, ValueError):
        return _Cost(0, None, 0, 0)


_SHOPIFYS_FAULT = frozenset(
    {"INTERNAL_SERVER_ERROR", "SERVICE_UNAVAILABLE", "TIMEOUT", "BAD_GATEWAY", "GATEWAY_TIMEOUT"}
)


def _graphql_error(errors: Any, cost: _Cost) -> Exception:
    """The error that GraphQL's errors amount to; one that passes by itself goes before one that does not."""
    found = [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    by_code = {_extension(error, "code"): error for error in reversed(found)}
    if "THROTTLED" in by_code:
        missing = max(0.0, cost.requested - (cost.available or 0.0))
        return RateLimited(
            "Shopify asks to slow down: the rate budget of this shop is spent.",
            missing / cost.restore_rate if cost.restore_rate > 0 else None,
        )
    if failed := next((by_code[code] for code in by_code if code in _SHOPIFYS_FAULT), None):
        return Unavailable(f"Shopify failed ({_words(failed)}). It will be tried again.")
    if denied := by_code.get("ACCESS_DENIED"):
        needed = _extension(denied, "requiredAccess") or _words(denied)
        return AuthError(f"Shopify denies access, it needs: {needed} {_ADD_SCOPES}")
    if "SHOP_INACTIVE" in by_code:
        return AuthError("Shopify has closed this shop or paused it. Open it again in Shopify, then reconnect.")
    if not found:
        return Rejected(f"Shopify refused the request: {str(errors)[:300]}")
    return Rejected(f"Shopify refused the request: {_words(found[0])}", code=_extension(found[0], "code"))


def _extension(error: Mapping[str, Any], name: str) -> str:
    extensions = error.get("extensions")
    value = extensions.get(name) if isinstance(extensions, dict) else None
    return value if isinstance(value, str) else ""


def _words(error: Mapping[str, Any]) -> str:
    return str(error.get("message", ""))[:300]
