"""What people have a channel do with the parts it has dealt an order out into: hold, release, move, split, answer.

Each wish is an effect, planned once however often its form is sent, and carried out after the earlier ones on the same
order. What came of it is for the channel to say: the order is fetched again (``followups``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import Connection, Row, select

from hub import access
from hub.access import Permission
from hub.connector import Connector
from hub.core.details import OrderDetails
from hub.core.model import ChannelWork, HoldReason, LineQuantity, WorkRequest, WorkStatus
from hub.core.plain import from_plain, to_plain
from hub.core.shipping import WorkAnswer, WorkHold, WorkMove, WorkQuestion, WorkRelease, WorkSplit
from hub.errors import BadInput, Conflict
from hub.store import activity, effects, orders
from hub.store import tables as t
from hub.store.database import Database, Lanes
from hub.store.locking import lock_order

KINDS = ("hold_work", "release_work", "move_work", "split_work", "answer_work")

_TO_BE_SHIPPED = (WorkStatus.OPEN, WorkStatus.SCHEDULED)
_QUESTIONS = {
    WorkRequest.SUBMITTED: WorkQuestion.FULFILLMENT,
    WorkRequest.CANCELLATION_REQUESTED: WorkQuestion.CANCELLATION,
}


def question(work: ChannelWork) -> WorkQuestion | None:
    """What the channel asks about this part of an order and nobody has answered."""
    return _QUESTIONS.get(work.request)


def possible(work: ChannelWork, declared: Collection[str]) -> list[str]:
    """What can be wished of this part of an order as it stands, of the effects that its connector has ``declared``."""
    units = sum(line.quantity for line in work.lines)
    fits = {
        "hold_work": work.status in _TO_BE_SHIPPED,
        "release_work": work.status is WorkStatus.ON_HOLD or bool(work.holds),
        "move_work": work.status in (*_TO_BE_SHIPPED, WorkStatus.ON_HOLD),
        "split_work": work.status in _TO_BE_SHIPPED and units > 1,
        "answer_work": question(work) is not None,
    }
    return [kind for kind in KINDS if fits[kind] and kind in declared]


_Wish = Callable[[Row[Any], ChannelWork], object]  # (the order's row, its part as it stands) -> the request


@dataclass(frozen=True, slots=True)
class Desk:
    """Where somebody wishes something of a part of an order: ``once`` is of the form, the same however often it is
    sent. Each wish returns its effect's id. Raises Conflict when the part does not stand that way any more, or the same
    is on its way already; BadInput for what cannot be."""

    database: Database
    merchant_id: UUID
    order_id: UUID
    connector: type[Connector]
    actor: str
    once: UUID

    def hold(self, work_external_id: str, reason: HoldReason, note: str) -> UUID:
        """Have the channel hold the part back."""

        def wish(order: Row[Any], work: ChannelWork) -> WorkHold:
            return WorkHold(
                reference=uuid5(self.once, work.external_id).hex,
                order_external_id=order.external_id,
                work_external_id=work.external_id,
                reason=reason,
                note=note,
            )

        told = f"Held back at the channel: {reason.value}{f' ({note})' if note else ''}"
        return self._wish("hold_work", work_external_id, wish, told)

    def release(self, work_external_id: str) -> UUID:
        """Take all holds off the part that are there now."""

        def wish(order: Row[Any], work: ChannelWork) -> WorkRelease:
            return WorkRelease(
                order_external_id=order.external_id,
                work_external_id=work.external_id,
                hold_external_ids=tuple(hold.external_id for hold in work.holds),
            )

        return self._wish("release_work", work_external_id, wish, "To be released at the channel")

    def move(self, work_external_id: str, location_external_id: str) -> UUID:
        """Have another of the channel's locations ship the part."""
        place = t.channel_location.c
        with self.database.read() as connection:
            found = connection.execute(
                select(place.name)
                .join(
                    t.sales_order,
                    (t.sales_order.c.merchant_id == place.merchant_id)
                    & (t.sales_order.c.connection_id == place.connection_id),
                )
                .where(
                    place.merchant_id == self.merchant_id,
                    t.sales_order.c.id == self.order_id,
                    place.external_id == location_external_id,
                    place.active,
                )
            ).one_or_none()
        if found is None:
            raise BadInput("The channel has no such location. Choose one of the list.", {"location": ["Choose one."]})

        def wish(order: Row[Any], work: ChannelWork) -> WorkMove:
            if work.location_external_id == location_external_id:
                raise BadInput(f"It is at {found.name} already.", {"location": ["Choose another location."]})
            return WorkMove(
                order_external_id=order.external_id,
                work_external_id=work.external_id,
                location_external_id=location_external_id,
            )

        return self._wish("move_work", work_external_id, wish, f"To be shipped from {found.name} instead")

    def split(self, work_external_id: str, units: Mapping[str, int]) -> UUID:
        """Make so many units of each line, by its external id, a part of their own."""
        taken = {external_id: quantity for external_id, quantity in units.items() if quantity}

        def wish(order: Row[Any], work: ChannelWork) -> WorkSplit:
            there = {line.line_external_id: line.quantity for line in work.lines}
            if any(quantity < 0 or quantity > there.get(each, 0) for each, quantity in taken.items()):
                raise BadInput("A split takes at most what is there of each line.", {"units": ["Enter fewer units."]})
            if not taken or taken == there:
                raise BadInput("A split takes some of the units, and leaves some.", {"units": ["Enter some units."]})
            return WorkSplit(
                order_external_id=order.external_id,
                work_external_id=work.external_id,
                lines=tuple(LineQuantity(line_external_id=each, quantity=taken[each]) for each in sorted(taken)),
            )

        count = sum(taken.values())
        told = f"{count} unit{'' if count == 1 else 's'} to be split off at the channel"
        return self._wish("split_work", work_external_id, wish, told)

    def answer(self, work_external_id: str, asked: WorkQuestion, accepted: bool, message: str) -> UUID:
        """Answer what the channel asks about the part."""

        def wish(order: Row[Any], work: ChannelWork) -> WorkAnswer:
            if question(work) is not asked:
                raise Conflict("The channel asks something else by now. Look at the order again.")
            return WorkAnswer(
                order_external_id=order.external_id,
                work_external_id=work.external_id,
                question=asked,
                accepted=accepted,
                message=message,
            )

        what = "Cancellation request" if asked is WorkQuestion.CANCELLATION else "Fulfillment request"
        told = f"{what} {'accepted' if accepted else 'rejected'}{f': {message}' if message else ''}"
        return self._wish("answer_work", work_external_id, wish, told)

    @access.needs(Permission.ORDERS)
    def _wish(self, kind: str, work_external_id: str, wish: _Wish, told: str) -> UUID:
        return self.database.transact(lambda connection: self._plan(connection, kind, work_external_id, wish, told))

    def _plan(self, connection: Connection, kind: str, work_external_id: str, wish: _Wish, told: str) -> UUID:
        def asked(order: Row[Any]) -> Asked:
            parts = from_plain(OrderDetails, order.details).work
            work = next((each for each in parts if each.external_id == work_external_id), None)
            if work is None or kind not in possible(work, self.connector.effects):
                raise Conflict("The channel has changed this part of the order meanwhile. Look at it again.")
            request = to_plain(wish(order, work))
            effect = t.effect.c
            for row in connection.execute(
                select(effect.request).where(
                    effect.merchant_id == self.merchant_id,
                    effect.order_id == self.order_id,
                    effect.kind == kind,
                    effect.state.in_(("planned", "in_flight")),
                )
            ):
                if row.request.get("work_external_id") == work_external_id:
                    raise Conflict("The same is on its way to the channel already. Wait for what comes of it.")
            return Asked(request, "order_work", told, {"part": work_external_id})

        at = self.database.now(connection)
        business_id = f"{self.order_id}/{self.once}/{work_external_id}"
        return ask(connection, self.merchant_id, self.order_id, kind, business_id, asked, at=at, actor=self.actor)


