"""Stock in the database: opening a locked StockBook, writing it back, and giving what came free to those who wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Connection,
    Row,
    Select,
    Table,
    bindparam,
    delete,
    exists,
    insert,
    select,
    update,
)

from hub.core.allocation import QueueOrder, StockPolicy
from hub.core.model import Money, StockLevel
from hub.core.stock import Claim, Movement, Place, StockBook
from hub.store import marking, oversold, routing_queue
from hub.store import tables as t
from hub.store.bulk import insert_rows
from hub.store.database import Broken, Database, among, for_update, in_chunks, new_id

SHORTFALL = "shipped_more_than_on_hand"  # the kind of issue; the subject is the order's id and the SKU's
_WOKEN_AT_ONCE = 100  # groups tried in one transaction

_FIGURES = ("on_hand", "allocated", "quarantined", "damaged", "incoming")


class StockMoved(Broken):
    """A balance is not what it was when the book was opened."""


@dataclass(frozen=True, slots=True)
class OpenBook:
    """A locked book, and what goes with it: the merchant's policy, since when each SKU is counted (those that are),
    and the locations each connection sells from."""

    book: StockBook
    policy: StockPolicy
    counted: Mapping[UUID, datetime]
    sells_from: Mapping[UUID, Sequence[UUID]]

    def claim(self, row: Row[*tuple[Any, ...]], parts: Mapping[UUID, int]) -> Claim:
        """What an order line holds and waits for; ``row`` is the line's, with what gives its order its turn."""
        since = row.placed_at or row.received_at
        rank = rank_of(self.policy, row)
        return self.book.claim(Claim(row.id, row.order_id, parts, since, rank, self.policy.hold_together))


def policy(connection: Connection, merchant_id: UUID) -> StockPolicy:
    """How the merchant's orders get stock."""
    row = connection.execute(select(t.stock_policy).where(t.stock_policy.c.merchant_id == merchant_id)).one_or_none()
    if row is None:
        return StockPolicy()
    return StockPolicy(hold_together=row.hold_together, queue=QueueOrder(row.queue), unpaid_hours=row.unpaid_hours)


# ---------------------------------------------------------------- opening


def open_book(
    connection: Connection,
    merchant_id: UUID,
    sku_ids: Iterable[UUID],
    *,
    line_ids: Iterable[UUID] = (),
    order_ids: Iterable[UUID] = (),
) -> OpenBook:
    """Lock the SKUs, in id order, and open the book of their stock.

    It holds every balance, and what the order lines ``line_ids`` hold and wait for: all of their SKUs have to be among
    ``sku_ids``. It also holds what the orders ``order_ids``, if they are held together, wait for. Whoever else waits is
    called up when there is something for him.
    """
    wanted = set(sku_ids)
    counted = _lock(connection, merchant_id, wanted)
    desk = _Desk(connection, merchant_id)
    for some in in_chunks(line_ids) if counted else ():
        desk.load_lines(some)
    for some in in_chunks(order_ids) if counted else ():
        desk.load_groups(some)
    return desk.open(counted)


def open_whole_book(
    connection: Connection, merchant_id: UUID, sku_ids: Collection[UUID], *, order_ids: Iterable[UUID] = ()
) -> OpenBook:
    """Open the book of these SKUs with everybody who holds any of them: for changes that take reservations away.

    A kit that loses one part gives back the others, so that their SKUs are locked, too. Raises StockMoved when
    somebody reserved a kit with yet another part at this moment; ``Database.transact`` starts again.
    """
    everything = set(sku_ids) | _parts_held_with(connection, merchant_id, sku_ids)
    counted = _lock(connection, merchant_id, everything)
    if _parts_held_with(connection, merchant_id, sku_ids) - everything:
        raise StockMoved("A kit was reserved at the same moment. Nothing was written; try again.")
    desk = _Desk(connection, merchant_id)
    held, line = t.allocation.c, t.order_line.c
    for some in in_chunks(sku_ids):
        holders = select(held.order_line_id).where(held.merchant_id == merchant_id, held.sku_id.in_(some))
        desk.load_lines(holders)
        desk.load_groups(select(line.order_id).where(line.merchant_id == merchant_id, line.id.in_(holders)))
    for orders in in_chunks(order_ids):
        desk.load_groups(orders)
    return desk.open(counted)


