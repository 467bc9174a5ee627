"""What EasyPost publishes: each answer the connector reads, each request it sends, and what the simulator says."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import hub
from hub.testing import Fault, SimResponse, connector_for, context_for
from hub_carriers import easypost_requests as bodies
from hub_carriers.easypost import FILES, EasyPostConnector
from hub_carriers.simulator_easypost import EasyPostSimulator

REPOSITORY = Path(__file__).parents[3]
FIXTURES = Path(os.environ.get("TALLYHUB_FIXTURES") or REPOSITORY.parent / "shared" / "fixtures") / "easypost"
ANSWERS = "official/docs/responses"

pytestmark = pytest.mark.skipif(
    not FIXTURES.is_dir(), reason="Set TALLYHUB_FIXTURES to the folder with EasyPost's published examples."
)


@cache
def _text(path: str) -> str:
    return (FIXTURES / path).read_text(encoding="utf-8")


def published(name: str) -> Any:
    """One of the answers in EasyPost's documentation, such as "shipments/shipments-buy"."""
    return json.loads(_text(f"{ANSWERS}/{name}.json"))


@pytest.fixture
def vendor() -> Iterator[EasyPostSimulator]:
    with EasyPostSimulator() as simulator:
        yield simulator


@pytest.fixture
def connector(vendor: EasyPostSimulator) -> EasyPostConnector:
    return connector_for(EasyPostConnector, vendor)


def answers(vendor: EasyPostSimulator, said: Any, status: int = 200) -> None:
    """The next request is answered so."""
    vendor.fail_next("", Fault("published", response=SimResponse.of_json(said, status)))


def usd(amount: str) -> hub.Money:
    return hub.Money.of(amount, "USD")


# ---------------------------------------------------------------- answers


def test_the_published_rates_of_a_shipment_are_read(vendor: EasyPostSimulator, connector: EasyPostConnector) -> None:
    answers(vendor, published("shipments/shipments-create"), 201)

    quotes = connector.rates(vendor.example("R-1"))

    handles = {"shipment": "shp_a9b97f431c00435cb16ec2d6a14ed109"}
    assert quotes.notes == ()
    assert quotes.rates == (
        hub.Rate(
            external_id="rate_9c291b87bdec47a0b3ed151c60b21fb4",
            carrier="usps",
            service="Express",
            cost=usd("51.20"),
            name="USPS Express",
            days=2,
            handles=handles,
        ),
        hub.Rate(
            external_id="rate_e5b3aaafb00f48a4ab27d9f20a801b40",
            carrier="usps",
            service="Priority",
            cost=usd("11.01"),
            name="USPS Priority",
            days=2,
            handles=handles,
        ),
        hub.Rate(
            external_id="rate_76e0cae29e294e6db279c76bbe2f27e9",
            carrier="usps",
            service="GroundAdvantage",
            cost=usd("8.20"),
            name="USPS Ground Advantage",
            days=3,
            handles=handles,
        ),
    )


def test_the_published_reason_for_missing_rates_is_a_note(
    vendor: EasyPostSimulator, connector: EasyPostConnector
) -> None:
    answers(vendor, published("luma/luma-buy"), 201)
    assert connector.rates(vendor.example("R-1")).notes == ("DhlEcs: shipment.options.merchant_id is required.",)


def test_the_published_rates_of_a_return_are_read(vendor: EasyPostSimulator, connector: EasyPostConnector) -> None:
    answers(vendor, published("returns/returns-create"), 201)
    rates = connector.rates(vendor.example("R-1")).rates
    assert [(rate.service, rate.cost, rate.days) for rate in rates] == [
        ("Express", usd("51.20"), 2),
        ("Priority", usd("11.01"), 3),
        ("GroundAdvantage", usd("8.20"), 3),
    ]


def test_the_published_rates_of_an_order_are_those_of_all_its_parcels(
    vendor: EasyPostSimulator, connector: EasyPostConnector
) -> None:
    answers(vendor, published("orders/orders-create"), 201)
    rates = connector.rates(vendor.example("R-1", parcels=2)).rates
    handles = {"order": "order_bf861ee184c74e7fadc4d85c6ed435d1", "carrier": "USPS"}
    assert [(rate.service, rate.cost, rate.handles) for rate in rates] == [
        ("Express", usd("72.55"), handles),
        ("Priority", usd("15.64"), handles),
        ("GroundAdvantage", usd("11.74"), handles),
    ]


