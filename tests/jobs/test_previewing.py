"""Looking before leaping: what going live would write, and what reading stored records again would change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from hub import jobs
from hub.connector import RawRecord, StockRef, Unread
from hub.core.model import Order
from hub.errors import Conflict, Unavailable, Unreadable
from hub.store import connections, matching, tasks
from hub.store import tables as t
from hub.store.queries import previews
from tests.jobs.fake_shop import FakeChannel, Shop, an_order, connect, open_shop, send
from tests.town import OWNER, Town

# One kind of database is enough where the database is not what the test is about.
on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def ask(town: Town, place: UUID, kind: str, arguments: dict[str, Any] | None = None) -> Any:
    """Ask for a task and work until nothing is due; returns the task."""
    task_id = tasks.ask(town.hub.database, town.merchant, place, kind, OWNER, arguments)
    town.work()
    return town.row(t.task, t.task.c.id == task_id)


def found(town: Town, task_id: UUID) -> Any:
    with town.hub.database.read() as connection:
        return tasks.result(connection, town.hub.keyring, town.merchant, task_id)


def figures(town: Town) -> dict[str, tuple[int | None, int, int]]:
    """By listing: what the shop says, what the hub would write, and by how much they differ."""
    names = {each.id: each.external_id for each in town.rows(t.listing)}
    return {names[each.listing_id]: (each.says, each.writes, each.change) for each in town.rows(t.preview_figure)}


def turned(town: Town, place: UUID) -> list[str]:
    """The listings of a preview as its pages have them, one on each."""
    names = {each.id: each.external_id for each in town.rows(t.listing)}
    found: list[previews.Difference] = []
    with town.hub.database.read() as connection:
        while True:
            after = (found[-1].change, found[-1].listing_id, found[-1].place) if found else None
            page = previews.differences(connection, town.merchant, place, show="all", after=after, limit=1)
            if not page:
                break
            found += page
    assert [each.change for each in found] == sorted((each.change for each in found), reverse=True)
    return [names[each.listing_id] for each in found]


def ready(town: Town, shop: Shop) -> UUID:
    """A shop whose listings are matched and counted, and which is not live."""
    place = connect(town, shop)
    matching.accept_suggestions(town.hub.database, town.merchant, place, None, OWNER)
    connections.adopt_stock(town.hub.database, town.merchant, place, OWNER)
    town.work()
    return place


# ---------------------------------------------------------------- what going live would write


def test_a_preview_compares_every_figure_and_writes_none(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10, "tee": 5, "cup": 3, "hat": 1})
    place = ready(hub_town, shop)
    shop.stock |= {"mug": 14, "tee": 2}
    del shop.stock["hat"]

    task = ask(hub_town, place, "preview")

    told = "4 figures compared. Of 1 the shop did not say its stock."
    assert (task.state, task.message, shop.writes) == ("done", told, [])
    assert figures(hub_town) == {
        "mug": (14, 10, 4),
        "tee": (2, 5, 3),
        "cup": (3, 3, 0),
        "hat": (None, 1, 0),
    }
    counted = hub_town.row(t.preview)
    assert (counted.raised, counted.lowered, counted.to_zero, counted.unchanged, counted.silent) == (1, 1, 0, 1, 1)
    assert (counted.unmatched, counted.untracked, counted.uncounted, counted.not_here) == (0, 0, 0, 0)
    pages = turned(hub_town, place)
    assert (pages[:2], sorted(pages[2:])) == (["mug", "tee"], ["cup", "hat"])
    steps = {tuple(each.steps) for each in hub_town.rows(t.preview_figure, t.preview_figure.c.writes == 10)}
    assert len(steps) == 1 and all(steps), "each figure says how it came about"
    assert hub_town.rows(t.publication) == []


@on_sqlite
def test_a_second_look_forgets_the_first(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10, "tee": 5})
    place = ready(hub_town, shop)
    ask(hub_town, place, "preview")
    shop.stock["mug"] = 7
    tee = hub_town.row(t.listing, t.listing.c.external_id == "tee").id
    matching.unbind(hub_town.hub.database, hub_town.merchant, tee, OWNER)

    ask(hub_town, place, "preview")

    assert figures(hub_town) == {"mug": (7, 10, 3)}
    counted = hub_town.row(t.preview)
    assert (counted.raised, counted.lowered, counted.unmatched) == (1, 0, 1)


@on_sqlite
def test_a_long_preview_lets_others_have_a_turn_and_goes_on(hub_town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(stock={f"mug{number}": 10 for number in range(25)})
    place = ready(hub_town, shop)
    batches: list[int] = []
    plain = FakeChannel.read_stock

    def read_stock(self: FakeChannel, refs: Sequence[StockRef]) -> Sequence[int | Unread | None]:
        batches.append(len(refs))
        return plain(self, refs)

    monkeypatch.setattr(FakeChannel, "read_stock", read_stock)
    monkeypatch.setattr(FakeChannel, "capabilities", replace(FakeChannel.capabilities, push_batch=10))
    task_id = tasks.ask(hub_town.hub.database, hub_town.merchant, place, "preview", OWNER)

    budget = 0.05
    while hub_town.row(t.task, t.task.c.id == task_id).state != "done":
        before = len(batches)
        jobs.drain(hub_town.hub, hub_town.merchant, place, "fetch", budget_seconds=budget)
        budget *= 2 if len(batches) == before else 1  # on a busy machine it may be over before anything is read
        assert budget < 60

    assert hub_town.row(t.task, t.task.c.id == task_id).message == "25 figures compared."
    assert (batches, len(figures(hub_town))) == ([10, 10, 5], 25), "nothing is read twice"


@on_sqlite
def test_a_shop_that_is_away_is_asked_again_and_then_a_person_is_told(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = ready(hub_town, shop)
    shop.fail("read_stock", *[Unavailable("The shop is away.", sent=False)] * 3)

    task_id = tasks.ask(hub_town.hub.database, hub_town.merchant, place, "preview", OWNER)
    for _ in range(5):
        hub_town.work()
        hub_town.let_pass(300)
    assert hub_town.row(t.task, t.task.c.id == task_id).state == "failed"
    assert hub_town.rows(t.preview) == []

    shop.faults.clear()
    assert ask(hub_town, place, "preview").state == "done"
    assert figures(hub_town) == {"mug": (10, 10, 0)}


@on_sqlite
def test_one_preview_at_a_time_and_only_of_a_shop_that_works(hub_town: Town) -> None:
    place = ready(hub_town, Shop(stock={"mug": 10}))
    here = (hub_town.hub.database, hub_town.merchant, place)
    first = tasks.ask(*here, "preview", OWNER)
    assert tasks.ask(*here, "preview", OWNER) == first

    connections.pause(*here, OWNER)

    with pytest.raises(Conflict, match="is paused"):
        tasks.ask(*here, "replay", OWNER, {"about": "quarantined"})


@on_sqlite
def test_a_worker_matches_all_that_is_sure(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10, "tee": 5})
    place = connect(hub_town, shop)

    task = ask(hub_town, place, "match")

    assert (task.state, task.message) == ("done", "2 listings matched, 2 of them to new SKUs.")
    assert (task.done, task.total) == (2, 2)
    assert {each.match_act_id for each in hub_town.rows(t.listing)} == {hub_town.row(t.match_act).id}
    assert ask(hub_town, place, "match").message.startswith("Nothing was matched: nothing is that sure.")


# ---------------------------------------------------------------- reading stored records again


def install_doubling(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version of the connector that reads every quantity twice as high."""

    def doubled(order: Order) -> Order:
        return replace(order, lines=tuple(replace(line, quantity=2 * line.quantity) for line in order.lines))

    def read_order(self: FakeChannel, record: RawRecord) -> Order:
        return doubled(an_order(self._body(record)))

    monkeypatch.setattr(FakeChannel, "read_order", read_order)