def _lock(connection: Connection, merchant_id: UUID, sku_ids: Iterable[UUID]) -> dict[UUID, datetime]:
    """Lock the SKUs in id order; returns since when they are counted, those that are."""
    sku = t.sku.c
    counted: dict[UUID, datetime] = {}
    for some in in_chunks(sorted(sku_ids)):
        rows = select(sku.id, sku.counted_since).where(sku.merchant_id == merchant_id, sku.id.in_(some))
        for row in connection.execute(for_update(connection, rows.order_by(sku.id))):
            if row.counted_since is not None:
                counted[row.id] = row.counted_since
    return counted


def _parts_held_with(connection: Connection, merchant_id: UUID, sku_ids: Collection[UUID]) -> set[UUID]:
    """The SKUs of all lines that hold some of these."""
    held, part = t.allocation.c, t.order_line_part.c
    found: set[UUID] = set()
    for some in in_chunks(sku_ids):
        holders = select(held.order_line_id).where(held.merchant_id == merchant_id, held.sku_id.in_(some))
        found |= set(
            connection.execute(
                select(part.sku_id).distinct().where(part.merchant_id == merchant_id, part.order_line_id.in_(holders))
            ).scalars()
        )
    return found


class _Desk:
    """Collects what goes into a book."""

    def __init__(self, connection: Connection, merchant_id: UUID) -> None:
        self._connection = connection
        self._merchant_id = merchant_id
        self._claims: dict[UUID, Claim] = {}
        self._policy = policy(connection, merchant_id)
        self._locations = list(
            connection.execute(
                select(t.location.c.id)
                .where(t.location.c.merchant_id == merchant_id)
                .order_by(t.location.c.created_at, t.location.c.id)
            ).scalars()
        )
        self._sells_from: dict[UUID, list[UUID]] = {}
        if len(self._locations) > 1:
            source = t.channel_location_source.c
            for row in connection.execute(
                select(source.connection_id, source.location_id)
                .distinct()
                .where(source.merchant_id == merchant_id)
                .order_by(source.connection_id, source.location_id)
            ):
                self._sells_from.setdefault(row.connection_id, []).append(row.location_id)

    def load_lines(self, line_ids: Any) -> None:
        """Bring in what these order lines hold and wait for."""
        self._read(self._claims, t.backorder.c.order_line_id.in_(line_ids), t.allocation.c.order_line_id.in_(line_ids))

    def load_groups(self, group_ids: Any) -> None:
        """Bring in all lines of these groups that wait, with what they hold."""
        self._read(self._claims, *self._of_groups(group_ids))

    def _of_groups(self, group_ids: Any) -> tuple[Any, Any]:
        waits = t.backorder.c
        lines = select(waits.order_line_id).where(waits.merchant_id == self._merchant_id, waits.group_id.in_(group_ids))
        return waits.group_id.in_(group_ids), t.allocation.c.order_line_id.in_(lines)

    def open(self, counted: Mapping[UUID, datetime]) -> OpenBook:
        level, merchant_id = t.stock_level.c, self._merchant_id
        levels: dict[Place, StockLevel] = {}
        awaited: set[UUID] = set()
        unsettled: set[UUID] = set()
        figures = [level[name] for name in _FIGURES]
        for some in in_chunks(counted):
            for sku_id, location_id, *balance in self._connection.execute(
                select(level.sku_id, level.location_id, *figures, level.entries).where(
                    level.merchant_id == merchant_id, level.sku_id.in_(some)
                )
            ):
                levels[sku_id, location_id] = StockLevel(*balance)
            for row in self._connection.execute(_queues(merchant_id, some)):
                awaited.add(row.id)
                if row.unsettled:
                    unsettled.add(row.id)
        book = StockBook(
            levels,
            self._claims.values(),
            location_order=self._locations,
            awaited=awaited,
            unsettled=unsettled,
            queue=self._queue,
        )
        return OpenBook(book, self._policy, counted, self._sells_from)

    def _queue(self, sku_id: UUID, most: int) -> Sequence[Claim]:
        waits = t.backorder.c
        first = (
            select(waits.order_line_id, waits.group_id)
            .where(waits.merchant_id == self._merchant_id, waits.sku_id == sku_id, t.IN_QUEUE)
            .order_by(waits.rank, waits.since, waits.order_line_id)
            .limit(most)
        )
        turns = self._connection.execute(first).all()
        found: dict[UUID, Claim] = {}
        for some in in_chunks({row.group_id for row in turns}):
            self._read(found, *self._of_groups(some))
        return list(found.values())

    def _read(self, claims: dict[UUID, Claim], waiting: Any, held: Any) -> None:
        """Add to ``claims`` what meets these conditions on ``backorder`` and ``allocation``."""
        missing: dict[UUID, set[UUID]] = {}
        kits: set[UUID] = set()
        for row in self._connection.execute(_claimed(t.backorder, self._merchant_id, waiting)):
            claim = claims.get(row.id) or self._claim(row, row.rank, row.group_id == row.order_id)
            claims[row.id] = claim
            claim.waiting, claim.woken = row.quantity, row.woken
            if row.missing:
                missing.setdefault(row.id, set()).add(row.sku_id)
            if row.sku_id != row.line_sku_id or row.per_unit != 1:
                kits.add(row.id)
        for row in self._connection.execute(_claimed(t.allocation, self._merchant_id, held)):
            claim = claims.get(row.id) or self._claim(row, None, self._policy.hold_together)
            claims[row.id] = claim
            claim.allocated[row.sku_id, row.location_id] = row.quantity
            if row.sku_id != row.line_sku_id:
                kits.add(row.id)
        for line_id, parts in kit_parts(self._connection, self._merchant_id, kits).items():
            claims[line_id].parts = parts
        for line_id, skus in missing.items():
            if not claims[line_id].alone:
                claims[line_id].missing = frozenset(skus)

    def _claim(self, row: Row[Any], rank: int | None, together: bool) -> Claim:
        if rank is None:
            rank = rank_of(self._policy, row)
        since = row.placed_at or row.received_at
        return Claim(
            row.id,
            row.order_id,
            {row.line_sku_id: 1},
            since,
            rank,
            together,
            self._sells_from.get(row.connection_id, ()),
        )


