"""The values every room of the hub speaks about: money, orders, listings, stock. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from enum import StrEnum
from types import MappingProxyType

# ISO 4217 currencies whose minor unit is not a hundredth. Everything else has two digits.
_MINOR_DIGITS: Mapping[str, int] = MappingProxyType(
    {
        **dict.fromkeys(
            [
                "BIF",
                "CLP",
                "DJF",
                "GNF",
                "ISK",
                "JPY",
                "KMF",
                "KRW",
                "PYG",
                "RWF",
                "UGX",
                "UYI",
                "VND",
                "VUV",
                "XAF",
                "XOF",
                "XPF",
            ],
            0,
        ),
        **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
        **dict.fromkeys(["CLF", "UYW"], 4),
    }
)


def minor_digits(currency: str) -> int:
    """Digits after the decimal point of a currency's smallest unit (ISO 4217): 2 for EUR, 0 for JPY."""
    return _MINOR_DIGITS.get(currency, 2)


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in one currency.

    ``amount`` is an exact, finite Decimal in major units; ``currency`` an upper-case ISO 4217 code.
    Adding two currencies raises ValueError: a total over currencies has no meaning without a rate.
    """

    amount: Decimal
    currency: str

    def __post_init__(self) -> None:
        if not self.amount.is_finite():
            raise ValueError(f"{self.amount!r} is not a finite decimal amount.")
        if len(self.currency) != 3 or not (self.currency.isascii() and self.currency.isalpha()):
            raise ValueError(f"{self.currency!r} is not an ISO 4217 currency code, such as EUR.")
        object.__setattr__(self, "currency", self.currency.upper())

    @classmethod
    def of(cls, amount: str | int | Decimal, currency: str) -> Money:
        """Money from text such as "12.50". Raises ValueError for anything that is not a plain decimal number."""
        if isinstance(amount, str) and ("_" in amount or not amount.isascii()):
            raise ValueError(f"{amount!r} is not a plain decimal number.")
        try:
            return cls(Decimal(amount), currency)
        except InvalidOperation as error:
            raise ValueError(f"{amount!r} is not a decimal number.") from error

    @classmethod
    def zero(cls, currency: str) -> Money:
        """Nothing, in ``currency``."""
        return cls(Decimal(0), currency)

    @classmethod
    def from_minor(cls, minor: int, currency: str) -> Money:
        """Money from a whole number of minor units (cents)."""
        return cls(Decimal(minor).scaleb(-minor_digits(currency.upper())), currency)

    @property
    def minor(self) -> int:
        """The amount in whole minor units (cents), halves rounded away from zero."""
        digits = minor_digits(self.currency)
        return int(self.amount.scaleb(digits).quantize(Decimal(1), rounding=ROUND_HALF_UP))

    def __add__(self, other: Money) -> Money:
        self._same_currency(other)
        return Money(self.amount + other.amount, self.currency)

    def __sub__(self, other: Money) -> Money:
        self._same_currency(other)
        return Money(self.amount - other.amount, self.currency)

    def __neg__(self) -> Money:
        return Money(-self.amount, self.currency)

    def __mul__(self, times: int | Decimal) -> Money:
        return Money(self.amount * times, self.currency)

    def __str__(self) -> str:
        digits = minor_digits(self.currency)
        rounded = self.amount.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP)
        return f"{rounded if rounded else abs(rounded)} {self.currency}"

    def _same_currency(self, other: Money) -> None:
        if self.currency != other.currency:
            raise ValueError(f"{self.currency} and {other.currency} cannot be added without an exchange rate.")


# What an amount is that nobody mentioned: ISO 4217 has XXX for "no currency". Order and OrderLine turn it into zero of
# their own currency, so that no reader ever meets it.
NOT_SAID = Money(Decimal(0), "XXX")


def _in_currency(amount: Money, currency: str) -> Money:
    return Money.zero(currency) if amount is NOT_SAID else amount


def utc(moment: datetime) -> datetime:
    """The same moment in UTC. Raises ValueError for a naive datetime: a time without a zone is a guess."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone.")
    return moment.astimezone(UTC)


