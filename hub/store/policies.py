"""How a merchant's orders get stock, and how they are shipped: changing it, with what that changes for the orders that
are here already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, select, update

from hub import access
from hub.access import Permission
from hub.core.allocation import QueueOrder, StockPolicy
from hub.core.plain import to_plain
from hub.core.rates import ShippedWhen, ShippingPolicy
from hub.errors import BadInput
from hub.store import activity, stock
from hub.store import tables as t
from hub.store.database import Database, for_update, in_chunks, new_id, upsert

MOST_HOURS = 24 * 365


@access.needs(Permission.SETTINGS)
def save(database: Database, merchant_id: UUID, policy: StockPolicy, actor: str) -> set[UUID]:
    """Have the merchant's orders get stock by this policy from now on; returns the connections that have something to
    publish.

    Who waits gets his new place in the queue, and is tried again; what orders hold stays theirs. Unpaid orders that
    hold stock do so as long as the new policy says. Raises BadInput.
    """
    hours = policy.unpaid_hours
    if hours is not None and (isinstance(hours, bool) or not isinstance(hours, int) or not 1 <= hours <= MOST_HOURS):
        sentence = f"Enter a whole number of hours from 1 to {MOST_HOURS:,}, or leave it empty."
        raise BadInput(sentence, {"unpaid_hours": [sentence]})
    if policy.queue not in list(QueueOrder):
        raise BadInput("Choose who gets stock first.", {"queue": ["Choose one of the list."]})

    def work(connection: Connection) -> set[UUID]:
        at = database.now(connection)
        before = stock.policy(connection, merchant_id)
        if before == policy:
            return set()
        same_queue = (before.hold_together, before.queue) == (policy.hold_together, policy.queue)
        if before.unpaid_hours != hours:
            _unpaid(connection, merchant_id)
        _lock_every_sku(connection, merchant_id)
        statement = upsert(connection, t.stock_policy).values(
            merchant_id=merchant_id,
            hold_together=policy.hold_together,
            queue=QueueOrder(policy.queue).value,
            unpaid_hours=hours,
            changed_at=at,
            changed_by=actor,
        )
        said = ("hold_together", "queue", "unpaid_hours", "changed_at", "changed_by")
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["merchant_id"], set_={name: statement.excluded[name] for name in said}
            )
        )
        if before.unpaid_hours != hours:
            _set_deadlines(connection, merchant_id, hours)
        touched = set() if same_queue else _line_up(connection, merchant_id, policy, at)
        activity.note(connection, merchant_id, "stock_policy_changed", _summary(policy), at=at, actor=actor)
        return touched

    return database.transact(work) | stock.serve_woken(database, merchant_id)


def _summary(policy: StockPolicy) -> str:
    held = "an order is held whole or not at all" if policy.hold_together else "whatever there is of an order is held"
    unpaid = f"for {policy.unpaid_hours} hours" if policy.unpaid_hours is not None else "until they are cancelled"
    return f"Stock policy: {held}; {_FIRST[QueueOrder(policy.queue)]} first; unpaid orders hold stock {unpaid}"


_FIRST = {
    QueueOrder.FIRST_COME: "the oldest order",
    QueueOrder.VALUE: "the largest order",
    QueueOrder.PROMISED_DATE: "the order promised for the earliest day",
}


def _lock_every_sku(connection: Connection, merchant_id: UUID) -> None:
    """Wait for everybody who has read the old policy: it is read, and used, while a SKU is locked."""
    if connection.dialect.name != "sqlite":
        skus = select(t.sku.c.id).where(t.sku.c.merchant_id == merchant_id).order_by(t.sku.c.id)
        connection.execute(for_update(connection, skus)).all()


def _unpaid(connection: Connection, merchant_id: UUID) -> list[Any]:
    """The unpaid orders that hold stock, locked: before the SKUs, as an import locks them."""
    order = t.sales_order.c
    statement = (
        select(order.id, order.placed_at, order.received_at)
        .where(order.merchant_id == merchant_id, order.holds_stock, ~order.paid)
        .order_by(order.id)
    )
    return list(connection.execute(for_update(connection, statement)).all())


def _set_deadlines(connection: Connection, merchant_id: UUID, hours: int | None) -> None:
    """Let the unpaid orders hold stock as long as the policy says; the sweep takes it from those that are late."""
    order = t.sales_order.c
    deadlines = [
        {
            "this_order": row.id,
            "until": None if hours is None else (row.placed_at or row.received_at) + timedelta(hours=hours),
        }
        for row in _unpaid(connection, merchant_id)  # again: one may have come in before the SKUs were locked
    ]
    if deadlines:
        connection.execute(
            update(t.sales_order)
            .where(order.merchant_id == merchant_id, order.id == bindparam("this_order"))
            .values(hold_until=bindparam("until", type_=t.Moment)),
            deadlines,
        )


def _line_up(connection: Connection, merchant_id: UUID, policy: StockPolicy, at: datetime) -> set[UUID]:
    """Give everybody who waits the place and the group that the policy says, and see whom it serves."""
    waits, line, order = t.backorder.c, t.order_line.c, t.sales_order.c
    rows: Sequence[Any] = connection.execute(
        select(
            waits.order_line_id,
            waits.sku_id,
            waits.per_unit,
            line.order_id,
            order.total_minor,
            order.currency,
            order.promised_at,
        )
        .select_from(
            t.backorder.join(
                t.order_line, (line.merchant_id == waits.merchant_id) & (line.id == waits.order_line_id)
            ).join(t.sales_order, (order.merchant_id == line.merchant_id) & (order.id == line.order_id))
        )
        .where(waits.merchant_id == merchant_id)
    ).all()
    parts = Counter(row.order_line_id for row in rows)
    # Who needs one unit of one SKU takes whatever there is, and is served here; the others are tried one by one.
    alone = {
        row.order_line_id: row.sku_id
        for row in rows
        if not policy.hold_together and parts[row.order_line_id] == 1 and row.per_unit == 1
    }
    if rows:
        connection.execute(
            update(t.backorder)
            .where(
                waits.merchant_id == merchant_id,
                waits.order_line_id == bindparam("this_line"),
                waits.sku_id == bindparam("this_sku"),
            )
            .values(
                rank=bindparam("its_rank"),
                group_id=bindparam("its_group"),
                woken=bindparam("tried_again"),
                missing=True,
            ),
            [
                {
                    "this_line": row.order_line_id,
                    "this_sku": row.sku_id,
                    "its_rank": stock.rank_of(policy, row),
                    "its_group": row.order_id if policy.hold_together else row.order_line_id,
                    "tried_again": row.order_line_id not in alone,
                }
                for row in rows
            ],
        )
    return _serve(connection, merchant_id, alone, at)


def _serve(connection: Connection, merchant_id: UUID, alone: Mapping[UUID, UUID], at: datetime) -> set[UUID]:
    """Of these lines, each with its SKU, serve those that have been waiting for the rest of their order only."""
    level = t.stock_level.c
    free: set[UUID] = set()
    for some in in_chunks(set(alone.values())):
        rows = select(level.sku_id).where(
            level.merchant_id == merchant_id,
            level.sku_id.in_(some),
            level.on_hand > level.allocated + level.quarantined + level.damaged,
        )
        free |= set(connection.execute(rows).scalars())
    if not free:
        return set()
    lines = [line_id for line_id, sku_id in alone.items() if sku_id in free]
    opened = stock.open_book(connection, merchant_id, free, line_ids=lines)
    opened.book.settle(lines, f"policy/{new_id()}")
    return stock.write_book(connection, merchant_id, opened.book, at=at)


# ---------------------------------------------------------------- shipping


@access.needs(Permission.SETTINGS)
def save_shipping(database: Database, merchant_id: UUID, policy: ShippingPolicy, actor: str) -> None:
    """Have the merchant's labels be bought by this policy from now on."""

    def work(connection: Connection) -> None:
        at = database.now(connection)
        statement = upsert(connection, t.shipping_policy).values(
            merchant_id=merchant_id, rules=to_plain(policy), changed_at=at, changed_by=actor
        )
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["merchant_id"],
                set_={name: statement.excluded[name] for name in ("rules", "changed_at", "changed_by")},
            )
        )
        bought = "the best label is bought by itself" if policy.automatic else "a person buys the label"
        left = "bought" if policy.shipped_when is ShippedWhen.LABEL else "handed over"
        summary = f"Shipping policy: {bought}; goods count as shipped when it is {left}"
        activity.note(connection, merchant_id, "shipping_policy_changed", summary, at=at, actor=actor)

    database.transact(work)
