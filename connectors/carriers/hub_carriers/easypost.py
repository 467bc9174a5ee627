"""The EasyPost connector: labels of many carriers out of one account, tracking and refunds back from it."""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, TypeVar
from urllib.parse import quote, urlsplit

from marshmallow import fields, validate

import hub
from hub_carriers import easypost_requests as bodies
from hub_carriers import easypost_translation as translation

API = "https://api.easypost.com"
# Labels lie with Amazon, whose addresses come in two spellings.
FILES = ("https://easypost-files.s3.us-west-2.amazonaws.com", "https://easypost-files.s3-us-west-2.amazonaws.com")

TOPICS = ("tracker.created", "tracker.updated", "refund.successful")
# Lists may be asked for five times a second; everything else as often as EasyPost's load allows.
_BUDGET = hub.RateBudget(per_second=20, burst=40)
_LIST_COST = 4.0
_REFUSALS = frozenset({400, 401, 402, 403, 404, 405, 409, 410, 413, 415, 422, 429})

_T = TypeVar("_T")


class EasyPostSettings(hub.SettingsSchema):
    """The key to an account."""

    api_key = fields.String(
        required=True,
        validate=validate.Regexp(
            r"[A-Za-z0-9]{16,200}\Z", error="This is not an EasyPost API key: copy the whole of it, letters and digits."
        ),
        metadata={
            "label": "API key",
            "hint": "EasyPost > Account Settings > API Keys. The production key buys; the test key only pretends to.",
            "secret": True,
        },
    )


