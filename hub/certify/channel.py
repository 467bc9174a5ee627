"""What is asked of sales channels: the bench they stand on, and what they read."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hub.certify import everywhere
from hub.certify.bench import Bench, only_connector_errors
from hub.certify.contract import Call, Contract, Level, NotApplicable, expect
from hub.certify.messages import messages
from hub.certify.webhooks import HOOK, has_webhooks
from hub.connector import Capabilities, Connector, Page, PushState, RawRecord, SalesChannel, StockPush, StockRef
from hub.core.model import Listing, Money, Order, OrderStatus
from hub.errors import NotFound

GOODS = (("MUG-1", "Mug", 10, "12.50"), ("TEE-S", "Tee", 5, "19.99"), ("PEN-3", "Pen", 100, "0.10"))
NO_ID = "999999999999"  # an id that looks like one and is nobody's


# ---------------------------------------------------------------- the bench


class ChannelBench(Bench):
    """A bench whose vendors are shops that sell ``GOODS``."""

    order_id: str
    listing_id: str
    refs: Mapping[str, StockRef]
    taken_in: tuple[str, StockPush]  # a figure that the shop judges later, and its reference

    def stocked(self, vendor: Any) -> None:
        for sku, title, stock, price in GOODS:
            vendor.add_product(sku, title, stock, price)

    def stir(self, vendor: Any = None, *, at_once: bool = False) -> None:
        if not at_once:
            self.clock.advance(61)
        self.buy(("PEN-3", 1), shop=vendor, at_once=True)

    @property
    def shop(self) -> Any:
        """The shop made last."""
        return self.vendors[-1]

    def open(self) -> tuple[Any, Any]:
        """A new shop, and a connector connected to it."""
        shop = self.vendor()
        return shop, self.connect(shop)

    def buy(self, *items: tuple[str, int], shop: Any = None, at_once: bool = False) -> str:
        """A customer buys (SKU, quantity), a second later unless ``at_once``; returns the order's external id."""
        if not at_once:
            self.clock.advance(1)
        sale = (shop or self.shop).buy(list(items) or [("MUG-1", 1)])
        expect(sale is not None, "The simulator says that it is sold out, and it is not.")
        order: str = sale.order_external_id
        return order

    def remember(self) -> None:
        """Learn, before anything goes wrong, what stock is written to and which order there is."""
        connector = self.connect(self.shop)
        self.order_id = self.buy(("MUG-1", 1))
        self.refs = self.references(connector)
        self.listing_id = self.refs["MUG-1"].listing_external_id

    def leave_pending(self) -> None:
        """Have the shop take a figure in, before anything goes wrong."""
        self.remember()
        push = StockPush(self.refs["MUG-1"], 7, None, "certify/1")
        (outcome,) = self.connect(self.shop).push_stock([push])
        if outcome.state is not PushState.PENDING:
            raise NotApplicable("it judges a single figure at once")
        self.taken_in = (outcome.reference, push)

    def references(self, connector: SalesChannel) -> dict[str, StockRef]:
        """Where the stock of each SKU is, at the first of the shop's locations."""
        places = [place.external_id for place in connector.check().locations if place.active]
        expect(places, "check() names no location, so no stock could ever be written.")
        return {
            listing.sku: StockRef(listing.external_id, places[0], listing.handles)
            for listing in self.listings(connector)
        }

    def listings(self, connector: SalesChannel) -> list[Listing]:
        """Every listing, fetched and read."""
        return [
            listing
            for page in connector.fetch_listings(None)
            for record in page.records
            for listing in connector.read_listing(record)
        ]

    def records(self, connector: SalesChannel, cursor: str | None = None) -> list[RawRecord]:
        """The records of all orders changed since the cursor."""
        return [record for page in connector.fetch_orders(cursor) for record in page.records]

    def orders(self, connector: SalesChannel, cursor: str | None = None) -> dict[str, Order]:
        """The orders changed since the cursor, as last told, by their external id."""
        read = [connector.read_order(record) for record in self.records(connector, cursor)]
        return {order.external_id: order for order in read}

    def an_order(self, *items: tuple[str, int]) -> tuple[Any, Any, Order]:
        """A shop, a connector to it, and the order of a customer who bought ``items``, fetched and read."""
        shop, connector = self.open()
        external_id = self.buy(*items)
        return shop, connector, connector.read_order(connector.fetch_order(external_id))

    def a_reference(self, sku: str = "MUG-1") -> tuple[Any, Any, StockRef]:
        """A shop, a connector to it, and where the stock of ``sku`` is."""
        shop, connector = self.open()
        return shop, connector, self.references(connector)[sku]


