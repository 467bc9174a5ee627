"""Coming in and going out: the set-up page of a fresh hub, signing in, signing out."""

from __future__ import annotations

import ipaddress
from typing import Any
from uuid import UUID

from flask import Blueprint, flash, g, make_response, render_template, request, session, url_for
from werkzeug.wrappers import Response

from hub.errors import BadInput
from hub.store import accounts
from hub.web.gate import hub, public, safe_path, see_other
from hub.web.throttle import Throttle

pages = Blueprint("entrance", __name__)

# Three views on the same guesses. The first bears the load. The last would let an attacker with many addresses keep
# everybody else waiting; a browser in which the person has signed in before is therefore exempt from it.
_per_pair = Throttle(free=5, slowest=60, memory=1800)
_per_network = Throttle(free=30, slowest=30, memory=1800)
_per_account = Throttle(free=50, slowest=10, memory=3600)


@pages.get("/setup")
@public
def setup() -> Any:
    """The form that makes the first merchant and its owner, while nobody can sign in yet."""
    with hub().database.read() as connection:
        if not accounts.needs_setup(connection):
            flash("This hub has been set up already. Sign in.", "info")
            return see_other(url_for(".sign_in"))
    return render_template("setup.html", form={"token": request.args.get("token", "")}, errors={})


@pages.post("/setup")
@public
def finish_setup() -> Any:
    form = request.form
    try:
        if form.get("password") != form.get("again"):
            raise BadInput("The passwords differ.", {"again": ["This is not the same password."]})
        _, user_id = accounts.set_up(
            hub().database,
            form.get("token", "").strip(),
            merchant_name=form.get("merchant_name", ""),
            email=form.get("email", ""),
            name=form.get("name", ""),
            password=form.get("password", ""),
        )
    except BadInput as error:
        kept = {name: form.get(name, "") for name in ("token", "merchant_name", "email", "name")}
        return render_template("setup.html", form=kept, errors=error.fields), 422
    _begin_session(user_id)
    return see_other(url_for("home.home"))


@pages.get("/sign-in")
@public
def sign_in() -> Any:
    """The sign-in form."""
    if g.visitor is not None:
        return see_other(safe_path(request.args.get("next", "/")))
    with hub().database.read() as connection:
        if accounts.needs_setup(connection):
            return see_other(url_for(".setup"))
    return render_template("sign_in.html", email="", next=request.args.get("next", ""), problem="")


@pages.post("/sign-in")
@public
def enter() -> Any:
    email = request.form.get("email", "").strip().lower()[:320]
    wait = max(throttle.wait(key) for throttle, key in _watched(email))
    if wait > 0:
        seconds = int(wait) + 1
        answer = make_response(_refuse(email, f"Too many wrong passwords. Try again in {seconds} seconds.", 429))
        answer.headers["Retry-After"] = str(seconds)
        return answer
    user_id = accounts.authenticate(hub().database, email, request.form.get("password", ""))
    if user_id is None:
        for throttle, key in _watched(email):
            throttle.failed(key)
        return _refuse(email, "The e-mail address or the password is not right.")
    _per_pair.succeeded(_pair(email))
    if not _begin_session(user_id):
        return _refuse(email, "You do not work for any merchant here. Ask an owner to add you.")
    return see_other(safe_path(request.form.get("next", "/")))


@pages.post("/sign-out")
@public
def sign_out() -> Response:
    """End this session, also on the server."""
    token = session.get("token")
    if isinstance(token, str):
        accounts.close_session(hub().database, token)
    forget_session()
    return see_other(url_for(".sign_in"))


def forget_session() -> None:
    """Empty the cookie, but for the mark of a browser that has been let in before."""
    known = session.get("known")
    session.clear()
    if known:
        session["known"] = known


def _begin_session(user_id: UUID) -> bool:
    token = accounts.open_session(hub().database, user_id, request.user_agent.string)
    if token is None:
        return False
    old = session.get("token")
    if isinstance(old, str):
        accounts.close_session(hub().database, old)
    # Nothing that was in the cookie before, an attacker's CSRF token say, survives signing in.
    session.clear()
    session.permanent = True
    session["token"] = token
    session["known"] = request.form.get("email", "").strip().lower()[:320]
    return True


def _refuse(email: str, problem: str, status: int = 401) -> tuple[str, int]:
    next_page = request.form.get("next", "")
    return render_template("sign_in.html", email=email, next=next_page, problem=problem), status


def _watched(email: str) -> list[tuple[Throttle, str]]:
    watched = [(_per_pair, _pair(email)), (_per_network, _network())]
    if session.get("known") != email:
        watched.append((_per_account, email))
    return watched


def _pair(email: str) -> str:
    return f"{email} {_network()}"


def _network() -> str:
    """Where the request comes from: one address, or the /64 that one customer of an IPv6 provider has."""
    try:
        address = ipaddress.ip_address(request.remote_addr or "")
    except ValueError:
        return "unknown"
    if address.version == 6:
        return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
    return str(address)