def _purchase(vendor: EasyPostSimulator, handles: Mapping[str, str], parcels: int = 1) -> hub.LabelPurchase:
    rate = hub.Rate(
        external_id="rate_5d76435160da498fb8976b64f9f69b06",
        carrier="usps",
        service="GroundAdvantage",
        cost=usd("8.20"),
        handles=handles,
    )
    return hub.LabelPurchase(shipment=vendor.example("R-1", parcels), rate=rate)


def test_the_published_purchase_is_read_with_its_insurance(
    vendor: EasyPostSimulator, connector: EasyPostConnector
) -> None:
    purchase = _purchase(vendor, {"shipment": "shp_40b6f049f00348b18de3804a26f7fd62"})
    answers(vendor, published("shipments/shipments-buy"), 201)

    label = connector.buy_label(purchase, "key")

    assert label == hub.Label(
        external_id="shp_40b6f049f00348b18de3804a26f7fd62",
        carrier="usps",
        service="GroundAdvantage",
        tracking_numbers=("9434600208303109842228",),
        cost=usd("9.44995"),  # 8.20 and 1.24995 for the insurance
        tracking_url="https://track.easypost.com/djE6dHJrX2JlYmU3MzU3Y2M3ZTRlYmM5MjQ4YmRkNzE5MTA4NGFm",
        handles={
            "shipment_1": "shp_40b6f049f00348b18de3804a26f7fd62",
            "tracker_1": "trk_bebe7357cc7e4ebc9248bdd7191084af",
        },
    )
    answers(vendor, published("shipments/shipments-buy"))
    assert connector.find_buy_label(purchase, "key") == label


def test_the_published_shipment_that_was_not_bought_is_no_label(
    vendor: EasyPostSimulator, connector: EasyPostConnector
) -> None:
    answers(vendor, published("shipments/shipments-retrieve"))
    assert connector.find_buy_label(_purchase(vendor, {"shipment": "shp_1"}), "key") is None


def test_the_published_purchase_of_an_order_is_read(vendor: EasyPostSimulator, connector: EasyPostConnector) -> None:
    order = "order_dae84134c5d54a01a57ff6eab32c34a2"
    purchase = _purchase(vendor, {"order": order, "carrier": "USPS"}, parcels=2)
    answers(vendor, published("orders/orders-buy"), 201)

    label = connector.buy_label(purchase, "key")

    assert (label.external_id, label.carrier, label.service) == (order, "usps", "GroundAdvantage")
    assert label.tracking_numbers == ("9400100208303109837512", "9434600208303109842303")
    assert label.cost == usd("11.74")  # 5.21 and 6.53: what the order was offered for
    assert label.handles == {
        "shipment_1": "shp_dc956f485e2540889b7f7eab7d668b88",
        "shipment_2": "shp_fe48581e16154012b1e51ad5606d34c1",
        "tracker_1": "trk_82b8af6bc0ed482f957360e0a592caaa",
        "tracker_2": "trk_545fffdf10084dab8a56046d00b08ad7",
    }
    answers(vendor, published("orders/orders-buy"))
    assert connector.find_buy_label(purchase, "key") == label


def test_the_published_addresses_of_files_are_at_the_hosts_of_the_connection(
    vendor: EasyPostSimulator, connector: EasyPostConnector
) -> None:
    label = connector.buy_label(
        replace(_purchase(vendor, {}), rate=connector.rates(vendor.example("R-1")).rates[0]), "key"
    )
    said = published("shipments/shipments-label")
    path = said["postage_label"]["label_zpl_url"].removeprefix(FILES[1])
    vendor.fail_next("/v2/", Fault("published", response=SimResponse.of_json(said)))
    vendor.fail_next("/files/", Fault("file", response=SimResponse(200, {}, b"^XA^FDparcel^FS^XZ")))

    (document,) = connector.fetch_documents(label, hub.DocumentFormat.ZPL)

    assert path.startswith("/files/postage_label/")  # it does lie at the second spelling
    assert said["postage_label"]["label_url"].startswith(f"{FILES[0]}/files/")
    assert (vendor.requests[-1].path, vendor.requests[-1].headers["host"]) == (path, FILES[1].partition("://")[2])
    assert document == hub.Document(
        content=b"^XA^FDparcel^FS^XZ", format=hub.DocumentFormat.ZPL, tracking_number="9434600208303109842235"
    )


