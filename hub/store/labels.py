"""Labels: asking carriers what a shipment costs, buying its label once, keeping its files, and giving it back.

A label is bought by an effect whose key is the shipment, so that one shipment can never pay for two; another label is
another shipment, which names the one it replaces. A purchase passes ``shipments.check`` in the transaction that plans
it, and once more in the one that claims it: what is known to be cancelled before is not bought, and what is bought all
the same is given back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection, Row, func, select, update

from hub import access, addresses
from hub.access import Permission
from hub.connector import CarrierCapabilities, Connector, EffectResult
from hub.core import customs, rates
from hub.core.carriers import carrier_name, named_service
from hub.core.model import Address, Money
from hub.core.plain import from_plain, to_plain
from hub.core.rates import Answer, Choice, Offer, ShippedWhen, ShippingPolicy
from hub.core.shipping import (
    Customs,
    Dimensions,
    DocumentFormat,
    Label,
    LabelPurchase,
    LabelVoid,
    LengthUnit,
    Parcel,
    Rate,
    Shipment,
    VoidState,
    Weight,
    WeightUnit,
)
from hub.errors import BadInput, Conflict
from hub.store import activity, effects, fulfillment, searching, shipments
from hub.store import tables as t
from hub.store.database import Lanes, for_update
from hub.store.fulfillment import State
from hub.store.shipments import change, locked

log = structlog.get_logger()

NOT_VOIDED = "label_not_voided"  # the kind of issue; the subject is the shipment's id
RATES_LAST = timedelta(minutes=30)  # an older offer is asked for once more before it is bought
_FIRST_LOOK = timedelta(hours=1)  # after a label was bought, its carrier is asked where the parcel is
_FOLLOWED_SOON = timedelta(seconds=30)  # after a label was bought, so that those of the next ones are asked for along
# A carrier that has not decided whether it takes a label back is asked again after as long as that has lasted already.
_VOID_FIRST_ASKED = timedelta(hours=1)
_VOID_ASKED_DAILY = timedelta(days=1)
VOID_UNDECIDED = timedelta(days=30)  # then a person is told, and the carrier asked no more
UNASKED = {"void_requested_at": None, "void_ask_at": None}  # of a shipment whose carrier has nothing to decide


def policy(connection: Connection, merchant_id: UUID) -> ShippingPolicy:
    """Which labels the merchant buys, and how."""
    this = t.shipping_policy.c
    rules = connection.execute(select(this.rules).where(this.merchant_id == merchant_id)).scalar_one_or_none()
    return ShippingPolicy() if rules is None else from_plain(ShippingPolicy, rules)


# ---------------------------------------------------------------- what is to be carried


def to_carry(connection: Connection, row: Row[Any]) -> Shipment:
    """The shipment as a carrier gets to see it. Raises BadInput where something is missing that a label needs."""
    order, work, place = t.sales_order.c, t.fulfillment_order.c, t.location.c
    found = connection.execute(
        select(t.SHIP_TO.label("ship_to"), order.email, order.number, order.currency, place.address, place.name)
        .select_from(
            t.fulfillment_order.join(
                t.sales_order, (order.merchant_id == work.merchant_id) & (order.id == work.order_id)
            ).join(t.location, (place.merchant_id == work.merchant_id) & (place.id == work.location_id))
        )
        .where(work.merchant_id == row.merchant_id, work.id == row.fulfillment_order_id)
    ).one()
    here, there = from_plain(Address, found.address), from_plain(Address, found.ship_to)
    if not here.country:
        raise BadInput(f"{found.name} has no address yet. Enter it under Locations: labels need a sender.")
    if not there.country:
        raise BadInput(f"Order {found.number} has no address to ship to. Enter one in the shop.")
    here = here if here.name or here.company else replace(here, company=found.name)
    origin, destination = (there, here) if row.is_return else (here, there)
    return Shipment(
        reference=row.reference,
        origin=origin,
        destination=destination,
        parcels=tuple(_parcels(connection, row)),
        customs=_customs(connection, row, found) if customs.crosses_a_border(origin, destination) else None,
        returning=row.is_return,
        email=found.email,
    )


def for_carrier(shipment: Shipment, carrier: str) -> Shipment:
    """The shipment as a carrier (or a connector that sells for several) takes it: its addresses in the letters and the
    lines that there is room for. Raises BadInput for what does not fit however it is written: nothing is cut off."""
    if carrier not in addresses.LIMITS:
        origin, destination = addresses.divided(shipment.origin), addresses.divided(shipment.destination)
        return replace(shipment, origin=origin, destination=destination)
    here, there = addresses.fitted(shipment.origin, carrier), addresses.fitted(shipment.destination, carrier)
    if too_long := [*here.too_long, *there.too_long]:
        raise BadInput(f"Too long for its labels: {'; '.join(too_long)}. Correct the address, then ask again.")
    return replace(shipment, origin=here.address, destination=there.address)


def _parcels(connection: Connection, row: Row[Any]) -> Iterable[Parcel]:
    box = t.parcel.c
    for each in connection.execute(
        select(t.parcel).where(box.merchant_id == row.merchant_id, box.shipment_id == row.id).order_by(box.number)
    ):
        size = (
            Dimensions.of(each.length_mm, each.width_mm, each.height_mm, LengthUnit.MILLIMETER)
            if each.length_mm and each.width_mm and each.height_mm
            else None
        )
        weight = Weight.of(each.weight_grams, WeightUnit.GRAM)
        yield Parcel(weight=weight, dimensions=size, packaging=each.packaging)


def _customs(connection: Connection, row: Row[Any], about: Any) -> Customs:
    contents = shipments.units(connection, row)
    line, order, listing = t.order_line.c, t.sales_order.c, t.listing.c
    goods = [
        customs.Goods(
            sku=each.sku_text,
            title=each.title,
            quantity=contents[each.id],
            unit_value=Money.of(each.unit_price, each.currency),
            weight_grams=each.weight_grams,
            origin_country=each.origin_country or "",
            hs_code=each.hs_code or "",
        )
        for each in connection.execute(
            select(
                line.id,
                line.sku_text,
                line.title,
                line.unit_price,
                order.currency,
                listing.weight_grams,
                listing.origin_country,
                listing.hs_code,
            )
            .select_from(
                t.order_line.join(
                    t.sales_order, (order.merchant_id == line.merchant_id) & (order.id == line.order_id)
                ).outerjoin(
                    t.listing,
                    (listing.merchant_id == line.merchant_id)
                    & (listing.connection_id == order.connection_id)
                    & (listing.external_id == line.listing_external_id),
                )
            )
            .where(line.merchant_id == row.merchant_id, line.id.in_(list(contents)))
            .order_by(order.placed_at, order.id, line.position)
        )
    ]
    if len({each.unit_value.currency for each in goods}) > 1:
        raise BadInput(
            "These orders were paid in different currencies, which one declaration cannot hold. Pack them by "
            "themselves."
        )
    try:
        return customs.declared(goods, returning=row.is_return, signer=about.name, invoice_number=row.reference)
    except customs.GoodsUnknown as error:
        raise BadInput(str(error)) from error


# ---------------------------------------------------------------- rates


@access.needs(Permission.PACK)
def ask_rates(connection: Connection, merchant_id: UUID, shipment_id: UUID, *, at: datetime, actor: str = "") -> Lanes:
    """Have all carriers asked what a shipment costs; returns the lane to ring for. Raises Conflict."""
    row, work = locked(connection, merchant_id, shipment_id)
    if row.state != "draft":
        raise Conflict(f"Shipment {row.reference} is {row.state} already: carriers are asked before that.")
    change(connection, row, rates_wanted_at=at, error="")
    if actor:
        fulfillment.note(connection, work, "rates_asked", f"Rates asked for {row.reference}", at=at, actor=actor)
    return [(channel_of(connection, merchant_id, shipment_id), "ship")]


def connections_due(connection: Connection, at: datetime, only: UUID | None = None) -> list[tuple[UUID, UUID]]:
    """The connections (merchant, connection) with orders for whose shipments carriers are to be asked; of one alone,
    if it is given."""
    this, order = t.shipment.c, t.sales_order.c
    # Asked shipment by shipment, of which few wait: as a join, SQLite goes through all orders.
    shop = select(order.connection_id).where(order.merchant_id == this.merchant_id, order.id == this.order_id)
    waiting = (
        select(this.merchant_id, shop.scalar_subquery().label("connection_id"))
        .distinct()
        .where(this.rates_wanted_at <= at)
        .subquery()
        .c
    )
    one = [] if only is None else [waiting.connection_id == only]
    found = connection.execute(select(waiting.merchant_id, waiting.connection_id).where(*one))
    return [(row.merchant_id, row.connection_id) for row in found]


def next_to_rate(connection: Connection, merchant_id: UUID, connection_id: UUID, at: datetime) -> Row[Any] | None:
    """The shipment of an order of this connection for which carriers are to be asked now; put off before it is tried,
    so that whatever happens to this worker, the next try comes later."""
    this, order = t.shipment.c, t.sales_order.c
    due = connection.execute(
        select(t.shipment)
        .join(t.sales_order, (order.merchant_id == this.merchant_id) & (order.id == this.order_id))
        .where(this.merchant_id == merchant_id, order.connection_id == connection_id, this.rates_wanted_at <= at)
        .order_by(this.rates_wanted_at, this.id)
        .limit(1)
    ).one_or_none()
    if due is not None:
        change(connection, due, rates_wanted_at=at + timedelta(minutes=1) if due.state == "draft" else None)
    return due


def channel_of(connection: Connection, merchant_id: UUID, shipment_id: UUID) -> UUID:
    """The connection of a shipment's order, whose lane "ship" asks the carriers."""
    this, order = t.shipment.c, t.sales_order.c
    return connection.execute(  # type: ignore[no-any-return]
        select(order.connection_id)
        .join(t.shipment, (this.merchant_id == order.merchant_id) & (this.order_id == order.id))
        .where(this.merchant_id == merchant_id, this.id == shipment_id)
    ).scalar_one()


