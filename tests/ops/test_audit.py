"""The audit: a healthy hub has no finding, and each invariant notices exactly the one row that breaks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Uuid,
    insert,
    select,
    update,
)

from hub.store import tables as t
from hub.store.audit import audit
from hub.store.database import Database, new_id
from hub.store.secrets import KeyRing, new_key
from tests.ops.shop import NOON, Shop


@pytest.fixture
def unguarded(database: Database) -> Iterator[Database]:
    """The same tables without a single constraint: what a wrong row would need to get in."""
    bare = MetaData()
    for table in t.metadata.sorted_tables:
        columns = (
            Column(
                each.name, each.type, nullable=each.nullable, default=each.default, server_default=each.server_default
            )
            for each in table.columns
        )
        Table(table.name, bare, *columns)
    with database.engine.begin() as connection:
        t.metadata.drop_all(connection)
        bare.create_all(connection)
    yield database
    with database.engine.begin() as connection:
        bare.drop_all(connection)
        t.metadata.create_all(connection)


Planted = Callable[[Connection, Shop], object]


def _set(table: Table, **values: Any) -> Planted:
    return lambda connection, shop: connection.execute(update(table).values(**values))


def _dropped_but_held(connection: Connection, shop: Shop) -> None:
    connection.execute(update(t.order_line).values(present=False))
    connection.execute(update(t.sales_order).values(lines_minor=0, rounding_minor=2999))


def _listed_elsewhere(connection: Connection, shop: Shop) -> None:
    other = new_id()
    shop.copy(connection, t.connection, id=other, secrets=None)
    shop.copy(connection, t.channel_location, connection_id=other)
    connection.execute(update(t.publication).values(connection_id=other))


def _held_of_another_sku(connection: Connection, shop: Shop) -> None:
    other = new_id()
    shop.copy(connection, t.sku, id=other, code="CUP")
    connection.execute(update(t.backorder).values(sku_id=other))


def _belongs_to_somebody_else(connection: Connection, shop: Shop) -> None:
    other = new_id()
    shop.copy(connection, t.merchant, id=other)
    shop.add(connection, t.inbox, **shop.record(merchant_id=other, id=new_id(), external_id=""))


def _under_a_foreign_key(connection: Connection, shop: Shop) -> None:
    connection.execute(update(t.inbox_body).values(body=KeyRing([new_key()]).pack(b"{}", "")))


def _copied_credentials(connection: Connection, shop: Shop) -> None:
    # An attacker who can write to the database gives a connection of theirs the credentials of another one.
    shop.copy(connection, t.connection, id=new_id())


PLANTED: dict[str, tuple[str, Planted]] = {
    "an entry without its balance": (
        "I1",
        lambda c, shop: shop.copy(c, t.stock_entry, id=new_id(), reference="again", on_hand_delta=1),
    ),
    "a balance without its entry": ("I1", _set(t.stock_entry, allocated_delta=0)),
    "more allocated than on hand": ("I2", lambda c, shop: shop.move(c, on_hand=-1)),
    "an allocation that nobody counted": ("I3", lambda c, shop: shop.move(c, on_hand=-1, allocated=-1)),
    "a closed order that holds stock": ("I3b", _set(t.sales_order, holds_stock=False)),
    "a line that holds too little": ("I3b", _set(t.order_line, removed=0)),
    "a dropped line that holds stock": ("I3b", _dropped_but_held),
    "a backorder beside free stock": ("I3c", lambda c, shop: shop.move(c, on_hand=1)),
    "an order that is there twice": (
        "I4",
        lambda c, shop: shop.copy(c, t.sales_order, id=new_id(), lines_minor=0, rounding_minor=2999),
    ),
    "a record that waits for ever": (
        "I5",
        lambda c, shop: shop.add(c, t.inbox, **shop.record(id=new_id(), state="pending")),
    ),
    "a record whose order is missing": (
        "I6",
        lambda c, shop: shop.add(c, t.inbox, **shop.record(id=new_id(), external_id="101")),
    ),
    "an intent with two effects": ("I7", lambda c, shop: shop.copy(c, t.effect, id=new_id(), state="succeeded")),
    "a line that shipped too much": ("I10", _set(t.order_line, shipped=6)),
    "two in flight for one key": ("I11", lambda c, shop: shop.copy(c, t.effect, id=new_id(), effect_key=new_id())),
    "in flight without a lease": ("I11", _set(t.effect, lease_until=None)),
    "in flight without a fence": ("I11", _set(t.effect, fence=0)),
    "a cent too much": ("I12", _set(t.sales_order, rounding_minor=0)),
    "a tax counted twice": ("I12", _set(t.sales_order, taxes_included=True)),
    "a line that lost a cent": ("I12b", _set(t.order_line, total_minor=2999)),
    "a row that points nowhere": ("I14", _set(t.inbox, connection_id=new_id(), external_id="")),
    "a row that points at another merchant's": ("I14", _belongs_to_somebody_else),
    "a publication on the wrong connection": ("I14", _listed_elsewhere),
    "a backorder of the wrong SKU": ("I14", _held_of_another_sku),
    "a secret in plain text": ("I17", _set(t.connection, secrets=b"shpat_in_plain_text")),
    "credentials copied from another connection": ("I17", _copied_credentials),
    "a body under an unknown key": ("I17", _under_a_foreign_key),
}


def broken(database: Database, keyring: KeyRing, **options: Any) -> dict[str, int]:
    return {each.invariant: each.count for each in audit(database, keyring, **options) if each.count}


def test_a_healthy_hub_has_no_finding(database: Database, keyring: KeyRing) -> None:
    with database.write() as connection:
        Shop(connection, keyring)

    findings = audit(database, keyring)

    assert [each.count for each in findings] == [0] * len(findings)
    assert [each.invariant for each in findings] == (
        ["I1", "I2", "I3", "I3b", "I3c", "I4", "I5", "I6", "I7", "I10", "I11", "I12", "I12b", "I14", "I17"]
    )


@pytest.mark.parametrize("what", PLANTED)
def test_notices(what: str, unguarded: Database, keyring: KeyRing) -> None:
    invariant, plant = PLANTED[what]
    with unguarded.write() as connection:
        plant(connection, Shop(connection, keyring))

    assert broken(unguarded, keyring) == {invariant: 1}


def test_every_invariant_has_a_planted_violation(database: Database, keyring: KeyRing) -> None:
    assert {each.invariant for each in audit(database, keyring)} == {invariant for invariant, _ in PLANTED.values()}


def _anything(column: Column[Any]) -> Any:
    for kind, value in (
        (Uuid, new_id()),
        (t.Moment, NOON),
        (JSON, {}),
        (LargeBinary, b""),
        (Integer, 1),
        (Boolean, True),
    ):
        if isinstance(column.type, kind):
            return value
    return "x"


def test_every_foreign_key_is_followed(unguarded: Database, keyring: KeyRing) -> None:
    with unguarded.write() as connection:
        for table in t.metadata.sorted_tables:
            connection.execute(insert(table).values(**{each.name: _anything(each) for each in table.columns}))

    keys = sum(len(table.foreign_key_constraints) for table in t.metadata.sorted_tables)
    assert broken(unguarded, keyring)["I14"] == keys > 30


def test_what_came_in_a_moment_ago_may_still_be_on_its_way(database: Database, keyring: KeyRing) -> None:
    with database.write() as connection:
        shop = Shop(connection, keyring)
        waiting = shop.record(id=new_id(), dedupe_key="second", state="pending", received_at=datetime.now(UTC))
        shop.add(connection, t.inbox, **waiting)

    assert broken(database, keyring) == {}
    assert broken(database, keyring, settle=timedelta(0)) == {"I5": 1}


def test_an_order_the_vendor_does_not_have_need_not_be_here(database: Database, keyring: KeyRing) -> None:
    with database.write() as connection:
        shop = Shop(connection, keyring)
        shop.add(connection, t.inbox, **shop.record(id=new_id(), dedupe_key="x", topic="order.gone", external_id="404"))

    assert broken(database, keyring) == {}


def test_a_finding_names_a_few_of_the_rows(unguarded: Database, keyring: KeyRing) -> None:
    with unguarded.write() as connection:
        shop = Shop(connection, keyring)
        for number in range(7):
            shop.add(connection, t.inbox, **shop.record(id=new_id(), external_id=f"missing-{number}"))

    (finding,) = [each for each in audit(unguarded, keyring) if each.count]

    assert (finding.invariant, finding.count, len(finding.examples)) == ("I6", 7, 5)
    assert all("order.updated missing-" in example for example in finding.examples)


def test_the_audit_writes_nothing(database: Database, keyring: KeyRing) -> None:
    with database.write() as connection:
        Shop(connection, keyring)

    def contents() -> list[Any]:
        with database.read() as connection:
            return [
                connection.execute(select(table).order_by(*table.primary_key)).all()
                for table in t.metadata.sorted_tables
            ]

    before = contents()
    audit(database, keyring)

    assert contents() == before
