"""What UPS is asked: shipments as its Rating, Shipping and Address Validation APIs want them, refused where UPS would.

UPS cuts or refuses what is longer than its fields; nothing is cut here. Whatever does not fit is refused before
anything is sent, with the field named.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import hub

NAME, LINE, LINES, CITY, PHONE, EMAIL, WEIGHT, VALUE = 35, 35, 3, 30, 15, 50, 5, 11
PARCELS = 20  # most whose tracking numbers can be voided in one request
AHEAD = timedelta(days=7)

# Where UPS weighs in pounds and measures in inches; everywhere else it is kilograms and centimeters.
_POUNDS = frozenset({"US", "PR", "VI", "GU", "DO"})
_HEAVIEST = {"LBS": Decimal(150), "KGS": Decimal(70)}
_WITH_STATES = frozenset({"US", "CA", "PR"})
_EUROPEAN_UNION = frozenset(
    "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK".split()  # noqa: SIM905
)
_REASONS = {
    hub.ContentsType.MERCHANDISE: "SALE",
    hub.ContentsType.GIFT: "GIFT",
    hub.ContentsType.SAMPLE: "SAMPLE",
    hub.ContentsType.RETURN: "RETURN",
}
_TERMS = frozenset("CFR CIF CIP CPT DAF DAP DDP DDU DEQ DES EXW FAS FCA FOB".split())  # noqa: SIM905
# The labels that Tallyhub can keep. UPS prints ZPL when a label is bought. A PDF is made by label recovery only: what
# it is made of is bought as a picture, UPS's usual form.
PRINTED = {hub.DocumentFormat.PDF: "GIF", hub.DocumentFormat.ZPL: "ZPL"}
_STOCK = {"Height": "6", "Width": "4"}
_BROWSER = "Mozilla/4.5"


def rate_body(shipment: hub.Shipment, account: str, today: date) -> dict[str, Any]:
    """The request for the rates of every service that takes the shipment."""
    unit = _unit(shipment)
    said: dict[str, Any] = {
        **_parties(shipment, account),
        "PaymentDetails": {"ShipmentCharge": _charges(shipment, account)},
        "ShipmentRatingOptions": {"NegotiatedRatesIndicator": "Y"},
        "ShipmentTotalWeight": {"UnitOfMeasurement": _measure(unit), "Weight": str(_total_weight(shipment))},
        "DeliveryTimeInformation": {
            "PackageBillType": "02" if _documents_only(shipment) else "03",
            "Pickup": {"Date": _day(shipment, today) or today.strftime("%Y%m%d")},
        },
        "Package": [
            {"PackagingType": {"Code": _packaging(parcel)}, **_measured(parcel, number, shipment)}
            for number, parcel in enumerate(shipment.parcels, 1)
        ],
    }
    if _documents_only(shipment):
        said["DocumentsOnlyIndicator"] = ""
    if customs := _declared(shipment):
        said["InvoiceLineTotal"] = _invoice_total(customs)
    options = _shipment_options(shipment)
    if shipment.returning:
        options["ReturnService"] = {"Code": "9"}
    if options:
        said["ShipmentServiceOptions"] = options
    # The contact's data that only a label needs are not sent for a price.
    for party in ("Shipper", "ShipTo", "ShipFrom"):
        said[party] = {name: value for name, value in said[party].items() if name not in ("Phone", "EMailAddress")}
    return {"RateRequest": {"Request": {"RequestOption": "Shop"}, "Shipment": said}}


def ship_body(purchase: hub.LabelPurchase, account: str, today: date) -> dict[str, Any]:
    """The order for a label."""
    shipment, service = purchase.shipment, purchase.rate.service
    if not re.fullmatch(r"[0-9A-Z]{2}", service):
        raise hub.Rejected(f"“{service}” is no service of UPS. Ask for rates again, and choose one of them.")
    if purchase.format not in PRINTED:
        raise hub.Rejected(f"UPS prints no labels in {purchase.format.name}. Choose PDF or ZPL.")
    said: dict[str, Any] = {
        **_parties(shipment, account),
        "PaymentInformation": {"ShipmentCharge": _charges(shipment, account)},
        "ShipmentRatingOptions": {"NegotiatedRatesIndicator": "Y"},
        "Service": {"Code": service},
        "Package": [_package(parcel, number, shipment) for number, parcel in enumerate(shipment.parcels, 1)],
    }
    if day := _day(shipment, today):
        said["ShipmentDate"] = day
    if not _reference_on_parcels(shipment):
        said["ReferenceNumber"] = [{"Value": shipment.reference}]
    if shipment.returning:
        said["ReturnService"] = {"Code": "9"}
    if _documents_only(shipment):
        said["DocumentsOnlyIndicator"] = ""
    options = _shipment_options(shipment)
    if customs := _declared(shipment):
        said["Description"] = _goods(customs)
        if not _documents_only(shipment):
            said["InvoiceLineTotal"] = _invoice_total(customs)
            options["InternationalForms"] = _invoice(shipment, customs, today)
    if options:
        said["ShipmentServiceOptions"] = options
    code = PRINTED[purchase.format]
    label = {"LabelImageFormat": {"Code": code}, "LabelStockSize": _STOCK}
    browser = {"HTTPUserAgent": _BROWSER} if code == "GIF" else {}
    request = {"RequestOption": "nonvalidate"}
    return {"ShipmentRequest": {"Request": request, "Shipment": said, "LabelSpecification": {**label, **browser}}}


def recovery_body(wanted: Mapping[str, Any], format: hub.DocumentFormat) -> dict[str, Any]:
    """The request for labels that exist: by ``TrackingNumber``, or by ``ReferenceValues``."""
    specification = {"LabelImageFormat": {"Code": format.name}, "LabelStockSize": _STOCK}
    return {"LabelRecoveryRequest": {"Request": {}, "LabelSpecification": specification, **wanted}}


def by_reference(reference: str, account: str) -> dict[str, Any]:
    """What names a label whose tracking number nobody has told us."""
    return {"ReferenceValues": {"ReferenceNumber": {"Value": reference}, "ShipperNumber": account}}


def address_body(address: hub.Address) -> dict[str, Any]:
    """The question whether there is such an address."""
    if not (address.country.strip() and (address.line1.strip() or address.line2.strip())):
        raise hub.Rejected("UPS needs a street and a country to check an address. Complete it, then ask again.")
    low, _, extended = address.postcode.strip().partition("-")
    name = _plain(address.company) or _plain(address.name)
    parts = {
        "ConsigneeName": _fits(name, 40, "name"),
        "AddressLine": [_fits(line, 100, "street") for line in _street(address)],
        "PoliticalDivision2": _fits(address.city, CITY, "city"),
        "PoliticalDivision1": _fits(address.region, CITY, "state"),
        "PostcodePrimaryLow": _fits(low, 10, "postal code"),
        "PostcodeExtendedLow": _fits(extended, 10, "postal code's extension"),
        "CountryCode": _country(address, "address"),
    }
    return {"XAVRequest": {"AddressKeyFormat": {name: value for name, value in parts.items() if value}}}


# ---------------------------------------------------------------- who sends, who receives


def _parties(shipment: hub.Shipment, account: str) -> dict[str, Any]:
    """Shipper, ShipFrom and ShipTo. The shipper is whose account pays: the merchant, who receives what comes back."""
    if len(shipment.parcels) > PARCELS:
        raise hub.Rejected(
            f"Tallyhub sends at most {PARCELS} parcels in a shipment with UPS. Make two shipments of it."
        )
    crossing = _crosses(shipment)
    if crossing and shipment.returning:
        raise hub.Rejected(
            "UPS has no commercial invoice for returns from abroad. Make this return label on ups.com instead."
        )
    if crossing and shipment.customs is None and not _within_union(shipment):
        lane = " to ".join(_lane(shipment))
        raise hub.Rejected(f"UPS needs a customs declaration from {lane}. Say what is in the parcels, then ask again.")
    sender = _party(shipment.origin, "sender", phone_needed=crossing)
    receiver = _party(shipment.destination, "recipient", phone_needed=crossing)
    if shipment.email and not shipment.returning:
        receiver["EMailAddress"] = _fits(shipment.email, EMAIL, "recipient's e-mail address")
    paying = receiver if shipment.returning else sender
    shipper = {**paying, "ShipperNumber": account}
    if not _plain(shipment.destination.company):
        # A home costs more than a firm, and UPS charges that afterwards where it was not told.
        receiver = {**receiver, "Address": {**receiver["Address"], "ResidentialAddressIndicator": ""}}
    return {"Shipper": shipper, "ShipFrom": sender, "ShipTo": receiver}


def _party(address: hub.Address, who: str, *, phone_needed: bool) -> dict[str, Any]:
    name, person = _plain(address.company), _plain(address.name)
    if not (name or person):
        raise hub.Rejected(f"The {who}'s address has no name. Enter one, then ask again.")
    said: dict[str, Any] = {"Name": _fits(name or person, NAME, f"{who}'s name")}
    if phone_needed or (name and person):
        said["AttentionName"] = _fits(person or name, NAME, f"{who}'s name")
    if digits := re.sub(r"[^0-9]", "", address.phone):
        if len(digits) > PHONE:
            raise hub.Rejected(f"The {who}'s phone number has {len(digits)} digits; UPS takes {PHONE}. Correct it.")
        said["Phone"] = {"Number": digits}
    elif phone_needed:
        raise hub.Rejected(f"UPS needs a phone number of the {who} for a shipment abroad. Enter one, then ask again.")
    country, lines = _country(address, who), _street(address)
    if not lines:
        raise hub.Rejected(f"The {who}'s address has no street. Complete it, then ask again.")
    if not _plain(address.city):
        raise hub.Rejected(f"The {who}'s address has no city. Complete it, then ask again.")
    place: dict[str, Any] = {
        "AddressLine": [_fits(line, LINE, f"{who}'s street") for line in lines],
        "City": _fits(address.city, CITY, f"{who}'s city"),
        "CountryCode": country,
    }
    if postcode := _plain(address.postcode):
        place["PostalCode"] = _fits(postcode.replace("-", "").replace(" ", ""), 9, f"{who}'s postal code")
    region = _plain(address.region).upper().removeprefix(f"{country}-")
    if country in _WITH_STATES and country != "PR" and not re.fullmatch(r"[A-Z]{2}", region):
        raise hub.Rejected(f"UPS needs the {who}'s state or province as two letters. Enter it, then ask again.")
    if re.fullmatch(r"[A-Z]{2}", region):
        place["StateProvinceCode"] = region
    return {**said, "Address": place}


def _street(address: hub.Address) -> list[str]:
    """The street's lines. A second one that is too long goes on in the third."""
    lines = [line for line in (_plain(address.line1), _plain(address.line2)) if line]
    if all(len(line) <= LINE for line in lines):
        return lines
    wrapped = [part for line in lines for part in textwrap.wrap(line, LINE, break_long_words=False)]
    return wrapped if len(wrapped) <= LINES else lines


