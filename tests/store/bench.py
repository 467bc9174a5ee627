"""A packing bench to stand at: an order that is to be shipped from the main warehouse, and ways to look at it."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID, uuid4

from sqlalchemy import select

from hub.core.model import Address, Order
from hub.store import fulfillment, packing
from hub.store import tables as t
from hub.store.fulfillment import Part
from hub.store.packing import Scanned
from tests.core.making import an_order
from tests.store.warehouse import OWNER, Warehouse

HOME = Address(name="Ann Li", line1="1 Harbor Road", city="Bremen", postcode="28195", country="DE")


def to_ship(*lines: object, **more: object) -> Order:
    """An open, paid order to somebody in Bremen."""
    return an_order(*lines, **{"shipping_address": HOME} | more)  # type: ignore[arg-type]


class Bench:
    """What is packed of the one order of a warehouse."""

    def __init__(self, warehouse: Warehouse, *, collect: bool = False) -> None:
        self.warehouse, self.merchant = warehouse, warehouse.merchant
        self.order_id: UUID = warehouse.row(t.sales_order).id
        self.id = self.part(collect=collect)

    def part(self, units: Mapping[UUID, int] | None = None, *, collect: bool = False) -> UUID:
        """A fulfillment order for these units of its lines, for all of them by default."""
        if units is None:
            units = {row.id: row.quantity for row in self.warehouse.rows(t.order_line)}
        place = self.warehouse.location()
        database = self.warehouse.database
        with database.write() as connection:
            (made,) = fulfillment.create(
                connection,
                self.merchant,
                self.order_id,
                [Part(location_id=place, units=units, collect=collect)],
                at=database.now(connection),
            )
        return made

    @property
    def row(self) -> object:
        return self.warehouse.row(t.fulfillment_order, t.fulfillment_order.c.id == self.id)

    @property
    def state(self) -> str:
        return str(self.warehouse.row(t.fulfillment_order, t.fulfillment_order.c.id == self.id).state)

    def scan(self, code: str, *, packer: str = OWNER, scan_id: UUID | None = None) -> Scanned:
        return packing.scan(self.warehouse.database, self.merchant, self.id, scan_id or uuid4(), code, packer)

    def packed(self) -> dict[str, tuple[int, int]]:
        """(packed, wanted) by the title of the line."""
        line, asked = t.order_line.c, t.fulfillment_line.c
        with self.warehouse.database.read() as connection:
            rows = connection.execute(
                select(line.title, asked.packed, asked.quantity)
                .select_from(t.fulfillment_line.join(t.order_line, line.id == asked.order_line_id))
                .where(asked.fulfillment_order_id == self.id)
            )
            return {row.title: (row.packed, row.quantity) for row in rows}

    def weigh(self, number: int = 1, grams: int | None = 500, box: UUID | None = None) -> None:
        packing.weigh(self.warehouse.database, self.merchant, self.id, number, box, grams, OWNER)

    def finish(self, *, rest_later: bool = False) -> UUID:
        shipment_id, _ = packing.finish(self.warehouse.database, self.merchant, self.id, OWNER, rest_later=rest_later)
        return shipment_id
