"""What a case works with: a simulated vendor, connectors that talk to it, a clock, a trace, one seed for all of it."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from hub.certify.contract import NotApplicable, Refuted
from hub.connector import Connector
from hub.errors import ConnectorError
from hub.http import Exchange, RefusingClient
from hub.testing.clock import Clock
from hub.testing.context import WEBHOOK_SECRET, context_for
from hub.testing.simulator import VendorSimulator

MOST_REQUESTS = 3_000
TIMEOUT = (5.0, 15.0)  # long enough for any machine that is busy
SHORT = (5.0, 0.5)  # for a vendor who is silent

SimulatorFactory = Callable[..., VendorSimulator]


class Endless(BaseException):
    """A connector goes on asking and asking. Not an Exception: it is not for the connector to catch."""


class Counting:
    """A limiter that lets everything through, counts it, and stops what would never end."""

    def __init__(self) -> None:
        self.requests = 0
        self.cost = 0.0

    def acquire(self, cost: float) -> None:
        self.requests += 1
        self.cost += cost
        if self.requests > MOST_REQUESTS:
            raise Endless(f"It sent more than {MOST_REQUESTS} requests without coming to an end.")

    def learn(self, available: float, restore_rate: float, maximum: float) -> None:
        """A vendor's word about its budget changes nothing here."""


class Bench:
    """One case's world. Everything random comes from ``chance``; vendors and connectors go by ``clock``.

    Subclasses know the vendors of their kind: they override ``stocked``, which puts into a new vendor what most cases
    need to be there.
    """

    def __init__(
        self, connector: type[Connector], simulator: SimulatorFactory, *, seed: int = 0, case: str = ""
    ) -> None:
        self.connector = connector
        self.seed = seed
        self.chance = random.Random(f"{seed} {case}")  # noqa: S311 (it has to be the same again)
        self.clock = Clock()
        self.exchanges: list[Exchange] = []
        self.vendors: list[VendorSimulator] = []
        self.notes: list[str] = []
        self._references = 0
        self._traced: list[VendorSimulator] = []
        self._vaults: list[Any] = []
        self._simulator = simulator
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # --- vendors

    def vendor(self, **options: Any) -> Any:
        """A new simulated vendor with what ``stocked`` puts into it, closed at the end of the case.

        One that is given a clock of its own (``now``) lives by the machine's, like the hub it is connected to: what it
        is asked, and when, is not for the seed alone to decide, and so no part of the trace.
        """
        made = self._simulator(**{"now": self.clock, "seed": self.chance.randrange(2**31), **options})
        self.vendors.append(made)
        if "now" not in options:
            self._traced.append(made)
        self._stack.callback(made.close)
        made.hold_webhooks()  # cases deliver them by hand, in an order of their own
        self.stocked(made)
        return made

    def stocked(self, vendor: Any) -> None:
        """Put into a new vendor what most cases need to be there."""

    def stir(self, vendor: Any = None, *, at_once: bool = False) -> None:
        """Let something happen at the vendor (by default the one made last) of which its webhooks tell; each time
        something else, a moment later unless ``at_once``."""
        raise NotApplicable("nobody says what its webhooks tell of")

    def reference(self) -> str:
        """A reference of the hub's that nothing of this case has had."""
        self._references += 1
        return f"T-{self.seed % 1000}-{self._references}"

    @property
    def trace(self) -> list[str]:
        """What happened, and what the vendors of this case were asked and answered, one line each, in order."""
        return [*self.notes, *(line for vendor in self._traced for line in vendor.trace)]

    # --- connectors

    def connect(
        self,
        vendor: VendorSimulator,
        *,
        settings: Mapping[str, Any] | None = None,
        webhook_secret: str = WEBHOOK_SECRET,
        now: Callable[[], datetime] | None = None,
        timeout: tuple[float, float] = TIMEOUT,
    ) -> Any:
        """A connector connected to ``vendor`` as a merchant would; ``settings`` are what was typed, by default right.

        Its exchanges are kept in ``exchanges``.
        """
        loaded = self.connector.settings_schema().load(dict(settings or vendor.settings()))
        context = context_for(
            loaded,
            vendor,
            hosts=self.connector.hosts(loaded),
            file_host=self.connector.file_host(loaded),
            webhook_secret=webhook_secret,
            now=now or self.clock,
            limiter=Counting(),
            on_exchange=self.exchanges.append,
            timeout=timeout,
        )
        for name in self.secret_fields():
            if isinstance(secret := loaded.get(name), str):
                context.client.redact(secret)  # as the hub does
        context.client.redact(webhook_secret)
        self._stack.callback(context.client.close)
        if context.files is not None:
            self._stack.callback(context.files.close)
        self._vaults.append(context.tokens)
        return self.connector(context)

    def connected(self) -> tuple[Any, Any]:
        """A new vendor, and a connector that is connected to it."""
        vendor = self.vendor()
        return vendor, self.connect(vendor)

    def reader(self, vendor: VendorSimulator, *, webhook_secret: str = WEBHOOK_SECRET) -> Any:
        """A connector as the web process and the reading have it: it reaches nobody."""
        connected = self.connect(vendor, webhook_secret=webhook_secret)
        context = connected.context
        return self.connector(
            type(context)(context.settings, webhook_secret, RefusingClient(), context.now, context.tokens)
        )

    def secret_fields(self) -> list[str]:
        """The settings that are marked secret."""
        fields = self.connector.settings_schema().fields
        return [name for name, each in fields.items() if each.metadata.get("secret")]

    def tokens(self) -> list[str]:
        """Every short-lived token that the connectors of this case have obtained."""
        return [value for vault in self._vaults for value in vault.values]

    def vault(self) -> Any:
        """The vault of the connector made last."""
        return self._vaults[-1]

    def other_secrets(self, vendor: VendorSimulator) -> dict[str, str]:
        """What somebody else would have typed: the same but for the secrets, which still look like the vendor's."""
        typed = vendor.settings()
        return {name: _other(value) if name in self.secret_fields() else value for name, value in typed.items()}

    # --- around

    def folder(self) -> Path:
        """An empty folder, removed at the end of the case."""
        path = Path(tempfile.mkdtemp(prefix="tallyhub-certify-"))
        self._stack.callback(shutil.rmtree, path, ignore_errors=True)
        return path

    def enter(self, context: Any) -> Any:
        """Enter a context manager until the end of the case."""
        return self._stack.enter_context(context)


