"""The lane in which the pictures of a shop's listings are fetched: the least urgent of all, one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from urllib.parse import urljoin, urlsplit, urlunsplit

from sqlalchemy import ColumnElement, Connection

from hub import pictures as drawing
from hub.errors import AuthError, ConnectorError, RateLimited, Rejected, Unavailable
from hub.http import AnswerTooLarge, Client, led
from hub.jobs.fetch_lane import anything
from hub.jobs.shift import Shift, jitter
from hub.pictures import Unusable
from hub.store import pictures, sandbox
from hub.store import tables as t
from hub.store.pictures import Wanted

LANE = "pictures"

PAUSE = 0.2  # seconds between two requests to one host
_HOPS = 3  # addresses that one picture may be sent on to
_TIMEOUT = (5.0, 5.0)  # to connect, and for one silence
_MOST_SECONDS = 15.0  # for one answer: with both of these it ends before the lease does
_MOVED = (301, 302, 303, 307, 308)
_HEADERS = {"Accept": "image/webp,image/png,image/jpeg,image/gif"}


def due(at: datetime) -> ColumnElement[bool]:
    """Whether the connection of the outer query has pictures to be fetched now."""
    return anything(t.picture, t.picture.c.due_at <= at)


def work(shift: Shift) -> None:
    """Fetch what is due. Each is claimed and kept in a transaction of its own, and nothing is open in between."""
    if not shift.hub.settings.pictures:
        return
    last_asked: dict[str, float] = {}
    row = shift.row()
    with shift.hub.database.read() as connection:
        own = sandbox.routes_of(connection, row)
    while shift.time_left() and shift.may_call(shift.row()):
        shift.keep()
        wanted = shift.write(
            lambda connection, at: pictures.claim(connection, shift.merchant_id, shift.connection_id, at=at)
        )
        if wanted is None:
            return
        host = urlsplit(wanted.source).netloc
        time.sleep(max(0.0, last_asked.get(host, 0.0) + PAUSE - time.monotonic()))
        shift.write(_outcome(shift, wanted, own))
        last_asked[host] = time.monotonic()


def _outcome(shift: Shift, wanted: Wanted, own: Mapping[str, str] | None) -> Callable[[Connection, datetime], None]:
    """Fetch a picture; returns what is to be written about it."""
    here = (shift.merchant_id, shift.connection_id)

    def failed(error: Exception) -> Callable[[Connection, datetime], None]:
        return lambda connection, at: pictures.fail(connection, here[0], wanted, str(error), at=at)

    def later(error: ConnectorError, wait: float | None) -> Callable[[Connection, datetime], None]:
        return lambda connection, at: pictures.postpone(
            connection, *here, wanted, str(error), wait=wait, random=jitter, at=at
        )

    try:
        files = drawing.thumbnails(_fetched(shift, wanted.source, own))
    except RateLimited as error:
        return later(error, error.retry_after)
    except AnswerTooLarge as error:
        return failed(error)
    except Unavailable as error:
        return later(error, None)
    except (ConnectorError, Unusable) as error:
        return failed(error)
    return lambda connection, at: pictures.keep(connection, here[0], wanted.id, files, at=at)


def _fetched(shift: Shift, source: str, own: Mapping[str, str] | None) -> bytes:
    """What is at an address, wherever its host sends us on to; each address is judged anew. Raises ConnectorError.

    ``own`` are the routes of a sandbox, None for a real connection: nothing of a sandbox reaches any other host.
    """
    settings = shift.hub.settings
    source = _spelled(source)
    for _ in range(_HOPS + 1):
        client = Client(
            hosts=[source] if own is None else led([source], own),
            routes=settings.routes if own is None else own,
            private_networks=settings.private_networks,
            timeout=_TIMEOUT,
            max_bytes=drawing.MOST_BYTES,
            max_seconds=_MOST_SECONDS,
        )
        shift.keep()
        try:
            answer = client.get(source, headers=_HEADERS, expect=_MOVED)
        except AuthError as error:  # nobody signs in for a picture, and there is nothing to reconnect
            raise Rejected(f"{urlsplit(source).netloc} shows the picture to nobody who is not signed in.") from error
        finally:
            client.close()
        if answer.status not in _MOVED:
            return answer.body
        source = _spelled(answer.headers.get("Location", ""), source)
    raise Rejected(f"The picture is sent on from address to address, more than {_HOPS} times.")


def _spelled(address: str, seen_from: str = "") -> str:
    """An address as the client takes it: whole, and signs that shops leave in names of files spelled as it has them."""
    try:
        parts = urlsplit(urljoin(seen_from, address))
    except ValueError as error:
        raise Rejected(f"“{address[:100]}”, where the picture is said to be, is no web address.") from error
    path, query = (each.replace("@", "%40").replace(" ", "%20") for each in (parts.path, parts.query))
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))
