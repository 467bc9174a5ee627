"""A small shop as rows: one of everything the tables hold, all of it consistent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Table, insert, update

from hub.store import tables as t
from hub.store.database import new_id
from hub.store.secrets import KeyRing

NOON = datetime(2026, 3, 2, 12, 0, 0, 123456, tzinfo=UTC)


class Shop:
    """A merchant with one healthy order of three units, two allocated and one on backorder; ids for what is planted."""

    def __init__(self, connection: Connection, keyring: KeyRing) -> None:
        self.merchant, self.channel, self.place, self.sku, self.listing = (new_id() for _ in range(5))
        self.order, self.line, self.effect, self.inbox = (new_id() for _ in range(4))
        of_merchant = {"merchant_id": self.merchant}
        self.rows: list[tuple[Table, dict[str, Any]]] = [
            (t.merchant, {"id": self.merchant, "name": "Corner Shop", "created_at": NOON}),
            (
                t.user_account,
                {"id": self.channel, "email": "a@b.example", "created_at": NOON, "password_changed_at": NOON},
            ),
            (t.membership, of_merchant | {"user_id": self.channel, "role": "owner"}),
            (t.connection, of_merchant | self._channel(keyring)),
            (t.location, of_merchant | {"id": self.place, "name": "Main", "created_at": NOON}),
            (
                t.channel_location,
                of_merchant | {"connection_id": self.channel, "external_id": "", "location_id": self.place},
            ),
            (t.sku, of_merchant | {"id": self.sku, "code": "MUG", "created_at": NOON}),
            (t.listing, of_merchant | self._listing()),
            (t.stock_level, of_merchant | self._place() | {"on_hand": 2, "allocated": 2, "updated_at": NOON}),
            (t.stock_entry, of_merchant | self._entry("adopted", on_hand=2)),
            (t.stock_entry, of_merchant | self._entry("allocated", allocated=2)),
            (t.publication, of_merchant | self._publication()),
            (t.sales_order, of_merchant | self._order()),
            (t.order_line, of_merchant | self._line()),
            (t.allocation, of_merchant | self._place() | {"order_line_id": self.line, "quantity": 2}),
            (t.backorder, of_merchant | {"order_line_id": self.line, "sku_id": self.sku, "quantity": 1, "since": NOON}),
            (t.inbox, of_merchant | self.record()),
            (
                t.inbox_body,
                of_merchant | {"inbox_id": self.inbox, "body": keyring.pack(b"{}", ""), "received_at": NOON},
            ),
            (t.effect, of_merchant | self._effect()),
            *self._more(keyring),
        ]
        for table, row in self.rows:
            connection.execute(insert(table).values(**row))

    def _more(self, keyring: KeyRing) -> list[tuple[Table, dict[str, Any]]]:
        of_merchant = {"merchant_id": self.merchant}
        of_channel = of_merchant | {"connection_id": self.channel}
        token = {"name": "access", "value": keyring.encrypt(b"token", "elsewhere")}
        written = {"listing_id": self.listing, "location_external_id": "", "version": 1, "quantity": 2, "at": NOON}
        session = {"created_at": NOON, "last_seen_at": NOON, "expires_at": NOON}
        return [
            (t.connection_token, of_channel | token),
            (
                t.publication_entry,
                of_merchant | written | {"id": new_id(), "cause": {"cause": "allocated", "share": 0.1}},
            ),
            (t.refund, of_merchant | {"order_id": self.order, "external_id": "9", "amount_minor": 2**40}),
            (t.cursor, of_channel | {"stream": "orders", "value": "2026-03-02T11:59:00Z", "due_at": NOON}),
            (t.cursor, of_channel | {"stream": "listings"}),
            (t.fetch_request, of_channel | {"kind": "order", "external_id": "8", "requested_at": NOON, "due_at": NOON}),
            (
                t.task,
                of_channel | {"id": new_id(), "kind": "check", "state": "done", "due_at": NOON, "created_at": NOON},
            ),
            (
                t.issue,
                of_merchant | {"id": new_id(), "kind": "x", "subject": "y", "opened_at": NOON, "last_seen_at": NOON},
            ),
            (
                t.activity,
                of_merchant | {"id": new_id(), "at": NOON, "kind": "x", "summary": "Zoë paid 3 € — «ok» \n\t🎁"},
            ),
            (t.session, session | of_merchant | {"token_sha256": "a" * 64, "user_id": self.channel}),
            (t.setup_token, {"token_sha256": "b" * 64, "created_at": NOON, "expires_at": NOON}),
            (t.lease, {"name": "drain", "holder": "me", "fence": 3, "until": NOON}),
        ]

    def _channel(self, keyring: KeyRing) -> dict[str, Any]:
        sealed = keyring.encrypt(b"{}", f"connection:{self.merchant}:{self.channel}:secrets")
        return {
            "id": self.channel,
            "connector": "woocommerce",
            "state": "connected",
            "settings": {},
            "secrets": sealed,
            "created_at": NOON,
        }

    def _listing(self) -> dict[str, Any]:
        return {
            "id": self.listing,
            "connection_id": self.channel,
            "external_id": "7",
            "sku_id": self.sku,
            "handles": {},
            "imported_at": NOON,
        }

    def _place(self) -> dict[str, Any]:
        return {"sku_id": self.sku, "location_id": self.place}

    def _entry(self, cause: str, *, on_hand: int = 0, allocated: int = 0) -> dict[str, Any]:
        amounts = {"on_hand_delta": on_hand, "allocated_delta": allocated}
        return self._place() | amounts | {"id": new_id(), "cause": cause, "reference": "first", "at": NOON}

    def _publication(self) -> dict[str, Any]:
        return {"listing_id": self.listing, "location_external_id": "", "connection_id": self.channel}

    def _order(self) -> dict[str, Any]:
        money = {"total_minor": 3499, "lines_minor": 3000, "shipping_minor": 490, "tax_minor": 100}
        return money | {
            "id": self.order,
            "connection_id": self.channel,
            "external_id": "100",
            "number": "100",
            "status": "open",
            "version": NOON,
            "content_sha256": "c" * 64,
            "received_at": NOON,
            "holds_stock": True,
            "discount_minor": 100,
            "fees_minor": 10,
            "rounding_minor": -1,
            "shipping_address": {},
            "billing_address": {},
            "imported_at": NOON,
            "updated_at": NOON,
        }

    def _line(self) -> dict[str, Any]:
        return {
            "id": self.line,
            "order_id": self.order,
            "external_id": "1",
            "sku_id": self.sku,
            "quantity": 5,
            "fulfilled": 1,
            "removed": 1,
            "shipped": 1,
            "unit_price": "10.00",
            "total_minor": 3000,
        }

    def record(self, **changed: Any) -> dict[str, Any]:
        return {
            "id": self.inbox,
            "connection_id": self.channel,
            "source": "webhook",
            "topic": "order.updated",
            "external_id": "100",
            "dedupe_key": "first",
            "body_sha256": "b" * 64,
            "headers": {},
            "received_at": NOON,
            "state": "done",
        } | changed

    def _effect(self) -> dict[str, Any]:
        return {
            "id": self.effect,
            "connection_id": self.channel,
            "kind": "subscribe_webhooks",
            "ordering_key": "subscription",
            "effect_key": self.effect,
            "request": {},
            "state": "in_flight",
            "fence": 1,
            "lease_until": NOON,
            "due_at": NOON,
            "created_at": NOON,
        }

    def copy(self, connection: Connection, table: Table, **changed: Any) -> None:
        """The first row of the table once more, but for what is changed."""
        row = next(row for each, row in self.rows if each is table)
        connection.execute(insert(table).values(**(row | changed)))

    def add(self, connection: Connection, table: Table, **row: Any) -> None:
        connection.execute(insert(table).values(**({"merchant_id": self.merchant} | row)))

    def move(self, connection: Connection, *, on_hand: int = 0, allocated: int = 0) -> None:
        """Change the balance, and the ledger with it."""
        level = t.stock_level.c
        balance = {"on_hand": level.on_hand + on_hand, "allocated": level.allocated + allocated}
        connection.execute(update(t.stock_level).values(**balance))
        entry = self._entry("adjusted", on_hand=on_hand, allocated=allocated)
        self.add(connection, t.stock_entry, **(entry | {"reference": "planted"}))
