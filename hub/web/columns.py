"""The page on which a merchant says which column of a vendor's files is which, and sees rows as they would be read."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any
from uuid import UUID

from flask import Blueprint, flash, render_template, request, url_for
from flask_babel import gettext as _
from werkzeug.exceptions import NotFound

from hub import rows
from hub.access import Permission
from hub.connector import Connector
from hub.errors import BadInput, Unreadable
from hub.store import tasks, words
from hub.store.queries import connections
from hub.web.connections import connector_of, follow_task, form_of
from hub.web.gate import hub, needs, see_other, visitor
from hub.web.waking import wake

pages = Blueprint("columns", __name__)

_SAMPLE = 32 * 1024  # of a file; its first rows are enough
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class _Shown:
    """A row of the sample as it would be read. ``values`` are by column, "" where it says nothing."""

    line: int
    values: Mapping[str, str]
    wrong: str


@dataclass(frozen=True, slots=True)
class _Preview:
    """A sample, and what comes of it. ``assigned`` is the header of each column that has one."""

    encoding: str
    delimiter: str
    header: tuple[str, ...]
    assigned: Mapping[str, str]
    shown: Sequence[_Shown]
    wrong: str = ""

    @property
    def reads(self) -> bool:
        """Whether every row that is shown can be read."""
        return not self.wrong and bool(self.shown) and not any(each.wrong for each in self.shown)


@pages.get("/connections/<uuid:connection_id>/columns")
def columns(connection_id: UUID) -> str:
    shop, connector = connector_of(connection_id)
    if not connector.file_kinds:
        return render_template("columns.html", shop=shop, kinds={}, connector=connector)
    kind = request.args.get("kind", "") or next(iter(connector.file_kinds), "")
    found = None
    if "task" in request.args:
        try:
            task_id = UUID(request.args["task"])
        except ValueError:
            raise NotFound(_("This task does not exist here.")) from None
        with hub().database.read() as db:
            if connections.task(db, visitor().merchant_id, connection_id, task_id) is not None:
                found = tasks.result(db, hub().keyring, visitor().merchant_id, task_id)
    sample = base64.b64decode(found["sample"]) if found and found.get("kind") == kind else b""
    return _page(connection_id, kind, sample, None)


@pages.post("/connections/<uuid:connection_id>/columns/<kind>")
@needs(Permission.SYNC)
def look(connection_id: UUID, kind: str) -> Any:
    """Show what comes of a sample and the columns chosen, and keep them when it reads and that is wished."""
    shop, connector = connector_of(connection_id)
    declared = _declared(connector, kind)
    uploaded = request.files.get("file")
    if uploaded is not None and uploaded.filename:
        return _page(connection_id, kind, uploaded.stream.read(_SAMPLE), None)
    try:
        sample = base64.b64decode(request.form.get("sample", ""), validate=True)[:_SAMPLE]
    except (binascii.Error, ValueError):
        raise BadInput(_("This form is damaged. Choose the file again.")) from None
    if not sample:
        raise BadInput(_("Choose a file first: one that the vendor has sent."))
    chosen = {name: request.form.get(f"column/{name}", "") for name in declared.columns}
    if request.form.get("act") != "save":
        return _page(connection_id, kind, sample, chosen)
    preview = _preview(connection_id, connector, declared, sample, chosen)
    if not preview.reads:
        return _page(connection_id, kind, sample, chosen, refused=True), 422
    words.assign_columns(
        hub().database,
        visitor().merchant_id,
        connection_id,
        rows.columns_of(kind),
        declared.label,
        chosen,
        visitor().email,
    )
    wake([connection_id], "fetch")
    flash(
        _("Saved. From now on %(what)s of %(label)s are read so.", what=declared.label.lower(), label=shop.label),
        "success",
    )
    return see_other(url_for(".columns", connection_id=connection_id, kind=kind))


@pages.post("/connections/<uuid:connection_id>/columns/<kind>/sample")
@needs(Permission.SYNC)
def fetch(connection_id: UUID, kind: str) -> Any:
    """Have a worker look for a file that has come."""
    _declared(connector_of(connection_id)[1], kind)
    task_id = tasks.ask(
        hub().database, visitor().merchant_id, connection_id, "sample", visitor().email, {"about": kind}
    )
    return follow_task(connection_id, task_id)


def _declared(connector: type[Connector], kind: str) -> rows.FileKind:
    found = connector.file_kinds.get(kind)
    if found is None:
        raise NotFound(_("%(label)s has no files whose columns could be told.", label=connector.label))
    return found


def _page(
    connection_id: UUID, kind: str, sample: bytes, chosen: Mapping[str, str] | None, *, refused: bool = False
) -> str:
    shop, connector = connector_of(connection_id)
    declared = _declared(connector, kind)
    kept = _kept(connection_id, kind)
    return render_template(
        "columns.html",
        shop=shop,
        kinds=connector.file_kinds,
        kind=kind,
        declared=declared,
        kept=kept,
        sample=base64.b64encode(sample).decode(),
        preview=_preview(connection_id, connector, declared, sample, kept if chosen is None else chosen)
        if sample
        else None,
        chosen=chosen,
        refused=refused,
    )


def _kept(connection_id: UUID, kind: str) -> dict[str, str]:
    with hub().database.read() as db:
        return words.mappings(db, visitor().merchant_id, connection_id).get(rows.columns_of(kind), {})


def _preview(
    connection_id: UUID, connector: type[Connector], declared: rows.FileKind, sample: bytes, chosen: Mapping[str, str]
) -> _Preview:
    with hub().database.read() as db:
        settings = connections.connection_settings(db, visitor().merchant_id, connection_id)
    with form_of(connector):
        form = connector.file_format(settings)
    try:
        file = rows.RowReader(io.BytesIO(sample), form)
    except Unreadable as error:
        return _Preview("", "", (), {}, (), str(error))
    about = (file.encoding, file.delimiter, file.header)
    try:
        assigned = rows.assign_columns(declared, file.header, chosen)
    except Unreadable as error:
        return _Preview(*about, _found(declared, file.header, chosen), (), str(error))
    whole = len(sample) < _SAMPLE  # otherwise its last row may be half a one
    taken = list(islice(file, _SHOWN + 1))
    shown = [_shown(each, declared, chosen, form) for each in (taken if whole else taken[:-1])[:_SHOWN]]
    return _Preview(*about, assigned, shown, "" if shown else _("The file has no row below its header."))


def _found(declared: rows.FileKind, header: Sequence[str], chosen: Mapping[str, str]) -> dict[str, str]:
    """The columns that are found, where a required one is not."""
    found: dict[str, str] = {}
    for name, column in declared.columns.items():
        alone = rows.FileKind(label="", hint="", folder="", columns={name: column})
        try:
            found |= rows.assign_columns(alone, header, {key: text for key, text in chosen.items() if key == name})
        except Unreadable:
            continue
    return found


def _shown(row: rows.Row, declared: rows.FileKind, chosen: Mapping[str, str], form: rows.FileFormat) -> _Shown:
    if row.wrong:
        return _Shown(row.line, {}, row.wrong)
    try:
        values = rows.read_values(declared, row.texts, chosen, form)
    except Unreadable as error:
        return _Shown(row.line, {}, str(error))
    return _Shown(row.line, {name: _text(value) for name, value in values.items()}, "")


def _text(value: Any) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S} UTC" if isinstance(value, datetime) else str(value)
