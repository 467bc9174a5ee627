"""Shopify's own names of carriers: with one of them it makes the link to the tracking and follows the parcel itself."""

from __future__ import annotations

import hub

# As they are written at FulfillmentTrackingInfo.company in the published schema: it has to be the same letters.
_NAMES = (
    "4PX, AGS, Amazon, Amazon Logistics UK, An Post, Anjun Logistics, APC, Asendia USA, Australia Post, Bonshaw, "
    "BPost, BPost International, Canada Post, Canpar, CDL Last Mile, China Post, Chronopost, Chukou1, Colissimo, "
    "Comingle, Coordinadora, Correios, Correos, CTT, CTT Express, Cyprus Post, Delnext, Deutsche Post, DHL eCommerce, "
    "DHL eCommerce Asia, DHL Express, DPD, DPD Local, DPD UK, DTD Express, DX, Eagle, Estes, Evri, FedEx, First "
    "Global Logistics, First Line, FSC, Fulfilla, GLS, Iceland Post, IDEX, Israel Post, Japan Post (EN), La Poste "
    "Colissimo, Lasership, Latvia Post, Lietuvos Paštas, Logisters, Lone Star Overnight, M3 Logistics, Meteor Space, "
    "Mondial Relay, New Zealand Post, NinjaVan, OnTrac, Packeta, Pago Logistics, Pitney Bowes, Portal PostNord, Poste "
    "Italiane, PostNL, PostNord DK, PostNord NO, PostNord SE, Purolator, Qxpress, Qyun Express, Royal Mail, Royal "
    "Shipments, Sagawa (EN), Sendle, SF Express, SFC Fulfillment, ShipBob, Singapore Post, Southwest Air Cargo, "
    "StarTrack, Step Forward Freight, Swiss Post, TForce Final Mile, Tinghao, TNT, Toll IPEC, United Delivery "
    "Service, UPS, USPS, Venipak, We Post, Whistl, Wizmo, WMYC, Xpedigo, XPO Logistics, Yamato (EN), YiFan Express, "
    "YunExpress, Aramex Australia, TNT Australia, Hunter Express, Couriers Please, Österreichische Post, Speedy, "
    "Intelcom, BoxKnight, Loomis, WanbExpress, Zásilkovna, DHL, Hermes, SEUR, Colis Privé, Parcelforce, Yodel, DHL "
    "Parcel, Tuffnells, ACS Courier, Fastway, DPD Ireland, DTDC, India Post, Delhivery, XpressBees, Ecom Express, "
    "Bluedart, BRT, GLS Italy, Bring, Inpost, PTT, Aras Kargo, Old Dominion, Pandion, R+L Carriers, Skynet"
)
COMPANIES = tuple(_NAMES.split(", "))

# What else they are called.
_ALIASES = {
    "amazon_shipping": "Amazon",
    "auspost": "Australia Post",
    "blue_dart": "Bluedart",
    "canadapost": "Canada Post",
    "correos_express": "Correos",
    "couriersplease": "Couriers Please",
    "dhl_ecs": "DHL eCommerce",
    "federal_express": "FedEx",
    "fedex_express": "FedEx",
    "fedex_ground": "FedEx",
    "hermes_uk": "Evri",
    "japan_post": "Japan Post (EN)",
    "la_poste": "La Poste Colissimo",
    "postnord": "Portal PostNord",
    "royalmail": "Royal Mail",
    "sagawa": "Sagawa (EN)",
    "sfexpress": "SF Express",
    "united_parcel_service": "UPS",
    "us_postal_service": "USPS",
    "yamato": "Yamato (EN)",
}


KNOWN = {**{hub.carrier_word(name): name for name in COMPANIES}, **_ALIASES}


def company(carrier: str, name: str) -> str:
    """Shopify's name of a carrier, given the hub's word for it and what people call it; ``name`` where it has none."""
    known = KNOWN.get(hub.carrier_word(carrier)) or KNOWN.get(hub.carrier_word(name))
    return known or name.strip() or carrier.replace("_", " ").title()
