"""A 3PL in a hub at work, from being asked to what has left: accepted, rejected, cancelled, in parts, with lots."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from hub import jobs
from hub.certify.crashing import Fate
from hub.plugins import Registry
from hub.store import connections, forgetting, locations, warehouse
from hub.store import tables as t
from hub.store.database import Database
from hub.store.fulfillment import State
from hub.store.locations import Location
from hub.store.secrets import KeyRing
from hub.testing import Fault, connector_for
from tests.jobs.dying import Deadly, every_death, passes
from tests.jobs.third_party import PROVIDER, TellingChannel, ThirdParty
from tests.town import OWNER, Town, town


@pytest.fixture
def third_town(database: Database, keyring: KeyRing, merchant: UUID, tmp_path: Path) -> Iterator[Town]:
    registry = Registry({each.name: each for each in (TellingChannel, PROVIDER)})
    with town(database, keyring, merchant, registry, tmp_path) as built:
        yield built


@pytest.fixture
def third(third_town: Town) -> ThirdParty:
    return ThirdParty(third_town)


def test_the_3pl_s_place_is_a_location_whose_stock_is_counted_and_sold(third: ThirdParty) -> None:
    assert third.there("MUG") == (10, 0, 0)
    assert third.there("TEE") == (5, 0, 0)
    assert third.shop.stock == {"mug": 10, "tee": 5}
    third.town.sound()


def test_an_order_goes_to_the_3pl_and_its_shipment_back_to_the_shop(third: ThirdParty) -> None:
    order = third.buy(("mug", 2), ("tee", 1))
    (placed,) = third.vendor.placed()
    assert placed.lines == {"MUG": 2, "TEE": 1}
    assert (third.states(), third.effects("submit")) == ([State.ACCEPTED], ["succeeded"])
    assert third.there("MUG") == (10, 2, 0)

    third.pass_time()
    id = third.vendor.ship(placed.reference)
    third.hear()

    assert third.shipped() == [("shipped", "royal_mail", [f"AW{id}"])]
    (told,) = third.shop.told
    assert [(line.line_external_id, line.quantity) for line in told.lines] == [("1", 2), ("2", 1)]
    assert (told.tracking_numbers, told.order_external_id) == ((f"AW{id}",), order["id"])
    assert third.states() == [State.SHIPPED]
    assert third.there("MUG") == (8, 0, 0)
    assert third.ledger("MUG") == [("adopted", 10), ("shipped", -2)]
    third.town.sound()


@pytest.mark.parametrize("deaths", [pytest.param(1, id="once"), pytest.param(2, id="twice", marks=pytest.mark.chaos)])
@pytest.mark.parametrize("lost", [False, True], ids=["answered", "answer lost"])
def test_a_process_that_dies_at_any_point_of_any_pass_of_submitting_leaves_one_order_there(
    third: ThirdParty, lost: bool, deaths: int
) -> None:
    here = (third.town.hub, third.town.merchant, third.provider)
    third.vendor.set_on_hand("MUG", 200)
    third.pass_time()
    third.hear()

    def survives(deadly: Deadly) -> bool:
        connections.pause(third.town.hub.database, *here[1:], OWNER)  # until the order is planned
        third.shop.order([("mug", 1)])
        third.hear_shop()
        connections.resume(third.town.hub.database, *here[1:], OWNER)
        if lost:
            third.vendor.fail_next("/v1/orders", Fault.reset(after_effect=True))
        fates = [Fate(*each) for each in deadly]
        assert passes(
            third.town,
            fates,
            lambda: jobs.drain(third.town.hub, *here[1:], "effects"),
            lambda: set(third.effects("submit")) == {"succeeded"},
        ), deadly
        third.vendor.heal()
        return not fates[-1].dead

    died = every_death(survives, deaths)

    placed = [order.reference for order in third.vendor.placed()]
    assert died >= 4 + 3 * lost
    assert len(placed) == len(set(placed)) == len(third.work()) == died + 3 ** (2 * deaths - 1)
    assert set(third.states()) == {State.ACCEPTED}
    third.town.sound()


def test_webhooks_of_a_3pl_tell_at_once_what_has_left(
    database: Database, keyring: KeyRing, merchant: UUID, tmp_path: Path
) -> None:
    registry = Registry({each.name: each for each in (TellingChannel, PROVIDER)})
    with town(database, keyring, merchant, registry, tmp_path, public_url="https://hub.example") as built:
        third = ThirdParty(built)
        third.vendor.hold_webhooks()
        third.buy(("mug", 2))
        third.pass_time()
        third.vendor.ship(third.reference)

        for letter in third.vendor.take_webhooks():
            assert built.hear(letter) == 200
        built.settle()

        assert (third.states(), len(third.shop.told)) == ([State.SHIPPED], 1)


def test_a_shipment_of_no_order_of_ours_is_set_aside_with_its_bytes(third: ThirdParty) -> None:
    connector_for(PROVIDER, third.vendor).submit(third.vendor.example("BY-HAND-1", {"MUG": 1}), "key")
    third.pass_time()
    third.vendor.ship("BY-HAND-1")
    third.hear()

    (record,) = third.town.rows(t.inbox, t.inbox.c.state == "quarantined")
    assert "BY-HAND-1" in record.error
    assert third.town.count(t.inbox_body, t.inbox_body.c.inbox_id == record.id) == 1
    assert "BY-HAND-1" in third.issue_titles("unreadable_record")[0]
    assert third.there("MUG") == (9, 0, 0)  # it is off the shelf all the same


def test_a_row_of_stock_that_makes_no_sense_is_set_aside_alone(third: ThirdParty) -> None:
    third.pass_time()
    third.vendor.spoil_stock("MUG")
    third.vendor.set_on_hand("TEE", 2)
    third.hear()

    assert (third.there("MUG"), third.there("TEE")) == ((10, 0, 0), (2, 0, 0))
    assert third.town.count(t.inbox, t.inbox.c.state == "quarantined") == 1


def test_a_rejection_goes_to_another_location_and_the_shop_never_knows(third: ThirdParty) -> None:
    own = locations.save(third.town.hub.database, third.town.merchant, None, Location(name="Barn"), OWNER)
    third.buy(("mug", 2))
    here = (third.town.hub.database, third.town.merchant, third.sku("MUG"), own, 5, "found", OWNER, "c-1")
    warehouse.adjust(*here)
    third.pass_time()
    third.vendor.reject(third.reference, "No such street.")
    third.hear()

    assert third.states() == [State.REJECTED, State.OPEN]
    assert [row.location_id for row in third.work()] == [third.place, own]
    third.town.sound()


def test_what_a_3pl_was_told_and_tells_of_a_person_goes_with_the_order(third: ThirdParty) -> None:
    third.buy(("mug", 2))
    third.pass_time()
    third.vendor.ship(third.reference)
    third.hear()
    bodies = third.town.count(t.inbox_body)
    order_id = third.town.row(t.sales_order).id
    with third.town.hub.database.write() as connection:
        at = third.town.hub.database.now(connection)
        forgetting.erase_orders(connection, third.town.merchant, [order_id], at=at)

    about = t.inbox.c.connection_id == third.provider
    kept = {row.inbox_id for row in third.town.rows(t.inbox_body)}
    told = {row.id for row in third.town.rows(t.inbox, about, t.inbox.c.topic == "shipment")}
    assert told and not told & kept
    assert third.town.count(t.inbox_body) < bodies
    assert [row.request for row in third.town.rows(t.effect, t.effect.c.kind == "submit")] == [{}]
