"""Click and collect: put aside, told once, handed out once, by a code that is easy to read."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from hub.core.model import Address, HoldReason
from hub.errors import BadInput, Conflict
from hub.store import collecting, handling, holds
from hub.store import tables as t
from tests.core.making import a_line
from tests.store.bench import Bench, to_ship
from tests.store.warehouse import OWNER, Warehouse


@pytest.fixture
def bench(warehouse: Warehouse) -> Bench:
    """Two mugs that Ann fetches at the main warehouse."""
    shop = warehouse.connect()
    warehouse.listing(shop, "mug", warehouse.sku("MUG-1", 5))
    nobody = Address()
    order = to_ship(a_line(2, title="Mug"), shipping_address=nobody, customer_name="Ann", email="ann@example.com")
    with warehouse.database.write() as connection:
        place = {"line1": "1 Dock", "city": "Leeds", "postcode": "LS1 1AA", "country": "GB"}
        connection.execute(update(t.location).values(collects=True, address=place))
    warehouse.hear(shop, order)
    handling.collect_at(
        warehouse.database, warehouse.merchant, warehouse.row(t.sales_order).id, warehouse.location(), OWNER
    )
    return Bench(warehouse, collect=True)


def put_aside(bench: Bench) -> Any:
    bench.scan("MUG-1")
    bench.scan("MUG-1")
    bench.finish()
    return bench.row


def find(bench: Bench, code: str) -> UUID | None:
    with bench.warehouse.database.read() as connection:
        return collecting.find(connection, bench.merchant, code)


def hand_out(bench: Bench) -> list[tuple[UUID, str]]:
    return collecting.hand_out(bench.warehouse.database, bench.merchant, bench.id, OWNER)


def test_an_order_that_is_fetched_needs_no_address_no_weight_and_no_carrier(bench: Bench) -> None:
    assert bench.warehouse.rows(t.order_hold, t.order_hold.c.released_at.is_(None)) == []

    row = put_aside(bench)

    assert (row.state, bool(re.fullmatch(r"[A-HJ-NP-Z2-9]{8}", row.collection_code))) == ("ready", True)
    assert bench.warehouse.row(t.shipment).rates_wanted_at is None
    assert bench.warehouse.level(bench.warehouse.row(t.sku).id) == (5, 2), "it is still here"


def test_the_customer_is_told_where_and_with_which_code(bench: Bench) -> None:
    row = put_aside(bench)

    told = bench.warehouse.row(t.email)
    assert (told.recipient, told.state, told.occasion) == ("ann@example.com", "waiting", f"ready/{bench.id}")
    assert told.subject == "Your order #100 is ready to be collected"
    for said in ("Hello Ann,", "Main warehouse\n1 Dock\nLS1 1AA Leeds", row.collection_code, "Corner Shop"):
        assert said in told.body, said
    assert (told.qr, row.collection_code in told.html) == (row.collection_code, True)


def test_the_code_hands_it_out_and_stock_leaves_and_the_channel_is_told_without_tracking(bench: Bench) -> None:
    code = put_aside(bench).collection_code
    assert find(bench, f" {code[:4].lower()}-{code[4:]} ") == bench.id
    assert find(bench, "") is None and find(bench, "WRONG234") is None

    lanes = hand_out(bench)

    warehouse = bench.warehouse
    assert (bench.state, warehouse.level(warehouse.row(t.sku).id)) == ("collected", (3, 0))
    confirmation = warehouse.row(t.effect, t.effect.c.kind == "confirm_shipment").request
    assert confirmation["lines"] == [{"line_external_id": "1", "quantity": 2}]
    assert confirmation.get("tracking_numbers", []) == [] and confirmation.get("carrier", "") == ""
    assert (warehouse.row(t.connection).id, "effects") in lanes
    line = warehouse.row(t.activity, t.activity.c.kind == "collected")
    assert line.actor == OWNER


def test_it_is_handed_out_once(bench: Bench) -> None:
    put_aside(bench)
    hand_out(bench)

    with pytest.raises(Conflict, match="was handed out already"):
        hand_out(bench)

    assert bench.warehouse.level(bench.warehouse.row(t.sku).id) == (3, 0)


def test_what_is_not_ready_on_hold_or_cancelled_is_not_handed_out(bench: Bench) -> None:
    with pytest.raises(Conflict, match="is not ready to be handed out"):
        hand_out(bench)
    put_aside(bench)
    database, merchant = bench.warehouse.database, bench.merchant
    holds.hold_order(database, merchant, bench.order_id, HoldReason.FRAUD, "Odd", OWNER)
    with pytest.raises(Conflict, match="is on hold"):
        hand_out(bench)
    hold = bench.warehouse.row(t.order_hold, t.order_hold.c.reason == "fraud")
    holds.release(database, merchant, bench.order_id, hold.id, OWNER)

    hand_out(bench)

    assert bench.state == "collected"


def test_only_the_whole_is_put_aside(bench: Bench) -> None:
    bench.scan("MUG-1")

    with pytest.raises(BadInput, match="1 unit is not packed yet"):
        bench.finish(rest_later=True)

    assert bench.state == "open"


def test_only_a_location_that_hands_out_can_be_chosen_and_not_while_one_has_it_in_hand(bench: Bench) -> None:
    warehouse, database, merchant = bench.warehouse, bench.warehouse.database, bench.merchant
    barn = warehouse.location("Barn")

    with pytest.raises(BadInput, match="Nothing is fetched there"):
        handling.collect_at(database, merchant, bench.order_id, barn, OWNER)
    with pytest.raises(Conflict, match="in hand already"):
        handling.collect_at(database, merchant, bench.order_id, None, OWNER)
    with database.write() as connection:
        connection.execute(update(t.fulfillment_order).values(state="cancelled", closed_at=database.now(connection)))
    handling.collect_at(database, merchant, bench.order_id, None, OWNER)

    assert warehouse.row(t.sales_order).collect_at is None
    assert [row.reason for row in warehouse.rows(t.order_hold, t.order_hold.c.released_at.is_(None))] == ["address"]
