"""How orders and SKUs are found by what people type: the words of each order, kept in the commit that changes it, and
reading them, the newest order first; the words of each SKU, kept in the commit that makes it.

A word that is typed may be the beginning of a kept one, and all that are typed must fit. Words are compared byte by
byte, so that a beginning is a range of an index. The index goes by the week an order was placed in and then by word:
the newest orders with a common word are a small range of the last weeks, and a rare word is looked up in every week at
once, whichever way words and time hang together.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    delete,
    exists,
    false,
    func,
    literal,
    or_,
    select,
    union,
    union_all,
)

from hub.core.details import OrderDetails
from hub.core.model import ChannelShipment, Order
from hub.core.plain import from_plain
from hub.store import tables as t
from hub.store.bulk import insert_rows
from hub.store.database import among, each_of, in_chunks

LONGEST = 64  # characters of a word
MOST_WORDS = 200  # of one order
MOST_TYPED = 8  # words of a search that count

Mark = tuple[datetime, UUID]
"""Where a list of orders goes on: (placed_at, id) of the last one shown."""

# ---------------------------------------------------------------- words


def fold(text: str) -> str:
    """The text without accents, capitals and what cannot be seen: what is written alike is the same."""
    if text.isascii():
        return "".join(each for each in text.lower() if each.isprintable() or each.isspace())
    # A sign may stand for others that are capitals, and a small letter for others with an accent: twice does it.
    for _ in range(2):
        text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
        text = "".join(each for each in text if not unicodedata.combining(each))
    return "".join(each for each in text if each.isspace() or unicodedata.category(each)[0] != "C")


def typed_words(text: str) -> list[str]:
    """What of a typed text is looked for: each is the beginning of a word."""
    return _without_beginnings(list(dict.fromkeys(_words(text)))[:MOST_TYPED])


_PIECE = re.compile(r"[^\W_]+")
_EDGE = "#%&*+-_/\\|.,;:!?=<>()[]{}\"'`~^@$ "


def _words(text: str) -> Iterator[str]:
    """The words of a text as they stand there, without what surrounds them; "#" stands before no word."""
    for each in fold(text).split():
        if word := each.strip(_EDGE)[:LONGEST].rstrip(_EDGE):
            yield word


def _with_pieces(text: str) -> Iterator[str]:
    """The words of a text, and those within them: of "tea-green" also "tea" and "green"."""
    for word in _words(text):
        yield word
        yield from _PIECE.findall(word)


def _without_beginnings(words: Iterable[str]) -> list[str]:
    """The words that no other begins with: who looks for the beginning finds the longer one, too."""
    ordered = sorted(words)
    return [
        word
        for word, following in zip(ordered, [*ordered, ""][1:], strict=True)
        if word and not following.startswith(word)
    ]


def tag_word(tag: str) -> str:
    """The word that exactly the orders with this tag have: no word of a text begins with "#"."""
    return f"#tag/{' '.join(fold(tag).split())}"[:LONGEST].rstrip()


def country_word(code: str) -> str:
    """The word that exactly the orders have that go to this country."""
    return f"#country/{fold(code).strip()}"[:LONGEST]


def sku_words(code: str, title: str) -> frozenset[str]:
    """What a SKU is found by."""
    said = dict.fromkeys((*_with_pieces(code), *_with_pieces(title)))
    return frozenset(_without_beginnings(list(said)[:MOST_WORDS]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Searchable:
    """What of an order it is found by."""

    placed_at: datetime | None
    number: str
    external_id: str
    customer_name: str
    email: str
    skus: tuple[str, ...]
    tracking_numbers: tuple[str, ...]
    tags: tuple[str, ...]
    country: str

    def words(self) -> frozenset[str]:
        """Its words; an order without a date is in no list, and has none."""
        if self.placed_at is None:
            return frozenset()
        said = dict.fromkeys(_each_word(self))
        named = [tag_word(tag) for tag in self.tags if tag.strip()]
        if self.country.strip():
            named.append(country_word(self.country))
        return frozenset((*named[:MOST_WORDS], *_without_beginnings(list(said)[:MOST_WORDS])))


def _each_word(order: Searchable) -> Iterator[str]:
    yield from _with_pieces(order.number)
    for word in _words(order.external_id):
        yield word
        yield from _PIECE.findall(word)[-1:]  # what an address of a record ends with
    yield from _words(order.email)
    yield from _with_pieces(order.email.rpartition("@")[0])
    yield from _with_pieces(order.customer_name)
    for number in order.tracking_numbers:
        yield "".join(_PIECE.findall(fold(number)))[:LONGEST]
    for tag in order.tags:
        yield from _with_pieces(tag)
    for sku in order.skus:
        yield from _with_pieces(sku)


def week_of(moment: datetime) -> int:
    """The week a moment is in, counted from 1970 on; later weeks have greater numbers."""
    return min(max((moment - _FIRST).days // 7, 0), _LAST_WEEK)


_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_WEEK = 8000  # and whatever comes after it


# ---------------------------------------------------------------- writing


def told(order: Order) -> Searchable:
    """What an order is found by, as its channel tells it."""
    return Searchable(
        placed_at=order.placed_at,
        number=order.number,
        external_id=order.external_id,
        customer_name=order.customer_name,
        email=order.email,
        skus=tuple(dict.fromkeys(line.sku for line in order.lines if line.sku)),
        tracking_numbers=_numbers(order.shipments),
        tags=order.tags,
        country=order.shipping_address.country,
    )


def _numbers(shipments: Iterable[ChannelShipment]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(number for each in shipments for number in each.tracking_numbers))


def add(connection: Connection, merchant_id: UUID, orders: Mapping[UUID, Searchable]) -> None:
    """Keep the words of orders that have none yet, in the caller's transaction."""
    insert_rows(
        connection,
        t.order_word,
        [
            row
            for order_id, order in orders.items()
            for row in _rows(merchant_id, order_id, order.placed_at, order.words())
        ],
    )


