"""The sandbox: a merchant tries the hub out with simulated vendors, and then everything that came of it is deleted.

A merchant has simulated connections or real ones, never both, so that nothing is shared between them. What serves the
vendors finds the wish here, opens them, and says where they are; only connections of the sandbox are led there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, insert, or_, select, update

from hub import access
from hub.access import Permission
from hub.connector import Connector
from hub.errors import Conflict
from hub.store import activity, connections
from hub.store import tables as t
from hub.store.bulk import insert_rows
from hub.store.database import Database, for_update
from hub.store.secrets import KeyRing

AWAY_AFTER = timedelta(seconds=30)  # nobody who serves it has been heard of for so long
MOST_PER_PERSON = 3  # of all the businesses somebody works for: each is half a dozen servers on this machine
_THIS = t.sandbox.c

# What stays when a sandbox is removed: the merchant, who works there, and what they are used to. Of what they did, what
# is told of themselves: nobody gets rid of the audit log by trying the hub out.
STAYS = frozenset((t.merchant, t.membership, t.session, t.sandbox, t.invitation, t.saved_view, t.list_preference))
_TOLD_FOR_GOOD = (*activity.COMING_IN, *activity.PEOPLE, "sandbox_")  # what the kinds of such lines begin with


class Phase(StrEnum):
    """How far a sandbox has come."""

    OPENING = "opening"
    OPEN = "open"
    AWAY = "away"  # nobody serves it
    FAILED = "failed"
    ENDING = "ending"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """A merchant's sandbox. ``beginnings`` above 1: who served it was restarted, and it began anew."""

    wanted_at: datetime
    began_at: datetime | None
    beginnings: int
    seen_at: datetime | None
    ending_at: datetime | None
    error: str

    def phase(self, now: datetime) -> Phase:
        if self.ending_at is not None:
            return Phase.ENDING
        if self.error:
            return Phase.FAILED
        if now - (self.seen_at or self.wanted_at) > AWAY_AFTER:
            return Phase.AWAY
        return Phase.OPEN if self.began_at is not None else Phase.OPENING


def sandbox(connection: Connection, merchant_id: UUID) -> Sandbox | None:
    """The merchant's sandbox, None where there is none."""
    row = connection.execute(select(t.sandbox).where(_THIS.merchant_id == merchant_id)).one_or_none()
    if row is None:
        return None
    return Sandbox(
        wanted_at=row.wanted_at,
        began_at=row.began_at,
        beginnings=row.beginnings,
        seen_at=row.seen_at,
        ending_at=row.ending_at,
        error=row.error,
    )


def routes_of(connection: Connection, shop: Row[Any]) -> Mapping[str, str] | None:
    """What leads a connection of the sandbox to its simulated vendor; None for a real one."""
    if not shop.sandbox:
        return None
    found = connection.execute(select(_THIS.routes).where(_THIS.merchant_id == shop.merchant_id)).scalar_one_or_none()
    return found or {}


# ---------------------------------------------------------------- what a person does


@access.needs(Permission.CONNECT)
def open_up(database: Database, merchant_id: UUID, actor: str) -> None:
    """Wish for a sandbox. Raises Conflict unless the hub is still empty, because all that is in it goes with the
    sandbox; and for who has opened MOST_PER_PERSON of them, which are still there."""

    def work(connection: Connection) -> None:
        _lock(connection, merchant_id)
        if connection.execute(select(_THIS.merchant_id).where(_THIS.merchant_id == merchant_id)).first():
            return
        _refuse_one_too_many(connection, actor)
        for table, what in ((t.connection, "a connection"), (t.sku, "a SKU"), (t.location, "a location")):
            if connection.execute(select(table.c.id).where(table.c.merchant_id == merchant_id).limit(1)).first():
                raise Conflict(
                    f"There is {what} here already. A sandbox is for a hub that is still empty, because everything in "
                    "it is deleted with the sandbox. Connect a shop instead."
                )
        at = database.now(connection)
        connection.execute(insert(t.sandbox).values(merchant_id=merchant_id, wanted_at=at, wanted_by=actor))
        activity.note(connection, merchant_id, "sandbox_wanted", "The sandbox is being opened", at=at, actor=actor)

    database.transact(work)


@access.needs(Permission.CONNECT)
def remove(database: Database, merchant_id: UUID, actor: str) -> None:
    """Wish that the sandbox ends, with everything that came of it. Raises Conflict where there is none."""

    def work(connection: Connection) -> None:
        row = connection.execute(for_update(connection, select(t.sandbox).where(_THIS.merchant_id == merchant_id)))
        if row.one_or_none() is None:
            raise Conflict("There is no sandbox any more.")
        at = database.now(connection)
        connection.execute(update(t.sandbox).where(_THIS.merchant_id == merchant_id).values(ending_at=at))
        activity.note(connection, merchant_id, "sandbox_ending", "The sandbox is being removed", at=at, actor=actor)

    database.transact(work)


# ---------------------------------------------------------------- who serves it


def wanted(connection: Connection) -> list[UUID]:
    """The merchants whose sandbox is to be served."""
    return list(connection.execute(select(_THIS.merchant_id).where(_THIS.ending_at.is_(None))).scalars())


def ending(connection: Connection) -> list[UUID]:
    """The merchants whose sandbox is to be removed."""
    return list(connection.execute(select(_THIS.merchant_id).where(_THIS.ending_at.is_not(None))).scalars())


