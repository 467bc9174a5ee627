"""Loading plugins: entry points of the group "hub", one by one, so that a broken one hurts only itself."""

from __future__ import annotations

import faulthandler
import os
import re
import select
import signal
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import EntryPoint, distributions, entry_points
from types import MappingProxyType
from typing import Any

import pluggy
from marshmallow import Schema

from hub import hookspecs
from hub.connector import (
    Capabilities,
    CarrierCapabilities,
    Connector,
    ProviderCapabilities,
    RateBudget,
    Settlement,
    Vocabulary,
)
from hub.core.routing import Place, Request
from hub.core.shipping import Rate, Shipment
from hub.errors import BadInput

ENTRY_POINT_GROUP = "hub"

IMPORT_SECONDS = 30.0

# These are ours. Anything else is imported only when the operator names its distribution in TALLYHUB_PLUGINS.
BUILT_IN = frozenset(
    {"tallyhub-3pl", "tallyhub-amazon", "tallyhub-carriers", "tallyhub-shopify", "tallyhub-woocommerce"}
)


SIMULATORS = "hub.simulators"  # the group of entry points


@dataclass(frozen=True, slots=True)
class Simulated:
    """A simulated vendor of one of our own packages. ``lacking`` is what its extra [simulator] asks for in vain."""

    name: str
    package: str
    lacking: tuple[str, ...]
    _point: EntryPoint = field(repr=False)

    def load(self) -> Any:
        """Its class. Raises ImportError, AttributeError."""
        return self._point.load()


def simulators(cast: Collection[str]) -> list[Simulated]:
    """The simulated vendors of this ``cast`` that are installed, in its order; nothing is imported."""
    order = list(cast)
    found = [
        Simulated(each.name, each.dist.name, _lacking(each), each)
        for each in entry_points(group=SIMULATORS)
        if each.dist and each.dist.name in BUILT_IN and each.name in order
    ]
    return sorted(found, key=lambda each: order.index(each.name))


def _lacking(point: EntryPoint) -> tuple[str, ...]:
    """What the extra [simulator] of a simulator's package asks for, and is not installed."""
    asked = (
        re.match(r"([\w.-]+).*extra == ['\"]simulator['\"]", each)
        for each in (point.dist and point.dist.requires) or ()
    )
    return tuple(found[1] for found in asked if found and not any(distributions(name=found[1])))


@dataclass(frozen=True, slots=True)
class Plugin:
    """One installed distribution that offers itself to the hub, and what became of it.

    ``error`` says why it is not in use: it broke, or it may not be loaded. ``connectors`` are the names it registered.
    """

    name: str
    distribution: str
    version: str
    connectors: tuple[str, ...] = ()
    error: str = ""
    allowed: bool = True


# A plugin's answer to the hook ``choose_rate``.
ChooseRate = Callable[[Shipment, Sequence[Rate]], Rate | None]
# A plugin's answer to the hook ``allocate_order``.
Allocate = Callable[[Request, Sequence[Place]], Mapping[str, Mapping[str, int]] | None]


@dataclass(frozen=True, slots=True)
class Registry:
    """The connectors in use, by name, and every plugin that was found.

    ``allocators`` are the plugins that may deal orders out, by name, in the order in which they are asked;
    ``rate_choosers`` likewise those that may choose what a shipment is sent with.
    """

    connectors: Mapping[str, type[Connector]] = field(default_factory=lambda: MappingProxyType({}))
    plugins: tuple[Plugin, ...] = ()
    allocators: Mapping[str, Allocate] = field(default_factory=lambda: MappingProxyType({}))
    rate_choosers: Mapping[str, ChooseRate] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def packages(self) -> dict[str, str]:
        """The package that each connector lies in, by the connector's name."""
        return {name: each.__module__.partition(".")[0] for name, each in self.connectors.items()}

    def connector(self, name: str) -> type[Connector]:
        """The connector class ``name``. Raises BadInput when no loaded plugin registered it."""
        try:
            return self.connectors[name]
        except KeyError:
            raise BadInput(
                f"The connector “{name}” is not installed. Install its package, or see the connectors page."
            ) from None


