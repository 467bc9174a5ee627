"""Defining kits: what is refused, what becomes of open orders and listings, and two people at it at once."""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update

from hub.core.allocation import StockPolicy
from hub.core.model import OrderStatus
from hub.core.services import Received
from hub.errors import BadInput, Conflict
from hub.store import connections, kits, orders, policies
from hub.store import tables as t
from hub.store import warehouse as house
from hub.store.database import Database, for_update, new_id
from tests.core.making import a_line, an_order, minutes
from tests.store.warehouse import OWNER, Warehouse

EVERYTHING = (
    t.sku,
    t.kit_part,
    t.kit_leaf,
    t.stock_level,
    t.stock_entry,
    t.order_line_part,
    t.allocation,
    t.backorder,
    t.publication,
    t.activity,
)


def define(warehouse: Warehouse, kit: UUID, parts: dict[UUID, Any]) -> set[UUID]:
    return kits.define(warehouse.database, warehouse.merchant, kit, parts, OWNER)


def leaves(warehouse: Warehouse, kit: UUID) -> dict[UUID, int]:
    return {row.part_id: row.quantity for row in warehouse.rows(t.kit_leaf, t.kit_leaf.c.kit_id == kit)}


def parts_of_line(warehouse: Warehouse, order: str) -> dict[UUID, int]:
    line = warehouse.row(
        t.order_line,
        t.order_line.c.order_id == warehouse.row(t.sales_order, t.sales_order.c.external_id == order).id,
    )
    rows = warehouse.rows(t.order_line_part, t.order_line_part.c.order_line_id == line.id)
    return {row.sku_id: row.quantity for row in rows}


# ---------------------------------------------------------------- recipes


def test_a_kit_is_kept_as_entered_and_multiplied_out(warehouse: Warehouse) -> None:
    mug, tee, box, crate = (warehouse.sku(code) for code in ("MUG", "TEE", "BOX", "CRATE"))

    define(warehouse, box, {mug: 2, tee: 1})
    define(warehouse, crate, {box: 3, tee: 1})

    with warehouse.database.read() as connection:
        assert kits.parts_of(connection, warehouse.merchant, crate) == {box: 3, tee: 1}
        assert kits.parts_of(connection, warehouse.merchant, mug) == {}
    assert leaves(warehouse, crate) == {mug: 6, tee: 4}
    assert {row.code for row in warehouse.rows(t.sku, t.sku.c.kit)} == {"BOX", "CRATE"}
    told = [row.summary for row in warehouse.rows(t.activity, t.activity.c.kind == "kit_defined")]
    assert "CRATE is a kit of 3 × BOX, 1 × TEE" in told
    warehouse.sound()


def test_a_change_reaches_every_kit_above(warehouse: Warehouse) -> None:
    mug, tee, box, crate, pallet = (warehouse.sku(code) for code in ("MUG", "TEE", "BOX", "CRATE", "PALLET"))
    define(warehouse, pallet, {crate: 10})  # from the outside in: each part becomes a kit later
    define(warehouse, crate, {box: 2})
    define(warehouse, box, {mug: 1})
    assert leaves(warehouse, pallet) == {mug: 20}

    define(warehouse, box, {mug: 2, tee: 1})
    assert leaves(warehouse, pallet) == {mug: 40, tee: 20}

    define(warehouse, box, {})
    assert (leaves(warehouse, pallet), leaves(warehouse, box)) == ({box: 20}, {})
    assert not warehouse.row(t.sku, t.sku.c.id == box).kit
    warehouse.sound()


def test_a_kit_cannot_contain_itself(warehouse: Warehouse) -> None:
    mug, box, crate, pallet = (warehouse.sku(code) for code in ("MUG", "BOX", "CRATE", "PALLET"))
    define(warehouse, pallet, {crate: 1})
    define(warehouse, crate, {box: 1, mug: 1})
    before = warehouse.digest(*EVERYTHING)

    with pytest.raises(BadInput) as refused:
        define(warehouse, box, {pallet: 1, mug: 1})
    assert str(refused.value) == (
        "A kit cannot contain itself: BOX contains PALLET contains CRATE contains BOX. Leave PALLET out of BOX."
    )
    with pytest.raises(BadInput, match=r"MUG contains MUG\. Leave MUG out of MUG\."):
        define(warehouse, mug, {mug: 1})

    assert warehouse.digest(*EVERYTHING) == before


