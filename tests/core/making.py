"""Orders and stock for tests of the core: the plainest values there are, but for those that matter."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hub.core.allocation import StockPolicy
from hub.core.model import Money, Order, OrderLine, OrderStatus, StockLevel
from hub.core.services import LineRecord, OrderRecord, Plan, Received, Terms, expire, import_orders
from hub.core.stock import StockBook

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SHELF = UUID(int=1)  # the location
MUG = UUID(int=11)  # SKUs
TEE = UUID(int=12)


def minutes(number: float) -> datetime:
    """So many minutes after noon."""
    return NOON + timedelta(minutes=number)


def euros(amount: str | int) -> Money:
    return Money.of(amount, "EUR")


def a_line(quantity: int, *, id: str = "1", listing: str | None = "mug", **more: Any) -> OrderLine:
    """An order line of ten euros a piece."""
    values: dict[str, Any] = {
        "external_id": id,
        "listing_external_id": listing,
        "sku": (listing or "").upper(),
        "title": listing or "Gift wrap",
        "quantity": quantity,
        "unit_price": euros(10),
        "total": euros(10 * quantity),
        "tax": euros(0),
    }
    return OrderLine(**values | more)


def an_order(*lines: OrderLine, id: str = "100", **more: Any) -> Order:
    """An open order that holds stock, placed and last changed at noon."""
    total = sum((line.total.amount for line in lines), euros(0).amount)
    values: dict[str, Any] = {
        "external_id": id,
        "number": f"#{id}",
        "status": OrderStatus.OPEN,
        "channel_status": "open",
        "version": NOON,
        "placed_at": NOON,
        "currency": "EUR",
        "holds_stock": True,
        "lines": lines,
        "total": Money(total, "EUR"),
        "shipping": euros(0),
        "tax": euros(0),
        "discount": euros(0),
        "fees": euros(0),
    }
    return Order(**values | more)


class Desk:
    """Imports orders one batch after the other, as the store does, and keeps what came of them."""

    def __init__(
        self,
        on_hand: Mapping[UUID, int],
        *,
        counted_at: datetime = NOON - timedelta(days=1),
        bound: Mapping[str, UUID | None] | None = None,
        kits: Mapping[UUID, Mapping[UUID, int]] | None = None,
        policy: StockPolicy | None = None,
    ) -> None:
        self.stock = {(sku, SHELF): StockLevel(units) for sku, units in on_hand.items()}
        self.counted = dict.fromkeys(on_hand, counted_at)
        self.kits = dict(kits or {})
        self.policy = policy or StockPolicy()
        self.bound = {"mug": MUG, "tee": TEE} if bound is None else dict(bound)
        self.orders: dict[str, OrderRecord] = {}
        self.book = StockBook(self.stock)
        self.ledger: list[tuple[str, int, int]] = []
        self._entered: set[tuple[object, ...]] = set()
        self._ids = itertools.count(1000)

    def import_(self, *received: Received, now: datetime = NOON) -> Plan:
        """Import one batch, and write what it changed."""
        self._open()
        terms = Terms(at=now, policy=self.policy, bound=self.bound, kits=self.kits, counted_since=self.counted)
        plan = import_orders(received, self.orders, terms, self.book, self.new_id)
        self.orders = plan.orders
        self._write()
        return plan

    def expire(self, id: str = "100") -> str:
        """Nobody paid for an order in time; returns what its timeline says."""
        self._open()
        note = expire(self.orders[id], self.book)
        self._write()
        return note.summary

    def _open(self) -> None:
        for record in self.orders.values():  # as they come back from the database
            record.is_new = record.changed = False
            record.bodies = []
            for line in record.lines.values():
                line.is_new = line.changed = False
                line.value = None
        self.book = StockBook(self.stock, self.book.claims.values())

    def _write(self) -> None:
        self.stock = {place: self.book.level(place) for place in self.stock}
        keys = [(each.place, each.cause, each.reference) for each in self.book.movements]
        assert len({*keys, *self._entered}) == len(keys) + len(self._entered), "the database would refuse this"
        self._entered |= set(keys)
        self.ledger += [(each.cause.value, each.change.on_hand, each.change.allocated) for each in self.book.movements]

    def hear(self, order: Order, *, at: datetime | None = None) -> Plan:
        """Import one order from a webhook."""
        return self.import_(Received(order.external_id, order, at or order.version))

    def level(self, sku: UUID = MUG) -> tuple[int, int]:
        """(on hand, allocated)."""
        balance = self.stock[sku, SHELF]
        return balance.on_hand, balance.allocated

    def order(self, id: str = "100") -> OrderRecord:
        return self.orders[id]

    def line(self, line_id: str = "1", order_id: str = "100") -> LineRecord:
        return self.orders[order_id].lines[line_id]

    def waiting(self, line_id: str = "1", order_id: str = "100") -> int:
        """Units of the line that are on backorder."""
        claim = self.book.claims.get(self.line(line_id, order_id).id)
        return claim.waiting if claim else 0

    def new_id(self) -> UUID:
        return UUID(int=next(self._ids))
