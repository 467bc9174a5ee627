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
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Uuid,
    delete,
    insert,
    select,
    update,
)

from hub.store import tables as t
from hub.store.audit import audit
from hub.store.database import Database, new_id
from hub.store.secrets import KeyRing, new_key
from tests.ops.shop import NOON, Shop
from tests.servers import empty_database


@pytest.fixture(scope="module")
def bare() -> MetaData:
    """The same tables without a single constraint or trigger: what a wrong row would need to get in."""
    bare = MetaData()
    for table in t.metadata.sorted_tables:
        columns = (
            Column(
                each.name, each.type, nullable=each.nullable, default=each.default, server_default=each.server_default
            )
            for each in table.columns
        )
        Table(table.name, bare, *columns)
    return bare


@pytest.fixture(scope="module")
def _bare_sqlite(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('bare') / 'hub.db'}"


@pytest.fixture(scope="module")
def _bare_postgresql(_postgres_url: str) -> Iterator[str]:
    with empty_database(_postgres_url, f"bare_{new_id().hex}") as url:
        yield url


# One for all: an engine compiles each question of the audit once.
@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def _bare_database(request: pytest.FixtureRequest, bare: MetaData) -> Iterator[Database]:
    database = Database(request.getfixturevalue(f"_bare_{request.param}"))
    bare.create_all(database.engine)
    yield database
    database.close()


@pytest.fixture
def unguarded(_bare_database: Database, bare: MetaData) -> Database:
    """A database in which any row may stand, empty."""
    with _bare_database.write() as connection:
        for table in bare.tables.values():
            connection.execute(delete(table))
    return _bare_database


Planted = Callable[[Connection, Shop], object]


def _set(table: Table, **values: Any) -> Planted:
    return lambda connection, shop: connection.execute(update(table).values(**values))


def _mugs(table: Table, **values: Any) -> Planted:
    """Change the rows that are about the order of mugs."""

    def plant(connection: Connection, shop: Shop) -> None:
        key, ours = (table.c.id, shop.line) if table is t.order_line else (table.c.order_line_id, shop.line)
        connection.execute(update(table).where(key == ours).values(**values))

    return plant


def _box(table: Table, part: str = "", **values: Any) -> Planted:
    """Change the rows that are about the order of boxes; of one of their parts (mug, tee) only."""

    def plant(connection: Connection, shop: Shop) -> None:
        statement = update(table).where(
            (table.c.id if table is t.order_line else table.c.order_line_id) == shop.box_line
        )
        if part:
            statement = statement.where(table.c.sku_id == {"mug": shop.sku, "tee": shop.tee}[part])
        connection.execute(statement.values(**values))

    return plant


def _barn(**values: Any) -> Planted:
    """Change the balance of the tees in the barn."""
    return lambda connection, shop: connection.execute(
        update(t.stock_level).where(t.stock_level.c.location_id == shop.barn).values(**values)
    )


def _tees(number: int, **values: Any) -> Planted:
    """Change one entry of the tees at the main location."""

    def plant(connection: Connection, shop: Shop) -> None:
        entry = t.stock_entry.c
        here = (entry.sku_id == shop.tee, entry.location_id == shop.place, entry.number == number)
        connection.execute(update(t.stock_entry).where(*here).values(**values))

    return plant


def _crate(part: str, **values: Any) -> Planted:
    """Change what a crate takes off the shelves."""

    def plant(connection: Connection, shop: Shop) -> None:
        leaf = t.kit_leaf.c
        here = (leaf.kit_id == shop.crate, leaf.part_id == {"mug": shop.sku, "tee": shop.tee}[part])
        connection.execute(update(t.kit_leaf).where(*here).values(**values))

    return plant


def _both(*planted: Planted) -> Planted:
    return lambda connection, shop: [plant(connection, shop) for plant in planted]


def _beyond_the_balance(connection: Connection, shop: Shop) -> None:
    place = {"sku_id": shop.sku, "location_id": shop.place, "at": NOON}
    shop.add(
        connection,
        t.stock_entry,
        **place,
        number=3,
        cause="adjusted",
        reference="x",
        on_hand=4,
        allocated=3,
        on_hand_delta=1,
    )


