"""Shipments as pages show them: the list, one in full, those of an order, and the manifest of a day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Row,
    and_,
    exists,
    func,
    literal,
    or_,
    select,
    union_all,
)

from hub.core.carriers import named_service
from hub.core.model import Money
from hub.core.plain import from_plain
from hub.core.rates import Answer
from hub.core.shipping import Rate
from hub.store import labels, searching
from hub.store import tables as t
from hub.store.database import among
from hub.store.queries import parts

_SENT, _WORK, _ORDER, _PLACE = t.shipment.c, t.fulfillment_order.c, t.sales_order.c, t.location.c


SHOWN = ("to_label", "labelled", "shipped", "exceptions", "delivered")  # what the list can be narrowed to
MOST_COUNTED = 1000  # of one kind: beyond that nobody wants to know how many exactly


def are_shown(merchant_id: UUID, show: str) -> ColumnElement[bool]:
    """The shipments that a choice shows."""
    if show == "to_label":
        return and_(_SENT.state.in_(("draft", "buying", "failed")), _SENT.withdrawn_at.is_(None))
    if show == "labelled":
        return and_(_SENT.state == "labelled", _SENT.withdrawn_at.is_(None))
    if show == "shipped":
        return and_(_SENT.state == "shipped", _SENT.delivered_at.is_(None))
    if show == "delivered":
        return _SENT.delivered_at.is_not(None)
    # Something about the parcel waits for a person, or may soon: each kind of it is read from an index of its own.
    sent, effect = t.shipment.alias(), t.effect.c
    is_unclear = exists().where(
        effect.merchant_id == sent.c.merchant_id, effect.id == sent.c.effect_id, effect.state == "unknown"
    )
    here = select(sent.c.id).where(sent.c.merchant_id == merchant_id)
    return _SENT.id.in_(
        union_all(
            here.where(sent.c.tracking_status.in_(("exception", "returning"))),
            here.where(sent.c.withdrawn_at.is_not(None), sent.c.state != "void"),
            here.where(sent.c.state.in_(("draft", "failed")), sent.c.error != ""),
            here.where(sent.c.state == "buying", is_unclear),
        )
    )


@dataclass(frozen=True, slots=True)
class ShipmentSummary:
    """One line of a list of shipments."""

    id: UUID
    order_id: UUID
    order_number: str
    reference: str
    state: str
    withdrawn: bool
    is_return: bool
    location_name: str
    destination: str
    carrier: str
    service: str
    tracking_numbers: tuple[str, ...]
    tracking_status: str
    cost: Money | None
    offer: str  # of one that is still to be labelled: the service that was chosen for it, "" for none
    offer_cost: Money | None
    error: str
    created_at: datetime
    shipped_at: datetime | None
    delivered_at: datetime | None


def shipments(
    connection: Connection,
    merchant_id: UUID,
    *,
    show: str = "",
    text: str = "",
    location_id: UUID | None = None,
    carrier: str = "",
    before: tuple[datetime, UUID] | None = None,
    limit: int = parts.PAGE,
) -> list[ShipmentSummary]:
    """Shipments, the newest first; ``text`` is a reference, or what an order of theirs is found by."""
    wanted = _wanted(connection, merchant_id, show, text, location_id, carrier)
    if before is not None:
        at, shipment_id = before
        wanted.append(or_(_SENT.created_at < at, and_(_SENT.created_at == at, _SENT.id < shipment_id)))
    found = _rows().where(*wanted).order_by(_SENT.created_at.desc(), _SENT.id.desc()).limit(limit)
    return [_summary(row) for row in connection.execute(found)]


def shipment_ids(
    connection: Connection,
    merchant_id: UUID,
    *,
    show: str,
    text: str,
    location_id: UUID | None,
    carrier: str,
    limit: int,
) -> list[UUID]:
    """The shipments of a list to which something can still be done, in its order: no label is bought twice."""
    wanted = _wanted(connection, merchant_id, show, text, location_id, carrier)
    if show == "to_label":
        wanted.append(_SENT.state == "draft")
    found = _rows().with_only_columns(_SENT.id, maintain_column_froms=True).where(*wanted)
    return list(connection.execute(found.order_by(_SENT.created_at.desc(), _SENT.id.desc()).limit(limit)).scalars())


def _wanted(
    connection: Connection, merchant_id: UUID, show: str, text: str, location_id: UUID | None, carrier: str
) -> list[Any]:
    """What a list is narrowed down to."""
    wanted: list[Any] = [_SENT.merchant_id == merchant_id]
    if show:
        wanted.append(are_shown(merchant_id, show))
    if location_id is not None:
        wanted.append(_WORK.location_id == location_id)
    if carrier:
        wanted.append(_SENT.carrier == carrier)
    if text:
        wanted.append(_SENT.id.in_(_found(connection, merchant_id, text)))
    return wanted


_MOST_ORDERS = 500  # whose shipments a search shows


def _found(connection: Connection, merchant_id: UUID, text: str) -> CompoundSelect[UUID]:
    """The shipments that a search is about: with this reference, and of the newest orders that are found by it."""
    search = searching.Search(beginnings=searching.typed_words(text))
    orders = [order_id for _, order_id in searching.newest(connection, merchant_id, search, limit=_MOST_ORDERS)]
    sent, along = t.shipment.alias().c, t.shipment_companion.c
    return union_all(
        select(sent.id).where(sent.merchant_id == merchant_id, sent.reference.in_({text, text.upper()})),
        select(sent.id).where(sent.merchant_id == merchant_id, among(connection, sent.order_id, orders)),
        select(along.shipment_id).where(along.merchant_id == merchant_id, among(connection, along.order_id, orders)),
    )


def counts(connection: Connection, merchant_id: UUID) -> dict[str, int]:
    """How many shipments each of these choices has, MOST_COUNTED where there are more."""
    counted = ("to_label", "labelled", "exceptions")
    row = connection.execute(
        select(
            *(
                select(func.count())
                .select_from(
                    select(literal(1).label("one"))
                    .select_from(t.shipment)
                    .where(_SENT.merchant_id == merchant_id, are_shown(merchant_id, show))
                    .limit(MOST_COUNTED)
                    .subquery()
                )
                .scalar_subquery()
                .label(show)
                for show in counted
            )
        )
    ).one()
    return dict(zip(counted, row, strict=True))


def carriers(connection: Connection, merchant_id: UUID) -> list[str]:
    """The carriers of what has not left yet."""
    return list(
        connection.execute(
            select(_SENT.carrier)
            .distinct()
            .where(
                _SENT.merchant_id == merchant_id,
                _SENT.state.in_(("draft", "buying", "failed", "labelled")),
                _SENT.carrier != "",
            )
            .order_by(_SENT.carrier)
        ).scalars()
    )


def label_papers(connection: Connection, merchant_id: UUID, shipment_ids: Sequence[UUID]) -> list[UUID]:
    """The labels of these shipments, in the order of the list."""
    this = t.document.c
    found = connection.execute(
        select(this.id)
        .join(t.shipment, and_(_SENT.merchant_id == this.merchant_id, _SENT.effect_id == this.effect_id))
        .where(_SENT.merchant_id == merchant_id, _SENT.id.in_(shipment_ids), this.kind == "label")
        .order_by(_SENT.created_at.desc(), _SENT.id.desc(), this.created_at, this.id)
    )
    return list(found.scalars())


def _rows() -> Any:
    return select(
        t.shipment,
        _ORDER.number.label("order_number"),
        t.SHIP_TO.label("ship_to"),
        _PLACE.name.label("location_name"),
    ).select_from(
        t.shipment.join(
            t.fulfillment_order, (_WORK.merchant_id == _SENT.merchant_id) & (_WORK.id == _SENT.fulfillment_order_id)
        )
        .join(t.sales_order, (_ORDER.merchant_id == _SENT.merchant_id) & (_ORDER.id == _SENT.order_id))
        .join(t.location, (_PLACE.merchant_id == _WORK.merchant_id) & (_PLACE.id == _WORK.location_id))
    )


def _summary(row: Row[Any]) -> ShipmentSummary:
    where = row.ship_to or {}
    chosen = from_plain(Rate, row.choice["rate"]) if row.choice and row.state == "draft" else None
    return ShipmentSummary(
        id=row.id,
        order_id=row.order_id,
        order_number=row.order_number,
        reference=row.reference,
        state=row.state,
        withdrawn=row.withdrawn_at is not None and row.state != "void",
        is_return=row.is_return,
        location_name=row.location_name,
        destination=", ".join(part for part in (where.get("city", ""), where.get("country", "")) if part),
        carrier=row.carrier,
        service=row.service,
        tracking_numbers=tuple(row.tracking_numbers),
        tracking_status=row.tracking_status,
        cost=_cost(row),
        offer=named_service(chosen.carrier, chosen.name or chosen.service) if chosen else "",
        offer_cost=chosen.cost if chosen else None,
        error=row.error,
        created_at=row.created_at,
        shipped_at=row.shipped_at,
        delivered_at=row.delivered_at,
    )


def _cost(row: Row[Any]) -> Money | None:
    return None if row.cost_minor is None else Money.from_minor(row.cost_minor, row.currency)


# ---------------------------------------------------------------- one


@dataclass(frozen=True, slots=True)
class OfferView:
    """One rate of one carrier, and whether the policy takes it. ``key`` names it in a form."""

    key: str
    account: str
    rate: Rate
    allowed: bool
    chosen: bool


@dataclass(frozen=True, slots=True)
class ParcelView:
    """One box, with what is in it."""

    number: int
    weight_grams: int
    size: tuple[int, int, int] | None
    tracking_number: str
    tracking_status: str
    lines: tuple[tuple[str, str, int], ...]  # title, SKU, units


@dataclass(frozen=True, slots=True)
class EventView:
    """Something that happened on the way."""

    at: datetime
    status: str
    carrier_status: str
    message: str
    place: str
    tracking_number: str


@dataclass(frozen=True, slots=True)
class PaperView:
    """A file to be printed."""

    id: UUID
    kind: str
    format: str
    tracking_number: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class CompanionView:
    """An order that goes along in the parcels of another one's shipment; ``told`` as for that."""

    order_id: UUID
    order_number: str
    told: str
    channel_reference: str


