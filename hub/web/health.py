"""Two answers for machines: whether this process lives, and whether it can do its work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import redis
from flask import Blueprint, jsonify
from werkzeug.wrappers import Response

from hub.errors import HubError
from hub.store import migrate
from hub.web.gate import hub, needs_no_session

pages = Blueprint("health", __name__)

_REDIS_PATIENCE = 1.0


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
