"""Connections: the catalogue of connectors, connecting a shop and following its check, matching, going live."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import redis
import structlog
from flask import Blueprint, Response, flash, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import ngettext
from werkzeug.exceptions import NotFound

from hub import certificates
from hub.access import Permission
from hub.connector import Connector, Kind, RateBudget
from hub.errors import BadInput, Conflict, HubError
from hub.limits import Left, left, quick_client
from hub.plugins import in_words
from hub.store import connections as commands
from hub.store import effects, matching, tasks
from hub.store.database import Lanes
from hub.store.queries import catalogue as queries
from hub.store.queries import connections, importing, journal, previews, sync
from hub.web import forms, lists, streams
from hub.web.failures import existing
from hub.web.gate import hub, needs, needs_password, public_address, see_other, visitor
from hub.web.verdicts import last_success, verdict
from hub.web.waking import ring, wake

pages = Blueprint("connections", __name__)
log = structlog.get_logger()

_UNREADABLE = "unreadable_record"  # the kind of issue that tells of quarantined records


# ---------------------------------------------------------------- the catalogue and the connect form


@pages.get("/connectors")
def catalogue() -> str:
    """What can be connected, and every plugin that is not in use, with its reason."""
    with hub().database.read() as db:
        settings = queries.settings_by_connector(db, visitor().merchant_id)
        failures = queries.last_failures(db, visitor().merchant_id)
    registry = hub().registry
    graded = certificates.known(hub().settings.data_dir, registry.packages)
    rows = queries.listed(registry, graded, settings, failures, datetime.now(UTC).date())
    text, kind = lists.search_text(), lists.choice("kind", tuple(Kind))
    offered = [each for each in rows if each.state == "loaded"]
    sought = [
        each
        for each in offered
        if kind in ("", each.kind) and text.lower() in f"{each.label} {each.name} {each.description}".lower()
    ]
    return render_template(
        "connectors.html",
        connectors=sought,
        any_installed=bool(offered),
        text=text,
        kind=kind,
        refused=[each for each in rows if each.state != "loaded"],
    )


@pages.get("/connectors/<name>")
@needs(Permission.CONNECT)
@needs_password
def connect_form(name: str) -> str:
    return connect_page(known_connector(name), {}, {})


@pages.post("/connectors/<name>")
@needs(Permission.CONNECT)
@needs_password
def connect(name: str) -> Any:
    connector = known_connector(name)
    label = request.form.get("label", "")
    try:
        settings = _typed_settings(connector)
    except BadInput as error:
        return connect_page(connector, request.form, error.fields), 422
    with form_of(connector):
        connection_id, task_id = commands.connect(
            hub().database, hub().keyring, visitor().merchant_id, connector, label, settings, visitor().email
        )
    return follow_task(connection_id, task_id)


@pages.get("/connections/<uuid:connection_id>/reconnect")
@needs(Permission.CONNECT)
@needs_password
def reconnect_form(connection_id: UUID) -> str:
    return reconnect_page(summary(connection_id), None, {})


@pages.post("/connections/<uuid:connection_id>/reconnect")
@needs(Permission.CONNECT)
@needs_password
def reconnect(connection_id: UUID) -> Any:
    shop, connector = connector_of(connection_id)
    try:
        settings = _typed_settings(connector)
    except BadInput as error:
        return reconnect_page(shop, request.form, error.fields), 422
    with form_of(connector):
        task_id = commands.reconnect(
            hub().database, hub().keyring, visitor().merchant_id, connection_id, connector, settings, visitor().email
        )
    return follow_task(connection_id, task_id)


@pages.get("/connections/<uuid:connection_id>/tasks/<uuid:task_id>")
def follow(connection_id: UUID, task_id: UUID) -> str:
    """Long work as it goes: its line rings the page, which otherwise asks again every second until it is finished."""
    shop = summary(connection_id)
    with hub().database.read() as connection:
        task = existing(connections.task(connection, visitor().merchant_id, connection_id, task_id), _("task"))
        found = tasks.result(connection, hub().keyring, visitor().merchant_id, task_id)
    return render_template("task.html", shop=shop, task=task, found=found)


@pages.get("/connections/<uuid:connection_id>/tasks/<uuid:task_id>/line")
def line(connection_id: UUID, task_id: UUID) -> Response:
    """Rings when the task has gone on."""
    database, merchant_id = hub().database, visitor().merchant_id

    def look() -> str:
        with database.read() as connection:
            task = existing(connections.task(connection, merchant_id, connection_id, task_id), _("task"))
        return f"{task.state} {task.done} {task.total} {task.message}" if task.is_open else streams.OVER

    look()  # what is not there is told before a line is taken
    return streams.ring(look)


def follow_task(connection_id: UUID, task_id: UUID) -> Any:
    """Wake the worker that does a task just asked for, and lead to the page on which it is followed."""
    wake([connection_id], "fetch")
    return see_other(url_for("connections.follow", connection_id=connection_id, task_id=task_id))


def connector_of(connection_id: UUID) -> tuple[connections.ConnectionSummary, type[Connector]]:
    """A connection of the visitor's merchant, and the class of its connector. Raises NotFound, BadInput."""
    shop = summary(connection_id)
    return shop, hub().registry.connector(shop.connector)


