"""A shop in memory and its connector, for everything a simulator is too well-behaved for: any error, anywhere."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, ClassVar
from uuid import UUID

import marshmallow

from hub.connector import (
    Capabilities,
    Delivery,
    EffectResult,
    Fact,
    ListingRemoved,
    OrderRemoved,
    Page,
    PushOutcome,
    PushState,
    RawRecord,
    Refetch,
    SalesChannel,
    Settlement,
    StockPush,
    StockRef,
    StockSeen,
    Webhook,
)
from hub.core.model import (
    Account,
    ChannelLocation,
    ChannelWork,
    Hold,
    HoldReason,
    LineQuantity,
    Listing,
    Money,
    Order,
    OrderLine,
    OrderStatus,
    WorkRequest,
    WorkStatus,
)
from hub.core.shipping import WorkAnswer, WorkHold, WorkMove, WorkRelease
from hub.errors import NotFound, Rejected, Unreadable
from hub.store import connections, inbox
from hub.store import tables as t
from tests.town import OWNER, Town

PER_PAGE = 3
_SHOPS: dict[str, Shop] = {}
_numbers = count(1)


@dataclass
class Shop:
    """What the shop knows, and everything it was asked. A fault is raised, or called, instead of the next answer."""

    name: str = field(default_factory=lambda: f"shop-{next(_numbers)}")
    stock: dict[str, int | None] = field(default_factory=dict)  # by listing; None: not tracked
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    places: tuple[str, ...] = ("",)
    account: str = ""
    faults: dict[str, list[BaseException | Callable[[], Any]]] = field(default_factory=lambda: defaultdict(list))
    calls: list[str] = field(default_factory=list)
    writes: list[tuple[str, int]] = field(default_factory=list)
    answers: dict[str, PushOutcome] = field(default_factory=dict)  # instead of writing this listing
    shelves: dict[tuple[str, str], int | None] = field(
        default_factory=dict
    )  # by listing and place, where there are some
    feeds: dict[str, tuple[tuple[str, int], ...]] = field(default_factory=dict)  # what each is to write
    reports: dict[str, Mapping[str, PushOutcome]] = field(default_factory=dict)  # of those that were worked off
    lost: set[str] = field(default_factory=set)  # feeds that it knows nothing of any more

    def __post_init__(self) -> None:
        _SHOPS[self.name] = self
        self.clock = datetime(2030, 3, 2, 12, 0, tzinfo=UTC)
        self.index_lags: set[str] = set()  # orders that its list does not show yet

    # ------------------------------------------------------------ its customers and its admin

    def tick(self) -> str:
        self.clock += timedelta(seconds=1)
        return self.clock.isoformat()

    def buy(self, listing: str, quantity: int = 1, **more: Any) -> dict[str, Any]:
        """A customer checks out; the shop takes it off its own figure. Returns the order's body."""
        figure = self.stock.get(listing)
        if figure is not None:
            self.stock[listing] = figure - quantity
        return self.order([(listing, quantity)], **more)

    def order(self, lines: Iterable[tuple[str | None, int]], **more: Any) -> dict[str, Any]:
        """Write an order down; nothing else follows from it."""
        moment = self.tick()
        body = {
            "id": str(100 + len(self.orders)),
            "version": moment,
            "placed": moment,
            "status": "open",
            "lines": [
                {"id": str(number), "listing": listing, "quantity": quantity}
                for number, (listing, quantity) in enumerate(lines, start=1)
            ],
        } | more
        self.orders[body["id"]] = body
        return body

    def change(self, order: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """The order changes."""
        body = dict(order) | {"version": self.tick()} | more
        self.orders[body["id"]] = body
        return body

    def ship(self, order: Mapping[str, Any]) -> dict[str, Any]:
        lines = [line | {"fulfilled": line["quantity"]} for line in order["lines"]]
        return self.change(order, status="fulfilled", lines=lines)

    def cancel(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """The order is called off, and its goods are back in the shop's figure."""
        for line in order["lines"]:
            if self.stock.get(line["listing"]) is not None:
                self.stock[line["listing"]] += line["quantity"]
        lines = [line | {"removed": line["quantity"]} for line in order["lines"]]
        return self.change(order, status="cancelled", lines=lines)

    # ------------------------------------------------------------ its feeds

    def take_in(self, figures: Sequence[tuple[str, int]]) -> str:
        """Put figures off until ``work_off``; returns the id of the feed."""
        feed = f"feed/{len(self.feeds) + 1}"
        self.feeds[feed] = tuple(figures)
        return feed

    def work_off(self, feed: str, **answers: PushOutcome) -> None:
        """Write what the feed says, but for the listings with another answer."""
        for listing, figure in self.feeds[feed]:
            if listing not in answers:
                self.stock[listing] = figure
                self.writes.append((listing, figure))
        self.reports[feed] = answers

    # ------------------------------------------------------------ being asked

    def asked(self, what: str) -> None:
        """Note a call, and let whatever was planned for it happen."""
        self.calls.append(what)
        if self.faults[what]:
            fault = self.faults[what].pop(0)
            if isinstance(fault, BaseException):
                raise fault
            fault()

    def fail(self, what: str, *faults: BaseException | Callable[[], Any]) -> None:
        self.faults[what] += faults

    def count(self, what: str) -> int:
        return self.calls.count(what)


class FakeSettings(marshmallow.Schema):
    """What its connect form asks for."""

    shop = marshmallow.fields.String(required=True, metadata={"label": "Shop", "hint": ""})
    key = marshmallow.fields.String(load_default="right", metadata={"label": "Key", "hint": "", "secret": True})


class FakeChannel(SalesChannel):
    """A channel without compare-and-set. A record's body is what its order, listing or fact says, as JSON."""

    name = "plain"
    label = "Plain"
    settings_schema = FakeSettings
    # However slow the machine is, no poll comes between two steps of a test that did not let a minute pass.
    capabilities: ClassVar[Capabilities] = Capabilities(push_batch=8, coalesce_seconds=0.0, min_poll_seconds=60.0)

    @property
    def shop(self) -> Shop:
        return _SHOPS[self.settings["shop"]]

    @classmethod
    def hosts(cls, settings: Mapping[str, Any]) -> Sequence[str]:
        return (f"https://{settings['shop']}.example",)

    def check(self) -> Account:
        self.shop.asked("check")
        return Account(
            external_id=self.shop.account or self.shop.name,
            name=self.shop.name.title(),
            currency="EUR",
            locations=tuple(ChannelLocation(external_id=place, name=place or "All") for place in self.shop.places),
        )

    # ------------------------------------------------------------ in

    def fetch_orders(self, cursor: str | None) -> Iterator[Page]:
        self.shop.asked("fetch_orders")
        later = sorted(
            (body for body in self.shop.orders.values() if body["id"] not in self.shop.index_lags),
            key=lambda body: (body["version"], body["id"]),
        )
        later = [body for body in later if f"{body['version']} {body['id']}" > (cursor or "")]
        for start in range(0, len(later), PER_PAGE):
            page = later[start : start + PER_PAGE]
            mark = f"{page[-1]['version']} {page[-1]['id']}"
            yield Page(tuple(order_record(body) for body in page), mark, len(later))
            self.shop.asked("next page")

    def fetch_order(self, external_id: str) -> RawRecord:
        self.shop.asked("fetch_order")
        if external_id not in self.shop.orders:
            raise NotFound("There is no such order.")
        return order_record(self.shop.orders[external_id])

    def fetch_listings(self, cursor: str | None) -> Iterator[Page]:
        self.shop.asked("fetch_listings")
        listings = [listing_record(listing, figure) for listing, figure in self.shop.stock.items()]
        for start in range(0, len(listings), PER_PAGE):
            yield Page(tuple(listings[start : start + PER_PAGE]), "")

    def fetch_listing(self, external_id: str) -> RawRecord:
        self.shop.asked("fetch_listing")
        if external_id not in self.shop.stock:
            raise NotFound("There is no such product.")
        return listing_record(external_id, self.shop.stock[external_id])

    def read_order(self, record: RawRecord) -> Order:
        return an_order(self._body(record))

    def read_listing(self, record: RawRecord) -> Iterable[Listing]:
        body = self._body(record)
        yield Listing(
            external_id=body["id"],
            sku=body["sku"],
            title=body["id"].title(),
            tracked=body["tracked"],
            handles={"item": f"item of {body['id']}"},
        )

    def verify(self, webhook: Webhook) -> Delivery | None:
        return Delivery(webhook.headers["x-topic"], webhook.headers["x-key"])

    def read_webhook(self, record: RawRecord) -> Iterable[Fact]:
        body = self._body(record)
        facts: dict[str, Callable[[], Fact]] = {
            "order": lambda: an_order(body),
            "order.deleted": lambda: OrderRemoved(body["id"]),
            "changed": lambda: Refetch(body["kind"], body["id"]),
            "stock": lambda: StockSeen(body["id"], body.get("place", ""), body["available"], body.get("handle", "")),
            "gone": lambda: ListingRemoved(body["id"], body.get("handle", "")),
            "odd": lambda: body["fact"],
        }
        return [facts[record.topic]()] if record.topic in facts else ()

    def _body(self, record: RawRecord) -> Any:
        try:
            body = json.loads(record.body)
        except ValueError as error:
            raise Unreadable("This is no JSON.") from error
        if isinstance(body, dict) and "do" in body:
            self.shop.asked(body["do"])
        return body

    # ------------------------------------------------------------ out

    def read_stock(self, refs: Sequence[StockRef]) -> Sequence[int | None]:
        self.shop.asked("read_stock")
        return [self._figure(ref) for ref in refs]

    def _figure(self, ref: StockRef) -> int | None:
        shelf = (ref.listing_external_id, ref.location_external_id)
        return self.shop.shelves[shelf] if shelf in self.shop.shelves else self.shop.stock.get(shelf[0])

    def push_stock(self, pushes: Sequence[StockPush]) -> Sequence[PushOutcome]:
        self.shop.asked("push_stock")
        for push in pushes:
            self.shop.asked(f"push {push.ref.listing_external_id}")
        return [self._push(push) for push in pushes]

    def _push(self, push: StockPush) -> PushOutcome:
        listing = push.ref.listing_external_id
        if listing in self.shop.answers:
            return self.shop.answers[listing]
        now = self._figure(push.ref)
        if self.capabilities.compare_and_set and now != push.expected:
            return PushOutcome(PushState.STALE)
        if (listing, push.ref.location_external_id) in self.shop.shelves:
            self.shop.shelves[listing, push.ref.location_external_id] = push.quantity
        else:
            self.shop.stock[listing] = push.quantity
        self.shop.writes.append((listing, push.quantity))
        return PushOutcome(PushState.WRITTEN, push.quantity)


class DealingChannel(FakeChannel):
    """The same, and it deals orders out to its places itself: what it is asked to do about that, it does."""

    name = "dealing"
    label = "Dealing"
    effects: ClassVar[Mapping[str, Settlement]] = dict.fromkeys(
        ("hold_work", "release_work", "move_work", "answer_work"), Settlement.NATURAL_KEY
    )

    def hold_work(self, hold: WorkHold, key: str) -> EffectResult:
        self.shop.asked("hold_work")
        self._deal(hold, status="on_hold", hold={"id": hold.reference, "kind": hold.reason.value, "note": hold.note})
        return EffectResult(hold.reference)

    def release_work(self, release: WorkRelease, key: str) -> EffectResult:
        self.shop.asked("release_work")
        self._deal(release, status="open", hold=None)
        return EffectResult()

    def move_work(self, move: WorkMove, key: str) -> EffectResult:
        """As Shopify does it: what is moved has a new id there."""
        self.shop.asked("move_work")
        moved = f"{move.work_external_id}@{move.location_external_id}"
        self._deal(move, id=moved, place=move.location_external_id)
        return EffectResult(moved)

    def answer_work(self, answer: WorkAnswer, key: str) -> EffectResult:
        self.shop.asked("answer_work")
        self._deal(answer, request="accepted" if answer.accepted else "rejected")
        return EffectResult()

    def _deal(self, wish: WorkHold | WorkRelease | WorkMove | WorkAnswer, **changed: Any) -> None:
        order = self.shop.orders[wish.order_external_id]
        if wish.work_external_id not in {part["id"] for part in order["work"]}:
            raise Rejected("There is no such part.")
        parts = [part | changed if part["id"] == wish.work_external_id else part for part in order["work"]]
        self.shop.change(order, work=parts)


class FeedChannel(FakeChannel):
    """The same, and what is written is taken in as a feed: the shop works it off whenever it gets round to it."""

    name = "feeds"
    label = "Feeds"

    def push_stock(self, pushes: Sequence[StockPush]) -> Sequence[PushOutcome]:
        self.shop.asked("push_stock")
        feed = self.shop.take_in([(push.ref.listing_external_id, push.quantity) for push in pushes])
        return [PushOutcome(PushState.PENDING, reference=feed, after_seconds=2.0)] * len(pushes)

    def settle_stock(self, reference: str, pushes: Sequence[StockPush]) -> Sequence[PushOutcome]:
        self.shop.asked(f"settle {reference}")
        if reference in self.shop.lost:
            raise NotFound("There is no such feed.")
        report = self.shop.reports.get(reference)
        if report is None:
            return [PushOutcome(PushState.PENDING)] * len(pushes)
        return [report.get(push.ref.listing_external_id, PushOutcome(PushState.WRITTEN)) for push in pushes]


class CarefulChannel(FakeChannel):
    """The same with compare-and-set."""

    name = "careful"
    label = "Careful"
    capabilities: ClassVar[Capabilities] = replace(FakeChannel.capabilities, compare_and_set=True)


def order_record(body: Mapping[str, Any]) -> RawRecord:
    return RawRecord("order", body["id"], json.dumps(body).encode(), version=body["version"])


def listing_record(listing: str, figure: int | None) -> RawRecord:
    body = {"id": listing, "sku": listing.upper(), "tracked": figure is not None}
    return RawRecord("listing", listing, json.dumps(body).encode())


def an_order(body: Mapping[str, Any]) -> Order:
    nothing = Money.zero("EUR")
    lines = tuple(
        OrderLine(
            external_id=line["id"],
            listing_external_id=line["listing"],
            sku="",
            title=line["listing"] or "",
            quantity=line["quantity"],
            fulfilled=line.get("fulfilled", 0),
            removed=line.get("removed", 0),
            unit_price=Money.of(5, "EUR"),
            total=Money.of(5 * line["quantity"], "EUR"),
            tax=nothing,
        )
        for line in body["lines"]
    )
    return Order(
        external_id=body["id"],
        number=f"#{body['id']}",
        status=OrderStatus(body["status"]),
        channel_status=body["status"],
        version=datetime.fromisoformat(body["version"]),
        placed_at=datetime.fromisoformat(body["placed"]),
        currency="EUR",
        holds_stock=body["status"] == "open",
        lines=lines,
        total=Money.of(5 * sum(line["quantity"] for line in body["lines"]), "EUR"),
        shipping=nothing,
        tax=nothing,
        discount=nothing,
        fees=nothing,
        whole=body.get("whole", True),
        note=body.get("note", ""),
        work=tuple(_a_part(part) for part in body.get("work", ())),
    )


def _a_part(part: Mapping[str, Any]) -> ChannelWork:
    hold = part.get("hold")
    return ChannelWork(
        external_id=part["id"],
        status=WorkStatus(part.get("status", "open")),
        lines=tuple(LineQuantity(line_external_id=each["id"], quantity=each["quantity"]) for each in part["lines"]),
        request=WorkRequest(part.get("request", "none")),
        location_external_id=part["place"],
        holds=(Hold(external_id=hold["id"], reason=HoldReason(hold["kind"]), note=hold["note"]),) if hold else (),
    )


# ---------------------------------------------------------------- with a town around it


def connect(town: Town, shop: Shop, connector: type[FakeChannel] = FakeChannel) -> UUID:
    """Connect a shop and import what it has."""
    settings = connector.settings_schema().load({"shop": shop.name})
    connection_id, task_id = connections.connect(
        town.hub.database, town.hub.keyring, town.merchant, connector, shop.name, settings, OWNER
    )
    town.work()
    task = town.row(t.task, t.task.c.id == task_id)
    assert task.state == "done", task.message
    return connection_id


def open_shop(town: Town, shop: Shop, connector: type[FakeChannel] = FakeChannel, *, adopt: bool = True) -> UUID:
    """Connect a shop, match its listings, adopt its stock and go live."""
    connection_id = connect(town, shop, connector)
    town.open_for_business(connection_id, adopt=adopt)
    return connection_id


def send(town: Town, connection_id: UUID, topic: str, body: Any, *, key: str = "") -> bool:
    """Let a webhook of the shop come in."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    key = key or f"{topic}/{next(_numbers)}"
    return inbox.store_webhook(
        town.hub.database,
        town.hub.keyring,
        town.merchant,
        connection_id,
        Delivery(topic, key),
        Webhook({"x-topic": topic}, raw),
    )
