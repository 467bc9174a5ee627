"""A file of stock: handed in, read into rows that say what each would change, looked at, applied by a person, undone.

Nothing moves before somebody has looked. Figures are applied through the documents of ``hub.store.warehouse``, some
hundreds of SKUs on each, and a row is marked in the transaction of its document: a worker that dies anywhere leaves
either both or neither, and the reference of the document refuses the same rows twice. Details (``stock_details``) are
entered some rows in one transaction, which marks them as well.
"""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    select,
    update,
)

from hub import access
from hub.access import Permission
from hub.core.model import StockLevel
from hub.core.stock import MOST_UNITS, StockBook
from hub.errors import BadInput, Conflict, HubError, Unreadable
from hub.rows import Column, FileFormat, FileKind, RowReader, ValueKind, assign_columns, read_values
from hub.rows import Row as FileRow
from hub.store import stock_details
from hub.store import tables as t
from hub.store import warehouse as house
from hub.store.bulk import insert_rows
from hub.store.database import Database, Interrupted, for_update, in_chunks, new_id
from hub.store.documents import Desk

LARGEST_FILE = 20 * 1024 * 1024  # bytes
MOST_ROWS = 200_000
_READ_AT_ONCE = 1000  # rows in one transaction
_APPLIED_AT_ONCE = 500  # SKUs on one document: they are locked until it is written
_ENTERED_AT_ONCE = 100  # rows of details in one transaction
_TRIES = 3  # of a worker that dies over it, before a person is told
_LONGEST_TEXT = 1000  # of a cell that is kept to be downloaded

_AnyRow = Row[*tuple[Any, ...]]


class Meaning(StrEnum):
    """What the numbers of a file are."""

    COUNTED = "counted"  # so many lie there
    CHANGES = "changes"  # so many more, or fewer
    RECEIPTS = "receipts"  # so many came in
    DETAILS = "details"  # none: titles, safety stock and shelves are set


class Stage(StrEnum):
    """How far an import is."""

    COLUMNS = "columns"  # somebody is to say what the file means
    READING = "reading"
    PREVIEW = "preview"
    APPLYING = "applying"
    APPLIED = "applied"
    UNDOING = "undoing"
    UNDONE = "undone"


class Fate(StrEnum):
    """What becomes of a row."""

    READY = "ready"  # it changes something, once it is applied
    UNCHANGED = "unchanged"
    MOVED = "moved"  # its stock moved since somebody looked: worked out anew, and to be looked at once more
    BAD = "bad"  # it cannot be taken
    APPLIED = "applied"
    REFUSED = "refused"  # it could be taken when it was read, and could not when it was applied
    UNDONE = "undone"
    KEPT = "kept"  # it could not be taken back


_OPEN = (Stage.READING.value, Stage.APPLYING.value, Stage.UNDOING.value)  # a worker goes on with it

# Where a step that cannot be done leads back to.
_BACK = {Stage.READING: Stage.COLUMNS, Stage.APPLYING: Stage.PREVIEW, Stage.UNDOING: Stage.APPLIED}

# What columns are called, in the languages shops and warehouse programs write.
_CALLED = {
    "sku": "sku, sku code, seller sku, variant sku, item sku, item number, article, article number, product code, "
    "part number, code, artikelnummer, artikel, artikelnr, bestellnummer, référence, référence article, référence "
    "produit, código, referencia, codice, codice articolo, artikelcode, kod, symbol, indeks, artigo, barcode, ean",
    "quantity": "quantity, qty, on hand, stock, units, count, counted, available, in stock, inventory, stock level, "
    "stock quantity, change, adjustment, received, bestand, menge, anzahl, stück, lagerbestand, gezählt, zugang, "
    "quantité, qté, stock réel, cantidad, existencias, unidades, quantità, giacenza, pezzi, aantal, voorraad, ilość, "
    "stan, quantidade, estoque",
    "location": "location, location name, warehouse, site, store, branch, lager, lagerort, standort, filiale, "
    "entrepôt, emplacement, magasin, dépôt, almacén, ubicación, magazzino, deposito, magazijn, locatie, magazyn",
    "title": "title, name, product name, item name, description, bezeichnung, artikelbezeichnung, titel, titre, "
    "désignation, nombre, título, nome, titolo, omschrijving, nazwa, designação",
    "safety_stock": "safety stock, buffer, reserve, sicherheitsbestand, mindestbestand, stock de sécurité, stock de "
    "seguridad, scorta di sicurezza, veiligheidsvoorraad, zapas bezpieczeństwa",
    "zone": "zone, aisle, area, gang, bereich, allée, zona, pasillo, corsia, strefa",
    "shelf": "shelf, bin, bin location, rack, regal, lagerplatz, fach, étagère, casier, estante, scaffale, schap, "
    "półka",
}

# No column is required here: the page asks for those that are, and says in its own words what each is.
KIND = FileKind(
    label="Stock",
    hint="One row for each SKU and location.",
    folder="",
    columns={
        name: Column(label=label, hint="", kind=kind, usual=tuple(_CALLED[name].split(", ")))
        for name, label, kind in (
            ("sku", "SKU", ValueKind.IDENTIFIER),
            ("quantity", "Quantity", ValueKind.WHOLE),
            ("location", "Location", ValueKind.TEXT),
            ("title", "Title", ValueKind.TEXT),
            ("safety_stock", "Safety stock", ValueKind.WHOLE),
            ("zone", "Zone", ValueKind.TEXT),
            ("shelf", "Shelf", ValueKind.TEXT),
        )
    },
)


