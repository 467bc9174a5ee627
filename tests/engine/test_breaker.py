"""What calls teach about a connection: slow down, pause, ask for credentials, and be well again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, select

from hub.errors import AuthError, NotFound, RateLimited, Rejected, Unavailable, Unreadable
from hub.store import breaker
from hub.store import tables as t
from hub.store.database import Database, new_id


@pytest.fixture
def note(database: Database, merchant: UUID, connection_id: UUID, clock: Any) -> Callable[..., None]:
    def note(error: BaseException | None, **more: Any) -> None:
        with database.write() as connection:
            breaker.note_outcome(connection, merchant, connection_id, error, now=clock(), random=Random(7), **more)

    return note


@pytest.fixture
def state(database: Database) -> Callable[[], Any]:
    def state() -> Any:
        with database.read() as connection:
            return connection.execute(select(t.connection)).one()

    return state


@pytest.fixture
def issues(database: Database) -> Callable[[], list[tuple[str, int, bool]]]:
    def issues() -> list[tuple[str, int, bool]]:
        with database.read() as connection:
            rows = connection.execute(select(t.issue).order_by(t.issue.c.opened_at)).all()
        return [(row.kind, row.times, row.resolved_at is None) for row in rows]

    return issues


def test_a_rate_limit_holds_back_the_whole_connection_as_long_as_asked(note: Any, state: Any, clock: Any) -> None:
    note(RateLimited("slow down", retry_after=40))

    assert timedelta(seconds=40) <= state().not_before - clock() <= timedelta(seconds=41)
    assert state().failures == 0


def test_a_shorter_rate_limit_does_not_end_a_longer_one(note: Any, state: Any) -> None:
    note(RateLimited("slow down", retry_after=600))
    longer = state().not_before

    note(RateLimited("slow down", retry_after=1))
    note(None)

    assert state().not_before == longer


def test_leaves_a_vendor_alone_after_five_failures_and_longer_each_time(
    note: Any, state: Any, issues: Any, clock: Any
) -> None:
    for _ in range(4):
        note(Unavailable("no route"))
    assert (state().failures, state().not_before, issues()) == (4, None, [])

    note(Unavailable("no route"))

    first = state().not_before - clock()
    assert timedelta(seconds=15) <= first <= timedelta(seconds=30)
    assert state().error == "no route"
    assert issues() == [("unreachable", 1, True)]

    clock.advance(minutes=1)
    note(Unavailable("no route"))
    assert state().not_before - clock() >= timedelta(seconds=30)
    assert issues() == [("unreachable", 2, True)]


@pytest.mark.parametrize("answer", [None, Rejected("no"), NotFound("gone"), Unreadable("?"), RateLimited("slow", 0)])
def test_any_answer_makes_it_well_again(
    answer: Exception | None, note: Any, state: Any, issues: Any, clock: Any
) -> None:
    for _ in range(6):
        note(Unavailable("no route"))
    clock.advance(minutes=20)

    note(answer)

    assert (state().failures, state().error) == (0, "")
    assert state().not_before is None or state().not_before <= clock() + timedelta(seconds=1)
    assert issues() == [("unreachable", 2, False)]


def test_failures_count_only_in_a_row(note: Any, state: Any) -> None:
    for _ in range(4):
        note(Unavailable("no route"))
    note(None)
    for _ in range(4):
        note(Unavailable("no route"))

    assert (state().failures, state().not_before) == (4, None)


def test_a_fault_in_a_plugin_says_nothing_about_the_vendor(note: Any, state: Any) -> None:
    for _ in range(4):
        note(Unavailable("no route"))

    note(TypeError("a bug"))

    assert state().failures == 4


def test_refused_credentials_pause_the_connection_and_ask_to_reconnect(note: Any, state: Any, issues: Any) -> None:
    note(AuthError("The token was revoked."))
    note(AuthError("The token was revoked."))

    assert (state().state, state().error) == ("paused", "The token was revoked.")
    assert issues() == [("reconnect", 1, True)]


def test_credentials_that_have_been_replaced_meanwhile_pause_nothing(
    note: Any, state: Any, issues: Any, clock: Any, change: Any
) -> None:
    began = clock()
    clock.advance(seconds=5)
    change(t.connection, checked_at=clock())  # the merchant has reconnected
    clock.advance(seconds=5)

    note(AuthError("The old token was revoked."), began=began)
    assert (state().state, issues()) == ("connected", [])

    note(AuthError("The new token was revoked."), began=clock())
    assert (state().state, issues()) == ("paused", [("reconnect", 1, True)])


@pytest.mark.parametrize("error", [AuthError("no"), Unavailable("away")])
def test_a_removed_connection_raises_no_issue(error: Exception, note: Any, issues: Any, change: Any) -> None:
    change(t.connection, state="removed", failures=9)

    note(error)

    assert issues() == []


@pytest.mark.postgres
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_storing_a_webhook_does_not_wait_for_an_outcome_being_noted(
    database: Database, merchant: UUID, connection_id: UUID, clock: Any
) -> None:
    stored = threading.Event()

    def store() -> None:
        with database.write() as connection:
            connection.execute(
                insert(t.inbox).values(
                    merchant_id=merchant, id=new_id(), connection_id=connection_id, source="webhook", topic="t",
                    dedupe_key="k", body_sha256="0", headers={}, received_at=clock(), state="pending",
                )
            )  # fmt: skip
        stored.set()

    with database.write() as connection:
        breaker.note_outcome(connection, merchant, connection_id, Unavailable("away"), now=clock())
        thread = threading.Thread(target=store)
        thread.start()
        in_time = stored.wait(30)
    thread.join()

    assert in_time
