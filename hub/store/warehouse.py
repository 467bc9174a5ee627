"""What people do to stock in a warehouse: deliveries, counts, transfers, what is set aside, each on a document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from itertools import count as count_from
from uuid import UUID

from sqlalchemy import Connection, select, update

from hub import access
from hub.access import Permission
from hub.core.stock import MOST_UNITS, Cause, Condition, Place, StockBook
from hub.errors import BadInput, Conflict
from hub.store import activity
from hub.store import tables as t
from hub.store.database import Database, for_update, new_id, upsert
from hub.store.documents import (
    Beside,
    Desk,
    Kind,
    Paper,
    check_lines,
    check_units,
    enter,
    in_words,
    is_whole,
    location_name,
    nothing_beside,
    reason_of,
    reference_of,
    resume,
    skus,
)
from hub.store.marking import mark_dirty
from hub.store.stock import open_book, open_whole_book, serve_woken, start_counting

_CLOCKS_DIFFER = timedelta(minutes=5)  # of the person who says when the shelf was looked at
_NAMED = 8  # SKUs that a sentence speaks of before it leaves the others out


# ---------------------------------------------------------------- locations and safety stock


def default_location(connection: Connection, merchant_id: UUID, *, at: datetime) -> UUID:
    """The merchant's first location, made when there is none yet."""
    found: UUID | None = connection.execute(
        select(t.location.c.id)
        .where(t.location.c.merchant_id == merchant_id)
        .order_by(t.location.c.created_at, t.location.c.id)
        .limit(1)
    ).scalar_one_or_none()
    if found is not None:
        return found
    insertion = upsert(connection, t.location).values(
        merchant_id=merchant_id, id=new_id(), name="Main warehouse", created_at=at
    )
    connection.execute(insertion.on_conflict_do_nothing(index_elements=["merchant_id", "name"]))
    return default_location(connection, merchant_id, at=at)


def location_called(connection: Connection, merchant_id: UUID, name: str, *, at: datetime) -> UUID:
    """A new location of a 3PL, called like that, or with a number after it where the name is taken."""
    for number in count_from(1):
        location_id = new_id()
        called = name[:190] if number == 1 else f"{name[:190]} ({number})"
        statement = upsert(connection, t.location).values(
            merchant_id=merchant_id, id=location_id, name=called, kind="3pl", created_at=at
        )
        made = connection.execute(
            statement.on_conflict_do_nothing(index_elements=["merchant_id", "name"]).returning(t.location.c.id)
        ).scalar_one_or_none()
        if made is not None:
            return location_id
    raise AssertionError("There are infinitely many numbers.")


@access.needs(Permission.STOCK)
def set_safety_stock(
    database: Database, merchant_id: UUID, sku_id: UUID, location_id: UUID, units: int, actor: str
) -> set[UUID]:
    """Hide so many units of a SKU at a location from every channel; orders may still take them."""
    check_units(units, "units", least=0)

    def work(connection: Connection) -> set[UUID]:
        at = database.now(connection)
        level = t.stock_level.c
        code = skus(connection, merchant_id, [sku_id])[sku_id]
        where = location_name(connection, merchant_id, location_id)
        here = (level.merchant_id == merchant_id, level.sku_id == sku_id, level.location_id == location_id)
        before = connection.execute(
            for_update(connection, select(level.safety_stock).where(*here))
        ).scalar_one_or_none()
        if before is None:
            raise BadInput(f"{code} was never counted at {where}. Count it first, then set its safety stock.")
        if before == units:
            return set()
        connection.execute(update(t.stock_level).where(*here).values(safety_stock=units))
        activity.note(
            connection,
            merchant_id,
            "safety_stock_set",
            f"{code} at {where}: safety stock {before} → {units}",
            at=at,
            actor=actor,
        )
        cause = {"cause": "safety_stock", "reference": str(units), "order_id": None, "at": at.isoformat()}
        return mark_dirty(connection, merchant_id, {sku_id: cause}, at=at)

    return database.transact(work)


# ---------------------------------------------------------------- what is on the shelf: corrections, counts, deliveries