def columns_of(meaning: Meaning) -> Sequence[str]:
    """The columns that are read of a file of this meaning."""
    return ("sku", "location", *stock_details.NAMES) if meaning is Meaning.DETAILS else ("sku", "quantity", "location")


# ---------------------------------------------------------------- what a person does


@access.needs(Permission.STOCK)
def hand_in(database: Database, merchant_id: UUID, file_name: str, content: bytes, actor: str) -> UUID:
    """Keep a file. Raises Unreadable, with nothing kept, for what is no file of rows, BadInput for one too large."""
    if len(content) > LARGEST_FILE:
        raise BadInput(f"The file is larger than {LARGEST_FILE // 1024 // 1024} MB. Split it, and hand in each part.")
    lines = content.count(b"\n")
    if lines > MOST_ROWS:
        raise BadInput(f"The file has {lines:,} lines, and at most {MOST_ROWS:,} are taken at once. Split it.")
    reader = RowReader(io.BytesIO(content), FileFormat())
    header = [_storable(text) for text in reader.header]
    if len([text for text in header if text]) < 2:
        raise Unreadable(
            "The file has only one column. It takes at least two, a SKU and a quantity, with commas, semicolons or "
            "tabs between them."
        )
    mark = hashlib.sha256(json.dumps(header).encode()).hexdigest()

    def work(connection: Connection) -> UUID:
        at = database.now(connection)
        import_id = new_id()
        before = remembered(connection, merchant_id, mark)
        said = {name: before.columns[name] for name in columns_of(Meaning(before.meaning))} if before else {}
        connection.execute(
            insert(t.stock_import).values(
                merchant_id=merchant_id,
                id=import_id,
                actor=actor,
                file_name=_storable(file_name).strip()[:200] or "stock.csv",
                body=zlib.compress(content),
                encoding=reader.encoding,
                delimiter=reader.delimiter,
                header=header,
                header_mark=mark,
                meaning=before.meaning if before else "",
                columns=assign_columns(KIND, header, said),
                location_id=before.location_id if before else None,
                state=Stage.COLUMNS.value,
                total=lines,
                created_at=at,
                changed_at=at,
            )
        )
        return import_id

    return database.transact(work)


def remembered(connection: Connection, merchant_id: UUID, mark: str) -> Any:
    """What was said of the last file with the same header; None where there was none."""
    this = t.stock_import.c
    return connection.execute(
        select(this.meaning, this.columns, this.location_id)
        .where(this.merchant_id == merchant_id, this.header_mark == mark, this.meaning != "")
        .order_by(this.id.desc())
        .limit(1)
    ).one_or_none()


@access.needs(Permission.STOCK)
def choose(
    database: Database,
    merchant_id: UUID,
    import_id: UUID,
    meaning: Meaning,
    columns: Mapping[str, str],
    location_id: UUID | None,
    reason: str,
    actor: str,
    *,
    make_skus: bool = False,
) -> None:
    """Say what the file means, and have it read. ``columns`` name the header of each thing, "" for what it has not.

    What was read of it before, in another way, is dropped. ``make_skus``: codes nobody knows become SKUs, by a file of
    details. Raises NotPermitted where somebody may not do by hand what the file would do.
    """
    used = columns_of(meaning)
    columns = {name: columns.get(name, "") if name in used else "" for name in KIND.columns}
    if columns["title"] or make_skus:
        access.demand(Permission.CATALOG)
    if columns["zone"] or columns["shelf"]:
        access.demand(Permission.PACK)

    def work(connection: Connection) -> None:
        row = _mine(connection, merchant_id, import_id, actor, Stage.COLUMNS, Stage.PREVIEW)
        wrong = {
            name: [f"Say which column has the {KIND.columns[name].label.lower()}."]
            for name in ("sku", "quantity")
            if name in used and (columns[name] not in row.header or not columns[name])
        }
        chosen = [text for text in columns.values() if text]
        if not wrong and len(chosen) != len(set(chosen)):
            wrong["quantity" if "quantity" in used else "title"] = [
                "One column cannot be two things. Choose another one."
            ]
        wrong |= {
            name: ["The file has no such column."]
            for name in used
            if name not in ("sku", "quantity") and columns[name] and columns[name] not in row.header
        }
        if meaning is Meaning.DETAILS and not any(columns[name] for name in stock_details.NAMES) and not make_skus:
            wrong["title"] = ["Choose at least one column of what the file sets."]
        says_where = meaning is not Meaning.DETAILS or any(columns[name] for name in stock_details.OF_A_PLACE)
        places = {place.id: place for place in _places(connection, merchant_id)}
        if location_id is not None and location_id not in places:
            wrong["location_id"] = ["This location does not exist."]
        elif location_id is not None and places[location_id].kind == "3pl" and meaning is not Meaning.DETAILS:
            wrong["location_id"] = [_of_3pl(places[location_id].name)]
        if says_where and location_id is None and not columns["location"]:
            wrong["location_id"] = ["Choose a location: the file does not say where its stock lies."]
        if wrong:
            raise BadInput("Some fields need another look.", wrong)
        _forget_rows(connection, merchant_id, import_id)
        _change(
            connection,
            row,
            database.now(connection),
            meaning=meaning.value,
            columns=columns,
            make_skus=make_skus and meaning is Meaning.DETAILS,
            location_id=location_id,
            reason=" ".join(_storable(reason).split())[:200],
            state=Stage.READING.value,
            message="",
            read_to=0,
            done=0,
            attempts=0,
        )

    database.transact(work)


