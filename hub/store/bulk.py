"""Many rows into one table at once: by COPY on PostgreSQL, which costs a fraction of an INSERT per row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any

import psycopg
from psycopg.types.json import Json
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Integer,
    LargeBinary,
    String,
    Table,
    Uuid,
    insert,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.schema import ScalarElementColumnDefault

from hub.store.tables import Moment

_Part = Callable[[Mapping[str, Any]], Any]

_FEW = 4  # up to so many rows an INSERT is as good

# What PostgreSQL calls the types of our columns, the more special ones first.
_TYPES: tuple[tuple[type[Any], str], ...] = (
    (Uuid, "uuid"),
    (Moment, "timestamptz"),
    (JSON, "json"),
    (LargeBinary, "bytea"),
    (Boolean, "bool"),
    (BigInteger, "int8"),
    (Integer, "int4"),
    (String, "text"),
)


def insert_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert ``rows``, which all name the same columns, in the caller's transaction.

    Columns they leave out get their default. Raises what an INSERT raises.
    """
    if not rows:
        return
    if unknown := rows[0].keys() - table.c.keys():
        raise KeyError(f"{table.name} has no column {min(unknown)}.")
    if len(rows) <= _FEW or connection.dialect.name != "postgresql":
        connection.execute(insert(table), list(rows))
        return
    statement, types, parts = _copying(table, tuple(rows[0]))
    driver: Any = connection.connection.cursor()
    try:
        with driver, driver.copy(statement) as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row([part(row) for part in parts])
    except psycopg.Error as error:
        raise DBAPIError.instance(
            statement, None, error, psycopg.Error, hide_parameters=True, dialect=connection.dialect
        ) from error


@cache
def _copying(table: Table, named: tuple[str, ...]) -> tuple[str, list[str], list[_Part]]:
    """The COPY statement for rows with these columns, the types of its columns, and how to take each from a row."""
    columns: list[Column[Any]] = []
    parts: list[_Part] = []
    for column in table.columns:
        if column.name in named:
            columns.append(column)
            parts.append(_json_of(column.name) if isinstance(column.type, JSON) else itemgetter(column.name))
        elif column.server_default is None and isinstance(column.default, ScalarElementColumnDefault):
            columns.append(column)
            parts.append(_always(column.default.arg))
    listed = ", ".join(f'"{column.name}"' for column in columns)
    types = [next(name for kind, name in _TYPES if isinstance(column.type, kind)) for column in columns]
    return f'copy "{table.name}" ({listed}) from stdin (format binary)', types, parts


def _json_of(name: str) -> _Part:
    return lambda row: Json(row[name])  # so that None is JSON's null, as it is in an INSERT


def _always(value: Any) -> _Part:
    return lambda _row: value
