"""Keeping figures right with few calls: changes go out together, what is known is not asked, drift is put right."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import count
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from hub import jobs
from hub.connector import UNREAD, Capabilities, StockRef
from hub.core.selling import SellingRule
from hub.jobs import draining, inbox_lane, publish_lane
from hub.store import connections, inbox, kits, matching, selling
from hub.store import tables as t
from hub.store.database import Broken
from hub.store.selling import Scope
from tests.jobs.fake_shop import CarefulChannel, FakeChannel, Shop, connect, open_shop, send
from tests.town import OWNER, Town

BOTH_KINDS = pytest.mark.parametrize("channel", [FakeChannel, CarefulChannel], ids=["plain", "compare-and-set"])


def count_stock(town: Town, code: str, on_hand: int) -> None:
    """A person sets what is on hand."""
    town.count_stock(code, on_hand)


def publish(town: Town, place: UUID) -> None:
    """Drain the publish lane, and nothing else."""
    jobs.drain(town.hub, town.merchant, place, "publish", budget_seconds=60.0)


def read_inbox(town: Town, place: UUID) -> None:
    jobs.drain(town.hub, town.merchant, place, "inbox", budget_seconds=60.0)


def heard(town: Town) -> set[tuple[UUID, str]]:
    return set(town.hub.doorbell.heard)  # type: ignore[attr-defined]


# ---------------------------------------------------------------- gathered changes


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> type[FakeChannel]:
    """A channel whose changes are gathered for half a second."""
    gathering = Capabilities(push_batch=8, coalesce_seconds=0.5, compare_and_set=True)
    monkeypatch.setattr(CarefulChannel, "capabilities", gathering)
    return CarefulChannel


def test_changes_that_follow_the_first_go_out_in_one_write_however_many_there_are(
    hub_town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    gathering = Capabilities(push_batch=8, coalesce_seconds=5.0, compare_and_set=True)
    monkeypatch.setattr(CarefulChannel, "capabilities", gathering)
    shop = Shop(stock={"mug": 100})
    place = open_shop(hub_town, shop, CarefulChannel)
    count_stock(hub_town, "MUG", 90)
    began, seconds = time.monotonic(), count(1)
    passed = 0

    def changes_all_the_time(_seconds: float) -> None:
        nonlocal passed
        passed = next(seconds)  # each nap is a second
        count_stock(hub_town, "MUG", 90 - passed)

    with monkeypatch.context() as patched:
        clock = SimpleNamespace(monotonic=lambda: began + passed, sleep=changes_all_the_time)
        patched.setattr(publish_lane, "time", clock)
        publish(hub_town, place)

    assert passed > 0, "it waited in the drain, and was not left to the next sweep"
    assert passed <= 5, "five seconds from the first change, which the others do not put off"
    assert shop.writes == [("mug", 90 - passed)]
    assert hub_town.count(t.publication_entry) == 1


def test_what_has_waited_long_enough_goes_out_at_once(
    hub_town: Town, patient: type[FakeChannel], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop, patient)
    count_stock(hub_town, "MUG", 9)
    with hub_town.hub.database.write() as connection:
        earlier = hub_town.hub.database.now(connection) - timedelta(seconds=5)
        connection.execute(update(t.publication).values(dirty_since=earlier))
    naps: list[float] = []
    monkeypatch.setattr(publish_lane.time, "sleep", naps.append)

    publish(hub_town, place)

    assert (shop.writes, naps) == ([("mug", 9)], [])


def test_a_window_beyond_the_drains_time_is_left_to_the_next_one(hub_town: Town, patient: type[FakeChannel]) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop, patient)
    count_stock(hub_town, "MUG", 9)
    with hub_town.hub.database.write() as connection:
        ahead = hub_town.hub.database.now(connection) + timedelta(seconds=30)  # another machine's clock
        connection.execute(update(t.publication).values(dirty_since=ahead))
    hub_town.hub.doorbell.heard.clear()  # type: ignore[attr-defined]

    jobs.drain(hub_town.hub, hub_town.merchant, place, "publish", budget_seconds=0.2)
    assert (shop.writes, heard(hub_town)) == ([], {(place, "publish")})

    publish(hub_town, place)
    assert shop.writes == [("mug", 9)], "and never longer than the window"


def test_no_connector_can_put_its_figures_off_for_long(hub_town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish_lane, "_LONGEST_GATHERING", 0.1)
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop, CarefulChannel)
    monkeypatch.setattr(CarefulChannel, "capabilities", Capabilities(coalesce_seconds=1e9, compare_and_set=True))
    count_stock(hub_town, "MUG", 9)

    jobs.drain(hub_town.hub, hub_town.merchant, place, "publish", budget_seconds=60.0)

    assert shop.writes == [("mug", 9)]


# ---------------------------------------------------------------- what is known is not asked


@BOTH_KINDS
def test_a_change_that_changes_no_figure_asks_nobody(
    hub_town: Town, channel: type[FakeChannel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish_lane, "READ_BACK_SECONDS", 600.0)  # however long this takes, that is not yet due
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop, channel)
    limit_to(hub_town, place, 5)
    assert shop.stock == {"mug": 5}
    shop.calls.clear()
    before = hub_town.row(t.publication)

    count_stock(hub_town, "MUG", 9)
    hub_town.work()

    after = hub_town.row(t.publication)
    assert (shop.calls, after.version, after.published_version) == ([], before.version + 1, before.version + 1)
    assert (after.checked_at, after.verify_at) == (before.checked_at, before.verify_at), "it is read back as planned"


def limit_to(town: Town, place: UUID, maximum: int) -> None:
    selling.save_rule(town.hub.database, town.merchant, Scope(connection_id=place), SellingRule(maximum=maximum), OWNER)
    town.work()


@BOTH_KINDS
def test_a_sale_of_the_channels_own_is_only_expected_and_so_it_is_asked(
    hub_town: Town, channel: type[FakeChannel]
) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop, channel)
    send(hub_town, place, "order", shop.order([("mug", 3)]))  # the shop forgets to take it off

    hub_town.work()

    assert (hub_town.stock(), shop.stock) == ({"MUG": (10, 3)}, {"mug": 7})


@BOTH_KINDS
def test_a_figure_somebody_cast_a_doubt_on_is_asked_for(hub_town: Town, channel: type[FakeChannel]) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop, channel)
    limit_to(hub_town, place, 5)
    shop.stock["mug"] = 50
    send(hub_town, place, "stock", {"id": "mug", "available": 50})

    hub_town.work()

    assert shop.stock == {"mug": 5}


def test_what_was_known_too_long_ago_is_asked_for_again(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop, CarefulChannel)
    limit_to(hub_town, place, 5)
    with hub_town.hub.database.write() as connection:
        earlier = hub_town.hub.database.now(connection) - timedelta(minutes=61)
        connection.execute(update(t.publication).values(checked_at=earlier))
    shop.stock["mug"] = 50

    count_stock(hub_town, "MUG", 9)
    hub_town.work()

    assert shop.stock == {"mug": 5}


# ---------------------------------------------------------------- drift


def drift_issue(town: Town) -> Any:
    return town.row(t.issue, t.issue.c.kind == publish_lane.STOCK_DRIFT)


@BOTH_KINDS
def test_every_figure_is_read_back_in_time_and_what_drifted_is_told_and_put_right(
    hub_town: Town, channel: type[FakeChannel]
) -> None:
    shop = Shop(stock={"mug": 10, "tee": 5})
    open_shop(hub_town, shop, channel)
    left_at = next(row.published_at for row in hub_town.rows(t.publication) if row.quantity == 10)
    shop.stock["mug"] = 4
    hub_town.let_pass(44 * 60)
    hub_town.work()
    assert shop.stock["mug"] == 4, "not before its time"

    hub_town.let_pass(17 * 60)
    hub_town.work()

    assert shop.stock == {"mug": 10, "tee": 5}
    (entry,) = hub_town.rows(t.publication_entry)
    told = f"it was left at 10 on {left_at:%d %b, %H:%M:%S} UTC"
    assert entry.note.startswith(f"The shop said 4; no order explained the difference. Before that, {told}.")
    assert (entry.before, entry.quantity, entry.cause["cause"]) == (4, 10, "drift")
    issue = drift_issue(hub_town)
    found = entry.at
    assert issue.title == f"“Mug” said 4 on {issue.opened_at:%d %b, %H:%M:%S} UTC, and no order explains it; {told}"
    assert abs((issue.opened_at - found).total_seconds()) < 1
    assert issue.next_step.startswith("It is being put right.")
    assert issue.subject == f"{entry.listing_id}/"
    assert issue.resolved_at is None, "not before it was read back"

    hub_town.let_pass(6)
    hub_town.work()
    assert drift_issue(hub_town).resolved_at is not None
    assert hub_town.issues() == []


@BOTH_KINDS
def test_a_difference_that_an_order_explains_is_no_drift(hub_town: Town, channel: type[FakeChannel]) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop, channel)
    shop.buy("mug", 4)
    with hub_town.hub.database.write() as connection:
        connection.execute(update(t.publication).values(verify_at=hub_town.hub.database.now(connection)))

    publish(hub_town, place)

    assert (hub_town.stock(), shop.stock, shop.writes) == ({"MUG": (10, 4)}, {"mug": 6}, [])
    assert hub_town.count(t.issue) == 0


def test_where_records_could_not_be_read_nobody_is_blamed(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    send(hub_town, place, "order", b"half an order")
    shop.stock["mug"] = 9

    hub_town.poll(place)

    assert (shop.stock, hub_town.issues()) == ({"mug": 10}, [inbox.QUARANTINE])
    (entry,) = hub_town.rows(t.publication_entry)
    assert "The shop said 9; no order explained the difference." in entry.note


@BOTH_KINDS
def test_a_sale_that_the_shop_forgot_to_take_off_is_nobodys_change(hub_town: Town, channel: type[FakeChannel]) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop, channel)
    count_stock(hub_town, "MUG", 8)
    hub_town.work()
    imports = shop.count("fetch_orders")
    send(hub_town, place, "order", shop.order([("mug", 3)]))

    hub_town.work()

    assert (shop.stock, hub_town.count(t.issue)) == ({"mug": 5}, 0)
    assert shop.count("fetch_orders") == imports, "it says what was left there: our figure was written over the sale"


def test_a_figure_that_drifts_again_and_again_is_one_issue(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    open_shop(hub_town, shop, CarefulChannel)
    for figure in (4, 3, 2):
        shop.stock["mug"] = figure
        hub_town.let_pass(3600)
        with hub_town.hub.database.write() as connection:
            connection.execute(update(t.issue).values(resolved_at=None))
        hub_town.work()

    assert (shop.stock, drift_issue(hub_town).times) == ({"mug": 10}, 3)


def test_the_readings_are_spread(hub_town: Town) -> None:
    shop = Shop(stock={f"item-{number}": 10 for number in range(20)})
    open_shop(hub_town, shop, CarefulChannel)

    with hub_town.hub.database.read() as connection:
        now = hub_town.hub.database.now(connection)
    ahead = [(row.verify_at - now).total_seconds() / 60 for row in hub_town.rows(t.publication)]
    assert min(ahead) > 44
    assert max(ahead) <= 60
    assert max(ahead) - min(ahead) > 1


def test_how_often_is_a_setting(hub_town: Town) -> None:
    hub_town.hub = replace(hub_town.hub, settings=replace(hub_town.hub.settings, drift_check_minutes=5))
    shop = Shop(stock={"mug": 10})
    open_shop(hub_town, shop, CarefulChannel)
    shop.stock["mug"] = 4

    hub_town.let_pass(5 * 60)
    hub_town.work()

    assert shop.stock == {"mug": 10}


def test_readings_are_batches(hub_town: Town) -> None:
    shop = Shop(stock={f"item-{number}": 10 for number in range(20)})
    open_shop(hub_town, shop, CarefulChannel)
    hub_town.let_pass(3600)
    shop.calls.clear()

    for _, place, lane in jobs.due(hub_town.hub):
        if lane == "publish":
            publish(hub_town, place)

    assert (shop.count("read_stock"), shop.count("push_stock")) == (3, 0)


# ---------------------------------------------------------------- one that cannot be read now


@BOTH_KINDS
def test_one_that_cannot_be_read_now_is_tried_again_and_holds_back_no_other(
    hub_town: Town, channel: type[FakeChannel], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(stock={"mug": 10, "tee": 5})
    open_shop(hub_town, shop, channel)
    shop.stock |= {"mug": 1, "tee": 1}
    hub_town.let_pass(3600)

    def mug_unread(self: FakeChannel, refs: Sequence[StockRef]) -> Sequence[Any]:
        return [UNREAD if ref.listing_external_id == "mug" else self._figure(ref) for ref in refs]

    with monkeypatch.context() as patched:
        patched.setattr(FakeChannel, "read_stock", mug_unread)
        hub_town.work()
    assert shop.stock == {"mug": 1, "tee": 5}
    errors = {row.error for row in hub_town.rows(t.publication)}
    assert errors == {"", "The shop could not say its stock of this listing just now."}
    assert publish_lane.NOT_PUBLISHED not in hub_town.issues(), "it is no listing that was lost"

    hub_town.let_pass(60)
    hub_town.work()
    assert shop.stock == {"mug": 10, "tee": 5}


def test_opening_stock_that_cannot_be_read_now_is_asked_for_again(
    hub_town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(stock={"mug": 10})
    place = connect(hub_town, shop)
    matching.accept_suggestions(hub_town.hub.database, hub_town.merchant, place, None, OWNER)
    task_id = connections.adopt_stock(hub_town.hub.database, hub_town.merchant, place, OWNER)
    with monkeypatch.context() as patched:
        patched.setattr(FakeChannel, "read_stock", lambda self, refs: [UNREAD for _ in refs])
        hub_town.work()
    assert hub_town.row(t.task, t.task.c.id == task_id).state == "waiting"
    assert hub_town.stock() == {}

    hub_town.let_pass(60)
    hub_town.work()
    assert hub_town.stock() == {"MUG": (10, 0)}


# ---------------------------------------------------------------- stock goes on to whose turn it is


@pytest.fixture
def waiting_for_a_set(hub_town: Town) -> tuple[Shop, UUID, dict[str, Any]]:
    """A shop in which an order waits for a set, whose cup another order holds; with that order."""
    shop = Shop(stock={"cup": 1, "pot": 5, "set": 0})
    place = connect(hub_town, shop)
    matching.accept_suggestions(hub_town.hub.database, hub_town.merchant, place, None, OWNER)
    sku = {row.code: row.id for row in hub_town.rows(t.sku)}
    kits.define(hub_town.hub.database, hub_town.merchant, sku["SET"], {sku["CUP"]: 1, sku["POT"]: 1}, OWNER)
    for code, units in (("CUP", 1), ("POT", 5)):
        count_stock(hub_town, code, units)
    connections.go_live(hub_town.hub.database, hub_town.merchant, place, OWNER)
    hub_town.work()
    holder = shop.buy("cup", 1)
    send(hub_town, place, "order", holder)
    hub_town.work()
    send(hub_town, place, "order", shop.buy("set", 1))
    hub_town.work()
    assert hub_town.stock() == {"CUP": (1, 1), "POT": (5, 0)}
    assert hub_town.count(t.backorder) == 2
    return shop, place, holder


def test_a_cancellation_gives_the_set_its_cup_at_once_and_tells_the_shop(
    hub_town: Town, waiting_for_a_set: tuple[Shop, UUID, dict[str, Any]]
) -> None:
    shop, place, holder = waiting_for_a_set
    send(hub_town, place, "order", shop.cancel(holder))
    hub_town.hub.doorbell.heard.clear()  # type: ignore[attr-defined]

    read_inbox(hub_town, place)

    assert hub_town.stock() == {"CUP": (1, 1), "POT": (5, 1)}
    assert hub_town.count(t.backorder) == 0
    assert (place, "publish") in heard(hub_town)
    hub_town.work()
    assert shop.stock == {"cup": 0, "pot": 4, "set": 0}
    hub_town.sound()


def test_a_worker_killed_before_it_served_the_set_leaves_that_to_the_sweep(
    hub_town: Town, waiting_for_a_set: tuple[Shop, UUID, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, place, holder = waiting_for_a_set
    send(hub_town, place, "order", shop.cancel(holder))

    class Killed(BaseException):
        pass

    def killed(*_args: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(inbox_lane.stock, "serve_woken", killed)
        with pytest.raises(Killed):
            read_inbox(hub_town, place)
    assert hub_town.stock() == {"CUP": (1, 0), "POT": (5, 0)}
    assert hub_town.count(t.backorder, t.backorder.c.woken) == 2
    hub_town.let_pass(100)
    hub_town.hub.doorbell.heard.clear()  # type: ignore[attr-defined]

    jobs.sweep(hub_town.hub)

    assert hub_town.stock() == {"CUP": (1, 1), "POT": (5, 1)}
    assert (place, "publish") in heard(hub_town)
    hub_town.work()
    hub_town.sound()


def test_the_sweep_gives_back_what_nobody_paid_for_in_time(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 500})
    place = open_shop(hub_town, shop)
    orders = [shop.buy("mug", 1) for _ in range(105)]
    for each in orders:
        send(hub_town, place, "order", each)
    hub_town.work()
    assert hub_town.stock() == {"MUG": (500, 105)}
    with hub_town.hub.database.write() as connection:
        late = hub_town.hub.database.now(connection) - timedelta(minutes=1)
        in_time = late + timedelta(hours=1)
        kept = t.sales_order.c.external_id == orders[0]["id"]
        connection.execute(update(t.sales_order).values(hold_until=late))
        connection.execute(update(t.sales_order).where(kept).values(hold_until=in_time))
    hub_town.hub.doorbell.heard.clear()  # type: ignore[attr-defined]

    jobs.sweep(hub_town.hub)

    assert hub_town.stock() == {"MUG": (500, 1)}
    assert heard(hub_town) >= {(place, "publish")}


def test_a_sweep_that_meets_others_at_the_stock_rings_all_the_same(
    hub_town: Town, waiting_for_a_set: tuple[Shop, UUID, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, place, _ = waiting_for_a_set
    with hub_town.hub.database.write() as connection:
        connection.execute(update(t.backorder).values(woken=True))
    send(hub_town, place, "order", shop.buy("pot", 1))
    hub_town.hub.doorbell.heard.clear()  # type: ignore[attr-defined]

    def busy(*_args: Any) -> Any:
        raise Broken("Somebody else was faster.")

    monkeypatch.setattr(draining.stock, "serve_woken", busy)
    jobs.sweep(hub_town.hub)

    assert heard(hub_town) == {(place, "inbox")}
