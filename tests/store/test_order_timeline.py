"""The timeline of an order: every source in one order of time, in pages without a gap, on each kind of database."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, update

from hub.core.model import OrderStatus
from hub.core.shipping import CancelReason
from hub.store import calling_off
from hub.store import tables as t
from hub.store.calling_off import CancelWish
from hub.store.database import Database, new_id
from hub.store.queries import orders, routing, shipments, timeline
from hub.store.queries.timeline import KINDS, Event
from hub.store.secrets import KeyRing
from tests.store.post_office import Counter
from tests.store.warehouse import OWNER


@pytest.fixture
def counter(database: Database, keyring: KeyRing, merchant: UUID) -> Counter:
    return Counter(database, keyring, merchant)


def read(counter: Counter, order_id: UUID, **wanted: object) -> list[Event]:
    with counter.database.read() as connection:
        return timeline.timeline(connection, counter.merchant, order_id, **wanted)  # type: ignore[arg-type]


def pages(counter: Counter, order_id: UUID, limit: int, **wanted: object) -> list[Event]:
    found: list[Event] = []
    while True:
        more = read(counter, order_id, limit=limit, after=found[-1].mark if found else None, **wanted)
        if not more:
            return found
        found += more


def furnished(counter: Counter) -> UUID:
    """An order with something of every source."""
    order_id, _, shipment_id = counter.labelled()
    calling_off.cancel_order(
        counter.database,
        counter.merchant,
        order_id,
        CancelWish(reason=CancelReason.STOCK),
        once=uuid4(),
        actor=OWNER,
    )
    order = counter.row(t.sales_order, t.sales_order.c.id == order_id)
    with counter.database.write() as connection:
        at = counter.database.now(connection)
        here = {"merchant_id": counter.merchant}
        connection.execute(
            insert(t.inbox).values(
                **here,
                id=new_id(),
                connection_id=order.connection_id,
                source="webhook",
                topic="orders/create",
                external_id=order.external_id,
                dedupe_key="k",
                body_sha256="",
                headers={},
                received_at=at,
                state="done",
            )
        )
        changes = [{"part": "note", "before": "", "after": "Ring twice"}]
        connection.execute(
            insert(t.order_version).values(
                **here, order_id=order_id, revision=2, version=at, received_at=at, at=at, changes=changes
            )
        )
        connection.execute(
            insert(t.email).values(
                **here,
                id=new_id(),
                connection_id=order.connection_id,
                order_id=order_id,
                occasion="o",
                subject="Ready",
                state="sent",
                due_at=at,
                created_at=at,
            )
        )
        connection.execute(
            insert(t.tracking_event).values(
                **here,
                shipment_id=shipment_id,
                tracking_number="GB10",
                happened_at=at,
                status="in_transit",
                carrier_status="On its way",
                heard_at=at,
            )
        )
        connection.execute(
            insert(t.routing_decision).values(
                **here,
                id=new_id(),
                order_id=order_id,
                policy_number=0,
                cause="imported",
                inputs={},
                outcome={},
                summary="Leeds: the only one",
                at=at,
            )
        )
    return order_id


def test_every_source_is_in_it_and_every_kind_narrows_it(counter: Counter) -> None:
    order_id = furnished(counter)

    every = read(counter, order_id, limit=500)

    assert {each.source for each in every} == set(timeline.SOURCES)
    assert [each.at for each in every] == sorted((each.at for each in every), reverse=True)
    edit = next(each for each in every if each.source == "edit")
    assert edit.details == [{"part": "note", "before": "", "after": "Ring twice"}]
    stock = next(each for each in every if each.source == "stock")
    assert (stock.kind, stock.about, stock.details[1] > 0) == ("allocated", "MUG", True)
    assert not [each for each in every if each.source == "activity" and each.kind == "effect"]
    narrowed = {show: {each.source for each in read(counter, order_id, show=show, limit=500)} for show in KINDS}
    assert narrowed["channel"] == {"effect", "record", "edit"}
    assert narrowed["stock"] == {"stock"}
    assert narrowed["shipping"] >= {"routing", "tracking"} and "stock" not in narrowed["shipping"]
    assert "email" in narrowed["mail"]
    assert {each.actor for each in read(counter, order_id, show="people", limit=500)} == {OWNER}


@pytest.mark.parametrize("oldest_first", [False, True])
def test_pages_have_no_gap_and_nothing_twice_though_all_is_of_one_moment(counter: Counter, oldest_first: bool) -> None:
    order_id = furnished(counter)
    with counter.database.write() as connection:
        at = counter.database.now(connection) - timedelta(minutes=1)
        connection.execute(update(t.activity).values(at=at))
        connection.execute(update(t.effect).values(created_at=at))
        connection.execute(update(t.email).values(created_at=at))
    whole = read(counter, order_id, limit=500, oldest_first=oldest_first)

    for limit in (1, 2, 7):
        assert pages(counter, order_id, limit, oldest_first=oldest_first) == whole


def test_an_order_of_another_merchant_has_none(counter: Counter) -> None:
    order_id = furnished(counter)
    with counter.database.read() as connection:
        assert timeline.timeline(connection, uuid4(), order_id) == []
        assert timeline.others(connection, uuid4(), order_id, "ada@example.test", 5) == []


def test_what_a_customer_ordered_elsewhere_comes_newest_first(counter: Counter) -> None:
    ids = [counter.packed()[0] for _ in range(3)]
    with counter.database.write() as connection:
        connection.execute(update(t.sales_order).values(email="ada@example.test"))

    with counter.database.read() as connection:
        found = timeline.others(connection, counter.merchant, ids[0], "ada@example.test", 5)
        assert timeline.others(connection, counter.merchant, ids[0], "", 5) == ()

    assert {each.id for each in found} == set(ids[1:])
    assert [each.placed_at for each in found] == sorted((each.placed_at for each in found), reverse=True)


def test_the_rest_of_the_page_is_read_the_same_on_each_database(counter: Counter) -> None:
    order_id, work_id, _ = counter.labelled()
    with counter.database.read() as connection:
        found = orders.order(connection, counter.merchant, order_id)
        head = orders.head(connection, counter.merchant, order_id)
        works = shipments.of_order(connection, counter.merchant, order_id)
        assert found is not None and head is not None
        dealt = routing.of_order(connection, counter.merchant, order_id, found.connection_id)

    assert (found.status, head.number) == (OrderStatus.OPEN, found.number)
    assert [sum(each.units for each in line.allocations) for line in found.lines] == [
        line.allocated for line in found.lines
    ]
    assert [(work.id, work.shipped, len(work.shipments)) for work in works] == [(work_id, 0, 1)]
    assert dealt.places and set(dealt.theirs) == {""}
