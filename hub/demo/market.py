"""The market: a merchant with a catalogue, the shops it sells in, and the customers who buy there."""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from uuid import UUID

from sqlalchemy import func, select, update

from hub.connector import Capabilities
from hub.demo.crew import PACKER, Crew
from hub.demo.show import Show
from hub.demo.street import Shop, Street
from hub.errors import HubError
from hub.jobs import Hub
from hub.store import accounts, connections, first_steps, matching, warehouse
from hub.store import tables as t

EMAIL = "demo@example.com"

_SETUP_SECONDS = 120.0
_BUSY_SECONDS = 30.0  # how long the customers of an endless demo hurry, before they come now and then
_SLOW_RATE = 0.5  # orders per second after that
_DELIVERY = 40
_UNMATCHED = ("GIFT BOX L", "Gift box, large", 25, "4.50")
_NOBODY = UUID(int=0)


class Market:
    """Sets everything up by the same code as the pages, then lets customers buy.

    ``opening`` is the stock of every SKU when selling begins. Without ``seconds`` the customers hurry for a while,
    then come now and then; orders are shipped, and what runs low is delivered.
    """

    def __init__(
        self,
        hub: Hub,
        street: Street,
        show: Show,
        stop: threading.Event,
        *,
        rate: float,
        seconds: float | None,
        seed: int,
        log: Path,
    ) -> None:
        self.merchant_id = _NOBODY
        self._hub = hub
        self._shops = street.shops
        self._show = show
        self._stop = stop
        self._rate = rate
        self._seconds = seconds
        self._seed = seed
        self._log = log
        self.delivered: set[str] = set()  # SKUs of which more arrived after the opening
        self.crew = Crew(hub, street.carriers, street.warehouses, self._ring)
        sold = 60.0 if seconds is None else rate * seconds * street.expected_units
        self.opening = street.stock_the_shelves(seed, sold)

    # ------------------------------------------------------------ setting up

    def open_for_business(self) -> str:
        """Make the merchant and its owner; returns the password."""
        password = secrets.token_urlsafe(12)
        database = self._hub.database
        token = accounts.issue_setup_token(database) or ""
        self.merchant_id, _ = accounts.set_up(
            database, token, merchant_name="Kiln & Cloth (demo)", email=EMAIL, name="Demo", password=password
        )
        with database.write() as connection:
            connection.execute(update(t.merchant).where(t.merchant.c.id == self.merchant_id).values(demo=True))
        return password

    def connect(self) -> None:
        """Connect every shop, match its listings, adopt the stock of the first, go live in all of them."""
        database, merchant_id = self._hub.database, self.merchant_id
        self.crew.merchant_id = merchant_id
        for shop in self._shops:
            shop.connection_id = self._connect(shop.name, shop.simulator.settings())
            can = self._hub.registry.connector(shop.name).capabilities
            shop.by_queue = isinstance(can, Capabilities) and can.message_poll_seconds is not None
        for shop in self._shops:
            with self._show.working(f"Importing the products of {shop.name}"):
                self._wait_for_listings(shop)
                matched = matching.accept_suggestions(database, merchant_id, shop.connection_id, None, EMAIL).matched
                if matched != (listed := len(shop.goods) + len(shop.theirs)):
                    raise HubError(f"{matched} of {listed} products of {shop.name} could be matched.")
        first = self._shops[0]
        with self._show.working(f"Adopting the opening stock of {first.name}"):
            task_id = connections.adopt_stock(database, merchant_id, first.connection_id, EMAIL)
            self._ring(first.connection_id, "fetch")
            self._wait_for_task(task_id)
        self._move_in()
        with self._show.working("Going live: every shop gets the hub's figures"):
            for shop in self._shops:
                for each in connections.go_live(database, merchant_id, shop.connection_id, EMAIL):
                    self._ring(each, "publish")
            self._until(lambda: all(self._says_the_opening(shop) for shop in self._shops))
        with self._show.working("Subscribing to webhooks"):
            self._until(self._subscribed)
        # Somebody has just put something up for sale there: the queue of what is to be matched is not empty either.
        self._shops[1].simulator.add_product(*_UNMATCHED)

    def _says_the_opening(self, shop: Shop) -> bool:
        return shop.simulator.stock() == {sku: self.opening[sku] for sku in shop.goods}

    def _connect(self, name: str, settings: Mapping[str, str]) -> UUID:
        connector = self._hub.registry.connector(name)
        with self._show.working(f"Connecting {connector.label}"):
            connection_id, task_id = connections.connect(
                self._hub.database,
                self._hub.keyring,
                self.merchant_id,
                connector,
                connector.label,
                connector.settings_schema().load(settings),
                EMAIL,
            )
            self._ring(connection_id, "fetch")
            self._wait_for_task(task_id)
        return connection_id

    def _move_in(self) -> None:
        """Connect who ships: the carriers, and the 3PL with what lies there."""
        first_steps.move_in(self._hub.database, self.merchant_id, PACKER)
        for carrier in self.crew.carriers:
            carrier.connection_id = self._connect(carrier.name, carrier.simulator.settings())
        for provider in self.crew.warehouses:
            provider.connection_id = self._connect(provider.name, provider.simulator.settings())
            with self._show.working("Taking over what lies at the 3PL"):
                self._until(lambda: self._counted() == len(self.opening))
        if self.crew.warehouses:
            for each, lane in first_steps.sell_from_everywhere(self._hub.database, self.merchant_id, PACKER):
                self._ring(each, lane)

    def _counted(self) -> int:
        """SKUs of which there is some stock."""
        with self._hub.database.read() as connection:
            return connection.execute(
                select(func.count(t.stock_level.c.sku_id.distinct())).where(t.stock_level.c.on_hand > 0)
            ).scalar_one()

    def _wait_for_task(self, task_id: UUID) -> None:
        def ended() -> bool:
            with self._hub.database.read() as connection:
                row = connection.execute(select(t.task.c.state, t.task.c.message).where(t.task.c.id == task_id)).one()
            if row.state == "failed":
                raise HubError(f"The demo cannot go on: {row.message}")
            return bool(row.state == "done")

        self._until(ended)

    def _wait_for_listings(self, shop: Shop) -> None:
        here = select(func.count()).select_from(t.listing).where(t.listing.c.connection_id == shop.connection_id)

        def imported() -> bool:
            with self._hub.database.read() as connection:
                return connection.execute(here).scalar_one() == len(shop.goods) + len(shop.theirs)

        self._until(imported)

    def _subscribed(self) -> bool:
        done = select(func.count()).select_from(t.effect).where(t.effect.c.state == "succeeded")
        with self._hub.database.read() as connection:
            return connection.execute(done).scalar_one() >= len(self._shops)

    def _until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _SETUP_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise HubError(f"This takes far too long. See what the hub says in {self._log}")
            if self._stop.wait(0.05):
                raise HubError("The demo was stopped before it began.")

    # ------------------------------------------------------------ selling

    def sell(self, counters: Callable[[], str]) -> float:
        """Let customers buy in every shop at once until the time is over or somebody stops it; returns the seconds."""
        if self._seconds is None:
            busy = f"{self._rate:g} times a second for {_BUSY_SECONDS:g} s"
            self._show.line(f"Customers buy {busy}, then now and then. Ctrl-C ends it.")
        else:
            self._show.line(f"Customers buy {self._rate:g} times a second for {self._seconds:g} s.")
        began = time.monotonic()
        closing = threading.Event()
        crowds = [threading.Thread(target=self._crowd, args=(shop, closing)) for shop in self._shops]
        crowds.append(threading.Thread(target=self.crew.work, args=(closing,)))
        for crowd in crowds:
            crowd.start()
        try:
            while not self._stop.is_set():
                passed = time.monotonic() - began
                if self._seconds is not None and passed >= self._seconds:
                    break
                self._show.counters(f"{passed:4.0f} s   {counters()}")
                if self._seconds is None:
                    self._tend()
                self._stop.wait(1.0 if self._seconds is None else min(1.0, max(0.01, self._seconds - passed)))
        finally:
            closing.set()
            for crowd in crowds:
                crowd.join()
        return round(time.monotonic() - began, 1)

    def _crowd(self, shop: Shop, closing: threading.Event) -> None:
        choose = random.Random(f"{self._seed} {shop.name}")  # noqa: S311
        began = due = time.monotonic()
        while True:
            hurry = self._seconds is not None or time.monotonic() - began < _BUSY_SECONDS
            rate = self._rate if hurry else min(self._rate, _SLOW_RATE)
            due += choose.expovariate(rate / len(self._shops))
            if closing.wait(max(0.0, due - time.monotonic())):
                return
            shop.serve_a_customer(choose)

    def _tend(self) -> None:
        """What happens in a real business meanwhile: what runs low is delivered."""
        low = {sku for sku, left in self._shops[0].simulator.stock().items() if left < 5}
        if not low:
            return
        level, sku = t.stock_level.c, t.sku.c
        with self._hub.database.read() as connection:
            row = connection.execute(
                select(sku.id, sku.code, level.location_id)
                .join(t.stock_level, (level.merchant_id == sku.merchant_id) & (level.sku_id == sku.id))
                .where(sku.merchant_id == self.merchant_id, sku.code.in_(low))
                .limit(1)
            ).first()
        if row is not None:
            self.delivered.add(row.code)
            delivery = f"D-{secrets.token_hex(4)}"
            for connection_id in warehouse.receive(
                self._hub.database, self.merchant_id, row.location_id, {row.id: _DELIVERY}, delivery, EMAIL
            ):
                self._ring(connection_id, "publish")

    def synchronize(self) -> None:
        """What the pages offer as “Sync now”, for every shop: it finds what a lost webhook would have told."""
        for shop in self._shops:
            connections.sync_now(self._hub.database, self.merchant_id, shop.connection_id, EMAIL)
            self._ring(shop.connection_id, "fetch")

    def _ring(self, connection_id: UUID, lane: str) -> None:
        self._hub.doorbell.ring(self.merchant_id, connection_id, lane)
