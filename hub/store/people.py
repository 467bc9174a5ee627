"""Who works for a merchant and as what: invitations by a link that works once, roles, letting people in and out."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, delete, func, select, update

from hub import access
from hub.access import Permission, Role
from hub.errors import BadInput, Conflict
from hub.store import accounts
from hub.store import tables as t
from hub.store.accounts import NotAllowed, Visitor
from hub.store.activity import note
from hub.store.database import Database, for_update, new_id, upsert

INVITATION_LIFE = timedelta(days=7)
MOST_INVITATIONS = 50  # of a business, at a time

_GONE = "This invitation is not good any more: it was used, taken back or is older than a week. Ask for another one."


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who works for a merchant. ``last_seen_at`` is of the sessions that are open now."""

    id: UUID
    email: str
    name: str
    role: str
    has_two_factor: bool
    disabled_at: datetime | None
    last_seen_at: datetime | None


@dataclass(frozen=True, slots=True)
class Invitation:
    """Somebody who was asked and has not come yet. ``has_account``: they sign in here already, for others."""

    id: UUID
    merchant_id: UUID
    merchant_name: str
    email: str
    role: str
    invited_by: str
    expires_at: datetime
    has_account: bool


# ---------------------------------------------------------------- who is here


def people(connection: Connection, merchant_id: UUID) -> list[Person]:
    """Everybody who works for the merchant, those too who may not sign in for now."""
    person, works = t.user_account.c, t.membership.c
    seen = (
        select(func.max(t.session.c.last_seen_at))
        .where(t.session.c.merchant_id == merchant_id, t.session.c.user_id == works.user_id)
        .scalar_subquery()
    )
    rows = connection.execute(
        select(
            person.id,
            person.email,
            person.name,
            works.role,
            person.totp_on_at.is_not(None),
            func.coalesce(works.disabled_at, person.disabled_at),
            seen,
        )
        .join(t.membership, works.user_id == person.id)
        .where(works.merchant_id == merchant_id, works.left_at.is_(None))
        .order_by(person.email)
    )
    return [Person(*row) for row in rows]


def invitations(connection: Connection, merchant_id: UUID) -> list[Invitation]:
    """Who was asked and has not come yet, those too whose link has grown too old."""
    rows = connection.execute(
        _invitation_columns().where(t.invitation.c.merchant_id == merchant_id).order_by(t.invitation.c.email)
    )
    return [Invitation(*row) for row in rows]


# ---------------------------------------------------------------- asking somebody to come


@access.needs(Permission.PEOPLE)
def invite(database: Database, merchant_id: UUID, email: str, role: str, actor: str) -> str:
    """Ask somebody to work here: what makes the link good, of which only the hash is kept. It replaces an earlier one.

    Raises BadInput, Conflict for who works here already, and where MOST_INVITATIONS others are open.
    """
    email = accounts.address(email)
    _known_role(role)
    token = secrets.token_urlsafe(32)

    def work(connection: Connection) -> None:
        now, person, works, asked = database.now(connection), t.user_account.c, t.membership.c, t.invitation.c
        # Two who ask somebody at the same moment would otherwise both be within what may be open.
        connection.execute(for_update(connection, select(t.merchant.c.id).where(t.merchant.c.id == merchant_id)))
        if connection.execute(
            select(person.id)
            .join(t.membership, works.user_id == person.id)
            .where(works.merchant_id == merchant_id, person.email == email, works.left_at.is_(None))
        ).first():
            raise Conflict(f"{email} works here already. Change the role in the list.")
        others = connection.execute(
            select(func.count()).select_from(t.invitation).where(asked.merchant_id == merchant_id, asked.email != email)
        ).scalar_one()
        if others >= MOST_INVITATIONS:
            raise Conflict(
                f"{others} invitations are open, which is as many as a business may have at a time. Take some of them "
                "back first; those that have grown too old count, too."
            )
        made = {
            "role": role,
            "token_sha256": _sha256(token),
            "invited_by": actor,
            "created_at": now,
            "expires_at": now + INVITATION_LIFE,
        }
        insert = upsert(connection, t.invitation).values(merchant_id=merchant_id, id=new_id(), email=email, **made)
        connection.execute(insert.on_conflict_do_update(index_elements=["merchant_id", "email"], set_=made))
        note(
            connection,
            merchant_id,
            "person_invited",
            f"{email} invited as {role}",
            at=now,
            actor=actor,
            details={"role": role},
        )

    database.transact(work)
    return token


