"""Orders in the database: loading the records a batch touches, under lock, and writing the plan made of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, Connection, Row, bindparam, case, cast, delete, insert, select, update

from hub.core.changes import changes
from hub.core.details import DETAILS, OrderDetails, completed, on_hold, returns_open
from hub.core.model import Address, LineKind, LineQuantity, Money, Order, OrderLine, OrderStatus, Refund
from hub.core.personal import without_people
from hub.core.plain import from_plain, to_plain
from hub.core.services import LineRecord, OrderRecord, Plan, Received, Terms, expire, import_orders, settle_line
from hub.core.stock import StockBook
from hub.store import activity, handling, holds, marking, routing_queue, searching, stock, withdrawals
from hub.store import tables as t
from hub.store.bulk import insert_rows
from hub.store.database import Database, among, for_update, in_chunks, new_id, upsert
from hub.store.locking import lock_sharers

_LINE_COLUMNS = (
    "id",
    "external_id",
    "position",
    "listing_external_id",
    "sku_id",
    "quantity",
    "fulfilled",
    "removed",
    "fulfilled_before",
    "shipped",
    "sent",
    "present",
)


def load(connection: Connection, merchant_id: UUID, *conditions: Any) -> dict[UUID, OrderRecord]:
    """The orders that meet ``conditions``, with their lines, locked in id order until the transaction ends."""
    order, line = t.sales_order.c, t.order_line.c
    records: dict[UUID, OrderRecord] = {}
    lock_sharers(connection, merchant_id, order.merchant_id == merchant_id, *conditions)
    for row in connection.execute(
        for_update(
            connection,
            select(t.sales_order).where(order.merchant_id == merchant_id, *conditions).order_by(order.id),
        )
    ):
        records[row.id] = OrderRecord(
            id=row.id,
            external_id=row.external_id,
            number=row.number,
            status=OrderStatus(row.status),
            version=row.version,
            content=row.content_sha256,
            received_at=row.received_at,
            placed_at=row.placed_at,
            whole=row.whole,
            holds_stock=row.holds_stock,
            shipped_by_channel=row.shipped_by_channel,
            hold_until=row.hold_until,
            total=Money.from_minor(row.total_minor, row.currency or "XXX").amount,
            promised_at=row.promised_at,
            erased=row.erased_at is not None,
            removal_heard_at=row.removal_heard_at,
            revision=row.revision,
        )
    columns = [line[name] for name in _LINE_COLUMNS]
    for some in in_chunks(records):
        for order_id, *values in connection.execute(
            select(line.order_id, *columns).where(line.merchant_id == merchant_id, line.order_id.in_(some))
        ):
            found = LineRecord(**dict(zip(_LINE_COLUMNS, values, strict=True)))
            if found.sku_id is not None:
                found.parts = {found.sku_id: 1}
            records[order_id].lines[found.external_id] = found
    lines = {line.id: line for record in records.values() for line in record.lines.values()}
    for line_id, parts in stock.kit_parts(connection, merchant_id, lines).items():
        lines[line_id].parts = parts
    return records


def apply(
    connection: Connection, merchant_id: UUID, connection_id: UUID, received: Sequence[Received], *, at: datetime
) -> tuple[Plan, set[UUID]]:
    """Import a batch of received orders of one connection inside the caller's transaction.

    Orders, lines, refunds, versions, ledger, allocations, backorders, dirty listings, fetch requests, issues and
    activity are written together. Returns the plan and the connections that have something to publish.
    """
    external_ids = {each.external_id for each in received}
    loaded = load(
        connection,
        merchant_id,
        t.sales_order.c.connection_id == connection_id,
        among(connection, t.sales_order.c.external_id, external_ids),
    )
    known = {record.external_id: record for record in loaded.values()}
    named = {line.listing_external_id for each in received if each.order for line in each.order.lines}
    bound = _bindings(connection, merchant_id, connection_id, {name for name in named if name is not None})
    kits = stock.kits(connection, merchant_id, {sku_id for sku_id in bound.values() if sku_id is not None})
    lines = [line for record in known.values() for line in record.lines.values()]
    skus = {part for line in lines for part in line.parts}
    skus |= {part for sku_id in bound.values() if sku_id is not None for part in kits.get(sku_id, (sku_id,))}
    opened = stock.open_book(connection, merchant_id, skus, line_ids=[line.id for line in lines])
    terms = Terms(
        at=at,
        policy=opened.policy,
        bound=bound,
        kits=kits,
        counted_since=opened.counted,
        prefers=opened.sells_from.get(connection_id, ()),
    )
    sold_before = _units_sold(known.values(), opened.book)
    waited = {record.id for record in known.values() if record.status is not OrderStatus.OPEN}
    plan = import_orders(received, known, terms, opened.book, new_id)
    _write_orders(connection, merchant_id, connection_id, plan.changed, at)
    touched = stock.write_book(connection, merchant_id, opened.book, at=at)
    if _expect_own_sales(connection, merchant_id, connection_id, plan, opened.book, sold_before, at):
        touched = touched | {connection_id}
    _write_consequences(connection, merchant_id, connection_id, plan, at)
    plan.lanes |= _keep_shipping_in_line(connection, merchant_id, plan.changed, at)
    # While it was pending it was looked at and passed over; its stock is held as before, so nobody else looks again.
    may_go = {each.id for each in plan.changed if each.id in waited and each.status is OrderStatus.OPEN}
    routing_queue.mark(connection, merchant_id, may_go, at=at)
    # What was asked for, or is news: an old webhook that comes late does not show that the order is there.
    there = {
        f"{connection_id}/{each.external_id}"
        for each, outcome in zip(received, plan.outcomes, strict=True)
        if each.order is not None and (each.asked_at is not None or outcome == "applied")
    }
    activity.resolve_issues(connection, merchant_id, "order_not_found", there, at=at)
    return plan, touched


def _keep_shipping_in_line(
    connection: Connection, merchant_id: UUID, records: Iterable[OrderRecord], at: datetime
) -> set[tuple[UUID, str]]:
    """Hold what must not be shipped now, say how urgent the rest is, and take back what must not be shipped any more,
    in the very commit that learns of it; returns the lanes to ring for."""
    told: dict[UUID, Order] = {}
    known: list[UUID] = []
    for record in records:
        if not record.is_new:
            known.append(record.id)
        if record.value is not None and (not record.is_new or record.status in (OrderStatus.PENDING, OrderStatus.OPEN)):
            told[record.id] = without_people(record.value) if record.erased else record.value
    # What a body leaves out is what was known before.
    told |= stored(connection, merchant_id, [order_id for order_id, order in told.items() if not order.whole])
    lanes = handling.take_in(connection, merchant_id, told, at=at)
    deleted = {str(record.id) for record in records if record.status is OrderStatus.REMOVED}
    activity.resolve_issues(connection, merchant_id, holds.CANCELLATION_ASKED, deleted, at=at)
    return set(lanes) | set(withdrawals.keep_up(connection, merchant_id, known, at=at))


def bind_lines(
    connection: Connection, merchant_id: UUID, connection_id: UUID, bound: Mapping[str, UUID], *, at: datetime
) -> set[UUID]:
    """Give the order lines that waited for it the SKU their listing was matched to, ``bound`` by the channel's id.

    What is still to be shipped of them is reserved, the oldest order first. Returns the connections that have
    something to publish.
    """
    line, order = t.order_line.c, t.sales_order.c
    waiting = (line.merchant_id == merchant_id, line.sku_id.is_(None))
    order_ids = (
        connection.execute(
            select(line.order_id)
            .distinct()
            .select_from(
                t.order_line.join(t.sales_order, (order.merchant_id == line.merchant_id) & (order.id == line.order_id))
            )
            .where(
                *waiting,
                line.listing_external_id.in_(list(bound)),
                order.connection_id == connection_id,
                order.holds_stock,
            )
        )
        .scalars()
        .all()
    )
    records: dict[UUID, OrderRecord] = {}
    for some in in_chunks(sorted(order_ids)):
        records |= load(connection, merchant_id, order.id.in_(some))
    kits = stock.kits(connection, merchant_id, bound.values())
    parts = {part for sku_id in bound.values() for part in kits.get(sku_id, (sku_id,))}
    waiting_lines = [line for record in records.values() for line in record.lines.values()]
    parts |= {part for line in waiting_lines for part in line.parts}
    opened = stock.open_book(connection, merchant_id, parts, line_ids=[line.id for line in waiting_lines])
    terms = Terms(at=at, policy=opened.policy, kits=kits, prefers=opened.sells_from.get(connection_id, ()))
    for record in sorted(records.values(), key=lambda each: (each.placed_at or each.received_at, each.id)):
        record.revision += 1
        for each in record.lines.values():
            if each.sku_id is None and each.listing_external_id is not None and each.listing_external_id in bound:
                each.bind(bound[each.listing_external_id], terms)
                settle_line(each, record, Plan({}), terms, opened.book)
        opened.book.serve(f"{record.id}/{record.revision}")
    _write_orders(connection, merchant_id, connection_id, records.values(), at)
    # All others hold nothing, and what they shipped was shipped without us: they only learn their SKU.
    connection.execute(
        update(t.order_line)
        .where(
            *waiting,
            line.listing_external_id == bindparam("this_listing"),
            line.order_id.in_(
                select(order.id).where(order.merchant_id == merchant_id, order.connection_id == connection_id)
            ),
        )
        .values(sku_id=bindparam("its_sku")),
        [{"this_listing": external_id, "its_sku": sku_id} for external_id, sku_id in sorted(bound.items())],
    )
    _note_parts(connection, merchant_id, connection_id, kits, bound)
    return stock.write_book(connection, merchant_id, opened.book, at=at)


def _note_parts(
    connection: Connection,
    merchant_id: UUID,
    connection_id: UUID,
    kits: Mapping[UUID, Mapping[UUID, int]],
    bound: Mapping[str, UUID],
) -> None:
    """Of all lines that only learnt that they sell a kit: keep what it is made of now, should they hold stock later."""
    listings = [external_id for external_id, sku_id in bound.items() if sku_id in kits]
    if not listings:
        return
    line, order, leaf, part = t.order_line.c, t.sales_order.c, t.kit_leaf.c, t.order_line_part.c
    known = select(part.order_line_id).where(part.merchant_id == merchant_id)
    connection.execute(
        insert(t.order_line_part).from_select(
            ["merchant_id", "order_line_id", "sku_id", "quantity"],
            select(line.merchant_id, line.id, leaf.part_id, leaf.quantity)
            .select_from(
                t.order_line.join(
                    t.kit_leaf, (leaf.merchant_id == line.merchant_id) & (leaf.kit_id == line.sku_id)
                ).join(t.sales_order, (order.merchant_id == line.merchant_id) & (order.id == line.order_id))
            )
            .where(
                line.merchant_id == merchant_id,
                order.connection_id == connection_id,
                line.listing_external_id.in_(listings),
                line.id.not_in(known),
            ),
        )
    )


def expire_unpaid(database: Database, merchant_id: UUID, *, most: int = 100) -> set[UUID]:
    """Give back what orders hold that nobody paid for in time; returns the connections with something to publish."""

    def work(connection: Connection) -> set[UUID]:
        order = t.sales_order.c
        at = database.now(connection)
        late = (
            select(order.id)
            .where(order.merchant_id == merchant_id, order.hold_until <= at)
            .order_by(order.hold_until)
            .limit(most)
        )
        due = connection.execute(late).scalars().all()
        records = load(connection, merchant_id, order.id.in_(due), order.hold_until <= at)
        lines = [line for record in records.values() for line in record.lines.values()]
        skus = {part for line in lines for part in line.parts}
        opened = stock.open_book(connection, merchant_id, skus, line_ids=[line.id for line in lines])
        notes = [expire(record, opened.book) for record in records.values()]
        for record, note in zip(records.values(), notes, strict=True):
            connection.execute(
                update(t.sales_order)
                .where(order.merchant_id == merchant_id, order.id == record.id)
                .values(holds_stock=False, hold_until=None, revision=record.revision, updated_at=at)
            )
            activity.note(connection, merchant_id, note.kind, note.summary, at=at, order_id=record.id)
        # Whoever has one of them in hand is told by the sweep that has called this.
        withdrawals.keep_up(connection, merchant_id, list(records), at=at)
        return stock.write_book(connection, merchant_id, opened.book, at=at)

    return database.transact(work)


def _bindings(
    connection: Connection, merchant_id: UUID, connection_id: UUID, listing_ids: set[str]
) -> dict[str, UUID | None]:
    if not listing_ids:
        return {}
    listing = t.listing.c
    statement = (
        select(listing.external_id, listing.sku_id)
        .where(
            listing.merchant_id == merchant_id,
            listing.connection_id == connection_id,
            listing.external_id.in_(listing_ids),
        )
        .order_by(listing.id)
    )
    if connection.dialect.name != "sqlite":
        # A match made meanwhile waits for this commit, and then finds the lines that this import leaves waiting.
        statement = statement.with_for_update(read=True)
    return {row.external_id: row.sku_id for row in connection.execute(statement)}


def _write_orders(
    connection: Connection, merchant_id: UUID, connection_id: UUID, records: Iterable[OrderRecord], at: datetime
) -> None:
    records = list(records)
    kept, versions, reworded = _compared(connection, merchant_id, records, at)
    created = [record for record in records if record.is_new]
    if created:
        insert_rows(
            connection,
            t.sales_order,
            [
                _order_row(record, kept.get(record.id), at)
                | {
                    "merchant_id": merchant_id,
                    "connection_id": connection_id,
                    "id": record.id,
                    "external_id": record.external_id,
                    "imported_at": at,
                }
                for record in created
            ],
        )
    # Those of which a body was applied, and those that only changed inside: each kind has its own columns.
    for told in (True, False):
        rows = [
            _order_row(record, kept.get(record.id), at) | {"this_order": record.id}
            for record in records
            if not record.is_new and (record.id in kept) == told
        ]
        if rows:
            here = (t.sales_order.c.merchant_id == merchant_id, t.sales_order.c.id == bindparam("this_order"))
            connection.execute(update(t.sales_order).where(*here), rows)
    _write_lines(connection, merchant_id, records)
    _write_refunds(connection, merchant_id, [each.id for each in records if not each.is_new], kept)
    if versions:
        connection.execute(insert(t.order_version), versions)
    searching.add(connection, merchant_id, {each.id: searching.told(kept[each.id]) for each in created if each.bodies})
    searching.keep_up(connection, merchant_id, reworded)


def _compared(
    connection: Connection, merchant_id: UUID, records: Sequence[OrderRecord], at: datetime
) -> tuple[dict[UUID, Order], list[dict[str, Any]], list[UUID]]:
    """The orders as they are to be kept, a version for each body that changed something in what was known before, and
    which of those known before are found by other words now.

    An order that is new has none to tell of: a first import reads nothing here, and compares nothing.
    """
    before = stored(connection, merchant_id, [each.id for each in records if each.bodies and not each.is_new])
    kept: dict[UUID, Order] = {}
    rows: list[dict[str, Any]] = []
    reworded: list[UUID] = []
    for record in records:
        known = last = before.get(record.id)
        for body in record.bodies:
            order = without_people(body.order) if record.erased else body.order
            if last is not None:
                order = completed(_cut(order), last)
                if found := changes(last, order):
                    rows.append(
                        {
                            "merchant_id": merchant_id,
                            "order_id": record.id,
                            "revision": body.revision,
                            "version": order.version,
                            "received_at": body.received_at,
                            "at": at,
                            "changes": to_plain(found),
                        }
                    )
            kept[record.id] = last = order
        if last is not None and not record.is_new and (known is None or searching.told(last) != searching.told(known)):
            reworded.append(record.id)
    return kept, rows, reworded


def _cut(order: Order) -> Order:
    """The order with its texts as long as their columns: what was cut off has not changed."""
    lines = tuple(replace(line, sku=line.sku[:200], title=line.title[:500]) for line in order.lines)
    cut = {name: getattr(order, name)[:length] for name, length in _LENGTHS.items()}
    return replace(order, lines=lines, **cut)


_LENGTHS = {"customer_name": 300, "email": 320, "source": 100, "shipping_method": 200}


def stored(connection: Connection, merchant_id: UUID, order_ids: Sequence[UUID]) -> dict[UUID, Order]:
    """These orders as their channels told them last, as far as the hub keeps it; without those it knows nothing of."""
    found: dict[UUID, Order] = {}
    order, line, refund = t.sales_order.c, t.order_line.c, t.refund.c
    for some in in_chunks(order_ids):
        lines: dict[UUID, list[Row[Any]]] = defaultdict(list)
        for row in connection.execute(
            select(t.order_line)
            .where(line.merchant_id == merchant_id, line.order_id.in_(some), line.present)
            .order_by(line.position)
        ):
            lines[row.order_id].append(row)
        refunds: dict[UUID, list[Row[Any]]] = defaultdict(list)
        for row in connection.execute(
            select(t.refund).where(refund.merchant_id == merchant_id, refund.order_id.in_(some))
        ):
            refunds[row.order_id].append(row)
        for row in connection.execute(
            select(t.sales_order).where(order.merchant_id == merchant_id, order.id.in_(some), order.currency != "")
        ):
            found[row.id] = _stored(row, lines[row.id], refunds[row.id])
    return found


def _stored(row: Row[Any], lines: Iterable[Row[Any]], refunds: Iterable[Row[Any]]) -> Order:
    def money(minor: int) -> Money:
        return Money.from_minor(minor, row.currency)

    details = from_plain(OrderDetails, row.details)
    seen = row.presentment_currency
    return Order(
        external_id=row.external_id,
        number=row.number,
        status=OrderStatus(row.status),
        channel_status=row.channel_status,
        version=row.version,
        placed_at=row.placed_at,
        currency=row.currency,
        holds_stock=row.holds_stock,
        lines=tuple(
            OrderLine(
                external_id=each.external_id,
                listing_external_id=each.listing_external_id,
                sku=each.sku_text,
                title=each.title,
                quantity=each.quantity,
                unit_price=Money.of(each.unit_price, row.currency),
                total=money(each.total_minor),
                tax=money(each.tax_minor),
                fulfilled=each.fulfilled,
                removed=each.removed,
                requires_shipping=each.requires_shipping,
                kind=LineKind(each.kind),
                attributes=each.attributes,
            )
            for each in lines
        ),
        total=money(row.total_minor),
        shipping=money(row.shipping_minor),
        tax=money(row.tax_minor),
        discount=money(row.discount_minor),
        fees=money(row.fees_minor),
        priced=row.priced,
        whole=row.whole,
        shipped_by_channel=row.shipped_by_channel,
        paid=row.paid,
        promised_at=row.promised_at,
        taxes_included=row.taxes_included,
        test=row.test,
        customer_name=row.customer_name,
        email=row.email,
        note=row.note,
        shipping_address=Address(**row.shipping_address),
        billing_address=Address(**row.billing_address),
        refunds=tuple(
            Refund(
                external_id=each.external_id,
                amount=money(each.amount_minor),
                reason=each.reason,
                refunded_at=each.refunded_at,
                lines=tuple(from_plain(LineQuantity, line) for line in each.lines),
            )
            for each in refunds
        ),
        presentment_total=Money.from_minor(row.presentment_minor, seen) if seen else None,
        tags=tuple(row.tags),
        source=row.source,
        shipping_method=row.shipping_method,
        **{name: getattr(details, name) for name in DETAILS},
    )


_NO_ORDER: dict[str, Any] = {
    "currency": "",
    "test": False,
    "paid": True,
    "priced": True,
    "promised_at": None,
    "customer_name": "",
    "email": "",
    "note": "",
    "taxes_included": False,
    "total_minor": 0,
    "lines_minor": 0,
    "shipping_minor": 0,
    "tax_minor": 0,
    "discount_minor": 0,
    "fees_minor": 0,
    "rounding_minor": 0,
    "shipping_address": {},
    "billing_address": {},
    "channel_status": "",
    "source": "",
    "shipping_method": "",
    "risk_level": "",
    "on_hold": False,
    "returns_open": False,
    "presentment_currency": "",
    "presentment_minor": None,
    "tags": [],
    "details": {},
}


def _order_row(record: OrderRecord, kept: Order | None, at: datetime) -> dict[str, Any]:
    row: dict[str, Any] = {
        "number": record.number,
        "status": record.status.value,
        "version": record.version,
        "content_sha256": record.content,
        "received_at": record.received_at,
        "whole": record.whole,
        "removal_heard_at": record.removal_heard_at,
        "revision": record.revision,
        "holds_stock": record.holds_stock,
        "shipped_by_channel": record.shipped_by_channel,
        "hold_until": record.hold_until,
        "placed_at": record.placed_at,
        "updated_at": at,
    }
    if kept is not None:
        row |= _told(kept)
    elif record.is_new:
        row |= _NO_ORDER
    return row


def _told(order: Order) -> dict[str, Any]:
    """The columns that repeat what the channel said. The parts add up to the total with ``rounding``, to the cent."""
    lines = sum(line.total.minor for line in order.lines)
    parts = lines + order.shipping.minor + order.fees.minor - order.discount.minor
    if not order.taxes_included:
        parts += order.tax.minor
    return {
        "channel_status": order.channel_status,
        "currency": order.currency,
        "test": order.test,
        "paid": order.paid,
        "priced": order.priced,
        "promised_at": order.promised_at,
        **{name: getattr(order, name)[:length] for name, length in _LENGTHS.items()},
        "note": order.note,
        "taxes_included": order.taxes_included,
        "total_minor": order.total.minor,
        "lines_minor": lines,
        "shipping_minor": order.shipping.minor,
        "tax_minor": order.tax.minor,
        "discount_minor": order.discount.minor,
        "fees_minor": order.fees.minor,
        "rounding_minor": order.total.minor - parts,
        "shipping_address": _address(order.shipping_address),
        "billing_address": _address(order.billing_address),
        "risk_level": order.risk.level.value if order.risk else "",
        "on_hold": on_hold(order),
        "returns_open": returns_open(order),
        "presentment_currency": order.presentment_total.currency if order.presentment_total else "",
        "presentment_minor": order.presentment_total.minor if order.presentment_total else None,
        "tags": list(order.tags),
        "details": to_plain(OrderDetails.of(order)),
    }


def _address(address: Address) -> dict[str, str]:
    return {part: text for part in _PARTS if (text := getattr(address, part))}


_PARTS = tuple(each.name for each in fields(Address))


def _write_lines(connection: Connection, merchant_id: UUID, records: Sequence[OrderRecord]) -> None:
    created: list[dict[str, Any]] = []
    told: list[dict[str, Any]] = []
    kept: list[dict[str, Any]] = []
    for record in records:
        for line in record.lines.values():
            if not (line.is_new or line.changed):
                continue
            row: dict[str, Any] = {name: getattr(line, name) for name in _LINE_COLUMNS}
            if line.value is not None:
                row |= {
                    "sku_text": line.value.sku[:200],
                    "title": line.value.title[:500],
                    "unit_price": str(line.value.unit_price.amount),
                    "total_minor": line.value.total.minor,
                    "tax_minor": line.value.tax.minor,
                    "requires_shipping": line.value.requires_shipping,
                    "kind": line.value.kind.value,
                    "attributes": {} if record.erased else dict(line.value.attributes),
                }
            if line.is_new:
                created.append(row | {"merchant_id": merchant_id, "order_id": record.id})
                continue
            row["this_line"] = row.pop("id")
            (kept if line.value is None else told).append(row)
    if created:
        insert_rows(connection, t.order_line, created)
    parts = [
        {"merchant_id": merchant_id, "order_line_id": line.id, "sku_id": sku_id, "quantity": units}
        for record in records
        for line in record.lines.values()
        if line.bound and line.parts.keys() != {line.sku_id}
        for sku_id, units in line.parts.items()
    ]
    if parts:
        connection.execute(insert(t.order_line_part), parts)
    for rows in (told, kept):
        if rows:
            here = (t.order_line.c.merchant_id == merchant_id, t.order_line.c.id == bindparam("this_line"))
            connection.execute(update(t.order_line).where(*here), rows)


def _write_refunds(
    connection: Connection, merchant_id: UUID, known: Iterable[UUID], kept: Mapping[UUID, Order]
) -> None:
    refund = t.refund.c
    whole = [order_id for order_id in known if order_id in kept and kept[order_id].whole]
    if whole:
        # Somebody may have deleted a refund again.
        connection.execute(delete(t.refund).where(refund.merchant_id == merchant_id, refund.order_id.in_(whole)))
    rows = {
        (order_id, each.external_id): {
            "merchant_id": merchant_id,
            "order_id": order_id,
            "external_id": each.external_id,
            "amount_minor": each.amount.minor,
            "reason": each.reason[:500],
            "refunded_at": each.refunded_at,
            "lines": to_plain(each.lines),
        }
        for order_id, order in kept.items()
        for each in order.refunds
    }
    if not rows:
        return
    statement = upsert(connection, t.refund)
    named = ("amount_minor", "reason", "refunded_at", "lines")
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["merchant_id", "order_id", "external_id"],
            set_={name: statement.excluded[name] for name in named},
        ),
        list(rows.values()),
    )


def _units_sold(records: Iterable[OrderRecord], book: StockBook) -> dict[UUID, int]:
    """What each line has taken of the hub's stock: what it holds, what it waits for and what it has shipped."""
    sold = {}
    for record in records:
        for line in record.lines.values():
            claim = book.claims.get(line.id)
            sold[line.id] = line.shipped + (claim.held + claim.waiting if claim else 0)
    return sold


