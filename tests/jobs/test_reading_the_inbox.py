"""The inbox lane: stored records take effect once, in order of receipt, and a bad one is set aside alone."""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from hub import jobs
from hub.children import Child
from hub.core.model import ListingLevel
from hub.jobs import inbox_lane
from hub.store import inbox, orders
from hub.store import tables as t
from hub.store.database import Database, DatabaseAway
from hub.store.stock import StockMoved
from tests.jobs.fake_shop import Shop, connect, open_shop, send
from tests.town import Town

BUSINESS = (t.sales_order, t.order_line, t.refund, t.stock_level, t.stock_entry, t.allocation, t.backorder)


def read(town: Town, connection_id: Any) -> None:
    """Drain the inbox lane, and nothing else."""
    jobs.drain(town.hub, town.merchant, connection_id, "inbox", budget_seconds=60.0)


def states(town: Town) -> list[str]:
    """What became of the webhooks, in order of receipt."""
    rows = town.rows(t.inbox, t.inbox.c.source == "webhook")
    return [row.state for row in sorted(rows, key=lambda row: (row.received_at, row.id))]


# ---------------------------------------------------------------- once


def test_webhooks_and_polls_of_one_order_make_one_order(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    order = shop.buy("mug", 3)

    for _ in range(2):
        send(hub_town, place, "order", order)
    hub_town.poll(place)
    send(hub_town, place, "order", order)
    hub_town.poll(place)

    assert hub_town.count(t.sales_order) == 1
    assert hub_town.stock() == {"MUG": (10, 3)}
    assert shop.stock == {"mug": 7}
    assert [row.kind for row in hub_town.rows(t.activity)].count("order_imported") == 1
    hub_town.sound()


def test_fifty_deliveries_at_once_make_one_order(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    order = shop.buy("mug", 3)

    def deliver() -> None:
        for _ in range(5):
            send(hub_town, place, "order", order)
            read(hub_town, place)

    senders = [threading.Thread(target=deliver) for _ in range(10)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    hub_town.work()

    assert (hub_town.count(t.sales_order), hub_town.stock()) == (1, {"MUG": (10, 3)})
    assert [row.kind for row in hub_town.rows(t.activity)].count("order_imported") == 1
    hub_town.sound()


def test_one_order_id_in_two_shops_is_two_orders(hub_town: Town) -> None:
    shops = [Shop(stock={"mug": 10}), Shop(stock={"mug": 10})]
    places = [open_shop(hub_town, shop, adopt=index == 0) for index, shop in enumerate(shops)]
    orders_placed = [shop.buy("mug", 2) for shop in shops]
    assert orders_placed[0]["id"] == orders_placed[1]["id"]

    for place in places:
        hub_town.poll(place)

    assert {row.connection_id for row in hub_town.rows(t.sales_order)} == set(places)
    assert hub_town.stock() == {"MUG": (10, 4)}
    assert [shop.stock for shop in shops] == [{"mug": 6}, {"mug": 6}]


def test_a_record_that_says_nothing_of_interest_is_ignored(hub_town: Town) -> None:
    place = connect(hub_town, Shop())

    send(hub_town, place, "newsletter", {"id": 1})
    hub_town.work()

    assert states(hub_town) == ["ignored"]
    assert hub_town.issues() == []


# ---------------------------------------------------------------- poison


@pytest.mark.parametrize(
    ("body", "fault", "reason"),
    [
        (b"\xff not json", None, "This is no JSON."),
        ({"do": "harm"}, ValueError("Surprise."), "The connector failed on this record: ValueError: Surprise."),
        ({"do": "harm"}, SystemExit(3), "The connector failed on this record: SystemExit: 3"),
        ({"do": "harm"}, RecursionError("too deep"), "The connector failed on this record: RecursionError: too deep"),
        ([], None, "The connector failed on this record: TypeError"),
    ],
    ids=["unreadable", "raises", "exits", "recurses", "of another shape"],
)
def test_a_bad_record_is_set_aside_alone_with_its_bytes(
    hub_town: Town, body: Any, fault: BaseException | None, reason: str
) -> None:
    shop = Shop(stock={"mug": 100})
    place = open_shop(hub_town, shop)
    if fault:
        shop.fail("harm", fault)
    before, after = shop.buy("mug"), shop.buy("mug")

    send(hub_town, place, "order", before)
    send(hub_town, place, "order", body)
    send(hub_town, place, "order", after)
    hub_town.work()

    bad = hub_town.row(t.inbox, t.inbox.c.state == "quarantined")
    assert bad.error.startswith(reason)
    assert {row.external_id for row in hub_town.rows(t.sales_order)} == {before["id"], after["id"]}
    assert hub_town.stock() == {"MUG": (100, 2)}
    assert hub_town.issues() == [inbox.QUARANTINE]
    assert hub_town.count(t.inbox_body, t.inbox_body.c.inbox_id == bad.id) == 1
    hub_town.sound()


@pytest.mark.parametrize("fact", [None, "an order", ListingLevel(location_external_id="", available=1)])
def test_what_is_no_fact_of_the_hub_is_set_aside(hub_town: Town, fact: Any) -> None:
    shop = Shop()
    place = connect(hub_town, shop)
    shop_connector = hub_town.hub.registry.connector("plain")
    original = shop_connector.read_webhook  # type: ignore[attr-defined]
    try:
        shop_connector.read_webhook = lambda self, record: [fact]  # type: ignore[attr-defined]
        send(hub_town, place, "odd", {})
        hub_town.work()
    finally:
        shop_connector.read_webhook = original  # type: ignore[attr-defined]

    assert "not a fact of the hub" in hub_town.row(t.inbox).error


def test_records_set_aside_are_read_again_after_an_update(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    order = shop.buy("mug", 3)
    shop.fail("trip", ValueError("A field nobody knew."), ValueError("Still not."))
    send(hub_town, place, "order", order | {"do": "trip"})
    hub_town.work()
    assert (hub_town.issues(), hub_town.count(t.sales_order)) == ([inbox.QUARANTINE], 0)

    inbox.release_quarantined(hub_town.hub.database, hub_town.merchant, place)
    hub_town.work()
    assert (hub_town.issues(), hub_town.count(t.sales_order)) == ([inbox.QUARANTINE], 0)

    inbox.release_quarantined(hub_town.hub.database, hub_town.merchant, place)
    hub_town.work()
    assert (hub_town.issues(), hub_town.stock()) == ([], {"MUG": (10, 3)})
    assert states(hub_town)[-1] == "done"


def test_a_batch_is_taken_apart_when_one_order_cannot_be_written(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 100})
    place = open_shop(hub_town, shop)
    placed = [shop.buy("mug") for _ in range(8)]
    for order in placed:
        # More than any column holds, which shows only when it is written.
        lines = [line | {"quantity": 2**70} for line in order["lines"]] if order is placed[4] else order["lines"]
        send(hub_town, place, "order", order | {"lines": lines})

    read(hub_town, place)

    assert hub_town.count(t.sales_order) == 7
    assert hub_town.stock() == {"MUG": (100, 7)}
    assert sorted(states(hub_town)).count("quarantined") == 1
    assert [row.kind for row in hub_town.rows(t.activity)].count("order_imported") == 7
    hub_town.sound()


# ---------------------------------------------------------------- crashes


def hang_until_the_time_is_up() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.05)  # which is soon
    time.sleep(60)


def die_while_reading(town: Town, place: Any) -> str:
    """Drain the inbox in a child, as a worker does; returns how the child ended."""
    database = town.hub.database
    database.close()

    def live() -> None:
        database.forget_connections()
        faulthandler.disable()  # what kills it is no news
        read(town, place)

    child = Child(live, 60.0)
    while (ended := child.ended()) is None:
        time.sleep(0.01)
    database.release_dead()
    return ended.reason


@pytest.mark.parametrize(
    ("fault", "ending"),
    [(os.abort, "killed by SIGABRT"), (hang_until_the_time_is_up, "it took longer than 60 seconds")],
    ids=["aborts", "hangs"],
)
def test_a_record_that_ends_its_worker_is_set_aside_after_some_tries_and_others_go_on(
    hub_town: Town, fault: Any, ending: str
) -> None:
    shop = Shop(stock={"mug": 100})
    place = open_shop(hub_town, shop)
    shop.fail("abort", *[fault] * 50)
    placed = [shop.buy("mug") for _ in range(6)]
    for number, order in enumerate(placed):
        send(hub_town, place, "order", order | ({"do": "abort"} if number == 3 else {}))

    ends = []
    while ("inbox" in [lane for *_, lane in jobs.due(hub_town.hub)]) and len(ends) < 10:
        ends.append(die_while_reading(hub_town, place))

    assert ends == [ending] * inbox.MOST_CRASHES + [""]
    assert states(hub_town) == ["done"] * 3 + ["quarantined"] + ["done"] * 2
    assert hub_town.stock() == {"MUG": (100, 5)}
    assert "broke the worker down again and again" in hub_town.row(t.inbox, t.inbox.c.state == "quarantined").error
    hub_town.sound()


@pytest.mark.parametrize("moment", ["after the claim", "before the commit", "after the commit"])
def test_a_worker_killed_at_any_moment_loses_and_doubles_nothing(
    hub_town: Town, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    shop = Shop(stock={"mug": 100})
    place = open_shop(hub_town, shop)
    for _ in range(5):
        send(hub_town, place, "order", shop.buy("mug"))

    def killed(*_args: Any, **_more: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    original = orders.apply

    with monkeypatch.context() as patched:
        if moment == "after the claim":
            patched.setattr(inbox_lane, "_apply", killed)
        elif moment == "before the commit":
            patched.setattr(inbox, "finish", killed)
        else:
            patched.setattr(type(hub_town.hub.doorbell), "ring", killed)
        reason = die_while_reading(hub_town, place)
    assert reason == "killed by SIGKILL"
    assert orders.apply is original

    hub_town.work()

    assert states(hub_town) == ["done"] * 5
    assert hub_town.stock() == {"MUG": (100, 5)}
    assert shop.stock == {"mug": 95}
    hub_town.sound()


def test_a_worker_that_lost_its_lease_writes_nothing(hub_town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(stock={"mug": 100})
    place = open_shop(hub_town, shop)
    send(hub_town, place, "order", shop.buy("mug", 4))
    original, overtaken = inbox_lane._read, []

    def slow(reader: Any, rows: Any) -> Any:
        if not overtaken:
            # While we read, our time runs out, and another worker takes over and does it all.
            overtaken.append(True)
            hub_town.let_pass(100)
            read(hub_town, place)
            assert hub_town.stock() == {"MUG": (100, 4)}
        return original(reader, rows)

    monkeypatch.setattr(inbox_lane, "_read", slow)
    read(hub_town, place)

    assert overtaken
    assert states(hub_town) == ["done"]
    assert hub_town.stock() == {"MUG": (100, 4)}
    assert [row.kind for row in hub_town.rows(t.activity)].count("order_imported") == 1


def test_records_are_not_blamed_for_a_database_that_is_away(hub_town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(stock={"mug": 100})
    place = open_shop(hub_town, shop)
    for _ in range(3):
        send(hub_town, place, "order", shop.buy("mug"))

    def away(*_args: Any, **_more: Any) -> Any:
        raise DatabaseAway("The database cannot be reached.")

    for _ in range(inbox.MOST_CRASHES + 2):
        with monkeypatch.context() as patched:
            patched.setattr(orders, "apply", away)
            with pytest.raises(DatabaseAway):
                read(hub_town, place)
        hub_town.let_pass(100)  # the lane stays taken for a while, so that it is not tried again at once
    assert {row.crash_count for row in hub_town.rows(t.inbox)} == {0}

    hub_town.work()
    assert states(hub_town) == ["done"] * 3
    assert hub_town.issues() == []


def test_records_are_not_blamed_for_others_being_faster(hub_town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(stock={"mug": 100})
    place = open_shop(hub_town, shop)
    send(hub_town, place, "order", shop.buy("mug"))

    def overtaken(*_args: Any) -> Any:
        raise StockMoved("The stock changed at the same moment, again and again.")

    with monkeypatch.context() as patched:
        patched.setattr(inbox_lane, "_apply_readings", overtaken)
        for _ in range(inbox.MOST_CRASHES + 2):
            read(hub_town, place)
    assert (states(hub_town), hub_town.issues()) == (["pending"], [])

    read(hub_town, place)
    assert hub_town.stock() == {"MUG": (100, 1)}


# ---------------------------------------------------------------- other facts


def test_listings_and_their_removal_take_effect_in_the_order_they_came(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = connect(hub_town, shop)

    send(hub_town, place, "gone", {"id": "mug"})
    hub_town.work()
    assert not hub_town.row(t.listing).active

    send(hub_town, place, "changed", {"kind": "listing", "id": "mug"})
    hub_town.work()
    assert hub_town.row(t.listing).active

    send(hub_town, place, "gone", {"id": "item of mug", "handle": "item"})
    hub_town.work()
    assert not hub_town.row(t.listing).active


def test_the_echo_of_our_own_write_is_dropped(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    hub_town.poll(place)
    before = hub_town.row(t.publication).version
    asked = len(shop.calls)

    for handle, id in (("", "mug"), ("item", "item of mug")):
        send(hub_town, place, "stock", {"id": id, "handle": handle, "available": 10})
        send(hub_town, place, "stock", {"id": "unknown", "handle": handle, "available": 3})
    hub_town.work()

    assert hub_town.row(t.publication).version == before
    assert len(shop.calls) == asked, "nobody was asked anything"


@pytest.mark.parametrize(("handle", "id"), [("", "mug"), ("item", "item of mug")])
def test_a_figure_somebody_changed_is_put_right(hub_town: Town, handle: str, id: str) -> None:
    shop = Shop(stock={"mug": 10, "tee": 5})
    place = open_shop(hub_town, shop)
    shop.stock["mug"] = 99

    send(hub_town, place, "stock", {"id": id, "handle": handle, "available": 99})
    hub_town.work()

    assert shop.stock == {"mug": 10, "tee": 5}
    entry = max(hub_town.rows(t.publication_entry), key=lambda row: row.at)
    assert (entry.before, entry.quantity, entry.cause["cause"]) == (99, 10, "seen")
    assert "The shop said 99; no order explained the difference." in entry.note


def test_of_many_figures_told_at_once_the_last_one_counts(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    hub_town.poll(place)
    before = hub_town.row(t.publication).version

    for figure in (8, 9, 10):
        send(hub_town, place, "stock", {"id": "mug", "available": figure})
    hub_town.work()

    assert hub_town.row(t.publication).version == before


def test_a_removed_order_gives_its_stock_back_and_is_asked_for(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    order = shop.buy("mug", 3)
    hub_town.poll(place)
    assert hub_town.stock() == {"MUG": (10, 3)}

    del shop.orders[order["id"]]
    send(hub_town, place, "order.deleted", {"id": order["id"]})
    hub_town.work()

    assert hub_town.stock() == {"MUG": (10, 0)}
    assert hub_town.row(t.sales_order).status == "removed"
    assert (shop.count("fetch_order"), hub_town.count(t.fetch_request)) == (1, 0)
    assert shop.stock == {"mug": 10}, "ours is the figure that counts"
    hub_town.sound()


def test_a_removal_that_was_none_is_taken_back(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    order = shop.buy("mug", 3)
    hub_town.poll(place)

    send(hub_town, place, "order.deleted", {"id": order["id"]})
    hub_town.work()

    assert (hub_town.stock(), hub_town.row(t.sales_order).status) == ({"MUG": (10, 3)}, "open")


def test_an_old_body_waits_for_nobody_and_changes_nothing(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    old = shop.buy("mug", 3)
    new = shop.cancel(old)

    send(hub_town, place, "order", new)
    send(hub_town, place, "order", old)
    hub_town.work()

    assert (hub_town.row(t.sales_order).status, hub_town.stock()) == ("cancelled", {"MUG": (10, 0)})
    assert hub_town.row(t.sales_order).version.isoformat() == new["version"]


def test_a_long_backlog_is_read_in_turns(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 1000})
    place = open_shop(hub_town, shop)
    for _ in range(250):
        send(hub_town, place, "order", shop.buy("mug"))

    assert jobs.drain(hub_town.hub, hub_town.merchant, place, "inbox", budget_seconds=0.0)
    assert "pending" in states(hub_town)

    hub_town.work()
    assert hub_town.stock() == {"MUG": (1000, 250)}
    hub_town.sound()


def test_a_lane_that_is_taken_is_left_to_whoever_has_it(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    send(hub_town, place, "order", shop.buy("mug"))
    lease = hub_town.hub.database.lease(f"inbox:{place}", 30)

    assert not jobs.drain(hub_town.hub, hub_town.merchant, place, "inbox", budget_seconds=60.0)
    assert (states(hub_town), [lane for *_, lane in jobs.due(hub_town.hub)]) == (["pending"], [])

    assert lease is not None
    hub_town.hub.database.release(lease)
    assert [lane for *_, lane in jobs.due(hub_town.hub)] == ["inbox"]


def test_a_paused_shop_is_still_listened_to(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    with hub_town.hub.database.write() as connection:
        connection.execute(update(t.connection).values(state="paused"))
    asked = len(shop.calls)

    send(hub_town, place, "order", shop.buy("mug", 2))
    hub_town.work()

    assert hub_town.stock() == {"MUG": (10, 2)}
    assert len(shop.calls) == asked


def test_bodies_are_forgotten_when_their_time_is_over(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    send(hub_town, place, "order", shop.buy("mug"))
    hub_town.work()
    with hub_town.hub.database.write() as connection:
        old = Database.now(connection) - timedelta(days=91)
        connection.execute(update(t.inbox_body).values(received_at=old))

    jobs.tidy(hub_town.hub)

    assert (hub_town.count(t.inbox_body), hub_town.count(t.sales_order)) == (0, 1)


def test_a_connector_may_have_its_bodies_forgotten_sooner(hub_town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    shop, other = Shop(stock={"mug": 10}), Shop(stock={"mug": 10})
    quick, slow = open_shop(hub_town, shop), open_shop(hub_town, other, adopt=False)
    for place, each in ((quick, shop), (slow, other)):
        send(hub_town, place, "order", each.buy("mug"))
    hub_town.work()
    with hub_town.hub.database.write() as connection:
        connection.execute(update(t.connection).where(t.connection.c.id == slow).values(connector="woocommerce"))
        old = Database.now(connection) - timedelta(days=31)
        connection.execute(update(t.inbox_body).values(received_at=old))
    monkeypatch.setattr(hub_town.hub.registry.connector("plain"), "raw_days", 30)

    jobs.tidy(hub_town.hub)

    kept = {row.inbox_id for row in hub_town.rows(t.inbox_body)}
    assert kept == {row.id for row in hub_town.rows(t.inbox, t.inbox.c.connection_id == slow)}
    assert kept
