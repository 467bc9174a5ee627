"""Connecting with one click: the merchant is sent to the vendor, and what comes back becomes a connection."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from flask import Blueprint, flash, jsonify, render_template, request, url_for
from flask_babel import gettext as _
from marshmallow import EXCLUDE
from werkzeug.exceptions import Gone, NotFound, TooManyRequests
from werkzeug.wrappers import Response

from hub.access import Permission
from hub.connector import AuthorizationAnswer, AuthorizationRequest, Connector
from hub.errors import BadInput, Conflict, HubError, Rejected, Unverified
from hub.store import authorizations, throttle
from hub.store.authorizations import Authorization, Spent
from hub.store.throttle import Throttle
from hub.web import forms
from hub.web.connections import connect_page, connector_of, form_of, known_connector, reconnect_page
from hub.web.failures import failure
from hub.web.gate import hub, needs, needs_no_session, needs_password, public_address, raw_body, see_other, visitor

pages = Blueprint("authorize", __name__)
log = structlog.get_logger()

LARGEST_BODY = 64 * 1024
_LONGEST_STATE = 200
_MOST_TEXTS = 100

# By address: who sends what no merchant has asked for.
_STRANGERS = Throttle("stranger", free=20, slowest=30, memory=600)


# ---------------------------------------------------------------- going


@pages.post("/connectors/<name>/authorize")
@needs(Permission.CONNECT)
@needs_password
def connect(name: str) -> Any:
    """Note what was typed in, and show the button that leads to the vendor."""
    connector = known_connector(name)
    label = request.form.get("label", "")
    try:
        settings = _typed(connector, label)
    except BadInput as error:
        return connect_page(connector, {}, {}, request.form, error.fields), 422
    return _on_the_way(connector, settings, label=label)


@pages.post("/connections/<uuid:connection_id>/authorize")
@needs(Permission.CONNECT)
@needs_password
def reconnect(connection_id: UUID) -> Any:
    shop, connector = connector_of(connection_id)
    if shop.state == "removed":
        raise Conflict(_("%(label)s was removed. Connect the shop anew.", label=shop.label))
    try:
        settings = _typed(connector)
    except BadInput as error:
        return reconnect_page(shop, None, {}, request.form, error.fields), 422
    return _on_the_way(connector, settings, connection_id=connection_id)


def _typed(connector: type[Connector], label: str = "") -> dict[str, Any]:
    """What was typed in, as JSON values."""
    if connector.authorization_schema is None:
        raise NotFound(_("%(label)s cannot be connected with one click.", label=connector.label))
    if hub().settings.public_url is None:
        raise Conflict(
            _("This hub has no public address, so that nobody could come back to it. Set TALLYHUB_PUBLIC_URL.")
        )
    if len(label) > 200:
        raise BadInput(_("The name is too long."), {"label": [_("Use at most 200 characters.")]})
    with form_of(connector):
        schema = connector.authorization_schema()
        settings: dict[str, Any] = schema.dump(forms.load(schema, request.form))
        return settings


def _on_the_way(connector: type[Connector], settings: Mapping[str, Any], **more: Any) -> str:
    authorization_id, state = authorizations.begin(
        hub().database, hub().keyring, visitor(), connector, settings, **more
    )
    asked = AuthorizationRequest(
        state=state,
        # The same for everybody: vendors want to be told it beforehand, to the letter.
        return_url=public_address(url_for(".come_back", name=connector.name)),
        callback_url=public_address(
            url_for(".call_back", merchant_id=visitor().merchant_id, authorization_id=authorization_id)
        ),
    )
    with form_of(connector):
        assert connector.authorization_schema is not None  # noqa: S101 (what _typed made sure of, told to mypy)
        address = connector.authorization_url(connector.authorization_schema().load(dict(settings)), asked)
    if not _is_address(address):
        raise Conflict(
            _(
                "The connector %(label)s leads to no web site. Update its package, or tell its author.",
                label=connector.label,
            )
        )
    return render_template("authorize.html", connector=connector, address=address, host=urlsplit(address).hostname)


def _is_address(address: object) -> bool:
    if type(address) is not str or len(address) > 8000 or not address.isprintable() or " " in address:
        return False
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme in ("https", "http") and bool(parts.hostname)


# ---------------------------------------------------------------- coming back


@pages.get("/connect/return/<name>")
@needs(Permission.CONNECT)
def come_back(name: str) -> Any:
    """The merchant is back, with the vendor's answer or ahead of it."""
    connector = known_connector(name)
    parameters = request.args.to_dict()
    asked = authorizations.come_back(hub().database, hub().keyring, visitor().merchant_id, _texts(parameters.values()))
    if asked is None or asked.connector != name or asked.user_id != visitor().user_id:
        raise NotFound(_("Nothing was asked for here. Connect the shop from the connectors page."))
    if asked.task_id is not None:  # by the vendor's own call, or this page is loaded once more
        return _to_check(asked.came_of_it, asked.task_id)
    if asked.used or asked.expired:
        raise Gone(_("This permission was asked for too long ago, or was used already. Connect the shop once more."))
    answer = AuthorizationAnswer(asked.state, parameters, b"", by_browser=True)
    try:
        with form_of(connector):
            settings = _read(connector, asked, answer)
        if settings is None:
            return render_template("authorize_waiting.html", connector=connector)
        connection_id, task_id = _complete(connector, asked, settings)
    except Unverified as error:
        raise Conflict(str(error)) from error
    except Rejected as error:
        authorizations.decline(hub().database, asked)
        flash(str(error), "danger")
        return see_other(
            url_for("connections.connect_form", name=name)
            if asked.connection_id is None
            else url_for("connections.reconnect_form", connection_id=asked.connection_id)
        )
    except Spent as error:
        raise Gone(str(error)) from error
    return _to_check(connection_id, task_id)


