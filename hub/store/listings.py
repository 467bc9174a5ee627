"""Listings as their channels tell them: kept when imported, retired when gone, stocked at a place on request."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, case, func, select, update

from hub import access
from hub.access import Permission
from hub.core.model import Listing
from hub.core.plain import to_plain
from hub.core.shipping import StockListing
from hub.errors import Conflict
from hub.store import activity, effects, pictures, publications
from hub.store import tables as t
from hub.store.database import Database, in_chunks, new_id, upsert
from hub.store.marking import first_change


def keep(
    connection: Connection, merchant_id: UUID, connection_id: UUID, listings: Sequence[Listing], *, at: datetime
) -> None:
    """Store listings as the channel tells them, in the caller's transaction. A match to a SKU is never touched."""
    if not listings:
        return
    # A record read twice in one batch counts once, with its last word.
    latest = {each.external_id: each for each in listings}
    statement = upsert(connection, t.listing)
    always = ("sku_text", "title", "variant", "barcode", "tracked", "active", "handles", "imported_at")
    told = {name: statement.excluded[name] for name in always}
    # Webhooks tell less than what is fetched: what they leave out stays as it is known.
    for name in ("image_url", "origin_country", "hs_code"):
        told[name] = func.coalesce(func.nullif(statement.excluded[name], ""), t.listing.c[name])
    told["picture_id"] = case(
        (statement.excluded.image_url == "", t.listing.c.picture_id), else_=statement.excluded.picture_id
    )
    told["weight_grams"] = func.coalesce(statement.excluded.weight_grams, t.listing.c.weight_grams)
    told["price"] = func.coalesce(statement.excluded.price, t.listing.c.price)
    told["currency"] = case(
        (statement.excluded.price.is_(None), t.listing.c.currency), else_=statement.excluded.currency
    )
    images = {each.external_id: each.image_url if len(each.image_url) <= 1000 else "" for each in latest.values()}
    shown = pictures.want(connection, merchant_id, connection_id, images.values(), at=at)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["merchant_id", "connection_id", "external_id"],
            set_=told,
        ),
        [
            {
                "merchant_id": merchant_id,
                "id": new_id(),
                "connection_id": connection_id,
                "external_id": each.external_id,
                "sku_text": each.sku.strip()[:200],
                "title": each.title[:500],
                "variant": each.variant[:200],
                "barcode": each.barcode.strip()[:100],
                "tracked": each.tracked,
                "active": each.active,
                "price": str(each.price.amount) if each.price else None,
                "currency": each.price.currency if each.price else "",
                "handles": dict(each.handles),
                "image_url": images[each.external_id],
                "picture_id": shown.get(images[each.external_id]),
                "weight_grams": each.weight_grams,
                "origin_country": each.origin_country[:2],
                "hs_code": each.hs_code[:20],
                "imported_at": at,
            }
            for each in latest.values()
        ],
    )
    publications.ensure(connection, merchant_id, at=at, connection_id=connection_id)


def retire(
    connection: Connection, merchant_id: UUID, connection_id: UUID, external_ids: Collection[str], handle: str = ""
) -> None:
    """The channel deleted these listings: they are published no more, their history stays.

    ``handle`` names the entry of ``Listing.handles`` that ``external_ids`` belong to, "" for the listings' own ids.
    """
    listing = t.listing.c
    name = listing.handles[handle].as_string() if handle else listing.external_id
    for some in in_chunks(external_ids):
        connection.execute(
            update(t.listing)
            .where(listing.merchant_id == merchant_id, listing.connection_id == connection_id, name.in_(some))
            .values(active=False)
        )


# ---------------------------------------------------------------- a place where the channel keeps no stock of it


@access.needs(Permission.SYNC)
def stock_there(database: Database, merchant_id: UUID, listing_id: UUID, place: str, actor: str) -> UUID:
    """Plan that the channel begins to keep stock of a listing at ``place``, one of its locations; returns the effect.

    The figure is published once it does. Asking again for the same refusal is the same wish. Raises Conflict where no
    figure was refused there.
    """

    def work(connection: Connection) -> UUID:
        listing, publication, here = t.listing.c, t.publication.c, t.channel_location.c
        row = connection.execute(
            select(
                listing.external_id,
                listing.title,
                listing.handles,
                listing.connection_id,
                publication.version,
                here.name.label("place_name"),
            )
            .join(
                t.publication,
                (publication.merchant_id == listing.merchant_id) & (publication.listing_id == listing.id),
            )
            .join(
                t.channel_location,
                (here.merchant_id == publication.merchant_id)
                & (here.connection_id == publication.connection_id)
                & (here.external_id == publication.location_external_id),
            )
            .where(
                listing.merchant_id == merchant_id,
                listing.id == listing_id,
                publication.location_external_id == place,
                publication.error != "",
            )
        ).one_or_none()
        if row is None:
            raise Conflict("No figure of this listing is refused there any more. Reload the page.")
        at = database.now(connection)
        wish = StockListing(listing_external_id=row.external_id, location_external_id=place, handles=dict(row.handles))
        planned = effects.plan(
            connection,
            merchant_id,
            row.connection_id,
            "stock_listing",
            f"{listing_id}/{place}/{row.version}",
            to_plain(wish),
            now=at,
            ordering_key=f"{row.connection_id}:stock_listing:{listing_id}",
        )
        activity.note(
            connection,
            merchant_id,
            "listing_stocked",
            f"“{row.title}” is to be stocked at “{row.place_name}”",
            at=at,
            connection_id=row.connection_id,
            actor=actor,
        )
        return planned

    return database.transact(work)


def publish_again(
    connection: Connection,
    merchant_id: UUID,
    connection_id: UUID,
    external_id: str,
    place: str,
    *,
    at: datetime,
) -> None:
    """Have the figure of a listing at one of its channel's locations published again, in the caller's transaction."""
    listing, publication = t.listing.c, t.publication.c
    this = select(listing.id).where(
        listing.merchant_id == merchant_id,
        listing.connection_id == connection_id,
        listing.external_id == external_id,
    )
    connection.execute(
        update(t.publication)
        .where(
            publication.merchant_id == merchant_id,
            publication.location_external_id == place,
            publication.listing_id.in_(this),
        )
        .values(version=publication.version + 1, dirty_since=first_change(at), error="", not_before=None, attempts=0)
    )
