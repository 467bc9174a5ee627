"""The lane of a merchant itself: long work that a person asked for on a page, and that belongs to no connection.

Where the other lanes name a connection, this one names the merchant.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection

from hub.jobs.shift import Shift
from hub.store import stock_import

LANE = "desk"


def due(connection: Connection, merchant_id: UUID | None = None) -> list[tuple[UUID, UUID]]:
    """The merchants with such work, each in the place of a connection, too; given one, that one alone."""
    found = stock_import.merchants_due(connection)
    return [(each, each) for each in found if merchant_id in (None, each)]


def work(shift: Shift) -> None:
    """Go on with it step by step, each of them a transaction of its own."""
    while shift.time_left():
        shift.keep()
        touched = stock_import.go_on(shift.hub.database, shift.merchant_id, shift.time_left)
        if touched is None:
            return
        shift.ring_all((connection_id, "publish") for connection_id in touched)