def _entry_deleted(connection: Connection, shop: Shop) -> None:
    entry = t.stock_entry.c
    connection.execute(
        delete(t.stock_entry).where(entry.sku_id == shop.tee, entry.location_id == shop.place, entry.number == 2)
    )


def _sent_to_the_attic(connection: Connection, shop: Shop) -> None:
    attic = new_id()
    shop.copy(connection, t.location, id=attic, name="Attic")
    connection.execute(update(t.stock_document).values(to_location_id=attic))


def _one_order_closed(connection: Connection, shop: Shop) -> None:
    connection.execute(update(t.sales_order).where(t.sales_order.c.id == shop.order).values(holds_stock=False))


def _dropped_but_held(connection: Connection, shop: Shop) -> None:
    connection.execute(update(t.order_line).where(t.order_line.c.id == shop.line).values(present=False))
    mugs = t.sales_order.c.id == shop.order
    connection.execute(update(t.sales_order).where(mugs).values(lines_minor=0, rounding_minor=2999))


def _part_not_awaited(connection: Connection, shop: Shop) -> None:
    connection.execute(delete(t.backorder).where(t.backorder.c.sku_id == shop.tee))


def _one_within_the_other(connection: Connection, shop: Shop) -> None:
    first, second = new_id(), new_id()
    for kit_id, part_id in ((first, second), (second, first)):
        shop.copy(connection, t.sku, id=kit_id, code=str(kit_id), kit=True)
        shop.add(connection, t.kit_part, kit_id=kit_id, part_id=part_id, quantity=1)
        shop.add(connection, t.kit_leaf, kit_id=kit_id, part_id=shop.tee, quantity=1)


def _went_back(connection: Connection, shop: Shop) -> None:
    shop.copy(connection, t.order_version, revision=1)
    connection.execute(
        update(t.order_version).where(t.order_version.c.revision == 2).values(version=NOON - timedelta(seconds=1))
    )


def _sold_twice(connection: Connection, shop: Shop) -> None:
    shop.copy(connection, t.channel_location, external_id="hall")
    shop.copy(connection, t.channel_location_source, external_id="hall")


def _labelled_twice(connection: Connection, shop: Shop) -> None:
    for _ in range(2):
        id = new_id()
        said = {"kind": "buy_label", "ordering_key": "shipment/1", "state": "succeeded", "lease_until": None}
        shop.copy(connection, t.effect, id=id, effect_key=id, **said)


def _strangers_goods(connection: Connection, shop: Shop) -> None:
    connection.execute(update(t.parcel_line).values(order_line_id=shop.box_line))


def _left_uncounted(connection: Connection, shop: Shop) -> None:
    connection.execute(update(t.shipment).where(t.shipment.c.state == "draft").values(state="shipped"))


def _submitted_twice(connection: Connection, shop: Shop) -> None:
    for _ in range(2):
        sent = {"id": new_id(), "effect_key": new_id(), "ordering_key": "100-1", "kind": "submit"}
        shop.copy(connection, t.effect, **sent, state="succeeded", lease_until=None)


def _kept_by_two(connection: Connection, shop: Shop) -> None:
    connection.execute(update(t.connection).values(kind="3pl"))
    other = {"connection_id": new_id(), "location_id": shop.place}
    shop.copy(connection, t.connection, id=other["connection_id"], secrets=None, kind="3pl")
    shop.copy(connection, t.channel_location, **other)
    shop.copy(connection, t.channel_location_source, **other)


def _listed_elsewhere(connection: Connection, shop: Shop) -> None:
    other = new_id()
    shop.copy(connection, t.connection, id=other, secrets=None)
    shop.copy(connection, t.channel_location, connection_id=other, location_id=None)
    connection.execute(update(t.publication).values(connection_id=other))


def _of_another_sku(table: Table) -> Planted:
    def plant(connection: Connection, shop: Shop) -> None:
        other = new_id()
        shop.copy(connection, t.sku, id=other, code="CUP")
        connection.execute(update(table).where(table.c.order_line_id == shop.line).values(sku_id=other))

    return plant