Vendors = Sequence[tuple[type[Connector], Mapping[str, Any]]]  # each with what is typed into its form


def begin(
    database: Database, keyring: KeyRing, merchant_id: UUID, routes: Mapping[str, str], vendors: Vendors
) -> list[UUID]:
    """The vendors are open: keep where they are, and connect those of ``vendors``; returns the connections.

    Nothing where the sandbox is not wanted any more.
    """

    def work(connection: Connection) -> list[UUID]:
        _lock(connection, merchant_id)
        at = database.now(connection)
        connection.execute(
            update(t.sandbox)
            .where(_THIS.merchant_id == merchant_id, _THIS.ending_at.is_(None))
            .values(routes=dict(routes), began_at=at, seen_at=at, beginnings=_THIS.beginnings + 1, error="")
        )
        return _connect(connection, keyring, merchant_id, vendors, at)

    return database.transact(work)


def join(database: Database, keyring: KeyRing, merchant_id: UUID, vendors: Vendors) -> list[UUID]:
    """Connect further vendors, to which the routes lead already; returns the connections."""

    def work(connection: Connection) -> list[UUID]:
        _lock(connection, merchant_id)
        return _connect(connection, keyring, merchant_id, vendors, database.now(connection))

    return database.transact(work)


def _connect(connection: Connection, keyring: KeyRing, merchant_id: UUID, vendors: Vendors, at: datetime) -> list[UUID]:
    row = connection.execute(
        select(_THIS.wanted_by).where(_THIS.merchant_id == merchant_id, _THIS.ending_at.is_(None))
    ).one_or_none()
    if row is None:
        return []
    return [
        connections.keep_new(
            connection,
            keyring,
            merchant_id,
            connector,
            f"{connector.label} (sandbox)",
            connector.settings_schema().load(settings),
            row.wanted_by,
            at=at,
            sandbox=True,
        )[0]
        for connector, settings in vendors
    ]


def serve_on(database: Database, merchant_id: UUID) -> bool:
    """Say that it is being served; False when it is not wanted any more."""
    with database.write() as connection:
        return bool(
            connection.execute(
                update(t.sandbox)
                .where(_THIS.merchant_id == merchant_id, _THIS.ending_at.is_(None))
                .values(seen_at=database.now(connection))
            ).rowcount
        )


def fail(database: Database, merchant_id: UUID, error: str) -> None:
    """Say why it cannot be opened."""
    with database.write() as connection:
        connection.execute(update(t.sandbox).where(_THIS.merchant_id == merchant_id).values(error=error))


def close_connections(database: Database, merchant_id: UUID) -> list[UUID]:
    """Let nothing more begin on the connections of the sandbox; returns all of them."""
    shop = t.connection.c
    with database.write() as connection:
        connection.execute(
            update(t.connection)
            .where(shop.merchant_id == merchant_id, shop.sandbox)
            .values(state="removed", live_at=None, secrets=None)
        )
        return list(connection.execute(select(shop.id).where(shop.merchant_id == merchant_id, shop.sandbox)).scalars())


def forget(connection: Connection, merchant_id: UUID, *, at: datetime) -> None:
    """Delete everything that came of the sandbox, and the wish itself if it is to end.

    Raises Conflict where the merchant has a real connection: then nothing says what came of which.
    """
    _lock(connection, merchant_id)
    shop = t.connection.c
    if connection.execute(
        select(shop.id).where(shop.merchant_id == merchant_id, shop.sandbox.is_(False)).limit(1)
    ).first():
        raise Conflict("There is a real connection beside the sandbox: nothing was deleted.")
    line = t.activity.c
    told_for_good = or_(*(line.kind.startswith(each, autoescape=True) for each in _TOLD_FOR_GOOD))
    stays = (
        connection.execute(select(t.activity).where(line.merchant_id == merchant_id, told_for_good)).mappings().all()
    )
    t.empty_merchant(connection, merchant_id, STAYS)
    insert_rows(connection, t.activity, [dict(each) for each in stays])
    connection.execute(update(t.merchant).where(t.merchant.c.id == merchant_id).values(settled_in_at=None))
    ended = connection.execute(
        t.sandbox.delete().where(_THIS.merchant_id == merchant_id, _THIS.ending_at.is_not(None))
    ).rowcount
    told = "The sandbox was removed with everything in it" if ended else "The sandbox began anew, with nothing in it"
    activity.note(connection, merchant_id, "sandbox_emptied", told, at=at)


def _refuse_one_too_many(connection: Connection, actor: str) -> None:
    person = t.user_account.c
    connection.execute(for_update(connection, select(person.id).where(person.email == actor)))  # one wish at a time
    there = connection.execute(
        select(t.merchant.c.name)
        .join(t.sandbox, _THIS.merchant_id == t.merchant.c.id)
        .where(_THIS.wanted_by == actor)
        .order_by(_THIS.wanted_at)
    )
    names = list(there.scalars())
    if len(names) >= MOST_PER_PERSON:
        raise Conflict(
            f"You have opened {len(names)} sandboxes, which is as many as may be at a time: that of {names[0]}, for "
            "one. Remove one of them first."
        )


def _lock(connection: Connection, merchant_id: UUID) -> None:
    # Whoever connects a real shop locks this row, too.
    connection.execute(for_update(connection, select(t.merchant.c.id).where(t.merchant.c.id == merchant_id)))
