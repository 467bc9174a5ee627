"""Effects: what the hub makes happen elsewhere, planned as rows before they are sent, and settled when unclear.

A row goes planned -> in_flight -> succeeded, failed, unknown or back to planned. ``claim`` leases it and commits;
``run`` calls the connector with no transaction open and finishes the row, provided the lease is still its own. Where
the outcome of a call is unclear, the class the connector declares for the effect says how to settle it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random, SystemRandom
from typing import Any
from uuid import UUID, uuid5

import structlog
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    case,
    exists,
    func,
    literal_column,
    or_,
    select,
    tuple_,
    update,
)

from hub import access
from hub.access import Permission
from hub.connector import Connector, EffectResult, Settlement
from hub.core.retry import backoff, rate_limit_wait
from hub.core.shipping import Document, DocumentFormat, DocumentKind
from hub.errors import AuthError, Conflict, ConnectorError, RateLimited, Rejected, Unavailable
from hub.store import activity, papers
from hub.store import tables as t
from hub.store.breaker import note_outcome
from hub.store.database import Database, Lanes, LeaseLost, for_update, in_chunks, new_id, upsert
from hub.store.locking import lock_order
from hub.store.secrets import KeyRing

log = structlog.get_logger()
_random = SystemRandom()

ISSUE = activity.NEEDS_A_DECISION  # the kind of its issues; the subject is the effect's id

# An effect that ended its worker this often, or broke its connector, is put before a person.
MOST_CRASHES = 3
LEASE_SECONDS = 180.0
# What must be left of the lease before anything is sent: longer than a call with its connection, wait and answer takes.
CALL_SECONDS = 75.0
# Spelled out in the statement, as in the index of what is to be done: by parameters SQLite does not find it, and would
# look through everything that was ever done.
_PLANNED: ColumnElement[str] = literal_column("'planned'")
_IN_FLIGHT: ColumnElement[str] = literal_column("'in_flight'")
# A vendor may need a moment until its own search finds what it has just done.
_SETTLE_SECONDS = 10.0
# Vendors forget idempotency keys; sending one again after this is no longer known to be harmless.
_KEYS_ARE_KEPT = timedelta(hours=23)


def _steady() -> float:
    """Seconds on a clock nobody sets, and that goes on while the machine sleeps, as the database's does."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True, slots=True)
class Effect:
    """A claimed effect: ours to carry out until ``until`` on the steady clock of this machine.

    ``unclear`` says that an earlier attempt may have reached the vendor, the first one not before ``sent_at``.
    ``look_first``: what it is to bring about may be so already, by another effect. ``barred`` says why it must not be
    done any more, where that became known after such an attempt.
    """

    merchant_id: UUID
    id: UUID
    connection_id: UUID
    kind: str
    request: Mapping[str, Any]
    effect_key: UUID
    fence: int
    attempts: int
    crash_count: int
    unclear: bool
    look_first: bool
    sent_at: datetime | None
    claimed_at: datetime
    order_id: UUID | None
    until: float
    barred: str = ""

    @property
    def key(self) -> str:
        """The idempotency key as it is sent to the vendor."""
        return str(self.effect_key)

    @property
    def name(self) -> str:
        """What it is called before people."""
        return _name(self.kind)


def effect_key(merchant_id: UUID, kind: str, business_id: str, generation: int = 1) -> UUID:
    """The key of an intent: the same for the same merchant, kind, business id and generation, for ever."""
    key = uuid5(merchant_id, f"{kind}:{business_id}")
    for number in range(2, generation + 1):
        key = _next_key(key, number)
    return key