class OrderStatus(StrEnum):
    """Where an order stands, in the hub's own words; the channel's word is kept in ``Order.channel_status``."""

    PENDING = "pending"  # placed, not yet paid or approved: the channel does not ask us to ship it
    OPEN = "open"  # to be shipped
    FULFILLED = "fulfilled"  # everything that will be shipped has been
    CANCELLED = "cancelled"
    REFUNDED = "refunded"
    REMOVED = "removed"  # deleted or trashed at the channel


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A postal address as the channel gave it; every part may be empty. ``country`` is ISO 3166 alpha-2 if known."""

    name: str = ""
    company: str = ""
    line1: str = ""
    line2: str = ""
    city: str = ""
    region: str = ""
    postcode: str = ""
    country: str = ""
    phone: str = ""


class LineKind(StrEnum):
    """What an order line sells. Only products are kept in stock."""

    PRODUCT = "product"
    GIFT_CARD = "gift_card"  # delivered by the channel itself
    CUSTOM = "custom"  # typed in by the merchant: no product stands behind it


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderLine:
    """One line of an order.

    ``listing_external_id`` names the channel's product variant, None for a custom line without one.
    ``quantity`` is what was ordered, ``fulfilled`` what has been shipped and ``removed`` what was cancelled or
    refunded before shipment, all in whole units as the channel counts them. ``total`` is the line's share of the
    order total after discounts and without tax, unless ``Order.taxes_included``. ``tax`` left out is zero.
    ``attributes`` are what the customer or an add-on wrote on the line ("Engraving": "For Ann"), as text.
    """

    external_id: str
    listing_external_id: str | None
    sku: str
    title: str
    quantity: int
    unit_price: Money
    total: Money
    tax: Money = NOT_SAID
    fulfilled: int = 0
    removed: int = 0
    requires_shipping: bool = True
    kind: LineKind = LineKind.PRODUCT
    attributes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tax", _in_currency(self.tax, self.total.currency))
        if self.quantity < 0 or self.fulfilled < 0 or self.removed < 0:
            raise ValueError(f"Line {self.external_id}: quantities cannot be negative.")

    @property
    def open_quantity(self) -> int:
        """Units still to be shipped."""
        return max(0, self.quantity - self.fulfilled - self.removed)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineQuantity:
    """Units of one order line, named as the channel names it."""

    line_external_id: str
    quantity: int

    def __post_init__(self) -> None:
        if self.quantity < 0:
            raise ValueError(f"Line {self.line_external_id}: quantities cannot be negative.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """Money given back; ``amount`` is positive. ``lines`` are the units it was given back for, if any."""

    external_id: str
    amount: Money
    reason: str = ""
    refunded_at: datetime | None = None
    lines: tuple[LineQuantity, ...] = ()


class ReturnStatus(StrEnum):
    REQUESTED = "requested"  # the customer asks for it
    OPEN = "open"  # agreed: the goods are on their way back
    CLOSED = "closed"  # the goods are dealt with
    DECLINED = "declined"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """Goods coming back, which is another matter than money given back (Refund)."""

    external_id: str
    status: ReturnStatus
    lines: tuple[LineQuantity, ...]
    number: str = ""
    reason: str = ""


class ChargeKind(StrEnum):
    TIP = "tip"
    DUTY = "duty"
    FEE = "fee"


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One of the amounts that make up ``Order.fees``."""

    kind: ChargeKind
    title: str
    amount: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Discount:
    """A coupon or another reason for a discount. ``amount`` is what it took off, lines included, above zero."""

    code: str
    amount: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """Money the customer gave, by a way of paying in the channel's words. ``gift_card``: by a card bought before."""

    method: str
    amount: Money
    gift_card: bool = False


class RiskLevel(StrEnum):
    PENDING = "pending"  # still being looked at
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """What the channel thinks of the danger that an order is a fraud, and why, in its words."""

    level: RiskLevel
    reasons: tuple[str, ...] = ()


