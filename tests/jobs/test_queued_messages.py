"""Messages of a queue: stored before they are deleted, recognized when they come again, and nobody else's wait."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID

import pytest
from sqlalchemy import update

from hub import jobs
from hub.connector import (
    Capabilities,
    Delivery,
    EffectResult,
    QueueAddress,
    RawRecord,
    Settlement,
    Subscriptions,
)
from hub.errors import NotFound, Unavailable, Unreadable
from hub.jobs.shift import start_shift
from hub.plugins import Registry
from hub.sqs import Message, Queue
from hub.store import connections, inbox
from hub.store import tables as t
from hub.testing.queues import QueueServer, queue_server
from hub.testing.town import town_of
from tests.jobs.fake_shop import FakeChannel, Shop, connect
from tests.town import OWNER, Town


class QueueChannel(FakeChannel):
    """A channel that puts its news into a queue; a message is the topic, the key, and a body as a webhook has it."""

    name = "queueing"
    label = "Queueing"
    capabilities: ClassVar[Capabilities] = Capabilities(
        push_batch=8, coalesce_seconds=0.0, webhooks=False, message_poll_seconds=5.0, min_poll_seconds=120.0
    )
    effects: ClassVar[Mapping[str, Settlement]] = {"subscribe_webhooks": Settlement.NATURAL_KEY}
    addresses: ClassVar[dict[str, QueueAddress]] = {}  # by shop
    subscribed: ClassVar[list[tuple[str, str]]] = []

    @classmethod
    def queue_address(cls, settings: Mapping[str, Any]) -> QueueAddress | None:
        return cls.addresses.get(settings["shop"])

    @classmethod
    def read_message(cls, body: bytes) -> Delivery | None:
        try:
            told = json.loads(body)
        except ValueError as error:
            raise Unreadable("This is no message.") from error
        if told.get("breaks"):
            raise SystemExit(1)
        return None if told["topic"] == "test" else Delivery(told["topic"], told["key"])

    def _body(self, record: RawRecord) -> Any:
        body = super()._body(record)
        return body["body"] if "key" in body else body

    def subscribe_webhooks(self, request: Mapping[str, Any], key: str) -> EffectResult:
        self.subscribed.append((self.settings["shop"], request["address"]))
        return EffectResult()

    def read_subscriptions(self, address: str) -> Subscriptions:
        self.shop.asked(f"read_subscriptions {address!r}")
        return Subscriptions(("order",))


class Street:
    """A town with one such shop, and its queue."""

    def __init__(self, town: Town, server: QueueServer) -> None:
        known = {**town.hub.registry.connectors, QueueChannel.name: QueueChannel}
        settings = replace(town.hub.settings, routes=server.routes())
        town.hub = replace(town.hub, registry=Registry(known), settings=settings)
        self.town = town
        self.server = server
        self.shop = Shop(stock={"mug": 100})
        self.queue = f"queue-{self.shop.name}-{town.merchant}"
        QueueChannel.addresses[self.shop.name] = server.create(self.queue)
        self.place: UUID = connect(town, self.shop, QueueChannel)

    def send(self, *messages: str) -> None:
        self.server.send(self.queue, *messages)

    def left(self) -> int:
        return self.server.left(self.queue)

    def listen(self) -> None:
        """Let the next look into the queue be due, and do it; nothing else is done."""
        self.town.let_pass(61)
        self.drain("messages")

    def drain(self, lane: str) -> None:
        jobs.drain(self.town.hub, self.town.merchant, self.place, lane, budget_seconds=60.0)

    def orders(self) -> set[str]:
        return {row.external_id for row in self.town.rows(t.sales_order)}

    def stored(self) -> list[tuple[str, str]]:
        rows = self.town.rows(t.inbox, t.inbox.c.source == "webhook")
        return sorted((row.topic, row.state) for row in rows)

    def troubles(self) -> list[str]:
        """The kinds of the open issues; that nobody has matched the mug is none here."""
        return [kind for kind in self.town.issues() if kind != "unmatched_listing"]

    def cursor(self) -> Any:
        return self.town.row(t.cursor, t.cursor.c.stream == "messages")


def about(order: Mapping[str, Any], key: str = "", topic: str = "order") -> str:
    return json.dumps({"topic": topic, "key": key or f"{order['id']} {order['version']}", "body": order})


@pytest.fixture
def street(hub_town: Town) -> Iterator[Street]:
    """In each kind of database: for what the store does."""
    yield Street(hub_town, queue_server())
    QueueChannel.addresses.clear()
    QueueChannel.subscribed.clear()


@pytest.fixture
def lane() -> Iterator[Street]:
    """For what the lane does, whatever the database."""
    with town_of(QueueChannel) as town:
        yield Street(town, queue_server())
    QueueChannel.addresses.clear()
    QueueChannel.subscribed.clear()


# ---------------------------------------------------------------- taking them in


def test_a_message_becomes_an_order_and_is_gone_from_the_queue(street: Street) -> None:
    sold = street.shop.order([("mug", 2)])
    street.send(about(sold))

    street.listen()
    assert street.stored() == [("order", "pending")]
    assert street.left() == 0
    street.town.work()

    assert street.orders() == {sold["id"]}
    assert street.stored() == [("order", "done")]
    assert street.town.row(t.connection).last_event_at is not None


def test_a_queue_is_looked_into_as_often_as_the_connector_says(lane: Street) -> None:
    lane.listen()
    looked = lane.cursor().polled_at
    assert (lane.cursor().due_at - looked).total_seconds() == 5.0

    lane.drain("messages")
    assert lane.cursor().polled_at == looked, "not before its time"
    assert (lane.town.merchant, lane.place, "messages") not in jobs.due(lane.town.hub)
    lane.town.let_pass(6)
    assert (lane.town.merchant, lane.place, "messages") in jobs.due(lane.town.hub)


def test_a_worker_listens_for_a_second_unless_its_time_is_nearly_over(
    lane: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[int] = []
    monkeypatch.setattr(Queue, "receive", lambda _, *, wait_seconds=0: waited.append(wait_seconds) or [])
    for budget in (15.0, 9.0):
        lane.town.let_pass(61)
        jobs.drain(lane.town.hub, lane.town.merchant, lane.place, "messages", budget_seconds=budget)
    assert waited == [1, 0]


def test_messages_come_ten_by_ten_until_there_are_no_more(lane: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[int] = []
    received = Queue.receive

    def counted(queue: Queue, *, wait_seconds: int = 0) -> list[Message]:
        found = received(queue, wait_seconds=wait_seconds)
        answers.append(len(found))
        return found

    monkeypatch.setattr(Queue, "receive", counted)
    sold = [lane.shop.order([("mug", 1)]) for _ in range(33)]
    lane.send(*map(about, sold))

    lane.listen()

    assert answers == [10, 10, 10, 3]
    assert lane.left() == 0
    lane.town.work()
    assert lane.orders() == {each["id"] for each in sold}


def test_what_means_nothing_is_deleted_and_not_kept(lane: Street) -> None:
    lane.send(json.dumps({"topic": "test"}))
    lane.listen()
    assert (lane.left(), lane.stored()) == (0, [])


def test_doubled_and_reordered_messages_make_one_order_in_its_newest_state(street: Street) -> None:
    first = street.shop.order([("mug", 2)])
    shipped = street.shop.ship(first)
    street.send(about(shipped), about(first), about(shipped), about(first))
    street.listen()
    street.send(about(first), about(shipped))
    street.listen()
    street.town.work()

    assert [(topic, state) for topic, state in street.stored()] == [("order", "done")] * 2
    assert street.town.row(t.sales_order).status == "fulfilled"


# ---------------------------------------------------------------- going wrong


def test_a_worker_that_dies_after_the_commit_leaves_copies_that_are_recognized(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipts: list[str] = []

    def dies(queue: Queue, messages: Sequence[Message]) -> None:
        receipts.extend(each.receipt for each in messages)
        raise Unavailable("The worker is gone.")

    sold = street.shop.order([("mug", 2)])
    street.send(about(sold))
    with monkeypatch.context() as patched:
        patched.setattr(Queue, "delete", dies)
        street.listen()
    assert (street.stored(), street.left()) == ([("order", "pending")], 1)

    street.server.give_back(street.queue, receipts)
    street.listen()
    street.town.work()

    assert (street.stored(), street.left()) == ([("order", "done")], 0)
    assert street.orders() == {sold["id"]}


def test_what_is_stored_is_rung_for_although_the_queue_fails_then(
    lane: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise Unavailable("The queue is away.")

    monkeypatch.setattr(Queue, "delete", fails)
    lane.send(about(lane.shop.order([("mug", 2)])))
    heard = lane.town.hub.doorbell.heard  # type: ignore[attr-defined]
    heard.clear()

    lane.listen()

    assert (lane.place, "inbox") in heard


def test_nothing_is_deleted_that_could_not_be_stored(lane: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: Any, **__: Any) -> int:
        raise RuntimeError("The disk is full.")

    lane.send(about(lane.shop.order([("mug", 2)])))
    with monkeypatch.context() as patched:
        patched.setattr(inbox, "store_messages", breaks)
        lane.listen()

    assert (lane.stored(), lane.left()) == ([], 1)
    assert "The disk is full." in lane.cursor().error


def test_an_unreadable_message_is_kept_set_aside_and_read_after_an_update(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    sold = street.shop.order([("mug", 2)])
    other = street.shop.order([("mug", 1)])
    street.send("<Order/>" + about(sold), about(other))
    street.listen()
    street.town.work()

    assert street.left() == 0
    assert street.stored() == [("message", "quarantined"), ("order", "done")]
    assert street.orders() == {other["id"]}
    assert street.troubles() == ["unreadable_record"]

    understood = QueueChannel.read_message.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(
        QueueChannel,
        "read_message",
        classmethod(lambda cls, body: understood(cls, body.removeprefix(b"<Order/>"))),
    )
    monkeypatch.setattr(
        QueueChannel,
        "_body",
        lambda self, record: json.loads(record.body.removeprefix(b"<Order/>"))["body"],
    )
    inbox.release_quarantined(street.town.hub.database, street.town.merchant, street.place)
    street.town.work()

    assert street.orders() == {sold["id"], other["id"]}
    assert street.troubles() == []


def test_a_message_whose_key_is_none_is_kept_under_what_it_says(street: Street) -> None:
    sold = street.shop.order([("mug", 2)])
    street.send(about(sold, key="\x00"), about(sold, key="\x00"), json.dumps({"topic": "order", "key": "", "body": {}}))
    street.listen()
    assert street.stored() == [("message", "pending")] * 2


def test_a_message_that_breaks_its_reader_is_kept_and_the_others_go_on(lane: Street) -> None:
    sold = lane.shop.order([("mug", 2)])
    lane.send(json.dumps({"breaks": True}), about(sold))
    lane.listen()
    lane.town.work()

    assert lane.left() == 0
    assert lane.orders() == {sold["id"]}
    assert lane.stored() == [("message", "quarantined"), ("order", "done")]


def test_a_message_that_came_again_and_again_is_stored_without_being_looked_at(
    lane: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What kills the whole process leaves no trace but the count of deliveries."""
    read: list[bytes] = []
    understood = QueueChannel.read_message.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(
        QueueChannel, "read_message", classmethod(lambda cls, body: (read.append(body), understood(cls, body))[1])
    )
    poison = replace_deliveries(monkeypatch, 6)
    lane.send(about(lane.shop.order([("mug", 2)])))

    lane.listen()

    assert read == []
    assert poison == [6]
    assert (lane.stored(), lane.left()) == ([("message", "pending")], 0)


