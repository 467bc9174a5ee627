"""Shipments: what is to be labelled, what carriers offer, the label and its file, where the parcel is, the policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, flash, render_template, request, url_for
from sqlalchemy import select
from werkzeug.exceptions import NotFound

from hub.access import Permission
from hub.connector import Carrier, CarrierCapabilities
from hub.core.rates import ShippedWhen, ShippingPolicy
from hub.core.shipping import DocumentFormat
from hub.errors import BadInput, Conflict
from hub.store import labels, papers, policies
from hub.store import shipments as goods
from hub.store import tables as t
from hub.store.database import Lanes
from hub.store.queries import packing
from hub.store.queries import shipments as queries
from hub.web import forms, lists
from hub.web.failures import existing
from hub.web.gate import hub, needs, see_other, visitor
from hub.web.waking import ring

pages = Blueprint("shipments", __name__)

_TYPES = {
    DocumentFormat.PDF: "application/pdf",
    DocumentFormat.PNG: "image/png",
    DocumentFormat.ZPL: "text/plain; charset=utf-8",
}


@pages.get("/shipments")
def index() -> str:
    show, text = lists.choice("show", tuple(queries.SHOWN)), lists.search_text()
    before = lists.read_time_mark()
    with hub().database.read() as connection:
        rows = queries.shipments(
            connection, visitor().merchant_id, show=show, text=text, before=before, limit=lists.ONE_MORE
        )
    page = lists.listed(rows, lambda row: lists.time_mark(row.created_at, row.id))
    return render_template("shipments.html", page=page, show=show, text=text)


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
        return existing(queries.shipment(connection, visitor().merchant_id, shipment_id), "shipment")


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
        raise BadInput("Choose one of the offers.")
    if found.rates_at is None or datetime.now(UTC) - found.rates_at > labels.RATES_LAST:
        flash("These offers were too old to be bought: the carriers are being asked again.", "warning")
        return _ask(shipment_id)
    carrier_id = UUID(key.partition("|")[0])
    why = found.why if offer.chosen else "Chosen by a person."
    _do(labels.buy, shipment_id, carrier_id, offer.rate, why, format=_format(carrier_id))
    return shipment_id, [(carrier_id, "effects")]


def _format(carrier_id: UUID) -> DocumentFormat:
    """The format that the merchant wants, where the carrier can print it."""
    account = t.connection.c
    with hub().database.read() as connection:
        wanted = labels.policy(connection, visitor().merchant_id).format
        name = connection.execute(
            select(account.connector).where(account.merchant_id == visitor().merchant_id, account.id == carrier_id)
        ).scalar_one()
    carrier = hub().registry.connector(name)
    if not isinstance(carrier.capabilities, CarrierCapabilities):
        raise Conflict(f"{carrier.label} sells no labels.")
    formats = carrier.capabilities.label_formats
    return wanted if wanted in formats else formats[0]


def _by_hand(shipment_id: UUID) -> _Done:
    carrier = "_".join(request.form.get("carrier", "").lower().split())[:60]
    if not carrier:
        raise BadInput("Say with whom it is sent.")
    numbers = request.form.get("tracking", "").replace("\n", ",").split(",")[:50]
    _do(labels.label_by_hand, shipment_id, carrier, numbers)
    return shipment_id, []


def _hand_over(shipment_id: UUID) -> _Done:
    lanes = _do(goods.hand_over, shipment_id)
    flash("It has left: stock is changed, and the shop is being told.", "success")
    return shipment_id, lanes


def _give_back(shipment_id: UUID) -> _Done:
    lanes = _do(labels.give_back, shipment_id)
    flash("The label is being given back. Keep the parcel here.", "success")
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
        raise NotFound("This shipment has no such document.")
    with hub().database.read() as connection:
        file = papers.read(connection, hub().keyring, visitor().merchant_id, document_id)
    name = f"{file.kind.value}-{found.row.reference}.{file.format.value}"
    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(file.content, content_type=_TYPES[file.format], headers=disposition)


# ---------------------------------------------------------------- the day


@pages.get("/shipments/manifest")
def manifest() -> str:
    """What was labelled on a day, by carrier."""
    today = datetime.now(UTC).date()
    try:
        day = date.fromisoformat(request.args.get("day", "") or today.isoformat())
    except ValueError:
        raise BadInput("Choose a day.") from None
    begins = datetime.combine(day, time(), UTC)
    with hub().database.read() as connection:
        rows = queries.manifest(connection, visitor().merchant_id, begins, begins + timedelta(days=1))
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
    flash("Labels are bought by these rules from now on.", "success")
    return see_other(url_for(".policy"))


def _words(name: str) -> tuple[str, ...]:
    return forms.words(request.form.get(name, ""), longest=120)[:50]
