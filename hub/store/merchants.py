"""A business itself: its name, its time zone and language, another one beside it, and which ones somebody works for."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID
from zoneinfo import available_timezones

from sqlalchemy import Connection, func, select, update

from hub import access
from hub.access import Permission, Role
from hub.errors import BadInput, Conflict
from hub.store import accounts
from hub.store import tables as t
from hub.store.accounts import Visitor
from hub.store.activity import note
from hub.store.database import Database, new_id


@dataclass(frozen=True, slots=True)
class Works:
    """A merchant that somebody works for, and as what."""

    id: UUID
    name: str
    role: str


def of_person(connection: Connection, user_id: UUID) -> list[Works]:
    """The merchants that somebody may sign in for, by name."""
    this = t.membership.c
    rows = connection.execute(
        select(t.merchant.c.id, t.merchant.c.name, this.role)
        .join(t.membership, this.merchant_id == t.merchant.c.id)
        .where(this.user_id == user_id, accounts.works_at(t.membership))
        .order_by(t.merchant.c.name, t.merchant.c.id)
    )
    return [Works(*row) for row in rows]


@access.needs(Permission.SETTINGS)
def save(database: Database, merchant_id: UUID, name: str, time_zone: str, locale: str, actor: str) -> None:
    """Change a business's name, the zone its people read times in ("": UTC), how they read figures. Raises BadInput."""
    name = accounts.line(name, "name", "Give your business a name.", 200)
    if time_zone and time_zone not in available_timezones():
        raise BadInput("There is no such time zone.", {"time_zone": ["Choose one of the list."]})

    def work(connection: Connection) -> None:
        this = t.merchant.c
        before = connection.execute(select(this.name, this.time_zone, this.locale).where(this.id == merchant_id)).one()
        after = {"name": name, "time_zone": time_zone, "locale": locale}
        changed = {
            field: {"before": getattr(before, field), "after": value}
            for field, value in after.items()
            if getattr(before, field) != value
        }
        if not changed:
            return
        connection.execute(update(t.merchant).where(this.id == merchant_id).values(**after))
        at = database.now(connection)
        note(connection, merchant_id, "merchant_changed", "Business changed", at=at, actor=actor, details=changed)

    database.transact(work)


@access.needs(Permission.PEOPLE)
def create(database: Database, name: str, visitor: Visitor, *, most: int) -> UUID:
    """Another business on this hub, of which the visitor is the owner; nothing is shared.

    Raises BadInput, Conflict for who owns ``most`` of them already.
    """
    name = accounts.line(name, "name", "Give the business a name.", 200)

    def work(connection: Connection) -> UUID:
        this = t.membership.c
        # Two that are created at the same moment would otherwise both be the last one that may be.
        accounts.lock_person(connection, visitor.user_id)
        owned = connection.execute(
            select(func.count())
            .select_from(t.membership)
            .where(this.user_id == visitor.user_id, this.role == Role.OWNER, this.left_at.is_(None))
        ).scalar_one()
        if owned >= most:
            raise Conflict(
                f"This hub allows {most} businesses to each owner, and you have as many. Whoever runs it can allow "
                "more (TALLYHUB_BUSINESSES_PER_OWNER)."
            )
        now, merchant_id = database.now(connection), new_id()
        values = {"time_zone": visitor.time_zone, "locale": visitor.locale}
        connection.execute(t.merchant.insert().values(id=merchant_id, name=name, created_at=now, **values))
        connection.execute(
            t.membership.insert().values(merchant_id=merchant_id, user_id=visitor.user_id, role=Role.OWNER)
        )
        note(connection, merchant_id, "merchant_created", f"{name} was created", at=now, actor=visitor.email)
        return merchant_id

    return database.transact(work)
