"""The people of the demo who ship what is sold: at the packing bench, in the 3PL's warehouse, in the carriers' vans."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, select

from hub.core.shipping import TrackingStatus
from hub.errors import BadInput, Conflict
from hub.jobs import Hub
from hub.store import fulfillment, packing
from hub.store import tables as t
from hub.store.database import new_id
from hub.testing.carrier import CarrierSimulator
from hub.testing.warehouse import WarehouseSimulator

PACKER = "packer@example.com"
THEIRS = "VASE-"  # these goods lie at the 3PL alone
_WEIGHT = 450  # grams that a piece weighs, its box included
_NOBODY = UUID(int=0)
Simulator = TypeVar("Simulator", CarrierSimulator, WarehouseSimulator)


@dataclass(slots=True)
class Vendor(Generic[Simulator]):
    """A simulated carrier or 3PL, and the hub's connection to it once there is one."""

    name: str
    simulator: Simulator
    connection_id: UUID = _NOBODY


@dataclass(slots=True)
class Crew:
    """Packs what is to be packed at ``pace`` orders a second, oldest first, but a shop of which nothing was packed yet
    before the others; drives and delivers what has a label."""

    hub: Hub
    carriers: Sequence[Vendor[CarrierSimulator]]
    warehouses: Sequence[Vendor[WarehouseSimulator]]
    ring: Callable[[UUID, str], None]
    pace: float = 1.0
    merchant_id: UUID = _NOBODY
    seen: Counter[str] = field(default_factory=Counter)  # scans by tracking number
    _served: set[UUID] = field(default_factory=set)  # connections of shops of which something was packed
    _left_alone: set[UUID] = field(default_factory=set)

    # ------------------------------------------------------------ working

    def work(self, closing: threading.Event) -> None:
        """Go on until the day is over."""
        while not closing.is_set():
            began = time.monotonic()
            busy = self.pack_one()
            self.at_the_3pl()
            self.drive()
            pause = 1 / self.pace if busy else 0.5
            closing.wait(max(0.0, pause - (time.monotonic() - began)))

    def pack_one(self) -> bool:
        """Pack an order as a person does, every unit scanned; False when there is none."""
        return self._pack_next()

    def _pack_next(self, *conditions: ColumnElement[bool]) -> bool:
        work, order = t.fulfillment_order.c, t.sales_order.c
        with self.hub.database.read() as connection:
            waiting = connection.execute(
                select(work.id, order.connection_id)
                .join(
                    t.location,
                    (t.location.c.merchant_id == work.merchant_id) & (t.location.c.id == work.location_id),
                )
                .join(t.sales_order, (order.merchant_id == work.merchant_id) & (order.id == work.order_id))
                .where(
                    work.merchant_id == self.merchant_id,
                    work.state == fulfillment.State.OPEN.value,
                    t.location.c.kind == "warehouse",
                    work.id.not_in(self._left_alone),
                    *conditions,
                )
                .order_by(order.connection_id.in_(self._served), work.priority, work.created_at, work.id)
                .limit(1)
            ).one_or_none()
        if waiting is None:
            return False
        try:
            self._pack(waiting.id)
            self._served.add(waiting.connection_id)
        except (Conflict, BadInput):
            self._left_alone.add(waiting.id)  # cancelled or held at this moment
        return True

    def _pack(self, fulfillment_order_id: UUID) -> None:
        database, merchant_id = self.hub.database, self.merchant_id
        line, asked, sku = t.order_line.c, t.fulfillment_line.c, t.sku.c
        with database.read() as connection:
            goods = connection.execute(
                select(sku.code, asked.quantity)
                .select_from(
                    t.fulfillment_line.join(
                        t.order_line, (line.merchant_id == asked.merchant_id) & (line.id == asked.order_line_id)
                    ).join(t.sku, (sku.merchant_id == line.merchant_id) & (sku.id == line.sku_id))
                )
                .where(asked.merchant_id == merchant_id, asked.fulfillment_order_id == fulfillment_order_id)
            ).all()
        here = (database, merchant_id, fulfillment_order_id)
        packing.begin(*here, PACKER)
        for code, units in goods:
            for _ in range(units):
                packing.scan(*here, new_id(), code, PACKER)
        packing.weigh(*here, 1, None, _WEIGHT * sum(units for _, units in goods), PACKER)
        _, lanes = packing.finish(*here, PACKER)
        for connection_id, lane in lanes:
            self.ring(connection_id, lane)

    def at_the_3pl(self) -> bool:
        """The 3PL ships one order of what it was asked for; False when there is none."""
        for warehouse in self.warehouses:
            for order in warehouse.simulator.placed():
                if not order.cancelled and sum(order.shipped.values()) < sum(order.lines.values()):
                    warehouse.simulator.ship(order.reference)
                    return True
        return False

    def drive(self) -> bool:
        """Fetch the parcels that have a label, and hand over those that were fetched before; False when all are."""
        busy = False
        for carrier in self.carriers:
            for charge in carrier.simulator.charges():
                for number in () if charge.voided else charge.tracking_numbers:
                    if self.seen[number] < 2:
                        self.seen[number] += 1
                        status = (TrackingStatus.IN_TRANSIT, TrackingStatus.DELIVERED)[self.seen[number] - 1]
                        carrier.simulator.scan(number, status)
                        busy = True
        return busy

    def finish(self) -> bool:
        """After hours one order is packed of each shop that had none, and what was promised leaves; False when there is
        nothing left to do."""
        nothing_yet = t.sales_order.c.connection_id.not_in(self._served)
        return self._pack_next(nothing_yet) | self.at_the_3pl() | self.drive()
