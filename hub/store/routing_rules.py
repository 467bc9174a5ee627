"""A merchant's routing policy, and what the shops' ways of shipping stand for in it."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, func, insert, select

from hub import access
from hub.access import Permission
from hub.core.plain import from_plain, to_plain
from hub.core.routing import RoutingPolicy
from hub.errors import BadInput, Conflict
from hub.store import activity
from hub.store import tables as t
from hub.store.database import Database, for_update, upsert

# ---------------------------------------------------------------- the policy


def policy(connection: Connection, merchant_id: UUID) -> tuple[int, RoutingPolicy]:
    """The policy that holds, with its number; 0 is the one the hub comes with."""
    this = t.routing_policy.c
    row = connection.execute(
        select(this.number, this.rules).where(this.merchant_id == merchant_id).order_by(this.number.desc()).limit(1)
    ).one_or_none()
    return (0, RoutingPolicy()) if row is None else (row.number, from_plain(RoutingPolicy, row.rules))


def numbered(connection: Connection, merchant_id: UUID, number: int) -> RoutingPolicy | None:
    """The policy of this number, which may hold no more; None: there never was one."""
    this = t.routing_policy.c
    kept = connection.execute(
        select(this.rules).where(this.merchant_id == merchant_id, this.number == number)
    ).scalar_one_or_none()
    if kept is None:
        return RoutingPolicy() if number == 0 else None
    return from_plain(RoutingPolicy, kept)


@access.needs(Permission.SETTINGS)
def save(database: Database, merchant_id: UUID, rules: RoutingPolicy, note: str, actor: str, *, after: int) -> int:
    """Have this policy hold from now on, instead of that of the number ``after``; returns its number.

    Earlier ones stay, with the decisions made by them. Raises Conflict when another one holds by now.
    """

    def work(connection: Connection) -> int:
        at = database.now(connection)
        # One at a time: each has the next number.
        connection.execute(for_update(connection, select(t.merchant.c.id).where(t.merchant.c.id == merchant_id)))
        last, _ = policy(connection, merchant_id)
        if last != after:
            raise Conflict("Somebody has changed the routing policy meanwhile. Look at it again, then save yours.")
        connection.execute(
            insert(t.routing_policy).values(
                merchant_id=merchant_id,
                number=last + 1,
                rules=to_plain(rules),
                note=note[:500],
                created_by=actor,
                created_at=at,
            )
        )
        said = f": {note}" if note else ""
        summary = f"Routing policy {last + 1} holds from now on{said}"
        activity.note(connection, merchant_id, "routing_changed", summary, at=at, actor=actor)
        return last + 1

    return database.transact(work)


# ---------------------------------------------------------------- what shops call a way of shipping


def services(connection: Connection, merchant_id: UUID) -> dict[str, str]:
    """What the merchant says that the shops' ways of shipping stand for, by their names in lower case."""
    this = t.shipping_service.c
    return dict(connection.execute(select(this.method, this.service).where(this.merchant_id == merchant_id)).all())


def methods(connection: Connection, merchant_id: UUID, limit: int = 50) -> list[str]:
    """The ways of shipping that orders of late were placed with, the most frequent first."""
    order = t.sales_order.c
    method = func.lower(order.shipping_method)
    latest = (
        select(method.label("method"))
        .where(order.merchant_id == merchant_id, order.placed_at.is_not(None))
        .order_by(order.placed_at.desc())
        .limit(2000)
        .subquery()
    )
    rows = connection.execute(
        select(latest.c.method)
        .where(latest.c.method != "")
        .group_by(latest.c.method)
        .order_by(func.count().desc(), latest.c.method)
        .limit(limit)
    )
    return list(rows.scalars())


@access.needs(Permission.SETTINGS)
def say_service(database: Database, merchant_id: UUID, method: str, service: str, actor: str) -> None:
    """Say what a way of shipping stands for; "" for nothing in particular. Raises BadInput."""
    method, service = method.strip().lower(), service.strip().lower()
    if not method or len(method) > 200 or len(service) > 60:
        raise BadInput("Enter one word of at most 60 letters, such as express.")

    def work(connection: Connection) -> None:
        at = database.now(connection)
        statement = upsert(connection, t.shipping_service).values(
            merchant_id=merchant_id, method=method, service=service
        )
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["merchant_id", "method"], set_={"service": statement.excluded.service}
            )
        )
        summary = f"“{method}” is shipped as {service or 'any other order'} from now on"
        activity.note(connection, merchant_id, "routing_changed", summary, at=at, actor=actor)

    database.transact(work)
