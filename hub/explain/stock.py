"""The story of a SKU: what moved it, what each shop was told of it and why, and what is on its way."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, Subquery, func, select, true, union_all

from hub.core.stock import Cause as Moved
from hub.errors import BadInput
from hub.explain import evidence
from hub.explain.evidence import Change, Offer, Sale, Told, Trouble
from hub.explain.words import listed, moment, span, units
from hub.store import publications
from hub.store import tables as t

USUALLY = timedelta(days=7)  # how far back the story goes where nothing else is asked for
_MOST_HAPPENINGS = 120
_MOST_KITS = 50


@dataclass(frozen=True, slots=True)
class Balance:
    """What lies at one location; ``entries`` is the number of the last ledger line there."""

    location: str
    on_hand: int
    allocated: int
    set_aside: int
    incoming: int
    safety_stock: int
    entries: int

    @property
    def available(self) -> int:
        """What nobody holds."""
        return self.on_hand - self.allocated - self.set_aside


@dataclass(frozen=True, slots=True)
class ShopNow:
    """What a listing is believed to say at one place of its shop, what it should say, and how that is worked out."""

    shop: str
    listing: str
    place: str
    believed: int | None
    since: datetime | None
    wanted: int | None  # None: not counted
    steps: tuple[str, ...]
    sentence: str


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened. ``kind`` is moved, told, short or trouble; ``entry`` the ledger line at ``location``."""

    at: datetime
    kind: str
    sentence: str
    location: str = ""
    entry: int | None = None
    shop: str = ""
    quantity: int | None = None  # what a shop was told
    seconds: float | None = None  # from the change until the shop was told
    order_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A figure as it changed: (moment, units) whenever it did. ``name`` is a shop's, or "Available"."""

    name: str
    points: tuple[tuple[datetime, int], ...]


@dataclass(frozen=True, slots=True)
class StockExplained:
    """Everything that is told of a SKU, the oldest happening first; ``cut`` when there were more before."""

    sku_id: UUID
    sku: str
    title: str
    made_of: tuple[tuple[str, int], ...]  # of a kit: its parts
    at: datetime
    since: datetime
    balances: tuple[Balance, ...]
    waiting: int
    shops: tuple[ShopNow, ...]
    happenings: tuple[Happening, ...]
    cut: bool
    lines: tuple[Line, ...]


def find_sku(connection: Connection, text: str) -> tuple[UUID, UUID]:
    """The merchant and id of the SKU with this code, or id. Raises BadInput, with the candidates if there are more."""
    wanted = text.strip()
    sku = t.sku.c
    named = sku.code == wanted
    with suppress(ValueError):
        named |= sku.id == UUID(wanted)
    found = connection.execute(
        select(sku.merchant_id, sku.id, t.merchant.c.name)
        .join(t.merchant, t.merchant.c.id == sku.merchant_id)
        .where(named)
        .order_by(t.merchant.c.name)
        .limit(21)
    ).all()
    if len(found) == 1:
        return found[0].merchant_id, found[0].id
    if found:
        told = "; ".join(f"{row.name} {row.id}" for row in found[:20])
        raise BadInput(f"Several merchants have a SKU “{text}”. Name one by its id: {told}.")
    raise BadInput(f"There is no SKU “{text}”. Write its code as the list of stock has it, or use its id.")


