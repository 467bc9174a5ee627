"""What ShipBob says, read into the hub's model: orders with their shipments, answers to a cancellation, stock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from marshmallow import fields, post_load

import hub

# ShipBob's words for an order as a whole. It has none for one that waits for somebody: its shipments say so.
ORDER_STATES: Mapping[str, hub.ProviderState] = {
    "Processing": hub.ProviderState.ACCEPTED,
    "Exception": hub.ProviderState.ON_HOLD,
    "ImportReview": hub.ProviderState.ON_HOLD,
    "PartiallyFulfilled": hub.ProviderState.PARTIALLY_SHIPPED,
    "Fulfilled": hub.ProviderState.SHIPPED,
    "Cancelled": hub.ProviderState.CANCELLED,
}

COMPLETED, CANCELLED, LABELED = "Completed", "Cancelled", "LabeledCreated"
# A shipment with another word than these has somebody look at it.
RUNNING = frozenset({"None", "Processing", LABELED, COMPLETED, CANCELLED})
WAITING = frozenset({"Exception", "OnHold", "ImportReview"})
STARTED = frozenset({"Picked", "Packed", "Labeled"})  # details of a shipment that cannot be taken back any more

# Why a shipment waits, by ShipBob's word. Others are told in its own.
REASONS: Mapping[str, str] = {
    "Bundle": "A bundle in it cannot be packed as it is",
    "MergedItem": "A product in it was merged into another one",
    "InactiveSku": "A product in it is switched off at ShipBob",
    "OutOfStock": "ShipBob has none left",
    "UnknownSku": "ShipBob has never received it",
    "InternalTransferInProgress": "Its stock is on the way between two fulfillment centers",
    "BinTransferInProgress": "Its stock is being moved within the fulfillment center",
    "InventoryInNonPickableLocation": "Its stock lies where nobody can pick it",
    "InventoryPartiallyCommitted": "Only a part of its stock is there",
    "PaymentDeclined": "ShipBob could not charge its bill: see to the payment at ShipBob",
    "InvalidAddress": "ShipBob takes the address for wrong: correct it at ShipBob",
    "ReserveDateNotMet": "It waits for the day on which it may be picked",
    "MissingTarriffInformation": "What customs has to know of a product is missing at ShipBob",
}

# Where a parcel is, by the detail of a completed shipment; before the carrier has seen it, nobody can say.
TRACKING_STATES: Mapping[str, hub.TrackingStatus] = {
    "InTransit": hub.TrackingStatus.IN_TRANSIT,
    "OutForDelivery": hub.TrackingStatus.OUT_FOR_DELIVERY,
    "Delivered": hub.TrackingStatus.DELIVERED,
    "DeliveryException": hub.TrackingStatus.EXCEPTION,
}

_CARRIERS = {"dhlecommerce": "dhl_ecommerce", "dhlexpress": "dhl_express", "royalmail": "royal_mail"}


# ---------------------------------------------------------------- an order and its shipments


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusDetail:
    """Why a shipment is where it is."""

    name: str
    description: str
    inventory_id: str
    messages: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedItem:
    """Units of one of ShipBob's inventory items in a shipment, of one lot."""

    inventory_id: str
    quantity: int
    lot: str
    expires_on: date | None
    serial_numbers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedProduct:
    """A product in a shipment; one that is a bundle has items of several kinds."""

    sku: str
    items: tuple[PackedItem, ...]

    def units(self) -> Counter[str]:
        """Units by inventory item."""
        units: Counter[str] = Counter()
        for item in self.items:
            units[item.inventory_id] += item.quantity
        return units


