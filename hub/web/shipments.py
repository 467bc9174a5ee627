"""Shipments: what is to be labelled, what carriers offer, the label and its file, where the parcel is, the policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode
from uuid import UUID, uuid4

from flask import Blueprint, Response, flash, render_template, request, url_for
from flask_babel import gettext as _
from werkzeug.exceptions import NotFound

from hub.access import Permission
from hub.connector import Carrier
from hub.core.rates import ShippedWhen, ShippingPolicy
from hub.core.shipping import DocumentFormat
from hub.errors import BadInput, Conflict
from hub.papers import joined_labels
from hub.store import bulk_acts, labels, papers, policies
from hub.store import shipments as goods
from hub.store.database import Lanes
from hub.store.queries import connections, journal, packing
from hub.store.queries import shipments as queries
from hub.store.queries.parts import PAGE
from hub.web import bulk, forms, lists
from hub.web.failures import existing
from hub.web.gate import hub, needs, see_other, visitor
from hub.web.reader import reader
from hub.web.waking import ring

pages = Blueprint("shipments", __name__)

_TYPES = {
    DocumentFormat.PDF: "application/pdf",
    DocumentFormat.PNG: "image/png",
    DocumentFormat.ZPL: "text/plain; charset=utf-8",
}


# What the work is looked at by: of orders first, then of parcels.
_STEPS = ("to_pick", "to_pack")
_DUE = {"late": timedelta(0), "today": timedelta(hours=24), "soon": timedelta(days=3)}
_MOST_WORKS = 100  # orders of one page: what one can look through
# Issues that hold something up on its way out.
_HOLD_UP = (
    *("nobody_can_ship", "routing_failed", "rejected_by_3pl", "held_by_3pl", "not_cancelled_by_3pl"),
    *("3pl_shipped_something_else", "3pl_shipped_all_the_same", "3pl_shipment_cancelled"),
    *("label_without_file", "label_not_voided", "left_though_withdrawn", "delivery_exception"),
)


@dataclass(frozen=True, slots=True)
class _Narrowed:
    """What a list of parcels is narrowed down to."""

    show: str
    text: str
    location_id: UUID | None
    carrier: str

    @classmethod
    def of(cls, said: Mapping[str, str]) -> _Narrowed:
        return cls(
            _one_of(said.get("show", ""), (*_STEPS, *queries.SHOWN)),
            said.get("q", "").strip()[:200],
            forms.read_identity(said["location"]) if said.get("location") else None,
            said.get("carrier", "")[:60],
        )

    @property
    def query(self) -> str:
        said = {"show": self.show, "q": self.text, "location": self.location_id or "", "carrier": self.carrier}
        return urlencode({name: value for name, value in said.items() if value})


@pages.get("/shipments")
def index() -> str:
    chosen, due = _Narrowed.of(request.args), _one_of(request.args.get("due", ""), tuple(_DUE))
    show, text, location_id, carrier = chosen.show, chosen.text, chosen.location_id, chosen.carrier
    here = visitor().merchant_id
    rows: list[queries.ShipmentSummary] = []
    works: list[packing.ToDo] = []
    held: list[packing.ToDo] = []
    issues: list[journal.IssueView] = []
    with hub().database.read() as db:
        if show in _STEPS:
            ship_by = hub().database.now(db) + _DUE[due] if due else None
            works = packing.to_do(
                db, here, step=show, location_id=location_id, ship_by=ship_by, text=text, limit=_MOST_WORKS + 1
            )
        else:
            before = lists.read_time_mark()
            rows = queries.shipments(
                db,
                here,
                show=show,
                text=text,
                location_id=location_id,
                carrier=carrier,
                before=before,
                limit=lists.ONE_MORE,
            )
            if show == "exceptions" and before is None:
                held = packing.to_do(db, here, step="held", location_id=location_id, limit=_MOST_WORKS)
                issues = journal.issues(db, here, kinds=_HOLD_UP)
        counts = packing.counts(db, here) | queries.counts(db, here)
        places = connections.locations(db, here)
        carriers = queries.carriers(db, here)
    counts["exceptions"] += counts["held"]
    return render_template(
        "shipments.html",
        page=lists.listed(rows, lambda row: lists.time_mark(row.created_at, row.id)),
        works_here=works[:_MOST_WORKS],
        more_works=len(works) > _MOST_WORKS,
        held=held,
        issues=issues,
        counts=counts,
        most_counted=queries.MOST_COUNTED,
        places=places,
        carriers=carriers,
        show=show,
        text=text,
        location_id=location_id,
        carrier=carrier,
        due=due,
        narrowed=chosen.query,
        most_at_once=bulk_acts.MOST_SHIPMENTS,
        once=uuid4(),
    )


def _one_of(text: str, allowed: Sequence[str]) -> str:
    return text if text in allowed else ""


@pages.post("/shipments")
@needs(Permission.PACK)
def act_on_many() -> Any:
    """The same act about every chosen shipment, each by itself, by a worker: what is refused holds up no other."""
    picked, act = forms.identities("shipment"), request.form.get("act", "")
    narrowed = _Narrowed.of(dict(parse_qsl(request.form.get("query", ""))))
    if all_of_them := request.form.get("all") == "yes":
        with hub().database.read() as db:
            picked = queries.shipment_ids(
                db,
                visitor().merchant_id,
                show=narrowed.show,
                text=narrowed.text,
                location_id=narrowed.location_id,
                carrier=narrowed.carrier,
                limit=bulk_acts.MOST_SHIPMENTS + 1,
            )
    if not picked:
        flash(_("Choose shipments first, by the boxes before them."), "warning")
        return see_other(f"{url_for('.index')}?{narrowed.query}")
    if act == "print":
        return _label_file(picked) if all_of_them else see_other(url_for(".labels_pdf", shipment=picked[:PAGE]))
    asked = bulk_acts.Asked(forms.once(), act, request.form, narrowed.query if all_of_them else "")
    return bulk.begin(asked, picked, f"{url_for('.index')}?{narrowed.query}")


@pages.get("/shipments/labels.pdf")
def labels_pdf() -> Response:
    """The labels of the chosen shipments, or of all that something was done to at once, in one file, in the order of
    the list."""
    try:
        chosen = [UUID(text) for text in request.args.getlist("shipment")]
        act_id = UUID(request.args["act"]) if "act" in request.args else None
    except ValueError:
        raise BadInput(_("This address is damaged. Go back to the shipments.")) from None
    if act_id is not None:
        with hub().database.read() as db:
            chosen = bulk_acts.shipments_of(db, visitor().merchant_id, act_id)
    elif not 0 < len(chosen) <= PAGE:
        raise BadInput(_("Choose from 1 to %(most)s shipments.", most=PAGE))
    return _label_file(chosen)


def _label_file(chosen: Sequence[UUID]) -> Response:
    if len(chosen) > bulk_acts.MOST_SHIPMENTS:
        raise BadInput(
            _("These are more than %(most)s shipments. Narrow the list down first.", most=bulk_acts.MOST_SHIPMENTS)
        )
    with hub().database.read() as db:
        kept = queries.label_papers(db, visitor().merchant_id, chosen)
        files = [papers.read(db, hub().keyring, visitor().merchant_id, document_id) for document_id in kept]
    if not files:
        raise NotFound(_("None of these shipments has a label yet."))
    content, format = joined_labels(files)
    name = f"labels.{format.value}"
    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, content_type=_TYPES[format], headers=disposition)


@pages.get("/shipments/<uuid:shipment_id>")
def shipment(shipment_id: UUID) -> str:
    return _page(shipment_id)


def _page(shipment_id: UUID, message: str = "") -> str:
    return render_template(
        "shipment.html",
        shipment=_found(shipment_id),
        message=message,
        abroad=_goes_abroad(shipment_id),
        lasts=int(labels.RATES_LAST.total_seconds() / 60),
    )


def _goes_abroad(shipment_id: UUID) -> bool:
    with hub().database.read() as connection:
        return packing.goes_abroad(connection, visitor().merchant_id, shipment_id)


def _found(shipment_id: UUID) -> queries.ShipmentView:
    with hub().database.read() as connection:
        return existing(queries.shipment(connection, visitor().merchant_id, shipment_id), _("shipment"))


# ---------------------------------------------------------------- acts


@pages.post("/shipments/<uuid:shipment_id>")
@needs(Permission.PACK)
def act(shipment_id: UUID) -> Any:
    """One of the things that can be done about a shipment: ``act`` names it."""
    _found(shipment_id)
    wanted = _ACTS.get(request.form.get("act", ""))
    if wanted is None:
        raise forms.damaged()
    try:
        shown, lanes = wanted(shipment_id)
    except BadInput as error:
        return _page(shipment_id, str(error)), 422
    except Conflict as error:
        return _page(shipment_id, str(error)), 409
    ring(lanes)
    return see_other(url_for(".shipment", shipment_id=shown))


_Done = tuple[UUID, Lanes]


def _do(function: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
    """One of the store's acts, in a transaction of its own, in the name of who is here."""
    database, who = hub().database, visitor()
    return database.transact(
        lambda connection: function(
            connection, who.merchant_id, *arguments, at=database.now(connection), actor=who.email, **more
        )
    )


