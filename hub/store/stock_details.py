"""What a file says of SKUs besides figures: their titles, safety stock and shelves, and SKUs that are to be made.

Each row says what is to be; a cell that is empty leaves things as they are. What is entered goes through the acts by
which a person would do it, and is taken back by the same acts, where nobody has changed it since.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, and_, select

from hub.core.stock import MOST_UNITS
from hub.errors import BadInput, HubError
from hub.store import packing, skus, warehouse
from hub.store import tables as t
from hub.store.database import Database, for_update, in_chunks
from hub.store.matching import checked_code

OF_A_PLACE = ("safety_stock", "zone", "shelf")  # what is said of a SKU at a location, and not of the SKU as such
NAMES = ("title", *OF_A_PLACE)
MADE = "sku"  # among the details of a row: the SKU itself is to be made

Details = Mapping[str, Sequence[Any]]  # by name: as it is, and as it would be

# Files of the hub's own have an apostrophe before what a spreadsheet would take for a formula.
_GUARDED = re.compile(r"(^|[;\t]\s*)'(?=\s*[=+\-@＝＋－＠])")


class Moved(HubError):
    """What a row would change is not any more as somebody looked at it: ``now`` is what it would change by now."""

    def __init__(self, now: Details) -> None:
        super().__init__("This was changed by somebody else meanwhile.")
        self.now = now


# ---------------------------------------------------------------- judging


@dataclass(frozen=True, slots=True)
class Said:
    """What is said at this moment of a SKU; of it at a location only where it was counted there."""

    title: str
    safety_stock: int | None = None
    zone: str = ""
    shelf: str = ""

    @property
    def is_counted(self) -> bool:
        return self.safety_stock is not None


def at_places(connection: Connection, merchant_id: UUID, titles: Mapping[UUID, str]) -> dict[tuple[UUID, UUID], Said]:
    """What is said of these SKUs at each location where they were counted."""
    level = t.stock_level.c
    found: dict[tuple[UUID, UUID], Said] = {}
    for some in in_chunks(titles):
        for row in connection.execute(_levels().where(level.merchant_id == merchant_id, level.sku_id.in_(some))):
            found[row.sku_id, row.location_id] = Said(
                titles[row.sku_id], row.safety_stock, row.zone or "", row.name or ""
            )
    return found


def _levels() -> Any:
    level, this = t.stock_level.c, t.shelf.c
    here = and_(
        this.merchant_id == level.merchant_id, this.sku_id == level.sku_id, this.location_id == level.location_id
    )
    return select(level.sku_id, level.location_id, level.safety_stock, this.zone, this.name).select_from(
        t.stock_level.outerjoin(t.shelf, here)
    )


def wished(read: Mapping[str, Any]) -> dict[str, Any]:
    """What a row wants to be so, in the form in which it is kept. Raises BadInput for what cannot be."""
    wanted: dict[str, Any] = {}
    for name, longest in (("title", skus.LONGEST_TITLE), ("zone", 40), ("shelf", 60)):
        text = " ".join(_GUARDED.sub(r"\1", read.get(name, "")).split())
        if len(text) > longest:
            raise BadInput(f"Its {name} has {len(text)} characters, and may have {longest}.")
        if text:
            wanted[name] = text
    units = read.get("safety_stock")
    if units is not None:
        if not 0 <= units <= MOST_UNITS:
            raise BadInput(f"Its safety stock must be from 0 to {MOST_UNITS:,}.")
        wanted["safety_stock"] = units
    return wanted


def of_known(
    sku: Row[Any], named: str, place: Row[Any] | None, said: Said | None, wanted: Mapping[str, Any]
) -> Details:
    """What a row would change of a SKU that there is; ``place`` is where it says, if ``named`` is somewhere. Raises
    BadInput with the reason why it cannot be taken."""
    about_place = [name for name in OF_A_PLACE if name in wanted]
    if about_place and sku.kit:
        raise BadInput(f"{sku.code} is a kit, and lies nowhere: its parts do. Only its title can be set.")
    if named and place is None:
        raise BadInput(f"There is no location “{named[:60]}” here. Correct the name, or add it in the settings.")
    if about_place and place is None:
        raise BadInput("It does not say at which location, and none was chosen for such rows.")
    if about_place and place is not None and said is None:
        raise BadInput(f"{sku.code} was never counted at {place.name}. Count it there first.")
    return _differing(said or Said(sku.title), wanted)


def of_unknown(code: str, wanted: Mapping[str, Any], *, made: bool) -> Details:
    """What a row would make of a code that nobody knows. Raises BadInput with the reason why it cannot be taken."""
    if not made:
        raise BadInput(
            f"There is no SKU or barcode “{code[:60]}” here. Correct it, or have the file read again, and tick that "
            "new SKUs are made."
        )
    checked_code(code)
    if any(name in wanted for name in OF_A_PLACE):
        raise BadInput("A SKU that is made has no stock yet. Leave these cells empty, and set them once it is counted.")
    return {MADE: (None, code), "title": ("", wanted.get("title", ""))}


def _differing(said: Said, wanted: Mapping[str, Any]) -> Details:
    return {
        name: (getattr(said, name), wanted[name])
        for name in NAMES
        if name in wanted and getattr(said, name) != wanted[name]
    }


# ---------------------------------------------------------------- entering, and taking back


def enter(database: Database, merchant_id: UUID, row: Row[Any], actor: str) -> tuple[UUID, set[UUID]]:
    """Do what one row says; returns its SKU, and the connections that have something to publish. Raises Moved,
    BadInput, Conflict."""
    details: Details = row.details
    if MADE in details:
        return skus.make(database, merchant_id, row.code, details["title"][1], actor), set()
    expected = {name: before for name, (before, _) in details.items()}
    return row.sku_id, _set(
        database, merchant_id, row, expected, {name: after for name, (_, after) in details.items()}, actor
    )


def take_back(database: Database, merchant_id: UUID, row: Row[Any], actor: str) -> tuple[UUID, set[UUID]]:
    """Make what one row has changed what it was; as ``enter``."""
    details: Details = row.details
    if MADE in details:
        raise BadInput("The SKU that it made stays: orders and listings may be about it by now.")
    expected = {name: after for name, (_, after) in details.items()}
    try:
        return row.sku_id, _set(
            database, merchant_id, row, expected, {name: before for name, (before, _) in details.items()}, actor
        )
    except Moved as moved:
        raise BadInput("Somebody has changed it since, and that stays.") from moved


def _set(
    database: Database,
    merchant_id: UUID,
    row: Row[Any],
    expected: Mapping[str, Any],
    wanted: Mapping[str, Any],
    actor: str,
) -> set[UUID]:
    with database.write() as connection:
        said = _now(connection, merchant_id, row.sku_id, row.location_id)
    # Another row of the file may have said the same of the SKU before: then it is so already.
    if any(getattr(said, name) not in (expected[name], wanted[name]) for name in wanted):
        raise Moved(_differing(said, wanted))
    differing, touched = _differing(said, wanted), set[UUID]()
    if "title" in differing:
        skus.rename(database, merchant_id, row.sku_id, wanted["title"], actor)
    if "safety_stock" in differing:
        units = wanted["safety_stock"]
        touched |= warehouse.set_safety_stock(database, merchant_id, row.sku_id, row.location_id, units, actor)
    if "zone" in differing or "shelf" in differing:
        zone, shelf = wanted.get("zone", said.zone), wanted.get("shelf", said.shelf)
        packing.set_shelf(database, merchant_id, row.location_id, row.sku_id, zone, shelf, actor)
    return touched


def _now(connection: Connection, merchant_id: UUID, sku_id: UUID, location_id: UUID | None) -> Said:
    """What is said at this moment, which nobody changes before the transaction ends."""
    sku, level = t.sku.c, t.stock_level.c
    title = connection.execute(
        for_update(connection, select(sku.title).where(sku.merchant_id == merchant_id, sku.id == sku_id))
    ).scalar_one()
    if location_id is None:
        return Said(title)
    here = (level.merchant_id == merchant_id, level.sku_id == sku_id, level.location_id == location_id)
    if connection.execute(for_update(connection, select(level.sku_id).where(*here))).first() is None:
        return Said(title)
    found = connection.execute(_levels().where(*here)).one()
    return Said(title, found.safety_stock, found.zone or "", found.name or "")


# ---------------------------------------------------------------- rows that contradict each other


def contradictions(rows: Iterable[tuple[int, Any, str]]) -> list[list[int]]:
    """The lines of rows that want different titles for one SKU; ``rows``: (line, SKU, the cell of its title)."""
    by_sku: dict[Any, dict[str, list[int]]] = {}
    for line, sku, cell in rows:
        title = wished({"title": cell}).get("title") if len(cell) <= skus.LONGEST_TITLE else None
        if title:
            by_sku.setdefault(sku, {}).setdefault(title, []).append(line)
    return [sorted(line for lines in said.values() for line in lines) for said in by_sku.values() if len(said) > 1]
