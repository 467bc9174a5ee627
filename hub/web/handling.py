"""What people say of one order on its page (holds, address, tags, priority, collection), and the merchant's rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from flask import Blueprint, flash, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import ngettext

from hub import addresses
from hub.access import Permission
from hub.connector import CarrierCapabilities
from hub.core.model import Address, HoldReason
from hub.core.plain import from_plain
from hub.core.priorities import EXPRESS_WORDS, Kind, PriorityRule, Urgency
from hub.errors import BadInput, Conflict
from hub.papers import Paper
from hub.store import address_checks, handling, holds
from hub.store.database import Lanes
from hub.store.handling import HandlingPolicy
from hub.store.queries import handling as queries
from hub.web import forms
from hub.web.failures import existing
from hub.web.gate import hub, needs, see_other, visitor
from hub.web.looks import state_of
from hub.web.waking import ring

pages = Blueprint("handling", __name__)

ADDRESS_PARTS = tuple(each.name for each in fields(Address))
_MOST_RULES = 20


# ---------------------------------------------------------------- one order


@pages.get("/orders/<uuid:order_id>/handling")
def order(order_id: UUID) -> str:
    return _page(order_id)


@pages.post("/orders/<uuid:order_id>/handling")
@needs(Permission.ORDERS)
def act(order_id: UUID) -> Any:
    """One of the things a person can say of an order: ``act`` names it."""
    wanted = _ACTS.get(request.form.get("act", ""))
    if wanted is None:
        raise forms.damaged()
    try:
        lanes = wanted(order_id)
    except BadInput as error:
        return _page(order_id, str(error), error.fields), 422
    except Conflict as error:
        return _page(order_id, str(error)), 409
    ring(lanes)
    return see_other(url_for("orders.order", order_id=order_id))


def _hold(order_id: UUID) -> Lanes:
    reason = forms.one_of(HoldReason, request.form.get("reason", ""))
    if reason is None:
        raise BadInput(_("Choose why it is held."), {"reason": [_("Choose why it is held.")]})
    note = request.form.get("note", "")[:500]
    holds.hold_order(hub().database, visitor().merchant_id, order_id, reason, note, visitor().email)
    flash(_("The order is on hold: nothing of it is packed or shipped."), "success")
    return []


def _release(order_id: UUID) -> Lanes:
    lanes = handling.release(hub().database, visitor().merchant_id, order_id, forms.identity("hold"), visitor().email)
    flash(_("This hold is off."), "success")
    return lanes


def _address(order_id: UUID) -> Lanes:
    address = Address(**{part: " ".join(request.form.get(part, "").split())[:200] for part in ADDRESS_PARTS})
    shop = handling.correct_address(hub().database, visitor().merchant_id, order_id, address, visitor().email)
    flash(_("The address is changed here. The shop still shows its own."), "success")
    return [(shop, "route")]


def _ask_carrier(order_id: UUID) -> Lanes:
    carrier = forms.identity("carrier")
    if carrier not in dict(address_carriers()):
        raise Conflict(_("This carrier cannot be asked about addresses now. Reload the page."))
    address_checks.ask(hub().database, visitor().merchant_id, order_id, carrier, visitor().email)
    return [(carrier, "fetch")]


def _take_over(order_id: UUID) -> Lanes:
    wanted = request.form.get("suggestion", "")
    shop = address_checks.take_over(hub().database, visitor().merchant_id, order_id, wanted, visitor().email)
    flash(_("The address is written as the carrier has it. The shop still shows its own."), "success")
    return [(shop, "route")]


def address_carriers() -> list[tuple[UUID, str]]:
    """The merchant's carriers that can be asked whether an address is right."""
    names = [name for name, each in hub().registry.connectors.items() if _checks_addresses(each.capabilities)]
    with hub().database.read() as connection:
        return queries.accounts(connection, visitor().merchant_id, names)


def _checks_addresses(capabilities: object) -> bool:
    return isinstance(capabilities, CarrierCapabilities) and capabilities.validates_addresses


def _tags(order_id: UUID) -> Lanes:
    handling.set_tags(
        hub().database, visitor().merchant_id, order_id, request.form.get("tags", "").split(","), visitor().email
    )
    return []


def _priority(order_id: UUID) -> Lanes:
    chosen = request.form.get("priority", "")
    known = {str(each.value): each.value for each in Urgency}
    if chosen and chosen not in known:
        raise BadInput(_("Choose a priority of the list."), {"priority": [_("Choose one of the list.")]})
    handling.set_priority(
        hub().database, visitor().merchant_id, order_id, known[chosen] if chosen else None, visitor().email
    )
    return []