class HoldReason(StrEnum):
    PAYMENT = "payment"
    FRAUD = "fraud"
    ADDRESS = "address"
    BACKORDER = "backorder"
    CANCELLATION = "cancellation"  # the customer asks to cancel; a person decides
    MANUAL = "manual"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Why an order, or a part of it, must not be shipped now. ``held_by`` is who said so."""

    external_id: str
    reason: HoldReason
    note: str = ""
    held_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelShipment:
    """Goods that left, as the channel knows it, whoever told it. ``carrier`` is its own name for the carrier."""

    external_id: str
    lines: tuple[LineQuantity, ...]
    shipped_at: datetime | None = None
    carrier: str = ""
    tracking_numbers: tuple[str, ...] = ()
    tracking_url: str = ""
    location_external_id: str = ""
    cancelled: bool = False

    def __post_init__(self) -> None:
        if self.shipped_at is not None:
            object.__setattr__(self, "shipped_at", utc(self.shipped_at))


class WorkStatus(StrEnum):
    """Where a part of an order stands that one location is to ship."""

    OPEN = "open"
    SCHEDULED = "scheduled"  # not to be shipped before a day to come
    IN_PROGRESS = "in_progress"
    ON_HOLD = "on_hold"
    INCOMPLETE = "incomplete"  # the location could not ship all of it
    CLOSED = "closed"
    CANCELLED = "cancelled"


class WorkRequest(StrEnum):
    """What the channel asks of the location, and what it was answered."""

    NONE = "none"
    SUBMITTED = "submitted"  # to be accepted or rejected
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    CANCELLATION_REQUESTED = "cancellation_requested"  # to be accepted or rejected
    CANCELLATION_ACCEPTED = "cancellation_accepted"
    CANCELLATION_REJECTED = "cancellation_rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelWork:
    """A part of an order that the channel itself has given to one of its locations (Shopify: a fulfillment order).

    ``lines`` are the units still to be shipped. Its id is new whenever the channel deals the order out anew.
    """

    external_id: str
    status: WorkStatus
    lines: tuple[LineQuantity, ...]
    request: WorkRequest = WorkRequest.NONE
    location_external_id: str = ""
    holds: tuple[Hold, ...] = ()
    ship_by: datetime | None = None
    ship_from: datetime | None = None  # scheduled: not before

    def __post_init__(self) -> None:
        for name in ("ship_by", "ship_from"):
            if (moment := getattr(self, name)) is not None:
                object.__setattr__(self, name, utc(moment))


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order as one channel tells it, at one ``version``.

    ``version`` is the channel's last-modified time (aware, UTC). ``whole`` is False when the record the order was read
    from leaves something out (a webhook without its refund lines, say): the hub then applies what it got and fetches
    the record itself. With ``shipped_by_channel`` the channel ships it from a warehouse of its own (Amazon's FBA): it
    is kept and shown, but never holds, routes or ships anything of ours. ``holds_stock`` is True while the channel
    itself holds stock for the order's open lines (Shopify: open and unfulfilled; WooCommerce: on-hold and processing).
    ``paid`` is False while the customer still owes the money: a merchant may limit how long such an order holds stock.
    ``promised_at`` is the moment the customer was promised it by (shipped or delivered, as the channel says), if any.
    ``total`` is what the customer pays; ``shipping``, ``tax``, ``discount`` and ``fees`` are its parts (``discount``
    counts what is *not* already taken off the lines), zero where they are left out. All Money is in ``currency``, the
    shop's own. ``priced`` is False while the channel tells no amounts yet (Amazon: pending): all of them are zero then,
    for want of any, and no page shows them.

    What follows the addresses is kept and shown beside: ``presentment_total`` is what the customer saw in another
    currency, None where it is the same. ``charges`` are what ``fees`` consist of, ``discounts`` where discounts came
    from. ``source`` is where it was sold ("pos", "web"), ``shipping_method`` what the customer chose,
    both in the channel's words. ``work`` is how the channel itself has dealt the order out to its locations, ``holds``
    are those of the whole order. ``attributes`` are what add-ons wrote on it, as text.
    """

    external_id: str
    number: str
    status: OrderStatus
    channel_status: str
    version: datetime
    placed_at: datetime
    currency: str
    holds_stock: bool
    lines: tuple[OrderLine, ...]
    total: Money
    shipping: Money = NOT_SAID
    tax: Money = NOT_SAID
    discount: Money = NOT_SAID
    fees: Money = NOT_SAID
    priced: bool = True
    whole: bool = True
    shipped_by_channel: bool = False
    paid: bool = True
    promised_at: datetime | None = None
    taxes_included: bool = False
    test: bool = False
    customer_name: str = ""
    email: str = ""
    note: str = ""
    shipping_address: Address = Address()
    billing_address: Address = Address()
    refunds: tuple[Refund, ...] = ()
    returns: tuple[Return, ...] = ()
    shipments: tuple[ChannelShipment, ...] = ()
    work: tuple[ChannelWork, ...] = ()
    holds: tuple[Hold, ...] = ()
    risk: Risk | None = None
    presentment_total: Money | None = None
    charges: tuple[Charge, ...] = ()
    discounts: tuple[Discount, ...] = ()
    payments: tuple[Payment, ...] = ()
    tags: tuple[str, ...] = ()
    source: str = ""
    shipping_method: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "version", utc(self.version))
        object.__setattr__(self, "placed_at", utc(self.placed_at))
        if self.promised_at is not None:
            object.__setattr__(self, "promised_at", utc(self.promised_at))
        object.__setattr__(self, "currency", self.currency.upper())
        for part in ("shipping", "tax", "discount", "fees"):
            object.__setattr__(self, part, _in_currency(getattr(self, part), self.currency))
        amounts = [self.total, self.shipping, self.tax, self.discount, self.fees]
        amounts += [amount for line in self.lines for amount in (line.unit_price, line.total, line.tax)]
        if strange := {amount.currency for amount in amounts} - {self.currency}:
            raise ValueError(f"Order {self.external_id} is in {self.currency}, but has amounts in {min(strange)}.")
        ids = [line.external_id for line in self.lines]
        if len(ids) != len(set(ids)):
            raise ValueError(f"Order {self.external_id}: two lines have the same id.")

    @property
    def rounding(self) -> Money:
        """What the total says beyond the sum of its parts: the channel's own rounding, kept and shown."""
        parts = Money.zero(self.currency)
        for line in self.lines:
            parts = parts + line.total
        parts = parts + self.shipping + self.fees - self.discount
        return self.total - (parts if self.taxes_included else parts + self.tax)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingLevel:
    """What a channel says is available of one listing at one of its locations; None: it does not say."""

    location_external_id: str
    available: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One product variant on one connection.

    ``handles`` carries further ids the connector needs to write stock (Shopify's inventory item, WooCommerce's
    parent product). ``tracked`` is False where the channel keeps no stock for it: it is then never published.
    ``variant`` tells it from the others of its product ("Red / M"). ``image_url`` is a picture at the channel, which
    the hub fetches from there without credentials; another picture has another address.
    ``weight_grams`` is of one piece; ``origin_country`` (ISO 3166 alpha-2) and ``hs_code`` are for customs.
    """

    external_id: str
    sku: str
    title: str
    tracked: bool = True
    active: bool = True
    barcode: str = ""
    price: Money | None = None
    handles: Mapping[str, str] = field(default_factory=dict)
    levels: tuple[ListingLevel, ...] = ()
    variant: str = ""
    image_url: str = ""
    weight_grams: int | None = None
    origin_country: str = ""
    hs_code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelLocation:
    """A place with stock, as the channel names it. Channels with one stock figure have the single location ""."""

    external_id: str
    name: str
    active: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Whose account a connection reaches, as found by ``Connector.check``: ``external_id`` is unique per vendor.

    ``words`` are those the vendor uses in this account, by the kinds of ``Connector.mappings``: its code of each, and
    what people there call it. ``features`` are what was found of the vendor's optional parts, for people and for the
    connector itself (``Context.features``): {"stock_per_location": "yes"}.
    """

    external_id: str
    name: str
    currency: str = ""
    locations: tuple[ChannelLocation, ...] = ()
    warnings: tuple[str, ...] = ()
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    features: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StockLevel:
    """The balance of one SKU at one location, in units.

    ``on_hand`` is what lies there; of that, ``allocated`` is reserved for orders, and ``quarantined`` and ``damaged``
    are not for sale: together never more than ``on_hand``. ``incoming`` is on its way from another location.
    ``entries`` counts the ledger entries that led to this balance.
    """

    on_hand: int = 0
    allocated: int = 0
    quarantined: int = 0
    damaged: int = 0
    incoming: int = 0
    entries: int = 0

    @property
    def available(self) -> int:
        """Units that nobody holds and that may be sold."""
        return self.on_hand - self.allocated - self.quarantined - self.damaged
