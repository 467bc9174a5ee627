"""The log of requests of a connection: what was asked of its vendor and what it has sent, line by line."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from flask import Blueprint, render_template, request
from flask_babel import lazy_gettext as _

from hub.http import MASK
from hub.store.exchanges import KEPT, MOST, Details
from hub.store.queries import exchanges as queries
from hub.store.queries.exchanges import ExchangeView, Wanted
from hub.web import forms, lists
from hub.web.connections import summary
from hub.web.failures import existing
from hub.web.gate import hub, visitor

pages = Blueprint("exchanges", __name__)

SHOWN = ("all", "failed", "slow", "sent", "received")
# For which work something was asked or came in.
LANES: Mapping[str, Any] = {
    "fetch": _("Asking the shop"),
    "inbox": _("Reading what came in"),
    "route": _("Dealing out"),
    "publish": _("Writing stock"),
    "effects": _("Sending"),
    "ship": _("Asking for rates"),
    "messages": _("Reading the queue"),
    "webhook": _("Webhook"),
}
_HTTP = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_LEFT_TO_CURL = ("host", "content-length", "connection", "accept-encoding")


@pages.get("/connections/<uuid:connection_id>/requests")
def index(connection_id: UUID) -> str:
    shop = summary(connection_id)
    here = (visitor().merchant_id, connection_id)
    wanted = Wanted(
        show=lists.choice("show", SHOWN, "all"),
        method="".join(each for each in request.args.get("method", "") if each.isalpha())[:10],
        path=lists.search_text(),
        order_id=lists.chosen_id("order"),
        effect_id=lists.chosen_id("effect"),
        since=_moment("since"),
        until=_moment("until"),
    )
    with hub().database.read() as db:
        rows = queries.exchanges(db, *here, wanted, before=lists.chosen_id("before"), limit=lists.ONE_MORE)
        tally = queries.tally(db, *here)
        methods = queries.methods(db, *here)
    return render_template(
        "requests.html",
        shop=shop,
        page=lists.listed(rows, lambda row: str(row.id)),
        wanted=wanted,
        tally=tally,
        methods=methods,
        lanes=LANES,
        days=KEPT.days,
        most=MOST,
        filtered=wanted != Wanted(),
    )


@pages.get("/connections/<uuid:connection_id>/requests/<uuid:exchange_id>")
def exchange(connection_id: UUID, exchange_id: UUID) -> str:
    shop = summary(connection_id)
    with hub().database.read() as db:
        line, details = existing(
            queries.exchange(db, hub().keyring, visitor().merchant_id, connection_id, exchange_id), _("request")
        )
    return render_template(
        "request.html", shop=shop, line=line, details=details, lanes=LANES, curl=as_curl(line, details)
    )


def _moment(name: str) -> datetime | None:
    return forms.moment(request.args.get(name, "")[:40], name)


def as_curl(line: ExchangeView, details: Details) -> str:
    """The request as a command to be repeated by hand, "" where there is none: secrets are left as variables of the
    shell, called like what carried them."""
    if line.received or line.method not in _HTTP:
        return ""
    query = f"?{details.query}" if details.query else ""
    words = ["curl", "-i", "-g", "-X", line.method, _query_word(f"https://{line.host}{line.path}{query}")]
    for name, value in (details.request_headers or {}).items():
        if name.lower() not in _LEFT_TO_CURL:
            words += ["-H", _word(f"{name}: {value}", name)]
    if details.request_excerpt:
        # Not --data: that would send a file where what was said begins with "@".
        words += ["--data-raw", _word(details.request_excerpt, "SECRET")]
    return " ".join(words)


def _word(text: str, name: str) -> str:
    """One word of the command, with the variable of this name wherever something was masked."""
    if MASK not in text:
        return shlex.quote(text)
    variable = "".join(each if each.isalnum() and each.isascii() else "_" for each in name).upper()
    return f'"${{{variable}}}"'.join(shlex.quote(part) if part else "" for part in text.split(MASK))


def _query_word(address: str) -> str:
    first, *parameters = address.split("&")
    before, mark, parameter = first.partition("?")
    named = [parameter, *parameters] if mark else parameters
    told = [_word(each, each.partition("=")[0]) for each in named]
    return shlex.quote(f"{before}{mark}") + "'&'".join(told)
