"""A spent budget of one operation puts off the work that needs it, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from uuid import UUID

import pytest

from hub import jobs
from hub.connector import EffectResult, RateBudget, Settlement
from hub.errors import RateLimited, Rejected
from hub.jobs.fetch_lane import FETCH_REFUSED
from hub.jobs.shift import Hub
from hub.store import connections, effects
from hub.store import tables as t
from hub.store.database import new_id
from hub.store.orders import request_fetches
from hub.store.queries import connections as queries
from hub.store.queries import sync
from hub.testing.town import town_of
from tests.jobs.fake_shop import FakeChannel, Shop, connect
from tests.town import OWNER, Town


class Budgeted(FakeChannel):
    """The fake channel with an effect and a budget of an operation."""

    name = "budgeted"
    label = "Budgeted"
    effects: ClassVar[Mapping[str, Settlement]] = {"wave": Settlement.NATURAL_KEY}
    rate_budgets: ClassVar[Mapping[str, RateBudget]] = {"getOrder": RateBudget(0.5, 30), "wave": RateBudget(1, 1)}

    def wave(self, request: Mapping[str, Any], key: str) -> EffectResult:
        self.shop.asked("wave")
        return EffectResult()


@pytest.fixture
def town() -> Iterator[Town]:
    with town_of(Budgeted) as town:
        yield town


@pytest.fixture
def shop() -> Shop:
    return Shop(stock={"mug": 20, "cup": 20})


@pytest.fixture
def place(town: Town, shop: Shop) -> UUID:
    return connect(town, shop, Budgeted)


def spent(operation: str, seconds: float) -> RateLimited:
    return RateLimited(f"The rate budget of {operation} is spent.", seconds, operation)


def want(town: Town, place: UUID, kind: str, *external_ids: str) -> None:
    with town.hub.database.write() as connection:
        request_fetches(connection, town.merchant, place, kind, external_ids, at=town.hub.database.now(connection))


def test_single_orders_wait_together_while_listings_polls_and_stock_go_on(town: Town, place: UUID, shop: Shop) -> None:
    town.open_for_business(place, adopt=True)
    sold = [shop.order([("mug", 1)]) for _ in range(5)]
    shop.fail("fetch_order", spent("getOrder", 90))
    want(town, place, "order", *(each["id"] for each in sold))
    want(town, place, "listing", "cup")
    town.count_stock("CUP", 7)

    town.work()

    assert shop.count("fetch_order") == 1, "one refusal is enough for all of them"
    assert shop.count("fetch_listing") == 1
    assert shop.stock["cup"] == 7
    assert town.row(t.connection).not_before is None
    assert town.count(t.fetch_request) == 5
    assert (town.merchant, place, "fetch") not in jobs.due(town.hub)
    town.poll(place)
    assert town.count(t.sales_order) == 5

    town.let_pass(92)
    town.work()
    assert shop.count("fetch_order") == 6
    assert town.count(t.fetch_request) == 0


def test_what_puts_a_kind_off_is_no_stream_to_anybody(town: Town, place: UUID, shop: Shop) -> None:
    shop.fail("fetch_order", spent("getOrder", 1))
    want(town, place, "order", "100")
    town.work()
    town.let_pass(3)
    assert town.count(t.cursor, t.cursor.c.stream == "one order") == 1
    with town.hub.database.read() as connection:
        here = (connection, town.merchant, place)
        assert [each.stream for each in queries.streams(*here)] == ["webhooks", "orders", "listings"]
        assert next(lane.waiting for lane in sync.lanes(*here) if lane.name == "fetch") == 1
    shop.order([("mug", 1)])
    town.let_pass(5)
    town.work()
    with town.hub.database.read() as connection:
        assert next(lane.waiting for lane in sync.lanes(connection, town.merchant, place) if lane.name == "fetch") == 0


def test_a_stream_whose_budget_is_spent_goes_on_from_its_last_page(town: Town, place: UUID, shop: Shop) -> None:
    placed = [shop.order([("mug", 1)]) for _ in range(8)]
    shop.fail("next page", spent("searchOrders", 178))
    want(town, place, "listing", "cup")
    town.poll(place)

    assert town.count(t.sales_order) == 3
    assert shop.count("fetch_listing") == 1
    row = town.row(t.cursor, t.cursor.c.stream == "orders")
    assert row.error == "The rate budget of searchOrders is spent."
    assert town.row(t.connection).not_before is None
    polls = shop.count("fetch_orders")
    town.let_pass(170)
    town.work()
    assert shop.count("fetch_orders") == polls

    town.let_pass(10)
    town.work()
    assert {each.external_id for each in town.rows(t.sales_order)} == {each["id"] for each in placed}
    assert town.count(t.inbox, t.inbox.c.topic == "order") == 8


def test_stock_that_could_not_be_written_yet_waits_and_nothing_else_does(town: Town, place: UUID, shop: Shop) -> None:
    town.open_for_business(place, adopt=True)
    shop.fail("push_stock", spent("patchListing", 40))
    town.count_stock("MUG", 4)
    town.work()

    assert shop.stock["mug"] == 20
    assert town.row(t.connection).not_before is None
    want(town, place, "listing", "cup")
    town.work()
    assert (shop.count("fetch_listing"), shop.stock["mug"]) == (1, 20)

    town.let_pass(42)
    town.work()
    assert shop.stock["mug"] == 4


def test_an_effect_waits_alone(town: Town, place: UUID, shop: Shop) -> None:
    shop.fail("wave", spent("wave", 30))
    with town.hub.database.write() as connection:
        at = town.hub.database.now(connection)
        effects.plan(connection, town.merchant, place, "wave", "hello", {}, now=at, ordering_key="hello")
    town.work()
    want(town, place, "listing", "cup")
    town.work()
    assert (shop.count("wave"), shop.count("fetch_listing")) == (1, 1)

    town.let_pass(32)
    town.work()
    assert shop.count("wave") == 2
    assert town.row(t.effect).state == "succeeded"


def test_a_task_waits_for_its_budget_as_often_as_it_must(town: Town, place: UUID, shop: Shop) -> None:
    connections.adopt_stock(town.hub.database, town.merchant, place, OWNER)
    shop.fail("read_stock", *[spent("searchListings", 61)] * 5)
    for _ in range(6):
        town.work()
        town.let_pass(63)
    town.work()
    assert town.row(t.task, t.task.c.kind == "adopt").state == "done"


def test_orders_that_come_with_the_others_are_not_asked_for_one_by_one(town: Town, place: UUID, shop: Shop) -> None:
    """After a long outage the list brings hundreds at a time; asking for each would take hours."""
    sold = [shop.order([("mug", 1)]) for _ in range(4)]
    shop.fail("fetch_order", spent("getOrder", 3000))
    want(town, place, "order", *(each["id"] for each in sold))
    town.work()
    town.let_pass(301)
    with town.hub.database.write() as connection:
        earlier = t.fetch_request.c.requested_at
        for row in connection.execute(t.fetch_request.select()).all()[:3]:
            connection.execute(
                t.fetch_request.update()
                .where(t.fetch_request.c.external_id == row.external_id)
                .values({earlier: row.requested_at.replace(year=row.requested_at.year - 1)})
            )

    town.work()

    assert town.count(t.sales_order) == 4
    assert town.count(t.fetch_request) == 1, "one that was asked for just now is: the list may not have its change yet"


def test_an_order_that_could_not_be_fetched_and_comes_with_the_others_troubles_nobody_any_more(
    town: Town, place: UUID, shop: Shop
) -> None:
    sold = shop.order([("mug", 1)])
    shop.fail("fetch_order", *[Rejected("Not for you.")] * 3)
    want(town, place, "order", sold["id"])
    town.work()
    assert FETCH_REFUSED in town.issues()
    with town.hub.database.write() as connection:
        row = connection.execute(t.fetch_request.select()).one()
        long_ago = row.requested_at.replace(year=row.requested_at.year - 1)
        connection.execute(t.fetch_request.update().values(requested_at=long_ago))

    town.let_pass(301)
    town.work()

    assert (town.count(t.sales_order), town.count(t.fetch_request)) == (1, 0)
    assert FETCH_REFUSED not in town.issues()


# ---------------------------------------------------------------- what a connector gets


def test_each_operation_has_a_budget_and_without_redis_it_outlives_the_shift(town: Town) -> None:
    place = new_id()

    def limiter(hub: Hub) -> Any:
        credentials = connections.Credentials({"shop": "any", "key": "right"}, "")
        caller = hub.caller(Budgeted, credentials, town.merchant, place)
        assert sorted(caller.client.limiters) == ["getOrder", "wave"]
        return caller.client.limiters["wave"]

    limiter(town.hub).acquire(1)
    with pytest.raises(RateLimited):
        limiter(town.hub).acquire(1)