def load(allowed: Iterable[str] = (), found: Iterable[EntryPoint] | None = None) -> Registry:
    """Load every plugin that may be loaded.

    ``allowed`` are distribution names the operator trusts, each optionally "name==version"; ``found`` replaces the
    installed entry points. A plugin that raises, hangs, ends its process, registers twice, registers what is no
    connector, or is not allowed is reported in ``Registry.plugins``; the others load.
    """
    allowed = {_normalized(entry) for entry in allowed}
    connectors: dict[str, type[Connector]] = {}
    plugins: list[Plugin] = []
    allocators: dict[str, Allocate] = {}
    choosers: dict[str, ChooseRate] = {}
    points = entry_points(group=ENTRY_POINT_GROUP) if found is None else found
    for point in sorted(points, key=lambda each: (each.dist.name if each.dist else "", each.name)):
        plugin, registered = _load_one(point, allowed, connectors)
        plugins.append(plugin)
        connectors.update(registered.connectors)
        if registered.allocate is not None:
            allocators[point.name] = registered.allocate
        if registered.choose_rate is not None:
            choosers[point.name] = registered.choose_rate
    return Registry(
        MappingProxyType(connectors), tuple(plugins), MappingProxyType(allocators), MappingProxyType(choosers)
    )


@dataclass(slots=True)
class _Registered:
    """What one plugin brings along."""

    connectors: dict[str, type[Connector]] = field(default_factory=dict)
    allocate: Allocate | None = None
    choose_rate: ChooseRate | None = None


def _load_one(point: EntryPoint, allowed: set[str], taken: Mapping[str, type[Connector]]) -> tuple[Plugin, _Registered]:
    distribution = _normalized(point.dist.name) if point.dist else point.name
    version = point.dist.version if point.dist else ""
    if not (distribution in BUILT_IN or {distribution, f"{distribution}=={version}"} & allowed):
        reason = (
            f"Not loaded: add {distribution} to TALLYHUB_PLUGINS if you trust it. A plugin runs with the hub's rights."
        )
        return Plugin(point.name, distribution, version, error=reason, allowed=False), _Registered()
    # What is not ours is tried out where it can neither hang nor end this process; only then is it believed.
    error = "" if distribution in BUILT_IN else _tried_out(point, taken)
    registered = _Registered()
    if not error:
        error = _registered(point, taken, registered)
    if error:
        return Plugin(point.name, distribution, version, error=error), _Registered()
    return Plugin(point.name, distribution, version, tuple(registered.connectors)), registered


def _registered(point: EntryPoint, taken: Mapping[str, type[Connector]], registered: _Registered) -> str:
    """Import a plugin and let it fill ``registered``; returns why that failed, "" when it did not."""
    try:
        # A manager of its own per plugin: what one of them does to pluggy's state cannot reach another.
        manager = pluggy.PluginManager("hub")
        manager.add_hookspecs(hookspecs)
        manager.register(point.load(), name=point.name)
        manager.check_pending()
        manager.hook.register_connectors(register=_registrar(registered.connectors, taken))
        if manager.hook.allocate_order.get_hookimpls():
            registered.allocate = lambda order, stock: manager.hook.allocate_order(order=order, stock=stock)
        if manager.hook.choose_rate.get_hookimpls():
            registered.choose_rate = lambda shipment, rates: manager.hook.choose_rate(shipment=shipment, rates=rates)
    except BaseException as error:  # a plugin may even call sys.exit at import
        if isinstance(error, KeyboardInterrupt):
            raise
        return in_words(error)
    return ""


