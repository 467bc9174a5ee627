"""Coming in and going out: the set-up page of a fresh hub, signing in in one step or two, invitations, signing out."""

from __future__ import annotations

import ipaddress
from typing import Any
from uuid import UUID

from flask import Blueprint, flash, g, make_response, render_template, request, session, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response

from hub.errors import BadInput, Conflict
from hub.store import accounts, people, throttle, two_factor
from hub.store.people import Invitation
from hub.store.throttle import Throttle, Watched
from hub.web.gate import hub, own_account, public, safe_path, see_other, visitor

pages = Blueprint("entrance", __name__)

# Three views on the same guesses. The first bears the load. The last would let an attacker with many addresses keep
# everybody else waiting; a browser in which the person has signed in before is therefore exempt from it.
_PER_PAIR = Throttle("pair", free=5, slowest=60, memory=1800)
_PER_NETWORK = Throttle("network", free=30, slowest=30, memory=1800)
_PER_ACCOUNT = Throttle("account", free=50, slowest=10, memory=3600)
# Whoever has the password may begin a sign-in again and again: what counts are the codes tried for one person.
_PER_CODE = Throttle("code", free=5, slowest=120, memory=3600)


@pages.get("/setup")
@public
def setup() -> Any:
    """The form that makes the first merchant and its owner, while nobody can sign in yet."""
    with hub().database.read() as connection:
        if not accounts.needs_setup(connection):
            flash(_("This hub has been set up already. Sign in."), "info")
            return see_other(url_for(".sign_in"))
    return render_template("setup.html", form={"token": request.args.get("token", "")}, errors={})


@pages.post("/setup")
@public
def finish_setup() -> Any:
    form = request.form
    try:
        _same_twice(form.get("password", ""))
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
    _begin_session(user_id, form.get("email", ""))
    return see_other(url_for("home.home"))


# ---------------------------------------------------------------- signing in


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
    watched = _watched(email)
    if seconds := _wait(watched):
        said = _("Too many wrong passwords. Try again in %(seconds)s seconds.", seconds=seconds)
        return _later(_refuse(email, said, 429), seconds)
    user_id = accounts.authenticate(hub().database, email, request.form.get("password", ""))
    if user_id is None:
        _failed(email, watched, "wrong password")
        return _refuse(email, _("The e-mail address or the password is not right."))
    _forget_failures(_pair(email))
    wanted = safe_path(request.form.get("next", "/"))
    answer = _come_in(user_id, email, wanted)
    return answer or _refuse(email, _("You do not work for any merchant here. Ask an owner to add you."))


@pages.get("/sign-in/code")
@public
def code_form() -> Any:
    """The second step: a code of the app, or one of the recovery codes."""
    return _code_page() if _at_second_step() is not None else _begin_again()


@pages.post("/sign-in/code")
@public
def enter_code() -> Any:
    user_id = _at_second_step()
    if user_id is None:
        return _begin_again()
    watched = [(_PER_CODE, str(user_id))]
    if seconds := _wait(watched):
        said = _("Too many wrong codes. Try again in %(seconds)s seconds.", seconds=seconds)
        return _later(_code_page(said, 429), seconds)
    email, merchant = session.get("email", ""), session.get("merchant")
    known = two_factor.finish_second_step(
        hub().database, hub().keyring, session["second_step"], request.form.get("code", "")[:100]
    )
    if known is None:
        _failed(email, watched, "wrong code")
        return _code_page(_("This code is not right, or was used before. Enter the one that the app shows now."))
    _forget_failures((_PER_CODE, str(user_id)))
    if not _begin_session(known, email, UUID(merchant) if merchant else None):
        return _begin_again()
    return see_other(safe_path(request.form.get("next", "/")))


def _code_page(problem: str = "", status: int = 0) -> tuple[str, int]:
    page = render_template("sign_in_code.html", next=request.values.get("next", ""), problem=problem)
    return page, status or (401 if problem else 200)


def _at_second_step() -> UUID | None:
    token = session.get("second_step")
    if not isinstance(token, str):
        return None
    with hub().database.read() as connection:
        return two_factor.whose(connection, token)


def _begin_again() -> Response:
    flash(_("That took too long, or too many tries. Sign in again."), "info")
    return see_other(url_for(".sign_in"))


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


# ---------------------------------------------------------------- invitations


@pages.get("/invitation/<token>")
@public
def invitation(token: str) -> Any:
    """Who asks whom to work for which business; a form to come in."""
    with hub().database.read() as connection:
        found = people.invitation(connection, token)
    return _invitation_page(found, {}, 200 if found else 404)


@pages.post("/invitation/<token>")
@public
def accept(token: str) -> Any:
    """Come in: as somebody new with a password of one's own, or with the password one has here."""
    with hub().database.read() as connection:
        found = people.invitation(connection, token)
    if found is None:
        return _invitation_page(None, {}, 404)
    try:
        return _accept_as_known(found, token) if found.has_account else _accept_as_new(found, token)
    except BadInput as error:
        return _invitation_page(found, error.fields, 422)


def _accept_as_new(found: Invitation, token: str) -> Any:
    form = request.form
    _same_twice(form.get("password", ""))
    try:
        user_id, merchant_id = people.accept(
            hub().database, token, name=form.get("name", ""), password=form.get("password", "")
        )
    except Conflict:
        return see_other(url_for(".invitation", token=token))  # they came in by another door meanwhile
    _begin_session(user_id, found.email, merchant_id)
    return see_other(url_for("home.home"))