class EasyPostConnector(hub.Carrier):
    """An account at EasyPost, with all carriers that are set up in it."""

    name = "easypost"
    label = "EasyPost"
    description = "Labels of USPS, UPS, FedEx, DHL and a hundred others, from one EasyPost account."
    api_version = "v2"
    settings_schema = EasyPostSettings
    capabilities = hub.CarrierCapabilities(
        label_formats=(hub.DocumentFormat.PNG, hub.DocumentFormat.PDF, hub.DocumentFormat.ZPL),
        parcels_per_shipment=bodies.MOST_PARCELS,
        returns=True,
        validates_addresses=True,
    )
    rate_budget = _BUDGET
    effects: ClassVar[Mapping[str, hub.Settlement]] = {
        "buy_label": hub.Settlement.LOOKUP,
        "void_label": hub.Settlement.LOOKUP,
        "subscribe_webhooks": hub.Settlement.NATURAL_KEY,
    }

    @classmethod
    def hosts(cls, settings: Mapping[str, Any]) -> Sequence[str]:
        return (API, *FILES)

    def _ask(self, method: str, path: str, **options: Any) -> hub.Response:
        address, auth = f"{API}/v2/{path}", (self.settings["api_key"], "")
        answer = self.client.request(method, address, auth=auth, expect=_REFUSALS, **options)
        if answer.status in _REFUSALS:
            raise translation.refusal(answer)
        return answer

    def check(self) -> hub.Account:
        try:
            said = self._ask("GET", "users").object("id")
        except hub.AuthError as error:
            if translation.PRODUCTION_ONLY not in str(error).casefold():
                raise
            return self._test_account()
        return hub.Account(external_id=str(said["id"]), name=str(said.get("name") or "EasyPost"), currency="USD")

    def _test_account(self) -> hub.Account:
        """A test key may not see whose account it belongs to; that it is one is known once it may see anything."""
        self._webhooks()
        digest = hashlib.sha256(self.settings["api_key"].encode()).hexdigest()
        return hub.Account(
            external_id=f"test-{digest[:16]}",
            name="EasyPost test account",
            currency="USD",
            warnings=(
                "This is a test key: its labels are not valid and no parcel will travel with them. Connect the "
                "production key before you ship.",
            ),
        )

    # --- rates and addresses

    def rates(self, shipment: hub.Shipment) -> hub.Quotes:
        body = bodies.quote(shipment)
        return _read(
            translation.QuoteBody(), self._ask("POST", "orders" if "order" in body else "shipments", json=body)
        )

    def validate_address(self, address: hub.Address) -> hub.AddressVerdict:
        answer = self._ask("POST", "addresses", json=bodies.verification(address))
        return translation.verdict(address, _read(translation.AddressBody(), answer))

    # --- labels

    def buy_label(self, purchase: hub.LabelPurchase, key: str) -> hub.Label:
        path = _place(purchase.rate.handles)
        try:
            answer = self._ask("POST", f"{path}/buy", json=bodies.purchase(purchase))
        except hub.Rejected as error:
            # Whatever the words: it may be refused because it was bought before.
            if (label := self._bought_before(purchase, key)) is not None:
                return label
            if error.code != translation.BOUGHT_ALREADY:
                raise
            raise hub.Rejected(
                "A label was bought with these rates before. Ask for the rates again, and buy then.", error.code
            ) from error
        parts = _parts(path, answer)
        if not all(part.bought for part in parts):
            raise hub.Unavailable("EasyPost took the purchase and shows no label yet. It is looked up again.")
        return _label(purchase.rate, parts)

    def _bought_before(self, purchase: hub.LabelPurchase, key: str) -> hub.Label | None:
        try:
            return self.find_buy_label(purchase, key)
        except hub.Rejected as error:
            raise hub.Unavailable(str(error)) from error  # only a part was bought: "refused" would not be true

    def find_buy_label(self, purchase: hub.LabelPurchase, key: str) -> hub.Label | None:
        path = _place(purchase.rate.handles)
        try:
            parts = _parts(path, self._ask("GET", path))
        except hub.NotFound:
            return None
        if any(part.begun and not part.bought for part in parts):
            raise hub.Unavailable("EasyPost is still making this label. It is looked up again.")
        bought = [part for part in parts if part.bought]
        # What was refunded is another purchase's: that of a label which is not known yet cannot be given back.
        if not bought or not all(_is_of(part, purchase.rate) and not part.refund_status for part in bought):
            return None
        if len(bought) < len(parts):
            raise hub.Rejected(
                f"EasyPost has bought {len(bought)} of {len(parts)} labels ({_numbers(bought)}). Look at the order in "
                "its dashboard: refund these there and buy anew, or have EasyPost finish it."
            )
        return _label(purchase.rate, parts)

    def fetch_documents(self, label: hub.Label, format: hub.DocumentFormat) -> Sequence[hub.Document]:
        return [document for id in _shipments(label) for document in self._files(id, format)]

    def _files(self, id: str, format: hub.DocumentFormat) -> Iterator[hub.Document]:
        part = self._shipment(id)
        if part.bought and not part.file_in(format):
            answer = self._ask("GET", f"shipments/{_quoted(id)}/label", params={"file_format": format.name})
            part = _read(translation.ShipmentBody(), answer)
        if not part.file_in(format):
            raise hub.Unavailable(f"EasyPost has no {format.name} file of this label yet. It will be asked again.")
        yield self._download(part, part.file_in(format), format, hub.DocumentKind.LABEL)
        for form in part.forms:
            if form["kind"] == "commercial_invoice" and form["url"] and not form["electronic"]:
                yield self._download(part, form["url"], hub.DocumentFormat.PDF, hub.DocumentKind.INVOICE)

    def _download(
        self, part: translation.Part, url: str, format: hub.DocumentFormat, kind: hub.DocumentKind
    ) -> hub.Document:
        # Without the API key: the files are not at EasyPost itself.
        content = self.client.get(url).body
        document = hub.Document(content=content, format=format, kind=kind, tracking_number=part.tracking_number)
        if not document.well_formed:
            raise hub.Unavailable(f"EasyPost sent something else than a {format.name} file. It will be asked again.")
        return document

    def void_label(self, label: hub.Label, key: str) -> hub.LabelVoid:
        return _void(label, [self._refund(id) for id in _shipments(label)])

    def _refund(self, id: str) -> tuple[hub.VoidState, str]:
        try:
            part = _read(translation.ShipmentBody(), self._ask("POST", f"shipments/{_quoted(id)}/refund"))
        except hub.NotFound:
            raise
        except hub.Rejected as error:
            # It may be refused because it was asked for before.
            found = translation.void_of(self._shipment(id).refund_status)
            return found if found and found[0] is not hub.VoidState.REFUSED else (hub.VoidState.REFUSED, str(error))
        found = translation.void_of(part.refund_status)
        if found is None:
            raise hub.Unavailable("EasyPost does not say what became of the refund. It is looked up again.")
        return found

    def find_void_label(self, label: hub.Label, key: str) -> hub.LabelVoid | None:
        found = [translation.void_of(self._shipment(id).refund_status) for id in _shipments(label)]
        known = [each for each in found if each is not None]
        # Of an order some parcels may be refunded and others not: what is missing is asked for again.
        return _void(label, known) if len(known) == len(found) else None

    def _shipment(self, id: str) -> translation.Part:
        return _read(translation.ShipmentBody(), self._ask("GET", f"shipments/{_quoted(id)}"))

    # --- tracking

    def track(self, label: hub.Label) -> Iterator[hub.RawRecord]:
        for index, (number, shipment) in enumerate(zip(label.tracking_numbers, _shipments(label), strict=False), 1):
            tracker = label.handles.get(f"tracker_{index}") or self._shipment(shipment).tracker[0]
            if not tracker:
                continue  # EasyPost makes one a moment after the purchase
            answer = self._ask("GET", f"trackers/{_quoted(tracker)}")
            said = answer.object("tracking_code", "status")
            yield hub.RawRecord("tracking", number, answer.body, version=str(said.get("updated_at") or ""))

    def read_tracking(self, record: hub.RawRecord) -> hub.Tracking:
        return translation.TrackerBody().read(record.body)

    # --- webhooks

    def _webhooks(self) -> list[dict[str, Any]]:
        rows = self._ask("GET", "webhooks", cost=_LIST_COST).object("webhooks")["webhooks"]
        if not isinstance(rows, list) or not all(isinstance(row, dict) and row.get("id") for row in rows):
            raise hub.Unavailable("EasyPost's list of webhooks cannot be read. It will be asked again.")
        return rows

    def read_subscriptions(self, address: str) -> hub.Subscriptions:
        # An address gets every event or, once it is disabled, none.
        works = any(row.get("url") == address and not row.get("disabled_at") for row in self._webhooks())
        return hub.Subscriptions(active=TOPICS if works else (), missing=() if works else TOPICS)

    def subscribe_webhooks(self, request: Mapping[str, Any], key: str) -> hub.EffectResult:
        address, secret = str(request["address"]), {"webhook_secret": self.context.webhook_secret}
        rows = self._webhooks()
        present = [row for row in rows if row.get("url") == address]
        if present:
            # Which secret it has cannot be read; setting it also enables one that EasyPost has disabled.
            answer = self._ask("PATCH", f"webhooks/{_quoted(present[0]['id'])}", json=secret)
        else:
            answer = self._ask("POST", "webhooks", json={"webhook": {"url": address, **secret}})
        id = str(answer.object("id", "url")["id"])
        left_behind = [row for row in rows if row.get("url") != address and _path(row.get("url")) == _path(address)]
        for row in (*present[1:], *left_behind):
            with suppress(hub.NotFound):
                self._ask("DELETE", f"webhooks/{_quoted(row['id'])}")
        return hub.EffectResult(reference=id, details={"address": address, "deleted": len(left_behind)})

    def verify(self, webhook: hub.Webhook) -> hub.Delivery | None:
        secret = unicodedata.normalize("NFKD", self.context.webhook_secret).encode()
        signature = f"hmac-sha256-hex={hmac.new(secret, webhook.body, hashlib.sha256).hexdigest()}"
        told = webhook.headers.get("x-hmac-signature", "")
        if not secret or not hmac.compare_digest(signature.encode(), told.encode("utf-8", "replace")):
            raise hub.Unverified("The signature does not fit the secret of this connection's webhooks.")
        # No header names the event. It is found in the signed bytes without reading them as a whole; a repeated one has
        # its id again, and other lists of addresses beside it.
        topic = re.search(rb'"description"\s*:\s*"([a-z_]{1,40}\.[a-z_]{1,40})"', webhook.body)
        event = re.search(rb'"id"\s*:\s*"(evt_[0-9A-Za-z_]{1,200})"', webhook.body)
        key = event[1].decode() if event else hashlib.sha256(webhook.body).hexdigest()
        return hub.Delivery(topic[1].decode() if topic else "event", key)

    def read_webhook(self, record: hub.RawRecord) -> Iterable[hub.CarrierFact]:
        if record.topic not in TOPICS:
            return []
        result = translation.EventBody().read(record.body)
        body: hub.Translation[Any] = (
            translation.RefundBody() if record.topic.startswith("refund.") else translation.TrackerBody()
        )
        return [body.read(result)]


