"""Everything that happened to one order, of whatever kind, in one order of time.

Each source is read with its own index and only as far as a page needs it; one statement puts them together. Rows of one
moment are told apart by their source and their key, so that a page begins exactly where the one before it ended.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Text,
    and_,
    case,
    cast,
    false,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    union_all,
)

from hub.store import tables as t
from hub.store.queries import parts

# The sources in the order in which rows of one moment stand.
SOURCES = ("activity", "effect", "record", "edit", "stock", "routing", "email", "tracking")

# What a page can be narrowed to: the sources, and of the activity log the kinds that begin so.
KINDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "channel": (("effect", "record", "edit"), ()),
    "stock": (("stock",), ("stock",)),
    "shipping": (
        ("routing", "tracking"),
        ("label", "rates", "shipment", "fulfillment", "tracking", "packed", "taken", "sent_again", "parcels"),
    ),
    "mail": (("email",), ("email", "ready_to_collect")),
    "people": ((), ()),  # whatever a person did
}

# Lines of the log about effects and decisions, which tell more themselves.
_TOLD_ELSEWHERE = ("effect", "routed", "not_routed")


@dataclass(frozen=True, slots=True)
class Mark:
    """A row of the timeline, after which a page goes on."""

    at: datetime
    source: str
    key: str


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. What the texts are depends on the ``source``:

    activity: ``text`` are its words. effect: ``kind``, with "_again" where it was looked for first, the vendor's
    reference, ``state``, its error in ``more``, its result in ``details``; ``about`` is the connection. record:
    ``kind`` is how it came, ``text`` the connection, ``about`` the topic. edit: ``details`` its changes. stock:
    ``kind`` is the cause, ``about`` the SKU, ``text`` the location, ``details`` what it did to on hand and allocated.
    routing: ``text`` are its words. email: ``kind`` is the occasion, ``text`` the subject, ``about`` the recipient.
    tracking: ``kind`` is the status, ``text`` the carrier's word, ``more`` the place, ``about`` the number.
    """

    at: datetime
    source: str
    key: str
    kind: str
    text: str
    actor: str
    state: str
    about: str
    more: str
    details: Any

    @property
    def mark(self) -> Mark:
        return Mark(self.at, self.source, self.key)


def timeline(
    connection: Connection,
    merchant_id: UUID,
    order_id: UUID,
    *,
    show: str = "",
    oldest_first: bool = False,
    after: Mark | None = None,
    limit: int = parts.PAGE,
) -> list[Event]:
    """What happened to an order; ``show`` is one of KINDS, "" for all of it."""
    selects = []
    for rank, source in enumerate(SOURCES):
        if not _wanted(source, show):
            continue
        at, key, columns, rows = _READ[source](merchant_id, order_id, show)
        if after is not None:
            rows = rows.where(_beyond(at, key, rank, after, oldest_first))
        rows = rows.add_columns(
            at.label("at"),
            literal_column(str(rank)).label("rank"),
            cast(key, Text).label("key"),
            *(cast(value, Text).label(name) for name, value in columns.items()),
        )
        part = rows.order_by(*_in_turn(oldest_first, at, key)).limit(limit).subquery()
        selects.append(select(part))
    both = union_all(*selects).subquery()
    every = select(both).order_by(*_in_turn(oldest_first, both.c.at, both.c.rank, both.c.key)).limit(limit)
    return [
        Event(
            at=row.at,
            source=SOURCES[row.rank],
            key=row.key,
            kind=row.kind or "",
            text=row.text or "",
            actor=row.actor or "",
            state=row.state or "",
            about=row.about or "",
            more=row.more or "",
            details=json.loads(row.details) if row.details else None,
        )
        for row in connection.execute(every)
    ]


def _in_turn(oldest_first: bool, *columns: ColumnElement[Any]) -> list[ColumnElement[Any]]:
    return [column.asc() if oldest_first else column.desc() for column in columns]


def _wanted(source: str, show: str) -> bool:
    if not show:
        return True
    if show == "people":
        return source in ("activity", "stock")
    sources, kinds = KINDS[show]
    return source in sources or (source == "activity" and bool(kinds))


def _beyond(
    at: ColumnElement[Any], key: ColumnElement[Any], rank: int, after: Mark, oldest_first: bool
) -> ColumnElement[bool]:
    """Whether a row of this source comes after the mark."""
    known = SOURCES.index(after.source) if after.source in SOURCES else 0
    later = at > after.at if oldest_first else at < after.at
    if rank == known:
        text = cast(key, Text)
        beside = text > after.key if oldest_first else text < after.key
    else:
        beside = literal((rank > known) is oldest_first)
    return or_(later, and_(at == after.at, beside))


# ---------------------------------------------------------------- the sources

_Columns = Mapping[str, Any]
_Read = tuple[ColumnElement[Any], ColumnElement[Any], _Columns, Any]


def _columns(**given: Any) -> _Columns:
    names = ("kind", "text", "actor", "state", "about", "more", "details")
    return {name: given.get(name, null()) for name in names}


def _activity(merchant_id: UUID, order_id: UUID, show: str) -> _Read:
    this = t.activity.c
    rows = select().where(this.merchant_id == merchant_id, this.order_id == order_id, this.kind.not_in(_TOLD_ELSEWHERE))
    if show == "people":
        rows = rows.where(this.actor != "")
    elif show:
        kinds = KINDS[show][1]
        rows = rows.where(or_(false(), *(this.kind.startswith(each, autoescape=True) for each in kinds)))
    columns = _columns(kind=this.kind, text=this.summary, actor=this.actor, details=this.details)
    return this.at, cast(this.id, Text), columns, rows


