"""Effects: planned before they are sent, carried out once, settled by their class when the outcome is unclear."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any, ClassVar
from uuid import UUID

import pytest
from sqlalchemy import insert, select, update

from hub.connector import Connector, EffectResult, Settlement
from hub.core.model import Account
from hub.errors import AuthError, Conflict, NotFound, RateLimited, Rejected, Unavailable
from hub.store import effects
from hub.store import tables as t
from hub.store.database import Database, LeaseLost, new_id
from hub.store.secrets import KeyRing, new_key

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class Killed(BaseException):
    """The worker is gone: nothing after this line has happened."""


class Vendor:
    """Carries out what it is asked to, and counts it. ``faults`` are used up one per call.

    Each is (when, error): raised "before" the effect takes place or "after" it. ``done`` has the business ids.
    """

    def __init__(self) -> None:
        self.done: list[str] = []
        self.calls: list[str] = []
        self.faults: list[tuple[str, BaseException]] = []
        self.by_key: dict[str, str] = {}
        self.shipped: set[str] = set()

    def do(self, what: str, effect: Callable[[], str]) -> EffectResult:
        self.calls.append(what)
        when, error = self.faults.pop(0) if self.faults else ("", None)
        if when == "before" and error:
            raise error
        reference = effect()
        if when == "after" and error:
            raise error
        return EffectResult(reference, {"from": "vendor"})


class Fake(Connector):
    """One effect of each settlement class."""

    name, label = "fake", "Fake"
    effects: ClassVar[Mapping[str, Settlement]] = {
        "buy_label": Settlement.NATIVE_KEY,
        "confirm_shipment": Settlement.NATURAL_KEY,
        "submit": Settlement.LOOKUP,
        "send_mail": Settlement.NONE,
    }

    def __init__(self, vendor: Vendor) -> None:
        self.vendor = vendor

    @classmethod
    def hosts(cls, settings: Mapping[str, Any]) -> Sequence[str]:
        return ()

    def check(self) -> Account:
        raise NotImplementedError

    def buy_label(self, request: Mapping[str, Any], key: str) -> EffectResult:
        def buy() -> str:
            if key not in self.vendor.by_key:
                self.vendor.done.append(request["id"])
                self.vendor.by_key[key] = f"label {len(self.vendor.done)}"
            return self.vendor.by_key[key]

        return self.vendor.do("buy_label", buy)

    def confirm_shipment(self, request: Mapping[str, Any], key: str) -> EffectResult:
        def confirm() -> str:
            if request["id"] not in self.vendor.shipped:
                self.vendor.shipped.add(request["id"])
                self.vendor.done.append(request["id"])
            return "shipped"

        return self.vendor.do("confirm_shipment", confirm)

    def submit(self, request: Mapping[str, Any], key: str) -> EffectResult:
        def accept() -> str:
            self.vendor.done.append(request["id"])
            return f"order {request['id']}"

        return self.vendor.do("submit", accept)

    def find_submit(self, request: Mapping[str, Any], key: str) -> EffectResult | None:
        found = self.vendor.do("find_submit", lambda: f"order {request['id']}")
        return found if request["id"] in self.vendor.done else None

    def send_mail(self, request: Mapping[str, Any], key: str) -> EffectResult:
        def send() -> str:
            self.vendor.done.append(request["id"])
            return "sent"

        return self.vendor.do("send_mail", send)


REPEATABLE = ["buy_label", "confirm_shipment", "submit"]
ALL = [*REPEATABLE, "send_mail"]


class Desk:
    """Plans and runs the effects of one connection, and lets time pass in the database."""

    def __init__(self, database: Database, merchant: UUID, connection_id: UUID) -> None:
        self.database, self.merchant, self.connection_id = database, merchant, connection_id
        self.vendor = Vendor()
        self.connector = Fake(self.vendor)
        self.random = Random(1)
        self.keyring = KeyRing([new_key()])

    def plan(self, kind: str, business_id: str = "1", **more: Any) -> UUID:
        with self.database.write() as connection:
            now = more.pop("now", None) or self.database.now(connection)
            request = more.pop("request", {"id": business_id})
            return effects.plan(
                connection, self.merchant, self.connection_id, kind, business_id, request, now=now, **more
            )

    def claim(self) -> effects.Effect | None:
        return effects.claim(self.database, self.merchant, self.connection_id)

    def run(self, effect: effects.Effect | None = None) -> str | None:
        """Run one due effect; "killed" when the worker did not live to see its end, None when none was due."""
        effect = effect or self.claim()
        if effect is None:
            return None
        try:
            return effects.run(self.database, self.keyring, effect, self.connector, random=self.random)
        except Killed:
            return "killed"

    def wait(self) -> None:
        """Let all leases, pauses and rate limits run out."""
        with self.database.write() as connection:
            connection.execute(update(t.effect).values(due_at=LONG_AGO))
            connection.execute(update(t.effect).where(t.effect.c.state == "in_flight").values(lease_until=LONG_AGO))
            connection.execute(update(t.connection).values(not_before=None))

    def settle(self) -> list[str | None]:
        """Run and let time pass until nothing more happens by itself."""
        seen = []
        for _ in range(40):
            self.wait()
            if (state := self.run()) is None:
                break
            seen.append(state)
        return seen

    def row(self, effect_id: UUID) -> Any:
        with self.database.read() as connection:
            return connection.execute(select(t.effect).where(t.effect.c.id == effect_id)).one()

    def issues(self) -> list[tuple[str, str]]:
        """Kind and title of the open ones."""
        with self.database.read() as connection:
            rows = connection.execute(select(t.issue).where(t.issue.c.resolved_at.is_(None))).all()
        return sorted((row.kind, row.title) for row in rows)

    def notes(self) -> list[tuple[str, str]]:
        """Who and what, of each line of the activity log."""
        with self.database.read() as connection:
            return [
                (row.actor, row.summary) for row in connection.execute(select(t.activity).order_by(t.activity.c.at))
            ]


@pytest.fixture
def desk(database: Database, merchant: UUID, connection_id: UUID) -> Desk:
    return Desk(database, merchant, connection_id)


# ---------------------------------------------------------------- planning


def test_planning_the_same_intent_again_is_the_same_row(desk: Desk) -> None:
    first = desk.plan("buy_label", "parcel 7")

    assert desk.plan("buy_label", "parcel 7") == first
    assert desk.plan("buy_label", "parcel 8") != first
    assert desk.settle() == ["succeeded", "succeeded"]
    assert desk.vendor.done == ["parcel 7", "parcel 8"]


def test_the_same_intent_with_other_details_is_refused(desk: Desk) -> None:
    desk.plan("buy_label", "parcel 7", request={"id": "parcel 7", "grams": 500})

    with pytest.raises(Conflict, match="“buy label” was planned before for the same purpose with different details"):
        desk.plan("buy_label", "parcel 7", request={"id": "parcel 7", "grams": 501})


def test_nothing_is_planned_by_a_transaction_that_is_rolled_back(desk: Desk) -> None:
    with pytest.raises(ZeroDivisionError), desk.database.write() as connection:
        effects.plan(
            connection, desk.merchant, desk.connection_id, "send_mail", "1", {"id": "1"},
            now=desk.database.now(connection),
        )  # fmt: skip
        _ = 1 / 0

    assert desk.settle() == []


def test_keys_never_change(merchant: UUID) -> None:
    shop = UUID("01890000-0000-7000-8000-000000000001")

    assert effects.effect_key(shop, "refund", "order 1") == UUID("cc60a277-8bb8-5f5c-94b8-6fc3485a2966")
    assert effects.effect_key(merchant, "refund", "order 1") != effects.effect_key(shop, "refund", "order 1")
    assert effects.effect_key(shop, "refund", "order 1", 2) != effects.effect_key(shop, "refund", "order 1")


# ---------------------------------------------------------------- the straight way


def test_stores_what_the_vendor_said(desk: Desk) -> None:
    planned = desk.plan("buy_label")

    assert desk.run() == "succeeded"

    row = desk.row(planned)
    assert (row.state, row.reference, row.result) == ("succeeded", "label 1", {"from": "vendor"})
    assert (row.attempts, row.crash_count, row.unclear, row.lease_until) == (1, 0, False, None)
    assert row.finished_at is not None
    assert desk.notes() == [("", "Fake: buy label done")]
    assert desk.issues() == []


def test_keeps_words_a_database_would_refuse(desk: Desk) -> None:
    planned = desk.plan("send_mail")

    def odd(request: Mapping[str, Any], key: str) -> EffectResult:
        return EffectResult("a\x00b\ud800" + "c" * 400, {"object": object()})

    desk.connector.send_mail = odd  # type: ignore[method-assign]

    assert desk.run() == "succeeded"
    assert desk.row(planned).reference == "ab?" + "c" * 297
    assert desk.row(planned).result is None


def test_the_oldest_of_an_order_goes_first_and_holds_back_the_others(desk: Desk) -> None:
    now = datetime.now(UTC) - timedelta(minutes=1)
    planned = [desk.plan("submit", str(number), ordering_key="order 5", now=now) for number in range(4)]
    desk.vendor.faults = [("before", RateLimited("slow", 0))]
    assert desk.run() == "planned"

    # The first waits, and nothing passes it.
    with desk.database.write() as connection:
        connection.execute(update(t.effect).where(t.effect.c.id != planned[0]).values(due_at=LONG_AGO))
        connection.execute(update(t.connection).values(not_before=None))
        connection.execute(update(t.effect).where(t.effect.c.id == planned[0]).values(due_at=now + timedelta(days=1)))
    assert desk.run() is None

    assert desk.settle() == ["succeeded"] * 4
    assert desk.vendor.done == ["0", "1", "2", "3"]


def test_effects_of_one_moment_keep_the_order_in_which_they_were_planned(desk: Desk) -> None:
    with desk.database.write() as connection:
        now = desk.database.now(connection)
        for number in range(20):
            effects.plan(
                connection, desk.merchant, desk.connection_id, "send_mail", str(number), {"id": str(number)},
                now=now, ordering_key="order 5",
            )  # fmt: skip

    desk.settle()

    assert desk.vendor.done == [str(number) for number in range(20)]


def test_one_in_flight_holds_back_its_order_and_nothing_else(desk: Desk) -> None:
    desk.plan("submit", "a", ordering_key="order 5")
    desk.plan("submit", "b", ordering_key="order 5")
    first = desk.claim()
    assert first is not None and first.request == {"id": "a"}
    assert desk.claim() is None

    desk.plan("submit", "c", ordering_key="order 6")
    other = desk.claim()
    assert other is not None and other.request == {"id": "c"}

    desk.run(first)
    second = desk.claim()
    assert second is not None and second.request == {"id": "b"}


def test_an_unclear_one_holds_back_its_order_until_a_person_decides(desk: Desk) -> None:
    unclear = desk.plan("send_mail", "a", ordering_key="order 5")
    desk.plan("send_mail", "b", ordering_key="order 5")
    desk.vendor.faults = [("after", Unavailable("reset"))]
    assert desk.settle() == ["unknown"]

    effects.mark_succeeded(desk.database, desk.merchant, unclear, "ann@shop.example")

    assert desk.settle() == ["succeeded"]
    assert desk.vendor.done == ["a", "b"]


def test_many_workers_claim_each_effect_once_and_in_order(desk: Desk) -> None:
    for number in range(12):
        desk.plan("submit", str(number), ordering_key=f"order {number % 3}")

    def work() -> None:
        idle = 0
        while idle < 5:
            if desk.run() is None:
                idle += 1
                time.sleep(0.01)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Counter(desk.vendor.done) == Counter(map(str, range(12)))
    for order in range(3):
        of_order = [int(number) for number in desk.vendor.done if int(number) % 3 == order]
        assert of_order == sorted(of_order)


# ---------------------------------------------------------------- errors, and what follows


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(
    "error", [RateLimited("slow down", 30), Unavailable("no route", sent=False), AuthError("revoked")]
)
def test_what_was_surely_not_sent_is_sent_later_whatever_its_class(desk: Desk, kind: str, error: Exception) -> None:
    planned = desk.plan(kind)
    desk.vendor.faults = [("before", error)]

    assert desk.run() == "planned"

    row = desk.row(planned)
    assert (row.unclear, row.sent_at, row.crash_count, row.error) == (False, None, 0, str(error))
    with desk.database.write() as connection:
        connection.execute(update(t.connection).values(state="connected"))  # reconnected, if need be
    assert desk.settle() == ["succeeded"]
    assert desk.vendor.done == ["1"]


def test_a_rate_limit_makes_the_whole_connection_wait_and_is_no_failure(desk: Desk) -> None:
    planned = desk.plan("buy_label", "1")
    desk.plan("buy_label", "2")
    desk.vendor.faults = [("before", RateLimited("slow down", 30))]
    assert desk.run() == "planned"

    assert desk.row(planned).attempts == 0
    assert desk.claim() is None
    assert desk.settle() == ["succeeded", "succeeded"]


def test_refused_credentials_stop_all_effects_until_reconnected(desk: Desk) -> None:
    for number in range(3):
        desk.plan("buy_label", str(number))
    desk.vendor.faults = [("before", AuthError("The token was revoked."))]
    assert desk.settle() == ["planned"]
    assert desk.issues() == [("reconnect", "Green Shop refused the credentials")]
    assert len(desk.vendor.calls) == 1

    with desk.database.write() as connection:
        connection.execute(update(t.connection).values(state="connected"))
    assert desk.settle() == ["succeeded"] * 3
    assert sorted(desk.vendor.done) == ["0", "1", "2"]


def test_pauses_grow_while_the_vendor_is_away(desk: Desk) -> None:
    planned = desk.plan("buy_label")
    pauses = []
    for _ in range(5):
        desk.wait()
        desk.vendor.faults = [("before", Unavailable("no route", sent=False))]
        desk.random = Random(3)
        before = datetime.now(UTC)
        desk.run()
        pauses.append((desk.row(planned).due_at - before).total_seconds())

    assert all(later / earlier == pytest.approx(2, rel=0.2) for earlier, later in pairwise(pauses))
    assert desk.issues() == [("unreachable", "Green Shop does not answer")]
    assert desk.settle() == ["succeeded"]
    assert desk.issues() == []


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("error", [Rejected("The address has no postcode."), NotFound("No such order.")])
def test_a_refusal_is_final_until_a_person_tries_again(desk: Desk, kind: str, error: Exception) -> None:
    planned = desk.plan(kind)
    desk.vendor.faults = [("before", error)]

    assert desk.settle() == ["failed"]
    assert desk.issues() == [("effect", f"Fake refused: {kind.replace('_', ' ')}")]

    effects.retry(desk.database, desk.merchant, planned, "ann@shop.example")
    assert desk.issues() == []
    assert desk.settle() == ["succeeded"]
    assert desk.vendor.done == ["1"]


# ---------------------------------------------------------------- unclear outcomes


@pytest.mark.parametrize("kind", REPEATABLE)
def test_an_answer_lost_after_the_effect_is_settled_without_doing_it_twice(desk: Desk, kind: str) -> None:
    planned = desk.plan(kind)
    desk.vendor.faults = [("after", Unavailable("reset by peer"))]
    assert desk.run() == "planned"
    assert desk.row(planned).unclear

    assert desk.settle() == ["succeeded"]

    assert desk.vendor.done == ["1"]
    row = desk.row(planned)
    assert (row.state, row.unclear, row.crash_count) == ("succeeded", False, 0)
    assert row.reference == {"buy_label": "label 1", "confirm_shipment": "shipped", "submit": "order 1"}[kind]


@pytest.mark.parametrize("kind", REPEATABLE)
def test_an_answer_lost_before_the_effect_is_settled_by_doing_it(desk: Desk, kind: str) -> None:
    desk.plan(kind)
    desk.vendor.faults = [("before", Unavailable("timed out"))]

    assert desk.settle() == ["planned", "succeeded"]

    assert desk.vendor.done == ["1"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_without_a_way_to_settle_it_a_person_decides_and_it_is_never_sent_again(desk: Desk, when: str) -> None:
    desk.plan("send_mail")
    desk.vendor.faults = [(when, Unavailable("timed out"))]

    assert desk.settle() == ["unknown"]
    assert desk.settle() == []

    assert desk.vendor.calls == ["send_mail"]
    assert desk.issues() == [("effect", "It is unclear whether this was done: send mail")]


def test_a_vendor_is_given_time_to_find_what_it_has_just_done(desk: Desk) -> None:
    planned = desk.plan("submit")
    desk.vendor.faults = [("after", Unavailable("reset"))]
    desk.run()

    assert desk.row(planned).due_at - datetime.now(UTC) > timedelta(seconds=9)


def test_looking_it_up_goes_on_until_there_is_an_answer(desk: Desk) -> None:
    desk.plan("submit")
    desk.vendor.faults = [
        ("after", Unavailable("reset")),
        ("before", Unavailable("timed out")),  # from here on the search fails
        ("before", Unavailable("no route", sent=False)),
        ("before", RateLimited("slow", 1)),
    ]

    assert desk.settle() == ["planned"] * 4 + ["succeeded"]

    assert desk.vendor.calls == ["submit"] + ["find_submit"] * 4
    assert desk.vendor.done == ["1"]


def test_a_search_that_is_refused_goes_to_a_person(desk: Desk) -> None:
    desk.plan("submit")
    desk.vendor.faults = [("after", Unavailable("reset")), ("before", NotFound("No such address."))]

    assert desk.settle() == ["planned", "unknown"]

    assert desk.vendor.calls == ["submit", "find_submit"]
    assert desk.issues() == [("effect", "It is unclear whether this was done: submit")]


def test_a_refused_repetition_may_be_the_echo_of_the_first_attempt(desk: Desk) -> None:
    desk.plan("confirm_shipment")
    desk.vendor.faults = [("after", Unavailable("reset")), ("before", Rejected("It is shipped already."))]

    assert desk.settle() == ["planned", "unknown"]

    assert desk.issues() == [("effect", "It is unclear whether this was done: confirm shipment")]


def test_a_key_the_vendor_may_have_forgotten_is_not_sent_again(desk: Desk, change: Callable[..., None]) -> None:
    desk.plan("buy_label")
    desk.vendor.faults = [("after", Unavailable("reset"))]
    assert desk.run() == "planned"
    change(t.effect, sent_at=datetime.now(UTC) - timedelta(days=2))

    assert desk.settle() == ["unknown"]

    assert desk.vendor.calls == ["buy_label"]


def test_a_forgotten_key_is_looked_up_where_the_connector_can(desk: Desk, change: Callable[..., None]) -> None:
    desk.plan("buy_label")
    desk.vendor.faults = [("after", Unavailable("reset"))]
    desk.run()
    change(t.effect, sent_at=datetime.now(UTC) - timedelta(days=2))

    def find(request: Mapping[str, Any], key: str) -> EffectResult | None:
        return EffectResult(desk.vendor.by_key[key])

    desk.connector.find_buy_label = find  # type: ignore[attr-defined]

    assert desk.settle() == ["succeeded"]
    assert desk.vendor.done == ["1"]


def test_after_a_restored_backup_age_counts_from_the_planning(desk: Desk, change: Callable[..., None]) -> None:
    desk.plan("buy_label")
    change(t.effect, unclear=True, sent_at=None, created_at=datetime.now(UTC) - timedelta(days=2))

    assert desk.settle() == ["unknown"]
    assert desk.vendor.calls == []


# ---------------------------------------------------------------- workers that die, plugins that break


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", REPEATABLE)
def test_a_worker_killed_around_the_send_leads_to_one_effect(desk: Desk, kind: str, when: str) -> None:
    planned = desk.plan(kind)
    desk.vendor.faults = [(when, Killed())]
    assert desk.run() == "killed"
    assert desk.claim() is None  # its lease still runs

    assert desk.settle() == ["succeeded"]

    assert desk.vendor.done == ["1"]
    assert (desk.row(planned).attempts, desk.row(planned).crash_count) == (2, 0)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_worker_killed_around_a_send_that_cannot_be_settled_leaves_it_to_a_person(desk: Desk, when: str) -> None:
    desk.plan("send_mail")
    desk.vendor.faults = [(when, Killed())]

    assert desk.settle() == ["killed", "unknown"]

    assert desk.vendor.calls == ["send_mail"]


@pytest.mark.parametrize("kind", REPEATABLE)
def test_an_effect_that_kills_its_worker_three_times_is_set_aside_and_the_next_goes_on(desk: Desk, kind: str) -> None:
    poison = desk.plan(kind, "1")
    desk.vendor.faults = [("before", Killed())] * 9
    assert desk.settle() == ["killed"] * 3

    row = desk.row(poison)
    assert (row.state, row.lease_until, row.error) == (
        "unknown",
        None,
        "It ended its worker 3 times, so it was set aside.",
    )
    assert desk.issues() == [("effect", f"It is unclear whether this was done: {kind.replace('_', ' ')}")]

    desk.vendor.faults = []
    desk.plan(kind, "2")
    assert desk.settle() == ["succeeded"]
    effects.retry(desk.database, desk.merchant, poison, "ann@shop.example")
    assert desk.settle() == ["succeeded"]


@pytest.mark.parametrize("error", [TypeError("a bug"), SystemExit(3), RecursionError()])
@pytest.mark.parametrize("kind", REPEATABLE)
def test_a_plugin_that_breaks_is_tried_three_times_and_recovers_when_mended(
    desk: Desk, kind: str, error: BaseException
) -> None:
    broken = desk.plan(kind)
    calls = {"submit": [("after", error), *[("before", error)] * 8]}.get(kind, [("after", error)] * 9)
    desk.vendor.faults = list(calls)
    assert desk.settle() == ["planned", "planned", "unknown"]

    assert type(error).__name__ in desk.row(broken).error
    desk.vendor.faults = []
    effects.mark_succeeded(desk.database, desk.merchant, broken, "ann@shop.example", "label 1")
    assert desk.vendor.done == ["1"]


def test_a_plugin_that_breaks_once_is_settled_and_its_count_cleared(desk: Desk) -> None:
    planned = desk.plan("submit")
    desk.vendor.faults = [("after", KeyError("id"))]

    assert desk.settle() == ["planned", "succeeded"]

    assert desk.vendor.done == ["1"]
    assert desk.row(planned).crash_count == 0


def test_a_plugin_that_breaks_where_nothing_can_be_settled_is_never_asked_again(desk: Desk) -> None:
    desk.plan("send_mail")
    desk.vendor.faults = [("after", TypeError("a bug"))]

    assert desk.settle() == ["unknown"]
    assert desk.vendor.calls == ["send_mail"]


def test_a_wrong_answer_of_a_plugin_is_not_taken_for_success(desk: Desk) -> None:
    desk.plan("send_mail")
    desk.connector.send_mail = lambda request, key: "sent"  # type: ignore[method-assign]

    assert desk.settle() == ["unknown"]


def test_an_effect_the_connector_no_longer_knows_fails_and_says_so(desk: Desk) -> None:
    planned = desk.plan("fax")

    assert desk.settle() == ["failed"]
    assert desk.row(planned).error == "Fake does not support “fax”."


def test_one_that_was_stopped_beyond_its_lease_sends_nothing_and_writes_nothing(desk: Desk) -> None:
    desk.plan("buy_label")
    stopped = desk.claim()
    assert stopped is not None
    desk.wait()
    assert desk.run() == "succeeded"  # another worker has taken it over

    with pytest.raises(LeaseLost):
        effects.run(
            desk.database, desk.keyring, replace(stopped, until=stopped.until - effects.LEASE_SECONDS), desk.connector
        )

    assert desk.vendor.calls == ["buy_label"]


@pytest.mark.postgres
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_does_not_wait_for_an_effect_that_somebody_is_deciding_upon(desk: Desk) -> None:
    locked = desk.plan("buy_label", "1")
    desk.plan("buy_label", "2")

    with desk.database.write() as connection:
        connection.execute(select(t.effect).where(t.effect.c.id == locked).with_for_update())
        began = time.monotonic()
        effect = desk.claim()
        assert time.monotonic() - began < 15, "a lock is waited for for twenty seconds"
    assert effect is not None and effect.request == {"id": "2"}


def test_what_was_not_sent_tells_nothing_about_the_vendor(desk: Desk, change: Callable[..., None]) -> None:
    change(t.connection, failures=4)
    desk.plan("buy_label")
    effect = desk.claim()
    assert effect is not None

    assert (
        effects.run(desk.database, desk.keyring, replace(effect, until=effect.until - 150), desk.connector) == "planned"
    )
    with desk.database.read() as connection:
        assert connection.execute(select(t.connection.c.failures)).scalar() == 4

    assert desk.settle() == ["succeeded"]
    with desk.database.read() as connection:
        assert connection.execute(select(t.connection.c.failures)).scalar() == 0


@pytest.mark.parametrize("kind", ALL)
def test_too_short_a_rest_of_the_lease_sends_nothing(desk: Desk, kind: str) -> None:
    planned = desk.plan(kind)
    effect = desk.claim()
    assert effect is not None

    short = replace(effect, until=effect.until - effects.LEASE_SECONDS + effects.CALL_SECONDS)
    assert effects.run(desk.database, desk.keyring, short, desk.connector) == "planned"
    assert desk.vendor.calls == []
    assert (desk.row(planned).unclear, desk.row(planned).attempts, desk.row(planned).crash_count) == (False, 0, 0)

    assert desk.settle() == ["succeeded"]


def test_a_search_needs_time_for_the_send_after_it(desk: Desk) -> None:
    desk.plan("submit")
    desk.vendor.faults = [("before", Unavailable("timed out"))]
    desk.run()
    desk.wait()
    effect = desk.claim()
    assert effect is not None and effect.unclear

    short = replace(effect, until=effect.until - effects.LEASE_SECONDS + 2 * effects.CALL_SECONDS)
    assert effects.run(desk.database, desk.keyring, short, desk.connector) == "planned"

    assert desk.vendor.calls == ["submit"]
    assert desk.settle() == ["succeeded"]


def test_the_slower_of_two_cannot_end_what_the_quicker_one_is_sending(desk: Desk) -> None:
    planned = desk.plan("buy_label")
    slow = desk.claim()
    desk.wait()
    quick = desk.claim()
    assert slow is not None and quick is not None

    with pytest.raises(LeaseLost):
        desk.run(slow)

    assert desk.row(planned).state == "in_flight"
    assert desk.run(quick) == "succeeded"
    assert desk.vendor.done == ["1"]


def test_the_slower_of_two_that_hold_the_same_effect_cannot_overwrite_the_end(desk: Desk) -> None:
    planned = desk.plan("buy_label")
    slow = desk.claim()
    desk.wait()
    quick = desk.claim()
    assert slow is not None and quick is not None and quick.fence == slow.fence + 1
    assert desk.run(quick) == "succeeded"

    desk.vendor.faults = [("before", Rejected("too late"))]
    with pytest.raises(LeaseLost):
        desk.run(slow)

    assert (desk.row(planned).state, desk.issues()) == ("succeeded", [])
    assert desk.vendor.done == ["1"]


# ---------------------------------------------------------------- which connections have work


def test_tells_which_connections_have_something_to_do(
    desk: Desk, connect: Callable[[], UUID], change: Callable[..., None]
) -> None:
    idle = connect()  # one without effects

    def due(only: UUID | None = None) -> list[UUID]:
        with desk.database.read() as connection:
            now = desk.database.now(connection)
            return [connection_id for _, connection_id in effects.due(connection, now, only)]

    assert due() == []
    desk.plan("buy_label")
    desk.plan("send_mail")
    assert due() == [desk.connection_id]
    assert (due(desk.connection_id), due(idle)) == ([desk.connection_id], [])

    for state in ("new", "paused", "removed"):
        change(t.connection, state=state)
        assert due() == []
        assert desk.claim() is None
    change(t.connection, state="connected", not_before=datetime.now(UTC) + timedelta(minutes=1))
    assert due() == []
    change(t.connection, not_before=LONG_AGO)
    assert due() == [desk.connection_id]

    first, second = desk.claim(), desk.claim()
    assert due() == []  # both are leased
    assert first is not None and second is not None
    desk.wait()
    assert due() == [desk.connection_id]


# ---------------------------------------------------------------- what a person decides


@pytest.fixture
def unclear(desk: Desk) -> UUID:
    planned = desk.plan("send_mail", "a", ordering_key="order 5")
    desk.vendor.faults = [("after", Unavailable("timed out"))]
    assert desk.run() == "unknown"
    return planned


def test_a_person_may_send_it_again_under_a_new_key(desk: Desk, unclear: UUID) -> None:
    later = desk.plan("send_mail", "b", ordering_key="order 5")

    again = effects.retry(desk.database, desk.merchant, unclear, "ann@shop.example")

    old, new = desk.row(unclear), desk.row(again)
    assert (old.state, new.state, new.generation) == ("cancelled", "planned", 2)
    assert new.effect_key == effects.effect_key(desk.merchant, "send_mail", "a", 2) != old.effect_key
    assert new.created_at < desk.row(later).created_at  # it keeps its place
    assert desk.issues() == []
    assert ("ann@shop.example", "send mail: try again") in desk.notes()
    assert desk.settle() == ["succeeded", "succeeded"]
    assert desk.vendor.done == ["a", "a", "b"]


def test_two_people_who_try_again_at_once_send_it_once(desk: Desk, unclear: UUID) -> None:
    got: list[UUID] = []
    ready = threading.Barrier(2)

    def press() -> None:
        ready.wait()
        got.append(effects.retry(desk.database, desk.merchant, unclear, "ann@shop.example"))

    threads = [threading.Thread(target=press) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(got) == 2 and got[0] == got[1]
    assert desk.settle() == ["succeeded"]
    assert desk.vendor.done == ["a", "a"]


def test_a_person_may_say_that_it_was_done(desk: Desk, unclear: UUID) -> None:
    effects.mark_succeeded(desk.database, desk.merchant, unclear, "ann@shop.example", "message 9")

    row = desk.row(unclear)
    assert (row.state, row.reference, row.unclear) == ("succeeded", "message 9", False)
    assert ("ann@shop.example", "send mail: it was done") in desk.notes()
    assert desk.issues() == []
    assert desk.settle() == []


def test_a_person_may_give_it_up(desk: Desk, unclear: UUID) -> None:
    effects.cancel(desk.database, desk.merchant, unclear, "ann@shop.example")

    assert desk.row(unclear).state == "cancelled"
    assert ("ann@shop.example", "send mail: cancelled") in desk.notes()
    assert desk.issues() == []
    assert desk.settle() == []


def test_what_waits_may_be_cancelled_but_not_repeated(desk: Desk) -> None:
    waiting = desk.plan("send_mail")
    with pytest.raises(Conflict, match="“send mail” is waiting to be sent"):
        effects.retry(desk.database, desk.merchant, waiting, "ann@shop.example")

    effects.cancel(desk.database, desk.merchant, waiting, "ann@shop.example")

    assert desk.settle() == []
    assert desk.vendor.calls == []


@pytest.mark.parametrize("decide", [effects.retry, effects.mark_succeeded, effects.cancel])
def test_what_is_being_sent_or_is_done_cannot_be_decided_upon(desk: Desk, decide: Callable[..., Any]) -> None:
    planned = desk.plan("send_mail")
    effect = desk.claim()
    with pytest.raises(Conflict, match="is being sent right now"):
        decide(desk.database, desk.merchant, planned, "ann@shop.example")

    desk.run(effect)
    with pytest.raises(Conflict, match="has succeeded already"):
        decide(desk.database, desk.merchant, planned, "ann@shop.example")


@pytest.mark.parametrize("decide", [effects.retry, effects.mark_succeeded, effects.cancel])
def test_another_merchant_decides_nothing(desk: Desk, unclear: UUID, decide: Callable[..., Any]) -> None:
    stranger = new_id()
    with desk.database.write() as connection:
        now = desk.database.now(connection)
        connection.execute(insert(t.merchant).values(id=stranger, name="Other", created_at=now))

    with pytest.raises(Conflict, match="no such task"):
        decide(desk.database, stranger, unclear, "eve@other.example")

    assert desk.row(unclear).state == "unknown"


# ---------------------------------------------------------------- whatever happens


def mishaps(random: Random) -> Iterator[tuple[str, BaseException]]:
    """What may happen to a call, about every other time."""
    while True:
        when = random.choice(("before", "after"))
        yield random.choice(
            [
                ("", Killed()),
                ("", Killed()),
                ("", Killed()),
                (when, Unavailable("timed out")),
                (when, Killed()),
                ("before", Unavailable("no route", sent=False)),
                ("before", RateLimited("slow", random.random())),
            ]
        )


@pytest.mark.parametrize("seed", range(5))
def test_whatever_happens_each_effect_takes_place_once_or_a_person_is_asked(desk: Desk, seed: int) -> None:
    random = Random(seed)
    planned = {
        desk.plan(kind, f"{kind} {n}", ordering_key=f"order {n % 3}"): f"{kind} {n}" for n in range(6) for kind in ALL
    }
    faults = mishaps(random)

    for _ in range(60):
        desk.vendor.faults = [next(faults) for _ in range(2)]
        if random.random() < 0.7:
            desk.wait()
        desk.run()
        if random.random() < 0.3:  # people try the ones that were put before them again, when they were not done
            for effect_id, business_id in list(planned.items()):
                if desk.row(effect_id).state == "unknown":
                    if business_id in desk.vendor.done:
                        effects.mark_succeeded(desk.database, desk.merchant, effect_id, "ann@shop.example")
                    else:
                        planned[effects.retry(desk.database, desk.merchant, effect_id, "ann@shop.example")] = (
                            business_id
                        )
    desk.vendor.faults = []
    desk.settle()

    done = Counter(desk.vendor.done)
    assert max(done.values()) == 1
    for effect_id, business_id in planned.items():
        row = desk.row(effect_id)
        assert row.state in ("succeeded", "unknown", "cancelled", "planned")
        if row.state == "succeeded":
            assert done[business_id] == 1
        if row.state == "planned":  # held back by an unclear one before it
            assert done[business_id] == 0
