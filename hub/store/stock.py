"""Stock in the database: opening a locked StockBook, writing it back, and the corrections a person makes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Column, Connection, Row, Select, Table, bindparam, delete, func, insert, select, update

from hub.core.model import StockLevel
from hub.core.stock import Cause, Claim, Place, StockBook
from hub.errors import BadInput, Conflict
from hub.store import activity, publications
from hub.store import tables as t
from hub.store.database import Broken, Database, for_update, in_chunks, new_id, upsert

MOST_UNITS = 1_000_000_000
SHORTFALL = "shipped_more_than_on_hand"  # the kind of issue; the subject is the order's id and the SKU's


class StockMoved(Broken):
    """A balance is not what it was when the book was opened."""


def open_book(
    connection: Connection, merchant_id: UUID, sku_ids: Iterable[UUID], *, line_ids: Iterable[UUID] | None = None
) -> tuple[StockBook, dict[UUID, datetime]]:
    """Lock the SKUs, in id order, and open the book of their stock.

    It holds every balance, and what the order lines ``line_ids`` (None: all of them) hold and wait for; whoever else
    waits is called up when there is something for him. Also returns since when each of the SKUs is counted.
    """
    counted: dict[UUID, datetime] = {}
    levels: dict[Place, StockLevel] = {}
    sku, level = t.sku.c, t.stock_level.c
    for some in in_chunks(sorted(set(sku_ids))):
        skus = select(sku.id, sku.counted_since).where(sku.merchant_id == merchant_id, sku.id.in_(some))
        for row in connection.execute(for_update(connection, skus.order_by(sku.id))):
            if row.counted_since is not None:
                counted[row.id] = row.counted_since
    for some in in_chunks(counted):
        for row in connection.execute(
            select(level.sku_id, level.location_id, level.on_hand, level.allocated).where(
                level.merchant_id == merchant_id, level.sku_id.in_(some)
            )
        ):
            levels[row.sku_id, row.location_id] = StockLevel(row.on_hand, row.allocated)
    claims: dict[UUID, Claim] = {}
    wanted, name = (counted, "sku_id") if line_ids is None else (line_ids, "order_line_id")
    # A hot SKU may be held, and waited for, by thousands of lines that do not matter here.
    for some in in_chunks(wanted) if counted else ():
        _add_waiting(connection, merchant_id, claims, t.backorder.c[name].in_(some))
        _add_held(connection, merchant_id, claims, t.allocation.c[name].in_(some))
    locations = connection.execute(
        select(t.location.c.id)
        .where(t.location.c.merchant_id == merchant_id)
        .order_by(t.location.c.created_at, t.location.c.id)
    ).scalars()

    def queue(sku_id: UUID, most: int) -> Iterable[Claim]:
        first: dict[UUID, Claim] = {}
        _add_waiting(connection, merchant_id, first, t.backorder.c.sku_id == sku_id, most)
        for some in in_chunks(first):
            _add_held(connection, merchant_id, first, t.allocation.c.order_line_id.in_(some))
        return first.values()

    return StockBook(levels, claims.values(), location_order=locations, queue=queue), counted


def _add_waiting(
    connection: Connection, merchant_id: UUID, claims: dict[UUID, Claim], which: Any, most: int | None = None
) -> None:
    waits = t.backorder.c
    queue = _claimed(t.backorder, merchant_id, which).order_by(waits.since, waits.order_line_id).limit(most)
    for row in connection.execute(queue):
        claims[row.id] = Claim(row.id, row.order_id, row.sku_id, row.placed_at or row.received_at, waiting=row.quantity)


def _add_held(connection: Connection, merchant_id: UUID, claims: dict[UUID, Claim], which: Any) -> None:
    for row in connection.execute(_claimed(t.allocation, merchant_id, which)):
        claim = claims.setdefault(row.id, Claim(row.id, row.order_id, row.sku_id, row.placed_at or row.received_at))
        claim.allocated[row.location_id] = row.quantity


def _claimed(table: Table, merchant_id: UUID, which: Any) -> Select[Any]:
    """The rows of ``table`` that meet ``which``, each with its order line and the line's place in the queue."""
    line, order = t.order_line.c, t.sales_order.c
    columns = [each for each in table.c if each.name not in ("merchant_id", "order_line_id", "since")]
    return (
        select(line.id, line.order_id, *columns, order.placed_at, order.received_at)
        .select_from(
            table.join(
                t.order_line, (line.merchant_id == table.c.merchant_id) & (line.id == table.c.order_line_id)
            ).join(t.sales_order, (order.merchant_id == line.merchant_id) & (order.id == line.order_id))
        )
        .where(table.c.merchant_id == merchant_id, which)
    )


