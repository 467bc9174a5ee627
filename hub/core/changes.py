"""What an edit changed in an order: the order before it and after it, member by member, as a person would list it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from hub.core.model import Address, ChannelShipment, ChannelWork, Hold, LineQuantity, Money, Order, Return, Risk
from hub.core.plain import to_plain

_Value = TypeVar("_Value")

# None, a whole number, a text, true or false, or an amount as {"amount", "currency"}: as JSON keeps it.
Plain = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that an edit changed.

    ``part`` is a member of the order ("total", "lines"); where it holds several, ``external_id`` tells which one and
    ``subject`` what people call it ("Blue mug"). ``member`` is what of that: "quantity", and "" where it is new
    (``before`` is None) or gone (``after`` is None).
    """

    part: str
    external_id: str = ""
    member: str = ""
    subject: str = ""
    before: Plain
    after: Plain

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Change:
        """The change that ``plain.to_plain`` wrote."""
        return cls(**{each.name: plain[each.name] for each in fields(cls) if each.name in plain})


def changes(before: Order, after: Order) -> list[Change]:
    """What differs between two states of one order, in the order a person would tell it.

    What only the hub cares about (the version, whether stock is held) is no change, nor is the order of a list.
    """
    both = (before, after)
    return [
        *_members(
            before,
            after,
            ("status", "channel_status", "number", "paid", "promised_at", "shipped_by_channel", "test"),
        ),
        *_lines(before, after),
        *_amounts(before, after),
        *_sums("charges", *(_by_name((each.title, each.amount) for each in order.charges) for order in both)),
        *_sums("discounts", *(_by_name((each.code, each.amount) for each in order.discounts) for order in both)),
        *_sums("payments", *(_by_name((each.method, each.amount) for each in order.payments) for order in both)),
        *_things("refunds", before.refunds, after.refunds, lambda each: {"": each.amount}),
        *_things("returns", before.returns, after.returns, _return_says, lambda each: each.number),
        *_things("shipments", before.shipments, after.shipments, _shipment_says),
        *_things("work", before.work, after.work, _work_says),
        *_things("holds", _holds(before), _holds(after), lambda each: {"": each.reason}, lambda each: each.note),
        *_texts("risk", *(_risk_says(order.risk) for order in both)),
        *_members(before, after, ("customer_name", "email", "note", "source", "shipping_method")),
        *_texts("shipping_address", *(_address_says(order.shipping_address) for order in both)),
        *_texts("billing_address", *(_address_says(order.billing_address) for order in both)),
        *_texts("attributes", before.attributes, after.attributes),
        *_texts("tags", *({tag: tag for tag in order.tags} for order in both)),
    ]


# ---------------------------------------------------------------- parts of an order


def _members(before: Order, after: Order, names: Sequence[str]) -> Iterator[Change]:
    for name in names:
        yield from _change(getattr(before, name), getattr(after, name), part=name)


def _amounts(before: Order, after: Order) -> Iterator[Change]:
    amounts = _members(before, after, ("total", "shipping", "tax", "discount", "fees", "presentment_total"))
    return (_as_told(each, before, after) for each in amounts)


def _as_told(change: Change, before: Order, after: Order) -> Change:
    """A change of an amount: what stands for want of any was never told."""
    one, other = change.before if before.priced else None, change.after if after.priced else None
    return replace(change, before=one, after=other)


_LINE = ("quantity", "removed", "fulfilled", "unit_price", "total", "tax", "title", "sku", "kind")
_PRICES = ("unit_price", "total", "tax")


def _lines(before: Order, after: Order) -> Iterator[Change]:
    old = {line.external_id: line for line in before.lines}
    new = {line.external_id: line for line in after.lines}
    for external_id in _either(old, new):
        one, other = old.get(external_id), new.get(external_id)
        here = {"part": "lines", "external_id": external_id, "subject": (one or new[external_id]).title}
        if one is None or other is None:
            yield from _change(one and one.quantity, other and other.quantity, **here)
            continue
        for name in _LINE:
            for change in _change(getattr(one, name), getattr(other, name), member=name, **here):
                yield _as_told(change, before, after) if name in _PRICES else change
        for name in _either(one.attributes, other.attributes):
            told = one.attributes.get(name), other.attributes.get(name)
            yield from _change(*told, member=f"attributes/{name}", **here)


def _return_says(each: Return) -> dict[str, Any]:
    return {"": each.status, "units": _units(each.lines), "reason": each.reason}


def _shipment_says(each: ChannelShipment) -> dict[str, Any]:
    return {
        "": _units(each.lines),
        "carrier": each.carrier,
        "tracking_numbers": ", ".join(each.tracking_numbers),
        "cancelled": each.cancelled,
    }


def _work_says(each: ChannelWork) -> dict[str, Any]:
    return {
        "": each.status,
        "request": each.request,
        "location_external_id": each.location_external_id,
        "units": _units(each.lines),
        "ship_by": each.ship_by,
        "ship_from": each.ship_from,
    }


def _holds(order: Order) -> list[Hold]:
    """Of the whole order and of its parts. One hold on several parts is one."""
    every = [*order.holds, *(hold for work in order.work for hold in work.holds)]
    return list({each.external_id: each for each in every}.values())


def _risk_says(risk: Risk | None) -> dict[str, str]:
    return {"level": risk.level.value, "reasons": "; ".join(risk.reasons)} if risk else {}


def _units(lines: Iterable[LineQuantity]) -> int:
    return sum(line.quantity for line in lines)


def _address_says(address: Address) -> dict[str, str]:
    return {each.name: text for each in fields(Address) if (text := getattr(address, each.name))}


# ---------------------------------------------------------------- comparing


def _change(before: Any, after: Any, **where: str) -> Iterator[Change]:
    one, other = _plain(before), _plain(after)
    if one != other:
        yield Change(before=one, after=other, **where)


def _plain(value: Any) -> Plain:
    if isinstance(value, Money):
        # As a row keeps it: less than the smallest coin is no change, nor are the zeros at the end.
        return to_plain(Money.from_minor(value.minor, value.currency))
    return to_plain(value)


def _things(
    part: str,
    before: Sequence[_Value],
    after: Sequence[_Value],
    says: Callable[[_Value], Mapping[str, Any]],
    called: Callable[[_Value], str] = lambda _: "",
) -> Iterator[Change]:
    """Values with an id of the channel's own. Of one that is new or gone only what it says first is told."""
    old, new = ({_id(each): each for each in values} for values in (before, after))
    for external_id in _either(old, new):
        one, other = ({} if each is None else says(each) for each in (old.get(external_id), new.get(external_id)))
        subject = called(new.get(external_id) or old[external_id])
        for member in ("",) if not one or not other else one:
            told = one.get(member), other.get(member)
            yield from _change(*told, part=part, external_id=external_id, member=member, subject=subject)


def _sums(part: str, before: Mapping[str, Money], after: Mapping[str, Money]) -> Iterator[Change]:
    """Amounts that have no id but a name."""
    for name in _either(before, after):
        yield from _change(before.get(name), after.get(name), part=part, subject=name)


def _by_name(named: Iterable[tuple[str, Money]]) -> dict[str, Money]:
    found: dict[str, Money] = {}
    for name, amount in named:
        found[name] = found[name] + amount if name in found else amount
    return found


def _texts(part: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Change]:
    for name in _either(before, after):
        yield from _change(before.get(name), after.get(name), part=part, member=name)


def _either(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The names of both, in the order in which they stand there."""
    return list(dict.fromkeys((*before, *after)))


def _id(value: Any) -> str:
    external_id: str = value.external_id
    return external_id
