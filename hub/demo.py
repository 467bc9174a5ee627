"""`hub demo`: two simulated shops, a hub between them, customers who buy, and the count of what came of it."""

from __future__ import annotations

import json
import math
import random
import secrets
import signal
import socket
import sys
import threading
import time
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from uuid import UUID

import click
from sqlalchemy import delete, func, select, update

from hub import processes
from hub.config import Settings, load_settings, read_settings
from hub.errors import Conflict, HubError
from hub.jobs import Hub
from hub.store import accounts, connections, stock
from hub.store import tables as t
from hub.store.audit import audit
from hub.store.database import Database
from hub.testing.simulator import Sale, ShopSimulator, StockWrite

EMAIL = "demo@example.com"
QUIET_SECONDS = 60.0
_SETUP_SECONDS = 120.0
_BUSY_SECONDS = 30.0  # how long the customers of an endless demo hurry, before they come now and then
_WIDEST_BASKET = 3
_LOG_NAME = "hub.log"

_GOODS = (
    ("MUG", "Stoneware mug", "14.90"),
    ("BOWL", "Breakfast bowl", "17.50"),
    ("PLATE", "Dinner plate", "19.00"),
    ("TEAPOT", "Teapot", "48.00"),
    ("JUG", "Milk jug", "22.00"),
    ("VASE", "Bud vase", "26.50"),
    ("TRAY", "Serving tray", "34.00"),
    ("CANDLE", "Candle holder", "12.00"),
    ("APRON", "Linen apron", "39.00"),
    ("TOWEL", "Tea towel", "11.00"),
    ("BOARD", "Cutting board", "29.00"),
    ("SPOON", "Wooden spoon", "6.50"),
)
_COLORS = ("Sand", "Moss", "Ink", "Rust")


@dataclass(frozen=True, slots=True)
class Plan:
    """What the person asked for."""

    seconds: float | None = None
    headless: bool = False
    report: Path | None = None
    rate: float = 10.0
    seed: int = 1
    port: int | None = None


@dataclass(slots=True)
class Shop:
    """A simulated shop, and the connection the hub has to it once it has one."""

    name: str
    simulator: ShopSimulator
    connection_id: UUID | None = None
    sales: list[Sale] = field(default_factory=list)
    turned_away: int = 0


def run(plan: Plan, data_dir: Path | None, environ: Mapping[str, str]) -> int:
    """Run the demo as planned; returns the exit code: 0 when everything that was counted came out right."""
    with ExitStack() as ending:
        stop = ending.enter_context(_stopped_by_signal())
        show = Show(interactive=not plan.headless)
        settings, told, redis_server = _prepare(plan, data_dir, environ, ending)
        show.done(f"Data folder {settings.data_dir}")
        shops = _open_shops(plan, ending)
        told["TALLYHUB_ROUTES"] = ",".join(f"{shop.simulator.origin}={shop.simulator.serve()}" for shop in shops)
        supervisor = _start(settings, told, redis_server, show, ending)
        demo = Demo(plan, Hub.open(load_settings(told)), shops, show, stop)
        ending.callback(demo.hub.database.close)
        password = demo.open_for_business(settings)
        demo.connect()
        show.line("")
        show.line(f"  The pages     {settings.public_url}")
        show.line(f"  Sign in       {EMAIL}")
        show.line(f"  Password      {password}")
        show.line("")
        demo.sell()
        quiet = demo.settle()
        report = demo.count() | {"seconds": demo.sold_for, "quiet": quiet, "restarts": supervisor.restarts()}
        report["redis"] = settings.redis_mode if redis_server or settings.redis_mode != "private" else "none"
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
    for name in ("HOST", "PORT", "PUBLIC_URL", "ROUTES"):
        own.pop(f"TALLYHUB_{name}_FILE", None)
    port = plan.port or _free_port()
    own |= {
        "TALLYHUB_HOST": "127.0.0.1",
        "TALLYHUB_PORT": str(port),
        "TALLYHUB_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "TALLYHUB_ROUTES": "",
    }
    settings = load_settings(own)
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    ending.enter_context(processes.only_one(settings.data_dir))
    processes.upgrade_database(settings, click.echo, lambda *_: None)
    database = Database(settings.database_url, pooled=False)
    _clear(database)
    database.close()
    redis_server = processes.private_redis(settings)
    processes.wait_for_port(settings.host, settings.port)
    return settings, processes.environ_of_children(settings, own, redis_server), redis_server


