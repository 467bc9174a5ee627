"""What can be done about a whole order beside what ``handling`` offers: cancel it, give money back, ask again, write
something down; and its records as they came in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from flask import Blueprint, flash, render_template, request, url_for
from flask_babel import gettext as _

from hub.access import Permission
from hub.connector import Capabilities, Connector
from hub.core.model import Money
from hub.core.shipping import CancelReason
from hub.errors import BadInput, Conflict
from hub.store import calling_off, channel_work, effects, handling, inbox, mail, telling_again
from hub.store import tables as t
from hub.store.calling_off import CancelWish, Refundable, RefundWish
from hub.store.queries import orders, shipments
from hub.store.queries.orders import OrderHead
from hub.store.queries.shipments import WorkView
from hub.web import forms
from hub.web.failures import existing
from hub.web.gate import hub, needs, needs_password, see_other, visitor
from hub.web.orders import cancel_reasons, connector_of
from hub.web.topics import about
from hub.web.waking import ring, wake

pages = Blueprint("order_acts", __name__)

_MOST_NOTE = 500
# What may be in a record that nobody needs to read: signatures, keys.
_SECRET_WORDS = ("signature", "hmac", "authorization", "token", "secret", "password", "cookie", "api_key", "apikey")


def _found(order_id: UUID) -> OrderHead:
    with hub().database.read() as connection:
        return existing(orders.head(connection, visitor().merchant_id, order_id), _("order"))


def _required(order: OrderHead) -> type[Connector]:
    connector = connector_of(order)
    if connector is None:
        raise Conflict(_("This shop cannot be asked for anything: it was removed, or its connector is missing."))
    return connector


def _choices(connector: type[Connector], kind: str) -> Sequence[str]:
    """What the channel leaves a choice about."""
    told = connector.capabilities
    if not isinstance(told, Capabilities):
        return ()
    return told.cancel_choices if kind == "cancel_order" else told.refund_choices


def _checked(name: str, choices: Sequence[str]) -> bool:
    return name in choices and request.form.get(name) == "yes"


def _note() -> str:
    return " ".join(request.form.get("note", "").split())[:_MOST_NOTE]


# ---------------------------------------------------------------- giving money back


@dataclass(frozen=True, slots=True)
class _Picked:
    """What was typed into the form of a refund: as it was typed, what it comes to, and what is wrong with it."""

    typed: Mapping[str, str]
    wish: RefundWish
    sum: Money
    message: str = ""
    errors: forms.Messages | None = None


@pages.get("/orders/<uuid:order_id>/refund")
@needs(Permission.MONEY)
def refund(order_id: UUID) -> str:
    order = _found(order_id)
    left = _refundable(order_id)
    return _refund_page(order, left, _picked(left, request.args))


@pages.post("/orders/<uuid:order_id>/refund")
@needs(Permission.MONEY)
@needs_password
def give_back(order_id: UUID) -> Any:
    """Give so much back, once the sum was typed again."""
    order, left = _found(order_id), _refundable(order_id)
    picked = _picked(left, request.form)
    calling_off.check_connector(_required(order), "refund")
    if picked.message:
        return _refund_page(order, left, picked), 422
    try:
        if not _is_confirmed(picked.sum):
            said = _("Type %(amount)s to confirm.", amount=_plain(picked.sum))
            raise BadInput(said, {"confirm": [said]})
        calling_off.refund(
            hub().database,
            visitor().merchant_id,
            order_id,
            picked.wish,
            once=forms.once(),
            actor=visitor().email,
        )
    except (BadInput, Conflict) as error:
        fields = error.fields if isinstance(error, BadInput) else {}
        wrong = _Picked(picked.typed, picked.wish, picked.sum, str(error), fields)
        return _refund_page(order, left, wrong), 422 if fields else 409
    wake([order.connection_id], "effects")
    flash(
        _(
            "%(shop)s is asked to give %(amount)s back. What comes of it is told here.",
            shop=order.connection_label,
            amount=str(picked.sum),
        ),
        "success",
    )
    return see_other(url_for("orders.order", order_id=order_id, _anchor="asked"))


def _refundable(order_id: UUID) -> Refundable:
    with hub().database.read() as connection:
        return calling_off.refundable(connection, visitor().merchant_id, order_id)


def _picked(left: Refundable, form: Mapping[str, str]) -> _Picked:
    """What a form wants to give back; where it cannot be read, why not."""
    typed = {name: str(form.get(name, ""))[:200] for name in form}
    nothing = Money.zero(left.currency)
    try:
        units, amounts = {}, {}
        # By the shop's ids of the lines: an order that changes meanwhile has its lines in another order.
        for name, text in typed.items():
            if name.startswith("units-") and (wanted := forms.optional_number(text, name)):
                units[name.removeprefix("units-")] = wanted
        for line in left.lines:
            if (amount := _amount(typed, f"amount-{line.external_id}", left.currency)) is not None:
                amounts[line.external_id] = amount
        wish = RefundWish(
            units=units,
            amounts=amounts,
            shipping=_amount(typed, "shipping", left.currency),
            goodwill=_amount(typed, "goodwill", left.currency),
            restock=typed.get("restock") == "yes",
            notify=typed.get("notify") == "yes",
            note=" ".join(typed.get("note", "").split())[:_MOST_NOTE],
        )
    except BadInput as error:
        return _Picked(typed, RefundWish(), nothing, str(error), error.fields)
    try:
        return _Picked(typed, wish, calling_off.priced(left, wish)[1])
    except BadInput as error:
        lines = {line.external_id for line in left.lines}
        fields = {f"units-{name}" if name in lines else name: said for name, said in error.fields.items()}
        return _Picked(typed, wish, nothing, str(error), fields)


def _amount(typed: Mapping[str, str], name: str, currency: str) -> Money | None:
    """An amount above zero, None for a field that is left empty or at zero. Raises BadInput."""
    text = typed.get(name, "").strip().replace(",", ".")
    if not text:
        return None
    try:
        amount = Money.of(text, currency)
        fits = amount.amount >= 0 and amount.amount == Money.from_minor(amount.minor, currency).amount
    except (ValueError, ArithmeticError):  # no number, or one that nobody can count in
        amount, fits = Money.zero(currency), False
    if not fits:
        example = _plain(Money.from_minor(1250, currency))
        raise BadInput(
            _("This is not an amount of money."), {name: [_("Enter one such as %(amount)s.", amount=example)]}
        )
    return amount if amount.amount else None


def _is_confirmed(total: Money) -> bool:
    try:
        return Money.of(request.form.get("confirm", "").strip().replace(",", "."), total.currency) == total
    except ValueError:
        return False


def _plain(amount: Money) -> str:
    """An amount as it is typed."""
    return str(amount).partition(" ")[0]


def _refund_page(order: OrderHead, left: Refundable, picked: _Picked) -> str:
    connector = connector_of(order)
    return render_template(
        "order_refund.html",
        order=order,
        left=left,
        picked=picked,
        prices=[_plain(line.amount(1)) if line.left else "" for line in left.lines],
        can=connector is not None and "refund" in connector.effects,
        choices=_choices(connector, "refund") if connector else (),
        message=picked.message,
        errors=picked.errors or {},
        once=request.form.get("once") or uuid4(),
    )


# ---------------------------------------------------------------- cancelling


@pages.get("/orders/<uuid:order_id>/cancel")
@needs(Permission.MONEY)
def cancel(order_id: UUID) -> str:
    return _cancel_page(_found(order_id))


@pages.post("/orders/<uuid:order_id>/cancel")
@needs(Permission.MONEY)
@needs_password
def cancel_now(order_id: UUID) -> Any:
    """Have the shop cancel it, once its number was typed again."""
    order = _found(order_id)
    connector = _required(order)
    calling_off.check_connector(connector, "cancel_order")
    choices = _choices(connector, "cancel_order")
    try:
        reason = forms.one_of(CancelReason, request.form.get("reason", ""))
        if reason is None:
            raise BadInput(_("Choose why it is cancelled."), {"reason": [_("Choose one.")]})
        if request.form.get("confirm", "").strip().lstrip("#") != order.number.lstrip("#"):
            said = _("Type %(number)s to confirm.", number=order.number)
            raise BadInput(said, {"confirm": [said]})
        wish = CancelWish(
            reason=reason,
            refund=_checked("refund", choices),
            restock=_checked("restock", choices),
            notify=_checked("notify", choices),
            note=_note(),
        )
        calling_off.cancel_order(
            hub().database, visitor().merchant_id, order_id, wish, once=forms.once(), actor=visitor().email
        )
    except BadInput as error:
        return _cancel_page(order, str(error), error.fields), 422
    except Conflict as error:
        return _cancel_page(order, str(error)), 409
    wake([order.connection_id], "effects")
    flash(
        _("%(shop)s is asked to cancel it. It is on hold until then.", shop=order.connection_label),
        "success",
    )
    return see_other(url_for("orders.order", order_id=order_id, _anchor="asked"))


def _cancel_page(order: OrderHead, message: str = "", errors: forms.Messages | None = None) -> str:
    with hub().database.read() as connection:
        barred = calling_off.cancellable(connection, visitor().merchant_id, order.id)
        left = calling_off.refundable(connection, visitor().merchant_id, order.id)
        works = shipments.of_order(connection, visitor().merchant_id, order.id)
    connector = connector_of(order)
    return render_template(
        "order_cancel.html",
        order=order,
        barred=barred,
        left=left,
        labels=[each for work in works for each in work.shipments if each.state in ("buying", "labelled")],
        elsewhere=[work for work in works if _is_elsewhere(work)],
        can=connector is not None and "cancel_order" in connector.effects,
        choices=_choices(connector, "cancel_order") if connector else (),
        reasons=cancel_reasons(),
        message=message,
        errors=errors or {},
        form=request.form,
        once=request.form.get("once") or uuid4(),
    )


def _is_elsewhere(work: WorkView) -> bool:
    return work.state in ("requested", "accepted", "in_progress")


# ---------------------------------------------------------------- asking again, noting


@pages.post("/orders/<uuid:order_id>/again")
@needs(Permission.ORDERS)
def again(order_id: UUID) -> Any:
    """Tell the shop, or the customer, once more; or ask the shop how the order stands."""
    order = _found(order_id)
    act = request.form.get("act", "")
    merchant_id, who = visitor().merchant_id, visitor().email
    if act == "effect":
        effects.retry(hub().database, merchant_id, forms.identity("effect"), who)
        wake([order.connection_id], "effects")
        flash(_("%(shop)s is told again.", shop=order.connection_label), "success")
    elif act == "email":
        email_id = forms.identity("email")
        there = mail.send_again(hub().database, merchant_id, order_id, email_id, once=forms.once(), actor=who)
        ring([(there, "mail")])
        flash(_("The e-mail is sent again."), "success")
    elif act == "tell":
        reference, connector = request.form.get("shipment", "")[:35], connector_of(order)
        ring(
            telling_again.tell(
                hub().database, merchant_id, order_id, reference, connector, once=forms.once(), actor=who
            )
        )
        flash(_("%(shop)s is asked whether it has it, and told if not.", shop=order.connection_label), "success")
    elif act == "fetch":
        ring(channel_work.fetch_again(hub().database, merchant_id, order_id, who))
        flash(_("%(shop)s is asked how the order stands.", shop=order.connection_label), "success")
    else:
        raise forms.damaged()
    return see_other(url_for("orders.order", order_id=order_id, _anchor="again"))


@pages.post("/orders/<uuid:order_id>/note")
@needs(Permission.ORDERS)
def note(order_id: UUID) -> Any:
    """Write something down for whoever looks at the order next."""
    text = request.form.get("note", "").strip()[:_MOST_NOTE]
    handling.note(hub().database, visitor().merchant_id, order_id, text, visitor().email)
    flash(_("Noted. The shop and the customer never see it."), "success")
    return see_other(url_for("orders.order", order_id=order_id, _anchor="timeline"))


# ---------------------------------------------------------------- as it came in


@pages.get("/orders/<uuid:order_id>/records/<uuid:record_id>")
@needs(Permission.PRIVACY)
def record(order_id: UUID, record_id: UUID) -> str:
    """One record of the order as the shop sent it, without what signs it."""
    order, this = _found(order_id), t.inbox.c
    rows, bodies = inbox.read_again(
        hub().database,
        hub().keyring,
        visitor().merchant_id,
        this.id == record_id,
        this.connection_id == order.connection_id,
        this.external_id == order.external_id,
        limit=1,
    )
    row = existing(next(iter(rows), None), _("record"))
    stored = bodies.get(record_id)
    return render_template(
        "order_record.html",
        order=order,
        row=row,
        about=about(row.topic),
        headers=_hidden(dict(row.headers or {})),
        body=_pretty(stored.record.body) if stored else None,
        damage=stored.damage if stored else "",
    )


def _pretty(body: bytes) -> str:
    """JSON as it can be read, anything else as it came."""
    text = body.decode("utf-8", "replace")
    try:
        return json.dumps(_hidden(json.loads(text)), ensure_ascii=False, indent=2)
    except ValueError:
        return text[:100_000]


def _hidden(value: Any) -> Any:
    """The same without signatures and keys, at whatever depth."""
    if isinstance(value, dict):
        return {name: "•••" if each and _is_secret(str(name)) else _hidden(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_hidden(each) for each in value]
    return value


def _is_secret(name: str) -> bool:
    bare = name.lower().replace("-", "_")
    return any(word in bare for word in _SECRET_WORDS)