@access.needs(Permission.STOCK)
def choose_again(database: Database, merchant_id: UUID, import_id: UUID, actor: str) -> None:
    """Go back to what the columns mean."""

    def work(connection: Connection) -> None:
        row = _mine(connection, merchant_id, import_id, actor, Stage.PREVIEW)
        if _any(connection, merchant_id, import_id, Fate.APPLIED):
            raise Conflict("Some of this file is applied already. Undo that first, or hand the file in again.")
        _change(connection, row, database.now(connection), state=Stage.COLUMNS.value, message="")

    database.transact(work)


@access.needs(Permission.STOCK)
def apply(database: Database, merchant_id: UUID, import_id: UUID, actor: str) -> int:
    """Have what was looked at entered by a worker; returns 0 then.

    Where counted stock has moved since, nothing is entered: those rows are worked out anew, to be looked at once more,
    and their number is returned. (A change or a receipt says the same whatever lies there.)
    """

    def work(connection: Connection) -> int:
        row = _mine(connection, merchant_id, import_id, actor, Stage.PREVIEW, Stage.APPLIED)
        moved = _work_out_anew(connection, row) if row.meaning == Meaning.COUNTED else 0
        this = t.stock_import_row.c
        if not moved:
            mine = (this.merchant_id == merchant_id, this.import_id == import_id)
            connection.execute(
                update(t.stock_import_row).where(*mine, this.state == Fate.MOVED.value).values(state=Fate.READY.value)
            )
            if not _any(connection, merchant_id, import_id, Fate.READY):
                raise Conflict("There is nothing to apply: no row of this file changes anything.")
            _change(connection, row, database.now(connection), state=Stage.APPLYING.value, message="", attempts=0)
        return moved

    return database.transact(work)


@access.needs(Permission.STOCK)
def undo(database: Database, merchant_id: UUID, import_id: UUID, actor: str) -> None:
    """Have what was applied taken back by counter documents: by as many units as each row changed."""

    def work(connection: Connection) -> None:
        row = _mine(connection, merchant_id, import_id, actor, Stage.APPLIED, Stage.PREVIEW)
        if not _any(connection, merchant_id, import_id, Fate.APPLIED):
            raise Conflict("Nothing of this file is applied.")
        _change(connection, row, database.now(connection), state=Stage.UNDOING.value, message="", attempts=0)

    database.transact(work)


@access.needs(Permission.STOCK)
def drop(database: Database, merchant_id: UUID, import_id: UUID, actor: str) -> None:
    """Forget a file of which nothing is applied."""

    def work(connection: Connection) -> None:
        _mine(connection, merchant_id, import_id, actor, Stage.COLUMNS, Stage.PREVIEW, Stage.READING, Stage.UNDONE)
        if _any(connection, merchant_id, import_id, Fate.APPLIED):
            raise Conflict("Some of this file is applied already. Undo that first.")
        _forget(connection, merchant_id, import_id)

    database.transact(work)


def forget_old(database: Database, before: datetime) -> None:
    """Forget files nobody has done anything about since then; what they changed stays on its documents."""
    this = t.stock_import.c
    idle = select(this.merchant_id, this.id).where(this.changed_at < before, this.state.not_in(_OPEN))
    with database.read() as connection:
        old = connection.execute(idle).all()
    for row in old:
        with database.write() as connection:
            # Somebody may have come back to it at this moment.
            still = idle.where(this.merchant_id == row.merchant_id, this.id == row.id)
            if connection.execute(for_update(connection, still)).first() is not None:
                _forget(connection, row.merchant_id, row.id)


# ---------------------------------------------------------------- what a worker does


def merchants_due(connection: Connection) -> Sequence[UUID]:
    """The merchants with an import that a worker is to go on with."""
    this = t.stock_import.c
    # Spelled out as in the index of those: by parameters SQLite does not find it.
    states: list[ColumnElement[str]] = [literal_column(f"'{state}'") for state in _OPEN]
    return connection.execute(select(this.merchant_id).distinct().where(this.state.in_(states))).scalars().all()


def go_on(database: Database, merchant_id: UUID, time_left: Callable[[], bool]) -> set[UUID] | None:
    """Take the oldest open import one step further; None when there is none.

    Returns the connections that have something to publish. What cannot be done is told on the import's page.
    """

    def begin(connection: Connection) -> _AnyRow | None:
        this = t.stock_import.c
        first = select(t.stock_import).where(this.merchant_id == merchant_id, this.state.in_(_OPEN))
        row = connection.execute(for_update(connection, first.order_by(this.id).limit(1))).one_or_none()
        if row is not None:
            # Counted before the step: one that breaks its worker down must not do so for ever.
            _change(connection, row, row.changed_at, attempts=row.attempts + 1)
        return row

    row = database.transact(begin)
    if row is None:
        return None
    try:
        if row.attempts >= _TRIES:
            raise HubError("The hub broke down over this several times. Try again, or tell the operator.")
        touched = _STEPS[Stage(row.state)](database, row, time_left)
    except Interrupted:
        raise
    except HubError as error:
        _stop(database, row, str(error))
        return set()
    database.transact(lambda connection: _change(connection, row, row.changed_at, attempts=0))
    return touched


