"""The end of a sandbox: once no worker is at its connections any more, everything that came of it is deleted."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from uuid import UUID

import structlog

from hub.errors import Conflict
from hub.jobs.shift import LEASE_SECONDS, Hub
from hub.store import sandbox

log = structlog.get_logger()


def remove_ending(hub: Hub, lanes: Sequence[str]) -> None:
    """Delete what came of the sandboxes that are to end, as far as nobody is at work in them."""
    with hub.database.read() as connection:
        merchants = sandbox.ending(connection)
    for merchant_id in merchants:
        try:
            empty(hub, merchant_id, lanes)
        except Conflict as error:
            log.error("sandbox not removed", merchant=str(merchant_id), error=str(error))


def empty(hub: Hub, merchant_id: UUID, lanes: Sequence[str]) -> bool:
    """Delete what came of a sandbox; False while a worker is still at one of its connections: try again soon."""
    with ExitStack() as held:
        # The lane of the merchant itself names the merchant where others name a connection.
        for place in [*sandbox.close_connections(hub.database, merchant_id), merchant_id]:
            for lane in lanes:
                # Nobody can begin anything there, and whoever was at it cannot commit any more.
                lease = hub.database.lease(f"{lane}:{place}", LEASE_SECONDS)
                if lease is None:
                    return False
                held.callback(hub.database.release, lease)
        hub.database.transact(
            lambda connection: sandbox.forget(connection, merchant_id, at=hub.database.now(connection))
        )
    return True
