"""Which SKU a listing sells: what is suggested and how sure that is, what a person decides, and how it is undone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Any
from uuid import UUID

from rapidfuzz import fuzz, process, utils
from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from hub import access
from hub.access import Permission
from hub.errors import BadInput, Conflict
from hub.store import activity, orders, publications, searching
from hub.store import tables as t
from hub.store.database import Database, for_update, in_chunks, new_id, upsert
from hub.store.marking import first_change

_AnyRow = Row[*tuple[Any, ...]]

# So many listings are matched in one transaction: a large catalogue must not lock the shop out of its own orders.
_MATCHES_AT_ONCE = 200
_OFFERED_AT_ONCE = 1000
MOST_AT_ONCE = 20_000  # matched by one act of accepting all

SURE = 100
CLOSE = 80  # titles that are less alike suggest nothing
_CLOSEST = 95  # however alike: a title proves nothing
_RIVAL = 95  # beside a suggestion of this score no other is sure
_ALTERNATIVES = 4

# A title is compared with those that share the most beginnings of words with it.
_BEGINNING = 4  # letters
_COMPARED = 60
_COMMON = 1500  # a beginning that so many titles have says nothing about any


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A SKU that a listing may sell, how sure that is (0 to 100), and why in words. ``sku_id`` None: a new one."""

    code: str
    sku_id: UUID | None
    title: str
    score: int
    reason: str


@dataclass(frozen=True, slots=True)
class Offer:
    """What is suggested for a listing, the best first. ``sure``: there is one answer, and it needs no person."""

    listing_id: UUID
    suggestions: tuple[Suggestion, ...]

    @property
    def best(self) -> Suggestion | None:
        return self.suggestions[0] if self.suggestions else None

    @property
    def sure(self) -> bool:
        return (
            bool(self.suggestions)
            and self.suggestions[0].score == SURE
            and all(each.score < _RIVAL for each in self.suggestions[1:])
        )


@dataclass(frozen=True, slots=True)
class Act:
    """One act of matching: so many listings were matched, to existing and to new SKUs. ``id`` None: nothing was."""

    id: UUID | None
    matched: int
    new_skus: int = 0


class Titles:
    """The titles of a merchant's SKUs, in which those that are like another text are found quickly."""

    def __init__(self, skus: Iterable[tuple[UUID, str, str]]) -> None:
        self._skus: list[tuple[UUID, str, str]] = []
        self._texts: list[str] = []
        self._known: set[UUID] = set()
        self._having: dict[str, list[int]] = {}
        self._growing = Lock()
        self._titled_at: datetime | None = None  # when a person last gave one of them another title
        self._grow(skus)

    def _grow(self, skus: Iterable[tuple[UUID, str, str]]) -> None:
        for each in skus:
            if each[0] in self._known:
                continue
            text = utils.default_process(each[2])
            number = len(self._skus)
            self._skus.append(each)
            self._texts.append(text)
            for beginning in _beginnings(text):
                self._having.setdefault(beginning, []).append(number)
            self._known.add(each[0])

    @classmethod
    def of(cls, connection: Connection, merchant_id: UUID) -> Titles:
        """Those of a merchant. They are kept, so that only new ones are read the next time.

        Where the newest that is known is gone, all are (a sandbox was removed), and where a person has given any of
        them another title since, they are read from the start.
        """
        sku = t.sku.c
        kept = _kept_titles.pop(merchant_id, None) or cls(())
        titled_at = connection.execute(select(func.max(sku.titled_at)).where(sku.merchant_id == merchant_id)).scalar()
        if titled_at != kept._titled_at:
            kept = cls(())
            kept._titled_at = titled_at
        every = select(sku.id, sku.code, sku.title).where(sku.merchant_id == merchant_id)
        with kept._growing:
            # Ids rise with time, but what was begun earlier may be committed later.
            newest = max(kept._known, default=None)
            rows = every if newest is None else every.where(sku.id > _earlier(newest))
            found = [(row.id, row.code, row.title) for row in connection.execute(rows)]
            if newest is None or any(each == newest for each, _, _ in found):
                kept._grow(found)
            else:
                kept = cls((row.id, row.code, row.title) for row in connection.execute(every))
                kept._titled_at = titled_at
        _kept_titles[merchant_id] = kept  # the last one asked for is the last one forgotten
        while len(_kept_titles) > _MERCHANTS_KEPT:
            _kept_titles.pop(next(iter(_kept_titles)), None)
        return kept

    def like(self, title: str, *, but: Collection[UUID] = ()) -> list[tuple[UUID, str, str, int]]:
        """(SKU, its code, its title, percent) of those whose title is close, the closest first."""
        text = utils.default_process(title)
        shared: Counter[int] = Counter()
        for beginning in _beginnings(text):
            having = self._having.get(beginning, ())
            if len(having) <= _COMMON:
                shared.update(having)
        compared = {
            number: self._texts[number]
            for number, _ in shared.most_common(_COMPARED + len(but))
            if self._skus[number][0] not in but
        }
        found = process.extract(text, compared, scorer=fuzz.WRatio, score_cutoff=CLOSE, limit=_ALTERNATIVES)
        return [(*self._skus[number], min(_CLOSEST, round(score))) for _, score, number in found]