def plan(
    connection: Connection,
    merchant_id: UUID,
    connection_id: UUID,
    kind: str,
    business_id: str,
    request: Mapping[str, Any],
    *,
    now: datetime,
    ordering_key: str | None = None,
    order_id: UUID | None = None,
    generation: int = 1,
    look_first: bool = False,
) -> UUID:
    """Plan an effect in the caller's transaction and return its id; planning the same intent again returns the same.

    ``business_id`` names what it is about, so that one intent is one row: an order's id, say. Effects with the same
    ``ordering_key`` are carried out one after the other in the order they were planned; by default each stands alone.
    With ``look_first`` the vendor is asked first whether it is so already, and then nothing is written: for what was
    done before, and is wanted once more (class LOOKUP). Raises Conflict when the same intent was planned before with
    another ``request``.
    """
    key = effect_key(merchant_id, kind, business_id, generation)
    ordering_key = ordering_key or f"{connection_id}:{kind}:{business_id}"
    this = t.effect.c
    # Two effects of one transaction have the same `now`: the second must come after the first all the same.
    latest = connection.execute(
        select(func.max(this.created_at)).where(this.merchant_id == merchant_id, this.ordering_key == ordering_key)
    ).scalar()
    values = {
        "merchant_id": merchant_id,
        "id": new_id(),
        "connection_id": connection_id,
        "kind": kind,
        "ordering_key": ordering_key,
        "effect_key": key,
        "generation": generation,
        "request": dict(request),
        "state": "planned",
        "due_at": now,
        "created_at": now if latest is None or latest < now else latest + timedelta(microseconds=1),
        "order_id": order_id,
        "look_first": look_first,
    }
    insert = upsert(connection, t.effect).values(values)
    connection.execute(insert.on_conflict_do_nothing(index_elements=["merchant_id", "effect_key"]))
    row = connection.execute(
        select(this.id, this.request).where(this.merchant_id == merchant_id, this.effect_key == key)
    ).one()
    if row.request != json.loads(json.dumps(values["request"])):
        raise Conflict(f"“{_name(kind)}” was planned before for the same purpose with different details.")
    return row.id  # type: ignore[no-any-return]


def withdraw(connection: Connection, merchant_id: UUID, ordering_key: str, kind: str, *, at: datetime) -> bool:
    """Cancel what was planned of this kind under an ordering key and has not been sent, in the caller's transaction.

    What had failed cannot be tried again afterwards. Returns False where something was done, is being done, or may have
    been: whoever withdraws has to undo it instead.
    """
    this = t.effect.c
    rows = connection.execute(
        for_update(
            connection,
            select(this.id, this.state, this.unclear)
            .where(this.merchant_id == merchant_id, this.ordering_key == ordering_key, this.kind == kind)
            .order_by(this.id),
        )
    ).all()
    idle = [row.id for row in rows if row.state == "failed" or (row.state == "planned" and not row.unclear)]
    if idle:
        connection.execute(
            update(t.effect)
            .where(this.merchant_id == merchant_id, this.id.in_(idle))
            .values(state="cancelled", finished_at=at)
        )
        for effect_id in idle:
            activity.resolve_issue(connection, merchant_id, ISSUE, str(effect_id), at=at)
    return all(row.id in idle or row.state == "cancelled" for row in rows)


def come_about(
    connection: Connection, merchant_id: UUID, order_ids: Collection[UUID], kind: str, *, at: datetime
) -> None:
    """What was wished of these orders is so, by whatever way: nobody has to decide about it any more, in the caller's
    transaction. What was unclear counts as done, what had failed is not tried again."""
    this = t.effect.c
    over: list[UUID] = []
    for some in in_chunks(order_ids):
        for before, after in (("unknown", "succeeded"), ("failed", "cancelled")):
            over += connection.execute(
                update(t.effect)
                .where(
                    this.merchant_id == merchant_id,
                    this.order_id.in_(some),
                    this.kind == kind,
                    this.state == before,
                )
                .values(state=after, unclear=False, finished_at=at)
                .returning(this.id)
            ).scalars()
    activity.resolve_issues(connection, merchant_id, ISSUE, [str(each) for each in over], at=at)


# ---------------------------------------------------------------- claiming


def due(connection: Connection, now: datetime, only: UUID | None = None) -> list[tuple[UUID, UUID]]:
    """The connections (merchant, connection) that have an effect to be claimed; of one alone, if it is given."""
    this = t.effect.c
    one = [] if only is None else [this.connection_id == only]
    found = connection.execute(select(this.merchant_id, this.connection_id).where(_claimable(now), *one).distinct())
    return [(row.merchant_id, row.connection_id) for row in found]


