"""One order with everything that happened to it and can be done about it. The list is in order_list.py."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from flask import Blueprint, flash, render_template, request, url_for
from flask_babel import gettext as _

from hub import addresses
from hub.access import Permission
from hub.connector import Connector
from hub.core.model import Address, HoldReason, Money
from hub.core.plain import from_plain
from hub.core.shipping import CancelReason, WorkQuestion
from hub.errors import BadInput
from hub.store import calling_off, channel_work, telling_again
from hub.store.queries import handling, journal, orders, routing, shipments
from hub.store.queries import timeline as timelines
from hub.web import forms, lists, timeline
from hub.web.failures import existing
from hub.web.gate import hub, needs, see_other, visitor
from hub.web.waking import wake

pages = Blueprint("orders", __name__)

_OTHERS = 5  # other orders of the customer that are shown


@pages.get("/orders/<uuid:order_id>")
def order(order_id: UUID) -> str:
    return _order_page(order_id)


@pages.get("/orders/<uuid:order_id>/others")
def others(order_id: UUID) -> str:
    """What else the customer has ordered: asked for once the order itself is shown."""
    with hub().database.read() as connection:
        email = existing(timelines.email_of(connection, visitor().merchant_id, order_id), _("order"))
        found = timelines.others(connection, visitor().merchant_id, order_id, email, _OTHERS)
    return render_template("order_others.html", order_id=order_id, email=email, others=found)


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
    flash(
        _(
            "%(connection_label)s is told now. The order is fetched again as soon as it is done.",
            connection_label=found.connection_label,
        ),
        "success",
    )
    return see_other(url_for(".order", order_id=order_id, _anchor="work"))


def _hold(desk: channel_work.Desk, part: str) -> object:
    reason = forms.one_of(HoldReason, request.form.get("reason", ""))
    if reason is None:
        raise BadInput(_("Choose why it is held back."))
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
        return existing(orders.order(connection, visitor().merchant_id, order_id), _("order"))


def _order_page(order_id: UUID, wrong: Mapping[str, str] | None = None) -> str:
    found = _found(order_id)
    wanted = timeline.narrowed()
    with hub().database.read() as connection:
        events = timelines.timeline(
            connection,
            visitor().merchant_id,
            order_id,
            show=wanted.show,
            oldest_first=wanted.oldest_first,
            after=wanted.after,
            limit=lists.ONE_MORE,
        )
        issues = journal.issues(connection, visitor().merchant_id, order_id=order_id)
        shipping = shipments.of_order(connection, visitor().merchant_id, order_id)
        dealt = routing.of_order(connection, visitor().merchant_id, order_id, found.connection_id)
        handled = handling.beside(connection, visitor().merchant_id, order_id, found.status, found.ship_to)
    verdict = addresses.check(from_plain(Address, found.ship_to))
    return render_template(
        "order.html",
        shipping=shipping,
        order=found,
        issues=issues,
        dealt=dealt,
        handled=handled,
        places=dealt.theirs,
        verdict=verdict,
        asked_for=[each for each in found.wishes if each.kind in calling_off.KINDS],
        wishes=[each for each in found.wishes if each.kind in channel_work.KINDS],
        undone=[each for each in found.wishes if each.state in ("failed", "unknown")],
        not_told_again=telling_again.why_not(connector_of(found)) if found.told else "",
        ready={work.id for work in shipping if work.state == "ready"},
        effect_name=timeline.effect_name,
        acts=_acts(found, handled, verdict),
        balance=_balance(found),
        wanted=wanted,
        choices=timeline.choices(),
        events=timeline.page(events, dealt.theirs),
        parts=[(part, channel_work.possible(part, _declared(found))) for part in found.details.work],
        asked={part.external_id: channel_work.question(part) for part in found.details.work},
        reasons=[each.value for each in HoldReason],
        wrong=wrong or {},
        # Sent back with each form: sending it twice, by a double click say, is one wish.
        once=uuid4(),
    )


def connector_of(found: orders.OrderView | orders.OrderHead) -> type[Connector] | None:
    """The connector of an order's shop, where the shop can still be asked."""
    connector = hub().registry.connectors.get(found.connector)
    return connector if connector is not None and found.connection_state != "removed" else None