def _queues(merchant_id: UUID, sku_ids: Sequence[UUID]) -> Select[Any]:
    """Which of these SKUs somebody waits for, and whether any of those has been woken. Only after they are locked."""
    sku, waits = t.sku.c, t.backorder.c
    here = (waits.merchant_id == merchant_id, waits.sku_id == sku.id)
    return select(sku.id, exists().where(*here, waits.woken).label("unsettled")).where(
        sku.merchant_id == merchant_id, sku.id.in_(sku_ids), exists().where(*here, t.IN_QUEUE)
    )


def _claimed(table: Table, merchant_id: UUID, which: Any) -> Select[Any]:
    """The rows of ``table`` that meet ``which``, each with its order line and what gives the line its turn."""
    line, order = t.order_line.c, t.sales_order.c
    columns = [each for each in table.c if each.name not in ("merchant_id", "order_line_id", "since")]
    return (
        select(
            line.id,
            line.order_id,
            line.sku_id.label("line_sku_id"),
            *columns,
            order.connection_id,
            order.placed_at,
            order.received_at,
            order.promised_at,
            order.total_minor,
            order.currency,
        )
        .select_from(
            table.join(
                t.order_line, (line.merchant_id == table.c.merchant_id) & (line.id == table.c.order_line_id)
            ).join(t.sales_order, (order.merchant_id == line.merchant_id) & (order.id == line.order_id))
        )
        .where(table.c.merchant_id == merchant_id, which)
    )


