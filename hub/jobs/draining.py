"""Draining what is due, lane by lane, and finding what is due."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, Connection, and_, delete, or_, select

from hub.children import stop_requested
from hub.errors import Unavailable
from hub.jobs import (
    bulk_lane,
    desk_lane,
    fetch_lane,
    inbox_lane,
    mail_lane,
    messages_lane,
    picture_lane,
    publish_lane,
    route_lane,
    sandboxes,
    ship_lane,
)
from hub.jobs.fetch_lane import anything
from hub.jobs.shift import Hub, Shift, start_shift
from hub.store import (
    activity,
    breaker,
    bulk_acts,
    connections,
    effects,
    exchanges,
    expiring,
    inbox,
    labels,
    orders,
    paces,
    pictures,
    publications,
    stock,
    stock_import,
    tasks,
)
from hub.store import tables as t
from hub.store.database import Broken, Database, LeaseLost

log = structlog.get_logger()

BUDGET_SECONDS = 15.0  # how long one drain goes on before it lets others have a turn


def drain(hub: Hub, merchant_id: UUID, connection_id: UUID, lane: str, budget_seconds: float = BUDGET_SECONDS) -> bool:
    """Work off what is due in one lane of one connection; False when another worker is at it.

    Safe to run at any time, twice, or late: what is due is read from the database, and a fenced lease lets one worker
    at a time write. Errors of a vendor or of a connector end the drain, not the worker.
    """
    began = time.monotonic()
    ends = began + budget_seconds
    while True:
        with start_shift(hub, merchant_id, connection_id, lane, ends) as shift:
            if shift is None:
                return False
            try:
                _WORK[lane](shift)
            except (LeaseLost, Broken) as error:
                # Others were faster. What is left to do is still due, and somebody finds it.
                log.warning("drain cut short", lane=lane, connection=str(connection_id), error=str(error))
                return True
        log.debug("drained", lane=lane, connection=str(connection_id), seconds=round(time.monotonic() - began, 3))
        # Work may have come in between the last look and the release, while its ring found the lane taken.
        if stop_requested() or (merchant_id, connection_id, lane) not in due(hub, connection_id, lane):
            return True
        if time.monotonic() >= ends:
            hub.doorbell.ring(merchant_id, connection_id, lane)  # somebody goes on where this drain ends
            return True


def _send_effects(shift: Shift) -> None:
    row = shift.row()
    while shift.time_left() and shift.may_call(row):
        shift.keep()
        effect = effects.claim(shift.hub.database, shift.merchant_id, shift.connection_id)
        if effect is None:
            return
        with shift.recorder.doing(order_id=effect.order_id, effect_id=effect.id):
            effects.run(shift.hub.database, shift.hub.keyring, effect, shift.sender(row), ring=shift.ring)
        row = shift.row()


_WORK: dict[str, Callable[[Shift], None]] = {
    "inbox": inbox_lane.work,
    "route": route_lane.work,
    "ship": ship_lane.work,
    "publish": publish_lane.work,
    "effects": _send_effects,
    "messages": messages_lane.work,
    "fetch": fetch_lane.work,
    "mail": mail_lane.work,
    "bulk": bulk_lane.work,
    desk_lane.LANE: desk_lane.work,
    picture_lane.LANE: picture_lane.work,
}
LANES = tuple(_WORK)
# What the other shops wait for: a sale comes in, and their stock says so. Labels may take a moment longer.
URGENT_LANES = ("messages", "inbox", "publish")
# What nobody waits for: nothing else is to wait for it.
LEISURELY_LANES = (picture_lane.LANE,)


def broke_down(hub: Hub, merchant_id: UUID, connection_id: UUID, lane: str, reason: str) -> None:
    """A drain's process crashed or was killed at its deadline: count it against the connection and tell a person."""
    if lane in (desk_lane.LANE, picture_lane.LANE):
        return  # no connector is to blame: whoever asked for the work is told on its page, a picture fails by itself
    with hub.database.write() as connection:
        at = Database.now(connection)
        error = Unavailable(f"The connector broke down while {_DOING[lane]}: {reason}.")
        breaker.note_outcome(connection, merchant_id, connection_id, error, now=at)
        activity.raise_issue(
            connection,
            merchant_id,
            "connector_broke_down",
            f"{connection_id}/{lane}",
            f"A connector broke down while {_DOING[lane]} ({reason})",
            "Everything else goes on. If it happens again, tell the author of the connector.",
            at=at,
            connection_id=connection_id,
            link=f"/connections/{connection_id}",
        )


