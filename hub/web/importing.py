"""How far the import of a connection's orders is: the page asks again every two seconds until it is done."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from flask import Blueprint, render_template, request
from flask_babel import gettext as _

from hub.store.queries import connections
from hub.store.queries import importing as queries
from hub.web.failures import existing
from hub.web.gate import hub, visitor

pages = Blueprint("importing", __name__)

_REMEMBERED = 30.0  # seconds over which the pace is taken


@dataclass(frozen=True, slots=True)
class Look:
    """How far the import was at a moment, which the page gives back with its next question."""

    at: float
    read: int


@pages.get("/connections/<uuid:connection_id>/import")
def progress(connection_id: UUID) -> str:
    merchant_id = visitor().merchant_id
    with hub().database.read() as db:
        shop = existing(connections.connection_summary(db, merchant_id, connection_id), _("connection"))
        found = queries.progress(db, merchant_id, connection_id)
    if found is None:
        return render_template("importing.html", shop=shop, progress=None)
    now = Look(datetime.now(UTC).timestamp(), found.read)
    at, read = request.args.get("at", type=float), request.args.get("read", type=int)
    before = now if at is None or read is None else Look(at, read)
    passed = now.at - before.at
    return render_template(
        "importing.html",
        shop=shop,
        progress=found,
        pace=queries.pace(found, before.read, passed),
        look=before if 0 <= passed < _REMEMBERED else now,
        asked=True,
        about=queries.about,
    )
