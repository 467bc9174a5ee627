"""Orders of every shop in one list, and one order with everything that happened to it."""

from __future__ import annotations

from uuid import UUID

from flask import Blueprint, render_template
from werkzeug.exceptions import NotFound

from hub.core.model import OrderStatus
from hub.store.queries import connections, journal, orders
from hub.web import lists
from hub.web.gate import hub, visitor

pages = Blueprint("orders", __name__)

_STATUSES = tuple(status.value for status in OrderStatus)


@pages.get("/orders")
def index() -> str:
    status = lists.choice("status", (*_STATUSES, "waiting"))
    wanted = orders.OrderFilter(
        status="" if status == "waiting" else status,
        connection_id=lists.chosen_id("connection"),
        text=lists.search_text(),
        waiting=status == "waiting",
    )
    before = lists.read_time_mark()
    with hub().database.read() as connection:
        rows = orders.orders(connection, visitor().merchant_id, wanted, before=before, limit=lists.ONE_MORE)
        return render_template(
            "orders.html",
            page=lists.listed(rows, lambda row: lists.time_mark(row.placed_at, row.id)),
            wanted=wanted,
            status=status,
            statuses=_STATUSES,
            shops=connections.connections(connection, visitor().merchant_id, removed=True),
        )


@pages.get("/orders/<uuid:order_id>")
def order(order_id: UUID) -> str:
    with hub().database.read() as connection:
        found = orders.order(connection, visitor().merchant_id, order_id)
        if found is None:
            raise NotFound("This order does not exist here.")
        return render_template(
            "order.html",
            order=found,
            issues=journal.issues(connection, visitor().merchant_id, order_id=order_id),
        )
