"""A channel is told again of a shipment only where it lacks it, once per wish, and never of what holds no more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
from sqlalchemy import update

from hub.access import NotPermitted, Permission, acting_as
from hub.connector import EffectResult, Settlement
from hub.errors import Conflict, Rejected, Unavailable
from hub.store import effects, labels, shipments, telling_again
from hub.store import tables as t
from hub.store.database import Database
from hub.store.queries import shipments as queries
from hub.store.secrets import KeyRing
from tests.store.post_office import Channel, Counter
from tests.store.test_packed_together import Table
from tests.store.warehouse import OWNER


class Ledger(Channel):
    """A channel that can be asked what it knows; ``known`` are its ids of shipments by our references."""

    effects: ClassVar[Mapping[str, Settlement]] = {"confirm_shipment": Settlement.LOOKUP}

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, str] = {}
        self.asked: list[str] = []
        self.refuses: list[Exception] = []

    def confirm_shipment(self, confirmation: Any, key: str) -> EffectResult:
        result = super().confirm_shipment(confirmation, key)
        self.known[confirmation.reference] = result.reference
        return result

    def find_confirm_shipment(self, confirmation: Any, key: str) -> EffectResult | None:
        self.asked.append(confirmation.reference)
        if self.refuses:
            raise self.refuses.pop(0)
        found = self.known.get(confirmation.reference)
        return EffectResult(found) if found else None


class Desk:
    """An order of two mugs that has left, and whose channel knows of it."""

    def __init__(self, counter: Counter) -> None:
        self.counter, self.channel = counter, Ledger()
        counter.channel = self.channel
        self.order_id, self.work_id, self.shipment_id = counter.labelled(2)
        counter.act(shipments.hand_over, self.shipment_id, actor=OWNER)
        counter.settle()
        self.reference: str = counter.shipment(self.shipment_id).reference
        assert (len(self.channel.told), self.channel.asked) == (1, [])

    def tell(self, once: UUID | None = None, connector: Any = Ledger) -> Any:
        database, merchant = self.counter.database, self.counter.merchant
        return telling_again.tell(
            database, merchant, self.order_id, self.reference, connector, once=once or uuid4(), actor=OWNER
        )

    def known(self) -> list[telling_again.Told]:
        with self.counter.database.read() as connection:
            return telling_again.of_order(connection, self.counter.merchant, self.order_id)

    def rows(self) -> list[Any]:
        return sorted(
            self.counter.rows(t.effect, t.effect.c.kind == "confirm_shipment"), key=lambda row: row.created_at
        )


@pytest.fixture
def desk(database: Database, keyring: KeyRing, merchant: object) -> Desk:
    return Desk(Counter(database, keyring, merchant))  # type: ignore[arg-type]


def test_where_the_channel_has_it_already_nothing_is_written_and_that_is_kept(desk: Desk) -> None:
    assert desk.tell() == [(desk.counter.shop, "effects")]
    assert [each.is_under_way for each in desk.known()] == [True]

    desk.counter.settle()

    assert (len(desk.channel.told), desk.channel.asked) == (1, [desk.reference])
    first, second = desk.rows()
    assert (second.state, second.result, second.effect_key != first.effect_key) == (
        "succeeded",
        {"already": True},
        True,
    )
    assert first.result is None, "the effect of before is not touched"
    (told,) = desk.known()
    assert (told.again, told.had_it, told.tracking_numbers) == ("succeeded", True, ("GB10",))
    (noted,) = desk.counter.rows(t.activity, t.activity.c.kind == "shipment_told_again")
    assert (noted.actor, noted.order_id) == (OWNER, desk.order_id)


def test_where_the_channel_has_lost_it_it_is_told_exactly_what_it_was(desk: Desk) -> None:
    desk.channel.known.clear()
    desk.tell()

    desk.counter.settle()

    before, now = desk.channel.told
    assert now == before
    (told,) = desk.known()
    assert (told.again, told.had_it) == ("succeeded", False)
    assert desk.counter.shipment(desk.shipment_id).channel_reference == "fulfillment-2"
    assert desk.counter.level(desk.counter.mug) == (8, 0), "nothing leaves twice"
    desk.counter.sound()


def test_a_form_sent_twice_tells_once_and_another_waits_for_it(desk: Desk) -> None:
    once = uuid4()
    desk.tell(once)
    desk.tell(once)
    with pytest.raises(Conflict, match="on its way to the channel already"):
        desk.tell()

    desk.counter.settle()

    assert len(desk.rows()) == 2 == 1 + len(desk.counter.rows(t.activity, t.activity.c.kind == "shipment_told_again"))
    desk.tell()  # and then once more, if somebody asks for it
    desk.counter.settle()
    assert (len(desk.rows()), len(desk.channel.told)) == (3, 1)


def test_a_lost_answer_is_looked_up_and_told_once(desk: Desk) -> None:
    desk.channel.known.clear()
    desk.channel.faults.append(Unavailable("The line broke.", sent=True))
    desk.tell()

    desk.counter.settle()

    assert (len(desk.channel.told), desk.channel.asked) == (2, [desk.reference] * 2)
    (told,) = desk.known()
    assert (told.again, told.had_it) == ("succeeded", False)


@pytest.mark.parametrize("settlement", [Settlement.NATIVE_KEY, Settlement.NATURAL_KEY, Settlement.NONE])
def test_a_channel_that_cannot_be_asked_is_not_told(desk: Desk, settlement: Settlement) -> None:
    class Blind(Ledger):
        label = "Blind Market"
        effects: ClassVar[Mapping[str, Settlement]] = {"confirm_shipment": settlement}

    assert telling_again.why_not(Blind).startswith("Blind Market cannot be asked whether it has a shipment")
    assert telling_again.why_not(Ledger) == ""
    assert telling_again.why_not(None).startswith("This shop cannot be told anything any more")
    with pytest.raises(Conflict, match="might ship twice"):
        desk.tell(connector=Blind)
    assert len(desk.rows()) == 1

    # Nor is it where its connector was replaced after somebody had asked.
    desk.tell()
    blind = Blind()
    desk.counter.channel = blind
    desk.counter.settle()
    assert (desk.rows()[1].state, blind.told, blind.asked) == ("failed", [], [])


def test_what_was_replaced_or_called_off_meanwhile_is_not_told_again(desk: Desk) -> None:
    desk.channel.known.clear()
    desk.tell()
    desk.counter.cancel(desk.order_id)

    desk.counter.settle()

    assert (desk.rows()[1].state, len(desk.channel.told)) == ("cancelled", 1)
    assert desk.known() == []
    with pytest.raises(Conflict, match="does not stand that way any more"):
        desk.tell()


def test_a_shipment_whose_label_is_replaced_is_not_told_again(desk: Desk) -> None:
    counter = desk.counter
    counter.act(labels.replace_label, desk.shipment_id, actor=OWNER)

    assert desk.known() == []


def test_a_refused_look_writes_nothing_and_trying_again_looks_again(desk: Desk) -> None:
    desk.channel.refuses.append(Rejected("No such scope."))
    desk.tell()
    desk.counter.settle()
    failed = desk.rows()[1]
    assert (failed.state, failed.error) == ("failed", "Looking it up was refused, so nothing was sent: No such scope.")

    effects.retry(desk.counter.database, desk.counter.merchant, failed.id, OWNER)
    with desk.counter.database.read() as connection:
        shown = queries.shipment(connection, desk.counter.merchant, desk.shipment_id)
    assert shown is not None and shown.told == "succeeded", "that it was told at all is not in doubt"
    desk.counter.settle()

    assert (len(desk.channel.told), desk.channel.asked) == (1, [desk.reference] * 2)
    (told,) = desk.known()
    assert (told.again, told.had_it) == ("succeeded", True)


def test_a_shipment_the_channel_was_never_told_of_is_not_told_again(
    database: Database, keyring: KeyRing, merchant: object
) -> None:
    counter = Counter(database, keyring, merchant)  # type: ignore[arg-type]
    ledger = Ledger()
    counter.channel = ledger
    ledger.faults.append(Rejected("No."))
    order_id, _, shipment_id = counter.labelled(2)
    counter.act(shipments.hand_over, shipment_id, actor=OWNER)
    counter.settle()

    with database.read() as connection:
        assert telling_again.of_order(connection, counter.merchant, order_id) == []


def test_of_another_merchants_or_a_forgotten_customers_order_nothing_is_told(desk: Desk) -> None:
    with desk.counter.database.read() as connection:
        assert telling_again.of_order(connection, uuid4(), desk.order_id) == []
    with desk.counter.database.write() as connection:
        connection.execute(update(t.effect).values(request={}))
    assert desk.known() == []


def test_each_order_of_a_shared_parcel_is_told_again_by_itself(
    database: Database, keyring: KeyRing, merchant: UUID
) -> None:
    table = Table(database, keyring, merchant, 20)
    table.channel = Ledger()
    orders, _, shipment_id = table.together(1, 2)
    table.ask_for_label(shipment_id)
    table.act(shipments.hand_over, shipment_id, actor=OWNER)
    table.settle()

    with database.read() as connection:
        known = [telling_again.of_order(connection, merchant, order_id) for order_id in orders]

    assert [[each.request["lines"][0]["quantity"] for each in told] for told in known] == [[1], [2]]
    assert known[0][0].reference != known[1][0].reference


def test_support_may_and_who_only_packs_may_not(desk: Desk) -> None:
    with acting_as(frozenset({Permission.LOOK, Permission.PACK})), pytest.raises(NotPermitted):
        desk.tell()
    with acting_as(frozenset({Permission.LOOK, Permission.ORDERS})):
        desk.tell()
    assert len(desk.rows()) == 2