def keep_answers(
    connection: Connection,
    merchant_id: UUID,
    shipment_id: UUID,
    answers: Sequence[Answer],
    *,
    at: datetime,
    wished: Choice | None = None,
) -> Choice | None:
    """Keep what the carriers answered, with the offer to be taken, which is returned: the one a plugin has ``wished``
    for, else the one that the merchant's policy takes. None: there is none, or the shipment is no draft any more."""
    row, _ = locked(connection, merchant_id, shipment_id)
    if row.state != "draft":
        return None
    found = rates.offers_of(answers)
    order, along = t.sales_order.c, t.shipment_companion.c
    carried = select(along.order_id).where(along.merchant_id == merchant_id, along.shipment_id == row.id)
    about = connection.execute(
        select(
            func.max(order.currency).filter(order.id == row.order_id).label("currency"),
            func.min(order.promised_at).label("promised_at"),  # of several orders the one that cannot wait
        ).where(order.merchant_id == merchant_id, (order.id == row.order_id) | order.id.in_(carried))
    ).one()
    currency = rates.currency_of(found, about.currency)
    chosen = wished or rates.choose(found, policy(connection, merchant_id), currency, about.promised_at)
    change(
        connection,
        row,
        rates=[to_plain(each) for each in answers],
        rates_at=at,
        rates_wanted_at=None,
        choice=chosen_as_plain(chosen, "") if chosen else None,
        error="" if found else "; ".join(_why_none(answers)),
    )
    return chosen