@dataclass(frozen=True, slots=True)
class ShipmentView:
    """One shipment in full. ``row`` is its summary."""

    row: ShipmentSummary
    companions: tuple[CompanionView, ...]
    fulfillment_reference: str
    fulfillment_state: str
    connection_id: UUID | None
    tracking_url: str
    asking: bool
    rates_at: datetime | None
    offers: tuple[OfferView, ...]
    answers: tuple[Answer, ...]
    why: str
    chosen_by: str
    parcels: tuple[ParcelView, ...]
    events: tuple[EventView, ...]
    papers: tuple[PaperView, ...]
    papers_awaited: bool
    supersedes: tuple[UUID, str] | None
    superseded_by: tuple[UUID, str] | None
    told: str  # the state of the confirmation at the channel, "": it has not been told yet
    channel_reference: str
    promised_by: datetime | None
    deliver_by: datetime | None

    @property
    def is_live(self) -> bool:
        """Whether something is being asked or bought at this moment."""
        told = {self.told, *(each.told for each in self.companions)}
        return self.asking or self.row.state == "buying" or self.papers_awaited or bool(told & {"planned", "in_flight"})


def offer_key(connection: str, rate: Rate) -> str:
    """What names an offer in a form."""
    return f"{connection}|{rate.external_id}"


