"""What people do in the warehouse: goods received, counted and sent elsewhere, each entered as one document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from flask import Blueprint, Response, flash, render_template, request, url_for
from flask_babel import gettext as _
from sqlalchemy import Connection

from hub.access import Permission
from hub.errors import BadInput, Conflict
from hub.store import warehouse as acts
from hub.store.documents import Kind
from hub.store.queries import connections, documents, stock
from hub.web import exports, forms, lists
from hub.web.failures import existing
from hub.web.gate import hub, needs, see_other, visitor
from hub.web.waking import wake

pages = Blueprint("warehouse", __name__)

_MOST_ROWS = 500  # of one form: what a browser and a person can still handle
_KINDS = tuple(each.value for each in Kind)


@dataclass(slots=True)
class Sheet:
    """A form with one row per SKU: what was typed, and what is wrong with it.

    A row is added by typing or scanning a SKU and pressing Enter: the form comes back with it, and nothing is entered.
    """

    location_id: UUID | None
    counted_at: datetime | None
    units: dict[UUID, str]  # by SKU, in the order they were added
    skus: Mapping[UUID, stock.FormSku] = field(default_factory=dict)
    scanned: str = ""
    errors: dict[str, list[str]] = field(default_factory=dict)

    def complete(self) -> tuple[UUID, dict[UUID, int]]:
        """The location and the units of each SKU. Raises BadInput with a message at each field that has none."""
        entered = {}
        for sku_id, text in self.units.items():
            with forms.gathering(self.errors):
                entered[sku_id] = forms.whole_number(text, f"units-{sku_id}")
        if not self.units:
            self.errors["scan"] = [_("Add at least one SKU: type or scan it, then press Enter.")]
        if self.location_id is None:
            self.errors["location_id"] = [_("Choose a location.")]
        if self.errors or self.location_id is None:
            raise BadInput(_("Some fields need another look. Nothing was entered."), self.errors)
        return self.location_id, entered


# ---------------------------------------------------------------- the forms


@pages.get("/stock/receive")
def receive_form() -> str:
    return _sheet_page("receive.html", _empty_sheet())


@pages.post("/stock/receive")
@needs(Permission.STOCK)
def receive() -> Any:
    """Goods that came in from a supplier, by the number of their delivery note."""
    sheet, reference = _typed_sheet(), request.form.get("reference", "").strip()
    if _still_filling_in(sheet):
        return _sheet_page("receive.html", sheet)
    try:
        if not reference:
            sheet.errors["reference"] = [_("Enter the number of the delivery note.")]
        location_id, units = sheet.complete()
        touched = acts.receive(
            hub().database,
            visitor().merchant_id,
            location_id,
            units,
            reference,
            visitor().email,
            request.form.get("note", "").strip(),
        )
    except (BadInput, Conflict) as error:
        return _refused("receive.html", sheet, error, Kind.RECEIPT, reference)
    wake(touched, "publish")
    flash(_("Delivery note %(reference)s is entered.", reference=reference), "success")
    return see_other(_document_address(Kind.RECEIPT, reference))


@pages.get("/stock/count")
def count_form() -> str:
    return _sheet_page("count.html", _empty_sheet())


@pages.post("/stock/count")
@needs(Permission.STOCK)
def count() -> Any:
    """What lies on the shelf. What differs from the ledger is shown before anything is entered."""
    sheet, reference = _typed_sheet(), f"count/{forms.once()}"
    reason = request.form.get("reason", "").strip()
    if _still_filling_in(sheet):
        return _sheet_page("count.html", sheet)
    try:
        location_id, units = sheet.complete()
        if request.form.get("act") == "check":
            return _sheet_page("count.html", sheet, checked=True)
        touched = acts.count(
            hub().database,
            visitor().merchant_id,
            location_id,
            units,
            reason,
            visitor().email,
            reference,
            sheet.counted_at,
        )
    except (BadInput, Conflict) as error:
        checked = request.form.get("act") == "enter" and not (sheet.errors or _at_rows(error))
        return _refused("count.html", sheet, error, Kind.COUNT, reference, checked=checked)
    wake(touched, "publish")
    flash(_("The count is entered. Every live shop is told now."), "success")
    return see_other(_document_address(Kind.COUNT, reference))


@pages.get("/stock/transfer")
def transfer_form() -> str:
    return _sheet_page("transfer.html", _empty_sheet())


@pages.post("/stock/transfer")
@needs(Permission.STOCK)
def transfer() -> Any:
    """Units that leave one location for another; they are in transit until somebody says that they arrived."""
    sheet = _typed_sheet()
    reference = request.form.get("reference", "").strip() or f"form/{forms.once()}"
    if _still_filling_in(sheet):
        return _sheet_page("transfer.html", sheet)
    try:
        if not request.form.get("to_location_id"):
            sheet.errors["to_location_id"] = [_("Choose where they go.")]
            sheet.complete()
        to_location_id = forms.identity("to_location_id")
        if to_location_id == sheet.location_id:
            sheet.errors["to_location_id"] = [_("They are there already. Choose another location.")]
        location_id, units = sheet.complete()
        document_id, touched = acts.send(
            hub().database,
            visitor().merchant_id,
            location_id,
            to_location_id,
            units,
            reference,
            visitor().email,
            request.form.get("note", "").strip(),
        )
    except (BadInput, Conflict) as error:
        return _refused("transfer.html", sheet, error, Kind.TRANSFER, reference)
    wake(touched, "publish")
    flash(_("They are in transit. Say here what arrives, all at once or in parts."), "success")
    return see_other(url_for(".document", document_id=document_id))


def _empty_sheet() -> Sheet:
    """A form nobody has filled in; the address may name SKUs to begin with, and the location."""
    try:
        chosen = [UUID(text) for text in request.args.getlist("sku")[:_MOST_ROWS]]
    except ValueError:
        raise lists.stale() from None
    return Sheet(lists.chosen_id("location"), None, dict.fromkeys(chosen, ""))


def _typed_sheet() -> Sheet:
    sheet = Sheet(forms.optional_identity("location_id"), None, forms.rows("sku"))
    with forms.gathering(sheet.errors):
        sheet.counted_at = forms.moment(request.form.get("counted_at", ""), "counted_at")
        if sheet.counted_at is not None and sheet.counted_at > datetime.now(UTC):
            raise BadInput(_("This is still to come."), {"counted_at": [_("This is still to come. Times are in UTC.")]})
    return sheet


def _still_filling_in(sheet: Sheet) -> bool:
    """Whether a row is added or taken away: the form comes back, and nothing is entered."""
    act, text = request.form.get("act", ""), " ".join(request.form.get("scan", "").split())
    with hub().database.read() as connection:
        if text:
            _add_row(connection, sheet, text)
        if act.startswith("remove-"):
            sheet.units = {sku_id: units for sku_id, units in sheet.units.items() if act != f"remove-{sku_id}"}
    if act not in ("enter", "check"):
        sheet.errors.pop("counted_at", None)
    return bool(text) or act not in ("enter", "check")


def _add_row(connection: Connection, sheet: Sheet, text: str) -> None:
    sku_id = stock.find(connection, visitor().merchant_id, text[:200])
    if sku_id is None:
        sheet.scanned = text
        sheet.errors["scan"] = forms.unknown_code(text)
    elif sku_id in sheet.units:
        sheet.units[sku_id] = forms.one_more(sheet.units[sku_id])
    elif len(sheet.units) >= _MOST_ROWS:
        sheet.errors["scan"] = [
            _("One document has at most %(most_rows)s SKUs. Enter this one, then begin another.", most_rows=_MOST_ROWS)
        ]
    else:
        sheet.units[sku_id] = "1"


def _at_rows(error: BadInput | Conflict) -> bool:
    return isinstance(error, BadInput) and any(name.startswith("units-") for name in error.fields)


def _refused(
    template: str, sheet: Sheet, error: BadInput | Conflict, kind: Kind, reference: str, *, checked: bool = False
) -> tuple[str, int]:
    """The form once more, with what is wrong; the message about a SKU stands at its row."""
    if isinstance(error, Conflict):
        with hub().database.read() as connection:
            there = documents.named(connection, visitor().merchant_id, kind.value, reference)
        return _sheet_page(template, sheet, message=str(error), entered_before=there, checked=checked), 409
    sheet.errors |= forms.at_rows(error.fields, sheet.units)
    return _sheet_page(template, sheet, message=str(error), checked=checked), 422


def _sheet_page(
    template: str,
    sheet: Sheet,
    *,
    message: str = "",
    entered_before: UUID | None = None,
    checked: bool = False,
) -> str:
    merchant_id = visitor().merchant_id
    with hub().database.read() as connection:
        places = connections.locations(connection, merchant_id)
        if sheet.location_id is None and len(places) == 1:
            sheet.location_id = places[0].id
        sheet.skus = stock.form_skus(connection, merchant_id, sheet.units, sheet.location_id, sheet.counted_at)
        if sheet.units.keys() != sheet.skus.keys():
            raise BadInput(_("This form names a SKU that does not exist here. Reload the page."))
        if sheet.location_id is not None and sheet.location_id not in {each.id for each in places}:
            raise BadInput(_("This location does not exist here. Reload the page."))
        waiting = documents.documents(connection, merchant_id, documents.DocumentFilter(in_transit=True), limit=20)
    return render_template(
        template,
        sheet=sheet,
        skus=sheet.skus,
        units=sheet.units,
        scanned=sheet.scanned,
        places=places,
        form=request.form,
        errors=sheet.errors,
        message=message,
        entered_before=entered_before,
        checked=checked,
        in_transit=waiting,
        # Sent back with the form: entering it twice, by a double click say, writes it once.
        once=request.form.get("once") or uuid4(),
    )


# ---------------------------------------------------------------- the documents


@pages.get("/stock/documents")
def index() -> str:
    kind, wanted = _wanted()
    before = lists.chosen_id("before")
    with hub().database.read() as connection:
        rows = documents.documents(connection, visitor().merchant_id, wanted, before=before, limit=lists.ONE_MORE)
        return render_template(
            "documents.html",
            page=lists.listed(rows, lambda row: str(row.id)),
            kind=kind,
            kinds=_KINDS,
            wanted=wanted,
            places=connections.locations(connection, visitor().merchant_id),
        )


def _wanted() -> tuple[str, documents.DocumentFilter]:
    """Which documents the address names."""
    kind = lists.choice("kind", (*_KINDS, "in_transit"))
    return kind, documents.DocumentFilter(
        kind="" if kind == "in_transit" else kind,
        location_id=lists.chosen_id("location"),
        text=lists.search_text(),
        in_transit=kind == "in_transit",
    )


@pages.post("/stock/documents.csv")
@needs(Permission.LOOK)
def export() -> Response:
    """The documents of the list, one row each."""
    _kind, wanted = _wanted()
    merchant_id, database = visitor().merchant_id, hub().database

    def read(before: UUID | None) -> list[documents.DocumentSummary]:
        with database.read() as connection:
            return documents.documents(connection, merchant_id, wanted, before=before, limit=1000)

    columns: list[exports.Column[documents.DocumentSummary]] = [
        exports.Column(_("Kind"), lambda row: row.kind),
        exports.Column(_("Number"), lambda row: row.reference),
        exports.Column(_("Location"), lambda row: row.location_name),
        exports.Column(_("To"), lambda row: row.to_location_name),
        exports.Column(_("State"), lambda row: row.state),
        exports.Column(_("SKUs"), lambda row: row.lines),
        exports.Column(_("Units"), lambda row: row.units),
        exports.Column(_("Arrived"), lambda row: row.arrived),
        exports.Column(_("Lost"), lambda row: row.lost),
        exports.Column(_("Differences"), lambda row: row.differs),
        exports.Column(_("Note"), lambda row: row.note),
        exports.Column(_("By"), lambda row: row.actor),
        exports.Column(_("Entered at"), lambda row: row.created_at),
    ]
    rows = exports.pages(read, lambda row: row.id)
    return exports.download("stock documents", "stock-documents", columns, rows, mark=True)


@pages.get("/stock/documents/<uuid:document_id>")
def document(document_id: UUID) -> str:
    return _document_page(document_id, {}, "")


@pages.post("/stock/documents/<uuid:document_id>/arrive")
@needs(Permission.STOCK)
def arrive(document_id: UUID) -> Any:
    """Some or all of a transfer is there."""
    found = _document(document_id)
    errors: dict[str, list[str]] = {}
    arrived: dict[UUID, int] = {}
    for line in found.lines:
        name = f"units-{line.sku_id}"
        if not request.form.get(name, "").strip():
            continue
        with forms.gathering(errors):
            arrived[line.sku_id] = forms.whole_number(request.form[name], name)
    try:
        if errors:
            raise BadInput(_("Some fields need another look. Nothing was entered."), errors)
        if not any(arrived.values()):
            raise BadInput(_("Enter how many units have arrived."))
        if request.form.get("seen") != _seen(found):
            raise Conflict(_("Something arrived since this page was opened. Look at it again, then enter the rest."))
        touched = acts.arrive(
            hub().database,
            visitor().merchant_id,
            document_id,
            {sku_id: units for sku_id, units in arrived.items() if units},
            visitor().email,
        )
    except BadInput as error:
        fields = forms.at_rows(error.fields, [line.sku_id for line in found.lines])
        return _document_page(document_id, fields, str(error)), 422
    except Conflict as error:
        return _document_page(document_id, {}, str(error)), 409
    wake(touched, "publish")
    flash(_("They are on the shelf. Every live shop is told now."), "success")
    return see_other(url_for(".document", document_id=document_id))


@pages.post("/stock/documents/<uuid:document_id>/close")
@needs(Permission.STOCK)
def close(document_id: UUID) -> Any:
    """What has not arrived of a transfer never will: it is lost."""
    _document(document_id)
    if request.form.get("sure") != "yes":
        message = _("Say that you are sure.")
        return _document_page(document_id, {"sure": [_("Tick this box first: it cannot be undone.")]}, message), 422
    try:
        touched = acts.close_transfer(hub().database, visitor().merchant_id, document_id, visitor().email)
    except (BadInput, Conflict) as error:
        return _document_page(document_id, {}, str(error)), 409
    wake(touched, "publish")
    flash(_("The transfer is closed. What did not arrive is written off as lost."), "success")
    return see_other(url_for(".document", document_id=document_id))


def _document(document_id: UUID) -> documents.DocumentView:
    with hub().database.read() as connection:
        return existing(documents.document(connection, visitor().merchant_id, document_id), _("document"))


def _document_page(document_id: UUID, errors: forms.Messages, message: str) -> str:
    found = _document(document_id)
    return render_template(
        "document.html", document=found, errors=errors, message=message, form=request.form, seen=_seen(found)
    )


def _document_address(kind: Kind, reference: str) -> str:
    with hub().database.read() as connection:
        there = documents.named(connection, visitor().merchant_id, kind.value, reference)
    return url_for(".document", document_id=there) if there else url_for(".index")


def _seen(found: documents.DocumentView) -> str:
    """What had arrived when a page was drawn: a form that is sent twice arrives once."""
    return f"{found.head.arrived}+{found.head.lost}"
