"""The floor: a WSGI application that checks a signature, does one INSERT and COMMIT, and answers. Nothing less can be
said to have accepted a webhook. With BENCH_RELAY it then writes one figure to another shop, as simply as possible."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

import psycopg
import requests
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels
from granian.server import Server
from sqlalchemy.engine import make_url

THREADS = 8
_of_thread = threading.local()

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def application() -> Application:
    secret = os.environ["BENCH_SECRET"].encode()
    relay = os.environ.get("BENCH_RELAY")

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "GET":
            start_response("200 OK", [("Content-Length", "2")])
            return [b"ok"]
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        signature = base64.b64encode(hmac.new(secret, body, hashlib.sha256).digest()).decode()
        if not hmac.compare_digest(signature, environ.get("HTTP_X_WC_WEBHOOK_SIGNATURE", "")):
            start_response("401 Unauthorized", [("Content-Length", "0")])
            return [b""]
        store(body)
        if relay:
            session().put(relay, data=body, timeout=10).close()
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    return answer


def store(body: bytes) -> None:
    """One row, one commit, on a connection of this thread."""
    url = make_url(os.environ["BENCH_DATABASE_URL"])
    if not hasattr(_of_thread, "connection"):
        if url.get_backend_name() == "sqlite":
            _of_thread.connection = sqlite3.connect(url.database or "", timeout=30)
            _of_thread.connection.execute("pragma journal_mode=wal")
            _of_thread.connection.execute("pragma synchronous=full")
        else:
            address = url.set(drivername="postgresql").render_as_string(hide_password=False)
            _of_thread.connection = psycopg.connect(address)
    mark = "?" if url.get_backend_name() == "sqlite" else "%s"
    _of_thread.connection.execute(f"insert into bare_inbox (body) values ({mark})", (body,))
    _of_thread.connection.commit()


def session() -> requests.Session:
    if not hasattr(_of_thread, "session"):
        _of_thread.session = requests.Session()
        _of_thread.session.trust_env = False
    kept: requests.Session = _of_thread.session
    return kept


if __name__ == "__main__":
    Server(
        "bench.bare:application",
        factory=True,
        interface=Interfaces.WSGI,
        port=int(sys.argv[1]),
        blocking_threads=THREADS,
        http=HTTPModes.http1,
        websockets=False,
        log_level=LogLevels.error,
    ).serve()
