"""Deliveries, counts, transfers and what is set aside: what each does to stock, to orders, and to the papers kept."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from hub.core.model import OrderStatus
from hub.core.stock import Condition
from hub.errors import BadInput, Conflict
from hub.store import locations
from hub.store import tables as t
from hub.store import warehouse as house
from hub.store.database import new_id
from hub.store.locations import Location
from tests.core.making import a_line, an_order, minutes
from tests.store.warehouse import OWNER, Warehouse

EVERYTHING = (
    t.stock_level,
    t.stock_entry,
    t.stock_document,
    t.stock_document_line,
    t.allocation,
    t.backorder,
    t.shortage,
    t.sku,
    t.publication,
    t.activity,
    t.issue,
)


def receive(
    warehouse: Warehouse, lines: dict[UUID, int], reference: str = "D-1", where: UUID | None = None
) -> set[UUID]:
    place = where or warehouse.location()
    return house.receive(warehouse.database, warehouse.merchant, place, lines, reference, OWNER)


def count(
    warehouse: Warehouse,
    lines: dict[UUID, int],
    reference: str = "W-1",
    *,
    reason: str = "",
    at: datetime | None = None,
) -> set[UUID]:
    here = (warehouse.database, warehouse.merchant, warehouse.location())
    return house.count(*here, lines, reason, OWNER, reference, at)


def send(warehouse: Warehouse, lines: dict[UUID, int], reference: str = "T-1", to: str = "Barn") -> UUID:
    places = (warehouse.location(), warehouse.location(to))
    document_id, _ = house.send(warehouse.database, warehouse.merchant, *places, lines, reference, OWNER)
    return document_id


def put(
    warehouse: Warehouse, act: Any, sku: UUID, units: int, condition: Any = Condition.DAMAGED, ref: str = "A-1"
) -> None:
    act(warehouse.database, warehouse.merchant, sku, warehouse.location(), units, condition, "fell off", OWNER, ref)


def figures(warehouse: Warehouse, sku: UUID, where: str = "Main warehouse") -> tuple[int, ...]:
    """(on hand, allocated, quarantined, damaged, incoming)"""
    level = t.stock_level.c
    row = warehouse.row(t.stock_level, level.sku_id == sku, level.location_id == warehouse.location(where))
    return row.on_hand, row.allocated, row.quarantined, row.damaged, row.incoming


def paper(warehouse: Warehouse, reference: str) -> Any:
    return warehouse.row(t.stock_document, t.stock_document.c.reference == reference)


def entries(warehouse: Warehouse, reference: str) -> list[tuple[Any, ...]]:
    """(cause, on hand, incoming) of the ledger entries of a document, as differences."""
    rows = warehouse.rows(t.stock_entry, t.stock_entry.c.document_id == paper(warehouse, reference).id)
    return sorted((row.cause, row.on_hand_delta, row.incoming_delta) for row in rows)


def last_said(warehouse: Warehouse, kind: str) -> str:
    return str(max(warehouse.rows(t.activity, t.activity.c.kind == kind), key=lambda row: row.id).summary)


# ---------------------------------------------------------------- deliveries


def test_a_delivery_serves_who_waits_and_keeps_its_paper(warehouse: Warehouse) -> None:
    shop = warehouse.connect(live=True)
    mug, tee = warehouse.sku("MUG", 0), warehouse.sku("TEE", 1)
    warehouse.listing(shop, "mug", mug)
    warehouse.hear(shop, an_order(a_line(3)))
    assert warehouse.waiting(mug) == {"#100": 3}

    touched = receive(warehouse, {mug: 5, tee: 2}, "  D-17 ")

    assert (touched, warehouse.waiting(mug)) == ({shop}, {})
    assert (figures(warehouse, mug)[:2], figures(warehouse, tee)[:2]) == ((5, 3), (3, 0))
    document = paper(warehouse, "D-17")
    assert (document.kind, document.state, document.actor, document.location_id) == (
        "receipt",
        "done",
        OWNER,
        warehouse.location(),
    )
    lines = warehouse.rows(t.stock_document_line, t.stock_document_line.c.document_id == document.id)
    assert {line.sku_id: (line.quantity, line.expected) for line in lines} == {mug: (5, None), tee: (2, None)}
    assert entries(warehouse, "D-17") == [("allocated", 0, 0), ("received", 2, 0), ("received", 5, 0)]
    assert last_said(warehouse, "stock_received") == "Receipt D-17 at Main warehouse: 5 × MUG, 2 × TEE"
    warehouse.sound()


def test_the_same_delivery_entered_twice_is_refused_with_who_and_when(warehouse: Warehouse) -> None:
    mug, tee = warehouse.sku("MUG", 1), warehouse.sku("TEE", 1)
    receive(warehouse, {mug: 5}, "D-17")
    entered = paper(warehouse, "D-17").created_at
    before = warehouse.digest(*EVERYTHING)

    for lines in ({mug: 5}, {tee: 9}):
        with pytest.raises(Conflict) as refused:
            receive(warehouse, lines, "D-17")

        assert str(refused.value) == (
            f"Receipt D-17 was entered already, on {entered:%Y-%m-%d at %H:%M} UTC by {OWNER}. "
            "Nothing was changed now. If this is another one, give it a reference of its own."
        )
    assert warehouse.digest(*EVERYTHING) == before

    count(warehouse, {mug: 6}, "D-17")  # another kind of paper may carry the same number
    assert len(warehouse.rows(t.stock_document, t.stock_document.c.reference == "D-17")) == 2


def test_two_who_enter_the_same_delivery_at_once_enter_it_once(warehouse: Warehouse) -> None:
    mug, tee = warehouse.sku("MUG", 0), warehouse.sku("TEE", 0)

    for number in range(4):
        start, refused = threading.Barrier(2), list[str]()

        def enter(lines: dict[UUID, int], number: int = number, start: Any = start, refused: Any = refused) -> None:
            start.wait()
            try:
                receive(warehouse, lines, f"D-{number}")
            except Conflict as error:
                refused.append(str(error))

        people = [threading.Thread(target=enter, args=(lines,)) for lines in ({mug: 1, tee: 1}, {tee: 1, mug: 1})]
        for each in people:
            each.start()
        for each in people:
            each.join()
        assert [said[:31] for said in refused] == [f"Receipt D-{number} was entered already"]

    assert (figures(warehouse, mug)[0], figures(warehouse, tee)[0]) == (4, 4)
    warehouse.sound()


def test_a_delivery_starts_the_count_of_a_sku_and_holds_its_open_orders(warehouse: Warehouse) -> None:
    shop, mug = warehouse.connect(live=True), warehouse.sku("MUG")
    warehouse.listing(shop, "mug", mug)
    warehouse.hear(shop, an_order(a_line(5, fulfilled=1)))

    assert receive(warehouse, {mug: 3}) == {shop}

    assert warehouse.row(t.sku).counted_since is not None
    assert (figures(warehouse, mug)[:2], warehouse.waiting(mug)) == ((3, 3), {"#100": 1})
    assert ("received", 3, 0) in entries(warehouse, "D-1")
    warehouse.sound()


def test_a_delivery_starts_the_count_of_the_last_part_of_a_kit(warehouse: Warehouse) -> None:
    shop, mug, tee = warehouse.connect(), warehouse.sku("MUG", 4), warehouse.sku("TEE")
    warehouse.listing(shop, "box", warehouse.kit("BOX", {mug: 2, tee: 1}))
    warehouse.hear(shop, an_order(a_line(3, listing="box")))
    assert warehouse.rows(t.allocation) == []

    receive(warehouse, {tee: 5})

    assert (warehouse.level(mug), warehouse.level(tee)) == ((4, 4), (5, 2))
    assert set(warehouse.waiting(mug).values()) == {1}
    warehouse.sound()


def test_a_delivery_wakes_the_kits_that_wait_for_it(warehouse: Warehouse) -> None:
    shop, mug, tee = warehouse.connect(), warehouse.sku("MUG", 4), warehouse.sku("TEE", 0)
    warehouse.listing(shop, "box", warehouse.kit("BOX", {mug: 2, tee: 1}))
    warehouse.hear(shop, an_order(a_line(2, listing="box")))

    receive(warehouse, {tee: 2})

    assert (warehouse.level(mug), warehouse.level(tee)) == ((4, 4), (2, 2))
    assert warehouse.rows(t.backorder) == []
    warehouse.sound()


def test_one_line_that_cannot_be_leaves_the_whole_delivery_out(warehouse: Warehouse) -> None:
    mug = warehouse.sku("MUG", 1)
    before = warehouse.digest(*EVERYTHING)

    with pytest.raises(BadInput, match=r"^This SKU does not exist\. Reload the page\.$") as refused:
        receive(warehouse, {mug: 5, (unknown := new_id()): 1})

    assert list(refused.value.fields) == [str(unknown)]
    assert warehouse.digest(*EVERYTHING) == before
    assert receive(warehouse, {mug: 5}) == set(), "its reference is still free"


# ---------------------------------------------------------------- counts


def test_a_count_writes_its_variances_and_keeps_what_was_expected(warehouse: Warehouse) -> None:
    mug, tee, cup = warehouse.sku("MUG", 10), warehouse.sku("TEE", 4), warehouse.sku("CUP", 7)

    count(warehouse, {mug: 8, tee: 5, cup: 7}, reason="2 broken, 1 found")

    assert [figures(warehouse, sku)[0] for sku in (mug, tee, cup)] == [8, 5, 7]
    assert entries(warehouse, "W-1") == [("counted", -2, 0), ("counted", 1, 0)]
    document = paper(warehouse, "W-1")
    lines = warehouse.rows(t.stock_document_line, t.stock_document_line.c.document_id == document.id)
    assert {line.sku_id: (line.expected, line.quantity) for line in lines} == {mug: (10, 8), tee: (4, 5), cup: (7, 7)}
    assert document.counted_at == document.created_at
    assert {level.counted_at for level in warehouse.rows(t.stock_level)} == {document.counted_at}
    assert last_said(warehouse, "stock_counted") == (
        "Count W-1 at Main warehouse: MUG 10 → 8, TEE 4 → 5; 1 SKU as expected (2 broken, 1 found)"
    )
    warehouse.sound()


def test_a_count_that_finds_all_as_expected_leaves_its_paper_and_needs_no_reason(warehouse: Warehouse) -> None:
    mug, tee = warehouse.sku("MUG", 10), warehouse.sku("TEE", 4)

    assert count(warehouse, {mug: 10, tee: 4}) == set()

    assert entries(warehouse, "W-1") == []
    assert (
        len(warehouse.rows(t.stock_document_line, t.stock_document_line.c.document_id == paper(warehouse, "W-1").id))
        == 2
    )
    assert last_said(warehouse, "stock_counted") == "Count W-1 at Main warehouse: 2 SKUs as expected"
    assert all(level.counted_at is not None for level in warehouse.rows(t.stock_level))


def test_a_variance_needs_a_reason(warehouse: Warehouse) -> None:
    mug, tee = warehouse.sku("MUG", 10), warehouse.sku("TEE", 4)
    before = warehouse.digest(*EVERYTHING)

    with pytest.raises(BadInput) as refused:
        count(warehouse, {mug: 9, tee: 4}, reason="  ")

    assert str(refused.value) == "Not everything is as expected: MUG 10 → 9. Say why, or count again."
    assert list(refused.value.fields) == ["reason"]
    assert warehouse.digest(*EVERYTHING) == before


def test_what_came_and_left_since_the_shelf_was_looked_at_is_no_variance(warehouse: Warehouse) -> None:
    shop, mug = warehouse.connect(), warehouse.sku("MUG", 10)
    warehouse.listing(shop, "mug", mug)
    looked_at = warehouse.now()
    receive(warehouse, {mug: 20})
    placed = {"placed_at": warehouse.now(), "version": warehouse.now()}
    warehouse.hear(shop, an_order(a_line(3, fulfilled=3), status=OrderStatus.FULFILLED, holds_stock=False, **placed))
    assert figures(warehouse, mug)[0] == 27

    count(warehouse, {mug: 9}, reason="1 missing", at=looked_at)

    assert figures(warehouse, mug)[0] == 26, "one less than the 10 of then, and all that happened since"
    line = warehouse.row(
        t.stock_document_line, t.stock_document_line.c.expected.is_not(None), t.stock_document_line.c.quantity == 9
    )
    assert line.expected == 10
    assert warehouse.row(t.stock_level).counted_at == looked_at
    warehouse.sound()


def test_a_look_at_the_shelf_that_is_older_than_another_says_nothing_any_more(warehouse: Warehouse) -> None:
    mug, tee = warehouse.sku("MUG", 10), warehouse.sku("TEE", 4)
    looked_at = warehouse.now()
    count(warehouse, {mug: 8}, "W-2", reason="broken")
    count(warehouse, {tee: 4}, "W-3")
    before = warehouse.digest(*EVERYTHING)

    for sku, units in ((mug, 8), (tee, 3)):
        with pytest.raises(
            Conflict, match=r"was counted or corrected at Main warehouse on .* Count it again, or leave it"
        ):
            count(warehouse, {sku: units}, reason="broken", at=looked_at)

    assert warehouse.digest(*EVERYTHING) == before


def test_a_count_of_before_the_opening_stock_is_refused(warehouse: Warehouse) -> None:
    mug = warehouse.sku("MUG", 10)

    with pytest.raises(Conflict, match="Count it again"):
        count(warehouse, {mug: 10}, at=warehouse.now() - timedelta(days=1))

    assert figures(warehouse, mug)[0] == 10


def test_a_count_that_contradicts_what_has_left_since_is_refused(warehouse: Warehouse) -> None:
    mug = warehouse.sku("MUG", 10)
    looked_at = warehouse.now()
    send(warehouse, {mug: 8})

    with pytest.raises(
        Conflict, match=r"^1 of MUG were counted, and 8 have left Main warehouse since .* Count it again"
    ):
        count(warehouse, {mug: 1}, reason="?", at=looked_at)

    assert figures(warehouse, mug)[0] == 2


def test_a_count_of_a_time_to_come_or_of_no_place_on_earth_is_refused(warehouse: Warehouse) -> None:
    mug = warehouse.sku("MUG", 10)

    with pytest.raises(BadInput, match="cannot be of a time to come"):
        count(warehouse, {mug: 10}, at=warehouse.now() + timedelta(hours=1))
    with pytest.raises(BadInput, match="in which time zone"):
        count(warehouse, {mug: 10}, at=datetime(2026, 3, 2, 12))  # noqa: DTZ001 - a form without a zone

    assert warehouse.rows(t.stock_document, t.stock_document.c.kind == "count") == []


def test_a_first_count_among_others_starts_the_stock_and_holds_open_orders(warehouse: Warehouse) -> None:
    shop = warehouse.connect(live=True)
    mug, tee = warehouse.sku("MUG"), warehouse.sku("TEE", 4)
    warehouse.listing(shop, "mug", mug)
    warehouse.hear(shop, an_order(a_line(2)))

    assert count(warehouse, {mug: 3, tee: 4}) == {shop}

    assert (figures(warehouse, mug)[:2], figures(warehouse, tee)[:2]) == ((3, 2), (4, 0))
    assert last_said(warehouse, "stock_counted") == (
        "Count W-1 at Main warehouse: first count of 3 × MUG; 1 SKU as expected"
    )
    line = warehouse.row(t.stock_document_line, t.stock_document_line.c.sku_id == mug)
    assert (line.expected, line.quantity) == (None, 3)
    warehouse.sound()


def test_what_a_count_does_not_find_is_taken_from_the_last_in_the_queue_who_are_told(warehouse: Warehouse) -> None:
    shop, mug = warehouse.connect(), warehouse.sku("MUG", 6)
    warehouse.listing(shop, "mug", mug)
    for number in (3, 1, 2):
        warehouse.hear(shop, an_order(a_line(2), id=str(number), number=f"#{number}", placed_at=minutes(number)))

    count(warehouse, {mug: 3}, reason="stolen")

    assert warehouse.waiting(mug) == {"#2": 1, "#3": 2}
    told = {row.summary for row in warehouse.rows(t.activity, t.activity.c.kind == "reservation_lost")}
    assert told == {
        "Order #2 lost 1 unit that had been reserved for it, and waits for more (count W-1 at Main warehouse)",
        "Order #3 lost 2 units that had been reserved for it, and waits for more (count W-1 at Main warehouse)",
    }
    assert {(row.units, row.taken) for row in warehouse.rows(t.shortage)} == {(1, True), (2, True)}
    warehouse.sound()


# ---------------------------------------------------------------- transfers


def test_a_transfer_is_incoming_until_it_arrives(warehouse: Warehouse) -> None:
    mug, tee = warehouse.sku("MUG", 10), warehouse.sku("TEE", 5)

    document_id = send(warehouse, {mug: 4, tee: 5})

    assert (figures(warehouse, mug), figures(warehouse, mug, "Barn")) == ((6, 0, 0, 0, 0), (0, 0, 0, 0, 4))
    assert (paper(warehouse, "T-1").state, paper(warehouse, "T-1").closed_at) == ("in_transit", None)
    assert last_said(warehouse, "stock_sent") == "Transfer T-1 from Main warehouse to Barn: 4 × MUG, 5 × TEE"
    warehouse.sound()

    here = (warehouse.database, warehouse.merchant, document_id)
    house.arrive(*here, {mug: 1}, OWNER)
    house.arrive(*here, {mug: 1, tee: 5}, OWNER)
    assert figures(warehouse, mug, "Barn") == (2, 0, 0, 0, 2)
    assert last_said(warehouse, "stock_arrived") == (
        "Transfer T-1 arrived at Barn: 1 × MUG, 5 × TEE; still in transit: 2 × MUG"
    )
    assert paper(warehouse, "T-1").state == "in_transit"
    warehouse.sound()

    house.arrive(*here, {mug: 2}, OWNER)
    assert (figures(warehouse, mug, "Barn"), figures(warehouse, tee, "Barn")) == ((4, 0, 0, 0, 0), (5, 0, 0, 0, 0))
    assert paper(warehouse, "T-1").state == "done"
    lines = warehouse.rows(t.stock_document_line, t.stock_document_line.c.document_id == document_id)
    assert {line.sku_id: (line.quantity, line.arrived, line.lost) for line in lines} == {mug: (4, 4, 0), tee: (5, 5, 0)}
    with pytest.raises(Conflict, match=r"^Transfer T-1 was closed on .* enter it as a count of the shelf\.$"):
        house.arrive(*here, {mug: 1}, OWNER)
    warehouse.sound()


def test_what_is_in_transit_serves_nobody_before_it_arrives(warehouse: Warehouse) -> None:
    shop, mug = warehouse.connect(), warehouse.sku("MUG", 5)
    warehouse.listing(shop, "mug", mug)
    document_id = send(warehouse, {mug: 5})
    warehouse.hear(shop, an_order(a_line(2)))
    assert warehouse.waiting(mug) == {"#100": 2}

    house.arrive(warehouse.database, warehouse.merchant, document_id, {mug: 3}, OWNER)

    assert (warehouse.waiting(mug), figures(warehouse, mug, "Barn")) == ({}, (3, 2, 0, 0, 2))
    warehouse.sound()


def test_what_never_arrives_is_lost_when_the_transfer_is_closed(warehouse: Warehouse) -> None:
    mug = warehouse.sku("MUG", 10)
    document_id = send(warehouse, {mug: 4})
    here = (warehouse.database, warehouse.merchant, document_id)
    house.arrive(*here, {mug: 3}, OWNER)

    house.close_transfer(*here, OWNER)

    assert figures(warehouse, mug, "Barn") == (3, 0, 0, 0, 0)
    line = warehouse.row(t.stock_document_line, t.stock_document_line.c.document_id == document_id)
    assert (line.quantity, line.arrived, line.lost) == (4, 3, 1)
    assert entries(warehouse, "T-1") == [("arrived", 3, -3), ("lost", 0, -1), ("sent", -4, 0), ("sent", 0, 4)]
    assert last_said(warehouse, "stock_lost") == "Transfer T-1 to Barn closed: 1 × MUG never arrived"
    with pytest.raises(Conflict, match="was closed on"):
        house.close_transfer(*here, OWNER)
    warehouse.sound()


def test_only_units_that_nobody_holds_are_sent(warehouse: Warehouse) -> None:
    shop, mug, tee = warehouse.connect(), warehouse.sku("MUG", 10), warehouse.sku("TEE", 1)
    warehouse.listing(shop, "mug", mug)
    warehouse.hear(shop, an_order(a_line(4)))
    put(warehouse, house.set_aside, mug, 2)
    put(warehouse, house.set_aside, mug, 1, Condition.QUARANTINED, "A-2")
    before = warehouse.digest(*EVERYTHING)

    with pytest.raises(BadInput) as refused:
        send(warehouse, {mug: 4, tee: 1})

    assert str(refused.value) == (
        "4 of MUG cannot be sent: of 10 at Main warehouse, 4 reserved for orders and 1 in quarantine and 2 damaged, "
        "3 may be. Send at most 3."
    )
    assert list(refused.value.fields) == [str(mug)]
    assert warehouse.digest(*EVERYTHING) == before

    send(warehouse, {mug: 3, tee: 1})
    with pytest.raises(BadInput, match=r"of 0 at Main warehouse, none may be\.$"):
        send(warehouse, {tee: 1}, "T-2")
    warehouse.sound()


def test_more_than_was_sent_cannot_arrive(warehouse: Warehouse) -> None:
    mug, tee = warehouse.sku("MUG", 10), warehouse.sku("TEE", 10)
    document_id = send(warehouse, {mug: 4})
    here = (warehouse.database, warehouse.merchant, document_id)
    before = warehouse.digest(*EVERYTHING)

    with pytest.raises(BadInput) as refused:
        house.arrive(*here, {mug: 5}, OWNER)
    assert str(refused.value) == (
        "5 of MUG cannot arrive: 4 of MUG are still in transit with T-1. Enter what was sent; if more is there, "
        "count MUG at Barn afterwards."
    )
    with pytest.raises(BadInput, match="1 of TEE cannot arrive: no TEE is still in transit"):
        house.arrive(*here, {mug: 4, tee: 1}, OWNER)
    assert warehouse.digest(*EVERYTHING) == before
    assert figures(warehouse, mug, "Barn") == (0, 0, 0, 0, 4)


def test_what_is_no_transfer_neither_arrives_nor_is_closed(warehouse: Warehouse) -> None:
    mug = warehouse.sku("MUG", 1)
    receive(warehouse, {mug: 1}, "T-1")
    before = warehouse.digest(*EVERYTHING)

    for document_id in (paper(warehouse, "T-1").id, new_id()):
        here = (warehouse.database, warehouse.merchant, document_id)
        with pytest.raises(BadInput, match="This transfer does not exist"):
            house.arrive(*here, {mug: 1}, OWNER)
        with pytest.raises(BadInput, match="This transfer does not exist"):
            house.close_transfer(*here, OWNER)

    assert warehouse.digest(*EVERYTHING) == before


def test_a_transfer_to_itself_or_of_what_is_not_there_is_refused(warehouse: Warehouse) -> None:
    mug, tee, main = warehouse.sku("MUG", 10), warehouse.sku("TEE"), warehouse.location()
    before = warehouse.digest(*EVERYTHING)

    with pytest.raises(BadInput, match="needs two different locations") as refused:
        house.send(warehouse.database, warehouse.merchant, main, main, {mug: 1}, "T-1", OWNER)
    assert list(refused.value.fields) == ["to_location_id"]
    with pytest.raises(BadInput, match="TEE is not kept at Main warehouse"):
        send(warehouse, {tee: 1})

    assert warehouse.digest(*EVERYTHING) == before


# ---------------------------------------------------------------- damaged, and in quarantine


def test_what_is_set_aside_is_on_the_shelf_and_not_for_sale(warehouse: Warehouse) -> None:
    shop, mug = warehouse.connect(), warehouse.sku("MUG", 5)
    warehouse.listing(shop, "mug", mug)

    put(warehouse, house.set_aside, mug, 3)
    put(warehouse, house.set_aside, mug, 1, Condition.QUARANTINED, "A-2")
    warehouse.hear(shop, an_order(a_line(2)))

    assert (figures(warehouse, mug), warehouse.waiting(mug)) == ((5, 1, 1, 3, 0), {"#100": 1})
    assert last_said(warehouse, "stock_set_aside") == "1 × MUG at Main warehouse: put aside (quarantined: fell off)"

    put(warehouse, house.restore, mug, 1, Condition.QUARANTINED)
    assert (figures(warehouse, mug), warehouse.waiting(mug)) == ((5, 2, 0, 3, 0), {})
    put(warehouse, house.write_off, mug, 2)
    assert figures(warehouse, mug) == (3, 2, 0, 1, 0)
    assert {row.kind for row in warehouse.rows(t.stock_document)} == {"adjustment", "set_aside", "restore", "write_off"}
    warehouse.sound()


def test_reserved_units_that_break_send_the_last_of_the_queue_back_to_it(warehouse: Warehouse) -> None:
    shop, mug = warehouse.connect(), warehouse.sku("MUG", 5)
    warehouse.listing(shop, "mug", mug)
    for number in (1, 2):
        warehouse.hear(shop, an_order(a_line(2), id=str(number), number=f"#{number}", placed_at=minutes(number)))

    put(warehouse, house.set_aside, mug, 2)

    assert (figures(warehouse, mug), warehouse.waiting(mug)) == ((5, 3, 0, 2, 0), {"#2": 1})
    (told,) = warehouse.rows(t.activity, t.activity.c.kind == "reservation_lost")
    assert told.summary == (
        "Order #2 lost 1 unit that had been reserved for it, and waits for more (set aside A-1 at Main warehouse)"
    )
    assert told.order_id == warehouse.row(t.sales_order, t.sales_order.c.number == "#2").id
    warehouse.sound()


def test_no_more_is_set_aside_restored_or_written_off_than_there_is(warehouse: Warehouse) -> None:
    mug = warehouse.sku("MUG", 5)
    put(warehouse, house.set_aside, mug, 2)
    before = warehouse.digest(*EVERYTHING)

    for act, units, condition, sentence in (
        (
            house.set_aside,
            4,
            Condition.DAMAGED,
            "Only 3 of MUG at Main warehouse are not set aside yet. Enter at most 3",
        ),
        (house.restore, 3, Condition.DAMAGED, "Only 2 of MUG at Main warehouse are damaged. Enter at most 2"),
        (house.write_off, 1, Condition.QUARANTINED, "Only 0 of MUG at Main warehouse are quarantined. Enter at most 0"),
    ):
        with pytest.raises(BadInput, match=sentence):
            put(warehouse, act, mug, units, condition, "A-2")
    with pytest.raises(BadInput, match="either damaged or quarantined"):
        put(warehouse, house.set_aside, mug, 1, "lost", "A-2")
    with pytest.raises(BadInput, match="MUG is not kept at Barn"):
        barn = warehouse.location("Barn")
        house.set_aside(
            warehouse.database, warehouse.merchant, mug, barn, 1, Condition.DAMAGED, "fell off", OWNER, "A-2"
        )

    assert warehouse.digest(*EVERYTHING) == before


# ---------------------------------------------------------------- locations, safety stock


def test_safety_stock_is_hidden_from_channels_and_not_from_orders(warehouse: Warehouse) -> None:
    shop, mug = warehouse.connect(live=True), warehouse.sku("MUG", 5)
    warehouse.listing(shop, "mug", mug)
    warehouse.count(mug, 6)
    with warehouse.database.write() as connection:
        connection.execute(update(t.publication).values(published_version=t.publication.c.version))
    here = (warehouse.database, warehouse.merchant, mug, warehouse.location())

    assert house.set_safety_stock(*here, 4, OWNER) == {shop}

    assert warehouse.row(t.stock_level).safety_stock == 4
    row = warehouse.row(t.publication)
    assert (row.version - row.published_version, row.cause["cause"]) == (1, "safety_stock")
    assert last_said(warehouse, "safety_stock_set") == "MUG at Main warehouse: safety stock 0 → 4"
    warehouse.hear(shop, an_order(a_line(6)))
    assert warehouse.level(mug) == (6, 6)
    before = warehouse.digest(*EVERYTHING)
    assert house.set_safety_stock(*here, 4, OWNER) == set()
    with pytest.raises(BadInput, match="MUG was never counted at Barn"):
        house.set_safety_stock(*here[:3], warehouse.location("Barn"), 1, OWNER)
    assert warehouse.digest(*EVERYTHING) == before


def test_a_location_has_a_name_of_its_own(warehouse: Warehouse) -> None:
    here = (warehouse.database, warehouse.merchant, None)
    added = locations.save(*here, Location(name="  Barn "), OWNER)

    assert added == warehouse.location("Barn")
    with pytest.raises(Conflict, match="There is a location called “Barn” already"):
        locations.save(*here, Location(name="Barn"), OWNER)
    for name in ("", "  ", "x" * 201, "a\nb"):
        with pytest.raises(BadInput) as error:
            locations.save(*here, Location(name=name), OWNER)
        assert error.value.fields == {"name": ["Enter a name of 1 to 200 characters."]}
    assert len(warehouse.rows(t.location)) == 1