def _stop(database: Database, row: _AnyRow, message: str) -> None:
    def work(connection: Connection) -> None:
        back = _BACK[Stage(row.state)].value
        _change(connection, row, database.now(connection), state=back, message=message, attempts=0)

    database.transact(work)


def _end(database: Database, row: _AnyRow, stage: Stage) -> None:
    def work(connection: Connection) -> None:
        this = t.stock_import.c
        connection.execute(
            update(t.stock_import)
            .where(this.merchant_id == row.merchant_id, this.id == row.id, this.state == row.state)
            .values(state=stage.value, changed_at=database.now(connection))
        )

    database.transact(work)


# ---------------------------------------------------------------- reading


@dataclass(frozen=True, slots=True)
class _Known:
    """What some rows speak of: SKUs by what they are called, their balances, and the locations."""

    skus: Mapping[str, _AnyRow]
    levels: Mapping[tuple[UUID, UUID], StockLevel]
    places: Mapping[str, _AnyRow]
    said: Mapping[tuple[UUID, UUID], stock_details.Said]


def _read(database: Database, row: _AnyRow, time_left: Callable[[], bool]) -> set[UUID]:
    """Read the file from where the last worker left it."""
    # Where semicolons stand between the columns, the comma is the decimal sign.
    form = FileFormat(encoding=row.encoding, delimiter=row.delimiter, decimal="," if row.delimiter == ";" else ".")
    try:
        reader = RowReader(io.BytesIO(zlib.decompress(row.body)), form)
    except Unreadable as error:
        raise BadInput(str(error)) from error
    rest = (each for each in reader if each.line > row.read_to)
    done = row.done
    while some := list(islice(rest, _READ_AT_ONCE)):
        done += len(some)
        if done > MOST_ROWS:
            raise BadInput(f"The file has more than {MOST_ROWS:,} rows. Split it, and hand in each part.")
        database.transact(lambda connection, some=some, done=done: _keep(connection, row, form, some, done))  # type: ignore[misc]
        if not time_left():
            return set()
    database.transact(lambda connection: _refuse_twins(connection, row))
    _end(database, row, Stage.PREVIEW)
    return set()


def _keep(connection: Connection, row: _AnyRow, form: FileFormat, some: Sequence[FileRow], done: int) -> None:
    """Keep some rows, if nobody else has: the mark tells up to where it is read."""
    this = t.stock_import.c
    kept = connection.execute(
        update(t.stock_import)
        .where(
            this.merchant_id == row.merchant_id,
            this.id == row.id,
            this.state == Stage.READING.value,
            this.read_to < some[0].line,
        )
        .values(read_to=some[-1].line, done=done)
    )
    if kept.rowcount != 1:
        return
    values: dict[int, dict[str, Any]] = {}
    problems: dict[int, str] = {}
    for each in some:
        try:
            if each.wrong:
                raise Unreadable(each.wrong)
            values[each.line] = read_values(KIND, each.texts, row.columns, form)
        except Unreadable as error:
            problems[each.line] = str(error)
    known = _known(connection, row.merchant_id, {read["sku"] for read in values.values() if "sku" in read})
    judged = _details_judged if row.meaning == Meaning.DETAILS else _judged
    insert_rows(
        connection,
        t.stock_import_row,
        [
            {"merchant_id": row.merchant_id, "import_id": row.id, "line": each.line}
            | judged(row, known, values.get(each.line, {}), problems.get(each.line, ""))
            | {"texts": [_storable(text) for text in cells(each)]}
            for each in some
        ],
    )


def cells(row: FileRow) -> list[str]:
    """The texts of a row beneath the headers that say something, or the whole of one that has no columns."""
    return [text for heading, text in row.texts.items() if heading] or [row.whole]


def _judged(row: _AnyRow, known: _Known, read: Mapping[str, Any], problem: str) -> dict[str, Any]:
    """What one row of the file would do."""
    code, quantity = read.get("sku", ""), read.get("quantity")
    sku = known.skus.get(code)
    named = " ".join(read.get("location", "").split())
    place = known.places.get(named.casefold()) if named else known.places.get(str(row.location_id))
    level = known.levels.get((sku.id, place.id)) if sku and place else None
    before, after = level.on_hand if level else None, None
    if not problem:
        problem = _what_is_wrong(code, quantity, sku, named, place)
    if not problem and quantity is not None:
        after, problem = judge(row.meaning, quantity, level)
    nothing = after == before or (row.meaning == Meaning.RECEIPTS and quantity == 0)
    fate = Fate.BAD if problem else Fate.UNCHANGED if nothing else Fate.READY
    fits = quantity is not None and abs(quantity) <= MOST_UNITS
    return {
        "state": fate.value,
        "code": _storable(code)[:255],
        "sku_id": sku.id if sku else None,
        "location_id": place.id if place else None,
        "quantity": quantity if fits else None,
        "before": before,
        "after": None if problem else after,
        "problem": _storable(problem),
    }


