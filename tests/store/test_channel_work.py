"""Asking a channel to hold, release, move, split or answer for a part of an order: once, if it can be asked at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, update

from hub.connector import Settlement
from hub.core.model import (
    ChannelWork,
    Hold,
    HoldReason,
    LineQuantity,
    WorkRequest,
    WorkStatus,
)
from hub.core.shipping import WorkQuestion
from hub.errors import BadInput, Conflict
from hub.store import channel_work
from hub.store import tables as t
from hub.store.channel_work import Desk
from tests.core.making import a_line, an_order, minutes
from tests.store.warehouse import OWNER, FakeChannel, Warehouse

UNITS = (LineQuantity(line_external_id="1", quantity=2), LineQuantity(line_external_id="2", quantity=1))
OPEN = ChannelWork(external_id="gid://w/1", status=WorkStatus.OPEN, lines=UNITS, location_external_id="leeds")
HELD = replace(
    OPEN,
    status=WorkStatus.ON_HOLD,
    holds=(Hold(external_id="h1", reason=HoldReason.FRAUD), Hold(external_id="h2", reason=HoldReason.MANUAL)),
)
ASKED = replace(OPEN, request=WorkRequest.SUBMITTED)


class Dealing(FakeChannel):
    """A channel that deals orders out, and can be asked everything about it."""

    effects: ClassVar[Mapping[str, Settlement]] = dict.fromkeys(channel_work.KINDS, Settlement.NATURAL_KEY)


def desk(warehouse: Warehouse, *parts: ChannelWork, connector: type[FakeChannel] = Dealing) -> Desk:
    """Somebody before an order that its channel has dealt out like this."""
    shop = warehouse.connect(places=("leeds", "york", "closed"))
    with warehouse.database.write() as connection:
        connection.execute(
            update(t.channel_location).where(t.channel_location.c.external_id == "closed").values(active=False)
        )
    warehouse.hear(shop, an_order(a_line(2), a_line(1, id="2"), work=parts))
    order_id = warehouse.row(t.sales_order).id
    return Desk(warehouse.database, warehouse.merchant, order_id, connector, OWNER, uuid4())


def planned(warehouse: Warehouse) -> tuple[str, dict[str, Any]]:
    row = warehouse.row(t.effect, t.effect.c.kind.like("%_work"))
    assert row.state == "planned"
    return row.kind, row.request


ORDER = {"order_external_id": "100", "work_external_id": "gid://w/1"}
WISHES: Mapping[str, tuple[ChannelWork, Callable[[Desk], UUID], dict[str, Any], str]] = {
    "hold_work": (
        OPEN,
        lambda desk: desk.hold(OPEN.external_id, HoldReason.ADDRESS, "No such street"),
        {"reason": "address", "note": "No such street"},
        "Held back at the channel: address (No such street)",
    ),
    "release_work": (
        HELD,
        lambda desk: desk.release(OPEN.external_id),
        {"hold_external_ids": ["h1", "h2"]},
        "To be released at the channel",
    ),
    "move_work": (
        OPEN,
        lambda desk: desk.move(OPEN.external_id, "york"),
        {"location_external_id": "york"},
        "To be shipped from york instead",
    ),
    "split_work": (
        OPEN,
        lambda desk: desk.split(OPEN.external_id, {"1": 1, "2": 0}),
        {"lines": [{"line_external_id": "1", "quantity": 1}]},
        "1 unit to be split off at the channel",
    ),
    "answer_work": (
        ASKED,
        lambda desk: desk.answer(OPEN.external_id, WorkQuestion.FULFILLMENT, False, "Sold out"),
        {"question": "fulfillment", "accepted": False, "message": "Sold out"},
        "Fulfillment request rejected: Sold out",
    ),
}


@pytest.mark.parametrize("kind", WISHES)
def test_a_wish_is_one_effect_told_with_the_person_however_often_its_form_is_sent(
    warehouse: Warehouse, kind: str
) -> None:
    part, wish, request, summary = WISHES[kind]
    here = desk(warehouse, part)

    first, again = wish(here), wish(here)

    assert first == again
    found, sent = planned(warehouse)
    reference = sent.pop("reference", "")
    assert (found, sent) == (kind, ORDER | request)
    assert len(reference) == (32 if kind == "hold_work" else 0)
    effect = warehouse.row(t.effect, t.effect.c.id == first)
    assert (effect.order_id, effect.ordering_key) == (here.order_id, f"{effect.connection_id}:{here.order_id}")
    line = warehouse.row(t.activity, t.activity.c.kind == "order_work")
    assert (line.summary, line.actor, line.order_id) == (summary, OWNER, here.order_id)


@pytest.mark.parametrize("kind", WISHES)
def test_the_same_is_not_wished_twice_while_it_is_on_its_way(warehouse: Warehouse, kind: str) -> None:
    part, wish, _, _ = WISHES[kind]
    here = desk(warehouse, part)
    wish(here)
    other_form = replace(here, once=uuid4())

    with pytest.raises(Conflict, match="on its way to the channel already"):
        wish(other_form)

    with warehouse.database.write() as connection:
        connection.execute(update(t.effect).values(state="succeeded"))
    assert wish(other_form) != wish(here)


@pytest.mark.parametrize("kind", WISHES)
def test_a_channel_that_does_not_know_it_is_not_asked(warehouse: Warehouse, kind: str) -> None:
    part, wish, _, _ = WISHES[kind]

    with pytest.raises(Conflict, match="Look at it again"):
        wish(desk(warehouse, part, connector=FakeChannel))

    assert warehouse.rows(t.effect, t.effect.c.kind == kind) == []


@pytest.mark.parametrize("kind", WISHES)
def test_a_part_that_the_channel_has_dealt_out_anew_is_looked_at_again(warehouse: Warehouse, kind: str) -> None:
    part, wish, _, _ = WISHES[kind]
    here = desk(warehouse, part)
    shop = warehouse.row(t.sales_order).connection_id
    anew = replace(OPEN, external_id="gid://w/2")
    warehouse.hear(shop, an_order(a_line(2), a_line(1, id="2"), work=(anew,), version=minutes(1)))

    with pytest.raises(Conflict, match="Look at it again"):
        wish(here)


def test_what_fits_depends_on_how_the_part_stands() -> None:
    def fits(**more: Any) -> list[str]:
        return channel_work.possible(replace(OPEN, **more), Dealing.effects)

    assert fits() == ["hold_work", "move_work", "split_work"]
    assert fits(lines=UNITS[1:]) == ["hold_work", "move_work"], "one unit cannot be split"
    assert fits(status=WorkStatus.ON_HOLD) == ["release_work", "move_work"]
    assert fits(status=WorkStatus.IN_PROGRESS) == []
    assert fits(request=WorkRequest.SUBMITTED) == ["hold_work", "move_work", "split_work", "answer_work"]
    assert fits(status=WorkStatus.IN_PROGRESS, request=WorkRequest.CANCELLATION_REQUESTED) == ["answer_work"]
    assert fits(status=WorkStatus.CLOSED, request=WorkRequest.ACCEPTED) == []
    assert channel_work.possible(ASKED, {"answer_work"}) == ["answer_work"]


@pytest.mark.parametrize("units", [{}, {"1": 0}, {"1": 2, "2": 1}, {"1": 3}, {"1": -1, "2": 1}, {"9": 1}])
def test_a_split_takes_some_and_leaves_some(warehouse: Warehouse, units: dict[str, int]) -> None:
    with pytest.raises(BadInput):
        desk(warehouse, OPEN).split(OPEN.external_id, units)

    assert warehouse.rows(t.effect, t.effect.c.kind == "split_work") == []


@pytest.mark.parametrize("place", ["leeds", "closed", "nowhere"])
def test_a_part_moves_only_to_another_location_that_is_there(warehouse: Warehouse, place: str) -> None:
    with pytest.raises(BadInput):
        desk(warehouse, OPEN).move(OPEN.external_id, place)

    assert warehouse.rows(t.effect, t.effect.c.kind == "move_work") == []


def test_only_what_is_asked_now_is_answered(warehouse: Warehouse) -> None:
    here = desk(warehouse, ASKED)

    with pytest.raises(Conflict, match="asks something else by now"):
        here.answer(OPEN.external_id, WorkQuestion.CANCELLATION, True, "")


def test_one_form_about_two_parts_is_two_wishes_with_references_of_their_own(warehouse: Warehouse) -> None:
    here = desk(warehouse, OPEN, replace(OPEN, external_id="gid://w/2"))

    for part in ("gid://w/1", "gid://w/2"):
        here.hold(part, HoldReason.MANUAL, "")

    rows = warehouse.rows(t.effect, t.effect.c.kind == "hold_work")
    assert len({row.request["reference"] for row in rows}) == 2
    assert {row.request["work_external_id"] for row in rows} == {"gid://w/1", "gid://w/2"}


def test_an_order_of_another_merchant_is_none(warehouse: Warehouse) -> None:
    here = desk(warehouse, OPEN)
    rival = uuid4()
    with warehouse.database.write() as connection:
        connection.execute(insert(t.merchant).values(id=rival, name="Rival", created_at=warehouse.now()))

    with pytest.raises(Conflict, match="This order does not exist"):
        replace(here, merchant_id=rival).hold(OPEN.external_id, HoldReason.MANUAL, "")
