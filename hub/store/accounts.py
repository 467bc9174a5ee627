"""Who may come in: the one-time set-up token, people and their argon2id passwords, sessions that can be revoked."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from threading import BoundedSemaphore
from typing import Any
from uuid import UUID

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import ColumnElement, Connection, and_, delete, func, select, true, update

from hub.access import Permission, Role, grants
from hub.errors import BadInput, Conflict, HubError
from hub.store import tables as t
from hub.store.activity import OPERATOR, note
from hub.store.database import Database, for_update, new_id, upsert

SETUP_TOKEN_LIFE = timedelta(hours=1)
SESSION_LIFE = timedelta(days=30)
SESSION_IDLE = timedelta(days=3)
CONFIRMED_FOR = timedelta(minutes=10)  # so long a password that was typed counts for what is delicate
SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 1024
ROLES = tuple(role.value for role in Role)

# Each hash takes this much memory while it is computed, so only a few may run at once: a flood of sign-ins waits, and
# then is turned away, instead of exhausting the machine.
_hasher = PasswordHasher(time_cost=3, memory_cost=32 * 1024, parallelism=1)
_hashing = BoundedSemaphore(4)
_HASHING_PATIENCE = 5.0

# Long enough for the length rule and still among the first that anybody tries.
_COMMON = frozenset(
    [
        "password1234",
        "passwordpassword",
        "123456789012",
        "1234567890123",
        "12345678901234",
        "123456789123",
        "qwertyuiop12",
        "qwertyuiop123",
        "qwertyuiopasdf",
        "q1w2e3r4t5y6",
        "1q2w3e4r5t6y",
        "1qaz2wsx3edc",
        "iloveyou1234",
        "administrator",
        "changeme1234",
        "letmeinplease",
        "welcome12345",
        "welcome123456",
        "abcdefghijkl",
        "abc123456789",
        "111222333444",
        "123123123123",
        "0123456789ab",
        "adminadmin123",
    ]
)


class Busy(HubError):
    """Too many people are signing in at this moment; nothing was done."""


class NotAllowed(HubError):
    """The person is known, or the door is locked, and this may not be done."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who is signed in, and the merchant they are working for."""

    user_id: UUID
    email: str
    name: str
    role: str
    merchant_id: UUID
    merchant_name: str
    signed_in_at: datetime
    last_seen_at: datetime
    time_zone: str = ""  # of the merchant: an IANA name; "": UTC
    locale: str = ""  # of the merchant: "en_GB"; "": the browser's
    confirmed_at: datetime = datetime(1, 1, 1, tzinfo=UTC)  # when they typed their password last
    has_two_factor: bool = False
    needs_two_factor: bool = False  # the merchant asks it of everybody
    merchants: int = 1  # how many they work for
    at: datetime = datetime(1, 1, 1, tzinfo=UTC)  # what the database's clock said when they were recognized

    @property
    def permissions(self) -> frozenset[Permission]:
        return grants(self.role)

    def may(self, permission: str) -> bool:
        """Whether their role carries it; templates name it as text."""
        return permission in self.permissions


@dataclass(frozen=True, slots=True)
class OpenSession:
    """One browser in which somebody is signed in; ``key`` names it on a page and opens nothing."""

    key: str
    user_agent: str
    network: str
    created_at: datetime
    last_seen_at: datetime


# ---------------------------------------------------------------- first run


def needs_setup(connection: Connection) -> bool:
    """Whether nobody can sign in yet, so that the set-up page is open."""
    return connection.execute(select(t.user_account.c.id).limit(1)).first() is None


def issue_setup_token(database: Database) -> str | None:
    """A fresh set-up token, to be shown on the console only; None once somebody can sign in.

    It replaces any earlier one, works once and for SETUP_TOKEN_LIFE. Only its hash is kept.
    """
    token = secrets.token_urlsafe(32)

    def issue(connection: Connection) -> bool:
        _one_at_a_time(connection)
        if not needs_setup(connection):
            return False
        now = database.now(connection)
        connection.execute(delete(t.setup_token))
        connection.execute(
            t.setup_token.insert().values(
                token_sha256=_sha256(token), created_at=now, expires_at=now + SETUP_TOKEN_LIFE
            )
        )
        return True

    return token if database.transact(issue) else None


