"""Pictures of products, as the hub keeps them: shown from here, never fetched from here."""

from __future__ import annotations

from flask import Blueprint, Response, request
from flask_babel import gettext as _

from hub.store import pictures
from hub.web.failures import existing
from hub.web.gate import hub, visitor

pages = Blueprint("pictures", __name__)

_A_YEAR = 31_536_000


@pages.get("/pictures/<picture>/<any(small, large):size>")
def show(picture: str, size: str) -> Response:
    """The address names what is to be seen, so that a browser need never ask again."""
    with hub().database.read() as db:
        content = existing(pictures.show(db, visitor().merchant_id, picture, size), _("picture"))
    answer = Response(content, mimetype="image/webp")
    answer.set_etag(f"{picture}-{size}")
    # Private: whoever asks next through the same proxy may work for somebody else.
    answer.cache_control.private = True
    answer.cache_control.max_age = _A_YEAR
    answer.cache_control.immutable = True
    answer.make_conditional(request)
    return answer
