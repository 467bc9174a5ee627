"""Shipments: goods that leave in one go, from the packed parcels to the moment they have left and the channel is told.

What a label costs, and giving it back, is ``labels``; where the parcels are on their way is ``tracking``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, case, func, insert, select, union, update

from hub import access
from hub.access import Permission
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

    Parcels may hold lines of the orders that are packed together with it. Carriers are asked for their rates, unless
    the customer fetches it: ring the lane "ship" of the order's connection. Raises BadInput for parcels that hold
    nothing, weigh nothing, or hold more than is to be shipped; Conflict for an order that was taken out of them.
    """
    if not parcels or any(not each.units or min(each.units.values()) < 1 for each in parcels):
        raise BadInput("Every parcel needs something in it. Pack at least one unit into each, or remove it.")
    if any(each.weight_grams < 1 for each in parcels):
        raise BadInput("Every parcel needs its weight.", {"weight": ["Weigh the parcel, with everything in it."]})
    packed = _by_work(connection, fulfillment_order, parcels)
    for work, units_packed in packed:
        _refuse_too_much(connection, work, units_packed, supersedes, is_return)
    shipment_id = new_id()
    connection.execute(
        insert(t.shipment).values(
            merchant_id=merchant_id,
            id=shipment_id,
            order_id=fulfillment_order.order_id,
            fulfillment_order_id=fulfillment_order.id,
            reference=_next_reference(connection, fulfillment_order),
            state="draft",
            is_return=is_return,
            supersedes_id=supersedes,
            rates_wanted_at=None if fulfillment_order.collect and not is_return else at,
            created_at=at,
        )
    )
    along = [
        {
            "merchant_id": merchant_id,
            "shipment_id": shipment_id,
            "fulfillment_order_id": work.id,
            "order_id": work.order_id,
            "reference": _next_reference(connection, work),
        }
        for work, _ in packed
        if work.id != fulfillment_order.id
    ]
    if along:
        connection.execute(insert(t.shipment_companion), along)
    _keep_parcels(connection, merchant_id, shipment_id, parcels)
    return shipment_id


def _next_reference(connection: Connection, work: Row[Any]) -> str:
    """What the next shipment of a locked fulfillment order is called, also one that leads and carries it along."""
    own, along = t.shipment.c, t.shipment_companion.c
    count = sum(
        connection.execute(
            select(func.count()).where(this.merchant_id == work.merchant_id, this.fulfillment_order_id == work.id)
        ).scalar_one()
        for this in (own, along)
    )
    return f"{work.reference}-{count + 1}"


def _by_work(
    connection: Connection, lead: Row[Any], parcels: Sequence[ParcelDraft]
) -> list[tuple[Row[Any], Counter[UUID]]]:
    """What is in the parcels, by fulfillment order: the leading one, and those that are packed together with it."""
    line, this, work = t.order_line.c, t.packed_together.c, t.fulfillment_order.c
    every = sum((Counter(each.units) for each in parcels), Counter[UUID]())
    by_order: dict[UUID, Counter[UUID]] = {}
    for row in connection.execute(
        select(line.id, line.order_id).where(line.merchant_id == lead.merchant_id, line.id.in_(list(every)))
    ):
        by_order.setdefault(row.order_id, Counter())[row.id] = every[row.id]
    found = [(lead, by_order.pop(lead.order_id, Counter()))]
    for order_id, inside in sorted(by_order.items()):
        along = connection.execute(
            for_update(
                connection,
                select(t.fulfillment_order)
                .join(
                    t.packed_together,
                    (this.merchant_id == work.merchant_id) & (this.fulfillment_order_id == work.id),
                )
                .where(
                    this.merchant_id == lead.merchant_id,
                    this.lead_id == lead.id,
                    this.order_id == order_id,
                    this.left_at.is_(None),
                ),
            )
        ).one_or_none()
        if along is None:
            raise Conflict(f"An order was taken out of the parcels of {lead.reference} meanwhile. Pack them again.")
        found.append((along, inside))
    return found