def _belongs_to_somebody_else(connection: Connection, shop: Shop) -> None:
    other = new_id()
    shop.copy(connection, t.merchant, id=other)
    shop.add(connection, t.inbox, **shop.record(merchant_id=other, id=new_id(), external_id=""))


def _under_a_foreign_key(connection: Connection, shop: Shop) -> None:
    connection.execute(update(t.inbox_body).values(body=KeyRing([new_key()]).pack(b"{}", "")))


def _copied_credentials(connection: Connection, shop: Shop) -> None:
    # An attacker who can write to the database gives a connection of theirs the credentials of another one.
    shop.copy(connection, t.connection, id=new_id())


# What is planted, and how many rows which invariants find wrong.
PLANTED: dict[str, tuple[dict[str, int], Planted]] = {
    "an entry that does not add up": ({"I1": 1}, _tees(2, on_hand_delta=1)),
    "an entry that moves nothing of what it says": ({"I1": 1}, _tees(2, quarantined_delta=2)),
    "an entry that is gone": ({"I1": 1}, _entry_deleted),
    "an entry beyond the balance": ({"I1b": 1}, _beyond_the_balance),
    "a balance without its last entry": ({"I1b": 1}, _barn(entries=4)),
    "a balance with more on hand than its ledger": ({"I1b": 1}, _barn(on_hand=3)),
    "a balance with more damaged than its ledger": ({"I1b": 1}, _barn(damaged=1)),
    "a balance with more in quarantine than its ledger": ({"I1b": 1}, _barn(quarantined=1)),
    "a balance with more allocated than its ledger": ({"I1b": 1, "I3": 1}, _barn(allocated=1)),
    "a balance with more incoming than its ledger": ({"I1b": 1, "I1c": 1}, _barn(incoming=3)),
    "a transfer that forgot an arrival": ({"I1c": 1}, _set(t.stock_document_line, arrived=1)),
    "a transfer of which more arrived than was sent": ({"I1c": 2}, _set(t.stock_document_line, arrived=5)),
    "a transfer that ended before all was there": ({"I1c": 2}, _set(t.stock_document, state="done")),
    "a transfer to where nothing is awaited": ({"I1c": 2}, _sent_to_the_attic),
    "more allocated than on hand": ({"I2": 1}, lambda c, shop: shop.move(c, on_hand=-1)),
    "more set aside than nobody holds": ({"I2": 1}, lambda c, shop: shop.move(c, damaged=1)),
    "an allocation that nobody counted": ({"I3": 1}, lambda c, shop: shop.move(c, on_hand=-1, allocated=-1)),
    "a kit held in part": (
        {"I3": 2, "I3a": 1},
        _both(_box(t.allocation, "mug", quantity=2), _box(t.allocation, "tee", quantity=1)),
    ),
    "a kit held with a part too many": ({"I3": 1, "I3a": 1}, _box(t.allocation, "tee", quantity=4)),
    "a closed order that holds stock": ({"I3b": 1}, _one_order_closed),
    "a line that holds too little": ({"I3b": 1}, _mugs(t.order_line, removed=0)),
    "a line of kits that holds too little": ({"I3b": 1}, _box(t.order_line, quantity=3)),
    "a dropped line that holds stock": ({"I3b": 1, "I36": 1}, _dropped_but_held),
    "a mug that two wait beside": ({"I3c": 2}, lambda c, shop: shop.move(c, on_hand=1)),
    "a kit that waits for a part which is there": (
        {"I3c": 1},
        _both(_box(t.backorder, "mug", missing=False), _box(t.backorder, "tee", missing=True)),
    ),
    "a kit that waits for nothing": ({"I3c": 1}, _box(t.backorder, missing=False)),
    "a part that nobody waits for": ({"I3d": 1}, _part_not_awaited),
    "a part of which too many are awaited": ({"I3d": 1}, _box(t.backorder, "tee", per_unit=3)),
    "parts that are awaited for unlike quantities": ({"I3b": 1, "I3d": 1}, _box(t.backorder, "tee", quantity=2)),
    "a line that waits in a group of strangers": ({"I3d": 1}, _box(t.backorder, group_id=new_id())),
    "an order that is there twice": (
        {"I4": 1},
        lambda c, shop: shop.copy(c, t.sales_order, id=new_id(), lines_minor=0, rounding_minor=2999),
    ),
    "a record that waits for ever": (
        {"I5": 1},
        lambda c, shop: shop.add(c, t.inbox, **shop.record(id=new_id(), state="pending")),
    ),
    "a record whose order is missing": (
        {"I6": 1},
        lambda c, shop: shop.add(c, t.inbox, **shop.record(id=new_id(), external_id="101")),
    ),
    "an intent with two effects": ({"I7": 1}, lambda c, shop: shop.copy(c, t.effect, id=new_id(), state="succeeded")),
    "a line that shipped too much": ({"I10": 1}, _mugs(t.order_line, shipped=6)),
    "two in flight for one key": (
        {"I11": 1},
        lambda c, shop: shop.copy(c, t.effect, id=new_id(), effect_key=new_id()),
    ),
    "in flight without a lease": ({"I11": 1}, _set(t.effect, lease_until=None)),
    "in flight without a fence": ({"I11": 1}, _set(t.effect, fence=0)),
    "a cent too much": ({"I12": 1}, _set(t.sales_order, rounding_minor=0)),
    "a tax counted twice": ({"I12": 1}, _set(t.sales_order, taxes_included=True)),
    "an edit that is newer than its order": ({"I13": 1}, _set(t.order_version, version=NOON + timedelta(seconds=1))),
    "an edit that the order does not know of": ({"I13": 1}, _set(t.order_version, revision=3)),
    "an edit older than the one before it": ({"I13": 1}, _went_back),
    "a line that lost a cent": ({"I12b": 1}, _mugs(t.order_line, total_minor=2999)),
    "a row that points nowhere": ({"I14": 1}, _set(t.inbox, connection_id=new_id(), external_id="")),
    "a row that points at another merchant's": ({"I14": 1}, _belongs_to_somebody_else),
    # And so is the figure that its channel judges.
    "a publication on the wrong connection": ({"I14": 2}, _listed_elsewhere),
    "a listing that waits for a figure nobody sent": ({"I14": 1}, _set(t.publication, pending_id=new_id())),
    "a figure that is published before it was judged": ({"I14": 1}, _set(t.publication, published_version=1)),
    "a backorder of the wrong SKU": ({"I14": 1}, _of_another_sku(t.backorder)),
    # Nothing of it is on the shelf either.
    "an allocation of the wrong SKU": ({"I3": 1, "I14": 2}, _of_another_sku(t.allocation)),
    "a secret in plain text": ({"I17": 1}, _set(t.connection, secrets=b"shpat_in_plain_text")),
    "credentials copied from another connection": ({"I17": 1}, _copied_credentials),
    "a body under an unknown key": ({"I17": 1}, _under_a_foreign_key),
    "a kit that takes too many off the shelf": ({"I20": 1}, _crate("tee", quantity=6)),
    "a kit that takes none of a part": (
        {"I20": 1},
        lambda c, shop: c.execute(
            delete(t.kit_leaf).where(t.kit_leaf.c.kit_id == shop.crate, t.kit_leaf.c.quantity == 2)
        ),
    ),
    "a kit that takes what is not in it": (
        {"I20": 1},
        lambda c, shop: shop.add(c, t.kit_leaf, kit_id=shop.crate, part_id=shop.box, quantity=1),
    ),
    "a kit that is not known as one": (
        {"I20": 1},
        lambda c, shop: c.execute(update(t.sku).where(t.sku.c.id == shop.crate).values(kit=False)),
    ),
    "a kit without parts": (
        {"I20": 1},
        lambda c, shop: c.execute(update(t.sku).where(t.sku.c.id == shop.tee).values(kit=True)),
    ),
    "two kits that contain each other": ({"I20": 2}, _one_within_the_other),
    "a channel that does not sell from its own location": (
        {"I21": 1},
        lambda c, shop: c.execute(delete(t.channel_location_source)),
    ),
    "a channel that sells from a location of nobody": ({"I21": 1}, _set(t.channel_location, location_id=None)),
    "a location that one shop sells twice": ({"I21": 1}, _sold_twice),
    "a line that is to be shipped more often than it was ordered": ({"I36": 1}, _set(t.fulfillment_line, quantity=4)),
    "an order that a 3PL has twice": ({"I30": 1}, _submitted_twice),
    "a 3PL's parcel that holds more than has left": ({"I31": 1}, _set(t.shipped_part, quantity=2)),
    "a location that two 3PLs count": ({"I32": 1}, _kept_by_two),
    "a shipment that paid for two labels": ({"I33": 1}, _labelled_twice),
    "a location that shipped more than it was asked to": ({"I34": 1}, _set(t.fulfillment_line, shipped=3)),
    "a parcel that left and was not counted": ({"I35": 1}, _left_uncounted),
    "a parcel with goods of an order that does not go along": ({"I31": 1, "I38": 1}, _strangers_goods),
    "orders that hold stock and are shipped by their channel": (
        {"I37": 2},
        _set(t.sales_order, shipped_by_channel=True),
    ),
    "an order that was taken off our shelf and is shipped by its channel": (
        {"I3b": 1, "I37": 2},
        _both(_set(t.sales_order, shipped_by_channel=True), _one_order_closed),
    ),
    "an erased order whose raw record is kept": ({"I22": 1}, _set(t.sales_order, erased_at=NOON)),
    "erased orders that still name who bought": ({"I22": 2}, _set(t.sales_order, erased_at=NOON, email="a@b.example")),
    "erased orders that still say where to": (
        {"I22": 2},
        _set(t.sales_order, erased_at=NOON, shipping_address={"line1": "1 High Street"}),
    ),
}


