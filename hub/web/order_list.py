"""The list of orders: what it is narrowed down to, the views and columns of whoever looks, and the list as a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from uuid import UUID, uuid4

from flask import Response, flash, redirect, render_template, request
from flask_babel import gettext as _
from werkzeug.wrappers import Response as AnyResponse

from hub.access import Permission
from hub.core.model import OrderStatus
from hub.errors import BadInput
from hub.store import saved_views
from hub.store.queries import connections, order_lines, orders
from hub.store.queries.order_lines import LineSummary
from hub.store.queries.orders import OrderFilter, OrderSummary
from hub.store.saved_views import Person, SavedView
from hub.store.searching import Mark
from hub.web import bulk, exports, forms, lists, order_filter
from hub.web.exports import Column
from hub.web.gate import hub, needs, own_account, safe_path, see_other, visitor
from hub.web.looks import state_of
from hub.web.order_filter import Narrowed
from hub.web.orders import pages

_PAGE = "orders"  # what views and columns are kept under
_MANY = 1000  # up to so many are counted out
_SELECTED = 200  # at most so many can be ticked on one page
_READ_AT_ONCE = 500  # orders of a file that are read together


# ---------------------------------------------------------------- columns


def _columns() -> dict[str, str]:
    """What a list can show beside the number, by the name it is kept under."""
    return {
        "shop": _("Shop"),
        "customer": _("Customer"),
        "email": _("E-mail"),
        "placed": _("Placed"),
        "status": _("Status"),
        "stock": _("Stock"),
        "total": _("Total"),
        "payment": _("Payment"),
        "tags": _("Tags"),
        "country": _("Country"),
        "locations": _("Ships from"),
        "ship_by": _("Ship by"),
        "promised": _("Promised"),
        "shipping_method": _("Shipping method"),
        "priority": _("Priority"),
        "units": _("Units"),
        "channel_status": _("Status at the shop"),
        "source": _("Source"),
    }


_USUAL = ("shop", "customer", "placed", "status", "stock", "total")

# What each column is in a file; beside the number, which every file begins with.
_IN_A_FILE: Mapping[str, Callable[[], list[Column[OrderSummary]]]] = {
    "shop": lambda: [Column(_("Shop"), lambda row: row.connection_label)],
    "customer": lambda: [Column(_("Customer"), lambda row: row.customer_name)],
    "email": lambda: [Column(_("E-mail"), lambda row: row.email)],
    "placed": lambda: [Column(_("Placed"), lambda row: row.placed_at)],
    "status": lambda: [
        Column(_("Status"), lambda row: state_of("order", row.status).label),
        Column(_("On hold"), lambda row: row.on_hold),
        Column(_("Risk"), lambda row: state_of("risk", row.risk_level).label if row.risk_level else ""),
    ],
    "stock": lambda: [
        Column(_("Allocated"), lambda row: row.allocated),
        Column(_("On backorder"), lambda row: row.backordered),
        Column(_("Lines not matched"), lambda row: row.unmatched),
    ],
    "total": lambda: [
        Column(_("Total"), lambda row: row.total),
        Column(_("Currency"), lambda row: row.total.currency if row.total else ""),
    ],
    "payment": lambda: [Column(_("Paid"), lambda row: row.paid)],
    "tags": lambda: [Column(_("Tags"), lambda row: ", ".join(row.tags))],
    "country": lambda: [Column(_("Country"), lambda row: row.country)],
    "locations": lambda: [Column(_("Ships from"), lambda row: ", ".join(row.locations))],
    "ship_by": lambda: [Column(_("Ship by"), lambda row: row.ship_by)],
    "promised": lambda: [Column(_("Promised"), lambda row: row.promised_at)],
    "shipping_method": lambda: [Column(_("Shipping method"), lambda row: row.shipping_method)],
    "priority": lambda: [Column(_("Priority"), lambda row: row.priority)],
    "units": lambda: [Column(_("Units"), lambda row: row.units)],
    "channel_status": lambda: [Column(_("Status at the shop"), lambda row: row.channel_status)],
    "source": lambda: [Column(_("Source"), lambda row: row.source)],
}


def _known(columns: Sequence[str]) -> tuple[str, ...]:
    """Those of the columns that there are, once each and in their order; the usual ones where there are none."""
    return tuple(name for name in dict.fromkeys(columns) if name in _IN_A_FILE) or _USUAL


# ---------------------------------------------------------------- the list


@pages.get("/orders")
def index() -> str | AnyResponse:
    chosen, before = order_filter.of_address(request.args), lists.read_time_mark()
    with hub().database.read() as connection:
        views = saved_views.views(connection, _person(), _PAGE)
        preference = saved_views.preference(connection, _person(), _PAGE)
        view = next((each for each in views if str(each.id) == request.args.get("view")), None)
        # The bare address is that of what somebody's list begins with, and so is that of a view with nothing else.
        first = view if request.args else next((each for each in views if each.id == preference.view_id), None)
        if first is not None and request.args.keys() <= {"view"}:
            return redirect(order_filter.of_query(first.query).address(str(first.id)), code=303)
        wanted = chosen.wanted()
        found, fits = orders.page(
            connection, visitor().merchant_id, wanted, before=before, limit=lists.ONE_MORE, most=_MANY + 1
        )
        shops = connections.channels(connection, visitor().merchant_id)
        places = connections.locations(connection, visitor().merchant_id)
    named = str(view.id) if view else ""
    columns, names = _known(preference.columns), _columns()
    return render_template(
        "orders.html",
        page=lists.listed(found, lambda row: lists.time_mark(row.placed_at, row.id)),
        chosen=chosen,
        list_address=chosen.address(named),
        cleared=Narrowed().address(named),
        chips=order_filter.chips(chosen, {each.id: each.label for each in shops}, named),
        fits=fits,
        many=_MANY,
        tabs=_tabs(views, view, chosen),
        view=view,
        is_changed=view is not None and chosen != order_filter.of_query(view.query),
        may_change=view is not None and (view.own or visitor().may(Permission.SETTINGS)),
        begins_with=preference.view_id,
        columns=columns,
        every_column=[*columns, *(name for name in names if name not in columns)],
        names=names,
        statuses=order_filter.STATUSES,
        marks=order_filter.mark_names(),
        shops=shops,
        offers=bulk.offers(places),
        once=uuid4(),
    )


@dataclass(frozen=True, slots=True)
class Tab:
    """One way to look at the list that is offered above it."""

    label: str
    address: str
    is_here: bool
    shared: bool = False


def _tabs(views: Sequence[SavedView], view: SavedView | None, chosen: Narrowed) -> list[Tab]:
    usual = [
        (_("All"), Narrowed()),
        (_("Open"), Narrowed(status=OrderStatus.OPEN.value)),
        (_("On hold"), Narrowed(mark="on_hold")),
        (_("On backorder"), Narrowed(mark="waiting")),
    ]
    return [
        *(Tab(label, filter_.address(), view is None and chosen == filter_) for label, filter_ in usual),
        *(
            Tab(each.name, order_filter.of_query(each.query).address(str(each.id)), each == view, each.shared)
            for each in views
        ),
    ]


def _person() -> Person:
    return Person(visitor().merchant_id, visitor().user_id)


# ---------------------------------------------------------------- what somebody keeps of it


@pages.post("/orders/views")
@own_account
def keep_view() -> AnyResponse:
    """Keep what the list is narrowed down to, under a name. Only who may change orders shares it."""
    chosen = order_filter.of_query(request.form.get("query", ""))
    database, name = hub().database, request.form.get("name", "")
    shared = request.form.get("shared") == "yes"
    try:
        view_id = saved_views.save(database, _person(), _PAGE, name, chosen.query(), shared=shared)
    except BadInput as error:
        flash(str(error), "danger")
        return see_other(chosen.address())
    flash(_("Kept as a view of its own."), "success")
    return see_other(chosen.address(str(view_id)))


@pages.post("/orders/views/<uuid:view_id>")
@own_account
def change_view(view_id: UUID) -> AnyResponse:
    """Something about a view: ``act`` says what."""
    chosen, database = order_filter.of_query(request.form.get("query", "")), hub().database
    act = request.form.get("act", "")
    if act not in ("save", "rename", "remove", "begin", "begin_with_all"):
        raise forms.damaged()
    try:
        if act == "save":
            saved_views.replace_query(database, _person(), view_id, chosen.query())
        elif act == "rename":
            shared = request.form.get("shared") == "yes"
            saved_views.rename(database, _person(), view_id, request.form.get("name", ""), shared=shared)
        elif act == "remove":
            saved_views.remove(database, _person(), view_id)
            return see_other(chosen.address())
        elif act == "begin":
            saved_views.begin_with(database, _person(), _PAGE, view_id)
        else:
            saved_views.begin_with(database, _person(), _PAGE, None)
    except BadInput as error:
        flash(str(error), "danger")
    return see_other(chosen.address(str(view_id)))


@pages.post("/orders/columns")
@own_account
def choose_columns() -> AnyResponse:
    """The columns in their order, as the form lists them; all of them taken off means the usual ones."""
    wanted = [name for name in dict.fromkeys(request.form.getlist("column")) if name in _IN_A_FILE]
    if request.form.get("act") == "usual":
        wanted = []
    saved_views.choose_columns(hub().database, _person(), _PAGE, wanted)
    return see_other(safe_path(request.form.get("back", "")))


# ---------------------------------------------------------------- the list as a file


@pages.post("/orders/export")
@needs(Permission.LOOK)
def export() -> Response:
    """The chosen orders, or all that fit, as a file: an order in each row, or a line of one."""
    chosen = order_filter.of_query(request.form.get("query", ""))
    picked = forms.identities("order")
    if len(picked) > _SELECTED:
        raise forms.damaged()
    with hub().database.read() as connection:
        columns = _known(saved_views.preference(connection, _person(), _PAGE).columns)
    if request.form.get("columns") == "all":
        columns = tuple(_IN_A_FILE)
    described = f"{len(picked)} chosen" if picked else chosen.query()
    heads = [Column(_("Order"), lambda row: row.number), *(each for name in columns for each in _IN_A_FILE[name]())]
    every = _every_order(chosen.wanted(), picked)
    mark = request.form.get("bom") == "yes"
    if request.form.get("what") != "lines":
        return exports.download("orders", "orders", heads, every, described=described, mark=mark)
    both: list[Column[_OrderLine]] = [_of_order(each) for each in heads]
    both += [
        Column(_("SKU"), lambda pair: pair[1].sku),
        Column(_("Title"), lambda pair: pair[1].title),
        Column(_("Quantity"), lambda pair: pair[1].quantity),
        Column(_("Fulfilled"), lambda pair: pair[1].fulfilled),
        Column(_("Removed"), lambda pair: pair[1].removed),
        Column(_("Unit price"), lambda pair: pair[1].unit_price),
        Column(_("Line total"), lambda pair: pair[1].total),
    ]
    lines_ = _with_lines(every)
    return exports.download("order lines", "order-lines", both, lines_, described=described, mark=mark)


_OrderLine = tuple[OrderSummary, LineSummary]


def _of_order(column: Column[OrderSummary]) -> Column[_OrderLine]:
    return Column(column.heading, lambda pair: column.value(pair[0]))


def _every_order(wanted: OrderFilter, picked: Sequence[UUID]) -> Iterator[OrderSummary]:
    """The picked orders, or all that fit."""
    database, merchant_id = hub().database, visitor().merchant_id

    def read(before: Mark | None) -> Sequence[OrderSummary]:
        with database.read() as connection:
            return orders.orders(connection, merchant_id, wanted, before=before, limit=_READ_AT_ONCE)

    if not picked:
        return exports.pages(read, lambda row: (row.placed_at, row.id))
    with database.read() as connection:
        return iter(orders.summaries(connection, merchant_id, picked))


def _with_lines(every: Iterator[OrderSummary]) -> Iterator[_OrderLine]:
    database, merchant_id = hub().database, visitor().merchant_id
    while some := list(islice(every, _READ_AT_ONCE)):
        with database.read() as connection:
            found = order_lines.lines(connection, merchant_id, [order.id for order in some])
        for order in some:
            for line in found.get(order.id, ()):
                yield order, line
