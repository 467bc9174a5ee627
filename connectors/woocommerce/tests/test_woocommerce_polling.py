"""Polling orders from a simulated shop: nothing is missed, whatever moves, vanishes or fails meanwhile."""

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from hub.connector import Page
from hub.core.model import OrderStatus
from hub.errors import AuthError, NotFound, RateLimited, Unavailable
from hub.testing.clock import Clock
from hub.testing.context import connector_for
from hub.testing.simulator import Fault, SimRequest, SimResponse
from hub_woocommerce.connector import WooCommerceConnector
from hub_woocommerce.simulator import WooCommerceSimulator

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


class SmallHost(WooCommerceSimulator):
    """A shop on a host that never gives more than five rows, whatever is asked for, and says nothing of it."""

    def answer(self, request: SimRequest) -> SimResponse:
        query = [(name, "5" if name == "per_page" else value) for name, value in request.query]
        return super().answer(replace(request, query=query))


class OddShop(WooCommerceSimulator):
    """A shop with something odd in front of it, while ``odd`` names it.

    "cache" takes requests for the same when only their queries differ. "proxy" keeps WordPress's own headers to itself.
    "old" is a WooCommerce that does not know yet how to ask by time of change.
    """

    odd = ""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.cache: dict[str, SimResponse] = {}

    def answer(self, request: SimRequest) -> SimResponse:
        if "old" in self.odd:
            query = [pair for pair in request.query if not pair[0].startswith("modified_")]
            request = replace(request, query=query)
        response = super().answer(request)
        if "proxy" in self.odd:
            headers = {name: value for name, value in response.headers.items() if not name.startswith("X-WP")}
            response = replace(response, headers=headers)
        if "cache" in self.odd:
            response = self.cache.setdefault(request.path, response)
        return response


@pytest.fixture
def odd(clock: Clock) -> Iterator[OddShop]:
    """An odd shop with 120 products, and an order for each, a second apart."""
    with OddShop(now=clock) as shop:
        for number in range(120):
            shop.add_product(f"SKU-{number}", "Mug", 10, "1")
            shop.buy([(f"SKU-{number}", 1)])
            clock.advance(1)
        yield shop


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def shop(clock: Clock) -> Iterator[WooCommerceSimulator]:
    with WooCommerceSimulator(now=clock) as shop:
        shop.add_product("MUG", "Mug", 100_000, "12.50")
        yield shop


@pytest.fixture
def small(clock: Clock) -> Iterator[WooCommerceSimulator]:
    with SmallHost(now=clock) as shop:
        shop.add_product("MUG", "Mug", 100_000, "12.50")
        yield shop


def connected(shop: WooCommerceSimulator, clock: Clock) -> WooCommerceConnector:
    return connector_for(WooCommerceConnector, shop, now=clock)


def sell(shop: WooCommerceSimulator, orders: int = 1) -> list[str]:
    sold = []
    for _ in range(orders):
        sale = shop.buy([("MUG", 1)])
        assert sale is not None
        sold.append(sale.order_external_id)
    return sold


def ids(pages: Iterator[Page]) -> list[str]:
    return [record.external_id for page in pages for record in page.records]


def last_cursor(connector: WooCommerceConnector, cursor: str | None = None) -> str:
    return [page.cursor for page in connector.fetch_orders(cursor)][-1]


def asked(shop: WooCommerceSimulator) -> list[dict[str, str]]:
    return [dict(request.query) for request in shop.requests if request.path.endswith("/orders")]


# ---------------------------------------------------------------- what is asked


def test_imports_every_order_oldest_change_first(shop: WooCommerceSimulator, clock: Clock) -> None:
    sold = []
    for _ in range(250):
        sold += sell(shop)
        clock.advance(1)
    shop.touch(sold[3])
    pages = list(connected(shop, clock).fetch_orders(None))
    found = ids(iter(pages))
    assert list(dict.fromkeys(found)) == [*sold[:3], *sold[4:], sold[3]]
    assert {page.total for page in pages} == {250}
    # The last order of a page is read again with the next: three orders too many for 250 in all.
    assert len(found) == 252


