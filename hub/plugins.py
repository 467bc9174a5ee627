"""Loading plugins: entry points of the group "hub", one by one, so that a broken one hurts only itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

import pluggy

from hub import hookspecs
from hub.connector import Connector
from hub.errors import BadInput

ENTRY_POINT_GROUP = "hub"

# These are ours. Anything else is imported only when the operator names its distribution in TALLYHUB_PLUGINS.
BUILT_IN = frozenset({"tallyhub-shopify", "tallyhub-woocommerce"})


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


@dataclass(frozen=True, slots=True)
class Registry:
    """The connectors in use, by name, and every plugin that was found."""

    connectors: Mapping[str, type[Connector]] = field(default_factory=lambda: MappingProxyType({}))
    plugins: tuple[Plugin, ...] = ()

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
    installed entry points. A plugin that raises, registers twice or is not allowed is reported in
    ``Registry.plugins``; the others load.
    """
    allowed = {_normalized(entry) for entry in allowed}
    connectors: dict[str, type[Connector]] = {}
    plugins: list[Plugin] = []
    points = entry_points(group=ENTRY_POINT_GROUP) if found is None else found
    for point in sorted(points, key=lambda each: (each.dist.name if each.dist else "", each.name)):
        plugin, registered = _load_one(point, allowed, connectors)
        plugins.append(plugin)
        connectors.update(registered)
    return Registry(MappingProxyType(connectors), tuple(plugins))


def _load_one(
    point: EntryPoint, allowed: set[str], taken: Mapping[str, type[Connector]]
) -> tuple[Plugin, dict[str, type[Connector]]]:
    distribution = _normalized(point.dist.name) if point.dist else point.name
    version = point.dist.version if point.dist else ""
    if not (distribution in BUILT_IN or {distribution, f"{distribution}=={version}"} & allowed):
        reason = (
            f"Not loaded: add {distribution} to TALLYHUB_PLUGINS if you trust it. A plugin runs with the hub's rights."
        )
        return Plugin(point.name, distribution, version, error=reason, allowed=False), {}
    registered: dict[str, type[Connector]] = {}
    try:
        # A manager of its own per plugin: what one of them does to pluggy's state cannot reach another.
        manager = pluggy.PluginManager("hub")
        manager.add_hookspecs(hookspecs)
        manager.register(point.load(), name=point.name)
        manager.check_pending()
        manager.hook.register_connectors(register=_registrar(registered, taken))
    except BaseException as error:  # a plugin may even call sys.exit at import
        if isinstance(error, KeyboardInterrupt):
            raise
        return Plugin(point.name, distribution, version, error=f"{type(error).__name__}: {error}"), {}
    return Plugin(point.name, distribution, version, tuple(registered)), registered


def _registrar(
    registered: dict[str, type[Connector]], taken: Mapping[str, type[Connector]]
) -> Callable[[type[Connector]], None]:
    def register(connector: type[Connector]) -> None:
        if not (isinstance(connector, type) and issubclass(connector, Connector)):
            raise TypeError(f"{connector!r} is not a subclass of hub.Connector.")
        if abstract := sorted(connector.__abstractmethods__):
            raise TypeError(f"{connector.__name__} does not implement {', '.join(abstract)}.")
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,39}", connector.name):
            raise ValueError(f"{connector.name!r} is not a connector name: lower-case letters, digits, - and _.")
        if connector.name in taken or connector.name in registered:
            raise ValueError(f"The connector name “{connector.name}” is taken by another plugin.")
        registered[connector.name] = connector

    return register


def _normalized(entry: str) -> str:
    name, separator, version = entry.strip().partition("==")
    return re.sub(r"[-_.]+", "-", name).lower() + separator + version