def _country(address: hub.Address, who: str) -> str:
    country = address.country.strip().upper()
    if not re.fullmatch(r"[A-Z]{2}", country):
        raise hub.Rejected(f"The {who} has no country of two letters, such as US. Enter it, then ask again.")
    return country


def _plain(text: str) -> str:
    return " ".join(text.split())


def _fits(text: str, most: int, field: str) -> str:
    text = _plain(text)
    if len(text) > most:
        raise hub.Rejected(f"The {field} has {len(text)} characters; UPS takes {most}. Shorten it, then ask again.")
    return text


# ---------------------------------------------------------------- lanes


def _lane(shipment: hub.Shipment) -> tuple[str, str]:
    return _country(shipment.origin, "sender"), _country(shipment.destination, "recipient")


def _crosses(shipment: hub.Shipment) -> bool:
    origin, destination = _lane(shipment)
    return origin != destination


def _within_union(shipment: hub.Shipment) -> bool:
    return set(_lane(shipment)) <= _EUROPEAN_UNION


def _reference_on_parcels(shipment: hub.Shipment) -> bool:
    """Within the US, and within Puerto Rico, UPS keeps references of parcels; elsewhere that of the shipment."""
    return _lane(shipment) in {("US", "US"), ("PR", "PR")}


def _signed_per_parcel(shipment: hub.Shipment) -> bool:
    origin, destination = _lane(shipment)
    return (origin == destination == "CA") or {origin, destination} <= {"US", "PR"}


