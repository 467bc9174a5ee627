"""A label that a carrier takes back later is asked about until it has decided, and not for ever."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import pytest

from hub.core.shipping import LabelVoid, TrackingStatus, VoidState
from hub.store import connections, labels, tracking
from hub.store import tables as t
from hub.store.database import Database
from hub.store.secrets import KeyRing
from tests.store.post_office import Counter, PostOffice
from tests.store.warehouse import OWNER


@pytest.fixture
def counter(database: Database, keyring: KeyRing, merchant: UUID) -> Counter:
    """A shop with ten mugs, and a post office."""
    return Counter(database, keyring, merchant)


def requested(counter: Counter) -> UUID:
    """A shipment whose label the carrier is to take back, and has not decided about."""
    _, _, shipment_id = counter.labelled()
    counter.post.says = VoidState.REQUESTED
    counter.act(labels.give_back, shipment_id, actor=OWNER)
    counter.settle()
    return shipment_id


def asked(counter: Counter, shipment_id: UUID, state: VoidState | None, after: timedelta) -> None:
    """So long after the wish was taken the carrier is asked, and says this."""
    at = counter.shipment(shipment_id).void_requested_at + after
    said = None if state is None else LabelVoid(label_external_id="label-1", state=state, message="Too late.")
    counter.database.transact(
        lambda connection: labels.void_asked(connection, counter.merchant, shipment_id, said, at=at)
    )


def due(counter: Counter, at: datetime) -> tuple[UUID, str] | None:
    found = counter.database.transact(
        lambda connection: tracking.next_to_ask(connection, counter.merchant, counter.carrier_id, at)
    )
    return None if found is None else (found[0].id, found[1])


def test_it_is_asked_about_after_an_hour_and_then_ever_more_rarely(counter: Counter) -> None:
    shipment_id = requested(counter)
    row = counter.shipment(shipment_id)
    since = row.void_requested_at
    assert (row.state, row.void_ask_at - since) == ("labelled", timedelta(hours=1))

    pauses = []
    for hours in (1, 2, 4, 8, 16, 32, 56):
        asked(counter, shipment_id, VoidState.REQUESTED, timedelta(hours=hours))
        pauses.append((counter.shipment(shipment_id).void_ask_at - since - timedelta(hours=hours)) / timedelta(hours=1))

    assert pauses == [1, 2, 4, 8, 16, 24, 24]
    assert (counter.post.calls.count("void"), counter.issues()) == (1, [])


def test_whoever_asks_next_comes_later_whatever_happens_to_this_worker(counter: Counter) -> None:
    shipment_id = requested(counter)
    with counter.database.write() as connection:
        connection.execute(t.shipment.update().values(track_at=None))
    at = counter.shipment(shipment_id).void_ask_at
    assert due(counter, at - timedelta(seconds=1)) is None

    assert due(counter, at) == (shipment_id, "void_ask_at")

    assert due(counter, at) is None
    assert counter.shipment(shipment_id).void_ask_at == at + timedelta(minutes=10)


def test_whatever_else_gives_the_shipment_up_does_not_ask_for_it_a_second_time(counter: Counter) -> None:
    shipment_id = requested(counter)
    since = counter.shipment(shipment_id).void_requested_at
    counter.post.says = VoidState.REFUSED  # as a carrier answers that has the wish already

    counter.cancel(counter.shipment(shipment_id).order_id)
    counter.settle()

    row = counter.shipment(shipment_id)
    assert (counter.post.calls.count("void"), counter.issues()) == (1, [])
    assert (row.state, row.void_requested_at, row.withdrawn_at is not None) == ("labelled", since, True)
    assert row.void_ask_at is not None, "and what it decides is still asked for"


def test_once_it_is_taken_back_the_shipment_is_void_and_nobody_asks_again(counter: Counter) -> None:
    shipment_id = requested(counter)

    asked(counter, shipment_id, VoidState.VOIDED, timedelta(days=3))

    row = counter.shipment(shipment_id)
    assert (row.state, row.void_ask_at, row.void_requested_at, row.follow_at) == ("void", None, None, None)
    assert counter.issues() == []


def test_once_it_is_refused_a_person_is_told_and_nobody_asks_again(counter: Counter) -> None:
    shipment_id = requested(counter)

    asked(counter, shipment_id, VoidState.REFUSED, timedelta(days=3))

    row = counter.shipment(shipment_id)
    assert (row.state, row.void_ask_at, counter.issues()) == ("labelled", None, ["label_not_voided"])
    assert "Too late." in counter.row(t.issue, t.issue.c.kind == "label_not_voided").title


def test_after_thirty_days_without_a_word_a_person_is_told_and_can_begin_anew(counter: Counter) -> None:
    shipment_id = requested(counter)
    asked(counter, shipment_id, VoidState.REQUESTED, timedelta(days=29, hours=23))
    assert counter.issues() == []

    asked(counter, shipment_id, VoidState.REQUESTED, timedelta(days=30))

    assert (counter.issues(), counter.shipment(shipment_id).void_ask_at) == (["label_not_voided"], None)
    title = counter.row(t.issue, t.issue.c.kind == "label_not_voided").title
    assert "the carrier has not said within 30 days whether it takes it" in title
    counter.act(labels.give_back, shipment_id, actor=OWNER)
    counter.settle()
    assert counter.post.calls.count("void") == 2
    assert counter.shipment(shipment_id).void_ask_at is not None, "the days begin anew"
    said = LabelVoid(label_external_id="label-1", state=VoidState.VOIDED)
    counter.act(labels.void_heard, counter.carrier_id, said)
    assert (counter.shipment(shipment_id).state, counter.issues()) == ("void", [])


def test_a_wish_that_the_carrier_knows_nothing_of_is_made_once_more(counter: Counter) -> None:
    shipment_id = requested(counter)
    first = _key(counter, shipment_id)

    asked(counter, shipment_id, None, timedelta(hours=1))
    counter.post.says = VoidState.VOIDED
    counter.settle()

    assert (counter.post.calls.count("void"), counter.shipment(shipment_id).state) == (2, "void")
    assert _key(counter, shipment_id) != first, "another wish has another key"


def _key(counter: Counter, shipment_id: UUID) -> str:
    with counter.database.read() as connection:
        return labels.key_of_void(connection, counter.merchant, shipment_id)


def test_a_webhook_that_decides_ends_the_asking(counter: Counter) -> None:
    shipment_id = requested(counter)
    said = LabelVoid(label_external_id="label-1", state=VoidState.VOIDED)
    counter.act(labels.void_heard, counter.carrier_id, said)

    assert counter.act(labels.void_asked, shipment_id, said) == []
    assert counter.shipment(shipment_id).void_ask_at is None


def test_a_parcel_that_left_all_the_same_is_not_asked_back_any_more(counter: Counter) -> None:
    shipment_id = requested(counter)
    now = counter.shipment(shipment_id).void_requested_at

    counter.hear_tracking("GB10", TrackingStatus.IN_TRANSIT, now)

    row = counter.shipment(shipment_id)
    assert (row.state, row.void_ask_at, counter.issues()) == ("shipped", None, ["left_though_withdrawn"])


def test_a_carrier_that_is_disconnected_before_it_has_decided_is_for_a_person(counter: Counter) -> None:
    shipment_id = requested(counter)

    connections.remove(
        counter.database, counter.merchant, counter.carrier_id, OWNER, keyring=counter.keyring, connector=PostOffice
    )

    assert (counter.shipment(shipment_id).void_ask_at, counter.issues()) == (None, ["label_not_voided"])
    title = counter.row(t.issue, t.issue.c.kind == "label_not_voided").title
    assert "the carrier was disconnected before it had decided" in title
