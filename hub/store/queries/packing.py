"""What is to be picked and packed: the list, one order on the table, and what the papers of the warehouse say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, func, select

from hub.core.customs import crosses_a_border
from hub.core.details import OrderDetails
from hub.core.model import Address
from hub.core.plain import from_plain
from hub.papers import Pick, Slip, SlipLine
from hub.store import packing, together
from hub.store import tables as t
from hub.store.database import in_chunks
from hub.store.fulfillment import State
from hub.store.queries import parts

# What lies before the packers: nothing that a 3PL or a carrier has.
HERE = (State.OPEN, State.PACKED, State.READY)


@dataclass(frozen=True, slots=True)
class ToDo:
    """One fulfillment order in the list of the bench."""

    id: UUID
    order_id: UUID
    order_number: str
    reference: str
    state: str
    location_name: str
    priority: int
    service: str
    ship_by: datetime | None
    created_at: datetime
    collect: bool
    units: int
    packed: int
    packer: str
    holds: tuple[str, ...]
    customer_name: str
    message: str


def to_do(
    connection: Connection,
    merchant_id: UUID,
    *,
    state: str = "",
    location_id: UUID | None = None,
    ids: Collection[UUID] | None = None,
    limit: int = 200,
) -> list[ToDo]:
    """Fulfillment orders of the merchant's own locations, the most urgent first."""
    work, order, place = t.fulfillment_order.c, t.sales_order.c, t.location.c
    query = (
        select(
            t.fulfillment_order,
            order.number.label("order_number"),
            order.promised_at,
            order.customer_name,
            place.name.label("location_name"),
        )
        .join(t.sales_order, parts.same(work.order_id, t.sales_order, t.fulfillment_order))
        .join(t.location, parts.same(work.location_id, t.location, t.fulfillment_order))
        .where(work.merchant_id == merchant_id, place.kind != "3pl")
        .order_by(
            work.priority,
            func.coalesce(work.ship_by, order.promised_at).is_(None),
            func.coalesce(work.ship_by, order.promised_at),
            work.created_at,
            work.id,
        )
        .limit(limit)
    )
    if ids is not None:
        query = query.where(work.id.in_(ids))
    else:
        query = query.where(work.closed_at.is_(None), work.state.in_([state] if state else list(HERE)))
    if location_id is not None:
        query = query.where(work.location_id == location_id)
    rows = connection.execute(query).all()
    units = _units(connection, merchant_id, [row.id for row in rows])
    packers = _packers(connection, merchant_id, [row.id for row in rows])
    holds = _holds(connection, merchant_id, {row.order_id for row in rows})
    return [
        ToDo(
            id=row.id,
            order_id=row.order_id,
            order_number=row.order_number,
            reference=row.reference,
            state=row.state,
            location_name=row.location_name,
            priority=row.priority,
            service=row.service,
            ship_by=row.ship_by or row.promised_at,
            created_at=row.created_at,
            collect=row.collect,
            units=units[row.id][0],
            packed=units[row.id][1],
            packer=packers.get(row.id, ""),
            holds=holds[row.order_id],
            customer_name=row.customer_name,
            message=row.message,
        )
        for row in rows
    ]


