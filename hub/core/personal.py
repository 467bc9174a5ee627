"""What of an order is about a person: the one list by which personal data is erased, and left out of bundles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from hub.core.changes import Change
from hub.core.details import OrderDetails
from hub.core.model import ChannelShipment, Hold, Order, OrderLine, Refund, Return, Risk

_Value = TypeVar("_Value")

# Members by their names, which rows and values share. What people typed freely (a note, a reason, what is to be
# engraved) may say anything about anybody, and a tracking number leads to the customer's door.
PERSONAL: Mapping[type[Any], frozenset[str]] = {
    Order: frozenset({"customer_name", "email", "note", "shipping_address", "billing_address", "tags", "attributes"}),
    OrderLine: frozenset({"attributes"}),
    Refund: frozenset({"reason"}),
    OrderDetails: frozenset({"attributes"}),
    Return: frozenset({"reason"}),
    ChannelShipment: frozenset({"tracking_numbers", "tracking_url"}),
    Hold: frozenset({"note", "held_by"}),
    Risk: frozenset({"reasons"}),
}

ERASED = "(erased)"


def without_people(value: _Value) -> _Value:
    """An order, or a part of one, with every personal member empty, at whatever depth."""
    return _emptied(value)  # type: ignore[no-any-return]


def _emptied(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_emptied(each) for each in value)
    if not is_dataclass(value) or isinstance(value, type):
        return value
    personal = PERSONAL.get(type(value), frozenset())
    made = {}
    for each in fields(value):
        was = getattr(value, each.name)
        made[each.name] = type(was)() if each.name in personal else _emptied(was)
    return replace(value, **made)


def changes_without_people(changes: Iterable[Change]) -> list[Change]:
    """The changes of an edit: that something personal changed stays, what it said does not."""
    return [_erased(each) if _is_personal(each) else each for each in changes]


_PARTS: Mapping[str, type[Any]] = {"lines": OrderLine, "returns": Return, "shipments": ChannelShipment, "risk": Risk}


def _is_personal(change: Change) -> bool:
    if change.part == "holds":
        return bool(change.subject)  # its note
    if kind := _PARTS.get(change.part):
        return change.member.partition("/")[0] in PERSONAL[kind]
    return change.part in PERSONAL[Order]


def _erased(change: Change) -> Change:
    if change.part == "holds":
        return replace(change, subject="")
    before, after = (None if said is None else ERASED for said in (change.before, change.after))
    member = "" if change.part == "tags" else change.member  # a tag is called what it says
    return replace(change, member=member, before=before, after=after)
