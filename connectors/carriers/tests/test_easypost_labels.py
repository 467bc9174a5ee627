"""Buying labels from EasyPost, once whatever happens; their files; giving them back; what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

import hub
from hub.testing import Fault, SimResponse, connector_for
from hub_carriers import easypost_requests as bodies
from hub_carriers import easypost_translation as translation
from hub_carriers.easypost import EasyPostConnector, EasyPostSettings
from hub_carriers.simulator_easypost import EasyPostSimulator


@pytest.fixture
def vendor() -> Iterator[EasyPostSimulator]:
    with EasyPostSimulator() as simulator:
        yield simulator


@pytest.fixture
def connector(vendor: EasyPostSimulator) -> EasyPostConnector:
    return connector_for(EasyPostConnector, vendor)


def usd(amount: str) -> hub.Money:
    return hub.Money.of(amount, "USD")


def purchase_of(connector: EasyPostConnector, shipment: hub.Shipment, service: str = "Ground") -> hub.LabelPurchase:
    """The order for the label of one service."""
    (rate,) = [rate for rate in connector.rates(shipment).rates if rate.service == service]
    return hub.LabelPurchase(shipment=shipment, rate=rate)


def said_of(vendor: EasyPostSimulator, connector: EasyPostConnector, path: str) -> Any:
    """What EasyPost answers to a GET of ``path``."""
    return connector.client.get(f"https://api.easypost.com{path}", auth=(vendor.api_key, "")).json()


def answers(vendor: EasyPostSimulator, path: str, said: Any) -> None:
    """The next request to ``path`` is answered so."""
    vendor.fail_next(path, Fault("otherwise", response=SimResponse.of_json(said)))


def refuses(vendor: EasyPostSimulator, path: str, code: str, message: str = "No.", status: int = 422) -> None:
    """The next request to ``path`` is answered with an error of EasyPost's."""
    said = {"error": {"code": code, "message": message, "errors": []}}
    vendor.fail_next(path, Fault("refused", response=SimResponse.of_json(said, status)))


# ---------------------------------------------------------------- the account


def test_a_production_key_tells_whose_account_it_is(connector: EasyPostConnector) -> None:
    assert connector.check() == hub.Account(external_id="user_7f2d", name="Corner Shop", currency="USD")


def test_a_test_key_works_and_says_that_its_labels_are_not_valid() -> None:
    with EasyPostSimulator(mode="test") as vendor:
        account = connector_for(EasyPostConnector, vendor).check()
    assert account.name == "EasyPost test account"
    assert account.external_id.startswith("test-")
    assert vendor.api_key not in account.external_id
    assert account.warnings == (
        "This is a test key: its labels are not valid and no parcel will travel with them. Connect the production key "
        "before you ship.",
    )


def test_a_key_that_may_nothing_is_refused(vendor: EasyPostSimulator, connector: EasyPostConnector) -> None:
    refuses(vendor, "/v2/users", "FORBIDDEN", "Your account is suspended.", 403)
    with pytest.raises(hub.AuthError, match="Your account is suspended"):
        connector.check()
    assert connector.check().name == "Corner Shop"


@pytest.mark.parametrize("typed", ["EZAK", "EZAK-with-hyphens-in-it", "E" * 201])
def test_what_cannot_be_a_key_is_refused_by_the_form(typed: str) -> None:
    assert EasyPostSettings().validate({"api_key": typed}) == {
        "api_key": ["This is not an EasyPost API key: copy the whole of it, letters and digits."]
    }


# ---------------------------------------------------------------- rates