def _units(connection: Connection, merchant_id: UUID, ids: Sequence[UUID]) -> Mapping[UUID, tuple[int, int]]:
    line = t.fulfillment_line.c
    found: dict[UUID, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for row in connection.execute(
        select(line.fulfillment_order_id, func.sum(line.quantity), func.sum(line.packed))
        .where(line.merchant_id == merchant_id, line.fulfillment_order_id.in_(ids))
        .group_by(line.fulfillment_order_id)
    ):
        found[row[0]] = (int(row[1]), int(row[2]))
    return found


def _packers(connection: Connection, merchant_id: UUID, ids: Sequence[UUID]) -> dict[UUID, str]:
    this = t.packing.c
    rows = connection.execute(
        select(this.fulfillment_order_id, this.packer).where(
            this.merchant_id == merchant_id, this.fulfillment_order_id.in_(ids)
        )
    )
    return {row.fulfillment_order_id: row.packer for row in rows}


def _holds(connection: Connection, merchant_id: UUID, order_ids: Collection[UUID]) -> Mapping[UUID, tuple[str, ...]]:
    hold = t.order_hold.c
    found: dict[UUID, tuple[str, ...]] = defaultdict(tuple)
    for row in connection.execute(
        select(hold.order_id, hold.reason)
        .distinct()
        .where(hold.merchant_id == merchant_id, hold.order_id.in_(order_ids), hold.released_at.is_(None))
        .order_by(hold.reason)
    ):
        found[row.order_id] += (row.reason,)
    return found


# ---------------------------------------------------------------- on the table


@dataclass(frozen=True, slots=True)
class BenchLine:
    """One line of a fulfillment order as its packer sees it."""

    id: UUID
    order_number: str  # of another order that is packed along, else ""
    title: str
    image_url: str
    code: str
    barcode: str
    shelf: str
    quantity: int
    packed: int
    on_table: int
    left: int
    contents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BenchParcel:
    """One parcel on the table. ``estimate`` is what it weighs by the weights of its listings, where all are known."""

    number: int
    units: int
    box_id: UUID | None
    weight_grams: int | None
    estimate: int | None
    suggested: packing.Box | None


@dataclass(frozen=True, slots=True)
class ScanView:
    """One scan as it is shown beneath the field."""

    code: str
    outcome: str
    said: str
    packer: str
    at: datetime
    undone: bool

    @property
    def good(self) -> bool:
        return packing.Outcome(self.outcome).good


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchView:
    """One fulfillment order on the table."""

    work: ToDo
    ship_to: Address
    note: str
    gift_message: str
    lines: tuple[BenchLine, ...]
    parcels: tuple[BenchParcel, ...]
    parcel: int  # scans go into this one
    packer: str
    packing_since: datetime | None
    scans: tuple[ScanView, ...]
    others: tuple[ToDo, ...]  # of the same order and location, that could be packed along with it
    lead: ToDo | None  # on whose table it is packed, where that is not its own
    along: tuple[ToDo, ...]  # of other orders, packed together with it
    fitting: tuple[ToDo, ...]  # of the customer's other orders to this address, that could be

    @property
    def units(self) -> int:
        return sum(line.quantity for line in self.lines)

    @property
    def packed(self) -> int:
        return sum(line.packed for line in self.lines)

    @property
    def complete(self) -> bool:
        return not any(line.left for line in self.lines)


def bench(connection: Connection, merchant_id: UUID, fulfillment_order_id: UUID) -> BenchView | None:
    """A fulfillment order with what is packed of it, None if there is none."""
    work, order = t.fulfillment_order.c, t.sales_order.c
    row = connection.execute(
        select(
            t.fulfillment_order,
            t.SHIP_TO.label("ship_to"),
            order.note,
            order.details,
        )
        .join(t.sales_order, parts.same(work.order_id, t.sales_order, t.fulfillment_order))
        .where(work.merchant_id == merchant_id, work.id == fulfillment_order_id)
    ).one_or_none()
    head = to_do(connection, merchant_id, ids=[fulfillment_order_id])
    if row is None or not head:
        return None
    table = connection.execute(
        select(t.packing).where(
            t.packing.c.merchant_id == merchant_id, t.packing.c.fulfillment_order_id == fulfillment_order_id
        )
    ).one_or_none()
    lines = packing.on_whole_table(connection, row)
    lead_id = together.lead_of(connection, merchant_id, row.id)
    along = [each.id for each in together.members(connection, merchant_id, row.id) if each.id != row.id]
    # Offered until the first scan: looking for them takes longer than a packer should wait after each.
    leads = row.state == State.OPEN and lead_id in (None, row.id) and not any(line.on_table for line in lines)
    fitting = together.fitting(connection, row) if leads else []
    siblings = connection.execute(
        select(work.id).where(
            work.merchant_id == merchant_id,
            work.order_id == row.order_id,
            work.location_id == row.location_id,
            work.collect == row.collect,
            work.state == State.OPEN.value,
            work.id != row.id,
        )
    ).scalars()
    return BenchView(
        work=head[0],
        ship_to=from_plain(Address, row.ship_to),
        note=row.note,
        gift_message=gift_message(row.details),
        lines=_bench_lines(connection, row, lines),
        parcels=_bench_parcels(connection, row, lines, table.parcel if table else 1),
        parcel=table.parcel if table else 1,
        packer=table.packer if table else "",
        packing_since=table.began_at if table else None,
        scans=_scans(connection, row),
        others=tuple(to_do(connection, merchant_id, ids=list(siblings))),
        lead=next(iter(to_do(connection, merchant_id, ids=[lead_id])), None) if lead_id not in (None, row.id) else None,
        along=tuple(to_do(connection, merchant_id, ids=along)) if along else (),
        fitting=tuple(to_do(connection, merchant_id, ids=fitting)) if fitting else (),
    )


def gift_message(details: Mapping[str, Any]) -> str:
    """What the customer had written for somebody else: attributes whose name speaks of a gift."""
    said = from_plain(OrderDetails, details).attributes
    return "\n".join(text for name, text in said.items() if "gift" in name.casefold() and text.strip())


def _bench_lines(connection: Connection, row: Row[Any], lines: Collection[packing.TableLine]) -> tuple[BenchLine, ...]:
    listed = _listed(connection, row.merchant_id, [line.sku_id for line in lines if line.sku_id])
    codes = _codes(connection, row.merchant_id, lines)
    shelves = _shelves(connection, row.merchant_id, row.location_id, codes)
    work, order = t.fulfillment_order.c, t.sales_order.c
    foreign = {line.fulfillment_order_id for line in lines} - {row.id}
    numbers = dict(
        connection.execute(
            select(work.id, order.number)
            .join(t.sales_order, parts.same(work.order_id, t.sales_order, t.fulfillment_order))
            .where(work.merchant_id == row.merchant_id, work.id.in_(foreign))
        ).all()
        if foreign
        else ()
    )
    return tuple(
        BenchLine(
            id=line.id,
            order_number=numbers.get(line.fulfillment_order_id, ""),
            title=line.title,
            image_url=listed[line.sku_id].image_url if line.sku_id in listed else "",
            code=codes[line.sku_id] if line.sku_id else line.sku_text,
            barcode=listed[line.sku_id].barcode if line.sku_id in listed else "",
            shelf=" ".join(filter(None, shelves.get(line.sku_id, ("", "")))) if line.sku_id else "",
            quantity=line.quantity,
            packed=line.in_shipments + line.on_table,
            on_table=line.on_table,
            left=line.left,
            contents=tuple(f"{units} × {codes[sku_id]}" for sku_id, units in sorted(line.parts.items())),
        )
        for line in lines
    )


def _listed(connection: Connection, merchant_id: UUID, sku_ids: Sequence[UUID]) -> dict[UUID, parts.AnyRow]:
    """Of each SKU what its listings tell: a picture, a barcode, a weight, the best of all of them."""
    listing = t.listing.c
    rows = connection.execute(
        select(
            listing.sku_id,
            func.max(listing.image_url).label("image_url"),
            func.max(listing.barcode).label("barcode"),
            func.max(listing.weight_grams).label("weight_grams"),
        )
        .where(listing.merchant_id == merchant_id, listing.sku_id.in_(sku_ids))
        .group_by(listing.sku_id)
    )
    return {row.sku_id: row for row in rows}


def _codes(connection: Connection, merchant_id: UUID, lines: Collection[packing.TableLine]) -> dict[UUID, str]:
    skus = {line.sku_id for line in lines if line.sku_id} | {sku_id for line in lines for sku_id in line.parts}
    sku = t.sku.c
    return {
        row.id: row.code
        for row in connection.execute(select(sku.id, sku.code).where(sku.merchant_id == merchant_id, sku.id.in_(skus)))
    }


def _shelves(
    connection: Connection, merchant_id: UUID, location_id: UUID, sku_ids: Collection[UUID]
) -> dict[UUID, tuple[str, str]]:
    this = t.shelf.c
    found: dict[UUID, tuple[str, str]] = {}
    for some in in_chunks(sku_ids):
        for row in connection.execute(
            select(this.sku_id, this.zone, this.name).where(
                this.merchant_id == merchant_id, this.location_id == location_id, this.sku_id.in_(some)
            )
        ):
            found[row.sku_id] = (row.zone, row.name)
    return found


def _bench_parcels(
    connection: Connection, row: Row[Any], lines: Collection[packing.TableLine], current: int
) -> tuple[BenchParcel, ...]:
    this = t.packing_parcel.c
    known = {
        each.number: each
        for each in connection.execute(
            select(t.packing_parcel).where(this.merchant_id == row.merchant_id, this.fulfillment_order_id == row.id)
        )
    }
    listed = _listed(
        connection,
        row.merchant_id,
        list({line.sku_id for line in lines if line.sku_id} | {part for line in lines for part in line.parts}),
    )
    choice = packing.boxes(connection, row.merchant_id)
    numbers = sorted({number for line in lines for number in line.by_parcel} | {current})
    found = []
    for number in numbers:
        inside = [(line, units) for line in lines if (units := line.by_parcel.get(number, 0))]
        weights = [(_weight(line, listed), units) for line, units in inside]
        net = sum((each or 0) * units for each, units in weights) if all(each for each, _ in weights) else 0
        fitting = packing.suggested(choice, net)
        box_id = known[number].box_id if number in known else None
        box = next((each for each in choice if each.id == box_id), fitting)
        found.append(
            BenchParcel(
                number=number,
                units=sum(units for _, units in inside),
                box_id=box_id,
                weight_grams=known[number].weight_grams if number in known else None,
                estimate=net + (box.empty_grams if box else 0) if net else None,
                suggested=fitting,
            )
        )
    return tuple(found)


def _weight(line: packing.TableLine, listed: Mapping[UUID, parts.AnyRow]) -> int | None:
    """What a unit of a line weighs: as its listing says, or for a kit the sum of its parts."""
    own = listed.get(line.sku_id) if line.sku_id else None
    if own is not None and own.weight_grams:
        return int(own.weight_grams)
    weights = [
        listed[sku_id].weight_grams * units
        for sku_id, units in line.parts.items()
        if sku_id in listed and listed[sku_id].weight_grams
    ]
    return sum(weights) if weights and len(weights) == len(line.parts) else None


def _scans(connection: Connection, row: Row[Any]) -> tuple[ScanView, ...]:
    this = t.packing_scan.c
    rows = connection.execute(
        select(t.packing_scan)
        .where(this.merchant_id == row.merchant_id, this.fulfillment_order_id == row.id, this.shipment_id.is_(None))
        .order_by(this.number.desc())
        .limit(8)
    )
    return tuple(
        ScanView(each.code, each.outcome, each.said, each.packer, each.at, each.undone_at is not None) for each in rows
    )


# ---------------------------------------------------------------- papers


def picks(
    connection: Connection, merchant_id: UUID, fulfillment_order_ids: Collection[UUID], *, zone: str | None = None
) -> list[Pick]:
    """What is still to be taken off the shelves for these fulfillment orders, in the order of the shelves: one line per
    SKU, a kit as its parts. ``zone`` leaves out all others."""
    work = t.fulfillment_order.c
    wanted: dict[tuple[UUID, UUID], dict[str, int]] = {}
    loose: list[Pick] = []
    rows = connection.execute(
        select(t.fulfillment_order)
        .where(work.merchant_id == merchant_id, work.id.in_(fulfillment_order_ids), work.state == State.OPEN.value)
        .order_by(work.priority, work.created_at, work.id)
    ).all()
    for row in rows:
        for line in packing.on_table(connection, row):
            if line.left <= 0:
                continue
            made_of = line.parts or ({line.sku_id: 1} if line.sku_id else {})
            for sku_id, each in made_of.items():
                of_sku = wanted.setdefault((sku_id, row.location_id), {})
                of_sku[row.reference] = of_sku.get(row.reference, 0) + line.left * each
            if not made_of and not zone:
                loose.append(
                    Pick(
                        zone="",
                        shelf="",
                        code=line.sku_text,
                        title=line.title,
                        quantity=line.left,
                        wanted_by=((row.reference, line.left),),
                    )
                )
    sku, shelf = t.sku.c, t.shelf.c
    named = {
        each.id: each
        for some in in_chunks({sku_id for sku_id, _ in wanted})
        for each in connection.execute(
            select(sku.id, sku.code, sku.title).where(sku.merchant_id == merchant_id, sku.id.in_(some))
        )
    }
    shelves = {
        (each.sku_id, each.location_id): (each.zone, each.name)
        for some in in_chunks({sku_id for sku_id, _ in wanted})
        for each in connection.execute(select(t.shelf).where(shelf.merchant_id == merchant_id, shelf.sku_id.in_(some)))
    }
    found = [
        Pick(
            zone=shelves.get(key, ("", ""))[0],
            shelf=shelves.get(key, ("", ""))[1],
            code=named[key[0]].code,
            title=named[key[0]].title,
            quantity=sum(by.values()),
            wanted_by=tuple(by.items()),
        )
        for key, by in wanted.items()
    ]
    walk = sorted([*found, *loose], key=lambda each: (not each.zone, each.zone, not each.shelf, each.shelf, each.code))
    return [each for each in walk if zone is None or each.zone == zone]


def slips(connection: Connection, merchant_id: UUID, fulfillment_order_ids: Sequence[UUID]) -> list[Slip]:
    """The packing slips of these fulfillment orders, in the order that was asked for."""
    work, order, place = t.fulfillment_order.c, t.sales_order.c, t.location.c
    name = connection.execute(select(t.merchant.c.name).where(t.merchant.c.id == merchant_id)).scalar_one()
    found: dict[UUID, Slip] = {}
    for row in connection.execute(
        select(
            t.fulfillment_order,
            order.number.label("order_number"),
            order.placed_at,
            order.note,
            order.details,
            order.shipping_method,
            t.SHIP_TO.label("ship_to"),
            place.name.label("place"),
        )
        .join(t.sales_order, parts.same(work.order_id, t.sales_order, t.fulfillment_order))
        .join(t.location, parts.same(work.location_id, t.location, t.fulfillment_order))
        .where(work.merchant_id == merchant_id, work.id.in_(fulfillment_order_ids))
    ).all():
        lines = packing.on_table(connection, row)
        codes = _codes(connection, merchant_id, lines)
        found[row.id] = Slip(
            merchant=name,
            order_number=row.order_number,
            reference=row.reference,
            placed_on=row.placed_at.date() if row.placed_at else None,
            ship_to=from_plain(Address, row.ship_to),
            lines=tuple(
                SlipLine(
                    code=codes[line.sku_id] if line.sku_id else line.sku_text,
                    title=line.title,
                    quantity=line.quantity,
                    contents=tuple(f"{units} × {codes[sku_id]}" for sku_id, units in sorted(line.parts.items())),
                )
                for line in lines
            ),
            place=row.place,
            service=row.service or row.shipping_method,
            gift_message=gift_message(row.details),
            note=row.note,
            collect=row.collect,
        )
    return [found[each] for each in fulfillment_order_ids if each in found]


def goes_abroad(connection: Connection, merchant_id: UUID, shipment_id: UUID) -> bool:
    """Whether a shipment crosses a border, and has customs papers."""
    sent, work, order, place = t.shipment.c, t.fulfillment_order.c, t.sales_order.c, t.location.c
    row = connection.execute(
        select(place.address, t.SHIP_TO.label("ship_to"))
        .select_from(
            t.shipment.join(
                t.fulfillment_order, (work.merchant_id == sent.merchant_id) & (work.id == sent.fulfillment_order_id)
            )
            .join(t.sales_order, (order.merchant_id == work.merchant_id) & (order.id == work.order_id))
            .join(t.location, (place.merchant_id == work.merchant_id) & (place.id == work.location_id))
        )
        .where(sent.merchant_id == merchant_id, sent.id == shipment_id)
    ).one_or_none()
    if row is None:
        return False
    here, there = from_plain(Address, row.address), from_plain(Address, row.ship_to)
    return bool(here.country and there.country) and crosses_a_border(here, there)


@dataclass(frozen=True, slots=True)
class ShelfView:
    """Where a SKU lies at a location; empty texts where nobody has said."""

    sku_id: UUID
    code: str
    title: str
    zone: str
    name: str


def shelves(
    connection: Connection, merchant_id: UUID, location_id: UUID, text: str, *, limit: int = 100
) -> list[ShelfView]:
    """SKUs that the location has, with their shelves, in the order of their codes."""
    sku, level, this = t.sku.c, t.stock_level.c, t.shelf.c
    query = (
        select(sku.id, sku.code, sku.title, this.zone, this.name)
        .join(t.stock_level, (level.merchant_id == sku.merchant_id) & (level.sku_id == sku.id))
        .outerjoin(
            t.shelf,
            (this.merchant_id == sku.merchant_id) & (this.sku_id == sku.id) & (this.location_id == location_id),
        )
        .where(sku.merchant_id == merchant_id, level.location_id == location_id)
        .order_by(sku.code, sku.id)
        .limit(limit)
    )
    if text:
        query = query.where(parts.contains(sku.code, text) | parts.contains(sku.title, text))
    return [ShelfView(row.id, row.code, row.title, row.zone or "", row.name or "") for row in connection.execute(query)]
