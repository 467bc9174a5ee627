"""The invariants: what must be true of the stored rows at any moment, each as one question to the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    ForeignKeyConstraint,
    Select,
    String,
    Table,
    and_,
    case,
    cast,
    exists,
    func,
    literal,
    not_,
    or_,
    select,
    union_all,
)

from hub.store import tables as t
from hub.store.database import Database
from hub.store.secrets import KeyRing, SecretsUnreadable

MINUTES_TO_SETTLE = timedelta(minutes=10)
_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one invariant: ``count`` is how many rows break it, ``examples`` names a few of them."""

    invariant: str
    title: str
    count: int
    examples: tuple[str, ...] = ()


def audit(database: Database, keyring: KeyRing, *, settle: timedelta = MINUTES_TO_SETTLE) -> list[Finding]:
    """Check every invariant; nothing is changed, and no row is held.

    What was received less than ``settle`` ago may still be on its way through; timedelta(0) asks for a quiet hub.
    """
    findings = []
    for invariant, title, question in _INVARIANTS:
        # One transaction each: every question is one statement, and a long look would hold back SQLite's checkpoint.
        with database.read() as connection:
            before = database.now(connection) - settle
            findings.append(_finding(connection, invariant, title, question(before)))
    with database.read() as connection:
        findings.append(_secrets(connection, keyring))
    return findings


def _finding(connection: Connection, invariant: str, title: str, offenders: Select[Any]) -> Finding:
    count = connection.execute(select(func.count()).select_from(offenders.subquery())).scalar_one()
    rows = connection.execute(offenders.limit(_EXAMPLES)).all() if count else []
    return Finding(invariant, title, count, tuple(" ".join(str(value) for value in row) for row in rows))


# ---------------------------------------------------------------- the questions: each selects the rows that are wrong

Question = Callable[[datetime], Select[Any]]


def _ledger_differs_from_balance(_: datetime) -> Select[Any]:
    level, entry = t.stock_level.c, t.stock_entry.c
    key = ("merchant_id", "sku_id", "location_id")
    ledger = (
        select(
            *(entry[name] for name in key),
            func.sum(entry.on_hand_delta).label("on_hand"),
            func.sum(entry.allocated_delta).label("allocated"),
        )
        .group_by(*(entry[name] for name in key))
        .subquery()
    )
    together = t.stock_level.outerjoin(ledger, and_(*(level[name] == ledger.c[name] for name in key)))
    return (
        select(level.sku_id, level.location_id)
        .select_from(together)
        .where(
            or_(
                level.on_hand != func.coalesce(ledger.c.on_hand, 0),
                level.allocated != func.coalesce(ledger.c.allocated, 0),
            )
        )
    )


def _oversold(_: datetime) -> Select[Any]:
    level = t.stock_level.c
    return select(level.sku_id, level.location_id).where(
        or_(level.on_hand < 0, level.allocated < 0, level.allocated > level.on_hand)
    )


def _allocations_differ_from_allocated(_: datetime) -> Select[Any]:
    level, allocation = t.stock_level.c, t.allocation.c
    promised = (
        select(func.coalesce(func.sum(allocation.quantity), 0))
        .where(
            allocation.merchant_id == level.merchant_id,
            allocation.sku_id == level.sku_id,
            allocation.location_id == level.location_id,
        )
        .scalar_subquery()
    )
    return select(level.sku_id, level.location_id).where(level.allocated != promised)


def _order_twice(_: datetime) -> Select[Any]:
    return _twice(t.sales_order, "merchant_id", "connection_id", "external_id")


def _not_ended(before: datetime) -> Select[Any]:
    inbox = t.inbox.c
    ended = inbox.state.in_(("done", "ignored", "quarantined"))
    return select(inbox.id, inbox.state).where(not_(ended), inbox.received_at < before)


def _order_missing(_: datetime) -> Select[Any]:
    inbox, order = t.inbox.c, t.sales_order.c
    about_an_order = or_(inbox.topic == "order", inbox.topic.like("orders/%"), inbox.topic.like("order.%"))
    about_an_order = and_(about_an_order, inbox.topic != "order.gone")  # the vendor was asked and has no such order
    same = and_(
        order.merchant_id == inbox.merchant_id,
        order.connection_id == inbox.connection_id,
        order.external_id == inbox.external_id,
    )
    return (
        select(inbox.id, inbox.topic, inbox.external_id)
        .select_from(t.inbox.outerjoin(t.sales_order, same))
        .where(inbox.state == "done", about_an_order, inbox.external_id != "", order.id.is_(None))
    )


