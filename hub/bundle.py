"""Bundles: one order's records without personal data, as a test that imports them with the installed connector.

A bundle is a folder: ``bundle.json`` tells the order as a hub had it and what came in when, ``records`` holds the
bodies, ``test_bundle.py`` compares. It passes where the connector makes that order of those records, and fails where it
does not.
"""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

from marshmallow import ValidationError
from sqlalchemy import Connection, Row, insert, or_, select

from hub import plugins
from hub.config import Settings
from hub.connector import Connector, RawRecord, SalesChannel
from hub.core.details import OrderDetails
from hub.core.model import Order, Refund
from hub.core.personal import PERSONAL, without_people
from hub.core.plain import from_plain, to_plain
from hub.disguise import Disguise
from hub.errors import BadInput
from hub.jobs import Hub, inbox_lane
from hub.jobs.shift import LEASE_SECONDS, Shift
from hub.plugins import Registry
from hub.store import connections, inbox
from hub.store import tables as t
from hub.store.connections import Credentials
from hub.store.database import Database, new_id
from hub.store.secrets import KeyRing, new_key
from hub.wakeup import SilentDoorbell

_SUSPECTS = 500  # of the records that had no effect, so many of the newest are searched for the order's id
_MADE_UP = "made-up"

# ---------------------------------------------------------------- what a bundle holds


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it came in, disguised."""

    source: str
    topic: str
    external_id: str
    version: str
    headers: Mapping[str, str]
    received_at: datetime
    asked_at: datetime | None
    state: str  # what had become of it
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """An order as the hub had it, what had come in about it, and what had happened; ``remarks`` are for its maker."""

    name: str
    connector: str
    distribution: str
    version: str
    external_id: str
    settings: Mapping[str, Any]
    stored: Mapping[str, Any]
    events: Sequence[Mapping[str, Any]]
    records: Sequence[Record]
    remarks: Sequence[str] = ()


def make(hub: Hub, order: Row[Any]) -> Bundle:
    """The bundle of an order (a row of sales_order). Raises BadInput when its connector is not installed."""
    with hub.database.read() as connection:
        shop = connection.execute(
            select(t.connection).where(
                t.connection.c.merchant_id == order.merchant_id, t.connection.c.id == order.connection_id
            )
        ).one()
        told = _stored(connection, order.merchant_id, order.connection_id, order.external_id)
        events = _events(connection, order.merchant_id, order.id)
    connector = hub.registry.connector(shop.connector)
    found = _records(hub, order)
    keep = _ids_in(told) | {each.record.external_id for _, each in found}
    disguise = Disguise(keep)
    plugin = next((each for each in hub.registry.plugins if shop.connector in each.connectors), None)
    made = Bundle(
        name=re.sub(r"[^\w-]+", "", f"{shop.connector}-{order.number}"),
        connector=shop.connector,
        distribution=plugin.distribution if plugin else "",
        version=plugin.version if plugin else "",
        external_id=order.external_id,
        settings=_made_up_settings(connector, shop.settings, disguise),
        stored=_disguised(told, disguise),
        events=events,
        records=[_disguised_record(_record(row, each), disguise) for row, each in found],
    )
    return replace(made, remarks=_remarks(hub, order, made, told, [_record(row, each) for row, each in found]))


def _remarks(
    hub: Hub, order: Row[Any], made: Bundle, told: Mapping[str, Any], originals: Sequence[Record]
) -> list[str]:
    """What the maker of a bundle should know: whether it passes here, and where it tells less than there was."""

    def passes(records: Sequence[Record], wanted: Mapping[str, Any]) -> bool:
        with TemporaryDirectory() as scratch:
            about = (made.connector, made.settings, made.external_id)
            return _imported(hub.registry, *about, records, Path(scratch)) == wanted

    remarks = []
    if forgotten := _forgotten(hub.database, order):
        remarks.append(f"{forgotten} of its records have no body any more: it was deleted when its time was over.")
    if passes(made.records, made.stored):
        remarks.append("It passes here: the installed connector makes the order of these records that the hub has.")
        return remarks
    remarks.append("It fails here: the installed connector makes another order of these records than the hub has.")
    if passes(originals, told):
        remarks.append("The original records do not: what was made up is at fault, so it does not show what happened.")
    return remarks


def _records(hub: Hub, order: Row[Any]) -> list[tuple[Row[Any], inbox.Stored]]:
    """Every record about the order that still has its body, in the order they came in.

    Those that had no effect do not say what they are about: they belong to it if they name it.
    """
    this = t.inbox.c
    mine = (this.connection_id == order.connection_id, this.topic != "listing")
    about = or_(this.external_id == order.external_id, this.received_at == order.received_at)
    rows, read = inbox.read_again(
        hub.database, hub.keyring, order.merchant_id, *mine, about, this.state != "pending", limit=_SUSPECTS
    )
    named = re.compile(rb"(?<![\w])" + re.escape(order.external_id.encode()) + rb"(?![\w])")
    with hub.database.read() as connection:
        suspects = connection.execute(
            select(this.id)
            .where(this.merchant_id == order.merchant_id, *mine, this.state.in_(["quarantined", "ignored"]))
            .order_by(this.received_at.desc())
            .limit(_SUSPECTS)
        ).scalars()
        ids = [each for each in suspects if each not in read]
    others, bodies = inbox.read_again(hub.database, hub.keyring, order.merchant_id, this.id.in_(ids), limit=_SUSPECTS)
    found = [(row, read[row.id]) for row in rows if row.id in read and not read[row.id].damage]
    found += [(row, bodies[row.id]) for row in others if row.id in bodies and named.search(bodies[row.id].record.body)]
    return sorted(found, key=lambda each: (each[0].received_at, each[0].id))


def _forgotten(database: Database, order: Row[Any]) -> int:
    this = t.inbox.c
    with database.read() as connection:
        rows = connection.execute(
            select(this.id).where(
                this.merchant_id == order.merchant_id,
                this.connection_id == order.connection_id,
                this.external_id == order.external_id,
                this.id.not_in(select(t.inbox_body.c.inbox_id).where(t.inbox_body.c.merchant_id == order.merchant_id)),
            )
        ).all()
    return len(rows)


def _record(row: Row[Any], stored: inbox.Stored) -> Record:
    record = stored.record
    return Record(
        source=row.source,
        topic=record.topic,
        external_id=record.external_id,
        version=record.version,
        headers=record.headers,
        received_at=row.received_at,
        asked_at=row.asked_at,
        state=row.state,
        body=record.body,
    )


def _disguised_record(record: Record, disguise: Disguise) -> Record:
    return replace(
        record,
        version=disguise.value(record.version, "version"),
        headers=disguise.headers(record.headers),
        body=disguise.body(record.body) if record.body else b"",
    )


def _made_up_settings(connector: type[Any], settings: Mapping[str, Any], disguise: Disguise) -> dict[str, Any]:
    made = {name: disguise.value(value, "note") for name, value in settings.items()}
    return made | dict.fromkeys(sorted(connections.secret_fields(connector)), _MADE_UP)


# ---------------------------------------------------------------- the order as a hub has it

_ORDER = (
    "number", "status", "channel_status", "whole", "holds_stock", "shipped_by_channel", "test", "priced", "currency",
    "taxes_included", "customer_name", "email", "note", "total_minor", "lines_minor", "shipping_minor", "tax_minor",
    "discount_minor", "fees_minor", "rounding_minor", "risk_level", "on_hold", "returns_open", "presentment_currency",
    "presentment_minor",
)  # fmt: skip
_LINE = (
    "external_id", "position", "listing_external_id", "sku_text", "title", "quantity", "fulfilled", "removed",
    "unit_price", "total_minor", "tax_minor", "requires_shipping", "present", "kind",
)  # fmt: skip
_REFUND = ("external_id", "amount_minor", "reason", "lines")
_TEXTS = PERSONAL[Order] | PERSONAL[Refund] | {"title"}
# Words of the vendor's own in the details. Whether a record keeps them depends on where they stand in it.
_LEFT_OUT = frozenset({"number", "title", "code", "method", "carrier", "reason"})


def _stored(connection: Connection, merchant_id: UUID, connection_id: UUID, external_id: str) -> dict[str, Any]:
    """What a hub has of an order, as JSON values; empty if it does not have it. Its stock is left out: it depends on
    everything else that the merchant has."""
    order, line, refund = t.sales_order.c, t.order_line.c, t.refund.c
    row = connection.execute(
        select(t.sales_order).where(
            order.merchant_id == merchant_id, order.connection_id == connection_id, order.external_id == external_id
        )
    ).one_or_none()
    if row is None:
        return {}
    lines = connection.execute(
        select(t.order_line)
        .where(line.merchant_id == merchant_id, line.order_id == row.id)
        .order_by(line.position, line.external_id)
    ).all()
    refunds = connection.execute(
        select(t.refund)
        .where(refund.merchant_id == merchant_id, refund.order_id == row.id)
        .order_by(refund.external_id)
    ).all()
    return {
        **{name: getattr(row, name) for name in _ORDER},
        "version": _moment(row.version),
        "placed_at": _moment(row.placed_at),
        "shipping_address": dict(row.shipping_address),
        "billing_address": dict(row.billing_address),
        "details": _without_words(to_plain(without_people(from_plain(OrderDetails, row.details)))),
        "lines": [{name: getattr(each, name) for name in _LINE} for each in lines],
        "refunds": [
            {name: getattr(each, name) for name in _REFUND} | {"refunded_at": _moment(each.refunded_at)}
            for each in refunds
        ],
    }


def _without_words(details: Any) -> Any:
    if isinstance(details, list):
        return [_without_words(each) for each in details]
    if isinstance(details, dict):
        return {name: _without_words(each) for name, each in details.items() if name not in _LEFT_OUT}
    return details


def _moment(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _ids_in(told: Mapping[str, Any]) -> set[str]:
    """What stays wherever it stands: what the hub itself calls a number, an id, a SKU or a state."""
    kept = {told["number"], told["channel_status"], told["status"]}
    kept |= {line[name] or "" for line in told["lines"] for name in ("external_id", "listing_external_id", "sku_text")}
    return kept | set(_ids_within(told["refunds"])) | set(_ids_within(told["details"]))


def _ids_within(told: Any) -> Iterator[str]:
    if isinstance(told, list):
        for each in told:
            yield from _ids_within(each)
    elif isinstance(told, dict):
        for name, each in told.items():
            if name.endswith("external_id"):
                yield each
            else:
                yield from _ids_within(each)


def _disguised(told: Mapping[str, Any], disguise: Disguise) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in told.items():
        if name in _TEXTS and isinstance(value, str):
            made[name] = disguise.text(value)
        elif name.endswith("_address"):
            made[name] = {part: disguise.value({part: text}, "address")[part] for part, text in value.items()}
        elif isinstance(value, list):
            made[name] = [_disguised(each, disguise) for each in value]
        else:
            made[name] = value
    return made


def _events(connection: Connection, merchant_id: UUID, order_id: UUID) -> list[dict[str, Any]]:
    """What happened to the order and what it did to stock, in turn; without what people wrote."""
    happened, entry, sku = t.activity.c, t.stock_entry.c, t.sku.c
    lines = connection.execute(
        select(happened.at, happened.kind).where(happened.merchant_id == merchant_id, happened.order_id == order_id)
    )
    entries = connection.execute(
        select(entry.at, entry.cause, sku.code, entry.on_hand_delta, entry.allocated_delta)
        .join(t.sku, (sku.merchant_id == entry.merchant_id) & (sku.id == entry.sku_id))
        .where(entry.merchant_id == merchant_id, entry.order_id == order_id)
    )
    found = [{"at": _moment(row.at), "happened": row.kind} for row in lines] + [
        {
            "at": _moment(row.at),
            "happened": f"stock {row.cause}",
            "sku": row.code,
            "on_hand": row.on_hand_delta,
            "allocated": row.allocated_delta,
        }
        for row in entries
    ]
    return sorted(found, key=lambda each: str(each["at"]))


# ---------------------------------------------------------------- files

_TEST = '''"""Order {number} of a shop on {connector}: what its records make of it.