_MERCHANTS_KEPT = 2  # whose titles a process keeps: those of 100,000 SKUs are some 40 MB
_kept_titles: dict[UUID, Titles] = {}


def _earlier(sku_id: UUID) -> UUID:
    """An id of ten minutes before this one."""
    milliseconds = max(0, (sku_id.int >> 80) - 600_000)
    return UUID(int=milliseconds << 80)


def _beginnings(text: str) -> set[str]:
    return {word[:_BEGINNING] for word in text.split() if len(word) > 1 or word.isdigit()}


# ---------------------------------------------------------------- suggestions


def offers(
    connection: Connection, merchant_id: UUID, listing_ids: Collection[UUID], titles: Titles | None = None
) -> dict[UUID, Offer]:
    """What is suggested for each of these listings. ``titles`` saves reading them again for the next ones."""
    found: dict[UUID, Offer] = {}
    for some in in_chunks(listing_ids, _OFFERED_AT_ONCE):
        found |= _offers(connection, merchant_id, some, titles)
    return found


def _offers(
    connection: Connection, merchant_id: UUID, listing_ids: Collection[UUID], titles: Titles | None
) -> dict[UUID, Offer]:
    listing, shop = t.listing.c, t.connection.c
    rows = connection.execute(
        select(
            listing.id,
            listing.connection_id,
            func.trim(listing.sku_text).label("text"),
            listing.title,
            listing.barcode,
            shop.label,
        )
        .join(t.connection, (shop.merchant_id == listing.merchant_id) & (shop.id == listing.connection_id))
        .where(listing.merchant_id == merchant_id, listing.id.in_(list(listing_ids)))
    ).all()
    texts = {row.text for row in rows if row.text}
    by_code, by_lower = _skus_called(connection, merchant_id, texts)
    on_listings = _told_by(connection, merchant_id, rows)
    by_barcode = _skus_with_barcode(connection, merchant_id, {row.barcode for row in rows if row.barcode})
    found: dict[UUID, list[Suggestion]] = {row.id: [] for row in rows}
    for row in rows:
        mine = found[row.id]
        twins = on_listings["sku_text", row.connection_id, row.text]
        if row.text in by_code:
            sku = by_code[row.text]
            told = f"its SKU at the shop is “{sku.code}”"
            if twins > 1:
                told = f"its SKU “{sku.code}” stands on {twins} listings of {row.label}"
            mine.append(Suggestion(sku.code, sku.id, sku.title, SURE if twins <= 1 else 90, told))
        else:
            for sku in by_lower.get(row.text.lower(), ()):
                told = f"“{row.text}” is “{sku.code}” but for small and capital letters"
                mine.append(Suggestion(sku.code, sku.id, sku.title, 95 if twins <= 1 else 85, told))
        _add_by_barcode(mine, row, by_barcode, on_listings["barcode", row.connection_id, row.barcode])
    if unsure := [row for row in rows if not _is_settled(found[row.id])]:
        sold = _sold_by(connection, merchant_id, {row.connection_id for row in unsure})
        titles = titles or Titles.of(connection, merchant_id)
        for row in unsure:
            # What the shop sells as another listing already is another product, however alike the titles are.
            for sku_id, code, title, score in titles.like(row.title, but=sold[row.connection_id]):
                reason = f"its title is {score} % like “{title}”"
                _add(found[row.id], Suggestion(code, sku_id, title, score, reason))
    for row in rows:
        if row.text and row.text not in by_code:
            _add_new(found[row.id], row, on_listings["sku_text", row.connection_id, row.text])
    return {
        listing_id: Offer(
            listing_id, tuple(sorted(mine, key=lambda each: (-each.score, each.code))[: _ALTERNATIVES + 1])
        )
        for listing_id, mine in found.items()
    }


