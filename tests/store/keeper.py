"""A 3PL for tests of the store: in memory, told of by facts, with answers that get lost where a test says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import count
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import select

from hub.connector import FulfillmentProvider, RawRecord, Settlement
from hub.core.model import Account, Address, ChannelLocation
from hub.core.shipping import (
    Cancellation,
    CancelState,
    FulfillmentOrder,
    Lot,
    Progress,
    ProviderShipment,
    ProviderState,
    ShippedLine,
    StockAdjustment,
    StockCount,
    Submission,
)
from hub.store import connections, effects, provider_shipments, provider_stock, providers, routing, routing_queue
from hub.store import tables as t
from hub.store.fulfillment import State
from tests.core.making import a_line, an_order
from tests.store.warehouse import OWNER, FakeSettings, Warehouse

YORK = Address(name="Ada Byron", line1="7 Mill Lane", city="York", postcode="YO1 7HH", country="GB")


class Depot:
    """What the 3PL has: the orders it took, by reference, and what happens to the next calls."""

    def __init__(self) -> None:
        self.taken: list[FulfillmentOrder] = []
        self.cancelled: list[str] = []
        self.calls: list[str] = []
        self.before: list[BaseException | Callable[[], Any] | None] = []  # instead of the next calls
        self.after: list[BaseException | Callable[[], Any] | None] = []  # when they are done
        self.answer = ProviderState.ACCEPTED
        self.says_to_cancelling = CancelState.CANCELLED
        self.numbers = count(1)


def _next(planned: list[BaseException | Callable[[], Any] | None]) -> None:
    what = planned.pop(0) if planned else None
    if isinstance(what, BaseException):
        raise what
    if what is not None:
        what()


class KeeperConnector(FulfillmentProvider):
    """The connector of a depot."""

    name = "keeper"
    label = "Keeper"
    settings_schema = FakeSettings
    effects: ClassVar[Mapping[str, Settlement]] = {"submit": Settlement.LOOKUP, "cancel": Settlement.NATURAL_KEY}

    def __init__(self, depot: Depot) -> None:
        self.depot = depot

    @classmethod
    def hosts(cls, settings: Mapping[str, Any]) -> Sequence[str]:
        return ("https://keeper.example",)

    def check(self) -> Account:
        raise NotImplementedError

    def submit(self, order: FulfillmentOrder, key: str) -> Submission:
        self.depot.calls.append("submit")
        _next(self.depot.before)
        self.depot.taken.append(order)
        _next(self.depot.after)
        return Submission(
            reference=order.reference, external_id=f"keeper of {order.reference}", state=self.depot.answer
        )

    def find_submit(self, order: FulfillmentOrder, key: str) -> Submission | None:
        self.depot.calls.append("find_submit")
        found = [each for each in self.depot.taken if each.reference == order.reference]
        return Submission(reference=order.reference, external_id=f"keeper of {order.reference}") if found else None

    def cancel(self, submission: Submission, key: str) -> Cancellation:
        self.depot.calls.append("cancel")
        _next(self.depot.before)
        if self.depot.says_to_cancelling is CancelState.CANCELLED:
            self.depot.cancelled.append(submission.reference)
        _next(self.depot.after)
        return Cancellation(reference=submission.reference, state=self.depot.says_to_cancelling)

    def fetch_shipments(self, cursor: str | None) -> Any:
        raise NotImplementedError

    def fetch_stock(self, cursor: str | None) -> Any:
        raise NotImplementedError

    def read_shipments(self, record: RawRecord) -> Any:
        raise NotImplementedError

    def read_stock(self, record: RawRecord) -> Any:
        raise NotImplementedError


class Keeper:
    """A shop whose goods lie at a 3PL called Keeper, in Leeds; all times are minutes after an hour ago."""

    def __init__(self, warehouse: Warehouse, *, places: Sequence[str] = ("leeds",), **on_hand: int) -> None:
        self.warehouse, self.database, self.merchant = warehouse, warehouse.database, warehouse.merchant
        self.channel = warehouse.connect(live=True)
        self.start = warehouse.now() - timedelta(hours=1)
        self.depot = Depot()
        self.id = self.connect("keeper-1", places)
        (self.place, *_) = self.places()
        self.skus: dict[str, UUID] = {}
        for code, units in (on_hand or {"mug": 10}).items():
            self.skus[code] = warehouse.sku(code.upper())
            warehouse.listing(self.channel, code, self.skus[code])
            self.count(code.upper(), units)
        self._sold = count(1)

    def connect(self, name: str, places: Sequence[str] = ("leeds",)) -> UUID:
        """A 3PL whose check has passed."""
        settings = {"shop": name, "password": "s3same"}
        connection_id, _ = connections.connect(
            self.database, self.warehouse.keyring, self.merchant, KeeperConnector, name, settings, OWNER
        )
        self.check(connection_id, name, places)
        return connection_id

    def check(self, connection_id: UUID, name: str, places: Sequence[str]) -> None:
        with self.database.write() as connection:
            task = connection.execute(
                select(t.task).where(t.task.c.connection_id == connection_id, t.task.c.state == "waiting")
            ).one()
            found = Account(
                external_id=name,
                name=name,
                locations=tuple(ChannelLocation(external_id=each, name=each.title()) for each in places),
            )
            here = (connection, self.warehouse.keyring, self.merchant, connection_id, KeeperConnector, task.request)
            at = self.database.now(connection)
            connections.checked(*here, found, {}, at=at, actor=OWNER)
            connection.execute(t.task.update().where(t.task.c.id == task.id).values(state="done", request=None))

    def places(self, connection_id: UUID | None = None) -> list[UUID]:
        place = t.channel_location.c
        rows = self.warehouse.rows(t.channel_location, place.connection_id == (connection_id or self.id))
        return [row.location_id for row in sorted(rows, key=lambda row: row.external_id)]

    def minute(self, number: float) -> datetime:
        return self.start + timedelta(minutes=number)

    # ------------------------------------------------------------ the shop and the hub

    def sell(self, *lines: tuple[str, int], **more: Any) -> str:
        """An order comes in, is dealt out and planned to be sent; returns its id at the shop."""
        id = str(next(self._sold))
        made = [
            a_line(units, id=str(number), listing=listing) for number, (listing, units) in enumerate(lines, start=1)
        ]
        self.warehouse.hear(self.channel, an_order(*made, id=id, shipping_address=YORK, **more))
        self.route()
        return id

    def hear(self, id: str, *lines: Any, minutes: float = 1, **more: Any) -> None:
        """The shop tells of the order anew, with these lines."""
        version = self.warehouse.now() + timedelta(minutes=minutes)
        self.warehouse.hear(self.channel, an_order(*lines, id=id, version=version, shipping_address=YORK, **more))

    def route(self) -> None:
        with self.database.read() as connection:
            at = self.database.now(connection)
            due = routing_queue.due(connection, self.merchant, self.channel, at + timedelta(minutes=1), 100)
        if due:

            def work(connection: Any) -> None:
                outcome = routing.route(connection, self.merchant, due, at=self.database.now(connection))
                assert not outcome.failed, outcome.failed

            self.database.transact(work)

    def send(self, *, most: int = 20) -> list[str]:
        """Carry out what is planned at the 3PL until nothing is; returns how each attempt ended."""
        connector, ended = KeeperConnector(self.depot), []
        for _ in range(most):
            self.warehouse.let_pass(t.effect, "due_at", timedelta(days=1))
            effect = effects.claim(self.database, self.merchant, self.id)
            if effect is None:
                break
            state = effects.run(self.database, self.warehouse.keyring, effect, connector)
            ended.append(f"{effect.kind} {state}")
        return ended

    # ------------------------------------------------------------ what the 3PL tells

    def write(self, work: Callable[[Any, datetime], Any]) -> Any:
        return self.database.transact(lambda connection: work(connection, self.database.now(connection)))

    def count(
        self, sku: str, on_hand: int, available: int | None = None, *, minute: float = 0, place: str = "", **more: Any
    ) -> None:
        """It counted so many at that minute."""
        fact = StockCount(
            sku=sku,
            on_hand=on_hand,
            available=on_hand if available is None else available,
            counted_at=self.minute(minute),
            location_external_id=place,
            **more,
        )
        told = [(fact, f"record {next(self.depot.numbers)}")]
        self.write(lambda connection, at: provider_stock.count(connection, self.merchant, self.id, told, at=at))

    def adjust(self, sku: str, units: int, *, minute: float, id: str = "a-1", reason: str = "") -> None:
        fact = StockAdjustment(external_id=id, sku=sku, quantity=units, adjusted_at=self.minute(minute), reason=reason)
        self.write(lambda connection, at: provider_stock.adjust(connection, self.merchant, self.id, fact, at=at))

    def ship(
        self, *lines: ShippedLine | tuple[str, int], minute: float, id: str = "s-1", version: float = 0, **more: Any
    ) -> list[tuple[UUID, str]]:
        """It tells that this shipment of the newest order left at that minute; returns the lanes that were rung."""
        made = tuple(
            each if isinstance(each, ShippedLine) else ShippedLine(sku=each[0], quantity=each[1]) for each in lines
        )
        values: dict[str, Any] = {
            "external_id": id,
            "reference": self.reference,
            "lines": made,
            "shipped_at": self.minute(minute),
            "version": self.minute(minute + version),
            "carrier": "royal_mail",
            "tracking_numbers": (f"T-{id}",),
        }
        fact = ProviderShipment(**values | more)
        lanes: list[tuple[UUID, str]] = self.write(
            lambda connection, at: provider_shipments.keep(connection, self.merchant, self.id, fact, at=at)
        )
        return lanes

    def tell(self, state: ProviderState, *, minute: float = 1, message: str = "", **more: Any) -> None:
        """It tells how far the newest order is."""
        values: dict[str, Any] = {"reference": self.reference, "external_id": "k-1", "provider_state": state.value}
        fact = Progress(state=state, version=self.minute(minute), message=message, **values | more)
        self.write(lambda connection, at: providers.progress(connection, self.merchant, self.id, fact, at=at))

    def answer(self, state: CancelState, message: str = "") -> None:
        """It answers the wish to cancel the newest order, later."""
        fact = Cancellation(reference=self.reference, state=state, message=message)
        self.write(lambda connection, at: providers.cancel_answered(connection, self.merchant, self.id, fact, at=at))

    # ------------------------------------------------------------ looking

    def work(self) -> list[Any]:
        rows = self.warehouse.rows(t.fulfillment_order)
        return sorted(rows, key=lambda row: (row.created_at, row.number))

    @property
    def states(self) -> list[State]:
        return [State(row.state) for row in self.work()]

    @property
    def reference(self) -> str:
        """Of the newest fulfillment order."""
        reference: str = self.work()[-1].reference
        return reference

    def there(self, code: str = "mug", place: UUID | None = None) -> tuple[int, int, int]:
        """On hand, allocated and quarantined at the 3PL."""
        level = t.stock_level.c
        where = (level.sku_id == self.skus[code], level.location_id == (place or self.place))
        row = self.warehouse.row(t.stock_level, *where)
        return row.on_hand, row.allocated, row.quarantined

    def ledger(self, code: str = "mug") -> list[tuple[str, int]]:
        """(cause, units) of every entry that moved something on the 3PL's shelf, in order."""
        entry = t.stock_entry.c
        rows = self.warehouse.rows(
            t.stock_entry, entry.sku_id == self.skus[code], entry.location_id == self.place, entry.on_hand_delta != 0
        )
        return [(row.cause, row.on_hand_delta) for row in sorted(rows, key=lambda row: row.number)]

    def line(self) -> Any:
        """The newest order line."""
        return max(self.warehouse.rows(t.order_line), key=lambda row: row.id)

    def issues(self) -> dict[str, str]:
        """The titles of the open issues by kind."""
        rows = self.warehouse.rows(t.issue, t.issue.c.resolved_at.is_(None))
        return {row.kind: row.title for row in rows}

    def confirmations(self) -> list[dict[str, Any]]:
        """What the channel is told, in order."""
        rows = self.warehouse.rows(t.effect, t.effect.c.kind == "confirm_shipment", t.effect.c.state != "cancelled")
        return [row.request for row in sorted(rows, key=lambda row: (row.created_at, row.id))]

    def sound(self) -> None:
        self.warehouse.sound()


def lots(*pairs: tuple[str, int]) -> tuple[Lot, ...]:
    return tuple(Lot(number=number, quantity=units) for number, units in pairs)