Names, addresses and texts are made up; amounts, quantities, moments, ids and SKUs are not. {distribution} {version} was
installed when this was written. The test passes when the installed connector makes the order that the hub had.
"""

from pathlib import Path

from hub.bundle import imported, stored

HERE = Path(__file__).parent


def test_the_records_make_the_order_that_the_hub_had(tmp_path: Path) -> None:
    assert imported(HERE, tmp_path) == stored(HERE)
'''


def write(bundle: Bundle, path: Path) -> Path:
    """Write a bundle as a folder, or as a ZIP file where the name says so. Raises BadInput when there is something."""
    if path.exists():
        raise BadInput(f"{path} is there already. Name another place with --out.")
    if path.suffix != ".zip":
        _write_folder(bundle, path)
        return path
    with TemporaryDirectory() as folder:
        whole = Path(folder) / path.stem
        _write_folder(bundle, whole)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for each in sorted(whole.rglob("*")):
                packed.write(each, each.relative_to(folder))
    return path


def _write_folder(bundle: Bundle, path: Path) -> None:
    try:
        (path / "records").mkdir(parents=True)
        rows = []
        for number, each in enumerate(bundle.records, start=1):
            kind = "json" if each.body[:1] in (b"{", b"[") else "txt"
            name = f"records/{number:02}-{re.sub(r'[^a-z0-9]+', '-', each.topic.lower())}.{kind}"
            (path / name).write_bytes(each.body)
            rows.append(
                {
                    "body": name,
                    "source": each.source,
                    "topic": each.topic,
                    "external_id": each.external_id,
                    "version": each.version,
                    "headers": dict(each.headers),
                    "received_at": _moment(each.received_at),
                    "asked_at": _moment(each.asked_at),
                    "state": each.state,
                }
            )
        about = {
            "connector": bundle.connector,
            "distribution": bundle.distribution,
            "version": bundle.version,
            "external_id": bundle.external_id,
            "settings": bundle.settings,
            "stored": bundle.stored,
            "records": rows,
            "events": list(bundle.events),
        }
        (path / "bundle.json").write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        test = _TEST.format(
            number=bundle.stored["number"],
            connector=bundle.connector,
            distribution=bundle.distribution or bundle.connector,
            version=bundle.version,
        )
        (path / "test_bundle.py").write_text(test, encoding="utf-8")
    except OSError as error:
        shutil.rmtree(path, ignore_errors=True)
        raise BadInput(f"The bundle cannot be written to {path}: {error.strerror}.") from error


# ---------------------------------------------------------------- running it


def stored(folder: Path) -> dict[str, Any]:
    """The order as the hub had it."""
    told: dict[str, Any] = _about(folder)["stored"]
    return told


def imported(folder: Path, scratch: Path) -> dict[str, Any]:
    """The order as the installed connector makes it of the records, in a hub of its own under ``scratch``.

    Empty when it makes none; a record that could not be read is named under "set_aside". Raises BadInput when the
    connector is not installed.
    """
    about = _about(folder)
    registry = plugins.load([about["distribution"]])
    received = [
        Record(
            source=row["source"],
            topic=row["topic"],
            external_id=row["external_id"],
            version=row["version"],
            headers=row["headers"],
            received_at=datetime.fromisoformat(row["received_at"]),
            asked_at=datetime.fromisoformat(row["asked_at"]) if row["asked_at"] else None,
            state=row["state"],
            body=(folder / row["body"]).read_bytes(),
        )
        for row in about["records"]
    ]
    return _imported(registry, about["connector"], about["settings"], about["external_id"], received, scratch)


def _about(folder: Path) -> Any:
    return json.loads((folder / "bundle.json").read_text(encoding="utf-8"))


def _imported(
    registry: Registry,
    connector: str,
    settings: Mapping[str, Any],
    external_id: str,
    records: Sequence[Record],
    scratch: Path,
) -> dict[str, Any]:
    channel = registry.connector(connector)
    if not issubclass(channel, SalesChannel):
        raise BadInput(f"{channel.label} is no sales channel: it has no orders.")
    keys = (new_key(),)
    scratch.mkdir(parents=True, exist_ok=True)
    database = Database(f"sqlite:///{scratch / 'bundle.sqlite3'}", pooled=False)
    hub = Hub(
        Settings(data_dir=scratch, database_url="", secret_keys=keys),
        database,
        KeyRing(keys),
        registry,
        SilentDoorbell(),
    )
    try:
        t.metadata.create_all(database.engine)
        merchant_id, connection_id = new_id(), new_id()
        with database.write() as connection:
            _receive(connection, hub.keyring, merchant_id, connection_id, connector, records)
        lease = database.lease(f"inbox:{connection_id}", LEASE_SECONDS)
        assert lease is not None  # noqa: S101 (nobody else knows of this database)
        shift = _Reading(hub, merchant_id, connection_id, "inbox", lease, float("inf"))
        shift.settings = _loaded(channel, settings)
        inbox_lane.work(shift)
        with database.read() as connection:
            told = _stored(connection, merchant_id, connection_id, external_id)
            aside = connection.execute(
                select(t.inbox.c.topic, t.inbox.c.error).where(t.inbox.c.state == "quarantined")
            ).all()
    finally:
        database.close()
    if aside:
        told["set_aside"] = [f"{row.topic}: {row.error}" for row in aside]
    return told


@dataclass
class _Reading(Shift):
    """A shift whose connector has made-up settings, which need not fit its schema."""

    settings: Mapping[str, Any] = field(default_factory=dict)

    def credentials(self, row: Row[Any]) -> Credentials:
        return Credentials(self.settings, _MADE_UP)


def _loaded(connector: type[Connector], settings: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        loaded: Mapping[str, Any] = connector.settings_schema().load(dict(settings))
    except ValidationError:
        return settings
    return loaded


def _receive(
    connection: Connection,
    keyring: KeyRing,
    merchant_id: UUID,
    connection_id: UUID,
    connector: str,
    records: Sequence[Record],
) -> None:
    at = Database.now(connection)
    connection.execute(insert(t.merchant).values(id=merchant_id, name="Bundle", created_at=at))
    connection.execute(
        insert(t.connection).values(
            merchant_id=merchant_id,
            id=connection_id,
            connector=connector,
            label="Bundle",
            state="paused",
            settings={},
            secrets=b"-",
            created_at=at,
        )
    )
    for each in records:
        record = RawRecord(each.topic, each.external_id, each.body, each.version, each.headers)
        inbox.store_received(
            connection,
            keyring,
            merchant_id,
            connection_id,
            each.source,
            record,
            received_at=each.received_at,
            asked_at=each.asked_at,
        )
