"""The home page: how far a merchant has come, and the day in a few figures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, and_, case, func, select

from hub.store import tables as t
from hub.store.queries import parts


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a merchant has come: what the checklist on the home page goes by."""

    connections: int  # connected or paused
    first_connection_id: UUID | None
    unmatched: int  # listings with stock of their own that are bound to no SKU
    unmatched_connection_id: UUID | None
    matched: int
    counted: int  # SKUs with an opening balance
    live: int  # connections
    not_live_connection_id: UUID | None

    @property
    def done(self) -> bool:
        return bool(self.connections and self.matched and not self.unmatched and self.counted and self.live)


@dataclass(frozen=True, slots=True)
class Glance:
    """The merchant's day in a few figures. ``orders_by_hour`` has 24 counts, the current hour last."""

    orders: int
    orders_by_hour: tuple[int, ...]
    on_hand: int
    allocated: int
    backordered: int
    backordered_orders: int
    counted: int
    published: int
    waiting: int  # figures that a shop does not show yet
    waiting_since: datetime | None
    issues: int


def open_issues(connection: Connection, merchant_id: UUID) -> int:
    """How many things wait for a decision; shown in the navigation of every page."""
    return parts.scalar(
        connection,
        select(func.count()).select_from(t.issue).where(t.issue.c.merchant_id == merchant_id, parts.is_open()),
    )


def progress(connection: Connection, merchant_id: UUID) -> Progress:
    """Where the merchant stands between an empty hub and published stock."""
    shops = connection.execute(
        select(t.connection.c.id, t.connection.c.live_at)
        .where(t.connection.c.merchant_id == merchant_id, t.connection.c.state.in_(("connected", "paused")))
        .order_by(t.connection.c.created_at)
    ).all()
    unmatched = connection.execute(
        select(t.listing.c.connection_id, func.count())
        .join(t.connection, parts.same(t.listing.c.connection_id, t.connection, t.listing))
        .where(t.listing.c.merchant_id == merchant_id, t.connection.c.state != "removed", parts.is_unmatched())
        .group_by(t.listing.c.connection_id)
        .order_by(func.count().desc())
    ).all()
    matched = parts.scalar(
        connection,
        select(func.count())
        .select_from(t.listing)
        .where(t.listing.c.merchant_id == merchant_id, t.listing.c.sku_id.is_not(None)),
    )
    return Progress(
        connections=len(shops),
        first_connection_id=shops[0].id if shops else None,
        unmatched=sum(count for _, count in unmatched),
        unmatched_connection_id=unmatched[0][0] if unmatched else None,
        matched=matched,
        counted=_counted(connection, merchant_id),
        live=sum(shop.live_at is not None for shop in shops),
        not_live_connection_id=next((shop.id for shop in shops if shop.live_at is None), None),
    )


def glance(connection: Connection, merchant_id: UUID, now: datetime) -> Glance:
    """What happened in the last 24 hours and what is on the shelf now."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    begin = hour - timedelta(hours=23)
    order = t.sales_order.c
    bucket = (
        func.strftime("%Y-%m-%dT%H", order.placed_at)
        if connection.dialect.name == "sqlite"
        else func.to_char(order.placed_at, 'YYYY-MM-DD"T"HH24')  # the session's time zone is UTC
    )
    rows = connection.execute(
        select(bucket, func.count())
        .where(order.merchant_id == merchant_id, order.placed_at >= begin, order.status != "removed")
        .group_by(bucket)
    )
    counts: dict[str, int] = {name: count for name, count in rows}  # noqa: C416 - a row is not a pair to mypy
    by_hour = tuple(counts.get(f"{begin + timedelta(hours=step):%Y-%m-%dT%H}", 0) for step in range(24))
    on_hand, allocated = connection.execute(
        select(
            func.coalesce(func.sum(t.stock_level.c.on_hand), 0), func.coalesce(func.sum(t.stock_level.c.allocated), 0)
        ).where(t.stock_level.c.merchant_id == merchant_id)
    ).one()
    # A line that sells a kit stands in the queue of each part.
    waiting_lines = (
        select(t.backorder.c.order_line_id, func.max(t.backorder.c.quantity).label("units"))
        .where(t.backorder.c.merchant_id == merchant_id)
        .group_by(t.backorder.c.order_line_id)
        .subquery()
    )
    backordered, backordered_orders = connection.execute(
        select(func.coalesce(func.sum(waiting_lines.c.units), 0), func.count(t.order_line.c.order_id.distinct()))
        .select_from(waiting_lines)
        .join(
            t.order_line,
            and_(t.order_line.c.merchant_id == merchant_id, t.order_line.c.id == waiting_lines.c.order_line_id),
        )
    ).one()
    published, waiting, waiting_since = connection.execute(
        select(
            func.count(),
            func.sum(case((parts.is_dirty(), 1), else_=0)),
            func.min(case((parts.is_dirty(), t.publication.c.dirty_since))),
        )
        .join(t.connection, parts.same(t.publication.c.connection_id, t.connection, t.publication))
        .where(
            t.publication.c.merchant_id == merchant_id,
            t.connection.c.state == "connected",
            t.connection.c.live_at.is_not(None),
        )
    ).one()
    return Glance(
        orders=sum(by_hour),
        orders_by_hour=by_hour,
        on_hand=int(on_hand),
        allocated=int(allocated),
        backordered=int(backordered),
        backordered_orders=backordered_orders,
        counted=_counted(connection, merchant_id),
        published=published,
        waiting=int(waiting or 0),
        waiting_since=waiting_since,
        issues=open_issues(connection, merchant_id),
    )


def _counted(connection: Connection, merchant_id: UUID) -> int:
    return parts.scalar(
        connection,
        select(func.count())
        .select_from(t.sku)
        .where(t.sku.c.merchant_id == merchant_id, t.sku.c.counted_since.is_not(None)),
    )
