"""The packing bench: a fulfillment order on the table, every unit verified by a scan, until its parcels are a shipment.

Each scan is a row before the next one is made, so that a browser that goes away, or a packer who does, loses nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, case, delete, func, insert, select, update

from hub import access
from hub.access import Permission
from hub.errors import BadInput, Conflict
from hub.store import activity, collecting, fulfillment, shipments, stock, together
from hub.store import tables as t
from hub.store.database import Database, Lanes, for_update, upsert
from hub.store.fulfillment import Part, State
from hub.store.locking import connection_of
from hub.store.queries.stock import find

AWAY = timedelta(minutes=15)  # after so long without a scan, a packer is not taken for somebody who packs
_MOST_PARCELS = 50


class Outcome(StrEnum):
    """What became of a scan."""

    COUNTED = "counted"
    PART = "part"  # a part of a kit that is not complete with it
    WRONG = "wrong"  # something that is not to be packed here
    TOO_MANY = "too_many"
    UNKNOWN = "unknown"  # no code of this merchant

    @property
    def good(self) -> bool:
        """Whether the packer may go on."""
        return self in (Outcome.COUNTED, Outcome.PART)


@dataclass(frozen=True, slots=True)
class Scanned:
    """What a scan came to, in words for the packer."""

    outcome: Outcome
    said: str


# ---------------------------------------------------------------- who packs


def find_order(connection: Connection, merchant_id: UUID, code: str) -> UUID | None:
    """The fulfillment order whose reference was scanned or typed, or the one on whose table it is packed; None if there
    is none."""
    work = t.fulfillment_order.c
    found: UUID | None = connection.execute(
        select(work.id).where(work.merchant_id == merchant_id, func.upper(work.reference) == code.strip().upper())
    ).scalar_one_or_none()
    return found and (together.lead_of(connection, merchant_id, found) or found)


@access.needs(Permission.PACK)
def begin(
    database: Database, merchant_id: UUID, fulfillment_order_id: UUID, packer: str, *, instead_of: str = ""
) -> None:
    """Put a fulfillment order on the packer's table; ``instead_of`` names who is taken it from.

    Raises Conflict when it must not be packed, and when somebody else packs it.
    """

    def work(connection: Connection) -> None:
        at = database.now(connection)
        row = _may_be_packed(connection, merchant_id, fulfillment_order_id)
        there = _on_table(connection, row)
        if there is not None and there.packer not in (packer, instead_of) and at - there.seen_at < AWAY:
            raise Conflict(_packs_already(there))
        statement = upsert(connection, t.packing).values(
            merchant_id=merchant_id, fulfillment_order_id=row.id, packer=packer, began_at=at, seen_at=at
        )
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["merchant_id", "fulfillment_order_id"], set_={"packer": packer, "seen_at": at}
            )
        )
        if there is not None and there.packer != packer:
            summary = f"{row.reference} is packed by {packer} now, who took it over from {there.packer}"
            fulfillment.note(connection, row, "packing_taken_over", summary, at=at, actor=packer)

    database.transact(work)


def _may_be_packed(connection: Connection, merchant_id: UUID, fulfillment_order_id: UUID) -> Row[Any]:
    """The fulfillment order that leads its table, locked, if all that is packed on it may be. Raises Conflict."""
    row = fulfillment.may_be_packed(connection, merchant_id, fulfillment_order_id)
    for each in together.members(connection, merchant_id, row.id):
        if each.id != row.id:
            fulfillment.may_be_packed(connection, merchant_id, each.id)
    if together.lead_of(connection, merchant_id, row.id) not in (None, row.id):
        raise Conflict(f"{row.reference} is packed together with another order. Scan its slip: it leads to that one.")
    return row


def _by_itself(connection: Connection, merchant_id: UUID, fulfillment_order_id: UUID) -> Row[Any]:
    row = _may_be_packed(connection, merchant_id, fulfillment_order_id)
    if together.lead_of(connection, merchant_id, row.id) is not None:
        raise Conflict(f"{row.reference} is packed together with other orders. Take those out first.")
    return row


def _on_table(connection: Connection, row: Row[Any]) -> Row[Any] | None:
    this = t.packing.c
    return connection.execute(
        for_update(
            connection,
            select(t.packing).where(this.merchant_id == row.merchant_id, this.fulfillment_order_id == row.id),
        )
    ).one_or_none()


def _packs_already(there: Row[Any]) -> str:
    return f"{there.packer} packs this order since {there.began_at:%H:%M} UTC. Ask them, or take it over."


def _mine(connection: Connection, row: Row[Any], packer: str, at: datetime) -> Row[Any]:
    """The packer's table with this order on it. Raises Conflict when it is on somebody else's."""
    there = _on_table(connection, row)
    if there is None:
        connection.execute(
            insert(t.packing).values(
                merchant_id=row.merchant_id, fulfillment_order_id=row.id, packer=packer, began_at=at, seen_at=at
            )
        )
        there = _on_table(connection, row)
        assert there is not None  # noqa: S101 - written a moment ago, in this transaction
    if there.packer != packer and at - there.seen_at < AWAY:
        raise Conflict(_packs_already(there))
    this = t.packing.c
    connection.execute(
        update(t.packing)
        .where(this.merchant_id == row.merchant_id, this.fulfillment_order_id == row.id)
        .values(packer=packer, seen_at=at)
    )
    return there


# ---------------------------------------------------------------- what is on the table


@dataclass(slots=True)
class TableLine:
    """A line of a fulfillment order on the table: its units that are in shipments, that were scanned by its own code
    (``whole``) or part by part (``made``), and where they lie. ``parts`` are of one unit of a kit, else empty."""

    fulfillment_order_id: UUID
    id: UUID
    title: str
    sku_id: UUID | None
    sku_text: str
    quantity: int
    parts: Mapping[UUID, int]
    in_shipments: int = 0
    whole: int = 0
    made: int = 0
    by_parcel: dict[int, int] = field(default_factory=dict)
    scanned_parts: dict[UUID, int] = field(default_factory=dict)

    @property
    def on_table(self) -> int:
        return self.whole + self.made

    @property
    def left(self) -> int:
        return self.quantity - self.in_shipments - self.on_table


def _lines(connection: Connection, lead: Row[Any]) -> dict[UUID, TableLine]:
    """What is packed on the table of a fulfillment order: its own lines, then those of what goes along."""
    return lines_of(connection, together.members(connection, lead.merchant_id, lead.id), lead.id)


def lines_of(connection: Connection, works: Sequence[Row[Any]], table_id: UUID) -> dict[UUID, TableLine]:
    """The lines of fulfillment orders that are packed on one table, in this turn, with what is packed of them."""
    if not works:
        return {}
    merchant_id, turn = works[0].merchant_id, {work.id: place for place, work in enumerate(works)}
    asked, line, scan = t.fulfillment_line.c, t.order_line.c, t.packing_scan.c
    rows = connection.execute(
        select(asked.fulfillment_order_id, line.id, line.title, line.sku_id, line.sku_text, asked.quantity)
        .select_from(
            t.fulfillment_line.join(
                t.order_line, (line.merchant_id == asked.merchant_id) & (line.id == asked.order_line_id)
            )
        )
        .where(asked.merchant_id == merchant_id, asked.fulfillment_order_id.in_(turn))
        .order_by(line.position, line.id)
    ).all()
    kits = stock.kit_parts(connection, merchant_id, [each.id for each in rows])
    packed = _in_shipments(connection, works)
    lines = {
        each.id: TableLine(
            each.fulfillment_order_id,
            each.id,
            each.title,
            each.sku_id,
            each.sku_text,
            each.quantity,
            kits.get(each.id, {}),
            in_shipments=packed.get(each.id, 0),
        )
        for each in sorted(rows, key=lambda each: turn[each.fulfillment_order_id])
    }
    for each in connection.execute(
        select(t.packing_scan).where(scan.merchant_id == merchant_id, scan.fulfillment_order_id == table_id, *_ON_TABLE)
    ):
        found = lines.get(each.order_line_id)
        if found is None:
            continue
        if each.units:
            found.by_parcel[each.parcel] = found.by_parcel.get(each.parcel, 0) + 1
        if each.sku_id in found.parts:
            found.scanned_parts[each.sku_id] = found.scanned_parts.get(each.sku_id, 0) + 1
            found.made += each.units
        else:
            found.whole += each.units
    return lines


_scan = t.packing_scan.c
_ON_TABLE = (
    _scan.undone_at.is_(None),
    _scan.shipment_id.is_(None),
    _scan.outcome.in_([Outcome.COUNTED.value, Outcome.PART.value]),
)


def on_table(connection: Connection, row: Row[Any]) -> list[TableLine]:
    """The lines of a fulfillment order with what is packed of them, in the order of the order."""
    table_id = together.lead_of(connection, row.merchant_id, row.id) or row.id
    return list(lines_of(connection, [row], table_id).values())


def _in_shipments(connection: Connection, works: Sequence[Row[Any]]) -> dict[UUID, int]:
    """Units by order line that are in parcels of shipments of these fulfillment orders which count."""
    sent, later = t.shipment.c, t.shipment.alias().c
    replaced = (
        select(later.id)
        .where(
            later.merchant_id == sent.merchant_id,
            later.supersedes_id == sent.id,
            later.state.not_in(("void", "failed")),
        )
        .exists()
    )
    return shipments.units_packed(connection, works, ~sent.is_return, ~replaced)


# ---------------------------------------------------------------- scanning


@access.needs(Permission.PACK)
def scan(
    database: Database, merchant_id: UUID, fulfillment_order_id: UUID, scan_id: UUID, code: str, packer: str
) -> Scanned:
    """Count what was scanned, or say loud and clear why not. The same ``scan_id`` again gives the same answer.

    Raises Conflict when the order must not be packed any more, or somebody else packs it.
    """
    code = " ".join(code.split())[:200]

    def work(connection: Connection) -> Scanned:
        at = database.now(connection)
        row = _may_be_packed(connection, merchant_id, fulfillment_order_id)
        this = t.packing_scan.c
        before = connection.execute(
            select(this.outcome, this.said).where(this.merchant_id == merchant_id, this.id == scan_id)
        ).one_or_none()
        if before is not None:
            return Scanned(Outcome(before.outcome), before.said)
        table = _mine(connection, row, packer, at)
        line, sku_id, units, found = _counted(connection, row, code)
        number = connection.execute(
            select(func.coalesce(func.max(this.number), 0)).where(
                this.merchant_id == merchant_id, this.fulfillment_order_id == row.id
            )
        ).scalar_one()
        connection.execute(
            insert(t.packing_scan).values(
                merchant_id=merchant_id,
                id=scan_id,
                fulfillment_order_id=row.id,
                outcome=found.outcome.value,
                code=code,
                order_line_id=line.id if line else None,
                sku_id=sku_id,
                parcel=table.parcel,
                units=units,
                said=found.said[:500],
                packer=packer,
                number=number + 1,
                at=at,
            )
        )
        if units and line is not None:
            _keep_count(connection, row)
        return found

    return database.transact(work)


def _counted(connection: Connection, row: Row[Any], code: str) -> tuple[TableLine | None, UUID | None, int, Scanned]:
    """The line a code belongs to, its SKU, and how many units of the line it packs."""
    lines = _lines(connection, row)
    sku_id = find(connection, row.merchant_id, code) if code else None
    own = [
        line
        for line in lines.values()
        if (sku_id is not None and line.sku_id == sku_id) or (line.sku_id is None and code and line.sku_text == code)
    ]
    whole = next((line for line in own if line.left > 0), None)
    if whole is not None and not _begun(whole):
        left = whole.left - 1
        said = f"{whole.title}: {_of(whole, 1)}" + (" Complete." if not left else "")
        return whole, sku_id, 1, Scanned(Outcome.COUNTED, said)
    part_of = [line for line in lines.values() if sku_id is not None and sku_id in line.parts]
    for line in part_of:
        if sku_id is not None and _wants_part(line, sku_id):
            return _with_part(connection, line, sku_id, row)
    if own or part_of:
        line = [*own, *part_of][0]
        if _begun(line) and own:
            said = f"{line.title} is being packed part by part. Scan the missing parts first."
            return line, sku_id, 0, Scanned(Outcome.WRONG, said)
        said = f"Too many: all {line.quantity} of “{line.title}” are packed. Take this one out."
        return line, sku_id, 0, Scanned(Outcome.TOO_MANY, said)
    if sku_id is not None:
        sku = t.sku.c
        named = connection.execute(
            select(sku.code, sku.title).where(sku.merchant_id == row.merchant_id, sku.id == sku_id)
        ).one()
        said = f"Wrong item: {named.code} ({named.title or 'untitled'}) is not in this order. Put it back."
        return None, sku_id, 0, Scanned(Outcome.WRONG, said)
    said = f"Unknown code “{code[:60]}”: no SKU, barcode or order has it. Scan it again, or look it up under Stock."
    return None, None, 0, Scanned(Outcome.UNKNOWN, said)


def _of(line: TableLine, more: int) -> str:
    return f"{line.in_shipments + line.on_table + more} of {line.quantity}."


def _begun(line: TableLine) -> bool:
    """Whether some parts of a unit of a kit are on the table, and others are not."""
    scanned = line.scanned_parts
    return any(scanned.get(sku_id, 0) > line.made * each for sku_id, each in line.parts.items())


def _wants_part(line: TableLine, sku_id: UUID) -> bool:
    units = line.quantity - line.in_shipments - line.whole
    return line.scanned_parts.get(sku_id, 0) < units * line.parts[sku_id]


def _with_part(
    connection: Connection, line: TableLine, sku_id: UUID, row: Row[Any]
) -> tuple[TableLine, UUID, int, Scanned]:
    scanned = dict(line.scanned_parts)
    scanned[sku_id] = scanned.get(sku_id, 0) + 1
    complete = min(scanned.get(part, 0) // each for part, each in line.parts.items())
    units = 1 if complete > line.made else 0
    if units:
        return line, sku_id, 1, Scanned(Outcome.COUNTED, f"{line.title}: all parts are there. {_of(line, 1)}")
    missing = {part: (line.made + 1) * each - scanned.get(part, 0) for part, each in line.parts.items()}
    sku = t.sku.c
    codes = dict(
        connection.execute(
            select(sku.id, sku.code).where(sku.merchant_id == row.merchant_id, sku.id.in_(list(missing)))
        ).all()
    )
    still = ", ".join(f"{units} × {codes[part]}" for part, units in missing.items() if units > 0)
    return line, sku_id, 0, Scanned(Outcome.PART, f"A part of {line.title}. Still missing: {still}.")


@access.needs(Permission.PACK)
def take_out(
    database: Database,
    merchant_id: UUID,
    fulfillment_order_id: UUID,
    packer: str,
    order_line_id: UUID | None = None,
) -> str:
    """Undo the last scan that counted, or the last one of a line; returns what was undone, for the packer.

    Raises Conflict when there is none, or somebody else packs the order.
    """

    def work(connection: Connection) -> str:
        at = database.now(connection)
        # Not by the gate: out of a parcel goes also what must not be shipped any more.
        row = fulfillment.locked(connection, merchant_id, fulfillment_order_id)
        _mine(connection, row, packer, at)
        this = t.packing_scan.c
        last = connection.execute(
            select(t.packing_scan)
            .where(
                this.merchant_id == merchant_id,
                this.fulfillment_order_id == row.id,
                *_ON_TABLE,
                *([this.order_line_id == order_line_id] if order_line_id else []),
            )
            .order_by(this.number.desc())
            .limit(1)
        ).one_or_none()
        if last is None:
            raise Conflict("Nothing is on the table that could be taken out.")
        connection.execute(
            update(t.packing_scan).where(this.merchant_id == merchant_id, this.id == last.id).values(undone_at=at)
        )
        _keep_count(connection, row)
        return f"Taken out again: {last.code}."

    return database.transact(work)


def _keep_count(connection: Connection, row: Row[Any]) -> None:
    """Let the lines say how much of them is packed."""
    this = t.fulfillment_line.c
    for line in _lines(connection, row).values():
        packed = max(0, min(line.quantity, line.in_shipments + line.on_table))
        connection.execute(
            update(t.fulfillment_line)
            .where(
                this.merchant_id == row.merchant_id,
                this.fulfillment_order_id == line.fulfillment_order_id,
                this.order_line_id == line.id,
                this.packed != packed,
            )
            .values(packed=packed)
        )


# ---------------------------------------------------------------- parcels


@access.needs(Permission.PACK)
def next_parcel(database: Database, merchant_id: UUID, fulfillment_order_id: UUID, number: int, packer: str) -> None:
    """From now on scans go into the parcel of this number: one that is there, or the next. Raises BadInput."""

    def work(connection: Connection) -> None:
        at = database.now(connection)
        row = _may_be_packed(connection, merchant_id, fulfillment_order_id)
        _mine(connection, row, packer, at)
        there = [parcel for line in _lines(connection, row).values() for parcel in line.by_parcel]
        if not 1 <= number <= min(_MOST_PARCELS, max(there, default=0) + 1):
            raise BadInput("Fill the parcels one after the other: this one would leave a gap.")
        this = t.packing.c
        connection.execute(
            update(t.packing)
            .where(this.merchant_id == merchant_id, this.fulfillment_order_id == row.id)
            .values(parcel=number)
        )

    database.transact(work)


@access.needs(Permission.PACK)
def weigh(
    database: Database,
    merchant_id: UUID,
    fulfillment_order_id: UUID,
    number: int,
    box_id: UUID | None,
    weight_grams: int | None,
    packer: str,
) -> None:
    """Say which box a parcel is, and what it weighs with everything in it. Raises BadInput for more than it carries."""

    def work(connection: Connection) -> None:
        at = database.now(connection)
        row = _may_be_packed(connection, merchant_id, fulfillment_order_id)
        _mine(connection, row, packer, at)
        this = t.box.c
        box = connection.execute(select(t.box).where(this.merchant_id == merchant_id, this.id == box_id)).one_or_none()
        if box_id is not None and box is None:
            raise BadInput("There is no such box any more. Reload the page.")
        if box is not None and weight_grams is not None and weight_grams > box.most_grams:
            sentence = f"{box.name} carries {box.most_grams:,} g at most. Choose a larger box, or another parcel."
            raise BadInput(sentence, {f"weight-{number}": [sentence]})
        _keep_parcel(connection, row, number, box_id, weight_grams)

    database.transact(work)


def _keep_parcel(
    connection: Connection, row: Row[Any], number: int, box_id: UUID | None, weight_grams: int | None
) -> None:
    statement = upsert(connection, t.packing_parcel).values(
        merchant_id=row.merchant_id,
        fulfillment_order_id=row.id,
        number=number,
        box_id=box_id,
        weight_grams=weight_grams,
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["merchant_id", "fulfillment_order_id", "number"],
            set_={"box_id": box_id, "weight_grams": weight_grams},
        )
    )


@access.needs(Permission.PACK)
def finish(
    database: Database, merchant_id: UUID, fulfillment_order_id: UUID, packer: str, *, rest_later: bool = False
) -> tuple[UUID, Lanes]:
    """The parcels on the table are a shipment now: returns its id, and the lanes to ring for.

    Where not everything is packed, ``rest_later`` says that this is meant: the rest stays to be packed. What the
    customer fetches is put aside instead, and they are told. Raises BadInput for a parcel without weight, for units
    that are missing, and for more than is wanted by now; Conflict as scanning does.
    """

    def work(connection: Connection) -> tuple[UUID, Lanes]:
        at = database.now(connection)
        row = _may_be_packed(connection, merchant_id, fulfillment_order_id)
        _mine(connection, row, packer, at)
        lines = _lines(connection, row)
        members = together.members(connection, merchant_id, row.id)
        _refuse_what_is_not_packed(lines.values(), rest_later and not row.collect, len(members) > 1)
        parcels = _packed_parcels(connection, row, lines.values())
        shipment_id = shipments.draft(connection, merchant_id, row, parcels, at=at)
        this = t.packing_scan.c
        connection.execute(
            update(t.packing_scan)
            .where(this.merchant_id == merchant_id, this.fulfillment_order_id == row.id, *_ON_TABLE)
            .values(shipment_id=shipment_id)
        )
        for table in (t.packing_parcel, t.packing):
            connection.execute(
                delete(table).where(table.c.merchant_id == merchant_id, table.c.fulfillment_order_id == row.id)
            )
        units = sum(line.on_table for line in lines.values())
        boxes = f"{len(parcels)} parcel{'' if len(parcels) == 1 else 's'}"
        summary = f"{units} unit{'' if units == 1 else 's'} of {row.reference} packed into {boxes}"
        for each in members:
            fulfillment.note(connection, each, "packed", summary, at=at, actor=packer, shipment=str(shipment_id))
        if row.collect:
            return shipment_id, collecting.put_aside(connection, row, shipment_id, at=at)
        if not any(line.left for line in lines.values()):
            for each in members:
                fulfillment.change(connection, each, State.PACKED, at=at, packed_at=at, message="")
        return shipment_id, [(connection_of(connection, merchant_id, row.order_id), "ship")]

    return database.transact(work)


def _refuse_what_is_not_packed(lines: Collection[TableLine], rest_later: bool, shared: bool) -> None:
    if half := [line.title for line in lines if _begun(line)]:
        raise BadInput(f"Parts of {half[0]} are missing. Scan them, or take out what is there of it.")
    if over := [line for line in lines if line.left < 0]:
        raise BadInput(f"The order was changed: take {-over[0].left} of “{over[0].title}” out again.")
    if not any(line.on_table for line in lines):
        raise BadInput("Nothing is packed yet. Scan the first item.")
    missing = sum(line.left for line in lines)
    if missing and shared:
        raise BadInput("Orders that are packed together go whole. Scan the rest, or take out the order that waits.")
    if missing and not rest_later:
        one = "1 unit is" if missing == 1 else f"{missing} units are"
        raise BadInput(f"{one} not packed yet. Scan the rest, or choose to ship the rest later.")


def _packed_parcels(connection: Connection, row: Row[Any], lines: Collection[TableLine]) -> list[shipments.ParcelDraft]:
    this, box = t.packing_parcel.c, t.box.c
    known = {
        each.number: each
        for each in connection.execute(
            select(this.number, this.weight_grams, box.length_mm, box.width_mm, box.height_mm)
            .select_from(
                t.packing_parcel.outerjoin(t.box, (box.merchant_id == this.merchant_id) & (box.id == this.box_id))
            )
            .where(this.merchant_id == row.merchant_id, this.fulfillment_order_id == row.id)
        )
    }
    numbers = sorted({number for line in lines for number in line.by_parcel})
    found = []
    for number in numbers:
        parcel = known.get(number)
        weight = parcel.weight_grams if parcel is not None else None
        if weight is None and not row.collect:
            sentence = f"Parcel {number} has no weight yet. Weigh it, with everything in it."
            raise BadInput(sentence, {f"weight-{number}": [sentence]})
        size = (parcel.length_mm, parcel.width_mm, parcel.height_mm) if parcel and parcel.length_mm else None
        units = {line.id: line.by_parcel.get(number, 0) for line in lines}
        found.append(
            shipments.ParcelDraft(
                units={line_id: count for line_id, count in units.items() if count},
                weight_grams=weight or 1,  # what is fetched is weighed by nobody
                size=size,
            )
        )
    return found


# ---------------------------------------------------------------- boxes


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A box that is packed into: outer size in millimeters, weights in grams."""

    id: UUID
    name: str
    length_mm: int
    width_mm: int
    height_mm: int
    empty_grams: int
    most_grams: int

    @property
    def volume(self) -> int:
        return self.length_mm * self.width_mm * self.height_mm


