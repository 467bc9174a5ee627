"""What the simulated shop keeps: its products with their stock, its orders and what became of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

SHIPPING = Decimal("4.90")
TAX_RATE = Decimal("0.10")


@dataclass
class Level:
    """The stock of one variant at one location: what can be sold, and what orders hold."""

    available: int
    committed: int = 0


@dataclass
class Variant:
    """A product with its only variant, and where it is in stock. ``mutable`` is False for a bundle."""

    id: int
    product_id: int
    item_id: int
    sku: str
    title: str
    price: Decimal
    updated_at: datetime
    levels: dict[int, Level]
    tracked: bool = True
    mutable: bool = True
    status: str = "ACTIVE"
    barcode: str = ""


@dataclass
class Line:
    """A line of an order; its units are open, fulfilled, or removed before that, and some were refunded since."""

    id: int
    variant: Variant | None
    location: int
    name: str
    price: Decimal
    quantity: int
    discount: Decimal = Decimal(0)
    fulfilled: int = 0
    removed: int = 0
    returned: int = 0

    @property
    def open(self) -> int:
        return self.quantity - self.fulfilled - self.removed

    @property
    def current(self) -> int:
        return self.quantity - self.removed - self.returned

    @property
    def total(self) -> Decimal:
        return self.price * self.quantity - self.discount

    @property
    def tax(self) -> Decimal:
        return cents(self.total * TAX_RATE)


@dataclass
class Refund:
    """Money given back, for (line, quantity, how it was restocked)."""

    id: int
    at: datetime
    amount: Decimal
    note: str
    items: list[tuple[Line, int, str]]


@dataclass
class Fulfillment:
    """A shipment of (line, quantity)."""

    id: int
    at: datetime
    items: list[tuple[Line, int]]
    cancelled: bool = False


@dataclass
class Order:
    """An order; ``marks`` are (when the search index shows it, updated_at), oldest first."""

    id: int
    number: int
    created_at: datetime
    updated_at: datetime
    lines: list[Line]
    financial: str = "PAID"
    test: bool = False
    note: str = ""
    cancelled_at: datetime | None = None
    closed_at: datetime | None = None
    refunds: list[Refund] = field(default_factory=list)
    fulfillments: list[Fulfillment] = field(default_factory=list)
    marks: list[tuple[datetime, datetime]] = field(default_factory=list)

    @property
    def discount(self) -> Decimal:
        return sum((line.discount for line in self.lines), Decimal(0))

    @property
    def tax(self) -> Decimal:
        return sum((line.tax for line in self.lines), Decimal(0))

    @property
    def total(self) -> Decimal:
        return sum((line.total for line in self.lines), Decimal(0)) + self.tax + SHIPPING

    @property
    def refunded(self) -> Decimal:
        return sum((refund.amount for refund in self.refunds), Decimal(0))

    @property
    def fulfillment(self) -> str:
        if not any(line.fulfilled for line in self.lines):
            return "UNFULFILLED"
        return "PARTIALLY_FULFILLED" if any(line.open for line in self.lines) else "FULFILLED"


@dataclass(frozen=True)
class Subscription:
    """A webhook subscription."""

    id: int
    topic: str
    uri: str
    name: str


def allocate(discount: Decimal, lines: Iterable[Line]) -> None:
    """Take a discount off the lines, from the first one on."""
    for line in lines:
        line.discount = min(discount, line.price * line.quantity)
        discount -= line.discount


def cents(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"), ROUND_HALF_UP)


def plain(amount: Decimal) -> str:
    return f"{cents(amount):f}"


def iso(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def gid(kind: str, id: int) -> str:
    return f"gid://shopify/{kind}/{id}"