@dataclass(frozen=True, slots=True, kw_only=True)
class ShipBobShipment:
    """One of the parcels, or planned parcels, of an order. ``reference`` and ``order_id`` are the order's."""

    id: str
    order_id: str
    reference: str
    status: str
    details: tuple[StatusDetail, ...]
    version: datetime | None
    shipped_at: datetime | None
    delivered_at: datetime | None
    tracked_at: datetime | None
    carrier: str
    service: str
    tracking_number: str
    tracking_url: str
    location_id: str
    products: tuple[PackedProduct, ...]

    @property
    def left(self) -> bool:
        """Whether it has left ShipBob: a label alone is no shipment yet."""
        return self.status == COMPLETED

    @property
    def was_to_leave(self) -> bool:
        """Whether it was announced, and then cancelled after all."""
        return self.status == CANCELLED and bool(self.tracking_number or self.shipped_at)

    @property
    def can_be_cancelled(self) -> bool:
        """Whether nobody has begun to pick it."""
        return self.status not in (COMPLETED, CANCELLED) and not self.started

    @property
    def started(self) -> bool:
        """Whether somebody has begun to pick it."""
        return self.status == LABELED or (
            self.status == "Processing" and any(each.name in STARTED for each in self.details)
        )

    @property
    def waits(self) -> bool:
        """Whether somebody has to do something; a word that nobody has heard of may mean it."""
        return self.status not in RUNNING

    def reasons(self) -> Iterator[str]:
        """Why it waits, or will not leave, sentence by sentence."""
        for detail in self.details:
            known = REASONS.get(detail.name) if self.status in WAITING else None
            said = known or detail.description or detail.name
            skus = [product.sku for product in self.products if detail.inventory_id in product.units()]
            yield from (_sentence(text) for text in (_about(said, skus), *detail.messages) if text)

    def tracking(self) -> hub.Tracking | None:
        """Where its parcel is, None where there is no number or nothing is told."""
        said = next((each.name for each in self.details if each.name in TRACKING_STATES), "")
        state = hub.TrackingStatus.DELIVERED if self.delivered_at else TRACKING_STATES.get(said)
        if not self.tracking_number or not self.left or state is None:
            return None
        at = self.delivered_at or self.tracked_at or self.version
        word = said or "Delivered"
        events = (hub.TrackingEvent(status=state, carrier_status=word, happened_at=at),) if at else ()
        return hub.Tracking(tracking_number=self.tracking_number, status=state, carrier_status=word, events=events)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShipBobOrder:
    """An order as ShipBob has it. ``ordered`` are units by product."""

    id: str
    reference: str
    status: str
    created_at: datetime
    ordered: Mapping[str, int]
    shipments: tuple[ShipBobShipment, ...]

    @property
    def version(self) -> datetime:
        """When it changed last: ShipBob keeps that with the shipments only."""
        return max([self.created_at, *(each.version for each in self.shipments if each.version)])

    def _standing(self) -> tuple[hub.ProviderState, str]:
        """Where it stands, and the word of ShipBob's that says so."""
        state = ORDER_STATES.get(self.status, hub.ProviderState.ON_HOLD)
        if state is hub.ProviderState.CANCELLED and any(True for each in self.shipments for _ in each.reasons()):
            return hub.ProviderState.REJECTED, self.status  # ShipBob says why: it was not we who took it back
        if state is not hub.ProviderState.ACCEPTED:
            return state, self.status
        held = next((each.status for each in self.shipments if each.waits), "")
        if held:
            return hub.ProviderState.ON_HOLD, held
        return (hub.ProviderState.IN_PROGRESS if any(each.started for each in self.shipments) else state), self.status

    def _message(self) -> str:
        state, word = self._standing()
        told = [each for each in self.shipments if each.waits or each.status == CANCELLED]
        sentences = list(dict.fromkeys(sentence for each in told for sentence in each.reasons()))
        if not sentences and state is hub.ProviderState.ON_HOLD:
            known = {"ImportReview": "ShipBob wants it looked through: open Import Review there."}
            sentences = [known.get(word, f"ShipBob says “{word}”: see to the order there.")]
        return " ".join(sentences)

    def progress(self) -> hub.Progress:
        """How far it is."""
        state, word = self._standing()
        return hub.Progress(
            reference=self.reference,
            external_id=self.id,
            state=state,
            provider_state=word,
            version=self.version,
            message=self._message(),
        )

    def submission(self) -> hub.Submission:
        """It as the answer to asking for it."""
        progress = self.progress()
        return hub.Submission(
            reference=self.reference, external_id=self.id, state=progress.state, message=progress.message
        )

    def facts(self) -> list[hub.Progress | hub.ProviderShipment | hub.Tracking]:
        """How far it is, what has left, each shipment whole, and where that is."""
        told = [each for each in self.shipments if each.left or each.was_to_leave]
        tracked = [each.tracking() for each in told]
        return [self.progress(), *map(self._shipped, told), *(each for each in tracked if each)]

    def _shipped(self, shipment: ShipBobShipment) -> hub.ProviderShipment:
        return hub.ProviderShipment(
            external_id=shipment.id,
            reference=self.reference,
            lines=tuple(self._line(product) for product in shipment.products),
            version=shipment.version or self.version,
            shipped_at=shipment.shipped_at,
            carrier=shipment.carrier,
            service=shipment.service,
            tracking_numbers=(shipment.tracking_number,) if shipment.tracking_number else (),
            tracking_url=shipment.tracking_url,
            location_external_id=shipment.location_id,
            cancelled=shipment.status == CANCELLED,
        )

    def _line(self, product: PackedProduct) -> hub.ShippedLine:
        units = product.units()
        serial_numbers = tuple(number for item in product.items for number in item.serial_numbers)
        if len(units) != 1:
            return hub.ShippedLine(
                sku=product.sku, quantity=self._bundles(product, units), serial_numbers=serial_numbers
            )
        (inventory_id, quantity), *_ = units.items()
        lots = tuple(
            hub.Lot(number=item.lot, quantity=item.quantity, expires_on=item.expires_on)
            for item in product.items
            if item.lot
        )
        return hub.ShippedLine(
            sku=product.sku,
            quantity=quantity,
            item_external_id=inventory_id,
            lots=lots,
            serial_numbers=serial_numbers,
        )

    def _bundles(self, product: PackedProduct, units: Mapping[str, int]) -> int:
        """How many of a bundle there are in a shipment that tells of its parts alone: its share of what was ordered."""
        ordered, planned = self.ordered.get(product.sku, 0), Counter[str]()
        for each in (each for shipment in self.shipments for each in shipment.products if each.sku == product.sku):
            planned += each.units()
        return min((units[part] * ordered // planned[part] for part in units if planned[part]), default=0)

    def cancellation(self, refusal: str = "") -> hub.Cancellation:
        """What has become of the wish to cancel it, by what stands there now."""
        gone = [each for each in self.shipments if each.status != CANCELLED]
        if self.status == CANCELLED or (self.shipments and not gone):
            return hub.Cancellation(reference=self.reference, state=hub.CancelState.CANCELLED)
        if len(gone) < len(self.shipments):
            message = "A part of it had left ShipBob, or was about to."
            return hub.Cancellation(reference=self.reference, state=hub.CancelState.PARTLY, message=message)
        message = refusal or "ShipBob has begun to pack it, or it has left."
        return hub.Cancellation(reference=self.reference, state=hub.CancelState.REFUSED, message=message)


def _about(said: str, skus: Iterable[str]) -> str:
    named = ", ".join(dict.fromkeys(skus))
    return f"{named}: {said}" if named else said


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _latest(*moments: datetime | None) -> datetime | None:
    return max((each for each in moments if each is not None), default=None)


def _day(text: str) -> date | None:
    """A day, of a moment; None for what is none, as for the year 1 that stands for a day that nobody entered."""
    try:
        day = date.fromisoformat(text[:10])
    except ValueError:
        return None
    return day if 1970 <= day.year < 2200 else None


# ---------------------------------------------------------------- the shapes


class ReferenceBody(hub.Translation[str]):
    """Something that is named by its id alone."""

    id = hub.Identifier(load_default="", allow_none=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> str:
        return said["id"] or ""


class ExtraBody(hub.Translation[tuple[str, ...]]):
    """What ShipBob adds to a status detail."""

    validation_messages = fields.List(hub.Text(), load_default=list, allow_none=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> tuple[str, ...]:
        return tuple(said["validation_messages"] or ())


class StatusDetailBody(hub.Translation[StatusDetail]):
    """Why a shipment is where it is."""

    name = hub.Text()
    description = hub.Text()
    inventory_id = hub.Identifier(load_default="", allow_none=True)
    extra_information = fields.Nested(ExtraBody, load_default=(), allow_none=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> StatusDetail:
        return StatusDetail(
            name=said["name"],
            description=said["description"],
            inventory_id=said["inventory_id"] or "",
            messages=said["extra_information"] or (),
        )


class PackedItemBody(hub.Translation[PackedItem]):
    """Units of one inventory item in a shipment."""

    inventory_id = hub.Identifier(required=True, data_key="id")
    quantity = hub.WholeNumber(required=True)
    lot = hub.Text()
    expiration_date = hub.Text()
    serial_numbers = fields.List(hub.Text(), load_default=list, allow_none=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> PackedItem:
        if said["quantity"] < 0:
            raise ValueError("An item is packed fewer than no times.")
        return PackedItem(
            inventory_id=said["inventory_id"],
            quantity=said["quantity"],
            lot=said["lot"],
            expires_on=_day(said["expiration_date"]),
            serial_numbers=tuple(each for each in said["serial_numbers"] or () if each),
        )


class PackedProductBody(hub.Translation[PackedProduct]):
    """A product in a shipment. Its reference is the SKU that we ordered it by."""

    reference_id = hub.Identifier(load_default="", allow_none=True)
    sku = hub.Identifier(load_default="", allow_none=True)
    inventory_items = fields.List(fields.Nested(PackedItemBody), load_default=list, allow_none=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> PackedProduct:
        return PackedProduct(
            sku=said["reference_id"] or said["sku"] or "",  # what ShipBob adds by itself need not have any
            items=tuple(said["inventory_items"] or ()),
        )


class TrackingBody(hub.Translation[dict[str, Any]]):
    """How a shipment is tracked; freight has a PRO number instead."""

    carrier = hub.Text()
    carrier_service = hub.Text()
    tracking_number = hub.Text()
    pro_number = hub.Text()
    tracking_url = hub.Text()


class ShipmentBody(hub.Translation[ShipBobShipment]):
    """A shipment: within an order, or alone in a webhook."""

    id = hub.Identifier(required=True)
    order_id = hub.Identifier(load_default="", allow_none=True)
    reference_id = hub.Identifier(load_default="", allow_none=True)
    status = hub.Text(required=True)
    status_details = fields.List(fields.Nested(StatusDetailBody), load_default=list, allow_none=True)
    created_date = hub.UtcMoment(load_default=None, allow_none=True, assume_utc=True)
    last_update_at = hub.UtcMoment(load_default=None, allow_none=True, assume_utc=True)
    last_tracking_update_at = hub.UtcMoment(load_default=None, allow_none=True, assume_utc=True)
    actual_fulfillment_date = hub.UtcMoment(load_default=None, allow_none=True, assume_utc=True)
    delivery_date = hub.UtcMoment(load_default=None, allow_none=True, assume_utc=True)
    location = fields.Nested(ReferenceBody, load_default="", allow_none=True)
    tracking = fields.Nested(TrackingBody, load_default=dict, allow_none=True)
    products = fields.List(fields.Nested(PackedProductBody), load_default=list, allow_none=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> ShipBobShipment:
        tracking = said["tracking"] or {}
        carrier = hub.carrier_word(tracking.get("carrier", ""))
        return ShipBobShipment(
            id=said["id"],
            order_id=said["order_id"] or "",
            reference=said["reference_id"] or "",
            status=said["status"],
            details=tuple(said["status_details"] or ()),
            version=_latest(
                said["created_date"],
                said["last_update_at"],
                said["last_tracking_update_at"],
                said["actual_fulfillment_date"],
                said["delivery_date"],
            ),
            shipped_at=said["actual_fulfillment_date"],
            delivered_at=said["delivery_date"],
            tracked_at=said["last_tracking_update_at"],
            carrier=_CARRIERS.get(carrier, carrier),
            service=tracking.get("carrier_service", ""),
            tracking_number=tracking.get("tracking_number") or tracking.get("pro_number", ""),
            tracking_url=tracking.get("tracking_url", ""),
            location_id=said["location"] or "",
            products=tuple(said["products"] or ()),
        )


class OrderedProductBody(hub.Translation[tuple[str, int]]):
    """What was ordered of a product."""

    reference_id = hub.Identifier(load_default="", allow_none=True)
    sku = hub.Identifier(load_default="", allow_none=True)
    quantity = hub.WholeNumber(required=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> tuple[str, int]:
        return said["reference_id"] or said["sku"] or "", said["quantity"]


class OrderBody(hub.Translation[ShipBobOrder]):
    """An order with its shipments, the same in a list and alone."""

    id = hub.Identifier(required=True)
    reference_id = hub.Identifier(required=True)
    status = hub.Text(required=True)
    created_date = hub.UtcMoment(required=True, assume_utc=True)
    products = fields.List(fields.Nested(OrderedProductBody), load_default=list, allow_none=True)
    shipments = fields.List(fields.Nested(ShipmentBody), load_default=list, allow_none=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> ShipBobOrder:
        ordered: Counter[str] = Counter()
        for sku, quantity in said["products"] or ():
            ordered[sku] += quantity
        return ShipBobOrder(
            id=said["id"],
            reference=said["reference_id"],
            status=said["status"],
            created_at=said["created_date"],
            ordered=ordered,
            shipments=tuple(said["shipments"] or ()),
        )


# ---------------------------------------------------------------- what webhooks say


class WebhookBody(hub.Translation[list[hub.ProviderFact]]):
    """A webhook of the order topics: an order, or one of its shipments.

    ShipBob publishes no shape of them. So they only tell which order to fetch, and where a parcel is.
    """

    id = hub.Identifier(load_default="", allow_none=True)
    order_id = hub.Identifier(load_default="", allow_none=True)

    @post_load(pass_original=True)
    def make(self, said: dict[str, Any], told: Mapping[str, Any], **_: Any) -> list[hub.ProviderFact]:
        order_id = said["order_id"] or ("" if "order_id" in told else said["id"])
        if not order_id:
            raise ValueError("The webhook does not say which order it is about.")
        facts: list[hub.ProviderFact] = [hub.Refetch("order", order_id)]
        if said["order_id"] and told.get("tracking"):
            with suppress(hub.Unreadable):  # a shape of its own: the order that is fetched tells the same
                tracking = ShipmentBody().read(told).tracking()
                facts = [tracking, *facts] if tracking else facts
        return facts


# ---------------------------------------------------------------- cancelling


@dataclass(frozen=True, slots=True)
class CancelAnswer:
    """ShipBob's answer to the wish to cancel: whether all of it was cancelled, and if not, why."""

    succeeded: bool
    reasons: str


class ShipmentResultBody(hub.Translation[str]):
    """Why one shipment was not cancelled, "" where it was."""

    is_success = fields.Boolean(load_default=False, allow_none=True)
    reason = hub.Text()

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> str:
        return "" if said["is_success"] or not said["reason"] else _sentence(said["reason"])


class CancelBody(hub.Translation[CancelAnswer]):
    """The answer to cancelling an order."""

    status = hub.Text(required=True)
    canceled_shipment_results = fields.List(fields.Nested(ShipmentResultBody), load_default=list, allow_none=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> CancelAnswer:
        reasons = dict.fromkeys(each for each in said["canceled_shipment_results"] or () if each)
        return CancelAnswer(said["status"] == "Success", " ".join(reasons))


# ---------------------------------------------------------------- stock


class LevelBody(hub.Translation[dict[str, Any]]):
    """The stock of an item, or of a lot of it, at one place."""

    location_id = hub.Identifier(required=True)
    on_hand = hub.WholeNumber(required=True, data_key="on_hand_quantity")
    available = hub.WholeNumber(required=True, data_key="fulfillable_quantity")


class LotBody(hub.Translation[dict[str, Any]]):
    """A lot of an item, by place."""

    number = hub.Text(data_key="lot_number")
    lot_date = hub.Text()
    locations = fields.List(fields.Nested(LevelBody), load_default=list, allow_none=True)


class StockBody(hub.Translation[list[hub.StockCount]]):
    """One item: ShipBob's figures by place and by lot, with the moment of asking and the places of the account."""

    inventory_id = hub.Identifier(required=True)
    sku = hub.Identifier(load_default="", allow_none=True)
    counted_at = hub.UtcMoment(required=True)
    locations = fields.List(fields.Nested(LevelBody), load_default=list, allow_none=True)
    lots = fields.List(fields.Nested(LotBody), load_default=list, allow_none=True)
    places = fields.List(hub.Identifier(), load_default=list)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> list[hub.StockCount]:
        if not said["sku"]:
            return []  # nothing of ours can be meant by it
        levels = {level["location_id"]: level for level in said["locations"] or ()}
        # A place that has none of it is not named: without its nothing, what lay there last would seem to lie there.
        nothing = {"on_hand": 0, "available": 0}
        levels |= {place: nothing for place in said["places"] if place not in levels}
        return [
            hub.StockCount(
                sku=said["sku"],
                on_hand=level["on_hand"],
                available=level["available"],
                counted_at=said["counted_at"],
                location_external_id=place,
                item_external_id=said["inventory_id"],
                lots=tuple(_lots(said["lots"] or (), place, said["counted_at"].date())),
            )
            for place, level in levels.items()
        ]


def _lots(lots: Iterable[Mapping[str, Any]], place: str, today: date) -> Iterator[hub.Lot]:
    for lot in lots:
        for level in lot["locations"] or ():
            if level["location_id"] == place and lot["number"]:
                # It is the day it expires or the day it was made. What lies ahead can only be the former.
                day = _day(lot["lot_date"])
                expires_on = day if day and day > today else None
                yield hub.Lot(number=lot["number"], quantity=level["on_hand"], expires_on=expires_on)
