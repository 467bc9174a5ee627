"""Amazon's warehouses in a hub at work: stock that is read and never written, a shop's orders shipped from there."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from hub import jobs
from hub.certify.crashing import POINTS, Fate, mortal
from hub.plugins import Registry
from hub.store import connections, locations, warehouse
from hub.store import tables as t
from hub.store.database import Database
from hub.store.fulfillment import State
from hub.store.locations import Location
from hub.store.secrets import KeyRing
from hub.testing import Fault
from hub_amazon.channel import AmazonConnector
from hub_amazon.fulfillment import AmazonFulfillment
from hub_amazon.messages import POLL_SECONDS
from hub_amazon.simulator import AmazonSimulator
from hub_amazon.simulator_fulfillment import AmazonWarehouseSimulator, Warehouse
from tests.jobs import third_party
from tests.jobs.third_party import TellingChannel, ThirdParty
from tests.town import OWNER, town

# What the hub stores of any 3PL is tested on both databases; here it is what Amazon says.
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)

ORDERS = "/fulfillment/outbound/2026-07-04/orders"


class Unqueued(AmazonWarehouseSimulator):
    """The merchant has named no queue."""

    def settings(self) -> dict[str, str]:
        return {**super().settings(), **dict.fromkeys(("queue_url", "queue_key_id", "queue_secret"), "")}


class Seller(AmazonSimulator):
    """A seller with a marketplace and with stock in Amazon's warehouses, both in one account."""

    def __init__(self, **options: Any) -> None:
        super().__init__(marketplaces=("DE",), **options)
        self.warehouse = Warehouse(self)
        self.stock_item = self.warehouse.stock_item

    def settings(self) -> dict[str, str]:
        return {**super().settings(), **dict.fromkeys(("queue_url", "queue_key_id", "queue_secret"), "")}


