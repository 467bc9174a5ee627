"""Taking down what is asked of a vendor, for the log of requests: kept in memory for a moment, written together."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from uuid import UUID

import structlog

from hub.http import Exchange
from hub.store import exchanges
from hub.store.database import Database
from hub.store.exchanges import Line
from hub.store.secrets import KeyRing

log = structlog.get_logger()

_MOST_HELD = 100  # lines that wait in memory
_LONGEST_HELD = 2.0  # seconds; what a crash may lose of the log


class Recorder:
    """Hears of each exchange on one connection and writes them into its log, some at a time.

    It writes in transactions of its own, while none is open: during a call to the vendor none ever is. Whatever goes
    wrong with the log costs lines of the log and nothing else. Threads may share one.
    """

    def __init__(
        self,
        database: Database,
        keyring: KeyRing,
        merchant_id: UUID,
        connection_id: UUID,
        lane: str,
        *,
        order_id: UUID | None = None,
    ) -> None:
        self._database, self._keyring = database, keyring
        self._here = (merchant_id, connection_id)
        self._lane = lane
        self._order_id: UUID | None = order_id
        self._effect_id: UUID | None = None
        self._lines: list[Line] = []
        self._flushed = time.monotonic()
        self._lock = threading.Lock()

    def __call__(self, exchange: Exchange) -> None:
        log.debug(
            "exchange", method=exchange.method, url=exchange.url, status=exchange.status, seconds=exchange.seconds
        )
        line = Line(exchange, datetime.now(UTC), self._lane, order_id=self._order_id, effect_id=self._effect_id)
        with self._lock:
            self._lines.append(line)
            full = len(self._lines) >= _MOST_HELD or time.monotonic() - self._flushed > _LONGEST_HELD
        if full:
            self.flush()

    @contextmanager
    def doing(self, *, order_id: UUID | None, effect_id: UUID | None = None) -> Iterator[None]:
        """Within the block everything is done for this order, and by this effect."""
        before = self._order_id, self._effect_id
        self._order_id, self._effect_id = order_id, effect_id
        try:
            yield
        finally:
            self._order_id, self._effect_id = before

    def flush(self) -> None:
        """Write down what was heard."""
        with self._lock:
            lines, self._lines = self._lines, []
            self._flushed = time.monotonic()
        if not lines:
            return
        try:
            with self._database.write() as connection:
                exchanges.keep(connection, self._keyring, *self._here, lines)
        except Exception as error:  # what was asked has been asked: losing its line must not lose its outcome
            log.warning("exchanges not recorded", lines=len(lines), error=f"{type(error).__name__}: {error}"[:500])
