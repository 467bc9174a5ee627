"""Every table of the hub. All are keyed by merchant first, so that the database itself refuses a reference across
merchants; without merchant only: merchant, user_account, recovery_code, session, second_step, failed_try, setup_token,
lease and postal_place."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    DateTime,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    case,
    event,
    func,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Moment(TypeDecorator[datetime]):
    """An aware UTC time. SQLite keeps no zone: naive UTC is stored there and the zone put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("A naive time cannot be stored.")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _id(name: str = "id", **options: Any) -> Column[Any]:
    return Column(name, Uuid, nullable=options.pop("nullable", False), **options)


def _moment(name: str, **options: Any) -> Column[datetime]:
    return Column(name, Moment, nullable=options.pop("nullable", True), **options)


def _count(name: str, default: int = 0) -> Column[int]:
    return Column(name, Integer, nullable=False, default=default, server_default=text(str(default)))


def _word() -> Column[str]:
    """Compared byte by byte, so that all words with one beginning stand in a row in an index."""
    return Column("word", String(64).with_variant(String(64, collation="C"), "postgresql"), nullable=False)


def _flag(name: str, default: bool = False) -> Column[bool]:
    return Column(name, Boolean, nullable=False, default=default, server_default=text("true" if default else "false"))


def _text(name: str, length: int | None = None) -> Column[str]:
    return Column(name, String(length) if length else Text, nullable=False, default="", server_default=text("''"))


def _belongs(*columns: str, to: str, key: tuple[str, ...] = ("merchant_id", "id")) -> ForeignKeyConstraint:
    return ForeignKeyConstraint(list(columns), [f"{to}.{part}" for part in key], ondelete="RESTRICT")


def _of_merchant() -> ForeignKeyConstraint:
    return _belongs("merchant_id", to="merchant", key=("id",))


# ---------------------------------------------------------------- people and tenants

merchant = Table(
    "merchant",
    metadata,
    _id(primary_key=True),
    _text("name", 200),
    _flag("demo"),
    _text("time_zone", 60),  # IANA name, in which its people read times; "": UTC
    _text("locale", 20),  # how they read numbers, money and dates ("en_GB"), and in which language; "": the browser's
    _moment("created_at", nullable=False),
    _flag("requires_two_factor"),  # nobody works here without a second factor
    _moment("settled_in_at"),  # when a person put the list of first steps away
)

user_account = Table(
    "user_account",
    metadata,
    _id(primary_key=True),
    Column("email", String(320), nullable=False, unique=True),  # stored lower-case
    _text("name", 200),
    _text("password_hash"),
    _moment("created_at", nullable=False),
    _moment("password_changed_at", nullable=False),
    _moment("disabled_at"),
    Column("totp_secret", LargeBinary),  # encrypted; before totp_on_at it is one that nobody has confirmed yet
    _moment("totp_on_at"),
    Column("totp_step", BigInteger),  # the last step of 30 seconds whose code was used: none works twice
)

# What opens the second step of a sign-in once, where the telephone is lost.
recovery_code = Table(
    "recovery_code",
    metadata,
    _id("user_id"),
    Column("code_sha256", String(64), nullable=False),
    _moment("used_at"),
    PrimaryKeyConstraint("user_id", "code_sha256"),
    _belongs("user_id", to="user_account", key=("id",)),
)

membership = Table(
    "membership",
    metadata,
    _id("merchant_id"),
    _id("user_id"),
    _text("role", 20),
    _moment("disabled_at"),
    _moment("left_at"),  # does not work here any more: kept, because what they did names them
    PrimaryKeyConstraint("merchant_id", "user_id"),
    _of_merchant(),
    _belongs("user_id", to="user_account", key=("id",)),
    CheckConstraint("role in ('owner', 'manager', 'warehouse', 'support', 'read_only')", name="role"),
)

session = Table(
    "session",
    metadata,
    Column("token_sha256", String(64), primary_key=True),
    _id("user_id"),
    _id("merchant_id"),
    _moment("created_at", nullable=False),
    _moment("last_seen_at", nullable=False),
    _moment("expires_at", nullable=False),
    _moment("confirmed_at", nullable=False),  # when the password was typed last
    _text("user_agent", 300),
    _text("network", 60),  # roughly where the browser is
    _belongs("merchant_id", "user_id", to="membership", key=("merchant_id", "user_id")),
    Index("ix_session_user_id", "user_id"),
)

# A sign-in whose password was right and whose second factor is still to come. It opens no page.
second_step = Table(
    "second_step",
    metadata,
    Column("token_sha256", String(64), primary_key=True),
    _id("user_id"),
    _moment("expires_at", nullable=False),
    _count("tries"),
    _belongs("user_id", to="user_account", key=("id",)),
)

# How often somebody guessed wrong, by a hash of who and where from.
failed_try = Table(
    "failed_try",
    metadata,
    Column("key_sha256", String(64), primary_key=True),
    _count("times"),
    _moment("last_at", nullable=False),
    _moment("forget_at", nullable=False),
    Index("ix_failed_try_forget_at", "forget_at"),
)

# Somebody who was asked to work for a merchant, by a link that works once.
invitation = Table(
    "invitation",
    metadata,
    _id("merchant_id"),
    _id(),
    Column("email", String(320), nullable=False),
    _text("role", 20),
    Column("token_sha256", String(64), nullable=False, index=True),
    _text("invited_by", 320),
    _moment("created_at", nullable=False),
    _moment("expires_at", nullable=False),
    PrimaryKeyConstraint("merchant_id", "id"),
    UniqueConstraint("merchant_id", "email"),
    _of_merchant(),
    CheckConstraint("role in ('owner', 'manager', 'warehouse', 'support', 'read_only')", name="role"),
)

setup_token = Table(
    "setup_token",
    metadata,
    Column("token_sha256", String(64), primary_key=True),
    _moment("created_at", nullable=False),
    _moment("expires_at", nullable=False),
    _moment("used_at"),
)

lease = Table(
    "lease",
    metadata,
    Column("name", String(200), primary_key=True),
    _text("holder", 200),
    Column("fence", BigInteger, nullable=False, default=0),
    _moment("until", nullable=False),
)

# Where postal codes lie: of files that the operator has read in, and looked up once. Letters and digits only.
postal_place = Table(
    "postal_place",
    metadata,
    Column("country", String(2), nullable=False),
    Column("code", String(20), nullable=False),
    Column("latitude", Float, nullable=False),
    Column("longitude", Float, nullable=False),
    PrimaryKeyConstraint("country", "code"),
)

# ---------------------------------------------------------------- connections

connection = Table(
    "connection",
    metadata,
    _id("merchant_id"),
    _id(),
    Column("connector", String(40), nullable=False),
    Column("kind", String(10), nullable=False, default="channel", server_default=text("'channel'")),  # connector.Kind
    _text("label", 200),
    # new: the first check has not passed; connected; paused: by a person, or the vendor refused the credentials;
    # removed: kept for its history
    _text("state", 20),
    Column("settings", JSON, nullable=False),  # without secrets
    # encrypted JSON, the webhook secret among them; of a removed connection only what signs what its vendor still sends
    Column("secrets", LargeBinary),
    _moment("secrets_at"),  # when these were typed in, or given with one click
    _text("account_external_id", 300),
    _text("account_name", 300),
    _text("currency", 3),
    _moment("created_at", nullable=False),
    _moment("checked_at"),
    _moment("live_at"),  # set by a person; nothing is published before
    _text("error"),  # why it is not working, for a person
    _moment("paused_at"),  # by a person; None where it goes on, or the vendor refused the credentials
    _text("paused_by", 320),
    _text("paused_why", 300),
    _moment("not_before"),  # a rate limit or an open breaker: no call to this vendor before
    _count("failures"),  # Unavailable in a row
    _moment("last_event_at"),
    _moment("removed_at"),
    Column("features", JSON),  # what the last check found of the vendor's optional parts
    Column("words", JSON),  # the vendor's words by kind, as the last check found them: {kind: {code: name}}
    # of its webhooks, as the watchdog found them last: {"active", "missing", "checked_at", "lost", "lost_at"}
    Column("subscriptions", JSON),
    _flag("sandbox"),  # its vendor is simulated: the routes of the merchant's sandbox lead there, and nothing else does
    PrimaryKeyConstraint("merchant_id", "id"),
    _of_merchant(),
    CheckConstraint("state in ('new', 'connected', 'paused', 'removed')", name="state"),
    CheckConstraint("kind in ('channel', 'carrier', '3pl')", name="kind"),
    Index(
        "uq_connection_account",
        "merchant_id",
        "connector",
        "account_external_id",
        unique=True,
        sqlite_where=text("account_external_id <> '' and state <> 'removed'"),
        postgresql_where=text("account_external_id <> '' and state <> 'removed'"),
    ),
)

# A merchant who tries the hub out with simulated vendors: from the wish until all that came of it is deleted.
sandbox = Table(
    "sandbox",
    metadata,
    _id("merchant_id"),
    _moment("wanted_at", nullable=False),
    _text("wanted_by", 320),
    _moment("began_at"),  # since when its vendors exist: they live in the memory of who serves them
    _count("beginnings"),  # each after the first: who served them was restarted
    _moment("seen_at"),  # who serves them was alive then
    _moment("ending_at"),  # it is to be removed
    _text("error"),  # why it could not be opened, for a person
    Column("routes", JSON, nullable=False, default=dict, server_default=text("'{}'")),  # vendor's origin: where it is
    PrimaryKeyConstraint("merchant_id"),
    _of_merchant(),
)

connection_token = Table(
    "connection_token",
    metadata,
    _id("merchant_id"),
    _id("connection_id"),
    Column("name", String(60), nullable=False),
    Column("value", LargeBinary, nullable=False),  # encrypted
    _moment("expires_at"),
    Column("refresh", LargeBinary),  # encrypted: what the next one is asked for with
    _moment("refresh_expires_at"),
    PrimaryKeyConstraint("merchant_id", "connection_id", "name"),
    _belongs("merchant_id", "connection_id", to="connection"),
)

# A merchant who was sent to a vendor to give it a permission, and may come back once with the answer. The state that
# went along is kept as its hash only.
authorization = Table(
    "authorization",
    metadata,
    _id("merchant_id"),
    _id(),
    _id("user_id"),
    Column("state_sha256", String(64), nullable=False),
    Column("connector", String(40), nullable=False),
    _id("connection_id", nullable=True),  # the connection to be reconnected; None: a new one
    _text("label", 200),
    Column("settings", LargeBinary, nullable=False),  # encrypted JSON: what was typed in
    _moment("created_at", nullable=False),
    _moment("expires_at", nullable=False),
    _moment("used_at"),
    _id("task_id", nullable=True),  # the check that came of it
    PrimaryKeyConstraint("merchant_id", "id"),
    UniqueConstraint("merchant_id", "state_sha256"),
    _belongs("merchant_id", "user_id", to="membership", key=("merchant_id", "user_id")),
    _belongs("merchant_id", "connection_id", to="connection"),
    _belongs("merchant_id", "task_id", to="task"),
)

# What the merchant says that a word of the vendor stands for; a word that is not here means what it usually does.
# Likewise under which header a column of its files stands: the kind is "columns/shipments", the word our column.
word_mapping = Table(
    "word_mapping",
    metadata,
    _id("merchant_id"),
    _id("connection_id"),
    Column("kind", String(40), nullable=False),  # of Connector.mappings, or rows.columns_of
    Column("word", String(200), nullable=False),
    Column("meaning", String(100), nullable=False),
    _moment("changed_at", nullable=False),
    _text("changed_by", 320),
    PrimaryKeyConstraint("merchant_id", "connection_id", "kind", "word"),
    _belongs("merchant_id", "connection_id", to="connection"),
)

