"""The invariants: what must be true of the stored rows at any moment, each as one question to the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    ForeignKeyConstraint,
    FromClause,
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
    union,
    union_all,
)

from hub.store import rekeying
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


_FIGURES = ("on_hand", "allocated", "quarantined", "damaged", "incoming")
_PLACE = ("merchant_id", "sku_id", "location_id")


def _entry_does_not_follow(_: datetime) -> Select[Any]:
    entry = t.stock_entry.c

    def before(column: Any) -> Any:
        place = [entry[name] for name in _PLACE]
        return func.coalesce(func.lag(column).over(partition_by=place, order_by=entry.number), 0)

    wrong = [entry.number != before(entry.number) + 1]
    wrong += [entry[name] != before(entry[name]) + entry[f"{name}_delta"] for name in _FIGURES]
    steps = select(entry.sku_id, entry.location_id, entry.number, or_(*wrong).label("wrong")).subquery()
    return select(steps.c.sku_id, steps.c.location_id, steps.c.number).where(steps.c.wrong)


def _balance_is_not_its_last_entry(_: datetime) -> Select[Any]:
    level, last, beyond = t.stock_level.c, t.stock_entry.alias(), t.stock_entry.alias()
    same = [last.c[name] == level[name] for name in _PLACE]
    past = [beyond.c[name] == level[name] for name in _PLACE]
    together = t.stock_level.outerjoin(last, and_(*same, last.c.number == level.entries))
    return (
        select(level.sku_id, level.location_id)
        .select_from(together)
        .where(
            or_(
                and_(level.entries > 0, last.c.number.is_(None)),
                *(level[name] != func.coalesce(last.c[name], 0) for name in _FIGURES),
                exists().where(*past, beyond.c.number > level.entries),
            )
        )
    )


def _oversold(_: datetime) -> Select[Any]:
    level = t.stock_level.c
    kept_back = level.allocated + level.quarantined + level.damaged
    return select(level.sku_id, level.location_id).where(
        or_(*(level[name] < 0 for name in _FIGURES), kept_back > level.on_hand)
    )


def _allocations_differ_from_allocated(_: datetime) -> Select[Any]:
    level, allocation = t.stock_level.c, t.allocation.c
    key = [allocation[name] for name in _PLACE]
    promised = select(*key, func.sum(allocation.quantity).label("units")).group_by(*key).subquery()
    together = t.stock_level.outerjoin(promised, and_(*(level[name] == promised.c[name] for name in _PLACE)))
    return (
        select(level.sku_id, level.location_id)
        .select_from(together)
        .where(level.allocated != func.coalesce(promised.c.units, 0))
    )


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


def _kit_held_in_part(_: datetime) -> Select[Any]:
    part, allocation = t.order_line_part, t.allocation.c
    key = [allocation.merchant_id, allocation.order_line_id, allocation.sku_id]
    held = select(*key, func.sum(allocation.quantity).label("units")).group_by(*key).subquery()
    units = func.coalesce(held.c.units, 0)
    holding = exists().where(
        allocation.merchant_id == part.c.merchant_id, allocation.order_line_id == part.c.order_line_id
    )
    return (
        select(part.c.order_line_id)
        .select_from(part.outerjoin(held, _same(part, held, order_line_id="order_line_id", sku_id="sku_id")))
        .where(holding)
        .group_by(part.c.merchant_id, part.c.order_line_id)
        .having(
            or_(
                func.min(units // part.c.quantity) != func.max(units // part.c.quantity),
                func.max(units % part.c.quantity) != 0,
            )
        )
    )


def _line_holds_wrong_quantity(_: datetime) -> Select[Any]:
    line, order, part, level = t.order_line.c, t.sales_order.c, t.order_line_part.c, t.stock_level.c
    of_line = (part.merchant_id == line.merchant_id, part.order_line_id == line.id)
    whole = func.coalesce(_of_line(t.order_line_part, func.sum(part.quantity)), 1)  # SKU units in one of the line
    units_held = func.coalesce(_of_line(t.allocation, func.sum(t.allocation.c.quantity)), 0)
    waiting = func.coalesce(_of_line(t.backorder, func.max(t.backorder.c.quantity)), 0)
    kept = units_held // whole + waiting
    uncounted = exists().where(
        *of_line, ~exists().where(level.merchant_id == part.merchant_id, level.sku_id == part.sku_id)
    )
    counted = exists().where(level.merchant_id == line.merchant_id, level.sku_id == line.sku_id)
    to_ship = line.quantity - t.GONE - line.removed
    due = and_(line.present, to_ship > 0, ~uncounted, or_(exists().where(*of_line), counted))
    wanted = case((due, to_ship), else_=0)
    lines = t.sales_order.join(t.order_line, _same(t.sales_order, t.order_line, id="order_id"))
    # Of all orders there ever were, only these hold stock, or ought to: the others are looked at from the other side.
    of_holding = select(line.id, kept, wanted).select_from(lines).where(order.holds_stock, kept != wanted)
    of_others = [
        select(line.id, kept, literal(0))
        .distinct()
        .select_from(
            table.join(t.order_line, _same(table, t.order_line, order_line_id="id")).join(
                t.sales_order, _same(t.order_line, t.sales_order, order_id="id")
            )
        )
        .where(not_(order.holds_stock))
        for table in (t.allocation, t.backorder)
    ]
    together = union(of_holding, *of_others).subquery()
    return select(together)


def _of_line(table: Table, figure: Any) -> Any:
    line = t.order_line.c
    return (
        select(figure)
        .where(table.c.merchant_id == line.merchant_id, table.c.order_line_id == line.id)
        .correlate(t.order_line)
        .scalar_subquery()
    )


def _queue_differs_from_its_line(_: datetime) -> Select[Any]:
    waits, line, part = t.backorder.c, t.order_line.c, t.order_line_part.c
    parts = func.coalesce(_of_line(t.order_line_part, func.nullif(func.count(), 0)), 1)
    askew = or_(
        waits.per_unit != func.coalesce(part.quantity, 1),
        and_(waits.group_id != line.id, waits.group_id != line.order_id),
    )
    return (
        select(line.id)
        .select_from(
            t.backorder.join(t.order_line, _same(t.backorder, t.order_line, order_line_id="id")).outerjoin(
                t.order_line_part,
                _same(t.backorder, t.order_line_part, order_line_id="order_line_id", sku_id="sku_id"),
            )
        )
        .group_by(line.merchant_id, line.id)
        .having(
            or_(
                func.count() != parts,
                func.min(waits.quantity) != func.max(waits.quantity),
                func.count(waits.group_id.distinct()) != 1,
                func.max(case((askew, 1), else_=0)) == 1,
            )
        )
    )


def _waits_beside_free_stock(_: datetime) -> Select[Any]:
    """Whoever waits lacks what he was found to lack, or is to be tried again, or stands behind one who is."""
    level, waits = t.stock_level.c, t.backorder.c
    unheld = level.on_hand - level.allocated - level.quarantined - level.damaged
    key = [level.merchant_id, level.sku_id]
    shelf = select(*key, func.sum(unheld).label("units")).group_by(*key).subquery()
    alone = waits.group_id == waits.order_line_id  # then one unit more would do, else it has to be all
    needs = (
        select(
            waits.merchant_id,
            waits.group_id,
            waits.sku_id,
            func.sum(case((alone, waits.per_unit), else_=waits.quantity * waits.per_unit)).label("units"),
            func.max(case((waits.missing, 1), else_=0)).label("missing"),
        )
        .group_by(waits.merchant_id, waits.group_id, waits.sku_id)
        .subquery()
    )
    tried_again = exists().where(waits.merchant_id == needs.c.merchant_id, waits.sku_id == needs.c.sku_id, waits.woken)
    lacking = and_(needs.c.missing == 1, func.coalesce(shelf.c.units, 0) < needs.c.units)
    return (
        select(needs.c.group_id)
        .select_from(needs.outerjoin(shelf, _same(needs, shelf, sku_id="sku_id")))
        .group_by(needs.c.merchant_id, needs.c.group_id)
        .having(func.max(case((or_(lacking, tried_again), 1), else_=0)) == 0)
    )


def _transit_differs_from_incoming(_: datetime) -> Select[Any]:
    level, document, line = t.stock_level.c, t.stock_document.c, t.stock_document_line.c
    left = line.quantity - line.arrived - line.lost
    moves = t.stock_document.join(
        t.stock_document_line, _same(t.stock_document, t.stock_document_line, id="document_id")
    )
    sent = (
        select(
            document.merchant_id,
            line.sku_id,
            document.to_location_id.label("location_id"),
            func.sum(left).label("units"),
        )
        .select_from(moves)
        .where(document.state == "in_transit")
        .group_by(document.merchant_id, line.sku_id, document.to_location_id)
        .subquery()
    )
    same = and_(*(sent.c[name] == level[name] for name in _PLACE))
    expected = (
        select(level.sku_id, level.location_id)
        .select_from(t.stock_level.outerjoin(sent, same))
        .where(level.incoming != func.coalesce(sent.c.units, 0))
    )
    nowhere = (
        select(sent.c.sku_id, sent.c.location_id)
        .select_from(sent.outerjoin(t.stock_level, same))
        .where(level.sku_id.is_(None))
    )
    unfinished = (
        select(line.sku_id, document.to_location_id)
        .select_from(moves)
        .where(document.kind == "transfer", or_(left < 0, and_(document.state == "done", left != 0)))
    )
    return select(union_all(expected, nowhere, unfinished).subquery())


def _kit_is_not_its_parts(_: datetime) -> Select[Any]:
    """Of each kit, what it takes off the shelves is what its parts take: a part that is a kit takes what its own do."""
    part, leaf, inner = t.kit_part.c, t.kit_leaf.c, t.kit_leaf.alias()
    inside = t.kit_part.outerjoin(inner, and_(inner.c.merchant_id == part.merchant_id, inner.c.kit_id == part.part_id))
    takes = func.coalesce(inner.c.part_id, part.part_id)
    units = func.sum(part.quantity * func.coalesce(inner.c.quantity, 1))
    made_of = (
        select(part.merchant_id, part.kit_id, takes.label("part_id"), units.label("quantity"))
        .select_from(inside)
        .group_by(part.merchant_id, part.kit_id, takes)
        .subquery()
    )
    same = and_(*(leaf[name] == made_of.c[name] for name in ("merchant_id", "kit_id", "part_id")))
    too_few = (
        select(made_of.c.kit_id)
        .select_from(made_of.outerjoin(t.kit_leaf, same))
        .where(or_(leaf.quantity.is_(None), leaf.quantity != made_of.c.quantity))
    )
    too_many = select(leaf.kit_id).select_from(t.kit_leaf.outerjoin(made_of, same)).where(made_of.c.kit_id.is_(None))
    made = exists().where(part.merchant_id == t.sku.c.merchant_id, part.kit_id == t.sku.c.id)
    marked = select(t.sku.c.id).where(or_(and_(t.sku.c.kit, not_(made)), and_(not_(t.sku.c.kit), made)))
    return select(union(too_few, too_many, marked, _in_itself()).subquery())


def _in_itself() -> Select[Any]:
    """Kits that contain themselves, at whatever depth."""
    part = t.kit_part.c
    within = select(part.merchant_id, part.kit_id, part.part_id).cte("within", recursive=True)
    deeper = select(within.c.merchant_id, within.c.kit_id, part.part_id).select_from(
        within.join(t.kit_part, and_(part.merchant_id == within.c.merchant_id, part.kit_id == within.c.part_id))
    )
    within = within.union(deeper)
    return select(within.c.kit_id).where(within.c.kit_id == within.c.part_id)


def _erased_is_there(_: datetime) -> Select[Any]:
    """Orders whose customer was forgotten, and of which something about the customer is kept all the same."""
    order, line, record, body = t.sales_order.c, t.order_line.c, t.inbox.c, t.inbox_body.c
    of_order = (line.merchant_id == order.merchant_id, line.order_id == order.id)
    raw = (
        select(body.inbox_id)
        .join(t.inbox, (record.merchant_id == body.merchant_id) & (record.id == body.inbox_id))
        .where(
            record.merchant_id == order.merchant_id,
            record.connection_id == order.connection_id,
            record.external_id == order.external_id,
            record.topic != "listing",
            record.state != "pending",
        )
    )
    return select(order.id).where(
        order.erased_at.is_not(None),
        or_(
            order.customer_name != "",
            order.email != "",
            order.note != "",
            *(cast(order[name], String) != "{}" for name in ("shipping_address", "billing_address")),
            cast(order.tags, String) != "[]",
            exists().where(*of_order, cast(line.attributes, String) != "{}"),
            exists().where(
                t.refund.c.merchant_id == order.merchant_id, t.refund.c.order_id == order.id, t.refund.c.reason != ""
            ),
            exists().where(t.document.c.merchant_id == order.merchant_id, t.document.c.order_id == order.id),
            raw.exists(),
        ),
    )


def _sold_from_elsewhere(_: datetime) -> Select[Any]:
    place, source = t.channel_location.c, t.channel_location_source.c
    key = ("merchant_id", "connection_id", "external_id")
    here = [source[name] == place[name] for name in key]
    own = exists().where(*here, source.location_id == place.location_id)
    lost = select(place.connection_id, place.external_id).where(
        or_(and_(place.location_id.is_not(None), not_(own)), and_(place.location_id.is_(None), exists().where(*here)))
    )
    twice = (
        select(source.connection_id, func.min(source.external_id))
        .group_by(source.merchant_id, source.connection_id, source.location_id)
        .having(func.count() > 1)
    )
    return select(union_all(lost, twice).subquery())


def _sent_twice(_: datetime) -> Select[Any]:
    """Fulfillment orders that a 3PL has got more than once."""
    effect = t.effect.c
    return (
        select(effect.ordering_key)
        .where(effect.kind == "submit", effect.state == "succeeded")
        .group_by(effect.merchant_id, effect.connection_id, effect.ordering_key)
        .having(func.count() > 1)
    )


def _parts_are_not_the_parcels(_: datetime) -> Select[Any]:
    """Lines that sell one SKU, of which a 3PL's parcels hold another number than has left."""
    part, box, inside, kit = t.shipped_part.c, t.parcel.c, t.parcel_line.c, t.order_line_part.c
    packed = (
        select(box.merchant_id, box.shipment_id, inside.order_line_id, func.sum(inside.quantity).label("units"))
        .select_from(t.parcel.join(t.parcel_line, _same(t.parcel_line, t.parcel, parcel_id="id")))
        .group_by(box.merchant_id, box.shipment_id, inside.order_line_id)
        .subquery()
    )
    same = and_(*(packed.c[name] == part[name] for name in ("merchant_id", "shipment_id", "order_line_id")))
    is_kit = exists().where(kit.merchant_id == part.merchant_id, kit.order_line_id == part.order_line_id)
    return (
        select(part.shipment_id, part.order_line_id)
        .select_from(t.shipped_part.outerjoin(packed, same))
        .where(not_(is_kit), part.quantity != func.coalesce(packed.c.units, 0))
    )