def test_the_published_paper_that_is_no_invoice_is_not_printed(
    vendor: EasyPostSimulator, connector: EasyPostConnector
) -> None:
    said = published("forms/forms-create")
    assert [(form["form_type"], form["form_url"][-4:]) for form in said["forms"]] == [("return_packing_slip", ".pdf")]
    label = hub.Label(external_id=said["id"], carrier="usps", service="", tracking_numbers=(said["tracking_code"],))
    picture = Fault("file", response=SimResponse(200, {}, b"\x89PNG\r\n\x1a\n"))

    for kind, electronic, printed in (
        ("return_packing_slip", None, ["label"]),
        ("commercial_invoice", None, ["label", "invoice"]),
        ("commercial_invoice", True, ["label"]),  # customs has it already
    ):
        said["forms"][0] |= {"form_type": kind, "submitted_electronically": electronic}
        answers(vendor, said)
        vendor.fail_next("/files/postage_label/", picture)
        vendor.fail_next("/files/form/", Fault("file", response=SimResponse(200, {}, b"%PDF-1.4")))
        documents = connector.fetch_documents(label, hub.DocumentFormat.PNG)
        assert [document.kind.value for document in documents] == printed
        vendor.heal()


def test_the_published_refund_is_asked_for_and_answered_later(
    vendor: EasyPostSimulator, connector: EasyPostConnector
) -> None:
    id = "shp_597ccf75eb5f441282d22199e802474b"
    label = hub.Label(external_id=id, carrier="usps", service="", tracking_numbers=("9405500208303109884199",))
    requested = hub.LabelVoid(
        label_external_id=id,
        state=hub.VoidState.REQUESTED,
        message="The carrier answers later, at the latest after 30 days.",
    )
    answers(vendor, published("shipping-refund/shipping-refund-refund"), 201)
    assert connector.void_label(label, "key") == requested
    answers(vendor, published("shipping-refund/shipping-refund-refund"))
    assert connector.find_void_label(label, "key") == requested


def test_the_published_refund_is_read_from_an_event(connector: EasyPostConnector) -> None:
    (refund,) = published("refunds/refunds-create")
    event = {"id": "evt_1", "description": "refund.successful", "result": refund | {"status": "refunded"}}
    (fact,) = connector.read_webhook(hub.RawRecord("refund.successful", "", json.dumps(event).encode()))
    assert fact == hub.LabelVoid(
        label_external_id="shp_744d6715c6794d8c8cd0874c368878ba", state=hub.VoidState.VOIDED, message=""
    )


def test_the_published_tracker_is_read(connector: EasyPostConnector) -> None:
    body = _text(f"{ANSWERS}/trackers/trackers-create.json").encode()
    assert connector.read_tracking(hub.RawRecord("tracking", "EZ1000000001", body)) == hub.Tracking(
        tracking_number="EZ1000000001",
        status=hub.TrackingStatus.LABEL_CREATED,
        carrier_status="pre_transit/status_update",
        deliver_by=datetime(2025, 5, 9, 20, 40, 17, tzinfo=UTC),
        events=(
            hub.TrackingEvent(
                status=hub.TrackingStatus.LABEL_CREATED,
                carrier_status="pre_transit/status_update",
                happened_at=datetime(2025, 4, 9, 20, 40, 17, tzinfo=UTC),
                message="Pre-Shipment Info Sent to USPS",
            ),
            hub.TrackingEvent(
                status=hub.TrackingStatus.LABEL_CREATED,
                carrier_status="pre_transit/status_update",
                happened_at=datetime(2025, 4, 10, 9, 17, 17, tzinfo=UTC),
                message="Shipping Label Created",
                place="HOUSTON, TX",
            ),
        ),
    )


