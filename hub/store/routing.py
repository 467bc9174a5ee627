"""Dealing orders out to locations: what a decision is made of, holding the stock for it, and writing it down."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from statistics import median
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, func, select

from hub.core.geo import Point
from hub.core.model import Money, OrderStatus
from hub.core.plain import to_plain
from hub.core.routing import Decision, Line, Place, Request, decide, given, leaves_in
from hub.core.stock import StockBook
from hub.store import activity, fulfillment, geography, holds, locations, providers, routing_queue, routing_rules, stock
from hub.store import tables as t
from hub.store.bulk import insert_rows
from hub.store.database import Interrupted, Lanes, for_update, new_id
from hub.store.fulfillment import Part, State
from hub.store.locking import lock_sharers

NOBODY = "nobody_can_ship"  # the kind of issue; the subject is the order's id
FAILED = "routing_failed"  # likewise

LOOK_AGAIN = timedelta(minutes=15)  # at an order of which something is still to be matched

# Somebody else who may decide about an order before the policy does; None: the policy decides.
Allocator = Callable[[Request], Decision | None]


# ---------------------------------------------------------------- orders, a few at a time


@dataclass(slots=True)
class _ToRoute:
    """An order line, and how many of its units are held and given to nobody yet; ``given`` by location."""

    row: Row[Any]
    parts: Mapping[UUID, int]
    held: int
    given: dict[UUID, int]

    @property
    def units(self) -> int:
        return self.held - sum(self.given.values())


@dataclass(frozen=True, slots=True)
class _Made:
    """A decision about an order, not written down yet."""

    order: Row[Any]
    request: Request
    decision: Decision
    cause: str
    id: UUID
    actor: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a person has decided about one order."""

    location_id: UUID
    reason: str
    actor: str


@dataclass(slots=True)
class Outcome:
    """What came of dealing out: the (connection, lane)s to ring for, of how many orders was decided, and why of some
    that was not possible."""

    lanes: Lanes = field(default_factory=list)
    decided: int = 0
    failed: dict[UUID, Exception | SystemExit] = field(default_factory=dict)


def route(
    connection: Connection,
    merchant_id: UUID,
    order_ids: Collection[UUID],
    *,
    at: datetime,
    allocate: Allocator = lambda _request: None,
    chosen: Choice | None = None,
) -> Outcome:
    """Deal out what orders hold and no location was asked for yet, in the caller's transaction.

    Where that was done before, what waits for a 3PL is sent on its way once nothing holds the order. An order that
    cannot be decided about is left as it was, due no more: the others are dealt out. ``chosen`` decides instead of
    the policy.
    """
    outcome = Outcome()
    orders = _locked(connection, merchant_id, order_ids)
    open_ones = [row for row in orders if row.status == OrderStatus.OPEN and row.holds_stock]
    desk = _Desk(connection, merchant_id, [row.id for row in open_ones], at)
    later = {row.id for row in open_ones if desk.unmatched(row.id)}
    holds.wait_for_stock(connection, merchant_id, {row.id: desk.waits(row.id) for row in open_ones}, at=at)
    routing_queue.unmark(connection, merchant_id, [row.id for row in orders])
    routing_queue.mark(connection, merchant_id, later, at=at + LOOK_AGAIN)
    desk.look_up(open_ones)
    made: list[_Made] = []
    for row in open_ones:
        if not desk.to_do(row.id):
            continue
        try:
            made.append(desk.decide(row, allocate, chosen))
        except Interrupted:
            raise
        except (Exception, SystemExit) as error:
            outcome.failed[row.id] = error
    outcome.lanes += desk.write(made)
    outcome.decided = len(made)
    outcome.lanes += _send_to_providers(connection, merchant_id, [row.id for row in open_ones], desk.places, at)
    return outcome