def _ask(shipment_id: UUID) -> _Done:
    return shipment_id, _do(labels.ask_rates, shipment_id)


def _buy(shipment_id: UUID) -> _Done:
    found, key = _found(shipment_id), request.form.get("offer", "")
    offer = next((each for each in found.offers if each.key == key), None)
    if offer is None:
        raise BadInput(_("Choose one of the offers."))
    if found.rates_at is None or datetime.now(UTC) - found.rates_at > labels.RATES_LAST:
        flash(_("These offers were too old to be bought: the carriers are being asked again."), "warning")
        return _ask(shipment_id)
    carrier_id = UUID(key.partition("|")[0])
    why = found.why if offer.chosen else "Chosen by a person."
    _do(labels.buy, shipment_id, carrier_id, offer.rate, why, format=_format(carrier_id))
    return shipment_id, [(carrier_id, "effects")]


def _format(carrier_id: UUID) -> DocumentFormat:
    with hub().database.read() as connection:
        return labels.format_of(connection, visitor().merchant_id, carrier_id, hub().registry.connectors)


def _by_hand(shipment_id: UUID) -> _Done:
    carrier = "_".join(request.form.get("carrier", "").lower().split())[:60]
    if not carrier:
        raise BadInput(_("Say with whom it is sent."))
    numbers = request.form.get("tracking", "").replace("\n", ",").split(",")[:50]
    _do(labels.label_by_hand, shipment_id, carrier, numbers)
    return shipment_id, []