@pages.post("/connect/callback/<uuid:merchant_id>/<uuid:authorization_id>")
@needs_no_session
def call_back(merchant_id: UUID, authorization_id: UUID) -> Response:
    """The vendor itself sends the keys: no session here, only the state it was given tells that it was asked."""
    whom = [(_STRANGERS, request.remote_addr or "")]
    with hub().database.read() as connection:
        wait = throttle.wait(connection, whom)
    if wait:
        raise TooManyRequests(retry_after=int(wait) + 1)
    body = raw_body(LARGEST_BODY)
    parameters = request.args.to_dict()
    asked = authorizations.come_back(
        hub().database,
        hub().keyring,
        merchant_id,
        _texts((*parameters.values(), *_texts_in(body))),
        authorization_id=authorization_id,
    )
    connector = hub().registry.connectors.get(asked.connector) if asked is not None else None
    if asked is None or connector is None:
        hub().database.transact(lambda connection: throttle.failed(connection, whom))
        return failure(404, _("Nothing was asked for here."))
    if asked.used or asked.expired:
        hub().database.transact(lambda connection: throttle.failed(connection, whom))
        return failure(410, _("This is over."))
    answer = AuthorizationAnswer(asked.state, parameters, body, by_browser=False)
    try:
        with form_of(connector):
            settings = _read(connector, asked, answer)
        if settings is not None:
            _complete(connector, asked, settings)
    except Unverified as error:
        log.info("authorization refused", connector=connector.name, reason=str(error))
        return failure(401, _("This does not fit what was asked for."))
    except Rejected:
        authorizations.decline(hub().database, asked)
    except Spent:
        return failure(410, _("This is over."))
    except HubError as error:
        log.warning("authorization failed", connector=connector.name, reason=str(error))
        return failure(409, _("This could not be used."))
    return jsonify(stored=True)


def _read(connector: type[Connector], asked: Authorization, answer: AuthorizationAnswer) -> dict[str, Any] | None:
    """The settings that the vendor's answer makes, as the connector's schema loads them; None: there are none yet."""
    schema = connector.authorization_schema
    if schema is None:
        raise Rejected(_("%(label)s cannot be connected with one click any more.", label=connector.label))
    found = connector.read_authorization(schema().load(dict(asked.settings)), answer)
    if found is None:
        return None
    loaded: dict[str, Any] = dict(connector.settings_schema().load(dict(found), unknown=EXCLUDE))
    return loaded


def _complete(connector: type[Connector], asked: Authorization, settings: Mapping[str, Any]) -> tuple[UUID, UUID]:
    with form_of(connector):
        connection_id, task_id = authorizations.complete(hub().database, hub().keyring, asked, connector, settings)
    hub().doorbell.ring(asked.merchant_id, connection_id, "fetch")
    return connection_id, task_id


def _to_check(connection_id: UUID | None, task_id: UUID) -> Response:
    return see_other(url_for("connections.follow", connection_id=connection_id, task_id=task_id))


def _texts(values: Any) -> list[str]:
    """Those that a state may be among."""
    return [each for each in values if isinstance(each, str) and 0 < len(each) <= _LONGEST_STATE][:_MOST_TEXTS]


def _texts_in(body: bytes) -> Iterator[str]:
    yield from request.form.values()
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return
    if isinstance(told, dict):
        yield from (each for each in told.values() if isinstance(each, str))
