"""What EasyPost says, read into the hub's model: rates, labels, refunds, tracking, addresses, refusals."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import lru_cache
from typing import Any

from marshmallow import fields, post_load

import hub

# ---------------------------------------------------------------- carriers and their services

# EasyPost's names of carriers that are not ours with capitals and gaps removed.
_CARRIERS = {
    "AmazonMws": "amazon",
    "AmazonShipping": "amazon",
    "DhlEcs": "dhl_ecommerce",
    "DHLEcommerceAsia": "dhl_ecommerce_asia",
    "DHLPaket": "dhl",
    "DPDUK": "dpd_uk",
    "FedEx": "fedex",
    "FedExDefault": "fedex",
    "FedExSmartPost": "fedex",
    "LSO": "lone_star_overnight",
    "LaserShipV2": "lasership",
    "LoomisExpress": "loomis",
    "OnTrac": "ontrac",
    "OnTracV3": "ontrac",
    "ParcelForce": "parcelforce",
    "SFExpress": "sf_express",
    "UPSDAP": "ups",
    "UPSSurePost": "ups",
}
_CARRIER_NAMES = {"dhl_ecommerce": "DHL eCommerce", "dpd_uk": "DPD UK", "fedex": "FedEx", "ontrac": "OnTrac"}
_CAPITALS = ("apc", "dhl", "dpd", "gso", "sf", "ups", "usps")


@lru_cache(1000)
def carrier_word(name: str) -> str:
    """The hub's word for EasyPost's name of a carrier: DHLExpress is dhl_express, UPSDAP is ups."""
    return _CARRIERS.get(name) or hub.carrier_word(_spaced(name)) or "unknown"


@lru_cache(5000)
def service_name(carrier: str, service: str) -> str:
    """What people call a service of a carrier: "UPS Next Day Air", "FedEx Ground"."""
    word = carrier_word(carrier)
    named = _CARRIER_NAMES.get(word) or " ".join(
        part.upper() if part in _CAPITALS else part.capitalize() for part in word.split("_")
    )
    said = _spaced(service.replace("_", " "))
    said = said.title() if said.isupper() else said
    if said.casefold().startswith(f"{named.casefold()} "):
        said = said[len(named) + 1 :]
    return f"{named} {said}"


def _spaced(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)


# ---------------------------------------------------------------- rates


class RateBody(hub.Translation[hub.Rate]):
    """One offer, of a shipment or of an order; its handles are still missing."""

    external_id = hub.Identifier(required=True, data_key="id")
    carrier = hub.Text(required=True)
    service = hub.Text(required=True)
    cost = hub.MoneyAmount(required=True, data_key="rate")
    days = hub.WholeNumber(data_key="delivery_days", load_default=None, allow_none=True)
    estimated_days = hub.WholeNumber(data_key="est_delivery_days", load_default=None, allow_none=True)
    deliver_by = hub.UtcMoment(data_key="delivery_date", load_default=None, allow_none=True)
    guaranteed = fields.Boolean(data_key="delivery_date_guaranteed", load_default=False, allow_none=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> hub.Rate:
        estimated, carrier = said.pop("estimated_days"), said.pop("carrier")
        days = estimated if said["days"] is None else said["days"]
        said |= {"days": days, "guaranteed": bool(said["guaranteed"]), "carrier": carrier_word(carrier)}
        return hub.Rate(**said, name=service_name(carrier, said["service"]), handles={"carrier": carrier})


class MessageBody(hub.Translation[str]):
    """Why a carrier offers nothing."""

    carrier = hub.Text()
    message = fields.Raw(load_default="", allow_none=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> str:
        words = " ".join(_words(said["message"])) or "no rates, without a reason"
        return f"{said['carrier']}: {words}" if said["carrier"] else words


class QuoteBody(hub.Translation[hub.Quotes]):
    """A shipment or an order with its rates. Buying goes by its id, which goes along with each rate."""

    external_id = hub.Identifier(required=True, data_key="id")
    rates = fields.List(fields.Nested(RateBody), required=True)
    messages = fields.List(fields.Nested(MessageBody), load_default=list, allow_none=True)
    parts = fields.List(fields.Raw(), data_key="shipments", load_default=None, allow_none=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> hub.Quotes:
        kind = "shipment" if said["parts"] is None else "order"
        handles = {kind: said["external_id"]}
        # By its id a rate of an order is that of its first shipment: it is bought by the carrier's name.
        rates = (replace(rate, handles=handles | (rate.handles if kind == "order" else {})) for rate in said["rates"])
        return hub.Quotes(rates=tuple(rates), notes=tuple(dict.fromkeys(said["messages"] or ())))


# ---------------------------------------------------------------- what was bought


class FeeBody(hub.Translation[Decimal]):
    """What EasyPost charges beside the postage, in US dollars; nothing for the postage itself."""

    kind = hub.Text(data_key="type")
    amount = hub.DecimalNumber(required=True)
    charged = fields.Boolean(load_default=False)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> Decimal:
        counts = said["charged"] and said["kind"] != "PostageFee"
        return said["amount"] if counts else Decimal(0)


class TrackerRef(hub.Translation[tuple[str, str]]):
    """The id of a tracker, and where the recipient can look at it."""

    external_id = hub.Identifier(required=True, data_key="id")
    url = hub.Text(data_key="public_url")

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> tuple[str, str]:
        return said["external_id"], said["url"]


class PostageBody(hub.Translation[dict[str, Any]]):
    """The files of a label. Which of them are there depends on what was asked for before."""

    kind = hub.Text(data_key="label_file_type")
    url = hub.Text(data_key="label_url")
    pdf = hub.Text(data_key="label_pdf_url")
    zpl = hub.Text(data_key="label_zpl_url")


class FormBody(hub.Translation[dict[str, Any]]):
    """A further paper."""

    kind = hub.Text(data_key="form_type")
    url = hub.Text(data_key="form_url")
    electronic = fields.Boolean(data_key="submitted_electronically", load_default=False, allow_none=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One shipment at EasyPost: one parcel."""

    external_id: str
    tracking_number: str = ""
    rate: hub.Rate | None = None
    fees: Sequence[Decimal] = ()
    tracker: tuple[str, str] = ("", "")
    files: Mapping[str, Any] = field(default_factory=dict)
    forms: Sequence[Mapping[str, Any]] = ()
    refund_status: str = ""

    @property
    def begun(self) -> bool:
        """Whether its carrier has been asked for a label, and answered at least in part."""
        return bool(self.tracking_number or self.files)

    @property
    def bought(self) -> bool:
        """Whether there is a label."""
        return bool(self.tracking_number and self.files and self.rate)

    def file_in(self, wanted: hub.DocumentFormat) -> str:
        """Where the label can be had in a format, "" where it has to be converted first."""
        if self.files.get("kind", "").endswith(f"/{wanted.value}"):
            return str(self.files["url"])
        return str(self.files.get(wanted.value) or "")

    @property
    def cost(self) -> hub.Money | None:
        """The postage and EasyPost's fees; fees are in US dollars, and left out beside another currency."""
        if self.rate is None:
            return None
        fees = sum(self.fees, Decimal(0)) if self.rate.cost.currency == "USD" else Decimal(0)
        return hub.Money(self.rate.cost.amount + fees, self.rate.cost.currency)


