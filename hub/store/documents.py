"""Entering what was done to stock: a document, the stock it changes and the history of both, all or nothing.

The acts themselves are in ``hub.store.warehouse``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Column, Connection, bindparam, insert, select, update

from hub.core.sentences import enumerated
from hub.core.stock import MOST_UNITS, Cause, StockBook
from hub.errors import BadInput, Conflict
from hub.store import activity, publications
from hub.store import tables as t
from hub.store.database import Database, for_update, in_chunks, new_id, upsert
from hub.store.stock import (
    SHORTFALL,
    OpenBook,
    OpenLine,
    open_book_to_count,
    serve_woken,
    write_book,
)

MOST_LINES = 1000  # SKUs in one document: all of them are locked until it is written
_NAMED = 8  # SKUs that a sentence lists before it only counts them
# After one of these, an older look at the shelf says nothing any more about what is there now.
_CORRECTIONS = (Cause.ADOPTED.value, Cause.ADJUSTED.value, Cause.COUNTED.value)


class Kind(StrEnum):
    """What a document says was done."""

    ADJUSTMENT = "adjustment"  # a person set on_hand
    RECEIPT = "receipt"  # a delivery of a supplier
    COUNT = "count"
    TRANSFER = "transfer"  # from one location to another
    SET_ASIDE = "set_aside"  # damaged, or to be looked at
    RESTORE = "restore"  # back on sale
    WRITE_OFF = "write_off"  # thrown away


@dataclass(frozen=True, slots=True)
class Paper:
    """A document as it is handed in."""

    kind: Kind
    reference: str
    location_id: UUID
    actor: str
    note: str
    to_location_id: UUID | None = None
    looked_at: datetime | None = None

    @property
    def cited(self) -> str:
        """What the ledger refers to: the reference alone may stand on papers of several kinds."""
        return f"{self.kind} {self.reference}"


def enter(database: Database, merchant_id: UUID, paper: Paper, act: Callable[[Desk], set[UUID]]) -> set[UUID]:
    """Write a document and what it changes, all or nothing, then try the groups of orders that were woken by it."""

    def work(connection: Connection) -> set[UUID]:
        at = database.now(connection)
        desk = Desk(connection, merchant_id, at, paper, new_id())
        desk.where = location_name(connection, merchant_id, paper.location_id)
        if paper.to_location_id is not None:
            desk.to_where = location_name(connection, merchant_id, paper.to_location_id)
        moves = paper.kind is Kind.TRANSFER
        statement = upsert(connection, t.stock_document).values(
            merchant_id=merchant_id,
            id=desk.document_id,
            kind=paper.kind.value,
            reference=paper.reference,
            location_id=paper.location_id,
            to_location_id=paper.to_location_id,
            state="in_transit" if moves else "done",
            actor=paper.actor,
            note=paper.note[:500],
            counted_at=(paper.looked_at or at) if paper.kind is Kind.COUNT else None,
            created_at=at,
            closed_at=None if moves else at,
        )
        # Before any SKU is locked: who enters the same paper at the same moment waits here, and is then refused.
        first = statement.on_conflict_do_nothing(index_elements=["merchant_id", "kind", "reference"])
        if connection.execute(first.returning(t.stock_document.c.id)).one_or_none() is None:
            raise Conflict(_entered_before(connection, merchant_id, paper))
        return act(desk)

    return database.transact(work) | serve_woken(database, merchant_id)


def resume(
    database: Database, connection: Connection, merchant_id: UUID, document_id: UUID, actor: str
) -> tuple[Desk, UUID]:
    """The desk of a transfer that is under way, its document locked, and where it goes."""
    document = t.stock_document.c
    row = connection.execute(
        for_update(
            connection,
            select(t.stock_document).where(
                document.merchant_id == merchant_id,
                document.id == document_id,
                document.kind == Kind.TRANSFER.value,
            ),
        )
    ).one_or_none()
    if row is None:
        raise BadInput("This transfer does not exist. Reload the page.")
    if row.state != "in_transit":
        raise Conflict(
            f"Transfer {row.reference} was closed on {in_words(row.closed_at)}. "
            "If more of it has turned up since, enter it as a count of the shelf."
        )
    paper = Paper(Kind.TRANSFER, row.reference, row.location_id, actor, "", row.to_location_id)
    desk = Desk(connection, merchant_id, database.now(connection), paper, document_id)
    desk.where = location_name(connection, merchant_id, row.location_id)
    desk.to_where = location_name(connection, merchant_id, row.to_location_id)
    return desk, row.to_location_id


Beside = Callable[["Desk", StockBook], None]
"""What is done in the transaction of a document once its SKUs are locked, before any of them moves. It may refuse."""


def nothing_beside(_desk: Desk, _book: StockBook) -> None:
    """A document that stands for itself."""


class Desk:
    """Where one document is worked on: its transaction, the names it speaks of, and the lines it keeps."""

    def __init__(
        self, connection: Connection, merchant_id: UUID, at: datetime, paper: Paper, document_id: UUID
    ) -> None:
        self.connection = connection
        self.merchant_id = merchant_id
        self.at = at
        self.paper = paper
        self.document_id = document_id
        self.where = self.to_where = ""
        self.codes: dict[UUID, str] = {}
        self._lines: list[dict[str, Any]] = []
        self._progress = 0  # units of a transfer that have arrived or were lost before

    # ------------------------------------------------------------ looking

    def open(self, sku_ids: Collection[UUID], opener: Callable[..., OpenBook]) -> tuple[OpenBook, list[OpenLine]]:
        """Lock these SKUs and open their book, with what goes with them in kits that wait for a first count.

        Also returns the open lines of those that are not counted yet, which are to be held when they are. Raises
        StockMoved when such a line came in at this moment, BadInput for what has no stock of its own.
        """
        opened, to_hold = open_book_to_count(self.connection, self.merchant_id, sku_ids, opener)
        # A SKU becomes a kit only under its lock, too.
        self.codes = skus(self.connection, self.merchant_id, sku_ids)
        return opened, to_hold

    def figure_at(self, sku_id: UUID, moment: datetime) -> int:
        """What the ledger says was on hand then. Raises Conflict if the stock was counted or corrected since."""
        entry, level, place = t.stock_entry.c, t.stock_level.c, self.paper.location_id
        here = (entry.merchant_id == self.merchant_id, entry.sku_id == sku_id, entry.location_id == place)
        then = self.connection.execute(
            select(entry.number, entry.on_hand).where(*here, entry.at <= moment).order_by(entry.number.desc()).limit(1)
        ).one_or_none()
        later = self.connection.execute(
            select(entry.at)
            .where(*here, entry.number > (then.number if then else 0), entry.cause.in_(_CORRECTIONS))
            .order_by(entry.number.desc())
            .limit(1)
        ).scalar_one_or_none()
        counted_at = self.connection.execute(
            select(level.counted_at).where(
                level.merchant_id == self.merchant_id, level.sku_id == sku_id, level.location_id == place
            )
        ).scalar_one()
        if later is None and counted_at is not None and counted_at > moment:
            later = counted_at
        if later is not None:
            raise Conflict(
                f"{self.codes[sku_id]} was counted or corrected at {self.where} on {in_words(later)}, after this count "
                f"of {in_words(moment)}. Count it again, or leave it out."
            )
        return then.on_hand if then else 0

    def in_transit(self) -> dict[UUID, int]:
        """Units of each SKU of a transfer that have neither arrived nor been given up."""
        line = t.stock_document_line.c
        rows = self.connection.execute(
            select(line.sku_id, line.quantity, line.arrived, line.lost).where(
                line.merchant_id == self.merchant_id, line.document_id == self.document_id
            )
        ).all()
        self._progress = sum(row.arrived + row.lost for row in rows)
        return {row.sku_id: left for row in rows if (left := row.quantity - row.arrived - row.lost)}

    def cite_progress(self) -> str:
        """What the ledger refers to for this part of a transfer: it may arrive in many."""
        return f"{self.paper.cited}, after {self._progress} units" if self._progress else self.paper.cited

    # ------------------------------------------------------------ saying

    def listed(self, lines: Mapping[UUID, int]) -> str:
        """“5 × MUG, 3 × TEE”, in the order of their codes."""
        found = sorted((self.codes[sku_id], units) for sku_id, units in lines.items())
        return enumerated((f"{units} × {code}" for code, units in found), _NAMED)

    def compared(self, differences: Mapping[UUID, tuple[int, int]]) -> str:
        """“MUG 10 → 7, TEE 3 → 4”: expected, and found."""
        found = sorted((self.codes[sku_id], *pair) for sku_id, pair in differences.items())
        return enumerated((f"{code} {expected} → {units}" for code, expected, units in found), _NAMED)

    # ------------------------------------------------------------ writing

    def line(self, sku_id: UUID, quantity: int, *, expected: int | None = None) -> None:
        """Keep one line of the document."""
        self._lines.append(
            {
                "merchant_id": self.merchant_id,
                "document_id": self.document_id,
                "sku_id": sku_id,
                "quantity": quantity,
                "expected": expected,
            }
        )

    def keep_lines(self) -> None:
        """Write the lines that were kept."""
        self.connection.execute(insert(t.stock_document_line), self._lines)

    def write(self, book: StockBook, kind: str, summary: str) -> set[UUID]:
        """Write a new document's lines, and what it changed."""
        self.keep_lines()
        return self.write_on(book, kind, summary)

    def write_on(self, book: StockBook, kind: str, summary: str) -> set[UUID]:
        """Write what a document changed; returns the connections that have something to publish."""
        self._check_sums(book)
        connection, merchant_id, actor = self.connection, self.merchant_id, self.paper.actor
        touched = write_book(
            connection,
            merchant_id,
            book,
            at=self.at,
            actor=actor,
            remark=self.paper.note[:500],
            document_id=self.document_id,
        )
        activity.note(connection, merchant_id, kind, summary, at=self.at, actor=actor)
        self._tell_who_lost(book)
        return touched | publications.ensure(connection, merchant_id, at=self.at, sku_ids=self.codes.keys())

    def book_in(self, lines: Mapping[UUID, int], column: Column[int]) -> None:
        """Add units to a column of a transfer's lines."""
        line = t.stock_document_line.c
        self.connection.execute(
            update(t.stock_document_line)
            .where(
                line.merchant_id == self.merchant_id,
                line.document_id == self.document_id,
                line.sku_id == bindparam("this_sku"),
            )
            .values({column: column + bindparam("more")}),
            [{"this_sku": sku_id, "more": units} for sku_id, units in sorted(lines.items())],
        )

    def close(self) -> None:
        """A transfer is over."""
        document = t.stock_document.c
        self.connection.execute(
            update(t.stock_document)
            .where(document.merchant_id == self.merchant_id, document.id == self.document_id)
            .values(state="done", closed_at=self.at)
        )

    def stamp(self, sku_ids: Iterable[UUID], moment: datetime) -> None:
        """These SKUs were counted here then."""
        level = t.stock_level.c
        for some in in_chunks(sku_ids):
            self.connection.execute(
                update(t.stock_level)
                .where(
                    level.merchant_id == self.merchant_id,
                    level.sku_id.in_(some),
                    level.location_id == self.paper.location_id,
                )
                .values(counted_at=moment)
            )

    def settle_shortfalls(self, sku_ids: Iterable[UUID]) -> None:
        """These SKUs have been counted: close the issues that say their count is wrong."""
        issue = t.issue.c
        open_ones = self.connection.execute(
            select(issue.subject).where(
                issue.merchant_id == self.merchant_id, issue.kind == SHORTFALL, issue.resolved_at.is_(None)
            )
        ).scalars()
        settled = {str(sku_id) for sku_id in sku_ids}
        about = [subject for subject in open_ones if subject.rpartition("/")[2] in settled]
        activity.resolve_issues(self.connection, self.merchant_id, SHORTFALL, about, at=self.at, by=self.paper.actor)

    def _check_sums(self, book: StockBook) -> None:
        """A channel may be shown all locations as one figure: their sum has to fit, too."""
        for sku_id, code in self.codes.items():
            levels = [book.level(place) for place in book.places(sku_id)]
            total = sum(level.on_hand + level.incoming for level in levels)
            if total > MOST_UNITS:
                raise BadInput(
                    f"That would be {total:,} of {code}, and the hub counts to {MOST_UNITS:,}. Check the quantity.",
                    {str(sku_id): ["Enter a smaller number."]},
                )

    def _tell_who_lost(self, book: StockBook) -> None:
        """Say in the history of each order what it lost that had been reserved for it."""
        lost: dict[UUID, int] = {}
        for each in book.shortages:
            if each.taken:
                lost[each.order_id] = lost.get(each.order_id, 0) + each.units
        order = t.sales_order.c
        numbers: dict[UUID, str] = {}
        for some in in_chunks(lost):
            rows = select(order.id, order.number).where(order.merchant_id == self.merchant_id, order.id.in_(some))
            numbers |= {row.id: row.number for row in self.connection.execute(rows)}
        for order_id, units in lost.items():
            what = f"{units} {'unit' if units == 1 else 'units'} that had been reserved for it"
            why = f"{self.paper.cited.replace('_', ' ', 1)} at {self.where}"
            activity.note(
                self.connection,
                self.merchant_id,
                "reservation_lost",
                f"Order {numbers[order_id]} lost {what}, and waits for more ({why})",
                at=self.at,
                order_id=order_id,
                actor=self.paper.actor,
            )


