"""The home page as it is counted, on SQLite and PostgreSQL: each count is the length of the list it leads to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update

from hub.core.model import Money
from hub.store import paces
from hub.store import tables as t
from hub.store.database import Database, new_id
from hub.store.queries import home, journal, orders, shipments, stock
from hub.store.queries.connections import Health
from hub.store.queries.home import Step
from hub.store.queries.orders import OrderFilter
from tests.web.shop_builder import Furnished, Shop, furnish, hub_on, open_shop


@pytest.fixture
def shop(database: Database, tmp_path: Path) -> Shop:
    return open_shop(hub_on(database, tmp_path))


@pytest.fixture
def things(shop: Shop) -> Furnished:
    furnish(open_shop(shop.hub, "Rival"))  # what must never be counted
    return furnish(shop)


# ---------------------------------------------------------------- first steps


def test_each_step_is_done_by_what_is_stored(database: Database, shop: Shop) -> None:
    def steps() -> home.FirstSteps:
        with database.read() as db:
            return home.first_steps(db, shop.merchant_id)

    furnish(open_shop(shop.hub, "Rival"))
    assert (steps().done, steps().next, steps().busy) == (frozenset(), Step.CONNECT, False)

    connection_id = shop.connection(state="new", live=False)
    assert (steps().next, steps().busy) == (Step.CONNECT, True)
    shop.write_to(t.connection, connection_id, state="connected")
    shop.write(t.cursor, connection_id=connection_id, stream="listings", due_at=shop.now)
    assert (steps().next, steps().busy) == (Step.MATCH, True)  # its products are being imported
    with database.write() as db:
        db.execute(update(t.cursor).values(polled_at=shop.now))
    removed = shop.connection("Gone", state="removed")
    shop.listing(removed, "R1")
    listing_id = shop.listing(connection_id, "L1")
    shop.listing(connection_id, "L2", tracked=False)
    half = steps()
    assert (half.next, half.unmatched, half.connection_id, half.busy) == (Step.MATCH, 1, connection_id, False)

    sku_id = shop.sku("TEA-1", counted=False)
    shop.write_to(t.listing, listing_id, sku_id=sku_id)
    shop.place(connection_id, None)
    assert steps().next is Step.LOCATIONS
    location_id = shop.location()
    with database.write() as db:
        db.execute(
            update(t.channel_location)
            .where(t.channel_location.c.connection_id == connection_id)
            .values(location_id=location_id)
        )
    assert steps().next is Step.LOCATIONS  # parcels would leave from nowhere
    shop.write_to(t.location, location_id, address={"line1": "1 High Street", "country": "GB"})
    assert steps().next is Step.STOCK

    shop.write_to(t.sku, sku_id, counted_since=shop.now)
    assert steps().next is Step.PREVIEW
    shop.task(connection_id, "preview", "done")
    assert steps().next is Step.LIVE
    shop.write_to(t.connection, connection_id, live_at=shop.now)
    assert steps().next is Step.ORDER

    order_id = shop.order(connection_id, "1001", imported_at=shop.now)
    shop.order(connection_id, "1002")
    last = steps()
    assert last.complete
    assert last.first_order is not None
    assert (last.first_order.id, last.first_order.number) == (order_id, "1001")
    assert last.first_order.since_set_up == timedelta(days=3)

    shop.listing(connection_id, "L3")
    assert (steps().complete, steps().unmatched) == (True, 1), "what is new later waits in the queue"


# ---------------------------------------------------------------- what needs a person, and what is late


def test_issues_are_counted_by_kind_and_the_oldest_says_what_to_do(
    database: Database, shop: Shop, things: Furnished
) -> None:
    shop.issue("Another token", opened_at=shop.ago(days=2), next_step="Do this first.")
    shop.issue("A third", opened_at=shop.ago(hours=1))
    shop.issue("Odd", kind="stock_drift")
    shop.issue("Long gone", kind="stock_drift", resolved_at=shop.now)
    with database.read() as db:
        kinds = home.issue_kinds(db, shop.merchant_id)
        listed = {each.kind: len(journal.issues(db, shop.merchant_id, kind=each.kind)) for each in kinds}
        around = home.surroundings(db, shop.merchant_id)

    assert [(each.kind, each.count) for each in kinds] == [("reconnect", 3), ("stock_drift", 1)]
    assert (kinds[0].title, kinds[0].next_step, kinds[0].oldest_at) == (
        "Another token",
        "Do this first.",
        shop.ago(days=2),
    )
    assert listed == {each.kind: each.count for each in kinds}
    assert (around.open_issues, around.settled_in, around.sandbox) == (4, False, None)


def test_what_waits_is_as_many_as_the_list_it_leads_to_has(database: Database, shop: Shop, things: Furnished) -> None:
    place, shop_id = things.location_id, things.connection_id

    def asked(number: str, **more: Any) -> None:
        order_id = shop.order(shop_id, number)
        shop.to_ship(order_id, place, {}, f"R-{number}", **more)

    asked("late", ship_by=shop.ago(hours=3))
    asked("later", ship_by=shop.ago(hours=1))
    asked("left", ship_by=shop.ago(hours=1), state="shipped", closed_at=shop.now)
    asked("soon", ship_by=shop.ago(hours=-2))
    asked("some day", ship_by=shop.ago(hours=-30))
    asked("silent", state="requested", requested_at=shop.ago(hours=25))
    asked("fresh", state="requested", requested_at=shop.ago(hours=2))
    twice = shop.order(shop_id, "in two parts")
    for number in (1, 2):
        shop.to_ship(twice, place, {}, f"T-{number}", number=number, ship_by=shop.ago(hours=2))
    shop.order(shop_id, "promised", promised_at=shop.ago(days=1))
    shop.order(shop_id, "kept", promised_at=shop.ago(days=1), status="fulfilled")
    shop.order(shop_id, "coming back", returns_open=True)
    held = shop.order(shop_id, "held by us")
    shop.write(t.order_hold, id=new_id(), order_id=held, reason="manual", placed_at=shop.ago(hours=1))
    let_go = shop.order(shop_id, "let go")
    shop.write(t.order_hold, id=new_id(), order_id=let_go, reason="manual", placed_at=shop.now, released_at=shop.now)
    labelled = shop.order(shop_id, "labelled")
    line_id = shop.line(labelled, "1", things.sku_id)
    work_id = shop.to_ship(labelled, place, {line_id: 2}, "R-labelled", state="packed")
    shop.shipment(labelled, work_id, line_id, "labelled", labelled_at=shop.ago(hours=5))

    with database.read() as db:
        waiting = home.waiting(db, shop.merchant_id, shop.now)
        listed = {
            mark: len(orders.orders(db, shop.merchant_id, OrderFilter(marked=mark)))
            for mark in ("late", "due", "overdue", "unanswered", "on_hold", "returns")
        }
        listed["waiting"] = len(orders.orders(db, shop.merchant_id, OrderFilter(waiting=True)))
        listed["labelled"] = len(shipments.shipments(db, shop.merchant_id, show="labelled"))

    assert {name: each.count for name, each in waiting.items()} == listed
    assert listed | {"labelled": 1} == {
        "late": 3,
        "due": 1,
        "overdue": 1,
        "unanswered": 1,
        "on_hold": 2,
        "returns": 1,
        "waiting": 1,
        "labelled": 1,
    }
    assert waiting["late"].since == shop.ago(hours=3)
    assert waiting["unanswered"].since == shop.ago(hours=25)


def test_the_bench_knows_what_is_to_be_packed_and_when_the_van_comes(database: Database, shop: Shop) -> None:
    now = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
    connection_id = shop.connection()

    def place(name: str, **more: Any) -> UUID:
        location_id = shop.location(name)
        shop.write_to(t.location, location_id, **more)
        return location_id

    near = place("Near", cut_off="14:00", time_zone="Europe/Berlin")  # an hour from now
    far = place("Far", cut_off="18:00", time_zone="Europe/London")
    past = place("Past", cut_off="11:00", time_zone="")
    theirs = place("Theirs", kind="3pl", cut_off="13:00")
    for number, (where, state) in enumerate(
        [(near, "open"), (near, "open"), (near, "packed"), (far, "open"), (past, "ready"), (theirs, "requested")]
    ):
        shop.to_ship(shop.order(connection_id, str(number)), where, {}, f"R{number}", state=state)
    with database.read() as db:
        benches = home.benches(db, shop.merchant_id, now)

    assert [(each.name, each.to_pack, each.packed, each.to_collect, each.cut_off_at) for each in benches] == [
        ("Near", 2, 1, 0, now + timedelta(hours=1)),
        ("Far", 1, 0, 0, None),
        ("Past", 0, 0, 1, None),
    ]


# ---------------------------------------------------------------- through the day


def test_a_day_is_the_reader_s_and_stands_beside_the_same_weekday(database: Database, shop: Shop) -> None:
    now = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
    zone = ZoneInfo("America/New_York")  # 4:30 there: the day began at 5:00 UTC
    begins = datetime(2026, 3, 2, 5, 0, tzinfo=UTC)
    week = timedelta(days=7)
    shop_id = shop.connection()
    sold: list[tuple[datetime, dict[str, Any]]] = [
        (begins - timedelta(seconds=1), {}),  # yesterday
        (begins, {}),
        (begins + timedelta(hours=4), {"currency": "USD", "total_minor": 1000}),
        (begins + timedelta(hours=4), {"status": "removed"}),
        (begins - week + timedelta(hours=4), {"total_minor": 500}),
        (begins - week + timedelta(hours=20), {"total_minor": 70_000}),  # later than it is now
        (begins - week - timedelta(seconds=1), {}),
    ]
    for number, (at, more) in enumerate(sold):
        shop.order(shop_id, str(number), placed_at=at, **more)
    order_id = shop.order(shop_id, "sent", placed_at=begins - timedelta(days=2))
    work_id = shop.to_ship(order_id, shop.location(), {}, "R")
    line_id = shop.line(order_id, "1")
    shop.shipment(order_id, work_id, line_id, "shipped", shipped_at=begins + timedelta(hours=1))
    shop.shipment(order_id, work_id, line_id, "void", shipped_at=begins + timedelta(hours=1))

    with database.read() as db:
        day = home.day(db, shop.merchant_id, now, zone)

    assert (day.begins, day.hours) == (begins, 5)
    assert day.orders == (1, 0, 0, 0, 1, *[0] * 19)
    assert day.orders_before == (0, 0, 0, 0, 1, *[0] * 15, 1, 0, 0, 0)
    assert day.shipments == (0, 1, *[0] * 22)
    assert day.money == (
        (Money.of("28.90", "EUR"), Money.of("5.00", "EUR")),
        (Money.of("10.00", "USD"), Money.of(0, "USD")),
    )


# ---------------------------------------------------------------- stock and connections


def test_what_runs_out_goes_by_the_orders_of_four_weeks(database: Database, shop: Shop, things: Furnished) -> None:
    place, shop_id = things.location_id, things.connection_id
    slow, short, kit_part = shop.sku("SLOW"), shop.sku("SHORT"), shop.sku("PART")
    kit = shop.kit("KIT", {kit_part: 3})
    for sku_id, on_hand in ((slow, 400), (short, 8), (kit_part, 6)):
        shop.level(sku_id, place, on_hand=on_hand)

    def sold(number: str, sku_id: UUID, quantity: int, **more: Any) -> UUID:
        order_id = shop.order(shop_id, number, **more)
        return shop.line(order_id, "1", sku_id, quantity=quantity)

    sold("a", slow, 28)
    sold("b", short, 28)
    sold("long ago", short, 1000, placed_at=shop.ago(days=29))
    sold("not at all", short, 1000, status="cancelled")
    sold("by them", short, 1000, shipped_by_channel=True)
    shop.write(t.order_line_part, order_line_id=sold("c", kit, 28), sku_id=kit_part, quantity=3)

    with database.write() as db:
        paces.reckon_for(db, shop.merchant_id, shop.now)
    with database.read() as db:
        shelves = home.shelves(db, shop.merchant_id)
        listed = stock.stock(db, shop.merchant_id, show="running_out")

    assert [(each.code, each.sold, each.available, each.days_left) for each in shelves.first] == [
        ("PART", 84, 6, 2),
        ("SHORT", 28, 8, 8),
    ]
    assert shelves.count == len(listed) == 2
    assert {each.code for each in listed} == {"PART", "SHORT"}
    assert shelves.at == shop.now


def test_paces_are_worked_out_anew_for_everybody(database: Database, shop: Shop, things: Furnished) -> None:
    for _ in range(2):
        paces.reckon(database)
    with database.read() as db:
        rows = db.execute(t.sku_pace.select()).all()
    assert [(row.merchant_id == shop.merchant_id, row.sold, row.available, row.days_left) for row in rows] in (
        [(True, 4, 10, 70), (False, 4, 10, 70)],
        [(False, 4, 10, 70), (True, 4, 10, 70)],
    )


def test_a_connection_tells_what_waits_and_since_when(database: Database, shop: Shop, things: Furnished) -> None:
    figure = shop.listing(things.connection_id, "L9", things.sku_id)
    shop.publication(figure, things.connection_id, 4, version=3, dirty_since=shop.ago(seconds=7))
    asleep = shop.listing(things.other_connection_id, "L8", things.sku_id)
    shop.publication(asleep, things.other_connection_id, 4, version=3, dirty_since=shop.ago(days=1))
    shop.record(things.connection_id, "pending", received_at=shop.ago(seconds=20))
    with database.read() as db:
        pulses = home.pulses(db, shop.merchant_id, shop.now)

    assert [(each.label, each.health, each.to_read, each.to_write, each.since) for each in pulses[:3]] == [
        ("Tea Street", Health.LIVE, 1, 1, shop.ago(seconds=20)),
        ("Market Hall", Health.PREPARING, 0, 0, None),
        ("Pier 7", Health.NEW, 0, 0, None),
    ]
