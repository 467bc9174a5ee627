"""Every installed plugin: what it brings and talks to, how good it was found to be, and where it failed last."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from importlib.metadata import PackageNotFoundError, metadata
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, select

from hub.certificates import Certificate
from hub.connector import Connector
from hub.plugins import Plugin, Registry
from hub.store import tables as t

ENDS_SOON = timedelta(days=90)
# Issues that are about a connector or its vendor; all others are about what a merchant has in the shop.
_FAILURES = (
    "connector_broke_down",
    "effect",
    "fetch_refused",
    "reconnect",
    "unreachable",
    "unreadable_record",
    "webhooks_not_checked",
)
_ELSEWHERE = "the host in its settings"  # of a connector for shops that each have their own


@dataclass(frozen=True, slots=True)
class Failure:
    """The last time something went wrong with a connector, and on which connection."""

    at: datetime
    connection_label: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A connector, or a plugin that brought none: ``state`` is loaded, refused (not allowed) or broken.

    Of a refused one nothing but its metadata is known, because it was not imported. ``error`` says why it is not in
    use, ``warning`` what will happen soon. ``grade`` is "" where nobody has certified it.
    """

    name: str
    label: str = ""
    description: str = ""
    kind: str = ""
    plugin: str
    version: str
    state: str
    error: str = ""
    hosts: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    api_version: str = ""
    api_version_ends: date | None = None
    warning: str = ""
    grade: str = ""
    graded_version: str = ""  # of the plugin, when it was graded
    graded_by_author: bool = False  # the plugin brings its grade along; it was not tried here
    last_failure: Failure | None = None
    documentation: str = ""  # where its author explains it


def documentation_of(distribution: str) -> str:
    """Where the author of a plugin explains it, as its package says; "" where it does not."""
    try:
        told = metadata(distribution).get_all("Project-URL") or []
    except PackageNotFoundError:
        return ""
    addresses = {name.strip().lower(): address.strip() for name, _, address in (each.partition(",") for each in told)}
    return addresses.get("documentation") or addresses.get("homepage") or ""


def listed(
    registry: Registry,
    certificates: Mapping[str, Certificate],
    settings: Mapping[str, Sequence[Mapping[str, Any]]],
    failures: Mapping[str, Failure],
    today: date,
) -> list[Listed]:
    """Everything that is installed, by name; ``settings`` are those of the connections by connector."""
    found = []
    for plugin in registry.plugins:
        for name in plugin.connectors:
            connector = registry.connectors[name]
            found.append(
                _loaded(connector, plugin, certificates.get(name), settings.get(name, ()), failures.get(name), today)
            )
        if plugin.error:
            state = "broken" if plugin.allowed else "refused"
            found.append(
                Listed(
                    name=plugin.name,
                    plugin=plugin.distribution,
                    version=plugin.version,
                    state=state,
                    error=plugin.error,
                    last_failure=failures.get(plugin.name),
                )
            )
    return sorted(found, key=lambda each: (each.state != "loaded", each.name))


def _loaded(
    connector: type[Connector],
    plugin: Plugin,
    certificate: Certificate | None,
    settings: Sequence[Mapping[str, Any]],
    failure: Failure | None,
    today: date,
) -> Listed:
    can = _abilities(connector)
    return Listed(
        name=connector.name,
        label=connector.label,
        description=connector.description,
        kind=str(connector.kind),
        plugin=plugin.distribution,
        version=plugin.version,
        state="loaded",
        hosts=_hosts(connector, settings),
        capabilities=(*can, *(each.replace("_", " ") for each in sorted(connector.effects))),
        api_version=connector.api_version,
        api_version_ends=connector.api_version_ends,
        warning=_ending(connector, today),
        grade=certificate.grade if certificate else "",
        graded_version=certificate.versions.get(plugin.distribution, "") if certificate else "",
        graded_by_author=certificate is not None and certificate.brought,
        last_failure=failure,
        documentation=documentation_of(plugin.distribution),
    )


def _hosts(connector: type[Connector], settings: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    hosts: set[str] = set()
    for each in settings or ({},):
        try:
            hosts |= {str(host)[:200] for host in connector.hosts(each)}
        except Exception:  # settings without the secrets, or none at all, need not be enough
            hosts.add(_ELSEWHERE)
    return tuple(sorted(hosts - {""}))


def _abilities(connector: type[Connector]) -> list[str]:
    """What the connector says it can do, as people read it."""
    given = connector.capabilities
    can = [
        each.name.replace("_", " ")
        for each in dataclasses.fields(given)
        if getattr(given, each.name) is True and each.name != "webhooks_signed"
    ]
    if given.webhooks and not given.webhooks_signed:
        can[can.index("webhooks")] = "unsigned webhooks"
    if getattr(given, "message_poll_seconds", None) is not None:
        can.append("messages in a queue")
    return can


def _ending(connector: type[Connector], today: date) -> str:
    ends = connector.api_version_ends
    if ends is None or ends - today > ENDS_SOON:
        return ""
    if ends <= today:
        return f"Its vendor has not served API version {connector.api_version} since {ends}. Update the package."
    return f"Its vendor serves API version {connector.api_version} until {ends}. Update the package before."


def settings_by_connector(
    connection: Connection, merchant_id: UUID | None = None
) -> dict[str, list[Mapping[str, Any]]]:
    """The settings, without secrets, of a merchant's connections; of all merchants for the operator (None)."""
    shop = t.connection.c
    query = select(shop.connector, shop.settings).where(shop.state != "removed")
    if merchant_id is not None:
        query = query.where(shop.merchant_id == merchant_id)
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in connection.execute(query):
        found.setdefault(row.connector, []).append(row.settings)
    return found


def last_failures(connection: Connection, merchant_id: UUID | None = None) -> dict[str, Failure]:
    """The latest failure of each connector at a merchant's connections; at all merchants' for the operator (None)."""
    issue, shop = t.issue.c, t.connection.c
    query = (
        select(shop.connector, issue.last_seen_at, shop.label, issue.title)
        .join(t.connection, (shop.merchant_id == issue.merchant_id) & (shop.id == issue.connection_id))
        .where(issue.kind.in_(_FAILURES))
        .order_by(issue.last_seen_at)
    )
    if merchant_id is not None:
        query = query.where(issue.merchant_id == merchant_id)
    return {row.connector: Failure(row.last_seen_at, row.label, row.title) for row in connection.execute(query)}
