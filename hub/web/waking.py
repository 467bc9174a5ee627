"""The doorbell behind the pages: once something is written, the workers whose turn it is are rung for."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from hub.web.gate import hub, visitor


def wake(connection_ids: Iterable[UUID], *lanes: str) -> None:
    """Ring for these lanes of these connections of the visitor's merchant."""
    ring((connection_id, lane) for connection_id in connection_ids for lane in lanes)


def ring(lanes: Iterable[tuple[UUID, str]]) -> None:
    """Ring for what an act of the store named, once for each lane."""
    for connection_id, lane in dict.fromkeys(lanes):
        hub().doorbell.ring(visitor().merchant_id, connection_id, lane)
