"""What a connector needs to run in a test: a context with a real client that ends at a simulator."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from hub.connector import Connector, Context, Token
from hub.http import Client, Exchange, Limiter
from hub.testing.simulator import Simulator, VendorSimulator

__all__ = ["WEBHOOK_SECRET", "MemoryTokenVault", "connector_for", "context_for"]

WEBHOOK_SECRET = "made-by-the-hub"

_C = TypeVar("_C", bound=Connector)


def _now() -> datetime:
    return datetime.now(UTC)


class MemoryTokenVault:
    """A TokenVault in memory; ``obtained`` counts how often a token had to be fetched, ``values`` has all of them."""

    def __init__(self, now: Callable[[], datetime] = _now, margin: timedelta = timedelta(seconds=60)) -> None:
        self.obtained = 0
        self.values: list[str] = []
        self._tokens: dict[str, Token] = {}
        self._now = now
        self._margin = margin
        self._lock = threading.Lock()

    def token(self, name: str, obtain: Callable[[], Token], *, refused: str | None = None) -> str:
        """The kept token, or a new one; see ``hub.connector.TokenVault``."""
        with self._lock:
            kept = self._tokens.get(name)
            if kept is None or kept.value == refused or self._expires(kept):
                kept = self._tokens[name] = obtain()
                self.obtained += 1
                self.values.append(kept.value)
            return kept.value

    def kept(self, name: str) -> Token | None:
        """The token as it was kept last, expired or not."""
        return self._tokens.get(name)

    def _expires(self, token: Token) -> bool:
        return token.expires_at is not None and token.expires_at - self._margin <= self._now()


def context_for(
    settings: Mapping[str, Any],
    simulator: Simulator | None = None,
    *,
    hosts: Sequence[str] = (),
    file_host: str = "",
    routes: Mapping[str, str] | None = None,
    webhook_secret: str = WEBHOOK_SECRET,
    now: Callable[[], datetime] = _now,
    limiter: Limiter | None = None,
    on_exchange: Callable[[Exchange], None] | None = None,
    timeout: tuple[float, float] = (2.0, 5.0),
) -> Context:
    """A context whose client leads the vendor's origin to ``simulator``, which is served if it is not yet.

    ``hosts`` and ``routes`` come on top of the simulator's own; without a simulator they are all there is.
    ``file_host`` is the connector's, "" where it exchanges no files.
    """
    led = dict(routes or {})
    if simulator is not None:
        led |= simulator.routes()
    client = Client(
        hosts=list(dict.fromkeys([*hosts, *(host for host in led if not host.startswith("sftp:"))])),
        routes=led,
        limiter=limiter,
        on_exchange=on_exchange,
        timeout=timeout,
    )
    files = None
    if file_host:
        from hub.sftp import Files  # few connectors need it, and an SSH library takes its time to load

        files = Files(host=file_host, routes=led, limiter=limiter, on_exchange=on_exchange, timeout=timeout)
    return Context(
        settings=settings,
        webhook_secret=webhook_secret,
        client=client,
        now=now,
        tokens=MemoryTokenVault(now),
        files=files,
    )


def connector_for(connector: type[_C], vendor: VendorSimulator, **options: Any) -> _C:
    """A connector connected to ``vendor`` as a merchant would: its settings go through the connector's own schema.

    ``options`` are those of ``context_for``.
    """
    settings = connector.settings_schema().load(vendor.settings())
    hosts, file_host = connector.hosts(settings), connector.file_host(settings)
    return connector(context_for(settings, vendor, hosts=hosts, file_host=file_host, **options))
