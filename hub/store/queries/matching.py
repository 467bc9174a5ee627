"""Listings that wait to be matched, over all shops, and what was matched by which act."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from hub.store import tables as t
from hub.store.database import among
from hub.store.queries import parts

ACTS = 8  # that are shown, the newest first


@dataclass(frozen=True, slots=True)
class Waiting:
    """A listing in the queue, or one that was taken out of it."""

    id: UUID
    connection_id: UUID
    connection_label: str
    external_id: str
    sku_text: str
    title: str
    barcode: str
    image_url: str
    picture: str  # where our pages find it
    price: str
    currency: str


@dataclass(frozen=True, slots=True)
class ActView:
    """One act of matching; ``standing`` of its listings are still matched by it."""

    id: UUID
    summary: str
    actor: str
    at: datetime
    undone_at: datetime | None
    undone_by: str
    undone: int
    standing: int


@dataclass(frozen=True, slots=True)
class Queue:
    """How many listings of a shop wait to be matched, and how many were taken out of the queue."""

    connection_id: UUID
    label: str
    unmatched: int
    ignored: int


def queues(connection: Connection, merchant_id: UUID) -> list[Queue]:
    """The shops that have listings, by their names."""
    listing, shop = t.listing.c, t.connection.c
    there = and_(listing.merchant_id == shop.merchant_id, listing.connection_id == shop.id)
    # Counted shop by shop: only what is not matched is looked at, and not every listing.
    counts = (
        select(func.count()).where(there, which).correlate(t.connection).scalar_subquery()
        for which in (parts.is_unmatched(), _is_ignored())
    )
    rows = connection.execute(
        select(shop.id, shop.label, *counts)
        .where(shop.merchant_id == merchant_id, shop.state != "removed")
        .where(select(listing.id).where(there).correlate(t.connection).exists())
        .order_by(shop.label, shop.id)
    )
    return [Queue(*row) for row in rows]


def waiting(
    connection: Connection,
    merchant_id: UUID,
    *,
    connection_id: UUID | None = None,
    ignored: bool = False,
    text: str = "",
    after: tuple[str, UUID] | None = None,
    limit: int = parts.PAGE,
) -> list[Waiting]:
    """Listings to be matched, by title; or those that were taken out of the queue. ``after`` is (title, id)."""
    listing, shop = t.listing.c, t.connection.c
    query = (
        select(
            listing.id,
            listing.connection_id,
            shop.label,
            listing.external_id,
            listing.sku_text,
            listing.title,
            listing.barcode,
            listing.image_url,
            parts.picture_of_listing(),
            func.coalesce(listing.price, ""),
            listing.currency,
        )
        .join(t.connection, parts.same(listing.connection_id, t.connection, t.listing))
        .where(listing.merchant_id == merchant_id, shop.state != "removed")
        .where(_is_ignored() if ignored else parts.is_unmatched())
        .order_by(listing.title, listing.id)
        .limit(limit)
    )
    if connection_id is not None:
        query = query.where(listing.connection_id == connection_id)
    if text:
        query = query.where(
            or_(
                parts.contains(listing.title, text),
                parts.contains(listing.sku_text, text),
                listing.barcode == text,
                listing.external_id == text,
            )
        )
    if after is not None:
        title, last = after
        query = query.where(or_(listing.title > title, and_(listing.title == title, listing.id > last)))
    rows: list[parts.AnyRow] = list(connection.execute(query))
    return [Waiting(*row) for row in rows]


def pictures(connection: Connection, merchant_id: UUID, sku_ids: Collection[UUID]) -> dict[UUID, str]:
    """Where our pages find a picture of each of these SKUs, "" where none is kept."""
    sku = t.sku.c
    rows = connection.execute(
        select(sku.id, parts.picture_of_sku()).where(sku.merchant_id == merchant_id, among(connection, sku.id, sku_ids))
    )
    return {row[0]: row[1] for row in rows}


def acts(connection: Connection, merchant_id: UUID, *, limit: int = ACTS) -> list[ActView]:
    """The last acts of matching."""
    act, listing = t.match_act.c, t.listing.c
    standing = (
        select(func.count())
        .where(listing.merchant_id == act.merchant_id, listing.match_act_id == act.id)
        .correlate(t.match_act)
        .scalar_subquery()
    )
    rows = connection.execute(
        select(act.id, act.summary, act.actor, act.at, act.undone_at, act.undone_by, act.undone, standing)
        .where(act.merchant_id == merchant_id)
        .order_by(act.at.desc(), act.id.desc())
        .limit(limit)
    )
    return [ActView(*row) for row in rows]


def _is_ignored() -> ColumnElement[bool]:
    listing = t.listing.c
    return and_(listing.sku_id.is_(None), listing.ignored_at.is_not(None))
