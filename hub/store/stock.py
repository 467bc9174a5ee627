"""Stock in the database: opening a locked StockBook, writing it back, and the corrections a person makes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, bindparam, delete, insert, or_, select, update

from hub.core.model import StockLevel
from hub.core.stock import Cause, Claim, Place, StockBook
from hub.errors import BadInput, Conflict
from hub.store import activity
from hub.store import tables as t
from hub.store.database import Broken, Database, for_update, new_id, upsert

MOST_UNITS = 1_000_000_000


class StockMoved(Broken):
    """A balance is not what it was when the book was opened."""


def open_book(
    connection: Connection, merchant_id: UUID, sku_ids: Iterable[UUID], *, order_ids: Iterable[UUID] | None = None
) -> tuple[StockBook, dict[UUID, datetime]]:
    """Lock the SKUs, in id order, and open the book of their stock.

    It holds every balance and the whole backorder queue, and the claims of ``order_ids`` (None: of every order).
    Also returns since when each of the SKUs is counted.
    """
    wanted = sorted(set(sku_ids))
    if not wanted:
        return StockBook({}), {}
    skus = connection.execute(
        for_update(
            connection,
            select(t.sku.c.id, t.sku.c.counted_since)
            .where(t.sku.c.merchant_id == merchant_id, t.sku.c.id.in_(wanted))
            .order_by(t.sku.c.id),
        )
    ).all()
    counted = {row.id: row.counted_since for row in skus if row.counted_since is not None}
    levels: dict[Place, StockLevel] = {}
    level = t.stock_level.c
    for row in connection.execute(
        select(level.sku_id, level.location_id, level.on_hand, level.allocated).where(
            level.merchant_id == merchant_id, level.sku_id.in_(wanted)
        )
    ):
        levels[row.sku_id, row.location_id] = StockLevel(row.on_hand, row.allocated)
    locations = connection.execute(
        select(t.location.c.id).where(t.location.c.merchant_id == merchant_id).order_by(t.location.c.created_at)
    ).scalars()
    claims = _claims(connection, merchant_id, wanted, order_ids)
    return StockBook(levels, claims, location_order=locations), counted


def _claims(
    connection: Connection, merchant_id: UUID, sku_ids: Sequence[UUID], order_ids: Iterable[UUID] | None
) -> list[Claim]:
    line, order = t.order_line.c, t.sales_order.c
    joined = t.order_line.join(t.sales_order, (order.merchant_id == line.merchant_id) & (order.id == line.order_id))
    since = (order.placed_at, order.received_at)
    claims: dict[UUID, Claim] = {}
    waiting = (
        select(line.id, line.order_id, t.backorder.c.sku_id, t.backorder.c.quantity, *since)
        .select_from(
            joined.join(
                t.backorder,
                (t.backorder.c.merchant_id == line.merchant_id) & (t.backorder.c.order_line_id == line.id),
            )
        )
        .where(t.backorder.c.merchant_id == merchant_id, t.backorder.c.sku_id.in_(sku_ids))
    )
    for each in connection.execute(waiting):
        claims[each.id] = Claim(
            each.id, each.order_id, each.sku_id, each.placed_at or each.received_at, waiting=each.quantity
        )
    allocated = t.allocation.c
    held = (
        select(line.id, line.order_id, allocated.sku_id, allocated.location_id, allocated.quantity, *since)
        .select_from(
            joined.join(
                t.allocation,
                (allocated.merchant_id == line.merchant_id) & (allocated.order_line_id == line.id),
            )
        )
        .where(allocated.merchant_id == merchant_id, allocated.sku_id.in_(sku_ids))
    )
    if order_ids is not None:
        # A hot SKU may be held by thousands of other open orders, which do not matter here, unless they wait too.
        held = held.where(or_(line.order_id.in_(list(order_ids)), line.id.in_(list(claims))))
    for row in connection.execute(held):
        claim = claims.setdefault(row.id, Claim(row.id, row.order_id, row.sku_id, row.placed_at or row.received_at))
        claim.allocated[row.location_id] = row.quantity
    return list(claims.values())


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
    guarded = (
        update(t.stock_level)
        .where(
            level.merchant_id == merchant_id,
            level.sku_id == bindparam("this_sku"),
            level.location_id == bindparam("this_location"),
            level.on_hand == bindparam("seen_on_hand"),
            level.allocated == bindparam("seen_allocated"),
        )
        .values(on_hand=bindparam("new_on_hand"), allocated=bindparam("new_allocated"), updated_at=at)
    )
    for place, balance in changed:
        if place not in book.before:
            continue
        written = connection.execute(
            guarded,
            {
                "this_sku": place[0],
                "this_location": place[1],
                "seen_on_hand": book.before[place].on_hand,
                "seen_allocated": book.before[place].allocated,
                "new_on_hand": balance.on_hand,
                "new_allocated": balance.allocated,
            },
        )
        if written.rowcount != 1:
            raise StockMoved("The stock changed at the same moment. Nothing was written; try again.")


def _write_claims(connection: Connection, merchant_id: UUID, book: StockBook, at: datetime) -> None:
    changed = [book.claims[line_id] for line_id in sorted(book.changed_claims)]
    if not changed:
        return
    ids = [claim.line_id for claim in changed]
    for table in (t.allocation, t.backorder):
        connection.execute(delete(table).where(table.c.merchant_id == merchant_id, table.c.order_line_id.in_(ids)))
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
    connection: Connection, merchant_id: UUID, causes: dict[UUID, dict[str, str | None]], *, at: datetime
) -> set[UUID]:
    """Have every listing of these SKUs published again, each for its cause; returns the connections concerned."""
    touched: set[UUID] = set()
    publication = t.publication.c
    for sku_id in sorted(causes):
        touched.update(
            connection.execute(
                update(t.publication)
                .where(
                    publication.merchant_id == merchant_id,
                    publication.listing_id.in_(
                        select(t.listing.c.id).where(
                            t.listing.c.merchant_id == merchant_id, t.listing.c.sku_id == sku_id
                        )
                    ),
                )
                .values(
                    version=publication.version + 1,
                    dirty_since=at,
                    cause=causes[sku_id],
                )
                .returning(publication.connection_id)
            ).scalars()
        )
    return touched


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

    ``reference`` makes the correction unique: entering the same form twice is refused with Conflict. Returns the
    connections that have something to publish. Raises BadInput for a quantity that cannot be.
    """
    if isinstance(on_hand, bool) or not 0 <= on_hand <= MOST_UNITS:
        raise BadInput(
            f"On hand must be a whole number from 0 to {MOST_UNITS:,}.", {"on_hand": ["Enter a number of units."]}
        )
    if not reason.strip():
        raise BadInput("Say why the stock is corrected.", {"reason": ["Enter a reason, such as “counted”."]})

    def work(connection: Connection) -> set[UUID]:
        at = database.now(connection)
        book, _counted = open_book(connection, merchant_id, [sku_id])
        known = connection.execute(
            select(t.sku.c.code, t.location.c.name).where(
                t.sku.c.merchant_id == merchant_id,
                t.sku.c.id == sku_id,
                t.location.c.merchant_id == merchant_id,
                t.location.c.id == location_id,
            )
        ).one_or_none()
        if known is None:
            raise BadInput("This SKU or location does not exist. Reload the page.")
        done = connection.execute(
            select(t.stock_entry.c.id).where(
                t.stock_entry.c.merchant_id == merchant_id,
                t.stock_entry.c.sku_id == sku_id,
                t.stock_entry.c.location_id == location_id,
                t.stock_entry.c.cause.in_([Cause.ADJUSTED.value, Cause.ADOPTED.value]),
                t.stock_entry.c.reference == reference,
            )
        ).first()
        if done is not None:
            raise Conflict("This correction was entered already. Reload the page to see the stock as it is now.")
        place = (sku_id, location_id)
        if place in book.before:
            before = book.before[place].on_hand
            book.set_on_hand(place, on_hand, reference)
        else:
            before = 0
            if on_hand:
                book.open(place, on_hand, reference)
        if not book.movements:
            return set()
        touched = write_book(connection, merchant_id, book, at=at, actor=actor, remark=reason.strip()[:500])
        activity.note(
            connection,
            merchant_id,
            "stock_adjusted",
            f"{known.code} at {known.name}: on hand {before} → {on_hand} ({reason.strip()})",
            at=at,
            actor=actor,
        )
        return touched

    return database.transact(work)