def replace_deliveries(monkeypatch: pytest.MonkeyPatch, count: int) -> list[int]:
    """Let every message have come so often."""
    seen: list[int] = []
    received = Queue.receive

    def again(queue: Queue, *, wait_seconds: int = 0) -> list[Message]:
        found = [replace(each, deliveries=count) for each in received(queue, wait_seconds=wait_seconds)]
        seen.extend(each.deliveries for each in found)
        return found

    monkeypatch.setattr(Queue, "receive", again)
    return seen


# ---------------------------------------------------------------- a queue that is away


def test_a_queue_that_is_refused_is_told_at_once_and_the_shop_goes_on(
    lane: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(queue: Queue, *, wait_seconds: int = 0) -> list[Message]:
        raise NotFound("There is no such queue.")

    with monkeypatch.context() as patched:
        patched.setattr(Queue, "receive", refuses)
        lane.listen()
    assert lane.troubles() == ["messages_stopped"]
    assert lane.town.row(t.connection).state == "connected"
    sold = lane.shop.order([("mug", 2)])
    lane.town.poll(lane.place)
    assert lane.orders() == {sold["id"]}

    lane.listen()
    assert lane.troubles() == []
    assert lane.cursor().error == ""


def test_a_queue_that_does_not_answer_is_told_after_ten_minutes(lane: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(queue: Queue, *, wait_seconds: int = 0) -> list[Message]:
        raise Unavailable("The queue did not answer in time.")

    monkeypatch.setattr(Queue, "receive", silent)
    lane.listen()
    assert lane.troubles() == []
    assert lane.town.row(t.connection).failures == 0, "the shop itself answers"

    since = lane.cursor().value
    with lane.town.hub.database.write() as connection:
        earlier = since.replace(since[:4], str(int(since[:4]) - 1), 1)
        connection.execute(update(t.cursor).where(t.cursor.c.stream == "messages").values(value=earlier))
    lane.listen()
    assert lane.troubles() == ["messages_stopped"]


def test_a_long_import_keeps_no_message_waiting(lane: Street) -> None:
    sold = lane.shop.order([("mug", 2)])
    lane.send(about(sold))
    lane.town.let_pass(61)
    hub = lane.town.hub
    with start_shift(hub, lane.town.merchant, lane.place, "fetch", 1e12) as importing:
        assert importing is not None
        lane.drain("messages")
        lane.drain("inbox")
        assert lane.orders() == {sold["id"]}


def test_settings_without_a_queue_are_not_listened_to(lane: Street) -> None:
    QueueChannel.addresses.clear()
    lane.listen()
    assert lane.cursor().due_at is None

    place = connect(lane.town, Shop(stock={"cup": 1}), QueueChannel)
    streams = {row.stream for row in lane.town.rows(t.cursor, t.cursor.c.connection_id == place)}
    assert streams == {"listings", "orders"}


def test_two_connections_never_read_one_queue(lane: Street) -> None:
    other = Shop(stock={"cup": 1})
    QueueChannel.addresses[other.name] = QueueChannel.addresses[lane.shop.name]
    loaded = QueueChannel.settings_schema().load({"shop": other.name})
    hub = lane.town.hub
    _, task = connections.connect(hub.database, hub.keyring, lane.town.merchant, QueueChannel, "", loaded, OWNER)
    lane.town.work()

    refused = lane.town.row(t.task, t.task.c.id == task)
    assert (refused.state, refused.message.partition(",")[0]) == (
        "failed",
        f"{lane.shop.name} reads this queue already",
    )

    loaded = QueueChannel.settings_schema().load({"shop": lane.shop.name})
    again = connections.reconnect(
        hub.database, hub.keyring, lane.town.merchant, lane.place, QueueChannel, loaded, OWNER
    )
    lane.town.work()
    assert lane.town.row(t.task, t.task.c.id == again).state == "done", "but itself it may reconnect"


def test_a_paused_shop_is_listened_to_and_a_removed_one_is_not(street: Street) -> None:
    for state, left in (("paused", 0), ("removed", 1)):
        with street.town.hub.database.write() as connection:
            connection.execute(update(t.connection).values(state=state))
        street.send(about(street.shop.order([("mug", 2)])))
        street.listen()
        assert street.left() == left


# ---------------------------------------------------------------- having them sent


def test_the_vendor_is_told_to_use_the_queue_and_asked_whether_it_does(lane: Street) -> None:
    """Without a public address of this hub: a queue needs none."""
    assert lane.town.hub.settings.public_url is None
    lane.town.work()
    assert QueueChannel.subscribed == [(lane.shop.name, "")]

    lane.town.let_pass(301)
    lane.town.work()
    assert "read_subscriptions ''" in lane.shop.calls
    assert lane.town.row(t.connection).subscriptions["active"] == ["order"]


# ---------------------------------------------------------------- figures that a message explains


def test_a_sale_whose_message_is_on_its_way_costs_no_import_of_orders(lane: Street) -> None:
    """The shop has taken its sale off the figure already; what the hub counts changes for another reason meanwhile."""
    lane.town.open_for_business(lane.place, adopt=True)
    sold = lane.shop.buy("mug", 2)
    imports = lane.shop.count("fetch_orders")
    lane.town.count_stock("MUG", 60)
    lane.drain("publish")
    assert (lane.shop.stock["mug"], lane.shop.count("fetch_orders")) == (98, imports), "nothing is overwritten yet"

    lane.send(about(sold))
    lane.listen()
    lane.town.work()

    assert lane.shop.stock["mug"] == 58
    assert lane.shop.count("fetch_orders") == imports


def test_a_figure_that_no_message_explains_in_time_is_put_down_to_nobody(lane: Street) -> None:
    lane.town.open_for_business(lane.place, adopt=True)
    lane.shop.stock["mug"] = 77
    imports = lane.shop.count("fetch_orders")
    lane.town.count_stock("MUG", 60)
    lane.drain("publish")
    assert lane.shop.stock["mug"] == 77

    for seconds in (14, 2):
        assert lane.shop.count("fetch_orders") == imports
        with lane.town.hub.database.write() as connection:
            for row in connection.execute(t.publication.select()).all():
                since = row.explain_since - timedelta(seconds=seconds)
                connection.execute(update(t.publication).values(explain_since=since, not_before=None))
        lane.drain("publish")

    assert lane.shop.count("fetch_orders") == imports + 1
    assert lane.shop.stock["mug"] == 60
    assert lane.troubles() == ["stock_drift"]
