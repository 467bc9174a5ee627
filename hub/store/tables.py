"""Every table of the hub. All are keyed by merchant first, so that the database itself refuses a reference across
merchants; without merchant only: merchant, user_account, session, setup_token and lease."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    DateTime,
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
    event,
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
    _moment("created_at", nullable=False),
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
)

membership = Table(
    "membership",
    metadata,
    _id("merchant_id"),
    _id("user_id"),
    _text("role", 20),
    PrimaryKeyConstraint("merchant_id", "user_id"),
    _of_merchant(),
    _belongs("user_id", to="user_account", key=("id",)),
    CheckConstraint("role in ('owner', 'staff')", name="role"),
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
    _text("user_agent", 300),
    _belongs("merchant_id", "user_id", to="membership", key=("merchant_id", "user_id")),
    Index("ix_session_user_id", "user_id"),
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

# ---------------------------------------------------------------- connections

connection = Table(
    "connection",
    metadata,
    _id("merchant_id"),
    _id(),
    Column("connector", String(40), nullable=False),
    _text("label", 200),
    # new: the first check has not passed; connected; paused: by a person, or the vendor refused the credentials;
    # removed: kept for its history
    _text("state", 20),
    Column("settings", JSON, nullable=False),  # without secrets
    Column("secrets", LargeBinary),  # encrypted JSON, the webhook secret among them
    _text("account_external_id", 300),
    _text("account_name", 300),
    _text("currency", 3),
    _moment("created_at", nullable=False),
    _moment("checked_at"),
    _moment("live_at"),  # set by a person; nothing is published before
    _text("error"),  # why it is not working, for a person
    _moment("not_before"),  # a rate limit or an open breaker: no call to this vendor before
    _count("failures"),  # Unavailable in a row
    _moment("last_event_at"),
    PrimaryKeyConstraint("merchant_id", "id"),
    _of_merchant(),
    CheckConstraint("state in ('new', 'connected', 'paused', 'removed')", name="state"),
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

connection_token = Table(
    "connection_token",
    metadata,
    _id("merchant_id"),
    _id("connection_id"),
    Column("name", String(60), nullable=False),
    Column("value", LargeBinary, nullable=False),  # encrypted
    _moment("expires_at"),
    PrimaryKeyConstraint("merchant_id", "connection_id", "name"),
    _belongs("merchant_id", "connection_id", to="connection"),
)

location = Table(
    "location",
    metadata,
    _id("merchant_id"),
    _id(),
    _text("name", 200),
    _moment("created_at", nullable=False),
    PrimaryKeyConstraint("merchant_id", "id"),
    UniqueConstraint("merchant_id", "name"),
    _of_merchant(),
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
    PrimaryKeyConstraint("merchant_id", "id"),
    UniqueConstraint("merchant_id", "code"),
    _of_merchant(),
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
    PrimaryKeyConstraint("merchant_id", "id"),
    UniqueConstraint("merchant_id", "connection_id", "external_id"),
    _belongs("merchant_id", "connection_id", to="connection"),
    _belongs("merchant_id", "sku_id", to="sku"),
    Index("ix_listing_sku", "merchant_id", "sku_id"),
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
    PrimaryKeyConstraint("merchant_id", "sku_id", "location_id", "number"),
    UniqueConstraint("merchant_id", "sku_id", "location_id", "cause", "reference"),
    _belongs("merchant_id", "sku_id", "location_id", to="stock_level", key=("merchant_id", "sku_id", "location_id")),
    CheckConstraint(
        "(on_hand_delta, allocated_delta, quarantined_delta, damaged_delta, incoming_delta) <> (0, 0, 0, 0, 0)",
        name="says_something",
    ),
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
    _moment("checked_at"),  # when it was known to say quantity; None: that is only expected
    _moment("dirty_since"),
    Column("cause", JSON),  # of the latest change: {"cause", "reference", "order_id"?, "at"}
    _moment("published_at"),
    _moment("verify_at"),  # read back at this time
    _moment("explain_since"),  # the channel's figure differs from ours: orders are imported before it is overwritten
    _moment("not_before"),
    _count("attempts"),
    _text("error"),
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
        "ix_publication_verify",
        "merchant_id",
        "connection_id",
        "verify_at",
        sqlite_where=text("verify_at is not null"),
        postgresql_where=text("verify_at is not null"),
    ),
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
    _flag("test"),
    _flag("paid", True),
    _moment("placed_at"),
    _moment("promised_at"),
    _moment("hold_until"),  # unpaid: its reservation is given back then, unless it is paid before
    _text("currency", 3),
    Column("total_minor", BigInteger, nullable=False, default=0),
    Column("lines_minor", BigInteger, nullable=False, default=0),
    Column("shipping_minor", BigInteger, nullable=False, default=0),
    Column("tax_minor", BigInteger, nullable=False, default=0),
    Column("discount_minor", BigInteger, nullable=False, default=0),
    Column("fees_minor", BigInteger, nullable=False, default=0),
    Column("rounding_minor", BigInteger, nullable=False, default=0),
    _flag("taxes_included"),
    _text("customer_name", 300),
    _text("email", 320),
    _text("note"),
    Column("shipping_address", JSON, nullable=False),
    Column("billing_address", JSON, nullable=False),
    _moment("imported_at", nullable=False),
    _moment("updated_at", nullable=False),
    PrimaryKeyConstraint("merchant_id", "id"),
    UniqueConstraint("merchant_id", "connection_id", "external_id"),
    _belongs("merchant_id", "connection_id", to="connection"),
    CheckConstraint(
        "status in ('pending', 'open', 'fulfilled', 'cancelled', 'refunded', 'removed')",
        name="status",
    ),
    Index("ix_sales_order_placed", "merchant_id", "placed_at"),
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
    Column("unit_price", String(40), nullable=False),
    Column("total_minor", BigInteger, nullable=False, default=0),
    Column("tax_minor", BigInteger, nullable=False, default=0),
    _flag("requires_shipping", True),
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
    PrimaryKeyConstraint("merchant_id", "order_id", "external_id"),
    _belongs("merchant_id", "order_id", to="sales_order"),
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
    Column("stream", String(20), nullable=False),  # orders, listings
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
)

# Long work a person asked for and follows on a page: checking a connection, adopting stock.
task = Table(
    "task",
    metadata,
    _id("merchant_id"),
    _id(),
    _id("connection_id"),
    Column("kind", String(20), nullable=False),  # check, adopt
    _text("state", 10),  # waiting, running, done, failed
    Column("request", LargeBinary),  # encrypted JSON; emptied when finished
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
    Index("ix_activity_order", "merchant_id", "order_id", "at"),
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
    for table in APPEND_ONLY:
        for verb in ("update", "delete"):
            connection.execute(text(f"drop trigger if exists {table.name}_no_{verb}"))
    for table in reversed(metadata.sorted_tables):
        connection.execute(table.delete())
    for table in APPEND_ONLY:
        for statement in append_only_guards("sqlite", table.name):
            connection.execute(text(statement))


def _guard(target: Table, connection: Connection, **_: Any) -> None:
    for statement in append_only_guards(connection.dialect.name, target.name):
        connection.execute(text(statement))


for _ledger in APPEND_ONLY:
    event.listen(_ledger, "after_create", _guard)
