"""What a person does to many orders at once: planned as one row and a row for each order, and done order by order.

Each order is a commit of its own, in which the act and the word that it was done stand together: killed at any moment,
rung for twice or taken over by another worker, an order is done once. Everything is done for the person who asked, with
what they were allowed to then and are still allowed to now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row, delete, func, select, update

from hub import access
from hub.access import Permission, grants
from hub.core.model import HoldReason
from hub.core.priorities import Urgency
from hub.core.shipping import CancelReason
from hub.errors import BadInput, Conflict, HubError
from hub.store import activity, calling_off, handling, holds, rerouting
from hub.store import tables as t
from hub.store.accounts import works_at
from hub.store.bulk import insert_rows
from hub.store.calling_off import CancelWish
from hub.store.database import Database, Interrupted, Lanes, in_chunks, upsert
from hub.store.locking import connection_of, lock_order

MOST_ORDERS = 25_000  # of one act: what a person can still look through afterwards

_WENT_WRONG = ("refused", "failed")


# ---------------------------------------------------------------- what can be done


@dataclass(frozen=True, slots=True)
class One:
    """One order to which something is done. What ``database`` writes is part of the commit that says it was done."""

    database: Database
    merchant_id: UUID
    order_id: UUID
    arguments: Mapping[str, str]
    actor: str


@dataclass(frozen=True, slots=True)
class Done:
    """What came of it, for a person, and the lanes to ring for."""

    said: str
    lanes: Lanes = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Act:
    """Something that can be done to many orders. ``perform`` raises HubError for an order to which it cannot be done;
    ``read`` makes arguments of what was typed, and raises BadInput."""

    permission: Permission
    perform: Callable[[One], Done]
    read: Callable[[Mapping[str, str]], Mapping[str, str]] = lambda _typed: {}


def _hold(one: One) -> Done:
    reason = HoldReason(one.arguments["reason"])
    holds.hold_order(one.database, one.merchant_id, one.order_id, reason, one.arguments["note"], one.actor)
    return Done("On hold")


def _read_hold(typed: Mapping[str, str]) -> Mapping[str, str]:
    reason = typed.get("reason", "")
    if reason not in [each.value for each in HoldReason]:
        raise BadInput("Choose why they are held.", {"reason": ["Choose why they are held."]})
    return {"reason": reason, "note": _needed(typed, "note", "Say why they are held: whoever packs has to know.", 500)}


def _release(one: One) -> Done:
    with one.database.read() as connection:
        every = holds.holds(connection, one.merchant_id, one.order_id)
    open_ones = [each for each in every if each.released_at is None]
    here = [each for each in open_ones if each.releasable]
    if not here:
        raise Conflict(
            "Only the channel holds this order: release it there." if open_ones else "Nothing holds this order here."
        )
    lanes = [
        lane
        for each in here
        for lane in handling.release(one.database, one.merchant_id, one.order_id, each.id, one.actor)
    ]
    return Done("Released" if len(here) == len(open_ones) else "Released here; the channel still holds it", lanes)


def _tag(one: One) -> Done:
    row, tag = _locked(one), one.arguments["tag"]
    if tag in row.own_tags:
        return Done("It had this tag already")
    handling.set_tags(one.database, one.merchant_id, one.order_id, [*row.own_tags, tag], one.actor)
    return Done("Tagged")


def _untag(one: One) -> Done:
    row, tag = _locked(one), one.arguments["tag"]
    if tag not in row.own_tags:
        if tag in row.tags:
            raise Conflict("This tag is the channel's own: take it off there.")
        return Done("It did not have this tag")
    left = [each for each in row.own_tags if each != tag]
    handling.set_tags(one.database, one.merchant_id, one.order_id, left, one.actor)
    return Done("The tag is off")


def _read_tag(typed: Mapping[str, str]) -> Mapping[str, str]:
    return {"tag": _needed(typed, "tag", "Type a tag.", 40)}


def _priority(one: One) -> Done:
    chosen = one.arguments["priority"]
    handling.set_priority(one.database, one.merchant_id, one.order_id, int(chosen) if chosen else None, one.actor)
    return Done("Priority set" if chosen else "Priority left to the rules")


def _read_priority(typed: Mapping[str, str]) -> Mapping[str, str]:
    chosen = typed.get("priority", "")
    if chosen and chosen not in [str(each.value) for each in Urgency]:
        raise BadInput("Choose a priority of the list.", {"priority": ["Choose one of the list."]})
    return {"priority": chosen}


def _ship_from(one: One) -> Done:
    place, reason = UUID(one.arguments["location"]), one.arguments["reason"]
    lanes = rerouting.choose(one.database, one.merchant_id, one.order_id, place, reason, one.actor)
    return Done("Ships from there", lanes)


def _read_ship_from(typed: Mapping[str, str]) -> Mapping[str, str]:
    try:
        location = str(UUID(typed.get("location", "")))
    except ValueError:
        raise BadInput("Choose a location.", {"location": ["Choose a location."]}) from None
    return {"location": location, "reason": _needed(typed, "reason", "Say why they ship from there.", 300)}


def _reroute(one: One) -> Done:
    return Done("Dealt out again", rerouting.again(one.database, one.merchant_id, one.order_id, one.actor))


def _cancel(one: One) -> Done:
    wish = CancelWish(
        reason=CancelReason(one.arguments["reason"]),
        refund=one.arguments["money"] == "refund",
        restock=True,
        note=one.arguments["note"],
    )
    # The act and the word that it was done are one commit, so another once is never another wish.
    calling_off.cancel_order(one.database, one.merchant_id, one.order_id, wish, once=uuid4(), actor=one.actor)
    with one.database.read() as connection:
        shop = connection_of(connection, one.merchant_id, one.order_id)
    return Done("On hold; the shop is asked to cancel it", [(shop, "effects")])


def _read_cancel(typed: Mapping[str, str]) -> Mapping[str, str]:
    reason, money = typed.get("reason", ""), typed.get("money", "")
    if reason not in [each.value for each in CancelReason]:
        raise BadInput("Choose why they are cancelled.", {"reason": ["Choose one."]})
    if money not in ("refund", "keep"):
        raise BadInput("Choose what becomes of the money.", {"money": ["Choose one."]})
    if typed.get("confirm", "").strip().upper() != "CANCEL":
        raise BadInput("Type CANCEL to confirm: this cannot be undone.", {"confirm": ["Type CANCEL."]})
    return {"reason": reason, "money": money, "note": " ".join(typed.get("note", "").split())[:250]}


ACTS: Mapping[str, Act] = MappingProxyType(
    {
        "hold": Act(Permission.ORDERS, _hold, _read_hold),
        "release": Act(Permission.ORDERS, _release),
        "tag": Act(Permission.ORDERS, _tag, _read_tag),
        "untag": Act(Permission.ORDERS, _untag, _read_tag),
        "priority": Act(Permission.ORDERS, _priority, _read_priority),
        "ship_from": Act(Permission.ORDERS, _ship_from, _read_ship_from),
        "reroute": Act(Permission.ORDERS, _reroute),
        "cancel": Act(Permission.MONEY, _cancel, _read_cancel),
    }
)


def _locked(one: One) -> Row[Any]:
    with one.database.write() as connection:
        return lock_order(connection, one.merchant_id, one.order_id)


def _needed(typed: Mapping[str, str], name: str, otherwise: str, longest: int) -> str:
    text = " ".join(typed.get(name, "").split())[:longest]
    if not text:
        raise BadInput(otherwise, {name: [otherwise]})
    return text


# ---------------------------------------------------------------- asking for it


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asks for. ``id`` is made by the form: sent twice, it is one act. ``described``: which orders these
    are, for a person."""

    id: UUID
    kind: str
    typed: Mapping[str, str]
    described: str
    retry_of: UUID | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks, and what they may do at this moment."""

    user_id: UUID
    email: str
    permissions: frozenset[Permission]


def plan(
    database: Database, merchant_id: UUID, asked: Asked, orders: Sequence[UUID], person: Person
) -> Collection[UUID]:
    """Have this done to these orders, in this sequence; returns the connections whose lane "bulk" is to be rung for.

    Raises BadInput for what cannot be done or not like this, for no orders and for too many, and NotPermitted.
    """
    act = _known(asked.kind)
    return _planned(database, merchant_id, asked, act.read(asked.typed), orders, person)


def _known(kind: str) -> Act:
    """What is to be done, which whoever asks may do."""
    act = ACTS.get(kind)
    if act is None:
        raise BadInput("This cannot be done to many orders at once. Reload the page.")
    access.demand(act.permission)
    return act


def _planned(
    database: Database,
    merchant_id: UUID,
    asked: Asked,
    arguments: Mapping[str, str],
    orders: Sequence[UUID],
    person: Person,
) -> Collection[UUID]:
    if len(orders) > MOST_ORDERS:
        raise BadInput(f"These are more than {MOST_ORDERS:,} orders. Narrow the list down, and do it in parts.")

    def work(connection: Connection) -> Collection[UUID]:
        at = database.now(connection)
        shops = _shops_of(connection, merchant_id, orders)
        there = [order_id for order_id in dict.fromkeys(orders) if order_id in shops]
        if not there:
            raise BadInput("Choose at least one order.")
        row = upsert(connection, t.bulk_act).values(
            merchant_id=merchant_id,
            id=asked.id,
            kind=asked.kind,
            arguments=dict(arguments),
            user_id=person.user_id,
            actor=person.email,
            permissions=sorted(person.permissions),
            described=asked.described[:300],
            retry_of=asked.retry_of,
            total=len(there),
            created_at=at,
        )
        new = connection.execute(
            row.on_conflict_do_nothing(index_elements=["merchant_id", "id"]).returning(t.bulk_act.c.id)
        )
        if new.first() is None:
            return ()
        insert_rows(
            connection,
            t.bulk_act_row,
            [
                {
                    "merchant_id": merchant_id,
                    "act_id": asked.id,
                    "number": number,
                    "order_id": order_id,
                    "connection_id": shops[order_id],
                }
                for number, order_id in enumerate(there, start=1)
            ],
        )
        details = {"act": str(asked.id), "kind": asked.kind, "orders": len(there)}
        activity.note(
            connection,
            merchant_id,
            "order_bulk",
            f"{len(there):,} {'order' if len(there) == 1 else 'orders'} at once: {asked.kind.replace('_', ' ')}",
            at=at,
            actor=person.email,
            details=details,
        )
        return set(shops.values())

    return database.transact(work)


def again(database: Database, merchant_id: UUID, act_id: UUID, new: UUID, person: Person) -> Collection[UUID]:
    """Do the same once more to the orders where it went wrong, for whoever asks now; as ``plan``. Raises Conflict."""
    this, row = t.bulk_act.c, t.bulk_act_row.c
    with database.read() as connection:
        act = connection.execute(
            select(t.bulk_act).where(this.merchant_id == merchant_id, this.id == act_id)
        ).one_or_none()
        if act is None:
            raise Conflict("This does not exist. Go back to the list of orders.")
        query = select(row.order_id).where(row.merchant_id == merchant_id, row.act_id == act_id)
        wrong = connection.execute(query.where(row.state.in_(_WENT_WRONG)).order_by(row.number)).scalars().all()
    _known(act.kind)
    # What was typed has been read already: what was only there to be confirmed is not asked for again.
    asked = Asked(new, act.kind, {}, act.described, act.id)
    return _planned(database, merchant_id, asked, act.arguments, wrong, person)


def stop(database: Database, merchant_id: UUID, act_id: UUID, actor: str) -> int:
    """Leave the orders alone that have not had their turn; returns how many. Raises Conflict, NotPermitted."""

    def work(connection: Connection) -> int:
        at = database.now(connection)
        this, row = t.bulk_act.c, t.bulk_act_row.c
        kind = connection.execute(
            select(this.kind).where(this.merchant_id == merchant_id, this.id == act_id)
        ).scalar_one_or_none()
        if kind is None:
            raise Conflict("This does not exist. Go back to the list of orders.")
        access.demand(ACTS[kind].permission)
        stopped = connection.execute(
            update(t.bulk_act_row)
            .where(row.merchant_id == merchant_id, row.act_id == act_id, row.state == "waiting")
            .values(state="stopped", said="Stopped before its turn", done_at=at)
        ).rowcount
        if stopped:
            connection.execute(
                update(t.bulk_act)
                .where(this.merchant_id == merchant_id, this.id == act_id)
                .values(stopped_at=at, stopped_by=actor)
            )
            told = f"Stopped: {stopped:,} {'order is' if stopped == 1 else 'orders are'} left as they were"
            details = {"act": str(act_id), "kind": kind, "orders": stopped}
            activity.note(connection, merchant_id, "order_bulk_stopped", told, at=at, actor=actor, details=details)
        return stopped

    return database.transact(work)


def _shops_of(connection: Connection, merchant_id: UUID, orders: Sequence[UUID]) -> dict[UUID, UUID]:
    order = t.sales_order.c
    return {
        row.id: row.connection_id
        for some in in_chunks(orders)
        for row in connection.execute(
            select(order.id, order.connection_id).where(order.merchant_id == merchant_id, order.id.in_(some))
        )
    }


# ---------------------------------------------------------------- doing it


@dataclass(frozen=True, slots=True)
class Turn:
    """One order whose turn it is."""

    act_id: UUID
    number: int
    order_id: UUID


def due(connection: Connection, only: UUID | None = None) -> list[tuple[UUID, UUID]]:
    """Every (merchant, connection) with orders that wait for something to be done to them; one alone, if it is
    given."""
    row = t.bulk_act_row.c
    one = [] if only is None else [row.connection_id == only]
    waiting = select(row.merchant_id, row.connection_id).distinct().where(row.state == "waiting", *one)
    found = connection.execute(waiting)
    return [(each.merchant_id, each.connection_id) for each in found]


def next_turns(connection: Connection, merchant_id: UUID, connection_id: UUID, limit: int) -> list[Turn]:
    """The orders of a connection whose turn it is, one act after the other."""
    row = t.bulk_act_row.c
    found = connection.execute(
        select(row.act_id, row.number, row.order_id)
        .where(row.merchant_id == merchant_id, row.connection_id == connection_id, row.state == "waiting")
        .order_by(row.act_id, row.number)
        .limit(limit)
    )
    return [Turn(each.act_id, each.number, each.order_id) for each in found]


def perform(connection: Connection, database: Database, merchant_id: UUID, turn: Turn, *, at: datetime) -> Lanes:
    """Do to one order what was asked for, in the caller's transaction, and keep what came of it; returns the lanes to
    ring for. Nothing, where it was done or stopped meanwhile."""
    row, this = t.bulk_act_row.c, t.bulk_act.c
    # First of all: whoever stops the act, or is at the same order, waits here until this commit.
    taken = connection.execute(_this_row(merchant_id, turn).where(row.state == "waiting").values(done_at=at))
    if taken.rowcount != 1:
        return []
    act = connection.execute(select(t.bulk_act).where(this.merchant_id == merchant_id, this.id == turn.act_id)).one()
    try:
        with connection.begin_nested():
            done = _performed(connection, database.joining(connection), act, turn.order_id)
    except Interrupted:
        raise
    except HubError as error:
        connection.execute(_this_row(merchant_id, turn).values(state="refused", said=str(error)[:500]))
        return []
    connection.execute(_this_row(merchant_id, turn).values(state="done", said=done.said[:500]))
    return done.lanes


def give_up(connection: Connection, merchant_id: UUID, turn: Turn, why: str, *, at: datetime) -> None:
    """Say that the hub stumbled over one order, in the caller's transaction. The others have their turn."""
    connection.execute(
        _this_row(merchant_id, turn)
        .where(t.bulk_act_row.c.state == "waiting")
        .values(state="failed", said=f"The hub stumbled over this order: {why}"[:500], done_at=at)
    )


