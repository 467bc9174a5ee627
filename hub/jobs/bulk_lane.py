"""The lane in which what a person does to many at once is done to the orders and parcels of one shop, one by one."""

from __future__ import annotations

import structlog

from hub.jobs.shift import Shift
from hub.plugins import in_words
from hub.store import bulk_acts
from hub.store.bulk_acts import Turn
from hub.store.database import Interrupted

log = structlog.get_logger()

_AT_ONCE = 50  # looked up together


def work(shift: Shift) -> None:
    """Give every one that waits its turn, while there is time."""
    while shift.time_left():
        with shift.hub.database.read() as connection:
            at = shift.hub.database.now(connection)
            turns = bulk_acts.next_turns(connection, shift.merchant_id, shift.connection_id, _AT_ONCE, at=at)
        if not turns:
            return
        for turn in turns:
            if not shift.time_left():
                return
            shift.keep()
            _give(shift, turn)


def _give(shift: Shift, turn: Turn) -> None:
    database, merchant_id, connectors = shift.hub.database, shift.merchant_id, shift.hub.registry.connectors
    try:
        lanes = shift.write(
            lambda connection, at: bulk_acts.perform(
                connection, database, merchant_id, turn, connectors=connectors, at=at
            )
        )
    except Interrupted:
        raise  # nothing was stored: it is still its turn
    except Exception as error:
        # Something about it cannot be written. It holds back no other.
        log.exception("nothing could be done to an order", order=str(turn.order_id), shipment=str(turn.shipment_id))
        said = in_words(error)
        shift.write(lambda connection, at: bulk_acts.give_up(connection, merchant_id, turn, said, at=at))
        return
    shift.ring_all(lanes)
