"""Why stock is what it is: the story of a SKU with a picture of its figures, and why an order was oversold."""

from __future__ import annotations

from uuid import UUID

from flask import Blueprint, render_template
from flask_babel import gettext as _

from hub.explain import chart, oversell
from hub.explain import stock as story
from hub.web.failures import existing
from hub.web.gate import hub, visitor

pages = Blueprint("explain", __name__)


@pages.get("/stock/<uuid:sku_id>/explain")
def stock(sku_id: UUID) -> str:
    with hub().database.read() as connection:
        found = story.stock(connection, visitor().merchant_id, sku_id, at=visitor().at)
    sku = existing(found, _("SKU"))
    return render_template("explain_stock.html", sku=sku, picture=chart.picture(sku.lines))


@pages.get("/orders/<uuid:order_id>/oversell")
def order(order_id: UUID) -> str:
    with hub().database.read() as connection:
        found = existing(oversell.oversell(connection, visitor().merchant_id, order_id), _("order"))
    return render_template("explain_oversell.html", order=found)