def test_carriers_have_the_words_of_the_hub(connector: EasyPostConnector, vendor: EasyPostSimulator) -> None:
    rates = connector.rates(vendor.example("R-1")).rates
    assert [(rate.carrier, rate.service, rate.name, rate.days, rate.guaranteed) for rate in rates] == [
        ("usps", "GroundAdvantage", "USPS Ground Advantage", 3, False),
        ("usps", "Priority", "USPS Priority", 2, False),
        ("ups", "Ground", "UPS Ground", 4, False),
        ("ups", "NextDayAir", "UPS Next Day Air", 1, True),
        ("fedex", "FEDEX_GROUND", "FedEx Ground", 3, False),
    ]
    assert [rate.deliver_by is not None for rate in rates] == [False, False, False, True, False]


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("USPS", "usps"),
        ("UPSDAP", "ups"),
        ("FedExDefault", "fedex"),
        ("DHLExpress", "dhl_express"),
        ("DhlEcs", "dhl_ecommerce"),
        ("RoyalMail", "royal_mail"),
        ("CanadaPost", "canada_post"),
        ("DPDUK", "dpd_uk"),
        ("OnTrac", "ontrac"),
        ("UPSMailInnovations", "ups_mail_innovations"),
        ("Österreichische Post", "österreichische_post"),
        ("", "unknown"),
    ],
)
def test_a_carriers_name_becomes_a_word(name: str, word: str) -> None:
    assert translation.carrier_word(name) == word


def test_what_no_carrier_takes_comes_back_with_their_reasons(
    connector: EasyPostConnector, vendor: EasyPostSimulator
) -> None:
    example = vendor.example("R-1")
    heavy = replace(example.parcels[0], weight=hub.Weight.of(100, hub.WeightUnit.POUND))

    quotes = connector.rates(replace(example, parcels=(heavy,)))

    assert {rate.carrier for rate in quotes.rates} == {"ups", "fedex"}
    assert quotes.notes == ("USPS: Packages may weigh at most 70 lb.",)


def test_weights_and_sizes_are_rounded_up_to_a_tenth(vendor: EasyPostSimulator) -> None:
    size = hub.Dimensions.of(30, 20, 10, hub.LengthUnit.CENTIMETER)
    box = hub.Parcel(weight=hub.Weight.of(500, hub.WeightUnit.GRAM), dimensions=size)
    said = bodies.quote(replace(vendor.example("R-1"), parcels=(box,)))
    # 17.637 oz; 11.811, 7.874 and 3.937 inches
    assert said["shipment"]["parcel"] == {"weight": 17.7, "length": 11.9, "width": 7.9, "height": 4.0}


def test_a_return_is_asked_for_with_the_addresses_of_the_way_there(
    connector: EasyPostConnector, vendor: EasyPostSimulator
) -> None:
    there = vendor.example("R-1")
    back = replace(there, origin=there.destination, destination=there.origin, returning=True, email="ada@example.com")

    said = bodies.quote(back)["shipment"]

    assert said["is_return"] is True
    assert said["to_address"] == bodies.quote(there)["shipment"]["to_address"]  # EasyPost turns them round
    assert said["from_address"] == bodies.quote(there)["shipment"]["from_address"]
    assert connector.buy_label(purchase_of(connector, back), "key").tracking_numbers


def test_only_the_recipient_gets_an_email(vendor: EasyPostSimulator) -> None:
    said = bodies.quote(replace(vendor.example("R-1"), email="ada@example.com"))["shipment"]
    assert said["to_address"]["email"] == "ada@example.com"
    assert "email" not in said["from_address"]


def _declared(vendor: EasyPostSimulator, country: str, value: str = "10", pieces: int = 2) -> hub.Shipment:
    item = hub.CustomsItem(
        description="Mug",
        quantity=pieces,
        unit_value=usd(value),
        unit_weight=hub.Weight.of(5, hub.WeightUnit.OUNCE),
        origin_country="US",
    )
    customs = hub.Customs(contents=hub.ContentsType.RETURN, items=(item,))
    example = vendor.example("R-1")
    return replace(example, destination=replace(example.destination, country=country), customs=customs)


