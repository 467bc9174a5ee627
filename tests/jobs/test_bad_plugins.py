"""Plugins that do their worst, in a real worker: the others of that worker go on, and their pages say what happened."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from datetime import UTC
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import redis
from sqlalchemy import Connection as DatabaseConnection
from sqlalchemy import Engine, update

from hub.connector import Context, Delivery, Listing, Page, RateBudget, RawRecord, Token, Webhook
from hub.core.model import Money, Order
from hub.errors import AuthError, RateLimited, Rejected, Unavailable, Unreadable
from hub.jobs import Hub, guard
from hub.jobs.guard import Broke, guarded
from hub.jobs.shift import Shift, start_shift
from hub.plugins import Registry
from hub.store import connections, effects, inbox
from hub.store import tables as t
from hub.store.connections import Credentials
from hub.store.database import Database
from hub.store.secrets import KeyRing, new_key
from hub.store.vault import Vault
from hub.testing.context import context_for
from tests.jobs.fake_shop import FakeChannel, Shop, an_order, connect
from tests.jobs.wicked import Liar, Unprintable, Wicked
from tests.servers import die_with_parent
from tests.town import OWNER, Town, town

on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
TOO_LONG = "took longer than 4 seconds"
ORDER = {
    "id": "1",
    "version": "2030-01-01T00:00:00+00:00",
    "placed": "2030-01-01T00:00:00+00:00",
    "status": "open",
    "lines": [{"id": "1", "listing": "mug", "quantity": 2}],
}

# Where it does what, and what its connection's page says of it.
SAID = {
    ("fetch_orders", "hangs in C"): f"while fetching from the vendor (it {TOO_LONG})",
    ("fetch_orders", "ends its process"): "while fetching from the vendor (exit status 3)",
    ("fetch_orders", "raises the unprintable"): "Unprintable: it cannot say what went wrong",
    ("fetch_orders", "floods memory"): "The connector failed: MemoryError",
    ("fetch_orders", "gives no end"): f"while fetching from the vendor (it {TOO_LONG})",
    ("read_webhook", "crashes"): "while reading what came in (killed by SIGSEGV)",
    ("read_webhook", "hangs"): f"while reading what came in (it {TOO_LONG})",
    ("read_webhook", "exits"): "The connector failed on this record: SystemExit: 3",
    ("read_webhook", "lies"): "The connector read something that is not a fact of the hub: Liar.",
    ("push_stock", "hangs in C"): f"while publishing stock (it {TOO_LONG})",
    ("push_stock", "floods the log"): f"while publishing stock (it {TOO_LONG})",
    ("push_stock", "raises the unprintable"): "Unprintable: it cannot say what went wrong",
    ("push_stock", "lies"): "push_stock gave Liar, not PushOutcome.",
    ("subscribe_webhooks", "hangs"): f"while sending to the vendor (it {TOO_LONG})",
    ("subscribe_webhooks", "ends its process"): "while sending to the vendor (exit status 3)",
    ("subscribe_webhooks", "gives None"): "perform gave NoneType, not EffectResult.",
}  # fmt: skip


class Village:
    """One good shop and many bad ones, all of the same plugin, with work in every lane of each."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.good = self._open("good", adopt=True)
        self.bad = {key: self._open(f"bad-{number}") for number, key in enumerate(SAID)}
        with town.hub.database.read() as connection:
            self.began = Database.now(connection)
        for (where, mood), place in self.bad.items():
            self._spoil(place, where, mood)
        for place in (self.good, *self.bad.values()):
            self._work(place)

    def _open(self, name: str, *, adopt: bool = False) -> UUID:
        here = self.town.hub.database, self.town.hub.keyring, self.town.merchant
        place, _ = connections.connect(*here, Wicked, name, {"shop": name}, OWNER)
        self.town.work()
        self.town.open_for_business(place, adopt=adopt)
        return place

    def _spoil(self, place: UUID, where: str, mood: str) -> None:
        settings = {"shop": str(place), "where": where, "mood": mood}
        sealed = connections.seal(self.town.hub.keyring, self.town.merchant, place, settings, "")
        with self.town.hub.database.write() as connection:
            connection.execute(update(t.connection).where(t.connection.c.id == place).values(secrets=sealed))

    def _work(self, place: UUID) -> None:
        here = self.town.hub.database, self.town.hub.keyring, self.town.merchant, place
        inbox.store_webhook(*here, Delivery("order.new", "1"), Webhook({}, json.dumps(ORDER).encode()))
        with self.town.hub.database.write() as connection:
            at = Database.now(connection)
            effects.plan(connection, self.town.merchant, place, "subscribe_webhooks", f"{place}", {}, now=at)
            connection.execute(
                update(t.cursor)
                .where(t.cursor.c.connection_id == place, t.cursor.c.stream == "orders")
                .values(due_at=at)
            )

    def served(self, place: UUID) -> dict[str, bool]:
        """Which lanes of a connection have done their work."""
        of = {table: self.town.rows(table, table.c.connection_id == place) for table in (t.inbox, t.effect, t.cursor)}
        listing = self.town.row(t.listing, t.listing.c.connection_id == place)
        publication = self.town.row(t.publication, t.publication.c.listing_id == listing.id)
        return {
            "inbox": {row.state for row in of[t.inbox]} == {"done"},
            "effects": {row.state for row in of[t.effect]} == {"succeeded"},
            "fetch": all(row.polled_at >= self.began for row in of[t.cursor] if row.stream == "orders"),
            "publish": publication.version == publication.published_version,
        }

    def silent(self) -> dict[tuple[str, str], str]:
        """The bad ones of which nothing that their page shows says yet what they did."""
        told: dict[UUID, list[str]] = {place: [] for place in self.bad.values()}
        for table, text in (
            (t.issue, "title"),
            *((each, "error") for each in (t.inbox, t.effect, t.cursor, t.publication)),
        ):
            for row in self.town.rows(table):
                if row.connection_id in told:
                    told[row.connection_id].append(getattr(row, text))
        said = {key: "\n".join(told[place]) for key, place in self.bad.items()}
        return {key: text for key, text in said.items() if SAID[key] not in text}


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    """Look now and then: looking all the time would take the worker's share of the processor."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.5)


@pytest.fixture
def village(database: Database, merchant: UUID, tmp_path: Path) -> Iterator[tuple[Village, list[str]]]:
    """The village, and what to run a worker for it with."""
    key = new_key()
    with town(database, KeyRing([key]), merchant, Registry({"wicked": Wicked}), tmp_path) as built:
        yield (
            Village(built),
            [sys.executable, "-m", "tests.jobs.wicked", f"sqlite:///{database.url.database}", key, str(tmp_path)],
        )


@on_sqlite
@pytest.mark.timeout(180)
def test_whatever_plugins_do_the_good_one_of_the_same_worker_is_served_and_each_page_says_what_happened(
    village: tuple[Village, list[str]], tmp_path: Path
) -> None:
    place, command = village
    log = tmp_path / "log"
    with log.open("wb") as out:
        worker = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, preexec_fn=die_with_parent)
    try:
        wait_until(lambda: all(place.served(place.good).values()) and not place.silent(), seconds=100)
        assert worker.poll() is None
    finally:
        worker.terminate()
        worker.wait(30)

    assert place.silent() == {}
    assert all(place.served(place.good).values())
    lanes = {"fetch_orders": "fetch", "read_webhook": "inbox", "push_stock": "publish", "subscribe_webhooks": "effects"}
    done = {key: place.served(each) for key, each in place.bad.items()}
    assert [key for key, served in done.items() if served[lanes[key[0]]]] == []
    assert log.stat().st_size < 5_000_000, "a plugin that prints without end does not fill the disk"
    for row in place.town.rows(t.issue, t.issue.c.kind == "connector_broke_down"):
        assert row.next_step == "Everything else goes on. If it happens again, tell the author of the connector."


# ---------------------------------------------------------------- what it gives back, to the last field


class Answers(FakeChannel):
    """Gives back whatever a test wants."""

    answer: Any = None

    def check(self) -> Any:
        return self.answer() if callable(self.answer) else self.answer

    fetch_order = read_order = read_webhook = read_listing = read_stock = push_stock = fetch_orders = (  # type: ignore[assignment]
        lambda self, *_: Answers.check(self)
    )


def ask(answer: Any, method: str, *arguments: Any) -> Any:
    connector = guarded(type("Answering", (Answers,), {"answer": staticmethod(answer) if callable(answer) else answer}),
                        context_for({"shop": "x"}))  # fmt: skip
    return getattr(connector, method)(*arguments)


class Text(str):
    """A text that equals every other."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = str.__hash__


