"""Stock: every SKU with what the shops show of it, and one SKU with its ledger and the form that corrects a count."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from flask import Blueprint, flash, render_template, request, url_for
from werkzeug.exceptions import NotFound

from hub.errors import BadInput
from hub.store import stock as book
from hub.store.queries import stock
from hub.web import forms, lists
from hub.web.gate import hub, see_other, visitor

pages = Blueprint("stock", __name__)

_SHOWN = ("all", "out", "backordered", "behind", "uncounted")


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
    return _page(sku_id, {}, {})


@pages.post("/stock/<uuid:sku_id>/adjust")
def adjust(sku_id: UUID) -> Any:
    merchant_id = visitor().merchant_id
    form = request.form
    try:
        try:
            location_id = UUID(form.get("location_id", ""))
            once = UUID(form.get("once", ""))
        except ValueError:
            raise BadInput("This form is damaged. Reload the page.") from None
        with hub().database.read() as connection:
            if stock.sku(connection, merchant_id, sku_id) is None:
                raise NotFound("This SKU does not exist here.")
        touched = book.adjust(
            hub().database,
            merchant_id,
            sku_id,
            location_id,
            forms.whole_number(form.get("on_hand", ""), "on_hand"),
            form.get("reason", ""),
            visitor().email,
            f"form/{once}",
        )
    except BadInput as error:
        if not error.fields:
            raise
        return _page(sku_id, error.fields, form), 422
    for connection_id in touched:
        hub().doorbell.ring(merchant_id, connection_id, "publish")
    flash("The stock is corrected. Every live shop is told now.", "success")
    return see_other(url_for(".sku", sku_id=sku_id))


def _page(sku_id: UUID, errors: forms.Messages, form: Any) -> str:
    merchant_id = visitor().merchant_id
    before = lists.read_time_mark()
    with hub().database.read() as connection:
        found = stock.sku(connection, merchant_id, sku_id)
        if found is None:
            raise NotFound("This SKU does not exist here.")
        rows = stock.ledger(connection, merchant_id, sku_id, before=before, limit=lists.ONE_MORE)
    return render_template(
        "sku.html",
        sku=found,
        ledger=lists.listed(rows, lambda row: lists.time_mark(row.at, row.id)),
        errors=errors,
        form=form,
        # Sent back with the form: entering it twice, by a double click say, writes one entry.
        once=uuid4(),
    )