@access.needs(Permission.PEOPLE)
def withdraw(database: Database, merchant_id: UUID, invitation_id: UUID, actor: str) -> str:
    """Take an invitation back; returns whose it was. Raises Conflict where it is gone already."""

    def work(connection: Connection) -> str:
        this = t.invitation.c
        email: str | None = connection.execute(
            delete(t.invitation).where(this.merchant_id == merchant_id, this.id == invitation_id).returning(this.email)
        ).scalar_one_or_none()
        if email is None:
            raise Conflict("This invitation is gone already: it was used, or taken back.")
        summary = f"Invitation of {email} taken back"
        note(connection, merchant_id, "person_uninvited", summary, at=database.now(connection), actor=actor)
        return email

    return database.transact(work)


def invitation(connection: Connection, token: str) -> Invitation | None:
    """What a link invites to; None once it is not good any more."""
    this = t.invitation.c
    row = connection.execute(
        _invitation_columns().where(this.token_sha256 == _sha256(token), this.expires_at > Database.now(connection))
    ).one_or_none()
    return None if row is None else Invitation(*row)


def accept(database: Database, token: str, *, name: str, password: str) -> tuple[UUID, UUID]:
    """Somebody new takes the invitation: (user, merchant). Raises BadInput, NotAllowed for a link that is not good."""
    with database.read() as connection:
        found = invitation(connection, token)
    if found is None:
        raise NotAllowed(_GONE)
    name = accounts.line(name, "name", "Tell us your name.", 200)
    password_hash = accounts.hashed(password, found.email)

    def work(connection: Connection) -> tuple[UUID, UUID]:
        taken, now = _take(connection, token), database.now(connection)
        user_id = accounts.add_person(connection, taken.merchant_id, taken.email, name, password_hash, taken.role, now)
        _tell_joined(connection, taken, now)
        return user_id, taken.merchant_id

    return database.transact(work)


def accept_as(database: Database, token: str, user_id: UUID) -> UUID:
    """Somebody who signs in here already takes the invitation, and has proven who they are; returns the merchant.

    Raises NotAllowed for a link that is not good, or somebody else's.
    """

    def work(connection: Connection) -> UUID:
        taken, now = _take(connection, token), database.now(connection)
        email = connection.execute(select(t.user_account.c.email).where(t.user_account.c.id == user_id)).scalar_one()
        if email != taken.email:
            raise NotAllowed(_GONE)
        insert = upsert(connection, t.membership).values(
            merchant_id=taken.merchant_id, user_id=user_id, role=taken.role
        )
        connection.execute(
            insert.on_conflict_do_update(
                index_elements=["merchant_id", "user_id"],
                set_={"role": insert.excluded.role, "left_at": None, "disabled_at": None},
            )
        )
        _tell_joined(connection, taken, now)
        merchant_id: UUID = taken.merchant_id
        return merchant_id

    return database.transact(work)


def _take(connection: Connection, token: str) -> Any:
    """Use a link up. Raises NotAllowed where somebody else was quicker."""
    this = t.invitation.c
    taken = connection.execute(
        delete(t.invitation)
        .where(this.token_sha256 == _sha256(token), this.expires_at > Database.now(connection))
        .returning(this.merchant_id, this.email, this.role, this.invited_by)
    ).one_or_none()
    if taken is None:
        raise NotAllowed(_GONE)
    return taken


def _tell_joined(connection: Connection, taken: Any, now: datetime) -> None:
    summary = f"{taken.email} works here as {taken.role}, invited by {taken.invited_by}"
    note(connection, taken.merchant_id, "person_joined", summary, at=now, actor=taken.email)


# ---------------------------------------------------------------- roles


@access.needs(Permission.PEOPLE)
def change_role(database: Database, merchant_id: UUID, user_id: UUID, role: str, actor: str) -> str:
    """Give somebody another role; they sign in again. Returns their address. Raises Conflict for the last owner."""
    _known_role(role)
    return _change(database, merchant_id, user_id, {"role": role}, "person_role", f"works here as {role} now", actor)