def boxes(connection: Connection, merchant_id: UUID) -> list[Box]:
    """The merchant's boxes, the smallest first."""
    this = t.box.c
    rows = connection.execute(select(t.box).where(this.merchant_id == merchant_id))
    found = [
        Box(
            id=row.id,
            name=row.name,
            length_mm=row.length_mm,
            width_mm=row.width_mm,
            height_mm=row.height_mm,
            empty_grams=row.empty_grams,
            most_grams=row.most_grams,
        )
        for row in rows
    ]
    return sorted(found, key=lambda each: (each.volume, each.name))


def suggested(choice: Collection[Box], grams: int | None) -> Box | None:
    """The smallest box that carries so much; None where nothing is known of the weight, or none does."""
    fitting = [box for box in choice if grams and box.empty_grams + grams <= box.most_grams]
    return min(fitting, key=lambda box: (box.volume, box.name), default=None)


@access.needs(Permission.PACK)
def save_box(database: Database, merchant_id: UUID, box: Box, actor: str) -> None:
    """Keep a box, a new one or another size of one that is there. Raises BadInput."""
    sizes = (box.length_mm, box.width_mm, box.height_mm)
    if not box.name.strip():
        raise BadInput("A box needs a name.", {"name": ["Say how you call it."]})
    if min(sizes) < 1 or max(sizes) > 10_000:
        raise BadInput("This is no size of a box.", {"length_mm": ["Each side is 1 to 10,000 millimeters."]})
    if not 0 <= box.empty_grams < box.most_grams <= 1_000_000:
        sentence = "The most it may weigh has to be more than the empty box, and at most 1,000,000 grams."
        raise BadInput(sentence, {"most_grams": [sentence]})

    def work(connection: Connection) -> None:
        this = t.box.c
        other = connection.execute(
            select(this.id).where(this.merchant_id == merchant_id, this.name == box.name.strip(), this.id != box.id)
        ).first()
        if other is not None:
            raise BadInput("Another box is called so.", {"name": ["Another box is called so."]})
        values = {
            "name": box.name.strip()[:60],
            "length_mm": box.length_mm,
            "width_mm": box.width_mm,
            "height_mm": box.height_mm,
            "empty_grams": box.empty_grams,
            "most_grams": box.most_grams,
        }
        statement = upsert(connection, t.box).values(merchant_id=merchant_id, id=box.id, **values)
        connection.execute(statement.on_conflict_do_update(index_elements=["merchant_id", "id"], set_=values))
        _note_boxes(connection, merchant_id, f"Box “{values['name']}” saved", database.now(connection), actor)

    database.transact(work)