def _entered_before(connection: Connection, merchant_id: UUID, paper: Paper) -> str:
    document = t.stock_document.c
    row = connection.execute(
        select(t.stock_document.c.created_at, document.actor).where(
            document.merchant_id == merchant_id,
            document.kind == paper.kind.value,
            document.reference == paper.reference,
        )
    ).one()
    by = f" by {row.actor}" if row.actor else ""
    if paper.kind is Kind.ADJUSTMENT:
        return (
            f"This correction was entered already, on {in_words(row.created_at)}{by}. "
            "Reload the page to see the stock as it is now."
        )
    return (
        f"{_NAMES[paper.kind]} {paper.reference} was entered already, on {in_words(row.created_at)}{by}. "
        "Nothing was changed now. If this is another one, give it a reference of its own."
    )


_NAMES = {
    Kind.RECEIPT: "Receipt",
    Kind.COUNT: "Count",
    Kind.TRANSFER: "Transfer",
    Kind.SET_ASIDE: "What was set aside as",
    Kind.RESTORE: "What was put back as",
    Kind.WRITE_OFF: "What was written off as",
}


# ---------------------------------------------------------------- what can be entered


def is_whole(units: object, least: int) -> bool:
    """Whether this is a number of units. A form parser may hand over anything: text, a fraction, “not a number”."""
    return isinstance(units, int) and not isinstance(units, bool) and least <= units <= MOST_UNITS