@access.needs(Permission.PEOPLE)
def disable(database: Database, merchant_id: UUID, user_id: UUID, actor: str) -> str:
    """Let somebody in no more for now. Returns their address. Raises Conflict for the last owner."""
    with database.read() as connection:
        now = database.now(connection)
    changed = {"disabled_at": now}
    return _change(database, merchant_id, user_id, changed, "person_disabled", "may not sign in any more", actor)


@access.needs(Permission.PEOPLE)
def enable(database: Database, merchant_id: UUID, user_id: UUID, actor: str) -> str:
    """Let somebody in again. Returns their address."""
    return _change(database, merchant_id, user_id, {"disabled_at": None}, "person_enabled", "may sign in again", actor)


@access.needs(Permission.PEOPLE)
def remove(database: Database, merchant_id: UUID, user_id: UUID, actor: str) -> str:
    """Somebody does not work here any more; what they did keeps their name. Returns their address. Raises Conflict for
    the last owner."""
    with database.read() as connection:
        now = database.now(connection)
    return _change(
        database, merchant_id, user_id, {"left_at": now}, "person_removed", "does not work here any more", actor
    )


@access.needs(Permission.PEOPLE)
def require_two_factor(database: Database, visitor: Visitor, required: bool) -> None:
    """Whether everybody here signs in with two factors. Raises Conflict while the visitor does not do so themselves."""
    if required and not visitor.has_two_factor:
        raise Conflict("Turn it on for yourself first, so that you are not the first who cannot come in.")

    def work(connection: Connection) -> None:
        connection.execute(
            update(t.merchant).where(t.merchant.c.id == visitor.merchant_id).values(requires_two_factor=required)
        )
        summary = (
            "Two-factor sign-in is required of everybody" if required else "Two-factor sign-in is everybody's choice"
        )
        at = database.now(connection)
        note(connection, visitor.merchant_id, "two_factor_required", summary, at=at, actor=visitor.email)

    database.transact(work)


def _change(
    database: Database, merchant_id: UUID, user_id: UUID, changed: Mapping[str, Any], kind: str, told: str, actor: str
) -> str:
    """Change what somebody is here, end their sessions here, and tell of it. Somebody has to stay an owner."""

    def work(connection: Connection) -> str:
        works, person, now = t.membership.c, t.user_account.c, database.now(connection)
        # Two owners who remove each other at the same moment would otherwise both see that one stays.
        connection.execute(for_update(connection, select(t.merchant.c.id).where(t.merchant.c.id == merchant_id)))
        here = (works.merchant_id == merchant_id, works.user_id == user_id, works.left_at.is_(None))
        row = connection.execute(
            select(person.email, works.role).join(t.membership, works.user_id == person.id).where(*here)
        ).one_or_none()
        if row is None:
            raise BadInput("This person does not work here.")
        connection.execute(update(t.membership).where(*here).values(**changed))
        owners = connection.execute(
            select(func.count())
            .select_from(t.membership.join(t.user_account, works.user_id == person.id))
            .where(
                works.merchant_id == merchant_id,
                works.role == Role.OWNER,
                accounts.works_at(t.membership),
                person.disabled_at.is_(None),
            )
        ).scalar_one()
        if owners == 0:
            raise Conflict("Somebody has to be the owner. Make somebody else an owner first.")
        connection.execute(
            delete(t.session).where(t.session.c.merchant_id == merchant_id, t.session.c.user_id == user_id)
        )
        details = {"before": row.role, "after": changed["role"]} if "role" in changed else None
        note(connection, merchant_id, kind, f"{row.email} {told}", at=now, actor=actor, details=details)
        return row.email  # type: ignore[no-any-return]

    return database.transact(work)


# ---------------------------------------------------------------- what is inside


def _invitation_columns() -> Any:
    this = t.invitation.c
    known = select(t.user_account.c.id).where(t.user_account.c.email == this.email).exists()
    return select(
        this.id, this.merchant_id, t.merchant.c.name, this.email, this.role, this.invited_by, this.expires_at, known
    ).join(t.merchant, t.merchant.c.id == this.merchant_id)


def _known_role(role: str) -> None:
    if role not in accounts.ROLES:
        raise BadInput(f"There is no role “{role}”.", {"role": ["Choose one of the list."]})


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