def test_two_people_cannot_make_each_kit_contain_the_other(warehouse: Warehouse) -> None:
    first, second = warehouse.sku("A"), warehouse.sku("B")
    for _ in range(5):
        start, refused = threading.Barrier(2), list[str]()

        def attempt(kit: UUID, part: UUID, start: threading.Barrier = start, refused: list[str] = refused) -> None:
            database = Database(warehouse.database.url.render_as_string(hide_password=False))
            start.wait()
            try:
                kits.define(database, warehouse.merchant, kit, {part: 1}, OWNER)
            except BadInput as error:
                refused.append(str(error))
            database.close()

        people = [threading.Thread(target=attempt, args=pair) for pair in ((first, second), (second, first))]
        for each in people:
            each.start()
        for each in people:
            each.join()

        assert len(refused) == 1
        assert "A kit cannot contain itself" in refused[0]
        warehouse.sound()
        define(warehouse, first, {})
        define(warehouse, second, {})


@pytest.mark.parametrize(
    "units",
    [0, -1, 10_001, True, 1.0, 1.5, float("nan"), float("inf"), "2", None],
    ids=["none", "negative", "too many", "true", "a float", "a fraction", "NaN", "infinite", "a text", "nothing"],
)
def test_a_quantity_that_cannot_be_is_refused(warehouse: Warehouse, units: Any) -> None:
    box, mug, tee = warehouse.sku("BOX"), warehouse.sku("MUG"), warehouse.sku("TEE")
    before = warehouse.digest(*EVERYTHING)

    with pytest.raises(BadInput, match=r"a whole number from 1 to 10,000") as refused:
        define(warehouse, box, {tee: 1, mug: units})

    assert list(refused.value.fields) == [str(mug)]
    assert warehouse.digest(*EVERYTHING) == before


def test_what_cannot_be_a_kit_or_a_part_is_refused(warehouse: Warehouse) -> None:
    box, mug = warehouse.sku("BOX"), warehouse.sku("MUG")
    set_ = warehouse.sku("SET")
    define(warehouse, box, {mug: 5_000})
    before = warehouse.digest(*EVERYTHING)

    for kit, parts, sentence in (
        (new_id(), {mug: 1}, "This SKU does not exist. Reload the page."),
        (set_, {new_id(): 1}, "This SKU does not exist. Reload the page."),
        (set_, {new_id(): 1 for _ in range(101)}, "A kit has at most 100 different SKUs. Leave some out."),
        (
            set_,
            {box: 3},
            "One SET would take more than 100 different SKUs, or more than 10,000 units of one. Leave some out.",
        ),
    ):
        with pytest.raises(BadInput) as refused:
            define(warehouse, kit, parts)
        assert str(refused.value) == sentence
    assert warehouse.digest(*EVERYTHING) == before


def test_a_kit_above_may_not_become_too_large_or_too_deep(warehouse: Warehouse) -> None:
    tower = [warehouse.sku(f"K{level}") for level in range(10)]
    for outer, inner in pairwise(tower[:9]):
        define(warehouse, outer, {inner: 1})
    before = warehouse.digest(*EVERYTHING)

    with pytest.raises(BadInput, match=r"^Too many kits would lie one within the other in K0\."):
        define(warehouse, tower[8], {tower[9]: 1})
    with pytest.raises(BadInput, match=r"^One K0 would take more than"):
        define(warehouse, tower[0], {tower[1]: 1, tower[2]: 10_000})

    assert warehouse.digest(*EVERYTHING) == before


def test_the_same_definition_once_more_changes_nothing(warehouse: Warehouse) -> None:
    box, mug = warehouse.sku("BOX"), warehouse.sku("MUG")
    define(warehouse, box, {mug: 2})
    before = warehouse.digest(*EVERYTHING)

    assert define(warehouse, box, {mug: 2}) == set()
    assert define(warehouse, mug, {}) == set()

    assert warehouse.digest(*EVERYTHING) == before