def _effect_twice(_: datetime) -> Select[Any]:
    return _twice(t.effect, "merchant_id", "effect_key")


def _line_holds_wrong_quantity(_: datetime) -> Select[Any]:
    line, order, level = t.order_line.c, t.sales_order.c, t.stock_level.c
    held = _held_by(t.allocation) + _held_by(t.backorder)
    counted = exists().where(level.merchant_id == line.merchant_id, level.sku_id == line.sku_id)
    to_ship = line.quantity - line.fulfilled - line.removed
    wanted = case((and_(order.holds_stock, line.present, counted, to_ship > 0), to_ship), else_=0)
    return (
        select(line.id, held, wanted)
        .select_from(t.order_line.join(t.sales_order, _same(t.order_line, t.sales_order, order_id="id")))
        .where(held != wanted)
    )


def _waits_beside_free_stock(_: datetime) -> Select[Any]:
    level, backorder = t.stock_level.c, t.backorder.c
    waiting = exists().where(backorder.merchant_id == level.merchant_id, backorder.sku_id == level.sku_id)
    return select(level.sku_id, level.location_id).where(level.allocated < level.on_hand, waiting)


def _shipped_too_much(_: datetime) -> Select[Any]:
    # A shop may lower the quantity of a line after it was shipped: what was fulfilled is the limit then.
    line = t.order_line.c
    return select(line.id, line.shipped).where(line.shipped > line.quantity, line.shipped > line.fulfilled)


def _held_by(table: Table) -> Any:
    line = t.order_line.c
    return (
        select(func.coalesce(func.sum(table.c.quantity), 0))
        .where(table.c.merchant_id == line.merchant_id, table.c.order_line_id == line.id)
        .scalar_subquery()
    )


def _in_flight_wrongly(_: datetime) -> Select[Any]:
    effect = t.effect.c
    unfenced = select(cast(effect.id, String).label("what")).where(
        effect.state == "in_flight", or_(effect.lease_until.is_(None), effect.fence < 1)
    )
    doubled = (
        select(effect.ordering_key.label("what"))
        .where(effect.state == "in_flight")
        .group_by(effect.merchant_id, effect.ordering_key)
        .having(func.count() > 1)
    )
    both = union_all(unfenced, doubled).subquery()
    return select(both.c.what)


def _money_does_not_add_up(_: datetime) -> Select[Any]:
    order = t.sales_order.c
    tax = case((order.taxes_included, 0), else_=order.tax_minor)
    parts = order.lines_minor + order.shipping_minor + order.fees_minor - order.discount_minor + tax
    return select(order.id, order.number).where(order.total_minor != parts + order.rounding_minor)


def _lines_do_not_add_up(_: datetime) -> Select[Any]:
    order, line = t.sales_order.c, t.order_line.c
    lines = (
        select(func.coalesce(func.sum(line.total_minor), 0))
        .where(line.merchant_id == order.merchant_id, line.order_id == order.id, line.present)
        .scalar_subquery()
    )
    # An order of which only the removal was heard has no body, and so neither lines nor money.
    return select(order.id, order.number).where(order.content_sha256 != "", order.lines_minor != lines)


def _points_nowhere(_: datetime) -> Select[Any]:
    """Every foreign key, also where the database would refuse a wrong one: a restored or repaired file had no guard."""
    questions = [_orphans(key) for table in t.metadata.sorted_tables for key in _foreign_keys(table)]
    together = union_all(*questions, *_disagreements()).subquery()
    return select(together.c.what)


def _foreign_keys(table: Table) -> Iterator[ForeignKeyConstraint]:
    yield from sorted(table.foreign_key_constraints, key=lambda key: str(key.name))


def _orphans(key: ForeignKeyConstraint) -> Select[Any]:
    child, parent = key.table, key.referred_table.alias()
    pairs = [(child.c[each.parent.name], parent.c[each.column.name]) for each in key.elements]
    if "merchant_id" in child.c and "merchant_id" in parent.c:
        # Also where the key itself does not carry the merchant.
        pairs.append((child.c.merchant_id, parent.c.merchant_id))
    found = and_(*(mine == theirs for mine, theirs in pairs))
    return (
        select(literal(f"{child.name} → {key.referred_table.name}").label("what"))
        .select_from(child.outerjoin(parent, found))
        .where(*(mine.is_not(None) for mine, _ in pairs), pairs[0][1].is_(None))
    )


