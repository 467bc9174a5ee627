"""The composition root of the web process: one Flask application made from a hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from hub.web import (
    audit,
    authorize,
    bulk,
    collecting,
    columns,
    connections,
    entrance,
    exchanges,
    explain,
    failures,
    gate,
    going_live,
    handling,
    health,
    home,
    importing,
    journal,
    locations,
    looks,
    matching,
    order_acts,
    order_list,
    packing,
    people,
    pictures,
    privacy,
    providers,
    routing,
    search,
    security,
    selling,
    settings,
    shipments,
    stock,
    stock_import,
    streams,
    sync,
    warehouse,
    webhooks,
    words,
)

if TYPE_CHECKING:
    from hub.jobs import Hub

_LARGEST_FORM = 1024 * 1024  # webhooks alone may be larger
_YEAR = 365 * 24 * 3600  # pages name static files by their content, so that a copy never grows old


def create_app(hub: Hub) -> Flask:
    """The pages, the webhooks and the health checks of ``hub``, as a WSGI application."""
    app = Flask(__name__, static_folder="web/static", template_folder="web/templates")
    app.config.update(MAX_CONTENT_LENGTH=_LARGEST_FORM, SEND_FILE_MAX_AGE_DEFAULT=_YEAR)
    app.extensions["hub"] = hub
    gate.install(app)
    failures.install(app)
    looks.install(app)
    streams.install(app)
    for module in (
        entrance,
        home,
        connections,
        going_live,
        importing,
        sync,
        exchanges,
        authorize,
        words,
        columns,
        providers,
        privacy,
        routing,
        matching,
        order_acts,
        order_list,  # with the order pages, of which it is one
        bulk,
        handling,
        packing,
        pictures,
        collecting,
        shipments,
        stock,
        stock_import,
        warehouse,
        selling,
        explain,
        search,
        journal,
        locations,
        settings,
        people,
        security,
        audit,
        webhooks,
        health,
    ):
        app.register_blueprint(module.pages)
    if hub.settings.proxies:
        # Only as many hops as the operator says are ours: anybody could write these headers.
        count = hub.settings.proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=count)  # type: ignore[method-assign]
    return app
