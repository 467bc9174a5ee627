"""What happens to the hub's orders when records of them come in: a pure plan over what is known, written in one go."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from hub.core.allocation import StockPolicy
from hub.core.model import Money, Order, OrderLine, OrderStatus
from hub.core.stock import Claim, StockBook

# An order is as old as its shop says, by the shop's clock and cut to the second. Where a SKU was counted a moment ago,
# an order that seems to be older than that may well be younger; it would be known already if it were much older.
_CLOCKS_DIFFER = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Received:
    """One order as read from one inbox record, or (``order`` None) the news that it was deleted.

    ``asked_at`` is set when the record was fetched: the vendor's answer is at least that new. ``alone`` says that the
    vendor was asked for this very order; then ``order`` None is not news but an answer: it does not have it.
    """

    external_id: str
    order: Order | None
    received_at: datetime
    asked_at: datetime | None = None
    alone: bool = False

    def follows(self, moment: datetime | None) -> bool:
        """Whether the vendor was asked for this at ``moment`` or later."""
        return self.asked_at is not None and (moment is None or self.asked_at >= moment)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What orders of one connection are taken in by.

    ``bound`` are the SKUs of its listings (None: not matched), ``kits`` what those of them that are kits are made of,
    ``counted_since`` when the opening stock of each SKU was adopted, ``prefers`` the locations it sells from.
    """

    at: datetime
    policy: StockPolicy = field(default_factory=StockPolicy)
    bound: Mapping[str, UUID | None] = field(default_factory=dict)
    kits: Mapping[UUID, Mapping[UUID, int]] = field(default_factory=dict)
    counted_since: Mapping[UUID, datetime] = field(default_factory=dict)
    prefers: Sequence[UUID] = ()

    def counted(self, parts: Iterable[UUID]) -> datetime | None:
        """Since when all these SKUs are counted; None while one of them is not."""
        since = [self.counted_since.get(sku_id) for sku_id in parts]
        known = [moment for moment in since if moment is not None]
        return max(known) if known and len(known) == len(since) else None


@dataclass(slots=True, kw_only=True)
class LineRecord:
    """An order line as the hub keeps it."""

    id: UUID
    external_id: str
    position: int = 0
    listing_external_id: str | None = None
    sku_id: UUID | None = None
    parts: Mapping[UUID, int] = field(default_factory=dict)  # units of each SKU in one of the line; empty: not matched
    quantity: int = 0
    fulfilled: int = 0
    removed: int = 0
    fulfilled_before: int = 0
    shipped: int = 0
    sent: int = 0  # had left when the last of the hub's own shipments did
    present: bool = True
    value: OrderLine | None = None  # set when this plan wrote it
    is_new: bool = False
    changed: bool = False
    bound: bool = False  # to its SKU, in this plan

    @property
    def gone(self) -> int:
        """Units that have left: the channel learns of the hub's own shipments only a while after they did."""
        return max(self.fulfilled, self.sent)

    def bind(self, sku_id: UUID, terms: Terms) -> None:
        """The line sells this SKU: a kit as it is made at this moment, whatever becomes of the kit later."""
        self.sku_id, self.parts = sku_id, terms.kits.get(sku_id, {sku_id: 1})
        self.changed = self.bound = True


@dataclass(frozen=True, slots=True)
class Body:
    """What a record said of an order, and the revision that the order has with it."""

    revision: int
    order: Order
    received_at: datetime


@dataclass(slots=True, kw_only=True)
class OrderRecord:
    """An order as the hub keeps it."""

    id: UUID
    external_id: str
    number: str
    status: OrderStatus
    version: datetime | None
    content: str
    received_at: datetime
    placed_at: datetime | None
    whole: bool = True
    holds_stock: bool = False
    shipped_by_channel: bool = False  # from a warehouse of its own: nothing of ours is held for it, or leaves for it
    hold_until: datetime | None = None  # unpaid: its reservation is given back then
    total: Decimal = Decimal(0)  # with promised_at what its place in the backorder queue goes by
    promised_at: datetime | None = None
    removal_heard_at: datetime | None = None
    erased: bool = False  # nothing of the customer may be kept any more
    revision: int = 0
    lines: dict[str, LineRecord] = field(default_factory=dict)
    bodies: list[Body] = field(default_factory=list)  # applied by this plan, one after the other
    is_new: bool = False
    changed: bool = False

    @property
    def value(self) -> Order | None:
        """What this plan wrote last."""
        return self.bodies[-1].order if self.bodies else None


