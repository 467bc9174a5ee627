"""A shop that sells what lies at a 3PL, for tests: the scaffold's simulated warehouse, and a shop that is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import func, select

from hub.connector import EffectResult, Kind, RawRecord, Settlement
from hub.core.model import Address, Order
from hub.core.shipping import ShipmentConfirmation
from hub.store import connections, matching
from hub.store import tables as t
from hub.store.fulfillment import State
from tests.jobs.fake_shop import FakeChannel, Shop, connect
from tests.scaffold import written
from tests.town import OWNER, Town

PROVIDER = written.connector(Kind.PROVIDER)
VENDOR = written.simulator(Kind.PROVIDER)
YORK = Address(name="Ada Byron", line1="7 Mill Lane", city="York", postcode="YO1 7HH", country="GB")


@dataclass
class ToldShop(Shop):
    """A shop that hears of shipments, and has its orders fulfilled by them."""

    told: list[ShipmentConfirmation] = field(default_factory=list)


class TellingChannel(FakeChannel):
    """The same as its base; its orders go to York, and it can be told of shipments."""

    name = "telling"
    label = "Telling"
    effects: ClassVar[Mapping[str, Settlement]] = {"confirm_shipment": Settlement.NATURAL_KEY}

    def read_order(self, record: RawRecord) -> Order:
        order = super().read_order(record)
        return replace(order, shipping_address=YORK, email="ada@example.test", customer_name="Ada Byron")

    def confirm_shipment(self, confirmation: ShipmentConfirmation, key: str) -> EffectResult:
        self.shop.asked("confirm_shipment")
        assert isinstance(self.shop, ToldShop)
        self.shop.told.append(confirmation)
        order = self.shop.orders[confirmation.order_external_id]
        sent = {line.line_external_id: line.quantity for line in confirmation.lines}
        lines = [line | {"fulfilled": line.get("fulfilled", 0) + sent.get(line["id"], 0)} for line in order["lines"]]
        over = all(line["fulfilled"] >= line["quantity"] for line in lines)
        if not confirmation.supersedes:
            self.shop.change(order, lines=lines, status="fulfilled" if over else order["status"])
        return EffectResult(f"fulfillment of {confirmation.reference}")


class ThirdParty:
    """A town with one shop and one 3PL, whose stock the shop sells."""

    def __init__(self, town: Town, **stock: int) -> None:
        self.town = town
        self.clock = datetime.now(UTC) - timedelta(hours=1)
        self.vendor: Any = VENDOR(now=lambda: self.clock)
        stock = stock or {"mug": 10, "tee": 5}
        for listing, on_hand in stock.items():
            self.vendor.stock_item(listing.upper(), listing.title(), on_hand)
        self.shop = ToldShop(stock=dict.fromkeys(stock, 0))
        self.channel = connect(town, self.shop, TellingChannel)
        matching.accept_suggestions(town.hub.database, town.merchant, self.channel, None, OWNER)
        self.provider = town.connect(PROVIDER, self.vendor)
        self.place: UUID = town.row(t.channel_location, t.channel_location.c.connection_id == self.provider).location_id
        connections.bind_location(town.hub.database, town.merchant, self.channel, "", self.place, OWNER)
        connections.go_live(town.hub.database, town.merchant, self.channel, OWNER)
        town.work()

    # ------------------------------------------------------------ what happens

    def buy(self, *lines: tuple[str, int]) -> dict[str, Any]:
        """A customer orders; the hub imports it, deals it out and asks the 3PL. Returns the shop's body of it."""
        body = self.shop.order(lines)
        self.hear_shop()
        return body

    def hear_shop(self) -> None:
        self.town.poll(self.channel)
        self.town.settle()

    def hear(self) -> None:
        """The hub asks the 3PL what has left and what lies there."""
        self.town.poll(self.provider)
        self.town.settle()

    def pass_time(self, minutes: float = 1) -> None:
        """Time passes at the 3PL, which stays behind the hub's clock."""
        self.clock += timedelta(minutes=minutes)

    # ------------------------------------------------------------ looking

    def work(self) -> list[Any]:
        """The fulfillment orders, in order."""
        return sorted(self.town.rows(t.fulfillment_order), key=lambda row: (row.created_at, row.number))

    def states(self) -> list[State]:
        return [State(row.state) for row in self.work()]

    @property
    def reference(self) -> str:
        """Of the newest fulfillment order."""
        reference: str = self.work()[-1].reference
        return reference

    def effects(self, kind: str) -> list[str]:
        """The states of what was to be done of a kind."""
        rows = self.town.rows(t.effect, t.effect.c.kind == kind)
        return [row.state for row in sorted(rows, key=lambda row: (row.created_at, row.id))]

    def there(self, code: str) -> tuple[int, int, int]:
        """On hand, allocated and quarantined at the 3PL."""
        level, sku = t.stock_level.c, t.sku.c
        with self.town.hub.database.read() as connection:
            row = connection.execute(
                select(level.on_hand, level.allocated, level.quarantined)
                .join_from(t.stock_level, t.sku, (sku.merchant_id == level.merchant_id) & (sku.id == level.sku_id))
                .where(sku.code == code, level.location_id == self.place)
            ).one()
        return tuple(row)

    def ledger(self, code: str) -> list[tuple[str, int]]:
        """(cause, units) of every entry that moved something on the 3PL's shelf, in order."""
        entry, sku = t.stock_entry.c, t.sku.c
        with self.town.hub.database.read() as connection:
            rows = connection.execute(
                select(entry.cause, entry.on_hand_delta)
                .join_from(t.stock_entry, t.sku, (sku.merchant_id == entry.merchant_id) & (sku.id == entry.sku_id))
                .where(sku.code == code, entry.location_id == self.place, entry.on_hand_delta != 0)
                .order_by(entry.number)
            )
            return [(cause, units) for cause, units in rows]

    def issue_titles(self, kind: str) -> list[str]:
        rows = self.town.rows(t.issue, t.issue.c.kind == kind, t.issue.c.resolved_at.is_(None))
        return sorted(row.title for row in rows)

    def shipped(self) -> list[tuple[str, str, list[str]]]:
        """(state, carrier, tracking numbers) of each shipment, in order."""
        rows = sorted(self.town.rows(t.shipment), key=lambda row: (row.created_at, row.id))
        return [(row.state, row.carrier, row.tracking_numbers) for row in rows]

    def sku(self, code: str) -> UUID:
        found: UUID = self.town.row(t.sku, t.sku.c.code == code).id
        return found

    def count(self, table: Any) -> int:
        with self.town.hub.database.read() as connection:
            return int(connection.execute(select(func.count()).select_from(table)).scalar_one())
