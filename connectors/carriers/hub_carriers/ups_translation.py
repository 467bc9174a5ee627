"""What UPS says, read into the hub's model: rates, labels, voids, tracking, addresses, errors.

The oddities of its JSON (one without a list, flags without a value, times without a zone) are in ``ups_fields``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from marshmallow import ValidationError, fields, post_load

import hub
from hub_carriers.ups_fields import Base64, Flag, Part, Several, local_moment
from hub_carriers.ups_zones import in_utc

SERVICES = {
    "01": "UPS Next Day Air",
    "02": "UPS 2nd Day Air",
    "03": "UPS Ground",
    "07": "UPS Worldwide Express",
    "08": "UPS Worldwide Expedited",
    "11": "UPS Standard",
    "12": "UPS 3 Day Select",
    "13": "UPS Next Day Air Saver",
    "14": "UPS Next Day Air Early",
    "54": "UPS Worldwide Express Plus",
    "59": "UPS 2nd Day Air A.M.",
    "65": "UPS Worldwide Saver",
    "70": "UPS Access Point Economy",
    "71": "UPS Worldwide Express Freight Midday",
    "72": "UPS Worldwide Economy DDP",
    "17": "UPS Worldwide Economy DDU",
    "93": "UPS Ground Saver",
    "96": "UPS Worldwide Express Freight",
}

_S = hub.TrackingStatus
# The three digits that say what has happened, from UPS's list of status codes.
_DETAILS: Mapping[str, hub.TrackingStatus] = {
    digits: status
    for status, all_digits in {
        _S.LABEL_CREATED: "003 045",
        _S.IN_TRANSIT: "005 006 010 012 014 018 020 025 027 028 038 039 041 042 044 054 055 056 057 063",
        _S.OUT_FOR_DELIVERY: "021",
        _S.READY_FOR_PICKUP: "017 040",
        _S.DELIVERED: "011 026",
        _S.EXCEPTION: "013 016 019 022 023 024 029 030 032 046 047 048 049 050 051 052 053 058 059 060 061 062 064 065"
        " 066 068 069",
        _S.RETURNING: "033 034 035 036 037 067",
        _S.CANCELLED: "007",
    }.items()
    for digits in all_digits.split()
}
# The types of activities, for details that are not in that list.
_TYPES: Mapping[str, hub.TrackingStatus] = {
    "M": _S.LABEL_CREATED,
    "MP": _S.LABEL_CREATED,
    "MV": _S.CANCELLED,
    "P": _S.IN_TRANSIT,
    "I": _S.IN_TRANSIT,
    "U": _S.IN_TRANSIT,
    "W": _S.IN_TRANSIT,
    "DO": _S.IN_TRANSIT,
    "DD": _S.IN_TRANSIT,
    "O": _S.OUT_FOR_DELIVERY,
    "X": _S.EXCEPTION,
    "D": _S.DELIVERED,
    "RS": _S.RETURNING,
}
_OUT_FOR_DELIVERY = frozenset({"OT", "OF"})


def status_of(type: str, code: str, detail: str) -> hub.TrackingStatus:
    """The hub's word for an activity of UPS's: its type, its code and the three digits of its detail."""
    for digits in (detail, code):
        if digits in _DETAILS:
            return _DETAILS[digits]
    if type == "I" and code in _OUT_FOR_DELIVERY:
        return _S.OUT_FOR_DELIVERY
    return _TYPES.get(type, _S.UNKNOWN)


def _money(**options: Any) -> hub.MoneyObject:
    return hub.MoneyObject(amount="MonetaryValue", currency="CurrencyCode", **options)


_NOTED = hub.Translation.from_dict({"Code": hub.Text(), "Description": hub.Text()})
_RESPONSE = {"Alert": Several(fields.Nested(_NOTED))}


# ---------------------------------------------------------------- errors


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as UPS words it."""

    code: str
    message: str


class _ProblemBody(hub.Translation[Problem]):
    code = hub.Identifier(load_default="")
    message = hub.Text()

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> Problem:
        return Problem(**said)


class ErrorBody(hub.Translation[Sequence[Problem]]):
    """The answer to a request that UPS refuses."""

    response = Part(errors=Several(fields.Nested(_ProblemBody)))

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> Sequence[Problem]:
        return tuple(said["response"].get("errors", ()))


