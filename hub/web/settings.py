"""Settings: how orders get stock, locations, who works here, one's own password, and where one is signed in."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, render_template, request, session, url_for

from hub.access import Permission
from hub.core.allocation import QueueOrder, StockPolicy
from hub.errors import BadInput, Conflict
from hub.store import accounts, policies, stock, warehouse
from hub.store.queries import connections
from hub.web import forms
from hub.web.entrance import forget_session
from hub.web.forms import Messages
from hub.web.gate import hub, needs, own_account, see_other, visitor
from hub.web.throttle import Throttle
from hub.web.waking import wake

pages = Blueprint("settings", __name__)

# Whoever finds a browser signed in must not be able to try passwords in it until one fits.
_guesses = Throttle(free=5, slowest=60, memory=1800)


@pages.get("/settings")
def settings() -> str:
    return _page({})


@pages.post("/settings/password")
@own_account
def change_password() -> Any:
    form, who = request.form, str(visitor().user_id)
    try:
        if wait := _guesses.wait(who):
            raise BadInput("Too many tries.", {"current": [f"Too many tries. Wait {int(wait) + 1} seconds."]})
        if form.get("new") != form.get("again"):
            raise BadInput("The passwords differ.", {"again": ["This is not the same password."]})
        accounts.change_password(hub().database, visitor(), form.get("current", ""), form.get("new", ""))
    except BadInput as error:
        if "current" in error.fields:
            _guesses.failed(who)
        return _page(error.fields), 422
    forget_session()
    flash("Your password is changed. Sign in with the new one; every other browser is signed out too.", "success")
    return see_other(url_for("entrance.sign_in"))


@pages.post("/settings/sign-out-everywhere")
@own_account
def sign_out_everywhere() -> Any:
    """End every session of this person, this one too."""
    accounts.close_sessions(hub().database, visitor().user_id)
    forget_session()
    flash("You are signed out everywhere.", "success")
    return see_other(url_for("entrance.sign_in"))


@pages.post("/settings/stock-policy")
@needs(Permission.SETTINGS)
def save_policy() -> Any:
    """Say which orders get stock first, and how much at once."""
    form = request.form
    queue = forms.one_of(QueueOrder, form.get("queue", ""))
    if queue is None:
        raise forms.damaged()
    try:
        policy = StockPolicy(
            hold_together=form.get("hold_together") == "yes",
            queue=queue,
            unpaid_hours=forms.optional_number(form.get("unpaid_hours", ""), "unpaid_hours"),
        )
        touched = policies.save(hub().database, visitor().merchant_id, policy, visitor().email)
    except BadInput as error:
        return _page(error.fields), 422
    wake(touched, "publish")
    flash("Orders get stock this way from now on.", "success")
    return see_other(url_for(".settings", _anchor="stock-policy"))


@pages.post("/settings/locations")
@needs(Permission.SETTINGS)
def add_location() -> Any:
    """A place where stock may lie."""
    name = request.form.get("name", "")
    try:
        warehouse.add_location(hub().database, visitor().merchant_id, name, visitor().email)
    except BadInput as error:
        return _page(error.fields), 422
    except Conflict as error:
        return _page({"name": [str(error)]}), 409
    flash(f"{name.strip()} is a location now. Count what lies there, or transfer something to it.", "success")
    return see_other(url_for(".settings", _anchor="locations"))


def _page(errors: Messages) -> str:
    with hub().database.read() as connection:
        return render_template(
            "settings.html",
            policy=stock.policy(connection, visitor().merchant_id),
            queues=tuple(QueueOrder),
            locations=connections.locations(connection, visitor().merchant_id),
            form=request.form,
            people=accounts.people(connection, visitor().merchant_id),
            sessions=accounts.sessions(connection, visitor().user_id),
            this_session=accounts.session_key(session["token"]),
            errors=errors,
        )
