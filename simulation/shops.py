"""Shops that live in memory, and the sales channel that talks to them as a connector talks to a vendor."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Protocol, TypeVar

import marshmallow

from hub.connector import (
    Capabilities,
    EffectResult,
    Fact,
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
)
from hub.core.model import Account, ChannelLocation, Listing, Money, Order, OrderLine, OrderStatus
from hub.errors import NotFound

Answer = TypeVar("Answer")
PER_PAGE = 4


class Wire(Protocol):
    """What lies between the hub and a shop: it may lose a question or an answer, and time passes on it."""

    def call(self, shop: Shop, what: str, answer: Callable[[], Answer]) -> Answer: ...

    def spoiled(self, what: str) -> bool:
        """Whether one item of a call goes wrong, and the others do not."""
        ...


@dataclass
class Shop:
    """What a shop knows. Its customers buy only what its own figure says is there."""

    name: str
    places: tuple[str, ...] = ("",)
    compare_and_set: bool = False
    webhooks: bool = True
    tells_stock: bool = False  # a webhook for each change of a figure
    partial_webhooks: bool = False  # a webhook does not tell what was refunded
    stock: dict[tuple[str, str], int] = field(default_factory=dict)  # by listing and place
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    clock: datetime = datetime(2030, 1, 1, tzinfo=UTC)  # of its latest change
    letters: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  # webhooks that are to be sent

    # ------------------------------------------------------------ what people do in it

    def buy(self, wanted: Mapping[str, int], *, paid: bool = True) -> dict[str, Any] | None:
        """A customer checks out; None where something is sold out by the shop's own figure."""
        taken = {listing: self._place_with(listing, units) for listing, units in wanted.items()}
        if None in taken.values():
            return None
        for listing, place in taken.items():
            self._move(listing, place or "", -wanted[listing])
        lines = [
            {"id": str(number), "listing": listing, "place": taken[listing] or "", "quantity": units}
            for number, (listing, units) in enumerate(wanted.items(), start=1)
        ]
        order = {"id": str(100 + len(self.orders) + len(self.deleted)), "status": "open", "paid": paid, "lines": lines}
        order["placed"] = self._tick()
        return self._keep(order, "order.created")

    def edit(self, order: Mapping[str, Any], line: str, quantity: int) -> dict[str, Any] | None:
        """Another quantity of one line, as far as the shop has it."""
        changed = deepcopy(dict(order))
        (this,) = (each for each in changed["lines"] if each["id"] == line)
        more = quantity - this["quantity"]
        if quantity < this.get("fulfilled", 0) + this.get("removed", 0):
            return None
        if more > 0 and self.stock[this["listing"], this["place"]] < more:
            return None
        self._move(this["listing"], this["place"], -more)
        this["quantity"] = quantity
        return self._keep(changed, "order.updated")

    def cancel(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """The order is called off; what has not been shipped is back in the shop's figure."""
        changed = deepcopy(dict(order))
        for line in changed["lines"]:
            rest = open_units(line)
            self._move(line["listing"], line["place"], rest)
            line["removed"] = line.get("removed", 0) + rest
        changed["status"] = "cancelled"
        return self._keep(changed, "order.updated")

    def ship(self, order: Mapping[str, Any], units: Mapping[str, int]) -> dict[str, Any]:
        """So many units of each line leave the house."""
        changed = deepcopy(dict(order))
        for line in changed["lines"]:
            line["fulfilled"] = line.get("fulfilled", 0) + min(units.get(line["id"], 0), open_units(line))
        done = not any(open_units(line) for line in changed["lines"])
        changed["status"] = "fulfilled" if done else "open"
        return self._keep(changed, "order.updated")

    def unship(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """A fulfilment is undone: everything is to be shipped again."""
        changed = deepcopy(dict(order))
        for line in changed["lines"]:
            line["fulfilled"] = 0
        changed["status"] = "open"
        return self._keep(changed, "order.updated")

    def pay(self, order: Mapping[str, Any]) -> dict[str, Any]:
        return self._keep(deepcopy(dict(order)) | {"paid": True}, "order.updated")

    def delete(self, order: Mapping[str, Any]) -> None:
        """Somebody deletes the order; the shop takes back what was still open."""
        for line in order["lines"]:
            if order["status"] == "open":
                self._move(line["listing"], line["place"], open_units(line))
        del self.orders[order["id"]]
        self.deleted.add(order["id"])
        self._tick()
        self._post("order.deleted", {"id": order["id"]})

    def _keep(self, order: dict[str, Any], topic: str) -> dict[str, Any]:
        order["version"] = self._tick()
        self.orders[order["id"]] = order
        if self.partial_webhooks and any(line.get("removed") for line in order["lines"]):
            lines = [{name: said for name, said in line.items() if name != "removed"} for line in order["lines"]]
            self._post(topic, order | {"whole": False, "lines": lines})
        else:
            self._post(topic, order)
        return order

    def _place_with(self, listing: str, units: int) -> str | None:
        return next((place for place in self.places if self.stock.get((listing, place), 0) >= units), None)

    def _move(self, listing: str, place: str, units: int) -> None:
        if units:
            self.stock[listing, place] += units
            self.tell(listing, place)

    def tell(self, listing: str, place: str) -> None:
        """Its figure has changed, by whomever."""
        if self.tells_stock:
            self._post("stock", {"id": listing, "place": place, "available": self.stock[listing, place]})

    def _post(self, topic: str, body: dict[str, Any]) -> None:
        if self.webhooks:
            self.letters.append((topic, deepcopy(body)))

    def _tick(self) -> str:
        self.clock = max(datetime.now(UTC), self.clock + timedelta(microseconds=1))
        return self.clock.isoformat(timespec="microseconds")


def open_units(line: Mapping[str, Any]) -> int:
    return int(line["quantity"]) - int(line.get("fulfilled", 0)) - int(line.get("removed", 0))


# ---------------------------------------------------------------- its connector

SHOPS: dict[str, tuple[Shop, Wire]] = {}  # by name: whom a connector meets when it calls


class ShopSettings(marshmallow.Schema):
    """What its connect form asks for."""

    shop = marshmallow.fields.String(required=True, metadata={"label": "Shop", "hint": ""})


class PlainChannel(SalesChannel):
    """A channel that writes whatever it is told to write."""

    name = "plain"
    label = "Plain"
    settings_schema = ShopSettings
    capabilities: ClassVar[Capabilities] = Capabilities(push_batch=4)
    effects: ClassVar[Mapping[str, Settlement]] = {"subscribe_webhooks": Settlement.NATURAL_KEY}

    @property
    def shop(self) -> Shop:
        return SHOPS[self.settings["shop"]][0]

    @property
    def wire(self) -> Wire:
        return SHOPS[self.settings["shop"]][1]

    @classmethod
    def hosts(cls, settings: Mapping[str, Any]) -> Sequence[str]:
        return (f"https://{settings['shop']}.example",)

    def check(self) -> Account:
        places = tuple(ChannelLocation(external_id=each, name=each or "All") for each in self.shop.places)
        return Account(external_id=self.shop.name, name=self.shop.name, currency="EUR", locations=places)

    def subscribe_webhooks(self, request: Mapping[str, Any], key: str) -> EffectResult:
        return EffectResult()

    # ------------------------------------------------------------ in

    def fetch_orders(self, cursor: str | None) -> Iterator[Page]:
        at = cursor or ""
        while True:
            page = self.wire.call(self.shop, "fetch_orders", lambda at=at: self._page(at))  # type: ignore[misc]
            if not page.records:
                return
            yield page
            at = page.cursor

    def _page(self, after: str) -> Page:
        later = sorted((body["version"], body["id"]) for body in self.shop.orders.values() if body["version"] > after)
        found = [self.shop.orders[id] for _, id in later[:PER_PAGE]]
        return Page(tuple(_order_record(body) for body in found), found[-1]["version"] if found else after)

    def fetch_order(self, external_id: str) -> RawRecord:
        def answer() -> RawRecord:
            if external_id not in self.shop.orders:
                raise NotFound("There is no such order.")
            return _order_record(self.shop.orders[external_id])

        return self.wire.call(self.shop, "fetch_order", answer)

    def fetch_listings(self, cursor: str | None) -> Iterator[Page]:
        yield self.wire.call(self.shop, "fetch_listings", self._listings)

    def _listings(self) -> Page:
        return Page(tuple(_listing_record(each) for each in dict.fromkeys(id for id, _ in self.shop.stock)), "")

    def fetch_listing(self, external_id: str) -> RawRecord:
        return self.wire.call(self.shop, "fetch_listing", lambda: _listing_record(external_id))

    def read_order(self, record: RawRecord) -> Order:
        return _an_order(json.loads(record.body))

    def read_listing(self, record: RawRecord) -> Iterable[Listing]:
        body = json.loads(record.body)
        yield Listing(external_id=body["id"], sku=body["id"].upper(), title=body["id"].title())

    def read_webhook(self, record: RawRecord) -> Iterable[Fact]:
        body = json.loads(record.body)
        if record.topic == "stock":
            yield StockSeen(body["id"], body["place"], body["available"])
        elif record.topic == "order.deleted":
            yield OrderRemoved(body["id"])
        elif record.topic == "order.changed":
            yield Refetch("order", body["id"])
        else:
            yield _an_order(body)

    # ------------------------------------------------------------ out

    def read_stock(self, refs: Sequence[StockRef]) -> Sequence[int | None]:
        def answer() -> Sequence[int | None]:
            return [self.shop.stock.get((ref.listing_external_id, ref.location_external_id)) for ref in refs]

        asked = ", ".join(f"{ref.listing_external_id} {ref.location_external_id}".strip() for ref in refs)
        return self.wire.call(self.shop, f"read_stock of {asked}", answer)

    def push_stock(self, pushes: Sequence[StockPush]) -> Sequence[PushOutcome]:
        asked = ", ".join(
            f"{each.ref.listing_external_id} {each.ref.location_external_id}".strip()
            + f" from {each.expected} to {each.quantity}"
            for each in pushes
        )
        return self.wire.call(self.shop, f"push_stock of {asked}", lambda: [self._push(each) for each in pushes])

    def _push(self, push: StockPush) -> PushOutcome:
        where = (push.ref.listing_external_id, push.ref.location_external_id)
        now = self.shop.stock[where]
        if self.wire.spoiled("push"):
            return PushOutcome(PushState.RETRY, message="Try again.")
        if self.capabilities.compare_and_set and now != push.expected:
            return PushOutcome(PushState.STALE, now)
        if now != push.quantity:
            self.shop.stock[where] = push.quantity
            self.shop.tell(*where)
        return PushOutcome(PushState.WRITTEN, push.quantity)


class CarefulChannel(PlainChannel):
    """The same, but it writes only over the figure that the hub expects."""

    name = "careful"
    label = "Careful"
    capabilities: ClassVar[Capabilities] = Capabilities(push_batch=4, compare_and_set=True)


def _order_record(body: Mapping[str, Any]) -> RawRecord:
    return RawRecord("order", body["id"], json.dumps(body).encode(), version=body["version"])


def _listing_record(listing: str) -> RawRecord:
    return RawRecord("listing", listing, json.dumps({"id": listing}).encode())


def _an_order(body: Mapping[str, Any]) -> Order:
    lines = tuple(
        OrderLine(
            external_id=line["id"],
            listing_external_id=line["listing"],
            sku="",
            title=line["listing"],
            quantity=line["quantity"],
            fulfilled=line.get("fulfilled", 0),
            removed=line.get("removed", 0),
            unit_price=Money.of(5, "EUR"),
            total=Money.of(5 * line["quantity"], "EUR"),
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
        paid=body["paid"],
        lines=lines,
        total=Money.of(5 * sum(line["quantity"] for line in body["lines"]), "EUR"),
        whole=body.get("whole", True),
    )
