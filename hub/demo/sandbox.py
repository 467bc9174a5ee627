"""`hub sandbox`: the simulated vendors of merchants who try the hub out, with customers who buy and people who ship."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from sqlalchemy import exists, select

from hub.demo.crew import Crew
from hub.demo.street import Street, open_street
from hub.errors import HubError
from hub.jobs import LANES, Hub, sandboxes
from hub.store import first_steps, paces, sandbox
from hub.store import tables as t
from hub.store.database import DatabaseAway, Lease
from hub.testing.simulator import VendorSimulator
from hub.testing.warehouse import WarehouseSimulator

log = structlog.get_logger()

CAST = ("shopify", "woocommerce", "easypost", "ups", "shipbob")
_LEASE_SECONDS = 45.0
_LOOKS_EVERY = 1.0
_SOLD = 8.0  # how many units of a thing the shelves are filled for
_FIRST_SALE = 2.0  # seconds after a shop is live
_SALES_EVERY = (15.0, 300.0)  # seconds, to begin with and at the end: shelves would be empty in an hour otherwise
_SLOWER = 1.15  # each time
_CREW_EVERY = 10.0


def serve(hub: Hub, stop: threading.Event) -> None:
    """Serve whoever wants a sandbox until nobody does, or ``stop``. One process does it for all."""
    open_ones: dict[UUID, _Open] = {}
    lease: Lease | None = None
    try:
        while not stop.wait(_LOOKS_EVERY):
            try:
                lease = hub.database.renew(lease, _LEASE_SECONDS) if lease else hub.database.lease("sandboxes", 45.0)
                if lease is None:
                    continue  # another process serves them
                with hub.database.read() as connection:
                    wanted = sandbox.wanted(connection)
                if not wanted:
                    return
                _follow(hub, wanted, open_ones)
            except DatabaseAway as error:
                log.warning("sandbox waits for the database", error=str(error))
    finally:
        for each in open_ones.values():
            each.close()
        if lease is not None:
            hub.database.release(lease)


def _follow(hub: Hub, wanted: list[UUID], open_ones: dict[UUID, _Open]) -> None:
    for merchant_id in open_ones.keys() - set(wanted):
        open_ones.pop(merchant_id).close()
    for merchant_id in wanted:
        if merchant_id not in open_ones:
            open_ones[merchant_id] = _Open(hub, merchant_id)
        open_ones[merchant_id].go_on()


@dataclass
class _Open:
    """One merchant's sandbox: its street, and what happens there."""

    hub: Hub
    merchant_id: UUID
    street: Street | None = None
    failed: bool = False
    _ending: ExitStack = field(default_factory=ExitStack)
    _choose: random.Random = field(default_factory=lambda: random.Random(1))  # noqa: S311 (customers are no secret)
    _sells_at: float | None = None
    _pause: float = _SALES_EVERY[0]
    _ships_at: float = 0.0
    _crew: Crew | None = None
    _joined: bool = False

    def go_on(self) -> None:
        """Open it if it is not yet; let happen what is due."""
        if self.street is None and not self.failed:
            try:
                self._begin()
            except HubError as error:
                self.failed = True
                self.close()
                sandbox.fail(self.hub.database, self.merchant_id, str(error))
        if self.street is not None and sandbox.serve_on(self.hub.database, self.merchant_id):
            self._let_the_3pl_join(self.street)
            self._sell(self.street)
            self._ship(self.street)

    def close(self) -> None:
        """Its vendors are gone from now on."""
        self.street = None
        self._ending.close()

    def _begin(self) -> None:
        with self.hub.database.read() as connection:
            found = sandbox.sandbox(connection, self.merchant_id)
        # What an earlier process served lived in its memory: the hub must not go on where those shops do not.
        if found is None or (found.beginnings and not sandboxes.empty(self.hub, self.merchant_id, LANES)):
            return
        street = open_street(CAST, 1, log.warning, self._ending)
        if not street.shops:
            raise HubError(
                "No simulated shop is installed here. Whoever runs the hub installs tallyhub[all] and the extra "
                "[simulator] of tallyhub-shopify; then remove the sandbox and open it again."
            )
        street.stock_the_shelves(1, _SOLD)
        # A 3PL that is asked what it has before there are SKUs names nothing that is known.
        first = [(name, each) for name, each in street.vendors() if not isinstance(each, WarehouseSimulator)]
        vendors = self._forms(first)
        self._wake(sandbox.begin(self.hub.database, self.hub.keyring, self.merchant_id, street.routes(), vendors))
        self.street = street

    def _let_the_3pl_join(self, street: Street) -> None:
        """Once there are SKUs the 3PL is connected; as soon as it is, every shop sells what lies there, too."""
        sku, shop = t.sku.c, t.connection.c
        if self._joined or not street.warehouses:
            return
        with self.hub.database.read() as connection:
            ready = connection.execute(select(exists().where(sku.merchant_id == self.merchant_id))).scalar_one()
            states = list(
                connection.execute(
                    select(shop.state).where(shop.merchant_id == self.merchant_id, shop.kind == "3pl")
                ).scalars()
            )
        if ready and not states:
            vendors = self._forms([(each.name, each.simulator) for each in street.warehouses])
            self._wake(sandbox.join(self.hub.database, self.hub.keyring, self.merchant_id, vendors))
        if "connected" in states:
            self._joined = True
            lanes = first_steps.sell_from_everywhere(self.hub.database, self.merchant_id, "system")
            for connection_id, lane in lanes:
                self.hub.doorbell.ring(self.merchant_id, connection_id, lane)

    def _forms(self, vendors: Sequence[tuple[str, VendorSimulator]]) -> sandbox.Vendors:
        return [(self.hub.registry.connector(name), each.settings()) for name, each in vendors]

    def _wake(self, opened: Sequence[UUID]) -> None:
        for connection_id in opened:
            self.hub.doorbell.ring(self.merchant_id, connection_id, "fetch")

    def _sell(self, street: Street) -> None:
        """Once a shop is live somebody buys something at once, and then others now and then."""
        if self._sells_at is None:
            if not self._is_live():
                return
            self._sells_at = time.monotonic() + _FIRST_SALE
        if time.monotonic() >= self._sells_at:
            self._choose.choice(street.shops).serve_a_customer(self._choose)
            self._sells_at = time.monotonic() + self._choose.uniform(0.5, 1.5) * self._pause
            self._pause = min(self._pause * _SLOWER, _SALES_EVERY[1])

    def _is_live(self) -> bool:
        shop = t.connection.c
        with self.hub.database.read() as connection:
            return bool(
                connection.execute(
                    select(exists().where(shop.merchant_id == self.merchant_id, shop.live_at.is_not(None)))
                ).scalar_one()
            )

    def _ship(self, street: Street) -> None:
        """The 3PL ships and the carriers drive, packing is left to the merchant; what runs out is told at once."""
        if time.monotonic() < self._ships_at:
            return
        self._ships_at = time.monotonic() + _CREW_EVERY
        if self._crew is None:
            self._crew = Crew(self.hub, street.carriers, street.warehouses, lambda *_: None)
        self._crew.at_the_3pl()
        self._crew.drive()
        with self.hub.database.write() as connection:
            paces.reckon_for(connection, self.merchant_id, self.hub.database.now(connection))
