"""Stock: every SKU with what the shops show of it, and one SKU with its places, its ledger and what one does to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

from flask import Blueprint, Response, flash, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from flask_babel import ngettext

from hub.access import Permission
from hub.core.stock import Cause, Condition
from hub.errors import BadInput, Conflict
from hub.explain import chart
from hub.explain.stock import Line
from hub.store import kits, warehouse
from hub.store.queries import connections, stock
from hub.store.queries.parts import PAGE
from hub.web import exports, forms, lists
from hub.web.failures import existing
from hub.web.gate import hub, needs, see_other, visitor
from hub.web.looks import number
from hub.web.waking import wake

pages = Blueprint("stock", __name__)

_SHOWN = (
    *("all", "short", "waiting", "set_aside", "in_transit", "running_out", "kits", "behind", "uncounted"),
    "unpublished",
)
_DAYS = 90  # of a SKU's chart
_OF_ORDERS = (Cause.ALLOCATED, Cause.RELEASED, Cause.SHIPPED, Cause.UNSHIPPED)
# What a SKU's ledger is narrowed to.
_CAUSES: Mapping[str, tuple[str, ...]] = {
    "orders": tuple(each.value for each in _OF_ORDERS),
    "people": tuple(each.value for each in Cause if each not in _OF_ORDERS),
}
_STALE = _l("This page of the ledger cannot be found. Go back to the first page.")


@pages.get("/stock")
def index() -> str:
    return _list()


def _list(outcome: Sequence[str] = ()) -> str:
    text, show = lists.search_text(), lists.choice("show", _SHOWN, "all")
    location_id, after = lists.chosen_id("location"), lists.read_text_mark()
    with hub().database.read() as connection:
        rows = stock.stock(
            connection,
            visitor().merchant_id,
            text=text,
            show=show,
            location_id=location_id,
            after=after[0] if after else None,
            limit=lists.ONE_MORE,
        )
        places = connections.locations(connection, visitor().merchant_id)
    page = lists.listed(rows, lambda row: lists.text_mark(row.code, row.id), parameter="after")
    return render_template(
        "stock.html", page=page, text=text, show=show, places=places, location_id=location_id, outcome=outcome
    )


@pages.post("/stock")
@needs(Permission.STOCK)
def act_on_many() -> Any:
    """What is done with the chosen SKUs: a form that begins with them, or the same safety stock for all."""
    chosen = forms.identities("sku")
    act = request.form.get("act", "")
    location_id = forms.optional_identity("at")
    if not chosen:
        flash(_("Choose SKUs first, by the boxes before them."), "warning")
        return see_other(url_for(".index"))
    if len(chosen) > PAGE:
        raise BadInput(_("Choose at most %(most)s SKUs at once.", most=PAGE))
    if act in _FORMS:
        return see_other(url_for(_FORMS[act], sku=chosen, location=location_id))
    if act != "safety_stock":
        raise forms.damaged()
    if location_id is None:
        return _list([_("Choose the location whose safety stock is set.")]), 422
    try:
        units = forms.whole_number(request.form.get("units", ""), "units")
    except BadInput as error:
        return _list([_("Safety stock: %(said)s", said=" ".join(error.fields["units"]))]), 422
    refused, touched = [], set()
    for sku_id in chosen:
        try:
            touched |= warehouse.set_safety_stock(
                hub().database, visitor().merchant_id, sku_id, location_id, units, visitor().email
            )
        except BadInput as error:
            refused.append(str(error))
    wake(touched, "publish")
    done = len(chosen) - len(refused)
    return _list([_("Safety stock set for %(done)s of %(all)s SKUs.", done=done, all=len(chosen)), *refused])


_FORMS = {"count": "warehouse.count_form", "receive": "warehouse.receive_form", "transfer": "warehouse.transfer_form"}


@pages.post("/stock/levels.csv")
@needs(Permission.LOOK)
def export() -> Response:
    """Every level, SKU by SKU and location by location."""
    merchant_id, database = visitor().merchant_id, hub().database

    def read(after: tuple[str, UUID] | None) -> list[stock.LevelLine]:
        with database.read() as connection:
            return stock.levels(connection, merchant_id, after=after, limit=1000)

    columns: list[exports.Column[stock.LevelLine]] = [
        exports.Column(_("SKU"), lambda row: row.code),
        exports.Column(_("Title"), lambda row: row.title),
        exports.Column(_("Location"), lambda row: row.location_name),
        exports.Column(_("On hand"), lambda row: row.level.on_hand),
        exports.Column(_("Allocated"), lambda row: row.level.allocated),
        exports.Column(_("In quarantine"), lambda row: row.level.quarantined),
        exports.Column(_("Damaged"), lambda row: row.level.damaged),
        exports.Column(_("Incoming"), lambda row: row.level.incoming),
        exports.Column(_("Available"), lambda row: row.level.available),
        exports.Column(_("Safety stock"), lambda row: row.safety_stock),
        exports.Column(_("Zone"), lambda row: row.zone),
        exports.Column(_("Shelf"), lambda row: row.shelf),
        exports.Column(_("Counted at"), lambda row: row.counted_at),
    ]
    rows = exports.pages(read, lambda row: (row.code, row.location_id))
    return exports.download("stock", "stock", columns, rows, mark=True)


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
    flash(_("The stock is corrected. Every live shop is told now."), "success")
    return see_other(url_for(".sku", sku_id=sku_id))


@pages.post("/stock/<uuid:sku_id>/condition")
@needs(Permission.STOCK)
def condition(sku_id: UUID) -> Any:
    """Take units off sale that stay on the shelf, put them on sale again, or write them off."""
    code = _code(sku_id)
    acts = {
        "set_aside": (warehouse.set_aside, _("set aside")),
        "restore": (warehouse.restore, _("for sale again")),
        "write_off": (warehouse.write_off, _("written off")),
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
    flash(
        ngettext(
            "%(units)s of %(code)s is %(done)s. Every live shop is told now.",
            "%(units)s of %(code)s are %(done)s. Every live shop is told now.",
            units,
            units=f"{units:,}",
            code=code,
            done=done,
        ),
        "success",
    )
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
    flash(_("The safety stock is set. Every live shop is told now."), "success")
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
            raise BadInput(_("Some fields need another look. Nothing was stored."), errors)
        touched = kits.define(hub().database, merchant_id, sku_id, parts, visitor().email)
    except BadInput as error:
        return _kit_page(sku_id, typed, forms.at_rows(error.fields, typed), str(error)), 422
    except Conflict as error:
        return _kit_page(sku_id, typed, {}, str(error)), 409
    wake(touched or (), "publish")
    flash(
        _("%(code)s is made of %(len)s SKUs now.", code=code, len=len(parts))
        if parts
        else _("%(code)s is no kit any more.", code=code),
        "success",
    )
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
        raise BadInput(_("This form names a SKU that does not exist here. Reload the page."))
    return render_template(
        "kit.html", sku=kit, units=typed, skus=parts, errors=errors, message=message, form=request.form
    )


# ---------------------------------------------------------------- what a channel sees, in words


def seen_in_words(each: stock.Figure) -> str:
    """What a channel shows of a SKU, whether that is right, and if not, why not and what happens next."""
    names = {"shop": each.connection_label}
    if not each.active:
        return _("The listing is gone from %(shop)s: nothing is sold by it.", **names)
    if not each.tracked:
        return _(
            "%(shop)s keeps this stock itself: it ships from its own warehouse, or sells without counting. The hub "
            "only reads it, and writes no figure there.",
            **names,
        )
    if each.place is None:
        return _(
            "No place of %(shop)s stands for a location of yours, and so it is told nothing. Match its places on the "
            "page of the connection.",
            **names,
        )
    if each.wanted is None:
        return _(
            "%(shop)s goes by its own figure: this SKU was never counted here. Count it, and %(shop)s is told.", **names
        )
    figures = names | {"wanted": number(each.wanted), "published": number(each.published)}
    if not each.live:
        return (
            _("%(shop)s is paused, and told nothing. Resumed, it would show %(wanted)s.", **figures)
            if each.paused
            else _(
                "%(shop)s goes by its own figure: the hub writes nothing there before you set it live. It would then "
                "show %(wanted)s.",
                **figures,
            )
        )
    if each.error:
        return _("%(shop)s should show %(wanted)s, and did not take it: the hub tries again.", **figures)
    if each.sent_at is not None:
        return _(
            "%(shop)s was sent %(pending)s, and has not said yet that it took it.",
            **figures,
            pending=number(each.pending),
        )
    if each.dirty or each.published != each.wanted:
        return _("%(shop)s is being told %(wanted)s.", **figures)
    return _("%(shop)s shows %(published)s, and that is right.", **figures)


# ---------------------------------------------------------------- what is inside


def _code(sku_id: UUID) -> str:
    with hub().database.read() as connection:
        return existing(stock.code(connection, visitor().merchant_id, sku_id), _("SKU"))


def _refused(sku_id: UUID, error: BadInput, act: str) -> tuple[str, int]:
    """The page of the SKU once more, with what is wrong beside the fields of the form that was sent."""
    if not error.fields:
        raise error
    return _page(sku_id, error.fields, act), 422


def _page(sku_id: UUID, errors: forms.Messages | None = None, act: str = "") -> str:
    merchant_id = visitor().merchant_id
    before = _read_mark(request.args.get("before", ""))
    why, where = lists.choice("why", tuple(_CAUSES)), lists.chosen_id("at")
    with hub().database.read() as connection:
        found = existing(stock.sku(connection, merchant_id, sku_id), _("SKU"))
        rows = stock.ledger(
            connection,
            merchant_id,
            sku_id,
            location_id=where,
            causes=_CAUSES.get(why, ()),
            before=before,
            places=[each.location_id for each in found.levels],
            limit=lists.ONE_MORE,
        )
        days = stock.history(connection, merchant_id, sku_id, _DAYS, now=visitor().at)
    shown = rows[: lists.ONE_MORE - 1]
    return render_template(
        "sku.html",
        sku=found,
        seen=[(each, seen_in_words(each)) for each in found.figures],
        ledger=lists.listed(rows, lambda _row: _mark(shown, before)),
        why=why,
        where=where,
        days=days,
        picture=chart.picture(
            [
                Line(_("On hand"), tuple((day.at, day.on_hand) for day in days)),
                Line(_("Available"), tuple((day.at, day.available) for day in days)),
            ]
        ),
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