def test_goods_for_canada_leave_the_us_under_an_exemption_of_their_own(vendor: EasyPostSimulator) -> None:
    for country, exemption in (("CA", "NOEEI 30.36"), ("GB", "NOEEI 30.37(a)")):
        said = bodies.quote(_declared(vendor, country))["shipment"]["customs_info"]
        assert (said["eel_pfc"], said["contents_type"]) == (exemption, "returned_goods")
        assert said["customs_signer"] == "Corner Shop"  # nobody else is named


def test_goods_that_need_an_export_filing_are_not_declared_as_exempt(vendor: EasyPostSimulator) -> None:
    with pytest.raises(hub.Rejected, match=r"^Mug: goods of one kind worth more than \$2,500 leave the US only with"):
        bodies.quote(_declared(vendor, "GB", value="1250.01", pieces=2))
    assert bodies.quote(_declared(vendor, "GB", value="1250", pieces=2))["shipment"]["customs_info"]
    assert bodies.quote(_declared(vendor, "CA", value="9999"))["shipment"]["customs_info"]
    declared = _declared(vendor, "GB")
    assert declared.customs is not None
    (item,) = declared.customs.items
    yen = replace(declared.customs, items=(replace(item, unit_value=hub.Money.of(9000, "JPY")),))
    assert bodies.quote(replace(declared, customs=yen))["shipment"]["customs_info"]


def test_goods_are_not_declared_once_for_each_parcel(connector: EasyPostConnector, vendor: EasyPostSimulator) -> None:
    declared = _declared(vendor, "GB")
    with pytest.raises(hub.Rejected, match="which goods lie in which parcel"):
        connector.rates(replace(declared, parcels=declared.parcels * 2))
    assert not vendor.requests


def test_abroad_the_declaration_decides_and_the_invoice_comes_with_the_label(
    connector: EasyPostConnector, vendor: EasyPostSimulator
) -> None:
    declared = _declared(vendor, "GB")
    undeclared = connector.rates(replace(declared, customs=None))
    assert undeclared.rates == ()
    assert undeclared.notes[0] == "USPS: customs_info is required for international shipments."

    label = connector.buy_label(purchase_of(connector, declared, "ExpressWorldwideNonDoc"), "key")

    documents = connector.fetch_documents(label, hub.DocumentFormat.ZPL)
    assert label.carrier == "dhl_express"
    assert [(each.kind, each.format) for each in documents] == [
        (hub.DocumentKind.LABEL, hub.DocumentFormat.ZPL),
        (hub.DocumentKind.INVOICE, hub.DocumentFormat.PDF),
    ]


# ---------------------------------------------------------------- insurance


def _insured(vendor: EasyPostSimulator, value: hub.Money, parcels: int = 1) -> hub.Shipment:
    example = vendor.example("R-1", parcels)
    return replace(example, parcels=(replace(example.parcels[0], insured=value), *example.parcels[1:]))


def test_an_insured_parcel_costs_its_postage_and_its_insurance(
    connector: EasyPostConnector, vendor: EasyPostSimulator
) -> None:
    label = connector.buy_label(purchase_of(connector, _insured(vendor, usd("249.99"))), "key")
    (bought,) = [each for each in vendor.requests if each.path.endswith("/buy")]
    assert bought.json()["insurance"] == "249.99"
    assert label.cost == usd("9.09995")  # 7.85 and half a percent
    assert [charge.cost for charge in vendor.charges()] == [label.cost]


def test_fees_in_dollars_are_not_added_to_postage_in_another_currency(
    connector: EasyPostConnector, vendor: EasyPostSimulator
) -> None:
    vendor.price_in("EUR")
    label = connector.buy_label(purchase_of(connector, _insured(vendor, usd("249.99"))), "key")
    assert label.cost == hub.Money.of("7.85", "EUR")


