"""The books of the demo: what the shops' tills say, what the hub says, and how far apart they are."""

from __future__ import annotations

import math
import time
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, func, select, true

from hub.demo.crew import Vendor
from hub.demo.street import Shop
from hub.jobs import Hub
from hub.store import publications
from hub.store import tables as t
from hub.store.audit import audit
from hub.testing.carrier import CarrierSimulator
from hub.testing.simulator import Sale, StockWrite, VendorSimulator
from hub.testing.warehouse import WarehouseSimulator

_PATIENCE_WITH_WEBHOOKS = 10.0


class Books:
    """Counts. What the hub says is read from its database, which is the demo's alone; what the shops say, from them."""

    def __init__(
        self,
        hub: Hub,
        shops: Sequence[Shop],
        carriers: Sequence[Vendor[CarrierSimulator]],
        warehouses: Sequence[Vendor[WarehouseSimulator]],
        opening: Mapping[str, int],
    ) -> None:
        self._hub = hub
        self._shops = shops
        self._carriers = carriers
        self._warehouses = warehouses
        self._opening = opening

    def counters(self) -> str:
        """How things stand at this moment, in a line."""
        dirty = t.publication.c.version > t.publication.c.published_version
        with self._hub.database.read() as connection:
            imported = _count(connection, t.sales_order)
            waiting = _count(connection, t.publication, dirty)
            owed = _units(connection, t.backorder.c.quantity)
        placed = sum(len(shop.sales) + shop.sold_by_channel for shop in self._shops)
        written = sum(len(shop.simulator.stock_writes) for shop in self._shops)
        return (
            f"{placed} orders placed, {imported} imported   {written} stock figures written, {waiting} waiting   "
            f"{owed} units on backorder"
        )

    # ------------------------------------------------------------ coming to rest

    def settle(self, seconds: float, synchronize: Callable[[], None], finish: Callable[[], bool]) -> bool:
        """Wait until nothing is left to do; False if that takes longer. ``synchronize`` asks every shop for its news,
        ``finish`` lets people go on with what they have begun, and says whether there was any.

        Some shops never send a webhook again that was lost. The hub asks them by itself once a minute; here, sooner.
        """
        began = time.monotonic()
        asked = False
        while finish() or not self._is_quiet():
            passed = time.monotonic() - began
            if passed > seconds:
                return False
            if passed > _PATIENCE_WITH_WEBHOOKS and not asked:
                asked = True
                synchronize()
            time.sleep(0.2)
        return True

    def _is_quiet(self) -> bool:
        everybody: list[VendorSimulator] = [shop.simulator for shop in self._shops]
        everybody += [carrier.simulator for carrier in self._carriers]
        everybody += [warehouse.simulator for warehouse in self._warehouses]
        if not all(each.wait_for_deliveries(timeout=0.0) for each in everybody):
            return False
        pending = (
            (t.inbox, t.inbox.c.state == "pending"),
            # What a shop has taken in and already says (see ``_different``) is only waiting to be asked for.
            (
                t.publication,
                (t.publication.c.version > t.publication.c.published_version) & t.publication.c.pending_id.is_(None),
            ),
            (t.fetch_request, t.fetch_request.c.due_at.is_not(None)),
            (t.effect, t.effect.c.state.in_(("planned", "in_flight"))),
            (t.task, t.task.c.state.in_(("waiting", "running"))),
            (t.routing_mark, true()),
            (t.shipment, t.shipment.c.rates_wanted_at.is_not(None)),
            (t.fulfillment_order, t.fulfillment_order.c.state.in_(("requested", "accepted", "in_progress"))),
        )
        with self._hub.database.read() as connection:
            if any(_count(connection, table, condition) for table, condition in pending):
                return False
        return self._missing() == 0 and not self._different()

    # ------------------------------------------------------------ counting

    def count(self, delivered: Collection[str] = ()) -> dict[str, Any]:
        """What came of everything that was sold; SKUs of which more was ``delivered`` meanwhile tell no times."""
        placed = sum(len(shop.simulator.orders()) for shop in self._shops)
        imported = placed - self._missing()
        beyond = t.stock_level.c.allocated - t.stock_level.c.on_hand
        with self._hub.database.read() as connection:
            orders = _count(connection, t.sales_order)
            listings = _count(connection, t.listing, t.listing.c.sku_id.is_not(None))
            by_channels = _count(connection, t.sales_order, t.sales_order.c.shipped_by_channel)
            oversold = _units(connection, beyond, beyond > 0)
            owed = _units(connection, t.backorder.c.quantity)
            quarantined = _count(connection, t.inbox, t.inbox.c.state == "quarantined")
            shipped = self._shipped(connection)
        followed = {sku: units for sku, units in self._opening.items() if sku not in delivered}
        seconds, by_queue = self._propagation(followed)
        findings = audit(self._hub.database, self._hub.keyring, settle=timedelta(0))
        return {
            "orders_placed": placed,
            "orders_imported": imported,
            "duplicates": orders - imported,
            "oversold": oversold,
            "listings": listings,
            "listings_converged": listings - len(self._different()),
            "propagation_ms": {f"p{part}": _milliseconds(seconds, part) for part in (50, 95, 99)},
            "propagation_measured": len(seconds),
            "propagation_by_queue_ms": {f"p{part}": _milliseconds(by_queue, part) for part in (50, 95, 99)},
            "orders_of_channels": sum(shop.sold_by_channel for shop in self._shops),
            "shipped_by_channels": by_channels,
            "audit_violations": sum(each.count for each in findings),
            "backordered": owed,
            "units_unexplained": self._unexplained(),
            "quarantined": quarantined,
            **shipped,
            "customers_turned_away": sum(shop.turned_away for shop in self._shops),
        }

    def _propagation(self, opening: Mapping[str, int]) -> tuple[list[float], list[float]]:
        """Seconds from a sale to the write that told another shop: by webhooks alone, and where a queue is in between.

        What a shop with a queue has sold is known later, and until then no write anywhere takes it into account: what
        it sells too is none of the first.
        """
        queued = {number for number, shop in enumerate(self._shops) if shop.by_queue}
        shared = {sku for number in queued for sku in self._shops[number].goods}
        sales = [shop.sales for shop in self._shops]
        writes = [shop.simulator.stock_writes for shop in self._shops]
        alone = propagation({sku: units for sku, units in opening.items() if sku not in shared}, sales, writes)
        among = propagation({sku: units for sku, units in opening.items() if sku in shared}, sales, writes)
        return (
            sorted(each for some in alone.values() for each in some),
            sorted(each for pair, some in among.items() if queued & set(pair) for each in some),
        )

    def _shipped(self, connection: Connection) -> dict[str, int | dict[str, int]]:
        """What has left: by the hub's rows, and by what the carriers charged and the 3PL got."""
        sent, work, order = t.shipment.c, t.fulfillment_order.c, t.sales_order.c
        of_carriers = sent.connection_id.in_([each.connection_id for each in self._carriers])
        charges = [each for carrier in self._carriers for each in carrier.simulator.charges()]
        return {
            "shipments": _count(connection, t.shipment, sent.state == "shipped"),
            "shipments_confirmed": _count(
                connection, t.shipment, sent.state == "shipped", sent.channel_reference != ""
            ),
            "delivered": _count(connection, t.shipment, sent.delivered_at.is_not(None)),
            "delivered_by_shop": {
                shop.name: _count(
                    connection,
                    t.shipment.join(
                        t.fulfillment_order,
                        (work.merchant_id == sent.merchant_id) & (work.id == sent.fulfillment_order_id),
                    ).join(t.sales_order, (order.merchant_id == work.merchant_id) & (order.id == work.order_id)),
                    sent.delivered_at.is_not(None),
                    order.connection_id == shop.connection_id,
                )
                for shop in self._shops
            },
            "labels_bought": _count(connection, t.shipment, sent.state.in_(("labelled", "shipped")), of_carriers),
            "labels_charged": sum(not each.voided for each in charges),
            "orders_asked_of_3pl": _count(
                connection, t.fulfillment_order, work.connection_id.is_not(None), work.external_id != ""
            ),
            "orders_at_3pl": sum(len(each.simulator.placed()) for each in self._warehouses),
        }

    def _missing(self) -> int:
        """Orders of the shops that the hub does not have."""
        order = t.sales_order.c
        missing = 0
        for shop in self._shops:
            with self._hub.database.read() as connection:
                here = connection.execute(
                    select(order.external_id).where(order.connection_id == shop.connection_id)
                ).scalars()
                missing += len(shop.simulator.orders() - set(here))
        return missing

    def _different(self) -> list[tuple[str, str]]:
        """Every (shop, SKU) of what is matched that says something else than it should by the hub's stock and rules."""
        listing = t.listing.c
        with self._hub.database.read() as connection:
            rows = connection.execute(
                select(listing.merchant_id, listing.id, listing.sku_id, t.sku.c.code).join(
                    t.sku, (t.sku.c.merchant_id == listing.merchant_id) & (t.sku.c.id == listing.sku_id)
                )
            ).all()
            code = {row.id: row.code for row in rows}
            should: dict[tuple[UUID, str], int] = {}
            for merchant_id in {row.merchant_id for row in rows}:
                for each in publications.previews(connection, merchant_id, {row.sku_id for row in rows}):
                    if each.figure is not None:
                        should[each.connection_id, code[each.listing_id]] = each.figure.quantity
        return [
            (shop.name, sku)
            for shop in self._shops
            for sku, said in shop.simulator.stock().items()
            if sku in shop.goods and said != should.get((shop.connection_id, sku))
        ]

    def _unexplained(self) -> int:
        """Units by which the hub's stock differs from what it began with, less what the shops' tills say."""
        sold: Counter[str] = Counter()
        for shop in self._shops:
            for sale in shop.sales:
                sold.update(dict(sale.items))
        entry, level = t.stock_entry.c, t.stock_level.c
        with self._hub.database.read() as connection:
            left = Counter(_by_code(connection, t.stock_level, level.on_hand - level.allocated))
            left.subtract(_by_code(connection, t.backorder, t.backorder.c.quantity))
            # What people received, counted, corrected and sent elsewhere meanwhile.
            by_people = (entry.cause.not_in(("adopted", "shipped", "unshipped")), entry.on_hand_delta != 0)
            moved = _units(connection, entry.on_hand_delta, *by_people)
            is_moved = _count(connection, t.stock_entry, *by_people) > 0
        if is_moved:
            return abs(sum(self._opening.values()) + moved - sold.total() - left.total())
        return sum(abs(self._opening[sku] - sold[sku] - left[sku]) for sku in self._opening)


