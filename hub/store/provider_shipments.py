"""What has left 3PLs: their shipments as ours, with lots and serial numbers, in parts, changed and taken back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, func, insert, select, update

from hub.core.plain import to_plain
from hub.core.shipping import Lot, ProviderShipment, ShippedLine
from hub.errors import Unreadable
from hub.store import (
    activity,
    effects,
    fulfillment,
    provider_items,
    provider_stock,
    providers,
    searching,
    shipments,
    stock,
    withdrawals,
)
from hub.store import tables as t
from hub.store.database import Lanes, for_update, new_id
from hub.store.fulfillment import State
from hub.store.providers import Asked

STRANGE = "3pl_shipped_something_else"  # the kind of issue; the subject is the fulfillment order's id
ALL_THE_SAME = "3pl_shipped_all_the_same"  # likewise
CAME_BACK = "3pl_shipment_cancelled"  # likewise

_Key = tuple[UUID, UUID]  # order line, SKU


@dataclass(slots=True)
class _Share:
    """Units of a SKU that left for an order line."""

    units: int = 0
    lots: list[Lot] = field(default_factory=list)
    serial_numbers: list[str] = field(default_factory=list)


def keep(
    connection: Connection, merchant_id: UUID, connection_id: UUID, told: ProviderShipment, *, at: datetime
) -> Lanes:
    """A shipment of a 3PL as it is now, in the caller's transaction; an older version of it is passed over.

    Stock leaves at the 3PL's location, the channel is told, and other locations are not to ship it any more. Returns
    the lanes to ring for. Raises Unreadable when it names no order of ours.
    """
    work = providers.find(connection, merchant_id, connection_id, told.reference)
    if work is None:
        raise Unreadable(
            f"The 3PL tells of shipment {told.external_id} for {told.reference or 'an order that it does not name'}, "
            "which the hub has not sent to it."
        )
    known = _known(connection, work, told.external_id)
    if known is not None and told.version < known.told_at:
        return []
    if told.cancelled:
        return _undo(connection, known, work, told, at) if known is not None and known.state == "shipped" else []
    asked = list(providers.asked_for(connection, work, connection_id))
    shares = _shares(connection, work, told, asked, known, at)
    if known is None or known.state != "shipped":
        return _leave(connection, work, told, asked, shares, None, at)
    if _parts(connection, merchant_id, [known.id]) != {key: share.units for key, share in shares.items()}:
        lanes = _undo(connection, known, work, told, at)
        work = fulfillment.locked(connection, merchant_id, work.id)
        return lanes + _leave(connection, work, told, asked, shares, known, at)
    if _route(told) != (known.carrier, tuple(known.tracking_numbers), known.tracking_url):
        return _leave_anew(connection, work, known, told, at)
    shipments.change(connection, known, told_at=told.version)
    return []


def _known(connection: Connection, work: Row[Any], external_id: str) -> Row[Any] | None:
    """The shipment as it was told last."""
    this = t.shipment.c
    return connection.execute(
        for_update(
            connection,
            select(t.shipment)
            .where(
                this.merchant_id == work.merchant_id,
                this.fulfillment_order_id == work.id,
                this.external_id == external_id[:200],
            )
            .order_by(this.created_at.desc(), this.id.desc())
            .limit(1),
        )
    ).one_or_none()


def _route(told: ProviderShipment) -> tuple[str, tuple[str, ...], str]:
    numbers = tuple(number[:100] for number in told.tracking_numbers)
    return told.carrier[:60], numbers, told.tracking_url[:1000]


# ---------------------------------------------------------------- which lines


def _shares(
    connection: Connection,
    work: Row[Any],
    told: ProviderShipment,
    asked: Sequence[Asked],
    known: Row[Any] | None,
    at: datetime,
) -> dict[_Key, _Share]:
    """Deal what left out over the lines: by our reference of a line, else by SKU, the first line first."""
    named = {line.sku: line.item_external_id for line in told.lines if line.sku}
    meant = provider_items.meant_by(connection, work.merchant_id, work.connection_id, named, at=at)
    others = _parts(connection, work.merchant_id, _others(connection, work, known))
    left = {(each.line_id, each.sku_id): each.line.quantity for each in asked}
    for key, units in others.items():
        left[key] = left.get(key, 0) - units
    shares: dict[_Key, _Share] = defaultdict(_Share)
    strange: list[str] = []
    for line in told.lines:
        if not line.quantity:
            continue
        fitting = _fitting(line, asked, meant)
        if not fitting:
            strange.append(f"{line.quantity} × {line.sku or line.item_external_id}")
            continue
        _deal(line, fitting, left, shares)
    if strange:
        activity.raise_issue(
            connection,
            work.merchant_id,
            STRANGE,
            str(work.id),
            f"The 3PL shipped something else with {work.reference}: {', '.join(strange)}",
            "Ask the 3PL what it sent. If it calls a SKU so, match the name on the 3PL's page.",
            at=at,
            connection_id=work.connection_id,
            order_id=work.order_id,
            link=f"/orders/{work.order_id}",
        )
    return dict(shares)


def _fitting(line: ShippedLine, asked: Sequence[Asked], meant: Mapping[str, UUID]) -> list[Asked]:
    sku_id = meant.get(line.sku[:200])
    by_name = [each for each in asked if each.sku_id == sku_id or (line.sku and each.line.sku == line.sku)]
    by_reference = [each for each in asked if line.line_reference and each.line.reference == line.line_reference]
    # Some 3PLs number lines by themselves: a reference that fits another SKU is none of ours.
    both = [each for each in by_reference if each in by_name]
    return both or by_name or by_reference


def _deal(line: ShippedLine, fitting: Sequence[Asked], left: dict[_Key, int], shares: dict[_Key, _Share]) -> None:
    units, serials, first = line.quantity, list(line.serial_numbers), True
    for each in fitting:
        key = (each.line_id, each.sku_id)
        more = units if each is fitting[-1] else min(units, max(0, left[key]))
        if not more:
            continue
        left[key] -= more
        units -= more
        share = shares[key]
        share.units += more
        share.serial_numbers += serials[:more] if units else serials
        serials = serials[more:]
        if first:
            share.lots += line.lots
            first = False


def _others(connection: Connection, work: Row[Any], known: Row[Any] | None) -> list[UUID]:
    """The other shipments of the fulfillment order that have left."""
    this = t.shipment.c
    found = connection.execute(
        select(this.id).where(
            this.merchant_id == work.merchant_id,
            this.fulfillment_order_id == work.id,
            this.state == "shipped",
            this.is_return.is_(False),
        )
    ).scalars()
    return [each for each in found if known is None or each != known.id]


def _parts(connection: Connection, merchant_id: UUID, shipment_ids: Iterable[UUID]) -> dict[_Key, int]:
    part = t.shipped_part.c
    rows = connection.execute(
        select(part.order_line_id, part.sku_id, func.sum(part.quantity))
        .where(part.merchant_id == merchant_id, part.shipment_id.in_(list(shipment_ids)))
        .group_by(part.order_line_id, part.sku_id)
    )
    return {(line_id, sku_id): int(units) for line_id, sku_id, units in rows}


def _complete(
    connection: Connection, work: Row[Any], asked: Sequence[Asked], shares: Mapping[_Key, _Share], others: list[UUID]
) -> dict[UUID, int]:
    """Line units that this shipment completes: a kit has left when all of its parts have."""
    before = _parts(connection, work.merchant_id, others)
    gone: dict[UUID, int] = {}
    for line_id in dict.fromkeys(each.line_id for each in asked):
        parts = [each for each in asked if each.line_id == line_id]

        def whole(more: bool, parts: list[Asked] = parts) -> int:
            return min(
                (
                    before.get((each.line_id, each.sku_id), 0)
                    + (shares[each.line_id, each.sku_id].units if more and (each.line_id, each.sku_id) in shares else 0)
                )
                // each.per_unit
                for each in parts
            )

        if units := whole(True) - whole(False):
            gone[line_id] = units
    return gone


# ---------------------------------------------------------------- leaving


def _leave(
    connection: Connection,
    work: Row[Any],
    told: ProviderShipment,
    asked: Sequence[Asked],
    shares: Mapping[_Key, _Share],
    instead_of: Row[Any] | None,
    at: datetime,
) -> Lanes:
    """A shipment that was not known so: everything that follows from goods having left."""
    others = _others(connection, work, instead_of)
    contents = _complete(connection, work, asked, shares, others)
    row = _write(connection, work, told, shares, contents, instead_of, at)
    fulfillment.note(
        connection, work, "shipped_by_3pl", f"The 3PL has shipped {work.reference}", at=at, shipment=str(row.id)
    )
    if work.state in (State.REJECTED, State.CANCELLED):
        _say_all_the_same(connection, work, at)
    if not contents:
        return []
    # The parts of a kit may leave one after the other: those that are not in this shipment left before.
    moments = _earlier(connection, work.merchant_id, others) | dict.fromkeys(shares, row.shipped_at)
    touched, wanted = _take_out(connection, work, row, contents, moments, at)
    shipments.count_shipped(connection, work, contents, at)
    lanes: Lanes = [(connection_id, "publish") for connection_id in sorted(touched)]
    if wanted:
        lanes += shipments.tell_the_channel(connection, row, shipments.own_share(row, work, contents), at)
    return lanes + withdrawals.keep_up(connection, work.merchant_id, [work.order_id], at=at)


def _say_all_the_same(connection: Connection, work: Row[Any], at: datetime) -> None:
    activity.raise_issue(
        connection,
        work.merchant_id,
        ALL_THE_SAME,
        str(work.id),
        f"The 3PL has shipped {work.reference}, though it is {work.state}",
        "Ask the 3PL to stop the parcel, or expect it back. Look whether somebody else ships it, too.",
        at=at,
        connection_id=work.connection_id,
        order_id=work.order_id,
        link=f"/orders/{work.order_id}",
    )


def _write(
    connection: Connection,
    work: Row[Any],
    told: ProviderShipment,
    shares: Mapping[_Key, _Share],
    contents: Mapping[UUID, int],
    instead_of: Row[Any] | None,
    at: datetime,
) -> Row[Any]:
    this = t.shipment.c
    count = connection.execute(
        select(func.count()).where(this.merchant_id == work.merchant_id, this.fulfillment_order_id == work.id)
    ).scalar_one()
    shipment_id = new_id()
    carrier, numbers, url = _route(told)
    connection.execute(
        insert(t.shipment).values(
            merchant_id=work.merchant_id,
            id=shipment_id,
            order_id=work.order_id,
            fulfillment_order_id=work.id,
            reference=f"{work.reference}-{count + 1}",
            state="shipped",
            connection_id=work.connection_id,
            external_id=told.external_id[:200],
            carrier=carrier,
            service=told.service[:120],
            tracking_numbers=list(numbers),
            tracking_url=url,
            supersedes_id=instead_of.id if instead_of is not None else None,
            told_at=told.version,
            created_at=at,
            shipped_at=min(told.shipped_at or told.version, at),
        )
    )
    _write_parcels(connection, work.merchant_id, shipment_id, numbers, contents, shares)
    searching.keep_up_parcels(connection, work.merchant_id, shipment_id)
    if shares:
        connection.execute(
            insert(t.shipped_part),
            [
                {
                    "merchant_id": work.merchant_id,
                    "shipment_id": shipment_id,
                    "order_line_id": line_id,
                    "sku_id": sku_id,
                    "quantity": share.units,
                    "lots": to_plain(tuple(share.lots)),
                    "serial_numbers": share.serial_numbers,
                }
                for (line_id, sku_id), share in sorted(shares.items())
            ],
        )
    return connection.execute(
        select(t.shipment).where(this.merchant_id == work.merchant_id, this.id == shipment_id)
    ).one()


def _write_parcels(
    connection: Connection,
    merchant_id: UUID,
    shipment_id: UUID,
    numbers: Sequence[str],
    contents: Mapping[UUID, int],
    shares: Mapping[_Key, _Share],
) -> None:
    """A parcel for each tracking number; which of them holds what is not known, so that the first holds all."""
    ids = [new_id() for _ in numbers or ("",)]
    connection.execute(
        insert(t.parcel),
        [
            {
                "merchant_id": merchant_id,
                "id": parcel_id,
                "shipment_id": shipment_id,
                "number": place,
                "tracking_number": number,
            }
            for place, (parcel_id, number) in enumerate(zip(ids, numbers or ("",), strict=True), start=1)
        ],
    )
    lots: dict[UUID, list[Any]] = defaultdict(list)
    for (line_id, _), share in sorted(shares.items()):
        lots[line_id] += to_plain(tuple(share.lots))
    if contents:
        connection.execute(
            insert(t.parcel_line),
            [
                {
                    "merchant_id": merchant_id,
                    "parcel_id": ids[0],
                    "order_line_id": line_id,
                    "quantity": units,
                    "lots": lots[line_id] or None,
                }
                for line_id, units in sorted(contents.items())
            ],
        )


def _leave_anew(connection: Connection, work: Row[Any], known: Row[Any], told: ProviderShipment, at: datetime) -> Lanes:
    """The same goods with another carrier or tracking number: a shipment that takes the place of the one before."""
    contents = shipments.units(connection, known)
    row = _write(connection, work, told, {}, contents, known, at)
    part = t.shipped_part.c
    connection.execute(
        update(t.shipped_part)
        .where(part.merchant_id == work.merchant_id, part.shipment_id == known.id)
        .values(shipment_id=row.id)
    )
    shipments.change(connection, row, shipped_at=known.shipped_at)
    shipments.change(connection, known, track_at=None, told_at=told.version)
    fulfillment.note(
        connection,
        work,
        "tracking_changed",
        f"{work.reference} has another tracking number",
        at=at,
        shipment=str(row.id),
    )
    return shipments.tell_the_channel(connection, row, shipments.own_share(row, work, contents), at) if contents else []


# ---------------------------------------------------------------- stock


def _earlier(connection: Connection, merchant_id: UUID, shipment_ids: list[UUID]) -> dict[_Key, datetime]:
    """When units of each part left last with these shipments."""
    part, sent = t.shipped_part.c, t.shipment.c
    rows = connection.execute(
        select(part.order_line_id, part.sku_id, func.max(sent.shipped_at))
        .select_from(
            t.shipped_part.join(t.shipment, (sent.merchant_id == part.merchant_id) & (sent.id == part.shipment_id))
        )
        .where(part.merchant_id == merchant_id, part.shipment_id.in_(shipment_ids))
        .group_by(part.order_line_id, part.sku_id)
    )
    return {(line_id, sku_id): moment for line_id, sku_id, moment in rows}


@dataclass(frozen=True, slots=True)
class _Line:
    """An order line with what is needed to settle its stock."""

    row: Row[Any]
    parts: Mapping[UUID, int]

    def wanted(self, fulfilled: int, sent: int) -> int:
        """Units that the order is still to get."""
        row = self.row
        if not (row.holds_stock and row.present):
            return 0
        return max(0, int(row.quantity) - int(row.removed) - max(fulfilled, sent))


def _lines(connection: Connection, work: Row[Any], line_ids: Iterable[UUID]) -> list[_Line]:
    line, order = t.order_line.c, t.sales_order.c
    rows = connection.execute(
        select(
            t.order_line,
            order.placed_at,
            order.received_at,
            order.promised_at,
            order.total_minor,
            order.currency,
            order.holds_stock,
        )
        .select_from(
            t.order_line.join(t.sales_order, (order.merchant_id == line.merchant_id) & (order.id == line.order_id))
        )
        .where(line.merchant_id == work.merchant_id, line.id.in_(list(line_ids)))
        .order_by(line.id)
    ).all()
    kits = stock.kit_parts(connection, work.merchant_id, [row.id for row in rows])
    return [_Line(row, kits.get(row.id, {row.sku_id: 1})) for row in rows if row.sku_id is not None]


def _open(connection: Connection, work: Row[Any], lines: Sequence[_Line]) -> stock.OpenBook:
    skus = {sku_id for each in lines for sku_id in each.parts}
    ids = [each.row.id for each in lines]
    # With everybody who holds any of it: whoever has reserved what has left gives it up.
    opened = stock.open_whole_book(connection, work.merchant_id, skus, order_ids=[*ids, work.order_id])
    opened.book.in_hand = set(ids)
    return opened


def _take_out(
    connection: Connection,
    work: Row[Any],
    shipment: Row[Any],
    contents: Mapping[UUID, int],
    moments: Mapping[_Key, datetime],
    at: datetime,
) -> tuple[set[UUID], bool]:
    """Units have left the 3PL's shelf; returns the connections with something to publish, and whether the order
    wanted any of it."""
    lines = _lines(connection, work, contents)
    opened = _open(connection, work, lines)
    book = opened.book
    reference = f"{work.order_id}/{shipment.reference}"
    happened: dict[tuple[UUID, UUID], datetime] = {}
    any_wanted = False
    for each in lines:
        row, units = each.row, contents[each.row.id]
        any_wanted = any_wanted or each.wanted(row.fulfilled, row.sent) > 0
        sent = max(row.fulfilled, row.sent) + units
        counted = 0
        if book.counts(each.parts):
            left = {
                sku_id: (units * per_unit, moments.get((row.id, sku_id), shipment.shipped_at))
                for sku_id, per_unit in each.parts.items()
            }
            there = provider_stock.still_there(
                connection, work.merchant_id, work.connection_id, work.location_id, left, book, at=at
            )
            claim = opened.claim(each.row, each.parts)
            missing = book.ship_from(claim, units, work.location_id, there, reference)
            counted = units - max((-(-short // each.parts[sku]) for sku, short in missing.items()), default=0)
            happened |= {(sku_id, work.location_id): moment for sku_id, (_, moment) in left.items()}
            book.demand(claim, each.wanted(row.fulfilled, sent), reference)
        connection.execute(
            update(t.order_line)
            .where(t.order_line.c.merchant_id == work.merchant_id, t.order_line.c.id == row.id)
            .values(
                sent=sent,
                shipped=row.shipped + counted,
                fulfilled_before=row.fulfilled_before + units - counted,
            )
        )
    book.serve(reference)
    return stock.write_book(connection, work.merchant_id, book, at=at, happened_at=happened), any_wanted


# ---------------------------------------------------------------- it did not leave after all


def _undo(connection: Connection, row: Row[Any], work: Row[Any], told: ProviderShipment, at: datetime) -> Lanes:
    """A shipment that was told did not leave: its goods are on the shelf, and still to be shipped."""
    contents = shipments.units(connection, row)
    shipments.change(connection, row, state="void", voided_at=at, track_at=None, told_at=told.version)
    fulfillment.note(
        connection,
        work,
        "3pl_shipment_cancelled",
        f"Shipment {row.reference} has not left the 3PL after all",
        at=at,
        shipment=str(row.id),
    )
    if not contents:
        return []
    if told.cancelled and not _untold(connection, row, at):
        activity.raise_issue(
            connection,
            work.merchant_id,
            CAME_BACK,
            str(work.id),
            f"Shipment {row.reference} has not left the 3PL after all, and the channel was told that it has",
            "Cancel the fulfillment at the channel, and tell the customer.",
            at=at,
            connection_id=work.connection_id,
            order_id=work.order_id,
            link=f"/orders/{work.order_id}",
        )
    touched = _put_back(connection, work, row, contents, told.version, at)
    line = t.fulfillment_line.c
    for line_id, units in contents.items():
        connection.execute(
            update(t.fulfillment_line)
            .where(
                line.merchant_id == work.merchant_id,
                line.fulfillment_order_id == work.id,
                line.order_line_id == line_id,
            )
            .values(shipped=line.shipped - units)
        )
    if work.state in (State.SHIPPED, State.DELIVERED):
        opened: dict[str, Any] = {"closed_at": None, "shipped_at": None}
        fulfillment.change(connection, work, State.IN_PROGRESS, at=at, **opened)
    return [(connection_id, "publish") for connection_id in sorted(touched)]


def _untold(connection: Connection, row: Row[Any], at: datetime) -> bool:
    """Keep the channel from hearing of it; False where it has been told, or may have been."""
    this = t.effect.c
    key = effects.effect_key(row.merchant_id, "confirm_shipment", row.reference)
    connection.execute(
        update(t.effect)
        .where(
            this.merchant_id == row.merchant_id,
            this.effect_key == key,
            this.state == "planned",
            this.unclear.is_(False),
        )
        .values(state="cancelled", finished_at=at)
    )
    state = connection.execute(
        select(this.state).where(this.merchant_id == row.merchant_id, this.effect_key == key)
    ).scalar_one_or_none()
    return state in (None, "cancelled")


def _put_back(
    connection: Connection,
    work: Row[Any],
    shipment: Row[Any],
    contents: Mapping[UUID, int],
    moment: datetime,
    at: datetime,
) -> set[UUID]:
    lines = _lines(connection, work, contents)
    opened = _open(connection, work, lines)
    book = opened.book
    reference = f"{work.order_id}/{shipment.reference} void"
    happened: dict[tuple[UUID, UUID], datetime] = {}
    for each in lines:
        row, units = each.row, contents[each.row.id]
        sent = max(0, row.sent - units)
        shipped = row.shipped
        if book.counts(each.parts):
            claim = opened.claim(each.row, each.parts)
            shipped = max(0, row.shipped - units)
            left = {sku_id: (units * per_unit, moment) for sku_id, per_unit in each.parts.items()}
            there = provider_stock.counted_since(
                connection, work.merchant_id, work.connection_id, work.location_id, left
            )
            if not there:
                book.unship(claim, row.shipped - shipped, reference, work.location_id)
                happened |= {(sku_id, work.location_id): moment for sku_id in each.parts}
            book.demand(claim, each.wanted(row.fulfilled, sent), reference)
        # What the channel says was fulfilled stays so, until a person has cancelled it there.
        connection.execute(
            update(t.order_line)
            .where(t.order_line.c.merchant_id == work.merchant_id, t.order_line.c.id == row.id)
            .values(sent=sent, shipped=shipped, fulfilled_before=max(0, max(row.fulfilled, sent) - shipped))
        )
    book.serve(reference)
    return stock.write_book(connection, work.merchant_id, book, at=at, happened_at=happened)