@pytest.mark.parametrize("name", ["trackers/trackers-retrieve", "shipments/shipments-buy", "orders/orders-buy"])
def test_every_published_tracker_is_read(connector: EasyPostConnector, name: str) -> None:
    said = published(name)
    trackers = [part["tracker"] for part in said.get("shipments", [said]) if "tracker" in part] or [said]
    for tracker in trackers:
        body = json.dumps(tracker).encode()
        found = connector.read_tracking(hub.RawRecord("tracking", tracker["tracking_code"], body))
        assert (found.tracking_number, found.status) == (tracker["tracking_code"], hub.TrackingStatus.LABEL_CREATED)


def test_the_published_event_is_read_to_its_last_scan(connector: EasyPostConnector) -> None:
    body = _text("official/fixtures/event-body.json").encode()
    (fact,) = connector.read_webhook(hub.RawRecord("tracker.updated", "", body))
    assert isinstance(fact, hub.Tracking)
    assert (fact.tracking_number, fact.status) == ("1", hub.TrackingStatus.IN_TRANSIT)
    assert (fact.carrier_status, fact.signed_by) == ("in_transit/arrived_at_facility", "")
    assert fact.deliver_by == datetime(2024, 8, 5, tzinfo=UTC)
    assert [(event.carrier_status, event.place) for event in fact.events] == [
        ("pre_transit/label_created", "US"),
        ("in_transit/arrived_at_facility", "ORLANDO, FL, US"),
        ("in_transit/arrived_at_facility", "ORLANDO, FL, US"),
        ("in_transit/departed_facility", "ORLANDO, FL, US"),
        ("in_transit", "KENLY, NC, US"),
        ("in_transit", "EDISON TWP, NJ, US"),
        ("in_transit/arrived_at_facility", "EDISON, NJ, US"),
    ]
    assert fact.events[-1] == hub.TrackingEvent(
        status=hub.TrackingStatus.IN_TRANSIT,
        carrier_status="in_transit/arrived_at_facility",
        happened_at=datetime(2024, 8, 2, 18, 50, tzinfo=UTC),
        message="Arrived at FedEx location",
        place="EDISON, NJ, US",
    )


def test_the_published_signature_fits_with_an_accent_in_its_secret(vendor: EasyPostSimulator) -> None:
    vector = json.loads(_text("webhook_hmac_vector.json"))
    body = json.dumps(json.loads(_text("official/fixtures/event-body.json")), separators=(",", ":")).encode()
    context = context_for(vendor.settings(), hosts=("https://api.easypost.com",), webhook_secret=vector["secret"])
    connector = EasyPostConnector(context)

    delivery = connector.verify(hub.Webhook({"x-hmac-signature": vector["signature"]}, body))

    assert delivery == hub.Delivery("tracker.updated", "evt_1")
    with pytest.raises(hub.Unverified):
        connector.verify(hub.Webhook({"x-hmac-signature": vector["signature"]}, body + b" "))
    with pytest.raises(hub.Unverified):
        EasyPostConnector(replace(context, webhook_secret="secret")).verify(
            hub.Webhook({"x-hmac-signature": vector["signature"]}, body)
        )


def test_the_published_verdicts_on_addresses_are_read(vendor: EasyPostSimulator, connector: EasyPostConnector) -> None:
    wrong = hub.Address(
        company="EasyPost", line1="000 unknown street", city="Not A City", region="ZZ", postcode="00001"
    )
    answers(vendor, published("addresses/addresses-verify-param"), 201)
    assert connector.validate_address(wrong) == hub.AddressVerdict(
        state=hub.AddressState.INVALID, messages=("Address not found",)
    )

    asked = hub.Address(
        company="EasyPost",
        line1="417 MONTGOMERY ST",
        line2="FLOOR 5",
        city="San Francisco",
        region="CA",
        postcode="94104",
        country="US",
        phone="415-123-4567",
    )
    answers(vendor, published("addresses/addresses-verify")["address"], 201)
    assert connector.validate_address(asked) == hub.AddressVerdict(
        state=hub.AddressState.CORRECTED,
        candidates=(
            replace(asked, line1="417 MONTGOMERY ST FL 5", line2="", city="SAN FRANCISCO", postcode="94104-1129"),
        ),
        residential=False,
    )
    bought = published("shipments/shipments-buy")["to_address"]
    written = hub.Address(
        name="Dr. Steve Brule",
        line1="179 N Harbor Dr",
        city="Redondo Beach",
        region="CA",
        postcode="90277",
        country="US",
    )
    answers(vendor, bought, 201)
    assert connector.validate_address(written) == hub.AddressVerdict(state=hub.AddressState.VALID, residential=False)