def _refuse_too_much(
    connection: Connection, work: Row[Any], units: Counter[UUID], supersedes: UUID | None, is_return: bool
) -> None:
    line = t.fulfillment_line.c
    asked = {
        row.order_line_id: row.quantity
        for row in connection.execute(
            select(line.order_line_id, line.quantity).where(
                line.merchant_id == work.merchant_id, line.fulfillment_order_id == work.id
            )
        )
    }
    wanted = t.shipment.c.is_return.is_(is_return)
    packed = units_packed(connection, [work], wanted, *([t.shipment.c.id != supersedes] if supersedes else []))
    if any(count + packed.get(line_id, 0) > asked.get(line_id, 0) for line_id, count in units.items()):
        raise BadInput("There is more in the parcels than is to be shipped. Reload the page, and count again.")


def units_packed(connection: Connection, works: Sequence[Row[Any]], *which: ColumnElement[bool]) -> dict[UUID, int]:
    """Units by order line of fulfillment orders, each of another order, that are in parcels of these shipments: their
    own and those they go along with, unless they were given up."""
    if not works:
        return {}
    merchant_id, ids = works[0].merchant_id, [work.id for work in works]
    box, inside, sent, along, line, work = (
        each.c
        for each in (t.parcel, t.parcel_line, t.shipment, t.shipment_companion, t.order_line, t.fulfillment_order)
    )
    holding = union(
        select(sent.id.label("shipment_id"), sent.fulfillment_order_id.label("work_id")).where(
            sent.merchant_id == merchant_id, sent.fulfillment_order_id.in_(ids)
        ),
        select(along.shipment_id, along.fulfillment_order_id).where(
            along.merchant_id == merchant_id, along.fulfillment_order_id.in_(ids)
        ),
    ).subquery()
    rows = connection.execute(
        select(inside.order_line_id, func.sum(inside.quantity))
        .select_from(
            holding.join(t.shipment, (sent.merchant_id == merchant_id) & (sent.id == holding.c.shipment_id))
            .join(t.fulfillment_order, (work.merchant_id == merchant_id) & (work.id == holding.c.work_id))
            .join(t.parcel, (box.merchant_id == sent.merchant_id) & (box.shipment_id == sent.id))
            .join(t.parcel_line, (inside.merchant_id == box.merchant_id) & (inside.parcel_id == box.id))
            .join(t.order_line, (line.merchant_id == inside.merchant_id) & (line.id == inside.order_line_id))
        )
        .where(
            line.order_id == work.order_id,
            sent.state.not_in(("void", "failed")),
            sent.withdrawn_at.is_(None),
            *which,
        )
        .group_by(inside.order_line_id)
    )
    return {line_id: int(units) for line_id, units in rows}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What a shipment holds of one order: its fulfillment order, the reference under which the channel is told, and
    the channel's own."""

    work: Row[Any]
    reference: str
    channel_reference: str
    units: Mapping[UUID, int]


def shares(connection: Connection, row: Row[Any], work: Row[Any]) -> list[Share]:
    """What a locked shipment holds, by order: that of the leading one first."""
    along, other, line = t.shipment_companion.c, t.fulfillment_order.c, t.order_line.c
    contents = units(connection, row)
    companions = connection.execute(
        select(t.shipment_companion)
        .where(along.merchant_id == row.merchant_id, along.shipment_id == row.id)
        .order_by(along.fulfillment_order_id)
    ).all()
    if not companions:
        return [own_share(row, work, contents)]
    orders = dict(
        connection.execute(
            select(line.id, line.order_id).where(line.merchant_id == row.merchant_id, line.id.in_(list(contents)))
        ).all()
    )
    works = {
        each.id: each
        for each in connection.execute(
            for_update(
                connection,
                select(t.fulfillment_order)
                .where(
                    other.merchant_id == row.merchant_id,
                    other.id.in_([each.fulfillment_order_id for each in companions]),
                )
                .order_by(other.id),
            )
        )
    }

    def of(order_id: UUID) -> dict[UUID, int]:
        return {line_id: count for line_id, count in contents.items() if orders[line_id] == order_id}

    return [
        own_share(row, work, of(row.order_id)),
        *(
            Share(
                work=works[each.fulfillment_order_id],
                reference=each.reference,
                channel_reference=each.channel_reference,
                units=of(each.order_id),
            )
            for each in companions
        ),
    ]


