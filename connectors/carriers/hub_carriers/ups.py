"""The UPS connector: rates, labels, voids, tracking and addresses of one UPS account, through its REST APIs."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any, ClassVar, TypeVar
from urllib.parse import quote

from marshmallow import fields, post_load, validate

import hub
from hub_carriers import ups_bodies as bodies
from hub_carriers.ups_translation import (
    Bought,
    BoughtBody,
    ErrorBody,
    PushBody,
    RecoveredBody,
    TokenBody,
    TrackingBody,
    VerdictBody,
    VoidBody,
    judged,
    read_quotes,
)
from hub_carriers.ups_zones import day_at

ORIGINS = {"production": "https://onlinetools.ups.com", "test": "https://wwwcie.ups.com"}
RATING, SHIPPING, RECOVERY, ADDRESSES = "v2409", "v2409", "v1903", "v2"
# Refusals that tell what UPS thinks of the request. What is left to the client: 403, 408, 425, 429.
REFUSALS = frozenset(range(400, 423)) - {403, 408}
KEPT_AS = "access"  # the token, in the vault
TRACK_ALERTS = 100  # tracking numbers in one subscription
FOLLOWED = re.compile(r"1Z[0-9A-Z]{16}|1R[0-9A-Z]{14}|1R[0-9A-Z]{26}")  # what Track Alert takes

# What label recovery says where it surely has nothing by our reference.
NO_LABEL = "300007"
NONE_VALID = frozenset({"VSS210", "VSS215"})  # none of the parcels can be followed; in the test environment, no sample
NOT_YET = frozenset({"300000", "300034"})
VOIDED_BEFORE = "190117"
TOO_LATE = frozenset(
    "190101 190102 190103 190104 190108 190111 190112 190113 190114 190115 190118 190121 190124".split()  # noqa: SIM905
)
VOID_AWAY = "190001"
UNKNOWN_NUMBER = frozenset({"TW0001", "151018", "151044"})

# What helps, by the beginning of UPS's code. The longest one that fits counts.
NEXT_STEPS = {
    "10429": "Wait a little, then ask again.",
    "111035": "Split it into lighter parcels, then ask again.",
    "111210": "Choose another destination or another service.",
    "11128": "Correct the address, then ask again.",
    "12010": "Check the account number in the connection's settings.",
    "1208": "Correct the address, then ask again.",
    "121210": "Ask for rates again, and choose another service.",
    "264": "UPS checks addresses in the United States and Puerto Rico only.",
    "300031": "Check the account number in the connection's settings.",
    "2500": "Check in UPS's developer portal that the app has this API, then reconnect it.",
}

_T = TypeVar("_T")


class UpsSettings(hub.SettingsSchema):
    """The app that was made in UPS's developer portal, and the account that pays."""

    client_id = fields.String(
        required=True,
        validate=validate.Regexp(r"[\x21-\x7e]{8,200}\Z", error="Copy the whole Client ID of the app."),
        metadata={"label": "Client ID", "hint": "developer.ups.com > Apps > your app > Credentials."},
    )
    client_secret = fields.String(
        required=True,
        validate=validate.Regexp(r"[\x21-\x7e]{8,200}\Z", error="Copy the whole Client Secret of the app."),
        metadata={"label": "Client secret", "hint": "Beside the Client ID; press Show.", "secret": True},
    )
    account_number = fields.String(
        required=True,
        validate=validate.Regexp(r"[0-9A-Za-z]{6}\Z", error="An account number has 6 letters and digits."),
        metadata={
            "label": "Account number",
            "hint": "The six characters on your UPS invoice: labels are charged to it.",
        },
    )
    environment = fields.String(
        load_default="production",
        validate=validate.OneOf(tuple(ORIGINS), labels=("Production", "Test (UPS CIE)")),
        metadata={"label": "Environment", "hint": "Test sells sample labels, which UPS neither charges nor carries."},
    )

    @post_load
    def in_capitals(self, settings: dict[str, Any], **_: Any) -> dict[str, Any]:
        """People write the letters of an account number either way."""
        return settings | {"account_number": settings["account_number"].upper()}