def add_skus(connection: Connection, merchant_id: UUID, skus: Iterable[tuple[UUID, str, str]]) -> None:
    """Keep the words of new SKUs (id, code, title), in the transaction that makes them."""
    rows = [
        {"merchant_id": merchant_id, "sku_id": sku_id, "word": word}
        for sku_id, code, title in skus
        for word in sorted(sku_words(code, title))
    ]
    insert_rows(connection, t.sku_word, rows)


def keep_up_sku(connection: Connection, merchant_id: UUID, sku_id: UUID, code: str, title: str) -> None:
    """Make the words of a SKU those of its new title, in the transaction that gives it one."""
    word = t.sku_word.c
    connection.execute(delete(t.sku_word).where(word.merchant_id == merchant_id, word.sku_id == sku_id))
    add_skus(connection, merchant_id, [(sku_id, code, title)])


def keep_up(connection: Connection, merchant_id: UUID, order_ids: Iterable[UUID]) -> None:
    """Make the words of these orders those of what is stored of them, in the transaction that has changed it."""
    word = t.order_word.c
    for some in in_chunks(dict.fromkeys(order_ids)):
        kept: dict[UUID, dict[str, datetime]] = defaultdict(dict)
        for row in connection.execute(
            select(word.order_id, word.word, word.placed_at).where(
                word.merchant_id == merchant_id, among(connection, word.order_id, some)
            )
        ):
            kept[row.order_id][row.word] = row.placed_at
        gone: list[dict[str, Any]] = []
        new: list[dict[str, Any]] = []
        for order_id, order in _stored(connection, merchant_id, some).items():
            words = order.words()
            same = {each for each in words if kept[order_id].get(each) == order.placed_at}
            gone += [{"this_order": order_id, "this_word": each} for each in kept[order_id].keys() - same]
            new += _rows(merchant_id, order_id, order.placed_at, words - same)
        if gone:
            connection.execute(
                delete(t.order_word).where(
                    word.merchant_id == merchant_id,
                    word.order_id == bindparam("this_order"),
                    word.word == bindparam("this_word"),
                ),
                gone,
            )
        insert_rows(connection, t.order_word, new)


def keep_up_parcels(connection: Connection, merchant_id: UUID, shipment_id: UUID) -> None:
    """The same for the orders that share a shipment: its tracking numbers are others now."""
    sent, along = t.shipment.c, t.shipment_companion.c
    sharing = connection.execute(
        union(
            select(sent.order_id).where(sent.merchant_id == merchant_id, sent.id == shipment_id),
            select(along.order_id).where(along.merchant_id == merchant_id, along.shipment_id == shipment_id),
        )
    ).scalars()
    keep_up(connection, merchant_id, sharing)