def shipment(connection: Connection, merchant_id: UUID, shipment_id: UUID) -> ShipmentView | None:
    """One shipment; None when there is none."""
    row = connection.execute(
        _rows()
        .add_columns(_WORK.reference.label("work_reference"), _WORK.state.label("work_state"))
        .where(_SENT.merchant_id == merchant_id, _SENT.id == shipment_id)
    ).one_or_none()
    if row is None:
        return None
    taken: Mapping[str, Any] = row.choice or {}
    return ShipmentView(
        row=_summary(row),
        companions=tuple(_companions(connection, merchant_id, shipment_id)),
        fulfillment_reference=row.work_reference,
        fulfillment_state=row.work_state,
        connection_id=row.connection_id,
        tracking_url=row.tracking_url,
        asking=row.rates_wanted_at is not None and row.state == "draft",
        rates_at=row.rates_at,
        offers=tuple(_offers(connection, merchant_id, row)),
        answers=tuple(labels.answers(row)),
        why=taken.get("why", ""),
        chosen_by=taken.get("by", ""),
        parcels=tuple(_parcels(connection, merchant_id, shipment_id)),
        events=tuple(_events(connection, merchant_id, shipment_id)),
        papers=tuple(_papers(connection, merchant_id, row.effect_id)),
        papers_awaited=row.documents_at is not None,
        supersedes=_named(connection, merchant_id, _SENT.id == row.supersedes_id),
        superseded_by=_named(connection, merchant_id, _SENT.supersedes_id == row.id),
        told=_told(connection, merchant_id, row.order_id, row.reference),
        channel_reference=row.channel_reference,
        promised_by=row.promised_by,
        deliver_by=row.deliver_by,
    )


