"""Answers for machines: whether this process lives, whether it can do its work, whom to tell of a hole in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import redis
from flask import Blueprint, jsonify
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from hub.errors import HubError
from hub.store import migrate
from hub.web.gate import hub, needs_no_session

pages = Blueprint("health", __name__)

_REDIS_PATIENCE = 1.0
_CONTACT_LASTS = timedelta(days=30)  # told anew with every answer


@pages.get("/healthz")
@needs_no_session
def healthz() -> Response:
    """This process answers."""
    return jsonify(status="ok")


@pages.get("/readyz")
@needs_no_session
def readyz() -> tuple[Response, int, dict[str, str]]:
    """The database, its schema and Redis are as this process needs them; else 503 and what is wrong."""
    problems = dict(_problems())
    if not problems:
        return jsonify(status="ready"), 200, {}
    return jsonify(status="not ready", problems=problems), 503, {"Retry-After": "5"}


@pages.get("/.well-known/security.txt")
@needs_no_session
def security_txt() -> Response:
    """Whom to tell of a hole in this hub, as RFC 9116 has it; 404 where the operator names nobody."""
    contact = hub().settings.security_contact
    if contact is None:
        raise NotFound
    until = datetime.now(UTC) + _CONTACT_LASTS
    return Response(f"Contact: {contact}\nExpires: {until:%Y-%m-%dT%H:%M:%SZ}\n", mimetype="text/plain")


def _problems() -> Iterator[tuple[str, str]]:
    checks: tuple[tuple[str, Callable[[], str]], ...] = (("database", _database), ("redis", _redis))
    for name, check in checks:
        if problem := check():
            yield name, problem


def _database() -> str:
    try:
        if not migrate.is_current(hub().database):
            return "The database has an older schema. Run: hub db upgrade"
    except HubError as error:
        return str(error)
    return ""


def _redis() -> str:
    address = hub().settings.redis_url
    if address is None:
        return ""
    try:
        with closing(
            redis.Redis.from_url(address, socket_timeout=_REDIS_PATIENCE, socket_connect_timeout=_REDIS_PATIENCE)
        ) as client:
            client.ping()
    except (redis.RedisError, OSError, ValueError) as error:
        return f"Redis does not answer ({type(error).__name__}). Workers poll meanwhile; nothing is lost."
    return ""
