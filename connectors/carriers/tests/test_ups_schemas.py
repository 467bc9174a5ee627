"""What UPS publishes: every request the connector makes, and every answer the simulator gives, against its schemas.

The schemas contradict UPS's own documentation in a few places. Those are named in EXCEPTIONS, one by one, with why the
documentation is followed there; nothing else is let through.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
import yaml
from jsonschema import Draft4Validator, Draft202012Validator

import hub
from hub.testing import Fault, SimRequest, SimResponse, connector_for
from hub_carriers.simulator_ups import UpsSimulator
from hub_carriers.ups import UpsConnector

SPECS = Path(os.environ.get("TALLYHUB_SPECS") or Path(__file__).parents[4] / "shared" / "specs") / "ups"

pytestmark = pytest.mark.skipif(
    not SPECS.is_dir(), reason="Set TALLYHUB_SPECS to the folder with UPS's published descriptions of its APIs."
)

# (API, what of it, where in the body, what the schema says there) -> why it is right all the same.
EXCEPTIONS = {
    (
        "Rating",
        "request",
        "RateRequest.Shipment.Package.PackageServiceOptions.DeclaredValue.MonetaryValue",
        "is too short",
    ): "Exactly eight characters are asked for; the greatest value, as told beside, has eleven.",
    ("Shipping", "request", "LabelRecoveryRequest", "'TrackingNumbers' is a required property"): (
        "That member is for parcels of Roadie alone, says its description."
    ),
    ("Shipping", "request", "LabelRecoveryRequest", "'ReferenceValues' is a required property"): (
        "“Required if TrackingNumber … is not populated”, says its description: it is."
    ),
    ("Shipping", "request", "LabelRecoveryRequest.LabelSpecification.LabelImageFormat.Code", "is too short"): (
        "Four letters are asked for; the values that are listed, PDF and ZPL, have three."
    ),
    ("Shipping", "answer", "LabelRecoveryResponse.LabelResults.LabelImage.LabelImageFormat.Code", "is too short"): (
        "As in the request."
    ),
    ("Shipping", "answer", "ShipmentResponse.ShipmentResults.BillingWeight.Weight", "is too short"): (
        "Eight characters are asked for; UPS writes “2.6”."
    ),
}

PATHS = {
    "/security/v1/oauth/token": ("OAuthClientCredentials", "/security/v1/oauth/token", {}),
    "/api/rating/v2409/Shop": ("Rating", "/rating/{version}/{requestoption}", {"version": "v2409"}),
    "/api/shipments/v2409/ship": ("Shipping", "/shipments/{version}/ship", {"version": "v2409"}),
    "/api/shipments/v2409/void/cancel/": (
        "Shipping",
        "/shipments/{version}/void/cancel/{shipmentidentificationnumber}",
        {"version": "v2409"},
    ),
    "/api/labels/v1903/recovery": ("Shipping", "/labels/{version}/recovery", {"version": "V1903"}),
    "/api/addressvalidation/v2/3": (
        "AddressValidation",
        "/addressvalidation/{version}/{requestoption}",
        {"version": "v2"},
    ),
    "/api/track/v1/details/": ("Tracking", "/track/v1/details/{inquiryNumber}", {}),
    # Version 1, which UPS goes on to support: in version 2 the address of the hook is typed in on a page of UPS's.
    "/api/track/v1/subscription/standard/package": ("UPSTrackAlert", "/subscription/{type}/package", {}),
}


@cache
def published(api: str) -> dict[str, Any]:
    """The description of an API; two of them have tabs, which YAML does not allow."""
    text = (SPECS / f"{api}.yaml").read_text(encoding="utf-8").expandtabs(4)
    described: dict[str, Any] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    return described


def operation(request: SimRequest) -> tuple[str, Mapping[str, Any]]:
    """The API and the description of the call that a request makes."""
    api, path, _ = next(entry for begin, entry in PATHS.items() if request.path.startswith(begin))
    found: Mapping[str, Any] = published(api)["paths"][path][request.method.lower()]
    return api, found


def faults(api: str, what: str, schema: Any, value: Any) -> list[str]:
    """Where a value is not as the schema of an API says, but for the exceptions."""
    described = published(api)
    kind = Draft202012Validator if described["openapi"].startswith("3.1") else Draft4Validator
    found = []
    for error in kind({**schema, "components": described["components"]}).iter_errors(value):
        where = ".".join(str(part) for part in error.absolute_path if not isinstance(part, int))
        if not any(
            (of, kind_of, place) == (api, what, where) and error.message.endswith(words)
            for of, kind_of, place, words in EXCEPTIONS
        ):
            found.append(f"{api} {what} {where}: {error.message[:200]}")
    return found


def undocumented(request: SimRequest, answer: SimResponse) -> list[str]:
    """What of a request or its answer is not as UPS describes it."""
    api, described = operation(request)
    found = []
    parameters = [each if "in" in each else _parameter(api, each) for each in described.get("parameters", ())]
    known = {each["name"].lower() for each in parameters if each["in"] == "query"}
    found += [f"{request.path} has no parameter {name}" for name, _ in request.query if name.lower() not in known]
    for each in parameters:
        if each["in"] == "header" and each["name"] in ("transId", "transactionSrc"):
            told = request.headers.get(each["name"].lower(), "")
            if not 1 <= len(told) <= 32:
                found.append(f"{request.path}: {each['name']} is {told!r}")
    content = described.get("requestBody", {}).get("content", {})
    if schema := content.get("application/json", {}).get("schema"):
        found += faults(api, "request", schema, json.loads(request.body))
    elif form := content.get("application/x-www-form-urlencoded", {}).get("schema"):
        found += faults(api, "request", form, dict(parse_qsl(request.body.decode())))
    elif request.body:
        found.append(f"{request.path} takes no body")
    answers = described["responses"].get(str(answer.status))
    if answers is None:
        return [*found, f"{request.path} answers no {answer.status}"]
    return found + faults(api, "answer", answers["content"]["application/json"]["schema"], answer.json())


def _parameter(api: str, reference: Mapping[str, str]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = published(api)["components"]["parameters"][reference["$ref"].rpartition("/")[2]]
    return found


class Watched(UpsSimulator):
    """A simulator that keeps what it was asked and what it answered."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.said: list[tuple[SimRequest, SimResponse]] = []

    def answer(self, request: SimRequest) -> SimResponse:
        response = super().answer(request)
        self.said.append((request, response))
        return response

    def faults(self) -> list[str]:
        assert self.said, "Nothing was asked."
        return [fault for request, answer in self.said for fault in undocumented(request, answer)]


