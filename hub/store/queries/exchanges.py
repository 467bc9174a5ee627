"""The log of requests of a connection: what was asked of its vendor, what that has sent, and what it was for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Select, func, or_, select

from hub.store import tables as t
from hub.store.exchanges import Details, details_of
from hub.store.queries import parts
from hub.store.secrets import KeyRing

SLOW_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which lines are looked for; what is left out is not asked about."""

    show: str = "all"  # all, failed, slow, sent, received
    method: str = ""
    path: str = ""  # how the path begins
    order_id: UUID | None = None
    effect_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeView:
    """One exchange, without what is kept encrypted."""

    id: UUID
    at: datetime
    lane: str
    received: bool
    method: str
    host: str
    path: str
    status: int | None
    seconds: float
    request_bytes: int
    response_bytes: int
    failed: bool
    order_id: UUID | None
    order_number: str
    effect_id: UUID | None
    effect_kind: str

    @property
    def is_slow(self) -> bool:
        return self.seconds >= SLOW_SECONDS


@dataclass(frozen=True, slots=True)
class Tally:
    """What the whole log of a connection holds."""

    lines: int
    failed: int
    slow: int
    since: datetime | None


def exchanges(
    connection: Connection,
    merchant_id: UUID,
    connection_id: UUID,
    wanted: Wanted,
    *,
    before: UUID | None = None,
    limit: int = parts.PAGE,
) -> list[ExchangeView]:
    """The lines that are looked for, the newest first; ``before`` is the id of the last one shown."""
    this, order = t.exchange.c, t.sales_order.c
    query = _lines(merchant_id, connection_id).order_by(this.id.desc()).limit(limit)
    chosen = {
        "failed": this.failed,
        "slow": this.milliseconds >= int(SLOW_SECONDS * 1000),
        "sent": ~this.received,
        "received": this.received,
    }.get(wanted.show)
    if chosen is not None:
        query = query.where(chosen)
    if wanted.method:
        query = query.where(this.method == wanted.method)
    if wanted.path:
        query = query.where(this.path.startswith(wanted.path, autoescape=True))
    if wanted.order_id is not None:
        named = select(order.external_id).where(order.merchant_id == merchant_id, order.id == wanted.order_id)
        external_id = connection.execute(
            named.where(order.connection_id == connection_id, order.external_id != "")
        ).scalar_one_or_none()
        # What was done for it, and what names it in its path: who fetches an order knows no more than its id there.
        about = [this.order_id == wanted.order_id]
        if external_id:
            about += [this.path.endswith(f"/{external_id}{ending}", autoescape=True) for ending in ("", ".json")]
        query = query.where(or_(*about))
    if wanted.effect_id is not None:
        query = query.where(this.effect_id == wanted.effect_id)
    if wanted.since is not None:
        query = query.where(this.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(this.at <= wanted.until)
    if before is not None:
        query = query.where(this.id < before)
    return [_view(row) for row in connection.execute(query)]


def exchange(
    connection: Connection, keyring: KeyRing, merchant_id: UUID, connection_id: UUID, exchange_id: UUID
) -> tuple[ExchangeView, Details] | None:
    """One line with what is kept encrypted of it."""
    query = _lines(merchant_id, connection_id).add_columns(t.exchange.c.details).where(t.exchange.c.id == exchange_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return _view(row), details_of(keyring, merchant_id, exchange_id, row.details)


def tally(connection: Connection, merchant_id: UUID, connection_id: UUID) -> Tally:
    """How much the log holds, and how much of it went wrong."""
    this = t.exchange.c
    row = connection.execute(
        select(
            func.count(),
            func.count().filter(this.failed),
            func.count().filter(this.milliseconds >= int(SLOW_SECONDS * 1000)),
            func.min(this.at),
        ).where(this.merchant_id == merchant_id, this.connection_id == connection_id)
    ).one()
    return Tally(*row)


def methods(connection: Connection, merchant_id: UUID, connection_id: UUID) -> Sequence[str]:
    """The methods that the log names."""
    this = t.exchange.c
    return (
        connection.execute(
            select(this.method)
            .distinct()
            .where(this.merchant_id == merchant_id, this.connection_id == connection_id)
            .order_by(this.method)
        )
        .scalars()
        .all()
    )


def _lines(merchant_id: UUID, connection_id: UUID) -> Select[Any]:
    this = t.exchange.c
    return (
        select(
            this.id,
            this.at,
            this.lane,
            this.received,
            this.method,
            this.host,
            this.path,
            this.status,
            this.milliseconds,
            this.request_bytes,
            this.response_bytes,
            this.failed,
            this.order_id,
            func.coalesce(t.sales_order.c.number, "").label("order_number"),
            this.effect_id,
            func.coalesce(t.effect.c.kind, "").label("effect_kind"),
        )
        .outerjoin(t.sales_order, parts.same(this.order_id, t.sales_order, t.exchange))
        .outerjoin(t.effect, parts.same(this.effect_id, t.effect, t.exchange))
        .where(this.merchant_id == merchant_id, this.connection_id == connection_id)
    )


def _view(row: Any) -> ExchangeView:
    told = {name: getattr(row, name) for name in ExchangeView.__dataclass_fields__ if name != "seconds"}
    return ExchangeView(**told, seconds=row.milliseconds / 1000)