location = Table(
    "location",
    metadata,
    _id("merchant_id"),
    _id(),
    _text("name", 200),
    # warehouse: our own; shop: people come in, too; 3pl: somebody else ships (a connection's channel_location is it)
    Column("kind", String(12), nullable=False, default="warehouse", server_default=text("'warehouse'")),
    Column("address", JSON, nullable=False, default=dict, server_default=text("'{}'")),  # core.model.Address, plain
    Column("latitude", Float),
    Column("longitude", Float),
    _text("placed_by", 10),  # where the coordinates come from: typed, postcode, country; "": there are none
    _text("time_zone", 60),  # IANA name; "": UTC
    _text("cut_off", 5),  # HH:MM in its time zone: what is released later ships the next day
    Column("capacity", Integer),  # fulfillment orders a day it can ship; None: as many as come
    Column("services", JSON, nullable=False, default=list, server_default=text("'[]'")),  # what it offers: "express"
    _count("priority"),  # the smaller the better, where a policy goes by it
    _flag("ships", True),
    _flag("collects"),  # customers may fetch their orders here
    _moment("created_at", nullable=False),
    PrimaryKeyConstraint("merchant_id", "id"),
    UniqueConstraint("merchant_id", "name"),
    _of_merchant(),
    CheckConstraint("kind in ('warehouse', 'shop', '3pl')", name="kind"),
    CheckConstraint("placed_by in ('', 'typed', 'postcode', 'country')", name="placed_by"),
    CheckConstraint("latitude between -90 and 90 and longitude between -180 and 180", name="on_earth"),
    CheckConstraint("capacity >= 0", name="capacity"),
)

channel_location = Table(
    "channel_location",
    metadata,
    _id("merchant_id"),
    _id("connection_id"),
    Column("external_id", String(200), nullable=False),  # "" where the channel has one stock figure
    _text("name", 200),
    _flag("active", True),
    _id("location_id", nullable=True),  # None: the hub writes no stock there
    PrimaryKeyConstraint("merchant_id", "connection_id", "external_id"),
    _belongs("merchant_id", "connection_id", to="connection"),
    _belongs("merchant_id", "location_id", to="location"),
)

# Which of our locations a channel's location sells from. Its own (channel_location.location_id) is always among them.
channel_location_source = Table(
    "channel_location_source",
    metadata,
    _id("merchant_id"),
    _id("connection_id"),
    Column("external_id", String(200), nullable=False),
    _id("location_id"),
    PrimaryKeyConstraint("merchant_id", "connection_id", "external_id", "location_id"),
    _belongs(
        "merchant_id",
        "connection_id",
        "external_id",
        to="channel_location",
        key=("merchant_id", "connection_id", "external_id"),
    ),
    _belongs("merchant_id", "location_id", to="location"),
    Index("ix_channel_location_source_location", "merchant_id", "location_id"),
)

# ---------------------------------------------------------------- stock

sku = Table(
    "sku",
    metadata,
    _id("merchant_id"),
    _id(),
    Column("code", String(200), nullable=False),
    _text("title", 500),
    _moment("created_at", nullable=False),
    _moment("counted_since"),  # when its opening stock was adopted; None: the hub keeps no stock of it yet
    _flag("kit"),  # made of others: it has no stock of its own
    _moment("titled_at"),  # when a person gave it another title; None: it has the one that it was made with
    PrimaryKeyConstraint("merchant_id", "id"),
    UniqueConstraint("merchant_id", "code"),
    _of_merchant(),
    Index(
        "ix_sku_titled",
        *("merchant_id", "titled_at"),
        sqlite_where=text("titled_at is not null"),
        postgresql_where=text("titled_at is not null"),
    ),
    Index(
        "ix_sku_uncounted",
        *("merchant_id", "id"),
        sqlite_where=text("counted_since is null"),
        postgresql_where=text("counted_since is null"),
    ),
)

# By which words a SKU is found (store.searching). Its code and its title stay as they are, and so do they.
sku_word = Table(
    "sku_word",
    metadata,
    _id("merchant_id"),
    _id("sku_id"),
    _word(),
    PrimaryKeyConstraint("merchant_id", "sku_id", "word"),
    _belongs("merchant_id", "sku_id", to="sku"),
    Index("ix_sku_word", "merchant_id", "word", "sku_id"),
)

# How fast a SKU sells, as the orders of the last weeks say: worked out every hour (store.paces). None: it does not
# sell.
sku_pace = Table(
    "sku_pace",
    metadata,
    _id("merchant_id"),
    _id("sku_id"),
    _count("sold"),  # units in the last paces.DAYS days, within kits too
    _count("available"),  # at all locations, when this was worked out
    _count("days_left"),  # for which that lasts at this pace, whole ones
    _moment("at", nullable=False),
    PrimaryKeyConstraint("merchant_id", "sku_id"),
    _belongs("merchant_id", "sku_id", to="sku"),
    Index("ix_sku_pace_days_left", "merchant_id", "days_left"),
)

# One act of matching: one listing, or many at once, that are undone together. Its listings name it.
match_act = Table(
    "match_act",
    metadata,
    _id("merchant_id"),
    _id(),
    _count("listings"),  # matched by it
    _text("summary", 500),
    _text("actor", 320),
    _moment("at", nullable=False),
    _moment("undone_at"),
    _text("undone_by", 320),
    _count("undone"),  # listings that were still matched by it then
    PrimaryKeyConstraint("merchant_id", "id"),
    _of_merchant(),
    Index("ix_match_act_at", "merchant_id", "at", "id"),
)

# What listings of a connection show at one address of their channel: kept here in small, since no page may load
# anything of a foreign host. The id is made of the address (store.pictures), so that an import knows it without asking.
picture = Table(
    "picture",
    metadata,
    _id("merchant_id"),
    _id(),
    _id("connection_id"),
    _text("source", 1000),
    _text("host", 255),
    _text("state", 10),  # wanted, kept, failed
    _text("address", 50),  # where our pages find it, by its id and its content; "": not kept
    _count("attempts"),  # in a row that brought nothing; counted before each
    _moment("due_at"),  # when it is fetched; None: it is kept, or given up
    _text("error", 300),
    _moment("wanted_at", nullable=False),
    _moment("fetched_at"),
    PrimaryKeyConstraint("merchant_id", "id"),
    _belongs("merchant_id", "connection_id", to="connection"),
    Index(
        "ix_picture_due",
        *("merchant_id", "connection_id", "due_at", "id"),
        sqlite_where=text("due_at is not null"),
        postgresql_where=text("due_at is not null"),
    ),
)

# The picture itself, in each size that pages show: apart, so that looking for what is due reads no pictures.
picture_file = Table(
    "picture_file",
    metadata,
    _id("merchant_id"),
    _id("picture_id"),
    Column("size", String(5), nullable=False),  # hub.pictures.SIZES
    Column("content", LargeBinary, nullable=False),  # WebP, drawn by ourselves
    PrimaryKeyConstraint("merchant_id", "picture_id", "size"),
    _belongs("merchant_id", "picture_id", to="picture"),
)

listing = Table(
    "listing",
    metadata,
    _id("merchant_id"),
    _id(),
    _id("connection_id"),
    Column("external_id", String(200), nullable=False),
    _id("sku_id", nullable=True),
    _text("sku_text", 200),
    _text("title", 500),
    _text("barcode", 100),
    _flag("tracked", True),
    _flag("active", True),
    Column("price", String(40)),
    _text("currency", 3),
    Column("handles", JSON, nullable=False),
    _moment("imported_at", nullable=False),
    _moment("bound_at"),
    _text("bound_by", 320),
    _id(
        "match_act_id", nullable=True
    ),  # the act of matching that it is matched by; None: matched before there were any
    _moment("ignored_at"),  # a person does not want it matched
    _text("variant", 200),
    _text("image_url", 1000),
    _id("picture_id", nullable=True),  # what is at image_url; it is kept, or wanted
    Column("weight_grams", Integer),
    _text("origin_country", 2),
    _text("hs_code", 20),
    PrimaryKeyConstraint("merchant_id", "id"),
    UniqueConstraint("merchant_id", "connection_id", "external_id"),
    _belongs("merchant_id", "connection_id", to="connection"),
    _belongs("merchant_id", "sku_id", to="sku"),
    _belongs("merchant_id", "match_act_id", to="match_act"),
    _belongs("merchant_id", "picture_id", to="picture"),
    Index("ix_listing_sku", "merchant_id", "sku_id"),
    Index("ix_listing_sku_text", "merchant_id", "connection_id", "sku_text"),
    Index("ix_listing_sold", "merchant_id", "connection_id", "sku_id"),
    Index(
        "ix_listing_unmatched_there",
        *("merchant_id", "connection_id", "title", "id"),
        sqlite_where=text("sku_id is null"),
        postgresql_where=text("sku_id is null"),
    ),
    Index(
        "ix_listing_barcode",
        "merchant_id",
        "barcode",
        sqlite_where=text("barcode <> ''"),
        postgresql_where=text("barcode <> ''"),
    ),
    Index(
        "ix_listing_unmatched",
        "merchant_id",
        "title",
        "id",
        sqlite_where=text("sku_id is null"),
        postgresql_where=text("sku_id is null"),
    ),
    Index(
        "ix_listing_match_act",
        "merchant_id",
        "match_act_id",
        sqlite_where=text("match_act_id is not null"),
        postgresql_where=text("match_act_id is not null"),
    ),
    Index(
        "ix_listing_picture",
        "merchant_id",
        "picture_id",
        sqlite_where=text("picture_id is not null"),
        postgresql_where=text("picture_id is not null"),
    ),
)

# What a kit is made of, as entered. A part may be a kit itself.
kit_part = Table(
    "kit_part",
    metadata,
    _id("merchant_id"),
    _id("kit_id"),
    _id("part_id"),
    _count("quantity"),
    PrimaryKeyConstraint("merchant_id", "kit_id", "part_id"),
    _belongs("merchant_id", "kit_id", to="sku"),
    _belongs("merchant_id", "part_id", to="sku"),
    CheckConstraint("quantity > 0", name="quantity"),
    CheckConstraint("kit_id <> part_id", name="not_itself"),
    Index("ix_kit_part_part", "merchant_id", "part_id"),
)

# The same down to SKUs that are no kits, derived from kit_part: what one kit takes off the shelves.
kit_leaf = Table(
    "kit_leaf",
    metadata,
    _id("merchant_id"),
    _id("kit_id"),
    _id("part_id"),
    _count("quantity"),
    PrimaryKeyConstraint("merchant_id", "kit_id", "part_id"),
    _belongs("merchant_id", "kit_id", to="sku"),
    _belongs("merchant_id", "part_id", to="sku"),
    CheckConstraint("quantity > 0", name="quantity"),
    Index("ix_kit_leaf_part", "merchant_id", "part_id"),
)

stock_level = Table(
    "stock_level",
    metadata,
    _id("merchant_id"),
    _id("sku_id"),
    _id("location_id"),
    _count("on_hand"),
    _count("allocated"),
    _count("quarantined"),
    _count("damaged"),
    _count("incoming"),
    Column("entries", BigInteger, nullable=False, default=0),  # the number of the last ledger entry
    _count("safety_stock"),  # not shown to any channel; orders may still take it
    _moment("counted_at"),  # when somebody last counted it
    _moment("updated_at", nullable=False),
    PrimaryKeyConstraint("merchant_id", "sku_id", "location_id"),
    _belongs("merchant_id", "sku_id", to="sku"),
    _belongs("merchant_id", "location_id", to="location"),
    CheckConstraint("on_hand >= 0", name="on_hand"),
    CheckConstraint("allocated >= 0", name="allocated"),
    CheckConstraint("quarantined >= 0", name="quarantined"),
    CheckConstraint("damaged >= 0", name="damaged"),
    CheckConstraint("incoming >= 0", name="incoming"),
    CheckConstraint("safety_stock >= 0", name="safety_stock"),
    CheckConstraint("allocated + quarantined + damaged <= on_hand", name="never_oversold"),
)

# What a person, or a task a person started, did to stock: receipts, counts, transfers... reference is unique per kind:
# entering the same paper twice is refused by the database.
stock_document = Table(
    "stock_document",
    metadata,
    _id("merchant_id"),
    _id(),
    Column("kind", String(20), nullable=False),  # store.documents.Kind
    Column("reference", String(100), nullable=False),
    _id("location_id"),
    _id("to_location_id", nullable=True),  # of a transfer
    _text("state", 12),  # done; in_transit, then done
    _text("actor", 320),
    _text("note", 500),
    _moment("counted_at"),  # of a count: when the shelf was looked at
    _moment("created_at", nullable=False),
    _moment("closed_at"),
    PrimaryKeyConstraint("merchant_id", "id"),
    UniqueConstraint("merchant_id", "kind", "reference"),
    _belongs("merchant_id", "location_id", to="location"),
    _belongs("merchant_id", "to_location_id", to="location"),
    CheckConstraint("state in ('done', 'in_transit')", name="state"),
    CheckConstraint("location_id <> to_location_id", name="two_places"),
    Index(
        "ix_stock_document_in_transit",
        "merchant_id",
        sqlite_where=text("state = 'in_transit'"),
        postgresql_where=text("state = 'in_transit'"),
    ),
)

