"""What customers asked through their shops: to see what is kept about them, and to be forgotten."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, flash, render_template, url_for
from flask_babel import gettext as _
from werkzeug.exceptions import NotFound

from hub.access import Permission
from hub.store import privacy as commands
from hub.web.gate import gives_a_file, hub, needs, needs_password, see_other, visitor

pages = Blueprint("privacy", __name__)


@pages.get("/privacy")
@needs(Permission.PRIVACY)
def index() -> str:
    with hub().database.read() as db:
        wishes = commands.wishes(db, visitor().merchant_id)
    return render_template("privacy.html", wishes=wishes)


@pages.get("/privacy/<uuid:request_id>")
@needs(Permission.PRIVACY)
def wish(request_id: UUID) -> str:
    return render_template("privacy_request.html", wish=_wish(request_id))


@pages.post("/privacy/<uuid:request_id>/download")
@needs(Permission.PRIVACY)
@needs_password
@gives_a_file
def download(request_id: UUID) -> Response:
    """Everything that is kept about the customer, as a file, of which the audit log tells."""
    asked = _wish(request_id)
    found = commands.take_along(hub().database, hub().keyring, visitor().merchant_id, request_id, visitor().email)
    text = json.dumps(found, indent=1, ensure_ascii=False)
    disposition = {"Content-Disposition": f'attachment; filename="customer-{asked.received_at:%Y-%m-%d}.json"'}
    return Response(text, mimetype="application/json", headers=disposition)


@pages.post("/privacy/<uuid:request_id>")
@needs(Permission.PRIVACY)
@needs_password
def hand_out(request_id: UUID) -> Any:
    _wish(request_id)
    commands.hand_out(hub().database, visitor().merchant_id, request_id, visitor().email)
    flash(_("Noted: the customer was told. What was gathered is gathered no more."), "success")
    return see_other(url_for(".index"))


def _wish(request_id: UUID) -> commands.Wish:
    with hub().database.read() as db:
        found = commands.wishes(db, visitor().merchant_id, request_id)
    if not found:
        raise NotFound(_("There is no such request here."))
    return found[0]
