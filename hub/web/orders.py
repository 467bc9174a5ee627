"""Orders of every shop in one list, and one order with everything that happened to it and can be done about it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any
from uuid import UUID, uuid4

from flask import Blueprint, flash, render_template, request, url_for

from hub import addresses
from hub.access import Permission
from hub.core.model import Address, HoldReason, OrderStatus
from hub.core.plain import from_plain
from hub.core.shipping import WorkQuestion
from hub.errors import BadInput
from hub.store import channel_work
from hub.store.queries import connections, handling, journal, orders, routing, shipments
from hub.web import forms, lists
from hub.web.failures import existing
from hub.web.gate import hub, needs, see_other, visitor
from hub.web.handling import address_carriers
from hub.web.waking import wake

pages = Blueprint("orders", __name__)

_STATUSES = tuple(status.value for status in OrderStatus)


@pages.get("/orders")
def index() -> str:
    status = lists.choice("status", (*_STATUSES, "waiting", *orders.MARKS))
    wanted = orders.OrderFilter(
        status=status if status in _STATUSES else "",
        connection_id=lists.chosen_id("connection"),
        text=lists.search_text(),
        waiting=status == "waiting",
        marked=status if status in orders.MARKS else "",
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
    return _order_page(order_id)


@pages.post("/orders/<uuid:order_id>/work")
@needs(Permission.ORDERS)
def work(order_id: UUID) -> Any:
    """What a person wishes of a part of the order that the channel has dealt out."""
    found = _found(order_id)
    desk = channel_work.Desk(
        hub().database,
        visitor().merchant_id,
        order_id,
        hub().registry.connector(found.connector),
        visitor().email,
        forms.once(),
    )
    part = request.form.get("part", "")
    act = _ACTS.get(request.form.get("act", ""))
    if act is None:
        raise forms.damaged()
    try:
        act(desk, part)
    except BadInput as error:
        return _order_page(order_id, wrong={part: str(error)}), 422
    wake([found.connection_id], "effects")
    flash(f"{found.connection_label} is told now. The order is fetched again as soon as it is done.", "success")
    return see_other(url_for(".order", order_id=order_id, _anchor="work"))


def _hold(desk: channel_work.Desk, part: str) -> object:
    reason = forms.one_of(HoldReason, request.form.get("reason", ""))
    if reason is None:
        raise BadInput("Choose why it is held back.")
    return desk.hold(part, reason, _typed("note"))


def _split(desk: channel_work.Desk, part: str) -> object:
    lines, units = request.form.getlist("line"), request.form.getlist("units")
    if len(lines) != len(units):
        raise forms.damaged()
    return desk.split(part, {line: forms.whole_number(text or "0", "units") for line, text in zip(lines, units)})  # noqa: B905


def _answer(desk: channel_work.Desk, part: str) -> object:
    question = forms.one_of(WorkQuestion, request.form.get("question", ""))
    if question is None:
        raise forms.damaged()
    return desk.answer(part, question, request.form.get("answer") == "accept", _typed("message"))


_ACTS: Mapping[str, Callable[[channel_work.Desk, str], object]] = {
    "hold_work": _hold,
    "release_work": lambda desk, part: desk.release(part),
    "move_work": lambda desk, part: desk.move(part, request.form.get("location", "")[:200]),
    "split_work": _split,
    "answer_work": _answer,
}


def _typed(name: str) -> str:
    return request.form.get(name, "").strip()[:500]


def _found(order_id: UUID) -> orders.OrderView:
    with hub().database.read() as connection:
        return existing(orders.order(connection, visitor().merchant_id, order_id), "order")


def _order_page(order_id: UUID, wrong: Mapping[str, str] | None = None) -> str:
    found = _found(order_id)
    with hub().database.read() as connection:
        issues = journal.issues(connection, visitor().merchant_id, order_id=order_id)
        shipping = shipments.of_order(connection, visitor().merchant_id, order_id)
        dealt = routing.of_order(connection, visitor().merchant_id, order_id)
        handled = handling.order(connection, visitor().merchant_id, order_id, hub().database.now(connection))
    return render_template(
        "order.html",
        shipping=shipping,
        order=found,
        issues=issues,
        dealt=dealt,
        handled=handled,
        verdict=addresses.check(from_plain(Address, handled.ship_to)) if handled else None,
        carriers=address_carriers(),
        parts=[(part, channel_work.possible(part, _declared(found))) for part in found.details.work],
        asked={part.external_id: channel_work.question(part) for part in found.details.work},
        reasons=[each.value for each in HoldReason],
        wrong=wrong or {},
        # Sent back with each form: sending it twice, by a double click say, is one wish.
        once=uuid4(),
    )


def _declared(found: orders.OrderView) -> Collection[str]:
    """The effects that the order's channel can be asked for now."""
    connector = hub().registry.connectors.get(found.connector)
    return connector.effects if connector and found.connection_state != "removed" else ()
