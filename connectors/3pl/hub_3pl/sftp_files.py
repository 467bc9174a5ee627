"""The files that are exchanged with a 3PL: what their columns mean, the orders written, the rows read."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import hub
from hub import Column, FileKind, ValueKind

ACKNOWLEDGEMENTS, SHIPMENTS, STOCK, ADJUSTMENTS = "acknowledgements", "shipments", "stock", "adjustments"

_REFERENCE = Column(
    label="Our order reference",
    hint="The reference from the order file.",
    kind=ValueKind.IDENTIFIER,
    required=True,
    usual=("order_reference", "reference", "order_ref", "client_reference", "order_number", "order"),
)
_SKU = Column(
    label="SKU",
    hint="What the goods are called at the 3PL.",
    kind=ValueKind.IDENTIFIER,
    required=True,
    usual=("sku", "item", "item_number", "article", "product_code"),
)
_PLACE = Column(
    label="Place",
    hint="Which of the 3PL's places it is about, where it has several.",
    kind=ValueKind.IDENTIFIER,
    usual=("location", "warehouse", "site"),
)
_LOT = Column(
    label="Lot",
    hint="The lot (batch) of the units.",
    kind=ValueKind.IDENTIFIER,
    usual=("lot", "lot_number", "batch", "batch_number"),
)
_EXPIRY = Column(
    label="Best before",
    hint="The best-before date of the lot.",
    kind=ValueKind.DATE,
    usual=("expiry", "expiry_date", "expires_on", "best_before", "bbd"),
)


def _time(label: str, hint: str, *usual: str) -> Column:
    return Column(label=label, hint=hint, kind=ValueKind.MOMENT, usual=usual)


def _words(label: str, hint: str, *usual: str) -> Column:
    return Column(label=label, hint=hint, usual=usual)


def _id(label: str, hint: str, *usual: str, required: bool = False) -> Column:
    return Column(label=label, hint=hint, kind=ValueKind.IDENTIFIER, required=required, usual=usual)


def _units(label: str, hint: str, *usual: str, required: bool = True) -> Column:
    return Column(label=label, hint=hint, kind=ValueKind.WHOLE, required=required, usual=usual)


KINDS: Mapping[str, FileKind] = {
    ACKNOWLEDGEMENTS: FileKind(
        label="Acknowledgements",
        hint="How far each order is: accepted, rejected with the reason, held, shipped, cancelled.",
        folder="acknowledgements_folder",
        columns={
            "reference": _REFERENCE,
            "status": Column(
                label="Status",
                hint="The 3PL's own word; those that are not known hold the order until a person has looked.",
                required=True,
                usual=("status", "order_status", "state"),
            ),
            "reason": _words("Reason", "Why, where it was rejected or held.", "reason", "message", "remark", "comment"),
            "at": _time("Time", "Since when; without it the file's time counts.", "updated_at", "timestamp", "date"),
            "external_id": _id("The 3PL's order number", "What they call the order.", "provider_order_id", "their_id"),
        },
    ),
    SHIPMENTS: FileKind(
        label="Shipments",
        hint="What has left: a row for each SKU, or for each of its lots. Rows of one shipment name the same shipment.",
        folder="shipments_folder",
        columns={
            "reference": _REFERENCE,
            "sku": _SKU,
            "quantity": _units("Units", "Units that left.", "quantity", "qty", "shipped", "quantity_shipped"),
            "shipment": _id(
                "Shipment",
                "What the 3PL calls the shipment. Without it, goods of an order with one tracking number are one.",
                "shipment_id",
                "shipment",
                "delivery_number",
            ),
            "tracking": _id(
                "Tracking number",
                "The parcel's number.",
                "tracking_number",
                "tracking",
                "parcel_number",
                "consignment",
            ),
            "tracking_url": _words("Tracking link", "Where to follow the parcel.", "tracking_url", "tracking_link"),
            "carrier": _words("Carrier", "Who carries it.", "carrier", "courier"),
            "service": _words("Service", "The carrier's service.", "service", "shipping_method"),
            "shipped_at": _time(
                "Shipped", "When it left; without it the file's time counts.", "shipped_at", "ship_date"
            ),
            "line": _id("Our line", "The line's reference from the order file.", "line_reference", "line"),
            "lot": _LOT,
            "expiry": _EXPIRY,
            "serial": _id("Serial number", "Of a single unit.", "serial_number", "serial"),
            "place": _PLACE,
        },
    ),
    STOCK: FileKind(
        label="Stock",
        hint="What lies there: a row for each SKU, or for each of its lots, which then follow each other.",
        folder="stock_folder",
        columns={
            "sku": _SKU,
            "on_hand": _units(
                "On hand", "All units that lie there.", "on_hand", "quantity", "qty", "stock", "quantity_on_hand"
            ),
            "available": _units(
                "Available",
                "Units that may be sold; without it, all that lie there.",
                "available",
                "available_quantity",
                "free",
                required=False,
            ),
            "counted_at": _time(
                "Counted", "When that was true; without it the file's time counts.", "counted_at", "as_of", "timestamp"
            ),
            "lot": _LOT,
            "expiry": _EXPIRY,
            "place": _PLACE,
        },
    ),
    ADJUSTMENTS: FileKind(
        label="Stock adjustments",
        hint="Units found, lost or received: each row has a number of its own and is counted once.",
        folder="adjustments_folder",
        columns={
            "id": _id(
                "Number", "The 3PL's number of the adjustment.", "adjustment_id", "id", "transaction_id", required=True
            ),
            "sku": _SKU,
            "quantity": _units("Units", "Below zero where they are gone.", "quantity", "qty", "change", "delta"),
            "adjusted_at": _time(
                "Time", "When; without it the file's time counts.", "adjusted_at", "timestamp", "date"
            ),
            "reason": _words("Reason", "Why.", "reason", "reason_code", "comment"),
            "place": _PLACE,
        },
    ),
}

# ---------------------------------------------------------------- out

ORDER_COLUMNS = (
    "order_reference",
    "order_number",
    "placed_at",
    "service",
    "ship_by",
    "location",
    "name",
    "company",
    "address1",
    "address2",
    "city",
    "region",
    "postcode",
    "country",
    "phone",
    "email",
    "gift_message",
    "note",
    "line_reference",
    "sku",
    "item_id",
    "title",
    "quantity",
    "unit_price",
    "currency",
)
CANCELLATION_COLUMNS = ("order_reference", "requested_at")


def order_rows(order: hub.FulfillmentOrder) -> list[dict[str, str]]:
    """A row for each line, each with all of the order."""
    to = order.destination
    about = {
        "order_reference": order.reference,
        "order_number": order.number,
        "placed_at": _stamp(order.placed_at),
        "service": order.service,
        "ship_by": _stamp(order.ship_by) if order.ship_by else "",
        "location": order.location_external_id,
        "name": to.name,
        "company": to.company,
        "address1": to.line1,
        "address2": to.line2,
        "city": to.city,
        "region": to.region,
        "postcode": to.postcode,
        "country": to.country,
        "phone": to.phone,
        "email": order.email,
        "gift_message": order.gift_message,
        "note": order.note,
    }
    return [
        about
        | {
            "line_reference": line.reference,
            "sku": line.sku,
            "item_id": line.item_external_id,
            "title": line.title,
            "quantity": str(line.quantity),
            "unit_price": str(line.unit_price.amount) if line.unit_price else "",
            "currency": line.unit_price.currency if line.unit_price else "",
        }
        for line in order.lines
    ]


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


# Written by customers, and opened in spreadsheets: what looks like a formula there is none.
_FREE_TEXTS = ("name", "company", "address1", "address2", "city", "region", "gift_message", "note", "title")


def written(columns: Sequence[str], rows: Iterable[Mapping[str, str]], form: hub.FileFormat) -> bytes:
    """A file of these rows. Raises Rejected for letters that its encoding does not have."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=form.delimiter or ",", lineterminator="\r\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_harmless(row[name]) if name in _FREE_TEXTS else _one_line(row[name]) for name in columns])
    try:
        return text.getvalue().encode(form.encoding or "utf-8")
    except UnicodeEncodeError as error:
        raise hub.Rejected(
            f"The order has letters that {form.encoding} files cannot hold. Agree on UTF-8 with the 3PL, or correct "
            "the address."
        ) from error


