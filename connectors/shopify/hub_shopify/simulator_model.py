"""What the simulated shop keeps: its products with their stock, its orders and what became of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

from hub import Address
from hub.testing import Customer

SHIPPING = Decimal("4.90")
TAX_RATE = Decimal("0.10")
PROVINCES: Mapping[str, str] = {"ENG": "England"}  # by their codes, where Shopify writes a name beside the code
# Who buys unless somebody else comes.
ADA = Customer(
    address=Address(
        name="Ada Byron",
        line1="12 St James's Square",
        city="London",
        region="ENG",
        postcode="SW1Y 4JH",
        country="GB",
        phone="+442079460000",
    ),
    email="ada@example.com",
)


@dataclass
class Level:
    """The stock of one variant at one location: what can be sold, and what orders hold.

    Where it is not ``active`` nobody can buy it, whatever is written there.
    """

    available: int
    committed: int = 0
    active: bool = True


@dataclass
class Variant:
    """A product with its only variant, and where it is in stock. ``mutable`` is False for a bundle. ``engraving`` is
    what an add-on writes on a line that sells it.
    """

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
    picture: str = ""
    weight_grams: int = 0
    origin_country: str = ""
    hs_code: str = ""
    gift_card: bool = False
    engraving: Mapping[str, str] = field(default_factory=dict)


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
    gift_card: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def vendor(self) -> str:
        """Who made it: a line that was typed in has nobody."""
        return "Demo shop" if self.variant else ""

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
    """Money given back, for (line, quantity, how it was restocked); ``shipping`` is its part for that. ``notified``
    counts the mails."""

    id: int
    at: datetime
    amount: Decimal
    note: str
    items: list[tuple[Line, int, str]]
    shipping: Decimal = Decimal(0)
    notified: int = 0


@dataclass
class Return:
    """Goods coming back: (line, quantity), and why."""

    id: int
    items: list[tuple[Line, int]]
    reason: str = "Unwanted"
    status: str = "OPEN"


@dataclass(frozen=True)
class Assessment:
    """What an app thinks of the danger of an order: a level, and facts with their sentiment."""

    level: str
    facts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Tracking:
    """One parcel of a shipment, as its tracking is shown."""

    company: str | None = None
    number: str | None = None
    url: str | None = None


@dataclass
class Fulfillment:
    """A shipment of (line, quantity); ``location`` is None where nobody said. ``notified`` counts the mails."""

    id: int
    at: datetime
    items: list[tuple[Line, int]]
    cancelled: bool = False
    location: int | None = None
    tracking: list[Tracking] = field(default_factory=list)
    notified: int = 0


@dataclass
class Order:
    """An order; ``marks`` are (when the search index shows it, updated_at), oldest first.

    ``presentment`` is the customer's currency, where it is another one, with what one unit of the shop's costs in it.
    ``payments`` are (gateway, amount) where it was paid in several ways. ``code`` is the discount's. What it says of
    its ``customer`` is the address and the e-mail address.
    """

    id: int
    number: int
    created_at: datetime
    updated_at: datetime
    lines: list[Line]
    financial: str = "PAID"
    customer: Customer = ADA
    test: bool = False
    note: str = ""
    code: str = ""
    source: str = "web"
    app: str = "Online Store"
    tags: Sequence[str] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    shipping_method: str = "Standard"
    ships: bool = True
    tip: Decimal = Decimal(0)
    duties: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)
    presentment: tuple[str, Decimal] | None = None
    payments: Sequence[tuple[str, Decimal]] = ()
    advice: str = "NONE"
    assessments: Sequence[Assessment] = ()
    promised_at: datetime | None = None
    cancelled_at: datetime | None = None
    staff_note: str = ""
    closed_at: datetime | None = None
    refunds: list[Refund] = field(default_factory=list)
    returns: list[Return] = field(default_factory=list)
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
        goods = sum((line.total for line in self.lines), Decimal(0))
        return goods + self.tax + self.shipping + self.tip + self.duties + self.fees

    @property
    def shipping(self) -> Decimal:
        return SHIPPING if self.ships else Decimal(0)

    @property
    def paid(self) -> Sequence[tuple[str, Decimal]]:
        """By which gateways how much was received."""
        if self.financial in ("PENDING", "AUTHORIZED", "EXPIRED", "VOIDED"):
            return ()
        return self.payments or (("shopify_payments", self.total),)

    @property
    def gateways(self) -> Sequence[str]:
        """The ways of paying that were used, or chosen."""
        return [gateway for gateway, _ in self.payments] or ["shopify_payments"]

    @property
    def return_status(self) -> str:
        if not self.returns:
            return "NO_RETURN"
        statuses = {each.status for each in self.returns}
        return "RETURN_REQUESTED" if "REQUESTED" in statuses else "IN_PROGRESS" if "OPEN" in statuses else "RETURNED"

    @property
    def refunded(self) -> Decimal:
        return sum((refund.amount for refund in self.refunds), Decimal(0))

    @property
    def refundable(self) -> Sequence[tuple[str, Decimal]]:
        """What is left of each payment: the first ones are given back first."""
        gone, left = self.refunded, []
        for gateway, amount in self.paid:
            taken = min(gone, amount)
            gone -= taken
            left.append((gateway, amount - taken))
        return left

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
