"""What is to be picked and packed: the list, one order on the table, and what the papers of the warehouse say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, and_, exists, func, literal, or_, select

from hub.core.customs import crosses_a_border
from hub.core.details import OrderDetails
from hub.core.model import Address
from hub.core.plain import from_plain
from hub.papers import Pick, Slip, SlipLine
from hub.store import packing, searching, together
from hub.store import tables as t
from hub.store.database import in_chunks
from hub.store.fulfillment import State
from hub.store.queries import parts

# What lies before the packers: nothing that a 3PL or a carrier has.
HERE = (State.OPEN, State.PACKED, State.READY)


_WORK = t.fulfillment_order.c
_IS_HELD = (
    exists()
    .where(
        t.order_hold.c.merchant_id == _WORK.merchant_id,
        t.order_hold.c.order_id == _WORK.order_id,
        t.order_hold.c.released_at.is_(None),
    )
    .correlate(t.fulfillment_order)
)
_ON_A_TABLE = and_(t.packing.c.merchant_id == _WORK.merchant_id, t.packing.c.fulfillment_order_id == _WORK.id)
_IS_BEGUN = exists().where(_ON_A_TABLE).correlate(t.fulfillment_order)

# The steps a fulfillment order takes here, and what keeps it from them.
STEPS: Mapping[str, ColumnElement[bool]] = {
    "to_pick": and_(_WORK.state == State.OPEN.value, ~_IS_BEGUN, ~_IS_HELD),
    "to_pack": and_(_WORK.state == State.OPEN.value, _IS_BEGUN, ~_IS_HELD),
    "to_collect": and_(_WORK.state == State.READY.value, ~_IS_HELD),
    "held": _IS_HELD,
}
MOST_COUNTED = 1000  # of one step: beyond that nobody wants to know how many exactly


def counts(connection: Connection, merchant_id: UUID) -> dict[str, int]:
    """How many fulfillment orders are at each step, MOST_COUNTED where there are more."""
    place = t.location.c
    here = (
        select(literal(1).label("one"))
        .select_from(
            t.fulfillment_order.join(t.location, parts.same(_WORK.location_id, t.location, t.fulfillment_order))
        )
        .where(
            _WORK.merchant_id == merchant_id,
            _WORK.closed_at.is_(None),
            _WORK.state.in_([state.value for state in HERE]),
            place.kind != "3pl",
        )
        .limit(MOST_COUNTED)
    )
    row = connection.execute(
        select(
            *(
                select(func.count()).select_from(here.where(which).subquery()).scalar_subquery().label(step)
                for step, which in STEPS.items()
            )
        )
    ).one()
    return dict(zip(STEPS, row, strict=True))


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
    step: str = "",
    location_id: UUID | None = None,
    ship_by: datetime | None = None,
    text: str = "",
    ids: Collection[UUID] | None = None,
    limit: int = 200,
) -> list[ToDo]:
    """Fulfillment orders of the merchant's own locations, the most urgent first; ``step`` is one of STEPS, ``ship_by``
    when they have to leave at the latest, ``text`` what the order's number or the reference begins with."""
    work, order, place, line = t.fulfillment_order.c, t.sales_order.c, t.location.c, t.fulfillment_line.c
    query = (
        select(
            t.fulfillment_order,
            order.number.label("order_number"),
            order.promised_at,
            order.customer_name,
            place.name.label("location_name"),
            func.coalesce(t.packing.c.packer, "").label("packer"),
            *(
                select(func.coalesce(func.sum(each), 0))
                .where(line.merchant_id == work.merchant_id, line.fulfillment_order_id == work.id)
                .scalar_subquery()
                .label(name)
                for name, each in (("units", line.quantity), ("units_packed", line.packed))
            ),
        )
        .join(t.sales_order, parts.same(work.order_id, t.sales_order, t.fulfillment_order))
        .join(t.location, parts.same(work.location_id, t.location, t.fulfillment_order))
        .outerjoin(t.packing, _ON_A_TABLE)
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
    if step:
        query = query.where(STEPS[step])
    if location_id is not None:
        query = query.where(work.location_id == location_id)
    if ship_by is not None:
        query = query.where(func.coalesce(work.ship_by, order.promised_at) <= ship_by)
    if text:
        begins = (each.istartswith(text, autoescape=True) for each in (order.number, work.reference))
        query = query.where(or_(*begins))
    rows = connection.execute(query).all()
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
            units=int(row.units),
            packed=int(row.units_packed),
            packer=row.packer,
            holds=holds[row.order_id],
            customer_name=row.customer_name,
            message=row.message,
        )
        for row in rows
    ]


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
    picture: str  # where our pages find it
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
    boxes: tuple[packing.Box, ...]  # all there are to choose from
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
    work, order, table = t.fulfillment_order.c, t.sales_order.c, t.packing.c
    this = select(work.order_id).where(work.merchant_id == merchant_id, work.id == fulfillment_order_id)
    of_order = connection.execute(
        select(
            t.fulfillment_order,
            t.SHIP_TO.label("ship_to"),
            order.note,
            order.details,
            order.email,
            order.customer_name,
            table.packer,
            table.began_at,
            table.parcel,
            together.lead().label("lead_id"),
        )
        .join(t.sales_order, parts.same(work.order_id, t.sales_order, t.fulfillment_order))
        .outerjoin(t.packing, _ON_A_TABLE)
        .where(work.merchant_id == merchant_id, work.order_id == this.scalar_subquery())
    ).all()
    row = next((each for each in of_order if each.id == fulfillment_order_id), None)
    if row is None:
        return None
    lead_id, group = row.lead_id, together.members(connection, merchant_id, row.id)
    lines = list(packing.lines_of(connection, group, row.id).values())
    along = {each.id for each in group} - {row.id}
    # Offered until the first scan: looking for them takes longer than a packer should wait after each.
    leads = row.state == State.OPEN and lead_id in (None, row.id) and not any(line.on_table for line in lines)
    fitting = set(together.fitting_with(connection, row, row, group)) if leads else set()
    siblings = {
        each.id
        for each in of_order
        if each is not row
        and (each.location_id, each.collect, each.state) == (row.location_id, row.collect, State.OPEN)
    }
    named = {row.id, lead_id} - {None} | siblings | along | fitting
    every = to_do(connection, merchant_id, ids=list(named), limit=len(named))
    head = next((each for each in every if each.id == row.id), None)
    if head is None:
        return None
    goods = _goods(connection, row, lines)
    boxes = packing.boxes(connection, merchant_id)
    return BenchView(
        work=head,
        ship_to=from_plain(Address, row.ship_to),
        note=row.note,
        gift_message=gift_message(row.details),
        lines=_bench_lines(row, lines, goods, {each.id: each.order_number for each in every}),
        parcels=_bench_parcels(connection, row, lines, goods, boxes),
        parcel=row.parcel or 1,
        packer=row.packer or "",
        packing_since=row.began_at,
        scans=_scans(connection, row),
        boxes=tuple(boxes),
        others=tuple(each for each in every if each.id in siblings),
        lead=next((each for each in every if each.id == lead_id != row.id), None),
        along=tuple(each for each in every if each.id in along),
        fitting=tuple(each for each in every if each.id in fitting),
    )


