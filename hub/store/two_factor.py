"""The second factor: codes of an app by time (TOTP), ten codes for when the telephone is lost, the second step."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import timedelta
from uuid import UUID

import pyotp
from sqlalchemy import Connection, delete, func, or_, select, update

from hub import access
from hub.access import Permission, Role
from hub.errors import BadInput, Conflict
from hub.store import tables as t
from hub.store.accounts import Visitor, works_at
from hub.store.activity import OPERATOR, note
from hub.store.database import Database, for_update
from hub.store.secrets import KeyRing, SecretsUnreadable

RECOVERY_CODES = 10
SECOND_STEP_LIFE = timedelta(minutes=5)
_STEP = 30  # seconds a code is shown
_DRIFT = 1  # steps that a telephone's clock may be ahead or behind
_MOST_TRIES = 5  # of one sign-in; a further one begins with the password again
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # none that looks like another


# ---------------------------------------------------------------- turning it on and off


def begin(database: Database, keyring: KeyRing, visitor: Visitor) -> None:
    """Make a secret for the visitor's app. It counts for nothing until ``confirm``. Raises Conflict where it is on."""
    sealed = keyring.encrypt(pyotp.random_base32().encode(), _place(visitor.user_id))

    def work(connection: Connection) -> None:
        person = t.user_account.c
        changed = connection.execute(
            update(t.user_account)
            .where(person.id == visitor.user_id, person.totp_on_at.is_(None))
            .values(totp_secret=sealed, totp_step=None)
        )
        if changed.rowcount != 1:
            raise Conflict("Two-factor sign-in is on already. Turn it off first to use another app.")

    database.transact(work)


def pending(connection: Connection, keyring: KeyRing, visitor: Visitor) -> str | None:
    """The secret that waits to be confirmed; None where there is none, or it is on: then nobody sees it again."""
    person = t.user_account.c
    sealed = connection.execute(
        select(person.totp_secret).where(person.id == visitor.user_id, person.totp_on_at.is_(None))
    ).scalar_one_or_none()
    try:
        return None if sealed is None else keyring.decrypt(sealed, _place(visitor.user_id)).decode()
    except SecretsUnreadable:
        return None  # its key is gone: another one is made


def address(secret: str, email: str) -> str:
    """What the QR code says: the secret as an app takes it."""
    return pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name="Tallyhub")


def confirm(database: Database, keyring: KeyRing, visitor: Visitor, code: str) -> list[str]:
    """Turn it on: the app shows the right code. Returns the recovery codes, which are never shown again.

    Raises BadInput for a wrong code.
    """

    def work(connection: Connection) -> list[str]:
        person, now = t.user_account.c, database.now(connection)
        row = connection.execute(
            for_update(connection, select(person.totp_on_at).where(person.id == visitor.user_id))
        ).one()
        if row.totp_on_at is not None:
            raise Conflict("Two-factor sign-in is on already.")
        if not _is_code(database, connection, keyring, visitor.user_id, code):
            raise BadInput(
                "This is not the code.", {"code": ["Enter the six digits that the app shows now for Tallyhub."]}
            )
        connection.execute(update(t.user_account).where(person.id == visitor.user_id).values(totp_on_at=now))
        _tell(connection, visitor.user_id, "two_factor_on", "Two-factor sign-in turned on", visitor.email, database)
        return _fresh_codes(connection, visitor.user_id)

    return database.transact(work)


def fresh_codes(database: Database, visitor: Visitor) -> list[str]:
    """Ten other recovery codes; the old ones open nothing any more. Raises Conflict where it is off."""

    def work(connection: Connection) -> list[str]:
        if not is_on(connection, visitor.user_id):
            raise Conflict("Two-factor sign-in is off.")
        summary = "Recovery codes replaced"
        _tell(connection, visitor.user_id, "two_factor_codes", summary, visitor.email, database)
        return _fresh_codes(connection, visitor.user_id)

    return database.transact(work)


def turn_off(database: Database, visitor: Visitor) -> None:
    """Turn it off. Raises Conflict where a merchant asks it of everybody."""

    def work(connection: Connection) -> None:
        if connection.execute(
            select(t.merchant.c.name)
            .join(t.membership, t.membership.c.merchant_id == t.merchant.c.id)
            .where(
                t.membership.c.user_id == visitor.user_id,
                t.membership.c.left_at.is_(None),
                t.merchant.c.requires_two_factor,
            )
        ).first():
            raise Conflict("Everybody here signs in with two factors. An owner decides that on the page about people.")
        _remove(connection, visitor.user_id)
        _tell(connection, visitor.user_id, "two_factor_off", "Two-factor sign-in turned off", visitor.email, database)

    database.transact(work)