def set_up(
    database: Database, token: str, *, merchant_name: str, email: str, name: str, password: str
) -> tuple[UUID, UUID]:
    """Use the token up: the first merchant and its owner. Returns (merchant_id, user_id).

    Raises NotAllowed when somebody can sign in already or the token is not valid any more, BadInput for the rest.
    """
    merchant_name = line(merchant_name, "merchant_name", "Give your business a name.", 200)
    email, name = address(email), line(name, "name", "Tell us your name.", 200)
    password_hash = hashed(password, email)

    def create(connection: Connection) -> tuple[UUID, UUID]:
        _one_at_a_time(connection)
        if not needs_setup(connection):
            raise NotAllowed("This hub has been set up already. Sign in instead.")
        now = database.now(connection)
        used = connection.execute(
            update(t.setup_token)
            .where(
                t.setup_token.c.token_sha256 == _sha256(token),
                t.setup_token.c.used_at.is_(None),
                t.setup_token.c.expires_at > now,
            )
            .values(used_at=now)
        )
        if used.rowcount != 1:
            raise NotAllowed(
                "This set-up link is not valid, or not any more. Start the hub again: it prints a fresh one."
            )
        merchant_id = new_id()
        connection.execute(t.merchant.insert().values(id=merchant_id, name=merchant_name, created_at=now))
        user_id = add_person(connection, merchant_id, email, name, password_hash, "owner", now)
        note(connection, merchant_id, "merchant_created", "The hub was set up.", at=now, actor=email)
        return merchant_id, user_id

    return database.transact(create)


# ---------------------------------------------------------------- people


def create_user(database: Database, merchant_id: UUID, *, email: str, name: str, password: str, role: str) -> UUID:
    """Somebody new who works for the merchant. Raises BadInput, Conflict when the address is taken."""
    if role not in ROLES:
        raise BadInput(f"There is no role “{role}”.", {"role": [f"Choose one of {', '.join(ROLES)}."]})
    email = address(email)
    password_hash = hashed(password, email)

    def create(connection: Connection) -> UUID:
        now = database.now(connection)
        if connection.execute(select(t.merchant.c.id).where(t.merchant.c.id == merchant_id)).first() is None:
            raise BadInput("There is no such merchant.")
        user_id = add_person(connection, merchant_id, email, name.strip()[:200], password_hash, role, now)
        note(connection, merchant_id, "user_created", f"{email} may sign in as {role}", at=now, actor=OPERATOR)
        return user_id

    return database.transact(create)


def reset_password(database: Database, email: str, password: str) -> None:
    """A new password from the operator; every session of the person ends. Raises BadInput for an unknown address."""
    email = address(email)
    password_hash = hashed(password, email)

    def replace(connection: Connection) -> None:
        user_id = connection.execute(
            select(t.user_account.c.id).where(t.user_account.c.email == email)
        ).scalar_one_or_none()
        if user_id is None:
            raise BadInput(f"Nobody signs in as {email}. Create the user instead.")
        _replace_password(
            database, connection, user_id, password_hash, "Password reset by the operator", actor=OPERATOR
        )

    database.transact(replace)


def change_password(database: Database, visitor: Visitor, current: str, new: str) -> None:
    """A new password chosen by its owner; every session ends, this one too. Raises BadInput."""
    with database.read() as connection:
        kept: str = connection.execute(
            select(t.user_account.c.password_hash).where(t.user_account.c.id == visitor.user_id)
        ).scalar_one()
    if not _matches(kept, current):
        raise BadInput("The current password is not right.", {"current": ["This is not your current password."]})
    password_hash = hashed(new, visitor.email, field="new")

    def replace(connection: Connection) -> None:
        _replace_password(database, connection, visitor.user_id, password_hash, "Password changed", actor=visitor.email)

    database.transact(replace)


def authenticate(database: Database, email: str, password: str) -> UUID | None:
    """Whose password this is, or None. Takes as long for an address nobody has."""
    nobody = _nobody()
    with database.read() as connection:
        row = connection.execute(
            select(t.user_account.c.id, t.user_account.c.password_hash).where(
                t.user_account.c.email == email.strip().lower()[:320], t.user_account.c.disabled_at.is_(None)
            )
        ).first()
    if row is None:
        _matches(nobody, password)
        return None
    if not _matches(row.password_hash, password):
        return None
    if _hasher.check_needs_rehash(row.password_hash):
        stronger = _hash(password)
        with database.write() as connection:
            connection.execute(
                update(t.user_account)
                .where(t.user_account.c.id == row.id, t.user_account.c.password_hash == row.password_hash)
                .values(password_hash=stronger)
            )
    user_id: UUID = row.id
    return user_id


