"""What a person does with connections: connect, reconnect, match listings, adopt opening stock, go live, pause."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, bindparam, case, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from hub.connector import Connector, Kind
from hub.core.model import Account, ChannelLocation, Listing
from hub.errors import BadInput, Conflict
from hub.store import activity, inbox, orders, publications, stock, warehouse
from hub.store import tables as t
from hub.store.database import Database, for_update, in_chunks, new_id, upsert
from hub.store.secrets import KeyRing

# So many listings are matched in one transaction: a large catalogue must not lock the shop out of its own orders.
_MATCHES_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Credentials:
    """The settings of a connection as its schema loads them, and the secret its webhooks may be signed with."""

    settings: Mapping[str, Any]
    webhook_secret: str


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A listing and the SKU its own SKU text suggests. ``unique`` is False when the text stands on several listings
    of the shop: those are matched one by one, not all at once."""

    listing_id: UUID
    title: str
    sku: str
    exists: bool
    unique: bool


# ---------------------------------------------------------------- settings and secrets


def secret_fields(connector: type[Connector]) -> set[str]:
    """The names of the settings that are secret."""
    fields = connector.settings_schema().fields
    return {name for name, each in fields.items() if each.metadata.get("secret")}


def seal(
    keyring: KeyRing, merchant_id: UUID, connection_id: UUID, settings: Mapping[str, Any], webhook_secret: str
) -> bytes:
    """Settings and webhook secret, encrypted for this connection's row."""
    text = json.dumps({"settings": dict(settings), "webhook_secret": webhook_secret})
    return keyring.encrypt(text.encode(), _place(merchant_id, connection_id))


def unseal(
    keyring: KeyRing, merchant_id: UUID, connection_id: UUID, connector: type[Connector], sealed: bytes
) -> Credentials:
    """What ``seal`` encrypted, loaded by the connector's schema."""
    kept = json.loads(keyring.decrypt(sealed, _place(merchant_id, connection_id)))
    return Credentials(connector.settings_schema().load(kept["settings"]), kept["webhook_secret"])


def _place(merchant_id: UUID, connection_id: UUID) -> str:
    return f"connection:{merchant_id}:{connection_id}:secrets"


def _sealed(
    database: Database,
    keyring: KeyRing,
    merchant_id: UUID,
    connection_id: UUID,
    connector: type[Connector],
    settings: Mapping[str, Any],
    old: bytes | None,
) -> tuple[bytes, dict[str, Any]]:
    """The sealed credentials, and the settings that are no secret."""
    plain: dict[str, Any] = connector.settings_schema().dump(settings)
    webhook_secret = (
        json.loads(keyring.decrypt(old, _place(merchant_id, connection_id)))["webhook_secret"]
        if old
        else secrets.token_urlsafe(32)
    )
    hidden = secret_fields(connector)
    return (
        seal(keyring, merchant_id, connection_id, plain, webhook_secret),
        {name: text for name, text in plain.items() if name not in hidden},
    )


# ---------------------------------------------------------------- connecting


def connect(
    database: Database,
    keyring: KeyRing,
    merchant_id: UUID,
    connector: type[Connector],
    label: str,
    settings: Mapping[str, Any],
    actor: str,
) -> tuple[UUID, UUID]:
    """Store a new connection with settings as loaded by the connector's schema, and the task that checks it.

    Returns (connection id, task id). Nothing is imported before the check has passed.
    """
    connection_id = new_id()
    sealed, open_settings = _sealed(database, keyring, merchant_id, connection_id, connector, settings, None)

    def work(connection: Connection) -> UUID:
        at = database.now(connection)
        connection.execute(
            insert(t.connection).values(
                merchant_id=merchant_id,
                id=connection_id,
                connector=connector.name,
                label=label.strip()[:200] or connector.label,
                state="new",
                settings=open_settings,
                created_at=at,
            )
        )
        activity.note(
            connection,
            merchant_id,
            "connection_created",
            f"Connecting {connector.label}",
            at=at,
            connection_id=connection_id,
            actor=actor,
        )
        return _plan_task(connection, merchant_id, connection_id, "check", actor, at, request=sealed)

    return connection_id, database.transact(work)


