"""Reading again what came in: a new version of a connector corrects orders, and an old record never beats a newer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete, update
from sqlalchemy.exc import OperationalError

from hub.connector import OrderRemoved, RawRecord
from hub.core.model import Order
from hub.errors import BadInput, Conflict, Unreadable
from hub.jobs import replay
from hub.store import connections, inbox, orders
from hub.store import tables as t
from tests.jobs.fake_shop import FakeChannel, Shop, an_order, open_shop, send
from tests.town import Town

Reading = Callable[[Order], Order]
# One kind of database is enough where the database is not what the test is about.
on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Callable[[Reading], None]:
    """Install another version of the connector, which reads every order so."""

    def install(reading: Reading) -> None:
        def read_order(self: FakeChannel, record: RawRecord) -> Order:
            return reading(an_order(self._body(record)))

        def read_webhook(self: FakeChannel, record: RawRecord) -> Any:
            facts = original(self, record)
            return [reading(fact) if isinstance(fact, Order) else fact for fact in facts]

        original = plain_webhook
        monkeypatch.setattr(FakeChannel, "read_order", read_order)
        monkeypatch.setattr(FakeChannel, "read_webhook", read_webhook)

    return install


plain_webhook = FakeChannel.read_webhook


def doubled(order: Order) -> Order:
    """The old version took a pair for one piece."""
    return replace(order, lines=tuple(replace(line, quantity=2 * line.quantity) for line in order.lines))


def survey(town: Town, place: UUID, **options: Any) -> replay.Survey:
    row = town.row(t.connection, t.connection.c.id == place)
    return replay.survey(town.hub, row, progress=lambda *_: None, **options)


def previewed(town: Town, place: UUID, **options: Any) -> list[replay.Changed]:
    return list(replay.preview(survey(town, place, **options)))


def replayed(town: Town, place: UUID, **options: Any) -> list[replay.Changed]:
    return list(replay.carry_out(survey(town, place, **options)))


def everything(town: Town) -> list[Any]:
    """All rows that a replay could change."""
    tables = (t.sales_order, t.order_line, t.refund, t.allocation, t.stock_entry, t.activity, t.issue, t.inbox)
    return [sorted(map(repr, town.rows(table))) for table in tables]


@on_sqlite
def test_with_the_same_version_nothing_changes(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 100})
    place = open_shop(hub_town, shop)
    orders = [shop.buy("mug", number) for number in (1, 2, 3)]
    for order in orders:
        send(hub_town, place, "order", order)
    hub_town.poll(place)
    for order in (shop.ship(orders[0]), shop.cancel(orders[1]), orders[0]):
        send(hub_town, place, "order", order)
    hub_town.work()
    before = everything(hub_town)

    found = survey(hub_town, place)

    assert (found.records, found.orders, found.items, found.troubles) == (9, 3, [], [])
    assert list(replay.carry_out(found)) == []
    assert everything(hub_town) == before


def test_what_would_change_is_shown_and_nothing_is_changed(hub_town: Town, reads: Callable[[Reading], None]) -> None:
    shop = Shop(stock={"mug": 100})
    place = open_shop(hub_town, shop)
    order = shop.buy("mug", 3)
    send(hub_town, place, "order", order)
    hub_town.work()
    before = everything(hub_town)
    reads(doubled)

    (changed,) = previewed(hub_town, place)

    assert (changed.number, changed.external_id) == (f"#{order['id']}", order["id"])
    assert changed.changes == (replay.Change("line “mug”: quantity", "3", "6"),)
    assert changed.held == (replay.Held("MUG", 3, 6),)
    assert everything(hub_town) == before


def test_a_version_that_reads_differently_corrects_the_order_and_the_stock_once(
    hub_town: Town, reads: Callable[[Reading], None]
) -> None:
    shop, other = Shop(stock={"mug": 100}), Shop(stock={"mug": 100})
    place, elsewhere = open_shop(hub_town, shop), open_shop(hub_town, other, adopt=False)
    send(hub_town, place, "order", shop.buy("mug", 3))
    hub_town.work()
    order = hub_town.row(t.sales_order)
    reads(doubled)

    assert [each.number for each in replayed(hub_town, place)] == [order.number]

    hub_town.work()
    assert hub_town.stock() == {"MUG": (100, 6)}
    assert other.stock == {"mug": 94}, "its listings elsewhere were written anew"
    now = hub_town.row(t.sales_order)
    assert (now.version, now.received_at) == (order.version, order.received_at)
    (line,) = hub_town.rows(t.activity, t.activity.c.kind == "order_replayed")
    assert (line.order_id, line.details["cause"]) == (order.id, "replayed")
    assert line.summary == f"Order {order.number} was read again by plain: line “mug”."
    hub_town.sound()

    before = everything(hub_town)
    assert replayed(hub_town, place) == []
    assert everything(hub_town) == before
    assert elsewhere


@on_sqlite
def test_an_old_record_does_not_win_over_the_newer_one(hub_town: Town, reads: Callable[[Reading], None]) -> None:
    shop = Shop(stock={"mug": 100})
    place = open_shop(hub_town, shop)
    old = shop.buy("mug", 3)
    new = shop.ship(old)
    send(hub_town, place, "order", new)
    send(hub_town, place, "order", old)  # a late one
    hub_town.work()
    reads(lambda order: replace(order, note="read anew"))

    (changed,) = replayed(hub_town, place)

    assert changed.changes == (replay.Change("note", "", "read anew"),)
    row = hub_town.row(t.sales_order)
    assert (row.status, row.version.isoformat()) == ("fulfilled", new["version"])
    assert hub_town.stock() == {"MUG": (97, 0)}
    hub_town.sound()


@on_sqlite
@pytest.mark.parametrize("hours", [-2, 2])
def test_a_version_whose_clock_was_read_wrongly_is_corrected(
    hub_town: Town, reads: Callable[[Reading], None], hours: int
) -> None:
    shop = Shop(stock={"mug": 100})
    place = open_shop(hub_town, shop)
    first = shop.buy("mug", 3)
    send(hub_town, place, "order", first)
    send(hub_town, place, "order", shop.change(first, note="later"))
    hub_town.work()
    was = hub_town.row(t.sales_order).version
    reads(lambda order: replace(order, version=order.version + timedelta(hours=hours)))

    replayed(hub_town, place)

    row = hub_town.row(t.sales_order)
    assert (row.version, row.note) == (was + timedelta(hours=hours), "later")
    assert replayed(hub_town, place) == []


@on_sqlite
def test_half_a_record_does_not_replace_the_whole_one(hub_town: Town, reads: Callable[[Reading], None]) -> None:
    shop = Shop(stock={"mug": 100})
    place = open_shop(hub_town, shop)
    whole = shop.buy("mug", 3, note="whole")
    send(hub_town, place, "order", whole | {"whole": False, "note": "half"})
    hub_town.work()
    assert (hub_town.row(t.sales_order).note, hub_town.row(t.sales_order).whole) == ("whole", True)
    reads(lambda order: replace(order, note=order.note.upper()))

    replayed(hub_town, place)
    hub_town.work()

    row = hub_town.row(t.sales_order)
    assert (row.note, row.whole) == ("WHOLE", True)
    assert shop.count("fetch_order") == 1, "nothing was left open"


@on_sqlite
def test_a_record_found_to_be_half_is_applied_and_fetched(hub_town: Town, reads: Callable[[Reading], None]) -> None:
    shop = Shop(stock={"mug": 100})
    place = open_shop(hub_town, shop)
    send(hub_town, place, "order", shop.buy("mug", 3))
    hub_town.work()
    reads(lambda order: replace(order, whole=False, note="half"))

    replayed(hub_town, place)

    assert hub_town.row(t.sales_order).whole is False
    assert hub_town.row(t.fetch_request).external_id == hub_town.row(t.sales_order).external_id


@on_sqlite
def test_a_removal_that_was_overlooked_gives_the_stock_back(hub_town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(stock={"mug": 100})
    place = open_shop(hub_town, shop)
    order = shop.buy("mug", 3)
    send(hub_town, place, "order", order)
    send(hub_town, place, "order.binned", {"id": order["id"]})  # the installed version does not know this topic
    hub_town.work()
    assert hub_town.stock() == {"MUG": (100, 3)}

    def read_webhook(self: FakeChannel, record: RawRecord) -> Any:
        if record.topic == "order.binned":
            return [OrderRemoved(self._body(record)["id"])]
        return plain_webhook(self, record)

    monkeypatch.setattr(FakeChannel, "read_webhook", read_webhook)
    del shop.orders[order["id"]]
    (changed,) = replayed(hub_town, place)
    assert (changed.changes[0], changed.held) == (
        replay.Change("status", "open", "removed"),
        (replay.Held("MUG", 3, 0),),
    )
    hub_town.work()

    assert (hub_town.row(t.sales_order).status, hub_town.stock()) == ("removed", {"MUG": (100, 0)})
    assert replayed(hub_town, place) == []
    hub_town.sound()


@on_sqlite
def test_an_order_taken_for_removed_comes_back(hub_town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(stock={"mug": 100})
    place = open_shop(hub_town, shop)
    order = shop.buy("mug", 3)
    monkeypatch.setattr(FakeChannel, "read_webhook", lambda self, record: [OrderRemoved(order["id"])])
    send(hub_town, place, "order.moved", order)
    del shop.orders[order["id"]]
    hub_town.work()
    assert hub_town.row(t.sales_order).status == "removed"

    monkeypatch.setattr(FakeChannel, "read_webhook", lambda self, record: [an_order(self._body(record))])
    shop.orders[order["id"]] = order
    replayed(hub_town, place)
    hub_town.work()

    assert (hub_town.row(t.sales_order).status, hub_town.stock()) == ("open", {"MUG": (100, 3)})
    assert replayed(hub_town, place) == []
    hub_town.sound()


def test_records_that_were_set_aside_or_ignored_are_tried_again(
    hub_town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(stock={"mug": 100})
    place = open_shop(hub_town, shop)
    known = shop.buy("mug", 1)
    send(hub_town, place, "order", known)

    def refuses(self: FakeChannel, record: RawRecord) -> Any:
        if record.topic == "order.new":
            raise Unreadable("This version does not know that topic.")
        return plain_webhook(self, record)

    monkeypatch.setattr(FakeChannel, "read_webhook", refuses)
    send(hub_town, place, "order.new", shop.buy("mug", 3))
    send(hub_town, place, "order.edited", shop.change(known, note="edited"))
    send(hub_town, place, "order.new", b"no JSON at all")
    shop.orders.clear()
    hub_town.work()
    assert hub_town.count(t.sales_order) == 1
    assert "unreadable_record" in hub_town.issues()

    def knows(self: FakeChannel, record: RawRecord) -> Any:
        return [an_order(self._body(record))] if record.topic.startswith("order.") else plain_webhook(self, record)

    monkeypatch.setattr(FakeChannel, "read_webhook", knows)
    found = survey(hub_town, place)
    assert (found.quarantined, found.readable) == (2, 1)
    changed = list(replay.carry_out(found))

    assert sorted(each.order_id is None for each in changed) == [False, True]
    assert hub_town.stock() == {"MUG": (100, 4)}
    assert sorted(row.state for row in hub_town.rows(t.inbox, t.inbox.c.source == "webhook")) == [
        "done",
        "done",
        "done",
        "quarantined",
    ]
    assert "unreadable_record" in hub_town.issues(), "one of them cannot be read yet"
    assert replayed(hub_town, place) == []
    hub_town.sound()


@on_sqlite
def test_a_record_set_aside_for_another_reason_goes_to_the_workers(
    hub_town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(stock={"mug": 100})
    place = open_shop(hub_town, shop)
    monkeypatch.setattr(FakeChannel, "read_webhook", lambda self, record: 1 / 0)
    send(hub_town, place, "gone", {"id": "mug"})
    hub_town.work()
    monkeypatch.setattr(FakeChannel, "read_webhook", plain_webhook)

    replayed(hub_town, place)
    assert hub_town.issues() == []
    hub_town.work()

    assert not hub_town.row(t.listing).active


@on_sqlite
def test_an_order_whose_record_was_deleted_is_left_alone(hub_town: Town, reads: Callable[[Reading], None]) -> None:
    shop = Shop(stock={"mug": 100})
    place = open_shop(hub_town, shop)
    old = shop.buy("mug", 3)
    send(hub_town, place, "order", old)
    hub_town.work()
    send(hub_town, place, "order", shop.change(old, note="newer"))
    hub_town.work()
    newest = max(hub_town.rows(t.inbox, t.inbox.c.topic == "order"), key=lambda row: row.received_at)
    with hub_town.hub.database.write() as connection:
        connection.execute(delete(t.inbox_body).where(t.inbox_body.c.inbox_id == newest.id))
    before = everything(hub_town)
    reads(doubled)

    found = survey(hub_town, place)

    assert (found.forgotten, list(replay.carry_out(found))) == (1, [])
    assert [each.reason for each in found.troubles] == ["The record it stands by was deleted when its time was over."]
    assert everything(hub_town) == before


@on_sqlite
def test_since_leaves_older_orders_alone(hub_town: Town, reads: Callable[[Reading], None]) -> None:
    shop = Shop(stock={"mug": 100})
    place = open_shop(hub_town, shop)
    old = shop.buy("mug", 3)
    new = shop.change(old, note="newer")
    send(hub_town, place, "order", new)
    hub_town.work()
    with hub_town.hub.database.read() as connection:
        later = hub_town.hub.database.now(connection)
    send(hub_town, place, "order", old)  # came in since, and was out of date
    send(hub_town, place, "order", shop.buy("mug", 1))
    hub_town.work()
    reads(doubled)

    changed = replayed(hub_town, place, since=later)

    assert [each.held for each in changed] == [(replay.Held("MUG", 1, 2),)]
    assert hub_town.stock() == {"MUG": (100, 5)}


@on_sqlite
def test_one_order_alone_is_read_again(hub_town: Town, reads: Callable[[Reading], None]) -> None:
    shop = Shop(stock={"mug": 100})
    place = open_shop(hub_town, shop)
    first, second = shop.buy("mug", 1), shop.buy("mug", 1)
    for each in (first, second):
        send(hub_town, place, "order", each)
    hub_town.work()
    reads(doubled)
    order = replay.find_order(hub_town.hub.database, second["id"], connection_id=place)

    changed = replayed(hub_town, place, order=order)

    assert [each.external_id for each in changed] == [second["id"]]
    assert hub_town.stock() == {"MUG": (100, 3)}


@on_sqlite
def test_two_orders_are_not_made_of_one(hub_town: Town, reads: Callable[[Reading], None]) -> None:
    shop = Shop(stock={"mug": 100})
    place = open_shop(hub_town, shop)
    order = shop.buy("mug", 3)
    send(hub_town, place, "order", order)
    hub_town.work()
    reads(lambda order: replace(order, external_id=f"gid/{order.external_id}"))

    found = survey(hub_town, place)

    assert list(replay.carry_out(found)) == []
    assert [each.reason for each in found.troubles] == [
        f"Its record is read as the order gid/{order['id']} by plain. It was left alone."
    ]
    assert hub_town.count(t.sales_order) == 1


@on_sqlite
@pytest.mark.parametrize("error", [ZeroDivisionError("by nothing"), SystemExit("by nothing")])
def test_a_record_that_cannot_be_read_any_more_is_told_and_leaves_the_order(
    hub_town: Town, reads: Callable[[Reading], None], error: BaseException
) -> None:
    shop = Shop(stock={"mug": 100})
    place = open_shop(hub_town, shop)
    send(hub_town, place, "order", shop.buy("mug", 3))
    hub_town.work()

    def fails(order: Order) -> Order:
        raise error

    reads(fails)
    found = survey(hub_town, place)

    assert list(replay.carry_out(found)) == []
    (trouble,) = found.troubles
    assert trouble.reason == (
        f"A record of it that could be read before cannot be read by plain: {type(error).__name__}: by nothing"
    )
    assert hub_town.stock() == {"MUG": (100, 3)}


def test_killed_in_the_middle_it_goes_on_where_it_stopped(
    hub_town: Town, reads: Callable[[Reading], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(stock={"mug": 100})
    place = open_shop(hub_town, shop)
    for _ in range(5):
        send(hub_town, place, "order", shop.buy("mug", 1))
    hub_town.work()
    reads(doubled)
    monkeypatch.setattr(replay, "_WRITTEN_AT_ONCE", 2)

    begun = replay.carry_out(survey(hub_town, place))
    next(begun)
    begun.close()
    assert hub_town.stock() == {"MUG": (100, 7)}, "what was committed stands"

    assert len(replayed(hub_town, place)) == 3
    assert hub_town.stock() == {"MUG": (100, 10)}
    hub_town.sound()


def test_an_order_that_cannot_be_changed_holds_back_no_other(hub_town: Town, reads: Callable[[Reading], None]) -> None:
    shop = Shop(stock={"mug": 100})
    place = open_shop(hub_town, shop)
    bad, good = shop.buy("mug", 1), shop.buy("mug", 1)
    for each in (bad, good):
        send(hub_town, place, "order", each)
    hub_town.work()
    reads(lambda order: replace(doubled(order), note="\ud800" if order.external_id == bad["id"] else ""))

    found = survey(hub_town, place)
    changed = list(replay.carry_out(found))

    assert [each.external_id for each in changed] == [good["id"]]
    assert [each.number for each in found.troubles] == [f"#{bad['id']}"]
    assert hub_town.stock() == {"MUG": (100, 3)}
    hub_town.sound()


@on_sqlite
def test_a_deadlock_with_a_worker_is_nobodys_fault(
    hub_town: Town, reads: Callable[[Reading], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(stock={"mug": 100})
    place = open_shop(hub_town, shop)
    send(hub_town, place, "order", shop.buy("mug", 1))
    hub_town.work()
    reads(doubled)
    original, broken = orders.apply, [True, True]

    def deadlocked(*arguments: Any, **named: Any) -> Any:
        if broken:
            broken.pop()
            raise OperationalError("update", {}, Exception("deadlock detected"))
        return original(*arguments, **named)

    monkeypatch.setattr(orders, "apply", deadlocked)
    found = survey(hub_town, place)

    assert len(list(replay.preview(found))) == 1
    broken.append(True)
    assert len(list(replay.carry_out(found))) == 1
    assert found.troubles == []


@on_sqlite
def test_what_came_in_meanwhile_is_not_undone(hub_town: Town, reads: Callable[[Reading], None]) -> None:
    shop = Shop(stock={"mug": 100})
    place = open_shop(hub_town, shop)
    order = shop.buy("mug", 3)
    send(hub_town, place, "order", order)
    hub_town.work()
    reads(doubled)
    found = survey(hub_town, place)
    send(hub_town, place, "order", shop.ship(order))
    hub_town.work()

    assert list(replay.carry_out(found)) == []

    assert [each.reason for each in found.troubles] == [
        "It could not be changed: Something newer came in meanwhile. Look again."
    ]
    assert hub_town.row(t.sales_order).status == "fulfilled"


@on_sqlite
def test_it_waits_for_the_worker_that_is_reading(
    hub_town: Town, reads: Callable[[Reading], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(stock={"mug": 100})
    place = open_shop(hub_town, shop)
    send(hub_town, place, "order", shop.buy("mug", 3))
    hub_town.work()
    reads(doubled)
    lease = hub_town.hub.database.lease(f"inbox:{place}", 30)
    monkeypatch.setattr(replay, "_PATIENCE_SECONDS", 0.2)

    with pytest.raises(Conflict, match=r"^A worker has been reading the records of shop-\d+ for a minute"):
        replayed(hub_town, place)

    assert lease is not None
    hub_town.hub.database.release(lease)
    assert len(replayed(hub_town, place)) == 1


@on_sqlite
def test_a_removed_connection_is_refused(hub_town: Town) -> None:
    place = open_shop(hub_town, Shop(stock={"mug": 1}))
    hub = hub_town.hub
    connections.remove(hub.database, hub_town.merchant, place, "a@b.example", keyring=hub.keyring, connector=None)

    with pytest.raises(Conflict, match="was removed, and its settings with it"):
        survey(hub_town, place)


@on_sqlite
def test_connections_and_orders_are_found_by_name_and_several_are_listed(hub_town: Town) -> None:
    shop, other = Shop(stock={"mug": 10}), Shop(stock={"mug": 10})
    here, there = open_shop(hub_town, shop), open_shop(hub_town, other, adopt=False)
    for place, each in ((here, shop), (there, other)):
        send(hub_town, place, "order", each.buy("mug", 1))
    hub_town.work()
    with hub_town.hub.database.write() as connection:
        connection.execute(update(t.connection).values(label="Corner Shop"))
    database = hub_town.hub.database

    assert replay.find_connection(database, str(here)).id == here
    with pytest.raises(BadInput) as several:
        replay.find_connection(database, "corner shop")
    assert str(several.value).startswith("Several connections are called “corner shop”. Name one by its id: Corner")
    assert str(here) in str(several.value)
    with pytest.raises(BadInput, match=r"^There is no connection “nowhere”. There are: Corner Shop "):
        replay.find_connection(database, "nowhere")

    ids = {row.connection_id: row.id for row in hub_town.rows(t.sales_order)}
    assert replay.find_order(database, "100", connection_id=here).id == ids[here]
    assert replay.find_order(database, str(ids[there])).id == ids[there]
    with pytest.raises(BadInput) as many:
        replay.find_order(database, "100")
    assert str(many.value).startswith(
        "Several orders are called “100”. Name one by its id: #100 of Corner Shop (plain)"
    )
    with pytest.raises(BadInput, match=r"^There is no order “7”"):
        replay.find_order(database, "7")


@on_sqlite
def test_a_record_that_broke_its_worker_down_is_left_to_the_workers(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    send(hub_town, place, "order", shop.buy("mug", 1) | {"do": "poison"})
    with hub_town.hub.database.write() as connection:
        connection.execute(
            update(t.inbox)
            .where(t.inbox.c.source == "webhook")
            .values(state="quarantined", crash_count=inbox.MOST_CRASHES + 1)
        )
    read = shop.count("poison")

    replayed(hub_town, place)

    assert shop.count("poison") == read
    assert hub_town.row(t.inbox, t.inbox.c.source == "webhook").state == "pending"