def claim(database: Database, merchant_id: UUID, connection_id: UUID) -> Effect | None:
    """Lease the next due effect of a connection and commit; None when there is none.

    Effects that have ended their worker too often are put before a person instead, and those that must not be done any
    more (``followups.GATES``) are cancelled.
    """
    while True:
        asked = _steady()
        claimed = database.transact(lambda connection: _claim(connection, merchant_id, connection_id))
        if claimed is None:
            return None
        row, barred = claimed
        if row.state == "unknown":
            log.error("effect_set_aside", effect=str(row.effect_key), kind=row.kind, crashes=row.crash_count)
            continue
        if row.state == "cancelled":
            log.info("effect_barred", effect=str(row.effect_key), kind=row.kind, reason=barred)
            continue
        return Effect(
            merchant_id=row.merchant_id,
            id=row.id,
            connection_id=row.connection_id,
            kind=row.kind,
            request=row.request,
            effect_key=row.effect_key,
            fence=row.fence,
            attempts=row.attempts,
            crash_count=row.crash_count,
            unclear=row.unclear,
            look_first=row.look_first,
            sent_at=row.sent_at,
            claimed_at=row.lease_until - timedelta(seconds=LEASE_SECONDS),
            order_id=row.order_id,
            until=asked + LEASE_SECONDS,
            barred=barred,
        )


def _claim(connection: Connection, merchant_id: UUID, connection_id: UUID) -> tuple[Row[Any], str] | None:
    """The effect that is claimed, or was set aside or cancelled instead, and why it must not be done, if so."""
    from hub.store import followups

    now = Database.now(connection)
    this = t.effect.c
    chosen = _choose(connection, merchant_id, connection_id, followups.GATES.keys(), now)
    if chosen is None:
        return None
    change = update(t.effect).where(this.merchant_id == merchant_id, this.id == chosen.id).returning(t.effect)
    crashed = chosen.state == "in_flight"  # its lease has run out: whoever had it never came back
    if crashed and chosen.crash_count >= MOST_CRASHES:
        why = f"It ended its worker {chosen.crash_count} times, so it was set aside."
        lost = {"state": "unknown", "unclear": True, "error": why, "lease_until": None, "finished_at": now}
        row = connection.execute(change.values(fence=this.fence + 1, **lost)).one()
        _ask_a_person(connection, row, why, now)
        return row, ""
    barred = followups.barred(connection, chosen, now)
    if barred and not (crashed or chosen.unclear):
        over = {"state": "cancelled", "error": _storable(barred, 2000), "finished_at": now}
        row = connection.execute(change.values(over)).one()
        _note(connection, row, f"{_name(row.kind)}: not done. {barred}", now)
        followups.follow_up_without(connection, row, barred, now)
        return row, barred
    row = connection.execute(
        change.values(
            state="in_flight",
            fence=this.fence + 1,
            lease_until=now + timedelta(seconds=LEASE_SECONDS),
            # Raised now and taken back by every orderly end: what ends its worker has been counted.
            crash_count=this.crash_count + 1,
            attempts=this.attempts + 1,
            unclear=True if crashed else this.unclear,
            # Where a restored backup made it unclear, it may have been sent as soon as it was planned.
            sent_at=func.coalesce(this.sent_at, case((this.unclear, this.created_at), else_=now)),
        )
    ).one()
    return row, barred


def _choose(
    connection: Connection, merchant_id: UUID, connection_id: UUID, gated: Collection[str], now: datetime
) -> Row[Any] | None:
    """The next effect that can be claimed, locked; what has a gate only after its order, as everybody locks them."""
    this = t.effect.c
    passed_over: list[UUID] = []
    while True:
        due = (
            select(t.effect)
            .where(this.merchant_id == merchant_id, this.connection_id == connection_id, _claimable(now))
            .order_by(this.due_at, this.created_at)
            .limit(1)
        )
        if passed_over:
            due = due.where(this.id.not_in(passed_over))
        next_one = connection.execute(due).one_or_none()
        if next_one is None:
            return None
        if next_one.kind in gated and next_one.order_id is not None:
            lock_order(connection, merchant_id, next_one.order_id)
        chosen = connection.execute(
            for_update(connection, due.where(this.id == next_one.id), skip_locked=True)
        ).one_or_none()
        if chosen is not None:
            return chosen
        passed_over.append(next_one.id)


_OLDER = t.effect.alias("older")  # made once: this is asked at every look for work, and making it takes longest