def _is_settled(mine: Sequence[Suggestion]) -> bool:
    return any(each.score == SURE for each in mine)


def _add(mine: list[Suggestion], one: Suggestion) -> None:
    """Add a suggestion; a SKU that is suggested already keeps its better score and both reasons."""
    for number, each in enumerate(mine):
        if each.code == one.code:
            reason = f"{each.reason}, and {one.reason}"
            mine[number] = Suggestion(each.code, each.sku_id, each.title, max(each.score, one.score), reason)
            return
    mine.append(one)


def _add_by_barcode(
    mine: list[Suggestion], row: _AnyRow, by_barcode: Mapping[str, Mapping[UUID, _AnyRow]], twins: int
) -> None:
    others = {
        sku_id: other
        for form in _forms(row.barcode)
        for sku_id, other in by_barcode.get(form, {}).items()
        if other.listing_id != row.id
    }
    for sku_id, other in others.items():
        told = f"same barcode as “{other.listing_title}” at {other.label}"
        if len(others) > 1:
            told = f"{told}; {len(others)} SKUs have this barcode"
        elif twins > 1:
            told = f"{told}; {twins} listings of {row.label} have this barcode"
        score = SURE if len(others) == 1 and twins <= 1 else 90
        _add(mine, Suggestion(other.code, sku_id, other.title, score, told))


def _add_new(mine: list[Suggestion], row: _AnyRow, twins: int) -> None:
    """A SKU of its own, called as the shop calls it: sure only where nothing else comes into question."""
    if twins > 1:
        score, told = 60, f"a new SKU; its text stands on {twins} listings of {row.label}"
    elif mine:
        score, told = 70, "a new SKU, called as the shop calls it"
    else:
        score, told = SURE, "no SKU is like it: a new one, called as the shop calls it"
    mine.append(Suggestion(row.text, None, row.title, score, told))


def _skus_called(
    connection: Connection, merchant_id: UUID, texts: Collection[str]
) -> tuple[dict[str, _AnyRow], dict[str, list[_AnyRow]]]:
    """The SKUs whose code is one of these texts; and by the code in small letters, those that differ only in that."""
    if not texts:
        return {}, {}
    sku = t.sku.c
    columns = select(sku.id, sku.code, sku.title).where(sku.merchant_id == merchant_id)
    by_code = {row.code: row for row in connection.execute(columns.where(sku.code.in_(list(texts))))}
    by_lower: dict[str, list[_AnyRow]] = {}
    if rest := {text.lower() for text in texts if text not in by_code}:
        for row in connection.execute(columns.where(func.lower(sku.code).in_(list(rest))).order_by(sku.code)):
            by_lower.setdefault(row.code.lower(), []).append(row)
    return by_code, by_lower


