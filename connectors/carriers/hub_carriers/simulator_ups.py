"""A simulated UPS: its REST APIs with the refusals of the real one, its depots, its drivers, its Track Alerts."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

import hub
from hub.testing import CarrierSimulator, Charge, SimRequest, SimResponse
from hub_carriers.ups import FOLLOWED, ORIGINS
from hub_carriers.ups_translation import SERVICES

# Service code: price of a parcel in the list, that of this account, business days, its hour.
DOMESTIC = {
    "03": ("12.40", "9.87", 4, ""),
    "02": ("24.90", "19.20", 2, "230000"),
    "01": ("48.10", "39.95", 1, "103000"),
}
ABROAD = {"11": ("21.00", "17.30", 5, ""), "65": ("61.50", "52.40", 3, "235900"), "07": ("74.20", "66.10", 2, "120000")}
HEAVIEST = {"LBS": Decimal(150), "KGS": Decimal(70)}
MOST_PARCELS = 200
TOKEN_SECONDS = 14_399
ALERT_DAYS = 14
HERE = timedelta(hours=-5)  # the time of the depot in which everything is scanned

FILES = {
    "GIF": b"GIF89a\x01\x00\x01\x00\x80\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;",
    "PDF": b"%PDF-1.4\n1 0 obj << >> endobj\ntrailer << >>\n%%EOF\n",
    "ZPL": b"^XA^FO50,50^FDParcel^FS^XZ",
}
# Type, code, detail and text of what can happen to a parcel.
WORDS = {
    hub.TrackingStatus.LABEL_CREATED: (
        "M",
        "MP",
        "003",
        "Shipper created a label, UPS has not received the package yet. ",
    ),
    hub.TrackingStatus.IN_TRANSIT: ("I", "AR", "005", "Arrived at Facility"),
    hub.TrackingStatus.OUT_FOR_DELIVERY: ("I", "OT", "021", "Out For Delivery Today"),
    hub.TrackingStatus.READY_FOR_PICKUP: ("I", "ZP", "040", "Your package is at the UPS Access Point"),
    hub.TrackingStatus.DELIVERED: ("D", "KB", "011", "DELIVERED "),
    hub.TrackingStatus.EXCEPTION: (
        "X",
        "48",
        "048",
        "The receiver was not available at the time of the first attempt.",
    ),
    hub.TrackingStatus.RETURNING: ("RS", "RS", "035", "Return to sender"),
    hub.TrackingStatus.CANCELLED: ("MV", "VP", "007", "Shipment information voided"),
}


@dataclass(slots=True)
class Package:
    """A parcel that has a label."""

    number: str
    activity: list[dict[str, Any]] = field(default_factory=list)
    scanned: bool = False
    voided: bool = False


@dataclass(slots=True)
class Sold:
    """A shipment whose labels were sold."""

    charge: Charge
    packages: list[Package]
    returning: bool
    abroad: bool


class UpsSimulator(CarrierSimulator):
    """One account at UPS."""

    webhook_retries = (1.0, 5.0, 30.0)

    def __init__(self, account: str = "A1B2C3", **options: Any) -> None:
        super().__init__(**options)
        self.origin = ORIGINS["production"]
        self.account = account
        self.client_id = f"client-{account}-of-the-app"
        self.client_secret = f"secret-{account}-of-the-app"
        self.currency = "USD"
        self.negotiated = True
        self.one_without_a_list = False  # the older form: a list of one as that one
        self._tokens: dict[str, datetime] = {}
        self._issued = 0
        self._sold: dict[str, Sold] = {}
        self._alerts: dict[str, tuple[str, str, datetime]] = {}

    # --- the API

    def answer(self, request: SimRequest) -> SimResponse:
        if request.path == "/security/v1/oauth/token":
            return self._issue(request)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self._tokens.get(token, self.now()) <= self.now():
            return _refused(401, "250002", "Invalid Authentication Information.")
        routes: Sequence[tuple[str, str, Callable[..., SimResponse]]] = (
            ("POST", r"/api/rating/v2409/Shop", self._shop),
            ("POST", r"/api/shipments/v2409/ship", self._ship),
            ("DELETE", r"/api/shipments/v2409/void/cancel/([^/]+)", self._void),
            ("POST", r"/api/labels/v1903/recovery", self._recover),
            ("POST", r"/api/addressvalidation/v2/3", self._check_address),
            ("GET", r"/api/track/v1/details/([^/]+)", self._tell_parcel),
            ("POST", r"/api/track/v1/subscription/standard/package", self._subscribe),
        )
        for method, pattern, route in routes:
            found = re.fullmatch(pattern, request.path)
            if found and method == request.method:
                if not (request.headers.get("transid") and request.headers.get("transactionsrc")):
                    return _refused(400, "VSS002", "Missing transId")
                return route(request, *map(unquote, found.groups()))
        return _refused(404, "404", "The requested resource was not found.")

    def error_inside(self, request: SimRequest) -> SimResponse:
        return _refused(200, "10004", "Something went wrong while processing your request, please try again later")

    def _issue(self, request: SimRequest) -> SimResponse:
        pair = base64.b64encode(f"{self.client_id}:{self.client_secret}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {pair}":
            return _refused(401, "10401", "ClientId is Invalid")
        if request.headers.get("x-merchant-id") != self.account:
            return _refused(401, "10401", "Account number is not associated with this client")
        if request.body != b"grant_type=client_credentials":
            return _refused(400, "10400", "Invalid/Missing grant_type")
        self._issued += 1
        token = f"eyJ.{self.account}.{self._issued:06}." + "x" * 1100  # as long as the real ones
        self._tokens[token] = self.now() + timedelta(seconds=TOKEN_SECONDS)
        return _said(
            {
                "token_type": "Bearer",
                "issued_at": str(int(self.now().timestamp() * 1000)),
                "client_id": self.client_id,
                "access_token": token,
                "expires_in": str(TOKEN_SECONDS),
                "status": "approved",
            }
        )

    def forget_tokens(self) -> None:
        """UPS takes none of the tokens any more that it gave out."""
        with self.lock:
            self._tokens.clear()

    # --- rates

    def _shop(self, request: SimRequest) -> SimResponse:
        shipment = request.json()["RateRequest"]["Shipment"]
        if problem := self._problem(shipment, "1112"):
            return _refused(400, *problem)
        prices = _services(shipment)
        pickup = datetime.strptime(shipment["DeliveryTimeInformation"]["Pickup"]["Date"], "%Y%m%d").replace(tzinfo=UTC)
        transit = request.parameter("additionalinfo") == "timeintransit"
        rated = [self._rated(code, shipment, pickup if transit else None) for code in prices]
        alert = {"Code": "110971", "Description": "Your invoice may vary from the displayed reference rates"}
        response = {"ResponseStatus": _SUCCESS, "Alert": [alert]}
        return _said({"RateResponse": {"Response": response, "RatedShipment": self._listed(rated)}})

    def _rated(self, code: str, shipment: Mapping[str, Any], pickup: datetime | None) -> dict[str, Any]:
        _, _, days, hour = _services(shipment)[code]
        unit, weight = _weight_of(shipment)
        said: dict[str, Any] = {
            "Service": {"Code": code, "Description": SERVICES[code]},
            "RatedShipmentAlert": [],
            "BillingWeight": {"UnitOfMeasurement": {"Code": unit, "Description": "Weight"}, "Weight": str(weight)},
            "TransportationCharges": self._charge(code, shipment),
            "ServiceOptionsCharges": self._money(Decimal(0)),
            "TotalCharges": self._charge(code, shipment),
            "RatedPackage": [{"Weight": each["PackageWeight"]["Weight"]} for each in shipment["Package"]],
        }
        if self.negotiated and "NegotiatedRatesIndicator" in shipment.get("ShipmentRatingOptions", {}):
            said["NegotiatedRateCharges"] = {"TotalCharge": self._charge(code, shipment, negotiated=True)}
        if hour:
            said["GuaranteedDelivery"] = {"BusinessDaysInTransit": str(days)}
        if pickup:
            arrival: dict[str, str] = {"Date": _after(pickup, days).strftime("%Y%m%d"), "Time": hour or "233000"}
            summary: dict[str, Any] = {
                "Service": {"Description": SERVICES[code]},
                "EstimatedArrival": {
                    "Arrival": arrival,
                    "BusinessDaysInTransit": str(days),
                    "Pickup": {"Date": pickup.strftime("%Y%m%d"), "Time": "180000"},
                    "DayOfWeek": _after(pickup, days).strftime("%a").upper(),
                },
            }
            if hour:
                summary["GuaranteedIndicator"] = ""
            said["TimeInTransit"] = {
                "PickupDate": pickup.strftime("%Y%m%d"),
                "PackageBillType": shipment["DeliveryTimeInformation"]["PackageBillType"],
                "ServiceSummary": summary,
            }
        return said

    def _problem(self, shipment: Mapping[str, Any], family: str) -> tuple[str, str] | None:
        """The code and words with which UPS refuses a shipment."""
        if shipment["Shipper"].get("ShipperNumber") != self.account:
            return "120100", "Missing or invalid shipper number"
        if not 1 <= len(shipment["Package"]) <= MOST_PARCELS:
            return "111030", "The number of packages is invalid."
        for who in ("ShipFrom", "ShipTo"):
            place = shipment[who]["Address"]
            if problem := _misplaced(place):
                return f"{family}86", problem
        for package in shipment["Package"]:
            weight = package["PackageWeight"]
            unit = weight["UnitOfMeasurement"]["Code"]
            if not 0 < Decimal(weight["Weight"]) <= HEAVIEST[unit]:
                return (
                    "111035",
                    f"The maximum per package weight for the selected service is {HEAVIEST[unit]}.00 {unit}.",
                )
        return None

    def _charge(self, code: str, shipment: Mapping[str, Any], *, negotiated: bool = False) -> dict[str, str]:
        listed, own, _, _ = _services(shipment)[code]
        return self._money(Decimal(own if negotiated else listed) * len(shipment["Package"]))

    def _money(self, amount: Decimal) -> dict[str, str]:
        return {"CurrencyCode": self.currency, "MonetaryValue": str(hub.Money(amount, self.currency)).partition(" ")[0]}

    def _listed(self, several: list[Any]) -> Any:
        return several[0] if self.one_without_a_list and len(several) == 1 else several

    # --- labels

    def _ship(self, request: SimRequest) -> SimResponse:
        order = request.json()["ShipmentRequest"]
        shipment, format = order["Shipment"], order["LabelSpecification"]["LabelImageFormat"]["Code"]
        code = shipment["Service"]["Code"]
        if problem := self._problem(shipment, "1208") or self._not_to_be_sold(shipment, format):
            return _refused(400, *problem)
        unit, weight = _weight_of(shipment)
        own = self.negotiated and "NegotiatedRatesIndicator" in shipment.get("ShipmentRatingOptions", {})
        cost = self._charge(code, shipment, negotiated=own)
        packages = [Package(self._number(code, len(self._sold), at)) for at, _ in enumerate(shipment["Package"])]
        id, numbers = packages[0].number, tuple(package.number for package in packages)
        heard = hub.Weight(weight, hub.WeightUnit.POUND if unit == "LBS" else hub.WeightUnit.KILOGRAM)
        money = hub.Money.of(cost["MonetaryValue"], cost["CurrencyCode"])
        charge = Charge(_reference(shipment), id, numbers, money, heard)
        self._sold[id] = Sold(
            charge, packages, "ReturnService" in shipment, _countries(shipment)[0] != _countries(shipment)[1]
        )
        for package in packages:
            self._scan(package, *WORDS[hub.TrackingStatus.LABEL_CREATED])
        results: dict[str, Any] = {
            "ShipmentCharges": {
                "TransportationCharges": self._charge(code, shipment),
                "ServiceOptionsCharges": self._money(Decimal(0)),
                "TotalCharges": self._charge(code, shipment),
            },
            "BillingWeight": {"UnitOfMeasurement": {"Code": unit, "Description": "Weight"}, "Weight": str(weight)},
            "ShipmentIdentificationNumber": id,
            "PackageResults": self._listed([_packed(package, format) for package in packages]),
        }
        if own:
            results["NegotiatedRateCharges"] = {"TotalCharge": cost}
        if "InternationalForms" in shipment.get("ShipmentServiceOptions", {}):
            results["Form"] = {
                "Code": "01",
                "Description": "All Requested International Forms",
                "Image": {"ImageFormat": {"Code": "PDF", "Description": "PDF"}, "GraphicImage": _file("PDF")},
            }
        return _said({"ShipmentResponse": {"Response": {"ResponseStatus": _SUCCESS}, "ShipmentResults": results}})

    def _not_to_be_sold(self, shipment: Mapping[str, Any], format: str) -> tuple[str, str] | None:
        origin, destination = _countries(shipment)
        if shipment["Service"]["Code"] not in _services(shipment):
            return "121210", "The selected service is not available from the origin to the destination."
        if format not in ("GIF", "ZPL", "EPL", "SPL"):
            return "121000", "Invalid label image format."
        references = ["ReferenceNumber" in each for each in shipment["Package"]]
        on_parcels = (origin, destination) in (("US", "US"), ("PR", "PR"))
        if any(references) and not on_parcels:
            return "120541", "Package level reference numbers are not allowed for this origin and destination."
        if "ReferenceNumber" in shipment and on_parcels:
            return "120540", "Shipment level reference numbers are not allowed for this origin and destination."
        charges = shipment["PaymentInformation"]["ShipmentCharge"]
        if any(each["BillShipper"]["AccountNumber"] != self.account for each in charges):
            return "120105", "The BillShipper account number must be the shipper's account number."
        if "ReturnService" in shipment and not all(each.get("Description") for each in shipment["Package"]):
            return "120602", "A package description is required for return service."
        if origin != destination and "Phone" not in shipment["ShipTo"]:
            return "120213", "Missing ShipTo phone number"
        forms = shipment.get("ShipmentServiceOptions", {}).get("InternationalForms")
        if forms and origin == destination:
            return "128030", "International forms are not allowed for domestic shipments."
        return None

    def _number(self, service: str, shipment: int, at: int) -> str:
        body = f"{self.account}{service}{shipment + 1:05}{at:02}"
        return f"1Z{body}{self.check_digit(body)}"

    @staticmethod
    def check_digit(body: str) -> int:
        """The last digit of a parcel's number, by what stands between it and 1Z."""
        values = [int(letter) if letter.isdigit() else (ord(letter) - 63) % 10 for letter in body]
        return -(sum(values[0::2]) + 2 * sum(values[1::2])) % 10

    def _void(self, request: SimRequest, id: str) -> SimResponse:
        sold = self._sold.get(id)
        if sold is None:
            return _refused(400, "190100", "Invalid ShipmentIdentificationNumber.")
        named = request.parameter("trackingnumber")
        numbers = json.loads(named) if named.startswith("[") else [named] if named else []
        packages = [package for package in sold.packages if not numbers or package.number in numbers]
        if numbers and (sold.returning or sold.abroad):
            what = "Return Service" if sold.returning else "International"
            return _refused(400, "190112" if sold.returning else "190113", f"{what} Shipments cannot be Voided singly.")
        if len(packages) < len(numbers):
            return _refused(400, "190109", "Invalid TrackingNumber")
        if all(package.voided for package in packages):
            return _refused(400, "190117", "The Shipment has already been voided")
        if all(package.scanned for package in packages):
            return _refused(400, "190102", "No shipment found within the allowed void period")
        for package in packages:
            if not package.scanned and not package.voided:
                package.voided = True
                self._scan(package, *WORDS[hub.TrackingStatus.CANCELLED])
        if all(package.voided for package in sold.packages):
            sold.charge = replace(sold.charge, voided=True)
        complete = all(package.voided for package in packages)
        summary = (
            {"Code": "1", "Description": "Voided"} if complete else {"Code": "0", "Description": "Partially Voided"}
        )
        told = [
            {"TrackingNumber": each.number, "Status": {"Code": str(int(each.voided)), "Description": _void_word(each)}}
            for each in packages
        ]
        answer: dict[str, Any] = {"Response": {"ResponseStatus": _SUCCESS}, "SummaryResult": {"Status": summary}}
        if len(sold.packages) > 1:
            answer["PackageLevelResults"] = self._listed(told)
        return _said({"VoidShipmentResponse": answer})

    def _recover(self, request: SimRequest) -> SimResponse:
        wanted = request.json()["LabelRecoveryRequest"]
        format = wanted.get("LabelSpecification", {}).get("LabelImageFormat", {}).get("Code", "GIF")
        if format not in FILES:
            return _refused(400, "300013", "Invalid Label Print Method")
        if number := wanted.get("TrackingNumber"):
            found = [sold for sold in self._sold.values() if number in sold.charge.tracking_numbers]
        elif references := wanted.get("ReferenceValues"):
            if references.get("ShipperNumber") != self.account:
                return _refused(400, "300031", "Invalid Shipper Number")
            value = references["ReferenceNumber"]["Value"]
            found = [sold for sold in self._sold.values() if sold.charge.reference == value]
        else:
            return _refused(400, "300005", "Either tracking number or reference plus shipper number required")
        if not found:
            return _refused(400, "300007", "The shipment for the requested tracking number could not be found.")
        alive = [sold for sold in found if not sold.charge.voided]
        if not alive:
            return _refused(400, "300033", "The shipment for which you are trying to recover a label has been voided.")
        if len(alive) > 1:
            return _refused(400, "300001", "Multiple shipments found for the request")
        (sold,) = alive
        results = []
        for at, package in enumerate(sold.packages):
            result: dict[str, Any] = {"TrackingNumber": package.number}
            if format != "PDF" or at == 0:  # one PDF has the labels of all parcels
                result["LabelImage"] = {"LabelImageFormat": {"Code": format}, "GraphicImage": _file(format)}
            results.append(result)
        answer: dict[str, Any] = {
            "Response": {"ResponseStatus": _SUCCESS},
            "ShipmentIdentificationNumber": sold.charge.label_external_id,
            "LabelResults": self._listed(results),
        }
        if sold.abroad:
            answer["Form"] = {"Image": {"ImageFormat": {"Code": "PDF"}, "GraphicImage": _file("PDF")}}
        return _said({"LabelRecoveryResponse": answer})

    # --- addresses

    def _check_address(self, request: SimRequest) -> SimResponse:
        asked = request.json()["XAVRequest"]["AddressKeyFormat"]
        answer: dict[str, Any] = {"Response": {"ResponseStatus": _SUCCESS}}
        if asked["CountryCode"] not in ("US", "PR"):
            return _refused(400, "264004", "The country or territory is not supported.")
        lines = [line.upper() for line in asked.get("AddressLine", [])]
        city, state = asked.get("PoliticalDivision2", "").upper(), asked.get("PoliticalDivision1", "").upper()
        low = asked.get("PostcodePrimaryLow", "")
        if not (lines and re.fullmatch(r"[0-9]{5}", low) and state):
            return _said({"XAVResponse": {**answer, "NoCandidatesIndicator": ""}})

        def candidate(*street: str) -> dict[str, Any]:
            key = {"AddressLine": list(street), "PoliticalDivision2": city, "PoliticalDivision1": state}
            key |= {"PostcodePrimaryLow": low, "PostcodeExtendedLow": "0001", "CountryCode": asked["CountryCode"]}
            kind = {"Code": "2", "Description": "Residential"}
            return {"AddressClassification": kind, "AddressKeyFormat": key}

        answer["AddressClassification"] = {"Code": "2", "Description": "Residential"}
        if not re.match(r"[0-9]", lines[0]):
            found = [candidate(f"1-99 {lines[0]}"), candidate(f"100-199 {lines[0]}")]
            answer["AddressClassification"] = {"Code": "0", "Description": "UnClassified"}
            return _said({"XAVResponse": {**answer, "AmbiguousAddressIndicator": "", "Candidate": found}})
        found = [candidate(*(line.replace("STREET", "ST") for line in lines))]
        return _said({"XAVResponse": {**answer, "ValidAddressIndicator": "", "Candidate": self._listed(found)}})

    # --- parcels

    def _tell_parcel(self, request: SimRequest, number: str) -> SimResponse:
        package = self._package(number)
        if package is None:
            return _refused(404, "TW0001", "Tracking Information Not Found")
        now = package.activity[0]["status"]
        told: dict[str, Any] = {
            "trackingNumber": number,
            "deliveryDate": [{"type": "SDD", "date": (self.now() + timedelta(days=2)).strftime("%Y%m%d")}],
            "deliveryTime": {"type": "EOD"},
            "activity": package.activity,
            "currentStatus": {
                "type": now["type"],
                "description": now["description"],
                "code": now["statusCode"] or now["code"],
                "statusCode": now["statusCode"],
            },
            "packageAddress": [
                {
                    "type": "DESTINATION",
                    "address": {"city": "NEW YORK", "stateProvince": "NY", "countryCode": "US", "country": "US"},
                }
            ],
        }
        if now["statusCode"] == "011":
            told["deliveryDate"] = [{"type": "DEL", "date": package.activity[0]["date"]}]
            told["deliveryTime"] = {"type": "DEL", "endTime": package.activity[0]["time"]}
            told["deliveryInformation"] = {"location": "Front Door", "receivedBy": "BYRON"}
        return _said({"trackResponse": {"shipment": [{"inquiryNumber": number, "package": [told]}]}})

    def _package(self, number: str) -> Package | None:
        packages = (package for sold in self._sold.values() for package in sold.packages)
        return next((package for package in packages if package.number == number), None)

    def _scan(self, package: Package, type: str, code: str, detail: str, text: str) -> None:
        at = self.now().astimezone(UTC)
        there = at + HERE
        address = {"city": "ATLANTA", "stateProvince": "GA", "countryCode": "US", "country": "US"}
        package.activity.insert(
            0,
            {
                "location": {"address": address, "slic": "3030"},
                "status": {"type": type, "description": text, "code": code, "statusCode": detail},
                "date": there.strftime("%Y%m%d"),
                "time": there.strftime("%H%M%S"),
                "gmtDate": at.strftime("%Y%m%d"),
                "gmtOffset": "-05:00",
                "gmtTime": at.strftime("%H%M%S").lstrip("0") or "0",
            },
        )
        self._push(package.number, type, code, text, at)

    # --- Track Alert

    def _subscribe(self, request: SimRequest) -> SimResponse:
        said = request.json()
        numbers, where = said.get("trackingNumberList"), said.get("destination", {})
        if not re.fullmatch(r"[a-z]{2}_[A-Z]{2}", said.get("locale", "")):
            return _refused(400, "VSS300", "Locale is required. The Subscription request has been rejected.")
        if not numbers:
            return _refused(
                400, "VSS200", "Tracking Number List is required. The Subscription request has been rejected."
            )
        if len(numbers) > 100:
            return _refused(400, "VSS220", "You have submitted over 100 tracking numbers which is not allowed.")
        if not where:
            return _refused(400, "VSS500", "Destination is required. The Subscription request has been rejected")
        if not where.get("url"):
            return _refused(400, "VSS600", "URL is empty or not present. The Subscription request has been rejected.")
        if not where.get("credential"):
            return _refused(
                400, "VSS700", "Credential is empty or not present. The Subscription request has been rejected."
            )
        if not where.get("credentialType"):
            return _refused(
                400, "VSS800", "CredentialType is empty or not present. The Subscription request has been rejected."
            )
        if said["locale"] != "en_US":
            return _refused(400, "VSS310", "Please enter a valid locale. The Subscription request has been rejected")
        valid = [number for number in numbers if re.fullmatch(FOLLOWED, number)]
        invalid = [number for number in numbers if number not in valid]
        if not valid:
            return _refused(400, "VSS210", "The Subscription request should have at least one valid tracking number.")
        ends = self.now() + timedelta(days=ALERT_DAYS)
        self._alerts |= dict.fromkeys(valid, (where["url"], where["credential"], ends))
        return _said({"validTrackingNumbers": valid, "invalidTrackingNumbers": invalid})

    def _push(self, number: str, type: str, code: str, text: str, at: datetime) -> None:
        address, credential, ends = self._alerts.get(number, ("", "", at))
        if ends <= at:
            return
        there = at + HERE
        body = {
            "trackingNumber": number,
            "localActivityDate": there.strftime("%Y%m%d"),
            "localActivityTime": there.strftime("%H%M%S"),
            "activityLocation": {"city": "Atlanta", "stateProvince": "GA", "postalCode": "30301", "country": "US"},
            "activityStatus": {"type": type, "code": code, "description": text},
            "gmtActivityDate": at.strftime("%Y%m%d"),
            "gmtActivityTime": at.strftime("%H%M%S"),
        }
        headers = {
            "Content-Type": "application/json",
            "credential": credential,
            "User-Agent": "UPSPubSubTrackingService",
        }
        self.deliver(address, headers, json.dumps(body).encode())

    # --- its accounts, depots and drivers

    def settings(self) -> dict[str, str]:
        return {
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "account_number": self.account,
            "environment": "production",
        }

    def example(self, reference: str, parcels: int = 1) -> hub.Shipment:
        shop = hub.Address(
            company="Corner",
            name="Sam Weller",
            line1="1 Peachtree St NW",
            city="Atlanta",
            region="GA",
            postcode="30303",
            country="US",
            phone="+1 404 555 0100",
        )
        home = hub.Address(
            name="Ada Byron",
            line1="350 5th Ave",
            city="New York",
            region="NY",
            postcode="10118",
            country="US",
            phone="212 555 0199",
        )
        box = hub.Parcel(weight=hub.Weight.of("2.6", hub.WeightUnit.POUND))
        return hub.Shipment(reference=reference, origin=shop, destination=home, parcels=(box,) * parcels)

    def charges(self) -> list[Charge]:
        with self.lock:
            return [sold.charge for sold in self._sold.values()]

    def scan(self, tracking_number: str, status: hub.TrackingStatus) -> None:
        with self.lock:
            self._handed_over(tracking_number, *WORDS[status])

    def scan_oddly(self, tracking_number: str, word: str) -> None:
        with self.lock:
            self._handed_over(tracking_number, word, "", "", word)

    def price_in(self, currency: str) -> None:
        with self.lock:
            self.currency = currency

    def _handed_over(self, number: str, *word: str) -> None:
        package = self._package(number)
        if package is None:
            raise LookupError(f"There is no parcel {number}.")
        package.scanned = package.scanned or word[0] not in ("M", "MV")
        self._scan(package, *word)


