"""`hub demo`: simulated shops, carriers and a 3PL, a hub between them, customers who buy, people who ship it, and the
count of what came of it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from sqlalchemy import Connection, select

from hub import processes
from hub.config import Settings, load_settings, read_settings
from hub.demo.books import Books
from hub.demo.market import EMAIL, Market
from hub.demo.show import Show, stopped_by_signal
from hub.demo.street import Street, open_street
from hub.errors import Conflict, HubError
from hub.jobs import Hub
from hub.store import tables as t
from hub.store.database import Database

# Mostly a few seconds are enough. A figure that Amazon has taken in and never shows is written anew after five minutes.
QUIET_SECONDS = 360.0
_LOG_NAME = "hub.log"
# In this order they are connected; the stock of the first is adopted.
_CAST = ("shopify", "woocommerce", "amazon", "easypost", "ups", "shipbob")


@dataclass(frozen=True, slots=True)
class Plan:
    """What the person asked for. ``seconds`` None: sell until somebody stops it."""

    seconds: float | None = None
    headless: bool = False
    report: Path | None = None
    rate: float = 10.0
    seed: int = 1
    port: int | None = None


def run(plan: Plan, data_dir: Path | None, environ: Mapping[str, str]) -> int:
    """Run the demo as planned; returns the exit code: 0 when everything that was counted came out right."""
    show = Show(interactive=not plan.headless)
    show.line("Tallyhub demo: simulated shops, a hub between them, customers who buy.")
    with ExitStack() as ending:
        stop = ending.enter_context(stopped_by_signal())
        settings, told, redis_server = _prepare(plan, data_dir, environ, ending)
        log = settings.data_dir / _LOG_NAME
        street = _open_street(plan, show, ending)
        told["TALLYHUB_ROUTES"] = ",".join(f"{origin}={address}" for origin, address in street.routes().items())
        hub = Hub.open(load_settings(told))
        ending.callback(hub.database.close)
        supervisor = _start(settings, told, redis_server, show, log, ending)
        market = Market(
            hub,
            street,
            show,
            stop,
            rate=plan.rate,
            seconds=plan.seconds,
            seed=plan.seed,
            log=log,
        )
        password = market.open_for_business()
        market.connect()
        show.line(f"\n  The pages     {settings.public_url}")
        show.line(f"  Sign in       {EMAIL}")
        show.line(f"  Password      {password}\n")
        books = Books(hub, street.shops, street.carriers, street.warehouses, market.opening)
        sold_for = market.sell(books.counters)
        with show.working("Waiting until every shop says the same, and everything packed has left"):
            quiet = books.settle(QUIET_SECONDS, market.synchronize, market.crew.finish)
        report = books.count(market.delivered) | {
            "quiet": quiet,
            "restarts": supervisor.restarts(),
            "seconds": sold_for,
            "rate": plan.rate,
            "seed": plan.seed,
            "database": hub.database.engine.dialect.name,
            "redis": "none" if settings.redis_mode == "private" and redis_server is None else settings.redis_mode,
        }
    return _judge(report, plan, show)


# ---------------------------------------------------------------- before the curtain


def _prepare(
    plan: Plan, data_dir: Path | None, environ: Mapping[str, str], ending: ExitStack
) -> tuple[Settings, dict[str, str], processes.PrivateRedis | None]:
    """Settings of the demo's own, an empty database, the data folder held for this process."""
    own = dict(environ)
    if data_dir is not None:
        own["TALLYHUB_DATA_DIR"] = str(data_dir)
    elif "TALLYHUB_DATA_DIR" not in own:
        usual = read_settings(own).data_dir
        own["TALLYHUB_DATA_DIR"] = str(usual.with_name(f"{usual.name}-demo"))
    for name in ("HOST", "PORT", "PUBLIC_URL", "ROUTES", "SANDBOX"):
        own.pop(f"TALLYHUB_{name}_FILE", None)
    port = plan.port or _free_port()
    own |= {
        "TALLYHUB_HOST": "127.0.0.1",
        "TALLYHUB_PORT": str(port),
        "TALLYHUB_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "TALLYHUB_ROUTES": "",
        "TALLYHUB_SANDBOX": "off",  # everything here is simulated as it is
    }
    settings = load_settings(own)
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    ending.enter_context(processes.only_one(settings.data_dir))
    processes.upgrade_database(settings, click.echo, lambda *_: None)
    database = Database(settings.database_url, pooled=False)
    try:
        database.transact(_clear)
    finally:
        database.close()
    redis_server = processes.private_redis(settings)
    processes.wait_for_port(settings.host, settings.port)
    return settings, processes.environ_of_children(settings, own, redis_server), redis_server