def _harmless(text: str) -> str:
    line = _one_line(text)
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line


def _one_line(text: str) -> str:
    """Line ends and what no file can hold become spaces: many programs read a file line by line."""
    return "".join(each if each.isprintable() else " " for each in text).strip()


# ---------------------------------------------------------------- in

_STATES: Mapping[str, hub.ProviderState] = {
    **dict.fromkeys(("submitted", "received", "new", "open"), hub.ProviderState.SUBMITTED),
    **dict.fromkeys(("accepted", "acknowledged", "confirmed", "released", "ok"), hub.ProviderState.ACCEPTED),
    **dict.fromkeys(
        ("inprogress", "processing", "picking", "picked", "packing", "packed"), hub.ProviderState.IN_PROGRESS
    ),
    **dict.fromkeys(("onhold", "hold", "held", "backorder", "exception", "error"), hub.ProviderState.ON_HOLD),
    **dict.fromkeys(
        ("partiallyshipped", "partlyshipped", "partial", "partialshipment"), hub.ProviderState.PARTIALLY_SHIPPED
    ),
    **dict.fromkeys(("shipped", "dispatched", "despatched", "complete", "completed"), hub.ProviderState.SHIPPED),
    **dict.fromkeys(("rejected", "refused", "declined", "invalid"), hub.ProviderState.REJECTED),
    **dict.fromkeys(("cancelled", "canceled"), hub.ProviderState.CANCELLED),
}
_TOO_LATE = (
    "cancelrefused",
    "cancelrejected",
    "cancellationrefused",
    "cancellationrejected",
    "toolate",
    "notcancelled",
)


