"""A merchant's rows for tests of the store: connections, SKUs, listings and stock, each made by one call in sight."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import count
from typing import Any, ClassVar
from uuid import UUID

import marshmallow
from sqlalchemy import func, insert, select, update

from hub.connector import Capabilities, PushOutcome, RawRecord, SalesChannel, StockPush, StockRef
from hub.core.model import Account, ChannelLocation, Order
from hub.core.services import Plan, Received
from hub.store import audit, connections, orders, searching, warehouse
from hub.store import tables as t
from hub.store.database import Database, new_id
from hub.store.secrets import KeyRing

OWNER = "owner@example.test"


class FakeSettings(marshmallow.Schema):
    """What the fake channel's connect form asks for."""

    shop = marshmallow.fields.String(required=True, metadata={"label": "Shop", "hint": ""})
    password = marshmallow.fields.String(required=True, metadata={"label": "Password", "hint": "", "secret": True})


class FakeChannel(SalesChannel):
    """A channel that only exists: tests of the store never call it."""

    name = "fake"
    label = "Fake"
    settings_schema = FakeSettings
    capabilities: ClassVar[Capabilities] = Capabilities(compare_and_set=True)

    @classmethod
    def hosts(cls, settings: Mapping[str, Any]) -> Sequence[str]:
        return ("https://fake.example",)

    def check(self) -> Account:
        raise NotImplementedError

    def fetch_orders(self, cursor: str | None) -> Any:
        raise NotImplementedError

    def fetch_order(self, external_id: str) -> RawRecord:
        raise NotImplementedError

    def fetch_listings(self, cursor: str | None) -> Any:
        raise NotImplementedError

    def fetch_listing(self, external_id: str) -> RawRecord:
        raise NotImplementedError

    def read_order(self, record: RawRecord) -> Order:
        raise NotImplementedError

    def read_listing(self, record: RawRecord) -> Any:
        raise NotImplementedError

    def read_stock(self, refs: Sequence[StockRef]) -> Sequence[int | None]:
        raise NotImplementedError

    def push_stock(self, pushes: Sequence[StockPush]) -> Sequence[PushOutcome]:
        raise NotImplementedError