@pytest.mark.parametrize(
    ("value", "parcels", "why"),
    [
        (hub.Money.of("100", "EUR"), 1, "EasyPost insures in USD, not in EUR. Enter the value in US dollars."),
        (usd("100"), 2, "EasyPost insures one parcel at a time. Ship the insured parcels one by one."),
    ],
    ids=["another-currency", "several-parcels"],
)
def test_what_cannot_be_insured_is_refused_before_anything_is_bought(
    connector: EasyPostConnector, vendor: EasyPostSimulator, value: hub.Money, parcels: int, why: str
) -> None:
    with pytest.raises(hub.Rejected) as refused:
        connector.rates(_insured(vendor, value, parcels))
    assert str(refused.value) == why
    assert not vendor.requests


# ---------------------------------------------------------------- bought once


def test_the_id_of_the_shipment_is_known_before_anything_is_bought(
    connector: EasyPostConnector, vendor: EasyPostSimulator
) -> None:
    purchase = purchase_of(connector, vendor.example("R-1"))
    assert vendor.charges() == []
    label = connector.buy_label(purchase, "key")
    assert purchase.rate.handles == {"shipment": label.external_id}


def test_a_label_whose_answer_was_lost_is_found_and_a_second_purchase_adopts_it(
    connector: EasyPostConnector, vendor: EasyPostSimulator
) -> None:
    purchase = purchase_of(connector, vendor.example("R-1"))
    assert connector.find_buy_label(purchase, "key") is None
    vendor.fail_next("/v2/shipments", Fault.reset(after_effect=True))

    with pytest.raises(hub.Unavailable) as lost:
        connector.buy_label(purchase, "key")
    found = connector.find_buy_label(purchase, "key")

    assert lost.value.sent
    assert found is not None
    assert connector.buy_label(purchase, "key") == found
    assert [charge.label_external_id for charge in vendor.charges()] == [found.external_id]


@pytest.mark.parametrize("parcels", [1, 2])
def test_whatever_a_second_purchase_is_refused_with_the_label_is_adopted(
    connector: EasyPostConnector, vendor: EasyPostSimulator, parcels: int
) -> None:
    purchase = purchase_of(connector, vendor.example("R-1", parcels))
    label = connector.buy_label(purchase, "key")
    refuses(vendor, "/v2/", "SOMETHING.NEW", "This was purchased before.")
    assert connector.buy_label(purchase, "key") == label
    assert len(vendor.charges()) == 1


@pytest.mark.parametrize("missing", [{"postage_label": None}, {"tracking_code": None}], ids=["label", "number"])
def test_a_label_that_is_still_being_made_is_neither_found_nor_bought_again(
    connector: EasyPostConnector, vendor: EasyPostSimulator, missing: dict[str, None]
) -> None:
    purchase = purchase_of(connector, vendor.example("R-1"))
    label = connector.buy_label(purchase, "key")
    path = f"/v2/shipments/{label.external_id}"
    half = said_of(vendor, connector, path) | missing

    answers(vendor, path, half)
    with pytest.raises(hub.Unavailable, match="still making this label"):
        connector.find_buy_label(purchase, "key")
    refuses(vendor, f"{path}/buy", translation.BOUGHT_ALREADY)
    answers(vendor, path, half)
    with pytest.raises(hub.Unavailable) as unclear:
        connector.buy_label(purchase, "key")

    assert unclear.value.sent
    assert connector.find_buy_label(purchase, "key") == label


def test_another_rate_of_a_bought_shipment_is_not_taken_for_it(
    connector: EasyPostConnector, vendor: EasyPostSimulator
) -> None:
    shipment = vendor.example("R-1")
    rates = {rate.service: rate for rate in connector.rates(shipment).rates}
    connector.buy_label(hub.LabelPurchase(shipment=shipment, rate=rates["Ground"]), "key-1")
    other = hub.LabelPurchase(shipment=shipment, rate=rates["NextDayAir"])

    assert connector.find_buy_label(other, "key-2") is None
    with pytest.raises(hub.Rejected, match=r"^A label was bought with these rates before\. Ask for the rates again"):
        connector.buy_label(other, "key-2")
    assert len(vendor.charges()) == 1

    label = connector.buy_label(purchase_of(connector, shipment, "NextDayAir"), "key-2")
    assert label.service == "NextDayAir"


