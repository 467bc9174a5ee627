"""What carriers and warehouses speak about: parcels, rates, labels, tracking, orders to fulfill, stock kept elsewhere.

What the hub asks for is checked when it is made, and raises ValueError. What a vendor answers is taken as it comes: an
error about a label that has been paid for would help nobody.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from fractions import Fraction
from math import ceil

from hub.core.model import Address, HoldReason, LineQuantity, Money, utc

_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,34}")


def _checked_reference(reference: str) -> None:
    if not _REFERENCE.fullmatch(reference):
        raise ValueError(f"{reference!r} is not a reference: 1 to 35 letters, digits and hyphens.")


# ---------------------------------------------------------------- weights and sizes


class WeightUnit(StrEnum):
    GRAM = "g"
    KILOGRAM = "kg"
    OUNCE = "oz"
    POUND = "lb"


class LengthUnit(StrEnum):
    MILLIMETER = "mm"
    CENTIMETER = "cm"
    INCH = "in"


_GRAMS = {
    WeightUnit.GRAM: Fraction(1),
    WeightUnit.KILOGRAM: Fraction(1000),
    WeightUnit.OUNCE: Fraction("28.349523125"),
    WeightUnit.POUND: Fraction("453.59237"),
}
_MILLIMETERS = {
    LengthUnit.MILLIMETER: Fraction(1),
    LengthUnit.CENTIMETER: Fraction(10),
    LengthUnit.INCH: Fraction("25.4"),
}


def _measure(amount: str | int | Decimal) -> Decimal:
    try:
        return Decimal(amount)
    except InvalidOperation as error:
        raise ValueError(f"{amount!r} is not a decimal number.") from error


def _checked_measure(amount: Decimal) -> None:
    if not (amount.is_finite() and amount > 0):
        raise ValueError(f"{amount} is not more than zero.")


def _rounded_up(exact: Fraction, places: int) -> Decimal:
    return Decimal(ceil(exact * 10**places)).scaleb(-places)


@dataclass(frozen=True, slots=True)
class Weight:
    """A weight above zero, exact, in the unit it was given in."""

    amount: Decimal
    unit: WeightUnit

    def __post_init__(self) -> None:
        _checked_measure(self.amount)

    @classmethod
    def of(cls, amount: str | int | Decimal, unit: WeightUnit) -> Weight:
        """A weight from text such as "1.25". Raises ValueError."""
        return cls(_measure(amount), unit)

    def rounded_up(self, unit: WeightUnit, places: int = 0) -> Decimal:
        """The weight in ``unit``, rounded up to so many decimal places: no parcel is declared lighter than it is."""
        return _rounded_up(Fraction(self.amount) * _GRAMS[self.unit] / _GRAMS[unit], places)


@dataclass(frozen=True, slots=True)
class Dimensions:
    """The outer size of a parcel, each side above zero."""

    length: Decimal
    width: Decimal
    height: Decimal
    unit: LengthUnit

    def __post_init__(self) -> None:
        for side in (self.length, self.width, self.height):
            _checked_measure(side)

    @classmethod
    def of(
        cls, length: str | int | Decimal, width: str | int | Decimal, height: str | int | Decimal, unit: LengthUnit
    ) -> Dimensions:
        """A size from texts such as "12.5". Raises ValueError."""
        return cls(_measure(length), _measure(width), _measure(height), unit)

    def rounded_up(self, unit: LengthUnit, places: int = 0) -> tuple[Decimal, Decimal, Decimal]:
        """Length, width and height in ``unit``, each rounded up to so many decimal places."""
        factor = _MILLIMETERS[self.unit] / _MILLIMETERS[unit]
        length, width, height = (
            _rounded_up(Fraction(side) * factor, places) for side in (self.length, self.width, self.height)
        )
        return length, width, height


# ---------------------------------------------------------------- what is to be shipped


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """One box. ``packaging`` is the carrier's own code of a box it supplies; ``insured`` the value to insure."""

    weight: Weight
    dimensions: Dimensions | None = None
    packaging: str = ""
    insured: Money | None = None