def stock(
    connection: Connection, merchant_id: UUID, sku_id: UUID, *, at: datetime, since: datetime | None = None
) -> StockExplained | None:
    """Explain a SKU as it is at this moment, with what happened from ``since`` on; None when there is no such SKU."""
    sku, waits = t.sku.c, t.backorder.c
    waiting = select(func.coalesce(func.sum(waits.quantity * waits.per_unit), 0)).where(
        waits.merchant_id == merchant_id, waits.sku_id == sku_id, waits.missing | waits.woken, waits.missing
    )
    leaves = _leaves(merchant_id, sku_id)
    rows = connection.execute(
        select(sku.code, sku.title, waiting.scalar_subquery().label("waiting"), leaves)
        .outerjoin(leaves, true())
        .where(sku.merchant_id == merchant_id, sku.id == sku_id)
    ).all()
    if not rows:
        return None
    row = rows[0]
    begin = since or at - USUALLY
    made_of = {
        each.part_id: (each.part_code, each.quantity)
        for each in sorted(rows, key=lambda each: str(each.part_code))
        if each.kit_id == sku_id
    }
    kits = sorted({each.kit_id for each in rows} - {sku_id, None})
    balances, changes = _ledger(connection, merchant_id, sku_id, made_of, begin, at)
    offers = evidence.offers(connection, merchant_id, sku_ids=[sku_id, *kits])
    told = evidence.told_between(connection, merchant_id, [offer.id for offer in offers], begin, at)
    codes = {sku_id: row.code} | {part_id: code for part_id, (code, _) in made_of.items()}
    counted = list(made_of) or [sku_id]
    moved_for = {each.order_id for each in changes if each.order_id}
    known = evidence.sales(connection, merchant_id, [*moved_for, *_told_because_of(told.values())], counted)
    sales = {order_id: sale for order_id, sale in known.items() if order_id in moved_for}
    numbers = {order_id: f"{sale.number} ({sale.shop})" for order_id, sale in known.items()}
    names = {location_id: balance.location for _, location_id, balance in balances}
    troubles = evidence.troubles(connection, merchant_id, offers, begin, at)
    happened = [_moved(each, sales, codes if made_of else {}) for each in changes]
    for offer in offers:
        happened += [_told(each, offer, codes, numbers, names) for each in told[offer.id]]
        happened += _troubles(offer, troubles[offer.id], begin)
    happened += _shortages(connection, merchant_id, sku_id, begin, at)
    happened = sorted(dict.fromkeys(happened), key=lambda each: each.at)
    return StockExplained(
        sku_id,
        row.code,
        row.title,
        tuple(made_of.values()),
        at,
        begin,
        tuple(balance for one, _, balance in balances if one == sku_id),
        int(row.waiting),
        _shops(connection, merchant_id, sku_id, offers),
        tuple(happened[-_MOST_HAPPENINGS:]),
        len(happened) > _MOST_HAPPENINGS,
        () if made_of else _lines(changes, offers, told, sales, at),
    )


# ---------------------------------------------------------------- how things are now


def _leaves(merchant_id: UUID, sku_id: UUID) -> Subquery:
    """What a kit is made of with how many, and the kits that a SKU is part of."""
    leaf, sku = t.kit_leaf.c, t.sku.c
    made_of = select(leaf.kit_id, leaf.part_id, sku.code.label("part_code"), leaf.quantity).join(
        t.sku, (sku.merchant_id == leaf.merchant_id) & (sku.id == leaf.part_id)
    )
    both = (
        made_of.where(leaf.merchant_id == merchant_id, mine == sku_id).order_by(*turn).limit(_MOST_KITS).subquery()
        for mine, turn in ((leaf.kit_id, (sku.code,)), (leaf.part_id, (leaf.kit_id,)))
    )
    return union_all(*(select(each) for each in both)).subquery()


def _ledger(
    connection: Connection, merchant_id: UUID, sku_id: UUID, parts: Collection[UUID], since: datetime, until: datetime
) -> tuple[Sequence[tuple[UUID, UUID, Balance]], Sequence[Change]]:
    """What lies of a SKU and its parts at each location, by name, and what changed between two moments of what is
    counted of it, the oldest first."""
    ledger = evidence.ledger_between(connection, merchant_id, [sku_id, *parts], since, until, most=_MOST_HAPPENINGS + 1)
    balances = [
        (
            level.sku_id,
            level.location_id,
            Balance(
                level.name,
                level.on_hand,
                level.allocated,
                level.quarantined + level.damaged,
                level.incoming,
                level.safety_stock,
                level.entries,
            ),
        )
        for level, _ in ledger
    ]
    changes = [each for level, some in ledger if not parts or level.sku_id != sku_id for each in some]
    return balances, sorted(changes, key=lambda each: (each.at, each.number))


def _shops(connection: Connection, merchant_id: UUID, sku_id: UUID, offers: Sequence[Offer]) -> tuple[ShopNow, ...]:
    by_id = {offer.id: offer for offer in offers}
    found = []
    for each in publications.preview(connection, merchant_id, sku_id):
        offer = by_id.get(each.listing_id)
        if offer is None:
            continue
        place = next((one for one in offer.places if one.external_id == each.location_external_id), None)
        wanted = None if each.figure is None else each.figure.quantity
        found.append(
            ShopNow(
                offer.shop,
                offer.title,
                place.name if place else "",
                each.quantity,
                each.published_at,
                wanted,
                () if each.figure is None else each.figure.steps,
                _standing(offer, each, place.error if place else ""),
            )
        )
    return tuple(found)


