"""The inbox: everything from outside is stored raw, once, encrypted, before it is acknowledged or read."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update

from hub.connector import Context, Delivery, RawRecord, Webhook
from hub.http import RefusingClient
from hub.store import inbox
from hub.store import tables as t
from hub.store.database import Database, DatabaseAway, new_id
from hub.store.inbox import Stored
from hub.testing.context import MemoryTokenVault
from hub_woocommerce.connector import WooCommerceConnector
from tests.store.warehouse import Warehouse

SECRET = "made-by-the-hub"


class Post:
    """A connection's letter box: puts records in and takes them out."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        self.database, self.keyring, self.merchant = warehouse.database, warehouse.keyring, warehouse.merchant
        self.connection = warehouse.connect()

    def webhook(self, body: bytes, *, key: str = "", topic: str = "order.updated", **headers: str) -> bool:
        delivery = Delivery(topic, key or hashlib.sha256(body).hexdigest())
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return inbox.store_webhook(
            self.database, self.keyring, self.merchant, self.connection, delivery, Webhook(named, body)
        )

    def page(self, *records: RawRecord) -> int:
        with self.database.write() as connection:
            at = self.database.now(connection)
            return inbox.store_page(
                connection, self.keyring, self.merchant, self.connection, records, asked_at=at, at=at
            )

    def answer(self, record: RawRecord) -> None:
        with self.database.write() as connection:
            at = self.database.now(connection)
            inbox.store_fetched(connection, self.keyring, self.merchant, self.connection, record, asked_at=at, at=at)

    def claim(self, limit: int = 100) -> list[Stored]:
        return inbox.claim(self.database, self.keyring, self.merchant, self.connection, limit=limit)

    def finish(self, *rows: Stored, quarantined: Mapping[UUID, str] | None = None) -> None:
        bad = quarantined or {}
        with self.database.write() as connection:
            done = [(row.id, row.record.external_id) for row in rows if row.id not in bad]
            at = self.database.now(connection)
            inbox.finish(connection, self.merchant, done, [], at=at)
            inbox.set_aside(connection, self.merchant, self.connection, list(bad.items()), at=at)

    def states(self) -> list[str]:
        with self.database.read() as connection:
            return list(
                connection.execute(select(t.inbox.c.state).order_by(t.inbox.c.received_at, t.inbox.c.id)).scalars()
            )


@pytest.fixture
def post(warehouse: Warehouse) -> Post:
    return Post(warehouse)


# ---------------------------------------------------------------- stored once


def test_a_webhook_is_stored_once_however_often_it_is_sent(post: Post) -> None:
    assert post.webhook(b'{"id":1}', key="one")
    assert not post.webhook(b'{"id":1}', key="one")
    assert post.webhook(b'{"id":1}', key="two")

    assert [row.record.body for row in post.claim()] == [b'{"id":1}', b'{"id":1}']


