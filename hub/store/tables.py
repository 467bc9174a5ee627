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

stock_level = Table(
    "stock_level",
    metadata,
    _id("merchant_id"),
    _id("sku_id"),
    _id("location_id"),
    _count("on_hand"),
    _count("allocated"),
    _moment("updated_at", nullable=False),
    PrimaryKeyConstraint("merchant_id", "sku_id", "location_id"),
    _belongs("merchant_id", "sku_id", to="sku"),
    _belongs("merchant_id", "location_id", to="location"),
    CheckConstraint("on_hand >= 0", name="on_hand"),
    CheckConstraint("allocated >= 0", name="allocated"),
    CheckConstraint("allocated <= on_hand", name="never_oversold"),
)

# Append-only. reference is unique per cause: writing the same event twice is refused by the database.
stock_entry = Table(
    "stock_entry",
    metadata,
    _id("merchant_id"),
    _id(),
    _id("sku_id"),
    _id("location_id"),
    _count("on_hand_delta"),
    _count("allocated_delta"),
    Column("cause", String(40), nullable=False),  # core.stock.Cause
    Column("reference", String(200), nullable=False),
    _id("order_id", nullable=True),
    _text("actor", 320),
    _text("note", 500),
    _moment("at", nullable=False),
    PrimaryKeyConstraint("merchant_id", "id"),
    UniqueConstraint("merchant_id", "sku_id", "location_id", "cause", "reference"),
    _belongs("merchant_id", "sku_id", "location_id", to="stock_level", key=("merchant_id", "sku_id", "location_id")),
    CheckConstraint("on_hand_delta <> 0 or allocated_delta <> 0", name="says_something"),
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
    _moment("dirty_since"),
    Column("cause", JSON),  # of the latest change: {"cause", "reference", "order_id"?, "at"}
    _moment("published_at"),
    _moment("verify_at"),  # read back at this time (channels without compare-and-set)
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
    _moment("placed_at"),
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

allocation = Table(
    "allocation",
    metadata,
    _id("merchant_id"),
    _id("order_line_id"),
    _id("sku_id"),
    _id("location_id"),
    _count("quantity"),
    PrimaryKeyConstraint("merchant_id", "order_line_id", "location_id"),
    _belongs("merchant_id", "order_line_id", to="order_line"),
    _belongs("merchant_id", "sku_id", "location_id", to="stock_level", key=("merchant_id", "sku_id", "location_id")),
    CheckConstraint("quantity > 0", name="quantity"),
    Index("ix_allocation_sku", "merchant_id", "sku_id", "location_id"),
)

backorder = Table(
    "backorder",
    metadata,
    _id("merchant_id"),
    _id("order_line_id"),
    _id("sku_id"),
    _count("quantity"),
    _moment("since", nullable=False),
    PrimaryKeyConstraint("merchant_id", "order_line_id"),
    _belongs("merchant_id", "order_line_id", to="order_line"),
    _belongs("merchant_id", "sku_id", to="sku"),
    CheckConstraint("quantity > 0", name="quantity"),
    Index("ix_backorder_sku", "merchant_id", "sku_id", "since"),
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