def _told(connection: Connection, merchant_id: UUID, order_id: UUID, reference: str) -> str:
    this = t.effect.c
    state = connection.execute(
        select(this.state)
        .where(
            this.merchant_id == merchant_id,
            this.order_id == order_id,
            this.kind == "confirm_shipment",
            this.request["reference"].as_string() == reference,
            this.look_first.is_(False),
        )
        .order_by(this.generation.desc())
        .limit(1)
    ).scalar_one_or_none()
    return state or ""


def _companions(connection: Connection, merchant_id: UUID, shipment_id: UUID) -> Sequence[CompanionView]:
    this = t.shipment_companion.c
    rows = connection.execute(
        select(t.shipment_companion, _ORDER.number)
        .join(t.sales_order, parts.same(this.order_id, t.sales_order, t.shipment_companion))
        .where(this.merchant_id == merchant_id, this.shipment_id == shipment_id)
        .order_by(_ORDER.placed_at, _ORDER.id)
    ).all()
    return [
        CompanionView(
            row.order_id,
            row.number,
            _told(connection, merchant_id, row.order_id, row.reference),
            row.channel_reference,
        )
        for row in rows
    ]


def _offers(connection: Connection, merchant_id: UUID, row: Row[Any]) -> Sequence[OfferView]:
    policy = labels.policy(connection, merchant_id)
    taken = row.choice or {}
    chosen = from_plain(Rate, taken["rate"]) if taken.get("rate") else None
    views = [
        OfferView(
            key=offer_key(each.connection, each.rate),
            account=each.account,
            rate=each.rate,
            allowed=policy.allows(each.rate),
            chosen=each.rate == chosen and each.connection == taken.get("connection"),
        )
        for each in labels.offers(row)
    ]
    return sorted(views, key=lambda each: (each.rate.cost.currency, each.rate.cost.amount, each.key))


def _parcels(connection: Connection, merchant_id: UUID, shipment_id: UUID) -> Sequence[ParcelView]:
    box, inside, line = t.parcel.c, t.parcel_line.c, t.order_line.c
    contents: dict[UUID, list[tuple[str, str, int]]] = {}
    for each in connection.execute(
        select(inside.parcel_id, line.title, line.sku_text, inside.quantity)
        .select_from(
            t.parcel_line.join(t.parcel, (box.merchant_id == inside.merchant_id) & (box.id == inside.parcel_id)).join(
                t.order_line, (line.merchant_id == inside.merchant_id) & (line.id == inside.order_line_id)
            )
        )
        .where(box.merchant_id == merchant_id, box.shipment_id == shipment_id)
        .order_by(line.position)
    ):
        contents.setdefault(each.parcel_id, []).append((each.title, each.sku_text, each.quantity))
    return [
        ParcelView(
            number=each.number,
            weight_grams=each.weight_grams,
            size=(each.length_mm, each.width_mm, each.height_mm) if each.length_mm else None,
            tracking_number=each.tracking_number,
            tracking_status=each.tracking_status,
            lines=tuple(contents.get(each.id, ())),
        )
        for each in connection.execute(
            select(t.parcel).where(box.merchant_id == merchant_id, box.shipment_id == shipment_id).order_by(box.number)
        )
    ]


def _events(connection: Connection, merchant_id: UUID, shipment_id: UUID) -> Sequence[EventView]:
    this = t.tracking_event.c
    return [
        EventView(row.happened_at, row.status, row.carrier_status, row.message, row.place, row.tracking_number)
        for row in connection.execute(
            select(t.tracking_event)
            .where(this.merchant_id == merchant_id, this.shipment_id == shipment_id)
            .order_by(this.happened_at.desc(), this.tracking_number)
            .limit(200)
        )
    ]


