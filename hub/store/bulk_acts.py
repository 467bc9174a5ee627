"""What a person does to many orders or shipments at once: planned as one row and a row for each of them, and done row
by row.

Each is a commit of its own, in which the act and the word that it was done stand together: killed at any moment, rung
for twice or taken over by another worker, it is done once. What has to be asked of somebody else first is put off, and
has its turn again. Everything is done for the person who asked, with what they were allowed to then and are still
allowed to now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, select, update

from hub import access
from hub.access import Permission, grants
from hub.connector import Connector
from hub.core.model import HoldReason
from hub.core.priorities import Urgency
from hub.core.shipping import CancelReason
from hub.errors import BadInput, Conflict, HubError
from hub.store import activity, calling_off, handling, holds, labels, rerouting, shipments
from hub.store import tables as t
from hub.store.accounts import works_at
from hub.store.bulk import insert_rows
from hub.store.calling_off import CancelWish
from hub.store.database import Database, Interrupted, Lanes, in_chunks, upsert
from hub.store.locking import connection_of, lock_order

MOST_ORDERS = 25_000  # of one act: what a person can still look through afterwards
MOST_SHIPMENTS = 500  # of one act: what is printed in one go afterwards
_ASKED_AGAIN = timedelta(seconds=3)  # how soon one is looked at again that waits for an answer

_WENT_WRONG = ("refused", "failed")


# ---------------------------------------------------------------- what can be done


class About(StrEnum):
    """What an act is done to."""

    ORDERS = "orders"
    SHIPMENTS = "shipments"


@dataclass(frozen=True, slots=True)
class One:
    """One order to which something is done, or one shipment of it: ``subject_id`` is the one that the act is about.
    What ``database`` writes is part of the commit that says it was done. ``looked_at``: when it was put off last."""

    database: Database
    merchant_id: UUID
    order_id: UUID
    arguments: Mapping[str, str]
    actor: str
    subject_id: UUID
    connectors: Mapping[str, type[Connector]]
    looked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Done:
    """What came of it, for a person, and the lanes to ring for."""

    said: str
    lanes: Lanes = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PutOff(Done):
    """It cannot be done before somebody else has answered, and has its turn again soon: what it waits for."""


@dataclass(frozen=True, slots=True)
class Act:
    """Something that can be done to many orders or shipments. ``perform`` raises HubError for one to which it cannot be
    done; ``read`` makes arguments of what was typed, and raises BadInput."""

    permission: Permission
    perform: Callable[[One], Done]
    read: Callable[[Mapping[str, str]], Mapping[str, str]] = lambda _typed: {}
    about: About = About.ORDERS


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


def _buy_label(one: One) -> Done:
    """Order the label that the policy chose; the lane "effects" of the carrier then buys it, once. Offers that are too
    old are asked for first: a carrier would not sell at them any more."""
    with one.database.write() as connection:
        at = one.database.now(connection)
        row, _ = shipments.locked(connection, one.merchant_id, one.subject_id)
        if one.looked_at is not None and row.state in ("buying", "labelled"):
            return Done("Ordered by your shipping policy, as soon as the carriers had answered")
        if row.state == "draft" and not labels.is_fresh(row, at):
            if row.rates_wanted_at is not None:
                return PutOff("The carriers are being asked what it costs now")
            if one.looked_at is not None and (row.rates_at is None or row.rates_at < one.looked_at):
                raise Conflict(row.error or "The carriers were asked, and nothing came of it. Ask them again.")
            lanes = labels.ask_rates(connection, one.merchant_id, row.id, at=at, actor=one.actor)
            return PutOff("Its offers were too old: the carriers are being asked again", lanes)
        carrier_id, rate = labels.buy_chosen(
            connection, one.merchant_id, row.id, one.connectors, at=at, actor=one.actor
        )
    return Done(f"Ordered: {rate.name or rate.service}, {rate.cost}", [(carrier_id, "effects")])


def _ask_carriers(one: One) -> Done:
    with one.database.write() as connection:
        at = one.database.now(connection)
        lanes = labels.ask_rates(connection, one.merchant_id, one.subject_id, at=at, actor=one.actor)
    return Done("The carriers are being asked", lanes)


def _hand_over(one: One) -> Done:
    with one.database.write() as connection:
        at = one.database.now(connection)
        lanes = shipments.hand_over(connection, one.merchant_id, one.subject_id, at=at, actor=one.actor)
    return Done("It has left; the shop is being told", lanes)


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
        "buy_labels": Act(Permission.PACK, _buy_label, about=About.SHIPMENTS),
        "ask_carriers": Act(Permission.PACK, _ask_carriers, about=About.SHIPMENTS),
        "hand_over": Act(Permission.PACK, _hand_over, about=About.SHIPMENTS),
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
    """What a person asks for. ``id`` is made by the form: sent twice, it is one act. ``described``: which orders or
    shipments these are, by the filter of their list; "": those that were ticked."""

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
    database: Database, merchant_id: UUID, asked: Asked, chosen: Sequence[UUID], person: Person
) -> Collection[UUID]:
    """Have this done to these orders or shipments, in this sequence; returns the connections whose lane "bulk" is to
    be rung for.

    Raises BadInput for what cannot be done or not like this, for none of them and for too many, and NotPermitted.
    """
    act = _known(asked.kind)
    return _planned(database, merchant_id, asked, act.read(asked.typed), chosen, person)


def _known(kind: str) -> Act:
    """What is to be done, which whoever asks may do."""
    act = ACTS.get(kind)
    if act is None:
        raise BadInput("This cannot be done to many at once. Reload the page.")
    access.demand(act.permission)
    return act


def _planned(
    database: Database,
    merchant_id: UUID,
    asked: Asked,
    arguments: Mapping[str, str],
    chosen: Sequence[UUID],
    person: Person,
) -> Collection[UUID]:
    about = ACTS[asked.kind].about
    most = MOST_ORDERS if about is About.ORDERS else MOST_SHIPMENTS
    if len(chosen) > most:
        raise BadInput(f"These are more than {most:,} {about}. Narrow the list down, and do it in parts.")

    def work(connection: Connection) -> Collection[UUID]:
        at = database.now(connection)
        known = (
            _orders(connection, merchant_id, chosen)
            if about is About.ORDERS
            else _sent(connection, merchant_id, chosen)
        )
        there = [known[each] for each in dict.fromkeys(chosen) if each in known]
        if not there:
            raise BadInput(f"Choose at least one {about.removesuffix('s')}.")
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
                    "order_id": each.order_id,
                    "shipment_id": each.shipment_id,
                    "connection_id": each.connection_id,
                }
                for number, each in enumerate(there, start=1)
            ],
        )
        details = {"act": str(asked.id), "kind": asked.kind, about.value: len(there)}
        activity.note(
            connection,
            merchant_id,
            f"{about.removesuffix('s')}_bulk",
            f"{_told(len(there), about)} at once: {asked.kind.replace('_', ' ')}",
            at=at,
            actor=person.email,
            details=details,
        )
        return {each.connection_id for each in there}

    return database.transact(work)


def _told(count: int, about: About) -> str:
    return f"{count:,} {about.removesuffix('s') if count == 1 else about}"


def again(database: Database, merchant_id: UUID, act_id: UUID, new: UUID, person: Person) -> Collection[UUID]:
    """Do the same once more to those where it went wrong, for whoever asks now; as ``plan``. Raises Conflict."""
    this, row = t.bulk_act.c, t.bulk_act_row.c
    with database.read() as connection:
        act = connection.execute(
            select(t.bulk_act).where(this.merchant_id == merchant_id, this.id == act_id)
        ).one_or_none()
        if act is None:
            raise Conflict("This does not exist. Go back to the list.")
        which = func.coalesce(row.shipment_id, row.order_id)
        query = select(which).where(row.merchant_id == merchant_id, row.act_id == act_id)
        wrong = connection.execute(query.where(row.state.in_(_WENT_WRONG)).order_by(row.number)).scalars().all()
    _known(act.kind)
    # What was typed has been read already: what was only there to be confirmed is not asked for again.
    asked = Asked(new, act.kind, {}, act.described, act.id)
    return _planned(database, merchant_id, asked, act.arguments, wrong, person)


def stop(database: Database, merchant_id: UUID, act_id: UUID, actor: str) -> int:
    """Leave those alone that have not had their turn; returns how many. Raises Conflict, NotPermitted."""

    def work(connection: Connection) -> int:
        at = database.now(connection)
        this, row = t.bulk_act.c, t.bulk_act_row.c
        kind = connection.execute(
            select(this.kind).where(this.merchant_id == merchant_id, this.id == act_id)
        ).scalar_one_or_none()
        if kind is None:
            raise Conflict("This does not exist. Go back to the list.")
        about = ACTS[kind].about
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
            told = f"Stopped: {_told(stopped, about)} left as {'it was' if stopped == 1 else 'they were'}"
            noted, details = f"{about.removesuffix('s')}_bulk_stopped", {"act": str(act_id), "kind": kind}
            activity.note(
                connection, merchant_id, noted, told, at=at, actor=actor, details=details | {about.value: stopped}
            )
        return stopped

    return database.transact(work)


@dataclass(frozen=True, slots=True)
class _Subject:
    """What a row is about, and whose lane does it."""

    order_id: UUID
    shipment_id: UUID | None
    connection_id: UUID


def _orders(connection: Connection, merchant_id: UUID, chosen: Sequence[UUID]) -> dict[UUID, _Subject]:
    order = t.sales_order.c
    return {
        row.id: _Subject(row.id, None, row.connection_id)
        for some in in_chunks(chosen)
        for row in connection.execute(
            select(order.id, order.connection_id).where(order.merchant_id == merchant_id, order.id.in_(some))
        )
    }


def _sent(connection: Connection, merchant_id: UUID, chosen: Sequence[UUID]) -> dict[UUID, _Subject]:
    this, order = t.shipment.c, t.sales_order.c
    return {
        row.id: _Subject(row.order_id, row.id, row.connection_id)
        for some in in_chunks(chosen)
        for row in connection.execute(
            select(this.id, this.order_id, order.connection_id)
            .join(t.sales_order, (order.merchant_id == this.merchant_id) & (order.id == this.order_id))
            .where(this.merchant_id == merchant_id, this.id.in_(some))
        )
    }


# ---------------------------------------------------------------- doing it


@dataclass(frozen=True, slots=True)
class Turn:
    """One order, or shipment of an order, whose turn it is."""

    act_id: UUID
    number: int
    order_id: UUID
    shipment_id: UUID | None
    not_before: datetime | None  # it was put off until then


def due(connection: Connection, at: datetime, only: UUID | None = None) -> list[tuple[UUID, UUID]]:
    """Every (merchant, connection) with orders or shipments whose turn it is; one alone, if it is given."""
    row = t.bulk_act_row.c
    one = [] if only is None else [row.connection_id == only]
    waiting = select(row.merchant_id, row.connection_id).distinct().where(row.state == "waiting", _now(at), *one)
    found = connection.execute(waiting)
    return [(each.merchant_id, each.connection_id) for each in found]


def next_turns(
    connection: Connection, merchant_id: UUID, connection_id: UUID, limit: int, *, at: datetime
) -> list[Turn]:
    """The orders and shipments of a connection whose turn it is, one act after the other."""
    row = t.bulk_act_row.c
    found = connection.execute(
        select(row.act_id, row.number, row.order_id, row.shipment_id, row.not_before)
        .where(row.merchant_id == merchant_id, row.connection_id == connection_id, row.state == "waiting", _now(at))
        .order_by(row.act_id, row.number)
        .limit(limit)
    )
    return [Turn(*each) for each in found]


def _now(at: datetime) -> ColumnElement[bool]:
    not_before = t.bulk_act_row.c.not_before
    return not_before.is_(None) | (not_before <= at)


def perform(
    connection: Connection,
    database: Database,
    merchant_id: UUID,
    turn: Turn,
    *,
    connectors: Mapping[str, type[Connector]],
    at: datetime,
) -> Lanes:
    """Do to one order or shipment what was asked for, in the caller's transaction, and keep what came of it; returns
    the lanes to ring for. Nothing, where it was done or stopped meanwhile."""
    row, this = t.bulk_act_row.c, t.bulk_act.c
    # First of all: whoever stops the act, or is at the same order, waits here until this commit.
    taken = connection.execute(_this_row(merchant_id, turn).where(row.state == "waiting").values(done_at=at))
    if taken.rowcount != 1:
        return []
    act = connection.execute(select(t.bulk_act).where(this.merchant_id == merchant_id, this.id == turn.act_id)).one()
    try:
        with connection.begin_nested():
            done = _performed(connection, database.joining(connection), act, turn, connectors)
    except Interrupted:
        raise
    except HubError as error:
        connection.execute(_this_row(merchant_id, turn).values(state="refused", said=str(error)[:500]))
        return []
    became: dict[str, Any] = {"state": "done"}
    if isinstance(done, PutOff):
        became = {"done_at": None, "not_before": at + _ASKED_AGAIN}
    connection.execute(_this_row(merchant_id, turn).values(said=done.said[:500], **became))
    return done.lanes


def give_up(connection: Connection, merchant_id: UUID, turn: Turn, why: str, *, at: datetime) -> None:
    """Say that the hub stumbled over one order or shipment, in the caller's transaction. The others have their turn."""
    what = "shipment" if turn.shipment_id else "order"
    connection.execute(
        _this_row(merchant_id, turn)
        .where(t.bulk_act_row.c.state == "waiting")
        .values(state="failed", said=f"The hub stumbled over this {what}: {why}"[:500], done_at=at)
    )


