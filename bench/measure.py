"""The measurements: what each does to the hub and to its floor, in turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import Column, DateTime, Integer, LargeBinary, MetaData, String, Table, func, insert, select

from bench import places
from bench.load import WARM_UP_SECONDS, percentile, send
from hub import jobs
from hub.connector import Webhook
from hub.store import connections, inbox
from hub.store import tables as t
from hub.store.database import Database
from hub.translation import load_json
from hub_woocommerce.connector import WooCommerceConnector

Say = Callable[[str], None]

_bare = MetaData()
bare_inbox = Table(
    "bare_inbox",
    _bare,
    Column("id", Integer, primary_key=True),
    Column("body", LargeBinary),
    Column("received_at", DateTime(timezone=True), server_default=func.now()),
)
bare_order = Table(
    "bare_order",
    _bare,
    Column("id", Integer, primary_key=True),
    Column("external_id", String(200), unique=True),
    Column("total", String(40)),
    Column("body", LargeBinary),
)


@dataclass(frozen=True, slots=True)
class Result:
    """One figure of the hub beside the floor's; ``ratio`` is the first divided by the second."""

    name: str
    value: float
    unit: str
    compared_with: str
    compared_value: float
    database: str

    @property
    def ratio(self) -> float:
        return round(self.value / self.compared_value, 2)


@dataclass(slots=True)
class Figures:
    """What was measured of one thing, repeat by repeat."""

    hub: dict[str, list[float]] = field(default_factory=dict)
    floor: dict[str, list[float]] = field(default_factory=dict)

    def results(self, title: str, unit: str, compared_with: str, database: str) -> list[Result]:
        return [
            Result(
                name=f"{title}{f' {part}' if part else ''}",
                value=round(median(values), 2),
                unit=unit,
                compared_with=compared_with,
                compared_value=round(median(self.floor[part]), 2),
                database=database,
            )
            for part, values in self.hub.items()
        ]


def in_turns(
    repeats: int, figures: Figures, hub: Callable[[], Mapping[str, float]], floor: Callable[[], Mapping[str, float]]
) -> None:
    """Measure both ``repeats`` times; who goes first changes each time, so that a warm machine favors neither."""
    for repeat in range(repeats):
        turns = [(hub, figures.hub), (floor, figures.floor)]
        for measure, kept in turns if repeat % 2 == 0 else reversed(turns):
            for part, value in measure().items():
                kept.setdefault(part, []).append(value)


# ---------------------------------------------------------------- a webhook is acknowledged


def webhook_acknowledged(kind: str, seconds: float, repeats: int, say: Say) -> Iterator[Result]:
    """How long a shop waits until its webhook is stored, at 100 a second."""
    rate = 100.0
    shop = places.Shop(int(rate * (seconds + WARM_UP_SECONDS)))
    alone, working = Figures(), Figures()
    version = ""

    def parts(measured: list[float]) -> dict[str, float]:
        return {"p50": percentile(measured, 50), "p99": percentile(measured, 99)}

    def hub_web() -> dict[str, float]:
        nonlocal version
        with places.database_of(kind) as url, places.connected(shop, url) as hub:
            version = places.version_of(url)
            ready = f"http://127.0.0.1:{hub.settings.port}/readyz"
            with places.running(places.hub_command("web"), hub.environ, ready):
                measured = parts(send(shop.orders, hub.settings.port, hub.path, rate))
        say(f"  web server alone: {_spoken(measured)}")
        return measured

    def whole_hub() -> dict[str, float]:
        with places.database_of(kind) as url, places.connected(shop, url, redis="private") as hub:
            ready = f"http://127.0.0.1:{hub.settings.port}/readyz"
            with places.running(places.hub_command("up"), hub.environ, ready):
                measured = parts(send(shop.orders, hub.settings.port, hub.path, rate))
        say(f"  with the workers at work: {_spoken(measured)}")
        return measured

    def floor() -> dict[str, float]:
        with places.database_of(kind) as url, _bare_server(url) as port:
            measured = parts(send(shop.orders, port, "/", rate))
        say(f"  bare application: {_spoken(measured)}")
        return measured

    in_turns(repeats, alone, hub_web, floor)
    in_turns(repeats, working, whole_hub, floor)
    bare = "bare WSGI application on the same server: signature, one INSERT, COMMIT"
    yield from alone.results("webhook acknowledged at 100/s, web server alone", "ms", bare, version)
    yield from working.results("webhook acknowledged at 100/s, workers importing", "ms", bare, version)


@contextmanager
def _bare_server(url: str, relay: str = "") -> Iterator[int]:
    database = Database(url, pooled=False)
    _bare.create_all(database.engine)
    database.close()
    port = places.free_port()
    environ = dict(os.environ) | {
        "BENCH_DATABASE_URL": url,
        "BENCH_SECRET": places.SECRET,
        "PYTHONPATH": str(places.ROOT),
    }
    if relay:
        environ["BENCH_RELAY"] = relay
    with places.running(["-m", "bench.bare", str(port)], environ, f"http://127.0.0.1:{port}/"):
        yield port


# ---------------------------------------------------------------- a sale reaches the other shop


