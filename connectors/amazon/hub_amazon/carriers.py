"""Amazon's own codes of carriers: with one of them it follows the parcel itself."""

from __future__ import annotations

import hub

# As Seller Central offers them. Everything else is "Other", with the carrier's name beside it.
_CODES = (
    "4PX",
    "Amazon Shipping",
    "An Post",
    "Aramex",
    "Arrow",
    "Asendia",
    "Australia Post",
    "Blue Package",
    "Bpost",
    "BRT",
    "Canada Post",
    "Chronopost",
    "Colis Prive",
    "Colissimo",
    "Correios",
    "Correos",
    "Correos Express",
    "CTT Express",
    "Deutsche Post",
    "DHL",
    "DHL eCommerce",
    "DHL Express",
    "DPD",
    "DX",
    "Estes",
    "Evri",
    "FedEx",
    "FedEx SmartPost",
    "GEODIS",
    "GLS",
    "Hermes",
    "India Post",
    "InPost",
    "Intelcom",
    "JP_EXPRESS",
    "La Poste",
    "Lasership",
    "Mondial Relay",
    "MRW",
    "NACEX",
    "Old Dominion",
    "OnTrac",
    "Parcelforce",
    "Poste Italiane",
    "PostNL",
    "PostNord",
    "Purolator",
    "Royal Mail",
    "SAGAWA",
    "SDA",
    "Sendle",
    "SEUR",
    "SF Express",
    "Singapore Post",
    "StarTrack",
    "TNT",
    "Toll",
    "Tuffnells",
    "UPS",
    "UPS Mail Innovations",
    "USPS",
    "Whistl",
    "XPO",
    "YAMATO",
    "Yodel",
    "Yun Express",
)
OTHER = "Other"

_ALIASES = {
    "auspost": "Australia Post",
    "canadapost": "Canada Post",
    "dhl_ecs": "DHL eCommerce",
    "federal_express": "FedEx",
    "hermes_uk": "Evri",
    "japan_post": "JP_EXPRESS",
    "la_poste_colissimo": "Colissimo",
    "royalmail": "Royal Mail",
    "sfexpress": "SF Express",
    "united_parcel_service": "UPS",
    "us_postal_service": "USPS",
    "yamato_transport": "YAMATO",
}


_KNOWN = {**{hub.carrier_word(code): code for code in _CODES}, **_ALIASES}


def carrier_code(carrier: str, name: str) -> tuple[str, str]:
    """Amazon's code of a carrier, given the hub's word for it and what people call it; and its name, which has to be
    told with the code "Other"."""
    known = _KNOWN.get(hub.carrier_word(carrier)) or _KNOWN.get(hub.carrier_word(name))
    if known:
        return known, known
    return OTHER, name.strip() or carrier.replace("_", " ").strip().title() or "Other"