@access.needs(Permission.ORDERS)
def fetch_again(database: Database, merchant_id: UUID, order_id: UUID, actor: str) -> Lanes:
    """Somebody wants to know how an order stands at its channel: it is asked for. Returns the lanes to ring for."""

    def work(connection: Connection) -> Lanes:
        row = lock_order(connection, merchant_id, order_id)
        at = database.now(connection)
        orders.request_fetches(connection, merchant_id, row.connection_id, "order", [row.external_id], at=at)
        said = "The channel is asked how the order stands"
        activity.note(connection, merchant_id, "order_asked", said, at=at, order_id=order_id, actor=actor)
        return [(row.connection_id, "fetch")]

    return database.transact(work)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a channel is asked to do with an order: the request as it is stored, and how the log tells of it."""

    request: Mapping[str, Any]
    noted: str  # the kind of the line in the log
    told: str
    details: Mapping[str, str] = field(default_factory=dict)
    look_first: bool = False  # it may be so already, by an effect of before: then the channel is not told


def turn_to_ask(connection_id: UUID, order_id: UUID) -> str:
    """Under which ordering key a channel is asked for something about an order, one after the other."""
    return f"{connection_id}:{order_id}"


def ask(
    connection: Connection,
    merchant_id: UUID,
    order_id: UUID,
    kind: str,
    business_id: str,
    wish: Callable[[Row[Any]], Asked],
    *,
    at: datetime,
    actor: str,
    turn: Callable[[UUID, UUID], str] = turn_to_ask,
) -> UUID:
    """Plan that an order's channel is asked for something, after what has the same ``turn`` there; returns the
    effect's id, the same for the same ``business_id``. ``wish`` gets the order's row, locked: so a form that is
    sent twice at once is one wish, told of once. Raises Conflict for a shop that was removed."""
    order = lock_order(connection, merchant_id, order_id)
    effect = t.effect.c
    key = effects.effect_key(merchant_id, kind, business_id)
    there = connection.execute(
        select(effect.id).where(effect.merchant_id == merchant_id, effect.effect_key == key)
    ).scalar_one_or_none()
    if there is not None:
        return there  # type: ignore[no-any-return]
    shop = t.connection.c
    state = select(shop.state).where(shop.merchant_id == merchant_id, shop.id == order.connection_id)
    if connection.execute(state).scalar_one() == "removed":
        raise Conflict("This shop was removed from the hub: it cannot be asked for anything.")
    asked = wish(order)
    effect_id = effects.plan(
        connection,
        merchant_id,
        order.connection_id,
        kind,
        business_id,
        asked.request,
        now=at,
        ordering_key=turn(order.connection_id, order_id),
        order_id=order_id,
        look_first=asked.look_first,
    )
    activity.note(
        connection,
        merchant_id,
        asked.noted,
        asked.told,
        at=at,
        connection_id=order.connection_id,
        order_id=order_id,
        actor=actor,
        details={"effect": str(effect_id), **asked.details},
    )
    return effect_id
