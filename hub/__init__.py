"""Tallyhub's public API for connector authors: ``import hub`` and nothing else.

Every name is loaded when it is first used, so that a program which needs only the core loads neither an HTTP client nor
a web framework.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hub.connector import Capabilities as Capabilities
    from hub.connector import Connector as Connector
    from hub.connector import Context as Context
    from hub.connector import Delivery as Delivery
    from hub.connector import EffectResult as EffectResult
    from hub.connector import Fact as Fact
    from hub.connector import ListingRemoved as ListingRemoved
    from hub.connector import OrderRemoved as OrderRemoved
    from hub.connector import Page as Page
    from hub.connector import PushOutcome as PushOutcome
    from hub.connector import PushState as PushState
    from hub.connector import RateBudget as RateBudget
    from hub.connector import RawRecord as RawRecord
    from hub.connector import Refetch as Refetch
    from hub.connector import SalesChannel as SalesChannel
    from hub.connector import Settlement as Settlement
    from hub.connector import StockPush as StockPush
    from hub.connector import StockRef as StockRef
    from hub.connector import StockSeen as StockSeen
    from hub.connector import Token as Token
    from hub.connector import TokenVault as TokenVault
    from hub.connector import Webhook as Webhook
    from hub.core.model import Account as Account
    from hub.core.model import Address as Address
    from hub.core.model import ChannelLocation as ChannelLocation
    from hub.core.model import Listing as Listing
    from hub.core.model import ListingLevel as ListingLevel
    from hub.core.model import Money as Money
    from hub.core.model import Order as Order
    from hub.core.model import OrderLine as OrderLine
    from hub.core.model import OrderStatus as OrderStatus
    from hub.core.model import Refund as Refund
    from hub.errors import AuthError as AuthError
    from hub.errors import ConnectorError as ConnectorError
    from hub.errors import NotFound as NotFound
    from hub.errors import RateLimited as RateLimited
    from hub.errors import Rejected as Rejected
    from hub.errors import Unavailable as Unavailable
    from hub.errors import Unreadable as Unreadable
    from hub.errors import Unverified as Unverified
    from hub.hookspecs import hookimpl as hookimpl
    from hub.http import Client as Client
    from hub.http import Response as Response
    from hub.translation import DecimalNumber as DecimalNumber
    from hub.translation import Identifier as Identifier
    from hub.translation import Text as Text
    from hub.translation import Translation as Translation
    from hub.translation import UtcMoment as UtcMoment
    from hub.translation import WholeNumber as WholeNumber
    from hub.translation import load_json as load_json

_NAMES = {
    "hub.connector": (
        "Capabilities Connector Context Delivery EffectResult Fact ListingRemoved OrderRemoved Page PushOutcome"
        " PushState RateBudget RawRecord Refetch SalesChannel Settlement StockPush StockRef StockSeen Token TokenVault"
        " Webhook"
    ),
    "hub.core.model": "Account Address ChannelLocation Listing ListingLevel Money Order OrderLine OrderStatus Refund",
    "hub.errors": "AuthError ConnectorError NotFound RateLimited Rejected Unavailable Unreadable Unverified",
    "hub.hookspecs": "hookimpl",
    "hub.http": "Client Response",
    "hub.translation": "DecimalNumber Identifier Text Translation UtcMoment WholeNumber load_json",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'hub' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