def kit_parts(connection: Connection, merchant_id: UUID, line_ids: Iterable[UUID]) -> dict[UUID, dict[UUID, int]]:
    """What one unit of each of these order lines takes off the shelves, for those that sell a kit."""
    part = t.order_line_part.c
    found: dict[UUID, dict[UUID, int]] = {}
    for some in in_chunks(line_ids):
        for row in connection.execute(
            select(part.order_line_id, part.sku_id, part.quantity)
            .where(part.merchant_id == merchant_id, part.order_line_id.in_(some))
            .order_by(part.sku_id)
        ):
            found.setdefault(row.order_line_id, {})[row.sku_id] = row.quantity
    return found


def kits(connection: Connection, merchant_id: UUID, sku_ids: Iterable[UUID]) -> dict[UUID, dict[UUID, int]]:
    """What those of these SKUs that are kits are made of, down to SKUs that are not."""
    leaf = t.kit_leaf.c
    found: dict[UUID, dict[UUID, int]] = {}
    for some in in_chunks(sku_ids):
        for row in connection.execute(
            select(leaf.kit_id, leaf.part_id, leaf.quantity)
            .where(leaf.merchant_id == merchant_id, among(connection, leaf.kit_id, some))
            .order_by(leaf.part_id)
        ):
            found.setdefault(row.kit_id, {})[row.part_id] = row.quantity
    return found


# ---------------------------------------------------------------- writing


def write_book(
    connection: Connection,
    merchant_id: UUID,
    book: StockBook,
    *,
    at: datetime,
    actor: str = "",
    remark: str = "",
    document_id: UUID | None = None,
    happened_at: Mapping[Place, datetime] | None = None,
) -> set[UUID]:
    """Write everything the book changed: balances, ledger, allocations, backorders, shortages, dirty listings.

    Each balance is changed by one conditional UPDATE that demands the ledger number the book started from.
    ``happened_at`` tells when it really happened, by place, where the hub learned of it only now. Returns the ids of
    the connections that now have something to publish. Raises StockMoved.
    """
    movements = book.movements
    _write_levels(connection, merchant_id, book, movements, at)
    if movements:
        insert_rows(
            connection,
            t.stock_entry,
            [
                {
                    "merchant_id": merchant_id,
                    "sku_id": each.place[0],
                    "location_id": each.place[1],
                    "number": each.after.entries,
                    "cause": each.cause.value,
                    "reference": each.reference,
                    **{f"{name}_delta": getattr(each.change, name) for name in _FIGURES},
                    **{name: getattr(each.after, name) for name in _FIGURES},
                    "order_id": each.order_id,
                    "document_id": document_id,
                    "actor": actor,
                    "note": remark,
                    "at": at,
                    "happened_at": happened_at.get(each.place) if happened_at else None,
                }
                for each in movements
            ],
        )
    _write_claims(connection, merchant_id, book)
    _have_dealt_out(connection, merchant_id, movements, at)
    if book.shortages:
        connection.execute(
            insert(t.shortage),
            [
                {
                    "merchant_id": merchant_id,
                    "id": new_id(),
                    "order_line_id": each.line_id,
                    "order_id": each.order_id,
                    "sku_id": min(each.missing),
                    "units": each.units,
                    "taken": each.taken,
                    "reference": each.reference,
                    "at": at,
                }
                for each in book.shortages
            ],
        )
    if book.changed_claims:
        oversold.keep_up(connection, merchant_id, book, at=at)
    causes = {
        each.place[0]: {
            "cause": each.cause.value,
            "reference": each.reference,
            "order_id": str(each.order_id) if each.order_id else None,
            "at": at.isoformat(),
        }
        for each in movements
    }
    # Where backorders are sold, those that wait leave less to be sold, though no balance has changed.
    waits = {sku_id for line_id in book.changed_claims for sku_id in book.claims[line_id].parts} - causes.keys()
    if waits and _sells_backorders(connection, merchant_id):
        causes |= {
            sku_id: {"cause": "waiting", "reference": "", "order_id": None, "at": at.isoformat()} for sku_id in waits
        }
    return marking.mark_dirty(connection, merchant_id, causes, at=at)