def _told_by(connection: Connection, merchant_id: UUID, rows: Sequence[_AnyRow]) -> Counter[tuple[str, UUID, str]]:
    """On how many listings of its shop each SKU text and each barcode stands."""
    listing = t.listing.c
    counted: Counter[tuple[str, UUID, str]] = Counter()
    for name, column, values in (
        ("sku_text", listing.sku_text, {row.text for row in rows if row.text}),
        ("barcode", listing.barcode, {row.barcode for row in rows if row.barcode}),
    ):
        if values:
            for connection_id, value, times in connection.execute(
                select(listing.connection_id, column, func.count())
                .where(
                    listing.merchant_id == merchant_id,
                    listing.connection_id.in_({row.connection_id for row in rows}),
                    listing.active,
                    column.in_(values),
                )
                .group_by(listing.connection_id, column)
            ):
                counted[name, connection_id, value] = times
    return counted


def _forms(barcode: str) -> set[str]:
    """A 12-digit barcode (UPC) is the 13-digit one (EAN) that begins with zero."""
    bare = barcode.strip()
    return {bare, f"0{bare}", bare.removeprefix("0")} if bare.isdigit() and len(bare) in (12, 13) else {bare} - {""}


def _skus_with_barcode(
    connection: Connection, merchant_id: UUID, barcodes: Collection[str]
) -> dict[str, dict[UUID, _AnyRow]]:
    """By barcode the SKUs of the listings that have it and are matched, each with one of these listings."""
    forms = {form for barcode in barcodes for form in _forms(barcode)}
    listing, sku, shop = t.listing.c, t.sku.c, t.connection.c
    found: dict[str, dict[UUID, _AnyRow]] = {}
    for some in in_chunks(sorted(forms)):
        for row in connection.execute(
            select(
                listing.barcode,
                listing.id.label("listing_id"),
                listing.title.label("listing_title"),
                shop.label,
                sku.id,
                sku.code,
                sku.title,
            )
            .join(t.sku, (sku.merchant_id == listing.merchant_id) & (sku.id == listing.sku_id))
            .join(t.connection, (shop.merchant_id == listing.merchant_id) & (shop.id == listing.connection_id))
            .where(listing.merchant_id == merchant_id, listing.barcode.in_(some), listing.barcode != "")
            .order_by(listing.bound_at, listing.id)
        ):
            found.setdefault(row.barcode, {}).setdefault(row.id, row)
    return found


def _sold_by(connection: Connection, merchant_id: UUID, connection_ids: Collection[UUID]) -> dict[UUID, set[UUID]]:
    """The SKUs that listings of each of these connections are matched to."""
    listing = t.listing.c
    sold: dict[UUID, set[UUID]] = {each: set() for each in connection_ids}
    for connection_id, sku_id in connection.execute(
        select(listing.connection_id, listing.sku_id).where(
            listing.merchant_id == merchant_id,
            listing.connection_id.in_(list(connection_ids)),
            listing.sku_id.is_not(None),
        )
    ):
        sold[connection_id].add(sku_id)
    return sold


# ---------------------------------------------------------------- accepting


@access.needs(Permission.CATALOG)
def accept_suggestions(
    database: Database,
    merchant_id: UUID,
    connection_id: UUID | None,
    listing_ids: Collection[UUID] | None,
    actor: str,
    *,
    tell: Callable[[int], None] = lambda _looked_at: None,
) -> Act:
    """Match listings to the best that is suggested for each, making SKUs that do not exist.

    ``listing_ids`` None means every one that is sure, of ``connection_id`` or of all connections, at most
    MOST_AT_ONCE of them. Nothing is locked while the suggestions are worked out. ``tell`` hears, again and again, how
    many listings were looked at.
    """
    chosen: dict[UUID, str] = {}
    looked_at = 0
    with database.read() as connection:
        titles = Titles.of(connection, merchant_id)
        walk = _unmatched(connection, merchant_id, connection_id, listing_ids)
        for some in in_chunks(walk, _OFFERED_AT_ONCE):
            for offer in offers(connection, merchant_id, some, titles).values():
                if offer.best is not None and (offer.sure or listing_ids is not None):
                    chosen[offer.listing_id] = offer.best.code
            looked_at += len(some)
            tell(looked_at)
            if len(chosen) >= MOST_AT_ONCE:
                break
    return accept(database, merchant_id, chosen, actor, tell=lambda: tell(looked_at))


