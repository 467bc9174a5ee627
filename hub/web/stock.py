"""Stock: every SKU with what the shops show of it, and one SKU with its places, its ledger and what one does to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID, uuid4

from flask import Blueprint, flash, render_template, request, url_for

from hub.access import Permission
from hub.core.stock import Condition
from hub.errors import BadInput, Conflict
from hub.store import kits, warehouse
from hub.store.queries import stock
from hub.web import forms, lists
from hub.web.failures import existing
from hub.web.gate import hub, needs, see_other, visitor
from hub.web.waking import wake

pages = Blueprint("stock", __name__)

_SHOWN = ("all", "short", "set_aside", "in_transit", "kits", "behind", "uncounted")
_STALE = "This page of the ledger cannot be found. Go back to the first page."


@pages.get("/stock")
def index() -> str:
    text, show = lists.search_text(), lists.choice("show", _SHOWN, "all")
    after = lists.read_text_mark()
    with hub().database.read() as connection:
        rows = stock.stock(
            connection,
            visitor().merchant_id,
            text=text,
            show=show,
            after=after[0] if after else None,
            limit=lists.ONE_MORE,
        )
    page = lists.listed(rows, lambda row: lists.text_mark(row.code, row.id), parameter="after")
    return render_template("stock.html", page=page, text=text, show=show)


@pages.get("/stock/<uuid:sku_id>")
def sku(sku_id: UUID) -> str:
    return _page(sku_id)


# ---------------------------------------------------------------- what one does to a SKU


@pages.post("/stock/<uuid:sku_id>/adjust")
@needs(Permission.STOCK)
def adjust(sku_id: UUID) -> Any:
    """Set what is on hand at a location."""
    _code(sku_id)
    try:
        touched = warehouse.adjust(
            hub().database,
            visitor().merchant_id,
            sku_id,
            forms.identity("location_id"),
            forms.whole_number(request.form.get("on_hand", ""), "on_hand"),
            request.form.get("reason", ""),
            visitor().email,
            f"form/{forms.once()}",
        )
    except BadInput as error:
        return _refused(sku_id, error, "adjust")
    wake(touched, "publish")
    flash("The stock is corrected. Every live shop is told now.", "success")
    return see_other(url_for(".sku", sku_id=sku_id))


@pages.post("/stock/<uuid:sku_id>/condition")
@needs(Permission.STOCK)
def condition(sku_id: UUID) -> Any:
    """Take units off sale that stay on the shelf, put them on sale again, or write them off."""
    code = _code(sku_id)
    acts = {
        "set_aside": (warehouse.set_aside, "set aside"),
        "restore": (warehouse.restore, "for sale again"),
        "write_off": (warehouse.write_off, "written off"),
    }
    try:
        act, done = acts.get(request.form.get("act", ""), (None, ""))
        chosen = forms.one_of(Condition, request.form.get("condition", ""))
        if act is None or chosen is None:
            raise forms.damaged()
        units = forms.whole_number(request.form.get("units", ""), "units")
        touched = act(
            hub().database,
            visitor().merchant_id,
            sku_id,
            forms.identity("location_id"),
            units,
            chosen,
            request.form.get("why", ""),
            visitor().email,
            f"form/{forms.once()}",
        )
    except BadInput as error:
        fields = {"why" if name == "reason" else name: said for name, said in error.fields.items()}
        return _refused(sku_id, BadInput(str(error), fields), "condition")
    wake(touched, "publish")
    flash(f"{units:,} of {code} {'is' if units == 1 else 'are'} {done}. Every live shop is told now.", "success")
    return see_other(url_for(".sku", sku_id=sku_id))


@pages.post("/stock/<uuid:sku_id>/safety-stock")
@needs(Permission.STOCK)
def set_safety_stock(sku_id: UUID) -> Any:
    """Keep units of one location from every shop; orders may still take them."""
    _code(sku_id)
    location_id = forms.identity("location_id")
    try:
        units = forms.whole_number(request.form.get("safety_stock", ""), "safety_stock")
        touched = warehouse.set_safety_stock(
            hub().database, visitor().merchant_id, sku_id, location_id, units, visitor().email
        )
    except BadInput as error:
        said = [each for messages in error.fields.values() for each in messages] or [str(error)]
        return _refused(sku_id, BadInput(str(error), {"safety_stock": said}), "safety_stock")
    wake(touched, "publish")
    flash("The safety stock is set. Every live shop is told now.", "success")
    return see_other(url_for(".sku", sku_id=sku_id))


# ---------------------------------------------------------------- kits


@pages.get("/stock/<uuid:sku_id>/kit")
def kit_form(sku_id: UUID) -> str:
    """What one unit of the SKU is made of."""
    _code(sku_id)
    with hub().database.read() as connection:
        parts = kits.parts_of(connection, visitor().merchant_id, sku_id)
    return _kit_page(sku_id, {part_id: str(quantity) for part_id, quantity in parts.items()}, {})


@pages.post("/stock/<uuid:sku_id>/kit")
@needs(Permission.CATALOG)
def define_kit(sku_id: UUID) -> Any:
    code, merchant_id = _code(sku_id), visitor().merchant_id
    typed, errors, scanned = _typed_parts()
    act = request.form.get("act", "")
    if scanned or act != "enter":
        if act.startswith("remove-"):
            typed = {part_id: text for part_id, text in typed.items() if act != f"remove-{part_id}"}
        return _kit_page(sku_id, typed, errors)
    try:
        parts = {}
        for part_id, text in typed.items():
            with forms.gathering(errors):
                parts[part_id] = forms.whole_number(text, f"units-{part_id}")
        if errors:
            raise BadInput("Some fields need another look. Nothing was stored.", errors)
        touched = kits.define(hub().database, merchant_id, sku_id, parts, visitor().email)
    except BadInput as error:
        return _kit_page(sku_id, typed, forms.at_rows(error.fields, typed), str(error)), 422
    except Conflict as error:
        return _kit_page(sku_id, typed, {}, str(error)), 409
    wake(touched or (), "publish")
    flash(f"{code} is made of {len(parts)} SKUs now." if parts else f"{code} is no kit any more.", "success")
    return see_other(url_for(".sku", sku_id=sku_id))


def _typed_parts() -> tuple[dict[UUID, str], dict[str, list[str]], bool]:
    """What was typed for each part, what is wrong with it, and whether a row is just being added."""
    typed = forms.rows("sku")
    text = " ".join(request.form.get("scan", "").split())[:200]
    if not text:
        return typed, {}, False
    with hub().database.read() as connection:
        found = stock.find(connection, visitor().merchant_id, text)
    if found is None:
        return typed, {"scan": forms.unknown_code(text)}, True
    typed[found] = forms.one_more(typed.get(found, ""))
    return typed, {}, True


def _kit_page(sku_id: UUID, typed: Mapping[UUID, str], errors: forms.Messages, message: str = "") -> str:
    with hub().database.read() as connection:
        kit = stock.sku(connection, visitor().merchant_id, sku_id)
        parts = stock.form_skus(connection, visitor().merchant_id, typed.keys(), None, None)
    if kit is None or parts.keys() != typed.keys():
        raise BadInput("This form names a SKU that does not exist here. Reload the page.")
    return render_template(
        "kit.html", sku=kit, units=typed, skus=parts, errors=errors, message=message, form=request.form
    )


# ---------------------------------------------------------------- what is inside


def _code(sku_id: UUID) -> str:
    with hub().database.read() as connection:
        return existing(stock.code(connection, visitor().merchant_id, sku_id), "SKU")


def _refused(sku_id: UUID, error: BadInput, act: str) -> tuple[str, int]:
    """The page of the SKU once more, with what is wrong beside the fields of the form that was sent."""
    if not error.fields:
        raise error
    return _page(sku_id, error.fields, act), 422


def _page(sku_id: UUID, errors: forms.Messages | None = None, act: str = "") -> str:
    merchant_id = visitor().merchant_id
    before = _read_mark(request.args.get("before", ""))
    with hub().database.read() as connection:
        found = existing(stock.sku(connection, merchant_id, sku_id), "SKU")
        rows = stock.ledger(connection, merchant_id, sku_id, before=before, limit=lists.ONE_MORE)
    shown = rows[: lists.ONE_MORE - 1]
    return render_template(
        "sku.html",
        sku=found,
        ledger=lists.listed(rows, lambda _: _mark(shown, before)),
        errors=errors or {},
        form=request.form,
        act=act,
        conditions_known=tuple(Condition),
        # Sent back with the form: entering it twice, by a double click say, writes it once.
        once=uuid4(),
    )


def _mark(shown: Iterable[stock.EntryView], before: Mapping[UUID, int]) -> str:
    """Where the ledger goes on: the number of the last entry shown, of each location."""
    last = dict(before) | {entry.location_id: entry.number for entry in shown}
    return ".".join(f"{location_id.hex}~{number}" for location_id, number in last.items())


def _read_mark(text: str) -> dict[UUID, int]:
    found = {}
    for part in filter(None, text.split(".")):
        location_id, _, number = part.partition("~")
        if not (number.isascii() and number.isdigit() and len(number) < 19):
            raise BadInput(_STALE)
        try:
            found[UUID(location_id)] = int(number)
        except ValueError:
            raise BadInput(_STALE) from None
    return found