stock_document_line = Table(
    "stock_document_line",
    metadata,
    _id("merchant_id"),
    _id("document_id"),
    _id("sku_id"),
    _count("quantity"),  # moved; of a count: counted
    Column("expected", Integer),  # of a count: what the ledger says was there then
    _count("arrived"),  # of a transfer
    _count("lost"),  # of a transfer
    PrimaryKeyConstraint("merchant_id", "document_id", "sku_id"),
    _belongs("merchant_id", "document_id", to="stock_document"),
    _belongs("merchant_id", "sku_id", to="sku"),
    CheckConstraint("quantity >= 0 and arrived >= 0 and lost >= 0", name="quantities"),
    Index("ix_stock_document_line_sku", "merchant_id", "sku_id"),
)

# Append-only: the database refuses to change or delete a line. number counts those of one SKU at one location; the
# figures after each are kept, so that every balance of the past can be looked up and the ledger proves itself.
# reference is unique per cause: writing the same event twice is refused, too.
stock_entry = Table(
    "stock_entry",
    metadata,
    _id("merchant_id"),
    _id("sku_id"),
    _id("location_id"),
    Column("number", BigInteger, nullable=False),
    Column("cause", String(20), nullable=False),  # core.stock.Cause
    Column("reference", String(200), nullable=False),
    _count("on_hand_delta"),
    _count("allocated_delta"),
    _count("quarantined_delta"),
    _count("damaged_delta"),
    _count("incoming_delta"),
    _count("on_hand"),
    _count("allocated"),
    _count("quarantined"),
    _count("damaged"),
    _count("incoming"),
    _id("order_id", nullable=True),
    _id("document_id", nullable=True),
    _text("actor", 320),
    _text("note", 500),
    _moment("at", nullable=False),
    _moment("happened_at"),  # where the hub learned of it only later: a 3PL's shipments and counts
    PrimaryKeyConstraint("merchant_id", "sku_id", "location_id", "number"),
    UniqueConstraint("merchant_id", "sku_id", "location_id", "cause", "reference"),
    _belongs("merchant_id", "sku_id", "location_id", to="stock_level", key=("merchant_id", "sku_id", "location_id")),
    CheckConstraint(
        "(on_hand_delta, allocated_delta, quarantined_delta, damaged_delta, incoming_delta) <> (0, 0, 0, 0, 0)",
        name="says_something",
    ),
    Index(  # what an order did to stock, on its page
        "ix_stock_entry_order",
        "merchant_id",
        "order_id",
        "at",
        sqlite_where=text("order_id is not null"),
        postgresql_where=text("order_id is not null"),
    ),
)

# A file of stock that somebody handed in, read into rows to be looked at before anything is changed. What it changed
# stands in stock documents; the file and its rows are forgotten after a while.
stock_import = Table(
    "stock_import",
    metadata,
    _id("merchant_id"),
    _id(),
    Column("actor", String(320), nullable=False),  # who handed it in, and alone decides about it
    Column("file_name", String(200), nullable=False),
    Column("body", LargeBinary, nullable=False),  # the file, compressed
    Column("encoding", String(20), nullable=False),
    Column("delimiter", String(1), nullable=False),
    Column("header", JSON, nullable=False),
    Column("header_mark", String(64), nullable=False),  # of the header: the same file next month is read the same way
    _text("meaning", 10),  # store.stock_import.Meaning; "" until somebody has said
    Column("columns", JSON, nullable=False),  # which header each thing stands under
    _id("location_id", nullable=True),  # where a row says none
    _text("reason", 200),
    _flag("make_skus"),  # of a file of details: a code that nobody knows becomes a SKU
    _text("state", 10),  # store.stock_import.Stage
    _text("message"),  # why it stopped, for a person
    _count("read_to"),  # the last line that was read
    _count("done"),
    _count("total"),
    _count("attempts"),  # of a worker, since the last one that came to an orderly end
    _moment("created_at", nullable=False),
    _moment("changed_at", nullable=False),
    PrimaryKeyConstraint("merchant_id", "id"),
    _of_merchant(),
    _belongs("merchant_id", "location_id", to="location"),
    CheckConstraint(
        "state in ('columns', 'reading', 'preview', 'applying', 'applied', 'undoing', 'undone')", name="state"
    ),
    Index("ix_stock_import_header", "merchant_id", "header_mark", "id"),
    Index(
        "ix_stock_import_open",
        "merchant_id",
        sqlite_where=text("state in ('reading', 'applying', 'undoing')"),
        postgresql_where=text("state in ('reading', 'applying', 'undoing')"),
    ),
)

stock_import_row = Table(
    "stock_import_row",
    metadata,
    _id("merchant_id"),
    _id("import_id"),
    Column("line", Integer, nullable=False),  # in the file
    Column("state", String(10), nullable=False),  # store.stock_import.Fate
    _text("code", 255),  # as the file has it
    _id("sku_id", nullable=True),
    _id("location_id", nullable=True),
    Column("quantity", Integer),  # as the file has it: a figure, or by how much
    Column("before", Integer),  # on hand when it was looked at, or, once applied, before; None: never counted there
    Column("after", Integer),
    Column("details", JSON),  # of a file of details: what it would change, each as it is and as it would be
    _text("problem"),
    Column("texts", JSON),  # the whole of a row that cannot be taken, to be downloaded
    _id("document_id", nullable=True),  # what changed the stock
    PrimaryKeyConstraint("merchant_id", "import_id", "line"),
    _belongs("merchant_id", "import_id", to="stock_import"),
    _belongs("merchant_id", "sku_id", to="sku"),
    _belongs("merchant_id", "location_id", to="location"),
    _belongs("merchant_id", "document_id", to="stock_document"),
    Index("ix_stock_import_row_state", "merchant_id", "import_id", "state", "line"),
)

# How orders get stock. One row per merchant; without it the defaults hold.
stock_policy = Table(
    "stock_policy",
    metadata,
    _id("merchant_id"),
    _flag("hold_together"),  # an order is held whole or not at all; otherwise whatever there is of it
    _text("queue", 20),  # core.allocation.QueueOrder: who gets stock first that comes in
    Column("unpaid_hours", Integer),  # an unpaid order holds stock this long; None: until it is cancelled
    _moment("changed_at", nullable=False),
    _text("changed_by", 320),
    PrimaryKeyConstraint("merchant_id"),
    _of_merchant(),
    CheckConstraint("queue in ('first_come', 'value', 'promised_date')", name="queue"),
    CheckConstraint("unpaid_hours > 0", name="unpaid_hours"),
)

# What a channel may see of the stock. The narrowest rule that says something about a field wins: listing, SKU on a
# connection, SKU, connection, everything (all three empty).
selling_rule = Table(
    "selling_rule",
    metadata,
    _id("merchant_id"),
    _id(),
    Column("scope", String(120), nullable=False),  # the three ids as one text, so that there is one rule of each
    _id("connection_id", nullable=True),
    _id("sku_id", nullable=True),
    _id("listing_id", nullable=True),
    Column("buffer_units", Integer),
    Column("buffer_percent", Integer),
    Column("stop_at", Integer),
    Column("maximum", Integer),
    Column("share_percent", Integer),
    Column("backorder_limit", Integer),
    _moment("changed_at", nullable=False),
    _text("changed_by", 320),
    PrimaryKeyConstraint("merchant_id", "id"),
    _of_merchant(),
    _belongs("merchant_id", "connection_id", to="connection"),
    _belongs("merchant_id", "sku_id", to="sku"),
    _belongs("merchant_id", "listing_id", to="listing"),
    UniqueConstraint("merchant_id", "scope"),
    CheckConstraint("listing_id is null or (connection_id is null and sku_id is null)", name="one_scope"),
    CheckConstraint("buffer_percent between 0 and 100 and share_percent between 0 and 100", name="percent"),
    CheckConstraint("buffer_units >= 0 and stop_at >= 0 and maximum >= 0 and backorder_limit >= 0", name="units"),
)

# Desired state: what a listing should say at one of its channel's locations. version rises with every change that
# may alter the figure; it is dirty while version > published_version.
publication = Table(
    "publication",
    metadata,
    _id("merchant_id"),
    _id("listing_id"),
    Column("location_external_id", String(200), nullable=False),
    _id("connection_id"),
    Column("version", BigInteger, nullable=False, default=1),
    Column("published_version", BigInteger, nullable=False, default=0),
    Column("quantity", Integer),  # what the channel last said, or what we last wrote; None: never known
    Column("left_quantity", Integer),  # what stood there at published_at, before any sale that was told of since
    _moment("checked_at"),  # when it was known to say quantity; None: that is only expected
    _moment("dirty_since"),
    Column("cause", JSON),  # of the latest change: {"cause", "reference", "order_id"?, "at"}
    _moment("published_at"),
    _moment("verify_at"),  # read back at this time
    _moment("explain_since"),  # the channel's figure differs from ours: orders are imported before it is overwritten
    _moment("not_before"),
    _count("attempts"),
    _text("error"),
    _id("pending_id", nullable=True),  # the write (pending_push) that the channel has taken in, and has not judged yet
    PrimaryKeyConstraint("merchant_id", "listing_id", "location_external_id"),
    _belongs("merchant_id", "listing_id", to="listing"),
    _belongs(
        "merchant_id",
        "connection_id",
        "location_external_id",
        to="channel_location",
        key=("merchant_id", "connection_id", "external_id"),
    ),
    Index(
        "ix_publication_dirty",
        "merchant_id",
        "connection_id",
        "dirty_since",
        "listing_id",
        sqlite_where=text("version > published_version"),
        postgresql_where=text("version > published_version"),
    ),
    Index(
        "ix_publication_failing",
        "merchant_id",
        "connection_id",
        sqlite_where=text("error <> ''"),
        postgresql_where=text("error <> ''"),
    ),
    Index(
        "ix_publication_verify",
        "merchant_id",
        "connection_id",
        "verify_at",
        sqlite_where=text("verify_at is not null"),
        postgresql_where=text("verify_at is not null"),
    ),
)

# A figure that a channel has taken in and judges later: what was written, under which reference, and when to ask what
# became of it. One that publication.pending_id does not name any more was overtaken: it is asked for all the same,
# since it may still come true, but it never counts as what the channel says.
pending_push = Table(
    "pending_push",
    metadata,
    _id("merchant_id"),
    _id(),
    _id("listing_id"),
    Column("location_external_id", String(200), nullable=False),
    _id("connection_id"),
    Column("reference", String(500), nullable=False),  # the channel's id of the work that will tell
    Column("key", String(500), nullable=False),  # of the StockPush
    Column("version", BigInteger, nullable=False),  # of the publication
    Column("before", Integer),
    _count("quantity"),
    Column("cause", JSON),  # as in publication_entry: it becomes one once it is true
    Column("basis", JSON),
    _moment("dirty_since"),
    _moment("read_at", nullable=False),
    _text("note", 500),
    _moment("sent_at", nullable=False),
    _moment("ask_at", nullable=False),
    _count("asked"),  # how often it was asked for
    PrimaryKeyConstraint("merchant_id", "id"),
    _belongs(
        "merchant_id",
        "listing_id",
        "location_external_id",
        to="publication",
        key=("merchant_id", "listing_id", "location_external_id"),
    ),
    Index("ix_pending_push_ask", "merchant_id", "connection_id", "ask_at"),
    Index("ix_pending_push_listing", "merchant_id", "listing_id", "location_external_id"),
)

# What the last preview of a connection found: what the channel said, and what the hub would have written.
preview_figure = Table(
    "preview_figure",
    metadata,
    _id("merchant_id"),
    _id("connection_id"),
    _id("listing_id"),
    Column("location_external_id", String(200), nullable=False),
    Column("says", Integer),  # None: the channel keeps no stock of it there, or did not say
    Column("writes", Integer, nullable=False),
    _count("change"),  # by how much the two differ, 0 where nothing was said
    Column("steps", JSON, nullable=False),  # how the figure came about (core.selling.Figure)
    _moment("at", nullable=False),
    PrimaryKeyConstraint("merchant_id", "listing_id", "location_external_id"),
    _belongs("merchant_id", "listing_id", to="listing"),
    _belongs("merchant_id", "connection_id", to="connection"),
    Index("ix_preview_figure_change", "merchant_id", "connection_id", "change", "listing_id", "location_external_id"),
)