def gift_message(details: Mapping[str, Any]) -> str:
    """What the customer had written for somebody else: attributes whose name speaks of a gift."""
    said = from_plain(OrderDetails, details).attributes
    return "\n".join(text for name, text in said.items() if "gift" in name.casefold() and text.strip())


_Goods = Mapping[UUID, parts.AnyRow]


def _bench_lines(
    row: Row[Any], lines: Collection[packing.TableLine], goods: _Goods, numbers: Mapping[UUID, str]
) -> tuple[BenchLine, ...]:
    return tuple(
        BenchLine(
            id=line.id,
            order_number="" if line.fulfillment_order_id == row.id else numbers[line.fulfillment_order_id],
            title=line.title,
            image_url=goods[line.sku_id].image_url if line.sku_id else "",
            picture=goods[line.sku_id].picture if line.sku_id else "",
            code=goods[line.sku_id].code if line.sku_id else line.sku_text,
            barcode=goods[line.sku_id].barcode if line.sku_id else "",
            shelf=" ".join(filter(None, (goods[line.sku_id].zone, goods[line.sku_id].shelf))) if line.sku_id else "",
            quantity=line.quantity,
            packed=line.in_shipments + line.on_table,
            on_table=line.on_table,
            left=line.left,
            contents=tuple(f"{units} × {goods[sku_id].code}" for sku_id, units in sorted(line.parts.items())),
        )
        for line in lines
    )