class Reading:
    """Reads stored records of one connection: pure, by what is known of its columns and formats now."""

    def __init__(self, form: hub.FileFormat, mappings: Mapping[str, Mapping[str, str]], place: str) -> None:
        self._form = form
        self._mappings = mappings
        self._place = place

    def chosen(self, kind: str) -> Mapping[str, str]:
        """Which column of files of this kind is which, as the merchant said."""
        return self._mappings.get(hub.columns_of(kind), {})

    def read(self, record: hub.RawRecord) -> Iterator[Any]:
        """The facts of a record. Raises Unreadable."""
        told = hub.load_json(record.body)
        if not isinstance(told, dict) or not isinstance(told.get("kind"), str) or told["kind"] not in KINDS:
            raise hub.Unreadable("The record is none of the rows that were stored.")
        where = record.headers.get("file", "")
        if told.get("header") is not None:
            self._read_header(told, where)
            return
        if told.get("wrong"):
            raise hub.Unreadable(_at(where, record.headers.get("lines", ""), str(told["wrong"])))
        rows = self._rows(told, record, where)
        modified = _modified(record)
        try:
            match told["kind"]:
                case "acknowledgements":
                    yield from _progress(rows[0], modified)
                case "shipments":
                    yield self._shipment(record.external_id, rows, modified)
                case "stock":
                    yield self._count(rows, modified)
                case _:
                    yield self._adjustment(rows[0], modified)
        except hub.Unreadable as error:
            raise hub.Unreadable(_at(where, record.headers.get("lines", ""), str(error))) from error

    def _read_header(self, told: Mapping[str, Any], where: str) -> None:
        """A file whose columns were not known: it stays where it was, and is read from there once they are."""
        header = told["header"]
        if not isinstance(header, list) or not all(isinstance(each, str) for each in header):
            raise hub.Unreadable("The record is none of the rows that were stored.")
        try:
            hub.assign_columns(KINDS[told["kind"]], header, self.chosen(told["kind"]))
        except hub.Unreadable as error:
            raise hub.Unreadable(_at(where, "", str(error))) from error

    def _rows(self, told: Mapping[str, Any], record: hub.RawRecord, where: str) -> list[dict[str, Any]]:
        lines = record.headers.get("lines", "").split()
        found, wrong = [], []
        stored = told.get("rows")
        if not isinstance(stored, list) or not stored:
            raise hub.Unreadable("The record is none of the rows that were stored.")
        for place, texts in enumerate(stored):
            if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
                raise hub.Unreadable("The record is none of the rows that were stored.")
            try:
                found.append(hub.read_values(KINDS[told["kind"]], texts, self.chosen(told["kind"]), self._form))
            except hub.Unreadable as error:
                wrong.append(_at(where, lines[place] if place < len(lines) else "", str(error)))
        if wrong:
            raise hub.Unreadable(" ".join(wrong))
        return found

    def _shipment(self, external_id: str, rows: list[dict[str, Any]], modified: datetime) -> hub.ProviderShipment:
        first = rows[0]
        lines: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in rows:
            if row["reference"] != first["reference"]:
                raise hub.Unreadable("Rows of one shipment name different orders.")
            if row["quantity"] < 0:
                raise hub.Unreadable("A shipped quantity is below zero.")
            lines.setdefault((row["sku"], row.get("line", "")), []).append(row)
        shipped_at = max((row["shipped_at"] for row in rows if "shipped_at" in row), default=None)
        return hub.ProviderShipment(
            external_id=external_id,
            reference=first["reference"],
            lines=tuple(
                hub.ShippedLine(
                    sku=sku,
                    quantity=sum(row["quantity"] for row in same),
                    line_reference=line,
                    lots=_lots(same, "quantity"),
                    serial_numbers=tuple(row["serial"] for row in same if "serial" in row),
                )
                for (sku, line), same in lines.items()
            ),
            version=shipped_at or modified,
            shipped_at=shipped_at or modified,
            carrier=first.get("carrier", ""),
            service=first.get("service", ""),
            tracking_numbers=tuple(dict.fromkeys(row["tracking"] for row in rows if "tracking" in row)),
            tracking_url=first.get("tracking_url", ""),
            location_external_id=first.get("place", self._place),
        )

    def _count(self, rows: list[dict[str, Any]], modified: datetime) -> hub.StockCount:
        if any(row["on_hand"] < 0 for row in rows):
            raise hub.Unreadable("A count is below zero.")
        return hub.StockCount(
            sku=rows[0]["sku"],
            on_hand=sum(row["on_hand"] for row in rows),
            available=sum(row.get("available", row["on_hand"]) for row in rows),
            counted_at=max((row["counted_at"] for row in rows if "counted_at" in row), default=modified),
            location_external_id=rows[0].get("place", self._place),
            lots=_lots(rows, "on_hand"),
        )

    def _adjustment(self, row: dict[str, Any], modified: datetime) -> hub.StockAdjustment:
        return hub.StockAdjustment(
            external_id=row["id"],
            sku=row["sku"],
            quantity=row["quantity"],
            adjusted_at=row.get("adjusted_at", modified),
            location_external_id=row.get("place", self._place),
            reason=row.get("reason", ""),
        )