GOOD = an_order(ORDER)
RECORD = RawRecord("order", "1", b"{}")


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (None, "is not a fact of the hub: NoneType."),
        ([GOOD], "is not a fact of the hub: list."),
        (Liar(), "is not a fact of the hub: Liar."),
        (type("Order", (Order,), {})(**{each.name: getattr(GOOD, each.name) for each in fields(Order)}),
         "is not a fact of the hub: Order."),
        (replace(GOOD, number=Text("7")), "read_order gave Order.number as Text, not str."),
        (replace(GOOD, number=7), "read_order gave Order.number as int, not str."),
        (replace(GOOD, note="x" * 2_000_000), "Order.note as a text of 2,000,000 characters, of which 1,000,000 are"),
        (replace(GOOD, lines=(replace(GOOD.lines[0], quantity=2.0),)),
         "read_order gave Order.lines[0].quantity as float, not int."),
        (replace(GOOD, lines=(replace(GOOD.lines[0], quantity=True),)), "quantity as bool, not int."),
        (replace(GOOD, lines=(replace(GOOD.lines[0], quantity=10**30),)), "quantity as a number beyond all reason."),
        (replace(GOOD, lines=(replace(GOOD.lines[0], listing_external_id=5),)), "as int, not str."),
        (replace(GOOD, status="open"), "Order.status as str, not OrderStatus."),
        (replace(GOOD, shipping_address=None), "Order.shipping_address as NoneType, not Address."),
    ],
)  # fmt: skip
def test_an_order_that_does_not_fit_is_unreadable_and_says_where(order: Any, said: str) -> None:
    with pytest.raises(Unreadable) as error:
        ask(order, "read_order", RECORD)

    assert str(error.value).endswith(said) or said in str(error.value)


