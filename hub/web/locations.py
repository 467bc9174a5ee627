"""Locations: where stock lies, what each of them offers, and how much it can do."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID
from zoneinfo import available_timezones

from flask import Blueprint, flash, render_template, request, url_for
from flask_babel import gettext as _

from hub.access import Permission
from hub.core.countries import COUNTRIES
from hub.core.geo import Point
from hub.core.model import Address
from hub.errors import BadInput, Conflict
from hub.store import locations
from hub.store.locations import Location
from hub.web import forms
from hub.web.failures import existing
from hub.web.forms import Messages
from hub.web.gate import hub, needs, see_other, visitor

pages = Blueprint("locations", __name__)

_ADDRESS = ("name", "company", "line1", "line2", "city", "region", "postcode", "country", "phone")


@pages.get("/locations")
def index() -> str:
    """Every location, and the form of a new one."""
    return _page(None, {})


@pages.get("/locations/<uuid:location_id>")
def location(location_id: UUID) -> str:
    return _page(location_id, {})


@pages.post("/locations")
@needs(Permission.SETTINGS)
def add() -> Any:
    return _save(None)


@pages.post("/locations/<uuid:location_id>")
@needs(Permission.SETTINGS)
def save(location_id: UUID) -> Any:
    return _save(location_id)


def _save(location_id: UUID | None) -> Any:
    try:
        wanted = _typed()
        kept = locations.save(hub().database, visitor().merchant_id, location_id, wanted, visitor().email)
    except BadInput as error:
        if not error.fields:
            raise
        return _page(location_id, error.fields), 422
    except Conflict as error:
        return _page(location_id, {"name": [str(error)]}), 409
    flash(_("%(name)s is stored. Orders that come in from now on go by it.", name=wanted.name.strip()), "success")
    return see_other(url_for(".location", location_id=kept))


def _typed() -> Location:
    """What was typed. Raises BadInput for what cannot be read at all; the rest is the store's to judge."""
    form = request.form
    errors: dict[str, list[str]] = {}
    point: Point | None = None
    priority, capacity = 0, None
    with forms.gathering(errors):
        point = _point(form.get("latitude", ""), form.get("longitude", ""))
    with forms.gathering(errors):
        priority = forms.optional_number(form.get("priority", ""), "priority") or 0
    with forms.gathering(errors):
        capacity = forms.optional_number(form.get("capacity", ""), "capacity")
    if errors:
        raise BadInput(_("Some fields need another look."), errors)
    return Location(
        name=form.get("title", ""),
        kind=form.get("kind", ""),
        address=Address(**{part: form.get(part, "").strip() for part in _ADDRESS}),
        point=point,
        time_zone=form.get("time_zone", "").strip(),
        cut_off=form.get("cut_off", "").strip(),
        capacity=capacity,
        services=tuple(each for each in form.get("services", "").split(",") if each.strip()),
        priority=priority,
        ships="ships" in form,
        collects="collects" in form,
    )


def _point(latitude: str, longitude: str) -> Point | None:
    if not latitude.strip() and not longitude.strip():
        return None
    try:
        return Point(float(Decimal(latitude.strip())), float(Decimal(longitude.strip())))
    except (InvalidOperation, ValueError, OverflowError):
        said = _("Enter both in degrees, such as 53.80 and -1.55, or leave both empty.")
        raise BadInput(said, {"latitude": [said]}) from None


def _page(location_id: UUID | None, errors: Messages) -> str:
    with hub().database.read() as db:
        every = locations.locations(db, visitor().merchant_id)
    chosen = next((each for each in every if each.id == location_id), None)
    if location_id is not None:
        existing(chosen, _("location"))
    return render_template(
        "locations.html",
        locations=every,
        chosen=chosen,
        wanted=chosen.location if chosen else Location(name=""),
        errors={"title" if name == "name" else name: said for name, said in errors.items()},
        kinds=locations.KINDS,
        countries=sorted(((code, each.name) for code, each in COUNTRIES.items()), key=lambda pair: pair[1]),
        time_zones=sorted(available_timezones()),
        typed=request.form if errors else None,
    )