def _why_none(answers: Sequence[Answer]) -> Iterable[str]:
    if not answers:
        yield "No carrier is connected. Connect one under Connections, or enter a label bought elsewhere."
    for each in answers:
        said = each.trouble or "; ".join(each.notes) or "it offers nothing for this shipment"
        yield f"{each.account}: {said}"


def chosen_as_plain(choice: Choice, actor: str) -> dict[str, Any]:
    """The offer that is taken and why, as a row keeps it; ``by`` "" is the policy."""
    offer = choice.offer
    return {"connection": offer.connection, "rate": to_plain(offer.rate), "why": choice.why, "by": actor}


def refuse_rates(connection: Connection, merchant_id: UUID, shipment_id: UUID, why: str) -> None:
    """Carriers cannot be asked before somebody puts something right."""
    row, _ = locked(connection, merchant_id, shipment_id)
    change(connection, row, rates_wanted_at=None, error=why)


def offers(row: Row[Any]) -> list[Offer]:
    """What carriers offer for a shipment, as they answered last."""
    return rates.offers_of(answers(row))


def answers(row: Row[Any]) -> list[Answer]:
    """What each carrier answered last."""
    return [from_plain(Answer, each) for each in row.rates or ()]


def ask_again(connection: Connection, merchant_id: UUID, order_id: UUID, *, at: datetime) -> None:
    """A hold of a locked order is over: where labels are bought by themselves, carriers are asked again for what waited
    for it, and for what was not bought because of it. The lane "ship" of the order's connection has to do then."""
    this, work, bought = t.shipment.c, t.fulfillment_order.c, t.effect.c
    waiting = connection.execute(
        select(t.shipment)
        .join(t.fulfillment_order, (work.merchant_id == this.merchant_id) & (work.id == this.fulfillment_order_id))
        .outerjoin(t.effect, (bought.merchant_id == this.merchant_id) & (bought.id == this.effect_id))
        .where(
            this.merchant_id == merchant_id,
            this.order_id == order_id,
            this.rates_wanted_at.is_(None),
            this.withdrawn_at.is_(None),
            this.is_return.is_(False),
            work.collect.is_(False),
            (this.state == "draft")
            | ((this.state == "failed") & (bought.state == "cancelled") & bought.sent_at.is_(None)),
        )
        .order_by(this.id)
    ).all()
    if not waiting or not policy(connection, merchant_id).automatic:
        return
    for row in waiting:
        if row.state == "draft":
            change(connection, row, rates_wanted_at=at, error="")
            continue
        with suppress(Conflict):  # held for another reason still: it is asked for when that one is over
            _offered_anew(connection, merchant_id, row.id, at=at, actor="")


# ---------------------------------------------------------------- buying