def _unmatched(
    connection: Connection, merchant_id: UUID, connection_id: UUID | None, listing_ids: Collection[UUID] | None
) -> Iterator[UUID]:
    listing = t.listing.c
    query = select(listing.id).where(
        listing.merchant_id == merchant_id, listing.sku_id.is_(None), listing.active, listing.ignored_at.is_(None)
    )
    if connection_id is not None:
        query = query.where(listing.connection_id == connection_id)
    if listing_ids is not None:
        for some in in_chunks(listing_ids):
            yield from connection.execute(query.where(listing.id.in_(some)).order_by(listing.id)).scalars()
        return
    # What carries neither text nor barcode can only be suggested by its title, which is never sure.
    query = query.where((func.trim(listing.sku_text) != "") | (listing.barcode != ""))
    after: UUID | None = None
    while True:
        page = query if after is None else query.where(listing.id > after)
        ids = connection.execute(page.order_by(listing.id).limit(_OFFERED_AT_ONCE)).scalars().all()
        if not ids:
            return
        yield from ids
        after = ids[-1]


@dataclass
class _Doing:
    """An act while it goes on."""

    id: UUID = field(default_factory=new_id)
    matched: int = 0
    new_skus: int = 0


@access.needs(Permission.CATALOG)
def accept(
    database: Database,
    merchant_id: UUID,
    chosen: Mapping[UUID, str],
    actor: str,
    *,
    tell: Callable[[], None] = lambda: None,
) -> Act:
    """Match each of these listings to the SKU of this code, made if it does not exist, as one act.

    What a person has matched meanwhile stays as it is. ``tell`` is called after each of its transactions.
    """
    doing = _Doing()
    for some in in_chunks(sorted(chosen.items()), _MATCHES_AT_ONCE):

        def work(connection: Connection, some: list[tuple[UUID, str]] = some) -> tuple[int, int]:
            listing = t.listing.c
            open_ones = select(listing.id).where(
                listing.merchant_id == merchant_id,
                listing.id.in_([each for each, _ in some]),
                listing.sku_id.is_(None),
            )
            still = set(connection.execute(for_update(connection, open_ones.order_by(listing.id))).scalars())
            left = [each for each in some if each[0] in still]
            return _match(database, connection, merchant_id, left, actor, doing) if left else (0, 0)

        matched, new_skus = database.transact(work)
        doing.matched += matched
        doing.new_skus += new_skus
        tell()
    return Act(doing.id if doing.matched else None, doing.matched, doing.new_skus)


@access.needs(Permission.CATALOG)
def bind(database: Database, merchant_id: UUID, listing_id: UUID, sku_code: str, actor: str) -> UUID:
    """Match one listing to the SKU ``sku_code``, made if it does not exist. Waiting order lines get their stock.

    Returns the act, by which it can be undone.
    """
    code = checked_code(sku_code)
    doing = _Doing()
    database.transact(lambda connection: _match(database, connection, merchant_id, [(listing_id, code)], actor, doing))
    return doing.id


def checked_code(typed: str) -> str:
    """A SKU as it may be called. Raises BadInput."""
    code = typed.strip()
    if not code or len(code) > 200 or not code.isprintable():
        raise BadInput("Enter a SKU of 1 to 200 characters.", {"sku": ["Enter a SKU."]})
    return code


@access.needs(Permission.CATALOG)
def unbind(database: Database, merchant_id: UUID, listing_id: UUID, actor: str) -> None:
    """Undo a match. Orders imported meanwhile keep their reservations; the listing is published no more."""

    def work(connection: Connection) -> None:
        listing = t.listing.c
        publications.leave(connection, merchant_id, listing.id == listing_id)
        row = connection.execute(
            update(t.listing)
            .where(listing.merchant_id == merchant_id, listing.id == listing_id, listing.sku_id.is_not(None))
            .values(**_UNMATCHED)
            .returning(listing.title, listing.connection_id)
        ).one_or_none()
        if row is None:
            raise Conflict("This listing is not matched any more. Reload the page.")
        activity.note(
            connection,
            merchant_id,
            "listing_unmatched",
            f"“{row.title}” is not matched any more",
            at=database.now(connection),
            connection_id=row.connection_id,
            actor=actor,
        )

    database.transact(work)


