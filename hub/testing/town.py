"""A small town for tests: a hub at work, shops that are simulators on loopback, and a worker that does whatever is due.

It is the production hub (its database, its lanes, its webhook door) in one process and without waiting: time passes
when a test says so. Where the rest of ``hub.testing`` is made of the public API, this is the hub itself.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import func, insert, select, update

from hub import jobs
from hub.config import Settings
from hub.connector import Connector
from hub.jobs import Hub
from hub.plugins import Registry
from hub.store import audit, connections, matching, warehouse
from hub.store import tables as t
from hub.store.database import Database, new_id
from hub.store.secrets import KeyRing, new_key
from hub.testing.simulator import Letter, ShopSimulator, Simulator

if TYPE_CHECKING:
    from flask import Flask

__all__ = ["Town", "town_of"]

OWNER = "owner@example.test"

_AWAITED = [
    t.address_check.c.due_at,
    t.bulk_act_row.c.not_before,
    t.connection.c.not_before,
    t.cursor.c.due_at,
    t.effect.c.due_at,
    t.effect.c.lease_until,
    t.fetch_request.c.due_at,
    t.lease.c.until,
    t.pending_push.c.ask_at,
    t.pending_push.c.sent_at,
    t.picture.c.due_at,
    t.publication.c.explain_since,
    t.publication.c.not_before,
    t.publication.c.verify_at,
    t.shipment.c.documents_at,
    t.shipment.c.follow_at,
    t.shipment.c.rates_at,
    t.shipment.c.rates_wanted_at,
    t.shipment.c.track_at,
    t.shipment.c.void_ask_at,
    t.shipment.c.void_requested_at,
    t.task.c.due_at,
]


class Rings:
    """A doorbell that remembers who was rung for."""

    def __init__(self) -> None:
        self.heard: list[tuple[UUID, str]] = []

    def ring(self, merchant_id: UUID, connection_id: UUID, lane: str) -> None:
        """Remember it; nobody is woken."""
        self.heard.append((connection_id, lane))


@dataclass
class Town:
    """A merchant's hub among simulated shops."""

    hub: Hub
    merchant: UUID
    shops: dict[UUID, ShopSimulator] = field(default_factory=dict)
    _door: Flask | None = field(default=None, repr=False)

    # ------------------------------------------------------------ working

    def work(self, seconds: float = 90.0) -> None:
        """Do everything that is due, and what follows from it, until nothing is due for now."""
        ends = time.monotonic() + seconds
        while waiting := jobs.due(self.hub):
            for merchant_id, connection_id, lane in waiting:
                if lane == "publish":
                    self._gather(connection_id)
                jobs.drain(self.hub, merchant_id, connection_id, lane, budget_seconds=60.0)
            if time.monotonic() > ends:
                raise AssertionError(f"still due after {seconds} s: {waiting}")

    def _gather(self, connection_id: UUID) -> None:
        """Let the seconds be over for which a channel's changes of stock are gathered: nobody waits here."""
        publication = t.publication.c
        with self.hub.database.write() as connection:
            earlier = self.hub.database.now(connection) - timedelta(seconds=10)
            of_late = (publication.connection_id == connection_id, publication.dirty_since > earlier)
            connection.execute(update(t.publication).where(*of_late).values(dirty_since=earlier))

    def settle(self, seconds: float = 90.0) -> None:
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
        self.lead_to(shop)
        loaded = connector.settings_schema().load(settings or shop.settings())
        connection_id, task_id = connections.connect(
            self.hub.database, self.hub.keyring, self.merchant, connector, connector.label, loaded, OWNER
        )
        self.shops[connection_id] = shop
        self.work()
        task = self.row(t.task, t.task.c.id == task_id)
        assert task.state == "done", task.message
        return connection_id

    def lead_to(self, shop: Simulator) -> None:
        """Serve a simulator, and lead whatever the hub sends to its vendor there."""
        routes = {**self.hub.settings.routes, **shop.routes()}
        self.hub = replace(self.hub, settings=replace(self.hub.settings, routes=routes))

    def open_for_business(self, connection_id: UUID, *, adopt: bool = False) -> None:
        """Match every listing, adopt the opening stock if asked to, and go live."""
        matching.accept_suggestions(self.hub.database, self.merchant, connection_id, None, OWNER)
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

    # ------------------------------------------------------------ what people and vendors do

    def hear(self, letter: Letter, shop: ShopSimulator | None = None) -> int:
        """Let a webhook that ``take_webhooks`` gave come in at the hub's own door; returns the status it answers.

        With ``shop`` the sender is told. What is to lie in a queue is put there by ``shop``, and the hub looks soon.
        """
        from hub.app import create_app

        if shop is not None and urlsplit(letter.address).scheme not in ("http", "https"):
            status = shop.transmit(letter) or 0
            self._look_into_queues()
            shop.answered(letter, status)
            return status

        self._door = self._door or create_app(self.hub)
        self._door.extensions["hub"] = self.hub  # it may be another by now
        path = urlsplit(letter.address).path
        answer = self._door.test_client().post(path, data=letter.body, headers=dict(letter.headers))
        if shop is not None:
            shop.answered(letter, answer.status_code)
        return answer.status_code

    def _look_into_queues(self) -> None:
        cursor = t.cursor.c
        with self.hub.database.write() as connection:
            soon = update(t.cursor).where(cursor.stream == connections.MESSAGES, cursor.due_at.is_not(None))
            connection.execute(soon.values(due_at=datetime.now(UTC) - timedelta(seconds=1)))

    def count_stock(self, sku: str, on_hand: int) -> None:
        """Somebody counts a SKU at the hub's only location and finds so many."""
        row, place = self.row(t.sku, t.sku.c.code == sku), self.row(t.location)
        warehouse.adjust(self.hub.database, self.merchant, row.id, place.id, on_hand, "counted", OWNER, str(new_id()))

    # ------------------------------------------------------------ looking

    def row(self, table: Any, *conditions: Any) -> Any:
        """The one row that meets the conditions."""
        with self.hub.database.read() as connection:
            return connection.execute(select(table).where(*conditions)).one()

    def rows(self, table: Any, *conditions: Any) -> list[Any]:
        """The rows that meet the conditions; what has a moment in its order, which a database does not keep."""
        with self.hub.database.read() as connection:
            found = list(connection.execute(select(table).where(*conditions)).all())
        return sorted(found, key=lambda row: row.at) if "at" in table.c else found

    def count(self, table: Any, *conditions: Any) -> int:
        """How many rows meet the conditions."""
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
def town(
    database: Database,
    keyring: KeyRing,
    merchant: UUID,
    registry: Registry,
    data_dir: Path,
    *,
    public_url: str | None = None,
) -> Iterator[Town]:
    """A town whose shops are closed at the end; with ``public_url`` it has webhooks sent there.

    Pictures are not fetched: nothing that happens in a town depends on them.
    """
    keys = (new_key(),)
    settings = Settings(data_dir=data_dir, database_url="", secret_keys=keys, public_url=public_url, pictures=False)
    built = Town(Hub(settings, database, keyring, registry, Rings()), merchant)
    try:
        yield built
    finally:
        for shop in built.shops.values():
            shop.close()


