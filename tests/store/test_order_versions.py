"""What is kept of orders beside lines and money, and their edits as versions: written with the edit, never undone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import update

from hub.core.model import (
    ChannelWork,
    Discount,
    Hold,
    HoldReason,
    LineKind,
    LineQuantity,
    Money,
    Order,
    OrderStatus,
    Payment,
    Refund,
    Return,
    ReturnStatus,
    Risk,
    RiskLevel,
    WorkStatus,
)
from hub.core.services import Received
from hub.store import orders
from hub.store import tables as t
from tests.core.making import a_line, an_order, euros, minutes
from tests.statements import statements
from tests.store.warehouse import Warehouse

HOLD = Hold(external_id="h", reason=HoldReason.ADDRESS, note="No such street", held_by="Mia")
PART = ChannelWork(
    external_id="w",
    status=WorkStatus.ON_HOLD,
    lines=(LineQuantity(line_external_id="1", quantity=2),),
    location_external_id="leeds",
    holds=(HOLD,),
)
FULL = an_order(
    a_line(2, title="Blue mug", kind=LineKind.GIFT_CARD, attributes={"For": "Ann"}),
    customer_name="Ann Lee",
    returns=(Return(external_id="r", status=ReturnStatus.OPEN, lines=PART.lines, number="R-1"),),
    work=(PART,),
    risk=Risk(level=RiskLevel.HIGH, reasons=("Proxy",)),
    presentment_total=Money.of("31.20", "USD"),
    discounts=(Discount(code="SPRING", amount=euros(2)),),
    payments=(Payment(method="Visa", amount=euros(18)),),
    refunds=(Refund(external_id="9", amount=euros(5), lines=PART.lines),),
    tags=("VIP",),
    source="pos",
    shipping_method="Express",
    attributes={"Gift": "yes"},
)


def edits(warehouse: Warehouse) -> list[tuple[int, list[str]]]:
    """The revision of each version, and what it changed."""
    rows = sorted(warehouse.rows(t.order_version), key=lambda row: (row.order_id, row.revision))
    return [
        (row.revision, [f"{each['part']} {each.get('member', '')}".strip() for each in row.changes]) for row in rows
    ]


def hear_again(warehouse: Warehouse, shop: Any, order: Order, **more: Any) -> Order:
    """The order comes in once more, a minute younger and changed."""
    changed = replace(order, version=order.version + timedelta(minutes=1), **more)
    warehouse.hear(shop, changed)
    return changed


def test_everything_a_channel_tells_is_kept_and_comes_back_as_it_was(warehouse: Warehouse) -> None:
    warehouse.hear(warehouse.connect(), FULL)

    row = warehouse.row(t.sales_order)
    assert (row.source, row.shipping_method, row.risk_level, row.tags) == ("pos", "Express", "high", ["VIP"])
    assert (row.on_hold, row.returns_open, row.presentment_currency, row.presentment_minor) == (True, True, "USD", 3120)
    assert (warehouse.row(t.order_line).kind, warehouse.row(t.order_line).attributes) == ("gift_card", {"For": "Ann"})
    assert warehouse.row(t.refund).lines == [{"line_external_id": "1", "quantity": 2}]
    with warehouse.database.read() as connection:
        (kept,) = orders.stored(connection, warehouse.merchant, [row.id]).values()
    assert kept == FULL


def test_an_order_that_says_nothing_of_it_keeps_nothing(warehouse: Warehouse) -> None:
    warehouse.hear(warehouse.connect(), an_order(a_line(1)))

    row = warehouse.row(t.sales_order)
    assert (row.details, row.tags, row.risk_level, row.presentment_minor) == ({}, [], "", None)
    assert (row.on_hold, row.returns_open, warehouse.row(t.order_line).kind) == (False, False, "product")


def test_a_first_import_has_no_versions_and_reads_none(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    with statements(warehouse.database) as seen:
        warehouse.hear(shop, *(an_order(a_line(1), id=str(number)) for number in range(20)))

    assert warehouse.rows(t.order_version) == []
    assert not [each for each in seen if "order_version" in each.text]


def test_an_edit_is_told_with_what_it_changed(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    warehouse.hear(shop, FULL)

    line = replace(FULL.lines[0], quantity=1, total=euros(10))
    hear_again(warehouse, shop, FULL, lines=(line,), total=euros(10), work=())

    row = warehouse.row(t.order_version)
    order = warehouse.row(t.sales_order)
    assert (
        (row.order_id, row.revision, row.version)
        == (order.id, order.revision, minutes(1))
        == (order.id, 2, order.version)
    )
    assert row.changes == [
        {"part": "lines", "external_id": "1", "member": "quantity", "subject": "Blue mug", "before": 2, "after": 1},
        {
            "part": "lines",
            "external_id": "1",
            "member": "total",
            "subject": "Blue mug",
            "before": {"amount": "20.00", "currency": "EUR"},
            "after": {"amount": "10.00", "currency": "EUR"},
        },
        {
            "part": "total",
            "before": {"amount": "20.00", "currency": "EUR"},
            "after": {"amount": "10.00", "currency": "EUR"},
        },
        {"part": "work", "external_id": "w", "before": "on_hold", "after": None},
        {"part": "holds", "external_id": "h", "subject": "No such street", "before": "address", "after": None},
    ]
    assert order.on_hold is False
    warehouse.sound()


def test_what_changes_nothing_is_no_version(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    long = replace(FULL, customer_name="x" * 400, shipping_method="y" * 300)
    warehouse.hear(shop, long)

    hear_again(warehouse, shop, long)

    assert (edits(warehouse), warehouse.row(t.sales_order).revision) == ([], 2)


def test_two_edits_in_one_batch_are_two_versions(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    second = replace(FULL, version=minutes(1), note="Ring twice.")
    third = replace(second, version=minutes(2), note="", tags=("VIP", "rush"))

    warehouse.hear(shop, FULL, second, third)
    fourth = replace(third, version=minutes(3), status=OrderStatus.FULFILLED)
    fifth = replace(fourth, version=minutes(4), note="Left at the door.")
    warehouse.hear(shop, fourth, fifth)

    assert edits(warehouse) == [(2, ["note"]), (3, ["note", "tags rush"]), (4, ["status"]), (5, ["note"])]
    warehouse.sound()


def test_an_older_body_that_comes_late_changes_nothing_and_tells_nothing(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    warehouse.hear(shop, FULL)
    hear_again(warehouse, shop, FULL, note="Ring twice.")
    before = warehouse.digest(t.sales_order, t.order_version)

    warehouse.hear(shop, replace(FULL, version=minutes(0.5), note="Never mind."))

    assert warehouse.digest(t.sales_order, t.order_version) == before


def test_half_a_record_undoes_nothing_of_what_it_leaves_out(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    warehouse.hear(shop, FULL)
    half = an_order(*FULL.lines, version=minutes(1), whole=False, customer_name="Ann Lee", note="Ring twice.")

    warehouse.hear(shop, half)

    row = warehouse.row(t.sales_order)
    assert (row.risk_level, row.on_hold, row.source, row.tags) == ("high", True, "pos", ["VIP"])
    assert edits(warehouse) == [(2, ["note"])]


def test_a_part_that_is_released_is_no_longer_on_hold(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    warehouse.hear(shop, FULL)

    hear_again(warehouse, shop, FULL, work=(replace(PART, status=WorkStatus.OPEN, holds=()),), returns=(), risk=None)

    row = warehouse.row(t.sales_order)
    assert (row.on_hold, row.returns_open, row.risk_level) == (False, False, "")


def test_nothing_of_a_customer_comes_back_once_it_was_erased(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    warehouse.hear(shop, an_order(a_line(2)))
    with warehouse.database.write() as connection:
        connection.execute(update(t.sales_order).values(erased_at=warehouse.now()))

    refund = Refund(external_id="9", amount=euros(5), reason="Ann sent it back")
    hear_again(warehouse, shop, FULL, refunds=(refund,), note="Ann is out.")

    row = warehouse.row(t.sales_order)
    kept = repr((row, warehouse.rows(t.order_line), warehouse.rows(t.refund), warehouse.rows(t.order_version)))
    assert "Ann" not in kept and "VIP" not in kept and "Mia" not in kept
    assert (row.source, row.risk_level, warehouse.row(t.refund).amount_minor) == ("pos", "high", 500)


def test_an_order_that_was_only_heard_to_be_gone_has_nothing_to_compare_with(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    warehouse.hear(shop, Received("100", None, warehouse.now()))
    asked = warehouse.now()

    warehouse.hear(shop, Received("100", FULL, asked, asked, alone=True))

    assert (edits(warehouse), warehouse.row(t.sales_order).source) == ([], "pos")


def test_a_hundred_edits_take_as_many_statements_as_one(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    batch = [an_order(a_line(1), id=str(number)) for number in range(100)]
    warehouse.hear(shop, *batch)

    def edit(some: list[Order], minute: int) -> int:
        with statements(warehouse.database) as seen:
            warehouse.hear(shop, *(replace(each, version=minutes(minute), note=f"{minute}") for each in some))
        return len(seen)

    assert edit(batch[:1], 1) >= edit(batch, 2)  # PostgreSQL is given many new rows in one piece, which is no statement
    assert len(warehouse.rows(t.order_version)) == 101
