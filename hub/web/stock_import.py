"""Files of stock: handed in, what their columns mean, what each row would change, applied, taken back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, flash, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from hub.access import Permission
from hub.errors import BadInput, Unreadable
from hub.jobs.desk_lane import LANE
from hub.store import stock_details
from hub.store import stock_import as acts
from hub.store.queries import connections
from hub.store.queries import stock_import as queries
from hub.store.stock_import import Fate, Meaning, Stage
from hub.web import exports, forms, lists
from hub.web.failures import existing
from hub.web.gate import hub, needs, see_other, takes_files, visitor
from hub.web.waking import ring

pages = Blueprint("stock_import", __name__)

# What the rows of an import are looked at by, and which of them that is.
_SHOWN: dict[str, tuple[Fate, ...]] = {
    "changes": (Fate.READY, Fate.MOVED),
    "bad": (Fate.BAD, Fate.REFUSED, Fate.KEPT),
    "unchanged": (Fate.UNCHANGED,),
    "applied": (Fate.APPLIED,),
    "undone": (Fate.UNDONE,),
}
_TEMPLATE = "SKU,Quantity,Location\r\nTEA-GREEN-100,12,Main warehouse\r\nTEA-MINT-50,0,Main warehouse\r\n"


# What a file may have, and what is meant by it.
_COLUMNS = {
    "sku": (_l("SKU"), _l("The SKU's code, or a barcode of one of its listings.")),
    "quantity": (_l("Quantity"), _l("Whole units.")),
    "location": (_l("Location"), _l("Its name as in the hub.")),
    "title": (_l("Title"), _l("What the SKU is called in the hub.")),
    "safety_stock": (_l("Safety stock"), _l("Units at the location that no shop is shown.")),
    "zone": (_l("Zone"), _l("The part of the location where it lies.")),
    "shelf": (_l("Shelf"), _l("The shelf or bin where it lies.")),
}


@pages.get("/stock/import")
def index() -> str:
    return _upload_page()


def _upload_page(wrong: str = "") -> str:
    with hub().database.read() as connection:
        latest = queries.imports(connection, visitor().merchant_id)
    return render_template(
        "stock_imports.html",
        imports=latest,
        wrong=wrong,
        most_rows=acts.MOST_ROWS,
        largest=acts.LARGEST_FILE // 1024 // 1024,
    )


@pages.post("/stock/import")
@takes_files(acts.LARGEST_FILE)
@needs(Permission.STOCK)
def hand_in() -> Any:
    """Keep the file, so that somebody can say what it means."""
    file = request.files.get("file")
    if file is None or not file.filename:
        return _upload_page(_("Choose a file first.")), 422
    with closing(file):
        content = file.read()
    try:
        import_id = acts.hand_in(hub().database, visitor().merchant_id, file.filename, content, visitor().email)
    except (BadInput, Unreadable) as error:
        return _upload_page(str(error)), 422
    return see_other(url_for(".show", import_id=import_id))


@pages.get("/stock/import/template.csv")
def template() -> Response:
    """A file to begin with."""
    disposition = {"Content-Disposition": 'attachment; filename="stock.csv"'}
    return Response(_TEMPLATE, mimetype="text/csv", headers=disposition)


@pages.get("/stock/import/<uuid:import_id>")
def show(import_id: UUID) -> str:
    """How far it is: what its columns mean, what it would change, what it has changed."""
    return _page(import_id)


def _page(import_id: UUID, message: str = "", errors: forms.Messages | None = None) -> str:
    merchant_id = visitor().merchant_id
    with hub().database.read() as connection:
        found = existing(queries.stock_import(connection, merchant_id, import_id), _("import"))
        common: dict[str, Any] = {
            "found": found,
            "message": message or found.message,
            "errors": errors or {},
            "form": request.form,
            "is_mine": found.actor == visitor().email,
        }
        if found.state == Stage.COLUMNS:
            return render_template(
                "stock_import_columns.html",
                meanings=tuple(Meaning),
                columns=_COLUMNS,
                details=stock_details.NAMES,
                places=connections.locations(connection, merchant_id),
                rows=queries.beginning(connection, merchant_id, import_id),
                **common,
            )
        shown = lists.choice("show", tuple(_SHOWN), _usual(found))
        rows = queries.rows(connection, merchant_id, import_id, _SHOWN[shown], after=_read_line(), limit=lists.ONE_MORE)
    return render_template(
        "stock_import.html",
        page=lists.listed(rows, lambda row: str(row.line), parameter="after"),
        show=shown,
        tabs=[(name, found.count(*fates)) for name, fates in _SHOWN.items()],
        **common,
    )


def _usual(found: queries.ImportView) -> str:
    """What one wants to see first."""
    if found.state == Stage.UNDONE:
        return "undone"
    if found.state in (Stage.APPLYING, Stage.APPLIED, Stage.UNDOING):
        return "changes" if found.count(Fate.MOVED) else "applied"
    return "changes" if found.count(*_SHOWN["changes"]) or not found.count(Fate.BAD) else "bad"


def _read_line() -> int:
    text = request.args.get("after", "") or "0"
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise lists.stale()
    return int(text)


# ---------------------------------------------------------------- what one does to it


@pages.post("/stock/import/<uuid:import_id>/columns")
@needs(Permission.STOCK)
def choose(import_id: UUID) -> Any:
    """What the file means."""
    _existing(import_id)
    meaning = forms.one_of(Meaning, request.form.get("meaning", ""))
    try:
        if meaning is None:
            raise BadInput(
                _("Some fields need another look."), {"meaning": [_("Say what the numbers of the file are.")]}
            )
        acts.choose(
            hub().database,
            visitor().merchant_id,
            import_id,
            meaning,
            {name: request.form.get(f"column-{name}", "") for name in acts.KIND.columns},
            forms.optional_identity("location_id"),
            request.form.get("reason", ""),
            visitor().email,
            make_skus=request.form.get("make_skus") == "yes",
        )
    except BadInput as error:
        return _page(import_id, str(error), error.fields), 422
    return _go_on(import_id)


@pages.post("/stock/import/<uuid:import_id>/apply")
@needs(Permission.STOCK)
def apply(import_id: UUID) -> Any:
    """Enter what was looked at."""
    _existing(import_id)
    moved = acts.apply(hub().database, visitor().merchant_id, import_id, visitor().email)
    if moved:
        flash(
            _(
                "Nothing was entered yet: the stock of %(count)s rows moved since you looked. They are worked out "
                "anew; look at them, then apply again.",
                count=moved,
            ),
            "warning",
        )
        return see_other(url_for(".show", import_id=import_id))
    return _go_on(import_id)


@pages.post("/stock/import/<uuid:import_id>/undo")
@needs(Permission.STOCK)
def undo(import_id: UUID) -> Any:
    """Take back what was applied."""
    _existing(import_id)
    acts.undo(hub().database, visitor().merchant_id, import_id, visitor().email)
    return _go_on(import_id)


@pages.post("/stock/import/<uuid:import_id>/again")
@needs(Permission.STOCK)
def choose_again(import_id: UUID) -> Any:
    """Back to what the columns mean."""
    _existing(import_id)
    acts.choose_again(hub().database, visitor().merchant_id, import_id, visitor().email)
    return see_other(url_for(".show", import_id=import_id))


@pages.post("/stock/import/<uuid:import_id>/drop")
@needs(Permission.STOCK)
def drop(import_id: UUID) -> Any:
    """Forget the file."""
    _existing(import_id)
    acts.drop(hub().database, visitor().merchant_id, import_id, visitor().email)
    flash(_("The file is dropped. Nothing was changed."), "success")
    return see_other(url_for(".index"))


def _go_on(import_id: UUID) -> Any:
    """Ring for a worker, and follow it."""
    ring([(visitor().merchant_id, LANE)])
    return see_other(url_for(".show", import_id=import_id))


def _existing(import_id: UUID) -> queries.ImportView:
    with hub().database.read() as connection:
        return existing(queries.stock_import(connection, visitor().merchant_id, import_id), _("import"))


# ---------------------------------------------------------------- what could not be taken


@pages.post("/stock/import/<uuid:import_id>/bad.csv")
@needs(Permission.LOOK)
def bad(import_id: UUID) -> Response:
    """Every row that could not be taken, as it came, with its line and the reason."""
    found = _existing(import_id)
    merchant_id, database = visitor().merchant_id, hub().database

    def read(after: int | None) -> list[queries.ImportRow]:
        with database.read() as connection:
            return queries.rows(connection, merchant_id, import_id, _SHOWN["bad"], after=after or 0, limit=1000)

    def cell(number: int) -> Callable[[queries.ImportRow], str]:
        return lambda row: row.texts[number] if number < len(row.texts) else ""

    columns: list[exports.Column[queries.ImportRow]] = [
        exports.Column(_("Line"), lambda row: row.line),
        exports.Column(_("What is wrong"), lambda row: row.problem),
        *(exports.Column(heading, cell(number)) for number, heading in enumerate(_headings(found))),
    ]
    rows = exports.pages(read, lambda row: row.line)
    return exports.download("rows of a stock file", "stock-rows-not-taken", columns, rows, mark=True)


def _headings(found: queries.ImportView) -> list[str]:
    return [text for text in found.header if text]
