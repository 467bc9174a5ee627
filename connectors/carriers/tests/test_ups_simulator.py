"""The simulated UPS refuses what UPS refuses, with its codes, and leaves everything else as it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest

import hub
from hub.testing import SimRequest, connector_for
from hub_carriers.simulator_ups import UpsSimulator
from hub_carriers.ups import UpsConnector

HEADERS = {"transid": "t", "transactionsrc": "test"}


@pytest.fixture
def vendor() -> Iterator[UpsSimulator]:
    with UpsSimulator() as simulator:
        yield simulator


def order(vendor: UpsSimulator) -> dict[str, Any]:
    """An order for a label that UPS takes."""
    connector = connector_for(UpsConnector, vendor)
    shipment = vendor.example("R-0", 2)
    connector.buy_label(hub.LabelPurchase(shipment=shipment, rate=connector.rates(shipment).rates[0]), "key")
    body: dict[str, Any] = vendor.requests[-1].json()
    return body


def send(vendor: UpsSimulator, method: str, path: str, body: Any = None, **query: str) -> tuple[int, str]:
    """The status of the answer and UPS's code in it."""
    connector_for(UpsConnector, vendor).check()
    token = vendor.requests[-1]
    assert token.path == "/security/v1/oauth/token"
    value = vendor.handle(token).json()["access_token"]
    headers = {**HEADERS, "authorization": f"Bearer {value}"}
    answer = vendor.handle(SimRequest(method, path, tuple(query.items()), headers, json.dumps(body).encode()))
    errors = answer.json().get("response", {}).get("errors", [{"code": ""}])
    return answer.status, errors[0]["code"]


def _put(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(order: dict[str, Any]) -> None:
        place: Any = order["ShipmentRequest"]
        for name in path[:-1]:
            place = place.setdefault(name, {}) if isinstance(place, dict) else place[name]
        place[path[-1]] = value

    return change


SHIP = "/api/shipments/v2409/ship"
WRONG_ORDERS = {
    "another account": (_put("Shipment", "Shipper", "ShipperNumber", value="ZZZZZZ"), "120100"),
    "a payer that is another": (
        _put(
            "Shipment",
            "PaymentInformation",
            "ShipmentCharge",
            value=[{"Type": "01", "BillShipper": {"AccountNumber": "ZZZZZZ"}}],
        ),
        "120105",
    ),
    "no parcel": (_put("Shipment", "Package", value=[]), "111030"),
    "a ZIP code that is none": (_put("Shipment", "ShipTo", "Address", "PostalCode", value="1234"), "120886"),
    "no state": (_put("Shipment", "ShipTo", "Address", "StateProvinceCode", value=""), "120886"),
    "too heavy a parcel": (_put("Shipment", "Package", 1, "PackageWeight", "Weight", value="150.1"), "111035"),
    "a service of another lane": (_put("Shipment", "Service", "Code", value="11"), "121210"),
    "a picture that is not printed": (_put("LabelSpecification", "LabelImageFormat", "Code", value="PNG"), "121000"),
    "a reference at the wrong place": (_put("Shipment", "ReferenceNumber", value=[{"Value": "R"}]), "120540"),
    "a reference of a parcel abroad": (_put("Shipment", "ShipTo", "Address", "CountryCode", value="GB"), "121210"),
    "a return of nothing": (_put("Shipment", "ReturnService", value={"Code": "9"}), "120602"),
    "an invoice for nobody": (
        _put("Shipment", "ShipmentServiceOptions", "InternationalForms", value={"FormType": ["01"]}),
        "128030",
    ),
}


@pytest.mark.parametrize("wrong", WRONG_ORDERS)
def test_an_order_is_refused_and_nothing_is_charged(vendor: UpsSimulator, wrong: str) -> None:
    change, code = WRONG_ORDERS[wrong]
    right = order(vendor)
    spoilt = deepcopy(right)
    change(spoilt)

    assert send(vendor, "POST", SHIP, spoilt) == (400, code)
    assert len(vendor.charges()) == 1
    assert send(vendor, "POST", SHIP, right) == (200, "")


def test_a_request_without_a_token_or_a_name_is_refused(vendor: UpsSimulator) -> None:
    assert vendor.handle(SimRequest("GET", "/api/track/v1/details/1Z", (), HEADERS)).status == 401
    assert send(vendor, "GET", "/api/no/such/thing") == (404, "404")
    assert send(vendor, "PUT", SHIP, {}) == (404, "404")


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({}, "300005"),
        ({"TrackingNumber": "1Z0"}, "300007"),
        ({"ReferenceValues": {"ReferenceNumber": {"Value": "R-0"}, "ShipperNumber": "ZZZZZZ"}}, "300031"),
        ({"ReferenceValues": {"ReferenceNumber": {"Value": "R-?"}, "ShipperNumber": "A1B2C3"}}, "300007"),
        ({"LabelSpecification": {"LabelImageFormat": {"Code": "TIFF"}}}, "300013"),
    ],
)
def test_a_label_that_cannot_be_found_is_not_given_out(vendor: UpsSimulator, wanted: Any, code: str) -> None:
    order(vendor)
    assert send(vendor, "POST", "/api/labels/v1903/recovery", {"LabelRecoveryRequest": wanted}) == (400, code)


def test_a_voided_label_is_not_given_out_and_not_voided_again(vendor: UpsSimulator) -> None:
    order(vendor)
    (charge,) = vendor.charges()
    path, id = "/api/shipments/v2409/void/cancel/", charge.label_external_id

    assert send(vendor, "DELETE", path + "1Z0") == (400, "190100")
    assert send(vendor, "DELETE", path + id, trackingnumber="1Z0") == (400, "190109")
    assert send(vendor, "DELETE", path + id) == (200, "")
    assert send(vendor, "DELETE", path + id) == (400, "190117")
    recovery = {"LabelRecoveryRequest": {"TrackingNumber": id}}
    assert send(vendor, "POST", "/api/labels/v1903/recovery", recovery) == (400, "300033")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"locale": ""}, "VSS300"),
        ({"trackingNumberList": []}, "VSS200"),
        ({"trackingNumberList": ["1Z" + "0" * 16] * 101}, "VSS220"),
        ({"trackingNumberList": ["0"]}, "VSS210"),
        ({"locale": "de_DE"}, "VSS310"),
        ({"destination": {}}, "VSS500"),
        ({"destination": {"credential": "c"}}, "VSS600"),
        ({"destination": {"url": "https://hub.example"}}, "VSS700"),
        ({"destination": {"url": "https://hub.example", "credential": "c"}}, "VSS800"),
    ],
)
def test_a_subscription_that_lacks_something_is_refused(
    vendor: UpsSimulator, changes: dict[str, Any], code: str
) -> None:
    right = {
        "locale": "en_US",
        "trackingNumberList": ["1Z" + "0" * 16],
        "destination": {"url": "https://hub.example", "credentialType": "Bearer", "credential": "c"},
    }
    path = "/api/track/v1/subscription/standard/package"

    assert send(vendor, "POST", path, {**right, **changes}) == (400, code)
    assert send(vendor, "POST", path, right) == (200, "")


def test_a_number_of_a_parcel_ends_with_its_check_digit(vendor: UpsSimulator) -> None:
    """As in UPS's published example: 1Z 999 AA1 01 2345 678 4."""
    assert vendor.check_digit("999AA1012345678") == 4


def test_somebody_scanning_a_parcel_that_is_not_there_is_told(vendor: UpsSimulator) -> None:
    with pytest.raises(LookupError, match="There is no parcel 1Z0"):
        vendor.scan("1Z0", hub.TrackingStatus.DELIVERED)
