"""One's own doors: the password, the second factor, the browsers in which one is signed in, the password once more."""

from __future__ import annotations

from typing import Any

import segno
from flask import Blueprint, flash, redirect, render_template, request, session, url_for
from flask_babel import gettext as _
from flask_babel import ngettext
from markupsafe import Markup

from hub.errors import BadInput, Conflict
from hub.store import accounts, throttle, two_factor
from hub.store.throttle import Throttle
from hub.web.entrance import forget_session
from hub.web.forms import Messages
from hub.web.gate import KEPT_FORM, hub, kept_form, needs_password, own_account, safe_path, see_other, visitor

pages = Blueprint("security", __name__)

# Whoever finds a browser signed in must not be able to try passwords in it until one fits.
_GUESSES = Throttle("own password", free=5, slowest=60, memory=1800)


@pages.get("/settings/security")
@own_account
def security() -> str:
    return _page({})


# ---------------------------------------------------------------- the password


@pages.post("/settings/password")
@own_account
def change_password() -> Any:
    form = request.form
    try:
        _may_guess("current")
        if form.get("new") != form.get("again"):
            raise BadInput(_("The passwords differ."), {"again": [_("This is not the same password.")]})
        accounts.change_password(hub().database, visitor(), form.get("current", ""), form.get("new", ""))
    except BadInput as error:
        if "current" in error.fields:
            _guessed_wrong()
        return _page(error.fields), 422
    forget_session()
    flash(_("Your password is changed. Sign in with the new one; every other browser is signed out too."), "success")
    return see_other(url_for("entrance.sign_in"))


@pages.get("/confirm")
@own_account
def confirm() -> str:
    """The password again, before something that should not be done in a browser that was left open."""
    return _confirm_page({})


@pages.post("/confirm")
@own_account
def confirm_password() -> Any:
    kept = kept_form()
    try:
        _may_guess("password")
    except BadInput as error:
        return _confirm_page(error.fields), 429
    token = accounts.confirm(hub().database, visitor(), session["token"], request.form.get("password", ""))
    if token is None:
        _guessed_wrong()
        return _confirm_page({"password": [_("This is not your password.")]}), 422
    session["token"] = token
    if kept is not None:
        return redirect(kept.address, code=307)  # the browser sends the form on
    if request.form.get("again"):
        flash(_("That was your password. Press the button again: nothing more is asked."), "info")
    return see_other(safe_path(request.form.get("next", "/")))


def _confirm_page(errors: Messages) -> str:
    asked = request.values
    return render_template(
        "confirm.html",
        kept=request.form.get(KEPT_FORM, ""),
        next=asked.get("next", "/"),
        again=asked.get("again", ""),
        errors=errors,
    )


def _may_guess(field: str) -> None:
    with hub().database.read() as connection:
        wait = throttle.wait(connection, [(_GUESSES, str(visitor().user_id))])
    if wait > 0:
        said = _("Too many tries. Wait %(seconds)s seconds.", seconds=int(wait) + 1)
        raise BadInput(_("Too many tries."), {field: [said]})


def _guessed_wrong() -> None:
    who = str(visitor().user_id)
    hub().database.transact(lambda connection: throttle.failed(connection, [(_GUESSES, who)]))


# ---------------------------------------------------------------- the second factor


@pages.post("/settings/two-factor/begin")
@own_account
@needs_password
def begin() -> Any:
    """Make a secret and show it as a picture."""
    two_factor.begin(hub().database, hub().keyring, visitor())
    return _to_two_factor()


@pages.post("/settings/two-factor")
@own_account
@needs_password
def turn_on() -> Any:
    """The app shows the right code: from now on it is asked for."""
    try:
        _may_guess("code")
        codes = two_factor.confirm(hub().database, hub().keyring, visitor(), request.form.get("code", "")[:100])
    except BadInput as error:
        _guessed_wrong()
        return _page(error.fields), 422
    return _codes_page(codes)


