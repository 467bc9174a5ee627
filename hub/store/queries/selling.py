"""Selling rules as the pages show them: every rule with what it is about, and what a rule may be about."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, func, select

from hub.store import tables as t
from hub.store.queries import parts
from hub.store.selling import Scope


@dataclass(frozen=True, slots=True)
class Subject:
    """What a rule is about; all three are "" for a rule about everything. ``within`` are the wider scopes it is in."""

    scope: Scope
    connection_label: str
    sku_code: str
    listing_title: str
    within: tuple[Scope, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleView:
    """One rule and who made it."""

    subject: Subject
    changed_at: datetime
    changed_by: str


@dataclass(frozen=True, slots=True)
class Example:
    """A SKU on which the effect of a rule is shown."""

    sku_id: UUID
    code: str


def saved_rules(connection: Connection, merchant_id: UUID, *, limit: int = 500) -> list[RuleView]:
    """The merchant's rules, from the widest to the narrowest."""
    rule = t.selling_rule.c
    rows = connection.execute(
        select(
            rule.connection_id,
            rule.sku_id,
            rule.listing_id,
            func.coalesce(t.connection.c.label, "").label("label"),
            func.coalesce(t.sku.c.code, "").label("code"),
            func.coalesce(t.listing.c.title, "").label("title"),
            rule.changed_at,
            rule.changed_by,
        )
        .outerjoin(t.connection, parts.same(rule.connection_id, t.connection, t.selling_rule))
        .outerjoin(t.sku, parts.same(rule.sku_id, t.sku, t.selling_rule))
        .outerjoin(t.listing, parts.same(rule.listing_id, t.listing, t.selling_rule))
        .where(rule.merchant_id == merchant_id)
        .order_by(
            rule.listing_id.is_not(None),
            rule.sku_id.is_not(None),
            rule.connection_id.is_not(None),
            t.connection.c.label,
            t.sku.c.code,
            t.listing.c.title,
        )
        .limit(limit)
    )
    return [
        RuleView(
            Subject(
                Scope(connection_id=row.connection_id, sku_id=row.sku_id, listing_id=row.listing_id),
                row.label,
                row.code,
                row.title,
            ),
            row.changed_at,
            row.changed_by,
        )
        for row in rows
    ]


def subject(connection: Connection, merchant_id: UUID, scope: Scope) -> Subject | None:
    """What a scope is about, None when something it names does not exist."""
    names = []
    for row_id, name in (
        (scope.connection_id, t.connection.c.label),
        (scope.sku_id, t.sku.c.code),
        (scope.listing_id, t.listing.c.title),
    ):
        found: str | None = ""
        if row_id is not None:
            found = connection.execute(
                select(name).where(name.table.c.merchant_id == merchant_id, name.table.c.id == row_id)
            ).scalar_one_or_none()
        if found is None:
            return None
        names.append(found)
    connection_id, sku_id = scope.connection_id, scope.sku_id
    if scope.listing_id is not None:
        connection_id, sku_id = connection.execute(
            select(t.listing.c.connection_id, t.listing.c.sku_id).where(
                t.listing.c.merchant_id == merchant_id, t.listing.c.id == scope.listing_id
            )
        ).one()
    wider = [
        Scope(),
        Scope(connection_id=connection_id),
        Scope(sku_id=sku_id),
        Scope(connection_id=connection_id, sku_id=sku_id),
    ]
    label, code, title = names
    return Subject(scope, label, code, title, tuple(dict.fromkeys(each for each in wider if each != scope)))


def examples(connection: Connection, merchant_id: UUID, scope: Scope, *, limit: int = 5) -> list[Example]:
    """The first SKUs that a rule of this scope is about and that some shop sells."""
    listing, shop = t.listing.c, t.connection.c
    query = (
        select(t.sku.c.id, t.sku.c.code)
        .distinct()
        .join(t.listing, parts.same(t.sku.c.id, t.sku, t.listing) & (listing.sku_id == t.sku.c.id))
        .join(t.connection, parts.same(listing.connection_id, t.connection, t.listing))
        .where(t.sku.c.merchant_id == merchant_id, listing.tracked, listing.active, shop.state != "removed")
        .order_by(t.sku.c.code)
        .limit(limit)
    )
    if scope.listing_id is not None:
        query = query.where(listing.id == scope.listing_id)
    if scope.sku_id is not None:
        query = query.where(t.sku.c.id == scope.sku_id)
    if scope.connection_id is not None:
        query = query.where(listing.connection_id == scope.connection_id)
    return [Example(*row) for row in connection.execute(query)]


def names_of_listings(
    connection: Connection, merchant_id: UUID, sku_ids: Collection[UUID]
) -> dict[UUID, tuple[str, str, str, dict[str, str]]]:
    """Of the listings of some SKUs: the SKU's code, the title, the shop's name, and the names of the shop's places."""
    listing, place = t.listing.c, t.channel_location.c
    found: dict[UUID, tuple[str, str, str, dict[str, str]]] = {}
    for row in connection.execute(
        select(listing.id, t.sku.c.code, listing.title, t.connection.c.label, place.external_id, place.name)
        .join(t.sku, parts.same(listing.sku_id, t.sku, t.listing))
        .join(t.connection, parts.same(listing.connection_id, t.connection, t.listing))
        .join(
            t.channel_location,
            (place.merchant_id == listing.merchant_id) & (place.connection_id == listing.connection_id),
        )
        .where(listing.merchant_id == merchant_id, listing.sku_id.in_(sku_ids))
    ):
        names = found.setdefault(row.id, (row.code, row.title, row.label, {}))
        names[3][row.external_id] = row.name
    return found