def _rows(
    merchant_id: UUID, order_id: UUID, placed_at: datetime | None, words: Collection[str]
) -> list[dict[str, Any]]:
    if placed_at is None:
        return []
    week = week_of(placed_at)
    return [
        {"merchant_id": merchant_id, "order_id": order_id, "word": word, "week": week, "placed_at": placed_at}
        for word in sorted(words)
    ]


def _stored(connection: Connection, merchant_id: UUID, order_ids: Sequence[UUID]) -> dict[UUID, Searchable]:
    order, line = t.sales_order.c, t.order_line.c
    skus: dict[UUID, dict[str, None]] = defaultdict(dict)
    for row in connection.execute(
        select(line.order_id, line.sku_text)
        .where(line.merchant_id == merchant_id, among(connection, line.order_id, order_ids), line.present)
        .order_by(line.order_id, line.position, line.id)
    ):
        if row.sku_text:
            skus[row.order_id][row.sku_text] = None
    sent, along = t.shipment.c, t.shipment_companion.c
    parcels: dict[UUID, list[str]] = defaultdict(list)
    for row in connection.execute(
        union_all(
            select(sent.order_id, sent.tracking_numbers).where(
                sent.merchant_id == merchant_id, among(connection, sent.order_id, order_ids)
            ),
            select(along.order_id, sent.tracking_numbers)
            .join(t.shipment, and_(sent.merchant_id == along.merchant_id, sent.id == along.shipment_id))
            .where(along.merchant_id == merchant_id, among(connection, along.order_id, order_ids)),
        )
    ):
        parcels[row.order_id] += row.tracking_numbers
    found: dict[UUID, Searchable] = {}
    known: Sequence[Any] = connection.execute(
        select(
            order.id,
            order.placed_at,
            order.number,
            order.external_id,
            order.customer_name,
            order.email,
            order.tags,
            order.own_tags,
            order.details,
            t.SHIP_TO.label("ship_to"),
        ).where(order.merchant_id == merchant_id, among(connection, order.id, order_ids))
    ).all()
    for each in known:
        theirs = _numbers(from_plain(OrderDetails, each.details).shipments) if each.details else ()
        found[each.id] = Searchable(
            placed_at=each.placed_at,
            number=each.number,
            external_id=each.external_id,
            customer_name=each.customer_name,
            email=each.email,
            skus=tuple(skus[each.id]),
            tracking_numbers=(*theirs, *parcels[each.id]),
            tags=(*each.tags, *each.own_tags),
            country=each.ship_to.get("country", ""),
        )
    return found


# ---------------------------------------------------------------- reading