class Warehouse:
    """A merchant with a database, and the shortest ways to put things into it and to look at them."""

    def __init__(self, database: Database, keyring: KeyRing, merchant: UUID) -> None:
        self.database = database
        self.keyring = keyring
        self.merchant = merchant
        self._numbers = count(1)

    # ------------------------------------------------------------ making

    def connect(self, account: str = "", *, live: bool = False, places: Sequence[str] = ("",)) -> UUID:
        """A connection whose check has passed; its first location is the merchant's."""
        account = account or f"shop-{next(self._numbers)}"
        settings = {"shop": account, "password": "s3same"}
        connection_id, _ = connections.connect(
            self.database, self.keyring, self.merchant, FakeChannel, account, settings, OWNER
        )
        self.check(connection_id, account, places=places)
        if live:
            connections.go_live(self.database, self.merchant, connection_id, OWNER)
        return connection_id

    def check(self, connection_id: UUID, account: str, *, places: Sequence[str] = ("",)) -> None:
        """Let the open check of a connection pass, with this account."""
        with self.database.write() as connection:
            task = connection.execute(
                select(t.task).where(t.task.c.connection_id == connection_id, t.task.c.state == "waiting")
            ).one()
            found = Account(
                external_id=account,
                name=account.title(),
                currency="EUR",
                locations=tuple(ChannelLocation(external_id=each, name=each or "Everything") for each in places),
            )
            connections.checked(
                connection,
                self.keyring,
                self.merchant,
                connection_id,
                FakeChannel,
                task.request,
                found,
                {},
                at=self.database.now(connection),
                actor=OWNER,
            )
            connection.execute(t.task.update().where(t.task.c.id == task.id).values(state="done", request=None))

    def location(self, name: str = "Main warehouse") -> UUID:
        """The merchant's location of this name, made if there is none."""
        with self.database.write() as connection:
            found: UUID | None = connection.execute(
                select(t.location.c.id).where(t.location.c.merchant_id == self.merchant, t.location.c.name == name)
            ).scalar_one_or_none()
            if found is None:
                found = new_id()
                self._insert(connection, t.location, id=found, name=name, created_at=self.database.now(connection))
        return found

    def sku(self, code: str, on_hand: int | None = None) -> UUID:
        """A SKU; with ``on_hand`` it is counted, at the merchant's first location."""
        with self.database.write() as connection:
            sku_id = new_id()
            self._insert(connection, t.sku, id=sku_id, code=code, title=code, created_at=self.database.now(connection))
            searching.add_skus(connection, self.merchant, [(sku_id, code, code)])
        if on_hand is not None:
            self.count(sku_id, on_hand)
        return sku_id

    def kit(self, code: str, parts: Mapping[UUID, int]) -> UUID:
        """A SKU made of others that are no kits."""
        kit_id = self.sku(code)
        with self.database.write() as connection:
            connection.execute(update(t.sku).where(t.sku.c.id == kit_id).values(kit=True))
            for table in (t.kit_part, t.kit_leaf):
                for part_id, units in parts.items():
                    self._insert(connection, table, kit_id=kit_id, part_id=part_id, quantity=units)
        return kit_id

    def count(self, sku_id: UUID, on_hand: int, location: UUID | None = None) -> set[UUID]:
        """Set what is on hand of a SKU."""
        where = location or self.location()
        reference = f"count/{next(self._numbers)}"
        return warehouse.adjust(self.database, self.merchant, sku_id, where, on_hand, "counted", OWNER, reference)

    def listing(self, connection_id: UUID, external_id: str, sku_id: UUID | None = None, **more: Any) -> UUID:
        """A listing, matched if a SKU is given."""
        with self.database.write() as connection:
            listing_id = new_id()
            values = {
                "id": listing_id,
                "connection_id": connection_id,
                "external_id": external_id,
                "sku_id": sku_id,
                "sku_text": external_id.upper(),
                "title": external_id.title(),
                "handles": {},
                "imported_at": self.database.now(connection),
            }
            self._insert(connection, t.listing, **values | more)
        return listing_id

    def _insert(self, connection: Any, table: Any, **values: Any) -> None:
        connection.execute(insert(table).values(merchant_id=self.merchant, **values))

    # ------------------------------------------------------------ orders

    def hear(self, connection_id: UUID, *received: Order | Received) -> Plan:
        """Import orders as the inbox lane does, in one transaction."""

        def work(connection: Any) -> Plan:
            at = self.database.now(connection)
            batch = [each if isinstance(each, Received) else Received(each.external_id, each, at) for each in received]
            return orders.apply(connection, self.merchant, connection_id, batch, at=at)[0]

        return self.database.transact(work)

    # ------------------------------------------------------------ looking

    def rows(self, table: Any, *conditions: Any) -> list[Any]:
        """The rows that meet the conditions; what has a moment in its order, which a database does not keep."""
        with self.database.read() as connection:
            found = list(connection.execute(select(table).where(*conditions)).all())
        return sorted(found, key=lambda row: row.at) if "at" in table.c else found

    def row(self, table: Any, *conditions: Any) -> Any:
        (row,) = self.rows(table, *conditions)
        return row

    def level(self, sku_id: UUID) -> tuple[int, int]:
        """(on hand, allocated) of a SKU over all locations."""
        level = t.stock_level.c
        with self.database.read() as connection:
            on_hand, allocated = connection.execute(
                select(func.sum(level.on_hand), func.sum(level.allocated)).where(level.sku_id == sku_id)
            ).one()
        return on_hand or 0, allocated or 0

    def waiting(self, sku_id: UUID) -> dict[str, int]:
        """Units on backorder by order number."""
        with self.database.read() as connection:
            rows = connection.execute(
                select(t.sales_order.c.number, t.backorder.c.quantity)
                .join_from(t.backorder, t.order_line, t.order_line.c.id == t.backorder.c.order_line_id)
                .join(t.sales_order, t.sales_order.c.id == t.order_line.c.order_id)
                .where(t.backorder.c.sku_id == sku_id)
            )
            return dict(rows.all())

    def now(self) -> datetime:
        with self.database.read() as connection:
            return self.database.now(connection)

    def let_pass(self, table: Any, column: str, by: timedelta) -> None:
        """Move a time column of all rows into the past."""
        for row in self.rows(table):
            value = getattr(row, column)
            if value is not None:
                same = [key == getattr(row, key.name) for key in table.primary_key]
                with self.database.write() as connection:
                    connection.execute(table.update().where(*same).values({column: value - by}))

    def sound(self) -> None:
        """Every invariant of the audit holds."""
        findings = audit.audit(self.database, self.keyring, settle=timedelta(0))
        broken = [(each.invariant, each.title, each.examples) for each in findings if each.count]
        assert broken == []
        words = {
            (row.order_id, row.word, row.week, row.placed_at)
            for row in self.rows(t.order_word)
            if row.merchant_id == self.merchant
        }
        with self.database.read() as connection:
            stored = searching._stored(connection, self.merchant, [row.id for row in self.rows(t.sales_order)])
        said = ((order_id, order, word) for order_id, order in stored.items() for word in order.words())
        assert words == {(id, word, searching.week_of(at), at) for id, each, word in said if (at := each.placed_at)}
        skus = self.rows(t.sku)
        assert {(row.sku_id, row.word) for row in self.rows(t.sku_word)} == {
            (sku.id, word) for sku in skus for word in searching.sku_words(sku.code, sku.title)
        }

    def digest(self, *tables: Any) -> str:
        """A hash of everything in ``tables``."""
        said = hashlib.sha256()
        with self.database.read() as connection:
            for table in tables:
                for row in connection.execute(select(table).order_by(*table.primary_key)):
                    said.update(repr(tuple(row)).encode())
        return said.hexdigest()
