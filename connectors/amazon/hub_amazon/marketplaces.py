"""Amazon's marketplaces and the regions they belong to: ids, currencies, hosts, and where sellers log in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Region(StrEnum):
    """A part of the world that has one host; a seller's account and its permission belong to one region."""

    NORTH_AMERICA = "na"
    EUROPE = "eu"
    FAR_EAST = "fe"

    @property
    def host(self) -> str:
        """Where the Selling Partner API of the region answers."""
        return f"https://sellingpartnerapi-{self.value}.amazon.com"

    @property
    def document_hosts(self) -> tuple[str, ...]:
        """Where the documents of feeds lie: the region's bucket, by each of the names that AWS gives it."""
        bucket = f"https://tortuga-prod-{self.value}"
        home = {Region.NORTH_AMERICA: "us-east-1", Region.EUROPE: "eu-west-1", Region.FAR_EAST: "us-west-2"}[self]
        names = [f"s3-{home}", f"s3.{home}", "s3"]
        if self is Region.NORTH_AMERICA:
            names.append("s3-external-1")
        return tuple(f"{bucket}.{name}.amazonaws.com" for name in names)


@dataclass(frozen=True, slots=True)
class Marketplace:
    """One marketplace. ``code`` is what people call it by: its country's code, and UK for the United Kingdom."""

    code: str
    external_id: str
    name: str
    currency: str
    region: Region
    seller_central: str


_EUROPE = "sellercentral-europe.amazon.com"
_ALL = (
    *(
        Marketplace(code, external_id, name, currency, Region.NORTH_AMERICA, f"sellercentral.amazon.{where}")
        for code, external_id, name, currency, where in (
            ("US", "ATVPDKIKX0DER", "United States", "USD", "com"),
            ("CA", "A2EUQ1WTGCTBG2", "Canada", "CAD", "ca"),
            ("MX", "A1AM78C64UM0Y8", "Mexico", "MXN", "com.mx"),
            ("BR", "A2Q3Y263D00KWC", "Brazil", "BRL", "com.br"),
        )
    ),
    *(
        Marketplace(code, external_id, name, currency, Region.EUROPE, where)
        for code, external_id, name, currency, where in (
            ("UK", "A1F83G8C2ARO7P", "United Kingdom", "GBP", _EUROPE),
            ("DE", "A1PA6795UKMFR9", "Germany", "EUR", _EUROPE),
            ("FR", "A13V1IB3VIYZZH", "France", "EUR", _EUROPE),
            ("IT", "APJ6JRA9NG5V4", "Italy", "EUR", _EUROPE),
            ("ES", "A1RKKUPIHCS9HS", "Spain", "EUR", _EUROPE),
            ("IE", "A28R8C7NBKEWEA", "Ireland", "EUR", "sellercentral.amazon.ie"),
            ("NL", "A1805IZSGTT6HS", "Netherlands", "EUR", "sellercentral.amazon.nl"),
            ("BE", "AMEN7PMS3EDWL", "Belgium", "EUR", "sellercentral.amazon.com.be"),
            ("SE", "A2NODRKZP88ZB9", "Sweden", "SEK", "sellercentral.amazon.se"),
            ("PL", "A1C3SOZRARQ6R3", "Poland", "PLN", "sellercentral.amazon.pl"),
            ("TR", "A33AVAJ2PDY3EV", "Turkey", "TRY", "sellercentral.amazon.com.tr"),
            ("ZA", "AE08WJ6YKNBMC", "South Africa", "ZAR", "sellercentral.amazon.co.za"),
            ("EG", "ARBP9OOSHTCHU", "Egypt", "EGP", "sellercentral.amazon.eg"),
            ("SA", "A17E79C6D8DWNP", "Saudi Arabia", "SAR", "sellercentral.amazon.sa"),
            ("AE", "A2VIGQ35RCS4UG", "United Arab Emirates", "AED", "sellercentral.amazon.ae"),
            ("IN", "A21TJRUUN4KGV", "India", "INR", "sellercentral.amazon.in"),
        )
    ),
    *(
        Marketplace(code, external_id, name, currency, Region.FAR_EAST, f"sellercentral.amazon.{where}")
        for code, external_id, name, currency, where in (
            ("JP", "A1VC38T7YXB528", "Japan", "JPY", "co.jp"),
            ("AU", "A39IBJ37TRP1C6", "Australia", "AUD", "com.au"),
            ("SG", "A19VAU5U5O7RUS", "Singapore", "SGD", "sg"),
        )
    ),
)

BY_CODE: Mapping[str, Marketplace] = {each.code: each for each in _ALL}
BY_ID: Mapping[str, Marketplace] = {each.external_id: each for each in _ALL}
