"""What a person does with connections: connect, reconnect, match listings, adopt opening stock, go live, pause."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, case, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from hub import access
from hub.access import Permission
from hub.connector import Connector, Kind, Token
from hub.core.model import Account, ChannelLocation
from hub.core.sentences import enumerated
from hub.errors import BadInput, Conflict
from hub.store import (
    activity,
    exchanges,
    holds,
    inbox,
    labels,
    pictures,
    publications,
    routing_queue,
    vault,
    warehouse,
)
from hub.store import tables as t
from hub.store.database import Database, for_update, in_chunks, new_id, upsert
from hub.store.locking import lock_orders
from hub.store.secrets import KeyRing

KEPT_AFTER_REMOVAL = timedelta(days=90)
_UNTIL_SUBSCRIBED = timedelta(minutes=5)  # before anybody looks whether the webhooks come that were just asked for


@dataclass(frozen=True, slots=True)
class Credentials:
    """The settings of a connection as its schema loads them, and the secret its webhooks may be signed with.

    ``mappings`` and ``features`` are those of ``Context``. ``routes`` lead to its vendor, and it can be reached by no
    other way; None: by its own address, or where the operator's routes lead.
    """

    settings: Mapping[str, Any]
    webhook_secret: str
    mappings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    features: Mapping[str, str] = field(default_factory=dict)
    routes: Mapping[str, str] | None = None


# ---------------------------------------------------------------- settings and secrets


def secret_fields(connector: type[Connector]) -> set[str]:
    """The names of the settings that are secret."""
    return _fields_with(connector, "secret")


def secrets_of(connector: type[Connector], credentials: Credentials) -> Iterator[str]:
    """What may stand in no log: the settings that are secret, and what its webhooks may be signed with."""
    for name in secret_fields(connector):
        if isinstance(secret := credentials.settings.get(name), str) and secret:
            yield secret
    yield credentials.webhook_secret


def _fields_with(connector: type[Connector], mark: str) -> set[str]:
    fields = connector.settings_schema().fields
    return {name for name, each in fields.items() if each.metadata.get(mark)}


def seal(
    keyring: KeyRing,
    merchant_id: UUID,
    connection_id: UUID,
    settings: Mapping[str, Any],
    webhook_secret: str,
    **more: Any,
) -> bytes:
    """Settings and webhook secret, encrypted for this connection's row."""
    text = json.dumps({"settings": dict(settings), "webhook_secret": webhook_secret, **more})
    return keyring.encrypt(text.encode(), _place(merchant_id, connection_id))


def unseal(
    keyring: KeyRing, merchant_id: UUID, connection_id: UUID, connector: type[Connector], sealed: bytes
) -> Credentials:
    """What ``seal`` encrypted, loaded by the connector's schema; of a removed connection what is left of it."""
    kept = _opened(keyring, merchant_id, connection_id, sealed)
    schema = connector.settings_schema()
    if kept.get("removed"):
        # Too little is left for the schema to make sense of: texts as they are, and nothing for the rest.
        return Credentials(dict.fromkeys(schema.fields, "") | kept["settings"], kept["webhook_secret"])
    return Credentials(schema.load(kept["settings"]), kept["webhook_secret"])


def tokens_in(keyring: KeyRing, merchant_id: UUID, connection_id: UUID, sealed: bytes) -> dict[str, Token]:
    """The tokens that an earlier attempt at this check has obtained already."""
    kept = _opened(keyring, merchant_id, connection_id, sealed).get("tokens", {})

    def moment(text: str | None) -> datetime | None:
        return None if text is None else datetime.fromisoformat(text)

    return {
        name: Token(value, moment(ends), refresh, moment(refresh_ends))
        for name, (value, ends, refresh, refresh_ends) in kept.items()
    }


def with_tokens(
    keyring: KeyRing, merchant_id: UUID, connection_id: UUID, sealed: bytes, tokens: Mapping[str, Token]
) -> bytes:
    """The same settings, with what was obtained with them: a code that is good for once cannot be sent again."""
    kept = _opened(keyring, merchant_id, connection_id, sealed)

    def text(moment: datetime | None) -> str | None:
        return None if moment is None else moment.isoformat()

    told = {
        name: (each.value, text(each.expires_at), each.refresh_token, text(each.refresh_expires_at))
        for name, each in tokens.items()
    }
    return seal(keyring, merchant_id, connection_id, kept["settings"], kept["webhook_secret"], tokens=told)