def capabilities(connector: type[Connector]) -> Capabilities:
    """What the channel says it can do."""
    told = connector.capabilities
    expect(isinstance(told, Capabilities), f"Its capabilities are {told!r}.")
    return told  # type: ignore[return-value]  # as was just made sure of


def settles(connector: type[Connector]) -> str:
    """Why it cannot be asked what became of a figure, "" if it can."""
    answers_later = getattr(connector, "settle_stock", None) is not SalesChannel.settle_stock
    return "" if answers_later else "it says at once what became of a figure"


def _all(pages: Any) -> list[Page]:
    return list(pages)


CALLS = (
    Call("check", lambda bench, it: it.check()),
    Call("fetch-orders", lambda bench, it: _all(it.fetch_orders(None)), ChannelBench.remember),
    Call("fetch-order", lambda bench, it: it.fetch_order(bench.order_id), ChannelBench.remember),
    Call("fetch-listings", lambda bench, it: _all(it.fetch_listings(None)), ChannelBench.remember),
    Call("fetch-listing", lambda bench, it: it.fetch_listing(bench.listing_id), ChannelBench.remember),
    Call("read-stock", lambda bench, it: it.read_stock([bench.refs["MUG-1"]]), ChannelBench.remember),
    Call(
        "push-stock",
        lambda bench, it: it.push_stock([StockPush(bench.refs["MUG-1"], 7, None, "certify/1")]),
        ChannelBench.remember,
        writes=True,
    ),
    Call(
        "settle-stock",
        lambda bench, it: it.settle_stock(bench.taken_in[0], [bench.taken_in[1]]),
        ChannelBench.leave_pending,
        needs=settles,
    ),
    Call(
        "subscribe-webhooks",
        lambda bench, it: it.perform("subscribe_webhooks", {"address": HOOK}, "certify/2"),
        writes=True,
        needs=has_webhooks,
    ),
)

CONTRACT = Contract("channel", SalesChannel, ChannelBench, CALLS)
everywhere.add_to(CONTRACT)
messages(CONTRACT)

# ---------------------------------------------------------------- reading

READS = CONTRACT.rule(
    "reads-orders",
    Level.BRONZE,
    "It fetches every order and reads it exactly: ids, lines, money, times, status.",
    "See Order and OrderLine in the reference; use hub.Translation, which is strict where it matters.",
)


@CONTRACT.case(READS, "orders-all-fetched", "Every order of the shop is fetched.")
def _(bench: ChannelBench) -> None:
    shop, connector = bench.open()
    for _ in range(4):
        bench.buy(("MUG-1", 1))
    found = bench.orders(connector).keys()
    expect(found == shop.orders(), f"The shop has {len(shop.orders())} orders, {len(found)} were fetched.")


@CONTRACT.case(READS, "order-record-names-its-order", "A fetched record has the topic “order” and the order's id.")
def _(bench: ChannelBench) -> None:
    _, connector = bench.open()
    bought = bench.buy()
    for record in [*bench.records(connector), connector.fetch_order(bought)]:
        expect(record.topic == "order", f"The topic is {record.topic!r}.")
        expect(record.external_id == bought, f"The record of {bought} says {record.external_id!r}.")
        expect(isinstance(record.body, bytes) and record.body, "The body is not bytes.")
        expect(record.version, "The record has no version, so that nobody can tell a newer one.")


@CONTRACT.case(READS, "order-alone-is-as-in-the-list", "Fetched alone, an order reads as it does in the list.")
def _(bench: ChannelBench) -> None:
    _, connector = bench.open()
    bought = bench.buy(("MUG-1", 2), ("TEE-S", 1))
    alone = connector.read_order(connector.fetch_order(bought))
    expect(bench.orders(connector)[bought] == alone, "It reads differently.")


@CONTRACT.case(READS, "order-lines-are-whole", "Every line is there, with its quantity, SKU and listing.")
def _(bench: ChannelBench) -> None:
    _, connector, order = bench.an_order(("MUG-1", 2), ("PEN-3", 7))
    listings = {listing.sku: listing.external_id for listing in bench.listings(connector)}
    seen = sorted((line.sku, line.quantity, line.listing_external_id) for line in order.lines)
    wanted = [("MUG-1", 2, listings.get("MUG-1")), ("PEN-3", 7, listings.get("PEN-3"))]
    expect(seen == wanted, f"The lines are {seen}, not {wanted}.")