def _hand_over(shipment_id: UUID) -> _Done:
    lanes = _do(goods.hand_over, shipment_id)
    flash(_("It has left: stock is changed, and the shop is being told."), "success")
    return shipment_id, lanes


def _give_back(shipment_id: UUID) -> _Done:
    lanes = _do(labels.give_back, shipment_id)
    flash(_("The label is being given back. Keep the parcel here."), "success")
    return shipment_id, lanes


def _another(function: Callable[..., UUID]) -> Callable[[UUID], _Done]:
    def act(shipment_id: UUID) -> _Done:
        made = _do(function, shipment_id)
        with hub().database.read() as connection:
            channel = labels.channel_of(connection, visitor().merchant_id, made)
        return made, [(channel, "ship")]

    return act


_ACTS: Mapping[str, Callable[[UUID], _Done]] = {
    "ask": _ask,
    "buy": _buy,
    "by_hand": _by_hand,
    "hand_over": _hand_over,
    "give_back": _give_back,
    "offer_again": _another(labels.offer_again),
    "replace": _another(labels.replace_label),
    "return": _another(labels.return_label),
}


# ---------------------------------------------------------------- files


@pages.get("/shipments/<uuid:shipment_id>/documents/<uuid:document_id>")
def document(shipment_id: UUID, document_id: UUID) -> Response:
    """A label, or another paper of the shipment: as often as it is wanted, and never kept by a browser."""
    found = _found(shipment_id)
    if document_id not in {each.id for each in found.papers}:
        raise NotFound(_("This shipment has no such document."))
    with hub().database.read() as connection:
        file = papers.read(connection, hub().keyring, visitor().merchant_id, document_id)
    name = f"{file.kind.value}-{found.row.reference}.{file.format.value}"
    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(file.content, content_type=_TYPES[file.format], headers=disposition)


# ---------------------------------------------------------------- the day


@pages.get("/shipments/manifest")
def manifest() -> str:
    """What was labelled on a day of the reader's, by carrier."""
    zone = reader().zone
    today = datetime.now(zone).date()
    try:
        day = date.fromisoformat(request.args.get("day", "") or today.isoformat())
        begins, ends = (datetime.combine(each, time(), zone).astimezone(UTC) for each in (day, day + timedelta(days=1)))
    except (ValueError, OverflowError):  # no day, or one that no calendar goes on after
        raise BadInput(_("Choose a day.")) from None
    with hub().database.read() as connection:
        rows = queries.manifest(connection, visitor().merchant_id, begins, ends)
    carriers = sorted({row.carrier for row in rows})
    return render_template("manifest.html", day=day, rows=rows, carriers=carriers)


# ---------------------------------------------------------------- the policy


@pages.get("/shipping")
def policy() -> str:
    with hub().database.read() as connection:
        kept = labels.policy(connection, visitor().merchant_id)
    return _policy_page(kept)


def _policy_page(kept: ShippingPolicy) -> str:
    carriers = [each for each in hub().registry.connectors.values() if issubclass(each, Carrier)]
    return render_template(
        "shipping_policy.html",
        policy=kept,
        formats=tuple(DocumentFormat),
        moments=tuple(ShippedWhen),
        installed=sorted(each.label for each in carriers),
    )


@pages.post("/shipping")
@needs(Permission.SETTINGS)
def save_policy() -> Any:
    said = request.form
    label_format = forms.one_of(DocumentFormat, said.get("format", ""))
    shipped_when = forms.one_of(ShippedWhen, said.get("shipped_when", ""))
    if label_format is None or shipped_when is None:
        raise forms.damaged()
    wanted = ShippingPolicy(
        carriers=_words("carriers"),
        services=_words("services"),
        never=_words("never"),
        format=label_format,
        automatic=said.get("automatic") == "yes",
        shipped_when=shipped_when,
    )
    policies.save_shipping(hub().database, visitor().merchant_id, wanted, visitor().email)
    flash(_("Labels are bought by these rules from now on."), "success")
    return see_other(url_for(".policy"))


def _words(name: str) -> tuple[str, ...]:
    return forms.words(request.form.get(name, ""), longest=120)[:50]
