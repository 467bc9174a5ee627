"""Vendors that want new keys every so often: the merchant is asked in time, once, until they are entered."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from hub import jobs
from hub.store import activity, connections
from hub.store import tables as t
from hub.testing.town import town_of
from tests.jobs.fake_shop import FakeChannel, Shop, connect
from tests.town import OWNER, Town


class Rotating(FakeChannel):
    """A vendor that wants its keys replaced every 180 days."""

    name = "rotating"
    label = "Rotating"
    secret_days = 180


@pytest.fixture
def town() -> Iterator[Town]:
    with town_of(Rotating, FakeChannel) as town:
        yield town


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def place(town: Town, shop: Shop) -> UUID:
    return connect(town, shop, Rotating)


def grow_old(town: Town, days: float) -> None:
    """Let the keys have been entered so much earlier, and tidy up."""
    with town.hub.database.write() as connection:
        for row in connection.execute(t.connection.select()).all():
            connection.execute(
                update(t.connection)
                .where(t.connection.c.id == row.id)
                .values(secrets_at=row.secrets_at - timedelta(days=days))
            )
        for row in connection.execute(t.issue.select()).all():
            connection.execute(
                update(t.issue).where(t.issue.c.id == row.id).values(opened_at=row.opened_at - timedelta(days=days))
            )
    jobs.tidy(town.hub)


def reconnect(town: Town, place: UUID, shop: Shop, **changed: Any) -> None:
    loaded = Rotating.settings_schema().load({"shop": shop.name} | changed)
    connections.reconnect(town.hub.database, town.hub.keyring, town.merchant, place, Rotating, loaded, OWNER)
    town.work()


def test_new_keys_are_asked_for_three_weeks_before_and_then_no_more(town: Town, place: UUID, shop: Shop) -> None:
    grow_old(town, 158)
    assert town.issues() == []
    grow_old(town, 1.1)
    assert town.issues() == ["secrets_due"]
    (issue,) = town.rows(t.issue)
    until = town.row(t.connection).secrets_at + timedelta(days=180)
    assert issue.title == f"The keys of {shop.name} have to be replaced by {until:%d %B %Y}"
    assert issue.link == f"/connections/{place}"
    grow_old(town, 1)
    assert town.row(t.issue).times == 1

    reconnect(town, place, shop, key="another")
    assert town.issues() == []
    grow_old(town, 150)
    assert town.issues() == []
    grow_old(town, 10)
    assert town.issues() == ["secrets_due"]


def test_the_same_keys_again_are_no_new_ones(town: Town, place: UUID, shop: Shop) -> None:
    grow_old(town, 170)
    reconnect(town, place, shop)
    assert town.issues() == ["secrets_due"]


def test_who_put_the_reminder_aside_is_left_alone(town: Town, place: UUID) -> None:
    grow_old(town, 170)
    with town.hub.database.write() as connection:
        at = town.hub.database.now(connection)
        activity.resolve_issue(connection, town.merchant, "secrets_due", str(place), at=at, by=OWNER)
    grow_old(town, 5)
    assert town.issues() == []


def test_keys_that_last_are_never_asked_for(town: Town) -> None:
    connect(town, Shop(), FakeChannel)
    grow_old(town, 4000)
    assert town.issues() == []