def _expect_own_sales(
    connection: Connection,
    merchant_id: UUID,
    connection_id: UUID,
    plan: Plan,
    book: StockBook,
    sold_before: Mapping[UUID, int],
    at: datetime,
) -> bool:
    """The channel takes its own sales off its own figure: expect that, so that the next compare-and-set fits.

    Only an expectation: where it is wrong the write comes back stale, and the channel is read. Nor is it known any more
    what the channel says where a line has changed in another way: it may have put back what was cancelled. Its listings
    are looked at once more, though the hub's own figure may be what it was: a line that only waited moves no stock.
    Returns whether there are any.
    """
    sold_now = _units_sold(plan.changed, book)
    sold: dict[str, int] = {}
    for record in plan.changed:
        for line in record.lines.values():
            more = sold_now[line.id] - sold_before.get(line.id, 0)
            if (more > 0 or line.changed) and line.listing_external_id is not None:
                sold[line.listing_external_id] = sold.get(line.listing_external_id, 0) + max(0, more)
    if not sold:
        return False
    publication, listing = t.publication.c, t.listing.c
    published = connection.execute(
        select(listing.external_id)
        .distinct()
        .select_from(
            t.listing.join(
                t.publication, (publication.merchant_id == listing.merchant_id) & (publication.listing_id == listing.id)
            )
        )
        .where(
            listing.merchant_id == merchant_id,
            listing.connection_id == connection_id,
            among(connection, listing.external_id, sold),
        )
    ).scalars()
    shown = sorted(published)
    if not shown:
        return False  # as in a first import: nothing is published before its end
    dirty = publication.version > publication.published_version
    cause = {"cause": "waiting", "reference": "", "order_id": None, "at": at.isoformat()}
    written = connection.execute(
        update(t.publication)
        .where(
            publication.merchant_id == merchant_id,
            publication.connection_id == connection_id,
            publication.listing_id.in_(
                select(listing.id).where(
                    listing.merchant_id == merchant_id,
                    listing.connection_id == connection_id,
                    listing.external_id == bindparam("sold_listing"),
                )
            ),
        )
        .values(
            quantity=publication.quantity - bindparam("units"),
            checked_at=None,
            version=publication.version + 1,
            dirty_since=marking.first_change(at),
            cause=case((dirty, publication.cause), else_=cast(cause, JSON)),
        ),
        [{"sold_listing": each, "units": sold[each]} for each in shown],
    )
    return written.rowcount > 0