def reconnect(
    database: Database,
    keyring: KeyRing,
    merchant_id: UUID,
    connection_id: UUID,
    connector: type[Connector],
    settings: Mapping[str, Any],
    actor: str,
) -> UUID:
    """Check new settings for an existing connection; they replace the old ones only when the check passes."""

    def work(connection: Connection) -> UUID:
        row = _row(connection, merchant_id, connection_id, lock=True)
        if row.state == "removed":
            raise Conflict(f"{row.label} was removed. Connect the shop anew.")
        at = database.now(connection)
        sealed, open_settings = _sealed(database, keyring, merchant_id, connection_id, connector, settings, row.secrets)
        if row.state == "new":
            connection.execute(_this(merchant_id, connection_id).values(settings=open_settings))
        return _plan_task(connection, merchant_id, connection_id, "check", actor, at, request=sealed)

    return database.transact(work)


def checked(
    connection: Connection,
    keyring: KeyRing,
    merchant_id: UUID,
    connection_id: UUID,
    connector: type[Connector],
    sealed: bytes,
    account: Account,
    *,
    at: datetime,
    actor: str,
) -> None:
    """The check has passed: keep the settings and the account; of a channel also its locations, and start importing.

    Raises Conflict when the account is connected already, or when it is not the one this connection belongs to.
    """
    row = _row(connection, merchant_id, connection_id, lock=True)
    if row.state == "removed":
        raise Conflict(f"{row.label} was removed meanwhile. Connect the shop anew.")
    if row.account_external_id and row.account_external_id != account.external_id:
        raise Conflict(
            f"These settings reach {account.name}, but this connection belongs to {row.account_name}. "
            "Connect the other account as a connection of its own."
        )
    credentials = json.loads(keyring.decrypt(sealed, _place(merchant_id, connection_id)))
    hidden = secret_fields(connector)
    try:
        connection.execute(
            _this(merchant_id, connection_id).values(
                state="connected",
                settings={name: text for name, text in credentials["settings"].items() if name not in hidden},
                secrets=sealed,
                account_external_id=account.external_id[:300],
                account_name=account.name[:300],
                currency=account.currency[:3],
                checked_at=at,
                error="",
                failures=0,
                not_before=None,
            )
        )
        connection.execute(
            update(t.publication)
            .where(t.publication.c.merchant_id == merchant_id, t.publication.c.connection_id == connection_id)
            .values(not_before=None)
        )
    except IntegrityError as error:
        raise Conflict(f"{account.name} is connected already. Open that connection instead.") from error
    connection.execute(
        delete(t.connection_token).where(
            t.connection_token.c.merchant_id == merchant_id, t.connection_token.c.connection_id == connection_id
        )
    )
    if connector.kind is Kind.CHANNEL:
        _keep_locations(connection, merchant_id, connection_id, account, at)
    for stream in ("listings", "orders") if connector.kind is Kind.CHANNEL else ():
        statement = upsert(connection, t.cursor).values(
            merchant_id=merchant_id, connection_id=connection_id, stream=stream, due_at=at
        )
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["merchant_id", "connection_id", "stream"], set_={"due_at": at, "error": ""}
            )
        )
    activity.resolve_issue(connection, merchant_id, "reconnect", str(connection_id), at=at, by=actor)
    activity.note(
        connection,
        merchant_id,
        "connection_checked",
        f"Connected to {account.name}",
        at=at,
        connection_id=connection_id,
        actor=actor,
        details={"warnings": list(account.warnings)} if account.warnings else None,
    )


def _keep_locations(
    connection: Connection, merchant_id: UUID, connection_id: UUID, account: Account, at: datetime
) -> None:
    place = t.channel_location
    # A channel that names no locations has one stock figure per listing.
    locations = account.locations or (ChannelLocation(external_id="", name=account.name),)
    for each in locations:
        statement = upsert(connection, place).values(
            merchant_id=merchant_id,
            connection_id=connection_id,
            external_id=each.external_id,
            name=each.name[:200],
            active=each.active,
        )
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["merchant_id", "connection_id", "external_id"],
                set_={"name": statement.excluded.name, "active": statement.excluded.active},
            )
        )
    bound = connection.execute(
        select(place.c.external_id).where(
            place.c.merchant_id == merchant_id,
            place.c.connection_id == connection_id,
            place.c.location_id.is_not(None),
        )
    ).first()
    first = next((each for each in locations if each.active), None)
    if bound is None and first is not None:
        # One place to begin with: the shop's first location is the merchant's first. More are bound by a person.
        ours = warehouse.default_location(connection, merchant_id, at=at)
        connection.execute(
            update(place)
            .where(
                place.c.merchant_id == merchant_id,
                place.c.connection_id == connection_id,
                place.c.external_id == first.external_id,
            )
            .values(location_id=ours)
        )
        _sell_from(connection, merchant_id, connection_id, first.external_id, ours, instead_of=None)