def test_a_label_that_was_given_back_is_not_adopted_by_a_new_purchase(
    connector: EasyPostConnector, vendor: EasyPostSimulator
) -> None:
    purchase = purchase_of(connector, vendor.example("R-1"))
    connector.void_label(connector.buy_label(purchase, "key-1"), "key-1")

    assert connector.find_buy_label(purchase, "key-2") is None
    with pytest.raises(hub.Rejected, match="Ask for the rates again"):
        connector.buy_label(purchase, "key-2")


def test_a_rate_of_another_shipment_is_refused(connector: EasyPostConnector, vendor: EasyPostSimulator) -> None:
    purchase = purchase_of(connector, vendor.example("R-1"))
    elsewhere = purchase_of(connector, vendor.example("R-2"))
    mixed = replace(purchase.rate, handles=elsewhere.rate.handles)

    with pytest.raises(hub.Rejected) as refused:
        connector.buy_label(replace(purchase, rate=mixed), "key")

    assert str(refused.value) == "EasyPost refused it. The rate does not belong to this shipment."
    assert vendor.charges() == []


def test_a_rate_that_was_not_asked_for_here_is_refused_unsent(
    connector: EasyPostConnector, vendor: EasyPostSimulator
) -> None:
    rate = hub.Rate(external_id="rate_1", carrier="usps", service="Priority", cost=usd("5"))
    with pytest.raises(hub.Rejected, match="Ask for the rates again"):
        connector.buy_label(hub.LabelPurchase(shipment=vendor.example("R-1"), rate=rate), "key")
    assert not vendor.requests


@pytest.mark.parametrize("code", sorted(translation.UNCLEAR))
def test_a_carrier_that_does_not_answer_leaves_it_unclear(
    connector: EasyPostConnector, vendor: EasyPostSimulator, code: str
) -> None:
    purchase = purchase_of(connector, vendor.example("R-1"))
    refuses(vendor, "/v2/shipments", code, "The carrier timed out.")
    with pytest.raises(hub.Unavailable) as unclear:
        connector.buy_label(purchase, "key")
    assert unclear.value.sent
    assert connector.buy_label(purchase, "key").external_id == purchase.rate.handles["shipment"]


def test_an_empty_purse_is_said_with_what_to_do(connector: EasyPostConnector, vendor: EasyPostSimulator) -> None:
    purchase = purchase_of(connector, vendor.example("R-1"))
    vendor.funded = False
    with pytest.raises(hub.Rejected) as refused:
        connector.buy_label(purchase, "key")
    assert str(refused.value) == (
        "EasyPost could not charge your account. Insufficient funds in your account. Add money or a card there under "
        "Billing, then try again."
    )
    vendor.funded = True
    assert connector.buy_label(purchase, "key").cost == usd("7.85")


def test_a_purchase_without_a_label_yet_is_looked_up(connector: EasyPostConnector, vendor: EasyPostSimulator) -> None:
    purchase = purchase_of(connector, vendor.example("R-1"))
    half = {"id": purchase.rate.handles["shipment"], "rates": [], "tracking_code": None, "postage_label": None}
    vendor.fail_next("/v2/", Fault("half", after_effect=True, response=SimResponse.of_json(half, 201)))
    with pytest.raises(hub.Unavailable):
        connector.buy_label(purchase, "key")
    assert connector.find_buy_label(purchase, "key") is not None


# ---------------------------------------------------------------- several parcels


def test_several_parcels_are_one_order_at_one_price(connector: EasyPostConnector, vendor: EasyPostSimulator) -> None:
    purchase = purchase_of(connector, vendor.example("R-1", parcels=3))
    label = connector.buy_label(purchase, "key")

    assert (purchase.rate.cost, purchase.rate.handles["carrier"]) == (usd("23.55"), "UPSDAP")
    assert label.cost == usd("23.55")
    assert label.external_id == purchase.rate.handles["order"]
    assert len(set(label.tracking_numbers)) == 3
    assert connector.buy_label(purchase, "key") == label  # adopted: it is not bought twice
    (charge,) = vendor.charges()
    assert (charge.reference, charge.tracking_numbers) == ("R-1", label.tracking_numbers)
    documents = connector.fetch_documents(label, hub.DocumentFormat.PNG)
    assert [each.tracking_number for each in documents] == list(label.tracking_numbers)


