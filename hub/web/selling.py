"""Selling rules: what a shop may see of the stock, of everything down to one listing, with the effect shown first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from flask import Blueprint, flash, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import Connection
from werkzeug.exceptions import NotFound

from hub.access import Permission
from hub.core.selling import Figure, SellingRule
from hub.errors import BadInput
from hub.store import publications
from hub.store import selling as rules
from hub.store.queries import connections, selling, stock
from hub.web import forms, lists
from hub.web.gate import hub, needs, see_other, visitor
from hub.web.waking import wake

pages = Blueprint("selling", __name__)

FIELDS = (
    ("buffer_units", _l("Buffer in units"), _l("So many are always kept back from the shop.")),
    ("buffer_percent", _l("Buffer in percent"), _l("That part of what is free is kept back, rounded up.")),
    ("stop_at", _l("Stop at"), _l("With so many left, or fewer, the shop shows 0.")),
    ("maximum", _l("Maximum"), _l("The shop never shows more than this.")),
    (
        "share_percent",
        _l("Share in percent"),
        _l("The channels that have a share split what is free; together 100 at most."),
    ),
    ("backorder_limit", _l("Backorders"), _l("So many may be sold that are not there. 0: none.")),
)


@dataclass(frozen=True, slots=True)
class Effect:
    """What one listing would show at one place of its shop, and what it would show without the change."""

    sku_code: str
    listing_title: str
    connection_label: str
    location_name: str
    now: Figure
    then: Figure


@pages.get("/stock/rules")
def index() -> str:
    """Every rule, and the form of the one that the address names: a SKU by its id, or as somebody typed it."""
    scope, code = _scope(request.args), lists.search_text()
    if not code:
        return _page(scope, None, {})
    with hub().database.read() as db:
        sku_id = stock.find(db, visitor().merchant_id, code)
    if sku_id is None:
        return _page(scope, None, {"q": forms.unknown_code(code)})
    return _page(rules.Scope(connection_id=scope.connection_id, sku_id=sku_id), None, {})


@pages.post("/stock/rules")
@needs(Permission.CATALOG)
def save() -> Any:
    scope = _scope(request.form)
    try:
        rule = _typed_rule()
        if request.form.get("act") == "preview":
            return _page(scope, rule, {})
        touched = rules.save_rule(hub().database, visitor().merchant_id, scope, rule, visitor().email)
    except BadInput as error:
        if not error.fields:
            raise
        return _page(scope, None, error.fields), 422
    wake(touched, "publish")
    flash(
        _("The rule is stored. Every live shop is told now.") if rule.said else _("The rule is taken away."), "success"
    )
    return see_other(url_for(".index", **_address(scope)))


def _scope(given: Any) -> rules.Scope:
    ids: dict[str, UUID | None] = {}
    for name in ("connection", "sku", "listing"):
        try:
            ids[name] = UUID(given[name]) if given.get(name) else None
        except ValueError:
            raise BadInput(_("This page cannot be found. Go back to the selling rules.")) from None
    return rules.Scope(connection_id=ids["connection"], sku_id=ids["sku"], listing_id=ids["listing"])


def _address(scope: rules.Scope) -> dict[str, Any]:
    return {"connection": scope.connection_id, "sku": scope.sku_id, "listing": scope.listing_id}


def _typed_rule() -> SellingRule:
    values: dict[str, int | None] = {}
    errors: dict[str, list[str]] = {}
    for name, *_rest in FIELDS:
        with forms.gathering(errors):
            values[name] = forms.optional_number(request.form.get(name, ""), name)
    if errors:
        raise BadInput(_("Some fields need another look. Nothing was stored."), errors)
    return SellingRule(**values)


def _page(scope: rules.Scope, supposed: SellingRule | None, errors: forms.Messages) -> str:
    merchant_id = visitor().merchant_id
    with hub().database.read() as db:
        about = selling.subject(db, merchant_id, scope)
        if about is None or (scope.listing_id and (scope.connection_id or scope.sku_id)):
            raise NotFound(_("What this rule is about does not exist here."))
        stored = rules.rules(db, merchant_id)
        own = stored.by_scope.get(scope.text, SellingRule())
        would = rules.Rules({**stored.by_scope, scope.text: own if supposed is None else supposed})
        saved = selling.saved_rules(db, merchant_id)
        return render_template(
            "rules.html",
            about=about,
            fields=FIELDS,
            own=own,
            values=request.form if request.method == "POST" else own.said,
            wider=_wider(stored, about),
            previewed=supposed is not None and supposed != own,
            effects=_effects(db, merchant_id, scope, stored, would),
            saved=[(each, stored.by_scope.get(each.subject.scope.text, SellingRule())) for each in saved],
            labels={name: label for name, label, _rest in FIELDS},
            shops=connections.names(db, merchant_id, removed=False),
            errors=errors,
            code=lists.search_text(),
        )


def _wider(stored: rules.Rules, about: selling.Subject) -> dict[str, int]:
    """What holds where this rule says nothing: the rules about more than this one is."""
    found = SellingRule()
    for each in about.within:
        found = stored.by_scope.get(each.text, SellingRule()).over(found)
    return found.said


def _effects(
    db: Connection, merchant_id: UUID, scope: rules.Scope, stored: rules.Rules, would: rules.Rules
) -> list[Effect]:
    """The figures of some of the SKUs that the rule is about."""
    shown = [each.sku_id for each in selling.examples(db, merchant_id, scope)]
    now = {
        (each.listing_id, each.location_external_id): each.figure
        for each in publications.previews(db, merchant_id, shown, stored)
    }
    found = []
    names = selling.names_of_listings(db, merchant_id, shown)
    for each in publications.previews(db, merchant_id, shown, would):
        before = now.get((each.listing_id, each.location_external_id))
        if each.figure is None or before is None:
            continue
        code, title, label, places = names[each.listing_id]
        found.append(Effect(code, title, label, places.get(each.location_external_id, ""), before, each.figure))
    return sorted(found, key=lambda effect: effect.sku_code)