@access.needs(Permission.PACK)
def buy(
    connection: Connection,
    merchant_id: UUID,
    shipment_id: UUID,
    carrier_id: UUID,
    rate: Rate,
    why: str,
    *,
    at: datetime,
    actor: str = "",
    format: DocumentFormat = DocumentFormat.PDF,
) -> UUID:
    """Plan the purchase of the shipment's label at ``rate`` from the connection ``carrier_id``; returns the effect.

    Raises Conflict when it must not be shipped now, when its label is being bought already, and when the rate is too
    old; then the carriers are asked again. BadInput for an address that this carrier's labels have no room for.
    """
    row, work = locked(connection, merchant_id, shipment_id)
    shipments.check(connection, row, work)
    if row.state != "draft":
        raise Conflict(f"Shipment {row.reference} is {row.state} already: its label is bought once only.")
    shipment = for_carrier(to_carry(connection, row), rate.carrier)
    purchase = LabelPurchase(shipment=shipment, rate=rate, format=format)
    effect_id = effects.plan(
        connection,
        merchant_id,
        carrier_id,
        "buy_label",
        row.reference,
        to_plain(purchase),
        now=at,
        ordering_key=_key(row),
        order_id=row.order_id,
    )
    offer = Offer(connection=str(carrier_id), account="", rate=rate)
    change(
        connection,
        row,
        state="buying",
        connection_id=carrier_id,
        effect_id=effect_id,
        carrier=rate.carrier[:60],
        service=(rate.name or rate.service)[:120],
        promised_by=rate.deliver_by,
        choice=chosen_as_plain(Choice(offer=offer, why=why), actor),
        rates_wanted_at=None,
        error="",
    )
    fulfillment.note(
        connection,
        work,
        "label_ordered",
        f"Label of {row.reference}: {rate.name or rate.service}, {rate.cost}. {why}",
        at=at,
        actor=actor,
        shipment=str(row.id),
    )
    return effect_id


def buy_chosen(
    connection: Connection,
    merchant_id: UUID,
    shipment_id: UUID,
    connectors: Mapping[str, type[Connector]],
    *,
    at: datetime,
    actor: str,
) -> tuple[UUID, Rate]:
    """Plan the purchase of the offer that the policy chose; returns whose it is, and the rate. As ``buy``, and Conflict
    where none is chosen."""
    row, _ = locked(connection, merchant_id, shipment_id)
    if not row.choice:
        raise Conflict("No offer is chosen for it. Open it, and choose one.")
    carrier_id, rate = UUID(row.choice["connection"]), from_plain(Rate, row.choice["rate"])
    printed = format_of(connection, merchant_id, carrier_id, connectors)
    buy(connection, merchant_id, shipment_id, carrier_id, rate, row.choice["why"], at=at, actor=actor, format=printed)
    return carrier_id, rate


def format_of(
    connection: Connection, merchant_id: UUID, carrier_id: UUID, connectors: Mapping[str, type[Connector]]
) -> DocumentFormat:
    """The format that the merchant wants labels in, where this account can print it; else its first. Raises Conflict
    for an account that sells none."""
    account = t.connection.c
    found = connection.execute(
        select(account.connector, account.label).where(account.merchant_id == merchant_id, account.id == carrier_id)
    ).one()
    carrier = connectors.get(found.connector)
    if carrier is None or not isinstance(carrier.capabilities, CarrierCapabilities):
        raise Conflict(f"{found.label} sells no labels.")
    wanted, formats = policy(connection, merchant_id).format, carrier.capabilities.label_formats
    return wanted if wanted in formats else formats[0]


def is_fresh(row: Row[Any], at: datetime) -> bool:
    """Whether the offers of a shipment may still be bought as they are."""
    return row.rates_at is not None and at - row.rates_at <= RATES_LAST


@access.needs(Permission.PACK)
def label_by_hand(
    connection: Connection,
    merchant_id: UUID,
    shipment_id: UUID,
    carrier: str,
    tracking_numbers: Sequence[str],
    *,
    at: datetime,
    actor: str,
) -> None:
    """A person has bought the label elsewhere, or uses a stamp. Raises Conflict when it must not be shipped now."""
    row, work = locked(connection, merchant_id, shipment_id)
    shipments.check(connection, row, work)
    if row.state != "draft":
        raise Conflict(f"Shipment {row.reference} is {row.state} already.")
    numbers = [number[:100] for each in tracking_numbers if (number := each.strip())]
    _keep_numbers(connection, row, numbers)
    values = {"state": "labelled", "carrier": carrier[:60], "tracking_numbers": numbers, "labelled_at": at}
    change(connection, row, rates_wanted_at=None, error="", **values)
    searching.keep_up_parcels(connection, merchant_id, shipment_id)
    named = ", ".join(numbers) or "untracked"
    summary = f"Label of {row.reference} bought elsewhere: {carrier_name(carrier)} ({named})"
    fulfillment.note(connection, work, "label_entered", summary, at=at, actor=actor, shipment=str(row.id))


def _key(row: Row[Any]) -> str:
    return f"shipment/{row.id}"


