"""Kits in the database: what they are made of, as entered and multiplied out, and what follows when that changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Table, delete, exists, insert, or_, select, update

from hub import access
from hub.access import Permission
from hub.core.kits import MOST_PARTS, MOST_UNITS, ContainsItself, Impossible, Recipe, TooDeep, explode
from hub.core.model import OrderStatus
from hub.core.sentences import enumerated
from hub.core.services import LineRecord, OrderRecord
from hub.errors import BadInput, Conflict
from hub.store import activity, marking, orders, publications, stock
from hub.store import tables as t
from hub.store.database import Database, for_update, in_chunks, new_id

_NAMED = 5  # orders that a sentence lists before it only counts them
_TO_BE_SHIPPED = (OrderStatus.PENDING.value, OrderStatus.OPEN.value)


@access.needs(Permission.CATALOG)
def define(database: Database, merchant_id: UUID, kit_id: UUID, parts: Mapping[UUID, int], actor: str) -> set[UUID]:
    """Say what a kit is made of; without parts it is a SKU like any other again. Returns the connections that have
    something to publish.

    Orders keep the kit as it was made when they came in. Only open lines that sold the SKU when it was no kit yet learn
    its parts now, and what they are still to get is reserved. Raises BadInput for parts that cannot be, Conflict while
    the SKU has stock of its own or orders hold some.
    """
    for part_id, units in parts.items():
        if isinstance(units, bool) or not isinstance(units, int) or not 1 <= units <= MOST_UNITS:
            sentence = f"Enter how many units one kit takes: a whole number from 1 to {MOST_UNITS:,}."
            raise BadInput(sentence, {str(part_id): [sentence]})
    if len(parts) > MOST_PARTS:
        raise BadInput(
            f"A kit has at most {MOST_PARTS} different SKUs. Leave some out.",
            {"parts": [f"Enter at most {MOST_PARTS} SKUs."]},
        )

    def work(connection: Connection) -> set[UUID]:
        return _define(connection, merchant_id, kit_id, parts, actor, database.now(connection))

    return database.transact(work) | stock.serve_woken(database, merchant_id)


def parts_of(connection: Connection, merchant_id: UUID, kit_id: UUID) -> Mapping[UUID, int]:
    """The units of each part in one kit, as entered; empty for a SKU that is no kit."""
    return _recipes(connection, merchant_id, [kit_id]).get(kit_id, {})


# ---------------------------------------------------------------- defining one


def _define(
    connection: Connection, merchant_id: UUID, kit_id: UUID, parts: Recipe, actor: str, at: datetime
) -> set[UUID]:
    _one_at_a_time(connection, merchant_id)
    codes = _codes(connection, merchant_id, [kit_id, *parts])
    before = parts_of(connection, merchant_id, kit_id)
    if dict(parts) == before:
        return set()
    above = _above(connection, merchant_id, kit_id)
    leaves = _exploded(connection, merchant_id, kit_id, parts, above)
    affected = {kit_id, *above}
    touched: set[UUID] = set()
    if parts and not before:
        concerned = _lock_orders(connection, merchant_id, kit_id, affected)
        shown = _lock_listings(connection, merchant_id, affected)
        lines = [line for record in concerned for line in record.lines.values()]
        skus = affected.union(leaves[kit_id], *(line.parts for line in lines))
        opened = stock.open_book(connection, merchant_id, skus, line_ids=[line.id for line in lines])
        if (
            _open_orders(connection, merchant_id, kit_id, affected) - {record.id for record in concerned}
            or _lock_listings(connection, merchant_id, affected) - shown
        ):
            raise stock.StockMoved("An order or a listing came in at the same moment. Nothing was written; try again.")
        _refuse_own_stock(connection, merchant_id, kit_id, codes[kit_id])
        _write(connection, merchant_id, kit_id, parts, affected, leaves)
        learnt = _teach(connection, merchant_id, kit_id, leaves[kit_id], lines)
        waiting = stock.lines_to_hold(connection, merchant_id, affected)
        stock.start_counting(opened, {}, [each for each in waiting if each.id in learnt], f"kit/{new_id()}")
        touched |= stock.write_book(connection, merchant_id, opened.book, at=at, actor=actor)
    else:
        stock.open_book(connection, merchant_id, [kit_id])  # nobody starts to count it meanwhile
        _write(connection, merchant_id, kit_id, parts, affected, leaves)
    made_of = ", ".join(f"{units} × {codes[part_id]}" for part_id, units in parts.items())
    summary = f"{codes[kit_id]} is a kit of {made_of}" if parts else f"{codes[kit_id]} is no kit any more"
    activity.note(connection, merchant_id, "kit_defined", summary, at=at, actor=actor)
    cause = {"cause": "kit_defined", "reference": codes[kit_id], "order_id": None, "at": at.isoformat()}
    touched |= marking.mark_dirty(connection, merchant_id, dict.fromkeys(affected, cause), at=at)
    return touched | publications.ensure(connection, merchant_id, at=at, sku_ids=affected)


def _one_at_a_time(connection: Connection, merchant_id: UUID) -> None:
    """Wait until nobody else defines a kit of this merchant: two might make each contain the other."""
    if connection.dialect.name != "sqlite":
        # Not a lock that rows which refer to the merchant would have to wait for.
        connection.execute(
            select(t.merchant.c.id).where(t.merchant.c.id == merchant_id).with_for_update(key_share=True)
        )


def _codes(connection: Connection, merchant_id: UUID, sku_ids: Iterable[UUID]) -> dict[UUID, str]:
    asked = set(sku_ids)
    rows = select(t.sku.c.id, t.sku.c.code).where(t.sku.c.merchant_id == merchant_id, t.sku.c.id.in_(asked))
    found = {row.id: row.code for row in connection.execute(rows)}
    if missing := asked - found.keys():
        raise BadInput(
            "This SKU does not exist. Reload the page.",
            {str(sku_id): ["This SKU does not exist."] for sku_id in missing},
        )
    return found


def _recipes(connection: Connection, merchant_id: UUID, kit_ids: Iterable[UUID]) -> dict[UUID, dict[UUID, int]]:
    """What those of these SKUs that are kits are made of, as entered."""
    part = t.kit_part.c
    found: dict[UUID, dict[UUID, int]] = {}
    for some in in_chunks(kit_ids):
        for row in connection.execute(
            select(part.kit_id, part.part_id, part.quantity)
            .where(part.merchant_id == merchant_id, part.kit_id.in_(some))
            .order_by(part.kit_id, part.part_id)
        ):
            found.setdefault(row.kit_id, {})[row.part_id] = row.quantity
    return found


def _above(connection: Connection, merchant_id: UUID, kit_id: UUID) -> set[UUID]:
    """The kits that contain this one, at any depth."""
    part = t.kit_part.c
    found: set[UUID] = set()
    next_ones = {kit_id}
    while next_ones:
        higher: set[UUID] = set()
        for some in in_chunks(next_ones):
            rows = select(part.kit_id).distinct().where(part.merchant_id == merchant_id, part.part_id.in_(some))
            higher |= set(connection.execute(rows).scalars())
        next_ones = higher - found
        found |= higher
    return found


def _exploded(
    connection: Connection, merchant_id: UUID, kit_id: UUID, parts: Recipe, above: set[UUID]
) -> dict[UUID, dict[UUID, int]]:
    """What this kit and those that contain it take off the shelves with the new recipe. Raises BadInput."""
    recipes: dict[UUID, Recipe] = {kit_id: parts} if parts else {}
    next_ones = (above | parts.keys()) - {kit_id}
    while next_ones:
        found = _recipes(connection, merchant_id, next_ones)
        recipes |= found
        next_ones = {part_id for recipe in found.values() for part_id in recipe} - recipes.keys() - {kit_id}
    try:
        return explode([*([kit_id] if parts else []), *sorted(above)], recipes)
    except Impossible as error:
        codes = _codes(connection, merchant_id, error.path)
        raise BadInput(_refusal(error, [codes[sku_id] for sku_id in error.path])) from error


def _refusal(error: Impossible, codes: list[str]) -> str:
    if isinstance(error, ContainsItself):
        return f"A kit cannot contain itself: {' contains '.join(codes)}. Leave {codes[1]} out of {codes[0]}."
    if isinstance(error, TooDeep):
        return f"Too many kits would lie one within the other in {codes[0]}. Enter the parts of the inner ones instead."
    return (
        f"One {codes[0]} would take more than {MOST_PARTS} different SKUs, or more than {MOST_UNITS:,} units of one. "
        "Leave some out."
    )


# ---------------------------------------------------------------- a SKU becomes a kit


def _open_orders(connection: Connection, merchant_id: UUID, kit_id: UUID, affected: set[UUID]) -> set[UUID]:
    """The open orders with lines that sell the SKU as if it were no kit, by itself or as a part of another."""
    line, order, part, listing = t.order_line.c, t.sales_order.c, t.order_line_part.c, t.listing.c
    of_line = (part.merchant_id == line.merchant_id, part.order_line_id == line.id)
    sells = or_(
        (line.sku_id == kit_id) & ~exists().where(*of_line),
        line.sku_id.in_(affected) & exists().where(*of_line, part.sku_id == kit_id),
    )
    holding = select(order.id).where(order.merchant_id == merchant_id, order.holds_stock)
    shown = select(listing.external_id).where(listing.merchant_id == merchant_id, listing.sku_id.in_(affected))
    found: set[UUID] = set()
    # Each along an index of its own.
    for near in (line.order_id.in_(holding), line.listing_external_id.in_(shown)):
        found |= set(
            connection.execute(
                select(line.order_id)
                .distinct()
                .select_from(
                    t.order_line.join(
                        t.sales_order, (order.merchant_id == line.merchant_id) & (order.id == line.order_id)
                    )
                )
                .where(
                    line.merchant_id == merchant_id,
                    near,
                    sells,
                    order.holds_stock | order.status.in_(_TO_BE_SHIPPED),
                )
            ).scalars()
        )
    return found


def _lock_orders(connection: Connection, merchant_id: UUID, kit_id: UUID, affected: set[UUID]) -> list[OrderRecord]:
    """Lock the open orders that sell the SKU as if it were no kit. Orders before listings before SKUs: as an import."""
    records: dict[UUID, OrderRecord] = {}
    for some in in_chunks(sorted(_open_orders(connection, merchant_id, kit_id, affected))):
        records |= orders.load(connection, merchant_id, t.sales_order.c.id.in_(some))
    return list(records.values())


def _lock_listings(connection: Connection, merchant_id: UUID, affected: set[UUID]) -> set[UUID]:
    """Lock the listings that show these SKUs.

    An import that has read them before keeps them until it has committed, so that its orders are found afterwards; one
    that comes later waits, and reads the new recipe.
    """
    listing = t.listing.c
    theirs = select(listing.id).where(listing.merchant_id == merchant_id, listing.sku_id.in_(affected))
    return set(connection.execute(for_update(connection, theirs.order_by(listing.id))).scalars())


def _refuse_own_stock(connection: Connection, merchant_id: UUID, kit_id: UUID, code: str) -> None:
    level, where = t.stock_level.c, t.location.c
    rows = connection.execute(
        select(level.on_hand, level.incoming, where.name)
        .select_from(
            t.stock_level.join(t.location, (where.merchant_id == level.merchant_id) & (where.id == level.location_id))
        )
        .where(level.merchant_id == merchant_id, level.sku_id == kit_id)
        .order_by(where.name)
    ).all()
    own = "A kit has no stock of its own."
    for row in rows:
        if row.incoming:
            raise Conflict(
                f"{row.incoming} of {code} are on their way to {row.name}. {own} "
                "Let them arrive, or close the transfer."
            )
    orders_with_it = {
        number
        for table in (t.allocation, t.backorder)
        for number in connection.execute(_orders_in(table, merchant_id, kit_id)).scalars()
    }
    if orders_with_it:
        named = enumerated(sorted(orders_with_it), _NAMED)
        raise Conflict(f"{code} is held or waited for by order {named}. Ship or cancel first, then make the kit.")
    for row in rows:
        if row.on_hand:
            raise Conflict(f"{row.on_hand} of {code} are on hand at {row.name}. {own} Set its stock there to 0 first.")


def _orders_in(table: Table, merchant_id: UUID, sku_id: UUID) -> Any:
    """The numbers of the orders with lines in this table of holds or waits."""
    line, order = t.order_line.c, t.sales_order.c
    return (
        select(order.number)
        .distinct()
        .select_from(
            table.join(
                t.order_line, (line.merchant_id == table.c.merchant_id) & (line.id == table.c.order_line_id)
            ).join(t.sales_order, (order.merchant_id == line.merchant_id) & (order.id == line.order_id))
        )
        .where(table.c.merchant_id == merchant_id, table.c.sku_id == sku_id)
    )


def _teach(
    connection: Connection,
    merchant_id: UUID,
    kit_id: UUID,
    leaves: Mapping[UUID, int],
    lines: Iterable[LineRecord],
) -> set[UUID]:
    """Write down what the lines that sold the SKU when it was no kit take off the shelves now; returns the lines."""
    part = t.order_line_part.c
    rows: list[dict[str, Any]] = []
    learnt = set()
    for line in lines:
        if kit_id not in line.parts or line.shipped:
            continue
        learnt.add(line.id)
        needs = dict(line.parts)
        times = needs.pop(kit_id)
        for leaf_id, units in leaves.items():
            needs[leaf_id] = needs.get(leaf_id, 0) + units * times
        rows += [
            {"merchant_id": merchant_id, "order_line_id": line.id, "sku_id": sku_id, "quantity": units}
            for sku_id, units in needs.items()
        ]
    for some in in_chunks(learnt):
        connection.execute(
            delete(t.order_line_part).where(part.merchant_id == merchant_id, part.order_line_id.in_(some))
        )
    if rows:
        connection.execute(insert(t.order_line_part), rows)
    return learnt


# ---------------------------------------------------------------- writing


def _write(
    connection: Connection,
    merchant_id: UUID,
    kit_id: UUID,
    parts: Recipe,
    affected: set[UUID],
    leaves: Mapping[UUID, Mapping[UUID, int]],
) -> None:
    """The recipe as entered, and what every kit with this one in it takes off the shelves."""
    _replace(connection, merchant_id, t.kit_part, {kit_id}, {kit_id: parts})
    _replace(connection, merchant_id, t.kit_leaf, affected, leaves)
    sku = t.sku.c
    connection.execute(update(t.sku).where(sku.merchant_id == merchant_id, sku.id == kit_id).values(kit=bool(parts)))


def _replace(
    connection: Connection,
    merchant_id: UUID,
    table: Table,
    kit_ids: set[UUID],
    made_of: Mapping[UUID, Mapping[UUID, int]],
) -> None:
    for some in in_chunks(sorted(kit_ids)):
        connection.execute(delete(table).where(table.c.merchant_id == merchant_id, table.c.kit_id.in_(some)))
    rows = [
        {"merchant_id": merchant_id, "kit_id": kit_id, "part_id": part_id, "quantity": units}
        for kit_id, recipe in made_of.items()
        for part_id, units in recipe.items()
    ]
    if rows:
        connection.execute(insert(table), rows)