# ---------------------------------------------------------------- sessions


def works_at(membership: Any) -> ColumnElement[bool]:
    """The condition that a membership, or an alias of it, opens doors: nobody left, nobody disabled."""
    return and_(membership.c.disabled_at.is_(None), membership.c.left_at.is_(None))


def open_session(
    database: Database, user_id: UUID, user_agent: str, network: str = "", merchant_id: UUID | None = None
) -> str | None:
    """Sign the person in: a token for the cookie, of which only the hash is kept. None: they work for nobody.

    They begin with the first business they work for, unless ``merchant_id`` names one. ``network`` is roughly where
    they are.
    """
    token = secrets.token_urlsafe(32)

    def begin(connection: Connection) -> bool:
        now = database.now(connection)
        wanted = () if merchant_id is None else (t.membership.c.merchant_id == merchant_id,)
        found = connection.execute(
            select(t.membership.c.merchant_id, t.user_account.c.email)
            .join(t.merchant, t.merchant.c.id == t.membership.c.merchant_id)
            .join(t.user_account, t.user_account.c.id == t.membership.c.user_id)
            .where(t.membership.c.user_id == user_id, works_at(t.membership), *wanted)
            .order_by(t.merchant.c.created_at, t.merchant.c.id)
            .limit(1)
        ).one_or_none()
        if found is None:
            return False
        connection.execute(delete(t.session).where(t.session.c.expires_at <= now))
        connection.execute(
            t.session.insert().values(
                token_sha256=_sha256(token),
                user_id=user_id,
                merchant_id=found.merchant_id,
                created_at=now,
                last_seen_at=now,
                confirmed_at=now,
                expires_at=now + SESSION_LIFE,
                user_agent=_printable(user_agent)[:300],
                network=network,
            )
        )
        told = f"Signed in from {network}" if network else "Signed in"
        details = {"browser": _printable(user_agent)[:300]}
        note(connection, found.merchant_id, "signed_in", told, at=now, actor=found.email, details=details)
        return True

    return token if database.transact(begin) else None


def note_failure(connection: Connection, email: str, summary: str, user_agent: str) -> None:
    """Tell the merchants of whoever has this address that somebody tried to sign in, and failed."""
    rows = connection.execute(
        select(t.membership.c.merchant_id)
        .join(t.user_account, t.user_account.c.id == t.membership.c.user_id)
        .where(t.user_account.c.email == email, t.membership.c.left_at.is_(None))
    ).scalars()
    details = {"browser": _printable(user_agent)[:300]}
    for merchant_id in rows:
        at = Database.now(connection)
        note(connection, merchant_id, "sign_in_failed", summary, at=at, actor=email, details=details)


def confirm(database: Database, visitor: Visitor, token: str, password: str) -> str | None:
    """The visitor typed their password again: a token that replaces the session's; None for a wrong password."""
    with database.read() as connection:
        kept: str = connection.execute(
            select(t.user_account.c.password_hash).where(t.user_account.c.id == visitor.user_id)
        ).scalar_one()
    if not _matches(kept, password):
        return None

    def work(connection: Connection) -> str | None:
        return _renewed(connection, token, confirmed_at=database.now(connection))

    return database.transact(work)


def switch(database: Database, visitor: Visitor, token: str, merchant_id: UUID) -> str | None:
    """Go on for another merchant: a token that replaces the session's; None where the visitor does not work there."""

    def work(connection: Connection) -> str | None:
        this = t.membership.c
        there = connection.execute(
            select(this.user_id).where(
                this.merchant_id == merchant_id, this.user_id == visitor.user_id, works_at(t.membership)
            )
        ).first()
        if there is None:
            return None
        if merchant_id != visitor.merchant_id:
            # Its people see who came in, by whatever door.
            at, told = database.now(connection), "Came in from another business they work for"
            note(connection, merchant_id, "signed_in", told, at=at, actor=visitor.email)
        return _renewed(connection, token, merchant_id=merchant_id)

    return database.transact(work)


def _renewed(connection: Connection, token: str, **changed: Any) -> str | None:
    """Another token for a session: what was known of the old one is worth nothing any more."""
    fresh = secrets.token_urlsafe(32)
    renewed = connection.execute(
        update(t.session)
        .where(t.session.c.token_sha256 == _sha256(token))
        .values(token_sha256=_sha256(fresh), **changed)
    )
    return fresh if renewed.rowcount == 1 else None