def _performed(
    connection: Connection, database: Database, act: Row[Any], turn: Turn, connectors: Mapping[str, type[Connector]]
) -> Done:
    wanted = ACTS.get(act.kind)
    if wanted is None:
        raise Conflict("This version of the hub cannot do this to many at once.")
    with access.acting_as(_allowed(connection, act)):
        access.demand(wanted.permission)
        return wanted.perform(
            One(
                database,
                act.merchant_id,
                turn.order_id,
                act.arguments,
                act.actor,
                turn.shipment_id or turn.order_id,
                connectors,
                turn.not_before - _ASKED_AGAIN if turn.not_before is not None else None,
            )
        )


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
    """Forget the acts that were asked for before then, but those in which some still wait; what was done to each
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
    ended_at: datetime | None  # None while some wait
    stopped_by: str
    total: int
    done: int
    refused: int
    failed: int
    stopped: int
    under_way: int  # labels that were ordered, and of which the carrier has not said yet what became of them
    bought: int  # labels
    fell_through: int  # labels that were ordered, and that the carrier refused

    @property
    def about(self) -> About:
        return ACTS[self.kind].about if self.kind in ACTS else About.ORDERS

    @property
    def is_over(self) -> bool:
        """Whether its page says the same from now on."""
        return self.ended_at is not None and not self.under_way

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
    """What came of it for one order, or one shipment of an order: then with what became of its label since."""

    number: int
    order_id: UUID
    order_number: str
    customer_name: str
    state: str
    said: str
    done_at: datetime | None
    shipment_id: UUID | None
    reference: str
    shipment_state: str
    trouble: str  # why its label was not bought
    tracking_numbers: Sequence[str]


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
        **_of_labels(connection, merchant_id, act),
    )


def _of_labels(connection: Connection, merchant_id: UUID, act: Row[Any]) -> dict[str, int]:
    """What became of the labels that an act has ordered: done is what the hub has done, and not yet the carrier."""
    if act.kind != "buy_labels":
        return {"under_way": 0, "bought": 0, "fell_through": 0}
    row, sent, effect = t.bulk_act_row.c, t.shipment.c, t.effect.c
    told = connection.execute(
        select(
            func.count().filter(sent.state == "buying", effect.state.in_(("planned", "in_flight"))).label("under_way"),
            func.count().filter(sent.labelled_at.is_not(None)).label("bought"),
            func.count().filter(sent.state == "failed").label("fell_through"),
        )
        .select_from(t.bulk_act_row)
        .join(t.shipment, and_(sent.merchant_id == row.merchant_id, sent.id == row.shipment_id))
        .outerjoin(t.effect, and_(effect.merchant_id == sent.merchant_id, effect.id == sent.effect_id))
        .where(row.merchant_id == merchant_id, row.act_id == act.id, row.state == "done")
    ).one()
    return dict(told._mapping)


def outcomes(
    connection: Connection, merchant_id: UUID, act_id: UUID, *, states: Collection[str], after: int, limit: int
) -> list[Outcome]:
    """What came of it row by row, of those in one of ``states``, from the row after number ``after`` on."""
    row, order, sent = t.bulk_act_row.c, t.sales_order.c, t.shipment.c
    found = connection.execute(
        select(row.number, row.order_id, order.number.label("order_number"), order.customer_name)
        .add_columns(row.state, row.said, row.done_at, row.shipment_id, sent.reference, sent.state, sent.error)
        .add_columns(sent.tracking_numbers)
        .join(t.sales_order, (order.merchant_id == row.merchant_id) & (order.id == row.order_id))
        .outerjoin(t.shipment, and_(sent.merchant_id == row.merchant_id, sent.id == row.shipment_id))
        .where(row.merchant_id == merchant_id, row.act_id == act_id, row.number > after, row.state.in_(states))
        .order_by(row.number)
        .limit(limit)
    )
    return [Outcome(*each) for each in found]


def shipments_of(connection: Connection, merchant_id: UUID, act_id: UUID) -> list[UUID]:
    """The shipments of an act, in turn."""
    row = t.bulk_act_row.c
    found = connection.execute(
        select(row.shipment_id)
        .where(row.merchant_id == merchant_id, row.act_id == act_id, row.shipment_id.is_not(None))
        .order_by(row.number)
    )
    return list(found.scalars())