class ContentsType(StrEnum):
    """What customs is told about the contents of a parcel."""

    MERCHANDISE = "merchandise"
    GIFT = "gift"
    SAMPLE = "sample"
    DOCUMENTS = "documents"
    RETURN = "return"


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomsItem:
    """One kind of goods in a customs declaration. ``unit_value`` and ``unit_weight`` are of one piece.

    ``origin_country`` is ISO 3166 alpha-2, ``hs_code`` the tariff number with or without dots.
    """

    description: str
    quantity: int
    unit_value: Money
    unit_weight: Weight
    origin_country: str = ""
    hs_code: str = ""
    sku: str = ""

    def __post_init__(self) -> None:
        if self.quantity < 1:
            raise ValueError(f"{self.description}: a customs line needs a quantity above zero.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Customs:
    """The declaration for a shipment that crosses a border. ``incoterm`` such as "DDP" or "DAP", "" for the usual."""

    contents: ContentsType
    items: tuple[CustomsItem, ...]
    signer: str = ""
    incoterm: str = ""
    invoice_number: str = ""

    def __post_init__(self) -> None:
        if not self.items:
            raise ValueError("A customs declaration needs at least one line.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    """What is to be carried, from where to where.

    ``reference`` is ours, another for every label that is to be bought (1 to 35 letters, digits and hyphens): give it
    to the vendor, so that a label whose answer was lost can be found by it. ``returning``: the recipient sends it back,
    ``origin`` is theirs. ``email`` is the recipient's. ``ship_on`` is the day it is handed over, None: today.
    """

    reference: str
    origin: Address
    destination: Address
    parcels: tuple[Parcel, ...]
    customs: Customs | None = None
    returning: bool = False
    signature: bool = False
    email: str = ""
    ship_on: date | None = None

    def __post_init__(self) -> None:
        _checked_reference(self.reference)
        if not self.parcels:
            raise ValueError("A shipment needs at least one parcel.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What a carrier asks for a shipment with one of its services.

    ``external_id`` is the vendor's id of the offer, or of the service where offers have none. ``carrier`` is a word of
    lower-case letters, digits and _ ("royal_mail"), ``service`` the vendor's code and ``name`` what people call it.
    ``days`` are those in transit, ``deliver_by`` the promised moment (UTC). ``handles`` are further ids needed to buy.
    """

    external_id: str
    carrier: str
    service: str
    cost: Money
    name: str = ""
    days: int | None = None
    deliver_by: datetime | None = None
    guaranteed: bool = False
    handles: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.deliver_by is not None:
            object.__setattr__(self, "deliver_by", utc(self.deliver_by))


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotes:
    """The rates of a shipment, and in ``notes`` why others are missing, as the vendor says."""

    rates: tuple[Rate, ...]
    notes: tuple[str, ...] = ()


# ---------------------------------------------------------------- labels


class DocumentFormat(StrEnum):
    PDF = "pdf"
    PNG = "png"
    ZPL = "zpl"


class DocumentKind(StrEnum):
    LABEL = "label"
    INVOICE = "invoice"  # the commercial invoice for customs
    RECEIPT = "receipt"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A file to be printed. ``tracking_number`` tells which parcel it is for, "" for all of them."""

    content: bytes = field(repr=False)
    format: DocumentFormat
    kind: DocumentKind = DocumentKind.LABEL
    tracking_number: str = ""

    @property
    def well_formed(self) -> bool:
        """Whether the content begins as a file of its format does: a page for people with status 200 does not."""
        start = self.content.lstrip()
        return {
            DocumentFormat.PDF: start.startswith(b"%PDF-"),
            DocumentFormat.PNG: start.startswith(b"\x89PNG\r\n\x1a\n"),
            DocumentFormat.ZPL: start.upper().startswith((b"^XA", b"~", b"CT~~")) and b"^XZ" in start.upper(),
        }[self.format]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelPurchase:
    """Buy the label of ``shipment`` at ``rate``, one of those it was offered. ``format`` is one of the capabilities."""

    shipment: Shipment
    rate: Rate
    format: DocumentFormat = DocumentFormat.PDF


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A label that was bought.

    ``external_id`` is the vendor's id of it. ``tracking_numbers`` are one per parcel, in their order. ``cost`` is what
    was charged, None where the vendor does not say. ``handles`` are further ids, needed to track or void it.
    ``documents`` are the files that came with the answer; where it has none, the hub asks ``fetch_documents``.
    """

    external_id: str
    carrier: str
    service: str
    tracking_numbers: tuple[str, ...]
    cost: Money | None = None
    tracking_url: str = ""
    handles: Mapping[str, str] = field(default_factory=dict)
    documents: tuple[Document, ...] = field(default=(), repr=False)


class VoidState(StrEnum):
    VOIDED = "voided"  # it will not be charged, or the money comes back
    REQUESTED = "requested"  # the carrier answers later
    REFUSED = "refused"  # too late, or not possible with this service


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelVoid:
    """What became of the wish to void a label. ``message`` is the carrier's reason, for a person."""

    label_external_id: str
    state: VoidState
    message: str = ""


# ---------------------------------------------------------------- addresses


class AddressState(StrEnum):
    VALID = "valid"  # deliverable as it is written
    CORRECTED = "corrected"  # deliverable as the first candidate is written
    AMBIGUOUS = "ambiguous"  # one of the candidates, or none: a person chooses
    INVALID = "invalid"  # no such address


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressVerdict:
    """What a carrier thinks of an address. ``residential`` is None where it does not say."""

    state: AddressState
    candidates: tuple[Address, ...] = ()
    residential: bool | None = None
    messages: tuple[str, ...] = ()


# ---------------------------------------------------------------- tracking


class TrackingStatus(StrEnum):
    """Where a parcel is, in the hub's own words; the carrier's word is kept beside it."""

    UNKNOWN = "unknown"  # a word that is new to the connector
    LABEL_CREATED = "label_created"  # announced, not handed over yet
    IN_TRANSIT = "in_transit"
    OUT_FOR_DELIVERY = "out_for_delivery"
    READY_FOR_PICKUP = "ready_for_pickup"
    DELIVERED = "delivered"
    EXCEPTION = "exception"  # held up: somebody has to do something
    RETURNING = "returning"  # on its way back to the sender, or there
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingEvent:
    """One thing that happened to a parcel. ``place`` is for people ("Leeds, GB")."""

    status: TrackingStatus
    carrier_status: str
    happened_at: datetime
    message: str = ""
    place: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "happened_at", utc(self.happened_at))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """What a carrier says about one parcel, its events oldest first. ``deliver_by`` is its present estimate."""

    tracking_number: str
    status: TrackingStatus
    carrier_status: str
    events: tuple[TrackingEvent, ...] = ()
    deliver_by: datetime | None = None
    signed_by: str = ""

    def __post_init__(self) -> None:
        if self.deliver_by is not None:
            object.__setattr__(self, "deliver_by", utc(self.deliver_by))
        object.__setattr__(self, "events", tuple(sorted(self.events, key=lambda event: event.happened_at)))


# ---------------------------------------------------------------- orders for a warehouse


@dataclass(frozen=True, slots=True, kw_only=True)
class FulfillmentLine:
    """Units of one SKU to be shipped. ``reference`` is ours, unique in the order; ``unit_price`` is for customs."""

    reference: str
    sku: str
    quantity: int
    title: str = ""
    unit_price: Money | None = None
    item_external_id: str = ""

    def __post_init__(self) -> None:
        if self.quantity < 1:
            raise ValueError(f"{self.sku}: a line to be shipped needs a quantity above zero.")


@dataclass(frozen=True, slots=True, kw_only=True)
class FulfillmentOrder:
    """What a provider is asked to ship.

    ``reference`` is ours and unique (1 to 35 letters, digits and hyphens): give it to the provider, so that an order
    whose answer was lost can be found by it. ``number`` is what people call the order. ``service`` is the provider's
    own name of the way to ship it. ``location_external_id`` is one of the provider's places, "" to let it choose.
    """

    reference: str
    number: str
    placed_at: datetime
    lines: tuple[FulfillmentLine, ...]
    destination: Address
    service: str
    email: str = ""
    ship_by: datetime | None = None
    location_external_id: str = ""
    gift_message: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        _checked_reference(self.reference)
        object.__setattr__(self, "placed_at", utc(self.placed_at))
        if self.ship_by is not None:
            object.__setattr__(self, "ship_by", utc(self.ship_by))
        references = [line.reference for line in self.lines]
        if not references or len(references) != len(set(references)):
            raise ValueError(f"Order {self.reference} needs lines, each with a reference of its own.")


class ProviderState(StrEnum):
    """Where an order stands at a provider, in the hub's own words."""

    SUBMITTED = "submitted"  # it has arrived; whether it is accepted is answered later
    ACCEPTED = "accepted"
    IN_PROGRESS = "in_progress"  # being picked or packed
    ON_HOLD = "on_hold"  # somebody has to do something
    PARTIALLY_SHIPPED = "partially_shipped"
    SHIPPED = "shipped"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """An order as the provider took it. ``handles`` are further ids, needed to cancel it.

    Where the answer to ``submit`` never came, ``external_id`` is "" and only ``reference`` names the order.
    """

    reference: str
    external_id: str
    state: ProviderState = ProviderState.ACCEPTED
    message: str = ""
    handles: Mapping[str, str] = field(default_factory=dict)


class CancelState(StrEnum):
    CANCELLED = "cancelled"  # it will not be shipped
    PARTLY = "partly"  # what had not left is cancelled; the shipments tell what had
    REQUESTED = "requested"  # the provider answers later
    REFUSED = "refused"  # too late: it is shipped


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellation:
    """What became of the wish to cancel the order ``reference``. ``message`` is the provider's reason."""

    reference: str
    state: CancelState
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where an order stands at the provider at ``version``, its last-modified time (UTC)."""

    reference: str
    external_id: str
    state: ProviderState
    provider_state: str
    version: datetime
    message: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "version", utc(self.version))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """Units of one lot (batch). ``expires_on`` is the best-before date."""

    number: str
    quantity: int
    expires_on: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippedLine:
    """Units of one SKU that left. ``line_reference`` is ours where the provider keeps it, "" otherwise."""

    sku: str
    quantity: int
    line_reference: str = ""
    item_external_id: str = ""
    lots: tuple[Lot, ...] = ()
    serial_numbers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.quantity < 0 or any(lot.quantity < 0 for lot in self.lots):
            raise ValueError(f"{self.sku}: a shipped quantity cannot be negative.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderShipment:
    """Goods of the order ``reference`` that left the provider, whole: all lines of this one shipment.

    An order may have several. ``version`` is its last-modified time (UTC); ``cancelled``: it did not leave after all.
    """

    external_id: str
    reference: str
    lines: tuple[ShippedLine, ...]
    version: datetime
    shipped_at: datetime | None = None
    carrier: str = ""
    service: str = ""
    tracking_numbers: tuple[str, ...] = ()
    tracking_url: str = ""
    location_external_id: str = ""
    cancelled: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "version", utc(self.version))
        if self.shipped_at is not None:
            object.__setattr__(self, "shipped_at", utc(self.shipped_at))


# ---------------------------------------------------------------- stock kept elsewhere


@dataclass(frozen=True, slots=True, kw_only=True)
class StockCount:
    """What a provider has of one SKU at one of its locations, in units, as of ``counted_at`` (UTC).

    ``available`` may be sold: without what it has promised, and without what is damaged. ``lots`` need not be all.
    ``inbound`` is on its way there, ``reserved`` is the part of ``on_hand`` that it has promised to others (orders it
    got from elsewhere, transfers between its own warehouses); None: it does not say.
    """

    sku: str
    on_hand: int
    available: int
    counted_at: datetime
    inbound: int | None = None
    reserved: int | None = None
    location_external_id: str = ""
    item_external_id: str = ""
    lots: tuple[Lot, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "counted_at", utc(self.counted_at))


@dataclass(frozen=True, slots=True, kw_only=True)
class StockAdjustment:
    """Units that a provider found or lost, ``quantity`` below zero where they are gone. ``external_id`` is its own."""

    external_id: str
    sku: str
    quantity: int
    adjusted_at: datetime
    location_external_id: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "adjusted_at", utc(self.adjusted_at))


# ---------------------------------------------------------------- back to the channel


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmedLine:
    """Units of one order line, named as the channel names it, that were shipped."""

    line_external_id: str
    quantity: int

    def __post_init__(self) -> None:
        if self.quantity < 1:
            raise ValueError(f"Line {self.line_external_id}: what is confirmed needs a quantity above zero.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShipmentConfirmation:
    """Tell the channel that goods of an order were shipped: exactly these lines, never "everything".

    ``reference`` is ours (1 to 35 letters, digits and hyphens), the same for ever for the same shipment. ``carrier`` is
    a word as in ``Rate.carrier``: the connector turns it into the channel's own name, or tells ``carrier_name``.
    ``supersedes`` is the channel's id of an earlier confirmation of the same goods, whose label was replaced.
    """

    reference: str
    order_external_id: str
    lines: tuple[ConfirmedLine, ...]
    shipped_at: datetime
    carrier: str = ""
    carrier_name: str = ""
    tracking_numbers: tuple[str, ...] = ()
    tracking_url: str = ""
    location_external_id: str = ""
    notify: bool = True
    supersedes: str = ""

    def __post_init__(self) -> None:
        _checked_reference(self.reference)
        object.__setattr__(self, "shipped_at", utc(self.shipped_at))
        lines = [line.line_external_id for line in self.lines]
        if not lines or len(lines) != len(set(lines)):
            raise ValueError(f"Shipment {self.reference} needs lines, each of the order's named once.")


# What people have a channel do with a whole order.


class CancelReason(StrEnum):
    """Why an order is cancelled, in the hub's own words."""

    CUSTOMER = "customer"  # the customer does not want it any more
    FRAUD = "fraud"
    STOCK = "stock"  # there is not enough of it
    PAYMENT = "payment"  # it was declined
    MISTAKE = "mistake"  # of whoever works here
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderCancellation:
    """Cancel an order of which nothing has left, all of it and for good.

    ``reference`` is ours (1 to 35 letters, digits and hyphens). ``refund``: what was paid is given back by the way it
    came. ``restock``: its goods are for sale again. ``notify``: the channel writes to the customer. What a channel
    leaves no choice about (``Capabilities.cancel_choices``) is False. ``note`` is for the staff.
    """

    reference: str
    order_external_id: str
    reason: CancelReason
    refund: bool = False
    restock: bool = False
    notify: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        _checked_reference(self.reference)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundedLine:
    """Units of one order line, named as the channel names it, and the money that is given back for them, tax included.

    Units that have not been shipped come first: they leave the order.
    """

    line_external_id: str
    quantity: int
    amount: Money

    def __post_init__(self) -> None:
        if self.quantity < 1 or self.amount.amount < 0:
            raise ValueError(f"Line {self.line_external_id}: a refund needs units, and no amount below zero.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundRequest:
    """Give money back, by the way it came: for ``lines``, for ``shipping``, and ``goodwill`` for nothing in particular.

    ``reference`` is ours (1 to 35 letters, digits and hyphens), the same for ever for the same refund: leave it at the
    channel (in a note, say), so that a refund whose answer was lost is found by it. All amounts are above zero, tax
    included, in the order's currency. ``restock``: the units of ``lines`` are for sale again. ``notify``: the channel
    writes to the customer. ``note`` says why.
    """

    reference: str
    order_external_id: str
    lines: tuple[RefundedLine, ...] = ()
    shipping: Money | None = None
    goodwill: Money | None = None
    restock: bool = False
    notify: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        _checked_reference(self.reference)
        lines = [line.line_external_id for line in self.lines]
        if len(lines) != len(set(lines)):
            raise ValueError(f"Refund {self.reference} names a line twice.")
        beside = [each for each in (self.shipping, self.goodwill) if each is not None]
        if any(each.amount <= 0 for each in beside):
            raise ValueError(f"Refund {self.reference}: what is given back has to be above zero.")
        if not self.lines and not beside:
            raise ValueError(f"Refund {self.reference} gives nothing back.")
        if self.amount.amount <= 0:
            raise ValueError(f"Refund {self.reference} gives nothing back.")

    @property
    def amount(self) -> Money:
        """All that is given back."""
        first, *others = [
            *(line.amount for line in self.lines),
            *(each for each in (self.shipping, self.goodwill) if each is not None),
        ]
        return sum(others, first)


# A channel that deals an order out to its locations itself (model.ChannelWork) can be told how to do it.


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkHold:
    """Hold back ``work_external_id`` of an order, or only ``lines`` of it. ``reference`` is ours."""

    reference: str
    order_external_id: str
    work_external_id: str
    reason: HoldReason
    note: str = ""
    lines: tuple[LineQuantity, ...] = ()

    def __post_init__(self) -> None:
        _checked_reference(self.reference)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkRelease:
    """Take holds off again: those named, or all that this hub has put there."""

    order_external_id: str
    work_external_id: str
    hold_external_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkMove:
    """Have the channel's location ``location_external_id`` ship it, or only ``lines`` of it."""

    order_external_id: str
    work_external_id: str
    location_external_id: str
    lines: tuple[LineQuantity, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkSplit:
    """Make ``lines`` a part of their own, so that the rest can be dealt with otherwise."""

    order_external_id: str
    work_external_id: str
    lines: tuple[LineQuantity, ...]

    def __post_init__(self) -> None:
        if not any(line.quantity for line in self.lines):
            raise ValueError("A split needs at least one unit.")


class WorkQuestion(StrEnum):
    FULFILLMENT = "fulfillment"  # will you ship this?
    CANCELLATION = "cancellation"  # will you stop shipping this?


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkAnswer:
    """Answer what the channel asks. ``message`` is shown to the merchant there."""

    order_external_id: str
    work_external_id: str
    question: WorkQuestion
    accepted: bool
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StockListing:
    """Begin to keep stock of a listing at one of the channel's locations, at zero."""

    listing_external_id: str
    location_external_id: str
    handles: Mapping[str, str] = field(default_factory=dict)
