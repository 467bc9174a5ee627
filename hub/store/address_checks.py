"""What carriers think of the addresses orders go to: asked for by people, answered by a worker, kept with who and when.

There is one question per order, the newest. It keeps the address it was about, so that a verdict is never shown of an
address that has been changed since.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, select, update

from hub import access, addresses
from hub.access import Permission
from hub.core.model import Address, OrderStatus
from hub.core.plain import from_plain, to_plain
from hub.core.shipping import AddressState, AddressVerdict
from hub.errors import Conflict
from hub.store import activity, handling
from hub.store import tables as t
from hub.store.database import Database, for_update, upsert

TRIES = 3  # of a question, before whoever waits is told that the carrier cannot be reached


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What a carrier was asked about an order's address, and said.

    ``stands``: the address is still the one that was asked about. ``taken``: it is one of those the carrier suggested.
    ``verdict`` is None while the answer is awaited, and where there is none: ``error`` then says why.
    """

    connection_id: UUID
    carrier: str
    state: str
    verdict: AddressVerdict | None
    error: str
    asked_at: datetime
    asked_by: str
    answered_at: datetime | None
    stands: bool
    taken: bool

    @property
    def suggestions(self) -> list[Address]:
        """The ways in which the carrier would write it, where somebody has to choose one."""
        if self.verdict is None or not self.stands:
            return []
        wanted = self.verdict.state in (AddressState.CORRECTED, AddressState.AMBIGUOUS)
        return list(self.verdict.candidates) if wanted else []

    @property
    def suggested(self) -> list[str]:
        """The suggestions as people read them, each in one line."""
        return [", ".join(to_plain(each).values()) for each in self.suggestions]


@access.needs(Permission.ORDERS)
def ask(database: Database, merchant_id: UUID, order_id: UUID, connection_id: UUID, actor: str) -> None:
    """Have a carrier asked what it thinks of the address an order goes to, by its lane "fetch".

    Raises Conflict for an order that is not open, or has no address, and for a carrier that is not connected.
    """

    def work(connection: Connection) -> None:
        at = database.now(connection)
        row = _order(connection, merchant_id, order_id)
        if row.status != OrderStatus.OPEN:
            raise Conflict(f"Order {row.number} is {row.status}. Its address does not matter any more.")
        if not row.ship_to:
            raise Conflict(f"Order {row.number} has no address yet. Enter one first.")
        account = t.connection.c
        carrier = connection.execute(
            select(account.label, account.state).where(account.merchant_id == merchant_id, account.id == connection_id)
        ).one_or_none()
        if carrier is None or carrier.state != "connected":
            raise Conflict(f"{carrier.label if carrier else 'This carrier'} is not connected. Choose another carrier.")
        values = {
            "connection_id": connection_id,
            "state": "asked",
            "address": row.ship_to,
            "verdict": None,
            "error": "",
            "asked_at": at,
            "asked_by": actor[:200],
            "due_at": at,
            "attempts": 0,
            "answered_at": None,
        }
        connection.execute(
            upsert(connection, t.address_check)
            .values(merchant_id=merchant_id, order_id=order_id, **values)
            .on_conflict_do_update(index_elements=["merchant_id", "order_id"], set_=values)
        )
        summary = f"{carrier.label} is asked whether the address is right"
        activity.note(connection, merchant_id, "address_asked", summary, at=at, order_id=order_id, actor=actor)

    database.transact(work)


@access.needs(Permission.ORDERS)
def take_over(database: Database, merchant_id: UUID, order_id: UUID, wanted: str, actor: str) -> UUID:
    """A person wants the order sent to a suggestion of the carrier's, as ``Check.suggested`` has it; returns the
    order's connection, whose lane "route" goes on with it.

    Raises Conflict where that suggestion is not there any more, and what ``handling.correct_address`` raises.
    """
    with database.read() as connection:
        found = of_order(connection, merchant_id, order_id)
    suggestions = dict(zip(found.suggested, found.suggestions, strict=True)) if found else {}
    if wanted not in suggestions:
        raise Conflict("The address or the carrier's answer has changed meanwhile. Look at it again.")
    return handling.correct_address(database, merchant_id, order_id, suggestions[wanted], actor)