@access.needs(Permission.STOCK)
def adjust(
    database: Database,
    merchant_id: UUID,
    sku_id: UUID,
    location_id: UUID,
    on_hand: int,
    reason: str,
    actor: str,
    reference: str,
) -> set[UUID]:
    """Set what is on hand of a SKU at a location, as one ledger entry that says who and why.

    The first figure of a SKU starts its stock: what its open orders are still to get is reserved at once.
    ``reference`` makes the correction unique: entering the same form twice is refused with Conflict. Returns the
    connections that have something to publish. Raises BadInput for a quantity that cannot be.
    """
    if not is_whole(on_hand, 0):
        raise BadInput(
            f"On hand must be a whole number from 0 to {MOST_UNITS:,}.", {"on_hand": ["Enter a number of units."]}
        )
    why = reason_of(reason, "Say why the stock is corrected.", "Enter a reason, such as “counted”.")
    paper = Paper(Kind.ADJUSTMENT, reference_of(reference), location_id, actor, why)

    def work(desk: Desk) -> set[UUID]:
        opened, to_hold = desk.open([sku_id], open_whole_book)
        book, place = opened.book, (sku_id, location_id)
        code = desk.codes[sku_id]
        known = place in book.before
        before = book.before[place].on_hand if known else 0
        desk.line(sku_id, on_hand, expected=before if known else None)
        if known:
            if on_hand == before:
                desk.keep_lines()
                return set()
            book.correct(place, on_hand - before, Cause.ADJUSTED, paper.cited)
            book.serve(paper.cited)
        else:
            start_counting(opened, {place: on_hand}, to_hold, paper.cited)
        desk.settle_shortfalls([sku_id])
        return desk.write(
            book, "stock_adjusted", f"{code} at {desk.where}: on hand {before} → {on_hand} ({reason.strip()})"
        )

    return enter(database, merchant_id, paper, work)


@access.needs(Permission.STOCK)
def change(
    database: Database,
    merchant_id: UUID,
    location_id: UUID,
    lines: Mapping[UUID, int],
    reason: str,
    actor: str,
    reference: str,
    *,
    beside: Beside = nothing_beside,
) -> set[UUID]:
    """Correct what is on hand of many SKUs by so many units each, up or down, on one document.

    Returns the connections that have something to publish. Raises BadInput for a SKU that is not counted there or
    would have less than none, Conflict when the reference was entered before.
    """
    check_lines({sku_id: abs(units) for sku_id, units in lines.items()}, least=1)
    why = reason_of(reason, "Say why the stock is corrected.", "Enter a reason, such as “found”.")
    paper = Paper(Kind.ADJUSTMENT, reference_of(reference), location_id, actor, why)

    def work(desk: Desk) -> set[UUID]:
        opened, _ = desk.open(lines, open_whole_book)
        book = opened.book
        beside(desk, book)
        refused = {}
        for sku_id, units in lines.items():
            before = book.before.get((sku_id, location_id))
            if before is None:
                refused[str(sku_id)] = [f"{desk.codes[sku_id]} was never counted at {desk.where}. Count it first."]
            elif not is_whole(before.on_hand + units, 0):
                refused[str(sku_id)] = [
                    f"{desk.codes[sku_id]}: {before.on_hand} at {desk.where} cannot be changed by {units:+}."
                ]
        if refused:
            raise _refusing(refused)
        differences = {}
        for sku_id, units in sorted(lines.items()):
            on_hand = book.before[sku_id, location_id].on_hand
            differences[sku_id] = on_hand, on_hand + units
            desk.line(sku_id, on_hand + units, expected=on_hand)
            book.correct((sku_id, location_id), units, Cause.ADJUSTED, paper.cited)
        book.serve(paper.cited)
        desk.settle_shortfalls(lines)
        return desk.write(
            book, "stock_adjusted", f"Correction at {desk.where}: on hand {desk.compared(differences)} ({why})"
        )

    return enter(database, merchant_id, paper, work)


@access.needs(Permission.STOCK)
def receive(
    database: Database,
    merchant_id: UUID,
    location_id: UUID,
    lines: Mapping[UUID, int],
    reference: str,
    actor: str,
    note: str = "",
    *,
    beside: Beside = nothing_beside,
) -> set[UUID]:
    """A delivery came in: ``lines`` are the units by SKU, ``reference`` the number on its paper.

    Those who wait are served at once, and what was never counted before is from now on. Returns the connections that
    have something to publish. Raises Conflict when the paper was entered before.
    """
    check_lines(lines, least=1)
    paper = Paper(Kind.RECEIPT, reference_of(reference), location_id, actor, note.strip())

    def work(desk: Desk) -> set[UUID]:
        opened, to_hold = desk.open(lines, open_book)
        book = opened.book
        beside(desk, book)
        for sku_id, units in sorted(lines.items()):
            place = (sku_id, location_id)
            if place not in book.before:
                book.open(place, 0, paper.cited)
            book.correct(place, units, Cause.RECEIVED, paper.cited)
            desk.line(sku_id, units)
        start_counting(opened, {}, to_hold, paper.cited)
        return desk.write(book, "stock_received", f"Receipt {paper.reference} at {desk.where}: {desk.listed(lines)}")

    return enter(database, merchant_id, paper, work)