def _sell_from(
    connection: Connection,
    merchant_id: UUID,
    connection_id: UUID,
    external_id: str,
    location_id: UUID | None,
    *,
    instead_of: UUID | None,
) -> None:
    """The channel's location sells from this one of ours, no longer from the one it was bound to before.

    What else it sells from stays; bound to none, it sells from none.
    """
    source = t.channel_location_source
    row = {"merchant_id": merchant_id, "connection_id": connection_id, "external_id": external_id}
    here = [source.c[name] == value for name, value in row.items()]
    if location_id is None:
        connection.execute(delete(source).where(*here))
        return
    if instead_of is not None and instead_of != location_id:
        connection.execute(delete(source).where(*here, source.c.location_id == instead_of))
    connection.execute(upsert(connection, source).values(**row, location_id=location_id).on_conflict_do_nothing())


# ---------------------------------------------------------------- the state of a connection


def go_live(database: Database, merchant_id: UUID, connection_id: UUID, actor: str) -> set[UUID]:
    """Allow the hub to write stock to this connection. Raises Conflict when it is not ready for that."""

    def work(connection: Connection) -> set[UUID]:
        row = _row(connection, merchant_id, connection_id, lock=True)
        if row.state != "connected":
            raise Conflict("Connect this shop first: only a working connection can go live.")
        at = database.now(connection)
        if row.live_at is None:
            connection.execute(_this(merchant_id, connection_id).values(live_at=at))
            activity.note(
                connection,
                merchant_id,
                "went_live",
                f"{row.label} is live: the hub writes its stock from now on",
                at=at,
                connection_id=connection_id,
                actor=actor,
            )
        return publications.ensure(connection, merchant_id, at=at, connection_id=connection_id)

    return database.transact(work)


def pause(database: Database, merchant_id: UUID, connection_id: UUID, actor: str) -> None:
    """Stop talking to the shop. What it sends is still stored and read."""
    _change_state(database, merchant_id, connection_id, actor, {"connected"}, "paused", "Paused")


def resume(database: Database, merchant_id: UUID, connection_id: UUID, actor: str) -> None:
    """Talk to the shop again, beginning with what was missed."""
    _change_state(database, merchant_id, connection_id, actor, {"paused"}, "connected", "Resumed")
    sync_now(database, merchant_id, connection_id, actor)


def remove(database: Database, merchant_id: UUID, connection_id: UUID, actor: str) -> None:
    """Forget the credentials and stop everything; orders, ledger and history stay."""
    _change_state(database, merchant_id, connection_id, actor, {"new", "connected", "paused"}, "removed", "Removed")


def _change_state(
    database: Database,
    merchant_id: UUID,
    connection_id: UUID,
    actor: str,
    allowed: set[str],
    state: str,
    word: str,
) -> None:
    def work(connection: Connection) -> None:
        row = _row(connection, merchant_id, connection_id, lock=True)
        if row.state not in allowed:
            raise Conflict(f"{row.label} is {row.state} now. Reload the page.")
        at = database.now(connection)
        values: dict[str, Any] = {"state": state, "error": "", "failures": 0, "not_before": None}
        if state == "removed":
            values |= {"secrets": None, "live_at": None}
            connection.execute(
                update(t.effect)
                .where(
                    t.effect.c.merchant_id == merchant_id,
                    t.effect.c.connection_id == connection_id,
                    t.effect.c.state == "planned",
                )
                .values(state="cancelled", finished_at=at)
            )
            inbox.ignore_pending(connection, merchant_id, connection_id, at=at)
            task = t.task.c
            connection.execute(
                update(t.task)
                .where(
                    task.merchant_id == merchant_id,
                    task.connection_id == connection_id,
                    task.state.in_(["waiting", "running"]),
                )
                .values(state="failed", message="The connection was removed.", request=None, finished_at=at)
            )
            connection.execute(
                delete(t.connection_token).where(
                    t.connection_token.c.merchant_id == merchant_id,
                    t.connection_token.c.connection_id == connection_id,
                )
            )
        connection.execute(_this(merchant_id, connection_id).values(**values))
        activity.note(
            connection,
            merchant_id,
            f"connection_{state}",
            f"{word}: {row.label}",
            at=at,
            connection_id=connection_id,
            actor=actor,
        )

    database.transact(work)


