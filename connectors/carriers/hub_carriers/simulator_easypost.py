"""A simulated EasyPost: its API with the rules of its documentation, its file host, its carriers and their drivers."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_UP, Decimal
from typing import Any

import hub
from hub.testing import Attempt, CarrierSimulator, Charge, SimRequest, SimResponse

# carrier, service, price in the account's currency, days, guaranteed
_DOMESTIC = (
    ("USPS", "GroundAdvantage", Decimal("8.20"), 3, False),
    ("USPS", "Priority", Decimal("11.01"), 2, False),
    ("UPSDAP", "Ground", Decimal("7.85"), 4, False),
    ("UPSDAP", "NextDayAir", Decimal("31.90"), 1, True),
    ("FedEx", "FEDEX_GROUND", Decimal("9.30"), 3, False),
)
_ABROAD = (
    ("USPS", "FirstClassPackageInternationalService", Decimal("18.45"), 14, False),
    ("DHLExpress", "ExpressWorldwideNonDoc", Decimal("41.00"), 3, False),
)
_MOST_OUNCES = {"USPS": 70 * 16, "UPSDAP": 150 * 16, "FedEx": 150 * 16, "DHLExpress": 154 * 16}
_TAKES_ORDERS = ("UPSDAP", "FedEx", "DHLExpress")
# What becomes of a refund at once; "submitted" is decided upon later (`decide_refund`).
_REFUNDS = {"USPS": "submitted", "DHLExpress": "not_applicable"}
_MOST_PARCELS = 100
_FAILURES_TO_DISABLE = 3  # rounds of attempts that all failed

_WORDS = {
    hub.TrackingStatus.LABEL_CREATED: ("pre_transit", "label_created"),
    hub.TrackingStatus.IN_TRANSIT: ("in_transit", "arrived_at_facility"),
    hub.TrackingStatus.OUT_FOR_DELIVERY: ("out_for_delivery", "out_for_delivery"),
    hub.TrackingStatus.READY_FOR_PICKUP: ("available_for_pickup", "arrived_at_pickup_location"),
    hub.TrackingStatus.DELIVERED: ("delivered", "arrived_at_destination"),
    hub.TrackingStatus.EXCEPTION: ("failure", "delivery_exception"),
    hub.TrackingStatus.RETURNING: ("return_to_sender", "return"),
    hub.TrackingStatus.CANCELLED: ("cancelled", "cancelled"),
}
_FORMATS = {
    "PNG": ("image/png", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR label of "),
    "PDF": ("application/pdf", b"%PDF-1.4\n1 0 obj << >> endobj\ntrailer << >>\n%%EOF\n% label of "),
    "ZPL": ("application/zpl", b"^XA^FO50,50^FDParcel^FS^XZ\n^FX label of "),
}

_Json = dict[str, Any]


class _Refused(Exception):
    """The answer is an error."""

    def __init__(self, status: int, code: str, message: str, errors: list[Any] | None = None) -> None:
        super().__init__(message)
        self.status, self.error = status, {"code": code, "message": message, "errors": errors or []}


class EasyPostSimulator(CarrierSimulator):
    """One account at EasyPost. ``mode`` is that of its key: with "test" the account itself cannot be seen."""

    webhook_retries = (1.0, 5.0, 30.0)

    def __init__(self, mode: str = "production", **options: Any) -> None:
        super().__init__(**options)
        self.origin = "https://api.easypost.com"
        # The address of files in both of its spellings: labels have the one, what they are converted to the other.
        self.other_origins = (
            "https://easypost-files.s3.us-west-2.amazonaws.com",
            "https://easypost-files.s3-us-west-2.amazonaws.com",
        )
        self.mode = mode
        self.api_key = f"EZ{'AK' if mode == 'production' else 'TK'}0f3c5a7e9b1d{'2468ace0' * 5}"
        self.currency = "USD"
        self.funded = True
        self.webhooks: dict[str, _Json] = {}
        self._secrets: dict[str, str] = {}
        self._webhook_failures: dict[str, int] = {}
        self._shipments: dict[str, _Json] = {}
        self._orders: dict[str, _Json] = {}
        self._trackers: dict[str, _Json] = {}
        self._files: dict[str, bytes] = {}
        self._charges: dict[str, Charge] = {}
        self._made = 0

    # --- the API

    def answer(self, request: SimRequest) -> SimResponse:
        if request.headers.get("host", "").startswith("easypost-files."):
            return self._file(request)
        try:
            self._authenticate(request)
            for method, pattern, answer in self._calls():
                found = re.fullmatch(pattern, request.path)
                if found and request.method == method:
                    status, said = answer(request, *found.groups())
                    return SimResponse.of_json(said, status)
        except _Refused as refused:
            return SimResponse.of_json({"error": refused.error}, refused.status)
        except hub.Unreadable as unreadable:
            return SimResponse.of_json({"error": {"code": "BAD_REQUEST", "message": str(unreadable)}}, 400)
        return SimResponse.of_json({"error": _not_found().error}, 404)

    def error_inside(self, request: SimRequest) -> SimResponse:
        return SimResponse.of_json({"error": {"code": "INTERNAL_SERVER_ERROR", "message": "Try again.", "errors": []}})

    def _authenticate(self, request: SimRequest) -> None:
        sent = request.headers.get("authorization", "")
        if sent != "Basic " + base64.b64encode(f"{self.api_key}:".encode()).decode():
            raise _Refused(401, "UNAUTHORIZED", "The API Key you provided is not valid.")

    def _calls(self) -> tuple[tuple[str, str, Callable[..., tuple[int, Any]]], ...]:
        return (
            ("GET", "/v2/users", self._tell_user),
            ("POST", "/v2/addresses", self._make_address),
            ("POST", "/v2/shipments", self._make_shipment),
            ("GET", "/v2/shipments/([^/]+)", lambda _, id: (200, self._shipment(id))),
            ("POST", "/v2/shipments/([^/]+)/buy", self._buy),
            ("GET", "/v2/shipments/([^/]+)/label", self._convert),
            ("POST", "/v2/shipments/([^/]+)/refund", self._refund),
            ("POST", "/v2/orders", self._make_order),
            ("GET", "/v2/orders/([^/]+)", lambda _, id: (200, self._order(id))),
            ("POST", "/v2/orders/([^/]+)/buy", self._buy_order),
            ("GET", "/v2/trackers/([^/]+)", lambda _, id: (200, self._tracker(id))),
            ("GET", "/v2/webhooks", lambda _: (200, {"webhooks": list(self.webhooks.values())})),
            ("POST", "/v2/webhooks", self._make_webhook),
            ("PATCH", "/v2/webhooks/([^/]+)", self._change_webhook),
            ("DELETE", "/v2/webhooks/([^/]+)", self._delete_webhook),
        )

    def _tell_user(self, request: SimRequest) -> tuple[int, _Json]:
        if self.mode == "test":
            raise _Refused(403, "MODE.UNAUTHORIZED", "This resource requires a production API Key to access.")
        return 200, {"id": "user_7f2d", "object": "User", "name": "Corner Shop", "balance": "100.00000"}

    # --- addresses

    def _make_address(self, request: SimRequest) -> tuple[int, _Json]:
        said = _member(request.json(), "address")
        address = self._address(said)
        if "verify" in request.json():
            address |= _verified(address)
        return 201, address

    def _address(self, said: Mapping[str, Any]) -> _Json:
        names = ("name", "company", "street1", "street2", "city", "state", "zip", "country", "phone", "email")
        return {
            **self._new("adr", "Address"),
            **{name: said.get(name) or None for name in names},
            "residential": None,
            "verifications": {},
        }

    # --- shipments

    def _make_shipment(self, request: SimRequest) -> tuple[int, _Json]:
        said = _member(request.json(), "shipment")
        shipment = self._new_shipment(said, _member(said, "to_address"), _member(said, "from_address"))
        self._shipments[shipment["id"]] = shipment
        return 201, shipment

    def _new_shipment(self, said: Mapping[str, Any], to: Mapping[str, Any], origin: Mapping[str, Any]) -> _Json:
        parcel = _member(said, "parcel")
        if not _is_number(parcel.get("weight")) or parcel["weight"] <= 0:
            raise _Refused(422, "PARCEL.PARAMETERS.INVALID", "Wrong parameter type.", [_wrong("weight", "is invalid")])
        for side in ("length", "width", "height"):
            if side in parcel and (not _is_number(parcel[side]) or parcel[side] <= 0):
                raise _Refused(422, "PARCEL.PARAMETERS.INVALID", "Wrong parameter type.", [_wrong(side, "is invalid")])
        customs = said.get("customs_info")
        for item in (customs or {}).get("customs_items", ()):
            if not re.fullmatch("[A-Z]{3}", str(item.get("currency") or "USD")):
                raise _Refused(422, "CUSTOMS_ITEM.INVALID", "Wrong currency.", [_wrong("currency", "is invalid")])
        shipment: _Json = {
            **self._new("shp", "Shipment"),
            "reference": said.get("reference"),
            "is_return": bool(said.get("is_return")),
            "options": {"currency": self.currency, **(said.get("options") or {})},
            "to_address": self._address(to),
            "from_address": self._address(origin),
            "parcel": {**self._new("prcl", "Parcel"), **parcel},
            "customs_info": customs,
            "insurance": None,
            "order_id": None,
            "status": "unknown",
            "tracking_code": None,
            "refund_status": None,
            "selected_rate": None,
            "postage_label": None,
            "tracker": None,
            "forms": [],
            "fees": [],
        }
        return shipment | self._rated(shipment)

    def _rated(self, shipment: Mapping[str, Any]) -> _Json:
        to, origin = shipment["to_address"], shipment["from_address"]
        abroad = to["country"] != origin["country"]
        rates: list[_Json] = []
        refusals: dict[str, str] = {}
        for carrier, service, price, days, guaranteed in _ABROAD if abroad else _DOMESTIC:
            if not (to["street1"] and to["country"] and (to["city"] or to["zip"])):
                refusals[carrier] = "The destination address is incomplete."
            elif shipment["parcel"]["weight"] > _MOST_OUNCES[carrier]:
                refusals[carrier] = f"Packages may weigh at most {_MOST_OUNCES[carrier] // 16} lb"
            elif abroad and not shipment["customs_info"]:
                refusals[carrier] = "customs_info is required for international shipments"
            else:
                rate = self._new("rate", "Rate") | {"carrier": carrier, "service": service, "billing_type": "easypost"}
                due = (self.now().astimezone(UTC) + timedelta(days=days)).replace(microsecond=0)
                rate |= {"rate": _amount(price, self.currency), "currency": self.currency, "delivery_days": days}
                rate |= {"delivery_date": _moment(due) if guaranteed else None, "delivery_date_guaranteed": guaranteed}
                rates.append(rate | {"est_delivery_days": days, "shipment_id": shipment["id"]})
        messages = [
            {"carrier": carrier, "carrier_account_id": "ca_1", "type": "rate_error", "message": message}
            for carrier, message in refusals.items()
        ]
        return {"rates": rates, "messages": messages}

    def _shipment(self, id: str) -> _Json:
        if id not in self._shipments:
            raise _not_found()
        return self._shipments[id]

    def _buy(self, request: SimRequest, id: str) -> tuple[int, _Json]:
        shipment, said = self._shipment(id), request.json()
        if shipment["postage_label"]:
            raise _Refused(422, "SHIPMENT.POSTAGE.EXISTS", "Postage already exists for this shipment.")
        rates = {rate["id"]: rate for rate in shipment["rates"]}
        rate = rates.get(_member(said, "rate").get("id"))
        if rate is None:
            raise _Refused(422, "SHIPMENT.MISSING_RATE", "The rate does not belong to this shipment.")
        insured = Decimal(str(said.get("insurance") or 0))
        self._pay()
        self._sell(shipment, rate, insured)
        fee = _insurance_fee(insured) if self.currency == "USD" else Decimal(0)  # fees are in US dollars
        cost = Decimal(rate["rate"]) + fee
        self._charge(shipment["id"], shipment["reference"], [shipment], hub.Money(cost, self.currency))
        return 201, shipment

    def _pay(self) -> None:
        if not self.funded:
            raise _Refused(402, "PAYMENT_REQUIRED", "Insufficient funds in your account.")

    def _sell(self, shipment: _Json, rate: _Json, insured: Decimal) -> None:
        self._made += 1
        number = f"1Z999AA1{self._made:010}" if rate["carrier"] == "UPSDAP" else f"94346002083031{self._made:08}"
        fees = [("PostageFee", Decimal(rate["rate"]))] + (
            [("InsuranceFee", _insurance_fee(insured))] if insured else []
        )
        tracker: _Json = {
            **self._new("trk", "Tracker"),
            "tracking_code": number,
            "carrier": rate["carrier"],
            "shipment_id": shipment["id"],
            "status": "unknown",
            "status_detail": "unknown",
            "signed_by": None,
            "est_delivery_date": None,
            "tracking_details": [],
            "public_url": f"https://track.easypost.com/{number}",
        }
        self._trackers[tracker["id"]] = tracker
        shipment |= {
            "selected_rate": rate,
            "tracking_code": number,
            "insurance": str(insured) if insured else None,
            "fees": [
                {"object": "Fee", "type": kind, "amount": f"{fee:.5f}", "charged": True, "refunded": False}
                for kind, fee in fees
            ],
            "tracker": tracker,
            "postage_label": {
                **_without("mode", self._new("pl", "PostageLabel")),
                "label_file_type": "image/png",
                "label_url": self._write(0, number, "PNG"),
                "label_pdf_url": None,
                "label_zpl_url": None,
                "label_epl2_url": None,
            },
        }
        if shipment["customs_info"]:
            invoice = {
                **self._new("form", "Form"),
                "form_type": "commercial_invoice",
                "submitted_electronically": False,
            }
            shipment["forms"] = [invoice | {"form_url": self._write(0, f"{number}-invoice", "PDF")}]
        self._tell("tracker.created", tracker, {})

    def _charge(self, id: str, reference: str | None, shipments: list[_Json], cost: hub.Money) -> None:
        ounces = sum((Decimal(str(each["parcel"]["weight"])) for each in shipments), Decimal(0))
        numbers = tuple(each["tracking_code"] for each in shipments)
        self._charges[id] = Charge(reference or "", id, numbers, cost, hub.Weight(ounces, hub.WeightUnit.OUNCE))

    # --- orders

    def _make_order(self, request: SimRequest) -> tuple[int, _Json]:
        said = _member(request.json(), "order")
        parts = said.get("shipments") or []
        if not 1 <= len(parts) <= _MOST_PARCELS:
            raise _Refused(422, "ORDER.INVALID", f"An order has 1 to {_MOST_PARCELS} shipments.")
        order: _Json = self._new("order", "Order") | {
            "reference": said.get("reference"),
            "is_return": said.get("is_return"),
        }
        shared = {"is_return": said.get("is_return")}
        to, origin = _member(said, "to_address"), _member(said, "from_address")
        shipments = [self._new_shipment(part | shared, to, origin) | {"order_id": order["id"]} for part in parts]
        self._shipments |= {each["id"]: each for each in shipments}
        order |= {"shipments": shipments, "messages": shipments[0]["messages"], "rates": _common_rates(shipments)}
        self._orders[order["id"]] = order
        return 201, order

    def _order(self, id: str) -> _Json:
        if id not in self._orders:
            raise _not_found()
        return self._orders[id]

    def _buy_order(self, request: SimRequest, id: str) -> tuple[int, _Json]:
        order, said = self._order(id), request.json()
        if any(each["postage_label"] for each in order["shipments"]):
            raise _Refused(422, "SHIPMENT.POSTAGE.EXISTS", "Postage already exists for this order.")
        wanted = (said.get("carrier"), said.get("service"))
        total = next((each for each in order["rates"] if (each["carrier"], each["service"]) == wanted), None)
        if total is None:
            raise _Refused(422, "ORDER.RATE.UNAVAILABLE", "There is no such rate for this order.")
        self._pay()
        for shipment in order["shipments"]:
            rate = next(each for each in shipment["rates"] if (each["carrier"], each["service"]) == wanted)
            self._sell(shipment, rate, Decimal(0))
        self._charge(
            order["id"], order["reference"], order["shipments"], hub.Money.of(total["rate"], total["currency"])
        )
        return 201, order

    # --- files

    def _write(self, host: int, name: str, format: str) -> str:
        path = f"/files/postage_label/20261122/{hashlib.sha256(name.encode()).hexdigest()[:32]}.{format.lower()}"
        self._files[path] = _FORMATS[format][1] + name.encode()
        return self.other_origins[host] + path

    def _file(self, request: SimRequest) -> SimResponse:
        if "authorization" in request.headers:
            return SimResponse(400, {"Content-Type": "application/xml"}, b"<Error><Code>InvalidArgument</Code></Error>")
        if request.path not in self._files:
            return SimResponse(403, {"Content-Type": "application/xml"}, b"<Error><Code>AccessDenied</Code></Error>")
        return SimResponse(200, {"Content-Type": "binary/octet-stream"}, self._files[request.path])

    def _convert(self, request: SimRequest, id: str) -> tuple[int, _Json]:
        shipment, format = self._shipment(id), request.parameter("file_format").upper()
        if not shipment["postage_label"]:
            raise _Refused(422, "SHIPMENT.POSTAGE.REQUIRED", "The shipment has no postage yet.")
        if format not in _FORMATS:
            raise _Refused(422, "SHIPMENT.POSTAGE.INVALID_FORMAT", "There is no such format.")
        url = self._write(1, shipment["tracking_code"], format)
        shipment["postage_label"] |= {f"label_{format.lower()}_url": url}
        return 200, shipment

    # --- refunds

    def _refund(self, request: SimRequest, id: str) -> tuple[int, _Json]:
        shipment = self._shipment(id)
        if not shipment["postage_label"]:
            raise _Refused(422, "SHIPMENT.POSTAGE.REQUIRED", "The shipment has no postage yet.")
        if shipment["tracker"]["status"] not in ("unknown", "pre_transit"):
            message = "Unable to request refund. The parcel has been shipped."
            raise _Refused(422, "SHIPMENT.REFUND.UNAVAILABLE", message)
        if shipment["refund_status"] in ("submitted", "refunded"):
            message = "Unable to request refund. A refund was requested already."
            raise _Refused(422, "SHIPMENT.REFUND.UNAVAILABLE", message)
        self._decide(shipment, _REFUNDS.get(shipment["selected_rate"]["carrier"], "refunded"))
        return 201, shipment

    def _decide(self, shipment: _Json, status: str) -> None:
        shipment["refund_status"] = status
        id = shipment["order_id"] or shipment["id"]
        parts = self._orders[id]["shipments"] if shipment["order_id"] else [shipment]
        if all(part["refund_status"] == "refunded" for part in parts):
            self._charges[id] = replace(self._charges[id], voided=True)

    def decide_refund(self, tracking_number: str, *, refunded: bool) -> None:
        """The carrier answers a refund that was submitted; only that the money comes back is told by webhook."""
        with self.lock:
            shipment = next(each for each in self._shipments.values() if each["tracking_code"] == tracking_number)
            self._decide(shipment, "refunded" if refunded else "rejected")
            if refunded:
                refund = self._new("rfnd", "Refund") | {"tracking_code": tracking_number, "status": "refunded"}
                carrier = shipment["selected_rate"]["carrier"]
                self._tell("refund.successful", refund | {"carrier": carrier, "shipment_id": shipment["id"]}, {})

    # --- trackers and webhooks

    def _tracker(self, id: str) -> _Json:
        if id not in self._trackers:
            raise _not_found()
        return self._trackers[id]

    def _make_webhook(self, request: SimRequest) -> tuple[int, _Json]:
        said = _member(request.json(), "webhook")
        url = str(said.get("url") or "")
        if not re.match("https?://", url):
            raise _Refused(422, "WEBHOOK.INVALID", "Invalid URL.", [_wrong("url", "is invalid")])
        webhook: _Json = _without("updated_at", self._new("hook", "Webhook")) | {
            "url": url,
            "disabled_at": None,
            "custom_headers": [],
        }
        self.webhooks[webhook["id"]] = webhook
        self._secrets[webhook["id"]] = str(said.get("webhook_secret") or "")
        return 201, webhook

    def _change_webhook(self, request: SimRequest, id: str) -> tuple[int, _Json]:
        if id not in self.webhooks:
            raise _not_found()
        self.webhooks[id]["disabled_at"] = None
        self._webhook_failures.pop(self.webhooks[id]["url"], None)
        if secret := request.json().get("webhook_secret"):
            self._secrets[id] = str(secret)
        return 200, self.webhooks[id]

    def _delete_webhook(self, request: SimRequest, id: str) -> tuple[int, _Json]:
        if self.webhooks.pop(id, None) is None:
            raise _not_found()
        return 200, {}

    def delivered(self, attempt: Attempt, *, final: bool) -> None:
        if attempt.status is not None and 200 <= attempt.status < 300:
            self._webhook_failures.pop(attempt.address, None)
        elif final:
            self._webhook_failures[attempt.address] = self._webhook_failures.get(attempt.address, 0) + 1
            if self._webhook_failures[attempt.address] >= _FAILURES_TO_DISABLE:
                for webhook in self.webhooks.values():
                    if webhook["url"] == attempt.address:
                        webhook["disabled_at"] = _moment(self.now())

    def _tell(self, description: str, result: _Json, previous: _Json) -> None:
        event = {
            "description": description,
            **self._new("evt", "Event"),
            "user_id": "user_7f2d",
            "status": "pending",
            "previous_attributes": previous,
            "result": result,
        }
        for webhook in self.webhooks.values():
            if webhook["disabled_at"] is None:
                said = event | {"pending_urls": [webhook["url"]], "completed_urls": []}
                body = json.dumps(said, separators=(",", ":")).encode()
                secret = unicodedata.normalize("NFKD", self._secrets[webhook["id"]]).encode()
                signature = hmac.new(secret, body, hashlib.sha256).hexdigest()
                headers = {"Content-Type": "application/json"}
                if secret:
                    headers["X-Hmac-Signature"] = f"hmac-sha256-hex={signature}"
                self.deliver(webhook["url"], headers, body)

    # --- its accounts, depots and drivers

    def settings(self) -> dict[str, str]:
        return {"api_key": self.api_key}

    def example(self, reference: str, parcels: int = 1) -> hub.Shipment:
        shop = hub.Address(
            name="Corner Shop", line1="1 Harbor St", city="PORTLAND", region="OR", postcode="97201", country="US"
        )
        home = hub.Address(
            name="Ada Byron", line1="7 Mill Ln", city="BOISE", region="ID", postcode="83702", country="US"
        )
        size = hub.Dimensions.of("10", "8", "4", hub.LengthUnit.INCH)
        box = hub.Parcel(weight=hub.Weight.of("15.4", hub.WeightUnit.OUNCE), dimensions=size)
        return hub.Shipment(reference=reference, origin=shop, destination=home, parcels=(box,) * parcels)

    def charges(self) -> list[Charge]:
        with self.lock:
            return list(self._charges.values())

    def scan(self, tracking_number: str, status: hub.TrackingStatus) -> None:
        self._scan(tracking_number, *_WORDS[status])

    def scan_oddly(self, tracking_number: str, word: str) -> None:
        self._scan(tracking_number, word, "unknown")

    def scan_with(self, tracking_number: str, status: str, detail: str) -> None:
        """A scan in EasyPost's own words, a status and its detail."""
        self._scan(tracking_number, status, detail)

    def price_in(self, currency: str) -> None:
        with self.lock:
            self.currency = currency

    def _scan(self, number: str, status: str, detail: str) -> None:
        with self.lock:
            tracker = next(each for each in self._trackers.values() if each["tracking_code"] == number)
            before = tracker["status"]
            place = {"object": "TrackingLocation", "city": "BOISE", "state": "ID", "country": "US", "zip": "83702"}
            at = self.now().astimezone(UTC)
            tracker["tracking_details"].append(
                {
                    "object": "TrackingDetail",
                    "message": detail.replace("_", " ").capitalize(),
                    "status": status,
                    "status_detail": detail,
                    "datetime": _moment(at),
                    "source": tracker["carrier"],
                    "tracking_location": place,
                }
            )
            tracker |= {"status": status, "status_detail": detail, "updated_at": _moment(at)}
            tracker["signed_by"] = "A BYRON" if status == "delivered" else None
            tracker["est_delivery_date"] = None if status == "delivered" else _moment(at + timedelta(days=1))
            self._tell("tracker.updated", tracker, {"status": before})

    def _new(self, prefix: str, object: str) -> _Json:
        self._made += 1
        at = _moment(self.now())
        id = f"{prefix}_{hashlib.sha256(f'{prefix}{self._made}'.encode()).hexdigest()[:32]}"
        return {"id": id, "object": object, "mode": self.mode, "created_at": at, "updated_at": at}