def own_share(row: Row[Any], work: Row[Any], contents: Mapping[UUID, int]) -> Share:
    """What a shipment holds of the order whose it is."""
    return Share(work=work, reference=row.reference, channel_reference=row.channel_reference, units=contents)


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


@access.needs(Permission.PACK)
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
    """Raise Conflict when a locked shipment must not go on towards the customer, for one of the orders in it.

    What comes back from the customer, and what has left already and only gets another label, may in any case.
    """
    if not row.is_return and left_before(connection, row) is None:
        for share in shares(connection, row, work):
            fulfillment.gate(connection, row.merchant_id, share.work.id)


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
    held = shares(connection, row, work)
    note(connection, row, held, "shipped", f"Shipment {row.reference} {what}", at=at, actor=actor)
    if row.is_return:
        return []
    touched: set[UUID] = set()
    if left_before(connection, row) is None:
        touched = _take_out(connection, row.merchant_id, held, at, actor)
        for share in held:
            count_shipped(connection, share.work, share.units, at)
    lanes: Lanes = [(connection_id, "publish") for connection_id in sorted(touched)]
    for share in held:
        lanes += tell_the_channel(connection, row, share, at)
    return lanes


def note(
    connection: Connection,
    row: Row[Any],
    held: Sequence[Share],
    kind: str,
    summary: str,
    *,
    at: datetime,
    actor: str = "",
) -> None:
    """A line about a shipment on the timeline of each order in it."""
    for share in held:
        fulfillment.note(connection, share.work, kind, summary, at=at, actor=actor, shipment=str(row.id))


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


