"""How well a connection keeps up: what waits in each lane and since when, what was sent lately, and its listings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, func, select

from hub.store import tables as t
from hub.store.connections import ONE
from hub.store.database import Database
from hub.store.queries import parts


@dataclass(frozen=True, slots=True)
class Lane:
    """One kind of work on a connection: how much of it waits, since when, and whether a worker is at it."""

    name: str
    waiting: int
    since: datetime | None
    at_work: bool


@dataclass(frozen=True, slots=True)
class SentEffect:
    """Something that was, or is to be, sent to the vendor."""

    id: UUID
    kind: str
    state: str
    error: str
    created_at: datetime
    finished_at: datetime | None
    order_id: UUID | None


@dataclass(frozen=True, slots=True)
class Subscriptions:
    """What the vendor sends by webhook, as it was found last; ``checked_at`` None: nobody has looked yet."""

    active: tuple[str, ...]
    missing: tuple[str, ...]
    checked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingDetail:
    """One listing with all that the channel tells of it."""

    id: UUID
    connection_id: UUID
    external_id: str
    title: str
    variant: str
    sku_text: str
    barcode: str
    price: str
    currency: str
    tracked: bool
    active: bool
    image_url: str
    picture: str  # where our pages find it
    picture_error: str  # why none is kept
    weight_grams: int | None
    origin_country: str
    hs_code: str
    imported_at: datetime
    sku_id: UUID | None
    sku_code: str


@dataclass(frozen=True, slots=True)
class PlaceFigure:
    """What a listing says at one of its channel's locations; ``error`` is why it could not be written.

    ``pending`` is a figure that the channel has taken in at ``sent_at``, and has not judged yet.
    """

    place: str
    name: str
    quantity: int | None
    published_at: datetime | None
    pending: int | None
    sent_at: datetime | None
    dirty: bool
    error: str
    stocking: str  # the state of the wish that the channel keep stock there, "" where there is none


def lanes(connection: Connection, merchant_id: UUID, connection_id: UUID) -> list[Lane]:
    """Every lane, in the order in which news takes them."""
    at = Database.now(connection)
    lease, inbox, effect = t.lease.c, t.inbox.c, t.effect.c
    names = {name: f"{name}:{connection_id}" for name in ("fetch", "inbox", "publish", "effects")}
    busy = set(
        connection.execute(
            select(lease.name).where(lease.name.in_(names.values()), lease.until > at, lease.holder != "")
        ).scalars()
    )

    def waiting(table: Any, since: Any, *where: ColumnElement[bool]) -> tuple[int, datetime | None]:
        mine = (table.c.merchant_id == merchant_id, table.c.connection_id == connection_id, *where)
        count, first = connection.execute(select(func.count(), func.min(since)).where(*mine)).one()
        return count, first

    due = waiting(t.cursor, t.cursor.c.due_at, t.cursor.c.due_at <= at, ~t.cursor.c.stream.startswith(ONE))
    asked = waiting(t.fetch_request, t.fetch_request.c.requested_at)
    told: dict[str, tuple[int, datetime | None]] = {
        "fetch": (due[0] + asked[0], min((each for each in (due[1], asked[1]) if each), default=None)),
        "inbox": waiting(t.inbox, inbox.received_at, inbox.state == "pending"),
        "publish": waiting(t.publication, t.publication.c.dirty_since, parts.is_dirty()),
        "effects": waiting(t.effect, effect.created_at, effect.state.in_(("planned", "in_flight"))),
    }
    return [Lane(name, *told[name], names[name] in busy) for name in names]


def recent_effects(
    connection: Connection, merchant_id: UUID, connection_id: UUID, *, limit: int = 10
) -> list[SentEffect]:
    """What was sent to the vendor last, or is about to be."""
    effect = t.effect.c
    rows = connection.execute(
        select(
            effect.id, effect.kind, effect.state, effect.error, effect.created_at, effect.finished_at, effect.order_id
        )
        .where(effect.merchant_id == merchant_id, effect.connection_id == connection_id)
        .order_by(effect.created_at.desc(), effect.id.desc())
        .limit(limit)
    )
    return [SentEffect(*row) for row in rows]


def subscriptions(connection: Connection, merchant_id: UUID, connection_id: UUID) -> Subscriptions:
    """What the watchdog of the webhooks found last."""
    shop = t.connection.c
    found: Mapping[str, Any] = (
        connection.execute(
            select(shop.subscriptions).where(shop.merchant_id == merchant_id, shop.id == connection_id)
        ).scalar_one_or_none()
        or {}
    )
    checked = found.get("checked_at")
    return Subscriptions(
        tuple(found.get("active", ())),
        tuple(found.get("missing", ())),
        datetime.fromisoformat(checked) if checked else None,
    )


def order_called(connection: Connection, merchant_id: UUID, connection_id: UUID, text: str) -> UUID | None:
    """The order of a connection with this number, with or without its #, or this id at the shop; the newest."""
    order = t.sales_order.c
    wanted = text.strip()
    return connection.execute(
        select(order.id)
        .where(
            order.merchant_id == merchant_id,
            order.connection_id == connection_id,
            order.number.in_([wanted, f"#{wanted}"]) | (order.external_id == wanted),
        )
        .order_by(order.placed_at.desc(), order.id)
        .limit(1)
    ).scalar_one_or_none()


