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
from hub.store.vault import Vault, replace


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
        go_on.wait(60)
        return issuer()

    thread = threading.Thread(target=vault.token, args=("access", slow))
    thread.start()
    renewing.wait(60)

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


# ---------------------------------------------------------------- tokens that come with their successor's key


class Rotating:
    """A vendor whose refresh tokens r1, r2, … are good for once: the second who sends one is refused."""

    def __init__(self, clock: Callable[[], datetime], vault: Callable[[], Vault]) -> None:
        self.clock, self.vault = clock, vault
        self.calls: list[str] = []

    def __call__(self) -> Token:
        kept = self.vault().kept("access")
        sent = kept.refresh_token if kept is not None else "r0"
        self.calls.append(sent)
        if sent != f"r{len(self.calls) - 1}":
            raise AuthError(f"{sent} was used before.")
        threading.Event().wait(0.02)
        number, now = len(self.calls), self.clock()
        return Token(f"t{number}", now + timedelta(hours=1), f"r{number}", now + timedelta(days=90))


def test_a_refresh_token_is_kept_encrypted_in_the_row_of_its_token(
    database: Database, keyring: KeyRing, merchant: UUID, connection_id: UUID, vault: Vault, clock: Any
) -> None:
    ends = clock() + timedelta(days=90)
    vault.token("access", lambda: Token("shpat_clear", clock() + timedelta(hours=1), "shprt_clear", ends))

    with database.read() as connection:
        row = connection.execute(select(t.connection_token)).one()
    assert b"clear" not in row.value + row.refresh
    assert vault.kept("access") == Token("shpat_clear", clock() + timedelta(hours=1), "shprt_clear", ends)
    with pytest.raises(SecretsUnreadable):  # neither column can stand in for the other
        keyring.decrypt(row.refresh, f"connection_token:{merchant}:{connection_id}/access:value")


def test_what_is_kept_is_told_also_when_it_has_expired(vault: Vault, issuer: Issuer, clock: Any) -> None:
    assert vault.kept("access") is None
    vault.token("access", issuer)
    clock.advance(days=2)

    kept = vault.kept("access")

    assert kept is not None and (kept.value, kept.refresh_token) == ("t1", "")
    assert vault.token("access", issuer) == "t2"


def test_twenty_workers_with_an_expired_token_send_its_refresh_token_once(
    database: Database, keyring: KeyRing, merchant: UUID, connection_id: UUID, clock: Any
) -> None:
    def own_vault() -> Vault:
        return Vault(database, keyring, merchant, connection_id, now=clock)

    vendor = Rotating(clock, own_vault)
    assert own_vault().token("access", vendor) == "t1"
    clock.advance(hours=2)
    got: list[str] = []
    threads = [threading.Thread(target=lambda: got.append(own_vault().token("access", vendor))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert got == ["t2"] * 20
    assert vendor.calls == ["r0", "r1"]
    clock.advance(hours=2)
    assert own_vault().token("access", vendor) == "t3", "and the rotated one was kept"


def test_the_tokens_of_new_settings_take_the_place_of_all_others(
    database: Database, keyring: KeyRing, merchant: UUID, connection_id: UUID, vault: Vault, issuer: Issuer
) -> None:
    vault.token("access", issuer)
    vault.token("old", issuer)

    with database.write() as connection:
        replace(connection, keyring, merchant, connection_id, {"access": Token("new", None, "next")})

    assert vault.kept("access") == Token("new", None, "next")
    assert vault.kept("old") is None


def test_says_which_key_is_missing(
    vault: Vault, issuer: Issuer, database: Database, merchant: UUID, connection_id: UUID, clock: Any
) -> None:
    vault.token("access", issuer)

    with pytest.raises(SecretsUnreadable, match="not among the secret keys"):
        Vault(database, KeyRing([new_key()]), merchant, connection_id, now=clock).token("access", issuer)
    assert vault.token("access", issuer) == "t1"