class ShipmentBody(hub.Translation[Part]):
    """A shipment, bought or not."""

    external_id = hub.Identifier(required=True, data_key="id")
    # To be there at all tells a shipment from an error that came with status 200.
    rates = fields.List(fields.Raw(), required=True)
    tracking_number = hub.Text(data_key="tracking_code")
    rate = fields.Nested(RateBody, data_key="selected_rate", load_default=None, allow_none=True)
    fees = fields.List(fields.Nested(FeeBody), load_default=list, allow_none=True)
    tracker = fields.Nested(TrackerRef, load_default=None, allow_none=True)
    files = fields.Nested(PostageBody, data_key="postage_label", load_default=None, allow_none=True)
    forms = fields.List(fields.Nested(FormBody), load_default=list, allow_none=True)
    refund_status = hub.Text()

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> Part:
        return Part(
            external_id=said["external_id"],
            tracking_number=said["tracking_number"],
            rate=said["rate"],
            fees=said["fees"] or (),
            tracker=said["tracker"] or ("", ""),
            files=said["files"] or {},
            forms=said["forms"] or (),
            refund_status=said["refund_status"],
        )


class OrderBody(hub.Translation[list[Part]]):
    """An order of several shipments."""

    parts = fields.List(fields.Nested(ShipmentBody), required=True, data_key="shipments")

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> list[Part]:
        return list(said["parts"])


