"""The people of the demo who ship: now and then something is broken, and a parcel strands until the day is over."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from hub.core.shipping import TrackingStatus
from hub.demo import crew
from hub.demo.crew import Crew, Vendor
from hub.store import tables as t
from hub.store.database import Database, new_id
from hub.store.secrets import KeyRing
from tests.core.making import a_line, an_order
from tests.store.post_office import Counter as PackingTable
from tests.store.warehouse import Warehouse

on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@dataclass
class Vans:
    """A carrier that has sold labels for parcels 1, 2, 3…, and what was scanned of them last."""

    sold: int
    scanned: dict[str, TrackingStatus] = field(default_factory=dict)

    def charges(self) -> list[Any]:
        return [SimpleNamespace(voided=False, tracking_numbers=[str(number + 1)]) for number in range(self.sold)]

    def scan(self, number: str, status: TrackingStatus) -> None:
        self.scanned[number] = status


def crew_of(database: Database, vans: Vans) -> Crew:
    hub: Any = SimpleNamespace(database=database)
    carrier: Any = vans
    return Crew(hub, [Vendor("vans", carrier)], [], lambda *_: None, merchant_id=new_id())


@on_sqlite
def test_one_parcel_in_nine_strands_and_is_delivered_when_the_day_is_over(database: Database) -> None:
    vans = Vans(sold=20)
    people = crew_of(database, vans)
    assert not people.drive(), "the van comes later"
    people.lingers = 0.0

    assert people.drive() and set(vans.scanned.values()) == {TrackingStatus.IN_TRANSIT}
    assert people.drive()
    assert not people.drive(), "what has stranded stays where it is"
    assert Counter(vans.scanned.values()) == {TrackingStatus.DELIVERED: 18, TrackingStatus.EXCEPTION: 2}
    assert [each for each, status in vans.scanned.items() if status is TrackingStatus.EXCEPTION] == ["9", "18"]

    assert people.finish()
    assert not people.finish()
    assert set(vans.scanned.values()) == {TrackingStatus.DELIVERED}


@on_sqlite
def test_after_hours_nobody_waits_for_the_van(database: Database) -> None:
    vans = Vans(sold=1)
    people = crew_of(database, vans)

    assert people.finish() and people.finish() and not people.finish()

    assert vans.scanned == {"1": TrackingStatus.DELIVERED}


@on_sqlite
def test_one_order_in_fifteen_is_held_and_the_others_are_packed(
    database: Database, keyring: KeyRing, merchant: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = Warehouse(database, keyring, merchant)
    shop = warehouse.connect()
    warehouse.listing(shop, "mug", warehouse.sku("MUG", 5))
    warehouse.hear(shop, an_order(a_line(1)))
    order_id = warehouse.row(t.sales_order).id
    packed: list[UUID] = []
    monkeypatch.setattr(Crew, "_waiting", lambda self, *_: crew._Waiting(new_id(), order_id, shop))
    monkeypatch.setattr(Crew, "_scan_and_close", lambda self, work: packed.append(work))
    people = crew_of(database, Vans(sold=0))
    people.merchant_id = merchant

    for _ in range(16):
        assert people.pack_one()

    assert len(packed) == 15
    (hold,) = warehouse.rows(t.order_hold, t.order_hold.c.reason == "manual")
    assert (hold.placed_by, hold.note) == ("packer@example.com", crew._FLAW)


@on_sqlite
def test_carriers_that_offered_nothing_are_asked_anew_and_not_for_ever(
    database: Database, keyring: KeyRing, merchant: UUID
) -> None:
    counter = PackingTable(database, keyring, merchant)
    _, _, shipment_id = counter.packed()
    people = crew_of(database, Vans(sold=0))
    people.merchant_id = merchant

    asked = 0
    while True:
        with database.write() as connection:
            connection.execute(t.shipment.update().values(rates_wanted_at=None, error="No answer within 8 seconds."))
        if not people.finish():
            break
        row = counter.shipment(shipment_id)
        assert (row.rates_wanted_at is not None, row.error) == (True, "")
        assert not people._ask_again(), "they are being asked"
        asked += 1

    assert asked == 5


@on_sqlite
def test_carriers_are_asked_about_what_was_delivered_before_the_hub_followed_it(
    database: Database, keyring: KeyRing, merchant: UUID
) -> None:
    counter = PackingTable(database, keyring, merchant)
    _, _, shipment_id = counter.labelled()
    (number,) = counter.shipment(shipment_id).tracking_numbers
    people = crew_of(database, Vans(sold=0))
    people.merchant_id, people.carriers[0].connection_id = merchant, counter.carrier_id
    rung: list[tuple[UUID, str]] = []
    people.ring = lambda carrier, lane: rung.append((carrier, lane))
    assert not people._look_after_them(), "it is still on its way"
    people.seen[number] = TrackingStatus.DELIVERED
    later = counter.shipment(shipment_id).track_at

    assert people._look_after_them()

    assert counter.shipment(shipment_id).track_at < later
    assert people._look_after_them() and rung == [(counter.carrier_id, "fetch")], "not at every look"
    counter.hear_tracking(number, TrackingStatus.DELIVERED, counter.now())
    assert not people._look_after_them()
