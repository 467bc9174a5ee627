"""Small parts that the queries of several pages share."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func

from hub.core.model import Money
from hub.store import tables as t

PAGE = 50  # rows of a list that are shown at once

AnyRow = Row[*tuple[Any, ...]]
AnySelect = Select[*tuple[Any, ...]]


def same(column: Any, target: Any, source: Any) -> ColumnElement[bool]:
    """``column`` names a row of ``target`` that belongs to the same merchant as the row of ``source``."""
    return and_(target.c.merchant_id == source.c.merchant_id, target.c.id == column)


def publication_of(place: Any) -> ColumnElement[bool]:
    """The publication of the listing at the channel's location ``place``."""
    return and_(
        t.publication.c.merchant_id == t.listing.c.merchant_id,
        t.publication.c.listing_id == t.listing.c.id,
        t.publication.c.location_external_id == place,
    )


def level_of(sku_id: Any, location_id: Any) -> ColumnElement[bool]:
    """The balance of a listing's SKU at one of the merchant's locations."""
    return and_(
        t.stock_level.c.merchant_id == t.listing.c.merchant_id,
        t.stock_level.c.sku_id == sku_id,
        t.stock_level.c.location_id == location_id,
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


def contains(column: Any, text: str) -> ColumnElement[bool]:
    """``text`` stands somewhere in ``column``, in upper or lower case; it holds no wildcards."""
    return func.lower(column).contains(text.lower(), autoescape=True)


def money(minor: int, currency: str) -> Money | None:
    """Money from what a row keeps; None where no currency was ever told."""
    return Money.from_minor(minor, currency) if currency else None


def scalar(connection: Connection, query: Select[int]) -> int:
    """The one number that ``query`` asks for."""
    return connection.execute(query).scalar_one()