# ---------------------------------------------------------------- tokens


class TokenBody(hub.Translation[tuple[str, int]]):
    """A token and the seconds for which it is good."""

    access_token = hub.Text(required=True)
    expires_in = hub.WholeNumber(required=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> tuple[str, int]:
        return said["access_token"], said["expires_in"]


# ---------------------------------------------------------------- rates


@dataclass(frozen=True, slots=True)
class Offer:
    """A rate, and when it arrives in the time of the destination."""

    rate: hub.Rate
    arrives: datetime | None
    notes: tuple[str, ...]


class _OfferBody(hub.Translation[Offer]):
    Service = fields.Nested(
        hub.Translation.from_dict({"Code": hub.Identifier(required=True), "Description": hub.Text()}), required=True
    )
    TotalCharges = _money(required=True)
    NegotiatedRateCharges = Part(TotalCharge=_money(load_default=None))
    RatedShipmentAlert = Several(fields.Nested(_NOTED))
    GuaranteedDelivery = Part(BusinessDaysInTransit=hub.WholeNumber(load_default=None))
    TimeInTransit = Part(
        ServiceSummary=Part(
            Service=Part(Description=hub.Text()),
            GuaranteedIndicator=Flag(),
            EstimatedArrival=Part(
                Arrival=Part(Date=hub.Text(), Time=hub.Text()),
                BusinessDaysInTransit=hub.WholeNumber(load_default=None),
            ),
        )
    )

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> Offer:
        code = said["Service"]["Code"]
        summary = said["TimeInTransit"].get("ServiceSummary", {})
        estimate = summary.get("EstimatedArrival", {})
        arrival = estimate.get("Arrival", {})
        published = said["GuaranteedDelivery"]
        days = estimate.get("BusinessDaysInTransit")
        if days is None and published:
            days = published["BusinessDaysInTransit"]
        name = summary.get("Service", {}).get("Description") or said["Service"]["Description"]
        return Offer(
            hub.Rate(
                external_id=code,
                carrier="ups",
                service=code,
                name=name or SERVICES.get(code, f"UPS {code}"),
                cost=said["NegotiatedRateCharges"].get("TotalCharge") or said["TotalCharges"],
                days=days,
                guaranteed=bool(summary["GuaranteedIndicator"]) if summary else bool(published),
            ),
            local_moment(arrival.get("Date", ""), _with_seconds(arrival.get("Time", "")) or "235900"),
            tuple(each["Description"] for each in said["RatedShipmentAlert"]),
        )


def _with_seconds(time: str) -> str:
    """A commit time is told as hhmm, too."""
    return f"{time}00" if len(time) == 4 else time


class QuoteBody(hub.Translation[dict[str, Any]]):
    """The answer to a request for rates, before anybody has said where the parcel goes."""

    RateResponse = fields.Nested(
        hub.Translation.from_dict(
            {"Response": Part(**_RESPONSE), "RatedShipment": Several(fields.Nested(_OfferBody), required=True)}
        ),
        required=True,
    )


def read_quotes(payload: Any, destination: hub.Address) -> hub.Quotes:
    """The rates in an answer. Raises Unreadable."""
    said = QuoteBody().read(payload)["RateResponse"]
    offers: list[Offer] = said["RatedShipment"]
    notes = [each["Description"] for each in said["Response"].get("Alert", ())]
    notes += [note for offer in offers for note in offer.notes]
    rates = (
        replace(offer.rate, deliver_by=in_utc(offer.arrives, destination.country, destination.region))
        if offer.arrives
        else offer.rate
        for offer in offers
    )
    return hub.Quotes(rates=tuple(rates), notes=tuple(dict.fromkeys(filter(None, notes))))


# ---------------------------------------------------------------- labels


@dataclass(frozen=True, slots=True)
class Printed:
    """A parcel's number and its file, where one came along; ``format`` is UPS's word."""

    tracking_number: str
    format: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Bought:
    """A shipment as the answer to its order, or label recovery, tells it."""

    external_id: str
    parcels: tuple[Printed, ...]
    cost: hub.Money | None = None
    forms: tuple[bytes, ...] = ()
    candidates: tuple[str, ...] = ()


def _image(name: str) -> Any:
    return Part(**{name: Part(Code=hub.Text()), "GraphicImage": Base64(load_default=b"")})


class _ParcelBody(hub.Translation[Printed]):
    TrackingNumber = hub.Identifier(required=True)
    ShippingLabel = _image("ImageFormat")
    LabelImage = _image("LabelImageFormat")

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> Printed:
        label = said["ShippingLabel"] or said["LabelImage"]
        format = (label.get("ImageFormat") or label.get("LabelImageFormat") or {}).get("Code", "")
        return Printed(said["TrackingNumber"], format.strip().upper(), label.get("GraphicImage", b""))


_FORM = Part(Image=_image("ImageFormat"))


def _forms(*parts: Mapping[str, Any]) -> tuple[bytes, ...]:
    images = (part.get("Image", {}) for part in parts)
    return tuple(image["GraphicImage"] for image in images if image.get("GraphicImage"))


class BoughtBody(hub.Translation[Bought]):
    """The answer to an order for a label."""

    ShipmentResponse = fields.Nested(
        hub.Translation.from_dict(
            {
                "ShipmentResults": fields.Nested(
                    hub.Translation.from_dict(
                        {
                            "ShipmentIdentificationNumber": hub.Identifier(required=True),
                            "ShipmentCharges": Part(TotalCharges=_money(load_default=None)),
                            "NegotiatedRateCharges": Part(TotalCharge=_money(load_default=None)),
                            "PackageResults": Several(fields.Nested(_ParcelBody), required=True),
                            "Form": _FORM,
                        }
                    ),
                    required=True,
                )
            }
        ),
        required=True,
    )

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> Bought:
        told = said["ShipmentResponse"]["ShipmentResults"]
        negotiated, listed = told["NegotiatedRateCharges"], told["ShipmentCharges"]
        return Bought(
            told["ShipmentIdentificationNumber"],
            tuple(told["PackageResults"]),
            negotiated.get("TotalCharge") or listed.get("TotalCharges"),
            _forms(told["Form"]),
        )


class RecoveredBody(hub.Translation[Bought]):
    """The answer of label recovery."""

    LabelRecoveryResponse = fields.Nested(
        hub.Translation.from_dict(
            {
                "ShipmentIdentificationNumber": hub.Identifier(load_default=""),
                "LabelResults": Several(fields.Nested(_ParcelBody)),
                "TrackingCandidate": Several(
                    fields.Nested(hub.Translation.from_dict({"TrackingNumber": hub.Identifier(required=True)}))
                ),
                "Form": _FORM,
            }
        ),
        required=True,
    )

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> Bought:
        told = said["LabelRecoveryResponse"]
        candidates = tuple(each["TrackingNumber"] for each in told["TrackingCandidate"])
        parcels = tuple(told["LabelResults"])
        if not (parcels and told["ShipmentIdentificationNumber"]) and not candidates:
            raise ValidationError("Neither labels nor candidates.")
        return Bought(told["ShipmentIdentificationNumber"], parcels, forms=_forms(told["Form"]), candidates=candidates)


class VoidBody(hub.Translation[tuple[bool, tuple[str, ...], str]]):
    """Whether all was voided, the parcels that were not, and UPS's words."""

    VoidShipmentResponse = fields.Nested(
        hub.Translation.from_dict(
            {
                "SummaryResult": fields.Nested(
                    hub.Translation.from_dict(
                        {
                            "Status": fields.Nested(
                                hub.Translation.from_dict(
                                    {"Code": hub.Identifier(required=True), "Description": hub.Text()}
                                ),
                                required=True,
                            )
                        }
                    ),
                    required=True,
                ),
                "PackageLevelResults": Several(
                    fields.Nested(
                        hub.Translation.from_dict(
                            {
                                "TrackingNumber": hub.Identifier(required=True),
                                "Status": Part(Code=hub.Text(), Description=hub.Text()),
                            }
                        )
                    )
                ),
            }
        ),
        required=True,
    )

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> tuple[bool, tuple[str, ...], str]:
        told = said["VoidShipmentResponse"]
        summary = told["SummaryResult"]["Status"]
        kept = tuple(
            each["TrackingNumber"] for each in told["PackageLevelResults"] if each["Status"].get("Code", "1") != "1"
        )
        return summary["Code"] == "1" and not kept, kept, summary["Description"]


# ---------------------------------------------------------------- addresses


class _CandidateBody(hub.Translation[hub.Address]):
    AddressKeyFormat = fields.Nested(
        hub.Translation.from_dict(
            {
                "AddressLine": Several(hub.Text()),
                "PoliticalDivision2": hub.Text(),
                "PoliticalDivision1": hub.Text(),
                "PostcodePrimaryLow": hub.Text(),
                "PostcodeExtendedLow": hub.Text(),
                "CountryCode": hub.Text(required=True),
            }
        ),
        required=True,
    )

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> hub.Address:
        told = said["AddressKeyFormat"]
        postcode = "-".join(filter(None, (told["PostcodePrimaryLow"], told["PostcodeExtendedLow"])))
        first, *others = told["AddressLine"] or [""]
        return hub.Address(
            line1=first,
            line2=", ".join(others),
            city=told["PoliticalDivision2"],
            region=told["PoliticalDivision1"],
            postcode=postcode,
            country=told["CountryCode"],
        )


class VerdictBody(hub.Translation[hub.AddressVerdict]):
    """What UPS thinks of an address; VALID stands for "found", be it written otherwise."""

    XAVResponse = fields.Nested(
        hub.Translation.from_dict(
            {
                "Response": Part(**_RESPONSE),
                "ValidAddressIndicator": Flag(),
                "AmbiguousAddressIndicator": Flag(),
                "NoCandidatesIndicator": Flag(),
                "AddressClassification": Part(Code=hub.Text()),
                "Candidate": Several(fields.Nested(_CandidateBody)),
            }
        ),
        required=True,
    )

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> hub.AddressVerdict:
        told = said["XAVResponse"]
        states = {
            "ValidAddressIndicator": hub.AddressState.VALID,
            "AmbiguousAddressIndicator": hub.AddressState.AMBIGUOUS,
            "NoCandidatesIndicator": hub.AddressState.INVALID,
        }
        state = next((state for name, state in states.items() if told[name]), None)
        if state is None:
            raise ValidationError("No verdict.")
        return hub.AddressVerdict(
            state=state,
            candidates=tuple(told["Candidate"]),
            residential={"1": False, "2": True}.get(told["AddressClassification"].get("Code", "")),
            messages=tuple(each["Description"] for each in told["Response"].get("Alert", ())),
        )


def judged(verdict: hub.AddressVerdict, asked: hub.Address) -> hub.AddressVerdict:
    """The verdict on an address as somebody wrote it: what was found need not be written as it was asked for."""
    candidates = tuple(
        replace(found, name=asked.name, company=asked.company, phone=asked.phone) for found in verdict.candidates
    )
    if verdict.state is hub.AddressState.VALID and candidates and not _alike(asked, candidates[0]):
        return replace(verdict, state=hub.AddressState.CORRECTED, candidates=candidates)
    return replace(verdict, candidates=() if verdict.state is hub.AddressState.VALID else candidates)


def _alike(asked: hub.Address, found: hub.Address) -> bool:
    """Whether both are the same but for case, spaces, points, and the last four digits of a ZIP code nobody gave."""

    def spelled(*parts: str) -> str:
        return re.sub(r"[\s.,#-]", "", "".join(parts)).casefold()

    postcode = found.postcode if "-" in asked.postcode else found.postcode.partition("-")[0]
    return spelled(asked.line1, asked.line2, asked.city, asked.region, asked.postcode) == spelled(
        found.line1, found.line2, found.city, found.region, postcode
    )


# ---------------------------------------------------------------- tracking


class _PlaceBody(hub.Translation[tuple[str, str, str]]):
    city = hub.Text()
    stateProvince = hub.Text()
    countryCode = hub.Text()
    country = hub.Text()

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> tuple[str, str, str]:
        return said["city"], said["stateProvince"], said["countryCode"] or said["country"]


@dataclass(frozen=True, slots=True)
class _Status:
    status: hub.TrackingStatus
    word: str
    message: str


class _StatusBody(hub.Translation[_Status]):
    type = hub.Text()
    code = hub.Text()
    statusCode = hub.Text()
    description = hub.Text()

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> _Status:
        words = [each for each in (said["type"], said["code"], said["statusCode"]) if each]
        if not words:
            raise ValidationError("A status without a type or a code.")
        status = status_of(said["type"], said["code"], said["statusCode"])
        return _Status(status, " ".join(dict.fromkeys(words)), " ".join(said["description"].split()))


class _ActivityBody(hub.Translation[hub.TrackingEvent]):
    date = hub.Text()
    time = hub.Text()
    gmtDate = hub.Text()
    gmtTime = hub.Text()
    gmtOffset = hub.Text()
    location = Part(address=fields.Nested(_PlaceBody, load_default=("", "", "")))
    status = fields.Nested(_StatusBody, required=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> hub.TrackingEvent:
        city, region, country = said["location"].get("address", ("", "", ""))
        found: _Status = said["status"]
        return hub.TrackingEvent(
            status=found.status,
            carrier_status=found.word,
            happened_at=_happened(said, country, region),
            message=found.message,
            place=", ".join(filter(None, (city.title(), region, country))),
        )


def _happened(said: Mapping[str, str], country: str, region: str) -> datetime:
    if greenwich := local_moment(said["gmtDate"], said["gmtTime"]):
        return greenwich.replace(tzinfo=UTC)
    local = local_moment(said["date"], said["time"])
    if local is None:
        raise ValidationError("An activity without a date and a time.")
    offset = re.fullmatch(r"([+-])([0-9]{2})[.:]([0-9]{2})", said["gmtOffset"])
    if offset is None:
        return in_utc(local, country, region)
    ahead = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
    return (local - ahead if offset[1] == "+" else local + ahead).replace(tzinfo=UTC)


class _ParcelNewsBody(hub.Translation[hub.Tracking]):
    trackingNumber = hub.Identifier(required=True)
    currentStatus = fields.Nested(_StatusBody, load_default=None, allow_none=True)
    activity = Several(fields.Nested(_ActivityBody))
    deliveryDate = Several(fields.Nested(hub.Translation.from_dict({"type": hub.Text(), "date": hub.Text()})))
    deliveryTime = Part(type=hub.Text(), endTime=hub.Text())
    deliveryInformation = Part(receivedBy=hub.Text())
    packageAddress = Several(
        fields.Nested(
            hub.Translation.from_dict(
                {"type": hub.Text(), "address": fields.Nested(_PlaceBody, load_default=("", "", ""))}
            )
        )
    )

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> hub.Tracking:
        events = tuple(reversed(said["activity"]))  # UPS tells the latest first
        latest = max(events, key=lambda event: event.happened_at, default=None)
        now: _Status | None = said["currentStatus"]
        status, word = _S.UNKNOWN, "no activity"
        if now is not None:
            status, word = now.status, now.word
        elif latest is not None:
            status, word = latest.status, latest.carrier_status
        return hub.Tracking(
            tracking_number=said["trackingNumber"],
            status=status,
            carrier_status=word,
            events=events,
            deliver_by=_expected(said),
            signed_by=said["deliveryInformation"].get("receivedBy", ""),
        )


def _expected(said: Mapping[str, Any]) -> datetime | None:
    """The rescheduled moment, or the scheduled one, in the time of the destination."""
    days = {each["type"]: each["date"] for each in said["deliveryDate"]}
    end = said["deliveryTime"].get("endTime", "") if said["deliveryTime"].get("type") != "DEL" else ""
    local = local_moment(days.get("RDD") or days.get("SDD") or "", end or "235900")
    if local is None:
        return None
    places = {each["type"]: each["address"] for each in said["packageAddress"]}
    _, region, country = places.get("DESTINATION", ("", "", ""))
    return in_utc(local, country, region)


class TrackingBody(hub.Translation[Sequence[hub.Tracking]]):
    """The parcels in an answer of the Tracking API."""

    trackResponse = fields.Nested(
        hub.Translation.from_dict(
            {
                "shipment": Several(
                    fields.Nested(
                        hub.Translation.from_dict(
                            {
                                "package": Several(fields.Nested(_ParcelNewsBody)),
                                "warnings": Several(fields.Nested(_ProblemBody)),
                            }
                        )
                    ),
                    required=True,
                )
            }
        ),
        required=True,
    )

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> Sequence[hub.Tracking]:
        return tuple(parcel for each in said["trackResponse"]["shipment"] for parcel in each["package"])


class PushBody(hub.Translation[str]):
    """The tracking number in a message of Track Alert."""

    trackingNumber = hub.Identifier(required=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> str:
        return str(said["trackingNumber"])
