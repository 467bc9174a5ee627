"""What Amazon says of orders that its warehouses ship, read into the hub's model: shipments, parcels, previews."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from marshmallow import fields, post_load

import hub

# Amazon's words for an order. What a processing one has come to, its shipments say.
PROCESSING = "PROCESSING"
ORDER_STATES: Mapping[str, hub.ProviderState] = {
    "": hub.ProviderState.SUBMITTED,  # it has arrived, and Amazon says nothing of it yet
    PROCESSING: hub.ProviderState.ACCEPTED,
    "COMPLETE": hub.ProviderState.SHIPPED,
    "COMPLETE_PARTIAL": hub.ProviderState.REJECTED,  # nothing more of it will leave: the rest is for somebody else
    "CANCELLED": hub.ProviderState.CANCELLED,
    "UNFULFILLABLE": hub.ProviderState.REJECTED,
    "INVALID": hub.ProviderState.REJECTED,
}
SHIPPED = "SHIPPED"
SHIPMENT_WORDS = frozenset({PROCESSING, SHIPPED, "CANCELLED"})

# Where a parcel is. A late one is still on its way, and nobody can do anything about it.
PARCEL_STATES: Mapping[str, hub.TrackingStatus] = {
    PROCESSING: hub.TrackingStatus.LABEL_CREATED,
    "IN_TRANSIT": hub.TrackingStatus.IN_TRANSIT,
    "DELAYED": hub.TrackingStatus.IN_TRANSIT,
    "OUT_FOR_DELIVERY": hub.TrackingStatus.OUT_FOR_DELIVERY,
    "DELIVERED": hub.TrackingStatus.DELIVERED,
    "UNDELIVERABLE": hub.TrackingStatus.EXCEPTION,
    "EXPIRED": hub.TrackingStatus.EXCEPTION,
}

_CARRIERS = {"amzl": "amazon", "amazon_logistics": "amazon", "amzn_us": "amazon"}
_SEE_THERE = "See the order in Seller Central, under Manage Orders > Multi-Channel Fulfillment."


# ---------------------------------------------------------------- our lines, as Amazon knows them


def line_id(reference: str, line: hub.FulfillmentLine) -> str:
    """What Amazon calls a line of ours: the order's reference goes before it, so that ours are told from others'."""
    return f"{reference}/{line.reference}"


# ---------------------------------------------------------------- an order and its shipments


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderedLine:
    """A line of an order: what is to be shipped of it, and what will not be."""

    id: str
    sku: str
    quantity: int
    unfulfillable: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippedItem:
    """Units of a line in a shipment. ``identifiers`` are those of the units, by kind: lots, serial numbers."""

    line_id: str
    sku: str
    quantity: int
    identifiers: Mapping[str, tuple[str, ...]]

    def _named(self, kind: str) -> tuple[str, ...]:
        return tuple(each for name, values in self.identifiers.items() if kind in name.upper() for each in values)

    def serial_numbers(self) -> tuple[str, ...]:
        """One per unit, as far as Amazon tells them."""
        return self._named("SERIAL")

    def lots(self) -> tuple[hub.Lot, ...]:
        """The lots, where it can be said how many units are of which."""
        named = self._named("LOT")
        if len(set(named)) == 1:
            return (hub.Lot(number=named[0], quantity=self.quantity),)
        if len(named) == self.quantity:
            return tuple(hub.Lot(number=number, quantity=units) for number, units in Counter(named).items())
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A parcel. ``number`` is its tracking number, "" where it has none yet."""

    status: str
    carrier: str
    number: str
    url: str
    deliver_by: datetime | None
    received_by: str

    def tracking(self) -> hub.Tracking:
        """Where it is."""
        status = PARCEL_STATES.get(self.status, hub.TrackingStatus.UNKNOWN)
        arrived = status is hub.TrackingStatus.DELIVERED
        return hub.Tracking(
            tracking_number=self.number,
            status=status,
            carrier_status=self.status,
            deliver_by=None if arrived else self.deliver_by,
            signed_by=self.received_by,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AmazonShipment:
    """What leaves one warehouse of Amazon's together. ``ship_time`` is an estimate until it has left."""

    id: str
    status: str
    ship_time: datetime | None
    service: str
    items: tuple[ShippedItem, ...]
    packages: tuple[Package, ...]

    @property
    def left(self) -> bool:
        """Whether it has left the warehouse."""
        return self.status == SHIPPED

    def tracked(self) -> list[Package]:
        """Its parcels that have a tracking number."""
        return [each for each in self.packages if each.number]


@dataclass(frozen=True, slots=True, kw_only=True)
class AmazonOrder:
    """An order of Multi-Channel Fulfillment. ``constraints`` are Amazon's reasons why it cannot be shipped."""

    reference: str
    status: str
    version: datetime
    lines: tuple[OrderedLine, ...]
    shipments: tuple[AmazonShipment, ...]
    constraints: tuple[str, ...]

    @property
    def is_ours(self) -> bool:
        """Whether the hub has placed it, and not somebody in Seller Central or another application."""
        return all(line.id.startswith(f"{self.reference}/") for line in self.lines)

    @property
    def will_not_leave(self) -> bool:
        """Whether Amazon has given it up of its own accord."""
        return ORDER_STATES.get(self.status) is hub.ProviderState.REJECTED

    @property
    def _left(self) -> list[AmazonShipment]:
        return [each for each in self.shipments if each.left]

    def _standing(self) -> tuple[hub.ProviderState, str]:
        """Where it stands, and the word of Amazon's that says so."""
        state = ORDER_STATES.get(self.status, hub.ProviderState.ON_HOLD)
        if state is not hub.ProviderState.ACCEPTED:
            return state, self.status
        strange = next((each.status for each in self.shipments if each.status not in SHIPMENT_WORDS), None)
        if strange is not None:
            return hub.ProviderState.ON_HOLD, strange
        if self._left:
            return hub.ProviderState.PARTIALLY_SHIPPED, self.status
        begun = any(each.status == PROCESSING for each in self.shipments)
        return (hub.ProviderState.IN_PROGRESS if begun else state), self.status

    def _message(self) -> str:
        state, word = self._standing()
        if state is hub.ProviderState.ON_HOLD:
            return f"Amazon says “{word}” of it. {_SEE_THERE}"
        if not self.will_not_leave:
            return ""
        short = [f"Amazon cannot ship {line.unfulfillable} × {line.sku}." for line in self.lines if line.unfulfillable]
        told = [*short, *self.constraints]
        if self.status == "INVALID" and not told:
            told = ["Amazon finds something wrong with it, such as the address or a SKU."]
        return " ".join(dict.fromkeys(told)) or f"Amazon does not say why it cannot ship it. {_SEE_THERE}"

    def progress(self) -> hub.Progress:
        """How far it is."""
        state, word = self._standing()
        return hub.Progress(
            reference=self.reference,
            external_id=self.reference,
            state=state,
            provider_state=word,
            version=self.version,
            message=self._message(),
        )

    def submission(self) -> hub.Submission:
        """It as the answer to asking for it."""
        state, _ = self._standing()
        return hub.Submission(
            reference=self.reference, external_id=self.reference, state=state, message=self._message()
        )

    def cancellation(self) -> hub.Cancellation:
        """What has become of the wish to cancel it, by what stands there now."""
        state, _ = self._standing()
        if state in (hub.ProviderState.CANCELLED, hub.ProviderState.REJECTED):
            if not self._left:
                return self._answer(hub.CancelState.CANCELLED)
            return self._answer(hub.CancelState.PARTLY, "A part of it had left Amazon's warehouse.")
        if state is hub.ProviderState.SHIPPED:
            return self._answer(hub.CancelState.REFUSED, "It has left Amazon's warehouse.")
        return self._answer(hub.CancelState.REQUESTED)

    def _answer(self, state: hub.CancelState, message: str = "") -> hub.Cancellation:
        return hub.Cancellation(reference=self.reference, state=state, message=message)

    def facts(self, place: str) -> list[hub.Progress | hub.ProviderShipment | hub.Tracking]:
        """How far it is, what has left and where that is; ``place`` is where its goods lay."""
        told: list[hub.Progress | hub.ProviderShipment | hub.Tracking] = [self.progress()]
        for shipment in self._left:
            told.append(self._shipped(shipment, place))
            told += [package.tracking() for package in shipment.tracked()]
        return told

    def _shipped(self, shipment: AmazonShipment, place: str) -> hub.ProviderShipment:
        packages = shipment.tracked()
        return hub.ProviderShipment(
            external_id=shipment.id,
            reference=self.reference,
            lines=tuple(self._line(item) for item in shipment.items),
            version=self.version,
            shipped_at=shipment.ship_time,
            carrier=packages[0].carrier if packages else "",
            service=shipment.service,
            tracking_numbers=tuple(dict.fromkeys(package.number for package in packages)),
            tracking_url=packages[0].url if packages else "",
            location_external_id=place,
        )

    def _line(self, item: ShippedItem) -> hub.ShippedLine:
        return hub.ShippedLine(
            sku=item.sku,
            quantity=item.quantity,
            line_reference=item.line_id.removeprefix(f"{self.reference}/"),
            lots=item.lots(),
            serial_numbers=item.serial_numbers(),
        )


# ---------------------------------------------------------------- the shapes of an order


class ProductIdentifierBody(hub.Translation[str]):
    """How Amazon names goods."""

    sku = hub.Identifier(required=True, data_key="amazonSku")

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> str:
        return str(said["sku"])


class ProductBody(hub.Translation[str]):
    """The goods of a line."""

    sku = fields.Nested(ProductIdentifierBody, required=True, data_key="productIdentifier")

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> str:
        return str(said["sku"])


class AmountBody(hub.Translation[int]):
    """Units, which Amazon writes as "2" or "2.0"."""

    unit = hub.Text()
    value = hub.WholeNumber(required=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> int:
        if said["unit"] not in ("", "EACHES"):
            raise ValueError("An amount is given in something else than single units.")
        if said["value"] < 0:
            raise ValueError("An amount is below zero.")
        return int(said["value"])


class LineBody(hub.Translation[OrderedLine]):
    """A line of an order."""

    id = hub.Identifier(required=True, data_key="lineItemId")
    sku = fields.Nested(ProductBody, required=True, data_key="product")
    quantity = fields.Nested(AmountBody, required=True, data_key="amount")
    unfulfillable = fields.Nested(AmountBody, load_default=0, allow_none=True, data_key="unfulfillableAmount")

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> OrderedLine:
        return OrderedLine(**{**said, "unfulfillable": said["unfulfillable"] or 0})


class ItemBody(hub.Translation[ShippedItem]):
    """Units of a line in a shipment."""

    line_id = hub.Identifier(required=True, data_key="lineItemId")
    sku = fields.Nested(ProductIdentifierBody, required=True, data_key="productIdentifier")
    quantity = fields.Nested(AmountBody, required=True, data_key="amount")
    identifiers = fields.Dict(
        keys=fields.String(),
        values=fields.List(hub.Text(), allow_none=True),
        load_default=dict,
        allow_none=True,
        data_key="unitIdentifiers",
    )

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> ShippedItem:
        told = {
            name: tuple(each for each in values or () if each) for name, values in (said["identifiers"] or {}).items()
        }
        return ShippedItem(**{**said, "identifiers": told})


class NumberBody(hub.Translation[tuple[str, str, str]]):
    """A tracking number: the carrier's code, the number, where it is followed."""

    carrier = hub.Text(data_key="carrierCode")
    number = hub.Text(data_key="trackingNumber")
    url = hub.Text(data_key="trackingUrl")

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> tuple[str, str, str]:
        return said["carrier"], said["number"], said["url"]


class ProofBody(hub.Translation[str]):
    """Who took a parcel in."""

    received_by = hub.Text(data_key="receivedBy")

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> str:
        return str(said["received_by"])


_NO_NUMBER = ("", "", "")


class TrackingBody(hub.Translation[dict[str, Any]]):
    """How a parcel is tracked: with its carrier, and with Amazon."""

    carrier = fields.Nested(NumberBody, load_default=_NO_NUMBER, allow_none=True)
    amazon = fields.Nested(NumberBody, load_default=_NO_NUMBER, allow_none=True)
    received_by = fields.Nested(ProofBody, load_default="", allow_none=True, data_key="proofOfDelivery")


class PackageBody(hub.Translation[Package]):
    """A parcel of a shipment."""

    id = hub.Identifier(required=True, data_key="packageId")
    status = hub.Text()
    deliver_by = hub.UtcMoment(load_default=None, allow_none=True, data_key="deliveryTime")
    tracking = fields.Nested(TrackingBody, load_default=dict, allow_none=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> Package:
        tracking = said["tracking"] or {}
        code, number, url = tracking.get("carrier") or _NO_NUMBER
        amazons_number, amazons_url = (tracking.get("amazon") or _NO_NUMBER)[1:]
        return Package(
            status=said["status"],
            carrier=_carrier(code),
            number=number or amazons_number,
            url=url or amazons_url,
            deliver_by=said["deliver_by"],
            received_by=tracking.get("received_by") or "",
        )


def _carrier(code: str) -> str:
    word = hub.carrier_word(code)
    return _CARRIERS.get(word, word)


class ShipmentServiceBody(hub.Translation[str]):
    """How fast a shipment goes."""

    tier = hub.Text(data_key="serviceTier")

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> str:
        return str(said["tier"])


class ShipmentBody(hub.Translation[AmazonShipment]):
    """A shipment of an order."""

    id = hub.Identifier(required=True, data_key="amazonShipmentId")
    status = hub.Text(required=True)
    ship_time = hub.UtcMoment(load_default=None, allow_none=True, data_key="shipTime")
    service = fields.Nested(ShipmentServiceBody, load_default="", allow_none=True, data_key="serviceLevel")
    items = fields.List(fields.Nested(ItemBody), required=True)
    packages = fields.List(fields.Nested(PackageBody), load_default=list, allow_none=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> AmazonShipment:
        return AmazonShipment(
            **{
                **said,
                "service": said["service"] or "",
                "items": tuple(said["items"]),
                "packages": tuple(said["packages"] or ()),
            }
        )


class ConstraintBody(hub.Translation[str]):
    """Why something cannot be shipped, as a sentence."""

    message = hub.Text(required=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> str:
        text = said["message"].strip()[:300]
        return text if not text or text.endswith((".", "!", "?")) else f"{text}."


class OrderBody(hub.Translation[AmazonOrder]):
    """An order, the same in a list, alone and in the answer to its making.

    ``constraints`` are put beside it when it was fetched, out of a preview of the same goods.
    """

    reference = hub.Identifier(required=True, data_key="orderId")
    received_at = hub.UtcMoment(required=True, data_key="receiveTime")
    status = hub.Text()
    status_at = hub.UtcMoment(load_default=None, allow_none=True, data_key="statusUpdateTime")
    lines = fields.List(fields.Nested(LineBody), required=True, data_key="lineItems")
    shipments = fields.List(fields.Nested(ShipmentBody), load_default=list, allow_none=True)
    constraints = fields.List(fields.Nested(ConstraintBody), load_default=list, allow_none=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> AmazonOrder:
        shipments = tuple(said["shipments"] or ())
        # A shipment that leaves does not change the order's status: its time has to make the order look newer.
        left_at = [each.ship_time for each in shipments if each.left and each.ship_time]
        return AmazonOrder(
            reference=said["reference"],
            status=said["status"],
            version=max([said["received_at"], *left_at, *([said["status_at"]] if said["status_at"] else [])]),
            lines=tuple(said["lines"]),
            shipments=shipments,
            constraints=tuple(each for each in said["constraints"] or () if each),
        )


# ---------------------------------------------------------------- previews


@dataclass(frozen=True, slots=True)
class Preview:
    """What Amazon would ship of an order: units by SKU, and what stands in the way of the rest."""

    planned: Mapping[str, int]
    constraints: tuple[str, ...]

    def why_not(self, wanted: Mapping[str, int]) -> str:
        """Why not all of it can be shipped, "" where it can."""
        missing = {sku: units - self.planned.get(sku, 0) for sku, units in wanted.items()}
        short = [f"Amazon cannot ship {units} × {sku}." for sku, units in missing.items() if units > 0]
        return " ".join(dict.fromkeys((*self.constraints, *short))) if short else ""


class PlannedItemBody(hub.Translation[tuple[str, int]]):
    """Units that would be shipped."""

    sku = fields.Nested(ProductIdentifierBody, required=True, data_key="productIdentifier")
    quantity = fields.Nested(AmountBody, required=True, data_key="amount")

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> tuple[str, int]:
        return said["sku"], said["quantity"]


class PlannedShipmentBody(hub.Translation[list[tuple[str, int]]]):
    """A shipment that would be made; one that nothing is offered for would not."""

    items = fields.List(fields.Nested(PlannedItemBody), required=True)
    offers = fields.List(fields.Raw(), load_default=None, allow_none=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> list[tuple[str, int]]:
        return [] if said["offers"] == [] else said["items"]


class PreviewBody(hub.Translation[Preview]):
    """The answer to asking for a preview."""

    shipments = fields.List(fields.Nested(PlannedShipmentBody), required=True, data_key="plannedShipments")
    constraints = fields.List(fields.Nested(ConstraintBody), load_default=list, allow_none=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> Preview:
        planned: Counter[str] = Counter()
        for sku, units in (item for shipment in said["shipments"] for item in shipment):
            planned[sku] += units
        return Preview(planned, tuple(each for each in said["constraints"] or () if each))


# ---------------------------------------------------------------- messages

ORDER_STATUS = "FULFILLMENT_ORDER_STATUS"


class OrderStatusBody(hub.Translation[str]):
    """What is said of an order: it is fetched, because the message speaks the words of the version before."""

    order_id = hub.Identifier(required=True, data_key="SellerFulfillmentOrderId")

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> str:
        return str(said["order_id"])


class OrderStatusPayloadBody(hub.Translation[str]):
    """The payload of a message about an order."""

    order_id = fields.Nested(OrderStatusBody, required=True, data_key="FulfillmentOrderStatusNotification")

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> str:
        return str(said["order_id"])


class OrderStatusMessage(hub.Translation[list[hub.ProviderFact]]):
    """A message about an order of Multi-Channel Fulfillment."""

    order_id = fields.Nested(OrderStatusPayloadBody, required=True, data_key="Payload")

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> list[hub.ProviderFact]:
        return [hub.Refetch("order", said["order_id"])]
