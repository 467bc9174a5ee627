"""Where measurements take place: databases that wait for the disk, servers in processes of their own, signed orders."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import insert, select, text
from sqlalchemy.engine import make_url

from hub.config import Settings, load_settings
from hub.core.model import Listing
from hub.store import connections, listings, matching, migrate, warehouse
from hub.store import tables as t
from hub.store.database import Database, new_id
from hub.store.secrets import KeyRing
from hub.testing.context import connector_for
from hub_woocommerce.connector import WooCommerceConnector
from hub_woocommerce.simulator import WooCommerceSimulator
from tests import servers

SECRET = "bench-secret-of-the-webhooks"
GOODS = 20
PLENTY = 1_000_000


class CannotMeasure(Exception):
    """Something needed for a measurement is not here; the message says what."""


# ---------------------------------------------------------------- databases


@contextmanager
def database_of(kind: str) -> Iterator[str]:
    """The address of an empty database of this kind, which waits for the disk as a real one does."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix="tallyhub-bench-") as folder:
            yield f"sqlite:///{folder}/bench.sqlite3"
        return
    with servers.empty_database(_postgres(), f"bench_{new_id().hex}") as url:
        yield url


_started: list[str] = []


def _postgres() -> str:
    if given := os.environ.get("TALLYHUB_TEST_DATABASE_URL"):
        return given
    if not _started:
        address = servers.start_postgres(os.getpid(), durable=True)
        if not address.startswith("postgresql:"):
            raise CannotMeasure(address)
        _started.append(address)
    return _started[0]


def version_of(url: str) -> str:
    """The database's name and version, such as "postgresql 18.4"."""
    database = Database(url, pooled=False)
    with database.read() as connection:
        if database.is_sqlite:
            said = connection.scalar(text("select sqlite_version()"))
        else:
            said = str(connection.scalar(text("show server_version"))).split()[0]
    database.close()
    return f"{make_url(url).get_backend_name()} {said}"


# ---------------------------------------------------------------- signed orders


@dataclass(frozen=True, slots=True)
class Letter:
    """One webhook as the shop sent it."""

    headers: Mapping[str, str]
    body: bytes


class Shop:
    """A simulated WooCommerce shop that has sold ``count`` orders, and every webhook it sent about them."""

    connector = "woocommerce"

    def __init__(self, count: int) -> None:
        with _Catcher() as catcher, WooCommerceSimulator(seed=1) as shop:
            self.settings = shop.settings()
            for number in range(GOODS):
                shop.add_product(f"SKU-{number}", f"Product {number}", PLENTY, "19.90")
            channel = connector_for(WooCommerceConnector, shop, webhook_secret=SECRET)
            self.listings = [
                listing
                for page in channel.fetch_listings(None)
                for record in page.records
                for listing in channel.read_listing(record)
            ]
            channel.subscribe_webhooks({"address": catcher.address}, "bench")
            for number in range(count):
                shop.buy([(f"SKU-{number % GOODS}", 1 + number % 2), (f"SKU-{(number * 7 + 3) % GOODS}", 1)])
            if not shop.wait_for_deliveries(120):
                raise CannotMeasure("The simulated shop did not send its webhooks in time.")
        created = [each for each in catcher.letters if each.headers.get("x-wc-webhook-topic") == "order.created"]
        if len(created) != count:
            raise CannotMeasure(f"{len(created)} of {count} orders were announced.")
        self.orders = created


class Connectable(Protocol):
    """A shop as the hub is told of it."""

    connector: str
    settings: dict[str, str]
    listings: list[Listing]


