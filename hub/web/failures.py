"""What is said when something goes wrong: a page with the next step for people, JSON for programs, a line for htmx."""

from __future__ import annotations

from typing import Any, TypeVar

import structlog
from flask import Flask, Response, g, jsonify, make_response, render_template, request
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException, InternalServerError, NotFound

from hub.access import NotPermitted
from hub.errors import BadInput, Conflict, HubError
from hub.store.accounts import Busy, NotAllowed
from hub.store.database import DatabaseAway
from hub.web.gate import is_partial, wants_json

log = structlog.get_logger()

Found = TypeVar("Found")

# What a person reads, by status: what happened, and what to do next.
_SAID = {
    400: (_l("This request cannot be understood"), _l("Go back, reload the page and try again.")),
    403: (_l("This may not be done"), _l("Ask an owner of this account.")),
    404: (_l("There is no such page"), _l("It may have been removed, or the address is mistyped.")),
    405: (_l("This page takes no such request"), _l("Go back, reload the page and try again.")),
    409: (_l("It has changed meanwhile"), _l("Go back, reload the page and look at it again.")),
    413: (_l("This is too large"), _l("Send less at once.")),
    429: (_l("Too many tries"), _l("Wait a little, then try again.")),
    500: (
        _l("Something went wrong in the hub"),
        _l("Try again. If it happens again, tell the operator the request number."),
    ),
    503: (_l("The hub cannot answer right now"), _l("Nothing was lost. Try again in a few seconds.")),
}


def install(app: Flask) -> None:
    """Answer every failure of ``app`` in its own words."""
    app.register_error_handler(HTTPException, _on_http)
    app.register_error_handler(HubError, _on_hub_error)
    app.register_error_handler(Exception, _on_surprise)


def _on_http(error: HTTPException) -> Response:
    status = error.code or 500
    if status < 400:  # a redirect raised by routing
        return make_response(error.get_response())
    sentence = error.description if _is_ours(error) else None
    if isinstance(error, CSRFError):
        sentence = _("This form has expired, or was opened before you signed in. Nothing was changed.")
    if isinstance(error, InternalServerError):
        sentence = None
    kept = {name: text for name, text in error.get_headers() if name in ("Allow", "Retry-After")}
    return failure(status, sentence, kept)


def _is_ours(error: HTTPException) -> bool:
    return error.description is not None and error.description != type(error).description


def _on_hub_error(error: HubError) -> Response:
    if isinstance(error, DatabaseAway | Busy):
        return failure(503, str(error), {"Retry-After": "5"})
    if isinstance(error, NotAllowed | NotPermitted):
        return failure(403, str(error))
    if isinstance(error, Conflict):
        return failure(409, str(error))
    if isinstance(error, BadInput):
        return failure(400, str(error))
    # The hub can say what is wrong, but not this person's doing: it is the operator's to repair.
    log.error("page failed", error=str(error), path=request.path)
    return failure(500, str(error))


def _on_surprise(error: Exception) -> Response:
    log.exception("page failed", path=request.path)
    return failure(500, None)


def existing(found: Found | None, what: str) -> Found:
    """``found``, which the address names; raises NotFound where the visitor's merchant has no such ``what``."""
    if found is None:
        raise NotFound(_("This %(what)s does not exist here.", what=what))
    return found


def failure(status: int, sentence: str | None = None, headers: dict[str, str] | None = None) -> Response:
    """The answer for ``status``: ``sentence`` says what happened, if there is more to say than the status does."""
    title, next_step = _SAID.get(status, _SAID[400 if status < 500 else 500])
    request_id = g.get("request_id", "")
    answer: Any
    if request.path.startswith("/webhooks/") or (wants_json() and not is_partial()):
        answer = jsonify(error=sentence or f"{title}. {next_step}", request_id=request_id)
    elif is_partial():
        answer = make_response(sentence or f"{title}. {next_step}")
        answer.mimetype = "text/plain"
    else:
        answer = make_response(
            render_template(
                "failure.html",
                status=status,
                title=title,
                sentence=sentence,
                next_step=next_step,
                request_id=request_id,
            )
        )
    answer.status_code = status
    answer.headers.update(headers or {})
    return make_response(answer)