@CONTRACT.case(READS, "order-money-is-exact", "Every amount is a Decimal with no more decimals than money has.")
def _(bench: ChannelBench) -> None:
    _, _, order = bench.an_order(("PEN-3", 3), ("TEE-S", 1), ("MUG-1", 7))
    amounts = {name: getattr(order, name) for name in ("total", "shipping", "tax", "discount", "fees")}
    amounts |= {f"{line.sku}'s total": line.total for line in order.lines}
    for name, money in amounts.items():
        expect(isinstance(money, Money) and isinstance(money.amount, Decimal), f"The {name} is no Money: {money!r}.")
        exponent = money.amount.as_tuple().exponent
        expect(isinstance(exponent, int) and exponent >= -4, f"The {name} is {money.amount}: it went through a float.")


@CONTRACT.case(READS, "order-lines-cost-what-was-asked", "A line's total is its price times its quantity.")
def _(bench: ChannelBench) -> None:
    _, _, order = bench.an_order(("PEN-3", 3), ("TEE-S", 2))
    totals = {line.sku: line.total.amount for line in order.lines}
    taxes = {line.sku: line.tax.amount for line in order.lines}
    if order.taxes_included:
        raise NotApplicable("its prices contain taxes, which the simulator alone knows")
    expect(totals == {"PEN-3": Decimal("0.30"), "TEE-S": Decimal("39.98")}, f"The lines cost {totals}, tax {taxes}.")


@CONTRACT.case(READS, "order-adds-up", "The parts of an order add up to its total, to a cent a line.")
def _(bench: ChannelBench) -> None:
    _, _, order = bench.an_order(("PEN-3", 3), ("TEE-S", 1), ("MUG-1", 2))
    missing = abs(order.rounding.amount)
    expect(missing <= Decimal("0.01") * len(order.lines), f"Its parts are {missing} away from its total.")


@CONTRACT.case(READS, "order-in-the-shops-currency", "The order's currency is the account's.")
def _(bench: ChannelBench) -> None:
    _, connector, order = bench.an_order()
    currency = connector.check().currency
    expect(re.fullmatch(r"[A-Z]{3}", order.currency), f"The currency is {order.currency!r}.")
    expect(not currency or currency == order.currency, f"The shop's is {currency}, the order's {order.currency}.")


@CONTRACT.case(READS, "order-times-are-right", "placed_at and version are aware, in UTC, and when it happened.")
def _(bench: ChannelBench) -> None:
    _, _, order = bench.an_order()
    for name in ("placed_at", "version"):
        moment: datetime = getattr(order, name)
        expect(moment.tzinfo is not None and not moment.utcoffset(), f"{name} is {moment!r}, not an aware UTC time.")
        off = abs(moment - bench.clock())
        expect(off < timedelta(seconds=2), f"{name} is {off} away from when it happened.")


@CONTRACT.case(READS, "order-has-a-number", "The order has the number people call it by.")
def _(bench: ChannelBench) -> None:
    _, _, order = bench.an_order()
    expect(order.number.strip(), "It has no number.")


@CONTRACT.case(READS, "order-open-holds-stock", "A paid order is open and holds stock for every unit.")
def _(bench: ChannelBench) -> None:
    _, _, order = bench.an_order(("MUG-1", 3))
    expect(order.status is OrderStatus.OPEN, f"Its status is {order.status}.")
    expect(order.holds_stock, "It holds no stock, although the shop took it off.")
    expect([line.open_quantity for line in order.lines] == [3], "Not all of its units are open.")


@CONTRACT.case(READS, "order-cancelled-lets-go", "A canceled order holds no stock and ships nothing.")
def _(bench: ChannelBench) -> None:
    shop, connector, order = bench.an_order(("MUG-1", 3))
    bench.clock.advance(60)
    shop.cancel(order.external_id)
    after = connector.read_order(connector.fetch_order(order.external_id))
    over = (OrderStatus.CANCELLED, OrderStatus.REFUNDED, OrderStatus.REMOVED)
    expect(after.status in over, f"Its status is {after.status}.")
    expect(not after.holds_stock, "It still holds stock.")
    expect(after.version > order.version, "Its version did not rise, so that the hub would ignore it.")


