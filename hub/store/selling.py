"""The selling rules of a merchant: what they say for a listing, and saving one, which publishes its figures again."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, delete, select

from hub import access
from hub.access import Permission
from hub.core.selling import SellingRule
from hub.core.stock import MOST_UNITS
from hub.errors import BadInput
from hub.store import activity, marking
from hub.store import tables as t
from hub.store.database import Database, among, in_chunks, new_id, upsert

_FIELDS = tuple(each.name for each in fields(SellingRule))
_PERCENT = {"buffer_percent", "share_percent"}
_LABELS = {
    "buffer_units": "Buffer in units",
    "buffer_percent": "Buffer in percent",
    "stop_at": "Stop at",
    "maximum": "Maximum",
    "share_percent": "Share in percent",
    "backorder_limit": "Backorder limit",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a rule is about: a listing; or a SKU, a connection, a SKU on a connection; everything, if nothing is set."""

    connection_id: UUID | None = None
    sku_id: UUID | None = None
    listing_id: UUID | None = None

    @property
    def text(self) -> str:
        """The scope as stored: there is one rule of each."""
        return "/".join(str(each or "") for each in (self.connection_id, self.sku_id, self.listing_id))


@dataclass(frozen=True, slots=True)
class Rules:
    """Selling rules by the text of their scope."""

    by_scope: Mapping[str, SellingRule]

    def of(self, connection_id: UUID, sku_id: UUID, listing_id: UUID) -> SellingRule:
        """What holds for a listing: of each field what the narrowest rule says that says something about it."""
        found = SellingRule()
        for scope in reversed(_scopes(connection_id, sku_id, listing_id)):
            rule = self.by_scope.get(scope.text)
            if rule is not None:
                found = rule.over(found)
        return found

    def share(self, connection_id: UUID, sku_id: UUID) -> int | None:
        """The percentage of a SKU that a channel has: a rule of a listing says nothing about it."""
        for scope in _scopes(connection_id, sku_id, None):
            rule = self.by_scope.get(scope.text)
            if rule is not None and rule.share_percent is not None:
                return rule.share_percent
        return None


def _scopes(connection_id: UUID, sku_id: UUID, listing_id: UUID | None) -> list[Scope]:
    """The scopes a listing is in, the narrowest first."""
    listing = [] if listing_id is None else [Scope(listing_id=listing_id)]
    return [
        *listing,
        Scope(connection_id=connection_id, sku_id=sku_id),
        Scope(sku_id=sku_id),
        Scope(connection_id=connection_id),
        Scope(),
    ]


def rules(
    connection: Connection, merchant_id: UUID, listings: Iterable[tuple[UUID, UUID, UUID]] | None = None
) -> Rules:
    """The merchant's rules; with ``listings`` (connection, SKU, listing) only those that hold for any of them."""
    if listings is None:
        return _rules_in(connection, merchant_id, None)
    return _rules_in(connection, merchant_id, (scope for each in listings for scope in _scopes(*each)))


def _rules_in(connection: Connection, merchant_id: UUID, scopes: Iterable[Scope] | None) -> Rules:
    rule = t.selling_rule.c
    query = select(rule.scope, *(rule[name] for name in _FIELDS)).where(rule.merchant_id == merchant_id)
    queries = [query]
    if scopes is not None:
        queries = [
            query.where(among(connection, rule.scope, some))
            for some in in_chunks(sorted({scope.text for scope in scopes}))
        ]
    return Rules(
        {
            scope: SellingRule(**dict(zip(_FIELDS, said, strict=True)))
            for each in queries
            for scope, *said in connection.execute(each)
        }
    )


def channels(connection: Connection, merchant_id: UUID, sku_ids: Collection[UUID]) -> dict[UUID, set[UUID]]:
    """The live connections that sell each of these SKUs."""
    listing, shop = t.listing.c, t.connection.c
    found: dict[UUID, set[UUID]] = {}
    for row in connection.execute(
        select(listing.sku_id, listing.connection_id)
        .distinct()
        .select_from(
            t.listing.join(t.connection, (shop.merchant_id == listing.merchant_id) & (shop.id == listing.connection_id))
        )
        .where(
            listing.merchant_id == merchant_id,
            listing.sku_id.in_(list(sku_ids)),
            listing.tracked,
            listing.active,
            shop.live_at.is_not(None),
            shop.state != "removed",
        )
    ):
        found.setdefault(row.sku_id, set()).add(row.connection_id)
    return found


