"""The counter: customers fetch their orders here, by the code they were told."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Blueprint, flash, render_template, request, url_for
from flask_babel import gettext as _

from hub.access import Permission
from hub.errors import Conflict
from hub.store import collecting, mail
from hub.store.fulfillment import State
from hub.store.queries import packing as queries
from hub.web import forms
from hub.web.failures import existing
from hub.web.gate import hub, needs, see_other, visitor
from hub.web.waking import ring, wake

pages = Blueprint("collecting", __name__)


@pages.get("/collect")
def index() -> str:
    return _index_page()


@pages.post("/collect")
@needs(Permission.PACK)
def find() -> Any:
    """The code that a customer shows or tells."""
    code = request.form.get("code", "").strip()[:60]
    with hub().database.read() as connection:
        found = collecting.find(connection, visitor().merchant_id, code)
    if found is None:
        wrong = (
            _("No order has the code “%(code)s”. Ask for the order's number, and look for it in the list.", code=code)
            if code
            else ""
        )
        return _index_page(wrong or _("Type or scan the customer's code.")), 422
    return see_other(url_for(".order", fulfillment_order_id=found))


def _index_page(wrong: str = "") -> str:
    with hub().database.read() as connection:
        rows = queries.to_do(connection, visitor().merchant_id, state=State.READY.value)
        return render_template("collect.html", rows=rows, wrong=wrong)


@pages.get("/collect/<uuid:fulfillment_order_id>")
def order(fulfillment_order_id: UUID) -> str:
    return _order_page(fulfillment_order_id)


@pages.post("/collect/<uuid:fulfillment_order_id>")
@needs(Permission.PACK)
def hand_out(fulfillment_order_id: UUID) -> Any:
    """The customer has it."""
    try:
        lanes = collecting.hand_out(hub().database, visitor().merchant_id, fulfillment_order_id, visitor().email)
    except Conflict as error:
        return _order_page(fulfillment_order_id, str(error)), 409
    ring(lanes)
    flash(_("Handed out. The shop is told now."), "success")
    return see_other(url_for(".index"))


@pages.post("/collect/<uuid:fulfillment_order_id>/email")
@needs(Permission.PACK)
def email(fulfillment_order_id: UUID) -> Any:
    """Have the notice sent again, or say that the customer knows."""
    _bench(fulfillment_order_id)
    again = request.form.get("act") == "again"
    connection_id = mail.decide(hub().database, visitor().merchant_id, forms.identity("email"), again, visitor().email)
    if again:
        wake([connection_id], "mail")
    return see_other(url_for(".order", fulfillment_order_id=fulfillment_order_id))


def _bench(fulfillment_order_id: UUID) -> queries.BenchView:
    with hub().database.read() as connection:
        return existing(queries.bench(connection, visitor().merchant_id, fulfillment_order_id), _("fulfillment order"))


def _order_page(fulfillment_order_id: UUID, message: str = "") -> str:
    found = _bench(fulfillment_order_id)
    with hub().database.read() as connection:
        notices = mail.of_order(connection, visitor().merchant_id, found.work.order_id)
    return render_template(
        "collect_order.html",
        bench=found,
        notices=[each for each in notices if mail.announced(each.occasion) == fulfillment_order_id],
        sends_mail=hub().settings.sends_mail,
        message=message,
    )