def _declared(found: orders.OrderView) -> Collection[str]:
    """The effects that the order's channel can be asked for now."""
    connector = connector_of(found)
    return connector.effects if connector else ()


def cancel_reasons() -> tuple[tuple[str, str], ...]:
    """Why an order can be cancelled, in words."""
    return (
        (CancelReason.CUSTOMER.value, _("The customer does not want it any more")),
        (CancelReason.STOCK.value, _("There is not enough stock")),
        (CancelReason.PAYMENT.value, _("The payment was declined")),
        (CancelReason.FRAUD.value, _("It is a fraud")),
        (CancelReason.MISTAKE.value, _("It was a mistake of ours")),
        (CancelReason.OTHER.value, _("Something else")),
    )


@dataclass(frozen=True, slots=True)
class Act:
    """Something that can be done with the whole order; ``barred`` says why it cannot, "" if it can. What ``endangers``
    it cannot be taken back."""

    name: str
    label: str
    icon: str
    address: str
    barred: str = ""
    endangers: bool = False


@dataclass(frozen=True, slots=True)
class Acts:
    """What is offered at the top of the page: ``first``, at most two, are what an order in this state is most often
    opened for, ``more`` stands behind them. What endangers the order is last, and never among the first."""

    first: Sequence[Act]
    more: Sequence[Act]


def _acts(found: orders.OrderView, handled: handling.Beside, verdict: addresses.Verdict) -> Acts:
    """What those who may are offered."""
    is_held = any(each.releasable and not each.released_at for each in handled.holds)
    offered = _harmless(found, is_held=is_held) + _endangering(found)
    is_wrong = bool(verdict.remarks) and not found.collect_at
    names = ("address", "hold") if is_wrong and not is_held else ("hold", "address")
    first = [act for name in names for act in offered if act.name == name]
    first = first or [act for act in offered if act.name == "again"]
    return Acts(first, [act for act in offered if act not in first])


def _harmless(found: orders.OrderView, *, is_held: bool) -> list[Act]:
    if not visitor().may(Permission.ORDERS):
        return []
    again = Act("again", _("Send again"), "refresh", "#again")
    if not _is_going_on(found) or found.shipped_by_channel:
        return [again]
    page = url_for("handling.order", order_id=found.id)
    return [
        Act("hold", _("Release") if is_held else _("Hold"), "player-play" if is_held else "hand-stop", "#handling"),
        Act("address", _("Correct the address"), "map-pin", f"{page}#address"),
        Act("handle", _("Priority and tags"), "tags", page),
        Act("split", _("Split, merge or reroute"), "arrows-exchange", "#dealt-out"),
        again,
    ]


def _endangering(found: orders.OrderView) -> list[Act]:
    if not visitor().may(Permission.MONEY):
        return []
    declared, acts = _declared(found), []
    for kind, endpoint, label, icon in (
        ("refund", "order_acts.refund", _("Give money back"), "receipt-refund"),
        ("cancel_order", "order_acts.cancel", _("Cancel the order"), "ban"),
    ):
        barred = _("It is over.") if kind == "cancel_order" and not _is_going_on(found) else ""
        if kind not in declared:
            barred = _(
                "%(shop)s takes no such wish from here. Do it there: it is heard of.", shop=found.connection_label
            )
        acts.append(Act(kind, label, icon, url_for(endpoint, order_id=found.id), barred, endangers=True))
    return acts


def _is_going_on(found: orders.OrderView) -> bool:
    return found.status in ("open", "pending")


def _balance(found: orders.OrderView) -> list[tuple[str, Money]]:
    """What was given back in all, and what the customer has paid less that."""
    if found.total is None or not found.refunds:
        return []
    back = sum((each.amount for each in found.refunds if each.amount), Money.zero(found.total.currency))
    return [(_("Given back in all"), -back), (_("Left"), found.total - back)]