_DOING = {
    "inbox": "reading what came in",
    "route": "dealing orders out",
    "ship": "asking carriers for rates",
    "publish": "publishing stock",
    "effects": "sending to the vendor",
    "messages": "reading a queue",
    "fetch": "fetching from the vendor",
    "mail": "sending e-mail",
    "bulk": "doing something to many at once",
}


# ---------------------------------------------------------------- finding what is due


def due(hub: Hub, connection_id: UUID | None = None, lane: str | None = None) -> list[tuple[UUID, UUID, str]]:
    """Every (merchant, connection, lane) with work to do that no worker is at, the most urgent lanes first.

    Given a connection or a lane, of these alone, and no other lane is looked at. Each is asked in the very terms in
    which it picks its work, so that nothing is due that cannot be done. Connections whose plugin is missing are parked:
    their rows wait for it.
    """
    shop = t.connection.c
    one = [] if connection_id is None else [shop.id == connection_id]
    with hub.database.read() as connection:
        at = Database.now(connection)
        existing = set(_shops(connection, shop.state != "removed", *one))

        def here(found: Iterable[tuple[UUID, UUID]]) -> list[tuple[UUID, UUID]]:
            return [each for each in found if each in existing]

        looks: tuple[tuple[str, Callable[[], Iterable[tuple[UUID, UUID]]]], ...] = (
            ("inbox", lambda: _shops(connection, anything(t.inbox, *_UNREAD), _READS, *one)),
            ("messages", lambda: _shops(connection, messages_lane.due(at), *one)),
            ("route", lambda: here(_shops(connection, anything(t.routing_mark, t.routing_mark.c.due_at <= at), *one))),
            ("publish", lambda: publications.connections_due(connection, at, *one)),
            ("fetch", lambda: _shops(connection, fetch_lane.task_due(at), *one)),
            ("ship", lambda: here(labels.connections_due(connection, at, connection_id))),
            ("effects", lambda: here(effects.due(connection, at, connection_id))),
            ("fetch", lambda: _shops(connection, fetch_lane.fetch_due(at), _callable(at), *one)),
            ("mail", lambda: here(mail_lane.due(hub.settings, connection, at))),
            ("bulk", lambda: bulk_acts.due(connection, at, connection_id)),
            (desk_lane.LANE, lambda: desk_lane.due(connection, connection_id)),
            (
                picture_lane.LANE,
                lambda: _shops(connection, picture_lane.due(at), _callable(at), *one) if hub.settings.pictures else (),
            ),
        )
        found = [(*each, named) for named, look in looks if lane in (None, named) for each in look()]
        usable = set(_shops(connection, shop.connector.in_(list(hub.registry.connectors)), *one))
        taken = set(connection.execute(select(t.lease.c.name).where(t.lease.c.until > at)).scalars())
    return [
        each
        for each in dict.fromkeys(found)
        # What people do to orders and stock needs no connector, and no connection that still works.
        if (each[:2] in usable or each[2] in ("bulk", desk_lane.LANE)) and f"{each[2]}:{each[1]}" not in taken
    ]


# Every unread record came in some time. Asked for that as well, SQLite goes by the index of the unread ones instead of
# one of all that was ever received.
_UNREAD = (t.inbox.c.state == "pending", t.inbox.c.received_at > datetime(1970, 1, 1, tzinfo=UTC))
# A removed connection, too: what its vendor still says about customers' data is heard.
_READS = t.connection.c.secrets.is_not(None)