@access.needs(Permission.STOCK)
def count(
    database: Database,
    merchant_id: UUID,
    location_id: UUID,
    lines: Mapping[UUID, int],
    reason: str,
    actor: str,
    reference: str,
    counted_at: datetime | None = None,
    *,
    beside: Beside = nothing_beside,
) -> set[UUID]:
    """Somebody counted the shelf: ``lines`` are the units found by SKU, what is set aside included.

    Each figure is compared with what the ledger says was there at ``counted_at`` (now), so that what came or left since
    then is no variance. A variance needs a ``reason``. Returns the connections that have something to publish. Raises
    Conflict when the count was entered before, or when the stock was counted or corrected after ``counted_at``.
    """
    check_lines(lines, least=0)
    paper = Paper(
        Kind.COUNT, reference_of(reference), location_id, actor, reason.strip(), looked_at=_moment(counted_at)
    )

    def work(desk: Desk) -> set[UUID]:
        moment = paper.looked_at or desk.at
        if moment > desk.at + _CLOCKS_DIFFER:
            raise BadInput(
                f"A count cannot be of a time to come, such as {in_words(moment)}. Enter when the shelf was counted.",
                {"counted_at": ["Enter a time that has passed."]},
            )
        opened, to_hold = desk.open(lines, open_whole_book)
        book = opened.book
        beside(desk, book)
        opening = {}
        differences: dict[UUID, tuple[int, int]] = {}
        for sku_id, found in sorted(lines.items()):
            place = (sku_id, location_id)
            if place not in book.before:
                opening[place] = found
                desk.line(sku_id, found)
                continue
            expected = desk.figure_at(sku_id, moment) if paper.looked_at else book.before[place].on_hand
            desk.line(sku_id, found, expected=expected)
            if found == expected:
                continue
            differences[sku_id] = expected, found
            left = book.before[place].on_hand + found - expected
            if left < 0:
                raise Conflict(
                    f"{found} of {desk.codes[sku_id]} were counted, and {expected - book.before[place].on_hand} have "
                    f"left {desk.where} since {in_words(moment)}: that cannot be. Count it again."
                )
            book.correct(place, found - expected, Cause.COUNTED, paper.cited)
        if differences and not paper.note:
            raise BadInput(
                f"Not everything is as expected: {desk.compared(differences)}. Say why, or count again.",
                {"reason": ["Enter a reason, such as “3 broken”."]},
            )
        start_counting(opened, opening, to_hold, paper.cited)
        desk.settle_shortfalls(lines)
        as_expected = len(lines) - len(differences) - len(opening)
        findings = [desk.compared(differences)] if differences else []
        if opening:
            findings.append("first count of " + desk.listed({place[0]: units for place, units in opening.items()}))
        if as_expected:
            findings.append(f"{as_expected} {'SKU' if as_expected == 1 else 'SKUs'} as expected")
        why = f" ({paper.note})" if differences else ""
        touched = desk.write(
            book, "stock_counted", f"Count {paper.reference} at {desk.where}: {'; '.join(findings)}{why}"
        )
        desk.stamp(lines, moment)
        return touched

    return enter(database, merchant_id, paper, work)


def _moment(counted_at: datetime | None) -> datetime | None:
    if counted_at is not None and counted_at.tzinfo is None:
        raise BadInput(
            "Say in which time zone the shelf was counted.", {"counted_at": ["Enter a time with its time zone."]}
        )
    return counted_at


# ---------------------------------------------------------------- from one location to another


@access.needs(Permission.STOCK)
def send(
    database: Database,
    merchant_id: UUID,
    location_id: UUID,
    to_location_id: UUID,
    lines: Mapping[UUID, int],
    reference: str,
    actor: str,
    note: str = "",
) -> tuple[UUID, set[UUID]]:
    """Units leave for another location, where they are incoming until they arrive; only units that nobody holds may.

    Returns the transfer's id and the connections that have something to publish.
    """
    if location_id == to_location_id:
        raise BadInput(
            "A transfer needs two different locations. Choose another one to send to.",
            {"to_location_id": ["Choose another location."]},
        )
    check_lines(lines, least=1)
    paper = Paper(Kind.TRANSFER, reference_of(reference), location_id, actor, note.strip(), to_location_id)
    sent: list[UUID] = []

    def work(desk: Desk) -> set[UUID]:
        opened, _ = desk.open(lines, open_book)
        book = opened.book
        refused = {}
        for sku_id, units in lines.items():
            place = (sku_id, location_id)
            if place not in book.before or book.before[place].available < units:
                refused[str(sku_id)] = [_not_to_be_sent(desk, book, sku_id, units)]
        if refused:
            raise _refusing(refused)
        for sku_id, units in sorted(lines.items()):
            book.send((sku_id, location_id), (sku_id, to_location_id), units, paper.cited)
            desk.line(sku_id, units)
        sent[:] = [desk.document_id]
        return desk.write(
            book,
            "stock_sent",
            f"Transfer {paper.reference} from {desk.where} to {desk.to_where}: {desk.listed(lines)}",
        )

    touched = enter(database, merchant_id, paper, work)
    return sent[0], touched