def _performed(connection: Connection, database: Database, act: Row[Any], order_id: UUID) -> Done:
    wanted = ACTS.get(act.kind)
    if wanted is None:
        raise Conflict("This version of the hub cannot do this to many orders.")
    with access.acting_as(_allowed(connection, act)):
        access.demand(wanted.permission)
        return wanted.perform(One(database, act.merchant_id, order_id, act.arguments, act.actor))


def _allowed(connection: Connection, act: Row[Any]) -> frozenset[Permission]:
    """What the person who asked may do: then and now. Raises Conflict for somebody who does not work here any more."""
    works, person = t.membership.c, t.user_account.c
    role = connection.execute(
        select(works.role)
        .join(t.user_account, person.id == works.user_id)
        .where(
            works.merchant_id == act.merchant_id,
            works.user_id == act.user_id,
            works_at(t.membership),
            person.disabled_at.is_(None),
        )
    ).scalar_one_or_none()
    if role is None:
        raise Conflict(f"{act.actor} does not work here any more, and so nothing is done for them.")
    return frozenset(each for each in grants(role) if each.value in act.permissions)


def _this_row(merchant_id: UUID, turn: Turn) -> Any:
    row = t.bulk_act_row.c
    return update(t.bulk_act_row).where(
        row.merchant_id == merchant_id, row.act_id == turn.act_id, row.number == turn.number
    )


