"""Who gets stock, and how much at once: a merchant's policy, and the place it gives an order in the queue."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

_LAST = 2**62  # after every order that was promised for a day


class QueueOrder(StrEnum):
    """Who gets stock first that comes in while several orders wait for it."""

    FIRST_COME = "first_come"  # the oldest order
    VALUE = "value"  # the order with the largest total, in whatever currency it is
    PROMISED_DATE = "promised_date"  # the order promised for the earliest day; those without a promise come last


@dataclass(frozen=True, slots=True, kw_only=True)
class StockPolicy:
    """How a merchant's orders get stock.

    With ``hold_together`` an order is held whole or not at all, so that it ships in one parcel; otherwise whatever
    there is of it is held. ``unpaid_hours`` is how long an unpaid order holds stock, None: until it is cancelled.
    """

    hold_together: bool = False
    queue: QueueOrder = QueueOrder.FIRST_COME
    unpaid_hours: int | None = None

    def rank(self, total: Decimal, promised_at: datetime | None) -> int:
        """The order's place in the queue, the smallest first; orders of one rank go by when they were placed.

        ``total`` is in major units.
        """
        if self.queue is QueueOrder.VALUE:
            return -int(total * 100)
        if self.queue is QueueOrder.PROMISED_DATE:
            return _LAST if promised_at is None else int(promised_at.timestamp())
        return 0
