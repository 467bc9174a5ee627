"""The page of a 3PL: what is with it, what lies there, what it calls our SKUs, and how it does."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Blueprint, flash, render_template, request, url_for
from flask_babel import gettext as _

from hub.access import Permission
from hub.connector import Kind
from hub.errors import BadInput
from hub.store import connections as binding
from hub.store import provider_stock, providers
from hub.store.database import Database
from hub.store.queries import connections
from hub.store.queries import providers as queries
from hub.web import forms
from hub.web.connections import summary
from hub.web.gate import hub, needs, safe_path, see_other, visitor
from hub.web.waking import ring, wake

pages = Blueprint("providers", __name__)


@pages.get("/connections/<uuid:connection_id>/warehouse")
def warehouse(connection_id: UUID) -> str:
    return _page(connection_id, {})


def _page(connection_id: UUID, errors: forms.Messages) -> str:
    shop, here = summary(connection_id), (visitor().merchant_id, connection_id)
    connector = hub().registry.connectors.get(shop.connector)
    if connector is None or connector.kind is not Kind.PROVIDER:
        return render_template("provider.html", shop=shop, is_provider=False)
    with hub().database.read() as db:
        now = Database.now(db)
        return render_template(
            "provider.html",
            shop=shop,
            is_provider=True,
            with_it=queries.with_it(db, *here, now),
            stock=queries.compared(db, *here),
            items=queries.items(db, *here),
            score=queries.scorecard(db, *here, now),
            days=queries.PERIOD.days,
            places=connections.channel_locations(db, *here),
            locations=connections.locations(db, visitor().merchant_id),
            errors=errors,
            typed=request.form,
        )


@pages.post("/connections/<uuid:connection_id>/warehouse/items")
@needs(Permission.SYNC)
def match(connection_id: UUID) -> Any:
    """Say which SKU the 3PL means by a name."""
    summary(connection_id)
    name, code = request.form.get("name", ""), request.form.get("code", "")
    try:
        lanes = provider_stock.match(
            hub().database,
            visitor().merchant_id,
            connection_id,
            name,
            code,
            visitor().email,
            request.form.get("item", ""),
        )
    except BadInput as error:
        return _page(connection_id, error.fields), 422
    ring(lanes)
    said = _("is %(name)s", name=code.strip()) if code.strip() else _("is none of your SKUs")
    flash(_("“%(name)s” %(said)s from now on.", name=name.strip(), said=said), "success")
    return see_other(url_for(".warehouse", connection_id=connection_id))


@pages.post("/connections/<uuid:connection_id>/warehouse/places")
@needs(Permission.SYNC)
def bind(connection_id: UUID) -> Any:
    """Say which location of ours a place of the 3PL is."""
    summary(connection_id)
    touched = binding.bind_location(
        hub().database,
        visitor().merchant_id,
        connection_id,
        request.form.get("external_id", ""),
        forms.optional_identity("location_id"),
        visitor().email,
    )
    wake(touched, "publish")
    flash(_("The place is bound."), "success")
    return see_other(url_for(".warehouse", connection_id=connection_id))


@pages.post("/fulfillment/<uuid:work_id>/send-again")
@needs(Permission.SYNC)
def send_again(work_id: UUID) -> Any:
    """The cause of a rejection is put right."""
    ring(providers.send_again(hub().database, visitor().merchant_id, work_id, visitor().email))
    flash(_("It is dealt out anew, and the 3PL may be asked again."), "success")
    return _back()


@pages.post("/fulfillment/<uuid:work_id>/take-back")
@needs(Permission.SYNC)
def take_back(work_id: UUID) -> Any:
    """Ask the 3PL not to ship it, so that another location does."""
    ring(providers.ask_to_cancel(hub().database, visitor().merchant_id, work_id, visitor().email))
    flash(_("The 3PL is asked not to ship it. If it agrees, another location does."), "success")
    return _back()


def _back() -> Any:
    return see_other(safe_path(request.form.get("back", "")))