def test_ten_copies_at_once_are_one(post: Post) -> None:
    stored: list[bool] = []
    start = threading.Barrier(10)

    def send() -> None:
        start.wait()
        stored.append(post.webhook(b'{"id":1}'))

    senders = [threading.Thread(target=send) for _ in range(10)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()

    assert sorted(stored) == [False] * 9 + [True]
    assert post.states() == ["pending"]


def test_a_polled_record_is_new_when_its_version_or_its_body_is(post: Post) -> None:
    first = RawRecord("order", "7", b"{}", version="2026-03-02T12:00:00")
    same_second = RawRecord("order", "7", b'{"paid":true}', version="2026-03-02T12:00:00")
    touched = RawRecord("order", "7", b"{}", version="2026-03-02T12:00:01")

    assert post.page(first, first) == 1
    assert post.page(first, same_second, touched) == 2
    assert post.page(first, same_second, touched) == 0


def test_a_webhook_and_a_poll_of_one_record_are_both_kept(post: Post) -> None:
    post.webhook(b"{}", key="order/7//" + hashlib.sha256(b"{}").hexdigest())

    assert post.page(RawRecord("order", "7", b"{}")) == 1


def test_every_answer_to_a_fetch_counts(post: Post) -> None:
    for _ in range(2):
        post.answer(RawRecord("order", "7", b"{}"))

    assert [(row.source, row.asked_at is not None) for row in post.claim()] == [("fetch", True), ("fetch", True)]


def test_connections_do_not_share_their_keys(warehouse: Warehouse) -> None:
    one, two = Post(warehouse), Post(warehouse)

    assert one.webhook(b"{}", key="same")
    assert two.webhook(b"{}", key="same")
    assert len(one.claim()) == len(two.claim()) == 1


def test_a_key_too_long_to_store_still_tells_records_apart(post: Post) -> None:
    long = "x" * 400

    assert post.webhook(b"{}", key=long + "a")
    assert post.webhook(b"{}", key=long + "b")
    assert not post.webhook(b"{}", key=long + "a")


def woo_delivery(body: bytes, topic: str, delivery_id: str) -> tuple[Delivery, Webhook]:
    """A webhook as WooCommerce sends it, checked as the web process checks it."""
    settings = {"site": "https://woo.example", "consumer_key": "ck_1", "consumer_secret": "cs_1"}
    connector = WooCommerceConnector(
        Context(settings, SECRET, RefusingClient(), lambda: pytest.fail("no clock"), MemoryTokenVault())
    )
    signature = base64.b64encode(hmac.digest(SECRET.encode(), body, hashlib.sha256)).decode()
    headers = {
        "x-wc-webhook-topic": topic,
        "x-wc-webhook-signature": signature,
        "x-wc-webhook-source": "https://woo.example/",
        "x-wc-webhook-delivery-id": delivery_id,
    }
    webhook = Webhook(headers, body)
    delivery = connector.verify(webhook)
    assert delivery is not None
    return delivery, webhook


def test_two_orders_of_one_second_share_woocommerces_delivery_id_and_both_are_kept(post: Post) -> None:
    stored = [
        inbox.store_webhook(
            post.database,
            post.keyring,
            post.merchant,
            post.connection,
            *woo_delivery(json.dumps({"id": number}).encode(), topic, delivery_id),
        )
        for number, topic, delivery_id in [
            (7, "order.updated", "same"),
            (8, "order.updated", "same"),
            (7, "order.updated", "another"),  # the same body again
            (7, "order.deleted", "one"),
            (7, "order.deleted", "one"),
            (7, "order.deleted", "two"),  # deleted again, after it was restored
        ]
    ]

    assert stored == [True, True, False, True, False, True]


def test_a_page_of_thousands_is_stored_in_one_go(post: Post) -> None:
    assert post.page(*(RawRecord("order", str(number), b"{}") for number in range(3000))) == 3000
    assert len(post.claim(5000)) == 3000


def test_what_the_database_could_not_store_is_not_acknowledged(post: Post, tmp_path: Path) -> None:
    away = Database(f"sqlite:///{tmp_path}/no/folder/hub.db")

    with pytest.raises(DatabaseAway):
        inbox.store_webhook(away, post.keyring, post.merchant, post.connection, Delivery("x", "y"), Webhook({}, b"{}"))
    away.close()


# ---------------------------------------------------------------- what is kept of it


CANARY = "canary-7f3a"


def test_no_body_lies_readable_in_the_database(post: Post, tmp_path: Path) -> None:
    body = json.dumps({"customer": CANARY, "again": [CANARY] * 50}).encode()
    post.webhook(body, x_wc_webhook_signature=CANARY, authorization=CANARY, cookie=CANARY, x_forwarded_for=CANARY)
    post.page(RawRecord("order", "7", body))
    post.answer(RawRecord("order", "7", body))

    assert CANARY.encode() not in everything(post.database, tmp_path)
    assert [row.record.body for row in post.claim()] == [body] * 3
    assert CANARY.encode() not in everything(post.database, tmp_path)


def everything(database: Database, folder: Path) -> bytes:
    """All that lies in the database: its files, or what it gives out."""
    if database.is_sqlite:
        return b"".join(path.read_bytes() for path in folder.glob("hub.db*"))
    said = b""
    with database.read() as connection:
        for table in t.metadata.sorted_tables:
            for row in connection.execute(select(table)):
                said += b"".join(each if isinstance(each, bytes) else repr(each).encode() for each in row)
    return said


def test_a_body_moved_to_another_row_cannot_be_read(post: Post) -> None:
    post.webhook(b'{"id":1}', key="one")
    post.webhook(b'{"id":2}', key="two")
    first, second = (row.inbox_id for row in post.warehouse.rows(t.inbox_body))
    with post.database.write() as connection:
        stolen = connection.execute(select(t.inbox_body.c.body).where(t.inbox_body.c.inbox_id == first)).scalar_one()
        connection.execute(update(t.inbox_body).where(t.inbox_body.c.inbox_id == second).values(body=stolen))

    rows = {row.id: row for row in post.claim()}

    assert (rows[first].damage, rows[first].record.body) == ("", b'{"id":1}')
    assert "is damaged or was copied from another row" in rows[second].damage


def test_only_the_vendors_own_headers_are_kept(post: Post) -> None:
    post.webhook(
        b"{}",
        x_wc_webhook_topic="order.updated",
        x_shopify_hmac_sha256="no",
        x_wc_webhook_signature="no",
        x_shopify_access_token="no",
        x_forwarded_for="no",
        user_agent="no",
        authorization="no",
    )

    (row,) = post.claim()
    assert row.record.headers == {"x-wc-webhook-topic": "order.updated"}


def test_bytes_come_back_exactly_as_they_came(post: Post) -> None:
    odd = [b"", b"\x00\xff\xfe", b"\xef\xbb\xbf{}", '{"n":"Zoë 🎁"}'.encode(), b"x" * 300_000]
    for body in odd:
        post.webhook(body)

    assert [row.record.body for row in post.claim()] == odd


def test_a_webhook_shows_that_the_shop_is_alive(post: Post) -> None:
    assert post.warehouse.row(t.connection).last_event_at is None

    post.webhook(b"{}", key="one")
    first = post.warehouse.row(t.connection).last_event_at
    post.webhook(b"{}", key="two")
    assert first is not None
    assert post.warehouse.row(t.connection).last_event_at == first, "not written for every webhook"

    post.warehouse.let_pass(t.connection, "last_event_at", timedelta(seconds=6))
    post.webhook(b"{}", key="three")
    assert post.warehouse.row(t.connection).last_event_at > first


# ---------------------------------------------------------------- claimed


def test_records_are_read_in_order_of_receipt(post: Post) -> None:
    for number in range(5):
        post.webhook(str(number).encode())

    rows = post.claim(limit=3)
    assert [row.record.body for row in rows] == [b"0", b"1", b"2"]
    post.finish(*rows)
    assert [row.record.body for row in post.claim()] == [b"3", b"4"]


def test_a_record_that_may_have_broken_its_worker_comes_alone(post: Post) -> None:
    for number in range(4):
        post.webhook(str(number).encode())
    assert len(post.claim(limit=2)) == 2  # and its worker is never heard of again

    for expected in (b"0", b"1"):
        (row,) = post.claim()
        assert (row.record.body, row.crash_count) == (expected, 2)
        post.finish(row)
    assert [row.record.body for row in post.claim()] == [b"2", b"3"]


def test_each_crash_is_counted_until_an_orderly_end(post: Post) -> None:
    post.webhook(b"{}")
    counts = [post.claim()[0].crash_count for _ in range(4)]
    assert counts == [1, 2, 3, 4]

    rows = post.claim()
    with post.database.write() as connection:
        inbox.put_back(connection, post.merchant, rows)
    assert post.claim()[0].crash_count == 5, "only the attempt that was not its fault is taken back"


def test_a_finished_record_is_never_read_again(post: Post) -> None:
    post.webhook(b"1")
    post.webhook(b"2")
    first, second = post.claim()

    post.finish(first, second, quarantined={second.id: "Not JSON."})

    assert post.claim() == []
    rows = {row.id: row for row in post.warehouse.rows(t.inbox)}
    assert (rows[first.id].state, rows[first.id].crash_count) == ("done", 0)
    assert (rows[second.id].state, rows[second.id].error) == ("quarantined", "Not JSON.")


def test_quarantined_records_are_read_again_on_request(post: Post) -> None:
    post.webhook(b"1")
    (row,) = post.claim()
    post.finish(row, quarantined={row.id: "Not JSON."})

    assert inbox.release_quarantined(post.database, post.merchant, post.connection) == 1

    (again,) = post.claim()
    assert (again.id, again.record.body, again.crash_count) == (row.id, b"1", 1)
    assert inbox.release_quarantined(post.database, post.merchant, post.connection) == 0


# ---------------------------------------------------------------- forgotten


def test_old_bodies_are_forgotten_and_their_keys_stay(post: Post) -> None:
    post.webhook(b"old", key="old")
    rows = post.claim()
    post.finish(*rows)
    post.warehouse.let_pass(t.inbox_body, "received_at", timedelta(days=91))
    post.webhook(b"new", key="new")
    before = post.warehouse.now() - timedelta(days=90)

    assert inbox.forget_bodies(post.database, before) == 1

    assert [row.record.body for row in post.claim()] == [b"new"]
    assert not post.webhook(b"old", key="old"), "a copy that comes late is still a copy"
    assert inbox.forget_bodies(post.database, before) == 0


@pytest.mark.parametrize("state", ["pending", "quarantined"])
def test_what_was_not_read_is_not_forgotten(post: Post, state: str) -> None:
    post.webhook(b"old")
    with post.database.write() as connection:
        connection.execute(update(t.inbox).values(state=state))
    post.warehouse.let_pass(t.inbox_body, "received_at", timedelta(days=91))

    assert inbox.forget_bodies(post.database, post.warehouse.now()) == 0


def test_bodies_of_some_connectors_are_forgotten_sooner(post: Post) -> None:
    post.webhook(b"old")
    post.finish(*post.claim())

    assert inbox.forget_bodies(post.database, post.warehouse.now(), connectors=["amazon"]) == 0
    assert inbox.forget_bodies(post.database, post.warehouse.now(), connectors=["amazon", "fake"]) == 1


def test_more_bodies_than_fit_one_step_are_forgotten_all_the_same(post: Post, monkeypatch: Any) -> None:
    monkeypatch.setattr(inbox, "_FORGOTTEN_AT_ONCE", 4)
    post.page(*(RawRecord("order", str(number), b"{}") for number in range(10)))
    post.finish(*post.claim())

    assert inbox.forget_bodies(post.database, post.warehouse.now()) == 10
    assert post.warehouse.rows(t.inbox_body) == []


# ---------------------------------------------------------------- whether all is read


def test_what_came_later_does_not_count_as_unread_but_what_was_fetched_does(post: Post) -> None:
    def unread(since: Any) -> bool:
        with post.database.read() as connection:
            return inbox.unread(connection, post.merchant, post.connection, since=since)

    before = post.warehouse.now()
    post.webhook(b"later")
    assert not unread(before)
    assert unread(post.warehouse.now())

    post.page(RawRecord("order", "7", b"{}"))
    assert unread(before)
    post.finish(*post.claim())
    assert not unread(post.warehouse.now())


def test_a_connection_that_does_not_exist_takes_no_webhook(post: Post) -> None:
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        inbox.store_webhook(
            post.database, post.keyring, post.merchant, new_id(), Delivery("x", "y"), Webhook({}, b"{}")
        )
