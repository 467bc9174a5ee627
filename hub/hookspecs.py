"""The hooks a plugin may implement, and the marker it does so with: ``@hub.hookimpl``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pluggy

from hub.connector import Connector
from hub.core.routing import Place, Request
from hub.core.shipping import Rate, Shipment

hookspec = pluggy.HookspecMarker("hub")
hookimpl = pluggy.HookimplMarker("hub")


@hookspec
def register_connectors(register: Callable[[type[Connector]], None]) -> None:
    """Call ``register(YourConnector)`` once for each connector class of the plugin."""


@hookspec(firstresult=True)
def allocate_order(order: Request, stock: Sequence[Place]) -> Mapping[str, Mapping[str, int]] | None:
    """Say which locations ship an order, instead of the merchant's routing policy: units by line, by location.

    ``order.lines`` are to be shipped; ``stock`` are the locations with what the order may take there by SKU. None
    leaves it to the next plugin, and at last to the policy. Everything has to be dealt out, none of it twice, and no
    more than there is; else the order is set aside and a person is told. Nothing may be changed, nobody called, and it
    has to be quick: stock is locked meanwhile.
    """


@hookspec(firstresult=True)
def choose_rate(shipment: Shipment, rates: Sequence[Rate]) -> Rate | None:
    """Say which of ``rates`` a shipment is sent with, instead of the merchant's shipping policy: one of them, as it is.

    ``rates`` are what all connected carriers offer. None leaves it to the next plugin, and at last to the policy.
    Whether it is bought by itself stays for the policy to say. Nothing may be changed, and nobody called.
    """