def _papers(connection: Connection, merchant_id: UUID, effect_id: UUID | None) -> Sequence[PaperView]:
    this = t.document.c
    return [
        PaperView(row.id, row.kind, row.format, row.tracking_number, row.created_at)
        for row in connection.execute(
            select(this.id, this.kind, this.format, this.tracking_number, this.created_at)
            .where(this.merchant_id == merchant_id, this.effect_id == effect_id)
            .order_by(this.created_at, this.id)
        )
    ]


def _named(connection: Connection, merchant_id: UUID, which: ColumnElement[bool]) -> tuple[UUID, str] | None:
    row = connection.execute(
        select(_SENT.id, _SENT.reference)
        .where(_SENT.merchant_id == merchant_id, which)
        .order_by(_SENT.created_at.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else (row.id, row.reference)


# ---------------------------------------------------------------- of an order, and of a day


@dataclass(frozen=True, slots=True)
class WorkView:
    """What one location ships of an order, with its shipments."""

    id: UUID
    reference: str
    state: str
    location_name: str
    message: str
    units: int
    shipped: int
    shipments: tuple[ShipmentSummary, ...]


def of_order(connection: Connection, merchant_id: UUID, order_id: UUID) -> list[WorkView]:
    """The fulfillment orders of an order, each with its shipments."""
    line = t.fulfillment_line.c
    along = t.shipment_companion.c
    sent: dict[UUID, list[ShipmentSummary]] = {}
    # Its own, and those of other orders in whose parcels it goes along.
    own = t.shipment.alias().c
    of_it = union_all(
        select(own.id).where(own.merchant_id == merchant_id, own.order_id == order_id),
        select(along.shipment_id).where(along.merchant_id == merchant_id, along.order_id == order_id),
    )
    for row in connection.execute(
        _rows()
        .add_columns(along.fulfillment_order_id.label("along_id"))
        .outerjoin(
            t.shipment_companion,
            (along.merchant_id == _SENT.merchant_id) & (along.shipment_id == _SENT.id) & (along.order_id == order_id),
        )
        .where(_SENT.merchant_id == merchant_id, _SENT.id.in_(of_it))
        .order_by(_SENT.created_at)
    ):
        sent.setdefault(row.along_id or row.fulfillment_order_id, []).append(_summary(row))

    def units(column: Any) -> Any:
        return (
            select(func.coalesce(func.sum(column), 0))
            .where(line.merchant_id == _WORK.merchant_id, line.fulfillment_order_id == _WORK.id)
            .correlate(t.fulfillment_order)
            .scalar_subquery()
        )

    return [
        WorkView(
            id=row.id,
            reference=row.reference,
            state=row.state,
            location_name=row.location_name,
            message=row.message,
            units=int(row.units),
            shipped=int(row.shipped),
            shipments=tuple(sent.get(row.id, ())),
        )
        for row in connection.execute(
            select(
                t.fulfillment_order,
                _PLACE.name.label("location_name"),
                units(line.quantity).label("units"),
                units(line.shipped).label("shipped"),
            )
            .join(t.location, (_PLACE.merchant_id == _WORK.merchant_id) & (_PLACE.id == _WORK.location_id))
            .where(_WORK.merchant_id == merchant_id, _WORK.order_id == order_id)
            .order_by(_WORK.number)
        )
    ]


def manifest(connection: Connection, merchant_id: UUID, begins: datetime, ends: datetime) -> list[ShipmentSummary]:
    """What was labelled between two moments and not given back, by carrier: what is handed over together."""
    found = (
        _rows()
        .where(
            _SENT.merchant_id == merchant_id,
            _SENT.labelled_at >= begins,
            _SENT.labelled_at < ends,
            _SENT.state.in_(("labelled", "shipped")),
            _SENT.withdrawn_at.is_(None),
            _SENT.is_return.is_(False),
        )
        .order_by(_SENT.carrier, _SENT.service, _SENT.labelled_at, _SENT.id)
        .limit(2000)
    )
    return [_summary(row) for row in connection.execute(found)]