def _details_judged(row: _AnyRow, known: _Known, read: Mapping[str, Any], problem: str) -> dict[str, Any]:
    """What one row of a file of details would do."""
    code, named = read.get("sku", ""), " ".join(read.get("location", "").split())
    sku = known.skus.get(code)
    place = known.places.get(named.casefold()) if named else known.places.get(str(row.location_id))
    details: stock_details.Details = {}
    try:
        if problem or not code:
            raise BadInput(problem or "It names no SKU.")
        wanted = stock_details.wished(read)
        if sku is None:
            details = stock_details.of_unknown(code, wanted, made=row.make_skus)
        else:
            said = known.said.get((sku.id, place.id)) if place else None
            details = stock_details.of_known(sku, named, place, said, wanted)
    except BadInput as error:
        problem = str(error)
    fate = Fate.BAD if problem else Fate.READY if details else Fate.UNCHANGED
    return {
        "state": fate.value,
        "code": _storable(code)[:255],
        "sku_id": sku.id if sku else None,
        "location_id": place.id if place else None,
        "quantity": None,
        "before": None,
        "after": None,
        "details": dict(details),
        "problem": _storable(problem),
    }


def _what_is_wrong(code: str, quantity: int | None, sku: Any, named: str, place: Any) -> str:
    if not code:
        return "It names no SKU."
    if quantity is None:
        return "It has no quantity."
    if sku is None:
        return f"There is no SKU or barcode “{code[:60]}” here. Match its listing first, or correct the code."
    if sku.kit:
        return f"{sku.code} is a kit, and has no stock of its own. Count its parts instead."
    if place is None and named:
        return f"There is no location “{named[:60]}” here. Correct the name, or add it in the settings."
    if place is None:
        return "It does not say where the stock lies, and no location was chosen for such rows."
    return _of_3pl(place.name) if place.kind == "3pl" else ""


def _of_3pl(name: str) -> str:
    return f"{name} belongs to a 3PL: its stock is what the 3PL says. Correct it there."


def judge(meaning: str, quantity: int, level: StockLevel | None) -> tuple[int, str]:
    """What would be on hand, and why that cannot be, "" where it can. ``level``: None: never counted there."""
    on_hand = level.on_hand if level else 0
    after = quantity if meaning == Meaning.COUNTED else on_hand + quantity
    if meaning != Meaning.CHANGES and quantity < 0:
        return after, "It is less than none. Where the numbers are changes, say so instead."
    if meaning == Meaning.CHANGES and level is None:
        return after, "It was never counted there, so that nothing can be added or taken away. Count it first."
    if after < 0:
        return after, f"That would leave {after:,}: there are {on_hand:,}."
    if after > MOST_UNITS:
        return after, f"The hub counts to {MOST_UNITS:,}."
    held = level.allocated + level.quarantined + level.damaged if level else 0
    if after < min(held, on_hand):
        return after, (
            f"That would leave {after:,}, and {held:,} are reserved for orders or set aside. If it is so, count this "
            "SKU on its own: its orders then wait again."
        )
    return after, ""


def _known(connection: Connection, merchant_id: UUID, codes: Collection[str]) -> _Known:
    skus = _skus_called(connection, merchant_id, codes)
    level = t.stock_level.c
    levels: dict[tuple[UUID, UUID], StockLevel] = {}
    for some in in_chunks({row.id for row in skus.values()}):
        for each in connection.execute(_levels().where(level.merchant_id == merchant_id, level.sku_id.in_(some))):
            levels[each.sku_id, each.location_id] = _level(each)
    places: dict[str, _AnyRow] = {}
    for place in _places(connection, merchant_id):
        places[str(place.id)] = places[" ".join(place.name.split()).casefold()] = place
    said = stock_details.at_places(connection, merchant_id, {row.id: row.title for row in skus.values()})
    return _Known(skus, levels, places, said)


def _skus_called(connection: Connection, merchant_id: UUID, codes: Collection[str]) -> dict[str, _AnyRow]:
    """The SKU of each of these codes: the one called so, or so but for small and capital letters where only one is, or
    the only one with this barcode."""
    sku, listing = t.sku.c, t.listing.c
    found: dict[str, _AnyRow] = {}
    columns = (sku.id, sku.code, sku.kit, sku.title)
    for some in in_chunks(sorted(codes)):
        for row in connection.execute(select(*columns).where(sku.merchant_id == merchant_id, sku.code.in_(some))):
            found[row.code] = row
    for some in in_chunks(sorted(codes - found.keys())):
        by_name: dict[str, dict[UUID, _AnyRow]] = {}
        lowered = select(*columns, func.lower(sku.code).label("name")).where(
            sku.merchant_id == merchant_id, func.lower(sku.code).in_({each.lower() for each in some})
        )
        scanned = (
            select(*columns, listing.barcode.label("name"))
            .join(t.listing, (listing.merchant_id == sku.merchant_id) & (listing.sku_id == sku.id))
            .where(listing.merchant_id == merchant_id, listing.barcode.in_(some), listing.barcode != "")
        )
        for query in (lowered, scanned):
            named: Sequence[Any] = connection.execute(query).all()
            for row in named:
                by_name.setdefault(row.name, {})[row.id] = row
        for code in some:
            fitting = by_name.get(code.lower()) or by_name.get(code) or {}
            if len(fitting) == 1:
                found[code] = next(iter(fitting.values()))
    return found