class UpsConnector(hub.Carrier):
    """One UPS account."""

    name = "ups"
    label = "UPS"
    description = "Parcels with UPS: rates, labels and tracking of your own UPS account."
    api_version = RATING
    settings_schema = UpsSettings
    # Track Alert tells of single parcels and signs nothing: what it pushes only says where to look earlier.
    capabilities = hub.CarrierCapabilities(
        label_formats=tuple(bodies.PRINTED),
        parcels_per_shipment=bodies.PARCELS,
        returns=True,
        validates_addresses=True,
        webhooks_signed=False,
        follow_days=14,
        follow_batch=TRACK_ALERTS,
    )
    rate_budget = hub.RateBudget(per_second=5, burst=10)
    effects: ClassVar[Mapping[str, hub.Settlement]] = {
        "buy_label": hub.Settlement.LOOKUP,
        "void_label": hub.Settlement.NATURAL_KEY,
    }

    @classmethod
    def hosts(cls, settings: Mapping[str, Any]) -> Sequence[str]:
        return (ORIGINS[settings["environment"]],)

    def check(self) -> hub.Account:
        kept = self.context.tokens.kept(KEPT_AS)
        self._token(refused=kept.value if kept else None)  # a new one proves the app's id and secret as they are now
        number, testing = self._account, self.settings["environment"] == "test"
        warnings = ("UPS's test environment sells samples: no parcel travels on these labels.",) if testing else ()
        return hub.Account(external_id=number, name=f"UPS account {number}", warnings=warnings)

    # --- rates and addresses

    def rates(self, shipment: hub.Shipment) -> hub.Quotes:
        body = bodies.rate_body(shipment, self._account, self._today(shipment))
        path = f"rating/{RATING}/Shop"
        answer = self._accepted("POST", path, "to quote a price", json=body, params={"additionalinfo": "timeintransit"})
        try:
            return read_quotes(answer.json(), shipment.destination)
        except hub.Unreadable as error:
            raise _unclear(error) from error

    def validate_address(self, address: hub.Address) -> hub.AddressVerdict:
        body = bodies.address_body(address)
        answer = self._accepted("POST", f"addressvalidation/{ADDRESSES}/3", "to check the address", json=body)
        return judged(_read(VerdictBody(), answer), address)

    # --- labels

    def buy_label(self, purchase: hub.LabelPurchase, key: str) -> hub.Label:
        body = bodies.ship_body(purchase, self._account, self._today(purchase.shipment))
        bought = _read(
            BoughtBody(), self._accepted("POST", f"shipments/{SHIPPING}/ship", "to sell the label", json=body)
        )
        files = _labels(bought, purchase.format)
        label = self._label(purchase, bought)
        # A PDF is left to fetch_documents, which brings the invoice along; so is whatever came out odd.
        return replace(label, cost=bought.cost, documents=(*files, *_invoices(bought)) if files else ())

    def find_buy_label(self, purchase: hub.LabelPurchase, key: str) -> hub.Label | None:
        """By our reference, through label recovery: it knows the parcels, not what they cost. That is as quoted."""
        found = self._recover(bodies.by_reference(purchase.shipment.reference, self._account), hub.DocumentFormat.PDF)
        if found is None:
            return None
        if not found.parcels:  # several parcels have our reference: all of one shipment, or a second one
            leading = self._recover({"TrackingNumber": found.candidates[0]}, hub.DocumentFormat.PDF)
            numbers = {parcel.tracking_number for parcel in leading.parcels} if leading else set()
            if leading is None or not numbers.issuperset(found.candidates):
                raise hub.Rejected(_SEVERAL.format(reference=purchase.shipment.reference))
            found = leading
        if len(found.parcels) != len(purchase.shipment.parcels):
            raise hub.Rejected(_SEVERAL.format(reference=purchase.shipment.reference))
        return self._label(purchase, found)

    def _label(self, purchase: hub.LabelPurchase, bought: Bought) -> hub.Label:
        numbers = tuple(parcel.tracking_number for parcel in bought.parcels)
        return hub.Label(
            external_id=bought.external_id,
            carrier="ups",
            service=purchase.rate.service,
            tracking_numbers=numbers,
            cost=purchase.rate.cost,
            tracking_url=f"https://www.ups.com/track?tracknum={quote(numbers[0], safe='')}",
            handles={"parcels": str(len(numbers))},
            documents=(),
        )

    def fetch_documents(self, label: hub.Label, format: hub.DocumentFormat) -> Sequence[hub.Document]:
        found: dict[str, hub.Document] = {}
        invoices: list[hub.Document] = []
        known: set[str] = set()
        for number in label.tracking_numbers:
            if number in known:
                continue
            recovered = self._recover({"TrackingNumber": number}, format)
            if recovered is None:
                raise hub.NotFound(f"UPS has no label of the parcel {number}. Look it up on ups.com.", code=NO_LABEL)
            known |= {number, *(parcel.tracking_number for parcel in recovered.parcels)}
            found |= {document.tracking_number: document for document in _labels(recovered, format)}
            invoices = invoices or _invoices(recovered)
        if not found:
            raise hub.Unavailable(f"UPS sent no {format.name} file of the label. It will be asked again.")
        if format is hub.DocumentFormat.PDF and len(found) == 1:  # one file with the labels of all parcels
            (document,) = found.values()
            found = {"": hub.Document(content=document.content, format=format)}
        return [*found.values(), *invoices]

    def _recover(self, wanted: Mapping[str, Any], format: hub.DocumentFormat) -> Bought | None:
        answer = self._ask("POST", f"labels/{RECOVERY}/recovery", json=bodies.recovery_body(wanted, format))
        if answer.status < 300:
            return _read(RecoveredBody(), answer)
        codes = {problem.code for problem in _problems(answer)}
        if NO_LABEL in codes:
            return None
        if codes & NOT_YET:
            raise hub.Unavailable("UPS has not got the label ready yet. It will be asked again.")
        raise _refusal(answer, "to give the label out again")

    def void_label(self, label: hub.Label, key: str) -> hub.LabelVoid:
        """Give back the shipment, or where the label names fewer parcels than were bought, those alone."""
        path = f"shipments/{SHIPPING}/void/cancel/{quote(label.external_id, safe='')}"
        numbers, params = list(label.tracking_numbers), {}
        if label.handles.get("parcels", str(len(numbers))) != str(len(numbers)):
            named = numbers[0] if len(numbers) == 1 else json.dumps(numbers, separators=(",", ":"))
            params = {"trackingnumber": named}
        answer = self._ask("DELETE", path, params=params)
        if answer.status < 300:
            done, kept, words = _read(VoidBody(), answer)
            if done:
                return hub.LabelVoid(label_external_id=label.external_id, state=hub.VoidState.VOIDED)
            told = f" ({words})" if words else ""
            which = f"these parcels: {', '.join(kept)}" if kept else "the label"
            message = f"UPS did not void {which}{told}. If they have not left, ask UPS for the money."
            return hub.LabelVoid(label_external_id=label.external_id, state=hub.VoidState.REFUSED, message=message)
        problems = {problem.code: problem.message for problem in _problems(answer)}
        if VOIDED_BEFORE in problems:
            return hub.LabelVoid(label_external_id=label.external_id, state=hub.VoidState.VOIDED)
        if VOID_AWAY in problems:
            raise hub.Unavailable("UPS cannot void labels at this time. It will be asked again.", sent=False)
        if late := problems.keys() & TOO_LATE:
            words = problems[min(late)].strip().rstrip(".")
            message = f"UPS does not void it: {words}. If no parcel has left, ask UPS for the money."
            return hub.LabelVoid(label_external_id=label.external_id, state=hub.VoidState.REFUSED, message=message)
        raise _refusal(answer, "to void the label")

    # --- tracking

    def track(self, label: hub.Label) -> Iterator[hub.RawRecord]:
        for number in label.tracking_numbers:
            answer = self._ask("GET", f"track/v1/details/{quote(number, safe='')}", params={"locale": "en_US"})
            if answer.status < 300:
                answer.object("trackResponse")  # whatever else it may be, it is not stored as the parcel's news
                yield hub.RawRecord("tracking", number, answer.body)
            elif answer.status != 404 and not {each.code for each in _problems(answer)} & UNKNOWN_NUMBER:
                raise _refusal(answer, "to say where the parcel is")
            # What UPS does not know it has not seen yet: a label may be there for days before its parcel is.

    def read_tracking(self, record: hub.RawRecord) -> hub.Tracking:
        parcels = TrackingBody().read(record.body)
        if not parcels:
            return hub.Tracking(
                tracking_number=record.external_id, status=hub.TrackingStatus.UNKNOWN, carrier_status="no parcel"
            )
        asked = (parcel for parcel in parcels if parcel.tracking_number == record.external_id)
        return next(asked, parcels[0])

    # --- Track Alert

    def follow_parcels(self, tracking_numbers: Sequence[str], address: str) -> Sequence[str]:
        asked = list(dict.fromkeys(tracking_numbers))
        numbers = [number for number in asked if FOLLOWED.fullmatch(number)]
        taken: set[str] = set()
        for start in range(0, len(numbers), TRACK_ALERTS):
            taken |= self._subscribe(numbers[start : start + TRACK_ALERTS], address)
        return tuple(number for number in asked if number not in taken)

    def _subscribe(self, numbers: Sequence[str], address: str) -> set[str]:
        """Have UPS push what happens to these parcels; returns those that it takes."""
        secret = self.context.webhook_secret
        self.client.redact(secret)
        # Version 1 takes the address and the credential along; of version 2 both are typed into UPS's portal.
        where = {"url": address, "credentialType": "Bearer", "credential": secret}
        body = {"locale": "en_US", "trackingNumberList": list(numbers), "destination": where}
        answer = self._ask("POST", "track/v1/subscription/standard/package", json=body)
        if answer.status >= 300 and NONE_VALID & {problem.code for problem in _problems(answer)}:
            return set()
        if answer.status >= 300:
            raise _refusal(answer, "to send Track Alerts")
        said = answer.json()
        if not isinstance(said, dict) or not {"validTrackingNumbers", "invalidTrackingNumbers"} & said.keys():
            raise hub.Unavailable("UPS did not say which parcels it will tell about. It will be asked again.")
        taken = said.get("validTrackingNumbers")
        return {str(number) for number in taken} if isinstance(taken, list) else set()

    def verify(self, webhook: hub.Webhook) -> hub.Delivery | None:
        """UPS sends the credential along that it was given, and signs nothing."""
        told = webhook.headers.get("credential", "")
        secret = self.context.webhook_secret
        if not secret or not hmac.compare_digest(told.encode("utf-8", "replace"), secret.encode()):
            raise hub.Unverified("The credential is not that of this connection.")
        return hub.Delivery("track_alert", hashlib.sha256(webhook.body).hexdigest())

    def read_webhook(self, record: hub.RawRecord) -> Iterable[hub.CarrierFact]:
        """Where to look. What it says is not believed, since anybody who has seen the credential could say it."""
        return [hub.Refetch("tracking", PushBody().read(record.body))] if record.topic == "track_alert" else []

    # --- asking

    def _today(self, shipment: hub.Shipment) -> date:
        return day_at(self.context.now(), shipment.origin.country, shipment.origin.region)

    @property
    def _account(self) -> str:
        return str(self.settings["account_number"])

    def _accepted(self, method: str, path: str, what: str, **options: Any) -> hub.Response:
        answer = self._ask(method, path, **options)
        if answer.status >= 300:
            raise _refusal(answer, what)
        return answer

    def _ask(self, method: str, path: str, **options: Any) -> hub.Response:
        """Ask, with another token where UPS does not take the kept one; answers what is in REFUSALS, too."""
        token = self._token()
        answer = self._send(method, path, token, options)
        if answer.status == 401:
            answer = self._send(method, path, self._token(refused=token), options)
        if answer.status == 401:
            raise hub.AuthError(
                "UPS does not let this app in. See in its developer portal that it has the APIs for Rating, Shipping, "
                "Tracking, Track Alert and Address Validation, then reconnect it."
            )
        return answer

    def _send(self, method: str, path: str, token: str, options: Mapping[str, Any]) -> hub.Response:
        seed = f"{method} {path} {json.dumps(options, sort_keys=True)} {self.context.now().isoformat()}"
        headers = {
            "Authorization": f"Bearer {token}",
            "transId": hashlib.sha256(seed.encode()).hexdigest()[:32],
            "transactionSrc": "tallyhub",
        }
        url = f"{ORIGINS[self.settings['environment']]}/api/{path}"
        return self.client.request(method, url, headers=headers, expect=REFUSALS, **options)

    def _token(self, refused: str | None = None) -> str:
        try:
            return self.context.tokens.token(KEPT_AS, self._obtain_token, refused=refused)
        except hub.Unavailable as error:
            # Without a token nothing else was asked: whatever was to be done was not.
            raise hub.Unavailable(str(error), sent=False) from error

    def _obtain_token(self) -> hub.Token:
        answer = self.client.post(
            f"{ORIGINS[self.settings['environment']]}/security/v1/oauth/token",
            data={"grant_type": "client_credentials"},
            headers={"x-merchant-id": self._account},
            auth=(self.settings["client_id"], self.settings["client_secret"]),
            expect=(400, 401, 403),
        )
        if answer.status >= 300:
            raise hub.AuthError(
                "UPS refused the Client ID and secret. Copy both anew from the app in UPS's developer portal, see that "
                "the account number is one of that app, then reconnect it."
            )
        value, seconds = _read(TokenBody(), answer)
        self.client.redact(value)
        return hub.Token(value, self.context.now() + timedelta(seconds=seconds))