@CONTRACT.case(READS, "order-fulfilled-is-done", "A shipped order has no unit open, and every unit fulfilled.")
def _(bench: ChannelBench) -> None:
    shop, connector, order = bench.an_order(("MUG-1", 3))
    bench.clock.advance(60)
    shop.fulfill(order.external_id)
    after = connector.read_order(connector.fetch_order(order.external_id))
    expect(after.status is OrderStatus.FULFILLED, f"Its status is {after.status}.")
    units = [(line.fulfilled, line.open_quantity) for line in after.lines]
    expect(units == [(3, 0)], f"(fulfilled, open) of its lines is {units}.")


@CONTRACT.case(
    READS, "order-version-is-the-vendors", "An order that did not change has the same version whenever it is asked for."
)
def _(bench: ChannelBench) -> None:
    _, connector = bench.open()
    bought = bench.buy()
    records = [connector.fetch_order(bought)]
    bench.clock.advance(7200)
    records += [connector.fetch_order(bought), *bench.records(connector)]
    expect(len({record.version for record in records}) == 1, "The record's version goes by the time of asking.")
    versions = {connector.read_order(record).version for record in records}
    expect(len(versions) == 1, "The order's version goes by the time of asking.")


@CONTRACT.case(
    READS, "order-old-record-stays-old", "A record kept from before a change reads as older than the new one."
)
def _(bench: ChannelBench) -> None:
    shop, connector = bench.open()
    bought = bench.buy()
    before = connector.fetch_order(bought)
    bench.clock.advance(60)
    shop.cancel(bought)
    after = connector.fetch_order(bought)
    old, new = connector.read_order(before), connector.read_order(after)
    expect(old.version < new.version, f"The old record is of {old.version}, the new one of {new.version}.")
    expect(old.status is OrderStatus.OPEN, "The old record reads as the order is now, not as it was.")


@CONTRACT.case(READS, "order-read-twice-is-the-same", "Reading a record twice gives the same order.")
def _(bench: ChannelBench) -> None:
    _, connector = bench.open()
    record = connector.fetch_order(bench.buy(("MUG-1", 1), ("TEE-S", 2)))
    first = connector.read_order(record)
    bench.clock.advance(3600)
    expect(first == connector.read_order(record), "It gives another order.")


@CONTRACT.case(READS, "order-read-without-asking", "Reading a record asks nobody: it can be repeated years later.")
def _(bench: ChannelBench) -> None:
    shop, connector = bench.open()
    record = connector.fetch_order(bench.buy())
    before = len(shop.requests)
    told = bench.reader(shop).read_order(record)
    expect(told == connector.read_order(record), "Without the network it gives another order.")
    expect(len(shop.requests) == before, "It asked the shop.")


@CONTRACT.case(READS, "order-read-in-any-time-zone", "The machine's own time zone changes nothing.")
def _(bench: ChannelBench) -> None:
    _, connector = bench.open()
    record = connector.fetch_order(bench.buy())
    here = connector.read_order(record)
    for zone in ("Pacific/Kiritimati", "America/St_Johns"):
        with machine_in(zone):
            there = connector.read_order(record)
            moments = (there.placed_at.astimezone(UTC), there.version.astimezone(UTC))
        expect(moments == (here.placed_at, here.version), f"In {zone} the times are {moments}.")


@contextmanager
def machine_in(zone: str) -> Iterator[None]:
    """Let this process live in another time zone."""
    if not hasattr(time, "tzset"):
        raise NotApplicable("this system cannot change its time zone for one process")
    before = os.environ.get("TZ")
    os.environ["TZ"] = zone
    time.tzset()
    try:
        yield
    finally:
        os.environ.pop("TZ", None) if before is None else os.environ.update(TZ=before)
        time.tzset()


_NOBODYS = {
    "nobodys": NO_ID,
    "a-path": "../orders",
    "a-query": "1?fields=all",
    "a-slash": "1/refunds",
    "an-emoji": "💥",
    "a-line-end": "1\r\nX-Evil: 1",
    "a-percent": "%2e%2e%2f",
}