def test_another_merchants_skus_are_none(warehouse: Warehouse) -> None:
    other = Warehouse(warehouse.database, warehouse.keyring, new_id())
    with warehouse.database.write() as connection:
        connection.execute(t.merchant.insert().values(id=other.merchant, name="Other", created_at=minutes(0)))
    theirs, ours = other.sku("MUG"), warehouse.sku("BOX")

    with pytest.raises(BadInput, match="does not exist"):
        define(warehouse, ours, {theirs: 1})
    with pytest.raises(BadInput, match="does not exist"):
        define(warehouse, theirs, {ours: 1})

    assert warehouse.rows(t.kit_part) == []


# ---------------------------------------------------------------- stock of its own


def test_a_sku_with_stock_becomes_no_kit_before_it_is_gone(warehouse: Warehouse) -> None:
    shop, box, mug = warehouse.connect(), warehouse.sku("BOX", 5), warehouse.sku("MUG", 9)
    warehouse.listing(shop, "box", box)

    def refused(sentence: str) -> None:
        before = warehouse.digest(*EVERYTHING)
        with pytest.raises(Conflict) as error:
            define(warehouse, box, {mug: 1})
        assert str(error.value) == sentence
        assert warehouse.digest(*EVERYTHING) == before

    refused("5 of BOX are on hand at Main warehouse. A kit has no stock of its own. Set its stock there to 0 first.")
    warehouse.hear(shop, an_order(a_line(7, listing="box")))
    held = "BOX is held or waited for by order #100. Ship or cancel first, then make the kit."
    refused(held)
    barn = warehouse.location("Barn")
    warehouse.count(box, 0)
    refused(held)
    over = {"status": OrderStatus.CANCELLED, "holds_stock": False, "version": minutes(9)}
    warehouse.hear(shop, an_order(a_line(7, listing="box", removed=7), **over))
    warehouse.count(box, 1)
    here = (warehouse.database, warehouse.merchant)
    transfer, _ = house.send(*here, warehouse.location(), barn, {box: 1}, "T-1", OWNER)
    refused("1 of BOX are on their way to Barn. A kit has no stock of its own. Let them arrive, or close the transfer.")

    house.close_transfer(*here, transfer, OWNER)
    define(warehouse, box, {mug: 1})
    assert leaves(warehouse, box) == {mug: 1}
    warehouse.sound()


def test_nothing_is_counted_received_or_moved_of_a_kit(warehouse: Warehouse) -> None:
    mug = warehouse.sku("MUG", 9)
    box = warehouse.sku("BOX")
    define(warehouse, box, {mug: 2})
    before = warehouse.digest(*EVERYTHING, t.stock_document)
    here, place, barn = (warehouse.database, warehouse.merchant), warehouse.location(), warehouse.location("Barn")

    for act in (
        lambda: house.adjust(*here, box, place, 5, "counted", OWNER, "1"),
        lambda: house.receive(*here, place, {mug: 1, box: 5}, "1", OWNER),
        lambda: house.count(*here, place, {box: 5}, "counted", OWNER, "1"),
        lambda: house.send(*here, place, barn, {box: 1}, "1", OWNER),
        lambda: house.set_safety_stock(*here, box, place, 1, OWNER),
    ):
        with pytest.raises(BadInput) as refused:
            act()
        assert str(refused.value) == "BOX: a kit has no stock of its own. Enter its parts instead."
        assert refused.value.fields == {str(box): ["This is a kit. Enter its parts instead."]}
    assert warehouse.digest(*EVERYTHING, t.stock_document) == before


# ---------------------------------------------------------------- orders


def test_orders_keep_the_kit_as_it_was_when_they_came_in(warehouse: Warehouse) -> None:
    shop, mug, tee, box = warehouse.connect(), warehouse.sku("MUG", 9), warehouse.sku("TEE", 9), warehouse.sku("BOX")
    define(warehouse, box, {mug: 2})
    warehouse.listing(shop, "box", box)
    warehouse.hear(shop, an_order(a_line(1, listing="box"), id="old"))

    define(warehouse, box, {mug: 1, tee: 1})
    warehouse.hear(shop, an_order(a_line(1, listing="box"), id="new"))
    warehouse.hear(shop, an_order(a_line(2, listing="box"), id="old", version=minutes(1)))

    assert (parts_of_line(warehouse, "old"), parts_of_line(warehouse, "new")) == ({mug: 2}, {mug: 1, tee: 1})
    assert (warehouse.level(mug), warehouse.level(tee)) == ((9, 5), (9, 1))
    warehouse.sound()

    define(warehouse, box, {})
    assert parts_of_line(warehouse, "old") == {mug: 2}
    assert (warehouse.level(mug), warehouse.level(tee)) == ((9, 5), (9, 1))
    warehouse.sound()