def _clear(database: Database) -> None:
    """Forget an earlier demo: its shops, which lived in memory, are gone. Raises Conflict where there is more."""

    def empty(connection: Any) -> None:
        others = connection.execute(select(t.merchant.c.name).where(t.merchant.c.demo.is_(False))).scalars().all()
        if others:
            raise Conflict(
                f"This database belongs to {', '.join(others)}. The demo needs one of its own: name an empty folder "
                "with --data-dir, or another database in TALLYHUB_DATABASE_URL. Nothing was changed."
            )
        for table in reversed(t.metadata.sorted_tables):
            connection.execute(delete(table))

    database.transact(empty)


def _open_shops(plan: Plan, ending: ExitStack) -> list[Shop]:
    """One simulated shop per connector that brings one, all with the same goods on their shelves."""
    shops = []
    for point in sorted(entry_points(group="hub.simulators"), key=lambda each: each.name):
        try:
            found = point.load()
        except ImportError as error:
            package = point.dist.name if point.dist else point.name
            raise HubError(f"The simulated shop “{point.name}” needs more: install {package}[simulator].") from error
        if isinstance(found, type) and issubclass(found, ShopSimulator):
            shop = Shop(point.name, ending.enter_context(found(seed=plan.seed)))
            shops.append(shop)
    if len(shops) < 2:
        raise HubError("The demo needs two simulated shops: install tallyhub[all] and the extra [simulator] of each.")
    return shops


def _start(
    settings: Settings,
    told: Mapping[str, str],
    redis_server: processes.PrivateRedis | None,
    show: Show,
    ending: ExitStack,
) -> processes.Supervisor:
    log = settings.data_dir / _LOG_NAME
    tree = processes.programs(settings, told, redis_server)
    supervisor = processes.Supervisor(tree, show.line, output=log)
    thread = threading.Thread(target=supervisor.run, name="supervisor")
    thread.start()
    ending.callback(thread.join)
    ending.callback(supervisor.stop)
    with show.working("Starting the hub"):
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


