"""Tokens of a connection: encrypted, renewed early, obtained by one worker at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from hub.connector import Token
from hub.errors import AuthError, Unavailable
from hub.store import tables as t
from hub.store.database import Database
from hub.store.secrets import KeyRing, SecretsUnreadable, new_key
from hub.store.vault import Vault


class Issuer:
    """A vendor that hands out tokens t1, t2, …, each good for an hour; or fails with ``error``."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self.handed_out = 0
        self.error: Exception | None = None

    def __call__(self) -> Token:
        if self.error:
            raise self.error
        self.handed_out += 1
        return Token(f"t{self.handed_out}", self.clock() + timedelta(hours=1))


@pytest.fixture
def issuer(clock: Any) -> Issuer:
    return Issuer(clock)


@pytest.fixture
def vault(database: Database, keyring: KeyRing, merchant: UUID, connection_id: UUID, clock: Any) -> Vault:
    return Vault(database, keyring, merchant, connection_id, now=clock)


def test_obtains_a_token_once_and_keeps_it(vault: Vault, issuer: Issuer) -> None:
    assert [vault.token("access", issuer) for _ in range(3)] == ["t1", "t1", "t1"]
    assert issuer.handed_out == 1


def test_keeps_it_encrypted_and_bound_to_its_row(vault: Vault, issuer: Issuer, database: Database) -> None:
    vault.token("access", lambda: Token("shpat_in_clear"))

    with database.read() as connection:
        (stored,) = connection.execute(select(t.connection_token.c.value)).scalars()
    assert b"shpat" not in stored


def test_a_token_without_an_end_is_kept_for_good(vault: Vault, issuer: Issuer, clock: Any) -> None:
    assert vault.token("access", lambda: Token("for ever")) == "for ever"
    clock.advance(days=4000)

    assert vault.token("access", issuer) == "for ever"


def test_renews_it_shortly_before_it_ends(vault: Vault, issuer: Issuer, clock: Any) -> None:
    vault.token("access", issuer)
    clock.advance(minutes=57)
    assert vault.token("access", issuer) == "t1"

    clock.advance(minutes=2)

    assert vault.token("access", issuer) == "t2"


def test_goes_on_with_a_token_that_is_still_good_while_the_issuer_is_away(
    vault: Vault, issuer: Issuer, clock: Any
) -> None:
    vault.token("access", issuer)
    clock.advance(minutes=59)
    issuer.error = Unavailable("away")
    assert vault.token("access", issuer) == "t1"

    clock.advance(minutes=2)  # now it has ended
    with pytest.raises(Unavailable):
        vault.token("access", issuer)

    issuer.error = None
    assert vault.token("access", issuer) == "t2"


def test_replaces_a_refused_token_once_for_all_who_were_refused(vault: Vault, issuer: Issuer) -> None:
    vault.token("access", issuer)

    assert vault.token("access", issuer, refused="t1") == "t2"
    assert vault.token("access", issuer, refused="t1") == "t2"
    assert issuer.handed_out == 2


def test_credentials_that_are_refused_reach_the_caller_and_leave_the_lease_free(vault: Vault, issuer: Issuer) -> None:
    issuer.error = AuthError("wrong key")
    with pytest.raises(AuthError):
        vault.token("access", issuer)

    issuer.error = None
    assert vault.token("access", issuer) == "t1"


def test_many_at_once_obtain_one_token(
    database: Database, keyring: KeyRing, merchant: UUID, connection_id: UUID, issuer: Issuer, clock: Any
) -> None:
    at_once: list[int] = []
    most: list[int] = []

    def slow() -> Token:
        at_once.append(1)
        most.append(len(at_once))
        threading.Event().wait(0.15)
        at_once.pop()
        return issuer()

    got: list[str] = []

    def work() -> None:
        got.append(Vault(database, keyring, merchant, connection_id, now=clock).token("access", slow))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert got == ["t1"] * 6
    assert (issuer.handed_out, max(most)) == (1, 1)


def test_does_not_wait_for_a_renewal_while_the_old_token_is_good(
    database: Database, keyring: KeyRing, merchant: UUID, connection_id: UUID, vault: Vault, issuer: Issuer, clock: Any
) -> None:
    vault.token("access", issuer)
    clock.advance(minutes=59)
    renewing, go_on = threading.Event(), threading.Event()

    def slow() -> Token:
        renewing.set()
        go_on.wait(10)
        return issuer()

    thread = threading.Thread(target=vault.token, args=("access", slow))
    thread.start()
    renewing.wait(10)

    assert vault.token("access", issuer) == "t1"

    go_on.set()
    thread.join()
    assert vault.token("access", issuer) == "t2"
    assert issuer.handed_out == 2


def test_one_that_lost_its_lease_does_not_overwrite_the_newer_token(vault: Vault, issuer: Issuer, change: Any) -> None:
    def slow() -> Token:
        change(t.lease, until=datetime.min.replace(year=2000, tzinfo=issuer.clock().tzinfo))
        assert vault.token("access", lambda: Token("newer")) == "newer"
        return Token("older")

    assert vault.token("access", slow) == "older"

    assert vault.token("access", issuer) == "newer"


def test_says_which_key_is_missing(
    vault: Vault, issuer: Issuer, database: Database, merchant: UUID, connection_id: UUID, clock: Any
) -> None:
    vault.token("access", issuer)

    with pytest.raises(SecretsUnreadable, match="not among the secret keys"):
        Vault(database, KeyRing([new_key()]), merchant, connection_id, now=clock).token("access", issuer)
    assert vault.token("access", issuer) == "t1"
