"""Something done to many orders or shipments at once: what the list of orders offers, asking for it, following it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from flask import Blueprint, flash, g, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import ngettext

from hub.access import Permission
from hub.core.model import HoldReason
from hub.core.priorities import Urgency
from hub.errors import BadInput
from hub.store import bulk_acts
from hub.store.bulk_acts import MOST_ORDERS, About, Asked, Person, Progress
from hub.store.queries import orders, packing
from hub.store.queries.connections import LocationView
from hub.web import forms, lists, order_filter
from hub.web.failures import existing
from hub.web.forms import Field
from hub.web.gate import hub, needs, needs_password_where, safe_path, see_other, visitor
from hub.web.looks import state_of
from hub.web.orders import cancel_reasons
from hub.web.waking import wake

pages = Blueprint("bulk", __name__)

_RESULTS: Mapping[str, tuple[str, ...]] = {
    "": ("failed", "refused", "done", "stopped", "waiting"),
    "wrong": ("failed", "refused"),
    "done": ("done",),
    "stopped": ("stopped",),
    "waiting": ("waiting",),
}


@dataclass(frozen=True, slots=True)
class Offer:
    """Something that can be done to the chosen orders, and what has to be said for it."""

    kind: str  # of bulk_acts.ACTS
    icon: str
    label: str
    fields: tuple[Field, ...] = ()
    in_front: bool = False  # a button of its own; the others are in a menu

    @property
    def permission(self) -> Permission:
        return bulk_acts.ACTS[self.kind].permission


def offers(places: Sequence[LocationView]) -> list[Offer]:
    """What the visitor may do to orders, in the order in which it is offered."""
    at = tuple((str(place.id), place.name) for place in places)
    reasons = tuple((each.value, state_of("hold", each.value).label) for each in HoldReason)
    urgencies = tuple((str(each.value), state_of("urgency", each.value).label) for each in Urgency)
    tag = _typed("tag", _("Tag"), _("Beside the tags of the shop, which stay as they are."), 40)
    every = [
        Offer(
            "hold",
            "hand-stop",
            _("Hold"),
            (
                _chosen(
                    "reason", _("Why"), _("Nothing of them is packed or shipped until they are released."), reasons
                ),
                _typed("note", _("Note"), _("Whoever packs reads this."), 500),
            ),
            in_front=True,
        ),
        Offer("release", "player-play", _("Release"), in_front=True),
        Offer("tag", "tag", _("Add a tag"), (tag,), in_front=True),
        Offer("untag", "tags", _("Take a tag off"), (tag,)),
        Offer(
            "priority",
            "flame",
            _("Set the priority"),
            (
                _chosen(
                    "priority",
                    _("Priority"),
                    _("The smaller number is packed first."),
                    (*urgencies, ("", _("As the rules say"))),
                    required=False,
                ),
            ),
        ),
        Offer(
            "ship_from",
            "map-pin",
            _("Ship from a location"),
            (
                _chosen("location", _("Location"), _("Everything that nobody has begun ships from there."), at),
                _typed("reason", _("Why"), _("Whoever looks at these orders next reads this."), 300),
            ),
        ),
        Offer("reroute", "route", _("Deal out again")),
        Offer(
            "cancel",
            "ban",
            _("Cancel"),
            (
                _chosen("reason", _("Why"), _("They are on hold while their shops are asked."), cancel_reasons()),
                _chosen(
                    "money",
                    _("The money"),
                    _("A shop that gives nothing back with a cancellation leaves that to you."),
                    (("refund", _("Goes back, where the shop does so")), ("keep", _("Nothing goes back"))),
                ),
                _typed("confirm", _("Type CANCEL"), _("This cannot be undone."), 10),
            ),
        ),
    ]
    return [each for each in every if visitor().may(each.permission)]


def _typed(name: str, label: str, hint: str, longest: int) -> Field:
    return Field(name, "text", label, hint, required=True, secret=False, longest=longest)


def _chosen(name: str, label: str, hint: str, choices: tuple[tuple[str, str], ...], *, required: bool = True) -> Field:
    return Field(
        name, "select", label, hint, required, secret=False, value="" if required else choices[0][0], choices=choices
    )


# ---------------------------------------------------------------- asking for it


@pages.post("/orders/bulk")
@needs(Permission.LOOK)
@needs_password_where(lambda: request.form.get("act") == "cancel")
def ask() -> Any:
    """Have something done to the ticked orders, or to all that the list is narrowed down to. What it takes to be
    allowed to is asked by the act itself."""
    chosen, database = order_filter.of_query(request.form.get("query", "")), hub().database
    picked, all_of_them = forms.identities("order"), request.form.get("all") == "yes"
    if all_of_them:
        with database.read() as connection:
            picked = orders.order_ids(connection, visitor().merchant_id, chosen.wanted(), MOST_ORDERS + 1)
    asked = Asked(
        forms.once(),
        request.form.get("act", ""),
        request.form,
        chosen.query() if all_of_them else "",
    )
    return begin(asked, picked, chosen.address())


def begin(asked: Asked, picked: Sequence[UUID], back: str) -> Any:
    """Have it done by a worker, and follow it; ``back``: the list it is asked on, which tells what is wrong with it."""
    try:
        shops = bulk_acts.plan(hub().database, visitor().merchant_id, asked, picked, _person())
    except BadInput as error:
        flash(str(error), "danger")
        return see_other(back)
    wake(shops, "bulk")
    return see_other(url_for("bulk.follow", bulk_id=asked.id))


def _person() -> Person:
    return Person(visitor().user_id, visitor().email, visitor().permissions)


# ---------------------------------------------------------------- following it


@pages.get("/orders/bulk/<uuid:bulk_id>")
def follow(bulk_id: UUID) -> str:
    show = lists.choice("show", tuple(_RESULTS))
    text = request.args.get("after", "")
    after = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
    merchant_id = visitor().merchant_id
    with hub().database.read() as connection:
        act = existing(bulk_acts.progress(connection, merchant_id, bulk_id), _("act"))
        g.room = str(act.about)
        rows = bulk_acts.outcomes(
            connection, merchant_id, bulk_id, states=_RESULTS[show], after=after, limit=lists.ONE_MORE
        )
    return render_template(
        "bulk.html",
        act=act,
        label=_label(act.kind),
        is_about_orders=act.about is About.ORDERS,
        back=_list_of(act),
        said=", ".join(text for text in act.arguments.values() if text and len(text) != 36),
        page=lists.listed(rows, lambda row: str(row.number), parameter="after"),
        show=show,
        may=visitor().may(bulk_acts.ACTS[act.kind].permission) if act.kind in bulk_acts.ACTS else False,
        once=uuid4(),
    )


@pages.post("/orders/bulk/<uuid:bulk_id>/stop")
@needs(Permission.LOOK)
def stop(bulk_id: UUID) -> Any:
    """Leave those alone that have not had their turn."""
    left = bulk_acts.stop(hub().database, visitor().merchant_id, bulk_id, visitor().email)
    if left:
        flash(
            ngettext("Stopped. %(num)s order is left as it is.", "Stopped. %(num)s orders are left as they are.", left)
        )
    else:
        flash(_("It was over already."))
    return see_other(url_for(".follow", bulk_id=bulk_id))


@pages.post("/orders/bulk/<uuid:bulk_id>/again")
@needs(Permission.LOOK)
def again(bulk_id: UUID) -> Any:
    """Try once more what went wrong, as an act of its own."""
    new = forms.once()
    try:
        wake(bulk_acts.again(hub().database, visitor().merchant_id, bulk_id, new, _person()), "bulk")
    except BadInput as error:
        flash(str(error), "danger")
        return see_other(url_for(".follow", bulk_id=bulk_id))
    return see_other(url_for(".follow", bulk_id=new))


def _list_of(act: Progress) -> str:
    """The list that it was asked on, narrowed down as it was then."""
    if act.about is About.SHIPMENTS:
        return f"{url_for('shipments.index')}?{act.described or 'show=to_label'}"
    return order_filter.of_query(act.described).address() if act.described else url_for("orders.index", all=1)


def _label(kind: str) -> str:
    to_shipments = {
        "buy_labels": _("Buy labels"),
        "ask_carriers": _("Ask the carriers again"),
        "hand_over": _("Hand over"),
    }
    called = to_shipments | {each.kind: each.label for each in offers([])}
    return called.get(kind, kind.replace("_", " ").capitalize())


# ---------------------------------------------------------------- papers


@pages.get("/orders/papers")
def papers() -> Any:
    """A pick list or packing slips of what is to be packed of the ticked orders."""
    picked = [forms.read_identity(text) for text in request.args.getlist("order")]
    with hub().database.read() as connection:
        work = packing.open_work(connection, visitor().merchant_id, picked)
    if not work:
        flash(_("Nothing of these orders is to be packed at a location of your own now."), "warning")
        return see_other(safe_path(request.args.get("back", "")))
    page = "packing.slips_pdf" if request.args.get("paper") == "slips" else "packing.pick"
    return see_other(url_for(page, order=work))