def known_connector(name: str) -> type[Connector]:
    """The class of the connector with this name. Raises NotFound."""
    try:
        return hub().registry.connector(name)
    except BadInput as error:
        raise NotFound(str(error)) from error


def _typed_settings(connector: type[Connector]) -> dict[str, Any]:
    if len(request.form.get("label", "")) > 200:
        raise BadInput(_("The name is too long."), {"label": [_("Use at most 200 characters.")]})
    with form_of(connector):
        return forms.load(connector.settings_schema(), request.form)


@contextmanager
def form_of(connector: type[Connector]) -> Iterator[None]:
    """Around what a connector's own schema does: whatever it throws ends this page alone."""
    try:
        yield
    except (HubError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        log.error("form broken", connector=connector.name, exc_info=error)
        raise Conflict(
            _(
                "The connector %(label)s failed at its own form (%(in_words)s). Update its "
                "package, or tell its author. Everything else goes on.",
                label=connector.label,
                in_words=in_words(error),
            )
        ) from error


def connect_page(
    connector: type[Connector],
    form: Any,
    errors: forms.Messages,
    one_click: Any = None,
    one_click_errors: forms.Messages | None = None,
) -> str:
    """The page for connecting, with what was typed into one of its forms and what was wrong with it.

    ``one_click`` was typed into the form of those who connect with one click.
    """
    with form_of(connector):
        inputs = forms.fields(connector.settings_schema(), errors=errors)
        if form:
            inputs = forms.fields(connector.settings_schema(), forms.typed(form, inputs), errors)
    return render_template(
        "connect.html",
        connector=connector,
        documentation=_documentation(connector),
        shop=None,
        inputs=inputs,
        label=form.get("label", ""),
        errors=errors,
        action=url_for(".connect", name=connector.name),
        one_click=_one_click(connector, {}, one_click, one_click_errors or {}),
        one_click_label=(one_click or {}).get("label", ""),
        one_click_action=url_for("authorize.connect", name=connector.name),
        return_url=_return_url(connector),
        app_address=_app_address(connector),
    )


def reconnect_page(
    shop: connections.ConnectionSummary,
    form: Any,
    errors: forms.Messages,
    one_click: Any = None,
    one_click_errors: forms.Messages | None = None,
) -> str:
    """The page for reconnecting, as ``connect_page`` is for connecting."""
    connector = hub().registry.connector(shop.connector)
    with hub().database.read() as connection:
        kept = connections.connection_settings(connection, visitor().merchant_id, shop.id)
    values: Mapping[str, Any] = kept
    with form_of(connector):
        if form is not None:
            values = forms.typed(form, forms.fields(connector.settings_schema()))
        inputs = forms.fields(connector.settings_schema(), values, errors)
    return render_template(
        "connect.html",
        connector=connector,
        documentation=_documentation(connector),
        shop=shop,
        inputs=inputs,
        label=shop.label,
        errors=errors,
        action=url_for(".reconnect", connection_id=shop.id),
        one_click=_one_click(connector, kept, one_click, one_click_errors or {}),
        one_click_action=url_for("authorize.reconnect", connection_id=shop.id),
        return_url=_return_url(connector),
        app_address=_app_address(connector),
    )


@dataclass(frozen=True, slots=True)
class OneClick:
    """The form of those who connect with one click."""

    inputs: list[forms.Field]
    errors: forms.Messages


def _one_click(
    connector: type[Connector], kept: Mapping[str, Any], form: Any, errors: forms.Messages
) -> OneClick | None:
    """Drawn from the connector's own schema; None where the vendor has no such way."""
    schema = connector.authorization_schema
    if schema is None:
        return None
    with form_of(connector):
        values = kept if form is None else forms.typed(form, forms.fields(schema()))
        return OneClick(forms.fields(schema(), values, errors), errors)


def _documentation(connector: type[Connector]) -> str:
    plugin = next((each for each in hub().registry.plugins if connector.name in each.connectors), None)
    return "" if plugin is None else queries.documentation_of(plugin.distribution)


def _app_address(connector: type[Connector]) -> str:
    """Where the vendor sends the webhooks of a merchant's app to, "" where it has no such address."""
    if connector.webhook_account.__func__ is Connector.webhook_account.__func__:  # type: ignore[attr-defined]
        return ""
    return public_address(
        url_for("webhooks.receive_for_app", merchant_id=visitor().merchant_id, connector=connector.name)
    )


def _return_url(connector: type[Connector]) -> str:
    """Where the vendor sends the merchant back to, "" where nobody can reach this hub."""
    return public_address(url_for("authorize.come_back", name=connector.name))


# ---------------------------------------------------------------- the list, and one connection


@pages.get("/connections")
def index() -> str:
    with hub().database.read() as connection:
        shops = connections.connections(connection, visitor().merchant_id, removed=True)
    return render_template("connections.html", shops=shops, labels=_connector_labels())


@pages.get("/connections/<uuid:connection_id>")
def connection(connection_id: UUID) -> str:
    merchant_id = visitor().merchant_id
    with hub().database.read() as db:
        shop = existing(connections.connection_summary(db, merchant_id, connection_id), _("connection"))
        issues = journal.issues(db, merchant_id, connection_id=connection_id)
        unreadable = any(each.kind == _UNREADABLE for each in issues)
        read = connections.streams(db, merchant_id, connection_id)
        removed = shop.state == "removed"
        return render_template(
            "connection.html",
            shop=shop,
            verdict=None if removed else verdict(shop, datetime.now(UTC), is_channel=is_channel(shop)),
            heard=last_success(shop, read),
            connector=hub().registry.connectors.get(shop.connector),
            is_channel=is_channel(shop),
            preview=previews.latest(db, merchant_id, connection_id),
            streams=read,
            progress=importing.progress(db, merchant_id, connection_id),
            left=budget_left(connection_id, hub().registry.connectors.get(shop.connector)),
            subscriptions=sync.subscriptions(db, merchant_id, connection_id),
            tasks=connections.latest_tasks(db, merchant_id, connection_id),
            uncounted=connections.uncounted(db, merchant_id, connection_id),
            issues=issues,
            unreadable=unreadable,
            undecided=connections.undecided(db, merchant_id, connection_id),
            activity=journal.activity(db, merchant_id, connection_id=connection_id, limit=8),
        )


@pages.get("/connections/<uuid:connection_id>/listings")
def listings(connection_id: UUID) -> str:
    return _listings_page(connection_id, None, {}, "")


@pages.get("/connections/<uuid:connection_id>/settings")
def settings(connection_id: UUID) -> str:
    """How the connection was set up, and what ends it or lets it rest."""
    shop = summary(connection_id)
    connector = hub().registry.connectors.get(shop.connector)
    with hub().database.read() as db:
        kept = connections.connection_settings(db, visitor().merchant_id, connection_id)
    inputs: list[forms.Field] = []
    if connector is not None:
        with form_of(connector):
            inputs = forms.fields(connector.settings_schema(), kept)
    return render_template("connection_settings.html", shop=shop, connector=connector, inputs=inputs, kept=kept)


@pages.get("/connections/<uuid:connection_id>/remove")
@needs(Permission.CONNECT)
def remove_form(connection_id: UUID) -> str:
    shop = summary(connection_id)
    with hub().database.read() as db:
        removal = connections.removal(db, visitor().merchant_id, connection_id)
    connector = hub().registry.connectors.get(shop.connector)
    return render_template(
        "remove.html",
        shop=shop,
        removal=removal,
        most=connections.MOST_COUNTED,
        connector=connector,
        is_channel=is_channel(shop),
    )


# ---------------------------------------------------------------- what a person does with a connection


@pages.post("/connections/<uuid:connection_id>/suggestions")
@needs(Permission.CATALOG)
def accept_suggestions(connection_id: UUID) -> Any:
    """Match every listing of the shop of which it is sure what it sells."""
    shop = summary(connection_id)
    act = matching.accept_suggestions(hub().database, visitor().merchant_id, connection_id, None, visitor().email)
    wake([connection_id], "publish")
    flash(
        ngettext(
            "%(matched)s listing of %(label)s matched.",
            "%(matched)s listings of %(label)s matched.",
            act.matched,
            matched=act.matched,
            label=shop.label,
        ),
        "success",
    )
    return see_other(_back(connection_id))


@pages.post("/connections/<uuid:connection_id>/listings/<uuid:listing_id>/bind")
@needs(Permission.CATALOG)
def bind(connection_id: UUID, listing_id: UUID) -> Any:
    listing = _listing(connection_id, listing_id)
    code = request.form.get("sku", "")
    try:
        matching.bind(hub().database, visitor().merchant_id, listing_id, code, visitor().email)
    except BadInput as error:
        return _listings_page(connection_id, listing_id, error.fields, code), 422
    wake([connection_id], "publish")
    flash(_("“%(title)s” is matched to SKU %(name)s.", title=listing.title, name=code.strip()), "success")
    return see_other(_back(connection_id))


@pages.post("/connections/<uuid:connection_id>/listings/<uuid:listing_id>/unbind")
@needs(Permission.CATALOG)
def unbind(connection_id: UUID, listing_id: UUID) -> Any:
    listing = _listing(connection_id, listing_id)
    matching.unbind(hub().database, visitor().merchant_id, listing_id, visitor().email)
    flash(_("“%(title)s” is not matched any more.", title=listing.title), "success")
    return see_other(_back(connection_id))


@pages.post("/connections/<uuid:connection_id>/locations")
@needs(Permission.SYNC)
def bind_location(connection_id: UUID) -> Any:
    summary(connection_id)
    touched = commands.bind_location(
        hub().database,
        visitor().merchant_id,
        connection_id,
        request.form.get("external_id", "")[:200],
        forms.optional_identity("location_id"),
        visitor().email,
    )
    wake(touched, "publish")
    flash(_("The location is set."), "success")
    return see_other(url_for("words.mappings", connection_id=connection_id))


@pages.post("/connections/<uuid:connection_id>/pool")
@needs(Permission.SYNC)
def pool_locations(connection_id: UUID) -> Any:
    """Say from which of our locations a channel's location sells, one or several of them."""
    summary(connection_id)
    chosen = set(forms.identities("source"))
    touched = commands.pool_locations(
        hub().database,
        visitor().merchant_id,
        connection_id,
        request.form.get("external_id", "")[:200],
        chosen,
        visitor().email,
    )
    wake(touched, "publish")
    flash(_("It sells from these locations now."), "success")
    return see_other(url_for("words.mappings", connection_id=connection_id))


@pages.post("/connections/<uuid:connection_id>/adopt")
@needs(Permission.STOCK)
def adopt(connection_id: UUID) -> Any:
    summary(connection_id)
    task_id = commands.adopt_stock(hub().database, visitor().merchant_id, connection_id, visitor().email)
    return follow_task(connection_id, task_id)


@pages.post("/connections/<uuid:connection_id>/pause")
@needs(Permission.SYNC)
def pause(connection_id: UUID) -> Any:
    shop = summary(connection_id)
    why = request.form.get("why", "")
    commands.pause(hub().database, visitor().merchant_id, connection_id, visitor().email, why)
    flash(_("%(label)s is paused. What it sends is still kept.", label=shop.label), "success")
    return see_other(url_for(".connection", connection_id=connection_id))


@pages.post("/connections/<uuid:connection_id>/resume")
@needs(Permission.SYNC)
def resume(connection_id: UUID) -> Any:
    shop = summary(connection_id)
    commands.resume(hub().database, visitor().merchant_id, connection_id, visitor().email)
    wake([connection_id], "fetch", "publish")
    flash(_("%(label)s goes on where it stopped.", label=shop.label), "success")
    return see_other(url_for(".connection", connection_id=connection_id))


@pages.post("/connections/<uuid:connection_id>/sync", endpoint="sync")
@needs(Permission.SYNC)
def sync_now(connection_id: UUID) -> Any:
    shop = summary(connection_id)
    commands.sync_now(hub().database, visitor().merchant_id, connection_id, visitor().email)
    wake([connection_id], "fetch", "publish")
    flash(_("Synchronizing %(label)s now.", label=shop.label), "success")
    return see_other(url_for(".connection", connection_id=connection_id))


@pages.post("/connections/<uuid:connection_id>/effects/<uuid:effect_id>")
@needs(Permission.SYNC)
def decide(connection_id: UUID, effect_id: UUID) -> Any:
    """What a person decides about something of which it is unclear whether it was done, or that failed."""
    merchant_id, who = visitor().merchant_id, visitor().email
    summary(connection_id)
    with hub().database.read() as db:
        if effect_id not in {each.id for each in connections.undecided(db, merchant_id, connection_id)}:
            raise NotFound(_("Nothing is to be decided here any more."))
    lanes: Lanes = []
    match request.form.get("decision"):
        case "retry":
            effects.retry(hub().database, merchant_id, effect_id, who)
            flash(_("It is tried again."), "success")
        case "done":
            lanes = effects.mark_succeeded(hub().database, merchant_id, effect_id, who)
            flash(_("Noted: it was done."), "success")
        case "cancel":
            lanes = effects.cancel(hub().database, merchant_id, effect_id, who)
            flash(_("Noted: it is not done, and not tried again."), "success")
        case _:
            raise BadInput(_("Choose what is to be done about it."))
    ring([(connection_id, "effects"), *lanes])
    return see_other(url_for(".connection", connection_id=connection_id))


@pages.post("/connections/<uuid:connection_id>/remove")
@needs(Permission.CONNECT)
@needs_password
def remove(connection_id: UUID) -> Any:
    shop = summary(connection_id)
    connector = hub().registry.connectors.get(shop.connector)
    with form_of(connector) if connector is not None else nullcontext():
        commands.remove(
            hub().database,
            visitor().merchant_id,
            connection_id,
            visitor().email,
            keyring=hub().keyring,
            connector=connector,
        )
    flash(_("%(label)s is removed. Its orders and its history stay.", label=shop.label), "success")
    return see_other(url_for(".index"))


# ---------------------------------------------------------------- what is inside


def summary(connection_id: UUID) -> connections.ConnectionSummary:
    """A connection of the visitor's merchant. Raises NotFound."""
    with hub().database.read() as db:
        return existing(connections.connection_summary(db, visitor().merchant_id, connection_id), _("connection"))


def _listing(connection_id: UUID, listing_id: UUID) -> connections.ListingView:
    with hub().database.read() as db:
        listing = connections.listing(db, visitor().merchant_id, listing_id)
    return existing(listing if listing and listing.connection_id == connection_id else None, _("listing"))


def _listings_page(connection_id: UUID, wrong: UUID | None, errors: forms.Messages, code: str) -> str:
    shop = summary(connection_id)
    show = lists.choice("show", ("all", "matched", "unmatched", "untracked"), "unmatched" if shop.unmatched else "all")
    text = lists.search_text()
    with hub().database.read() as db:
        rows = connections.listings(
            db,
            visitor().merchant_id,
            connection_id,
            show=show,
            text=text,
            after=lists.read_text_mark(),
            limit=lists.ONE_MORE,
        )
    return render_template(
        "listings.html",
        shop=shop,
        page=lists.listed(rows, lambda row: lists.text_mark(row.title, row.id), parameter="after"),
        show=show,
        text=text,
        wrong=wrong,
        errors=errors,
        code=code,
    )


def budget_left(connection_id: UUID, connector: type[Connector] | None) -> Left | None:
    """What is left of the rate budget of a connection; None where it has none, or nobody knows."""
    budget = connector.rate_budget if connector else None
    return None if budget is None else units_left(str(connection_id), budget)


def units_left(key: str, budget: RateBudget) -> Left | None:
    """What is left of a rate budget; None where it is not shared, or Redis is away."""
    address = hub().settings.redis_url
    if address is None:
        return None
    client = quick_client(address)
    try:
        return left(client, key, budget)
    except redis.RedisError:
        return None
    finally:
        client.close()


@dataclass(frozen=True, slots=True)
class Tab:
    """One of the pages of a connection. ``count``: so much waits there."""

    label: str
    address: str
    is_here: bool
    count: int = 0


@pages.app_context_processor
def _tabs() -> dict[str, Any]:
    return {"connection_tabs": tabs_of}


def tabs_of(shop: connections.ConnectionSummary) -> list[Tab]:
    """The pages of a connection, as far as one of its kind has them."""
    connector = hub().registry.connectors.get(shop.connector)
    kind = connector.kind if connector is not None else Kind.CHANNEL
    works = shop.state in ("connected", "paused")
    mapped = kind is not Kind.CARRIER or (connector is not None and bool(connector.mappings or connector.file_kinds))
    offered: list[tuple[bool, Any, str, tuple[str, ...], int]] = [
        (True, _("Overview"), "connections.connection", (), 0),
        (works, _("Health"), "sync.health", (), 0),
        (kind is Kind.PROVIDER and works, _("Orders and stock there"), "providers.warehouse", (), 0),
        (kind is Kind.CHANNEL, _("Listings"), "connections.listings", ("sync.listing",), shop.unmatched),
        (mapped and shop.state != "removed", _("Mappings"), "words.mappings", ("columns.columns",), 0),
        (shop.state != "removed", _("Requests"), "exchanges.index", ("exchanges.exchange",), 0),
        (kind is Kind.CHANNEL and works, _("Replay"), "sync.replays", (), 0),
        (True, _("Activity"), "journal.of_connection", (), 0),
        (shop.state != "removed", _("Settings"), "connections.settings", ("connections.remove_form",), 0),
    ]
    return [
        Tab(label, url_for(endpoint, connection_id=shop.id), request.endpoint in (endpoint, *also), count)
        for is_there, label, endpoint, also, count in offered
        if is_there
    ]


def is_channel(shop: connections.ConnectionSummary) -> bool:
    """Whether there are listings to match and stock to write: so it is unless the connector says otherwise."""
    connector = hub().registry.connectors.get(shop.connector)
    return connector is None or connector.kind is Kind.CHANNEL


def _connector_labels() -> Mapping[str, str]:
    return {name: each.label for name, each in hub().registry.connectors.items()}


def _back(connection_id: UUID) -> str:
    """Where the button was pressed: on the list of listings, or on the connection's page."""
    if request.form.get("from") == "listings":
        return url_for(".listings", connection_id=connection_id, show=request.form.get("show") or None)
    return url_for(".connection", connection_id=connection_id)
