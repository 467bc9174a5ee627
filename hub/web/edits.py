"""How an edit of an order is told: what has changed, what it was before and what it is now, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hub.core.changes import Change
from hub.core.model import Money, minor_digits

_MEMBERS = {
    "status": "Status",
    "channel_status": "What the shop says",
    "number": "Number",
    "paid": "Paid",
    "promised_at": "Promised for",
    "shipped_by_channel": "Shipped by the channel",
    "test": "Test order",
    "total": "Total",
    "shipping": "Shipping",
    "tax": "Tax",
    "discount": "Discount",
    "fees": "Fees",
    "presentment_total": "Total in the customer's currency",
    "customer_name": "Customer",
    "email": "E-mail address",
    "note": "Note",
    "source": "Sold at",
    "shipping_method": "Shipping method",
    "tags": "Tag",
}
# part -> what one is called; member -> what of it.
_THINGS = {
    "charges": "Charge",
    "discounts": "Discount",
    "payments": "Payment by",
    "refunds": "Refund",
    "returns": "Return",
    "shipments": "Shipment",
    "work": "Part to be shipped",
    "holds": "Hold",
}
_OF = {
    "quantity": "Quantity",
    "removed": "Removed",
    "fulfilled": "Fulfilled",
    "unit_price": "Price",
    "total": "Total",
    "tax": "Tax",
    "title": "Name",
    "sku": "SKU",
    "kind": "Kind",
    "units": "units",
    "reason": "reason",
    "carrier": "carrier",
    "tracking_numbers": "tracking",
    "cancelled": "cancelled",
    "request": "request",
    "location_external_id": "location",
    "ship_by": "to be shipped by",
    "ship_from": "not to be shipped before",
}
_ADDRESS = {
    "name": "name",
    "company": "company",
    "line1": "first line",
    "line2": "second line",
    "city": "city",
    "region": "region",
    "postcode": "postal code",
    "country": "country",
    "phone": "phone",
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
        name = change.subject or "an untitled line"
        if not member:
            return name
        own = member.partition("/")[2]
        return f"{own or _OF.get(member, member)} of {name}"
    if part in ("shipping_address", "billing_address"):
        return f"{'Ships to' if part == 'shipping_address' else 'Billed to'}: {_ADDRESS.get(member, member)}"
    if part == "risk":
        return "Risk" if member == "level" else "Reasons of the risk"
    if part == "attributes":
        return member
    called = " ".join(filter(None, (_THINGS.get(part) or _MEMBERS.get(part, part), change.subject)))
    return f"{called}: {_OF.get(member, member)}" if member and part in _THINGS else called


def _shown(change: Change, value: Any, places: Mapping[str, str]) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return _amount(Money.of(value["amount"], value["currency"]))
    if isinstance(value, int):
        units = not change.member and change.part in _UNITS
        return f"{value:,} unit{'' if value == 1 else 's'}" if units else f"{value:,}"
    name = change.member.partition("/")[0] or change.part
    if name in _TIMES:
        at = datetime.fromisoformat(value).astimezone(UTC)
        return f"{at.day} {at:%b %Y, %H:%M} UTC"
    if name == "location_external_id":
        return places.get(value, value) or "none"
    if name in _FREE or change.part in _FREE:
        return str(value) or "nothing"
    return str(value).replace("_", " ")


def _amount(value: Money) -> str:
    return f"{value.amount:,.{minor_digits(value.currency)}f} {value.currency}".replace("-", "−")