def _sells_backorders(connection: Connection, merchant_id: UUID) -> bool:
    rule = t.selling_rule.c
    return connection.execute(
        select(exists().where(rule.merchant_id == merchant_id, rule.backorder_limit > 0))
    ).scalar_one()


def _write_levels(
    connection: Connection, merchant_id: UUID, book: StockBook, movements: Iterable[Movement], at: datetime
) -> None:
    level = t.stock_level.c
    after = {each.place: each.after for each in movements}
    opened = book.opened
    if opened:
        connection.execute(
            insert(t.stock_level),
            [
                {
                    "merchant_id": merchant_id,
                    "sku_id": place[0],
                    "location_id": place[1],
                    "updated_at": at,
                    **_balance(after.get(place, StockLevel())),
                }
                for place in opened
            ],
        )
        connection.execute(
            update(t.sku)
            .where(
                t.sku.c.merchant_id == merchant_id,
                t.sku.c.id.in_({place[0] for place in opened}),
                t.sku.c.counted_since.is_(None),
            )
            .values(counted_since=at)
        )
    moved = sorted((place, balance) for place, balance in after.items() if place in book.before)
    if not moved:
        return
    # Each demands the ledger number the book started from: one that moved meanwhile is not met, and not counted.
    written = connection.execute(
        update(t.stock_level)
        .where(
            level.merchant_id == merchant_id,
            level.sku_id == bindparam("this_sku"),
            level.location_id == bindparam("this_location"),
            level.entries == bindparam("seen_entries"),
        )
        .values(updated_at=at, **{name: bindparam(f"new_{name}") for name in (*_FIGURES, "entries")}),
        [
            {
                "this_sku": place[0],
                "this_location": place[1],
                "seen_entries": book.before[place].entries,
                **{f"new_{name}": units for name, units in _balance(balance).items()},
            }
            for place, balance in moved
        ],
    )
    if written.rowcount != len(moved):
        raise StockMoved("The stock changed at the same moment. Nothing was written; try again.")


def _balance(level: StockLevel) -> dict[str, int]:
    return {name: getattr(level, name) for name in (*_FIGURES, "entries")}


def _write_claims(connection: Connection, merchant_id: UUID, book: StockBook) -> None:
    changed = [book.claims[line_id] for line_id in sorted(book.changed_claims)]
    for table in (t.allocation, t.backorder):
        for some in in_chunks(claim.line_id for claim in changed if claim.line_id in book.loaded):
            connection.execute(delete(table).where(table.c.merchant_id == merchant_id, table.c.order_line_id.in_(some)))
    allocations = [
        {
            "merchant_id": merchant_id,
            "order_line_id": claim.line_id,
            "sku_id": place[0],
            "location_id": place[1],
            "quantity": units,
        }
        for claim in changed
        for place, units in claim.allocated.items()
    ]
    if allocations:
        insert_rows(connection, t.allocation, allocations)
    backorders = [
        {
            "merchant_id": merchant_id,
            "order_line_id": claim.line_id,
            "sku_id": sku_id,
            "group_id": claim.group_id,
            "quantity": claim.waiting,
            "per_unit": per_unit,
            "rank": claim.rank,
            "since": claim.since,
            "missing": claim.alone or sku_id in claim.missing,
            "woken": claim.woken,
        }
        for claim in changed
        if claim.waiting
        for sku_id, per_unit in claim.parts.items()
    ]
    if backorders:
        insert_rows(connection, t.backorder, backorders)
    for groups in in_chunks(sorted(book.woken)):
        connection.execute(
            update(t.backorder)
            .where(t.backorder.c.merchant_id == merchant_id, t.backorder.c.group_id.in_(groups))
            .values(woken=True)
        )