def of_effect(connection: Connection, effect: Row[Any]) -> tuple[Row[Any], Row[Any]] | None:
    """The shipment that an effect is about, and its fulfillment order, locked; None where it is about none."""
    kind, _, shipment_id = effect.ordering_key.partition("/")
    return locked(connection, effect.merchant_id, UUID(shipment_id)) if kind == "shipment" else None


def may_be_bought(connection: Connection, effect: Row[Any], at: datetime) -> None:
    """Raise Conflict when the label must not be bought any more: asked once more by whoever is about to buy it."""
    found = of_effect(connection, effect)
    if found is None:
        return
    row, work = found
    if row.withdrawn_at is not None or row.state not in ("buying", "failed"):
        raise Conflict(f"Shipment {row.reference} is {'withdrawn' if row.withdrawn_at else row.state}.")
    shipments.check(connection, row, work)
    if row.state == "failed":  # a person has it tried again
        change(connection, row, state="buying", error="")


def bought(connection: Connection, effect: Row[Any], result: EffectResult, at: datetime) -> Lanes:
    """A label was bought: keep what came with it. Where the order must not be shipped any more, it is given back."""
    found = of_effect(connection, effect)
    if found is None:
        return []
    row, work = found
    label = _label(result)
    cost = label.cost if label else None
    numbers = [each[:100] for each in label.tracking_numbers] if label else []
    change(
        connection,
        row,
        state="labelled",
        external_id=(label.external_id if label else result.reference)[:200],
        label=to_plain(label) if label else None,
        tracking_numbers=numbers,
        tracking_url=label.tracking_url[:1000] if label else "",
        cost_minor=cost.minor if cost else None,
        currency=cost.currency if cost else "",
        labelled_at=at,
        voided_at=None,
        track_at=at + _FIRST_LOOK if numbers else None,
        follow_at=at + _FOLLOWED_SOON if numbers else None,
        documents_at=at if label and not result.documents else None,
        error="",
    )
    _keep_numbers(connection, row, numbers)
    held = shipments.shares(connection, row, work)
    searching.keep_up_parcels(connection, row.merchant_id, row.id)
    named = ", ".join(numbers) or "untracked"
    summary = f"Label bought: {named_service(row.carrier, row.service)}{f', {cost}' if cost else ''} ({named})"
    shipments.note(connection, row, held, "label_bought", summary, at=at)
    lanes: Lanes = [(effect.connection_id, "fetch")] if label and not result.documents else []
    if why := _unwanted(connection, row, held):
        return lanes + give_up(connection, row.merchant_id, [row.id], why, at)
    again = shipments.left_before(connection, row) is not None
    if again or (policy(connection, row.merchant_id).shipped_when is ShippedWhen.LABEL and not row.is_return):
        lanes += _ship_now(connection, row, work, at)
    if row.supersedes_id is not None:
        lanes += give_up(connection, row.merchant_id, [row.supersedes_id], "its label was replaced", at)
    return lanes


def _label(result: EffectResult) -> Label | None:
    """The label that came of a purchase; None where a person says that there is one, or its answer cannot be read: it
    is bought all the same."""
    try:
        return from_plain(Label, result.details) if result.details else None
    except ValueError as error:
        log.error("label_unreadable", reference=result.reference, error=str(error))
        return None


def _unwanted(connection: Connection, row: Row[Any], held: Sequence[shipments.Share]) -> str:
    """Why a label that has just been bought is to be given back; "": it is not."""
    if row.withdrawn_at is not None or row.state == "void":
        return row.error or "the shipment was withdrawn"
    if row.is_return or shipments.left_before(connection, row) is not None:
        return ""
    works = (share.work for share in held)
    ended = next((work for work in works if work.closed_at is not None or work.state == State.CANCELLING), None)
    return f"fulfillment order {ended.reference} is {ended.state}" if ended is not None else ""


def _ship_now(connection: Connection, row: Row[Any], work: Row[Any], at: datetime) -> Lanes:
    try:
        shipments.check(connection, row, work)
    except Conflict:
        return []  # it is on hold by now: a person hands it over when it may go
    return shipments.ship(connection, row.merchant_id, row.id, at=at)


def _keep_numbers(connection: Connection, row: Row[Any], numbers: Sequence[str]) -> None:
    box = t.parcel.c
    for number, tracking_number in enumerate(numbers, start=1):
        connection.execute(
            update(t.parcel)
            .where(box.merchant_id == row.merchant_id, box.shipment_id == row.id, box.number == number)
            .values(tracking_number=tracking_number)
        )


