"""What people call carriers: one name each, whatever a vendor writes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

# By the hub's word for each (see ``Rate.carrier``). What is not here is written as its word says.
_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "amazon": "Amazon",
        "amazon_shipping": "Amazon Shipping",
        "an_post": "An Post",
        "bpost": "bpost",
        "brt": "BRT",
        "canada_post": "Canada Post",
        "ctt": "CTT",
        "deutsche_post": "Deutsche Post",
        "dhl": "DHL",
        "dhl_ecommerce": "DHL eCommerce",
        "dhl_express": "DHL Express",
        "dhl_parcel": "DHL Parcel",
        "dpd": "DPD",
        "dpd_uk": "DPD UK",
        "dx": "DX",
        "evri": "Evri",
        "fedex": "FedEx",
        "gls": "GLS",
        "inpost": "InPost",
        "ontrac": "OnTrac",
        "postnl": "PostNL",
        "postnord": "PostNord",
        "royal_mail": "Royal Mail",
        "seur": "SEUR",
        "sf_express": "SF Express",
        "tnt": "TNT",
        "ups": "UPS",
        "usps": "USPS",
    }
)
# Vendors' own words for a carrier's name, or for a contract with it.
_MEANT: Mapping[str, str] = MappingProxyType(
    {
        "amzl": "amazon",
        "dhlecommerce": "dhl_ecommerce",
        "dhlexpress": "dhl_express",
        "fedexdefault": "fedex",
        "hermes": "evri",
        "royalmail": "royal_mail",
        "ups_dap": "ups",
        "upsdap": "ups",
        "us_postal_service": "usps",
    }
)


def carrier_word(name: str) -> str:
    """The hub's word for a carrier that somebody calls so (see ``Rate.carrier``): "Royal Mail" is royal_mail."""
    return re.sub(r"\W+", "_", name.casefold()).strip("_")


def carrier_name(said: str) -> str:
    """A carrier as people write it, from the hub's word or from what a vendor calls it; "" stays ""."""
    word = carrier_word(said)
    word = _MEANT.get(word, word)
    if word in _NAMES:
        return _NAMES[word]
    # Whoever wrote it with capitals or gaps meant people to read it.
    is_word = said.isascii() and said == said.lower() and " " not in said
    return word.replace("_", " ").title() if is_word else said


def named_service(carrier: str, service: str) -> str:
    """A service with its carrier's name before it, and not twice."""
    name = carrier_name(carrier)
    return service if service.startswith(name) else f"{name} {service}".strip()
