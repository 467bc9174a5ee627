"""The place a policy gives an order in the queue."""

from __future__ import annotations

from decimal import Decimal

from hub.core.allocation import QueueOrder, StockPolicy
from tests.core.making import minutes


def test_first_come_gives_every_order_one_rank_so_that_its_age_decides() -> None:
    policy = StockPolicy()

    assert policy.rank(Decimal("10.00"), minutes(5)) == policy.rank(Decimal("99.99"), None) == 0


def test_by_value_a_cent_more_comes_first() -> None:
    policy = StockPolicy(queue=QueueOrder.VALUE)

    assert policy.rank(Decimal("10.01"), None) == -1001
    assert policy.rank(Decimal("10.00"), None) == -1000


def test_by_promised_date_the_earliest_comes_first_and_who_was_promised_nothing_last() -> None:
    policy = StockPolicy(queue=QueueOrder.PROMISED_DATE)

    ranks = [policy.rank(Decimal(1), promised) for promised in (minutes(0), minutes(1), None)]

    assert ranks == [int(minutes(0).timestamp()), int(minutes(0).timestamp()) + 60, 2**62]