def not_bought(connection: Connection, effect: Row[Any], error: str, at: datetime) -> Lanes:
    """The carrier refused, it came too late, or a person says that the label was not bought."""
    found = of_effect(connection, effect)
    if found is None or found[0].state != "buying":
        return []
    row, work = found
    if row.withdrawn_at is not None:
        change(connection, row, state="void", voided_at=at, error=error)
    else:
        change(connection, row, state="failed", error=error)
        summary = f"No label for {row.reference}: {error}"
        fulfillment.note(connection, work, "label_not_bought", summary, at=at, shipment=str(row.id))
    return []


# ---------------------------------------------------------------- another label


@access.needs(Permission.PACK)
def offer_again(connection: Connection, merchant_id: UUID, shipment_id: UUID, *, at: datetime, actor: str) -> UUID:
    """The same parcels as a new shipment, after their label was refused or given back; returns it.

    Raises Conflict for a shipment that has a label, or may have one.
    """
    return _offered_anew(connection, merchant_id, shipment_id, at=at, actor=actor)


def _offered_anew(connection: Connection, merchant_id: UUID, shipment_id: UUID, *, at: datetime, actor: str) -> UUID:
    row, work = locked(connection, merchant_id, shipment_id)
    if row.state not in ("failed", "void") and row.withdrawn_at is None:
        raise Conflict(f"Shipment {row.reference} is {row.state}. Give its label back first, or replace it.")
    shipments.check(connection, row, work)
    give_up(connection, merchant_id, [row.id], "its parcels are offered anew", at)
    parcels = shipments.drafts_of(connection, row)
    return _drafted(connection, row, work, parcels, "Offered anew", at, actor, supersedes=row.supersedes_id)


@access.needs(Permission.PACK)
def replace_label(connection: Connection, merchant_id: UUID, shipment_id: UUID, *, at: datetime, actor: str) -> UUID:
    """A shipment that gets another label for the same parcels; returns it.

    The present label stays good until the other one is bought: then it is given back, and the channel is told.
    """
    row, work = locked(connection, merchant_id, shipment_id)
    if row.state not in ("labelled", "shipped") or row.withdrawn_at is not None or row.is_return:
        raise Conflict(f"Shipment {row.reference} has no label that could be replaced.")
    if row.delivered_at is not None:
        raise Conflict(f"Shipment {row.reference} has arrived: it needs no other label.")
    _one_successor(connection, row)
    if row.state == "labelled":
        shipments.check(connection, row, work)
    parcels = shipments.drafts_of(connection, row)
    return _drafted(connection, row, work, parcels, "A new label is asked for", at, actor, supersedes=row.id)


def _one_successor(connection: Connection, row: Row[Any]) -> None:
    this = t.shipment.c
    there = connection.execute(
        select(this.reference).where(
            this.merchant_id == row.merchant_id,
            this.supersedes_id == row.id,
            this.state.not_in(("void", "failed")),
            this.withdrawn_at.is_(None),
        )
    ).scalar()
    if there is not None:
        raise Conflict(f"Its label is being replaced already, by shipment {there}.")


@access.needs(Permission.PACK)
def return_label(connection: Connection, merchant_id: UUID, shipment_id: UUID, *, at: datetime, actor: str) -> UUID:
    """A shipment that brings the goods of another one back; returns it. Raises Conflict for one that has not left."""
    row, work = locked(connection, merchant_id, shipment_id)
    if row.state != "shipped" or row.is_return:
        raise Conflict("Only what has been shipped can come back.")
    parcels = shipments.drafts_of(connection, row)
    return _drafted(connection, row, work, parcels, "A return label is asked for", at, actor, is_return=True)


def _drafted(
    connection: Connection,
    row: Row[Any],
    work: Row[Any],
    parcels: Sequence[shipments.ParcelDraft],
    what: str,
    at: datetime,
    actor: str,
    **more: Any,
) -> UUID:
    made = shipments.draft(connection, row.merchant_id, work, parcels, at=at, **more)
    summary = f"{what} for the parcels of {row.reference}"
    fulfillment.note(connection, work, "shipment_drafted", summary, at=at, actor=actor, shipment=str(made))
    return made


# ---------------------------------------------------------------- giving back


def withdraw(connection: Connection, work: Row[Any], why: str, *, at: datetime) -> Lanes:
    """Give up whatever of a locked fulfillment order has not left: parcels, and labels, which are voided.

    One that is being bought at this moment is voided when the answer is there. What goes with the label of another
    order is for ``together.leave`` to take out before. Returns the lanes to ring for.
    """
    this = t.shipment.c
    ids = connection.execute(
        select(this.id).where(this.merchant_id == work.merchant_id, this.fulfillment_order_id == work.id, *NOT_GONE)
    ).scalars()
    return give_up(connection, work.merchant_id, list(ids), why, at)


# A shipment that holds goods, or has a label, and has not left.
NOT_GONE = (t.shipment.c.state.in_(("draft", "buying", "labelled", "failed")), t.shipment.c.is_return.is_(False))