def _documents_only(shipment: hub.Shipment) -> bool:
    return bool(_crosses(shipment) and shipment.customs and shipment.customs.contents is hub.ContentsType.DOCUMENTS)


def _declared(shipment: hub.Shipment) -> hub.Customs | None:
    """What is declared to customs; within a country nothing is."""
    return shipment.customs if _crosses(shipment) else None


def _charges(shipment: hub.Shipment, account: str) -> list[dict[str, Any]]:
    """The merchant pays the way, and the duties too where they were promised to be paid."""
    charges = [{"Type": "01", "BillShipper": {"AccountNumber": account}}]
    customs = _declared(shipment)
    if customs and customs.incoterm.strip().upper() == "DDP":
        charges.append({"Type": "02", "BillShipper": {"AccountNumber": account}})
    return charges


def _day(shipment: hub.Shipment, today: date) -> str:
    if shipment.ship_on is None:
        return ""
    if shipment.ship_on > today + AHEAD:
        raise hub.Rejected(f"UPS sells labels for the next {AHEAD.days} days. Choose an earlier day to hand it over.")
    return shipment.ship_on.strftime("%Y%m%d")


def _shipment_options(shipment: hub.Shipment) -> dict[str, Any]:
    if shipment.signature and not shipment.returning and not _signed_per_parcel(shipment):
        return {"DeliveryConfirmation": {"DCISType": "1"}}
    return {}