def _write_consequences(
    connection: Connection, merchant_id: UUID, connection_id: UUID, plan: Plan, at: datetime
) -> None:
    if plan.notes:
        insert_rows(
            connection,
            t.activity,
            [
                {
                    "merchant_id": merchant_id,
                    "id": new_id(),
                    "at": at,
                    "kind": each.kind,
                    "connection_id": connection_id,
                    "order_id": each.order_id,
                    "actor": "",
                    "summary": each.summary.strip()[:500],
                    "details": dict(each.details) or None,
                }
                for each in plan.notes
            ],
        )
    request_fetches(connection, merchant_id, connection_id, "order", plan.refetch, at=at)
    for unknown in plan.unknown_listings.values():
        activity.raise_issue(
            connection,
            merchant_id,
            "unmatched_listing",
            f"{connection_id}/{unknown.listing_external_id}",
            f"“{unknown.title}” (SKU {unknown.sku or 'none'}) was sold in order {unknown.order_number}, "
            "but is not matched to a SKU",
            "Match the listing to a SKU. The order is complete; its stock is reserved as soon as you do.",
            at=at,
            connection_id=connection_id,
            order_id=unknown.order_id,
            link=f"/connections/{connection_id}",
        )
    for short in plan.shortfalls:
        activity.raise_issue(
            connection,
            merchant_id,
            stock.SHORTFALL,
            f"{short.order_id}/{short.sku_id}",
            f"Order {short.order_number} shipped {short.units} more than the hub had on hand",
            "Count this SKU and correct its stock.",
            at=at,
            connection_id=connection_id,
            order_id=short.order_id,
            link=f"/stock/{short.sku_id}",
        )
    for record in plan.missing.values():
        activity.raise_issue(
            connection,
            merchant_id,
            "order_not_found",
            f"{connection_id}/{record.external_id}",
            f"The shop announced order {record.number}, but now says that it does not exist",
            "Look for the order in the shop. The hub keeps it as last received.",
            at=at,
            connection_id=connection_id,
            order_id=record.id,
            link=f"/orders/{record.id}",
        )


def request_fetches(
    connection: Connection,
    merchant_id: UUID,
    connection_id: UUID,
    kind: str,
    external_ids: Collection[str],
    *,
    at: datetime,
) -> None:
    """Ask for records to be fetched from the vendor; asking twice before it happened is asking once."""
    if not external_ids:
        return
    statement = upsert(connection, t.fetch_request)
    # requested_at moves, so that an answer to the earlier request does not count as the answer to this one.
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["merchant_id", "connection_id", "kind", "external_id"],
            set_={"requested_at": statement.excluded.requested_at},
        ),
        [
            {
                "merchant_id": merchant_id,
                "connection_id": connection_id,
                "kind": kind,
                "external_id": external_id,
                "requested_at": at,
                "due_at": at,
            }
            for external_id in sorted(external_ids)
        ],
    )