def test_open_lines_that_sold_the_sku_before_learn_its_parts_and_are_held(warehouse: Warehouse) -> None:
    shop, mug, tee, box = warehouse.connect(), warehouse.sku("MUG", 9), warehouse.sku("TEE", 2), warehouse.sku("BOX")
    warehouse.listing(shop, "box", box)
    warehouse.hear(
        shop,
        an_order(a_line(2, listing="box"), id="first", number="#first", placed_at=minutes(1)),
        an_order(a_line(3, listing="box", fulfilled=1, removed=1), id="later", number="#later", placed_at=minutes(2)),
        an_order(a_line(1, listing="box", fulfilled=1), id="over", status=OrderStatus.FULFILLED, holds_stock=False),
    )
    assert warehouse.rows(t.allocation) == []

    define(warehouse, box, {mug: 2, tee: 1})

    assert (warehouse.level(mug), warehouse.level(tee)) == ((9, 4), (2, 2))
    assert warehouse.waiting(tee) == {"#later": 1}
    assert parts_of_line(warehouse, "first") == parts_of_line(warehouse, "later") == {mug: 2, tee: 1}
    assert parts_of_line(warehouse, "over") == {}, "that is over"
    warehouse.sound()

    warehouse.hear(
        shop, an_order(a_line(2, listing="box", fulfilled=2), id="first", version=minutes(5), holds_stock=False)
    )
    assert (warehouse.level(mug), warehouse.level(tee)) == ((5, 0), (0, 0))
    warehouse.sound()


def test_what_was_shipped_of_its_own_stock_stays_what_it_was(warehouse: Warehouse) -> None:
    shop, mug, tee, box = warehouse.connect(), warehouse.sku("MUG", 9), warehouse.sku("TEE", 0), warehouse.sku("BOX", 2)
    for listing, sku in (("box", box), ("tee", tee)):
        warehouse.listing(shop, listing, sku)
    lines = (a_line(2, listing="box"), a_line(1, id="2", listing="tee"))
    warehouse.hear(shop, an_order(*lines, placed_at=warehouse.now()))
    sent = (a_line(2, listing="box", fulfilled=2), lines[1])
    warehouse.hear(shop, an_order(*sent, placed_at=warehouse.now(), version=minutes(1)))
    assert warehouse.level(box) == (0, 0)

    define(warehouse, box, {mug: 2})

    assert (warehouse.rows(t.order_line_part), warehouse.level(mug)) == ([], (9, 0))
    warehouse.sound()


def test_open_lines_that_sell_it_within_another_kit_learn_its_parts_too(warehouse: Warehouse) -> None:
    shop, mug, tee = warehouse.connect(), warehouse.sku("MUG", 9), warehouse.sku("TEE", 9)
    box, crate = warehouse.sku("BOX"), warehouse.sku("CRATE")
    define(warehouse, crate, {box: 2, tee: 1})
    warehouse.listing(shop, "crate", crate)
    warehouse.hear(shop, an_order(a_line(1, listing="crate")))
    assert (parts_of_line(warehouse, "100"), warehouse.rows(t.allocation)) == ({box: 2, tee: 1}, [])

    define(warehouse, box, {mug: 3, tee: 1})

    assert parts_of_line(warehouse, "100") == {mug: 6, tee: 3}
    assert (warehouse.level(mug), warehouse.level(tee)) == ((9, 6), (9, 3))
    warehouse.sound()


def test_an_order_that_is_being_imported_meanwhile_learns_the_parts(warehouse: Warehouse) -> None:
    shop, mug, box = warehouse.connect(), warehouse.sku("MUG", 9), warehouse.sku("BOX")
    warehouse.listing(shop, "box", box)
    defining = threading.Thread(target=define, args=(warehouse, box, {mug: 2}))

    with warehouse.database.write() as connection:
        at = warehouse.database.now(connection)
        order = an_order(a_line(1, listing="box"))
        orders.apply(connection, warehouse.merchant, shop, [Received("100", order, at)], at=at)
        defining.start()
        defining.join(0.3)
        assert defining.is_alive(), "it waits for the import"
    defining.join()

    assert (parts_of_line(warehouse, "100"), warehouse.level(mug)) == ({mug: 2}, (9, 2))
    warehouse.sound()


