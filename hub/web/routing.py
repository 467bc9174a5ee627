"""The routing policy: its rules in words, what another one would change, and where one order is shipped from."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from flask import Blueprint, flash, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from hub.access import Permission
from hub.core.plain import from_plain, to_plain
from hub.core.routing import Do, RoutingPolicy, Rule, When
from hub.errors import BadInput
from hub.store import locations, replaying, rerouting, routing_rules
from hub.store.queries import connections
from hub.store.replaying import Replayed
from hub.web import forms
from hub.web.forms import Messages
from hub.web.gate import hub, needs, see_other, visitor
from hub.web.waking import ring

pages = Blueprint("routing", __name__)

_SECONDS = 6.0  # that the page makes past decisions again; the command has all the time there is
_MOST_RULES = 50

DO_NAMES: Mapping[Do, str] = {
    Do.FEWEST_PARCELS: _l("Fewest parcels"),
    Do.NEAREST: _l("Nearest to the customer"),
    Do.CHEAPEST: _l("Cheapest to ship, by what labels cost of late"),
    Do.SOONEST: _l("Soonest to leave"),
    Do.LEAST_LOADED: _l("Least loaded"),
    Do.SAME_COUNTRY: _l("In the customer's country"),
    Do.PRIORITY: _l("By the priority of the locations"),
    Do.ONLY: _l("Only these locations may ship"),
    Do.NEVER: _l("These locations never ship"),
    Do.KEEP: _l("These locations keep units back"),
}
KIND_NAMES: Mapping[str, str] = {"warehouse": "warehouses", "shop": "shops", "3pl": "3PLs"}
_PERIODS: Mapping[str, str] = {
    "30": _l("the last 30 days"),
    "90": _l("the last 90 days"),
    "1000": _l("the newest 1,000 orders"),
}
_LISTS = ("countries", "regions", "postcodes", "services", "tags", "skus")


@dataclass(frozen=True, slots=True)
class Names:
    """What ids in rules are called."""

    places: Mapping[str, str]
    shops: Mapping[str, str]


@pages.get("/routing")
def index() -> str:
    with hub().database.read() as db:
        number, policy = routing_rules.policy(db, visitor().merchant_id)
    return _page(policy, number, {})


@pages.post("/routing")
@needs(Permission.SETTINGS)
def change() -> Any:
    """Work on a draft that the form carries along; nothing holds before it is saved."""
    form = request.form
    after = forms.whole_number(form.get("after", ""), "after")
    act, _rest, nth = form.get("act", "").partition(":")
    draft = _draft()
    try:
        draft = replace(
            draft,
            most_parcels=forms.whole_number(form.get("most_parcels", str(draft.most_parcels)), "most_parcels"),
            in_parts="in_parts" in form,
        )
        at = forms.whole_number(nth, "act") if nth else None
        if at is not None and at > len(draft.rules):
            raise forms.damaged()
        if act == "edit" and at is not None:
            return _page(draft, after, {}, edited=at, changed=True)
        if act == "put":
            draft = _with(draft, at, _typed_rule())
        elif act in ("up", "down", "remove") and at is not None:
            draft = replace(draft, rules=_moved(draft.rules, act, at))
        elif act == "what-if":
            return _page(draft, after, {}, replayed=_what_if(draft), changed=True)
        elif act == "save":
            note = form.get("note", "").strip()
            routing_rules.save(hub().database, visitor().merchant_id, draft, note, visitor().email, after=after)
            flash(_("Orders are dealt out by these rules from now on."), "success")
            return see_other(url_for(".index"))
    except BadInput as error:
        if not error.fields:
            raise
        return _page(draft, after, error.fields, edited=at if act == "put" else None, changed=True), 422
    except ValueError as error:  # the rules themselves refuse what makes no sense
        where = "most_parcels" if "parcels" in str(error) else "do"
        return _page(draft, after, {where: [str(error)]}, changed=True), 422
    return _page(draft, after, {}, changed=True)


@pages.post("/routing/services")
@needs(Permission.SETTINGS)
def say_service() -> Any:
    """Say what a shop's way of shipping stands for."""
    method, service = request.form.get("method", ""), request.form.get("service", "")
    routing_rules.say_service(hub().database, visitor().merchant_id, method, service, visitor().email)
    flash(
        _(
            "“%(method)s” is %(what)s from now on.",
            method=method,
            what=service.strip().lower() or _("any way to ship"),
        ),
        "success",
    )
    return see_other(url_for(".index", _anchor="services"))


# ---------------------------------------------------------------- one order


@pages.post("/orders/<uuid:order_id>/location")
@needs(Permission.ORDERS)
def choose(order_id: UUID) -> Any:
    """A person says where an order is shipped from."""
    place = forms.identity("location")
    try:
        lanes = rerouting.choose(
            hub().database, visitor().merchant_id, order_id, place, request.form.get("reason", ""), visitor().email
        )
    except BadInput as error:
        flash(str(error), "danger")
        return see_other(url_for("orders.order", order_id=order_id, _anchor="dealt-out"))
    ring(lanes)
    flash(_("It is shipped from there now."), "success")
    return see_other(url_for("orders.order", order_id=order_id, _anchor="dealt-out"))


@pages.post("/orders/<uuid:order_id>/route-again")
@needs(Permission.ORDERS)
def route_again(order_id: UUID) -> Any:
    """Have the rules decide once more."""
    ring(rerouting.again(hub().database, visitor().merchant_id, order_id, visitor().email))
    flash(_("The order is dealt out again now; reload the page in a moment."), "success")
    return see_other(url_for("orders.order", order_id=order_id, _anchor="dealt-out"))