def visitor(connection: Connection, token: str) -> Visitor | None:
    """Who holds this session, unless it ended, lay idle too long, or the person may not sign in any more."""
    others = t.membership.alias()
    row = connection.execute(
        select(
            t.user_account.c.id,
            t.user_account.c.email,
            t.user_account.c.name,
            t.membership.c.role,
            t.merchant.c.id,
            t.merchant.c.name,
            t.session.c.created_at,
            t.session.c.last_seen_at,
            t.merchant.c.time_zone,
            t.merchant.c.locale,
            t.session.c.confirmed_at,
            t.user_account.c.totp_on_at.is_not(None),
            t.merchant.c.requires_two_factor,
            select(func.count())
            .select_from(others)
            .where(others.c.user_id == t.session.c.user_id, works_at(others))
            .scalar_subquery(),
            Database.clock(connection),
            t.session.c.expires_at,
        )
        .join_from(t.session, t.user_account, t.session.c.user_id == t.user_account.c.id)
        .join(
            t.membership,
            (t.membership.c.merchant_id == t.session.c.merchant_id) & (t.membership.c.user_id == t.session.c.user_id),
        )
        .join(t.merchant, t.merchant.c.id == t.session.c.merchant_id)
        .where(
            t.session.c.token_sha256 == _sha256(token),
            t.user_account.c.disabled_at.is_(None),
            works_at(t.membership),
        )
    ).first()
    if row is None:
        return None
    *known, expires_at = row
    found = Visitor(*known)
    ended = expires_at <= found.at or found.last_seen_at <= found.at - SESSION_IDLE
    return None if ended else found


def keep_alive(database: Database, token: str) -> None:
    """Note that the session is in use."""

    def seen(connection: Connection) -> None:
        connection.execute(
            update(t.session)
            .where(t.session.c.token_sha256 == _sha256(token))
            .values(last_seen_at=database.now(connection))
        )

    database.transact(seen)


def sessions(connection: Connection, user_id: UUID) -> list[OpenSession]:
    """Every browser in which the person is signed in, the most recent first."""
    now = Database.now(connection)
    rows = connection.execute(
        select(
            t.session.c.token_sha256,
            t.session.c.user_agent,
            t.session.c.network,
            t.session.c.created_at,
            t.session.c.last_seen_at,
        )
        .where(
            t.session.c.user_id == user_id,
            t.session.c.expires_at > now,
            t.session.c.last_seen_at > now - SESSION_IDLE,
        )
        .order_by(t.session.c.last_seen_at.desc())
    )
    return [OpenSession(*row) for row in rows]


def session_key(token: str) -> str:
    """The name under which ``sessions`` lists the session of this token."""
    return _sha256(token)


def close_session(database: Database, token: str) -> None:
    """Sign out in this one browser."""

    def end(connection: Connection) -> None:
        connection.execute(delete(t.session).where(t.session.c.token_sha256 == _sha256(token)))

    database.transact(end)


def close_sessions(database: Database, visitor: Visitor) -> int:
    """Sign the visitor out everywhere, here too; how many sessions that ended."""
    return _end(database, visitor, true())


def close_other_sessions(database: Database, visitor: Visitor, token: str) -> int:
    """Sign the visitor out everywhere but here; how many sessions that ended."""
    return _end(database, visitor, t.session.c.token_sha256 != _sha256(token))


def close_one_session(database: Database, visitor: Visitor, key: str) -> bool:
    """End the session of the visitor that ``sessions`` lists as ``key``; whether there was one."""
    return _end(database, visitor, t.session.c.token_sha256 == key) == 1


def _end(database: Database, visitor: Visitor, which: ColumnElement[bool]) -> int:
    def end(connection: Connection) -> int:
        ended = connection.execute(delete(t.session).where(t.session.c.user_id == visitor.user_id, which)).rowcount
        if ended:
            told = f"{ended} session{'' if ended == 1 else 's'} ended"
            at = database.now(connection)
            note(connection, visitor.merchant_id, "session_ended", told, at=at, actor=visitor.email)
        return ended

    return database.transact(end)


# ---------------------------------------------------------------- what is inside


def _one_at_a_time(connection: Connection) -> None:
    """Until this commit nobody else may look whether the hub is set up: two could both find that it is not."""
    name = "set-up"
    insert = upsert(connection, t.lease).values(name=name, holder="", fence=1, until=Database.now(connection))
    connection.execute(insert.on_conflict_do_nothing(index_elements=["name"]))
    connection.execute(for_update(connection, select(t.lease.c.name).where(t.lease.c.name == name)))


