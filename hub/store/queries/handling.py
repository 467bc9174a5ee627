"""One order as the people see it who hold it, release it and say where it goes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, select

from hub.core.priorities import Ranking
from hub.store import address_checks, handling, holds
from hub.store import tables as t
from hub.store.holds import HoldView


@dataclass(frozen=True, slots=True, kw_only=True)
class HandledOrder:
    """What of an order people decide about. ``channel_address`` is set where ``ship_to`` is our correction of it."""

    id: UUID
    number: str
    status: str
    holds: tuple[HoldView, ...]
    ship_to: Mapping[str, str]
    channel_address: Mapping[str, str] | None
    tags: tuple[str, ...]
    own_tags: tuple[str, ...]
    ranking: Ranking
    own_priority: int | None
    collect_at: UUID | None
    places: tuple[tuple[UUID, str], ...]  # where customers may fetch orders
    address_check: address_checks.Check | None  # what a carrier was asked about its address, and said

    @property
    def held(self) -> list[HoldView]:
        """What holds it now."""
        return [each for each in self.holds if each.released_at is None]


@dataclass(frozen=True, slots=True)
class Beside:
    """What is kept beside an order that is read already: who holds it, and what a carrier said of its address."""

    id: UUID
    status: str
    ship_to: Mapping[str, str]
    holds: tuple[HoldView, ...]
    address_check: address_checks.Check | None


def beside(
    connection: Connection, merchant_id: UUID, order_id: UUID, status: str, ship_to: Mapping[str, str]
) -> Beside:
    """The same order as those see it who hold it and release it."""
    return Beside(
        order_id,
        status,
        ship_to,
        tuple(holds.holds(connection, merchant_id, order_id)),
        address_checks.of_order(connection, merchant_id, order_id),
    )


def order(connection: Connection, merchant_id: UUID, order_id: UUID, at: datetime) -> HandledOrder | None:
    """The order, None if there is none."""
    this, place = t.sales_order.c, t.location.c
    row: Any = connection.execute(
        select(t.sales_order).where(this.merchant_id == merchant_id, this.id == order_id)
    ).one_or_none()
    if row is None:
        return None
    places = connection.execute(
        select(place.id, place.name).where(place.merchant_id == merchant_id, place.collects).order_by(place.name)
    )
    return HandledOrder(
        id=row.id,
        number=row.number,
        status=row.status,
        holds=tuple(holds.holds(connection, merchant_id, order_id)),
        ship_to=row.own_address or row.shipping_address,
        channel_address=row.shipping_address if row.own_address else None,
        tags=tuple(row.tags),
        own_tags=tuple(row.own_tags),
        ranking=handling.ranking(row, handling.policy(connection, merchant_id), at),
        own_priority=row.own_priority,
        collect_at=row.collect_at,
        places=tuple((each.id, each.name) for each in places),
        address_check=address_checks.of_order(connection, merchant_id, order_id),
    )


def accounts(connection: Connection, merchant_id: UUID, connectors: Collection[str]) -> list[tuple[UUID, str]]:
    """The merchant's working connections to these connectors, by id and name: the oldest first."""
    account = t.connection.c
    rows = connection.execute(
        select(account.id, account.label)
        .where(
            account.merchant_id == merchant_id,
            account.connector.in_(list(connectors)),
            account.state == "connected",
        )
        .order_by(account.created_at, account.id)
    )
    return [(row.id, row.label) for row in rows]
