"""Where everything is: the sections of the side bar, the pages of each as tabs or as a menu, and the keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from flask import current_app, g, request, url_for
from flask_babel import lazy_gettext as _

from hub.access import Permission
from hub.web.gate import visitor


@dataclass(frozen=True, slots=True)
class Tab:
    """A page of a section. ``also``: pages below it, which show this tab as the one they belong to. ``group``: the
    heading it stands under, in a section that has too many pages for a row."""

    endpoint: str
    label: str
    also: tuple[str, ...] = ()
    group: str = ""

    @property
    def address(self) -> str:
        return url_for(self.endpoint)

    @property
    def is_here(self) -> bool:
        return request.endpoint == self.endpoint or request.endpoint in self.also


@dataclass(frozen=True, slots=True)
class Section:
    """A line of the side bar; its first tab is where it leads. ``key`` follows "g".

    ``rooms`` are the blueprints whose pages are in it, where no tab of any section names them.
    """

    label: str
    icon: str
    key: str
    tabs: tuple[Tab, ...]
    rooms: tuple[str, ...]

    @property
    def address(self) -> str:
        return self.tabs[0].address

    @property
    def offered(self) -> list[Tab]:
        """The tabs whose pages the visitor may see."""
        return [tab for tab in self.tabs if may_see(tab.endpoint)]

    @property
    def groups(self) -> list[tuple[str, list[Tab]]]:
        """What is offered, under its headings; empty in a section whose pages fit into a row."""
        grouped = groupby((tab for tab in self.offered if tab.group), key=lambda tab: tab.group)
        return [(heading, list(tabs)) for heading, tabs in grouped]

    @property
    def open_tab(self) -> Tab | None:
        """The tab of the page that is shown."""
        return next((tab for tab in self.tabs if tab.is_here), None)


# What the settings are about.
_BUSINESS = _("Your business")
_ORDERS = _("Orders and stock")
_SHIPPING = _("Warehouse and shipping")
_ACCOUNT = _("Your account")

SECTIONS = (
    Section(_("Today"), "home", "t", (Tab("home.home", _("Today")),), ("home",)),
    Section(
        _("Orders"),
        "shopping-cart",
        "o",
        (Tab("orders.index", _("Orders")),),
        ("orders", "order_acts", "bulk", "handling", "explain"),
    ),
    Section(
        _("Shipments"),
        "truck-delivery",
        "h",
        (
            Tab("packing.index", _("To pack"), ("packing.order", "packing.pick", "packing.find", "packing.finish")),
            Tab("shipments.index", _("Shipments"), ("shipments.shipment", "shipments.act")),
            Tab("collecting.index", _("To collect"), ("collecting.order", "collecting.find", "collecting.hand_out")),
            Tab("shipments.manifest", _("Manifest")),
        ),
        ("shipments", "packing", "collecting"),
    ),
    Section(
        _("Stock"),
        "packages",
        "s",
        (
            Tab(
                "stock.index",
                _("Levels"),
                ("stock.sku", "stock.kit_form", "stock.define_kit", "stock.adjust", "explain.stock"),
            ),
            Tab(
                "warehouse.index",
                _("Documents"),
                (
                    *("warehouse.document", "warehouse.arrive", "warehouse.close"),
                    *("warehouse.receive_form", "warehouse.receive", "warehouse.count_form", "warehouse.count"),
                    *("warehouse.transfer_form", "warehouse.transfer"),
                ),
            ),
            Tab(
                "stock_import.index", _("Import"), ("stock_import.show", "stock_import.hand_in", "stock_import.choose")
            ),
            Tab("selling.index", _("Selling rules"), ("selling.save",)),
        ),
        ("stock", "warehouse", "stock_import", "selling"),
    ),
    Section(
        _("Listings"),
        "link",
        "l",
        (Tab("matching.index", _("To match"), ("matching.decide",)),),
        ("matching",),
    ),
    Section(
        _("Connections"),
        "plug-connected",
        "c",
        (
            Tab("connections.index", _("Connections")),
            Tab(
                "connections.catalogue",
                _("Catalogue"),
                ("connections.connect_form", "connections.connect", "authorize.begin", "authorize.come_back"),
            ),
        ),
        ("connections", "going_live", "sync", "importing", "exchanges", "words", "columns", "providers", "authorize"),
    ),
    Section(_("Issues"), "flag", "i", (Tab("journal.issues", _("Issues")),), ()),
    Section(_("Activity"), "history", "a", (Tab("journal.activity", _("Activity")),), ("journal",)),
    Section(
        _("Settings"),
        "settings",
        "e",
        (
            Tab("settings.settings", _("Business"), ("settings.save", "settings.create_merchant"), _BUSINESS),
            Tab("people.index", _("People"), ("people.invite", "people.change"), _BUSINESS),
            Tab("settings.email", _("E-mail"), (), _BUSINESS),
            Tab("audit.index", _("Audit log"), (), _BUSINESS),
            Tab("privacy.index", _("Personal data"), ("privacy.wish",), _BUSINESS),
            Tab("settings.stock_policy", _("Stock policy"), ("settings.save_policy",), _ORDERS),
            Tab("routing.index", _("Routing"), ("routing.change",), _ORDERS),
            Tab("handling.rules", _("Order rules"), ("handling.save_rules",), _ORDERS),
            Tab(
                "locations.index", _("Locations"), ("locations.location", "locations.add", "locations.save"), _SHIPPING
            ),
            Tab("packing.shelves", _("Shelves"), ("packing.save_shelves",), _SHIPPING),
            Tab("packing.boxes", _("Boxes"), ("packing.save_box",), _SHIPPING),
            Tab("shipments.policy", _("Shipping"), ("shipments.save_policy",), _SHIPPING),
            Tab(
                "security.security",
                _("Your sign-in"),
                ("security.change_password", "security.turn_on", "security.new_codes"),
                _ACCOUNT,
            ),
        ),
        ("settings", "people", "security", "audit", "locations", "routing", "privacy"),
    ),
)


def section() -> Section | None:
    """The section of the page that is asked for."""
    endpoint = request.endpoint or ""
    for each in SECTIONS:
        if any(tab.is_here for tab in each.tabs):
            return each
    room = g.get("room") or endpoint.partition(".")[0]  # a page that serves several sections says whose it is
    return next((each for each in SECTIONS if room in each.rooms), None)


def may_see(endpoint: str) -> bool:
    """Whether the visitor may open that page."""
    view = current_app.view_functions.get(endpoint)
    return view is not None and visitor().may(getattr(view, "permission", Permission.LOOK))


# ---------------------------------------------------------------- what the palette leads to beside rows


@dataclass(frozen=True, slots=True)
class Errand:
    """Something to do: the page where it is begun. ``words`` are what people may type for it instead."""

    label: str
    icon: str
    endpoint: str
    needs: Permission
    words: str = ""

    @property
    def address(self) -> str:
        return url_for(self.endpoint)


ERRANDS = (
    Errand(_("Connect a shop"), "plug-connected", "connections.catalogue", Permission.CONNECT, words=_("add channel")),
    Errand(_("Receive a delivery"), "package-import", "warehouse.receive_form", Permission.STOCK, words=_("goods in")),
    Errand(_("Count stock"), "checklist", "warehouse.count_form", Permission.STOCK, words=_("stocktake inventory")),
    Errand(_("New transfer"), "transfer", "warehouse.transfer_form", Permission.STOCK, words=_("move stock")),
    Errand(_("Match listings"), "link", "matching.index", Permission.CATALOG, words=_("unmatched queue")),
    Errand(_("Print pick lists"), "list-check", "packing.pick", Permission.PACK, words=_("pick orders")),
    Errand(_("Pack by scanning"), "barcode", "packing.index", Permission.PACK, words=_("scan bench")),
    Errand(_("Invite somebody"), "user-plus", "people.index", Permission.PEOPLE, words=_("new user colleague")),
    Errand(_("Add a location"), "map-pin", "locations.index", Permission.SETTINGS, words=_("new warehouse store")),
    Errand(_("Change your password"), "key", "security.security", Permission.LOOK, words=_("account")),
)


def errands() -> Iterator[Errand]:
    """What the visitor may begin."""
    return (each for each in ERRANDS if visitor().may(each.needs) and may_see(each.endpoint))


def pages() -> Iterator[tuple[Section, Tab]]:
    """Every page of the side bar and its tabs that the visitor may see."""
    return ((each, tab) for each in SECTIONS for tab in each.offered)
