"""The people of the demo who ship what is sold: at the packing bench, in the 3PL's warehouse, in the carriers' vans."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, select

from hub.core.model import HoldReason
from hub.core.shipping import TrackingStatus
from hub.errors import BadInput, Conflict
from hub.jobs import Hub
from hub.store import fulfillment, holds, labels, packing, tracking
from hub.store import tables as t
from hub.store.database import new_id
from hub.testing.carrier import CarrierSimulator
from hub.testing.warehouse import WarehouseSimulator

PACKER = "packer@example.com"
THEIRS = "VASE-"  # these goods lie at the 3PL alone
_WEIGHT = 450  # grams that a piece weighs, its box included
_HELD_EVERY = 15  # so many orders are taken to the bench for one that is held there
_FLAW = "One piece has a crack in its glaze: ask the customer whether they wait for another."
_ASKED_AGAIN = 5  # times at most, for a label that no carrier has offered
_LOOKED_AFTER = 300  # times at most that somebody looks whether the hub knows what was delivered
_LOOKS_BETWEEN = 25  # of them until carriers are asked once more
_STRANDED_EVERY = 9  # so many parcels are handed over for one that does not get on
_NOBODY = UUID(int=0)
Simulator = TypeVar("Simulator", CarrierSimulator, WarehouseSimulator)


@dataclass(slots=True)
class Vendor(Generic[Simulator]):
    """A simulated carrier or 3PL, and the hub's connection to it once there is one."""

    name: str
    simulator: Simulator
    connection_id: UUID = _NOBODY


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A fulfillment order that is to be packed, its order and the connection of its shop."""

    id: UUID
    order_id: UUID
    connection_id: UUID


@dataclass(slots=True)
class Crew:
    """Packs what is to be packed at ``pace`` orders a second, oldest first, but a shop of which nothing was packed yet
    before the others; drives and delivers what has a label. Now and then something is broken, and a parcel strands."""

    hub: Hub
    carriers: Sequence[Vendor[CarrierSimulator]]
    warehouses: Sequence[Vendor[WarehouseSimulator]]
    ring: Callable[[UUID, str], None]
    pace: float = 1.0
    merchant_id: UUID = _NOBODY
    lingers: float = 40.0  # seconds that a parcel waits for the van: until then the hub follows it
    seen: dict[str, TrackingStatus] = field(default_factory=dict)  # what was told last, by tracking number
    _taken: int = 0  # orders, to the bench
    _unlucky: set[str] = field(default_factory=set)  # tracking numbers of parcels that will strand
    _stranded: set[str] = field(default_factory=set)
    _labelled: dict[str, float] = field(default_factory=dict)  # when a parcel was first seen, in monotonic time
    _looked: Counter[UUID] = field(default_factory=Counter)  # how often a carrier was asked where its parcels are
    _asked: Counter[UUID] = field(default_factory=Counter)  # how often carriers were asked anew, by shipment
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
        """Pack an order as a person does, every unit scanned, or hold it; False when there is none."""
        waiting = self._waiting()
        if waiting is None:
            return False
        self._taken += 1
        if self._taken % _HELD_EVERY:
            self._pack(waiting)
        else:
            holds.hold_order(self.hub.database, self.merchant_id, waiting.order_id, HoldReason.MANUAL, _FLAW, PACKER)
        return True

    def _waiting(self, *conditions: ColumnElement[bool]) -> _Waiting | None:
        """What is to be packed next, of what meets these conditions."""
        work, order = t.fulfillment_order.c, t.sales_order.c
        with self.hub.database.read() as connection:
            row = connection.execute(
                select(work.id, work.order_id, order.connection_id)
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
        return None if row is None else _Waiting(*row)

    def _pack(self, waiting: _Waiting) -> None:
        try:
            self._scan_and_close(waiting.id)
            self._served.add(waiting.connection_id)
        except (Conflict, BadInput):
            self._left_alone.add(waiting.id)  # cancelled or held at this moment

    def _scan_and_close(self, fulfillment_order_id: UUID) -> None:
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
        """Fetch the parcels that had a label for a while, and hand over those that were fetched before, but for some
        that strand; False when there is nothing left to do."""
        return self._drive(time.monotonic() - self.lingers)

    def _drive(self, labelled_by: float) -> bool:
        busy = False
        for carrier in self.carriers:
            for charge in carrier.simulator.charges():
                for number in () if charge.voided else charge.tracking_numbers:
                    if number in self._stranded or self.seen.get(number) is TrackingStatus.DELIVERED:
                        continue
                    if self._labelled.setdefault(number, time.monotonic()) > labelled_by:
                        continue
                    self.seen[number] = self._whereabouts(number)
                    carrier.simulator.scan(number, self.seen[number])
                    busy = True
        return busy

    def _whereabouts(self, number: str) -> TrackingStatus:
        """What is told next of a parcel."""
        match self.seen.get(number):
            case None:
                if (len(self.seen) + 1) % _STRANDED_EVERY == 0:
                    self._unlucky.add(number)
                return TrackingStatus.IN_TRANSIT
            case TrackingStatus.IN_TRANSIT if number in self._unlucky:
                self._stranded.add(number)
                return TrackingStatus.EXCEPTION
            case _:
                return TrackingStatus.DELIVERED

    def finish(self) -> bool:
        """After hours one order is packed of each shop that had none, and what was promised, waits for a label or has
        stranded leaves; False when there is nothing left to do."""
        self._stranded.clear()
        asked = self._ask_again()
        waiting = self._waiting(t.sales_order.c.connection_id.not_in(self._served))
        if waiting is not None:
            self._pack(waiting)
        busy = asked | (waiting is not None) | self.at_the_3pl() | self._drive(math.inf)
        return busy or self._look_after_them()

    def _look_after_them(self) -> bool:
        """Have carriers asked about parcels that were delivered before the hub followed them; False when it knows of
        all, or was not told often enough."""
        database, sent = self.hub.database, t.shipment.c
        with database.read() as connection:
            rows = connection.execute(
                select(sent.connection_id, sent.tracking_numbers).where(
                    sent.merchant_id == self.merchant_id,
                    sent.connection_id.in_([each.connection_id for each in self.carriers]),
                    sent.delivered_at.is_(None),
                    sent.track_at.is_not(None),
                )
            ).all()
        unheard = {
            row.connection_id
            for row in rows
            if any(self.seen.get(each) is TrackingStatus.DELIVERED for each in row.tracking_numbers)
        }
        again = sorted(each for each in unheard if self._looked[each] < _LOOKED_AFTER)
        for carrier_id in again:
            if self._looked[carrier_id] % _LOOKS_BETWEEN == 0:
                with database.write() as connection:
                    tracking.look_at_all(connection, self.merchant_id, carrier_id, at=database.now(connection))
                self.ring(carrier_id, "fetch")
            self._looked[carrier_id] += 1
        return bool(again)

    def _ask_again(self) -> bool:
        """Have carriers asked anew that offered nothing, as on a busy machine they do not answer in time; False when
        all have, or did not often enough."""
        database, sent = self.hub.database, t.shipment.c
        with database.read() as connection:
            unoffered = connection.execute(
                select(sent.id).where(
                    sent.merchant_id == self.merchant_id,
                    sent.state == "draft",
                    sent.error != "",
                    sent.rates_wanted_at.is_(None),
                    sent.withdrawn_at.is_(None),
                )
            ).scalars()
            again = [each for each in unoffered if self._asked[each] < _ASKED_AGAIN]
        for shipment_id in again:
            self._asked[shipment_id] += 1
            with database.write() as connection:
                at = database.now(connection)
                lanes = labels.ask_rates(connection, self.merchant_id, shipment_id, at=at, actor=PACKER)
            for connection_id, lane in lanes:
                self.ring(connection_id, lane)
        return bool(again)