def _standing(offer: Offer, now: publications.Preview, error: str) -> str:
    if offer.live_at is None:
        return "Not live: the hub writes no stock to it."
    if now.figure is None:
        return "Not counted yet: the hub writes no stock to it."
    if not (offer.tracked and offer.active):
        return "The shop keeps no stock of it, or it is not active there: the hub writes none."
    if now.unsent_since is not None:
        why = f" The last try ended with: {error}" if error else ""
        paused = f" {offer.shop} is paused." if offer.state == "paused" else ""
        return f"On its way: {now.figure.quantity}, since {moment(now.unsent_since)}.{paused}{why}"
    if error:
        return f"Not written: {error}"
    if now.quantity is None:
        return "Nothing was written to it yet."
    seen = f", last written or seen at {moment(now.published_at)}" if now.published_at else ""
    return f"It says {now.quantity}{seen}."


# ---------------------------------------------------------------- what happened


_WORDS = {
    Moved.ADOPTED: "opening stock",
    Moved.ADJUSTED: "corrected",
    Moved.COUNTED: "counted",
    Moved.RECEIVED: "received",
    Moved.SENT: "sent to another location",
    Moved.ARRIVED: "arrived from another location",
    Moved.LOST: "lost on the way",
    Moved.SET_ASIDE: "set aside",
    Moved.RESTORED: "for sale again",
    Moved.WRITTEN_OFF: "written off",
    Moved.ALLOCATED: "reserved",
    Moved.RELEASED: "given back",
    Moved.SHIPPED: "shipped",
    Moved.UNSHIPPED: "put back: a fulfillment was undone",
}
_CAUSES = {
    "went_live": "the shop went live",
    "drift": "the shop had changed it",
    "came_late": "the shop had worked off an older figure late",
    "seen": "the shop told another figure by itself",
    "rule": "a selling rule was changed",
    "waiting": "orders wait for it",
}


def _moved(change: Change, sales: Mapping[UUID, Sale], codes: Mapping[UUID, str]) -> Happening:
    what = _WORDS[Moved(change.cause)]
    sale = sales.get(change.order_id) if change.order_id else None
    whose = f" for order {sale.number} ({sale.shop})" if sale else ""
    by = f" by {change.actor}" if change.actor and change.actor != "system" else ""
    why = f" ({change.note})" if change.note else ""
    of = f" of {codes[change.sku_id]}" if change.sku_id in codes else ""
    count = max(abs(change.on_hand), abs(change.allocated), abs(change.free))
    sentence = (
        f"{units(count)}{of} {what}{whose} at {change.location}{by}{why}: {change.left} available there "
        f"(ledger line {change.number})."
    )
    return Happening(
        change.at,
        "moved",
        sentence,
        change.location,
        change.number,
        sale.shop if sale else "",
        order_id=change.order_id,
    )


def _told(
    told: Told,
    offer: Offer,
    codes: Mapping[UUID, str],
    numbers: Mapping[UUID, str],
    names: Mapping[UUID, str],
) -> Happening:
    cause = told.cause.get("cause", "")
    order_id = UUID(told.cause["order_id"]) if told.cause.get("order_id") else None
    because = _CAUSES.get(cause) or (_WORDS[Moved(cause)] if cause in set(Moved) else cause.replace("_", " "))
    if order_id is not None:
        because = f"{because} for order {numbers.get(order_id, order_id)}"
    places = {where: number for where, number in told.numbers.items() if where[0] in codes}
    lines = [
        f"{number} of {names.get(location_id, 'a location')}" + (f" ({codes[sku_id]})" if len(codes) > 1 else "")
        for (sku_id, location_id), number in places.items()
    ]
    took = told.at - told.dirty_since if told.dirty_since else None
    sentence = (
        f"{offer.shop} was told {told.quantity}"
        f"{f' instead of {told.before}' if told.before is not None else ''} of “{offer.title}”"
        f"{f', because of: {because}' if because else ''}"
        f"{f'; from ledger line {listed(lines)}' if lines else ''}"
        f"{f'; {span(took)} after the first change it tells' if took is not None else ''}."
        f"{f' {told.note}' if told.note else ''}"
    )
    return Happening(
        told.at,
        "told",
        sentence,
        shop=offer.shop,
        quantity=told.quantity,
        seconds=None if took is None else max(0.0, took.total_seconds()),
        order_id=order_id,
    )