def _claimable(now: datetime) -> ColumnElement[bool]:
    """Due, on a connection that may be called, and the oldest of its ordering key that has not come to an end."""
    this, older, where = t.effect.c, _OLDER.c, t.connection.c
    before = exists().where(
        older.merchant_id == this.merchant_id,
        older.ordering_key == this.ordering_key,
        older.state.in_(("planned", "in_flight", "unknown")),
        tuple_(older.created_at, older.id) < tuple_(this.created_at, this.id),
    )
    may_be_called = exists().where(
        where.merchant_id == this.merchant_id,
        where.id == this.connection_id,
        where.state == "connected",
        or_(where.not_before.is_(None), where.not_before <= now),
    )
    return and_(
        this.state.in_([_PLANNED, _IN_FLIGHT]),
        or_(
            and_(this.state == "planned", this.due_at <= now),
            and_(this.state == "in_flight", this.lease_until <= now),
        ),
        may_be_called,
        ~before,
    )


# ---------------------------------------------------------------- carrying out


@dataclass(frozen=True, slots=True)
class _Ending:
    """How an attempt ends.

    ``wait`` seconds until the next one where the state is "planned"; ``unclear``: this or an earlier one may have
    reached the vendor. ``counts``: it is one of the attempts that make the pauses longer. ``crashes``: the count to
    keep, 0 after an orderly end. ``learned``: the error that tells about the vendor, if ``called`` it was. ``found``:
    the vendor had it already, and nothing was sent.
    """

    state: str
    wait: float = 0.0
    unclear: bool = False
    error: str = ""
    result: EffectResult | None = None
    counts: bool = True
    crashes: int = 0
    called: bool = True
    learned: BaseException | None = None
    found: bool = False


def run(
    database: Database,
    keyring: KeyRing,
    effect: Effect,
    connector: Connector,
    *,
    ring: Callable[[UUID, str], object] = lambda _connection_id, _lane: None,
    random: Random = _random,
) -> str:
    """Carry out a claimed effect and store how it ended; returns its new state ("planned" means: again, later).

    What follows from it is stored in the same commit (``followups``); ``ring`` is then called for each lane that has
    something to do now. Raises LeaseLost when somebody else has taken it over, DatabaseAway when the end could not
    be stored: the lease then runs out, and the next to claim it settles it.
    """
    ending = _attempt(effect, connector, random)
    lanes = database.transact(lambda connection: _finish(connection, keyring, effect, connector, ending, random))
    for connection_id, lane in lanes:
        ring(connection_id, lane)
    heard = type(ending.learned).__name__ if ending.learned else "an answer"
    log.info("effect_attempted", effect=effect.key, kind=effect.kind, heard=heard, state=ending.state)
    return ending.state


def _attempt(effect: Effect, connector: Connector, random: Random) -> _Ending:
    settlement = connector.effects.get(effect.kind, Settlement.NONE)
    if effect.look_first and settlement is not Settlement.LOOKUP:
        why = f"{connector.label} cannot be asked whether it has this already, so it is not told again."
        return _Ending("failed", error=why, called=False)
    if effect.unclear or effect.look_first:
        if settlement is Settlement.NATIVE_KEY and not _key_is_kept(effect):
            finds = hasattr(connector, f"find_{effect.kind}")
            settlement = Settlement.LOOKUP if finds else Settlement.NONE
        if settlement is Settlement.NONE:
            return _Ending("unknown", unclear=True, error="An earlier attempt got no clear answer.", called=False)
        if settlement is Settlement.LOOKUP:
            found = _look_up(effect, connector, random)
            if found is not None:
                return found
            if effect.barred:
                return _Ending("cancelled", error=effect.barred)
    if effect.until - _steady() < CALL_SECONDS:
        # This process was stopped for a while. Nothing has been sent, and nothing will be on so short a lease.
        return _Ending("planned", unclear=effect.unclear, counts=False, called=False)
    try:
        result = connector.perform(effect.kind, effect.request, effect.key)
        if not isinstance(result, EffectResult):
            raise TypeError(f"{type(connector).__name__}.{effect.kind} returned {result!r}, not an EffectResult.")
    except RateLimited as error:
        return _not_sent(effect, wait=rate_limit_wait(error.retry_after, random), error=error)
    except AuthError as error:
        return _not_sent(effect, wait=0.0, error=error)
    except Rejected as error:
        if effect.unclear and settlement is Settlement.NATURAL_KEY:
            # "Already cancelled" may be the echo of our own first attempt.
            return _Ending("unknown", unclear=True, error=str(error), learned=error)
        return _Ending("failed", error=str(error), learned=error)
    except Unavailable as error:
        if not error.sent:
            return _not_sent(effect, wait=backoff(effect.attempts, random), error=error)
        return _unclear(effect, settlement, random, error)
    except (Exception, SystemExit) as error:  # a plugin may raise anything, and may have sent something before
        return _broken(effect, settlement, random, error)
    return _Ending("succeeded", result=result)


