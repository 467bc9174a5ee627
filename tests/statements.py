"""What a test finds out about the statements that the database is sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import event

from hub.store.database import Database


class Statement(NamedTuple):
    """One statement; many rows that are sent with it are one."""

    text: str
    parameters: Any

    @property
    def verb(self) -> str:
        """Its first word, such as SELECT."""
        return self.text.split(maxsplit=1)[0].upper()


@contextmanager
def statements(database: Database) -> Iterator[list[Statement]]:
    """Everything the database is sent meanwhile, the beginnings and ends of transactions not among it."""
    sent: list[Statement] = []

    def hear(_connection: Any, _cursor: Any, text: str, parameters: Any, *_: Any) -> None:
        statement = Statement(text, parameters)
        if statement.verb not in _AROUND:
            sent.append(statement)

    event.listen(database.engine, "before_cursor_execute", hear)
    try:
        yield sent
    finally:
        event.remove(database.engine, "before_cursor_execute", hear)


_AROUND = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "PRAGMA")


def plans(database: Database, sent: list[Statement]) -> list[str]:
    """How SQLite looks up what these statements ask for, a line for each table, whatever is in it."""
    with database.read() as connection:
        return [
            row.detail
            for each in sent
            if each.verb == "SELECT"
            for row in connection.exec_driver_sql(f"explain query plan {each.text}", each.parameters)
        ]