def sync_now(database: Database, merchant_id: UUID, connection_id: UUID, actor: str) -> None:
    """Have orders and listings fetched, and every figure read back, at once."""

    def work(connection: Connection) -> None:
        row = _row(connection, merchant_id, connection_id)
        if row.state != "connected":
            raise Conflict(f"{row.label} is {row.state}. Connect or resume it first.")
        at = database.now(connection)
        cursor = t.cursor.c
        connection.execute(
            update(t.cursor)
            .where(cursor.merchant_id == merchant_id, cursor.connection_id == connection_id)
            .values(due_at=at)
        )
        publication = t.publication.c
        connection.execute(
            update(t.publication)
            .where(publication.merchant_id == merchant_id, publication.connection_id == connection_id)
            .values(verify_at=at, not_before=None)
        )
        activity.note(
            connection,
            merchant_id,
            "sync_now",
            f"Synchronizing {row.label} now",
            at=at,
            connection_id=connection_id,
            actor=actor,
        )

    database.transact(work)


def bind_location(
    database: Database,
    merchant_id: UUID,
    connection_id: UUID,
    external_id: str,
    location_id: UUID | None,
    actor: str,
) -> set[UUID]:
    """Say which of the merchant's locations a channel's location is; None: the hub writes no stock there."""

    def work(connection: Connection) -> set[UUID]:
        at = database.now(connection)
        row = _row(connection, merchant_id, connection_id, lock=True)
        place = _channel_location(connection, merchant_id, connection_id, external_id)
        names = _location_names(connection, merchant_id, [location_id] if location_id is not None else [])
        _refuse_twice(connection, merchant_id, connection_id, external_id, names.keys())
        connection.execute(_this_location(merchant_id, connection_id, external_id).values(location_id=location_id))
        _sell_from(connection, merchant_id, connection_id, external_id, location_id, instead_of=place.location_id)
        bound = f"is {names[location_id]}" if location_id is not None else "is none of ours: no stock is written there"
        activity.note(
            connection,
            merchant_id,
            "location_bound",
            f"“{place.name}” at {row.label} {bound}",
            at=at,
            connection_id=connection_id,
            actor=actor,
        )
        return _show_again(connection, merchant_id, connection_id, external_id, at)

    return database.transact(work)


def pool_locations(
    database: Database,
    merchant_id: UUID,
    connection_id: UUID,
    external_id: str,
    location_ids: Collection[UUID],
    actor: str,
) -> set[UUID]:
    """Have a channel's location sell what lies at all these locations of ours, as one figure; its own among them.

    Returns the connections that have something to publish. Raises BadInput for locations that cannot be, Conflict when
    one of them is sold from elsewhere on this connection.
    """

    def work(connection: Connection) -> set[UUID]:
        at = database.now(connection)
        row = _row(connection, merchant_id, connection_id, lock=True)
        place = _channel_location(connection, merchant_id, connection_id, external_id)
        names = _location_names(connection, merchant_id, location_ids)
        if place.location_id is None:
            raise Conflict(f"Say first which of your locations “{place.name}” is. Then choose what else it sells from.")
        if place.location_id not in names:
            own = _location_names(connection, merchant_id, [place.location_id])[place.location_id]
            raise BadInput(
                f"“{place.name}” is {own} and always sells from it. Choose it, too, or bind “{place.name}” to another.",
                {"location_ids": [f"Choose {own}, too."]},
            )
        _refuse_twice(connection, merchant_id, connection_id, external_id, names.keys())
        source = t.channel_location_source
        key = {"merchant_id": merchant_id, "connection_id": connection_id, "external_id": external_id}
        here = [source.c[name] == value for name, value in key.items()]
        before = set(connection.execute(select(source.c.location_id).where(*here)).scalars())
        if before == names.keys():
            return set()
        connection.execute(delete(source).where(*here))
        connection.execute(insert(source), [key | {"location_id": location_id} for location_id in sorted(names)])
        activity.note(
            connection,
            merchant_id,
            "locations_pooled",
            f"“{place.name}” at {row.label} sells from {', '.join(sorted(names.values()))}",
            at=at,
            connection_id=connection_id,
            actor=actor,
        )
        return _show_again(connection, merchant_id, connection_id, external_id, at)

    return database.transact(work)