@pytest.mark.parametrize(
    ("method", "answer", "said"),
    [
        ("check", "Tea Street", "check gave str, not Account."),
        ("fetch_order", None, "fetch_order gave NoneType, not RawRecord."),
        ("fetch_order", RawRecord("order", "1", "{}"), "fetch_order gave RawRecord.body as str, not bytes."),  # type: ignore[arg-type]
        ("fetch_order", RawRecord("order", "1", b" " * 40_000_000), "fetch_order gave a record of 40,000,000 bytes"),
        ("fetch_order", RawRecord("order", "1", b"", headers={"x": 1}), "RawRecord.headers['x'] as int, not str."),  # type: ignore[dict-item]
        ("read_stock", [1, 2, 3], "The connector gave more than 2 outcomes for 2 figures."),
        ("read_stock", [1], "The connector gave 1 outcomes for 2 figures."),
        ("read_stock", [1, 2.0], "read_stock gave float, not int."),
        ("push_stock", [None, None], "push_stock gave NoneType, not PushOutcome."),
        ("push_stock", lambda: iter(int, 1), "The connector gave more than 2 outcomes for 2 figures."),
    ],
)  # fmt: skip
def test_an_answer_that_does_not_fit_is_refused(method: str, answer: Any, said: str) -> None:
    arguments = ([1, 2],) if method.endswith("stock") else () if method == "check" else ("1",)

    with pytest.raises(TypeError) as error:
        ask(answer, method, *arguments)

    assert said in str(error.value)


def test_pages_are_looked_at_one_by_one() -> None:
    def pages() -> Iterator[Any]:
        yield Page((RECORD,), "1")
        yield Page([RECORD], "2")  # type: ignore[arg-type]
        yield None

    given = ask(pages, "fetch_orders", None)

    assert [next(given).cursor, next(given).cursor] == ["1", "2"]
    with pytest.raises(TypeError, match=r"^fetch_orders gave NoneType, not Page\.$"):
        next(given)


def test_what_fits_comes_through_as_it_is() -> None:
    assert ask(GOOD, "read_order", RECORD) is GOOD
    assert ask([3, None], "read_stock", [1, 2]) == [3, None]
    listing = Listing(external_id="1", sku="", title="", price=Money(Decimal(1), "EUR"), handles={"a": "b"})
    assert ask(lambda: iter([listing]), "read_listing", RECORD) == [listing]


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (Unprintable(), Broke, "Unprintable: it cannot say what went wrong"),
        (ValueError("x" * 10**6), Broke, f"ValueError: {'x' * 488}"),
        (Rejected("x" * 10**6), Rejected, "x" * 490),
        (AuthError(7), AuthError, "7"),
        (GeneratorExit("out"), Broke, "GeneratorExit: out"),
        (ValueError("boom"), ValueError, "boom"),
    ],
)  # fmt: skip
def test_what_it_throws_can_always_be_caught_and_told(error: BaseException, kind: type[Exception], said: str) -> None:
    def throw() -> None:
        raise error

    with pytest.raises(kind) as caught:
        ask(throw, "check")

    assert type(caught.value) is kind
    assert str(caught.value) == said


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf"), "soon", None])
def test_a_pause_that_is_none_is_not_believed(seconds: Any) -> None:
    def throw() -> None:
        raise RateLimited("Slow down.", seconds)

    with pytest.raises(RateLimited) as caught:
        ask(throw, "check")

    assert caught.value.retry_after is None