def _kept_by_two(_: datetime) -> Select[Any]:
    """Locations that two 3PLs count."""
    place, account = t.channel_location.c, t.connection.c
    return (
        select(place.location_id)
        .select_from(t.channel_location.join(t.connection, _same(t.channel_location, t.connection, connection_id="id")))
        .where(account.kind == "3pl", account.state != "removed", place.location_id.is_not(None))
        .group_by(place.merchant_id, place.location_id)
        .having(func.count(account.id.distinct()) > 1)
    )


def _paid_twice(_: datetime) -> Select[Any]:
    """Shipments for which more than one label was bought."""
    effect = t.effect.c
    return (
        select(effect.ordering_key)
        .where(effect.kind == "buy_label", effect.state == "succeeded")
        .group_by(effect.merchant_id, effect.ordering_key)
        .having(func.count() > 1)
    )


def _beyond_what_was_asked(_: datetime) -> Select[Any]:
    line = t.fulfillment_line.c
    return select(line.fulfillment_order_id, line.order_line_id).where(line.shipped > line.quantity)


def _in_a_strangers_parcel(_: datetime) -> Select[Any]:
    """Parcels with lines of an order that does not go along with their shipment."""
    line, sent, inside, along = t.order_line.c, t.shipment.c, t.parcel_line.c, t.shipment_companion.c
    goes_along = exists().where(
        along.merchant_id == sent.merchant_id, along.shipment_id == sent.id, along.order_id == line.order_id
    )
    return (
        select(inside.parcel_id, inside.order_line_id)
        .select_from(
            t.parcel_line.join(t.parcel, _same(t.parcel_line, t.parcel, parcel_id="id"))
            .join(t.shipment, _same(t.parcel, t.shipment, shipment_id="id"))
            .join(t.order_line, _same(t.parcel_line, t.order_line, order_line_id="id"))
        )
        .where(line.order_id != sent.order_id, not_(goes_along))
    )