def _channel_location(connection: Connection, merchant_id: UUID, connection_id: UUID, external_id: str) -> Row[Any]:
    place = t.channel_location.c
    found = connection.execute(
        select(t.channel_location).where(
            place.merchant_id == merchant_id, place.connection_id == connection_id, place.external_id == external_id
        )
    ).one_or_none()
    if found is None:
        raise BadInput("This location does not exist at the shop any more. Reload the page.")
    return found


def _location_names(connection: Connection, merchant_id: UUID, location_ids: Collection[UUID]) -> dict[UUID, str]:
    location = t.location.c
    asked = set(location_ids)
    rows = select(location.id, location.name).where(location.merchant_id == merchant_id, location.id.in_(asked))
    names = {row.id: row.name for row in connection.execute(rows)}
    if asked - names.keys():
        raise BadInput("This location does not exist. Reload the page.")
    return names


def _refuse_twice(
    connection: Connection, merchant_id: UUID, connection_id: UUID, external_id: str, location_ids: Collection[UUID]
) -> None:
    """One of our locations may feed one place of a shop only, or the shop would add up the same units twice."""
    source, place = t.channel_location_source.c, t.channel_location.c
    taken = connection.execute(
        select(place.name)
        .select_from(
            t.channel_location_source.join(
                t.channel_location,
                (place.merchant_id == source.merchant_id)
                & (place.connection_id == source.connection_id)
                & (place.external_id == source.external_id),
            )
        )
        .where(
            source.merchant_id == merchant_id,
            source.connection_id == connection_id,
            source.external_id != external_id,
            source.location_id.in_(list(location_ids)),
        )
        .order_by(place.name)
        .limit(1)
    ).scalar_one_or_none()
    if taken is not None:
        raise Conflict(
            f"“{taken}” is bound to that location already: its stock would be published twice. "
            f"Take it away from “{taken}” first, or choose another one."
        )


def _show_again(
    connection: Connection, merchant_id: UUID, connection_id: UUID, external_id: str, at: datetime
) -> set[UUID]:
    """Have every figure at a channel's location published again."""
    publication = t.publication.c
    cause = {"cause": "location_bound", "reference": external_id, "order_id": None, "at": at.isoformat()}
    changed = connection.execute(
        update(t.publication)
        .where(
            publication.merchant_id == merchant_id,
            publication.connection_id == connection_id,
            publication.location_external_id == external_id,
        )
        .values(
            version=publication.version + 1,
            dirty_since=case((publication.version > publication.published_version, publication.dirty_since), else_=at),
            cause=cause,
        )
    )
    touched = {connection_id} if changed.rowcount else set()
    return touched | publications.ensure(connection, merchant_id, at=at, connection_id=connection_id)


def _this_location(merchant_id: UUID, connection_id: UUID, external_id: str) -> Any:
    place = t.channel_location.c
    return update(t.channel_location).where(
        place.merchant_id == merchant_id, place.connection_id == connection_id, place.external_id == external_id
    )


# ---------------------------------------------------------------- listings


def keep_listings(
    connection: Connection, merchant_id: UUID, connection_id: UUID, listings: Sequence[Listing], *, at: datetime
) -> None:
    """Store listings as the channel tells them, in the caller's transaction. A match to a SKU is never touched."""
    if not listings:
        return
    # A record read twice in one batch counts once, with its last word.
    latest = {each.external_id: each for each in listings}
    statement = upsert(connection, t.listing)
    told = {
        name: statement.excluded[name]
        for name in ("sku_text", "title", "barcode", "tracked", "active", "handles", "imported_at")
    }
    # Webhooks tell no currency, and so no price: the one that is known stays.
    told["price"] = func.coalesce(statement.excluded.price, t.listing.c.price)
    told["currency"] = case(
        (statement.excluded.price.is_(None), t.listing.c.currency), else_=statement.excluded.currency
    )
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
                "sku_text": each.sku[:200],
                "title": each.title[:500],
                "barcode": each.barcode[:100],
                "tracked": each.tracked,
                "active": each.active,
                "price": str(each.price.amount) if each.price else None,
                "currency": each.price.currency if each.price else "",
                "handles": dict(each.handles),
                "imported_at": at,
            }
            for each in latest.values()
        ],
    )
    publications.ensure(connection, merchant_id, at=at, connection_id=connection_id)


