"""The log of requests: what was asked of a vendor and what it has sent, for a person who looks for what went wrong.

Nothing depends on it. It comes redacted (``hub.http``), is kept for a few days and up to so many lines per connection,
and what may be about a customer is encrypted.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, case, delete, func, not_, or_, select

from hub.http import Exchange
from hub.store import tables as t
from hub.store.bulk import insert_rows
from hub.store.database import Database, in_chunks, new_id
from hub.store.secrets import KeyRing, SecretsUnreadable

KEPT = timedelta(days=7)
MOST = 20_000  # of one connection; those of a busy one go sooner
MOST_REFUSED = 500  # of what came in and was refused: anybody can send that, and it must not push out what is useful
WEBHOOK = "webhook"  # the lane of what a vendor sends by itself
_AT_ONCE = 5_000  # deleted in one commit


@dataclass(frozen=True, slots=True)
class Line:
    """One exchange, when it ended, and what it was for. ``received``: the vendor began it."""

    exchange: Exchange
    at: datetime
    lane: str
    received: bool = False
    order_id: UUID | None = None
    effect_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Details:
    """What is kept encrypted of an exchange: all of it redacted, what was said only where it failed."""

    query: str = ""
    request_headers: Mapping[str, str] | None = None
    response_headers: Mapping[str, str] | None = None
    request_excerpt: str = ""
    response_excerpt: str = ""
    error: str = ""


def keep(
    connection: Connection, keyring: KeyRing, merchant_id: UUID, connection_id: UUID, lines: Sequence[Line]
) -> None:
    """Add lines to the log of a connection, in the caller's transaction, which had better be one of its own."""
    insert_rows(connection, t.exchange, [_row(keyring, merchant_id, connection_id, each) for each in lines])


def _row(keyring: KeyRing, merchant_id: UUID, connection_id: UUID, line: Line) -> dict[str, Any]:
    said, row_id = line.exchange, new_id()
    host, path, query = _parts(said.url)
    details = {
        "query": query,
        "request_headers": dict(said.request_headers),
        "response_headers": dict(said.response_headers),
        "request_excerpt": said.request_excerpt,
        "response_excerpt": said.response_excerpt,
        "error": said.error,
    }
    kept = {name: each for name, each in details.items() if each}
    packed = keyring.pack(json.dumps(kept, ensure_ascii=False).encode("utf-8", "replace"), _place(merchant_id, row_id))
    return {
        "merchant_id": merchant_id,
        "connection_id": connection_id,
        "id": row_id,
        "at": line.at,
        "lane": line.lane,
        "received": line.received,
        "method": said.method[:10],
        "host": _storable(host)[:255],
        "path": _storable(path)[:500],
        "status": said.status,
        "milliseconds": round(said.seconds * 1000),
        "request_bytes": said.request_bytes,
        "response_bytes": said.response_bytes,
        "failed": bool(said.error) or said.status is None or said.status >= 300,
        "tells": bool(query or said.request_excerpt or said.response_excerpt or said.error),
        "details": packed,
        "order_id": line.order_id,
        "effect_id": line.effect_id,
    }


def _parts(url: str) -> tuple[str, str, str]:
    """Host, path and query; of a server for files there is no scheme."""
    try:
        parts = urlsplit(url if "://" in url else f"//{url}")
    except ValueError:
        return "", url.partition("?")[0], ""
    return parts.netloc.rpartition("@")[2], parts.path or "/", parts.query


def _storable(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text)


def details_of(keyring: KeyRing, merchant_id: UUID, exchange_id: UUID, packed: bytes | None) -> Details:
    """What was kept encrypted; empty where it cannot be read any more."""
    if packed is None:
        return Details()
    try:
        return Details(**json.loads(keyring.unpack(packed, _place(merchant_id, exchange_id))))
    except SecretsUnreadable:
        return Details(error="What was kept of it cannot be decrypted any more.")


def _place(merchant_id: UUID, exchange_id: UUID) -> str:
    return f"exchange:{merchant_id}:{exchange_id}:details"


# ---------------------------------------------------------------- forgetting


def forget_connections(connection: Connection, merchant_id: UUID, connection_ids: Collection[UUID]) -> None:
    """Empty the logs of these connections."""
    this = t.exchange.c
    connection.execute(
        delete(t.exchange).where(this.merchant_id == merchant_id, this.connection_id.in_(connection_ids))
    )