# ---------------------------------------------------------------- parcels


def _unit(shipment: hub.Shipment) -> str:
    return "LBS" if _lane(shipment)[0] in _POUNDS else "KGS"


def _measure(code: str) -> dict[str, str]:
    names = {"LBS": "Pounds", "KGS": "Kilograms", "IN": "Inches", "CM": "Centimeters"}
    return {"Code": code, "Description": names[code]}


def _packaging(parcel: hub.Parcel) -> str:
    """UPS's code of its own box; 02 is one of the merchant's."""
    if not re.fullmatch(r"[0-9][0-9a-z]|", parcel.packaging):
        raise hub.Rejected(f"“{parcel.packaging}” is no packaging of UPS. Choose one such as 01, or a box of your own.")
    return parcel.packaging or "02"


def _weight(parcel: hub.Parcel, unit: str) -> Decimal:
    """In tenths, rounded up: no parcel is declared lighter than it is."""
    return parcel.weight.rounded_up(hub.WeightUnit.POUND if unit == "LBS" else hub.WeightUnit.KILOGRAM, 1)


def _total_weight(shipment: hub.Shipment) -> Decimal:
    return sum((_weight(parcel, _unit(shipment)) for parcel in shipment.parcels), Decimal(0))


def _measured(parcel: hub.Parcel, number: int, shipment: hub.Shipment) -> dict[str, Any]:
    unit = _unit(shipment)
    weight = _weight(parcel, unit)
    if weight > _HEAVIEST[unit]:
        most = f"{_HEAVIEST[unit]} {'lb' if unit == 'LBS' else 'kg'}"
        raise hub.Rejected(f"Parcel {number} is heavier than UPS carries ({most}). Split it, then ask again.")
    said: dict[str, Any] = {"PackageWeight": {"UnitOfMeasurement": _measure(unit), "Weight": str(weight)}}
    if parcel.dimensions:
        inches = unit == "LBS"
        sides = parcel.dimensions.rounded_up(hub.LengthUnit.INCH if inches else hub.LengthUnit.CENTIMETER)
        longest, middle, shortest = sorted((int(side) for side in sides), reverse=True)
        if longest > (108 if inches else 270):
            raise hub.Rejected(f"Parcel {number} is longer than UPS carries ({'108 in' if inches else '270 cm'}).")
        said["Dimensions"] = {
            "UnitOfMeasurement": _measure("IN" if inches else "CM"),
            "Length": str(longest),
            "Width": str(middle),
            "Height": str(shortest),
        }
    options: dict[str, Any] = {}
    if shipment.signature and not shipment.returning and _signed_per_parcel(shipment):
        options["DeliveryConfirmation"] = {"DCISType": "2"}
    if parcel.insured:
        options["DeclaredValue"] = {
            "CurrencyCode": parcel.insured.currency,
            "MonetaryValue": _amount(parcel.insured, f"value of parcel {number}", 19),
        }
    if options:
        said["PackageServiceOptions"] = options
    return said


