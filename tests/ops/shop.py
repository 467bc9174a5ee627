"""A small shop as rows: one of everything the tables hold, all of it consistent."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Table, insert, update

from hub.store import tables as t
from hub.store.database import new_id
from hub.store.secrets import KeyRing

_FIGURES = ("on_hand", "allocated", "quarantined", "damaged", "incoming")
NOON = datetime(2026, 3, 2, 12, 0, 0, 123456, tzinfo=UTC)


class Shop:
    """A merchant with healthy orders, of mugs and of boxes, half allocated and half on backorder; ids for what is
    planted.

    A box is a mug and two tees, a crate two boxes and a tee. Tees are on their way from the main location to the barn.
    """

    def __init__(self, connection: Connection, keyring: KeyRing) -> None:
        self.merchant, self.channel, self.place, self.sku, self.listing = (new_id() for _ in range(5))
        self.order, self.line, self.effect, self.inbox = (new_id() for _ in range(4))
        self.barn, self.tee, self.box, self.crate, self.transfer = (new_id() for _ in range(5))
        self.box_order, self.box_line = new_id(), new_id()
        self.act, self.file, self.picture = new_id(), new_id(), new_id()
        of_merchant = {"merchant_id": self.merchant}
        self.rows: list[tuple[Table, dict[str, Any]]] = [
            (t.merchant, {"id": self.merchant, "name": "Corner Shop", "created_at": NOON}),
            (
                t.user_account,
                {"id": self.channel, "email": "a@b.example", "created_at": NOON, "password_changed_at": NOON}
                | {"totp_secret": keyring.encrypt(b"SECRET", "elsewhere"), "totp_on_at": NOON},
            ),
            (t.membership, of_merchant | {"user_id": self.channel, "role": "owner"}),
            (t.connection, of_merchant | self._channel(keyring)),
            (t.location, of_merchant | {"id": self.place, "name": "Main", "created_at": NOON}),
            (t.location, of_merchant | {"id": self.barn, "name": "Barn", "created_at": NOON}),
            (
                t.channel_location,
                of_merchant | {"connection_id": self.channel, "external_id": "", "location_id": self.place},
            ),
            *((t.sku, of_merchant | each) for each in self._skus()),
            *((t.sku_word, of_merchant | {"sku_id": each["id"], "word": "tea"}) for each in self._skus()),
            (t.match_act, of_merchant | {"id": self.act, "listings": 1, "summary": "1 listing matched", "at": NOON}),
            *((table, of_merchant | row) for table, row in self._pictures()),
            (t.listing, of_merchant | self._listing()),
            *((table, of_merchant | row) for table, row in self._stock()),
            (t.publication, of_merchant | self._publication()),
            (t.sales_order, of_merchant | self._order()),
            (t.sales_order, of_merchant | self._order() | self._box_order()),
            (t.order_line, of_merchant | self._line()),
            (t.order_word, of_merchant | {"order_id": self.order, "word": "zoë", "week": 2930, "placed_at": NOON}),
            (t.order_line, of_merchant | self._line() | self._box_line()),
            *((table, of_merchant | row) for table, row in self._held()),
            (t.inbox, of_merchant | self.record()),
            (
                t.inbox_body,
                of_merchant | {"inbox_id": self.inbox, "body": keyring.pack(b"{}", ""), "received_at": NOON},
            ),
            (t.effect, of_merchant | self._effect()),
            *((table, of_merchant | row) for table, row in self._on_its_way()),
            *self._more(keyring),
        ]
        for table, row in self.rows:
            connection.execute(insert(table).values(**row))

    def _more(self, keyring: KeyRing) -> list[tuple[Table, dict[str, Any]]]:
        of_merchant = {"merchant_id": self.merchant}
        of_channel = of_merchant | {"connection_id": self.channel}
        token = {"name": "access", "value": keyring.encrypt(b"token", "elsewhere")}
        written = {"listing_id": self.listing, "location_external_id": "", "version": 1, "quantity": 2, "at": NOON}
        session = {"created_at": NOON, "last_seen_at": NOON, "expires_at": NOON, "confirmed_at": NOON}
        return [
            (t.connection_token, of_channel | token),
            *((table, of_channel | row) for table, row in self._asked(keyring)),
            (
                t.preview_figure,
                of_channel
                | {"listing_id": self.listing, "location_external_id": "L1", "says": 9, "writes": 2}
                | {"change": 7, "steps": ["2 are there"], "at": NOON},
            ),
            (t.preview, of_channel | {"looked_at": NOON, "lowered": 1, "big_drops": 1}),
            (
                t.pending_push,
                of_channel
                | {"id": self.act, "listing_id": self.listing, "location_external_id": "", "version": 1, "quantity": 2}
                | {"reference": "feed/1", "key": "1/1", "basis": {}, "read_at": NOON, "sent_at": NOON, "ask_at": NOON},
            ),
            (
                t.publication_entry,
                of_merchant | written | {"id": new_id(), "cause": {"cause": "allocated", "share": 0.1}},
            ),
            (t.order_version, of_merchant | self._edit()),
            (t.document, of_merchant | self._label(keyring)),
            (t.refund, of_merchant | {"order_id": self.order, "external_id": "9", "amount_minor": 2**40}),
            (t.cursor, of_channel | {"stream": "orders", "value": "2026-03-02T11:59:00Z", "due_at": NOON}),
            (t.cursor, of_channel | {"stream": "listings"}),
            (t.fetch_request, of_channel | {"kind": "order", "external_id": "8", "requested_at": NOON, "due_at": NOON}),
            (
                t.exchange,
                of_channel
                | {
                    "id": new_id(),
                    "at": NOON,
                    "lane": "effects",
                    "method": "POST",
                    "host": "shop.example",
                    "path": "/hooks",
                }
                | {"effect_id": self.effect, "order_id": self.order, "details": None},
            ),
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
            (
                t.sandbox,
                of_merchant | {"wanted_at": NOON, "began_at": NOON, "routes": {"https://a.example": "http://b"}},
            ),
            (t.sku_pace, of_merchant | {"sku_id": self.sku, "sold": 3, "available": 1, "days_left": 9, "at": NOON}),
            (t.session, session | of_merchant | {"token_sha256": "a" * 64, "user_id": self.channel}),
            (t.setup_token, {"token_sha256": "b" * 64, "created_at": NOON, "expires_at": NOON}),
            (t.recovery_code, {"user_id": self.channel, "code_sha256": "c" * 64}),
            (t.second_step, {"token_sha256": "d" * 64, "user_id": self.channel, "expires_at": NOON}),
            (t.failed_try, {"key_sha256": "e" * 64, "times": 3, "last_at": NOON, "forget_at": NOON}),
            (
                t.invitation,
                of_merchant
                | {"id": new_id(), "email": "b@b.example", "role": "support", "token_sha256": "f" * 64}
                | {"created_at": NOON, "expires_at": NOON},
            ),
            (t.lease, {"name": "drain", "holder": "me", "fence": 3, "until": NOON}),
            (t.postal_place, {"country": "GB", "code": "LS1", "latitude": 53.8, "longitude": -1.55}),
        ]

    def _in_bulk(self, goods: UUID) -> Iterator[tuple[Table, dict[str, Any]]]:
        """A view of the list of orders, what it begins with, and carriers that were asked about many parcels."""
        view, act = new_id(), new_id()
        of_person = {"user_id": self.channel, "page": "orders"}
        yield t.saved_view, of_person | {"id": view, "name": "Late", "query": "status=open", "created_at": NOON}
        yield t.list_preference, of_person | {"columns": ["status"], "view_id": view}
        asked = {"kind": "ask_carriers", "arguments": {}, "user_id": self.channel, "permissions": ["pack"]}
        yield t.bulk_act, asked | {"id": act, "total": 1, "created_at": NOON}
        row = {"act_id": act, "number": 1, "order_id": self.order, "connection_id": self.channel, "state": "done"}
        yield t.bulk_act_row, row | {"done_at": NOON, "not_before": NOON, "shipment_id": goods}

    def _edit(self) -> dict[str, Any]:
        change = {"part": "note", "before": "", "after": "Ring twice. 🎁"}
        moments = dict.fromkeys(["version", "received_at", "at"], NOON)
        return {"order_id": self.order, "revision": 2, "changes": [change], **moments}

    def _label(self, keyring: KeyRing) -> dict[str, Any]:
        sealed = keyring.pack(b"%PDF-", "elsewhere")
        file = {"kind": "label", "format": "pdf", "content": sealed, "created_at": NOON}
        return {"id": new_id(), "effect_id": self.effect, "order_id": self.order, **file}

    def _asked(self, keyring: KeyRing) -> Iterator[tuple[Table, dict[str, Any]]]:
        """A merchant on the way to a vendor, a word that was given a meaning, a customer who asked what is kept."""
        sealed, check = keyring.encrypt(b"{}", "elsewhere"), {"kind": "check", "state": "done"}
        check |= {"id": self.channel, "due_at": NOON, "created_at": NOON}
        yield t.task, check
        sent = {"id": self.channel, "user_id": self.channel, "connector": "woocommerce", "task_id": self.channel}
        sent |= {"state_sha256": "d" * 64, "settings": sealed, "created_at": NOON, "expires_at": NOON}
        yield t.authorization, sent
        yield t.word_mapping, {"kind": "status", "word": "packed", "meaning": "open", "changed_at": NOON}
        asked = {"id": self.channel, "kind": "wanted", "reference": "9", "subject": sealed}
        yield t.privacy_request, asked | {"received_at": NOON, "due_at": NOON}
        yield t.erased_order, {"external_id": "99", "at": NOON}

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
            "image_url": "https://cdn.example/tea.jpg",
            "picture_id": self.picture,
        }

    def _pictures(self) -> list[tuple[Table, dict[str, Any]]]:
        address = f"{self.picture.hex}-0123456789abcdef"
        kept = {"source": "https://cdn.example/tea.jpg", "host": "cdn.example", "state": "kept", "address": address}
        at = {"wanted_at": NOON, "fetched_at": NOON}
        return [
            (t.picture, {"id": self.picture, "connection_id": self.channel} | kept | at),
            (t.picture_file, {"picture_id": self.picture, "size": "small", "content": b"RIFF"}),
        ]

    def _skus(self) -> list[dict[str, Any]]:
        stocked = {"created_at": NOON, "counted_since": NOON, "kit": False}
        made = {"created_at": NOON, "counted_since": None, "kit": True}
        return [
            stocked | {"id": self.sku, "code": "MUG"},
            stocked | {"id": self.tee, "code": "TEE"},
            made | {"id": self.box, "code": "BOX"},
            made | {"id": self.crate, "code": "CRATE"},
        ]

    def _stock(self) -> Iterator[tuple[Table, dict[str, Any]]]:
        """Mugs and tees with their ledgers, what is made of them, and a transfer of five tees that is half done."""
        source = {"connection_id": self.channel, "external_id": "", "location_id": self.place}
        yield t.channel_location_source, source
        yield from self._ledger(self.sku, self.place, ("adopted", {"on_hand": 3}), ("allocated", {"allocated": 3}))
        yield from self._ledger(
            self.tee,
            self.place,
            ("adopted", {"on_hand": 10}),
            ("set_aside", {"quarantined": 1}),
            ("allocated", {"allocated": 2}),
            ("sent", {"on_hand": -5}),
        )
        yield from self._ledger(
            self.tee,
            self.barn,
            ("sent", {"incoming": 5}),
            ("arrived", {"on_hand": 2, "incoming": -2}),
            ("lost", {"incoming": -1}),
        )
        moves = {"kind": "transfer", "reference": "T-1", "location_id": self.place, "to_location_id": self.barn}
        yield t.stock_document, moves | {"id": self.transfer, "state": "in_transit", "created_at": NOON}
        line = {"sku_id": self.tee, "quantity": 5, "arrived": 2, "lost": 1}
        yield t.stock_document_line, {"document_id": self.transfer} | line
        handed_in = {"id": self.file, "actor": "a@b.example", "file_name": "count.csv", "body": b"", "header": ["SKU"]}
        handed_in |= {"encoding": "utf-8", "delimiter": ",", "header_mark": "0", "columns": {}, "state": "applied"}
        yield t.stock_import, handed_in | {"location_id": self.place, "created_at": NOON, "changed_at": NOON}
        taken = {"import_id": self.file, "line": 2, "state": "applied", "code": "TEE", "sku_id": self.tee}
        taken |= {"location_id": self.barn, "quantity": 2, "before": 0, "after": 2, "document_id": self.transfer}
        taken |= {"details": {"title": ["", "Tee"]}}
        yield t.stock_import_row, taken
        entered = {self.box: {self.sku: 1, self.tee: 2}, self.crate: {self.box: 2, self.tee: 1}}
        leaves = {self.box: {self.sku: 1, self.tee: 2}, self.crate: {self.sku: 2, self.tee: 5}}
        for table, made_of in ((t.kit_part, entered), (t.kit_leaf, leaves)):
            for kit_id, parts in made_of.items():
                for part_id, units in parts.items():
                    yield table, {"kit_id": kit_id, "part_id": part_id, "quantity": units}
        yield t.stock_policy, {"queue": "first_come", "changed_at": NOON}
        yield t.selling_rule, {"id": new_id(), "scope": "", "buffer_units": 1, "changed_at": NOON}

    def _ledger(
        self, sku_id: UUID, location_id: UUID, *changes: tuple[str, dict[str, int]]
    ) -> Iterator[tuple[Table, dict[str, Any]]]:
        """The balance that these changes lead to, and their entries."""
        place = {"sku_id": sku_id, "location_id": location_id}
        balance = dict.fromkeys(_FIGURES, 0)
        entries = []
        for number, (cause, deltas) in enumerate(changes, start=1):
            balance |= {name: balance[name] + units for name, units in deltas.items()}
            said = {"number": number, "cause": cause, "reference": "first", "at": NOON}
            entries.append(place | said | {f"{name}_delta": units for name, units in deltas.items()} | balance)
        yield t.stock_level, place | balance | {"entries": len(entries), "updated_at": NOON}
        for entry in entries:
            yield t.stock_entry, entry

    def _held(self) -> Iterator[tuple[Table, dict[str, Any]]]:
        """Two mugs of three and one box of two are held; the third mug and the second box want a mug."""
        for line_id, sku_id, units in (
            (self.line, self.sku, 2),
            (self.box_line, self.sku, 1),
            (self.box_line, self.tee, 2),
        ):
            held = {"sku_id": sku_id, "location_id": self.place, "quantity": units}
            yield t.allocation, {"order_line_id": line_id} | held
        waits = {"order_line_id": self.line, "sku_id": self.sku, "group_id": self.line, "quantity": 1, "since": NOON}
        yield t.backorder, waits
        box = waits | {"order_line_id": self.box_line, "group_id": self.box_line}
        yield t.backorder, box
        yield t.backorder, box | {"sku_id": self.tee, "per_unit": 2, "missing": False}
        for sku_id, units in ((self.sku, 1), (self.tee, 2)):
            yield t.order_line_part, {"order_line_id": self.box_line, "sku_id": sku_id, "quantity": units}
        short = {"order_line_id": self.line, "order_id": self.order, "sku_id": self.sku, "units": 1, "at": NOON}
        yield t.shortage, {"id": new_id(), "reference": "first"} | short

    def _on_its_way(self) -> Iterator[tuple[Table, dict[str, Any]]]:
        """The two mugs that are held are to be shipped: the place was chosen, one lies in a parcel, and it is held."""
        decision, to_ship, replaced, goods, box = (new_id() for _ in range(5))
        yield t.order_hold, {"id": new_id(), "order_id": self.order, "reason": "address", "placed_at": NOON}
        asked = {
            "order_id": self.order,
            "connection_id": self.channel,
            "state": "answered",
            "address": {"city": "Leeds"},
        }
        yield t.address_check, asked | {"asked_at": NOON, "answered_at": NOON}
        yield t.routing_policy, {"number": 1, "rules": {}, "created_at": NOON}
        yield t.shipping_policy, {"rules": {}, "changed_at": NOON}
        yield t.shipping_service, {"method": "dhl express", "service": "express"}
        yield t.routing_mark, {"id": new_id(), "order_id": self.order, "connection_id": self.channel, "due_at": NOON}
        asked = {"order_id": self.order, "policy_number": 1, "cause": "imported", "inputs": {}, "outcome": {}}
        yield t.routing_decision, asked | {"id": decision, "at": NOON}
        work = {"order_id": self.order, "location_id": self.place, "number": 1, "reference": "100-1"}
        work |= {"state": "open", "decision_id": decision, "connection_id": self.channel}
        yield t.fulfillment_order, work | {"id": to_ship, "created_at": NOON, "updated_at": NOON}
        line = {"order_line_id": self.line, "quantity": 2}
        yield t.fulfillment_line, {"fulfillment_order_id": to_ship} | line
        sent = {"order_id": self.order, "fulfillment_order_id": to_ship, "state": "draft", "created_at": NOON}
        label = {"reference": "100-1-1", "state": "void", "connection_id": self.channel, "effect_id": self.effect}
        yield t.shipment, sent | {"id": replaced} | label
        yield t.shipment, sent | {"id": goods, "reference": "100-1-2", "supersedes_id": replaced}
        yield t.parcel, {"id": box, "shipment_id": goods, "number": 1, "weight_grams": 400}
        along = {"fulfillment_order_id": to_ship, "order_id": self.order}
        yield t.shipment_companion, along | {"shipment_id": goods, "reference": "100-1-3"}
        yield t.packed_together, along | {"lead_id": to_ship, "joined_at": NOON, "joined_by": "a@b.example"}
        yield t.parcel_line, {"parcel_id": box, "order_line_id": self.line, "quantity": 1}
        yield from self._at_a_3pl(goods)
        yield from self._in_bulk(goods)
        yield from self._on_the_table(to_ship)
        seen = {"tracking_number": "1Z", "happened_at": NOON, "status": "in_transit", "carrier_status": "I"}
        yield t.tracking_event, {"shipment_id": goods, "heard_at": NOON} | seen

    def _at_a_3pl(self, goods: UUID) -> Iterator[tuple[Table, dict[str, Any]]]:
        """What somebody else calls the mugs, and says of them."""
        part = {"order_line_id": self.line, "sku_id": self.sku, "quantity": 1}
        yield t.shipped_part, {"shipment_id": goods, "serial_numbers": ["A-1"]} | part
        item = {"connection_id": self.channel, "name": "K-MUG"}
        yield t.provider_item, item | {"sku_id": self.sku, "heard_at": NOON}
        figures = {"on_hand": 3, "available": 0, "counted_at": NOON, "heard_at": NOON}
        yield t.provider_stock, item | {"place_external_id": "", "lots": [{"number": "L1", "quantity": 3}]} | figures

    def _on_the_table(self, to_ship: UUID) -> Iterator[tuple[Table, dict[str, Any]]]:
        """One of the mugs is being packed, and the customer was told."""
        carton, of_order = new_id(), {"fulfillment_order_id": to_ship}
        yield t.handling_policy, {"priorities": [], "paper": "a4", "changed_at": NOON}
        yield t.shelf, {"sku_id": self.sku, "location_id": self.place, "zone": "A", "name": "A-1"}
        sizes = {"length_mm": 300, "width_mm": 200, "height_mm": 100, "empty_grams": 90, "most_grams": 5000}
        yield t.box, {"id": carton, "name": "Small"} | sizes
        yield t.packing, of_order | {"packer": "a@b.example", "began_at": NOON, "seen_at": NOON}
        yield t.packing_parcel, of_order | {"number": 1, "box_id": carton, "weight_grams": 400}
        scan = {"id": new_id(), "outcome": "counted", "code": "MUG", "order_line_id": self.line, "sku_id": self.sku}
        yield t.packing_scan, of_order | scan | {"units": 1, "number": 1, "at": NOON}
        told = {"id": new_id(), "connection_id": self.channel, "order_id": self.order, "occasion": "ready/1"}
        yield t.email, told | {"recipient": "c@d.example", "state": "sent", "due_at": NOON, "created_at": NOON}

    def _box_order(self) -> dict[str, Any]:
        none = dict.fromkeys(("total", "lines", "shipping", "tax", "discount", "fees", "rounding"), 0)
        money = {f"{name}_minor": units for name, units in none.items()}
        return money | {"id": self.box_order, "external_id": "200", "number": "200"}

    def _box_line(self) -> dict[str, Any]:
        of_box = {"id": self.box_line, "order_id": self.box_order, "sku_id": self.box, "total_minor": 0}
        return of_box | {"quantity": 2, "fulfilled": 0, "removed": 0, "shipped": 0}

    def _publication(self) -> dict[str, Any]:
        named = {"listing_id": self.listing, "location_external_id": "", "connection_id": self.channel}
        return named | {"pending_id": self.act}

    def _order(self) -> dict[str, Any]:
        money = {"total_minor": 3499, "lines_minor": 3000, "shipping_minor": 490, "tax_minor": 100}
        return money | {
            "id": self.order,
            "connection_id": self.channel,
            "external_id": "100",
            "number": "100",
            "status": "open",
            "version": NOON,
            "revision": 2,
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

    def move(self, connection: Connection, **changes: int) -> None:
        """Change the balance of the mugs, and the ledger with it."""
        level = t.stock_level.c
        here = (level.sku_id == self.sku, level.location_id == self.place)
        balance = {name: level[name] + units for name, units in changes.items()}
        after = connection.execute(
            update(t.stock_level).where(*here).values(entries=level.entries + 1, **balance).returning(t.stock_level)
        ).one()
        figures = {name: getattr(after, name) for name in _FIGURES}
        deltas = {f"{name}_delta": units for name, units in changes.items()}
        place = {"sku_id": self.sku, "location_id": self.place, "number": after.entries, "at": NOON}
        self.add(connection, t.stock_entry, **place, cause="adjusted", reference="planted", **figures, **deltas)
