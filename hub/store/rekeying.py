"""What the database keeps encrypted, which place each value is bound to, and how all of it comes under a new key."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Row, and_, func, literal, select, tuple_, update

from hub.store import tables as t
from hub.store.backup import Progress
from hub.store.database import Database
from hub.store.secrets import KeyRing, SecretsUnreadable

_AT_ONCE = 50  # rows in a commit: a body may be large, and nobody should wait for them


@dataclass(frozen=True, slots=True)
class Sealed:
    """A column of encrypted values; ``place`` says which place the value in a row is bound to."""

    column: Column[Any]
    place: Callable[[Row[Any]], str]

    @property
    def name(self) -> str:
        return f"{self.column.table.name}.{self.column.name}"


def _bound(column: Column[Any], key: str = "id") -> Sealed:
    table = column.table.name
    return Sealed(column, lambda row: f"{table}:{row.merchant_id}:{row._mapping[key]}:{column.name}")


def _of_a_token(column: Column[Any]) -> Sealed:
    return Sealed(
        column, lambda row: f"connection_token:{row.merchant_id}:{row.connection_id}/{row.name}:{column.name}"
    )


def _asked_of_a_task(row: Row[Any]) -> str:
    # A check carries the credentials that become those of its connection.
    own = f"task:{row.merchant_id}:{row.connection_id}:{row.kind}"
    return f"connection:{row.merchant_id}:{row.connection_id}:secrets" if row.kind == "check" else own


# What a task found is not among them: it is forgotten after a day, and asking again is cheaper than keeping it.
SEALED: Sequence[Sealed] = (
    Sealed(t.user_account.c.totp_secret, lambda row: f"user_account:{row.id}:totp_secret"),
    _bound(t.connection.c.secrets),
    _of_a_token(t.connection_token.c.value),
    _of_a_token(t.connection_token.c.refresh),
    _bound(t.authorization.c.settings),
    _bound(t.privacy_request.c.subject),
    _bound(t.inbox_body.c.body, "inbox_id"),
    Sealed(t.task.c.request, _asked_of_a_task),
    _bound(t.document.c.content),
    _bound(t.exchange.c.details),
)


def needing(connection: Connection, keyring: KeyRing) -> Mapping[str, int]:
    """How many values need each of the keys that only decrypt, by the key's id."""
    later = list(zip(keyring.key_ids, keyring.openings, strict=True))[1:]
    return {
        key_id: sum(
            connection.execute(
                select(func.count()).select_from(each.column.table).where(_begins(each.column, opening))
            ).scalar_one()
            for each in SEALED
        )
        for key_id, opening in later
    }


def rotate(database: Database, keyring: KeyRing, progress: Progress) -> Sequence[str]:
    """Encrypt with the first key whatever is not; returns the places of what could not be read, which stays as it is.

    A few rows are one commit. Stopped anywhere, it goes on with what is left. The hub may be running: a value that
    changes meanwhile is left alone, as whoever changes it encrypts it with the first key.
    """
    return [place for each in SEALED for place in _rotate(database, keyring, each, progress)]


def _rotate(database: Database, keyring: KeyRing, sealed: Sealed, progress: Progress) -> Sequence[str]:
    others = and_(sealed.column.is_not(None), ~_begins(sealed.column, keyring.openings[0]))
    with database.read() as connection:
        total = connection.execute(select(func.count()).select_from(sealed.column.table).where(others)).scalar_one()
    done, unreadable = 0, list[str]()
    last: Row[Any] | None = None
    while rows := _some(database, sealed, others, last):
        fresh: list[tuple[Row[Any], bytes]] = []
        for row in rows:
            place, value = sealed.place(row), row._mapping[sealed.column.name]
            try:
                fresh.append((row, keyring.encrypt(keyring.decrypt(value, place), place)))
            except SecretsUnreadable:
                unreadable.append(place)
        with database.write() as connection:
            for row, value in fresh:
                _replace(connection, sealed, row, value)
        done, last = done + len(rows), rows[-1]
        progress(sealed.name, done, max(done, total))
    return unreadable


def _some(database: Database, sealed: Sealed, others: ColumnElement[bool], last: Row[Any] | None) -> Sequence[Row[Any]]:
    """The next rows behind ``last``: what cannot be read would otherwise be looked at again and again."""
    key = tuple(sealed.column.table.primary_key.columns)
    query = select(sealed.column.table).where(others).order_by(*key).limit(_AT_ONCE)
    if last is not None:
        behind = tuple_(*(literal(last._mapping[each.name], each.type) for each in key))
        query = query.where(tuple_(*key) > behind)
    with database.read() as connection:
        return connection.execute(query).all()


def _replace(connection: Connection, sealed: Sealed, row: Row[Any], value: bytes) -> None:
    table = sealed.column.table
    this_row = (each == row._mapping[each.name] for each in table.primary_key.columns)
    unchanged = sealed.column == row._mapping[sealed.column.name]
    connection.execute(update(t.metadata.tables[table.name]).where(*this_row, unchanged).values({sealed.column: value}))


def _begins(column: Column[Any], opening: bytes) -> ColumnElement[bool]:
    return func.substr(column, 1, len(opening)) == opening