@access.needs(Permission.PACK)
def remove_box(database: Database, merchant_id: UUID, box_id: UUID, actor: str) -> None:
    """Pack into this box no more; parcels that are it keep their size once they are a shipment's."""

    def work(connection: Connection) -> None:
        this, parcel = t.box.c, t.packing_parcel.c
        connection.execute(
            update(t.packing_parcel)
            .where(parcel.merchant_id == merchant_id, parcel.box_id == box_id)
            .values(box_id=None)
        )
        gone = connection.execute(
            delete(t.box).where(this.merchant_id == merchant_id, this.id == box_id).returning(this.name)
        ).scalar_one_or_none()
        if gone is not None:
            _note_boxes(connection, merchant_id, f"Box “{gone}” removed", database.now(connection), actor)

    database.transact(work)


def _note_boxes(connection: Connection, merchant_id: UUID, summary: str, at: datetime, actor: str) -> None:
    activity.note(connection, merchant_id, "box_changed", summary, at=at, actor=actor)


# ---------------------------------------------------------------- dividing


@access.needs(Permission.PACK)
def split(
    database: Database, merchant_id: UUID, fulfillment_order_id: UUID, units: Mapping[UUID, int], actor: str
) -> UUID:
    """Make these units a fulfillment order of their own at the same location; returns its id.

    Raises BadInput for nothing, everything, or more than is left to pack; Conflict when it must not be packed.
    """

    def work(connection: Connection) -> UUID:
        at = database.now(connection)
        row = _by_itself(connection, merchant_id, fulfillment_order_id)
        lines = _lines(connection, row)
        wanted = {line_id: count for line_id, count in units.items() if count > 0}
        if not wanted:
            raise BadInput("Enter how many units are split off.")
        if any(line_id not in lines or count > lines[line_id].left for line_id, count in wanted.items()):
            raise BadInput("Only what is not packed yet can be split off. Reload the page, and look again.")
        if sum(wanted.values()) == sum(line.quantity for line in lines.values()):
            raise BadInput("That is all of it. Leave at least one unit.")
        _move(connection, row, lines, wanted)
        part = Part(
            location_id=row.location_id, units=wanted, service=row.service, collect=row.collect, ship_by=row.ship_by
        )
        (made,) = fulfillment.create(connection, merchant_id, row.order_id, [part], at=at, decision_id=row.decision_id)
        count = sum(wanted.values())
        summary = f"{count} unit{'' if count == 1 else 's'} of {row.reference} split off, to be packed by themselves"
        fulfillment.note(connection, row, "fulfillment_split", summary, at=at, actor=actor)
        return made

    return database.transact(work)