def forget_old(database: Database, before: datetime) -> None:
    """Forget the acts that were asked for before then, but those in which orders still wait; what was done to each
    order stays in its history."""
    this, row = t.bulk_act.c, t.bulk_act_row.c
    waits = select(row.act_id).where(row.merchant_id == this.merchant_id, row.act_id == this.id, row.state == "waiting")
    with database.read() as connection:
        old = connection.execute(
            select(this.merchant_id, this.id).where(this.created_at < before, ~waits.exists()).order_by(this.id)
        ).all()
    for act in old:
        with database.write() as connection:
            # Another try at the rest of it may be younger.
            connection.execute(
                update(t.bulk_act)
                .where(this.merchant_id == act.merchant_id, this.retry_of == act.id)
                .values(retry_of=None)
            )
            connection.execute(delete(t.bulk_act_row).where(row.merchant_id == act.merchant_id, row.act_id == act.id))
            connection.execute(delete(t.bulk_act).where(this.merchant_id == act.merchant_id, this.id == act.id))


# ---------------------------------------------------------------- telling


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an act has come."""

    id: UUID
    kind: str
    arguments: Mapping[str, str]
    actor: str
    described: str
    retry_of: UUID | None
    created_at: datetime
    ended_at: datetime | None  # None while orders wait
    stopped_by: str
    total: int
    done: int
    refused: int
    failed: int
    stopped: int

    @property
    def waiting(self) -> int:
        return self.total - self.ended

    @property
    def ended(self) -> int:
        return self.done + self.went_wrong + self.stopped

    @property
    def went_wrong(self) -> int:
        return self.refused + self.failed


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it for one order."""

    number: int
    order_id: UUID
    order_number: str
    customer_name: str
    state: str
    said: str
    done_at: datetime | None