def of_order(connection: Connection, merchant_id: UUID, order_id: UUID) -> Check | None:
    """What was asked last about the address of an order, None if nothing was."""
    this, account, order = t.address_check.c, t.connection.c, t.sales_order.c
    row: Any = connection.execute(
        select(
            t.address_check,
            account.label.label("carrier"),
            account.state.label("carrier_state"),
            t.SHIP_TO.label("ship_to"),
        )
        .join(t.connection, (account.merchant_id == this.merchant_id) & (account.id == this.connection_id))
        .join(t.sales_order, (order.merchant_id == this.merchant_id) & (order.id == this.order_id))
        .where(this.merchant_id == merchant_id, this.order_id == order_id)
    ).one_or_none()
    if row is None:
        return None
    verdict = None if row.verdict is None else from_plain(AddressVerdict, row.verdict)
    suggested = [to_plain(_written(each)) for each in verdict.candidates] if verdict else []
    stands = row.ship_to == row.address
    lost = row.state == "asked" and row.carrier_state != "connected"
    return Check(
        connection_id=row.connection_id,
        carrier=row.carrier,
        state="failed" if lost else row.state,
        verdict=verdict,
        error=f"{row.carrier} is {row.carrier_state}: it is not asked." if lost else row.error,
        asked_at=row.asked_at,
        asked_by=row.asked_by,
        answered_at=row.answered_at,
        stands=stands,
        taken=not stands and row.ship_to in suggested,
    )


def _written(address: Address) -> Address:
    """As ``handling.correct_address`` keeps it."""
    return addresses.check(address).written


# ---------------------------------------------------------------- by a worker


def next_to_ask(connection: Connection, merchant_id: UUID, connection_id: UUID, at: datetime) -> Row[Any] | None:
    """The question to this carrier that waits the longest, put off before it is tried."""
    this = t.address_check.c
    due = connection.execute(
        for_update(
            connection,
            select(t.address_check)
            .where(this.merchant_id == merchant_id, this.connection_id == connection_id, this.due_at <= at)
            .order_by(this.due_at, this.order_id)
            .limit(1),
        )
    ).one_or_none()
    if due is not None:
        again = at + timedelta(seconds=5 * 2**due.attempts)
        connection.execute(_this(due).values(due_at=again, attempts=this.attempts + 1))
    return due


def answered(connection: Connection, asked: Row[Any], verdict: AddressVerdict, *, at: datetime) -> None:
    """Keep what the carrier says, unless somebody has asked anew meanwhile."""
    values = {"state": "answered", "verdict": to_plain(verdict), "error": "", "due_at": None, "answered_at": at}
    if connection.execute(_this(asked).values(values)).rowcount:
        summary = f"{_carrier(connection, asked)}: {SAID[verdict.state]}"
        activity.note(connection, asked.merchant_id, "address_checked", summary, at=at, order_id=asked.order_id)


def not_answered(connection: Connection, asked: Row[Any], why: str, *, at: datetime) -> None:
    """Keep why the carrier does not say what it thinks."""
    values = {"state": "failed", "verdict": None, "error": why[:1000], "due_at": None, "answered_at": at}
    if connection.execute(_this(asked).values(values)).rowcount:
        summary = f"{_carrier(connection, asked)} did not check the address"
        activity.note(connection, asked.merchant_id, "address_checked", summary, at=at, order_id=asked.order_id)


SAID = {
    AddressState.VALID: "the address is right as it is written",
    AddressState.CORRECTED: "the address can be delivered to if it is written otherwise",
    AddressState.AMBIGUOUS: "the address may be one of several",
    AddressState.INVALID: "there is no such address",
}


def _this(asked: Row[Any]) -> Any:
    this = t.address_check.c
    return update(t.address_check).where(
        this.merchant_id == asked.merchant_id,
        this.order_id == asked.order_id,
        this.connection_id == asked.connection_id,
        this.asked_at == asked.asked_at,
    )


def _carrier(connection: Connection, asked: Row[Any]) -> str:
    account = t.connection.c
    return connection.execute(  # type: ignore[no-any-return]
        select(account.label).where(account.merchant_id == asked.merchant_id, account.id == asked.connection_id)
    ).scalar_one()


def _order(connection: Connection, merchant_id: UUID, order_id: UUID) -> Row[Any]:
    order = t.sales_order.c
    row = connection.execute(
        for_update(
            connection,
            select(order.number, order.status, t.SHIP_TO.label("ship_to")).where(
                order.merchant_id == merchant_id, order.id == order_id
            ),
        )
    ).one_or_none()
    if row is None:
        raise Conflict("This order does not exist. Go back to the list.")
    return row