@access.needs(Permission.PACK)
def merge(database: Database, merchant_id: UUID, fulfillment_order_id: UUID, other_id: UUID, actor: str) -> None:
    """Pack another fulfillment order of the same order and location along with this one, which takes its units.

    Raises BadInput when they do not belong together, Conflict when one of them is begun or must not be packed.
    """

    def work(connection: Connection) -> None:
        at = database.now(connection)
        row = _by_itself(connection, merchant_id, fulfillment_order_id)
        other = _by_itself(connection, merchant_id, other_id)
        together = (row.order_id, row.location_id, row.collect) == (other.order_id, other.location_id, other.collect)
        if row.id == other.id or not together:
            raise BadInput("Only parts of one order that the same location ships can be packed together.")
        lines = _lines(connection, other)
        if any(line.on_table or line.in_shipments or line.scanned_parts for line in lines.values()):
            raise Conflict(f"{other.reference} is begun: take out what is packed of it first.")
        this = t.fulfillment_line.c
        for line in lines.values():
            statement = upsert(connection, t.fulfillment_line).values(
                merchant_id=merchant_id,
                fulfillment_order_id=row.id,
                order_line_id=line.id,
                quantity=line.quantity,
            )
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["merchant_id", "fulfillment_order_id", "order_line_id"],
                    set_={"quantity": this.quantity + line.quantity},
                )
            )
        connection.execute(
            delete(t.fulfillment_line).where(this.merchant_id == merchant_id, this.fulfillment_order_id == other.id)
        )
        why = f"packed together with {row.reference}"
        fulfillment.change(connection, other, State.CANCELLED, at=at, message=why)
        summary = f"{other.reference} is packed together with {row.reference}"
        fulfillment.note(connection, row, "fulfillment_merged", summary, at=at, actor=actor)

    database.transact(work)