def _goods(connection: Connection, work: Row[Any], lines: Collection[packing.TableLine]) -> _Goods:
    """The SKUs of lines and of what kits in them are made of: where they lie at the location, and what their listings
    tell, a picture, a barcode, a weight, the best of all of them."""
    sku, listing, shelf = t.sku.c, t.listing.c, t.shelf.c
    told = (("image_url", listing.image_url), ("picture", t.picture.c.address), ("barcode", listing.barcode))
    rows = connection.execute(
        select(
            sku.id,
            sku.code,
            func.max(shelf.zone).label("zone"),
            func.max(shelf.name).label("shelf"),
            *(func.coalesce(func.max(each), "").label(name) for name, each in told),
            func.max(listing.weight_grams).label("weight_grams"),
        )
        .outerjoin(
            t.shelf,
            and_(shelf.merchant_id == sku.merchant_id, shelf.sku_id == sku.id, shelf.location_id == work.location_id),
        )
        .outerjoin(t.listing, and_(listing.merchant_id == sku.merchant_id, listing.sku_id == sku.id))
        .outerjoin(t.picture, parts.same(listing.picture_id, t.picture, t.listing))
        .where(sku.merchant_id == work.merchant_id, sku.id.in_(_skus(lines)))
        .group_by(sku.id, sku.code)
    )
    return {row.id: row for row in rows}


def _skus(lines: Collection[packing.TableLine]) -> set[UUID]:
    return {line.sku_id for line in lines if line.sku_id} | {sku_id for line in lines for sku_id in line.parts}


def _codes(connection: Connection, merchant_id: UUID, lines: Collection[packing.TableLine]) -> dict[UUID, str]:
    sku = t.sku.c
    rows = connection.execute(select(sku.id, sku.code).where(sku.merchant_id == merchant_id, sku.id.in_(_skus(lines))))
    return {row.id: row.code for row in rows}


def _bench_parcels(
    connection: Connection,
    row: Row[Any],
    lines: Collection[packing.TableLine],
    goods: _Goods,
    choice: Sequence[packing.Box],
) -> tuple[BenchParcel, ...]:
    this = t.packing_parcel.c
    known = {
        each.number: each
        for each in connection.execute(
            select(t.packing_parcel).where(this.merchant_id == row.merchant_id, this.fulfillment_order_id == row.id)
        )
    }
    numbers = sorted({number for line in lines for number in line.by_parcel} | {row.parcel or 1})
    found = []
    for number in numbers:
        inside = [(line, units) for line in lines if (units := line.by_parcel.get(number, 0))]
        weights = [(_weight(line, goods), units) for line, units in inside]
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


def _weight(line: packing.TableLine, goods: _Goods) -> int | None:
    """What a unit of a line weighs: as its listing says, or for a kit the sum of its parts."""
    if line.sku_id and goods[line.sku_id].weight_grams:
        return int(goods[line.sku_id].weight_grams)
    weights = [goods[sku_id].weight_grams * units for sku_id, units in line.parts.items() if goods[sku_id].weight_grams]
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


def open_work(connection: Connection, merchant_id: UUID, order_ids: Collection[UUID]) -> list[UUID]:
    """The fulfillment orders of these orders that are still to be packed at a location of the merchant's own."""
    work, place = t.fulfillment_order.c, t.location.c
    query = (
        select(work.id)
        .join(t.location, parts.same(work.location_id, t.location, t.fulfillment_order))
        .where(work.merchant_id == merchant_id, work.state == State.OPEN.value, place.kind != "3pl")
        .order_by(work.priority, work.created_at, work.id)
    )
    return [
        each
        for some in in_chunks(order_ids)
        for each in connection.execute(query.where(work.order_id.in_(some))).scalars()
    ]


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
            select(sku.id, sku.code, sku.title, parts.picture_of_sku().label("picture")).where(
                sku.merchant_id == merchant_id, sku.id.in_(some)
            )
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
            picture=named[key[0]].picture,
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
        query = query.where(searching.of_skus(connection, merchant_id, text, searching.typed_words(text)))
    return [ShelfView(row.id, row.code, row.title, row.zone or "", row.name or "") for row in connection.execute(query)]