@access.needs(Permission.CATALOG)
def save_rule(database: Database, merchant_id: UUID, scope: Scope, rule: SellingRule, actor: str) -> set[UUID]:
    """Make ``rule`` the one of ``scope``, instead of the one it had; an empty rule only takes that away.

    The listings for which something changes are published again. Returns the connections that have something to
    publish. Raises BadInput.
    """
    _check(scope, rule)

    def work(connection: Connection) -> set[UUID]:
        at = database.now(connection)
        about = _about(connection, merchant_id, scope)
        table = t.selling_rule
        before = rules(connection, merchant_id)
        if before.by_scope.get(scope.text, SellingRule()) == rule:
            return set()
        if rule.said:
            statement = upsert(connection, table).values(
                merchant_id=merchant_id,
                id=new_id(),
                scope=scope.text,
                connection_id=scope.connection_id,
                sku_id=scope.sku_id,
                listing_id=scope.listing_id,
                changed_at=at,
                changed_by=actor,
                **{name: getattr(rule, name) for name in _FIELDS},
            )
            told = (*_FIELDS, "changed_at", "changed_by")
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["merchant_id", "scope"], set_={name: statement.excluded[name] for name in told}
                )
            )
        else:
            connection.execute(delete(table).where(table.c.merchant_id == merchant_id, table.c.scope == scope.text))
        after = Rules({each: said for each, said in before.by_scope.items() if each != scope.text} | {scope.text: rule})
        said = ", ".join(f"{_LABELS[name].lower()} {units}" for name, units in rule.said.items())
        activity.note(
            connection,
            merchant_id,
            "selling_rule_saved",
            f"Selling rule for {about}: {said or 'none any more'}",
            at=at,
            connection_id=scope.connection_id,
            actor=actor,
        )
        cause = {"cause": "rule", "reference": scope.text, "order_id": None, "at": at.isoformat()}
        changed = _changed(connection, merchant_id, scope, before, after)
        marking.mark_publications(connection, merchant_id, dict.fromkeys(changed, cause), at=at)
        return set(changed.values())

    return database.transact(work)


def _changed(
    connection: Connection, merchant_id: UUID, scope: Scope, before: Rules, after: Rules
) -> dict[tuple[UUID, str], UUID]:
    """The publications whose rule, or whose share beside the other channels', is another than before, and where."""
    publication, listing = t.publication.c, t.listing.c
    query = (
        select(publication.listing_id, publication.location_external_id, publication.connection_id, listing.sku_id)
        .select_from(
            t.publication.join(
                t.listing, (listing.merchant_id == publication.merchant_id) & (listing.id == publication.listing_id)
            )
        )
        .where(publication.merchant_id == merchant_id, listing.sku_id.is_not(None))
    )
    if scope.listing_id is not None:
        query = query.where(listing.id == scope.listing_id)
    elif scope.sku_id is not None:
        query = query.where(listing.sku_id == scope.sku_id)
    elif scope.connection_id is not None:
        # Whoever shares a SKU with this channel may get more or less of it, too.
        there = t.listing.alias("there")
        sold_there = select(there.c.sku_id).where(
            there.c.merchant_id == merchant_id,
            there.c.connection_id == scope.connection_id,
            there.c.sku_id.is_not(None),
        )
        query = query.where(listing.sku_id.in_(sold_there))
    rows = connection.execute(query).all()
    sold = channels(connection, merchant_id, {row.sku_id for row in rows}) if _shared(before, after) else {}

    def sees(said: Rules, row: Any) -> Any:
        rule = said.of(row.connection_id, row.sku_id, row.listing_id)
        if rule.share_percent is None:
            return rule, None
        return rule, percents(said, row.sku_id, sold.get(row.sku_id, ()))

    return {
        (row.listing_id, row.location_external_id): row.connection_id
        for row in rows
        if sees(before, row) != sees(after, row)
    }


def shares_of(
    connection: Connection, merchant_id: UUID, sku_ids: Collection[UUID], supposed: Rules | None = None
) -> dict[UUID, dict[UUID, int]]:
    """How the live channels share each of these SKUs: the percentage of each channel that has one."""
    sold = channels(connection, merchant_id, sku_ids)
    pairs = [(connection_id, sku_id) for sku_id, there in sold.items() for connection_id in there]
    said = supposed or _rules_in(connection, merchant_id, (scope for pair in pairs for scope in _scopes(*pair, None)))
    return {sku_id: percents(said, sku_id, there) for sku_id, there in sold.items()}


def _shared(*all_rules: Rules) -> bool:
    return any(rule.share_percent is not None for each in all_rules for rule in each.by_scope.values())


def percents(said: Rules, sku_id: UUID, connection_ids: Iterable[UUID]) -> dict[UUID, int]:
    """The percentage of each of these channels that has one, of a SKU."""
    shares = {each: said.share(each, sku_id) for each in connection_ids}
    return {each: percent for each, percent in shares.items() if percent is not None}


# ---------------------------------------------------------------- what is refused


def _check(scope: Scope, rule: SellingRule) -> None:
    if scope.listing_id is not None and (scope.connection_id is not None or scope.sku_id is not None):
        raise BadInput("A rule is about one listing, or about a SKU and a connection; not about both.")
    problems: dict[str, list[str]] = {}
    for name, value in rule.said.items():
        most = 100 if name in _PERCENT else MOST_UNITS
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            problems[name] = [f"{_LABELS[name]} must be a whole number from 0 to {most:,}, or empty."]
    if scope.listing_id is not None and rule.share_percent is not None:
        problems["share_percent"] = [
            "Stock is shared between channels, not listings: set the share for the channel, or for the SKU there."
        ]
    if problems:
        raise BadInput(" ".join(each for said in problems.values() for each in said), problems)


def _about(connection: Connection, merchant_id: UUID, scope: Scope) -> str:
    """The scope in words. Raises BadInput when something it names does not exist."""
    named = [
        ("“{}”", t.listing.c.title, scope.listing_id),
        ("{}", t.sku.c.code, scope.sku_id),
        ("{}", t.connection.c.label, scope.connection_id),
    ]
    words = []
    for form, name, row_id in named:
        if row_id is None:
            continue
        found = connection.execute(
            select(name).where(name.table.c.merchant_id == merchant_id, name.table.c.id == row_id)
        ).scalar_one_or_none()
        if found is None:
            raise BadInput("What this rule is about does not exist any more. Reload the page.")
        words.append(form.format(found))
    return " at ".join(words) or "everything"
