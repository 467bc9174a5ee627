"""A carrier is asked about an address for somebody who waits; what it says is kept, and taken over with one press."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from hub.core.model import Address, OrderStatus
from hub.core.plain import to_plain
from hub.core.shipping import AddressState, AddressVerdict
from hub.errors import Conflict
from hub.store import address_checks, connections, forgetting, handling
from hub.store import tables as t
from hub.store.address_checks import Check
from hub.store.database import Database
from hub.store.secrets import KeyRing
from tests.store.post_office import YORK, Counter
from tests.store.warehouse import OWNER

BETTER = replace(YORK, line1="7 MILL LN", postcode="YO1 7HJ")
SUGGESTED = "Ada Byron, 7 MILL LN, York, YO1 7HJ, GB"
CORRECTED = AddressVerdict(
    state=AddressState.CORRECTED, candidates=(BETTER,), messages=("The street is written MILL LN.",)
)


@pytest.fixture
def counter(database: Database, keyring: KeyRing, merchant: UUID) -> Counter:
    """A shop with ten mugs, and a post office."""
    return Counter(database, keyring, merchant)


def ask(counter: Counter, order_id: UUID) -> None:
    address_checks.ask(counter.database, counter.merchant, order_id, counter.carrier_id, OWNER)


def next_one(counter: Counter, at: datetime | None = None) -> Any:
    return counter.database.transact(
        lambda connection: address_checks.next_to_ask(
            connection, counter.merchant, counter.carrier_id, at or counter.database.now(connection)
        )
    )


def answer(counter: Counter, asked: Any, verdict: AddressVerdict) -> None:
    with counter.database.write() as connection:
        address_checks.answered(connection, asked, verdict, at=counter.database.now(connection))


def check(counter: Counter, order_id: UUID) -> Check:
    with counter.database.read() as connection:
        found = address_checks.of_order(connection, counter.merchant, order_id)
    assert found is not None
    return found


def told(counter: Counter) -> list[tuple[str, str]]:
    kinds = ("address_asked", "address_checked", "address_changed")
    rows = counter.rows(t.activity, t.activity.c.kind.in_(kinds))
    return [(row.summary, row.actor) for row in sorted(rows, key=lambda row: (row.at, row.id))]


def test_a_suggestion_is_kept_with_who_asked_whom_and_is_taken_over(counter: Counter) -> None:
    order_id = counter.order()
    ask(counter, order_id)
    waiting = check(counter, order_id)
    assert (waiting.state, waiting.carrier, waiting.asked_by, waiting.verdict) == ("asked", "Post", OWNER, None)

    asked = next_one(counter)
    assert asked.address == to_plain(YORK)
    answer(counter, asked, CORRECTED)
    said = check(counter, order_id)
    assert (said.state, said.stands, said.suggestions) == ("answered", True, [BETTER])
    assert said.suggested == [SUGGESTED]
    assert said.answered_at is not None and next_one(counter) is None
    shop = address_checks.take_over(counter.database, counter.merchant, order_id, SUGGESTED, OWNER)

    assert shop == counter.shop
    assert counter.row(t.sales_order).own_address == to_plain(BETTER)
    taken = check(counter, order_id)
    assert (taken.stands, taken.taken, taken.suggestions) == (False, True, [])
    assert told(counter) == [
        ("Post is asked whether the address is right", OWNER),
        ("Post: the address can be delivered to if it is written otherwise", ""),
        ("The address was corrected by hand", OWNER),
    ]


def test_nothing_is_suggested_where_the_address_is_right_or_is_none(counter: Counter) -> None:
    order_id = counter.order()
    for state in (AddressState.VALID, AddressState.INVALID):
        ask(counter, order_id)
        answer(counter, next_one(counter), AddressVerdict(state=state, candidates=(BETTER,)))

        said = check(counter, order_id)
        assert said.verdict is not None
        assert (said.verdict.state, said.suggestions) == (state, [])
        with pytest.raises(Conflict, match="has changed meanwhile"):
            address_checks.take_over(counter.database, counter.merchant, order_id, SUGGESTED, OWNER)
    assert counter.row(t.sales_order).own_address is None


def test_a_verdict_on_an_address_that_was_changed_since_suggests_nothing(counter: Counter) -> None:
    order_id = counter.order()
    ask(counter, order_id)
    asked = next_one(counter)
    elsewhere = replace(YORK, line1="1 Church Street")
    handling.correct_address(counter.database, counter.merchant, order_id, elsewhere, OWNER)
    answer(counter, asked, CORRECTED)

    said = check(counter, order_id)
    assert (said.stands, said.taken, said.suggestions) == (False, False, [])
    with pytest.raises(Conflict, match="has changed meanwhile"):
        address_checks.take_over(counter.database, counter.merchant, order_id, SUGGESTED, OWNER)
    assert counter.row(t.sales_order).own_address == to_plain(elsewhere)


def test_the_answer_to_an_older_question_is_not_that_to_the_newer_one(counter: Counter) -> None:
    order_id = counter.order()
    ask(counter, order_id)
    older = next_one(counter)
    ask(counter, order_id)

    answer(counter, older, CORRECTED)
    with counter.database.write() as connection:
        address_checks.not_answered(connection, older, "No.", at=counter.database.now(connection))

    assert check(counter, order_id).state == "asked"
    assert [summary for summary, _ in told(counter)] == ["Post is asked whether the address is right"] * 2
    answer(counter, next_one(counter), AddressVerdict(state=AddressState.VALID))
    assert check(counter, order_id).state == "answered"


def test_a_question_is_put_off_before_it_is_asked_ever_longer(counter: Counter) -> None:
    order_id = counter.order()
    ask(counter, order_id)
    at = counter.row(t.address_check).due_at

    pauses = []
    for _ in range(3):
        asked = next_one(counter, at)
        assert next_one(counter, at) is None
        pauses.append((counter.row(t.address_check).due_at - at) / timedelta(seconds=1))
        at = counter.row(t.address_check).due_at

    assert (pauses, asked.attempts) == ([5, 10, 20], 2)


def test_why_a_carrier_does_not_say_is_kept(counter: Counter) -> None:
    order_id = counter.order()
    ask(counter, order_id)
    asked = next_one(counter)
    with counter.database.write() as connection:
        why = "Post checks addresses in Britain only."
        address_checks.not_answered(connection, asked, why, at=counter.database.now(connection))

    said = check(counter, order_id)
    assert (said.state, said.error, said.verdict) == ("failed", "Post checks addresses in Britain only.", None)
    assert told(counter)[-1] == ("Post did not check the address", "")


def test_only_the_address_of_an_open_order_is_asked_about_and_only_a_carrier_that_works_is_asked(
    counter: Counter,
) -> None:
    over = counter.order()
    counter.again(over, status=OrderStatus.CANCELLED, holds_stock=False)
    with pytest.raises(Conflict, match="is cancelled"):
        ask(counter, over)
    nowhere = counter.order(address=Address())
    with pytest.raises(Conflict, match="no address yet"):
        ask(counter, nowhere)
    order_id = counter.order()
    ask(counter, order_id)
    connections.pause(counter.database, counter.merchant, counter.carrier_id, OWNER)
    with pytest.raises(Conflict, match="Post is not connected"):
        ask(counter, order_id)

    said = check(counter, order_id)
    assert (said.state, said.error) == ("failed", "Post is paused: it is not asked.")


def test_what_was_asked_about_a_customer_goes_with_them(counter: Counter) -> None:
    order_id = counter.order()
    ask(counter, order_id)

    counter.act(forgetting.erase_orders, [order_id])

    assert counter.rows(t.address_check) == []