def _at(file: str, line: str, wrong: str) -> str:
    lines = f"line{'s' if ' ' in line else ''} {', '.join(line.split())}" if line else ""
    where = ", ".join(part for part in (file, lines) if part)
    return f"{where}: {wrong}" if where else wrong


def _modified(record: hub.RawRecord) -> datetime:
    try:
        return datetime.fromisoformat(record.headers.get("modified", ""))
    except ValueError as error:
        raise hub.Unreadable("The record does not say when its file was written.") from error


def _progress(row: dict[str, Any], modified: datetime) -> Iterator[hub.Progress | hub.Cancellation]:
    word = "".join(each for each in row["status"].casefold() if each.isalnum())
    reason = row.get("reason", "")
    if word in _TOO_LATE:
        yield hub.Cancellation(reference=row["reference"], state=hub.CancelState.REFUSED, message=reason)
        return
    state = _STATES.get(word, hub.ProviderState.ON_HOLD)
    yield hub.Progress(
        reference=row["reference"],
        external_id=row.get("external_id", row["reference"]),
        state=state,
        provider_state=row["status"],
        version=row.get("at", modified),
        message=reason,
    )
    if state is hub.ProviderState.CANCELLED:
        yield hub.Cancellation(reference=row["reference"], state=hub.CancelState.CANCELLED, message=reason)


def _lots(rows: Sequence[Mapping[str, Any]], units: str) -> tuple[hub.Lot, ...]:
    lots: dict[str, hub.Lot] = {}
    for row in rows:
        if "lot" not in row:
            continue
        known = lots.get(row["lot"])
        more = known.quantity if known else 0
        lots[row["lot"]] = hub.Lot(number=row["lot"], quantity=more + row[units], expires_on=row.get("expiry"))
    return tuple(lots.values())
