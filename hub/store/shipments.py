"""Shipments: goods that leave in one go, from the packed parcels to the moment they have left and the channel is told.

What a label costs, and giving it back, is ``labels``; where the parcels are on their way is ``tracking``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, case, func, insert, select, update

from hub.connector import EffectResult
from hub.core.shipping import ConfirmedLine, ShipmentConfirmation
from hub.errors import BadInput, Conflict
from hub.store import effects, fulfillment, stock
from hub.store import tables as t
from hub.store.database import Lanes, for_update, new_id
from hub.store.fulfillment import State


@dataclass(frozen=True, slots=True, kw_only=True)
class ParcelDraft:
    """A box as it was packed: units by order line, its weight with everything, its outer size in millimeters."""

    units: Mapping[UUID, int]
    weight_grams: int
    size: tuple[int, int, int] | None = None
    packaging: str = ""


# ---------------------------------------------------------------- parcels


def draft(
    connection: Connection,
    merchant_id: UUID,
    fulfillment_order: Row[Any],
    parcels: Sequence[ParcelDraft],
    *,
    at: datetime,
    supersedes: UUID | None = None,
    is_return: bool = False,
) -> UUID:
    """A shipment of these parcels, without a label yet; the fulfillment order's row is locked by the caller.

    Carriers are asked for their rates, unless the customer fetches it: ring the lane "ship" of the order's connection.
    Raises BadInput for parcels that hold nothing, weigh nothing, or hold more than is to be shipped.
    """
    if not parcels or any(not each.units or min(each.units.values()) < 1 for each in parcels):
        raise BadInput("Every parcel needs something in it. Pack at least one unit into each, or remove it.")
    if any(each.weight_grams < 1 for each in parcels):
        raise BadInput("Every parcel needs its weight.", {"weight": ["Weigh the parcel, with everything in it."]})
    _refuse_too_much(connection, fulfillment_order, parcels, supersedes, is_return)
    this = t.shipment.c
    count = connection.execute(
        select(func.count()).where(this.merchant_id == merchant_id, this.fulfillment_order_id == fulfillment_order.id)
    ).scalar_one()
    shipment_id = new_id()
    connection.execute(
        insert(t.shipment).values(
            merchant_id=merchant_id,
            id=shipment_id,
            order_id=fulfillment_order.order_id,
            fulfillment_order_id=fulfillment_order.id,
            reference=f"{fulfillment_order.reference}-{count + 1}",
            state="draft",
            is_return=is_return,
            supersedes_id=supersedes,
            rates_wanted_at=None if fulfillment_order.collect and not is_return else at,
            created_at=at,
        )
    )
    _keep_parcels(connection, merchant_id, shipment_id, parcels)
    return shipment_id


def _refuse_too_much(
    connection: Connection,
    fulfillment_order: Row[Any],
    parcels: Sequence[ParcelDraft],
    supersedes: UUID | None,
    is_return: bool,
) -> None:
    line = t.fulfillment_line.c
    merchant_id = fulfillment_order.merchant_id
    asked = {
        row.order_line_id: row.quantity
        for row in connection.execute(
            select(line.order_line_id, line.quantity).where(
                line.merchant_id == merchant_id, line.fulfillment_order_id == fulfillment_order.id
            )
        )
    }
    box, inside, sent = t.parcel.c, t.parcel_line.c, t.shipment.c
    packed = {
        row.order_line_id: int(row.units)
        for row in connection.execute(
            select(inside.order_line_id, func.sum(inside.quantity).label("units"))
            .select_from(
                t.parcel_line.join(
                    t.parcel, (box.merchant_id == inside.merchant_id) & (box.id == inside.parcel_id)
                ).join(t.shipment, (sent.merchant_id == box.merchant_id) & (sent.id == box.shipment_id))
            )
            .where(
                sent.merchant_id == merchant_id,
                sent.fulfillment_order_id == fulfillment_order.id,
                sent.state.not_in(("void", "failed")),
                sent.withdrawn_at.is_(None),
                sent.is_return.is_(is_return),
                *([sent.id != supersedes] if supersedes else []),
            )
            .group_by(inside.order_line_id)
        )
    }
    for parcel in parcels:
        for line_id, units in parcel.units.items():
            packed[line_id] = packed.get(line_id, 0) + units
    if any(units > asked.get(line_id, 0) for line_id, units in packed.items()):
        raise BadInput("There is more in the parcels than is to be shipped. Reload the page, and count again.")


def _keep_parcels(connection: Connection, merchant_id: UUID, shipment_id: UUID, parcels: Sequence[ParcelDraft]) -> None:
    boxes, lines = [], []
    for number, each in enumerate(parcels, start=1):
        parcel_id = new_id()
        length, width, height = each.size or (None, None, None)
        boxes.append(
            {
                "merchant_id": merchant_id,
                "id": parcel_id,
                "shipment_id": shipment_id,
                "number": number,
                "weight_grams": each.weight_grams,
                "length_mm": length,
                "width_mm": width,
                "height_mm": height,
                "packaging": each.packaging[:60],
            }
        )
        lines += [
            {"merchant_id": merchant_id, "parcel_id": parcel_id, "order_line_id": line_id, "quantity": units}
            for line_id, units in sorted(each.units.items())
        ]
    connection.execute(insert(t.parcel), boxes)
    connection.execute(insert(t.parcel_line), lines)


def drafts_of(connection: Connection, row: Row[Any]) -> list[ParcelDraft]:
    """The parcels of a shipment, to be packed the same way once more."""
    box, inside = t.parcel.c, t.parcel_line.c
    found = []
    for each in connection.execute(
        select(t.parcel).where(box.merchant_id == row.merchant_id, box.shipment_id == row.id).order_by(box.number)
    ).all():
        units = connection.execute(
            select(inside.order_line_id, inside.quantity).where(
                inside.merchant_id == row.merchant_id, inside.parcel_id == each.id
            )
        )
        size = (each.length_mm, each.width_mm, each.height_mm) if each.length_mm else None
        found.append(
            ParcelDraft(
                units={one.order_line_id: one.quantity for one in units},
                weight_grams=each.weight_grams,
                size=size,
                packaging=each.packaging,
            )
        )
    return found


def change(connection: Connection, row: Row[Any], **values: Any) -> None:
    """Change a locked shipment."""
    connection.execute(
        update(t.shipment)
        .where(t.shipment.c.merchant_id == row.merchant_id, t.shipment.c.id == row.id)
        .values(**values)
    )


def locked(connection: Connection, merchant_id: UUID, shipment_id: UUID) -> tuple[Row[Any], Row[Any]]:
    """The shipment and its fulfillment order, locked after their order. Raises Conflict when there is none."""
    this = t.shipment.c
    here = (this.merchant_id == merchant_id, this.id == shipment_id)
    fulfillment_order_id = connection.execute(select(this.fulfillment_order_id).where(*here)).scalar_one_or_none()
    if fulfillment_order_id is None:
        raise Conflict("This shipment does not exist any more. Go back to the list.")
    work = fulfillment.locked(connection, merchant_id, fulfillment_order_id)
    return connection.execute(for_update(connection, select(t.shipment).where(*here))).one(), work


# ---------------------------------------------------------------- handing over


def hand_over(connection: Connection, merchant_id: UUID, shipment_id: UUID, *, at: datetime, actor: str) -> Lanes:
    """A person says that the carrier has the parcels; returns the lanes to ring for.

    Raises Conflict for an order that is cancelled or on hold, and a shipment that has no label or gives it back.
    """
    row, work = locked(connection, merchant_id, shipment_id)
    if row.withdrawn_at is not None:
        raise Conflict(f"The label of shipment {row.reference} is being given back. Keep the parcel here.")
    if row.state != "shipped":
        check(connection, row, work)
    return ship(connection, merchant_id, shipment_id, at=at, actor=actor)


def check(connection: Connection, row: Row[Any], work: Row[Any]) -> None:
    """Raise Conflict when a locked shipment must not go on towards the customer.

    What comes back from the customer, and what has left already and only gets another label, may in any case.
    """
    if not row.is_return and left_before(connection, row) is None:
        fulfillment.gate(connection, row.merchant_id, work.id)


def ship(connection: Connection, merchant_id: UUID, shipment_id: UUID, *, at: datetime, actor: str = "") -> Lanes:
    """The goods have left: take them out of stock, and tell the channel, in the caller's transaction.

    That is a fact, whatever the order is by now: for the wish of a person there is ``hand_over``. Returns the lanes to
    ring for. Raises Conflict for a shipment that has no label yet or has been given back.
    """
    row, work = locked(connection, merchant_id, shipment_id)
    if row.state == "shipped":
        return []
    if row.state != "labelled":
        raise Conflict(f"Shipment {row.reference} is {row.state}: only one that has its label can leave.")
    change(connection, row, state="shipped", shipped_at=at, rates_wanted_at=None)
    what = "is on its way back" if row.is_return else "has left"
    fulfillment.note(
        connection, work, "shipped", f"Shipment {row.reference} {what}", at=at, actor=actor, shipment=str(row.id)
    )
    if row.is_return:
        return []
    contents = units(connection, row)
    touched: set[UUID] = set()
    if left_before(connection, row) is None:
        touched = _take_out(connection, row, work, contents, at, actor)
        count_shipped(connection, work, contents, at)
    lanes: Lanes = [(connection_id, "publish") for connection_id in sorted(touched)]
    return lanes + tell_the_channel(connection, row, work, contents, at)


def left_before(connection: Connection, row: Row[Any]) -> Row[Any] | None:
    """The shipment with which the same goods have left before this one got another label; None: they have not."""
    this = t.shipment.c
    while row.supersedes_id is not None:
        row = connection.execute(
            select(t.shipment).where(this.merchant_id == row.merchant_id, this.id == row.supersedes_id)
        ).one()
        if row.shipped_at is not None:
            return row
    return None


def units(connection: Connection, row: Row[Any]) -> dict[UUID, int]:
    """What is in the parcels of a shipment, by order line."""
    box, inside = t.parcel.c, t.parcel_line.c
    rows = connection.execute(
        select(inside.order_line_id, func.sum(inside.quantity))
        .select_from(
            t.parcel_line.join(t.parcel, (box.merchant_id == inside.merchant_id) & (box.id == inside.parcel_id))
        )
        .where(box.merchant_id == row.merchant_id, box.shipment_id == row.id)
        .group_by(inside.order_line_id)
        .order_by(inside.order_line_id)
    )
    return {line_id: int(units) for line_id, units in rows}


def _take_out(
    connection: Connection, row: Row[Any], work: Row[Any], contents: Mapping[UUID, int], at: datetime, actor: str
) -> set[UUID]:
    line, order = t.order_line.c, t.sales_order.c
    lines = connection.execute(
        select(
            line.id,
            line.order_id,
            line.sku_id,
            order.placed_at,
            order.received_at,
            order.promised_at,
            order.total_minor,
            order.currency,
        )
        .select_from(
            t.order_line.join(t.sales_order, (order.merchant_id == line.merchant_id) & (order.id == line.order_id))
        )
        .where(line.merchant_id == row.merchant_id, line.id.in_(list(contents)))
        .order_by(line.id)
    ).all()
    kits = stock.kit_parts(connection, row.merchant_id, [each.id for each in lines])
    parts = {each.id: kits.get(each.id, {each.sku_id: 1}) for each in lines if each.sku_id is not None}
    skus = {sku_id for made_of in parts.values() for sku_id in made_of}
    opened = stock.open_book(connection, row.merchant_id, skus, line_ids=list(parts))
    reference = f"{row.order_id}/{row.reference}"
    for each in lines:
        left = counted = contents[each.id]
        if each.id in parts and opened.book.counts(parts[each.id]):
            claim = opened.claim(each, parts[each.id])
            missing = opened.book.ship(claim, left, reference, first=work.location_id)
            counted -= max((-(-short // parts[each.id][sku_id]) for sku_id, short in missing.items()), default=0)
        else:
            counted = 0
        # What the hub never counted was never taken out, now or when the channel tells of it.
        connection.execute(
            update(t.order_line)
            .where(line.merchant_id == row.merchant_id, line.id == each.id)
            .values(
                sent=t.GONE + left,
                shipped=line.shipped + counted,
                fulfilled_before=line.fulfilled_before + left - counted,
            )
        )
    opened.book.serve(reference)
    return stock.write_book(connection, row.merchant_id, opened.book, at=at, actor=actor)


def count_shipped(connection: Connection, work: Row[Any], contents: Mapping[UUID, int], at: datetime) -> None:
    """Units by order line have left: with the last of them the fulfillment order is shipped."""
    line = t.fulfillment_line.c
    here = (line.merchant_id == work.merchant_id, line.fulfillment_order_id == work.id)
    for line_id, left in contents.items():
        shipped = line.shipped + left
        connection.execute(
            update(t.fulfillment_line)
            .where(*here, line.order_line_id == line_id)
            # A parcel may leave although less was wanted by then: what has left has left.
            .values(shipped=shipped, quantity=case((shipped > line.quantity, shipped), else_=line.quantity))
        )
    left = connection.execute(select(func.sum(line.quantity - line.shipped)).where(*here)).scalar_one()
    if not left and work.state != State.SHIPPED:
        fulfillment.change(connection, work, State.SHIPPED, at=at, shipped_at=at)


# ---------------------------------------------------------------- telling the channel


def tell_the_channel(
    connection: Connection, row: Row[Any], work: Row[Any], contents: Mapping[UUID, int], at: datetime
) -> Lanes:
    """Plan the confirmation: exactly what is in the parcels, named as the channel names it."""
    order, line = t.sales_order.c, t.order_line.c
    earlier = left_before(connection, row)
    if earlier is not None and _will_be_confirmed(connection, earlier):
        return []  # the channel's id of the earlier one is named in this one: it is told when that is known
    told = connection.execute(
        select(order.external_id, order.connection_id).where(
            order.merchant_id == row.merchant_id, order.id == row.order_id
        )
    ).one()
    names = {
        each.id: each.external_id
        for each in connection.execute(
            select(line.id, line.external_id).where(line.merchant_id == row.merchant_id, line.id.in_(list(contents)))
        )
    }
    confirmation = ShipmentConfirmation(
        reference=row.reference,
        order_external_id=told.external_id,
        lines=tuple(
            ConfirmedLine(line_external_id=names[line_id], quantity=quantity) for line_id, quantity in contents.items()
        ),
        shipped_at=row.shipped_at or at,
        carrier=row.carrier,
        tracking_numbers=tuple(row.tracking_numbers),
        tracking_url=row.tracking_url,
        location_external_id=_place_at_channel(connection, row.merchant_id, told.connection_id, work.location_id),
        supersedes=earlier.channel_reference if earlier is not None else "",
    )
    return fulfillment.confirm(connection, row.merchant_id, told.connection_id, row.order_id, confirmation, at=at)


def _confirmation(merchant_id: UUID, reference: str) -> UUID:
    return effects.effect_key(merchant_id, "confirm_shipment", reference)


def _will_be_confirmed(connection: Connection, row: Row[Any]) -> bool:
    """Whether the channel is still to be told of a shipment, so that its id of it is not known yet."""
    this = t.effect.c
    state = connection.execute(
        select(this.state).where(
            this.merchant_id == row.merchant_id, this.effect_key == _confirmation(row.merchant_id, row.reference)
        )
    ).scalar_one_or_none()
    # None: it waits itself for one that went before.
    return not row.channel_reference and state in (None, "planned", "in_flight", "unknown")


def _place_at_channel(connection: Connection, merchant_id: UUID, connection_id: UUID, location_id: UUID) -> str:
    place = t.channel_location.c
    found = connection.execute(
        select(place.external_id)
        .where(
            place.merchant_id == merchant_id,
            place.connection_id == connection_id,
            place.location_id == location_id,
            place.active,
        )
        .order_by(place.external_id)
        .limit(1)
    ).scalar_one_or_none()
    return found or ""


def confirmed(connection: Connection, effect: Row[Any], result: EffectResult, at: datetime) -> Lanes:
    """The channel knows of the shipment: keep its id of it, which a later label of the same goods names."""
    this = t.shipment.c
    row = connection.execute(
        update(t.shipment)
        .where(this.merchant_id == effect.merchant_id, this.reference == effect.request.get("reference", ""))
        .values(channel_reference=result.reference[:200])
        .returning(t.shipment)
    ).one_or_none()
    return [] if row is None else _tell_of_later_ones(connection, row, at)


def not_confirmed(connection: Connection, effect: Row[Any], error: str, at: datetime) -> Lanes:
    """The channel will not hear of this one: a label that replaced it meanwhile is told by itself."""
    this = t.shipment.c
    row = connection.execute(
        select(t.shipment).where(
            this.merchant_id == effect.merchant_id, this.reference == effect.request.get("reference", "")
        )
    ).one_or_none()
    return [] if row is None else _tell_of_later_ones(connection, row, at)


def _tell_of_later_ones(connection: Connection, row: Row[Any], at: datetime) -> Lanes:
    this, told = t.shipment.c, t.effect.c
    lanes: Lanes = []
    for later in connection.execute(
        select(t.shipment).where(
            this.merchant_id == row.merchant_id, this.supersedes_id == row.id, this.shipped_at.is_not(None)
        )
    ).all():
        known = connection.execute(
            select(told.id).where(
                told.merchant_id == row.merchant_id, told.effect_key == _confirmation(row.merchant_id, later.reference)
            )
        ).first()
        if known is None:
            later, work = locked(connection, row.merchant_id, later.id)
            lanes += tell_the_channel(connection, later, work, units(connection, later), at)
    return lanes
