"""UPS: what a shipment costs, labels bought, found, printed and given back, and what is refused before UPS is asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

import hub
from hub.testing import Fault, SimResponse, connector_for
from hub_carriers.simulator_ups import UpsSimulator
from hub_carriers.ups import UpsConnector

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)  # a Monday
LEEDS = hub.Address(
    name="Ada Byron", line1="7 Mill Lane", city="Leeds", postcode="LS1 4DY", country="GB", phone="0113 1"
)
MUG = hub.CustomsItem(
    description="Mug",
    quantity=2,
    unit_value=hub.Money.of("12.50", "USD"),
    unit_weight=hub.Weight.of("0.9", hub.WeightUnit.POUND),
    hs_code="6912.00",
)
GOODS = hub.Customs(contents=hub.ContentsType.MERCHANDISE, items=(MUG,))


@pytest.fixture
def vendor() -> Iterator[UpsSimulator]:
    with UpsSimulator(now=lambda: NOW) as simulator:
        yield simulator


@pytest.fixture
def connector(vendor: UpsSimulator) -> UpsConnector:
    return connector_for(UpsConnector, vendor, now=lambda: NOW)


def ordered(connector: UpsConnector, shipment: hub.Shipment, format: str = "PDF") -> hub.LabelPurchase:
    cheapest = min(connector.rates(shipment).rates, key=lambda rate: rate.cost.amount)
    return hub.LabelPurchase(shipment=shipment, rate=cheapest, format=hub.DocumentFormat[format])


def bought(connector: UpsConnector, shipment: hub.Shipment, format: str = "PDF") -> hub.Label:
    return connector.buy_label(ordered(connector, shipment, format), "key")


def asked(vendor: UpsSimulator, part: str) -> dict[str, Any]:
    """The shipment in the last request whose path has this part."""
    request = next(each for each in reversed(vendor.requests) if part in each.path)
    (wrapped,) = request.json().values()
    shipment: dict[str, Any] = wrapped["Shipment"]
    return shipment


# ---------------------------------------------------------------- rates


def test_the_account_pays_its_own_price_and_the_time_is_that_of_the_destination(
    vendor: UpsSimulator, connector: UpsConnector
) -> None:
    quotes = connector.rates(vendor.example("R-1", 2))

    assert quotes.notes == ("Your invoice may vary from the displayed reference rates",)
    assert [(rate.name, rate.cost, rate.days, rate.guaranteed, rate.deliver_by) for rate in quotes.rates] == [
        ("UPS Ground", hub.Money.of("19.74", "USD"), 4, False, datetime(2026, 3, 7, 4, 30, tzinfo=UTC)),
        ("UPS 2nd Day Air", hub.Money.of("38.40", "USD"), 2, True, datetime(2026, 3, 5, 4, 0, tzinfo=UTC)),
        ("UPS Next Day Air", hub.Money.of("79.90", "USD"), 1, True, datetime(2026, 3, 3, 15, 30, tzinfo=UTC)),
    ]


def test_an_account_without_prices_of_its_own_pays_those_of_the_list(
    vendor: UpsSimulator, connector: UpsConnector
) -> None:
    vendor.negotiated = False
    purchase = ordered(connector, vendor.example("R-1"))

    assert purchase.rate.cost == hub.Money.of("12.40", "USD")
    assert connector.buy_label(purchase, "key").cost == hub.Money.of("12.40", "USD")


@pytest.mark.parametrize("alone", [False, True])
def test_a_list_of_one_is_read_with_and_without_the_list_around_it(
    vendor: UpsSimulator, connector: UpsConnector, alone: bool
) -> None:
    vendor.one_without_a_list = alone
    label = bought(connector, vendor.example("R-1"))

    assert label.tracking_numbers == (label.external_id,)
    assert [document.tracking_number for document in connector.fetch_documents(label, hub.DocumentFormat.ZPL)] == [
        label.external_id
    ]


def test_what_ups_leaves_empty_is_as_if_it_were_not_there(vendor: UpsSimulator, connector: UpsConnector) -> None:
    shipment = vendor.example("R-1")
    connector.rates(shipment)
    said = vendor.handle(vendor.requests[-1]).json()
    for offer in said["RateResponse"]["RatedShipment"]:
        offer |= {
            "NegotiatedRateCharges": "",
            "GuaranteedDelivery": "",
            "RatedShipmentAlert": "",
            "TimeInTransit": None,
        }
    vendor.fail_next("/api/rating", Fault(response=SimResponse.of_json(said)))

    assert [(rate.cost, rate.days, rate.guaranteed, rate.deliver_by) for rate in connector.rates(shipment).rates] == [
        (hub.Money.of(price, "USD"), None, False, None) for price in ("12.40", "24.90", "48.10")
    ]


def test_an_hour_without_seconds_is_an_hour(vendor: UpsSimulator, connector: UpsConnector) -> None:
    shipment = vendor.example("R-1")
    connector.rates(shipment)
    said = vendor.handle(vendor.requests[-1]).json()
    arrival = said["RateResponse"]["RatedShipment"][0]["TimeInTransit"]["ServiceSummary"]["EstimatedArrival"]["Arrival"]
    arrival["Time"] = "1030"
    vendor.fail_next("/api/rating", Fault(response=SimResponse.of_json(said)))

    assert connector.rates(shipment).rates[0].deliver_by == datetime(2026, 3, 6, 15, 30, tzinfo=UTC)


def test_parcels_are_weighed_and_measured_in_the_units_of_their_country(
    vendor: UpsSimulator, connector: UpsConnector
) -> None:
    parcel = hub.Parcel(
        weight=hub.Weight.of("1001", hub.WeightUnit.GRAM),
        dimensions=hub.Dimensions.of("10.1", "30", "20", hub.LengthUnit.CENTIMETER),
    )
    here = replace(vendor.example("R-1"), parcels=(parcel,))
    connector.rates(here)
    (american,) = asked(vendor, "rating")["Package"]
    connector.rates(replace(here, origin=LEEDS, destination=replace(LEEDS, city="York")))
    (british,) = asked(vendor, "rating")["Package"]

    assert american["PackageWeight"]["Weight"] == "2.3"  # 2.2069 lb
    assert american["PackageWeight"]["UnitOfMeasurement"]["Code"] == "LBS"
    assert [american["Dimensions"][side] for side in ("Length", "Width", "Height")] == ["12", "8", "4"]
    assert british["PackageWeight"]["Weight"] == "1.1"
    assert british["PackageWeight"]["UnitOfMeasurement"]["Code"] == "KGS"
    assert [british["Dimensions"][side] for side in ("Length", "Width", "Height")] == ["30", "20", "11"]


def test_a_home_is_told_from_a_firm_since_it_costs_more(vendor: UpsSimulator, connector: UpsConnector) -> None:
    home = vendor.example("R-1")
    connector.rates(home)
    assert "ResidentialAddressIndicator" in asked(vendor, "rating")["ShipTo"]["Address"]
    bought(connector, home)
    assert "ResidentialAddressIndicator" in asked(vendor, "/ship")["ShipTo"]["Address"]

    connector.rates(replace(home, destination=replace(home.destination, company="Byron Ltd")))
    assert "ResidentialAddressIndicator" not in asked(vendor, "rating")["ShipTo"]["Address"]


@pytest.mark.parametrize(("hour", "day"), [(4, "20260301"), (16, "20260302")])  # 11 in the evening in Georgia, and noon
def test_today_is_the_day_at_the_place_from_where_it_goes(vendor: UpsSimulator, hour: int, day: str) -> None:
    connector = connector_for(UpsConnector, vendor, now=lambda: NOW.replace(hour=hour))
    connector.rates(vendor.example("R-1"))

    assert asked(vendor, "rating")["DeliveryTimeInformation"]["Pickup"]["Date"] == day


def test_a_box_of_upss_own_is_named_and_another_word_is_refused(vendor: UpsSimulator, connector: UpsConnector) -> None:
    shipment = vendor.example("R-1")
    bought(connector, replace(shipment, parcels=(replace(shipment.parcels[0], packaging="2a"),)))
    assert asked(vendor, "/ship")["Package"][0]["Packaging"] == {"Code": "2a"}

    with pytest.raises(hub.Rejected, match="“letter” is no packaging of UPS"):
        connector.rates(replace(shipment, parcels=(replace(shipment.parcels[0], packaging="letter"),)))


# ---------------------------------------------------------------- buying


def test_the_reference_stands_on_parcels_within_the_us_and_on_the_shipment_elsewhere(
    vendor: UpsSimulator, connector: UpsConnector
) -> None:
    bought(connector, vendor.example("R-1", 2))
    inland = asked(vendor, "/ship")
    bought(connector, replace(vendor.example("R-2"), destination=LEEDS, customs=GOODS))
    abroad = asked(vendor, "/ship")

    assert [parcel["ReferenceNumber"] for parcel in inland["Package"]] == [[{"Value": "R-1"}]] * 2
    assert "ReferenceNumber" not in inland
    assert abroad["ReferenceNumber"] == [{"Value": "R-2"}]
    assert "ReferenceNumber" not in abroad["Package"][0]


def test_a_zpl_label_comes_with_the_purchase_and_a_pdf_is_fetched(
    vendor: UpsSimulator, connector: UpsConnector
) -> None:
    roll = bought(connector, vendor.example("R-1", 2), "ZPL")
    paper = bought(connector, vendor.example("R-2", 2), "PDF")

    assert [(each.format.name, each.tracking_number) for each in roll.documents] == [
        ("ZPL", number) for number in roll.tracking_numbers
    ]
    assert paper.documents == ()
    (file,) = connector.fetch_documents(paper, hub.DocumentFormat.PDF)
    assert (file.format, file.tracking_number, file.well_formed) == (hub.DocumentFormat.PDF, "", True)


def test_a_picture_that_came_out_as_something_else_is_not_kept(vendor: UpsSimulator, connector: UpsConnector) -> None:
    label = bought(connector, vendor.example("R-1"), "ZPL")
    answer = vendor.handle(_again(vendor, "/recovery", connector, label))
    spoilt = answer.json()
    for result in spoilt["LabelRecoveryResponse"]["LabelResults"]:
        result["LabelImage"]["GraphicImage"] = "PGh0bWw+"  # <html>
    vendor.fail_next("/api/labels", Fault(response=SimResponse.of_json(spoilt)))

    with pytest.raises(hub.Unavailable, match="UPS sent no ZPL file of the label"):
        connector.fetch_documents(label, hub.DocumentFormat.ZPL)
    assert connector.fetch_documents(label, hub.DocumentFormat.ZPL)[0].well_formed


def _again(vendor: UpsSimulator, part: str, connector: UpsConnector, label: hub.Label) -> Any:
    connector.fetch_documents(label, hub.DocumentFormat.ZPL)
    return next(each for each in reversed(vendor.requests) if part in each.path)


def test_goods_that_leave_the_country_come_with_an_invoice(vendor: UpsSimulator, connector: UpsConnector) -> None:
    customs = replace(GOODS, incoterm="ddp", invoice_number="INV-7", signer="Sam Weller")
    label = bought(connector, replace(vendor.example("R-1"), destination=LEEDS, customs=customs), "ZPL")
    shipment = asked(vendor, "/ship")
    forms = shipment["ShipmentServiceOptions"]["InternationalForms"]

    assert [document.kind for document in label.documents] == [hub.DocumentKind.LABEL, hub.DocumentKind.INVOICE]
    assert [document.kind for document in connector.fetch_documents(label, hub.DocumentFormat.PDF)] == [
        hub.DocumentKind.LABEL,
        hub.DocumentKind.INVOICE,
    ]
    assert shipment["Description"] == "Mug"
    assert shipment["InvoiceLineTotal"] == {"CurrencyCode": "USD", "MonetaryValue": "25.00"}
    assert [each["Type"] for each in shipment["PaymentInformation"]["ShipmentCharge"]] == ["01", "02"]  # duties, too
    assert (forms["InvoiceNumber"], forms["InvoiceDate"], forms["TermsOfShipment"]) == ("INV-7", "20260302", "DDP")
    assert (forms["ReasonForExport"], forms["Comments"]) == ("SALE", "Signed for by Sam Weller")
    assert forms["Contacts"]["SoldTo"]["Phone"] == {"Number": "01131"}
    assert forms["Product"] == [
        {
            "Description": ["Mug"],
            "Unit": {"Number": "2", "UnitOfMeasurement": {"Code": "PCS"}, "Value": "12.50"},
            "PartNumber": "Item 1",
            "OriginCountryCode": "US",
            "CommodityCode": "691200",
        }
    ]


def test_the_account_pays_and_stands_as_shipper_on_the_way_back_too(
    vendor: UpsSimulator, connector: UpsConnector
) -> None:
    there = vendor.example("R-1")
    bought(connector, replace(there, origin=there.destination, destination=there.origin, returning=True))
    sent = asked(vendor, "/ship")

    assert (sent["Shipper"]["Name"], sent["Shipper"]["ShipperNumber"]) == ("Corner", "A1B2C3")
    assert (sent["ShipFrom"]["Name"], sent["ShipTo"]["Name"]) == ("Ada Byron", "Corner")
    assert sent["ReturnService"] == {"Code": "9"}
    assert [parcel["Description"] for parcel in sent["Package"]] == ["Returned goods"]


@pytest.mark.parametrize(
    ("destination", "on_parcel", "on_shipment"), [(None, {"DCISType": "2"}, None), (LEEDS, None, {"DCISType": "1"})]
)
def test_a_signature_is_asked_for_where_ups_wants_it(
    vendor: UpsSimulator, connector: UpsConnector, destination: Any, on_parcel: Any, on_shipment: Any
) -> None:
    shipment = replace(vendor.example("R-1"), signature=True, customs=GOODS)
    bought(connector, replace(shipment, destination=destination or shipment.destination))
    sent = asked(vendor, "/ship")

    assert sent["Package"][0].get("PackageServiceOptions", {}).get("DeliveryConfirmation") == on_parcel
    assert sent.get("ShipmentServiceOptions", {}).get("DeliveryConfirmation") == on_shipment


def test_the_day_and_the_insured_value_are_told(vendor: UpsSimulator, connector: UpsConnector) -> None:
    shipment = vendor.example("R-1")
    parcel = replace(shipment.parcels[0], insured=hub.Money.of("250", "USD"))
    bought(connector, replace(shipment, parcels=(parcel,), ship_on=date(2026, 3, 4)))
    sent = asked(vendor, "/ship")

    assert sent["ShipmentDate"] == "20260304"
    assert sent["Package"][0]["PackageServiceOptions"]["DeclaredValue"] == {
        "CurrencyCode": "USD",
        "MonetaryValue": "250.00",
    }


# ---------------------------------------------------------------- what nobody told us


def test_a_label_whose_answer_was_lost_is_found_by_our_reference(vendor: UpsSimulator, connector: UpsConnector) -> None:
    purchase = ordered(connector, vendor.example("R-1", 3))
    assert connector.find_buy_label(purchase, "key") is None
    vendor.fail_next("/api/shipments", Fault.reset())
    with pytest.raises(hub.Unavailable) as lost:
        connector.buy_label(purchase, "key")
    found = connector.find_buy_label(purchase, "key")

    assert lost.value.sent
    assert found is not None
    (charge,) = vendor.charges()
    assert (found.external_id, found.tracking_numbers) == (charge.label_external_id, charge.tracking_numbers)
    assert found.cost == charge.cost


def test_a_failure_on_the_way_to_a_token_leaves_nothing_unclear(vendor: UpsSimulator) -> None:
    purchase = ordered(connector_for(UpsConnector, vendor), vendor.example("R-1"))
    vendor.fail_next("/security", Fault.reset())
    fresh = connector_for(UpsConnector, vendor)

    with pytest.raises(hub.Unavailable) as failed:
        fresh.buy_label(purchase, "key")
    assert not failed.value.sent
    assert vendor.charges() == []
    fresh.buy_label(purchase, "key")
    assert len(vendor.charges()) == 1


def test_a_label_that_was_bought_twice_is_left_to_a_person(vendor: UpsSimulator, connector: UpsConnector) -> None:
    purchase = ordered(connector, vendor.example("R-1"))
    connector.buy_label(purchase, "key")
    connector.buy_label(purchase, "key")

    with pytest.raises(hub.Rejected, match="Multiple shipments found"):
        connector.find_buy_label(purchase, "key")


def _candidates(*numbers: str) -> Fault:
    told = [{"TrackingNumber": number} for number in numbers]
    response = {"Response": {"ResponseStatus": {"Code": "1", "Description": "Success"}}, "TrackingCandidate": told}
    return Fault(response=SimResponse.of_json({"LabelRecoveryResponse": response}))


def test_candidates_of_one_shipment_are_that_shipment(vendor: UpsSimulator, connector: UpsConnector) -> None:
    purchase = ordered(connector, vendor.example("R-1", 2))
    label = connector.buy_label(purchase, "key")
    vendor.fail_next("/api/labels", _candidates(*label.tracking_numbers))

    assert connector.find_buy_label(purchase, "key") == replace(label, documents=())


def test_candidates_of_several_shipments_are_left_to_a_person(vendor: UpsSimulator, connector: UpsConnector) -> None:
    purchase = ordered(connector, vendor.example("R-1"))
    first, second = (connector.buy_label(purchase, "key") for _ in range(2))
    vendor.fail_next("/api/labels", _candidates(first.external_id, second.external_id))

    with pytest.raises(hub.Rejected, match="UPS has other parcels under the reference R-1 than were ordered"):
        connector.find_buy_label(purchase, "key")


def test_a_label_that_ups_has_not_got_ready_is_asked_for_again(vendor: UpsSimulator, connector: UpsConnector) -> None:
    purchase = ordered(connector, vendor.example("R-1"))
    later = {"response": {"errors": [{"code": "300034", "message": "The shipment has not been processed."}]}}
    vendor.fail_next("/api/labels", Fault(response=SimResponse.of_json(later, 400)))

    with pytest.raises(hub.Unavailable, match="not got the label ready"):
        connector.find_buy_label(purchase, "key")
    assert connector.find_buy_label(purchase, "key") is None


# ---------------------------------------------------------------- giving back


def test_a_label_given_back_twice_is_given_back(vendor: UpsSimulator, connector: UpsConnector) -> None:
    label = bought(connector, vendor.example("R-1"))

    assert [connector.void_label(label, key).state for key in ("1", "2")] == [hub.VoidState.VOIDED] * 2
    assert [charge.voided for charge in vendor.charges()] == [True]


def test_a_parcel_on_its_way_is_not_given_back_and_the_others_are_named(
    vendor: UpsSimulator, connector: UpsConnector
) -> None:
    label = bought(connector, vendor.example("R-1", 3))
    gone = label.tracking_numbers[1]
    vendor.scan(gone, hub.TrackingStatus.IN_TRANSIT)
    answer = connector.void_label(label, "key")

    assert answer.state is hub.VoidState.REFUSED
    assert answer.message == (
        f"UPS did not void these parcels: {gone} (Partially Voided). If they have not left, ask UPS for the money."
    )
    assert [charge.voided for charge in vendor.charges()] == [False]


def test_too_late_is_an_answer_with_the_words_of_ups(vendor: UpsSimulator, connector: UpsConnector) -> None:
    label = bought(connector, vendor.example("R-1"))
    vendor.scan(label.tracking_numbers[0], hub.TrackingStatus.DELIVERED)
    answer = connector.void_label(label, "key")

    assert answer.state is hub.VoidState.REFUSED
    assert answer.message == (
        "UPS does not void it: No shipment found within the allowed void period. "
        "If no parcel has left, ask UPS for the money."
    )


def test_some_parcels_are_given_back_where_the_label_names_fewer_than_were_bought(
    vendor: UpsSimulator, connector: UpsConnector
) -> None:
    label = bought(connector, vendor.example("R-1", 3))
    first, *others = label.tracking_numbers

    assert connector.void_label(replace(label, tracking_numbers=(first,)), "1").state is hub.VoidState.VOIDED
    assert [charge.voided for charge in vendor.charges()] == [False]
    assert connector.void_label(replace(label, tracking_numbers=tuple(others)), "2").state is hub.VoidState.VOIDED
    assert [charge.voided for charge in vendor.charges()] == [True]


def test_parcels_of_a_return_are_given_back_together_only(vendor: UpsSimulator, connector: UpsConnector) -> None:
    there = vendor.example("R-1", 2)
    label = bought(connector, replace(there, origin=there.destination, destination=there.origin, returning=True))
    answer = connector.void_label(replace(label, tracking_numbers=label.tracking_numbers[:1]), "key")

    assert (answer.state, "Voided singly" in answer.message) == (hub.VoidState.REFUSED, True)
    assert connector.void_label(label, "again").state is hub.VoidState.VOIDED


def test_voiding_that_is_out_of_order_is_tried_again(vendor: UpsSimulator, connector: UpsConnector) -> None:
    label = bought(connector, vendor.example("R-1"))
    away = {"response": {"errors": [{"code": "190001", "message": "Void not available at this time"}]}}
    vendor.fail_next("/api/shipments", Fault(response=SimResponse.of_json(away, 400)))

    with pytest.raises(hub.Unavailable) as failed:
        connector.void_label(label, "key")
    assert not failed.value.sent
    assert connector.void_label(label, "key").state is hub.VoidState.VOIDED


def test_a_label_that_was_given_back_is_neither_found_nor_printed(
    vendor: UpsSimulator, connector: UpsConnector
) -> None:
    """It was bought: so it is not sent again either."""
    purchase = ordered(connector, vendor.example("R-1"))
    label = connector.buy_label(purchase, "key")
    connector.void_label(label, "key")

    for attempt in (
        lambda: connector.find_buy_label(purchase, "key"),
        lambda: connector.fetch_documents(label, hub.DocumentFormat.PDF),
    ):
        with pytest.raises(hub.Rejected, match=r"has been voided \[300033\]"):
            attempt()


def test_a_label_that_nobody_sold_is_not_printed(connector: UpsConnector) -> None:
    label = hub.Label(external_id="1Z0", carrier="ups", service="03", tracking_numbers=("1Z0",))

    with pytest.raises(hub.NotFound, match="UPS has no label of the parcel 1Z0"):
        connector.fetch_documents(label, hub.DocumentFormat.PDF)


def test_a_shipment_of_another_number_of_parcels_is_left_to_a_person(
    vendor: UpsSimulator, connector: UpsConnector
) -> None:
    connector.buy_label(ordered(connector, vendor.example("R-1", 2)), "key")

    with pytest.raises(hub.Rejected, match="UPS has other parcels under the reference R-1 than were ordered"):
        connector.find_buy_label(ordered(connector, vendor.example("R-1", 3)), "key")


# ---------------------------------------------------------------- the keys


def test_a_token_that_ups_has_forgotten_is_renewed_once(vendor: UpsSimulator, connector: UpsConnector) -> None:
    connector.check()
    vendor.forget_tokens()
    before = len(vendor.requests)

    assert connector.rates(vendor.example("R-1")).rates
    assert [request.path for request in list(vendor.requests)[before:]] == [
        "/api/rating/v2409/Shop",
        "/security/v1/oauth/token",
        "/api/rating/v2409/Shop",
    ]


def test_an_app_that_may_not_do_it_is_told_to_its_owner_after_one_more_token(
    vendor: UpsSimulator, connector: UpsConnector
) -> None:
    connector.check()
    vendor.fail_next("/api/rating", Fault.status(401), times=2)

    with pytest.raises(hub.AuthError, match="APIs for Rating, Shipping, Tracking, Track Alert and Address Validation"):
        connector.rates(vendor.example("R-1"))
    assert connector.rates(vendor.example("R-1")).rates


def test_a_check_asks_for_a_new_token(vendor: UpsSimulator, connector: UpsConnector) -> None:
    connector.check()
    vendor.client_secret = "another-secret"

    with pytest.raises(hub.AuthError, match="Copy both anew"):
        connector.check()


def test_an_account_that_is_not_the_apps_is_refused(vendor: UpsSimulator) -> None:
    connector = connector_for(UpsConnector, vendor)
    vendor.account = "ZZZZZZ"

    with pytest.raises(hub.AuthError, match="account number is one of that app"):
        connector.check()


def test_the_test_environment_has_a_host_of_its_own_and_says_so(vendor: UpsSimulator) -> None:
    vendor.origin = "https://wwwcie.ups.com"
    settings = UpsConnector.settings_schema().load({**vendor.settings(), "environment": "test"})
    assert UpsConnector.hosts(settings) == ("https://wwwcie.ups.com",)

    connector = connector_for(UpsConnector, vendor)
    connector = UpsConnector(replace(connector.context, settings=settings))
    assert connector.check().warnings == ("UPS's test environment sells samples: no parcel travels on these labels.",)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "N" * 36, "company": ""}, "The recipient's name has 36 characters; UPS takes 35. Shorten it"),
        ({"name": "", "company": ""}, "The recipient's address has no name"),
        ({"line1": "L" * 36}, "The recipient's street has 36 characters; UPS takes 35"),
        ({"line1": ""}, "The recipient's address has no street"),
        ({"line1": "a word " * 20}, "The recipient's street has 139 characters; UPS takes 35"),
        ({"city": "C" * 31}, "The recipient's city has 31 characters; UPS takes 30"),
        ({"city": " "}, "The recipient's address has no city"),
        ({"postcode": "1234567890"}, "The recipient's postal code has 10 characters; UPS takes 9"),
        ({"phone": "0123456789012345"}, "The recipient's phone number has 16 digits; UPS takes 15"),
        ({"region": "New York"}, "UPS needs the recipient's state or province as two letters"),
        ({"country": "USA"}, "The recipient has no country of two letters"),
    ],
)
def test_what_does_not_fit_is_refused_by_name_before_anything_is_sent(
    vendor: UpsSimulator, connector: UpsConnector, changes: dict[str, str], words: str
) -> None:
    purchase = ordered(connector, vendor.example("R-1"))
    before = len(vendor.requests)
    shipment = purchase.shipment
    wrong = replace(shipment, destination=replace(shipment.destination, **changes))

    for attempt in (
        lambda: connector.rates(wrong),
        lambda: connector.buy_label(replace(purchase, shipment=wrong), "key"),
    ):
        with pytest.raises(hub.Rejected, match=words):
            attempt()
    assert len(vendor.requests) == before
    assert connector.buy_label(purchase, "key").tracking_numbers


def test_a_street_of_two_lines_goes_on_in_the_third_and_nothing_is_cut(
    vendor: UpsSimulator, connector: UpsConnector
) -> None:
    shipment = vendor.example("R-1")
    long = replace(shipment.destination, line1="1600 Amphitheatre Parkway, Building 40, 2nd floor", line2="Door B")
    bought(connector, replace(shipment, destination=long))

    assert asked(vendor, "/ship")["ShipTo"]["Address"]["AddressLine"] == [
        "1600 Amphitheatre Parkway, Building",
        "40, 2nd floor",
        "Door B",
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"customs": None}, "UPS needs a customs declaration from US to GB"),
        ({"destination": replace(LEEDS, phone="")}, "UPS needs a phone number of the recipient for a shipment abroad"),
        ({"customs": replace(GOODS, incoterm="XYZ")}, "“XYZ” is no incoterm that UPS knows"),
        (
            {"customs": replace(GOODS, items=(MUG, replace(MUG, unit_value=hub.Money.of("1", "EUR"))))},
            "UPS takes one currency in a customs declaration, not EUR and USD",
        ),
        (
            {"customs": replace(GOODS, items=(replace(MUG, hs_code="12"),))},
            "The tariff number of “Mug” must have 6 to 15",
        ),
        ({"customs": replace(GOODS, items=(replace(MUG, description="m" * 106),))}, "of 105 characters at most"),
        ({"customs": replace(GOODS, items=(MUG,) * 51)}, "UPS writes at most 50 kinds of goods on an invoice"),
        ({"returning": True}, "UPS has no commercial invoice for returns from abroad"),
        ({"ship_on": (NOW + timedelta(days=8)).date()}, "UPS sells labels for the next 7 days"),
    ],
)
def test_what_cannot_go_abroad_is_refused_with_what_is_missing(
    vendor: UpsSimulator, connector: UpsConnector, changes: dict[str, Any], words: str
) -> None:
    right = replace(vendor.example("R-1"), destination=LEEDS, customs=GOODS)
    purchase = ordered(connector, right)

    with pytest.raises(hub.Rejected, match=words):
        connector.buy_label(replace(purchase, shipment=replace(right, **changes)), "key")
    assert vendor.charges() == []
    assert connector.buy_label(purchase, "key").tracking_numbers


def test_within_the_european_union_nothing_is_declared(vendor: UpsSimulator, connector: UpsConnector) -> None:
    lyon = replace(LEEDS, city="Lyon", postcode="69001", country="FR")
    ghent = replace(LEEDS, city="Gent", postcode="9000", country="BE")

    assert bought(connector, replace(vendor.example("R-1"), origin=lyon, destination=ghent)).tracking_numbers
    assert "ShipmentServiceOptions" not in asked(vendor, "/ship")


def test_a_parcel_that_is_too_heavy_or_too_long_is_refused_by_its_number(
    vendor: UpsSimulator, connector: UpsConnector
) -> None:
    shipment = vendor.example("R-1", 2)
    heavy = replace(shipment.parcels[0], weight=hub.Weight.of("150.1", hub.WeightUnit.POUND))
    long = replace(shipment.parcels[0], dimensions=hub.Dimensions.of("109", "4", "4", hub.LengthUnit.INCH))

    with pytest.raises(hub.Rejected, match=r"Parcel 2 is heavier than UPS carries \(150 lb\)"):
        connector.rates(replace(shipment, parcels=(shipment.parcels[0], heavy)))
    with pytest.raises(hub.Rejected, match=r"Parcel 1 is longer than UPS carries \(108 in\)"):
        connector.rates(replace(shipment, parcels=(long,)))
    most = replace(heavy, weight=hub.Weight(Decimal(150), hub.WeightUnit.POUND))
    assert connector.rates(replace(shipment, parcels=(most,))).rates


@pytest.mark.parametrize(
    ("status", "code", "message", "said"),
    [
        (
            400,
            "111285",
            "The postal code 1 is invalid for NY.",
            "is invalid for NY [111285]. Correct the address, then",
        ),
        (400, "120100", "Missing or invalid shipper number", "[120100]. Check the account number in the connection's"),
        (400, "999999", "Something else", "UPS refused to quote a price: Something else [999999]. Correct it, then"),
        (422, "", "", "UPS refused to quote a price (status 422), and did not say why. Try it again later."),
    ],
)
def test_a_refusal_is_a_sentence_with_its_next_step(
    vendor: UpsSimulator, connector: UpsConnector, status: int, code: str, message: str, said: str
) -> None:
    errors = [{"code": code, "message": message}] if code else []
    vendor.fail_next("/api/rating", Fault(response=SimResponse.of_json({"response": {"errors": errors}}, status)))

    with pytest.raises(hub.Rejected) as refused:
        connector.rates(vendor.example("R-1"))
    assert said in str(refused.value)
    assert refused.value.code == code
    assert connector.rates(vendor.example("R-1")).rates


def test_a_service_for_another_lane_is_refused_and_nothing_is_charged(
    vendor: UpsSimulator, connector: UpsConnector
) -> None:
    purchase = ordered(connector, vendor.example("R-1"))

    with pytest.raises(hub.Rejected, match="Ask for rates again, and choose another service") as refused:
        connector.buy_label(replace(purchase, rate=replace(purchase.rate, service="11")), "key")
    assert refused.value.code == "121210"
    with pytest.raises(hub.Rejected, match="UPS prints no labels in PNG"):
        connector.buy_label(replace(purchase, format=hub.DocumentFormat.PNG), "key")
    assert vendor.charges() == []