_SUCCESS = {"Code": "1", "Description": "Success"}


def _countries(shipment: Mapping[str, Any]) -> tuple[str, str]:
    return shipment["ShipFrom"]["Address"]["CountryCode"], shipment["ShipTo"]["Address"]["CountryCode"]


def _services(shipment: Mapping[str, Any]) -> Mapping[str, tuple[str, str, int, str]]:
    origin, destination = _countries(shipment)
    return DOMESTIC if origin == destination == "US" else ABROAD


def _misplaced(place: Mapping[str, Any]) -> str:
    country, postcode = place["CountryCode"], place.get("PostalCode", "")
    if country == "US" and not re.fullmatch(r"[0-9]{5}([0-9]{4})?", postcode):
        return f"The postal code {postcode} is invalid for {place.get('StateProvinceCode', '')} United States."
    if country in ("US", "CA") and not place.get("StateProvinceCode"):
        return "The state is missing."
    return ""


def _weight_of(shipment: Mapping[str, Any]) -> tuple[str, Decimal]:
    weights = [package["PackageWeight"] for package in shipment["Package"]]
    total = sum((Decimal(weight["Weight"]) for weight in weights), Decimal(0))
    return weights[0]["UnitOfMeasurement"]["Code"], total


def _reference(shipment: Mapping[str, Any]) -> str:
    (told, *_) = shipment.get("ReferenceNumber") or shipment["Package"][0].get("ReferenceNumber") or [{"Value": ""}]
    return str(told["Value"])


def _after(day: datetime, business_days: int) -> datetime:
    while business_days:
        day += timedelta(days=1)
        business_days -= day.weekday() < 5
    return day


def _file(format: str) -> str:
    return base64.b64encode(FILES[format]).decode()


def _packed(package: Package, format: str) -> dict[str, Any]:
    image = {"ImageFormat": {"Code": format, "Description": format}, "GraphicImage": _file(format)}
    return {"TrackingNumber": package.number, "ShippingLabel": image}


def _void_word(package: Package) -> str:
    return "Voided" if package.voided else "Not voided"


def _said(value: Mapping[str, Any], status: int = 200) -> SimResponse:
    return SimResponse.of_json(value, status)


def _refused(status: int, code: str, message: str) -> SimResponse:
    return SimResponse.of_json({"response": {"errors": [{"code": code, "message": message}]}}, status)
