"""What follows when an effect was done: one function per kind of effect, in the commit that says that it was done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection, Row, select
from sqlalchemy.exc import OperationalError

from hub.connector import EffectResult
from hub.store import activity, listings, orders
from hub.store import tables as t
from hub.store.database import Interrupted

log = structlog.get_logger()

# (connection, the effect's row, what came of it, now) -> the (connection, lane)s to be rung for after the commit.
FollowUp = Callable[[Connection, Row[Any], EffectResult, datetime], Iterable[tuple[UUID, str]]]

ISSUE = "followup"  # the kind of its issues; the subject is the effect's id


def follow_up(connection: Connection, effect: Row[Any], result: EffectResult, at: datetime) -> list[tuple[UUID, str]]:
    """Let everything follow from an effect that was done, in the caller's transaction.

    That it was done stays true whatever happens here: what fails is undone alone and put before a person. Returns the
    lanes to be rung for once it is committed.
    """
    function = FOLLOW_UPS.get(effect.kind)
    if function is None:
        return []
    try:
        with connection.begin_nested():
            return list(function(connection, effect, result, at))
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
            f"Done, but what was to follow from it failed: {name}",
            f"Look at the order, and tell the maker of the hub. {type(error).__name__}: {error}",
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


FOLLOW_UPS: Mapping[str, FollowUp] = {
    **dict.fromkeys(("hold_work", "release_work", "move_work", "split_work", "answer_work"), fetch_the_order),
    "stock_listing": publish_there,
}
