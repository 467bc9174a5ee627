"""The door through which shops send webhooks: checked on the raw bytes, stored, and only then acknowledged."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog
from flask import Blueprint, g, jsonify, request
from flask_babel import gettext as _
from sqlalchemy import Row, case, select
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from hub.connector import Connector, Delivery, Webhook
from hub.errors import Unverified
from hub.http import Exchange, Redactor
from hub.jobs.guard import Broke
from hub.store import activity, connections, exchanges, inbox
from hub.store import tables as t
from hub.store.secrets import SecretsUnreadable
from hub.web.failures import failure
from hub.web.gate import hub, needs_no_session, raw_body

pages = Blueprint("webhooks", __name__)
log = structlog.get_logger()

LARGEST_BODY = 16 * 1024 * 1024


class _CannotCheck(Exception):
    """The connection is there, but its connector cannot check a signature now. The message says why."""


@pages.post("/webhooks/<uuid:merchant_id>/<uuid:connection_id>")
@needs_no_session
def receive(merchant_id: UUID, connection_id: UUID) -> Response:
    """Answer 200 only for what is stored: whatever else a sender hears, it sends again, or the hub polls for it."""
    webhook = _webhook()
    try:
        row = _row(merchant_id, connection_id)
        with _turn(connection_id):
            delivery = _verify(_reader(row), webhook)
    except Unverified as error:
        log.info("webhook refused", connection_id=str(connection_id), reason=str(error))
        _note_refused(merchant_id, connection_id, webhook, 401, "The signature does not fit this connection.")
        return failure(401, _("The signature does not fit this connection."))
    except _CannotCheck as error:
        _tell(merchant_id, connection_id, str(error))
        _note_refused(merchant_id, connection_id, webhook, 503, str(error))
        return _later()
    return _stored(merchant_id, connection_id, delivery, webhook)


@pages.post("/webhooks/<uuid:merchant_id>/apps/<connector>")
@needs_no_session
def receive_for_app(merchant_id: UUID, connector: str) -> Response:
    """The one address of a merchant's app at a vendor: the connection is found by what the webhook says of its account.

    That of a removed connection, too: what a vendor has to say about customers' data comes after the app is gone. Who
    is not believed hears the same whether there is such an account or not.
    """
    webhook = _webhook()
    cannot: _CannotCheck | None = None
    for row in _candidates(merchant_id, connector, webhook):
        try:
            with _turn(row.id):
                delivery = _verify(_reader(row), webhook)
        except Unverified as error:
            log.info("webhook refused", connection_id=str(row.id), reason=str(error))
        except _CannotCheck as error:
            cannot = error
            if row.state != "removed":
                _tell(merchant_id, row.id, str(error))
        else:
            return _stored(merchant_id, row.id, delivery, webhook)
    return _later() if cannot else failure(401, _("The signature fits no connection here."))


def _webhook() -> Webhook:
    g.began, g.redactor = time.monotonic(), Redactor()
    return Webhook({name.lower(): value for name, value in request.headers.items()}, raw_body(LARGEST_BODY))


def _later() -> Response:
    return failure(503, _("This webhook cannot be checked right now. Send it again later."), {"Retry-After": "60"})


def _stored(merchant_id: UUID, connection_id: UUID, delivery: Delivery | None, webhook: Webhook) -> Response:
    if delivery is None:
        return jsonify(stored=False)
    line = _line(webhook, 200)
    stored = inbox.store_webhook(
        hub().database,
        hub().keyring,
        merchant_id,
        connection_id,
        delivery,
        webhook,
        also=lambda db: exchanges.keep(db, hub().keyring, merchant_id, connection_id, [line]),
    )
    if connection_id in _told:
        _take_back(merchant_id, connection_id)
    hub().doorbell.ring(merchant_id, connection_id, "inbox")
    return jsonify(stored=stored)


def _row(merchant_id: UUID, connection_id: UUID) -> Row[Any]:
    # Read anew for every webhook. That costs one row by its key; a copy kept here would go on accepting a secret that
    # was replaced, or refuse the one that replaced it, and some shops never send a refused webhook again.
    with hub().database.read() as db:
        row = db.execute(
            select(t.connection).where(t.connection.c.merchant_id == merchant_id, t.connection.c.id == connection_id)
        ).first()
    if row is None or row.state == "removed" or row.secrets is None:
        raise NotFound(_("There is no such connection."))
    return row


_MOST_CANDIDATES = 5  # shops that were connected and removed again and again: the newest are tried


def _candidates(merchant_id: UUID, name: str, webhook: Webhook) -> Sequence[Row[Any]]:
    """The connections that a webhook may be for, by their open settings: those that work first, then the newest."""
    connector = hub().registry.connectors.get(name)
    if connector is None:
        raise NotFound(_("There is no such connector."))
    try:
        account = connector.webhook_account(webhook)
        if account is None or not _is_account(account):
            return ()
    except BaseException as error:
        cannot = _blame(connector, error)
        log.warning("webhook of no account", connector=name, reason=str(cannot))
        return ()
    shop = t.connection.c
    wanted = [shop.settings[key].as_string() == text for key, text in account.items()]
    with hub().database.read() as db:
        return db.execute(
            select(t.connection)
            .where(shop.merchant_id == merchant_id, shop.connector == name, shop.secrets.is_not(None), *wanted)
            .order_by(case((shop.state == "removed", 1), else_=0), shop.created_at.desc(), shop.id.desc())
            .limit(_MOST_CANDIDATES)
        ).all()


def _is_account(account: object) -> bool:
    return (
        isinstance(account, Mapping)
        and 0 < len(account) <= 10
        and all(type(each) is str and "\x00" not in each for pair in account.items() for each in pair)
    )


def _reader(row: Row[Any]) -> Connector:
    connector = hub().registry.connectors.get(row.connector)
    if connector is None:
        raise _CannotCheck(f"The connector “{row.connector}” is not installed")
    try:
        credentials = connections.unseal(hub().keyring, row.merchant_id, row.id, connector, row.secrets)
        for secret in connections.secrets_of(connector, credentials):
            g.redactor.add(secret)
        return hub().reader(connector, credentials)
    except SecretsUnreadable as error:
        raise _CannotCheck(f"The credentials of this connection cannot be read: {error}") from error
    except BaseException as error:
        raise _blame(connector, error) from error


# Connections whose webhooks are being checked now. A check takes a millisecond. A plugin that hangs in it keeps its
# thread for ever, as nothing can end a thread: so it gets half of them at most, and everything else goes on.
_checking: Counter[UUID] = Counter()
_counting = threading.Lock()


@contextmanager
def _turn(connection_id: UUID) -> Iterator[None]:
    patience = time.monotonic() + 0.25
    most = max(1, hub().settings.web_threads // 2)
    while True:
        with _counting:
            if _checking[connection_id] < most:
                _checking[connection_id] += 1
                break
        if time.monotonic() > patience:
            raise _CannotCheck("The connector does not come to an end with checking webhooks")
        time.sleep(0.01)
    try:
        yield
    finally:
        with _counting:
            _checking[connection_id] -= 1
            if not _checking[connection_id]:
                del _checking[connection_id]


def _verify(connector: Connector, webhook: Webhook) -> Delivery | None:
    if connector.__class__.verify is Connector.verify:
        raise NotFound(_("This connection takes no webhooks."))
    try:
        delivery = connector.verify(webhook)
    except Unverified:
        raise
    except BaseException as error:
        raise _blame(connector.__class__, error) from error
    if delivery is not None and not _is_delivery(delivery):
        raise _CannotCheck(f"The connector {connector.label} answered with no delivery")
    return delivery


def _is_delivery(found: object) -> bool:
    # To the letter: what only claims to be a text could make of two webhooks one.
    return type(found) is Delivery and type(found.topic) is str and type(found.dedupe_key) is str


def _blame(connector: type[Connector], error: BaseException) -> Exception:
    """What a plugin raises is its own trouble, were it an attempt to end this process; what the server does is not."""
    if isinstance(error, KeyboardInterrupt | GeneratorExit):
        raise error
    log.error("webhook check failed", connector=connector.name, exc_info=error)
    kind = str(error).partition(":")[0] if isinstance(error, Broke) else type(error).__name__
    return _CannotCheck(f"The connector {connector.label} failed to check a webhook ({kind})")


# ---------------------------------------------------------------- the log of requests

_REFUSED_EVERY = 10.0  # seconds: strangers who guess at a signature fill no log
_refused: dict[UUID, float] = {}  # connections of which a refused webhook was noted, and when


def _line(webhook: Webhook, status: int, error: str = "") -> exchanges.Line:
    redactor: Redactor = g.redactor
    exchange = Exchange(
        method=request.method,
        url=redactor.text(request.url),
        status=status,
        seconds=time.monotonic() - g.began,
        request_bytes=len(webhook.body),
        response_bytes=0,
        request_headers=redactor.headers({name: webhook.headers[name] for name in sorted(webhook.headers)}),
        response_headers={},
        error=error,
    )
    return exchanges.Line(exchange, datetime.now(UTC), exchanges.WEBHOOK, received=True)


def _note_refused(merchant_id: UUID, connection_id: UUID, webhook: Webhook, status: int, why: str) -> None:
    if time.monotonic() - _refused.get(connection_id, float("-inf")) < _REFUSED_EVERY:
        return
    _refused[connection_id] = time.monotonic()
    try:
        with hub().database.write() as db:
            exchanges.keep(db, hub().keyring, merchant_id, connection_id, [_line(webhook, status, why)])
    except Exception as error:  # the sender hears the same, whether it is written down or not
        log.warning("refused webhook not recorded", error=f"{type(error).__name__}: {error}"[:500])


# ---------------------------------------------------------------- telling the merchant

_ISSUE = "webhooks_not_checked"
_told: dict[UUID, float] = {}  # connections whose merchant was told, and when: not once per webhook


def _tell(merchant_id: UUID, connection_id: UUID, title: str) -> None:
    if time.monotonic() - _told.get(connection_id, float("-inf")) < 60:
        return
    with hub().database.write() as db:
        activity.raise_issue(
            db,
            merchant_id,
            _ISSUE,
            str(connection_id),
            title,
            "Update or install the connector. Until then its webhooks are turned away, and the hub asks the shop.",
            at=hub().database.now(db),
            connection_id=connection_id,
            link=f"/connections/{connection_id}",
        )
    _told[connection_id] = time.monotonic()


def _take_back(merchant_id: UUID, connection_id: UUID) -> None:
    with hub().database.write() as db:
        activity.resolve_issue(db, merchant_id, _ISSUE, str(connection_id), at=hub().database.now(db))
    _told.pop(connection_id, None)