def _opened(keyring: KeyRing, merchant_id: UUID, connection_id: UUID, sealed: bytes) -> dict[str, Any]:
    kept: dict[str, Any] = json.loads(keyring.decrypt(sealed, _place(merchant_id, connection_id)))
    return kept


def _place(merchant_id: UUID, connection_id: UUID) -> str:
    return f"connection:{merchant_id}:{connection_id}:secrets"


def _sealed(
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
        _opened(keyring, merchant_id, connection_id, old)["webhook_secret"] if old else secrets.token_urlsafe(32)
    )
    hidden = secret_fields(connector)
    return (
        seal(keyring, merchant_id, connection_id, plain, webhook_secret),
        {name: text for name, text in plain.items() if name not in hidden},
    )


# ---------------------------------------------------------------- connecting


@access.needs(Permission.CONNECT)
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
    return database.transact(
        lambda connection: connect_within(
            connection, keyring, merchant_id, connector, label, settings, actor, at=database.now(connection)
        )
    )


def connect_within(
    connection: Connection,
    keyring: KeyRing,
    merchant_id: UUID,
    connector: type[Connector],
    label: str,
    settings: Mapping[str, Any],
    actor: str,
    *,
    at: datetime,
) -> tuple[UUID, UUID]:
    """``connect``, in the caller's transaction. Raises Conflict while the merchant has a sandbox."""
    # Whoever opens a sandbox locks this row, too: there are simulated connections, or real ones.
    connection.execute(for_update(connection, select(t.merchant.c.id).where(t.merchant.c.id == merchant_id)))
    if connection.execute(select(t.sandbox.c.merchant_id).where(t.sandbox.c.merchant_id == merchant_id)).first():
        raise Conflict(
            "The sandbox is open, and its simulated shops never share anything with a real one. Remove the sandbox "
            "first, on the home page; then connect."
        )
    return keep_new(connection, keyring, merchant_id, connector, label, settings, actor, at=at)


