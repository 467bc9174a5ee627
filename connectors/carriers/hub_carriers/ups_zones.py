"""The zones of places: UPS tells when a parcel arrives in the time of the place, and not which time that is.

Where a place has several zones, the one in which a moment comes last is taken: better a promise that is kept early than
one that was never made.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, tzinfo
from functools import cache
from zoneinfo import ZoneInfo

_STATES = {
    "America/New_York": "CT DC DE GA MA MD ME MI NC NH NJ NY OH PA RI SC VA VT WV",
    "America/Chicago": "AL AR FL IA IL IN KY LA MN MO MS OK TN WI",
    "America/Denver": "CO KS MT ND NE NM SD TX UT WY",
    "America/Phoenix": "AZ",
    "America/Los_Angeles": "CA ID NV OR WA",
    "America/Adak": "AK",
    "Pacific/Honolulu": "HI",
}
_PROVINCES = {
    "America/Halifax": "NB NL NS PE",
    "America/Toronto": "QC",
    "America/Winnipeg": "MB ON",
    "America/Regina": "SK",
    "America/Edmonton": "AB NT NU",
    "America/Vancouver": "BC YT",
}
_COUNTRIES = {
    "AE": "Asia/Dubai",
    "AT": "Europe/Vienna",
    "AU": "Australia/Perth",
    "BE": "Europe/Brussels",
    "BG": "Europe/Sofia",
    "BR": "America/Rio_Branco",
    "CA": "America/Vancouver",
    "CH": "Europe/Zurich",
    "CN": "Asia/Shanghai",
    "CY": "Asia/Nicosia",
    "CZ": "Europe/Prague",
    "DE": "Europe/Berlin",
    "DK": "Europe/Copenhagen",
    "EE": "Europe/Tallinn",
    "ES": "Atlantic/Canary",
    "FI": "Europe/Helsinki",
    "FR": "Europe/Paris",
    "GB": "Europe/London",
    "GR": "Europe/Athens",
    "HK": "Asia/Hong_Kong",
    "HR": "Europe/Zagreb",
    "HU": "Europe/Budapest",
    "IE": "Europe/Dublin",
    "IL": "Asia/Jerusalem",
    "IN": "Asia/Kolkata",
    "IT": "Europe/Rome",
    "JP": "Asia/Tokyo",
    "KR": "Asia/Seoul",
    "LT": "Europe/Vilnius",
    "LU": "Europe/Luxembourg",
    "LV": "Europe/Riga",
    "MT": "Europe/Malta",
    "MX": "America/Tijuana",
    "NL": "Europe/Amsterdam",
    "NO": "Europe/Oslo",
    "NZ": "Pacific/Auckland",
    "PL": "Europe/Warsaw",
    "PR": "America/Puerto_Rico",
    "PT": "Atlantic/Azores",
    "RO": "Europe/Bucharest",
    "SE": "Europe/Stockholm",
    "SG": "Asia/Singapore",
    "SI": "Europe/Ljubljana",
    "SK": "Europe/Bratislava",
    "TR": "Europe/Istanbul",
    "TW": "Asia/Taipei",
    "US": "Pacific/Honolulu",
    "ZA": "Africa/Johannesburg",
}


def in_utc(local: datetime, country: str, region: str = "") -> datetime:
    """A moment told without a zone, in the time of a place. Where the zone of a country is not known: as UTC."""
    return local.replace(tzinfo=_zone(country, region)).astimezone(UTC)


def day_at(moment: datetime, country: str, region: str = "") -> date:
    """Which day it is at a place."""
    return moment.astimezone(_zone(country, region)).date()


def _zone(country: str, region: str) -> tzinfo:
    country = country.strip().upper()
    name = _zones().get((country, region.strip().upper())) or _COUNTRIES.get(country)
    return ZoneInfo(name) if name else UTC


@cache
def _zones() -> dict[tuple[str, str], str]:
    parts = (("US", _STATES), ("CA", _PROVINCES))
    return {(country, region): zone for country, zones in parts for zone in zones for region in zones[zone].split()}