def add_person(
    connection: Connection, merchant_id: UUID, email: str, name: str, password_hash: str, role: str, now: datetime
) -> UUID:
    """Somebody new who works for a merchant, in the caller's transaction. Raises Conflict when the address is taken."""
    user_id = new_id()
    added = connection.execute(
        upsert(connection, t.user_account)
        .values(
            id=user_id,
            email=email,
            name=name,
            password_hash=password_hash,
            created_at=now,
            password_changed_at=now,
        )
        .on_conflict_do_nothing(index_elements=["email"])
        .returning(t.user_account.c.id)
    ).first()
    if added is None:
        raise Conflict(f"Somebody signs in as {email} already. Choose another address, or reset that password.")
    connection.execute(t.membership.insert().values(merchant_id=merchant_id, user_id=user_id, role=role))
    return user_id


def lock_person(connection: Connection, user_id: UUID) -> None:
    """Until this commit nobody else counts what is counted by person."""
    connection.execute(for_update(connection, select(t.user_account.c.id).where(t.user_account.c.id == user_id)))


def _replace_password(
    database: Database, connection: Connection, user_id: UUID, password_hash: str, summary: str, *, actor: str
) -> None:
    now = database.now(connection)
    connection.execute(
        update(t.user_account)
        .where(t.user_account.c.id == user_id)
        .values(password_hash=password_hash, password_changed_at=now)
    )
    connection.execute(delete(t.session).where(t.session.c.user_id == user_id))
    connection.execute(delete(t.second_step).where(t.second_step.c.user_id == user_id))
    for merchant_id in connection.execute(
        select(t.membership.c.merchant_id).where(t.membership.c.user_id == user_id)
    ).scalars():
        note(connection, merchant_id, "password_changed", summary, at=now, actor=actor)


def _hash(password: str) -> str:
    with _Turn():
        return _hasher.hash(password)


def _matches(password_hash: str, password: str) -> bool:
    with _Turn():
        try:
            return _hasher.verify(password_hash, password[: LONGEST_PASSWORD + 1])
        except (VerificationError, InvalidHashError):
            return False


class _Turn:
    def __enter__(self) -> None:
        if not _hashing.acquire(timeout=_HASHING_PATIENCE):
            raise Busy("Too many people are signing in at this moment. Try again in a few seconds.")

    def __exit__(self, *_: object) -> None:
        _hashing.release()


@cache
def _nobody() -> str:
    """The hash that is compared when the address is unknown, so that the answer takes as long."""
    return _hasher.hash(secrets.token_urlsafe(16))


def hashed(password: str, email: str, *, field: str = "password") -> str:
    """The hash of a password that is good enough. Raises BadInput, about ``field``."""
    return _hash(_good_password(password, email, field=field))


def _good_password(password: str, email: str, *, field: str = "password") -> str:
    plain = password.lower()
    if len(password) < SHORTEST_PASSWORD:
        problem = f"Use at least {SHORTEST_PASSWORD} characters. A few words in a row are easy to remember."
    elif len(password) > LONGEST_PASSWORD:
        problem = f"Use at most {LONGEST_PASSWORD} characters."
    elif plain in _COMMON or len(set(plain)) < 5:
        problem = "This is among the first passwords anybody would try. Choose another one."
    elif plain in (email, email.partition("@")[0] * 2) or "tallyhub" in plain:
        problem = "This is easy to guess from your address or from the name of this program. Choose another one."
    else:
        return password
    raise BadInput("The password cannot be used.", {field: [problem]})


def address(email: str) -> str:
    """An e-mail address as it is kept. Raises BadInput."""
    found = email.strip().lower()
    if len(found) > 320 or not re.fullmatch(r"[^@\s]+@[^@\s]+", found) or _printable(found) != found:
        raise BadInput(
            "The e-mail address cannot be used.", {"email": ["Enter an e-mail address, such as you@example.com."]}
        )
    return found


def line(text: str, field: str, if_empty: str, longest: int) -> str:
    """What was typed in one line. Raises BadInput, about ``field``."""
    typed = _printable(text).strip()
    if not typed:
        raise BadInput(if_empty, {field: [if_empty]})
    if len(typed) > longest:
        raise BadInput("This is too long.", {field: [f"Use at most {longest} characters."]})
    return typed


def _printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable())


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
