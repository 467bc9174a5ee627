"""Orders deleted past the bin, of which the shop tells nobody: noticed by asking for them every now and then."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hub.connector import OrderRemoved, Page
from hub.core.model import OrderStatus
from hub.errors import Unavailable
from hub.testing.clock import Clock
from hub.testing.context import connector_for
from hub.testing.simulator import Fault, SimRequest, SimResponse
from hub_woocommerce.connector import WooCommerceConnector
from hub_woocommerce.orders import WATCHED, OrderCursor
from hub_woocommerce.simulator import WooCommerceSimulator

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


class Poll:
    """A connector that is asked for orders again and again, as the hub does: from the last cursor."""

    def __init__(self, shop: WooCommerceSimulator, clock: Clock) -> None:
        self.shop, self.clock = shop, clock
        self.connector = connector_for(WooCommerceConnector, shop, now=clock)
        self.cursor: str | None = None
        self.asked: list[SimRequest] = []

    def pages(self) -> list[Page]:
        self.shop.requests.clear()
        pages = []
        for page in self.connector.fetch_orders(self.cursor):
            pages.append(page)
            self.cursor = page.cursor
        self.asked = list(self.shop.requests)
        return pages

    def gone(self) -> list[str]:
        """The orders that this poll says are gone."""
        facts: list[Any] = [
            fact
            for page in self.pages()
            for record in page.records
            if record.topic != "order"
            for fact in self.connector.read_webhook(record)
        ]
        assert all(isinstance(fact, OrderRemoved) for fact in facts)
        return [fact.external_id for fact in facts]


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def shop(clock: Clock) -> Iterator[WooCommerceSimulator]:
    with WooCommerceSimulator(now=clock) as shop:
        shop.add_product("MUG", "Mug", 1_000_000, "12.50")
        yield shop


@pytest.fixture
def poll(shop: WooCommerceSimulator, clock: Clock) -> Poll:
    return Poll(shop, clock)


def sell(shop: WooCommerceSimulator, orders: int = 1) -> list[str]:
    sold = [shop.buy([("MUG", 1)]) for _ in range(orders)]
    return [sale.order_external_id for sale in sold if sale is not None]


def test_a_deleted_order_is_noticed_within_a_quarter_of_an_hour(poll: Poll, shop: WooCommerceSimulator) -> None:
    deleted, stays = sell(shop, 2)
    assert poll.gone() == []
    shop.delete(deleted)
    poll.clock.advance(minutes=14)
    assert poll.gone() == []
    poll.clock.advance(minutes=1)
    assert poll.gone() == [deleted]
    # Once is enough, and nobody asks for it again.
    poll.clock.advance(minutes=16)
    assert poll.gone() == []
    assert [request.parameter("include") for request in poll.asked if request.parameter("include")] == [stays]


def test_an_order_deleted_through_the_api_is_noticed_too(poll: Poll, shop: WooCommerceSimulator) -> None:
    (order,) = sell(shop)
    poll.pages()
    site = poll.connector.settings["site"]
    path, auth = f"{site}/wp-json/wc/v3/orders/{order}", (shop.consumer_key, shop.consumer_secret)
    said = poll.connector.client.delete(path, params={"force": "true"}, auth=auth).json()
    assert (said["id"], said["status"], shop.orders()) == (int(order), "processing", set())
    poll.clock.advance(hours=1)
    assert poll.gone() == [order]


def test_a_trashed_order_is_told_by_the_bin_and_not_as_gone(poll: Poll, shop: WooCommerceSimulator) -> None:
    (order,) = sell(shop)
    poll.pages()
    shop.trash(order)
    poll.clock.advance(hours=1)
    records = [record for page in poll.pages() for record in page.records]
    assert [poll.connector.read_order(record).status for record in records] == [OrderStatus.REMOVED]
    # From the bin it may be deleted; it holds no stock any more, and nobody has to be told.
    shop.delete(order)
    poll.clock.advance(hours=1)
    assert poll.gone() == []


@pytest.mark.parametrize("status", ["completed", "cancelled", "refunded", "failed"])
def test_orders_that_hold_no_stock_are_not_asked_for(poll: Poll, shop: WooCommerceSimulator, status: str) -> None:
    old, living = sell(shop, 2)
    poll.pages()
    shop.set_status(old, status)
    poll.clock.advance(hours=1)
    poll.pages()
    assert [request.parameter("include") for request in poll.asked if request.parameter("include")] == [living]


def test_looking_costs_a_request_for_a_hundred_orders_and_nothing_between(
    poll: Poll, shop: WooCommerceSimulator
) -> None:
    for _ in range(250):
        sell(shop)
        poll.clock.advance(seconds=1)
    poll.pages()
    poll.clock.advance(minutes=1)
    poll.pages()
    between = len(poll.asked)
    poll.clock.advance(hours=1)
    poll.pages()
    assert (between, len(poll.asked)) == (2, 5)


def test_of_very_many_orders_the_newest_are_looked_after() -> None:
    cursor = OrderCursor.of(None)
    for start in range(0, WATCHED + 500, 100):
        cursor.watch([{"id": id, "status": "processing"} for id in range(start, start + 100)])
    assert cursor.watched == set(range(500, WATCHED + 500))
    assert len(str(cursor)) < 10_000


def test_a_list_that_leaves_orders_out_removes_none_of_them(poll: Poll, shop: WooCommerceSimulator) -> None:
    sold = sell(shop, 3)
    poll.pages()
    poll.clock.advance(hours=1)
    empty = SimResponse(200, {"Content-Type": "application/json", "X-WP-Total": "0"}, b"[]")
    shop.fail_next("/wp-json/wc/v3/orders", Fault(response=empty), times=3)
    records = [record for page in poll.pages() for record in page.records]
    assert {record.external_id for record in records} == set(sold)
    assert [poll.connector.read_order(record).status for record in records] == [OrderStatus.OPEN] * 3


def test_a_shop_that_is_broken_has_not_lost_its_orders(poll: Poll, shop: WooCommerceSimulator) -> None:
    (order,) = sell(shop)
    poll.pages()
    shop.delete(order)
    poll.clock.advance(hours=1)
    page = SimResponse(404, {"Content-Type": "text/html"}, b"<h1>Not found</h1>")
    shop.fail_next(f"/wp-json/wc/v3/orders/{order}", Fault(response=page))
    before = poll.cursor
    with pytest.raises(Unavailable):
        poll.pages()
    assert poll.cursor in (before, poll.cursor)
    assert poll.gone() == [order]


def test_hundreds_that_are_gone_at_once_are_told_bit_by_bit(poll: Poll, shop: WooCommerceSimulator) -> None:
    sold = sell(shop, 230)
    poll.pages()
    for order in sold[:210]:
        shop.delete(order)
    told: list[str] = []
    for _ in range(3):
        poll.clock.advance(minutes=15)
        told += poll.gone()
        assert len(poll.asked) < 130
    assert sorted(told) == sorted(sold[:210])


def test_an_order_that_vanishes_from_every_list_and_is_there_is_fetched(poll: Poll, shop: WooCommerceSimulator) -> None:
    (order,) = sell(shop)
    poll.pages()
    # Plugins hide orders from lists, in a status that they have not registered.
    shop.shop.orders[int(order)].status = "auto-draft"
    poll.clock.advance(hours=1)
    (record,) = [record for page in poll.pages() for record in page.records]
    assert poll.connector.read_order(record).channel_status == "auto-draft"


# ---------------------------------------------------------------- the cursor


@pytest.mark.parametrize(
    "ids", [set(), {1}, {1, 2, 3}, {5, 70_000_000_001, 9_223_372_036_854_775_807}, set(range(100, 3000, 7))]
)
def test_a_cursor_keeps_what_it_was_given(ids: set[int]) -> None:
    cursor = OrderCursor(NOON, NOON - timedelta(days=1), NOON + timedelta(minutes=3), ids)
    assert OrderCursor.of(str(cursor)) == cursor
    assert OrderCursor.of(str(replace(cursor, orders=None))) == replace(cursor, orders=None)


@pytest.mark.parametrize("text", ["2026-11-21T12:00:00Z 2026-11-20T12:00:00Z", "2026-11-21T12:00:00Z", "", "x y z w"])
def test_a_cursor_from_before_orders_were_looked_after_still_leads_on(
    poll: Poll, shop: WooCommerceSimulator, text: str
) -> None:
    (order,) = sell(shop)
    poll.cursor = text
    assert [record.external_id for page in poll.pages() for record in page.records] == [order]
    shop.delete(order)
    poll.clock.advance(hours=1)
    assert poll.gone() == [order]


@pytest.mark.parametrize("hours", [-48, 48])
def test_a_clock_that_was_set_right_does_not_put_the_looking_off(
    poll: Poll, shop: WooCommerceSimulator, hours: int
) -> None:
    (order,) = sell(shop)
    poll.pages()
    shop.delete(order)
    poll.clock.advance(hours=hours)
    assert poll.gone() == [order]
