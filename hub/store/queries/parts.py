"""Small parts that the queries of several pages share."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, select

from hub.core.model import Money
from hub.store import tables as t

PAGE = 50  # rows of a list that are shown at once

AnyRow = Row[*tuple[Any, ...]]
AnySelect = Select[*tuple[Any, ...]]


def same(column: Any, target: Any, source: Any) -> ColumnElement[bool]:
    """``column`` names a row of ``target`` that belongs to the same merchant as the row of ``source``."""
    return and_(target.c.merchant_id == source.c.merchant_id, target.c.id == column)


# What 3PLs said last, each by its own name for a thing, which SKU that is, and which place of theirs it is about.
SAID_BY_3PLS = t.provider_stock.join(
    t.provider_item,
    and_(*(t.provider_item.c[name] == t.provider_stock.c[name] for name in ("merchant_id", "connection_id", "name"))),
).join(
    t.channel_location,
    and_(
        t.channel_location.c.merchant_id == t.provider_stock.c.merchant_id,
        t.channel_location.c.connection_id == t.provider_stock.c.connection_id,
        t.channel_location.c.external_id == t.provider_stock.c.place_external_id,
    ),
)


def publication_of(place: Any) -> ColumnElement[bool]:
    """The publication of the listing at the channel's location ``place``."""
    return and_(
        t.publication.c.merchant_id == t.listing.c.merchant_id,
        t.publication.c.listing_id == t.listing.c.id,
        t.publication.c.location_external_id == place,
    )


def is_open() -> ColumnElement[bool]:
    """The issue still waits for somebody."""
    return t.issue.c.resolved_at.is_(None)


def is_dirty() -> ColumnElement[bool]:
    """The channel does not show the figure yet that it should."""
    return t.publication.c.version > t.publication.c.published_version


def is_unmatched() -> ColumnElement[bool]:
    """The listing has stock of its own at the channel, and it is still to be said which SKU it is."""
    listing = t.listing.c
    return and_(
        listing.sku_id.is_(None), listing.tracked.is_(True), listing.active.is_(True), listing.ignored_at.is_(None)
    )


def picture_of_listing() -> ColumnElement[str]:
    """Where our pages find the picture of the listing, "" where none is kept."""
    shown = (
        select(t.picture.c.address)
        .where(t.picture.c.merchant_id == t.listing.c.merchant_id, t.picture.c.id == t.listing.c.picture_id)
        .correlate(t.listing)
        .scalar_subquery()
    )
    return func.coalesce(shown, "")


def picture_of_sku() -> ColumnElement[str]:
    """Where our pages find a picture of the SKU, one of its listings', "" where none is kept."""
    listing, picture = t.listing.alias(), t.picture.alias()
    shown = (
        select(func.max(picture.c.address))
        .join(listing, and_(listing.c.merchant_id == picture.c.merchant_id, listing.c.picture_id == picture.c.id))
        .where(listing.c.merchant_id == t.sku.c.merchant_id, listing.c.sku_id == t.sku.c.id)
        .correlate(t.sku)
        .scalar_subquery()
    )
    return func.coalesce(shown, "")


def contains(column: Any, text: str) -> ColumnElement[bool]:
    """``text`` stands somewhere in ``column``, in upper or lower case; it holds no wildcards."""
    return func.lower(column).contains(text.lower(), autoescape=True)


def money(minor: int, currency: str) -> Money | None:
    """Money from what a row keeps; None where no currency was ever told."""
    return Money.from_minor(minor, currency) if currency else None


def amount_of(order: AnyRow, minor: int) -> Money | None:
    """An amount of an order from its row; None where its channel has told no currency, or no amounts yet."""
    return money(minor, order.currency) if order.priced else None


def price_of(order: AnyRow, amount: str) -> Money | None:
    """A price in an order from its row; None as for ``amount_of``."""
    return Money.of(amount, order.currency) if order.currency and order.priced else None


def scalar(connection: Connection, query: Select[int]) -> int:
    """The one number that ``query`` asks for."""
    return connection.execute(query).scalar_one()