def _told_because_of(told: Iterable[Sequence[Told]]) -> list[UUID]:
    """The orders for whose sake shops were told figures, some hundreds of them."""
    wanted = (UUID(each.cause["order_id"]) for some in told for each in some if each.cause.get("order_id"))
    return list(dict.fromkeys(wanted))[:500]


# While it lasts, and when it is over.
_TROUBLES = {
    "paused": ("is paused", "was paused"),
    "credentials": ("refuses the credentials", "refused the credentials"),
    "unavailable": ("does not answer", "did not answer"),
    "slowed": ("has asked to slow down", "had asked to slow down"),
    "refused": ("refuses the figure", "refused the figure"),
}


def _troubles(offer: Offer, troubles: Iterable[Trouble], since: datetime) -> list[Happening]:
    found = []
    for each in troubles:
        if each.since is None or each.since < since:
            continue
        until = f" until {moment(each.until)}" if each.until else ""
        text = f": {each.text.rstrip('.')}" if each.text else ""
        sentence = f"{offer.shop} {_TROUBLES[each.kind][each.until is not None]}{until}{text}."
        found.append(Happening(each.since, "trouble", sentence, shop=offer.shop))
    return found


def _shortages(
    connection: Connection, merchant_id: UUID, sku_id: UUID, since: datetime, at: datetime
) -> list[Happening]:
    short, order, shop = t.shortage.c, t.sales_order.c, t.connection.c
    rows = connection.execute(
        select(short.at, short.units, short.taken, short.order_id, order.number, shop.label)
        .join(t.sales_order, (order.merchant_id == short.merchant_id) & (order.id == short.order_id))
        .join(t.connection, (shop.merchant_id == order.merchant_id) & (shop.id == order.connection_id))
        .where(short.merchant_id == merchant_id, short.sku_id == sku_id, short.at >= since, short.at <= at)
        .order_by(short.at.desc())
        .limit(_MOST_HAPPENINGS)
    )
    return [
        Happening(
            row.at,
            "short",
            f"Order {row.number} ({row.label}) "
            + (f"lost {units(row.units)} it had" if row.taken else f"could not be given {units(row.units)}")
            + ": it waits.",
            shop=row.label,
            order_id=row.order_id,
        )
        for row in rows
    ]


# ---------------------------------------------------------------- the figures over time


def _lines(
    changes: Sequence[Change],
    offers: Sequence[Offer],
    told: Mapping[UUID, Sequence[Told]],
    sales: Mapping[UUID, Sale],
    at: datetime,
) -> tuple[Line, ...]:
    if not changes:
        return ()
    left: dict[UUID, int] = {}
    for change in changes:
        left.setdefault(change.location_id, change.left - change.free)
    points = [(changes[0].at, sum(left.values()))]
    for change in changes:
        left[change.location_id] = change.left
        points.append((change.at, sum(left.values())))
    found = [Line("Available", (*points, (at, points[-1][1])))]
    for offer in offers:
        if shown := _shown_over_time(offer, changes, told[offer.id], sales, at):
            found.append(Line(f"{offer.shop}: {offer.title}", shown))
    return tuple(found)


def _shown_over_time(
    offer: Offer, changes: Sequence[Change], told: Sequence[Told], sales: Mapping[UUID, Sale], at: datetime
) -> tuple[tuple[datetime, int], ...]:
    """What the shop showed: what it was told, less its own sales that were not in that yet."""
    events: list[tuple[datetime, Told | Change]] = [(each.at, each) for each in told]
    for change in changes:
        sale = sales.get(change.order_id) if change.order_id else None
        if (
            sale
            and change.free < 0
            and sale.connection_id == offer.connection_id
            and offer.external_id in sale.listings
        ):
            events.append((min(sale.placed_at, change.at), change))
    shown: dict[str, int] = {}
    last: dict[str, Told] = {}
    points: list[tuple[datetime, int]] = []
    for moment_, event in sorted(events, key=lambda each: each[0]):
        if isinstance(event, Told):
            shown[event.place], last[event.place] = event.quantity, event
        elif shown and not all(each.knows(event) for each in last.values()):
            place = next(iter(shown))
            shown[place] += event.free
        if shown:
            points.append((moment_, sum(shown.values())))
    believed = [place.believed for place in offer.places if place.believed is not None]
    if not points and believed:
        since = min((place.published_at for place in offer.places if place.published_at), default=at)
        points.append((max(since, changes[0].at), sum(believed)))
    return (*points, (at, points[-1][1])) if points else ()