@pytest.fixture
def vendor() -> Iterator[Watched]:
    with Watched() as simulator:
        yield simulator


@pytest.fixture
def connector(vendor: Watched) -> UpsConnector:
    return connector_for(UpsConnector, vendor)


def bought(connector: UpsConnector, shipment: hub.Shipment, format: str = "PDF") -> hub.Label:
    rate = connector.rates(shipment).rates[0]
    return connector.buy_label(
        hub.LabelPurchase(shipment=shipment, rate=rate, format=hub.DocumentFormat[format]), "key"
    )


LEEDS = hub.Address(
    name="Ada Byron", line1="7 Mill Lane", city="Leeds", postcode="LS1 4DY", country="GB", phone="0113 1"
)
GOODS = hub.CustomsItem(
    description="Mug of stoneware, glazed, with a picture",
    quantity=2,
    unit_value=hub.Money.of("12.50", "USD"),
    unit_weight=hub.Weight.of("0.9", hub.WeightUnit.POUND),
    origin_country="US",
    hs_code="6912.00",
    sku="MUG-1",
)


def abroad(vendor: UpsSimulator, **changes: Any) -> hub.Shipment:
    customs = hub.Customs(contents=hub.ContentsType.MERCHANDISE, items=(GOODS,), incoterm="DDP", signer="Sam Weller")
    return replace(vendor.example("R-9"), destination=LEEDS, customs=customs, **changes)


def boxed(shipment: hub.Shipment) -> hub.Shipment:
    parcel = replace(
        shipment.parcels[0],
        dimensions=hub.Dimensions.of("8.5", "12", "4", hub.LengthUnit.INCH),
        insured=hub.Money.of("250", "USD"),
    )
    return replace(shipment, parcels=(parcel, *shipment.parcels[1:]))


SHIPMENTS = {
    "one parcel": lambda vendor: vendor.example("R-1"),
    "three parcels": lambda vendor: vendor.example("R-2", 3),
    "insured, signed for, on another day": lambda vendor: replace(
        boxed(vendor.example("R-3")), signature=True, email="ada@example.com", ship_on=date(2026, 3, 3)
    ),
    "a return": lambda vendor: replace(
        vendor.example("R-4"),
        origin=vendor.example("R-4").destination,
        destination=vendor.example("R-4").origin,
        returning=True,
    ),
    "abroad": lambda vendor: boxed(abroad(vendor, signature=True)),
    "documents abroad": lambda vendor: replace(
        abroad(vendor), customs=hub.Customs(contents=hub.ContentsType.DOCUMENTS, items=(GOODS,))
    ),
}


@pytest.mark.parametrize("what", SHIPMENTS)
@pytest.mark.parametrize("format", ["PDF", "ZPL"])
def test_a_label_is_asked_for_and_sold_as_ups_describes_it(vendor: Watched, what: str, format: str) -> None:
    connector = connector_for(UpsConnector, vendor, now=lambda: datetime(2026, 3, 1, tzinfo=UTC))
    label = bought(connector, SHIPMENTS[what](vendor), format)
    connector.fetch_documents(label, hub.DocumentFormat[format])
    connector.void_label(label, "key")
    connector.void_label(label, "again")

    assert vendor.faults() == []


