"""A street of two shops that sell the same goods, where time passes when a test says so and everything can be late."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import time_machine

from hub import jobs
from hub.store import tables as t
from hub.testing.town import town_of
from tests.jobs.fake_shop import CarefulChannel, FakeChannel, Shop, connect, open_shop, send
from tests.town import Town

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
GOODS = ("mug", "tee", "cap", "set")


@dataclass
class Street:
    """A hub, two shops by the names "left" and "right", and their clock."""

    town: Town
    clock: time_machine.Coordinates
    shops: dict[str, Shop] = field(default_factory=dict)
    places: dict[str, UUID] = field(default_factory=dict)

    # ------------------------------------------------------------ time

    def now(self) -> str:
        """What a shop writes on an order: its clock, cut to the second."""
        return datetime.now(UTC).replace(microsecond=0).isoformat()

    def wait(self, seconds: float) -> None:
        """Time passes, and nobody works."""
        self.clock.shift(seconds)

    def work(self) -> None:
        """Do what is due now, and what comes of it."""
        self.town.work()

    # ------------------------------------------------------------ shops

    def open(
        self, name: str, channel: type[FakeChannel], stock: int, *, adopt: bool, untracked: tuple[str, ...] = ()
    ) -> None:
        """Connect a shop, match its listings and go live."""
        shop = Shop(name=name, stock=dict.fromkeys(GOODS, stock) | dict.fromkeys(untracked))
        self.shops[name] = shop
        self.places[name] = open_shop(self.town, shop, channel, adopt=adopt)

    def connect(self, name: str, channel: type[FakeChannel], stock: int) -> None:
        """Connect a shop that is not live, nor matched."""
        shop = Shop(name=name, stock=dict.fromkeys(GOODS, stock))
        self.shops[name] = shop
        self.places[name] = connect(self.town, shop, channel)

    def buy(self, name: str, listing: str = "mug", quantity: int = 1, **more: Any) -> dict[str, Any]:
        """A customer buys; the hub has not heard of it, and would not find it by asking."""
        shop, now = self.shops[name], self.now()
        body = shop.buy(listing, quantity, **{"placed": now, "version": now} | more)
        shop.index_lags.add(body["id"])
        return body

    def tell(self, name: str, order: dict[str, Any]) -> None:
        """The shop's webhook of an order comes in."""
        send(self.town, self.places[name], "order", order)

    def hear(self, name: str, order: dict[str, Any]) -> dict[str, Any]:
        """The same, and is read, and everything follows from it."""
        self.tell(name, order)
        self.work()
        return order

    def sell(self, name: str, listing: str = "mug", quantity: int = 1, **more: Any) -> dict[str, Any]:
        """A customer buys, and the hub hears of it as quickly as it should."""
        order = self.buy(name, listing, quantity, **more)
        self.wait(0.3)
        return self.hear(name, order)

    def find(self, name: str, order: dict[str, Any]) -> None:
        """The order turns up in the shop's list, and the hub asks for it."""
        shop = self.shops[name]
        shop.change(order, version=self.now())
        shop.index_lags.discard(order["id"])
        self.town.poll(self.places[name])

    def read_inbox(self, name: str) -> None:
        """A worker reads what came in, and none publishes."""
        jobs.drain(self.town.hub, self.town.merchant, self.places[name], "inbox", budget_seconds=5.0)

    # ------------------------------------------------------------ the warehouse

    def count(self, on_hand: int, sku: str = "MUG") -> None:
        self.town.count_stock(sku, on_hand)
        self.work()

    def available(self, sku: str = "MUG") -> int:
        on_hand, allocated = self.town.stock()[sku]
        return on_hand - allocated

    def order_row(self, order: dict[str, Any], name: str) -> Any:
        return self.town.row(
            t.sales_order,
            t.sales_order.c.external_id == order["id"],
            t.sales_order.c.connection_id == self.places[name],
        )

    def short_orders(self) -> list[Any]:
        """The orders that could not be given what they bought."""
        found = {row.order_id for row in self.town.rows(t.shortage)}
        return [self.town.row(t.sales_order, t.sales_order.c.id == each) for each in found]


@contextmanager
def street(*, start: datetime = NOON) -> Iterator[Street]:
    """An empty street at noon."""
    with time_machine.travel(start, tick=False) as clock, town_of(FakeChannel, CarefulChannel) as town:
        yield Street(town, clock)
