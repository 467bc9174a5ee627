"""A warehouse with a post office: packed orders, a carrier that counts what it charges, and its effects run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import Connection, insert, select, update

from hub.connector import Carrier, EffectResult, RawRecord, Settlement
from hub.core.model import Account, Address, Money, Order, OrderStatus
from hub.core.plain import to_plain
from hub.core.shipping import (
    Document,
    DocumentFormat,
    Label,
    LabelPurchase,
    LabelVoid,
    Quotes,
    Rate,
    Shipment,
    Tracking,
    TrackingEvent,
    TrackingStatus,
    VoidState,
)
from hub.store import effects, fulfillment, labels, shipments, tracking
from hub.store import tables as t
from hub.store.database import Database, new_id
from hub.store.secrets import KeyRing
from tests.core.making import a_line, an_order
from tests.store.warehouse import OWNER, FakeChannel, FakeSettings, Warehouse

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
LEEDS = Address(name="Corner", line1="1 High Street", city="Leeds", postcode="LS1 4DY", country="GB")
YORK = Address(name="Ada Byron", line1="7 Mill Lane", city="York", postcode="YO1 7HH", country="GB")
LABEL = b"%PDF-1.4 a label"


def a_rate(price: str = "4.90", service: str = "economy", **more: Any) -> Rate:
    values: dict[str, Any] = {"external_id": f"offer-{service}", "carrier": "royal_mail", "service": service}
    return Rate(**values | {"cost": Money.of(price, "GBP"), "name": service.title()} | more)


class PostOffice(Carrier):
    """Sells labels, one per reference and key, and counts what it has charged. ``faults`` are used up one per call:
    raised "before" it takes place or "after" it; ``meanwhile`` happens while a label is being bought."""

    name, label = "post", "Post"
    settings_schema = FakeSettings
    effects: ClassVar[Mapping[str, Settlement]] = {
        "buy_label": Settlement.LOOKUP,
        "void_label": Settlement.NATURAL_KEY,
    }

    def __init__(self) -> None:
        self.sold: dict[str, Label] = {}
        self.charged: list[str] = []
        self.voided: list[str] = []
        self.calls: list[str] = []
        self.faults: list[tuple[str, BaseException]] = []
        self.meanwhile: Callable[[], object] = lambda: None
        self.says = VoidState.VOIDED
        self.files: tuple[Document, ...] = (Document(content=LABEL, format=DocumentFormat.PDF),)

    @classmethod
    def hosts(cls, settings: Mapping[str, Any]) -> Sequence[str]:
        return ("https://post.example",)

    def check(self) -> Account:
        raise NotImplementedError

    def rates(self, shipment: Shipment) -> Quotes:
        return Quotes(rates=(a_rate(),))

    def _fault(self, when: str) -> None:
        if self.faults and self.faults[0][0] == when:
            raise self.faults.pop(0)[1]

    def buy_label(self, purchase: LabelPurchase, key: str) -> Label:
        self.calls.append("buy")
        self._fault("before")
        self.meanwhile()
        reference = purchase.shipment.reference
        number = len(self.charged) + 1
        label = Label(
            external_id=f"label-{number}",
            carrier=purchase.rate.carrier,
            service=purchase.rate.service,
            tracking_numbers=tuple(f"GB{number}{place}" for place in range(len(purchase.shipment.parcels))),
            cost=purchase.rate.cost,
            tracking_url=f"https://post.example/{number}",
            documents=self.files,
        )
        self.charged.append(reference)
        self.sold[reference] = label
        self._fault("after")
        return label

    def find_buy_label(self, purchase: LabelPurchase, key: str) -> Label | None:
        self.calls.append("find")
        found = self.sold.get(purchase.shipment.reference)
        return None if found is None else replace(found, documents=())

    def void_label(self, label: Label, key: str) -> LabelVoid:
        self.calls.append("void")
        self._fault("before")
        if self.says is VoidState.VOIDED and label.external_id not in self.voided:
            self.voided.append(label.external_id)
        self._fault("after")
        return LabelVoid(label_external_id=label.external_id, state=self.says, message="Too late.")

    def track(self, label: Label) -> Iterator[RawRecord]:
        raise NotImplementedError

    def read_tracking(self, record: RawRecord) -> Tracking:
        raise NotImplementedError

    @property
    def paid(self) -> int:
        """Labels that were charged and not given back."""
        return len(self.charged) - len(self.voided)


def new_post_office() -> PostOffice:
    return PostOffice()


class Channel(FakeChannel):
    """Takes confirmations, and says which."""

    effects: ClassVar[Mapping[str, Settlement]] = {"confirm_shipment": Settlement.NATURAL_KEY}

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.faults: list[BaseException] = []

    def confirm_shipment(self, confirmation: Any, key: str) -> EffectResult:
        if self.faults:
            raise self.faults.pop(0)
        self.told.append(confirmation)
        return EffectResult(f"fulfillment-{len(self.told)}")


class Counter(Warehouse):
    """A shop that sells mugs, its shelf in Leeds, and a post office that labels are bought at."""

    def __init__(self, database: Database, keyring: KeyRing, merchant: UUID, on_hand: int = 10) -> None:
        super().__init__(database, keyring, merchant)
        self.shop = self.connect()
        self.mug = self.sku("MUG", on_hand)
        self.listing(self.shop, "mug", self.mug)
        self.place = self.location()
        with database.write() as connection:
            connection.execute(update(t.location).values(address=to_plain(LEEDS)))
            self.carrier_id = new_id()
            self._insert(
                connection,
                t.connection,
                id=self.carrier_id,
                connector="post",
                label="Post",
                state="connected",
                settings={},
                created_at=database.now(connection),
            )
        self.post = PostOffice()
        self.channel = Channel()
        self.random = Random(1)

    # ------------------------------------------------------------ orders and parcels

    def order(self, units: int = 2, *, address: Address = YORK, **more: Any) -> UUID:
        """An order of mugs; returns its id."""
        external_id = more.setdefault("id", str(100 + next(self._numbers)))
        self.hear(self.shop, an_order(a_line(units), shipping_address=address, **more))
        return self.row(t.sales_order, t.sales_order.c.external_id == external_id).id  # type: ignore[no-any-return]

    def again(
        self, order_id: UUID, units: int = 2, *, minutes: int = 5, line: Mapping[str, Any] | None = None, **more: Any
    ) -> None:
        """The channel tells of the order once more."""
        row = self.row(t.sales_order, t.sales_order.c.id == order_id)
        told: Order = an_order(
            a_line(units, **(line or {})),
            id=row.external_id,
            version=row.version + timedelta(minutes=minutes),
            shipping_address=YORK,
            **more,
        )
        self.hear(self.shop, told)

    def cancel(self, order_id: UUID) -> None:
        """The customer cancels at the channel, and the hub hears of it."""
        self.again(order_id, status=OrderStatus.CANCELLED, holds_stock=False)

    def line_of(self, order_id: UUID) -> Any:
        return self.row(t.order_line, t.order_line.c.order_id == order_id)

    def deal_out(self, order_id: UUID, units: int = 2) -> UUID:
        """Let the shelf in Leeds ship so many; returns the fulfillment order."""
        line_id = self.line_of(order_id).id

        def work(connection: Connection) -> UUID:
            part = fulfillment.Part(location_id=self.place, units={line_id: units})
            at = self.database.now(connection)
            return fulfillment.create(connection, self.merchant, order_id, [part], at=at)[0]

        return self.database.transact(work)

    def pack(self, work_id: UUID, *boxes: int, grams: int = 400) -> UUID:
        """So many units into each box; returns the shipment."""

        def work(connection: Connection) -> UUID:
            row = fulfillment.locked(connection, self.merchant, work_id)
            line_id = self.line_of(row.order_id).id
            parcels = [shipments.ParcelDraft(units={line_id: units}, weight_grams=grams) for units in boxes]
            return shipments.draft(connection, self.merchant, row, parcels, at=self.database.now(connection))

        return self.database.transact(work)

    def packed(self, units: int = 2, **more: Any) -> tuple[UUID, UUID, UUID]:
        """An order that lies packed: its id, its fulfillment order's and its shipment's."""
        order_id = self.order(units, **more)
        work_id = self.deal_out(order_id, units)
        return order_id, work_id, self.pack(work_id, units)

    # ------------------------------------------------------------ acts

    def act(self, function: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        """One of the acts of shipments or labels, in a transaction of its own."""
        return self.database.transact(
            lambda connection: function(connection, self.merchant, *arguments, at=self.database.now(connection), **more)
        )

    def buy(self, shipment_id: UUID) -> UUID:
        return self.act(labels.buy, shipment_id, self.carrier_id, a_rate(), "Cheapest of 1 offer.")  # type: ignore[no-any-return]

    def labelled(self, units: int = 2, **more: Any) -> tuple[UUID, UUID, UUID]:
        """The same as ``packed``, with a label."""
        found = self.packed(units, **more)
        self.buy(found[2])
        self.settle()
        return found

    def hear_tracking(self, number: str, status: TrackingStatus, when: datetime, **more: Any) -> None:
        event = TrackingEvent(status=status, carrier_status=status.value, happened_at=when, **more)
        told = Tracking(tracking_number=number, status=status, carrier_status=status.value, events=(event,))
        self.act(tracking.hear, self.carrier_id, [told])

    # ------------------------------------------------------------ sending

    def claim(self, connection_id: UUID | None = None) -> effects.Effect | None:
        return effects.claim(self.database, self.merchant, connection_id or self.carrier_id)

    def run(self, effect: effects.Effect) -> str:
        connector = self.post if effect.connection_id == self.carrier_id else self.channel
        return effects.run(self.database, self.keyring, effect, connector, random=self.random)

    def settle(self) -> None:
        """Send what is planned, and let time pass, until nothing more happens by itself."""
        for _ in range(30):
            with self.database.write() as connection:
                connection.execute(update(t.effect).values(due_at=LONG_AGO))
                connection.execute(update(t.effect).where(t.effect.c.state == "in_flight").values(lease_until=LONG_AGO))
                connection.execute(update(t.connection).values(not_before=None))
            found = self.claim() or self.claim(self.shop)
            if found is None:
                return
            self.run(found)
        raise AssertionError("the post office does not come to rest")

    # ------------------------------------------------------------ looking

    def shipment(self, shipment_id: UUID) -> Any:
        return self.row(t.shipment, t.shipment.c.id == shipment_id)

    def work(self, work_id: UUID) -> Any:
        return self.row(t.fulfillment_order, t.fulfillment_order.c.id == work_id)

    def issues(self) -> list[str]:
        """The kinds of the open ones."""
        return sorted(row.kind for row in self.rows(t.issue, t.issue.c.resolved_at.is_(None)))

    def hold(self, order_id: UUID) -> None:
        with self.database.write() as connection:
            connection.execute(
                insert(t.order_hold).values(
                    merchant_id=self.merchant,
                    id=new_id(),
                    order_id=order_id,
                    reason="manual",
                    placed_by=OWNER,
                    placed_at=self.database.now(connection),
                )
            )

    def states(self) -> dict[str, str]:
        """The state of each effect, by its kind."""
        with self.database.read() as connection:
            rows = connection.execute(select(t.effect.c.kind, t.effect.c.state).order_by(t.effect.c.created_at))
            return {row.kind: row.state for row in rows}