def test_an_order_of_which_only_a_part_was_bought_is_put_before_a_person(
    connector: EasyPostConnector, vendor: EasyPostSimulator
) -> None:
    purchase = purchase_of(connector, vendor.example("R-1", parcels=2))
    label = connector.buy_label(purchase, "key")
    path = f"/v2/orders/{label.external_id}"
    order = said_of(vendor, connector, path)
    order["shipments"][1] |= {"postage_label": None, "tracking_code": None}
    answers(vendor, path, order)

    with pytest.raises(hub.Rejected) as refused:
        connector.find_buy_label(purchase, "key")

    assert str(refused.value) == (
        f"EasyPost has bought 1 of 2 labels ({label.tracking_numbers[0]}). Look at the order in its dashboard: refund "
        "these there and buy anew, or have EasyPost finish it."
    )
    refuses(vendor, f"{path}/buy", "ORDER.INVALID")
    answers(vendor, path, order)
    with pytest.raises(hub.Unavailable, match="has bought 1 of 2 labels"):  # it is not as if nothing had been bought
        connector.buy_label(purchase, "key")


def test_an_order_is_voided_only_if_each_of_its_parcels_is(
    connector: EasyPostConnector, vendor: EasyPostSimulator
) -> None:
    label = connector.buy_label(purchase_of(connector, vendor.example("R-1", parcels=2)), "key")
    vendor.scan(label.tracking_numbers[1], hub.TrackingStatus.IN_TRANSIT)

    answer = connector.void_label(label, "key")

    assert answer.state is hub.VoidState.REFUSED
    assert answer.message == "EasyPost refused it. Unable to request refund. The parcel has been shipped."
    assert connector.find_void_label(label, "key") is None  # one of them was never refunded
    unused = connector.buy_label(purchase_of(connector, vendor.example("R-2", parcels=2)), "key")
    assert connector.void_label(unused, "key").state is hub.VoidState.VOIDED


def test_a_void_whose_second_answer_was_lost_goes_on_where_it_was(
    connector: EasyPostConnector, vendor: EasyPostSimulator
) -> None:
    label = connector.buy_label(purchase_of(connector, vendor.example("R-1", parcels=2)), "key")
    vendor.fail_next(f"/v2/shipments/{label.handles['shipment_2']}", Fault.reset(after_effect=False))
    with pytest.raises(hub.Unavailable):
        connector.void_label(label, "key")

    assert connector.find_void_label(label, "key") is None
    answer = connector.void_label(label, "key")

    assert answer == hub.LabelVoid(label_external_id=label.external_id, state=hub.VoidState.VOIDED)
    assert [charge.voided for charge in vendor.charges()] == [True]


# ---------------------------------------------------------------- files


def test_a_label_is_downloaded_from_the_file_host_without_the_key(
    connector: EasyPostConnector, vendor: EasyPostSimulator
) -> None:
    label = connector.buy_label(purchase_of(connector, vendor.example("R-1")), "key")
    for format in hub.DocumentFormat:
        (document,) = connector.fetch_documents(label, format)
        asked = vendor.requests[-1]
        assert (document.format, document.well_formed) == (format, True)
        assert asked.headers["host"].startswith("easypost-files.s3")
        assert "authorization" not in asked.headers


def test_a_format_is_converted_once(connector: EasyPostConnector, vendor: EasyPostSimulator) -> None:
    label = connector.buy_label(purchase_of(connector, vendor.example("R-1")), "key")
    for _ in range(2):
        connector.fetch_documents(label, hub.DocumentFormat.PDF)
    converted = [each.parameter("file_format") for each in vendor.requests if each.path.endswith("/label")]
    assert converted == ["PDF"]


