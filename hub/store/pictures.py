"""Pictures of listings: wanted when an import names an address, fetched once, kept in small, gone with their shop.

A picture belongs to a connection and an address at its channel, so that the variants of one product share it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import Connection, delete, exists, func, insert, or_, select, update

from hub.core.retry import backoff
from hub.store import tables as t
from hub.store.database import Database, upsert

ATTEMPTS = 6  # in a row that brought nothing; then the shop has to name another address
AGAIN_AFTER = timedelta(days=7)  # where the shop has no picture, or one that cannot be shown
_LEASE = timedelta(minutes=10)  # after which a picture is tried again whose worker was killed over it
_FIRST_PAUSE, _LONGEST_PAUSE = 300.0, 86_400.0  # seconds; of a host that does not answer
_AT_ONCE = 500  # deleted in one commit
_THIS = t.picture.c


@dataclass(frozen=True, slots=True)
class Wanted:
    """A picture that is to be fetched now, the ``attempt``-th time in a row."""

    id: UUID
    source: str
    attempt: int


# ---------------------------------------------------------------- wanting


def want(
    connection: Connection, merchant_id: UUID, connection_id: UUID, sources: Iterable[str], *, at: datetime
) -> dict[str, UUID]:
    """Have the pictures at these addresses fetched, unless they are known, in the caller's transaction.

    Returns the picture of each; what is no web address has none.
    """
    hosts = {each: host for each in dict.fromkeys(sources) if (host := _host(each))}
    ids = {each: UUID(bytes=hashlib.sha256(connection_id.bytes + each.encode()).digest()[:16]) for each in hosts}
    of_all = {"merchant_id": merchant_id, "connection_id": connection_id, "state": "wanted"}
    rows = [
        of_all | {"id": ids[each], "source": each, "host": host, "due_at": at, "wanted_at": at}
        for each, host in hosts.items()
    ]
    if rows:
        connection.execute(upsert(connection, t.picture).on_conflict_do_nothing(), rows)
    return ids


def _host(source: str) -> str:
    """The host that is asked for ``source``, "" where it is no web address."""
    try:
        parts = urlsplit(source)
        return (parts.hostname or "")[:255] if parts.scheme in ("http", "https") else ""
    except ValueError:
        return ""


# ---------------------------------------------------------------- fetching


def claim(connection: Connection, merchant_id: UUID, connection_id: UUID, *, at: datetime) -> Wanted | None:
    """What is to be fetched next, None where nothing is due; in the caller's transaction.

    The attempt is counted before it begins: what kills its worker is tried again a while later, and not for ever.
    """
    while True:
        row = connection.execute(
            select(_THIS.id, _THIS.source, _THIS.attempts)
            .where(_THIS.merchant_id == merchant_id, _THIS.connection_id == connection_id, _THIS.due_at <= at)
            .order_by(_THIS.due_at, _THIS.id)
            .limit(1)
        ).one_or_none()
        if row is None:
            return None
        if row.attempts < ATTEMPTS:
            _change(connection, merchant_id, row.id, attempts=row.attempts + 1, due_at=at + _LEASE)
            return Wanted(row.id, row.source, row.attempts + 1)
        error = "It was begun several times, and never came to an end."
        _change(connection, merchant_id, row.id, state="failed", error=error, due_at=None)


def keep(
    connection: Connection, merchant_id: UUID, picture_id: UUID, files: Mapping[str, bytes], *, at: datetime
) -> None:
    """Keep a picture that was fetched, by its sizes, in the caller's transaction; nothing where nobody wants it now."""
    content = hashlib.sha256(b"".join(files[size] for size in sorted(files))).hexdigest()[:16]
    kept = {"state": "kept", "address": f"{picture_id.hex}-{content}", "fetched_at": at}
    if not _change(connection, merchant_id, picture_id, **kept, attempts=0, due_at=None, error=""):
        return
    file = t.picture_file.c
    connection.execute(delete(t.picture_file).where(file.merchant_id == merchant_id, file.picture_id == picture_id))
    rows = [
        {"merchant_id": merchant_id, "picture_id": picture_id, "size": size, "content": content}
        for size, content in files.items()
    ]
    connection.execute(insert(t.picture_file), rows)


def fail(connection: Connection, merchant_id: UUID, picture: Wanted, error: str, *, at: datetime) -> None:
    """The shop has no picture there, or one that cannot be shown: look again in a week."""
    due_at = at + AGAIN_AFTER if picture.attempt < ATTEMPTS else None
    _change(connection, merchant_id, picture.id, state="failed", error=error[:300], due_at=due_at)