@access.needs(Permission.PEOPLE)
def reset_for(database: Database, merchant_id: UUID, user_id: UUID, actor: Visitor) -> None:
    """Take the second factor from somebody who has lost it; they are signed out. Raises Conflict for who works for a
    merchant that is not the actor's too: its doors are not theirs to open."""

    def work(connection: Connection) -> None:
        here, mine = t.membership.alias(), t.membership.alias()
        elsewhere = connection.execute(
            select(here.c.merchant_id)
            .outerjoin(
                mine,
                (mine.c.merchant_id == here.c.merchant_id)
                & (mine.c.user_id == actor.user_id)
                & (mine.c.role == Role.OWNER)
                & works_at(mine),
            )
            .where(here.c.user_id == user_id, here.c.left_at.is_(None), mine.c.user_id.is_(None))
        ).first()
        works_here = connection.execute(
            select(here.c.user_id).where(
                here.c.merchant_id == merchant_id, here.c.user_id == user_id, here.c.left_at.is_(None)
            )
        ).first()
        if works_here is None:
            raise BadInput("This person does not work here.")
        if elsewhere is not None:
            raise Conflict("They work for another business too. The operator can do this: hub users reset-two-factor.")
        _reset(connection, user_id, actor.email, database)

    database.transact(work)


def reset(database: Database, email: str) -> None:
    """Take somebody's second factor, by the operator. Raises BadInput for an unknown address."""

    def work(connection: Connection) -> None:
        user_id = connection.execute(
            select(t.user_account.c.id).where(t.user_account.c.email == email.strip().lower())
        ).scalar_one_or_none()
        if user_id is None:
            raise BadInput(f"Nobody signs in as {email}.")
        _reset(connection, user_id, OPERATOR, database)

    database.transact(work)


def _reset(connection: Connection, user_id: UUID, actor: str, database: Database) -> None:
    email = connection.execute(select(t.user_account.c.email).where(t.user_account.c.id == user_id)).scalar_one()
    _remove(connection, user_id)
    connection.execute(delete(t.session).where(t.session.c.user_id == user_id))
    _tell(connection, user_id, "two_factor_reset", f"Two-factor sign-in of {email} reset", actor, database)


def _remove(connection: Connection, user_id: UUID) -> None:
    connection.execute(
        update(t.user_account)
        .where(t.user_account.c.id == user_id)
        .values(totp_secret=None, totp_on_at=None, totp_step=None)
    )
    connection.execute(delete(t.recovery_code).where(t.recovery_code.c.user_id == user_id))
    connection.execute(delete(t.second_step).where(t.second_step.c.user_id == user_id))


# ---------------------------------------------------------------- signing in with it


def is_on(connection: Connection, user_id: UUID) -> bool:
    """Whether somebody signs in with two factors."""
    person = t.user_account.c
    found = connection.execute(select(person.id).where(person.id == user_id, person.totp_on_at.is_not(None))).first()
    return found is not None


def begin_second_step(database: Database, user_id: UUID) -> str:
    """The password was right: a token for the cookie, good for one second step within SECOND_STEP_LIFE."""
    token = secrets.token_urlsafe(32)

    def work(connection: Connection) -> None:
        now = database.now(connection)
        connection.execute(delete(t.second_step).where(t.second_step.c.expires_at <= now))
        connection.execute(
            t.second_step.insert().values(
                token_sha256=_sha256(token), user_id=user_id, expires_at=now + SECOND_STEP_LIFE
            )
        )

    database.transact(work)
    return token


def whose(connection: Connection, token: str) -> UUID | None:
    """Who is at the second step with this token; None once it is over, or was tried too often."""
    this = t.second_step.c
    found: UUID | None = connection.execute(
        select(this.user_id).where(
            this.token_sha256 == _sha256(token),
            this.expires_at > Database.now(connection),
            this.tries < _MOST_TRIES,
        )
    ).scalar_one_or_none()
    return found