def _disagreements() -> Iterator[Select[Any]]:
    """Rows that keep a second copy of what the row they point at says."""
    publication, listing, allocation, backorder, line = (
        t.publication,
        t.listing,
        t.allocation,
        t.backorder,
        t.order_line,
    )
    yield (
        select(literal("publication ≠ its listing's connection").label("what"))
        .select_from(publication.join(listing, _same(publication, listing, listing_id="id")))
        .where(publication.c.connection_id != listing.c.connection_id)
    )
    for held in (allocation, backorder):
        yield (
            select(literal(f"{held.name} ≠ its order line's SKU").label("what"))
            .select_from(held.join(line, _same(held, line, order_line_id="id")))
            .where(or_(line.c.sku_id.is_(None), held.c.sku_id != line.c.sku_id))
        )


def _same(child: Table, parent: Table, **columns: str) -> Any:
    return and_(
        child.c.merchant_id == parent.c.merchant_id,
        *(child.c[mine] == parent.c[theirs] for mine, theirs in columns.items()),
    )


def _twice(table: Table, *key: str) -> Select[Any]:
    columns = [table.c[name] for name in key]
    return select(*columns[1:]).group_by(*columns).having(func.count() > 1)


_INVARIANTS: tuple[tuple[str, str, Question], ...] = (
    ("I1", "The ledger adds up to every balance", _ledger_differs_from_balance),
    ("I2", "Nothing is allocated beyond what is on hand", _oversold),
    ("I3", "Allocations explain what is allocated", _allocations_differ_from_allocated),
    ("I3b", "Every line holds or awaits exactly what it has still to ship", _line_holds_wrong_quantity),
    ("I3c", "Nothing is on backorder while stock is free", _waits_beside_free_stock),
    ("I4", "Each order of a channel is here once", _order_twice),
    ("I5", "Everything received has come to an end", _not_ended),
    ("I6", "Every accepted order record has an order", _order_missing),
    ("I7", "Each intent is one effect", _effect_twice),
    ("I10", "No line shipped more than was ordered", _shipped_too_much),
    ("I11", "What is in flight is leased, and alone for its key", _in_flight_wrongly),
    ("I12", "The parts of every order add up to its total", _money_does_not_add_up),
    ("I12b", "The lines of every order add up", _lines_do_not_add_up),
    ("I14", "No row points at another merchant's row, or at none", _points_nowhere),
)


# ---------------------------------------------------------------- secrets

_ENCRYPTED = (t.connection.c.secrets, t.connection_token.c.value, t.inbox_body.c.body, t.task.c.request)


def _secrets(connection: Connection, keyring: KeyRing) -> Finding:
    def unknown(column: Any) -> Select[Any]:
        return select(literal(f"{column.table.name}.{column.name}").label("what")).where(
            column.is_not(None), not_(_known(column, keyring))
        )

    together = union_all(*(unknown(column) for column in _ENCRYPTED)).subquery()
    found = _finding(connection, "I17", "Every stored secret can be decrypted", select(together.c.what))
    damaged = tuple(_damaged_credentials(connection, keyring))
    return replace(found, count=found.count + len(damaged), examples=(*found.examples, *damaged)[:_EXAMPLES])


def _known(column: Any, keyring: KeyRing) -> ColumnElement[bool]:
    return or_(*(func.substr(column, 1, len(opening)) == opening for opening in keyring.openings))


def _damaged_credentials(connection: Connection, keyring: KeyRing) -> Iterator[str]:
    """Bodies are too many to decrypt them all; the credentials are few, and a hub without them can do nothing."""
    shop = t.connection.c
    for row in connection.execute(
        select(shop.merchant_id, shop.id, shop.secrets).where(shop.secrets.is_not(None), _known(shop.secrets, keyring))
    ):
        try:
            keyring.decrypt(row.secrets, f"connection:{row.merchant_id}:{row.id}:secrets")
        except SecretsUnreadable:
            yield f"connection.secrets {row.id}"
