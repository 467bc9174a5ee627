"""Corrections of stock by a person: one ledger entry that says who and why, and what follows for orders and shops."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import update

from hub.core.model import OrderStatus
from hub.errors import BadInput, Conflict
from hub.store import tables as t
from hub.store.database import new_id
from hub.store.stock import SHORTFALL
from hub.store.warehouse import adjust
from tests.core.making import a_line, an_order, minutes
from tests.store.warehouse import OWNER, Warehouse


def correct(warehouse: Warehouse, sku: Any, on_hand: Any, *, reason: str = "counted", reference: str = "form/1") -> Any:
    return adjust(warehouse.database, warehouse.merchant, sku, warehouse.location(), on_hand, reason, OWNER, reference)


def test_a_correction_is_one_entry_that_says_who_and_why(warehouse: Warehouse) -> None:
    sku = warehouse.sku("MUG", 10)

    correct(warehouse, sku, 7, reason="  3 broken ", reference="form/breakage")

    (entry,) = warehouse.rows(t.stock_entry, t.stock_entry.c.reference == "adjustment form/breakage")
    assert (entry.cause, entry.on_hand_delta, entry.allocated_delta) == ("adjusted", -3, 0)
    assert (entry.actor, entry.note, entry.order_id) == (OWNER, "3 broken", None)
    assert warehouse.level(sku) == (7, 0)
    (note,) = [each for each in warehouse.rows(t.activity) if "broken" in each.summary]
    assert (note.summary, note.actor) == ("MUG at Main warehouse: on hand 10 → 7 (3 broken)", OWNER)
    warehouse.sound()


@pytest.mark.parametrize(
    "on_hand",
    [-1, 1_000_000_001, True, False, 2.0, 2.5, float("nan"), float("inf"), Decimal(3), "3"],
    ids=["negative", "too many", "true", "false", "a float", "a fraction", "NaN", "infinite", "a decimal", "a text"],
)
def test_a_quantity_that_cannot_be_is_refused(warehouse: Warehouse, on_hand: Any) -> None:
    sku = warehouse.sku("MUG", 10)

    with pytest.raises(BadInput, match=r"from 0 to 1,000,000,000") as refused:
        correct(warehouse, sku, on_hand)

    assert refused.value.fields == {"on_hand": ["Enter a number of units."]}
    assert warehouse.level(sku) == (10, 0)


def test_the_largest_quantity_fits(warehouse: Warehouse) -> None:
    sku = warehouse.sku("MUG", 0)

    correct(warehouse, sku, 1_000_000_000)

    assert warehouse.level(sku) == (1_000_000_000, 0)


@pytest.mark.parametrize("reason", ["", "   "])
def test_a_correction_needs_a_reason(warehouse: Warehouse, reason: str) -> None:
    with pytest.raises(BadInput) as refused:
        correct(warehouse, warehouse.sku("MUG", 1), 2, reason=reason)

    assert list(refused.value.fields) == ["reason"]


@pytest.mark.parametrize("reference", ["", "   ", "x" * 101, "line\nbreak"])
def test_a_reference_that_cannot_be_kept_is_refused(warehouse: Warehouse, reference: str) -> None:
    with pytest.raises(BadInput, match="reference of at most 100 characters"):
        correct(warehouse, warehouse.sku("MUG", 1), 2, reference=reference)


def test_the_longest_reference_leaves_room_for_whoever_profits(warehouse: Warehouse) -> None:
    shop, sku = warehouse.connect(), warehouse.sku("MUG", 0)
    warehouse.listing(shop, "mug", sku)
    warehouse.hear(shop, an_order(a_line(2)))

    correct(warehouse, sku, 5, reference="x" * 100)

    assert warehouse.level(sku) == (5, 2)
    warehouse.sound()


def test_a_long_reason_is_cut_where_the_ledger_ends(warehouse: Warehouse) -> None:
    correct(warehouse, warehouse.sku("MUG", 1), 2, reason="x" * 2000, reference="form/2")

    (entry,) = warehouse.rows(t.stock_entry, t.stock_entry.c.reference == "adjustment form/2")
    assert len(entry.note) == 500


def test_the_same_form_sent_twice_counts_once(warehouse: Warehouse) -> None:
    sku = warehouse.sku("MUG", 10)
    correct(warehouse, sku, 7, reference="form/once")

    with pytest.raises(Conflict, match="was entered already"):
        correct(warehouse, sku, 7, reference="form/once")
    with pytest.raises(Conflict):
        correct(warehouse, sku, 3, reference="form/once")

    assert warehouse.level(sku) == (7, 0)
    assert len(warehouse.rows(t.stock_entry, t.stock_entry.c.reference == "adjustment form/once")) == 1


def test_the_first_count_sent_twice_counts_once(warehouse: Warehouse) -> None:
    sku = warehouse.sku("MUG")
    correct(warehouse, sku, 7, reference="form/once")

    with pytest.raises(Conflict):
        correct(warehouse, sku, 7, reference="form/once")

    assert warehouse.level(sku) == (7, 0)


def test_a_reference_is_good_for_one_correction_only(warehouse: Warehouse) -> None:
    mug, tee = warehouse.sku("MUG", 1), warehouse.sku("TEE", 1)
    correct(warehouse, mug, 5, reference="form/1")

    with pytest.raises(Conflict, match=rf"entered already, on .* UTC by {OWNER}\. Reload the page"):
        correct(warehouse, tee, 5, reference="form/1")

    assert (warehouse.level(mug), warehouse.level(tee)) == ((5, 0), (1, 0))


def test_a_correction_is_a_document_of_its_own(warehouse: Warehouse) -> None:
    sku = warehouse.sku("MUG", 10)

    correct(warehouse, sku, 7, reason="3 broken", reference=" form/7 ")

    paper = warehouse.row(t.stock_document, t.stock_document.c.reference == "form/7")
    assert (paper.kind, paper.state, paper.actor, paper.note) == ("adjustment", "done", OWNER, "3 broken")
    line = warehouse.row(t.stock_document_line, t.stock_document_line.c.document_id == paper.id)
    assert (line.sku_id, line.quantity, line.expected) == (sku, 7, 10)
    entry = warehouse.row(t.stock_entry, t.stock_entry.c.document_id == paper.id)
    assert (entry.cause, entry.on_hand_delta, entry.on_hand) == ("adjusted", -3, 7)


def test_a_count_that_finds_the_same_leaves_no_trace(warehouse: Warehouse) -> None:
    sku = warehouse.sku("MUG", 10)
    before = warehouse.digest(t.stock_level, t.stock_entry, t.publication, t.activity)

    assert correct(warehouse, sku, 10, reference="form/same") == set()

    assert warehouse.digest(t.stock_level, t.stock_entry, t.publication, t.activity) == before


@pytest.mark.parametrize("missing", ["sku", "location"])
def test_what_does_not_exist_cannot_be_counted(warehouse: Warehouse, missing: str) -> None:
    sku = new_id() if missing == "sku" else warehouse.sku("MUG", 1)
    place = new_id() if missing == "location" else warehouse.location()

    with pytest.raises(BadInput, match="does not exist"):
        adjust(warehouse.database, warehouse.merchant, sku, place, 3, "counted", OWNER, "form/1")


# ---------------------------------------------------------------- what follows for orders


def test_too_many_allocations_go_back_to_the_queue_newest_first(warehouse: Warehouse) -> None:
    shop, sku = warehouse.connect(), warehouse.sku("MUG", 6)
    warehouse.listing(shop, "mug", sku)
    for number in (3, 1, 2):
        warehouse.hear(shop, an_order(a_line(2), id=str(number), number=f"#{number}", placed_at=minutes(number)))

    correct(warehouse, sku, 3)
    assert warehouse.level(sku) == (3, 3)
    assert warehouse.waiting(sku) == {"#2": 1, "#3": 2}

    correct(warehouse, sku, 5, reference="form/2")
    assert warehouse.waiting(sku) == {"#3": 1}

    correct(warehouse, sku, 20, reference="form/3")
    assert (warehouse.level(sku), warehouse.waiting(sku)) == ((20, 6), {})
    warehouse.sound()


def test_supply_reaches_who_has_waited_longest_however_long_the_queue_is(warehouse: Warehouse) -> None:
    shop, sku = warehouse.connect(), warehouse.sku("MUG", 0)
    warehouse.listing(shop, "mug", sku)
    warehouse.hear(
        shop,
        *(
            an_order(a_line(1), id=str(number), number=f"#{number}", placed_at=minutes(100 - number))
            for number in range(30)
        ),
    )

    correct(warehouse, sku, 2)

    assert set(warehouse.waiting(sku)) == {f"#{number}" for number in range(28)}


def test_a_cancelled_order_serves_the_queue_behind_it(warehouse: Warehouse) -> None:
    shop, sku = warehouse.connect(), warehouse.sku("MUG", 5)
    warehouse.listing(shop, "mug", sku)
    orders = [
        an_order(a_line(5 if number == 0 else 2), id=str(number), number=f"#{number}", placed_at=minutes(number))
        for number in range(4)
    ]
    warehouse.hear(shop, *orders)
    assert warehouse.waiting(sku) == {"#1": 2, "#2": 2, "#3": 2}

    over = {"status": OrderStatus.CANCELLED, "holds_stock": False, "version": minutes(50), "placed_at": minutes(0)}
    warehouse.hear(shop, an_order(a_line(5, removed=5), id="0", number="#0", **over))

    assert (warehouse.level(sku), warehouse.waiting(sku)) == ((5, 5), {"#3": 1})
    warehouse.sound()


def test_the_first_count_of_a_sku_reserves_what_open_orders_are_still_to_get(warehouse: Warehouse) -> None:
    shop, sku = warehouse.connect(), warehouse.sku("MUG")
    warehouse.listing(shop, "mug", sku)
    warehouse.hear(
        shop,
        an_order(a_line(5, fulfilled=1, removed=1), id="open", number="#open", placed_at=minutes(1)),
        an_order(a_line(9, fulfilled=9), id="over", status=OrderStatus.FULFILLED, holds_stock=False),
        an_order(a_line(4), id="younger", number="#younger", placed_at=minutes(2)),
    )
    assert warehouse.rows(t.allocation) == []

    correct(warehouse, sku, 5)

    assert (warehouse.level(sku), warehouse.waiting(sku)) == ((5, 5), {"#younger": 2})
    assert warehouse.row(t.sku).counted_since is not None
    warehouse.sound()

    shipped = an_order(
        a_line(5, fulfilled=4, removed=1), id="open", version=minutes(5), placed_at=minutes(1), holds_stock=False
    )
    warehouse.hear(shop, shipped)
    assert warehouse.level(sku) == (2, 2), "only what left after the count is taken out of it"
    warehouse.sound()


def test_a_first_count_of_nothing_starts_the_stock_all_the_same(warehouse: Warehouse) -> None:
    shop, sku = warehouse.connect(live=True), warehouse.sku("MUG")
    warehouse.listing(shop, "mug", sku)

    assert correct(warehouse, sku, 0) == {shop}

    assert warehouse.row(t.sku).counted_since is not None
    assert warehouse.level(sku) == (0, 0)
    warehouse.hear(shop, an_order(a_line(2)))
    assert warehouse.waiting(sku) == {"#100": 2}
    warehouse.sound()


def test_a_second_location_serves_who_waited_at_the_first(warehouse: Warehouse) -> None:
    shop, sku = warehouse.connect(), warehouse.sku("MUG", 1)
    warehouse.listing(shop, "mug", sku)
    warehouse.hear(shop, an_order(a_line(3)))
    barn = warehouse.location("Barn")

    warehouse.count(sku, 4, barn)

    assert (warehouse.level(sku), warehouse.waiting(sku)) == ((5, 3), {})
    assert len(warehouse.rows(t.allocation)) == 2
    warehouse.sound()


def test_a_count_settles_what_was_shipped_beyond_the_shelf(warehouse: Warehouse) -> None:
    shop, sku = warehouse.connect(), warehouse.sku("MUG", 2)
    warehouse.listing(shop, "mug", sku)
    over = {"status": OrderStatus.FULFILLED, "holds_stock": False, "placed_at": warehouse.now()}
    warehouse.hear(shop, an_order(a_line(5, fulfilled=5), **over))
    (issue,) = warehouse.rows(t.issue, t.issue.c.kind == SHORTFALL)
    assert (issue.title, issue.resolved_at) == ("Order #100 shipped 3 more than the hub had on hand", None)

    correct(warehouse, sku, 4)
    assert warehouse.row(t.issue, t.issue.c.kind == SHORTFALL).resolved_by == OWNER

    warehouse.hear(shop, an_order(a_line(5, fulfilled=5), version=minutes(9), **over))
    assert warehouse.level(sku) == (4, 0), "what was never counted is not taken out of the new count"
    warehouse.sound()


# ---------------------------------------------------------------- what follows for shops


def test_every_live_listing_of_the_sku_is_due_again_with_the_cause(warehouse: Warehouse) -> None:
    live, other, quiet = warehouse.connect(live=True), warehouse.connect(live=True), warehouse.connect()
    sku, tee = warehouse.sku("MUG", 5), warehouse.sku("TEE", 5)
    for shop in (live, other, quiet):
        warehouse.listing(shop, "mug", sku)
    warehouse.listing(live, "tee", tee)
    assert warehouse.count(sku, 6) == {live, other}  # gives them their publications
    warehouse.count(tee, 6)
    with warehouse.database.write() as connection:
        connection.execute(update(t.publication).values(published_version=t.publication.c.version))

    assert correct(warehouse, sku, 4, reference="form/9") == {live, other}

    due = {
        (each.connection_id, each.version - each.published_version, each.cause["cause"], each.cause["reference"])
        for each in warehouse.rows(t.publication, t.publication.c.version > t.publication.c.published_version)
    }
    assert due == {(live, 1, "adjusted", "adjustment form/9"), (other, 1, "adjusted", "adjustment form/9")}