def retire_listings(
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


def suggestions(connection: Connection, merchant_id: UUID, connection_id: UUID) -> list[Suggestion]:
    """The connection's unmatched listings that carry a SKU text, and what it suggests."""
    listing = t.listing.c
    text = func.trim(listing.sku_text)
    alike = (
        select(
            listing.id,
            listing.sku_id,
            listing.title,
            text.label("sku"),
            func.count().over(partition_by=text).label("times"),
        )
        .where(listing.merchant_id == merchant_id, listing.connection_id == connection_id, listing.active, text != "")
        .subquery()
    )
    rows = connection.execute(
        select(alike.c.id, alike.c.title, alike.c.sku, alike.c.times, t.sku.c.id.label("ours"))
        .select_from(alike.outerjoin(t.sku, (t.sku.c.merchant_id == merchant_id) & (t.sku.c.code == alike.c.sku)))
        .where(alike.c.sku_id.is_(None))
        .order_by(alike.c.sku, alike.c.id)
    )
    return [Suggestion(row.id, row.title, row.sku, row.ours is not None, row.times == 1) for row in rows]


def accept_suggestions(
    database: Database,
    merchant_id: UUID,
    connection_id: UUID,
    listing_ids: Iterable[UUID] | None,
    actor: str,
) -> int:
    """Match listings to the SKUs their own texts suggest, making SKUs that do not exist; returns how many.

    ``listing_ids`` None means every suggestion that is unique within the shop.
    """
    with database.read() as connection:
        offered = suggestions(connection, merchant_id, connection_id)
    chosen = set(listing_ids) if listing_ids is not None else None
    matches = [
        (each.listing_id, each.sku)
        for each in offered
        if (each.unique if chosen is None else each.listing_id in chosen)
    ]
    matched = 0
    for some in in_chunks(matches, _MATCHES_AT_ONCE):

        def work(connection: Connection, some: list[tuple[UUID, str]] = some) -> int:
            # What a person has matched meanwhile stays as it is.
            listing = t.listing.c
            open_ones = select(listing.id).where(
                listing.merchant_id == merchant_id,
                listing.id.in_([each for each, _ in some]),
                listing.sku_id.is_(None),
            )
            still = set(connection.execute(for_update(connection, open_ones.order_by(listing.id))).scalars())
            left = [each for each in some if each[0] in still]
            if left:
                _match(database, connection, merchant_id, left, actor)
            return len(left)

        matched += database.transact(work)
    return matched


def bind(database: Database, merchant_id: UUID, listing_id: UUID, sku_code: str, actor: str) -> None:
    """Match one listing to the SKU ``sku_code``, made if it does not exist. Waiting order lines get their stock."""
    code = sku_code.strip()
    if not code or len(code) > 200 or not code.isprintable():
        raise BadInput("Enter a SKU of 1 to 200 characters.", {"sku": ["Enter a SKU."]})
    database.transact(lambda connection: _match(database, connection, merchant_id, [(listing_id, code)], actor))


def unbind(database: Database, merchant_id: UUID, listing_id: UUID, actor: str) -> None:
    """Undo a match. Orders imported meanwhile keep their reservations; the listing is published no more."""

    def work(connection: Connection) -> None:
        listing = t.listing.c
        row = connection.execute(
            update(t.listing)
            .where(listing.merchant_id == merchant_id, listing.id == listing_id, listing.sku_id.is_not(None))
            .values(sku_id=None, bound_at=None, bound_by="")
            .returning(listing.title, listing.connection_id)
        ).one_or_none()
        if row is None:
            raise Conflict("This listing is not matched any more. Reload the page.")
        activity.note(
            connection,
            merchant_id,
            "listing_unmatched",
            f"“{row.title}” is not matched any more",
            at=database.now(connection),
            connection_id=row.connection_id,
            actor=actor,
        )

    database.transact(work)


def _match(
    database: Database, connection: Connection, merchant_id: UUID, matches: Sequence[tuple[UUID, str]], actor: str
) -> None:
    at = database.now(connection)
    listing = t.listing.c
    rows = {
        row.id: row
        for row in connection.execute(
            for_update(
                connection,
                select(t.listing)
                .where(listing.merchant_id == merchant_id, listing.id.in_([each for each, _ in matches]))
                .order_by(listing.id),
            )
        )
    }
    matches = [(listing_id, code) for listing_id, code in matches if listing_id in rows]
    if not matches:
        raise BadInput("This listing does not exist. Reload the page.")
    titles = {code: rows[listing_id].title for listing_id, code in matches}
    connection.execute(
        upsert(connection, t.sku)
        .values(
            [
                {"merchant_id": merchant_id, "id": new_id(), "code": code, "title": titles[code], "created_at": at}
                for code in sorted(titles)
            ]
        )
        .on_conflict_do_nothing(index_elements=["merchant_id", "code"])
    )
    sku_of = dict(
        connection.execute(
            select(t.sku.c.code, t.sku.c.id).where(t.sku.c.merchant_id == merchant_id, t.sku.c.code.in_(list(titles)))
        ).all()
    )
    bound: dict[UUID, dict[str, UUID]] = {}
    for listing_id, code in matches:
        row = rows[listing_id]
        bound.setdefault(row.connection_id, {})[row.external_id] = sku_of[code]
    connection.execute(
        update(t.listing)
        .where(listing.merchant_id == merchant_id, listing.id == bindparam("this_listing"))
        .values(sku_id=bindparam("its_sku"), bound_at=at, bound_by=actor),
        [{"this_listing": listing_id, "its_sku": sku_of[code]} for listing_id, code in sorted(matches)],
    )
    for connection_id, skus in sorted(bound.items()):
        subjects = [f"{connection_id}/{external_id}" for external_id in skus]
        activity.resolve_issues(connection, merchant_id, "unmatched_listing", subjects, at=at, by=actor)
        orders.bind_lines(connection, merchant_id, connection_id, skus, at=at)
        (first, code), *others = [each for each in matches if rows[each[0]].connection_id == connection_id]
        activity.note(
            connection,
            merchant_id,
            "listing_matched",
            f"{len(others) + 1} listings matched to the SKUs they carry"
            if others
            else f"“{rows[first].title}” is matched to SKU {code}",
            at=at,
            connection_id=connection_id,
            actor=actor,
        )
    publication = t.publication.c
    connection.execute(
        update(t.publication)
        .where(publication.merchant_id == merchant_id, publication.listing_id.in_([each for each, _ in matches]))
        .values(version=publication.version + 1, dirty_since=stock.first_change(at))
    )
    publications.ensure(connection, merchant_id, at=at, sku_ids=set(sku_of.values()))


def adopt_stock(database: Database, merchant_id: UUID, connection_id: UUID, actor: str) -> UUID:
    """Take the opening stock of every matched SKU that is not counted yet from this connection; returns the task."""

    def work(connection: Connection) -> UUID:
        row = _row(connection, merchant_id, connection_id, lock=True)
        if row.state != "connected":
            raise Conflict("Connect this shop first: opening stock is read from it.")
        open_task: UUID | None = connection.execute(
            select(t.task.c.id).where(
                t.task.c.merchant_id == merchant_id,
                t.task.c.connection_id == connection_id,
                t.task.c.kind == "adopt",
                t.task.c.state.in_(["waiting", "running"]),
            )
        ).scalar_one_or_none()
        if open_task is not None:
            return open_task
        return _plan_task(connection, merchant_id, connection_id, "adopt", actor, database.now(connection))

    return database.transact(work)


def _plan_task(
    connection: Connection,
    merchant_id: UUID,
    connection_id: UUID,
    kind: str,
    actor: str,
    at: datetime,
    *,
    request: bytes | None = None,
) -> UUID:
    task_id = new_id()
    connection.execute(
        insert(t.task).values(
            merchant_id=merchant_id,
            id=task_id,
            connection_id=connection_id,
            kind=kind,
            state="waiting",
            request=request,
            actor=actor,
            message="Waiting for a worker…",
            due_at=at,
            created_at=at,
        )
    )
    return task_id


def _row(connection: Connection, merchant_id: UUID, connection_id: UUID, *, lock: bool = False) -> Row[Any]:
    statement = select(t.connection).where(
        t.connection.c.merchant_id == merchant_id, t.connection.c.id == connection_id
    )
    row = connection.execute(for_update(connection, statement) if lock else statement).one_or_none()
    if row is None:
        raise BadInput("This connection does not exist.")
    return row


def _this(merchant_id: UUID, connection_id: UUID) -> Any:
    return update(t.connection).where(t.connection.c.merchant_id == merchant_id, t.connection.c.id == connection_id)