def write_book(
    connection: Connection, merchant_id: UUID, book: StockBook, *, at: datetime, actor: str = "", remark: str = ""
) -> set[UUID]:
    """Write everything the book changed: balances, ledger, allocations, backorders, dirty listings.

    Each balance is changed by one conditional UPDATE that demands the figures the book started from. Returns the ids
    of the connections that now have something to publish. Raises StockMoved.
    """
    movements = book.movements
    _write_levels(connection, merchant_id, book, at)
    if movements:
        connection.execute(
            insert(t.stock_entry),
            [
                {
                    "merchant_id": merchant_id,
                    "id": new_id(),
                    "sku_id": each.place[0],
                    "location_id": each.place[1],
                    "on_hand_delta": each.on_hand,
                    "allocated_delta": each.allocated,
                    "cause": each.cause.value,
                    "reference": each.reference,
                    "order_id": each.order_id,
                    "actor": actor,
                    "note": remark,
                    "at": at,
                }
                for each in movements
            ],
        )
    _write_claims(connection, merchant_id, book, at)
    causes = {
        each.place[0]: {
            "cause": each.cause.value,
            "reference": each.reference,
            "order_id": str(each.order_id) if each.order_id else None,
            "at": at.isoformat(),
        }
        for each in movements
    }
    return mark_dirty(connection, merchant_id, causes, at=at)


def _write_levels(connection: Connection, merchant_id: UUID, book: StockBook, at: datetime) -> None:
    level = t.stock_level.c
    changed = sorted(book.after.items())
    opened = [(place, balance) for place, balance in changed if place not in book.before]
    if opened:
        connection.execute(
            insert(t.stock_level),
            [
                {
                    "merchant_id": merchant_id,
                    "sku_id": place[0],
                    "location_id": place[1],
                    "on_hand": balance.on_hand,
                    "allocated": balance.allocated,
                    "updated_at": at,
                }
                for place, balance in opened
            ],
        )
        connection.execute(
            update(t.sku)
            .where(
                t.sku.c.merchant_id == merchant_id,
                t.sku.c.id.in_({place[0] for place, _ in opened}),
                t.sku.c.counted_since.is_(None),
            )
            .values(counted_since=at)
        )
    moved = [(place, balance) for place, balance in changed if place in book.before]
    if not moved:
        return
    # Each demands the figures the book started from: one that moved meanwhile is not met, and not counted.
    written = connection.execute(
        update(t.stock_level)
        .where(
            level.merchant_id == merchant_id,
            level.sku_id == bindparam("this_sku"),
            level.location_id == bindparam("this_location"),
            level.on_hand == bindparam("seen_on_hand"),
            level.allocated == bindparam("seen_allocated"),
        )
        .values(on_hand=bindparam("new_on_hand"), allocated=bindparam("new_allocated"), updated_at=at),
        [
            {
                "this_sku": place[0],
                "this_location": place[1],
                "seen_on_hand": book.before[place].on_hand,
                "seen_allocated": book.before[place].allocated,
                "new_on_hand": balance.on_hand,
                "new_allocated": balance.allocated,
            }
            for place, balance in moved
        ],
    )
    if written.rowcount != len(moved):
        raise StockMoved("The stock changed at the same moment. Nothing was written; try again.")