def _refusing(lines: dict[str, list[str]]) -> BadInput:
    """Nothing is entered, because of these lines: by SKU, what is wrong with each."""
    return BadInput(" ".join(each for (each,) in list(lines.values())[:_NAMED]), lines)


def _not_to_be_sent(desk: Desk, book: StockBook, sku_id: UUID, units: int) -> str:
    code, place = desk.codes[sku_id], (sku_id, desk.paper.location_id)
    if place not in book.before:
        return f"{code} is not kept at {desk.where}. Count it there first, or send it from another location."
    level = book.before[place]
    held = [
        f"{held} {words}"
        for held, words in (
            (level.allocated, "reserved for orders"),
            (level.quarantined, "in quarantine"),
            (level.damaged, "damaged"),
        )
        if held
    ]
    of_them = f", {' and '.join(held)}" if held else ""
    most = f"{level.available} may be. Send at most {level.available}." if level.available else "none may be."
    return f"{units} of {code} cannot be sent: of {level.on_hand} at {desk.where}{of_them}, {most}"


@access.needs(Permission.STOCK)
def arrive(
    database: Database, merchant_id: UUID, document_id: UUID, lines: Mapping[UUID, int], actor: str
) -> set[UUID]:
    """Some of a transfer has arrived; with the last unit it is done. Returns the connections with something to publish.

    Raises BadInput for more than is still in transit.
    """
    check_lines(lines, least=1)

    def work(connection: Connection) -> set[UUID]:
        desk, to = resume(database, connection, merchant_id, document_id, actor)
        on_the_way = desk.in_transit()
        opened, _ = desk.open({*lines, *on_the_way}, open_book)
        for sku_id, units in lines.items():
            code, coming = desk.codes[sku_id], on_the_way.get(sku_id, 0)
            if units > coming:
                which = f"{coming} of {code} are" if coming else f"no {code} is"
                raise BadInput(
                    f"{units} of {code} cannot arrive: {which} still in transit with {desk.paper.reference}. "
                    f"Enter what was sent; if more is there, count {code} at {desk.to_where} afterwards.",
                    {str(sku_id): [f"Enter at most {coming}." if coming else "Leave it out."]},
                )
        cited = desk.cite_progress()
        for sku_id, units in sorted(lines.items()):
            opened.book.arrive((sku_id, to), units, cited)
        opened.book.serve(cited)
        desk.book_in(lines, t.stock_document_line.c.arrived)
        rest = {sku_id: left for sku_id, coming in on_the_way.items() if (left := coming - lines.get(sku_id, 0))}
        still = f"; still in transit: {desk.listed(rest)}" if rest else ""
        if not rest:
            desk.close()
        return desk.write_on(
            opened.book,
            "stock_arrived",
            f"Transfer {desk.paper.reference} arrived at {desk.to_where}: {desk.listed(lines)}{still}",
        )

    touched = database.transact(work)
    return touched | serve_woken(database, merchant_id)


@access.needs(Permission.STOCK)
def close_transfer(database: Database, merchant_id: UUID, document_id: UUID, actor: str) -> set[UUID]:
    """What has not arrived of a transfer will not come any more: it is lost. Returns the connections with something to
    publish."""

    def work(connection: Connection) -> set[UUID]:
        desk, to = resume(database, connection, merchant_id, document_id, actor)
        lost = desk.in_transit()
        opened, _ = desk.open(lost, open_book)
        cited = desk.cite_progress()
        for sku_id, units in sorted(lost.items()):
            opened.book.lose((sku_id, to), units, cited)
        desk.book_in(lost, t.stock_document_line.c.lost)
        desk.close()
        return desk.write_on(
            opened.book,
            "stock_lost",
            f"Transfer {desk.paper.reference} to {desk.to_where} closed: {desk.listed(lost)} never arrived",
        )

    return database.transact(work)


# ---------------------------------------------------------------- damaged, and in quarantine