def propagation(kind: str, redis: str, seconds: float, repeats: int, say: Say) -> Iterator[Result]:
    """From a sale to the stock write at the other shop, in the demo at 10 orders a second."""
    rate = 10.0
    shop = places.Shop(int(rate * (seconds + WARM_UP_SECONDS)))
    figures = Figures()
    version = ""

    def hub() -> dict[str, float]:
        nonlocal version
        with places.database_of(kind) as url, tempfile.TemporaryDirectory(prefix="tallyhub-bench-") as folder:
            report = _demo(url, Path(folder), redis, seconds, rate)
            version = places.version_of(url)
        measured = {part: report["propagation_ms"][part] for part in ("p50", "p99")}
        say(f"  the demo: {_spoken(measured)}")
        return measured

    def floor() -> dict[str, float]:
        with places.database_of(kind) as url, _other_shop() as other, _bare_server(url, other.address) as port:
            left = send(shop.orders, port, "/", rate)
            # The sale is the moment the webhook was due; its latency here includes the write, which is what counts.
            measured = {"p50": percentile(left, 50), "p99": percentile(left, 99)}
        say(f"  bare relay: {_spoken(measured)}")
        return measured

    in_turns(repeats, figures, hub, floor)
    how = {"none": "polling", "private": "woken by Redis"}[redis]
    bare = "bare relay: one webhook stored with one COMMIT, then one stock write, per order"
    yield from figures.results(f"sale to stock write at the other shop, 10 orders/s, {how}", "ms", bare, version)


def _demo(url: str, folder: Path, redis: str, seconds: float, rate: float) -> dict[str, Any]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TALLYHUB_")}
    environ["TALLYHUB_DATABASE_URL"] = url
    if redis == "none":
        environ["TALLYHUB_REDIS_URL"] = "none"
    report = folder / "report.json"
    command = places.hub_command("demo", "--headless", "--seconds", str(seconds), "--rate", str(rate))
    done = subprocess.run(
        [sys.executable, *command, "--data-dir", str(folder / "demo"), "--report", str(report)],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not report.exists():
        raise places.CannotMeasure(f"The demo did not end well: {(done.stdout + done.stderr).strip().splitlines()[-1]}")
    found: dict[str, Any] = json.loads(report.read_text())
    return found


class _OtherShop:
    """Takes a stock write and says so, as fast as Python's own server can."""

    def __init__(self) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_PUT(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}/stock"


@contextmanager
def _other_shop() -> Iterator[_OtherShop]:
    shop = _OtherShop()
    thread = threading.Thread(target=shop.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield shop
    shop.server.shutdown()
    shop.server.server_close()


# ---------------------------------------------------------------- a backlog is worked off


def inbox_drained(kind: str, seconds: float, repeats: int, say: Say) -> Iterator[Result]:
    """How many waiting orders one worker imports in a second: read, checked, allocated, entered into the ledger."""
    count = int(50 * seconds)
    shop = places.Shop(count)
    figures = Figures()
    version = ""

    def hub() -> dict[str, float]:
        nonlocal version
        with places.database_of(kind) as url, places.connected(shop, url) as place:
            version = places.version_of(url)
            took = import_letters(place, shop.orders)
            database = Database(url, pooled=False)
            with database.read() as connection:
                imported = connection.scalar(select(func.count()).select_from(t.sales_order))
            database.close()
        if imported != count:
            raise places.CannotMeasure(f"{imported} of {count} orders were imported.")
        say(f"  the hub: {count / took:.0f} orders/s")
        return {"": count / took}

    def floor() -> dict[str, float]:
        with places.database_of(kind) as url:
            database = Database(url, pooled=False)
            _bare.create_all(database.engine)
            began = time.monotonic()
            for start in range(0, count, 100):
                read = [(load_json(letter.body), letter.body) for letter in shop.orders[start : start + 100]]
                rows = [{"external_id": str(each["id"]), "total": each["total"], "body": body} for each, body in read]
                with database.write() as connection:
                    connection.execute(insert(bare_order), rows)
            took = time.monotonic() - began
            database.close()
        say(f"  bare loop: {count / took:.0f} orders/s")
        return {"": count / took}

    in_turns(repeats, figures, hub, floor)
    bare = "bare loop: parse the body, insert one row per order, 100 to a COMMIT"
    yield from figures.results("backlog imported by one worker", "orders/s", bare, version)


def import_letters(place: places.Connected, letters: Sequence[places.Letter]) -> float:
    """Store webhooks in the inbox, then let one worker read them; returns the seconds that the reading took."""
    composed = jobs.Hub.open(place.settings)
    with composed.database.read() as connection:
        row = connection.execute(select(t.connection)).one()
    credentials = connections.unseal(
        composed.keyring, place.merchant_id, place.connection_id, WooCommerceConnector, row.secrets
    )
    reader = composed.reader(WooCommerceConnector, credentials)
    for letter in letters:
        webhook = Webhook(letter.headers, letter.body)
        delivery = reader.verify(webhook)
        assert delivery is not None
        inbox.store_webhook(
            composed.database, composed.keyring, place.merchant_id, place.connection_id, delivery, webhook
        )
    began = time.monotonic()
    jobs.drain(composed, place.merchant_id, place.connection_id, "inbox", 3600.0)
    took = time.monotonic() - began
    composed.database.close()
    return took


def _spoken(measured: Mapping[str, float]) -> str:
    return ", ".join(f"{part} {value:.1f} ms" for part, value in measured.items())