def _look_up(effect: Effect, connector: Connector, random: Random) -> _Ending | None:
    """What became of the earlier attempt: its end, or None when there surely was no effect and it may be sent."""
    if effect.until - _steady() < 2 * CALL_SECONDS:  # for the search, and for sending after it
        return _Ending("planned", unclear=effect.unclear, counts=False, called=False)
    try:
        found = connector.find(effect.kind, effect.request, effect.key)
        if found is not None and not isinstance(found, EffectResult):
            raise TypeError(f"{type(connector).__name__}.find_{effect.kind} returned {found!r}, not an EffectResult.")
    except RateLimited as error:
        return _not_sent(effect, wait=rate_limit_wait(error.retry_after, random), error=error)
    except AuthError as error:
        return _not_sent(effect, wait=0.0, error=error)
    except Unavailable as error:
        return _not_sent(effect, wait=_SETTLE_SECONDS + backoff(effect.attempts, random), error=error)
    except Rejected as error:
        if not effect.unclear:
            return _Ending("failed", error=f"Looking it up was refused, so nothing was sent: {error}", learned=error)
        text = f"It is unclear whether it was done, and looking it up was refused: {error}"
        return _Ending("unknown", unclear=True, error=text, learned=error)
    except (Exception, SystemExit) as error:
        return _broken(effect, Settlement.LOOKUP, random, error)
    return None if found is None else _Ending("succeeded", result=found, found=True)


def _not_sent(effect: Effect, *, wait: float, error: ConnectorError) -> _Ending:
    """Nothing was done by this attempt; what an earlier one may have done is as unclear as before."""
    counts = isinstance(error, Unavailable)
    return _Ending("planned", wait, effect.unclear, error=str(error), counts=counts, learned=error)


def _unclear(effect: Effect, settlement: Settlement, random: Random, error: BaseException) -> _Ending:
    if settlement is Settlement.NONE:
        return _Ending("unknown", unclear=True, error=str(error), learned=error)
    wait = _SETTLE_SECONDS + backoff(effect.attempts, random)
    return _Ending("planned", wait, unclear=True, error=str(error), learned=error)


def _broken(effect: Effect, settlement: Settlement, random: Random, error: BaseException) -> _Ending:
    log.exception("effect_broke_its_connector", effect=effect.key, kind=effect.kind)
    text = f"The connector broke off: {type(error).__name__}: {error}"
    if settlement is Settlement.NONE or effect.crash_count >= MOST_CRASHES:
        return _Ending("unknown", unclear=True, error=text, learned=error)
    # Not an orderly end, so it stays counted: it cannot go on like this for ever.
    wait = _SETTLE_SECONDS + backoff(effect.attempts, random)
    return _Ending("planned", wait, unclear=True, error=text, crashes=effect.crash_count, learned=error)


def _key_is_kept(effect: Effect) -> bool:
    return effect.sent_at is not None and effect.claimed_at - effect.sent_at < _KEYS_ARE_KEPT


