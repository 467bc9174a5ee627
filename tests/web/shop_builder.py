"""Builds what the pages show, straight in the tables: merchants and people, shops, stock, orders, issues."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import marshmallow
from argon2 import PasswordHasher
from marshmallow import fields, validate
from PIL import Image
from sqlalchemy import Connection, insert, select, update

from hub.config import Settings
from hub.connector import (
    Delivery,
    Page,
    PushOutcome,
    RawRecord,
    SalesChannel,
    Settlement,
    StockPush,
    StockRef,
    Webhook,
)
from hub.core.changes import Change
from hub.core.details import OrderDetails
from hub.core.model import (
    Account,
    ChannelShipment,
    ChannelWork,
    Charge,
    ChargeKind,
    Discount,
    Hold,
    HoldReason,
    LineQuantity,
    Listing,
    Money,
    Order,
    Payment,
    Return,
    ReturnStatus,
    Risk,
    RiskLevel,
    WorkRequest,
    WorkStatus,
)
from hub.core.plain import to_plain
from hub.errors import Unverified
from hub.jobs import Hub
from hub.pictures import thumbnails
from hub.plugins import Plugin, Registry
from hub.store import accounts, channel_work, connections, pictures, previews, searching, stock_import
from hub.store import tables as t
from hub.store.database import Database, new_id
from hub.store.secrets import KeyRing, new_key

PASSWORD = "four calm green teapots"


# ---------------------------------------------------------------- a connector that reaches nobody


class TeaSettings(marshmallow.Schema):
    address = fields.Url(
        required=True,
        schemes=("https",),
        metadata={
            "label": "Shop address",
            "hint": "As your customers type it, with https://.",
            "placeholder": "https://tea.example",
        },
    )
    plan = fields.String(
        load_default="basic",
        validate=validate.OneOf(["basic", "plus"], ["Basic", "Plus"]),
        metadata={"label": "Plan", "hint": "What you pay the tea shop for."},
    )
    everything = fields.Boolean(
        load_default=False,
        metadata={"label": "Import finished orders too", "hint": "They never change stock."},
    )
    token = fields.String(
        required=True,
        validate=validate.Length(min=8, max=100),
        metadata={"label": "Access token", "hint": "From the settings of the tea shop.", "secret": True},
    )


class TeaShop(SalesChannel):
    """A shop whose webhooks are signed with its token: "X-Tea-Signature: base64 of HMAC-SHA256"."""

    name = "tea"
    label = "Tea Shop"
    description = "Sells tea. Orders come in by webhook, stock goes out."
    api_version = "2026-10"
    settings_schema = TeaSettings
    effects: ClassVar[Mapping[str, Settlement]] = dict.fromkeys(channel_work.KINDS, Settlement.NATURAL_KEY)

    @classmethod
    def hosts(cls, settings: Mapping[str, Any]) -> Sequence[str]:
        return (settings["address"],)

    def check(self) -> Account:
        raise NotImplementedError

    def fetch_orders(self, cursor: str | None) -> Iterable[Page]:  # type: ignore[override]
        raise NotImplementedError

    def fetch_order(self, external_id: str) -> RawRecord:
        raise NotImplementedError

    def fetch_listings(self, cursor: str | None) -> Iterable[Page]:  # type: ignore[override]
        raise NotImplementedError

    def fetch_listing(self, external_id: str) -> RawRecord:
        raise NotImplementedError

    def read_order(self, record: RawRecord) -> Order:
        raise NotImplementedError

    def read_listing(self, record: RawRecord) -> Iterable[Listing]:
        raise NotImplementedError

    def read_stock(self, refs: Sequence[StockRef]) -> Sequence[int | None]:
        raise NotImplementedError

    def push_stock(self, pushes: Sequence[StockPush]) -> Sequence[PushOutcome]:
        raise NotImplementedError

    def verify(self, webhook: Webhook) -> Delivery | None:
        if webhook.body == b"ping" and "x-tea-signature" not in webhook.headers:
            return None
        given = webhook.headers.get("x-tea-signature", "")
        if not hmac.compare_digest(given.encode(), sign(self.settings["token"], webhook.body)):
            raise Unverified("The signature is wrong.")
        return Delivery(webhook.headers.get("x-tea-topic", ""), hashlib.sha256(webhook.body).hexdigest())


def sign(token: str, body: bytes) -> bytes:
    return base64.b64encode(hmac.new(token.encode(), body, "sha256").digest())


def registry(*more: type[SalesChannel]) -> Registry:
    return Registry(
        {each.name: each for each in (TeaShop, *more)},
        (
            Plugin("tea", "tallyhub-tea", "1.0", ("tea",)),
            Plugin("coffee", "coffee-hub", "0.3", error="ImportError: No module named 'beans'"),
            Plugin("mate", "mate-hub", "2.0", error="Not loaded: add mate-hub to TALLYHUB_PLUGINS.", allowed=False),
        ),
    )


@cache
def _password_hash(hasher: PasswordHasher) -> str:
    """Hashing takes its time by design: one hash does for everybody."""
    return hasher.hash(PASSWORD)


class Bell:
    """Remembers who was woken."""

    def __init__(self) -> None:
        self.rung: list[tuple[UUID, UUID, str]] = []

    def ring(self, merchant_id: UUID, connection_id: UUID, lane: str) -> None:
        self.rung.append((merchant_id, connection_id, lane))


def hub_on(database: Database, folder: Path, **settings: Any) -> Hub:
    """A hub on this database, with the tea shop as its connector and a bell that only remembers."""
    key = new_key()
    made = Settings(data_dir=folder, database_url="sqlite://", secret_keys=(key,), **settings)
    return Hub(settings=made, database=database, keyring=KeyRing([key]), registry=registry(), doorbell=Bell())


# ---------------------------------------------------------------- what is in the shop


@dataclass
class Shop:
    """One merchant, and ways to fill its tables. Times count back from ``now``."""

    hub: Hub
    merchant_id: UUID
    now: datetime
    name: str
    people: dict[str, UUID] = field(default_factory=dict)
    opened: int = 0  # connections so far: each was made a second after the one before
    balances: dict[tuple[UUID, UUID], tuple[int, int]] = field(default_factory=dict)  # what the ledger adds up to

    def ago(self, **span: float) -> datetime:
        return self.now - timedelta(**span)

    def write(self, table: Any, **values: Any) -> UUID:
        row = {"merchant_id": self.merchant_id, **values}
        with self.hub.database.write() as db:
            _insert(db, table, row)
        identity: UUID = row.get("id", self.merchant_id)
        return identity

    def person(self, email: str, role: str = "owner", name: str = "Ada") -> UUID:
        user_id = new_id()
        with self.hub.database.write() as db:
            db.execute(
                insert(t.user_account).values(
                    id=user_id,
                    email=email,
                    name=name,
                    password_hash=_password_hash(accounts._hasher),
                    created_at=self.now,
                    password_changed_at=self.now,
                )
            )
            db.execute(insert(t.membership).values(merchant_id=self.merchant_id, user_id=user_id, role=role))
        self.people[email] = user_id
        return user_id

    def connection(
        self,
        label: str = "Tea Street",
        *,
        state: str = "connected",
        live: bool = True,
        token: str = "token-of-tea",
        **more: Any,
    ) -> UUID:
        connection_id = new_id()
        settings = {"address": "https://tea.example", "plan": "basic", "everything": False, "token": token}
        shown = {name: value for name, value in settings.items() if name != "token"}
        sealed = connections.seal(self.hub.keyring, self.merchant_id, connection_id, settings, "webhook-secret")
        checked = state in ("connected", "paused")
        self.opened += 1
        row: dict[str, Any] = {
            "id": connection_id,
            "connector": "tea",
            "label": label,
            "state": state,
            "settings": shown,
            "secrets": sealed if checked else None,
            "account_external_id": f"account-{connection_id}" if checked else "",
            "account_name": f"{label} Ltd." if checked else "",
            "currency": "EUR",
            "created_at": self.ago(days=2, seconds=-self.opened),
            "checked_at": self.ago(days=2) if checked else None,
            "live_at": self.ago(days=1) if live and checked else None,
            "last_event_at": self.ago(seconds=40) if checked else None,
        }
        return self.write(t.connection, **(row | more))

    def tagged_in_bulk(self, user_id: UUID, order_id: UUID, connection_id: UUID) -> UUID:
        """A tag that somebody gave many orders, and one of them has it already."""
        asked = {"kind": "tag", "arguments": {"tag": "gift"}, "user_id": user_id, "permissions": ["orders"]}
        act_id = self.write(t.bulk_act, id=new_id(), total=1, described="status=open", created_at=self.now, **asked)
        row = {"act_id": act_id, "number": 1, "order_id": order_id, "connection_id": connection_id}
        self.write(t.bulk_act_row, state="done", said="Tagged", done_at=self.now, **row)
        return act_id

    def exchange(self, connection_id: UUID, **more: Any) -> UUID:
        """A line of the log of requests."""
        asked = {"lane": "fetch", "method": "GET", "host": "tea.example", "path": "/orders.json", "status": 200}
        row = {"id": new_id(), "connection_id": connection_id, "at": self.now, "milliseconds": 120} | asked | more
        return self.write(t.exchange, **row)

    def stock_file(self, content: bytes) -> UUID:
        """A file of stock that the owner has handed in."""
        return stock_import.hand_in(self.hub.database, self.merchant_id, "count.csv", content, "ada@tea.example")

    def location(self, name: str = "Main warehouse") -> UUID:
        return self.write(t.location, id=new_id(), name=name, created_at=self.ago(days=2))

    def place(self, connection_id: UUID, location_id: UUID | None, name: str = "", external_id: str = "") -> None:
        self.write(
            t.channel_location,
            connection_id=connection_id,
            external_id=external_id,
            name=name,
            active=True,
            location_id=location_id,
        )
        if location_id is not None:
            self.write(
                t.channel_location_source,
                connection_id=connection_id,
                external_id=external_id,
                location_id=location_id,
            )

    def sku(self, code: str, title: str = "Green tea, 100 g", *, counted: bool = True) -> UUID:
        sku_id = self.write(
            t.sku,
            id=new_id(),
            code=code,
            title=title,
            created_at=self.ago(days=2),
            counted_since=self.ago(days=1) if counted else None,
        )
        with self.hub.database.write() as db:
            searching.add_skus(db, self.merchant_id, [(sku_id, code, title)])
        return sku_id

    def kit(self, code: str, parts: Mapping[UUID, int], title: str = "Gift box") -> UUID:
        """A kit of SKUs that are no kits themselves."""
        kit_id = self.sku(code, title, counted=False)
        with self.hub.database.write() as db:
            db.execute(update(t.sku).where(t.sku.c.id == kit_id).values(kit=True))
        for part_id, quantity in parts.items():
            for table in (t.kit_part, t.kit_leaf):
                self.write(table, kit_id=kit_id, part_id=part_id, quantity=quantity)
        return kit_id

    def level(self, sku_id: UUID, location_id: UUID, on_hand: int, allocated: int = 0, **more: Any) -> None:
        row: dict[str, Any] = {
            "sku_id": sku_id,
            "location_id": location_id,
            "on_hand": on_hand,
            "allocated": allocated,
            "entries": 0,
            "updated_at": self.ago(hours=1),
        }
        self.write(t.stock_level, **(row | more))

    def entry(
        self, sku_id: UUID, location_id: UUID, cause: str, on_hand: int = 0, allocated: int = 0, **more: Any
    ) -> int:
        """The next line of the ledger; returns its number. The balance stays as ``level`` has set it."""
        here = (
            t.stock_level.c.merchant_id == self.merchant_id,
            t.stock_level.c.sku_id == sku_id,
            t.stock_level.c.location_id == location_id,
        )
        with self.hub.database.write() as db:
            number = db.execute(
                update(t.stock_level)
                .where(*here)
                .values(entries=t.stock_level.c.entries + 1)
                .returning(t.stock_level.c.entries)
            ).scalar_one()
        before = self.balances.get((sku_id, location_id), (0, 0))
        after = self.balances[sku_id, location_id] = before[0] + on_hand, before[1] + allocated
        row: dict[str, Any] = {
            "sku_id": sku_id,
            "location_id": location_id,
            "number": number,
            "on_hand_delta": on_hand,
            "allocated_delta": allocated,
            "on_hand": after[0],
            "allocated": after[1],
            "cause": cause,
            "reference": str(new_id()),
            "at": self.ago(hours=1),
        }
        self.write(t.stock_entry, **(row | more))
        return int(number)

    def document(self, kind: str, reference: str, location_id: UUID, lines: Mapping[UUID, int], **more: Any) -> UUID:
        """A stock document; a transfer is still in transit. The balances stay as ``level`` has set them."""
        row: dict[str, Any] = {
            "id": new_id(),
            "kind": kind,
            "reference": reference,
            "location_id": location_id,
            "state": "in_transit" if kind == "transfer" else "done",
            "actor": "ada@tea.example",
            "created_at": self.ago(hours=1),
        }
        document_id = self.write(t.stock_document, **(row | more))
        for sku_id, quantity in lines.items():
            self.write(t.stock_document_line, document_id=document_id, sku_id=sku_id, quantity=quantity)
        return document_id

    def listing(self, connection_id: UUID, external_id: str, sku_id: UUID | None = None, **more: Any) -> UUID:
        row: dict[str, Any] = {
            "id": new_id(),
            "connection_id": connection_id,
            "external_id": external_id,
            "sku_id": sku_id,
            "sku_text": f"TEXT-{external_id}",
            "title": f"Listing {external_id}",
            "handles": {},
            "imported_at": self.ago(days=2),
            "bound_at": self.ago(days=1) if sku_id else None,
            "bound_by": "ada@tea.example" if sku_id else "",
        }
        return self.write(t.listing, **(row | more))

    def picture(self, listing_id: UUID, connection_id: UUID, color: str = "teal") -> str:
        """A picture of the listing, all of one color, that was fetched; returns where pages find it."""
        source = f"https://cdn.example/{listing_id}.png"
        with self.hub.database.write() as db:
            pictures.want(db, self.merchant_id, connection_id, [source], at=self.now)
            wanted = pictures.claim(db, self.merchant_id, connection_id, at=self.now)
            assert wanted is not None
            pictures.keep(db, self.merchant_id, wanted.id, thumbnails(all_of(color)), at=self.now)
            address: str = db.execute(select(t.picture.c.address).where(t.picture.c.id == wanted.id)).scalar_one()
        self.write_to(t.listing, listing_id, picture_id=wanted.id)
        return address

    def publication(self, listing_id: UUID, connection_id: UUID, quantity: int | None, **more: Any) -> None:
        row: dict[str, Any] = {
            "listing_id": listing_id,
            "location_external_id": "",
            "connection_id": connection_id,
            "version": 1,
            "published_version": 1,
            "quantity": quantity,
            "published_at": self.ago(minutes=3),
        }
        self.write(t.publication, **(row | more))

    def sent(self, listing_id: UUID, connection_id: UUID, figure: int, *, seconds: float, **more: Any) -> None:
        """A figure that the channel has taken in so many seconds ago, and has not judged yet."""
        id, moment = new_id(), self.ago(seconds=seconds)
        self.publication(listing_id, connection_id, more.pop("quantity", None), pending_id=id, **more)
        self.write(
            t.pending_push,
            id=id,
            listing_id=listing_id,
            location_external_id="",
            connection_id=connection_id,
            reference="feed/1",
            key="1",
            version=2,
            quantity=figure,
            basis={},
            read_at=moment,
            sent_at=moment,
            ask_at=moment,
        )

    def order(self, connection_id: UUID, number: str, **more: Any) -> UUID:
        row: dict[str, Any] = {
            "id": new_id(),
            "connection_id": connection_id,
            "external_id": f"x{number}",
            "number": number,
            "status": "open",
            "channel_status": "processing",
            "version": self.ago(minutes=9),
            "received_at": self.ago(minutes=9),
            "placed_at": self.ago(minutes=10),
            "currency": "EUR",
            "total_minor": 2890,
            "lines_minor": 2000,
            "shipping_minor": 490,
            "tax_minor": 400,
            "customer_name": "Grace Hopper",
            "email": "grace@example.com",
            "shipping_address": {"name": "Grace Hopper", "line1": "1 Harbour Road", "city": "Bremen", "country": "DE"},
            "billing_address": {},
            "imported_at": self.ago(minutes=9),
            "updated_at": self.ago(minutes=9),
            "holds_stock": True,
        }
        order_id = self.write(t.sales_order, **(row | more))
        self.find_by_words(order_id)
        return order_id

    def find_by_words(self, order_id: UUID) -> None:
        """Keep the words of an order, as whatever changes an order does."""
        with self.hub.database.write() as db:
            searching.keep_up(db, self.merchant_id, [order_id])

    def line(self, order_id: UUID, external_id: str, sku_id: UUID | None = None, **more: Any) -> UUID:
        row: dict[str, Any] = {
            "id": new_id(),
            "order_id": order_id,
            "external_id": external_id,
            "listing_external_id": f"L{external_id}",
            "sku_id": sku_id,
            "sku_text": "TEA-1",
            "title": "Green tea, 100 g",
            "quantity": 2,
            "unit_price": "10.00",
            "total_minor": 2000,
            "tax_minor": 400,
        }
        line_id = self.write(t.order_line, **(row | more))
        self.find_by_words(order_id)
        return line_id

    def edit(self, order_id: UUID, *changes: Change, revision: int = 1) -> None:
        """An edit at the shop, as the hub keeps it."""
        moments = {"version": self.ago(minutes=9), "received_at": self.ago(minutes=9), "at": self.ago(minutes=9)}
        self.write(t.order_version, order_id=order_id, revision=revision, changes=to_plain(changes), **moments)

    def wished(
        self, order_id: UUID, connection_id: UUID, kind: str, part: str, state: str = "planned", **more: Any
    ) -> UUID:
        """Something a person wished of a part of an order."""
        row: dict[str, Any] = {
            "id": new_id(),
            "connection_id": connection_id,
            "order_id": order_id,
            "kind": kind,
            "ordering_key": f"{connection_id}:{order_id}",
            "effect_key": new_id(),
            "request": {"work_external_id": part},
            "state": state,
            "due_at": self.now,
            "created_at": self.ago(minutes=1),
        }
        return self.write(t.effect, **(row | more))

    def allocation(self, line_id: UUID, sku_id: UUID, location_id: UUID, quantity: int) -> None:
        self.write(t.allocation, order_line_id=line_id, sku_id=sku_id, location_id=location_id, quantity=quantity)

    def backorder(self, line_id: UUID, sku_id: UUID, quantity: int, **more: Any) -> None:
        row: dict[str, Any] = {
            "order_line_id": line_id,
            "sku_id": sku_id,
            "group_id": line_id,
            "quantity": quantity,
            "since": self.ago(minutes=10),
        }
        self.write(t.backorder, **(row | more))

    def to_ship(
        self, order_id: UUID, location_id: UUID, units: Mapping[UUID, int], reference: str, **more: Any
    ) -> UUID:
        """What a location is to ship of an order."""
        made = {"id": new_id(), "order_id": order_id, "location_id": location_id, "number": 1, "reference": reference}
        made |= {"state": "open", "created_at": self.ago(minutes=8), "updated_at": self.ago(minutes=8)}
        identity = self.write(t.fulfillment_order, **(made | more))
        for line_id, quantity in units.items():
            self.write(t.fulfillment_line, fulfillment_order_id=identity, order_line_id=line_id, quantity=quantity)
        return identity

    def shipment(self, order_id: UUID, work_id: UUID, line_id: UUID, state: str = "draft", **more: Any) -> UUID:
        """A parcel of one unit for which two offers are there, and something was said of its way."""
        identity = new_id()
        rates = [
            {
                "external_id": name,
                "carrier": "royal_mail",
                "service": name,
                "cost": {"amount": price, "currency": "GBP"},
            }
            for name, price in (("economy", "4.90"), ("express", "12.40"))
        ]
        answers = [
            {"connection": str(identity), "account": "Post", "rates": rates},
            {"connection": str(order_id), "account": "Other", "trouble": "No answer within 8 seconds."},
        ]
        chosen = {"connection": str(identity), "rate": rates[0], "why": "Cheapest of 2 offers.", "by": ""}
        row = {
            "order_id": order_id,
            "fulfillment_order_id": work_id,
            "state": state,
            "rates": answers,
            "choice": chosen,
        }
        row |= {"reference": f"S-{str(identity)[-8:]}", "rates_at": self.now, "created_at": self.now}
        row["tracking_numbers"] = ["GB1"]
        self.write(t.shipment, id=identity, **(row | more))
        box = new_id()
        self.write(t.parcel, id=box, shipment_id=identity, number=1, weight_grams=400, tracking_number="GB1")
        self.write(t.parcel_line, parcel_id=box, order_line_id=line_id, quantity=1)
        said = {"tracking_number": "GB1", "happened_at": self.now, "status": "in_transit", "carrier_status": "IT"}
        self.write(t.tracking_event, shipment_id=identity, heard_at=self.now, place="Leeds, GB", **said)
        self.find_by_words(order_id)
        return identity

    def issue(self, title: str = "A shop refused the token", **more: Any) -> UUID:
        row: dict[str, Any] = {
            "id": new_id(),
            "kind": "reconnect",
            "subject": str(new_id()),
            "title": title,
            "next_step": "Reconnect the shop.",
            "link": "/connections",
            "opened_at": self.ago(minutes=5),
            "last_seen_at": self.ago(minutes=1),
        }
        return self.write(t.issue, **(row | more))

    def record(self, connection_id: UUID, state: str = "done", **more: Any) -> UUID:
        """A record in the inbox, by default a webhook about the order x1001."""
        record_id = new_id()
        row: dict[str, Any] = {
            "id": record_id,
            "connection_id": connection_id,
            "source": "webhook",
            "topic": "order.created",
            "external_id": "x1001",
            "dedupe_key": str(record_id),
            "body_sha256": "0" * 64,
            "headers": {},
            "received_at": self.now,
            "state": state,
        }
        return self.write(t.inbox, **(row | more))

    def activity(self, summary: str = "Something happened", **more: Any) -> UUID:
        row: dict[str, Any] = {"id": new_id(), "at": self.ago(minutes=2), "kind": "order_imported", "summary": summary}
        return self.write(t.activity, **(row | more))

    def task(self, connection_id: UUID, kind: str = "check", state: str = "running", **more: Any) -> UUID:
        row: dict[str, Any] = {
            "id": new_id(),
            "connection_id": connection_id,
            "kind": kind,
            "state": state,
            "message": "Asking the shop who it is…",
            "actor": "ada@tea.example",
            "due_at": self.now,
            "created_at": self.now,
        }
        return self.write(t.task, **(row | more))

    def compared(self, connection_id: UUID, **ago: float) -> None:
        """The preview whose figures are stored was finished so long ago."""
        with self.hub.database.write() as db:
            previews.finish(db, self.merchant_id, connection_id, at=self.ago(**ago))

    def write_to(self, table: Any, row_id: UUID, **values: Any) -> None:
        """Change a row that is there."""
        with self.hub.database.write() as db:
            db.execute(
                update(table).where(table.c.merchant_id == self.merchant_id, table.c.id == row_id).values(**values)
            )

    def set_task(self, task_id: UUID, **values: Any) -> None:
        with self.hub.database.write() as db:
            db.execute(
                update(t.task).where(t.task.c.merchant_id == self.merchant_id, t.task.c.id == task_id).values(**values)
            )


def _of_line(external_id: str, quantity: int) -> tuple[LineQuantity, ...]:
    return (LineQuantity(line_external_id=external_id, quantity=quantity),)


# What a channel can tell of an order beside its lines and its money: one of each.
DETAILS: dict[str, Any] = {
    "shipping_method": "Express",
    "presentment_currency": "USD",
    "presentment_minor": 3120,
    "details": to_plain(
        OrderDetails(
            returns=(
                Return(
                    external_id="rt1", status=ReturnStatus.OPEN, lines=_of_line("1", 1), number="R-1", reason="stale"
                ),
            ),
            shipments=(
                ChannelShipment(
                    external_id="s1",
                    lines=_of_line("1", 1),
                    carrier="Royal Mail",
                    tracking_numbers=("RM-1", "RM-2"),
                    tracking_url="https://track.example/RM-1",
                ),
                ChannelShipment(external_id="s2", lines=_of_line("2", 1), cancelled=True, tracking_url="javascript:1"),
            ),
            work=(
                ChannelWork(
                    external_id="w1",
                    status=WorkStatus.ON_HOLD,
                    lines=_of_line("1", 1),
                    holds=(Hold(external_id="h1", reason=HoldReason.ADDRESS, note="No such street", held_by="Mia"),),
                ),
                ChannelWork(
                    external_id="w2",
                    status=WorkStatus.OPEN,
                    lines=_of_line("2", 2),
                    request=WorkRequest.SUBMITTED,
                    ship_by=datetime(2030, 3, 2, tzinfo=UTC),
                ),
            ),
            risk=Risk(level=RiskLevel.HIGH, reasons=("The card is from elsewhere",)),
            charges=(Charge(kind=ChargeKind.TIP, title="Tip", amount=Money.of(2, "EUR")),),
            discounts=(Discount(code="SPRING", amount=Money.of(3, "EUR")),),
            payments=(Payment(method="Voucher", amount=Money.of("28.90", "EUR"), gift_card=True),),
            attributes={"Gift message": "Happy birthday"},
        )
    ),
}


@dataclass(frozen=True)
class Furnished:
    """The ids of a shop with one of everything."""

    connection_id: UUID
    other_connection_id: UUID
    new_connection_id: UUID
    listing_id: UUID
    unmatched_listing_id: UUID
    location_id: UUID
    sku_id: UUID
    order_id: UUID
    issue_id: UUID
    task_id: UUID
    document_id: UUID
    kit_id: UUID
    request_id: UUID
    fulfillment_order_id: UUID
    shipment_id: UUID
    bulk_id: UUID
    exchange_id: UUID
    user_id: UUID
    invitation_id: UUID
    record_id: UUID
    import_id: UUID
    picture: str


@cache
def all_of(color: str) -> bytes:
    """A picture as a shop has it: PNG."""
    file = BytesIO()
    Image.new("RGB", (120, 80), color).save(file, "PNG")
    return file.getvalue()


def open_shop(hub: Hub, name: str = "Corner Shop") -> Shop:
    """A merchant with nothing in it."""
    with hub.database.write() as db:
        now = hub.database.now(db)
        merchant_id = new_id()
        db.execute(insert(t.merchant).values(id=merchant_id, name=name, created_at=now - timedelta(days=3)))
    return Shop(hub, merchant_id, now, name)


def furnish(shop: Shop) -> Furnished:
    """One of everything the pages can show."""
    location_id = shop.location()
    connection_id = shop.connection()
    other = shop.connection("Market Hall", live=False)
    fresh = shop.connection("Pier 7", state="new")
    shop.place(connection_id, location_id)
    shop.place(other, location_id, "Stall")
    sku_id = shop.sku("TEA-1")
    shop.level(sku_id, location_id, on_hand=12, allocated=2)
    shop.entry(sku_id, location_id, "adopted", on_hand=12, note="opening stock", actor="ada@tea.example")
    listing_id = shop.listing(connection_id, "L1", sku_id, title="Green tea")
    unmatched = shop.listing(connection_id, "L2", title="White tea", sku_text="TEA-2")
    shop.publication(listing_id, connection_id, 10)
    shop.write(
        t.publication_entry,
        id=new_id(),
        listing_id=listing_id,
        location_external_id="",
        version=1,
        before=12,
        quantity=10,
        cause={"cause": "allocated", "reference": "r", "order_id": None, "at": shop.now.isoformat()},
        at=shop.ago(minutes=3),
    )
    order_id = shop.order(connection_id, "1001", source="pos", tags=["VIP"], on_hold=True, risk_level="high", **DETAILS)
    first = shop.line(order_id, "1", sku_id)
    second = shop.line(order_id, "2", sku_id, position=1, total_minor=0)
    shop.line(order_id, "3", None, position=2, title="White tea", total_minor=0, listing_external_id="L2")
    shop.allocation(first, sku_id, location_id, 2)
    shop.backorder(second, sku_id, 2)
    shop.entry(sku_id, location_id, "allocated", allocated=2, order_id=order_id)
    shop.write(
        t.refund,
        order_id=order_id,
        external_id="r1",
        amount_minor=500,
        reason="late",
        refunded_at=shop.now,
        lines=[{"line_external_id": "2", "quantity": 1}],
    )
    shop.edit(order_id, Change(part="lines", external_id="1", member="quantity", subject="Mug", before=3, after=2))
    shop.wished(order_id, connection_id, "move_work", "w2", "failed", error="The location does not stock it.")
    record_id = shop.record(connection_id, received_at=shop.ago(minutes=9))
    shop.write(t.cursor, connection_id=connection_id, stream="orders", polled_at=shop.ago(seconds=30), due_at=shop.now)
    issue_id = shop.issue(connection_id=connection_id, order_id=order_id)
    shop.activity("Order 1001 imported", order_id=order_id, connection_id=connection_id, details={"lines": 3})
    task_id = shop.task(connection_id)
    document_id = shop.document("transfer", "T-1", location_id, {sku_id: 3}, to_location_id=shop.location("Harbor"))
    shop.document("receipt", "DN-7", location_id, {sku_id: 12})
    kit_id = shop.kit("BOX-1", {sku_id: 2})
    shop.write(
        t.match_act,
        id=new_id(),
        listings=1,
        summary="“Green tea” matched to SKU TEA-1",
        actor="ada@tea.example",
        at=shop.ago(days=1),
    )
    shop.write(
        t.preview_figure,
        connection_id=connection_id,
        listing_id=listing_id,
        location_external_id="",
        says=15,
        writes=10,
        change=5,
        steps=["12 are there", "2 are held by orders"],
        at=shop.ago(minutes=5),
    )
    shop.compared(connection_id, minutes=5)
    shop.write(
        t.selling_rule,
        id=new_id(),
        scope=f"{connection_id}//",
        connection_id=connection_id,
        stop_at=1,
        changed_at=shop.ago(days=1),
        changed_by="ada@tea.example",
    )
    request_id = shop.write(
        t.privacy_request,
        id=new_id(),
        connection_id=connection_id,
        kind="wanted",
        reference="furnished",
        received_at=shop.ago(days=1),
        due_at=shop.ago(days=-29),
    )
    to_ship = shop.to_ship(order_id, location_id, {first: 2}, "1001-1-ABC")
    shipment_id = shop.shipment(order_id, to_ship, first)
    scan = {"outcome": "counted", "code": "TEA-1", "order_line_id": first, "sku_id": sku_id, "units": 1, "number": 1}
    shop.write(
        t.packing_scan, id=new_id(), fulfillment_order_id=to_ship, packer="joan@tea.example", at=shop.now, **scan
    )
    sizes = {"length_mm": 300, "width_mm": 200, "height_mm": 100, "empty_grams": 90, "most_grams": 2000}
    shop.write(t.box, id=new_id(), name="Small", **sizes)
    shop.write(t.shelf, sku_id=sku_id, location_id=location_id, zone="A", name="A-1")
    held = {"reason": "address", "note": "The postal code is missing.", "external_id": "hub:address"}
    shop.write(t.order_hold, id=new_id(), order_id=order_id, placed_at=shop.now, **held)
    user_id = shop.person(f"sam-{shop.merchant_id}@tea.example", "support", "Sam")
    invitation_id = shop.write(
        t.invitation,
        id=new_id(),
        email="noor@tea.example",
        role="warehouse",
        token_sha256=f"{shop.merchant_id.hex}{shop.merchant_id.hex}",
        invited_by="ada@tea.example",
        created_at=shop.now,
        expires_at=shop.ago(days=-7),
    )
    return Furnished(
        connection_id,
        other,
        fresh,
        listing_id,
        unmatched,
        location_id,
        sku_id,
        order_id,
        issue_id,
        task_id,
        document_id,
        kit_id,
        request_id,
        to_ship,
        shipment_id,
        shop.tagged_in_bulk(user_id, order_id, connection_id),
        shop.exchange(connection_id),
        user_id,
        invitation_id,
        record_id,
        shop.stock_file(b"SKU,Quantity\nTEA-1,5\n"),
        shop.picture(listing_id, connection_id),
    )


def _insert(db: Connection, table: Any, row: Mapping[str, Any]) -> None:
    db.execute(insert(table).values(**row))


def replaced(hub: Hub, **settings: Any) -> Hub:
    """The same hub with other settings."""
    return replace(hub, settings=replace(hub.settings, **settings))