def _collect(order_id: UUID) -> Lanes:
    location_id = forms.optional_identity("location")
    shop = handling.collect_at(hub().database, visitor().merchant_id, order_id, location_id, visitor().email)
    return [(shop, "route")]


_ACTS: Mapping[str, Callable[[UUID], Lanes]] = {
    "hold": _hold,
    "release": _release,
    "address": _address,
    "ask_carrier": _ask_carrier,
    "take_suggestion": _take_over,
    "tags": _tags,
    "priority": _priority,
    "collect": _collect,
}


def _page(order_id: UUID, message: str = "", errors: forms.Messages | None = None) -> str:
    with hub().database.read() as connection:
        at = hub().database.now(connection)
        found = existing(queries.order(connection, visitor().merchant_id, order_id, at), _("order"))
    ship_to = found.ship_to
    if request.form.get("act") == "address":
        ship_to = {part: request.form.get(part, "") for part in ADDRESS_PARTS}
    return render_template(
        "handling.html",
        order=found,
        ship_to=ship_to,
        verdict=addresses.check(from_plain(Address, found.ship_to)),
        fitted={carrier: addresses.fitted(from_plain(Address, found.ship_to), carrier) for carrier in addresses.LIMITS},
        carriers=address_carriers(),
        parts=ADDRESS_PARTS,
        reasons=[each.value for each in HoldReason],
        urgencies=[(each.value, state_of("urgency", each.value).label) for each in Urgency],
        message=message,
        errors=errors or {},
        form=request.form,
    )


# ---------------------------------------------------------------- the merchant's rules


@pages.get("/pack/rules")
def rules() -> str:
    return _rules_page()


@pages.post("/pack/rules")
@needs(Permission.SETTINGS)
def save_rules() -> Any:
    """The rules of priority in their order, digital lines, and the usual paper."""
    try:
        chosen = HandlingPolicy(
            priorities=_typed_rules(),
            confirms_digital=request.form.get("confirms_digital") == "yes",
            paper=Paper(request.form.get("paper", "")),
        )
    except BadInput as error:
        return _rules_page(str(error)), 422
    except ValueError as error:
        return _rules_page(f"{error}"), 422
    changed = handling.save(hub().database, visitor().merchant_id, chosen, visitor().email)
    flash(
        ngettext(
            "Kept. %(changed)s open order has another priority now.",
            "Kept. %(changed)s open orders have another priority now.",
            changed,
            changed=changed,
        ),
        "success",
    )
    return see_other(url_for(".rules"))


def _typed_rules() -> tuple[PriorityRule, ...]:
    kinds, sizes, urgencies = (request.form.getlist(name) for name in ("kind", "value", "urgency"))
    if not len(kinds) == len(sizes) == len(urgencies) <= _MOST_RULES:
        raise forms.damaged()
    known = {str(each.value): each for each in Urgency}
    made = []
    for name, text, urgency in zip(kinds, sizes, urgencies, strict=True):
        if not name:
            continue
        kind = forms.one_of(Kind, name)
        if kind is None or urgency not in known:
            raise forms.damaged()
        made.append(_rule(kind, " ".join(text.split()), known[urgency]))
    return tuple(made)


def _rule(kind: Kind, text: str, urgency: Urgency) -> PriorityRule:
    words = forms.words(text)
    try:
        if kind is Kind.PROMISED:
            return PriorityRule(kind=kind, urgency=urgency, days=forms.whole_number(text, "value"))
        if kind is Kind.VALUE:
            return PriorityRule(kind=kind, urgency=urgency, value=Decimal(text))
        return PriorityRule(kind=kind, urgency=urgency, words=words or (EXPRESS_WORDS if kind is Kind.EXPRESS else ()))
    except (InvalidOperation, ValueError) as error:
        said = error if isinstance(error, ValueError) and str(error) else _("This is not a number.")
        raise BadInput(_("%(said)s Look at the rules again.", said=said)) from None


def _rules_page(message: str = "") -> str:
    with hub().database.read() as connection:
        chosen = handling.policy(connection, visitor().merchant_id)
    return render_template(
        "handling_rules.html",
        policy=chosen,
        rules=[(each.kind.value, _said(each), each.urgency.value) for each in chosen.priorities],
        kinds=[each.value for each in Kind],
        urgencies=[(each.value, state_of("urgency", each.value).label) for each in Urgency],
        papers=[each.value for each in Paper],
        message=message,
    )


def _said(rule: PriorityRule) -> str:
    if rule.kind is Kind.PROMISED:
        return str(rule.days)
    return str(rule.value) if rule.kind is Kind.VALUE else ", ".join(rule.words)