def _effect(merchant_id: UUID, order_id: UUID, show: str) -> _Read:
    this, where = t.effect.c, t.connection.c
    rows = (
        select()
        .select_from(t.effect)
        .join(t.connection, parts.same(this.connection_id, t.connection, t.effect))
        .where(this.merchant_id == merchant_id, this.order_id == order_id)
    )
    columns = _columns(
        kind=case((this.look_first, this.kind + "_again"), else_=this.kind),
        text=this.reference,
        state=this.state,
        more=this.error,
        about=where.label,
        details=this.result,
    )
    return this.created_at, cast(this.id, Text), columns, rows


def _record(merchant_id: UUID, order_id: UUID, show: str) -> _Read:
    this, order = t.inbox.c, t.sales_order.c
    rows = (
        select()
        .select_from(t.sales_order)
        .join(t.connection, parts.same(order.connection_id, t.connection, t.sales_order))
        .join(
            t.inbox,
            and_(
                this.merchant_id == order.merchant_id,
                this.connection_id == order.connection_id,
                this.external_id == order.external_id,
            ),
        )
        .where(
            order.merchant_id == merchant_id,
            order.id == order_id,
            # Orders and listings may share their numbers.
            ~this.topic.like("product%"),
            this.topic != "listing",
        )
    )
    columns = _columns(kind=this.source, text=t.connection.c.label, about=this.topic, state=this.state, more=this.error)
    return this.received_at, cast(this.id, Text), columns, rows


def _edit(merchant_id: UUID, order_id: UUID, show: str) -> _Read:
    this = t.order_version.c
    rows = select().where(this.merchant_id == merchant_id, this.order_id == order_id)
    columns = _columns(text=this.revision, details=this.changes)
    return this.received_at, cast(this.revision + 1_000_000_000, Text), columns, rows


def _stock(merchant_id: UUID, order_id: UUID, show: str) -> _Read:
    this = t.stock_entry.c
    rows = (
        select()
        .select_from(t.stock_entry)
        .join(t.sku, parts.same(this.sku_id, t.sku, t.stock_entry))
        .join(t.location, parts.same(this.location_id, t.location, t.stock_entry))
        .where(this.merchant_id == merchant_id, this.order_id == order_id)
    )
    if show == "people":
        rows = rows.where(this.actor != "")
    key = cast(this.number + 1_000_000_000_000, Text) + cast(this.sku_id, Text) + cast(this.location_id, Text)
    delta = literal("[", Text) + cast(this.on_hand_delta, Text) + "," + cast(this.allocated_delta, Text) + "]"
    columns = _columns(
        kind=this.cause, about=t.sku.c.code, text=t.location.c.name, actor=this.actor, more=this.note, details=delta
    )
    return this.at, key, columns, rows


def _routing(merchant_id: UUID, order_id: UUID, show: str) -> _Read:
    this = t.routing_decision.c
    rows = select().where(this.merchant_id == merchant_id, this.order_id == order_id)
    return this.at, cast(this.id, Text), _columns(kind=this.cause, text=this.summary), rows


def _email(merchant_id: UUID, order_id: UUID, show: str) -> _Read:
    this = t.email.c
    rows = select().where(this.merchant_id == merchant_id, this.order_id == order_id)
    columns = _columns(kind=this.occasion, text=this.subject, state=this.state, about=this.recipient, more=this.error)
    return this.created_at, cast(this.id, Text), columns, rows


def _tracking(merchant_id: UUID, order_id: UUID, show: str) -> _Read:
    this, parcel = t.tracking_event.c, t.shipment.c
    rows = (
        select()
        .select_from(t.tracking_event)
        .join(t.shipment, parts.same(this.shipment_id, t.shipment, t.tracking_event))
        .where(this.merchant_id == merchant_id, parcel.order_id == order_id)
    )
    key = cast(this.shipment_id, Text) + this.tracking_number + this.status + this.carrier_status
    said = case((func.length(this.message) > 0, this.message), else_=this.carrier_status)
    columns = _columns(kind=this.status, text=said, more=this.place, about=this.tracking_number)
    return this.happened_at, key, columns, rows


_READ = {
    "activity": _activity,
    "effect": _effect,
    "record": _record,
    "edit": _edit,
    "stock": _stock,
    "routing": _routing,
    "email": _email,
    "tracking": _tracking,
}


# ---------------------------------------------------------------- who ordered it


@dataclass(frozen=True, slots=True)
class OtherOrder:
    """Another order of the same customer."""

    id: UUID
    number: str
    status: str
    placed_at: datetime
    connection_label: str
    total: Any


def email_of(connection: Connection, merchant_id: UUID, order_id: UUID) -> str | None:
    """The customer's address, "" where it is not known; None if there is no such order."""
    this = t.sales_order.c
    return connection.execute(
        select(this.email).where(this.merchant_id == merchant_id, this.id == order_id)
    ).scalar_one_or_none()


def others(connection: Connection, merchant_id: UUID, order_id: UUID, email: str, limit: int) -> Sequence[OtherOrder]:
    """The newest orders that came with this e-mail address, whatever shop they came from."""
    if not email:
        return ()
    this = t.sales_order.c
    rows = connection.execute(
        select(
            this.id,
            this.number,
            this.status,
            this.placed_at,
            t.connection.c.label,
            this.total_minor,
            this.priced,
            this.currency,
        )
        .join(t.connection, parts.same(this.connection_id, t.connection, t.sales_order))
        .where(this.merchant_id == merchant_id, this.email == email, this.email != "", this.id != order_id)
        .where(this.placed_at.is_not(None))
        .order_by(this.placed_at.desc(), this.id.desc())
        .limit(limit)
    )
    return [
        OtherOrder(row.id, row.number, row.status, row.placed_at, row.label, parts.amount_of(row, row.total_minor))
        for row in rows
    ]