def _left_uncounted(_: datetime) -> Select[Any]:
    """Order lines of which shipments hold more than the line says has left."""
    line, sent, inside = t.order_line.c, t.shipment.c, t.parcel_line.c
    later = t.shipment.alias()
    relabelled = exists().where(
        later.c.merchant_id == sent.merchant_id, later.c.supersedes_id == sent.id, later.c.shipped_at.is_not(None)
    )
    left = (
        select(inside.merchant_id, inside.order_line_id, func.sum(inside.quantity).label("units"))
        .select_from(
            t.parcel_line.join(t.parcel, _same(t.parcel_line, t.parcel, parcel_id="id")).join(
                t.shipment, _same(t.parcel, t.shipment, shipment_id="id")
            )
        )
        .where(sent.state == "shipped", sent.is_return.is_(False), not_(relabelled))
        .group_by(inside.merchant_id, inside.order_line_id)
        .subquery()
    )
    return (
        select(line.id, line.sent)
        .select_from(
            t.order_line.join(left, and_(left.c.merchant_id == line.merchant_id, left.c.order_line_id == line.id))
        )
        .where(left.c.units > line.sent)
    )


def _shipped_too_much(_: datetime) -> Select[Any]:
    # A shop may lower the quantity of a line after it was shipped: what was fulfilled is the limit then.
    line = t.order_line.c
    return select(line.id, line.shipped).where(line.shipped > line.quantity, line.shipped > t.GONE)


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