_UNMATCHED: dict[str, Any] = {"sku_id": None, "bound_at": None, "bound_by": "", "match_act_id": None}


@access.needs(Permission.CATALOG)
def undo(database: Database, merchant_id: UUID, act_id: UUID, actor: str) -> int:
    """Undo an act of matching; returns how many listings are not matched any more.

    Those that were matched anew or undone since stay as they are, and so do SKUs that the act has made. Raises Conflict
    where it was undone before, BadInput for an act that there is none of.
    """

    def work(connection: Connection) -> int:
        act, listing = t.match_act.c, t.listing.c
        this = [act.merchant_id == merchant_id, act.id == act_id]
        row = connection.execute(for_update(connection, select(t.match_act).where(*this))).one_or_none()
        if row is None:
            raise BadInput("There is nothing of this kind to undo. Reload the page.")
        if row.undone_at is not None:
            raise Conflict("This was undone already. Reload the page.")
        at = database.now(connection)
        mine = select(listing.id).where(listing.merchant_id == merchant_id, listing.match_act_id == act_id)
        connection.execute(for_update(connection, mine.order_by(listing.id))).all()
        publications.leave(connection, merchant_id, listing.match_act_id == act_id)
        changed = connection.execute(
            update(t.listing)
            .where(listing.merchant_id == merchant_id, listing.match_act_id == act_id)
            .values(**_UNMATCHED)
            .returning(listing.connection_id)
        ).all()
        count = len(changed)
        connection.execute(update(t.match_act).where(*this).values(undone_at=at, undone_by=actor, undone=count))
        for connection_id, times in sorted(Counter(each.connection_id for each in changed).items()):
            activity.note(
                connection,
                merchant_id,
                "listing_unmatched",
                f"{times} listing{'' if times == 1 else 's'} not matched any more: undone at once",
                at=at,
                connection_id=connection_id,
                actor=actor,
            )
        return count

    return database.transact(work)


@access.needs(Permission.CATALOG)
def ignore(database: Database, merchant_id: UUID, listing_ids: Collection[UUID], actor: str) -> int:
    """Take listings out of the queue: they are not to be matched. Returns how many."""
    return _set_ignored(database, merchant_id, listing_ids, actor, "left unmatched on purpose")


@access.needs(Permission.CATALOG)
def bring_back(database: Database, merchant_id: UUID, listing_ids: Collection[UUID], actor: str) -> int:
    """Put listings that were ignored back into the queue. Returns how many."""
    return _set_ignored(database, merchant_id, listing_ids, actor, "")


def _set_ignored(database: Database, merchant_id: UUID, listing_ids: Collection[UUID], actor: str, told: str) -> int:
    def work(connection: Connection) -> int:
        at = database.now(connection)
        listing = t.listing.c
        changed = connection.execute(
            update(t.listing)
            .where(
                listing.merchant_id == merchant_id,
                listing.id.in_(list(listing_ids)),
                listing.sku_id.is_(None),
                listing.ignored_at.is_(None) if told else listing.ignored_at.is_not(None),
            )
            .values(ignored_at=at if told else None)
            .returning(listing.connection_id, listing.external_id, listing.title)
        ).all()
        by_shop: dict[UUID, list[_AnyRow]] = {}
        for row in changed:
            by_shop.setdefault(row.connection_id, []).append(row)
        for connection_id, rows in sorted(by_shop.items()):
            what = f"“{rows[0].title}” is" if len(rows) == 1 else f"{len(rows)} listings are"
            if told:
                subjects = [f"{connection_id}/{row.external_id}" for row in rows]
                activity.resolve_issues(connection, merchant_id, "unmatched_listing", subjects, at=at, by=actor)
            activity.note(
                connection,
                merchant_id,
                "listing_ignored" if told else "listing_brought_back",
                f"{what} {told or 'to be matched again'}",
                at=at,
                connection_id=connection_id,
                actor=actor,
            )
        return len(changed)

    return database.transact(work)


