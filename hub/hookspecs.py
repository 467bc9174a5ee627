"""The hooks a plugin may implement, and the marker it does so with: ``@hub.hookimpl``."""

from __future__ import annotations

from collections.abc import Callable

import pluggy

from hub.connector import Connector

hookspec = pluggy.HookspecMarker("hub")
hookimpl = pluggy.HookimplMarker("hub")


@hookspec
def register_connectors(register: Callable[[type[Connector]], None]) -> None:
    """Call ``register(YourConnector)`` once for each connector class of the plugin."""