def _clear(connection: Connection) -> None:
    """Forget an earlier demo: its shops, which lived in memory, are gone. Raises Conflict where there is more."""
    others = connection.execute(select(t.merchant.c.name).where(t.merchant.c.demo.is_(False))).scalars().all()
    if others:
        raise Conflict(
            f"This database belongs to {', '.join(others)}. The demo needs one of its own: name an empty folder "
            "with --data-dir, or another database in TALLYHUB_DATABASE_URL. Nothing was changed."
        )
    t.empty_everything(connection)


def _open_street(plan: Plan, show: Show, ending: ExitStack) -> Street:
    """Everybody who takes part in the demo."""
    street = open_street(_CAST, plan.seed, show.line, ending)
    if len(street.shops) < 2:
        raise HubError("The demo needs two simulated shops: install tallyhub[all] and the extra [simulator] of each.")
    return street


def _start(
    settings: Settings,
    told: Mapping[str, str],
    redis_server: processes.PrivateRedis | None,
    show: Show,
    log: Path,
    ending: ExitStack,
) -> processes.Supervisor:
    """The same process tree as `hub up`, in a thread of its own; it is stopped when the demo ends."""
    supervisor = processes.Supervisor(processes.programs(settings, told, redis_server), show.line, output=log)
    thread = threading.Thread(target=supervisor.run, name="supervisor")
    thread.start()
    ending.callback(thread.join)
    ending.callback(supervisor.stop)
    with show.working(f"Starting the hub in {settings.data_dir}"):
        if not processes.wait_until_ready(f"http://{settings.host}:{settings.port}"):
            raise HubError(f"The hub does not start. Its log says why: {log}")
    return supervisor


def _free_port() -> int:
    """The usual port if nobody has it, else any."""
    for port in (8484, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            chosen: int = probe.getsockname()[1]
            return chosen
    raise HubError("There is no free port on this machine.")


# ---------------------------------------------------------------- after it


def _judge(report: dict[str, Any], plan: Plan, show: Show) -> int:
    wrong = [
        f"{count} {what}"
        for count, what in (
            (report["orders_placed"] - report["orders_imported"], "orders are lost"),
            (report["duplicates"], "orders are there twice, or were never placed"),
            (report["oversold"], "units are allocated beyond what is on hand"),
            (report["listings"] - report["listings_converged"], "listings do not say what the hub has"),
            (report["audit_violations"], "rows break an invariant (see: hub audit)"),
            (report["units_unexplained"], "units are unexplained"),
            (report["quarantined"], "records could not be read"),
            (
                abs(report["labels_charged"] - report["labels_bought"]),
                "labels were not paid for just once",
            ),
            (abs(report["orders_at_3pl"] - report["orders_asked_of_3pl"]), "orders were not sent to the 3PL just once"),
            (report["shipments"] - report["shipments_confirmed"], "shipments the shops do not know of"),
            (
                abs(report["orders_of_channels"] - report["shipped_by_channels"]),
                "orders that a channel shipped itself are not known as such",
            ),
        )
        if count
    ]
    if not report["quiet"]:
        wrong.append(f"the hub did not come to rest within {QUIET_SECONDS:g} seconds")
    if plan.report is not None:
        plan.report.parent.mkdir(parents=True, exist_ok=True)
        plan.report.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        show.line(f"Report: {plan.report}")
    times = report["propagation_ms"]
    show.line(
        f"{report['orders_placed']} orders placed, {report['orders_imported']} imported, {report['backordered']} units "
        f"on backorder. From a sale to the other shop: {times['p50']} ms (half), {times['p99']} ms (99 %)."
    )
    if wrong:
        show.line(f"Not right: {'; '.join(wrong)}.")
        return 1
    if report["orders_of_channels"]:
        by_queue = report["propagation_by_queue_ms"]
        show.line(
            f"Where a shop's news come through a queue: {by_queue['p50']} ms (half), {by_queue['p99']} ms (99 %). "
            f"{report['shipped_by_channels']} of the orders were shipped by the channel itself."
        )
    show.line(
        f"{report['shipments']} parcels left: {report['labels_bought']} labels bought once each, "
        f"{report['orders_at_3pl']} orders sent to the 3PL once each, {report['delivered']} delivered; the shops know."
    )
    show.line("Nothing lost, nothing doubled, nothing oversold; every listing says what the hub has.")
    return 0