def _move(connection: Connection, row: Row[Any], lines: Mapping[UUID, TableLine], units: Mapping[UUID, int]) -> None:
    this = t.fulfillment_line.c
    for line_id, count in units.items():
        here = (
            this.merchant_id == row.merchant_id,
            this.fulfillment_order_id == row.id,
            this.order_line_id == line_id,
        )
        if count == lines[line_id].quantity:
            connection.execute(delete(t.fulfillment_line).where(*here))
            continue
        left = this.quantity - count
        packed = case((this.packed > left, left), else_=this.packed)
        connection.execute(update(t.fulfillment_line).where(*here).values(quantity=left, packed=packed))


# ---------------------------------------------------------------- shelves


@access.needs(Permission.PACK)
def set_shelf(
    database: Database, merchant_id: UUID, location_id: UUID, sku_id: UUID, zone: str, name: str, actor: str
) -> None:
    """Say where a SKU lies at a location; both texts empty: nobody knows any more. Raises BadInput."""
    zone, name = " ".join(zone.split()), " ".join(name.split())
    if len(zone) > 40 or len(name) > 60:
        raise BadInput("A zone has at most 40 characters, a shelf 60.")

    def work(connection: Connection) -> None:
        level, this = t.stock_level.c, t.shelf.c
        here = (level.merchant_id == merchant_id, level.location_id == location_id, level.sku_id == sku_id)
        if connection.execute(select(level.sku_id).where(*here)).first() is None:
            raise BadInput("This location does not have this SKU. Reload the page.")
        if zone or name:
            statement = upsert(connection, t.shelf).values(
                merchant_id=merchant_id, location_id=location_id, sku_id=sku_id, zone=zone, name=name
            )
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["merchant_id", "sku_id", "location_id"], set_={"zone": zone, "name": name}
                )
            )
        else:
            connection.execute(
                delete(t.shelf).where(
                    this.merchant_id == merchant_id, this.location_id == location_id, this.sku_id == sku_id
                )
            )
        code = connection.execute(
            select(t.sku.c.code).where(t.sku.c.merchant_id == merchant_id, t.sku.c.id == sku_id)
        ).scalar_one()
        said = f"{code} lies at {' '.join(filter(None, (zone, name)))}" if zone or name else f"{code} has no shelf"
        activity.note(connection, merchant_id, "shelf_changed", said, at=database.now(connection), actor=actor)

    database.transact(work)