@access.needs(Permission.STOCK)
def set_aside(
    database: Database,
    merchant_id: UUID,
    sku_id: UUID,
    location_id: UUID,
    units: int,
    condition: Condition,
    reason: str,
    actor: str,
    reference: str,
) -> set[UUID]:
    """Take units off sale that stay on the shelf: what nobody holds first, then what is reserved.

    Orders that lose what was reserved for them, the last of the queue first, wait in it again. Returns the connections
    that have something to publish.
    """

    def act(book: StockBook, desk: Desk) -> None:
        place = (sku_id, location_id)
        level = book.before[place]
        good = level.on_hand - level.quarantined - level.damaged
        _at_most(units, good, desk, sku_id, "are not set aside yet")
        book.set_aside(place, units, Condition(condition), desk.paper.cited)

    return _put(
        database,
        merchant_id,
        (sku_id, units, condition),
        Paper(Kind.SET_ASIDE, reference_of(reference), location_id, actor, _set_aside_reason(reason)),
        act,
        "put aside",
    )


@access.needs(Permission.STOCK)
def restore(
    database: Database,
    merchant_id: UUID,
    sku_id: UUID,
    location_id: UUID,
    units: int,
    condition: Condition,
    reason: str,
    actor: str,
    reference: str,
) -> set[UUID]:
    """Put units on sale again that were set aside; those who wait are served. Returns the connections that have
    something to publish."""

    return _put(
        database,
        merchant_id,
        (sku_id, units, condition),
        Paper(Kind.RESTORE, reference_of(reference), location_id, actor, _set_aside_reason(reason)),
        _out_of_what_is_aside(StockBook.restore, sku_id, units, condition),
        "back on sale",
    )


@access.needs(Permission.STOCK)
def write_off(
    database: Database,
    merchant_id: UUID,
    sku_id: UUID,
    location_id: UUID,
    units: int,
    condition: Condition,
    reason: str,
    actor: str,
    reference: str,
) -> set[UUID]:
    """Throw units away that were set aside. Returns the connections that have something to publish."""

    return _put(
        database,
        merchant_id,
        (sku_id, units, condition),
        Paper(Kind.WRITE_OFF, reference_of(reference), location_id, actor, _set_aside_reason(reason)),
        _out_of_what_is_aside(StockBook.write_off, sku_id, units, condition),
        "written off",
    )


_NOTED_AS = {
    Kind.SET_ASIDE: "stock_set_aside",
    Kind.RESTORE: "stock_restored",
    Kind.WRITE_OFF: "stock_written_off",
}


def _out_of_what_is_aside(
    step: Callable[[StockBook, Place, int, Condition, str], None], sku_id: UUID, units: int, condition: Condition
) -> Callable[[StockBook, Desk], None]:
    """What is done with units that are set aside, and with no more of them than there are."""

    def act(book: StockBook, desk: Desk) -> None:
        place = (sku_id, desk.paper.location_id)
        _at_most(units, getattr(book.before[place], condition), desk, sku_id, f"are {condition}")
        step(book, place, units, Condition(condition), desk.paper.cited)

    return act


def _put(
    database: Database,
    merchant_id: UUID,
    what: tuple[UUID, int, Condition],
    paper: Paper,
    act: Callable[[StockBook, Desk], None],
    became: str,
) -> set[UUID]:
    sku_id, units, condition = what
    check_units(units, "units", least=1)
    if condition not in list(Condition):
        raise BadInput(
            "Stock that is set aside is either damaged or quarantined. Choose one.",
            {"condition": ["Choose damaged or quarantined."]},
        )

    def work(desk: Desk) -> set[UUID]:
        opened, _ = desk.open([sku_id], open_whole_book)
        if (sku_id, paper.location_id) not in opened.book.before:
            raise BadInput(f"{desk.codes[sku_id]} is not kept at {desk.where}. Count it there first.")
        act(opened.book, desk)
        opened.book.serve(paper.cited)
        desk.line(sku_id, units)
        return desk.write(
            opened.book,
            _NOTED_AS[paper.kind],
            f"{units} × {desk.codes[sku_id]} at {desk.where}: {became} ({condition}: {paper.note})",
        )

    return enter(database, merchant_id, paper, work)


def _at_most(units: int, most: int, desk: Desk, sku_id: UUID, which: str) -> None:
    if units > most:
        raise BadInput(
            f"Only {most} of {desk.codes[sku_id]} at {desk.where} {which}. Enter at most {most}, or count the shelf.",
            {"units": [f"Enter at most {most}."]},
        )


def _set_aside_reason(reason: str) -> str:
    return reason_of(reason, "Say why: whoever looks at the shelf later has to know.", "Enter a reason.")