class _Catcher:
    """A server that answers 200 and keeps what it was sent."""

    def __enter__(self) -> _Catcher:
        self.letters: list[Letter] = []
        letters = self.letters

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                letters.append(Letter({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


# ---------------------------------------------------------------- a hub with that shop


@dataclass(frozen=True, slots=True)
class Connected:
    """A hub's database in which the shop is connected, its listings matched, everything in stock."""

    settings: Settings
    environ: Mapping[str, str]
    merchant_id: UUID
    connection_id: UUID

    @property
    def path(self) -> str:
        return f"/webhooks/{self.merchant_id}/{self.connection_id}"


@contextmanager
def connected(shop: Connectable, url: str, *, redis: str = "none", **more: str) -> Iterator[Connected]:
    """A hub in a folder of its own, on the empty database at ``url``."""
    with tempfile.TemporaryDirectory(prefix="tallyhub-bench-") as folder:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("TALLYHUB_")}
        environ |= {"TALLYHUB_DATA_DIR": folder, "TALLYHUB_DATABASE_URL": url, "TALLYHUB_PORT": str(free_port())} | more
        environ["TALLYHUB_LOG_LEVEL"] = "warning"
        if redis == "none":
            environ["TALLYHUB_REDIS_URL"] = "none"
        settings = load_settings(environ)
        database = Database(url, pooled=False)
        migrate.upgrade(database)
        merchant_id, connection_id = _connect(shop, database, KeyRing(settings.secret_keys))
        database.close()
        yield Connected(settings, environ, merchant_id, connection_id)


def begin_import(place: Connected, database: Database) -> None:
    """From now on the shop's orders are due to be read, all of them."""
    with database.write() as connection:
        connection.execute(
            insert(t.cursor).values(
                merchant_id=place.merchant_id,
                connection_id=place.connection_id,
                stream="orders",
                due_at=database.now(connection),
            )
        )


def _connect(shop: Connectable, database: Database, keyring: KeyRing) -> tuple[UUID, UUID]:
    merchant_id, connection_id = new_id(), new_id()
    with database.write() as connection:
        at = database.now(connection)
        connection.execute(insert(t.merchant).values(id=merchant_id, name="Bench", created_at=at))
        connection.execute(
            insert(t.connection).values(
                merchant_id=merchant_id,
                id=connection_id,
                connector=shop.connector,
                label="Bench",
                state="connected",
                settings={},
                secrets=connections.seal(keyring, merchant_id, connection_id, shop.settings, SECRET),
                created_at=at,
            )
        )
        listings.keep(connection, merchant_id, connection_id, shop.listings, at=at)
        place = warehouse.default_location(connection, merchant_id, at=at)
    matching.accept_suggestions(database, merchant_id, connection_id, None, "bench")
    with database.read() as connection:
        skus = connection.execute(select(t.sku.c.id)).scalars().all()
    for sku_id in skus:
        warehouse.adjust(database, merchant_id, sku_id, place, PLENTY, "Opening stock", "bench", f"opening {sku_id}")
    return merchant_id, connection_id


# ---------------------------------------------------------------- processes


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(command: Sequence[str], environ: Mapping[str, str], ready: str) -> Iterator[None]:
    """A program, from the moment ``ready`` answers 200 until the end of the block."""
    process = subprocess.Popen([sys.executable, *command], env=dict(environ), stdout=subprocess.DEVNULL)
    try:
        wait_until(process, ready)
        yield
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def worker(place: Connected) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of its own, from its first look at the database until the end of the block."""
    process = subprocess.Popen([sys.executable, *hub_command("worker", "--poll")], env=dict(place.environ))
    database = Database(str(place.environ["TALLYHUB_DATABASE_URL"]), pooled=False)
    try:
        deadline = time.monotonic() + 30
        while True:
            with database.read() as connection:
                # It has a chore by now, or it has not begun.
                if connection.execute(select(t.lease.c.name)).first() is not None:
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                raise CannotMeasure("The worker did not begin.")
            time.sleep(0.05)
        yield process
    finally:
        database.close()
        process.terminate()
        process.wait(60)


def wait_until(process: subprocess.Popen[Any], address: str) -> None:
    """Wait until ``address`` answers 200, while ``process`` lives. Raises CannotMeasure."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with opener.open(address, timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.05)
    raise CannotMeasure(f"{address} does not answer.")


def hub_command(*arguments: str) -> list[str]:
    return ["-P", "-m", "hub.cli", *arguments]


ROOT = Path(__file__).resolve().parent.parent