def _write_claims(connection: Connection, merchant_id: UUID, book: StockBook, at: datetime) -> None:
    changed = [book.claims[line_id] for line_id in sorted(book.changed_claims)]
    if not changed:
        return
    for table in (t.allocation, t.backorder):
        for some in in_chunks(claim.line_id for claim in changed):
            connection.execute(delete(table).where(table.c.merchant_id == merchant_id, table.c.order_line_id.in_(some)))
    allocations = [
        {
            "merchant_id": merchant_id,
            "order_line_id": claim.line_id,
            "sku_id": claim.sku_id,
            "location_id": location,
            "quantity": units,
        }
        for claim in changed
        for location, units in claim.allocated.items()
    ]
    if allocations:
        connection.execute(insert(t.allocation), allocations)
    backorders = [
        {
            "merchant_id": merchant_id,
            "order_line_id": claim.line_id,
            "sku_id": claim.sku_id,
            "quantity": claim.waiting,
            "since": claim.since,
        }
        for claim in changed
        if claim.waiting
    ]
    if backorders:
        connection.execute(insert(t.backorder), backorders)


def mark_dirty(
    connection: Connection, merchant_id: UUID, causes: Mapping[UUID, Mapping[str, str | None]], *, at: datetime
) -> set[UUID]:
    """Have every listing of these SKUs published again, each for its cause; returns the connections concerned."""
    publication, listing = t.publication.c, t.listing.c
    found: list[Row[Any]] = []
    for some in in_chunks(causes):
        found += connection.execute(
            select(publication.listing_id, publication.location_external_id, publication.connection_id, listing.sku_id)
            .select_from(
                t.publication.join(
                    t.listing, (listing.merchant_id == publication.merchant_id) & (listing.id == publication.listing_id)
                )
            )
            .where(publication.merchant_id == merchant_id, listing.sku_id.in_(some))
            # In one order for all, so that two who mark the same ones wait for each other only one way.
            .order_by(publication.listing_id, publication.location_external_id)
        )
    if found:
        connection.execute(
            update(t.publication)
            .where(
                publication.merchant_id == merchant_id,
                publication.listing_id == bindparam("this_listing"),
                publication.location_external_id == bindparam("this_location"),
            )
            .values(version=publication.version + 1, dirty_since=at, cause=bindparam("why")),
            [
                {
                    "this_listing": row.listing_id,
                    "this_location": row.location_external_id,
                    "why": causes[row.sku_id],
                }
                for row in found
            ],
        )
    return {row.connection_id for row in found}


# ---------------------------------------------------------------- what a person does


def default_location(connection: Connection, merchant_id: UUID, *, at: datetime) -> UUID:
    """The merchant's first location, made when there is none yet."""
    found: UUID | None = connection.execute(
        select(t.location.c.id)
        .where(t.location.c.merchant_id == merchant_id)
        .order_by(t.location.c.created_at, t.location.c.id)
        .limit(1)
    ).scalar_one_or_none()
    if found is not None:
        return found
    insertion = upsert(connection, t.location).values(
        merchant_id=merchant_id, id=new_id(), name="Main warehouse", created_at=at
    )
    connection.execute(insertion.on_conflict_do_nothing(index_elements=["merchant_id", "name"]))
    return default_location(connection, merchant_id, at=at)