@contextmanager
def _stopped_by_signal() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets; a second Ctrl-C interrupts whatever is being done."""
    stop = threading.Event()

    def asked(_signal: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# ---------------------------------------------------------------- the demo


class Demo:
    """A merchant with two shops, from the first connection to the last count."""

    def __init__(self, plan: Plan, hub: Hub, shops: Sequence[Shop], show: Show, stop: threading.Event) -> None:
        self.plan = plan
        self.hub = hub
        self.shops = shops
        self.show = show
        self.stop = stop
        self.merchant_id = UUID(int=0)
        self.opening = self._catalogue()
        self.sold_for = 0.0

    def _catalogue(self) -> dict[str, int]:
        """Opening stock by SKU: of most things enough, of some too little, so that they sell out."""
        choose = random.Random(self.plan.seed)  # noqa: S311 (customers are no secret)
        skus = [
            (f"{code}-{color.upper()}", f"{title}, {color.lower()}", price)
            for code, title, price in _GOODS
            for color in _COLORS
        ]
        expected = 60.0
        if self.plan.seconds is not None:
            expected = self.plan.rate * self.plan.seconds * 3.0 / len(skus)
        opening = {sku: 3 + round(expected * choose.choice((0.5, 2.0, 3.0, 4.0))) for sku, _, _ in skus}
        for number, shop in enumerate(self.shops):
            for sku, title, price in skus:
                # Before they are connected, every shop but the first says something of its own.
                shop.simulator.add_product(sku, title, opening[sku] if number == 0 else choose.randint(0, 20), price)
        return opening

    # ------------------------------------------------------------ setting up, by the same code as the pages

    def open_for_business(self, settings: Settings) -> str:
        """Make the merchant and its owner; returns the password."""
        password = secrets.token_urlsafe(12)
        database = self.hub.database
        token = accounts.issue_setup_token(database) or ""
        self.merchant_id, _ = accounts.set_up(
            database, token, merchant_name="Kiln & Cloth (demo)", email=EMAIL, name="Demo", password=password
        )
        with database.write() as connection:
            connection.execute(update(t.merchant).where(t.merchant.c.id == self.merchant_id).values(demo=True))
        self.show.done(f"A merchant with {len(self.opening)} products in {len(self.shops)} shops")
        return password

    def connect(self) -> None:
        """Connect every shop, match its listings, adopt the stock of the first, go live."""
        for shop in self.shops:
            connector = self.hub.registry.connector(shop.name)
            with self.show.working(f"Connecting {connector.label}"):
                settings = connector.settings_schema().load(shop.simulator.settings())
                shop.connection_id, task_id = connections.connect(
                    self.hub.database, self.hub.keyring, self.merchant_id, connector, connector.label, settings, EMAIL
                )
                self._ring(shop.connection_id, "fetch")
                self._wait_for_task(task_id)
        for shop in self.shops:
            with self.show.working(f"Importing the products of {shop.name}"):
                self._until(lambda shop=shop: self._imported(shop))  # type: ignore[misc]
                matched = connections.accept_suggestions(
                    self.hub.database, self.merchant_id, self._id(shop), None, EMAIL
                )
                if matched != len(self.opening):
                    raise HubError(f"{matched} of {len(self.opening)} products of {shop.name} could be matched.")
        with self.show.working(f"Adopting the opening stock of {self.shops[0].name}"):
            task_id = connections.adopt_stock(self.hub.database, self.merchant_id, self._id(self.shops[0]), EMAIL)
            self._ring(self._id(self.shops[0]), "fetch")
            self._wait_for_task(task_id)
        with self.show.working("Going live: every shop gets the hub's figures"):
            for shop in self.shops:
                for each in connections.go_live(self.hub.database, self.merchant_id, self._id(shop), EMAIL):
                    self._ring(each, "publish")
            self._until(lambda: all(shop.simulator.stock() == self.opening for shop in self.shops))
        with self.show.working("Subscribing to webhooks"):
            self._until(lambda: self._count(t.effect, t.effect.c.state == "succeeded") >= len(self.shops))

    def _imported(self, shop: Shop) -> bool:
        return self._count(t.listing, t.listing.c.connection_id == shop.connection_id) == len(self.opening)

    def _wait_for_task(self, task_id: UUID) -> None:
        def ended() -> bool:
            with self.hub.database.read() as connection:
                row = connection.execute(select(t.task.c.state, t.task.c.message).where(t.task.c.id == task_id)).one()
            if row.state == "failed":
                raise HubError(f"The demo cannot go on: {row.message}")
            return bool(row.state == "done")

        self._until(ended)

    def _until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _SETUP_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                log = self.hub.settings.data_dir / _LOG_NAME
                raise HubError(f"This takes far too long. See what the hub says in {log}")
            if self.stop.wait(0.05):
                raise HubError("The demo was stopped before it began.")

    # ------------------------------------------------------------ selling

    def sell(self) -> None:
        """Let customers buy in every shop at once, until the time is over or somebody stops it."""
        plan = self.plan
        if plan.seconds is None:
            busy = f"{plan.rate:g} times a second for {_BUSY_SECONDS:g} s"
            self.show.line(f"Customers buy {busy}, then now and then. Ctrl-C ends it.")
        else:
            self.show.line(f"Customers buy {plan.rate:g} times a second for {plan.seconds:g} s.")
        began = time.monotonic()
        closing = threading.Event()
        crowds = [threading.Thread(target=self._crowd, args=(shop, closing)) for shop in self.shops]
        for crowd in crowds:
            crowd.start()
        try:
            while not self.stop.is_set():
                passed = time.monotonic() - began
                if plan.seconds is not None and passed >= plan.seconds:
                    break
                self.show.counters(self._counters(passed))
                if plan.seconds is None:
                    self._receive_goods()
                self.stop.wait(1.0 if plan.seconds is None else min(1.0, max(0.01, plan.seconds - passed)))
        finally:
            closing.set()
            for crowd in crowds:
                crowd.join()
            self.sold_for = round(time.monotonic() - began, 1)
        self.show.counters(self._counters(self.sold_for))
        self.show.line("")

    def _crowd(self, shop: Shop, closing: threading.Event) -> None:
        choose = random.Random(f"{self.plan.seed} {shop.name}")  # noqa: S311
        skus = sorted(self.opening)
        began = time.monotonic()
        due = began
        while True:
            rate = self.plan.rate / len(self.shops)
            if self.plan.seconds is None and time.monotonic() - began > _BUSY_SECONDS:
                rate = min(rate, 0.25)
            due += choose.expovariate(rate)
            if closing.wait(max(0.0, due - time.monotonic())):
                return
            basket = Counter(choose.choices(skus, k=choose.randint(1, _WIDEST_BASKET)))
            sale = shop.simulator.buy(sorted(basket.items()))
            if sale is None:
                shop.turned_away += 1
            else:
                shop.sales.append(sale)

    def _receive_goods(self) -> None:
        """Whatever runs low is delivered, so that an endless demo has something to sell."""
        low = {sku for sku, left in self.shops[0].simulator.stock().items() if left < 5}
        if not low:
            return
        level = t.stock_level.c
        with self.hub.database.read() as connection:
            rows = connection.execute(
                select(t.sku.c.id, t.sku.c.code, level.location_id, level.on_hand)
                .join(t.stock_level, (level.merchant_id == t.sku.c.merchant_id) & (level.sku_id == t.sku.c.id))
                .where(t.sku.c.merchant_id == self.merchant_id, t.sku.c.code.in_(low))
            ).all()
        for row in rows[:3]:
            told = stock.adjust(
                self.hub.database,
                self.merchant_id,
                row.id,
                row.location_id,
                row.on_hand + 40,
                "A delivery of 40 arrived",
                EMAIL,
                f"delivery-{secrets.token_hex(6)}",
            )
            for connection_id in told:
                self._ring(connection_id, "publish")

    def _counters(self, passed: float) -> str:
        with self.hub.database.read() as connection:
            imported = connection.execute(select(func.count()).select_from(t.sales_order)).scalar_one()
            waiting = connection.execute(
                select(func.count())
                .select_from(t.publication)
                .where(t.publication.c.version > t.publication.c.published_version)
            ).scalar_one()
            backordered = connection.execute(select(func.coalesce(func.sum(t.backorder.c.quantity), 0))).scalar_one()
        placed = sum(len(shop.sales) for shop in self.shops)
        writes = sum(len(shop.simulator.stock_writes) for shop in self.shops)
        return (
            f"{passed:4.0f} s   {placed} orders placed, {imported} imported   {writes} stock figures written, "
            f"{waiting} waiting   {backordered} units on backorder"
        )

    # ------------------------------------------------------------ counting

    def settle(self) -> bool:
        """Wait until nothing is left to do; False if that takes longer than a minute."""
        began = time.monotonic()
        asked = False
        with self.show.working("Waiting until every shop says the same"):
            while not self._is_quiet():
                passed = time.monotonic() - began
                if passed > QUIET_SECONDS:
                    return False
                if passed > 10.0 and not asked:
                    # A webhook may be lost for good. What the pages offer as "Sync now" finds what it told.
                    asked = True
                    for shop in self.shops:
                        connections.sync_now(self.hub.database, self.merchant_id, self._id(shop), EMAIL)
                        self._ring(self._id(shop), "fetch")
                time.sleep(0.2)
        return True

    def _is_quiet(self) -> bool:
        if not all(shop.simulator.wait_for_deliveries(timeout=0.0) for shop in self.shops):
            return False
        pending = (
            (t.inbox, t.inbox.c.state == "pending"),
            (t.publication, t.publication.c.version > t.publication.c.published_version),
            (t.fetch_request, t.fetch_request.c.attempts == 0),
            (t.effect, t.effect.c.state.in_(("planned", "in_flight"))),
            (t.task, t.task.c.state.in_(("waiting", "running"))),
        )
        if any(self._count(table, condition) for table, condition in pending):
            return False
        return self._missing() == 0 and not self._different()

    def _missing(self) -> int:
        placed = sum(len(shop.simulator.orders()) for shop in self.shops)
        return placed - sum(len(shop.simulator.orders() & self._orders_of(shop)) for shop in self.shops)

    def _orders_of(self, shop: Shop) -> set[str]:
        order = t.sales_order.c
        with self.hub.database.read() as connection:
            rows = connection.execute(select(order.external_id).where(order.connection_id == shop.connection_id))
            return set(rows.scalars())

    def _different(self) -> list[tuple[str, str]]:
        """Every (shop, SKU) that says something else than what the hub has available."""
        level = t.stock_level.c
        with self.hub.database.read() as connection:
            available = dict(
                connection.execute(
                    select(t.sku.c.code, func.sum(level.on_hand - level.allocated))
                    .join(t.stock_level, (level.merchant_id == t.sku.c.merchant_id) & (level.sku_id == t.sku.c.id))
                    .group_by(t.sku.c.code)
                )
                .tuples()
                .all()
            )
        said = [(shop, shop.simulator.stock()) for shop in self.shops]
        return [(shop.name, sku) for shop, stocks in said for sku in stocks if stocks[sku] != available.get(sku)]

    def count(self) -> dict[str, Any]:
        """What came of everything that was sold."""
        database = self.hub.database
        placed = sum(len(shop.simulator.orders()) for shop in self.shops)
        with database.read() as connection:
            rows = connection.execute(select(func.count()).select_from(t.sales_order)).scalar_one()
            beyond = t.stock_level.c.allocated - t.stock_level.c.on_hand
            oversold = connection.execute(select(func.coalesce(func.sum(beyond), 0)).where(beyond > 0)).scalar_one()
            backordered = connection.execute(select(func.coalesce(func.sum(t.backorder.c.quantity), 0))).scalar_one()
            listings = connection.execute(select(func.count()).select_from(t.listing)).scalar_one()
        seconds = propagation(
            self.opening, [shop.sales for shop in self.shops], [shop.simulator.stock_writes for shop in self.shops]
        )
        missing = self._missing()
        return {
            "orders_placed": placed,
            "orders_imported": placed - missing,
            "duplicates": rows - (placed - missing),
            "oversold": int(oversold),
            "listings": listings,
            "listings_converged": listings - len(self._different()),
            "propagation_ms": {f"p{part}": _milliseconds(seconds, part) for part in (50, 95, 99)},
            "propagation_measured": len(seconds),
            "audit_violations": sum(each.count for each in audit(database, self.hub.keyring, settle=timedelta(0))),
            "backordered": int(backordered),
            "units_unexplained": self._unexplained(),
            "quarantined": self._count(t.inbox, t.inbox.c.state == "quarantined"),
            "customers_turned_away": sum(shop.turned_away for shop in self.shops),
            "rate": self.plan.rate,
            "seed": self.plan.seed,
            "database": database.engine.dialect.name,
        }

    def _unexplained(self) -> int:
        """Units by which the hub's stock differs from what it began with less what the shops' tills say."""
        sold: Counter[str] = Counter()
        for shop in self.shops:
            for sale in shop.sales:
                sold.update(dict(sale.items))
        level, waiting = t.stock_level.c, t.backorder.c
        with self.hub.database.read() as connection:
            free = select(t.sku.c.code, func.sum(level.on_hand - level.allocated)).join(
                t.stock_level, (level.merchant_id == t.sku.c.merchant_id) & (level.sku_id == t.sku.c.id)
            )
            owed = select(t.sku.c.code, func.sum(waiting.quantity)).join(
                t.backorder, (waiting.merchant_id == t.sku.c.merchant_id) & (waiting.sku_id == t.sku.c.id)
            )
            left = Counter(dict(connection.execute(free.group_by(t.sku.c.code)).tuples().all()))
            left.subtract(dict(connection.execute(owed.group_by(t.sku.c.code)).tuples().all()))
            delivered = connection.execute(
                select(func.coalesce(func.sum(t.stock_entry.c.on_hand_delta), 0)).where(
                    t.stock_entry.c.cause == "adjusted"
                )
            ).scalar_one()
        if delivered:
            return abs(sum(self.opening.values()) + int(delivered) - sold.total() - left.total())
        return sum(abs(self.opening[sku] - sold[sku] - left[sku]) for sku in self.opening)

    # ------------------------------------------------------------ small things

    def _id(self, shop: Shop) -> UUID:
        if shop.connection_id is None:
            raise HubError(f"{shop.name} is not connected.")
        return shop.connection_id

    def _ring(self, connection_id: UUID, lane: str) -> None:
        self.hub.doorbell.ring(self.merchant_id, connection_id, lane)

    def _count(self, table: Any, condition: Any) -> int:
        with self.hub.database.read() as connection:
            found: int = connection.execute(select(func.count()).select_from(table).where(condition)).scalar_one()
            return found


# ---------------------------------------------------------------- measuring


def propagation(
    opening: Mapping[str, int], sales: Sequence[Sequence[Sale]], writes: Sequence[Sequence[StockWrite]]
) -> list[float]:
    """Seconds from each sale of a SKU in one shop to the write that told each other shop, by shop in both lists.

    A write tells of a sale when its quantity leaves no room for it: it is at most the opening stock less everything
    the selling shop had sold by then, this sale included, and less everything the others had sold by the time of the
    write. Sales that come close together are thus told by one write, and none counts as told by a write that happens
    to be later but does not know of it. A sale that needed no write (the shop said so already) is not measured.
    """
    sold = [_running_totals(each) for each in sales]
    measured = []
    for seller, moments in enumerate(sold):
        for other, written in enumerate(writes):
            if other == seller:
                continue
            reach = _reach(opening, [each for number, each in enumerate(sold) if number != seller], written)
            for sku, steps in moments.items():
                for at, total in steps:
                    later = reach[sku][bisect_left(reach[sku], (at,)) :]
                    measured += [moment - at for moment, told in later if told >= total][:1]
    return sorted(measured)


def _running_totals(sales: Sequence[Sale]) -> dict[str, list[tuple[float, int]]]:
    """Per SKU, (when, units sold until then)."""
    totals: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for sale in sorted(sales, key=lambda each: each.at):
        for sku, units in sale.items:
            before = totals[sku][-1][1] if totals[sku] else 0
            totals[sku].append((sale.at, before + units))
    return totals


def _reach(
    opening: Mapping[str, int],
    others: Sequence[Mapping[str, Sequence[tuple[float, int]]]],
    writes: Sequence[StockWrite],
) -> dict[str, list[tuple[float, float]]]:
    """Per SKU, (when it was written, how many units of the selling shop that quantity leaves no room for)."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for write in sorted(writes, key=lambda each: each.at):
        by_others = 0
        for totals in others:
            steps = totals.get(write.sku, ())
            place = bisect_right(steps, (write.at, math.inf))
            by_others += steps[place - 1][1] if place else 0
        told = opening[write.sku] - by_others - write.quantity if write.quantity > 0 else math.inf
        found[write.sku].append((write.at, told))
    return found