# ---------------------------------------------------------------- the draft


def _draft() -> RoutingPolicy:
    """The policy that the form carries along."""
    try:
        policy = from_plain(RoutingPolicy, json.loads(request.form.get("policy", "")))
    except ValueError:
        raise forms.damaged() from None
    if len(policy.rules) > _MOST_RULES:
        raise BadInput(_("A policy has at most %(most_rules)s rules. Remove one first.", most_rules=_MOST_RULES))
    return policy


def _with(draft: RoutingPolicy, at: int | None, rule: Rule) -> RoutingPolicy:
    rules = list(draft.rules)
    if at is None or at == len(rules):
        rules.append(rule)
    else:
        rules[at] = rule
    return replace(draft, rules=tuple(rules))


def _moved(rules: Sequence[Rule], act: str, at: int) -> tuple[Rule, ...]:
    left = [*rules[:at], *rules[at + 1 :]]
    if act != "remove" and at < len(rules):
        left.insert(max(0, at - 1) if act == "up" else at + 1, rules[at])
    return tuple(left)


def _typed_rule() -> Rule:
    form = request.form
    do = forms.one_of(Do, form.get("do", ""))
    if do is None:
        raise BadInput(_("Choose what the rule does."), {"do": [_("Choose one of the list.")]})
    lists = {name: forms.words(form.get(name, "")) for name in _LISTS}
    when = When(
        **lists,
        channels=tuple(form.getlist("channels")),
        value_from=_amount("value_from"),
        value_below=_amount("value_below"),
    )
    if do.prefers:
        return Rule(do=do, when=when)
    units = forms.optional_number(form.get("units", ""), "units") or 0
    return Rule(
        do=do,
        when=when,
        places=tuple(form.getlist("places")),
        kinds=tuple(form.getlist("kinds")),
        units=units if do is Do.KEEP else 0,
    )


def _amount(name: str) -> Decimal | None:
    text = request.form.get(name, "").strip()
    if not text:
        return None
    try:
        amount = Decimal(text) if text.isascii() and "_" not in text else Decimal("NaN")
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise BadInput(_("This is not an amount."), {name: [_("Enter an amount, such as 100 or 99.50.")]})
    return amount


def _what_if(draft: RoutingPolicy) -> Replayed:
    period = request.form.get("period", "30")
    ends = time.monotonic() + _SECONDS
    with hub().database.read() as db:
        return replaying.replay(
            db,
            visitor().merchant_id,
            draft,
            since=None if period == "1000" else hub().database.now(db) - timedelta(days=90 if period == "90" else 30),
            newest=1000 if period == "1000" else None,
            go_on=lambda: time.monotonic() < ends,
        )


# ---------------------------------------------------------------- in words


def in_words(rule: Rule, names: Names) -> str:
    """A rule as a person says it."""
    who = _and([names.places.get(each, _("a location that is gone")) for each in rule.places] + _kinds(rule))
    if rule.do is Do.ONLY:
        said = _("Only %(who)s may ship it", who=who)
    elif rule.do is Do.NEVER:
        said = _("Never from %(who)s", who=who)
    elif rule.do is Do.KEEP:
        said = _("Keep %(units)s of each SKU back in %(who)s", units=rule.units, who=who)
    else:
        said = DO_NAMES[rule.do]
    conditions = condition_in_words(rule.when, names)
    return f"{said}, {conditions}" if conditions else said


def condition_in_words(when: When, names: Names) -> str:
    """For which orders a rule holds; "" for all."""
    said = [
        (when.countries, _("to {}")),
        (when.regions, _("to {}")),
        (when.postcodes, _("to postal codes that begin with {}")),
        ([names.shops.get(each, _("a shop that is gone")) for each in when.channels], _("sold at {}")),
        (when.services, _("to be shipped as {}")),
        (when.tags, _("tagged {}")),
        (when.skus, "of {}"),
    ]
    parts = [words.format(" or ".join(values)) for values, words in said if values]
    if when.value_from is not None:
        parts.append(_("worth %(value_from)s or more", value_from=when.value_from))
    if when.value_below is not None:
        parts.append(_("worth less than %(value_below)s", value_below=when.value_below))
    return _("for orders %(value)s", value=", ".join(parts)) if parts else ""


def _kinds(rule: Rule) -> list[str]:
    return [KIND_NAMES.get(each, each) for each in rule.kinds]


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def _page(
    policy: RoutingPolicy,
    after: int,
    errors: Messages,
    *,
    edited: int | None = None,
    replayed: Replayed | None = None,
    changed: bool = False,
) -> str:
    merchant_id = visitor().merchant_id
    with hub().database.read() as db:
        places = locations.locations(db, merchant_id)
        shops = connections.connections(db, merchant_id)
        said = routing_rules.services(db, merchant_id)
        methods = list(dict.fromkeys([*routing_rules.methods(db, merchant_id), *said]))
    names = Names({str(each.id): each.location.name for each in places}, {str(each.id): each.label for each in shops})
    rule = policy.rules[edited] if edited is not None and edited < len(policy.rules) else None
    return render_template(
        "routing.html",
        policy=policy,
        plain=json.dumps(to_plain(policy)),
        number=after,
        rules=[in_words(each, names) for each in policy.rules],
        edited=edited,
        rule=rule,
        changed=changed,
        errors=errors,
        names=names,
        does=DO_NAMES,
        kinds=KIND_NAMES,
        periods=_PERIODS,
        period=request.form.get("period", "30"),
        replayed=replayed,
        most_shown=replaying.MOST_SHOWN,
        methods=methods,
        services=said,
        typed=request.form if errors else None,
    )