def _package(parcel: hub.Parcel, number: int, shipment: hub.Shipment) -> dict[str, Any]:
    said = {"Packaging": {"Code": _packaging(parcel)}, **_measured(parcel, number, shipment)}
    if _reference_on_parcels(shipment):
        said["ReferenceNumber"] = [{"Value": shipment.reference}]
    if shipment.returning:
        said["Description"] = "Returned goods"
    return said


def _amount(money: hub.Money, field: str, most: int = VALUE) -> str:
    text = str(money).partition(" ")[0]  # with the decimals of its currency
    if Decimal(text) != money.amount:
        text = f"{money.amount:f}"
    if len(text) > most:
        raise hub.Rejected(f"The {field} has {len(text)} digits; UPS takes {most}. Correct it, then ask again.")
    return text


# ---------------------------------------------------------------- customs


def _invoice_total(customs: hub.Customs) -> dict[str, str]:
    values = [item.unit_value for item in customs.items]
    currencies = sorted({value.currency for value in values})
    if len(currencies) != 1:
        raise hub.Rejected(
            f"UPS takes one currency in a customs declaration, not {' and '.join(currencies)}. Correct it."
        )
    total = sum((item.unit_value.amount * item.quantity for item in customs.items), Decimal(0))
    money = hub.Money(max(total, Decimal(1)), currencies[0])  # UPS refuses invoices below 1
    return {"CurrencyCode": money.currency, "MonetaryValue": _amount(money, "value of the goods")}


def _goods(customs: hub.Customs) -> str:
    """What the goods are, in the 50 characters of a label; the invoice has all of it."""
    kinds = list(dict.fromkeys(_plain(item.description) for item in customs.items))
    text = ", ".join(kinds)
    return text if 0 < len(text) <= 50 else f"{len(kinds)} kinds of goods, as on the invoice"


def _invoice(shipment: hub.Shipment, customs: hub.Customs, today: date) -> dict[str, Any]:
    """The commercial invoice, which UPS writes and prints."""
    terms = customs.incoterm.strip().upper()
    if terms and terms not in _TERMS:
        raise hub.Rejected(f"“{terms}” is no incoterm that UPS knows. Choose one such as DAP or DDP, then ask again.")
    if len(customs.items) > 50:
        raise hub.Rejected("UPS writes at most 50 kinds of goods on an invoice. Make two shipments of it.")
    buyer = _party(shipment.destination, "recipient", phone_needed=True)
    said: dict[str, Any] = {
        "FormType": ["01"],
        "InvoiceDate": _day(shipment, today) or today.strftime("%Y%m%d"),
        "InvoiceNumber": _fits(customs.invoice_number or shipment.reference, 35, "invoice number"),
        "ReasonForExport": _REASONS.get(customs.contents, "SALE"),
        "CurrencyCode": customs.items[0].unit_value.currency,
        "Contacts": {"SoldTo": {name: buyer[name] for name in ("Name", "AttentionName", "Phone", "Address")}},
        "Product": [_product(item, number, shipment) for number, item in enumerate(customs.items, 1)],
    }
    if terms:
        said["TermsOfShipment"] = terms
    if customs.signer:
        said["Comments"] = _fits(f"Signed for by {customs.signer}", 150, "signer of the declaration")
    return said


def _product(item: hub.CustomsItem, number: int, shipment: hub.Shipment) -> dict[str, Any]:
    words = textwrap.wrap(_plain(item.description), LINE)
    if not 1 <= len(words) <= LINES:
        raise hub.Rejected(
            f"UPS needs a description of each kind of goods, of {LINE * LINES} characters at most. Correct it."
        )
    said: dict[str, Any] = {
        "Description": words,
        "Unit": {
            "Number": str(item.quantity),
            "UnitOfMeasurement": {"Code": "PCS"},
            "Value": _amount(item.unit_value, f"value of “{words[0]}”", 19),
        },
        "PartNumber": _fits(item.sku or f"Item {number}", 35, f"SKU of “{words[0]}”"),
        "OriginCountryCode": item.origin_country.strip().upper() or _lane(shipment)[0],
    }
    if code := re.sub(r"[^0-9A-Za-z]", "", item.hs_code):
        if not 6 <= len(code) <= 15:
            raise hub.Rejected(f"The tariff number of “{words[0]}” must have 6 to 15 digits. Correct it.")
        said["CommodityCode"] = code
    return said