def _places(connection: Connection, merchant_id: UUID) -> Sequence[_AnyRow]:
    place = t.location.c
    return connection.execute(
        select(place.id, place.name, place.kind).where(place.merchant_id == merchant_id).order_by(place.name)
    ).all()


def _levels() -> Any:
    level = t.stock_level.c
    return select(level.sku_id, level.location_id, level.on_hand, level.allocated, level.quarantined, level.damaged)


def _level(row: Any) -> StockLevel:
    return StockLevel(row.on_hand, row.allocated, row.quarantined, row.damaged)


def _refuse_twins(connection: Connection, row: _AnyRow) -> None:
    """Where two rows are about the same SKU at the same location, nobody can tell which is meant: neither is taken. Nor
    is it known which is meant of different titles of one SKU."""
    if row.meaning == Meaning.DETAILS:
        _refuse_contradictions(connection, row)
    this = t.stock_import_row.c
    good = and_(
        this.merchant_id == row.merchant_id,
        this.import_id == row.id,
        this.state.in_([Fate.READY.value, Fate.UNCHANGED.value]),
    )
    twins = connection.execute(
        select(this.sku_id, this.location_id)
        .where(good, this.sku_id.is_not(None))
        .group_by(this.sku_id, this.location_id)
        .having(func.count() > 1)
    ).all()
    for twin in twins:
        same = and_(good, this.sku_id == twin.sku_id, this.location_id == twin.location_id)
        lines = connection.execute(select(this.line).where(same).order_by(this.line)).scalars().all()
        told = ", ".join(str(line) for line in lines[:5]) + (" and more" if len(lines) > 5 else "")
        problem = f"Lines {told} are about the same SKU at the same location. Leave one of them."
        connection.execute(
            update(t.stock_import_row).where(same).values(state=Fate.BAD.value, after=None, problem=problem)
        )


def _refuse_contradictions(connection: Connection, row: _AnyRow) -> None:
    this = t.stock_import_row.c
    good = and_(
        this.merchant_id == row.merchant_id,
        this.import_id == row.id,
        this.state.in_([Fate.READY.value, Fate.UNCHANGED.value]),
    )
    headings, column = [text for text in row.header if text], row.columns.get("title", "")
    where = headings.index(column) if column else None
    rows: list[tuple[int, Any, str]] = []
    made: dict[str, list[int]] = {}
    for each in connection.execute(select(this.line, this.sku_id, this.code, this.texts).where(good)):
        if each.sku_id is None:
            made.setdefault(each.code, []).append(each.line)
        elif where is not None and where < len(each.texts):
            rows.append((each.line, each.sku_id, each.texts[where]))
    refused = [(lines, "want different titles for one SKU") for lines in stock_details.contradictions(rows)]
    refused += [(sorted(lines), "would make the same SKU") for lines in made.values() if len(lines) > 1]
    for lines, what in refused:
        told = ", ".join(str(line) for line in lines[:5]) + (" and more" if len(lines) > 5 else "")
        problem = f"Lines {told} {what}. Leave one of them, or make them agree."
        _write(connection, row, [{"this_line": line, "state": Fate.BAD.value, "problem": problem} for line in lines])


# ---------------------------------------------------------------- applying, and taking back