_A_WEEK = 64  # words of a week that are counted
_FEW = 1000  # orders that are looked at one by one without anybody waiting for it
_FEW_SKUS = 1000
_END = "\U0010ffff"  # stands in no word, and behind every sign that does


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Orders with words that begin so, and these words, that meet the ``conditions`` on sales_order; placed from
    ``since`` on, and before ``until``."""

    beginnings: Sequence[str] = ()
    words: Sequence[str] = ()
    conditions: Sequence[ColumnElement[bool]] = ()
    since: datetime | None = None
    until: datetime | None = None


def newest(
    connection: Connection, merchant_id: UUID, search: Search, *, before: Mark | None = None, limit: int
) -> list[Mark]:
    """The newest ``limit`` orders that are found; ``before`` is the last one shown."""
    asked = _asked(search.beginnings, search.words)
    reading = _Reading(connection, merchant_id, search, before, asked)
    return reading.of_orders(limit) if not asked else reading.by_words(limit)


def of_skus(
    connection: Connection, merchant_id: UUID, text: str, beginnings: Sequence[str] = (), words: Sequence[str] = ()
) -> ColumnElement[bool]:
    """A condition on ``sku``: it has words that begin so, and these words; or ``text`` is the barcode of a listing that
    is matched to it."""
    word, sku, listing = t.sku_word.c, t.sku.c, t.listing.c
    asked = _asked(beginnings, words)
    having = [select(word.sku_id).where(word.merchant_id == merchant_id, each.fits(word.word)) for each in asked]
    scanned = select(listing.sku_id).where(
        listing.merchant_id == merchant_id,
        listing.barcode == text,
        listing.barcode != "",
        listing.sku_id.is_not(None),
    )
    # Of what few SKUs have, all are read; what many have is left to the database, beside them or one by one.
    few = [
        select(some.c.sku_id, literal(place).label("place"))
        for place, each in enumerate([*having, scanned])
        for some in [each.limit(_FEW_SKUS).subquery()]
    ]
    read: dict[int, list[UUID]] = defaultdict(list)
    for row in connection.execute(union_all(*few)):
        read[row.place].append(row.sku_id)
    complete = [set(read[place]) for place in range(len(asked)) if len(read[place]) < _FEW_SKUS]
    named = [
        sku.id.in_(select(common.c.sku_id))
        for place, each in enumerate(having)
        if len(read[place]) >= _FEW_SKUS
        # All of them at once: guessing that some are met soon, PostgreSQL would look up the words SKU by SKU.
        for common in [each.cte(f"common_{place}").prefix_with("MATERIALIZED", dialect="postgresql")]
    ]
    by_barcode = set(read[len(asked)])
    if not complete and not by_barcode:
        return and_(*named) if named else false()
    few_of_all = set.intersection(*complete) if complete else set()
    if not named or not complete:
        of_those = among(connection, sku.id, sorted(few_of_all | by_barcode))
        return or_(of_those, and_(*named)) if named else of_those
    both = and_(among(connection, sku.id, sorted(few_of_all)), *named)
    return or_(both, among(connection, sku.id, sorted(by_barcode))) if by_barcode else both


@dataclass(frozen=True, slots=True)
class _Asked:
    """One word that is looked for, or all from it up to ``end``."""

    word: str
    end: str = ""

    def fits(self, column: ColumnElement[str]) -> ColumnElement[bool]:
        return and_(column >= self.word, column < self.end) if self.end else column == self.word

    def likely(self) -> int:
        """The smaller, the rarer it is likely to be, of two of which nobody knows."""
        return -len(self.word)


def _asked(beginnings: Sequence[str], words: Sequence[str]) -> list[_Asked]:
    asked = [_Asked(each, f"{each}{_END}") for each in beginnings] + [_Asked(each) for each in words]
    return sorted(asked, key=_Asked.likely)


@dataclass(frozen=True, slots=True)
class _Reading:
    """One search of one merchant's orders, in one look at the database."""

    connection: Connection
    merchant_id: UUID
    search: Search
    before: Mark | None
    asked: Sequence[_Asked]  # what is likely to be rare first

    def by_words(self, limit: int) -> list[Mark]:
        """The newest weeks that have every word are looked at, and more of them as long as they do not hold enough.
        Where fewer orders meet the conditions than have the words, those are."""
        weeks = self._weeks()
        counts, meeting = self._up_to_a_few(weeks) if weeks else ([], 0)
        # Of each week that has them all, newest first, how many orders may be found in it at the most.
        fitting = [(week, min(each[week] for each in counts)) for week in weeks if all(week in each for each in counts)]
        if self.search.conditions and meeting < min(_FEW, sum(count for _, count in fitting)):
            return self.of_orders(limit)
        found: list[Mark] = []
        for some in _growing(fitting, limit):
            leading = min(range(len(counts)), key=lambda place: sum(counts[place][week] for week in some))
            found += self._of_words(leading, some, limit - len(found))
            if len(found) >= limit:
                break
        return found

    def of_orders(self, limit: int) -> list[Mark]:
        """By the conditions, and by the words of each order that meets them."""
        order = t.sales_order.c
        query = self._orders().where(*(self._has(order.id, each) for each in self.asked))
        return self._first(query, order.placed_at, order.id, limit)

    def _orders(self) -> Select[Any]:
        order = t.sales_order.c
        return select(order.placed_at, order.id).where(
            order.merchant_id == self.merchant_id,
            # An order of which only the removal was ever heard has no date, and says nothing.
            order.placed_at.is_not(None),
            *self._in_time(order.placed_at, order.id),
            *self.search.conditions,
        )

    def _of_words(self, leading: int, weeks: Sequence[int], limit: int) -> list[Mark]:
        """The orders of these weeks that have the leading word, and all the others."""
        word, order = t.order_word.c, t.sales_order.c
        query = select(word.placed_at, word.order_id).where(
            word.merchant_id == self.merchant_id,
            among(self.connection, word.week, weeks),
            self.asked[leading].fits(word.word),
            *self._in_time(word.placed_at, word.order_id),
            *(self._has(word.order_id, each, weeks) for place, each in enumerate(self.asked) if place != leading),
        )
        if self.search.conditions:
            this = and_(order.merchant_id == word.merchant_id, order.id == word.order_id)
            query = query.join(t.sales_order, this).where(*_within(order.placed_at, weeks), *self.search.conditions)
        return self._first(query.distinct(), word.placed_at, word.order_id, limit)

    def _has(
        self, order_id: ColumnElement[UUID], asked: _Asked, weeks: Sequence[int] | None = None
    ) -> ColumnElement[bool]:
        """An order has the word; of these weeks, where they are known."""
        word = t.order_word.alias()
        having = select(word.c.word).where(
            word.c.merchant_id == self.merchant_id, word.c.order_id == order_id, asked.fits(word.c.word)
        )
        if weeks is not None and self.connection.dialect.name == "postgresql":
            # Of two words that many have, PostgreSQL may then read both side by side, instead of one order by order.
            having = having.where(among(self.connection, word.c.week, weeks))
        return exists(having.correlate(t.order_word, t.sales_order))

    def _in_time(self, placed_at: ColumnElement[datetime], order_id: ColumnElement[UUID]) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = []
        if self.search.since is not None:
            found.append(placed_at >= self.search.since)
        if self.search.until is not None:
            found.append(placed_at < self.search.until)
        if self.before is not None:
            moment, last = self.before
            found += [placed_at <= moment, or_(placed_at < moment, order_id < last)]
        return found

    def _first(self, query: Select[Any], placed_at: Any, order_id: Any, limit: int) -> list[Mark]:
        rows = self.connection.execute(query.order_by(placed_at.desc(), order_id.desc()).limit(limit))
        return [(row[0], row[1]) for row in rows]

    def _weeks(self) -> Sequence[int]:
        """Every week in which such an order may have been placed, the newest first."""
        order = t.sales_order.c
        ends = (
            select(end(order.placed_at))
            .where(order.merchant_id == self.merchant_id, *self.search.conditions)
            .scalar_subquery()
            for end in (func.min, func.max)
        )
        oldest, latest = self.connection.execute(select(*ends)).one()
        if oldest is None:
            return ()
        first = max(each for each in (oldest, self.search.since) if each is not None)
        last = min(each for each in (latest, self.search.until, self.before and self.before[0]) if each is not None)
        return range(week_of(last), week_of(first) - 1, -1)

    def _up_to_a_few(self, weeks: Sequence[int]) -> tuple[list[dict[int, int]], int]:
        """How often each asked word stands in each week that has it, and how many orders meet the conditions; all of
        them only up to a few."""
        week, word = each_of(self.connection, weeks).c.value, t.order_word.c
        rows: list[Select[Any]] = []
        for place, each in enumerate(self.asked):
            there = select(word.week).where(
                word.merchant_id == self.merchant_id, word.week == week, each.fits(word.word)
            )
            some = there.correlate(week.table).limit(_A_WEEK).subquery()
            count = select(func.count()).select_from(some).scalar_subquery()
            rows.append(select(literal(place).label("place"), week.label("week"), count.label("count")))
        if self.search.conditions:
            enough = self._orders().limit(_FEW).subquery()
            rows.append(select(literal(-1), literal(0), select(func.count()).select_from(enough).scalar_subquery()))
        counts: list[dict[int, int]] = [{} for _ in self.asked]
        meeting = 0
        for place, of, count in self.connection.execute(union_all(*rows)):
            if place < 0:
                meeting = count
            elif count:
                counts[place][of] = count
        return counts, meeting


def _within(placed_at: ColumnElement[datetime], weeks: Sequence[int]) -> Iterator[ColumnElement[bool]]:
    """From the beginning of the first of these weeks to the end of the last."""
    if (first := min(weeks)) > 0:
        yield placed_at >= _FIRST + timedelta(weeks=first)
    if (last := max(weeks)) < _LAST_WEEK:
        yield placed_at < _FIRST + timedelta(weeks=last + 1)


def _growing(weeks: Sequence[tuple[int, int]], limit: int) -> Iterator[Sequence[int]]:
    """The weeks in spans that may each hold several times as much as the one before, the first of them ``limit``; of a
    week with more than were counted nobody knows how much it holds."""
    some: list[int] = []
    held, wanted = 0, limit
    for week, count in weeks:
        some.append(week)
        held += limit if count >= _A_WEEK else count
        if held >= wanted:
            yield some
            some, held, wanted = [], 0, wanted * 4
    if some:
        yield some
