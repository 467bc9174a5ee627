"""How an edit of an order is told: what has changed, what it was before and what it is now, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from flask_babel import ngettext

from hub.core.changes import Change
from hub.core.model import Money
from hub.web.reader import reader

_MEMBERS = {
    "status": _l("Status"),
    "channel_status": _l("What the shop says"),
    "number": _l("Number"),
    "paid": _l("Paid"),
    "promised_at": _l("Promised for"),
    "shipped_by_channel": _l("Shipped by the channel"),
    "test": _l("Test order"),
    "total": _l("Total"),
    "shipping": _l("Shipping"),
    "tax": _l("Tax"),
    "discount": _l("Discount"),
    "fees": _l("Fees"),
    "presentment_total": _l("Total in the customer's currency"),
    "customer_name": _l("Customer"),
    "email": _l("E-mail address"),
    "note": _l("Note"),
    "source": _l("Sold at"),
    "shipping_method": _l("Shipping method"),
    "tags": _l("Tag"),
}
# part -> what one is called; member -> what of it.
_THINGS = {
    "charges": _l("Charge"),
    "discounts": _l("Discount"),
    "payments": _l("Payment by"),
    "refunds": _l("Refund"),
    "returns": _l("Return"),
    "shipments": _l("Shipment"),
    "work": _l("Part to be shipped"),
    "holds": _l("Hold"),
}
_OF = {
    "quantity": _l("Quantity"),
    "removed": _l("Removed"),
    "fulfilled": _l("Fulfilled"),
    "unit_price": _l("Price"),
    "total": _l("Total"),
    "tax": _l("Tax"),
    "title": _l("Name"),
    "sku": _l("SKU"),
    "kind": _l("Kind"),
    "units": _l("units"),
    "reason": _l("reason"),
    "carrier": _l("carrier"),
    "tracking_numbers": _l("tracking"),
    "cancelled": _l("cancelled"),
    "request": _l("request"),
    "location_external_id": _l("location"),
    "ship_by": _l("to be shipped by"),
    "ship_from": _l("not to be shipped before"),
}
_ADDRESS = {
    "name": _l("name"),
    "company": _l("company"),
    "line1": _l("first line"),
    "line2": _l("second line"),
    "city": _l("city"),
    "region": _l("region"),
    "postcode": _l("postal code"),
    "country": _l("country"),
    "phone": _l("phone"),
}
_TIMES = frozenset({"promised_at", "ship_by", "ship_from"})
_UNITS = frozenset({"lines", "shipments"})  # of which the number of units is told where they are new or gone
# What the vendor's people, or the customer, typed: shown as it is. Everything else is a word of the hub.
_FREE = frozenset(
    ("number", "channel_status", "customer_name", "email", "note", "source", "shipping_method", "tags", "attributes",
     "shipping_address", "billing_address", "title", "sku", "carrier", "tracking_numbers", "reason", "reasons",
     "location_external_id")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Told:
    """``what`` has changed, from ``before`` to ``after``; None where it was not there, or is not any more."""

    what: str
    before: str | None
    after: str | None


def told(change: Change, places: Mapping[str, str]) -> Told:
    """A change in words; ``places`` are the names of the channel's locations by its own ids."""
    before, after = (_shown(change, value, places) for value in (change.before, change.after))
    return Told(_what(change), before, after)


def _what(change: Change) -> str:
    part, member = change.part, change.member
    if part == "lines":
        name = change.subject or _("an untitled line")
        if not member:
            return name
        own = member.partition("/")[2]
        return _("%(what)s of %(line)s", what=own or _OF.get(member, member), line=name)
    if part == "shipping_address":
        return _("Ships to: %(what)s", what=_ADDRESS.get(member, member))
    if part == "billing_address":
        return _("Billed to: %(what)s", what=_ADDRESS.get(member, member))
    if part == "risk":
        return _("Risk") if member == "level" else _("Reasons of the risk")
    if part == "attributes":
        return member
    thing = str(_THINGS.get(part) or _MEMBERS.get(part, part))
    called = f"{thing} {change.subject}" if change.subject else thing
    return f"{called}: {_OF.get(member, member)}" if member and part in _THINGS else called


def _shown(change: Change, value: Any, places: Mapping[str, str]) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, Mapping):
        return reader().money(Money.of(value["amount"], value["currency"]))
    if isinstance(value, int):
        units = not change.member and change.part in _UNITS
        number = reader().number(value)
        return ngettext("%(number)s unit", "%(number)s units", value, number=number) if units else number
    name = change.member.partition("/")[0] or change.part
    if name in _TIMES:
        return reader().moment(datetime.fromisoformat(value))
    if name == "location_external_id":
        return places.get(value, value) or _("none")
    if name in _FREE or change.part in _FREE:
        return str(value) or _("nothing")
    return str(value).replace("_", " ")