class _NotSo(HubError):
    """Under the lock some rows turned out otherwise than they were looked at: nothing was written."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        super().__init__("Some rows are not any more what somebody looked at.")
        self.rows = rows


def _work_out_anew(connection: Connection, row: _AnyRow) -> int:
    """Work out the rows anew whose stock is not what it was; returns how many of them there were."""
    this, level = t.stock_import_row.c, t.stock_level.c
    here = and_(
        level.merchant_id == this.merchant_id, level.sku_id == this.sku_id, level.location_id == this.location_id
    )
    moved = connection.execute(
        select(this.line, this.quantity, level.on_hand, level.allocated, level.quarantined, level.damaged)
        .select_from(t.stock_import_row.outerjoin(t.stock_level, here))
        .where(
            this.merchant_id == row.merchant_id,
            this.import_id == row.id,
            this.state.in_([Fate.READY.value, Fate.UNCHANGED.value, Fate.MOVED.value]),
            level.on_hand.is_distinct_from(this.before),
        )
    ).all()
    _write(connection, row, [_anew(row, each, None if each.on_hand is None else _level(each)) for each in moved])
    return len(moved)


def _anew(row: _AnyRow, each: Any, level: StockLevel | None) -> dict[str, Any]:
    after, problem = judge(row.meaning, each.quantity, level)
    before = level.on_hand if level else None
    fate = Fate.REFUSED if problem else Fate.UNCHANGED if after == before else Fate.MOVED
    return {"this_line": each.line, "state": fate.value, "before": before, "after": after, "problem": problem}


def _write(connection: Connection, row: _AnyRow, changed: Sequence[Mapping[str, Any]]) -> None:
    """Write what these rows have become."""
    if not changed:
        return
    this = t.stock_import_row.c
    names = changed[0].keys() - {"this_line"}
    connection.execute(
        update(t.stock_import_row)
        .where(this.merchant_id == row.merchant_id, this.import_id == row.id, this.line == bindparam("this_line"))
        .values({name: bindparam(f"new_{name}") for name in names}),
        [{"this_line": each["this_line"]} | {f"new_{name}": each[name] for name in names} for each in changed],
    )


def _apply_some(database: Database, row: _AnyRow, _time_left: Callable[[], bool]) -> set[UUID]:
    """Enter the next rows of one location as one document, and rows of details in one transaction."""
    if row.meaning == Meaning.DETAILS:
        return _do_details(database, row, Fate.READY, Stage.APPLIED)
    rows = _next_rows(database, row, Fate.READY)
    if not rows:
        _end(database, row, Stage.APPLIED)
        return set()

    def enter(beside: Callable[[Desk, StockBook], None]) -> set[UUID]:
        here = (database, row.merchant_id, rows[0].location_id)
        lines = {each.sku_id: each.quantity for each in rows}
        reference = f"import/{row.id.hex}/{rows[0].line}"
        why = row.reason or f"Import of {row.file_name}"
        if row.meaning == Meaning.RECEIPTS:
            return house.receive(*here, lines, reference, row.actor, why, beside=beside)
        if row.meaning == Meaning.CHANGES:
            return house.change(*here, lines, why, row.actor, reference, beside=beside)
        return house.count(*here, lines, why, row.actor, reference, beside=beside)

    def look(desk: Desk, book: StockBook) -> None:
        not_so, moved = [], []
        for each in rows:
            level = book.before.get((each.sku_id, each.location_id))
            anew = _anew(row, each, level)
            if anew["problem"] or (row.meaning == Meaning.COUNTED and anew["before"] != each.before):
                not_so.append(anew)
            elif anew["before"] != each.before:
                moved.append({name: anew[name] for name in ("this_line", "before", "after")})
        if not_so:
            raise _NotSo(not_so)
        _write(desk.connection, row, moved)
        _mark(desk, row, rows, Fate.APPLIED)

    return _enter(database, row, rows, enter, look, Fate.REFUSED)


def _undo_some(database: Database, row: _AnyRow, _time_left: Callable[[], bool]) -> set[UUID]:
    """Take the next rows of one location back with one counter document, and rows of details in one transaction."""
    if row.meaning == Meaning.DETAILS:
        return _do_details(database, row, Fate.APPLIED, Stage.UNDONE)
    rows = _next_rows(database, row, Fate.APPLIED)
    if not rows:
        _end(database, row, Stage.UNDONE)
        return set()
    lines = {each.sku_id: units for each in rows if (units := (each.before or 0) - each.after)}
    if not lines:  # first counts of nothing: there is nothing to take back
        this = t.stock_import_row.c
        with database.write() as connection:
            connection.execute(
                update(t.stock_import_row)
                .where(
                    this.merchant_id == row.merchant_id,
                    this.import_id == row.id,
                    this.line.in_([each.line for each in rows]),
                )
                .values(state=Fate.UNDONE.value)
            )
        return set()

    def enter(beside: Callable[[Desk, StockBook], None]) -> set[UUID]:
        reference = f"undo/{row.id.hex}/{rows[0].line}"
        why = f"Taken back: import of {row.file_name}"
        return house.change(
            database, row.merchant_id, rows[0].location_id, lines, why, row.actor, reference, beside=beside
        )

    def look(desk: Desk, book: StockBook) -> None:
        stays = []
        for each in rows:
            if each.sku_id in lines:
                level = book.before.get((each.sku_id, each.location_id))
                _, problem = judge(Meaning.CHANGES, lines[each.sku_id], level)
                if problem:
                    stays.append({"this_line": each.line, "state": Fate.KEPT.value, "problem": problem})
        if stays:
            raise _NotSo(stays)
        _mark(desk, row, rows, Fate.UNDONE)

    return _enter(database, row, rows, enter, look, Fate.KEPT)


def _do_details(database: Database, row: _AnyRow, fate: Fate, stage: Stage) -> set[UUID]:
    """Enter the next rows of details, or take them back: each by itself, and with its mark, some in one commit."""
    this = t.stock_import_row.c
    act, became, otherwise = (
        (stock_details.enter, Fate.APPLIED, Fate.REFUSED)
        if fate is Fate.READY
        else (stock_details.take_back, Fate.UNDONE, Fate.KEPT)
    )

    def work(connection: Connection) -> set[UUID] | None:
        waiting = (this.merchant_id == row.merchant_id, this.import_id == row.id, this.state == fate.value)
        some = select(t.stock_import_row).where(*waiting).order_by(this.line).limit(_ENTERED_AT_ONCE)
        rows = connection.execute(for_update(connection, some)).all()
        if not rows:
            return None
        touched: set[UUID] = set()
        for each in sorted(rows, key=lambda each: (str(each.sku_id), each.line)):  # as whoever else locks SKUs
            changed: dict[str, Any] = {"state": became.value}
            try:
                with connection.begin_nested():
                    changed["sku_id"], published = act(database.joining(connection), row.merchant_id, each, row.actor)
            except Interrupted:
                raise
            except stock_details.Moved as error:
                told = Fate.MOVED if error.now else Fate.UNCHANGED
                changed = {"state": told.value, "details": dict(error.now)}
            except HubError as error:
                changed = {"state": otherwise.value, "problem": str(error)}
            else:
                touched |= published
            connection.execute(
                update(t.stock_import_row)
                .where(this.merchant_id == row.merchant_id, this.import_id == row.id, this.line == each.line)
                .values(changed)
            )
        return touched

    touched = database.transact(work)
    if touched is None:
        _end(database, row, stage)
    return touched or set()


_STEPS: dict[Stage, Callable[[Database, _AnyRow, Callable[[], bool]], set[UUID]]] = {
    Stage.READING: _read,
    Stage.APPLYING: _apply_some,
    Stage.UNDOING: _undo_some,
}


def _next_rows(database: Database, row: _AnyRow, fate: Fate) -> Sequence[_AnyRow]:
    """The next rows of one location."""
    this = t.stock_import_row.c
    waiting = (this.merchant_id == row.merchant_id, this.import_id == row.id, this.state == fate.value)
    with database.read() as connection:
        place = connection.execute(select(this.location_id).where(*waiting).order_by(this.line).limit(1)).scalar()
        return connection.execute(
            select(this.line, this.sku_id, this.location_id, this.quantity, this.before, this.after)
            .where(*waiting, this.location_id == place)
            .order_by(this.line)
            .limit(_APPLIED_AT_ONCE)
        ).all()


def _enter(
    database: Database,
    row: _AnyRow,
    rows: Sequence[_AnyRow],
    enter: Callable[[Callable[[Desk, StockBook], None]], set[UUID]],
    look: Callable[[Desk, StockBook], None],
    otherwise: Fate,
) -> set[UUID]:
    """Enter these rows; those that cannot be are marked, and the others are left to the next step."""
    try:
        return enter(look)
    except _NotSo as told:
        not_so = told.rows
    except BadInput as error:
        not_so = [
            {"this_line": each.line, "state": otherwise.value, "problem": " ".join(error.fields[str(each.sku_id)])}
            for each in rows
            if str(each.sku_id) in error.fields
        ]
        if not not_so:
            raise
    database.transact(lambda connection: _write(connection, row, not_so))
    return set()


def _mark(desk: Desk, row: _AnyRow, rows: Sequence[_AnyRow], fate: Fate) -> None:
    """Mark what a document has entered, in its own transaction. Raises Conflict when another worker has been faster."""
    this = t.stock_import_row.c
    before = Fate.READY if fate is Fate.APPLIED else Fate.APPLIED
    changed: dict[str, Any] = {"state": fate.value}
    if fate is Fate.APPLIED:
        changed["document_id"] = desk.document_id
    marked = desk.connection.execute(
        update(t.stock_import_row)
        .where(
            this.merchant_id == row.merchant_id,
            this.import_id == row.id,
            this.line.in_([each.line for each in rows]),
            this.state == before.value,
        )
        .values(changed)
    )
    if marked.rowcount != len(rows):
        raise Conflict("Another worker has entered these rows already.")


# ---------------------------------------------------------------- what is inside


def _mine(connection: Connection, merchant_id: UUID, import_id: UUID, actor: str, *stages: Stage) -> _AnyRow:
    """The import, locked, if it is this person's and at one of these stages."""
    this = t.stock_import.c
    row = connection.execute(
        for_update(connection, select(t.stock_import).where(this.merchant_id == merchant_id, this.id == import_id))
    ).one_or_none()
    if row is None:
        raise BadInput("This import does not exist. Reload the page.")
    if row.actor != actor:
        raise Conflict(f"{row.actor} handed this file in, and decides about it. Hand it in yourself to enter it.")
    if row.state not in [each.value for each in stages]:
        raise Conflict("Something else happened to this import meanwhile. Look at it again.")
    return row


def _change(connection: Connection, row: _AnyRow, at: datetime, **values: Any) -> None:
    this = t.stock_import.c
    connection.execute(
        update(t.stock_import)
        .where(this.merchant_id == row.merchant_id, this.id == row.id)
        .values(changed_at=at, **values)
    )


def _any(connection: Connection, merchant_id: UUID, import_id: UUID, fate: Fate) -> bool:
    this = t.stock_import_row.c
    mine = (this.merchant_id == merchant_id, this.import_id == import_id, this.state == fate.value)
    return connection.execute(select(this.line).where(*mine).limit(1)).first() is not None


def _forget_rows(connection: Connection, merchant_id: UUID, import_id: UUID) -> None:
    this = t.stock_import_row.c
    connection.execute(delete(t.stock_import_row).where(this.merchant_id == merchant_id, this.import_id == import_id))


def _forget(connection: Connection, merchant_id: UUID, import_id: UUID) -> None:
    this = t.stock_import.c
    _forget_rows(connection, merchant_id, import_id)
    connection.execute(delete(t.stock_import).where(this.merchant_id == merchant_id, this.id == import_id))


def _storable(text: str) -> str:
    """Text that both databases can keep: no half characters, no NUL, nothing endless."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")[:_LONGEST_TEXT]