def _have_dealt_out(connection: Connection, merchant_id: UUID, movements: Iterable[Movement], at: datetime) -> None:
    """Orders that hold more than before are dealt out to locations."""
    more: Counter[UUID] = Counter()
    for each in movements:
        if each.order_id is not None:
            more[each.order_id] += each.change.allocated
    routing_queue.mark(connection, merchant_id, [order_id for order_id, units in more.items() if units > 0], at=at)


# ---------------------------------------------------------------- those who wait for several SKUs


def has_woken(connection: Connection, merchant_id: UUID) -> bool:
    """Whether ``serve_woken`` has something to do."""
    waits = t.backorder.c
    return connection.execute(select(exists().where(waits.merchant_id == merchant_id, waits.woken))).scalar_one()


def serve_woken(database: Database, merchant_id: UUID) -> set[UUID]:
    """Try the kits, and the orders held together, for which something came in that they had been waiting for.

    They need several SKUs at once, so that each try locks all of them first. Returns the connections that have
    something to publish.
    """
    touched: set[UUID] = set()
    while True:
        with database.read() as connection:
            if not has_woken(connection, merchant_id):
                return touched
        touched |= database.transact(lambda connection: _serve_some(database, connection, merchant_id))


def _serve_some(database: Database, connection: Connection, merchant_id: UUID) -> set[UUID]:
    waits = t.backorder.c
    first = (
        select(waits.group_id)
        .where(waits.merchant_id == merchant_id, waits.woken)
        .order_by(waits.rank, waits.since, waits.order_line_id)
        .limit(_WOKEN_AT_ONCE)
    )
    groups = set(connection.execute(first).scalars())
    here = (waits.merchant_id == merchant_id, waits.group_id.in_(groups))
    skus = set(connection.execute(select(waits.sku_id).distinct().where(*here)).scalars())
    _lock(connection, merchant_id, skus)
    # Some may have been tried, or changed, before the locks were had: those are left to the next round.
    lines = connection.execute(
        select(waits.order_line_id, waits.sku_id, waits.group_id, waits.woken).where(*here)
    ).all()
    ours = {row.group_id for row in lines if row.woken} - {row.group_id for row in lines if row.sku_id not in skus}
    opened = open_book(
        connection, merchant_id, skus, line_ids=[row.order_line_id for row in lines if row.group_id in ours]
    )
    opened.book.settle(ours, f"woken/{new_id()}")
    return write_book(connection, merchant_id, opened.book, at=database.now(connection))


# ---------------------------------------------------------------- the first count of a SKU


@dataclass(frozen=True, slots=True)
class OpenLine:
    """An order line for whose units the channel holds stock, of which the hub does not count everything yet.

    ``parts`` are the units of each SKU in one unit of it.
    """

    id: UUID
    order_id: UUID
    connection_id: UUID
    listing_external_id: str | None
    units: int
    since: datetime
    rank: int
    parts: Mapping[UUID, int]