def check_units(units: object, field: str, *, least: int) -> None:
    if not is_whole(units, least):
        sentence = f"Enter a whole number of units from {least} to {MOST_UNITS:,}."
        raise BadInput(sentence, {field: [sentence]})


def check_lines(lines: Mapping[UUID, int], *, least: int) -> None:
    if not lines:
        raise BadInput("Enter at least one SKU with its units.", {"lines": ["Enter a SKU and its units."]})
    if len(lines) > MOST_LINES:
        raise BadInput(
            f"A document has at most {MOST_LINES:,} SKUs. Split this one, each part with a reference of its own.",
            {"lines": [f"Enter at most {MOST_LINES:,} SKUs."]},
        )
    for sku_id, units in lines.items():
        check_units(units, str(sku_id), least=least)


def reference_of(reference: str) -> str:
    tidy = reference.strip()
    if not 0 < len(tidy) <= 100 or not tidy.isprintable():
        raise BadInput(
            "Enter a reference of at most 100 characters, such as the number on the paper.",
            {"reference": ["Enter 1 to 100 characters."]},
        )
    return tidy


def reason_of(reason: str, sentence: str, hint: str) -> str:
    tidy = reason.strip()
    if not tidy:
        raise BadInput(sentence, {"reason": [hint]})
    return tidy


