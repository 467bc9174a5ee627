"""Orders as they are fetched and read: whole, right to the cent, and none of them lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from hub.connector import RawRecord
from hub.core.model import Money, Order, OrderStatus
from hub.errors import NotFound, Unreadable
from hub.testing import Clock
from hub.testing.context import connector_for
from hub.testing.simulator import Fault
from hub_shopify import documents
from hub_shopify.admin_api import AdminApi
from hub_shopify.connector import ShopifyConnector
from hub_shopify.orders import KNOWN, OVERLAP, OrderCursor, Orders
from hub_shopify.simulator import ShopifySimulator


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime(2026, 11, 21, 12, tzinfo=UTC))


@pytest.fixture
def shop(clock: Clock) -> Iterator[ShopifySimulator]:
    with ShopifySimulator(now=clock, bucket=1_000_000) as simulator:
        simulator.add_product("MUG", "Mug", 100_000, "8.00")
        simulator.add_product("POT", "Pot", 100_000, "19.99")
        yield simulator


@pytest.fixture
def connector(shop: ShopifySimulator, clock: Clock) -> ShopifyConnector:
    return connector_for(ShopifyConnector, shop, now=clock)


def eur(amount: str) -> Money:
    return Money(Decimal(amount), "EUR")


def sell(shop: ShopifySimulator, *items: tuple[str, int], **options: Any) -> str:
    sale = shop.checkout(items or [("MUG", 1)], **options)
    assert sale is not None
    return sale.order_external_id


def fetch(connector: ShopifyConnector, cursor: str | None = None) -> tuple[list[str], str | None]:
    """The ids of all orders fetched from a cursor, and the cursor after them."""
    ids = []
    for page in connector.fetch_orders(cursor):
        ids += [record.external_id for record in page.records]
        cursor = page.cursor
    return ids, cursor


def read(connector: ShopifyConnector, external_id: str) -> Order:
    return connector.read_order(connector.fetch_order(external_id))


def orders_of(connector: ShopifyConnector, **limits: int) -> Orders:
    """The orders of a shop, paged whatever their number, with other limits."""
    context = connector.context
    return Orders(AdminApi(context), context.client, context.now, bulk_from=100_000, **limits)


def asked(shop: ShopifySimulator, document: documents.Document) -> int:
    name = document.text.split()[1].partition("(")[0]
    return sum(f" {name}(".encode() in request.body for request in shop.requests)


# --- reading


def test_an_order_reads_right_to_the_cent(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    id = sell(shop, ("MUG", 3), ("POT", 1), extras=[("Gift wrap", "2.50", 1)], discount="5.00", note="Ring twice")
    order = read(connector, id)
    mug, pot, wrap = order.lines
    assert order.external_id == id
    assert order.number == "#1001"
    assert order.status is OrderStatus.OPEN
    assert order.channel_status == "paid, unfulfilled"
    assert order.holds_stock
    assert order.whole
    assert order.version == order.placed_at == datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert (mug.sku, mug.title, mug.quantity, mug.unit_price) == ("MUG", "Mug", 3, eur("8.00"))
    assert (mug.total, mug.tax) == (eur("19.00"), eur("1.90"))  # the discount is taken off it
    assert (pot.total, pot.tax) == (eur("19.99"), eur("2.00"))
    assert (wrap.listing_external_id, wrap.sku, wrap.total) == (None, "", eur("2.50"))
    assert (order.total, order.shipping, order.tax) == (eur("50.54"), eur("4.90"), eur("4.15"))
    assert (order.discount, order.fees, order.rounding) == (eur("0.00"), eur("0"), eur("0.00"))
    assert (order.customer_name, order.email, order.note) == ("Ada Byron", "ada@example.com", "Ring twice")
    assert (order.shipping_address.postcode, order.shipping_address.country) == ("SW1Y 4JH", "GB")
    assert {mug.listing_external_id, pot.listing_external_id} == set(map(str, shop.variants))


def test_ids_beyond_32_bits_stay_whole(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    id = sell(shop)
    order = read(connector, id)
    assert int(id) > 2**32
    assert order.external_id == id
    assert order.lines[0].external_id.isdigit()


@pytest.mark.parametrize(
    ("financial", "status"),
    [
        ("PAID", OrderStatus.OPEN),
        ("AUTHORIZED", OrderStatus.OPEN),
        ("PARTIALLY_PAID", OrderStatus.OPEN),
        ("PENDING", OrderStatus.PENDING),
        ("EXPIRED", OrderStatus.PENDING),
    ],
)
def test_shopify_holds_stock_for_open_orders_paid_or_not(
    shop: ShopifySimulator, connector: ShopifyConnector, financial: str, status: OrderStatus
) -> None:
    order = read(connector, sell(shop, financial=financial))
    assert (order.status, order.holds_stock) == (status, True)
    assert order.paid is (status is OrderStatus.OPEN)
    assert order.channel_status == f"{financial.lower()}, unfulfilled"


def test_a_test_order_is_marked(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    assert read(connector, sell(shop, test=True)).test
    assert not read(connector, sell(shop)).test


def test_a_line_whose_product_was_deleted_is_kept(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    product = shop.add_product("OLD", "Old thing", 5, "3.00")
    id = sell(shop, ("OLD", 2))
    shop.delete_product(product)
    (line,) = read(connector, id).lines
    assert (line.listing_external_id, line.sku, line.quantity) == (None, "OLD", 2)


# --- what was shipped, refunded, removed


def units(order: Order) -> list[tuple[int, int, int, int]]:
    """(ordered, fulfilled, removed, open) of each line."""
    return [(line.quantity, line.fulfilled, line.removed, line.open_quantity) for line in order.lines]


def test_units_are_open_then_shipped(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    id = sell(shop, ("MUG", 3), ("POT", 1))
    assert units(read(connector, id)) == [(3, 0, 0, 3), (1, 0, 0, 1)]
    shop.fulfill(id, units=1)
    order = read(connector, id)
    assert units(order) == [(3, 1, 0, 2), (1, 1, 0, 0)]
    assert (order.status, order.holds_stock) == (OrderStatus.OPEN, True)
    assert order.channel_status == "paid, partially_fulfilled"
    shop.fulfill(id)
    order = read(connector, id)
    assert units(order) == [(3, 3, 0, 0), (1, 1, 0, 0)]
    assert (order.status, order.holds_stock) == (OrderStatus.FULFILLED, False)


def test_units_refunded_before_they_were_shipped_are_removed(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    id = sell(shop, ("MUG", 3))
    shop.refund(id, "MUG", 1, note="Changed her mind")
    order = read(connector, id)
    assert units(order) == [(3, 0, 1, 2)]
    assert (order.status, order.holds_stock, order.whole) == (OrderStatus.OPEN, True, True)
    (refund,) = order.refunds
    assert (refund.amount, refund.reason) == (eur("8.80"), "Changed her mind")
    assert refund.refunded_at == datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_units_refunded_after_they_were_shipped_stay_shipped(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    id = sell(shop, ("MUG", 3))
    shop.fulfill(id, units=2)
    shop.refund(id, "MUG", 1, restock=False)
    assert units(read(connector, id)) == [(3, 2, 0, 1)]
    shop.refund(id, "MUG", 2)  # the other shipped one, and the open one
    order = read(connector, id)
    assert units(order) == [(3, 2, 1, 0)]
    assert (order.status, order.holds_stock) == (OrderStatus.FULFILLED, False)
    assert order.channel_status == "partially_refunded, fulfilled"  # the postage was kept
    assert [refund.amount for refund in order.refunds] == [eur("8.80"), eur("17.60")]


def test_units_that_cost_nothing_are_told_apart_too(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    shop.add_product("GIFT", "Free gift", 10, "0.00")
    id = sell(shop, ("GIFT", 3))
    shop.fulfill(id, units=1)
    shop.refund(id, "GIFT", 2)
    order = read(connector, id)
    assert units(order) == [(3, 1, 1, 1)]
    assert order.whole


def test_a_refunded_unit_is_not_shipped_even_if_it_counts_as_unfulfilled(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    shop.refund(id := sell(shop, ("MUG", 3)), "MUG", 1)
    told = json.loads(connector.fetch_order(id).body)
    told["lineItems"]["nodes"][0]["unfulfilledQuantity"] = 3
    assert units(connector.read_order(RawRecord("order", id, json.dumps(told).encode()))) == [(3, 0, 1, 2)]


def test_a_canceled_shipment_is_none(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    id = sell(shop, ("MUG", 3))
    shop.refund(id, "MUG", 1)
    shop.fulfill(id)
    shop.cancel_fulfillment(id)
    assert units(read(connector, id)) == [(3, 0, 1, 2)]


def test_a_canceled_order_holds_nothing(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    id = sell(shop, ("MUG", 3))
    shop.cancel(id)
    order = read(connector, id)
    assert (order.status, order.holds_stock) == (OrderStatus.CANCELLED, False)
    assert order.channel_status == "refunded, unfulfilled, cancelled"
    assert units(order) == [(3, 0, 3, 0)]
    assert [refund.amount for refund in order.refunds] == [order.total]


def test_an_archived_order_holds_nothing(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    id = sell(shop)
    shop.close_order(id)
    order = read(connector, id)
    assert (order.status, order.holds_stock) == (OrderStatus.FULFILLED, False)
    assert order.channel_status == "paid, unfulfilled, closed"


# --- money that does not simply add up


def node(shop: ShopifySimulator, connector: ShopifyConnector, **changed: Any) -> RawRecord:
    """An order's record with some of its fields as they may come, too."""
    record = connector.fetch_order(sell(shop, ("MUG", 1)))
    return RawRecord("order", record.external_id, json.dumps({**json.loads(record.body), **changed}).encode())