def _version_goes_back(_: datetime) -> Select[Any]:
    order, edit = t.sales_order.c, t.order_version.c
    later = func.lead(edit.version).over(partition_by=[edit.merchant_id, edit.order_id], order_by=edit.revision)
    steps = (
        select(
            edit.order_id,
            edit.revision,
            func.coalesce(later, order.version).label("next"),
            edit.version,
            order.revision.label("now"),
        )
        .select_from(t.order_version.join(t.sales_order, _same(t.order_version, t.sales_order, order_id="id")))
        .subquery()
    )
    return select(steps.c.order_id, steps.c.revision).where(
        or_(steps.c.next < steps.c.version, steps.c.revision > steps.c.now)
    )


def _points_nowhere(_: datetime) -> Select[Any]:
    """Every foreign key, also where the database would refuse a wrong one: a restored or repaired file had no guard."""
    return _asked_of_all_keys()


@cache  # it does not depend on the time, and putting it together takes longer than answering it
def _asked_of_all_keys() -> Select[Any]:
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
    pending = t.pending_push
    yield (
        select(literal("publication ≠ the write that its channel judges").label("what"))
        .select_from(publication.outerjoin(pending, _same(publication, pending, pending_id="id")))
        .where(
            publication.c.pending_id.is_not(None),
            or_(
                pending.c.id.is_(None),
                pending.c.listing_id != publication.c.listing_id,
                pending.c.location_external_id != publication.c.location_external_id,
                pending.c.connection_id != publication.c.connection_id,
                publication.c.published_version >= pending.c.version,
            ),
        )
    )
    part = t.order_line_part
    for held in (allocation, backorder):
        of_line = and_(part.c.merchant_id == line.c.merchant_id, part.c.order_line_id == line.c.id)
        is_part = exists().where(of_line, part.c.sku_id == held.c.sku_id)
        itself = and_(line.c.sku_id == held.c.sku_id, not_(exists().where(of_line)))
        yield (
            select(literal(f"{held.name} ≠ its order line's SKU").label("what"))
            .select_from(held.join(line, _same(held, line, order_line_id="id")))
            .where(or_(line.c.sku_id.is_(None), not_(or_(is_part, itself))))
        )


