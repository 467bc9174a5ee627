"""Which parcels a carrier is to be asked to follow: together, before its days are over, and none that has arrived."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import pytest

from hub.core.shipping import TrackingStatus
from hub.store import forgetting, labels, tracking
from hub.store.database import Database
from hub.store.secrets import KeyRing
from tests.store.post_office import Counter
from tests.store.warehouse import OWNER


@pytest.fixture
def counter(database: Database, keyring: KeyRing, merchant: UUID) -> Counter:
    """A shop with ten mugs, and a post office."""
    return Counter(database, keyring, merchant)


def chosen(counter: Counter, at: datetime, most: int = 100) -> tuple[str, ...] | None:
    """The parcels that are asked for now."""
    found = choose(counter, at, most)
    return None if found is None else found.tracking_numbers


def choose(counter: Counter, at: datetime, most: int = 100) -> tracking.ToFollow | None:
    return counter.database.transact(
        lambda connection: tracking.next_to_follow(connection, counter.merchant, counter.carrier_id, most, at)
    )


def test_a_label_is_followed_soon_after_it_was_bought_together_with_the_next_ones(counter: Counter) -> None:
    _, _, first = counter.labelled()
    _, _, second = counter.labelled()
    at = counter.shipment(first).follow_at
    assert at - counter.shipment(first).labelled_at == timedelta(seconds=30)
    assert chosen(counter, at - timedelta(seconds=1)) is None

    assert chosen(counter, at) == ("GB10", "GB20"), "the second is due a moment later"

    assert chosen(counter, at) is None
    assert {counter.shipment(each).follow_at - at for each in (first, second)} == {timedelta(minutes=10)}


def test_no_question_is_about_more_parcels_than_the_carrier_takes_and_a_shipment_stays_whole(counter: Counter) -> None:
    shipments = []
    for boxes in ((1,), (1, 1), (1,)):
        order_id = counter.order(sum(boxes))
        shipments.append(counter.pack(counter.deal_out(order_id, sum(boxes)), *boxes))
        counter.buy(shipments[-1])
        counter.settle()
    at = counter.shipment(shipments[-1]).follow_at

    asked = [chosen(counter, at, most=2) for _ in range(4)]

    assert asked == [("GB10",), ("GB20", "GB21"), ("GB30",), None]


def test_who_is_taken_is_asked_for_again_in_time_and_who_is_refused_is_not(counter: Counter) -> None:
    _, _, taken = counter.labelled()
    _, _, refused = counter.labelled()
    at = counter.shipment(refused).follow_at
    found = choose(counter, at)
    assert found is not None

    later = at + timedelta(days=10)
    counter.database.transact(
        lambda connection: tracking.followed(connection, counter.merchant, found, {"GB20"}, later)
    )

    assert (counter.shipment(taken).follow_at, counter.shipment(refused).follow_at) == (later, None)
    assert chosen(counter, later) == ("GB10",)


def test_what_has_arrived_was_given_back_or_forgotten_is_not_followed(counter: Counter) -> None:
    _, _, arrived = counter.labelled()
    _, _, given_back = counter.labelled()
    order_id, _, forgotten = counter.labelled()
    at = counter.shipment(forgotten).follow_at

    counter.hear_tracking("GB10", TrackingStatus.DELIVERED, at)
    counter.act(labels.give_back, given_back, actor=OWNER)
    counter.settle()
    counter.act(forgetting.erase_orders, [order_id])

    assert [counter.shipment(each).follow_at for each in (arrived, given_back, forgotten)] == [None] * 3
    assert chosen(counter, at + timedelta(days=1)) is None


def test_what_arrived_while_the_carrier_was_asked_is_not_asked_for_again(counter: Counter) -> None:
    _, _, shipment_id = counter.labelled()
    at = counter.shipment(shipment_id).follow_at
    found = choose(counter, at)
    assert found is not None
    counter.hear_tracking("GB10", TrackingStatus.DELIVERED, at)

    later = at + timedelta(days=10)
    counter.database.transact(lambda connection: tracking.followed(connection, counter.merchant, found, (), later))

    assert counter.shipment(shipment_id).follow_at is None


def test_when_nobody_knows_what_a_carrier_sends_it_is_asked_about_each_parcel_under_way(counter: Counter) -> None:
    _, _, under_way = counter.labelled()
    _, _, arrived = counter.labelled()
    at = counter.shipment(arrived).labelled_at
    counter.hear_tracking("GB20", TrackingStatus.DELIVERED, at)

    counter.act(tracking.look_at_all, counter.carrier_id)

    assert counter.shipment(under_way).track_at < counter.shipment(under_way).labelled_at + timedelta(minutes=1)
    assert counter.shipment(arrived).track_at is None