@dataclass(frozen=True, slots=True)
class Note:
    """A line for the activity log."""

    kind: str
    order_id: UUID
    summary: str
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UnknownListing:
    """An order line waits because its listing is not matched to a SKU."""

    listing_external_id: str
    order_id: UUID
    order_number: str
    title: str
    sku: str


@dataclass(frozen=True, slots=True)
class Shortfall:
    """More was shipped than the hub had on its shelf: the count is wrong."""

    order_id: UUID
    order_number: str
    sku_id: UUID
    units: int


@dataclass(slots=True)
class Plan:
    """Everything one batch of received orders changes; stock changes are in the StockBook it was planned with."""

    orders: dict[str, OrderRecord]
    notes: list[Note] = field(default_factory=list)
    refetch: set[str] = field(default_factory=set)
    unknown_listings: dict[str, UnknownListing] = field(default_factory=dict)
    shortfalls: list[Shortfall] = field(default_factory=list)
    missing: dict[str, OrderRecord] = field(default_factory=dict)  # the vendor says it has no such order
    outcomes: list[str] = field(default_factory=list)  # per Received: applied, same, stale
    lanes: set[tuple[UUID, str]] = field(default_factory=set)  # of connections, to be rung for after the commit

    @property
    def changed(self) -> list[OrderRecord]:
        return [record for record in self.orders.values() if record.changed]


def content_of(order: Order) -> str:
    """A hash of what an order says. A webhook's body and a fetched record differ in their bytes, not in this."""
    return hashlib.sha256(repr(_saying(Order)(order)).encode()).hexdigest()


_Say = Callable[[Any], Any]