def _same(child: FromClause, parent: FromClause, **columns: str) -> Any:
    return and_(
        child.c.merchant_id == parent.c.merchant_id,
        *(child.c[mine] == parent.c[theirs] for mine, theirs in columns.items()),
    )


def _twice(table: Table, *key: str) -> Select[Any]:
    columns = [table.c[name] for name in key]
    return select(*columns[1:]).group_by(*columns).having(func.count() > 1)


def _dealt_out_twice(_: datetime) -> Select[Any]:
    """Lines of which our own locations are to ship more than is wanted. A 3PL that was asked not to may still do so."""
    line, asked, work = t.order_line.c, t.fulfillment_line.c, t.fulfillment_order.c
    to_do = (
        select(asked.merchant_id, asked.order_line_id, func.sum(asked.quantity - asked.shipped).label("units"))
        .select_from(
            t.fulfillment_line.join(
                t.fulfillment_order,
                and_(work.merchant_id == asked.merchant_id, work.id == asked.fulfillment_order_id),
            )
        )
        .where(work.state.in_(("open", "packed", "ready")), work.closed_at.is_(None))
        .group_by(asked.merchant_id, asked.order_line_id)
        .subquery()
    )
    wanted = case((line.present, line.quantity - line.removed - t.GONE), else_=0)
    return (
        select(line.id, to_do.c.units)
        .select_from(
            t.order_line.join(to_do, and_(to_do.c.merchant_id == line.merchant_id, to_do.c.order_line_id == line.id))
        )
        .where(to_do.c.units > wanted, to_do.c.units > 0)
    )