def keep_new(
    connection: Connection,
    keyring: KeyRing,
    merchant_id: UUID,
    connector: type[Connector],
    label: str,
    settings: Mapping[str, Any],
    actor: str,
    *,
    at: datetime,
    **more: Any,
) -> tuple[UUID, UUID]:
    """Store a connection that may be, and its check; ``more`` are further columns of its row."""
    connection_id = new_id()
    sealed, open_settings = _sealed(keyring, merchant_id, connection_id, connector, settings, None)
    connection.execute(
        insert(t.connection).values(
            merchant_id=merchant_id,
            id=connection_id,
            connector=connector.name,
            kind=connector.kind.value,
            label=label.strip()[:200] or connector.label,
            state="new",
            settings=open_settings,
            created_at=at,
            **more,
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
    return connection_id, plan_task(connection, merchant_id, connection_id, "check", actor, at, request=sealed)


@access.needs(Permission.CONNECT)
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
    return database.transact(
        lambda connection: reconnect_within(
            connection, keyring, merchant_id, connection_id, connector, settings, actor, at=database.now(connection)
        )
    )


def reconnect_within(
    connection: Connection,
    keyring: KeyRing,
    merchant_id: UUID,
    connection_id: UUID,
    connector: type[Connector],
    settings: Mapping[str, Any],
    actor: str,
    *,
    at: datetime,
) -> UUID:
    """``reconnect``, in the caller's transaction."""
    row = row_of(connection, merchant_id, connection_id, lock=True)
    if row.state == "removed":
        raise Conflict(f"{row.label} was removed. Connect the shop anew.")
    sealed, open_settings = _sealed(keyring, merchant_id, connection_id, connector, settings, row.secrets)
    if row.state == "new":
        connection.execute(_this(merchant_id, connection_id).values(settings=open_settings))
    return plan_task(connection, merchant_id, connection_id, "check", actor, at, request=sealed)


def checked(
    connection: Connection,
    keyring: KeyRing,
    merchant_id: UUID,
    connection_id: UUID,
    connector: type[Connector],
    sealed: bytes,
    account: Account,
    tokens: Mapping[str, Token],
    *,
    at: datetime,
    actor: str,
) -> None:
    """The check has passed: keep the settings, the account and the tokens it was reached with.

    Of a channel also its locations; its importing starts. Each place of a 3PL gets a location of ours.

    Raises Conflict when the account is connected already, or when it is not the one this connection belongs to.
    """
    row = row_of(connection, merchant_id, connection_id, lock=True)
    if row.state == "removed":
        raise Conflict(f"{row.label} was removed meanwhile. Connect the shop anew.")
    if row.account_external_id and row.account_external_id != account.external_id:
        raise Conflict(
            f"These settings reach {account.name}, but this connection belongs to {row.account_name}. "
            "Connect the other account as a connection of its own."
        )
    credentials = _opened(keyring, merchant_id, connection_id, sealed)
    plain, webhook_secret = credentials["settings"], credentials["webhook_secret"]
    hidden = secret_fields(connector)
    if _replaced(keyring, row, plain, hidden):
        connection.execute(_this(merchant_id, connection_id).values(secrets_at=at))
        activity.resolve_issue(connection, merchant_id, SECRETS_DUE, str(connection_id), at=at, by=actor)
    try:
        connection.execute(
            _this(merchant_id, connection_id).values(
                **_GOES_ON,
                state="connected",
                settings={name: text for name, text in plain.items() if name not in hidden},
                secrets=seal(keyring, merchant_id, connection_id, plain, webhook_secret),
                account_external_id=account.external_id[:300],
                account_name=account.name[:300],
                currency=account.currency[:3],
                checked_at=at,
                features=dict(account.features),
                words={kind: dict(words) for kind, words in account.words.items()},
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
    vault.replace(connection, keyring, merchant_id, connection_id, tokens)
    if connector.kind is Kind.CHANNEL:
        _keep_locations(connection, merchant_id, connection_id, account, at)
    if connector.kind is Kind.PROVIDER:
        _keep_warehouses(connection, merchant_id, connection_id, connector.label, account, at)
    streams = dict.fromkeys(STREAMS[connector.kind], at)
    queue = has_queue(connector, connector.settings_schema().load(plain))
    if queue:
        streams[MESSAGES] = at
    if (queue or connector.capabilities.webhooks) and (streams or "subscribe_webhooks" in connector.effects):
        streams["webhooks"] = at + _UNTIL_SUBSCRIBED
    for stream, due_at in streams.items():
        statement = upsert(connection, t.cursor).values(
            merchant_id=merchant_id, connection_id=connection_id, stream=stream, due_at=due_at
        )
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["merchant_id", "connection_id", "stream"],
                set_={"due_at": due_at, "error": ""},
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


def has_queue(connector: type[Connector], settings: Mapping[str, Any]) -> bool:
    """Whether the vendor leaves its messages for these settings, as loaded by the schema, in a queue."""
    if getattr(connector.capabilities, "message_poll_seconds", None) is None:
        return False
    return connector.queue_address(settings) is not None


# Rows of the table cursor that are not polled like the others.
MESSAGES = "messages"  # a queue, which has a lane of its own
ONE = "one "  # and a kind: until then no single record of it is asked for, because the budget for that is spent


def _replaced(keyring: KeyRing, row: Row[Any], plain: Mapping[str, Any], hidden: Collection[str]) -> bool:
    """Whether these settings bring other secrets than the connection has."""
    if row.secrets is None or row.secrets_at is None:
        return True
    before = _opened(keyring, row.merchant_id, row.id, row.secrets)["settings"]
    return any(before.get(name) != plain.get(name) for name in hidden)


SECRETS_DUE = "secrets_due"  # the kind of issue; the subject is the connection's id
_REMINDED_BEFORE = timedelta(days=21)


def remind_of_secrets(database: Database, connector: type[Connector], days: int) -> None:
    """Ask for new secrets of each connection whose vendor wants them replaced soon; once for those it has."""
    shop, issue = t.connection.c, t.issue.c
    with database.write() as connection:
        at = database.now(connection)
        due = connection.execute(
            select(shop.merchant_id, shop.id, shop.label, shop.secrets_at).where(
                shop.connector == connector.name,
                shop.state.in_(["connected", "paused"]),
                shop.secrets_at <= at + _REMINDED_BEFORE - timedelta(days=days),
            )
        ).all()
        for row in due:
            told = select(issue.id).where(
                issue.merchant_id == row.merchant_id,
                issue.kind == SECRETS_DUE,
                issue.subject == str(row.id),
                issue.opened_at >= row.secrets_at,
            )
            if connection.execute(told.limit(1)).first() is not None:
                continue  # a person has seen it, and may have put it aside
            until = row.secrets_at + timedelta(days=days)
            activity.raise_issue(
                connection,
                row.merchant_id,
                SECRETS_DUE,
                str(row.id),
                f"The keys of {row.label} have to be replaced by {until:%d %B %Y}",
                f"{connector.label} wants new ones every {days} days. Make new ones there, then enter them under "
                "Reconnect.",
                at=at,
                connection_id=row.id,
                link=f"/connections/{row.id}",
            )


# What is polled of a connection, by its kind.
STREAMS: Mapping[Kind, tuple[str, ...]] = {
    Kind.CHANNEL: ("listings", "orders"),
    Kind.PROVIDER: ("shipments", "stock"),
    Kind.CARRIER: (),
}


def _keep_warehouses(
    connection: Connection, merchant_id: UUID, connection_id: UUID, label: str, account: Account, at: datetime
) -> None:
    """The places of a 3PL; each that is new gets a location of ours, from which the 3PL ships."""
    place = t.channel_location.c
    # One that names no places has one warehouse.
    places = account.locations or (ChannelLocation(external_id="", name=""),)
    known = set(
        connection.execute(
            select(place.external_id).where(place.merchant_id == merchant_id, place.connection_id == connection_id)
        ).scalars()
    )
    for each in places:
        row = {"merchant_id": merchant_id, "connection_id": connection_id, "external_id": each.external_id}
        told = {"name": (each.name or label)[:200], "active": each.active}
        if each.external_id in known:
            here = [place[name] == value for name, value in row.items()]
            connection.execute(update(t.channel_location).where(*here).values(**told))
            continue
        ours = warehouse.location_called(connection, merchant_id, f"{label} {each.name}".strip(), at=at)
        connection.execute(insert(t.channel_location).values(**row, **told, location_id=ours))
        _sell_from(connection, merchant_id, connection_id, each.external_id, ours, instead_of=None)
    gone = known - {each.external_id for each in places}
    if gone:
        connection.execute(
            update(t.channel_location)
            .where(
                place.merchant_id == merchant_id,
                place.connection_id == connection_id,
                place.external_id.in_(gone),
            )
            .values(active=False)
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


@access.needs(Permission.CONNECT)
def go_live(database: Database, merchant_id: UUID, connection_id: UUID, actor: str) -> set[UUID]:
    """Allow the hub to write stock to this connection. Raises Conflict when it is not ready for that."""

    def work(connection: Connection) -> set[UUID]:
        row = row_of(connection, merchant_id, connection_id, lock=True)
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


@access.needs(Permission.SYNC)
def pause(database: Database, merchant_id: UUID, connection_id: UUID, actor: str, why: str = "") -> None:
    """Stop talking to the shop. What it sends is still stored and read. ``why`` is for whoever finds it paused."""
    why = why.strip()[:300]
    _change_state(database, merchant_id, connection_id, actor, {"connected"}, "paused", "Paused", why=why)


@access.needs(Permission.SYNC)
def resume(database: Database, merchant_id: UUID, connection_id: UUID, actor: str) -> None:
    """Talk to the shop again, beginning with what was missed."""
    _change_state(database, merchant_id, connection_id, actor, {"paused"}, "connected", "Resumed")
    sync_now(database, merchant_id, connection_id, actor)


@access.needs(Permission.CONNECT)
def remove(
    database: Database,
    merchant_id: UUID,
    connection_id: UUID,
    actor: str,
    *,
    keyring: KeyRing,
    connector: type[Connector] | None,
) -> None:
    """Forget the credentials and stop everything; orders, ledger and history stay.

    Of the credentials only the settings marked ``signs`` stay, for KEPT_AFTER_REMOVAL: by them what the vendor still
    has to say about its customers' data is recognized. ``connector`` is None where its plugin is gone.
    """
    allowed = {"new", "connected", "paused"}

    def left(row: Row[Any]) -> bytes | None:
        signing = _fields_with(connector, "signs") if connector is not None else set()
        if row.secrets is None or not signing:
            return None
        settings = _opened(keyring, merchant_id, connection_id, row.secrets)["settings"]
        kept = {name: settings[name] for name in signing if name in settings} | row.settings
        return seal(keyring, merchant_id, connection_id, kept, "", removed=True)

    _change_state(database, merchant_id, connection_id, actor, allowed, "removed", "Removed", left)


def forget_removed(database: Database) -> None:
    """Forget what was kept of connections that were removed KEPT_AFTER_REMOVAL ago."""
    shop = t.connection.c
    with database.write() as connection:
        before = database.now(connection) - KEPT_AFTER_REMOVAL
        connection.execute(
            update(t.connection)
            .where(shop.state == "removed", shop.secrets.is_not(None), shop.removed_at < before)
            .values(secrets=None)
        )


_GOES_ON: Mapping[str, Any] = {"paused_at": None, "paused_by": "", "paused_why": ""}


def _change_state(
    database: Database,
    merchant_id: UUID,
    connection_id: UUID,
    actor: str,
    allowed: set[str],
    state: str,
    word: str,
    left: Callable[[Row[Any]], bytes | None] = lambda row: row.secrets,
    why: str = "",
) -> None:
    def work(connection: Connection) -> None:
        row = row_of(connection, merchant_id, connection_id, lock=True)
        if row.state not in allowed:
            raise Conflict(f"{row.label} is {row.state} now. Reload the page.")
        at = database.now(connection)
        values: dict[str, Any] = {"state": state, "error": "", "failures": 0, "not_before": None, "secrets": left(row)}
        values |= {"paused_at": at, "paused_by": actor, "paused_why": why} if state == "paused" else _GOES_ON
        if state == "removed":
            values |= {"live_at": None, "removed_at": at}
            cancelled = connection.execute(
                update(t.effect)
                .where(
                    t.effect.c.merchant_id == merchant_id,
                    t.effect.c.connection_id == connection_id,
                    t.effect.c.state == "planned",
                )
                .values(state="cancelled", finished_at=at)
                .returning(t.effect.c.kind, t.effect.c.ordering_key, t.effect.c.sent_at, t.effect.c.order_id)
            ).all()
            _go_on(connection, merchant_id, cancelled, at)
            unsent = [each.ordering_key for each in cancelled if each.kind == "submit" and each.sent_at is None]
            _give_back(connection, merchant_id, connection_id, unsent, at)
            _tell_of_orders_in_hand(connection, row, at)
            labels.carrier_removed(connection, merchant_id, connection_id, cancelled, at=at)
            inbox.ignore_pending(connection, merchant_id, connection_id, at=at)
            exchanges.forget_connections(connection, merchant_id, [connection_id])
            pictures.hide(connection, merchant_id, connection_id)
            task = t.task.c
            connection.execute(
                update(t.task)
                .where(
                    task.merchant_id == merchant_id,
                    task.connection_id == connection_id,
                    task.state.in_(["waiting", "running"]),
                    task.kind != "erase",  # what is to be forgotten is forgotten all the same
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
            f"{word}: {row.label}{f' ({why})' if why else ''}",
            at=at,
            connection_id=connection_id,
            actor=actor,
        )

    database.transact(work)


def _go_on(connection: Connection, merchant_id: UUID, cancelled: Collection[Row[Any]], at: datetime) -> None:
    """Orders that a shop that is removed will never be asked to cancel are not held for it."""
    order_ids = {each.order_id for each in cancelled if each.kind == "cancel_order"}
    lock_orders(connection, merchant_id, list(order_ids))
    for order_id in sorted(order_ids):
        holds.not_cancelled(connection, merchant_id, order_id, at=at)


def _give_back(
    connection: Connection, merchant_id: UUID, connection_id: UUID, ordering_keys: Collection[str], at: datetime
) -> None:
    """What a 3PL that is removed was never asked for is dealt out anew."""
    work = t.fulfillment_order.c
    references = [key.partition("/")[2] for key in ordering_keys]
    for some in in_chunks(references):
        these = (
            work.merchant_id == merchant_id,
            work.connection_id == connection_id,
            work.reference.in_(some),
            work.closed_at.is_(None),
        )
        # The orders first, as everybody locks them: a location may be working on another part of one.
        lock_orders(connection, merchant_id, connection.execute(select(work.order_id).where(*these)).scalars().all())
        order_ids = connection.execute(
            update(t.fulfillment_order)
            .where(*these)
            .values(state="cancelled", message="The 3PL was removed.", closed_at=at, updated_at=at)
            .returning(work.order_id)
        ).scalars()
        routing_queue.mark(connection, merchant_id, set(order_ids), at=at)


IN_HAND = "3pl_removed_with_orders"  # the kind of issue; the subject is the connection's id
_MOST_NAMED = 20


def _tell_of_orders_in_hand(connection: Connection, row: Row[Any], at: datetime) -> None:
    """A 3PL that is removed may still ship what it was asked for, and nobody hears of it: a person is told what."""
    work, order = t.fulfillment_order.c, t.sales_order.c
    numbers = list(
        connection.execute(
            select(order.number)
            .distinct()
            .join(t.fulfillment_order, (work.merchant_id == order.merchant_id) & (work.order_id == order.id))
            .where(work.merchant_id == row.merchant_id, work.connection_id == row.id, work.closed_at.is_(None))
            .order_by(order.number)
        ).scalars()
    )
    if not numbers:
        return
    count = f"{len(numbers)} order{'' if len(numbers) == 1 else 's'}"
    activity.raise_issue(
        connection,
        row.merchant_id,
        IN_HAND,
        str(row.id),
        f"{row.label} was removed with {count} in hand: {enumerated(numbers, _MOST_NAMED)}",
        "Ask the 3PL which of them it ships, and say so in the shop. Take the others back on their pages.",
        at=at,
        connection_id=row.id,
        link=f"/connections/{row.id}",
    )


@access.needs(Permission.SYNC)
def sync_now(database: Database, merchant_id: UUID, connection_id: UUID, actor: str) -> None:
    """Have orders and listings fetched, and every figure read back, at once."""

    def work(connection: Connection) -> None:
        row = row_of(connection, merchant_id, connection_id)
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
        pending = t.pending_push.c
        connection.execute(
            update(t.pending_push)
            .where(pending.merchant_id == merchant_id, pending.connection_id == connection_id)
            .values(ask_at=at)
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


@access.needs(Permission.SYNC)
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
        row = row_of(connection, merchant_id, connection_id, lock=True)
        place = _channel_location(connection, merchant_id, connection_id, external_id)
        names = _location_names(connection, merchant_id, [location_id] if location_id is not None else [])
        if row.kind == Kind.PROVIDER and location_id is not None:
            _refuse_two_keepers(connection, merchant_id, connection_id, location_id, names[location_id])
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


@access.needs(Permission.SYNC)
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
        row = row_of(connection, merchant_id, connection_id, lock=True)
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


def _refuse_two_keepers(
    connection: Connection, merchant_id: UUID, connection_id: UUID, location_id: UUID, name: str
) -> None:
    """A 3PL counts what lies at its place: no other 3PL may count there, nor we ourselves."""
    place, account, ours = t.channel_location.c, t.connection.c, t.location.c
    kind = connection.execute(
        select(ours.kind).where(ours.merchant_id == merchant_id, ours.id == location_id)
    ).scalar_one()
    if kind != Kind.PROVIDER:
        raise Conflict(f"{name} is a place of your own. Choose one of a 3PL, or say under Locations that it is one.")
    other = connection.execute(
        select(account.label)
        .select_from(
            t.channel_location.join(
                t.connection, (account.merchant_id == place.merchant_id) & (account.id == place.connection_id)
            )
        )
        .where(
            place.merchant_id == merchant_id,
            place.location_id == location_id,
            place.connection_id != connection_id,
            account.kind == Kind.PROVIDER.value,
            account.state != "removed",
        )
        .limit(1)
    ).scalar_one_or_none()
    if other is not None:
        raise Conflict(f"{name} is kept by {other} already. Take it away from there first, or choose another location.")


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


# ---------------------------------------------------------------- tasks


@access.needs(Permission.STOCK)
def adopt_stock(database: Database, merchant_id: UUID, connection_id: UUID, actor: str) -> UUID:
    """Take the opening stock of every matched SKU that is not counted yet from this connection; returns the task."""

    def work(connection: Connection) -> UUID:
        row = row_of(connection, merchant_id, connection_id, lock=True)
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
        return plan_task(connection, merchant_id, connection_id, "adopt", actor, database.now(connection))

    return database.transact(work)


def plan_task(
    connection: Connection,
    merchant_id: UUID,
    connection_id: UUID,
    kind: str,
    actor: str,
    at: datetime,
    *,
    request: bytes | None = None,
) -> UUID:
    """Plan long work of ``kind`` in the caller's transaction; a page follows it by the id that is returned."""
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


def row_of(connection: Connection, merchant_id: UUID, connection_id: UUID, *, lock: bool = False) -> Row[Any]:
    """The connection's row, with ``lock`` until the transaction ends. Raises BadInput when there is none."""
    statement = select(t.connection).where(
        t.connection.c.merchant_id == merchant_id, t.connection.c.id == connection_id
    )
    found = connection.execute(for_update(connection, statement) if lock else statement).one_or_none()
    if found is None:
        raise BadInput("This connection does not exist.")
    return found


def _this(merchant_id: UUID, connection_id: UUID) -> Any:
    return update(t.connection).where(t.connection.c.merchant_id == merchant_id, t.connection.c.id == connection_id)