def test_a_page_for_people_in_place_of_a_file_is_asked_for_again(
    connector: EasyPostConnector, vendor: EasyPostSimulator
) -> None:
    label = connector.buy_label(purchase_of(connector, vendor.example("R-1")), "key")
    vendor.fail_next("/files/", Fault.html())
    with pytest.raises(hub.Unavailable, match="something else than a PNG file"):
        connector.fetch_documents(label, hub.DocumentFormat.PNG)
    assert len(connector.fetch_documents(label, hub.DocumentFormat.PNG)) == 1


def test_a_file_at_another_host_is_not_fetched(connector: EasyPostConnector, vendor: EasyPostSimulator) -> None:
    label = connector.buy_label(purchase_of(connector, vendor.example("R-1")), "key")
    path = f"/v2/shipments/{label.external_id}"
    shipment = said_of(vendor, connector, path)
    shipment["postage_label"]["label_url"] = "https://files.example/label.png"
    answers(vendor, path, shipment)
    with pytest.raises(hub.Rejected, match="is not an address of this connection: nothing was sent"):
        connector.fetch_documents(label, hub.DocumentFormat.PNG)


# ---------------------------------------------------------------- giving back


@pytest.mark.parametrize(
    ("service", "state", "message"),
    [
        ("Ground", hub.VoidState.VOIDED, ""),
        ("Priority", hub.VoidState.REQUESTED, "The carrier answers later, at the latest after 30 days."),
    ],
)
def test_some_carriers_refund_at_once_and_others_answer_later(
    connector: EasyPostConnector, vendor: EasyPostSimulator, service: str, state: hub.VoidState, message: str
) -> None:
    label = connector.buy_label(purchase_of(connector, vendor.example("R-1"), service), "key")
    expected = hub.LabelVoid(label_external_id=label.external_id, state=state, message=message)
    assert connector.void_label(label, "key") == expected
    assert connector.find_void_label(label, "key") == expected
    assert connector.void_label(label, "key-2") == expected  # asked twice, it is refused and looked up
    assert [charge.voided for charge in vendor.charges()] == [state is hub.VoidState.VOIDED]


def test_a_refund_that_the_carrier_rejects_says_what_to_do(
    connector: EasyPostConnector, vendor: EasyPostSimulator
) -> None:
    label = connector.buy_label(purchase_of(connector, vendor.example("R-1"), "Priority"), "key")
    connector.void_label(label, "key")
    vendor.decide_refund(label.tracking_numbers[0], refunded=False)

    answer = connector.find_void_label(label, "key")

    assert answer is not None
    assert (answer.state, answer.message) == (
        hub.VoidState.REFUSED,
        "The carrier refused the refund: the label was used or is too old. If you never used it, ask once more.",
    )
    assert connector.void_label(label, "key-2").state is hub.VoidState.REQUESTED  # it may be asked once more


def test_a_carrier_that_bills_what_it_scans_has_nothing_to_refund(
    connector: EasyPostConnector, vendor: EasyPostSimulator
) -> None:
    label = connector.buy_label(purchase_of(connector, _declared(vendor, "GB"), "ExpressWorldwideNonDoc"), "key")
    answer = connector.void_label(label, "key")
    assert (answer.state, answer.message) == (
        hub.VoidState.REFUSED,
        "This carrier bills a label only when it is scanned, so that there is nothing to refund. Throw it away.",
    )