def never_bought(connection: Connection, row: Row[Any], *, at: datetime) -> bool:
    """Whether there surely is no label of a locked shipment, nor will be: a purchase that was not sent is cancelled."""
    if row.state not in ("draft", "failed", "buying"):
        return False
    return effects.withdraw(connection, row.merchant_id, _key(row), "buy_label", at=at)


@access.needs(Permission.PACK)
def give_back(connection: Connection, merchant_id: UUID, shipment_id: UUID, *, at: datetime, actor: str) -> Lanes:
    """A person wants the label back, or the shipment dropped; returns the lanes to ring for.

    Raises Conflict for one that has left.
    """
    row, work = locked(connection, merchant_id, shipment_id)
    if row.state in ("shipped", "void"):
        raise Conflict(f"Shipment {row.reference} is {row.state}: its label cannot be given back.")
    summary = f"The label of {row.reference} is given back"
    fulfillment.note(connection, work, "label_given_back", summary, at=at, actor=actor, shipment=str(row.id))
    return give_up(connection, merchant_id, [row.id], f"{actor} gave it back", at)


def give_up(connection: Connection, merchant_id: UUID, shipment_ids: Collection[UUID], why: str, at: datetime) -> Lanes:
    """Have nothing leave with these shipments, whose orders are locked: what may have a label gives it back. Returns
    the lanes to ring for."""
    lanes: Lanes = []
    this = t.shipment.c
    rows = for_update(
        connection,
        select(t.shipment).where(this.merchant_id == merchant_id, this.id.in_(shipment_ids)).order_by(this.id),
    )
    for row in connection.execute(rows).all():
        if row.state == "void":
            continue
        if row.state in ("draft", "failed", "buying"):
            if effects.withdraw(connection, merchant_id, _key(row), "buy_label", at=at):
                change(connection, row, state="void", voided_at=at, rates_wanted_at=None, error=why)
            else:
                change(connection, row, withdrawn_at=row.withdrawn_at or at, error=why)
        elif row.void_requested_at is not None:
            # The carrier has the wish, and decides later. Made again, it would be refused, and that believed.
            change(connection, row, withdrawn_at=row.withdrawn_at or at, error=why)
        elif row.label is not None and row.connection_id is not None:
            lanes += _void(connection, row, why, at)
        elif row.connection_id is not None:
            change(connection, row, withdrawn_at=at, track_at=None, follow_at=None, error=why)
            _ask_a_person(connection, row, "the hub does not know the carrier's id of it", at)
        else:
            change(connection, row, state="void", voided_at=at, track_at=None, error=why)
    return lanes


def _void(connection: Connection, row: Row[Any], why: str, at: datetime) -> Lanes:
    """Plan to give a label back; once more, where the carrier has refused it before."""
    this = t.effect.c
    before = connection.execute(
        select(func.count(), func.count().filter(this.state.in_(("succeeded", "failed", "cancelled")))).where(
            this.merchant_id == row.merchant_id, this.ordering_key == _key(row), this.kind == "void_label"
        )
    ).one()
    if before[0] > before[1]:
        return []  # it is on its way already
    effects.plan(
        connection,
        row.merchant_id,
        row.connection_id,
        "void_label",
        row.reference,
        row.label,
        now=at,
        ordering_key=_key(row),
        order_id=row.order_id,
        generation=before[0] + 1,
    )
    change(connection, row, withdrawn_at=row.withdrawn_at or at, error=why)
    return [(row.connection_id, "effects")]


def void_answered(connection: Connection, effect: Row[Any], result: EffectResult, at: datetime) -> Lanes:
    """What the carrier said to giving a label back."""
    found = of_effect(connection, effect)
    if found is None:
        return []
    answer = from_plain(LabelVoid, result.details) if result.details else None
    _void_said(connection, found[0], answer.state if answer else VoidState.VOIDED, answer.message if answer else "", at)
    return []


def not_voided(connection: Connection, effect: Row[Any], error: str, at: datetime) -> Lanes:
    """Giving the label back failed, or a person has given up on it: the money is not back."""
    found = of_effect(connection, effect)
    if found is not None:
        _void_said(connection, found[0], VoidState.REFUSED, error, at)
    return []


def void_heard(
    connection: Connection, merchant_id: UUID, connection_id: UUID, said: LabelVoid, *, at: datetime
) -> None:
    """A carrier tells later what became of a label that was given back."""
    this = t.shipment.c
    shipment_id = connection.execute(
        select(this.id)
        .where(
            this.merchant_id == merchant_id,
            this.connection_id == connection_id,
            this.external_id == said.label_external_id[:200],
            this.external_id != "",
        )
        .order_by(this.created_at.desc())
        .limit(1)
    ).scalar_one_or_none()
    if shipment_id is not None:
        row, _ = locked(connection, merchant_id, shipment_id)
        _void_said(connection, row, said.state, said.message, at)