def _other(secret: str) -> str:
    """A secret as long as this one, of the same kind of characters, and another one."""
    turned = {"0": "1", "1": "0", "a": "b", "b": "a"}
    for position in range(len(secret) - 1, -1, -1):
        character = secret[position]
        if character.isalnum():
            other = turned.get(character) or ("1" if character.isdigit() else "a" if character.islower() else "A")
            if other == character:
                other = "B"
            return secret[:position] + other + secret[position + 1 :]
    return secret + "x"


def line_of(connector: Any) -> Any:
    """What a connector talks to its vendor with: its files where it has some, its HTTP client otherwise.

    All that is sent goes through the ``request`` of either, and its ``limiter``.
    """
    return connector.context.files or connector.client


@contextmanager
def impatient(connector: Any, timeout: tuple[float, float] = SHORT) -> Iterator[None]:
    """Within the block the connector waits no longer than ``timeout`` (connect, read) for an answer."""
    line = line_of(connector)
    send = line.request

    def hurried(method: str, url: str, **options: Any) -> Any:
        return send(method, url, **{**options, "timeout": timeout})

    line.request = hurried
    try:
        yield
    finally:
        line.request = send


@contextmanager
def only_connector_errors(what: str) -> Iterator[list[ConnectorError]]:
    """Let a connector fail as connectors do, with the errors of the hub, and hand on what it raised; anything else
    fails the case."""
    raised: list[ConnectorError] = []
    try:
        yield raised
    except ConnectorError as error:
        raised.append(error)
    except Refuted:
        raise
    except Exception as error:
        raise Refuted(
            f"{what}: it raised {type(error).__name__} ({error}) instead of an error of hub.errors."
        ) from error


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Every leaf of a JSON value with the path to it."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, (*path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*path, index))
    else:
        yield path, value


def replaced(value: Any, path: Iterable[str | int], leaf: Any) -> Any:
    """A copy of a JSON value with another leaf at ``path``."""
    names = list(path)
    if not names:
        return leaf
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[names[0]] = replaced(value[names[0]], names[1:], leaf)
    return copy


def short(value: object) -> str:
    """A value as it can stand in a sentence."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 200 else f"{text[:199]}…"
