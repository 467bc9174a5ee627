"""The simulated EasyPost refuses what EasyPost refuses, in its words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import hub
from hub.testing import connector_for
from hub_carriers import easypost_requests as bodies
from hub_carriers.easypost import EasyPostConnector
from hub_carriers.simulator_easypost import EasyPostSimulator

Ask = Callable[..., tuple[int, Any]]


@pytest.fixture
def vendor() -> Iterator[EasyPostSimulator]:
    with EasyPostSimulator() as simulator:
        yield simulator


@pytest.fixture
def ask(vendor: EasyPostSimulator) -> Ask:
    client = connector_for(EasyPostConnector, vendor).client

    def ask(method: str, path: str, body: Any = None, key: str = vendor.api_key) -> tuple[int, Any]:
        answer = client.request(
            method, f"https://api.easypost.com/v2/{path}", json=body, auth=(key, ""), expect=range(400, 500)
        )
        return answer.status, answer.json()

    return ask


def refused(answer: tuple[int, Any]) -> tuple[int, str]:
    status, said = answer
    return status, said["error"]["code"]


@pytest.fixture
def body(vendor: EasyPostSimulator) -> dict[str, Any]:
    said: dict[str, Any] = bodies.quote(vendor.example("R-1"))["shipment"]
    return said


def test_a_key_of_somebody_else_opens_nothing(ask: Ask) -> None:
    assert refused(ask("GET", "users", key="EZAKsomebodyelses0123456789")) == (401, "UNAUTHORIZED")


def test_a_test_key_may_not_see_the_account() -> None:
    with EasyPostSimulator(mode="test") as vendor:
        client = connector_for(EasyPostConnector, vendor).client
        for path, status in (("users", 403), ("webhooks", 200)):
            answer = client.get(f"https://api.easypost.com/v2/{path}", auth=(vendor.api_key, ""), expect=(403,))
            assert answer.status == status


def test_there_is_nothing_where_nothing_is(ask: Ask) -> None:
    for call in (
        ("GET", "shipments/shp_1"),
        ("POST", "shipments/shp_1/buy"),
        ("GET", "trackers/trk_1"),
        ("GET", "moon"),
    ):
        assert refused(ask(*call)) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"parcel": None}, "PARAMETER.REQUIRED"),
        ({"to_address": {}}, "PARAMETER.REQUIRED"),
        ({"parcel": {"weight": 0}}, "PARCEL.PARAMETERS.INVALID"),
        ({"parcel": {"weight": "heavy"}}, "PARCEL.PARAMETERS.INVALID"),
        ({"parcel": {"weight": 5, "length": -1}}, "PARCEL.PARAMETERS.INVALID"),
        ({"customs_info": {"customs_items": [{"currency": "dollars"}]}}, "CUSTOMS_ITEM.INVALID"),
    ],
    ids=["no-parcel", "no-address", "no-weight", "a-word-for-a-weight", "a-negative-side", "an-odd-currency"],
)
def test_a_shipment_that_makes_no_sense_is_refused(ask: Ask, body: dict[str, Any], change: Any, code: str) -> None:
    assert refused(ask("POST", "shipments", {"shipment": body | change})) == (422, code)


def test_an_address_with_a_gap_gets_no_rates_and_a_reason(ask: Ask, body: dict[str, Any]) -> None:
    gap = body["to_address"] | {"city": "", "zip": ""}
    status, said = ask("POST", "shipments", {"shipment": body | {"to_address": gap}})
    assert (status, said["rates"]) == (201, [])
    assert {each["message"] for each in said["messages"]} == {"The destination address is incomplete."}


def test_a_shipment_is_sold_once_and_only_at_its_own_rates(
    vendor: EasyPostSimulator, ask: Ask, body: dict[str, Any]
) -> None:
    _, here = ask("POST", "shipments", {"shipment": body})
    _, there = ask("POST", "shipments", {"shipment": body})
    buy = f"shipments/{here['id']}/buy"
    assert refused(ask("POST", f"shipments/{here['id']}/refund")) == (422, "SHIPMENT.POSTAGE.REQUIRED")
    assert refused(ask("GET", f"shipments/{here['id']}/label?file_format=PDF")) == (422, "SHIPMENT.POSTAGE.REQUIRED")
    assert refused(ask("POST", buy, {"rate": {"id": there["rates"][0]["id"]}})) == (422, "SHIPMENT.MISSING_RATE")
    assert refused(ask("POST", buy, {})) == (422, "PARAMETER.REQUIRED")
    assert vendor.charges() == []

    assert ask("POST", buy, {"rate": {"id": here["rates"][0]["id"]}})[0] == 201

    assert refused(ask("POST", buy, {"rate": {"id": here["rates"][1]["id"]}})) == (422, "SHIPMENT.POSTAGE.EXISTS")
    assert refused(ask("GET", f"shipments/{here['id']}/label?file_format=GIF")) == (
        422,
        "SHIPMENT.POSTAGE.INVALID_FORMAT",
    )
    assert len(vendor.charges()) == 1


def test_a_parcel_on_its_way_is_not_refunded(vendor: EasyPostSimulator, ask: Ask, body: dict[str, Any]) -> None:
    _, shipment = ask("POST", "shipments", {"shipment": body})
    _, bought = ask("POST", f"shipments/{shipment['id']}/buy", {"rate": {"id": shipment["rates"][0]["id"]}})
    vendor.scan(bought["tracking_code"], hub.TrackingStatus.LABEL_CREATED)
    vendor.scan(bought["tracking_code"], hub.TrackingStatus.IN_TRANSIT)
    assert refused(ask("POST", f"shipments/{shipment['id']}/refund")) == (422, "SHIPMENT.REFUND.UNAVAILABLE")


def test_an_order_is_for_carriers_that_take_several_parcels(vendor: EasyPostSimulator, ask: Ask) -> None:
    asked = bodies.quote(vendor.example("R-1", parcels=2))
    _, order = ask("POST", "orders", asked)
    assert {rate["carrier"] for rate in order["rates"]} == {"UPSDAP", "FedEx"}
    wanted = {"carrier": "USPS", "service": "Priority"}
    assert refused(ask("POST", f"orders/{order['id']}/buy", wanted)) == (422, "ORDER.RATE.UNAVAILABLE")
    assert refused(ask("POST", "orders", {"order": asked["order"] | {"shipments": []}})) == (422, "ORDER.INVALID")


def test_a_status_without_a_word_cannot_be_scanned(vendor: EasyPostSimulator) -> None:
    with pytest.raises(LookupError):
        vendor.scan("1Z", hub.TrackingStatus.UNKNOWN)


def test_a_webhook_needs_an_address(ask: Ask) -> None:
    assert refused(ask("POST", "webhooks", {"webhook": {"url": "hub.example"}})) == (422, "WEBHOOK.INVALID")
    assert refused(ask("PATCH", "webhooks/hook_1", {})) == (404, "NOT_FOUND")
    assert refused(ask("DELETE", "webhooks/hook_1")) == (404, "NOT_FOUND")
