"""Who may do what: permissions, the roles that carry them, and the question every act asks before it begins.

The pages say for whom they act (``acting_as``), for as long as a request lasts; the acts of the store ask
(``needs``, ``demand``). Workers, the command line and the hub itself act for nobody and may do everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from functools import wraps
from types import MappingProxyType
from typing import ParamSpec, TypeVar

from hub.errors import HubError

P = ParamSpec("P")
R = TypeVar("R")


class Permission(StrEnum):
    """What somebody may be allowed to do. Looking at things is one, too."""

    LOOK = "look"  # every page that only shows something
    ORDERS = "orders"  # hold, release, tag, correct an address, choose a location
    ISSUES = "issues"  # say that an issue is dealt with
    MONEY = "money"  # cancel an order, give money back
    PACK = "pack"  # pick, pack, buy labels, hand out
    STOCK = "stock"  # count, receive, transfer, adjust
    CATALOG = "catalog"  # match listings, make kits, set selling rules
    SYNC = "sync"  # fetch now, pause, replay, decide what is unclear, say what a vendor's words mean
    SETTINGS = "settings"  # how orders get stock, are routed and shipped; locations
    CONNECT = "connect"  # connect, reconnect, set live, remove
    PRIVACY = "privacy"  # what customers asked about their data
    PEOPLE = "people"  # who works here, and as what; the audit log


class Role(StrEnum):
    """What somebody is for a merchant."""

    OWNER = "owner"
    MANAGER = "manager"
    WAREHOUSE = "warehouse"
    SUPPORT = "support"
    READ_ONLY = "read_only"


GRANTS: Mapping[Role, frozenset[Permission]] = MappingProxyType(
    {
        Role.OWNER: frozenset(Permission),
        Role.MANAGER: frozenset(Permission) - {Permission.CONNECT, Permission.PRIVACY, Permission.PEOPLE},
        Role.WAREHOUSE: frozenset({Permission.LOOK, Permission.ISSUES, Permission.PACK, Permission.STOCK}),
        Role.SUPPORT: frozenset({Permission.LOOK, Permission.ISSUES, Permission.ORDERS, Permission.MONEY}),
        Role.READ_ONLY: frozenset({Permission.LOOK}),
    }
)

# What to ask for, where one may not do it oneself.
_DOING: Mapping[Permission, str] = MappingProxyType(
    {
        Permission.LOOK: "look at this",
        Permission.ORDERS: "change orders",
        Permission.ISSUES: "decide about issues",
        Permission.MONEY: "cancel orders and give money back",
        Permission.PACK: "pick, pack and ship",
        Permission.STOCK: "change stock",
        Permission.CATALOG: "match listings, make kits and set selling rules",
        Permission.SYNC: "decide how connections run",
        Permission.SETTINGS: "change settings",
        Permission.CONNECT: "connect shops and set them live",
        Permission.PRIVACY: "see what customers asked about their data",
        Permission.PEOPLE: "see and change who works here",
    }
)


class NotPermitted(HubError):
    """The person is known, and their role does not carry this; nothing was done."""


def grants(role: str) -> frozenset[Permission]:
    """What a role carries; nothing, where there is no such role."""
    return next((carried for known, carried in GRANTS.items() if known == role), frozenset())


# None: the hub itself. Never so within a request: there it is what the visitor may, which is nothing until they are
# known.
_allowed: ContextVar[frozenset[Permission] | None] = ContextVar("allowed", default=None)


@contextmanager
def acting_as(allowed: frozenset[Permission] | None) -> Iterator[None]:
    """Within the block everything is done for somebody who may do ``allowed``; None: for the hub itself."""
    before = _allowed.set(allowed)
    try:
        yield
    finally:
        _allowed.reset(before)


def begin(allowed: frozenset[Permission]) -> None:
    """From here on, in this request or thread, everything is done for somebody who may do ``allowed``."""
    _allowed.set(allowed)


def end() -> None:
    """The request is over; what its thread does next is nobody's doing."""
    _allowed.set(None)


def demand(permission: Permission) -> None:
    """Raise NotPermitted unless whoever is acting may do this."""
    allowed = _allowed.get()
    if allowed is not None and permission not in allowed:
        raise NotPermitted(
            f"Your role does not let you {_DOING[permission]}. Ask an owner: the settings list everybody who works "
            "here."
        )


def needs(permission: Permission) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """An act that asks for ``permission`` before it begins, whoever calls it. Its ``permission`` tells which."""

    def wrap(act: Callable[P, R]) -> Callable[P, R]:
        @wraps(act)
        def asked(*args: P.args, **kwargs: P.kwargs) -> R:
            demand(permission)
            return act(*args, **kwargs)

        asked.permission = permission  # type: ignore[attr-defined]
        return asked

    return wrap
