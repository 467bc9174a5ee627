"""The ShipBob connector: orders out to its fulfillment centers; shipments and stock back from them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from marshmallow import fields, validate

import hub
from hub.http import Response
from hub_3pl import standard_webhooks
from hub_3pl.shipbob_translation import (
    CancelBody,
    OrderBody,
    ShipBobOrder,
    StockBody,
    WebhookBody,
)

API_VERSION = "2026-01"
PRODUCTION, SANDBOX = "production", "sandbox"
ORIGINS = {PRODUCTION: "https://api.shipbob.com", SANDBOX: "https://sandbox-api.shipbob.com"}

# ShipBob counts 150 requests in any minute, of all that the token's owner does with the same app: 30 + 60 x 2.
PER_SECOND, BURST = 2.0, 30.0
PER_PAGE = 100
# Changes are asked for again for so long, for what ShipBob indexes late and for clocks that disagree.
OVERLAP = timedelta(minutes=10)
FIRST_LOOK = timedelta(days=90)  # an order that is open and has not been touched for so long is nobody's any more

TOPICS = (
    "order.shipped",
    "order.shipment.delivered",
    "order.shipment.exception",
    "order.shipment.on_hold",
    "order.shipment.cancelled",
)
IN_THE_SANDBOX = "This is ShipBob's sandbox: nothing that is ordered here is ever shipped."
STANDARD = "standard"  # the way to ship what nobody wished to be shipped in another

_HAD_BEFORE = re.compile(r"existing\s+reference|reference\S*\s.*already|duplicate", re.IGNORECASE)

_T = TypeVar("_T")


class ShipBobSettings(hub.SettingsSchema):
    """The token, and which of its channels."""

    token = fields.String(
        required=True,
        validate=validate.Length(min=16, max=4000, error="This is too short or too long for a token. Copy all of it."),
        metadata={
            "label": "Personal access token",
            "hint": "ShipBob > Integrations > API Tokens > Generate New Token, signed in as the account's owner.",
            "secret": True,
        },
    )
    channel_id = fields.String(
        load_default="",
        validate=validate.Regexp(r"([0-9]{1,10})?\Z", error="A channel is a number. Leave it empty if there is one."),
        metadata={
            "label": "Channel",
            "hint": "The number of the channel. Leave it empty: if there are several, you will be told their numbers.",
        },
    )
    environment = fields.String(
        load_default=PRODUCTION,
        validate=validate.OneOf((PRODUCTION, SANDBOX)),
        metadata={"label": "Environment", "hint": "“sandbox” is for accounts made for trying things out."},
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """Where fetching orders has got to: changes since ``since``, page by page, of a walk that began at ``began``."""

    since: datetime
    began: datetime
    page: int = 1

    @classmethod
    def of(cls, cursor: str | None, now: datetime) -> _Place:
        said = json.loads(cursor) if cursor else {}
        since, began = (datetime.fromisoformat(said[name]) if name in said else None for name in ("since", "began"))
        return cls(since or now - FIRST_LOOK, began or now, said.get("page", 1))

    @property
    def cursor(self) -> str:
        return json.dumps({"since": _text(self.since), "began": _text(self.began), "page": self.page})

    @property
    def end(self) -> str:
        """The cursor from which the next walk sets out."""
        return json.dumps({"since": _text(self.began - OVERLAP)})


class ShipBobConnector(hub.FulfillmentProvider):
    """An account at ShipBob."""

    name = "shipbob"
    label = "ShipBob"
    description = "Storing and shipping with ShipBob."
    api_version = API_VERSION
    settings_schema = ShipBobSettings
    capabilities = hub.ProviderCapabilities()
    rate_budget = hub.RateBudget(per_second=PER_SECOND, burst=BURST)
    effects: ClassVar[Mapping[str, hub.Settlement]] = {
        "submit": hub.Settlement.LOOKUP,
        "cancel": hub.Settlement.LOOKUP,
        "subscribe_webhooks": hub.Settlement.NATURAL_KEY,
    }

    @classmethod
    def hosts(cls, settings: Mapping[str, Any]) -> Sequence[str]:
        return (ORIGINS[settings["environment"]],)

    # --- asking

    def _ask(
        self, method: str, path: str, *, channel: bool = True, skus: Sequence[str] = (), **options: Any
    ) -> Response:
        """Send one request; ``skus`` are the products in the order in which the request names them."""
        headers = {"Authorization": f"Bearer {self.settings['token']}"}
        if channel:
            headers["shipbob_channel_id"] = self._channel_id()
        address = f"{ORIGINS[self.settings['environment']]}/{API_VERSION}/{path}"
        response = self.client.request(method, address, headers=headers, expect=(400, 422, 429), **options)
        remaining = _number(response.headers.get("x-remaining-calls"))
        if self.client.limiter is not None and remaining is not None and remaining < BURST:
            self.client.limiter.learn(remaining, PER_SECOND, BURST)
        if response.status == 429:
            told = response.headers
            seconds = _number(told.get("x-retry-after") or told.get("Retry-After"))
            raise hub.RateLimited("ShipBob asks to slow down: 150 requests a minute are allowed.", seconds)
        if response.status in (400, 422):
            words = " ".join(_words(response, skus)) or "It does not say why."
            raise hub.Rejected(f"ShipBob refused the request. {words}", code=str(response.status))
        return response

    def _rows(self, path: str, *, channel: bool = True) -> list[dict[str, Any]]:
        """Everything of a short list."""
        rows: list[dict[str, Any]] = []
        asked: list[dict[str, str]] = []
        params = {"RecordsPerPage": str(PER_PAGE)}
        while params:
            if params in asked:
                raise _the_same_again()
            asked.append(params)
            said = self._ask("GET", path, channel=channel, params=params).object("items")
            rows += _objects(said["items"], "id")
            params = _query(said.get("next"))
        return rows

    def _channel_id(self) -> str:
        """The channel to act for: the one that was entered, the one that the last check found, or the only one."""
        known = self.settings["channel_id"] or self.context.features.get("channel")
        return known or self._channel()[0]

    def _channel(self) -> tuple[str, str]:
        """The id and the name of the channel to act for."""
        writable = [each for each in self._rows("channel", channel=False) if _may_write(each)]
        found = {str(each["id"]): str(each.get("name") or each["id"]) for each in writable}
        wanted = self.settings["channel_id"]
        listed = ", ".join(f"{id} ({name})" for id, name in found.items())
        if wanted and wanted not in found:
            raise hub.Rejected(
                f"The token may not write orders of channel {wanted}. "
                + (
                    f"It may for {listed}: enter one of these."
                    if found
                    else "Give it the scopes orders_write and all that read."
                )
            )
        if not found:
            raise hub.Rejected("The token may write orders of no channel. Make one with the scope orders_write.")
        if not wanted and len(found) > 1:
            raise hub.Rejected(f"The token is for several channels: {listed}. Enter the number of one of them.")
        id = wanted or next(iter(found))
        return id, found[id]

    def check(self) -> hub.Account:
        id, name = self._channel()
        places = [
            each
            for each in _objects(
                self._ask("GET", "location", channel=False, params={"AccessGranted": "true"}).json(), "id"
            )
            if each.get("is_active") and each.get("access_granted")
        ]
        return hub.Account(
            external_id=id,
            name=name,
            locations=tuple(
                hub.ChannelLocation(
                    external_id=str(each["id"]),
                    name=str(each.get("name") or each["id"]),
                    active=bool(each.get("is_shipping_enabled")),
                )
                for each in places
            ),
            warnings=(IN_THE_SANDBOX,) if self.settings["environment"] == SANDBOX else (),
            features={
                "channel": id,
                "places": ", ".join(str(each["id"]) for each in places),
                "shipping_methods": "; ".join(self._shipping_methods()),
            },
        )

    def _shipping_methods(self) -> list[str]:
        answer = self._ask("GET", "shipping-method", channel=False, params={"Page": "1", "Limit": "250"})
        return [str(each["name"]) for each in _objects(answer.json(), "id") if each.get("active") and each.get("name")]

    # --- orders out

    def submit(self, order: hub.FulfillmentOrder, key: str) -> hub.Submission:
        skus = list(dict.fromkeys(line.sku for line in order.lines))
        body = self._body(order, skus)
        try:
            said = self._ask("POST", "order", skus=skus, json=body).object("id", "reference_id")
        except hub.Rejected as refusal:
            # A reference that ShipBob has had is refused, and it is ours: the order is there already.
            if refusal.code == "422" and (found := self.find_submit(order, key)) is not None:
                return found
            if _HAD_BEFORE.search(str(refusal)):
                raise hub.Unavailable(
                    f"ShipBob says that it has {order.reference}, and does not show it yet. It is looked for again."
                ) from refusal
            raise
        return _read(OrderBody(), said).submission()

    def _body(self, order: hub.FulfillmentOrder, skus: Sequence[str]) -> dict[str, Any]:
        to = order.destination
        prices = {line.sku: line.unit_price for line in order.lines}
        body: dict[str, Any] = {
            "reference_id": order.reference,
            "order_number": order.number,
            "type": "DTC",
            "shipping_method": self._shipping_method(order.service),
            "purchase_date": _text(order.placed_at),
            "recipient": {
                "name": to.name or to.company,
                "email": order.email or None,
                "phone_number": to.phone or None,
                "address": {
                    "company_name": to.company or None,
                    "address1": to.line1,
                    "address2": to.line2 or None,
                    "city": to.city,
                    "state": to.region or None,
                    "zip_code": to.postcode or None,
                    "country": to.country,
                },
            },
            # Without a name, ShipBob refuses a product that it does not know. With one, it would make it up.
            "products": [
                {
                    "reference_id": sku,
                    "name": None,
                    "quantity": sum(line.quantity for line in order.lines if line.sku == sku),
                    "unit_price": _dollars(prices[sku]),
                }
                for sku in skus
            ],
            "gift_message": order.gift_message or None,
        }
        if order.location_external_id:
            body["location_id"] = int(_id(order.location_external_id, "place"))
        return body

    def _shipping_method(self, service: str) -> str:
        """ShipBob's name of a way to ship. One that it does not know it would add, and ship as its standard."""
        known = [name for name in self.context.features.get("shipping_methods", "").split("; ") if name]
        found = next((name for name in known if name.casefold() == service.casefold()), "")
        if known and not found and service.casefold() not in ("", STANDARD):
            raise hub.Rejected(
                f"ShipBob has no shipping method “{service}”, but {', '.join(known)}. "
                "Choose one of these, or add it at ShipBob and check the connection again."
            )
        return found or service or STANDARD.title()

    def find_submit(self, order: hub.FulfillmentOrder, key: str) -> hub.Submission | None:
        found = self._by_reference(order.reference)
        return None if found is None else found.submission()

    def _by_reference(self, reference: str) -> ShipBobOrder | None:
        rows = _objects(self._ask("GET", "order", params={"ReferenceIds": reference}).json(), "id")
        return next((_read(OrderBody(), row) for row in rows if row.get("reference_id") == reference), None)

    def _order(self, external_id: str) -> ShipBobOrder:
        return _read(OrderBody(), self._ask("GET", f"order/{_id(external_id, 'order')}").object("id"))

    def _of(self, submission: hub.Submission) -> ShipBobOrder | None:
        return (
            self._order(submission.external_id) if submission.external_id else self._by_reference(submission.reference)
        )

    def cancel(self, submission: hub.Submission, key: str) -> hub.Cancellation:
        id = submission.external_id
        if not id:
            order = self._by_reference(submission.reference)
            if order is None:
                raise hub.NotFound(f"ShipBob has no order {submission.reference}.")
            id = order.id
        refusal = self._cancel_whole(_id(id, "order"))
        if refusal is None:
            return hub.Cancellation(reference=submission.reference, state=hub.CancelState.CANCELLED)
        order = self._order(id)
        if waiting := [int(each.id) for each in order.shipments if each.can_be_cancelled]:
            # The order cannot be cancelled as one. What nobody has begun to pick still can.
            self._ask("POST", "shipment:batchCancel", json={"shipment_ids": waiting}).object("results")
            order = self._order(id)
        return replace(order.cancellation(refusal), reference=submission.reference)

    def _cancel_whole(self, id: str) -> str | None:
        """Cancel an order with all its shipments; returns why that cannot be, None where it was done."""
        try:
            answer = _read(CancelBody(), self._ask("POST", f"order/{id}:cancel").object("status"))
        except hub.NotFound:
            raise
        except hub.Rejected as refusal:
            return str(refusal)
        return None if answer.succeeded else answer.reasons

    def find_cancel(self, submission: hub.Submission, key: str) -> hub.Cancellation | None:
        order = self._of(submission)
        if order is None:
            return None
        found = replace(order.cancellation(), reference=submission.reference)
        settled = not any(each.can_be_cancelled for each in order.shipments)
        partly = found.state is hub.CancelState.PARTLY and settled
        return found if partly or found.state is hub.CancelState.CANCELLED else None

    # --- shipments in

    def fetch_shipments(self, cursor: str | None) -> Iterator[hub.Page]:
        place, before = _Place.of(cursor, self.context.now()), None
        while True:
            params = {
                "LastUpdateStartDate": _text(place.since),
                # By age, oldest first: what is changed meanwhile keeps its place, and what is new comes last.
                "SortOrder": "Oldest",
                "Page": str(place.page),
                "Limit": str(PER_PAGE),
            }
            rows = _objects(self._ask("GET", "order", params=params).json(), "id")
            ids = [str(row["id"]) for row in rows]
            if ids and ids == before:
                raise _the_same_again()
            records = tuple(_record(row) for row in rows)
            if len(rows) < PER_PAGE:
                yield hub.Page(records, place.end)
                return
            place, before = replace(place, page=place.page + 1), ids
            yield hub.Page(records, place.cursor)

    def fetch_order(self, external_id: str) -> hub.RawRecord:
        return _record(self._ask("GET", f"order/{_id(external_id, 'order')}").object("id", "created_date"))

    def read_shipments(self, record: hub.RawRecord) -> Iterable[hub.Progress | hub.ProviderShipment | hub.Tracking]:
        return OrderBody().read(record.body).facts()

    # --- stock in

    def fetch_stock(self, cursor: str | None) -> Iterator[hub.Page]:
        """All of it, page by page. The cursor is ShipBob's own link to what follows, "" at the end."""
        params = dict(parse_qsl(cursor or "")) or {"PageSize": str(PER_PAGE), "IsDigital": "false"}
        before = None
        while True:
            # Before it is counted: what leaves meanwhile is taken off twice for a while, rather than not at all.
            asked = {"counted_at": _text(self.context.now()), "places": self._places()}
            said = self._ask("GET", "inventory-level/locations", params=params).object("items")
            items = _objects(said["items"], "inventory_id")
            ids = [str(each["inventory_id"]) for each in items]
            following = _query(said.get("next"))
            if following and (following == params or ids == before):
                raise _the_same_again()
            lots = self._lots(ids) if ids else {}
            records = tuple(
                _stock_record({**each, **asked, "lots": lots.get(id)}) for id, each in zip(ids, items, strict=True)
            )
            yield hub.Page(records, urlencode(following))
            if not following:
                return
            params, before = following, ids

    def _lots(self, ids: Sequence[str]) -> dict[str, Any]:
        params = {"InventoryIds": ",".join(ids), "PageSize": str(len(ids))}
        said = self._ask("GET", "inventory-level/lots", params=params).object("items")
        return {str(each["inventory_id"]): each.get("lots") for each in _objects(said["items"], "inventory_id")}

    def _places(self) -> list[str]:
        return [each for each in self.context.features.get("places", "").split(", ") if each]

    def read_stock(self, record: hub.RawRecord) -> Iterable[hub.StockCount]:
        return StockBody().read(record.body)

    # --- webhooks

    def _secret(self) -> str:
        secret = standard_webhooks.secret_of(self.context.webhook_secret)
        self.client.redact(secret)
        return secret

    def verify(self, webhook: hub.Webhook) -> hub.Delivery | None:
        secret = standard_webhooks.secret_of(self.context.webhook_secret)
        id = standard_webhooks.message_id(webhook.headers, webhook.body, secret, self.context.now())
        # The topic is not signed, so nothing but the way of reading may depend on it.
        topic = webhook.headers.get("x-webhook-topic", "")
        return hub.Delivery(topic[:100] or "unknown", id[:300])

    def subscribe_webhooks(self, request: Mapping[str, Any], key: str) -> hub.EffectResult:
        address = request["address"]
        path = urlsplit(address).path
        ours = [each for each in self._rows("webhook") if urlsplit(str(each.get("url"))).path == path]
        working = [each for each in ours if each.get("url") == address and _sends(each) >= set(TOPICS)]
        kept = working[0] if working else self._subscribe(address)
        for each in ours:
            if each["id"] != kept["id"]:
                self._ask("DELETE", f"webhook/{_name(each['id'])}")
        return hub.EffectResult(reference=str(kept["id"]))

    def _subscribe(self, address: str) -> dict[str, Any]:
        secret = self._secret()
        wanted = {"url": address, "topics": list(TOPICS), "description": "Tallyhub", "secret": secret}
        made = self._ask("POST", "webhook", json=wanted).object("id")
        if made.get("secret") not in (None, secret):
            self._ask("DELETE", f"webhook/{_name(made['id'])}")
            raise hub.Rejected(
                "ShipBob signs its webhooks with a secret of its own, so nobody could tell them from a stranger's. "
                "They were not subscribed to; shipments are asked for every minute instead."
            )
        return made

    def read_subscriptions(self, address: str) -> hub.Subscriptions:
        sent = {topic for each in self._rows("webhook") if each.get("url") == address for topic in _sends(each)}
        return hub.Subscriptions(
            active=tuple(topic for topic in TOPICS if topic in sent),
            missing=tuple(topic for topic in TOPICS if topic not in sent),
        )

    def read_webhook(self, record: hub.RawRecord) -> Iterable[hub.ProviderFact]:
        return WebhookBody().read(record.body) if record.topic.startswith("order.") else []


