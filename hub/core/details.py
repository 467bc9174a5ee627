"""What of an order is kept and shown beside its lines and its money, as one value that a row can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

from hub.core.model import (
    ChannelShipment,
    ChannelWork,
    Charge,
    Discount,
    Hold,
    HoldReason,
    Order,
    Payment,
    Refund,
    Return,
    ReturnStatus,
    Risk,
    WorkStatus,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderDetails:
    """The members of ``model.Order`` that have these names, each empty where the channel says nothing of it."""

    returns: tuple[Return, ...] = ()
    shipments: tuple[ChannelShipment, ...] = ()
    work: tuple[ChannelWork, ...] = ()
    holds: tuple[Hold, ...] = ()
    risk: Risk | None = None
    charges: tuple[Charge, ...] = ()
    discounts: tuple[Discount, ...] = ()
    payments: tuple[Payment, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, order: Order) -> OrderDetails:
        """The details of an order."""
        return cls(**{name: getattr(order, name) for name in DETAILS})

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in DETAILS)


DETAILS = tuple(each.name for each in fields(OrderDetails))

# What half a record leaves empty, it does not know.
_MAY_BE_LEFT_OUT = (*DETAILS, "tags", "source", "shipping_method", "presentment_total")


def on_hold(order: Order) -> bool:
    """Whether the channel holds the order, or a part of it that is still to be shipped."""
    asked = HoldReason.CANCELLATION  # a wish of the customer's, which holds nothing at the channel
    return any(each.reason is not asked for each in order.holds) or any(
        work.holds or work.status is WorkStatus.ON_HOLD for work in order.work
    )


def returns_open(order: Order) -> bool:
    """Whether goods are on their way back, or the customer asks whether they may be."""
    return any(each.status in (ReturnStatus.REQUESTED, ReturnStatus.OPEN) for each in order.returns)


def completed(order: Order, before: Order) -> Order:
    """The order as it is to be kept: half a record takes what it leaves out from the one ``before`` it."""
    if order.whole:
        return order
    kept = {name: getattr(before, name) for name in _MAY_BE_LEFT_OUT if not getattr(order, name)}
    refunds: dict[str, Refund] = {each.external_id: each for each in (*before.refunds, *order.refunds)}
    return replace(order, refunds=tuple(refunds.values()), **kept)
