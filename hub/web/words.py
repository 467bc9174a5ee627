"""The page on which a merchant says what the words of a shop stand for."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Blueprint, flash, render_template, request, url_for
from werkzeug.exceptions import NotFound

from hub.access import Permission
from hub.store import words as commands
from hub.web.connections import connector_of
from hub.web.gate import hub, needs, see_other, visitor
from hub.web.waking import wake

pages = Blueprint("words", __name__)


@pages.get("/connections/<uuid:connection_id>/words")
def words(connection_id: UUID) -> str:
    shop, connector = connector_of(connection_id)
    with hub().database.read() as db:
        kinds = commands.kinds(db, visitor().merchant_id, connection_id, connector)
    return render_template("words.html", shop=shop, connector=connector, kinds=kinds)


@pages.post("/connections/<uuid:connection_id>/words")
@needs(Permission.SYNC)
def choose(connection_id: UUID) -> Any:
    shop, connector = connector_of(connection_id)
    if not connector.mappings:
        raise NotFound(f"{connector.label} has no words that could mean something else.")
    # Each field is called by its kind and word; a slash may stand in a word, never in a kind.
    chosen = {
        (kind, word): meaning
        for name, meaning in request.form.items()
        for kind, slash, word in [name.partition("/")]
        if slash
    }
    changed = commands.choose(hub().database, visitor().merchant_id, connection_id, connector, chosen, visitor().email)
    if changed:
        wake([connection_id], "fetch")
        word = "word stands" if changed == 1 else "words stand"
        flash(f"{changed} {word} for something else now. The orders concerned are read again.", "success")
    else:
        flash("Nothing was changed.", "info")
    return see_other(url_for(".words", connection_id=shop.id))