def _locked(connection: Connection, merchant_id: UUID, order_ids: Collection[UUID]) -> Sequence[Row[Any]]:
    order = t.sales_order.c
    lock_sharers(connection, merchant_id, order.id.in_(sorted(order_ids)))
    statement = select(t.sales_order, t.SHIP_TO.label("ship_to")).where(
        order.merchant_id == merchant_id, order.id.in_(sorted(order_ids))
    )
    return connection.execute(for_update(connection, statement.order_by(order.id))).all()


def set_aside(connection: Connection, merchant_id: UUID, order_id: UUID, why: str, *, at: datetime) -> None:
    """Nobody could be asked to ship an order, for a reason that trying again does not change: a person is told."""
    order = t.sales_order.c
    number = connection.execute(
        select(order.number).where(order.merchant_id == merchant_id, order.id == order_id)
    ).scalar_one_or_none()
    routing_queue.unmark(connection, merchant_id, [order_id])
    if number is not None:
        activity.raise_issue(
            connection,
            merchant_id,
            FAILED,
            str(order_id),
            f"Order {number} could not be dealt out: {why}",
            "Choose a location on the order's page, or press “Route again” there once the cause is gone.",
            at=at,
            order_id=order_id,
            link=f"/orders/{order_id}",
        )


class _Desk:
    """What the decisions about some orders are made of, read at once for all of them, and what comes of them."""

    def __init__(self, connection: Connection, merchant_id: UUID, order_ids: Sequence[UUID], at: datetime) -> None:
        self._connection = connection
        self._merchant_id = merchant_id
        self._at = at
        self.number, self.rules = routing_rules.policy(connection, merchant_id)
        self._unmatched: set[UUID] = set()
        self._lines = self._read_lines(order_ids) if order_ids else {}
        place = t.location.c
        self.places = (
            connection.execute(select(t.location).where(place.merchant_id == merchant_id).order_by(place.name)).all()
            if any(self.to_do(order_id) for order_id in order_ids)
            else []
        )
        # Where there is but one place nothing is compared: neither distances nor costs are looked up.
        self._compares = len(self.places) > 1
        self._loads = locations.loads_of(connection, merchant_id) if self._compares else {}
        self._codes = self._read_codes()
        self._refused = self._read_refusals(order_ids) if self.places else {}
        self._before = self._read_decided(order_ids) if self.places else set()
        self._services = routing_rules.services(connection, merchant_id) if self.places else {}
        self._points: dict[geography.Code, geography.Found] = {}
        self._costs = _costs_of_late(connection, merchant_id) if self._compares else {}
        self._weights = self._read_weights() if self._costs else {}

    # ------------------------------------------------------------ reading

    def _read_lines(self, order_ids: Sequence[UUID]) -> dict[UUID, list[_ToRoute]]:
        """The lines of each order that are to be shipped, in a locked book of all their SKUs."""
        line = t.order_line.c
        rows = self._connection.execute(
            select(t.order_line)
            .where(
                line.merchant_id == self._merchant_id,
                line.order_id.in_(order_ids),
                line.present,
                line.requires_shipping,
            )
            .order_by(line.order_id, line.position, line.id)
        ).all()
        self._unmatched = self._read_unmatched([row for row in rows if row.sku_id is None])
        rows = [row for row in rows if row.sku_id is not None]
        kits = stock.kit_parts(self._connection, self._merchant_id, [row.id for row in rows])
        parts = {row.id: kits.get(row.id, {row.sku_id: 1}) for row in rows}
        skus = {sku_id for made_of in parts.values() for sku_id in made_of}
        opened = stock.open_book(self._connection, self._merchant_id, skus, line_ids=list(parts))
        self._book: StockBook = opened.book
        given = self._read_given(order_ids)
        claims = self._book.claims
        found: dict[UUID, list[_ToRoute]] = {}
        for row in rows:
            held = claims[row.id].held if row.id in claims else 0
            found.setdefault(row.order_id, []).append(_ToRoute(row, parts[row.id], held, given.get(row.id, {})))
        return found

    def _read_unmatched(self, lines: Sequence[Row[Any]]) -> set[UUID]:
        """Orders with lines that somebody is still to match: then their stock is held, too."""
        ids = [row.id for row in lines if row.listing_external_id and row.quantity > row.removed + row.fulfilled]
        if not ids:
            return set()
        listing, order, line = t.listing.c, t.sales_order.c, t.order_line.c
        return set(
            self._connection.execute(
                select(line.order_id)
                .select_from(
                    t.order_line.join(
                        t.sales_order, (order.merchant_id == line.merchant_id) & (order.id == line.order_id)
                    ).join(
                        t.listing,
                        (listing.merchant_id == order.merchant_id)
                        & (listing.connection_id == order.connection_id)
                        & (listing.external_id == line.listing_external_id),
                    )
                )
                .where(line.merchant_id == self._merchant_id, line.id.in_(ids), listing.ignored_at.is_(None))
            ).scalars()
        )

    def _read_given(self, order_ids: Sequence[UUID]) -> dict[UUID, dict[UUID, int]]:
        """Units by order line and location that are to be shipped already."""
        work, asked = t.fulfillment_order.c, t.fulfillment_line.c
        found: dict[UUID, dict[UUID, int]] = {}
        for each in self._connection.execute(
            select(asked.order_line_id, work.location_id, func.sum(asked.quantity - asked.shipped).label("units"))
            .select_from(
                t.fulfillment_line.join(
                    t.fulfillment_order,
                    (work.merchant_id == asked.merchant_id) & (work.id == asked.fulfillment_order_id),
                )
            )
            .where(work.merchant_id == self._merchant_id, work.order_id.in_(order_ids), work.closed_at.is_(None))
            .group_by(asked.order_line_id, work.location_id)
        ):
            found.setdefault(each.order_line_id, {})[each.location_id] = int(each.units)
        return found

    def _read_codes(self) -> dict[UUID, str]:
        wanted = {each.row.sku_id for lines in self._lines.values() for each in lines if each.units > 0}
        if not wanted:
            return {}
        sku = t.sku.c
        rows = select(sku.id, sku.code).where(sku.merchant_id == self._merchant_id, sku.id.in_(wanted))
        return {row.id: row.code for row in self._connection.execute(rows)}

    def _read_refusals(self, order_ids: Sequence[UUID]) -> dict[UUID, dict[str, str]]:
        """Locations that have refused a part of an order, with what they said."""
        work = t.fulfillment_order.c
        found: dict[UUID, dict[str, str]] = {}
        for row in self._connection.execute(
            select(work.order_id, work.location_id, work.message)
            .where(
                work.merchant_id == self._merchant_id,
                work.order_id.in_(order_ids),
                work.state == State.REJECTED.value,
            )
            .order_by(work.number)
        ):
            found.setdefault(row.order_id, {})[str(row.location_id)] = row.message
        return found

    def _read_decided(self, order_ids: Sequence[UUID]) -> set[UUID]:
        this = t.routing_decision.c
        return set(
            self._connection.execute(
                select(this.order_id)
                .distinct()
                .where(this.merchant_id == self._merchant_id, this.order_id.in_(order_ids))
            ).scalars()
        )

    def look_up(self, orders: Sequence[Row[Any]]) -> None:
        """Find out where these orders go, if that matters."""
        if self._compares:
            wanted = {_code(row.ship_to or {}) for row in orders if self.to_do(row.id)}
            self._points = geography.locate(self._connection, wanted)

    # ------------------------------------------------------------ what is to be done

    def unmatched(self, order_id: UUID) -> bool:
        """Whether a line of the order is still to be matched."""
        return order_id in self._unmatched

    def waits(self, order_id: UUID) -> bool:
        """Whether the order waits for stock, and the policy ships it whole."""
        claims = self._book.claims
        return not self.rules.in_parts and any(
            each.row.id in claims and claims[each.row.id].waiting for each in self._lines.get(order_id, [])
        )

    def to_do(self, order_id: UUID) -> bool:
        """Whether something of the order can be dealt out now."""
        lines = self._lines.get(order_id, [])
        if not any(each.units > 0 for each in lines):
            return False
        return self.rules.in_parts or not (self.unmatched(order_id) or self.waits(order_id))

    def decide(self, order: Row[Any], allocate: Allocator, chosen: Choice | None) -> _Made:
        """Decide about an order, and hold its units where they are to be shipped from. Raises whatever goes wrong;
        nothing has moved then."""
        lines = [each for each in self._lines[order.id] if each.units > 0]
        request = self._request(order, lines)
        cause = "rejected" if request.refused else "again" if order.id in self._before else "imported"
        decision_id, actor = new_id(), ""
        if chosen is not None:
            cause, actor = "chosen", chosen.actor
            decision = _as_chosen(request, chosen)
        elif (made := allocate(request)) is not None:
            cause, decision = "plugin", made
        else:
            decision = decide(request, self.rules)
        self._hold(order, decision_id, decision, lines)
        for share in decision.shares:
            place = UUID(share.place)
            self._loads[place] = self._loads.get(place, 0) + 1
        return _Made(order, request, decision, cause, decision_id, actor)

    def _hold(self, order: Row[Any], decision_id: UUID, decision: Decision, lines: Sequence[_ToRoute]) -> None:
        dealt: dict[UUID, dict[UUID, int]] = {}
        for share in decision.shares:
            for line_id, units in share.units.items():
                dealt.setdefault(UUID(line_id), {})[UUID(share.place)] = units
        wanted = []
        for each in lines:
            if each.row.id in dealt:
                held = dict(each.given)
                for location_id, units in dealt[each.row.id].items():
                    held[location_id] = held.get(location_id, 0) + units
                wanted.append((self._book.claims[each.row.id], held))
        self._book.rearrange(wanted, f"{order.id}/{decision_id}")

    # ------------------------------------------------------------ a request

    def _request(self, order: Row[Any], lines: Sequence[_ToRoute]) -> Request:
        address = order.ship_to or {}
        country, postcode = _code(address)
        found = self._points.get((country, postcode))
        service = self._services.get(order.shipping_method.lower(), "")
        weight = self._weight_band(lines)
        return Request(
            number=order.number,
            lines=tuple(
                Line(
                    id=str(each.row.id),
                    sku=self._codes[each.row.sku_id],
                    units=each.units,
                    parts={str(sku_id): units for sku_id, units in each.parts.items()},
                )
                for each in lines
            ),
            places=tuple(self._place(row, lines, order.currency, country, weight) for row in self.places),
            country=country,
            region=address.get("region", ""),
            postcode=postcode,
            point=found.point if found else None,
            roughly=found is not None and found.by == "country",
            channel=str(order.connection_id),
            tags=tuple(dict.fromkeys([*order.tags, *order.own_tags])),
            value=Money.from_minor(order.total_minor, order.currency).amount if order.currency else Decimal(0),
            service=service,
            collect_at=str(order.collect_at) if order.collect_at else "",
            refused=self._refused.get(order.id, {}),
        )

    def _place(self, row: Row[Any], lines: Sequence[_ToRoute], currency: str, country: str, weight: str) -> Place:
        """A location, with what this order may take there: what is free, and what it has reserved there itself."""
        there: dict[str, int] = {}
        reserved = 0
        for sku_id in dict.fromkeys(sku_id for each in lines for sku_id in each.parts):
            if (sku_id, row.id) in self._book.places(sku_id):
                there[str(sku_id)] = self._book.level((sku_id, row.id)).available
        for each in lines:
            for sku_id, per_unit in each.parts.items():
                held = self._book.claims[each.row.id].allocated.get((sku_id, row.id), 0)
                if mine := held - each.given.get(row.id, 0) * per_unit:
                    there[str(sku_id)] = there.get(str(sku_id), 0) + mine
                    reserved += mine
        load = self._loads.get(row.id, 0)
        local = self._at.astimezone(ZoneInfo(row.time_zone) if row.time_zone else UTC)
        return Place(
            id=str(row.id),
            name=row.name,
            kind=row.kind,
            country=row.address.get("country", ""),
            point=Point(row.latitude, row.longitude) if row.latitude is not None else None,
            roughly=row.placed_by == "country",
            services=tuple(row.services),
            priority=row.priority,
            load=load,
            capacity=row.capacity,
            days=leaves_in(local, row.cut_off, load, row.capacity) if self._compares else 0,
            cost=self._cost(row.id, country, currency, weight),
            ships=row.ships,
            collects=row.collects,
            reserved=reserved,
            stock=there,
        )

    # ------------------------------------------------------------ about what it will cost

    def _cost(self, location_id: UUID, country: str, currency: str, weight: str) -> Decimal | None:
        """What labels from there to that country cost of late, of about that weight; None: nobody knows."""
        lane = f"{country}/{currency}"
        return self._costs.get((location_id, lane, weight)) or self._costs.get((location_id, lane, ""))

    def _weight_band(self, lines: Sequence[_ToRoute]) -> str:
        """About what the lines weigh together; "" where it is not known of each."""
        grams = 0
        for each in lines:
            if not (one := self._weights.get(each.row.sku_id)):
                return ""
            grams += one * each.units
        return _band(grams)

    def _read_weights(self) -> dict[UUID, int]:
        """Grams of one unit, as listings say, of those SKUs that are to be dealt out."""
        listing = t.listing.c
        return dict(
            self._connection.execute(
                select(listing.sku_id, func.max(listing.weight_grams))
                .where(
                    listing.merchant_id == self._merchant_id,
                    listing.sku_id.in_(self._codes),
                    listing.weight_grams.is_not(None),
                )
                .group_by(listing.sku_id)
            ).all()
        )

    # ------------------------------------------------------------ writing it down

    def write(self, made: Sequence[_Made]) -> Lanes:
        """Write down the decisions, and ask the locations."""
        if not made:
            return []
        connection, merchant_id, at = self._connection, self._merchant_id, self._at
        insert_rows(
            connection,
            t.routing_decision,
            [
                {
                    "merchant_id": merchant_id,
                    "id": each.id,
                    "order_id": each.order.id,
                    "policy_number": self.number,
                    "cause": each.cause,
                    "inputs": to_plain(each.request),
                    "outcome": to_plain(each.decision),
                    "summary": each.decision.summary,
                    "at": at,
                }
                for each in made
            ],
        )
        shipped = [each for each in made if each.decision.shares]
        touched = stock.write_book(connection, merchant_id, self._book, at=at) if self._book.changed_claims else set()
        fulfillment.create_all(
            connection,
            merchant_id,
            {each.order.id: _parts(each) for each in shipped},
            at=at,
            decisions={each.order.id: each.id for each in shipped},
        )
        insert_rows(connection, t.activity, [_told(each, merchant_id, at) for each in made])
        for kind in (NOBODY, FAILED, providers.REJECTED):
            activity.resolve_issues(connection, merchant_id, kind, {str(each.order.id) for each in shipped}, at=at)
        for each in made:
            if not each.decision.shares:
                _nobody(connection, each.order, each.decision, at)
        return [(connection_id, "publish") for connection_id in sorted(touched)]