def test_whether_a_request_was_sent_is_kept_with_its_error() -> None:
    def throw() -> None:
        raise Unavailable("x" * 10**6, sent=False)

    with pytest.raises(Unavailable) as caught:
        ask(throw, "check")

    assert (caught.value.sent, len(str(caught.value))) == (False, 487)


# ---------------------------------------------------------------- what it can reach


def reachable(start: Any) -> list[Any]:
    """Everything that an object leads to, by whatever way; but for modules, classes and the globals of functions, by
    which a plugin can import what it likes."""
    found: dict[int, Any] = {}
    left = [start]
    while left:
        one = left.pop()
        if id(one) in found or isinstance(one, type | types.ModuleType):
            continue
        if isinstance(one, dict) and {"__name__", "__builtins__"} <= one.keys():
            continue
        found[id(one)] = one
        left += gc.get_referents(one)
    return list(found.values())


HUBS_OWN = {Database, DatabaseConnection, Engine, KeyRing, Hub, Registry, Shift, Vault, redis.Redis}


def texts(found: list[Any]) -> str:
    return " ".join(repr(each) for each in found if isinstance(each, str | bytes))


@on_sqlite
def test_a_connector_that_reads_reaches_its_own_settings_and_nothing_of_the_hub(hub_town: Town) -> None:
    mine, other = Shop(stock={"mug": 1}), Shop(stock={"mug": 1})
    connect(hub_town, mine)
    connect(hub_town, other)
    connector = hub_town.hub.reader(FakeChannel, Credentials({"shop": mine.name, "key": "my-own-secret"}, "hook"))
    assert isinstance(connector.context, Context)

    seen = reachable(connector)

    assert {type(each) for each in seen} & HUBS_OWN == set()
    assert "my-own-secret" in texts(seen)
    assert other.name not in texts(seen)


@on_sqlite
@pytest.mark.parametrize("redis_url", [None, "redis://:redis-password@127.0.0.1:1"])
def test_a_connector_that_calls_reaches_its_client_and_nothing_of_the_hub(
    hub_town: Town, redis_url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeChannel, "rate_budget", RateBudget(1.0, 1.0))
    mine, other = Shop(stock={"mug": 1}), Shop(stock={"mug": 1})
    place = connect(hub_town, mine)
    connect(hub_town, other)
    hub = replace(hub_town.hub, settings=replace(hub_town.hub.settings, redis_url=redis_url))
    with start_shift(hub, hub_town.merchant, place, "fetch", time.monotonic() + 60) as shift:
        assert shift is not None
        connector = shift.caller(shift.row())

        seen = reachable(connector)

        assert {type(each) for each in seen} & HUBS_OWN == set()
        assert mine.name in texts(seen)
        assert other.name not in texts(seen)
        assert "redis-password" not in texts(seen)
        with pytest.raises(Rejected, match=f"^https://{other.name}.example is not an address of this connection"):
            connector.client.get(f"https://{other.name}.example/secrets")
        assert connector.context.tokens.token("t", lambda: Token("fresh")) == "fresh"
        assert hub_town.row(t.connection_token).connection_id == place


def test_what_is_behind_a_window_goes_with_it() -> None:
    before = len(guard._behind)

    tokens = guard.Tokens(object())
    assert len(guard._behind) == before + 1
    del tokens

    assert len(guard._behind) == before


def test_reading_gets_no_client_and_no_token() -> None:
    connector = Hub.reader(object.__new__(Hub), FakeChannel, Credentials({"shop": "x"}, ""))

    with pytest.raises(Rejected, match="do not talk to their vendor"):
        connector.client.get("https://x.example/")
    with pytest.raises(Unavailable, match="No token can be asked for here"):
        connector.context.tokens.token("t", lambda: pytest.fail("asked the vendor"))
    assert connector.context.now().tzinfo is UTC
