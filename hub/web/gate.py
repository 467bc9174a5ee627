"""Who may pass: the names the hub answers to, sessions, roles, CSRF, and the headers every answer carries."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import quote, urlsplit
from uuid import uuid4

import structlog
from flask import Flask, Response, current_app, g, jsonify, redirect, render_template, request, session, url_for
from flask.sessions import SecureCookieSessionInterface
from flask_babel import gettext as _
from flask_wtf.csrf import CSRFProtect
from sqlalchemy import select
from werkzeug.datastructures import ImmutableMultiDict
from werkzeug.exceptions import BadRequest, Forbidden, NotFound, RequestEntityTooLarge
from werkzeug.wrappers import Response as AnyResponse

from hub import access
from hub.access import Permission
from hub.errors import BadInput
from hub.store import accounts
from hub.store import tables as t
from hub.store.accounts import Visitor
from hub.store.database import Database, DatabaseAway
from hub.store.queries.home import surroundings
from hub.store.secrets import SecretsUnreadable

if TYPE_CHECKING:
    from hub.config import Settings
    from hub.jobs import Hub

View = TypeVar("View", bound=Callable[..., Any])

csrf = CSRFProtect()

_CONTENT_POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data:",  # the icons inside Tabler's style sheet
        "script-src 'self'",
        "style-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "form-action 'self'",
    )
)
_REST_OF_A_FORM = 1024 * 1024  # bytes beside its file
_STILL_HERE = timedelta(minutes=5)  # how often a session's last use is written down


def hub() -> Hub:
    """The hub this process serves."""
    return cast("Hub", current_app.extensions["hub"])


def visitor() -> Visitor:
    """Who is asking. Only on pages that need a sign-in."""
    return cast("Visitor", g.visitor)


def public(view: View) -> View:
    """A page for everybody, signed in or not. Every other page asks for a sign-in."""
    view.is_public = True  # type: ignore[attr-defined]
    return view


def needs(permission: Permission) -> Callable[[View], View]:
    """What one has to be allowed to. Without it a page is for looking, and a form is refused to everybody."""

    def mark(view: View) -> View:
        view.permission = permission  # type: ignore[attr-defined]
        return view

    return mark


def own_account(view: View) -> View:
    """A form about the visitor alone, whatever their role: their password, their sessions."""
    view.is_own_account = True  # type: ignore[attr-defined]
    return view


def takes_files(largest: int) -> Callable[[View], View]:
    """A form that carries a file of at most so many bytes; every other form is much smaller."""

    def mark(view: View) -> View:
        view.largest_file = largest  # type: ignore[attr-defined]
        return view

    return mark


def needs_password(view: View) -> View:
    """A page or form for which the password has to have been typed lately, by whoever sits at the browser now.

    A form that asks for it is not lost over the question: it is sent on, as it was, once the password was right.
    """
    return needs_password_where(lambda: True)(view)


def needs_password_where(this: Callable[[], bool]) -> Callable[[View], View]:
    """The same for the forms alone of which ``this`` is so."""

    def mark(view: View) -> View:
        view.needs_password = this  # type: ignore[attr-defined]
        return view

    return mark


def gives_a_file(view: View) -> View:
    """A form whose answer the browser saves, while it stays on the page that it shows."""
    view.gives_a_file = True  # type: ignore[attr-defined]
    return view


def is_partial() -> bool:
    """Whether htmx asks, and shows a part of the answer in place."""
    return request.headers.get("HX-Request") == "true"


def see_other(address: str) -> AnyResponse:
    """Lead the browser to another page, also when htmx asked."""
    if is_partial():
        return Response(status=200, headers={"HX-Redirect": address})
    return redirect(address, code=303)


def wants_json() -> bool:
    """Whether a program asks, rather than a browser: those name HTML."""
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) != "text/html"


def public_address(path: str) -> str:
    """``path`` as it is reached from outside, "" where nobody can reach this hub."""
    base = hub().settings.public_url
    return base.rstrip("/") + path if base else ""


def raw_body(largest: int) -> bytes:
    """The body of the request as it came. Raises RequestEntityTooLarge beyond ``largest`` bytes."""
    # One byte more than may be: a body without a length is cut off at the limit, not refused, and has to be told from
    # one that just fits.
    request.max_content_length = largest + 1
    body = request.get_data()
    if len(body) > largest:
        raise RequestEntityTooLarge
    return body


def safe_path(target: str) -> str:
    """``target`` if it is a path on this hub, else the home page."""
    # Not taken apart: what is no address at all ("//[") must not break the page that is to lead somewhere.
    plain = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if plain else "/"


def install(app: Flask) -> None:
    """Put the gate before every page of ``app``."""
    settings: Settings = app.extensions["hub"].settings
    app.secret_key, *app.config["SECRET_KEY_FALLBACKS"] = [_cookie_key(key) for key in settings.secret_keys]
    app.session_interface = _Cookie()
    app.config.update(
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_HTTPONLY=True,
        PERMANENT_SESSION_LIFETIME=accounts.SESSION_LIFE,
        WTF_CSRF_TIME_LIMIT=None,  # a form stays good as long as the session it was drawn in
    )
    app.before_request(_name_the_request)
    app.before_request(_check_host)
    app.before_request(_make_room_for_files)
    csrf.init_app(app)
    app.before_request(_check_letters)
    app.before_request(_admit)
    app.before_request(_must_be_here)
    app.after_request(_add_headers)
    app.teardown_request(_forget_who_asked)


class _Cookie(SecureCookieSessionInterface):
    """One signed cookie. Over https its name binds it to this host, so that no neighbour can plant one."""

    def get_cookie_name(self, app: Flask) -> str:
        return "__Host-tallyhub" if request.is_secure else "tallyhub"

    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure


def _cookie_key(secret_key: str) -> bytes:
    # The keys encrypt what the database keeps; cookies are signed with keys derived from them for this alone.
    material = base64.b64decode(secret_key.partition(":")[2])
    return hashlib.blake2b(b"session cookie", key=material, digest_size=32).digest()


def _name_the_request() -> None:
    g.request_id = uuid4().hex[:16]
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _check_host() -> None:
    """Refuse a request for a name that is not ours: a page of somebody else that leads its name to this address."""
    if getattr(current_app.view_functions.get(request.endpoint or ""), "needs_no_session", False):
        return  # nothing there depends on who asks, and a webhook is not lost over a name
    settings: Settings = hub().settings
    try:
        parts = urlsplit(f"//{request.host}")
        name, _port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        name = ""
    if not name or not _is_ours(name, settings):
        raise BadRequest(
            _(
                "This hub does not answer to the name “%(name)s”. Open it by its own "
                "address, or let the operator add the name to TALLYHUB_TRUSTED_HOSTS.",
                name=name[:100],
            )
        )


def _make_room_for_files() -> None:
    """Let a form be as large as its file may be, for those alone who have signed in here: it is read before anything
    else is known of who sends it."""
    view = current_app.view_functions.get(request.endpoint or "")
    largest = getattr(view, "largest_file", None)
    if largest is not None and isinstance(session.get("token"), str):
        request.max_content_length = largest + _REST_OF_A_FORM


def _check_letters() -> None:
    """Refuse a form with what PostgreSQL keeps in no text and no page of ours sends, before any of it gets there."""
    if getattr(current_app.view_functions.get(request.endpoint or ""), "needs_no_session", False):
        return  # those read the body as it came
    if any("\x00" in name or "\x00" in text for name, text in request.form.items(multi=True)):
        raise BadRequest("This form is damaged. Reload the page.")


def _is_ours(name: str, settings: Settings) -> bool:
    with suppress(ValueError):
        ipaddress.ip_address(name)
        return True  # an address is no name that somebody else could lead here
    own = {"localhost", settings.host, *settings.trusted_hosts}
    if settings.public_url:
        own.add(urlsplit(settings.public_url).hostname or "")
    return name in own


def _admit() -> AnyResponse | None:
    g.visitor = None
    access.begin(frozenset())  # nothing, until the visitor is known
    view = current_app.view_functions.get(request.endpoint or "")
    if request.endpoint == "static" or view is None or getattr(view, "needs_no_session", False):
        return None
    token = session.get("token")
    if isinstance(token, str):
        g.visitor = _recognize(token)
    if getattr(view, "is_public", False):
        return None
    if g.visitor is None:
        return _ask_to_sign_in()
    access.begin(g.visitor.permissions)
    if not getattr(view, "is_own_account", False):
        if g.visitor.needs_two_factor and not g.visitor.has_two_factor:
            return see_other(url_for("security.security", _anchor="two-factor"))
        needed = getattr(view, "permission", Permission.LOOK if request.method == "GET" else None)
        if needed is None:
            raise Forbidden(_("Nobody has been given the right to do this."))
        access.demand(needed)
    is_asked_for: Callable[[], bool] | None = getattr(view, "needs_password", None)
    if is_asked_for is None:
        return None
    _take_up_the_form()
    if g.now - g.visitor.confirmed_at <= accounts.CONFIRMED_FOR or not is_asked_for():
        return None
    return _ask_for_the_password(gives_a_file=getattr(view, "gives_a_file", False))


# ---------------------------------------------------------------- the password once more

KEPT_FORM = "kept_form"  # the field of the question that holds the form it was asked about
_KEPT_FOR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class KeptForm:
    """A form that waits for the password of whoever sent it: where it was sent to, and what it said."""

    address: str
    fields: Sequence[tuple[str, str]]


def _ask_for_the_password(*, gives_a_file: bool) -> AnyResponse:
    """The question, or the way to it; from there it goes on to the page, or the form, that was asked for."""
    if request.method == "GET":
        return see_other(url_for("security.confirm", next=_wanted()))
    asked = urlsplit(request.referrer or "")
    back = safe_path(f"{asked.path}?{asked.query}" if asked.query else asked.path)
    if gives_a_file:
        # The browser would save the answer and go on showing the question.
        return see_other(url_for("security.confirm", next=back, again="yes"))
    question = render_template("confirm.html", kept=_sealed_form(), next=back, again="", errors={})
    whole_page = {"HX-Retarget": "body", "HX-Reselect": "main", "HX-Reswap": "innerHTML"} if is_partial() else {}
    return Response(question, headers=whole_page)


def _sealed_form() -> str:
    """The form of this request for a hidden field: what was typed may be secret, and is for nobody to read there."""
    told = {
        "address": _wanted(),
        "at": g.now.isoformat(),
        "fields": [each for each in request.form.items(multi=True) if each[0] != "csrf_token"],
    }
    return base64.b64encode(hub().keyring.pack(json.dumps(told).encode(), _whose_form())).decode()


def kept_form() -> KeptForm | None:
    """The form that was kept in this one, None where there is none. Raises BadInput for somebody else's, or an old
    one."""
    sealed = request.form.get(KEPT_FORM)
    if sealed is None:
        return None
    try:
        told = json.loads(hub().keyring.unpack(base64.b64decode(sealed), _whose_form()))
    except (ValueError, SecretsUnreadable):
        told = None
    if told is None or g.now - datetime.fromisoformat(told["at"]) > _KEPT_FOR:
        raise BadInput(_("This question is too old, or was not asked of you. Nothing was done: begin again."))
    return KeptForm(told["address"], [(name, text) for name, text in told["fields"]])


def _whose_form() -> str:
    return f"form:{visitor().user_id}:{visitor().merchant_id}"


def _take_up_the_form() -> None:
    """Put the form that was kept over the question into the place of the one that brings it."""
    kept = kept_form()
    if kept is None:
        return
    if kept.address != _wanted():
        raise BadInput(_("This form is damaged. Reload the page."))
    request.form = ImmutableMultiDict(kept.fields)


def _wanted() -> str:
    return request.full_path.rstrip("?")


# ---------------------------------------------------------------- who may pass


def needs_no_session(view: View) -> View:
    """A door for machines: no session, no cookie, no CSRF token."""
    view.needs_no_session = True  # type: ignore[attr-defined]
    exempt: View = csrf.exempt(view)
    return exempt


# What an address may name, and where the merchant keeps it.
_KEPT = {
    "order_id": t.sales_order,
    "bulk_id": t.bulk_act,
    "fulfillment_order_id": t.fulfillment_order,
    "shipment_id": t.shipment,
}


def _must_be_here() -> None:
    """What somebody acts on has to exist for their merchant before anything is said about what they filled in."""
    named = request.view_args or {}
    if g.visitor is None or request.method != "POST":
        return
    for name in named.keys() & _KEPT.keys():
        kept = _KEPT[name].c
        with hub().database.read() as connection:
            there = connection.execute(
                select(kept.id).where(kept.merchant_id == g.visitor.merchant_id, kept.id == named[name])
            ).first()
        if there is None:
            raise NotFound(_("This does not exist here."))


def _recognize(token: str) -> Visitor | None:
    database: Database = hub().database
    with database.read() as connection:
        found = accounts.visitor(connection, token)
        if found is not None:
            g.surroundings = surroundings(connection, found.merchant_id)
            g.now = found.at
    # A page left open refreshes itself: that is not somebody using the hub.
    if found is not None and not is_partial() and found.at - found.last_seen_at > _STILL_HERE:
        with suppress(DatabaseAway):
            accounts.keep_alive(database, token)
    return found


def _ask_to_sign_in() -> AnyResponse:
    if wants_json() and not is_partial():
        answer = jsonify(error=_("Sign in first."), request_id=g.request_id)
        answer.status_code = 401
        return answer
    wanted = _wanted() if request.method == "GET" and not is_partial() else ""
    address = url_for("entrance.sign_in") + (f"?next={quote(wanted)}" if wanted not in ("", "/") else "")
    return see_other(address)


def _forget_who_asked(error: BaseException | None) -> None:
    access.end()


def _add_headers(answer: Response) -> Response:
    headers = answer.headers
    headers["Content-Security-Policy"] = _CONTENT_POLICY
    headers["X-Content-Type-Options"] = "nosniff"
    # Not stricter: without a referrer the CSRF check of a page served over https fails.
    headers["Referrer-Policy"] = "strict-origin-when-cross-origin"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=()"
    headers["X-Request-Id"] = g.get("request_id", "")
    if request.is_secure:
        headers["Strict-Transport-Security"] = "max-age=31536000"
    if request.endpoint != "static" and not answer.cache_control.immutable:
        headers["Cache-Control"] = "no-store"
    return answer