# The last preview of a connection that was finished, counted when it was: its page is asked for more often than made.
preview = Table(
    "preview",
    metadata,
    _id("merchant_id"),
    _id("connection_id"),
    _moment("looked_at", nullable=False),
    *(_count(name) for name in ("raised", "lowered", "to_zero", "big_drops", "unchanged", "silent")),
    # What it left out, and why: listings, figures at places, and places of the channel.
    *(_count(name) for name in ("unmatched", "untracked", "uncounted", "not_here", "unbound_locations")),
    PrimaryKeyConstraint("merchant_id", "connection_id"),
    _belongs("merchant_id", "connection_id", to="connection"),
)

# Append-only: each quantity written to a channel, with its cause and the window that remained.
publication_entry = Table(
    "publication_entry",
    metadata,
    _id("merchant_id"),
    _id(),
    _id("listing_id"),
    Column("location_external_id", String(200), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("before", Integer),
    _count("quantity"),
    Column("cause", JSON),
    # What the figure was made of: the balances with their ledger numbers, the rule, the steps (core.selling.Figure).
    Column("basis", JSON),
    _moment("dirty_since"),  # the first change that it was to tell
    _moment("read_at"),  # when the figure was worked out
    _text("note", 500),
    _moment("at", nullable=False),
    PrimaryKeyConstraint("merchant_id", "id"),
    _belongs("merchant_id", "listing_id", to="listing"),
    Index("ix_publication_entry_listing", "merchant_id", "listing_id", "at"),
)

# ---------------------------------------------------------------- orders

sales_order = Table(
    "sales_order",
    metadata,
    _id("merchant_id"),
    _id(),
    _id("connection_id"),
    Column("external_id", String(200), nullable=False),
    _text("number", 100),
    Column("status", String(20), nullable=False),
    _text("channel_status", 100),
    _moment("version", nullable=True),  # None: only its removal was heard of so far
    _text("content_sha256", 64),  # of the order applied last, as read: two bodies that say the same are the same
    _moment("received_at", nullable=False),  # when the record applied last came in
    _flag("whole", True),
    _moment("removal_heard_at"),  # the channel said it deleted the order; settled by fetching it
    Column("revision", Integer, nullable=False, default=1),  # rises with every applied body
    _flag("holds_stock"),
    _flag("shipped_by_channel"),  # from a warehouse of the channel's own: it never holds anything of our stock
    _flag("test"),
    _flag("paid", True),
    _moment("placed_at"),
    _moment("promised_at"),
    _moment("hold_until"),  # unpaid: its reservation is given back then, unless it is paid before
    _count("priority"),  # of its fulfillment orders: the smaller the sooner
    Column("own_priority", Integer),  # as a person set it; None: the merchant's rules say it
    _id("collect_at", nullable=True),  # the location where the customer fetches it
    _text("currency", 3),
    Column("total_minor", BigInteger, nullable=False, default=0),
    Column("lines_minor", BigInteger, nullable=False, default=0),
    Column("shipping_minor", BigInteger, nullable=False, default=0),
    Column("tax_minor", BigInteger, nullable=False, default=0),
    Column("discount_minor", BigInteger, nullable=False, default=0),
    Column("fees_minor", BigInteger, nullable=False, default=0),
    Column("rounding_minor", BigInteger, nullable=False, default=0),
    _flag("priced", True),  # False: the channel has told no amounts yet, and those above are zero for want of any
    _flag("taxes_included"),
    _text("customer_name", 300),
    _text("email", 320),
    _text("note"),
    Column("shipping_address", JSON, nullable=False),
    Column("billing_address", JSON, nullable=False),
    # The address as a person corrected it, and the channel's that it stands for: once the channel says another one,
    # that one holds (SHIP_TO).
    Column("own_address", JSON(none_as_null=True)),
    Column("own_address_for", JSON(none_as_null=True)),
    # Kept and shown beside. What lists filter by is a column of its own, the rest is core.details.OrderDetails as JSON.
    _text("source", 100),  # where it was sold, in the channel's words ("pos")
    _text("shipping_method", 200),
    _text("risk_level", 10),  # core.model.RiskLevel; "": the channel does not say
    _flag("on_hold"),  # by the channel: the whole order, or a part of it
    _flag("returns_open"),  # goods are on their way back, or the customer asks for it
    _text("presentment_currency", 3),  # what the customer saw, where it is another currency
    Column("presentment_minor", BigInteger),
    Column("tags", JSON, nullable=False, default=list, server_default=text("'[]'")),
    Column("own_tags", JSON, nullable=False, default=list, server_default=text("'[]'")),  # by people, beside those
    Column("details", JSON, nullable=False, default=dict, server_default=text("'{}'")),
    _moment("erased_at"),  # since then nothing of the customer may be kept, however often the order comes in again
    _moment("imported_at", nullable=False),
    _moment("updated_at", nullable=False),
    PrimaryKeyConstraint("merchant_id", "id"),
    UniqueConstraint("merchant_id", "connection_id", "external_id"),
    _belongs("merchant_id", "connection_id", to="connection"),
    _belongs("merchant_id", "collect_at", to="location"),
    CheckConstraint(
        "status in ('pending', 'open', 'fulfilled', 'cancelled', 'refunded', 'removed')",
        name="status",
    ),
    # The list of orders, all of them and narrowed down: the newest first.
    Index("ix_sales_order_placed", "merchant_id", "placed_at", "id"),
    Index("ix_sales_order_status", "merchant_id", "status", "placed_at", "id"),
    Index("ix_sales_order_connection", "merchant_id", "connection_id", "placed_at", "id"),
    Index(
        "ix_sales_order_unpaid",
        "merchant_id",
        "placed_at",
        sqlite_where=text("paid = 0"),
        postgresql_where=text("not paid"),
    ),
    Index(  # the other orders of a customer
        "ix_sales_order_email",
        "merchant_id",
        "email",
        "placed_at",
        sqlite_where=text("email <> ''"),
        postgresql_where=text("email <> ''"),
    ),
    Index(  # whose customers may be due to be forgotten
        "ix_sales_order_over",
        "merchant_id",
        "connection_id",
        "id",
        sqlite_where=text("erased_at is null and status in ('fulfilled', 'cancelled', 'refunded', 'removed')"),
        postgresql_where=text("erased_at is null and status in ('fulfilled', 'cancelled', 'refunded', 'removed')"),
    ),
    Index(
        "ix_sales_order_risky",
        "merchant_id",
        "placed_at",
        sqlite_where=text("risk_level in ('medium', 'high')"),
        postgresql_where=text("risk_level in ('medium', 'high')"),
    ),
    *(
        Index(
            f"ix_sales_order_{name}",
            "merchant_id",
            "placed_at",
            sqlite_where=text(f"{name} = 1"),
            postgresql_where=text(name),
        )
        for name in ("on_hold", "returns_open", "shipped_by_channel", "test")
    ),
    Index(
        "ix_sales_order_promised",
        "merchant_id",
        "promised_at",
        sqlite_where=text("status in ('pending', 'open') and promised_at is not null"),
        postgresql_where=text("status in ('pending', 'open') and promised_at is not null"),
    ),
    Index(
        "ix_sales_order_holding",
        "merchant_id",
        "id",
        sqlite_where=text("holds_stock = 1"),
        postgresql_where=text("holds_stock"),
    ),
    Index(
        "ix_sales_order_hold_until",
        "merchant_id",
        "hold_until",
        sqlite_where=text("hold_until is not null"),
        postgresql_where=text("hold_until is not null"),
    ),
)

# What a carrier thinks of the address an order goes to, as a person asked it last; one per order.
address_check = Table(
    "address_check",
    metadata,
    _id("merchant_id"),
    _id("order_id"),
    _id("connection_id"),  # the carrier's
    _text("state", 10),  # asked: the answer is awaited. answered. failed: it could not be asked, or would not say
    Column("address", JSON, nullable=False),  # that was asked about, plain
    Column("verdict", JSON(none_as_null=True)),  # core.shipping.AddressVerdict, plain
    _text("error", 1000),  # why there is no verdict
    _moment("asked_at", nullable=False),
    _text("asked_by", 200),
    _moment("due_at"),  # the carrier is to be asked then; None: it has answered
    _count("attempts"),
    _moment("answered_at"),
    PrimaryKeyConstraint("merchant_id", "order_id"),
    _belongs("merchant_id", "order_id", to="sales_order"),
    _belongs("merchant_id", "connection_id", to="connection"),
    CheckConstraint("state in ('asked', 'answered', 'failed')", name="state"),
    Index(
        "ix_address_check_due_at",
        "merchant_id",
        "connection_id",
        "due_at",
        sqlite_where=text("due_at is not null"),
        postgresql_where=text("due_at is not null"),
    ),
)

# Where an order goes: the address as a person corrected it, else as the channel says it.
SHIP_TO = func.coalesce(sales_order.c.own_address, sales_order.c.shipping_address)

order_line = Table(
    "order_line",
    metadata,
    _id("merchant_id"),
    _id(),
    _id("order_id"),
    Column("external_id", String(200), nullable=False),
    _count("position"),
    Column("listing_external_id", String(200)),
    _id("sku_id", nullable=True),  # as bound when the line was last applied
    _text("sku_text", 200),
    _text("title", 500),
    _count("quantity"),
    _count("fulfilled"),
    _count("removed"),
    _count("fulfilled_before"),  # fulfilled of what the hub never counted: not taken out of its stock
    _count("shipped"),  # taken out of the hub's stock
    _count("sent"),  # had left when the last of the hub's own shipments did: the channel may not know yet
    Column("unit_price", String(40), nullable=False),
    Column("total_minor", BigInteger, nullable=False, default=0),
    Column("tax_minor", BigInteger, nullable=False, default=0),
    _flag("requires_shipping", True),
    Column("kind", String(12), nullable=False, default="product", server_default=text("'product'")),
    Column("attributes", JSON, nullable=False, default=dict, server_default=text("'{}'")),
    _flag("present", True),  # False: the channel dropped the line in an edit
    PrimaryKeyConstraint("merchant_id", "id"),
    UniqueConstraint("merchant_id", "order_id", "external_id"),
    _belongs("merchant_id", "order_id", to="sales_order"),
    _belongs("merchant_id", "sku_id", to="sku"),
    CheckConstraint(
        "quantity >= 0 and fulfilled >= 0 and removed >= 0 and shipped >= 0 and fulfilled_before >= 0",
        name="quantities",
    ),
    Index("ix_order_line_listing", "merchant_id", "listing_external_id"),
)

# Units of a line that have left: the channel learns of the hub's own shipments only a while after they did.
GONE = case((order_line.c.sent > order_line.c.fulfilled, order_line.c.sent), else_=order_line.c.fulfilled)

# By which words an order is found (store.searching); the weeks come before them in the index, so that the newest orders
# do, too.
order_word = Table(
    "order_word",
    metadata,
    _id("merchant_id"),
    _id("order_id"),
    _word(),
    Column("week", Integer, nullable=False),  # searching.week_of(placed_at)
    _moment("placed_at", nullable=False),  # the order's
    PrimaryKeyConstraint("merchant_id", "order_id", "word"),
    _belongs("merchant_id", "order_id", to="sales_order"),
    Index("ix_order_word_week", "merchant_id", "week", "word", "placed_at", "order_id"),
)

# What one unit of a line takes off the shelves, as its kit was made when the order came in. Only lines that sell a kit
# have rows here.
order_line_part = Table(
    "order_line_part",
    metadata,
    _id("merchant_id"),
    _id("order_line_id"),
    _id("sku_id"),
    _count("quantity"),
    PrimaryKeyConstraint("merchant_id", "order_line_id", "sku_id"),
    _belongs("merchant_id", "order_line_id", to="order_line"),
    _belongs("merchant_id", "sku_id", to="sku"),
    CheckConstraint("quantity > 0", name="quantity"),
)

allocation = Table(
    "allocation",
    metadata,
    _id("merchant_id"),
    _id("order_line_id"),
    _id("sku_id"),
    _id("location_id"),
    _count("quantity"),  # units of the SKU
    PrimaryKeyConstraint("merchant_id", "order_line_id", "sku_id", "location_id"),
    _belongs("merchant_id", "order_line_id", to="order_line"),
    _belongs("merchant_id", "sku_id", "location_id", to="stock_level", key=("merchant_id", "sku_id", "location_id")),
    CheckConstraint("quantity > 0", name="quantity"),
    Index("ix_allocation_sku", "merchant_id", "sku_id", "location_id"),
)

# The queue, by SKU: one row per part of a line that waits. Lines of one group are held at once or not at all.
backorder = Table(
    "backorder",
    metadata,
    _id("merchant_id"),
    _id("order_line_id"),
    _id("sku_id"),
    _id("group_id"),  # the order if it is held together, else the line
    _count("quantity"),  # line units that wait
    _count("per_unit", 1),  # units of the SKU in one of the line
    Column("rank", BigInteger, nullable=False, default=0, server_default=text("0")),
    _moment("since", nullable=False),
    _flag("missing", True),  # there was not enough of this SKU when the group was last tried
    _flag("woken"),  # to be tried again
    PrimaryKeyConstraint("merchant_id", "order_line_id", "sku_id"),
    _belongs("merchant_id", "order_line_id", to="order_line"),
    _belongs("merchant_id", "sku_id", to="sku"),
    CheckConstraint("quantity > 0", name="quantity"),
    CheckConstraint("per_unit > 0", name="per_unit"),
    Index(
        "ix_backorder_queue",
        "merchant_id",
        "sku_id",
        "rank",
        "since",
        "order_line_id",
        sqlite_where=text("missing = 1 or woken = 1"),
        postgresql_where=text("missing or woken"),
    ),
    Index("ix_backorder_group", "merchant_id", "group_id"),
    Index(
        "ix_backorder_woken",
        "merchant_id",
        "rank",
        "since",
        sqlite_where=text("woken = 1"),
        postgresql_where=text("woken"),
    ),
)

# Who is in the queue of a SKU, as the index of the queue says it.
IN_QUEUE = backorder.c.missing | backorder.c.woken

# Append-only: each time an order line could not be given what it asked for, or lost what it had.
shortage = Table(
    "shortage",
    metadata,
    _id("merchant_id"),
    _id(),
    _id("order_line_id"),
    _id("order_id"),
    _id("sku_id"),  # the first that was missing
    _count("units"),  # of the line
    _flag("taken"),  # it had been reserved before
    Column("reference", String(200), nullable=False),  # of the change that caused it
    _moment("at", nullable=False),
    PrimaryKeyConstraint("merchant_id", "id"),
    _belongs("merchant_id", "order_line_id", to="order_line"),
    _belongs("merchant_id", "sku_id", to="sku"),
    Index("ix_shortage_order", "merchant_id", "order_id"),
    Index("ix_shortage_sku", "merchant_id", "sku_id", "at"),
)

refund = Table(
    "refund",
    metadata,
    _id("merchant_id"),
    _id("order_id"),
    Column("external_id", String(200), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    _text("reason", 500),
    _moment("refunded_at"),
    Column("lines", JSON, nullable=False, default=list, server_default=text("'[]'")),  # model.LineQuantity
    PrimaryKeyConstraint("merchant_id", "order_id", "external_id"),
    _belongs("merchant_id", "order_id", to="sales_order"),
)

# One row per edit at the channel that changed something: what it changed (core.changes.Change). An order that never
# changed has none. Holds personal data (store.personal), so that it is no ledger.
order_version = Table(
    "order_version",
    metadata,
    _id("merchant_id"),
    _id("order_id"),
    Column("revision", Integer, nullable=False),  # of the order, with this edit
    _moment("version", nullable=False),  # of the channel
    _moment("received_at", nullable=False),
    _moment("at", nullable=False),
    Column("changes", JSON, nullable=False),
    PrimaryKeyConstraint("merchant_id", "order_id", "revision"),
    _belongs("merchant_id", "order_id", to="sales_order"),
)

# ---------------------------------------------------------------- from the order to the doorstep

# Why an order must not be shipped now. It may be held for several reasons at once; released_at ends one.
order_hold = Table(
    "order_hold",
    metadata,
    _id("merchant_id"),
    _id(),
    _id("order_id"),
    Column("reason", String(12), nullable=False),  # core.model.HoldReason
    _text("note", 500),
    _text("external_id", 200),  # of a hold that the channel told of; "": ours
    _text("placed_by", 320),
    _moment("placed_at", nullable=False),
    _text("released_by", 320),
    _moment("released_at"),
    PrimaryKeyConstraint("merchant_id", "id"),
    _belongs("merchant_id", "order_id", to="sales_order"),
    CheckConstraint("reason in ('payment', 'fraud', 'address', 'backorder', 'cancellation', 'manual')", name="reason"),
    Index(
        "uq_order_hold_open",
        "merchant_id",
        "order_id",
        "reason",
        "external_id",
        unique=True,
        sqlite_where=text("released_at is null"),
        postgresql_where=text("released_at is null"),
    ),
)

# How orders are dealt out to locations. Each change is a row of its own; the one with the highest number holds.
routing_policy = Table(
    "routing_policy",
    metadata,
    _id("merchant_id"),
    Column("number", Integer, nullable=False),
    Column("rules", JSON, nullable=False),  # core.routing.RoutingPolicy, plain
    _text("note", 500),
    _text("created_by", 320),
    _moment("created_at", nullable=False),
    PrimaryKeyConstraint("merchant_id", "number"),
    _of_merchant(),
)

# What the words of shops for a way of shipping ("DHL Express Worldwide") stand for. Kept in lower case.
shipping_service = Table(
    "shipping_service",
    metadata,
    _id("merchant_id"),
    Column("method", String(200), nullable=False),
    Column("service", String(60), nullable=False),  # a word that location.services uses
    PrimaryKeyConstraint("merchant_id", "method"),
    _of_merchant(),
)

# Each decision with everything it was made of, so that it can be made again.
routing_decision = Table(
    "routing_decision",
    metadata,
    _id("merchant_id"),
    _id(),
    _id("order_id"),
    Column("policy_number", Integer, nullable=False),  # 0: the policy the hub comes with
    Column("cause", String(20), nullable=False),  # imported, again, rejected; plugin, chosen: not made by the policy
    Column("inputs", JSON, nullable=False),
    Column("outcome", JSON, nullable=False),
    _text("summary"),
    _moment("at", nullable=False),
    PrimaryKeyConstraint("merchant_id", "id"),
    _belongs("merchant_id", "order_id", to="sales_order"),
    Index("ix_routing_decision_order", "merchant_id", "order_id", "at"),
    Index("ix_routing_decision_at", "merchant_id", "at", "id"),
)

# Orders that are to be dealt out to locations, as often as there is a reason. Rows come and go, none is ever changed
# (store/routing_queue.py).
routing_mark = Table(
    "routing_mark",
    metadata,
    _id("merchant_id"),
    _id("order_id"),
    _id(),
    _id("connection_id"),  # the order's
    _moment("due_at", nullable=False),
    PrimaryKeyConstraint("merchant_id", "order_id", "id"),
    _belongs("merchant_id", "order_id", to="sales_order"),
    Index("ix_routing_mark_due", "merchant_id", "connection_id", "due_at"),
)

# What one location is asked to ship of one order.
fulfillment_order = Table(
    "fulfillment_order",
    metadata,
    _id("merchant_id"),
    _id(),
    _id("order_id"),
    _id("location_id"),
    Column("number", Integer, nullable=False),  # counts those of the order
    Column("reference", String(35), nullable=False),  # ours, as carriers and 3PLs get to see it
    # open: to be picked and packed here. packed: waits for its label, or to be handed over. ready: to be collected.
    # requested, accepted, in_progress: with a 3PL. rejected: dealt out anew. cancelling: asked not to. delivered: all
    # of it has arrived.
    _text("state", 12),
    _id("decision_id", nullable=True),
    _id("connection_id", nullable=True),  # of the 3PL
    _text("external_id", 200),  # at the 3PL
    Column("handles", JSON, nullable=False, default=dict, server_default=text("'{}'")),
    _text("message", 500),  # what the 3PL said
    _moment("told_at"),  # the 3PL's version of what it said last
    _moment("requested_at"),  # the 3PL was asked to ship it
    _moment("accepted_at"),  # the 3PL took it
    _text(
        "cancel_state", 12
    ),  # core.shipping.CancelState: what the 3PL says to not shipping it; "": nothing, or not asked
    _flag("collect"),  # the customer fetches it
    _text("collection_code", 12),
    _count("priority"),  # the smaller the sooner
    _text("service", 60),  # the way to ship it that was chosen: express, standard…
    _moment("ship_by"),
    _moment("created_at", nullable=False),
    _moment("updated_at", nullable=False),
    _moment("packed_at"),
    _moment("shipped_at"),
    _moment("delivered_at"),
    _moment("closed_at"),  # nothing more is expected of the location: shipped, collected, rejected or cancelled
    PrimaryKeyConstraint("merchant_id", "id"),
    UniqueConstraint("merchant_id", "order_id", "number"),
    UniqueConstraint("merchant_id", "reference"),
    _belongs("merchant_id", "order_id", to="sales_order"),
    _belongs("merchant_id", "location_id", to="location"),
    _belongs("merchant_id", "decision_id", to="routing_decision"),
    _belongs("merchant_id", "connection_id", to="connection"),
    CheckConstraint(
        "state in ('open', 'packed', 'ready', 'requested', 'accepted', 'in_progress', 'shipped', 'collected', "
        "'rejected', 'cancelling', 'cancelled', 'delivered')",
        name="state",
    ),
    Index(
        "ix_fulfillment_order_ship_by",
        "merchant_id",
        "ship_by",
        "order_id",
        sqlite_where=text("closed_at is null and ship_by is not null"),
        postgresql_where=text("closed_at is null and ship_by is not null"),
    ),
    Index(
        "ix_fulfillment_order_to_do",
        "merchant_id",
        "location_id",
        "priority",
        "created_at",
        sqlite_where=text("closed_at is null"),
        postgresql_where=text("closed_at is null"),
    ),
)

fulfillment_line = Table(
    "fulfillment_line",
    metadata,
    _id("merchant_id"),
    _id("fulfillment_order_id"),
    _id("order_line_id"),
    _count("quantity"),  # units of the line, a kit counts as one
    _count("packed"),
    _count("shipped"),
    PrimaryKeyConstraint("merchant_id", "fulfillment_order_id", "order_line_id"),
    _belongs("merchant_id", "fulfillment_order_id", to="fulfillment_order"),
    _belongs("merchant_id", "order_line_id", to="order_line"),
    CheckConstraint("quantity > 0 and packed >= 0 and shipped >= 0", name="quantities"),
    CheckConstraint("packed <= quantity and shipped <= quantity", name="no_more_than_asked"),
    Index("ix_fulfillment_line_order_line", "merchant_id", "order_line_id"),
)

# Which labels are bought, how, and when goods count as shipped. One row per merchant; without it the defaults hold.
shipping_policy = Table(
    "shipping_policy",
    metadata,
    _id("merchant_id"),
    Column("rules", JSON, nullable=False),  # core.rates.ShippingPolicy, plain
    _moment("changed_at", nullable=False),
    _text("changed_by", 320),
    PrimaryKeyConstraint("merchant_id"),
    _of_merchant(),
)

# How a merchant has orders handled on their way through the warehouse. Without a row the defaults hold.
handling_policy = Table(
    "handling_policy",
    metadata,
    _id("merchant_id"),
    Column("priorities", JSON, nullable=False),  # core.priorities.PriorityRule, plain, in their order
    _flag("confirms_digital", True),  # lines that need no parcel are told the channel as fulfilled once they are paid
    _text("paper", 4),  # papers.Paper: a4, 4x6
    _moment("changed_at", nullable=False),
    _text("changed_by", 320),
    PrimaryKeyConstraint("merchant_id"),
    _of_merchant(),
)

# Where a SKU lies at a location; pick lists are sorted by it.
shelf = Table(
    "shelf",
    metadata,
    _id("merchant_id"),
    _id("sku_id"),
    _id("location_id"),
    _text("zone", 40),
    _text("name", 60),
    PrimaryKeyConstraint("merchant_id", "sku_id", "location_id"),
    _belongs("merchant_id", "sku_id", to="sku"),
    _belongs("merchant_id", "location_id", to="location"),
)

# The boxes a merchant packs into: outer size, and what it may weigh with everything in it.
box = Table(
    "box",
    metadata,
    _id("merchant_id"),
    _id(),
    _text("name", 60),
    Column("length_mm", Integer, nullable=False),
    Column("width_mm", Integer, nullable=False),
    Column("height_mm", Integer, nullable=False),
    _count("empty_grams"),
    Column("most_grams", Integer, nullable=False),
    PrimaryKeyConstraint("merchant_id", "id"),
    UniqueConstraint("merchant_id", "name"),
    _of_merchant(),
    CheckConstraint("length_mm > 0 and width_mm > 0 and height_mm > 0 and empty_grams >= 0", name="size"),
    CheckConstraint("most_grams > empty_grams", name="weight"),
)

# Who packs a fulfillment order now, and into which of its parcels.
packing = Table(
    "packing",
    metadata,
    _id("merchant_id"),
    _id("fulfillment_order_id"),
    _text("packer", 320),
    _count("parcel", 1),
    _moment("began_at", nullable=False),
    _moment("seen_at", nullable=False),
    PrimaryKeyConstraint("merchant_id", "fulfillment_order_id"),
    _belongs("merchant_id", "fulfillment_order_id", to="fulfillment_order"),
)

# Fulfillment orders of several orders that are packed into one parcel, the leading one among them. A row stays when one
# leaves: what has ever shared a parcel is locked together (store.locking).
packed_together = Table(
    "packed_together",
    metadata,
    _id("merchant_id"),
    _id("lead_id"),  # the fulfillment order on whose table all of them are packed, and whose label it is
    _id("fulfillment_order_id"),
    _id("order_id"),
    _moment("joined_at", nullable=False),
    _text("joined_by", 320),
    _moment("left_at"),
    PrimaryKeyConstraint("merchant_id", "lead_id", "fulfillment_order_id"),
    _belongs("merchant_id", "lead_id", to="fulfillment_order"),
    _belongs("merchant_id", "fulfillment_order_id", to="fulfillment_order"),
    _belongs("merchant_id", "order_id", to="sales_order"),
    Index("ix_packed_together_order", "merchant_id", "order_id"),
    Index("ix_packed_together_fulfillment_order", "merchant_id", "fulfillment_order_id"),
)

# The parcels on the packing table, until they are a shipment's.
packing_parcel = Table(
    "packing_parcel",
    metadata,
    _id("merchant_id"),
    _id("fulfillment_order_id"),
    Column("number", Integer, nullable=False),
    _id("box_id", nullable=True),
    Column("weight_grams", Integer),
    PrimaryKeyConstraint("merchant_id", "fulfillment_order_id", "number"),
    _belongs("merchant_id", "fulfillment_order_id", to="fulfillment_order"),
    _belongs("merchant_id", "box_id", to="box"),
    CheckConstraint("number > 0 and weight_grams > 0", name="positive"),
)

# Each code that was scanned while packing. id is made by the scanning page: a scan sent twice is one. units is how many
# of the line it packed: 1; 0 for a part of a kit that is not complete with it; 0 where it was refused.
packing_scan = Table(
    "packing_scan",
    metadata,
    _id("merchant_id"),
    _id(),
    _id("fulfillment_order_id"),
    Column("outcome", String(10), nullable=False),  # store.packing.Outcome
    _text("code", 200),
    _id("order_line_id", nullable=True),
    _id("sku_id", nullable=True),
    _count("parcel", 1),
    _count("units"),
    _text("said", 500),
    _text("packer", 320),
    Column("number", Integer, nullable=False),  # counts those of the fulfillment order
    _moment("at", nullable=False),
    _moment("undone_at"),
    _id("shipment_id", nullable=True),  # in whose parcels it is
    PrimaryKeyConstraint("merchant_id", "id"),
    UniqueConstraint("merchant_id", "fulfillment_order_id", "number"),
    _belongs("merchant_id", "fulfillment_order_id", to="fulfillment_order"),
    _belongs("merchant_id", "order_line_id", to="order_line"),
    _belongs("merchant_id", "sku_id", to="sku"),
    _belongs("merchant_id", "shipment_id", to="shipment"),
    CheckConstraint("units in (0, 1)", name="units"),
)

# E-mail to customers. One occasion is told once: sending stands in the row before the server hears of it, and what is
# not known to have arrived is left to a person (unclear).
email = Table(
    "email",
    metadata,
    _id("merchant_id"),
    _id(),
    _id("connection_id"),
    _id("order_id"),
    Column("occasion", String(200), nullable=False),
    _text("recipient", 320),
    _text("subject", 300),
    _text("body"),
    _text("html"),
    _text("qr", 100),  # what its picture says; "": it has none
    _text("state", 10),  # waiting, sending, sent, failed, unclear, erased
    _count("attempts"),
    _text("error"),
    _moment("due_at", nullable=False),
    _moment("created_at", nullable=False),
    _moment("sent_at"),
    PrimaryKeyConstraint("merchant_id", "id"),
    UniqueConstraint("merchant_id", "occasion"),
    _belongs("merchant_id", "connection_id", to="connection"),
    _belongs("merchant_id", "order_id", to="sales_order"),
    CheckConstraint("state in ('waiting', 'sending', 'sent', 'failed', 'unclear', 'erased')", name="state"),
    Index("ix_email_order", "merchant_id", "order_id"),
    Index(
        "ix_email_due",
        "merchant_id",
        "connection_id",
        "due_at",
        sqlite_where=text("state in ('waiting', 'sending')"),
        postgresql_where=text("state in ('waiting', 'sending')"),
    ),
)

# Goods on their way in one go: one label purchase, or what a 3PL or a person says has left.
shipment = Table(
    "shipment",
    metadata,
    _id("merchant_id"),
    _id(),
    _id("order_id"),
    _id("fulfillment_order_id"),
    Column("reference", String(35), nullable=False),  # ours, another for every label
    # draft: to be labelled. buying: a label is being bought. labelled. shipped: handed over. void: given back, or
    # never left. failed: the carrier said no.
    _text("state", 10),
    _moment("withdrawn_at"),  # it must not leave: its label is given back as soon as that can be done
    _flag("is_return"),  # the customer sends it back
    _id("connection_id", nullable=True),  # of the carrier whose label it is
    _id("effect_id", nullable=True),  # that buys the label
    _text("external_id", 200),  # the 3PL's id of it, or the carrier's of the label
    Column("label", JSON),  # core.shipping.Label, plain
    _moment("rates_wanted_at"),  # carriers are to be asked then; None: they need not be
    _moment("rates_at"),  # when they were asked last
    Column("rates", JSON),  # what each of them answered (core.rates.Answer, plain)
    Column("choice", JSON),  # the rate that was taken, by whom, and why in words
    _text("carrier", 60),
    _text("service", 120),
    Column("tracking_numbers", JSON, nullable=False, default=list, server_default=text("'[]'")),
    _text("tracking_url", 1000),
    Column("cost_minor", BigInteger),
    _text("currency", 3),
    _text("tracking_status", 20),  # core.shipping.TrackingStatus
    _moment("tracked_at"),
    _moment("track_at"),  # to be asked after next; None: not, or no more
    _moment("documents_at"),  # the files of its label are to be fetched then; None: they are there
    # Its carrier is asked then to send what happens to its parcels; None: not, or no more.
    _moment("follow_at"),
    # The carrier has taken the wish to give the label back, and has not decided yet: since when, and when it is asked
    # next what has become of it.
    _moment("void_requested_at"),
    _moment("void_ask_at"),
    _moment("deliver_by"),  # the carrier's estimate
    _moment("promised_by"),  # as the rate promised
    _id("supersedes_id", nullable=True),  # the shipment whose label this one replaces
    _text("channel_reference", 200),  # the channel's id of the confirmation
    _moment("told_at"),  # the 3PL's version of it
    _moment("created_at", nullable=False),
    _moment("labelled_at"),
    _moment("shipped_at"),
    _moment("delivered_at"),
    _moment("voided_at"),
    _text("error"),
    PrimaryKeyConstraint("merchant_id", "id"),
    UniqueConstraint("merchant_id", "reference"),
    _belongs("merchant_id", "order_id", to="sales_order"),
    _belongs("merchant_id", "fulfillment_order_id", to="fulfillment_order"),
    _belongs("merchant_id", "connection_id", to="connection"),
    _belongs("merchant_id", "effect_id", to="effect"),
    # To a row of the same table: looked at when a statement ends, so that all of them can go at once.
    ForeignKeyConstraint(["merchant_id", "supersedes_id"], ["shipment.merchant_id", "shipment.id"]),
    CheckConstraint("state in ('draft', 'buying', 'labelled', 'shipped', 'void', 'failed')", name="state"),
    Index("ix_shipment_order", "merchant_id", "order_id"),
    Index("ix_shipment_fulfillment_order", "merchant_id", "fulfillment_order_id"),
    Index("ix_shipment_external_id", "merchant_id", "connection_id", "external_id"),
    Index(
        "ix_shipment_rates_wanted",
        "merchant_id",
        "rates_wanted_at",
        sqlite_where=text("rates_wanted_at is not null"),
        postgresql_where=text("rates_wanted_at is not null"),
    ),
    Index("ix_shipment_state", "merchant_id", "state", "created_at"),
    Index("ix_shipment_created_at", "merchant_id", "created_at", "id"),
    Index(
        "ix_shipment_labelled_at",
        "merchant_id",
        "labelled_at",
        sqlite_where=text("labelled_at is not null"),
        postgresql_where=text("labelled_at is not null"),
    ),
    Index(
        "ix_shipment_supersedes",
        "merchant_id",
        "supersedes_id",
        sqlite_where=text("supersedes_id is not null"),
        postgresql_where=text("supersedes_id is not null"),
    ),
    Index(
        "ix_shipment_trouble",
        "merchant_id",
        "created_at",
        sqlite_where=text("tracking_status in ('exception', 'returning')"),
        postgresql_where=text("tracking_status in ('exception', 'returning')"),
    ),
    Index(
        "ix_shipment_withdrawn",
        "merchant_id",
        "created_at",
        sqlite_where=text("withdrawn_at is not null and state <> 'void'"),
        postgresql_where=text("withdrawn_at is not null and state <> 'void'"),
    ),
    Index(
        "ix_shipment_shipped",
        "merchant_id",
        "shipped_at",
        sqlite_where=text("shipped_at is not null"),
        postgresql_where=text("shipped_at is not null"),
    ),
    Index(
        "ix_shipment_documents_at",
        "merchant_id",
        "connection_id",
        "documents_at",
        sqlite_where=text("documents_at is not null"),
        postgresql_where=text("documents_at is not null"),
    ),
    Index(
        "ix_shipment_track_at",
        "merchant_id",
        "connection_id",
        "track_at",
        sqlite_where=text("track_at is not null"),
        postgresql_where=text("track_at is not null"),
    ),
    Index(
        "ix_shipment_follow_at",
        "merchant_id",
        "connection_id",
        "follow_at",
        sqlite_where=text("follow_at is not null"),
        postgresql_where=text("follow_at is not null"),
    ),
    Index(
        "ix_shipment_void_ask_at",
        "merchant_id",
        "connection_id",
        "void_ask_at",
        sqlite_where=text("void_ask_at is not null"),
        postgresql_where=text("void_ask_at is not null"),
    ),
)

# An order that goes along in the parcels of another order's shipment. Its channel knows the shipment by a reference of
# its own.
shipment_companion = Table(
    "shipment_companion",
    metadata,
    _id("merchant_id"),
    _id("shipment_id"),
    _id("fulfillment_order_id"),
    _id("order_id"),
    Column("reference", String(35), nullable=False),
    _text("channel_reference", 200),  # the channel's id of the confirmation
    PrimaryKeyConstraint("merchant_id", "shipment_id", "fulfillment_order_id"),
    UniqueConstraint("merchant_id", "reference"),
    _belongs("merchant_id", "shipment_id", to="shipment"),
    _belongs("merchant_id", "fulfillment_order_id", to="fulfillment_order"),
    _belongs("merchant_id", "order_id", to="sales_order"),
    Index("ix_shipment_companion_fulfillment_order", "merchant_id", "fulfillment_order_id"),
    Index("ix_shipment_companion_order", "merchant_id", "order_id"),
)

# One box. Those of one shipment go together.
parcel = Table(
    "parcel",
    metadata,
    _id("merchant_id"),
    _id(),
    _id("shipment_id"),
    Column("number", Integer, nullable=False),
    _count("weight_grams"),  # 0: a 3PL packed it, and does not say
    Column("length_mm", Integer),
    Column("width_mm", Integer),
    Column("height_mm", Integer),
    _text("packaging", 60),  # the carrier's own code of a box it supplies
    _text("tracking_number", 100),
    _text("tracking_status", 20),  # core.shipping.TrackingStatus
    _moment("tracked_at"),  # of the latest thing that is known to have happened to it
    PrimaryKeyConstraint("merchant_id", "id"),
    UniqueConstraint("merchant_id", "shipment_id", "number"),
    _belongs("merchant_id", "shipment_id", to="shipment"),
    CheckConstraint("weight_grams >= 0", name="weight"),
    Index("ix_parcel_tracking_number", "merchant_id", "tracking_number"),
)

parcel_line = Table(
    "parcel_line",
    metadata,
    _id("merchant_id"),
    _id("parcel_id"),
    _id("order_line_id"),
    _count("quantity"),
    Column("lots", JSON),  # core.shipping.Lot, plain: of a 3PL that tells them
    PrimaryKeyConstraint("merchant_id", "parcel_id", "order_line_id"),
    _belongs("merchant_id", "parcel_id", to="parcel"),
    _belongs("merchant_id", "order_line_id", to="order_line"),
    CheckConstraint("quantity > 0", name="quantity"),
    Index("ix_parcel_line_order_line", "merchant_id", "order_line_id"),
)

# Units of each SKU that left with a 3PL's shipment, parts of kits that are not complete yet among them.
shipped_part = Table(
    "shipped_part",
    metadata,
    _id("merchant_id"),
    _id("shipment_id"),
    _id("order_line_id"),
    _id("sku_id"),
    _count("quantity"),
    Column("lots", JSON, nullable=False, default=list, server_default=text("'[]'")),  # core.shipping.Lot, plain
    Column("serial_numbers", JSON, nullable=False, default=list, server_default=text("'[]'")),
    PrimaryKeyConstraint("merchant_id", "shipment_id", "order_line_id", "sku_id"),
    _belongs("merchant_id", "shipment_id", to="shipment"),
    _belongs("merchant_id", "order_line_id", to="order_line"),
    _belongs("merchant_id", "sku_id", to="sku"),
    CheckConstraint("quantity > 0", name="quantity"),
    Index("ix_shipped_part_order_line", "merchant_id", "order_line_id"),
)

# What a 3PL calls a SKU: learned from its counts, or entered by a person.
provider_item = Table(
    "provider_item",
    metadata,
    _id("merchant_id"),
    _id("connection_id"),
    Column("name", String(200), nullable=False),  # its SKU, as it writes it
    _text("item_external_id", 200),
    _id("sku_id", nullable=True),  # None: nobody has said yet which one it is
    _moment("heard_at", nullable=False),
    _text("matched_by", 320),  # "": it is called the same here
    PrimaryKeyConstraint("merchant_id", "connection_id", "name"),
    _belongs("merchant_id", "connection_id", to="connection"),
    _belongs("merchant_id", "sku_id", to="sku"),
    # Two names of one SKU at one 3PL would overwrite each other's counts.
    Index(
        "uq_provider_item_sku",
        "merchant_id",
        "connection_id",
        "sku_id",
        unique=True,
        sqlite_where=text("sku_id is not null"),
        postgresql_where=text("sku_id is not null"),
    ),
)

# What a 3PL said last of an item at one of its places.
provider_stock = Table(
    "provider_stock",
    metadata,
    _id("merchant_id"),
    _id("connection_id"),
    Column("place_external_id", String(200), nullable=False),
    Column("name", String(200), nullable=False),
    _count("on_hand"),
    _count("available"),
    Column("inbound", Integer),  # on its way there; None: the 3PL does not say
    Column("reserved", Integer),  # of on_hand, promised to others; None: the 3PL does not say
    Column("lots", JSON, nullable=False, default=list, server_default=text("'[]'")),  # core.shipping.Lot, plain
    _moment("counted_at", nullable=False),
    _count("unexplained"),  # units that went, count after count, without a shipment or a reason: 0, or below
    _moment("heard_at", nullable=False),
    PrimaryKeyConstraint("merchant_id", "connection_id", "place_external_id", "name"),
    _belongs("merchant_id", "connection_id", "name", to="provider_item", key=("merchant_id", "connection_id", "name")),
    _belongs(
        "merchant_id",
        "connection_id",
        "place_external_id",
        to="channel_location",
        key=("merchant_id", "connection_id", "external_id"),
    ),
)

# What carriers said of a shipment. Places and messages lead to a person (store.privacy), so that it is no ledger.
tracking_event = Table(
    "tracking_event",
    metadata,
    _id("merchant_id"),
    _id("shipment_id"),
    Column("tracking_number", String(100), nullable=False),
    _moment("happened_at", nullable=False),
    Column("status", String(20), nullable=False),
    Column("carrier_status", String(120), nullable=False),
    _text("message", 500),
    _text("place", 200),
    _moment("heard_at", nullable=False),
    PrimaryKeyConstraint("merchant_id", "shipment_id", "tracking_number", "happened_at", "status", "carrier_status"),
    _belongs("merchant_id", "shipment_id", to="shipment"),
)

# ---------------------------------------------------------------- in and out

inbox = Table(
    "inbox",
    metadata,
    _id("merchant_id"),
    _id(),
    _id("connection_id"),
    Column("source", String(10), nullable=False),  # webhook, poll, fetch
    Column("topic", String(100), nullable=False),
    _text("external_id", 200),
    _text("version", 100),
    Column("dedupe_key", String(300), nullable=False),
    Column("body_sha256", String(64), nullable=False),
    Column("headers", JSON, nullable=False),
    _moment("received_at", nullable=False),
    Column("asked_at", Moment),  # fetched records: when the vendor was asked, so that the answer is at least this new
    _text("state", 12),  # pending, done, ignored, quarantined
    _count("attempts"),
    _count("crash_count"),
    _text("error"),
    _moment("done_at"),
    PrimaryKeyConstraint("merchant_id", "id"),
    UniqueConstraint("merchant_id", "connection_id", "source", "dedupe_key"),
    _belongs("merchant_id", "connection_id", to="connection"),
    CheckConstraint("state in ('pending', 'done', 'ignored', 'quarantined')", name="state"),
    Index(
        "ix_inbox_pending",
        "merchant_id",
        "connection_id",
        "received_at",
        "id",
        sqlite_where=text("state = 'pending'"),
        postgresql_where=text("state = 'pending'"),
    ),
    Index(
        "ix_inbox_quarantined",
        "merchant_id",
        "connection_id",
        "received_at",
        "id",
        sqlite_where=text("state = 'quarantined'"),
        postgresql_where=text("state = 'quarantined'"),
    ),
    Index("ix_inbox_external_id", "merchant_id", "connection_id", "external_id"),
)

inbox_body = Table(
    "inbox_body",
    metadata,
    _id("merchant_id"),
    _id("inbox_id"),
    Column("body", LargeBinary, nullable=False),  # compressed, then encrypted
    _moment("received_at", nullable=False),
    PrimaryKeyConstraint("merchant_id", "inbox_id"),
    _belongs("merchant_id", "inbox_id", to="inbox"),
    Index("ix_inbox_body_received_at", "received_at"),
)

cursor = Table(
    "cursor",
    metadata,
    _id("merchant_id"),
    _id("connection_id"),
    # orders, listings; webhooks: whether they are still sent; messages: a queue; "one order": when single orders may be
    # asked for again
    Column("stream", String(20), nullable=False),
    Column("value", Text),  # the connector's own text; None: from the beginning
    _moment("due_at"),  # None: not polled
    _moment("polled_at"),  # the last time the stream was read to its end
    _count("fetched"),
    Column("total", Integer),
    _text("error"),
    PrimaryKeyConstraint("merchant_id", "connection_id", "stream"),
    _belongs("merchant_id", "connection_id", to="connection"),
)

fetch_request = Table(
    "fetch_request",
    metadata,
    _id("merchant_id"),
    _id("connection_id"),
    Column("kind", String(20), nullable=False),  # order, listing
    Column("external_id", String(200), nullable=False),
    _moment("requested_at", nullable=False),
    _moment("due_at", nullable=False),
    _count("attempts"),
    _text("error"),
    PrimaryKeyConstraint("merchant_id", "connection_id", "kind", "external_id"),
    _belongs("merchant_id", "connection_id", to="connection"),
    Index("ix_fetch_request_due_at", "due_at"),
)

effect = Table(
    "effect",
    metadata,
    _id("merchant_id"),
    _id(),
    _id("connection_id"),
    Column("kind", String(40), nullable=False),
    Column("ordering_key", String(300), nullable=False),
    Column("effect_key", Uuid, nullable=False),
    Column("generation", Integer, nullable=False, default=1),
    Column("request", JSON, nullable=False),
    _text("state", 12),
    Column("fence", BigInteger, nullable=False, default=0),
    _moment("lease_until"),
    _count("attempts"),
    _count("crash_count"),
    _flag("unclear"),  # an earlier attempt may have reached the vendor: settle before sending again
    _flag("look_first"),  # what another effect has brought about may still be so: then nothing is written
    _moment("due_at", nullable=False),
    _moment("sent_at"),  # of the first attempt
    _text("reference", 300),
    Column("result", JSON),
    _text("error"),
    _moment("created_at", nullable=False),
    _moment("finished_at"),
    _id("order_id", nullable=True),
    PrimaryKeyConstraint("merchant_id", "id"),
    UniqueConstraint("merchant_id", "effect_key"),
    _belongs("merchant_id", "connection_id", to="connection"),
    _belongs("merchant_id", "order_id", to="sales_order"),
    CheckConstraint(
        "state in ('planned', 'in_flight', 'succeeded', 'failed', 'unknown', 'cancelled')",
        name="state",
    ),
    Index(
        "uq_effect_one_in_flight",
        "merchant_id",
        "ordering_key",
        unique=True,
        sqlite_where=text("state = 'in_flight'"),
        postgresql_where=text("state = 'in_flight'"),
    ),
    Index(
        "ix_effect_due",
        "merchant_id",
        "connection_id",
        "due_at",
        sqlite_where=text("state in ('planned', 'in_flight')"),
        postgresql_where=text("state in ('planned', 'in_flight')"),
    ),
    Index("ix_effect_ordering_key", "merchant_id", "ordering_key", "created_at"),
    Index("ix_effect_order", "merchant_id", "order_id"),
)

# What was asked of a vendor and what it sent, request by request, for people who look for what went wrong. Kept for a
# few days and up to so many per connection; nothing depends on it.
exchange = Table(
    "exchange",
    metadata,
    _id("merchant_id"),
    _id("connection_id"),
    _id(),  # by the time it was made: the list of a connection goes along the key
    _moment("at", nullable=False),
    _text("lane", 12),  # which work it was done for; "webhook": the vendor has sent it
    _flag("received"),  # the vendor has sent it; otherwise the hub has
    _text("method", 10),
    _text("host", 255),
    _text("path", 500),
    Column("status", Integer),  # None: no answer
    _count("milliseconds"),
    _count("request_bytes"),
    _count("response_bytes"),
    _flag("failed"),
    _flag("tells"),  # the details hold more than headers, and may be about a customer
    Column("details", LargeBinary),  # query, headers and, of a failure, what was said: compressed, then encrypted
    _id("order_id", nullable=True),
    _id("effect_id", nullable=True),
    PrimaryKeyConstraint("merchant_id", "connection_id", "id"),
    _belongs("merchant_id", "connection_id", to="connection"),
    _belongs("merchant_id", "order_id", to="sales_order"),
    _belongs("merchant_id", "effect_id", to="effect"),
    Index(
        "ix_exchange_order",
        "merchant_id",
        "order_id",
        "id",
        sqlite_where=text("order_id is not null"),
        postgresql_where=text("order_id is not null"),
    ),
    Index(
        "ix_exchange_effect",
        "merchant_id",
        "effect_id",
        "id",
        sqlite_where=text("effect_id is not null"),
        postgresql_where=text("effect_id is not null"),
    ),
)

# Files that came with the result of an effect: labels and other papers to be printed.
document = Table(
    "document",
    metadata,
    _id("merchant_id"),
    _id(),
    _id("effect_id"),
    _id("order_id", nullable=True),
    Column("kind", String(12), nullable=False),  # core.shipping.DocumentKind
    Column("format", String(4), nullable=False),  # core.shipping.DocumentFormat
    _text("tracking_number", 200),  # which parcel it is for; "": all of them
    Column("content", LargeBinary, nullable=False),  # compressed, then encrypted
    _moment("created_at", nullable=False),
    PrimaryKeyConstraint("merchant_id", "id"),
    _belongs("merchant_id", "effect_id", to="effect"),
    _belongs("merchant_id", "order_id", to="sales_order"),
    Index("ix_document_effect", "merchant_id", "effect_id"),
    Index("ix_document_order", "merchant_id", "order_id"),
)

# Long work a person asked for and follows on a page: checking a connection, adopting stock, looking at what would
# change.
task = Table(
    "task",
    metadata,
    _id("merchant_id"),
    _id(),
    _id("connection_id"),
    Column("kind", String(20), nullable=False),  # check, adopt, erase, preview, match, replay, apply_replay, sample
    _text("state", 10),  # waiting, running, done, failed
    Column("request", LargeBinary),  # encrypted JSON; emptied when finished
    Column("arguments", JSON),  # what it is about, where that is no secret
    Column("result", LargeBinary),  # what was found, encrypted JSON; forgotten after a day
    _text("actor", 320),
    _text("message"),  # what it is doing, or what came of it, for a person
    _count("done"),
    Column("total", Integer),
    _count("attempts"),
    _moment("due_at", nullable=False),
    _moment("created_at", nullable=False),
    _moment("finished_at"),
    PrimaryKeyConstraint("merchant_id", "id"),
    _belongs("merchant_id", "connection_id", to="connection"),
    CheckConstraint("state in ('waiting', 'running', 'done', 'failed')", name="state"),
    Index(
        "ix_task_open",
        "merchant_id",
        "connection_id",
        sqlite_where=text("state in ('waiting', 'running')"),
        postgresql_where=text("state in ('waiting', 'running')"),
    ),
)

# What customers ask through their shop: to be told what is kept about them, and to be forgotten.
privacy_request = Table(
    "privacy_request",
    metadata,
    _id("merchant_id"),
    _id(),
    _id("connection_id"),
    Column("kind", String(10), nullable=False),  # wanted, erased
    Column("reference", String(200), nullable=False),  # the vendor's id of it
    Column("subject", LargeBinary),  # encrypted JSON: their orders and e-mail address; emptied when it is done
    _flag("everything"),  # of all customers of the shop
    _count("orders"),  # concerned so far
    _id("looked_to", nullable=True),  # the last inbox record that was looked into for it
    _moment("received_at", nullable=False),
    _moment("due_at", nullable=False),
    _moment("done_at"),
    _text("done_by", 320),
    PrimaryKeyConstraint("merchant_id", "id"),
    UniqueConstraint("merchant_id", "connection_id", "kind", "reference"),
    _belongs("merchant_id", "connection_id", to="connection"),
    CheckConstraint("kind in ('wanted', 'erased')", name="kind"),
)

# Orders whose customer is to be forgotten, also those that come in only later.
erased_order = Table(
    "erased_order",
    metadata,
    _id("merchant_id"),
    _id("connection_id"),
    Column("external_id", String(200), nullable=False),
    _moment("at", nullable=False),
    PrimaryKeyConstraint("merchant_id", "connection_id", "external_id"),
    _belongs("merchant_id", "connection_id", to="connection"),
)

# ---------------------------------------------------------------- what people look at

issue = Table(
    "issue",
    metadata,
    _id("merchant_id"),
    _id(),
    Column("kind", String(40), nullable=False),
    Column("subject", String(300), nullable=False),  # what it is about; one open issue per kind and subject
    _id("connection_id", nullable=True),
    _id("order_id", nullable=True),
    _text("title", 500),
    _text("next_step", 500),
    _text("link", 300),  # the page on which the next step is taken
    _count("times", 1),
    _moment("opened_at", nullable=False),
    _moment("last_seen_at", nullable=False),
    _moment("resolved_at"),
    _text("resolved_by", 320),  # "" : the cause went away by itself
    PrimaryKeyConstraint("merchant_id", "id"),
    _of_merchant(),
    _belongs("merchant_id", "connection_id", to="connection"),
    _belongs("merchant_id", "order_id", to="sales_order"),
    Index("ix_issue_order", "merchant_id", "order_id"),
    Index(
        "ix_issue_resolved",
        "merchant_id",
        "resolved_at",
        "id",
        sqlite_where=text("resolved_at is not null"),
        postgresql_where=text("resolved_at is not null"),
    ),
    Index(
        "uq_issue_open",
        "merchant_id",
        "kind",
        "subject",
        unique=True,
        sqlite_where=text("resolved_at is null"),
        postgresql_where=text("resolved_at is null"),
    ),
)

# Append-only: one line per thing that happened. An order's timeline is its lines.
activity = Table(
    "activity",
    metadata,
    _id("merchant_id"),
    _id(),
    _moment("at", nullable=False),
    Column("kind", String(40), nullable=False),
    _id("connection_id", nullable=True),
    _id("order_id", nullable=True),
    _text("actor", 320),
    _text("summary", 500),
    Column("details", JSON),
    PrimaryKeyConstraint("merchant_id", "id"),
    _of_merchant(),
    _belongs("merchant_id", "connection_id", to="connection"),
    _belongs("merchant_id", "order_id", to="sales_order"),
    Index("ix_activity_at", "merchant_id", "at"),
    Index("ix_activity_kind", "merchant_id", "kind", "at"),
    Index(  # what happened to a connection itself
        "ix_activity_connection",
        "merchant_id",
        "connection_id",
        "at",
        sqlite_where=text("order_id is null"),
        postgresql_where=text("order_id is null"),
    ),
    Index(  # what people did
        "ix_activity_actor",
        "merchant_id",
        "actor",
        "at",
        sqlite_where=text("actor <> ''"),
        postgresql_where=text("actor <> ''"),
    ),
    Index("ix_activity_order", "merchant_id", "order_id", "at"),
    # What people did, which is little of it: the audit log.
    Index(
        "ix_activity_people",
        "merchant_id",
        "at",
        "id",
        sqlite_where=text("actor <> ''"),
        postgresql_where=text("actor <> ''"),
    ),
)


# What somebody keeps of a list: a view is its filter under a name, as it stands in the address of the page.
saved_view = Table(
    "saved_view",
    metadata,
    _id("merchant_id"),
    _id(),
    _id("user_id"),  # who made it; nobody else sees it unless it is shared
    Column("page", String(40), nullable=False),  # which list: "orders"
    Column("name", String(60), nullable=False),
    _text("query", 2000),
    _flag("shared"),
    _moment("created_at", nullable=False),
    PrimaryKeyConstraint("merchant_id", "id"),
    UniqueConstraint("merchant_id", "user_id", "page", "name"),
    _of_merchant(),
    _belongs("user_id", to="user_account", key=("id",)),
)

# How somebody wants a list to look.
list_preference = Table(
    "list_preference",
    metadata,
    _id("merchant_id"),
    _id("user_id"),
    Column("page", String(40), nullable=False),
    Column("columns", JSON, nullable=False, default=list, server_default=text("'[]'")),  # []: the usual ones
    _id("view_id", nullable=True),  # what the list begins with; None: everything
    PrimaryKeyConstraint("merchant_id", "user_id", "page"),
    _of_merchant(),
    _belongs("user_id", to="user_account", key=("id",)),
    _belongs("merchant_id", "view_id", to="saved_view"),
)

# One thing that a person does to many orders, and below what came of it order by order.
bulk_act = Table(
    "bulk_act",
    metadata,
    _id("merchant_id"),
    _id(),  # made by the page: the same form sent twice is one act
    Column("kind", String(40), nullable=False),  # of store.bulk_acts.ACTS
    Column("arguments", JSON, nullable=False),
    _id("user_id"),
    _text("actor", 320),
    Column("permissions", JSON, nullable=False),  # what the person was allowed to then: it never grows later
    _text("described", 300),  # which orders they chose, for a person
    _id("retry_of", nullable=True),
    _count("total"),
    _moment("created_at", nullable=False),
    _moment("stopped_at"),
    _text("stopped_by", 320),
    PrimaryKeyConstraint("merchant_id", "id"),
    _of_merchant(),
    _belongs("user_id", to="user_account", key=("id",)),
    _belongs("merchant_id", "retry_of", to="bulk_act"),
)

bulk_act_row = Table(
    "bulk_act_row",
    metadata,
    _id("merchant_id"),
    _id("act_id"),
    Column("number", Integer, nullable=False),  # its turn: in the sequence in which the list shows them
    _id("order_id"),
    _id("shipment_id", nullable=True),  # of an act on shipments, each of which is the row's, with its order
    _id("connection_id"),  # the order's: its lane "bulk" does it
    # waiting; done; refused: it may not or cannot be done to this order; failed: the hub stumbled; stopped by a person
    Column("state", String(10), nullable=False, default="waiting", server_default=text("'waiting'")),
    _text("said", 500),  # what came of it, for a person
    _moment("done_at"),
    _moment("not_before"),  # of one that waits for an answer from elsewhere: when it is looked at again
    PrimaryKeyConstraint("merchant_id", "act_id", "number"),
    UniqueConstraint("merchant_id", "act_id", "shipment_id"),
    _belongs("merchant_id", "act_id", to="bulk_act"),
    _belongs("merchant_id", "order_id", to="sales_order"),
    _belongs("merchant_id", "shipment_id", to="shipment"),
    _belongs("merchant_id", "connection_id", to="connection"),
    CheckConstraint("state in ('waiting', 'done', 'refused', 'failed', 'stopped')", name="state"),
    Index(
        "ix_bulk_act_row_order",
        *("merchant_id", "act_id", "order_id"),
        unique=True,
        sqlite_where=text("shipment_id is null"),
        postgresql_where=text("shipment_id is null"),
    ),
    Index(
        "ix_bulk_act_row_waiting",
        "merchant_id",
        "connection_id",
        "act_id",
        "number",
        sqlite_where=text("state = 'waiting'"),
        postgresql_where=text("state = 'waiting'"),
    ),
)


# ---------------------------------------------------------------- ledgers

APPEND_ONLY = (stock_entry, publication_entry, shortage)


def append_only_guards(dialect: str, table: str) -> list[str]:
    """The statements by which a database refuses to change or delete a line of a ledger."""
    message = f"{table} is append-only"
    if dialect == "sqlite":
        return [
            f"create trigger {table}_no_{verb} before {verb} on {table} begin select raise(abort, '{message}'); end"
            for verb in ("update", "delete")
        ]
    return [
        f"create or replace function {table}_append_only() returns trigger language plpgsql as "
        f"$$ begin raise exception '{message}' using errcode = 'integrity_constraint_violation'; end $$",
        f"create trigger {table}_append_only before update or delete on {table} "
        f"for each row execute function {table}_append_only()",
    ]


def empty_everything(connection: Connection) -> None:
    """Delete every row of every table, ledgers too: for a database that is filled anew, in the same transaction."""
    if connection.dialect.name != "sqlite":
        names = ", ".join(f'"{table.name}"' for table in metadata.sorted_tables)
        connection.execute(text(f"truncate {names}"))
        return
    with _unguarded(connection):
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())


def empty_merchant(connection: Connection, merchant_id: UUID, keeping: Collection[Table]) -> None:
    """Delete every row of a merchant, of ledgers too, but for those of the tables in ``keeping``."""
    with _unguarded(connection):
        for table in reversed(metadata.sorted_tables):
            if "merchant_id" in table.c and table not in keeping:
                connection.execute(table.delete().where(table.c.merchant_id == merchant_id))


@contextmanager
def _unguarded(connection: Connection) -> Iterator[None]:
    """Take the guards off the ledgers until the block ends, or the transaction does, which nobody else sees."""
    if connection.dialect.name != "sqlite":
        for table in APPEND_ONLY:
            connection.execute(text(f"alter table {table.name} disable trigger {table.name}_append_only"))
        yield
        for table in APPEND_ONLY:
            connection.execute(text(f"alter table {table.name} enable trigger {table.name}_append_only"))
        return
    for table in APPEND_ONLY:
        for verb in ("update", "delete"):
            connection.execute(text(f"drop trigger if exists {table.name}_no_{verb}"))
    yield
    for table in APPEND_ONLY:
        for statement in append_only_guards("sqlite", table.name):
            connection.execute(text(statement))


def _guard(target: Table, connection: Connection, **_: Any) -> None:
    for statement in append_only_guards(connection.dialect.name, target.name):
        connection.execute(text(statement))


for _ledger in APPEND_ONLY:
    event.listen(_ledger, "after_create", _guard)
