"""An hour of many orders, and an outage of six hours, lived through by a whole hub on a clock that the test moves."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

import pytest
import time_machine
from sqlalchemy import select

import hub
from hub.connector import RateBudget
from hub.http import LocalLimiter
from hub.jobs import Hub
from hub.sqs import Message
from hub.store import connections, matching
from hub.store import tables as t
from hub.testing import SimRequest, SimResponse, Town, town_of
from hub.testing.town import OWNER
from hub_amazon.channel import AmazonConnector
from hub_amazon.simulator import AmazonSimulator

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
STOCK = 100_000


@dataclass
class Letters:
    """A queue that lies in memory: what Amazon has left, in the order in which it is to be found."""

    waiting: list[bytes] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=count)

    def receive(self, *, wait_seconds: int = 0) -> list[Message]:
        return [Message(str(next(self.numbers)), body, "", 1, None) for body in self.waiting[:10]]

    def delete(self, messages: Sequence[Message]) -> None:
        del self.waiting[: len(messages)]

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class ClockedHub(Hub):
    """A hub that waits for its rate budgets by moving the clock, and finds its messages in memory."""

    letters: Letters = field(default_factory=Letters)
    budgets: dict[str, LocalLimiter] = field(default_factory=dict)
    clock: time_machine.Traveller | None = None

    def queue(self, *_: Any) -> Any:
        return self.letters

    def _limiters(self, connection_id: UUID, connector: type[hub.Connector]) -> tuple[None, Mapping[str, Any]]:
        assert self.clock is not None
        for name, budget in connector.rate_budgets.items():
            if name not in self.budgets:
                self.budgets[name] = LocalLimiter(budget, clock=time.time, sleep=self.clock.shift, patience=1.0)
        return None, self.budgets


class World:
    """A seller whose hub is at work: Amazon with its own usage plans and its lag of two minutes, and a clock."""

    def __init__(self, town: Town, clock: time_machine.Traveller, amazon: AmazonSimulator) -> None:
        self.clock, self.amazon, self.town = clock, amazon, town
        self.letters = Letters()
        known = {name: getattr(town.hub, name) for name in ("settings", "database", "keyring", "registry", "doorbell")}
        town.hub = ClockedHub(**known, letters=self.letters, clock=clock)
        self.refused: list[str] = []
        answer = amazon.answer

        def watched(request: SimRequest) -> SimResponse:
            said = answer(request)
            if said.status == 429:
                self.refused.append(request.path)
            return said

        amazon.answer = watched  # type: ignore[method-assign]
        amazon.hold_webhooks()
        amazon.add_product("MUG-1", "Mug", STOCK, "9.50")
        connection = town.connect(AmazonConnector, amazon)
        # Not live: what is written to Amazon waits by the machine's own clock, and has budgets of its own.
        matching.accept_suggestions(town.hub.database, town.merchant, connection, None, OWNER)
        connections.adopt_stock(town.hub.database, town.merchant, connection, OWNER)
        self.live(60)
        self.tell()

    def tell(self) -> list[bytes]:
        """What Amazon has to tell by now, still to be left in the queue."""
        return [letter.body for letter in self.amazon.take_webhooks()]

    def live(self, seconds: float, step: float = 1.0) -> None:
        """Let time go by, and have the hub do whatever is due."""
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        while datetime.now(UTC) < until:
            self.town.work()
            self.clock.shift(step)

    def spend_burst(self, operation: str) -> None:
        """Whoever lives on his burst alone has not seen the storm yet."""
        budget: RateBudget = AmazonConnector.rate_budgets[operation]
        limiter = self.town.hub.budgets[operation]  # type: ignore[attr-defined]
        limiter.acquire(budget.burst)

    def orders(self, *conditions: Any) -> set[str]:
        with self.town.hub.database.read() as connection:
            return set(connection.scalars(select(t.sales_order.c.external_id).where(*conditions)))


@contextmanager
def world() -> Iterator[World]:
    with (
        time_machine.travel(NOON, tick=False) as clock,
        town_of(AmazonConnector) as town,
        AmazonSimulator(
            now=lambda: datetime.now(UTC), plan=1.0, lag=timedelta(minutes=2), marketplaces=("DE",)
        ) as amazon,
    ):
        yield World(town, clock, amazon)


# ---------------------------------------------------------------- many orders


@dataclass
class Storm:
    """Seconds from the notification of each order until its stock was held, and until it was stored whole."""

    held: dict[str, float] = field(default_factory=dict)
    whole: dict[str, float] = field(default_factory=dict)


def storm(world: World, *, per_hour: int, seconds: int) -> Storm:
    """Orders at an even pace, each told of by a notification at once; then ten seconds for the last of them."""
    world.spend_burst("getOrder")
    told_at: dict[str, datetime] = {}
    found = Storm()
    began = datetime.now(UTC)
    while (now := datetime.now(UTC)) < began + timedelta(seconds=seconds + 10):
        due = min(int((now - began).total_seconds() * per_hour / 3600), seconds * per_hour // 3600)
        while len(told_at) < due:
            sale = world.amazon.checkout([("MUG-1", 1)])
            assert sale is not None
            told_at[sale.order_external_id] = now
            world.letters.waiting += world.tell()
        world.town.work()
        for seen, condition in ((found.held, t.sales_order.c.holds_stock), (found.whole, t.sales_order.c.whole)):
            for order in world.orders(condition) & told_at.keys() - seen.keys():
                seen[order] = (datetime.now(UTC) - told_at[order]).total_seconds()
        world.clock.shift(1.0)
    assert world.refused == []
    assert found.held.keys() == told_at.keys()
    return found


# The whole hour takes some minutes to live through.
HOW_LONG = pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(90, id="a minute and a half"),
        pytest.param(3600, id="an hour", marks=[pytest.mark.chaos, pytest.mark.timeout(1800)]),
    ],
)


def worst(latencies: Mapping[str, float], share: float) -> float:
    return sorted(latencies.values())[int(len(latencies) * share)]


@HOW_LONG
def test_1500_orders_an_hour_are_stored_whole_within_ten_seconds_and_within_every_budget(seconds: int) -> None:
    with world() as lived:
        found = storm(lived, per_hour=1500, seconds=seconds)
        assert len(found.held) == 1500 * seconds // 3600
        assert found.whole.keys() == found.held.keys()
        assert worst(found.whole, 0.99) < 10
        assert lived.town.stock()["MUG-1"] == (STOCK, len(found.held))


@HOW_LONG
def test_at_2000_an_hour_fetching_falls_behind_and_stock_is_held_within_ten_seconds(seconds: int) -> None:
    with world() as lived:
        found = storm(lived, per_hour=2000, seconds=seconds)
        assert len(found.held) == 2000 * seconds // 3600
        assert max(found.held.values()) < 10
        assert lived.town.stock()["MUG-1"] == (STOCK, len(found.held))
        # More came than Amazon lets anybody fetch. The rest follows.
        behind = len(found.held) - len(found.whole)
        assert behind > 0
        for _ in range(60):
            if lived.orders(t.sales_order.c.whole) == found.held.keys():
                break
            lived.live(5 + behind / 20)
        assert lived.orders(t.sales_order.c.whole) == found.held.keys()
        assert lived.refused == []


# ---------------------------------------------------------------- notifications that go astray


def test_notifications_lost_doubled_mixed_up_and_late_for_six_hours_import_each_order_once() -> None:
    chance = random.Random(7)
    with world() as lived:
        sales = [lived.amazon.checkout([("MUG-1", 1)]) for _ in range(24)]
        orders = [sale.order_external_id for sale in sales if sale is not None]
        bodies = lived.tell()
        assert len(bodies) == len(orders) == 24
        lost, late, come = bodies[:6], bodies[6:12], bodies[12:]
        for order in orders[3:9]:
            lived.amazon.cancel(order)
        for order in orders[9:15]:
            lived.amazon.fulfill(order)
        more = lived.tell()
        # What comes at all comes twice, in no order; the cancellations of the first orders come with them.
        lived.letters.waiting = [*come, *come, *more, *more]
        chance.shuffle(lived.letters.waiting)
        lived.live(60, step=5.0)
        assert lived.orders() >= set(orders[12:])
        # For six hours nothing comes any more. The search finds what was lost.
        lived.live(6 * 3600, step=600.0)
        assert lived.orders() == set(orders)
        before = lived.town.rows(t.sales_order)
        lived.letters.waiting = [*late, *late, *lost]
        lived.live(60, step=5.0)
        after = lived.town.rows(t.sales_order)
        assert {(row.external_id, row.status, row.version, row.total_minor) for row in after} == {
            (row.external_id, row.status, row.version, row.total_minor) for row in before
        }
        assert len(after) == len(orders)
        assert {row.external_id for row in after if row.status == "cancelled"} == set(orders[3:9])
        assert {row.external_id for row in after if row.status == "fulfilled"} == set(orders[9:15])
        assert lived.town.count(t.order_line) == len(orders)
        assert lived.town.stock()["MUG-1"] == (STOCK - 6, 24 - 12)
        assert lived.refused == []
        lived.town.sound()
