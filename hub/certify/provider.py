"""What is asked of fulfillment providers: orders submitted once and cancelled, shipments with lots, stock, bad rows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import cycle
from typing import Any

from hub.certify import everywhere, shared, webhooks
from hub.certify import odd as odd_input
from hub.certify.bench import Bench, only_connector_errors
from hub.certify.contract import Call, Contract, Level, NotApplicable, expect, fail
from hub.certify.messages import messages
from hub.connector import Connector, FulfillmentProvider, Page, RawRecord, Settlement
from hub.core.model import Address
from hub.core.plain import from_plain, to_plain
from hub.core.shipping import (
    Cancellation,
    CancelState,
    FulfillmentOrder,
    Progress,
    ProviderShipment,
    ProviderState,
    StockCount,
    Submission,
    Tracking,
)
from hub.errors import Rejected, Unreadable
from hub.testing.simulator import Fault
from hub.testing.warehouse import PlacedOrder

MUG, TEE = "MUG-1", "TEE-S"
MANY = 120  # more than vendors put on a page

# ---------------------------------------------------------------- the bench


class ProviderBench(Bench):
    """A bench with warehouses that have mugs and tees."""

    def stocked(self, vendor: Any) -> None:
        vendor.stock_item(MUG, "Mug", 100)
        vendor.stock_item(TEE, "Tee", 50)

    def stir(self, vendor: Any = None, *, at_once: bool = False) -> None:
        """An order is shipped: the vendor tells it by webhook."""
        vendor = vendor or self.vendors[-1]
        submission = self.submitted(vendor, self.connect(vendor))
        if not at_once:
            self.clock.advance(60)
        vendor.ship(submission.reference)

    def order(self, vendor: Any, quantities: Mapping[str, int] | None = None) -> FulfillmentOrder:
        """An order that the provider takes."""
        order: FulfillmentOrder = vendor.example(self.reference(), quantities or {MUG: 2, TEE: 1})
        return order

    def submitted(self, vendor: Any, connector: Any, quantities: Mapping[str, int] | None = None) -> Submission:
        """An order that the provider has."""
        submission: Submission = connector.submit(self.order(vendor, quantities), self.reference())
        return submission

    def remember(self) -> None:
        """Arrange what the calls are about, before any fault is planned: some of each, since calls are repeated."""
        vendor = self.vendors[-1]
        connector = self.connect(vendor)
        self.orders = cycle([self.order(vendor) for _ in range(6)])
        self.submissions = cycle([self.submitted(vendor, connector) for _ in range(3)])

    def shipments(self, vendor: Any, cursor: str | None = None) -> list[Any]:
        """Everything that fetching the shipments tells, read by a connector that reaches nobody."""
        reader = self.reader(vendor)
        pages = self.connect(vendor).fetch_shipments(cursor)
        return [fact for page in pages for record in page.records for fact in reader.read_shipments(record)]

    def stock(self, vendor: Any) -> dict[str, StockCount]:
        """What fetching the stock tells, by SKU."""
        reader = self.reader(vendor)
        pages = self.connect(vendor).fetch_stock(None)
        facts = [fact for page in pages for record in page.records for fact in reader.read_stock(record)]
        return {fact.sku: fact for fact in facts if isinstance(fact, StockCount)}


def _looks_up(connector: type[Connector]) -> str:
    return "" if connector.effects.get("submit") is Settlement.LOOKUP else "It does not look orders up."


def _fetches_orders(connector: type[Connector]) -> str:
    own = getattr(connector, "fetch_order", None) is not FulfillmentProvider.fetch_order
    return "" if own else "It cannot be asked for one order."


CALLS = (
    Call("check", lambda bench, it: it.check()),
    Call(
        "submit",
        lambda bench, it: it.submit(next(bench.orders), bench.reference()),
        ProviderBench.remember,
        writes=True,
    ),
    Call(
        "find-order",
        lambda bench, it: it.find_submit(next(bench.orders), "key-1"),
        ProviderBench.remember,
        needs=_looks_up,
    ),
    Call(
        "cancel",
        lambda bench, it: it.cancel(next(bench.submissions), bench.reference()),
        ProviderBench.remember,
        writes=True,
    ),
    Call("shipments", lambda bench, it: list(it.fetch_shipments(None)), ProviderBench.remember),
    Call("stock", lambda bench, it: list(it.fetch_stock(None))),
    Call(
        "order",
        lambda bench, it: it.fetch_order(next(bench.submissions).external_id),
        ProviderBench.remember,
        needs=_fetches_orders,
    ),
    Call(
        "subscribe",
        lambda bench, it: it.perform("subscribe_webhooks", {"address": webhooks.HOOK}, "key-1"),
        needs=webhooks.has_webhooks,
    ),
)

CONTRACT = Contract("3pl", FulfillmentProvider, ProviderBench, CALLS)
everywhere.add_to(CONTRACT)
messages(CONTRACT)

# ---------------------------------------------------------------- orders out

ORDERS = CONTRACT.rule(
    "orders",
    Level.BRONZE,
    "An order arrives at the provider whole, under our reference, or is refused with a sentence.",
    "Send every line with its quantity and our reference; let the client raise Rejected where the provider says no.",
)
QUANTITIES = {
    "one-line": {MUG: 1},
    "two-lines": {MUG: 3, TEE: 2},
    "a-large-quantity": {MUG: 100},
    "every-unit-of-the-shelf": {TEE: 50},
}


def _placed(vendor: Any) -> PlacedOrder:
    orders: list[PlacedOrder] = vendor.placed()
    expect(len(orders) == 1, f"The vendor has {len(orders)} orders.")
    return orders[0]


@CONTRACT.case(ORDERS, "order-is-submitted", "Submitting places one order, and returns what the provider calls it.")
def _(bench: ProviderBench) -> None:
    vendor = bench.vendor()
    submission = bench.submitted(vendor, bench.connect(vendor))
    expect(isinstance(submission, Submission), f"submit returned {type(submission).__name__}.")
    placed = _placed(vendor)
    expect(submission.external_id == placed.external_id, f"It says {submission.external_id}.")
    expect(submission.state in (ProviderState.SUBMITTED, ProviderState.ACCEPTED), f"It is {submission.state}.")


@CONTRACT.case(ORDERS, "order-carries-our-reference", "The vendor and the answer have our reference.")
def _(bench: ProviderBench) -> None:
    vendor = bench.vendor()
    order = bench.order(vendor)
    submission = bench.connect(vendor).submit(order, "key-1")
    expect(submission.reference == order.reference, f"The answer says {submission.reference!r}.")
    expect(_placed(vendor).reference == order.reference, f"The vendor has {_placed(vendor).reference!r}.")


@CONTRACT.each(ORDERS, "order-of-{}-is-whole", "An order of {} arrives with every unit.", QUANTITIES)
def _(bench: ProviderBench, quantities: Mapping[str, int]) -> None:
    vendor = bench.vendor()
    bench.submitted(vendor, bench.connect(vendor), quantities)
    expect(dict(_placed(vendor).lines) == dict(quantities), f"The vendor has {dict(_placed(vendor).lines)}.")


@CONTRACT.case(ORDERS, "order-survives-storage", "What was submitted is the same after it was stored as JSON.")
def _(bench: ProviderBench) -> None:
    vendor = bench.vendor()
    submission = bench.submitted(vendor, bench.connect(vendor))
    stored = json.loads(json.dumps(to_plain(submission)))
    expect(from_plain(Submission, stored) == submission, f"It came back as {from_plain(Submission, stored)}.")


@CONTRACT.case(ORDERS, "order-of-an-unknown-sku-is-refused", "A SKU that the provider does not keep is refused.")
def _(bench: ProviderBench) -> None:
    vendor = bench.vendor()
    order = bench.order(vendor)
    strange = replace(order, lines=(replace(order.lines[0], sku="NO-SUCH-SKU", item_external_id=""),))
    _is_refused(bench, vendor, strange)


@CONTRACT.case(ORDERS, "order-to-nowhere-is-refused", "An order without a destination is refused.")
def _(bench: ProviderBench) -> None:
    vendor = bench.vendor()
    _is_refused(bench, vendor, replace(bench.order(vendor), destination=Address()))


def _is_refused(bench: ProviderBench, vendor: Any, order: FulfillmentOrder) -> None:
    try:
        submission = bench.connect(vendor).submit(order, "key-1")
    except Rejected as error:
        expect(str(error).strip(), "It refuses without a word.")
        expect(vendor.placed() == [], "It refused, and the order is there.")
        return
    expect(submission.state in (ProviderState.SUBMITTED, ProviderState.REJECTED), f"It is {submission.state}.")


@CONTRACT.each(ORDERS, "order-to-{}", "An order to an address with {} is placed or refused, as one.", shared.ODD_TEXTS)
def _(bench: ProviderBench, text: str) -> None:
    vendor = bench.vendor()
    order = bench.order(vendor)
    odd = replace(order, destination=shared.odd_address(order.destination, text), note=text, gift_message=text)
    try:
        submission = bench.connect(vendor).submit(odd, "key-1")
    except Rejected:
        expect(vendor.placed() == [], "It refused, and the order is there.")
        return
    expect(submission.external_id == _placed(vendor).external_id, "Another order is there.")


CANCELS = CONTRACT.rule(
    "cancellations",
    Level.SILVER,
    "An order can be taken back: the answer says whether it was, and “too late” is an answer.",
    "Return a Cancellation: REFUSED with the provider's reason where it is too late; find the order by our reference.",
)


@CONTRACT.case(CANCELS, "cancel-keeps-it-from-being-shipped", "An order that waits is cancelled, or the wish is taken.")
def _(bench: ProviderBench) -> None:
    vendor, connector = bench.connected()
    answer = connector.cancel(bench.submitted(vendor, connector), "key-1")
    expect(isinstance(answer, Cancellation), f"cancel returned {type(answer).__name__}.")
    expect(answer.state in (CancelState.CANCELLED, CancelState.REQUESTED), f"It says {answer.state}: {answer.message}")
    if answer.state is CancelState.CANCELLED:
        expect(_placed(vendor).cancelled, "It says cancelled, and the vendor will ship it.")


@CONTRACT.case(CANCELS, "cancel-names-the-order", "The answer names the order that it is about.")
def _(bench: ProviderBench) -> None:
    vendor, connector = bench.connected()
    submission = bench.submitted(vendor, connector)
    answer = connector.cancel(submission, "key-1")
    expect(answer.reference == submission.reference, f"It names {answer.reference!r}.")


@CONTRACT.case(CANCELS, "cancel-touches-one-order", "Other orders stay as they are.")
def _(bench: ProviderBench) -> None:
    vendor, connector = bench.connected()
    kept, taken_back = bench.submitted(vendor, connector), bench.submitted(vendor, connector)
    connector.cancel(taken_back, "key-1")
    cancelled = {order.reference: order.cancelled for order in vendor.placed()}
    expect(not cancelled[kept.reference], "Another order was cancelled.")


@CONTRACT.case(
    CANCELS, "cancel-of-shipped-goods-is-refused", "What has left is refused with a reason, and stays shipped."
)
def _(bench: ProviderBench) -> None:
    vendor, connector = bench.connected()
    submission = bench.submitted(vendor, connector)
    vendor.ship(submission.reference)
    answer = connector.cancel(submission, "key-1")
    expect(answer.state is not CancelState.CANCELLED, "It says cancelled.")
    expect(answer.state is CancelState.REQUESTED or answer.message.strip(), "It is refused without a reason.")
    expect(not _placed(vendor).cancelled, "The vendor has it as cancelled.")


@CONTRACT.case(CANCELS, "cancel-twice-is-one", "Cancelling what is cancelled does no harm.")
def _(bench: ProviderBench) -> None:
    vendor, connector = bench.connected()
    submission = bench.submitted(vendor, connector)
    connector.cancel(submission, "key-1")
    with only_connector_errors("Cancelling it again") as raised:
        connector.cancel(submission, "key-2")
    expect(all(isinstance(error, Rejected) for error in raised), f"It raised {raised}.")


@CONTRACT.case(
    CANCELS, "cancel-without-their-id", "An order whose answer never came can be cancelled by our reference."
)
def _(bench: ProviderBench) -> None:
    vendor, connector = bench.connected()
    submission = bench.submitted(vendor, connector)
    answer = connector.cancel(Submission(reference=submission.reference, external_id=""), "key-1")
    expect(answer.state in (CancelState.CANCELLED, CancelState.REQUESTED), f"It says {answer.state}: {answer.message}")


@CONTRACT.case(CANCELS, "cancel-of-no-order-is-an-error", "An order that the provider does not know is refused.")
def _(bench: ProviderBench) -> None:
    vendor, connector = bench.connected()
    handles = dict.fromkeys(bench.submitted(vendor, connector).handles, "no-such-thing")
    strange = Submission(reference="NO-SUCH-ORDER", external_id="no-such-order", handles=handles)
    try:
        answer = connector.cancel(strange, "key-1")
    except Rejected:
        return
    expect(answer.state is CancelState.REFUSED, f"It says {answer.state}.")


# ---------------------------------------------------------------- shipments in

SHIPMENTS = CONTRACT.rule(
    "shipments",
    Level.BRONZE,
    "What left is told exactly: which units of which lines, from which lots, with which tracking numbers.",
    "Read a ProviderShipment for each shipment, whole, with its own id; never add up or guess.",
)


def _facts(bench: ProviderBench, vendor: Any, kind: type[Any]) -> list[Any]:
    return [fact for fact in bench.shipments(vendor) if isinstance(fact, kind)]


@CONTRACT.case(SHIPMENTS, "shipment-is-told-whole", "An order that was shipped in one is told with every unit.")
def _(bench: ProviderBench) -> None:
    vendor = bench.vendor()
    submission = bench.submitted(vendor, bench.connect(vendor), {MUG: 2, TEE: 1})
    bench.clock.advance(60)
    id = vendor.ship(submission.reference)
    (shipment,) = _facts(bench, vendor, ProviderShipment)
    expect((shipment.external_id, shipment.reference) == (id, submission.reference), f"It tells {shipment}.")
    expect(_units([shipment]) == {MUG: 2, TEE: 1}, f"It tells {_units([shipment])}.")
    expect(shipment.tracking_numbers, "It tells no tracking number.")
    expect(not shipment.cancelled, "It says that it did not leave.")


@CONTRACT.case(SHIPMENTS, "shipment-in-parts-adds-up", "What is shipped in two parts is two shipments, and adds up.")
def _(bench: ProviderBench) -> None:
    vendor = bench.vendor()
    submission = bench.submitted(vendor, bench.connect(vendor), {MUG: 5, TEE: 1})
    bench.clock.advance(60)
    first = vendor.ship(submission.reference, {MUG: 2})
    shipments = _facts(bench, vendor, ProviderShipment)
    expect(_units(shipments) == {MUG: 2}, f"After the first part it tells {_units(shipments)}.")
    state = _facts(bench, vendor, Progress)[-1].state
    expect(state is ProviderState.PARTIALLY_SHIPPED, f"After the first part the order is {state.value}.")
    bench.clock.advance(60)
    second = vendor.ship(submission.reference)
    shipments = _facts(bench, vendor, ProviderShipment)
    expect({each.external_id for each in shipments} == {first, second}, f"It tells {shipments}.")
    expect(_units(shipments) == {MUG: 5, TEE: 1}, f"Together it tells {_units(shipments)}.")
    state = _facts(bench, vendor, Progress)[-1].state
    expect(state is ProviderState.SHIPPED, f"In the end the order is {state.value}.")


@CONTRACT.case(SHIPMENTS, "shipment-tells-its-lots", "The lot that units were taken from is told.")
def _(bench: ProviderBench) -> None:
    vendor = bench.vendor()
    submission = bench.submitted(vendor, bench.connect(vendor), {MUG: 3})
    vendor.ship(submission.reference, {MUG: 3}, lot="L-42")
    (shipment,) = _facts(bench, vendor, ProviderShipment)
    lots = [(lot.number, lot.quantity) for line in shipment.lines for lot in line.lots]
    expect(lots == [("L-42", 3)], f"It tells {lots}.")


@CONTRACT.case(SHIPMENTS, "shipment-is-told-at-its-time", "When it left is told in UTC.")
def _(bench: ProviderBench) -> None:
    vendor = bench.vendor()
    submission = bench.submitted(vendor, bench.connect(vendor))
    bench.clock.advance(7200)
    vendor.ship(submission.reference)
    (shipment,) = _facts(bench, vendor, ProviderShipment)
    left = shipment.shipped_at
    expect(
        left is not None and abs((left - bench.clock()).total_seconds()) < 1, f"It says {left}, not {bench.clock()}."
    )


@CONTRACT.case(SHIPMENTS, "shipment-of-each-order-is-its-own", "Two orders' shipments are told of the right orders.")
def _(bench: ProviderBench) -> None:
    vendor, connector = bench.connected()
    mugs, tees = bench.submitted(vendor, connector, {MUG: 1}), bench.submitted(vendor, connector, {TEE: 1})
    vendor.ship(tees.reference)
    vendor.ship(mugs.reference)
    told = {each.reference: _units([each]) for each in _facts(bench, vendor, ProviderShipment)}
    expect(told == {mugs.reference: {MUG: 1}, tees.reference: {TEE: 1}}, f"It tells {told}.")


def _units(shipments: list[ProviderShipment]) -> dict[str, int]:
    units: Counter[str] = Counter()
    for shipment in shipments:
        for line in shipment.lines:
            units[line.sku] += line.quantity
    return dict(units)


PROGRESS = CONTRACT.rule(
    "progress",
    Level.SILVER,
    "It says where an order stands in the hub's words, keeps the provider's, and takes no new word for good news.",
    "Map every state of the provider's documentation; read a word that is new as ON_HOLD, so that a person looks.",
)


@CONTRACT.case(PROGRESS, "progress-after-submitting", "An order that was taken is told, and is not shipped yet.")
def _(bench: ProviderBench) -> None:
    vendor = bench.vendor()
    submission = bench.submitted(vendor, bench.connect(vendor))
    (progress,) = _facts(bench, vendor, Progress)
    expect(progress.reference == submission.reference, f"It tells of {progress.reference}.")
    expect(progress.state in (ProviderState.ACCEPTED, ProviderState.IN_PROGRESS), f"It is {progress.state.value}.")


@CONTRACT.case(PROGRESS, "progress-rejected-afterwards", "An order that is refused later is REJECTED, with the reason.")
def _(bench: ProviderBench) -> None:
    vendor = bench.vendor()
    submission = bench.submitted(vendor, bench.connect(vendor))
    vendor.reject(submission.reference, "No such street.")
    progress = _facts(bench, vendor, Progress)[-1]
    expect(progress.state is ProviderState.REJECTED, f"It is {progress.state.value}.")
    expect("No such street" in progress.message, f"The reason is {progress.message!r}.")


@CONTRACT.case(PROGRESS, "progress-cancelled", "An order that was cancelled is CANCELLED.")
def _(bench: ProviderBench) -> None:
    vendor, connector = bench.connected()
    answer = connector.cancel(bench.submitted(vendor, connector), "key-1")
    if answer.state is not CancelState.CANCELLED:
        raise NotApplicable("The provider answers a cancellation later.")
    progress = _facts(bench, vendor, Progress)[-1]
    expect(progress.state is ProviderState.CANCELLED, f"It is {progress.state.value}.")


@CONTRACT.case(PROGRESS, "progress-with-a-new-word", "A word that nobody has heard is kept, and holds the order.")
def _(bench: ProviderBench) -> None:
    vendor = bench.vendor()
    submission = bench.submitted(vendor, bench.connect(vendor))
    vendor.status_oddly(submission.reference, "swallowed_by_a_whale")
    progress = _facts(bench, vendor, Progress)[-1]
    expect(progress.state is ProviderState.ON_HOLD, f"It is taken for {progress.state.value}.")
    expect("whale" in progress.provider_state, f"It keeps {progress.provider_state!r}.")


@CONTRACT.case(PROGRESS, "progress-versions-rise", "A later state of an order has a later version.")
def _(bench: ProviderBench) -> None:
    vendor = bench.vendor()
    submission = bench.submitted(vendor, bench.connect(vendor))
    before = _facts(bench, vendor, Progress)[-1].version
    bench.clock.advance(60)
    vendor.ship(submission.reference)
    after = _facts(bench, vendor, Progress)[-1].version
    expect(after > before, f"The version went from {before} to {after}.")


# ---------------------------------------------------------------- fetching

PAGES = CONTRACT.rule(
    "paging",
    Level.SILVER,
    "Fetching comes to an end, goes on where its cursor says, and loses nothing, whatever moves meanwhile.",
    "Yield a page with the cursor that leads on from it; end when the vendor has no more, or repeats itself.",
)


@CONTRACT.case(PAGES, "pages-have-records-and-cursors", "Pages are Pages of RawRecords, with a cursor that is a text.")
def _(bench: ProviderBench) -> None:
    vendor, connector = bench.connected()
    bench.submitted(vendor, connector)
    for fetch, topic in ((connector.fetch_shipments, "shipment"), (connector.fetch_stock, "stock")):
        pages = list(fetch(None))
        expect(pages and all(isinstance(page, Page) for page in pages), f"It gave {pages}.")
        records = [record for page in pages for record in page.records]
        expect(all(isinstance(record, RawRecord) for record in records), f"It gave {records}.")
        expect({record.topic for record in records} == {topic}, f"{topic}: the topics are others.")
        expect(all(isinstance(page.cursor, str) for page in pages), "A cursor is no text.")


@CONTRACT.case(PAGES, "pages-hold-every-order", "Many orders are all told.")
def _(bench: ProviderBench) -> None:
    vendor, references = _crowd(bench)
    told = Counter(fact.reference for fact in bench.shipments(vendor) if isinstance(fact, Progress))
    expect(told.keys() == references, f"{len(references - told.keys())} of {len(references)} orders are missing.")


@CONTRACT.case(PAGES, "pages-hold-every-item", "The stock of many items is all told.")
def _(bench: ProviderBench) -> None:
    vendor = bench.vendor()
    for number in range(MANY):
        vendor.stock_item(f"SKU-{number}", f"Thing {number}", number)
    stock = bench.stock(vendor)
    missing = [number for number in range(MANY) if f"SKU-{number}" not in stock]
    expect(not missing, f"{len(missing)} of {MANY} items are missing.")
    expect(all(stock[f"SKU-{number}"].on_hand == number for number in range(MANY)), "Figures are mixed up.")


@CONTRACT.case(PAGES, "pages-go-on-from-each-cursor", "From the cursor of any page, everything after it is told.")
def _(bench: ProviderBench) -> None:
    vendor, references = _crowd(bench)
    reader = bench.reader(vendor)
    seen: set[str] = set()
    for page in bench.connect(vendor).fetch_shipments(None):
        seen |= _orders_of(fact for record in page.records for fact in reader.read_shipments(record))
        rest = _orders_of(bench.shipments(vendor, page.cursor))
        expect(seen | rest == references, f"After {len(seen)} orders, {len(references - seen - rest)} are lost.")


@CONTRACT.case(
    PAGES, "pages-tell-what-changed-since", "From the last cursor, a change is told, and the old is not all told again."
)
def _(bench: ProviderBench) -> None:
    vendor, references = _crowd(bench)
    bench.clock.advance(3600)  # so that no overlap of the cursor's reaches back to the orders' placing
    pages = list(bench.connect(vendor).fetch_shipments(None))
    bench.clock.advance(60)
    (changed, *_) = references
    vendor.ship(changed)
    told = _orders_of(bench.shipments(vendor, pages[-1].cursor))
    expect(changed in told, "The order that was shipped is not told.")
    expect(len(told) < len(references), "Everything is told again.")


@CONTRACT.case(PAGES, "pages-survive-an-order-that-moves", "An order that changes while they are read is not lost.")
def _(bench: ProviderBench) -> None:
    vendor, references = _crowd(bench)
    (moved, *_) = references
    vendor.fail_next("", Fault.changing(lambda: vendor.ship(moved)))
    told = _orders_of(bench.shipments(vendor))
    expect(told == references, f"{len(references - told)} orders are missing.")


@CONTRACT.case(
    PAGES, "pages-that-repeat-come-to-an-end", "A vendor that answers with the same page again does not hold it."
)
def _(bench: ProviderBench) -> None:
    vendor, _references = _crowd(bench)
    vendor.fail_next("", Fault.repeated(), times=50, after=1)
    with only_connector_errors("Fetching the same page"):
        list(bench.connect(vendor).fetch_shipments(None))


@CONTRACT.case(
    PAGES, "order-alone-is-as-in-the-list", "One order alone reads as it does in the list.", needs=_fetches_orders
)
def _(bench: ProviderBench) -> None:
    vendor, connector = bench.connected()
    submission = bench.submitted(vendor, connector)
    vendor.ship(submission.reference)
    alone = list(bench.reader(vendor).read_shipments(connector.fetch_order(submission.external_id)))
    expect(alone == bench.shipments(vendor), f"Alone it reads {alone}.")


@CONTRACT.case(
    PAGES, "order-that-is-not-there-is-not-found", "An order that does not exist is refused.", needs=_fetches_orders
)
def _(bench: ProviderBench) -> None:
    try:
        record = bench.connect(bench.vendor()).fetch_order("no-such-order")
    except Rejected:
        return
    fail(f"It fetched {record}.")


def _orders_of(facts: Iterable[Any]) -> set[str]:
    """The orders that facts are about; where a parcel is says nothing of its order."""
    return {fact.reference for fact in facts if not isinstance(fact, Tracking)}


def _crowd(bench: ProviderBench) -> tuple[Any, set[str]]:
    vendor = bench.vendor()
    vendor.set_on_hand(MUG, MANY * 2)
    connector = bench.connect(vendor)
    return vendor, {bench.submitted(vendor, connector, {MUG: 1}).reference for _ in range(MANY)}


# ---------------------------------------------------------------- stock in

STOCK = CONTRACT.rule(
    "stock-is-counted",
    Level.BRONZE,
    "The stock of each SKU is told as the provider has it, and a row that makes no sense is set aside alone.",
    "Make a record of each item or row, and let a strict Translation read it; never read a missing figure as nothing.",
)


@CONTRACT.case(STOCK, "stock-is-told", "What lies on the shelf is told, SKU by SKU.")
def _(bench: ProviderBench) -> None:
    found = bench.stock(bench.vendor())
    told = {sku: (count.on_hand, count.available) for sku, count in found.items()}
    expect(told == {MUG: (100, 100), TEE: (50, 50)}, f"It tells {told}.")


@CONTRACT.each(
    STOCK, "stock-of-{}-is-told", "A shelf with {} units is told as it is.", {"0": 0, "1": 1, "999999": 999_999}
)
def _(bench: ProviderBench, quantity: int) -> None:
    vendor = bench.vendor()
    vendor.set_on_hand(MUG, quantity)
    count = bench.stock(vendor).get(MUG)
    expect(count is not None and count.on_hand == quantity, f"It tells {count}.")


@CONTRACT.case(STOCK, "stock-follows-a-shipment", "What was shipped is off the shelf.")
def _(bench: ProviderBench) -> None:
    vendor = bench.vendor()
    submission = bench.submitted(vendor, bench.connect(vendor), {MUG: 3})
    vendor.ship(submission.reference)
    expect(bench.stock(vendor)[MUG].on_hand == 97, f"It tells {bench.stock(vendor)[MUG]}.")


@CONTRACT.case(STOCK, "stock-has-its-time", "When it was counted is told in UTC.")
def _(bench: ProviderBench) -> None:
    vendor = bench.vendor()
    bench.clock.advance(3600)
    vendor.set_on_hand(MUG, 7)
    counted = bench.stock(vendor)[MUG].counted_at
    expect(abs((counted - bench.clock()).total_seconds()) < 1, f"It says {counted}, not {bench.clock()}.")


@CONTRACT.case(
    STOCK, "stock-bad-row-is-set-aside-alone", "A figure that is no number is Unreadable; the others are told."
)
def _(bench: ProviderBench) -> None:
    vendor = bench.vendor()
    vendor.spoil_stock(MUG)
    reader = bench.reader(vendor)
    unreadable, told = [], {}
    for page in bench.connect(vendor).fetch_stock(None):
        for record in page.records:
            try:
                told.update({fact.sku: fact.on_hand for fact in reader.read_stock(record)})
            except Unreadable as error:
                unreadable.append(str(error))
    expect(len(unreadable) == 1, f"{len(unreadable)} records are Unreadable.")
    expect(told == {TEE: 50}, f"It tells {told}.")


READING = CONTRACT.rule(
    "reading",
    Level.SILVER,
    "What is stored can be read at any time, by nobody's help, and whatever is wrong with it is said.",
    "Read with hub.Translation; let every field that must be there be required.",
)
_READS = {"shipment": "read_shipments", "stock": "read_stock"}


def _stored(bench: ProviderBench, topic: str) -> tuple[RawRecord, Callable[[bytes], object]]:
    """A record of the topic, and how the connector reads another body in its place."""
    vendor, connector = bench.connected()
    submission = bench.submitted(vendor, connector)
    vendor.ship(submission.reference, lot="L-42")
    fetch = connector.fetch_shipments if topic == "shipment" else connector.fetch_stock
    record = next(record for page in fetch(None) for record in page.records)
    read = getattr(bench.reader(vendor), _READS[topic])
    return record, lambda body: list(read(replace(record, body=body)))


@CONTRACT.each(
    READING,
    "{}-reads-twice-alike",
    "A stored record ({}) says the same whenever it is read.",
    {name: name for name in _READS},
)
def _(bench: ProviderBench, topic: str) -> None:
    record, read = _stored(bench, topic)
    first = read(record.body)
    bench.clock.advance(86_400)
    expect(first == read(record.body), "A day later it says something else.")


@CONTRACT.each(
    READING,
    "{}-survived",
    "A record in which any one value is wrong ({}) is read or set aside.",
    {f"{topic}-value-{name}": (topic, value) for topic in _READS for name, value in odd_input.ODD_VALUES.items()},
)
def _(bench: ProviderBench, tried: tuple[str, Any]) -> None:
    record, read = _stored(bench, tried[0])
    odd_input.reads_or_refuses(read, odd_input.odd_leaves(record.body, tried[1]), "A value")


@CONTRACT.each(
    READING,
    "{}-set-aside",
    "A record that is not what it should be ({}) is read or set aside.",
    {f"{topic}-body-{name}": (topic, odd) for topic in _READS for name, odd in odd_input.ODD_BODIES.items()},
)
def _(bench: ProviderBench, tried: tuple[str, Callable[[bytes], bytes]]) -> None:
    record, read = _stored(bench, tried[0])
    odd_input.reads_or_refuses(read, [tried[1](record.body)], "A body")


@CONTRACT.each(
    READING,
    "{}-member-missing-survived",
    "A record ({}) without any one member is read or set aside.",
    {name: name for name in _READS},
)
def _(bench: ProviderBench, topic: str) -> None:
    record, read = _stored(bench, topic)
    odd_input.reads_or_refuses(read, odd_input.without_members(record.body), "A record without a member")


# ---------------------------------------------------------------- what must happen once


def _to_submit(bench: ProviderBench, vendor: Any, connector: Any) -> Mapping[str, Any]:
    plain: Mapping[str, Any] = to_plain(bench.order(vendor))
    return plain


def _to_cancel(bench: ProviderBench, vendor: Any, connector: Any) -> Mapping[str, Any]:
    plain: Mapping[str, Any] = to_plain(bench.submitted(vendor, connector))
    return plain


shared.add_to(
    CONTRACT,
    (
        shared.Deed("submit", "submitting", _to_submit, lambda bench, vendor: len(vendor.placed())),
        shared.Deed(
            "cancel", "cancelling", _to_cancel, lambda bench, vendor: sum(each.cancelled for each in vendor.placed())
        ),
    ),
)