# ---------------------------------------------------------------- refunds

_VOIDS = {
    "refunded": (hub.VoidState.VOIDED, ""),
    "submitted": (hub.VoidState.REQUESTED, "The carrier answers later, at the latest after 30 days."),
    "rejected": (
        hub.VoidState.REFUSED,
        "The carrier refused the refund: the label was used or is too old. If you never used it, ask once more.",
    ),
    "not_applicable": (
        hub.VoidState.REFUSED,
        "This carrier bills a label only when it is scanned, so that there is nothing to refund. Throw it away.",
    ),
}


def void_of(status: str) -> tuple[hub.VoidState, str] | None:
    """What a refund status means, with a sentence; None where no refund was asked for."""
    if not status:
        return None
    unknown = (hub.VoidState.REQUESTED, f"EasyPost says “{status}”. Look at the shipment in its dashboard.")
    return _VOIDS.get(status, unknown)


class RefundBody(hub.Translation[hub.LabelVoid]):
    """A refund that a carrier has decided on."""

    shipment = hub.Identifier(required=True, data_key="shipment_id")
    status = hub.Text(required=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> hub.LabelVoid:
        state, message = void_of(said["status"]) or (hub.VoidState.REQUESTED, "")
        return hub.LabelVoid(label_external_id=said["shipment"], state=state, message=message)


# ---------------------------------------------------------------- tracking

_STATUSES = {
    "pre_transit": hub.TrackingStatus.LABEL_CREATED,
    "in_transit": hub.TrackingStatus.IN_TRANSIT,
    "out_for_delivery": hub.TrackingStatus.OUT_FOR_DELIVERY,
    "available_for_pickup": hub.TrackingStatus.READY_FOR_PICKUP,
    "delivered": hub.TrackingStatus.DELIVERED,
    "return_to_sender": hub.TrackingStatus.RETURNING,
    "failure": hub.TrackingStatus.EXCEPTION,
    "error": hub.TrackingStatus.EXCEPTION,
    "cancelled": hub.TrackingStatus.CANCELLED,
}
# Details that say more than a status of a parcel on its way: these wait for somebody, that one has turned back.
_TELLING = {
    "address_correction": hub.TrackingStatus.EXCEPTION,
    "awaiting_information": hub.TrackingStatus.EXCEPTION,
    "damaged": hub.TrackingStatus.EXCEPTION,
    "delivery_exception": hub.TrackingStatus.EXCEPTION,
    "held": hub.TrackingStatus.EXCEPTION,
    "lost": hub.TrackingStatus.EXCEPTION,
    "refused": hub.TrackingStatus.EXCEPTION,
    "transit_exception": hub.TrackingStatus.EXCEPTION,
    "arrived_at_pickup_location": hub.TrackingStatus.READY_FOR_PICKUP,
    "return": hub.TrackingStatus.RETURNING,
}
_ON_ITS_WAY = (hub.TrackingStatus.IN_TRANSIT, hub.TrackingStatus.OUT_FOR_DELIVERY)


def status_of(status: str, detail: str) -> hub.TrackingStatus:
    """The hub's word for a status and its detail."""
    found = _STATUSES.get(status, hub.TrackingStatus.UNKNOWN)
    return _TELLING.get(detail, found) if found in _ON_ITS_WAY else found


def _said_status(status: str, detail: str) -> str:
    return status if detail in ("", "unknown", status) else f"{status}/{detail}"


class PlaceBody(hub.Translation[str]):
    """Where something happened, for people."""

    city = hub.Text()
    state = hub.Text()
    country = hub.Text()

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> str:
        return ", ".join(part for part in (said["city"], said["state"], said["country"]) if part)


class DetailBody(hub.Translation[hub.TrackingEvent | None]):
    """One scan; None for one without a time, which could not be put into its order."""

    status = hub.Text(required=True)
    detail = hub.Text(data_key="status_detail")
    happened_at = hub.UtcMoment(data_key="datetime", load_default=None, allow_none=True)
    message = hub.Text()
    place = fields.Nested(PlaceBody, data_key="tracking_location", load_default="", allow_none=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> hub.TrackingEvent | None:
        if said["happened_at"] is None:
            return None
        return hub.TrackingEvent(
            status=status_of(said["status"], said["detail"]),
            carrier_status=_said_status(said["status"], said["detail"]),
            happened_at=said["happened_at"],
            message=said["message"],
            place=said["place"] or "",
        )


class TrackerBody(hub.Translation[hub.Tracking]):
    """A parcel and its scans, the same alone and in an event."""

    tracking_number = hub.Identifier(required=True, data_key="tracking_code")
    status = hub.Text(required=True)
    detail = hub.Text(data_key="status_detail")
    events = fields.List(fields.Nested(DetailBody), required=True, data_key="tracking_details")
    deliver_by = hub.UtcMoment(data_key="est_delivery_date", load_default=None, allow_none=True)
    signed_by = hub.Text()

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> hub.Tracking:
        status, detail = said.pop("status"), said.pop("detail")
        said["events"] = tuple(event for event in said["events"] if event is not None)
        # A tracker begins as "unknown": the label is there, and the carrier has not said a word about it yet.
        silent = status == "unknown" and not said["events"]
        return hub.Tracking(
            status=hub.TrackingStatus.LABEL_CREATED if silent else status_of(status, detail),
            carrier_status=_said_status(status, detail),
            **said,
        )


class EventBody(hub.Translation[Any]):
    """An event, as webhooks bring it: the object it is about, in the state it had then."""

    result = fields.Raw(required=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> Any:
        return said["result"]


# ---------------------------------------------------------------- addresses


class FaultBody(hub.Translation[str]):
    """What is wrong with an address."""

    message = hub.Text()
    suggestion = hub.Text()

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> str:
        return " ".join(part for part in (said["message"], said["suggestion"]) if part)


class CheckBody(hub.Translation[tuple[bool, list[str]]]):
    """What came of one of the checks of an address."""

    success = fields.Boolean(required=True)
    errors = fields.List(fields.Nested(FaultBody), load_default=list, allow_none=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> tuple[bool, list[str]]:
        return said["success"], [message for message in said["errors"] or () if message]


class ChecksBody(hub.Translation[tuple[bool, list[str]]]):
    """The checks of an address: that it can be delivered to is what counts."""

    delivery = fields.Nested(CheckBody, required=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> tuple[bool, list[str]]:
        return said["delivery"]  # type: ignore[no-any-return]


class AddressBody(hub.Translation[dict[str, Any]]):
    """An address as EasyPost writes it, with what its checks have found."""

    line1 = hub.Text(data_key="street1")
    line2 = hub.Text(data_key="street2")
    city = hub.Text()
    region = hub.Text(data_key="state")
    postcode = hub.Text(data_key="zip")
    country = hub.Text()
    residential = fields.Boolean(load_default=None, allow_none=True)
    checked = fields.Nested(ChecksBody, required=True, data_key="verifications")


def verdict(asked: hub.Address, said: dict[str, Any]) -> hub.AddressVerdict:
    """What EasyPost thinks of the address it was asked about. Names and phone numbers are not its business."""
    parts = dict(said)
    deliverable, messages = parts.pop("checked")
    residential = parts.pop("residential")
    if not deliverable:
        return hub.AddressVerdict(
            state=hub.AddressState.INVALID, residential=residential, messages=tuple(dict.fromkeys(messages))
        )
    better = replace(asked, **parts)
    same = _plain(better) == _plain(asked)
    return hub.AddressVerdict(
        state=hub.AddressState.VALID if same else hub.AddressState.CORRECTED,
        candidates=() if same else (better,),
        residential=residential,
        messages=tuple(dict.fromkeys(messages)),
    )


def _plain(address: hub.Address) -> tuple[str, ...]:
    """What of an address makes a difference to the carrier: neither capitals, nor spaces, nor ZIP+4."""
    written = (address.line1, address.line2, address.city, address.region, address.postcode, address.country)
    parts = [" ".join(part.casefold().split()) for part in written]
    if parts[5] == "us":
        parts[4] = parts[4].partition("-")[0]
    return tuple(parts)


# ---------------------------------------------------------------- refusals

# The carrier may have sold the label all the same: nobody can tell until the shipment is looked at again.
UNCLEAR = frozenset({"SHIPMENT.POSTAGE.NO_RESPONSE", "SHIPMENT.POSTAGE.TIMED_OUT", "SHIPMENT.PURCHASE.IN_PROGRESS"})
BOUGHT_ALREADY = "SHIPMENT.POSTAGE.EXISTS"
PRODUCTION_ONLY = "requires a production api key"


def refusal(answer: hub.Response) -> hub.ConnectorError:
    """The error for an answer that says no, in EasyPost's words."""
    code, words = _error(answer)
    if answer.status == 401:
        return hub.AuthError("EasyPost does not know this API key. Copy it again from your EasyPost account.")
    if answer.status == 403:
        return hub.AuthError(f"EasyPost does not let this API key do that. {words}".strip())
    if answer.status == 429:
        # The limit moves with EasyPost's load, and it does not always say how long it will last.
        told = answer.headers.get("Retry-After", "")
        wait = float(told) if re.fullmatch(r"[0-9]{1,5}", told) else None
        return hub.RateLimited("EasyPost is busy and asks to slow down. It goes on by itself.", wait)
    if code in UNCLEAR:
        return hub.Unavailable(f"EasyPost cannot tell yet whether the label was bought. {words} It is looked up again.")
    if answer.status == 402:
        return hub.Rejected(
            f"EasyPost could not charge your account. {words} Add money or a card there under Billing, then try again.",
            code,
        )
    if answer.status in (404, 410):
        return hub.NotFound(f"EasyPost does not have it. {words}".strip(), code)
    return hub.Rejected(f"EasyPost refused it. {words or f'It said {answer.status} and no more.'}", code)


def _error(answer: hub.Response) -> tuple[str, str]:
    """The code of an error and what it says; only what is meant to be read is taken over."""
    try:
        said = hub.load_json(answer.body)
    except hub.Unreadable:
        return "", ""
    error = said.get("error") if isinstance(said, Mapping) else None
    if not isinstance(error, Mapping):
        return "", " ".join(_words(error))[:300]
    code = error.get("code")
    words = " ".join([*_words(error.get("message")), *_words(error.get("errors"))])
    return code if isinstance(code, str) else "", words[:300]


def _words(said: Any) -> Iterator[str]:
    """The sentences in a message, which may be a text, a list, or an object of either."""
    if isinstance(said, str) and said.strip():
        text = said.strip()
        yield text if text.endswith((".", "!", "?")) else f"{text}."
    elif isinstance(said, Mapping) and isinstance(said.get("message"), str):
        where = said.get("field")
        yield from _words(f"{where}: {said['message']}" if isinstance(where, str) and where else said["message"])
    elif isinstance(said, Mapping):
        for each in said.values():
            yield from _words(each)
    elif isinstance(said, list):
        for each in said:
            yield from _words(each)
