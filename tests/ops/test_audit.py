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

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


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


class Shop:
    """A merchant with one healthy order of three units, two allocated and one on backorder; ids for what is planted."""

    def __init__(self, connection: Connection, keyring: KeyRing) -> None:
        self.merchant, self.channel, self.place, self.sku, self.listing = (new_id() for _ in range(5))
        self.order, self.line, self.effect, self.inbox = (new_id() for _ in range(4))
        of_merchant = {"merchant_id": self.merchant}
        self.rows: list[tuple[Table, dict[str, Any]]] = [
            (t.merchant, {"id": self.merchant, "name": "Corner Shop", "created_at": NOON}),
            (
                t.user_account,
                {"id": self.channel, "email": "a@b.example", "created_at": NOON, "password_changed_at": NOON},
            ),
            (t.membership, of_merchant | {"user_id": self.channel, "role": "owner"}),
            (t.connection, of_merchant | self._channel(keyring)),
            (t.location, of_merchant | {"id": self.place, "name": "Main", "created_at": NOON}),
            (
                t.channel_location,
                of_merchant | {"connection_id": self.channel, "external_id": "", "location_id": self.place},
            ),
            (t.sku, of_merchant | {"id": self.sku, "code": "MUG", "created_at": NOON}),
            (t.listing, of_merchant | self._listing()),
            (t.stock_level, of_merchant | self._place() | {"on_hand": 2, "allocated": 2, "updated_at": NOON}),
            (t.stock_entry, of_merchant | self._entry("adopted", on_hand=2)),
            (t.stock_entry, of_merchant | self._entry("allocated", allocated=2)),
            (t.publication, of_merchant | self._publication()),
            (t.sales_order, of_merchant | self._order()),
            (t.order_line, of_merchant | self._line()),
            (t.allocation, of_merchant | self._place() | {"order_line_id": self.line, "quantity": 2}),
            (t.backorder, of_merchant | {"order_line_id": self.line, "sku_id": self.sku, "quantity": 1, "since": NOON}),
            (t.inbox, of_merchant | self.record()),
            (
                t.inbox_body,
                of_merchant | {"inbox_id": self.inbox, "body": keyring.pack(b"{}", ""), "received_at": NOON},
            ),
            (t.effect, of_merchant | self._effect()),
        ]
        for table, row in self.rows:
            connection.execute(insert(table).values(**row))

    def _channel(self, keyring: KeyRing) -> dict[str, Any]:
        sealed = keyring.encrypt(b"{}", "somewhere")
        return {
            "id": self.channel,
            "connector": "woocommerce",
            "state": "connected",
            "settings": {},
            "secrets": sealed,
            "created_at": NOON,
        }

    def _listing(self) -> dict[str, Any]:
        return {
            "id": self.listing,
            "connection_id": self.channel,
            "external_id": "7",
            "sku_id": self.sku,
            "handles": {},
            "imported_at": NOON,
        }

    def _place(self) -> dict[str, Any]:
        return {"sku_id": self.sku, "location_id": self.place}

    def _entry(self, cause: str, *, on_hand: int = 0, allocated: int = 0) -> dict[str, Any]:
        amounts = {"on_hand_delta": on_hand, "allocated_delta": allocated}
        return self._place() | amounts | {"id": new_id(), "cause": cause, "reference": "first", "at": NOON}

    def _publication(self) -> dict[str, Any]:
        return {"listing_id": self.listing, "location_external_id": "", "connection_id": self.channel}

    def _order(self) -> dict[str, Any]:
        money = {"total_minor": 3499, "lines_minor": 3000, "shipping_minor": 490, "tax_minor": 100}
        return money | {
            "id": self.order,
            "connection_id": self.channel,
            "external_id": "100",
            "number": "100",
            "status": "open",
            "version": NOON,
            "content_sha256": "c" * 64,
            "received_at": NOON,
            "holds_stock": True,
            "discount_minor": 100,
            "fees_minor": 10,
            "rounding_minor": -1,
            "shipping_address": {},
            "billing_address": {},
            "imported_at": NOON,
            "updated_at": NOON,
        }

    def _line(self) -> dict[str, Any]:
        return {
            "id": self.line,
            "order_id": self.order,
            "external_id": "1",
            "sku_id": self.sku,
            "quantity": 5,
            "fulfilled": 1,
            "removed": 1,
            "shipped": 1,
            "unit_price": "10.00",
            "total_minor": 3000,
        }

    def record(self, **changed: Any) -> dict[str, Any]:
        return {
            "id": self.inbox,
            "connection_id": self.channel,
            "source": "webhook",
            "topic": "order.updated",
            "external_id": "100",
            "dedupe_key": "first",
            "body_sha256": "b" * 64,
            "headers": {},
            "received_at": NOON,
            "state": "done",
        } | changed

    def _effect(self) -> dict[str, Any]:
        return {
            "id": self.effect,
            "connection_id": self.channel,
            "kind": "subscribe_webhooks",
            "ordering_key": "subscription",
            "effect_key": self.effect,
            "request": {},
            "state": "in_flight",
            "fence": 1,
            "lease_until": NOON,
            "due_at": NOON,
            "created_at": NOON,
        }

    def copy(self, connection: Connection, table: Table, **changed: Any) -> None:
        """The first row of the table once more, but for what is changed."""
        row = next(row for each, row in self.rows if each is table)
        connection.execute(insert(table).values(**(row | changed)))

    def add(self, connection: Connection, table: Table, **row: Any) -> None:
        connection.execute(insert(table).values(**({"merchant_id": self.merchant} | row)))

    def move(self, connection: Connection, *, on_hand: int = 0, allocated: int = 0) -> None:
        """Change the balance, and the ledger with it."""
        level = t.stock_level.c
        balance = {"on_hand": level.on_hand + on_hand, "allocated": level.allocated + allocated}
        connection.execute(update(t.stock_level).values(**balance))
        entry = self._entry("adjusted", on_hand=on_hand, allocated=allocated)
        self.add(connection, t.stock_entry, **(entry | {"reference": "planted"}))


Planted = Callable[[Connection, Shop], object]


def _set(table: Table, **values: Any) -> Planted:
    return lambda connection, shop: connection.execute(update(table).values(**values))


def _dropped_but_held(connection: Connection, shop: Shop) -> None:
    connection.execute(update(t.order_line).values(present=False))
    connection.execute(update(t.sales_order).values(lines_minor=0, rounding_minor=2999))


def _listed_elsewhere(connection: Connection, shop: Shop) -> None:
    other = new_id()
    shop.copy(connection, t.connection, id=other)
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