def progress(connection: Connection, merchant_id: UUID, act_id: UUID) -> Progress | None:
    """How far this act has come; None where there is none."""
    this, row = t.bulk_act.c, t.bulk_act_row.c
    act = connection.execute(select(t.bulk_act).where(this.merchant_id == merchant_id, this.id == act_id)).one_or_none()
    if act is None:
        return None

    by_state = {
        each.state: each
        for each in connection.execute(
            select(row.state, func.count().label("orders"), func.max(row.done_at).label("last_at"))
            .where(row.merchant_id == merchant_id, row.act_id == act_id)
            .group_by(row.state)
        )
    }
    orders = Counter({state: each.orders for state, each in by_state.items()})
    return Progress(
        id=act.id,
        kind=act.kind,
        arguments=act.arguments,
        actor=act.actor,
        described=act.described,
        retry_of=act.retry_of,
        created_at=act.created_at,
        ended_at=None if orders["waiting"] else max(each.last_at for each in by_state.values()),
        stopped_by=act.stopped_by,
        total=act.total,
        done=orders["done"],
        refused=orders["refused"],
        failed=orders["failed"],
        stopped=orders["stopped"],
    )


def outcomes(
    connection: Connection, merchant_id: UUID, act_id: UUID, *, states: Collection[str], after: int, limit: int
) -> list[Outcome]:
    """What came of it order by order, of those in one of ``states``, from the row after number ``after`` on."""
    row, order = t.bulk_act_row.c, t.sales_order.c
    found = connection.execute(
        select(row.number, row.order_id, order.number.label("order_number"), order.customer_name)
        .add_columns(row.state, row.said, row.done_at)
        .join(t.sales_order, (order.merchant_id == row.merchant_id) & (order.id == row.order_id))
        .where(row.merchant_id == merchant_id, row.act_id == act_id, row.number > after, row.state.in_(states))
        .order_by(row.number)
        .limit(limit)
    )
    return [Outcome(*each) for each in found]