def test_the_published_refusal_of_an_address_is_a_sentence(
    vendor: EasyPostSimulator, connector: EasyPostConnector
) -> None:
    answers(vendor, published("addresses/addresses-create-and-verify"), 422)
    with pytest.raises(hub.Rejected) as refused:
        connector.rates(vendor.example("R-1"))
    assert str(refused.value) == "EasyPost refused it. Unable to verify address. address: Address not found."
    assert refused.value.code == "ADDRESS.VERIFY.FAILURE"


def test_the_published_user_is_the_account(vendor: EasyPostSimulator, connector: EasyPostConnector) -> None:
    answers(vendor, published("users/users-retrieve"))
    account = connector.check()
    assert (account.external_id, account.name) == ("user_060ab38db3c04ffaa60f262e5781a9be", "EasyPost Docs")


def test_the_published_webhooks_are_read(vendor: EasyPostSimulator, connector: EasyPostConnector) -> None:
    answers(vendor, published("webhooks/webhooks-list"))
    assert connector.read_subscriptions("http://example.com").missing == ()
    answers(vendor, published("webhooks/webhooks-list"))
    assert connector.read_subscriptions("http://example.org").active == ()

    vendor.fail_next("", Fault("published", response=SimResponse.of_json({"webhooks": []})))
    answers(vendor, published("webhooks/webhooks-create"), 201)
    made = connector.subscribe_webhooks({"address": "http://example.com"}, "key")
    assert made.reference == "hook_d31edbc62d1511f0a15761d2f710980c"

    answers(vendor, published("webhooks/webhooks-list"))
    vendor.fail_next("", Fault("published", response=SimResponse.of_json(published("webhooks/webhooks-update"))))
    changed = connector.subscribe_webhooks({"address": "http://example.com"}, "key")
    assert changed.reference == "hook_d3d8d0ee2d1511f08c9a6175d1cdccad"
    assert vendor.requests[-1].path == "/v2/webhooks/hook_d393bda62d1511f09d140fc7cf06773a"

    moved = "https://hub.example/"
    answers(vendor, {"webhooks": [published("webhooks/webhooks-update") | {"url": "https://old.example/"}]})
    answers(vendor, published("webhooks/webhooks-create"), 201)
    answers(vendor, published("webhooks/webhooks-delete"))
    assert connector.subscribe_webhooks({"address": moved}, "key").details == {"address": moved, "deleted": 1}


# ---------------------------------------------------------------- requests


def paths(said: Any, path: str = "") -> set[str]:
    """Each member of a body, as "shipment.parcel.weight"."""
    if isinstance(said, Mapping):
        found = {path} if path else set()
        return found.union(*(paths(value, f"{path}.{name}".lstrip(".")) for name, value in said.items()))
    if isinstance(said, list):
        return {path}.union(*(paths(each, path) for each in said))
    return {path}


@cache
def documented(what: str) -> frozenset[str]:
    """The members of the documented request, with those that the documented answer shows beside them."""
    snippets = json.loads(_text("official/fixtures/example-snippet-fixtures.json"))
    libraries = json.loads(_text("official/fixtures/client-library-fixtures.json"))
    examples: dict[str, list[Any]] = {
        "shipment": [
            snippets["shipment"]["create"],
            libraries["shipments"]["full"],
            published("returns/returns-create"),
        ],
        "order": [snippets["order"]["create"], libraries["orders"]["basic"], published("orders/orders-create")],
        "address": [snippets["address"]["create"], published("addresses/addresses-verify-param")],
        "webhook": [snippets["webhook"]["create"], libraries["webhooks"]],
    }
    found = {f"{what}.{path}" for example in examples[what] for path in paths(example)}
    if what == "order":  # each of its shipments is one
        found |= {path.replace("shipment.", "order.shipments.", 1) for path in documented("shipment")}
    # The page on options names them; no example shows all.
    options = ("delivery_confirmation", "incoterm", "invoice_number", "label_date")
    return frozenset(found | {what} | {path for each in options for path in (f"{what}.options.{each}",)})


