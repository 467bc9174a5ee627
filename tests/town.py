"""A small town for tests: a hub, shops that are simulators on loopback, and a worker that does whatever is due."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update

from hub import jobs
from hub.config import Settings
from hub.connector import Connector
from hub.jobs import Hub
from hub.plugins import Registry
from hub.store import audit, connections
from hub.store import tables as t
from hub.store.database import Database
from hub.store.secrets import KeyRing, new_key
from hub.testing.simulator import ShopSimulator

OWNER = "owner@example.test"

_AWAITED = [
    t.connection.c.not_before,
    t.cursor.c.due_at,
    t.effect.c.due_at,
    t.fetch_request.c.due_at,
    t.lease.c.until,
    t.publication.c.not_before,
    t.publication.c.verify_at,
    t.task.c.due_at,
]


class Rings:
    """A doorbell that remembers who was rung for."""

    def __init__(self) -> None:
        self.heard: list[tuple[UUID, str]] = []

    def ring(self, merchant_id: UUID, connection_id: UUID, lane: str) -> None:
        self.heard.append((connection_id, lane))


@dataclass
class Town:
    """A merchant's hub among simulated shops."""

    hub: Hub
    merchant: UUID
    shops: dict[UUID, ShopSimulator] = field(default_factory=dict)

    def work(self, seconds: float = 20.0) -> None:
        """Do everything that is due, and what follows from it, until nothing is due for now."""
        ends = time.monotonic() + seconds
        while waiting := jobs.due(self.hub):
            for merchant_id, connection_id, lane in waiting:
                jobs.drain(self.hub, merchant_id, connection_id, lane, budget_seconds=5.0)
            if time.monotonic() > ends:
                raise AssertionError(f"still due after {seconds} s: {waiting}")

    def settle(self, seconds: float = 20.0) -> None:
        """Work until the shops' webhooks are delivered and nothing is due any more."""
        ends = time.monotonic() + seconds
        while True:
            for shop in self.shops.values():
                shop.wait_for_deliveries()
            self.work()
            if not jobs.due(self.hub):
                return
            if time.monotonic() > ends:
                raise AssertionError("the town does not come to rest")

    def connect(self, connector: type[Connector], shop: ShopSimulator, settings: dict[str, Any] | None = None) -> UUID:
        """Connect a simulated shop as the connect form does, and import its listings and orders."""
        self.hub = replace(
            self.hub,
            settings=replace(self.hub.settings, routes={**self.hub.settings.routes, shop.origin: shop.serve()}),
        )
        loaded = connector.settings_schema().load(settings or shop.settings())
        connection_id, task_id = connections.connect(
            self.hub.database, self.hub.keyring, self.merchant, connector, connector.label, loaded, OWNER
        )
        self.shops[connection_id] = shop
        self.work()
        task = self.row(t.task, t.task.c.id == task_id)
        assert task.state == "done", task.message
        return connection_id

    def open_for_business(self, connection_id: UUID, *, adopt: bool = False) -> None:
        """Match every listing, adopt the opening stock if asked to, and go live."""
        connections.accept_suggestions(self.hub.database, self.merchant, connection_id, None, OWNER)
        if adopt:
            connections.adopt_stock(self.hub.database, self.merchant, connection_id, OWNER)
            self.work()
        connections.go_live(self.hub.database, self.merchant, connection_id, OWNER)
        self.work()

    def poll(self, connection_id: UUID) -> None:
        """Synchronize one connection now, as the button on its page does."""
        connections.sync_now(self.hub.database, self.merchant, connection_id, OWNER)
        self.work()

    def let_pass(self, seconds: float) -> None:
        """Let time pass in the database: every moment that something waits for, and every lease's end, comes nearer."""
        with self.hub.database.write() as connection:
            for moment in _AWAITED:
                key = [column.name for column in moment.table.primary_key]
                for row in connection.execute(select(moment.table).where(moment.is_not(None))).all():
                    here = [moment.table.c[name] == getattr(row, name) for name in key]
                    nearer = getattr(row, moment.name) - timedelta(seconds=seconds)
                    connection.execute(update(moment.table).where(*here).values({moment.name: nearer}))

    # ------------------------------------------------------------ looking

    def row(self, table: Any, *conditions: Any) -> Any:
        with self.hub.database.read() as connection:
            return connection.execute(select(table).where(*conditions)).one()

    def rows(self, table: Any, *conditions: Any) -> list[Any]:
        with self.hub.database.read() as connection:
            return list(connection.execute(select(table).where(*conditions)).all())

    def count(self, table: Any, *conditions: Any) -> int:
        with self.hub.database.read() as connection:
            return connection.execute(select(func.count()).select_from(table).where(*conditions)).scalar_one()

    def sound(self) -> None:
        """Every invariant of the audit holds."""
        findings = audit.audit(self.hub.database, self.hub.keyring, settle=timedelta(0))
        assert [(each.invariant, each.title, each.examples) for each in findings if each.count] == []

    def issues(self) -> list[str]:
        """The kinds of the open issues."""
        return sorted(row.kind for row in self.rows(t.issue, t.issue.c.resolved_at.is_(None)))

    def stock(self) -> dict[str, tuple[int, int]]:
        """(on hand, allocated) by SKU, over all locations."""
        with self.hub.database.read() as connection:
            rows = connection.execute(
                select(t.sku.c.code, func.sum(t.stock_level.c.on_hand), func.sum(t.stock_level.c.allocated))
                .select_from(
                    t.stock_level.join(
                        t.sku,
                        (t.sku.c.merchant_id == t.stock_level.c.merchant_id) & (t.sku.c.id == t.stock_level.c.sku_id),
                    )
                )
                .where(t.stock_level.c.merchant_id == self.merchant)
                .group_by(t.sku.c.code)
            )
            return {code: (on_hand, allocated) for code, on_hand, allocated in rows}


@contextmanager
def town(database: Database, keyring: KeyRing, merchant: UUID, registry: Registry, data_dir: Path) -> Iterator[Town]:
    """A town whose shops are closed at the end."""
    settings = Settings(data_dir=data_dir, database_url="", secret_keys=(new_key(),))
    built = Town(Hub(settings, database, keyring, registry, Rings()), merchant)
    try:
        yield built
    finally:
        for shop in built.shops.values():
            shop.close()