def adjust(
    database: Database,
    merchant_id: UUID,
    sku_id: UUID,
    location_id: UUID,
    on_hand: int,
    reason: str,
    actor: str,
    reference: str,
) -> set[UUID]:
    """Set what is on hand of a SKU at a location, as one ledger entry that says who and why.

    The first count of a SKU starts its stock: what its open orders are still to get is reserved at once.
    ``reference`` makes the correction unique: entering the same form twice is refused with Conflict. Returns the
    connections that have something to publish. Raises BadInput for a quantity that cannot be.
    """
    if isinstance(on_hand, bool) or not 0 <= on_hand <= MOST_UNITS:
        raise BadInput(
            f"On hand must be a whole number from 0 to {MOST_UNITS:,}.", {"on_hand": ["Enter a number of units."]}
        )
    if not reason.strip():
        raise BadInput("Say why the stock is corrected.", {"reason": ["Enter a reason, such as “counted”."]})
    if not 0 < len(reference) <= 100:
        raise BadInput("A correction needs a reference of at most 100 characters.")

    def work(connection: Connection) -> set[UUID]:
        at = database.now(connection)
        book, counted = open_book(connection, merchant_id, [sku_id])
        code = _named(connection, t.sku.c.code, merchant_id, sku_id)
        where = _named(connection, t.location.c.name, merchant_id, location_id)
        entry = t.stock_entry.c
        done = connection.execute(
            select(entry.id).where(
                entry.merchant_id == merchant_id,
                entry.sku_id == sku_id,
                entry.cause.in_([Cause.ADJUSTED.value, Cause.ADOPTED.value]),
                entry.reference == reference,
            )
        ).first()
        if done is not None:
            raise Conflict("This correction was entered already. Reload the page to see the stock as it is now.")
        place = (sku_id, location_id)
        before = book.before[place].on_hand if place in book.before else 0
        if place in book.before:
            book.set_on_hand(place, on_hand, reference)
        else:
            lines = [] if counted else lines_to_hold(connection, merchant_id, [sku_id])
            start_counting(book, {place: on_hand}, lines, reference)
        if not book.after:
            return set()
        touched = write_book(connection, merchant_id, book, at=at, actor=actor, remark=reason.strip()[:500])
        activity.resolve_issues(
            connection, merchant_id, SHORTFALL, _shortfalls(connection, merchant_id, sku_id), at=at, by=actor
        )
        activity.note(
            connection,
            merchant_id,
            "stock_adjusted",
            f"{code} at {where}: on hand {before} → {on_hand} ({reason.strip()})",
            at=at,
            actor=actor,
        )
        return touched | publications.ensure(connection, merchant_id, at=at, sku_ids=[sku_id])

    return database.transact(work)


def _named(connection: Connection, name: Column[str], merchant_id: UUID, row_id: UUID) -> str:
    found: str | None = connection.execute(
        select(name).where(name.table.c.merchant_id == merchant_id, name.table.c.id == row_id)
    ).scalar_one_or_none()
    if found is None:
        raise BadInput("This SKU or location does not exist. Reload the page.")
    return found


def _shortfalls(connection: Connection, merchant_id: UUID, sku_id: UUID) -> list[str]:
    """The subjects of the open issues that say this SKU was counted wrongly."""
    issue = t.issue.c
    return list(
        connection.execute(
            select(issue.subject).where(
                issue.merchant_id == merchant_id,
                issue.kind == SHORTFALL,
                issue.resolved_at.is_(None),
                issue.subject.endswith(f"/{sku_id}"),
            )
        ).scalars()
    )


# ---------------------------------------------------------------- the first count of a SKU


@dataclass(frozen=True, slots=True)
class OpenLine:
    """An order line for whose units the channel holds stock, of a SKU that the hub does not count yet."""

    id: UUID
    order_id: UUID
    sku_id: UUID
    connection_id: UUID
    listing_external_id: str | None
    units: int
    since: datetime


def lines_to_hold(connection: Connection, merchant_id: UUID, sku_ids: Iterable[UUID]) -> list[OpenLine]:
    """The open lines of these SKUs, the oldest order first. Open their book before, so that none is added meanwhile."""
    line, order = t.order_line.c, t.sales_order.c
    holding = select(order.id).where(order.merchant_id == merchant_id, order.holds_stock)  # few, of all there ever were
    units = line.quantity - line.fulfilled - line.removed
    since = func.coalesce(order.placed_at, order.received_at)
    found: list[OpenLine] = []
    for some in in_chunks(sku_ids):
        rows = connection.execute(
            select(line.id, line.order_id, line.sku_id, order.connection_id, line.listing_external_id, units, since)
            .select_from(
                t.order_line.join(t.sales_order, (order.merchant_id == line.merchant_id) & (order.id == line.order_id))
            )
            .where(
                line.merchant_id == merchant_id,
                line.order_id.in_(holding),
                line.sku_id.in_(some),
                line.present,
                units > 0,
            )
        )
        found += [OpenLine(*row) for row in rows]
    return sorted(found, key=lambda each: (each.since, each.id))


def start_counting(book: StockBook, on_hand: Mapping[Place, int], lines: Iterable[OpenLine], reference: str) -> None:
    """Enter opening balances, then reserve what the open ``lines`` of these SKUs are still to get."""
    for place, units in sorted(on_hand.items()):
        book.open(place, units, reference)
    for line in lines:
        book.demand(book.claim(line.id, line.order_id, line.sku_id, line.since), line.units, reference)
