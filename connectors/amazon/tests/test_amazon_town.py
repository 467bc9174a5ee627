"""A whole hub beside a simulated Amazon: what a merchant sees of feeds, of orders half told, of FBA and of wishes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import func, select

from hub.store import tables as t
from hub.testing import Fault, Town, town_of
from hub_amazon.channel import AmazonConnector
from hub_amazon.simulator import AmazonSimulator


@pytest.fixture
def town() -> Iterator[Town]:
    with town_of(AmazonConnector) as built:
        yield built


@pytest.fixture
def amazon(town: Town) -> AmazonSimulator:
    """Closed with the town."""
    simulator = AmazonSimulator(now=lambda: datetime.now(UTC), marketplaces=("DE",))
    simulator.hold_webhooks()
    return simulator


def open_shop(town: Town, amazon: AmazonSimulator) -> UUID:
    connection = town.connect(AmazonConnector, amazon)
    town.open_for_business(connection, adopt=True)
    amazon.take_webhooks()
    return connection


def hear(town: Town, amazon: AmazonSimulator) -> None:
    """What Amazon has left in the queue comes in."""
    for letter in amazon.take_webhooks():
        assert town.hear(letter, amazon) == 200
    town.work()


def settle(town: Town) -> None:
    """Let minutes pass until nothing is waited for any more."""
    for _ in range(20):
        town.let_pass(60)
        town.work()
        if not town.count(t.pending_push):
            return
    raise AssertionError("Amazon never judged what it took in.")


def test_of_500_figures_the_three_that_amazon_refuses_are_issues_with_its_words(
    town: Town, amazon: AmazonSimulator
) -> None:
    """Each of them names the SKU and why; the other 497 are done."""
    skus = [f"TEE-{number:03}" for number in range(500)]
    for sku in skus:
        amazon.add_product(sku, sku.replace("TEE-", "Tee "), 5, "15.00")
    open_shop(town, amazon)
    amazon.listings.refused |= {
        "TEE-017": "Not an approved brand.",
        "TEE-250": "Listing is closed.",
        "TEE-499": "Needs a safety sheet.",
    }
    for sku in skus:
        town.count_stock(sku, 9)
    town.work()
    settle(town)
    fed = [each for each in amazon.requests if each.method == "POST" and each.path == "/feeds/2021-06-30/feeds"]
    assert len(fed) == 1
    assert sorted(row.title for row in town.rows(t.issue, t.issue.c.resolved_at.is_(None))) == [
        "The stock of “Tee 017” could not be written: Not an approved brand. (99010)",
        "The stock of “Tee 250” could not be written: Listing is closed. (99010)",
        "The stock of “Tee 499” could not be written: Needs a safety sheet. (99010)",
    ]
    assert sum(quantity == 9 for quantity in amazon.stock().values()) == 497


def test_an_order_is_held_by_what_the_notification_says_while_it_cannot_be_fetched(
    town: Town, amazon: AmazonSimulator
) -> None:
    amazon.add_product("MUG-1", "Mug", 10, "9.50")
    open_shop(town, amazon)
    for _ in range(3):
        amazon.fail_next("/orders/2026-01-01/orders/", Fault.status(503))
    sale = amazon.checkout([("MUG-1", 3)], shipping="4.00")
    assert sale is not None
    hear(town, amazon)
    half = town.row(t.sales_order)
    assert (half.external_id, half.status, half.whole, half.priced) == (
        sale.order_external_id,
        "pending",
        False,
        False,
    )
    assert town.stock()["MUG-1"] == (10, 3)
    town.let_pass(600)
    town.work()
    whole = town.row(t.sales_order)
    assert (whole.status, whole.whole, whole.customer_name) == ("open", True, "Ada Byron")
    assert whole.priced and whole.total_minor > 3250
    assert town.stock()["MUG-1"] == (10, 3)
    assert town.count(t.order_line) == 1
    # It could not be shipped to nobody, and now somebody is asked to.
    assert [row.state for row in town.rows(t.fulfillment_order)] == ["open"]
    town.sound()


def test_what_amazon_ships_is_kept_and_holds_and_writes_nothing(town: Town, amazon: AmazonSimulator) -> None:
    amazon.add_product("MUG-1", "Mug", 10, "9.50")
    amazon.add_product_shipped_by_channel("LAMP-1", "Lamp", "30.00")
    open_shop(town, amazon)
    sale = amazon.checkout([("LAMP-1", 2)])
    assert sale is not None
    hear(town, amazon)
    order = town.row(t.sales_order)
    assert (order.external_id, order.shipped_by_channel, order.holds_stock, order.whole) == (
        sale.order_external_id,
        True,
        False,
        True,
    )
    with town.hub.database.read() as connection:
        allocated = connection.scalar(select(func.sum(t.stock_level.c.allocated)))
    assert allocated == 0
    town.count_stock("MUG-1", 7)
    town.work()
    settle(town)
    assert amazon.stock()["MUG-1"] == 7
    assert [each.path for each in amazon.requests if each.method == "PATCH" and "LAMP" in each.path] == []


def test_a_buyers_wish_to_cancel_keeps_the_order_from_being_shipped_until_it_is_gone(
    town: Town, amazon: AmazonSimulator
) -> None:
    amazon.add_product("MUG-1", "Mug", 10, "9.50")
    open_shop(town, amazon)
    sale = amazon.checkout([("MUG-1", 1)])
    assert sale is not None
    hear(town, amazon)
    amazon.ask_to_cancel(sale.order_external_id, "Found it cheaper")
    hear(town, amazon)
    [hold] = town.rows(t.order_hold, t.order_hold.c.released_at.is_(None))
    assert (hold.reason, "Found it cheaper" in hold.note) == ("cancellation", True)
    assert "cancellation_asked" in town.issues()
    assert town.stock()["MUG-1"] == (10, 1)
    amazon.think_again(sale.order_external_id)
    hear(town, amazon)
    assert town.rows(t.order_hold, t.order_hold.c.released_at.is_(None)) == []
    assert "cancellation_asked" not in town.issues()
