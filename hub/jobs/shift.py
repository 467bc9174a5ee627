"""A running hub as its workers see it, and a shift: one worker at one lane of one connection, under a fenced lease."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import SystemRandom
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from uuid import UUID

import structlog
from sqlalchemy import Connection, Row, select

from hub.children import stop_requested
from hub.config import Settings
from hub.connector import Capabilities, Connector, Context, RateBudget, SalesChannel, Token, TokenVault
from hub.core.selling import Limits
from hub.errors import Rejected, Unavailable
from hub.http import Client, Exchange, Limiter, LocalLimiter, OperationLimiter, RefusingClient, led
from hub.jobs.guard import Budget, Listener, Tokens, guarded
from hub.jobs.recording import Recorder
from hub.limits import RedisLimiter, operation_key, quick_client
from hub.plugins import Registry
from hub.store import breaker, connections, words
from hub.store import tables as t
from hub.store.connections import Credentials
from hub.store.database import Database, DatabaseAway, Lease, LeaseLost
from hub.store.secrets import KeyRing
from hub.store.vault import Vault

if TYPE_CHECKING:
    from hub.sftp import Files
    from hub.sqs import Queue

Channel = TypeVar("Channel", bound=Connector)
Written = TypeVar("Written")

log = structlog.get_logger()

LEASE_SECONDS = 45.0
_SAFE_SECONDS = 30.0  # what must be left of a lease for the next step: longer than one call to a vendor takes

# Waiting for an operation's own budget holds no worker for longer: the work that needs it is put off instead.
_OPERATION_PATIENCE = 1.0

jitter = SystemRandom()


class Doorbell(Protocol):
    """Wakes a worker; a ring that nobody hears only means that the work is found a little later."""

    def ring(self, merchant_id: UUID, connection_id: UUID, lane: str) -> None: ...


@dataclass(frozen=True)
class Hub:
    """The parts of a running hub, as the pages, the workers and the commands share them."""

    settings: Settings
    database: Database
    keyring: KeyRing
    registry: Registry
    doorbell: Doorbell

    @classmethod
    def open(cls, settings: Settings, *, pooled: bool = True) -> Hub:
        """Build a hub from its settings; nothing is connected before it is used."""
        from hub import plugins, wakeup

        return cls(
            settings,
            Database(settings.database_url, pooled=pooled),
            KeyRing(settings.secret_keys),
            plugins.load(settings.plugins),
            wakeup.RedisDoorbell(settings.redis_url) if settings.redis_url else wakeup.SilentDoorbell(),
        )

    def reader(self, connector: type[Channel], credentials: Credentials) -> Channel:
        """A connector that can verify and read, but reaches nobody."""
        context = Context(
            credentials.settings,
            credentials.webhook_secret,
            RefusingClient(),
            _utcnow,
            _NoTokens(),
            credentials.mappings,
            credentials.features,
        )
        return guarded(connector, context)

    def caller(
        self,
        connector: type[Channel],
        credentials: Credentials,
        merchant_id: UUID,
        connection_id: UUID,
        *,
        tokens: TokenVault | None = None,
        on_exchange: Callable[[Exchange], None] | None = None,
    ) -> Channel:
        """A connector that can talk to its vendor, within the connection's rate budget and with its tokens.

        ``on_exchange`` hears of each of its calls: a Recorder, or what hands them on to one.
        """
        limiter, limiters = self._limiters(connection_id, connector)
        hosts = connector.hosts(credentials.settings)
        if credentials.routes is not None:
            hosts = led(hosts, credentials.routes)  # nothing of a sandbox may reach the vendor itself
        client = Client(
            hosts=hosts,
            routes=self._routes(credentials),
            private_networks=self.settings.private_networks,
            limiter=limiter,
            limiters=limiters,
            on_exchange=_listener(on_exchange),
        )
        for secret in connections.secrets_of(connector, credentials):
            client.redact(secret)
        files = self._files(connector, credentials, client.limiter, on_exchange)
        vault = Tokens(tokens or Vault(self.database, self.keyring, merchant_id, connection_id))
        context = Context(
            credentials.settings,
            credentials.webhook_secret,
            client,
            _utcnow,
            vault,
            credentials.mappings,
            credentials.features,
            files,
        )
        return guarded(connector, context)

    def _files(
        self,
        connector: type[Connector],
        credentials: Credentials,
        limiter: Limiter | None,
        on_exchange: Callable[[Exchange], None] | None,
    ) -> Files | None:
        """What the connector exchanges files with, None where it names no server for it."""
        host = connector.file_host(credentials.settings)
        if not host or (credentials.routes is not None and host not in credentials.routes):
            return None
        from hub.sftp import Files  # few connectors need it, and an SSH library takes its time to load

        return Files(
            host=host,
            routes=self._routes(credentials),
            private_networks=self.settings.private_networks,
            limiter=limiter,
            on_exchange=_listener(on_exchange),
        )

    def queue(
        self,
        connector: type[Connector],
        credentials: Credentials,
        on_exchange: Callable[[Exchange], None],
    ) -> Queue | None:
        """The queue in which the vendor leaves its messages for a connection, None where there is none."""
        address = connector.queue_address(credentials.settings)
        if address is None or (credentials.routes is not None and not led([address.url], credentials.routes)):
            return None
        from hub.sqs import Queue  # few connectors need it, and boto3 need not be installed

        return Queue(
            address,
            routes=self._routes(credentials),
            private_networks=self.settings.private_networks,
            on_exchange=on_exchange,
        )

    def _routes(self, credentials: Credentials) -> Mapping[str, str]:
        return self.settings.routes if credentials.routes is None else credentials.routes

    def _limiters(
        self, connection_id: UUID, connector: type[Connector]
    ) -> tuple[Limiter | None, Mapping[str, OperationLimiter]]:
        """The rate budget of a connection, and those of single operations."""
        own, budgets, workers = connector.rate_budget, connector.rate_budgets, self.settings.workers
        if own is None and not budgets:
            return None, {}
        if self.settings.redis_url is None:
            return (
                None if own is None else LocalLimiter(own, 1 / workers),
                {name: _alone(connection_id, name, budget, workers) for name, budget in budgets.items()},
            )
        client = quick_client(self.settings.redis_url)
        return (
            None if own is None else Budget(RedisLimiter(client, str(connection_id), own, workers=workers)),
            {
                name: Budget(
                    RedisLimiter(
                        client,
                        operation_key(connection_id, name),
                        budget,
                        workers=workers,
                        patience=_OPERATION_PATIENCE,
                    )
                )
                for name, budget in budgets.items()
            },
        )


# A bucket that holds few units and fills slowly must outlive the shift, where no Redis keeps it.
_kept: dict[tuple[UUID, str], LocalLimiter] = {}


def _alone(connection_id: UUID, operation: str, budget: RateBudget, workers: int) -> LocalLimiter:
    made = LocalLimiter(budget, 1 / workers, patience=_OPERATION_PATIENCE)
    return _kept.setdefault((connection_id, operation), made)


class NewTokens:
    """Tokens of settings that are only being checked: obtained with these very settings, ``obtained`` by their names.

    ``keep`` hears of each as soon as it is there, since the code that it was obtained with may be good for once only.
    """

    def __init__(self, obtained: Mapping[str, Token], keep: Callable[[Mapping[str, Token]], None]) -> None:
        self.obtained = dict(obtained)
        self._keep = keep

    def token(self, name: str, obtain: Callable[[], Token], *, refused: str | None = None) -> str:
        if name not in self.obtained or self.obtained[name].value == refused:
            self.obtained[name] = obtain()
            self._keep(self.obtained)
        return self.obtained[name].value

    def kept(self, name: str) -> Token | None:
        return self.obtained.get(name)


class _NoTokens:
    def token(self, name: str, obtain: Callable[[], Token], *, refused: str | None = None) -> str:
        raise Unavailable("No token can be asked for here.", sent=False)

    def kept(self, name: str) -> Token | None:
        return None


def hang_up(caller: Connector) -> None:
    """Close the connections that a connector keeps open to its vendor."""
    caller.client.close()
    if caller.context.files is not None:
        caller.context.files.close()


def limits(capabilities: Capabilities) -> Limits:
    """Which figures a channel can be told."""
    return Limits(negative_stock=capabilities.negative_stock, most_units=capabilities.most_units)


def _utcnow() -> datetime:
    return datetime.now(UTC)


def _listener(on_exchange: Callable[[Exchange], None] | None) -> Listener | None:
    return None if on_exchange is None else Listener(on_exchange)


@dataclass
class Shift:
    """One worker at one lane of one connection: the lease it holds and the time it has."""

    hub: Hub
    merchant_id: UUID
    connection_id: UUID
    lane: str
    lease: Lease
    ends: float  # on the monotonic clock
    _caller: Connector | None = None
    _public_url: str | None = None
    recorder: Recorder = field(init=False)

    def __post_init__(self) -> None:
        self.recorder = self.recorder_of(self.connection_id)

    def recorder_of(self, connection_id: UUID, *, order_id: UUID | None = None) -> Recorder:
        """What takes down the exchanges of this lane with a connection of the same merchant."""
        return Recorder(
            self.hub.database, self.hub.keyring, self.merchant_id, connection_id, self.lane, order_id=order_id
        )

    def public_url(self) -> str:
        """Where the connection's vendor reaches the hub, "" where it cannot. A simulated one is on this machine."""
        if self._public_url is None:
            settings = self.hub.settings
            self._public_url = settings.own_address if self.row().sandbox else settings.public_url or ""
        return self._public_url

    def time_left(self) -> bool:
        """Whether something new may be begun: others want their turn, and a worker may be shutting down."""
        return time.monotonic() < self.ends and not stop_requested()

    def keep(self) -> None:
        """Make sure that the lease lasts for the next step. Raises LeaseLost."""
        if self.lease.remaining() < _SAFE_SECONDS:
            self.lease = self.hub.database.renew(self.lease, LEASE_SECONDS)

    def write(self, work: Callable[[Connection, datetime], Written]) -> Written:
        """One transaction that commits only while the lease is still ours; ``work`` gets the database's time."""

        def guarded(connection: Connection) -> Written:
            Database.hold(connection, self.lease)
            return work(connection, Database.now(connection))

        return self.hub.database.transact(guarded)

    def now(self) -> datetime:
        """The database's time."""
        with self.hub.database.read() as connection:
            return Database.now(connection)

    def row(self) -> Row[Any]:
        """The connection's row, as it is now."""
        this = t.connection.c
        with self.hub.database.read() as connection:
            return connection.execute(
                select(t.connection).where(this.merchant_id == self.merchant_id, this.id == self.connection_id)
            ).one()

    def installed(self, row: Row[Any]) -> type[Connector]:
        """The class of the connection's connector, of whatever kind. Raises BadInput when it is not installed."""
        return self.hub.registry.connector(row.connector)

    def connector(self, row: Row[Any]) -> type[SalesChannel]:
        """The class of the connection's connector, for work that only a channel has. Raises BadInput, Rejected."""
        found = self.installed(row)
        if not issubclass(found, SalesChannel):
            raise Rejected(f"{found.label} is not a sales channel.")
        return found

    def credentials(self, row: Row[Any]) -> Credentials:
        with self.hub.database.read() as connection:
            return words.credentials(connection, self.hub.keyring, self.installed(row), row)

    def reader(self, row: Row[Any]) -> SalesChannel:
        return self.hub.reader(self.connector(row), self.credentials(row))

    def reader_of_any_kind(self, row: Row[Any]) -> Connector:
        """The connector that can verify and read, but reaches nobody."""
        return self.hub.reader(self.installed(row), self.credentials(row))

    def caller(self, row: Row[Any]) -> SalesChannel:
        """The channel as ``sender`` has it. Raises Rejected when it is none."""
        self.connector(row)
        sender = self.sender(row)
        assert isinstance(sender, SalesChannel)  # noqa: S101 (what the line before made sure of, told to mypy)
        return sender

    def sender(self, row: Row[Any]) -> Connector:
        """The connector as it talks to the vendor; one per shift, so that connections to it are kept open."""
        if self._caller is None:
            self._caller = self.hub.caller(
                self.installed(row),
                self.credentials(row),
                self.merchant_id,
                self.connection_id,
                on_exchange=self._keep_meanwhile,
            )
        return self._caller

    def _keep_meanwhile(self, exchange: Exchange) -> None:
        # A connector may make many calls before it comes back: a slow shop must not cost us the lane again and again.
        self.recorder(exchange)
        with suppress(LeaseLost, DatabaseAway):  # the next write finds out
            self.keep()

    def hang_up(self) -> None:
        """Close the connections to the vendor, and write down what was said."""
        if self._caller is not None:
            hang_up(self._caller)
            self._caller = None
        self.recorder.flush()

    def may_call(self, row: Row[Any]) -> bool:
        """Whether the vendor may be called now: the connection works, and no limit or pause is on."""
        return row.state == "connected" and (row.not_before is None or row.not_before <= self.now())

    def note(self, error: BaseException | None, began: datetime) -> None:
        """Let the connection learn from a call that began at ``began``."""
        if error is None and not self.row().failures:
            return  # nothing to take back: a write less on every call that went well
        with self.hub.database.write() as connection:
            breaker.note_outcome(
                connection,
                self.merchant_id,
                self.connection_id,
                error,
                now=Database.now(connection),
                began=began,
            )

    def ring(self, connection_id: UUID, lane: str) -> None:
        self.hub.doorbell.ring(self.merchant_id, connection_id, lane)

    def ring_all(self, lanes: Iterable[tuple[UUID, str]]) -> None:
        """Ring for each of these, once."""
        for connection_id, lane in dict.fromkeys(lanes):
            self.ring(connection_id, lane)


@contextmanager
def start_shift(hub: Hub, merchant_id: UUID, connection_id: UUID, lane: str, ends: float) -> Iterator[Shift | None]:
    """Take a lane of a connection until the block ends, or None while another worker is at it.

    A block that raises keeps the lane until its process is gone, so that what went wrong is not repeated at once.
    """
    lease = hub.database.lease(f"{lane}:{connection_id}", LEASE_SECONDS)
    if lease is None:
        yield None
        return
    shift = Shift(hub, merchant_id, connection_id, lane, lease, ends)
    try:
        yield shift
    finally:
        shift.hang_up()
    hub.database.release(shift.lease)