def _accept_as_known(found: Invitation, token: str) -> Any:
    watched = _watched(found.email)
    if seconds := _wait(watched):
        said = _("Too many wrong passwords. Try again in %(seconds)s seconds.", seconds=seconds)
        return _later(_invitation_page(found, {"password": [said]}, 429), seconds)
    user_id = accounts.authenticate(hub().database, found.email, request.form.get("password", ""))
    if user_id is None:
        _failed(found.email, watched, "wrong password")
        raise BadInput(_("The password is not right."), {"password": [_("This is not the password you have here.")]})
    _forget_failures(_pair(found.email))
    merchant_id = people.accept_as(hub().database, token, user_id)
    return _come_in(user_id, found.email, url_for("home.home"), merchant_id)


@pages.post("/invitation/<token>/mine")
@own_account
def accept_here(token: str) -> Any:
    """Whoever is signed in already takes their invitation, and goes on for that business."""
    with hub().database.read() as connection:
        if people.invitation(connection, token) is None:
            return _invitation_page(None, {}, 404)  # pressed twice, say
    merchant_id = people.accept_as(hub().database, token, visitor().user_id)
    go_on_for(merchant_id)
    return see_other(url_for("home.home"))


@pages.get("/invitation/<token>/mine")
@public
def invitation_again(token: str) -> Any:
    """Where somebody reloads what came of that, or goes back to it: the invitation itself says how it stands."""
    return see_other(url_for(".invitation", token=token))


def _invitation_page(found: Invitation | None, errors: Any, status: int) -> tuple[str, int]:
    name = request.form.get("name", "")
    return render_template("invitation.html", invitation=found, errors=errors, name=name), status


# ---------------------------------------------------------------- what is inside


def go_on_for(merchant_id: UUID) -> bool:
    """Have the visitor's session go on for another merchant; False where they do not work there."""
    token = accounts.switch(hub().database, visitor(), session["token"], merchant_id)
    if token is not None:
        session["token"] = token
    return token is not None


def _come_in(user_id: UUID, email: str, wanted: str, merchant_id: UUID | None = None) -> Response | None:
    """After the right password: in, or to the second step; None for somebody who works for nobody."""
    with hub().database.read() as connection:
        two_steps = two_factor.is_on(connection, user_id)
    if not two_steps:
        return see_other(wanted) if _begin_session(user_id, email, merchant_id) else None
    token = two_factor.begin_second_step(hub().database, user_id)
    known = session.get("known")
    session.clear()
    session.update(second_step=token, email=email, known=known, merchant=str(merchant_id) if merchant_id else None)
    return see_other(url_for(".code_form", next=wanted))


def _begin_session(user_id: UUID, email: str, merchant_id: UUID | None = None) -> bool:
    agent = request.user_agent.string
    token = accounts.open_session(hub().database, user_id, agent, roughly_where(), merchant_id)
    if token is None:
        return False
    old = session.get("token")
    if isinstance(old, str):
        accounts.close_session(hub().database, old)
    # Nothing that was in the cookie before, an attacker's CSRF token say, survives signing in.
    session.clear()
    session.permanent = True
    session["token"] = token
    session["known"] = email.strip().lower()[:320]
    return True


def _same_twice(password: str) -> None:
    if password != request.form.get("again", ""):
        raise BadInput(_("The passwords differ."), {"again": [_("This is not the same password.")]})


def _refuse(email: str, problem: str, status: int = 401) -> tuple[str, int]:
    next_page = request.form.get("next", "")
    return render_template("sign_in.html", email=email, next=next_page, problem=problem), status


def _later(page: tuple[str, int], seconds: int) -> Response:
    answer = make_response(*page)
    answer.headers["Retry-After"] = str(seconds)
    return answer


def _watched(email: str) -> list[Watched]:
    watched = [_pair(email), (_PER_NETWORK, _network())]
    if session.get("known") != email:
        watched.append((_PER_ACCOUNT, email))
    return watched


def _pair(email: str) -> Watched:
    return _PER_PAIR, f"{email} {_network()}"


def _wait(watched: list[Watched]) -> int:
    """Whole seconds until the next try, 0 for none."""
    with hub().database.read() as connection:
        wait = throttle.wait(connection, watched)
    return int(wait) + 1 if wait > 0 else 0


def _failed(email: str, watched: list[Watched], what: str) -> None:
    told = f"Sign-in failed, {what}, from {roughly_where()}"
    agent = request.user_agent.string

    def work(connection: Any) -> None:
        throttle.failed(connection, watched)
        accounts.note_failure(connection, email, told, agent)

    hub().database.transact(work)


def _forget_failures(watched: Watched) -> None:
    hub().database.transact(lambda connection: throttle.succeeded(connection, watched))


def _network() -> str:
    """Where the request comes from: one address, or the /64 that one customer of an IPv6 provider has."""
    return _within(32, 64)


def roughly_where() -> str:
    """Where the request comes from, as coarsely as is enough to tell one place from another."""
    return _within(24, 48)


def _within(bits: int, bits_of_version_6: int) -> str:
    try:
        address = ipaddress.ip_address(request.remote_addr or "")
    except ValueError:
        return "unknown"
    wide = bits if address.version == 4 else bits_of_version_6
    network = ipaddress.ip_network(f"{address}/{wide}", strict=False)
    return str(network.network_address) if wide == network.max_prefixlen else str(network)