def in_words(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d at %H:%M} UTC"


def skus(connection: Connection, merchant_id: UUID, sku_ids: Iterable[UUID]) -> dict[UUID, str]:
    """The codes of these SKUs. Raises BadInput for one that does not exist, or has no stock of its own."""
    sku = t.sku.c
    asked = list(sku_ids)
    rows: list[Any] = []
    for some in in_chunks(asked):
        statement = select(sku.id, sku.code, sku.kit).where(sku.merchant_id == merchant_id, sku.id.in_(some))
        rows += connection.execute(statement).all()
    if len(rows) < len(asked):
        missing = set(asked) - {row.id for row in rows}
        raise BadInput(
            "This SKU does not exist. Reload the page.",
            {str(sku_id): ["This SKU does not exist."] for sku_id in missing},
        )
    made_of_others = [row for row in rows if row.kit]
    if made_of_others:
        codes = enumerated(sorted(row.code for row in made_of_others), _NAMED)
        raise BadInput(
            f"{codes}: a kit has no stock of its own. Enter its parts instead.",
            {str(row.id): ["This is a kit. Enter its parts instead."] for row in made_of_others},
        )
    return {row.id: row.code for row in rows}


def location_name(connection: Connection, merchant_id: UUID, location_id: UUID) -> str:
    found: str | None = connection.execute(
        select(t.location.c.name).where(t.location.c.merchant_id == merchant_id, t.location.c.id == location_id)
    ).scalar_one_or_none()
    if found is None:
        raise BadInput("This location does not exist. Reload the page.")
    return found