def _milliseconds(seconds: Sequence[float], part: int) -> float | None:
    """The smallest value that at least ``part`` percent do not exceed; None of nothing."""
    if not seconds:
        return None
    return round(seconds[max(0, math.ceil(len(seconds) * part / 100) - 1)] * 1000, 1)


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
        )
        if count
    ]
    if not report["quiet"]:
        wrong.append("the hub did not come to rest within a minute")
    if plan.report is not None:
        plan.report.parent.mkdir(parents=True, exist_ok=True)
        plan.report.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        show.line(f"Report: {plan.report}")
    elif plan.headless:
        show.line(json.dumps(report, indent=2))
    times = report["propagation_ms"]
    show.line(
        f"{report['orders_placed']} orders placed, {report['orders_imported']} imported, {report['backordered']} units "
        f"on backorder. From a sale to the other shop: {times['p50']} ms (half), {times['p99']} ms (99 %)."
    )
    if wrong:
        show.line(f"Not right: {'; '.join(wrong)}.")
        return 1
    show.line("Nothing lost, nothing doubled, nothing oversold; every listing says what the hub has.")
    return 0


# ---------------------------------------------------------------- the console


class Show:
    """What the person sees: steps as they are done, and counters that stay on one line of a terminal."""

    def __init__(self, *, interactive: bool) -> None:
        self._terminal = interactive and sys.stdout.isatty()
        self._counters_shown = False
        self._told_at = -math.inf
        self._lock = threading.Lock()

    def line(self, text: str) -> None:
        with self._lock:
            if self._counters_shown:
                click.echo()
                self._counters_shown = False
            click.echo(text)

    def done(self, text: str) -> None:
        self.line(f"  {click.style('done', fg='green')}  {text}")

    def counters(self, text: str) -> None:
        with self._lock:
            if self._terminal:
                click.echo(f"\r\033[K{text}", nl=False)
                self._counters_shown = True
            elif time.monotonic() - self._told_at >= 5.0:
                self._told_at = time.monotonic()
                click.echo(text)

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        if self._terminal:
            click.echo(f"  …     {text}", nl=False)
        yield
        with self._lock:
            if self._terminal:
                click.echo("\r\033[K", nl=False)
            click.echo(f"  {click.style('done', fg='green')}  {text}")