def _void_said(connection: Connection, row: Row[Any], state: VoidState, message: str, at: datetime) -> None:
    if row.state == "void":
        return
    if state is VoidState.REQUESTED:
        _void_undecided(connection, row, at)
        return
    if state is VoidState.REFUSED:
        change(connection, row, **UNASKED)
        _ask_a_person(connection, row, message, at)
        return
    over = {"voided_at": at, "withdrawn_at": row.withdrawn_at or at, "track_at": None, "follow_at": None}
    change(connection, row, state="void", **over, **UNASKED)
    activity.resolve_issue(connection, row.merchant_id, NOT_VOIDED, str(row.id), at=at)
    summary = f"The label of {row.reference} is given back: {named_service(row.carrier, row.service)}"
    activity.note(connection, row.merchant_id, "label_voided", summary, at=at, order_id=row.order_id)


def _void_undecided(connection: Connection, row: Row[Any], at: datetime) -> None:
    """The carrier takes the wish and decides later: it is asked again, ever more rarely, and not for ever."""
    since = row.void_requested_at or at
    lasted = at - since
    if lasted >= VOID_UNDECIDED:
        change(connection, row, **UNASKED)
        why = f"the carrier has not said within {VOID_UNDECIDED.days} days whether it takes it"
        _ask_a_person(connection, row, why, at)
        return
    pause = min(max(lasted, _VOID_FIRST_ASKED), _VOID_ASKED_DAILY)
    change(connection, row, void_requested_at=since, void_ask_at=at + pause)


def key_of_void(connection: Connection, merchant_id: UUID, shipment_id: UUID) -> str:
    """The key with which a shipment's label was given back last, as its carrier has it."""
    this = t.effect.c
    key = connection.execute(
        select(this.effect_key)
        .where(
            this.merchant_id == merchant_id,
            this.ordering_key == f"shipment/{shipment_id}",
            this.kind == "void_label",
        )
        .order_by(this.generation.desc())
        .limit(1)
    ).scalar_one()
    return str(key)


def void_asked(
    connection: Connection, merchant_id: UUID, shipment_id: UUID, said: LabelVoid | None, *, at: datetime
) -> Lanes:
    """What a carrier says that was asked what became of a label; None: it knows of no wish to give it back, and is
    asked for it once more. Returns the lanes to ring for."""
    row, _ = locked(connection, merchant_id, shipment_id)
    if row.void_ask_at is None:
        return []  # it was decided meanwhile, or the parcel has left
    if said is not None:
        _void_said(connection, row, said.state, said.message, at)
        return []
    _void_undecided(connection, row, at)
    return _void(connection, row, row.error, at) if at - row.void_requested_at < VOID_UNDECIDED else []


def void_not_asked(connection: Connection, merchant_id: UUID, shipment_id: UUID, *, at: datetime) -> None:
    """A carrier could not be asked what became of a label: it is asked again, as if it had not decided yet."""
    row, _ = locked(connection, merchant_id, shipment_id)
    if row.void_ask_at is not None:
        _void_undecided(connection, row, at)


def _ask_a_person(connection: Connection, row: Row[Any], why: str, at: datetime) -> None:
    activity.raise_issue(
        connection,
        row.merchant_id,
        NOT_VOIDED,
        str(row.id),
        f"The label of shipment {row.reference} could not be given back: {why or 'the carrier does not say why'}"[:500],
        "Stop the parcel if it is still here, and ask the carrier for the money. Then close this.",
        at=at,
        order_id=row.order_id,
        link=f"/shipments/{row.id}",
    )


def carrier_removed(
    connection: Connection, merchant_id: UUID, connection_id: UUID, cancelled: Iterable[Row[Any]], *, at: datetime
) -> None:
    """A carrier is connected no more, and these effects (kind, ordering_key, sent_at) were cancelled with it: what was
    not sent was not bought, and what is unclear, or what it has not decided, is for a person to find out."""
    this = t.shipment.c
    undecided = (this.merchant_id == merchant_id, this.connection_id == connection_id, this.void_ask_at.is_not(None))
    for shipment_id in (
        connection.execute(select(this.id).where(*undecided).order_by(this.order_id, this.id)).scalars().all()
    ):
        row, _ = locked(connection, merchant_id, shipment_id)
        change(connection, row, **UNASKED)
        _ask_a_person(connection, row, "the carrier was disconnected before it had decided", at)
    for effect in cancelled:
        kind, _, shipment_id = effect.ordering_key.partition("/")
        if kind != "shipment":
            continue
        row, _ = locked(connection, merchant_id, UUID(shipment_id))
        if effect.kind == "buy_label" and row.state == "buying":
            withdrawn = row.withdrawn_at is not None and effect.sent_at is None
            change(connection, row, state="void" if withdrawn else "failed", error="The carrier was disconnected.")
        if effect.kind == "void_label" or effect.sent_at is not None:
            _ask_a_person(connection, row, "the carrier was disconnected before it had answered", at)
