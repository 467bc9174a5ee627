"""Recorded orders, read to the cent: from webhooks, and from what is fetched with the refunds."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from hub.connector import OrderRemoved, RawRecord
from hub.core.model import Address, LineQuantity, Money, Order, OrderLine, OrderStatus, Payment, Refund
from hub.errors import Unreadable
from hub.testing.context import connector_for
from hub_woocommerce.connector import WooCommerceConnector
from hub_woocommerce.simulator import WooCommerceSimulator

PAYLOADS = Path(__file__).parent / "payloads"
DELIVERIES = [
    json.loads(line) for line in (PAYLOADS / "_webhook_deliveries.jsonl").read_text(encoding="utf-8").splitlines()
]


def recorded(name: str) -> Any:
    return json.loads((PAYLOADS / f"{name}.json").read_text(encoding="utf-8"))["response"]["json"]


def delivered(number: int) -> Any:
    return json.loads(DELIVERIES[number]["body"])


def usd(amount: str) -> Money:
    return Money(Decimal(amount), "USD")


@pytest.fixture(scope="module")
def reader() -> Any:
    with WooCommerceSimulator() as shop:
        yield connector_for(WooCommerceConnector, shop)


def from_webhook(reader: WooCommerceConnector, number: int) -> Order:
    topic = DELIVERIES[number]["headers"]["X-WC-Webhook-Topic"]
    (order,) = reader.read_webhook(RawRecord(topic, "", DELIVERIES[number]["body"].encode()))
    assert isinstance(order, Order)
    return order


def fetched(reader: WooCommerceConnector, order: Any, refunds: Any = ()) -> Order:
    body = json.dumps({"order": order, "refunds": list(refunds)}).encode()
    return reader.read_order(RawRecord("order", str(order["id"]), body))


def test_reads_an_order_to_the_cent(reader: WooCommerceConnector) -> None:
    zoe = Address(
        name="Zoë O'Brien",
        line1="1 High St",
        city="Leeds",
        postcode="LS1 1AA",
        country="GB",
        phone="+44 113 000 0000",
    )
    assert fetched(reader, recorded("order_get")) == Order(
        external_id="14",
        number="14",
        status=OrderStatus.OPEN,
        channel_status="processing",
        version=datetime(2026, 11, 21, 22, 34, 28, tzinfo=UTC),
        placed_at=datetime(2026, 11, 21, 22, 34, 28, tzinfo=UTC),
        currency="USD",
        holds_stock=True,
        lines=(
            OrderLine(
                external_id="1",
                listing_external_id="10",
                sku="MUG-1",
                title="Mug — blå",
                quantity=1,
                unit_price=usd("12.5"),
                total=usd("12.50"),
                tax=usd("0.00"),
            ),
            OrderLine(
                external_id="2",
                listing_external_id="12",
                sku="TEE-S",
                title="Tee - S",
                quantity=1,
                unit_price=usd("20"),
                total=usd("20.00"),
                tax=usd("0.00"),
                attributes={"Size": "S"},
            ),
        ),
        total=usd("37.49"),
        shipping=usd("4.99"),
        tax=usd("0.00"),
        discount=usd("0"),
        fees=usd("0"),
        customer_name="Zoë O'Brien",
        email="zoe@example.test",
        shipping_address=zoe,
        billing_address=zoe,
        payments=(Payment(method="Bank", amount=usd("37.49")),),
        source="rest-api",
        shipping_method="Flat Rate",
        attributes={"hub_ref": "r0"},
    )


@dataclass(frozen=True)
class Ends:
    """How an order stands in the last webhook about it; a line is (id, listing, ordered, fulfilled, removed, total)."""

    delivery: int
    status: OrderStatus
    channel_status: str
    holds_stock: bool
    total: str
    shipping: str
    lines: tuple[tuple[str, str, int, int, int, str], ...]
    refunds: tuple[tuple[str, str, str], ...] = ()


@pytest.mark.parametrize(
    ("order_id", "ends"),
    [
        (
            "14",
            Ends(
                31,
                OrderStatus.FULFILLED,
                "completed",
                False,
                "37.49",
                "4.99",
                (("1", "10", 1, 0, 1, "12.50"), ("2", "12", 1, 1, 0, "20.00")),
                (("18", "12.50", ""),),
            ),
        ),
        (
            "15",
            Ends(
                46,
                OrderStatus.REFUNDED,
                "refunded",
                False,
                "49.99",
                "4.99",
                (("4", "10", 2, 0, 2, "25.00"), ("5", "12", 1, 0, 1, "20.00")),
                (("22", "49.99", "Order fully refunded."),),
            ),
        ),
        (
            "16",
            Ends(
                32,
                OrderStatus.CANCELLED,
                "cancelled",
                False,
                "62.49",
                "4.99",
                (("7", "10", 3, 0, 3, "37.50"), ("8", "12", 1, 0, 1, "20.00")),
                (("17", "12.50", "damaged"),),
            ),
        ),
        ("19", Ends(40, OrderStatus.OPEN, "processing", True, "25.00", "0.00", (("11", "10", 2, 0, 0, "25.00"),))),
        ("20", Ends(42, OrderStatus.PENDING, "pending", False, "12.50", "0.00", (("12", "10", 1, 0, 0, "12.50"),))),
        ("21", Ends(44, OrderStatus.PENDING, "pending", False, "12.50", "0.00", (("13", "10", 1, 0, 0, "12.50"),))),
    ],
)
def test_reads_where_each_recorded_order_ended(reader: WooCommerceConnector, order_id: str, ends: Ends) -> None:
    order = from_webhook(reader, ends.delivery)
    assert order.external_id == order_id
    assert (order.status, order.channel_status, order.holds_stock) == (
        ends.status,
        ends.channel_status,
        ends.holds_stock,
    )
    assert (order.total, order.shipping, order.tax, order.fees, order.discount, order.rounding) == (
        usd(ends.total),
        usd(ends.shipping),
        usd("0"),
        usd("0"),
        usd("0"),
        usd("0"),
    )
    assert [
        (line.external_id, line.listing_external_id, line.quantity, line.fulfilled, line.removed, line.total)
        for line in order.lines
    ] == [(*line[:5], usd(line[5])) for line in ends.lines]
    assert [(refund.external_id, refund.amount, refund.reason) for refund in order.refunds] == [
        (id, usd(amount), reason) for id, amount, reason in ends.refunds
    ]
    assert order.whole is (not ends.refunds)


def test_every_total_of_every_recorded_order_adds_up(reader: WooCommerceConnector) -> None:
    orders = [
        from_webhook(reader, number)
        for number, row in enumerate(DELIVERIES)
        if row["path"] in ("/order.created", "/order.updated") and "X-WC-Webhook-Topic" in row["headers"]
    ]
    assert (len(orders), {order.external_id for order in orders}) == (20, {"14", "15", "16", "19", "20", "21"})
    assert {order.rounding for order in orders} == {usd("0")}


def test_a_deletion_tells_only_the_id(reader: WooCommerceConnector) -> None:
    assert list(reader.read_webhook(RawRecord("order.deleted", "", b'{"id":16}'))) == [OrderRemoved("16")]


def test_a_restored_order_is_read_like_any_other(reader: WooCommerceConnector) -> None:
    record = RawRecord("order.restored", "", DELIVERIES[15]["body"].encode())
    assert list(reader.read_webhook(record)) == [from_webhook(reader, 15)]


# ---------------------------------------------------------------- refunds


def test_a_refund_before_shipping_takes_its_units_off_the_line(reader: WooCommerceConnector) -> None:
    order = {**recorded("order_create_0"), "refunds": delivered(31)["refunds"]}
    assert order["status"] == "processing"
    read = fetched(reader, order, recorded("refunds_list"))
    assert [(line.external_id, line.quantity, line.removed, line.open_quantity) for line in read.lines] == [
        ("1", 1, 1, 0),
        ("2", 1, 0, 1),
    ]
    assert read.refunds == (
        Refund(
            external_id="18",
            amount=usd("12.50"),
            refunded_at=datetime(2026, 11, 21, 22, 34, 33, tzinfo=UTC),
            lines=(LineQuantity(line_external_id="1", quantity=1),),
        ),
    )
    assert (read.holds_stock, read.whole) == (True, True)


def test_a_refund_after_shipping_is_a_return_and_leaves_the_line_fulfilled(reader: WooCommerceConnector) -> None:
    # Recorded: completed at 22:34:32, refunded at 22:34:33.
    read = fetched(reader, delivered(31), recorded("refunds_list"))
    assert [(line.fulfilled, line.removed) for line in read.lines] == [(1, 0), (1, 0)]
    assert (read.status, read.whole) == (OrderStatus.FULFILLED, True)


def test_what_was_refunded_before_shipping_was_never_shipped(reader: WooCommerceConnector) -> None:
    order = {**delivered(31), "date_completed_gmt": "2026-11-21T22:34:33"}
    read = fetched(reader, order, recorded("refunds_list"))
    assert [(line.fulfilled, line.removed) for line in read.lines] == [(0, 1), (1, 0)]


def test_a_webhook_never_says_shipped_of_units_that_a_refund_put_back(reader: WooCommerceConnector) -> None:
    # The hub takes shipped units out of its stock at once and for good; it hears of the refund's time only afterwards.
    read = from_webhook(reader, 31)
    assert [(line.fulfilled, line.removed) for line in read.lines] == [(0, 1), (1, 0)]
    assert read.whole is False


def test_a_refund_of_money_alone_leaves_the_lines_open(reader: WooCommerceConnector) -> None:
    refund = recorded("refund_create_amount")
    assert refund["line_items"] == []
    read = fetched(reader, delivered(29), [refund])
    assert [(line.quantity, line.removed) for line in read.lines] == [(3, 0), (1, 0)]
    assert [(each.amount, each.reason) for each in read.refunds] == [(usd("12.50"), "damaged")]


def test_fetches_the_refunds_of_an_order_that_names_some() -> None:
    with WooCommerceSimulator() as shop:
        shop.add_product("MUG", "Mug", 10, "12.50")
        sale = shop.buy([("MUG", 3)])
        assert sale is not None
        refund = shop.refund(sale.order_external_id, [("MUG", 1)])
        connector = connector_for(WooCommerceConnector, shop)
        order = connector.read_order(connector.fetch_order(sale.order_external_id))
        assert [request.path for request in shop.requests] == [
            "/wp-json/wc/v3/orders/11",
            "/wp-json/wc/v3/orders/11/refunds",
        ]
    assert [(each.external_id, each.amount) for each in order.refunds] == [(refund, Money(Decimal("12.50"), "EUR"))]
    assert [(line.quantity, line.removed, line.open_quantity) for line in order.lines] == [(3, 1, 2)]


# ---------------------------------------------------------------- statuses


@pytest.mark.parametrize(
    ("status", "read_as", "holds_stock"),
    [
        ("auto-draft", OrderStatus.PENDING, False),
        ("checkout-draft", OrderStatus.PENDING, False),
        ("pending", OrderStatus.PENDING, False),
        ("on-hold", OrderStatus.OPEN, True),
        ("processing", OrderStatus.OPEN, True),
        ("completed", OrderStatus.FULFILLED, False),
        ("cancelled", OrderStatus.CANCELLED, False),
        ("failed", OrderStatus.CANCELLED, False),
        ("refunded", OrderStatus.REFUNDED, False),
        ("trash", OrderStatus.REMOVED, False),
    ],
)
def test_understands_every_status(
    reader: WooCommerceConnector, status: str, read_as: OrderStatus, holds_stock: bool
) -> None:
    read = fetched(reader, {**recorded("order_get"), "status": status})
    assert (read.status, read.holds_stock, read.channel_status) == (read_as, holds_stock, status)
    over = read_as not in (OrderStatus.PENDING, OrderStatus.OPEN)
    assert [line.open_quantity for line in read.lines] == ([0, 0] if over else [1, 1])
    assert [line.fulfilled for line in read.lines] == ([1, 1] if status == "completed" else [0, 0])


@pytest.mark.parametrize(
    ("status", "paid_at", "paid"),
    [
        ("on-hold", None, False),
        ("pending", None, False),
        ("on-hold", "2026-11-21T22:34:28", True),
        ("processing", None, True),  # paid on delivery: to be shipped all the same
        ("completed", None, True),
    ],
)
def test_knows_who_still_owes_the_money(
    reader: WooCommerceConnector, status: str, paid_at: str | None, paid: bool
) -> None:
    read = fetched(reader, {**recorded("order_get"), "status": status, "date_paid_gmt": paid_at})
    assert read.paid is paid


def test_an_order_in_a_plugins_status_keeps_the_stock_that_the_shop_took_for_it(reader: WooCommerceConnector) -> None:
    packing = {**recorded("order_get"), "status": "packing"}
    assert all(line["meta_data"][-1]["key"] == "_reduced_stock" for line in packing["line_items"])
    read = fetched(reader, packing)
    assert (read.status, read.holds_stock, read.channel_status) == (OrderStatus.OPEN, True, "packing")

    for line in packing["line_items"]:
        line["meta_data"] = []
    read = fetched(reader, packing)
    assert (read.status, read.holds_stock, read.channel_status) == (OrderStatus.PENDING, False, "packing")


def test_an_order_shipped_and_then_cancelled_stays_shipped(reader: WooCommerceConnector) -> None:
    read = fetched(reader, {**delivered(28), "status": "cancelled"})
    assert (read.status, [(line.fulfilled, line.removed) for line in read.lines]) == (
        OrderStatus.CANCELLED,
        [(1, 0), (1, 0)],
    )


def test_an_order_opened_again_is_to_be_shipped_again(reader: WooCommerceConnector) -> None:
    order = {**delivered(28), "status": "processing"}
    assert order["date_completed_gmt"] is not None
    read = fetched(reader, order)
    assert [(line.fulfilled, line.open_quantity) for line in read.lines] == [(0, 1), (0, 1)]


# ---------------------------------------------------------------- one version, several bodies


def test_two_bodies_of_order_16_say_different_things_at_one_time_and_neither_claims_to_be_whole(
    reader: WooCommerceConnector,
) -> None:
    # Refunded and then cancelled within one second: nothing in the bodies tells which came last.
    bodies = [from_webhook(reader, 29), from_webhook(reader, 32)]
    assert {body.version for body in bodies} == {datetime(2026, 11, 21, 22, 34, 33, tzinfo=UTC)}
    for order in permutations(bodies):
        assert {body.status for body in order} == {OrderStatus.OPEN, OrderStatus.CANCELLED}
        # So in whichever order they come, the last leads to fetching the order, which settles it.
        assert order[-1].whole is False
    settled = fetched(reader, recorded("order_cancel"), [recorded("refund_create_amount")])
    assert (settled.status, settled.whole, settled.version) == (OrderStatus.CANCELLED, True, bodies[0].version)


def test_three_bodies_of_order_19_at_one_time_read_the_same(reader: WooCommerceConnector) -> None:
    numbers = [37, 39, 40]
    assert len({DELIVERIES[number]["body"] for number in numbers}) == 3
    orders = [from_webhook(reader, number) for number in numbers]
    assert orders[0] == orders[1] == orders[2]
    assert orders[0] == from_webhook(reader, 36)
    assert fetched(reader, recorded("order_after_partial_fulfillment")) == orders[0]


def test_the_webhook_and_the_fetched_record_of_an_order_without_refunds_read_the_same(
    reader: WooCommerceConnector,
) -> None:
    assert fetched(reader, recorded("order_create_0")) == from_webhook(reader, 15)
    assert fetched(reader, recorded("order_create_1")) == from_webhook(reader, 19)


# ---------------------------------------------------------------- money


def test_totals_are_without_tax_however_prices_are_entered(reader: WooCommerceConnector) -> None:
    # Two at 6.00 with 20 % tax in it, less a coupon of 10 %; shipping 5.00 and a fee of 1.00, with their tax on top.
    order = recorded("order_after_partial_fulfillment")
    order |= {
        "prices_include_tax": True,
        "total": "18.00",
        "total_tax": "3.00",
        "shipping_total": "5.00",
        "discount_total": "1.00",
        "fee_lines": [{"id": 90, "name": "Gift wrap", "total": "1.00", "total_tax": "0.20"}],
    }
    order["line_items"][0] |= {"subtotal": "10.00", "total": "9.00", "total_tax": "1.80", "price": 4.5}
    read = fetched(reader, order)
    assert read.taxes_included is False
    assert (read.lines[0].total, read.lines[0].tax, read.lines[0].unit_price) == (usd("9.00"), usd("1.80"), usd("4.5"))
    assert (read.shipping, read.fees, read.tax, read.discount) == (usd("5.00"), usd("1.00"), usd("3.00"), usd("0"))
    assert read.total == usd("18.00")
    assert read.rounding == usd("0")


def test_money_keeps_what_floating_point_would_lose(reader: WooCommerceConnector) -> None:
    body = DELIVERIES[41]["body"].replace('"price":12.5', '"price":8.333333333333333333')
    (order,) = reader.read_webhook(RawRecord("order.created", "", body.encode()))
    assert isinstance(order, Order)
    assert order.lines[0].unit_price == usd("8.333333333333333333")


# ---------------------------------------------------------------- odd and bad records


def test_a_line_without_a_product_names_no_listing(reader: WooCommerceConnector) -> None:
    order = recorded("order_after_partial_fulfillment")
    order["line_items"][0] |= {"product_id": 0, "variation_id": 0, "sku": None}
    line = fetched(reader, order).lines[0]
    assert (line.listing_external_id, line.sku, line.title) == (None, "", "Mug — blå")


def test_a_list_that_php_wrote_as_an_object_is_still_a_list(reader: WooCommerceConnector) -> None:
    order = recorded("order_get")
    holes = {**order, "line_items": {"0": order["line_items"][0], "2": order["line_items"][1]}}
    assert fetched(reader, holes) == fetched(reader, order)


def test_reads_no_local_time(reader: WooCommerceConnector) -> None:
    order = {**recorded("order_get"), "date_created": "1999-01-01T00:00:00", "date_modified": "nonsense"}
    assert fetched(reader, order) == fetched(reader, recorded("order_get"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"id": None}, "order.id: Empty."),
        ({"status": 7}, "order.status: Not a text."),
        ({"total": "12,50"}, "order.total: Not a decimal number."),
        ({"currency": "dollars"}, "'dollars' is not an ISO 4217 currency code, such as EUR."),
        ({"date_created_gmt": None, "date_modified_gmt": None}, "order.date_modified_gmt: Missing."),
        (
            {"line_items": [{"id": 1, "quantity": "1.5", "total": "1"}]},
            "order.line_items.0.quantity: Not a whole number.",
        ),
        ({"line_items": [{"id": 1, "quantity": -1, "total": "1"}]}, "Line 1: quantities cannot be negative."),
        (
            {"line_items": [{"id": 1, "quantity": 1, "total": "1"}, {"id": 1, "quantity": 1, "total": "1"}]},
            "Order 14: two lines have the same id.",
        ),
    ],
)
def test_says_what_it_cannot_read(reader: WooCommerceConnector, change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Unreadable) as unreadable:
        fetched(reader, {**recorded("order_get"), **change})
    assert str(unreadable.value) == sentence.replace("order.date", "date")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"id":1', b"webhook_id=1", b"\xff", b'"x"', b"null"])
@pytest.mark.parametrize("topic", ["order.created", "order.updated", "order.restored", "order.deleted"])
def test_any_other_body_is_unreadable_and_nothing_worse(reader: WooCommerceConnector, topic: str, body: bytes) -> None:
    with pytest.raises(Unreadable):
        list(reader.read_webhook(RawRecord(topic, "", body)))
