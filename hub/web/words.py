"""What the places, words and columns of a connection stand for, on one page: what nobody has mapped comes first."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Blueprint, flash, render_template, request, url_for
from flask_babel import gettext as _
from werkzeug.exceptions import NotFound

from hub.access import Permission
from hub.store import words as commands
from hub.store.queries import connections
from hub.web.connections import connector_of, is_channel, summary
from hub.web.gate import hub, needs, see_other, visitor
from hub.web.waking import wake

pages = Blueprint("words", __name__)


@pages.get("/connections/<uuid:connection_id>/mappings")
def mappings(connection_id: UUID) -> str:
    """Locations, words (statuses, carriers and what else a connector names), columns of files, names at a 3PL."""
    shop, here = summary(connection_id), (visitor().merchant_id, connection_id)
    connector = hub().registry.connectors.get(shop.connector)
    with hub().database.read() as db:
        kinds = [] if connector is None else commands.kinds(db, *here, connector)
        places = connections.channel_locations(db, *here)
        return render_template(
            "mappings.html",
            shop=shop,
            connector=connector,
            is_channel=is_channel(shop),
            kinds=sorted(kinds, key=lambda kind: all(word.meaning for word in kind.words)),
            places=sorted(places, key=lambda place: place.location_id is not None or not place.active),
            locations=connections.locations(db, visitor().merchant_id),
            chosen_columns=commands.mappings(db, *here),
        )


@pages.post("/connections/<uuid:connection_id>/mappings")
@needs(Permission.SYNC)
def choose(connection_id: UUID) -> Any:
    shop, connector = connector_of(connection_id)
    if not connector.mappings:
        raise NotFound(_("%(label)s has no words that could mean something else.", label=connector.label))
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
        word = _("word stands") if changed == 1 else _("words stand")
        flash(
            _(
                "%(changed)s %(word)s for something else now. The orders concerned are read again.",
                changed=changed,
                word=word,
            ),
            "success",
        )
    else:
        flash(_("Nothing was changed."), "info")
    return see_other(url_for(".mappings", connection_id=shop.id))