def _code(address: Mapping[str, str]) -> geography.Code:
    return address.get("country", ""), address.get("postcode", "")


def _as_chosen(request: Request, chosen: Choice) -> Decision:
    units = {line.id: line.units for line in request.lines}
    return given(request, {str(chosen.location_id): units}, f"chosen by {chosen.actor}. {chosen.reason}")


def _parts(made: _Made) -> list[Part]:
    return [
        Part(
            location_id=UUID(share.place),
            units={UUID(line_id): units for line_id, units in share.units.items()},
            service=made.request.service,
            collect=bool(made.request.collect_at),
        )
        for share in made.decision.shares
    ]


def _told(made: _Made, merchant_id: UUID, at: datetime) -> dict[str, Any]:
    """The line on the order's timeline."""
    return {
        "merchant_id": merchant_id,
        "id": new_id(),
        "at": at,
        "kind": "routed" if made.decision.shares else "not_routed",
        "order_id": made.order.id,
        "actor": made.actor,
        "summary": made.decision.summary[:500],
        "details": {"decision": str(made.id)},
    }


def _nobody(connection: Connection, order: Row[Any], decision: Decision, at: datetime) -> None:
    activity.raise_issue(
        connection,
        order.merchant_id,
        NOBODY,
        str(order.id),
        f"No location ships order {order.number}. {decision.summary}",
        "Change the routing rules, move stock, or choose a location on the order's page.",
        at=at,
        order_id=order.id,
        link=f"/orders/{order.id}",
    )


