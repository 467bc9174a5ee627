"""Marking what has to be published again: the listings of SKUs whose stock, or whose rules, have changed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, bindparam, case, select, update

from hub.store import tables as t
from hub.store.database import in_chunks


def mark_dirty(
    connection: Connection, merchant_id: UUID, causes: Mapping[UUID, Mapping[str, str | None]], *, at: datetime
) -> set[UUID]:
    """Have every listing of these SKUs, and of kits with them in it, published again, each for its cause; returns the
    connections concerned."""
    publication, listing, leaf = t.publication.c, t.listing.c, t.kit_leaf.c
    changed = {sku_id: sku_id for sku_id in causes}  # what a SKU is published again for: itself, or a part of the kit
    # One step after the other, each along an index: joined, SQLite would go through all there is.
    for some in in_chunks(causes):
        for kit_id, part_id in connection.execute(
            select(leaf.kit_id, leaf.part_id).where(leaf.merchant_id == merchant_id, leaf.part_id.in_(some))
        ):
            changed.setdefault(kit_id, part_id)
    sells: dict[UUID, UUID] = {}
    for some in in_chunks(changed):
        for listing_id, sku_id in connection.execute(
            select(listing.id, listing.sku_id).where(listing.merchant_id == merchant_id, listing.sku_id.in_(some))
        ):
            sells[listing_id] = changed[sku_id]
    found: dict[tuple[UUID, str], tuple[UUID, UUID]] = {}  # what made it dirty, and its connection
    for some in in_chunks(sells):
        for listing_id, place, connection_id in connection.execute(
            select(publication.listing_id, publication.location_external_id, publication.connection_id).where(
                publication.merchant_id == merchant_id, publication.listing_id.in_(some)
            )
        ):
            found[listing_id, place] = sells[listing_id], connection_id
    mark_publications(connection, merchant_id, {key: causes[sku_id] for key, (sku_id, _) in found.items()}, at=at)
    return {connection_id for _, connection_id in found.values()}


def mark_publications(
    connection: Connection,
    merchant_id: UUID,
    causes: Mapping[tuple[UUID, str], Mapping[str, str | None]],
    *,
    at: datetime,
) -> None:
    """Have these publications (listing, channel location) published again, each for its cause."""
    publication = t.publication.c
    if causes:
        connection.execute(
            update(t.publication)
            .where(
                publication.merchant_id == merchant_id,
                publication.listing_id == bindparam("this_listing"),
                publication.location_external_id == bindparam("this_location"),
            )
            .values(version=publication.version + 1, dirty_since=first_change(at), cause=bindparam("why")),
            [
                {"this_listing": listing_id, "this_location": place, "why": why}
                # In one order for all, so that two who mark the same ones wait for each other only one way.
                for (listing_id, place), why in sorted(causes.items(), key=lambda each: each[0])
            ],
        )


def first_change(at: datetime) -> ColumnElement[datetime]:
    """Since when a publication that changes now is dirty: since the first change that is not told yet.

    Changes that follow must not put it off for ever.
    """
    publication = t.publication.c
    return case((publication.version > publication.published_version, publication.dirty_since), else_=at)