def _callable(at: datetime) -> ColumnElement[bool]:
    shop = t.connection.c
    return and_(shop.state == "connected", or_(shop.not_before.is_(None), shop.not_before <= at))


def _shops(connection: Connection, *conditions: ColumnElement[bool]) -> list[tuple[UUID, UUID]]:
    shop = t.connection.c
    return [
        (row.merchant_id, row.id) for row in connection.execute(select(shop.merchant_id, shop.id).where(*conditions))
    ]


def sweep(hub: Hub) -> int:
    """Ring for everything that is due, so that nothing waits longer for a lost ring than until the next sweep.

    Lanes whose worker died are freed first, and stock goes on to those whose turn it is: what orders held too long
    without being paid is given back, and who was woken is served. Returns how many rings there were.
    """
    hub.database.release_dead()
    sandboxes.remove_ending(hub, LANES)
    _move_stock_on(hub)
    waiting = due(hub)
    for merchant_id, connection_id, lane in waiting:
        hub.doorbell.ring(merchant_id, connection_id, lane)
    return len(waiting)


def _move_stock_on(hub: Hub) -> None:
    order, waits = t.sales_order.c, t.backorder.c
    try:
        while late := _merchants(hub, order.merchant_id, lambda at: order.hold_until <= at):
            for merchant_id in late:
                orders.expire_unpaid(hub.database, merchant_id)
        for merchant_id in _merchants(hub, waits.merchant_id, lambda _at: waits.woken):
            stock.serve_woken(hub.database, merchant_id)
    except Broken as error:
        # Others are at the same stock. What is left to do is found by the next sweep; everything else is rung for.
        log.warning("stock left to the next sweep", error=str(error))


def _merchants(
    hub: Hub, merchant_id: ColumnElement[UUID], which: Callable[[datetime], ColumnElement[bool]]
) -> Sequence[UUID]:
    with hub.database.read() as connection:
        at = Database.now(connection)
        return connection.execute(select(merchant_id).distinct().where(which(at))).scalars().all()


def tidy(hub: Hub) -> None:
    """Work out how fast everything sells, and forget what is kept for a time only: raw bodies, customers whose goods
    arrived, the log of requests, pictures that no listing shows, ended sessions, set-up tokens, leases nobody holds."""
    with hub.database.read() as connection:
        at = Database.now(connection)
    inbox.forget_bodies(hub.database, at - timedelta(days=hub.settings.raw_days))
    for name, connector in hub.registry.connectors.items():
        if connector.raw_days is not None and connector.raw_days < hub.settings.raw_days:
            inbox.forget_bodies(hub.database, at - timedelta(days=connector.raw_days), connectors=[name])
        if connector.personal_days is not None:
            expiring.forget_delivered(hub.database, hub.keyring, name, connector.personal_days)
        if connector.secret_days is not None:
            connections.remind_of_secrets(hub.database, connector, connector.secret_days)
    connections.forget_removed(hub.database)
    paces.reckon(hub.database)
    stock_import.forget_old(hub.database, at - timedelta(days=30))
    bulk_acts.forget_old(hub.database, at - timedelta(days=90))
    exchanges.forget_old(hub.database)
    pictures.tidy(hub.database, wanted=hub.settings.pictures)
    with hub.database.write() as connection:
        tasks.forget_results(connection, at - timedelta(days=1))
        connection.execute(delete(t.session).where(t.session.c.expires_at < at))
        connection.execute(delete(t.second_step).where(t.second_step.c.expires_at < at))
        connection.execute(delete(t.failed_try).where(t.failed_try.c.forget_at < at))
        connection.execute(delete(t.setup_token).where(t.setup_token.c.expires_at < at - timedelta(days=1)))
        connection.execute(delete(t.lease).where(t.lease.c.until < at - timedelta(days=1)))