# ---------------------------------------------------------------- ids and answers


def _quoted(id: Any) -> str:
    return quote(str(id), safe="")


def _place(handles: Mapping[str, str]) -> str:
    """The path of what a rate is of. Raises Rejected for a rate that was not asked for here."""
    for kind in ("order", "shipment"):
        if handles.get(kind):
            return f"{kind}s/{_quoted(handles[kind])}"
    raise hub.Rejected("This rate does not say which shipment it is for. Ask for the rates again.")


def _parts(path: str, answer: hub.Response) -> list[translation.Part]:
    if path.startswith("shipments/"):
        return [_read(translation.ShipmentBody(), answer)]
    parts = _read(translation.OrderBody(), answer)
    if not parts:
        raise hub.Unavailable("EasyPost's answer names no shipment of the order. It will be asked again.")
    return parts


def _is_of(part: translation.Part, rate: hub.Rate) -> bool:
    """Whether what was bought is this rate, and not another of the same shipment."""
    if part.rate is None:
        return False
    if "order" in rate.handles:
        return (part.rate.handles["carrier"], part.rate.service) == (rate.handles.get("carrier"), rate.service)
    return part.rate.external_id == rate.external_id


def _label(rate: hub.Rate, parts: Sequence[translation.Part]) -> hub.Label:
    """The label of parts that are all bought, at a rate of their shipment or order."""
    rates = [part.rate for part in parts if part.rate is not None]
    costs = [part.cost for part in parts if part.cost is not None]
    handles = {f"shipment_{index}": part.external_id for index, part in enumerate(parts, 1)}
    handles |= {f"tracker_{index}": part.tracker[0] for index, part in enumerate(parts, 1) if part.tracker[0]}
    return hub.Label(
        external_id=rate.handles.get("order") or parts[0].external_id,
        carrier=rates[0].carrier,
        service=rates[0].service,
        tracking_numbers=tuple(part.tracking_number for part in parts),
        cost=sum(costs[1:], costs[0]),
        tracking_url=parts[0].tracker[1],
        handles=handles,
    )