def postpone(
    connection: Connection,
    merchant_id: UUID,
    connection_id: UUID,
    picture: Wanted,
    error: str,
    *,
    wait: float | None,
    random: Random,
    at: datetime,
) -> None:
    """The host does not answer, or asks for patience (``wait`` seconds): leave all its pictures alone for a while."""
    pause = backoff(picture.attempt, random, first=_FIRST_PAUSE, longest=_LONGEST_PAUSE)
    later = at + timedelta(seconds=max(_FIRST_PAUSE, pause, min(wait or 0.0, _LONGEST_PAUSE)))
    given_up = picture.attempt >= ATTEMPTS
    connection.execute(
        update(t.picture)
        .where(
            _THIS.merchant_id == merchant_id,
            _THIS.connection_id == connection_id,
            _THIS.host == _host(picture.source),
            _THIS.due_at < later,
        )
        .values(due_at=later)
    )
    due_at = None if given_up else later
    _change(connection, merchant_id, picture.id, state="failed", error=error[:300], due_at=due_at)


def _change(connection: Connection, merchant_id: UUID, picture_id: UUID, **values: Any) -> bool:
    """Whether it is still to be fetched: meanwhile its connection may have been removed."""
    done = connection.execute(
        update(t.picture)
        .where(_THIS.merchant_id == merchant_id, _THIS.id == picture_id, _THIS.due_at.is_not(None))
        .values(**values)
    )
    return bool(done.rowcount)


# ---------------------------------------------------------------- showing


def show(connection: Connection, merchant_id: UUID, address: str, size: str) -> bytes | None:
    """The picture at an address of our pages in one of its sizes, None where the merchant has none."""
    try:
        picture_id = UUID(hex=address.partition("-")[0])
    except ValueError:
        return None
    file = t.picture_file.c
    found: bytes | None = connection.execute(
        select(file.content)
        .join(t.picture, (_THIS.merchant_id == file.merchant_id) & (_THIS.id == file.picture_id))
        .where(file.merchant_id == merchant_id, file.picture_id == picture_id, file.size == size)
        .where(_THIS.address == address)
    ).scalar_one_or_none()
    return found


# ---------------------------------------------------------------- letting go


def hide(connection: Connection, merchant_id: UUID, connection_id: UUID) -> None:
    """The connection was removed: show its pictures no more, in the caller's transaction; ``tidy`` erases them."""
    connection.execute(
        update(t.picture)
        .where(_THIS.merchant_id == merchant_id, _THIS.connection_id == connection_id)
        .values(address="", due_at=None)
    )


def tidy(database: Database, *, wanted: bool) -> int:
    """Erase what no listing shows any more and what was of connections that are removed; returns how much that was.

    Unless pictures are ``wanted`` at all, every file goes, and what is at its place is fetched again once they are.
    """
    listing, shop = t.listing.c, t.connection.c
    removed = exists().where(
        shop.merchant_id == _THIS.merchant_id, shop.id == _THIS.connection_id, shop.state == "removed"
    )
    shown = exists().where(listing.merchant_id == _THIS.merchant_id, listing.picture_id == _THIS.id)
    gone = 0
    while erased := database.transact(lambda connection: _erase(connection, or_(removed, ~shown))):
        gone += erased
    while not wanted and (emptied := database.transact(_empty)):
        gone += emptied
    return gone


def _erase(connection: Connection, which: Any) -> int:
    rows = connection.execute(select(_THIS.merchant_id, _THIS.id).where(which).limit(_AT_ONCE)).all()
    for merchant_id in {row.merchant_id for row in rows}:
        ids = [row.id for row in rows if row.merchant_id == merchant_id]
        listing, file = t.listing.c, t.picture_file.c
        connection.execute(
            update(t.listing)
            .where(listing.merchant_id == merchant_id, listing.picture_id.in_(ids))
            .values(picture_id=None)
        )
        connection.execute(delete(t.picture_file).where(file.merchant_id == merchant_id, file.picture_id.in_(ids)))
        connection.execute(delete(t.picture).where(_THIS.merchant_id == merchant_id, _THIS.id.in_(ids)))
    return len(rows)


def _empty(connection: Connection) -> int:
    rows = connection.execute(select(_THIS.merchant_id, _THIS.id).where(_THIS.state == "kept").limit(_AT_ONCE)).all()
    for merchant_id in {row.merchant_id for row in rows}:
        ids = [row.id for row in rows if row.merchant_id == merchant_id]
        file = t.picture_file.c
        connection.execute(delete(t.picture_file).where(file.merchant_id == merchant_id, file.picture_id.in_(ids)))
        connection.execute(
            update(t.picture)
            .where(_THIS.merchant_id == merchant_id, _THIS.id.in_(ids))
            .values(state="wanted", address="", due_at=func.coalesce(_THIS.fetched_at, _THIS.wanted_at))
        )
    return len(rows)