def _common_rates(shipments: list[_Json]) -> list[_Json]:
    """What all shipments together cost, with each service that takes all of them; the id is that of the first."""
    rates = []
    for first in shipments[0]["rates"]:
        wanted = (first["carrier"], first["service"])
        same = [rate for each in shipments for rate in each["rates"] if (rate["carrier"], rate["service"]) == wanted]
        if first["carrier"] in _TAKES_ORDERS and len(same) == len(shipments):
            total = sum((Decimal(rate["rate"]) for rate in same), Decimal(0))
            rates.append(first | {"rate": _amount(total, first["currency"])})
    return rates


def _verified(address: Mapping[str, Any]) -> _Json:
    street, city, code = (str(address[name] or "").strip() for name in ("street1", "city", "zip"))
    if not street or street.startswith("000") or not (city and code and address["country"]):
        wrong = {"code": "E.ADDRESS.NOT_FOUND", "field": "address", "message": "Address not found", "suggestion": None}
        missed = {"success": False, "errors": [wrong], "details": {}}
        return {"verifications": {"zip4": missed | {"details": None}, "delivery": missed}}
    right: _Json = {"success": True, "errors": [], "details": {"time_zone": "America/Boise"}}
    written = {name: str(address[name] or "").strip().upper() for name in ("street1", "street2", "city", "state")}
    if address["country"] == "US" and re.fullmatch("[0-9]{5}", code):
        code += "-2506"
    checks = {"zip4": right | {"details": None}, "delivery": right}
    return {**written, "zip": code, "residential": not address["company"], "verifications": checks}


def _insurance_fee(insured: Decimal) -> Decimal:
    return (
        max(insured * Decimal("0.005"), Decimal("0.50")).quantize(Decimal("0.00001"), ROUND_UP) if insured else insured
    )


def _member(said: Any, name: str) -> _Json:
    """An object inside of what was sent, as a missing one is refused."""
    found = said.get(name) if isinstance(said, dict) else None
    if not isinstance(found, dict) or not found:
        raise _Refused(422, "PARAMETER.REQUIRED", "Missing required parameter.", [_wrong(name, "cannot be blank")])
    return found


def _without(name: str, said: _Json) -> _Json:
    return {each: value for each, value in said.items() if each != name}


def _wrong(field: str, message: str) -> dict[str, str]:
    return {"field": field, "message": message}


def _not_found() -> _Refused:
    return _Refused(404, "NOT_FOUND", "The requested resource could not be found.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def _amount(price: Decimal, currency: str) -> str:
    return str(hub.Money(price, currency)).partition(" ")[0]  # as many decimals as the currency has


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