@pytest.fixture
def amazon(
    database: Database,
    keyring: KeyRing,
    merchant: UUID,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[ThirdParty]:
    monkeypatch.setattr(third_party, "PROVIDER", AmazonFulfillment)
    monkeypatch.setattr(third_party, "VENDOR", getattr(request, "param", Unqueued))
    registry = Registry({each.name: each for each in (TellingChannel, AmazonConnector, AmazonFulfillment)})
    with town(database, keyring, merchant, registry, tmp_path) as built:
        shop = ThirdParty(built)
        shop.clock = datetime.now(UTC) - timedelta(minutes=4)  # clocks may differ, but not by more than this
        yield shop


def test_a_shops_order_leaves_amazons_warehouse_in_parts_and_arrives(amazon: ThirdParty) -> None:
    amazon.buy(("mug", 2), ("tee", 1))
    (placed,) = amazon.vendor.placed()
    assert placed.lines == {"MUG": 2, "TEE": 1}
    assert (amazon.states(), amazon.effects("submit")) == ([State.ACCEPTED], ["succeeded"])

    amazon.pass_time()
    first = amazon.vendor.ship(placed.reference, {"MUG": 2}, lot="L-42")
    amazon.hear()
    amazon.pass_time()
    second = amazon.vendor.ship(placed.reference)
    amazon.hear()

    assert [(state, carrier) for state, carrier, _ in amazon.shipped()] == [("shipped", "amazon")] * 2
    assert [[(line.line_external_id, line.quantity) for line in told.lines] for told in amazon.shop.told] == [
        [("1", 2)],
        [("2", 1)],
    ]
    assert [told.tracking_numbers[0][:3] for told in amazon.shop.told] == ["TBA", "TBA"]
    assert (amazon.states(), amazon.there("MUG")) == ([State.SHIPPED], (8, 0, 0))
    amazon.pass_time()
    for id in (first, second):
        amazon.vendor.warehouse.move_parcel(id, "DELIVERED")
    amazon.hear()
    assert amazon.states() == [State.DELIVERED]
    amazon.town.sound()


def test_stock_at_amazon_is_a_location_that_is_read_and_sold_and_never_written(amazon: ThirdParty) -> None:
    assert (amazon.there("MUG"), amazon.there("TEE")) == ((10, 0, 0), (5, 0, 0))
    assert amazon.shop.stock == {"mug": 10, "tee": 5}

    amazon.pass_time()
    amazon.vendor.warehouse.sell("MUG", 3)  # to a customer at Amazon: it lies there, and is promised
    amazon.vendor.warehouse.damage("MUG", 1)
    amazon.vendor.warehouse.send_in("TEE", shipped=40)
    amazon.hear()
    assert amazon.there("MUG") == (10, 0, 4)
    assert amazon.shop.stock["mug"] == 6

    amazon.pass_time()
    amazon.vendor.warehouse.ship_sold("MUG")
    amazon.hear()
    assert amazon.there("MUG") == (7, 0, 1)
    assert amazon.shop.stock == {"mug": 6, "tee": 5}
    assert amazon.ledger("MUG") == [("adopted", 10), ("counted", -3)]

    asked = {each.method for each in amazon.vendor.requests if not each.path.startswith("/auth")}
    assert asked == {"GET"}
    amazon.town.sound()


def test_the_units_of_an_order_of_ours_are_not_set_aside_as_others(amazon: ThirdParty) -> None:
    amazon.buy(("mug", 2))
    amazon.pass_time()
    amazon.vendor.warehouse.sell("MUG", 3)
    amazon.hear()
    assert amazon.there("MUG") == (10, 2, 3)
    assert amazon.shop.stock["mug"] == 5
    amazon.town.sound()


@pytest.mark.parametrize("amazon", [Seller], indirect=True, ids=["one account"])
def test_what_amazon_ships_to_its_own_customers_is_no_work_here_and_seen_by_the_count(amazon: ThirdParty) -> None:
    town, seller = amazon.town, amazon.vendor
    seller.add_product_shipped_by_channel("MUG", "Mug", "12.00")
    marketplace = town.connect(AmazonConnector, seller)
    town.open_for_business(marketplace)

    amazon.pass_time()
    sale = seller.buy([("MUG", 2)])
    seller.warehouse.sell("MUG", 2)
    town.poll(marketplace)
    amazon.hear()

    order = town.row(t.sales_order, t.sales_order.c.connection_id == marketplace)
    assert (order.external_id, order.shipped_by_channel) == (sale.order_external_id, True)
    assert (amazon.there("MUG"), amazon.shop.stock["mug"]) == ((10, 0, 2), 8)

    amazon.pass_time()
    seller.fulfill(sale.order_external_id)
    seller.warehouse.ship_sold("MUG")
    town.poll(marketplace)
    amazon.hear()

    assert (amazon.work(), amazon.vendor.warehouse.placed()) == ([], [])
    assert (amazon.there("MUG"), amazon.shop.stock["mug"]) == ((8, 0, 0), 8)
    assert amazon.ledger("MUG") == [("adopted", 10), ("counted", -2)]
    assert {each.method for each in seller.requests if not each.path.startswith("/auth")} == {"GET"}
    town.sound()


def test_an_order_that_amazon_cannot_ship_is_rejected_with_its_words_and_dealt_out_anew(amazon: ThirdParty) -> None:
    amazon.buy(("mug", 2))
    amazon.pass_time()
    amazon.vendor.reject(amazon.reference, "No such street")
    amazon.hear()

    assert amazon.states() == [State.REJECTED]
    (title,) = amazon.issue_titles("rejected_by_3pl")
    assert "No such street." in title
    assert amazon.shop.told == []
    amazon.town.sound()


def test_of_an_order_that_left_in_part_only_the_rest_goes_to_another_location(amazon: ThirdParty) -> None:
    own = locations.save(amazon.town.hub.database, amazon.town.merchant, None, Location(name="Barn"), OWNER)
    here = (amazon.town.hub.database, amazon.town.merchant, amazon.sku("MUG"), own, 5, "found", OWNER, "c-1")
    amazon.buy(("mug", 3))
    warehouse.adjust(*here)
    amazon.pass_time()
    amazon.vendor.ship(amazon.reference, {"MUG": 2})
    amazon.vendor.warehouse.lose(amazon.reference, "MUG")
    amazon.hear()

    asked = {row.fulfillment_order_id: row.quantity for row in amazon.town.rows(t.fulfillment_line)}
    dealt = [(State(row.state), row.location_id, asked[row.id]) for row in amazon.work()]
    assert dealt == [(State.REJECTED, amazon.place, 3), (State.OPEN, own, 1)]
    assert [[line.quantity for line in told.lines] for told in amazon.shop.told] == [[2]]
    assert amazon.work()[0].message == "Amazon cannot ship 1 × MUG."
    assert amazon.issue_titles("rejected_by_3pl") == []  # another location has it
    amazon.town.sound()


def test_an_order_that_the_shop_cancels_is_cancelled_at_amazon(amazon: ThirdParty) -> None:
    order = amazon.buy(("mug", 2))
    amazon.vendor.warehouse.cancels_later = 60
    amazon.shop.change(order, status="cancelled")
    amazon.hear_shop()
    assert (amazon.states(), amazon.effects("cancel")) == ([State.CANCELLING], ["succeeded"])

    amazon.pass_time(2)
    amazon.hear()

    assert amazon.states() == [State.CANCELLED]
    assert [each.cancelled for each in amazon.vendor.placed()] == [True]
    amazon.town.sound()


def test_orders_that_others_ship_from_the_same_stock_trouble_nobody(amazon: ThirdParty) -> None:
    amazon.vendor.warehouse.order_by_hand("CONSUMER-2026-1", {"MUG": 4})
    amazon.pass_time()
    amazon.vendor.ship("CONSUMER-2026-1")
    amazon.hear()

    assert amazon.town.count(t.inbox, t.inbox.c.state == "quarantined") == 0
    assert amazon.there("MUG") == (6, 0, 0)
    assert amazon.shop.stock["mug"] == 6
    amazon.town.sound()


@pytest.mark.parametrize("amazon", [AmazonWarehouseSimulator], indirect=True, ids=["queue"])
def test_messages_tell_of_shipments_and_of_stock_before_anybody_asks(amazon: ThirdParty) -> None:
    amazon.buy(("mug", 2))
    asked = len(amazon.vendor.requests)
    amazon.clock = datetime.now(UTC)
    amazon.vendor.ship(amazon.reference)
    amazon.vendor.warehouse.sell("TEE", 3)
    amazon.vendor.wait_for_deliveries()
    amazon.town.let_pass(POLL_SECONDS)  # only the queue is due again
    amazon.town.settle()

    paths = [each.path for each in list(amazon.vendor.requests)[asked:] if not each.path.startswith("/auth")]
    assert set(paths) == {f"{ORDERS}/{amazon.reference}"}
    assert (amazon.states(), len(amazon.shop.told)) == ([State.SHIPPED], 1)
    assert (amazon.there("MUG"), amazon.there("TEE")) == ((8, 0, 0), (5, 0, 3))
    assert amazon.shop.stock == {"mug": 8, "tee": 2}
    amazon.town.sound()


def test_an_order_that_took_the_last_goods_and_is_not_shown_yet_is_not_taken_for_a_refused_one(
    amazon: ThirdParty,
) -> None:
    amazon.vendor.warehouse.answers_later = 90
    amazon.vendor.fail_next(ORDERS, Fault.reset(after_effect=True))
    amazon.buy(("mug", 10))
    amazon.town.let_pass(200)
    amazon.town.work()
    assert (amazon.states(), amazon.effects("submit")) == ([State.REQUESTED], ["planned"])

    amazon.pass_time(2)
    amazon.town.let_pass(200)
    amazon.town.work()

    assert (amazon.states(), amazon.effects("submit")) == ([State.ACCEPTED], ["succeeded"])
    assert [order.lines for order in amazon.vendor.placed()] == [{"MUG": 10}]
    amazon.town.sound()


@pytest.mark.parametrize("shown_after", [0, 90], ids=["shown at once", "shown later"])
def test_a_process_that_dies_at_any_point_of_ordering_leaves_one_order_at_amazon(
    amazon: ThirdParty, shown_after: int
) -> None:
    hub, here = amazon.town.hub, (amazon.town.merchant, amazon.provider)
    amazon.vendor.set_on_hand("MUG", 24)  # so that a preview of what was ordered already finds none left
    amazon.pass_time()
    amazon.hear()
    connections.pause(hub.database, *here, OWNER)
    for _ in range(24):
        amazon.shop.order([("mug", 1)])
    amazon.hear_shop()
    assert amazon.effects("submit") == ["planned"] * 24
    amazon.vendor.warehouse.answers_later = shown_after  # until then nobody finds the order, though it is there
    connections.resume(hub.database, *here, OWNER)
    deaths = 0
    # Before and after each request (the preview, the order, the look for it) and each commit, once with the answer to
    # the order lost besides.
    for point, number, lost in itertools.product(POINTS, range(1, 5), (False, True)):
        if lost:
            amazon.vendor.fail_next(ORDERS, Fault.reset(after_effect=True))
        fate = Fate(point, number)
        with mortal(amazon.town, fate):
            jobs.drain(amazon.town.hub, *here, "effects")
        deaths += fate.dead
        amazon.town.let_pass(200)  # leases run out, and what is put off comes due
        if number % 2:
            amazon.pass_time(shown_after / 60)
        with hub.database.write() as connection:
            connection.execute(t.effect.update().values(crash_count=0))  # no order is to blame for so many deaths
    amazon.vendor.heal()
    for _ in range(3):
        amazon.town.let_pass(200)
        amazon.pass_time(shown_after / 60)
        amazon.town.work()
    amazon.hear()

    assert deaths == 32
    placed = [order.reference for order in amazon.vendor.placed()]
    assert len(placed) == len(set(placed)) == len(amazon.work()) == 24
    assert set(amazon.effects("submit")) == {"succeeded"}
    assert set(amazon.states()) == {State.ACCEPTED}
    amazon.town.sound()