def _finish(
    connection: Connection, keyring: KeyRing, effect: Effect, connector: Connector, ending: _Ending, random: Random
) -> Lanes:
    from hub.store import followups  # what follows from one effect may be another, and so needs this module

    if effect.order_id is not None:
        # What follows may change the order.
        lock_order(connection, effect.merchant_id, effect.order_id)
    now = Database.now(connection)
    values: dict[str, Any] = {
        "state": ending.state,
        "lease_until": None,
        "unclear": ending.unclear,
        "crash_count": ending.crashes,
        "attempts": effect.attempts if ending.counts else effect.attempts - 1,
        "error": _storable(ending.error, 2000),
    }
    if ending.state != "planned":
        values["finished_at"] = now
    elif ending.unclear:
        values["due_at"] = now + timedelta(seconds=ending.wait)
    else:
        values |= {"due_at": now + timedelta(seconds=ending.wait), "sent_at": None}
    if ending.result is not None:
        values["reference"] = _storable(ending.result.reference, 300)
        values["result"] = _json_or_none(ending.result.details)
    had_it = ending.found and effect.look_first and not effect.unclear
    if had_it:
        values["result"] = {**(values["result"] or {}), "already": True}
    this = t.effect.c
    finished = connection.execute(
        update(t.effect)
        .where(this.merchant_id == effect.merchant_id, this.id == effect.id)
        .where(this.fence == effect.fence, this.state == "in_flight")
        .values(values)
        .returning(t.effect)
    ).one_or_none()
    if finished is None:
        raise LeaseLost("The effect was taken over by another worker.")
    if ending.called:
        note_outcome(
            connection,
            effect.merchant_id,
            effect.connection_id,
            ending.learned,
            now=now,
            began=effect.claimed_at,
            random=random,
        )
    if ending.result is not None:
        how = "not necessary, it has it already" if had_it else "done"
        _note(connection, effect, f"{connector.label}: {effect.name} {how}", now)
        files = _files(ending.result)
        papers.keep(connection, keyring, effect.merchant_id, effect.id, effect.order_id, files, at=now)
        return followups.follow_up(connection, finished, ending.result, now)
    if ending.state == "unknown":
        _ask_a_person(connection, effect, ending.error, now)
    elif ending.state == "failed":
        activity.raise_issue(
            connection,
            effect.merchant_id,
            ISSUE,
            str(effect.id),
            f"{connector.label} refused: {effect.name}",
            _storable(f"{ending.error} Put the cause right, then try again; or cancel it.", 500),
            at=now,
            connection_id=effect.connection_id,
            order_id=effect.order_id,
            link=f"/connections/{effect.connection_id}",
        )
        _note(connection, effect, f"{connector.label}: {effect.name} failed: {ending.error}", now)
    if ending.state in ("failed", "cancelled"):
        return followups.follow_up_without(connection, finished, ending.error, now)
    return []


def _ask_a_person(connection: Connection, effect: Effect | Row[Any], why: str, now: datetime) -> None:
    activity.raise_issue(
        connection,
        effect.merchant_id,
        ISSUE,
        str(effect.id),
        f"It is unclear whether this was done: {_name(effect.kind)}",
        _storable(f"Look at the other side, then say that it was done, that it was not, or try again. {why}", 500),
        at=now,
        connection_id=effect.connection_id,
        order_id=effect.order_id,
        link=f"/connections/{effect.connection_id}",
    )
    _note(connection, effect, f"{_name(effect.kind)}: unclear whether it was done", now)


# ---------------------------------------------------------------- what a person decides


@access.needs(Permission.SYNC)
def retry(database: Database, merchant_id: UUID, effect_id: UUID, actor: str) -> UUID:
    """Send a failed or unknown effect once more, as a new generation with a key of its own; returns the new row's id.

    It keeps its place in its order. Asking twice sends once. Raises Conflict for an effect in any other state.
    """
    from hub.store import followups

    def renew(connection: Connection) -> UUID:
        now = database.now(connection)
        row = _locked(connection, merchant_id, effect_id)
        key = _next_key(row.effect_key, row.generation + 1)
        this = t.effect.c
        there = connection.execute(
            select(this.id).where(this.merchant_id == merchant_id, this.effect_key == key)
        ).scalar_one_or_none()
        if there is not None:
            return there  # type: ignore[no-any-return]
        _require(row, "failed", "unknown")
        if row.state == "unknown":
            _set(connection, row, state="cancelled", finished_at=now)
        fresh = new_id()
        kept = ("connection_id", "kind", "ordering_key", "request", "order_id", "created_at", "look_first")
        connection.execute(
            t.effect.insert().values(
                merchant_id=merchant_id,
                id=fresh,
                effect_key=key,
                generation=row.generation + 1,
                state="planned",
                due_at=now,
                **{column: getattr(row, column) for column in kept},
            )
        )
        _decided(connection, row, "try again", actor, now)
        followups.tried_again(connection, row, actor, now)
        return fresh

    return database.transact(renew)


