"""From a person's wish to the channel and back: a part of an order is held, released, moved, answered for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest

from hub.core.details import OrderDetails
from hub.core.model import ChannelWork, HoldReason, WorkStatus
from hub.core.plain import from_plain
from hub.core.shipping import WorkQuestion
from hub.errors import Conflict, Rejected, Unavailable
from hub.store import effects
from hub.store import tables as t
from hub.store.channel_work import Desk
from tests.jobs.fake_shop import DealingChannel, Shop, open_shop
from tests.town import OWNER, Town


@dataclass
class Dealt:
    """An order of two mugs that the shop has dealt out to Leeds."""

    town: Town
    shop: Shop
    connection_id: UUID
    order_id: UUID

    def desk(self) -> Desk:
        """A form of its own."""
        return Desk(self.town.hub.database, self.town.merchant, self.order_id, DealingChannel, OWNER, uuid4())

    def work(self) -> None:
        self.town.work()

    @property
    def part(self) -> ChannelWork:
        """As the hub knows it."""
        (part,) = from_plain(OrderDetails, self.town.row(t.sales_order).details).work
        return part

    def states(self) -> list[tuple[str, str]]:
        rows = sorted(self.town.rows(t.effect, t.effect.c.order_id == self.order_id), key=lambda row: row.created_at)
        return [(row.kind, row.state) for row in rows]

    def versions(self) -> list[list[Any]]:
        rows = sorted(self.town.rows(t.order_version), key=lambda row: row.revision)
        return [[(each["part"], each.get("member", ""), each["after"]) for each in row.changes] for row in rows]


@pytest.fixture
def dealt(hub_town: Town) -> Dealt:
    shop = Shop(stock={"mug": 9}, places=("leeds", "york"))
    connection_id = open_shop(hub_town, shop, DealingChannel, adopt=False)
    shop.buy("mug", 2, work=[{"id": "w1", "lines": [{"id": "1", "quantity": 2}], "place": "leeds"}])
    hub_town.poll(connection_id)
    hub_town.work()
    return Dealt(hub_town, shop, connection_id, hub_town.row(t.sales_order).id)


def test_a_part_is_held_and_released_and_the_order_says_so_each_time(dealt: Dealt) -> None:
    dealt.desk().hold("w1", HoldReason.ADDRESS, "No such street")
    dealt.work()

    assert dealt.part.status is WorkStatus.ON_HOLD
    assert [(hold.reason, hold.note) for hold in dealt.part.holds] == [(HoldReason.ADDRESS, "No such street")]
    assert dealt.town.row(t.sales_order).on_hold

    dealt.desk().release("w1")
    dealt.work()

    assert (dealt.part.status, dealt.part.holds) == (WorkStatus.OPEN, ())
    assert not dealt.town.row(t.sales_order).on_hold
    assert dealt.states() == [("hold_work", "succeeded"), ("release_work", "succeeded")]
    assert dealt.versions() == [
        [("work", "", "on_hold"), ("holds", "", "address")],
        [("work", "", "open"), ("holds", "", None)],
    ]
    dealt.town.sound()


def test_a_part_that_was_moved_is_known_by_its_new_id(dealt: Dealt) -> None:
    dealt.desk().move("w1", "york")
    dealt.work()

    assert (dealt.part.external_id, dealt.part.location_external_id) == ("w1@york", "york")
    with pytest.raises(Conflict, match="Look at it again"):
        dealt.desk().hold("w1", HoldReason.MANUAL, "")


def test_a_request_is_answered(dealt: Dealt) -> None:
    order = dict(dealt.shop.orders["100"])
    dealt.shop.change(order, work=[order["work"][0] | {"request": "submitted"}])
    dealt.town.poll(dealt.connection_id)
    dealt.work()

    dealt.desk().answer("w1", WorkQuestion.FULFILLMENT, True, "")
    dealt.work()

    assert dealt.part.request == "accepted"


def test_wishes_on_one_order_are_carried_out_one_after_the_other(dealt: Dealt) -> None:
    dealt.shop.fail("hold_work", Unavailable("Busy.", sent=False))
    dealt.desk().hold("w1", HoldReason.MANUAL, "")
    dealt.desk().move("w1", "york")

    dealt.work()
    assert dealt.states() == [("hold_work", "planned"), ("move_work", "planned")], "the later one waits for the first"
    assert dealt.shop.count("move_work") == 0

    dealt.town.let_pass(600)
    dealt.work()
    assert dealt.states() == [("hold_work", "succeeded"), ("move_work", "succeeded")]


def test_what_the_shop_refuses_is_put_before_a_person_and_can_be_tried_again(dealt: Dealt) -> None:
    dealt.shop.fail("hold_work", Rejected("It is being packed."))
    wished = dealt.desk().hold("w1", HoldReason.MANUAL, "")

    dealt.work()
    assert dealt.states() == [("hold_work", "failed")] and dealt.part.status is WorkStatus.OPEN
    (issue,) = dealt.town.rows(t.issue, t.issue.c.kind == effects.ISSUE)
    assert (issue.order_id, issue.resolved_at) == (dealt.order_id, None)

    effects.retry(dealt.town.hub.database, dealt.town.merchant, wished, OWNER)
    dealt.work()
    assert dealt.part.status is WorkStatus.ON_HOLD


def test_a_lost_answer_is_settled_by_asking_again_and_the_order_is_fetched_once_it_is_clear(dealt: Dealt) -> None:
    before = dealt.shop.count("fetch_order")
    done = DealingChannel._deal

    def lost(channel: DealingChannel, *about: Any, **changed: Any) -> None:
        done(channel, *about, **changed)
        raise Unavailable("The line went dead.", sent=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DealingChannel, "_deal", lost)
        dealt.desk().hold("w1", HoldReason.MANUAL, "")
        dealt.work()
    assert (dealt.states(), dealt.shop.count("fetch_order")) == ([("hold_work", "planned")], before)

    dealt.town.let_pass(600)
    dealt.work()
    assert dealt.states() == [("hold_work", "succeeded")] and dealt.part.status is WorkStatus.ON_HOLD
    assert dealt.shop.count("fetch_order") == before + 1
