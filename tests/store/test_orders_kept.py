"""Orders in the database: money to the cent, refunds as last told, and as few statements for many orders as for one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from hub.core.model import Address, Money, OrderStatus, Refund
from hub.core.services import Received
from hub.store import tables as t
from tests.core.making import NOON, a_line, an_order, euros, minutes
from tests.statements import statements
from tests.store.warehouse import Warehouse

OVER = {"status": OrderStatus.CANCELLED, "holds_stock": False}


def test_an_order_is_kept_as_it_was_told(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    order = an_order(
        a_line(2, total=euros("19.99"), tax=euros("3.80"), sku="MUG-1", title="Mug", fulfilled=1),
        a_line(1, id="2", listing=None, total=euros("0.005"), requires_shipping=False),
        number="R-1001",
        total=euros("27.34"),
        shipping=euros("4.90"),
        tax=euros("3.80"),
        discount=euros("2.00"),
        fees=euros("0.50"),
        customer_name="Zoë 🎁",
        email="zoe@shop.example",
        note="Ring twice.\nThen wait.",
        shipping_address=Address(name="Zoë", line1="1 High St", city="Leeds", country="GB"),
        channel_status="processing",
    )

    warehouse.hear(shop, order)

    row = warehouse.row(t.sales_order)
    assert (row.number, row.status, row.channel_status, row.currency) == ("R-1001", "open", "processing", "EUR")
    assert (row.total_minor, row.lines_minor, row.shipping_minor, row.tax_minor) == (2734, 2000, 490, 380)
    assert (row.discount_minor, row.fees_minor, row.rounding_minor) == (200, 50, 14)
    assert (row.customer_name, row.email, row.note) == ("Zoë 🎁", "zoe@shop.example", "Ring twice.\nThen wait.")
    assert row.shipping_address == {"name": "Zoë", "line1": "1 High St", "city": "Leeds", "country": "GB"}
    assert (row.version, row.placed_at, row.billing_address) == (NOON, NOON, {})
    first, second = sorted(warehouse.rows(t.order_line), key=lambda each: each.position)
    assert (first.sku_text, first.title, first.quantity, first.fulfilled) == ("MUG-1", "Mug", 2, 1)
    assert (first.unit_price, first.total_minor, first.tax_minor) == ("10", 1999, 380)
    assert (second.listing_external_id, second.total_minor, second.requires_shipping) == (None, 1, False)
    warehouse.sound()


@pytest.mark.parametrize(
    ("currency", "text", "minor"), [("JPY", "1200", 1200), ("KWD", "1.234", 1234), ("CLF", "1", 10000)]
)
def test_money_is_kept_in_the_currencys_own_units(warehouse: Warehouse, currency: str, text: str, minor: int) -> None:
    amount, nothing = Money.of(text, currency), Money.zero(currency)
    line = a_line(1, unit_price=amount, total=amount, tax=nothing)
    parts = dict.fromkeys(["shipping", "tax", "discount", "fees"], nothing)

    warehouse.hear(warehouse.connect(), an_order(line, currency=currency, total=amount, **parts))

    row = warehouse.row(t.sales_order)
    assert (row.total_minor, row.lines_minor, row.rounding_minor, row.currency) == (minor, minor, 0, currency)


def refunds(warehouse: Warehouse) -> dict[str, int]:
    return {each.external_id: each.amount_minor for each in warehouse.rows(t.refund)}


def test_refunds_are_those_the_channel_told_last(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    one, two = (Refund(external_id=str(id), amount=euros(id), reason="x" * 900) for id in (1, 2))

    warehouse.hear(shop, an_order(a_line(3), refunds=(one,)))
    warehouse.hear(shop, an_order(a_line(3), refunds=(one, two), version=minutes(1)))
    assert refunds(warehouse) == {"1": 100, "2": 200}

    corrected = replace(one, amount=euros("1.50"))
    warehouse.hear(shop, an_order(a_line(3), refunds=(corrected,), version=minutes(2)))
    assert refunds(warehouse) == {"1": 150}, "somebody deleted the second"


def test_half_a_record_forgets_no_refund(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    warehouse.hear(shop, an_order(a_line(3), refunds=(Refund(external_id="1", amount=euros(1)),)))

    warehouse.hear(shop, an_order(a_line(3), whole=False, version=minutes(1)))

    assert refunds(warehouse) == {"1": 100}


def test_one_refund_told_twice_is_one(warehouse: Warehouse) -> None:
    twice = (Refund(external_id="1", amount=euros(1)), Refund(external_id="1", amount=euros(2)))

    warehouse.hear(warehouse.connect(), an_order(a_line(3), refunds=twice))

    assert refunds(warehouse) == {"1": 200}


def test_one_order_number_in_two_shops_is_two_orders(warehouse: Warehouse) -> None:
    one, two = warehouse.connect(), warehouse.connect()
    sku = warehouse.sku("MUG", 10)
    for shop in (one, two):
        warehouse.listing(shop, "mug", sku)

    warehouse.hear(one, an_order(a_line(2)))
    warehouse.hear(two, an_order(a_line(3)))
    warehouse.hear(one, an_order(a_line(2, removed=2), version=minutes(1), **OVER))

    assert {each.connection_id: each.status for each in warehouse.rows(t.sales_order)} == {
        one: "cancelled",
        two: "open",
    }
    assert warehouse.level(sku) == (10, 3)


def test_an_order_known_by_its_removal_alone_is_kept_and_filled_in_later(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    warehouse.hear(shop, Received("100", None, warehouse.now()))

    row = warehouse.row(t.sales_order)
    assert (row.status, row.version, row.currency, row.total_minor) == ("removed", None, "", 0)
    assert warehouse.row(t.fetch_request).external_id == "100"

    asked = warehouse.now()
    warehouse.hear(shop, Received("100", an_order(a_line(2)), asked, asked, alone=True))
    row = warehouse.row(t.sales_order)
    assert (row.status, row.currency, row.total_minor, row.removal_heard_at) == ("open", "EUR", 2000, None)
    warehouse.sound()


def test_asking_twice_for_a_record_is_asking_once_but_later(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    warehouse.hear(shop, an_order(a_line(2), whole=False))
    first = warehouse.row(t.fetch_request)
    with warehouse.database.write() as connection:
        connection.execute(update(t.fetch_request).values(attempts=3, error="Busy."))

    warehouse.hear(shop, an_order(a_line(2), whole=False, version=minutes(1)))

    again = warehouse.row(t.fetch_request)
    assert again.requested_at > first.requested_at
    assert (again.due_at, again.attempts, again.error) == (first.due_at, 3, "Busy.")


def test_an_order_that_cannot_be_found_is_shown_until_it_is_there_again(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    warehouse.hear(shop, an_order(a_line(2)))
    asked = warehouse.now()
    warehouse.hear(shop, Received("100", None, asked, asked, alone=True))
    issue = warehouse.row(t.issue, t.issue.c.kind == "order_not_found")
    assert (issue.title, issue.resolved_at) == (
        "The shop announced order #100, but now says that it does not exist",
        None,
    )

    warehouse.hear(shop, an_order(a_line(2)))
    assert warehouse.row(t.issue, t.issue.c.kind == "order_not_found").resolved_at is None, "old news"

    warehouse.hear(shop, an_order(a_line(2), version=minutes(1)))
    assert warehouse.row(t.issue, t.issue.c.kind == "order_not_found").resolved_at is not None


# ---------------------------------------------------------------- what the channel does to its own figure


def expectation(warehouse: Warehouse) -> dict[str, int | None]:
    names = {each.id: each.external_id for each in warehouse.rows(t.listing)}
    return {names[each.listing_id]: each.quantity for each in warehouse.rows(t.publication)}


def published(warehouse: Warehouse, **figures: int | None) -> Any:
    """A live shop whose listings say these figures, of SKUs with a hundred units each."""
    shop = warehouse.connect(live=True)
    for name, figure in figures.items():
        sku = warehouse.sku(name, 100)
        listing = warehouse.listing(shop, name, sku)
        warehouse.count(sku, 101)
        with warehouse.database.write() as connection:
            here = t.publication.c.listing_id == listing
            connection.execute(update(t.publication).where(here).values(quantity=figure))
    return shop


def test_the_shops_own_sales_are_expected_to_be_off_its_figure(warehouse: Warehouse) -> None:
    shop = published(warehouse, mug=10, tee=10)

    warehouse.hear(shop, an_order(a_line(3), a_line(1, id="2")))
    assert expectation(warehouse) == {"mug": 6, "tee": 10}

    warehouse.hear(shop, an_order(a_line(3, fulfilled=3), a_line(1, id="2"), version=minutes(1)))
    assert expectation(warehouse) == {"mug": 6, "tee": 10}, "shipping changes nothing: it was sold before"

    warehouse.hear(shop, an_order(a_line(3, fulfilled=3), a_line(2, id="2"), version=minutes(2)))
    assert expectation(warehouse) == {"mug": 5, "tee": 10}


def test_an_order_seen_first_when_it_was_shipped_was_sold_as_well(warehouse: Warehouse) -> None:
    shop = published(warehouse, mug=10)
    shipped = {"status": OrderStatus.FULFILLED, "holds_stock": False, "placed_at": warehouse.now()}

    warehouse.hear(shop, an_order(a_line(3, fulfilled=3), **shipped))

    assert expectation(warehouse) == {"mug": 7}


def test_a_figure_nobody_knows_stays_unknown(warehouse: Warehouse) -> None:
    shop = published(warehouse, mug=None)

    warehouse.hear(shop, an_order(a_line(3)))

    assert expectation(warehouse) == {"mug": None}


def test_sales_elsewhere_are_not_off_this_shops_figure(warehouse: Warehouse) -> None:
    published(warehouse, mug=10)
    other = warehouse.connect()
    warehouse.listing(other, "mug", warehouse.row(t.sku).id)

    warehouse.hear(other, an_order(a_line(3)))

    assert expectation(warehouse) == {"mug": 10}


# ---------------------------------------------------------------- batches


def test_many_orders_take_as_many_statements_as_one(warehouse: Warehouse) -> None:
    shop = warehouse.connect(live=True)
    for number in range(40):
        sku = warehouse.sku(f"sku-{number}", 5)
        warehouse.listing(shop, f"item-{number}", sku)
        warehouse.count(sku, 50)

    def batch(numbers: range, version: int, **more: Any) -> list[str]:
        orders = [
            an_order(
                a_line(2, listing=f"item-{number}"),
                a_line(1, id="2", listing=f"item-{(number + 1) % 40}"),
                id=str(number),
                version=minutes(version),
                refunds=(Refund(external_id="1", amount=euros(version)),),
                **more,
            )
            for number in numbers
        ]
        with statements(warehouse.database) as sent:
            warehouse.hear(shop, *orders)
        return sent

    batch(range(1), 1)
    one_new, one_known = batch(range(1, 2), 1), batch(range(1), 2)
    many_new, many_known = batch(range(2, 40), 1), batch(range(2, 40), 2)

    assert len(many_new) <= len(one_new)  # PostgreSQL is given many new rows in one piece, which is no statement
    assert len(many_known) <= len(one_known)
    assert len(many_known) < 40
    warehouse.sound()


def test_an_order_of_thousands_of_lines_is_kept_and_cancelled(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    sku = warehouse.sku("MUG", 10_000)
    warehouse.listing(shop, "mug", sku)
    lines = [a_line(1, id=str(number)) for number in range(1500)]

    warehouse.hear(shop, an_order(*lines))
    assert warehouse.level(sku) == (10_000, 1500)
    assert len(warehouse.rows(t.stock_entry, t.stock_entry.c.cause == "allocated")) == 1

    warehouse.hear(shop, an_order(*(replace(line, removed=1) for line in lines), version=minutes(1), **OVER))
    assert (warehouse.level(sku), warehouse.rows(t.allocation)) == ((10_000, 0), [])
