"""The fetch lane: polls whose cursor moves with the commit, single records fetched again, and nothing asked in vain."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import update

from hub import jobs
from hub.connector import Page
from hub.errors import AuthError, NotFound, RateLimited, Rejected, Unavailable
from hub.jobs import fetch_lane
from hub.store import tables as t
from hub.store.database import DatabaseAway
from tests.jobs.fake_shop import FakeChannel, Shop, connect, open_shop, send
from tests.town import Town


def cursor(town: Town, stream: str = "orders") -> Any:
    return town.row(t.cursor, t.cursor.c.stream == stream)


def fetch(town: Town, connection_id: Any, seconds: float = 10.0) -> None:
    """Drain the fetch lane, and nothing else."""
    jobs.drain(town.hub, town.merchant, connection_id, "fetch", budget_seconds=seconds)


# ---------------------------------------------------------------- polls


def test_the_first_import_brings_listings_and_every_order(hub_town: Town) -> None:
    shop = Shop(stock={f"item-{number}": 5 for number in range(7)})
    placed = [shop.buy(f"item-{number % 7}") for number in range(10)]

    connect(hub_town, shop)

    assert {row.external_id for row in hub_town.rows(t.sales_order)} == {order["id"] for order in placed}
    assert hub_town.count(t.listing) == 7
    row = cursor(hub_town)
    assert (row.value, row.fetched, row.total) == (f"{placed[-1]['version']} {placed[-1]['id']}", 10, 10)
    assert row.polled_at is not None
    assert shop.calls.index("fetch_listings") < shop.calls.index("fetch_orders")


@pytest.mark.parametrize(
    ("pages", "error"),
    [
        (0, Unavailable("The shop is away.")),
        (1, Unavailable("The shop is away.")),
        (2, Unavailable("The shop is away.")),
        (1, RateLimited("Slow down.", 3)),
        (1, RuntimeError("a bug")),
        (1, SystemExit(1)),
    ],
    ids=lambda each: str(each) if isinstance(each, int) else type(each).__name__,
)
def test_a_poll_that_breaks_between_pages_goes_on_where_it_stopped(
    hub_town: Town, pages: int, error: BaseException
) -> None:
    shop = Shop()
    place = connect(hub_town, shop)
    placed = [shop.order([("mug", 1)]) for _ in range(8)]
    shop.fail("next page" if pages else "fetch_orders", *[lambda: None] * (pages - 1), error)

    hub_town.poll(place)
    assert hub_town.count(t.sales_order) == 3 * pages
    assert str(error) in cursor(hub_town).error
    polls = shop.count("fetch_orders")

    hub_town.work()
    assert shop.count("fetch_orders") == polls, "not tried again at once"
    hub_town.let_pass(60)
    hub_town.work()

    assert {row.external_id for row in hub_town.rows(t.sales_order)} == {order["id"] for order in placed}
    assert hub_town.count(t.inbox, t.inbox.c.topic == "order") == 8, "nothing is stored twice"
    assert cursor(hub_town).error == ""


def test_a_page_and_its_cursor_are_one_commit(hub_town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop()
    place = connect(hub_town, shop)
    placed = [shop.order([("mug", 1)]) for _ in range(6)]
    before = cursor(hub_town).value
    original, torn = fetch_lane._this_cursor, []

    def fails_when_the_page_is_in(shift: Any, stream: str) -> Any:
        if shop.count("fetch_orders") == 2 and not torn:
            torn.append(True)
            raise DatabaseAway("The disk is full.")
        return original(shift, stream)

    with monkeypatch.context() as patched:
        # The first use in a poll puts it off; the second is the page's own.
        patched.setattr(fetch_lane, "_this_cursor", fails_when_the_page_is_in)
        hub_town.hub.doorbell.heard.clear()  # type: ignore[attr-defined]
        with pytest.raises(DatabaseAway):
            hub_town.poll(place)

    assert (cursor(hub_town).value, hub_town.count(t.inbox, t.inbox.c.topic == "order")) == (before, 0)
    hub_town.let_pass(100)
    hub_town.work()
    assert hub_town.count(t.sales_order) == len(placed)


def test_a_poll_that_takes_long_goes_on_in_the_next_turn(hub_town: Town) -> None:
    shop = Shop()
    place = connect(hub_town, shop)
    placed = [shop.order([("mug", 1)]) for _ in range(8)]
    hub_town.let_pass(60)

    for turn in (1, 2, 3, 4):
        # A lane that is due gets one turn at least, even when its time is over at once.
        with fetch_lane.start_shift(hub_town.hub, hub_town.merchant, place, "fetch", 0.0) as shift:
            assert shift is not None
            finished = fetch_lane._poll(shift, "orders")
        assert finished == (turn == 4), "only what comes after a page tells that it was the last"
        assert cursor(hub_town).fetched == min(3 * turn, 8)

    hub_town.work()
    assert hub_town.count(t.sales_order) == len(placed)


def test_a_vendor_that_is_still_getting_ready_is_asked_again_from_the_cursor_when_it_said(hub_town: Town) -> None:
    shop = Shop()
    connect(hub_town, shop)
    placed = [shop.order([("mug", 1)]) for _ in range(8)]
    asked: list[str | None] = []

    class Preparing(FakeChannel):
        """Has all orders written into a file first; knows by its cursor that it has asked for that."""

        def fetch_orders(self, mark: str | None) -> Iterator[Page]:
            asked.append(mark)
            pages = super().fetch_orders(None)
            if len(asked) < 3:
                yield Page((), f"file {len(asked)}", 8, 40 if len(asked) == 1 else 2.5)
                raise AssertionError("The poll ended with that page.")
            yield from pages

    hub_town.hub.registry.connectors[FakeChannel.name] = Preparing  # type: ignore[index]
    before = cursor(hub_town).value
    hub_town.let_pass(60)
    hub_town.work()
    row = cursor(hub_town)
    assert (asked, row.value, row.total, row.error) == ([before], "file 1", 8, "")
    assert 39 < (row.due_at - datetime.now(UTC)).total_seconds() <= 40

    hub_town.let_pass(38)
    hub_town.work()
    assert asked == [before], "not before its time"

    hub_town.let_pass(3)
    hub_town.work()
    assert (asked, cursor(hub_town).value) == ([before, "file 1"], "file 2")

    hub_town.let_pass(3)
    hub_town.work()
    assert asked == [before, "file 1", "file 2"]
    assert {row.external_id for row in hub_town.rows(t.sales_order)} == {order["id"] for order in placed}


@pytest.mark.parametrize(
    ("asked_for", "waits"), [(float("nan"), 0), (float("inf"), 3600), (-5.0, 0), (1e9, 3600)], ids=repr
)
def test_a_pause_beyond_all_reason_is_cut(hub_town: Town, asked_for: float, waits: float) -> None:
    place = connect(hub_town, Shop())

    class Odd(FakeChannel):
        def fetch_orders(self, mark: str | None) -> Iterator[Page]:
            yield Page((), "later", None, asked_for)

    hub_town.hub.registry.connectors[FakeChannel.name] = Odd  # type: ignore[index]
    with fetch_lane.start_shift(hub_town.hub, hub_town.merchant, place, "fetch", 0.0) as shift:
        assert shift is not None
        assert not fetch_lane._poll(shift, "orders")

    assert waits - 5 < (cursor(hub_town).due_at - datetime.now(UTC)).total_seconds() <= waits


def test_an_import_that_goes_on_in_another_turn_still_knows_of_how_many_orders(hub_town: Town) -> None:
    shop = Shop()
    place = connect(hub_town, shop)
    for _ in range(8):
        shop.order([("mug", 1)])
    hub_town.let_pass(60)

    told = []
    for _ in range(4):
        with fetch_lane.start_shift(hub_town.hub, hub_town.merchant, place, "fetch", 0.0) as shift:
            assert shift is not None
            fetch_lane._poll(shift, "orders")
        told.append((cursor(hub_town).fetched, cursor(hub_town).total))

    assert told == [(3, 8), (6, 8), (8, 8), (8, 8)], "the shop counts what is left each time: 8, 5, 2 and nothing"


def test_a_stream_without_a_cursor_is_read_in_one_go(hub_town: Town) -> None:
    shop = Shop(stock={f"item-{number}": 1 for number in range(8)})
    place = connect(hub_town, shop)

    with fetch_lane.start_shift(hub_town.hub, hub_town.merchant, place, "fetch", 0.0) as shift:
        assert shift is not None
        assert fetch_lane._poll(shift, "listings")


def test_an_order_the_shops_list_shows_late_is_not_missed(hub_town: Town) -> None:
    shop = Shop()
    place = connect(hub_town, shop)
    late = shop.order([("mug", 1)])
    shop.index_lags.add(late["id"])
    hub_town.poll(place)
    assert hub_town.count(t.sales_order) == 0

    shop.index_lags.clear()
    hub_town.poll(place)
    assert hub_town.count(t.sales_order) == 1


def test_polls_come_again_by_themselves(hub_town: Town) -> None:
    shop = Shop()
    connect(hub_town, shop)
    shop.order([("mug", 1)])
    hub_town.work()
    assert hub_town.count(t.sales_order) == 0

    hub_town.let_pass(60)  # the shortest pause between two polls where no webhooks tell the news
    hub_town.work()
    assert hub_town.count(t.sales_order) == 1
    assert shop.count("fetch_listings") == 1, "those are asked for by the hour"


def test_one_stream_in_trouble_does_not_hold_back_the_other(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 1})
    shop.fail("fetch_listings", *[RuntimeError("broken")] * 3)
    shop.order([("mug", 1)])

    connect(hub_town, shop)

    assert hub_town.count(t.sales_order) == 1
    assert "broken" in cursor(hub_town, "listings").error
    hub_town.let_pass(40)
    hub_town.work()
    hub_town.let_pass(40)
    hub_town.work()
    hub_town.let_pass(40)
    hub_town.work()
    assert (hub_town.count(t.listing), cursor(hub_town, "listings").error) == (1, "")


# ---------------------------------------------------------------- fetching again


def test_half_a_record_is_fetched_whole(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    order = shop.buy("mug", 5)
    shop.orders[order["id"]] = order | {"lines": [order["lines"][0] | {"removed": 2}]}

    send(hub_town, place, "order", order | {"whole": False})
    hub_town.work()

    assert hub_town.stock() == {"MUG": (10, 3)}
    assert (shop.count("fetch_order"), hub_town.row(t.sales_order).whole) == (1, True)


def test_two_bodies_of_one_version_are_settled_by_asking(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    first = shop.buy("mug", 3)
    second = first | {"lines": [first["lines"][0] | {"quantity": 2}]}
    shop.orders[first["id"]] = second

    send(hub_town, place, "order", second)
    send(hub_town, place, "order", first)  # delivered late
    hub_town.work()

    assert hub_town.stock() == {"MUG": (10, 2)}
    assert hub_town.count(t.fetch_request) == 0


def test_a_record_that_changed_while_it_was_fetched_is_fetched_again(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    order = shop.buy("mug", 1)
    send(hub_town, place, "order", order | {"whole": False})

    def meanwhile() -> None:
        # The answer under way is already too old for this.
        send(hub_town, place, "order", order | {"whole": False, "note": "changed"})
        jobs.drain(hub_town.hub, hub_town.merchant, place, "inbox", budget_seconds=60.0)

    shop.fail("fetch_order", meanwhile)
    hub_town.work()

    assert shop.count("fetch_order") == 2
    assert hub_town.count(t.fetch_request) == 0


def test_a_connector_that_never_has_the_whole_order_is_asked_once(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    order = shop.buy("mug", 2, whole=False)

    send(hub_town, place, "order", order)
    hub_town.work()

    assert (shop.count("fetch_order"), hub_town.stock()) == (1, {"MUG": (10, 2)})


@pytest.mark.parametrize(
    "error",
    [Rejected("Not for you."), RuntimeError("a bug"), SystemExit(1)],
    ids=lambda error: type(error).__name__,
)
def test_a_refused_fetch_is_shown_tried_again_and_settled(hub_town: Town, error: BaseException) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    order = shop.buy("mug", 2)
    shop.fail("fetch_order", error, error)

    send(hub_town, place, "order", order | {"whole": False})
    hub_town.work()
    assert (shop.count("fetch_order"), hub_town.issues()) == (1, [fetch_lane.FETCH_REFUSED])
    request = hub_town.row(t.fetch_request)
    assert (request.attempts, str(error) in request.error) == (1, True)
    assert hub_town.stock() == {"MUG": (10, 2)}, "as last received"

    hub_town.let_pass(1000)
    hub_town.work()
    assert hub_town.row(t.fetch_request).attempts == 2

    hub_town.let_pass(1000)
    hub_town.work()
    assert (hub_town.count(t.fetch_request), hub_town.issues()) == (0, [])
    assert hub_town.row(t.sales_order).whole


def test_an_outage_makes_no_record_wait_longer_than_the_outage(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    for what in ("fetch_order", "fetch_orders", "fetch_listings", "read_stock"):
        shop.fail(what, *[Unavailable("The shop is away.")] * 20)
    send(hub_town, place, "order", shop.buy("mug", 2) | {"whole": False})
    hub_town.work()

    for _ in range(5):
        hub_town.let_pass(700)
        fetch(hub_town, place)
    request = hub_town.row(t.fetch_request)
    assert (request.attempts, hub_town.issues()) == (0, ["unreachable"])

    shop.faults.clear()
    hub_town.let_pass(700)
    hub_town.work()
    assert (hub_town.count(t.fetch_request), hub_town.issues()) == (0, [])


def test_an_order_that_is_gone_although_nobody_said_so_is_kept_and_shown(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    order = shop.buy("mug", 2)
    del shop.orders[order["id"]]

    send(hub_town, place, "order", order | {"whole": False})
    hub_town.work()
    assert (hub_town.stock(), hub_town.issues()) == ({"MUG": (10, 2)}, ["order_not_found"])

    shop.orders[order["id"]] = order
    hub_town.poll(place)
    assert hub_town.issues() == []


def test_a_listing_that_only_changed_is_fetched(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = connect(hub_town, shop)
    shop.stock["tee"] = 5

    send(hub_town, place, "changed", {"kind": "listing", "id": "tee"})
    hub_town.work()
    assert {row.external_id for row in hub_town.rows(t.listing)} == {"mug", "tee"}

    del shop.stock["tee"]
    send(hub_town, place, "changed", {"kind": "listing", "id": "tee"})
    hub_town.work()
    assert {row.external_id: row.active for row in hub_town.rows(t.listing)} == {"mug": True, "tee": False}


def test_an_order_neither_side_has_leaves_no_trace(hub_town: Town) -> None:
    place = connect(hub_town, Shop())

    send(hub_town, place, "changed", {"kind": "order", "id": "404"})
    hub_town.work()

    assert (hub_town.count(t.sales_order), hub_town.count(t.fetch_request), hub_town.issues()) == (0, 0, [])
    hub_town.sound()


def test_nobody_is_called_while_the_connection_may_not(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    send(hub_town, place, "order", shop.buy("mug") | {"whole": False})
    jobs.drain(hub_town.hub, hub_town.merchant, place, "inbox", budget_seconds=60.0)
    with hub_town.hub.database.write() as connection:
        connection.execute(update(t.connection).values(state="paused"))
    hub_town.let_pass(10_000)
    asked = len(shop.calls)

    hub_town.work()
    fetch(hub_town, place)

    assert len(shop.calls) == asked
    assert hub_town.count(t.fetch_request) == 1


# ---------------------------------------------------------------- checks


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (AuthError("The key was refused."), "The key was refused."),
        (NotFound("There is no such shop."), "There is no such shop."),
        (RuntimeError("a bug"), "The connector failed: RuntimeError: a bug"),
        (SystemExit(2), "The connector failed: SystemExit: 2"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_check_that_fails_says_why_and_nothing_is_imported(hub_town: Town, error: BaseException, said: str) -> None:
    shop = Shop(stock={"mug": 1})
    shop.fail("check", error)

    with pytest.raises(AssertionError, match=re.escape(said)):
        connect(hub_town, shop)

    task = hub_town.row(t.task)
    assert (task.state, task.message, task.request) == ("failed", said, None)
    assert hub_town.row(t.connection).state == "new"
    assert "fetch_orders" not in shop.calls


def test_a_shop_that_does_not_answer_is_checked_again(hub_town: Town) -> None:
    shop = Shop()
    shop.fail("check", Unavailable("The shop is away."), RateLimited("Slow down.", 5))
    with pytest.raises(AssertionError):
        connect(hub_town, shop)
    task = hub_town.row(t.task)
    assert (task.state, task.message) == ("waiting", "The shop is away. Trying again shortly…")

    for _ in range(2):
        hub_town.let_pass(60)
        hub_town.work()

    assert hub_town.row(t.task).state == "done"
    assert hub_town.row(t.connection).state == "connected"


def test_a_shop_that_stays_away_is_given_up_and_may_be_tried_anew(hub_town: Town) -> None:
    shop = Shop()
    shop.fail("check", *[Unavailable("The shop is away.")] * 3)
    with pytest.raises(AssertionError):
        connect(hub_town, shop)
    for _ in range(4):
        hub_town.let_pass(60)
        hub_town.work()
    assert (hub_town.row(t.task).state, shop.count("check")) == ("failed", 3)

    connect(hub_town, shop)
    assert {row.state for row in hub_town.rows(t.connection)} == {"new", "connected"}


def test_a_check_is_not_blamed_for_a_database_that_is_away(hub_town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop()

    def away(*_args: Any, **_more: Any) -> Any:
        raise DatabaseAway("The database cannot be reached.")

    with monkeypatch.context() as patched:
        patched.setattr(fetch_lane.connections, "checked", away)
        with pytest.raises(DatabaseAway):
            connect(hub_town, shop)
    assert hub_town.row(t.task).state == "running"

    hub_town.let_pass(100)
    hub_town.work()
    assert hub_town.row(t.task).state == "done"


def test_a_check_that_breaks_its_worker_down_every_time_is_given_up(hub_town: Town) -> None:
    shop = Shop()
    with pytest.raises(AssertionError):
        shop.fail("check", Unavailable("away"))
        connect(hub_town, shop)
    with hub_town.hub.database.write() as connection:
        connection.execute(update(t.task).values(state="running", attempts=fetch_lane.TRIES + 1))

    hub_town.let_pass(60)
    hub_town.work()

    task = hub_town.row(t.task)
    assert (task.state, shop.count("check")) == ("failed", 1)
    assert "broke down over this several times" in task.message