def _shipments(label: hub.Label) -> list[str]:
    """EasyPost's shipments of a label, one for each parcel."""
    named = [label.handles.get(f"shipment_{index}") for index in range(1, len(label.tracking_numbers) + 1)]
    return [id for id in named if id] or [label.external_id]


def _numbers(parts: Iterable[translation.Part]) -> str:
    return ", ".join(part.tracking_number for part in parts)


def _void(label: hub.Label, found: Sequence[tuple[hub.VoidState, str]]) -> hub.LabelVoid:
    """What became of all parcels of a label together: it is voided only if each of them is."""
    states = [state for state, _ in found]
    worst = next((state for state in (hub.VoidState.REFUSED, hub.VoidState.REQUESTED) if state in states), states[0])
    messages = dict.fromkeys(message for state, message in found if state is worst and message)
    return hub.LabelVoid(label_external_id=label.external_id, state=worst, message=" ".join(messages))


def _path(url: Any) -> str:
    try:
        return urlsplit(str(url)).path
    except ValueError:
        return ""


def _read(body: hub.Translation[_T], answer: hub.Response) -> _T:
    """What an answer says. One that cannot be read tells nothing, so it is asked for again."""
    try:
        return body.read(answer.json())
    except hub.Unreadable as error:
        raise hub.Unavailable(f"EasyPost's answer cannot be read. {error} It will be asked again.") from error
