"""The home page: the way from an empty hub to published stock, then the day at a glance."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Blueprint, render_template

from hub.store.queries import connections, journal
from hub.store.queries import home as figures
from hub.web.gate import hub, visitor

pages = Blueprint("home", __name__)


@pages.get("/")
def home() -> str:
    merchant_id = visitor().merchant_id
    with hub().database.read() as connection:
        return render_template(
            "home.html",
            progress=figures.progress(connection, merchant_id),
            glance=figures.glance(connection, merchant_id, datetime.now(UTC)),
            shops=connections.connections(connection, merchant_id),
            issues=journal.issues(connection, merchant_id, limit=5),
            activity=journal.activity(connection, merchant_id, limit=8),
        )