# ---------------------------------------------------------------- what is asked, what is answered


def _the_same_again() -> hub.Unavailable:
    return hub.Unavailable("ShipBob answers with the same page again. It will be asked later.")


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _id(text: str, what: str) -> str:
    """One of ShipBob's numbers. Raises NotFound for what cannot be one."""
    if not re.fullmatch(r"[0-9]{1,18}", text, re.ASCII):
        raise hub.NotFound(f"ShipBob has no {what} “{text}”: it would be a number.")
    return text


def _name(id: Any) -> str:
    """An id as a part of a path."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", str(id), re.ASCII):
        raise hub.Unavailable(f"ShipBob names a webhook “{str(id)[:40]}”, which is no id. It will be asked later.")
    return str(id)


def _number(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text.strip(), re.ASCII) else None


def _dollars(price: hub.Money | None) -> float | None:
    """A price as ShipBob takes it: in US dollars or not at all."""
    return float(price.amount) if price is not None and price.currency == "USD" else None


def _query(link: Any) -> dict[str, str]:
    """The parameters of a link to what follows. The rest of it is not followed: it could lead anywhere."""
    return dict(parse_qsl(urlsplit(link).query)) if isinstance(link, str) else {}


def _may_write(channel: Mapping[str, Any]) -> bool:
    """Whether orders may be placed in a channel: ShipBob tells scopes one by one, or all in one text, or not at all."""
    scopes = channel.get("scopes")
    return scopes is None or "orders_write" in json.dumps(scopes, default=float)


def _sends(subscription: Mapping[str, Any]) -> set[str]:
    topics = subscription.get("topics")
    on = subscription.get("enabled", True) is not False
    return {topic for topic in topics if isinstance(topic, str)} if on and isinstance(topics, list) else set()


def _objects(said: Any, member: str) -> list[dict[str, Any]]:
    """The rows of an answer. Raises Unavailable for something else, as comes from proxies and caches."""
    if isinstance(said, list) and all(isinstance(each, dict) and each.get(member) is not None for each in said):
        return said
    raise hub.Unavailable("ShipBob answered with something else than was asked for. It will be asked again.")


def _record(row: Mapping[str, Any]) -> hub.RawRecord:
    body = json.dumps(row, default=float).encode()
    try:
        version = OrderBody().read(row).version.isoformat()
    except hub.Unreadable:
        version = ""  # it is set aside when it is read
    return hub.RawRecord("shipment", str(row["id"]), body, version=version)


def _stock_record(row: Mapping[str, Any]) -> hub.RawRecord:
    body = json.dumps(row, default=float).encode()
    return hub.RawRecord("stock", str(row["inventory_id"]), body, version=row["counted_at"])


def _read(body: hub.Translation[_T], said: Any) -> _T:
    """What an answer says. One that cannot be read tells nothing, so it is asked for again."""
    try:
        return body.read(said)
    except hub.Unreadable as error:
        raise hub.Unavailable(f"ShipBob's answer cannot be read. {error} It will be asked again.") from error


def _words(response: Response, skus: Sequence[str]) -> Iterator[str]:
    """Why ShipBob refuses, sentence by sentence: by member of the request, or as a problem with a title."""
    try:
        said = response.json()
    except hub.Unavailable:
        return
    members = said.items() if isinstance(said, dict) else [("", said)]
    for member, messages in members:
        found = re.search(r"products?\[([0-9]{1,4})\]", member, re.IGNORECASE)
        sku = f"{skus[int(found[1])]}: " if found and int(found[1]) < len(skus) else ""
        for text in messages if isinstance(messages, list) else [messages]:
            if isinstance(text, str) and text.strip() and member not in ("type", "instance", "$type"):
                yield f"{sku}{text.strip()[:300].rstrip('.')}."
