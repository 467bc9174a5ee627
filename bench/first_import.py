"""The first import of a shop with a past, beside what one would use instead: same shop, same database, same run."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

from sqlalchemy import func, select

from bench import cpu, old_shop, places
from bench.measure import Result, Say
from hub.store import tables as t
from hub.store.database import Database
from hub.testing.context import connector_for
from hub_shopify.connector import ShopifyConnector
from hub_shopify.simulator import ShopifySimulator

_NAMES = {
    "dlt": "dlt's rest_api source, merged into PostgreSQL",
    "bare": "bare loop: fetch a page, parse it, COPY orders with bodies, and lines",
}
_PATIENCE = 600.0  # seconds until an import that does not end is given up


def woocommerce(kind: str, seconds: float, repeats: int, say: Say) -> Iterator[Result]:
    """Orders imported per second and CPU per 1,000 of them: the hub, dlt, and a bare loop, in turns."""
    count = int(300 * seconds)
    rivals = list(_NAMES) if kind == "postgresql" else []
    if "dlt" in rivals and importlib.util.find_spec("dlt") is None:
        raise places.CannotMeasure('dlt is not installed: python -m pip install "dlt[postgres]"')
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in ("hub", *rivals)}
    version = ""
    with old_shop.serving(count) as shop:
        for repeat in range(repeats):
            turns = list(measured)
            for name in turns[repeat % len(turns) :] + turns[: repeat % len(turns)]:
                with places.database_of(kind) as url:
                    version = places.version_of(url)
                    took = _hub(shop, url) if name == "hub" else _rival(name, shop, url)
                measured[name].append(took)
                say(f"  {name}: {count / took['seconds']:.0f} orders/s; per 1,000 of them {_spoken(took, count)}")

    def figure(name: str, part: str) -> float:
        taken = [each["seconds"] if part == "rate" else each["cpu"] + each["server"] for each in measured[name]]
        middle = median(taken)
        return round(count / middle if part == "rate" else 1000 * middle / count, 2)

    for part, title, unit in (
        ("rate", "first import from WooCommerce", "orders/s"),
        ("cpu", "first import from WooCommerce, with the database", "CPU s per 1,000 orders"),
    ):
        for rival in rivals:
            yield Result(title, figure("hub", part), unit, _NAMES[rival], figure(rival, part), version)
        if not rivals:
            yield Result(title, figure("hub", part), unit, "", 1.0, version)


class SimulatedShop:
    """A simulated Shopify shop that has sold ``count`` orders, nearly all of them shipped."""

    connector = "shopify"

    def __init__(self, simulator: ShopifySimulator, count: int) -> None:
        self.count = count
        self.orders: set[str] = set()  # by Shopify's ids
        self.settings = simulator.settings()
        self.routes = ",".join(f"{origin}={target}" for origin, target in simulator.routes().items())
        for number in range(places.GOODS):
            simulator.add_product(f"SKU-{number}", f"Product {number}", places.PLENTY, "19.90")
        channel = connector_for(ShopifyConnector, simulator)
        pages = channel.fetch_listings(None)
        self.listings = [each for page in pages for record in page.records for each in channel.read_listing(record)]
        for number in range(count):
            wanted = [(f"SKU-{(number * 7 + place) % places.GOODS}", 1) for place in range(1 + number % 3)]
            sale = simulator.buy(wanted)
            assert sale is not None
            self.orders.add(sale.order_external_id)
            if number < count * 0.95:
                simulator.fulfill(sale.order_external_id)


@contextmanager
def simulated(count: int) -> Iterator[SimulatedShop]:
    """A simulated shop whose orders are so old that nobody looks at them again as news."""
    ago = timedelta(days=90)
    with ShopifySimulator(seed=1, now=lambda: datetime.now(UTC) - ago) as simulator:
        shop = SimulatedShop(simulator, count)
        ago = timedelta(0)
        yield shop


def shopify(kind: str, seconds: float, repeats: int, say: Say) -> Iterator[Result]:
    """Orders imported per second from the file of a bulk operation, once it is there, and CPU per 1,000 of them."""
    count = int(200 * seconds)
    measured: list[dict[str, float]] = []
    with simulated(count) as shop:
        for _ in range(repeats):
            with places.database_of(kind) as url:
                version = places.version_of(url)
                took = _hub(shop, url)
            measured.append(took)
            say(f"  hub: {count / took['seconds']:.0f} orders/s; per 1,000 of them {_spoken(took, count)}")
    for name, figure, unit in (
        ("first import from Shopify, the bulk file", lambda took: count / took["seconds"], "orders/s"),
        (
            "first import from Shopify, with the database",
            lambda took: 1000 * (took["cpu"] + took["server"]) / count,
            "CPU s per 1,000 orders",
        ),
    ):
        yield Result(name, round(median(map(figure, measured)), 2), unit, "", 1.0, version)


def _spoken(took: Mapping[str, float], count: int) -> str:
    return f"{1000 * took['cpu'] / count:.2f} s of CPU and {1000 * took['server'] / count:.2f} s of the database's"


def _rival(name: str, shop: old_shop.OldShop, url: str) -> dict[str, float]:
    server = cpu.server_of(url)
    before = cpu.taken_by(server) if server else 0.0
    done = subprocess.run(
        [sys.executable, "-m", "bench.rivals", name, shop.address, url],
        cwd=places.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise places.CannotMeasure(f"{name} did not end well: {done.stderr.strip().splitlines()[-1]}")
    took: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    took["server"] = cpu.taken_by(server) - before if server else 0.0
    table = "bench_dlt.orders" if name == "dlt" else "bare_order"
    database = Database(url, pooled=False)
    with database.read() as connection:
        imported = connection.exec_driver_sql(f"select count(*) from {table}").scalar_one()
    database.close()
    _expect(imported, shop.count, name)
    return took


def _hub(shop: old_shop.OldShop | SimulatedShop, url: str) -> dict[str, float]:
    """One worker with its two lanes at a time, from the moment the shop is due until everything has been read."""
    with (
        places.connected(shop, url, TALLYHUB_WORKERS="1", TALLYHUB_ROUTES=shop.routes) as place,
        places.worker(place) as worker,
    ):
        database = Database(url)  # pooled: looking must cost next to nothing
        server = cpu.server_of(url)
        before = cpu.taken_by(worker.pid), cpu.taken_by(server) if server else 0.0
        began, fetching = time.monotonic(), shop.connector == "woocommerce"
        places.begin_import(place, database)
        while not _all_read(database):
            if not fetching and _fetched(database):
                # What the vendor needed to get ready is not our time.
                fetching, began = True, time.monotonic()
            if worker.poll() is not None or time.monotonic() - began > _PATIENCE:
                raise places.CannotMeasure("The worker did not come to an end of it.")
            time.sleep(0.2)
        seconds = time.monotonic() - began
        taken = cpu.taken_by(worker.pid) - before[0]
        served = cpu.taken_by(server) - before[1] if server else 0.0
        with database.read() as connection:
            imported = connection.execute(select(func.count()).select_from(t.sales_order)).scalar_one()
        database.close()
    _expect(imported, shop.count, "The hub")
    return {"seconds": seconds, "cpu": taken, "server": served}


def _all_read(database: Database) -> bool:
    waits = select(t.inbox.c.id).where(t.inbox.c.state == "pending").limit(1)
    with database.read() as connection:
        polled: Any = connection.execute(select(t.cursor.c.polled_at)).scalar_one()
        return polled is not None and connection.execute(waits).first() is None


def _fetched(database: Database) -> bool:
    with database.read() as connection:
        return bool(connection.execute(select(t.cursor.c.fetched)).scalar_one())


def _expect(imported: int, count: int, who: str) -> None:
    if imported != count:
        raise places.CannotMeasure(f"{who} imported {imported} of {count} orders.")