@pages.post("/settings/two-factor/codes")
@own_account
@needs_password
def new_codes() -> str:
    """Ten other recovery codes."""
    return _codes_page(two_factor.fresh_codes(hub().database, visitor()))


@pages.post("/settings/two-factor/off")
@own_account
@needs_password
def turn_off() -> Any:
    try:
        two_factor.turn_off(hub().database, visitor())
    except Conflict as error:
        flash(str(error), "warning")
        return _to_two_factor()
    flash(_("Two-factor sign-in is off. Your password alone opens this hub again."), "success")
    return _to_two_factor()


def _codes_page(codes: list[str]) -> str:
    return render_template("settings/recovery_codes.html", codes=codes)


def _to_two_factor() -> Any:
    return see_other(url_for(".security", _anchor="two-factor"))


# ---------------------------------------------------------------- sessions


@pages.post("/settings/sessions/<key>/end")
@own_account
def end_session(key: str) -> Any:
    """Sign out one of one's browsers."""
    if accounts.close_one_session(hub().database, visitor(), key):
        flash(_("That browser is signed out."), "success")
    return see_other(url_for(".security", _anchor="sessions"))


@pages.post("/settings/sessions/end-others")
@own_account
def end_others() -> Any:
    """Sign out everywhere but here."""
    ended = accounts.close_other_sessions(hub().database, visitor(), session["token"])
    told = ngettext("%(num)s other browser is signed out.", "%(num)s other browsers are signed out.", ended)
    flash(told, "success")
    return see_other(url_for(".security", _anchor="sessions"))


@pages.post("/settings/sign-out-everywhere")
@own_account
def sign_out_everywhere() -> Any:
    """End every session of this person, this one too."""
    accounts.close_sessions(hub().database, visitor())
    forget_session()
    flash(_("You are signed out everywhere."), "success")
    return see_other(url_for("entrance.sign_in"))


_BROWSERS = (("Edg", "Edge"), ("OPR/", "Opera"), ("Firefox", "Firefox"), ("Chrome", "Chrome"), ("Safari", "Safari"))
_SYSTEMS = (
    *(("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows")),
    *(("Mac OS X", "macOS"), ("CrOS", "ChromeOS"), ("Linux", "Linux")),
)


@pages.app_template_global()
def browser_name(user_agent: str) -> str:
    """A browser as people call it: "Firefox, Windows". What it says of itself otherwise, cut off."""
    # Each calls itself by the names of older ones, too: the first that fits is the one.
    name = next((name for mark, name in _BROWSERS if mark in user_agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), "")
    return ", ".join(filter(None, (name, system))) or user_agent[:60] or _("Unknown browser")


def _page(errors: Messages) -> str:
    who = visitor()
    with hub().database.read() as connection:
        secret = two_factor.pending(connection, hub().keyring, who)
        return render_template(
            "settings/security.html",
            errors=errors,
            sessions=accounts.sessions(connection, who.user_id),
            this_session=accounts.session_key(session["token"]),
            codes_left=two_factor.codes_left(connection, who.user_id) if who.has_two_factor else 0,
            secret=secret,
            picture=_picture(two_factor.address(secret, who.email)) if secret else "",
        )


def _picture(text: str) -> Markup:
    """A QR code as drawing in the page: attributes alone, because the content policy allows no styles."""
    drawn = segno.make(text, error="m", micro=False)
    width, height = drawn.symbol_size(scale=1, border=4)
    dots = "".join(
        f"M{x} {y}h1v1h-1z" for y, row in enumerate(drawn.matrix_iter(border=4)) for x, dark in enumerate(row) if dark
    )
    return Markup(
        '<svg viewBox="0 0 {} {}" width="220" height="220" role="img" aria-label="{}">'
        '<rect width="100%" height="100%" fill="#fff"/><path d="{}" fill="#000"/></svg>'
    ).format(width, height, _("QR code with the secret for your app"), dots)