_SEVERAL = (
    "UPS has other parcels under the reference {reference} than were ordered. Look it up on ups.com, then say whether "
    "the label was bought."
)


def _labels(bought: Bought, format: hub.DocumentFormat) -> list[hub.Document]:
    """The files of the labels. Raises Unavailable where UPS says that it is such a file, and it is not."""
    documents = []
    for parcel in bought.parcels:
        if parcel.format != format.name or not parcel.content:
            continue
        number = parcel.tracking_number
        document = hub.Document(content=parcel.content, format=format, tracking_number=number)
        if document.well_formed:
            documents.append(document)
    return documents


def _invoices(bought: Bought) -> list[hub.Document]:
    kind = hub.DocumentKind.INVOICE
    forms = (hub.Document(content=form, format=hub.DocumentFormat.PDF, kind=kind) for form in bought.forms)
    return [form for form in forms if form.well_formed]


def _problems(answer: hub.Response) -> Sequence[Any]:
    try:
        return ErrorBody().read(answer.body)
    except hub.Unreadable:
        return ()


def _refusal(answer: hub.Response, what: str) -> hub.Rejected:
    """Say in a sentence what UPS refuses and what helps."""
    problems = _problems(answer)
    if not problems:
        return hub.Rejected(f"UPS refused {what} (status {answer.status}), and did not say why. Try it again later.")
    said = "; ".join(f"{' '.join(each.message.split()).rstrip('.')} [{each.code}]" for each in problems)
    code = problems[0].code
    steps = [step for begin, step in sorted(NEXT_STEPS.items()) if code.startswith(begin)]
    step = steps[-1] if steps else "Correct it, then try again."
    error = hub.NotFound if answer.status in (404, 410) else hub.Rejected
    return error(f"UPS refused {what}: {said}. {step}", code=code)


def _read(body: hub.Translation[_T], answer: hub.Response) -> _T:
    """What an answer says. One that cannot be read tells nothing, so it is asked for again."""
    try:
        return body.read(answer.json())
    except hub.Unreadable as error:
        raise _unclear(error) from error


def _unclear(error: hub.Unreadable) -> hub.Unavailable:
    return hub.Unavailable(f"UPS's answer cannot be read. {error} It will be asked again.")