def listing(connection: Connection, merchant_id: UUID, connection_id: UUID, listing_id: UUID) -> ListingDetail | None:
    """One listing, None where the connection has none of this id."""
    here, sku = t.listing.c, t.sku.c
    row = connection.execute(
        select(
            t.listing,
            func.coalesce(sku.code, "").label("sku_code"),
            func.coalesce(t.picture.c.address, "").label("picture"),
            func.coalesce(t.picture.c.error, "").label("picture_error"),
        )
        .outerjoin(t.sku, parts.same(here.sku_id, t.sku, t.listing))
        .outerjoin(t.picture, parts.same(here.picture_id, t.picture, t.listing))
        .where(here.merchant_id == merchant_id, here.connection_id == connection_id, here.id == listing_id)
    ).one_or_none()
    if row is None:
        return None
    names = ListingDetail.__dataclass_fields__
    told = {name: getattr(row, name) for name in names}
    return ListingDetail(**told | {"price": row.price or ""})


def figures(connection: Connection, merchant_id: UUID, listing_id: UUID) -> list[PlaceFigure]:
    """What a listing says at each of its channel's locations."""
    here, publication, place, effect = t.listing.c, t.publication.c, t.channel_location.c, t.effect.c
    rows = connection.execute(
        select(
            place.external_id,
            place.name,
            publication.quantity,
            publication.published_at,
            t.pending_push.c.quantity.label("pending"),
            t.pending_push.c.sent_at,
            parts.is_dirty().label("dirty"),
            func.coalesce(publication.error, "").label("error"),
            here.external_id.label("listing_external_id"),
            here.connection_id,
        )
        .join(t.listing, and_(here.merchant_id == publication.merchant_id, here.id == publication.listing_id))
        .join(
            t.channel_location,
            and_(
                place.merchant_id == publication.merchant_id,
                place.connection_id == publication.connection_id,
                place.external_id == publication.location_external_id,
            ),
        )
        .outerjoin(t.pending_push, parts.same(publication.pending_id, t.pending_push, t.publication))
        .where(publication.merchant_id == merchant_id, publication.listing_id == listing_id)
        .order_by(place.name, place.external_id)
    ).all()
    if not rows:
        return []
    key = f"{rows[0].connection_id}:stock_listing:{listing_id}"
    wishes = {
        request.get("location_external_id"): state
        for request, state in connection.execute(
            select(effect.request, effect.state)
            .where(effect.merchant_id == merchant_id, effect.ordering_key == key)
            .order_by(effect.created_at, effect.id)
        )
    }
    return [
        PlaceFigure(
            row.external_id,
            row.name,
            row.quantity,
            row.published_at,
            row.pending,
            row.sent_at,
            row.dirty,
            row.error,
            wishes.get(row.external_id, ""),
        )
        for row in rows
    ]