def _ours_for_the_channel(_: datetime) -> Select[Any]:
    """Orders that their channel ships from a warehouse of its own, with something of our stock."""
    order, line = t.sales_order.c, t.order_line.c
    lines = exists().where(
        line.merchant_id == order.merchant_id, line.order_id == order.id, line.present, line.shipped > line.sent
    )
    return select(order.id, order.number).where(order.shipped_by_channel, or_(order.holds_stock, lines))


_INVARIANTS: tuple[tuple[str, str, Question], ...] = (
    ("I1", "Every ledger entry follows from the one before it", _entry_does_not_follow),
    ("I1b", "Every balance is what its last ledger entry says", _balance_is_not_its_last_entry),
    ("I1c", "What is in transit is incoming where it goes", _transit_differs_from_incoming),
    ("I2", "Nothing is allocated or set aside beyond what is on hand", _oversold),
    ("I3", "Allocations explain what is allocated", _allocations_differ_from_allocated),
    ("I3a", "Kits are held whole", _kit_held_in_part),
    ("I3b", "Every line holds or awaits exactly what it has still to ship", _line_holds_wrong_quantity),
    ("I3c", "Whoever waits misses something", _waits_beside_free_stock),
    ("I3d", "The queue knows what each line waits for", _queue_differs_from_its_line),
    ("I4", "Each order of a channel is here once", _order_twice),
    ("I5", "Everything received has come to an end", _not_ended),
    ("I6", "Every accepted order record has an order", _order_missing),
    ("I7", "Each intent is one effect", _effect_twice),
    ("I10", "No line shipped more than was ordered", _shipped_too_much),
    ("I11", "What is in flight is leased, and alone for its key", _in_flight_wrongly),
    ("I12", "The parts of every order add up to its total", _money_does_not_add_up),
    ("I12b", "The lines of every order add up", _lines_do_not_add_up),
    ("I13", "No order goes back to an earlier version", _version_goes_back),
    ("I14", "No row points at another merchant's row, or at none", _points_nowhere),
    ("I20", "Every kit takes off the shelves what its parts add up to", _kit_is_not_its_parts),
    ("I21", "A channel's location sells from its own, and no location twice", _sold_from_elsewhere),
    ("I22", "What was erased is gone", _erased_is_there),
    ("I30", "Each order was sent to its 3PL once", _sent_twice),
    ("I31", "A 3PL's parcels hold what has left", _parts_are_not_the_parcels),
    ("I32", "Each location is counted by one 3PL", _kept_by_two),
    ("I33", "Each shipment pays for one label at most", _paid_twice),
    ("I34", "No location ships more than it was asked to", _beyond_what_was_asked),
    ("I35", "What shipments hold is counted as left", _left_uncounted),
    ("I36", "No unit is dealt out twice", _dealt_out_twice),
    ("I37", "What a channel ships itself has nothing of our stock", _ours_for_the_channel),
    ("I38", "No parcel holds what is of another order's shipment", _in_a_strangers_parcel),
)


# ---------------------------------------------------------------- secrets


def _secrets(connection: Connection, keyring: KeyRing) -> Finding:
    def unknown(column: Any) -> Select[Any]:
        return select(literal(f"{column.table.name}.{column.name}").label("what")).where(
            column.is_not(None), not_(_known(column, keyring))
        )

    together = union_all(*(unknown(each.column) for each in rekeying.SEALED)).subquery()
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