def test_asks_again_only_for_what_changed_and_a_little_before(shop: WooCommerceSimulator, clock: Clock) -> None:
    connector = connected(shop, clock)
    old = sell(shop, 3)
    clock.advance(3600)
    recent = sell(shop)
    cursor = last_cursor(connector)
    assert cursor.startswith("2026-11-21T13:00:00Z ")
    clock.advance(3600)
    new = sell(shop)
    shop.requests.clear()
    assert ids(connector.fetch_orders(cursor)) == [*recent, *new]
    assert not set(old) & set(ids(connector.fetch_orders(cursor)))
    assert asked(shop)[0] == {
        "status": "any",
        "orderby": "modified",
        "order": "asc",
        "per_page": "100",
        "modified_after": "2026-11-21T12:59:50Z",
        "dates_are_gmt": "true",
    }


def test_an_order_stored_late_with_an_earlier_time_is_still_found(shop: WooCommerceSimulator, clock: Clock) -> None:
    connector = connected(shop, clock)
    sell(shop)
    cursor = last_cursor(connector)
    clock.advance(-8)
    late = sell(shop)
    clock.advance(60)
    assert late[0] in ids(connector.fetch_orders(cursor))


def test_two_orders_of_the_second_where_the_last_poll_ended_are_both_found(
    shop: WooCommerceSimulator, clock: Clock
) -> None:
    connector = connected(shop, clock)
    first = sell(shop)
    cursor = last_cursor(connector)
    second = sell(shop)
    assert set(ids(connector.fetch_orders(cursor))) == {*first, *second}


@pytest.mark.parametrize("timezone", ["America/New_York", "Australia/Sydney", "UTC"])
def test_a_shop_in_any_time_zone_loses_no_order(clock: Clock, timezone: str) -> None:
    with WooCommerceSimulator(timezone=timezone, now=clock) as shop:
        shop.add_product("MUG", "Mug", 10, "12.50")
        connector = connected(shop, clock)
        sell(shop)
        clock.advance(600)
        last = sell(shop)
        cursor = last_cursor(connector)
        clock.advance(600)
        new = sell(shop, 3)
        assert set(ids(connector.fetch_orders(cursor))) == {*last, *new}
        order = connector.read_order(connector.fetch_order(new[0]))
        assert (order.version, order.placed_at) == (clock.now, clock.now)


# ---------------------------------------------------------------- what moves meanwhile


def test_an_order_that_changes_while_the_list_is_read_pushes_no_other_out_of_it(
    shop: WooCommerceSimulator, clock: Clock
) -> None:
    sold = []
    for _ in range(150):
        sold += sell(shop)
        clock.advance(1)
    pages = connected(shop, clock).fetch_orders(None)
    found = ids(iter([next(pages)]))
    # By position, the hundred and first order would now be the hundredth, on the page that was read already.
    shop.touch(sold[0])
    found += ids(pages)
    assert set(found) == set(sold)
    assert found.count(sold[0]) == 2


def test_a_second_with_more_orders_than_a_page_is_read_whole(shop: WooCommerceSimulator, clock: Clock) -> None:
    before = sell(shop)
    clock.advance(1)
    crowd = sell(shop, 230)
    clock.advance(1)
    after = sell(shop)
    connector = connected(shop, clock)
    assert set(ids(connector.fetch_orders(None))) == {*before, *crowd, *after}
    cursor = last_cursor(connector)
    assert set(ids(connector.fetch_orders(cursor))) == {*before, *crowd, *after}


def test_orders_that_leave_a_crowded_second_while_it_is_read_take_none_with_them(
    shop: WooCommerceSimulator, clock: Clock
) -> None:
    crowd = sell(shop, 330)
    clock.advance(1)
    connector = connected(shop, clock)
    pages = connector.fetch_orders(None)
    found = ids(iter([next(pages), next(pages), next(pages)]))
    for moved in crowd[50:120]:
        shop.touch(moved)
    found += ids(pages)
    assert set(found) == set(crowd)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_while_it_reads_two_polls_know_every_order_as_it_is(
    small: WooCommerceSimulator, clock: Clock, seed: int
) -> None:
    """Between any two pages, people buy, edit, trash, restore and delete, several times a second."""
    chance = random.Random(seed)
    living = sell(small, 12)
    trashed: list[str] = []

    def meddle() -> None:
        for _ in range(chance.randrange(4)):
            deed = chance.random()
            if deed < 0.3:
                living.extend(sell(small, chance.randrange(1, 4)))
            elif deed < 0.7 and living:
                small.touch(chance.choice(living))
            elif deed < 0.8 and living:
                small.trash(living.pop(chance.randrange(len(living))))
                trashed[:] = [id for id in small.orders() if id not in living]
            elif deed < 0.9 and trashed:
                restored = trashed.pop(chance.randrange(len(trashed)))
                small.restore(restored)
                living.append(restored)
            elif living:
                small.delete(living.pop(chance.randrange(len(living))))
            clock.advance(chance.choice([0, 0, 0.4, 1, 2]))

    connector = connected(small, clock)
    known: dict[str, Any] = {}
    cursor = None
    for disturbed in (True, True, False):
        for page in connector.fetch_orders(cursor):
            for record in page.records:
                order = connector.read_order(record)
                if record.external_id not in known or order.version >= known[record.external_id].version:
                    known[record.external_id] = order
            cursor = page.cursor
            if disturbed and len(small.requests) < 60:
                meddle()
        clock.advance(5)
    for external_id in small.orders():
        now = connector.read_order(connector.fetch_order(external_id))
        assert known[external_id] == now, external_id


