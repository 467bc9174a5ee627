"""Packing: every unit is verified by a scan, loud where it is wrong, stored before the next, and never twice."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, select, update

from hub.core.model import HoldReason
from hub.errors import BadInput, Conflict
from hub.store import holds, packing
from hub.store import tables as t
from hub.store.database import new_id
from hub.store.packing import Box, Outcome
from tests.core.making import a_line
from tests.store.bench import Bench, to_ship
from tests.store.warehouse import OWNER, Warehouse

JOAN = "joan@example.test"


@pytest.fixture
def bench(warehouse: Warehouse) -> Bench:
    """Two mugs and a tee are to be packed."""
    shop = warehouse.connect()
    mug, tee = warehouse.sku("MUG-1", 5), warehouse.sku("TEE-1", 5)
    warehouse.sku("HAT-1", 5)
    warehouse.listing(shop, "mug", mug, barcode="4006381333931")
    warehouse.listing(shop, "tee", tee)
    warehouse.hear(shop, to_ship(a_line(2, title="Mug"), a_line(1, id="2", listing="tee", title="Tee")))
    return Bench(warehouse)


def contents(warehouse: Warehouse, shipment_id: UUID) -> list[tuple[int, int, dict[str, int], tuple[Any, ...]]]:
    """(number, weight, units by title, size) of each parcel of a shipment."""
    found = []
    for box in warehouse.rows(t.parcel, t.parcel.c.shipment_id == shipment_id):
        inside = {}
        for line in warehouse.rows(t.parcel_line, t.parcel_line.c.parcel_id == box.id):
            inside[warehouse.row(t.order_line, t.order_line.c.id == line.order_line_id).title] = line.quantity
        found.append((box.number, box.weight_grams, inside, (box.length_mm, box.width_mm, box.height_mm)))
    return sorted(found, key=lambda each: each[0])


# ---------------------------------------------------------------- scanning


def test_each_scan_of_a_code_or_a_barcode_counts_one_unit(bench: Bench) -> None:
    said = [bench.scan(code) for code in ("MUG-1", "4006381333931", "tee-1")]

    assert [(each.outcome, each.said) for each in said] == [
        (Outcome.COUNTED, "Mug: 1 of 2."),
        (Outcome.COUNTED, "Mug: 2 of 2. Complete."),
        (Outcome.COUNTED, "Tee: 1 of 1. Complete."),
    ]
    assert bench.packed() == {"Mug": (2, 2), "Tee": (1, 1)}


UNKNOWN = "no SKU, barcode or order has it. Scan it again, or look it up under Stock."


@pytest.mark.parametrize(
    ("code", "outcome", "said"),
    [
        ("HAT-1", Outcome.WRONG, "Wrong item: HAT-1 (HAT-1) is not in this order. Put it back."),
        ("TEE-1", Outcome.TOO_MANY, "Too many: all 1 of “Tee” are packed. Take this one out."),
        ("NO-SUCH", Outcome.UNKNOWN, f"Unknown code “NO-SUCH”: {UNKNOWN}"),
        ("", Outcome.UNKNOWN, f"Unknown code “”: {UNKNOWN}"),
    ],
)
def test_what_does_not_belong_into_the_parcel_is_refused_and_counts_nothing(
    bench: Bench, code: str, outcome: Outcome, said: str
) -> None:
    bench.scan("TEE-1")

    found = bench.scan(code)

    assert (found.outcome, found.said, found.outcome.good) == (outcome, said, False)
    assert bench.packed() == {"Mug": (0, 2), "Tee": (1, 1)}


def test_a_scan_that_is_sent_twice_is_one(bench: Bench) -> None:
    scan_id = uuid4()

    first, again = (bench.scan("MUG-1", scan_id=scan_id) for _ in range(2))

    assert first == again
    assert bench.packed()["Mug"] == (1, 2)
    assert len(bench.warehouse.rows(t.packing_scan)) == 1


def test_every_scan_is_kept_with_who_and_when_also_a_refused_one(bench: Bench) -> None:
    bench.scan("MUG-1")
    bench.scan("HAT-1")

    rows = sorted(bench.warehouse.rows(t.packing_scan), key=lambda row: row.number)

    assert [(row.number, row.code, row.outcome, row.units, row.packer) for row in rows] == [
        (1, "MUG-1", "counted", 1, OWNER),
        (2, "HAT-1", "wrong", 0, OWNER),
    ]


def test_the_last_scan_is_undone_and_so_is_the_last_one_of_a_line(bench: Bench) -> None:
    for code in ("MUG-1", "TEE-1", "MUG-1"):
        bench.scan(code)
    database, merchant = bench.warehouse.database, bench.merchant
    tee = bench.warehouse.row(t.order_line, t.order_line.c.title == "Tee").id

    assert packing.take_out(database, merchant, bench.id, OWNER) == "Taken out again: MUG-1."
    assert packing.take_out(database, merchant, bench.id, OWNER, tee) == "Taken out again: TEE-1."
    assert bench.packed() == {"Mug": (1, 2), "Tee": (0, 1)}
    packing.take_out(database, merchant, bench.id, OWNER)
    with pytest.raises(Conflict, match="Nothing is on the table"):
        packing.take_out(database, merchant, bench.id, OWNER)
    assert bench.packed() == {"Mug": (0, 2), "Tee": (0, 1)}


def test_a_line_without_a_sku_is_scanned_by_the_channels_own_text(warehouse: Warehouse) -> None:
    warehouse.hear(warehouse.connect(), to_ship(a_line(1, listing=None, sku="WRAP", title="Gift wrap")))
    bench = Bench(warehouse)

    assert bench.scan("WRAP").said == "Gift wrap: 1 of 1. Complete."


# ---------------------------------------------------------------- kits


@pytest.fixture
def kit(warehouse: Warehouse) -> Bench:
    """Two boxes, each a mug and two tees."""
    shop = warehouse.connect()
    mug, tee = warehouse.sku("MUG-1", 9), warehouse.sku("TEE-1", 9)
    warehouse.listing(shop, "box", warehouse.kit("BOX-1", {mug: 1, tee: 2}))
    warehouse.hear(shop, to_ship(a_line(2, listing="box", title="Box")))
    return Bench(warehouse)


def test_a_kit_is_packed_by_its_own_code_or_part_by_part(kit: Bench) -> None:
    whole = kit.scan("BOX-1")
    parts = [kit.scan(code) for code in ("TEE-1", "MUG-1", "TEE-1")]

    assert whole.said == "Box: 1 of 2."
    assert [(each.outcome, each.said) for each in parts] == [
        (Outcome.PART, "A part of Box. Still missing: 1 × MUG-1, 1 × TEE-1."),
        (Outcome.PART, "A part of Box. Still missing: 1 × TEE-1."),
        (Outcome.COUNTED, "Box: all parts are there. 2 of 2."),
    ]
    assert kit.packed() == {"Box": (2, 2)}
    assert kit.scan("TEE-1").outcome is Outcome.TOO_MANY


def test_a_kit_whose_parts_are_missing_is_neither_packed_nor_shipped(kit: Bench) -> None:
    kit.scan("BOX-1")
    kit.scan("MUG-1")
    kit.weigh()

    assert kit.scan("BOX-1").outcome is Outcome.WRONG, "its parts come first"
    with pytest.raises(BadInput, match="Parts of Box are missing"):
        kit.finish(rest_later=True)
    packing.take_out(kit.warehouse.database, kit.merchant, kit.id, OWNER)
    kit.finish(rest_later=True)
    assert kit.packed() == {"Box": (1, 2)}


# ---------------------------------------------------------------- what forbids it


def test_nothing_is_packed_of_an_order_on_hold_until_it_is_released(bench: Bench) -> None:
    warehouse = bench.warehouse
    bench.scan("MUG-1")
    holds.hold_order(warehouse.database, bench.merchant, bench.order_id, HoldReason.MANUAL, "Ask first", OWNER)

    with pytest.raises(Conflict, match=r"is on hold \(manual\). Release it first"):
        bench.scan("MUG-1")
    (hold,) = warehouse.rows(t.order_hold)
    holds.release(warehouse.database, bench.merchant, bench.order_id, hold.id, OWNER)

    assert bench.scan("MUG-1").said == "Mug: 2 of 2. Complete."


def test_nothing_is_packed_of_a_cancelled_order_nor_of_what_a_3pl_ships(bench: Bench) -> None:
    warehouse = bench.warehouse
    with warehouse.database.write() as connection:
        connection.execute(update(t.location).values(kind="3pl"))
    with pytest.raises(Conflict, match="shipped by a 3PL"):
        bench.scan("MUG-1")
    with warehouse.database.write() as connection:
        connection.execute(update(t.sales_order).values(status="cancelled"))
    with pytest.raises(Conflict, match="It must not be shipped"):
        bench.scan("MUG-1")
    assert bench.packed() == {"Mug": (0, 2), "Tee": (0, 1)}


def test_a_second_packer_is_told_and_may_take_over_and_so_is_the_first_one_then(bench: Bench) -> None:
    database, merchant = bench.warehouse.database, bench.merchant
    packing.begin(database, merchant, bench.id, OWNER)
    bench.scan("MUG-1")

    with pytest.raises(Conflict, match=f"{OWNER} packs this order since"):
        packing.begin(database, merchant, bench.id, JOAN)
    with pytest.raises(Conflict, match=f"{OWNER} packs this order"):
        bench.scan("MUG-1", packer=JOAN)
    packing.begin(database, merchant, bench.id, JOAN, instead_of=OWNER)

    assert bench.scan("MUG-1", packer=JOAN).said == "Mug: 2 of 2. Complete."
    with pytest.raises(Conflict, match=f"{JOAN} packs this order"):
        bench.scan("TEE-1")
    taken = bench.warehouse.row(t.activity, t.activity.c.kind == "packing_taken_over")
    assert taken.actor == JOAN and OWNER in taken.summary


def test_a_packer_who_went_home_keeps_nobody_waiting(bench: Bench) -> None:
    packing.begin(bench.warehouse.database, bench.merchant, bench.id, OWNER)
    with bench.warehouse.database.write() as connection:
        long_ago = bench.warehouse.database.now(connection) - packing.AWAY - timedelta(seconds=1)
        connection.execute(update(t.packing).values(seen_at=long_ago))

    assert bench.scan("MUG-1", packer=JOAN).outcome is Outcome.COUNTED


# ---------------------------------------------------------------- parcels


def test_what_is_packed_becomes_a_draft_shipment_with_its_parcels(bench: Bench) -> None:
    warehouse, database, merchant = bench.warehouse, bench.warehouse.database, bench.merchant
    carton = Box(id=new_id(), name="Small", length_mm=300, width_mm=200, height_mm=100, empty_grams=90, most_grams=2000)
    packing.save_box(database, merchant, carton, OWNER)
    bench.scan("MUG-1")
    packing.next_parcel(database, merchant, bench.id, 2, OWNER)
    bench.scan("MUG-1")
    bench.scan("TEE-1")
    bench.weigh(1, 700, carton.id)
    bench.weigh(2, 900)

    shipment = bench.finish()

    assert contents(warehouse, shipment) == [
        (1, 700, {"Mug": 1}, (300, 200, 100)),
        (2, 900, {"Mug": 1, "Tee": 1}, (None, None, None)),
    ]
    assert (warehouse.row(t.shipment).state, bench.state) == ("draft", "packed")
    assert warehouse.rows(t.packing) == warehouse.rows(t.packing_parcel) == []
    line = warehouse.row(t.activity, t.activity.c.kind == "packed")
    assert (line.actor, line.summary.split(" of ")[0], line.summary[-14:]) == (OWNER, "3 units", "into 2 parcels")
    with pytest.raises(Conflict, match="there is nothing to pack"):
        bench.scan("MUG-1")


def test_a_parcel_without_weight_is_no_shipment_yet(bench: Bench) -> None:
    for code in ("MUG-1", "MUG-1", "TEE-1"):
        bench.scan(code)

    with pytest.raises(BadInput) as refused:
        bench.finish()

    assert refused.value.fields == {"weight-1": ["Parcel 1 has no weight yet. Weigh it, with everything in it."]}
    assert bench.state == "open" and bench.warehouse.rows(t.shipment) == []
    bench.weigh()
    bench.finish()
    assert bench.state == "packed"


def test_what_is_there_is_shipped_now_and_the_rest_later(bench: Bench) -> None:
    bench.scan("MUG-1")
    bench.weigh()

    with pytest.raises(BadInput, match="2 units are not packed yet"):
        bench.finish()
    first = bench.finish(rest_later=True)
    assert (bench.state, bench.packed()) == ("open", {"Mug": (1, 2), "Tee": (0, 1)})
    assert bench.scan("MUG-1").said == "Mug: 2 of 2. Complete."
    bench.scan("TEE-1")
    bench.weigh()
    second = bench.finish()

    assert [contents(bench.warehouse, each)[0][2] for each in (first, second)] == [{"Mug": 1}, {"Mug": 1, "Tee": 1}]
    assert bench.state == "packed"


def test_an_order_that_shrank_meanwhile_is_not_shipped_with_too_much_in_it(bench: Bench) -> None:
    for code in ("MUG-1", "MUG-1", "TEE-1"):
        bench.scan(code)
    bench.weigh()
    mug = bench.warehouse.row(t.order_line, t.order_line.c.title == "Mug").id
    with bench.warehouse.database.write() as connection:
        line = t.fulfillment_line.c
        connection.execute(update(t.fulfillment_line).where(line.order_line_id == mug).values(quantity=1, packed=1))

    with pytest.raises(BadInput, match="take 1 of “Mug” out again"):
        bench.finish()
    packing.take_out(bench.warehouse.database, bench.merchant, bench.id, OWNER, mug)
    shipment = bench.finish()

    assert contents(bench.warehouse, shipment)[0][2] == {"Mug": 1, "Tee": 1}


def test_parcels_are_filled_one_after_the_other_and_carry_no_more_than_their_box(bench: Bench) -> None:
    database, merchant = bench.warehouse.database, bench.merchant
    carton = Box(id=new_id(), name="Bag", length_mm=10, width_mm=10, height_mm=10, empty_grams=5, most_grams=400)
    packing.save_box(database, merchant, carton, OWNER)

    with pytest.raises(BadInput, match="leave a gap"):
        packing.next_parcel(database, merchant, bench.id, 2, OWNER)
    with pytest.raises(BadInput, match="Bag carries 400 g at most"):
        bench.weigh(1, 401, carton.id)
    with pytest.raises(BadInput, match="no such box"):
        bench.weigh(1, 100, new_id())
    bench.weigh(1, 400, carton.id)
    packing.remove_box(database, merchant, carton.id, OWNER)
    assert [row.box_id for row in bench.warehouse.rows(t.packing_parcel)] == [None]


def test_the_smallest_box_that_carries_it_is_suggested() -> None:
    def box(name: str, side: int, most: int) -> Box:
        return Box(
            id=UUID(int=side),
            name=name,
            length_mm=side,
            width_mm=side,
            height_mm=side,
            empty_grams=100,
            most_grams=most,
        )

    choice = [box("large", 400, 9000), box("small", 100, 600), box("medium", 200, 3000)]

    names = [(found := packing.suggested(choice, grams)) and found.name for grams in (500, 501, 8900, 8901, None, 0)]
    assert names == ["small", "medium", "large", None, None, None]


@pytest.mark.parametrize(
    ("changed", "field"),
    [({"name": " "}, "name"), ({"length_mm": 0}, "length_mm"), ({"most_grams": 90}, "most_grams"),
     ({"name": "Taken"}, "name")],
)  # fmt: skip
def test_a_box_that_cannot_be_is_refused(warehouse: Warehouse, changed: dict[str, Any], field: str) -> None:
    right = {"name": "Small", "length_mm": 300, "width_mm": 200, "height_mm": 100, "empty_grams": 90, "most_grams": 91}
    packing.save_box(warehouse.database, warehouse.merchant, Box(id=new_id(), **right | {"name": "Taken"}), OWNER)

    with pytest.raises(BadInput) as refused:
        packing.save_box(warehouse.database, warehouse.merchant, Box(id=new_id(), **right | changed), OWNER)

    assert list(refused.value.fields) == [field]
    assert [row.name for row in warehouse.rows(t.box)] == ["Taken"]


# ---------------------------------------------------------------- dividing


def test_units_are_split_off_and_packed_together_again(bench: Bench) -> None:
    warehouse, database, merchant = bench.warehouse, bench.warehouse.database, bench.merchant
    mug, tee = (warehouse.row(t.order_line, t.order_line.c.title == title).id for title in ("Mug", "Tee"))

    other = packing.split(database, merchant, bench.id, {mug: 1, tee: 1}, OWNER)

    assert bench.packed() == {"Mug": (0, 1)}
    line = t.fulfillment_line.c
    there = {
        row.order_line_id: row.quantity
        for row in warehouse.rows(t.fulfillment_line, line.fulfillment_order_id == other)
    }
    assert there == {mug: 1, tee: 1}
    packing.merge(database, merchant, bench.id, other, OWNER)
    assert bench.packed() == {"Mug": (0, 2), "Tee": (0, 1)}
    gone = warehouse.row(t.fulfillment_order, t.fulfillment_order.c.id == other)
    assert (gone.state, gone.closed_at is not None) == ("cancelled", True)


def test_only_what_is_not_packed_is_split_off_and_never_everything(bench: Bench) -> None:
    database, merchant = bench.warehouse.database, bench.merchant
    mug, tee = (bench.warehouse.row(t.order_line, t.order_line.c.title == title).id for title in ("Mug", "Tee"))
    bench.scan("TEE-1")

    for units, sentence in (({mug: 0}, "Enter how many"), ({tee: 1}, "not packed yet"), ({mug: 3}, "not packed yet")):
        with pytest.raises(BadInput, match=sentence):
            packing.split(database, merchant, bench.id, units, OWNER)
    packing.take_out(database, merchant, bench.id, OWNER)
    with pytest.raises(BadInput, match="all of it"):
        packing.split(database, merchant, bench.id, {mug: 2, tee: 1}, OWNER)
    assert len(bench.warehouse.rows(t.fulfillment_order)) == 1


def test_what_does_not_belong_together_is_not_merged(bench: Bench) -> None:
    warehouse, database, merchant = bench.warehouse, bench.warehouse.database, bench.merchant
    mug = warehouse.row(t.order_line, t.order_line.c.title == "Mug").id
    other = packing.split(database, merchant, bench.id, {mug: 1}, OWNER)
    with pytest.raises(BadInput, match="Only parts of one order"):
        packing.merge(database, merchant, bench.id, bench.id, OWNER)
    packing.scan(database, merchant, other, uuid4(), "MUG-1", OWNER)
    with pytest.raises(Conflict, match="is begun"):
        packing.merge(database, merchant, bench.id, other, OWNER)
    elsewhere = warehouse.location("Barn")
    with database.write() as connection:
        connection.execute(
            update(t.fulfillment_order).where(t.fulfillment_order.c.id == other).values(location_id=elsewhere)
        )
    with pytest.raises(BadInput, match="Only parts of one order"):
        packing.merge(database, merchant, bench.id, other, OWNER)


def test_another_merchants_order_is_not_there(bench: Bench) -> None:
    database, stranger = bench.warehouse.database, new_id()
    with database.write() as connection:
        now = database.now(connection)
        connection.execute(insert(t.merchant).values(id=stranger, name="Elsewhere", created_at=now))
        reference = connection.execute(select(t.fulfillment_order.c.reference)).scalar_one()
        assert packing.find_order(connection, stranger, reference) is None
        assert packing.find_order(connection, bench.merchant, reference.lower()) == bench.id
    with pytest.raises(Conflict, match="does not exist"):
        packing.scan(database, stranger, bench.id, uuid4(), "MUG-1", OWNER)
