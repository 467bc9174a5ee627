"""The packing bench: what is to be packed, pick lists and slips, one order on the table, boxes and shelves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from flask import Blueprint, Response, flash, render_template, request, url_for
from flask_babel import gettext as _
from sqlalchemy import select
from werkzeug.exceptions import NotFound

from hub import addresses
from hub.access import Permission
from hub.errors import BadInput, Conflict
from hub.papers import (
    Export,
    Paper,
    PickList,
    commercial_invoice,
    customs_declaration,
    packing_slips,
    pick_list,
)
from hub.store import collecting, handling, labels, packing, together
from hub.store import tables as t
from hub.store.packing import Box
from hub.store.queries import connections
from hub.store.queries import packing as queries
from hub.web import forms, lists
from hub.web.failures import existing
from hub.web.gate import hub, needs, see_other, visitor
from hub.web.waking import ring

pages = Blueprint("packing", __name__)

_MOST_ORDERS = 50  # of one pick list: what one person carries in one walk
_STATES = tuple(state.value for state in queries.HERE)


# ---------------------------------------------------------------- what is to be packed


@pages.get("/pack")
def index() -> str:
    return _index_page()


@pages.post("/pack")
@needs(Permission.PACK)
def find() -> Any:
    """A reference that was scanned from a slip, or a collection code: leads to its order."""
    code = request.form.get("code", "").strip()[:200]
    with hub().database.read() as connection:
        found = packing.find_order(connection, visitor().merchant_id, code)
        ready = None if found else collecting.find(connection, visitor().merchant_id, code)
    if ready is not None:
        return see_other(url_for("collecting.order", fulfillment_order_id=ready))
    if found is None:
        wrong = (
            _("No order has the code “%(code)s”. Scan the barcode of its packing slip.", code=code[:60])
            if code
            else _("Scan a code.")
        )
        return _index_page(wrong), 422
    try:
        packing.begin(hub().database, visitor().merchant_id, found, visitor().email)
    except Conflict as error:
        flash(str(error), "warning")
    return see_other(url_for(".order", fulfillment_order_id=found))


def _index_page(wrong: str = "") -> str:
    state = lists.choice("state", _STATES)
    location_id = lists.chosen_id("location")
    with hub().database.read() as connection:
        return render_template(
            "pack.html",
            rows=queries.to_do(connection, visitor().merchant_id, state=state, location_id=location_id),
            state=state,
            location_id=location_id,
            places=connections.locations(connection, visitor().merchant_id),
            wrong=wrong,
        )


# ---------------------------------------------------------------- papers


@pages.get("/pack/pick")
def pick() -> str:
    """What is to be taken off the shelves: for one order, or for many in one walk, in one zone if wanted."""
    ids, zone = _chosen_orders(), _zone()
    with hub().database.read() as connection:
        every = queries.picks(connection, visitor().merchant_id, ids)
        return render_template(
            "pick.html",
            picks=[each for each in every if zone is None or each.zone == zone],
            zones=sorted({each.zone for each in every if each.zone}),
            zone=zone,
            orders=queries.to_do(connection, visitor().merchant_id, ids=ids),
            ids=ids,
        )


@pages.get("/pack/pick.pdf")
def pick_pdf() -> Response:
    """The same on paper."""
    ids, zone = _chosen_orders(), _zone()
    with hub().database.read() as connection:
        orders = queries.to_do(connection, visitor().merchant_id, ids=ids)
        wanted = PickList(
            merchant=visitor().merchant_name,
            place=", ".join(sorted({each.location_name for each in orders})) or _("no location"),
            printed_at=datetime.now(UTC),
            references=tuple(each.reference for each in orders),
            picks=tuple(queries.picks(connection, visitor().merchant_id, ids, zone=zone)),
            zone=zone or "",
        )
        paper = _paper(handling.policy(connection, visitor().merchant_id).paper)
    return _pdf(pick_list(wanted, paper), "pick-list")


@pages.get("/pack/slips.pdf")
def slips_pdf() -> Response:
    """Packing slips of the chosen orders, in one file."""
    with hub().database.read() as connection:
        slips = queries.slips(connection, visitor().merchant_id, _chosen_orders())
        paper = _paper(handling.policy(connection, visitor().merchant_id).paper)
    if not slips:
        raise NotFound(_("None of these orders exists here."))
    return _pdf(packing_slips(slips, paper), "packing-slips")


@pages.get("/shipments/<uuid:shipment_id>/invoice.pdf")
def invoice_pdf(shipment_id: UUID) -> Response:
    """The commercial invoice of a shipment that crosses a border."""
    return _pdf(commercial_invoice(_export(shipment_id)), "commercial-invoice")


@pages.get("/shipments/<uuid:shipment_id>/cn22.pdf")
def declaration_pdf(shipment_id: UUID) -> Response:
    """Its customs declaration, for a parcel by post."""
    return _pdf(customs_declaration(_export(shipment_id)), "customs-declaration")


def _export(shipment_id: UUID) -> Export:
    with hub().database.read() as connection:
        this = t.shipment.c
        row = existing(
            connection.execute(
                select(t.shipment).where(this.merchant_id == visitor().merchant_id, this.id == shipment_id)
            ).one_or_none(),
            _("shipment"),
        )
        carried = labels.to_carry(connection, row)
        at = hub().database.now(connection)
    if carried.customs is None:
        raise NotFound(_("This shipment crosses no border: it needs no customs papers."))
    return Export(
        reference=row.reference,
        sent_on=(row.shipped_at or at).date(),
        origin=carried.origin,
        destination=carried.destination,
        customs=carried.customs,
        tracking_numbers=tuple(row.tracking_numbers),
    )


def _chosen_orders() -> list[UUID]:
    try:
        ids = list(dict.fromkeys(UUID(text) for text in request.args.getlist("order")))
    except ValueError:
        raise BadInput(_("This address is damaged. Go back to the packing page.")) from None
    if len(ids) > _MOST_ORDERS:
        raise BadInput(_("Choose at most %(most_orders)s orders for one walk.", most_orders=_MOST_ORDERS))
    return ids


def _zone() -> str | None:
    return request.args.get("zone", "")[:40] or None


def _paper(usual: Paper) -> Paper:
    return forms.one_of(Paper, request.args.get("paper", "")) or usual


def _pdf(content: bytes, name: str) -> Response:
    disposition = {"Content-Disposition": f'inline; filename="{name}.pdf"'}
    return Response(content, mimetype="application/pdf", headers=disposition)


# ---------------------------------------------------------------- one order on the table


@pages.get("/pack/<uuid:fulfillment_order_id>")
def order(fulfillment_order_id: UUID) -> str:
    return _bench_page(fulfillment_order_id)


@pages.post("/pack/<uuid:fulfillment_order_id>/take-over")
@needs(Permission.PACK)
def take_over(fulfillment_order_id: UUID) -> Any:
    """This person packs it from now on, instead of the one the form names."""
    return _act(
        fulfillment_order_id,
        lambda: packing.begin(
            hub().database,
            visitor().merchant_id,
            fulfillment_order_id,
            visitor().email,
            instead_of=request.form.get("instead_of", "")[:320],
        ),
    )


@pages.post("/pack/<uuid:fulfillment_order_id>/scan")
@needs(Permission.PACK)
def scan(fulfillment_order_id: UUID) -> Any:
    """A code that was scanned while packing. The same form sent twice counts once."""
    code = request.form.get("code", "")[:200]
    scan_id = forms.once()
    with hub().database.read() as connection:
        other = packing.find_order(connection, visitor().merchant_id, code) if code.strip() else None
    if other is not None and other != fulfillment_order_id:
        # The slip of another order: its packer goes on to that one.
        return see_other(url_for(".order", fulfillment_order_id=other))
    try:
        found = packing.scan(
            hub().database, visitor().merchant_id, fulfillment_order_id, scan_id, code, visitor().email
        )
    except Conflict as error:
        return _bench_page(fulfillment_order_id, scanned=packing.Scanned(packing.Outcome.WRONG, str(error)))
    return _bench_page(fulfillment_order_id, scanned=found)


@pages.post("/pack/<uuid:fulfillment_order_id>/undo")
@needs(Permission.PACK)
def undo(fulfillment_order_id: UUID) -> Any:
    """Take the last unit out again, or the last one of a line."""
    line_id = forms.optional_identity("line")
    try:
        said = packing.take_out(hub().database, visitor().merchant_id, fulfillment_order_id, visitor().email, line_id)
    except Conflict as error:
        return _bench_page(fulfillment_order_id, scanned=packing.Scanned(packing.Outcome.WRONG, str(error)))
    return _bench_page(fulfillment_order_id, scanned=packing.Scanned(packing.Outcome.PART, said))


@pages.post("/pack/<uuid:fulfillment_order_id>/parcel")
@needs(Permission.PACK)
def parcel(fulfillment_order_id: UUID) -> Any:
    """What is scanned goes into another parcel from now on."""
    number = forms.whole_number(request.form.get("number", ""), "number")
    return _act(
        fulfillment_order_id,
        lambda: packing.next_parcel(
            hub().database, visitor().merchant_id, fulfillment_order_id, number, visitor().email
        ),
    )


@pages.post("/pack/<uuid:fulfillment_order_id>/finish")
@needs(Permission.PACK)
def finish(fulfillment_order_id: UUID) -> Any:
    """Keep boxes and weights; with the act "pack" the parcels become a shipment."""
    act = request.form.get("act", "")
    database, merchant_id, who = hub().database, visitor().merchant_id, visitor().email
    try:
        for number in [forms.whole_number(text, "number") for text in request.form.getlist("parcel")]:
            name = f"weight-{number}"
            box_id = forms.optional_identity(f"box-{number}")
            grams = forms.optional_number(request.form.get(name, ""), name)
            if grams == 0:
                raise BadInput(_("A parcel weighs something."), {name: [_("Weigh the parcel, with everything in it.")]})
            packing.weigh(database, merchant_id, fulfillment_order_id, number, box_id, grams, who)
        if act not in ("pack", "rest_later"):
            return see_other(url_for(".order", fulfillment_order_id=fulfillment_order_id))
        shipment_id, lanes = packing.finish(
            database, merchant_id, fulfillment_order_id, who, rest_later=act == "rest_later"
        )
    except BadInput as error:
        return _bench_page(fulfillment_order_id, message=str(error), errors=error.fields), 422
    except Conflict as error:
        return _bench_page(fulfillment_order_id, message=str(error)), 409
    ring(lanes)
    return see_other(_after_packing(fulfillment_order_id, shipment_id))


def _after_packing(fulfillment_order_id: UUID, shipment_id: UUID) -> str:
    """Where it goes on: to the label, or to the counter for what the customer fetches."""
    with hub().database.read() as connection:
        found = queries.bench(connection, visitor().merchant_id, fulfillment_order_id)
    if found is not None and found.work.collect:
        flash(_("It is put aside, and the customer is told."), "success")
        return url_for("collecting.order", fulfillment_order_id=fulfillment_order_id)
    flash(_("Packed. Choose a rate and buy the label."), "success")
    return url_for("shipments.shipment", shipment_id=shipment_id)


@pages.post("/pack/<uuid:fulfillment_order_id>/split")
@needs(Permission.PACK)
def split(fulfillment_order_id: UUID) -> Any:
    """Units that are packed by themselves, as a fulfillment order of their own."""
    typed = forms.rows("line")
    try:
        units = {line: forms.whole_number(text or "0", "units") for line, text in typed.items()}
        packing.split(hub().database, visitor().merchant_id, fulfillment_order_id, units, visitor().email)
    except BadInput as error:
        return _bench_page(fulfillment_order_id, message=str(error)), 422
    flash(_("Split off. It waits in the list by itself."), "success")
    return see_other(url_for(".order", fulfillment_order_id=fulfillment_order_id))


@pages.post("/pack/<uuid:fulfillment_order_id>/merge")
@needs(Permission.PACK)
def merge(fulfillment_order_id: UUID) -> Any:
    """Another part of the same order is packed along with this one."""
    other = forms.identity("other")
    return _act(
        fulfillment_order_id,
        lambda: packing.merge(hub().database, visitor().merchant_id, fulfillment_order_id, other, visitor().email),
    )


@pages.post("/pack/<uuid:fulfillment_order_id>/together")
@needs(Permission.PACK)
def pack_together(fulfillment_order_id: UUID) -> Any:
    """Other orders of this customer go into the same parcels."""
    others = forms.identities("other")
    return _act(
        fulfillment_order_id,
        lambda: together.join(hub().database, visitor().merchant_id, fulfillment_order_id, others, visitor().email),
    )


@pages.post("/pack/<uuid:fulfillment_order_id>/apart")
@needs(Permission.PACK)
def take_apart(fulfillment_order_id: UUID) -> Any:
    """One of them is packed by itself after all."""
    other = forms.identity("other")
    return _act(
        fulfillment_order_id,
        lambda: together.take_apart(hub().database, visitor().merchant_id, other, visitor().email),
    )


def _act(fulfillment_order_id: UUID, act: Callable[[], object]) -> Any:
    try:
        act()
    except BadInput as error:
        return _bench_page(fulfillment_order_id, message=str(error)), 422
    except Conflict as error:
        return _bench_page(fulfillment_order_id, message=str(error)), 409
    return see_other(url_for(".order", fulfillment_order_id=fulfillment_order_id))


def _bench_page(
    fulfillment_order_id: UUID,
    *,
    scanned: packing.Scanned | None = None,
    message: str = "",
    errors: forms.Messages | None = None,
) -> str:
    with hub().database.read() as connection:
        found = existing(queries.bench(connection, visitor().merchant_id, fulfillment_order_id), _("fulfillment order"))
        return render_template(
            "bench.html",
            bench=found,
            boxes=found.boxes,
            scanned=scanned,
            message=message,
            errors=errors or {},
            form=request.form,
            # Sent along with the scan: sent twice, it counts once.
            once=uuid4(),
            new_uuid=uuid4,
            remarks=addresses.check(found.ship_to).remarks,
        )


# ---------------------------------------------------------------- boxes


@pages.get("/pack/boxes")
def boxes() -> str:
    return _boxes_page()


@pages.post("/pack/boxes")
@needs(Permission.PACK)
def save_box() -> Any:
    """Keep a box, or remove it."""
    database, merchant_id = hub().database, visitor().merchant_id
    box_id = forms.identity("box")
    if request.form.get("act") == "remove":
        packing.remove_box(database, merchant_id, box_id, visitor().email)
        flash(_("The box is removed."), "success")
        return see_other(url_for(".boxes"))
    numbers: dict[str, int] = {}
    errors: dict[str, list[str]] = {}
    for name in ("length_mm", "width_mm", "height_mm", "empty_grams", "most_grams"):
        with forms.gathering(errors):
            numbers[name] = forms.whole_number(request.form.get(name, ""), name)
    try:
        if errors:
            raise BadInput(_("Some fields need another look."), errors)
        packing.save_box(
            database, merchant_id, Box(id=box_id, name=request.form.get("name", ""), **numbers), visitor().email
        )
    except BadInput as error:
        return _boxes_page(str(error), error.fields), 422
    flash(_("The box is saved."), "success")
    return see_other(url_for(".boxes"))


def _boxes_page(message: str = "", errors: forms.Messages | None = None) -> str:
    with hub().database.read() as connection:
        return render_template(
            "boxes.html",
            boxes=packing.boxes(connection, visitor().merchant_id),
            message=message,
            errors=errors or {},
            form=request.form,
            new_id=uuid4(),
        )


# ---------------------------------------------------------------- shelves


@pages.get("/pack/shelves")
def shelves() -> str:
    return _shelves_page()


@pages.post("/pack/shelves")
@needs(Permission.PACK)
def set_shelf() -> Any:
    """Say where a SKU lies."""
    location_id = forms.identity("location")
    packing.set_shelf(
        hub().database,
        visitor().merchant_id,
        location_id,
        forms.identity("sku"),
        request.form.get("zone", ""),
        request.form.get("shelf", ""),
        visitor().email,
    )
    flash(_("Kept."), "success")
    return see_other(url_for(".shelves", location=location_id, q=request.form.get("q", "")[:200] or None))


def _shelves_page() -> str:
    text = lists.search_text()
    with hub().database.read() as connection:
        places = connections.locations(connection, visitor().merchant_id)
        location_id = lists.chosen_id("location") or (places[0].id if places else None)
        rows = queries.shelves(connection, visitor().merchant_id, location_id, text) if location_id else []
        return render_template("shelves.html", rows=rows, places=places, location_id=location_id, text=text)