def test_an_order_deleted_while_the_list_is_read_is_left_out(shop: WooCommerceSimulator, clock: Clock) -> None:
    gone, stays = sell(shop, 2)
    for order in (gone, stays):
        shop.refund(order, [("MUG", 1)])
    missing = {"code": "woocommerce_rest_order_invalid_id", "message": "Invalid order ID.", "data": {"status": 404}}
    fault = Fault(response=SimResponse.of_json(missing, 404))
    shop.fail_next(f"/wp-json/wc/v3/orders/{gone}/refunds", fault)
    assert ids(connected(shop, clock).fetch_orders(None)) == [stays]


# ---------------------------------------------------------------- the bin


def test_a_trashed_order_is_found_in_the_bin(shop: WooCommerceSimulator, clock: Clock) -> None:
    connector = connected(shop, clock)
    (order,) = sell(shop)
    cursor = last_cursor(connector)
    clock.advance(3600)
    shop.trash(order)
    page, *others = connector.fetch_orders(cursor)
    (record,) = page.records
    assert [each.records for each in others] == [()]
    read = connector.read_order(record)
    assert (read.external_id, read.status, read.holds_stock) == (order, OrderStatus.REMOVED, False)
    assert connector.read_order(connector.fetch_order(order)) == read
    clock.advance(3600)
    shop.restore(order)
    restored = [connector.read_order(record) for page in connector.fetch_orders(page.cursor) for record in page.records]
    assert [each.status for each in restored if each.version == clock.now] == [OrderStatus.OPEN]


def test_what_lay_in_the_bin_long_before_the_shop_was_connected_is_left_there(
    shop: WooCommerceSimulator, clock: Clock
) -> None:
    old, stays = sell(shop, 2)
    shop.trash(old)
    clock.advance(2 * 86_400)
    (recent,) = sell(shop)
    shop.trash(recent)
    assert ids(connected(shop, clock).fetch_orders(None)) == [stays, recent]


def test_a_poll_that_breaks_off_before_the_bin_was_read_reads_it_next_time(
    shop: WooCommerceSimulator, clock: Clock
) -> None:
    connector = connected(shop, clock)
    (order,) = sell(shop)
    cursor = last_cursor(connector)
    clock.advance(3600)
    shop.trash(order)
    clock.advance(3600)
    sell(shop, 1)
    broken_off = next(connector.fetch_orders(cursor)).cursor
    assert broken_off.startswith("2026-11-21T14:00:00Z ")
    assert order in ids(connector.fetch_orders(broken_off))


# ---------------------------------------------------------------- clocks and caches


def test_a_shop_whose_clock_ran_ahead_is_read_again_once_it_is_right(shop: WooCommerceSimulator, clock: Clock) -> None:
    clock.advance(86_400)
    sell(shop)
    connector = connector_for(WooCommerceConnector, shop, now=lambda: NOON)
    cursor = last_cursor(connector)
    clock.advance(-86_400)
    assert sell(shop)[0] in ids(connector.fetch_orders(cursor))


SAME_PAGE = (
    "https://woo.example answers different questions with the same page. Exclude /wp-json/ from caching there, "
    "and see that WooCommerce is up to date."
)


@pytest.mark.parametrize("what", ["cache", "cache and proxy"])
@pytest.mark.parametrize("fetch", ["fetch_orders", "fetch_listings"])
def test_a_cache_that_answers_every_question_with_the_same_page_is_noticed(
    odd: OddShop, clock: Clock, what: str, fetch: str
) -> None:
    connector = connected(odd, clock)
    odd.odd = what
    pages = getattr(connector, fetch)(None)
    assert len(next(pages).records) == 100
    with pytest.raises(Unavailable) as noticed:
        list(pages)
    assert str(noticed.value) == SAME_PAGE
    odd.odd = ""
    assert len(set(ids(getattr(connector, fetch)(None)))) == 120