def test_an_order_that_comes_in_while_the_kit_is_being_made_sells_the_kit(warehouse: Warehouse) -> None:
    shop, mug, box = warehouse.connect(), warehouse.sku("MUG", 9), warehouse.sku("BOX")
    warehouse.listing(shop, "box", box)
    defining = threading.Thread(target=define, args=(warehouse, box, {mug: 2}))
    importing = threading.Thread(target=warehouse.hear, args=(shop, an_order(a_line(1, listing="box"))))

    with warehouse.database.write() as connection:
        connection.execute(for_update(connection, select(t.sku.c.id).where(t.sku.c.id == mug)))
        defining.start()
        defining.join(0.2)
        importing.start()
        importing.join(0.2)
        assert (defining.is_alive(), importing.is_alive()) == (True, True)
    defining.join()
    importing.join()

    assert (parts_of_line(warehouse, "100"), warehouse.level(mug)) == ({mug: 2}, (9, 2))
    warehouse.sound()


def test_an_order_held_together_gets_the_kit_with_its_other_lines_or_not_at_all(warehouse: Warehouse) -> None:
    policies.save(warehouse.database, warehouse.merchant, StockPolicy(hold_together=True), OWNER)
    shop, mug, tee, box = warehouse.connect(), warehouse.sku("MUG", 9), warehouse.sku("TEE", 1), warehouse.sku("BOX")
    warehouse.listing(shop, "box", box)
    warehouse.listing(shop, "tee", tee)
    warehouse.hear(shop, an_order(a_line(1, listing="box"), a_line(2, id="2", listing="tee")))
    assert warehouse.rows(t.allocation) == []

    define(warehouse, box, {mug: 2})
    assert warehouse.rows(t.allocation) == [], "it waits for the second tee"
    warehouse.sound()

    warehouse.count(tee, 2)
    assert (warehouse.level(mug), warehouse.level(tee)) == ((9, 2), (2, 2))
    warehouse.sound()


# ---------------------------------------------------------------- listings


def test_a_kit_is_published_from_when_all_its_parts_are_counted(warehouse: Warehouse) -> None:
    shop = warehouse.connect(live=True)
    mug, tee, box = warehouse.sku("MUG", 9), warehouse.sku("TEE"), warehouse.sku("BOX")
    warehouse.listing(shop, "box", box)

    assert define(warehouse, box, {mug: 2, tee: 1}) == set()
    assert warehouse.rows(t.publication) == []

    assert warehouse.count(tee, 3) == {shop}
    assert len(warehouse.rows(t.publication)) == 1


def test_a_change_of_the_recipe_has_every_listing_above_published_again(warehouse: Warehouse) -> None:
    shop = warehouse.connect(live=True)
    mug, tee, box, crate = (
        warehouse.sku("MUG", 9),
        warehouse.sku("TEE", 9),
        warehouse.sku("BOX"),
        warehouse.sku("CRATE"),
    )
    for name, sku in (("box", box), ("crate", crate), ("mug", mug)):
        warehouse.listing(shop, name, sku)
    define(warehouse, box, {mug: 2})
    define(warehouse, crate, {box: 2})
    connections.go_live(warehouse.database, warehouse.merchant, shop, OWNER)
    assert len(warehouse.rows(t.publication)) == 3
    with warehouse.database.write() as connection:
        connection.execute(update(t.publication).values(published_version=t.publication.c.version))

    assert define(warehouse, box, {mug: 1, tee: 1}) == {shop}

    due = warehouse.rows(t.publication, t.publication.c.version > t.publication.c.published_version)
    shown = {row.id: row.external_id for row in warehouse.rows(t.listing)}
    assert {(shown[row.listing_id], row.cause["cause"], row.cause["reference"]) for row in due} == {
        ("box", "kit_defined", "BOX"),
        ("crate", "kit_defined", "BOX"),
    }