@contextmanager
def town_of(*connectors: type[Connector], public_url: str | None = None) -> Iterator[Town]:
    """A town with a database of its own, whose hub knows these connectors."""
    registry = Registry({each.name: each for each in connectors})
    with _own_database() as database:
        merchant = new_id()
        with database.write() as connection:
            now = database.now(connection)
            connection.execute(insert(t.merchant).values(id=merchant, name="Corner Shop", created_at=now))
        folder = Path(str(database.url.database)).parent
        with town(database, KeyRing([new_key()]), merchant, registry, folder, public_url=public_url) as built:
            yield built


# Databases that a town has left. An engine that is used again has compiled its statements already, which takes longer
# than most of what a town is built for.
_left: list[Database] = []


@contextmanager
def _own_database() -> Iterator[Database]:
    """An empty SQLite database with all tables."""
    if _left:
        database = _left.pop()
    else:
        folder = tempfile.mkdtemp(prefix="tallyhub-town-", dir=_quick_place())
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        database = Database(f"sqlite:///{folder}/hub.db")
    path = Path(str(database.url.database))
    for each in path.parent.iterdir():
        each.unlink()
    path.write_bytes(_empty_database())
    try:
        yield database
    finally:
        database.close()
        _left.append(database)


@functools.cache
def _empty_database() -> bytes:
    with tempfile.TemporaryDirectory(prefix="tallyhub-town-") as name:
        path = Path(name) / "empty.db"
        template = Database(f"sqlite:///{path}")
        t.metadata.create_all(template.engine)
        template.close()  # the last connection to go brings everything into the one file
        return path.read_bytes()


def _quick_place() -> str | None:
    """A folder in memory where there is one, since nothing of a town has to outlive a power cut."""
    memory = Path("/dev/shm")  # noqa: S108 (only whether it is there)
    return str(memory) if os.access(memory, os.W_OK) else None
