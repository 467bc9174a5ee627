"""What EasyPost is asked: the hub's shipments, addresses and purchases as the bodies of its requests.

Weights go in ounces, sizes in inches, both rounded up to a tenth.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import hub

MOST_PARCELS = 100  # of one order

_CONTENTS = {
    hub.ContentsType.MERCHANDISE: "merchandise",
    hub.ContentsType.GIFT: "gift",
    hub.ContentsType.SAMPLE: "sample",
    hub.ContentsType.DOCUMENTS: "documents",
    hub.ContentsType.RETURN: "returned_goods",
}
# Goods leaving the US: up to this value of one kind no export filing is needed, and none at all to Canada.
_EXPORT_LIMIT = Decimal(2500)
_EXEMPT_BY_VALUE = "NOEEI 30.37(a)"
_EXEMPT_TO_CANADA = "NOEEI 30.36"


def quote(shipment: hub.Shipment) -> dict[str, Any]:
    """The body that asks for the rates of a shipment, or of an order of shipments where it has several parcels.

    Raises Rejected for what EasyPost could not be told.
    """
    if len(shipment.parcels) > MOST_PARCELS:
        raise hub.Rejected(f"EasyPost takes at most {MOST_PARCELS} parcels at once. Ship these in several parts.")
    whole = {"reference": shipment.reference, **_addresses(shipment), "is_return": shipment.returning}
    insurance(shipment)  # said now, and not when the label is bought
    parts = [{"parcel": _parcel(parcel), "options": _options(shipment)} for parcel in shipment.parcels]
    if len(parts) > 1 and shipment.customs:
        # Told of each parcel, the goods would be declared several times.
        raise hub.Rejected(
            "EasyPost wants to know which goods lie in which parcel, once they cross a border. Ship these parcels one "
            "by one."
        )
    if len(parts) > 1:
        return {"order": {**whole, "shipments": parts}}
    customs = _customs(shipment)
    return {"shipment": whole | parts[0] | ({"customs_info": customs} if customs else {})}


def purchase(bought: hub.LabelPurchase) -> dict[str, Any]:
    """The body that buys a rate: by its id for one parcel, by carrier and service for an order."""
    if "order" in bought.rate.handles:
        return {"carrier": bought.rate.handles.get("carrier", ""), "service": bought.rate.service}
    body: dict[str, Any] = {"rate": {"id": bought.rate.external_id}}
    insured = insurance(bought.shipment)
    return body | ({"insurance": insured} if insured else {})


def insurance(shipment: hub.Shipment) -> str:
    """The value that EasyPost insures, in US dollars; "" for none. Raises Rejected where it cannot."""
    insured = [parcel.insured for parcel in shipment.parcels if parcel.insured is not None]
    if not insured:
        return ""
    if len(shipment.parcels) > 1:
        raise hub.Rejected("EasyPost insures one parcel at a time. Ship the insured parcels one by one.")
    if insured[0].currency != "USD":
        raise hub.Rejected(f"EasyPost insures in USD, not in {insured[0].currency}. Enter the value in US dollars.")
    return f"{insured[0].amount:f}"


def verification(address: hub.Address) -> dict[str, Any]:
    """The body that has an address judged."""
    return {"address": _address(address), "verify": True}


def _addresses(shipment: hub.Shipment) -> dict[str, Any]:
    origin, destination = _address(shipment.origin), _address(shipment.destination)
    if shipment.returning:
        # EasyPost wants the addresses of the way there, and turns them round itself.
        return {"to_address": origin, "from_address": destination}
    if shipment.email:
        destination["email"] = shipment.email
    return {"to_address": destination, "from_address": origin}


def _address(address: hub.Address) -> dict[str, Any]:
    return {
        "name": address.name,
        "company": address.company,
        "street1": address.line1,
        "street2": address.line2,
        "city": address.city,
        "state": address.region,
        "zip": address.postcode,
        "country": address.country,
        "phone": address.phone,
    }


def _parcel(parcel: hub.Parcel) -> dict[str, Any]:
    said: dict[str, Any] = {"weight": float(parcel.weight.rounded_up(hub.WeightUnit.OUNCE, 1))}
    if parcel.dimensions:
        sides = parcel.dimensions.rounded_up(hub.LengthUnit.INCH, 1)
        said |= dict(zip(("length", "width", "height"), map(float, sides), strict=True))
    if parcel.packaging:
        said["predefined_package"] = parcel.packaging
    return said


def _options(shipment: hub.Shipment) -> dict[str, Any]:
    said: dict[str, Any] = {}
    if shipment.signature:
        said["delivery_confirmation"] = "SIGNATURE"
    if shipment.ship_on:
        said["label_date"] = f"{shipment.ship_on.isoformat()}T12:00:00Z"
    if shipment.customs and shipment.customs.incoterm:
        said["incoterm"] = shipment.customs.incoterm
    if shipment.customs and shipment.customs.invoice_number:
        said["invoice_number"] = shipment.customs.invoice_number
    return said


def _customs(shipment: hub.Shipment) -> Mapping[str, Any] | None:
    customs = shipment.customs
    if customs is None:
        return None
    return {
        "contents_type": _CONTENTS[customs.contents],
        "contents_explanation": "",
        "restriction_type": "none",
        "non_delivery_option": "return",
        "customs_certify": True,
        "customs_signer": customs.signer or shipment.origin.name or shipment.origin.company,
        "eel_pfc": _exemption(shipment, customs),
        "customs_items": [_customs_item(item) for item in customs.items],
    }


def _exemption(shipment: hub.Shipment, customs: hub.Customs) -> str:
    if shipment.origin.country == "US" and shipment.destination.country == "CA":
        return _EXEMPT_TO_CANADA
    # What is declared in another currency is left to the carrier: there is no rate of exchange here.
    dear = [
        item
        for item in customs.items
        if item.unit_value.currency == "USD" and item.unit_value.amount * item.quantity > _EXPORT_LIMIT
    ]
    if shipment.origin.country == "US" and dear:
        raise hub.Rejected(
            f"{dear[0].description}: goods of one kind worth more than ${_EXPORT_LIMIT:,} leave the US only with an "
            "export filing (ITN), which cannot be entered here. Buy this label in EasyPost's dashboard."
        )
    return _EXEMPT_BY_VALUE


def _customs_item(item: hub.CustomsItem) -> dict[str, Any]:
    # Value and weight are those of the whole line.
    weight = hub.Weight(item.unit_weight.amount * item.quantity, item.unit_weight.unit)
    return {
        "description": item.description,
        "quantity": item.quantity,
        "value": float(item.unit_value.amount * item.quantity),
        "currency": item.unit_value.currency,
        "weight": float(weight.rounded_up(hub.WeightUnit.OUNCE, 1)),
        "hs_tariff_number": item.hs_code,
        "origin_country": item.origin_country,
        "code": item.sku,
    }