def _take_out(connection: Connection, merchant_id: UUID, held: Sequence[Share], at: datetime, actor: str) -> set[UUID]:
    """Take what is in a shipment out of stock, in one book, so that its SKUs are locked in one sequence."""
    line, order = t.order_line.c, t.sales_order.c
    contents = {line_id: count for share in held for line_id, count in share.units.items()}
    references = {share.work.order_id: f"{share.work.order_id}/{share.reference}" for share in held}
    location_id = held[0].work.location_id
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
        .where(line.merchant_id == merchant_id, line.id.in_(list(contents)))
        .order_by(line.id)
    ).all()
    kits = stock.kit_parts(connection, merchant_id, [each.id for each in lines])
    parts = {each.id: kits.get(each.id, {each.sku_id: 1}) for each in lines if each.sku_id is not None}
    skus = {sku_id for made_of in parts.values() for sku_id in made_of}
    opened = stock.open_book(connection, merchant_id, skus, line_ids=list(parts))
    for each in lines:
        left = counted = contents[each.id]
        if each.id in parts and opened.book.counts(parts[each.id]):
            claim = opened.claim(each, parts[each.id])
            missing = opened.book.ship(claim, left, references[each.order_id], first=location_id)
            counted -= max((-(-short // parts[each.id][sku_id]) for sku_id, short in missing.items()), default=0)
        else:
            counted = 0
        # What the hub never counted was never taken out, now or when the channel tells of it.
        connection.execute(
            update(t.order_line)
            .where(line.merchant_id == merchant_id, line.id == each.id)
            .values(
                sent=t.GONE + left,
                shipped=line.shipped + counted,
                fulfilled_before=line.fulfilled_before + left - counted,
            )
        )
    opened.book.serve(references[held[0].work.order_id])
    return stock.write_book(connection, merchant_id, opened.book, at=at, actor=actor)


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


def tell_the_channel(connection: Connection, row: Row[Any], share: Share, at: datetime) -> Lanes:
    """Plan the confirmation of what a shipment holds of one order: exactly its lines, named as its channel names
    them."""
    order, line = t.sales_order.c, t.order_line.c
    before = left_before(connection, row)
    earlier = _share_of(connection, before, share.work.id) if before is not None else None
    if earlier is not None and _will_be_confirmed(connection, row.merchant_id, earlier):
        return []  # the channel's id of the earlier one is named in this one: it is told when that is known
    work, contents = share.work, share.units
    told = connection.execute(
        select(order.external_id, order.connection_id).where(
            order.merchant_id == row.merchant_id, order.id == work.order_id
        )
    ).one()
    names = {
        each.id: each.external_id
        for each in connection.execute(
            select(line.id, line.external_id).where(line.merchant_id == row.merchant_id, line.id.in_(list(contents)))
        )
    }
    confirmation = ShipmentConfirmation(
        reference=share.reference,
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
    return fulfillment.confirm(connection, row.merchant_id, told.connection_id, work.order_id, confirmation, at=at)


def _share_of(connection: Connection, row: Row[Any], work_id: UUID) -> Row[str, str] | None:
    """Under which references a channel knows (reference, channel_reference) what a shipment holds of this fulfillment
    order; None: it holds nothing of it."""
    own, along = t.shipment.c, t.shipment_companion.c
    return connection.execute(
        select(own.reference, own.channel_reference)
        .where(own.merchant_id == row.merchant_id, own.id == row.id, own.fulfillment_order_id == work_id)
        .union_all(
            select(along.reference, along.channel_reference).where(
                along.merchant_id == row.merchant_id, along.shipment_id == row.id, along.fulfillment_order_id == work_id
            )
        )
    ).one_or_none()


def _confirmation(merchant_id: UUID, reference: str) -> UUID:
    return effects.effect_key(merchant_id, "confirm_shipment", reference)


def _will_be_confirmed(connection: Connection, merchant_id: UUID, known: Row[str, str]) -> bool:
    """Whether the channel is still to be told of a shipment, so that its id of it is not known yet."""
    this = t.effect.c
    state = connection.execute(
        select(this.state).where(
            this.merchant_id == merchant_id, this.effect_key == _confirmation(merchant_id, known.reference)
        )
    ).scalar_one_or_none()
    # None: it waits itself for one that went before.
    return not known.channel_reference and state in (None, "planned", "in_flight", "unknown")


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
    for table in (t.shipment, t.shipment_companion):
        connection.execute(
            update(table)
            .where(table.c.merchant_id == effect.merchant_id, table.c.reference == effect.request.get("reference", ""))
            .values(channel_reference=result.reference[:200])
        )
    return _tell_of_later_ones(connection, effect, at)


def not_confirmed(connection: Connection, effect: Row[Any], error: str, at: datetime) -> Lanes:
    """The channel will not hear of this one: a label that replaced it meanwhile is told by itself."""
    return _tell_of_later_ones(connection, effect, at)


def _tell_of_later_ones(connection: Connection, effect: Row[Any], at: datetime) -> Lanes:
    """Tell the channel of labels that replaced the one of this confirmation, and waited for it."""
    this, along, told, merchant_id = t.shipment.c, t.shipment_companion.c, t.effect.c, effect.merchant_id
    reference = effect.request.get("reference", "")
    about = connection.execute(
        select(this.id, this.fulfillment_order_id)
        .where(this.merchant_id == merchant_id, this.reference == reference)
        .union_all(
            select(along.shipment_id, along.fulfillment_order_id).where(
                along.merchant_id == merchant_id, along.reference == reference
            )
        )
    ).one_or_none()
    if about is None:
        return []
    lanes: Lanes = []
    for later_id in (
        connection.execute(
            select(this.id).where(
                this.merchant_id == merchant_id, this.supersedes_id == about.id, this.shipped_at.is_not(None)
            )
        )
        .scalars()
        .all()
    ):
        later, work = locked(connection, merchant_id, later_id)
        for share in shares(connection, later, work):
            known = connection.execute(
                select(told.id).where(
                    told.merchant_id == merchant_id, told.effect_key == _confirmation(merchant_id, share.reference)
                )
            ).first()
            if share.work.id == about.fulfillment_order_id and known is None:
                lanes += tell_the_channel(connection, later, share, at)
    return lanes