@CONTRACT.each(READS, "order-unknown-{}", "An id that is {} leads to NotFound, and nowhere else.", _NOBODYS)
def _(bench: ChannelBench, external_id: str) -> None:
    _, connector = bench.open()
    bench.buy()
    with only_connector_errors(f"fetch_order({external_id!r})") as raised:
        connector.fetch_order(external_id)
    expect(raised, f"It found an order {external_id!r}.")
    expect(isinstance(raised[0], NotFound), f"It raised {type(raised[0]).__name__}: {raised[0]}")


LISTS = CONTRACT.rule(
    "reads-listings",
    Level.BRONZE,
    "It fetches every listing and reads it: id, SKU, title, price, and what stock is written with.",
    "See Listing in the reference.",
)


@CONTRACT.case(LISTS, "listings-all-fetched", "Every product that can be sold is a listing.")
def _(bench: ChannelBench) -> None:
    _, connector = bench.open()
    skus = sorted(listing.sku for listing in bench.listings(connector))
    wanted = sorted(sku for sku, *_ in GOODS)
    expect(skus == wanted, f"The listings are {skus}.")


@CONTRACT.case(LISTS, "listing-is-whole", "A listing has its id, title, and is tracked and for sale.")
def _(bench: ChannelBench) -> None:
    _, connector = bench.open()
    titles = {sku: title for sku, title, *_ in GOODS}
    for listing in bench.listings(connector):
        expect(listing.external_id, f"{listing.sku} has no id.")
        expect(titles[listing.sku] in listing.title, f"{listing.sku} is called {listing.title!r}.")
        expect(listing.tracked and listing.active, f"{listing.sku} is not tracked, or not for sale.")


@CONTRACT.case(LISTS, "listing-price-is-exact", "Where a listing has a price, it is the shop's.")
def _(bench: ChannelBench) -> None:
    _, connector = bench.open()
    prices = {sku: Decimal(price) for sku, _, _, price in GOODS}
    for listing in bench.listings(connector):
        told = listing.price
        expect(told is None or told.amount == prices[listing.sku], f"{listing.sku} costs {told}.")


@CONTRACT.case(LISTS, "listing-record-names-its-topic", "A fetched record has the topic “listing” and an id.")
def _(bench: ChannelBench) -> None:
    _, connector = bench.open()
    for page in connector.fetch_listings(None):
        for record in page.records:
            expect(record.topic == "listing", f"The topic is {record.topic!r}.")
            expect(record.external_id, "The record has no id.")


@CONTRACT.case(LISTS, "listing-alone-is-as-in-the-list", "Fetched alone, a listing reads as it does in the list.")
def _(bench: ChannelBench) -> None:
    _, connector = bench.open()
    for listing in bench.listings(connector):
        alone = {
            each.external_id: each for each in connector.read_listing(connector.fetch_listing(listing.external_id))
        }
        expect(alone.get(listing.external_id) == listing, f"{listing.sku} reads differently.")


@CONTRACT.case(LISTS, "listing-read-without-asking", "Reading a listing asks nobody, and says the same twice.")
def _(bench: ChannelBench) -> None:
    shop, connector = bench.open()
    reader = bench.reader(shop)
    for page in connector.fetch_listings(None):
        for record in page.records:
            expect(list(reader.read_listing(record)) == list(connector.read_listing(record)), "It reads differently.")


@CONTRACT.case(
    LISTS, "listing-handles-can-be-stored", "The handles of a listing are texts: they are stored and come back."
)
def _(bench: ChannelBench) -> None:
    _, connector = bench.open()
    for listing in bench.listings(connector):
        plain = all(isinstance(part, str) for pair in listing.handles.items() for part in pair)
        expect(plain, f"The handles of {listing.sku} are {dict(listing.handles)}.")


@CONTRACT.case(LISTS, "listing-unknown-is-not-found", "A listing that is nobody's leads to NotFound.")
def _(bench: ChannelBench) -> None:
    _, connector = bench.open()
    for external_id in (NO_ID, "../orders", "💥"):
        with only_connector_errors(f"fetch_listing({external_id!r})") as raised:
            connector.fetch_listing(external_id)
        expect(raised and isinstance(raised[0], NotFound), f"{external_id!r} led to {raised or 'a listing'}.")


@CONTRACT.case(LISTS, "locations-are-named", "check() names the places that have stock, each once.")
def _(bench: ChannelBench) -> None:
    _, connector = bench.open()
    places = connector.check().locations
    expect(places, "It names none.")
    expect(len({place.external_id for place in places}) == len(places), "It names one twice.")
    expect(all(place.name for place in places), "One has no name.")
