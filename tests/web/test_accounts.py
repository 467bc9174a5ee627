"""Accounts in the database, SQLite and PostgreSQL: set-up happens once, passwords are hashed, sessions end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import pytest
from argon2 import PasswordHasher
from sqlalchemy import func, insert, select, update

from hub.errors import BadInput, Conflict
from hub.store import accounts, people
from hub.store import tables as t
from hub.store.database import Database, new_id

PASSWORD = "four calm green teapots"


def set_up(database: Database, token: str, email: str = "ada@tea.example") -> tuple[UUID, UUID]:
    return accounts.set_up(database, token, merchant_name="Tea", email=email, name="Ada", password=PASSWORD)


@pytest.fixture(autouse=True)
def _quick_passwords() -> None:
    """Here passwords are hashed as they are for people."""


@pytest.fixture
def ada(database: Database) -> UUID:
    token = accounts.issue_setup_token(database)
    assert token
    return set_up(database, token)[1]


def count(database: Database, table: object) -> int:
    with database.read() as db:
        return db.execute(select(func.count()).select_from(table)).scalar_one()  # type: ignore[call-overload]


def move_back(database: Database, table: object, column: str, span: timedelta) -> None:
    """Let so much time pass since the moment in ``column``."""
    with database.write() as db:
        moments = db.execute(select(table.c[column])).scalars().all()  # type: ignore[attr-defined]
        for moment in moments:
            db.execute(
                update(table).where(table.c[column] == moment).values({column: moment - span})  # type: ignore[attr-defined,arg-type]
            )


def seen(database: Database, token: str) -> accounts.Visitor | None:
    with database.read() as db:
        return accounts.visitor(db, token)


# ---------------------------------------------------------------- set-up


def test_the_token_makes_a_merchant_and_its_owner_once(database: Database) -> None:
    token = accounts.issue_setup_token(database)
    assert token

    merchant_id, user_id = set_up(database, token)

    with database.read() as db:
        assert not accounts.needs_setup(db)
        assert [(each.email, each.role) for each in people.people(db, merchant_id)] == [("ada@tea.example", "owner")]
    session = accounts.open_session(database, user_id, "Firefox")
    assert session
    visitor = seen(database, session)
    assert visitor and (visitor.merchant_id, visitor.email, visitor.role) == (merchant_id, "ada@tea.example", "owner")

    with pytest.raises(accounts.NotAllowed, match="set up already"):
        set_up(database, token, "mallory@tea.example")
    assert accounts.issue_setup_token(database) is None
    assert count(database, t.user_account) == 1


def test_a_token_that_is_wrong_old_or_replaced_opens_nothing(database: Database) -> None:
    first = accounts.issue_setup_token(database)
    second = accounts.issue_setup_token(database)
    assert first and second and first != second

    for token in ("", "guess", first):
        with pytest.raises(accounts.NotAllowed, match="Start the hub again"):
            set_up(database, token)
    move_back(database, t.setup_token, "expires_at", timedelta(hours=1, seconds=1))
    with pytest.raises(accounts.NotAllowed, match="Start the hub again"):
        set_up(database, second)
    assert count(database, t.merchant) == count(database, t.user_account) == 0

    fresh = accounts.issue_setup_token(database)
    assert fresh
    set_up(database, fresh)
    assert count(database, t.user_account) == 1


def test_only_the_hash_of_a_token_is_kept(database: Database) -> None:
    token = accounts.issue_setup_token(database)

    with database.read() as db:
        kept = db.execute(select(t.setup_token)).one()
    assert token and token not in str(tuple(kept))


def test_two_who_set_up_at_the_same_moment_make_one_merchant(database: Database) -> None:
    token = accounts.issue_setup_token(database)
    assert token

    def attempt(number: int) -> str:
        try:
            set_up(database, token, f"person{number}@tea.example")
        except accounts.NotAllowed:
            return "refused"
        return "done"

    with ThreadPoolExecutor(4) as pool:
        outcomes = sorted(pool.map(attempt, range(4)))

    assert outcomes == ["done", "refused", "refused", "refused"]
    assert count(database, t.merchant) == count(database, t.user_account) == 1


# ---------------------------------------------------------------- passwords


@pytest.mark.parametrize(
    "password",
    [
        "short",
        "elevenchars",
        "x" * 1025,
        "PASSWORD1234",
        "abababababab",
        "tallyhub-is-great",
        "ada@tea.example",
    ],
)
def test_refuses_a_password_that_is_guessed_early(database: Database, password: str) -> None:
    token = accounts.issue_setup_token(database) or ""

    with pytest.raises(BadInput) as caught:
        accounts.set_up(database, token, merchant_name="Tea", email="ada@tea.example", name="Ada", password=password)

    assert list(caught.value.fields) == ["password"]
    assert count(database, t.user_account) == 0
    set_up(database, token)  # the token was not used up by the mistake


def test_takes_a_long_password_with_any_characters(database: Database) -> None:
    token = accounts.issue_setup_token(database) or ""
    password = "Straße 你好 " + "x y" * 300

    _, user_id = accounts.set_up(
        database, token, merchant_name="Tea", email="ada@tea.example", name="Ada", password=password
    )

    assert accounts.authenticate(database, " ADA@Tea.example ", password) == user_id
    assert accounts.authenticate(database, "ada@tea.example", password + "z") is None
    assert accounts.authenticate(database, "ada@tea.example", password[:-1]) is None


def test_passwords_are_kept_as_argon2id(database: Database, ada: UUID) -> None:
    with database.read() as db:
        kept = db.execute(select(t.user_account.c.password_hash)).scalar_one()

    assert kept.startswith("$argon2id$v=19$m=32768,t=3,p=1$")
    assert "teapots" not in kept


def test_a_weaker_hash_of_an_earlier_version_is_replaced_at_sign_in(database: Database, ada: UUID) -> None:
    weak = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
    with database.write() as db:
        db.execute(update(t.user_account).values(password_hash=weak))

    assert accounts.authenticate(database, "ada@tea.example", "not the password") is None
    with database.read() as db:
        assert db.execute(select(t.user_account.c.password_hash)).scalar_one() == weak
    assert accounts.authenticate(database, "ada@tea.example", PASSWORD) == ada
    with database.read() as db:
        assert "m=32768" in db.execute(select(t.user_account.c.password_hash)).scalar_one()
    assert accounts.authenticate(database, "ada@tea.example", PASSWORD) == ada


def test_an_address_nobody_has_costs_as_much_as_a_wrong_password(
    database: Database, ada: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[str] = []

    class Watched(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # type: ignore[override]
            compared.append(str(hash).rsplit("$", 2)[0])
            return super().verify(hash, password)

    monkeypatch.setattr(accounts, "_hasher", Watched(time_cost=3, memory_cost=32 * 1024, parallelism=1))

    assert accounts.authenticate(database, "ada@tea.example", "wrong") is None
    assert accounts.authenticate(database, "nobody@tea.example", "wrong") is None

    assert compared == ["$argon2id$v=19$m=32768,t=3,p=1"] * 2


def test_so_many_hashes_at_once_and_no_more(database: Database, ada: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "_HASHING_PATIENCE", 0.05)
    held = [accounts._hashing.acquire(blocking=False) for _ in range(4)]
    assert all(held)
    try:
        with pytest.raises(accounts.Busy, match="Try again"):
            accounts.authenticate(database, "ada@tea.example", PASSWORD)
    finally:
        for _ in held:
            accounts._hashing.release()

    assert accounts.authenticate(database, "ada@tea.example", PASSWORD) == ada


def test_resetting_a_password_ends_every_session_of_that_person_alone(database: Database, ada: UUID) -> None:
    merchant_id = only_merchant(database)
    joan = accounts.create_user(
        database, merchant_id, email="joan@tea.example", name="Joan", password=PASSWORD, role="manager"
    )
    of_ada = [accounts.open_session(database, ada, "a") or "" for _ in range(2)]
    of_joan = accounts.open_session(database, joan, "b") or ""

    accounts.reset_password(database, "ADA@tea.example", "seven loud blue kettles")

    assert [seen(database, token) for token in of_ada] == [None, None]
    assert seen(database, of_joan)
    assert accounts.authenticate(database, "ada@tea.example", PASSWORD) is None
    assert accounts.authenticate(database, "ada@tea.example", "seven loud blue kettles") == ada


def test_an_address_can_be_taken_only_once(database: Database, ada: UUID) -> None:
    merchant_id = only_merchant(database)

    with pytest.raises(Conflict, match=r"ada@tea\.example already"):
        accounts.create_user(
            database, merchant_id, email=" Ada@TEA.example", name="", password=PASSWORD, role="manager"
        )
    with pytest.raises(BadInput, match="There is no role “king”"):
        accounts.create_user(database, merchant_id, email="x@y", name="", password=PASSWORD, role="king")
    with pytest.raises(BadInput, match="no such merchant"):
        accounts.create_user(database, new_id(), email="x@y", name="", password=PASSWORD, role="manager")
    assert count(database, t.user_account) == 1


@pytest.mark.parametrize("email", ["", "ada", "a b@c", "@", "ada@\x00x", "x" * 320 + "@y"])
def test_refuses_what_is_no_address(database: Database, email: str) -> None:
    token = accounts.issue_setup_token(database) or ""

    with pytest.raises(BadInput) as caught:
        accounts.set_up(database, token, merchant_name="Tea", email=email, name="Ada", password=PASSWORD)

    assert list(caught.value.fields) == ["email"]


# ---------------------------------------------------------------- sessions


def test_a_session_ends_when_it_lies_idle_or_grows_old(database: Database, ada: UUID) -> None:
    idle = accounts.open_session(database, ada, "") or ""
    assert seen(database, idle)
    move_back(database, t.session, "last_seen_at", timedelta(days=3, seconds=1))
    assert seen(database, idle) is None

    used = accounts.open_session(database, ada, "") or ""
    move_back(database, t.session, "last_seen_at", timedelta(days=2, hours=23))
    accounts.keep_alive(database, used)
    move_back(database, t.session, "last_seen_at", timedelta(days=2, hours=23))
    assert seen(database, used)
    move_back(database, t.session, "expires_at", timedelta(days=30, seconds=1))
    accounts.keep_alive(database, used)
    assert seen(database, used) is None

    accounts.open_session(database, ada, "")
    assert count(database, t.session) == 1  # those that have ended are swept away


def test_only_the_hash_of_a_session_is_kept(database: Database, ada: UUID) -> None:
    token = accounts.open_session(database, ada, "Firefox") or ""

    with database.read() as db:
        row = db.execute(select(t.session)).one()
    assert token not in str(tuple(row))
    assert seen(database, row.token_sha256) is None


def test_somebody_who_may_not_sign_in_any_more_is_out_at_once(database: Database, ada: UUID) -> None:
    token = accounts.open_session(database, ada, "") or ""
    with database.write() as db:
        db.execute(update(t.user_account).values(disabled_at=database.now(db)))

    assert seen(database, token) is None
    assert accounts.authenticate(database, "ada@tea.example", PASSWORD) is None

    with database.write() as db:
        db.execute(update(t.user_account).values(disabled_at=None))
    assert seen(database, token)


def test_somebody_who_works_for_nobody_gets_no_session(database: Database, ada: UUID) -> None:
    with database.write() as db:
        now = database.now(db)
        lone = new_id()
        db.execute(
            insert(t.user_account).values(
                id=lone, email="lone@tea.example", password_hash="", created_at=now, password_changed_at=now
            )
        )

    assert accounts.open_session(database, lone, "") is None


def only_merchant(database: Database) -> UUID:
    with database.read() as db:
        found: UUID = db.execute(select(t.merchant.c.id)).scalar_one()
    return found