def broken(database: Database, keyring: KeyRing, **options: Any) -> dict[str, int]:
    return {each.invariant: each.count for each in audit(database, keyring, **options) if each.count}


def test_a_healthy_hub_has_no_finding(database: Database, keyring: KeyRing) -> None:
    with database.write() as connection:
        Shop(connection, keyring)

    findings = audit(database, keyring)

    assert [each.count for each in findings] == [0] * len(findings)
    assert " ".join(each.invariant for each in findings) == (
        "I1 I1b I1c I2 I3 I3a I3b I3c I3d I4 I5 I6 I7 I10 I11 I12 I12b I13 I14 I20 I21 I22 I30 I31 I32 I33 I34 I35 "
        "I36 I37 I38 I17"
    )


@pytest.mark.parametrize("what", PLANTED)
def test_notices(what: str, unguarded: Database, keyring: KeyRing) -> None:
    found, plant = PLANTED[what]
    with unguarded.write() as connection:
        plant(connection, Shop(connection, keyring))

    assert broken(unguarded, keyring) == found


def test_every_invariant_has_a_planted_violation(database: Database, keyring: KeyRing) -> None:
    assert {each.invariant for each in audit(database, keyring)} == {
        each for found, _ in PLANTED.values() for each in found
    }


def _anything(column: Column[Any]) -> Any:
    for kind, value in (
        (Uuid, new_id()),
        (t.Moment, NOON),
        (JSON, {}),
        (LargeBinary, b""),
        (Integer, 1),
        (Float, 0.5),
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
    # And publication.pending_id, which the database cannot guard: it would go round in a circle.
    assert broken(unguarded, keyring)["I14"] == keys + 1 > 30


def test_who_is_to_be_tried_again_may_wait_beside_free_stock(database: Database, keyring: KeyRing) -> None:
    with database.write() as connection:
        shop = Shop(connection, keyring)
        shop.move(connection, on_hand=1)
        boxes = t.backorder.c.order_line_id == shop.box_line
        connection.execute(update(t.backorder).where(boxes).values(woken=True))

    assert broken(database, keyring) == {}, "the box is before the mug in the queue, and has not been tried yet"


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