def _tried_out(point: EntryPoint, taken: Mapping[str, type[Connector]]) -> str:
    """Import a plugin in a child process that is killed when it takes too long; returns why it cannot be used."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    heard, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setpgid(0, 0)
            faulthandler.disable()  # who starts the hub hears in one line that it crashed, and needs no stack of ours
            with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 (a pathlib could be somebody else's by now)
                os.dup2(nowhere.fileno(), 1)
                os.dup2(nowhere.fileno(), 2)
            os.write(told, b"." + _registered(point, taken, _Registered()).encode("utf-8", "replace")[:4000])
        except BaseException as error:
            os.write(told, b"." + in_words(error).encode("utf-8", "replace")[:4000])
        finally:
            os._exit(0)
    os.close(told)
    try:
        in_time = select.select([heard], (), (), IMPORT_SECONDS)[0]
        said = os.read(heard, 8192) if in_time else b""
    finally:
        os.close(heard)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)  # with whatever it has started
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    if said:
        return said[1:].decode("utf-8", "replace")
    if not in_time:
        return f"Importing it took longer than {IMPORT_SECONDS:g} seconds."
    code = os.waitstatus_to_exitcode(status)
    return "Importing it ended its process" + (f" ({signal.Signals(-code).name})." if code < 0 else ".")


def in_words(error: BaseException) -> str:
    """What an error of somebody else's code is and says, on one short line, even if it cannot be printed."""
    try:
        text = " ".join(str(error).split())
    except BaseException:
        text = "it cannot say what went wrong"
    return f"{type(error).__name__[:100]}{text and ': '}{text}"[:500]


def _registrar(
    registered: dict[str, type[Connector]], taken: Mapping[str, type[Connector]]
) -> Callable[[type[Connector]], None]:
    def register(connector: type[Connector]) -> None:
        if not (isinstance(connector, type) and issubclass(connector, Connector)):
            raise TypeError(f"{connector!r} is not a subclass of hub.Connector.")
        if abstract := sorted(connector.__abstractmethods__):
            raise TypeError(f"{connector.__name__} does not implement {', '.join(abstract)}.")
        name = getattr(connector, "name", None)
        if type(name) is not str or not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,39}", name):
            raise ValueError(f"{name!r} is not a connector name: lower-case letters, digits, - and _.")
        if name in taken or name in registered:
            raise ValueError(f"The connector name “{name}” is taken by another plugin.")
        for attribute, (fits, wanted) in _ATTRIBUTES.items():
            if not fits(getattr(connector, attribute, None)):
                raise TypeError(f"{connector.__name__}.{attribute} is not {wanted}.")
        registered[name] = connector

    return register


def _is_text(value: Any) -> bool:
    return type(value) is str and len(value) <= 2000


# What a connector says of itself, and is shown and relied upon without asking again.
_ATTRIBUTES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "label": (lambda value: _is_text(value) and bool(value.strip()), "a text"),
    "description": (_is_text, "a text"),
    "api_version": (_is_text, "a text"),
    "api_version_ends": (lambda value: value is None or type(value) is date, "a date or None"),
    "settings_schema": (lambda value: isinstance(value, type) and issubclass(value, Schema), "a marshmallow schema"),
    "capabilities": (
        lambda value: isinstance(value, Capabilities | CarrierCapabilities | ProviderCapabilities),
        "its kind's Capabilities",
    ),
    "effects": (
        lambda value: isinstance(value, Mapping) and all(type(each) is Settlement for each in value.values()),
        "a mapping of names to Settlement",
    ),
    "rate_budget": (
        lambda value: value is None or (isinstance(value, RateBudget) and value.per_second > 0 and value.burst > 0),
        "a RateBudget that allows something, or None",
    ),
    "authorization_schema": (
        lambda value: value is None or (isinstance(value, type) and issubclass(value, Schema)),
        "a marshmallow schema or None",
    ),
    "mappings": (
        lambda value: isinstance(value, Mapping) and all(type(each) is Vocabulary for each in value.values()),
        "a mapping of names to Vocabulary",
    ),
    "raw_days": (lambda value: value is None or (type(value) is int and value > 0), "a number of days or None"),
}


def _normalized(entry: str) -> str:
    name, separator, version = entry.strip().partition("==")
    return re.sub(r"[-_.]+", "-", name).lower() + separator + version