def _whole(vendor: EasyPostSimulator, parcels: int = 1) -> hub.Shipment:
    """A shipment of which nothing is left out."""
    item = hub.CustomsItem(
        description="T-shirt",
        quantity=2,
        unit_value=usd("10"),
        unit_weight=hub.Weight.of("5", hub.WeightUnit.OUNCE),
        origin_country="US",
        hs_code="123456",
        sku="123",
    )
    customs = hub.Customs(
        contents=hub.ContentsType.MERCHANDISE,
        items=(item,),
        signer="Steve Brule",
        incoterm="DDP",
        invoice_number="INV-7",
    )
    example = vendor.example("R-1", parcels)
    flat = replace(example.parcels[0], packaging="FlatRateEnvelope")
    return replace(
        example,
        parcels=(flat, *example.parcels[1:]),
        customs=customs,
        signature=True,
        email="ada@example.com",
        ship_on=date(2026, 11, 23),
    )


def test_a_shipment_is_asked_for_by_documented_members_and_none_is_missing(vendor: EasyPostSimulator) -> None:
    sent = paths(bodies.quote(_whole(vendor)))
    assert sent <= documented("shipment")
    example = json.loads(_text("official/fixtures/example-snippet-fixtures.json"))["shipment"]["create"]
    asked = {f"shipment.{path}" for path in paths(example)}
    # The sender's e-mail is not ours to give away.
    assert asked - sent == {"shipment.from_address.email"}


def test_an_order_is_asked_for_by_documented_members(vendor: EasyPostSimulator) -> None:
    sent = paths(bodies.quote(replace(_whole(vendor, parcels=2), customs=None)))
    assert sent <= documented("order")
    example = json.loads(_text("official/fixtures/example-snippet-fixtures.json"))["order"]["create"]
    assert {f"order.{path}" for path in paths(example)} - sent == {"order.from_address.email"}


def test_a_shipment_says_what_the_example_says(vendor: EasyPostSimulator) -> None:
    said = bodies.quote(_whole(vendor))["shipment"]
    assert said["parcel"] == {
        "weight": 15.4,
        "length": 10.0,
        "width": 8.0,
        "height": 4.0,
        "predefined_package": "FlatRateEnvelope",
    }
    assert said["options"] == {
        "delivery_confirmation": "SIGNATURE",
        "label_date": "2026-11-23T12:00:00Z",
        "incoterm": "DDP",
        "invoice_number": "INV-7",
    }
    assert said["customs_info"] == {
        "contents_type": "merchandise",
        "contents_explanation": "",
        "restriction_type": "none",
        "non_delivery_option": "return",
        "customs_certify": True,
        "customs_signer": "Steve Brule",
        "eel_pfc": "NOEEI 30.37(a)",
        "customs_items": [
            {
                "description": "T-shirt",
                "quantity": 2,
                "value": 20.0,  # of both
                "currency": "USD",
                "weight": 10.0,  # of both
                "hs_tariff_number": "123456",
                "origin_country": "US",
                "code": "123",
            }
        ],
    }


def test_an_address_is_judged_by_documented_members(vendor: EasyPostSimulator) -> None:
    sent = bodies.verification(vendor.example("R-1").destination)
    assert paths(sent) - {"verify"} <= documented("address")
    assert sent["verify"] is True  # beside the address, not in it


def test_a_webhook_is_made_by_documented_members(vendor: EasyPostSimulator, connector: EasyPostConnector) -> None:
    connector.subscribe_webhooks({"address": "https://hub.example/webhooks/1/2"}, "key")
    made = vendor.requests[-1].json()
    assert paths(made) <= documented("webhook")
    assert made["webhook"] == {"url": "https://hub.example/webhooks/1/2", "webhook_secret": "made-by-the-hub"}
    connector.subscribe_webhooks({"address": "https://hub.example/webhooks/1/2"}, "key")
    # A change is not wrapped.
    assert (vendor.requests[-1].method, vendor.requests[-1].json()) == ("PATCH", {"webhook_secret": "made-by-the-hub"})


