"""What follows when an effect has come to its end, done or not: one function per kind, in the commit that says so; and
what an effect has to pass before it is carried out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection, Row, select
from sqlalchemy.exc import OperationalError

from hub.connector import EffectResult
from hub.core.plain import from_plain
from hub.core.shipping import Cancellation
from hub.errors import Conflict
from hub.store import (
    activity,
    calling_off,
    fulfillment,
    holds,
    labels,
    listings,
    orders,
    providers,
    shipments,
    telling_again,
)
from hub.store import tables as t
from hub.store.database import Interrupted, Lanes

log = structlog.get_logger()

# (connection, the effect's row, what came of it, now) -> the (connection, lane)s to be rung for after the commit.
FollowUp = Callable[[Connection, Row[Any], EffectResult, datetime], Iterable[tuple[UUID, str]]]
# The same where it was not done: instead of a result, why not. The row's state is failed, where the vendor said no, or
# cancelled.
NotDone = Callable[[Connection, Row[Any], str, datetime], Iterable[tuple[UUID, str]]]
# (connection, the effect's row, now); raises Conflict where it must not be done any more.
Gate = Callable[[Connection, Row[Any], datetime], object]

ISSUE = "followup"  # the kind of its issues; the subject is the effect's id
BY_HAND = "refund_by_hand"  # the same


def follow_up(connection: Connection, effect: Row[Any], result: EffectResult, at: datetime) -> Lanes:
    """Let everything follow from an effect that was done, in the caller's transaction.

    That it was done stays true whatever happens here: what fails is undone alone and put before a person. Returns the
    lanes to be rung for once it is committed.
    """
    function = FOLLOW_UPS.get(effect.kind)
    if function is None:
        return []
    return _guarded(connection, effect, at, "Done", lambda: function(connection, effect, result, at))


def follow_up_without(connection: Connection, effect: Row[Any], why: str, at: datetime) -> Lanes:
    """The same for an effect that was surely not done, and will not be."""
    function = NOT_DONE.get(effect.kind)
    if function is None:
        return []
    return _guarded(connection, effect, at, "Not done", lambda: function(connection, effect, why, at))


def tried_again(connection: Connection, effect: Row[Any], actor: str, at: datetime) -> None:
    """What has to hold while an effect is planned holds again: a person has it sent once more, in the caller's
    transaction."""
    if effect.kind == "cancel_order" and effect.order_id is not None:
        holds.while_cancelling(connection, effect.merchant_id, effect.order_id, at=at, actor=actor)


def barred(connection: Connection, effect: Row[Any], at: datetime) -> str:
    """Why an effect must not be carried out any more, "" if it may: asked in the transaction that claims it."""
    gate = GATES.get(effect.kind)
    if gate is None:
        return ""
    try:
        gate(connection, effect, at)
    except Conflict as error:
        return str(error)
    return ""


def _guarded(
    connection: Connection, effect: Row[Any], at: datetime, done: str, follow: Callable[[], Iterable[tuple[UUID, str]]]
) -> Lanes:
    try:
        with connection.begin_nested():
            return list(follow())
    except (Interrupted, OperationalError):
        raise  # the database got in the way: the whole commit is tried again
    except Exception as error:
        log.exception("follow_up_failed", effect=str(effect.effect_key), kind=effect.kind)
        name = effect.kind.replace("_", " ")
        activity.raise_issue(
            connection,
            effect.merchant_id,
            ISSUE,
            str(effect.id),
            f"{done}, but what was to follow from it failed: {name}",
            f"Look at the order, and tell the maker of the hub. {type(error).__name__}: {error}"[:500],
            at=at,
            connection_id=effect.connection_id,
            order_id=effect.order_id,
            link=f"/orders/{effect.order_id}" if effect.order_id else f"/connections/{effect.connection_id}",
        )
        return []


def fetch_the_order(
    connection: Connection, effect: Row[Any], result: EffectResult, at: datetime
) -> Iterable[tuple[UUID, str]]:
    """The channel has changed the order: how it stands now is for the channel to say."""
    order = t.sales_order.c
    external_id = connection.execute(
        select(order.external_id).where(order.merchant_id == effect.merchant_id, order.id == effect.order_id)
    ).scalar_one_or_none()
    if external_id is None:
        return []
    orders.request_fetches(connection, effect.merchant_id, effect.connection_id, "order", [external_id], at=at)
    return [(effect.connection_id, "fetch")]


def publish_there(
    connection: Connection, effect: Row[Any], result: EffectResult, at: datetime
) -> Iterable[tuple[UUID, str]]:
    """The channel keeps stock of the listing there now: it is told how much."""
    listings.publish_again(
        connection,
        effect.merchant_id,
        effect.connection_id,
        effect.request["listing_external_id"],
        effect.request["location_external_id"],
        at=at,
    )
    return [(effect.connection_id, "publish")]


def confirmed(
    connection: Connection, effect: Row[Any], result: EffectResult, at: datetime
) -> Iterable[tuple[UUID, str]]:
    """The channel knows what was shipped: the order is fetched, so that the hub sees what it made of it."""
    yield from shipments.confirmed(connection, effect, result, at)
    yield from fetch_the_order(connection, effect, result, at)


def not_confirmed(connection: Connection, effect: Row[Any], why: str, at: datetime) -> Iterable[tuple[UUID, str]]:
    """The channel did not take it: how the order stands there says why."""
    yield from shipments.not_confirmed(connection, effect, why, at)
    yield from fetch_the_order(connection, effect, EffectResult(""), at)


def refunded(
    connection: Connection, effect: Row[Any], result: EffectResult, at: datetime
) -> Iterable[tuple[UUID, str]]:
    """The channel has given the money back; where it only noted that, somebody has to."""
    if result.details.get("by_hand"):
        amount = f"{result.details.get('amount', '')} {result.details.get('currency', '')}".strip()
        title = f"Give the customer {amount} back yourself"
        next_step = (
            "The channel has only noted the refund: this way of paying gives no money back by itself. Pay it back, "
            "then resolve this."
        )
        if result.details.get("unsure"):
            title = f"Find out whether the customer got {amount} back"
            next_step = (
                "The channel has noted the refund, and does not say whether the money went. Look at your payment "
                "provider; pay it back only if it is not there, then resolve this."
            )
        activity.raise_issue(
            connection,
            effect.merchant_id,
            BY_HAND,
            str(effect.id),
            title,
            next_step,
            at=at,
            connection_id=effect.connection_id,
            order_id=effect.order_id,
            link=f"/orders/{effect.order_id}",
        )
    return fetch_the_order(connection, effect, result, at)


def not_cancelled(connection: Connection, effect: Row[Any], why: str, at: datetime) -> Iterable[tuple[UUID, str]]:
    """The order goes on; how it stands at the channel says why."""
    if effect.order_id is not None and not calling_off.is_being_cancelled(
        connection, effect.merchant_id, effect.order_id
    ):
        holds.not_cancelled(connection, effect.merchant_id, effect.order_id, at=at)
        yield effect.connection_id, "route"
        yield effect.connection_id, "ship"
    yield from fetch_the_order(connection, effect, EffectResult(""), at)


def submitted(
    connection: Connection, effect: Row[Any], result: EffectResult, at: datetime
) -> Iterable[tuple[UUID, str]]:
    """The 3PL has the order."""
    return providers.submitted(connection, effect, result, at) if _named(effect) else []


def not_submitted(connection: Connection, effect: Row[Any], why: str, at: datetime) -> Iterable[tuple[UUID, str]]:
    """The 3PL will not ship it; or it was never asked, and what it was to ship is dealt out anew when it may."""
    if not _named(effect):
        return []
    if effect.state == "failed":
        return providers.refused(connection, effect, why, at)
    return providers.not_asked(connection, effect, why, at)


def cancel_answered(
    connection: Connection, effect: Row[Any], result: EffectResult, at: datetime
) -> Iterable[tuple[UUID, str]]:
    """What the 3PL says to not shipping it."""
    if not result.details:
        return []  # a person says that it was done: the 3PL's own word is still to come
    answer = from_plain(Cancellation, result.details)
    return providers.cancel_answered(connection, effect.merchant_id, effect.connection_id, answer, at=at)


def may_be_submitted(connection: Connection, effect: Row[Any], at: datetime) -> None:
    """A 3PL is asked only for what may still be shipped."""
    work = _work(connection, effect) if _named(effect) else None
    if work is not None:
        fulfillment.gate(connection, effect.merchant_id, work.id)


def _work(connection: Connection, effect: Row[Any]) -> Row[Any] | None:
    this = t.fulfillment_order.c
    work_id = connection.execute(
        select(this.id).where(this.merchant_id == effect.merchant_id, this.reference == effect.request["reference"])
    ).scalar_one_or_none()
    return None if work_id is None else fulfillment.locked(connection, effect.merchant_id, work_id)


def _named(effect: Row[Any]) -> bool:
    """Whether it is still known what it was about: of an erased customer's order it is not."""
    return "reference" in effect.request


FOLLOW_UPS: Mapping[str, FollowUp] = {
    **dict.fromkeys(("hold_work", "release_work", "move_work", "split_work", "answer_work"), fetch_the_order),
    "stock_listing": publish_there,
    "confirm_shipment": confirmed,
    "cancel_order": fetch_the_order,
    "refund": refunded,
    "buy_label": labels.bought,
    "void_label": labels.void_answered,
    "submit": submitted,
    "cancel": cancel_answered,
}

NOT_DONE: Mapping[str, NotDone] = {
    "confirm_shipment": not_confirmed,
    "cancel_order": not_cancelled,
    "buy_label": labels.not_bought,
    "void_label": labels.not_voided,
    "submit": not_submitted,
    "cancel": providers.not_cancelled,
}

GATES: Mapping[str, Gate] = {
    "buy_label": labels.may_be_bought,
    "submit": may_be_submitted,
    "cancel_order": calling_off.may_be_cancelled,
    "refund": calling_off.may_be_refunded,
    "confirm_shipment": telling_again.may_be_told,
}