def finish_second_step(database: Database, keyring: KeyRing, token: str, code: str) -> UUID | None:
    """Who this is, if ``code`` is right: of the app, or one of the recovery codes. The token is used up then.

    Every try is counted before it is looked at, so that many at once are not more than one after the other.
    """

    def count(connection: Connection) -> UUID | None:
        this = t.second_step.c
        return connection.execute(
            update(t.second_step)
            .where(
                this.token_sha256 == _sha256(token),
                this.expires_at > database.now(connection),
                this.tries < _MOST_TRIES,
            )
            .values(tries=this.tries + 1)
            .returning(this.user_id)
        ).scalar_one_or_none()

    user_id = database.transact(count)
    if user_id is None:
        return None

    def check(connection: Connection) -> bool:
        right = _is_code(database, connection, keyring, user_id, code) or _use_recovery_code(
            database, connection, user_id, code
        )
        if right:
            connection.execute(delete(t.second_step).where(t.second_step.c.token_sha256 == _sha256(token)))
        return right

    return user_id if database.transact(check) else None


def codes_left(connection: Connection, user_id: UUID) -> int:
    """How many recovery codes still open something."""
    this = t.recovery_code.c
    return connection.execute(
        select(func.count()).select_from(t.recovery_code).where(this.user_id == user_id, this.used_at.is_(None))
    ).scalar_one()


# ---------------------------------------------------------------- what is inside


def _is_code(database: Database, connection: Connection, keyring: KeyRing, user_id: UUID, code: str) -> bool:
    """Whether the app shows this code now, give or take a step, and neither it nor a later one was used before."""
    digits = "".join(code.split())
    person = t.user_account.c
    sealed = connection.execute(select(person.totp_secret).where(person.id == user_id)).scalar_one_or_none()
    if sealed is None or not (len(digits) == 6 and digits.isascii() and digits.isdigit()):
        return False
    try:
        app = pyotp.TOTP(keyring.decrypt(sealed, _place(user_id)).decode(), interval=_STEP)
    except SecretsUnreadable:
        return False  # its key is gone: a recovery code, or the operator, still helps
    now = int(database.now(connection).timestamp()) // _STEP
    for step in range(now - _DRIFT, now + _DRIFT + 1):
        if hmac.compare_digest(app.generate_otp(step), digits):
            used = connection.execute(
                update(t.user_account)
                .where(person.id == user_id, or_(person.totp_step.is_(None), person.totp_step < step))
                .values(totp_step=step)
            )
            return used.rowcount == 1
    return False


def _use_recovery_code(database: Database, connection: Connection, user_id: UUID, code: str) -> bool:
    this, now = t.recovery_code.c, database.now(connection)
    used = connection.execute(
        update(t.recovery_code)
        .where(this.user_id == user_id, this.code_sha256 == _code_hash(user_id, code), this.used_at.is_(None))
        .values(used_at=now)
    )
    if used.rowcount != 1:
        return False
    email = connection.execute(select(t.user_account.c.email).where(t.user_account.c.id == user_id)).scalar_one()
    left = codes_left(connection, user_id)
    summary = f"Signed in with a recovery code; {left} left"
    _tell(connection, user_id, "two_factor_recovered", summary, email, database)
    return True


def _fresh_codes(connection: Connection, user_id: UUID) -> list[str]:
    connection.execute(delete(t.recovery_code).where(t.recovery_code.c.user_id == user_id))
    codes = ["".join(secrets.choice(_LETTERS) for _ in range(16)) for _ in range(RECOVERY_CODES)]
    connection.execute(
        t.recovery_code.insert(), [{"user_id": user_id, "code_sha256": _code_hash(user_id, code)} for code in codes]
    )
    return ["-".join(code[start : start + 4] for start in range(0, 16, 4)) for code in codes]


def _tell(connection: Connection, user_id: UUID, kind: str, summary: str, actor: str, database: Database) -> None:
    """A line in the log of every merchant they work for."""
    this = t.membership.c
    for merchant_id in connection.execute(
        select(this.merchant_id).where(this.user_id == user_id, this.left_at.is_(None))
    ).scalars():
        note(connection, merchant_id, kind, summary, at=database.now(connection), actor=actor)


def _code_hash(user_id: UUID, code: str) -> str:
    # 80 random bits: guessing is hopeless without slow hashing, too.
    typed = "".join(each for each in code.upper() if each.isalnum())
    return _sha256(f"{user_id} {typed}")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _place(user_id: UUID) -> str:
    return f"user_account:{user_id}:totp_secret"
