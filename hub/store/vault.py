"""Short-lived tokens of a connection: kept encrypted, shared by all workers, obtained by one of them at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, delete, select

from hub.connector import Token
from hub.errors import Unavailable
from hub.store import tables as t
from hub.store.database import Database, Lease, LeaseLost, upsert
from hub.store.secrets import KeyRing

_REFRESH_BEFORE_END = timedelta(minutes=2)
_LEASE_SECONDS = 60.0  # longer than obtaining takes: the HTTP client gives up after 25
_LONGEST_WAIT = 45.0


class Vault:
    """The TokenVault of one connection, on the table connection_token.

    While one worker obtains a token the others wait for it, or go on with the old one if it is still good. ``now`` is
    compared with the moments at which tokens expire.
    """

    def __init__(
        self,
        database: Database,
        keyring: KeyRing,
        merchant_id: UUID,
        connection_id: UUID,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._merchant_id = merchant_id
        self._connection_id = connection_id
        self._now = now

    def kept(self, name: str) -> Token | None:
        """The token ``name`` as it was kept last, expired or not."""
        this = t.connection_token.c
        with self._database.read() as connection:
            row = connection.execute(
                select(t.connection_token).where(
                    this.merchant_id == self._merchant_id,
                    this.connection_id == self._connection_id,
                    this.name == name,
                )
            ).one_or_none()
        if row is None:
            return None

        def opened(column: str, sealed: bytes) -> str:
            place = _place(self._merchant_id, self._connection_id, name, column)
            return self._keyring.decrypt(sealed, place).decode()

        return Token(
            opened("value", row.value),
            row.expires_at,
            "" if row.refresh is None else opened("refresh", row.refresh),
            row.refresh_expires_at,
        )

    def token(self, name: str, obtain: Callable[[], Token], *, refused: str | None = None) -> str:
        """The valid token ``name``; calls ``obtain`` when there is none, when it is about to expire, or when the kept
        one equals ``refused``. Whatever ``obtain`` raises goes to the caller, unless the kept token is still good."""
        give_up = time.monotonic() + _LONGEST_WAIT
        pause = 0.02
        while True:
            kept = self._usable(name, refused)
            if kept is not None and not self._ends_soon(kept):
                return kept.value
            # One lease for all names: many vendors hand out a token only together with its successor.
            lease = self._database.lease(f"token:{self._merchant_id}:{self._connection_id}", _LEASE_SECONDS)
            if lease is not None:
                try:
                    return self._obtain(name, obtain, refused, lease)
                finally:
                    self._database.release(lease)
            if kept is not None:
                return kept.value
            if time.monotonic() > give_up:
                raise Unavailable("Another worker has been renewing the token for too long. Trying again.", sent=False)
            time.sleep(pause)
            pause = min(0.5, pause * 1.5)

    def _obtain(self, name: str, obtain: Callable[[], Token], refused: str | None, lease: Lease) -> str:
        kept = self._usable(name, refused)  # somebody may have been here just before us
        if kept is not None and not self._ends_soon(kept):
            return kept.value
        try:
            token = obtain()
        except Exception:
            if kept is not None:
                return kept.value  # still good for a while; the next call tries to renew it again
            raise
        self._keep(name, token, lease)
        return token.value

    def _usable(self, name: str, refused: str | None) -> Token | None:
        """The stored token, if it can still be used."""
        token = self.kept(name)
        if token is None or token.value == refused:
            return None
        return token if token.expires_at is None or token.expires_at > self._now() else None

    def _keep(self, name: str, token: Token, lease: Lease) -> None:
        try:
            with self._database.write() as connection:
                # Not if somebody took over meanwhile: theirs is newer, and ours may be void by now.
                self._database.hold(connection, lease)
                _store(connection, self._keyring, self._merchant_id, self._connection_id, {name: token})
        except LeaseLost:
            return

    def _ends_soon(self, token: Token) -> bool:
        return token.expires_at is not None and token.expires_at - self._now() < _REFRESH_BEFORE_END


def replace(
    connection: Connection, keyring: KeyRing, merchant_id: UUID, connection_id: UUID, tokens: Mapping[str, Token]
) -> None:
    """Let a connection have these tokens and no others, in the caller's transaction: those its new settings gave."""
    this = t.connection_token.c
    connection.execute(
        delete(t.connection_token).where(this.merchant_id == merchant_id, this.connection_id == connection_id)
    )
    _store(connection, keyring, merchant_id, connection_id, tokens)


def _store(
    connection: Connection, keyring: KeyRing, merchant_id: UUID, connection_id: UUID, tokens: Mapping[str, Token]
) -> None:
    for name, token in sorted(tokens.items()):

        def sealed(column: str, value: str, name: str = name) -> bytes:
            return keyring.encrypt(value.encode(), _place(merchant_id, connection_id, name, column))

        kept = {
            "value": sealed("value", token.value),
            "expires_at": token.expires_at,
            # In the row of the token that came with it: of a rotating pair neither is of use without the other.
            "refresh": sealed("refresh", token.refresh_token) if token.refresh_token else None,
            "refresh_expires_at": token.refresh_expires_at,
        }
        row = upsert(connection, t.connection_token).values(
            merchant_id=merchant_id, connection_id=connection_id, name=name, **kept
        )
        connection.execute(
            row.on_conflict_do_update(
                index_elements=["merchant_id", "connection_id", "name"],
                set_={column: row.excluded[column] for column in kept},
            )
        )


def _place(merchant_id: UUID, connection_id: UUID, name: str, column: str) -> str:
    return f"connection_token:{merchant_id}:{connection_id}/{name}:{column}"