def test_what_was_lost_is_looked_for_as_ups_describes_it(vendor: Watched, connector: UpsConnector) -> None:
    shipment = vendor.example("R-1", 2)
    purchase = hub.LabelPurchase(shipment=shipment, rate=connector.rates(shipment).rates[0])
    assert connector.find_buy_label(purchase, "key") is None
    vendor.fail_next("/api/shipments", Fault.reset())
    with pytest.raises(hub.Unavailable):
        connector.buy_label(purchase, "key")

    assert connector.find_buy_label(purchase, "key") is not None
    assert vendor.faults() == []


def test_a_part_of_a_shipment_is_voided_as_ups_describes_it(vendor: Watched, connector: UpsConnector) -> None:
    label = bought(connector, vendor.example("R-1", 3))
    connector.void_label(replace(label, tracking_numbers=label.tracking_numbers[1:]), "key")
    connector.void_label(replace(label, tracking_numbers=label.tracking_numbers[:1]), "key")

    assert [dict(request.query) for request, _ in vendor.said if request.method == "DELETE"] == [
        {"trackingnumber": json.dumps(label.tracking_numbers[1:], separators=(",", ":"))},
        {"trackingnumber": label.tracking_numbers[0]},
    ]
    assert vendor.faults() == []


@pytest.mark.parametrize(
    "line",
    ["350 5th Ave", "Fifth Avenue", "350 Fifth Street"],
)
def test_an_address_is_checked_as_ups_describes_it(vendor: Watched, connector: UpsConnector, line: str) -> None:
    connector.validate_address(
        replace(vendor.example("R-1").destination, line1=line, line2="Floor 3", postcode="10118-0110")
    )
    connector.validate_address(replace(vendor.example("R-1").destination, postcode=""))

    assert vendor.faults() == []


@pytest.mark.parametrize("status", [each for each in hub.TrackingStatus if each is not hub.TrackingStatus.UNKNOWN])
def test_a_parcel_is_followed_as_ups_describes_it(
    vendor: Watched, connector: UpsConnector, status: hub.TrackingStatus
) -> None:
    label = bought(connector, vendor.example("R-1"))
    vendor.scan(label.tracking_numbers[0], status)

    assert [connector.read_tracking(record).status for record in connector.track(label)] == [status]
    assert list(connector.track(replace(label, tracking_numbers=("1Z9999999999999999",)))) == []
    assert vendor.faults() == []


def test_track_alerts_are_subscribed_and_sent_as_ups_describes_them(vendor: Watched, connector: UpsConnector) -> None:
    label = bought(connector, vendor.example("R-1"))
    vendor.hold_webhooks()
    refused = connector.follow_parcels([*label.tracking_numbers, "not-one"], "https://hub.example/hooks/1")
    assert refused == ("not-one",)
    for status in (hub.TrackingStatus.IN_TRANSIT, hub.TrackingStatus.DELIVERED):
        vendor.scan(label.tracking_numbers[0], status)

    schema = {"$ref": "#/components/schemas/TrackingEventRequest"}
    letters = vendor.take_webhooks()
    assert len(letters) == 2
    assert [fault for each in letters for fault in faults("UPSTrackAlert", "push", schema, json.loads(each.body))] == []
    assert vendor.faults() == []


def test_refusals_are_worded_as_ups_describes_them(vendor: Watched, connector: UpsConnector) -> None:
    shipment = vendor.example("R-1")
    nowhere = replace(shipment, destination=replace(shipment.destination, postcode="ABC"))
    with pytest.raises(hub.Rejected, match="The postal code ABC is invalid"):
        connector.rates(nowhere)
    rate = replace(connector.rates(shipment).rates[0], service="11")
    with pytest.raises(hub.Rejected, match="not available from the origin to the destination"):
        connector.buy_label(hub.LabelPurchase(shipment=shipment, rate=rate), "key")
    vendor.forget_tokens()
    connector.check()

    assert [answer.status for _, answer in vendor.said] == [200, 400, 200, 400, 200]
    assert vendor.faults() == []


def test_each_path_is_one_that_ups_publishes() -> None:
    for begin, (api, path, fixed) in PATHS.items():
        described = published(api)["paths"][path]
        version = next((each for each in _parameters(described) if each.get("name") == "version"), None)
        if fixed:
            assert version is not None, begin
            assert fixed["version"] in f"{version['schema']} {version['description']}", begin


def _parameters(described: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [each for call in described.values() for each in call.get("parameters", ())]


def test_each_exception_is_one_that_occurs(vendor: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """What UPS corrects in its schemas is no exception any more."""
    monkeypatch.setitem(globals(), "EXCEPTIONS", {})
    connector = connector_for(UpsConnector, vendor)
    label = bought(connector, boxed(vendor.example("R-1")))
    connector.fetch_documents(label, hub.DocumentFormat.PDF)
    shipment = vendor.example("R-2")
    connector.find_buy_label(hub.LabelPurchase(shipment=shipment, rate=connector.rates(shipment).rates[0]), "key")
    found = {re.sub(r": '[^']*' is too", ": is too", fault) for fault in vendor.faults()}

    assert found == {f"{api} {what} {where}: {words}" for api, what, where, words in _EXPECTED}


_EXPECTED = tuple(EXCEPTIONS)