def test_a_refund_status_that_is_new_is_not_taken_for_money() -> None:
    assert translation.void_of("") is None
    assert translation.void_of("pondering") == (
        hub.VoidState.REQUESTED,
        "EasyPost says “pondering”. Look at the shipment in its dashboard.",
    )


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": {"code": "X", "message": "Bad parcel"}}, "EasyPost refused it. Bad parcel."),
        (
            {"error": {"code": "X", "message": "Missing.", "errors": [{"field": "shipment", "message": "is blank"}]}},
            "EasyPost refused it. Missing. shipment: is blank.",
        ),
        ({"error": {"code": "X", "message": ["One", "Two."]}}, "EasyPost refused it. One. Two."),
        (
            {"error": {"code": "X", "message": {"errors": ["Deep"]}, "errors": ["Flat"]}},
            "EasyPost refused it. Deep. Flat.",
        ),
        ({"error": "Only words"}, "EasyPost refused it. Only words."),
        ({"message": "elsewhere"}, "EasyPost refused it. It said 422 and no more."),
        (["?"], "EasyPost refused it. It said 422 and no more."),
    ],
)
def test_every_form_of_an_error_is_a_sentence(
    connector: EasyPostConnector, vendor: EasyPostSimulator, body: Any, said: str
) -> None:
    vendor.fail_next("", Fault("refused", response=SimResponse.of_json(body, 422)))
    with pytest.raises(hub.Rejected) as refused:
        connector.rates(vendor.example("R-1"))
    assert str(refused.value) == said


@pytest.mark.parametrize(("told", "wait"), [("7", 7.0), (None, None), ("Mon, 23 Nov 2026 09:00:00 GMT", None)])
def test_a_busy_easypost_is_waited_for(
    connector: EasyPostConnector, vendor: EasyPostSimulator, told: str | None, wait: float | None
) -> None:
    vendor.fail_next("", Fault.status(429, retry_after=told))
    with pytest.raises(hub.RateLimited) as limited:
        connector.rates(vendor.example("R-1"))
    assert limited.value.retry_after == wait
    assert connector.rates(vendor.example("R-1")).rates


def test_lists_are_asked_for_at_most_five_times_a_second(vendor: EasyPostSimulator) -> None:
    class Counting:
        def __init__(self) -> None:
            self.costs: list[float] = []

        def acquire(self, cost: float) -> None:
            self.costs.append(cost)

        def learn(self, available: float, restore_rate: float, maximum: float) -> None:
            """EasyPost says nothing of its limits."""

    limiter = Counting()
    connector = connector_for(EasyPostConnector, vendor, limiter=limiter)
    connector.read_subscriptions("https://hub.example/webhooks/1/2")
    connector.rates(vendor.example("R-1"))
    budget = EasyPostConnector.rate_budget
    assert budget is not None
    assert [Decimal(budget.per_second) / Decimal(cost) for cost in limiter.costs] == [5, 20]


# ---------------------------------------------------------------- addresses


def test_an_address_is_valid_corrected_or_none(connector: EasyPostConnector, vendor: EasyPostSimulator) -> None:
    right = vendor.example("R-1").destination
    assert connector.validate_address(right) == hub.AddressVerdict(state=hub.AddressState.VALID, residential=True)

    spaced = replace(right, line1="7  mill ln", city=" boise ")
    assert connector.validate_address(spaced).state is hub.AddressState.VALID

    nowhere = connector.validate_address(replace(right, line1="000 unknown street"))
    assert (nowhere.state, nowhere.messages) == (hub.AddressState.INVALID, ("Address not found",))


def test_a_house_number_that_is_missing_a_flat_is_still_valid_and_says_so(
    connector: EasyPostConnector, vendor: EasyPostSimulator
) -> None:
    right = vendor.example("R-1").destination
    wrong = {"code": "E.SECONDARY_INFORMATION.MISSING", "message": "Missing flat.", "suggestion": "Add “Apt 2”."}
    said = {"street1": "7 MILL LN", "city": "BOISE", "state": "ID", "zip": "83702-2506", "country": "US"}
    checks = {"verifications": {"delivery": {"success": True, "errors": [wrong], "details": {}}}}
    answers(vendor, "/v2/addresses", said | checks)
    assert connector.validate_address(right) == hub.AddressVerdict(
        state=hub.AddressState.VALID, messages=("Missing flat. Add “Apt 2”.",)
    )
