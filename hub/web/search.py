"""The palette: what was typed, found among orders, parcels, SKUs, connections, pages and things to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from flask import Blueprint, render_template, url_for
from flask_babel import gettext as _
from sqlalchemy import Connection

from hub.store.queries import finding
from hub.web import lists, navigation
from hub.web.gate import hub, visitor

pages = Blueprint("search", __name__)

_SHOWN = 6  # of each kind


@dataclass(frozen=True, slots=True)
class Hit:
    """One line: where it leads, or ``press``, the control of the page that it works. ``more`` tells it from others."""

    label: str
    icon: str
    address: str = ""
    more: str = ""
    press: str = ""
    words: str = ""  # what it may be found by beside its label
    exact: bool = False  # it is called just so


@dataclass(frozen=True, slots=True)
class Group:
    """Hits of one kind."""

    name: str
    hits: Sequence[Hit]


@pages.get("/search")
def found() -> str:
    """A part of a page: the palette asks while somebody types."""
    text = lists.search_text()
    groups = [*_rows(text), Group(_("Actions"), _told(_errands(), text)), Group(_("Pages"), _told(_pages(), text))]
    return render_template("parts/found.html", groups=[each for each in groups if each.hits], text=text)


def _rows(text: str) -> Iterable[Group]:
    if not text:
        return
    with hub().database.read() as connection:
        kept = list(_kept(connection, text))
    yield from sorted(kept, key=lambda group: not any(hit.exact for hit in group.hits))


def _kept(connection: Connection, text: str) -> Iterable[Group]:
    merchant_id = visitor().merchant_id
    orders = [
        Hit(
            _("Order %(number)s", number=row.number),
            "shopping-cart",
            url_for("orders.order", order_id=row.id),
            " · ".join(filter(None, (row.customer_name, row.connection_label))),
            exact=row.number.lstrip("#").casefold() == text.lstrip("#").casefold(),
        )
        for row in finding.orders(connection, merchant_id, text, limit=_SHOWN)
    ]
    yield Group(_("Orders"), orders)
    parcels = [
        Hit(
            row.tracking_number,
            "truck-delivery",
            url_for("shipments.shipment", shipment_id=row.shipment_id),
            _("parcel of order %(number)s", number=row.order_number),
            exact=True,
        )
        for row in finding.parcels(connection, merchant_id, text, limit=_SHOWN)
    ]
    yield Group(_("Parcels"), parcels)
    skus = [
        Hit(
            row.code,
            "packages",
            url_for("stock.sku", sku_id=row.id),
            row.title,
            exact=row.code.casefold() == text.casefold(),
        )
        for row in finding.skus(connection, merchant_id, text, limit=_SHOWN)
    ]
    yield Group(_("SKUs"), skus)
    shops = [
        Hit(row.label, "plug-connected", url_for("connections.connection", connection_id=row.id))
        for row in finding.connections(connection, merchant_id, text, limit=_SHOWN)
    ]
    yield Group(_("Connections"), shops)


def _errands() -> Iterable[Hit]:
    for each in navigation.errands():
        yield Hit(str(each.label), each.icon, each.address, words=str(each.words))
    yield Hit(_("Use light colors"), "sun", press="#theme-light", words=_("theme"))
    yield Hit(_("Use dark colors"), "moon", press="#theme-dark", words=_("theme"))
    yield Hit(_("Use the colors of the system"), "device-desktop", press="#theme-system", words=_("theme"))
    yield Hit(_("Keyboard shortcuts"), "keyboard", press="[data-keys]", words=_("help keys"))
    yield Hit(_("Sign out"), "logout", press="#sign-out", words=_("log off"))


def _pages() -> Iterable[Hit]:
    for section, tab in navigation.pages():
        name = str(section.label)
        yield Hit(str(tab.label), section.icon, tab.address, more="" if str(tab.label) == name else name, words=name)


def _told(hits: Iterable[Hit], text: str) -> list[Hit]:
    """Those of which every word that was typed begins a word."""
    wanted = text.casefold().split()

    def fits(hit: Hit) -> bool:
        known = f"{hit.label} {hit.words}".casefold().split()
        return all(any(word.startswith(each) for word in known) for each in wanted)

    return [hit for hit in hits if fits(hit)]