_LABELS_LOOKED_AT = 1000
_BANDS = (1000, 5000, 20_000)  # grams


def _band(grams: int) -> str:
    return next((f"to {most}" for most in _BANDS if grams <= most), "more")


def _costs_of_late(connection: Connection, merchant_id: UUID) -> dict[tuple[UUID, str, str], Decimal]:
    """The median cost of the newest labels by location, country with currency, and weight ("": of any weight)."""
    sent, work, order, box = t.shipment.c, t.fulfillment_order.c, t.sales_order.c, t.parcel.c
    newest = (
        select(sent.id, sent.order_id, sent.fulfillment_order_id, sent.cost_minor, sent.currency)
        .where(
            sent.merchant_id == merchant_id,
            sent.cost_minor.is_not(None),
            sent.state.in_(("labelled", "shipped")),
            ~sent.is_return,
        )
        .order_by(sent.id.desc())
        .limit(_LABELS_LOOKED_AT)
        .subquery()
    )
    weight = (
        select(func.sum(box.weight_grams))
        .where(box.merchant_id == merchant_id, box.shipment_id == newest.c.id)
        .scalar_subquery()
    )
    paid: dict[tuple[UUID, str, str], list[Decimal]] = {}
    shipped = (
        select(
            newest.c.cost_minor,
            newest.c.currency,
            work.location_id,
            t.SHIP_TO.label("ship_to"),
            weight.label("grams"),
        )
        .select_from(newest)
        .join(t.fulfillment_order, (work.merchant_id == merchant_id) & (work.id == newest.c.fulfillment_order_id))
        .join(t.sales_order, (order.merchant_id == merchant_id) & (order.id == newest.c.order_id))
    )
    for row in connection.execute(shipped):
        amount = Money.from_minor(row.cost_minor, row.currency).amount
        lane = f"{(row.ship_to or {}).get('country', '')}/{row.currency}"
        for band in {"", _band(row.grams) if row.grams else ""}:
            paid.setdefault((row.location_id, lane, band), []).append(amount)
    return {key: median(amounts).quantize(Decimal("0.01")) for key, amounts in paid.items()}


def _send_to_providers(
    connection: Connection, merchant_id: UUID, order_ids: Sequence[UUID], places: Sequence[Row[Any]], at: datetime
) -> Lanes:
    """Ask 3PLs for what is theirs to ship and was not asked for yet, unless the order is on hold."""
    work, place, hold = t.fulfillment_order.c, t.location.c, t.order_hold.c
    if not order_ids or (places and not any(row.kind == "3pl" for row in places)):
        return []
    held = select(hold.order_id).where(
        hold.merchant_id == merchant_id, hold.order_id.in_(order_ids), hold.released_at.is_(None)
    )
    waiting = connection.execute(
        select(work.id, work.location_id)
        .select_from(
            t.fulfillment_order.join(
                t.location, (place.merchant_id == work.merchant_id) & (place.id == work.location_id)
            )
        )
        .where(
            work.merchant_id == merchant_id,
            work.order_id.in_(order_ids),
            work.order_id.not_in(held),
            work.state == State.OPEN.value,
            place.kind == "3pl",
        )
        .order_by(work.order_id, work.number)
    ).all()
    return [
        (providers.request(connection, merchant_id, row.id, at=at), "effects")
        for row in waiting
        if providers.of_location(connection, merchant_id, row.location_id) is not None
    ]