@cache
def _saying(kind: Any) -> _Say:
    """What makes plain tuples of the values of this type: amounts without the zeros that one shape of a record writes
    and another does not, names in one order. Of an order, all but whether it is whole."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Money:
        return lambda amount: (amount.amount.normalize(), amount.currency)
    if origin in (Union, UnionType):
        (some,) = [each for each in inner if each is not NoneType]
        say = _saying(some)
        return say if say is _as_it_is else _unless_none(say)
    if origin is tuple:
        return _of_each(_saying(inner[0]))
    if origin is not None and issubclass(origin, Mapping):
        return lambda value: tuple(sorted(value.items()))
    if is_dataclass(kind):
        return _of_members(kind)
    return _as_it_is


def _as_it_is(value: Any) -> Any:
    return value


def _unless_none(say: _Say) -> _Say:
    return lambda value: None if value is None else say(value)


def _of_each(say: _Say) -> _Say:
    return lambda values: tuple([say(each) for each in values])


def _of_members(kind: Any) -> _Say:
    hints = get_type_hints(kind)
    names = [each.name for each in fields(kind) if (kind, each.name) != (Order, "whole")]
    members = attrgetter(*names)
    differing = [(place, say) for place, name in enumerate(names) if (say := _saying(hints[name])) is not _as_it_is]

    def of_members(value: Any) -> Any:
        said = list(members(value))
        for place, say in differing:
            said[place] = say(said[place])
        return tuple(said)

    return of_members


def import_orders(
    received: Sequence[Received],
    known: Mapping[str, OrderRecord],
    terms: Terms,
    book: StockBook,
    new_id: Callable[[], UUID],
) -> Plan:
    """Plan what a batch of records of one connection, in order of receipt, does to its orders and to stock.

    ``known`` are the hub's orders by external id, ``book`` the locked stock of all SKUs that the known lines and the
    bindings name. ``known`` records are changed in place.
    """
    plan = Plan(dict(known))
    for each in received:
        plan.outcomes.append(_import_one(each, plan, terms, book, new_id))
    return plan


def _import_one(received: Received, plan: Plan, terms: Terms, book: StockBook, new_id: Callable[[], UUID]) -> str:
    record = plan.orders.get(received.external_id)
    if received.order is None:
        return _remove(received, record, plan, book, new_id)
    order = received.order
    content = content_of(order)
    verdict = _compare(order, content, record, received)
    settles = _settles(received, record)
    if (
        record is not None
        and record.removal_heard_at is not None
        and received.follows(record.removal_heard_at)
        and verdict != "stale"
    ):
        # The vendor has the order after all, or again.
        record.removal_heard_at, record.changed = None, True
    unsure = not order.whole or (record and record.removal_heard_at) or verdict in ("tie", "partial")
    if settles:
        plan.refetch.discard(order.external_id)
    elif unsure:
        plan.refetch.add(order.external_id)
    if verdict == "same" and record is not None and order.whole and not record.whole:
        # Half a record took what it left out from the one before it: now it is known what of that has gone.
        record.whole = record.changed = True
        record.revision += 1
        record.bodies.append(Body(record.revision, order, received.received_at))
    if verdict in ("stale", "same", "partial"):
        return "stale" if verdict == "stale" else "same"

    is_new = record is None
    if record is None:
        record = OrderRecord(
            id=new_id(),
            external_id=order.external_id,
            number=order.number,
            status=order.status,
            version=None,
            content="",
            received_at=received.received_at,
            placed_at=order.placed_at,
            is_new=True,
        )
        plan.orders[order.external_id] = record
    before = record.status
    record.revision += 1
    record.number = order.number
    record.status = order.status
    record.version = order.version
    record.content = content
    record.received_at = received.received_at
    record.placed_at = order.placed_at
    record.whole = order.whole
    record.total, record.promised_at = order.total.amount, order.promised_at
    _hold(order, record, terms)
    record.bodies.append(Body(record.revision, order, received.received_at))
    record.changed = True
    summary = _apply_lines(order, record, plan, terms, book, new_id)
    if is_new:
        plan.notes.append(
            Note("order_imported", record.id, f"Order {order.number} imported: {order.total}, {order.status}.{summary}")
        )
    else:
        what = f"{before} → {order.status}" if before != order.status else f"still {order.status}"
        plan.notes.append(
            Note("order_updated", record.id, f"Order {order.number} updated: {order.total}, {what}.{summary}")
        )
    return "applied"


def _compare(order: Order, content: str, record: OrderRecord | None, received: Received) -> str:
    """newer; older (stale); the same; partial: one version with another content, but only a part of it; or a tie: one
    version with another content, where the last received stands."""
    if record is None or record.version is None or order.version > record.version:
        return "newer"
    if order.version < record.version:
        return "stale"
    if content == record.content:
        return "same"
    if record.whole and not order.whole:
        return "partial"  # never put half a record over a whole one of the same version
    if received.follows(record.received_at):
        return "newer"  # the vendor was asked after the other body came in: this is how it ended
    return "tie"


def _settles(received: Received, record: OrderRecord | None) -> bool:
    """Whether this is the vendor's answer to a question about this very order, asked after all that is known of it.

    It could say nothing better if it were asked again, so it is not: a connector that never reads a whole order, or a
    vendor whose versions have gone back, must not be asked for ever.
    """
    if record is None:
        return received.alone
    return received.alone and received.follows(record.received_at) and received.follows(record.removal_heard_at)


def _remove(
    received: Received, record: OrderRecord | None, plan: Plan, book: StockBook, new_id: Callable[[], UUID]
) -> str:
    if record is None:
        if received.alone:
            return "same"  # asked for an order that neither side has
        record = OrderRecord(
            id=new_id(),
            external_id=received.external_id,
            number=received.external_id,
            status=OrderStatus.REMOVED,
            version=None,
            content="",
            received_at=received.received_at,
            placed_at=None,
            is_new=True,
        )
        plan.orders[received.external_id] = record
    if not received.alone:
        record.removal_heard_at = received.received_at
        plan.refetch.add(received.external_id)
    elif record.removal_heard_at is None:
        # A vendor that cannot find an order it never said it deleted may be wrong: an order is not dropped on that.
        if record.status is not OrderStatus.REMOVED:
            plan.missing[received.external_id] = record
        return "same"
    elif not _settles(received, record):
        plan.refetch.add(received.external_id)  # something came in after the vendor was asked
        return "stale"
    else:
        plan.refetch.discard(received.external_id)
    record.changed = True
    if record.status is OrderStatus.REMOVED and record.revision:
        return "same"
    record.status = OrderStatus.REMOVED
    record.content = ""
    record.received_at = received.received_at
    _let_go(record, book)
    plan.notes.append(Note("order_removed", record.id, f"Order {record.number} was deleted at the channel."))
    return "applied"


def _hold(order: Order, record: OrderRecord, terms: Terms) -> None:
    """Whether the order holds stock, and until when if nobody pays for it."""
    record.shipped_by_channel = order.shipped_by_channel
    record.holds_stock, record.hold_until = order.holds_stock and not order.shipped_by_channel, None
    if record.holds_stock and not order.paid and terms.policy.unpaid_hours is not None:
        until = order.placed_at + timedelta(hours=terms.policy.unpaid_hours)
        if until > terms.at:
            record.hold_until = until
        else:
            record.holds_stock = False


def expire(record: OrderRecord, book: StockBook) -> Note:
    """Nobody paid for the order in time: give back what it holds. Payment brings it back into the queue."""
    record.changed = True
    released = sum(book.claims[line.id].held for line in record.lines.values() if line.id in book.claims)
    _let_go(record, book)
    units = f"{released} unit{'' if released == 1 else 's'}"
    return Note("order_unpaid", record.id, f"Order {record.number} was not paid in time: {units} given back to stock.")


def _let_go(record: OrderRecord, book: StockBook) -> None:
    record.holds_stock, record.hold_until = False, None
    record.revision += 1
    reference = f"{record.id}/{record.revision}"
    for line in record.lines.values():
        if line.id in book.claims:
            book.demand(book.claims[line.id], 0, reference)
    book.serve(reference)


def _apply_lines(
    order: Order, record: OrderRecord, plan: Plan, terms: Terms, book: StockBook, new_id: Callable[[], UUID]
) -> str:
    for absent in record.lines.keys() - {line.external_id for line in order.lines}:
        line = record.lines[absent]
        line.present, line.changed = False, True
        if line.id in book.claims:
            book.demand(book.claims[line.id], 0, f"{record.id}/{record.revision}")
    for position, value in enumerate(order.lines):
        first_seen = value.external_id not in record.lines
        if first_seen:
            record.lines[value.external_id] = LineRecord(id=new_id(), external_id=value.external_id, is_new=True)
        line = record.lines[value.external_id]
        line.position = position
        line.present = line.changed = True
        line.value = value
        line.listing_external_id = value.listing_external_id
        line.quantity, line.fulfilled, line.removed = value.quantity, value.fulfilled, value.removed
        if line.sku_id is None and value.listing_external_id is not None:
            sku_id = terms.bound.get(value.listing_external_id)
            if sku_id is not None:
                line.bind(sku_id, terms)
            elif order.status in (OrderStatus.PENDING, OrderStatus.OPEN) and not order.shipped_by_channel:
                plan.unknown_listings.setdefault(
                    value.listing_external_id,
                    UnknownListing(value.listing_external_id, record.id, order.number, value.title, value.sku),
                )
        since = terms.counted(line.parts)
        if first_seen and since is not None and order.placed_at < since - _CLOCKS_DIFFER:
            # What of it has left by now was not on the shelf that was counted.
            line.fulfilled_before = value.fulfilled
        settle_line(line, record, plan, terms, book)
    book.serve(f"{record.id}/{record.revision}")
    return _stock_summary(record, book)


def settle_line(line: LineRecord, record: OrderRecord, plan: Plan, terms: Terms, book: StockBook) -> None:
    """Bring stock in line with one order line: take out what left, then ask for what is still to be shipped.

    Finished business from before the SKU was counted never touches stock; whatever happens afterwards does, in
    whichever order its records arrive. What a channel ships from its own warehouse never leaves ours: only what the hub
    itself has sent does, and what had been taken out for such an order comes back once it turns out to be one. The book
    is served once all lines of the order have asked.
    """
    if line.sku_id is None or not book.counts(line.parts):
        line.fulfilled_before = line.gone
        return
    reference = f"{record.id}/{record.revision}"
    claim = book.claim(
        Claim(
            line.id,
            record.id,
            line.parts,
            record.placed_at or record.received_at,
            terms.policy.rank(record.total, record.promised_at),
            terms.policy.hold_together,
            terms.prefers,
        )
    )
    left = line.sent if record.shipped_by_channel else line.gone
    to_ship = max(0, left - line.fulfilled_before) - line.shipped
    if to_ship > 0:
        missing = book.ship(claim, to_ship, reference)
        whole = to_ship - max((-(-units // line.parts[sku_id]) for sku_id, units in missing.items()), default=0)
        line.shipped += whole
        # Never counted, so never taken out, now or when a person has counted again.
        line.fulfilled_before += to_ship - whole
        plan.shortfalls += [Shortfall(record.id, record.number, sku_id, units) for sku_id, units in missing.items()]
    elif to_ship < 0 and (record.whole or record.status is OrderStatus.OPEN or record.shipped_by_channel):
        # A fulfilment was undone. Half a record of a finished order may only not know what was shipped.
        book.unship(claim, -to_ship, reference)
        line.shipped += to_ship
    wanted = max(0, line.quantity - line.gone - line.removed) if record.holds_stock and line.present else 0
    book.demand(claim, wanted, reference)


def _stock_summary(record: OrderRecord, book: StockBook) -> str:
    claims = [book.claims[line.id] for line in record.lines.values() if line.id in book.claims]
    held, waiting = sum(claim.held for claim in claims), sum(claim.waiting for claim in claims)
    if waiting:
        return f" {held} allocated, {waiting} on backorder."
    return f" {held} allocated." if held else ""