@on_sqlite
def test_one_order_is_looked_at_and_then_replayed(hub_town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(stock={"mug": 100})
    place = open_shop(hub_town, shop)
    one, other = shop.buy("mug", 3), shop.buy("mug", 4)
    for order in (one, other):
        send(hub_town, place, "order", order)
    hub_town.poll(place)
    about = {"about": str(hub_town.row(t.sales_order, t.sales_order.c.external_id == one["id"]).id)}
    install_doubling(monkeypatch)

    look = ask(hub_town, place, "replay", about)

    assert look.state == "done" and look.message.endswith("1 order would change."), look.message
    (changed,) = found(hub_town, look.id)["orders"]
    assert (changed["number"], changed["held"]) == (f"#{one['id']}", [["MUG", 3, 6]])
    assert ["line “mug”: quantity", "3", "6"] in changed["changes"]
    assert hub_town.stock() == {"MUG": (100, 7)}, "nothing is changed by looking"

    done = ask(hub_town, place, "apply_replay", about)

    assert done.message.endswith("1 order changed."), done.message
    assert hub_town.stock() == {"MUG": (100, 10)}, "the other order was not asked for"
    assert found(hub_town, done.id)["count"] == 1


@on_sqlite
def test_what_was_set_aside_is_looked_at_and_read_again(hub_town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(stock={"mug": 100})
    place = open_shop(hub_town, shop)
    assert ask(hub_town, place, "replay", {"about": "quarantined"}).message == "No record is set aside any more."
    plain = FakeChannel.read_order

    def broken(self: FakeChannel, record: RawRecord) -> Order:
        raise Unreadable("This is a new kind of order.")

    monkeypatch.setattr(FakeChannel, "read_order", broken)
    send(hub_town, place, "order", shop.buy("mug", 3))
    shop.orders.clear()
    hub_town.work()
    assert hub_town.count(t.inbox, t.inbox.c.state == "quarantined") == 1
    monkeypatch.setattr(FakeChannel, "read_order", plain)

    look = ask(hub_town, place, "replay", {"about": "quarantined"})
    assert "1 of 1 that were set aside can be read now." in look.message
    assert hub_town.count(t.inbox, t.inbox.c.state == "quarantined") == 1

    ask(hub_town, place, "apply_replay", {"about": "quarantined"})
    hub_town.work()

    assert hub_town.count(t.inbox, t.inbox.c.state == "quarantined") == 0
    assert hub_town.stock() == {"MUG": (100, 3)}


@on_sqlite
def test_what_was_found_is_forgotten_after_a_day(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 100})
    place = open_shop(hub_town, shop)
    order = shop.buy("mug", 3)
    send(hub_town, place, "order", order)
    hub_town.work()
    about = {"about": str(hub_town.row(t.sales_order).id)}
    task_id = ask(hub_town, place, "replay", about).id
    jobs.tidy(hub_town.hub)
    assert found(hub_town, task_id)["count"] == 0

    with hub_town.hub.database.write() as connection:
        yesterday = hub_town.row(t.task, t.task.c.id == task_id).finished_at - timedelta(hours=25)
        connection.execute(update(t.task).where(t.task.c.id == task_id).values(finished_at=yesterday))
    jobs.tidy(hub_town.hub)

    assert found(hub_town, task_id) is None