# ---------------------------------------------------------------- the simulator


def strangers(said: Any, example: Any, path: str = "") -> list[str]:
    """What is said beyond the example, or of another type than there; null may stand for anything."""
    if said is None or example is None:
        return []
    if isinstance(said, Mapping) and isinstance(example, Mapping):
        unknown = [f"{path}.{name}" for name in said if name not in example]
        return unknown + [
            each for name in said if name in example for each in strangers(said[name], example[name], f"{path}.{name}")
        ]
    if isinstance(said, list) and isinstance(example, list):
        return [each for item in said for each in (strangers(item, example[0], f"{path}[]") if example else [])]
    alike = isinstance(said, type(example)) or (
        isinstance(said, int | float | Decimal) and not isinstance(example, str)
    )
    return [] if alike else [f"{path} is {said!r}, not like {example!r}"]


def test_the_simulator_says_nothing_that_easypost_would_not(
    vendor: EasyPostSimulator, connector: EasyPostConnector
) -> None:
    said: dict[str, Any] = {}
    answer = vendor.answer
    vendor.answer = lambda request: said.setdefault(f"{request.method} {request.path}", answer(request))  # type: ignore[method-assign]
    quotes = connector.rates(vendor.example("R-1"))
    label = connector.buy_label(hub.LabelPurchase(shipment=vendor.example("R-1"), rate=quotes.rates[0]), "key")
    vendor.scan(label.tracking_numbers[0], hub.TrackingStatus.LABEL_CREATED)
    list(connector.track(label))
    connector.fetch_documents(label, hub.DocumentFormat.PDF)
    connector.void_label(label, "key")
    order = connector.rates(vendor.example("R-2", parcels=2)).rates[0]
    connector.buy_label(hub.LabelPurchase(shipment=vendor.example("R-2", parcels=2), rate=order), "key")
    connector.validate_address(vendor.example("R-1").destination)
    connector.subscribe_webhooks({"address": "https://hub.example/webhooks/1/2"}, "key")
    connector.check()

    shipment, placed = f"/v2/shipments/{label.external_id}", f"/v2/orders/{order.handles['order']}"
    examples = {
        "POST /v2/shipments": "shipments/shipments-create",
        f"POST {shipment}/buy": "shipments/shipments-buy",
        f"GET {shipment}": "shipments/shipments-label",
        f"GET {shipment}/label": "shipments/shipments-label",
        f"POST {shipment}/refund": "shipping-refund/shipping-refund-refund",
        "POST /v2/orders": "orders/orders-create",
        f"POST {placed}/buy": "orders/orders-buy",
        f"GET /v2/trackers/{label.handles['tracker_1']}": "trackers/trackers-retrieve",
        "POST /v2/addresses": "addresses/addresses-verify",
        "GET /v2/webhooks": "webhooks/webhooks-list",
        "POST /v2/webhooks": "webhooks/webhooks-create",
        "GET /v2/users": "users/users-retrieve",
    }
    assert {call for call in said if "/v2/" in call} == set(examples)
    assert [
        f"{call}{each}"
        for call, name in examples.items()
        for each in strangers(said[call].json(), published(name).get("address") or published(name))
    ] == []


def test_the_simulators_event_is_like_the_published_one(
    vendor: EasyPostSimulator, connector: EasyPostConnector
) -> None:
    vendor.hold_webhooks()
    connector.subscribe_webhooks({"address": "https://hub.example/webhooks/1/2"}, "key")
    rate = connector.rates(vendor.example("R-1")).rates[0]
    label = connector.buy_label(hub.LabelPurchase(shipment=vendor.example("R-1"), rate=rate), "key")
    vendor.scan(label.tracking_numbers[0], hub.TrackingStatus.IN_TRANSIT)

    letters = vendor.take_webhooks()

    example = json.loads(_text("official/fixtures/event-body.json"))
    assert [json.loads(letter.body)["description"] for letter in letters] == ["tracker.created", "tracker.updated"]
    assert [strangers(json.loads(letter.body), example) for letter in letters] == [[], []]
