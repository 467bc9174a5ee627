"""Many rows at once: what COPY and INSERT leave in a table is the same, and so is what they refuse."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Column, MetaData, String, Table, insert, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from hub.store import tables as t
from hub.store.bulk import insert_rows
from hub.store.database import Broken, Database, DatabaseAway, among, new_id

NOON = datetime(2026, 3, 2, 12, 0, 0, 123456, tzinfo=UTC)


def notes(merchant: UUID, count: int, **more: Any) -> list[dict[str, Any]]:
    """Lines of the activity log, with whatever a column may hold."""
    texts = ["plain", "", "tab\t and \\N and \n newline", "“Zoë” 😀", "\u0001"]
    details: list[Any] = [None, {}, {"a": [1, None, "x"]}, {"é": 1.5}, {"deep": {"er": True}}]
    return [
        {
            "merchant_id": merchant,
            "id": new_id(),
            "at": NOON,
            "kind": "note",
            "connection_id": None,
            "summary": texts[number % 5],
            "details": details[number % 5],
        }
        | more
        for number in range(count)
    ]


def stored(database: Database, table: Any = t.activity) -> list[dict[str, Any]]:
    with database.read() as connection:
        return [dict(row._mapping) for row in connection.execute(select(table).order_by(*table.primary_key))]


@pytest.mark.parametrize("count", [0, 1, 4, 5, 700])
def test_many_rows_are_what_an_insert_of_each_leaves(database: Database, merchant: UUID, count: int) -> None:
    rows = notes(merchant, count)
    with database.write() as connection:
        insert_rows(connection, t.activity, rows)
    copied = stored(database)

    with database.write() as connection:
        connection.execute(t.activity.delete())
        for row in rows:
            connection.execute(insert(t.activity), row)

    assert copied == stored(database)
    assert len(copied) == count
    assert all(each["actor"] == "" for each in copied), "a column that is left out has its default"


def test_every_type_of_column_goes_through(database: Database, merchant: UUID) -> None:
    shop = new_id()
    with database.write() as connection:
        connection.execute(
            insert(t.connection).values(
                merchant_id=merchant, id=shop, connector="tea", state="connected", settings={}, created_at=NOON
            )
        )
        orders = [
            {
                "merchant_id": merchant,
                "id": new_id(),
                "connection_id": shop,
                "external_id": str(number),
                "status": "open",
                "received_at": NOON,
                "imported_at": NOON,
                "updated_at": NOON,
                "placed_at": None,
                "holds_stock": number % 2 == 0,
                "revision": number + 1,
                "total_minor": 2**40 + number,
                "shipping_address": {"city": "Tromsø"},
                "billing_address": {},
            }
            for number in range(6)
        ]
        insert_rows(connection, t.sales_order, orders)
        inbox = [
            {
                "merchant_id": merchant,
                "id": new_id(),
                "connection_id": shop,
                "source": "poll",
                "topic": "order",
                "dedupe_key": str(number),
                "body_sha256": "",
                "headers": {},
                "received_at": NOON,
            }
            for number in range(6)
        ]
        insert_rows(connection, t.inbox, [row | {"state": "pending"} for row in inbox])
        bodies = [
            {"merchant_id": merchant, "inbox_id": row["id"], "body": bytes(range(256)), "received_at": NOON}
            for row in inbox
        ]
        insert_rows(connection, t.inbox_body, bodies)

    kept = stored(database, t.sales_order)
    for row, written in zip(kept, orders, strict=True):
        assert {name: row[name] for name in written} == written
        assert (row["currency"], row["lines_minor"], row["paid"], row["whole"]) == ("", 0, True, True)
    assert stored(database, t.inbox_body) == bodies


def test_what_the_tables_refuse_is_refused_and_nothing_stays(database: Database, merchant: UUID) -> None:
    rows = notes(merchant, 8)
    rows[7] = rows[0]
    with pytest.raises(IntegrityError), database.write() as connection:
        insert_rows(connection, t.activity, rows)
    with pytest.raises(IntegrityError), database.write() as connection:
        insert_rows(connection, t.activity, notes(new_id(), 8))  # of no merchant
    with pytest.raises(DBAPIError), database.write() as connection:
        insert_rows(connection, t.activity, [row | {"kind": None} for row in notes(merchant, 8)])
    assert stored(database) == []

    with database.write() as connection:
        insert_rows(connection, t.activity, rows[:7])
    assert len(stored(database)) == 7, "the same database goes on"


def test_a_name_that_is_no_column_is_a_mistake(database: Database, merchant: UUID) -> None:
    with pytest.raises(Exception, match="colour"), database.write() as connection:
        insert_rows(connection, t.activity, [row | {"colour": "red"} for row in notes(merchant, 8)])
    assert stored(database) == []


def test_an_older_schema_is_no_fault_of_the_rows(database: Database, merchant: UUID) -> None:
    newer = Table("activity", MetaData(), *[column._copy() for column in t.activity.columns], Column("mood", String))
    with pytest.raises(DatabaseAway, match="Run “hub db upgrade”"), database.write() as connection:
        insert_rows(connection, newer, [row | {"mood": "fine"} for row in notes(merchant, 8)])
    with pytest.raises(DatabaseAway, match="Run “hub db upgrade”"), database.read() as connection:
        connection.execute(select(newer.c.mood))
    with pytest.raises(DatabaseAway), database.read() as connection:
        connection.execute(select(Table("moods", MetaData(), Column("id", String))))


def test_a_transaction_that_is_started_again_copies_again(database: Database, merchant: UUID) -> None:
    tries: list[int] = []

    def work(connection: Any) -> None:
        insert_rows(connection, t.activity, notes(merchant, 10))
        tries.append(1)
        if len(tries) < 3:
            raise Broken("Somebody was faster.")

    database.transact(work)

    assert (len(tries), len(stored(database))) == (3, 10)


def test_rows_are_found_among_many_values_of_any_type(database: Database, merchant: UUID) -> None:
    rows = notes(merchant, 12)
    with database.write() as connection:
        insert_rows(connection, t.activity, rows)
        wanted = [row["id"] for row in rows[:9]]
        found = connection.execute(select(t.activity.c.id).where(among(connection, t.activity.c.id, wanted)))
        assert set(found.scalars()) == set(wanted)
        texts = select(t.activity.c.id).where(among(connection, t.activity.c.summary, ["plain", "“Zoë” 😀"]))
        assert len(connection.execute(texts).all()) == 5
        assert connection.execute(select(t.activity.c.id).where(among(connection, t.activity.c.id, []))).all() == []