@access.needs(Permission.SYNC)
def mark_succeeded(database: Database, merchant_id: UUID, effect_id: UUID, actor: str, reference: str = "") -> Lanes:
    """A person has seen that it was done; ``reference`` is the vendor's id of it. Returns the lanes to ring for. Raises
    Conflict unless it is failed or unknown."""
    from hub.store import followups

    def mark(connection: Connection) -> Lanes:
        now = database.now(connection)
        row = _locked(connection, merchant_id, effect_id)
        _require(row, "failed", "unknown")
        row = _set(connection, row, state="succeeded", reference=_storable(reference, 300), finished_at=now)
        _decided(connection, row, "it was done", actor, now)
        return followups.follow_up(connection, row, EffectResult(_storable(reference, 300)), now)

    return database.transact(mark)


@access.needs(Permission.SYNC)
def cancel(database: Database, merchant_id: UUID, effect_id: UUID, actor: str) -> Lanes:
    """A person wants it no more, or has seen that it was not done. Returns the lanes to ring for. Raises Conflict while
    it is being sent, and when it has succeeded."""
    from hub.store import followups

    def give_up(connection: Connection) -> Lanes:
        now = database.now(connection)
        row = _locked(connection, merchant_id, effect_id)
        _require(row, "planned", "failed", "unknown")
        row = _set(connection, row, state="cancelled", finished_at=now)
        _decided(connection, row, "cancelled", actor, now)
        return followups.follow_up_without(connection, row, f"{actor} cancelled it", now)

    return database.transact(give_up)


def _locked(connection: Connection, merchant_id: UUID, effect_id: UUID) -> Row[Any]:
    this = t.effect.c
    order_id = connection.execute(
        select(this.order_id).where(this.merchant_id == merchant_id, this.id == effect_id)
    ).scalar_one_or_none()
    if order_id is not None:
        lock_order(connection, merchant_id, order_id)
    statement = select(t.effect).where(t.effect.c.merchant_id == merchant_id, t.effect.c.id == effect_id)
    row = connection.execute(for_update(connection, statement)).one_or_none()
    if row is None:
        raise Conflict("There is no such task any more. Go back and look at the list again.")
    return row


def _require(row: Row[Any], *states: str) -> None:
    if row.state not in states:
        said = {"in_flight": "is being sent right now", "planned": "is waiting to be sent"}
        raise Conflict(f"“{_name(row.kind)}” {said.get(row.state, f'has {row.state} already')}. Look at it again.")


def _set(connection: Connection, row: Row[Any], **values: Any) -> Row[Any]:
    return connection.execute(
        update(t.effect)
        .where(t.effect.c.merchant_id == row.merchant_id, t.effect.c.id == row.id)
        .values(unclear=False, **values)
        .returning(t.effect)
    ).one()


def _decided(connection: Connection, row: Row[Any], what: str, actor: str, now: datetime) -> None:
    activity.resolve_issue(connection, row.merchant_id, ISSUE, str(row.id), at=now, by=actor)
    _note(connection, row, f"{_name(row.kind)}: {what}", now, actor)


# ---------------------------------------------------------------- small things


def _next_key(key: UUID, generation: int) -> UUID:
    return uuid5(key, f"generation {generation}")


def _name(kind: str) -> str:
    return kind.replace("_", " ")


def _note(connection: Connection, effect: Effect | Row[Any], summary: str, now: datetime, actor: str = "") -> None:
    activity.note(
        connection,
        effect.merchant_id,
        "effect",
        _storable(summary, 500),
        at=now,
        connection_id=effect.connection_id,
        order_id=effect.order_id,
        actor=actor,
        details={"effect": str(effect.id), "kind": effect.kind},
    )


def _storable(text: str, length: int) -> str:
    """A vendor's words as both databases take them: no NUL, no half characters, not too long."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "")[:length]


def _files(result: EffectResult) -> list[Document]:
    """The files of a result, without what is none: a connector's slip must not undo what was done."""
    found = result.documents if isinstance(result.documents, tuple | list) else ()
    return [
        replace(each, tracking_number=_storable(str(each.tracking_number), 200))
        for each in found
        if isinstance(each, Document)
        and isinstance(each.content, bytes)
        and isinstance(each.kind, DocumentKind)
        and isinstance(each.format, DocumentFormat)
    ]


def _json_or_none(details: Mapping[str, Any]) -> Any:
    """The details as JSON; None where a connector put something else in, for that must not undo what was done."""
    try:
        return json.loads(_storable(json.dumps(dict(details)), 100_000)) if details else None
    except (TypeError, ValueError):
        return None