def lines_to_hold(connection: Connection, merchant_id: UUID, sku_ids: Iterable[UUID]) -> list[OpenLine]:
    """The open lines that sell these SKUs, also in a kit, the oldest order first.

    Open the book of all their parts before, so that none is added meanwhile.
    """
    line, order, part = t.order_line.c, t.sales_order.c, t.order_line_part.c
    holding = select(order.id).where(order.merchant_id == merchant_id, order.holds_stock)  # few, of all there ever were
    units = line.quantity - t.GONE - line.removed
    goes_by = policy(connection, merchant_id)
    found: dict[UUID, Row[Any]] = {}
    for some in in_chunks(sku_ids):
        in_kits = select(part.order_line_id).where(part.merchant_id == merchant_id, part.sku_id.in_(some))
        rows = connection.execute(
            select(
                line.id,
                line.order_id,
                line.sku_id,
                order.connection_id,
                line.listing_external_id,
                units.label("units"),
                order.placed_at,
                order.received_at,
                order.promised_at,
                order.total_minor,
                order.currency,
            )
            .select_from(
                t.order_line.join(t.sales_order, (order.merchant_id == line.merchant_id) & (order.id == line.order_id))
            )
            .where(
                line.merchant_id == merchant_id,
                line.order_id.in_(holding),
                line.sku_id.in_(some) | line.id.in_(in_kits),
                line.present,
                units > 0,
            )
        )
        found |= {row.id: row for row in rows}
    kits = kit_parts(connection, merchant_id, found)
    lines = [
        OpenLine(
            row.id,
            row.order_id,
            row.connection_id,
            row.listing_external_id,
            row.units,
            row.placed_at or row.received_at,
            rank_of(goes_by, row),
            kits.get(row.id, {row.sku_id: 1}),
        )
        for row in found.values()
    ]
    return sorted(lines, key=lambda each: (each.since, each.id))


def rank_of(goes_by: StockPolicy, row: Row[*tuple[Any, ...]]) -> int:
    """The place in the queue of the order in ``row``, which has its total_minor, currency and promised_at."""
    return goes_by.rank(Money.from_minor(row.total_minor, row.currency or "XXX").amount, row.promised_at)


def open_book_to_count(
    connection: Connection,
    merchant_id: UUID,
    sku_ids: Collection[UUID],
    opener: Callable[..., OpenBook] = open_book,
) -> tuple[OpenBook, list[OpenLine]]:
    """Open the book of SKUs some of which may not be counted yet, with those that are sold with these in kits.

    Also returns the open lines of those that are not, which are to be held when they are; orders that are held together
    come with all they wait for. Raises StockMoved when such a line came in at this moment. ``opener`` is open_book or
    open_whole_book.
    """
    sku = t.sku.c
    uncounted: set[UUID] = set()
    for some in in_chunks(sku_ids):
        found = select(sku.id).where(sku.merchant_id == merchant_id, sku.id.in_(some), sku.counted_since.is_(None))
        uncounted |= set(connection.execute(found).scalars())
    known = lines_to_hold(connection, merchant_id, uncounted)
    along = {part for line in known for part in line.parts}
    orders = {line.order_id for line in known}
    opened = opener(connection, merchant_id, {*sku_ids, *along}, order_ids=orders)
    lines = lines_to_hold(connection, merchant_id, uncounted - opened.counted.keys())
    if {part for line in lines for part in line.parts} - along - set(sku_ids) or {
        line.order_id for line in lines
    } - orders:
        raise StockMoved("An order came in at the same moment. Nothing was written; try again.")
    return opened, lines


def start_counting(opened: OpenBook, on_hand: Mapping[Place, int], lines: Iterable[OpenLine], reference: str) -> None:
    """Enter opening balances, then reserve what the open ``lines`` of these SKUs are still to get.

    A kit is held as soon as the last of its parts is counted.
    """
    book = opened.book
    for place, units in sorted(on_hand.items()):
        book.open(place, units, reference)
    for line in lines:
        if book.counts(line.parts):
            claim = Claim(
                line.id,
                line.order_id,
                line.parts,
                line.since,
                line.rank,
                opened.policy.hold_together,
                opened.sells_from.get(line.connection_id, ()),
            )
            book.demand(book.claim(claim), line.units, reference)
    book.serve(reference)