def bag(amount: str) -> dict[str, Any]:
    return {"shopMoney": {"amount": amount, "currencyCode": "EUR"}}


def test_a_tip_counts_once_whether_or_not_it_is_a_line(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    total = {"totalPriceSet": bag("15.70")}  # 8.00 + 0.80 tax + 4.90 shipping + 2.00
    tipped = connector.read_order(node(shop, connector, totalTipReceivedSet=bag("2.0"), **total))
    assert (tipped.fees, tipped.rounding) == (eur("2.00"), eur("0.00"))
    in_the_lines = connector.read_order(node(shop, connector, totalTipReceivedSet=bag("2.0")))
    assert (in_the_lines.fees, in_the_lines.rounding) == (eur("0"), eur("0.00"))


def test_duties_and_fees_are_fees_and_the_rest_is_rounding(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    fees = {"originalTotalDutiesSet": bag("1.10"), "originalTotalAdditionalFeesSet": bag("0.40")}
    order = connector.read_order(node(shop, connector, totalPriceSet=bag("15.25"), **fees))
    assert (order.fees, order.rounding) == (eur("1.50"), eur("0.05"))


def test_taxes_that_are_included_are_not_added(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    order = connector.read_order(node(shop, connector, taxesIncluded=True, totalPriceSet=bag("12.90")))
    assert order.taxes_included
    assert order.rounding == eur("0.00")


def test_a_discount_on_shipping_is_kept_beside_the_lines(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    order = connector.read_order(node(shop, connector, totalDiscountsSet=bag("4.90"), totalPriceSet=bag("8.80")))
    assert (order.discount, order.rounding) == (eur("4.90"), eur("0.00"))
    assert order.lines[0].total == eur("8.00")


def test_an_order_without_address_or_payment_reads(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    nothing = dict.fromkeys(("shippingAddress", "billingAddress", "displayFinancialStatus", "email", "note"))
    order = connector.read_order(node(shop, connector, **nothing))
    assert (order.customer_name, order.email, order.note, order.shipping_address.city) == ("", "", "", "")
    assert (order.status, order.channel_status) == (OrderStatus.OPEN, "payment not required, unfulfilled")


@pytest.mark.parametrize(
    "changed",
    [
        {"legacyResourceId": None},
        {"updatedAt": "2026-11-21T12:00:00"},
        {"totalPriceSet": None},
        {"totalPriceSet": {"shopMoney": {"amount": "NaN", "currencyCode": "EUR"}}},
        {"currencyCode": "EURO"},
        {"lineItems": {"nodes": [{"id": "gid://shopify/LineItem/x"}], "pageInfo": {"hasNextPage": False}}},
        {"lineItems": []},
    ],
)
def test_what_cannot_be_an_order_is_unreadable(
    shop: ShopifySimulator, connector: ShopifyConnector, changed: dict[str, Any]
) -> None:
    with pytest.raises(Unreadable):
        connector.read_order(node(shop, connector, **changed))


# --- fetching: all of an order


def test_an_order_with_many_lines_comes_whole(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    count = documents.ORDER_LINES + 2 * documents.LINES_PAGE + 1
    id = sell(shop, *[("MUG", 1)] * 100, extras=[(f"Part {number}", "1.00", 1) for number in range(count - 100)])
    (page,) = connector.fetch_orders(None)
    order = connector.read_order(page.records[0])
    assert len(order.lines) == count
    assert order.whole
    assert len({line.external_id for line in order.lines}) == count
    assert order.lines == read(connector, id).lines
    assert order.rounding == eur("0.00")


def test_an_order_with_many_shipments_is_counted_whole(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    id = sell(shop, ("MUG", 40))
    for _ in range(30):
        shop.fulfill(id, units=1)
    shop.refund(id, "MUG", 5)
    (page,) = connector.fetch_orders(None)
    assert units(connector.read_order(page.records[0])) == [(40, 30, 0, 10)]


def test_an_order_without_refund_needs_no_further_question(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    shop.fulfill(sell(shop, ("MUG", 2)))
    fetch(connector)
    assert asked(shop, documents.ORDERS) == 1
    assert asked(shop, documents.ORDER_AFTERMATH) == asked(shop, documents.ORDER_LINES_AFTER) == 0


def test_a_record_that_lacks_lines_says_that_it_is_not_whole(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    record = node(shop, connector)
    cut = json.loads(record.body)
    cut["lineItems"]["pageInfo"]["hasNextPage"] = True
    assert connector.read_order(record).whole
    assert not connector.read_order(RawRecord("order", "1", json.dumps(cut).encode())).whole


def test_an_order_deleted_meanwhile_is_left_out_and_the_others_come(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    many = sell(shop, extras=[(f"Part {number}", "1.00", 1) for number in range(10)])
    kept = sell(shop)

    shop.fail_next("/admin/api", Fault.changing(lambda: shop.delete(many)), after=2)  # the first lines have come
    assert fetch(connector)[0] == [kept]


def test_a_deleted_order_is_not_found(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    id = sell(shop)
    shop.delete(id)
    with pytest.raises(NotFound):
        connector.fetch_order(id)
    with pytest.raises(NotFound):
        connector.fetch_order("gid://shopify/Order/1")


# --- fetching: all orders


def test_orders_come_oldest_change_first_with_how_many_there_are(
    shop: ShopifySimulator, connector: ShopifyConnector, clock: Clock
) -> None:
    ids = []
    for _ in range(documents.ORDER_BATCH + 3):
        ids.append(sell(shop))
        clock.advance(seconds=1)
    shop.fulfill(ids[0])
    pages = list(connector.fetch_orders(None))
    assert [record.external_id for page in pages for record in page.records] == [*ids[1:], ids[0]]
    assert [len(page.records) for page in pages] == [documents.ORDER_BATCH, 3]
    assert [page.total for page in pages] == [len(ids), len(ids)]
    record = pages[-1].records[-1]
    assert (record.topic, record.version) == ("order", "2026-11-21T12:00:10Z")


def test_a_shop_without_orders_yields_nothing(connector: ShopifyConnector) -> None:
    assert fetch(connector) == ([], None)


def test_nothing_is_fetched_twice_once_it_has_settled(
    shop: ShopifySimulator, connector: ShopifyConnector, clock: Clock
) -> None:
    first = sell(shop)
    clock.advance(seconds=20)
    ids, cursor = fetch(connector)
    assert ids == [first]
    assert OrderCursor.parse(cursor).newest == datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert fetch(connector, cursor) == ([], cursor)
    second = sell(shop)
    assert fetch(connector, cursor)[0] == [second]


def test_a_second_change_within_one_second_is_not_missed(
    shop: ShopifySimulator, connector: ShopifyConnector, clock: Clock
) -> None:
    id = sell(shop)
    _, cursor = fetch(connector)
    shop.fulfill(id)  # the same updatedAt: Shopify's marks have whole seconds
    clock.advance(seconds=30)
    ids, cursor = fetch(connector, cursor)
    assert ids == [id]
    clock.advance(seconds=30)
    assert fetch(connector, cursor)[0] == []


def test_an_order_that_the_index_shows_late_is_found(clock: Clock) -> None:
    with ShopifySimulator(now=clock) as shop:
        shop.add_product("MUG", "Mug", 9, "8.00")
        connector = connector_for(ShopifyConnector, shop, now=clock)
        shop.index_lag = timedelta(minutes=3)
        late = sell(shop)
        shop.index_lag = timedelta(0)
        clock.advance(seconds=10)
        early = sell(shop)
        clock.advance(seconds=20)
        ids, cursor = fetch(connector)
        assert ids == [early]
        clock.advance(minutes=3)
        assert fetch(connector, cursor)[0] == [late]


def test_the_overlap_reaches_as_far_back_as_it_says(
    shop: ShopifySimulator, connector: ShopifyConnector, clock: Clock
) -> None:
    old = sell(shop)
    clock.advance(seconds=OVERLAP.total_seconds())
    new = sell(shop)
    cursor = str(OrderCursor(clock()))
    assert fetch(connector, cursor)[0] == [old, new]
    assert fetch(connector, str(OrderCursor(clock() + timedelta(seconds=1))))[0] == [new]


def test_an_interrupted_import_goes_on_where_it_was(
    shop: ShopifySimulator, connector: ShopifyConnector, clock: Clock
) -> None:
    ids = []
    for _ in range(3 * documents.ORDER_BATCH):
        ids.append(sell(shop))
        clock.advance(minutes=10)
    page = next(iter(connector.fetch_orders(None)))
    rest, _ = fetch(connector, page.cursor)
    assert [record.external_id for record in page.records] == ids[: documents.ORDER_BATCH]
    assert rest == ids[documents.ORDER_BATCH :]


def test_a_mark_that_is_ahead_of_the_index_never_skips_what_follows(
    shop: ShopifySimulator, connector: ShopifyConnector, clock: Clock
) -> None:
    """An old order changes just now: the index still lists it first, but Shopify shows its new mark. If that mark were
    taken for how far the import has come, an interruption here would lose every order in between."""
    ids = []
    for _ in range(2 * documents.ORDER_BATCH):
        ids.append(sell(shop))
        clock.advance(hours=1)
    shop.index_lag = timedelta(minutes=1)
    shop.fulfill(ids[0])
    page = next(iter(connector.fetch_orders(None)))
    assert page.records[0].version == "2026-11-22T02:00:00Z"
    rest, _ = fetch(connector, page.cursor)
    assert set(rest) >= set(ids[documents.ORDER_BATCH :])


def test_a_very_long_listing_goes_on_with_a_new_search(
    shop: ShopifySimulator, connector: ShopifyConnector, clock: Clock
) -> None:
    ids = []
    for number in range(3 * documents.SCAN_PAGE):
        ids.append(sell(shop))
        clock.advance(seconds=number % 2)  # two orders share each mark
    clock.advance(hours=1)
    impatient = orders_of(connector, listing_limit=2 * documents.SCAN_PAGE)  # Shopify's own limit is 25,000
    fetched = [record.external_id for page in impatient.pages(None) for record in page.records]
    searches = {request.json()["variables"]["query"] for request in shop.requests if b"ChangedOrders" in request.body}
    assert sorted(set(fetched)) == sorted(ids)
    assert len(fetched) == len(ids)
    assert searches == {None, "updated_at:>='2026-11-21T12:04:09Z'"}


def test_a_very_long_listing_of_one_second_ends(
    shop: ShopifySimulator, connector: ShopifyConnector, clock: Clock
) -> None:
    ids = {sell(shop) for _ in range(documents.SCAN_PAGE + 1)}
    clock.advance(hours=1)
    pages = orders_of(connector, listing_limit=1).pages(None)
    assert {record.external_id for page in pages for record in page.records} == ids


def test_the_cursor_stays_small(clock: Clock) -> None:
    mark = "2026-11-21T11:59:00Z"
    orders = [{"id": f"gid://shopify/Order/{number}", "updatedAt": mark} for number in range(2 * KNOWN)]
    cursor = OrderCursor().after(orders, clock(), last=True)
    assert len(cursor.known) == KNOWN
    assert OrderCursor.parse(str(cursor)) == cursor
    clock.advance(minutes=10)
    later = cursor.after([{"id": "gid://shopify/Order/1", "updatedAt": "2026-11-21T12:10:00Z"}], clock(), last=True)
    assert later.known == {}