def _count(connection: Connection, table: Any, *conditions: Any) -> int:
    found: int = connection.execute(select(func.count()).select_from(table).where(*conditions)).scalar_one()
    return found


def _units(connection: Connection, column: Any, *conditions: Any) -> int:
    return int(connection.execute(select(func.coalesce(func.sum(column), 0)).where(*conditions)).scalar_one())


def _by_code(connection: Connection, table: Any, column: Any) -> dict[str, int]:
    """The sum of a column for each SKU."""
    same = (table.c.merchant_id == t.sku.c.merchant_id) & (table.c.sku_id == t.sku.c.id)
    rows = connection.execute(select(t.sku.c.code, func.sum(column)).join(table, same).group_by(t.sku.c.code))
    return {code: int(units) for code, units in rows.tuples()}


# ---------------------------------------------------------------- from a sale to the other shop


def propagation(
    opening: Mapping[str, int], sales: Sequence[Sequence[Sale]], writes: Sequence[Sequence[StockWrite]]
) -> dict[tuple[int, int], list[float]]:
    """Seconds from each sale of a SKU in one shop to the write that told another, in order, for each pair of shops.

    Shops are numbers, by their place in both lists: (the one that sold, the one that was told).

    A write tells of a sale when its quantity leaves no room for it: it is at most the opening stock less everything
    the selling shop had sold by then, this sale included, and less everything the others had sold by the time of the
    write. Sales that come close together are thus told by one write, and none counts as told by a write that happens
    to be later but does not know of it. A sale that needed no write (the shop said so already) is not measured, and
    neither is a SKU that is not in ``opening``.
    """
    sold = [_running_totals(each) for each in sales]
    measured: dict[tuple[int, int], list[float]] = defaultdict(list)
    for seller, moments in enumerate(sold):
        for other, written in enumerate(writes):
            if other == seller:
                continue
            reach = _reach(opening, [each for number, each in enumerate(sold) if number != seller], written)
            for sku, steps in moments.items():
                for at, total in steps:
                    later = reach[sku][bisect_left(reach[sku], (at,)) :] if sku in opening else []
                    measured[seller, other] += [moment - at for moment, told in later if told >= total][:1]
    return {pair: sorted(seconds) for pair, seconds in measured.items() if seconds}


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
        if write.sku not in opening:
            continue
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
