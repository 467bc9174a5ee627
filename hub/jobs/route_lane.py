"""The lane in which a shop's orders are dealt out to locations, a few in one commit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

import structlog
from sqlalchemy import Connection

from hub.core.routing import Decision, Request, given
from hub.jobs.shift import Shift
from hub.plugins import Registry, in_words
from hub.store import routing, routing_queue
from hub.store.database import Broken, Interrupted, LeaseLost

log = structlog.get_logger()

_AT_ONCE = 25  # orders in one transaction: their SKUs are locked for as long as it takes to decide about all


def work(shift: Shift) -> None:
    """Deal out every order that is due, the most urgent first."""
    while shift.time_left():
        shift.keep()
        with shift.hub.database.read() as connection:
            at = shift.hub.database.now(connection)
            order_ids = routing_queue.due(connection, shift.merchant_id, shift.connection_id, at, _AT_ONCE)
        if not order_ids:
            return
        try:
            _deal_out(shift, order_ids)
        except (Interrupted, LeaseLost, Broken):
            raise
        except Exception:
            # Something about one of them cannot be written. Alone, it holds back no other.
            log.exception("orders are dealt out one by one", connection=str(shift.connection_id))
            for order_id in order_ids:
                _deal_out_alone(shift, order_id)


def _deal_out(shift: Shift, order_ids: Sequence[UUID]) -> None:
    allocate = partial(ask_plugins, shift.hub.registry)

    def write(connection: Connection, at: datetime) -> routing.Outcome:
        outcome = routing.route(connection, shift.merchant_id, order_ids, at=at, allocate=allocate)
        for order_id, error in outcome.failed.items():
            routing.set_aside(connection, shift.merchant_id, order_id, in_words(error), at=at)
        return outcome

    outcome = shift.write(write)
    for order_id, error in outcome.failed.items():
        log.error("order set aside", order=str(order_id), error=in_words(error))
    shift.ring_all(outcome.lanes)


def _deal_out_alone(shift: Shift, order_id: UUID) -> None:
    try:
        _deal_out(shift, [order_id])
    except (Interrupted, LeaseLost, Broken):
        raise
    except Exception as error:
        log.exception("order set aside", order=str(order_id))
        said = in_words(error)
        shift.write(lambda connection, at: routing.set_aside(connection, shift.merchant_id, order_id, said, at=at))


def ask_plugins(registry: Registry, request: Request) -> Decision | None:
    """What the first plugin that has an opinion says; None: none has. Raises what a plugin raises, and ValueError for
    an answer that cannot be carried out."""
    for name, allocate in registry.allocators.items():
        answer = allocate(request, request.places)
        if answer is not None:
            try:
                return given(request, answer, f"so says the plugin {name}.")
            except (AttributeError, TypeError, ValueError) as error:
                raise ValueError(f"The plugin {name} cannot be followed. {error}") from error
    return None