def _match(
    database: Database,
    connection: Connection,
    merchant_id: UUID,
    matches: Sequence[tuple[UUID, str]],
    actor: str,
    doing: _Doing,
) -> tuple[int, int]:
    """Match listings, as a part of the act; returns how many, and how many SKUs were made for them."""
    at = database.now(connection)
    listing = t.listing.c
    rows = {
        row.id: row
        for row in connection.execute(
            for_update(
                connection,
                select(t.listing)
                .where(listing.merchant_id == merchant_id, listing.id.in_([each for each, _ in matches]))
                .order_by(listing.id),
            )
        )
    }
    matches = [(listing_id, code) for listing_id, code in matches if listing_id in rows]
    if not matches:
        raise BadInput("This listing does not exist. Reload the page.")
    titles = {code: rows[listing_id].title for listing_id, code in matches}
    made = connection.execute(
        upsert(connection, t.sku)
        .values(
            [
                {"merchant_id": merchant_id, "id": new_id(), "code": code, "title": titles[code], "created_at": at}
                for code in sorted(titles)
            ]
        )
        .on_conflict_do_nothing(index_elements=["merchant_id", "code"])
        .returning(t.sku.c.id, t.sku.c.code, t.sku.c.title)
    ).all()
    searching.add_skus(connection, merchant_id, [(row.id, row.code, row.title) for row in made])
    sku_of = dict(
        connection.execute(
            select(t.sku.c.code, t.sku.c.id).where(t.sku.c.merchant_id == merchant_id, t.sku.c.code.in_(list(titles)))
        ).all()
    )
    bound: dict[UUID, dict[str, UUID]] = {}
    for listing_id, code in matches:
        row = rows[listing_id]
        bound.setdefault(row.connection_id, {})[row.external_id] = sku_of[code]
    total = doing.matched + len(matches)
    told = f"{total} listings matched" if total > 1 else f"“{rows[matches[0][0]].title}” matched to SKU {matches[0][1]}"
    if doing.matched:
        this = (t.match_act.c.merchant_id == merchant_id, t.match_act.c.id == doing.id)
        connection.execute(update(t.match_act).where(*this).values(listings=total, summary=told))
    else:
        act = {"merchant_id": merchant_id, "id": doing.id, "listings": total, "summary": told[:500], "actor": actor}
        connection.execute(insert(t.match_act).values(**act, at=at))
    connection.execute(
        update(t.listing)
        .where(listing.merchant_id == merchant_id, listing.id == bindparam("this_listing"))
        .values(sku_id=bindparam("its_sku"), bound_at=at, bound_by=actor, match_act_id=doing.id, ignored_at=None),
        [{"this_listing": listing_id, "its_sku": sku_of[code]} for listing_id, code in sorted(matches)],
    )
    for connection_id, skus in sorted(bound.items()):
        subjects = [f"{connection_id}/{external_id}" for external_id in skus]
        activity.resolve_issues(connection, merchant_id, "unmatched_listing", subjects, at=at, by=actor)
        orders.bind_lines(connection, merchant_id, connection_id, skus, at=at)
        (first, code), *others = [each for each in matches if rows[each[0]].connection_id == connection_id]
        activity.note(
            connection,
            merchant_id,
            "listing_matched",
            f"{len(others) + 1} listings matched" if others else f"“{rows[first].title}” is matched to SKU {code}",
            at=at,
            connection_id=connection_id,
            actor=actor,
        )
    publication = t.publication.c
    connection.execute(
        update(t.publication)
        .where(publication.merchant_id == merchant_id, publication.listing_id.in_([each for each, _ in matches]))
        .values(version=publication.version + 1, dirty_since=first_change(at))
    )
    publications.ensure(connection, merchant_id, at=at, sku_ids=set(sku_of.values()))
    return len(matches), len(made)