def forget_orders(
    connection: Connection, merchant_id: UUID, order_ids: Sequence[UUID], named: Mapping[UUID, Collection[str]]
) -> None:
    """Delete the lines about these orders: what was done for them, and what names them in its path.

    ``named`` are their names at each connection: ids, references, tracking numbers.
    """
    this = t.exchange.c
    connection.execute(delete(t.exchange).where(this.merchant_id == merchant_id, this.order_id.in_(order_ids)))
    for connection_id, names in named.items():
        wanted = {name.lower() for name in names if name}
        rows = connection.execute(
            select(this.id, this.path).where(this.merchant_id == merchant_id, this.connection_id == connection_id)
        )
        _delete(connection, merchant_id, connection_id, [row.id for row in rows if wanted & _segments(row.path)])


def _segments(path: str) -> set[str]:
    """What a path is made of, also where its last part has an ending."""
    parts = [unquote(part).lower() for part in path.split("/") if part]
    return {*parts, *(part.partition(".")[0] for part in parts)}


def forget_mentions(
    connection: Connection,
    keyring: KeyRing,
    merchant_id: UUID,
    connection_ids: Collection[UUID],
    needles: Collection[bytes],
) -> None:
    """Delete the lines that say any of ``needles`` (in small letters), and those that cannot be read."""
    this = t.exchange.c
    for connection_id in connection_ids:
        rows = connection.execute(
            select(this.id, this.details).where(
                this.merchant_id == merchant_id, this.connection_id == connection_id, this.tells
            )
        )
        gone = [row.id for row in rows if _says(keyring, merchant_id, row.id, row.details, needles)]
        _delete(connection, merchant_id, connection_id, gone)


def _says(keyring: KeyRing, merchant_id: UUID, row_id: UUID, packed: bytes, needles: Collection[bytes]) -> bool:
    try:
        plain = keyring.unpack(packed, _place(merchant_id, row_id))
    except SecretsUnreadable:
        return True
    low = plain.decode("utf-8", "replace").lower()
    spelled = (low.encode(), unquote(low.replace("+", " ")).encode())
    return any(needle in text for needle in needles for text in spelled)


def _delete(connection: Connection, merchant_id: UUID, connection_id: UUID, ids: Sequence[UUID]) -> None:
    this = t.exchange.c
    for some in in_chunks(ids):
        connection.execute(
            delete(t.exchange).where(
                this.merchant_id == merchant_id, this.connection_id == connection_id, this.id.in_(some)
            )
        )


def forget_old(database: Database, *, kept: timedelta = KEPT, most: int = MOST, refused: int = MOST_REFUSED) -> int:
    """Delete what is older than ``kept``, and of each connection what is beyond the newest ``most``; of what it has
    refused beyond the newest ``refused``, which are counted apart. Returns how much that was."""
    this = t.exchange.c
    is_refused = and_(this.received, this.failed)
    with database.read() as connection:
        before = database.now(connection) - kept
        crowded = connection.execute(
            select(this.merchant_id, this.connection_id, is_refused.label("refused"), func.count().label("lines"))
            .group_by(this.merchant_id, this.connection_id, is_refused)
            .having(or_(func.count() > case((is_refused, refused), else_=most), func.min(this.at) < before))
        ).all()
    gone = 0
    for place in crowded:
        room = refused if place.refused else most
        of_its_kind = is_refused if place.refused else not_(is_refused)
        here = (this.merchant_id == place.merchant_id, this.connection_id == place.connection_id, of_its_kind)
        gone += _delete_while(database, here, this.at < before)
        if place.lines > room:
            with database.read() as connection:
                last = connection.execute(
                    select(this.id).where(*here).order_by(this.id.desc()).offset(room).limit(1)
                ).scalar_one_or_none()
            if last is not None:
                gone += _delete_while(database, here, this.id <= last)
    return gone


def _delete_while(database: Database, here: Sequence[ColumnElement[bool]], which: ColumnElement[bool]) -> int:
    """The oldest first, so many in a commit that nobody waits for it."""
    this = t.exchange.c
    gone = 0
    while True:
        some = select(this.id).where(*here, which).order_by(this.id).limit(_AT_ONCE)
        with database.write() as connection:
            deleted = connection.execute(delete(t.exchange).where(*here, this.id.in_(some))).rowcount
        gone += deleted
        if deleted < _AT_ONCE:
            return gone
