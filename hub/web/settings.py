"""Settings: who works here, one's own password, and the browsers in which one is signed in."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, render_template, request, session, url_for

from hub.errors import BadInput
from hub.store import accounts
from hub.web.entrance import forget_session
from hub.web.forms import Messages
from hub.web.gate import hub, see_other, visitor
from hub.web.throttle import Throttle

pages = Blueprint("settings", __name__)

# Whoever finds a browser signed in must not be able to try passwords in it until one fits.
_guesses = Throttle(free=5, slowest=60, memory=1800)


@pages.get("/settings")
def settings() -> str:
    return _page({})


@pages.post("/settings/password")
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
def sign_out_everywhere() -> Any:
    """End every session of this person, this one too."""
    accounts.close_sessions(hub().database, visitor().user_id)
    forget_session()
    flash("You are signed out everywhere.", "success")
    return see_other(url_for("entrance.sign_in"))


def _page(errors: Messages) -> str:
    with hub().database.read() as connection:
        return render_template(
            "settings.html",
            people=accounts.people(connection, visitor().merchant_id),
            sessions=accounts.sessions(connection, visitor().user_id),
            this_session=accounts.session_key(session["token"]),
            errors=errors,
        )