def test_a_woocommerce_too_old_to_ask_for_changes_is_noticed(odd: OddShop, clock: Clock) -> None:
    connector = connected(odd, clock)
    odd.odd = "old"
    with pytest.raises(Unavailable) as noticed:
        list(connector.fetch_orders(None))
    assert str(noticed.value) == SAME_PAGE
    odd.odd = ""
    assert len(set(ids(connector.fetch_orders(None)))) == 120


def test_without_the_headers_that_count_rows_full_pages_lead_on(odd: OddShop, clock: Clock) -> None:
    connector = connected(odd, clock)
    odd.odd = "proxy"
    pages = list(connector.fetch_orders(None))
    assert {page.total for page in pages} == {None}
    assert len(set(ids(iter(pages)))) == 120
    assert len(ids(connector.fetch_listings(None))) == 120


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.status(429, retry_after=7), RateLimited),
        (Fault.status(500), Unavailable),
        (Fault.status(503, retry_after=600), RateLimited),
        (Fault.html(), Unavailable),
        (Fault.reset(), Unavailable),
        (Fault.truncated(), Unavailable),
        (Fault(response=SimResponse.of_json({"code": "x"})), Unavailable),
        (Fault(response=SimResponse.of_json([{"id": "14"}])), Unavailable),
        (Fault(response=SimResponse(403, {}, b"<h1>Blocked by a firewall</h1>")), Unavailable),
        (Fault(response=SimResponse(404, {}, b"<h1>Not found</h1>")), Unavailable),
        (
            Fault(response=SimResponse.of_json({"code": "woocommerce_rest_cannot_view", "message": "Sorry."}, 401)),
            AuthError,
        ),
    ],
)
def test_a_poll_that_fails_goes_on_where_it_was(
    shop: WooCommerceSimulator, clock: Clock, fault: Fault, error: type[Exception]
) -> None:
    sold = []
    for _ in range(150):
        sold += sell(shop)
        clock.advance(1)
    connector = connected(shop, clock)
    pages = connector.fetch_orders(None)
    first = next(pages)
    shop.fail_next("/wp-json/wc/v3/orders", fault)
    with pytest.raises(error):
        next(pages)
    rest = ids(connector.fetch_orders(first.cursor))
    assert set(ids(iter([first]))) | set(rest) == set(sold)
    # It goes on with an overlap; it does not begin again.
    assert len(rest) < 70


def test_a_rate_limit_says_how_long_to_wait(shop: WooCommerceSimulator, clock: Clock) -> None:
    connector = connected(shop, clock)
    shop.fail_next("/", Fault.status(429, retry_after=7))
    with pytest.raises(RateLimited) as limited:
        list(connector.fetch_orders(None))
    assert limited.value.retry_after == 7


def test_only_woocommerce_itself_can_say_that_an_order_is_gone(shop: WooCommerceSimulator, clock: Clock) -> None:
    (order,) = sell(shop)
    connector = connected(shop, clock)
    no_route = {"code": "rest_no_route", "message": "No route was found.", "data": {"status": 404}}
    for answer in (SimResponse(404, {}, b"<h1>Not found</h1>"), SimResponse.of_json(no_route, 404)):
        shop.fail_next("/", Fault(response=answer))
        with pytest.raises(Unavailable):
            connector.fetch_order(order)
    assert connector.fetch_order(order).external_id == order
    shop.delete(order)
    with pytest.raises(NotFound):
        connector.fetch_order(order)


def test_an_order_is_told_with_its_version(shop: WooCommerceSimulator, clock: Clock) -> None:
    (order,) = sell(shop)
    record = connected(shop, clock).fetch_order(order)
    assert (record.topic, record.external_id, record.version, dict(record.headers)) == (
        "order",
        order,
        "2026-11-21T12:00:00",
        {},
    )


def test_the_record_of_an_unchanged_order_never_changes(shop: WooCommerceSimulator, clock: Clock) -> None:
    (order,) = sell(shop)
    connector = connected(shop, clock)
    first = connector.fetch_order(order)
    clock.advance(3600)
    (again,) = next(connector.fetch_orders(None)).records
    assert again == first
